//! Files, a database that they are loaded into, and how both must be in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::DerefMut;
use std::path::Path;
use std::time::Duration;

use semel_testkit::cut::{Moment, Protocol};
use semel_testkit::servers::{self, MariaDb, Postgres};
use semel_testkit::{Gate, Scratch, eventually};

pub(crate) fn scratch() -> Scratch {
    Scratch::new(env!("CARGO_BIN_EXE_semel"))
}

/// The tables, made anew; what semel keeps beside them is gone.
const TABLES: &str = "\
drop table if exists semel_stamp;
drop table if exists semel_fence;
drop table if exists reading;
drop table if exists told;
create table reading (station varchar(20), number integer, heat double precision, source varchar(200));
create table told (note varchar(200));
";

/// A server of either kind.
pub(crate) trait Server: Sync + DerefMut<Target = servers::Server> {
    const NAME: &str;
    const PROTOCOL: Protocol;
    /// What a client says to commit a transaction.
    const COMMIT: &[u8];
    /// Waits until all that was done is where it would be without a crash.
    fn come_to_rest(&self);
}

macro_rules! server {
    ($server:ty, $name:literal, $protocol:expr, $commit:literal, $rests:expr) => {
        impl Server for $server {
            const NAME: &str = $name;
            const PROTOCOL: Protocol = $protocol;
            const COMMIT: &[u8] = $commit;
            fn come_to_rest(&self) {
                eventually("a server has nothing to write", || $rests(self));
            }
        }
    };
}

server!(Postgres, "PostgreSQL", Protocol::Postgres, b"Q\0\0\0\x0bcommit\0", |server: &Postgres| {
    server.sql("postgres", "checkpoint").is_empty()
});
server!(MariaDb, "MariaDB", Protocol::MySql, b"\x03commit and", |server: &MariaDb| {
    let flush = "set global innodb_max_dirty_pages_pct_lwm = 0, global innodb_max_dirty_pages_pct = 0; \
                 show global status like 'Innodb_checkpoint_age'";
    let age = server.sql("mysql", flush);
    // That it was flushed is written down, too.
    age.rsplit('\t').next().is_some_and(|age| age.parse::<u64>().is_ok_and(|age| age < 64))
});

/// A database.
pub(crate) enum Database<'a, S> {
    /// Of a server, by its name.
    Served(&'a S, String),
    /// A file.
    File(&'a Path),
}

impl<S: Server> Database<'_, S> {
    /// Executes statements; the rows of the last one, with tabs between values.
    pub(crate) fn sql(&self, statements: &str) -> String {
        match self {
            Self::Served(server, name) => server.sql(name, statements),
            Self::File(path) => in_file(path, statements),
        }
    }

    pub(crate) fn make_tables(&self) {
        self.sql(TABLES);
    }

    /// Takes all rows away, of semel's tables, too.
    pub(crate) fn empty_tables(&self) {
        self.sql("delete from reading; delete from told; delete from semel_stamp; delete from semel_fence");
    }

    /// What it is called in a pipeline.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Served(server, name) => server.url_at(server.port(), name),
            Self::File(path) => format!("sqlite:{}", path.display()),
        }
    }
}

fn in_file(path: &Path, statements: &str) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(60)).unwrap();
    let mut lines = Vec::new();
    for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
        let mut statement = connection.prepare(statement).unwrap();
        let columns = statement.column_count();
        let mut rows = statement.query([]).unwrap();
        lines.clear();
        while let Some(row) = rows.next().unwrap() {
            let text = |at| match row.get::<_, rusqlite::types::Value>(at).unwrap() {
                rusqlite::types::Value::Text(text) => text,
                rusqlite::types::Value::Integer(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            lines.push((0..columns).map(text).collect::<Vec<_>>().join("\t"));
        }
    }
    lines.join("\n")
}

/// Files with rows.
#[derive(Clone, Copy)]
pub(crate) struct Files {
    pub(crate) files: usize,
    /// How many rows each has.
    pub(crate) rows: usize,
}

impl Files {
    /// Writes the files, and a pipeline that loads them and then tells of it.
    pub(crate) fn put(self, scratch: &Scratch, url: &str) {
        for file in 1..=self.files {
            let mut text = "station,number,heat\n".to_owned();
            for row in 1..=self.rows {
                writeln!(text, "S{file},{},{row}.25", file * 1000 + row).unwrap();
            }
            scratch.file(format!("in/{file:02}.csv"), text);
        }
        scratch.pipeline(&format!(
            "[db]\nmain = '{url}'\n\
             [step.load]\neach = 'in/*.csv'\nload = {{ into = 'reading', tag = 'source' }}\n\
             [step.tell]\nneeds = ['load']\nsql = \"insert into told values ('loaded')\"\n"
        ));
    }

    /// The same, but the script comes first, and before the first load it waits at a gate.
    pub(crate) fn put_behind_gate(self, scratch: &Scratch, url: &str) -> Gate {
        self.put(scratch, url);
        let gate = Gate::new(scratch.path(), "gate");
        let waits = format!("[ -e was-here ] || {{ {}; }}; touch was-here", gate.wait());
        let between = format!("[step.between]\nneeds = ['tell']\nrun = \"{waits}\"\n");
        let text = scratch.text("semel.toml").replace("needs = ['load']\n", "");
        let load = format!("{between}[step.load]\nneeds = ['between']\n");
        scratch.file("semel.toml", text.replace("[step.load]\n", &load));
        gate
    }

    /// Each file has its rows once, and each stamp tells of them; the same of what was
    /// told.
    pub(crate) fn are_in(self, database: &Database<'_, impl Server>) -> Result<(), String> {
        let rows = "select source, count(*), count(distinct number), min(number), max(number) \
                    from reading group by source order by source";
        let expected = (1..=self.files).map(|file| {
            let (first, last) = (file * 1000 + 1, file * 1000 + self.rows);
            format!("load:in/{file:02}.csv\t{0}\t{0}\t{first}\t{last}", self.rows)
        });
        is(&database.sql(rows), &expected.collect::<Vec<_>>(), "rows")?;
        is(&database.sql("select note from told"), &["loaded".to_owned()], "what was told")?;
        let stamps = "select step, coalesce(item, ''), row_count, whole from semel_stamp \
                      order by step, item";
        let loaded =
            (1..=self.files).map(|file| format!("load\tin/{file:02}.csv\t{}\t1", self.rows));
        let expected = loaded.chain(["tell\t\t1\t1".to_owned()]);
        is(&database.sql(stamps), &expected.collect::<Vec<_>>(), "stamps")
    }

    /// The same, once the run has come to its end; and the next one has nothing to do.
    pub(crate) fn are_done(
        self,
        scratch: &Scratch,
        database: &Database<'_, impl Server>,
    ) -> Result<(), String> {
        self.are_in(database)?;
        let noop = scratch.semel("run --expect-noop");
        if noop.status != 0 {
            return Err(format!("the next run is not boring: {noop:?}"));
        }
        self.are_in(database)
    }
}

fn is(found: &str, expected: &[String], what: &str) -> Result<(), String> {
    let found: Vec<_> = found.lines().collect();
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:#?}, not {expected:#?}")) }
}

/// How trials went.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) tried: usize,
    /// How the first runs ended.
    pub(crate) ended: BTreeMap<i32, usize>,
    pub(crate) violations: Vec<String>,
}

impl Tally {
    pub(crate) fn take(&mut self, status: i32, held: Result<(), String>) {
        self.tried += 1;
        *self.ended.entry(status).or_default() += 1;
        self.violations.extend(held.err());
    }

    /// Says it, and fails where something was not as it must be.
    #[track_caller]
    pub(crate) fn tell(&self, what: &str) {
        let ended: Vec<_> =
            self.ended.iter().map(|(status, times)| format!("{status}: {times}")).collect();
        let line = format!(
            "{what}: tried: {}, violations: {}; exit {}",
            self.tried,
            self.violations.len(),
            ended.join(", ")
        );
        println!("{line}");
        let told: Vec<_> = self.violations.iter().take(5).map(String::as_str).collect();
        assert!(told.is_empty(), "{line}\n---- {}", told.join("\n---- "));
    }
}

/// A proxy in front of a server.
pub(crate) fn proxy<S: Server>(server: &S, moment: Option<Moment>) -> semel_testkit::cut::Cut {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port()));
    semel_testkit::cut::Cut::at(S::PROTOCOL, at, moment)
}
