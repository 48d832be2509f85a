//! The decision, row by row, as the command shows it: the world is brought into
//! each state by runs, kills and edits, `semel why` tells memory, truth and
//! verdict, and then `semel run` does what was told, and no more.
//!
//! The rows stand in docs/reference/decision.md, and here in the same order: those
//! for what has no receipt, or an attempt since, in `open.rs`.

mod open;
mod special;

use semel_testkit::{Gate, Scratch, eventually};
use serde_json::Value;

use crate::{ran, scratch, trace};

/// What makes a step an ordinary one, or one that is done once.
const ORDINARY: &str = "once = false";
const ONCE: &str = "once = true";

/// A check that can be told what to say: whether `state` holds `yes`.
const CHECK: &str = "check = { run = 'cat state', equals = 'yes' }";

/// What is remembered and seen of a task, and what follows: `memory; truth;
/// ruling; reason`.
#[track_caller]
fn why(scratch: &Scratch, words: &str) -> String {
    let ran = scratch.semel(&format!("why --json {words}")).exits(0);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let word = |key: &str| told[key].as_str().unwrap().to_owned();
    ["memory", "truth", "verdict", "reason"].map(word).join("; ")
}

/// What a plan says of a task: its outcome, and the verdict or reason, or what
/// blocks it.
#[track_caller]
fn planned(scratch: &Scratch, words: &str, task: &str) -> String {
    let ran = scratch.semel(&format!("plan --json {words}")).exits(0);
    let events = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut of_task = events.filter(|event| event["event"] == "task-settled");
    let told = of_task.find(|event| event["task"] == task);
    let told = told.unwrap_or_else(|| panic!("{task} is not told of\n{ran:?}"));
    let word = |key: &str| told[key].as_str().map(str::to_owned);
    let words: Vec<_> =
        ["outcome", "verdict", "reason", "by"].into_iter().filter_map(word).collect();
    words.join("; ")
}

/// A step that copies `in` to `out`.
fn copy(nature: &str, more: &str) -> String {
    copy_by("cp {{ in }} {{ out }}", nature, more)
}

fn copy_by(run: &str, nature: &str, more: &str) -> String {
    format!(
        "[step.copy]\nin = 'in'\nout = 'out'\n{nature}\n{more}\nrun = '''echo copy >> trace; {run}'''\n"
    )
}

/// A step that leaves nothing to look at.
fn note(nature: &str, more: &str) -> String {
    format!("[step.note]\nin = 'in'\n{nature}\n{more}\nrun = 'echo note >> trace'\n")
}

/// A folder in which a pipeline was run to its end.
fn completed(pipeline: &str) -> Scratch {
    let scratch = scratch();
    scratch.file("in", "A").file("state", "yes").pipeline(pipeline);
    scratch.semel("run").exits(0);
    assert!(!trace(&scratch).is_empty(), "it was to be run, not adopted");
    scratch
}

/// Runs; what was executed is this, and nothing else. Where all is well, a second
/// run is boring.
#[track_caller]
fn runs(scratch: &Scratch, status: i32, executed: &[(&str, usize)]) -> String {
    let told = scratch.semel("run").exits(status);
    assert_eq!(trace(scratch), ran(executed), "{told:?}");
    if status == 0 {
        scratch.semel("run --expect-noop").exits(0);
        scratch.semel("run").exits(0).says("nothing to do");
    } else {
        let again = scratch.semel("run").exits(status);
        assert!(status != 3 || trace(scratch).is_empty(), "refused is refused: {again:?}");
        trace(scratch);
    }
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    told.stderr
}

fn receipts(scratch: &Scratch) -> Vec<String> {
    scratch.query("select step, item, origin from receipt order by step, item")
}

// any | something it needs, or comes after, has not reached its state

#[test]
fn any_upstream_not_reached_is_blocked() {
    for nature in [ORDINARY, ONCE] {
        for link in [
            "needs = ['pay']",
            "after = ['pay']",
            "in = { outputs-of = 'pay' }",
            "each = { outputs-of = 'pay' }\nsame = 'content'",
        ] {
            let scratch = scratch();
            scratch.pipeline(&format!(
                "[step.pay]\nout = 'paid'\nonce = true\nrun = 'echo pay >> trace; echo x > {{{{ out }}}}; exit 1'\n[step.tell]\n{link}\n{nature}\nrun = 'echo tell >> trace'"
            ));
            let told = scratch.semel("run").exits(1).says("1 failed, 1 blocked");
            assert_eq!(trace(&scratch), ran(&[("pay", 1)]), "{told:?}");
            // From now on the cause is a refusal, and a plan can see it.
            let task = if link.starts_with("each") { "tell:paid" } else { "tell" };
            assert_eq!(planned(&scratch, "", task), "blocked; pay", "{link}");
            scratch.semel("run").exits(3).says("1 refused, 1 blocked");
            assert_eq!(trace(&scratch), ran(&[]), "{link} {nature}");
            assert_eq!(receipts(&scratch), [""; 0]);
        }
    }
}

#[test]
fn any_upstream_not_reached_is_blocked_though_it_was_done_before() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&format!(
            "[step.make]\nin = 'in'\nout = 'made'\nrun = 'grep A {{{{ in }}}} > {{{{ out }}}}'\n[step.tell]\nneeds = ['make']\n{nature}\nrun = 'echo tell >> trace'"
        ));
        scratch.file("in", "B").semel("run").exits(1).says("1 failed, 1 blocked");
        assert_eq!((&*scratch.text("made"), trace(&scratch)), ("A\n", ran(&[])));
        scratch.semel("status").exits(1);
    }
}

// running | any

#[test]
fn running_any_waits() {
    for nature in [ORDINARY, ONCE] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        // Two instances share a step: one of them is at work on it.
        scratch.pipeline(&format!(
            "per = ['month']\n[params]\nmonth = '01'\n[step.schema]\nper = []\n{nature}\nrun = '''echo schema >> trace; {}'''",
            gate.wait()
        ));
        let running = scratch.start("run");
        gate.until_arrived();
        eventually("its beginning is noted", || {
            scratch.query("select count(*) from attempt") == ["1"]
        });
        assert_eq!(why(&scratch, "schema -p month=02"), "running; unknown; wait; busy");
        scratch.semel("run -p month=02").exits(4).says("busy  schema");
        gate.open();
        running.end().exits(0);
        assert_eq!(trace(&scratch), ran(&[("schema", 1)]));
        scratch.semel("run -p month=02").exits(0);
        assert_eq!(trace(&scratch), ran(&[]));
    }
}

// any | any, and a human said `semel done`

#[test]
fn said_done_with_its_outputs_is_adopted() {
    for (nature, refuses) in
        [(ORDINARY, "run; inputs-changed"), (ONCE, "refuse; done-with-other-inputs")]
    {
        let scratch = completed(&copy(nature, ""));
        scratch.file("in", "B");
        assert_eq!(why(&scratch, "copy"), format!("complete, other what; unknown; {refuses}"));
        scratch.semel_words(["done", "copy", "--because", "B is no better"]).exits(0);
        assert_eq!(why(&scratch, "copy"), "complete, other what; unknown; adopt; said-done");
        runs(&scratch, 0, &[]);
        assert_eq!(scratch.text("out"), "A");
        assert_eq!(receipts(&scratch), ["copy  settle"]);
    }
}

#[test]
fn said_done_without_its_outputs_is_refused() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&copy(nature, ""));
        scratch.semel_words(["done", "copy", "--because", "it is there"]).exits(0);
        scratch.remove("out");
        assert_eq!(
            why(&scratch, "copy"),
            "complete, same; missing; refuse; said-done-without-outputs"
        );
        runs(&scratch, 3, &[]);
        // Said again, of what is so now.
        scratch.semel_words(["done", "copy", "--because", "x", "--without-outputs"]).exits(0);
        runs(&scratch, 0, &[]);
        assert!(!scratch.has("out"));
    }
}

// any | any, and a human said `semel redo`

#[test]
fn said_redo_runs_once() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&copy(nature, ""));
        scratch.semel_words(["redo", "copy", "--because", "to be sure"]).exits(0);
        assert_eq!(why(&scratch, "copy"), "complete, same; proven; run; said-redo");
        runs(&scratch, 0, &[("copy", 1)]);
        // After a failure, too.
        scratch.pipeline(&copy_by("false {{ in }} {{ out }}", nature, ""));
        scratch.semel_words(["redo", "copy", "--because", "x"]).exits(0);
        scratch.semel("run").exits(1);
        assert_eq!(trace(&scratch), ran(&[("copy", 1)]));
        scratch.pipeline(&copy(nature, ""));
        scratch.semel_words(["redo", "copy", "--because", "x"]).exits(0);
        runs(&scratch, 0, &[("copy", 1)]);
    }
}

// any | any, under `--fresh`

#[test]
fn fresh_ordinary_runs() {
    let scratch = completed(&(copy(ORDINARY, "") + &note(ORDINARY, "")));
    assert_eq!(planned(&scratch, "--fresh", "copy"), "would; run; fresh");
    assert_eq!(planned(&scratch, "", "copy"), "skip; unchanged");
    scratch.semel("run --fresh").exits(0);
    assert_eq!(trace(&scratch), ran(&[("copy", 1), ("note", 1)]));
}

#[test]
fn fresh_once_is_as_without_it() {
    let scratch = completed(&copy(ONCE, ""));
    assert_eq!(planned(&scratch, "--fresh", "copy"), "skip; unchanged");
    scratch.semel("run --fresh").exits(0);
    scratch.remove("out");
    assert_eq!(planned(&scratch, "--fresh", "copy"), "refused; disagreement");
    scratch.semel("run --fresh").exits(3);
    assert_eq!(trace(&scratch), ran(&[]));
}

// complete, same | proven, claimed, unknown

#[test]
fn complete_same_proven_is_skipped() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&copy(nature, ""));
        assert_eq!(why(&scratch, "copy"), "complete, same; proven; skip; unchanged");
        runs(&scratch, 0, &[]);
    }
}

#[test]
fn complete_same_claimed_is_skipped() {
    for nature in [ORDINARY, ONCE] {
        let scratch = scratch();
        scratch.file("in", "A").file("state", "no").pipeline(&format!(
            "[step.note]\nin = 'in'\n{nature}\n{CHECK}\nrun = 'echo note >> trace; echo yes > state'"
        ));
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("note", 1)]));
        assert_eq!(why(&scratch, "note"), "complete, same; claimed; skip; check-holds");
        runs(&scratch, 0, &[]);
    }
}

#[test]
fn complete_same_unknown_is_skipped() {
    for nature in [ORDINARY, ONCE] {
        let scratch = completed(&note(nature, ""));
        assert_eq!(why(&scratch, "note"), "complete, same; unknown; skip; unchanged");
        runs(&scratch, 0, &[]);
    }
}

// complete, same | missing

#[test]
fn complete_same_missing_ordinary_is_repaired() {
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.remove("out");
    assert_eq!(why(&scratch, "copy"), "complete, same; missing; run; missing");
    runs(&scratch, 0, &[("copy", 1)]);
    assert_eq!(scratch.text("out"), "A");
}

#[test]
fn complete_same_missing_once_is_refused() {
    let scratch = completed(&copy(ONCE, ""));
    scratch.remove("out");
    assert_eq!(why(&scratch, "copy"), "complete, same; missing; refuse; disagreement");
    runs(&scratch, 3, &[]);
    assert!(!scratch.has("out"));
}

/// A step with a check that says no, though its output is as it was.
fn completed_and_denied(nature: &str) -> Scratch {
    let scratch = scratch();
    scratch.file("in", "A").file("state", "no").pipeline(&copy_by(
        "cp {{ in }} {{ out }}; echo yes > state",
        nature,
        CHECK,
    ));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("copy", 1)]));
    scratch.file("state", "no");
    scratch
}

#[test]
fn complete_same_missing_by_its_check_ordinary_is_repaired() {
    let scratch = completed_and_denied(ORDINARY);
    assert_eq!(why(&scratch, "copy"), "complete, same; missing; run; missing");
    runs(&scratch, 0, &[("copy", 1)]);
}

#[test]
fn complete_same_missing_by_its_check_once_is_refused() {
    let scratch = completed_and_denied(ONCE);
    assert_eq!(why(&scratch, "copy"), "complete, same; missing; refuse; disagreement");
    runs(&scratch, 3, &[]);
}

// complete, same | altered

#[test]
fn complete_same_altered_ordinary_is_repaired_and_what_was_there_kept() {
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.file("out", "mine");
    assert_eq!(why(&scratch, "copy"), "complete, same; altered; run; altered");
    runs(&scratch, 0, &[("copy", 1)]);
    assert_eq!((&*scratch.text("out"), &*scratch.text(".semel/displaced/2/out")), ("A", "mine"));
}

#[test]
fn complete_same_altered_once_is_refused() {
    let scratch = completed(&copy(ONCE, ""));
    scratch.file("out", "mine");
    assert_eq!(why(&scratch, "copy"), "complete, same; altered; refuse; altered");
    runs(&scratch, 3, &[]);
    assert_eq!(scratch.text("out"), "mine");
}

// complete, other *how* | any

/// Changes the command, then the world: what a run finds. `how` is a change that
/// makes the same.
fn other_how(nature: &str, world: &str) -> Scratch {
    let scratch = completed(&copy(nature, ""));
    scratch.pipeline(&copy_by("cp -f {{ in }} {{ out }}", nature, ""));
    scratch.sh(world);
    scratch
}

#[test]
fn complete_other_how_ordinary_runs() {
    let worlds: [(&str, &str); 3] =
        [("unknown", "true"), ("missing", "rm out"), ("altered", "printf mine > out")];
    for (truth, world) in worlds {
        let scratch = other_how(ORDINARY, world);
        assert_eq!(
            why(&scratch, "copy"),
            format!("complete, other how; {truth}; run; command-changed")
        );
        runs(&scratch, 0, &[("copy", 1)]);
        assert_eq!(scratch.text("out"), "A");
        assert_eq!(scratch.has(".semel/displaced/2/out"), truth == "altered");
    }
}

#[test]
fn complete_other_how_proven_ordinary_runs() {
    // What the other command made is brought back with its stamp.
    let scratch = completed(&copy(ORDINARY, ""));
    scratch.sh("cp -a out kept").pipeline(&copy_by("cp -f {{ in }} {{ out }}", ORDINARY, ""));
    scratch.semel("run").exits(0);
    trace(&scratch);
    scratch.sh("mv kept out").pipeline(&copy(ORDINARY, ""));
    assert_eq!(why(&scratch, "copy"), "complete, other how; proven; run; command-changed");
    runs(&scratch, 0, &[("copy", 1)]);
}

#[test]
fn complete_other_how_once_is_as_same() {
    let scratch = other_how(ONCE, "true");
    assert_eq!(why(&scratch, "copy"), "complete, other how; proven; skip; done-by-earlier-command");
    runs(&scratch, 0, &[]);
    let scratch = other_how(ONCE, "rm out");
    assert_eq!(why(&scratch, "copy"), "complete, other how; missing; refuse; disagreement");
    runs(&scratch, 3, &[]);
    let scratch = other_how(ONCE, "printf mine > out");
    assert_eq!(why(&scratch, "copy"), "complete, other how; altered; refuse; altered");
    runs(&scratch, 3, &[]);
    let scratch = completed(&note(ONCE, ""));
    scratch.pipeline(&note(ONCE, "").replace("echo note", "echo noted"));
    assert_eq!(
        why(&scratch, "note"),
        "complete, other how; unknown; skip; done-by-earlier-command"
    );
    runs(&scratch, 0, &[]);
}

// complete, other *what* | proven

/// Done for A, then on a human's word for B, then for A again; now the input is B,
/// and what was made of B is back in its place.
fn other_what_proven(nature: &str) -> Scratch {
    let scratch = completed(&copy(nature, ""));
    for (content, keep) in [("B", "cp -a out kept"), ("A", "true")] {
        scratch.file("in", content);
        scratch.semel_words(["redo", "copy", "--because", "x"]).exits(0);
        scratch.semel("run").exits(0);
        scratch.sh(keep);
    }
    trace(&scratch);
    scratch.file("in", "B").sh("mv kept out");
    scratch
}

#[test]
fn complete_other_what_proven_ordinary_is_adopted() {
    let scratch = other_what_proven(ORDINARY);
    assert_eq!(why(&scratch, "copy"), "complete, other what; proven; adopt; found-changed");
    runs(&scratch, 0, &[]);
    assert_eq!((scratch.text("out"), receipts(&scratch)), ("B".into(), vec!["copy  adopt".into()]));
}

#[test]
fn complete_other_what_proven_once_is_refused() {
    let scratch = other_what_proven(ONCE);
    assert_eq!(
        why(&scratch, "copy"),
        "complete, other what; proven; refuse; done-with-other-inputs"
    );
    runs(&scratch, 3, &[]);
}

// complete, other *what* | else

#[test]
fn complete_other_what_else_ordinary_runs() {
    let worlds: [(&str, &str); 3] =
        [("unknown", "true"), ("missing", "rm out"), ("altered", "printf mine > out")];
    for (truth, world) in worlds {
        let scratch = completed(&copy(ORDINARY, ""));
        scratch.file("in", "B").sh(world);
        assert_eq!(
            why(&scratch, "copy"),
            format!("complete, other what; {truth}; run; inputs-changed")
        );
        runs(&scratch, 0, &[("copy", 1)]);
        assert_eq!(scratch.text("out"), "B");
    }
    // A check that holds is a claim, and no proof.
    let scratch = completed(&note(ORDINARY, ""));
    scratch.file("in", "B").pipeline(&note(ORDINARY, CHECK));
    assert_eq!(why(&scratch, "note"), "complete, other what; unknown; run; inputs-changed");
    runs(&scratch, 0, &[("note", 1)]);
}

#[test]
fn complete_other_what_else_once_is_refused() {
    for pipeline in [copy(ONCE, ""), note(ONCE, ""), note(ONCE, CHECK)] {
        let scratch = scratch();
        scratch.file("in", "A").file("state", "no");
        scratch.pipeline(&pipeline.replace(">> trace", ">> trace; echo yes > state"));
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch).len(), 1);
        scratch.file("in", "B");
        let step = if scratch.has("out") { "copy" } else { "note" };
        assert_eq!(
            why(&scratch, step),
            "complete, other what; unknown; refuse; done-with-other-inputs"
        );
        runs(&scratch, 3, &[]);
    }
}

/// The rows of the table, with the beginning of the names of their tests: empty
/// where they are still to be written.
const ROWS: [(&str, &str, &str); 18] = [
    (
        "any",
        "something it needs, or comes after, has not reached its state",
        "any_upstream_not_reached",
    ),
    ("running", "any", "running_any"),
    ("any", "any, and a human said `semel done`", "said_done"),
    ("any", "any, and a human said `semel redo`", "said_redo"),
    ("any", "any, under `--fresh`", "fresh"),
    ("complete, same", "proven, claimed, unknown", "complete_same_unknown"),
    ("complete, same", "missing", "complete_same_missing"),
    ("complete, same", "altered", "complete_same_altered"),
    (
        "complete, other *how*",
        "proven, claimed, unknown, under `--keep`",
        "complete_other_how_kept",
    ),
    ("complete, other *how*", "any", "complete_other_how"),
    ("complete, other *what*", "proven", "complete_other_what_proven"),
    ("complete, other *what*", "else", "complete_other_what_else"),
    ("none", "proven, claimed", "none_claimed"),
    (
        "none, and a completed task of the same step and instance has this fingerprint",
        "else",
        "none_but_a_twin",
    ),
    ("none", "else", "none_else"),
    ("failed, interrupted", "proven", "failed_or_interrupted_proven"),
    ("failed, interrupted", "claimed", "failed_or_interrupted_claimed"),
    ("failed, interrupted", "else", "failed_or_interrupted_else"),
];

#[test]
fn every_row_has_its_tests() {
    let table = semel::thought::decide::table();
    let rows = table.lines().skip(2).map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        (cells[0].trim_start_matches("| ").to_owned(), cells[1].to_owned())
    });
    let known = ROWS.map(|(memory, truth, _)| (memory.to_owned(), truth.to_owned()));
    assert_eq!(rows.collect::<Vec<_>>(), known);
    let tests =
        [include_str!("table.rs"), include_str!("table/open.rs"), include_str!("table/special.rs")]
            .concat();
    for (memory, truth, name) in ROWS {
        assert!(tests.contains(&format!("\nfn {name}")), "{memory} | {truth}");
    }
}
