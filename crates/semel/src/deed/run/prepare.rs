//! What is known before anything is begun: the lists, the tasks, which of them are
//! wanted, and what is remembered of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::paths::{check_aliases, check_patterns};
use super::selection::{self, Wanted};
use super::{CannotBegin, Preparation, Setting, preflight};
use crate::deed::{Site, Trouble, former, list};
use crate::ground::manifest::{Manifest, ManifestError, StepMemory};
use crate::thought::plan::{self, StepTasks};
use crate::words::pipeline::StepId;
use crate::words::task::{Instance, Task, TaskPattern};

/// What is known before anything is begun.
pub(super) struct Prepared {
    pub(super) order: Vec<(StepId, usize)>,
    pub(super) lists: BTreeMap<StepId, StepId>,
    pub(super) tasks: Vec<OnceLock<StepTasks>>,
    pub(super) wanted: Vec<Wanted>,
    pub(super) last_totals: Vec<Option<u64>>,
}

impl Preparation<'_> {
    /// What is remembered of each step.
    pub(super) fn load_memories(&self, site: &Site<'_>) -> Result<Vec<StepMemory>, CannotBegin> {
        let Setting { pipeline, file, disk, .. } = *self.setting;
        if let (Some(part), [step]) = (self.part.task(), &*pipeline.steps) {
            // Other steps of the script may be anywhere else in it: none is gone.
            let memory = site.ask_manifest(|manifest| {
                former::memory_of_task(manifest, pipeline, step, part.task)
            });
            return Ok(vec![memory.map_err(|error| self.no_manifest(error))?]);
        }
        let load = || {
            let gone =
                site.ask_manifest(|manifest| former::gone(manifest, pipeline, file, disk.root()))?;
            let gone = Arc::new(gone);
            let memories = pipeline.steps.iter().map(|step| {
                let instance = site.params.instance(&step.per);
                let memory = site.ask_manifest(|manifest| {
                    former::memory_of(manifest, pipeline, step, &instance)
                })?;
                let gone = if step.once { Arc::clone(&gone) } else { Arc::default() };
                Ok(StepMemory { gone, ..memory })
            });
            memories.collect::<Result<_, ManifestError>>()
        };
        load().map_err(|error| self.no_manifest(error))
    }

    /// Reads the lists that are there, and works out what is wanted.
    pub(super) fn prepare(
        &self,
        site: &Site<'_>,
        manifest: Option<&dyn Manifest>,
    ) -> Result<Prepared, CannotBegin> {
        let Setting { pipeline, params, .. } = *self.setting;
        let lists = plan::lists_made_by_steps(pipeline, params, self.setting.disk.root());
        let order = plan::order(pipeline, &lists).map_err(Trouble::File)?;
        let instances: Vec<_> =
            pipeline.steps.iter().map(|step| params.instance(&step.per)).collect();
        let mut tasks: Vec<Option<StepTasks>> = vec![None; pipeline.steps.len()];
        let mut last_totals = vec![None; pipeline.steps.len()];
        for (id, _) in &order {
            let step = pipeline.step(*id);
            let items = match &step.each {
                None => None,
                Some(each) => match &each.source {
                    source if source.chain().is_some() => {
                        let before = source.chain().and_then(|before| tasks[before.0].as_ref());
                        match before {
                            Some(before) => Some(plan::items_from_tasks(source, &before.tasks)),
                            None => continue,
                        }
                    }
                    _ => {
                        if let Some(manifest) = manifest {
                            let total =
                                manifest.last_total(&pipeline.name, &step.name, &instances[id.0]);
                            last_totals[id.0] = total.map_err(|error| self.no_manifest(error))?;
                        }
                        if lists.contains_key(id) {
                            continue;
                        }
                        let items = list::items(site, step, each)?;
                        list::check_length(step, each, items.len(), last_totals[id.0])?;
                        Some(items)
                    }
                },
            };
            tasks[id.0] = Some(
                plan::tasks(step, items, params, self.setting.disk.root())
                    .map_err(Trouble::File)?,
            );
        }
        let known: Vec<_> = tasks.iter().map(Option::as_ref).collect();
        plan::check_outputs(pipeline, &known).map_err(Trouble::File)?;
        check_aliases(site, &known)?;
        plan::check_file(pipeline, &known, Path::new(self.setting.file)).map_err(Trouble::File)?;
        check_patterns(site, &known)?;
        let failed = match manifest.filter(|_| self.options.only_failed) {
            Some(manifest) => Some(self.failed_tasks(manifest, &known, &instances)?),
            None => self.options.only_failed.then(Vec::new),
        };
        let targets = failed.as_deref().unwrap_or(&self.options.targets);
        let wanted = if targets.is_empty() && failed.is_some() {
            vec![Wanted::None; pipeline.steps.len()]
        } else {
            let wanted = selection::select(pipeline, targets, &known, &instances, &lists, &order);
            wanted.map_err(CannotBegin::Target)?
        };
        preflight::secrets(site, &wanted)?;
        Ok(Prepared {
            wanted,
            tasks: tasks
                .into_iter()
                .map(|tasks| tasks.map_or_else(OnceLock::new, OnceLock::from))
                .collect(),
            order,
            lists,
            last_totals,
        })
    }

    /// The tasks whose last attempt did not succeed, of those that are asked for;
    /// of a step whose list is not known yet, the step.
    fn failed_tasks(
        &self,
        manifest: &dyn Manifest,
        known: &[Option<&StepTasks>],
        instances: &[Instance],
    ) -> Result<Vec<TaskPattern>, CannotBegin> {
        let pipeline = self.setting.pipeline;
        let mut failed = Vec::new();
        for (id, step) in pipeline.ids() {
            let instance = &instances[id.0];
            let memory = manifest.memory_of(&pipeline.name, &step.name, instance);
            let memory = memory.map_err(|error| self.no_manifest(error))?;
            let tasks = known[id.0].map(|step| &step.tasks);
            for attempt in &memory.open {
                let item = Some(&attempt.item).filter(|_| step.each.is_some());
                let is_present = |tasks: &Vec<Task>| {
                    tasks.iter().any(|task| task.item_name() == attempt.item.as_str())
                };
                let is_asked_for = self.options.targets.is_empty()
                    || self.options.targets.iter().any(|target| {
                        target.step == step.name && target.takes_item(item.map(String::as_str))
                    });
                if !is_asked_for || !tasks.is_none_or(is_present) {
                    continue;
                }
                let item = item.filter(|_| tasks.is_some()).cloned();
                failed.push(TaskPattern { step: step.name.clone(), instance: None, item });
            }
        }
        Ok(failed)
    }
}
