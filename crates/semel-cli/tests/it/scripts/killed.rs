//! Scripts that are killed, or come twice at once.

use rustix::process::Signal;
use semel_testkit::{Gate, Running, Scratch, kill_tree};

use super::{keepers, put, run, until_kept, with};

fn start(scratch: &Scratch) -> Running {
    scratch.started(scratch.script("bash", "nightly.sh"))
}

/// Three steps; the one of this name waits at a gate when it was begun, and when it is
/// about to end.
fn three(scratch: &Scratch, gate: &Gate) {
    put(
        scratch,
        &format!(
            "step one --out 1 -- bash -c 'echo 1 > \"$1\"; echo one >> trace' _ '{{{{ out }}}}'
step two --in 1 --out 2 -- bash -c 'echo half > \"$1\"; if [ -e stop ]; then {}; fi; echo whole > \"$1\"; echo two >> trace' _ '{{{{ out }}}}'
step three --once -- bash -c 'echo three >> outbox'
",
            gate.wait().replace('\'', "")
        ),
    );
}

/// The script, which has come to its second step and waits at the gate in it.
fn stopped_in_two() -> (Scratch, Gate, Running) {
    let scratch = with("");
    let gate = Gate::new(scratch.path(), "gate");
    three(&scratch, &gate);
    scratch.file("stop", "");
    let running = start(&scratch);
    gate.until_arrived();
    (scratch, gate, running)
}

#[test]
fn killed_in_the_middle_of_a_step_it_goes_on_there() {
    let (scratch, _gate, running) = stopped_in_two();
    scratch.semel("status").exits(4).says("two       at work");
    running.kill();
    until_kept(&scratch);
    assert!(!scratch.has("2"), "half a file is nowhere");
    scratch.semel("status").exits(1).says("was killed").says("two       interrupted");
    scratch.semel("status -q").exits(1).says("nightly: run 1 was killed");
    scratch.remove("stop");
    run(&scratch).exits(0).says("2 done, 1 done before");
    assert_eq!((scratch.text("2"), scratch.text("trace")), ("whole\n".into(), "one\ntwo\n".into()));
    run(&scratch).exits(0).says("nothing to do");
}

#[test]
fn killed_with_all_that_keeps_it_it_goes_on_there() {
    let (scratch, _gate, running) = stopped_in_two();
    keepers(&scratch).into_iter().for_each(kill_tree);
    running.kill();
    scratch.remove("stop");
    run(&scratch).exits(0).says("2 done, 1 done before");
    assert_eq!((scratch.text("2"), scratch.text("trace")), ("whole\n".into(), "one\ntwo\n".into()));
    let noted =
        scratch.query("select step, untried, note from run_step where run = 1 and untried > 0");
    assert_eq!(noted, ["two 1 cut short"]);
}

#[test]
fn run_again_at_once_it_waits_for_what_is_ending() {
    let (scratch, _gate, running) = stopped_in_two();
    scratch.remove("stop");
    running.signal(Signal::KILL);
    // Its step is still at work, and is being ended.
    run(&scratch).exits(0).says("2 done, 1 done before");
    assert_eq!(scratch.text("2"), "whole\n");
}

#[test]
fn i6_what_is_done_once_and_was_cut_short_refuses_until_it_is_settled() {
    let scratch = with("");
    let gate = Gate::new(scratch.path(), "gate");
    let pay = format!(
        "step pay --once -- bash -c 'echo paid >> ledger; {}'\n",
        gate.wait().replace('\'', "")
    );
    put(&scratch, &format!("{pay}step after -- bash -c 'echo after >> trace'\n"));
    let running = start(&scratch);
    gate.until_arrived();
    keepers(&scratch).into_iter().for_each(kill_tree);
    running.kill();
    put(
        &scratch,
        "step pay --once -- bash -c 'echo paid >> ledger'\nstep after -- bash -c 'echo after >> trace'\n",
    );
    run(&scratch)
        .exits(103)
        .says("refused  pay  may have been done already (nightly.sh:4)")
        .says("semel done pay -f nightly --because '...'");
    scratch.semel("status").exits(3).says("refused");
    assert!(!scratch.has("trace"));
    scratch.semel("done pay -f nightly --because seen").exits(0).says("bash ./nightly.sh");
    run(&scratch).exits(0);
    assert_eq!(
        (scratch.text("ledger"), scratch.text("trace")),
        ("paid\n".into(), "after\n".into())
    );
    scratch.semel("redo pay -f nightly.sh --because again").exits(0);
    run(&scratch).exits(0);
    assert_eq!(scratch.text("ledger"), "paid\npaid\n");
}

#[test]
fn a_signal_ends_the_script_and_says_so() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let scratch = with("");
        let gate = Gate::new(scratch.path(), "gate");
        three(&scratch, &gate);
        scratch.file("stop", "");
        let mut command = scratch.script("setsid", "--wait");
        command.args(["bash", "nightly.sh"]);
        let running = scratch.started(command);
        gate.until_arrived();
        let shell =
            scratch.query("select pid from run where number = 1")[0].parse::<i32>().unwrap();
        let group = rustix::process::Pid::from_raw(shell).unwrap();
        rustix::process::kill_process_group(group, signal).unwrap();
        let ran = running.end();
        assert_eq!(ran.status, status, "{ran:?}");
        assert!(ran.stderr.contains("stopped"), "{ran:?}");
        scratch.semel("status").exits(1).says("run 1 stopped");
        scratch.remove("stop");
        run(&scratch).exits(0).says("2 done, 1 done before");
    }
}

#[test]
fn i4_twice_at_once_one_works() {
    let (scratch, gate, first) = stopped_in_two();
    run(&scratch)
        .exits(104)
        .says("busy  nightly is at work already")
        .says("script nightly.sh")
        .says("nothing was started; exit 104");
    scratch.sh("sed -i 's/script nightly/script nightly --wait 1m/' nightly.sh");
    let second = start(&scratch);
    scratch.remove("stop");
    gate.open();
    assert_eq!(first.end().status, 0);
    second.end().exits(0).says("waiting for").says("nothing to do, 3 of 3");
    assert_eq!(
        (scratch.text("trace"), scratch.text("outbox")),
        ("one\ntwo\n".into(), "three\n".into())
    );
}

#[test]
fn a_step_does_nothing_without_its_scripts_run() {
    let scratch = with("");
    let gate = Gate::new(scratch.path(), "gate");
    put(
        &scratch,
        &format!(
            "{}\nstep after -- bash -c 'echo unguarded > trace'\necho not reached\n",
            gate.wait()
        ),
    );
    let running = start(&scratch);
    gate.until_arrived();
    keepers(&scratch).into_iter().for_each(kill_tree);
    until_kept(&scratch);
    gate.open();
    running.end().exits(105).says("is not held any more").keeps_silent_of("not reached");
    assert!(!scratch.has("trace"));
}

#[test]
fn what_a_step_leaves_running_keeps_nobody_out() {
    let scratch = with("step serve -- bash -c 'sleep 600 > /dev/null 2>&1 & echo $! > server'\n");
    run(&scratch).exits(0);
    let server = scratch.text("server");
    scratch.sh(&format!("kill -0 {server}"));
    run(&scratch).exits(0).says("nothing to do");
    scratch.sh(&format!("kill {server}"));
}

#[test]
fn a_failure_is_told_to_whoever_wants_to_know() {
    let hook = "eval \"$(semel script nightly --on-failure 'cat > told' || echo exit 105)\"\n";
    let scratch = with("");
    scratch.file("nightly.sh", format!("set -eu\n{hook}step a -- false\n"));
    run(&scratch).exits(1);
    assert!(scratch.text("told").contains("\"exit\":1"), "{}", scratch.text("told"));
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("nightly.sh", format!("set -eu\n{hook}{}\n", gate.wait()));
    scratch.remove("told");
    let running = start(&scratch);
    gate.until_arrived();
    running.kill();
    until_kept(&scratch);
    assert!(scratch.text("told").contains("\"the script was killed\""), "{}", scratch.text("told"));
    scratch.file("nightly.sh", format!("set -eu\n{hook}step a -- true\n"));
    scratch.remove("told");
    run(&scratch).exits(0);
    assert!(!scratch.has("told"));
}
