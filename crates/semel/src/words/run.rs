//! Runs: invocations, as they are kept.

use std::ops::RangeInclusive;

use jiff::Timestamp;

use crate::words::task::{Instance, TaskName};

/// A new unique id: it says when it was made.
#[must_use]
pub fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

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
    /// The task, where it is a run of a step that stands alone, in no script.
    pub task: Option<TaskName>,
    /// Who runs it, and where.
    pub by: By,
    /// When.
    pub began: Timestamp,
}

impl NewRun {
    /// What of the pipeline its lease is of: the instance, or the only task.
    #[must_use]
    pub fn scope(&self) -> String {
        match &self.task {
            Some(task) => task.to_string(),
            None => self.instance.as_str().to_owned(),
        }
    }
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
    /// Of a script, its place among the steps that it came to; else 0.
    pub place: u64,
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

/// How many attempts a worker can number.
const SHARE: u64 = 1 << 32;

/// One of the processes that work on a run, by the name under which it stages.
///
/// Mostly there is one, which has the run's id for its name. A script has its tasks
/// done by many: each has a place among them, which is given once, and numbers its
/// attempts from there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worker {
    /// The unique id of the run.
    pub run_id: String,
    /// Its place among several, from 1; 0 if it is alone.
    pub place: u64,
}

impl Worker {
    /// The worker of a name.
    ///
    /// ```
    /// use semel::words::run::Worker;
    /// let worker = Worker::named("0192a3-77.120");
    /// assert_eq!((worker.run_id.as_str(), worker.place), ("0192a3-77", 120));
    /// assert_eq!(worker.name(), "0192a3-77.120");
    /// assert_eq!(Worker::named("0192a3-77").place, 0);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Self {
        let parts = name.rsplit_once('.').and_then(|(run, place)| Some((run, place.parse().ok()?)));
        let (run_id, place) = parts.unwrap_or((name, 0));
        Self { run_id: run_id.to_owned(), place }
    }

    /// The worker that made an attempt of a run.
    #[must_use]
    pub fn of(run_id: &str, attempt: u64) -> Self {
        Self { run_id: run_id.to_owned(), place: attempt / SHARE }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        match self.place {
            0 => self.run_id.clone(),
            place => format!("{}.{place}", self.run_id),
        }
    }

    /// The numbers of its attempts.
    #[must_use]
    pub const fn attempts(&self) -> RangeInclusive<u64> {
        let first = self.place.saturating_mul(SHARE);
        first + 1..=first + (SHARE - 1)
    }
}
