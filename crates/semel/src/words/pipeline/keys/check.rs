//! The keys of `check`.

use super::{Key, RETRY_SHAPE, Read, Shape, command, fill, retry};
use crate::words::pipeline::draft::CheckDraft;
use crate::words::pipeline::value::{Placed, Value};

/// The keys of `check` as a table.
pub(super) const CHECK: &[Key<CheckDraft>] = &[
    Key {
        name: "run",
        about: "the command that is asked",
        shape: Shape::Command,
        read: |check, value| {
            check.command = Some(command(value)?);
            Ok(())
        },
    },
    Key {
        name: "equals",
        about: "what it must print, but for white space at the end; another text is a no",
        shape: Shape::Text,
        read: |check, value| {
            check.equals = Some(value.template()?);
            Ok(())
        },
    },
    Key {
        name: "all",
        about: "`true`: one call answers for all items; it prints those for which it holds, one a line",
        shape: Shape::Flag,
        read: |check, value| {
            check.all = Some(Placed { what: value.flag()?, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "file",
        about: "a file that is looked at instead",
        shape: Shape::Text,
        read: |check, value| {
            check.file = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "sha256",
        about: "the digest that the file must have, in hexadecimal",
        shape: Shape::Text,
        read: |check, value| {
            check.sha256 = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "sql",
        about: "a query that is asked instead: holds if its first row and column is there and true",
        shape: Shape::Text,
        read: |check, value| {
            check.sql = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "db",
        about: "the database that `sql` asks; by default the only one",
        shape: Shape::Text,
        read: |check, value| {
            check.db = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "within",
        about: "how long after the action it is asked again until it holds; by default it is asked once",
        shape: Shape::Time,
        read: |check, value| {
            check.within = Some(value.duration()?);
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "the limit of an answer; by default 30 s",
        shape: Shape::Time,
        read: |check, value| {
            check.timeout = Some(value.limit()?);
            Ok(())
        },
    },
    Key {
        name: "retry",
        about: "how often it is asked again where it cannot tell",
        shape: RETRY_SHAPE,
        read: |check, value| {
            check.retry = Some(retry(value)?);
            Ok(())
        },
    },
    Key {
        name: "max-age",
        about: "how long an answer that it holds is believed",
        shape: Shape::Time,
        read: |check, value| {
            check.max_age = Some(value.limit()?);
            Ok(())
        },
    },
];

pub(super) fn check(value: &Value<'_>) -> Read<CheckDraft> {
    let mut check = CheckDraft { span: value.span(), ..CheckDraft::default() };
    match value.as_table() {
        Some(table) => fill(&table, CHECK, &mut check, "`check`")?,
        None => check.command = Some(command(value)?),
    }
    Ok(check)
}
