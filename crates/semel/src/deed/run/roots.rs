//! Items in progress: an item that was begun is finished before another begins.
//!
//! A chain of steps hands an item down: the task that begins it is its root. With
//! one job one root is in progress, else a few for each job, since an item waits
//! for a receipt between its steps; what waits for other steps is not waited for.

use super::engine::Engine;
use super::state::Phase;
use crate::words::pipeline::StepId;

/// A task that begins a chain.
pub(super) type Root = (StepId, usize);

impl Engine<'_, '_> {
    /// The task that begins the chain of a task; `None` where there is no chain.
    fn root_of(&self, id: StepId, task: usize) -> Option<Root> {
        let (mut id, mut task) = (id, task);
        let is_in_chain = self.steps[id.0].chain.is_some() || !self.steps[id.0].chained.is_empty();
        while let Some(before) = self.steps[id.0].chain {
            task /= self.pipeline.step(before).outs.len();
            id = before;
        }
        is_in_chain.then_some((id, task))
    }

    /// Whether a task may be acted on: its item is in progress, or another may
    /// begin.
    pub(super) fn may_progress(&self, id: StepId, task: usize) -> bool {
        self.root_of(id, task)
            .is_none_or(|root| self.roots.contains_key(&root) || self.roots.len() < self.most_roots)
    }

    /// The item of a task is in progress.
    pub(super) fn in_progress(&mut self, id: StepId, task: usize) {
        if let Some(root) = self.root_of(id, task) {
            let left = self.unsettled_below(root.0, root.1);
            self.roots.entry(root).or_insert(left);
        }
    }

    /// A task was settled, or waits for long: if it was the last of its item, the
    /// item is no longer in progress.
    pub(super) fn progressed(&mut self, id: StepId, task: usize) {
        let Some(root) = self.root_of(id, task) else {
            return;
        };
        if let Some(left) = self.roots.get_mut(&root) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.roots.remove(&root);
            }
        }
    }

    /// The item of a task is given up for a while.
    pub(super) fn pauses(&mut self, id: StepId, task: usize) {
        if let Some(root) = self.root_of(id, task) {
            self.roots.remove(&root);
        }
    }

    /// How many tasks from one on, down the chain, are not settled; of steps that
    /// wait for others, none.
    fn unsettled_below(&self, id: StepId, task: usize) -> usize {
        let state = &self.steps[id.0];
        let own = !matches!(state.phases[task], Phase::Settled | Phase::Unwanted);
        let outs = self.pipeline.step(id).outs.len();
        let below =
            state.chained.iter().filter(|next| self.steps[next.0].is_open).flat_map(|next| {
                (task * outs..(task + 1) * outs).map(|task| self.unsettled_below(*next, task))
            });
        usize::from(own) + below.sum::<usize>()
    }
}
