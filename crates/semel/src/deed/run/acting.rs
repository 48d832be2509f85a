//! An act on one task: its command is run, what is there is adopted, outputs of a
//! twin are reused, or a check is asked.
//!
//! What succeeds goes to the recorder, since nothing is done before its receipt is
//! written; what does not comes back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use jiff::Timestamp;

use crate::deed::act::{self, Acted, Attempted, Job, Workshop};
use crate::deed::journal::Unsettled;
use crate::deed::look::Sight;
use crate::deed::publish::{Paper, Published, make_durable, publish};
use crate::deed::record::{Completion, Orders, Particulars};
use crate::deed::view::{Seen, StepView};
use crate::deed::{check, command, transaction};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::words::event::Made;
use crate::words::pipeline::{ActionKind, InPlace, Probe, StepId};
use crate::words::receipt::{Attempt, AttemptEnd, Ending, Failure, Origin};
use crate::words::verdict::{Reason, Ruling, Verdict};

use super::worker::{Done, FailedAct, Left, Message, Shop, WhyNot};

/// One act on a task.
pub(super) struct Act<'s, 'a> {
    pub(super) shop: &'s Shop<'s, 'a>,
    pub(super) step: StepId,
    pub(super) task: usize,
    pub(super) view: &'s StepView<'a>,
    pub(super) sight: &'s Sight,
    pub(super) verdict: Verdict,
    pub(super) number: u64,
    pub(super) tries: u32,
    pub(super) turn: Option<u64>,
    pub(super) takes_rewritten: bool,
    pub(super) messages: &'s Sender<Message<'a>>,
    pub(super) recorder: &'s Orders<Box<Done>>,
}

impl Act<'_, '_> {
    /// Acts; what succeeds goes to the recorder, what does not comes back.
    pub(super) fn act(&self) -> Option<FailedAct> {
        if let Err(failure) = self.take_back_unsettled() {
            let why = WhyNot::Failed { failure, provably_undone: false };
            return Some(self.failed(why, Vec::new()));
        }
        match self.verdict.ruling {
            Ruling::Adopt if self.view.rows.is_some() => self.adopt_rows(),
            Ruling::Reuse if self.view.rows.is_some() => self.reuse_rows(),
            Ruling::Adopt => self.adopt(),
            Ruling::Reuse => self.reuse(),
            _ if self.view.step.action.is_none() => self.ask(),
            _ if self.view.rows.is_some() => self.transact(),
            _ => self.run(),
        }
    }

    /// What a dead run published, and what does not stand, gives way to what was there
    /// before it, in the run that does it again.
    fn take_back_unsettled(&self) -> Result<(), Failure> {
        let does_again = !matches!(self.verdict.ruling, Ruling::Adopt);
        let Some(unsettled) = self.sight.unsettled.as_ref().filter(|_| does_again) else {
            return Ok(());
        };
        let disk = self.shop.site.disk;
        unsettled.take_back(disk).map_err(|error| {
            Failure::Broken(format!("what was there before cannot be put back: {error}"))
        })
    }

    pub(super) fn job(&self) -> Job<'_> {
        Job {
            view: self.view,
            task: &self.shop.tasks(self.step).tasks[self.task],
            sight: self.sight,
            number: self.number,
            takes_rewritten: self.takes_rewritten,
        }
    }

    pub(super) fn workshop(&self) -> &Workshop<'_> {
        self.shop.workshop.as_ref().expect("acts are ordered only where acting is allowed")
    }

    pub(super) fn particulars<'p>(&'p self, job: &Job<'p>) -> Particulars<'p> {
        let inputs = job.sight.item.iter().chain(&job.view.inputs).chain(&job.sight.own_inputs);
        Particulars {
            view: job.view,
            task: job.task,
            fingerprint: self.sight.fingerprint,
            inputs: inputs.collect(),
            run: self.shop.run,
            said: self.said(),
            ends: self.sight.open,
        }
    }

    pub(super) fn said(&self) -> Option<i64> {
        self.sight.said.as_ref().map(|said| said.id)
    }

    fn adopt(&self) -> Option<FailedAct> {
        let job = self.job();
        let settled = self.verdict.reason == Reason::SaidDone;
        if settled && let Some(kept) = &self.sight.kept {
            let staged = act::take_kept(self.workshop(), &job, kept);
            return self.publish(&job, staged, Origin::Settled, None, Vec::new());
        }
        let is_finished = !settled && self.sight.is_finished;
        let origin = if settled { Origin::Settled } else { Origin::Adopted };
        let unsynced = match make_durable(self.shop.site, &job) {
            Ok(unsynced) => unsynced,
            Err(failure) => {
                let why = WhyNot::Failed { failure, provably_undone: false };
                return Some(self.failed(why, Vec::new()));
            }
        };
        let outs: Vec<_> = self.sight.outs.iter().flatten().copied().collect();
        let particulars = self.particulars(&job);
        if let Some(unsettled) = self.sight.unsettled.as_ref().filter(|_| is_finished) {
            match self.finish(&particulars, unsettled, unsynced) {
                Ok((completion, displaced)) => {
                    self.record(completion, outs, Made::default(), displaced);
                    return None;
                }
                Err(failure) => {
                    let why = WhyNot::Failed { failure, provably_undone: false };
                    return Some(self.failed(why, Vec::new()));
                }
            }
        }
        let completion = Completion::found(&particulars, &self.sight.outs, origin, unsynced);
        self.record(completion, outs, Made::default(), Vec::new());
        None
    }

    /// The receipt of what a dead run published. What was in the places and semel did
    /// not make is moved out of staging before that is cleared.
    fn finish(
        &self,
        particulars: &Particulars<'_>,
        unsettled: &Unsettled,
        unsynced: Vec<PathBuf>,
    ) -> Result<(Completion, Vec<(PathBuf, PathBuf)>), Failure> {
        let workshop = self.workshop();
        let displaced = unsettled.save_others(workshop.site, workshop.displaced)?;
        let completion = Completion::finished(particulars, unsettled, unsynced);
        let completion = completion.ok_or_else(|| {
            Failure::Broken("the receipt in its journal cannot be understood".to_owned())
        })?;
        Ok((completion, displaced))
    }

    fn reuse(&self) -> Option<FailedAct> {
        let job = self.job();
        if job.view.step.outs.is_empty() {
            let particulars = self.particulars(&job);
            let completion = Completion::found(&particulars, &[], Origin::Reused, Vec::new());
            self.record(completion, Vec::new(), self.made(&[], None), Vec::new());
            return None;
        }
        match act::copy_twin(self.workshop(), &job) {
            Ok(Some(staged)) => self.publish(&job, Ok(staged), Origin::Reused, None, Vec::new()),
            Ok(None) => Some(self.failed(WhyNot::TwinChanged, Vec::new())),
            Err(failure) => self.publish(&job, Err(failure), Origin::Reused, None, Vec::new()),
        }
    }

    /// A step that is a check alone does nothing but ask.
    fn ask(&self) -> Option<FailedAct> {
        let job = self.job();
        let asked = check::Asked {
            view: job.view,
            task: job.task,
            own_inputs: &self.sight.own_inputs,
            outs: &[],
        };
        let (at, tries) = (self.task, self.tries);
        let _ = self.messages.send(Message::Began { step: self.step, task: at, tries });
        let began = Instant::now();
        if let Err(failure) = check::ask_until_it_holds(self.shop.site, &asked, self.shop.stop_all)
        {
            let why = WhyNot::Failed { failure, provably_undone: true };
            return Some(self.failed(why, Vec::new()));
        }
        let particulars = self.particulars(&job);
        let completion = Completion::found(&particulars, &[], Origin::Adopted, Vec::new());
        self.record(completion, Vec::new(), self.made(&[], Some(began.elapsed())), Vec::new());
        None
    }

    fn run(&self) -> Option<FailedAct> {
        let job = self.job();
        let step = job.view.step;
        let began = self.attempt(&job);
        // What must be undone after a crash must be known to have begun; and so must
        // that of which half could pass for all.
        let is_announced = step.once
            || step.cleanup.is_some()
            || step.in_place != InPlace::No
            || step.check.is_some();
        let mut intend = || {
            if is_announced {
                let intended = self.recorder.intend(began.clone(), self.said());
                return intended.map_err(Failure::Broken);
            }
            self.recorder.begin(began.clone(), self.said());
            Ok(())
        };
        let stop = self.stop();
        let permit = match self.admit() {
            Ok(permit) => permit,
            Err(failed) => return Some(failed),
        };
        let at = self.task;
        let mut printed = |bytes: &[u8]| {
            if self.shop.passes_on {
                let bytes = bytes.to_vec();
                let _ = self.messages.send(Message::Printed { step: self.step, task: at, bytes });
            }
        };
        // The permit is for the command only; publishing is our own time.
        let mut give_back = permit;
        let mut telling = act::Telling {
            intend: &mut intend,
            printed: &mut printed,
            ended: &mut || self.give_back(&mut give_back),
        };
        let attempted = act::attempt(self.workshop(), &job, stop, &mut telling);
        self.give_back(&mut give_back);
        let Attempted { acted, log, tail, log_error, kept } = attempted;
        if let Some(error) = log_error {
            let text = format!("what {} printed could not be kept: {error}", began.task);
            let reason = error.clone();
            let _ = self.messages.send(Message::Complaint { text, reason });
        }
        let end = |ending, provably_undone| AttemptEnd {
            ending,
            provably_undone,
            ended: Timestamp::now(),
            log,
        };
        let (why, ended) = match acted {
            Acted::Staged(staged) => {
                let done = end(Ending::Done, false);
                return self.publish(&job, Ok(staged), Origin::Ran, Some((began, done)), tail);
            }
            Acted::Failed { failure, provably_undone } => {
                let ended = end(Ending::Failed(failure.clone()), provably_undone);
                let why = WhyNot::Failed { failure, provably_undone };
                (why, ended)
            }
            Acted::Void(input) => (WhyNot::Void(input), end(Ending::Void, false)),
            Acted::Stopped { provably_undone } => {
                (WhyNot::Stopped, end(Ending::Interrupted, provably_undone))
            }
        };
        self.recorder.end(began, ended, self.said());
        Some(FailedAct { kept, ..self.failed(why, tail) })
    }

    /// The attempt that is made.
    pub(super) fn attempt(&self, job: &Job<'_>) -> Attempt {
        Attempt {
            task: job.task.name(&job.view.step.name, &job.view.instance),
            run: self.shop.run,
            number: self.number,
            tries: self.tries,
            fingerprint: self.sight.fingerprint,
            began: Timestamp::now(),
            once: job.view.step.once,
        }
    }

    /// What ends it.
    pub(super) fn stop(&self) -> &Stop {
        if self.view.step.once { self.shop.stop_all } else { self.shop.stop }
    }

    /// Waits until it may begin, notes what the run owes from then on, and tells of it.
    pub(super) fn admit(&self) -> Result<Option<()>, FailedAct> {
        let permit = match self.turn {
            Some(turn) => self.shop.turns.in_turn(turn, || self.shop.permits.1.recv()),
            None => self.shop.permits.1.recv(),
        };
        let mut permit = permit.ok();
        let undone = |why| WhyNot::Failed { failure: Failure::Broken(why), provably_undone: true };
        let why_not = if self.stop().is_pulled() {
            Some(WhyNot::Stopped)
        } else if let Err(why) = self.shop.site.may_go_on() {
            Some(undone(why))
        } else {
            let owed = self.shop.debt.as_ref().map(|(ledger, debt)| ledger.owe(debt));
            let owed = owed.and_then(Result::err);
            owed.map(|error| undone(format!("that `[finally]` is owed: {error}")))
        };
        if let Some(why_not) = why_not {
            // Whoever waits for it must hear of the end too.
            self.give_back(&mut permit);
            return Err(self.failed(why_not, Vec::new()));
        }
        let (task, tries) = (self.task, self.tries);
        let _ = self.messages.send(Message::Began { step: self.step, task, tries });
        Ok(permit)
    }

    pub(super) fn give_back(&self, permit: &mut Option<()>) {
        if permit.take().is_some() {
            let _ = self.shop.permits.0.send(());
        }
    }

    /// Publishes what was staged, and orders its receipt.
    fn publish(
        &self,
        job: &Job<'_>,
        staged: Result<act::Staged, Failure>,
        origin: Origin,
        attempt: Option<(Attempt, AttemptEnd)>,
        tail: Vec<u8>,
    ) -> Option<FailedAct> {
        let stop = self.shop.stop_all;
        let paper =
            Paper { particulars: self.particulars(job), origin, attempt, by: &self.shop.by };
        let published = staged.and_then(|staged| {
            self.shop.site.may_go_on().map_err(Failure::Broken)?;
            publish(self.workshop(), job, staged, &paper, stop)
        });
        let Paper { particulars, attempt, .. } = paper;
        match published {
            Ok(published) => {
                let made = self.made(&published.files, Some(published.took));
                let Published { outs, displaced, .. } = &published;
                let (outs, displaced) = (outs.clone(), displaced.clone());
                let completion = Completion::published(&particulars, published, origin, attempt);
                self.record(completion, outs, made, displaced);
                None
            }
            Err(failure) => {
                if let Some((began, end)) = attempt {
                    let ending = Ending::Failed(failure.clone());
                    self.recorder.end(began, AttemptEnd { ending, ..end }, self.said());
                }
                let why = WhyNot::Failed { failure, provably_undone: false };
                Some(self.failed(why, tail))
            }
        }
    }

    pub(super) fn made(
        &self,
        files: &[crate::words::receipt::FileRecord],
        took: Option<Duration>,
    ) -> Made {
        let rows: Vec<_> = files.iter().filter_map(|file| file.rows).collect();
        Made {
            took: took.unwrap_or_default(),
            bytes: files.iter().map(|file| file.bytes).sum(),
            rows: (!rows.is_empty()).then(|| rows.iter().sum()),
            from: self.sight.twin.as_ref().map(|twin| twin.task.to_string()),
            why: Some(self.verdict.reason),
        }
    }

    pub(super) fn record(
        &self,
        completion: Completion,
        outs: Vec<Seen>,
        made: Made,
        displaced: Vec<(PathBuf, PathBuf)>,
    ) {
        let done = Done {
            step: self.step,
            task: self.task,
            ruling: self.verdict.ruling,
            reason: self.verdict.reason,
            made,
            left: Left { fingerprint: self.sight.fingerprint, effect: completion.effect(), outs },
            displaced,
        };
        self.recorder.complete(Box::new(done), completion);
    }

    /// The command as people would type it; of a check alone, what is asked.
    fn typed(&self, bindings: &Bindings<'_>) -> String {
        let step = self.view.step;
        let asked = step.check.as_ref().and_then(|check| match &check.probe {
            Probe::Command { command, .. } | Probe::All(command) => Some(command),
            Probe::File { .. } | Probe::Sql { .. } => None,
        });
        let typed = match step.action.as_ref().map(|action| &action.kind) {
            Some(ActionKind::Command(command)) => Some(command::as_typed(command, bindings)),
            Some(kind) => Some(transaction::as_typed(kind, bindings)),
            None => asked.map(|command| command::as_typed(command, bindings)),
        };
        self.view.mask.text(&typed.unwrap_or_default()).into_owned()
    }

    pub(super) fn failed(&self, why: WhyNot, tail: Vec<u8>) -> FailedAct {
        let job = self.job();
        let inputs = job.view.input_paths(&self.sight.own_inputs);
        // People know the output by where it will be, not by where it is staged.
        let bindings = Bindings {
            input_list: Some(Path::new("in.list")),
            root: None,
            ..job.view.bindings(self.shop.site, job.task, &inputs, &job.task.outs)
        };
        FailedAct {
            step: self.step,
            task: self.task,
            tries: self.tries,
            why,
            tail,
            command: self.typed(&bindings),
            kept: Vec::new(),
        }
    }
}
