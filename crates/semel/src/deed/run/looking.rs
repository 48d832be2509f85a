//! What those need of a pipeline who run nothing: its site, and the tasks that a name
//! stands for.

use std::collections::HashSet;
use std::path::PathBuf;

use super::selection::{self, Reach, Wanted};
use super::{CannotBegin, Setting};
use crate::deed::databases::Databases;
use crate::deed::journal::nothing_unsettled;
use crate::deed::{Asked, Site, Trouble, list};
use crate::ground::digests::Digests;
use crate::ground::home::Home;
use crate::ground::manifest::Manifest;
use crate::thought::plan::{self, StepTasks};
use crate::words::pipeline::{Pipeline, StepId};
use crate::words::task::{Task, TaskPattern};

/// The tasks that a pattern names, as far as their lists are there.
///
/// # Errors
/// If the step or the task is not there, or a list cannot be read.
pub fn tasks_named(
    setting: &Setting<'_>,
    pattern: &TaskPattern,
) -> Result<(StepId, Vec<Task>), CannotBegin> {
    let id = selection::find_step(setting.pipeline, pattern).map_err(CannotBegin::Target)?;
    let home = Home::in_folder(setting.disk.root());
    let (digests, outputs, asked) = (Digests::empty(), HashSet::new(), Asked::default());
    let site = site_for_looking(setting, &home, &digests, &outputs, &asked);
    let tasks = listed_tasks(&site, id)?;
    let step = setting.pipeline.step(id);
    let instance = setting.params.instance(&step.per);
    let mut wanted = Wanted::None;
    let known = StepTasks { instance, tasks };
    let named = (setting.pipeline, Reach::Named);
    selection::mark(named, pattern, id, Some(&known), &known.instance, &mut wanted)
        .map_err(CannotBegin::Target)?;
    let named = known.tasks.into_iter().enumerate().filter(|(at, _)| wanted.takes(*at));
    Ok((id, named.map(|(_, task)| task).collect()))
}

/// The tasks of a step, by its list as it is now.
fn listed_tasks(site: &Site<'_>, id: StepId) -> Result<Vec<Task>, Trouble> {
    let step = site.pipeline.step(id);
    let items = match &step.each {
        None => None,
        Some(each) => match each.source.chain() {
            Some(before) => {
                Some(plan::items_from_tasks(&each.source, &listed_tasks(site, before)?))
            }
            None => Some(list::items(site, step, each)?),
        },
    };
    let tasks = plan::tasks(step, items, site.params, site.disk.root()).map_err(Trouble::File)?;
    Ok(tasks.tasks)
}

/// Receipts are kept by the name of the pipeline: two files of one folder must not
/// share it. A file that was renamed is fine.
pub(in crate::deed) fn only_file(
    setting: &Setting<'_>,
    manifest: &dyn Manifest,
) -> Result<(), CannotBegin> {
    let Setting { pipeline, file, disk, .. } = *setting;
    for name in std::iter::once(&pipeline.name).chain(&pipeline.was) {
        let no_manifest = |error| {
            let path = Home::in_folder(disk.root()).manifest();
            CannotBegin::Manifest { path, error }
        };
        let last = manifest.runs(name, None, 1).map_err(no_manifest)?;
        let Some(other) = last.into_iter().map(|run| run.new.file).find(|other| other != file)
        else {
            continue;
        };
        let text = std::fs::read_to_string(disk.root().join(&other)).unwrap_or_default();
        let is_script = setting.pipeline.steps.iter().all(|step| step.written.is_none())
            && disk.root().join(&other).exists()
            && !manifest.guards(name, None).map_err(no_manifest)?.is_empty();
        match Pipeline::read(&text) {
            _ if is_script => return Err(CannotBegin::TwoFiles { other, name: name.clone() }),
            Ok(twin) if twin.name == *name => {
                return Err(CannotBegin::TwoFiles { other, name: name.clone() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A site for those who only look, and run nothing.
pub(in crate::deed) fn site_for_looking<'a>(
    setting: &Setting<'a>,
    home: &'a Home,
    digests: &'a Digests,
    outputs: &'a HashSet<PathBuf>,
    asked: &'a Asked,
) -> Site<'a> {
    let Setting { pipeline, params, disk, env, .. } = *setting;
    Site {
        pipeline,
        params,
        disk,
        digests,
        home,
        run_id: "",
        env,
        outputs,
        asked,
        kept: &[],
        memory_is_whole: true,
        unsettled: nothing_unsettled(),
        orphans: &[],
        fence: None,
        leases: &[],
        calls: None,
        databases: Databases::new(pipeline, params, env, disk.root().to_owned()),
        stdio: None,
        manifest: None,
    }
}
