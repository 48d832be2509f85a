//! The keys of `each` and `in`: where items and inputs come from.

use super::{Key, Read, Shape, command, fill, ok, wants_name};
use crate::words::pipeline::draft::{EachDraft, EachSourceDraft, InputDraft, InputSourceDraft};
use crate::words::pipeline::value::{Placed, Value, all};

/// The keys of `each` as a table.
pub(super) const EACH: &[Key<EachDraft>] = &[
    Key {
        name: "files",
        about: "the files that match a pattern",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::Files(value.filled_template()?)),
    },
    Key {
        name: "files-from",
        about: "the files that a file names, one a line",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::FilesFrom(value.filled_template()?)),
    },
    Key {
        name: "lines",
        about: "the lines of a file",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::Lines(value.filled_template()?)),
    },
    Key {
        name: "csv",
        about: "the rows of a CSV file with a header: `{{ item.COLUMN }}`",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::Csv(value.filled_template()?)),
    },
    Key {
        name: "json",
        about: "the elements of a JSON file with a list: values, or objects: `{{ item.KEY }}`",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::Json(value.filled_template()?)),
    },
    Key {
        name: "command",
        about: "the lines that a command prints, asked once a run",
        shape: Shape::Command,
        read: |each, value| add(each, value, EachSourceDraft::Command(command(value)?)),
    },
    Key {
        name: "outputs-of",
        about: "the outputs of another step's tasks",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::OutputsOf(value.filled_text()?)),
    },
    Key {
        name: "items-of",
        about: "the items of another step, each after its own task there",
        shape: Shape::Text,
        read: |each, value| add(each, value, EachSourceDraft::ItemsOf(value.filled_text()?)),
    },
    Key {
        name: "name",
        about: "the column or key by which the items of `csv` or `json` are named; by default all their values",
        shape: Shape::Text,
        read: |each, value| {
            each.name = Some(value.filled_text()?);
            Ok(())
        },
    },
    Key {
        name: "empty",
        about: "`ok`: a list without items is no error",
        shape: Shape::Word(&["ok"]),
        read: |each, value| {
            each.may_be_empty = ok(value)?;
            Ok(())
        },
    },
    Key {
        name: "shrink",
        about: "`ok`: a list that lost more than half of its items is no error",
        shape: Shape::Word(&["ok"]),
        read: |each, value| {
            each.may_shrink = ok(value)?;
            Ok(())
        },
    },
];

fn add(each: &mut EachDraft, value: &Value<'_>, source: EachSourceDraft) -> Read<()> {
    each.sources.push(Placed { what: source, span: value.span() });
    Ok(())
}

pub(super) fn each(value: &Value<'_>) -> Read<EachDraft> {
    let mut each = EachDraft { span: value.span(), ..EachDraft::default() };
    if value.is_text() {
        add(&mut each, value, EachSourceDraft::Files(value.filled_template()?))?;
    } else {
        fill(&value.table()?, EACH, &mut each, "`each`")?;
    }
    Ok(each)
}

/// The keys of an input as a table.
pub(super) const INPUT: &[Key<Option<Placed<String>>>] = &[Key {
    name: "outputs-of",
    about: "the outputs of all tasks of a step",
    shape: Shape::Text,
    read: |step, value| {
        *step = Some(value.filled_text()?);
        Ok(())
    },
}];

const INPUT_SHAPE: Shape = Shape::OneOrMore(&Shape::Either(&[Shape::Text, Shape::Table(&INPUT)]));

pub(super) const INPUTS_SHAPE: Shape = Shape::Either(&[INPUT_SHAPE, Shape::Named(&INPUT_SHAPE)]);

pub(super) fn inputs(value: &Value<'_>) -> Read<Vec<InputDraft>> {
    let keyed = value.as_table().filter(|table| table.get("outputs-of").is_none());
    let lists = match keyed {
        Some(table) => all(table.entries().into_iter().map(|entry| {
            wants_name(entry.name, &entry.name_span)?;
            if entry.name == "list" {
                return Err(vec![
                    value.fault("an input cannot be named `list`", "is the file with all inputs"),
                ]);
            }
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
