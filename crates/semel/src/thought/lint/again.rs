//! Steps that are done once, then never; and steps of which nobody can tell
//! whether they were done.

use std::time::Duration;

use super::known::{Outside, is_constant, is_harmless, outside, sends};
use super::script::Script;
use super::{Level, Linter, NEVER_AGAIN, SHOWS_NOTHING, Subject};
use crate::words::pipeline::{Fault, Step};
use crate::words::shell::Simple;
use crate::words::template::Name;

impl Linter<'_> {
    /// A step that nothing could ever make run again.
    pub(super) fn never_again(&mut self, subject: Subject<'_, '_>) {
        let Subject { id, step, action } = subject;
        // What comes out different each time is made once on purpose.
        if step.check.is_some() || !step.deterministic || may_change(step) {
            return;
        }
        let asks = action.simples.iter().find_map(|simple| Some((simple, outside(simple)?)));
        if asks.is_none() && action.simples.iter().all(is_constant) {
            return;
        }
        // What leaves nothing to read and is no question is done, and that is it.
        let is_question = asks.is_some_and(|(simple, _)| is_harmless(simple));
        if step.outs.is_empty() && !is_question {
            return;
        }
        let title = format!("`{}` is done once, then never", step.name);
        let fault = match asks {
            Some((simple, asked)) => {
                let span = self.place(action, &Script::name_range(simple), &step.span);
                let label = format!("{}: add  max-age = \"20h\"", asked.says());
                let mut fault = Fault::new(title, &span, label);
                if asked == Outside::Clock {
                    fault =
                        fault.help("or a parameter in `per`, and each day is a task of its own");
                }
                fault
            }
            None => Fault::new(title, &step.span, "names nothing that could change")
                .help("add  in = \"…\"          if it reads files")
                .help("add  max-age = \"20h\"   if it asks the outside world"),
        };
        let is_ordered = self.places.value(&["step", &step.name, "after"]).is_some();
        let fault = if is_ordered {
            fault.help("`after` only orders; with `needs` what a step leaves counts too")
        } else {
            fault
        };
        // A script of one's own may hold all that there is to know.
        let may_be_meant = match asks {
            None => !action.programs.is_empty(),
            Some((simple, _)) => names_version(simple),
        };
        let level = if may_be_meant { Level::Note } else { Level::Warning };
        self.say(&NEVER_AGAIN, level, Some(id), fault);
    }

    /// An ordinary step that shows nothing; whether that is so.
    pub(super) fn shows_nothing(&mut self, subject: Subject<'_, '_>) -> bool {
        let Subject { id, step, action } = subject;
        let is_every_run = step.max_age == Some(Duration::ZERO);
        if !step.outs.is_empty() || step.check.is_some() || is_every_run {
            return false;
        }
        let Some(first) = action.simples.iter().find(|simple| !is_harmless(simple)) else {
            return false;
        };
        let sent = action.simples.iter().find(|simple| sends(simple));
        let span = self.place(action, &Script::name_range(sent.unwrap_or(first)), &step.span);
        let fault = match sent {
            Some(_) => {
                let title = format!("`{}` sends something, and nothing shows it", step.name);
                Fault::new(title, &span, "a repeat sends it again: add  once = true")
            }
            None => {
                let title = format!("`{}` shows nothing of what it did", step.name);
                Fault::new(title, &span, "after an interruption it may do this twice")
                    .help("add  out = \"…\"          if it writes files")
                    .help("add  check = '…'        if its effect can be asked for")
                    .help("add  once = true        if it must not happen twice")
                    .help("add  max-age = \"0\"      if every run is to do it")
            }
        };
        self.warn(&SHOWS_NOTHING, id, fault);
        true
    }
}

/// Whether a command asks for a version by its number: that does not change.
fn names_version(simple: &Simple) -> bool {
    simple.plain().filter_map(|word| word.split_once("://")?.1.split_once('/')).any(|(_, path)| {
        let bytes = path.as_bytes();
        bytes
            .windows(3)
            .any(|three| three[1] == b'.' && three[0].is_ascii_digit() && three[2].is_ascii_digit())
    })
}

/// Whether something that counts may come out different another day.
fn may_change(step: &Step) -> bool {
    let names_value =
        step.counting_names().any(|name| matches!(name, Name::Param(_) | Name::Env(_)));
    step.each.is_some()
        || !step.inputs.is_empty()
        || !step.needs.is_empty()
        || !step.per.is_empty()
        || !step.env_counts.is_empty()
        || step.version.is_some()
        || step.max_age.is_some()
        || names_value
}
