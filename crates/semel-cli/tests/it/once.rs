//! Never twice: what is unsafe to repeat is never repeated without a word.

use semel_testkit::{Gate, Scratch};

use crate::{ran, scratch, trace};

/// A step that is done once, and waits at a gate after its effect.
fn paying(gate: &Gate, more: &str) -> String {
    format!(
        "[step.pay]\nonce = true\n{more}\nrun = '''echo paid >> ledger; echo pay >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    )
}

/// A pipeline whose payment was made, and killed before its end.
fn killed_while_paying(more: &str) -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&paying(&gate, more));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "");
    trace(&scratch);
    scratch
}

#[test]
fn killed_in_mid_flight_it_refuses_and_names_what_settles_it() {
    let scratch = killed_while_paying("");
    for _ in 0..2 {
        scratch
            .semel("run")
            .exits(3)
            .says("refused  pay  may have been done already")
            .says("semel done pay --because '...'")
            .says("semel redo pay --because '...'");
    }
    assert_eq!(scratch.text("ledger"), "paid\n");
    assert_eq!(trace(&scratch), ran(&[]));
}

#[test]
fn done_accepts_it() {
    let scratch = killed_while_paying("");
    scratch
        .semel_words(["done", "pay", "--because", "seen in the bank"])
        .exits(0)
        .says("the next run accepts what is there");
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.text("ledger"), "paid\n");
    assert_eq!(
        scratch.query("select verb, because, user, acted_by from resolution"),
        ["done seen in the bank etl 2"],
        "who said it, why, and which run acted on it"
    );
}

#[test]
fn redo_does_it_once_more_and_only_once() {
    let scratch = killed_while_paying("");
    scratch.semel_words(["redo", "pay", "--because", "not there"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.text("ledger"), "paid\npaid\n");
}

#[test]
fn redo_that_is_killed_refuses_again() {
    let scratch = killed_while_paying("");
    scratch.semel_words(["redo", "pay", "--because", "not there"]).exits(0);
    scratch.remove("open");
    let running = scratch.start("run");
    std::fs::File::open(scratch.path().join("gate.arrived")).unwrap();
    running.kill();
    scratch.file("open", "");
    scratch.semel("run").exits(3);
}

#[test]
fn a_failed_attempt_refuses_unless_its_status_is_safe() {
    let scratch = scratch();
    let pipeline = |status: i32| {
        format!(
            "[step.pay]\nonce = true\nsafe-exits = [75]\nrun = 'echo pay >> trace; exit {status}'"
        )
    };
    scratch.pipeline(&pipeline(75));
    scratch.semel("run").exits(1);
    scratch.semel("run").exits(1);
    assert_eq!(trace(&scratch), ran(&[("pay", 2)]), "75 promises that nothing was done");
    scratch.pipeline(&pipeline(1));
    scratch.semel("run").exits(1);
    scratch.semel("run").exits(3).says("it failed: exit status 1");
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
}

#[test]
fn a_command_that_could_not_be_started_did_nothing() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nrun = ['./pay']");
    scratch.semel("run").exits(1).says("`./pay` was not found");
    scratch.file("pay", "#!/bin/sh\necho paid >> ledger\n").sh("chmod +x pay");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("ledger"), "paid\n");
}

#[test]
fn retry_is_for_what_provably_did_not_happen() {
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
fn a_check_looks_for_itself_after_a_crash() {
    for (there, runs) in [(true, 0), (false, 1)] {
        let scratch = killed_while_paying(
            "check = { run = 'cat state 2> /dev/null || echo no', equals = 'yes' }\nafter = []",
        );
        scratch.file("state", if there { "yes\n" } else { "no\n" });
        let gate = Gate::new(scratch.path(), "unused");
        scratch.pipeline(
            &paying(&gate, "check = { run = 'cat state', equals = 'yes' }")
                .replace("echo paid", "echo yes > state; echo paid"),
        );
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch).len(), runs, "there: {there}");
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn a_checks_no_never_starts_a_completed_one_again() {
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

#[test]
fn another_command_is_no_reason_and_other_inputs_refuse() {
    let scratch = scratch();
    let pipeline = |typo: &str| {
        format!(
            "[step.pay]\neach = 'orders/*'\nsame = 'content'\nonce = true\nrun = 'cat {{{{ item }}}} >> ledger # {typo}'"
        )
    };
    scratch.file("orders/1", "one\n").file("orders/2", "two\n").pipeline(&pipeline("typo"));
    scratch.semel("run -j 1").exits(0);
    scratch.pipeline(&pipeline("mended")).semel("run").exits(0).says("nothing to do");
    scratch
        .file("orders/2", "other\n")
        .semel("run")
        .exits(3)
        .says("refused  pay:orders/2  it was done with other inputs");
    scratch.file("orders/2", "two\n").semel("run").exits(0);
    // A new order is a new task.
    scratch.file("orders/3", "three\n").semel("run").exits(0);
    assert_eq!(scratch.text("ledger"), "one\ntwo\nthree\n");
    // Renamed, it is the same work.
    scratch.rename("orders/3", "orders/4").semel("run").exits(0);
    assert_eq!(scratch.text("ledger"), "one\ntwo\nthree\n");
}

#[test]
fn equal_files_are_one_piece_of_work_or_two_as_the_file_says() {
    for (same, lines) in [("content", 1), ("name+content", 2)] {
        let scratch = scratch();
        scratch.file("orders/1", "x\n").pipeline(&format!(
            "[step.pay]\neach = 'orders/*'\nsame = '{same}'\nonce = true\nrun = 'cat {{{{ item }}}} >> ledger'"
        ));
        scratch.semel("run").exits(0);
        scratch.file("orders/2", "x\n").semel("run").exits(0);
        assert_eq!(scratch.text("ledger").lines().count(), lines, "{same}");
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn each_month_has_its_own_once() {
    let scratch = scratch();
    scratch.pipeline(
        "per = ['month']\n[params]\nmonth = '2013-01'\n[step.announce]\nonce = true\nrun = 'echo loaded {{ params.month }} >> outbox'",
    );
    scratch.semel("run").exits(0).says("once for 2013-01");
    scratch.semel("run").exits(0).says("nothing to do");
    scratch.semel("run -p month=2013-02").exits(0);
    scratch.semel("run -p month=2013-02").exits(0).says("nothing to do");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.text("outbox"), "loaded 2013-01\nloaded 2013-02\n");
    assert_eq!(
        scratch.query("select step, instance from receipt order by instance"),
        ["announce 2013-01", "announce 2013-02"]
    );
}

#[test]
fn a_refused_instance_is_settled_by_its_whole_name() {
    let scratch = scratch();
    scratch.pipeline(
        "per = ['month']\n[params]\nmonth = '2013-01'\n[step.pay]\nonce = true\nrun = 'echo {{ params.month }} >> ledger; [ {{ params.month }} = 2013-01 ]'",
    );
    scratch.semel("run -p month=2013-02").exits(1);
    scratch.semel("run -p month=2013-02").exits(3).says("semel done pay@2013-02");
    scratch.semel("run").exits(0);
    scratch.semel_words(["done", "pay@2013-02", "--because", "x"]).exits(0);
    scratch.semel("run -p month=2013-02").exits(0);
    assert_eq!(scratch.text("ledger"), "2013-02\n2013-01\n");
}

#[test]
fn what_a_refused_attempt_wrote_is_kept_and_done_publishes_it() {
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
fn done_without_its_outputs_is_asked_back() {
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

#[test]
fn done_spares_work_after_a_change_that_does_not_matter() {
    let scratch = scratch();
    let pipeline = |comment: &str| {
        format!(
            "[step.slow]\neach = 'in/*'\nout = 'out/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}; echo slow >> trace # {comment}'"
        )
    };
    scratch.file("in/1", "1").file("in/2", "2").pipeline(&pipeline("a"));
    scratch.semel("run").exits(0);
    trace(&scratch);
    scratch
        .pipeline(&pipeline("b"))
        .semel_words(["done", "slow", "--because", "a comment"])
        .exits(0)
        .says("2 tasks");
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(trace(&scratch), ran(&[]));
    scratch.semel_words(["redo", "slow:in/2", "--because", "to be sure"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("slow", 1)]));
}

#[test]
fn settling_wants_a_task_and_a_reason() {
    let scratch = killed_while_paying("");
    scratch.semel("done pay").exits(2).says("--because");
    scratch.semel_words(["done", "pay", "--because", " "]).exits(2);
    scratch.semel_words(["done", "pya", "--because", "x"]).exits(2).says("did you mean `pay`?");
    scratch
        .semel_words(["done", "pay:7", "--because", "x"])
        .exits(2)
        .says("there is no task `pay:7`");
    scratch.semel("run").exits(3);
}

#[test]
fn fresh_does_everything_again_but_what_is_done_once() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'echo a >> trace'\n[step.pay]\nonce = true\nafter = ['a']\nrun = 'echo pay >> trace'");
    scratch.semel("run").exits(0);
    scratch.semel("run --fresh").exits(0);
    assert_eq!(trace(&scratch), ran(&[("a", 2), ("pay", 1)]));
}

#[test]
fn i3_the_intent_is_on_disk_before_the_command_begins() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.pay]\nonce = true\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    let seen = scratch.query("select step, ending, open from attempt");
    assert_eq!(seen, ["pay  1"]);
    gate.open();
    running.end().exits(0);
}

#[test]
fn a_later_word_takes_the_place_of_those_before_it() {
    for (words, lines) in [(["redo", "done"], 1), (["done", "redo"], 2), (["redo", "redo"], 2)] {
        let scratch = scratch();
        scratch
            .file("status", "1")
            .pipeline("[step.pay]\nonce = true\nrun = 'echo paid >> ledger; exit $(cat status)'");
        scratch.semel("run").exits(1);
        scratch.file("status", "0");
        for word in words {
            scratch.semel_words([word, "pay", "--because", "x"]).exits(0);
        }
        for _ in 0..3 {
            scratch.semel("run").exits(0);
        }
        assert_eq!(scratch.text("ledger").lines().count(), lines, "{words:?}");
    }
}

#[test]
fn done_twice_does_not_hide_a_later_change() {
    let scratch = scratch();
    scratch
        .file("in", "1")
        .pipeline("[step.a]\nin = 'in'\nout = 'a'\nrun = 'cp {{ in }} {{ out }}'");
    scratch.semel("run").exits(0);
    for _ in 0..2 {
        scratch.semel_words(["done", "a", "--because", "x"]).exits(0);
    }
    scratch.semel("run").exits(0);
    scratch.file("in", "2").semel("run").exits(0);
    assert_eq!(scratch.text("a"), "2");
}

#[test]
fn a_memory_that_was_lost_is_no_reason_to_pay_again() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.make]\nout = 'made'\nrun = 'echo made > {{ out }}; echo make >> trace'\n[step.pay]\nneeds = ['make']\nonce = true\nrun = 'echo paid >> ledger'",
    );
    scratch.semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*; touch .semel/manifest.db");
    scratch.semel("run").exits(5).says("it is damaged: it is empty");
    scratch.semel("status").exits(5);
    scratch.sh("rm .semel/manifest.db* .semel/once.log");
    scratch
        .semel("run")
        .exits(3)
        .says("signs of an older one")
        .says("may have been done, and refuse: pay");
    for _ in 0..2 {
        scratch.semel("run").exits(3).says("the memory is incomplete: it may have been done");
    }
    assert_eq!((&*scratch.text("ledger"), trace(&scratch)), ("paid\n", ran(&[("make", 1)])));
    scratch.semel_words(["done", "pay", "--because", "it is in the ledger"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(scratch.text("ledger"), "paid\n");
}

#[test]
fn done_without_outputs_stays_done() {
    let scratch = scratch();
    scratch.pipeline("[step.buy]\nonce = true\nout = 'answer'\nrun = 'echo x > {{ out }}; echo buy >> trace'\n[step.use]\neach = { outputs-of = 'buy' }\nout = 'used/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.remove("answer").semel("run").exits(3);
    scratch
        .semel_words(["done", "buy", "--without-outputs", "--because", "none is wanted"])
        .exits(0);
    for _ in 0..2 {
        scratch.semel("run buy").exits(0);
    }
    scratch.semel("run").exits(1).says("its input `answer` is not there");
    assert_eq!(trace(&scratch), ran(&[("buy", 1)]));
}

#[test]
fn an_input_that_changes_while_it_runs_refuses() {
    let scratch = scratch();
    scratch.file("order", "1").pipeline(
        "[step.pay]\nin = 'order'\nonce = true\nrun = 'cat {{ in }} >> ledger; echo 2 > {{ in }}'",
    );
    scratch.semel("run").exits(3).says("changed while it ran").says("semel done pay");
    scratch.semel("run").exits(3);
    assert_eq!(scratch.text("ledger"), "1");
}

#[test]
fn equal_files_that_come_together_are_paid_once() {
    for jobs in [1, 4] {
        let scratch = scratch();
        for bill in 1..=9 {
            scratch.file(format!("bills/{bill}"), if bill == 5 { "other\n" } else { "same\n" });
        }
        scratch.pipeline(
            "[step.pay]\neach = 'bills/*'\nsame = 'content'\nonce = true\nrun = 'cat {{ item }} >> ledger'",
        );
        scratch.semel(&format!("run -j {jobs}")).exits(0).says("7 reused");
        assert_eq!(scratch.text("ledger").lines().count(), 2);
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn an_equal_file_is_not_paid_after_the_first_failed() {
    let scratch = scratch();
    scratch.file("bills/1", "same\n").file("bills/2", "same\n").pipeline(
        "[step.pay]\neach = 'bills/*'\nsame = 'content'\nonce = true\nrun = 'cat {{ item }} >> ledger; exit 1'",
    );
    scratch.semel("run").exits(1).says("1 failed, 1 blocked");
    assert_eq!(scratch.text("ledger").lines().count(), 1);
}
