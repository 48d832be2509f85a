//! Killed, or failing, at every change of the disk in turn: the next run repairs
//! it, and the end is that of a run nobody interrupted.
//!
//! The test binary starts itself as a child in which semel runs on a disk that
//! dies, or reports an error, at the k-th change. Afterwards a child with a good
//! disk goes on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use semel::deed::run::{CannotBegin, Options, run, signals};
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Manifest, Verb};
use semel::ground::world::disk::{Disk, DiskError, RealDisk};
use semel::ground::world::fault::{FaultyDisk, Moment};
use semel::words::task::{Instance, TaskName};
use semel_testkit::library::{copy_of, is_somewhere, put_file, settle, with_setting};

/// Files, a folder, several outputs, a chain, a gathering, and what is done once.
const PIPELINE: &str = r#"
name = "faults"
jobs = 1

[step.clean]
each = "raw/*"
out  = "clean/{{ item.name }}"
run  = 'sort {{ item }} > {{ out }}'

[step.split]
each = { outputs-of = "clean" }
out  = { head = "split/{{ item.name }}.head", rest = "split/{{ item.name }}.rest/" }
run  = 'head -n 1 {{ item }} > {{ out.head }}; tail -n +2 {{ item }} > {{ out.rest }}/lines'

[step.report]
in  = { outputs-of = "clean" }
out = "report"
run = 'cat {{ in }} > {{ out }}'

[step.tell]
needs = ["report"]
once  = true
run   = 'echo told >> outbox'
"#;

/// A paid answer, and what is made of it.
const PAID: &str = r#"
name = "faults"
jobs = 1

[step.buy]
once = true
out  = { answer = "answer", parts = "parts/" }
run  = 'echo paid > {{ out.answer }}; echo 1 > {{ out.parts }}/1; echo bought >> ledger; kill -9 $PPID'

[step.use]
needs = ["buy"]
out   = "used"
run   = 'cat answer parts/1 > {{ out }}'
"#;

/// A command that writes in place, and is not done at once: it fails, or takes semel
/// with it.
const IN_PLACE: &str = r#"
name = "faults"
jobs = 1

[step.add]
in       = "in"
in-place = true
out      = ["log", "folder/", "new"]
retry    = { times = 1, wait = "1ms" }
run      = 'cat in >> log; cat in >> folder/log; rm -f folder/old; cat in >> new; [ -e tried ] || { touch tried; END; }'
"#;

/// The child: runs the pipeline in `SEMEL_FAULT_FOLDER`, on a disk that does what
/// `SEMEL_FAULT` says at the change of that number.
#[test]
fn child() {
    let Some(folder) = std::env::var_os("SEMEL_FAULT_FOLDER") else {
        return;
    };
    let fault = std::env::var("SEMEL_FAULT").unwrap_or_default();
    let (kind, at) = fault.split_once(' ').unwrap_or(("none", "0"));
    // `die 3`: the third change; `die 3 append to`: the third time that is done.
    let (at, only) = at.split_once(' ').unwrap_or((at, ""));
    let (kind, at, only) = (kind.to_owned(), at.parse::<u64>().unwrap(), only.to_owned());
    let of_kind = AtomicU64::new(0);
    let doings = Arc::new(Mutex::new(String::new()));
    let done = Arc::clone(&doings);
    let hook = move |number: u64, moment: Moment, doing: &'static str, path: &Path| {
        let is_it = match &*only {
            "" => number == at,
            only if only == doing && moment == Moment::Before => {
                of_kind.fetch_add(1, Ordering::SeqCst) + 1 == at
            }
            only => only == doing && of_kind.load(Ordering::SeqCst) == at,
        };
        if moment == Moment::After {
            *done.lock().unwrap() += &format!("{doing}\n");
        }
        if !is_it {
            return Ok(());
        }
        match (&*kind, moment) {
            ("die", Moment::After) => {
                rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                )
                .unwrap();
                unreachable!("SIGKILL is not survived");
            }
            ("full", Moment::Before) => Err(DiskError {
                doing,
                path: path.to_owned(),
                source: std::io::Error::from_raw_os_error(28),
            }),
            _ => Ok(()),
        }
    };
    let disk = FaultyDisk::new(RealDisk::at(Path::new(&folder)).unwrap(), Box::new(hook));
    let text = std::fs::read_to_string(Path::new(&folder).join("semel.toml"));
    let status = run_on(&disk, &text.unwrap_or_else(|_| PIPELINE.to_owned()));
    if let Some(home) = Some(Path::new(&folder).join(".semel")).filter(|home| home.exists()) {
        std::fs::write(home.join("changes"), disk.changes().to_string()).unwrap();
        std::fs::write(home.join("doings"), &*doings.lock().unwrap()).unwrap();
    }
    std::process::exit(status);
}

fn run_on(disk: &dyn Disk, text: &str) -> i32 {
    let (_, signals) = signals();
    with_setting(disk, text, |setting| {
        match run(setting, &Options::default(), &signals, &mut |_| {}) {
            Ok(ended) => ended.report.status(),
            Err(CannotBegin::Broken(_) | CannotBegin::Manifest { .. }) => 5,
            Err(error) => panic!("{error:?}"),
        }
    })
}

/// What a child did: its exit status, or that it was killed.
fn child_in(folder: &Path, fault: &str) -> Option<i32> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture"])
        .env("SEMEL_FAULT_FOLDER", folder)
        .env("SEMEL_FAULT", fault)
        .output()
        .unwrap();
    let status = output.status;
    assert!(status.code() != Some(101), "{}", String::from_utf8_lossy(&output.stderr));
    status.code().or_else(|| {
        assert_eq!(status.signal(), Some(9));
        None
    })
}

/// A folder before its first run.
fn first(folder: &Path) {
    put_file(folder, "raw/1", "b\na\n");
    put_file(folder, "raw/2", "d\nc\n");
    // What somebody else put there must not be lost.
    put_file(folder, "report", "precious");
}

/// A folder after a good run, with an input that changed since, an output that
/// was mended by hand, and one that is gone.
fn changed(folder: &Path) {
    first(folder);
    assert_eq!(child_in(folder, "none 0"), Some(0));
    put_file(folder, "raw/1", "b\na\nz\n");
    put_file(folder, "clean/2", "mended");
    std::fs::remove_dir_all(folder.join("split/2.rest")).unwrap();
}

/// A folder in which something was bought, semel was killed before it had noted
/// that, and a human said that it is done.
fn bought(folder: &Path) {
    put_file(folder, "semel.toml", PAID);
    assert_eq!(child_in(folder, "none 0"), None, "the command kills semel");
    assert_eq!(child_in(folder, "none 0"), Some(3), "it refuses");
    settle(folder, "faults", "buy", Verb::Done);
}

/// The next run, and where it refuses what may have been told, a human who looks and
/// settles it, and the run after that.
fn goes_on(folder: &Path) -> Option<i32> {
    match child_in(folder, "none 0") {
        Some(3) => {
            let was_told = folder.join("outbox").exists();
            settle(folder, "faults", "tell", if was_told { Verb::Done } else { Verb::Redo });
            child_in(folder, "none 0")
        }
        ended => ended,
    }
}

/// A folder in which what is written in place stands already.
fn to_be_added_to(folder: &Path, end: &str) {
    put_file(folder, "semel.toml", IN_PLACE.replace("END", end));
    put_file(folder, "in", "2\n");
    put_file(folder, "log", "precious\n");
    put_file(folder, "folder/log", "1\n");
    put_file(folder, "folder/old", "old\n");
}

/// The first attempt fails: all is put back within the run.
fn failing(folder: &Path) {
    to_be_added_to(folder, "exit 1");
}

/// The first attempt was killed with semel: the next run puts all back.
fn half_written(folder: &Path) {
    to_be_added_to(folder, "kill -9 $PPID; exit 1");
    assert_eq!(child_in(folder, "none 0"), None, "the command kills semel");
    assert_eq!(std::fs::read(folder.join("log")).unwrap(), b"precious\n2\n");
}

/// And somebody put something else into the place since.
fn half_written_and_mended(folder: &Path) {
    half_written(folder);
    put_file(folder, "new", "mended");
}

/// All that is there, but semel's own.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(inside) = open.pop() {
        for entry in std::fs::read_dir(inside).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != ".semel" {
                open.push(path);
            } else if path.is_file() {
                found.insert(
                    path.strip_prefix(folder).unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                );
            }
        }
    }
    found
}

/// Runs all points of a scenario: kills or fails the k-th change, runs again, and
/// compares. Gives how many points there were.
fn explore(prepare: fn(&Path), kind: &str, precious: &[u8]) -> u64 {
    let reference = tempfile::tempdir().unwrap();
    prepare(reference.path());
    assert_eq!(child_in(reference.path(), "none 0"), Some(0));
    let wanted = contents(reference.path());
    let changes: u64 =
        std::fs::read_to_string(reference.path().join(".semel/changes")).unwrap().parse().unwrap();
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at > changes {
                        break;
                    }
                    point(prepare, kind, at, precious, &wanted);
                }
            });
        }
    });
    changes
}

fn point(
    prepare: fn(&Path),
    kind: &str,
    at: u64,
    precious: &[u8],
    wanted: &BTreeMap<PathBuf, Vec<u8>>,
) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let what = format!("{kind} at change {at}");
    match child_in(folder, &format!("{kind} {at}")) {
        None => assert!(kind == "die", "{what}"),
        // An error while something is cleared away after the end does not undo it.
        Some(status) => {
            assert!(kind == "full" && [0, 1, 5].contains(&status), "{what}: exit {status}");
        }
    }
    assert!(is_somewhere(folder, precious), "{what}: bytes that semel did not make are gone");
    assert_eq!(goes_on(folder), Some(0), "{what}: the next run");
    assert_eq!(&contents(folder), wanted, "{what}: the end is another");
    assert!(is_somewhere(folder, precious), "{what}: bytes that semel did not make are gone");
    // What was kept for a human goes with the first run after it is settled.
    assert_eq!(child_in(folder, "none 0"), Some(0), "{what}: one more run");
    let left: Vec<_> =
        std::fs::read_dir(folder.join(".semel/staging")).into_iter().flatten().flatten().collect();
    assert!(left.is_empty(), "{what}: {left:?} is left in staging");
}

#[test]
fn i1_i7_i8_killed_after_any_change_of_a_first_run() {
    let points = explore(first, "die", b"precious");
    assert!(points > 40, "{points}");
}

#[test]
fn i1_i7_i8_killed_after_any_change_of_a_later_run() {
    explore(changed, "die", b"mended");
}

/// What was paid for is there once, and not lost while it is taken over.
#[test]
fn i1_i3_killed_after_any_change_while_a_kept_output_is_published() {
    explore(bought, "die", b"paid\n");
}

#[test]
fn i7_i8_a_full_disk_while_a_kept_output_is_published() {
    explore(bought, "full", b"paid\n");
}

#[test]
fn i7_i8_a_full_disk_at_any_change_of_a_first_run() {
    explore(first, "full", b"precious");
}

#[test]
fn i7_i8_a_full_disk_at_any_change_of_a_later_run() {
    explore(changed, "full", b"mended");
}

/// Pays once, and leaves nothing to look at.
const PAY: &str = r#"
name = "faults"
jobs = 1

[step.tell]
once = true
run  = 'echo told >> outbox'
"#;

fn pay(folder: &Path) {
    put_file(folder, "semel.toml", PAY);
}

fn outbox(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("outbox")).unwrap_or_default()
}

fn forget(folder: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!(".semel/manifest.db{end}")));
    }
}

/// Killed between the log and the manifest, at the intent (1) and at the receipt (2),
/// with the manifest as it was then and with none.
#[test]
fn i3_i6_killed_between_log_and_manifest_nothing_is_told_twice() {
    for (append, told, then) in [(1, "", Some(3)), (2, "told\n", Some(0))] {
        for is_lost in [false, true] {
            let what = format!("append {append}, lost: {is_lost}");
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            pay(folder);
            assert_eq!(child_in(folder, &format!("die {append} append to")), None, "{what}");
            assert_eq!(outbox(folder), told, "{what}");
            if is_lost {
                forget(folder);
            }
            assert_eq!(child_in(folder, "none 0"), then, "{what}");
            assert_eq!(outbox(folder), told, "{what}");
            assert_eq!(goes_on(folder), Some(0), "{what}");
            assert_eq!(outbox(folder), "told\n", "{what}");
        }
    }
}

/// A full disk at the intent: the command is not started. At the receipt: the
/// manifest keeps it, and if that is lost too, the intent in the log refuses.
#[test]
fn i3_i6_a_full_disk_while_appending_to_the_log() {
    for is_lost in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        pay(folder);
        assert_eq!(child_in(folder, "full 1 append to"), Some(5));
        assert_eq!(outbox(folder), "", "it was not started");
        if is_lost {
            // Nobody knows of it then, not even that it did not begin.
            forget(folder);
            assert_eq!(child_in(folder, "none 0"), Some(3));
            settle(folder, "faults", "tell", Verb::Redo);
        }
        assert_eq!(child_in(folder, "none 0"), Some(0));
        assert_eq!(outbox(folder), "told\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    pay(folder);
    assert_eq!(child_in(folder, "full 2 append to"), Some(0));
    assert_eq!(child_in(folder, "none 0"), Some(0));
    forget(folder);
    assert_eq!(child_in(folder, "none 0"), Some(3), "an intent without an end");
    assert_eq!(outbox(folder), "told\n");
}

/// Killed at every change while once.log and the manifest are taken over.
#[test]
fn i6_killed_after_any_change_while_a_lost_memory_is_made_anew() {
    fn lost(folder: &Path) {
        pay(folder);
        assert_eq!(child_in(folder, "none 0"), Some(0));
        forget(folder);
    }
    explore(lost, "die", b"told\n");
    explore(lost, "full", b"told\n");
}

#[test]
fn i8_i9_killed_after_any_change_while_a_command_writes_in_place_and_fails() {
    explore(failing, "die", b"precious\n");
}

#[test]
fn i8_i9_a_full_disk_while_a_command_writes_in_place_and_fails() {
    explore(failing, "full", b"precious\n");
}

#[test]
fn i8_i9_killed_after_any_change_while_what_was_there_is_put_back() {
    explore(half_written, "die", b"precious\n");
    explore(half_written_and_mended, "die", b"mended");
}

#[test]
fn i8_i9_a_full_disk_while_what_was_there_is_put_back() {
    explore(half_written, "full", b"precious\n");
}

/// Several outputs, of which one was mended by hand since, and a check that comes
/// after.
const SET: &str = r#"
name = "faults"
jobs = 1

[step.split]
in    = "in"
out   = { head = "head", rest = "rest/", log = "log" }
check = "test ! -e bad"
run   = 'head -n 1 in > {{ out.head }}; tail -n +2 in > {{ out.rest }}/lines; cat in > {{ out.log }}'
"#;

/// The set of an earlier input is in place, and a new one is to be made.
fn set(folder: &Path) {
    put_file(folder, "semel.toml", SET);
    put_file(folder, "in", "1\n2\n");
    assert_eq!(child_in(folder, "none 0"), Some(0));
    put_file(folder, "log", "precious");
    put_file(folder, "in", "3\n4\n");
}

/// The same, but the check will not hold: what was there stays.
fn set_that_does_not_hold(folder: &Path) {
    set(folder);
    put_file(folder, "bad", "");
}

#[test]
fn i1_i7_i8_killed_after_any_change_while_a_set_is_published() {
    explore(set, "die", b"precious");
}

#[test]
fn i7_i8_a_full_disk_while_a_set_is_published() {
    explore(set, "full", b"precious");
}

/// The numbers of the attempts whose publication is journalled.
fn journals(folder: &Path) -> Vec<PathBuf> {
    let runs = std::fs::read_dir(folder.join(".semel/staging")).into_iter().flatten().flatten();
    let files = runs.flat_map(|run| std::fs::read_dir(run.path()).unwrap().flatten());
    files
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|end| end == "journal"))
        .collect()
}

/// How a task came to be complete, and by which run.
fn receipt_of(folder: &Path, step: &str) -> Option<(&'static str, i64)> {
    let home = Home::in_folder(&folder.canonicalize().unwrap());
    let manifest = SqliteManifest::read(&home.manifest()).unwrap();
    let name = TaskName::new(step, &Instance::default(), None);
    let receipt = manifest.receipt("faults", &name).unwrap()?;
    Some((receipt.origin.name(), receipt.run))
}

/// Works through points, in a few threads.
fn each_of(points: &[u64], point: impl Fn(u64) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(at) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    point(*at);
                }
            });
        }
    });
}

/// The changes of the last run after which the disk is another than before: for a kill,
/// what was synced is as what was not.
fn changes_of(folder: &Path) -> Vec<u64> {
    let doings = std::fs::read_to_string(folder.join(".semel/doings")).unwrap();
    let doings = (1..).zip(doings.lines());
    doings.filter(|(_, doing)| *doing != "sync").map(|(at, _)| at).collect()
}

/// Where a set that was begun to be published ends, whatever cuts its recovery short.
fn twice(prepare: fn(&Path), status: i32) {
    let prepared = tempfile::tempdir().unwrap();
    prepare(prepared.path());
    let before = contents(prepared.path());
    let reference = copy_of(prepared.path());
    assert_eq!(child_in(reference.path(), "none 0"), Some(status));
    let wanted = contents(reference.path());
    assert_eq!(wanted == before, status == 1, "what does not hold is not published");
    let (killed, tried) = (Mutex::new(Vec::new()), AtomicU64::new(0));
    each_of(&changes_of(reference.path()), |at| {
        let folder = copy_of(prepared.path());
        assert_eq!(child_in(folder.path(), &format!("die {at}")), None);
        if !journals(folder.path()).is_empty() {
            killed.lock().unwrap().push((at, folder));
        }
    });
    for (at, killed) in killed.into_inner().unwrap() {
        let whole = copy_of(killed.path());
        assert_eq!(child_in(whole.path(), "none 0"), Some(status), "killed at {at}");
        each_of(&changes_of(whole.path()), |again| {
            let what = format!("killed at {at}, then at {again}");
            let folder = copy_of(killed.path());
            let folder = folder.path();
            assert_eq!(child_in(folder, &format!("die {again}")), None, "{what}");
            assert!(is_somewhere(folder, b"precious"), "{what}");
            assert_eq!(child_in(folder, "none 0"), Some(status), "{what}");
            assert_eq!(contents(folder), wanted, "{what}");
            assert!(is_somewhere(folder, b"precious"), "{what}");
            if status == 0 {
                // It is the receipt of the run that was killed while it published.
                assert_eq!(receipt_of(folder, "split"), Some(("run", 2)), "{what}");
            }
            tried.fetch_add(1, Ordering::SeqCst);
        });
    }
    assert!(tried.load(Ordering::SeqCst) > 20);
}

/// Row "some renames" of the table: rolled forward by looking, also when that is cut
/// short: an exchange is not made twice.
#[test]
fn i7_i8_killed_again_while_a_set_is_rolled_forward() {
    twice(set, 0);
}

/// Row "folder sync": the check does not hold, and the old ones are put back, also
/// when that is cut short.
#[test]
fn i7_i8_killed_again_while_a_set_that_does_not_hold_is_put_back() {
    twice(set_that_does_not_hold, 1);
}

/// A paid answer of two outputs; there is an older one.
const BUY: &str = r#"
name = "faults"
jobs = 1

[step.buy]
once = true
in   = "in"
out  = { answer = "answer", parts = "parts/" }
run  = 'cat in > {{ out.answer }}; cat in > {{ out.parts }}/1; echo bought >> ledger'
"#;

fn to_be_bought(folder: &Path) {
    put_file(folder, "semel.toml", BUY);
    put_file(folder, "in", "1\n");
    assert_eq!(child_in(folder, "none 0"), Some(0));
    std::fs::remove_file(folder.join("ledger")).unwrap();
    // It is wanted once more, for another input; and somebody wrote into the old one.
    put_file(folder, "in", "2\n");
    put_file(folder, "answer", "precious");
    assert_eq!(child_in(folder, "none 0"), Some(3));
    settle(folder, "faults", "buy", Verb::Redo);
}

/// Once the exit status, the rules and the digests of what was paid for are journalled,
/// no crash makes a human settle it.
#[test]
fn i3_i6_what_was_paid_for_is_finished_from_its_journal() {
    let prepared = tempfile::tempdir().unwrap();
    to_be_bought(prepared.path());
    let reference = copy_of(prepared.path());
    assert_eq!(child_in(reference.path(), "none 0"), Some(0));
    let wanted = contents(reference.path());
    let finished = AtomicU64::new(0);
    each_of(&changes_of(reference.path()), |at| {
        let folder = copy_of(prepared.path());
        let folder = folder.path();
        assert_eq!(child_in(folder, &format!("die {at}")), None, "killed at {at}");
        let is_journalled = !journals(folder).is_empty();
        let was_bought = folder.join("ledger").exists();
        match child_in(folder, "none 0") {
            Some(0) => {}
            // What it left is kept, or it did not begin: a human looks.
            Some(3) if !is_journalled => {
                settle(folder, "faults", "buy", if was_bought { Verb::Done } else { Verb::Redo });
                assert_eq!(child_in(folder, "none 0"), Some(0), "killed at {at}");
            }
            ended => panic!("killed at {at}: {ended:?}"),
        }
        assert_eq!(contents(folder), wanted, "killed at {at}");
        assert!(is_somewhere(folder, b"precious"), "killed at {at}");
        if is_journalled {
            assert_eq!(receipt_of(folder, "buy").map(|(origin, _)| origin), Some("run"));
            finished.fetch_add(1, Ordering::SeqCst);
        }
        // The log knows it too: with the manifest gone it is not bought again.
        forget(folder);
        assert_eq!(child_in(folder, "none 0"), Some(0), "killed at {at}");
        assert_eq!(contents(folder), wanted, "killed at {at}");
    });
    assert!(finished.load(Ordering::SeqCst) > 5);
}

/// The first of a set is in its place, and then semel was killed.
fn half_published(folder: &Path) {
    set(folder);
    assert_eq!(child_in(folder, "die 1 exchange"), None);
}

fn half_published_and_paid(folder: &Path) {
    to_be_bought(folder);
    assert_eq!(child_in(folder, "die 1 exchange"), None);
    assert_eq!(std::fs::read_to_string(folder.join("ledger")).unwrap(), "bought\n");
}

/// The run says so, and the next one finishes it.
#[test]
fn i3_i7_i8_a_full_disk_while_a_set_is_rolled_forward() {
    explore(half_published, "full", b"precious");
    explore(half_published_and_paid, "full", b"precious");
}
