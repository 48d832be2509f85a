//! The keys of what works on a database: `sql` and `load`.

use super::{Key, Read, Shape, fill, one_of};
use crate::words::pipeline::draft::{LoadDraft, SqlDraft};
use crate::words::pipeline::value::{Placed, Value, all};
use crate::words::rows::{Format, Packing};

/// The keys of `sql` as a table.
pub(super) const SQL: &[Key<SqlDraft>] = &[
    Key {
        name: "text",
        about: "the statements; placeholders are bound as parameters, never pasted",
        shape: Shape::Text,
        read: |sql, value| {
            sql.text = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "file",
        about: "a file with the statements, as they are; `{{ item }}` for migrations",
        shape: Shape::Text,
        read: |sql, value| {
            sql.file = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "db",
        about: "the database; by default the only one",
        shape: Shape::Text,
        read: |sql, value| {
            sql.db = Some(value.filled_text()?);
            Ok(())
        },
    },
];

pub(super) fn sql(value: &Value<'_>) -> Read<SqlDraft> {
    let mut sql = SqlDraft { span: value.span(), ..SqlDraft::default() };
    match value.as_table() {
        Some(table) => fill(&table, SQL, &mut sql, "`sql`")?,
        None => sql.text = Some(value.filled_template()?),
    }
    Ok(sql)
}

/// The keys of `load`.
pub(super) const LOAD: &[Key<LoadDraft>] = &[
    Key {
        name: "into",
        about: "the table",
        shape: Shape::Text,
        read: |load, value| {
            load.into = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "db",
        about: "the database; by default the only one",
        shape: Shape::Text,
        read: |load, value| {
            load.db = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "file",
        about: "the file; by default the item",
        shape: Shape::Text,
        read: |load, value| {
            load.file = Some(value.filled_template()?);
            Ok(())
        },
    },
    Key {
        name: "format",
        about: "what is in the file, where its name does not say it: `csv`, `tsv` (both with a header), `jsonl`",
        shape: Shape::Word(&Format::NAMES),
        read: |load, value| {
            let Some(format) = Format::parse(value.text()?) else {
                return one_of(value, &Format::NAMES);
            };
            load.format = Some(format);
            Ok(())
        },
    },
    Key {
        name: "packing",
        about: "how the file is compressed, where its name does not say it: `none`, `gzip`, `zstd`",
        shape: Shape::Word(&Packing::NAMES),
        read: |load, value| {
            let Some(packing) = Packing::parse(value.text()?) else {
                return one_of(value, &Packing::NAMES);
            };
            load.packing = Some(packing);
            Ok(())
        },
    },
    Key {
        name: "columns",
        about: "columns of the table, and those of the file that go into them: `{ day = \"Date\" }`, or a list where the names are the same; by default all of the file's",
        shape: Shape::Either(&[Shape::OneOrMore(&Shape::Text), Shape::Named(&Shape::Text)]),
        read: |load, value| {
            load.columns = match value.as_table() {
                Some(table) => all(table
                    .entries()
                    .into_iter()
                    .map(|entry| Ok((entry.name.to_owned(), entry.value.filled_text()?.what))))?,
                None => all(value.one_or_more().iter().map(|value| {
                    let name = value.filled_text()?.what;
                    Ok((name.clone(), name))
                }))?,
            };
            Ok(())
        },
    },
    Key {
        name: "mode",
        about: "`append`: rows are added, by default; `replace`: they take the place of all that is in the table",
        shape: Shape::Word(&["append", "replace"]),
        read: |load, value| {
            let replaces_all = match value.text()? {
                "append" => false,
                "replace" => true,
                _ => return one_of(value, &["append", "replace"]),
            };
            load.replaces_all = Some(Placed { what: replaces_all, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "tag",
        about: "a column that is filled with the task's name: by it the rows of an item are found again when a new version of it comes",
        shape: Shape::Text,
        read: |load, value| {
            load.tag = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "replace-where",
        about: "a condition by which the rows of an item are found again, for tables that cannot have a `tag`; values stand in it as literals",
        shape: Shape::Text,
        read: |load, value| {
            load.replace_where = Some(value.filled_template()?);
            Ok(())
        },
    },
];

pub(super) fn load(value: &Value<'_>) -> Read<LoadDraft> {
    let mut load = LoadDraft { span: value.span(), ..LoadDraft::default() };
    fill(&value.table()?, LOAD, &mut load, "`load`")?;
    Ok(load)
}
