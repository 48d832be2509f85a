//! Values: from rows to words, and back.

use std::path::Path;

use jiff::Timestamp;
use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};

use crate::ground::manifest::Verb;
use crate::words::digest::Digest;
use crate::words::path::bytes_of;
use crate::words::run::{By, Counts, NewRun, RunRecord, RunStep};
use crate::words::task::{Instance, TaskName};

pub(super) fn digest_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes: [u8; 32] = row.get(column)?;
    Ok(Digest::from_bytes(bytes))
}

pub(super) fn time_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

pub(super) fn maybe_time_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time_at(row, column).map(Some),
    }
}

pub(super) fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// What a human said; a word that is neither was not written by semel.
pub(super) fn verb_at(word: &str, column: usize) -> rusqlite::Result<Verb> {
    let verb = [Verb::Done, Verb::Redo].into_iter().find(|verb| verb.name() == word);
    verb.ok_or_else(|| unreadable(column, std::fmt::Error))
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn task_at(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskName> {
    let item: String = row.get(column + 2)?;
    Ok(TaskName {
        step: row.get(column)?,
        instance: Instance::from_stored(row.get(column + 1)?),
        item: Some(item).filter(|item| !item.is_empty()),
    })
}

pub(super) fn item_of(task: &TaskName) -> &str {
    task.item.as_deref().unwrap_or_default()
}

pub(super) const RUN_COLUMNS: &str = "number, id, pipeline, instance, params, command, selected, host, user, pid, began, ended, status, file, task";

pub(super) fn run_at(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        number: row.get(0)?,
        new: NewRun {
            id: row.get(1)?,
            pipeline: row.get(2)?,
            instance: Instance::from_stored(row.get(3)?),
            params: row.get(4)?,
            command: row.get(5)?,
            selected: row.get(6)?,
            by: By { host: row.get(7)?, user: row.get(8)?, pid: row.get(9)? },
            began: time_at(row, 10)?,
            file: row.get(13)?,
            task: row.get::<_, Option<String>>(14)?.as_deref().map(TaskName::parse),
        },
        ended: maybe_time_at(row, 11)?,
        status: row.get(12)?,
    })
}

pub(super) const RUN_STEP_COLUMNS: &str = "run, step, instance, total, ran, skipped, adopted, reused, failed, refused, busy, blocked, untried, rows, seconds, note, place";

pub(super) fn run_step_at(row: &Row<'_>) -> rusqlite::Result<(i64, RunStep)> {
    let count = |column| row.get(column).map(unsigned);
    let step = RunStep {
        step: row.get(1)?,
        instance: Instance::from_stored(row.get(2)?),
        counts: Counts {
            total: count(3)?,
            ran: count(4)?,
            skipped: count(5)?,
            adopted: count(6)?,
            reused: count(7)?,
            failed: count(8)?,
            refused: count(9)?,
            busy: count(10)?,
            blocked: count(11)?,
            untried: count(12)?,
        },
        rows: row.get::<_, Option<i64>>(13)?.map(unsigned),
        seconds: row.get(14)?,
        note: row.get(15)?,
        place: count(16)?,
    };
    Ok((row.get(0)?, step))
}

/// A time as it is stored: always of one length, so that text sorts as time.
pub(super) fn time_text(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Of several in a row for one item, the last.
pub(super) fn keep_last<T>(rows: &mut Vec<T>, item: impl Fn(&T) -> &String) {
    rows.reverse();
    rows.dedup_by(|later, earlier| item(later) == item(earlier));
    rows.reverse();
}

/// A path as text; as bytes where it is not UTF-8.
pub(super) fn path_value(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => Value::Text(text.to_owned()),
        None => Value::Blob(bytes_of(path).to_vec()),
    }
}

pub(super) fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// The digest of hexadecimal text; of text that is none, a digest that fits
/// nothing.
pub(super) fn from_hex(text: &str) -> Digest {
    Digest::from_hex(text).unwrap_or(Digest::from_bytes([0; 32]))
}
