//! `semel history`: the runs, newest first.

use std::io::Write;
use std::time::Duration;

use semel::deed::lease;
use semel::ground::manifest::ManifestError;
use semel::words::run::{Counts, RunRecord, RunStep};
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{fit, thousands, when_here};

pub(crate) fn history(place: &Place, options: &args::History) -> Result<Exit, Failed> {
    let broken = |error| Failed::Manifest(place.home.manifest(), error);
    let Some(manifest) = place.manifest()? else {
        return Err(broken(ManifestError::Absent));
    };
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
        Some(0) => "done",
        Some(1) => "failed",
        Some(3) => "refused",
        Some(4) => "busy",
        Some(5) => "broken",
        Some(6) => "not boring",
        Some(_) => "stopped",
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
