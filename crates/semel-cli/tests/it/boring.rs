//! The second run is boring, and says so.

use std::os::unix::fs::MetadataExt;

use crate::{days, ran, scratch, trace};

#[test]
fn the_second_run_executes_nothing_and_touches_nothing() {
    let days = days();
    days.semel("run").exits(0);
    assert_eq!(trace(&days), ran(&[("clean", 5), ("report", 1), ("sum", 5), ("tell", 1)]));
    let before = days.snapshot();
    days.semel("run").exits(0).says("test: nothing to do; 12 of 12 proved done in");
    assert_eq!(days.snapshot(), before);
    days.semel("run --expect-noop").exits(0);
    assert_eq!(days.snapshot(), before);
}

#[test]
fn touched_copied_and_moved_back_inputs_change_nothing() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.sh(
        "touch raw/*.csv; cp raw/1.csv x && rm raw/1.csv && mv x raw/1.csv; chmod 600 raw/2.csv",
    );
    days.semel("run --expect-noop").exits(0);
    days.semel("run").exits(0).says("nothing to do");
    assert_eq!(trace(&days), ran(&[]));
}

#[test]
fn outputs_that_were_touched_or_copied_are_still_proved() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("touch clean/*.csv; cp report.txt x && mv x report.txt");
    days.semel("run").exits(0).says("nothing to do");
}

#[test]
fn expect_noop_starts_nothing_and_tells_what_would_run() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.file("raw/3.csv", "day,flights\n3,999\n");
    let before = days.snapshot();
    days.semel("run --expect-noop").exits(6).says("its input changed").says("would not be boring");
    assert_eq!(days.snapshot(), before);
    assert_eq!(trace(&days), ran(&[]));
}

#[test]
fn expect_noop_on_a_first_run_makes_no_memory() {
    let days = days();
    days.semel("run --expect-noop").exits(6);
    assert!(!days.has(".semel"));
}

#[test]
fn a_quiet_run_says_not_a_byte_when_all_is_well() {
    let days = days();
    for _ in 0..2 {
        let ran = days.semel("run -q").exits(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    }
    days.file("raw/6.csv", "day,flights\n").sh("chmod 000 raw/6.csv");
    days.pipeline("[step.fails]\nrun = 'exit 3'");
    days.semel("run -q").exits(1).says("exit status 3");
}

/// How many transactions stand in the write-ahead log of a SQLite file: each ends
/// with a frame that names the size of the file after it (sqlite.org/fileformat2,
/// section 4).
fn commits_in(log: &[u8]) -> usize {
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    (32..log.len()).step_by(frame).filter(|at| number(at + 4) != 0).count()
}

#[test]
fn many_tasks_share_commits_and_leave_no_staging() {
    let scratch = scratch();
    for item in 0..200 {
        scratch.file(format!("in/{item}"), format!("{item}"));
    }
    let pipeline = |version: &str| {
        format!(
            "[step.copy]\neach = 'in/*'\nout = 'out/{{{{ item.name }}}}'\nversion = '{version}'\nrun = ['cp', '{{{{ item }}}}', '{{{{ out }}}}']"
        )
    };
    scratch.pipeline(&pipeline("1"));
    scratch.semel("run -j 8").exits(0);
    assert_eq!(scratch.list("out").len(), 200);
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    let inode = |path: &str| std::fs::metadata(scratch.path().join(path)).unwrap().ino();
    let before = inode("out/7");
    scratch.semel("run").exits(0).says("200 of 200 proved done");
    assert_eq!(inode("out/7"), before, "it was not even replaced by itself");

    // A reader that looks back keeps the log from being begun anew.
    let reader = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    reader.execute_batch("begin; select count(*) from receipt").unwrap();
    scratch.pipeline(&pipeline("2")).semel("run -j 8").exits(0);
    let log = std::fs::read(scratch.path().join(".semel/manifest.db-wal")).unwrap();
    let commits = commits_in(&log);
    assert!((4..150).contains(&commits), "{commits} commits for 200 tasks");
}
