//! Databases: one contract, three engines.
//!
//! A [`Session`] is one connection. It sends statements, and copies records into a
//! table; what is sent in which order is the deeds's to say.
//!
//! Invariant: a session waits for nothing longer than its [`Watch`] allows. When that
//! says stop, what was sent is cancelled on the server too, as far as it can be
//! reached. An error says what kind it is: a server that is out of reach is another
//! matter than a statement that is wrong.

pub mod mysql;
pub mod postgres;
pub mod settings;
pub mod sqlite;
pub mod stamps;

use std::path::Path;
use std::time::Instant;

use self::settings::Settings;
use crate::ground::world::process::Stop;
use crate::words::database::Address;

/// What ends waiting for a database.
#[derive(Debug)]
pub struct Watch {
    /// The switch that ends it.
    pub stop: Stop,
    /// When it took too long.
    pub deadline: Option<Instant>,
}

/// What happened instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DbError {
    /// What kind of thing.
    pub kind: ErrorKind,
    /// In the words of the database, or ours; never with a password.
    pub text: String,
}

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no connection, or it was lost: what was being committed may be, or not.
    Unreachable,
    /// The user may not log in, or may not do this.
    Denied,
    /// A lock was waited for longer than is allowed.
    Busy,
    /// The database gave up on the transaction so that another could go on: a deadlock.
    /// Tried again it may go well.
    Conflict,
    /// A table or a column is not there.
    NotThere,
    /// A record does not fit its table; its number, from 1, among those that were
    /// copied, where that is known.
    BadRecord(Option<u64>),
    /// A row is there already whose key is the same. Of a record that is copied it is
    /// [`ErrorKind::BadRecord`] instead.
    Duplicate,
    /// The watch said stop.
    Stopped,
    /// The watch's deadline passed.
    TimedOut,
    /// The disk of the server is full.
    Full,
    /// Anything else: the statement is wrong.
    Other,
}

/// What a database answers.
pub type DbResult<T> = Result<T, DbError>;

impl DbError {
    /// An error of a kind.
    #[must_use]
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl Watch {
    /// Another one that ends at the same time.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn share(&self) -> DbResult<Self> {
        let stop = self.stop.share();
        let stop = stop.map_err(|error| DbError::new(ErrorKind::Other, error.to_string()))?;
        Ok(Self { stop, deadline: self.deadline })
    }

    /// The error that ends the waiting, if it is to end.
    #[must_use]
    pub fn over(&self) -> Option<DbError> {
        if self.stop.is_pulled() {
            return Some(DbError::new(ErrorKind::Stopped, "it was stopped"));
        }
        let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        is_late.then(|| DbError::new(ErrorKind::TimedOut, "its time is over"))
    }
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DbError {}

/// A row that was asked for: its values as texts; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// A table, as far as it matters to a load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// What tells it from one of the same name that was made after it was dropped;
    /// empty where the engine has nothing of the kind.
    pub identity: String,
    /// Why what is written to it is not kept together with the rest of a transaction,
    /// if so: it is unlogged, or of an engine without transactions.
    pub not_atomic: Option<String>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as the database has it.
    pub name: String,
    /// Its type, as the database writes it.
    pub of: String,
    /// Whether the database computes it, so that nothing can be written to it.
    pub is_generated: bool,
}

/// A record: its fields one after the other, each bytes or NULL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    bytes: Vec<u8>,
    /// The end of each field in `bytes`, and whether it is NULL.
    fields: Vec<(usize, bool)>,
}

impl Record {
    /// Takes all fields out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
    }

    /// Adds a field.
    pub fn push(&mut self, field: Option<&[u8]>) {
        self.bytes.extend_from_slice(field.unwrap_or_default());
        self.fields.push((self.bytes.len(), field.is_none()));
    }

    /// How many fields it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Its fields.
    pub fn fields(&self) -> impl Iterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.fields.iter().map(move |&(end, is_null)| {
            let field = &self.bytes[start..end];
            start = end;
            (!is_null).then_some(field)
        })
    }
}

/// Connects to a database. `root` is where the relative path of a file begins; `writes`
/// says whether a file that is not there is made.
///
/// # Errors
/// If it cannot be reached, or does not let us in.
pub fn connect(
    settings: &Settings,
    root: &Path,
    writes: bool,
    watch: Watch,
) -> DbResult<Box<dyn Session + Send>> {
    let address = settings.address();
    let connected: DbResult<Box<dyn Session + Send>> = match settings {
        Settings::Sqlite(path) => {
            Ok(Box::new(sqlite::Sqlite::open(&root.join(path), &address.database, writes, watch)?))
        }
        Settings::Postgres(to) => postgres::Postgres::connect(to, &address, watch)
            .map(|session| Box::new(session) as Box<dyn Session + Send>),
        Settings::MySql(to) => mysql::MySql::to(to, &address, watch)
            .map(|session| Box::new(session) as Box<dyn Session + Send>),
    };
    connected.map_err(|error| match (error.kind, settings.warnings()) {
        // What was passed over may be why.
        (ErrorKind::Denied, [warning, ..]) => {
            DbError { text: format!("{}; {warning}", error.text), ..error }
        }
        _ => error,
    })
}

/// Where records come from.
pub trait Records {
    /// Puts the next record into `record`; gives `false` after the last.
    ///
    /// # Errors
    /// Why there is no next one, with its place; in words.
    fn next(&mut self, record: &mut Record) -> Result<bool, String>;
}

/// Why records were not copied.
#[derive(Debug)]
pub enum CopyError {
    /// They could not be read.
    Source(String),
    /// They could not be written.
    Database(DbError),
}

impl From<DbError> for CopyError {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// A connection to a database. Values are given and returned as texts, which the
/// database turns into what a column wants.
pub trait Session {
    /// Which database it is.
    fn address(&self) -> &Address;

    /// From now on this ends its waiting. Where the connection was lost meanwhile, that is
    /// noticed.
    ///
    /// # Errors
    /// If the database cannot be told.
    fn set_watch(&mut self, watch: Watch) -> DbResult<()>;

    /// Whether nothing more can be sent: the connection is lost, or in doubt.
    fn is_lost(&self) -> bool;

    /// Sends one statement and returns its rows. Its parameters stand as
    /// [`crate::words::database::Engine::parameter`] says.
    ///
    /// # Errors
    /// If it cannot be sent, or the database says no.
    fn query(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<Vec<Row>>;

    /// Sends one statement, and returns how many rows it changed.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn execute(&mut self, statement: &str, values: &[Option<&str>]) -> DbResult<u64>;

    /// Begins a transaction. What it waits for it waits for as long as the watch allows.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn begin(&mut self) -> DbResult<()>;

    /// Commits it, durably.
    ///
    /// # Errors
    /// As [`Session::query`]. Where the error is [`ErrorKind::Unreachable`],
    /// [`ErrorKind::Stopped`] or [`ErrorKind::TimedOut`], it may be committed.
    fn commit(&mut self) -> DbResult<()>;

    /// Takes it back. There is nothing to be done where that fails: a connection that is
    /// lost takes its transaction with it.
    fn rollback(&mut self);

    /// Whether the transaction that was begun is still open, and still the same.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn is_in_transaction(&mut self) -> DbResult<bool>;

    /// What there is to know of a table; `None` where it is not there. `name` may be
    /// qualified, and stands as it would in a statement.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn table(&mut self, name: &str) -> DbResult<Option<Table>>;

    /// The tables there are, to name them where one is not.
    ///
    /// # Errors
    /// As [`Session::query`].
    fn tables(&mut self) -> DbResult<Vec<String>>;

    /// Copies records into columns of a table, by the fastest way that is atomic within
    /// the open transaction; returns how many the database took. Each record has as many
    /// fields as there are columns. Nothing is skipped, cut short or converted silently:
    /// what does not fit is an error.
    ///
    /// # Errors
    /// If the records cannot be read or written; the transaction is to be taken back then.
    fn copy(
        &mut self,
        table: &str,
        columns: &[&str],
        records: &mut dyn Records,
    ) -> Result<u64, CopyError>;
}

/// Whether a table has rows.
///
/// # Errors
/// If it cannot be asked.
pub fn has_rows(session: &mut dyn Session, table: &str) -> DbResult<bool> {
    Ok(!session.query(&format!("select 1 from {table} limit 1"), &[])?.is_empty())
}

/// How many rows of a table there are, or of those that a condition finds.
///
/// # Errors
/// If it cannot be asked.
pub fn count(session: &mut dyn Session, table: &str, found_by: Option<&str>) -> DbResult<u64> {
    let condition = found_by.map(|text| format!(" where {text}")).unwrap_or_default();
    let rows = session.query(&format!("select count(*) from {table}{condition}"), &[])?;
    let number = rows.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    Ok(number.unwrap_or_default())
}
