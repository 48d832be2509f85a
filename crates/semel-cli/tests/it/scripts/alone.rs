//! Steps that stand alone: in cron, in a Makefile, from Python, beside one another.

use semel_testkit::{Gate, eventually, kill_tree};

use super::with_manifest;

#[test]
fn one_step_is_done_once_and_says_nothing() {
    let scratch = with_manifest();
    let words = [
        "step",
        "backup",
        "--out",
        "b.txt",
        "--",
        "bash",
        "-c",
        "echo b > \"$1\"; echo x >> trace",
        "_",
        "{{ out }}",
    ];
    for _ in 0..3 {
        let ran = scratch.semel_words(words).exits(0);
        assert!(ran.stdout.is_empty(), "{ran:?}");
    }
    assert_eq!((scratch.text("b.txt"), scratch.text("trace")), ("b\n".into(), "x\n".into()));
    let quiet = scratch.semel_words(words).exits(0);
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
    let mut with_reasons = words.to_vec();
    with_reasons.insert(1, "-v");
    scratch.semel_words(with_reasons).says("backup skip: unchanged");
    scratch.semel("status").exits(0).says("steps").says("backup    done");
    scratch.semel("why backup").exits(0).says("skip");
}

#[test]
fn the_manifest_is_found_upwards_or_where_it_is_said_to_be() {
    let scratch = with_manifest();
    scratch.sh("mkdir -p deep/er");
    let mut command = scratch.command(["step", "a", "--stdout", "out.txt", "--", "echo", "here"]);
    command.current_dir(scratch.path().join("deep/er"));
    scratch.ran(command).exits(0);
    assert_eq!(scratch.text("deep/er/out.txt"), "here\n");
    let elsewhere = crate::scratch();
    for named in [scratch.path().to_owned(), scratch.path().join(".semel")] {
        let mut command = elsewhere.command(["step", "a", "-v", "--", "true"]);
        command.env("SEMEL_DIR", named);
        elsewhere.ran(command).exits(0);
    }
    assert!(!elsewhere.has(".semel"));
    elsewhere
        .semel("step a -- true")
        .exits(105)
        .says("there is no manifest")
        .says("semel init --bare");
}

#[test]
fn many_at_once_each_do_their_own_item() {
    let scratch = with_manifest();
    scratch.sh("seq 20 > items");
    let mut command = scratch.script("bash", "-c");
    command.arg("xargs -P 8 -I {} semel step square --item {} --stdout sq/{} -- bash -c 'echo x >> trace; echo $(( $1 * $1 ))' _ {} < items");
    scratch.ran(command).exits(0);
    assert_eq!((scratch.text("sq/7"), scratch.list("sq").len()), ("49\n".into(), 20));
    assert_eq!(scratch.text("trace").lines().count(), 20);
    assert_eq!(scratch.query("select count(*) from receipt"), ["20"]);
    assert!(scratch.list(".semel/staging").is_empty());
    assert!(!scratch.list(".semel/lock").iter().any(|name| name.contains("square")));
}

#[test]
fn i4_the_same_task_is_busy_or_waits() {
    let scratch = with_manifest();
    let gate = Gate::new(scratch.path(), "gate");
    let act = format!("echo x >> trace; {}", gate.wait());
    let words = ["step", "a", "--", "bash", "-c", &act];
    let first = scratch.started(scratch.command(words));
    gate.until_arrived();
    scratch.semel_words(words).exits(104).says("busy  a").says("nothing was started; exit 104");
    let waits =
        scratch.started(scratch.command(["step", "a", "--wait", "1m", "--", "bash", "-c", &act]));
    gate.open();
    assert_eq!(first.end().status, 0);
    waits.end().exits(0);
    assert_eq!(scratch.text("trace"), "x\n");
}

#[test]
fn killed_it_is_done_again_and_what_is_done_once_refuses() {
    for once in [false, true] {
        let scratch = with_manifest();
        let gate = Gate::new(scratch.path(), "gate");
        let act = format!("echo x >> trace; [ -e pass ] || {{ {}; }}", gate.wait());
        let mut words = vec!["step", "a"];
        words.extend(once.then_some("--once"));
        words.extend(["--", "bash", "-c", &act]);
        let running = scratch.started(scratch.command(&words));
        gate.until_arrived();
        running.kill();
        scratch.file("pass", "");
        let again = scratch.semel_words(&words);
        if once {
            again.exits(103).says("may have been done already").says("semel done a -f steps");
            scratch.semel("done a -f steps --because seen").exits(0);
            scratch.semel_words(&words).exits(0);
            assert_eq!(scratch.text("trace"), "x\n");
        } else {
            again.exits(0);
            assert_eq!(scratch.text("trace"), "x\nx\n");
        }
        assert!(scratch.list(".semel/staging").is_empty());
    }
}

#[test]
fn i10_a_command_that_outlives_its_step_keeps_its_task() {
    let scratch = with_manifest();
    let gate = Gate::new(scratch.path(), "gate");
    let act = format!("echo x >> trace; {}", gate.wait());
    let words = ["step", "a", "--", "bash", "-c", &act];
    let running = scratch.started(scratch.command(words));
    gate.until_arrived();
    running.kill_without_commands();
    scratch
        .semel_words(words)
        .exits(104)
        .says("its run was killed, its command still works")
        .says("kill ");
    scratch.semel("step other -- true").exits(0);
    gate.open();
    eventually("it has ended", || {
        scratch.semel_words(["step", "a", "--", "bash", "-c", "true"]).status == 0
    });
}

#[test]
fn a_step_in_a_pipeline_is_one_of_its_own() {
    let scratch = crate::scratch();
    scratch.pipeline("[step.a]\nrun = 'semel step inner -- bash -c \"echo x >> trace\"; semel step inner -- true'\nversion = '1'\n");
    let mut command = scratch.script("semel", "run");
    command.env("SHELL", "/bin/sh");
    scratch.ran(command).exits(0);
    assert_eq!(scratch.text("trace"), "x\n");
}

#[test]
fn once_steps_of_scripts_and_files_do_not_take_each_other_for_renamed() {
    let scratch = with_manifest();
    scratch.semel("step pay --once -- true").exits(0);
    scratch.pipeline("[step.tell]\nonce = true\nrun = 'true'\n");
    scratch.semel("run").exits(0);
    scratch.semel("step other --once -- true").exits(0);
    // One that was renamed says so.
    scratch.semel("step paid --once --was pay -v -- bash -c false").exits(0).says("skip");
}

#[test]
fn it_does_not_die_of_a_tree_that_is_killed_beside_it() {
    let scratch = with_manifest();
    let gate = Gate::new(scratch.path(), "gate");
    let one = scratch.started(scratch.command(["step", "a", "--", "bash", "-c", &gate.wait()]));
    gate.until_arrived();
    let other = Gate::new(scratch.path(), "other");
    let two = scratch.started(scratch.command(["step", "b", "--", "bash", "-c", &other.wait()]));
    other.until_arrived();
    kill_tree(two.pid());
    gate.open();
    one.end().exits(0);
    scratch.semel("step c -- true").exits(0);
}

#[test]
fn a_monitor_hears_of_a_step_that_is_come_to_and_found_done() {
    let scratch = with_manifest();
    scratch.semel("step backup -- true").exits(0);
    // As if that had been long ago.
    let manifest = scratch.path().join(".semel/manifest.db");
    let store = rusqlite::Connection::open(manifest).unwrap();
    let long_ago = "2020-01-01T00:00:00.000Z";
    store.execute("update receipt set at = ?", [long_ago]).unwrap();
    store.execute("update run set began = ?1, ended = ?1", [long_ago]).unwrap();
    drop(store);
    scratch.semel("status -q --max-age 26h").exits(1).says("steps: a step was come to");
    scratch.semel("status backup -q --max-age 26h").exits(1);
    scratch.semel("step backup -- true").exits(0);
    scratch.semel("status -q --max-age 26h").exits(0);
    scratch.semel("status backup -q --max-age 26h").exits(0);
}
