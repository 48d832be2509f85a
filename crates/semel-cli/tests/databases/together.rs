//! Many at once: each file is loaded once, by one of them, and all of them end well.

use semel_testkit::servers::{Postgres, mariadb, postgres};
use semel_testkit::{Ran, Running, Scratch};

use crate::scene::{Database, Files, Server, scratch};

const FILES: Files = Files { files: 50, rows: 20 };

const MANY: usize = 10;

fn all_end_well(running: Vec<Running>) {
    let ran: Vec<_> = running.into_iter().map(Running::end).collect();
    let wrong: Vec<&Ran> = ran.iter().filter(|ran| ran.status != 0).collect();
    assert!(wrong.is_empty(), "{} of {}: {wrong:?}", wrong.len(), ran.len());
}

/// Each in a folder of its own, with a manifest of its own.
fn in_folders_of_their_own(database: &Database<'_, impl Server>) {
    database.make_tables();
    let folders: Vec<Scratch> = (0..MANY).map(|_| scratch()).collect();
    for folder in &folders {
        FILES.put(folder, &database.url());
    }
    all_end_well(folders.iter().map(|folder| folder.start("run -j 2")).collect());
    for folder in &folders {
        FILES.are_done(folder, database).unwrap();
    }
}

/// All in one folder; one after the other works.
fn in_one_folder(database: &Database<'_, impl Server>) {
    database.make_tables();
    let folder = scratch();
    FILES.put(&folder, &database.url());
    all_end_well((0..MANY).map(|_| folder.start("run -j 2 --wait 10m")).collect());
    FILES.are_done(&folder, database).unwrap();
}

fn at_once(database: &Database<'_, impl Server>) {
    in_folders_of_their_own(database);
    in_one_folder(database);
}

#[test]
fn i11_ten_load_the_same_files_into_postgres_at_once() {
    at_once(&Database::Served(postgres(), postgres().create_database()));
}

#[test]
fn i11_ten_load_the_same_files_into_mariadb_at_once() {
    at_once(&Database::Served(mariadb(), mariadb().create_database()));
}

#[test]
fn i11_ten_load_the_same_files_into_sqlite_at_once() {
    let folder = scratch();
    let path = folder.path().join("readings.db");
    let database: Database<'_, Postgres> = Database::File(&path);
    at_once(&database);
}
