//! `semel keeper`: what semel starts to keep its commands; nobody types it.
//!
//! Invariant: only what the keeper itself does stands before its first command.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::FileType;
use semel::ground::world::keeper::{self, Session};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// What starts a keeper.
const WORDS: [&str; 2] = ["semel", "keeper"];

/// From now on commands have a keeper.
pub(crate) fn appoint(session: Session) {
    // The file that runs now, even if another one has its name by then.
    keeper::appoint("/proc/self/exe".into(), WORDS.map(OsString::from).to_vec(), session);
}

/// The life of a keeper, if that is what this process was started for.
pub(crate) fn serve() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    if !words.by_ref().take(WORDS.len()).eq(WORDS.map(OsString::from)) {
        return None;
    }
    let session = match (words.next(), words.next()) {
        (None, _) => Session::Apart,
        (Some(word), None) if word == keeper::SHARED => Session::Shared,
        _ => return None,
    };
    let socket = std::io::stdin().as_fd().try_clone_to_owned().ok().filter(is_socket)?;
    // It was started as another name for the file that runs; people know it by this one.
    let _ = std::fs::write("/proc/self/comm", "semel keeper");
    // Who ends all processes at once means semel and its commands: they end, and then
    // we do. A handler is not inherited by commands; to ignore a signal would be.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        if signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false))).is_err() {
            return Some(ExitCode::FAILURE);
        }
    }
    // Whoever could be told is gone.
    let served = keeper::serve(socket, session);
    Some(if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_socket(fd: &OwnedFd) -> bool {
    let stat = rustix::fs::fstat(fd);
    stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}
