//! `semel verify`: re-read every effect against its receipt.

use std::io::Write;
use std::time::{Duration, Instant};

use semel::deed::verify::rows::{Counted, Found};
use semel::deed::verify::{Altered, Asked, Finding, Output, Verified, verify as read_anew};
use semel::ground::manifest::ManifestError;
use semel::words::clock;
use semel::words::shell::quote_words;
use semel::words::task::{TaskName, TaskPattern};
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{bytes, count, fit, next, shorten, visible};
use semel::words::thousands;

/// How many that are not as they should be are named.
const MOST: usize = 50;

pub(crate) fn verify(place: Place, options: &args::Verify) -> Result<Exit, Failed> {
    let began = Instant::now();
    let Some(manifest) = place.manifest()? else {
        return Err(Failed::Manifest(place.home.manifest(), ManifestError::Absent));
    };
    let targets: Vec<_> = options.targets.iter().map(|target| TaskPattern::parse(target)).collect();
    let place = targets.iter().try_fold(place, Place::in_instance_of)?.complete()?;
    let verified = match read_anew(&place.setting("semel verify"), &*manifest, &targets) {
        Ok(verified) => verified,
        Err(error) => return Err(Failed::to_begin(error, place.file)),
    };
    let tally = Tally::of(&verified);
    let exit = tally.exit();
    let mut out = anstream::stdout().lock();
    if options.json {
        write_json(&mut out, &verified, &tally, exit)?;
    } else if !options.quiet || exit != Exit::DONE {
        write(&mut out, &place, &verified, &tally, exit, began.elapsed())?;
    }
    Ok(exit)
}

/// How many are how.
#[derive(Default)]
struct Tally {
    outputs: u64,
    same: u64,
    missing: u64,
    altered: u64,
    unreadable: u64,
    /// What was read of those that are as they should be.
    bytes: u64,
    /// Tasks whose rows were counted.
    loads: u64,
    loaded: u64,
    lost: u64,
    uncounted: u64,
    checks: u64,
    holding: u64,
    failing: u64,
    silent: u64,
}

impl Tally {
    fn of(verified: &Verified) -> Self {
        let mut tally = Self::default();
        for output in &verified.outputs {
            tally.outputs += 1;
            match output.finding {
                Finding::Same => {
                    tally.same += 1;
                    tally.bytes += output.file.bytes;
                }
                Finding::Missing => tally.missing += 1,
                Finding::Altered(_) => tally.altered += 1,
                Finding::CannotTell(_) => tally.unreadable += 1,
            }
        }
        for counted in &verified.rows {
            tally.loads += 1;
            match counted.found {
                Found::Same => tally.loaded += 1,
                Found::NoStamp | Found::Others(_) => tally.lost += 1,
                Found::CannotTell(_) => tally.uncounted += 1,
            }
        }
        for asked in &verified.checks {
            tally.checks += 1;
            match asked.answer {
                Ok(true) => tally.holding += 1,
                Ok(false) => tally.failing += 1,
                Err(_) => tally.silent += 1,
            }
        }
        tally
    }

    /// 5 where something cannot be told, 1 where something is not as a receipt says.
    const fn exit(&self) -> Exit {
        if self.unreadable + self.silent + self.uncounted > 0 {
            Exit::BROKEN
        } else if self.missing + self.altered + self.failing + self.lost > 0 {
            Exit::FAILED
        } else {
            Exit::DONE
        }
    }

    /// All of it in a line.
    fn line(&self, exit: Exit, took: Duration) -> String {
        let outputs = count(self.outputs, "output");
        let mut parts = Vec::new();
        if self.same == self.outputs {
            if self.outputs > 0 || self.checks + self.loads == 0 {
                parts.push(format!(
                    "{} of {outputs} are as their receipts say, {} read in {}",
                    thousands(self.same),
                    bytes(self.bytes),
                    clock(took)
                ));
            }
        } else {
            let kinds = [
                (self.missing, "missing"),
                (self.altered, "altered"),
                (self.unreadable, "not to be read"),
            ];
            let kinds: Vec<_> = kinds
                .into_iter()
                .filter(|(many, _)| *many > 0)
                .map(|(many, word)| format!("{} {word}", thousands(many)))
                .collect();
            let wrong = thousands(self.outputs - self.same);
            parts.push(format!(
                "{wrong} of {outputs} are not as their receipts say: {}",
                kinds.join(", ")
            ));
        }
        if self.loads > 0 {
            let loads = count(self.loads, "task");
            parts.push(match (self.lost, self.uncounted) {
                (0, 0) => format!("the rows of {loads} are there"),
                (lost, 0) => format!(
                    "the rows of {} of {loads} are not as their receipts say",
                    thousands(lost)
                ),
                (_, uncounted) => {
                    format!("the rows of {} of {loads} cannot be counted", thousands(uncounted))
                }
            });
        }
        if self.checks > 0 {
            let checks = count(self.checks, "check");
            parts.push(match (self.failing, self.silent) {
                (0, 0) => format!("{} of {checks} hold", thousands(self.holding)),
                (failing, 0) => format!("{} of {checks} do not hold", thousands(failing)),
                (_, silent) => format!("{} of {checks} cannot tell", thousands(silent)),
            });
        }
        let end = if exit == Exit::DONE { String::new() } else { format!("; exit {}", exit.0) };
        format!("{}{end}", parts.join("; "))
    }
}

fn write(
    out: &mut impl Write,
    place: &Place,
    verified: &Verified,
    tally: &Tally,
    exit: Exit,
    took: Duration,
) -> std::io::Result<()> {
    let styles = Styles::for_stdout();
    writeln!(out, "semel verify  {}\n", place.heading(styles))?;
    let mut lines = Vec::new();
    for output in verified.outputs.iter().filter(|output| output.finding != Finding::Same) {
        lines.push(line(output, styles));
    }
    for counted in verified.rows.iter().filter(|counted| counted.found != Found::Same) {
        lines.push(rows_line(counted, styles));
    }
    for asked in verified.checks.iter().filter(|asked| asked.answer != Ok(true)) {
        lines.push(check_line(asked, styles));
    }
    for line in lines.iter().take(MOST) {
        writeln!(out, "{line}")?;
    }
    if lines.len() > MOST {
        let more = count((lines.len() - MOST) as u64, "more line");
        writeln!(out, "  and {more}: semel verify --json{} names all", place.again)?;
    }
    let notes = notes(verified);
    if !lines.is_empty() && !notes.is_empty() {
        writeln!(out)?;
    }
    for note in &notes {
        writeln!(out, "  {note}")?;
    }
    if exit != Exit::DONE {
        write_next(out, verified, place)?;
    }
    if !lines.is_empty() || !notes.is_empty() {
        writeln!(out)?;
    }
    writeln!(out, "{}", tally.line(exit, took))
}

fn line(output: &Output, styles: Styles) -> String {
    let path = output.file.path.to_string_lossy();
    let was = bytes(output.file.bytes);
    let what = match &output.finding {
        Finding::Same | Finding::Missing => was,
        Finding::Altered(Altered::Bytes(now)) if *now == output.file.bytes => {
            format!("{was}, but others")
        }
        Finding::Altered(Altered::Bytes(now)) => format!("{was} -> {}", bytes(*now)),
        Finding::Altered(Altered::Kind(kind)) => format!("now {kind}"),
        Finding::CannotTell(why) => visible(why),
    };
    let hidden = if output.is_hidden { "; its times say it is the same" } else { "" };
    let gone = if output.gone { ", which is gone" } else { "" };
    let word = if matches!(output.finding, Finding::CannotTell(_)) {
        "broken"
    } else {
        output.finding.name()
    };
    format!(
        "  {}  {}  {what}{hidden}\n           made by {} in run {}{gone}",
        styles.state(&fit(word, 7)),
        fit(&path, path.chars().count().min(40)),
        visible(&output.task.to_string()),
        output.run,
    )
}

fn rows_line(counted: &Counted, styles: Styles) -> String {
    let rows = |number: Option<u64>| number.map_or("rows".to_owned(), |rows| count(rows, "row"));
    let was = rows(counted.rows.rows);
    let (word, what) = match &counted.found {
        Found::Same => ("same", was),
        Found::NoStamp => ("missing", format!("{was}: no stamp tells of them")),
        Found::Others(now) => ("altered", format!("{was} -> {}", thousands(*now))),
        Found::CannotTell(why) => ("broken", visible(why)),
    };
    let table = if counted.rows.name.is_empty() { "stamp" } else { &counted.rows.name };
    format!(
        "  {}  {}  {what}\n           made by {} in run {}",
        styles.state(&fit(word, 7)),
        visible(&format!("{table} in {}", counted.rows.path.to_string_lossy())),
        visible(&counted.task.to_string()),
        counted.run,
    )
}

fn check_line(asked: &Asked, styles: Styles) -> String {
    let (word, what) = match &asked.answer {
        Ok(_) => ("missing", "its check does not hold".to_owned()),
        Err(why) => ("broken", format!("its check cannot tell: {}", visible(why))),
    };
    let task = visible(&asked.task.to_string());
    format!(
        "  {}  {}  {what}\n           done by run {}",
        styles.state(&fit(word, 7)),
        shorten(&task, 40),
        asked.run
    )
}

/// What was not verified, and what else must be known.
fn notes(verified: &Verified) -> Vec<String> {
    let mut notes = Vec::new();
    if verified.without_receipt > 0 {
        let many = count(verified.without_receipt as u64, "task");
        notes.push(format!("not seen  {many} without a receipt"));
    }
    if verified.gone > 0 {
        let many = count(verified.gone as u64, "output");
        notes.push(format!("not seen  {many} of tasks that are gone, and gone too"));
    }
    for (step, why) in &verified.unlisted {
        notes.push(format!("not seen  which tasks `{step}` has now: {why}"));
    }
    if let Some(holder) = &verified.holder {
        let (pid, command) = (holder.pid, &holder.command);
        notes.push(format!("at work   pid {pid}: {command}; what it changes may be named"));
    }
    notes
}

/// What mends it.
fn write_next(out: &mut impl Write, verified: &Verified, place: &Place) -> std::io::Result<()> {
    let again = &place.again;
    let wrong = || {
        let is_wrong =
            |finding: &Finding| matches!(finding, Finding::Missing | Finding::Altered(_));
        verified.outputs.iter().filter(move |output| is_wrong(&output.finding))
    };
    let failing = || verified.checks.iter().filter(|asked| asked.answer == Ok(false));
    let mut once: Vec<&TaskName> =
        wrong().filter(|output| output.once).map(|one| &one.task).collect();
    once.extend(failing().filter(|asked| asked.once).map(|asked| &asked.task));
    once.dedup();
    let lost = |found: &Found| matches!(found, Found::NoStamp | Found::Others(_));
    let rows: Vec<_> = verified.rows.iter().filter(|counted| lost(&counted.found)).collect();
    once.extend(rows.iter().filter(|counted| counted.once).map(|counted| &counted.task));
    // A run sees a stamp that is gone, and counts nothing.
    let unseen =
        rows.iter().find(|counted| !counted.once && matches!(counted.found, Found::Others(_)));
    let is_seen = rows.iter().any(|counted| !counted.once && counted.found == Found::NoStamp);
    let mends =
        is_seen || wrong().any(|one| !one.once && !one.gone) || failing().any(|asked| !asked.once);
    let gone = wrong().any(|one| one.gone && !one.once);
    if !mends && !gone && once.is_empty() && unseen.is_none() {
        return Ok(());
    }
    writeln!(out, "\n  next")?;
    if mends {
        let is_hidden = wrong().any(|one| one.is_hidden)
            || failing().any(|asked| !asked.once && is_believed_by_age(place, &asked.task));
        let rehash = if is_hidden { " --rehash" } else { "" };
        let command = format!("semel run{rehash}{again}");
        writeln!(out, "{}", next(&command, "repairs; what was there is kept aside"))?;
    }
    if gone {
        let command = format!("semel prune{again}");
        writeln!(out, "{}", next(&command, "shows what nobody makes any more"))?;
    }
    if let Some(first) = unseen {
        let task = quote_words([first.task.to_string().as_str()]);
        let again = place.again_beside(&first.task.instance);
        let command = format!("semel redo {task}{again} --because '...'");
        writeln!(out, "{}", next(&command, "the next run loads it again"))?;
    }
    if let Some(first) = once.first() {
        let task = quote_words([first.to_string().as_str()]);
        let again = place.again_beside(&first.instance);
        if once.len() > 1 {
            writeln!(
                out,
                "\n  {} done once are not done again on a guess; the first:",
                thousands(once.len() as u64)
            )?;
        } else {
            writeln!(
                out,
                "\n  what is done once is not done again on a guess; look, then type one of"
            )?;
        }
        writeln!(out, "    semel why {task}{again}")?;
        writeln!(out, "    semel done {task}{again} --because '...'")?;
        writeln!(out, "    semel redo {task}{again} --because '...'")?;
    }
    Ok(())
}

/// Whether a run may believe what the check of a task answered before, and not ask it.
fn is_believed_by_age(place: &Place, task: &TaskName) -> bool {
    let pipeline = &place.file.pipeline;
    let step = pipeline.step_named(&task.step).map(|id| pipeline.step(id));
    let check = step.and_then(|step| step.check.as_ref());
    check.is_some_and(|check| check.max_age.is_some())
}

fn write_json(
    out: &mut impl Write,
    verified: &Verified,
    tally: &Tally,
    exit: Exit,
) -> std::io::Result<()> {
    for output in &verified.outputs {
        let mut line = json!({
            "verdict": output.finding.name(), "task": output.task.to_string(), "run": output.run,
            "at": output.at.to_string(), "path": output.file.path.to_string_lossy(),
            "bytes": output.file.bytes, "sha256": output.file.digest.to_string(),
            "once": output.once, "gone": output.gone,
        });
        match &output.finding {
            Finding::Altered(Altered::Bytes(now)) => line["now"] = json!({ "bytes": now }),
            Finding::Altered(Altered::Kind(kind)) => line["now"] = json!({ "kind": kind }),
            Finding::CannotTell(why) => line["why"] = json!(why),
            Finding::Same | Finding::Missing => {}
        }
        writeln!(out, "{line}")?;
    }
    for counted in &verified.rows {
        let (verdict, now, why) = match &counted.found {
            Found::Same => ("same", None, None),
            Found::NoStamp => ("missing", None, None),
            Found::Others(now) => ("altered", Some(*now), None),
            Found::CannotTell(why) => ("cannot tell", None, Some(why)),
        };
        let line = json!({
            "verdict": verdict, "task": counted.task.to_string(), "run": counted.run,
            "table": counted.rows.name, "database": counted.rows.path.to_string_lossy(),
            "rows": counted.rows.rows, "now": now, "once": counted.once, "why": why,
        });
        writeln!(out, "{line}")?;
    }
    for asked in &verified.checks {
        let (verdict, why) = match &asked.answer {
            Ok(true) => ("same", None),
            Ok(false) => ("missing", None),
            Err(why) => ("cannot tell", Some(why)),
        };
        let task = asked.task.to_string();
        let line = json!({ "verdict": verdict, "task": task, "run": asked.run, "check": true, "once": asked.once, "why": why });
        writeln!(out, "{line}")?;
    }
    let unlisted: Vec<_> =
        verified.unlisted.iter().map(|(step, why)| json!({ "step": step, "why": why })).collect();
    writeln!(
        out,
        "{}",
        json!({
            "exit": exit.0, "outputs": tally.outputs, "same": tally.same, "missing": tally.missing,
            "altered": tally.altered, "cannot-tell": tally.unreadable + tally.silent + tally.uncounted, "bytes": tally.bytes,
            "loads": tally.loads, "loaded": tally.loaded,
            "checks": tally.checks, "holding": tally.holding, "without-receipt": verified.without_receipt,
            "gone": verified.gone, "unlisted": unlisted, "at-work": verified.holder.is_some(),
        })
    )
}
