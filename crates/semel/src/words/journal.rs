//! The journal of a publication: what a task's outputs are, where they stand and where
//! they go, and the receipt that is owed for them, written before the first of them
//! takes its place.
//!
//! It is lines of JSON, each with a checksum. `docs/format.md` is the law of the
//! layout.
//!
//! Invariant: a line is believed whole or not at all. Without a first line that is
//! whole nothing was moved yet.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::words::digest::Digest;
use crate::words::once::{Completed, Doer, sealed, unsealed};
use crate::words::path::{bytes_of, path_of};
use crate::words::receipt::{Attempt, AttemptEnd, Ending, LogRange, Receipt};
use crate::words::task::{Instance, TaskName, decode, encode};

/// The version of the journals that this semel writes.
pub const VERSION: u32 = 1;

/// The first line: all that is needed to finish a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The version of its layout.
    pub v: u32,
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
    /// Whether its step is unsafe to repeat.
    pub once: bool,
    /// Whether an explicit check is asked before the receipt.
    pub asks: bool,
    /// The number under which it staged, in its run.
    pub number: u64,
    /// The attempt, where its command was run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Tried>,
    /// The human's word that it acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<i64>,
    /// The open attempt that it ends, by run and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<(i64, u64)>,
    /// The lock files of the leases under which it works.
    pub leases: Vec<String>,
    /// Where each output is staged, in their order.
    pub staged: Vec<Staged>,
    /// The receipt that is owed.
    pub receipt: Completed,
}

/// Where an output is staged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    path: String,
    folder: bool,
}

/// The attempt that a publication belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    tries: u32,
    began: Timestamp,
    ended: Timestamp,
    log_at: u64,
    log_size: u64,
}

/// A further line: what is in the place of an output goes there, by an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Aside {
    output: usize,
    aside: String,
}

/// An output of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its path, as the pipeline names it.
    pub path: PathBuf,
    /// Where it was staged.
    pub staged: PathBuf,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// What is in it.
    pub digest: Digest,
    /// Where what was in its place was to go, if semel did not make that; the last
    /// one counts.
    pub asides: Vec<PathBuf>,
}

/// A publication, as it is journalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// What its first line says.
    pub record: Record,
    /// Its outputs, in their order.
    pub outputs: Vec<Output>,
}

/// What is journalled beside the receipt.
#[derive(Clone, Debug)]
pub struct Circumstances<'a> {
    /// The pipeline.
    pub pipeline: &'a str,
    /// The run.
    pub by: &'a Doer,
    /// Whether an explicit check is asked before the receipt.
    pub asks: bool,
    /// The number under which it staged.
    pub number: u64,
    /// The attempt, where its command was run.
    pub attempt: Option<&'a (Attempt, AttemptEnd)>,
    /// The human's word that it acts on.
    pub said: Option<i64>,
    /// The open attempt that it ends.
    pub ends: Option<(i64, u64)>,
    /// The lock files of the leases under which it works.
    pub leases: Vec<String>,
    /// Where each output is staged, in their order, and whether it is a folder.
    pub staged: Vec<(&'a Path, bool)>,
}

impl Record {
    /// What is written before the outputs of a receipt take their places.
    #[must_use]
    pub fn of(receipt: &Receipt, circumstances: Circumstances<'_>) -> Self {
        let Circumstances { pipeline, by, asks, number, attempt, said, ends, leases, staged } =
            circumstances;
        let staged = staged
            .into_iter()
            .map(|(path, folder)| Staged { path: encode(bytes_of(path)).into_owned(), folder });
        Self {
            v: VERSION,
            at: receipt.at,
            pipeline: pipeline.to_owned(),
            step: receipt.task.step.clone(),
            instance: receipt.task.instance.as_str().to_owned(),
            item: receipt.task.item.clone().unwrap_or_default(),
            once: receipt.once,
            asks,
            number,
            tried: attempt.map(|(attempt, end)| Tried {
                tries: attempt.tries,
                began: attempt.began,
                ended: end.ended,
                log_at: end.log.at,
                log_size: end.log.bytes,
            }),
            said,
            ends,
            leases,
            staged: staged.collect(),
            receipt: Completed::of(receipt, by, said.is_some()),
        }
    }

    /// The line, as it is written.
    #[must_use]
    pub fn to_text(&self) -> String {
        sealed(self)
    }
}

/// The line that says where what is in an output's place will go.
#[must_use]
pub fn aside_line(output: usize, aside: &Path) -> String {
    sealed(&Aside { output, aside: encode(bytes_of(aside)).into_owned() })
}

/// What was read of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A whole one.
    Journal(Box<Journal>),
    /// One of a newer layout: its version.
    Newer(u32),
    /// Nothing was moved yet.
    Torn,
}

impl Journal {
    /// Reads a journal.
    #[must_use]
    pub fn read(text: &[u8]) -> Read {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let mut lines = text.split(|&byte| byte == b'\n').filter_map(unsealed);
        let Some(first) = lines.next() else {
            return Read::Torn;
        };
        match serde_json::from_str(first) {
            Ok(Version { v }) if v > VERSION => return Read::Newer(v),
            Ok(_) => {}
            Err(_) => return Read::Torn,
        }
        Self::read_whole(first, lines)
            .map_or(Read::Torn, |journal| Read::Journal(Box::new(journal)))
    }

    fn read_whole<'t>(first: &str, lines: impl Iterator<Item = &'t str>) -> Option<Self> {
        let record: Record = serde_json::from_str(first).ok()?;
        let receipt = receipt_of(&record, record.receipt.by.number)?;
        let mut outputs = Vec::with_capacity(record.staged.len());
        for (out, staged) in receipt.outs().zip(&record.staged) {
            outputs.push(Output {
                path: out.path.clone(),
                staged: path_of(decode(&staged.path)?),
                is_folder: staged.folder,
                digest: out.digest,
                asides: Vec::new(),
            });
        }
        if outputs.len() != record.staged.len() || receipt.outs().count() != outputs.len() {
            return None;
        }
        for line in lines {
            let Aside { output, aside } = serde_json::from_str(line).ok()?;
            outputs.get_mut(output)?.asides.push(path_of(decode(&aside)?));
        }
        Some(Self { record, outputs })
    }

    /// The task.
    #[must_use]
    pub fn task(&self) -> TaskName {
        task_of(&self.record)
    }

    /// The receipt that is owed, as one of the run of this number.
    #[must_use]
    pub fn receipt(&self, run: i64) -> Option<Receipt> {
        receipt_of(&self.record, run)
    }

    /// The attempt that ends with the receipt, as one of the run of this number.
    #[must_use]
    pub fn attempt(&self, run: i64) -> Option<(Attempt, AttemptEnd)> {
        let Record { tried, number, once, .. } = &self.record;
        let tried = tried.as_ref()?;
        let attempt = Attempt {
            task: self.task(),
            run,
            number: *number,
            tries: tried.tries,
            fingerprint: self.receipt(run)?.fingerprint,
            began: tried.began,
            once: *once,
        };
        let end = AttemptEnd {
            ending: Ending::Done,
            provably_undone: false,
            ended: tried.ended,
            log: LogRange { at: tried.log_at, bytes: tried.log_size },
        };
        Some((attempt, end))
    }
}

fn task_of(record: &Record) -> TaskName {
    TaskName {
        step: record.step.clone(),
        instance: Instance::from_stored(record.instance.clone()),
        item: Some(record.item.clone()).filter(|item| !item.is_empty()),
    }
}

fn receipt_of(record: &Record, run: i64) -> Option<Receipt> {
    record.receipt.receipt(task_of(record), record.at, run, record.once)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::words::fingerprint::Fingerprint;
    use crate::words::receipt::{FileRecord, FileRole, Origin};

    fn record() -> Record {
        let out = |name: &str| FileRecord {
            role: FileRole::Out,
            name: name.to_owned(),
            path: path_of(format!("{name}\u{1}:").into_bytes()),
            bytes: 7,
            rows: Some(1),
            digest: Digest::of(name.as_bytes()),
            by_stat: false,
        };
        let receipt = Receipt {
            task: TaskName::new("split", &Instance::of(["2013-02"]), Some("17")),
            fingerprint: Fingerprint { what: Digest::of(b"what"), how: Digest::of(b"how") },
            encoding: 1,
            given: "{}".to_owned(),
            how: "{}".to_owned(),
            effect: Some(Digest::of(b"effect")),
            origin: Origin::Ran,
            at: Timestamp::UNIX_EPOCH,
            run: 3,
            took: Duration::from_millis(1500),
            files: vec![out("good"), out("bad")],
            once: false,
        };
        let by = Doer {
            run: "run-3".to_owned(),
            number: 3,
            file: "semel.toml".to_owned(),
            host: "db7".to_owned(),
            user: "etl".to_owned(),
            pid: 1,
        };
        let circumstances = Circumstances {
            pipeline: "nightly",
            by: &by,
            asks: true,
            number: 5,
            attempt: None,
            said: None,
            ends: None,
            leases: vec!["nightly".to_owned()],
            staged: vec![(Path::new("/s/5/good"), false), (Path::new("/s/5/bad"), true)],
        };
        Record::of(&receipt, circumstances)
    }

    #[test]
    fn a_journal_comes_back_whole_with_what_was_added_to_it() {
        let text = record().to_text() + &aside_line(1, Path::new("/d/3/bad"));
        let Read::Journal(journal) = Journal::read(text.as_bytes()) else {
            panic!("{text}");
        };
        assert_eq!(journal.record, record());
        assert_eq!(journal.outputs[0].asides, [""; 0].map(PathBuf::from));
        assert_eq!(journal.outputs[1].asides, ["/d/3/bad"].map(PathBuf::from));
        assert_eq!(journal.outputs[1].digest, Digest::of(b"bad"));
        assert!(journal.outputs[1].is_folder && !journal.outputs[0].is_folder);
        assert_eq!(journal.task().to_string(), "split@2013-02:17");
    }

    /// Whatever a power cut leaves of its first line, nothing is moved by it.
    #[test]
    fn no_part_of_a_journal_is_believed() {
        let text = record().to_text();
        for cut in 0..text.len() - 1 {
            assert_eq!(Journal::read(&text.as_bytes()[..cut]), Read::Torn, "cut at {cut}");
        }
        let more = text.clone() + &aside_line(0, Path::new("/d/3/good"));
        for cut in text.len()..more.len() - 1 {
            let Read::Journal(journal) = Journal::read(&more.as_bytes()[..cut]) else {
                panic!("cut at {cut}");
            };
            assert!(journal.outputs[0].asides.is_empty(), "cut at {cut}");
        }
    }

    #[test]
    fn a_journal_of_a_newer_layout_is_told_from_a_torn_one() {
        let newer = Record { v: 2, ..record() }.to_text();
        assert_eq!(Journal::read(newer.as_bytes()), Read::Newer(2));
    }
}
