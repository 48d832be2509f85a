//! Fifty days of real data, as a user would work with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use semel_testkit::{Scratch, eventually};

use crate::scratch;

/// A copy of `examples/flights`.
fn flights() -> Scratch {
    let scratch = scratch();
    scratch.copy_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights"));
    scratch
}

/// What a run of it leaves that nobody disturbed.
fn reference() -> &'static BTreeMap<PathBuf, Vec<u8>> {
    static REFERENCE: OnceLock<BTreeMap<PathBuf, Vec<u8>>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let flights = flights();
        flights.semel("run").exits(0);
        flights.contents()
    })
}

/// How many commands a run started.
fn started(flights: &Scratch, run: i64) -> Vec<String> {
    flights.query(&format!(
        "select step || ' ' || count(*) from attempt where run = {run} group by step order by step"
    ))
}

#[test]
fn fifty_days_then_nothing() {
    let flights = flights();
    flights.semel("run").exits(0);
    assert_eq!(started(&flights, 1), ["announce 1", "clean 50", "report 1", "summarise 50"]);
    assert_eq!(flights.text("outbox.txt").lines().count(), 1);
    assert!(
        flights
            .text("report.txt")
            .ends_with("\n50 days, 42034 flights, 10.1 minutes late on average\n")
    );
    let before = flights.snapshot();
    flights.semel("run").exits(0).says("nothing to do; 102 of 102 proved done");
    flights.semel("run --expect-noop").exits(0);
    flights.sh("touch raw/*.csv");
    let touched = flights.snapshot();
    flights.semel("run").exits(0).says("nothing to do");
    assert_eq!(flights.snapshot(), touched);
    let same = |path: &PathBuf| !path.starts_with("raw");
    let (before, after): (Vec<_>, Vec<_>) = (
        before.iter().filter(|(path, _)| same(path)).collect(),
        touched.iter().filter(|(path, _)| same(path)).collect(),
    );
    assert_eq!(before, after, "no output was touched");
    assert_eq!(started(&flights, 2), [""; 0]);
}

#[test]
fn a_renamed_day_is_reused() {
    let flights = flights();
    flights.semel("run").exits(0);
    flights.rename("raw/2013-02-17.csv", "raw/2013-02-17b.csv").semel("run").exits(0);
    assert_eq!(started(&flights, 2), ["report 1"]);
    assert_eq!(flights.text("clean/2013-02-17b.csv"), flights.text("clean/2013-02-17.csv"));
    assert_eq!(flights.text("report.txt").as_bytes(), reference()[Path::new("report.txt")]);
}

#[test]
fn one_changed_byte_runs_that_day_and_the_report() {
    let flights = flights();
    flights.semel("run").exits(0);
    flights.sh("sed -i '2s/,285,/,286,/' raw/2013-02-17.csv").semel("run").exits(0);
    assert_eq!(started(&flights, 2), ["clean 1", "report 1", "summarise 1"]);
    assert!(flights.text("report.txt").contains("B6 (286 m)"));
    assert_eq!(flights.text("outbox.txt").lines().count(), 1);
}

#[test]
fn deleted_and_tampered_outputs_are_repaired() {
    let flights = flights();
    flights.semel("run").exits(0);
    flights
        .remove("clean/2013-01-31.csv")
        .file("summary/2013-02-01.csv", "tampered")
        .remove("report.txt");
    flights.semel("run").exits(0);
    assert_eq!(started(&flights, 2), ["clean 1", "report 1", "summarise 1"]);
    assert_eq!(&flights.contents(), reference());
}

#[test]
fn killed_in_the_middle_it_goes_on_and_finished_days_are_untouched() {
    let flights = flights();
    let running = flights.start("run");
    eventually("twenty days are summed up", || {
        std::fs::read_dir(flights.path().join("summary")).is_ok_and(|entries| entries.count() >= 20)
    });
    running.kill();
    // What has a receipt, or carries a stamp, was finished.
    let done = flights.query(
        "select path from file join receipt on receipt.id = file.receipt where role = 'out'",
    );
    let before = flights.snapshot();
    assert!(done.len() < 100 && !flights.has("report.txt"), "{} were done already", done.len());
    flights.semel("run").exits(0);
    let after = flights.snapshot();
    for path in &done {
        assert_eq!(after[Path::new(path)], before[Path::new(path)], "{path}");
    }
    assert_eq!(&flights.contents(), reference());
    flights.semel("run --expect-noop").exits(0);
}

#[test]
fn a_bad_line_fails_its_day_and_says_which_line() {
    let flights = flights();
    flights.sh("echo 2013,2,17 >> raw/2013-02-17.csv");
    flights
        .semel("run")
        .exits(1)
        .says("raw/2013-02-17.csv: line 850 has 3 columns, expected 19")
        .says("of 102 tasks: 1 failed, 3 blocked");
    assert!(
        !flights.has("clean/2013-02-17.csv")
            && !flights.has("report.txt")
            && !flights.has("outbox.txt")
    );
    flights.sh("sed -i '$d' raw/2013-02-17.csv").semel("run").exits(0);
    assert_eq!(&flights.contents(), reference());
}
