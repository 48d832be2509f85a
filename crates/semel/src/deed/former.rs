//! Former names: what is remembered of a step under the names that it, or its
//! pipeline, had before, and what may be a step under another name.
//!
//! Invariant: what is remembered under the present name comes first, task by task.
//! A former name only ever adds memory, so that a renamed `once` step does nothing
//! again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::deed::view::StepView;
use crate::ground::manifest::{Former, Gone, Manifest, ManifestResult, StepMemory};
use crate::words::digest::Digest;
use crate::words::pipeline::{Pipeline, Step};
use crate::words::task::{Instance, TaskName};

/// What is remembered of a step and instance, under its present name and those that
/// it had before.
///
/// # Errors
/// If the manifest cannot be asked.
pub fn memory_of(
    manifest: &dyn Manifest,
    pipeline: &Pipeline,
    step: &Step,
    instance: &Instance,
) -> ManifestResult<StepMemory> {
    remembered(pipeline, step, &|pipeline, step| manifest.memory_of(pipeline, step, instance))
}

/// As [`memory_of`], of one task.
///
/// # Errors
/// If the manifest cannot be asked.
pub fn memory_of_task(
    manifest: &dyn Manifest,
    pipeline: &Pipeline,
    step: &Step,
    task: &TaskName,
) -> ManifestResult<StepMemory> {
    remembered(pipeline, step, &|pipeline, step| {
        manifest.memory_of_task(pipeline, &TaskName { step: step.to_owned(), ..task.clone() })
    })
}

fn remembered(
    pipeline: &Pipeline,
    step: &Step,
    ask: &dyn Fn(&str, &str) -> ManifestResult<StepMemory>,
) -> ManifestResult<StepMemory> {
    let mut memory = ask(&pipeline.name, &step.name)?;
    for (pipeline, step) in names(pipeline, step).skip(1) {
        let former = ask(pipeline, step)?;
        let name = Former { pipeline: pipeline.to_owned(), step: step.to_owned() };
        add(&mut memory, former, &Arc::new(name));
    }
    Ok(memory)
}

/// All names under which a step may be remembered, its present one first.
fn names<'a>(pipeline: &'a Pipeline, step: &'a Step) -> impl Iterator<Item = (&'a str, &'a str)> {
    let pipelines = std::iter::once(&pipeline.name).chain(&pipeline.was);
    pipelines.flat_map(move |pipeline| {
        let steps = std::iter::once(&step.name).chain(&step.was);
        steps.map(move |step| (pipeline.as_str(), step.as_str()))
    })
}

/// Adds what is remembered under a former name of tasks of which nothing else is.
fn add(memory: &mut StepMemory, former: StepMemory, name: &Arc<Former>) {
    let done = memory.receipts.iter().map(|known| known.item.to_string());
    let tried = memory.open.iter().map(|known| known.item.clone());
    let known: HashSet<_> = done.chain(tried).collect();
    let said: HashSet<_> = memory.said.iter().map(|said| said.item.clone()).collect();
    let receipts = former.receipts.into_iter().filter(|receipt| !known.contains(&*receipt.item));
    memory.receipts.extend(receipts.map(|mut receipt| {
        receipt.former = Some(Arc::clone(name));
        receipt
    }));
    memory.open.extend(former.open.into_iter().filter(|attempt| !known.contains(&attempt.item)));
    memory.said.extend(
        former
            .said
            .into_iter()
            .filter(|other| !known.contains(&other.item) && !said.contains(&other.item)),
    );
    memory.receipts.sort_by(|one, other| one.item.cmp(&other.item));
    memory.open.sort_by(|one, other| one.item.cmp(&other.item));
    memory.said.sort_by(|one, other| one.item.cmp(&other.item));
}

/// What is known of `once` steps that are nowhere any more: those that the file no
/// longer has, and all of pipelines that were run from this very file, or from one that
/// is gone.
///
/// # Errors
/// If the manifest cannot be asked.
pub fn gone(
    manifest: &dyn Manifest,
    pipeline: &Pipeline,
    file: &str,
    folder: &Path,
) -> ManifestResult<Vec<Gone>> {
    if !pipeline.steps.iter().any(|step| step.once) {
        return Ok(Vec::new());
    }
    let steps = pipeline.steps.iter();
    let named: Vec<_> = steps
        .flat_map(|step| std::iter::once(&step.name).chain(&step.was))
        .map(String::as_str)
        .collect();
    let mut gone = Vec::new();
    for name in std::iter::once(&pipeline.name).chain(&pipeline.was) {
        gone.extend(manifest.once_but(name, &named)?);
    }
    for (other, its_file) in manifest.pipelines()? {
        let is_known = other == pipeline.name || pipeline.was.contains(&other);
        let is_gone = its_file == file || !folder.join(&its_file).exists();
        // What a script does now is known to the script alone.
        if !is_known && is_gone && manifest.guards(&other, None)?.is_empty() {
            gone.extend(manifest.once_but(&other, &[])?);
        }
    }
    Ok(gone)
}

/// What may be a task of a `once` step under another name: it did the same, in the
/// same instance; or the pipeline has another name, and it is the same task.
#[must_use]
pub fn maybe(view: &StepView<'_>, item: &str, what: &Digest) -> Option<Gone> {
    if !view.step.once {
        return None;
    }
    let values = |instance: &Instance| match instance.as_str() {
        "" => 0,
        values => values.split(',').count(),
    };
    let is_it = |gone: &&Gone| {
        // Of steps with other parameters nobody knows which instance was which.
        let may_be_this =
            gone.instance == view.instance || values(&gone.instance) != values(&view.instance);
        let is_this = gone.instance == view.instance
            && gone.item == item
            && (gone.step == view.step.name || view.step.was.contains(&gone.step));
        (may_be_this && gone.what == *what) || is_this
    };
    view.memory.gone.iter().find(is_it).cloned()
}
