//! Lines of `once.log`: what was begun, done and settled of `once` tasks.
//!
//! Each line is a JSON object whose last field, `sum`, is a checksum of all that
//! stands before it. `docs/format.md` is the law of the layout.
//!
//! Invariant: a line is believed whole or not at all. What a crash or a full
//! disk left of one is seen by its missing or wrong checksum.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::path::{bytes_of, path_of};
use crate::words::receipt::{
    Attempt, AttemptEnd, BY_STAT, Ending, FileRecord, FileRole, Origin, Receipt,
};
use crate::words::task::{Instance, TaskName, decode, encode};

/// The version of the lines that this semel writes.
pub const VERSION: u32 = 1;

/// What stands before the checksum.
const SUM: &str = ",\"sum\":\"";

/// How many digits of the SHA-256 the checksum has.
const SUM_DIGITS: usize = 16;

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The version of its layout.
    pub v: u32,
    /// The id of the manifest that it was written beside.
    pub manifest: String,
    /// Its number: each is greater than those before it.
    pub seq: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The pipeline.
    pub pipeline: String,
    /// The task's step.
    pub step: String,
    /// Its instance.
    pub instance: String,
    /// Its item, encoded; empty where the step has none.
    pub item: String,
    /// What it says of the task.
    #[serde(flatten)]
    pub says: Says,
}

/// What a line says of its task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Says {
    /// An attempt begins.
    Intent(Tried),
    /// An attempt ended without a receipt.
    End {
        /// The attempt.
        #[serde(flatten)]
        attempt: Tried,
        /// How it ended, in the manifest's word.
        ending: String,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether it provably did nothing.
        undone: bool,
    },
    /// It is complete.
    Receipt(Box<Completed>),
    /// A human said of the whole memory that what it does not know did not happen. The
    /// task's names are empty.
    Accepted {
        /// Why.
        because: String,
        /// The machine.
        host: String,
        /// The user.
        user: String,
        /// The process.
        pid: u32,
    },
    /// A human settled it.
    Settled {
        /// `done` or `redo`.
        verb: String,
        /// Whether `done` holds though there are no outputs.
        without_outputs: bool,
        /// Why.
        because: String,
        /// The machine.
        host: String,
        /// The user.
        user: String,
        /// The process.
        pid: u32,
    },
}

/// The run that did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doer {
    /// Its unique id.
    pub run: String,
    /// Its number.
    pub number: i64,
    /// The name of its file.
    pub file: String,
    /// The machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// The process.
    pub pid: u32,
}

/// An attempt, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The run.
    #[serde(flatten)]
    pub by: Doer,
    /// The attempt's number in it.
    pub attempt: u64,
    /// Which try at the task.
    pub tries: u32,
    /// What is done.
    pub what: String,
    /// How.
    pub how: String,
    /// When it began.
    pub began: Timestamp,
    /// Whether it acts on what a human said.
    pub acts: bool,
}

/// A receipt, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The run.
    #[serde(flatten)]
    pub by: Doer,
    /// What was done.
    pub what: String,
    /// How.
    pub how: String,
    /// The version of the fingerprint's encoding.
    pub encoding: i64,
    /// The shared fields of *what*.
    pub given: String,
    /// The fields of *how*.
    pub fields: String,
    /// What was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// How it came to be complete, in the manifest's word.
    pub origin: String,
    /// How long the action took, in milliseconds.
    pub took_ms: u64,
    /// Its inputs and outputs.
    pub files: Vec<Filed>,
    /// Whether it acts on what a human said.
    pub acts: bool,
}

/// A file of a receipt, in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    role: String,
    name: String,
    path: String,
    bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    sha256: String,
}

/// What was read of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A whole line.
    Line(Box<Line>),
    /// A whole line of a newer layout: its version.
    Newer(u32),
    /// Something that is no line.
    Torn,
}

impl Tried {
    /// An attempt of a run.
    #[must_use]
    pub fn of(attempt: &Attempt, by: &Doer, acts: bool) -> Self {
        Self {
            by: by.clone(),
            attempt: attempt.number,
            tries: attempt.tries,
            what: attempt.fingerprint.what.to_string(),
            how: attempt.fingerprint.how.to_string(),
            began: attempt.began,
            acts,
        }
    }

    /// The fingerprint; `None` where it is not one.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        fingerprint(&self.what, &self.how)
    }
}

impl Says {
    /// The end of an attempt.
    #[must_use]
    pub fn end(attempt: &Attempt, end: &AttemptEnd, by: &Doer, acts: bool) -> Self {
        let reason = match &end.ending {
            Ending::Failed(failure) => Some(failure.to_string()),
            _ => None,
        };
        Self::End {
            attempt: Tried::of(attempt, by, acts),
            ending: end.ending.name().to_owned(),
            reason,
            undone: end.provably_undone,
        }
    }

    /// A receipt.
    #[must_use]
    pub fn receipt(receipt: &Receipt, by: &Doer, acts: bool) -> Self {
        Self::Receipt(Box::new(Completed::of(receipt, by, acts)))
    }

    /// The run that did it; `None` where a human said it.
    #[must_use]
    pub fn doer(&self) -> Option<&Doer> {
        match self {
            Self::Intent(attempt) | Self::End { attempt, .. } => Some(&attempt.by),
            Self::Receipt(receipt) => Some(&receipt.by),
            Self::Settled { .. } | Self::Accepted { .. } => None,
        }
    }
}

impl Completed {
    /// A receipt, as it is written.
    #[must_use]
    pub fn of(receipt: &Receipt, by: &Doer, acts: bool) -> Self {
        let files = receipt.files.iter().map(|file| Filed {
            role: file.role.name().to_owned(),
            name: file.name.clone(),
            path: encode(bytes_of(&file.path)).into_owned(),
            bytes: file.bytes,
            rows: file.rows,
            sha256: file.sha256(),
        });
        Self {
            by: by.clone(),
            what: receipt.fingerprint.what.to_string(),
            how: receipt.fingerprint.how.to_string(),
            encoding: receipt.encoding,
            given: receipt.given.clone(),
            fields: receipt.how.clone(),
            effect: receipt.effect.map(|effect| effect.to_string()),
            origin: receipt.origin.name().to_owned(),
            took_ms: u64::try_from(receipt.took.as_millis()).unwrap_or(u64::MAX),
            files: files.collect(),
            acts,
        }
    }

    /// The receipt of this task, written at this time by the run of this number;
    /// `None` where it cannot be understood.
    #[must_use]
    pub fn receipt(&self, task: TaskName, at: Timestamp, run: i64, once: bool) -> Option<Receipt> {
        let files = self.files.iter().map(|file| {
            Some(FileRecord {
                role: FileRole::ALL.into_iter().find(|role| role.name() == file.role)?,
                name: file.name.clone(),
                path: path_of(decode(&file.path)?),
                bytes: file.bytes,
                rows: file.rows,
                digest: Digest::from_hex(
                    file.sha256.strip_prefix(BY_STAT).unwrap_or(&file.sha256),
                )?,
                by_stat: file.sha256.starts_with(BY_STAT),
            })
        });
        let effect = match &self.effect {
            Some(hex) => Some(Digest::from_hex(hex)?),
            None => None,
        };
        Some(Receipt {
            task,
            fingerprint: fingerprint(&self.what, &self.how)?,
            encoding: self.encoding,
            given: self.given.clone(),
            how: self.fields.clone(),
            effect,
            origin: Origin::ALL.into_iter().find(|known| known.name() == self.origin)?,
            at,
            run,
            took: Duration::from_millis(self.took_ms),
            files: files.collect::<Option<_>>()?,
            once,
        })
    }
}

fn fingerprint(what: &str, how: &str) -> Option<Fingerprint> {
    Some(Fingerprint { what: Digest::from_hex(what)?, how: Digest::from_hex(how)? })
}

impl Line {
    /// The task.
    #[must_use]
    pub fn task(&self) -> TaskName {
        TaskName {
            step: self.step.clone(),
            instance: Instance::from_stored(self.instance.clone()),
            item: Some(self.item.clone()).filter(|item| !item.is_empty()),
        }
    }

    /// The receipt that it holds, as one of the run of this number; `None` where it
    /// holds none that can be understood.
    #[must_use]
    pub fn receipt(&self, run: i64) -> Option<Receipt> {
        match &self.says {
            Says::Receipt(kept) => kept.receipt(self.task(), self.at, run, true),
            _ => None,
        }
    }

    /// The line as it is written, with its checksum and its end.
    #[must_use]
    pub fn to_text(&self) -> String {
        sealed(self)
    }

    /// Reads a line, without its end.
    #[must_use]
    pub fn read(text: &[u8]) -> Read {
        Self::read_whole(text).unwrap_or(Read::Torn)
    }

    fn read_whole(text: &[u8]) -> Option<Read> {
        let text = unsealed(text)?;
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let Version { v } = serde_json::from_str(text).ok()?;
        if v > VERSION {
            return Some(Read::Newer(v));
        }
        Some(Read::Line(Box::new(serde_json::from_str(text).ok()?)))
    }
}

/// What the log tells, task by task.
#[derive(Clone, Debug, Default)]
pub struct Tale(HashMap<(String, TaskName), Told>);

/// What the log tells of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing by which it must not begin: nothing at all, an attempt that provably did
    /// nothing, or that a human wants it done again.
    MayBegin,
    /// It was begun, and may have been done.
    Begun,
    /// It is done.
    Done,
}

impl Tale {
    /// What these lines tell; of a task, the last counts.
    #[must_use]
    pub fn of(lines: &[Line]) -> Self {
        let mut tale = HashMap::new();
        // The attempt that was begun last of each task.
        let mut last = HashMap::new();
        for line in lines {
            let key = (line.pipeline.clone(), line.task());
            let told = match &line.says {
                Says::Intent(attempt) => {
                    last.insert(key.clone(), (&attempt.by.run, attempt.attempt));
                    Told::Begun
                }
                // One that never began tells nothing of those before it.
                Says::End { attempt, .. }
                    if last.get(&key) != Some(&(&attempt.by.run, attempt.attempt)) =>
                {
                    continue;
                }
                Says::End { undone: true, .. } => Told::MayBegin,
                Says::End { undone: false, .. } => Told::Begun,
                Says::Receipt(_) => Told::Done,
                Says::Settled { verb, .. } if verb == "redo" => Told::MayBegin,
                Says::Settled { .. } => Told::Done,
                Says::Accepted { .. } => continue,
            };
            tale.insert(key, told);
        }
        Self(tale)
    }

    /// What they tell of a task.
    #[must_use]
    pub fn told_of(&self, pipeline: &str, task: &TaskName) -> Told {
        let known = self.0.get(&(pipeline.to_owned(), task.clone()));
        known.copied().unwrap_or(Told::MayBegin)
    }
}

/// Whether lines are missing: before the first of these, which follow on the number
/// `known`, between them, or after the last, where a mark tells of one beyond it.
#[must_use]
pub fn are_missing(known: u64, lines: &[Line], mark: Option<u64>) -> bool {
    let mut last = known;
    for line in lines {
        if line.seq > last + 1 {
            return true;
        }
        last = last.max(line.seq);
    }
    mark.is_some_and(|mark| mark > last)
}

/// A thing as one line of JSON, with its checksum and its end.
pub(super) fn sealed(thing: &impl Serialize) -> String {
    let json = serde_json::to_string(thing).expect("texts and numbers are JSON");
    let before = &json[..json.len() - 1];
    format!("{before}{SUM}{}\"}}\n", sum(before))
}

/// The text of a line, without its end, whose checksum is right.
pub(super) fn unsealed(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let (before, rest) = text.rsplit_once(SUM)?;
    (rest.strip_suffix("\"}")? == sum(before)).then_some(text)
}

fn sum(before: &str) -> String {
    let mut sum = Digest::of(before.as_bytes()).to_string();
    sum.truncate(SUM_DIGITS);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let file = FileRecord {
            role: FileRole::Out,
            name: String::new(),
            path: path_of(b"a\xff:b".to_vec()),
            bytes: 7,
            rows: None,
            digest: Digest::of(b"file"),
            by_stat: false,
        };
        let receipt = Receipt {
            task: TaskName::new("pay", &Instance::of(["2013-02"]), Some("17")),
            fingerprint: Fingerprint { what: Digest::of(b"what"), how: Digest::of(b"how") },
            encoding: 1,
            given: "{\"version\":\"1\"}".to_owned(),
            how: "{}".to_owned(),
            effect: None,
            origin: Origin::Ran,
            at: Timestamp::UNIX_EPOCH,
            run: 3,
            took: Duration::from_millis(1500),
            files: vec![file],
            once: true,
        };
        let by = Doer {
            run: "run-3".to_owned(),
            number: 3,
            file: "semel.toml".to_owned(),
            host: "db7".to_owned(),
            user: "etl".to_owned(),
            pid: 1,
        };
        Line {
            v: VERSION,
            manifest: "m".to_owned(),
            seq: 7,
            at: Timestamp::UNIX_EPOCH,
            pipeline: "nightly".to_owned(),
            step: "pay".to_owned(),
            instance: "2013-02".to_owned(),
            item: "17".to_owned(),
            says: Says::receipt(&receipt, &by, true),
        }
    }

    #[test]
    fn a_line_comes_back_whole_and_is_json() {
        let text = line().to_text();
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        assert_eq!(Line::read(text.trim_end().as_bytes()), Read::Line(Box::new(line())));
        let receipt = line().receipt(5).expect("a receipt");
        assert_eq!((receipt.run, bytes_of(&receipt.files[0].path)), (5, &b"a\xff:b"[..]));
    }

    /// Whatever a crash leaves of a line, it is not taken for one.
    #[test]
    fn no_part_of_a_line_is_believed() {
        let text = line().to_text();
        let text = text.trim_end().as_bytes();
        for cut in 0..text.len() {
            assert_eq!(Line::read(&text[..cut]), Read::Torn, "cut at {cut}");
            let mut changed = text.to_vec();
            changed[cut] ^= 1;
            assert_eq!(Line::read(&changed), Read::Torn, "changed at {cut}");
        }
    }

    #[test]
    fn missing_lines_are_missed_wherever_they_were() {
        let lines = |all: &[u64]| -> Vec<_> {
            all.iter().map(|seq| Line { seq: *seq, ..line() }).collect()
        };
        assert!(!are_missing(0, &[], None));
        assert!(!are_missing(0, &lines(&[1, 2, 3]), Some(3)));
        assert!(!are_missing(7, &lines(&[8]), None));
        assert!(!are_missing(7, &[], Some(7)));
        assert!(are_missing(0, &lines(&[2, 3]), None), "at the front");
        assert!(are_missing(0, &lines(&[1, 3]), None), "in the middle");
        assert!(are_missing(0, &lines(&[1, 2]), Some(3)), "at the end");
        assert!(are_missing(7, &[], Some(8)), "all of them");
    }

    #[test]
    fn a_line_of_a_newer_layout_is_told_from_a_torn_one() {
        let newer = Line { v: 2, ..line() }.to_text();
        assert_eq!(Line::read(newer.trim_end().as_bytes()), Read::Newer(2));
    }
}
