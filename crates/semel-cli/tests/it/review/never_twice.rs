//! Proof, not claim: nothing is paid twice, and nothing turns green by itself. F7 to
//! F9, F13, F25, F40.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use semel_testkit::{Gate, eventually, kill_tree};

use crate::{ran, scratch, trace};

#[test]
fn f7_a_memory_that_was_lost_is_no_reason_to_pay_again() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.make]\nout = 'made'\nrun = 'echo made > {{ out }}; echo make >> trace'\n[step.pay]\nneeds = ['make']\nonce = true\nrun = 'echo paid >> ledger'",
    );
    scratch.semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*; touch .semel/manifest.db");
    scratch.semel("run --expect-noop").exits(5).says("it is damaged: it is empty");
    scratch.semel("status").says("the manifest is damaged: it is empty");
    scratch.semel("run").exits(0).says("the manifest was damaged: it is empty");
    scratch.sh("rm .semel/manifest.db* .semel/once.log");
    scratch
        .semel("run")
        .exits(3)
        .says("signs of an older one")
        .says("may have been done, and refuse: pay");
    assert_eq!((&*scratch.text("ledger"), trace(&scratch)), ("paid\n", ran(&[("make", 1)])));
    for _ in 0..2 {
        scratch.semel("run").exits(3).says("the memory is incomplete: it may have been done");
    }
    assert_eq!((&*scratch.text("ledger"), trace(&scratch)), ("paid\n", ran(&[])));
    scratch.semel_words(["done", "pay", "--because", "it is in the ledger"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.text("ledger"), "paid\n");
}

/// Order and answer were renamed, or the answer was cleared away: it is paid for
/// all the same.
#[test]
fn f7_a_renamed_order_whose_answer_is_gone_is_not_paid_again() {
    for world in ["rm answers/1", "echo mine > answers/1", "cp answers/1 answers/9; rm answers/1"] {
        let scratch = scratch();
        scratch.file("orders/1", "one\n").pipeline(
            "[step.buy]\neach = 'orders/*'\nout = 'answers/{{ item.name }}'\nonce = true\nrun = 'cat {{ item }} >> ledger; cp {{ item }} {{ out }}'",
        );
        scratch.semel("run").exits(0);
        scratch.rename("orders/1", "orders/9").sh(world).semel("run").exits(3);
        assert_eq!(scratch.text("ledger"), "one\n", "{world}");
    }
}

/// `rm -rf .semel`, or a folder that was copied without it: what stands beside it
/// carries semel's stamps.
#[test]
fn f7_outputs_with_stamps_are_signs_of_an_older_memory() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.make]\nout = 'made'\nrun = 'echo made > {{ out }}'\n[step.pay]\nneeds = ['make']\nonce = true\nrun = 'echo paid >> ledger'",
    );
    scratch.semel("run").exits(0);
    scratch.remove(".semel").semel("run").exits(3).says("signs of an older one");
    assert_eq!(scratch.text("ledger"), "paid\n");
}

/// The check's folder is there as soon as the install begins.
#[test]
fn f8_a_check_that_holds_does_not_make_a_killed_install_done() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.install]\ncheck = 'test -d modules'\nrun = '''mkdir -p modules; touch modules/half; [ -e open ] || {{ {}; }}; touch modules/whole'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    eventually("its beginning is noted", || scratch.query("select count(*) from attempt") == ["1"]);
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.list("modules"), ["half", "whole"]);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn f8_a_check_that_holds_does_not_make_a_failure_green() {
    for (run, out) in [
        ("touch done; exit 1", ""),
        ("touch done; : > {{ out }}", "out = 'o'\nexpect = { bytes = '> 0' }"),
    ] {
        let scratch = scratch();
        scratch.pipeline(&format!(
            "[step.a]\n{out}\ncheck = 'test -e done'\nrun = 'echo a >> trace; {run}'\n[step.b]\nneeds = ['a']\nrun = 'echo b >> trace'"
        ));
        for _ in 0..3 {
            scratch.semel("run").exits(1);
            assert_eq!(trace(&scratch), ran(&[("a", 1)]));
            scratch.semel("status").exits(1);
        }
    }
}

/// What was staged carries its stamp before the check says no.
#[test]
fn f8_an_output_whose_check_did_not_hold_is_not_adopted_by_the_next_run() {
    for once in [false, true] {
        let scratch = scratch();
        scratch.file("says", "no").pipeline(&format!(
            "[step.a]\nout = 'out'\nonce = {once}\ncheck = {{ run = 'cat says', equals = 'yes' }}\nrun = 'echo made > {{{{ out }}}}; echo a >> trace'"
        ));
        scratch.semel("run").exits(1).says("its check does not hold");
        assert!(!scratch.has("out"));
        // Its check says missing, so that what is done once may be tried again.
        scratch.semel("run").exits(1);
        assert_eq!(trace(&scratch), ran(&[("a", 2)]));
        assert_eq!(scratch.query("select count(*) from receipt"), ["0"]);
    }
}

#[test]
fn f9_a_checks_no_never_starts_a_completed_one_again() {
    let scratch = scratch();
    scratch.file("state", "yes").pipeline(
        "[step.pay]\nonce = true\nrun = 'echo pay >> trace; echo yes > state'\ncheck = { run = 'cat state', equals = 'yes' }",
    );
    scratch.file("state", "no").semel("run").exits(0);
    scratch
        .file("state", "no")
        .semel("run")
        .exits(3)
        .says("the receipt says done, the world does not");
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
}

/// An announcement scrolled out of what the check looks at.
#[test]
fn f9_a_check_that_lies_once_in_ten_never_pays_twice() {
    let scratch = scratch();
    scratch.file("asked", "").pipeline(
        "[step.pay]\nonce = true\nrun = 'echo paid >> ledger'\ncheck = { run = 'echo x >> asked; [ -e ledger ] && [ $(($(wc -l < asked) % 10)) != 0 ] && echo yes || echo no', equals = 'yes' }",
    );
    let statuses: Vec<_> = (0..24).map(|_| scratch.semel("run").status).collect();
    assert_eq!(scratch.text("ledger"), "paid\n");
    assert!(statuses.iter().all(|status| [0, 3].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&3), "{statuses:?}");
    assert_eq!(statuses.first(), Some(&0));
    // The lie over, nobody has to settle anything.
    scratch.semel("run").exits(0);
}

#[test]
fn f13_an_input_that_changes_while_it_is_paid_refuses() {
    let scratch = scratch();
    scratch.file("order", "1").pipeline(
        "[step.pay]\nin = 'order'\nonce = true\nrun = 'cat {{ in }} >> ledger; echo 2 > {{ in }}'",
    );
    scratch.semel("run").exits(3).says("changed while it ran").says("semel done pay");
    scratch.semel("run").exits(3);
    assert_eq!(scratch.text("ledger"), "1");
}

#[test]
fn f25_retry_is_for_what_provably_did_not_happen() {
    let scratch = scratch();
    let pipeline = |run: &str| {
        format!(
            "[step.pay]\nonce = true\nsafe-exits = 75\nretry = {{ times = 3, wait = '1ms' }}\nrun = '{run}'"
        )
    };
    scratch.pipeline(&pipeline("echo pay >> trace; exit 1"));
    scratch.semel("run").exits(1);
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
    scratch.semel_words(["redo", "pay", "--because", "x"]).exits(0);
    scratch.pipeline(&pipeline("echo pay >> trace; [ $(wc -l < trace) = 3 ] || exit 75"));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("pay", 3)]));
}

#[test]
fn f25_what_a_refused_attempt_wrote_is_kept_and_done_publishes_it() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.buy]\nonce = true\nout = 'answer.json'\nrun = '''echo paid-result > {{{{ out }}}}; {}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    for _ in 0..2 {
        scratch.semel("run").exits(3);
    }
    scratch.semel_words(["done", "buy", "--because", "the answer is whole"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("answer.json"), "paid-result\n");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.list(".semel/staging"), [""; 0], "nothing is kept any longer");
}

#[test]
fn f25_done_without_its_outputs_is_asked_back() {
    let scratch = scratch();
    scratch
        .pipeline("[step.buy]\nonce = true\nout = 'answer.json'\nrun = 'true {{ out }}; exit 1'");
    scratch.semel("run").exits(1);
    scratch
        .semel_words(["done", "buy", "--because", "x"])
        .exits(3)
        .says("its output `answer.json` is not there")
        .says("semel done buy --without-outputs --because '...'");
    scratch
        .semel_words(["done", "buy", "--without-outputs", "--because", "none is wanted"])
        .exits(0);
    scratch.semel("run").exits(0);
}

/// A `once` step that failed is not tried again by itself: what is told to type
/// must be what helps.
#[test]
fn f25_a_payment_that_failed_is_told_with_both_ways_out() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nrun = 'echo paid >> ledger; exit 1'");
    scratch.semel("run").exits(1).says("semel done pay").says("semel redo pay");
}

/// Two orders of twenty bytes: the one in flight when the power went is named, and
/// all else is finished.
#[test]
fn f40_after_a_crash_all_is_finished_but_the_one_step_that_is_named() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("orders/1", "1").file("orders/2", "2").file("raw", "x").pipeline(&format!(
        "jobs = 1\n[step.pay]\neach = 'orders/*'\nsame = 'content'\nonce = true\nrun = '''echo paid-$(cat {{{{ item }}}}) >> ledger; [ -e open ] || {{ {}; }}'''\n[step.copy]\nafter = []\nin = 'raw'\nout = 'copied'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}'\n[step.tell]\nneeds = ['pay']\nonce = true\nrun = 'echo told >> ledger'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "");
    let told = scratch.semel("run").exits(3).says("1 refused, 1 blocked");
    let named = told.stderr.lines().filter(|line| line.starts_with("refused ")).count();
    assert_eq!(named, 1, "{told:?}");
    assert!(scratch.has("copied"));
    assert_eq!(scratch.text("ledger").lines().count(), 2, "the other order was paid");
    let task =
        if told.stderr.contains("done pay:orders/1") { "pay:orders/1" } else { "pay:orders/2" };
    scratch.semel_words(["done", task, "--because", "it is in the ledger"]).exits(0);
    scratch.semel("run").exits(0);
    let mut lines: Vec<_> = scratch.text("ledger").lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["paid-1", "paid-2", "told"]);
    scratch.semel("run --expect-noop").exits(0);
}

/// A pipeline of files, a folder and a payment, killed when it told of an event;
/// `None` if it tells of fewer. Whether the next run refused.
fn killed_at(event: usize) -> Option<bool> {
    let scratch = scratch();
    scratch.file("in", "x").pipeline(
        "jobs = 1\n[step.copy]\nin = 'in'\nout = 'copied'\nrun = 'cp {{ in }} {{ out }}'\n[step.site]\nneeds = ['copy']\nout = 'site/'\nrun = 'cp copied {{ out }}/page'\n[step.pay]\nneeds = ['site']\nonce = true\nrun = 'echo paid >> ledger'",
    );
    let mut command = scratch.command(["run", "--json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let heard = lines.take(event).count();
    kill_tree(child.id());
    child.wait().unwrap();
    if heard < event {
        return None;
    }
    let again = scratch.semel("run");
    if again.status == 3 {
        let verb = if scratch.has("ledger") { "done" } else { "redo" };
        scratch.semel_words([verb, "pay", "--because", "the ledger"]).exits(0);
        scratch.semel("run").exits(0);
    } else {
        assert_eq!(again.status, 0, "{again:?}");
    }
    assert_eq!(scratch.text("ledger"), "paid\n", "killed at event {event}");
    assert_eq!(scratch.text("site/page"), "x");
    scratch.semel("run --expect-noop").exits(0);
    Some(again.status == 3)
}

/// The power goes at each event of a run in turn; whoever runs it again, and looks
/// into the ledger where that is asked for, comes to the same end.
#[test]
fn f40_killed_at_any_event_the_end_is_that_of_a_run_nobody_interrupted() {
    let threads: Vec<_> =
        (1..=18).map(|event| std::thread::spawn(move || killed_at(event))).collect();
    let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let told = ends.iter().flatten().count();
    assert!((10..18).contains(&told), "{told} events");
    let refusals = ends.iter().flatten().filter(|refused| **refused).count();
    assert!(refusals < told / 2, "{refusals} of {told} were refused");
}
