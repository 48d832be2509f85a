//! The keys of a step.

use super::check::{CHECK, check};
use super::database::{LOAD, SQL, load, sql};
use super::each::{EACH, INPUTS_SHAPE, each, inputs};
use super::http::{HTTP, http};
use super::{
    Key, RETRY_SHAPE, SHELL_SHAPE, Shape, command, fill, is_variable, one_of, retry, shell, texts,
    variables, wants_name,
};
use crate::words::call::Calls;
use crate::words::pipeline::draft::{ActDraft, OutDraft, StepDraft};
use crate::words::pipeline::value::{Placed, all};
use crate::words::pipeline::{Digested, Expect, InPlace, Same};

/// The keys of a step, in the order of the reference.
pub(super) const STEP: &[Key<StepDraft>] = &[
    Key {
        name: "about",
        about: "a sentence for people",
        shape: Shape::Text,
        read: |step, value| {
            step.about = Some(value.filled_text()?.what);
            Ok(())
        },
    },
    Key {
        name: "run",
        about: "the command: a text for the shell, or a list of words without one",
        shape: Shape::Command,
        read: |step, value| {
            let what = ActDraft::Command(command(value)?);
            step.actions.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "sql",
        about: "a script for a database instead, one transaction: a text, or a table",
        shape: Shape::Either(&[Shape::Text, Shape::Table(&SQL)]),
        read: |step, value| {
            let what = ActDraft::Sql(sql(value)?);
            step.actions.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "load",
        about: "a file that is copied into a table instead, one transaction",
        shape: Shape::Table(&LOAD),
        read: |step, value| {
            let what = ActDraft::Load(load(value)?);
            step.actions.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "http",
        about: "an HTTP call instead, through the call journal: none is paid for twice",
        shape: Shape::Table(&HTTP),
        read: |step, value| {
            let what = ActDraft::Http(http(value)?);
            step.actions.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "calls",
        about: "`guarded`: all HTTP calls of the command go through the call journal; `contained`: and it can reach nothing else",
        shape: Shape::Word(&["guarded", "contained"]),
        read: |step, value| {
            let calls = match value.text()? {
                "guarded" => Calls::Guarded,
                "contained" => Calls::Contained,
                _ => return one_of(value, &["guarded", "contained"]),
            };
            step.calls = Some(Placed { what: calls, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "each",
        about: "what the step fans out over: a pattern of files, or a table",
        shape: Shape::Either(&[Shape::Text, Shape::Table(&EACH)]),
        read: |step, value| {
            step.each = Some(each(value)?);
            Ok(())
        },
    },
    Key {
        name: "in",
        about: "files that the command reads beside its item: patterns, or `{ outputs-of = STEP }`",
        shape: INPUTS_SHAPE,
        read: |step, value| {
            step.inputs = inputs(value)?;
            Ok(())
        },
    },
    Key {
        name: "digest",
        about: "`stat`: files that are read count by size, time and inode instead of by their bytes; for those too large to read",
        shape: Shape::Word(&["content", "stat"]),
        read: |step, value| {
            let digest = match value.text()? {
                "content" => Digested::Content,
                "stat" => Digested::Stat,
                _ => return one_of(value, &["content", "stat"]),
            };
            step.digest = Some(Placed { what: digest, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "out",
        about: "what the command writes: a path, a list, or a table of names; a trailing `/` is a folder",
        shape: Shape::Either(&[Shape::OneOrMore(&Shape::Text), Shape::Named(&Shape::Text)]),
        read: |step, value| {
            step.outs = match value.as_table() {
                Some(table) => all(table.entries().into_iter().map(|entry| {
                    wants_name(entry.name, &entry.name_span)?;
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
        name: "in-place",
        about: "`true`: the command writes where its outputs will be; what was there is kept aside and put back after a failure. `\"no-backup\"`: it is not, and `cleanup` undoes what was half done",
        shape: Shape::Either(&[Shape::Flag, Shape::Word(&["no-backup"])]),
        read: |step, value| {
            let in_place = match value.as_text() {
                Some("no-backup") => InPlace::WithoutBackup,
                Some(_) => return one_of(value, &["no-backup"]),
                None if value.flag()? => InPlace::WithBackup,
                None => InPlace::No,
            };
            step.in_place = Some(Placed { what: in_place, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "needs",
        about: "steps that come before, and whose effects count",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.needs = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "after",
        about: "steps that come before",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.after = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "check",
        about: "a probe of the real world: a command (0 holds, 1 does not, other: cannot tell), or a table; a step may be a check alone",
        shape: Shape::Either(&[Shape::Command, Shape::Table(&CHECK)]),
        read: |step, value| {
            step.check = Some(check(value)?);
            Ok(())
        },
    },
    Key {
        name: "once",
        about: "unsafe to repeat: never done again without a human's word",
        shape: Shape::Flag,
        read: |step, value| {
            step.once = value.flag()?;
            step.once_span = value.span();
            Ok(())
        },
    },
    Key {
        name: "safe-exits",
        about: "exit statuses by which a `once` command promises that it did nothing",
        shape: Shape::OneOrMore(&Shape::Whole(1, 255)),
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
        shape: Shape::Table(&EXPECT),
        read: |step, value| {
            let mut expect = Expect { span: value.span(), ..Expect::default() };
            fill(&value.table()?, EXPECT, &mut expect, "`expect`")?;
            if expect.expects_nothing() {
                return Err(vec![value.fault("`expect` expects nothing", "any output would do")]);
            }
            step.expect = Some(expect);
            Ok(())
        },
    },
    Key {
        name: "version",
        about: "a text that counts: change it to make the step run again",
        shape: Shape::Scalar,
        read: |step, value| {
            step.version = Some(value.scalar()?);
            Ok(())
        },
    },
    Key {
        name: "max-age",
        about: "how old a receipt may be: for steps whose input is the outside world; `\"0\"`: done in every run",
        shape: Shape::Time,
        read: |step, value| {
            let age = if value.as_text() == Some("0") {
                std::time::Duration::ZERO
            } else {
                value.duration()?
            };
            step.max_age = Some(Placed { what: age, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "deterministic",
        about: "`false`: done again it makes something else, so an output that was altered is not made anew without a human's word",
        shape: Shape::Flag,
        read: |step, value| {
            step.deterministic = Some(Placed { what: value.flag()?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "same",
        about: "what two files of equal content are: one piece of work (`content`) or two (`name+content`)",
        shape: Shape::Word(&["content", "name+content"]),
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
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.per = Some(texts(value)?);
            Ok(())
        },
    },
    Key {
        name: "env",
        about: "variables that are set for the command, and count",
        shape: Shape::Named(&Shape::Text),
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
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.env_counts = variables(value)?.into_iter().map(|name| name.what).collect();
            Ok(())
        },
    },
    Key {
        name: "secret-env",
        about: "variables of the environment that must be set, never count, and are masked wherever their values appear",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.secret_env = variables(value)?;
            Ok(())
        },
    },
    Key {
        name: "retry",
        about: "how many further attempts follow a failed one, or `{ times, wait, up-to }`",
        shape: RETRY_SHAPE,
        read: |step, value| {
            step.retry = Some(Placed { what: retry(value)?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "the limit of an attempt",
        shape: Shape::Time,
        read: |step, value| {
            step.timeout = Some(Placed { what: value.limit()?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "cleanup",
        about: "a command that undoes what a failed or killed attempt left half done",
        shape: Shape::Command,
        read: |step, value| {
            step.cleanup = Some(Placed { what: command(value)?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "jobs",
        about: "how many tasks of this step at a time",
        shape: Shape::Whole(1, 100_000),
        read: |step, value| {
            step.jobs = Some(Placed { what: value.jobs()?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "max-failures",
        about: "after how many failed tasks no further item is begun",
        shape: Shape::Whole(1, 1_000_000_000),
        read: |step, value| {
            let most = value.whole_within(1, 1_000_000_000, "a whole number from 1 on")?;
            let most = u64::try_from(most).ok().and_then(std::num::NonZeroU64::new);
            step.max_failures = most.map(|most| Placed { what: most, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "ordered",
        about: "`true`: one item at a time, in the order of their names, none after one that failed: migrations",
        shape: Shape::Flag,
        read: |step, value| {
            step.ordered = Some(Placed { what: value.flag()?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "was",
        about: "names that the step had before; what is kept under them serves it",
        shape: Shape::OneOrMore(&Shape::Text),
        read: |step, value| {
            step.was = texts(value)?;
            Ok(())
        },
    },
    Key {
        name: "dir",
        about: "the folder in which its commands run; by default the pipeline's",
        shape: Shape::Text,
        read: |step, value| {
            step.dir = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "shell",
        about: "the shell of its commands; by default the pipeline's",
        shape: SHELL_SHAPE,
        read: |step, value| {
            step.shell = Some(shell(value)?);
            Ok(())
        },
    },
    Key {
        name: "prelude",
        about: "a line before each of its texts for the shell; by default the pipeline's",
        shape: Shape::Text,
        read: |step, value| {
            step.prelude = Some(value.filled_text()?);
            Ok(())
        },
    },
];

/// The keys of `expect`.
pub(super) const EXPECT: &[Key<Expect>] = &[
    Key {
        name: "rows",
        about: "how many records each output has",
        shape: Shape::Condition,
        read: |expect, value| {
            expect.rows = Some(value.bound()?);
            Ok(())
        },
    },
    Key {
        name: "bytes",
        about: "how large each output is",
        shape: Shape::Condition,
        read: |expect, value| {
            expect.bytes = Some(value.bound()?);
            Ok(())
        },
    },
    Key {
        name: "same-rows-as",
        about: "`in`: the outputs have as many records as the inputs",
        shape: Shape::Word(&["in"]),
        read: |expect, value| {
            if value.text()? != "in" {
                return one_of(value, &["in"]);
            }
            expect.same_rows_as_in = true;
            Ok(())
        },
    },
];
