//! Programs whose changes are not seen.

use super::known::sources;
use super::script::Script;
use super::{Linter, Subject, UNSEEN_PROGRAM};
use crate::words::pipeline::{Fault, InputSource, Span, Step};
use crate::words::shell::{Simple, Word};
use crate::words::template::Name;

impl Linter<'_> {
    /// A program whose changes are not seen; whether there is one.
    pub(super) fn unseen_program(&mut self, subject: Subject<'_, '_>) -> bool {
        let Subject { id, step, action } = subject;
        if step.max_age.is_some() || names_files(step) {
            return false;
        }
        let found = action.simples.iter().find_map(|simple| unseen(step, action, simple));
        let Some((range, label, help)) = found else {
            return false;
        };
        let span = self.place(action, &range, &step.span);
        let title = format!("changes of the program of `{}` are not seen", step.name);
        self.warn(&UNSEEN_PROGRAM, id, Fault::new(title, &span, label).help(help));
        true
    }
}

/// Whether it names files to be counted: they may well be the sources.
fn names_files(step: &Step) -> bool {
    step.inputs.iter().any(|input| matches!(input.source, InputSource::Files(_)))
}

fn unseen(
    step: &Step,
    action: &Script<'_>,
    simple: &Simple,
) -> Option<(Span, &'static str, String)> {
    if let Some(word) = simple.script()
        && word.text.is_none()
        && !matches!(simple.name(), "." | "source")
        && !action.names(word, is_counted)
        && !is_set(step, action.raw(&word.range))
    {
        let help = "write the path of the file as it is, or name it in `in`";
        return Some((word.range.clone(), "a file that only the shell knows", help.to_owned()));
    }
    if let Some(word) = simple.command().first()
        && word.text.is_none()
        && action.raw(&word.range).trim_start_matches('"').starts_with('$')
        && let Some(script) = simple.plain().find(|text| is_script(text))
    {
        let help = format!("write the interpreter as it is, or add  in = \"{script}\"");
        return Some((word.range.clone(), "not known as an interpreter", help));
    }
    let leaves = |word: &&Word| {
        word.text.as_deref().is_some_and(|text| {
            text.starts_with("../") && action.programs.iter().any(|program| program == text)
        })
    };
    if step.dir.is_none()
        && let Some(word) = simple.command().iter().find(leaves)
    {
        let help = "move it into the folder, or change `version` whenever it changes";
        return Some((word.range.clone(), "outside the pipeline's folder", help.to_owned()));
    }
    // Where a check tells whether it is there, that is what counts.
    let is_asked = step.check.is_some() && step.outs.is_empty();
    let sources = sources(simple).filter(|_| !is_asked)?;
    let help = format!("add  in = [{sources}]  or whatever it is made of");
    Some((Script::name_range(simple), "what it is made of is not seen", help))
}

/// Whether its bytes count.
const fn is_counted(name: &Name) -> bool {
    matches!(name, Name::In(_) | Name::Item(_))
}

/// Whether a word is a variable that the step sets to a file that counts.
fn is_set(step: &Step, raw: &str) -> bool {
    let name = raw.replace(['"', '{', '}'], "");
    let name = name.strip_prefix('$').unwrap_or("");
    step.env.iter().any(|(variable, value)| {
        variable == name && value.placeholders().any(|hole| is_counted(&hole.name))
    })
}

fn is_script(text: &str) -> bool {
    let ending = text.rsplit_once('.').map(|(_, ending)| ending);
    !text.starts_with(['-', '/'])
        && matches!(ending, Some("py" | "sh" | "R" | "rb" | "pl" | "js" | "jl" | "php" | "lua"))
}
