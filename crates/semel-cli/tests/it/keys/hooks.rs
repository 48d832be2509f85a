//! `[finally]`, `[on-failure]`, `[on-success]`: what accompanies the end of a run.

use semel_testkit::Gate;

use super::{lines, pipeline};

const HOOKS: &str = "[step.a]\nin = 'in'\nrun = 'echo run >> trace; test $(cat in) = good'\n[finally]\nrun = 'cat > finally.json; echo finally >> trace'\n[on-failure]\nrun = 'cat > failure.json; echo failure >> trace'\n[on-success]\nrun = 'cat > success.json; echo success >> trace'";

#[test]
fn f36_after_a_success() {
    let scratch = pipeline(HOOKS);
    scratch.file("in", "good").semel("run").exits(0);
    let mut told = lines(&scratch, "trace");
    assert_eq!(told.remove(0), "run");
    told.sort();
    assert_eq!(told, ["finally", "success"]);
    // Nothing was begun: no hook.
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("plan").exits(0);
    scratch.semel("status").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 3);
}

#[test]
fn f36_after_a_failure() {
    let scratch = pipeline(HOOKS);
    scratch.file("in", "bad").semel("run").exits(1);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["failure", "finally", "run"]);
}

#[test]
fn f36_the_summary_is_json_and_complete() {
    let scratch = pipeline(&format!(
        "{HOOKS}\n[step.b]\neach = {{ lines = 'l' }}\nafter = ['c']\nrun = 'true'\n[step.c]\nrun = 'echo \"said\"; exit 3'"
    ));
    scratch.file("in", "good").file("l", "x\ny\n").semel("run").exits(1);
    for file in ["finally.json", "failure.json"] {
        let summary: serde_json::Value = serde_json::from_str(&scratch.text(file)).unwrap();
        assert_eq!(summary["pipeline"], "test");
        assert_eq!(summary["run"], 1);
        assert_eq!(summary["exit"], 1);
        let steps = summary["steps"].as_array().unwrap();
        let names: Vec<_> =
            steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect();
        assert_eq!(names, ["a", "b", "c"], "{summary}");
        assert!(scratch.text(file).contains("exit status 3"), "{summary}");
    }
}

#[test]
fn f36_after_ctrl_c() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = '''echo run >> trace; {}'''\n[finally]\nrun = 'echo finally >> trace'\n[on-failure]\nrun = 'echo failure >> trace'\n[on-success]\nrun = 'echo success >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(rustix::process::Signal::INT);
    running.end().exits(130);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["failure", "finally", "run"]);
}

#[test]
fn f36_what_a_killed_run_owes_the_next_pays_first_and_once() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['day']\n[params]\nday = 'mon'\n[step.a]\nrun = '''echo run {{{{ params.day }}}} >> trace; [ -e open ] || {{ {}; }}'''\n[finally]\nrun = 'cat > finally.json; echo finally {{{{ params.day }}}} >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run -p day=tue");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "");
    for verb in ["plan -p day=tue", "status", "history", "run -p day=tue --expect-noop"] {
        scratch.semel(verb);
        assert_eq!(lines(&scratch, "trace"), ["run tue"], "{verb} pays nothing");
    }
    scratch.semel("run -p day=tue").exits(0);
    assert_eq!(
        lines(&scratch, "trace"),
        ["run tue", "finally tue", "run tue", "finally tue"],
        "the debt first, then its own"
    );
    scratch.semel("run -p day=tue").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 4);
}

#[test]
fn f36_what_a_live_run_owes_no_other_pays() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['day']\n[params]\nday = 'mon'\n[step.a]\nrun = '''echo run {{{{ params.day }}}} >> trace; [ {{{{ params.day }}}} = tue ] || {{ {}; }}'''\n[finally]\nrun = 'echo finally {{{{ params.day }}}} >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("run -p day=tue").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run mon", "run tue", "finally tue"]);
    gate.open();
    running.end().exits(0);
    assert_eq!(lines(&scratch, "trace")[3..], ["finally mon"]);
}

#[test]
fn f36_a_run_with_nothing_to_do_pays_what_is_owed() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = 'echo run >> trace'\n[finally]\nrun = '''echo finally >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run", "finally", "finally"]);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 3);
}

#[test]
fn f36_a_run_that_cannot_begin_is_told() {
    let scratch = pipeline(HOOKS);
    let ran = scratch.semel("run").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["failure"], "{ran:?}");
    let summary: serde_json::Value = serde_json::from_str(&scratch.text("failure.json")).unwrap();
    assert_eq!(summary["exit"], 1, "{summary}");
    assert!(scratch.text("failure.json").contains("in"), "{summary}");
}

#[test]
fn f36_a_refusal_is_no_success() {
    let scratch = pipeline(
        "[step.pay]\nonce = true\nrun = 'exit 1'\n[on-failure]\nrun = 'cat > f.json; echo failure >> trace'\n[on-success]\nrun = 'echo success >> trace'\n[finally]\nrun = 'echo finally >> trace'",
    );
    scratch.semel("run").exits(1);
    scratch.semel("run").exits(3);
    assert_eq!(lines(&scratch, "trace"), ["failure", "finally", "failure"]);
    let summary: serde_json::Value = serde_json::from_str(&scratch.text("f.json")).unwrap();
    assert_eq!(summary["exit"], 3, "{summary}");
}

#[test]
fn f36_a_run_that_finds_another_at_work_is_no_failure_of_the_pipeline() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = '''{}'''\n[on-failure]\nrun = 'echo failure >> trace'\n[finally]\nrun = 'echo finally >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("run").exits(4);
    assert!(!scratch.has("trace"));
    gate.open();
    running.end().exits(0);
    assert_eq!(lines(&scratch, "trace"), ["finally"]);
}

#[test]
fn a_hook_that_fails_changes_nothing_and_is_told() {
    for hook in ["finally", "on-success"] {
        let scratch = pipeline(&format!(
            "[step.a]\nrun = 'true'\n[{hook}]\nrun = 'echo \"no network\" >&2; exit 6'"
        ));
        scratch.semel("run").exits(0).says(hook).says("exit status 6: no network");
        scratch.semel("run --expect-noop").exits(0);
        scratch.semel("status").exits(0);
    }
    let scratch = pipeline("[step.a]\nrun = 'exit 1'\n[on-failure]\nrun = ['no-such-program']");
    scratch.semel("run").exits(1).says("on-failure").says("no-such-program");
}

#[test]
fn a_hook_that_hangs_is_ended_and_told() {
    let scratch = pipeline(
        "[step.a]\nrun = 'true'\n[finally]\nrun = 'echo begun >> trace; sleep 60'\ntimeout = '200ms'",
    );
    scratch.semel("run").exits(0).says("finally").says("no answer within");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["begun"]);
}

#[test]
fn a_hook_that_does_not_read_its_input_is_no_failure() {
    // More than fits into a pipe.
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\nrun = 'exit 1'\n[on-failure]\nrun = 'exec <&-; echo told >> trace'",
    );
    let items: Vec<_> = (0..300).map(|at| format!("{at}-{}", "x".repeat(200))).collect();
    scratch.file("l", items.join("\n")).semel("run -j 8").exits(1).keeps_silent_of("on-failure");
    assert_eq!(lines(&scratch, "trace"), ["told"]);
}

#[test]
fn hooks_count_nothing_and_see_the_run() {
    let text = "[params]\np = 'x'\n[step.a]\nrun = 'echo $SEMEL_RUN >> trace'\n[finally]\nrun = ['sh', '-c', 'echo $SEMEL_RUN $1 >> trace', 'sh', '{{ params.p }}']";
    let scratch = pipeline(text);
    scratch.semel("run").exits(0);
    let told = lines(&scratch, "trace");
    assert_eq!(told[1], format!("{} x", told[0]));
    scratch.pipeline(&text.replace("echo $SEMEL_RUN $1", "echo other $1"));
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_quiet_run_stays_quiet_though_hooks_talk() {
    let scratch =
        pipeline(HOOKS.replace("cat > success.json;", "echo hello; cat > success.json;").as_str());
    let ran = {
        scratch.file("in", "good");
        scratch.semel("run -q").exits(0)
    };
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));
}

#[test]
fn a_part_that_went_well_is_no_success_of_all() {
    let scratch = pipeline(
        "[step.a]\nrun = 'echo a >> trace'\n[step.b]\nrun = 'test -e good'\n[on-success]\nrun = 'echo success >> trace'",
    );
    scratch.semel("run a").exits(0);
    scratch.semel("run").exits(1);
    scratch.file("good", "").semel("run --only-failed").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a"]);
    scratch.semel("run --fresh").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a", "a", "success"]);
}
