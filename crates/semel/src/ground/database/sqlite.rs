//! A session with a SQLite file.
//!
//! The file has one writer at a time: a transaction that is begun is the only one. The
//! lock is asked for again and again until the watch says stop; SQLite's own waiting
//! could not be ended.
//!
//! Invariant: nobody is let into the file by reading it. Where it is not there, a
//! reader sees an empty database, and only a writer makes it.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{
    Column, CopyError, DbError, DbResult, ErrorKind, Record, Records, Row, Session, Table, Watch,
};
use crate::words::database::{Address, Engine};

/// How long a lock is waited for at a time.
const SHORT: Duration = Duration::from_millis(20);

/// How long a lock is waited for where the watch has no deadline: whoever holds it for
/// longer has forgotten it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session with a file.
pub struct Sqlite {
    connection: Connection,
    address: Address,
    watch: Watch,
    is_writer: bool,
}

impl Sqlite {
    /// Opens a file. `writes` says whether it is made where it is not there.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(path: &Path, named: &str, writes: bool, watch: Watch) -> DbResult<Self> {
        let address = Address {
            engine: Engine::Sqlite,
            host: String::new(),
            port: None,
            database: named.to_owned(),
        };
        let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let opened = if writes {
            let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            Connection::open_with_flags(path, flags)
        } else if path.exists() {
            Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
        } else {
            Connection::open_in_memory()
        };
        let in_words = |error: rusqlite::Error| {
            let text = format!("{address} cannot be opened: {}", message(&error));
            DbError { text, ..of(&error) }
        };
        let connection = opened.map_err(in_words)?;
        connection.busy_timeout(SHORT).map_err(in_words)?;
        let mut session = Self { connection, address: address.clone(), is_writer: writes, watch };
        // What is committed outlives a power cut. This reads the file, and whoever commits at
        // the moment locks it.
        session
            .with_patience(|connection| connection.pragma_update(None, "synchronous", "full"))
            .map_err(|error| DbError {
            text: format!("{address} cannot be opened: {error}"),
            ..error
        })?;
        session.watch_statements()?;
        Ok(session)
    }

    /// Lets the watch end statements that take long.
    fn watch_statements(&mut self) -> DbResult<()> {
        let watch = self.watch.share()?;
        let is_over = move || watch.over().is_some();
        self.connection.progress_handler(100_000, Some(is_over)).map_err(|error| of(&error))
    }

    /// Tries until the file is not locked by somebody else.
    fn with_patience<T>(
        &self,
        mut attempt: impl FnMut(&Connection) -> rusqlite::Result<T>,
    ) -> DbResult<T> {
        let began = Instant::now();
        loop {
            let error = match attempt(&self.connection) {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            let wrong = of(&error);
            if let Some(over) = self.watch.over() {
                let text = if wrong.kind == ErrorKind::Busy { self.is_locked() } else { over.text };
                return Err(DbError { text, kind: over.kind });
            }
            if wrong.kind != ErrorKind::Busy {
                return Err(wrong);
            }
            if self.watch.deadline.is_none() && began.elapsed() > PATIENCE {
                let waited = PATIENCE.as_secs();
                let text = format!(
                    "{} for {waited} s; `timeout` sets how long it is waited for",
                    self.is_locked()
                );
                return Err(DbError { text, ..wrong });
            }
        }
    }

    fn is_locked(&self) -> String {
        format!("{} is locked by another program", self.address)
    }
}

impl Session for Sqlite {
    fn address(&self) -> &Address {
        &self.address
    }

    fn set_watch(&mut self, watch: Watch) -> DbResult<()> {
        self.watch = watch;
        self.watch_statements()
    }

    fn is_lost(&self) -> bool {
        false
    }

    fn query(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<Vec<Row>> {
        self.with_patience(|connection| {
            let mut statement = connection.prepare(statement)?;
            let columns = statement.column_count();
            let mut rows = statement.query(params_from_iter(values))?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let values = (0..columns).map(|at| Ok(text_of(row.get_ref(at)?)));
                found.push(values.collect::<rusqlite::Result<Row>>()?);
            }
            Ok(found)
        })
    }

    fn execute(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<u64> {
        self.with_patience(|connection| {
            let before = connection.total_changes();
            let mut statement = connection.prepare(statement)?;
            // One that returns rows is run to its end.
            let mut rows = statement.query(params_from_iter(values))?;
            while rows.next()?.is_some() {}
            Ok(connection.total_changes().saturating_sub(before))
        })
    }

    fn begin(&mut self) -> DbResult<()> {
        self.with_patience(|connection| connection.execute_batch("begin immediate"))
    }

    fn commit(&mut self) -> DbResult<()> {
        self.with_patience(|connection| connection.execute_batch("commit"))
    }

    fn rollback(&mut self) {
        if !self.connection.is_autocommit() {
            // A transaction that cannot be taken back now is, when the file is closed.
            let _ = self.connection.execute_batch("rollback");
        }
    }

    fn is_in_transaction(&mut self) -> DbResult<bool> {
        Ok(!self.connection.is_autocommit())
    }

    fn table(&mut self, name: &str) -> DbResult<Option<Table>> {
        let (schema, table) = match name.split_once('.') {
            Some((schema, table)) => (Some(plain(schema)), plain(table)),
            None => (None, plain(name)),
        };
        let sql = "select name, type, hidden from pragma_table_xinfo(?1, ?2)";
        let rows = self.query(sql, &[Some(&table), schema.as_deref().or(Some("main"))])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let columns = rows.into_iter().map(|row| {
            let mut values = row.into_iter().map(Option::unwrap_or_default);
            let mut next = || values.next().unwrap_or_default();
            Column { name: next(), of: next(), is_generated: matches!(&*next(), "2" | "3") }
        });
        let sql = "select type from sqlite_master where lower(name) = lower(?1)";
        let kind = self.query(sql, &[Some(&table)])?.into_iter().flatten().flatten().next();
        let not_atomic = match kind.as_deref() {
            Some("view") => Some("it is a view".to_owned()),
            _ => None,
        };
        Ok(Some(Table { columns: columns.collect(), identity: String::new(), not_atomic }))
    }

    fn tables(&mut self) -> DbResult<Vec<String>> {
        let sql = "select name from sqlite_master where type = 'table' and name not like 'sqlite\\_%' escape '\\' order by name";
        let rows = self.query(sql, &[])?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn copy(
        &mut self,
        table: &str,
        columns: &[&str],
        records: &mut dyn Records,
    ) -> Result<u64, CopyError> {
        debug_assert!(self.is_writer, "a reader copies nothing");
        let fits = self.affinities(table, columns)?;
        let engine = Engine::Sqlite;
        let names: Vec<_> = columns.iter().map(|name| engine.quoted(name)).collect();
        let places: Vec<_> = (1..=columns.len()).map(|place| engine.parameter(place)).collect();
        let sql =
            format!("insert into {table} ({}) values ({})", names.join(", "), places.join(", "));
        let mut insert = self.connection.prepare(&sql).map_err(|error| of(&error))?;
        let mut record = Record::default();
        let mut copied = 0;
        while records.next(&mut record).map_err(CopyError::Source)? {
            copied += 1;
            if copied % 4096 == 0
                && let Some(over) = self.watch.over()
            {
                return Err(over.into());
            }
            for (at, field) in record.fields().enumerate() {
                if let (Some(field), Some(of)) = (field, &fits[at])
                    && !is_number(field)
                {
                    let what = String::from_utf8_lossy(field);
                    let text =
                        format!("column {}: `{what}` is no {}", columns[at], of.to_lowercase());
                    return Err(DbError::new(ErrorKind::BadRecord(Some(copied)), text).into());
                }
                let bound = match field.map(std::str::from_utf8) {
                    None => insert.raw_bind_parameter(at + 1, rusqlite::types::Null),
                    Some(Ok(text)) => insert.raw_bind_parameter(at + 1, text),
                    Some(Err(_)) => insert.raw_bind_parameter(at + 1, field),
                };
                bound.map_err(|error| of(&error))?;
            }
            let inserted = insert.raw_execute().map_err(|error| {
                let wrong = of(&error);
                let kind = match wrong.kind {
                    ErrorKind::Other | ErrorKind::Duplicate => ErrorKind::BadRecord(Some(copied)),
                    kind => kind,
                };
                DbError { kind, ..wrong }
            })?;
            if inserted == 0 {
                let text = "the table ignores it (ON CONFLICT IGNORE, or a trigger)";
                return Err(DbError::new(ErrorKind::BadRecord(Some(copied)), text).into());
            }
        }
        Ok(copied)
    }
}

impl Sqlite {
    /// For each column, its type where that wants a number: SQLite would keep a text in
    /// it without a word.
    fn affinities(&mut self, table: &str, columns: &[&str]) -> DbResult<Vec<Option<String>>> {
        let known = self.table(table)?.map(|table| table.columns).unwrap_or_default();
        let wants_number = |of: &str| {
            let of = of.to_uppercase();
            ["INT", "REAL", "FLOA", "DOUB", "NUMERIC", "DECIMAL"]
                .iter()
                .any(|word| of.contains(word))
        };
        let of = columns.iter().map(|name| {
            let column = known.iter().find(|column| column.name.eq_ignore_ascii_case(name))?;
            wants_number(&column.of).then(|| column.of.clone())
        });
        Ok(of.collect())
    }
}

/// Whether a text is a number, as SQLite reads one.
fn is_number(field: &[u8]) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = field.trim_ascii();
    let rest = rest.strip_prefix(b"-").or_else(|| rest.strip_prefix(b"+")).unwrap_or(rest);
    let whole = digits(rest);
    let mut rest = &rest[whole..];
    let mut fraction = 0;
    if let Some(behind) = rest.strip_prefix(b".") {
        fraction = digits(behind);
        rest = &behind[fraction..];
    }
    if whole + fraction == 0 {
        return false;
    }
    match rest {
        [] => true,
        [b'e' | b'E', exponent @ ..] => {
            let exponent = exponent
                .strip_prefix(b"-")
                .or_else(|| exponent.strip_prefix(b"+"))
                .unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent) == exponent.len()
        }
        _ => false,
    }
}

/// A name without the quotes that it stands in.
fn plain(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inside) => inside.replace("\"\"", "\""),
        None => name.to_owned(),
    }
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    }
}

/// What SQLite says, without what rusqlite puts around it.
fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

fn of(error: &rusqlite::Error) -> DbError {
    use rusqlite::ErrorCode;
    let text = message(error);
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::OperationInterrupted) => ErrorKind::Stopped,
        Some(ErrorCode::DiskFull) => ErrorKind::Full,
        Some(
            ErrorCode::PermissionDenied
            | ErrorCode::ReadOnly
            | ErrorCode::AuthorizationForStatementDenied,
        ) => ErrorKind::Denied,
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase,
        ) => ErrorKind::Unreachable,
        Some(ErrorCode::ConstraintViolation)
            if text.starts_with("UNIQUE") || text.starts_with("PRIMARY KEY") =>
        {
            ErrorKind::Duplicate
        }
        _ if text.contains("no such table")
            || text.contains("no such column")
            || text.contains("has no column") =>
        {
            ErrorKind::NotThere
        }
        _ => ErrorKind::Other,
    };
    DbError { kind, text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::world::process::Stop;

    #[test]
    fn a_number_is_what_sqlite_takes_for_one() {
        for number in ["1", "-1", "+1.5", ".5", "5.", "1e9", "1.5E-3", " 7 "] {
            assert!(is_number(number.as_bytes()), "{number}");
        }
        for text in ["", "abc", "1x", "e5", "-", ".", "1e", "1 2", "NA", "0x10"] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_file_that_somebody_writes_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let open = |patience| {
            let deadline = Some(Instant::now() + patience);
            Sqlite::open(&path, "a.db", true, Watch { stop: Stop::new().unwrap(), deadline })
        };
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("begin exclusive").unwrap();
        let error = open(SHORT * 2).map(|_| ()).unwrap_err();
        assert_eq!(
            error,
            DbError::new(
                ErrorKind::TimedOut,
                "sqlite:a.db cannot be opened: sqlite:a.db is locked by another program"
            )
        );
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| open(PATIENCE).map(|_| ()));
            writer.execute_batch("commit").unwrap();
            opening.join().unwrap().unwrap();
        });
    }
}
