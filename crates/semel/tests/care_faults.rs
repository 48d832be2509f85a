//! Prune, cut short at every change of the disk in turn: each output is where it was
//! or where it goes, whole, and the next prune moves the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use semel::deed::prune::{Pruned, prune};
use semel::deed::run::{CannotBegin, Options, run, signals};
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, DiskError, DiskResult, RealDisk};
use semel::ground::world::fault::{FaultyDisk, Moment};
use semel_testkit::library::{copy_of, with_setting};

const BEFORE: &str = r#"
name = "faults"
[step.file]
out = "some/file"
run = 'echo file > {{ out }}'
[step.folder]
out = "tree/"
run = 'mkdir {{ out }}/inner; echo leaf > {{ out }}/inner/leaf; ln -s inner/leaf {{ out }}/link'
[step.stays]
out = "stays"
run = 'echo stays > {{ out }}'
"#;

const AFTER: &str = r#"
name = "faults"
[step.stays]
out = "stays"
run = 'echo stays > {{ out }}'
"#;

fn pruned(disk: &dyn Disk) -> Result<Pruned, CannotBegin> {
    let path = Home::in_folder(disk.root()).manifest();
    let manifest = SqliteManifest::read(&path).unwrap();
    with_setting(disk, AFTER, |setting| prune(setting, &manifest))
}

/// A folder in which two outputs are left over; somebody put a file into one.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::at(folder.path()).unwrap();
    let status = with_setting(&disk, BEFORE, |setting| {
        let (_, signals) = signals();
        run(setting, &Options::default(), &signals, &mut |_| {}).unwrap().report.status()
    });
    assert_eq!(status, 0);
    std::fs::write(folder.path().join("tree/CNAME"), "mine").unwrap();
    folder
}

/// Whether all that must not be lost is there, whole, at one place or the other.
fn is_all_there(folder: &Path) -> bool {
    let mut places = vec![folder.to_owned()];
    let displaced = folder.join(".semel/displaced");
    places.extend(std::fs::read_dir(displaced).into_iter().flatten().flatten().map(|it| it.path()));
    let holds = |place: &Path, path: &str, text: &str| {
        std::fs::read_to_string(place.join(path)).is_ok_and(|found| found == text)
    };
    let has_file = places.iter().any(|place| holds(place, "some/file", "file\n"));
    let has_tree = places.iter().any(|place| {
        holds(place, "tree/CNAME", "mine")
            && holds(place, "tree/inner/leaf", "leaf\n")
            && std::fs::read_link(place.join("tree/link"))
                .is_ok_and(|to| to == Path::new("inner/leaf"))
    });
    has_file && has_tree && holds(folder, "stays", "stays\n")
}

/// A disk on which nothing can be changed from the k-th change on, before it or
/// after it; with `apart` the folder of what is displaced is on another file system.
fn faulty(folder: &Path, at: u64, moment: Moment, apart: bool) -> FaultyDisk<RealDisk> {
    let hook =
        move |number: u64, now: Moment, doing: &'static str, path: &Path| -> DiskResult<()> {
            let fails = |code| {
                let source = std::io::Error::from_raw_os_error(code);
                Err(DiskError { doing, path: path.to_owned(), source })
            };
            if number > at || (number == at && (now == moment || now == Moment::After)) {
                return fails(28);
            }
            if apart && doing == "rename to" && now == Moment::Before {
                return fails(18);
            }
            Ok(())
        };
    FaultyDisk::new(RealDisk::at(folder).unwrap(), Box::new(hook))
}

fn explore(apart: bool) -> u64 {
    let template = prepared();
    let whole = copy_of(template.path());
    let disk = faulty(whole.path(), u64::MAX, Moment::Before, apart);
    let done = pruned(&disk).unwrap();
    assert_eq!((done.moved.len(), done.failed.len()), (2, 0), "{done:?}");
    assert!(is_all_there(whole.path()));
    assert!(!whole.path().join("tree").exists() && !whole.path().join("some/file").exists());
    for at in 1..=disk.changes() {
        for moment in [Moment::Before, Moment::After] {
            let folder = copy_of(template.path());
            let what = format!("{moment:?} change {at}");
            match pruned(&faulty(folder.path(), at, moment, apart)) {
                Ok(pruned) => assert!(!pruned.failed.is_empty() || at > 1, "{what}: {pruned:?}"),
                Err(CannotBegin::Broken(_)) => {}
                Err(error) => panic!("{what}: {error:?}"),
            }
            assert!(is_all_there(folder.path()), "{what}: something is gone");
            let again = pruned(&faulty(folder.path(), u64::MAX, Moment::Before, apart)).unwrap();
            assert!(again.failed.is_empty(), "{what}: {again:?}");
            assert!(is_all_there(folder.path()), "{what}: something is gone after the next");
            let left = ["tree", "some/file"].map(|path| folder.path().join(path).exists());
            assert_eq!(left, [false, false], "{what}: something is left");
        }
    }
    disk.changes()
}

// One after the other: a command that is just being started in one thread has, for a
// moment, the locks of another.
#[test]
fn i8_prune_is_cut_short_at_any_change() {
    let points = explore(false);
    assert!(points >= 9, "{points}");
    let points = explore(true);
    assert!(points >= 20, "{points}");
}
