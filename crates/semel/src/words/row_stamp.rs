//! The stamp of rows: what a task left in a database, told by that database.
//!
//! It is a row of the table `semel_stamp`, written in the transaction that writes the
//! rows: both are there, or neither is. Its key is the task, so that a new version of
//! an item finds the rows of the old one. `docs/format.md` is the law of the table.
//!
//! Invariant: a stamp says nothing of the connection. Under another name of the host
//! the same rows are the same.

use crate::words::digest::{Digest, Fields};
use crate::words::fingerprint::Fingerprint;
use crate::words::task::TaskName;

/// The stamp of the rows of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStamp {
    /// The pipeline.
    pub pipeline: String,
    /// The task.
    pub task: TaskName,
    /// What was done.
    pub fingerprint: Fingerprint,
    /// How many rows it left, where that is known: those that were there before semel
    /// came were not counted.
    pub rows: Option<u64>,
    /// The table that they are in, as the pipeline names it; empty of a script.
    pub table: String,
    /// What told that table from others of its name.
    pub identity: String,
    /// The condition that finds them, where there is one.
    pub found_by: Option<String>,
    /// The slot of the stamp whose rows these are, where an item of the same content has
    /// them.
    pub shares: Option<Digest>,
    /// Whether the task came to its end, and what it left is there. Only what a database
    /// cannot do in one transaction leaves one that did not; of one whose table was emptied
    /// there are no rows.
    pub is_whole: bool,
    /// The unique id of the run that wrote it.
    pub run: String,
}

impl RowStamp {
    /// The key of its row.
    #[must_use]
    pub fn slot(&self) -> Digest {
        slot(&self.pipeline, &self.task)
    }

    /// What it is to receipts and to those that come after it: what was done, wherever.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(&self.fingerprint)
    }

    /// Whether its rows were found to be gone with all others of their table. It is kept
    /// until they are there again: without it nobody could tell that they are not, once
    /// there are others.
    #[must_use]
    pub fn is_voided(&self) -> bool {
        !self.is_whole && self.rows == Some(0)
    }

    /// Whether it is of what is to be done now. For what is done once, how it was done
    /// does not matter.
    #[must_use]
    pub fn proves(&self, present: &Fingerprint, once: bool) -> bool {
        let known = &self.fingerprint;
        self.is_whole && known.what == present.what && (once || known.how == present.how)
    }
}

/// What rows of a fingerprint are to receipts.
#[must_use]
pub fn digest(fingerprint: &Fingerprint) -> Digest {
    let mut fields = Fields::new("rows");
    fields.put("what", fingerprint.what.as_bytes());
    fields.put("how", fingerprint.how.as_bytes());
    fields.digest()
}

/// The key of a task's row.
#[must_use]
pub fn slot(pipeline: &str, task: &TaskName) -> Digest {
    let mut fields = Fields::new("slot");
    fields.put("pipeline", pipeline.as_bytes());
    fields.put("step", task.step.as_bytes());
    fields.put("instance", task.instance.as_str().as_bytes());
    match &task.item {
        Some(item) => fields.put("item", item.as_bytes()),
        None => fields.put("alone", b""),
    }
    fields.digest()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::task::Instance;

    /// What lies in databases is law: a change here would load everything again.
    #[test]
    fn the_keys_are_what_they_were() {
        let task = TaskName::new("load", &Instance::default(), Some("clean/17.csv"));
        let fingerprint = Fingerprint { what: Digest::of(b"a"), how: Digest::of(b"b") };
        let digests = [slot("nightly", &task), digest(&fingerprint)].map(|digest| digest.short());
        assert_eq!(digests, ["aca6720e", "bf56614c"]);
    }
}
