//! `semel status`: where every step stands, as the manifest has it.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;
use semel::deed::at_work::{self, AtWork};
use semel::deed::lease::Holder;
use semel::deed::step::last_look;
use semel::deed::view::is_older;
use semel::deed::{calls, former, lease, network};
use semel::ground::manifest::calls::SumOf;
use semel::ground::manifest::{Manifest, ManifestError, OpenAttempt, StepMemory, Verb};
use semel::ground::world::file_system::FileSystem;
use semel::words::call::{CallState, Sums};
use semel::words::clock;
use semel::words::guard::ALONE;
use semel::words::pipeline::Step;
use semel::words::run::{Counts, RunRecord, RunStep};
use semel::words::task::{Instance, TaskName};
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::board::name_width;
use crate::show::fail::Failed;
use crate::show::json;
use crate::show::style::Styles;
use crate::show::text::{ago, fit, instance, named, next, shorten, when_here};
use semel::words::thousands;

/// How many of the last runs are looked at, to find those of other instances.
const MOST_RUNS: u32 = 1000;

/// The state of what is done, and of which a human said `redo` since.
pub(super) const TO_REDO: &str = "to redo";

/// How a step stands.
struct Standing {
    name: String,
    state: &'static str,
    counts: Option<Counts>,
    at: Option<Timestamp>,
    note: String,
    /// When it was found done, where it stands alone and no run tells of that.
    looked: Option<Timestamp>,
    /// Whether an attempt at it is kept, with what it printed.
    was_tried: bool,
}

/// How the pipeline stands.
struct Overview {
    instance: Instance,
    last: Option<RunRecord>,
    last_good: Option<RunRecord>,
    /// Whether the last run has no end and nobody is at work: it was killed.
    was_killed: bool,
    holder: Option<Box<lease::Holder>>,
    /// Commands that outlived their runs.
    orphans: Vec<AtWork>,
    steps: Vec<Standing>,
    /// How long ago the last good run may be.
    limit: Option<Duration>,
    /// Whether its steps stand alone, in no script.
    are_alone: bool,
    others: Vec<(Instance, RunRecord)>,
    /// What its calls came to.
    calls: Sums,
    /// Since when the memory is whole, where it is incomplete and a `once` step is here.
    whole_since: Option<Timestamp>,
}

/// The pipeline of the file here, and all scripts that share its manifest.
pub(crate) fn of_all(places: Vec<Place>, options: &args::Status) -> Exit {
    let mut worst = Exit::DONE;
    for (at, place) in places.into_iter().enumerate() {
        if at > 0 && !options.quiet && !options.json {
            let _ = writeln!(anstream::stdout());
        }
        let again = place.again.clone();
        let exit = status(place, options).unwrap_or_else(|failed| failed.tell(&again));
        // The first that applies, as for a run.
        let rank = |exit: Exit| [0, 4, 1, 3, 5].iter().position(|known| *known == exit.0);
        if rank(exit) > rank(worst) {
            worst = exit;
        }
    }
    worst
}

pub(crate) fn status(place: Place, options: &args::Status) -> Result<Exit, Failed> {
    let styles = Styles::for_stdout();
    let mut out = anstream::stdout().lock();
    let Some(manifest) = place.manifest()? else {
        if options.quiet {
            writeln!(out, "{}: never run; exit 1", place.file.pipeline.name)?;
        } else if options.json {
            let exit = Exit::FAILED.0;
            writeln!(
                out,
                "{}",
                json!({ "pipeline": place.file.pipeline.name, "state": "never run", "exit": exit })
            )?;
        } else {
            writeln!(
                out,
                "{}  never run: there is no manifest yet",
                styles.bold(&place.file.pipeline.name)
            )?;
            writeln!(
                out,
                "\n  next\n{}\n{}",
                next(&format!("semel plan{}", place.again), "what a run would do"),
                next(&format!("semel run{}", place.again), "do it")
            )?;
        }
        return Ok(Exit::FAILED);
    };
    let path = place.home.manifest();
    let no_manifest = |error| Failed::Manifest(path.clone(), error);
    let runs = manifest.runs(&place.file.pipeline.name, None, MOST_RUNS).map_err(no_manifest)?;
    let instance = shown_instance(&place, &runs);
    let place = &place.in_known_instance(&instance)?;
    let overview =
        overview(place, &*manifest, &runs, instance, options.max_age).map_err(no_manifest)?;
    let exit = overview.exit();
    if options.json {
        writeln!(out, "{}", overview.json(place, exit))?;
    } else if options.quiet {
        if exit != Exit::DONE {
            writeln!(out, "{}", overview.line(place, exit))?;
        }
    } else {
        overview.write(&mut out, place, styles, exit)?;
    }
    Ok(exit)
}

/// Unless an instance is asked for, the one that ran last is shown.
fn shown_instance(place: &Place, runs: &[RunRecord]) -> Instance {
    match runs.first() {
        Some(last) if !place.has_given_params() => last.new.instance.clone(),
        _ => place.instance(),
    }
}

fn overview(
    place: &Place,
    manifest: &dyn Manifest,
    runs: &[RunRecord],
    instance: Instance,
    limit: Option<Duration>,
) -> Result<Overview, ManifestError> {
    let pipeline = &place.file.pipeline;
    let mut of_this = runs.iter().filter(|run| run.new.instance == instance);
    let last_good = of_this.clone().find(|run| run.status == Some(0) && !run.new.selected).cloned();
    let last = of_this.next().cloned();
    let lock = place.home.lock(&pipeline.name, instance.as_str());
    // Locks of the kernel know nothing of a run on another machine.
    let of_last = |holder: &Holder| {
        let runs = last.as_ref().filter(|run| run.ended.is_none());
        runs.is_some_and(|run| run.new.by.host == holder.host && run.new.by.pid == holder.pid)
    };
    let elsewhere = || network::holder(&place.home).ok().flatten().filter(|holder| of_last(holder));
    let holder = lease::holder(&lock).ok().flatten().or_else(elsewhere);
    // A look that fails tells nothing; a run would say why.
    let mut orphans = at_work::orphans(&place.home).unwrap_or_default();
    orphans.retain(|orphan| orphan.pipeline == pipeline.name);
    let was_killed = holder.is_none() && last.as_ref().is_some_and(|run| run.ended.is_none());
    let alive = at_work::alive(&place.home).unwrap_or_default();
    let mut steps = Vec::new();
    for step in &pipeline.steps {
        let of_step = if step.per == pipeline.per {
            instance.clone()
        } else {
            place.params.instance(&step.per)
        };
        steps.push(standing(place, manifest, runs, step, &of_step, &alive)?);
    }
    let mut others = BTreeMap::new();
    for run in runs.iter().filter(|run| run.new.instance != instance) {
        others.entry(run.new.instance.clone()).or_insert_with(|| run.clone());
    }
    let is_shown = |of: &SumOf| {
        let step = pipeline.steps.iter().find(|step| step.name == of.step);
        step.is_none_or(|step| step.per != pipeline.per || of.instance == instance.as_str())
    };
    let calls = calls::sums(&place.home, manifest.call_journal(), &pipeline.name, None, is_shown)?;
    let has_once = pipeline.steps.iter().any(|step| step.once);
    let whole_since = manifest.identity()?.whole_since.filter(|_| has_once);
    Ok(Overview {
        calls,
        whole_since,
        instance,
        last,
        last_good,
        was_killed,
        holder,
        orphans,
        steps,
        limit,
        are_alone: pipeline.name == ALONE,
        others: others.into_iter().collect(),
    })
}

fn standing(
    place: &Place,
    manifest: &dyn Manifest,
    runs: &[RunRecord],
    step: &Step,
    instance: &Instance,
    alive: &[AtWork],
) -> Result<Standing, ManifestError> {
    let name = &place.file.pipeline.name;
    let last = manifest.last_run_step(name, &step.name, instance)?;
    let memory = former::memory_of(manifest, &place.file.pipeline, step, instance)?;
    let since = last.as_ref().map_or(0, |(run, _)| *run);
    // What a run was ended in the middle of is told by no count of that run.
    let is_later = |attempt: &&OpenAttempt| {
        let was_ended = attempt.ending.as_deref() == Some("interrupted");
        attempt.run > since || (attempt.run == since && was_ended)
    };
    let later: Vec<_> = memory.open.iter().filter(is_later).collect();
    let is_alive = |attempt: &&OpenAttempt| {
        lease::is_held(&place.home.run_lock(&attempt.run_id)).unwrap_or(false)
    };
    let is_cut_short = |attempt: &&&OpenAttempt| {
        attempt.ending.as_deref().is_none_or(|ending| ending == "interrupted")
    };
    let is_at_it = |at_work: &AtWork| {
        let task = &at_work.task;
        at_work.pipeline == *name && task.step == step.name && task.instance == *instance
    };
    let at_work = later.iter().any(|attempt| attempt.ending.is_none() && is_alive(attempt))
        || alive.iter().any(is_at_it);
    let cut_short: Vec<_> = later.iter().filter(is_cut_short).copied().collect();
    // What was asked for one by one since the last whole run.
    let since_then = memory.receipts.iter().filter(|receipt| receipt.run > since).count() as u64;
    let (state, counts, note) = match &last {
        _ if at_work => ("at work", last.as_ref().map(|(_, step)| step.counts), String::new()),
        // The next run does not guess, either.
        _ if step.once
            && step.check.is_none()
            && cut_short.iter().any(|attempt| !attempt.provably_undone) =>
        {
            let counts = last.as_ref().map(|(_, step)| step.counts);
            ("refused", counts, cut_short_note(&cut_short))
        }
        _ if !cut_short.is_empty() => {
            ("interrupted", last.as_ref().map(|(_, step)| step.counts), cut_short_note(&cut_short))
        }
        Some((_, step)) if !later.is_empty() => {
            let first = &later[0];
            let why = first.reason.as_deref().unwrap_or("failed");
            let note = if first.item.is_empty() {
                why.to_owned()
            } else {
                format!("{}: {why}", first.item)
            };
            ("failed", Some(step.counts), note)
        }
        Some((_, step)) if since_then > 0 && !step.counts.all_reached() => {
            // Mended one by one: it counts what has a receipt and nothing open.
            let open = memory.open.len() as u64;
            let total = step.counts.total;
            let reached = (memory.receipts.len() as u64).saturating_sub(open).min(total);
            let counts = Counts { total, skipped: reached, ..Counts::default() };
            let state = if reached == total { "done" } else { state_of(step) };
            (state, Some(counts), step.note.clone())
        }
        Some((run, step)) if is_in_part(runs, *run) => {
            ("in part", Some(step.counts), "only some of it was asked for so far".to_owned())
        }
        Some((_, step)) => (state_of(step), Some(step.counts), step.note.clone()),
        None if memory.receipts.iter().any(|receipt| is_from_log(runs, receipt.run)) => {
            ("in part", None, "known by .semel/once.log only".to_owned())
        }
        // No run was through with it yet; one task is all of it.
        None if !memory.receipts.is_empty() && step.each.is_none() => {
            let counts = Counts { total: 1, skipped: 1, ..Counts::default() };
            ("done", Some(counts), String::new())
        }
        None if memory.receipts.iter().any(|receipt| is_at_work(place, runs, receipt.run)) => {
            ("at work", None, String::new())
        }
        None if !memory.receipts.is_empty() => {
            ("interrupted", None, "its run was killed".to_owned())
        }
        None => ("never run", None, String::new()),
    };
    let mut standing = Standing {
        name: step.name.clone(),
        state,
        counts,
        at: manifest.last_receipt(name, &step.name, instance)?,
        note,
        looked: last_look(&place.home, &TaskName::new(&step.name, instance, None)),
        was_tried: !memory.open.is_empty(),
    };
    if standing.state == "done" {
        mark_too_old(&mut standing, manifest, name, step, instance)?;
        mark_to_redo(&mut standing, &memory);
    }
    Ok(standing)
}

/// A step that is done and of which a human said `redo` will be done again by the next
/// run: it is not in its desired state.
fn mark_to_redo(standing: &mut Standing, memory: &StepMemory) {
    let mut items =
        memory.said.iter().filter(|said| said.verb == Verb::Redo).map(|said| &said.item);
    let Some(first) = items.next() else {
        return;
    };
    let more = items.count() as u64;
    standing.state = TO_REDO;
    standing.note = match (first.as_str(), more) {
        ("", _) => "`redo` was said".to_owned(),
        (item, 0) => format!("{item}: `redo` was said"),
        (item, more) => format!("{item}: `redo` was said, and of {} more", thousands(more)),
    };
    if let Some(counts) = &mut standing.counts {
        let skipped = counts.reached().saturating_sub(more + 1);
        *counts = Counts { total: counts.total, skipped, ..Counts::default() };
    }
}

/// A step that is done and whose receipts are older than it allows will be done again
/// by the next run: it is not in its desired state.
fn mark_too_old(
    standing: &mut Standing,
    manifest: &dyn Manifest,
    pipeline: &str,
    step: &Step,
    instance: &Instance,
) -> Result<(), ManifestError> {
    let (Some(limit), Some(counts)) = (step.max_age, standing.counts) else {
        return Ok(());
    };
    let times = manifest.receipt_times(pipeline, &step.name, instance)?;
    let fresh = times.iter().filter(|(_, at)| !is_older(*at, limit)).count() as u64;
    // Items that are gone have old receipts, too.
    if fresh < counts.total {
        standing.state = "too old";
        standing.counts = Some(Counts { total: counts.total, skipped: fresh, ..Counts::default() });
        standing.note = format!("max-age is {}", clock(limit));
    }
    Ok(())
}

/// Whether a run was asked for some steps or tasks only.
fn is_in_part(runs: &[RunRecord], run: i64) -> bool {
    runs.iter().any(|known| known.number == run && known.new.selected)
}

/// Whether a run is alive.
fn is_at_work(place: &Place, runs: &[RunRecord], run: i64) -> bool {
    let known = runs.iter().find(|known| known.number == run && known.ended.is_none());
    known.is_some_and(|run| lease::is_held(&place.home.run_lock(&run.new.id)).unwrap_or(false))
}

/// Whether nothing is known of a run but what once.log tells.
fn is_from_log(runs: &[RunRecord], run: i64) -> bool {
    let known = runs.iter().find(|known| known.number == run);
    known.is_some_and(|known| known.ended.is_some() && known.status.is_none())
}

fn cut_short_note(attempts: &[&OpenAttempt]) -> String {
    let first = &attempts[0];
    let item = if first.item.is_empty() { String::new() } else { format!("{}: ", first.item) };
    let more = if attempts.len() > 1 {
        format!(", and {} more", attempts.len() - 1)
    } else {
        String::new()
    };
    format!("{item}cut short in run {}{more}", first.run)
}

fn state_of(step: &RunStep) -> &'static str {
    let counts = &step.counts;
    match () {
        () if counts.failed > 0 => "failed",
        () if counts.refused > 0 => "refused",
        () if counts.busy > 0 => "busy",
        () if counts.blocked > 0 => "blocked",
        () if counts.all_reached() => "done",
        // A script came to it, and to no end of it.
        () if step.place > 0 => "interrupted",
        () => "not begun",
    }
}

impl Overview {
    /// 4 running; 3 refused; 1 failed, interrupted, never run or to redo; else 0.
    fn exit(&self) -> Exit {
        let any = |state: &str| self.steps.iter().any(|step| step.state == state);
        let all_done = self.steps.iter().all(|step| step.state == "done");
        match () {
            () if self.holder.is_some() || !self.orphans.is_empty() => Exit::BUSY,
            () if any("refused") => Exit::REFUSED,
            () if self.is_too_old() => Exit::FAILED,
            () if all_done && !self.was_killed && self.last.is_some() => Exit::DONE,
            () => Exit::FAILED,
        }
    }

    /// When the last good run ended.
    fn good_at(&self) -> Option<Timestamp> {
        if self.are_alone {
            // Each comes by itself: the one that was not seen for longest counts.
            return self.steps.iter().map(|step| step.at.max(step.looked)).min().flatten();
        }
        self.last_good.as_ref().map(|good| good.ended.unwrap_or(good.new.began))
    }

    /// Whether the last good run is longer ago than it may be.
    fn is_too_old(&self) -> bool {
        let Some(limit) = self.limit else {
            return false;
        };
        let age = self.good_at().map(|at| Timestamp::now().duration_since(at));
        // A time that far in the future was written by a clock that lied.
        age.is_none_or(|age| age.unsigned_abs() > limit)
    }

    /// All of it in a line, fit for a monitor.
    fn line(&self, place: &Place, exit: Exit) -> String {
        let pipeline = &place.file.pipeline;
        let what = match (self.good_at(), self.limit) {
            (Some(at), Some(limit)) if self.is_too_old() && self.are_alone => {
                format!("a step was come to {}, limit {}", ago(at, Timestamp::now()), clock(limit))
            }
            (Some(at), Some(limit)) if self.is_too_old() => {
                let number = self.last_good.as_ref().map_or(0, |good| good.number);
                let ago = ago(at, Timestamp::now());
                format!("last good run {number} was {ago}, limit {}", clock(limit))
            }
            (None, Some(_)) => "no run was good yet".to_owned(),
            _ => self.last_run(),
        };
        let named = named(&pipeline.name, &pipeline.per, &self.instance);
        format!("{named}: {what}; exit {}", exit.0)
    }

    /// How the last run stands.
    fn last_run(&self) -> String {
        let Some(last) = &self.last else {
            return "never run".to_owned();
        };
        let number = last.number;
        let began = when_here(last.new.began);
        match (&self.holder, last.ended, last.status) {
            (Some(_), ..) => format!("run {number} at work since {began}"),
            (None, Some(ended), Some(status)) => {
                let took =
                    Duration::try_from(ended.duration_since(last.new.began)).unwrap_or_default();
                let word = Exit(status).word();
                format!("run {number} {word}, {began}, after {}", clock(took))
            }
            (None, Some(_), None) => {
                format!("run {number} is known by .semel/once.log only, {began}")
            }
            _ => format!("run {number} was killed; it began {began}"),
        }
    }

    fn write(
        &self,
        out: &mut impl Write,
        place: &Place,
        styles: Styles,
        exit: Exit,
    ) -> std::io::Result<()> {
        let pipeline = &place.file.pipeline;
        let name = styles.bold(&pipeline.name);
        let heading = named(&name, &pipeline.per, &self.instance);
        writeln!(out, "{heading}  {}\n", self.last_run())?;
        let names = name_width(self.steps.iter().map(|step| step.name.as_str()));
        for step in &self.steps {
            let counts = step.counts.map(|counts| {
                format!("{} of {}", thousands(counts.reached()), thousands(counts.total))
            });
            let at = step.at.map_or_else(|| "-".to_owned(), when_here);
            let line = format!(
                "  {}  {}{:>14}    {}  {}",
                fit(&step.name, names),
                styles.state(&fit(step.state, 11)),
                counts.unwrap_or_default(),
                fit(&at, 16),
                shorten(&step.note, 40),
            );
            writeln!(out, "{}", line.trim_end())?;
        }
        let has_more = self.last_good.is_some()
            || self.holder.is_some()
            || !self.others.is_empty()
            || !self.calls.is_empty()
            || !self.orphans.is_empty()
            || FileSystem::is_network(place.home.path());
        if has_more {
            writeln!(out)?;
        }
        let now = Timestamp::now();
        if let (Some(good), Some(at), false) = (&self.last_good, self.good_at(), self.are_alone) {
            let limit = match self.limit {
                Some(limit) if self.is_too_old() => format!(": too long, limit {}", clock(limit)),
                _ => String::new(),
            };
            let (number, when, ago) = (good.number, when_here(at), ago(at, now));
            writeln!(out, "  last good run   {number}, {when}, {ago}{limit}")?;
        }
        if !self.calls.is_empty() {
            writeln!(out, "  calls           {}", self.calls)?;
        }
        if let Some(name) = FileSystem::network_name(place.home.path()) {
            writeln!(out, "  network         {name}: one semel at a time works here")?;
        }
        if let Some(holder) = &self.holder {
            writeln!(out, "  at work         {holder}")?;
        }
        for orphan in &self.orphans {
            let pids: Vec<_> =
                orphan.processes().iter().map(|process| process.pid.to_string()).collect();
            writeln!(
                out,
                "  at work         {}, pid {}, which outlived run {}",
                orphan.task,
                pids.join(" "),
                orphan.run
            )?;
        }
        for (at, (other, run)) in self.others.iter().take(6).enumerate() {
            let label = if at == 0 { "others" } else { "" };
            let state = match run.status {
                Some(0) => "done".to_owned(),
                Some(status) => format!("exit {status}"),
                None => "no end".to_owned(),
            };
            writeln!(
                out,
                "  {label:<15} {} {state}, run {}",
                instance(&pipeline.per, other),
                run.number
            )?;
        }
        if self.others.len() > 6 {
            writeln!(out, "                  and {} more", self.others.len() - 6)?;
        }
        if let Some(since) = self.whole_since {
            let since = when_here(since);
            writeln!(out, "\n  memory          incomplete: it knows all since {since} only, and")?;
            writeln!(out, "                  refuses `once` tasks of which it knows nothing")?;
            writeln!(out, "\n  if nothing was done that it does not know, say so")?;
            writeln!(out, "    semel manifest accept{} --because '...'", place.again)?;
        }
        if exit == Exit::FAILED || exit == Exit::REFUSED {
            writeln!(out, "\n  next")?;
            if self.steps.iter().any(|step| step.state == "failed" && step.was_tried) {
                let command = format!("semel log{}", place.again);
                writeln!(out, "{}", next(&command, "what it printed"))?;
            }
            if self.calls.count(CallState::Unknown) > 0 {
                let command = format!("semel calls list --unknown{}", place.file_again);
                writeln!(out, "{}", next(&command, "what may have been paid"))?;
            }
            let about = match exit {
                Exit::REFUSED => "says what must be settled",
                _ if self.last.is_none() => "do it",
                _ => "goes on",
            };
            writeln!(out, "{}", next(&place.run_again(""), about))?;
        }
        Ok(())
    }

    fn json(&self, place: &Place, exit: Exit) -> serde_json::Value {
        let run = |run: &RunRecord| {
            json!({
                "run": run.number, "instance": run.new.instance.as_str(), "began": run.new.began.to_string(),
                "ended": run.ended.map(|time| time.to_string()), "exit": run.status,
            })
        };
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                json!({
                    "step": step.name, "state": step.state, "reached": step.counts.map(|counts| counts.reached()),
                    "total": step.counts.map(|counts| counts.total), "last-receipt": step.at.map(|at| at.to_string()),
                    "note": step.note,
                })
            })
            .collect();
        json!({
            "pipeline": place.file.pipeline.name, "instance": self.instance.as_str(), "exit": exit.0,
            "last-run": self.last.as_ref().map(run), "last-good-run": self.last_good.as_ref().map(run),
            "network": FileSystem::network_name(place.home.path()),
            "memory-whole-since": self.whole_since.map(|at| at.to_string()),
            "calls": json::sums(&self.calls), "was-killed": self.was_killed, "at-work": self.holder.is_some(), "steps": steps,
            "orphans": self.orphans.iter().map(|orphan| orphan.task.to_string()).collect::<Vec<_>>(),
            "others": self.others.iter().map(|(_, other)| run(other)).collect::<Vec<_>>(),
        })
    }
}
