//! The life of a task: looked at, acted on, settled.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use super::Mode;
use super::engine::{Engine, LastFailure, Leader};
use super::state::{Phase, ToAct};
use super::steps::may_act;
use super::worker::{Done, FailedAct, Left, WhyNot};
use crate::deed::look::Looked;
use crate::deed::view::StepView;
use crate::thought::retry;
use crate::words::event::{Event, Outcome};
use crate::words::fingerprint::Fingerprint;
use crate::words::path::show;
use crate::words::pipeline::{EachSource, StepId};
use crate::words::receipt::Failure;
use crate::words::verdict::{Reason, Ruling, Verdict};

/// How often a task is tried again because its inputs changed under it.
const MOST_VOIDS: u32 = 3;

impl<'s> Engine<'_, 's> {
    /// The verdict on a task came in.
    pub(super) fn decided(
        &mut self,
        id: StepId,
        task: usize,
        view: &Arc<StepView<'s>>,
        looked: Result<Looked, Failure>,
    ) {
        let looked = match looked {
            Ok(looked) => looked,
            // What a stopped check did not say is nobody's fault.
            Err(_) if self.signals > 0 => return,
            Err(failure) => return self.settle(id, task, Outcome::Failed(failure), None),
        };
        if let Some(evidence) = &looked.evidence {
            let task = self.task_ref(id, task);
            self.tell(&Event::Evidence { task, evidence });
        }
        if let Some(gone) = &looked.renamed {
            let task = self.task_ref(id, task);
            let (pipeline, step) = (&gone.pipeline, &gone.step);
            self.tell(&Event::MayBeRenamed { task, pipeline, step });
        }
        let Verdict { ruling, reason } = looked.verdict;
        let left = looked
            .fingerprint
            .filter(|_| self.steps[id.0].is_read)
            .map(|fingerprint| Left { fingerprint, effect: looked.effect, outs: looked.outs });
        let acts = match self.mode {
            Mode::Act => true,
            Mode::ExpectNoop => ruling == Ruling::Adopt,
            Mode::Plan => false,
        };
        match (ruling, looked.sight) {
            (Ruling::Skip, _) => {
                self.remember_answer(id, task, looked.held.then_some(looked.fingerprint).flatten());
                self.settle(id, task, Outcome::Skipped(reason), left);
            }
            // What is done in every run is no work that a run would find.
            (Ruling::Run, _)
                if self.mode == Mode::ExpectNoop && self.is_done_always(id, reason) =>
            {
                self.settle(id, task, Outcome::Skipped(reason), left);
            }
            (Ruling::Adopt, _) if !acts => self.settle(id, task, Outcome::Adopted(reason), left),
            (Ruling::Wait, _) => self.settle(id, task, Outcome::Busy, None),
            (Ruling::Refuse, _) => match self.failures.remove(&(id, task)) {
                // It failed in this run, and may not be tried again.
                Some(last) => self.fail(id, task, last),
                None => self.settle(id, task, Outcome::Refused(reason), None),
            },
            (_, Some(_)) if acts && !view.hold.may_act() => {
                self.settle(id, task, Outcome::Busy, None);
            }
            (_, Some(_)) if acts && self.held_off_by(id, task).is_some() => {
                let cause = self.held_off_by(id, task).unwrap_or_default();
                self.settle(id, task, Outcome::Blocked(cause), None);
            }
            (_, Some(_))
                if acts && reason == Reason::New && self.follows(id, task, looked.fingerprint) =>
            {
                self.pauses(id, task);
            }
            (_, Some(sight)) if acts => {
                let tries = self.failures.get(&(id, task)).map_or(1, |last| last.tries + 1);
                let state = &mut self.steps[id.0];
                let verdict = looked.verdict;
                let view = Arc::clone(view);
                let to_act = ToAct { view, sight, verdict, tries };
                state.to_act.insert(task, to_act);
                self.waiting_to_act += 1;
                self.can_act.insert((Reverse(state.depth), id));
            }
            _ => self.settle(id, task, Outcome::Would(looked.verdict), None),
        }
    }

    fn is_done_always(&self, id: StepId, reason: Reason) -> bool {
        let limit = self.pipeline.step(id).max_age;
        reason == Reason::TooOld && limit.is_some_and(|limit| limit.is_zero())
    }

    /// Notes that the check of a done task was asked and held, where that is
    /// believed for a while.
    fn remember_answer(&self, id: StepId, task: usize, fingerprint: Option<Fingerprint>) {
        let check = self.pipeline.step(id).check.as_ref();
        let is_believed = check.is_some_and(|check| check.max_age.is_some());
        if let (true, Some(fingerprint), Some(recorder), true) =
            (is_believed, fingerprint, &self.recorder, self.mode != Mode::Plan)
        {
            recorder.held(self.task_ref(id, task).name(), fingerprint);
        }
    }

    /// Whether a new task need not be acted on now, since another one does the
    /// same, or did.
    fn follows(&mut self, id: StepId, task: usize, fingerprint: Option<Fingerprint>) -> bool {
        let step = self.pipeline.step(id);
        let Some(fingerprint) = fingerprint.filter(|_| step.has_file_items()) else {
            return false;
        };
        let leader = self.leaders.entry((id, fingerprint));
        let leader = leader.or_insert_with(|| Leader { task, followers: Vec::new() });
        if leader.task == task {
            return false;
        }
        let first = leader.task;
        if self.steps[id.0].phases[first] != Phase::Settled {
            leader.followers.push(task);
            self.followed.entry((id, first)).or_default().push(fingerprint);
            return true;
        }
        // What the first one made may be gone already; nobody waits for it twice.
        let serves =
            !self.unreached.contains(&(id, first)) && !self.came_after.contains(&(id, task));
        if !serves && !step.once {
            leader.task = task;
            return false;
        }
        self.come_after(id, first, task, serves);
        true
    }

    /// A task was settled: those that would do the same come after it.
    fn lead(&mut self, id: StepId, task: usize, is_reached: bool) {
        if self.leaders.is_empty() {
            return;
        }
        if !is_reached {
            self.unreached.insert((id, task));
        }
        for fingerprint in self.followed.remove(&(id, task)).unwrap_or_default() {
            let leader = self.leaders.get_mut(&(id, fingerprint));
            let followers = leader.map(|leader| std::mem::take(&mut leader.followers));
            for follower in followers.unwrap_or_default() {
                self.come_after(id, task, follower, is_reached);
            }
        }
    }

    /// What is done for one task serves another. What is unsafe to repeat is not
    /// tried by another after it failed.
    fn come_after(&mut self, id: StepId, first: usize, task: usize, is_reached: bool) {
        if is_reached {
            self.came_after.insert((id, task));
            self.look_after(id, task, None, Some(first));
        } else if self.pipeline.step(id).once {
            let name = self.task_ref(id, first).to_string();
            self.settle(id, task, Outcome::Blocked(name), None);
        } else {
            self.look_again(id, task, None);
        }
    }

    /// A receipt was written, or could not be.
    pub(super) fn recorded(&mut self, done: Done, error: Option<String>) {
        let task = self.task_ref(done.step, done.task);
        for (from, to) in &done.displaced {
            self.tell(&Event::Displaced { task, from, to });
        }
        if let Some(error) = error {
            // Nothing that is begun now could be remembered.
            self.is_stopping = true;
            let outcome = Outcome::Failed(Failure::Broken(error));
            return self.settle(done.step, done.task, outcome, None);
        }
        self.failures.remove(&(done.step, done.task));
        let outcome = match done.ruling {
            Ruling::Adopt => Outcome::Adopted(done.reason),
            Ruling::Reuse => Outcome::Reused(done.made),
            _ => Outcome::Ran(done.made),
        };
        self.settle(done.step, done.task, outcome, Some(done.left));
    }

    /// An attempt did not succeed.
    pub(super) fn failed_act(&mut self, failed: FailedAct) {
        let FailedAct { step: id, task, tries, why, tail, command, kept } = failed;
        for (from, to) in &kept {
            let task = self.task_ref(id, task);
            self.tell(&Event::Displaced { task, from, to });
        }
        let step = self.pipeline.step(id);
        let (failure, provably_undone) = match why {
            // It stays unsettled: the run ends before it.
            WhyNot::Stopped => return,
            WhyNot::TwinChanged => {
                if !self.is_stopping {
                    self.look_again(id, task, None);
                }
                return;
            }
            WhyNot::Void(input) => match self.void(id, task, &input) {
                Some(failure) => (failure, false),
                None => return,
            },
            WhyNot::Failed { failure, provably_undone } => (failure, provably_undone),
        };
        let last = LastFailure { failure, provably_undone, tries, tail, command };
        // What is done once is tried again only where it provably did not happen;
        // where a check can prove it, the next look asks.
        let may_retry = !step.once || provably_undone || step.check.is_some();
        let pause = retry::pause(&step.retry, tries, chance());
        match pause.filter(|_| may_retry && !last.failure.is_broken() && !self.is_stopping) {
            None => self.fail(id, task, last),
            Some(pause) => {
                let event = Event::AttemptFailed {
                    task: self.task_ref(id, task),
                    tries,
                    failure: &last.failure,
                    tail: &last.tail,
                    again_in: Some(pause),
                    command: &last.command,
                };
                self.tell(&event);
                self.failures.insert((id, task), last);
                self.pauses(id, task);
                self.timers.push(Reverse((Instant::now() + pause, id, task)));
            }
        }
    }

    /// An input changed under an attempt: the task is looked at again, or it has
    /// failed.
    fn void(&mut self, id: StepId, task: usize, input: &std::path::Path) -> Option<Failure> {
        let path = show(input);
        let event = Event::Void { task: self.task_ref(id, task), input };
        self.tell(&event);
        if self.pipeline.step(id).once {
            // It may have been done with either.
            self.settle(id, task, Outcome::Refused(Reason::MayBeDone), None);
            return None;
        }
        let voids = self.voids.entry((id, task)).or_default();
        *voids += 1;
        if *voids > MOST_VOIDS {
            return Some(Failure::BadInput(format!("its input {path} changes whenever it runs")));
        }
        if !self.is_stopping {
            self.look_anew(id, task);
        }
        None
    }

    /// A task failed for good, in this run.
    fn fail(&mut self, id: StepId, task: usize, last: LastFailure) {
        self.failures.remove(&(id, task));
        let event = Event::AttemptFailed {
            task: self.task_ref(id, task),
            tries: last.tries,
            failure: &last.failure,
            tail: &last.tail,
            again_in: None,
            command: &last.command,
        };
        self.tell(&event);
        self.settle(id, task, Outcome::Failed(last.failure), None);
    }

    pub(super) fn settle(&mut self, id: StepId, task: usize, outcome: Outcome, left: Option<Left>) {
        self.settling.push_back((id, task, outcome, left));
    }

    pub(super) fn settle_all(&mut self) {
        while let Some((id, task, outcome, left)) = self.settling.pop_front() {
            self.settle_one(id, task, &outcome, left);
        }
    }

    /// A task came to its end: what is chained to it goes on, or is blocked.
    fn settle_one(&mut self, id: StepId, task: usize, outcome: &Outcome, left: Option<Left>) {
        let task_ref = self.task_ref(id, task);
        self.tell(&Event::Settled { task: task_ref, outcome });
        let would_act = matches!(outcome, Outcome::Would(_) | Outcome::May);
        let is_reached = outcome.is_reached();
        self.steps[id.0].phases[task] = Phase::Settled;
        self.progressed(id, task);
        let state = &mut self.steps[id.0];
        state.unsettled -= 1;
        state.own.would_act |= would_act;
        if is_reached && state.is_read {
            state.left[task] = left;
        }
        if !is_reached && !would_act {
            state.own.not_reached.get_or_insert_with(|| task_ref.to_string());
            self.is_stopping |= self.fails_fast && matches!(outcome, Outcome::Failed(_));
        }
        if matches!(outcome, Outcome::Failed(_)) {
            self.count_failure(id, &task_ref.to_string());
        }
        self.lead(id, task, is_reached);
        if self.pipeline.step(id).ordered {
            self.go_on_in_order(id, is_reached || would_act, &task_ref.to_string());
        }
        for next in self.steps[id.0].chained.clone() {
            let width = self.steps[next.0].width;
            let chained = task * width..(task + 1) * width;
            let each = self.pipeline.step(next).each.as_ref();
            let only_follows =
                each.is_some_and(|each| matches!(each.source, EachSource::ItemsOf(_)));
            if is_reached || (would_act && only_follows) {
                self.make_ready(next, chained);
                continue;
            }
            for task in chained {
                let state = &mut self.steps[next.0];
                if !matches!(state.phases[task], Phase::Waiting | Phase::Ready) {
                    continue;
                }
                state.phases[task] = Phase::Open;
                let outcome = if would_act {
                    let name = self.shop.tasks(next).tasks[task].item_name();
                    may_act(state.known.contains(&*name))
                } else {
                    Outcome::Blocked(task_ref.to_string())
                };
                self.settle(next, task, outcome, None);
            }
        }
        if self.steps[id.0].unsettled == 0 {
            self.settled_step(id);
        }
    }
}

impl Engine<'_, '_> {
    /// A task failed: if it is one too many, no further item begins.
    fn count_failure(&mut self, id: StepId, task: &str) {
        let state = &mut self.steps[id.0];
        state.failed += 1;
        let most = self.pipeline.step(id).max_failures;
        if most.is_some_and(|most| state.failed >= most.get()) {
            self.hold_off(id, task);
        }
    }

    /// In a step that goes in order a task came to its end: it is the next one's
    /// turn, or nobody's.
    fn go_on_in_order(&mut self, id: StepId, is_fine: bool, task: &str) {
        if is_fine {
            self.make_ready(id, 0..0);
            return;
        }
        for rest in self.steps[id.0].take_rest() {
            self.settle(id, rest, Outcome::Blocked(task.to_owned()), None);
        }
    }
}

/// A random number from 0 to 1.
fn chance() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    random as f64 / u64::MAX as f64
}
