//! The keys of a pipeline file, each one entry in a table.
//!
//! An entry has the key's name, a sentence for people, and how its value is
//! read into a draft. What a value means beside other values is for
//! [`super::rules`].

use std::num::NonZeroUsize;
use std::time::Duration;

use super::value::{Placed, Read, Table, Value, Written, all};
use super::{Expect, Fault, Param, Retry, Same, Span};
use crate::words::nearest;

/// A key of a table.
pub(super) struct Key<D: 'static> {
    pub(super) name: &'static str,
    /// What it is for: shown with an unknown key, and in the reference.
    pub(super) about: &'static str,
    pub(super) read: fn(&mut D, &Value<'_>) -> Read<()>,
}

/// What a pipeline file says, before names are resolved.
#[derive(Default)]
pub(super) struct PipelineDraft {
    pub(super) name: Option<Placed<String>>,
    pub(super) per: Vec<Placed<String>>,
    pub(super) params: Vec<Param>,
    pub(super) jobs: Option<NonZeroUsize>,
    pub(super) shell: Option<Vec<String>>,
    pub(super) steps: Vec<StepDraft>,
    pub(super) was: Vec<Placed<String>>,
    pub(super) refuses_fresh_memory: bool,
}

/// What the file says of a step, before names are resolved.
#[derive(Default)]
pub(super) struct StepDraft {
    pub(super) name: String,
    pub(super) span: Span,
    /// Whether all of it could be read; if not, what is missing may only be
    /// what was misspelt.
    pub(super) is_whole: bool,
    pub(super) per: Option<Vec<Placed<String>>>,
    pub(super) each: Option<EachDraft>,
    pub(super) inputs: Vec<InputDraft>,
    pub(super) outs: Vec<OutDraft>,
    pub(super) actions: Vec<Placed<CommandDraft>>,
    pub(super) needs: Vec<Placed<String>>,
    pub(super) after: Vec<Placed<String>>,
    pub(super) check: Option<CheckDraft>,
    pub(super) once: bool,
    pub(super) once_span: Span,
    pub(super) safe_exits: Option<Placed<Vec<i32>>>,
    pub(super) expect: Option<Expect>,
    pub(super) version: Option<String>,
    pub(super) same: Option<Placed<Same>>,
    pub(super) env: Vec<(String, Written)>,
    pub(super) env_counts: Vec<String>,
    pub(super) retry: Option<Retry>,
    pub(super) timeout: Option<Duration>,
    pub(super) jobs: Option<NonZeroUsize>,
    pub(super) was: Vec<Placed<String>>,
}

#[derive(Default)]
pub(super) struct EachDraft {
    pub(super) sources: Vec<Placed<EachSourceDraft>>,
    pub(super) span: Span,
    pub(super) may_be_empty: bool,
    pub(super) may_shrink: bool,
}

pub(super) enum EachSourceDraft {
    Files(Written),
    Lines(Written),
    OutputsOf(Placed<String>),
}

pub(super) struct InputDraft {
    pub(super) key: Option<String>,
    pub(super) source: InputSourceDraft,
    pub(super) span: Span,
}

pub(super) enum InputSourceDraft {
    Files(Written),
    OutputsOf(Placed<String>),
}

pub(super) struct OutDraft {
    pub(super) key: Option<String>,
    pub(super) path: Written,
}

pub(super) enum CommandDraft {
    Shell(Written),
    Words(Vec<Written>),
}

impl CommandDraft {
    pub(super) fn texts(&self) -> &[Written] {
        match self {
            Self::Shell(text) => std::slice::from_ref(text),
            Self::Words(words) => words,
        }
    }
}

#[derive(Default)]
pub(super) struct CheckDraft {
    pub(super) command: Option<CommandDraft>,
    pub(super) equals: Option<Written>,
    pub(super) span: Span,
}

/// The keys of the file itself.
pub(super) const PIPELINE: &[Key<PipelineDraft>] = &[
    Key {
        name: "name",
        about: "the pipeline's name; receipts are kept by it",
        read: |pipeline, value| {
            pipeline.name = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "params",
        about: "parameters with their values, changed by `-p name=value`",
        read: |pipeline, value| {
            pipeline.params = all(value.table()?.entries().into_iter().map(|entry| {
                is_name(entry.name, &entry.name_span)?;
                Ok(Param { name: entry.name.to_owned(), value: entry.value.scalar()? })
            }))?;
            Ok(())
        },
    },
    Key {
        name: "per",
        about: "the parameters whose values are instances: each has receipts of its own",
        read: |pipeline, value| {
            pipeline.per = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "jobs",
        about: "how many tasks at a time",
        read: |pipeline, value| {
            pipeline.jobs = Some(value.jobs()?);
            Ok(())
        },
    },
    Key {
        name: "shell",
        about: "the shell that texts of `run` and `check` are given to",
        read: |pipeline, value| {
            pipeline.shell = Some(shell(value)?);
            Ok(())
        },
    },
    Key {
        name: "step",
        about: "the steps, each a table `[step.NAME]`",
        read: |pipeline, value| {
            let mut faults = Vec::new();
            for entry in value.table()?.entries() {
                let mut step = StepDraft {
                    name: entry.name.to_owned(),
                    span: entry.name_span.clone(),
                    ..StepDraft::default()
                };
                let read = is_name(entry.name, &entry.name_span)
                    .and_then(|()| fill(&entry.value.table()?, STEP, &mut step, "a step"));
                step.is_whole = read.is_ok();
                faults.extend(read.err().unwrap_or_default());
                pipeline.steps.push(step);
            }
            if faults.is_empty() { Ok(()) } else { Err(faults) }
        },
    },
    Key {
        name: "was",
        about: "names that the pipeline had before; what is kept under them serves it",
        read: |pipeline, value| {
            pipeline.was = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "fresh-memory",
        about: "`refuse`: a run makes no new memory while there are `once` steps; `semel init` does",
        read: |pipeline, value| {
            if value.text()? != "refuse" {
                return one_of(value, &["refuse"]);
            }
            pipeline.refuses_fresh_memory = true;
            Ok(())
        },
    },
];

/// The keys of a step.
pub(super) const STEP: &[Key<StepDraft>] = &[
    Key {
        name: "run",
        about: "the command: a text for the shell, or a list of words without one",
        read: |step, value| {
            step.actions.push(Placed { what: command(value)?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "each",
        about: "what the step fans out over: a pattern of files, or a table",
        read: |step, value| {
            let mut each = EachDraft { span: value.span(), ..EachDraft::default() };
            if value.is_text() {
                each.sources.push(Placed {
                    what: EachSourceDraft::Files(value.filled_template()?),
                    span: value.span(),
                });
            } else {
                fill(&value.table()?, EACH, &mut each, "`each`")?;
            }
            step.each = Some(each);
            Ok(())
        },
    },
    Key {
        name: "in",
        about: "files that the command reads beside its item: patterns, or `{ outputs-of = STEP }`",
        read: |step, value| {
            step.inputs = inputs(value)?;
            Ok(())
        },
    },
    Key {
        name: "out",
        about: "what the command writes: a path, a list, or a table of names; a trailing `/` is a folder",
        read: |step, value| {
            step.outs = match value.as_table() {
                Some(table) => all(table.entries().into_iter().map(|entry| {
                    is_name(entry.name, &entry.name_span)?;
                    Ok(OutDraft {
                        key: Some(entry.name.to_owned()),
                        path: entry.value.filled_template()?,
                    })
                }))?,
                None => all(value
                    .one_or_more()
                    .iter()
                    .map(|value| Ok(OutDraft { key: None, path: value.filled_template()? })))?,
            };
            Ok(())
        },
    },
    Key {
        name: "needs",
        about: "steps that come before, and whose effects count",
        read: |step, value| {
            step.needs = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "after",
        about: "steps that come before",
        read: |step, value| {
            step.after = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "check",
        about: "a probe of the real world, answered within 30 s: a command (0 holds, 1 does not), or `{ run, equals }`",
        read: |step, value| {
            let mut check = CheckDraft { span: value.span(), ..CheckDraft::default() };
            match value.as_table() {
                Some(table) => fill(&table, CHECK, &mut check, "`check`")?,
                None => check.command = Some(command(value)?),
            }
            step.check = Some(check);
            Ok(())
        },
    },
    Key {
        name: "once",
        about: "unsafe to repeat: never done again without a human's word",
        read: |step, value| {
            step.once = value.flag()?;
            step.once_span = value.span();
            Ok(())
        },
    },
    Key {
        name: "safe-exits",
        about: "exit statuses by which a `once` command promises that it did nothing",
        read: |step, value| {
            let statuses = all(value.one_or_more().iter().map(|value| {
                let status = value.whole_within(1, 255, "exit statuses from 1 to 255")?;
                Ok(i32::try_from(status).unwrap_or(i32::MAX))
            }))?;
            step.safe_exits = Some(Placed { what: statuses, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "expect",
        about: "what a good output looks like when it is made: `rows`, `bytes`, `same-rows-as`",
        read: |step, value| {
            let mut expect = Expect { span: value.span(), ..Expect::default() };
            fill(&value.table()?, EXPECT, &mut expect, "`expect`")?;
            step.expect = Some(expect);
            Ok(())
        },
    },
    Key {
        name: "version",
        about: "a text that counts: change it to make the step run again",
        read: |step, value| {
            step.version = Some(value.scalar()?);
            Ok(())
        },
    },
    Key {
        name: "same",
        about: "what two files of equal content are: one piece of work (`content`) or two (`name+content`)",
        read: |step, value| {
            let same = match value.text()? {
                "content" => Same::Content,
                "name+content" => Same::NameAndContent,
                _ => return one_of(value, &["content", "name+content"]),
            };
            step.same = Some(Placed { what: same, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "per",
        about: "the parameters whose values are the step's instances; by default the pipeline's",
        read: |step, value| {
            step.per = Some(texts(value)?);
            Ok(())
        },
    },
    Key {
        name: "env",
        about: "variables that are set for the command, and count",
        read: |step, value| {
            step.env = all(value.table()?.entries().into_iter().map(|entry| {
                is_variable(entry.name, &entry.name_span)?;
                Ok((entry.name.to_owned(), entry.value.template()?))
            }))?;
            Ok(())
        },
    },
    Key {
        name: "env-counts",
        about: "variables of the environment that count",
        read: |step, value| {
            step.env_counts = all(value.one_or_more().iter().map(|value| {
                let name = value.filled_text()?;
                is_variable(&name.what, &name.span)?;
                Ok(name.what)
            }))?;
            Ok(())
        },
    },
    Key {
        name: "retry",
        about: "how many further attempts follow a failed one, or `{ times, wait, up-to }`",
        read: |step, value| {
            let mut retry = Retry::default();
            match value.as_table() {
                Some(table) => {
                    fill(&table, RETRY, &mut retry, "`retry`")?;
                    if table.get("up-to").is_none() {
                        retry.up_to = retry.up_to.max(retry.wait);
                    }
                }
                None => retry.times = times(value)?,
            }
            step.retry = Some(retry);
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "the limit of an attempt",
        read: |step, value| {
            step.timeout = Some(value.duration()?);
            Ok(())
        },
    },
    Key {
        name: "jobs",
        about: "how many tasks of this step at a time",
        read: |step, value| {
            step.jobs = Some(value.jobs()?);
            Ok(())
        },
    },
    Key {
        name: "was",
        about: "names that the step had before; what is kept under them serves it",
        read: |step, value| {
            step.was = texts(value)?;
            Ok(())
        },
    },
];

/// The keys of `each` as a table.
const EACH: &[Key<EachDraft>] = &[
    Key {
        name: "files",
        about: "the files that match a pattern",
        read: |each, value| {
            each.sources.push(Placed {
                what: EachSourceDraft::Files(value.filled_template()?),
                span: value.span(),
            });
            Ok(())
        },
    },
    Key {
        name: "lines",
        about: "the lines of a file",
        read: |each, value| {
            each.sources.push(Placed {
                what: EachSourceDraft::Lines(value.filled_template()?),
                span: value.span(),
            });
            Ok(())
        },
    },
    Key {
        name: "outputs-of",
        about: "the outputs of another step's tasks",
        read: |each, value| {
            each.sources.push(Placed {
                what: EachSourceDraft::OutputsOf(value.filled_text()?),
                span: value.span(),
            });
            Ok(())
        },
    },
    Key {
        name: "empty",
        about: "`ok`: a list without items is no error",
        read: |each, value| {
            each.may_be_empty = ok(value)?;
            Ok(())
        },
    },
    Key {
        name: "shrink",
        about: "`ok`: a list that lost more than half of its items is no error",
        read: |each, value| {
            each.may_shrink = ok(value)?;
            Ok(())
        },
    },
];

/// The keys of `check` as a table.
const CHECK: &[Key<CheckDraft>] = &[
    Key {
        name: "run",
        about: "the command that is asked",
        read: |check, value| {
            check.command = Some(command(value)?);
            Ok(())
        },
    },
    Key {
        name: "equals",
        about: "what it must print, but for white space at the end",
        read: |check, value| {
            check.equals = Some(value.template()?);
            Ok(())
        },
    },
];

/// The keys of `expect`.
const EXPECT: &[Key<Expect>] = &[
    Key {
        name: "rows",
        about: "how many records each output has",
        read: |expect, value| {
            expect.rows = Some(value.bound()?);
            Ok(())
        },
    },
    Key {
        name: "bytes",
        about: "how large each output is",
        read: |expect, value| {
            expect.bytes = Some(value.bound()?);
            Ok(())
        },
    },
    Key {
        name: "same-rows-as",
        about: "`in`: the outputs have as many records as the inputs",
        read: |expect, value| {
            if value.text()? != "in" {
                return one_of(value, &["in"]);
            }
            expect.same_rows_as_in = true;
            Ok(())
        },
    },
];

/// The keys of `retry` as a table.
const RETRY: &[Key<Retry>] = &[
    Key {
        name: "times",
        about: "how many further attempts",
        read: |retry, value| {
            retry.times = times(value)?;
            Ok(())
        },
    },
    Key {
        name: "wait",
        about: "the pause before the first of them, by default a second; each next one is twice as long",
        read: |retry, value| {
            retry.wait = value.duration()?;
            Ok(())
        },
    },
    Key {
        name: "up-to",
        about: "the longest pause; by default a minute, or `wait` if that is longer",
        read: |retry, value| {
            retry.up_to = value.duration()?;
            Ok(())
        },
    },
];

/// The keys of all tables as Markdown, as the reference shows them.
pub(super) fn reference() -> String {
    let mut text = String::new();
    section(&mut text, "The file", PIPELINE);
    section(&mut text, "A step, `[step.NAME]`", STEP);
    section(&mut text, "`each` as a table", EACH);
    section(&mut text, "An input as a table", INPUT);
    section(&mut text, "`check` as a table", CHECK);
    section(&mut text, "`expect`", EXPECT);
    section(&mut text, "`retry` as a table", RETRY);
    text
}

fn section<D>(text: &mut String, title: &str, keys: &[Key<D>]) {
    use std::fmt::Write as _;
    let gap = if text.is_empty() { "" } else { "\n" };
    write!(text, "{gap}## {title}\n\n| key | meaning |\n|---|---|\n").expect("a string takes all");
    for Key { name, about, .. } in keys {
        writeln!(text, "| `{name}` | {about} |").expect("a string takes all");
    }
}

/// Reads a table into a draft, key by key; all faults are reported at once.
pub(super) fn fill<D>(table: &Table<'_>, keys: &[Key<D>], draft: &mut D, of: &str) -> Read<()> {
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

/// Names of steps and parameters: they stand in names of tasks and in
/// placeholders.
fn is_name(name: &str, span: &Span) -> Read<()> {
    let good = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(good) {
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

fn times(value: &Value<'_>) -> Read<u32> {
    let times = value.whole_within(
        0,
        1000,
        "a whole number from 0 to 1000, or `{ times, wait, up-to }`",
    )?;
    Ok(u32::try_from(times).unwrap_or_default())
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

fn inputs(value: &Value<'_>) -> Read<Vec<InputDraft>> {
    let keyed = value.as_table().filter(|table| table.get("outputs-of").is_none());
    let lists = match keyed {
        Some(table) => all(table.entries().into_iter().map(|entry| {
            is_name(entry.name, &entry.name_span)?;
            input_list(Some(entry.name), &entry.value)
        }))?,
        None => vec![input_list(None, value)?],
    };
    Ok(lists.into_iter().flatten().collect())
}

fn input_list(key: Option<&str>, value: &Value<'_>) -> Read<Vec<InputDraft>> {
    all(value.one_or_more().iter().map(|value| {
        let source = match value.as_table() {
            Some(table) => {
                let mut step = None;
                fill(&table, INPUT, &mut step, "an input")?;
                match step {
                    Some(step) => InputSourceDraft::OutputsOf(step),
                    None => {
                        return Err(vec![
                            value.fault("an input without files", "say `outputs-of`"),
                        ]);
                    }
                }
            }
            None => InputSourceDraft::Files(value.filled_template()?),
        };
        Ok(InputDraft { key: key.map(str::to_owned), source, span: value.span() })
    }))
}

/// The keys of an input as a table.
const INPUT: &[Key<Option<Placed<String>>>] = &[Key {
    name: "outputs-of",
    about: "the outputs of all tasks of a step",
    read: |step, value| {
        *step = Some(value.filled_text()?);
        Ok(())
    },
}];

/// Shells that quote as POSIX says.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "busybox"];

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
