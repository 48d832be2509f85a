//! Rows in databases, as a user would meet them: `sql`, `load`, and checks that ask, each
//! story on SQLite, PostgreSQL and MariaDB.
//!
//! Each story has a database of its own. The servers are shared by the tests of this
//! process.

mod bad_input;
mod checks;
mod loads;
mod locks;
mod memory;
mod migrations;
mod scripts;
mod secrets;
mod sqlite;
mod together;
mod versions;

use std::sync::Mutex;

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::ValueRef;
use semel_testkit::servers::{mariadb, postgres};
use semel_testkit::{Ran, Scratch};

/// What a story is told on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
    MariaDb,
}

use Engine::{MariaDb, Postgres, Sqlite};

/// A database of one engine, and a folder with a pipeline beside it.
struct On {
    engine: Engine,
    /// The folder.
    at: Scratch,
    /// What the database is called; of SQLite the path of its file.
    database: String,
}

/// The table that most stories load into.
const FLIGHTS: &str =
    "create table flights (day varchar(20), number integer, source varchar(200));";

/// A load with a tag.
const TAGGED: &str =
    "[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights', tag = 'source' }\n";

/// A load without one.
const APPENDED: &str = "[step.load]\neach = 'clean/*.csv'\nload = { into = 'flights' }\n";

/// All rows of `flights`.
const ROWS: &str = "select day, number from flights order by day, number";

impl On {
    fn new(engine: Engine) -> Self {
        let at = crate::scratch();
        let database = match engine {
            Sqlite => at.path().join("test.db").to_string_lossy().into_owned(),
            Postgres => postgres().create_database(),
            MariaDb => mariadb().create_database(),
        };
        Self { engine, at, database }
    }

    /// The same database, from another folder.
    fn elsewhere(&self) -> Self {
        Self { engine: self.engine, at: crate::scratch(), database: self.database.clone() }
    }

    fn url(&self) -> String {
        match self.engine {
            Sqlite => format!("sqlite:{}", self.database),
            Postgres => postgres().url(&self.database),
            MariaDb => mariadb().url(&self.database),
        }
    }

    /// Writes the pipeline file: steps, on this database.
    fn pipeline(&self, steps: &str) -> &Self {
        self.at.pipeline(&format!("[db]\nmain = '{}'\n{steps}", self.url()));
        self
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> &Self {
        self.at.file(path, text);
        self
    }

    fn semel(&self, words: &str) -> Ran {
        self.at.semel(words)
    }

    /// Executes statements as somebody else would. Gives their rows: a line each, with a
    /// blank between values; NULL is `NULL`.
    fn sql(&self, statements: &str) -> Vec<String> {
        let said = match self.engine {
            Sqlite => return self.sqlite(statements),
            Postgres => {
                let quiet = format!("\\pset null NULL\n{statements}");
                postgres().sql(&self.database, &quiet)
            }
            MariaDb => mariadb().sql(&self.database, statements),
        };
        said.lines().map(|line| line.replace('\t', " ")).collect()
    }

    fn sqlite(&self, statements: &str) -> Vec<String> {
        let db = rusqlite::Connection::open(&self.database).unwrap();
        let mut rows = Vec::new();
        let mut batch = rusqlite::Batch::new(&db, statements);
        while let Some(mut statement) = batch.next().unwrap() {
            let columns = statement.column_count();
            let mut found = statement.raw_query();
            while let Some(row) = found.next().unwrap() {
                let text = |at| match row.get_ref(at).unwrap() {
                    ValueRef::Null => "NULL".to_owned(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(text) | ValueRef::Blob(text) => {
                        String::from_utf8_lossy(text).into_owned()
                    }
                };
                rows.push((0..columns).map(text).collect::<Vec<_>>().join(" "));
            }
        }
        rows
    }

    /// What was said, with the name of the database replaced.
    fn shown(&self, ran: &Ran) -> String {
        let shown = ran.shown().replace(&self.database, "[database]");
        let ports = [("127.0.0.1:", postgres().port()), ("127.0.0.1:", mariadb().port())];
        let text = ports
            .iter()
            .fold(shown, |text, (host, port)| text.replace(&format!("{host}{port}"), "[server]"));
        text.replace("[folder]/test.db", "[database]")
    }

    /// The rows that receipts tell of.
    fn receipts(&self) -> Vec<String> {
        self.at.query("select name, rows from file where role = 'rows' order by receipt")
    }

    fn loads_nothing_again(&self) {
        self.semel("run --expect-noop").exits(0);
    }
}

/// Tells a story on each engine, all at once; gives what came of it, in order.
fn on_each<T: Send>(story: impl Fn(&On) -> T + Sync) -> Vec<T> {
    on(&[Sqlite, Postgres, MariaDb], story)
}

/// Tells a story on some engines.
fn on<T: Send>(engines: &[Engine], story: impl Fn(&On) -> T + Sync) -> Vec<T> {
    let failed = Mutex::new(Vec::new());
    let told = std::thread::scope(|scope| {
        let story = &story;
        let threads: Vec<_> = engines
            .iter()
            .map(|&engine| (engine, scope.spawn(move || story(&On::new(engine)))))
            .collect();
        let ended = threads.into_iter().filter_map(|(engine, thread)| match thread.join() {
            Ok(told) => Some(told),
            Err(_) => {
                failed.lock().unwrap().push(engine);
                None
            }
        });
        ended.collect()
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "it went wrong on {failed:?}");
    told
}

/// What was said on each engine, for one snapshot.
fn side_by_side(said: &[String]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (at, text) in said.iter().enumerate() {
        let engine = [Sqlite, Postgres, MariaDb][at];
        parts.push(format!("=== {engine:?}\n{text}"));
    }
    parts.join("\n")
}
