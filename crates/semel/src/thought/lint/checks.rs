//! Checks that hold too easily, or that take an error for an answer.

use super::known::{Outside, is_client, outside};
use super::script::Script;
use super::{CHECK_ALWAYS_HOLDS, CHECK_CLAIMS, CHECK_HIDES_ERRORS, Linter};
use crate::words::pipeline::{Fault, Probe, Step, StepId};
use crate::words::shell::Simple;

impl Linter<'_> {
    pub(super) fn check(&mut self, id: StepId, step: &Step, check: &Script<'_>) {
        let Some(Probe::Command { equals, .. }) = step.check.as_ref().map(|check| &check.probe)
        else {
            return;
        };
        if self.forgives(id, step, check, equals.is_some()) {
            return;
        }
        if equals.is_none()
            && (self.hides_errors(id, step, check) || self.always_holds(id, step, check))
        {
            return;
        }
        self.claims(id, step, check);
    }

    /// A check that ends in `|| true`; whether it does.
    fn forgives(&mut self, id: StepId, step: &Step, check: &Script<'_>, compares: bool) -> bool {
        let text = check.text().unwrap_or_default();
        let forgives = |simple: &&Simple| {
            let before = text.get(..simple.range.start).unwrap_or_default();
            matches!(simple.name(), "true" | ":") && before.trim_end().ends_with("||")
        };
        let Some(simple) = check.simples.iter().find(forgives) else {
            return false;
        };
        let span = self.place(check, &Script::name_range(simple), &step.span);
        let (kind, title, label) = if compares {
            let title = format!("the check of `{}` hides errors", step.name);
            (&CHECK_HIDES_ERRORS, title, "an error reads as another text: a no")
        } else {
            let title = format!("the check of `{}` holds whatever is found", step.name);
            (&CHECK_ALWAYS_HOLDS, title, "exits 0 after any failure")
        };
        let help = "name the status that means no:  … || [ $? = 1 ]";
        self.warn(kind, id, Fault::new(title, &span, label).help(help));
        true
    }

    /// A check in which an error becomes a no; whether it is one.
    fn hides_errors(&mut self, id: StepId, step: &Step, check: &Script<'_>) -> bool {
        if check.text().is_some_and(|text| text.contains("PIPESTATUS")) {
            return false;
        }
        let piped = check.simples.iter().find(|simple| simple.reads_pipe && simple.depth == 0);
        let asked = check.simples.iter().find(|simple| {
            simple.depth > 0
                && matches!(outside(simple), Some(Outside::Database | Outside::Network))
        });
        let (simple, label) = match (piped, asked) {
            (Some(simple), _) => (simple, "an error before the pipe reads as a no"),
            (None, Some(simple)) => (simple, "an error in here reads as a no"),
            (None, None) => return false,
        };
        let span = self.place(check, &Script::name_range(simple), &step.span);
        let title = format!("the check of `{}` hides errors", step.name);
        let fault = Fault::new(title, &span, label).help(SAY_WHAT);
        self.warn(&CHECK_HIDES_ERRORS, id, fault);
        true
    }

    /// A check by a client that exits 0 whatever the answer; whether it is one.
    fn always_holds(&mut self, id: StepId, step: &Step, check: &Script<'_>) -> bool {
        let Some(simple) = check.simples.iter().find(|simple| answers_by_text(simple)) else {
            return false;
        };
        let span = self.place(check, &Script::name_range(simple), &step.span);
        let title = format!("the check of `{}` holds whatever is found", step.name);
        let label = "exits 0 for false, and for no row";
        self.warn(&CHECK_ALWAYS_HOLDS, id, Fault::new(title, &span, label).help(SAY_WHAT));
        true
    }

    /// A check that only asks whether something exists.
    fn claims(&mut self, id: StepId, step: &Step, check: &Script<'_>) {
        // Where there are outputs, they are what proves.
        if !step.outs.is_empty() {
            return;
        }
        let Some(asks) = check.simples.iter().find(|simple| asks_existence(simple)) else {
            return;
        };
        let is_talk =
            |simple: &Simple| matches!(simple.name(), "echo" | "printf" | "true" | "}" | "fi");
        if !check.simples.iter().all(|simple| asks_existence(simple) || is_talk(simple)) {
            return;
        }
        if marks_its_end(step, asks) {
            return;
        }
        let span = self.place(check, &asks.range, &step.span);
        let title = format!("the check of `{}` only asks whether something exists", step.name);
        let fault = Fault::new(title, &span, "half of it passes too")
            .help("add  out = \"…\"  and semel looks at the content itself")
            .help("or ask for what is written last");
        self.warn(&CHECK_CLAIMS, id, fault);
    }
}

const SAY_WHAT: &str = "say what it must print:  check = { run = '…', equals = \"…\" }";

/// Whether a command is a query that answers by what it prints only.
fn answers_by_text(simple: &Simple) -> bool {
    if simple.depth > 0 || simple.writes_pipe || !is_client(simple.name()) {
        return false;
    }
    simple.plain().any(|text| {
        let text = text.to_lowercase();
        let fails_by_itself = text.contains("raise") || text.contains("1/") || text.contains("1 /");
        let may_find_nothing = ["where ", "count(", "exists", "max(", "min(", "having "];
        text.contains("select")
            && !fails_by_itself
            && may_find_nothing.iter().any(|part| text.contains(part))
    })
}

/// Whether a command is a test that something exists, and no more.
fn asks_existence(simple: &Simple) -> bool {
    match simple.name() {
        "test" | "[" | "[[" => {
            let words: Vec<_> =
                simple.arguments().iter().map(|word| word.text.as_deref()).collect();
            let words = match words.as_slice() {
                [words @ .., Some("]" | "]]")] => words,
                words => words,
            };
            matches!(words, [Some("-e" | "-d" | "-f"), _])
        }
        "ls" | "stat" => {
            simple.redirections.iter().any(|one| one.operand.text.as_deref() == Some("/dev/null"))
        }
        _ => false,
    }
}

/// Whether what is asked for is a mark that the action sets as its last act.
fn marks_its_end(step: &Step, asks: &Simple) -> bool {
    let Some(action) = Script::of_action(step) else {
        return false;
    };
    let last = action.simples.last();
    let asked = asks.plain().find(|text| !matches!(*text, "-e" | "-f" | "-d"));
    let sets = |simple: &Simple, path: &str| {
        let written =
            simple.redirections.iter().any(|one| one.operand.text.as_deref() == Some(path));
        written || (simple.name() == "touch" && simple.plain().any(|text| text == path))
    };
    matches!((last, asked), (Some(last), Some(path)) if sets(last, path))
}
