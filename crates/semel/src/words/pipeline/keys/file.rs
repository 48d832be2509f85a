//! The keys of the file itself.

use super::call::{CALL, calls};
use super::http::{HTTP, http};
use super::step::STEP;
use super::{Key, Read, SHELL_SHAPE, Shape, command, fill, one_of, shell, texts, wants_name};
use crate::words::pipeline::Durability;
use crate::words::pipeline::draft::{
    DatabaseDraft, HookDraft, ParamDraft, PipelineDraft, StepDraft,
};
use crate::words::pipeline::value::{Value, all};

pub(super) const PIPELINE: &[Key<PipelineDraft>] = &[
    Key {
        name: "name",
        about: "the pipeline's name; receipts are kept by it",
        shape: Shape::Text,
        read: |pipeline, value| {
            pipeline.name = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "about",
        about: "a sentence for people",
        shape: Shape::Text,
        read: |pipeline, value| {
            pipeline.about = Some(value.filled_text()?.what);
            Ok(())
        },
    },
    Key {
        name: "params",
        about: "parameters: a value each, changed by `-p name=value`, or a table",
        shape: Shape::Named(&Shape::Either(&[Shape::Scalar, Shape::Table(&PARAM)])),
        read: |pipeline, value| {
            pipeline.params = all(value.table()?.entries().into_iter().map(|entry| {
                wants_name(entry.name, &entry.name_span)?;
                let mut param = ParamDraft {
                    name: entry.name.to_owned(),
                    span: entry.value.span(),
                    ..ParamDraft::default()
                };
                match entry.value.as_table() {
                    Some(table) => fill(&table, PARAM, &mut param, "a parameter")?,
                    None => param.value = Some(entry.value.scalar()?),
                }
                Ok(param)
            }))?;
            Ok(())
        },
    },
    Key {
        name: "per",
        about: "the parameters whose values are instances: each has receipts of its own",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |pipeline, value| {
            pipeline.per = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "jobs",
        about: "how many tasks at a time; by default one for each processor",
        shape: Shape::Whole(1, 100_000),
        read: |pipeline, value| {
            pipeline.jobs = Some(value.jobs()?);
            Ok(())
        },
    },
    Key {
        name: "order",
        about: "`file`: each step comes after the one above it; by default the order is that of `needs` and `after`",
        shape: Shape::Word(&["file", "needs"]),
        read: |pipeline, value| {
            pipeline.by_file = match value.text()? {
                "file" => true,
                "needs" => false,
                _ => return one_of(value, &["file", "needs"]),
            };
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "the limit of a run: what is at work then is ended, and the run has failed",
        shape: Shape::Time,
        read: |pipeline, value| {
            pipeline.timeout = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "durability",
        about: "`process`: faster, but a power cut may cost what was done last, never that of a `once` step; by default `power`",
        shape: Shape::Word(&["power", "process"]),
        read: |pipeline, value| {
            pipeline.durability = match value.text()? {
                "power" => Durability::Power,
                "process" => Durability::Process,
                _ => return one_of(value, &["power", "process"]),
            };
            Ok(())
        },
    },
    Key {
        name: "shell",
        about: "the shell that texts of commands are given to; by default `bash -euo pipefail -c`",
        shape: SHELL_SHAPE,
        read: |pipeline, value| {
            pipeline.shell = Some(shell(value)?);
            Ok(())
        },
    },
    Key {
        name: "prelude",
        about: "a line before every text for the shell: `module load samtools`",
        shape: Shape::Text,
        read: |pipeline, value| {
            pipeline.prelude = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "was",
        about: "names that the pipeline had before; what is kept under them serves it",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |pipeline, value| {
            pipeline.was = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "fresh-memory",
        about: "`refuse`: a run makes no new memory while there are `once` steps; `semel init` does",
        shape: Shape::Word(&["refuse"]),
        read: |pipeline, value| {
            if value.text()? != "refuse" {
                return one_of(value, &["refuse"]);
            }
            pipeline.refuses_fresh_memory = true;
            Ok(())
        },
    },
    Key {
        name: "db",
        about: "databases, each a name and where it is: `sqlite:PATH`, `postgres://HOST/DATABASE`, `mysql://HOST/DATABASE`; who logs in, and how, is said by the variables and files of their own clients",
        shape: Shape::Named(&Shape::Text),
        read: |pipeline, value| {
            pipeline.databases = all(value.table()?.entries().into_iter().map(|entry| {
                wants_name(entry.name, &entry.name_span)?;
                let url = entry.value.filled_template()?;
                Ok(DatabaseDraft { name: entry.name.to_owned(), url })
            }))?;
            Ok(())
        },
    },
    Key {
        name: "step",
        about: "the steps, each a table `[step.NAME]`",
        shape: Shape::Named(&Shape::Table(&STEP)),
        read: |pipeline, value| {
            let mut faults = Vec::new();
            for entry in value.table()?.entries() {
                let mut step = StepDraft {
                    name: entry.name.to_owned(),
                    span: entry.name_span.clone(),
                    ..StepDraft::default()
                };
                let read = wants_name(entry.name, &entry.name_span)
                    .and_then(|()| fill(&entry.value.table()?, STEP, &mut step, "a step"));
                step.is_whole = read.is_ok();
                faults.extend(read.err().unwrap_or_default());
                pipeline.steps.push(step);
            }
            if faults.is_empty() { Ok(()) } else { Err(faults) }
        },
    },
    Key {
        name: "call",
        about: "what is said of HTTP calls that go through the call journal, each rule a table `[[call]]`",
        shape: Shape::ListOf(&Shape::Table(&CALL)),
        read: |pipeline, value| {
            pipeline.calls = calls(value)?;
            Ok(())
        },
    },
    Key {
        name: "finally",
        about: "a command at the end of every run in which a task was begun; one that a killed run owes is run first by the next",
        shape: Shape::Table(&FINALLY),
        read: |pipeline, value| {
            pipeline.finally = Some(hook(value, FINALLY, "`finally`")?);
            Ok(())
        },
    },
    Key {
        name: "on-failure",
        about: "a command or a call after a run that did not bring every step to its state",
        shape: Shape::Table(&HOOK),
        read: |pipeline, value| {
            pipeline.on_failure = Some(hook(value, HOOK, "`on-failure`")?);
            Ok(())
        },
    },
    Key {
        name: "on-success",
        about: "a command or a call after a run of the whole pipeline in which a task was begun and every step reached its state",
        shape: Shape::Table(&HOOK),
        read: |pipeline, value| {
            pipeline.on_success = Some(hook(value, HOOK, "`on-success`")?);
            Ok(())
        },
    },
];

/// The keys of a parameter as a table.
pub(super) const PARAM: &[Key<ParamDraft>] = &[
    Key {
        name: "value",
        about: "its value, unless `-p` gives another",
        shape: Shape::Scalar,
        read: |param, value| {
            param.value = Some(value.scalar()?);
            Ok(())
        },
    },
    Key {
        name: "required",
        about: "`true`: it has no value unless `-p` gives one",
        shape: Shape::Flag,
        read: |param, value| {
            param.required = value.flag()?;
            Ok(())
        },
    },
    Key {
        name: "command",
        about: "a command that prints the value, asked once a run",
        shape: Shape::Command,
        read: |param, value| {
            param.command = Some(command(value)?);
            Ok(())
        },
    },
    Key {
        name: "about",
        about: "a sentence for people",
        shape: Shape::Text,
        read: |param, value| {
            param.about = Some(value.filled_text()?.what);
            Ok(())
        },
    },
];

const RUN: Key<HookDraft> = Key {
    name: "run",
    about: "the command; it gets the run's summary as JSON on its standard input",
    shape: Shape::Command,
    read: |hook, value| {
        hook.command = Some(command(value)?);
        Ok(())
    },
};

const TIMEOUT: Key<HookDraft> = Key {
    name: "timeout",
    about: "its limit; by default a minute",
    shape: Shape::Time,
    read: |hook, value| {
        hook.timeout = Some(value.limit()?);
        Ok(())
    },
};

/// The keys of what is run at the end of every run.
pub(super) const FINALLY: &[Key<HookDraft>] = &[RUN, TIMEOUT];

/// The keys of what is done when a run has failed, or reached its state.
pub(super) const HOOK: &[Key<HookDraft>] = &[
    RUN,
    Key {
        name: "http",
        about: "a call instead; it sends the run's summary as JSON, unless it says what to send",
        shape: Shape::Table(&HTTP),
        read: |hook, value| {
            hook.http = Some(http(value)?);
            Ok(())
        },
    },
    TIMEOUT,
];

fn hook(value: &Value<'_>, keys: &[Key<HookDraft>], of: &str) -> Read<HookDraft> {
    let mut hook = HookDraft { span: value.span(), ..HookDraft::default() };
    fill(&value.table()?, keys, &mut hook, of)?;
    Ok(hook)
}
