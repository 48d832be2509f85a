//! Fifty days are loaded every night, killed in the midst of it, and loaded again: the
//! table is that of a night in which nobody died.

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use semel_testkit::servers::postgres;
use semel_testkit::{Ran, Running, Scratch, eventually};

use crate::scratch;

/// How many flights the fifty days have.
const FLIGHTS: usize = 42_034;

/// A copy of `examples/nightly-load`, and the database that it loads into.
struct Night {
    folder: Scratch,
    /// The database in a PostgreSQL; without one, a SQLite file.
    postgres: Option<String>,
}

impl Night {
    fn in_sqlite() -> Self {
        let folder = scratch();
        folder.copy_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nightly-load"));
        Self { folder, postgres: None }
    }

    fn in_postgres() -> Self {
        Self { postgres: Some(postgres().create_database()), ..Self::in_sqlite() }
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.folder.command(words.split_whitespace());
        if let Some(database) = &self.postgres {
            let server = postgres();
            command
                .env("PGHOST", "127.0.0.1")
                .env("PGPORT", server.port().to_string())
                .env("PGUSER", server.user())
                .env("PGDATABASE", database);
        }
        command
    }

    fn semel(&self, words: &str) -> Ran {
        self.folder.ran(self.command(words))
    }

    fn start(&self) -> Running {
        self.folder.started(self.command("run"))
    }

    /// The rows of a query, values with tabs between, in order; NULL is empty.
    fn rows(&self, sql: &str) -> Vec<String> {
        let mut rows: Vec<_> = match &self.postgres {
            Some(database) => postgres().sql(database, sql).lines().map(str::to_owned).collect(),
            None => {
                let db = rusqlite::Connection::open(self.folder.path().join("flights.db")).unwrap();
                let mut asked = db.prepare(sql).unwrap();
                let columns = asked.column_count();
                let row = |row: &rusqlite::Row<'_>| {
                    let texts = (0..columns).map(|at| match row.get_ref(at).unwrap() {
                        rusqlite::types::ValueRef::Null => String::new(),
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        value => value.as_str().unwrap().to_owned(),
                    });
                    Ok(texts.collect::<Vec<_>>().join("\t"))
                };
                asked.query_map([], row).unwrap().map(Result::unwrap).collect()
            }
        };
        rows.sort();
        rows
    }

    /// Changes rows.
    fn change(&self, sql: &str) {
        match &self.postgres {
            Some(database) => drop(postgres().sql(database, sql)),
            None => {
                let db = rusqlite::Connection::open(self.folder.path().join("flights.db")).unwrap();
                let _ = db.execute(sql, []).unwrap();
            }
        }
    }

    fn table(&self) -> Vec<String> {
        self.rows(
            "select day, carrier, flight, origin, dest, dep_delay, arr_delay, distance, source \
             from flight",
        )
    }

    /// How many days have a receipt of their load.
    fn loaded(&self) -> usize {
        let manifest = self.folder.path().join(".semel/manifest.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let count = rusqlite::Connection::open_with_flags(manifest, flags).and_then(|db| {
            db.query_row("select count(*) from receipt where step = 'load'", [], |row| row.get(0))
        });
        usize::try_from(count.unwrap_or(0_u32)).unwrap()
    }

    /// What the clean files say should be in the table.
    fn told_by_files(&self) -> Vec<String> {
        let mut rows = Vec::new();
        for name in self.folder.list("clean") {
            let text = self.folder.text(format!("clean/{name}"));
            let lines = text.lines().skip(1);
            rows.extend(
                lines.map(|line| format!("{}\tload:clean/{name}", line.replace(',', "\t"))),
            );
        }
        rows.sort();
        rows
    }
}

/// The table after a night in which nobody died.
fn reference() -> &'static [String] {
    static REFERENCE: OnceLock<Vec<String>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let night = Night::in_sqlite();
        night.semel("run").exits(0);
        night.table()
    })
}

fn a_night_is_loaded_once(night: &Night) {
    night.semel("run").exits(0).says("load done: 50 of 50, 42,034 rows");
    let table = night.table();
    assert_eq!(table.len(), FLIGHTS);
    assert!(table == night.told_by_files(), "the table has what the files have");
    night.semel("run").exits(0).says("nothing to do; 106 of 106 proved done");

    // A corrected file takes the place of its rows, and of no others.
    night.folder.sh("sed -i '2s/,285,/,286,/; 3d' raw/2013-02-17.csv");
    night.semel("run").exits(0).says("load done: 1 of 50");
    assert_eq!(night.rows("select count(*) from flight"), [(FLIGHTS - 1).to_string()]);
    assert!(night.table() == night.told_by_files(), "the corrected day is there, once");

    // Rows that nobody can explain are found.
    let stranger = "insert into flight select day, carrier, flight, origin, dest, dep_delay, \
                    arr_delay, distance, 'me' from flight where day = '2013-02-17'";
    night.change(stranger);
    night.semel("run").exits(1).says("complete");
    night.change("delete from flight where source = 'me'");
    night.semel("run").exits(0);
    night.semel("run --expect-noop").exits(0);
}

fn killed_in_the_midst_of_it_the_table_is_whole(night: &Night) {
    // Some moments, other ones in each run of the tests.
    let chance = usize::try_from(RandomState::new().hash_one(0) % 12).unwrap();
    let mut moments = Vec::new();
    for least in [1, 14, 27].map(|least| least + chance) {
        let mut running = night.start();
        eventually("so many days are loaded", || night.loaded() >= least || running.has_ended());
        moments.push((least, night.loaded()));
        // A machine that is busy may have been too quick for us.
        if !running.has_ended() {
            running.kill();
        }
    }
    night.semel("run").exits(0);
    assert!(night.table() == reference(), "killed after {moments:?}");
    let stamps = night.rows("select row_count from semel_stamp where step = 'load'");
    let stamped: usize = stamps.iter().map(|rows| rows.parse::<usize>().unwrap()).sum();
    assert_eq!((stamps.len(), stamped), (50, FLIGHTS), "killed after {moments:?}");
    night.semel("run --expect-noop").exits(0);
}

#[test]
fn a_night_is_loaded_once_into_sqlite() {
    a_night_is_loaded_once(&Night::in_sqlite());
}

#[test]
fn a_night_is_loaded_once_into_postgres() {
    a_night_is_loaded_once(&Night::in_postgres());
}

#[test]
fn killed_in_the_midst_of_it_the_sqlite_table_is_whole() {
    killed_in_the_midst_of_it_the_table_is_whole(&Night::in_sqlite());
}

#[test]
fn killed_in_the_midst_of_it_the_postgres_table_is_whole() {
    killed_in_the_midst_of_it_the_table_is_whole(&Night::in_postgres());
}
