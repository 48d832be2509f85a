//! What is typed next works as it is printed, and acts on the instance that is shown.

use semel_testkit::Scratch;

use crate::scratch;

/// A payment for each day, which fails until `open` is there.
fn paying(day: &str) -> Scratch {
    let scratch = scratch();
    scratch.pipeline(&format!(
        "per = ['day']\n[params]\nday = {day}\n[step.pay]\nonce = true\nrun = 'test -e open && echo {{{{ params.day }}}} >> ledger'"
    ));
    scratch
}

/// The commands that are named as what to type next.
fn named(shown: &str) -> Vec<Vec<String>> {
    let lines = shown.lines().filter_map(|line| line.trim_start().strip_prefix("semel "));
    let commands = lines.map(|line| line.split("  ").next().unwrap_or_default());
    commands.map(|command| command.split(' ').map(str::to_owned).collect()).collect()
}

#[test]
fn going_on_with_tuesday_does_not_pay_for_monday() {
    let scratch = paying("'mon'");
    scratch.semel("run -p day=tue").exits(1);
    scratch.semel("status").says("day tue").says("semel run -p day=tue ");
    scratch
        .semel_words(["redo", "pay@tue", "--because", "the bank was closed"])
        .exits(0)
        .says("semel run -p day=tue\n");
    scratch.file("open", "");
    let status = scratch.semel("status").stdout;
    let run = named(&status).pop().unwrap();
    scratch.semel_words(&run).exits(0);
    assert_eq!(scratch.text("ledger"), "tue\n");
}

#[test]
fn what_the_file_says_by_itself_need_not_be_typed() {
    let scratch = paying("'mon'");
    scratch.semel("run").exits(1);
    scratch.semel("status").says("semel run  ").keeps_silent_of("-p");
    scratch.semel("status -p day=mon").says("semel run -p day=mon ");
    scratch
        .semel_words(["done", "pay@mon", "--because", "seen"])
        .says("semel run\n")
        .keeps_silent_of("-p");
    // The name of the task counts, whatever else was typed.
    scratch
        .semel_words(["done", "-p", "day=tue", "pay@wed", "--because", "seen"])
        .says("semel run -p day=wed\n")
        .keeps_silent_of("tue");
}

#[test]
fn tasks_of_two_days_want_a_run_for_each() {
    let scratch = paying("'mon'");
    scratch.semel("run -p day=tue").exits(1);
    scratch
        .semel_words(["done", "pay@mon", "pay@tue", "--because", "seen"])
        .exits(0)
        .says("    semel run\n    semel run -p day=tue\n");
}

#[test]
fn a_value_that_must_be_given_is_given() {
    let scratch = paying("{ required = true }");
    scratch.semel("init --bare -p day=tue").exits(0).says("semel run -p day=tue ");
    scratch.semel("run -p day=tue").exits(1);
    scratch.semel("status").says("semel run -p day=tue ");
    for verb in ["done", "redo"] {
        scratch.semel_words([verb, "pay@tue", "--because", "x"]).says("semel run -p day=tue\n");
    }
    let why = scratch.semel("why pay@tue").exits(0).says("semel run pay@tue -p day=tue\n").stdout;
    scratch.file("open", "");
    scratch.semel_words(named(&why).pop().unwrap()).exits(0);
    assert_eq!(scratch.text("ledger"), "tue\n");
}

#[test]
fn why_names_a_run_of_the_task_it_is_asked_about() {
    let scratch = scratch();
    scratch.file("raw/1", "").pipeline(
        "per = ['place', 'day']\n[params]\nplace = 'a'\nday = { required = true }\n[step.a]\neach = 'raw/*'\nsame = 'content'\nrun = 'echo {{ params.place }} {{ params.day }} {{ item.name }} >> did'",
    );
    let why = scratch.semel("why a@x,b:raw/1").exits(0).stdout;
    scratch.semel_words(named(&why).pop().unwrap()).exits(0);
    assert_eq!(scratch.text("did"), "x b 1\n");
}

#[test]
fn a_task_that_names_its_day_needs_no_other_word_to_be_settled() {
    let scratch = scratch();
    scratch.pipeline(
        "per = ['day']\n[params]\nday = 'mon'\n[step.pay]\nonce = true\nout = 'receipt/{{ params.day }}'\nrun = 'exit 1; echo > {{ out }}'",
    );
    scratch.semel("run -p day=tue").exits(1);
    scratch
        .semel_words(["done", "pay@tue", "--because", "seen"])
        .exits(3)
        .says("semel done pay@tue --without-outputs");
    scratch.semel("why pay@tue").exits(0).says("semel redo pay@tue --because");
}

#[test]
fn a_secret_value_stays_masked_where_the_name_of_a_task_says_it() {
    let scratch = scratch();
    scratch.pipeline(
        "per = ['key']\n[params]\nkey = 'none'\n[step.a]\nsecret-env = ['TOKEN']\nrun = 'exit 1'",
    );
    let semel = |words: &[&str]| {
        let mut command = scratch.command(words);
        command.env("TOKEN", "hunter2-hunter2");
        scratch.ran(command)
    };
    semel(&["run", "-p", "key=hunter2-hunter2"]).exits(1);
    let ran = semel(&["redo", "a@hunter2-hunter2", "--because", "x"]).exits(0);
    let run = ran.stderr.lines().find(|line| line.contains("semel run")).unwrap();
    assert!(run.contains("key=***"), "{run}");
}
