//! The end of a run: what is known, what is safe, what was not started, what to
//! type; and last, one sentence with the run's number and the exit status.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use semel::deed::run::Ended;
use semel::ground::digests::Digests;
use semel::ground::manifest::{AttemptRecord, Attempts, Manifest};
use semel::ground::world::disk::Disk;
use semel::thought::report::{Report, Trouble};
use semel::words::clock;
use semel::words::event::Outcome;
use semel::words::path::show;
use semel::words::pipeline::{ActionKind, Step};
use semel::words::receipt::{Failure, FileRecord};
use semel::words::shell::quote_words;
use semel::words::task::TaskName;
use semel::words::verdict::Reason;

use super::board::{ended_line, name_width};
use super::busy::write_orphan;
use super::calls;
use super::renamed;
use super::style::Styles;
use super::text::{WIDTH, count, instance, next, shorten, visible, when_here};
use crate::exit::Exit;
use crate::place::Place;
use semel::words::thousands;

/// How many tasks in trouble are told in full.
const MOST: usize = 3;

/// How many lines of what a command printed are shown.
const TAIL: usize = 10;

/// Writes the end of a run.
pub(crate) struct Summary<'a> {
    pub(crate) place: &'a Place,
    pub(crate) ended: &'a Ended,
    pub(crate) took: Duration,
    pub(crate) styles: Styles,
    /// Whether the steps are shown in a table: on a terminal. A log has told
    /// them already.
    pub(crate) shows_steps: bool,
    /// The run that this one went on after, if that was killed.
    pub(crate) goes_on_after: Option<i64>,
    /// What was moved aside, and whereto.
    pub(crate) displaced: &'a [(String, String)],
    /// Tasks that may be those of steps which are gone: the pipelines and steps.
    pub(crate) renamed: &'a BTreeMap<TaskName, (String, String)>,
    /// How the run was selected, to type it again.
    pub(crate) targets: &'a [String],
}

impl Summary<'_> {
    fn report(&self) -> &Report {
        &self.ended.report
    }

    /// Whether there was nothing to do.
    pub(crate) fn is_boring(&self) -> bool {
        let totals = self.report().totals();
        self.report().status() == 0 && totals.skipped == totals.total
    }

    /// Writes all of it; in a quiet run that went well, nothing.
    pub(crate) fn write(&self, out: &mut impl Write, quiet: bool) -> std::io::Result<()> {
        let is_well = self.report().status() == 0;
        if quiet && is_well && self.displaced.is_empty() {
            return Ok(());
        }
        if self.is_boring() {
            return self.write_boring(out);
        }
        if self.shows_steps && !quiet {
            self.write_steps(out)?;
        }
        // A log has told them already.
        let aside = if self.shows_steps || quiet { self.displaced } else { &[] };
        for (path, aside) in aside.iter().take(10) {
            writeln!(
                out,
                "{}  {path} was not made by semel; it is kept as",
                self.styles.bold("aside")
            )?;
            writeln!(out, "         {aside}\n")?;
        }
        if aside.len() > 10 {
            writeln!(out, "         and {} more in the same folder\n", aside.len() - 10)?;
        }
        self.write_troubles(out)?;
        writeln!(out, "{}{}", self.stamp(), self.last_line())
    }

    /// In a log every line that tells what became true begins with its time.
    fn stamp(&self) -> String {
        if self.shows_steps { String::new() } else { format!("{:.0} ", semel::Timestamp::now()) }
    }

    /// The header: what ran.
    pub(crate) fn header(&self) -> String {
        let name = &self.place.file.pipeline.name;
        let mut parts = vec![format!("semel  {}", self.styles.bold(name))];
        let named = instance(&self.place.file.pipeline.per, &self.place.instance());
        if !named.is_empty() {
            parts.push(named);
        }
        if let Some(number) = self.ended.number {
            parts.push(format!("run {number}"));
        }
        if let Some(killed) = self.goes_on_after {
            parts.push(format!("goes on after run {killed}, killed"));
        }
        parts.join("  ")
    }

    fn write_boring(&self, out: &mut impl Write) -> std::io::Result<()> {
        let totals = self.report().totals();
        let total = thousands(totals.total);
        let named = instance(&self.place.file.pipeline.per, &self.place.instance());
        let named = if named.is_empty() { named } else { format!("  {named}") };
        writeln!(
            out,
            "{}{}{named}: nothing to do; {total} of {total} proved done in {}",
            self.stamp(),
            self.place.file.pipeline.name,
            clock(self.took)
        )
    }

    fn write_steps(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "{}\n", self.header())?;
        let names = name_width(self.report().steps.iter().map(|step| step.name.as_str()));
        for step in &self.report().steps {
            let definition = self.place.file.pipeline.step(step.id);
            writeln!(out, "{}", ended_line(step, definition, names, self.styles))?;
        }
        writeln!(out)
    }

    fn write_troubles(&self, out: &mut impl Write) -> std::io::Result<()> {
        let manifest = self.place.manifest().ok().flatten();
        let manifest = manifest.as_deref();
        let told = |outcome: &Outcome| {
            matches!(outcome, Outcome::Failed(_) | Outcome::Refused(_) | Outcome::Busy)
        };
        let troubles: Vec<_> =
            self.report().troubles.iter().filter(|trouble| told(&trouble.outcome)).collect();
        for trouble in troubles.iter().take(MOST) {
            match &trouble.outcome {
                Outcome::Failed(failure) => self.write_failure(out, trouble, failure, manifest)?,
                Outcome::Refused(reason) => self.write_refusal(out, trouble, *reason, manifest)?,
                _ => self.write_busy(out, trouble)?,
            }
        }
        let total = self.report().totals();
        let all = total.failed + total.refused + total.busy;
        if all > troubles.len().min(MOST) as u64 {
            writeln!(out, "and {} more\n", all - troubles.len().min(MOST) as u64)?;
        }
        if all == 0 {
            return Ok(());
        }
        self.write_safe(out)?;
        self.write_next(out, &troubles)
    }

    fn write_busy(&self, out: &mut impl Write, trouble: &Trouble) -> std::io::Result<()> {
        let orphan = self.ended.orphans.iter().find(|orphan| orphan.task == trouble.task);
        if let Some(orphan) = orphan {
            return write_orphan(out, self.styles, orphan, &self.place.again);
        }
        let task = &trouble.task;
        writeln!(out, "{}  {task}  somebody else is at work on it\n", self.styles.state("busy"))
    }

    fn write_failure(
        &self,
        out: &mut impl Write,
        trouble: &Trouble,
        failure: &Failure,
        manifest: Option<&dyn Manifest>,
    ) -> std::io::Result<()> {
        let tries =
            if trouble.tries > 1 { format!(", {} tries", trouble.tries) } else { String::new() };
        let word = match failure {
            Failure::Broken(_) => "broken",
            Failure::Refused(_) | Failure::Calls(_) => "refused",
            _ => "failed",
        };
        writeln!(
            out,
            "{}  {}  {failure}{tries}",
            self.styles.state(word),
            self.styles.bold(&trouble.task.to_string())
        )?;
        if let Some(meaning) = meaning(failure) {
            writeln!(out, "        {meaning}")?;
        }
        writeln!(out)?;
        if !trouble.command.is_empty() {
            for line in trouble.command.lines() {
                writeln!(out, "  {}", visible(line))?;
            }
            let text = String::from_utf8_lossy(&trouble.tail);
            let lines: Vec<_> = text.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                writeln!(out, "  {} {}", self.styles.dim("|"), visible(line))?;
            }
            writeln!(out)?;
        }
        for line in self.still_good(&trouble.task, manifest) {
            writeln!(out, "  {line}\n")?;
        }
        if matches!(failure, Failure::Refused(_)) {
            self.write_ways_of_rows(out, &trouble.task)?;
        } else if self.leaves_a_question(&trouble.task, failure, manifest) {
            writeln!(
                out,
                "  It is a `once` step, so the next run does not try it again by itself."
            )?;
            self.write_ways_out(out, &trouble.task)?;
            writeln!(out)?;
        }
        Ok(())
    }

    /// Whether a failed task may have done what must not be done twice, and nothing
    /// can be asked about it.
    fn leaves_a_question(
        &self,
        task: &TaskName,
        failure: &Failure,
        manifest: Option<&dyn Manifest>,
    ) -> bool {
        let pipeline = &self.place.file.pipeline;
        let step = pipeline.step_named(&task.step).map(|id| pipeline.step(id));
        // Of a transaction that failed, and of a call that semel makes itself, the manifest
        // knows better.
        let was_undone = || {
            let memory =
                manifest.and_then(|manifest| manifest.memory_of_task(&pipeline.name, task).ok());
            let open = memory.and_then(|mut memory| memory.open.pop());
            open.is_some_and(|attempt| attempt.provably_undone)
        };
        let is_undone = |step: &Step| match failure {
            Failure::Exit(status) => step.safe_exits.contains(status),
            Failure::NotStarted(_) | Failure::BadInput(_) => true,
            _ => was_undone(),
        };
        step.is_some_and(|step| step.once && step.check.is_none() && !is_undone(step))
    }

    /// What settles a task, one way or the other.
    fn write_ways_out(&self, out: &mut impl Write, task: &TaskName) -> std::io::Result<()> {
        writeln!(out, "\n  look whether it is done, then type one of")?;
        let task = task.to_string();
        for verb in ["done", "redo"] {
            let words = quote_words(["semel", verb, &task]);
            writeln!(out, "    {words}{} --because '...'", self.place_of_file())?;
        }
        Ok(())
    }

    /// What settles rows that semel would not touch by itself.
    fn write_ways_of_rows(&self, out: &mut impl Write, task: &TaskName) -> std::io::Result<()> {
        writeln!(out, "  nothing was changed; look at the rows, then type one of")?;
        let pipeline = &self.place.file.pipeline;
        let step = pipeline.step_named(&task.step).map(|id| pipeline.step(id));
        let appends = step.and_then(|step| step.action.as_ref()).is_some_and(|action| {
            matches!(&action.kind, ActionKind::Load(load)
                if !load.replaces_all && load.tag.is_none() && load.replace_where.is_none())
        });
        let task = task.to_string();
        let again = match appends {
            true => "load it again, beside what is there",
            false => "load it again, and delete what its condition finds",
        };
        let ways = [("done", "they are right as they are"), ("redo", again)];
        for (verb, about) in ways {
            let words = quote_words(["semel", verb, &task]);
            let command = format!("{words}{} --because '...'", self.place_of_file());
            writeln!(out, "{}", next(&command, about))?;
        }
        writeln!(out)
    }

    /// Outputs of an earlier receipt that a failed task left in place.
    fn still_good(&self, task: &TaskName, manifest: Option<&dyn Manifest>) -> Vec<String> {
        let name = &self.place.file.pipeline.name;
        let receipt = manifest.and_then(|manifest| manifest.receipt(name, task).ok().flatten());
        let Some(receipt) = receipt else {
            return Vec::new();
        };
        let (disk, digests) = (&self.place.disk, Digests::empty());
        let is_good = |out: &&FileRecord| {
            let meta = disk.look(&out.path).ok().flatten();
            let content = meta.map(|meta| digests.content(disk, &out.path, &meta, &mut 0));
            content.is_some_and(|content| content.is_ok_and(|content| content.digest == out.digest))
        };
        receipt
            .outs()
            .filter(is_good)
            .map(|out| {
                format!("{} is still the last good one, of run {}", show(&out.path), receipt.run)
            })
            .collect()
    }

    fn write_refusal(
        &self,
        out: &mut impl Write,
        trouble: &Trouble,
        reason: Reason,
        manifest: Option<&dyn Manifest>,
    ) -> std::io::Result<()> {
        let name = self.styles.bold(&trouble.task.to_string());
        writeln!(out, "{}  {name}  {reason}\n", self.styles.state("refused"))?;
        let step = self.place.file.pipeline.step_named(&trouble.task.step);
        let step = step.map(|id| self.place.file.pipeline.step(id));
        if step.is_some_and(|step| step.once) {
            writeln!(out, "  It is a `once` step, so semel does not guess.")?;
        }
        let pipeline = &self.place.file.pipeline.name;
        let last = manifest.and_then(|manifest| last_attempt(manifest, pipeline, &trouble.task));
        match (&last, reason) {
            (Some(attempt), Reason::MayBeDone) => {
                let (run, began) = (attempt.run, when_here(attempt.began));
                let ended = match (attempt.ending.as_deref(), &attempt.reason) {
                    (Some("failed"), Some(why)) => format!("it failed: {why}."),
                    (Some("void"), _) => "an input changed while it ran.".to_owned(),
                    (Some("interrupted"), _) if attempt.ended.is_some() => {
                        "it was ended before its time.".to_owned()
                    }
                    _ => "semel was killed before its end.".to_owned(),
                };
                writeln!(out, "  Run {run} began it {began}; {ended}")?;
            }
            (_, Reason::DoneWithOtherInputs) => {
                let receipt = manifest
                    .and_then(|manifest| manifest.receipt(pipeline, &trouble.task).ok().flatten());
                if let Some(receipt) = receipt {
                    writeln!(
                        out,
                        "  It was done in run {}, {}, with other inputs.",
                        receipt.run,
                        when_here(receipt.at)
                    )?;
                }
            }
            (_, Reason::MayBeRenamed) => {
                if let Some((pipeline, step)) = self.renamed.get(&trouble.task) {
                    renamed::write(out, &self.place.file, &trouble.task, pipeline, step)?;
                }
            }
            _ => {}
        }
        let has_check = step.is_some_and(|step| step.check.is_some());
        if reason == Reason::MemoryIncomplete {
            let again = self.place_of_file();
            writeln!(out, "\n  if you know that nothing was done that is not known here,")?;
            writeln!(out, "  say so once for all tasks")?;
            writeln!(out, "    semel manifest accept{again} --because '...'")?;
        }
        self.write_ways_out(out, &trouble.task)?;
        let task = trouble.task.to_string();
        writeln!(out, "    semel why {}{}", quote_words([task.as_str()]), self.place_of_file())?;
        if !has_check && reason == Reason::MayBeDone {
            writeln!(out, "\n  with a `check` on this step semel would look for itself")?;
        }
        writeln!(out)
    }

    /// What must be typed to name the file; the task names its instance itself.
    fn place_of_file(&self) -> &str {
        &self.place.again
    }

    /// What is in its state, and what was not started.
    fn write_safe(&self, out: &mut impl Write) -> std::io::Result<()> {
        let steps = &self.report().steps;
        let safe: Vec<_> = steps
            .iter()
            .filter(|step| step.counts.reached() > 0)
            .map(|step| {
                let name = match step.has_items {
                    true => format!(
                        "{} {} of {}",
                        step.name,
                        thousands(step.counts.reached()),
                        thousands(step.counts.total)
                    ),
                    false => step.name.clone(),
                };
                let makes_rows = self.place.file.pipeline.step(step.id).database().is_some();
                match step.rows.filter(|rows| makes_rows && *rows > 0) {
                    Some(rows) => format!("{name}, {} committed", count(rows, "row")),
                    None => name,
                }
            })
            .collect();
        let blocked: Vec<_> = steps
            .iter()
            .filter(|step| step.counts.blocked > 0)
            .map(|step| match step.has_items {
                true => format!(
                    "{} {} of {}",
                    step.name,
                    thousands(step.counts.blocked),
                    thousands(step.counts.total)
                ),
                false => step.name.clone(),
            })
            .collect();
        for (word, names) in [("safe", safe), ("blocked", blocked)] {
            if !names.is_empty() {
                writeln!(out, "  {word:<8} {}", shorten(&names.join("; "), WIDTH - 11))?;
            }
        }
        writeln!(out)
    }

    fn write_next(&self, out: &mut impl Write, troubles: &[&Trouble]) -> std::io::Result<()> {
        let again = &self.place.again;
        let targets: String = self
            .targets
            .iter()
            .map(|target| format!(" {}", quote_words([target.as_str()])))
            .collect();
        let has_unknown = self.ended.calls.as_ref().is_some_and(|calls| !calls.unknown.is_empty());
        let has_printed = troubles.iter().any(|trouble| !trouble.tail.is_empty());
        let has_failed = troubles.iter().any(|trouble| is_to_be_mended(&trouble.outcome));
        writeln!(out, "  next")?;
        if has_printed {
            writeln!(out, "{}", next(&format!("semel log{again}"), "all it printed, every try"))?;
        }
        if has_unknown {
            write!(out, "{}", calls::ways_out(&self.place.file_again))?;
        }
        let what = if has_failed {
            "after the fix: what failed, then what is blocked"
        } else {
            "then, for what is left"
        };
        writeln!(out, "{}", next(&format!("semel run{targets}{again}"), what))?;
        for (step, done) in self.mendable(troubles) {
            let command = format!("semel run{targets}{again} --keep {step}");
            let done = count(done, "done task");
            let about = format!("the same, if you mend the command of {step}");
            writeln!(out, "{}", next(&command, &about))?;
            writeln!(out, "{:30}and its {done} need not be done again", "")?;
        }
        writeln!(out)
    }

    /// The steps of which a task failed and others are done: to mend the command
    /// would do those again.
    fn mendable(&self, troubles: &[&Trouble]) -> BTreeMap<String, u64> {
        let pipeline = &self.place.file.pipeline;
        let failed = troubles
            .iter()
            .filter(|trouble| is_to_be_mended(&trouble.outcome) && !trouble.command.is_empty());
        let ordinary = failed.filter_map(|trouble| {
            let id = pipeline.step_named(&trouble.task.step)?;
            let done = self.report().step(id)?.counts.reached();
            let step = pipeline.step(id);
            let is_mended = !step.once && step.database().is_none();
            (is_mended && done > 0).then(|| (trouble.task.step.clone(), done))
        });
        ordinary.collect()
    }

    /// One sentence, fit to be the subject of a mail.
    fn last_line(&self) -> String {
        let report = self.report();
        let (status, totals) = (report.status(), report.totals());
        let run = self
            .ended
            .number
            .map_or_else(|| "the run".to_owned(), |number| format!("run {number}"));
        let word = Exit(status).word();
        let time = clock(self.took);
        if status == 0 {
            let subject = if self.shows_steps { String::new() } else { format!("{run} ") };
            return format!(
                "{subject}{} in {time}: every step reached its desired state",
                self.styles.state(word)
            );
        }
        let mut facts = Vec::new();
        for (number, what) in [
            (totals.failed, "failed"),
            (totals.refused, "refused"),
            (totals.busy, "busy"),
            (totals.blocked, "blocked"),
        ] {
            if number > 0 {
                facts.push(format!("{} {what}", thousands(number)));
            }
        }
        if totals.untried > 0 {
            facts.push(format!("{} not finished", thousands(totals.untried)));
        }
        let facts = match facts.is_empty() {
            true => format!("{} of {} done", thousands(totals.reached()), thousands(totals.total)),
            false => format!("of {}: {}", count(totals.total, "task"), facts.join(", ")),
        };
        format!("{run} {} in {time}; {facts}; exit {status}", self.styles.state(word))
    }
}

/// Whether a task ended so that something must be mended first. A refusal is settled by a
/// word.
fn is_to_be_mended(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(failure) if !failure.is_refusal())
}

fn last_attempt(manifest: &dyn Manifest, pipeline: &str, task: &TaskName) -> Option<AttemptRecord> {
    manifest
        .attempts(pipeline, Attempts::OfTask(task))
        .ok()?
        .into_iter()
        .rev()
        .find(|attempt| attempt.open)
}

/// What a known exit status means.
pub(crate) fn meaning(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Exit(126) => Some("126: the command was found, but may not be executed"),
        Failure::Exit(127) => Some("127: the command was not found"),
        Failure::Exit(137) | Failure::Signal(9) => Some("137: killed, often for want of memory"),
        Failure::Exit(141) | Failure::Signal(13) => Some(
            "141: a pipe's reader left early, as `head` does. If that is fine:\n        \
             `… || [ $? = 141 ]`, or  shell = \"bash -eu -c\"",
        ),
        Failure::Exit(143) | Failure::Signal(15) => Some("143: ended by SIGTERM"),
        Failure::Exit(255) => Some("255: what ssh says when it cannot connect"),
        _ => None,
    }
}
