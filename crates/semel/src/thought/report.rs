//! The report: a fold of events. What ended how, and the exit status.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::words::event::{Event, Outcome, TaskRef};
use crate::words::pipeline::StepId;
use crate::words::run::{Counts, RunStep};
use crate::words::task::{Instance, TaskName};
use crate::words::verdict::{Reason, Ruling};

/// How many tasks in trouble are kept with all that is known of them.
const MOST: usize = 1000;

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Step by step, in the order of the file; steps that were not asked for
    /// are not there.
    pub steps: Vec<StepReport>,
    /// Tasks that failed, were refused, or are somebody else's, as they ended.
    pub troubles: Vec<Trouble>,
    /// Whether something that semel relies on did not work.
    pub is_broken: bool,
    /// The signal that ended the run.
    pub signal: Option<i32>,
    /// How long the run may take, if it took longer.
    pub timed_out: Option<Duration>,
    /// Whether it looked only, and would have acted.
    pub would_act: bool,
}

/// A task that did not reach its state, for a reason of its own.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The task.
    pub task: TaskName,
    /// How it ended.
    pub outcome: Outcome,
    /// How many attempts there were.
    pub tries: u32,
    /// The last command, as people would type it.
    pub command: String,
    /// The end of what it printed.
    pub tail: Vec<u8>,
}

/// What a run did to a step.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The step's place in the file.
    pub id: StepId,
    /// Its name.
    pub name: String,
    /// Its instance.
    pub instance: Instance,
    /// Whether it fans out.
    pub has_items: bool,
    /// How many tasks ended how.
    pub counts: Counts,
    /// Of those that would act or may, how many.
    pub would: BTreeMap<Ruling, u64>,
    /// Those that may act, depending on others.
    pub may: u64,
    /// Why tasks were skipped, adopted, run: how many for each reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Records in what was written.
    pub rows: Option<u64>,
    /// Bytes in what was written.
    pub bytes: u64,
    /// The only output, where there is one.
    pub only_output: Option<String>,
    /// What kept its tasks from being begun.
    pub blocked_by: Option<String>,
    /// The step after which its list is known.
    pub known_after: Option<String>,
    /// The first thing that went wrong.
    pub note: String,
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl StepReport {
    fn new(id: StepId, name: &str, has_items: bool) -> Self {
        Self {
            id,
            name: name.to_owned(),
            instance: Instance::default(),
            has_items,
            counts: Counts::default(),
            would: BTreeMap::new(),
            may: 0,
            reasons: BTreeMap::new(),
            rows: None,
            bytes: 0,
            only_output: None,
            blocked_by: None,
            known_after: None,
            note: String::new(),
            began: None,
            ended: None,
        }
    }

    /// From the first attempt to the last receipt.
    #[must_use]
    pub fn took(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.saturating_duration_since(began),
            _ => Duration::ZERO,
        }
    }

    /// Whether an attempt at one of its tasks was begun, or one is settled.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.began.is_some() || self.unsettled() < self.counts.total
    }

    /// How long it will take at the pace so far.
    #[must_use]
    pub fn eta(&self, now: Instant) -> Option<Duration> {
        let acted = self.counts.ran + self.counts.failed;
        let began = self.began?;
        if acted == 0 {
            return None;
        }
        let pace = now.saturating_duration_since(began).as_secs_f64() / acted as f64;
        Some(Duration::from_secs_f64(pace * self.unsettled() as f64))
    }

    /// How many tasks have not come to an end.
    #[must_use]
    pub const fn unsettled(&self) -> u64 {
        let counts = &self.counts;
        let settled =
            counts.reached() + counts.failed + counts.refused + counts.busy + counts.blocked;
        counts.total.saturating_sub(settled)
    }

    /// As it is kept.
    #[must_use]
    pub fn record(&self) -> RunStep {
        RunStep {
            step: self.name.clone(),
            instance: self.instance.clone(),
            counts: Counts { untried: self.unsettled(), ..self.counts },
            rows: self.rows,
            seconds: self.took().as_secs_f64(),
            note: self.note.clone(),
            place: 0,
        }
    }
}

impl Report {
    /// Nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The report of a step, if it was asked for.
    #[must_use]
    pub fn step(&self, id: StepId) -> Option<&StepReport> {
        self.steps.iter().find(|step| step.id == id)
    }

    /// Takes one event in.
    pub fn take(&mut self, event: &Event<'_>, now: Instant) {
        match event {
            Event::Listed { id, step, total } => {
                let report = self.step_mut(*id, &step.name, step.each.is_some());
                report.counts.total = *total as u64;
            }
            Event::Unlisted { id, step, after } => {
                self.step_mut(*id, &step.name, step.each.is_some()).known_after =
                    Some((*after).to_owned());
                self.would_act = true;
            }
            Event::Attempt { task, .. } => {
                let report = self.task_step(task);
                report.began.get_or_insert(now);
            }
            Event::AttemptFailed { task, tries, failure, tail, again_in: None, command } => {
                self.troubles.push(Trouble {
                    task: task.name(),
                    outcome: Outcome::Failed((*failure).clone()),
                    tries: *tries,
                    command: (*command).to_owned(),
                    tail: tail.to_vec(),
                });
            }
            Event::Settled { task, outcome } => self.settle(task, outcome, now),
            Event::StepFailed { id, step, failure } => {
                self.is_broken |= failure.is_broken();
                let report = self.step_mut(*id, &step.name, step.each.is_some());
                report.note = failure.to_string();
                let unsettled = report.unsettled().max(1);
                report.counts.total = report.counts.total.max(unsettled);
                report.counts.failed += unsettled;
                self.troubles.push(Trouble {
                    task: TaskName::new(&step.name, &Instance::default(), None),
                    outcome: Outcome::Failed((*failure).clone()),
                    tries: 0,
                    command: String::new(),
                    tail: Vec::new(),
                });
            }
            Event::Stopping { signal, .. } => self.signal = Some(*signal),
            Event::TimedOut { limit } => self.timed_out = Some(*limit),
            Event::LeaseLost { .. } => self.is_broken = true,
            _ => {}
        }
    }

    fn settle(&mut self, task: &TaskRef<'_>, outcome: &Outcome, now: Instant) {
        let report = self.task_step(task);
        let counts = &mut report.counts;
        match outcome {
            Outcome::Skipped(reason) => {
                counts.skipped += 1;
                *report.reasons.entry(*reason).or_default() += 1;
            }
            Outcome::Adopted(reason) => {
                counts.adopted += 1;
                *report.reasons.entry(*reason).or_default() += 1;
            }
            Outcome::Ran(made) | Outcome::Reused(made) => {
                if matches!(outcome, Outcome::Ran(_)) {
                    counts.ran += 1;
                } else {
                    counts.reused += 1;
                }
                if let Some(rows) = made.rows {
                    *report.rows.get_or_insert(0) += rows;
                }
                report.bytes += made.bytes;
                report.ended = Some(now);
                if let Some(reason) = made.why {
                    *report.reasons.entry(reason).or_default() += 1;
                }
                if let [only] = &*task.task.outs {
                    report.only_output = Some(only.to_string_lossy().into_owned());
                }
            }
            Outcome::Failed(failure) if failure.is_refusal() => counts.refused += 1,
            Outcome::Failed(_) => counts.failed += 1,
            Outcome::Refused(_) => counts.refused += 1,
            Outcome::Busy => counts.busy += 1,
            Outcome::Blocked(by) => {
                counts.blocked += 1;
                report.blocked_by.get_or_insert_with(|| by.clone());
            }
            Outcome::Would(verdict) => {
                *report.would.entry(verdict.ruling).or_default() += 1;
                *report.reasons.entry(verdict.reason).or_default() += 1;
            }
            Outcome::May => report.may += 1,
        }
        self.note_trouble(task, outcome);
    }

    fn note_trouble(&mut self, task: &TaskRef<'_>, outcome: &Outcome) {
        let note = match outcome {
            Outcome::Failed(failure) => failure.to_string(),
            Outcome::Refused(reason) => reason.to_string(),
            Outcome::Busy => Reason::Busy.to_string(),
            Outcome::Would(_) | Outcome::May => {
                self.would_act = true;
                return;
            }
            _ => return,
        };
        let name = task.name();
        let report = self.task_step(task);
        if report.note.is_empty() {
            report.note = match &name.item {
                Some(item) => format!("{item}: {note}"),
                None => note,
            };
        }
        if let Outcome::Failed(failure) = outcome {
            self.is_broken |= failure.is_broken();
        }
        // That of another task may have come between its failure and its end.
        let is_told = || self.troubles.iter().any(|trouble| trouble.task == name);
        if self.troubles.len() < MOST && !is_told() {
            self.troubles.push(Trouble {
                task: name,
                outcome: outcome.clone(),
                tries: 0,
                command: String::new(),
                tail: Vec::new(),
            });
        }
    }

    fn task_step(&mut self, task: &TaskRef<'_>) -> &mut StepReport {
        let report = self.step_mut(task.id, &task.step.name, task.step.each.is_some());
        if report.instance != *task.instance {
            report.instance = task.instance.clone();
        }
        report
    }

    fn step_mut(&mut self, id: StepId, name: &str, has_items: bool) -> &mut StepReport {
        let at = match self.steps.binary_search_by_key(&id, |step| step.id) {
            Ok(at) => at,
            Err(at) => {
                self.steps.insert(at, StepReport::new(id, name, has_items));
                at
            }
        };
        &mut self.steps[at]
    }

    /// All tasks together.
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.steps.iter().fold(Counts::default(), |mut sum, step| {
            let counts = &step.counts;
            sum.total += counts.total;
            sum.ran += counts.ran;
            sum.skipped += counts.skipped;
            sum.adopted += counts.adopted;
            sum.reused += counts.reused;
            sum.failed += counts.failed;
            sum.refused += counts.refused;
            sum.busy += counts.busy;
            sum.blocked += counts.blocked;
            sum.untried += step.unsettled();
            sum
        })
    }

    /// Whether a task was begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.steps.iter().any(|step| step.began.is_some())
    }

    /// The run as a JSON object, for those who are told of its end.
    #[must_use]
    pub fn summary(&self, pipeline: &str, run: Option<i64>) -> serde_json::Value {
        let steps = self.steps.iter().map(|step| {
            let counts = &step.counts;
            serde_json::json!({
                "step": step.name, "instance": step.instance.as_str(), "total": counts.total,
                "done": counts.ran, "skipped": counts.skipped, "adopted": counts.adopted,
                "reused": counts.reused, "failed": counts.failed, "refused": counts.refused,
                "busy": counts.busy, "blocked": counts.blocked, "rows": step.rows,
                "seconds": step.took().as_secs_f64(), "note": step.note,
            })
        });
        let troubles = self.troubles.iter().take(100).map(|trouble| {
            let why = match &trouble.outcome {
                Outcome::Failed(failure) => failure.to_string(),
                Outcome::Refused(reason) => reason.to_string(),
                other => other.name().to_owned(),
            };
            serde_json::json!({
                "task": trouble.task.to_string(), "outcome": trouble.outcome.name(), "why": why,
            })
        });
        serde_json::json!({
            "pipeline": pipeline, "run": run, "exit": self.status(),
            "steps": steps.collect::<Vec<_>>(), "troubles": troubles.collect::<Vec<_>>(),
        })
    }

    /// The exit status of the run: the first that applies.
    #[must_use]
    pub fn status(&self) -> i32 {
        let totals = self.totals();
        match self.signal {
            Some(signal) => 128 + signal,
            None if self.is_broken => 5,
            None if totals.refused > 0 => 3,
            None if totals.failed > 0 => 1,
            None if self.timed_out.is_some() => 1,
            None if totals.busy > 0 => 4,
            None if self.would_act => 6,
            // Whatever was not reached had a cause; should one be lost, it must
            // not look like success.
            None if !totals.all_reached() => 1,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::pipeline::Pipeline;
    use crate::words::receipt::Failure;
    use crate::words::task::Task;

    fn status_of(outcomes: &[Outcome], signal: Option<i32>) -> i32 {
        let pipeline = Pipeline::read("name = 'a'\n[step.s]\nrun = 'x'").expect("a good file");
        let task = Task { item: None, row: None, outs: Box::new([]) };
        let instance = Instance::default();
        let task = TaskRef {
            id: StepId(0),
            step: &pipeline.steps[0],
            instance: &instance,
            task: &task,
            at: 0,
        };
        let mut report = Report::new();
        let now = Instant::now();
        let (id, step, total) = (StepId(0), task.step, outcomes.len());
        report.take(&Event::Listed { id, step, total }, now);
        for outcome in outcomes {
            report.take(&Event::Settled { task, outcome }, now);
        }
        if let Some(signal) = signal {
            report.take(&Event::Stopping { signal, at_once: true }, now);
        }
        report.status()
    }

    #[test]
    fn the_first_exit_status_that_applies_is_given() {
        let done = Outcome::Skipped(Reason::Unchanged);
        let failed = Outcome::Failed(Failure::Exit(1));
        let broken = Outcome::Failed(Failure::Broken("disk".to_owned()));
        let refused = Outcome::Refused(Reason::MayBeDone);
        let blocked = Outcome::Blocked("a".to_owned());
        assert_eq!(status_of(std::slice::from_ref(&done), None), 0);
        assert_eq!(status_of(&[done.clone(), Outcome::May], None), 6);
        assert_eq!(status_of(&[Outcome::Busy, Outcome::May], None), 4);
        assert_eq!(status_of(&[failed.clone(), Outcome::Busy, blocked], None), 1);
        assert_eq!(status_of(&[failed.clone(), refused.clone()], None), 3);
        assert_eq!(status_of(&[failed, refused, broken.clone()], None), 5);
        assert_eq!(status_of(&[broken], Some(2)), 130);
    }
}
