//! Copying records: `LOAD DATA LOCAL`, and where the server does not allow that, `INSERT`
//! of many rows.
//!
//! `LOCAL` makes the server skip what it cannot take and cut what is too long, with a
//! warning for each. So it counts only if there is no warning, and as many rows as
//! records. Anything else is an error, and whoever copies takes the transaction back.
//!
//! Invariant: at most [`PIECE`], or one record, is held in memory, and what the driver
//! copies of it. A load that is broken off is ended in the way of the protocol, so that
//! the connection stays usable.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use futures_util::stream;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::error;
use super::feed::{Feed, Fit};
use super::lossy;
use crate::ground::database::{DbError, DbResult, ErrorKind};
use crate::words::database::Engine;

/// How much is sent at a time.
pub(super) const PIECE: usize = 256 * 1024;

/// How long a statement that inserts may become.
pub(super) const STATEMENT: usize = 1024 * 1024;

/// Warnings that say nothing of records: how the statement is logged.
const OF_THE_LOG: u16 = 1592;

/// The server does not allow `LOCAL`.
pub(super) struct Refused;

/// The statement that loads.
pub(super) fn statement(table: &str, columns: &[&str], feed: &Feed<'_>) -> String {
    let mut places = Vec::new();
    let mut sets = Vec::new();
    let has_sets = feed.fits().iter().any(|fit| fit.is_bits);
    for (at, (column, fit)) in columns.iter().zip(feed.fits()).enumerate() {
        let column = Engine::MySql.quoted(column);
        if fit.is_bits {
            places.push(format!("@semel_{at}"));
            sets.push(format!("{column} = cast(@semel_{at} as unsigned)"));
        } else if has_sets && fit.counts {
            // Where anything is set, MariaDB forgets of what is not that it was given, and
            // a 0 becomes the next number after all.
            places.push(format!("@semel_{at}"));
            sets.push(format!("{column} = @semel_{at}"));
        } else {
            places.push(column);
        }
    }
    let places = places.join(", ");
    let mut statement = format!(
        "load data local infile 'semel' into table {table} character set utf8mb4 \
         fields terminated by '\\t' escaped by '\\\\' lines terminated by '\\n' ({places})"
    );
    if !sets.is_empty() {
        statement.push_str(" set ");
        statement.push_str(&sets.join(", "));
    }
    statement
}

/// What stands between the driver, which takes pieces at its own time, and the records,
/// which can only be read here.
enum Slot {
    /// Nothing is asked for.
    Idle,
    /// A piece is.
    Wanted,
    /// It is there.
    Full(Vec<u8>),
    /// There are no more.
    Ended,
    /// Nobody is there any more who could read one: another statement asks, of which the
    /// server says that it loads.
    Closed,
}

/// A slot, as two hold it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Slot>>);

impl Shared {
    /// Lets `change` at it. A panic elsewhere leaves it whole: it is one value.
    fn with<T>(&self, change: impl FnOnce(&mut Slot) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the piece that is there, or asks for one.
    fn take(&self) -> Poll<Option<io::Result<Vec<u8>>>> {
        self.with(|slot| match std::mem::replace(slot, Slot::Wanted) {
            Slot::Full(piece) => {
                *slot = Slot::Idle;
                Poll::Ready(Some(Ok(piece)))
            }
            Slot::Ended => {
                *slot = Slot::Ended;
                Poll::Ready(None)
            }
            Slot::Closed => {
                *slot = Slot::Closed;
                Poll::Ready(Some(Err(io::Error::other("there is nothing to load"))))
            }
            Slot::Idle | Slot::Wanted => Poll::Pending,
        })
    }
}

/// Loads all records by one statement.
pub(super) async fn load(
    conn: &mut Conn,
    statement: &str,
    feed: &mut Feed<'_>,
    piece: usize,
) -> mysql_async::Result<DbResult<u64>> {
    let shared = Shared(Arc::new(Mutex::new(Slot::Idle)));
    let taken = shared.clone();
    conn.set_infile_handler(async move {
        let pieces = stream::poll_fn(move |_| {
            taken.take().map(|piece| piece.map(|piece| piece.map(Into::into)))
        });
        Ok(Box::pin(pieces) as Pin<Box<_>>)
    });
    let mut pieces = Pieces { feed, buffer: Vec::new(), at: 0, size: piece };
    let loaded = {
        let mut loading = pin!(conn.query_drop(statement));
        // Whoever asks for a piece need not be woken: the slot is looked at each time the
        // driver comes to rest.
        poll_fn(|context| {
            loop {
                if let Poll::Ready(result) = loading.as_mut().poll(context) {
                    return Poll::Ready(result);
                }
                if !shared.with(|slot| matches!(slot, Slot::Wanted)) {
                    return Poll::Pending;
                }
                let piece = pieces.next();
                shared.with(|slot| *slot = piece.map_or(Slot::Ended, Slot::Full));
            }
        })
        .await
    };
    shared.with(|slot| *slot = Slot::Closed);
    loaded?;
    let sent = feed.count();
    let (loaded, warnings) = (conn.affected_rows(), conn.get_warnings());
    if warnings == 0 && loaded == sent {
        return Ok(Ok(loaded));
    }
    explain(conn, sent, loaded, warnings, 1).await
}

/// What warnings, or rows that are missing, mean for records from the number `first`.
async fn explain(
    conn: &mut Conn,
    sent: u64,
    taken: u64,
    warnings: u16,
    first: u64,
) -> mysql_async::Result<DbResult<u64>> {
    let mut shown = Vec::new();
    for mut row in lossy(conn, "show warnings").await? {
        let text = row.pop().unwrap_or_default();
        let code = row.pop().unwrap_or_default().parse().unwrap_or_default();
        shown.push((code, text));
    }
    let row = first_row(conn).await?;
    let of_records = shown.iter().position(|(code, _)| *code != OF_THE_LOG);
    Ok(match of_records {
        None if taken == sent && shown.len() == usize::from(warnings) => Ok(taken),
        Some(place) => {
            let (code, text) = &shown[place];
            let mut error = error::bad_record(text, *code, |row| first + row - 1);
            if error.kind == ErrorKind::BadRecord(None) && place == 0 {
                error.kind = ErrorKind::BadRecord(row.map(|row| first + row - 1));
            }
            Err(error)
        }
        None => {
            let text =
                format!("the database took {taken} of {sent} records, with {warnings} warnings");
            Err(DbError::new(ErrorKind::BadRecord(None), text))
        }
    })
}

/// The row, from 1, that the first thing that was wrong with a statement is about.
/// MariaDB knows it since 10.7, also where its message does not tell. On others that is
/// an error, which takes the place of all warnings.
async fn first_row(conn: &mut Conn) -> mysql_async::Result<Option<u64>> {
    match conn.query_drop("get diagnostics condition 1 @semel_row = row_number").await {
        Ok(()) => {}
        Err(mysql_async::Error::Server(_)) => return Ok(None),
        Err(error) => return Err(error),
    }
    let rows = lossy(conn, "select @semel_row").await?;
    let row = rows.first().and_then(|row| row.first()?.parse().ok());
    Ok(row.filter(|row| *row > 0))
}

/// Records as text, in pieces.
struct Pieces<'a, 'b> {
    feed: &'a mut Feed<'b>,
    buffer: Vec<u8>,
    /// How much of `buffer` was given out.
    at: usize,
    size: usize,
}

impl Pieces<'_, '_> {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.feed.look();
        let Self { feed, buffer, at, size } = self;
        if *at == buffer.len() {
            buffer.clear();
            *at = 0;
        }
        while buffer.len() - *at < *size {
            let start = buffer.len();
            if !feed.next(|_, field| push_text(buffer, field)) {
                // Of a record that does not fit a part may be there.
                buffer.truncate(start);
                break;
            }
            // The tab after the last field.
            if let Some(last) = buffer.last_mut() {
                *last = b'\n';
            }
        }
        let end = buffer.len().min(*at + *size);
        let piece = buffer[*at..end].to_vec();
        *at = end;
        (!piece.is_empty()).then_some(piece)
    }
}

/// Adds a field and the tab after it. Only what means something to the server has to be
/// escaped; no other character of UTF-8 has these bytes.
fn push_text(buffer: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(mut rest) = field else {
        buffer.extend_from_slice(b"\\N\t");
        return;
    };
    while let Some(place) = memchr::memchr3(b'\\', b'\t', b'\n', rest) {
        buffer.extend_from_slice(&rest[..place]);
        buffer.extend_from_slice(match rest[place] {
            b'\t' => b"\\t",
            b'\n' => b"\\n",
            _ => b"\\\\",
        });
        rest = &rest[place + 1..];
    }
    buffer.extend_from_slice(rest);
    buffer.push(b'\t');
}

/// The beginning of a statement that inserts.
pub(super) fn insertion(table: &str, columns: &[&str]) -> String {
    let columns: Vec<_> = columns.iter().map(|column| Engine::MySql.quoted(column)).collect();
    format!("insert into {table} ({}) values ", columns.join(", "))
}

/// Inserts all records, in statements of at most `limit` bytes.
pub(super) async fn insert(
    conn: &mut Conn,
    insertion: &str,
    feed: &mut Feed<'_>,
    limit: usize,
) -> mysql_async::Result<DbResult<u64>> {
    let mut statement = insertion.as_bytes().to_vec();
    let mut row = Vec::new();
    let (mut inserted, mut waiting) = (0, 0);
    loop {
        row.clear();
        let has_row = feed.next(|fit, field| push_literal(&mut row, fit, field));
        if let Some(last) = row.last_mut() {
            *last = b')';
        }
        if waiting > 0 && (!has_row || statement.len() + row.len() + 1 > limit) {
            feed.look();
            if feed.is_faulty() {
                return Ok(Ok(inserted));
            }
            match flush(conn, &statement, waiting, inserted + 1).await? {
                Ok(count) => inserted += count,
                Err(error) => return Ok(Err(error)),
            }
            statement.truncate(insertion.len());
            waiting = 0;
        }
        if !has_row {
            return Ok(Ok(inserted));
        }
        if statement.len() + row.len() + 1 > limit {
            let text = format!("it is longer than a statement may be ({limit} bytes)");
            feed.fail(DbError::new(ErrorKind::BadRecord(Some(feed.count())), text));
            return Ok(Ok(inserted));
        }
        if waiting > 0 {
            statement.push(b',');
        }
        statement.extend_from_slice(&row);
        waiting += 1;
    }
}

/// Sends a statement that inserts `sent` records, of which the first has the number
/// `first`.
async fn flush(
    conn: &mut Conn,
    statement: &[u8],
    sent: u64,
    first: u64,
) -> mysql_async::Result<DbResult<u64>> {
    match conn.query_drop(statement).await {
        Ok(()) => {
            let (taken, warnings) = (conn.affected_rows(), conn.get_warnings());
            if warnings == 0 && taken == sent {
                return Ok(Ok(taken));
            }
            explain(conn, sent, taken, warnings, first).await
        }
        Err(error @ mysql_async::Error::Server(_)) => {
            let mut of_record = error::of_record(&error, first);
            if of_record.kind == ErrorKind::BadRecord(None) {
                let row = first_row(conn).await?;
                of_record.kind = ErrorKind::BadRecord(row.map(|row| first + row - 1));
            }
            match of_record.kind {
                ErrorKind::BadRecord(_) => Ok(Err(of_record)),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Adds a field as a literal, with what stands around it: `(` before the first of a row,
/// and a comma after each.
fn push_literal(row: &mut Vec<u8>, fit: &Fit, field: Option<&[u8]>) {
    if row.is_empty() {
        row.push(b'(');
    }
    if fit.is_bits {
        row.extend_from_slice(b"cast(");
    }
    match field {
        None => row.extend_from_slice(b"null"),
        Some(bytes) if std::str::from_utf8(bytes).is_ok() => {
            row.push(b'\'');
            for &byte in bytes {
                match byte {
                    b'\\' | b'\'' => row.extend_from_slice(&[b'\\', byte]),
                    0 => row.extend_from_slice(b"\\0"),
                    _ => row.push(byte),
                }
            }
            row.push(b'\'');
        }
        // A statement is text; what is none has to be written as bytes.
        Some(bytes) => {
            row.extend_from_slice(b"x'");
            for byte in bytes {
                row.extend_from_slice(format!("{byte:02x}").as_bytes());
            }
            row.push(b'\'');
        }
    }
    if fit.is_bits {
        row.extend_from_slice(b" as unsigned)");
    }
    row.push(b',');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_is_escaped() {
        let mut text = Vec::new();
        push_text(&mut text, Some(b"a\tb\\N\nc"));
        push_text(&mut text, None);
        push_text(&mut text, Some(b""));
        assert_eq!(text, b"a\\tb\\\\N\\nc\t\\N\t\t");
    }

    #[test]
    fn a_literal_ends_where_its_field_does() {
        let fit = Fit {
            name: "a".to_owned(),
            is_boolean: false,
            is_whole: false,
            second_digits: None,
            words: None,
            is_bits: false,
            makes_null_now: false,
            counts: false,
        };
        let mut row = Vec::new();
        push_literal(&mut row, &fit, Some(b"it's \\ \0"));
        push_literal(&mut row, &fit, None);
        push_literal(&mut row, &fit, Some(b"\xff\x00"));
        assert_eq!(row, b"('it\\'s \\\\ \\0',null,x'ff00',");
    }
}
