//! Writing what is unsafe to repeat: log first, manifest second.

#![allow(clippy::unwrap_used, reason = "tests")]

use semel::Timestamp;
use semel::deed::lease::Holder;
use semel::deed::memory::{catch_up, make};
use semel::deed::once::OnceWriter;
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Entry, Manifest};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::words::digest::Digest;
use semel::words::fingerprint::Fingerprint;
use semel::words::once::Doer;
use semel::words::receipt::Attempt;
use semel::words::run::{By, NewRun};
use semel::words::task::{Instance, TaskName};

fn by() -> By {
    By { host: "db7".to_owned(), user: "etl".to_owned(), pid: 1 }
}

/// Begins a run; gives who does what in it.
fn begin(manifest: &mut dyn Manifest) -> Doer {
    let run = NewRun {
        id: "run-1".to_owned(),
        pipeline: "test".to_owned(),
        file: "semel.toml".to_owned(),
        instance: Instance::default(),
        params: "{}".to_owned(),
        command: "semel run".to_owned(),
        selected: false,
        task: None,
        by: by(),
        began: Timestamp::now(),
    };
    let number = manifest.begin_run(&run).unwrap();
    let By { host, user, pid } = by();
    Doer { run: run.id, number, file: run.file, host, user, pid }
}

fn intent(run: i64, number: u64) -> Entry {
    let what = Digest::of(&number.to_le_bytes());
    let attempt = Attempt {
        task: TaskName::new("pay", &Instance::default(), Some(&number.to_string())),
        run,
        number,
        tries: 1,
        fingerprint: Fingerprint { what, how: what },
        began: Timestamp::now(),
        once: true,
    };
    Entry::Begin { attempt, said: None }
}

/// What the log has and the manifest could not take is taken over before the next
/// line is, so that none is ever passed over.
#[test]
fn i6_a_line_that_the_manifest_could_not_take_is_taken_over_later() {
    for goes_on in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::at(folder.path()).unwrap();
        let home = Home::in_folder(disk.root());
        make(&disk, &home, "draft", &me()).unwrap().unwrap();
        let mut manifest = SqliteManifest::open(&home.manifest()).unwrap();
        let by = begin(&mut manifest);
        let run = by.number;
        let mut writer = OnceWriter::new(&disk, &home, &manifest, by).unwrap();
        writer.write(&mut manifest, "test", &intent(run, 1)).result.unwrap();
        // A manifest that only reads takes nothing, as one on a full disk.
        let mut full = SqliteManifest::read(&home.manifest()).unwrap();
        writer.write(&mut full, "test", &intent(run, 2)).result.unwrap_err();
        let open = |manifest: &dyn Manifest| {
            manifest.memory_of("test", "pay", &Instance::default()).unwrap().open.len()
        };
        assert_eq!(open(&manifest), 1);
        if goes_on {
            writer.write(&mut manifest, "test", &intent(run, 3)).result.unwrap();
            assert_eq!(open(&manifest), 3);
            assert_eq!(catch_up(&disk, &home, &mut manifest).unwrap(), None);
        } else {
            let found = catch_up(&disk, &home, &mut manifest).unwrap().unwrap();
            assert_eq!((found.lines, found.is_incomplete), (1, false));
            assert_eq!(open(&manifest), 2);
        }
        assert_eq!(manifest.identity().unwrap().whole_since, None, "nothing was lost");
    }
}

/// A manifest that does not know the runs of the lines is an older one.
#[test]
fn i6_lines_of_runs_that_have_ended_tell_of_an_older_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let disk = RealDisk::at(folder.path()).unwrap();
    let home = Home::in_folder(disk.root());
    make(&disk, &home, "draft", &me()).unwrap().unwrap();
    let mut manifest = SqliteManifest::open(&home.manifest()).unwrap();
    let by = begin(&mut manifest);
    let run = by.number;
    let mut writer = OnceWriter::new(&disk, &home, &manifest, by).unwrap();
    let mut full = SqliteManifest::read(&home.manifest()).unwrap();
    writer.write(&mut full, "test", &intent(run, 1)).result.unwrap_err();
    manifest.end_run(run, Timestamp::now(), 0, &[]).unwrap();
    let found = catch_up(&disk, &home, &mut manifest).unwrap().unwrap();
    assert_eq!((found.lines, found.is_incomplete), (1, true));
}

fn me() -> Holder {
    Holder {
        host: "db7".to_owned(),
        user: "etl".to_owned(),
        pid: std::process::id(),
        command: "semel init".to_owned(),
        since: Timestamp::UNIX_EPOCH,
    }
}
