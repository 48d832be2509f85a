//! `semel lint`: what looks unsafe in the pipeline file. It looks at nothing but
//! the file.

use std::io::Write;

use semel::thought::lint::{Level, Warning, lint as find};
use semel::words::pipeline::StepId;
use serde_json::json;

use crate::args;
use crate::exit::Exit;
use crate::file;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::count;

pub(crate) fn lint(place: &Place, options: &args::Lint) -> Result<Exit, Failed> {
    let file = &place.file;
    let wanted = place.steps_named(&options.steps)?;
    let is_wanted =
        |step: Option<StepId>| wanted.is_empty() || step.is_some_and(|step| wanted.contains(&step));
    let mut found = find(&file.pipeline, &file.text);
    found.retain(|warning| is_wanted(warning.step));
    let steps = if wanted.is_empty() { file.pipeline.steps.len() } else { wanted.len() };
    // What looks unsafe may still be meant: only a file with faults is not 0.
    let exit = Exit::DONE;
    let of = |level: Level| found.iter().filter(|warning| warning.level == level).count() as u64;
    let (warnings, notes) = (of(Level::Warning), of(Level::Note));
    if options.json {
        let mut out = std::io::stdout().lock();
        for warning in &found {
            writeln!(out, "{}", object(place, warning))?;
        }
        let ended = json!({
            "event": "linted", "pipeline": file.pipeline.name, "steps": steps, "warnings": warnings,
            "notes": notes, "exit": exit.0,
        });
        writeln!(out, "{ended}")?;
        return Ok(exit);
    }
    let styles = Styles::for_stdout();
    let mut out = anstream::stdout().lock();
    let steps = count(steps as u64, "step");
    if found.is_empty() {
        writeln!(out, "{}: nothing looks unsafe in {steps}; exit {}", file.path.display(), exit.0)?;
        return Ok(exit);
    }
    let figures: Vec<_> = [(warnings, "warning"), (notes, "note")]
        .into_iter()
        .filter(|(many, _)| *many > 0)
        .map(|(many, word)| count(many, word))
        .collect();
    let figures = figures.join(", ");
    writeln!(out, "{}: {figures}\n", file.path.display())?;
    for warning in &found {
        file::show_warning(&mut out, &file.path, &file.text, warning, styles.are_on())?;
    }
    writeln!(out, "{figures} in {steps}; nothing was run; exit {}", exit.0)?;
    Ok(exit)
}

fn object(place: &Place, warning: &Warning) -> serde_json::Value {
    let Warning { kind, level, step, fault } = warning;
    let pipeline = &place.file.pipeline;
    let (line, column) = place_in(&place.file.text, fault.span.start);
    json!({
        "event": "lint", "name": kind.name, "level": level.name(),
        "step": step.map(|step| &pipeline.step(step).name), "file": place.file.path.display().to_string(),
        "line": line, "column": column, "text": place.file.text.get(fault.span.clone()),
        "title": fault.title, "label": fault.label, "help": fault.help,
    })
}

/// The line and column of a byte of a text, both from 1 on; columns are
/// characters.
fn place_in(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or("");
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
