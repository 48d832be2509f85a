//! The life of a step: listed, opened, prepared, settled.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::OnceLock;

use super::engine::Engine;
use super::selection::{self, Wanted};
use super::worker::{Changed, Order};
use crate::deed::view::{Before, Seen};
use crate::deed::{Trouble, list};
use crate::thought::plan::{self, StepTasks};
use crate::words::event::{Event, Outcome};
use crate::words::fingerprint::Left;
use crate::words::pipeline::{EachSource, Fault, InputSource, StepId};
use crate::words::receipt::Failure;
use crate::words::task::Task;
use crate::words::verdict::{Reason, Ruling, Verdict};

impl<'r, 's> Engine<'r, 's> {
    /// The tasks of a step are known.
    pub(super) fn listed(&mut self, id: StepId) {
        let total = self.shop.tasks(id).tasks.len();
        let state = &mut self.steps[id.0];
        state.list(total);
        if self.pipeline.step(id).ordered {
            state.order = self.shop.tasks(id).by_name();
        }
        let total = state.unsettled;
        let step = self.pipeline.step(id);
        self.tell(&Event::Listed { id, step, total });
    }

    /// Begins a step if nothing keeps it from beginning.
    pub(super) fn open_if_due(&mut self, id: StepId) {
        let state = &mut self.steps[id.0];
        if state.wanted.is_none()
            || state.is_open
            || state.is_settled
            || state.barrier > 0
            || self.is_stopping
        {
            return;
        }
        let is_listed = self.shop.tasks[id.0].get().is_some();
        let is_doomed = state.before.not_reached.is_some() || state.before.would_act;
        if state.chain.is_some() && !is_listed && !is_doomed {
            // It is listed with the step that it is chained to.
            return;
        }
        state.is_open = true;
        // What only comes after can be judged though what is before it would act.
        let would_matter =
            state.before.would_act && (!is_listed || self.pipeline.step(id).reads_upstream());
        match (state.before.not_reached.clone(), would_matter) {
            (None, false) => {
                let order = Order::Prepare {
                    step: id,
                    memory: std::mem::take(&mut state.memory),
                    before: self.before(id),
                    lists: !is_listed,
                };
                self.order_look(order);
            }
            _ if !is_listed => self.never_listed(id, None),
            (Some(cause), _) => self.settle_rest(id, |_| Outcome::Blocked(cause.clone())),
            (None, true) => self.may_act(id),
        }
    }

    /// What the steps before one left, as far as it counts for it.
    pub(super) fn before(&self, id: StepId) -> Before {
        let step = self.pipeline.step(id);
        let mut before = Before::default();
        for needed in &step.needs {
            let tasks = self.shop.tasks(*needed).tasks.iter().map(Task::item_name);
            let mut named: Vec<_> = tasks.zip(&self.steps[needed.0].left).collect();
            named.sort_by(|(one, _), (other, _)| one.cmp(other));
            let mut left = Left::default();
            for (name, task) in named {
                if let Some(task) = task {
                    left.add(&name, task.effect, &task.fingerprint);
                }
            }
            before.needs.insert(self.pipeline.step(*needed).name.clone(), left.digest());
        }
        for input in &step.inputs {
            if let InputSource::OutputsOf(gathered) = input.source {
                let tasks =
                    self.shop.tasks(gathered).tasks.iter().zip(&self.steps[gathered.0].left);
                let outs = tasks.flat_map(|(task, left)| {
                    let seen = left.iter().flat_map(|left| left.outs.iter().copied());
                    task.outs.iter().cloned().zip(seen)
                });
                before.outputs.entry(gathered).or_insert_with(|| outs.collect());
            }
        }
        before
    }

    /// The items of some tasks, where the tasks of another step left them.
    pub(super) fn made_items(&self, id: StepId, tasks: Range<usize>) -> Vec<Seen> {
        let each = self.pipeline.step(id).each.as_ref();
        let Some(EachSource::OutputsOf(chain)) = each.map(|each| &each.source) else {
            return Vec::new();
        };
        let outs = self.steps[id.0].width;
        let left = &self.steps[chain.0].left;
        // Where one is not there, each task looks for itself, and says so.
        let made = tasks.map(|task| left[task / outs].as_ref()?.outs.get(task % outs).copied());
        made.collect::<Option<_>>().unwrap_or_default()
    }

    pub(super) fn prepared(&mut self, id: StepId, result: Result<Option<Changed>, Trouble>) {
        let result = result.map(|changed| {
            if let Some(Changed { tasks, usual }) = changed {
                let step = self.pipeline.step(id);
                self.tell(&Event::CommandChanged { id, step, tasks, usual });
            }
        });
        let is_late = self.shop.tasks[id.0].get().is_some()
            && !self.steps[id.0].is_listed()
            && !self.steps[id.0].is_settled;
        let result = result.and_then(|()| if is_late { self.list_late(id) } else { Ok(()) });
        if let Err(trouble) = result {
            let failure = Failure::from(trouble);
            if self.steps[id.0].is_listed() {
                self.settle_rest(id, |_| Outcome::Failed(failure.clone()));
            } else {
                self.never_listed(id, Some(&failure));
            }
            return;
        }
        let state = &mut self.steps[id.0];
        state.is_prepared = true;
        if state.chain.is_none() {
            let all = 0..state.phases.len();
            self.make_ready(id, all);
        }
        self.may_look(id);
        if self.steps[id.0].unsettled == 0 {
            self.settled_step(id);
        }
    }

    /// Makes some tasks ready, and lets them be looked at.
    pub(super) fn make_ready(&mut self, id: StepId, tasks: Range<usize>) {
        let state = &mut self.steps[id.0];
        if self.pipeline.step(id).ordered {
            state.may_be_ready.extend(tasks);
            state.make_next_ready();
        } else {
            state.make_ready(tasks);
        }
        self.may_look(id);
    }

    fn may_look(&mut self, id: StepId) {
        let state = &self.steps[id.0];
        if state.is_prepared && !state.ready.is_empty() {
            self.can_look.insert((Reverse(state.depth), id));
        }
    }

    /// A list that a step made is there: its tasks are known, and so are those of
    /// the steps chained to it.
    fn list_late(&mut self, id: StepId) -> Result<(), Trouble> {
        let step = self.pipeline.step(id);
        if let Some(each) = &step.each {
            let now = self.shop.tasks(id).tasks.len();
            list::check_length(step, each, now, self.last_totals[id.0])?;
        }
        let mut open = vec![id];
        let mut listed = vec![id];
        while let Some(before) = open.pop() {
            for next in self.steps[before.0].chained.clone() {
                if self.steps[next.0].is_settled {
                    continue;
                }
                let step = self.pipeline.step(next);
                let Some(each) = &step.each else { continue };
                let items = plan::items_from_tasks(&each.source, &self.shop.tasks(before).tasks);
                let tasks = plan::tasks(
                    step,
                    Some(items),
                    self.shop.site.params,
                    self.shop.site.disk.root(),
                );
                // A step is listed once.
                let _ = self.shop.tasks[next.0].set(tasks.map_err(Trouble::File)?);
                open.push(next);
                listed.push(next);
            }
        }
        let known: Vec<Option<&StepTasks>> = self.shop.tasks.iter().map(OnceLock::get).collect();
        plan::check_outputs(self.pipeline, &known).map_err(Trouble::File)?;
        self.mark_late(&listed)?;
        for id in &listed {
            self.listed(*id);
        }
        for id in &listed[1..] {
            self.open_if_due(*id);
        }
        Ok(())
    }

    /// Works out which tasks of a chain are wanted, from its last step to its
    /// first: whoever is wanted wants what is before it.
    fn mark_late(&mut self, chain: &[StepId]) -> Result<(), Trouble> {
        for id in chain.iter().rev() {
            self.mark_late_step(*id)?;
            let state = &self.steps[id.0];
            let (Some(before), Wanted::Some(marked)) = (state.chain, state.wanted.clone()) else {
                continue;
            };
            let outs = state.width;
            self.mark_late_step(before)?;
            let total = self.shop.tasks(before).tasks.len();
            self.steps[before.0].wanted.add_makers(&marked, outs, total);
        }
        Ok(())
    }

    fn mark_late_step(&mut self, id: StepId) -> Result<(), Trouble> {
        let (tasks, wanted) = (self.shop.tasks(id), &mut self.steps[id.0].wanted);
        let marked = selection::mark_late(self.pipeline, id, tasks, wanted);
        marked.map_err(|missing| Trouble::Input(Fault::new(missing.to_string(), &(0..0), "")))
    }

    /// The tasks of a step, and of those chained to it, will not be known in this
    /// run: its list is not there, or the step that makes it only would.
    fn never_listed(&mut self, id: StepId, failure: Option<&Failure>) {
        let step = self.pipeline.step(id);
        match failure {
            Some(failure) => self.tell(&Event::StepFailed { id, step, failure }),
            None => {
                let maker = self.lists.get(&id).copied().or(self.steps[id.0].chain);
                let after =
                    maker.map(|maker| self.pipeline.step(maker).name.as_str()).unwrap_or_default();
                self.tell(&Event::Unlisted { id, step, after });
            }
        }
        if failure.is_some() {
            self.steps[id.0].own.not_reached = Some(step.name.clone());
        }
        let standing = self.steps[id.0].before.with(&self.steps[id.0].own);
        for next in self.steps[id.0].chained.clone() {
            let state = &mut self.steps[next.0];
            state.before.add(&standing);
            self.never_listed(next, None);
        }
        self.settled_step(id);
    }

    /// The tasks of a step may act, depending on what those before it make; those
    /// without a receipt would.
    fn may_act(&mut self, id: StepId) {
        let tasks = &self.shop.tasks(id).tasks;
        let known = std::mem::take(&mut self.steps[id.0].known);
        self.settle_rest(id, |task| may_act(known.contains(&*tasks[task].item_name())));
    }

    /// Gives all tasks of a step with which nothing was begun their outcome.
    pub(super) fn settle_rest(&mut self, id: StepId, outcome: impl Fn(usize) -> Outcome) {
        for task in self.steps[id.0].take_rest() {
            self.settling.push_back((id, task, outcome(task), None));
        }
        if self.steps[id.0].unsettled == 0 {
            self.settled_step(id);
        }
    }

    /// All of a step is settled: what waited for all of it may begin.
    pub(super) fn settled_step(&mut self, id: StepId) {
        let state = &mut self.steps[id.0];
        if std::mem::replace(&mut state.is_settled, true) {
            return;
        }
        if let Some(view) = self.shop.known_view(id) {
            view.hold.let_go();
        }
        let standing = state.before.with(&state.own);
        for waiter in state.waiters.clone() {
            let state = &mut self.steps[waiter.0];
            state.barrier -= 1;
            state.before.add(&standing);
            self.open_if_due(waiter);
        }
    }
}

/// The outcome of a task whose upstream would act: whether it acts too depends
/// on what that makes, unless it was never done.
pub(super) fn may_act(has_receipt: bool) -> Outcome {
    let new = Verdict { ruling: Ruling::Run, reason: Reason::New };
    if has_receipt { Outcome::May } else { Outcome::Would(new) }
}
