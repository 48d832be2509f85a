//! Killed between each pair of actions by which a set of outputs is published: the next
//! run finishes it, or puts back what was there. What only a faulty disk can cut short is
//! in the library's `tests/faults.rs`.

use std::path::{Path, PathBuf};

use semel_testkit::{Gate, Scratch, eventually};

use crate::{ran, scratch, trace};

/// A set whose check waits at a gate until there is a file `open`, and does not hold
/// while there is one called `bad`.
fn set(scratch: &Scratch, gate: &Gate) {
    scratch.file("in", "1\n2\n").file("open", "").pipeline(&format!(
        "[step.split]
in = 'in'
out = {{ head = 'head', rest = 'rest/' }}
check = '''[ -e open ] || {{ {}; }}; [ ! -e bad ]'''
run = 'echo split >> trace; head -n 1 in > {{{{ out.head }}}}; tail -n +2 in > {{{{ out.rest }}}}/lines'
",
        gate.wait()
    ));
}

/// A set of an earlier input is in place; that of the next was published, and semel was
/// killed while it asked the check.
fn killed_at_its_check() -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    set(&scratch, &gate);
    scratch.semel("run").exits(0);
    scratch.remove("open").file("in", "3\n4\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
    scratch.file("open", "").sh("rm gate.*");
    trace(&scratch);
    scratch
}

fn outputs(scratch: &Scratch) -> (String, String) {
    (scratch.text("head"), scratch.text("rest/lines"))
}

/// The folder in which the killed attempt staged.
fn staged(scratch: &Scratch) -> PathBuf {
    let runs: Vec<_> = scratch.list(".semel/staging");
    assert_eq!(runs.len(), 1, "{runs:?}");
    Path::new(".semel/staging").join(&runs[0]).join("1")
}

fn receipts(scratch: &Scratch) -> Vec<String> {
    scratch.query("select step, origin, run from receipt order by step")
}

#[test]
fn after_the_folder_sync_the_check_is_asked_and_the_receipt_written() {
    let scratch = killed_at_its_check();
    let before = scratch.snapshot();
    scratch.semel("plan").exits(0).says("adopt");
    assert_eq!(scratch.snapshot(), before, "who only looks changes nothing");
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[]), "what is in place is not done again");
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
    assert_eq!(receipts(&scratch), ["split run 2"], "it is the receipt that was owed");
    assert_eq!(
        scratch.query("select run, ending, open from attempt order by run"),
        ["1 done 0", "2 done 0"]
    );
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn after_the_folder_sync_a_check_that_does_not_hold_puts_the_old_ones_back() {
    let scratch = killed_at_its_check();
    // It is done again, as after every attempt that was cut short; this time it fails.
    scratch.file("bad", "").semel("run").exits(1).says("its check does not hold");
    assert_eq!(trace(&scratch), ran(&[("split", 1)]));
    assert_eq!(outputs(&scratch), ("1\n".to_owned(), "2\n".to_owned()));
    assert_eq!(receipts(&scratch), ["split run 1"]);
    scratch.remove("bad").semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
}

/// As if killed before the first, or between the first and the second, took its place.
#[test]
fn after_the_journal_and_after_some_renames_the_rest_is_moved() {
    for moved in [&["rest"][..], &["head", "rest"]] {
        let scratch = killed_at_its_check();
        let staged = staged(&scratch);
        for name in moved {
            let staged = staged.join(name).join(name);
            scratch.sh(&format!("mv {name} t; mv {0} {name}; mv t {0}", staged.display()));
        }
        assert_ne!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
        scratch.semel("plan").exits(0).says("adopt");
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[]));
        assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
        assert_eq!(receipts(&scratch), ["split run 2"]);
    }
}

/// The proof is the journal, where the file system keeps no extended attributes.
#[test]
fn without_stamps_the_journal_proves_what_was_published() {
    let scratch = killed_at_its_check();
    scratch.sh("cp head t; mv t head; cp -R rest t; rm -r rest; mv t rest");
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[]));
    assert_eq!(receipts(&scratch), ["split run 2"]);
}

#[test]
fn the_receipt_has_the_journalled_fingerprint_whatever_changed_since() {
    let scratch = killed_at_its_check();
    // Nobody asks a check that is not there any more; then the input changes, too.
    let text = scratch.text("semel.toml");
    let unchecked: String = text
        .lines()
        .filter(|line| !line.starts_with("check"))
        .map(|line| format!("{line}\n"))
        .collect();
    scratch.file("semel.toml", unchecked).file("in", "5\n6\n");
    scratch.semel("run").exits(0).says("run 2 was killed while it published split: finished");
    assert_eq!(trace(&scratch), ran(&[("split", 1)]));
    assert_eq!(outputs(&scratch), ("5\n".to_owned(), "6\n".to_owned()));
    assert_eq!(receipts(&scratch), ["split run 3"]);
}

#[test]
fn an_input_that_changed_meanwhile_makes_it_anew_over_the_old_ones() {
    let scratch = killed_at_its_check();
    scratch.file("in", "5\n6\n").file("bad", "");
    scratch.semel("run").exits(1);
    assert_eq!(outputs(&scratch), ("1\n".to_owned(), "2\n".to_owned()), "the last good ones");
    scratch.remove("bad").semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("5\n".to_owned(), "6\n".to_owned()));
}

#[test]
fn a_step_that_is_gone_from_the_file_leaves_the_last_good_outputs() {
    let scratch = killed_at_its_check();
    scratch.pipeline("[step.other]\nrun = 'echo other >> trace'").semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("1\n".to_owned(), "2\n".to_owned()));
    assert_eq!(receipts(&scratch), ["other run 3", "split run 1"]);
}

#[test]
fn an_output_that_belongs_to_another_step_now_is_that_ones() {
    let scratch = killed_at_its_check();
    let text = scratch.text("semel.toml");
    let other = text.replace("head = 'head'", "head = 'first'")
        + "[step.head]\nout = 'head'\nrun = 'echo mine > {{ out }}'\n";
    scratch.file("semel.toml", other).semel("run").exits(0);
    assert_eq!((scratch.text("head"), scratch.text("first")), ("mine\n".into(), "3\n".into()));
    assert_eq!(receipts(&scratch), ["head run 3", "split run 3"]);
    scratch.semel("run").exits(0).says("nothing to do");
}

/// Without journal and staging, what is whole is still found by its stamps, and what is
/// not is made again.
#[test]
fn somebody_who_removes_the_staging_costs_work_at_most() {
    let scratch = killed_at_its_check();
    scratch.sh("rm -r .semel/staging/*").semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
    let scratch = killed_at_its_check();
    let staged = staged(&scratch).join("head/head");
    scratch.sh(&format!("mv {} head; rm -r .semel/staging/*", staged.display()));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("split", 1)]), "an old one and a new one are no set");
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
}

#[test]
fn i8_what_somebody_put_in_the_place_since_is_kept() {
    let scratch = killed_at_its_check();
    let staged = staged(&scratch).join("head/head");
    // The new head is still staged, and theirs is in its place.
    scratch.sh(&format!("mv head {}", staged.display())).file("head", "precious");
    scratch.semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
    assert_eq!(trace(&scratch), ran(&[]));
    assert_eq!(scratch.text(".semel/displaced/2/head"), "precious");
}

#[test]
fn i8_an_output_that_was_overwritten_since_is_made_again_and_kept() {
    let scratch = killed_at_its_check();
    scratch.file("head", "precious").semel("run").exits(0);
    assert_eq!(outputs(&scratch), ("3\n".to_owned(), "4\n".to_owned()));
    assert_eq!(trace(&scratch), ran(&[("split", 1)]), "one of the set was gone");
    assert_eq!(scratch.text(".semel/displaced/3/head"), "precious");
}

/// A payment that tells of itself and was then killed with semel.
fn killed_after_it_printed() -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch
        .pipeline(&format!("[step.pay]\nonce = true\nrun = '''echo paid 17; {}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    eventually("what it printed is on disk", || {
        let runs = scratch.list(".semel/staging");
        let logs = runs.iter().map(|run| format!(".semel/staging/{run}/1.log"));
        logs.filter(|log| scratch.has(log)).any(|log| scratch.text(log) == "paid 17\n")
    });
    running.kill();
    scratch
}

/// However short it was, and however soon semel was dead.
#[test]
fn what_a_once_command_printed_before_it_was_killed_can_be_read() {
    let scratch = killed_after_it_printed();
    for _ in 0..2 {
        scratch.semel("run").exits(3);
        let log = scratch.semel("log pay").exits(0);
        assert!(log.stdout.ends_with("paid 17\n"), "{}", log.stdout);
    }
    assert_eq!(scratch.text(".semel/log/1.log"), "paid 17\n");
}

/// As if killed after what it printed was put into the log, and before the manifest knew.
#[test]
fn what_was_printed_is_not_kept_twice() {
    let scratch = killed_after_it_printed();
    scratch.file(".semel/log/1.log", "another\npaid 17\nmore\n").semel("run").exits(3);
    assert_eq!(scratch.text(".semel/log/1.log"), "another\npaid 17\nmore\n");
    let log = scratch.semel("log pay").exits(0);
    assert!(log.stdout.ends_with("\npaid 17\n"), "{}", log.stdout);
}

#[test]
fn a_run_of_something_else_leaves_it_for_the_run_that_asks_its_check() {
    let scratch = killed_at_its_check();
    let text = scratch.text("semel.toml") + "[step.other]\nrun = 'echo other >> trace'\n";
    scratch.file("semel.toml", text).semel("run other").exits(0);
    assert_eq!(receipts(&scratch), ["other run 3", "split run 1"]);
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("other", 1)]));
    assert_eq!(receipts(&scratch), ["other run 3", "split run 2"]);
}

/// Paid, whole, and killed before it was known that its check holds.
#[test]
fn i3_i6_what_is_paid_for_is_finished_and_logged_without_a_human() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.buy]
once = true
out = ['answer', 'bill']
check = {{ run = '''[ -e open ] || [ ! -e ledger ] || {{ {}; }}; [ -e answer ] && echo yes || echo no''', equals = 'yes' }}
run = 'echo bought >> ledger; for o in {{{{ out }}}}; do echo paid > $o; done'
",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "");
    assert_eq!(scratch.text("ledger"), "bought\n");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("ledger"), "bought\n");
    assert_eq!(scratch.text("answer"), "paid\n");
    assert_eq!(receipts(&scratch), ["buy run 1"]);
    scratch.sh("rm .semel/manifest.db*").semel("run").exits(0);
    assert_eq!(scratch.text("ledger"), "bought\n", "once.log knows it too");
}

/// The check does not hold though it was paid: what was there is back, and what was paid
/// for is kept until a human looked.
#[test]
fn i6_i8_what_is_paid_for_and_does_not_hold_is_kept_and_so_is_what_was_there() {
    let scratch = scratch();
    scratch.file("answer", "precious").pipeline(
        "[step.buy]
once = true
out = 'answer'
check = { run = '[ -e ok ] && echo yes || echo no', equals = 'yes' }
run = 'echo bought >> ledger; echo paid > {{ out }}'
",
    );
    scratch.semel("run").exits(1).says("its check does not hold");
    assert_eq!(scratch.text("answer"), "precious");
    scratch.file("ok", "");
    scratch.semel_words(["done", "buy", "--because", "the bill says so"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(
        (scratch.text("answer"), scratch.text("ledger")),
        ("paid\n".into(), "bought\n".into())
    );
    scratch.sh("grep -r precious .semel/displaced");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

/// One output lies on another file system, and is staged beside its place.
#[test]
fn a_set_on_two_file_systems_is_finished_too() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let other = tempfile::Builder::new().prefix("semel-test-").tempdir_in("/dev/shm").unwrap();
    let far = other.path().join("far");
    scratch.file("open", "").file("in", "1\n").pipeline(&format!(
        "[step.split]
in = 'in'
out = ['near', '{}']
check = '''[ -e open ] || {{ {}; }}'''
run = 'echo split >> trace; for o in {{{{ out }}}}; do cp in $o; done'
",
        far.display(),
        gate.wait()
    ));
    scratch.semel("run").exits(0);
    scratch.remove("open").file("in", "2\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    trace(&scratch);
    // As if killed before the far one took its place.
    let hidden = std::fs::read_dir(other.path()).unwrap().flatten();
    let hidden: Vec<_> = hidden.map(|entry| entry.path()).filter(|path| *path != far).collect();
    let staged = hidden[0].join("1/2/far");
    scratch.file("open", "").sh(&format!(
        "mv {far} t; mv {staged} {far}; mv t {staged}",
        far = far.display(),
        staged = staged.display()
    ));
    assert_eq!(std::fs::read_to_string(&far).unwrap(), "1\n");
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[]));
    assert_eq!(std::fs::read_to_string(&far).unwrap() + &scratch.text("near"), "2\n2\n");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1, "no staging is left");
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}
