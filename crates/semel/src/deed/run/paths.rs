//! Paths that tasks share without saying so: one file under two names, and patterns
//! that take what another step makes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::deed::{Site, Trouble, list};
use crate::ground::glob::Matcher;
use crate::thought::bind::Params;
use crate::thought::plan::{self, PatternOf, StepTasks};
use crate::words::path::show;
use crate::words::pipeline::{EachSource, Fault, InputSource, Pipeline, StepId};

/// The outputs of steps without items.
pub(in crate::deed) fn plain_outputs(
    pipeline: &Pipeline,
    params: &Params,
    root: &Path,
) -> HashSet<PathBuf> {
    let alone = pipeline.steps.iter().filter(|step| step.each.is_none());
    let tasks = alone.filter_map(|step| plan::tasks(step, None, params, root).ok());
    tasks.flat_map(|step| step.tasks).flat_map(|task| task.outs).collect()
}

/// Finds outputs that lie in one folder under two names: one of the names leads
/// through a link.
pub(super) fn check_aliases(site: &Site<'_>, known: &[Option<&StepTasks>]) -> Result<(), Trouble> {
    let mut folders: BTreeMap<&Path, Option<PathBuf>> = BTreeMap::new();
    for (id, _) in site.pipeline.ids() {
        let mut last = None;
        let outs = known[id.0].iter().flat_map(|step| &step.tasks).flat_map(|task| &*task.outs);
        for folder in outs.filter_map(|out| out.parent()) {
            if last != Some(folder) {
                folders
                    .entry(folder)
                    .or_insert_with(|| site.disk.root().join(folder).canonicalize().ok());
                last = Some(folder);
            }
        }
    }
    let real = |path: &Path| -> Option<PathBuf> {
        Some(folders.get(path.parent()?)?.as_ref()?.join(path.file_name()?))
    };
    let is_linked = |(folder, real): (&&Path, &Option<PathBuf>)| {
        real.as_ref().is_some_and(|real| *real != site.disk.root().join(folder))
    };
    if !folders.iter().any(is_linked) {
        return Ok(());
    }
    let mut seen: HashMap<PathBuf, &Path> = HashMap::new();
    for (id, step) in site.pipeline.ids() {
        for task in known[id.0].iter().flat_map(|step| &step.tasks) {
            for (at, out) in task.outs.iter().enumerate() {
                let Some(real) = real(out) else { continue };
                if let Some(other) = seen.insert(real, out).filter(|other| *other != out.as_path())
                {
                    let (out, other) = (show(out), show(other));
                    let title = format!("one file under two names: {other} and {out}");
                    let span = &step.outs[at].span;
                    return Err(Trouble::File(Fault::new(title, span, "leads through a link")));
                }
            }
        }
    }
    Ok(())
}

/// Finds patterns that take outputs without saying so.
pub(super) fn check_patterns(site: &Site<'_>, known: &[Option<&StepTasks>]) -> Result<(), Trouble> {
    let mut matchers: BTreeMap<(usize, Option<usize>), Option<Matcher>> = BTreeMap::new();
    let matches = |id: StepId, pattern: PatternOf, path: &Path| {
        let step = site.pipeline.step(id);
        let (key, template) = match pattern {
            PatternOf::Each => match step.each.as_ref().map(|each| &each.source) {
                Some(EachSource::Files(template)) => ((id.0, None), template),
                _ => return false,
            },
            PatternOf::Input(at) => match &step.inputs[at].source {
                InputSource::Files(template) => ((id.0, Some(at)), template),
                InputSource::OutputsOf(_) => return false,
            },
        };
        if !template.is_glob() {
            // A folder is all that is in it.
            return !template.names_item()
                && path.starts_with(list::plain_path(site, step, template));
        }
        let matcher = matchers.entry(key).or_insert_with(|| list::matcher(site, step, template));
        matcher.as_ref().is_some_and(|matcher| matcher.takes(path))
    };
    plan::check_patterns(site.pipeline, known, matches).map_err(Trouble::File)
}
