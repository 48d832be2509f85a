//! Events: the only way out of the engine.
//!
//! What people see in a terminal, in a log, as JSON and in a report are folds
//! over events, and nothing else.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::words::evidence::Evidence;
use crate::words::pipeline::{Step, StepId};
use crate::words::receipt::Failure;
use crate::words::run::NewRun;
use crate::words::task::{Instance, Task, TaskName};
use crate::words::verdict::{Reason, Verdict};

/// A task, by reference.
#[derive(Clone, Copy, Debug)]
pub struct TaskRef<'a> {
    /// The step's place.
    pub id: StepId,
    /// The step.
    pub step: &'a Step,
    /// Its instance.
    pub instance: &'a Instance,
    /// The task.
    pub task: &'a Task,
    /// Its place in the step's list.
    pub at: usize,
}

impl TaskRef<'_> {
    /// The task's name.
    #[must_use]
    pub fn name(&self) -> TaskName {
        self.task.name(&self.step.name, self.instance)
    }
}

impl fmt::Display for TaskRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

/// How it ended for a task in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done already.
    Skipped(Reason),
    /// Its action was run, and its effect is in place.
    Ran(Made),
    /// Its effect was found in place.
    Adopted(Reason),
    /// Another task's outputs were copied, or need not be.
    Reused(Made),
    /// It failed.
    Failed(Failure),
    /// It waits for a human.
    Refused(Reason),
    /// Somebody else is at work on it.
    Busy,
    /// This step, or task, before it has not reached its state.
    Blocked(String),
    /// It would be acted on, were it not for looking only.
    Would(Verdict),
    /// It may be acted on, depending on what the steps before it make.
    May,
}

impl Outcome {
    /// Whether the task is in its desired state.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        matches!(self, Self::Skipped(_) | Self::Ran(_) | Self::Adopted(_) | Self::Reused(_))
    }

    /// The word for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Skipped(_) => "skip",
            Self::Ran(_) => "done",
            Self::Adopted(_) => "adopt",
            Self::Reused(_) => "reuse",
            Self::Failed(_) => "failed",
            Self::Refused(_) => "refused",
            Self::Busy => "busy",
            Self::Blocked(_) => "blocked",
            Self::Would(_) => "would",
            Self::May => "may",
        }
    }
}

/// What a task made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// How long its action took.
    pub took: Duration,
    /// The size of its outputs.
    pub bytes: u64,
    /// Their records, where they were counted.
    pub rows: Option<u64>,
    /// The task whose outputs were copied.
    pub from: Option<String>,
    /// Why it was run.
    pub why: Option<Reason>,
}

/// Something that became true in a run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The run begins; `number` is for people.
    Began {
        /// The run.
        run: &'a NewRun,
        /// Its number; 0 where nothing is written.
        number: i64,
    },
    /// Before the run can begin, it waits for somebody else.
    Waits {
        /// For whom.
        who: &'a str,
        /// Since when they are at work.
        since: Timestamp,
    },
    /// There was no manifest; these `once` steps will be done as if never
    /// before, or, where there are signs of an older one, refuse.
    NewMemory {
        /// The names of the steps.
        once: &'a [&'a str],
        /// Whether nothing can have been forgotten.
        is_whole: bool,
        /// When the backup was made of which it is made, if it is.
        backup: Option<Timestamp>,
        /// How many lines of `once.log` were taken over.
        lines: usize,
        /// On what it lies, where other machines may see it.
        network: Option<&'a str>,
    },
    /// The manifest was damaged, and another one was made, which may not know all.
    /// These `once` steps refuse where nothing is known of a task.
    Mended {
        /// What was wrong with it.
        why: &'a str,
        /// Where it was set aside; `None` where nothing is changed, and a run would.
        aside: Option<&'a Path>,
        /// When the backup was made of which the new one is made, if it is.
        backup: Option<Timestamp>,
        /// How many lines of `once.log` were taken over.
        lines: usize,
        /// The names of the steps.
        once: &'a [&'a str],
    },
    /// More has happened than the manifest knew: it is an older one, put back, or
    /// another one. These `once` steps refuse where nothing is known of a task.
    OldMemory {
        /// The names of the steps.
        once: &'a [&'a str],
        /// How many lines of `once.log` were taken over.
        lines: usize,
    },
    /// A task may have been done by a step that is gone from the file.
    MayBeRenamed {
        /// The task.
        task: TaskRef<'a>,
        /// The name of the pipeline under which that is kept.
        pipeline: &'a str,
        /// The name of that step.
        step: &'a str,
    },
    /// What a killed run was about to publish is in its place, and has its receipt.
    Finished {
        /// The run.
        number: i64,
        /// The task.
        task: &'a TaskName,
    },
    /// What a killed run left was cleaned up.
    CleanedUp {
        /// The run.
        number: i64,
        /// How many attempts were cut short.
        attempts: usize,
    },
    /// The tasks of a step are known.
    Listed {
        /// The step's place.
        id: StepId,
        /// The step.
        step: &'a Step,
        /// How many tasks it has.
        total: usize,
    },
    /// The tasks of a step will not be known in this run: the step that makes its
    /// list did not, or only would.
    Unlisted {
        /// The step's place.
        id: StepId,
        /// The step.
        step: &'a Step,
        /// The step after which its list is known.
        after: &'a str,
    },
    /// The command of a step is not the one by which tasks were done that will be
    /// done again, if their inputs are the same only for that.
    CommandChanged {
        /// The step's place.
        id: StepId,
        /// The step.
        step: &'a Step,
        /// How many tasks.
        tasks: usize,
        /// How long one takes on average.
        usual: Option<Duration>,
    },
    /// An attempt begins.
    Attempt {
        /// The task.
        task: TaskRef<'a>,
        /// Which try it is, from 1.
        tries: u32,
    },
    /// A command printed something.
    Printed {
        /// The task.
        task: TaskRef<'a>,
        /// What it printed.
        bytes: &'a [u8],
    },
    /// An attempt did not succeed.
    AttemptFailed {
        /// The task.
        task: TaskRef<'a>,
        /// Which try it was.
        tries: u32,
        /// Why.
        failure: &'a Failure,
        /// The end of what it printed.
        tail: &'a [u8],
        /// When the next attempt follows, if one does.
        again_in: Option<Duration>,
        /// The command, as people would type it.
        command: &'a str,
    },
    /// An input changed while the command worked; the task is looked at again.
    Void {
        /// The task.
        task: TaskRef<'a>,
        /// The input.
        input: &'a Path,
    },
    /// Something that semel did not make was moved aside.
    Displaced {
        /// The task whose output took its place.
        task: TaskRef<'a>,
        /// Where it was.
        from: &'a Path,
        /// Where it is.
        to: &'a Path,
    },
    /// What the verdict on a task rests on, where that was asked for.
    Evidence {
        /// The task.
        task: TaskRef<'a>,
        /// All of it.
        evidence: &'a Evidence,
    },
    /// It ended for a task.
    Settled {
        /// The task.
        task: TaskRef<'a>,
        /// How.
        outcome: &'a Outcome,
    },
    /// A step could not be begun.
    StepFailed {
        /// The step's place.
        id: StepId,
        /// The step.
        step: &'a Step,
        /// Why.
        failure: &'a Failure,
    },
    /// Something is not as it should be, though nothing failed for it.
    Warning {
        /// What.
        text: &'a str,
    },
    /// The run took longer than it may.
    TimedOut {
        /// How long that is.
        limit: Duration,
    },
    /// The `[finally]` of a run that was killed before it has been run now.
    PaidDebt {
        /// That run.
        number: i64,
    },
    /// A command that accompanies the end of the run failed.
    HookFailed {
        /// Which: `finally`, `on-failure`, `on-success`.
        hook: &'a str,
        /// Why.
        why: &'a str,
    },
    /// Somebody else took the lease of the run over: it ends.
    LeaseLost {
        /// Who, as far as it is known.
        why: &'a str,
    },
    /// A signal asked the run to stop.
    Stopping {
        /// The signal.
        signal: i32,
        /// Whether all commands end at once.
        at_once: bool,
    },
}
