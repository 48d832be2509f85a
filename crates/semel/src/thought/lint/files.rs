//! Files that a command writes and does not declare, and outputs that come out
//! different each time.

use super::known::{Outside, outside};
use super::script::{Script, is_out};
use super::{APPENDS, DIFFERS_EACH_TIME, Linter, Subject, UNSEEN_OUTPUT};
use crate::words::pipeline::{EachSource, Fault, InPlace, InputSource, Span, Step, StepId};
use crate::words::shell::{Redirection, Simple, Word};
use crate::words::template::Name;

impl Linter<'_> {
    /// Redirections into files that are no outputs; whether there are any.
    pub(super) fn unseen_files(&mut self, subject: Subject<'_, '_>) -> bool {
        let Subject { id, step, action } = subject;
        let mut told: Vec<String> = Vec::new();
        for (at, simple) in action.simples.iter().enumerate() {
            for redirection in &simple.redirections {
                let Some(path) = unseen(step, action, redirection) else {
                    continue;
                };
                let (before, after) = action.simples.split_at(at);
                if told.contains(&path) || is_scratch(action, &path, after) {
                    continue;
                }
                // What was made anew in the same command does not grow.
                let is_fresh = before.iter().any(|simple| makes_anew(action, simple, &path));
                let operand = &redirection.operand;
                let span = self.place(action, &operand.range, &step.span);
                let declares = declaration(step, &path);
                let fault = if redirection.appends() && !is_fresh {
                    let title = format!("`{}` appends to `{path}`", step.name);
                    let fault = Fault::new(title, &span, "a repeat appends again");
                    fault.help(declares).help("or  once = true  if it must not happen twice")
                } else if redirection.appends() {
                    continue;
                } else {
                    let title = format!("`{}` writes `{path}`, which is no output", step.name);
                    Fault::new(title, &span, "after a crash, half of it").help(declares)
                };
                let kind = if redirection.appends() { &APPENDS } else { &UNSEEN_OUTPUT };
                self.warn(kind, id, fault);
                told.push(path);
            }
        }
        !told.is_empty()
    }

    /// An output that comes out different each time, and that others read.
    pub(super) fn differs_each_time(&mut self, subject: Subject<'_, '_>) {
        let Subject { id, step, action } = subject;
        if !step.deterministic || step.outs.is_empty() || step.max_age.is_some() {
            return;
        }
        let Some(reader) = self.pipeline.steps.iter().find(|other| reads(other, id)) else {
            return;
        };
        let Some((range, what)) = differing(action) else {
            return;
        };
        let span = self.place(action, &range, &step.span);
        let title = format!("`{}` makes something else each time", step.name);
        let fault = Fault::new(title, &span, format!("{what}: add  deterministic = false"));
        let fault = fault.help(format!(
            "`{}` reads it; altered, it would be made anew, as something else",
            reader.name
        ));
        self.warn(&DIFFERS_EACH_TIME, id, fault);
    }
}

/// The file that a redirection of output leads to, if it is one by its name, and
/// no output.
fn unseen(step: &Step, action: &Script<'_>, redirection: &Redirection) -> Option<String> {
    let is_file = matches!(redirection.operator.as_str(), ">" | ">>" | ">|");
    if !is_file || !redirection.is_of_output() {
        return None;
    }
    if action.names(&redirection.operand, is_out) {
        return None;
    }
    let path = action.path_of(&redirection.operand)?;
    let is_log = path.ends_with(".log") || path.ends_with(".err");
    let is_declared =
        step.in_place != InPlace::No && step.outs.iter().any(|out| out.path.text == path);
    (!path.is_empty() && !path.starts_with("/dev/") && !is_log && !is_declared).then_some(path)
}

/// Whether a file is taken away, or put elsewhere, by what follows in the same
/// command, or at its end.
fn is_scratch(action: &Script<'_>, path: &str, after: &[Simple]) -> bool {
    let names = |word: &Word| action.path_of(word).is_some_and(|said| said == path);
    let goes = after
        .iter()
        .any(|simple| matches!(simple.name(), "rm" | "mv") && simple.arguments().iter().any(names));
    let trapped = action
        .simples
        .iter()
        .any(|simple| simple.name() == "trap" && simple.plain().any(|code| code.contains(path)));
    goes || trapped
}

/// Whether a command makes a file anew, or takes it away.
fn makes_anew(action: &Script<'_>, simple: &Simple, path: &str) -> bool {
    let is_it = |word: &Word| action.path_of(word).is_some_and(|said| said == path);
    let truncates = |one: &Redirection| one.is_of_output() && !one.appends() && is_it(&one.operand);
    simple.redirections.iter().any(truncates)
        || matches!(simple.name(), "rm" | "truncate" | "cp" | "mv" | "install" | "tee")
            && simple.arguments().iter().any(is_it)
}

/// The line that makes an output of a file.
fn declaration(step: &Step, path: &str) -> String {
    if step.outs.iter().any(|out| out.path.text == path) {
        return "it is declared: write  > {{ out }}  and it appears whole".to_owned();
    }
    if step.outs.is_empty() {
        format!("add  out = \"{path}\"  and write  > {{{{ out }}}}")
    } else {
        format!("give it a name in `out`:  out = {{ main = \"…\", other = \"{path}\" }}")
    }
}

fn reads(other: &Step, id: StepId) -> bool {
    let listed = other
        .each
        .as_ref()
        .is_some_and(|each| matches!(each.source, EachSource::OutputsOf(source) if source == id));
    let gathered = other
        .inputs
        .iter()
        .any(|input| matches!(input.source, InputSource::OutputsOf(source) if source == id));
    listed || gathered || (!other.once && other.needs.contains(&id))
}

/// What in a command comes out different each time, and where it stands.
fn differing(action: &Script<'_>) -> Option<(Span, &'static str)> {
    let is_seeded =
        |word: &Word| word.text.as_deref().is_some_and(|text| text.starts_with("RANDOM="));
    if action.simples.iter().any(|simple| simple.words.iter().any(is_seeded)) {
        return None;
    }
    for simple in &action.simples {
        if goes_elsewhere(action, simple) {
            continue;
        }
        let program = match simple.name() {
            "date" if outside(simple) == Some(Outside::Clock) => Some("the time of day"),
            "uuidgen" => Some("another each time"),
            "shuf" if !simple.has_option(&["--random-source"]) => Some("another order each time"),
            _ => None,
        };
        if let Some(what) = program {
            return Some((Script::name_range(simple), what));
        }
        for word in &simple.words {
            let raw = action.raw(&word.range);
            let random = ["$RANDOM", "${RANDOM}", "$SRANDOM", "$EPOCHSECONDS"];
            if word.text.is_none() && random.iter().any(|name| raw.contains(name)) {
                return Some((word.range.clone(), "another each time"));
            }
            if action.names(word, |name| matches!(name, Name::RunId)) {
                return Some((word.range.clone(), "another in each run"));
            }
        }
    }
    None
}

/// Whether what a command prints surely comes into no output: it is printed, by
/// itself or by the command that it is a part of, and goes elsewhere.
fn goes_elsewhere(action: &Script<'_>, simple: &Simple) -> bool {
    let mut around = action.simples.iter().filter(|outer| {
        outer.range.start <= simple.range.start && simple.range.end <= outer.range.end
    });
    around.any(|outer| {
        matches!(outer.name(), "echo" | "printf" | "date" | "uuidgen")
            && outer.depth == 0
            && !outer.writes_pipe
            && !action.reaches_output(outer)
    })
}
