//! `semel plan`: what a run would do, and why.

use std::collections::BTreeMap;
use std::io::Write;

use semel::deed::run::{Mode, Options, run as run_pipeline, signals};
use semel::thought::report::Report;
use semel::words::event::{Event, Outcome};
use semel::words::pipeline::StepId;
use semel::words::task::TaskPattern;
use semel::words::verdict::{Reason, Ruling};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::board::name_width;
use crate::show::fail::Failed;
use crate::show::json;
use crate::show::style::Styles;
use crate::show::text::{self, count, fit};
use semel::words::thousands;

/// How many tasks are named.
const MOST: usize = 20;

pub(crate) fn plan(place: Place, options: &args::Plan, typed: &str) -> Result<Exit, Failed> {
    let how = Options {
        mode: Mode::Plan,
        targets: options.targets.iter().map(|target| TaskPattern::parse(target)).collect(),
        fresh: options.fresh,
        rehash: options.rehash,
        keeps: place.steps_named(&options.keep)?,
        only_failed: options.only_failed,
        ..Options::default()
    };
    let (_, signals) = signals();
    let mut outlook = Outlook::default();
    let mut memory = Vec::new();
    let mut unheard = Ok(());
    let ended = run_pipeline(&place.setting(typed), &how, &signals, &mut |event| {
        if options.json && unheard.is_ok() {
            unheard = writeln!(std::io::stdout(), "{}", json::event(event));
        }
        memory.extend(text::memory(event));
        outlook.take(event);
    });
    unheard?;
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Err(Failed::to_plan(error, place.file)),
    };
    let exit = if ended.report.is_broken { Exit::BROKEN } else { Exit::DONE };
    if options.json {
        writeln!(std::io::stdout(), "{}", json::ended(None, exit.0, &ended.report))?;
        return Ok(exit);
    }
    let styles = Styles::for_stdout();
    let mut out = anstream::stdout().lock();
    outlook.write(&mut out, &place, &ended.report, styles)?;
    for (at, line) in memory.iter().enumerate() {
        writeln!(out, "{}  {line}", if at == 0 { "\n" } else { "" })?;
    }
    let pipeline = &place.file.pipeline;
    let has_once = pipeline.steps.iter().any(|step| step.once);
    if pipeline.refuses_fresh_memory && has_once && !place.home.manifest().exists() {
        writeln!(out, "\n  there is no memory, and the file refuses a fresh one: a run exits 3")?;
    }
    let (least, most) = would(&ended.report);
    let total = ended.report.totals().total;
    let about = usual_time(&place, &ended.report)?;
    let figure = match (least, most) {
        (0, 0) => "nothing would run".to_owned(),
        (least, most) if least == most => {
            format!("{} of {} would run", thousands(least), count(total, "task"))
        }
        (least, most) => {
            format!(
                "{} to {} of {} would run",
                thousands(least),
                thousands(most),
                count(total, "task")
            )
        }
    };
    let about =
        about.map(|time| format!(", about {}", semel::words::clock(time))).unwrap_or_default();
    let trouble = if exit == Exit::DONE { String::new() } else { format!("; exit {}", exit.0) };
    writeln!(out, "\n{figure}{about}; nothing was run{trouble}")?;
    for step in changed_commands(&ended.report) {
        writeln!(
            out,
            "if the change of {step}'s command does not matter:  semel run{} --keep {step}",
            place.again
        )?;
    }
    Ok(exit)
}

/// What would be done: step by step, and the first tasks by their names, in the
/// order of the file and its lists.
#[derive(Default)]
pub(crate) struct Outlook {
    named: BTreeMap<(StepId, usize), (String, String)>,
}

impl Outlook {
    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        if let Event::Settled { task, outcome: Outcome::Would(verdict) } = event
            && task.task.item.is_some()
        {
            let place = (task.id, task.at);
            let is_among_the_first = self.named.len() < MOST
                || self.named.last_key_value().is_some_and(|(last, _)| place < *last);
            if is_among_the_first {
                self.named.insert(place, (task.to_string(), verdict.to_string()));
            }
            if self.named.len() > MOST {
                self.named.pop_last();
            }
        }
    }

    /// Writes all of it.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        place: &Place,
        report: &Report,
        styles: Styles,
    ) -> std::io::Result<()> {
        write_steps(out, place, report, styles)?;
        if self.named.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let width =
            self.named.values().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(50);
        for (name, why) in self.named.values() {
            writeln!(out, "  {}  {why}", fit(name, width))?;
        }
        if self.named.len() == MOST && would(report).0 > MOST as u64 {
            writeln!(out, "  and more")?;
        }
        Ok(())
    }
}

/// Writes what would be done, step by step.
fn write_steps(
    out: &mut impl Write,
    place: &Place,
    report: &Report,
    styles: Styles,
) -> std::io::Result<()> {
    let pipeline = &place.file.pipeline;
    writeln!(out, "semel plan  {}\n", place.heading(styles))?;
    let names = name_width(report.steps.iter().map(|step| step.name.as_str()));
    for step in &report.steps {
        let counts = &step.counts;
        let mut rows: Vec<(String, u64, String)> = Vec::new();
        let reasons = |wanted: fn(&Reason) -> bool| -> String {
            let some: Vec<_> = step
                .reasons
                .iter()
                .filter(|(reason, _)| wanted(reason))
                .map(|(reason, many)| {
                    if step.has_items {
                        format!("{} {}", thousands(*many), reason.brief())
                    } else {
                        reason.to_string()
                    }
                })
                .collect();
            some.join(", ")
        };
        for (ruling, many) in &step.would {
            rows.push((ruling.to_string(), *many, reasons(Reason::acts)));
        }
        if step.may > 0 {
            let upstream: Vec<_> = pipeline
                .step(step.id)
                .counting_upstream()
                .map(|id| pipeline.step(id).name.as_str())
                .collect();
            let why = format!("only if {} comes out different", upstream.join(" or "));
            rows.push(("run?".to_owned(), step.may, why));
        }
        let quiet =
            |many: u64, word: &str, why: String| (many > 0).then(|| (word.to_owned(), many, why));
        rows.extend(quiet(
            counts.skipped,
            "skip",
            reasons(|reason| !reason.acts() && !reason.adopts()),
        ));
        rows.extend(quiet(counts.adopted, "adopt", reasons(Reason::adopts)));
        rows.extend(quiet(counts.refused, "refuse", step.note.clone()));
        rows.extend(quiet(counts.failed, "failed", step.note.clone()));
        rows.extend(quiet(counts.busy, "wait", step.note.clone()));
        rows.extend(quiet(counts.blocked, "blocked", step.blocked_by.clone().unwrap_or_default()));
        if let Some(after) = &step.known_after {
            rows.push(("run?".to_owned(), 0, format!("known after {after}")));
        }
        for (at, (word, many, why)) in rows.iter().enumerate() {
            let name = if at == 0 { step.name.as_str() } else { "" };
            let many = if *many == 0 { String::new() } else { thousands(*many) };
            writeln!(
                out,
                "  {}  {}{many:>7}     {why}",
                fit(name, names),
                styles.state(&fit(word, 8))
            )?;
        }
    }
    Ok(())
}

/// The steps of which done tasks would run only because their command changed.
fn changed_commands(report: &Report) -> impl Iterator<Item = &str> {
    let changed = report
        .steps
        .iter()
        .filter(|step| step.reasons.get(&Reason::CommandChanged).is_some_and(|many| *many > 0));
    changed.map(|step| step.name.as_str())
}

/// How many tasks would run, at least and at most.
fn would(report: &Report) -> (u64, u64) {
    let least = report
        .steps
        .iter()
        .flat_map(|step| step.would.iter())
        .filter(|(ruling, _)| **ruling != Ruling::Adopt);
    let least = least.map(|(_, many)| many).sum();
    let may: u64 = report.steps.iter().map(|step| step.may).sum();
    (least, least + may)
}

/// How long that would take, as it usually takes.
fn usual_time(place: &Place, report: &Report) -> Result<Option<std::time::Duration>, Failed> {
    // It is opened once more; not where there is nothing to tell.
    if would(report).1 == 0 {
        return Ok(None);
    }
    let Some(manifest) = place.manifest()? else {
        return Ok(None);
    };
    let jobs = place.jobs();
    let mut seconds = 0.0;
    for step in &report.steps {
        let many: u64 = step.would.get(&Ruling::Run).copied().unwrap_or(0) + step.may;
        if many == 0 {
            continue;
        }
        let usual = manifest.usual_seconds(&place.file.pipeline.name, &step.name);
        let usual = usual.map_err(|error| Failed::Manifest(place.home.manifest(), error))?;
        match usual {
            Some(usual) => {
                seconds +=
                    usual * many as f64 / jobs.min(usize::try_from(many).unwrap_or(1)) as f64;
            }
            None => return Ok(None),
        }
    }
    Ok((seconds > 0.0).then(|| std::time::Duration::from_secs_f64(seconds)))
}
