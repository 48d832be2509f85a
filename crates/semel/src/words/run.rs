//! Runs: invocations, as they are kept.

use jiff::Timestamp;

use crate::words::task::Instance;

/// A run that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Its unique id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// The name of its file.
    pub file: String,
    /// The instance.
    pub instance: Instance,
    /// The parameters, as JSON.
    pub params: String,
    /// What was typed.
    pub command: String,
    /// Whether only some steps or tasks were asked for.
    pub selected: bool,
    /// Who runs it, and where.
    pub by: By,
    /// When.
    pub began: Timestamp,
}

/// Who did something, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// The machine.
    pub host: String,
    /// The user.
    pub user: String,
    /// The process.
    pub pid: u32,
}

/// A run as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Its number.
    pub number: i64,
    /// All that was known when it began.
    pub new: NewRun,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Its exit status.
    pub status: Option<i32>,
}

/// What a run did to a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunStep {
    /// The step.
    pub step: String,
    /// Its instance.
    pub instance: Instance,
    /// How many tasks ended how.
    pub counts: Counts,
    /// Records in what was written.
    pub rows: Option<u64>,
    /// From the first attempt to the last receipt.
    pub seconds: f64,
    /// The first thing that went wrong.
    pub note: String,
}

/// How many tasks of a step ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// Brought to their state by running.
    pub ran: u64,
    /// Done already.
    pub skipped: u64,
    /// Found done.
    pub adopted: u64,
    /// Served by another task's outputs.
    pub reused: u64,
    /// Failed.
    pub failed: u64,
    /// Refused.
    pub refused: u64,
    /// Somebody else's.
    pub busy: u64,
    /// Blocked.
    pub blocked: u64,
    /// Not reached.
    pub untried: u64,
}

impl Counts {
    /// Those that are in their desired state.
    #[must_use]
    pub const fn reached(&self) -> u64 {
        self.ran + self.skipped + self.adopted + self.reused
    }

    /// Whether all are.
    #[must_use]
    pub const fn all_reached(&self) -> bool {
        self.reached() == self.total
    }
}
