//! What counts: the same work is found again, and other work is not taken for it.
//! F1 to F7.

use semel_testkit::Scratch;

use crate::content::copying;
use crate::{ran, scratch, trace};

/// The lines of a file, in order: tasks run in any.
fn sorted(scratch: &Scratch, path: &str) -> Vec<String> {
    let mut lines: Vec<_> = scratch.text(path).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn f1_needs_counts_and_after_only_orders() {
    let scratch = scratch();
    scratch.file("n", "1").pipeline(
        "[step.load]\nin = 'n'\nout = 'table'\nrun = 'cp {{ in }} {{ out }}'\n[step.report]\nneeds = ['load']\nout = 'report'\nrun = 'cat table > {{ out }}; echo report >> trace'\n[step.other]\nafter = ['load']\nout = 'other'\nrun = 'echo x > {{ out }}; echo other >> trace'",
    );
    scratch.semel("run").exits(0);
    trace(&scratch);
    scratch.file("n", "2").semel("run").exits(0);
    assert_eq!(scratch.text("report"), "2");
    assert_eq!(trace(&scratch), ran(&[("report", 1)]), "`after` only orders");
}

/// Day 51 is loaded into a database that no file shows; the report must be made
/// again. A comment in the schema must not load anything again.
#[test]
fn f1_a_report_follows_what_was_loaded_though_no_file_shows_it() {
    let scratch = scratch();
    scratch.file("schema.sh", "echo schema >> trace\n").file("days/1", "one\n").pipeline(
        "[step.schema]\nrun = 'bash schema.sh'\n[step.load]\nafter = ['schema']\neach = 'days/*'\nsame = 'content'\nrun = 'cat {{ item }} >> table; echo load >> trace'\n[step.report]\nneeds = ['load']\nout = 'report'\nrun = 'sort table > {{ out }}; echo report >> trace'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1), ("report", 1), ("schema", 1)]));
    scratch.file("days/51", "fifty-one\n").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1), ("report", 1)]));
    assert_eq!(scratch.text("report"), "fifty-one\none\n");
    scratch.file("schema.sh", "# a comment\necho schema >> trace\n").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("schema", 1)]));
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn f2_another_command_is_no_reason_to_pay_again_and_other_inputs_refuse() {
    let scratch = scratch();
    let pipeline = |typo: &str| {
        format!(
            "[step.pay]\neach = 'orders/*'\nsame = 'content'\nonce = true\nrun = 'cat {{{{ item }}}} >> ledger # {typo}'"
        )
    };
    scratch.file("orders/1", "one\n").file("orders/2", "two\n").pipeline(&pipeline("typo"));
    scratch.semel("run").exits(0);
    scratch.pipeline(&pipeline("mended")).semel("run").exits(0).says("nothing to do");
    scratch
        .file("orders/2", "other\n")
        .semel("run")
        .exits(3)
        .says("refused  pay:orders/2  it was done with other inputs");
    scratch.file("orders/2", "two\n").semel("run").exits(0);
    // A new order is a new task.
    scratch.file("orders/3", "three\n").semel("run").exits(0);
    assert_eq!(sorted(&scratch, "ledger"), ["one", "three", "two"]);
    // Renamed, it is the same work.
    scratch.rename("orders/3", "orders/4").semel("run").exits(0);
    assert_eq!(sorted(&scratch, "ledger"), ["one", "three", "two"]);
}

#[test]
fn f2_each_month_has_its_own_once() {
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
fn f2_a_typo_mended_in_the_script_that_pays_pays_nothing_again() {
    let scratch = scratch();
    for order in 1..=5 {
        scratch.file(format!("orders/{order}"), format!("{order}\n"));
    }
    scratch.file("pay.sh", "echo payed >&2; cat $1 >> ledger\n").pipeline(
        "[step.pay]\neach = 'orders/*'\nsame = 'content'\nonce = true\nrun = 'bash pay.sh {{ item }}'",
    );
    scratch.semel("run").exits(0);
    scratch.file("pay.sh", "echo paid >&2; cat $1 >> ledger\n");
    scratch
        .semel("why pay:orders/3")
        .exits(0)
        .says("skip: done by an earlier version of the command");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(sorted(&scratch, "ledger"), ["1", "2", "3", "4", "5"]);
}

/// A ledger, a table, a database, a model, a marker: each is named by a command
/// that makes or changes it, and none of them is an input.
#[test]
fn f3_files_that_a_command_itself_changes_are_no_inputs() {
    for once in [false, true] {
        for run in [
            "echo {{ item }} >> ledger",
            "cat {{ item }} >> table; wc -l < table",
            "cat {{ item }} > flights.db; cat flights.db > /dev/null",
            "./train.sh model.bin",
            "[ -e fast ] || touch fast",
            "bash train.sh model.bin 2> log.txt",
            "sh < script-in > made-by-it",
        ] {
            let scratch = scratch();
            scratch.file("raw/1", "1\n").file("raw/2", "2\n").file("script-in", "echo x\n");
            scratch.file("train.sh", "#!/bin/sh\necho trained >> $1\n").sh("chmod +x train.sh");
            scratch.pipeline(&format!(
                "[step.a]\neach = 'raw/*'\nsame = 'content'\nonce = {once}\nrun = '{run}'"
            ));
            scratch.semel("run").exits(0);
            let before = scratch.snapshot();
            scratch.semel("run --expect-noop").exits(0);
            scratch.semel("run").exits(0).says("nothing to do");
            assert_eq!(scratch.snapshot(), before, "{run}");
        }
    }
}

/// A tool that the pipeline builds is an output, and counts where it is needed.
#[test]
fn f3_a_program_that_a_step_makes_counts_by_needs() {
    for (link, runs) in [("after", 0), ("needs", 1)] {
        let scratch = scratch();
        scratch.file("tool.in", "#!/bin/sh\necho one >> trace\n").pipeline(&format!(
            "[step.build]\nin = 'tool.in'\nout = 'tool'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}; chmod +x {{{{ out }}}}'\n[step.use]\n{link} = ['build']\nrun = './tool'"
        ));
        scratch.semel("run").exits(0);
        scratch.semel("run --expect-noop").exits(0);
        trace(&scratch);
        scratch.file("tool.in", "#!/bin/sh\necho two >> trace\n").semel("run").exits(0);
        assert_eq!(trace(&scratch).len(), runs, "{link}");
        scratch.semel("run --expect-noop").exits(0);
    }
}

#[test]
fn f5_a_renamed_file_whose_name_is_used_is_another_piece_of_work() {
    let scratch = copying("echo {{ item.stem }} > {{ out }}");
    scratch.semel("run").exits(0);
    scratch.rename("in/a", "in/b").semel("run").exits(0);
    assert_eq!(scratch.text("out/b"), "b\n");
    assert_eq!(trace(&scratch), ran(&[("copy", 2)]));
}

#[test]
fn f5_equal_files_are_one_piece_of_work_or_two_as_the_file_says() {
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

/// Two holidays without flights: each gets the output of its own day.
#[test]
fn f5_two_equal_days_get_each_their_own_output() {
    let scratch = scratch();
    scratch.file("raw/01-01.csv", "").file("raw/12-25.csv", "").pipeline(
        "[step.tag]\neach = 'raw/*.csv'\nout = 'tagged/{{ item.name }}'\nrun = 'echo {{ item.stem }} > {{ out }}'",
    );
    scratch.semel("run").exits(0).keeps_silent_of("reused");
    assert_eq!(
        (&*scratch.text("tagged/01-01.csv"), &*scratch.text("tagged/12-25.csv")),
        ("01-01\n", "12-25\n")
    );
}

#[test]
fn f5_two_hosts_with_one_configuration_are_never_one_in_silence() {
    let scratch = scratch();
    let step = |same: &str| {
        format!(
            "[step.deploy]\neach = 'hosts/*.conf'\n{same}\nrun = 'echo {{{{ item }}}} >> deployed'"
        )
    };
    scratch.file("hosts/a.conf", "x").file("hosts/b.conf", "x").pipeline(&step(""));
    scratch.semel("run").exits(2).says("same = \"content\"").says("same = \"name+content\"");
    assert!(!scratch.has("deployed") && !scratch.has(".semel"));
    scratch.pipeline(&step("same = 'name+content'")).semel("run").exits(0);
    assert_eq!(scratch.text("deployed").lines().count(), 2);
}

#[test]
fn f5_a_value_is_its_value() {
    for once in [false, true] {
        let scratch = scratch();
        scratch.file("hosts", "a\nb\nc\n").pipeline(&format!(
            "[step.visit]\neach = {{ lines = 'hosts' }}\nonce = {once}\nrun = 'echo visit-$HOST >> trace'\nenv = {{ HOST = '{{{{ item }}}}' }}"
        ));
        scratch.semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("visit-a", 1), ("visit-b", 1), ("visit-c", 1)]));
        // In another order, and one more in front.
        scratch.file("hosts", "d\nc\nb\na\n").semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("visit-d", 1)]));
    }
}

#[test]
fn f5_files_that_changed_names_with_each_other() {
    let scratch = scratch();
    scratch.file("raw/a", "one").file("raw/b", "two").pipeline(
        "[step.copy]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo copy >> trace'",
    );
    scratch.semel("run").exits(0);
    trace(&scratch);
    scratch.sh("mv raw/a t; mv raw/b raw/a; mv t raw/b").semel("run").exits(0);
    assert_eq!((&*scratch.text("out/a"), &*scratch.text("out/b")), ("two", "one"));
    scratch.semel("run --expect-noop").exits(0);
    // With their outputs, there is nothing to do: each carries its proof.
    scratch.sh("for d in raw out; do mv $d/a t; mv $d/b $d/a; mv t $d/b; done");
    trace(&scratch);
    scratch.semel("run").exits(0).says("the output fits it already");
    assert_eq!(trace(&scratch), ran(&[]));
}

#[test]
fn f7_another_spelling_of_the_pattern_is_the_same_orders() {
    let scratch = scratch();
    scratch.file("orders/1", "one\n").file("orders/2", "two\n");
    for pattern in ["orders/*", "./orders/*", "orders//*", "orders/./*", "orders/[0-9]"] {
        scratch.pipeline(&format!(
            "[step.pay]\neach = '{pattern}'\nsame = 'name+content'\nonce = true\nrun = 'cat {{{{ item }}}} >> ledger'"
        ));
        scratch.semel("run").exits(0);
        assert_eq!(sorted(&scratch, "ledger"), ["one", "two"], "{pattern}");
    }
}

/// An editor's swap file is there while somebody looks at the data.
#[test]
fn hidden_files_are_no_items_unless_they_are_named() {
    let scratch = scratch();
    let step = |pattern: &str| {
        format!(
            "[step.a]\neach = '{pattern}'\nsame = 'content'\nrun = 'echo {{{{ item }}}} >> trace'"
        )
    };
    scratch.file("raw/3.csv", "3").file("raw/.3.csv.swp", "swap").file("raw/.cache/4.csv", "4");
    for pattern in ["raw/*", "raw/**", "**/*.csv", "*/*.c*", "r*/?.csv"] {
        scratch.pipeline(&step(pattern)).semel("run --fresh").exits(0);
        assert_eq!(trace(&scratch), ran(&[("raw/3.csv", 1)]), "{pattern}");
    }
    scratch.pipeline(&step("raw/.*.swp")).semel("run --fresh").exits(0);
    assert_eq!(trace(&scratch), ran(&[("raw/.3.csv.swp", 1)]));
}

/// The clock went wrong, or files come from a machine where it is: times are set
/// to the future and the past, and only what changed is done again.
#[test]
fn a_clock_that_jumps_neither_hides_a_change_nor_makes_one() {
    let scratch = scratch();
    scratch.file("in", "0").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; echo copy >> trace'",
    );
    for (round, time) in
        ["2099-01-01", "1971-01-01", "2099-01-01", "2038-01-19 03:14:08", "1901-01-01", "now"]
            .iter()
            .enumerate()
    {
        // As long as before, so that neither size nor time tells.
        scratch.sh(&format!("printf {round} > in; touch -d '{time}' in")).semel("run").exits(0);
        assert_eq!(
            (scratch.text("out"), trace(&scratch)),
            (round.to_string(), ran(&[("copy", 1)]))
        );
        scratch.sh(&format!("touch -d '{time}' out")).semel("run --expect-noop").exits(0);
        scratch.sh("touch -d '2050-01-01' in; touch -d 1980-01-01 out");
        scratch.semel("run --expect-noop").exits(0);
    }
}
