//! What somebody found who tried to break it: signals that nobody hears, keepers that
//! are stopped or killed, words said in the wrong moment.

use std::process::Stdio;

use rustix::process::Signal;
use semel_testkit::{Gate, eventually, keepers_of};

use crate::{ran, scratch, trace};

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The one who reads what semel says has stopped reading.
#[test]
fn a_reader_that_is_stuck_keeps_no_signal_away() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch
        .pipeline(&format!("[step.a]\nrun = '''seq 50000; {}; echo late >> trace'''", gate.wait()));
    let mut command = scratch.command(["run", "-v"]);
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    gate.until_arrived();
    signal(running.id(), Signal::TERM);
    let mut ended = None;
    eventually("it ended", || {
        ended = running.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(143));
    assert_eq!(trace(&scratch), ran(&[]));
}

/// A human says `redo` while it is done.
#[test]
fn redo_of_what_is_at_work_is_done_by_the_next_run() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = '''echo pay >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel_words(["redo", "pay", "--because", "it hangs"]).exits(0);
    scratch.file("open", "");
    gate.open();
    running.end().exits(0);
    scratch.semel("run").exits(0).keeps_silent_of("damaged");
    assert_eq!(trace(&scratch), ran(&[("pay", 2)]));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[]));
}

#[test]
fn status_tells_what_is_done_while_others_are_at_work_and_after_they_were_killed() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = 'true'\n[step.load]\nneeds = ['pay']\nrun = '''{}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch
        .semel("status")
        .exits(4)
        .says("pay       done")
        .says("load      at work")
        .keeps_silent_of("interrupted");
    running.kill();
    scratch.semel("status").exits(1).says("pay       done");
}

/// Ended in the middle, it is not "not begun".
#[test]
fn status_names_what_a_signal_cut_short() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.pay]\nonce = true\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(Signal::TERM);
    running.end().exits(143);
    scratch.semel("status").exits(3).says("refused").says("cut short in run 1");
}

#[test]
fn all_keepers_killed_at_once_leave_no_command() {
    let scratch = scratch();
    scratch.file("list", "1\n2\n").pipeline(
        "[step.a]\neach = { lines = 'list' }\nrun = 'echo $$ > {{ item }}.new; mv {{ item }}.new {{ item }}.pid; exec sleep 600'",
    );
    let running = scratch.start("run -j 2");
    let pids = ["1.pid", "2.pid"];
    eventually("both are at work", || pids.iter().all(|file| scratch.has(file)));
    let keepers: Vec<_> = keepers_of(running.pid()).iter().map(u32::to_string).collect();
    scratch.sh(&format!("kill -9 {}", keepers.join(" ")));
    running.end().exits(137);
    for file in pids {
        let process = format!("/proc/{}/stat", scratch.text(file).trim());
        eventually("it is gone", || {
            let stat = std::fs::read_to_string(&process).unwrap_or_default();
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
        });
    }
}

#[test]
fn a_keeper_that_was_stopped_is_woken_up() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.a]\nrun = '''{}; echo a >> trace'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    signal(keepers_of(running.pid())[0], Signal::STOP);
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("a", 1)]));
}

/// What is said to end it does.
#[test]
fn who_does_not_listen_is_ended_by_what_is_said_to_end_them() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = '''trap '' TERM; echo a >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill_without_commands();
    scratch.file("open", "");
    let told = scratch.semel("run").exits(4).says("kill -9 ");
    let kill = told.stderr.lines().find_map(|line| line.trim().strip_prefix("kill -9 "));
    let pid = kill.unwrap().split_whitespace().next().unwrap();
    scratch.sh(&format!("kill -9 {pid}"));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("a", 2)]));
}

/// Two days at once share a step: the second waits for it.
#[test]
fn who_waits_waits_for_a_step_that_instances_share() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['day']\n[params]\nday = 'd1'\n[step.shared]\nper = []\nonce = true\nrun = '''echo shared >> trace; {}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    let told = scratch.path().join("told");
    let mut command = scratch.command(["run", "-p", "day=d2", "--wait", "10m"]);
    let mut waiting = command.stderr(std::fs::File::create(&told).unwrap()).spawn().unwrap();
    eventually("it waits", || {
        std::fs::read_to_string(&told).unwrap().contains("shared waits for etl@")
    });
    gate.open();
    running.end().exits(0);
    assert_eq!(waiting.wait().unwrap().code(), Some(0));
    assert_eq!(trace(&scratch), ran(&[("shared", 1)]));
}
