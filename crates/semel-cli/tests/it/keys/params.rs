//! `params`: a value, one that must be given, one that a command prints.

use super::{lines, pipeline};

const MONTH: &str = "per = ['month']\n[params]\nmonth = { required = true, about = 'which month to load' }\n[step.load]\nrun = 'echo {{ params.month }} >> trace'\n";

#[test]
fn a_value_in_a_table_is_a_value() {
    let scratch = pipeline(
        "[params]\nlimit = { value = 3, about = 'rows' }\n[step.a]\nrun = 'echo {{ params.limit }} >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("run -p limit=4").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["3", "4"]);
}

#[test]
fn a_required_parameter_that_is_not_given_is_asked_for() {
    let scratch = pipeline(MONTH);
    for verb in ["run", "plan", "run load", "run --expect-noop"] {
        scratch.semel(verb).exits(2).says("month").says("-p month=");
        assert!(!scratch.has(".semel"), "{verb}");
    }
    scratch.semel("run").says("which month to load");
    insta::assert_snapshot!("required", scratch.semel("run").shown());
}

#[test]
fn a_required_parameter_that_is_given_makes_an_instance() {
    let scratch = pipeline(MONTH);
    scratch.semel("run -p month=2013-01").exits(0);
    scratch.semel("run -p month=2013-02").exits(0);
    scratch.semel("run -p month=2013-01").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["2013-01", "2013-02"]);
    assert_eq!(scratch.query("select instance from receipt order by 1"), ["2013-01", "2013-02"]);
}

#[test]
fn what_only_reads_needs_no_required_parameter() {
    let scratch = pipeline(MONTH);
    scratch.semel("run -p month=2013-01").exits(0);
    scratch.semel("status").exits(0).says("2013-01");
    scratch.semel("").exits(0).says("2013-01");
    scratch.semel("history").exits(0).says("2013-01");
    scratch.semel("log").exits(0);
    scratch.semel("log load@2013-01").exits(0);
    scratch.semel("why load@2013-01").exits(0).says("skip");
}

#[test]
fn a_task_with_its_instance_is_settled_without_the_parameter() {
    let scratch = pipeline(
        &MONTH
            .replace("run = 'echo", "once = true\nrun = 'test {{ params.month }} != 2013-02; echo"),
    );
    scratch.semel("run -p month=2013-02").exits(1);
    scratch.semel("run -p month=2013-02").exits(3).says("semel done load@2013-02");
    scratch.semel_words(["done", "load@2013-02", "--because", "seen"]).exits(0);
    scratch.semel("run -p month=2013-02").exits(0);
    scratch.semel_words(["redo", "load@2013-02", "--because", "not seen"]).exits(0);
    scratch.semel("run -p month=2013-02").exits(1);
    // A bare step means the instance of the parameters, of which there are none.
    scratch.semel_words(["done", "load", "--because", "x"]).exits(2).says("-p month=");
}

#[test]
fn an_empty_value_is_a_value() {
    let scratch = pipeline(
        "[params]\nwhat = { required = true }\n[step.a]\nrun = 'echo [{{ params.what }}] >> trace'",
    );
    scratch.semel("run -p what=").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["[]"]);
}

#[test]
fn an_unknown_parameter_is_told_beside_the_required_one() {
    let scratch = pipeline(MONTH);
    scratch.semel("run -p mont=2013-01").exits(2).says("mont");
    assert!(!scratch.has(".semel"));
}

#[test]
fn a_command_is_asked_once_a_run() {
    let scratch = pipeline(
        "[params]\nday = { command = 'echo asked >> asked; cat today' }\n[step.a]\nrun = 'echo a {{ params.day }} >> trace'\n[step.b]\nneeds = ['a']\nrun = 'echo b {{ params.day }} >> trace'",
    );
    scratch.file("today", "monday\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 1);
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a monday", "b monday"]);
    scratch.file("today", "tuesday\r\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace")[2..], ["a tuesday", "b tuesday"]);
    // Given, it is not asked for.
    let before = lines(&scratch, "asked").len();
    scratch.semel("run -p day=friday").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), before);
    assert_eq!(lines(&scratch, "trace")[4..], ["a friday", "b friday"]);
    // What only looks back does not ask either.
    scratch.semel("status");
    scratch.semel("history").exits(0);
    scratch.semel("log").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), before, "reading verbs ask nobody");
}

#[test]
fn a_command_names_instances() {
    let scratch = pipeline(
        "per = ['day']\n[params]\nday = { command = ['cat', 'today'] }\n[step.a]\nout = 'out/{{ params.day }}'\nrun = 'echo x > {{ out }}; echo {{ params.day }} >> trace'",
    );
    for day in ["mon", "tue", "mon"] {
        scratch.file("today", day).semel("run").exits(0);
    }
    assert_eq!(lines(&scratch, "trace"), ["mon", "tue"]);
    scratch.semel("why a@tue").exits(0).says("a@tue");
}

#[test]
fn a_command_that_gives_no_value_is_told_with_the_way_round() {
    for (command, why) in [
        ("echo no luck >&2; exit 7", "exit status 7: no luck"),
        ("true", "it printed nothing"),
        ("echo a; echo b", "it printed more than one line"),
        ("printf \"a\\\\377\"", "not UTF-8"),
        ("kill -9 $$", "signal 9"),
    ] {
        let scratch = pipeline(&format!(
            "[params]\nday = {{ command = '{command}' }}\n[step.a]\nrun = 'echo {{{{ params.day }}}} >> trace'"
        ));
        let ran = scratch.semel("run").exits(1).says(why).says("-p day=").says("semel.toml:3");
        assert!(!scratch.has("trace"), "{ran:?}");
        assert!(!scratch.has(".semel"), "nothing was begun: {ran:?}");
        scratch.semel("run -p day=x").exits(0);
    }
}

#[test]
fn a_command_that_cannot_be_started_is_told() {
    let scratch = pipeline(
        "[params]\nday = { command = ['no-such-program'] }\n[step.a]\nrun = 'echo {{ params.day }}'",
    );
    scratch.semel("run").exits(1).says("no-such-program").says("-p day=");
}

#[test]
fn a_command_whose_value_nobody_needs_still_stops_the_run_loudly() {
    // The value is part of what the run says of itself.
    let scratch =
        pipeline("[params]\nday = { command = 'exit 1' }\n[step.a]\nrun = 'echo x >> trace'");
    scratch.semel("run").exits(1).says("parameter `day` cannot be had");
    assert!(!scratch.has("trace"));
}
