//! `semel why`: all the evidence behind a verdict, cue by cue.

use std::collections::BTreeMap;
use std::io::Write;

use semel::deed::run::{Mode, Options, run as run_pipeline, signals};
use semel::words::call::CallState;
use semel::words::event::{Event, Outcome};
use semel::words::evidence::{Cue, Evidence, Part};
use semel::words::task::{TaskName, TaskPattern};
use semel::words::verdict::{Reason, Ruling, Verdict};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::json;
use crate::show::renamed;
use crate::show::style::Styles;
use crate::show::text::{fit, next, when_here};

/// How many cues that are the same are told one by one.
const MOST_SAME: usize = 12;

/// What became of the task that is asked about.
#[derive(Default)]
struct Told {
    evidence: Vec<(String, Evidence)>,
    outcomes: Vec<(String, Outcome)>,
    /// Tasks that may be those of steps which are gone: the pipelines and steps.
    renamed: BTreeMap<String, (TaskName, (String, String))>,
    /// The first task before it that would act, or is in trouble.
    before: Option<String>,
}

pub(crate) fn why(place: Place, options: &args::Why) -> Result<Exit, Failed> {
    let pattern = TaskPattern::parse(&options.task);
    let place = place.in_instance_of(&pattern)?.complete()?;
    let explains = place.file.pipeline.step_named(&pattern.step);
    let how = Options {
        mode: Mode::Plan,
        targets: vec![pattern.clone()],
        explains,
        ..Options::default()
    };
    let (_, signals) = signals();
    let mut told = Told::default();
    let ended =
        run_pipeline(&place.setting("semel why"), &how, &signals, &mut |event| match event {
            Event::Evidence { task, evidence } => {
                told.evidence.push((task.to_string(), (*evidence).clone()));
            }
            Event::MayBeRenamed { task, pipeline, step } if Some(task.id) == explains => {
                let names = ((*pipeline).to_owned(), (*step).to_owned());
                told.renamed.insert(task.to_string(), (task.name(), names));
            }
            Event::Settled { task, outcome } if Some(task.id) == explains => {
                told.outcomes.push((task.to_string(), (*outcome).clone()));
            }
            Event::Settled { task, outcome } if !outcome.is_reached() => {
                told.before.get_or_insert_with(|| task.to_string());
            }
            _ => {}
        });
    if let Err(error) = ended {
        return Err(Failed::to_begin(error, place.file));
    }
    let mut out = anstream::stdout().lock();
    let styles = Styles::for_stdout();
    for (task, evidence) in &told.evidence {
        if options.json {
            writeln!(out, "{}", json::evidence_of(task, evidence))?;
        } else {
            write(&mut out, task, evidence, styles, &place.file_again)?;
            if let Some((name, (pipeline, step))) = told.renamed.get(task) {
                writeln!(out)?;
                renamed::write(&mut out, &place.file, name, pipeline, step)?;
            }
            let Verdict { ruling, reason } = evidence.verdict;
            write_next(&mut out, task, ruling, reason, &place)?;
        }
    }
    for (task, outcome) in &told.outcomes {
        if told.evidence.iter().any(|(known, _)| known == task) {
            continue;
        }
        match outcome {
            Outcome::Failed(failure) => {
                writeln!(out, "{task}  {}: {failure}", styles.state("failed"))?;
            }
            outcome => {
                let word = if matches!(outcome, Outcome::May) { "run?" } else { outcome.name() };
                let before = told.before.as_deref().unwrap_or("what is before it");
                writeln!(
                    out,
                    "{task}  {}: it depends on what {before} makes, which is not as it must be",
                    styles.state(word)
                )?;
                writeln!(out, "\n  next\n    semel why {before}{}", place.again)?;
            }
        }
    }
    let failed = told
        .outcomes
        .iter()
        .any(|(_, outcome)| matches!(outcome, Outcome::Failed(failure) if failure.is_broken()));
    Ok(if failed { Exit::BROKEN } else { Exit::DONE })
}

fn write(
    out: &mut impl Write,
    task: &str,
    evidence: &Evidence,
    styles: Styles,
    file_again: &str,
) -> std::io::Result<()> {
    let verdict = evidence.verdict;
    writeln!(
        out,
        "{}  {}: {}",
        styles.bold(task),
        styles.state(&verdict.ruling.to_string()),
        verdict.reason
    )?;
    writeln!(out)?;
    let then = match evidence.receipt {
        Some((run, at)) => format!("receipt of run {run}, {}", when_here(at)),
        None => "no receipt".to_owned(),
    };
    let name_width =
        evidence.cues.iter().map(|cue| cue.name.chars().count()).max().unwrap_or(0).clamp(6, 34);
    match evidence.receipt {
        Some(_) => writeln!(out, "  {:5} {}  {}  now", "", fit("", name_width), fit(&then, 32))?,
        None => writeln!(out, "  {:5} {}  now; {then}", "", fit("", name_width))?,
    }
    for part in [Part::What, Part::How, Part::Truth] {
        write_part(out, part, &evidence.cues, name_width, styles, evidence.receipt.is_some())?;
    }
    writeln!(out)?;
    writeln!(out, "  memory   {}", json::memory(evidence.memory))?;
    writeln!(out, "  truth    {}", json::truth(evidence.truth))?;
    writeln!(out, "  so       {}: {}", verdict.ruling, verdict.reason)?;
    if let Some(twin) = &evidence.twin {
        writeln!(out, "  twin     {twin} did the same")?;
    }
    if let Some((run, began, ending)) = &evidence.attempt {
        writeln!(out, "\n  last try run {run}, {}: {ending}", when_here(*began))?;
    }
    let (calls, shared) = (&evidence.calls, &evidence.shared_calls);
    if !calls.is_empty() {
        writeln!(out, "\n  calls    {calls}")?;
    }
    if !shared.is_empty() {
        writeln!(out, "\n  calls    of all tasks together: {shared}")?;
    }
    if [calls, shared].iter().any(|sums| sums.count(CallState::Unknown) > 0) {
        let command = format!("semel calls list --unknown{file_again}");
        writeln!(out, "{}", next(&command, "what may have been paid"))?;
    }
    for (at, what) in evidence.not_seen.iter().enumerate() {
        let label = if at == 0 { "\n  not seen" } else { "          " };
        writeln!(out, "{label} {what}")?;
    }
    Ok(())
}

fn write_part(
    out: &mut impl Write,
    part: Part,
    cues: &[Cue],
    name_width: usize,
    styles: Styles,
    has_receipt: bool,
) -> std::io::Result<()> {
    let cues: Vec<_> = cues.iter().filter(|cue| cue.part == part).collect();
    let same = cues.iter().filter(|cue| cue.is_same()).count();
    let mut label = part.name();
    for cue in &cues {
        if cue.is_same() && same > MOST_SAME {
            continue;
        }
        let name = fit(&cue.name, name_width);
        let recorded = cue.recorded.as_deref().unwrap_or("not there");
        let now = cue.now.as_deref().unwrap_or("not there");
        let width = 32;
        if !has_receipt {
            writeln!(out, "  {label:<5} {name}  {now}")?;
        } else if cue.is_same() {
            writeln!(
                out,
                "  {label:<5} {name}  {}  {}",
                fit(recorded, width),
                styles.dim("the same")
            )?;
        } else if recorded.chars().count() > width || now.chars().count() > width {
            // Texts that are too long for columns stand below one another.
            writeln!(out, "  {label:<5} {name}  {}", styles.bold("other"))?;
            for (word, text) in [("was", recorded), ("now", now)] {
                for line in text.lines() {
                    writeln!(out, "        {} {line}", styles.dim(word))?;
                }
            }
        } else {
            writeln!(
                out,
                "  {label:<5} {name}  {}  {now}{}",
                fit(recorded, width),
                styles.bold("  other")
            )?;
        }
        label = "";
    }
    if same > MOST_SAME {
        writeln!(
            out,
            "  {label:<5} {}  {}",
            fit(&format!("{same} more"), name_width),
            styles.dim("the same")
        )?;
    }
    Ok(())
}

fn write_next(
    out: &mut impl Write,
    task: &str,
    ruling: Ruling,
    reason: Reason,
    place: &Place,
) -> std::io::Result<()> {
    let again = match TaskPattern::parse(task).instance {
        Some(instance) => place.again_beside(&instance),
        None => &place.again,
    };
    let quoted = semel::words::shell::quote_words([task]);
    match (ruling, reason) {
        (Ruling::Run, Reason::CommandChanged | Reason::InputsChanged) => {
            writeln!(out, "\n  next")?;
            writeln!(out, "    {}", place.run_again(&quoted))?;
            writeln!(out, "    semel done {quoted}{again} --because '...'")?;
            writeln!(out, "                              if the change does not matter")
        }
        (Ruling::Run | Ruling::Reuse | Ruling::Adopt, _) => {
            writeln!(out, "\n  next\n    {}", place.run_again(&quoted))
        }
        (Ruling::Refuse, _) => {
            writeln!(out, "\n  look whether it is done, then type one of")?;
            writeln!(out, "    semel done {quoted}{again} --because '...'")?;
            writeln!(out, "    semel redo {quoted}{again} --because '...'")
        }
        _ => Ok(()),
    }
}
