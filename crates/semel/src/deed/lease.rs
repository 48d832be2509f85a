//! Leases: the right to work on something.
//!
//! On one host the kernel decides who lives. A pipeline in an instance is held
//! by a lock on a file, and so is each run by itself; both are closed on exec, so
//! they are free in the moment in which semel is dead, whatever its commands do.
//!
//! Invariant: *I4* acquired by one call of the kernel, never by check and then act.
//! The lock file of a pipeline is never removed while it can be held, so that two runs
//! can never hold two files of one name; that of a task is, by whoever holds it
//! ([`TaskLease`]).

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ground::home::Home;
use crate::ground::world::process::Seen;

/// How long a holder that is already dying may take to let go.
pub const DYING: Duration = Duration::from_secs(5);

/// How long between two looks at somebody who is only about to let go.
const SHORTLY: Duration = Duration::from_millis(5);

/// Asks until there is an answer, for as long as somebody may take to let go; `None`
/// if there is none by then.
///
/// # Errors
/// As the question.
pub(super) fn patiently<T, E>(
    patience: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    let began = Instant::now();
    loop {
        let answer = ask()?;
        if answer.is_some() || began.elapsed() >= patience {
            return Ok(answer);
        }
        std::thread::sleep(SHORTLY);
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// The process.
    pub pid: u32,
    /// What was typed.
    pub command: String,
    /// Since when.
    pub since: Timestamp,
}

impl fmt::Display for Holder {
    /// As people read it: `etl@db7, pid 4121: semel run`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, user, pid, command, .. } = self;
        write!(f, "{user}@{host}, pid {pid}: {command}")
    }
}

/// Why a lease could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else holds it; who, where they could be asked.
    #[error("somebody else holds it")]
    Busy(Option<Box<Holder>>),
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", crate::words::path::show(.path))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A lease that is held; it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Lease {
    file: File,
}

impl Lease {
    /// Takes a lease, at once or not at all.
    ///
    /// # Errors
    /// If somebody else holds it, or the lock file cannot be used.
    pub fn take(path: &Path, holder: &Holder) -> Result<Self, LeaseError> {
        let failed = |source| LeaseError::Io { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LeaseError::Busy(read_holder(&mut file))),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_holder(&mut file, holder).map_err(failed)?;
        Ok(Self { file })
    }

    /// Gives it up for all who have it, also for what a command that inherited it left
    /// behind.
    pub fn give_up(self) {
        // If that fails it is held as long as they live.
        let _ = self.file.unlock();
    }
}

impl AsFd for Lease {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The lease of one task. There may be very many tasks: its lock file goes when it ends.
///
/// Invariant: *I4* whoever has locked a file holds the lease only if that file still
/// has the name.
#[derive(Debug)]
#[must_use]
pub struct TaskLease {
    path: PathBuf,
    _file: File,
}

impl TaskLease {
    /// Takes a lease, at once or not at all.
    ///
    /// # Errors
    /// If somebody else holds it, or the lock file cannot be used.
    pub fn take(path: &Path, holder: &Holder) -> Result<Self, LeaseError> {
        loop {
            let Lease { file } = Lease::take(path, holder)?;
            let failed = |source| LeaseError::Io { path: path.to_owned(), source };
            let ours = file.metadata().map_err(failed)?;
            match std::fs::metadata(path) {
                Ok(named) if (named.dev(), named.ino()) == (ours.dev(), ours.ino()) => {
                    return Ok(Self { path: path.to_owned(), _file: file });
                }
                // Whoever had it before took the name away.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

impl Drop for TaskLease {
    fn drop(&mut self) {
        // One that stays is taken again, and goes then.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Holder {
    /// Whether its process, on the machine `host`, is already dying: killed, and
    /// only about to let go of what it holds. A stopped one is not.
    #[must_use]
    pub fn is_dying(&self, host: &str) -> bool {
        self.host == host && Seen::at(self.pid).is_none_or(|seen| seen.is_dying)
    }
}

/// A gate through which one process passes at a time: those who begin staging,
/// and those who clean up the staging of the dead.
#[derive(Debug)]
#[must_use]
pub struct Gate {
    _file: File,
}

impl Gate {
    /// Waits until nobody else is in it.
    ///
    /// # Errors
    /// If its file cannot be used.
    pub fn pass(home: &Home) -> io::Result<Self> {
        Self::pass_at(&home.gate())
    }

    /// Waits until nobody else is in the gate of this lock file.
    ///
    /// # Errors
    /// If its file cannot be used.
    pub fn pass_at(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        Ok(Self { _file: file })
    }
}

/// Whether somebody holds the lease of this lock file.
///
/// # Errors
/// If the lock file is there and cannot be asked.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // Shared, so that two who ask do not take each other for the holder.
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Who holds the lease of this lock file, if anybody does.
///
/// # Errors
/// If the lock file is there and cannot be asked.
pub fn holder(path: &Path) -> io::Result<Option<Box<Holder>>> {
    if !is_held(path)? {
        return Ok(None);
    }
    Ok(read_holder(&mut File::open(path)?))
}

fn read_holder(file: &mut File) -> Option<Box<Holder>> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn write_holder(file: &mut File, holder: &Holder) -> io::Result<()> {
    let text = serde_json::to_string(holder).map_err(io::Error::other)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(command: &str) -> Holder {
        Holder {
            host: "db7".to_owned(),
            user: "etl".to_owned(),
            pid: std::process::id(),
            command: command.to_owned(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_held_lease_says_who_holds_it_and_is_free_when_they_are_gone() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("lock/nightly");
        assert!(!is_held(&path).expect("nothing is there"));
        let lease = Lease::take(&path, &me("a much longer command than the next")).expect("free");
        assert!(is_held(&path).expect("it can be asked"));
        match Lease::take(&path, &me("other")) {
            Err(LeaseError::Busy(Some(holder))) => {
                assert_eq!(*holder, me("a much longer command than the next"));
            }
            other => panic!("it is busy: {other:?}"),
        }
        drop(lease);
        assert!(!is_held(&path).expect("it can be asked"));
        let _lease = Lease::take(&path, &me("other")).expect("free again");
        assert_eq!(
            holder(&path).expect("it can be asked").map(|holder| holder.command).as_deref(),
            Some("other")
        );
    }

    #[test]
    fn the_dead_are_told_from_the_living() {
        let holder = |pid| Holder { pid, ..me("semel run") };
        let mut child =
            std::process::Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let host = me("").host;
        assert!(!holder(child.id()).is_dying(&host));
        child.kill().expect("it is ours");
        let killed = holder(child.id());
        assert!(killed.is_dying(&host), "killed and not reaped");
        assert!(!killed.is_dying("another host"), "nothing is known of other machines");
        child.wait().expect("it is ours");
        assert!(killed.is_dying(&host), "gone");
    }

    #[test]
    fn of_twenty_who_want_it_one_gets_it() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("lock");
        let start = std::sync::Barrier::new(20);
        let taken = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let lease = Lease::take(&path, &me("one of twenty")).ok();
                        start.wait();
                        lease.is_some()
                    })
                })
                .collect();
            tries
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .filter(|got| *got)
                .count()
        });
        assert_eq!(taken, 1);
    }
}
