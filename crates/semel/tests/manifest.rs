//! The stores of the manifest keep one contract.

use semel::ground::manifest::ManifestError;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel_testkit::contract;

#[test]
fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteManifest::open(&folder.path().join("manifest.db")).unwrap();
    contract::keep(Box::new(store));
}

#[test]
fn what_is_not_a_manifest_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    assert!(matches!(SqliteManifest::read(&path), Err(ManifestError::Absent)));

    std::fs::write(&path, "a text that is long enough to be looked at by a database").unwrap();
    assert!(matches!(SqliteManifest::open(&path), Err(ManifestError::Foreign)));

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("create table theirs (x)").unwrap();
    assert!(matches!(SqliteManifest::open(&foreign), Err(ManifestError::Foreign)));
}

#[test]
fn a_newer_manifest_is_refused_with_both_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    drop(SqliteManifest::open(&path).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    for opened in [SqliteManifest::open(&path), SqliteManifest::read(&path)] {
        assert!(matches!(opened, Err(ManifestError::Newer { found: 99, known: 1 })));
    }
}

/// Two processes that make it in one moment make one.
#[test]
fn made_by_many_at_once_it_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("manifest.db");
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    use semel::ground::manifest::Manifest as _;
                    SqliteManifest::open(&path).unwrap().identity().unwrap().id
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
