//! Failures of other tools that were reproduced, as tests that semel passes.
//! `docs/rerun-safety.md` tells what each tool did.

use rustix::process::Signal;
use semel_testkit::{Gate, Scratch};

use crate::{ran, scratch, trace};

/// R1: a command killed in its middle must not count as done, whether or not it
/// had begun to write.
#[test]
fn r1_a_killed_command_is_not_up_to_date() {
    for out in ["", "out = 'out'"] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        let writes = if out.is_empty() { "" } else { "echo partial > {{ out }};" };
        let ends = if out.is_empty() { "" } else { "; echo whole > {{ out }}" };
        scratch.file("source", "1").pipeline(&format!(
            "[step.publish]\nin = 'source'\n{out}\nrun = '''{writes} [ -e open ] || {{ {}; }}{ends}; echo published >> trace'''",
            gate.wait()
        ));
        let running = scratch.start("run");
        gate.until_arrived();
        running.kill();
        assert!(!scratch.has("out"), "nothing partial is to be seen");
        scratch.file("open", "").semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("published", 1)]));
        if !out.is_empty() {
            assert_eq!(scratch.text("out"), "whole\n");
        }
    }
}

/// R2: A, then B, then A again: the output of B must not pass for that of A.
#[test]
fn r2_an_older_input_again_is_not_a_hit_on_the_newer_output() {
    let scratch = scratch();
    scratch.pipeline("[step.copy]\nin = 'in'\nout = 'out.txt'\nrun = 'cp {{ in }} {{ out }}'");
    for content in ["A", "B", "A"] {
        scratch.file("in", content).semel("run").exits(0);
        assert_eq!(scratch.text("out.txt"), content);
    }
}

/// R3: a tampered output is not a hit; nor is a partial one after a repair that
/// was killed.
#[test]
fn r3_neither_a_tampered_nor_a_partial_output_is_a_hit() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.make]\nout = 'out'\nrun = '''echo half > {{{{ out }}}}; [ -e open ] || {{ {}; }}; echo whole >> {{{{ out }}}}'''",
        gate.wait()
    ));
    scratch.file("open", "").semel("run").exits(0);
    scratch.file("out", "tampered").semel("run").exits(0);
    assert_eq!(scratch.text("out"), "half\nwhole\n");
    scratch.remove("out").remove("open");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert!(!scratch.has("out"));
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.text("out"), "half\nwhole\n");
}

/// A payment that was made, and killed before it could say so.
fn killed_after_it_paid() -> Scratch {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = '''echo paid >> ledger; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch
}

/// R4: a side effect whose recipe was killed after it is not repeated in silence.
#[test]
fn r4_a_killed_side_effect_is_not_repeated_without_a_word() {
    let scratch = killed_after_it_paid();
    scratch.file("open", "").semel("run").exits(3);
    assert_eq!(scratch.text("ledger"), "paid\n");
}

/// R5: a recipe that fails after it touched its target fails again next time.
#[test]
fn r5_a_failed_recipe_does_not_turn_green_by_running_again() {
    let scratch = scratch();
    scratch.pipeline("[step.make]\nout = 'target'\nrun = 'echo partial > {{ out }}; exit 2'");
    for _ in 0..2 {
        scratch.semel("run").exits(1);
        assert!(!scratch.has("target"));
    }
}

/// R6: ended by Ctrl-C while nobody reads what it says any more, it leaves nothing
/// partial.
#[test]
fn r6_ctrl_c_leaves_nothing_partial_though_its_reader_is_gone() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.make]\nout = 'target'\nrun = '''echo partial > {{{{ out }}}}; [ -e open ] || {{ {}; }}; echo whole > {{{{ out }}}}'''",
        gate.wait()
    ));
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = scratch.command(["run"]);
    command.stderr(writer.try_clone().unwrap()).stdout(writer);
    let mut child = command.spawn().unwrap();
    drop((command, reader));
    gate.until_arrived();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    assert!(!child.wait().unwrap().success());
    assert!(!scratch.has("target"));
    scratch.semel("run --expect-noop").exits(6);
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.text("target"), "whole\n");
}

/// R7: content decides, not times; and a step without outputs runs once.
#[test]
fn r7_tampering_and_older_times_are_seen_and_no_output_is_no_reason() {
    let scratch = scratch();
    scratch.file("in", "1").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}'\n[step.note]\nneeds = ['copy']\nrun = 'echo noted >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(trace(&scratch), ran(&[("noted", 1)]));
    scratch.file("out", "tampered").semel("run").exits(0);
    assert_eq!(scratch.text("out"), "1");
    scratch.sh("echo 2 > new; touch -d '2001-01-01' new; mv new in").semel("run").exits(0);
    assert_eq!(scratch.text("out"), "2\n");
}

/// R8: what finished before a later step was killed is not done again; a changed
/// action is not up to date.
#[test]
fn r8_finished_steps_survive_a_later_kill_and_changed_actions_run() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let pipeline = |text: &str| {
        format!(
            "[step.a]\nrun = 'echo {text} >> trace'\n[step.b]\nafter = ['a']\nrun = '''[ -e open ] || {{ {}; }}'''",
            gate.wait()
        )
    };
    scratch.pipeline(&pipeline("A"));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("A", 1)]));
    scratch.pipeline(&pipeline("changed")).semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("changed", 1)]));
}

/// R9: items are told apart by what they are, not by their place in the list.
#[test]
fn r9_an_item_inserted_at_the_front_is_the_one_that_runs() {
    let scratch = scratch();
    let pipeline = |command: &str| {
        format!(
            "[step.visit]\neach = {{ lines = 'hosts' }}\nrun = 'echo {command} {{{{ item }}}} >> trace'"
        )
    };
    scratch.file("hosts", "b\nc\n").pipeline(&pipeline("visit")).semel("run").exits(0);
    trace(&scratch);
    scratch.file("hosts", "a\nb\nc\n").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("visit a", 1)]));
    scratch.pipeline(&pipeline("call")).semel("run").exits(0);
    assert_eq!(
        trace(&scratch),
        ran(&[("call a", 1), ("call b", 1), ("call c", 1)]),
        "a changed command is not skipped"
    );
}

/// R10: after an effect that was cut short, nothing says that all is well.
#[test]
fn r10_after_a_killed_effect_nothing_says_that_all_is_well() {
    let scratch = killed_after_it_paid();
    scratch.file("open", "");
    scratch.semel("run --expect-noop").exits(3);
    for _ in 0..2 {
        scratch.semel("run").exits(3);
        scratch.semel("status").exits(3).says("refused");
    }
    assert_eq!(scratch.text("ledger"), "paid\n");
}

/// R11: killed alone, the supervisor takes what it started with it.
#[test]
fn r11_a_command_does_not_outlive_its_supervisor() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.load]\nrun = '''(setsid sh -c 'echo $$ > pid; exec sleep 600' &); until [ -s pid ]; do sleep 0.01; done; {}; echo late >> table'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(Signal::KILL);
    running.end().exits(137);
    // The next run waits for what is being ended, and is alone then.
    scratch.pipeline("[step.load]\nrun = 'echo whole >> table; ! kill -0 $(cat pid)'");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("table"), "whole\n");
}

/// R12: the exit status of a command is told, and kept.
#[test]
fn r12_the_exit_status_of_a_command_is_not_lost() {
    let scratch = scratch();
    scratch
        .file("list", "3\n255\n")
        .pipeline("[step.visit]\neach = { lines = 'list' }\nrun = 'exit {{ item }}'");
    scratch.semel("run").exits(1).says("exit status 3").says("exit status 255");
    let kept = scratch.query("select item, status from attempt order by status");
    assert_eq!(kept, ["3 3", "255 255"]);
}
