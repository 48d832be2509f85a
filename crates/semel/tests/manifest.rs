//! The stores of the manifest keep one contract.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use semel::ground::manifest::sqlite::{Birth, SqliteManifest};
use semel::ground::manifest::{Manifest, ManifestError};
use semel::ground::world::disk::RealDisk;
use semel_testkit::contract;

/// Makes a manifest in a folder, with a draft of this name; whether it is new.
fn make(folder: &Path, draft: &str) -> bool {
    let disk = RealDisk::at(folder).unwrap();
    let draft = folder.join(draft);
    SqliteManifest::create(&disk, &folder.join("manifest.db"), &draft, &Birth::default()).unwrap()
}

#[test]
fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    assert!(make(folder.path(), "draft"));
    let store = SqliteManifest::open(&folder.path().join("manifest.db")).unwrap();
    contract::keep(Box::new(store));
}

#[test]
fn what_is_not_a_manifest_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    assert!(matches!(SqliteManifest::read(&path), Err(ManifestError::Absent)));
    assert!(matches!(SqliteManifest::open(&path), Err(ManifestError::Absent)));

    std::fs::write(&path, "a text that is long enough to be looked at by a database").unwrap();
    assert!(matches!(SqliteManifest::open(&path), Err(ManifestError::Damaged(_))));

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("create table theirs (x)").unwrap();
    assert!(matches!(SqliteManifest::open(&foreign), Err(ManifestError::Foreign)));
}

#[test]
fn a_newer_manifest_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    make(folder.path(), "draft");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    for opened in [SqliteManifest::open(&path), SqliteManifest::read(&path)] {
        assert!(matches!(opened, Err(ManifestError::Newer { found: 99, known: 5 })));
    }
}

/// Many that make it in one moment make one, and one of them is told that it is
/// new.
#[test]
fn made_by_many_at_once_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let made: Vec<_> = std::thread::scope(|scope| {
        let make_one = |number: usize| {
            let is_new = make(folder, &number.to_string());
            let manifest = SqliteManifest::open(&folder.join("manifest.db")).unwrap();
            (is_new, manifest.identity().unwrap().id)
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || make_one(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|(_, id)| *id == made[0].1), "{made:?}");
    assert_eq!(made.iter().filter(|(is_new, _)| *is_new).count(), 1, "{made:?}");
    let left: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("manifest.db")), "{left:?}");
}
