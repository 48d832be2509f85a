//! Killing a command, or letting it fail, at the k-th of the system calls by which
//! it changes what is on disk.
//!
//! The command is started under a seccomp filter that stops it at those calls only
//! ([`call`]), and traced with all its descendants. Which calls are *points* is asked of
//! the plan: those of the command's own process (all its threads), or of what it starts
//! too. A kill takes every descendant, whatever
//! group or session it is in; nothing outlives a trace.
//!
//! What cannot be seen: stores into a file through shared memory (SQLite's `-shm`, which
//! no recovery relies on), `io_uring`, and what is handed to a daemon that was there
//! before.
//!
//! The filter must be in place before the command begins, and installing one between
//! fork and exec would be `unsafe`. So a test binary that traces starts itself, and becomes
//! the command once the filter is in place. It holds this, under this name:
//!
//! ```ignore
//! #[test]
//! fn launcher() {
//!     semel_testkit::tracer::launch();
//! }
//! ```
//!
//! `x86_64` Linux only; elsewhere, and where tracing is forbidden, [`trace`] says why not.

pub mod call;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod follow;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod launcher;

use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use call::Action;

/// When, seen from a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It was asked for, and has done nothing yet.
    Before,
    /// It wrote half of its bytes and no more; of a call that does not write, it is over.
    Within,
    /// It is over.
    After,
}

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The command and all its descendants are killed.
    Kill(Moment),
    /// It writes half of its bytes, and says so, as where a disk becomes full.
    Shorten,
    /// The call does nothing, and fails with this error number.
    Fail {
        /// The error number, as in `errno.h`.
        errno: i32,
        /// Whether all later points fail too: a full disk stays full.
        lasts: bool,
    },
}

/// Which calls are points, and what happens at one of them.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// Whether a call is a point.
    pub is_point: &'a (dyn Fn(&Point) -> bool + Sync),
    /// At the point of this number, from 1, this happens.
    pub blow: Option<(usize, Blow)>,
}

/// A call that changes the disk, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// The name of the system call.
    pub call: &'static str,
    /// Whether it is of the command's own process, not of one that it started.
    pub own: bool,
    /// What it does.
    pub action: Action,
    /// On what: its last path, absolute.
    pub path: PathBuf,
    /// Whether it changes what a later process can see. That a file that is there is
    /// opened for writing does not, nor does what happens to a file without a name.
    pub changes: bool,
    /// What it returned; `None` if it was not seen to return.
    pub result: Option<i64>,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.own { "" } else { "(of a command) " };
        write!(f, "{whose}{} {}", self.call, self.path.display())?;
        match self.result {
            Some(result) if result < 0 => write!(f, " = error {}", -result),
            _ => Ok(()),
        }
    }
}

/// What a traced command did.
#[derive(Clone, Debug)]
pub struct Traced {
    /// Its exit status, 128 + n where signal n ended it.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// Its points, in the order in which they began.
    pub points: Vec<Point>,
    /// Whether the blow fell.
    pub was_struck: bool,
    /// Whether it was killed since it did not end in a minute.
    pub hung: bool,
}

/// Why nothing can be traced here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// Says on standard error, past the test harness, which keeps what passing tests
    /// print to itself, that something was skipped, and why.
    pub fn tell(&self, what: &str) {
        // Without a standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "SKIPPED {what}: {self}");
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system calls cannot be traced here: {}", self.0)
    }
}

/// Runs a command to its end, or to its blow. Its program, arguments, folder and
/// variables are those of `command`, and no other variables reach it; it finds
/// nothing on its standard input.
///
/// # Errors
/// If processes cannot be traced here.
///
/// # Panics
/// If the test binary lacks its `launcher`.
pub fn trace(command: &Command, plan: &Plan<'_>) -> Result<Traced, Unavailable> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return follow::trace(command, plan);
    #[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
    {
        let _ = (command, plan);
        Err(Unavailable("only on x86_64 Linux".to_owned()))
    }
}

/// What the test `launcher` of a binary that traces does: nothing, but where it was
/// started by [`trace`]; then it becomes the command.
pub fn launch() {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    launcher::launch();
}
