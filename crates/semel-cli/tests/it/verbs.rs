//! What each verb says, as people read it.

use semel_testkit::{Gate, Scratch, eventually};

use crate::{days, ran, scratch, trace};

/// The days, with a month as their instance.
fn months() -> Scratch {
    let scratch = scratch();
    for day in 1..=3 {
        scratch
            .file(format!("raw/2013-02-0{day}.csv"), format!("day,flights\n{day},{}\n", day * 100));
    }
    scratch.file("clean.sh", "tail -n +2 \"$1\"\n").file(
        "semel.toml",
        r#"name = "nightly-flights"
per  = ["month"]

[params]
month = "2013-02"

[step.schema]
per   = []
check = "test -e schema.done"
run   = "touch schema.done"

[step.clean]
each = "raw/{{ params.month }}-*.csv"
out  = "clean/{{ item.stem }}.csv"
run  = 'bash clean.sh {{ item }} > {{ out }}'

[step.report]
needs = ["schema"]
in    = { outputs-of = "clean" }
out   = "report-{{ params.month }}.txt"
run   = 'cat {{ in }} > {{ out }}'

[step.announce]
needs = ["report"]
once  = true
run   = 'echo loaded {{ params.month }} >> outbox'
"#,
    );
    scratch
}

#[test]
fn run_in_a_log() {
    let months = months();
    insta::assert_snapshot!("run_first", months.semel("run -j 1").exits(0).shown());
    insta::assert_snapshot!("run_second", months.semel("run").exits(0).shown());
}

#[test]
fn plan_before_between_and_after() {
    let months = months();
    insta::assert_snapshot!("plan_first", months.semel("plan").exits(0).shown());
    assert!(!months.has(".semel"), "it changes nothing");
    months.semel("run").exits(0);
    insta::assert_snapshot!("plan_nothing", months.semel("plan").exits(0).shown());
    months
        .file("raw/2013-02-02.csv", "day,flights\n2,201\n")
        .file("raw/2013-02-04.csv", "day,flights\n4,400\n");
    insta::assert_snapshot!("plan_changed", months.semel("plan").exits(0).shown());
    months.file("clean.sh", "tail -n+2 \"$1\"\n");
    insta::assert_snapshot!("plan_command_changed", months.semel("plan").exits(0).shown());
    months.semel("plan").keeps_silent_of("error").exits(0);
}

#[test]
fn i5_plan_changes_nothing_at_all() {
    let days = days();
    days.semel("run").exits(0);
    days.file("raw/9.csv", "day,flights\n9,9\n");
    let before = days.snapshot();
    let receipts = days.query("select * from receipt");
    days.semel("plan").exits(0);
    assert_eq!((days.snapshot(), days.query("select * from receipt")), (before, receipts));
    assert_eq!(days.query("select count(*) from run"), ["1"]);
    assert_eq!(trace(&days).len(), 4, "what the run traced, and nothing since");
}

#[test]
fn plan_reads_no_bytes_of_new_items() {
    let scratch = scratch();
    scratch.sh("mkdir in; mkfifo fifo").file("in/1", "x").pipeline(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    // Nobody could read it: it is a terabyte of nothing.
    scratch.sh("truncate -s 1T in/2").semel("plan").exits(0).says("2 of 2 tasks would run");
}

#[test]
fn a_failure_is_told_with_what_is_safe_and_what_to_type() {
    let months = months();
    months.semel("run").exits(0);
    months.file("raw/2013-02-02.csv", "day,flights\n2,201\n");
    months.file("clean.sh", "echo reading $1\ncase $1 in *-02.csv) echo 'line 31: no such day: 25:10' >&2; exit 3;; esac\ntail -n +2 \"$1\"\n");
    insta::assert_snapshot!("failure", months.semel("run -j 1").exits(1).shown());
    insta::assert_snapshot!("failure_log", months.semel("log").exits(0).shown());
    insta::assert_snapshot!("failure_status", months.semel("status").exits(1).shown());
}

#[test]
fn a_refusal_is_told_with_both_ways_out() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['month']\n[params]\nmonth = '2013-02'\n[step.load]\nout = 'table-{{{{ params.month }}}}'\nrun = 'echo rows > {{{{ out }}}}'\n[step.announce]\nneeds = ['load']\nonce = true\nrun = '''echo loaded {{{{ params.month }}}} >> outbox; {}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    insta::assert_snapshot!("refusal", scratch.semel("run").exits(3).shown());
    insta::assert_snapshot!("refusal_status", scratch.semel("status").exits(3).shown());
    insta::assert_snapshot!(
        "refusal_why",
        scratch.semel("why announce").exits(0).shown().replace(&*gate.wait(), "[gate]")
    );
}

#[test]
fn known_exit_statuses_are_explained() {
    for (run, says) in [
        ("no-such-command", "127: the command was not found"),
        ("yes | head -1", "141: a pipe's reader left early"),
        ("kill -9 $$", "killed, often for want of memory"),
        ("touch x; ./x", "126: the command was found, but may not be executed"),
    ] {
        let scratch = scratch();
        scratch.pipeline(&format!("[step.a]\nrun = '{run}'"));
        scratch.semel("run").exits(1).says(says);
    }
}

#[test]
fn why_shows_cue_by_cue_what_was_and_what_is() {
    let months = months();
    months.semel("run").exits(0);
    insta::assert_snapshot!(
        "why_skip",
        months.semel("why clean:raw/2013-02-02.csv").exits(0).shown()
    );
    months
        .file("raw/2013-02-02.csv", "day,flights\n2,201\n")
        .file("clean.sh", "tail -n+2 \"$1\"\n");
    insta::assert_snapshot!(
        "why_changed",
        months.semel("why clean:raw/2013-02-02.csv").exits(0).shown()
    );
    insta::assert_snapshot!("why_downstream", months.semel("why report").exits(0).shown());
    months.remove("clean/2013-02-03.csv");
    months.semel("why clean:raw/2013-02-03.csv").exits(0).says("not there");
    months.semel("why clean:raw/7").exits(2).says("there is no task");
    let json: serde_json::Value =
        serde_json::from_str(&months.semel("why schema --json").exits(0).stdout).unwrap();
    assert_eq!((&json["verdict"], &json["truth"]), (&"skip".into(), &"claimed".into()));
}

#[test]
fn status_tells_where_every_step_stands() {
    let months = months();
    insta::assert_snapshot!("status_never", months.semel("status").exits(1).shown());
    assert_eq!(
        months.semel("").exits(1).stdout,
        months.semel("status").exits(1).stdout,
        "`semel` alone does this"
    );
    months.semel("run").exits(0);
    months.file("raw/2013-03-01.csv", "day,flights\n1,7\n").semel("run -p month=2013-03").exits(0);
    months.semel("run").exits(0);
    insta::assert_snapshot!("status_done", months.semel("status").exits(0).shown());
    months.semel("status -p month=2013-03").exits(0).says("month 2013-03");
    let json: serde_json::Value =
        serde_json::from_str(&months.semel("status --json").exits(0).stdout).unwrap();
    assert_eq!((&json["exit"], &json["steps"][1]["state"]), (&0.into(), &"done".into()));
}

#[test]
fn status_tells_a_monitor_when_the_last_good_run_is_too_old() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'true'");
    assert_eq!(
        scratch.semel("status -q --max-age 26h").exits(1).stdout,
        "test: never run; exit 1\n"
    );
    scratch.semel("run").exits(0);
    let ran = scratch.semel("status -q --max-age 26h").exits(0);
    assert_eq!((&*ran.stdout, &*ran.stderr), ("", ""));
    // As if that had been thirty-one hours ago.
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch(
        "update run set ended = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-31 hours'), began = ended",
    )
    .unwrap();
    let ran = scratch.semel("status -q --max-age 26h").exits(1);
    assert_eq!(ran.stdout, "test: last good run 1 was 31 hours ago, limit 26:00:00; exit 1\n");
    scratch.semel("status --max-age 26h").exits(1).says("31 hours ago: too long, limit 26:00:00");
    scratch.semel("status -q --max-age 2d").exits(0);
    scratch.semel("status --max-age soon").exits(2).says("wants a length of time");
}

#[test]
fn status_is_not_green_because_a_part_is_done() {
    let scratch = scratch();
    for item in 1..=4 {
        scratch.file(format!("raw/{item}"), item.to_string());
    }
    scratch.file("bad", "").pipeline("[step.a]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = '[ {{ item.name }} != 3 ] || [ ! -e bad ]; cp {{ item }} {{ out }}'");
    scratch.semel("run a:raw/1").exits(0);
    scratch.semel("status").exits(1).says("in part");
    scratch.semel("run").exits(1);
    scratch.semel("status").exits(1).says("failed");
    scratch.semel("run a:raw/1").exits(0);
    scratch.semel("status").exits(1).says("failed").says("3 of 4");
    scratch.remove("bad").semel("run a:raw/3").exits(0);
    scratch.semel("status").exits(0).says("4 of 4");
}

#[test]
fn log_of_a_run_of_a_task_and_of_nothing() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nrun = 'echo said a'\n[step.b]\nafter = ['a']\nrun = 'echo said b >&2'",
    );
    scratch.semel("log").exits(5).says("there is none");
    scratch.semel("run").exits(0);
    scratch.semel("log").exits(0).says("no task has failed");
    let both = scratch.semel("log 1").exits(0);
    assert!(both.stdout.contains("said a\n") && both.stdout.contains("said b\n"), "{both:?}");
    scratch.semel("log b").exits(0).says("said b").keeps_silent_of("said a");
    scratch.semel("log 7").exits(2).says("there is no run 7");
    scratch.semel("log c").exits(2).says("there is no step `c`");
}

#[test]
fn history_tells_how_each_run_ended() {
    let months = months();
    months.semel("history").exits(5).says("there is none");
    months.semel("run").exits(0);
    months.semel("run").exits(0);
    months.file("raw/2013-03-01.csv", "day,flights\n1,7\n").semel("run -p month=2013-03").exits(0);
    months.file("clean.sh", "exit 1\n").semel("run").exits(1);
    insta::assert_snapshot!("history", months.semel("history").exits(0).shown());
    let json = months.semel("history -n 2 --json").exits(0).stdout;
    let ends: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ends.len(), 2);
    assert_eq!((&ends[0]["end"], &ends[0]["missed"]), (&"failed".into(), &5.into()));
    assert_eq!((&ends[1]["end"], &ends[1]["instance"]), (&"done".into(), &"2013-03".into()));
}

#[test]
fn history_tells_a_killed_run_from_one_at_work() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.slow]\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("history").exits(0).says("at work");
    running.kill();
    scratch.semel("history").exits(0).says("killed");
}

#[test]
fn init_makes_a_starter_that_runs_and_touches_nothing_that_is_there() {
    let scratch = scratch();
    scratch.semel("init").exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("hello.txt"), "hello\n");
    scratch.file("semel.toml", "name = 'mine'").semel("init").exits(0).says("was there already");
    assert_eq!(scratch.text("semel.toml"), "name = 'mine'");
    let bare = crate::scratch();
    bare.semel("init --bare").exits(0);
    assert!(bare.has(".semel/manifest.db") && !bare.has("semel.toml"));
    assert_eq!(bare.text(".semel/.gitignore"), "*\n");
}

#[test]
fn the_manifest_answers_queries_and_nothing_else() {
    let days = days();
    days.semel("run").exits(0);
    let ran = days
        .semel_words([
            "manifest",
            "query",
            "select step, count(*) as tasks from receipt group by step",
        ])
        .exits(0);
    assert_eq!(ran.stdout, "step\ttasks\nclean\t5\nreport\t1\nsum\t5\ntell\t1\n");
    let json = days
        .semel_words([
            "manifest",
            "query",
            "--json",
            "select step, effect from receipt where step = 'tell'",
        ])
        .exits(0);
    assert_eq!(json.stdout, "{\"effect\":null,\"step\":\"tell\"}\n");
    days.semel_words(["manifest", "query", "delete from receipt"])
        .exits(2)
        .says("this would change the manifest");
    days.semel_words(["manifest", "query", "selec"]).exits(2).says("syntax error");
    days.semel("run --expect-noop").exits(0);
    // What stands there can be checked with common tools.
    let sum = days.query("select sha256 from file where role = 'out' and path = 'report.txt'");
    let mut sha = std::process::Command::new("sha256sum");
    let output = sha.arg(days.path().join("report.txt")).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&sum[0]));
}

#[test]
fn help_and_version() {
    let scratch = scratch();
    insta::assert_snapshot!("help", scratch.semel("--help").exits(0).shown());
    insta::assert_snapshot!("help_run", scratch.semel("run --help").exits(0).shown());
    scratch.semel("--version").exits(0).says("semel 0.");
}

#[test]
fn a_reader_that_leaves_early_is_no_crash() {
    let days = days();
    days.semel("run").exits(0);
    let script = format!(
        "{} manifest query 'with recursive n(x) as (select 1 union all select x + 1 from n limit 100000) select x from n' | head -1",
        env!("CARGO_BIN_EXE_semel")
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(days.path())
        .output()
        .unwrap();
    assert_eq!((output.stdout, output.stderr), (b"x\n".to_vec(), Vec::new()));
}

#[test]
fn nothing_is_lost_when_the_log_is_a_closed_pipe() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.slow]\nout = 'out'\nrun = '''echo x > {{{{ out }}}}; {}'''\n[step.more]\nafter = ['slow']\nrun = 'echo more >> trace'",
        gate.wait()
    ));
    let script = format!(
        "{} run 2>&1 | true; echo ${{PIPESTATUS[0]}} > status",
        env!("CARGO_BIN_EXE_semel")
    );
    let mut shell = std::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(scratch.path())
        .spawn()
        .unwrap();
    gate.until_arrived();
    gate.open();
    shell.wait().unwrap();
    eventually("the shell noted its status", || scratch.has("status"));
    assert_eq!((scratch.text("status").as_str(), trace(&scratch)), ("0\n", ran(&[("more", 1)])));
}
