//! The children of this process, those of the dead that it was handed among them:
//! found, told apart by the tag in their environment, and ended.
//!
//! Invariant: only a child of ours that was not reaped is signalled, so its number
//! is its own.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open};

use super::TAG;
use crate::ground::world::machine;

/// How long one that was killed may take to be gone: the kernel may be busy with it.
const GONE: Duration = Duration::from_secs(2);

/// All children of this process.
pub(super) fn all() -> Vec<Pid> {
    let listed = || -> io::Result<Vec<Pid>> {
        let mut children = Vec::new();
        for thread in std::fs::read_dir("/proc/self/task")? {
            children.extend(numbers(&std::fs::read(thread?.path().join("children"))?));
        }
        Ok(children)
    };
    // A kernel that keeps no lists is asked about each process.
    listed().unwrap_or_else(|_| by_parents())
}

/// The children of a process that has one thread: asked often, and soon answered.
#[derive(Debug)]
pub(super) struct Few {
    list: Option<File>,
    buffer: Vec<u8>,
}

impl Few {
    pub(super) fn new() -> Self {
        let list = File::open("/proc/thread-self/children").ok();
        Self { list, buffer: vec![0; 4096] }
    }

    pub(super) fn all(&mut self) -> Vec<Pid> {
        let read = self.list.as_ref().map(|list| list.read_at(&mut self.buffer, 0));
        match read {
            Some(Ok(length)) if length < self.buffer.len() => numbers(&self.buffer[..length]),
            _ => all(),
        }
    }
}

fn numbers(list: &[u8]) -> Vec<Pid> {
    let words = list.split(|byte| *byte == b' ').map(std::str::from_utf8);
    words.filter_map(|word| number(word.ok()?.trim())).collect()
}

fn by_parents() -> Vec<Pid> {
    let own = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = pids.filter(|pid| machine::parent(*pid) == Some(own));
    children.filter_map(|pid| Pid::from_raw(pid.try_into().ok()?)).collect()
}

fn number(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// The tag that a process was started with; `None` where it has none, or may not be
/// asked.
pub(super) fn tag(pid: Pid) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let tagged = environment.split(|byte| *byte == 0).find_map(|variable| {
        let (name, value) = variable.split_at_checked(TAG.len())?;
        (name == TAG.as_bytes()).then(|| value.strip_prefix(b"="))?
    })?;
    Some(std::ffi::OsStr::from_bytes(tagged).to_string_lossy().into_owned())
}

/// Ends all children that are meant, and what they leave to us, until none is left.
/// One that cannot be ended is let go after a while.
pub(super) fn end(is_meant: &dyn Fn(Pid) -> bool) {
    let mut immortal = Vec::new();
    loop {
        let meant: Vec<_> =
            all().into_iter().filter(|pid| !immortal.contains(pid) && is_meant(*pid)).collect();
        if meant.is_empty() {
            return;
        }
        for pid in &meant {
            let _ = kill_process(*pid, Signal::KILL);
        }
        immortal.extend(meant.into_iter().filter(|pid| !bury(*pid)));
    }
}

/// Waits until a child that was killed is gone, and whether it is.
pub(super) fn bury(pid: Pid) -> bool {
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return true;
    };
    let mut fds = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let _ = crate::ground::world::process::wait_for(&mut fds, Some(Instant::now() + GONE));
    reap(pid)
}

/// Takes leave of a child, if it is dead.
pub(super) fn reap(pid: Pid) -> bool {
    matches!(rustix::process::waitpid(Some(pid), WaitOptions::NOHANG), Ok(Some(_)) | Err(_))
}
