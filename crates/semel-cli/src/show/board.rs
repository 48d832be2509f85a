//! Step lines: how each step stands, in a line. The live board in a terminal and
//! the summary at the end are made of them.

use std::time::{Duration, Instant};

use semel::thought::report::{Report, StepReport};
use semel::words::clock;
use semel::words::pipeline::{ActionKind, Pipeline, Step};
use semel::words::verdict::Reason;

use super::style::Styles;
use super::text::{WIDTH, bytes, count, fit, shorten};
use semel::words::thousands;

/// How wide the column of the steps' names is.
pub(crate) fn name_width<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 24)
}

/// The word for how a step stands at the end of a run.
pub(crate) fn state(report: &StepReport) -> &'static str {
    let counts = &report.counts;
    match () {
        () if counts.failed > 0 => "failed",
        () if counts.refused > 0 => "refused",
        () if counts.busy > 0 => "busy",
        () if counts.blocked > 0 => "blocked",
        () if report.unsettled() > 0 => "stopped",
        () if counts.ran > 0 => "done",
        () if counts.reused > 0 => "reuse",
        () if counts.adopted > 0 => "adopt",
        () => "skip",
    }
}

/// How a step ended, as two columns: how many, and what of them.
pub(crate) fn ending(report: &StepReport, step: &Step) -> (String, String) {
    let counts = &report.counts;
    let (reached, total) = (counts.reached(), counts.total);
    let acted = counts.ran + counts.reused + counts.adopted;
    if counts.failed + counts.refused + counts.busy + counts.blocked > 0 {
        let note = match &report.blocked_by {
            Some(by) if report.note.is_empty() => format!("after {by}"),
            _ => report.note.clone(),
        };
        return (of(reached, total), note);
    }
    if acted == 0 {
        let reason = report.reasons.keys().next().map(ToString::to_string).unwrap_or_default();
        return if report.has_items {
            (of(reached, total), reason)
        } else {
            (reason, String::new())
        };
    }
    let first = match (&report.only_output, report.has_items) {
        (_, true) => of(acted, total),
        (Some(path), false) => shorten(path, 30),
        (None, false) => once_for(report, step).unwrap_or_default(),
    };
    let mut facts = Vec::new();
    if counts.skipped > 0 {
        facts.push(format!(
            "{} {} done",
            thousands(counts.skipped),
            if counts.skipped == 1 { "was" } else { "were" }
        ));
    }
    let repaired: u64 = [Reason::Missing, Reason::Altered]
        .iter()
        .filter_map(|reason| report.reasons.get(reason))
        .sum();
    if repaired > 0 {
        facts.push(format!("{} repaired", thousands(repaired)));
    }
    if counts.reused > 0 {
        facts.push(format!("{} reused", thousands(counts.reused)));
    }
    if counts.adopted > 0 && counts.ran > 0 {
        facts.push(format!("{} adopted", thousands(counts.adopted)));
    }
    if counts.adopted > 0 && counts.ran == 0 {
        facts.extend(report.reasons.keys().next().map(ToString::to_string));
    }
    match report.rows {
        Some(rows) => facts.push(rows_of(rows, step)),
        None if report.bytes > 0 => facts.push(bytes(report.bytes)),
        None => {}
    }
    (first, facts.join("; "))
}

/// So many rows, and where they went if that is a table: `24,951 rows into flight`.
pub(super) fn rows_of(rows: u64, step: &Step) -> String {
    let rows = count(rows, "row");
    match step.action.as_ref().map(|action| &action.kind) {
        Some(ActionKind::Load(load)) => match load.into.as_plain() {
            Some(table) => format!("{rows} into {table}"),
            None => rows,
        },
        _ => rows,
    }
}

fn of(some: u64, all: u64) -> String {
    format!("{} of {}", thousands(some), thousands(all))
}

fn once_for(report: &StepReport, step: &Step) -> Option<String> {
    let instance = &report.instance;
    match (step.once, instance.is_only()) {
        (false, _) => None,
        (true, true) => Some("once".to_owned()),
        (true, false) => Some(format!("once for {instance}")),
    }
}

/// The line of a step that came to its end.
pub(crate) fn ended_line(report: &StepReport, step: &Step, names: usize, styles: Styles) -> String {
    let (first, second) = ending(report, step);
    let time = report.took();
    let time = if time.is_zero() { String::new() } else { clock(time) };
    let details = match (first.is_empty(), second.is_empty()) {
        (_, true) => first,
        (true, false) => second,
        (false, false) => format!("{}  {second}", fit(&first, first.chars().count().max(13))),
    };
    let width = WIDTH - names - 2 - 9 - 2 - time.len() - 1;
    let line = format!(
        "  {}  {}{} {time}",
        fit(&report.name, names),
        styles.state(&fit(state(report), 9)),
        fit(&details, width),
    );
    line.trim_end().to_owned()
}

/// The line of a step that is at work.
fn working_line(report: &StepReport, names: usize, styles: Styles, now: Instant) -> String {
    const BAR: u64 = 30;
    let (reached, total) = (report.counts.total - report.unsettled(), report.counts.total);
    let filled = (reached * BAR).checked_div(total).unwrap_or(0);
    let bar = if report.has_items {
        let (filled, rest) = (filled as usize, (BAR - filled) as usize);
        format!("{}{}   {}", "=".repeat(filled), "-".repeat(rest), of(reached, total))
    } else {
        String::new()
    };
    let left = match report.eta(now) {
        Some(left) if report.has_items => format!("{} left", clock(left)),
        _ => String::new(),
    };
    let width = WIDTH - names - 2 - 9 - 2 - left.len() - 1;
    format!(
        "  {}  {}{} {left}",
        fit(&report.name, names),
        styles.state(&fit("run", 9)),
        fit(&bar, width)
    )
}

/// The line of a step that has not begun.
fn waiting_line(step: &Step, pipeline: &Pipeline, names: usize, styles: Styles) -> String {
    let before: Vec<_> = step.upstream().map(|id| pipeline.step(id).name.as_str()).collect();
    let after = match before.as_slice() {
        [] => String::new(),
        [..] => format!("after {}", before.join(", ")),
    };
    let once = if step.once { "; once" } else { "" };
    let line =
        format!("  {}  {}{after}{once}", fit(&step.name, names), styles.state(&fit("wait", 9)));
    shorten(&line, WIDTH).trim_end().to_owned()
}

/// A command that is at work.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) task: String,
    pub(crate) since: Instant,
}

/// The live board: a line for each step, then what is going on.
pub(crate) fn live(
    pipeline: &Pipeline,
    report: &Report,
    running: &[Now],
    styles: Styles,
    now: Instant,
    most_lines: usize,
) -> Vec<String> {
    let names = name_width(pipeline.steps.iter().map(|step| step.name.as_str()));
    let mut lines = Vec::new();
    for (id, step) in pipeline.ids() {
        let Some(known) = report.step(id) else {
            continue;
        };
        lines.push(match (known.unsettled(), known.has_begun()) {
            (0, _) => ended_line(known, step, names, styles),
            (_, true) => working_line(known, names, styles, now),
            (_, false) => waiting_line(step, pipeline, names, styles),
        });
    }
    if lines.len() > most_lines {
        let hidden = lines.len() - most_lines;
        lines.drain(..hidden);
        lines.insert(0, format!("  and {} above", count(hidden as u64, "step")));
    }
    lines.push(String::new());
    for (at, now_at_work) in running.iter().take(4).enumerate() {
        let label = if at == 0 { "now" } else { "" };
        let time = elapsed(now.saturating_duration_since(now_at_work.since));
        lines.push(format!("  {label:<4} {} {time:>7}", fit(&now_at_work.task, WIDTH - 16)));
    }
    if running.len() > 4 {
        lines.push(format!("       and {} more", running.len() - 4));
    }
    let totals = report.totals();
    let done = totals.ran + totals.reused + totals.adopted;
    let counts = format!(
        "  {} done, {} skipped, {} failed",
        thousands(done),
        thousands(totals.skipped),
        thousands(totals.failed)
    );
    lines.push(format!(
        "{} {}",
        fit(&counts, WIDTH - 40),
        styles.dim("Ctrl-C stops; what is done stays done")
    ));
    lines
}

/// Whole seconds, so that the figure does not flicker.
fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
