//! What looks unsafe in a pipeline file that is without faults.
//!
//! A warning is right nearly always, and says which line to add; where a choice
//! may well be meant, it is a note. Nothing is run and nothing is looked at but
//! the text: what only the world can tell is for `semel prove`.
//!
//! Invariant: every warning has one of the names in [`KINDS`], and a step is not
//! warned of twice where one line would mend both.

mod again;
mod checks;
pub(super) mod chosen;
mod files;
pub(super) mod known;
mod names;
mod pipes;
mod programs;
mod script;

use crate::words::pipeline::{Fault, Pipeline, Places, Span, Step, StepId};
use script::Script;

/// A kind of warning.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The name by which it is looked up.
    pub name: &'static str,
    /// What is wrong, and what comes of it.
    pub about: &'static str,
    /// What to do.
    pub cure: &'static str,
}

/// How sure a warning is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// This is wrong nearly always.
    Warning,
    /// This may be meant; it is said once, with what it gives up.
    Note,
}

impl Level {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that looks unsafe.
#[derive(Clone, Debug)]
pub struct Warning {
    /// What kind of thing.
    pub kind: &'static Kind,
    /// How sure that is.
    pub level: Level,
    /// The step that it is about; `None` for the whole file.
    pub step: Option<StepId>,
    /// What, where, and what to write instead.
    pub fault: Fault,
}

const NEVER_AGAIN: Kind = Kind {
    name: "never-again",
    about: "nothing could ever make the step run again: it names no item, no input, nothing that counts; what it reads may change, and it is skipped for ever",
    cure: "`max-age = \"20h\"` if it reads the outside world, `in` if it reads files, `needs` instead of `after` if it reads what a step leaves",
};
const SHOWS_NOTHING: Kind = Kind {
    name: "shows-nothing",
    about: "an ordinary step leaves nothing that can be looked at: run again after an interruption, it may do it twice",
    cure: "`out` if it writes files, `check` if its effect can be asked for, `once = true` if it must not happen twice",
};
const APPENDS: Kind = Kind {
    name: "appends",
    about: "the command appends to a file that is no output: a repeat appends again",
    cure: "`out`, and write the whole of it to `{{ out }}`",
};
const APPENDS_ROWS: Kind = Kind {
    name: "appends-rows",
    about: "the load appends, and nothing finds the rows of an item again: a new version of the item is refused until a human settles it",
    cure: "`tag = \"COLUMN\"`, a column that semel fills, or `replace-where = \"…\"`",
};
const UNSEEN_OUTPUT: Kind = Kind {
    name: "unseen-output",
    about: "the command writes a file that is no output: a crash leaves half of it, and semel does not see when it is gone",
    cure: "`out`, and `> {{ out }}`",
};
const PRINTS_NAMES: Kind = Kind {
    name: "prints-names",
    about: "the command puts the name of its item into its output, but items count by their content: two files of equal content share one output, with one of the names",
    cure: "a command that does not see the name (`wc -l < {{ item }}`, `gzip -n`), or `same = \"name+content\"`",
};
const STALE_READ: Kind = Kind {
    name: "stale-read",
    about: "the command reads what another step makes, but that does not count for it: it is skipped when the other makes something new",
    cure: "`in = { outputs-of = \"…\" }`",
};
const UNSEEN_PROGRAM: Kind = Kind {
    name: "unseen-program",
    about: "a change of the program is not seen: it is named through a variable, lies outside the pipeline's folder, or is built from sources that are not named",
    cure: "name the file as it is, or its sources in `in`",
};
const DIFFERS_EACH_TIME: Kind = Kind {
    name: "differs-each-time",
    about: "the command makes something else each time, and other steps read it: an output that was altered would be made anew, as something else",
    cure: "`deterministic = false`",
};
const STOPS_EARLY: Kind = Kind {
    name: "stops-early",
    about: "a reader that stops early ends the pipe before it with status 141, and under `pipefail` that fails the step",
    cure: "`|| [ $? = 141 ]`, `shell = \"bash -eu -c\"`, or a reader that reads to the end (`sed -n 1p`)",
};
const CHECK_HIDES_ERRORS: Kind = Kind {
    name: "check-hides-errors",
    about: "an error inside the check becomes a no: a database out of reach reads as \"not there\", and the step runs",
    cure: "`check = { run = '…', equals = \"…\" }`: another text is a no, an error stays one",
};
const CHECK_ALWAYS_HOLDS: Kind = Kind {
    name: "check-always-holds",
    about: "the client exits 0 whether or not it finds a row: the check holds always",
    cure: "`check = { run = '…', equals = \"…\" }`",
};
const CHECK_CLAIMS: Kind = Kind {
    name: "check-claims",
    about: "that something exists proves nothing: half of a folder passes",
    cure: "`out`, or `check = { file = \"…\", sha256 = \"…\" }`, or ask for what is written last",
};
const CHECK_NAMES_NO_ITEM: Kind = Kind {
    name: "check-names-no-item",
    about: "the query of a check is the same for every item: once it holds, a new item is taken for done",
    cure: "name the item in it: `{{ item }}`, `{{ item.stem }}`; a load needs no check, its stamp tells",
};
const ONCE_BLIND: Kind = Kind {
    name: "once-blind",
    about: "a `once` step that nothing can be asked about: when it is cut short semel must refuse, and a human must look",
    cure: "`check = { run = '…', equals = \"…\" }`",
};
const RETRY_ONCE: Kind = Kind {
    name: "retry-once",
    about: "`retry` on a `once` step works only where the step provably did not happen, and nothing here can prove that",
    cure: "`safe-exits`, or a `check`",
};
const KEPT_SECRET: Kind = Kind {
    name: "kept-secret",
    about: "a value that looks like a secret counts: it is kept in the manifest and shown",
    cure: "`secret-env`",
};
const NO_BACKUP: Kind = Kind {
    name: "no-backup",
    about: "`in-place = \"no-backup\"` gives up the last good output: after a failure only `cleanup` undoes what was half done",
    cure: "`in-place = true` if the output can be copied",
};
const DURABILITY: Kind = Kind {
    name: "durability-process",
    about: "`durability = \"process\"` gives up power cuts: one may cost what was done last, which is then done again; never what is done once",
    cure: "take it away where outputs cannot be made again",
};
const DIGEST_STAT: Kind = Kind {
    name: "digest-stat",
    about: "`digest = \"stat\"` gives up content: a change that keeps size and time is not seen, and a copy or a fresh clone counts as new",
    cure: "take it away where the files can be read",
};

/// All kinds, in the order of the docs.
pub const KINDS: [&Kind; 20] = [
    &NEVER_AGAIN,
    &SHOWS_NOTHING,
    &APPENDS,
    &APPENDS_ROWS,
    &UNSEEN_OUTPUT,
    &PRINTS_NAMES,
    &STALE_READ,
    &UNSEEN_PROGRAM,
    &DIFFERS_EACH_TIME,
    &STOPS_EARLY,
    &CHECK_HIDES_ERRORS,
    &CHECK_ALWAYS_HOLDS,
    &CHECK_CLAIMS,
    &CHECK_NAMES_NO_ITEM,
    &ONCE_BLIND,
    &RETRY_ONCE,
    &KEPT_SECRET,
    &NO_BACKUP,
    &DURABILITY,
    &DIGEST_STAT,
];

/// All kinds as Markdown, as the reference shows them.
#[must_use]
pub fn table() -> String {
    let mut text = String::from("| name | what it means | what to write |\n|---|---|---|\n");
    for Kind { name, about, cure } in KINDS {
        let cure = cure.replace('|', "\\|"); // a bar would end the cell
        text += &format!("| `{name}` | {about} | {cure} |\n");
    }
    text
}

/// All that looks unsafe in a pipeline, in the order of its file; `text` is that
/// file.
///
/// ```
/// use semel::{thought::lint::lint, words::pipeline::Pipeline};
/// let text = "name = 'x'\n[step.fetch]\nout = 'a'\nrun = 'curl -fsSo {{ out }} https://example.com'";
/// let found = lint(&Pipeline::read(text).unwrap(), text);
/// assert_eq!(found[0].kind.name, "never-again");
/// assert_eq!(&text[found[0].fault.span.clone()], "curl");
/// ```
#[must_use]
pub fn lint(pipeline: &Pipeline, text: &str) -> Vec<Warning> {
    let mut linter = Linter { pipeline, places: Places::of(text), found: Vec::new() };
    linter.file();
    for (id, step) in pipeline.ids() {
        linter.step(id, step);
    }
    linter.found.sort_by_key(|warning| warning.fault.span.start);
    linter.found
}

struct Linter<'a> {
    pipeline: &'a Pipeline,
    places: Places<'a>,
    found: Vec<Warning>,
}

/// A step with its command, read.
#[derive(Clone, Copy)]
struct Subject<'a, 's> {
    id: StepId,
    step: &'a Step,
    action: &'s Script<'a>,
}

impl<'a> Linter<'a> {
    fn file(&mut self) {
        self.durability();
        for param in &self.pipeline.params {
            self.secret_param(param);
            if let Some(script) = Script::of_param(param) {
                self.stops_early(None, &param.span, &script);
            }
        }
        for (script, span) in Script::of_hooks(self.pipeline) {
            self.stops_early(None, span, &script);
        }
    }

    fn step(&mut self, id: StepId, step: &'a Step) {
        self.chosen(id, step);
        self.secret_variables(id, step);
        for script in Script::beside_action(step) {
            self.stops_early(Some(id), &step.span, &script);
        }
        let check = Script::of_check(step, &self.places);
        if let Some(check) = &check {
            self.check(id, step, check);
            self.secret_words(id, step, check);
            self.stops_early(Some(id), &step.span, check);
        }
        let Some(action) = Script::of_action(step) else {
            return;
        };
        let subject = Subject { id, step, action: &action };
        self.stops_early(Some(id), &step.span, &action);
        self.secret_words(id, step, &action);
        self.prints_names(subject);
        self.differs_each_time(subject);
        let reads_stale = self.stale_read(subject);
        if step.once {
            return;
        }
        // What must not be sent twice must not be written twice either.
        if action.simples.iter().any(known::sends) && self.shows_nothing(subject) {
            return;
        }
        let writes_unseen = self.unseen_files(subject);
        let program_unseen = self.unseen_program(subject);
        if !writes_unseen && self.shows_nothing(subject) {
            return;
        }
        if !reads_stale && !program_unseen {
            self.never_again(subject);
        }
    }

    fn say(&mut self, kind: &'static Kind, level: Level, step: Option<StepId>, fault: Fault) {
        self.found.push(Warning { kind, level, step, fault });
    }

    fn warn(&mut self, kind: &'static Kind, id: StepId, fault: Fault) {
        self.say(kind, Level::Warning, Some(id), fault);
    }

    fn note(&mut self, kind: &'static Kind, id: StepId, fault: Fault) {
        self.say(kind, Level::Note, Some(id), fault);
    }

    /// Where a value of a step stands; the step's name if the file does not say.
    fn value_of(&self, step: &Step, key: &str) -> Span {
        let span = self.places.value(&["step", &step.name, key]);
        span.unwrap_or_else(|| step.span.clone())
    }

    /// Where a part of a command stands.
    fn place(&self, script: &Script<'_>, range: &Span, or: &Span) -> Span {
        let path: Vec<_> = script.path.iter().map(String::as_str).collect();
        let span = match script.text() {
            Some(text) => self.places.part(&path, text, range),
            None => self.places.value(&path),
        };
        span.unwrap_or_else(|| or.clone())
    }
}

#[cfg(test)]
mod tests;
