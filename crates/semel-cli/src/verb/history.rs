//! `semel history`: the runs, newest first.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use semel::deed::lease;
use semel::ground::manifest::{AttemptRecord, Attempts, Manifest, ManifestError};
use semel::words::receipt::Origin;
use semel::words::run::{Counts, RunRecord, RunStep};
use semel::words::task::{TaskName, TaskPattern};
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{fit, visible, when_here};
use semel::words::thousands;

pub(crate) fn history(place: &Place, options: &args::History) -> Result<Exit, Failed> {
    let broken = |error| Failed::Manifest(place.home.manifest(), error);
    let Some(manifest) = place.manifest()? else {
        return Err(broken(ManifestError::Absent));
    };
    if !options.targets.is_empty() {
        return of_tasks(place, &*manifest, options);
    }
    let runs = manifest.runs(&place.file.pipeline.name, None, options.most).map_err(broken)?;
    let mut told = Vec::with_capacity(runs.len());
    for run in runs {
        let steps = manifest.run_steps(run.number).map_err(broken)?;
        told.push(Told::of(place, run, &steps));
    }
    let mut out = anstream::stdout().lock();
    if options.json {
        for run in &told {
            writeln!(out, "{}", run.json())?;
        }
    } else {
        write(&mut out, &told, Styles::for_stdout())?;
    }
    Ok(Exit::DONE)
}

/// A try at a task, or how it came to be complete without one.
struct Try {
    task: TaskName,
    run: i64,
    tries: Option<u32>,
    began: Timestamp,
    took: Option<Duration>,
    end: String,
    reason: Option<String>,
}

impl Try {
    fn of(place: &Place, attempt: AttemptRecord, ids: &HashMap<i64, String>) -> Self {
        let end = match attempt.ending {
            Some(ending) => ending,
            None if ids
                .get(&attempt.run)
                .is_some_and(|id| lease::is_held(&place.home.run_lock(id)).unwrap_or(false)) =>
            {
                "at work".to_owned()
            }
            None => "interrupted".to_owned(),
        };
        let took = attempt
            .ended
            .and_then(|ended| Duration::try_from(ended.duration_since(attempt.began)).ok());
        Self {
            task: attempt.task,
            run: attempt.run,
            tries: Some(attempt.tries),
            began: attempt.began,
            took,
            end,
            reason: attempt.reason,
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "task": self.task.to_string(), "run": self.run, "try": self.tries,
            "began": self.began.to_string(), "seconds": self.took.map(|took| took.as_secs_f64()),
            "end": self.end, "reason": self.reason,
        })
    }
}

/// Every try at some tasks, newest first.
fn of_tasks(
    place: &Place,
    manifest: &dyn Manifest,
    options: &args::History,
) -> Result<Exit, Failed> {
    let broken = |error| Failed::Manifest(place.home.manifest(), error);
    let pipeline = &place.file.pipeline;
    let runs = manifest.runs(&pipeline.name, None, u32::MAX).map_err(broken)?;
    let ids = runs.into_iter().map(|run| (run.number, run.new.id)).collect();
    let mut tries = Vec::new();
    for target in &options.targets {
        let pattern = TaskPattern::parse(target);
        let step = place.step_of(&pattern)?;
        let instance = pattern.instance.clone().unwrap_or_else(|| place.params.instance(&step.per));
        let all = TaskName::new(&step.name, &instance, None);
        let attempts = manifest.attempts(&pipeline.name, Attempts::OfTask(&all)).map_err(broken)?;
        let named = |item: Option<&str>| pattern.takes_item(item);
        let named: Vec<_> =
            attempts.into_iter().filter(|one| named(one.task.item.as_deref())).collect();
        let acted: HashSet<_> = named.iter().map(|one| (one.task.clone(), one.run)).collect();
        tries.extend(named.into_iter().map(|attempt| Try::of(place, attempt, &ids)));
        // What was adopted, reused or settled has a receipt and no try.
        let memory = manifest.memory_of(&pipeline.name, &step.name, &instance).map_err(broken)?;
        for receipt in memory.receipts {
            let item = Some(&*receipt.item).filter(|item| !item.is_empty());
            let task = TaskName::new(&step.name, &instance, item);
            if !pattern.takes_item(item) || acted.contains(&(task.clone(), receipt.run)) {
                continue;
            }
            let whole = manifest.receipt(&pipeline.name, &task).map_err(broken)?;
            let without_try = whole.filter(|receipt| receipt.origin != Origin::Ran);
            tries.extend(without_try.map(|receipt| Try {
                task,
                run: receipt.run,
                tries: None,
                began: receipt.at,
                took: None,
                end: receipt.origin.name().to_owned(),
                reason: None,
            }));
        }
    }
    tries.sort_by_key(|one| std::cmp::Reverse((one.run, one.began)));
    tries.truncate(options.most as usize);
    let mut out = anstream::stdout().lock();
    if options.json {
        for one in &tries {
            writeln!(out, "{}", one.json())?;
        }
        return Ok(Exit::DONE);
    }
    if tries.is_empty() {
        let named = options.targets.join(", ");
        writeln!(anstream::stderr(), "no try at {named} is kept, and no receipt")?;
        return Ok(Exit::DONE);
    }
    write_tries(&mut out, &tries, Styles::for_stdout())?;
    Ok(Exit::DONE)
}

fn write_tries(out: &mut impl Write, tries: &[Try], styles: Styles) -> std::io::Result<()> {
    let width = tries.iter().map(|one| one.task.to_string().chars().count()).max().unwrap_or(0);
    let width = width.clamp(4, 36);
    let (task, began, end) = (fit("task", width), fit("began", 16), fit("end", 11));
    let heading = format!("{:>5}  {task}  try  {began}  {:>7}  {end}", "run", "took");
    writeln!(out, "{}", heading.trim_end())?;
    for one in tries {
        let line = format!(
            "{:>5}  {}  {:>3}  {}  {:>7}  {}  {}",
            one.run,
            fit(&one.task.to_string(), width),
            one.tries.map(|tries| tries.to_string()).unwrap_or_default(),
            fit(&when_here(one.began), 16),
            one.took.map(semel::words::clock).unwrap_or_default(),
            styles.state(&fit(&one.end, 11)),
            visible(one.reason.as_deref().unwrap_or_default()),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What is told of a run.
struct Told {
    run: RunRecord,
    end: &'static str,
    done: u64,
    skipped: u64,
    /// Tasks that are not in their desired state.
    missed: u64,
}

impl Told {
    fn of(place: &Place, run: RunRecord, steps: &[RunStep]) -> Self {
        let sum = |count: fn(&Counts) -> u64| steps.iter().map(|step| count(&step.counts)).sum();
        let (total, reached): (u64, u64) = (sum(|counts| counts.total), sum(Counts::reached));
        let skipped = sum(|counts| counts.skipped);
        Self {
            end: end(place, &run, total == skipped),
            done: reached - skipped,
            skipped,
            missed: total - reached,
            run,
        }
    }

    fn took(&self) -> Option<Duration> {
        Duration::try_from(self.run.ended?.duration_since(self.run.new.began)).ok()
    }

    fn json(&self) -> serde_json::Value {
        let new = &self.run.new;
        json!({
            "run": self.run.number, "id": new.id, "instance": new.instance.as_str(), "params": new.params,
            "began": new.began.to_string(), "ended": self.run.ended.map(|time| time.to_string()),
            "end": self.end, "exit": self.run.status, "done": self.done, "skipped": self.skipped,
            "missed": self.missed, "selected": new.selected, "user": new.by.user, "host": new.by.host,
            "pid": new.by.pid, "command": new.command,
        })
    }
}

/// How a run ended, in a word.
fn end(place: &Place, run: &RunRecord, is_boring: bool) -> &'static str {
    match run.status {
        Some(0) if is_boring => "nothing",
        Some(status) => Exit(status).word(),
        None if lease::is_held(&place.home.run_lock(&run.new.id)).unwrap_or(false) => "at work",
        // Nothing is known of it but what once.log tells.
        None if run.ended.is_some() => "unknown",
        None => "killed",
    }
}

fn write(out: &mut impl Write, told: &[Told], styles: Styles) -> std::io::Result<()> {
    let has_instances = told.iter().any(|run| !run.run.new.instance.is_only());
    let instances = if has_instances { 14 } else { 0 };
    let column = |text: &str| {
        if has_instances { format!("{}  ", fit(text, instances)) } else { String::new() }
    };
    writeln!(
        out,
        "{:>5}  {}{}  {:>7}  {}  {:>7} {:>7} {:>7}  by",
        "run",
        column("instance"),
        fit("began", 16),
        "took",
        fit("end", 10),
        "done",
        "skip",
        "missed"
    )?;
    for run in told {
        let new = &run.run.new;
        writeln!(
            out,
            "{:>5}  {}{}  {:>7}  {}  {:>7} {:>7} {:>7}  {}@{}",
            run.run.number,
            column(new.instance.as_str()),
            fit(&when_here(new.began), 16),
            run.took().map(semel::words::clock).unwrap_or_default(),
            styles.state(&fit(run.end, 10)),
            thousands(run.done),
            thousands(run.skipped),
            thousands(run.missed),
            new.by.user,
            new.by.host,
        )?;
    }
    Ok(())
}
