//! What the tracer sees of a shell that writes files, and what it does to it.

use std::process::Command;

use semel_testkit::Scratch;
use semel_testkit::tracer::{Blow, Moment, Plan, Traced, call::Action, launch, trace};

#[test]
fn launcher() {
    launch();
}

/// Runs a script of `sh`; nothing, and says so, where that cannot be traced.
fn traced(folder: &Scratch, script: &str, blow: Option<(usize, Blow)>) -> Option<Traced> {
    let mut command = Command::new("bash");
    command.args(["-c", script]).current_dir(folder.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    match trace(&command, &Plan { is_point: &|point| point.own && point.changes, blow }) {
        Ok(traced) => Some(traced),
        Err(why) => {
            why.tell("a test of the tracer");
            None
        }
    }
}

const SCRIPT: &str = "echo one > a; echo two >> a; mkdir b; echo done; exit 3";

fn folder() -> Scratch {
    Scratch::new("/nonexistent")
}

#[test]
fn the_changes_of_the_command_itself_are_seen_in_their_order() {
    let folder = folder();
    let Some(traced) = traced(&folder, SCRIPT, None) else { return };
    assert_eq!((traced.status, &*traced.stdout, &*traced.stderr), (3, "done\n", ""));
    let seen: Vec<_> = traced
        .points
        .iter()
        .map(|point| (point.action, point.path.file_name().unwrap().to_str().unwrap()))
        .collect();
    // That of mkdir is another's.
    assert_eq!(seen, [(Action::Open, "a"), (Action::Write, "a"), (Action::Write, "a")]);
    assert!(traced.points.iter().all(|point| point.result.is_some_and(|result| result >= 0)));
    assert!(folder.has("b"));
}

#[test]
fn killed_before_or_after_a_call() {
    for (at, moment, text) in [
        (1, Moment::Before, None),
        (1, Moment::After, Some("")),
        (2, Moment::Before, Some("")),
        (2, Moment::Within, Some("on")),
        (2, Moment::After, Some("one\n")),
        (3, Moment::After, Some("one\ntwo\n")),
    ] {
        let folder = folder();
        let Some(traced) = traced(&folder, SCRIPT, Some((at, Blow::Kill(moment)))) else { return };
        assert_eq!((traced.status, traced.was_struck), (137, true));
        let left = std::fs::read_to_string(folder.path().join("a")).ok();
        assert_eq!(left.as_deref(), text, "{at} {moment:?}");
        assert!(!folder.has("b"));
    }
}

#[test]
fn a_kill_takes_everybody() {
    let folder = folder();
    let fifo = folder.path().join("alive");
    folder.sh("mkfifo alive");
    // All hold the fifo open for as long as they live.
    let script = "exec 3> alive; sleep 600 & setsid sleep 600 & echo x > a; wait";
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    let traced = traced(&folder, script, Some((1, Blow::Kill(Moment::After))));
    if traced.is_none() {
        folder.sh(": > alive");
    }
    assert_eq!(reader.join().unwrap(), b"");
}

#[test]
fn a_call_fails_and_the_next_goes_well_or_not() {
    const FULL: i32 = 28;
    for (lasts, text) in [(false, "two\n"), (true, "")] {
        let folder = folder();
        let blow = Blow::Fail { errno: FULL, lasts };
        let Some(traced) = traced(&folder, SCRIPT, Some((2, blow))) else { return };
        assert_eq!(traced.status, 3);
        assert!(traced.stderr.contains("No space left on device"), "{}", traced.stderr);
        assert_eq!(folder.text("a"), text);
    }
}

#[test]
fn a_point_that_is_not_reached_changes_nothing() {
    let folder = folder();
    let blow = Blow::Kill(Moment::Before);
    let Some(traced) = traced(&folder, SCRIPT, Some((9, blow))) else { return };
    assert_eq!((traced.status, traced.was_struck), (3, false));
    assert_eq!(folder.text("a"), "one\ntwo\n");
}

#[test]
fn a_write_that_is_cut_short_goes_on() {
    let folder = folder();
    let Some(traced) = traced(&folder, "printf 123456 > a", Some((2, Blow::Shorten))) else {
        return;
    };
    assert_eq!((traced.status, folder.text("a").as_str()), (0, "123456"));
    let results: Vec<_> = traced.points.iter().map(|point| point.result.unwrap()).collect();
    assert_eq!(results[1..], [3, 3]);
}
