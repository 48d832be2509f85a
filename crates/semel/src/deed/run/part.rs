//! What of a run this process does: all of it; or one task, for a script or by itself;
//! or nothing but hold it, for a script.
//!
//! Invariant: *I4* one process at a time works on a task. Within a script's run many
//! work, each on its task; the lease of the script is held for them by its keeper.

use std::path::PathBuf;

use super::Preparation;
use crate::deed::command::Stdio;
use crate::deed::script::Script;
use crate::words::guard::Guard;
use crate::words::run::Worker;
use crate::words::task::TaskName;

/// What of a run this process does.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    /// All of it.
    Whole,
    /// One task, of a step that stands alone or in a script.
    Task(TaskPart<'a>),
    /// It holds the run of a script while that lives. The function is called when the run
    /// has begun, with its number and id, and gives the exit status of the script once that
    /// is over; `None` if it died without a word.
    Script(&'a (dyn Fn(i64, &str) -> Option<i32> + Sync)),
}

/// A task, as a script says it.
#[derive(Clone, Copy)]
pub struct TaskPart<'a> {
    /// What is said of it.
    pub guard: &'a Guard,
    /// Its name.
    pub task: &'a TaskName,
    /// The script's run, and our place among those who work on it; without it the step
    /// stands alone, and has a run of its own.
    pub script: Option<(&'a Script, u64)>,
    /// The script's standard streams.
    pub stdio: Stdio<'a>,
}

impl<'a> Part<'a> {
    pub(super) const fn task(self) -> Option<TaskPart<'a>> {
        match self {
            Part::Task(part) => Some(part),
            Part::Whole | Part::Script(_) => None,
        }
    }

    /// The name under which this process stages.
    pub(super) fn worker(self) -> Worker {
        match self.task().and_then(|part| part.script) {
            Some((script, place)) => Worker { run_id: script.run_id.clone(), place },
            None => Worker { run_id: uuid::Uuid::now_v7().to_string(), place: 0 },
        }
    }
}

impl Preparation<'_> {
    /// The lock files of the leases under which this process works. The last is its own.
    pub(super) fn leases(&self) -> Vec<PathBuf> {
        let (home, name) = (self.home, &self.setting.pipeline.name);
        let whole = || home.lock(name, self.instance().as_str());
        match self.part.task() {
            None => vec![whole()],
            Some(part) => {
                let own = home.task_lock(name, part.task);
                part.script.map(|_| whole()).into_iter().chain([own]).collect()
            }
        }
    }
}
