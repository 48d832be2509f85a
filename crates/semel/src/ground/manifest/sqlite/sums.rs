//! Sums of rows: a row whose sum does not fit was changed by something else than semel.
//!
//! SQLite keeps no checksums. A byte that changes in a closed file may leave a sound
//! database, in which a receipt is one of another task or instance, a word says another
//! thing, or the memory is whole. What such a change can do was weighed:
//!
//! - *what* or *how* of a receipt: another fingerprint, so its task is done again, or a
//!   `once` task refuses. Digests of outputs: they are not proven.
//! - names of tasks, in the table or in an index: a wrong skip. So the sum of a row that
//!   is read is worked out over the names by which it was looked up.
//! - a row or its entry in an index is lost, or an attempt is no longer open: an ordinary
//!   task is done again. Before a `once` task begins, `once.log` is asked, whose lines
//!   have checksums ([`crate::words::once::Tale`]).
//! - times: not in the sums. One in the future counts as old; another one can make a
//!   receipt with `max-age` count as younger or older than it is.
//!
//! Checksums of pages would see all that, but SQLite gives no way to them, and to read
//! the whole file costs a run with nothing to do a good part of its time. Sums cost one
//! multiplication for eight bytes of the rows that are read anyhow: 7 ms for 100,000
//! receipts in a release build, in the thread that loads them.
//!
//! The sum is of 64 bits, and of fields with their lengths: a changed byte always
//! changes it. It is no protection from somebody who means it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use super::file::Doing;
use super::values::unreadable;
use crate::ground::manifest::{ManifestError, ManifestResult};

/// A sum as it is worked out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sum(u64);

impl Sum {
    /// One of a row that is looked up by these texts.
    pub(super) fn of(table: &str, key: &[&str]) -> Self {
        key.iter().fold(Self(0xcbf2_9ce4_8422_2325).text(table), |sum, text| sum.text(text))
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let with_length = self.number(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        with_length.raw(bytes)
    }

    pub(super) fn maybe(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.number(1).bytes(bytes),
            None => self.number(0),
        }
    }

    pub(super) fn number(self, number: i64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    /// Takes eight bytes at a time; each step is one to one, whatever came before.
    fn raw(self, bytes: &[u8]) -> Self {
        let step = |sum: u64, chunk: &[u8]| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let sum = (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            sum ^ (sum >> 32)
        };
        Self(bytes.chunks(8).fold(self.0, step))
    }

    /// As it is kept.
    pub(super) fn kept(self) -> i64 {
        self.0.cast_signed()
    }

    /// Whether it is the one that a row has; a row may have none.
    pub(super) fn verify(self, row: &Row<'_>, column: usize) -> rusqlite::Result<()> {
        match row.get::<_, Option<i64>>(column)? {
            Some(kept) if kept != self.kept() => Err(unreadable(column, NotAsWritten)),
            _ => Ok(()),
        }
    }
}

/// A row was changed by something else than semel.
#[derive(Debug, thiserror::Error)]
#[error("a row is not as it was written")]
struct NotAsWritten;

/// Which columns have part in the sum of a row, by tables, in their order.
const TABLES: [(&str, &str); 5] = [
    ("receipt", "pipeline, step, instance, item, encoding, what, how, effect, once"),
    ("attempt", "pipeline, step, instance, item, number, what, how, undone, once"),
    ("answer", "pipeline, step, instance, item, what, how"),
    ("call", "pipeline, step, instance, item, params, identity, n, state, sends"),
    ("resolution", "pipeline, step, instance, item, verb, without_outputs"),
];

/// The only one of them that may be null.
const NULLABLE: &str = "effect";

/// Works the sums of all rows out.
///
/// # Errors
/// If one of them does not fit.
pub(super) fn verify_all(connection: &Connection) -> ManifestResult<()> {
    let doing = "check the manifest";
    for (table, columns) in TABLES {
        let names: Vec<_> = columns.split(", ").collect();
        let sql = format!("select {columns}, sum from {table} where sum is not null");
        let mut statement = connection.prepare(&sql).doing(doing)?;
        let mut rows = statement.query([]).doing(doing)?;
        while let Some(row) = rows.next().doing(doing)? {
            verify_row(row, table, &names).doing(doing)?;
        }
    }
    verify_memory(connection)
}

fn verify_row(row: &Row<'_>, table: &str, names: &[&str]) -> rusqlite::Result<()> {
    let mut sum = Sum::of(table, &[]);
    for (column, name) in names.iter().enumerate() {
        sum = match row.get_ref(column)? {
            ValueRef::Integer(number) => sum.number(number),
            ValueRef::Blob(bytes) if *name == NULLABLE => sum.maybe(Some(bytes)),
            ValueRef::Blob(bytes) | ValueRef::Text(bytes) => sum.bytes(bytes),
            ValueRef::Null | ValueRef::Real(_) => sum.maybe(None),
        };
    }
    sum.verify(row, names.len())
}

/// Notes the sum of what the manifest knows of itself, after it was changed.
pub(super) fn seal_memory(connection: &Connection) -> ManifestResult<()> {
    let doing = "keep what the manifest knows of itself";
    let sum = connection.query_row(MEMORY, [], memory_sum).doing(doing)?;
    connection.execute("update memory set sum = ?", params![sum.kept()]).doing(doing)?;
    Ok(())
}

/// Whether the manifest knows of itself what it was told.
pub(super) fn verify_memory(connection: &Connection) -> ManifestResult<()> {
    let doing = "read the manifest";
    let mut statement = connection.prepare_cached(MEMORY).doing(doing)?;
    let mut rows = statement.query([]).doing(doing)?;
    let damaged = |why: &str| ManifestError::Damaged(why.to_owned());
    let row = rows.next().doing(doing)?.ok_or_else(|| damaged("it does not know itself"))?;
    memory_sum(row).and_then(|sum| sum.verify(row, 3)).doing(doing)?;
    match rows.next().doing(doing)? {
        Some(_) => Err(damaged("it knows itself twice")),
        None => Ok(()),
    }
}

const MEMORY: &str = "select id, whole_since, runs_before, sum from memory";

fn memory_sum(row: &Row<'_>) -> rusqlite::Result<Sum> {
    let (id, whole_since): (String, Option<String>) = (row.get(0)?, row.get(1)?);
    let whole_since = whole_since.as_deref().map(str::as_bytes);
    Ok(Sum::of("memory", &[&id]).maybe(whole_since).number(row.get(2)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_always_changes_the_sum() {
        let row = |instance: &str, what: &[u8]| {
            Sum::of("receipt", &["test", "pay", instance]).bytes(what).number(1).kept()
        };
        let sum = row("2013-02", b"what");
        for bit in 0..8 {
            let flipped = b"what".map(|byte| byte ^ (1 << bit));
            assert_ne!(sum, row("2013-02", &flipped));
        }
        assert_ne!(sum, row("2013-03", b"what"));
        // What moves from one field to the next is not the same.
        assert_ne!(Sum::of("a", &["bc", "d"]).kept(), Sum::of("a", &["b", "cd"]).kept());
        assert_ne!(Sum::of("a", &[]).maybe(None).kept(), Sum::of("a", &[]).maybe(Some(b"")).kept());
    }
}
