//! `semel done` and `semel redo`: what a human says of a task is kept, and the
//! next run acts on it.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;
use semel::deed::hold::holder_of;
use semel::deed::run::tasks_named;
use semel::deed::stage::kept_outputs;
use semel::deed::{former, memory, once};
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Manifest, ManifestError, Resolution, Verb};
use semel::words::path::show;
use semel::words::pipeline::Step;
use semel::words::task::{Instance, Task, TaskName, TaskPattern};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::count;

pub(crate) fn done(place: Place, options: &args::Settle, typed: &str) -> Result<Exit, Failed> {
    settle(place, options, typed, Verb::Done)
}

pub(crate) fn redo(place: Place, options: &args::Settle, typed: &str) -> Result<Exit, Failed> {
    settle(place, options, typed, Verb::Redo)
}

fn settle(
    mut place: Place,
    options: &args::Settle,
    typed: &str,
    verb: Verb,
) -> Result<Exit, Failed> {
    if options.because.trim().is_empty() {
        return Err(Failed::Usage("--because wants a reason; it is kept".to_owned()));
    }
    let path = place.home.manifest();
    if !path.exists() {
        return Err(Failed::Manifest(path, ManifestError::Absent));
    }
    let no_manifest = |error| Failed::Manifest(path.clone(), error);
    let holder = holder_of(&place.setting(typed));
    let access = memory::Access::share(&place.home, &holder);
    let access = access.map_err(|error| Failed::lease(error, &place))?;
    let mut manifest = SqliteManifest::open(&path).map_err(no_manifest)?;
    access.fence(&mut manifest).map_err(no_manifest)?;
    memory::catch_up(&place.disk, &place.home, &mut manifest).map_err(no_manifest)?;
    let mut resolutions = Vec::new();
    // Tasks of several instances may be named; a run acts in one.
    let mut runs = Vec::new();
    for task in &options.tasks {
        let pattern = TaskPattern::parse(task);
        place = place.in_instance_of(&pattern)?.complete()?;
        let named = tasks_named(&place.setting("semel"), &pattern);
        let (id, tasks) = match named {
            Ok(named) => named,
            Err(error) => return Err(Failed::to_begin(error, place.file)),
        };
        let run = place.run_again("");
        if !runs.contains(&run) {
            runs.push(run);
        }
        let step = place.file.pipeline.step(id);
        let instance = place.params.instance(&step.per);
        for task in tasks {
            if verb == Verb::Done && !options.without_outputs {
                let missing = missing_output(&place, &manifest, step, &instance, &task)?;
                if let Some(missing) = missing {
                    return refuse(
                        &task.name(&step.name, &instance).to_string(),
                        &missing,
                        place.again_beside(&instance),
                    );
                }
            }
            resolutions.push(Resolution {
                task: task.name(&step.name, &instance),
                verb,
                without_outputs: options.without_outputs,
                because: options.because.clone(),
                by: place.by.clone(),
                at: Timestamp::now(),
            });
        }
    }
    let name = &place.file.pipeline.name;
    let is_once = |task: &TaskName| {
        let steps = &place.file.pipeline;
        steps.step_named(&task.step).is_some_and(|id| steps.step(id).once)
    };
    once::settle(&place.disk, &place.home, &mut manifest, name, &resolutions, is_once)
        .map_err(no_manifest)?;
    let mut out = anstream::stderr().lock();
    let what = match resolutions.as_slice() {
        [only] => only.task.to_string(),
        all => count(all.len() as u64, "task"),
    };
    let then = match (verb, resolutions.len()) {
        (Verb::Done, _) => "the next run accepts what is there",
        (Verb::Redo, 1) => "the next run does it again, once",
        (Verb::Redo, _) => "the next run does each of them again, once",
    };
    writeln!(out, "{}  {what}: {then}", Styles::for_stderr().state("done"))?;
    writeln!(out, "\n  next")?;
    for run in runs {
        writeln!(out, "    {run}")?;
    }
    Ok(Exit::DONE)
}

/// An output that is neither in its place nor kept from a refused attempt.
fn missing_output(
    place: &Place,
    manifest: &dyn Manifest,
    step: &Step,
    instance: &Instance,
    task: &Task,
) -> Result<Option<String>, Failed> {
    let root = place.home.path().parent().unwrap_or(Path::new("."));
    let Some(missing) = task.outs.iter().find(|out| !root.join(out).exists()) else {
        return Ok(None);
    };
    let missing = Some(show(missing));
    if !step.once {
        return Ok(missing);
    }
    let memory = former::memory_of(manifest, &place.file.pipeline, step, instance);
    let memory = memory.map_err(|error| Failed::Manifest(place.home.manifest(), error))?;
    let name = task.item_name();
    let Some(open) = memory.open.iter().find(|attempt| attempt.item == name) else {
        return Ok(missing);
    };
    let kept = kept_outputs(&place.disk, &place.home, step, task, &open.run_id, open.number);
    match kept.map_err(|error| Failed::Broken(error.to_string()))? {
        Some(_) => Ok(None),
        None => Ok(missing),
    }
}

fn refuse(task: &str, missing: &str, again: &str) -> Result<Exit, Failed> {
    let mut out = anstream::stderr().lock();
    let quoted = semel::words::shell::quote_words([task]);
    writeln!(
        out,
        "{}  {task}: its output {missing} is not there",
        Styles::for_stderr().state("refused")
    )?;
    writeln!(out, "\n  next")?;
    writeln!(out, "    put it there, and say so again; or, if none is wanted:")?;
    writeln!(out, "    semel done {quoted}{again} --without-outputs --because '...'")?;
    writeln!(out, "\nnothing was settled; exit 3")?;
    Ok(Exit::REFUSED)
}
