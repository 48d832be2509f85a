//! `semel status STEP|TASK…`: where some tasks stand, one by one.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use semel::deed::lease;
use semel::deed::run::{CannotBegin, tasks_named};
use semel::deed::step::last_look;
use semel::ground::manifest::{Manifest, ManifestError, OpenAttempt, StepMemory, Verb};
use semel::words::clock;
use semel::words::task::{TaskName, TaskPattern};
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{fit, visible, when_here};
use crate::verb::status::TO_REDO;
use semel::words::thousands;

/// How many tasks are named; JSON names all.
const MOST: usize = 100;

/// How a task stands.
struct Standing {
    task: TaskName,
    state: &'static str,
    run: Option<i64>,
    at: Option<Timestamp>,
    note: String,
}

pub(crate) fn status(mut place: Place, options: &args::Status) -> Result<Exit, Failed> {
    let Some(manifest) = place.manifest()? else {
        return super::status::status(place, options);
    };
    let mut standings = Vec::new();
    for target in &options.targets {
        let pattern = TaskPattern::parse(target);
        place = place.in_instance_of(&pattern)?.complete()?;
        let path = place.home.manifest();
        let tasks = match named(&place, &*manifest, &pattern) {
            Ok(tasks) => tasks,
            Err(Named::Manifest(error)) => return Err(Failed::Manifest(path, error)),
            Err(Named::Usage(failed)) => return Err(failed),
            Err(Named::Begin(error)) => return Err(Failed::to_begin(error, place.file)),
        };
        standings.extend(
            standings_of(&place, &*manifest, &pattern, tasks, options.max_age)
                .map_err(|error| Failed::Manifest(path, error))?,
        );
    }
    let exit = exit(&standings);
    let mut out = anstream::stdout().lock();
    if options.json {
        for one in &standings {
            let at = one.at.map(|at| at.to_string());
            let task = one.task.to_string();
            let line = json!({ "task": task, "state": one.state, "run": one.run, "at": at, "note": one.note });
            writeln!(out, "{line}")?;
        }
        return Ok(exit);
    }
    let done = standings.iter().filter(|one| one.state == "done").count();
    let line = format!(
        "{} of {} done",
        thousands(done as u64),
        crate::show::text::count(standings.len() as u64, "task")
    );
    if options.quiet {
        if exit != Exit::DONE {
            writeln!(out, "{}: {line}; exit {}", place.file.pipeline.name, exit.0)?;
        }
        return Ok(exit);
    }
    write(&mut out, &place, &standings)?;
    let end = if exit == Exit::DONE { String::new() } else { format!("; exit {}", exit.0) };
    writeln!(out, "\n{line}{end}")?;
    Ok(exit)
}

enum Named {
    Manifest(ManifestError),
    Usage(Failed),
    Begin(CannotBegin),
}

/// The tasks that a pattern names: those that are there now; where its list is
/// not, those with a receipt or a try.
fn named(
    place: &Place,
    manifest: &dyn Manifest,
    pattern: &TaskPattern,
) -> Result<Vec<TaskName>, Named> {
    let step = place.step_of(pattern).map_err(Named::Usage)?;
    let instance = place.params.instance(&step.per);
    match tasks_named(&place.setting("semel status"), pattern) {
        Ok((_, tasks)) => Ok(tasks.iter().map(|task| task.name(&step.name, &instance)).collect()),
        Err(CannotBegin::Trouble(_)) => {
            let memory = manifest.memory_of(&place.file.pipeline.name, &step.name, &instance);
            let memory = memory.map_err(Named::Manifest)?;
            let receipts = memory.receipts.iter().map(|receipt| receipt.item.to_string());
            let mut items: Vec<_> =
                receipts.chain(memory.open.into_iter().map(|open| open.item)).collect();
            items.sort();
            items.dedup();
            let tasks = items.into_iter().map(|item| {
                TaskName::new(&step.name, &instance, Some(&*item).filter(|item| !item.is_empty()))
            });
            Ok(tasks.filter(|task| pattern.takes_item(task.item.as_deref())).collect())
        }
        Err(error) => Err(Named::Begin(error)),
    }
}

fn standings_of(
    place: &Place,
    manifest: &dyn Manifest,
    pattern: &TaskPattern,
    tasks: Vec<TaskName>,
    limit: Option<Duration>,
) -> Result<Vec<Standing>, ManifestError> {
    let name = &place.file.pipeline.name;
    let Some(instance) = tasks.first().map(|task| task.instance.clone()) else {
        return Ok(Vec::new());
    };
    let memory = manifest.memory_of(name, &pattern.step, &instance)?;
    let mut standings = Vec::with_capacity(tasks.len());
    for task in tasks {
        let item = task.item.as_deref().unwrap_or_default();
        let open = memory.open.binary_search_by(|open| open.item.as_str().cmp(item)).ok();
        let receipt = manifest.receipt(name, &task)?;
        let (run, at) = receipt.map(|receipt| (receipt.run, receipt.at)).unzip();
        let looked = last_look(&place.home, &task).max(at);
        let (state, note) = match (open.map(|at| &memory.open[at]), at) {
            (Some(open), _) => of_attempt(place, open),
            (None, Some(_)) if is_to_redo(&memory, item) => (TO_REDO, String::new()),
            (None, Some(at)) if is_too_old(looked.unwrap_or(at), limit) => {
                ("too old", format!("limit {}", limit.map(clock).unwrap_or_default()))
            }
            (None, Some(_)) => ("done", String::new()),
            (None, None) => ("never run", String::new()),
        };
        standings.push(Standing { task, state, run, at, note });
    }
    Ok(standings)
}

/// Whether a human said `redo` of an item, and no run has acted on it.
fn is_to_redo(memory: &StepMemory, item: &str) -> bool {
    memory.said.iter().any(|said| said.verb == Verb::Redo && said.item == item)
}

fn is_too_old(at: Timestamp, limit: Option<Duration>) -> bool {
    let age = Duration::try_from(Timestamp::now().duration_since(at));
    // A time in the future is not old.
    limit.is_some_and(|limit| age.is_ok_and(|age| age > limit))
}

fn of_attempt(place: &Place, open: &OpenAttempt) -> (&'static str, String) {
    let (run, began) = (open.run, when_here(open.began));
    match open.ending.as_deref() {
        None if lease::is_held(&place.home.run_lock(&open.run_id)).unwrap_or(false) => {
            ("at work", format!("run {run}, since {began}"))
        }
        None | Some("interrupted") => ("interrupted", format!("cut short in run {run}, {began}")),
        Some(_) => {
            let why = open.reason.as_deref().unwrap_or("failed");
            ("failed", format!("{why}, run {run}, {began}"))
        }
    }
}

/// 4 at work; 1 failed, interrupted, never run, too old or to redo; else 0.
fn exit(standings: &[Standing]) -> Exit {
    let any = |state: &str| standings.iter().any(|one| one.state == state);
    match () {
        () if any("at work") => Exit::BUSY,
        () if standings.iter().all(|one| one.state == "done") => Exit::DONE,
        () => Exit::FAILED,
    }
}

fn write(out: &mut impl Write, place: &Place, standings: &[Standing]) -> std::io::Result<()> {
    let styles = Styles::for_stdout();
    writeln!(out, "{}\n", place.heading(styles))?;
    let width = standings.iter().map(|one| one.task.to_string().chars().count()).max();
    let width = width.unwrap_or(0).clamp(4, 40);
    for one in standings.iter().take(MOST) {
        let receipt = match (one.run, one.at) {
            (Some(run), Some(at)) => format!("receipt of run {run}, {}", when_here(at)),
            _ => String::new(),
        };
        let gap = if receipt.is_empty() || one.note.is_empty() { "" } else { "; " };
        let task = fit(&one.task.to_string(), width);
        let state = styles.state(&fit(one.state, 11));
        let line = format!("  {task}  {state}  {}{gap}{receipt}", visible(&one.note));
        writeln!(out, "{}", line.trim_end())?;
    }
    if standings.len() > MOST {
        writeln!(out, "  and {} more", thousands((standings.len() - MOST) as u64))?;
    }
    Ok(())
}
