//! The rows for what has no receipt, or an attempt since: none, failed, interrupted.

use semel_testkit::{Gate, Scratch, eventually};

use super::{
    CHECK, ONCE, ORDINARY, completed, completed_and_denied, copy, copy_by, note, receipts, runs,
    why,
};
use crate::{ran, scratch, trace};

// none | proven, claimed

#[test]
fn none_proven_is_adopted() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&copy(nature, ""));
        scratch.sh("rm -f .semel/manifest.db* .semel/once.log");
        runs(&scratch, 0, &[]);
        assert_eq!(receipts(&scratch), ["copy  adopt"]);
    }
}

#[test]
fn none_proven_is_told_by_why() {
    for nature in [ORDINARY, ONCE] {
        // Another step of the pipeline makes the memory: this one has no receipt.
        let other = "[step.other]\nrun = 'true'\n";
        let scratch = completed(&(other.to_owned() + &copy(nature, "")));
        scratch.sh("rm -f .semel/manifest.db* .semel/once.log").semel("run other").exits(0);
        assert_eq!(why(&scratch, "copy"), "none; proven; adopt; found-done");
        runs(&scratch, 0, &[]);
    }
}

#[test]
fn none_claimed_is_adopted() {
    for nature in [ORDINARY, ONCE] {
        let scratch = scratch();
        scratch.file("in", "A").file("state", "yes").pipeline(&note(nature, CHECK));
        scratch.semel("init --bare").exits(0);
        assert_eq!(why(&scratch, "note"), "none; claimed; adopt; check-held-already");
        runs(&scratch, 0, &[]);
        assert_eq!(receipts(&scratch), ["note  adopt"]);
    }
}

// none, and a completed task of the same step and instance has this fingerprint

/// A step over files, with or without outputs.
fn fanned(nature: &str, more: &str) -> String {
    let to = if more.contains("out =") { "{{ out }}" } else { "/dev/null" };
    format!(
        "[step.each]\neach = 'raw/*'\n{nature}\n{more}\nrun = 'echo each >> trace; cat {{{{ item }}}} > {to}'"
    )
}

const OUT: &str = "out = 'made/{{ item.name }}'";

fn fanned_out(nature: &str, more: &str) -> Scratch {
    let scratch = scratch();
    scratch.file("raw/1", "A").pipeline(&fanned(nature, more));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("each", 1)]));
    scratch
}

#[test]
fn none_but_a_twin_ordinary_is_reused() {
    for (more, renamed) in
        [(OUT, false), (OUT, true), ("same = 'content'", false), ("same = 'content'", true)]
    {
        let scratch = fanned_out(ORDINARY, more);
        scratch.sh(if renamed { "mv raw/1 raw/2" } else { "cp raw/1 raw/2" });
        assert!(why(&scratch, "each:raw/2").starts_with("none; "));
        assert!(why(&scratch, "each:raw/2").ends_with("; reuse; same-content"));
        runs(&scratch, 0, &[]);
        assert!(more != OUT || scratch.text("made/2") == "A");
        assert!(receipts(&scratch).contains(&"each raw/2 reuse".to_owned()));
    }
}

#[test]
fn none_but_a_twin_whose_outputs_are_not_proven_ordinary_runs() {
    let worlds: [&str; 2] = ["rm made/1", "printf mine > made/1"];
    for world in worlds {
        let scratch = fanned_out(ORDINARY, OUT);
        scratch.sh("mv raw/1 raw/2");
        scratch.sh(world);
        assert_eq!(why(&scratch, "each:raw/2"), "none; missing; run; new");
        runs(&scratch, 0, &[("each", 1)]);
        assert_eq!(scratch.text("made/2"), "A");
    }
}

#[test]
fn none_but_a_twin_once_is_reused_if_that_item_is_gone_or_the_file_says_so() {
    for (more, how) in [(OUT, "mv"), ("same = 'content'", "mv"), ("same = 'content'", "cp")] {
        let scratch = fanned_out(ONCE, more);
        scratch.sh(&format!("{how} raw/1 raw/2"));
        assert!(why(&scratch, "each:raw/2").ends_with("; reuse; same-content"));
        runs(&scratch, 0, &[]);
        assert!(more != OUT || scratch.text("made/2") == "A");
    }
}

#[test]
fn none_but_a_twin_once_is_refused_if_both_are_there() {
    let scratch = fanned_out(ONCE, OUT);
    scratch.sh("cp raw/1 raw/2");
    assert_eq!(why(&scratch, "each:raw/2"), "none; missing; refuse; same-content-present");
    runs(&scratch, 3, &[]);
    assert!(!scratch.has("made/2"));
}

// none | else

#[test]
fn none_else_ordinary_runs() {
    let scratch = scratch();
    scratch.file("in", "A").pipeline(&(copy(ORDINARY, "") + &note(ORDINARY, "")));
    scratch.semel("init --bare").exits(0);
    assert_eq!(why(&scratch, "copy"), "none; missing; run; new");
    assert_eq!(why(&scratch, "note"), "none; unknown; run; new");
    // That an output merely exists proves nothing.
    scratch.file("out", "mine");
    assert_eq!(why(&scratch, "copy"), "none; altered; run; new");
    runs(&scratch, 0, &[("copy", 1), ("note", 1)]);
    assert_eq!((&*scratch.text("out"), &*scratch.text(".semel/displaced/1/out")), ("A", "mine"));
}

#[test]
fn none_else_once_runs() {
    let scratch = scratch();
    scratch.file("in", "A").file("state", "no").pipeline(&(copy(ONCE, "") + &note(ONCE, CHECK)));
    scratch.semel("init --bare").exits(0);
    assert_eq!(why(&scratch, "copy"), "none; missing; run; new");
    assert_eq!(why(&scratch, "note"), "none; missing; run; new");
    scratch.pipeline(&(copy(ONCE, "") + &note(ONCE, "")));
    assert_eq!(why(&scratch, "note"), "none; unknown; run; new");
    runs(&scratch, 0, &[("copy", 1), ("note", 1)]);
}

#[test]
fn none_else_once_is_refused_if_the_memory_is_incomplete() {
    let scratch = completed(&(copy(ONCE, "") + &note(ONCE, "")));
    scratch.sh("rm .semel/manifest.db* .semel/once.log out").semel("run").exits(3);
    assert_eq!(why(&scratch, "copy"), "none; missing; refuse; memory-incomplete");
    assert_eq!(why(&scratch, "note"), "none; unknown; refuse; memory-incomplete");
    runs(&scratch, 3, &[]);
}

// failed, interrupted | proven

/// Killed after its output took its place, before it had a receipt: while its
/// check was asked.
fn killed_while_checked(nature: &str) -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let check = format!(
        "check = {{ run = '''[ -e open ] || [ ! -e out ] || {{ {}; }}; cat state''', equals = 'yes' }}",
        gate.wait()
    );
    scratch.file("in", "A").file("state", "no").pipeline(&copy_by(
        "cp {{ in }} {{ out }}; echo yes > state",
        nature,
        &check,
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    eventually("its beginning is noted", || scratch.query("select count(*) from attempt") == ["1"]);
    running.kill();
    assert_eq!((scratch.text("out"), receipts(&scratch)), ("A".to_owned(), vec![]));
    assert_eq!(trace(&scratch), ran(&[("copy", 1)]));
    scratch.file("open", "");
    scratch
}

/// Failed for another input after it was done for this one, whose output stands.
fn failed_since(nature: &str) -> Scratch {
    let scratch = completed(&copy_by("cp {{ in }} {{ out }}; grep -q A {{ in }}", nature, ""));
    scratch.file("in", "B");
    scratch.semel_words(["redo", "copy", "--because", "x"]).exits(0);
    scratch.semel("run").exits(1);
    assert_eq!(trace(&scratch), ran(&[("copy", 1)]));
    scratch.file("in", "A");
    scratch
}

#[test]
fn failed_or_interrupted_proven_is_adopted() {
    for nature in [ORDINARY, ONCE] {
        let scratch = killed_while_checked(nature);
        assert_eq!(why(&scratch, "copy"), "interrupted; proven; adopt; found-done");
        runs(&scratch, 0, &[]);
        // It was run, and journalled: the receipt is the one that was owed.
        assert_eq!(receipts(&scratch), ["copy  run"]);
        let scratch = failed_since(nature);
        assert_eq!(why(&scratch, "copy"), "failed; proven; adopt; found-done");
        runs(&scratch, 0, &[]);
        assert_eq!(scratch.text("out"), "A");
    }
}

// failed, interrupted | claimed, else

/// A step without outputs that failed, or was killed, after its effect.
fn broken_off(nature: &str, how: &str) -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let ends = match how {
        "failed" => "exit 1".to_owned(),
        _ => gate.wait(),
    };
    scratch.file("state", "no").pipeline(&format!(
        "[step.note]\n{nature}\n{CHECK}\nrun = '''echo note >> trace; [ -e open ] || {{ {ends}; }}; echo yes > state'''"
    ));
    if how == "failed" {
        scratch.semel("run").exits(1);
    } else {
        let running = scratch.start("run");
        gate.until_arrived();
        eventually("its beginning is noted", || {
            scratch.query("select count(*) from attempt") == ["1"]
        });
        running.kill();
    }
    assert_eq!(trace(&scratch), ran(&[("note", 1)]));
    scratch.file("open", "");
    scratch
}

#[test]
fn failed_or_interrupted_claimed_ordinary_runs() {
    for how in ["failed", "interrupted"] {
        let scratch = broken_off(ORDINARY, how);
        scratch.file("state", "yes");
        // Its answer would change nothing, so the check is not even asked.
        assert_eq!(why(&scratch, "note"), format!("{how}; unknown; run; again"));
        runs(&scratch, 0, &[("note", 1)]);
    }
}

#[test]
fn failed_or_interrupted_claimed_once_is_adopted() {
    for how in ["failed", "interrupted"] {
        let scratch = broken_off(ONCE, how);
        scratch.file("state", "yes");
        assert_eq!(why(&scratch, "note"), format!("{how}; claimed; adopt; check-held-already"));
        runs(&scratch, 0, &[]);
    }
}

#[test]
fn failed_or_interrupted_else_ordinary_runs() {
    for how in ["failed", "interrupted"] {
        let scratch = broken_off(ORDINARY, how);
        assert_eq!(why(&scratch, "note"), format!("{how}; unknown; run; again"));
        runs(&scratch, 0, &[("note", 1)]);
    }
    // What is there and not semel's is kept, as ever.
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.pipeline(&copy_by("false {{ in }} {{ out }}", ORDINARY, "")).semel("run").exits(1);
    trace(&scratch);
    scratch.file("out", "mine").pipeline(&copy_by("cp -f {{ in }} {{ out }}", ORDINARY, ""));
    assert_eq!(why(&scratch, "copy"), "failed; altered; run; again");
    runs(&scratch, 0, &[("copy", 1)]);
    assert_eq!(scratch.text(".semel/displaced/3/out"), "mine");
}

#[test]
fn failed_or_interrupted_else_once_runs_if_the_check_says_missing() {
    for how in ["failed", "interrupted"] {
        let scratch = broken_off(ONCE, how);
        assert_eq!(why(&scratch, "note"), format!("{how}; missing; run; again-safely"));
        runs(&scratch, 0, &[("note", 1)]);
    }
}

#[test]
fn failed_else_once_runs_after_a_safe_exit() {
    let scratch = scratch();
    scratch.file("in", "A");
    scratch.pipeline(
        &note(ONCE, "safe-exits = [75]").replace(">> trace", ">> trace; [ -e open ] || exit 75"),
    );
    scratch.semel("run").exits(1);
    assert_eq!(trace(&scratch), ran(&[("note", 1)]));
    assert_eq!(why(&scratch, "note"), "failed; unknown; run; again-safely");
    scratch.file("open", "");
    runs(&scratch, 0, &[("note", 1)]);
}

#[test]
fn failed_else_once_runs_if_it_never_started() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nrun = ['./pay']").semel("run").exits(1);
    assert_eq!(why(&scratch, "pay"), "failed; unknown; run; again-safely");
    scratch.file("pay", "#!/bin/sh\necho pay >> trace\n").sh("chmod +x pay");
    runs(&scratch, 0, &[("pay", 1)]);
}

#[test]
fn failed_or_interrupted_else_once_is_refused() {
    for how in ["failed", "interrupted"] {
        let scratch = broken_off(ONCE, how);
        // The check is taken away: nobody can tell.
        let text = scratch.text("semel.toml").replace(CHECK, "");
        scratch.file("semel.toml", text);
        assert_eq!(why(&scratch, "note"), format!("{how}; unknown; refuse; may-be-done"));
        runs(&scratch, 3, &[]);
        assert_eq!(receipts(&scratch), [""; 0]);
    }
}

// What stands below the table.

#[test]
fn a_check_that_cannot_tell_is_no_no() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed_and_denied(nature);
        scratch.remove("state");
        scratch.semel("why copy").exits(5).says("its check cannot tell");
        scratch.semel("plan").exits(5);
        runs(&scratch, 5, &[]);
        scratch.file("state", "yes");
        runs(&scratch, 0, &[]);
    }
}

#[test]
fn done_and_redo_only_record() {
    let scratch = completed(&copy(ORDINARY, ""));
    let before = scratch.snapshot();
    let known = receipts(&scratch);
    for verb in ["done", "redo"] {
        scratch.semel_words([verb, "copy", "--because", "x"]).exits(0);
        assert_eq!((scratch.snapshot(), receipts(&scratch)), (before.clone(), known.clone()));
    }
    runs(&scratch, 0, &[("copy", 1)]);
}
