//! `semel init`: make `.semel/`, and a starter file where none is, or a draft of a script.

use std::io::{ErrorKind, Write};
use std::path::Path;

use jiff::Timestamp;
use semel::deed::lease::{Holder, LeaseError};
use semel::deed::memory::{self, Access, CannotMake};
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel::ground::world::file_system::FileSystem;
use semel::thought::draft::{self, Draft};
use semel::words::event::Event;
use semel::words::run::By;

use crate::args::{self, Common};
use crate::exit::Exit;
use crate::file;
use crate::place::{Place, file_again, whoever_we_are};
use crate::show::busy::Busy;
use crate::show::fail::Failed;
use crate::show::text::{self, count};

/// What a starter file says. It runs as it is.
const STARTER: &str = r#"# A pipeline: steps that are safe to run again. `semel run` runs it.
name = "NAME"

[step.hello]
out = "hello.txt"
run = 'echo "hello" > {{ out }}'

# One task for each file, made again only when the file's content changes:
#
# [step.clean]
# each = "raw/*.csv"
# out  = "clean/{{ item.stem }}.csv"
# run  = 'sort {{ item }} > {{ out }}'
"#;

pub(crate) fn init(common: &Common, options: &args::Init, typed: &str) -> Result<Exit, Failed> {
    let path = common.file.as_deref().unwrap_or(Path::new(file::NAME));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let mut out = anstream::stderr().lock();
    let failed = |doing: &str, path: &Path, error: std::io::Error| {
        Failed::Broken(format!("cannot {doing} `{}`: {error}", path.display()))
    };
    let draft = options.from.as_deref().map(|script| draft_of(script, path)).transpose()?;
    if let (Some(draft), Some(script)) = (&draft, &options.from) {
        write_new(path, &draft.text)?;
        let steps = count(draft.steps as u64, "step");
        writeln!(out, "done  drafted {} from {}: {steps}", path.display(), script.display())?;
    } else if !options.bare && !path.exists() {
        let absolute =
            std::path::absolute(folder).map_err(|error| failed("find", folder, error))?;
        let name: String = absolute
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            .collect();
        let name = if name.is_empty() { "pipeline".to_owned() } else { name };
        std::fs::write(path, STARTER.replace("NAME", &name))
            .map_err(|error| failed("write", path, error))?;
        writeln!(out, "done  made {}", path.display())?;
    }
    let disk = RealDisk::at(folder).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let no_manifest = |error| Failed::Manifest(home.manifest(), error);
    let By { host, user, pid } = whoever_we_are();
    let since = Timestamp::now();
    let holder = Holder { host, user, pid, command: typed.to_owned(), since };
    let busy = |error| match error {
        LeaseError::Busy(holder) => {
            let folder = disk.root().display().to_string();
            Failed::Busy(Busy::see(&home, &folder, holder))
        }
        error @ LeaseError::Io { .. } => Failed::Broken(error.to_string()),
    };
    let made = memory::make(&disk, &home, "init", &holder).map_err(|error| match error {
        CannotMake::Lease(error) => busy(error),
        CannotMake::Manifest(error) => no_manifest(error),
    })?;
    // One that is there already must be one that we can use.
    let _access = Access::share(&home, &holder).map_err(busy)?;
    SqliteManifest::open(&home.manifest()).map_err(no_manifest)?;
    let network = FileSystem::network_name(home.path());
    let shown = folder.join(semel::ground::home::NAME);
    if let Some(made) = made {
        writeln!(out, "done  made {}", shown.display())?;
        if made.is_incomplete {
            let (is_whole, lines) = (false, made.lines);
            let (backup, network) = (made.backup, network.as_deref());
            let made = Event::NewMemory { once: &[], is_whole, backup, lines, network };
            for line in text::memory(&made) {
                writeln!(out, "      {line}")?;
            }
        } else if let Some(network) = network {
            writeln!(out, "      {}", text::on_network(&network))?;
        }
    } else {
        writeln!(out, "done  {} was there already", shown.display())?;
    }
    // What is secret in a value is known by the file only; one that cannot be read, or
    // has no such parameter, says no value.
    let again = Place::find(common).map_or_else(|_| file_again(common), |place| place.again);
    let mut params = again.clone();
    if let Some(draft) = &draft {
        write_open(&mut out, draft)?;
        params.extend(draft.required.iter().map(|name| format!(" -p {name}=VALUE")));
    }
    writeln!(out, "\n  next")?;
    if draft.is_some() {
        let about = "what looks unsafe, and what to write instead";
        writeln!(out, "{}", text::next(&format!("semel lint{again}"), about))?;
    }
    if path.exists() {
        writeln!(out, "{}", text::next(&format!("semel plan{params}"), "what a run would do"))?;
        writeln!(out, "{}", text::next(&format!("semel run{params}"), "do it"))?;
    } else {
        let about = "do it, and skip it when it is done";
        writeln!(out, "{}", text::next("semel step NAME -- COMMAND", about))?;
        let about = "first in a script: steps, and an end that tells";
        writeln!(out, "{}", text::next(r#"eval "$(semel script NAME || echo exit 105)""#, about))?;
    }
    Ok(Exit::DONE)
}

/// The draft of a script, where the pipeline file is not there yet. Nothing is written.
fn draft_of(script: &Path, path: &Path) -> Result<Draft, Failed> {
    if path.symlink_metadata().is_ok() {
        return Err(is_there(path));
    }
    let cannot = |why: String| Failed::Usage(format!("{} {why}", script.display()));
    let meta = script.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failed::Usage(format!("there is no script {}", script.display())),
        _ => cannot(format!("cannot be read: {error}")),
    })?;
    if !meta.is_file() {
        let what = if meta.is_dir() { "is a folder" } else { "is no file" };
        return Err(cannot(format!("{what}: name a script")));
    }
    let bytes =
        std::fs::read(script).map_err(|error| cannot(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes)
        .map_err(|error| cannot(format!("is no text: it is not UTF-8: {error}")))?;
    draft::draft(&text, &script.display().to_string()).map_err(|why| cannot(why.to_string()))
}

fn is_there(path: &Path) -> Failed {
    let path = path.display();
    Failed::Usage(format!(
        "{path} is there already, and stays as it is: draft another with -f FILE"
    ))
}

/// Writes a file that must not be there yet. What cannot be written whole is taken away.
fn write_new(path: &Path, text: &str) -> Result<(), Failed> {
    let broken = |error| Failed::Broken(format!("cannot write `{}`: {error}", path.display()));
    let mut file = std::fs::File::create_new(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => is_there(path),
        _ => broken(error),
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // It is ours: it was not there before.
        let _ = std::fs::remove_file(path);
        broken(error)
    })
}

/// What of a draft waits for a human.
fn write_open(out: &mut impl Write, draft: &Draft) -> std::io::Result<()> {
    if !draft.left.is_empty() || !draft.once.is_empty() {
        writeln!(out)?;
    }
    if !draft.left.is_empty() {
        let lines = draft.left.iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        let many =
            count(draft.left.iter().map(|(first, last)| (last - first + 1) as u64).sum(), "line");
        let lines: Vec<_> = lines.collect();
        writeln!(out, "  left     {many} of the script, each with why: {}", lines.join(", "))?;
    }
    if !draft.once.is_empty() {
        writeln!(out, "  ask      done once only, is that right? {}", draft.once.join(", "))?;
    }
    Ok(())
}
