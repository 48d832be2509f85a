//! Verbs that only read work for somebody who may not write.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use semel_testkit::{Ran, Scratch};

use crate::{days, scratch};

/// The command for somebody who may read all and write nothing.
fn as_a_reader(scratch: &Scratch, words: &[&str]) -> Ran {
    close(scratch.path());
    let ran = scratch.ran(scratch.command_of_nobody(words));
    open(scratch.path());
    ran
}

/// Nobody may write to a folder and what is in it.
fn close(folder: &Path) {
    for_all(folder, |is_folder| if is_folder { 0o555 } else { 0o444 });
}

fn open(folder: &Path) {
    for_all(folder, |is_folder| if is_folder { 0o755 } else { 0o644 });
}

fn for_all(folder: &Path, mode: impl Fn(bool) -> u32 + Copy) {
    let set = |path: &Path, is_folder| {
        let permissions = std::fs::Permissions::from_mode(mode(is_folder));
        std::fs::set_permissions(path, permissions).unwrap();
    };
    // From above when it is opened, from below when it is closed.
    let opens = mode(true) & 0o200 != 0;
    if opens {
        set(folder, true);
    }
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            for_all(&entry.path(), mode);
        } else if kind.is_file() {
            set(&entry.path(), false);
        }
    }
    if !opens {
        set(folder, true);
    }
}

#[test]
fn i5_who_may_not_write_can_read_all() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/3.csv", "3,301\n");
    days.sh("sed -i 's/cat {{ in }}/false; cat {{ in }}/' semel.toml");
    days.semel("run").exits(1);
    let before = (days.snapshot(), days.list(".semel/lock"));
    as_a_reader(&days, &["status"]).exits(1).says("report    failed");
    as_a_reader(&days, &["status", "clean:raw/*"]).exits(0).says("5 of 5 tasks done");
    as_a_reader(&days, &["plan"]).exits(0).says("would run");
    as_a_reader(&days, &["why", "report"]).exits(0).says("report");
    as_a_reader(&days, &["log", "report"]).exits(0).says("==> report");
    as_a_reader(&days, &["history"]).exits(0).says("    2  ");
    as_a_reader(&days, &["history", "clean"]).exits(0).says("clean:raw/3.csv");
    as_a_reader(&days, &["verify", "clean"]).exits(0).says("5 of 5 outputs");
    as_a_reader(&days, &["manifest", "query", "select count(*) from receipt"]).exits(0).says("12");
    let export = as_a_reader(&days, &["manifest", "export"]).exits(0).stdout;
    assert_eq!(export.lines().last(), days.semel("manifest export").exits(0).stdout.lines().last());
    as_a_reader(&days, &["prune"]).exits(0).says("nothing to prune");
    assert_eq!((days.snapshot(), days.list(".semel/lock")), before);
}

/// Somebody looks while a run of another user writes.
#[test]
fn a_reader_sees_a_run_that_is_at_work() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be two users");
        return;
    }
    let scratch = scratch();
    let gate = semel_testkit::Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "jobs = 1\n[step.a]\nout = 'a'\nrun = 'echo a > {{{{ out }}}}'\n[step.b]\nneeds = ['a']\nonce = true\nrun = '''{}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    for_all(scratch.path(), |is_folder| if is_folder { 0o755 } else { 0o644 });
    let read = |words: &[&str]| scratch.ran(scratch.command_of_nobody(words));
    read(&["status"]).exits(4).says("at work");
    read(&["status", "b"]).exits(4).says("at work");
    read(&["verify"]).exits(0).says("1 of 1 output").says("at work   pid");
    read(&["manifest", "query", "select count(*) from receipt"]).exits(0).says("1");
    read(&["plan"]).exits(0);
    gate.open();
    running.end().exits(0);
}

#[test]
fn who_may_not_write_is_told_so_when_that_is_asked() {
    let days = days();
    days.semel("run").exits(0);
    for words in [
        &["run"][..],
        &["redo", "report", "--because", "x"],
        &["prune", "--yes"],
        &["manifest", "gc", "--yes"],
        &["manifest", "import", "semel.toml"],
    ] {
        let ran = as_a_reader(&days, words);
        assert_eq!(ran.status, 5, "{words:?}: {ran:?}");
        assert!(ran.stderr.contains("broken"), "{ran:?}");
    }
}

#[test]
fn where_there_is_no_memory_each_verb_says_what_to_type() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'true'");
    as_a_reader(&scratch, &["status"]).exits(1).says("never run").says("semel run");
    as_a_reader(&scratch, &["status", "a"]).exits(1).says("never run").says("semel run");
    as_a_reader(&scratch, &["plan"]).exits(0).says("1 of 1 task would run");
    for words in [
        &["why", "a"][..],
        &["log"],
        &["history"],
        &["verify"],
        &["prune"],
        &["manifest", "query", "select 1"],
        &["manifest", "export"],
        &["manifest", "gc"],
    ] {
        let ran = as_a_reader(&scratch, words).says("semel run");
        assert!([0, 5].contains(&ran.status), "{words:?}: {ran:?}");
    }
    assert!(!scratch.has(".semel"));
}
