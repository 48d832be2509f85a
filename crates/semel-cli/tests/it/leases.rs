//! Never two at once: leases, and commands that outlive what started them.

use std::path::Path;
use std::process::{Child, Command};

use rustix::process::Signal;
use semel_testkit::{Gate, Scratch, eventually, keepers_of};

use crate::{ran, scratch, trace};

/// The number that a command wrote down.
fn pid(scratch: &Scratch, file: &str) -> u32 {
    scratch.text(file).trim().parse().unwrap()
}

/// Whether a process works: one that is dead and not yet reaped does not.
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn end(pid: u32) {
    let ended = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(ended.success());
    eventually("it is gone", || !lives(pid));
}

/// A command that waits at the gate with all that it started: a child, a grandchild
/// in a session of its own, and that one's heir, whose parent is gone.
fn family(gate: &Gate) -> String {
    format!(
        "[step.a]\nrun = '''
          echo $$ > first
          (echo $BASHPID > child; exec sleep 600) &
          setsid bash -c 'echo $$ > session; exec sleep 600' &
          (bash -c 'echo $$ > heir; exec setsid sleep 600' > heir.out 2>&1 &)
          until [ -s child ] && [ -s session ] && [ -s heir ]; do sleep 0.01; done
          {}
          echo late >> late'''",
        gate.wait()
    )
}

fn all_of(scratch: &Scratch) -> [u32; 4] {
    ["first", "child", "session", "heir"].map(|file| pid(scratch, file))
}

#[test]
fn f23_what_a_command_started_ends_with_semel() {
    for how in ["semel alone", "its group", "its keeper alone"] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        scratch.pipeline(&family(&gate));
        // A group of its own, as a shell's job has.
        let mut command = Command::new("setsid");
        command.args(["-w", env!("CARGO_BIN_EXE_semel"), "run"]).current_dir(scratch.path());
        let mut running = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        gate.until_arrived();
        let semel = children(running.id()).into_iter().next().unwrap_or(running.id());
        let [keeper] = keepers_of(semel)[..] else { panic!("it has one keeper") };
        let processes = all_of(&scratch);
        assert!(processes.into_iter().all(lives));
        let whom = match how {
            "semel alone" => semel.to_string(),
            "its group" => format!("-{semel}"),
            _ => keeper.to_string(),
        };
        scratch.sh(&format!("kill -9 -- {whom}"));
        running.wait().unwrap();
        eventually("all of it is gone", || {
            !processes.into_iter().chain([semel, keeper]).any(lives)
        });
        assert!(!scratch.has("late"), "{how}");
        // What it was doing is done again.
        scratch.pipeline("[step.a]\nrun = 'echo a >> trace'").semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("a", 1)]));
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    list.unwrap_or_default().split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn f23_what_a_failed_command_started_ends_with_it() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nrun = '''setsid bash -c 'echo $$ > session; exec sleep 600' > /dev/null 2>&1 &
         until [ -s session ]; do sleep 0.01; done; exit 3'''",
    );
    scratch.semel("run").exits(1);
    let session = pid(&scratch, "session");
    eventually("it is gone", || !lives(session));
}

/// A server that a step started belongs to the world.
#[test]
fn f23_a_daemon_that_a_command_left_behind_keeps_nobody_out() {
    for end_of_semel in ["ends", "is killed", "loses its keeper"] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        scratch.pipeline(&format!(
            "[step.start]\nrun = '''setsid bash -c 'echo $$ > daemon; exec sleep 600' > /dev/null 2>&1 &
             until [ -s daemon ]; do sleep 0.01; done; echo start >> trace'''
             [step.next]\nneeds = ['start']\nrun = '''echo next >> trace; [ -e open ] || {{ {}; }}'''",
            gate.wait()
        ));
        if end_of_semel == "ends" {
            scratch.file("open", "").semel("run").exits(0);
        } else {
            let running = scratch.start("run");
            gate.until_arrived();
            if end_of_semel == "is killed" {
                running.signal(Signal::KILL);
            } else {
                scratch.sh(&format!("kill -9 {}", keepers_of(running.pid())[0]));
            }
            running.end().exits(137);
            scratch.file("open", "");
        }
        let daemon = pid(&scratch, "daemon");
        trace(&scratch);
        scratch.semel("run").exits(0);
        let again = if end_of_semel == "ends" { ran(&[]) } else { ran(&[("next", 1)]) };
        assert_eq!(trace(&scratch), again);
        assert!(lives(daemon), "it lives on after semel {end_of_semel}");
        end(daemon);
    }
}

/// A pipeline whose command is at work though semel and its keeper were killed: the
/// number of its first process.
fn orphaned(scratch: &Scratch, text: &str) -> (Gate, u32) {
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&text.replace("WAIT", &gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill_without_commands();
    let pid = pid(scratch, "pid");
    assert!(lives(pid));
    (gate, pid)
}

const ORPHAN: &str = "
[step.other]
run = 'echo other >> trace'
[step.load]
after = ['other']
run = '''echo $$ > pid; [ -e open ] || { WAIT; }; echo load >> trace'''
[step.report]
needs = ['load']
run = 'echo report >> trace'
";

#[test]
fn i10_a_command_that_outlived_its_run_keeps_its_task() {
    let scratch = scratch();
    let (gate, pid) = orphaned(&scratch, ORPHAN);
    scratch.file("open", "");
    trace(&scratch);
    for verb in ["run", "run --fresh", "run load"] {
        scratch
            .semel(verb)
            .exits(4)
            .says("busy  load  its run was killed, its command still works")
            .says(&format!("kill {pid}"))
            .says("semel run --wait 30m");
    }
    scratch.semel("plan").exits(0).says("wait");
    scratch.semel("status").exits(4).says(&format!("load, pid {pid}, which outlived run 1"));
    scratch.semel("why load").exits(0).says("wait");
    // `--fresh` did the one that nobody works on.
    assert!(!trace(&scratch).iter().any(|(step, _)| step != "other"));
    assert!(lives(pid), "nobody ends it but a human");
    gate.open();
    eventually("it ended", || !lives(pid));
    assert_eq!(trace(&scratch), ran(&[("load", 1)]));
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1), ("report", 1)]));
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn i10_what_writes_in_place_is_not_put_back_while_its_command_writes() {
    let scratch = scratch();
    scratch.file("table", "precious\n");
    let text = "[step.add]\nin-place = true\nout = 'table'\nrun = '''echo $$ > pid; echo half >> table; [ -e open ] || { WAIT; }; echo whole >> table'''";
    let (_gate, pid) = orphaned(&scratch, text);
    scratch.file("open", "").semel("run").exits(4);
    assert_eq!(scratch.text("table"), "precious\nhalf\n");
    end(pid);
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("table"), "precious\nhalf\nwhole\n", "put back, then done whole");
}

#[test]
fn i10_what_is_done_once_waits_for_its_orphan_then_refuses() {
    let scratch = scratch();
    let text = "[step.pay]\nonce = true\nrun = '''echo $$ > pid; echo pay >> trace; [ -e open ] || { WAIT; }'''";
    let (_gate, pid) = orphaned(&scratch, text);
    scratch.file("open", "").semel("run").exits(4).says("its command still works");
    end(pid);
    scratch.semel("run").exits(3).says("semel redo pay");
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
}

#[test]
fn who_waits_goes_on_when_the_orphan_ended() {
    let scratch = scratch();
    let (gate, pid) = orphaned(&scratch, ORPHAN);
    scratch.file("open", "");
    let waiting = Waiting::start(&scratch, "waiting for the command of load, which outlived run 1");
    gate.open();
    assert_eq!(waiting.ends(), Some(0));
    assert!(!lives(pid));
    assert_eq!(trace(&scratch), ran(&[("load", 2), ("other", 1), ("report", 1)]));
}

/// A run that waits for others, and said so.
struct Waiting(Child);

impl Waiting {
    fn start(scratch: &Scratch, says: &str) -> Self {
        let told = scratch.path().join("told");
        let mut command = scratch.command(["run", "--wait", "10m"]);
        let child = command.stderr(std::fs::File::create(&told).unwrap()).spawn().unwrap();
        eventually("it waits", || std::fs::read_to_string(&told).unwrap().contains(says));
        Self(child)
    }

    fn ends(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

/// A pipeline that is at work until its gate opens.
fn at_work(scratch: &Scratch) -> (Gate, semel_testkit::Running) {
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.load]\neach = {{ lines = 'list' }}\nrun = '''echo load >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    scratch.file("list", "only\n");
    let running = scratch.start("run");
    gate.until_arrived();
    (gate, running)
}

#[test]
fn who_is_at_work_is_told_and_on_what() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    scratch
        .semel("run")
        .exits(4)
        .says("busy  test is at work already")
        .says(&format!("pid {}: semel run", running.pid()))
        .says("doing  load:only")
        .says("alive now")
        .says("semel run --wait 30m");
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1)]));
}

#[test]
fn who_waits_has_nothing_to_do_afterwards() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    let who = format!("pid {}: semel run; at work since today", running.pid());
    let waiting = Waiting::start(&scratch, &who);
    gate.open();
    running.end().exits(0);
    assert_eq!(waiting.ends(), Some(0));
    assert_eq!(trace(&scratch), ran(&[("load", 1)]));
}

#[test]
fn who_waited_long_enough_is_told_that_it_is_busy() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    scratch.semel("run --wait 60ms").exits(4).says("waiting for").says("is at work already");
    gate.open();
    running.end().exits(0);
}

#[test]
fn a_signal_ends_the_wait() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    for (signal, status) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let waiting = Waiting::start(&scratch, "waiting for");
        let pid = rustix::process::Pid::from_child(&waiting.0);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(waiting.ends(), Some(status));
    }
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1)]));
}

/// On one host a holder is dead or alive, however long it does nothing.
#[test]
fn a_stopped_holder_is_never_taken_over() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    running.signal(Signal::STOP);
    for _ in 0..3 {
        scratch
            .semel("run")
            .exits(4)
            .says("stopped, and not over")
            .says(&format!("kill -CONT {}", running.pid()));
    }
    running.signal(Signal::CONT);
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("load", 1)]));
}

#[test]
fn of_twenty_who_start_at_once_one_works_and_all_effects_come_once() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nrun = 'mkdir alone; echo a >> trace; rmdir alone'
         [step.pay]\nneeds = ['a']\nonce = true\nrun = 'mkdir alone; echo pay >> trace; rmdir alone'",
    );
    for targets in ["run", "run pay"] {
        let all: Vec<_> = (0..20).map(|_| scratch.start(targets)).collect();
        let ended: Vec<_> = all.into_iter().map(semel_testkit::Running::end).collect();
        assert!(ended.iter().any(|ran| ran.status == 0), "{ended:?}");
        for one in ended {
            assert!([0, 4].contains(&one.status), "{one:?}");
        }
        let once = if targets == "run" { ran(&[("a", 1), ("pay", 1)]) } else { ran(&[]) };
        assert_eq!(trace(&scratch), once);
    }
}

#[test]
fn of_twenty_who_wait_each_gets_its_turn_and_all_effects_come_once() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.always]\nmax-age = '0'\nrun = 'mkdir alone; echo always >> trace; rmdir alone'
         [step.pay]\nonce = true\nrun = 'mkdir alone; echo pay >> trace; rmdir alone'",
    );
    let all: Vec<_> = (0..20).map(|_| scratch.start("run -j 1 --wait 10m")).collect();
    for one in all {
        one.end().exits(0);
    }
    assert_eq!(trace(&scratch), ran(&[("always", 20), ("pay", 1)]));
    assert_eq!(scratch.query("select token, ended is null from lease"), ["20 0"]);
}

/// Kernel locks can be defeated; the token cannot.
#[test]
fn i4_whoever_was_taken_over_writes_nothing_more() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.slow]\nrun = '''[ -e open ] || {{ {}; }}; echo slow >> trace'''
         [step.then]\nneeds = ['slow']\nrun = 'echo then >> trace'
         [step.pay]\nneeds = ['slow']\nonce = true\nrun = 'echo pay >> trace'",
        gate.wait()
    ));
    let zombie = scratch.start("run");
    gate.until_arrived();
    // Somebody removes what nobody must remove.
    scratch.remove(".semel/lock/test");
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("pay", 1), ("slow", 1), ("then", 1)]));
    gate.open();
    zombie.end().exits(5).says("its lease was taken over by run 2: nothing more is written");
    // What it was in the middle of came to its end, and nothing was begun after it.
    assert_eq!(trace(&scratch), ran(&[("slow", 1)]));
    assert_eq!(scratch.query("select distinct run from receipt"), ["2"]);
    scratch.semel("run --expect-noop").exits(0);
}

/// What is ended by hand is no daemon's work: nobody waits for a lock that a dead
/// process cannot give back.
#[test]
fn a_lock_file_of_an_earlier_boot_keeps_nobody_out() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'echo a >> trace'").semel("run").exits(0);
    let lock = scratch.text(".semel/lock/test");
    assert!(lock.contains("\"pid\""));
    scratch.sh("mkdir -p .semel/staging/dead/at-work; echo '{}' > .semel/staging/dead/at-work/1; touch .semel/staging/dead/lock");
    scratch.semel("run").exits(0);
    assert!(!Path::new(&scratch.path().join(".semel/staging/dead")).exists());
}

/// What ends a service, or a job of a cluster, ends all its processes at once.
#[test]
fn sigterm_to_all_processes_is_as_to_semel_alone() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.load]\nout = 'loaded'\nrun = '''echo $$ > first; echo half > {{{{ out }}}}; {}'''\n[finally]\nrun = 'echo finally >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    let (semel, first) = (running.pid(), pid(&scratch, "first"));
    let [keeper] = keepers_of(semel)[..] else { panic!("it has one keeper") };
    scratch.sh(&format!("kill -TERM {keeper} {first} {semel}"));
    running.end().exits(143);
    assert_eq!(trace(&scratch), ran(&[("finally", 1)]));
    assert!(!scratch.has("loaded"));
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    eventually("nobody is left", || ![semel, keeper, first].into_iter().any(lives));
}

/// One that does not listen is ended after its grace time, with all that it started,
/// whatever group that is in.
#[test]
fn who_does_not_listen_to_sigterm_ends_after_a_while_with_its_family() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&family(&gate).replace("echo $$ > first", "trap '' TERM; echo $$ > first"));
    let running = scratch.start("run");
    gate.until_arrived();
    let processes = all_of(&scratch);
    running.signal(Signal::TERM);
    running.end().exits(143);
    eventually("all of it is gone", || !processes.into_iter().any(lives));
    assert!(!scratch.has("late"));
}
