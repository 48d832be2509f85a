//! A run in a log: one line for each thing that became true, and one a minute
//! while nothing does. A run with nothing to do is one line.

use std::io::Write;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use semel::thought::report::Report;
use semel::words::clock;
use semel::words::event::{Event, Outcome};
use semel::words::pipeline::StepId;

use super::board::{ending, state};
use super::text::{count, in_home, is_incomplete, notice, visible};
use crate::place::Place;

/// After how long a silence a line says that work goes on.
const SILENCE: Duration = Duration::from_secs(60);

/// Writes the lines of a run.
pub(crate) struct Plain<'a, W> {
    place: &'a Place,
    out: W,
    report: Report,
    told: Vec<StepId>,
    /// Lines that are told only if something is done at all.
    held_back: Option<Vec<String>>,
    last: Instant,
}

impl<'a, W: Write> Plain<'a, W> {
    /// Writes to `out`.
    pub(crate) fn new(place: &'a Place, out: W) -> Self {
        Self {
            place,
            out,
            report: Report::new(),
            told: Vec::new(),
            held_back: Some(Vec::new()),
            last: Instant::now(),
        }
    }

    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        let now = Instant::now();
        self.report.take(event, now);
        match event {
            Event::Began { run, number } => {
                let instance = super::text::instance(&self.place.file.pipeline.per, &run.instance);
                let instance = if instance.is_empty() {
                    instance
                } else {
                    format!(" {}", instance.replace(' ', "=").replace("==", " "))
                };
                let by = &run.by;
                self.say(&format!(
                    "{}{instance} run {number} by {}@{}, pid {}",
                    run.pipeline, by.user, by.host, by.pid
                ));
            }
            Event::Waits { .. } => {
                for line in notice(self.place, event) {
                    self.tell(&line);
                }
            }
            Event::NewMemory { .. }
            | Event::OldMemory { .. }
            | Event::Mended { .. }
            | Event::PaidDebt { .. }
            | Event::Warning { .. }
            | Event::LeaseLost { .. }
            | Event::CommandChanged { .. }
            | Event::HookFailed { .. } => {
                let is_well = match event {
                    Event::NewMemory { .. } => !is_incomplete(event),
                    event => matches!(event, Event::PaidDebt { .. }),
                };
                if !is_well {
                    self.let_go();
                }
                for line in notice(self.place, event) {
                    self.say(&line);
                }
            }
            Event::Finished { number, task } => {
                self.say(&format!("run {number} was killed while it published {task}: finished"));
            }
            Event::CleanedUp { number, attempts } => {
                self.say(&format!(
                    "run {number} was killed: {} cleaned up",
                    count(*attempts as u64, "half attempt")
                ));
            }
            // The line of its step is the same.
            Event::AttemptFailed { task, again_in: None, .. } if task.step.each.is_none() => {}
            Event::AttemptFailed { task, tries, failure, again_in, .. } => {
                let after = match again_in {
                    Some(pause) => format!("; again in {}", clock(*pause)),
                    None if *tries > 1 => format!(", {tries} tries"),
                    None => String::new(),
                };
                let word = if failure.is_refusal() { "refused" } else { "failed" };
                self.tell(&format!("{task} {word}: {failure}{after}"));
            }
            Event::Void { task, input } => {
                let again = if task.step.once { "" } else { "; again" };
                self.tell(&format!(
                    "{task}: its input {} changed while it ran{again}",
                    input.display()
                ));
            }
            Event::Displaced { task, from, to } => {
                self.tell(&format!(
                    "{task}: {} was not made by semel; it is kept as {}",
                    from.display(),
                    in_home(to).display()
                ));
            }
            Event::StepFailed { step, failure, .. } => {
                self.tell(&format!("{} failed: {failure}", step.name));
            }
            Event::TimedOut { limit } => {
                self.tell(&format!(
                    "the run took longer than {}: nothing new is begun",
                    clock(*limit)
                ));
            }
            Event::Stopping { signal, .. } => {
                self.tell(&format!("signal {signal}: nothing new is begun"));
            }
            Event::Printed { task, bytes } => {
                for line in String::from_utf8_lossy(bytes).lines() {
                    self.tell(&format!("{task} | {}", visible(line)));
                }
            }
            Event::Attempt { .. } => self.let_go(),
            Event::Settled { task, outcome } => {
                if let Outcome::Refused(reason) = outcome {
                    self.tell(&format!("{task} refused: {reason}"));
                }
                self.step_settled(task.id);
            }
            Event::Listed { .. }
            | Event::Unlisted { .. }
            | Event::MayBeRenamed { .. }
            | Event::Evidence { .. } => {}
        }
        if now.duration_since(self.last) >= SILENCE {
            let totals = self.report.totals();
            let settled = totals.total - totals.untried;
            self.tell(&format!("at work: {settled} of {} tasks settled", totals.total));
        }
    }

    /// Tells of a step when the last of its tasks is settled.
    fn step_settled(&mut self, id: StepId) {
        let Some(report) = self.report.step(id) else {
            return;
        };
        if report.unsettled() > 0 || self.told.contains(&id) {
            return;
        }
        let step = self.place.file.pipeline.step(id);
        let facts: Vec<_> = <[String; 2]>::from(ending(report, step))
            .into_iter()
            .filter(|fact| !fact.is_empty())
            .collect();
        let took = Some(report.took()).filter(|took| !took.is_zero()).map(clock);
        let facts: Vec<_> = facts.into_iter().chain(took).collect();
        let line = format!("{} {}: {}", step.name, state(report), facts.join(", "));
        let is_skip = state(report) == "skip";
        self.told.push(id);
        if is_skip {
            self.say(&line);
        } else {
            self.tell(&line);
        }
    }

    /// Says something that is of interest only if anything is done.
    fn say(&mut self, line: &str) {
        let line = format!("{:.0} {line}", Timestamp::now());
        match &mut self.held_back {
            Some(held) => held.push(line),
            None => self.write(&line),
        }
    }

    /// Tells something.
    fn tell(&mut self, line: &str) {
        self.let_go();
        self.say(line);
    }

    /// Tells what was held back.
    fn let_go(&mut self) {
        for line in self.held_back.take().into_iter().flatten() {
            self.write(&line);
        }
    }

    fn write(&mut self, line: &str) {
        self.last = Instant::now();
        // A log that is gone must not end the run.
        let _ = writeln!(self.out, "{line}");
    }
}
