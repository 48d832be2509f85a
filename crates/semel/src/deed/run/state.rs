//! What the dispatcher knows of a step.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::selection::Wanted;
use super::worker::Left;
use crate::deed::look::Sight;
use crate::deed::view::StepView;
use crate::ground::manifest::StepMemory;
use crate::words::pipeline::StepId;
use crate::words::verdict::Verdict;

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It was not asked for.
    Unwanted,
    /// It waits for others.
    Waiting,
    /// It can be looked at.
    Ready,
    /// It is being looked at or acted on, or will be.
    Open,
    /// It came to an end.
    Settled,
}

/// A task that is to be acted on.
pub(super) struct ToAct<'a> {
    pub(super) view: Arc<StepView<'a>>,
    pub(super) sight: Box<Sight>,
    pub(super) verdict: Verdict,
    pub(super) tries: u32,
}

/// How far tasks are from their state.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// The first of them that did not reach it.
    pub(super) not_reached: Option<String>,
    /// Whether one would act, were it not for looking only.
    pub(super) would_act: bool,
}

impl Standing {
    /// Adds others.
    pub(super) fn add(&mut self, others: &Self) {
        if self.not_reached.is_none() {
            self.not_reached.clone_from(&others.not_reached);
        }
        self.would_act |= others.would_act;
    }

    /// Together with others.
    pub(super) fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        all.add(others);
        all
    }
}

/// A step, as the dispatcher knows it.
pub(super) struct StepState<'a> {
    /// How long the longest chain of steps before it is.
    pub(super) depth: usize,
    pub(super) wanted: Wanted,
    /// The step whose outputs are its items.
    pub(super) chain: Option<StepId>,
    /// How many of its tasks follow one task of that step.
    pub(super) width: usize,
    /// Steps whose items are this one's outputs or items.
    pub(super) chained: Vec<StepId>,
    /// How many steps are not settled that must be before it begins.
    pub(super) barrier: usize,
    /// Of a step with a check, all steps that come before it, directly or not: what they
    /// do may make an older answer wrong.
    pub(super) upstream: Vec<StepId>,
    /// When one of its tasks acted last in this run.
    pub(super) acted_at: Option<Instant>,
    /// Steps that wait for all of this one.
    pub(super) waiters: Vec<StepId>,
    /// Whether others want to know what its tasks left.
    pub(super) is_read: bool,
    /// What is remembered, until it is prepared.
    pub(super) memory: StepMemory,
    /// Which items have a receipt; known only where the run looks on.
    pub(super) known: HashSet<Box<str>>,
    pub(super) is_open: bool,
    pub(super) is_prepared: bool,
    pub(super) is_settled: bool,
    pub(super) phases: Vec<Phase>,
    pub(super) left: Vec<Option<Left>>,
    /// Tasks that can be looked at.
    pub(super) ready: VecDeque<Range<usize>>,
    /// Of a step that goes in order, its tasks in that order.
    pub(super) order: Vec<usize>,
    /// Of a step that goes in order, the tasks that could be looked at if it were
    /// their turn.
    pub(super) may_be_ready: BTreeSet<usize>,
    /// How many of its tasks failed.
    pub(super) failed: u64,
    /// What failed too often for a further item to begin.
    pub(super) held_off_by: Option<String>,
    /// Tasks that can be acted on, in the order of the list.
    pub(super) to_act: BTreeMap<usize, ToAct<'a>>,
    pub(super) acting: usize,
    pub(super) unsettled: usize,
    /// How what it waits for ended.
    pub(super) before: Standing,
    /// How its own tasks ended.
    pub(super) own: Standing,
}

impl StepState<'_> {
    pub(super) fn new(wanted: Wanted, memory: StepMemory, looks_on: bool) -> Self {
        let known = if looks_on {
            memory.receipts.iter().map(|receipt| receipt.item.clone()).collect()
        } else {
            HashSet::new()
        };
        Self {
            depth: 0,
            wanted,
            chain: None,
            width: 1,
            chained: Vec::new(),
            barrier: 0,
            upstream: Vec::new(),
            acted_at: None,
            waiters: Vec::new(),
            is_read: false,
            memory,
            known,
            is_open: false,
            is_prepared: false,
            is_settled: false,
            phases: Vec::new(),
            left: Vec::new(),
            ready: VecDeque::new(),
            order: Vec::new(),
            may_be_ready: BTreeSet::new(),
            failed: 0,
            held_off_by: None,
            to_act: BTreeMap::new(),
            acting: 0,
            unsettled: 0,
            before: Standing::default(),
            own: Standing::default(),
        }
    }

    /// Its tasks are known: `total` of them.
    pub(super) fn list(&mut self, total: usize) {
        let phase = |task| {
            if self.wanted.takes(task) { Phase::Waiting } else { Phase::Unwanted }
        };
        self.phases = (0..total).map(phase).collect();
        self.unsettled = self.phases.iter().filter(|phase| **phase == Phase::Waiting).count();
        if self.is_read {
            self.left = vec![None; total];
        }
    }

    /// Whether its tasks are known.
    pub(super) fn is_listed(&self) -> bool {
        !self.phases.is_empty()
    }

    /// Makes those of some tasks that wait ready to be looked at.
    pub(super) fn make_ready(&mut self, tasks: Range<usize>) {
        for task in tasks {
            if self.phases[task] != Phase::Waiting {
                continue;
            }
            self.phases[task] = Phase::Ready;
            match self.ready.back_mut() {
                Some(last) if last.end == task => last.end += 1,
                _ => self.ready.push_back(task..task + 1),
            }
        }
    }

    /// Of a step that goes in order, makes the task ready whose turn it is: the
    /// first that did not come to an end.
    pub(super) fn make_next_ready(&mut self) {
        let is_over = |task: &usize| matches!(self.phases[*task], Phase::Settled | Phase::Unwanted);
        let next = self.order.iter().copied().find(|task| !is_over(task));
        if let Some(next) = next.filter(|next| self.may_be_ready.contains(next)) {
            self.make_ready(next..next + 1);
        }
    }

    /// Takes at most so many tasks that stand in a row, to be looked at.
    pub(super) fn take_ready(&mut self, most: usize) -> Option<Range<usize>> {
        let first = self.ready.front_mut()?;
        let taken = first.start..first.end.min(first.start + most.max(1));
        first.start = taken.end;
        if first.start == first.end {
            self.ready.pop_front();
        }
        for task in taken.clone() {
            self.phases[task] = Phase::Open;
        }
        Some(taken)
    }

    /// How many tasks can be looked at.
    pub(super) fn ready_total(&self) -> usize {
        self.ready.iter().map(ExactSizeIterator::len).sum()
    }

    /// Takes all tasks that nothing was begun with.
    pub(super) fn take_rest(&mut self) -> Vec<usize> {
        self.ready.clear();
        let mut rest = Vec::new();
        for (task, phase) in self.phases.iter_mut().enumerate() {
            if matches!(phase, Phase::Waiting | Phase::Ready) {
                *phase = Phase::Open;
                rest.push(task);
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_become_ready_once_and_are_taken_in_rows() {
        let mut state = StepState::new(Wanted::All, StepMemory::default(), false);
        state.list(10);
        state.make_ready(0..3);
        state.make_ready(2..4);
        state.make_ready(7..8);
        assert_eq!(state.ready_total(), 5);
        assert_eq!(state.take_ready(3), Some(0..3));
        assert_eq!(state.take_ready(3), Some(3..4));
        state.make_ready(0..4);
        assert_eq!(state.take_ready(3), Some(7..8));
        assert_eq!(state.take_ready(3), None);
        state.make_ready(4..5);
        assert_eq!(state.take_rest(), [4, 5, 6, 8, 9]);
        assert_eq!(state.ready_total(), 0);
    }
}
