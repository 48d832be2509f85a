//! A manifest of an older version is brought up to date, whole or not at all, and keeps
//! all that it knew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use rusqlite::Connection;
use semel::ground::manifest::Manifest as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::task::{Instance, TaskName};

/// As semel 0.1 wrote it, with what a run of a pipeline leaves.
const VERSION_1: &str = include_str!("../src/ground/manifest/schema/0001.sql");

const ROWS: &str = "
insert into memory values ('the-id', '2026-11-25T15:00:00.000Z', null, 0);
insert into once_log values ('the-id', 2);
insert into run values (1, 'run-1', 'test', 'semel.toml', '', '{}', 'semel run', 0, 'db7',
    'etl', 4121, '2026-11-25T15:00:01.000Z', '2026-11-25T15:00:02.000Z', 0);
insert into part values (x'01', '{\"version\":\"1\"}'), (zeroblob(32), '{}');
insert into receipt values (1, 'test', 'pay', '', 'anna', 1, randomblob(32), zeroblob(32), null,
    x'01', 'run', '2026-11-25T15:00:02.000Z', 1, 0.5, 1);
insert into receipt values (2, 'test', 'copy', '', 'in/1', 1, randomblob(32), zeroblob(32),
    randomblob(32), x'01', 'run', '2026-11-25T15:00:02.000Z', 1, 0.5, 0);
insert into file values (2, 'out', '', 'out/1', 5, null, 'ab');
insert into attempt values (1, 1, 'test', 'pay', '', 'bert', 1, randomblob(32), zeroblob(32),
    '2026-11-25T15:00:01.000Z', '2026-11-25T15:00:02.000Z', 'failed', 'exit status 1', 1, null,
    0, 1, 0, 0, 1);
insert into resolution values (1, 'test', 'pay', '', 'bert', 'redo', 0, 'not sent', 'db7', 'etl',
    '2026-11-25T15:00:03.000Z', null);
insert into answer values ('test', 'copy', '', 'in/1', randomblob(32), zeroblob(32),
    '2026-11-25T15:00:03.000Z');
";

fn version_1(path: &Path) -> Connection {
    let old = Connection::open(path).unwrap();
    old.execute_batch("pragma journal_mode = wal; pragma cache_size = 1;").unwrap();
    old.execute_batch(VERSION_1).unwrap();
    old.execute_batch(ROWS).unwrap();
    old.pragma_update(None, "application_id", 0x7365_6d6c).unwrap();
    old.pragma_update(None, "user_version", 1).unwrap();
    old
}

/// It is up to date, and knows all that it knew.
fn knows_all(path: &Path) {
    let manifest = SqliteManifest::open(path).unwrap();
    manifest.check().unwrap();
    assert_eq!(manifest.identity().unwrap().id, "the-id");
    let memory = manifest.memory_of("test", "pay", &Instance::default()).unwrap();
    assert_eq!(&*memory.receipts[0].item, "anna");
    assert_eq!((&*memory.open[0].item, memory.open[0].provably_undone), ("bert", false));
    assert_eq!(&*memory.said[0].item, "bert");
    let copy = TaskName::new("copy", &Instance::default(), Some("in/1"));
    let receipt = manifest.receipt("test", &copy).unwrap().unwrap();
    assert_eq!((receipt.files.len(), &*receipt.given), (1, "{\"version\":\"1\"}"));
    assert_eq!(manifest.answers("test", "copy", &Instance::default()).unwrap().len(), 1);
    assert_eq!(manifest.known_lines().unwrap().get("the-id"), Some(&2));
    let version = manifest.query("pragma user_version").unwrap().rows[0][0].clone().unwrap();
    assert!(version.parse::<u32>().unwrap() > 1, "it was not brought up to date");
}

#[test]
fn upgrade_from_version_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    drop(version_1(&path));
    knows_all(&path);
    knows_all(&path);
}

/// Dead in the middle of it, with half of it in the write-ahead log: it is as it was, and
/// the next one who opens it begins again.
#[test]
fn an_upgrade_that_was_cut_short_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    let old = version_1(&path);
    old.execute_batch(
        "begin immediate; alter table receipt add column sum integer;
         update receipt set seconds = seconds + 1; create table big (x);
         insert into big select hex(randomblob(60000));",
    )
    .unwrap();
    old.cache_flush().unwrap();
    let dead = folder.path().join("dead");
    std::fs::create_dir(&dead).unwrap();
    for name in ["manifest.db", "manifest.db-wal"] {
        std::fs::copy(folder.path().join(name), dead.join(name)).unwrap();
    }
    assert!(std::fs::metadata(dead.join("manifest.db-wal")).unwrap().len() > 60_000);
    knows_all(&dead.join("manifest.db"));
}

/// Many open it at once: one of them brings it up to date.
#[test]
fn an_upgrade_by_many_at_once_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    drop(version_1(&path));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| knows_all(&path));
        }
    });
}

/// A manifest that says of itself that it is older than what is in it is damaged, and
/// not brought up to date twice.
#[test]
fn what_is_newer_than_it_says_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    drop(version_1(&path));
    knows_all(&path);
    let lies = Connection::open(&path).unwrap();
    lies.pragma_update(None, "user_version", 1).unwrap();
    drop(lies);
    assert!(SqliteManifest::open(&path).is_err_and(|error| error.is_damage()));
}
