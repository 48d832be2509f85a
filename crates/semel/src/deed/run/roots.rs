//! Items in progress: an item that was begun is finished before another begins.
//!
//! A chain of steps hands an item down: the task that begins it is its root. With
//! one job one root is in progress, else a few for each job, since an item waits
//! for a receipt between its steps; what waits for other steps, or for a twin, is
//! not waited for.

use std::cmp::Reverse;

use super::engine::Engine;
use super::state::Phase;
use crate::words::event::Outcome;
use crate::words::pipeline::StepId;

/// A task that begins a chain.
pub(super) type Root = (StepId, usize);

impl Engine<'_, '_> {
    /// The task that begins the chain of a task; `None` where there is no chain.
    fn root_of(&self, id: StepId, task: usize) -> Option<Root> {
        let (mut id, mut task) = (id, task);
        let is_in_chain = self.steps[id.0].chain.is_some() || !self.steps[id.0].chained.is_empty();
        while let Some(before) = self.steps[id.0].chain {
            task /= self.steps[id.0].width;
            id = before;
        }
        is_in_chain.then_some((id, task))
    }

    /// Whether a task may be acted on: its item is in progress, or another may
    /// begin.
    pub(super) fn may_progress(&self, id: StepId, task: usize) -> bool {
        self.root_of(id, task)
            .is_none_or(|root| self.roots.contains(&root) || self.roots.len() < self.most_roots)
    }

    /// The tasks of chains that an earlier run tried without success: their items were
    /// begun, so they are finished before another begins.
    pub(super) fn unfinished(&self, ids: &[StepId]) -> Vec<Root> {
        let mut unfinished = Vec::new();
        for id in ids {
            let state = &self.steps[id.0];
            let is_in_chain = state.chain.is_some() || !state.chained.is_empty();
            if !is_in_chain || state.memory.open.is_empty() || !state.is_listed() {
                continue;
            }
            for (at, task) in self.shop.tasks(*id).tasks.iter().enumerate() {
                let name = task.item_name();
                let open = &state.memory.open;
                let was_tried = open.binary_search_by(|open| (*open.item).cmp(&*name)).is_ok();
                if was_tried && state.phases[at] == Phase::Waiting {
                    unfinished.push((*id, at));
                }
            }
        }
        unfinished
    }

    /// The item of a task is in progress.
    pub(super) fn in_progress(&mut self, id: StepId, task: usize) {
        self.roots.extend(self.root_of(id, task));
    }

    /// A task was settled: if nothing of its item is left, the item is no longer in
    /// progress. What is left is asked now, since steps that waited when the item began
    /// may have begun meanwhile.
    pub(super) fn progressed(&mut self, id: StepId, task: usize) {
        if let Some(root) = self.root_of(id, task)
            && self.roots.contains(&root)
            && !self.is_unsettled(root.0, root.1)
        {
            self.roots.remove(&root);
        }
    }

    /// The item of a task is given up for a while.
    pub(super) fn pauses(&mut self, id: StepId, task: usize) {
        if let Some(root) = self.root_of(id, task) {
            self.roots.remove(&root);
        }
    }

    /// The steps of the chain that a step belongs to.
    fn chain_of(&self, id: StepId) -> Vec<StepId> {
        let mut first = id;
        while let Some(before) = self.steps[first.0].chain {
            first = before;
        }
        let mut chain = vec![first];
        let mut at = 0;
        while let Some(id) = chain.get(at) {
            chain.extend(&self.steps[id.0].chained);
            at += 1;
        }
        chain
    }

    /// Too many tasks of a step failed: no further item begins in its chain. Those
    /// that were begun are finished.
    pub(super) fn hold_off(&mut self, id: StepId, cause: &str) {
        for id in self.chain_of(id) {
            if self.steps[id.0].held_off_by.is_some() {
                continue;
            }
            self.steps[id.0].held_off_by = Some(cause.to_owned());
            let waiting = self.steps[id.0].to_act.keys().copied();
            let waiting: Vec<_> = waiting.filter(|task| !self.was_begun(id, *task)).collect();
            for task in waiting {
                let state = &mut self.steps[id.0];
                state.to_act.remove(&task);
                if state.to_act.is_empty() {
                    self.can_act.remove(&(Reverse(state.depth), id));
                }
                self.waiting_to_act -= 1;
                self.settle(id, task, Outcome::Blocked(cause.to_owned()), None);
            }
        }
    }

    /// What keeps a task from being begun, if something failed too often.
    pub(super) fn held_off_by(&self, id: StepId, task: usize) -> Option<String> {
        let cause = self.steps[id.0].held_off_by.clone()?;
        (!self.was_begun(id, task)).then_some(cause)
    }

    /// Whether a task, or one before it in its chain, was begun.
    fn was_begun(&self, id: StepId, task: usize) -> bool {
        self.failures.contains_key(&(id, task))
            || self.root_of(id, task).is_some_and(|root| self.roots.contains(&root))
    }

    /// Whether a task, or one below it in its chain, is not settled; steps that wait for
    /// others are not waited for.
    fn is_unsettled(&self, id: StepId, task: usize) -> bool {
        let state = &self.steps[id.0];
        if !matches!(state.phases[task], Phase::Settled | Phase::Unwanted) {
            return true;
        }
        let mut chained = state.chained.iter().copied().filter(|next| {
            let next = &self.steps[next.0];
            next.is_open && !next.is_settled
        });
        chained.any(|next| {
            let width = self.steps[next.0].width;
            (task * width..(task + 1) * width).any(|task| self.is_unsettled(next, task))
        })
    }
}
