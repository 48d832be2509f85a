//! Receipts and attempts, as they are kept.
//!
//! A receipt is the record of a completed task, written after its effect is in
//! place. An attempt is one try at a task. Both are plain data here; the right
//! to write a receipt is another matter, see [`crate::deed::record`].

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::task::TaskName;

/// How a task came to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Its action was run.
    Ran,
    /// Its effect was found in place.
    Adopted,
    /// Another task's outputs were copied, or need not be.
    Reused,
    /// A human said so.
    Settled,
}

impl Origin {
    /// All origins.
    pub const ALL: [Self; 4] = [Self::Ran, Self::Adopted, Self::Reused, Self::Settled];

    /// The word that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ran => "run",
            Self::Adopted => "adopt",
            Self::Reused => "reuse",
            Self::Settled => "settle",
        }
    }
}

/// What a file was to a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileRole {
    /// It was read.
    In,
    /// It was written.
    Out,
    /// It is no file, but rows of a database: its name is the table, its path the
    /// database.
    Rows,
}

impl FileRole {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::In, Self::Out, Self::Rows];

    /// The word that is stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
            Self::Rows => "rows",
        }
    }
}

/// A file or a folder of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    /// Whether it was read or written.
    pub role: FileRole,
    /// The key or the place by which the file names it; empty if there is one.
    pub name: String,
    /// Its path, as the pipeline names it.
    pub path: PathBuf,
    /// Its size; of a folder, of all files in it.
    pub bytes: u64,
    /// Its records, where they were counted.
    pub rows: Option<u64>,
    /// The SHA-256 of its bytes; of a folder, of its list.
    pub digest: Digest,
    /// Whether it is that of size, time and inode instead: `digest = "stat"`.
    pub by_stat: bool,
}

/// What stands before a digest that is not one of bytes.
pub const BY_STAT: &str = "stat:";

impl FileRecord {
    /// Its digest as it is stored: hexadecimal, and said so if it is not that of its
    /// bytes.
    #[must_use]
    pub fn sha256(&self) -> String {
        if self.by_stat { format!("{BY_STAT}{}", self.digest) } else { self.digest.to_string() }
    }
}

/// The record of a completed task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The task.
    pub task: TaskName,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// The version of the fingerprint's encoding.
    pub encoding: i64,
    /// The shared fields of *what*, as JSON.
    pub given: String,
    /// The fields of *how*, as JSON.
    pub how: String,
    /// What was left, if it leaves anything to look at.
    pub effect: Option<Digest>,
    /// How it came to be complete.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
    /// By which run.
    pub run: i64,
    /// How long the action took.
    pub took: Duration,
    /// Its inputs and outputs.
    pub files: Vec<FileRecord>,
    /// Whether its step was unsafe to repeat.
    pub once: bool,
}

impl Receipt {
    /// The files that were written.
    pub fn outs(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(|file| file.role == FileRole::Out)
    }

    /// The rows that were written to databases.
    pub fn rows(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(|file| file.role == FileRole::Rows)
    }

    /// The files that were read.
    pub fn ins(&self) -> impl Iterator<Item = &FileRecord> {
        self.files.iter().filter(|file| file.role == FileRole::In)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its effect is in place.
    Done,
    /// It failed.
    Failed(Failure),
    /// Its inputs changed under it; nothing was published.
    Void,
    /// It was ended with its run, by a signal or by its death.
    Interrupted,
}

impl Ending {
    /// The word that is stored.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed(_) => "failed",
            Self::Void => "void",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The command ended with this status.
    Exit(i32),
    /// The command was ended by this signal.
    Signal(i32),
    /// It took longer than its limit.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
    /// What it reads is not there, or cannot be read.
    BadInput(String),
    /// It ended well, and the effect is not what it must be.
    BadEffect(String),
    /// A database said no.
    Sql(String),
    /// What it would do cannot be made safe: a human must settle it.
    Refused(String),
    /// Calls of it are unknown, or were not sent: a human must settle them.
    Calls(String),
    /// Something semel relies on did not work.
    Broken(String),
}

impl Failure {
    /// Whether a human must settle it.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Calls(_))
    }

    /// Whether it is semel or its surroundings that failed, not the command.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self, Self::Broken(_))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "exit status {status}"),
            Self::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "ended by {name}"),
                None => write!(f, "ended by signal {signal}"),
            },
            Self::TimedOut(limit) => write!(f, "timed out after {}", crate::words::clock(*limit)),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::BadInput(what)
            | Self::BadEffect(what)
            | Self::Sql(what)
            | Self::Refused(what)
            | Self::Calls(what)
            | Self::Broken(what) => f.write_str(what),
        }
    }
}

/// The name of a signal that people meet.
#[must_use]
pub const fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        _ => return None,
    })
}

/// One try at a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The task.
    pub task: TaskName,
    /// The run that made it.
    pub run: i64,
    /// Its number within the run.
    pub number: u64,
    /// Which try at the task it is in this run, from 1.
    pub tries: u32,
    /// The fingerprint when it began.
    pub fingerprint: Fingerprint,
    /// When it began.
    pub began: Timestamp,
    /// Whether its step was unsafe to repeat.
    pub once: bool,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// How it ended.
    pub ending: Ending,
    /// Whether it provably did nothing.
    pub provably_undone: bool,
    /// When it ended.
    pub ended: Timestamp,
    /// Where in the run's log its output stands.
    pub log: LogRange,
}

/// A range of bytes in a run's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// The first byte.
    pub at: u64,
    /// How many.
    pub bytes: u64,
}
