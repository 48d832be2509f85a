//! The keys of a pipeline file, each one entry in a table.
//!
//! An entry has the key's name, a sentence for people, the shape of its value
//! for editors, and how the value is read into a draft. What a value means
//! beside other values is for [`super::rules`].
//!
//! Invariant: the parser, the reference in the docs and the schema for editors
//! are made from these tables and from nothing else.

mod call;
mod check;
mod database;
mod each;
mod file;
mod http;
mod schema;
mod step;

use super::draft::{CommandDraft, PipelineDraft};
use super::value::{Placed, Read, Table, Value, all};
use super::{Fault, Retry, Span};
use crate::words::nearest;

/// A key of a table.
pub(super) struct Key<D: 'static> {
    pub(super) name: &'static str,
    /// What it is for: shown with an unknown key, in the reference, in editors.
    pub(super) about: &'static str,
    pub(super) shape: Shape,
    pub(super) read: fn(&mut D, &Value<'_>) -> Read<()>,
}

/// What a value looks like, for editors.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Text,
    Flag,
    /// A text, a number, a flag or a date.
    Scalar,
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// A length of time: `90s`.
    Time,
    /// A condition on a number: `>= 1`.
    Condition,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A text for the shell, or a list of words.
    Command,
    /// One of these.
    Either(&'static [Self]),
    /// One or a list of these.
    OneOrMore(&'static Self),
    /// A list of these.
    ListOf(&'static Self),
    /// Anything.
    Any,
    /// A table of names of the user's choice.
    Named(&'static Self),
    /// A table of these keys.
    Table(&'static dyn Keys),
}

/// A table of keys, whatever it is read into.
pub(super) trait Keys: Sync {
    /// Each key: its name, its sentence and its shape.
    fn keys(&self) -> Vec<(&'static str, &'static str, Shape)>;
}

impl<D: 'static> Keys for &'static [Key<D>] {
    fn keys(&self) -> Vec<(&'static str, &'static str, Shape)> {
        self.iter().map(|key| (key.name, key.about, key.shape)).collect()
    }
}

/// Reads a whole file into a draft.
pub(super) fn read(table: &Table<'_>, draft: &mut PipelineDraft) -> Read<()> {
    fill(table, file::PIPELINE, draft, "a pipeline")
}

/// Reads the rules for calls of a file into a draft, and nothing else.
pub(super) fn read_calls(table: &Table<'_>, draft: &mut PipelineDraft) -> Read<()> {
    if let Some(value) = table.get("call") {
        draft.calls = call::calls(&value)?;
    }
    Ok(())
}

/// The keys of all tables as Markdown, as the reference shows them.
pub(super) fn reference() -> String {
    let sections: [(&str, &dyn Keys); 17] = [
        ("The file", &file::PIPELINE),
        ("A parameter as a table", &file::PARAM),
        ("`[finally]`", &file::FINALLY),
        ("`[on-failure]`, `[on-success]`", &file::HOOK),
        ("A step, `[step.NAME]`", &step::STEP),
        ("`sql` as a table", &database::SQL),
        ("`load`", &database::LOAD),
        ("`http`", &http::HTTP),
        ("`each` as a table", &each::EACH),
        ("An input as a table", &each::INPUT),
        ("`check` as a table", &check::CHECK),
        ("`expect`", &step::EXPECT),
        ("`retry` as a table", &RETRY),
        ("A rule for calls, `[[call]]`", &call::CALL),
        ("`unknown` as a table", &call::UNKNOWN),
        ("`price` as a table", &call::PRICE),
        ("`budget` as a table", &call::BUDGET),
    ];
    let mut text = String::new();
    for (title, keys) in sections {
        section(&mut text, title, keys);
    }
    text
}

fn section(text: &mut String, title: &str, keys: &dyn Keys) {
    use std::fmt::Write as _;
    let gap = if text.is_empty() { "" } else { "\n" };
    write!(text, "{gap}## {title}\n\n| key | meaning |\n|---|---|\n").expect("a string takes all");
    for (name, about, _) in keys.keys() {
        writeln!(text, "| `{name}` | {about} |").expect("a string takes all");
    }
}

/// The JSON schema of a pipeline file, for editors.
pub(super) fn schema() -> serde_json::Value {
    schema::schema(&file::PIPELINE)
}

/// Reads a table into a draft, key by key; all faults are reported at once.
fn fill<D>(table: &Table<'_>, keys: &[Key<D>], draft: &mut D, of: &str) -> Read<()> {
    let mut faults = Vec::new();
    for entry in table.entries() {
        match keys.iter().find(|key| key.name == entry.name) {
            Some(key) => {
                if let Err(more) = (key.read)(draft, &entry.value) {
                    faults.extend(more);
                }
            }
            None => faults.push(unknown_key(entry.name, &entry.name_span, keys, of)),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn unknown_key<D>(name: &str, span: &Span, keys: &[Key<D>], of: &str) -> Fault {
    let title = format!("`{name}` is not a key of {of}");
    match nearest(name, keys.iter().map(|key| key.name)) {
        Some(near) => {
            let about = keys.iter().find(|key| key.name == near).map_or("", |key| key.about);
            Fault::new(title, span, format!("did you mean `{near}`?"))
                .help(format!("`{near}`: {about}"))
        }
        None => {
            let known: Vec<_> = keys.iter().map(|key| key.name).collect();
            Fault::new(title, span, "unknown").help(format!("its keys are {}", known.join(", ")))
        }
    }
}

/// The keys of `retry` as a table.
const RETRY: &[Key<Retry>] = &[
    Key {
        name: "times",
        about: "how many further attempts",
        shape: Shape::Whole(0, 1000),
        read: |retry, value| {
            retry.times = times(value)?;
            Ok(())
        },
    },
    Key {
        name: "wait",
        about: "the pause before the first of them, by default a second; each next one is twice as long",
        shape: Shape::Time,
        read: |retry, value| {
            retry.wait = value.duration()?;
            Ok(())
        },
    },
    Key {
        name: "up-to",
        about: "the longest pause; by default a minute, or `wait` if that is longer",
        shape: Shape::Time,
        read: |retry, value| {
            retry.up_to = value.duration()?;
            Ok(())
        },
    },
];

const RETRY_SHAPE: Shape = Shape::Either(&[Shape::Whole(0, 1000), Shape::Table(&RETRY)]);

fn retry(value: &Value<'_>) -> Read<Retry> {
    let mut retry = Retry::default();
    match value.as_table() {
        Some(table) => {
            fill(&table, RETRY, &mut retry, "`retry`")?;
            if table.get("times").is_none() {
                let label = "says when, and not how often";
                return Err(vec![value.fault("`retry` without `times`", label)]);
            }
            match table.get("up-to") {
                None => retry.up_to = retry.up_to.max(retry.wait),
                Some(up_to) if retry.up_to < retry.wait => {
                    let title = "`up-to` is shorter than `wait`";
                    return Err(vec![up_to.fault(title, "the first pause is longer already")]);
                }
                Some(_) => {}
            }
        }
        None => retry.times = times(value)?,
    }
    Ok(retry)
}

fn times(value: &Value<'_>) -> Read<u32> {
    let times = value.whole_within(
        0,
        1000,
        "a whole number from 0 to 1000, or `{ times, wait, up-to }`",
    )?;
    Ok(u32::try_from(times).unwrap_or_default())
}

/// Whether it can be the name of a step or a parameter.
pub(crate) fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.chars().all(good)
}

/// Names of steps and parameters: they stand in names of tasks and in
/// placeholders.
fn wants_name(name: &str, span: &Span) -> Read<()> {
    if is_name(name) {
        return Ok(());
    }
    let title = format!("`{}` cannot be a name", name.escape_default());
    Err(vec![Fault::new(title, span, "a name has letters, digits, `-` and `_` only")])
}

fn is_variable(name: &str, span: &Span) -> Read<()> {
    if !name.is_empty() && !name.contains(['=', '\0']) {
        return Ok(());
    }
    let title = format!("`{}` cannot be a variable", name.escape_default());
    Err(vec![Fault::new(title, span, "a variable's name has no `=`")])
}

fn variables(value: &Value<'_>) -> Read<Vec<Placed<String>>> {
    all(value.one_or_more().iter().map(|value| {
        let name = value.filled_text()?;
        is_variable(&name.what, &name.span)?;
        Ok(name)
    }))
}

fn texts(value: &Value<'_>) -> Read<Vec<Placed<String>>> {
    all(value.one_or_more().iter().map(Value::filled_text))
}

fn ok(value: &Value<'_>) -> Read<bool> {
    if value.text()? == "ok" { Ok(true) } else { one_of(value, &["ok"]) }
}

fn one_of<T>(value: &Value<'_>, known: &[&str]) -> Read<T> {
    let quoted: Vec<_> = known.iter().map(|word| format!("\"{word}\"")).collect();
    Err(vec![value.fault("an unknown word", format!("this can be {}", quoted.join(" or ")))])
}

fn command(value: &Value<'_>) -> Read<CommandDraft> {
    if value.is_array() {
        let words = all(value.array()?.iter().map(Value::template))?;
        if words.is_empty() {
            return Err(vec![
                value.fault("a command without words", "name the program and its arguments"),
            ]);
        }
        return Ok(CommandDraft::Words(words));
    }
    Ok(CommandDraft::Shell(value.filled_template()?))
}

/// Shells that quote as POSIX says.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "busybox"];

const SHELL_SHAPE: Shape = Shape::OneOrMore(&Shape::Text);

fn shell(value: &Value<'_>) -> Read<Vec<String>> {
    let words = if value.is_array() {
        all(value.array()?.iter().map(|word| Ok(word.filled_text()?.what)))?
    } else {
        shlex::split(value.text()?).unwrap_or_default()
    };
    let program = words.first().map(|word| word.rsplit('/').next().unwrap_or(word));
    match program {
        Some(program) if SHELLS.contains(&program) => Ok(words),
        _ => Err(vec![
            value.fault("not a shell that semel can quote for", "wants a POSIX shell and its options").help(
                "for example  shell = \"bash -eu -c\"; other interpreters go into `run` as a list of words",
            ),
        ]),
    }
}
