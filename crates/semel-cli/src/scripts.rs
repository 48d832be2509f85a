//! Scripts, as the manifest knows them: what they said of their tasks last.
//!
//! A script says its steps one by one while it runs. For those who only look, its
//! pipeline is made of what it said before; of commands nothing is known there.

use std::path::{Path, PathBuf};

use semel::deed::memory;
use semel::ground::home::Home;
use semel::ground::manifest::{Manifest, ManifestError, ManifestResult, SaidBefore};
use semel::ground::world::disk::{Disk as _, RealDisk};
use semel::words::guard::{self, ALONE, Guard};
use semel::words::path::normal;
use semel::words::pipeline::{Pipeline, Step};
use semel::words::shell::quote_words;
use semel::words::task::{Item, TaskName, TaskPattern};

use crate::args::Common;
use crate::file::{NAME, NoPipeline};
use crate::place::Place;
use crate::show::fail::Failed;
use crate::verb::step::home_of;

/// A script that the manifest knows.
pub(crate) struct Known {
    /// The folder with the manifest.
    pub(crate) root: PathBuf,
    /// The script, as it is called from there; for steps that stand alone, their name.
    pub(crate) file: String,
    /// What it said last.
    pub(crate) pipeline: Pipeline,
    /// What is typed to run it again.
    pub(crate) run: String,
}

/// The places that the command line means: that of the pipeline file, and those of the
/// scripts that share its manifest, or some of them. `targets` are the steps and tasks
/// that it names.
pub(crate) fn places(common: &Common, targets: &[String]) -> Result<Vec<Place>, Failed> {
    let patterns: Vec<_> = targets.iter().map(|target| TaskPattern::parse(target)).collect();
    if let Some(named) = &common.file {
        let is_pipeline = named.extension().is_some_and(|ending| ending == "toml");
        if !is_pipeline && let Some(known) = named_so(named, &patterns)? {
            return Ok(vec![Place::of_script(known, common)?]);
        }
        return Ok(vec![Place::find(common)?]);
    }
    let first = match Place::find(common) {
        Err(Failed::NoPipeline(NoPipeline::Absent(_))) => None,
        place => Some(place?),
    };
    let has_step = |place: &Place| {
        patterns.iter().all(|pattern| place.file.pipeline.step_named(&pattern.step).is_some())
    };
    let here = std::env::current_dir().unwrap_or_default();
    let root = first.as_ref().map(|place| place.disk.root().to_owned());
    let root = root.or_else(|| home_of(&here).ok());
    if first.as_ref().is_some_and(|place| !patterns.is_empty() && has_step(place)) {
        return Ok(first.into_iter().collect());
    }
    let scripts = match &root {
        Some(root) => all_in(root, &patterns)?,
        None => Vec::new(),
    };
    let scripts = scripts.into_iter().map(|known| Place::of_script(known, common));
    let scripts = scripts.collect::<Result<Vec<_>, _>>()?;
    if !patterns.is_empty() {
        let (with, without): (Vec<_>, Vec<_>) = scripts.into_iter().partition(has_step);
        return match (with.is_empty(), first) {
            (false, _) => Ok(with),
            (true, Some(first)) => Ok(vec![first]),
            (true, None) if without.is_empty() => Err(absent()),
            (true, None) => Ok(without),
        };
    }
    let all: Vec<_> = first.into_iter().chain(scripts).collect();
    if all.is_empty() { Err(absent()) } else { Ok(all) }
}

fn absent() -> Failed {
    Failed::NoPipeline(NoPipeline::Absent(PathBuf::from(NAME)))
}

/// The only place that is meant.
pub(crate) fn only(mut places: Vec<Place>) -> Result<Place, Failed> {
    // What a pipeline file says is meant unless something else is named.
    if places.len() > 1 && !places[0].is_script() {
        places.truncate(1);
    }
    match (places.len(), places.pop()) {
        (1, Some(place)) => Ok(place),
        (0, _) | (_, None) => Err(absent()),
        (_, Some(last)) => {
            let names = places.iter().chain([&last]).map(|place| &*place.file.pipeline.name);
            let names: Vec<_> = names.collect();
            Err(Failed::Usage(format!(
                "several are known here: {}; say which:  -f {}",
                names.join(", "),
                names[0]
            )))
        }
    }
}

/// The script of this name, or in this file.
fn named_so(named: &Path, patterns: &[TaskPattern]) -> Result<Option<Known>, Failed> {
    let here = std::env::current_dir().unwrap_or_default();
    let real = named.canonicalize().ok().filter(|path| path.is_file());
    let folder = real.as_deref().and_then(Path::parent).unwrap_or(&here);
    let Ok(root) = home_of(folder) else {
        return Ok(None);
    };
    let known = all_in(&root, patterns)?;
    Ok(known.into_iter().find(|known| {
        let is_file = real.as_ref().is_some_and(|real| {
            known.root.join(&known.file).canonicalize().is_ok_and(|file| file == *real)
        });
        is_file || Path::new(&known.pipeline.name) == named
    }))
}

/// All scripts that a manifest knows.
fn all_in(root: &Path, patterns: &[TaskPattern]) -> Result<Vec<Known>, Failed> {
    let disk = RealDisk::at(root).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let broken = |error: ManifestError| Failed::Manifest(home.manifest(), error);
    // One that is damaged is told by the verb itself.
    let Ok(Some(looked)) = memory::read(&disk, &home) else {
        return Ok(Vec::new());
    };
    let manifest: &dyn Manifest = &looked.manifest;
    let pipelines = manifest.pipelines().map_err(broken)?;
    let scripts = pipelines.into_iter().filter(|(_, file)| !file.ends_with(".toml"));
    let known = scripts.map(|(name, file)| {
        let pipeline = pipeline_of(manifest, &name, patterns).map_err(broken)?;
        let run = to_run(disk.root(), &name, &file);
        Ok(Known { root: disk.root().to_owned(), file, pipeline, run })
    });
    known.collect()
}

/// What is typed to run a pipeline or a script again, by the name that a manifest has of it.
pub(crate) fn to_run_again(manifest: &dyn Manifest, root: &Path, name: &str) -> String {
    // Where it is not known, it can be looked up.
    let known = manifest.pipelines().unwrap_or_default();
    match known.into_iter().find(|(known, _)| known == name) {
        Some((_, file)) if !file.ends_with(".toml") => to_run(root, name, &file),
        Some((_, file)) if file != NAME => format!("semel run {}", quote_words(["-f", &file])),
        _ => "semel run".to_owned(),
    }
}

fn to_run(root: &Path, name: &str, file: &str) -> String {
    let path = root.join(file);
    if name == ALONE || !path.is_file() {
        return "semel step ...".to_owned();
    }
    let here = std::env::current_dir().ok().and_then(|here| here.canonicalize().ok());
    let inside = here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned));
    let shown = inside.map_or_else(|| path.clone(), |inside| Path::new(".").join(inside));
    let shown = shown.to_string_lossy();
    match rustix::fs::access(&path, rustix::fs::Access::EXEC_OK) {
        Ok(()) => quote_words([&*shown]),
        Err(_) => quote_words(["bash", &*shown]),
    }
}

/// What a script said of its tasks last, as a pipeline; of what is named only, if anything
/// is.
fn pipeline_of(
    manifest: &dyn Manifest,
    name: &str,
    patterns: &[TaskPattern],
) -> ManifestResult<Pipeline> {
    let mut said: Vec<(TaskName, Guard, i64)> = Vec::new();
    for SaidBefore { task, says, run } in manifest.guards(name, None)? {
        // What a newer semel wrote may say more.
        if let Ok(guard) = serde_json::from_str(&says) {
            said.push((task, guard, run));
        }
    }
    if !patterns.is_empty() {
        let is_named = |task: &TaskName| patterns.iter().any(|pattern| pattern.step == task.step);
        said.retain(|(task, ..)| is_named(task));
    }
    let last = manifest.runs(name, None, 1)?.pop();
    let last = last.map_or(Ok(Vec::new()), |run| manifest.run_steps(run.number))?;
    let place = |step: &str| {
        let known = last.iter().find(|known| known.step == step);
        known.map_or(u64::MAX, |known| known.place)
    };
    let mut names: Vec<_> = said.iter().map(|(task, ..)| task.step.clone()).collect();
    names.dedup();
    names.sort_by_key(|step| place(step));
    let (mut params, mut steps) = (Vec::new(), Vec::new());
    for step in names {
        let of_step = || said.iter().filter(|(task, ..)| task.step == step);
        let asked = patterns.iter().find(|pattern| pattern.step == step);
        let asked = asked.and_then(|pattern| pattern.instance.as_ref());
        let newest =
            of_step().filter(|(task, ..)| asked.is_none_or(|asked| task.instance == *asked));
        let Some((newest, guard, _)) = newest.max_by_key(|(.., run)| *run) else {
            continue;
        };
        let items = of_step().filter(|(task, ..)| task.instance == newest.instance);
        steps.push(step_of(guard, items.map(|(_, guard, _)| guard)));
        for (name, value) in &guard.per {
            if !params.iter().any(|(known, _)| known == name) {
                params.push((name.clone(), value.clone()));
            }
        }
    }
    Ok(guard::pipeline(name, &params, steps))
}

/// A step with all the items that the script named.
fn step_of<'a>(guard: &Guard, items: impl Iterator<Item = &'a Guard>) -> Step {
    let items = items.filter_map(|guard| {
        let item = guard.item.as_ref()?;
        let outs = guard.outs.iter().map(|out| normal(out.path.as_bytes()));
        Some(Item { outs: Some(outs.collect()), ..Item::plain(item.as_bytes()) })
    });
    guard.step_of(items)
}
