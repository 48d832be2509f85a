//! `semel log`: what commands printed. By default, those that failed last.

use std::io::Write;

use semel::deed::log::read;
use semel::ground::manifest::{AttemptRecord, Attempts, Manifest, ManifestError};
use semel::words::task::{TaskName, TaskPattern};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::when_here;

pub(crate) fn log(place: &Place, options: &args::Log) -> Result<Exit, Failed> {
    let Some(manifest) = place.manifest()? else {
        return Err(Failed::Manifest(place.home.manifest(), ManifestError::Absent));
    };
    let attempts = find(place, &*manifest, options.of.as_deref())?;
    let mut out = anstream::stdout().lock();
    let styles = Styles::for_stdout();
    if attempts.is_empty() {
        let what = match &options.of {
            Some(of) => format!("no attempt is kept of {of}"),
            None => "no task has failed since it was last done".to_owned(),
        };
        writeln!(anstream::stderr(), "{what}")?;
        return Ok(Exit::DONE);
    }
    for attempt in &attempts {
        writeln!(out, "{}", heading(attempt, styles))?;
        let path = place.home.log(attempt.run);
        match read(&path, attempt.log) {
            Ok(printed) => {
                out.write_all(&printed)?;
                if printed.last().is_some_and(|last| *last != b'\n') {
                    writeln!(out)?;
                }
            }
            Err(error) => writeln!(out, "{} cannot be read: {error}", path.display())?,
        }
    }
    Ok(Exit::DONE)
}

fn find(
    place: &Place,
    manifest: &dyn Manifest,
    of: Option<&str>,
) -> Result<Vec<AttemptRecord>, Failed> {
    let name = &place.file.pipeline.name;
    let broken = |error| Failed::Manifest(place.home.manifest(), error);
    let Some(of) = of else {
        // Of the tasks that failed, those of the last run in which any did.
        let failed = manifest.attempts(name, Attempts::Failed).map_err(broken)?;
        let last = failed.iter().map(|attempt| attempt.run).max();
        return Ok(failed.into_iter().filter(|attempt| Some(attempt.run) == last).collect());
    };
    if let Ok(run) = of.parse() {
        let runs = manifest.runs(name, None, u32::MAX).map_err(broken)?;
        if !runs.iter().any(|known| known.number == run) {
            let last = match runs.first() {
                Some(last) => format!("the last is {}", last.number),
                None => "there was none yet".to_owned(),
            };
            return Err(Failed::Usage(format!("there is no run {run} of `{name}`; {last}")));
        }
        return manifest.attempts(name, Attempts::OfRun(run)).map_err(broken);
    }
    let pattern = TaskPattern::parse(of);
    let Some(id) = place.file.pipeline.step_named(&pattern.step) else {
        return Err(Failed::Usage(format!("there is no step `{}`", pattern.step)));
    };
    let step = place.file.pipeline.step(id);
    let instance = pattern.instance.clone().unwrap_or_else(|| place.params.instance(&step.per));
    let task = TaskName::new(&step.name, &instance, None);
    let all = manifest.attempts(name, Attempts::OfTask(&task)).map_err(broken)?;
    let mut named: Vec<_> = all
        .into_iter()
        .filter(|attempt| pattern.takes_item(attempt.task.item.as_deref()))
        .collect();
    // Of each task, the last run that tried it.
    let last: std::collections::HashMap<_, _> =
        named.iter().map(|attempt| (attempt.task.clone(), attempt.run)).collect();
    named.retain(|attempt| last.get(&attempt.task) == Some(&attempt.run));
    Ok(named)
}

fn heading(attempt: &AttemptRecord, styles: Styles) -> String {
    let ending = match (attempt.ending.as_deref(), &attempt.reason) {
        (Some("done"), _) => styles.state("done"),
        (Some("failed"), Some(why)) => format!("{}: {why}", styles.state("failed")),
        (Some("void"), _) => "void: an input changed meanwhile".to_owned(),
        (Some(ending), _) => styles.state(ending),
        (None, _) => styles.state("interrupted"),
    };
    let task = styles.bold(&attempt.task.to_string());
    format!(
        "==> {task}  run {}, try {}, {}  {ending}",
        attempt.run,
        attempt.tries,
        when_here(attempt.began)
    )
}
