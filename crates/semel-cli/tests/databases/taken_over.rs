//! A run that was taken over while it was at work: it writes nothing more. On one host a
//! stopped holder is never taken over, so that here the fence in the database is raised,
//! as whoever takes over would raise it.

use semel_testkit::servers::{Postgres, mariadb, postgres};

use crate::scene::{Database, Files, Server, scratch};

const FILES: Files = Files { files: 1, rows: 20 };

fn taken_over(database: &Database<'_, impl Server>) {
    database.make_tables();
    let scratch = scratch();
    let gate = FILES.put_behind_gate(&scratch, &database.url());

    let running = scratch.start("run");
    gate.until_arrived();
    assert_eq!(database.sql("select count(*) from told"), "1");
    database.sql("update semel_fence set token = token + 100");
    gate.open();
    running.end().exits(5).says("its lease was taken over");
    let counts = "select (select count(*) from reading), (select count(*) from told), \
                  (select count(*) from semel_stamp)";
    assert_eq!(database.sql(counts), "0\t1\t1");

    // Whoever was taken over stays so, and says it each time.
    scratch.semel("run").exits(5).says("its lease was taken over");
    assert_eq!(database.sql(counts), "0\t1\t1");

    // Another manifest has tokens of its own. What is loaded it adopts.
    scratch.remove(".semel");
    scratch.semel("run").exits(0);
    FILES.are_done(&scratch, database).unwrap();
}

#[test]
fn i11_whoever_was_taken_over_loads_nothing_more() {
    taken_over(&Database::Served(postgres(), postgres().create_database()));
    taken_over(&Database::Served(mariadb(), mariadb().create_database()));
    let folder = scratch();
    let path = folder.path().join("readings.db");
    let database: Database<'_, Postgres> = Database::File(&path);
    taken_over(&database);
}
