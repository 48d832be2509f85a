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
