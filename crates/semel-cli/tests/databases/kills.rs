//! Servers, and semels, that are killed with -9 at random moments.

use std::time::{Duration, Instant};

use semel_testkit::Scratch;
use semel_testkit::servers::{MariaDb, Postgres, mariadb, postgres};
use semel_testkit::sweep::{Seeded, times};

use crate::scene::{Database, Files, Server, Tally, scratch};

const FILES: Files = Files { files: 6, rows: 200 };

/// How often each is tried in a full sweep.
const ALL: usize = 200;

const RUN: &str = "run -j 3";

/// How long a run takes that nobody disturbs. The first one of a process has more to
/// wait for.
fn undisturbed(database: &Database<'_, impl Server>) -> Duration {
    let took = || {
        database.make_tables();
        let scratch = scratch();
        FILES.put(&scratch, &database.url());
        let began = Instant::now();
        scratch.semel(RUN).exits(0);
        let took = began.elapsed();
        FILES.are_done(&scratch, database).unwrap();
        took
    };
    took();
    took()
}

/// Runs it again. Whoever is dead may hold a lock for a moment, in the server.
fn goes_on(scratch: &Scratch) -> Result<(), String> {
    match scratch.semel(RUN) {
        again if again.status == 0 => Ok(()),
        again => Err(format!("it does not go on: {again:?}")),
    }
}

fn killed_servers<S: Server>(mut server: S, usually: usize) {
    let name = server.create_database();
    let whole = undisturbed(&Database::Served(&server, name.clone()));
    // MariaDB 10.11 does not always start again where it was killed soon after tables were
    // made ("Missing FILE_CREATE, FILE_DELETE or FILE_MODIFY before FILE_CHECKPOINT").
    server.come_to_rest();
    let mut tally = Tally::default();
    for trial in 0..times(usually, ALL) {
        let mut seeded = Seeded::of(u64::try_from(trial).unwrap());
        let at = whole.mul_f64(seeded.fraction());
        // Semel may find it gone, or there again.
        let comes_soon = seeded.fraction() < 0.5;
        let scratch = scratch();
        let database = Database::Served(&server, name.clone());
        database.empty_tables();
        FILES.put(&scratch, &database.url());
        let mut running = scratch.start(RUN);
        running.ends_within(at);
        server.kill();
        if comes_soon {
            server.restart();
        }
        let first = running.end();
        if !comes_soon {
            server.restart();
        }
        let held = match first.status {
            0 => Ok(()),
            5 => goes_on(&scratch),
            _ => Err("it neither settled it nor said that it was broken".to_owned()),
        };
        let database = Database::Served(&server, name.clone());
        let held = held.and_then(|()| FILES.are_done(&scratch, &database));
        let held =
            held.map_err(|error| format!("killed after {at:?}: {error}\nat first: {first:?}"));
        tally.take(first.status, held);
    }
    tally.tell(&format!("{}, the server is killed", S::NAME));
}

#[test]
fn i11_postgres_is_killed_at_random_and_started_again() {
    killed_servers(Postgres::start(true), 6);
}

#[test]
fn i11_mariadb_is_killed_at_random_and_started_again() {
    killed_servers(MariaDb::start(true), 6);
}

/// What was idle then was ended; nothing was asked of it.
fn restarted_between_two_tasks<S: Server>(mut server: S) {
    let name = server.create_database();
    let database = Database::Served(&server, name.clone());
    database.make_tables();
    let scratch = scratch();
    let gate = FILES.put_behind_gate(&scratch, &database.url());
    let running = scratch.start(RUN);
    gate.until_arrived();
    server.kill();
    server.restart();
    gate.open();
    running.end().exits(0);
    FILES.are_done(&scratch, &Database::Served(&server, name)).unwrap();
}

#[test]
fn a_server_that_was_restarted_between_two_tasks_ends_no_run() {
    restarted_between_two_tasks(Postgres::start(false));
    restarted_between_two_tasks(MariaDb::start(false));
}

/// Kills semel with all it started; `file_holds` is asked before anybody mends anything.
fn killed_semels<S: Server>(
    database: &Database<'_, S>,
    what: &str,
    usually: usize,
    file_holds: impl Fn() -> Result<(), String>,
) {
    let whole = undisturbed(database);
    let mut tally = Tally::default();
    for trial in 0..times(usually, ALL) {
        let at = whole.mul_f64(Seeded::of(u64::try_from(trial).unwrap()).fraction());
        let scratch = scratch();
        database.make_tables();
        FILES.put(&scratch, &database.url());
        let mut running = scratch.start(RUN);
        let status = if running.ends_within(at) {
            running.end().exits(0).status
        } else {
            running.kill();
            137
        };
        let held = file_holds()
            .and_then(|()| goes_on(&scratch))
            .and_then(|()| FILES.are_done(&scratch, database))
            .and_then(|()| file_holds());
        tally.take(status, held.map_err(|error| format!("after {at:?}: {error}")));
    }
    tally.tell(&format!("{what}, semel is killed"));
}

#[test]
fn i11_semel_is_killed_at_random_while_it_loads_into_postgres() {
    let database = Database::Served(postgres(), postgres().create_database());
    killed_semels(&database, "PostgreSQL", 6, || Ok(()));
}

#[test]
fn i11_semel_is_killed_at_random_while_it_loads_into_mariadb() {
    let database = Database::Served(mariadb(), mariadb().create_database());
    killed_semels(&database, "MariaDB", 6, || Ok(()));
}

#[test]
fn i11_semel_is_killed_at_random_while_it_loads_into_sqlite() {
    let folder = scratch();
    let path = folder.path().join("readings.db");
    let database: Database<'_, Postgres> = Database::File(&path);
    killed_semels(&database, "SQLite", 10, || match &*database.sql("pragma integrity_check") {
        "ok" => Ok(()),
        other => Err(other.to_owned()),
    });
}
