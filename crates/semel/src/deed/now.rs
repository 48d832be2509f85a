//! What there is now: the tasks of all steps, as far as their lists are there.
//!
//! A run works this out for itself, step by step. This is for those who only hold
//! receipts against what is there: verify, prune, and the manifest's gc.
//!
//! Invariant: nothing is changed, and what cannot be known is said, never guessed:
//! a list that is not there is not an empty one.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use crate::deed::{Site, Trouble, list};
use crate::ground::manifest::{Manifest, ManifestError};
use crate::thought::plan::{self, StepTasks};
use crate::words::pipeline::{Each, EachSource, InputSource, Step, StepId};
use crate::words::task::{Item, Task};
use crate::words::template::{Name, Template};

/// The tasks of a step.
#[derive(Debug)]
pub enum Listed {
    /// These.
    Tasks(StepTasks),
    /// They are known only when this step has made its list.
    After(StepId),
    /// Its list cannot be had, or is suspiciously short.
    Unknown(Trouble),
}

impl Listed {
    /// The tasks, if they are known.
    #[must_use]
    pub const fn tasks(&self) -> Option<&StepTasks> {
        match self {
            Self::Tasks(tasks) => Some(tasks),
            Self::After(_) | Self::Unknown(_) => None,
        }
    }
}

/// How lists are believed.
#[derive(Clone, Copy)]
pub enum Belief<'a> {
    /// As they are.
    AsTheyAre,
    /// As a run would: not if they lost most of what the last complete run had. And
    /// a list that a step makes, only if it is what that step made.
    AsARunDoes(&'a dyn Manifest),
}

/// The tasks of each step, in the order of the file.
///
/// # Errors
/// If the file contradicts itself, or the manifest cannot be asked.
pub fn now(site: &Site<'_>, belief: Belief<'_>) -> Result<Vec<Listed>, Trouble> {
    let (pipeline, params) = (site.pipeline, site.params);
    let lists = plan::lists_made_by_steps(pipeline, params, site.disk.root());
    let order = plan::order(pipeline, &lists).map_err(Trouble::File)?;
    let mut listed: BTreeMap<StepId, Listed> = BTreeMap::new();
    for (id, _) in &order {
        let step = pipeline.step(*id);
        let items = match &step.each {
            None => Ok(None),
            Some(each) => match (each.source.chain(), each.source.list(), lists.get(id)) {
                (Some(before), ..) => {
                    let Some(Listed::Tasks(tasks)) = listed.get(&before) else {
                        listed.insert(*id, Listed::After(before));
                        continue;
                    };
                    Ok(Some(plan::items_from_tasks(&each.source, &tasks.tasks)))
                }
                (None, Some(path), Some(maker)) if !is_made(site, step, path, belief)? => {
                    listed.insert(*id, Listed::After(*maker));
                    continue;
                }
                _ => items(site, step, each, belief).map(Some),
            },
        };
        let tasks = items.and_then(|items| {
            plan::tasks(step, items, params, site.disk.root()).map_err(Trouble::File)
        });
        let tasks = match tasks {
            Ok(tasks) => Listed::Tasks(tasks),
            Err(trouble @ Trouble::Broken(_)) => return Err(trouble),
            Err(trouble) => Listed::Unknown(trouble),
        };
        listed.insert(*id, tasks);
    }
    Ok(listed.into_values().collect())
}

/// The items of a step whose list is there.
fn items(
    site: &Site<'_>,
    step: &Step,
    each: &Each,
    belief: Belief<'_>,
) -> Result<Vec<Item>, Trouble> {
    let items = list::items(site, step, each)?;
    if let Belief::AsARunDoes(manifest) = belief {
        let (name, instance) = (&site.pipeline.name, site.params.instance(&step.per));
        let mut last = manifest.last_total(name, &step.name, &instance)?;
        if last.is_none() {
            // No run was complete yet: what has receipts must do.
            let known = manifest.memory_of(name, &step.name, &instance)?;
            last = Some(known.receipts.len() as u64);
        }
        list::check_length(step, each, items.len(), last)?;
    }
    Ok(items)
}

/// Whether a list that another step makes is there, and can be believed.
fn is_made(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    belief: Belief<'_>,
) -> Result<bool, Trouble> {
    let path = list::plain_path(site, step, path);
    let Some(meta) = site.disk.look(&path)? else {
        return Ok(false);
    };
    match belief {
        Belief::AsTheyAre => Ok(true),
        Belief::AsARunDoes(manifest) => {
            let content = site.digests.content(site.disk, &path, &meta, &mut 0)?;
            Ok(manifest.made(&path, &content.digest)?)
        }
    }
}

/// The parameters that each run was given.
pub type ParamsOfRuns = HashMap<i64, BTreeMap<String, String>>;

/// The parameters that each run of this pipeline was given.
///
/// # Errors
/// If the manifest cannot be asked.
pub fn params_of_runs(
    site: &Site<'_>,
    manifest: &dyn Manifest,
) -> Result<ParamsOfRuns, ManifestError> {
    let runs = manifest.runs(&site.pipeline.name, None, u32::MAX)?.into_iter();
    let params = runs.map(|run| {
        let params = serde_json::from_str(&run.new.params).unwrap_or_default();
        (run.number, params)
    });
    Ok(params.collect())
}

/// A parameter that decides what items and outputs a step has, is none of its
/// instance, and had another value then: what was made with that is another list,
/// not one that lost items.
#[must_use]
pub fn other_param(
    site: &Site<'_>,
    step: &Step,
    then: &BTreeMap<String, String>,
) -> Option<(String, String)> {
    let each = step.each.iter().flat_map(|each| match &each.source {
        EachSource::Files(pattern) => std::slice::from_ref(pattern),
        EachSource::Command(command) => command.templates(),
        source => source.list().map_or(&[][..], std::slice::from_ref),
    });
    let templates = each.chain(step.outs.iter().map(|out| &out.path));
    templates.flat_map(Template::placeholders).find_map(|hole| {
        let Name::Param(name) = &hole.name else { return None };
        let value = then.get(name)?;
        let differs = !step.per.contains(name) && value != site.params.get(name);
        differs.then(|| (name.clone(), value.clone()))
    })
}

/// The files of `in` that a step reads now, or one of its tasks where they are named
/// by the item. Outputs of steps whose tasks are not known are left out.
///
/// # Errors
/// If a pattern cannot be read, or a folder may not be listed.
pub fn inputs(
    site: &Site<'_>,
    listed: &[Listed],
    step: &Step,
    task: Option<&Task>,
) -> Result<Vec<PathBuf>, Trouble> {
    let mut inputs = Vec::new();
    for input in &step.inputs {
        match &input.source {
            InputSource::Files(pattern) => {
                inputs.extend(list::paths(site, step, pattern, task, &input.span)?);
            }
            InputSource::OutputsOf(gathered) => {
                let tasks = listed[gathered.0].tasks().into_iter().flat_map(|step| &step.tasks);
                inputs.extend(tasks.flat_map(|task| task.outs.iter().cloned()));
            }
        }
    }
    Ok(inputs)
}

/// Whether what a step reads beside its item is named by the item.
#[must_use]
pub fn reads_by_item(step: &Step) -> bool {
    step.inputs.iter().any(|input| match &input.source {
        InputSource::Files(pattern) => pattern.names_item(),
        InputSource::OutputsOf(_) => false,
    })
}
