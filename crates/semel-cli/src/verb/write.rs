//! `semel write`: what a command prints becomes a file, whole or not at all.
//!
//! Invariant: *I7* a reader of the file sees the old one or the whole new one. It is
//! written beside the file, synced, and renamed, and only if the command ended well.
//!
//! *If we die here*: the draft, `.semel-write-PID-NAME`, stays beside the file; the next
//! write of the file removes those of processes that are gone.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;

use crate::args;
use crate::exit::Exit;
use crate::show::fail::Failed;
use crate::verb::lock::{run, stop_on_signal};

/// How the name of a draft begins.
const DRAFT: &str = ".semel-write-";

pub(crate) fn write(options: &args::Write) -> Exit {
    publish(options).unwrap_or_else(|failed| failed.tell_of_prefix())
}

fn publish(options: &args::Write) -> Result<Exit, Failed> {
    refuse_pipe(options)?;
    let target = real_target(&options.path)?;
    let failed = |doing: &str, path: &Path, error: std::io::Error| {
        Failed::Broken(format!("cannot {doing} `{}`: {error}", path.display()))
    };
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&folder).map_err(|error| failed("make", &folder, error))?;
    let name = target
        .file_name()
        .ok_or_else(|| Failed::Usage(format!("`{}` names no file", options.path.display())))?;
    remove_left(&folder, name.as_bytes());
    let mut draft = std::ffi::OsString::from(format!("{DRAFT}{}-", std::process::id()));
    draft.push(name);
    let draft = folder.join(draft);
    let mut options_of = OpenOptions::new();
    // Who may read the file is as it was; a new one is as files are made here.
    let before = std::fs::metadata(&target).ok().map(|meta| meta.permissions().mode() & 0o7777);
    let opened = options_of.write(true).create_new(true).mode(before.unwrap_or(0o666)).open(&draft);
    let file = opened.map_err(|error| failed("write", &draft, error))?;
    let done = fill(options, &file, before).and_then(|exit| {
        if exit == Exit::DONE {
            file.sync_all().map_err(|error| failed("sync", &draft, error))?;
            std::fs::rename(&draft, &target).map_err(|error| failed("replace", &target, error))?;
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| failed("sync", &folder, error))?;
        }
        Ok(exit)
    });
    if !matches!(done, Ok(Exit::DONE)) {
        let _ = std::fs::remove_file(&draft);
        let _ = writeln!(anstream::stderr(), "semel: {} stays as it was", options.path.display());
    }
    done
}

fn fill(options: &args::Write, file: &File, mode: Option<u32>) -> Result<Exit, Failed> {
    if let Some(mode) = mode {
        // The umask took some of it away.
        let set = file.set_permissions(std::fs::Permissions::from_mode(mode));
        set.map_err(|error| Failed::Broken(format!("cannot set who may read it: {error}")))?;
    }
    let stop = stop_on_signal()?;
    run(&options.command, None, Some(file), &stop)
}

/// The file that is written: where the path is a link, what that leads to.
fn real_target(path: &Path) -> Result<PathBuf, Failed> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => path.canonicalize().map_err(|error| {
            Failed::Usage(format!("`{}` is a link to nowhere: {error}", path.display()))
        }),
        Ok(meta) if !meta.is_file() => {
            Err(Failed::Usage(format!("`{}` is no file", path.display())))
        }
        _ => Ok(path.to_owned()),
    }
}

/// An end of data cannot be told from a crash of whoever wrote it: what comes from a
/// pipe may be half.
fn refuse_pipe(options: &args::Write) -> Result<(), Failed> {
    let is_pipe = is_pipe_with_data();
    if options.command.is_empty() {
        let why = match is_pipe {
            true => {
                "it would read a pipe, whose end cannot be told from a crash of whoever writes it"
            }
            false => "it has no command",
        };
        return Err(Failed::Usage(format!(
            "{why}; let it run the command itself:\n    semel write {} -- COMMAND",
            options.path.display()
        )));
    }
    if is_pipe {
        return Err(Failed::Usage(format!(
            "its standard input is a pipe, whose end cannot be told from a crash of whoever \
             writes it\n  let it run all of it, or say that nothing is read:\n    \
             semel write {0} -- bash -o pipefail -c '... | ...'\n    \
             semel write {0} -- COMMAND < /dev/null",
            options.path.display()
        )));
    }
    Ok(())
}

/// Whether standard input is a pipe from which something may come. One whose other end
/// is closed, and that is empty, is none: so cron starts its commands.
fn is_pipe_with_data() -> bool {
    let input = std::io::stdin();
    let stat = rustix::fs::fstat(input.as_fd());
    let is_fifo = stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if !is_fifo {
        return false;
    }
    let mut fds = [PollFd::new(&input, PollFlags::IN)];
    let _ = poll(&mut fds, Some(&Timespec::default()));
    let seen = fds[0].revents();
    !seen.contains(PollFlags::HUP) || seen.contains(PollFlags::IN)
}

/// Removes drafts of processes that are gone.
fn remove_left(folder: &Path, name: &[u8]) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let file = entry.file_name();
        let rest = file.as_bytes().strip_prefix(DRAFT.as_bytes());
        let parts = rest.and_then(|rest| {
            let dash = rest.iter().position(|byte| *byte == b'-')?;
            Some((std::str::from_utf8(&rest[..dash]).ok()?, &rest[dash + 1..]))
        });
        let is_gone = |pid: &str| !Path::new("/proc").join(pid).exists();
        if parts.is_some_and(|(pid, of)| of == name && is_gone(pid)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
