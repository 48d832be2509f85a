//! The rows and choices that a key or an option brings in: `--keep`, `max-age`,
//! `deterministic`, `ordered`, former names, lost twins.

use semel_testkit::Scratch;

use super::{ONCE, ORDINARY, completed, copy, copy_by, note, planned, receipts, runs, why};
use crate::{ran, scratch, trace};

/// Makes all receipts as old as this.
fn age(scratch: &Scratch, age: &str) {
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    let sql = format!("update receipt set at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{age}')");
    db.execute_batch(&sql).unwrap();
}

// complete, other how | proven, claimed, unknown, under --keep

#[test]
fn complete_other_how_kept_ordinary_is_adopted() {
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.pipeline(&copy_by("cp -f {{ in }} {{ out }}", ORDINARY, ""));
    assert_eq!(planned(&scratch, "", "copy"), "would; run; command-changed");
    assert_eq!(planned(&scratch, "--keep copy", "copy"), "adopt; kept");
    scratch.semel("run --keep copy").exits(0);
    assert_eq!(trace(&scratch), ran(&[]));
    assert_eq!(receipts(&scratch), ["copy  adopt"]);
    runs(&scratch, 0, &[]);
}

#[test]
fn complete_other_how_kept_ordinary_is_repaired_where_its_output_is_gone() {
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.pipeline(&copy_by("cp -f {{ in }} {{ out }}", ORDINARY, "")).remove("out");
    scratch.semel("run --keep copy").exits(0);
    assert_eq!(trace(&scratch), ran(&[("copy", 1)]));
    assert_eq!(scratch.text("out"), "A");
}

#[test]
fn complete_other_how_kept_once_is_as_same() {
    let scratch = completed(&note(ONCE, ""));
    scratch.pipeline(&note(ONCE, "").replace("echo note", "echo  note"));
    assert_eq!(planned(&scratch, "--keep note", "note"), "skip; done-by-earlier-command");
    scratch.semel("run --keep note").exits(0);
    assert_eq!(trace(&scratch), ran(&[]));
}

// complete, other what | else: too old

#[test]
fn complete_other_what_else_ordinary_that_is_too_old_runs() {
    let scratch = completed(&copy(ORDINARY, "max-age = '24h'"));
    runs(&scratch, 0, &[]);
    age(&scratch, "-25 hours");
    assert_eq!(why(&scratch, "copy"), "complete, other what; unknown; run; too-old");
    runs(&scratch, 0, &[("copy", 1)]);
    age(&scratch, "-23 hours");
    runs(&scratch, 0, &[]);
    // A clock that was wrong by more than that is not believed either.
    age(&scratch, "+25 hours");
    runs(&scratch, 0, &[("copy", 1)]);
}

// complete, same | altered: deterministic = false

#[test]
fn complete_same_altered_ordinary_that_is_not_deterministic_is_refused() {
    let scratch = completed(&copy(ORDINARY, "deterministic = false"));
    scratch.file("out", "mended by hand");
    assert_eq!(why(&scratch, "copy"), "complete, same; altered; refuse; altered");
    runs(&scratch, 3, &[]);
    assert_eq!(scratch.text("out"), "mended by hand");
    scratch.semel_words(["done", "copy", "--because", "it is better so"]).exits(0);
    runs(&scratch, 0, &[]);
    scratch.remove("out");
    runs(&scratch, 0, &[("copy", 1)]);
}

// none | else, once

#[test]
fn none_else_once_that_comes_before_one_that_is_done_is_refused() {
    let scratch = scratch();
    scratch.file("m/2", "two").pipeline(
        "[step.migrate]\neach = 'm/*'\nordered = true\nonce = true\nrun = 'echo migrate >> trace'",
    );
    runs(&scratch, 0, &[("migrate", 1)]);
    scratch.file("m/1", "one").file("m/3", "three");
    assert_eq!(why(&scratch, "migrate:m/1"), "none; unknown; refuse; comes-too-late");
    scratch.semel("run").exits(3).says("comes before one that is done already");
    assert_eq!(trace(&scratch), ran(&[]));
    scratch.remove("m/1");
    runs(&scratch, 0, &[("migrate", 1)]);
}

#[test]
fn none_else_once_that_was_done_by_a_step_that_is_gone_is_refused() {
    let scratch = completed(&note(ONCE, ""));
    scratch.pipeline(&note(ONCE, "").replace("step.note", "step.memo"));
    assert_eq!(why(&scratch, "memo"), "none; unknown; refuse; may-be-renamed");
    scratch.semel("run").exits(3).says("was = \"note\"");
    assert_eq!(trace(&scratch), ran(&[]));
    scratch.pipeline(&note(ONCE, "was = 'note'").replace("step.note", "step.memo"));
    runs(&scratch, 0, &[]);
}

#[test]
fn none_else_once_of_content_whose_output_is_gone_is_refused() {
    let scratch = scratch();
    scratch.file("in/1", "one").pipeline(
        "[step.buy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nonce = true\nrun = 'cp {{ item }} {{ out }}; echo buy >> trace'",
    );
    runs(&scratch, 0, &[("buy", 1)]);
    scratch.rename("in/1", "in/9").remove("out/1");
    assert_eq!(why(&scratch, "buy:in/9"), "none; missing; refuse; same-content-lost");
    runs(&scratch, 3, &[]);
}
