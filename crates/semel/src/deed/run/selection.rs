//! Which tasks a run is asked for: some steps or tasks, and all that they need.

use std::collections::BTreeMap;

use crate::thought::plan::{self, StepTasks};
use crate::words::pipeline::{InputSource, Pipeline, StepId};
use crate::words::task::{Instance, TaskPattern, encode};

/// Which tasks of a step are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// None.
    None,
    /// All.
    All,
    /// Those marked.
    Some(Vec<bool>),
    /// Those that one of these patterns takes, once the list is known.
    Late(Vec<TaskPattern>),
}

impl Wanted {
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(super) fn takes(&self, task: usize) -> bool {
        match self {
            Self::None => false,
            Self::All | Self::Late(_) => true,
            Self::Some(marked) => marked.get(task).copied().unwrap_or(false),
        }
    }

    /// Adds the tasks, of so many in all, whose outputs are the items of the marked
    /// ones; each has `outs` outputs.
    pub(super) fn add_makers(&mut self, marked: &[bool], outs: usize, total: usize) {
        let items = (0..marked.len()).filter(|item| marked[*item]);
        self.add(items.map(|item| item / outs), total);
    }

    fn add(&mut self, tasks: impl Iterator<Item = usize>, total: usize) {
        if matches!(self, Self::All | Self::Late(_)) {
            return;
        }
        if self.is_none() {
            *self = Self::Some(vec![false; total]);
        }
        if let Self::Some(marked) = self {
            for task in tasks {
                marked[task] = true;
            }
        }
    }
}

/// A step or task that was asked for and is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchTarget {
    /// There is no such step.
    #[error("there is no step `{name}`")]
    Step {
        /// What was typed.
        name: String,
        /// What was probably meant.
        near: Option<String>,
    },
    /// The step has no such task.
    #[error("there is no task `{typed}`")]
    Task {
        /// What was typed.
        typed: String,
        /// A task of that step.
        example: Option<String>,
    },
    /// The task is of another instance than the parameters say.
    #[error("`{typed}` is of another instance: the parameters say `{present}`")]
    Instance {
        /// What was typed.
        typed: String,
        /// The instance of this call.
        present: String,
    },
}

/// Works out which tasks are wanted. Steps whose tasks are not known yet are
/// wanted whole.
pub(super) fn select(
    pipeline: &Pipeline,
    targets: &[TaskPattern],
    tasks: &[Option<&StepTasks>],
    instances: &[Instance],
    lists: &BTreeMap<StepId, StepId>,
    order: &[(StepId, usize)],
) -> Result<Vec<Wanted>, NoSuchTarget> {
    if targets.is_empty() {
        return Ok(vec![Wanted::All; pipeline.steps.len()]);
    }
    let mut wanted = vec![Wanted::None; pipeline.steps.len()];
    for target in targets {
        let id = find_step(pipeline, target)?;
        mark(
            (pipeline, Reach::AndBefore),
            target,
            id,
            tasks[id.0],
            &instances[id.0],
            &mut wanted[id.0],
        )?;
    }
    // From the last to the first: whoever is wanted wants what is before it.
    for (id, _) in order.iter().rev() {
        let step = pipeline.step(*id);
        if wanted[id.0].is_none() {
            continue;
        }
        if let Some(chain) = step.each.as_ref().and_then(|each| each.source.chain()) {
            let outs = plan::chain_width(pipeline, step);
            let own = wanted[id.0].clone();
            match (&own, tasks[chain.0]) {
                (Wanted::Some(marked), Some(before)) => {
                    wanted[chain.0].add_makers(marked, outs, before.tasks.len());
                }
                (Wanted::Late(_), None) if wanted[chain.0].is_none() => {
                    wanted[chain.0] = Wanted::Late(Vec::new());
                }
                (Wanted::Late(_), None) => {}
                _ => wanted[chain.0] = Wanted::All,
            }
        }
        let gathered = step.inputs.iter().filter_map(|input| match input.source {
            InputSource::OutputsOf(gathered) => Some(gathered),
            InputSource::Files(_) => None,
        });
        let whole = step
            .needs
            .iter()
            .chain(&step.after)
            .copied()
            .chain(gathered)
            .chain(lists.get(id).copied());
        for before in whole.collect::<Vec<_>>() {
            wanted[before.0] = Wanted::All;
        }
    }
    Ok(wanted)
}

/// Works out which tasks of a step are wanted, now that its list is known.
pub(super) fn mark_late(
    pipeline: &Pipeline,
    id: StepId,
    tasks: &StepTasks,
    wanted: &mut Wanted,
) -> Result<(), NoSuchTarget> {
    let Wanted::Late(patterns) = wanted else {
        return Ok(());
    };
    let patterns = std::mem::take(patterns);
    *wanted = Wanted::None;
    patterns.iter().try_for_each(|pattern| {
        mark((pipeline, Reach::AndBefore), pattern, id, Some(tasks), &tasks.instance, wanted)
    })
}

/// The step that a pattern names.
pub(in crate::deed) fn find_step(
    pipeline: &Pipeline,
    target: &TaskPattern,
) -> Result<StepId, NoSuchTarget> {
    step_named(pipeline, &target.step)
}

/// The step of a name, or the one that was meant perhaps.
///
/// # Errors
/// If there is no such step.
pub fn step_named(pipeline: &Pipeline, name: &str) -> Result<StepId, NoSuchTarget> {
    pipeline.step_named(name).ok_or_else(|| {
        let known = pipeline.steps.iter().map(|step| step.name.as_str());
        let near = crate::words::nearest(name, known).map(str::to_owned);
        NoSuchTarget::Step { name: name.to_owned(), near }
    })
}

/// How far a name reaches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the tasks of that name: one settles and looks at no others.
    Named,
    /// Where a step goes in order, to those before them too: none runs without them.
    AndBefore,
}

/// Marks the tasks of a step that a pattern takes.
pub(super) fn mark(
    (pipeline, reach): (&Pipeline, Reach),
    target: &TaskPattern,
    id: StepId,
    tasks: Option<&StepTasks>,
    instance: &Instance,
    wanted: &mut Wanted,
) -> Result<(), NoSuchTarget> {
    if target.instance.as_ref().is_some_and(|named| named != instance) {
        return Err(NoSuchTarget::Instance {
            typed: target.to_string(),
            present: instance.to_string(),
        });
    }
    let tasks = match (&target.item, tasks) {
        (Some(_), Some(tasks)) => tasks,
        (Some(_), None) => {
            match wanted {
                Wanted::Late(patterns) => patterns.push(target.clone()),
                Wanted::All => {}
                _ => *wanted = Wanted::Late(vec![target.clone()]),
            }
            return Ok(());
        }
        (None, _) => {
            *wanted = Wanted::All;
            return Ok(());
        }
    };
    let takes = |task: &usize| {
        let name = tasks.tasks[*task].item.as_deref().map(encode);
        target.takes_item(name.as_deref())
    };
    let found: Vec<_> = (0..tasks.tasks.len()).filter(takes).collect();
    if found.is_empty() {
        let step = pipeline.step(id);
        return Err(NoSuchTarget::Task {
            typed: target.to_string(),
            example: tasks.tasks.first().map(|task| task.name(&step.name, instance).to_string()),
        });
    }
    match reach {
        Reach::AndBefore if pipeline.step(id).ordered => {
            let order = tasks.by_name();
            let last = order.iter().rposition(|task| found.contains(task)).unwrap_or(0);
            wanted.add(order[..=last].iter().copied(), tasks.tasks.len());
        }
        _ => wanted.add(found.into_iter(), tasks.tasks.len()),
    }
    Ok(())
}
