//! Runs: what is blocked, what is asked, and how it ends. F19, F23, F26 to F38.

use rustix::process::Signal;
use semel_testkit::{Gate, Scratch};

use crate::{days, ran, scratch, trace};

#[test]
fn f19_an_older_output_is_not_used_in_place_of_one_that_failed() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.sh(
        "sed -i 's/^run  = .tail/run  = '\\''if grep -q 999 {{ item }}; then exit 1; fi; tail/' semel.toml",
    );
    days.semel_words(["done", "clean", "--because", "only guarded"]).exits(0);
    days.semel("run").exits(0);
    days.file("raw/3.csv", "day,flights\n3,999\n");
    days.semel("run").exits(1).says("blocked").says("`clean/3.csv` is still the last good one");
    assert_eq!(trace(&days), ran(&[]), "neither sum:clean/3.csv nor the report");
}

#[test]
fn f19_a_folder_that_is_not_mounted_makes_no_empty_report_and_tells_nobody() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.sh("mv raw unmounted; mkdir raw");
    let before = days.snapshot();
    days.semel("run").exits(1).says("has no items");
    assert_eq!((days.snapshot(), trace(&days)), (before, ran(&[])));
    days.sh("rmdir raw; mv unmounted raw").semel("run --expect-noop").exits(0);
}

#[test]
fn f19_a_report_over_49_of_50_is_not_made() {
    let scratch = scratch();
    for day in 1..=50 {
        scratch.file(format!("raw/{day}"), if day == 17 { "bad\n" } else { "good\n" });
    }
    scratch.pipeline(
        "[step.clean]\neach = 'raw/*'\nout = 'clean/{{ item.name }}'\nrun = 'grep good {{ item }} > {{ out }}'\n[step.report]\nin = { outputs-of = 'clean' }\nout = 'report'\nrun = 'cat {{ in }} > {{ out }}'\n[step.count]\nneeds = ['clean']\nrun = 'ls clean | wc -l >> counted'",
    );
    scratch.semel("run").exits(1).says("1 failed, 2 blocked");
    assert!(!scratch.has("report") && !scratch.has("counted"));
    assert_eq!(scratch.list("clean").len(), 49);
    scratch.file("raw/17", "good\n").semel("run").exits(0);
    assert_eq!(scratch.text("report").lines().count(), 50);
    assert_eq!(scratch.text("counted").trim(), "50");
}

#[test]
fn f19_a_removed_file_is_no_longer_in_the_report() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.remove("raw/3.csv").semel("run").exits(0);
    assert_eq!(trace(&days), ran(&[("report", 1)]));
    assert_eq!(days.text("report.txt"), "100\n200\n400\n500\n");
    assert!(days.has("clean/3.csv"), "what was made of it is not deleted");
    days.semel("run --expect-noop").exits(0);
}

/// Half of the hosts are missing from a list, whoever wrote it.
#[test]
fn f19_a_list_that_lost_most_of_its_lines_is_an_error() {
    for made in [false, true] {
        let scratch = scratch();
        let visit = "[step.visit]\neach = { lines = 'hosts' }\nonce = true\nrun = 'echo visit >> trace; : {{ item }}'";
        if made {
            scratch.pipeline(&format!(
                "[step.list]\nin = 'source'\nout = 'hosts'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}'\n{visit}"
            ));
        } else {
            scratch.pipeline(visit);
        }
        let list = if made { "source" } else { "hosts" };
        scratch.file(list, "1\n2\n3\n4\n5\n6\n7\n8\n").semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("visit", 8)]));
        scratch.file(list, "1\n2\n9\n").semel("run").exits(1).says("lost most of its items");
        assert_eq!(trace(&scratch), ran(&[]), "not even the new one");
        scratch.file(list, "1\n2\n3\n4\n9\n").semel("run").exits(0);
        assert_eq!(trace(&scratch), ran(&[("visit", 1)]));
    }
}

/// The same file, once with its whole path and once without.
#[test]
fn f19_a_pattern_that_takes_an_output_with_its_whole_path_is_an_error() {
    let scratch = scratch();
    let folder = scratch.path().canonicalize().unwrap();
    scratch.file("data/1.csv", "1").pipeline(&format!(
        "[step.make]\nout = '{}/data/made.csv'\nrun = 'echo x > {{{{ out }}}}'\n[step.load]\neach = 'data/*.csv'\nsame = 'content'\nrun = 'echo {{{{ item }}}} >> trace'",
        folder.display()
    ));
    scratch.semel("run").exits(2).says("outputs-of");
}

/// Semel alone is killed, as by one who looks for the largest process; what it had
/// started works on.
#[test]
fn f23_a_command_that_outlives_its_run_is_not_run_beside_itself() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = '''(echo $BASHPID > pid; [ -e open ] || {{ {}; }}) | cat; echo a >> trace'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    let pid = scratch.text("pid");
    running.signal(Signal::KILL);
    running.end();
    scratch.file("open", "");
    let told = scratch.semel("run");
    let still_there = std::path::Path::new("/proc").join(pid.trim()).exists();
    let begun_again = trace(&scratch);
    scratch.sh(&format!("kill {} 2> /dev/null || true", pid.trim()));
    assert!(!still_there || (told.status == 4 && begun_again.is_empty()), "{told:?}");
}

#[test]
fn f26_a_run_with_nothing_to_do_is_noted() {
    let days = days();
    days.semel("run").exits(0);
    days.semel("run").exits(0);
    assert_eq!(days.query("select number, status from run"), ["1 0", "2 0"]);
    assert_eq!(days.query("select sum(skipped), sum(ran) from run_step where run = 2"), ["12 0"]);
}

#[test]
fn f26_plan_asks_checks_and_does_nothing_else() {
    let scratch = scratch();
    scratch.file("raw/1", "1").pipeline(
        "[step.schema]\nrun = 'echo schema >> trace'\ncheck = 'echo asked >> asked; test -e schema'\n[step.a]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo a >> trace'",
    );
    scratch.semel("plan").exits(0).says("2 of 2 tasks would run");
    assert_eq!((&*scratch.text("asked"), trace(&scratch)), ("asked\n", ran(&[])));
    assert!(!scratch.has(".semel") && !scratch.has("out"));
}

/// A monitor asks for the last good run of a pipeline that had nothing to do.
#[test]
fn f26_a_healthy_pipeline_without_work_is_not_too_old() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'true'").semel("run").exits(0);
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch("update run set ended = '2013-01-01T00:00:00.000Z', began = ended").unwrap();
    drop(db);
    scratch.semel("status -q --max-age 26h").exits(1);
    scratch.semel("run").exits(0).says("nothing to do");
    scratch.semel("status -q --max-age 26h").exits(0);
}

/// All but `.semel/` may only be read, and there is nothing to do.
#[test]
fn f26_a_run_with_nothing_to_do_needs_to_write_nowhere_else() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("chmod -R a+rX .; chmod -R a+rwX .semel; chmod a-w . raw clean sum raw/* clean/* sum/* *.txt");
    let before = days.snapshot();
    days.ran(days.command_of_nobody(["run", "--expect-noop"])).exits(0);
    assert_eq!(days.snapshot(), before);
    days.sh("chmod -R u+w .");
}

/// The clock was wrong while it ran, and was set right since.
#[test]
fn f26_a_last_good_run_in_the_future_does_not_keep_a_monitor_quiet() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'true'").semel("run").exits(0);
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch("update run set ended = '2099-01-01T00:00:00.000Z', began = ended").unwrap();
    drop(db);
    scratch.semel("status -q --max-age 26h").exits(1);
    scratch.semel("status").keeps_silent_of("days ago");
    scratch.semel("run").exits(0);
    scratch.semel("status -q --max-age 26h").exits(0);
}

#[test]
fn f29_a_new_memory_says_so_and_names_what_is_done_once() {
    let days = days();
    days.semel("run")
        .exits(0)
        .says("new memory")
        .says("once steps that will be done as if never before: tell");
    days.semel("run").exits(0).keeps_silent_of("new memory");
}

/// Somebody clones the repository: no `.semel` is in it.
#[test]
fn f29_a_fresh_clone_says_what_is_missing_and_run_makes_it() {
    let days = days();
    for (verb, status) in [("log", 5), ("history", 5), ("status", 1), ("plan", 0)] {
        days.semel(verb).exits(status);
        assert!(!days.has(".semel"), "{verb}");
    }
    days.semel("log").says("semel run");
    days.sh("mkdir -p deep/er");
    let mut command = days.command(["run"]);
    assert!(command.current_dir(days.path().join("deep/er")).output().unwrap().status.success());
    assert!(days.has(".semel/manifest.db") && !days.has("deep/er/.semel"));
    let text = days.text("semel.toml");
    days.semel("init").exits(0);
    assert_eq!(days.text("semel.toml"), text);
    days.semel("run --expect-noop").exits(0);
}

/// Steps that end in each way, and what a run of some of them exits with.
#[test]
fn f30_the_exit_status_is_the_first_that_applies() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    // The step `busy` is shared by instances; another run is at work on it.
    scratch.pipeline(&format!(
        "per = ['n']\n[params]\nn = '1'\n[step.well]\nrun = 'true'\n[step.fails]\nrun = 'exit 9'\n[step.refused]\nonce = true\nrun = 'exit 9'\n[step.broken]\ncheck = 'exit 2'\nrun = 'true'\n[step.busy]\nper = []\nrun = '''{}'''\n[step.blocked]\nafter = ['fails']\nrun = 'true'\n[step.stopped]\nafter = ['busy']\nrun = 'true'",
        gate.wait()
    ));
    let run = |steps: &str| scratch.semel(&format!("run -p n=2 {steps}")).status;
    assert_eq!(run("refused"), 1);
    let running = scratch.start("run busy");
    gate.until_arrived();
    assert_eq!(run("well"), 0);
    assert_eq!(run("well busy"), 4);
    assert_eq!(run("well stopped"), 4, "blocked counts as its cause");
    assert_eq!(run("busy fails"), 1);
    assert_eq!(run("busy blocked"), 1);
    assert_eq!(run("busy fails refused"), 3);
    assert_eq!(run("busy fails refused broken well"), 5);
    assert_eq!(run("fails broken"), 5);
    assert_eq!(run("nonsense"), 2);
    let plan = |steps: &str| scratch.semel(&format!("plan -p n=2 {steps}")).status;
    assert_eq!(plan("busy fails refused well"), 0);
    assert_eq!(plan("fails refused broken"), 5);
    assert_eq!(plan("nonsense"), 2);
    gate.open();
    running.end().exits(0);
}

#[test]
fn f30_status_exits_with_what_it_tells() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let pipeline = |run: &str, once: bool| {
        scratch.pipeline(&format!("[step.a]\nonce = {once}\nrun = '''{run}'''"));
    };
    pipeline("true", false);
    assert_eq!(scratch.semel("status").status, 1, "never run");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.semel("status").status, 0);
    pipeline("exit 9", false);
    scratch.semel("run").exits(1);
    assert_eq!(scratch.semel("status").status, 1, "failed");
    pipeline(&gate.wait(), false);
    let running = scratch.start("run");
    gate.until_arrived();
    assert_eq!(scratch.semel("status").status, 4, "running");
    running.kill();
    assert_eq!(scratch.semel("status").status, 1, "interrupted");
    pipeline("true", true);
    scratch.semel("run").exits(3);
    assert_eq!(scratch.semel("status").status, 3, "refused");
}

/// How often a check was asked since this was last looked at.
fn asked(scratch: &Scratch) -> usize {
    let times = scratch.text("asked").lines().count();
    scratch.file("asked", "");
    times
}

#[test]
fn f33_a_check_is_asked_only_where_its_answer_can_change_the_verdict() {
    let scratch = scratch();
    let step = |run: &str| {
        format!(
            "[step.a]\nin = 'in'\nout = 'out'\nrun = 'cp {{{{ in }}}} {{{{ out }}}}; {run}'\ncheck = 'echo x >> asked; test -e out'"
        )
    };
    scratch.file("asked", "").file("in", "1").pipeline(&step("true"));
    scratch.semel("run").exits(0);
    assert_eq!(asked(&scratch), 1, "the output was not there: only after the command");
    scratch.semel("run").exits(0);
    assert_eq!(asked(&scratch), 1, "its no would repair");
    scratch.pipeline(&step("exit 1")).semel("run").exits(1);
    assert_eq!(asked(&scratch), 0, "the command changed, and then failed");
    scratch.semel("run").exits(1);
    assert_eq!(asked(&scratch), 0, "what failed is tried again, whatever the check says");
    scratch.pipeline(&step("true")).file("in", "2").semel("run").exits(0);
    assert_eq!(asked(&scratch), 1);
    scratch.remove("out").semel("run").exits(0);
    assert_eq!(asked(&scratch), 1, "the output is gone: only after the command");
    scratch.semel("run --fresh").exits(0);
    assert_eq!(asked(&scratch), 1, "only after the command");
}

#[test]
fn f33_a_check_that_crashes_is_no_no() {
    for once in [false, true] {
        for crash in
            ["kill -9 $$", "exit 2", "exit 127", "./not-there", "./not-executable", "exit 255"]
        {
            let scratch = scratch();
            let step = |check: &str| {
                format!(
                    "[step.a]\nonce = {once}\nrun = 'echo a >> trace'\ncheck = {{ run = '{check}', equals = 'yes' }}\n[step.b]\nneeds = ['a']\nrun = 'echo b >> trace'"
                )
            };
            scratch.file("not-executable", "");
            scratch.pipeline(&step(crash)).semel("run").exits(5).says("its check cannot tell");
            assert_eq!(trace(&scratch), ran(&[]), "{crash}");
            scratch.pipeline(&step(
                "grep -c a trace > t || true; [ $(cat t) = 1 ] && echo yes || echo no",
            ));
            scratch.semel("run").exits(0);
            trace(&scratch);
            scratch.pipeline(&step(crash)).semel("run").exits(5);
            assert_eq!(trace(&scratch), ran(&[]), "{crash}");
        }
    }
}

/// A task fails with that word, and its neighbours go on.
#[test]
fn f33_a_flaky_check_of_one_item_does_not_stop_the_others() {
    let scratch = scratch();
    scratch.file("list", "a\nb\nc\n").pipeline(
        "[step.visit]\neach = { lines = 'list' }\nrun = 'echo visit >> trace; touch seen-{{ item }}'\ncheck = '[ {{ item }} != b ] || exit 3; test -e seen-{{ item }}'",
    );
    scratch.semel("run").exits(5).says("visit:b  its check cannot tell: exit status 3");
    assert_eq!(trace(&scratch), ran(&[("visit", 2)]));
}

#[test]
fn f33_a_second_ctrl_c_ends_a_check_that_hangs() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.a]\nrun = 'true'\ncheck = '''{}'''", gate.wait()));
    let mut running = scratch.start("run");
    gate.until_arrived();
    while !running.has_ended() {
        running.signal(Signal::INT);
    }
    running.end().exits(130);
    assert_eq!(scratch.query("select count(*) from receipt"), ["0"]);
}

#[test]
fn f33_ctrl_c_ends_a_check_that_hangs() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.a]\nrun = 'true'\ncheck = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(Signal::INT);
    running.end().exits(130).keeps_silent_of("no answer within");
}

#[test]
fn f36_run_of_a_step_brings_what_it_needs_and_nothing_more() {
    let days = days();
    days.semel("run sum").exits(0);
    assert_eq!(trace(&days), ran(&[("clean", 5), ("sum", 5)]));
    assert!(!days.has("report.txt"));
    days.semel("run").exits(0);
    assert_eq!(trace(&days), ran(&[("report", 1), ("tell", 1)]));
}

#[test]
fn f36_fresh_does_everything_again_but_what_is_done_once() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'echo a >> trace'\n[step.pay]\nonce = true\nafter = ['a']\nrun = 'echo pay >> trace'");
    scratch.semel("run").exits(0);
    scratch.semel("run --fresh").exits(0);
    assert_eq!(trace(&scratch), ran(&[("a", 2), ("pay", 1)]));
}

/// A pipe whose reader has enough: what it means, and both ways out of it.
#[test]
fn f37_zcat_and_head_are_explained_with_both_ways_out() {
    let scratch = scratch();
    let step =
        "[step.first]\nin = 'x.gz'\nout = 'first'\nrun = 'zcat {{ in }} | head -1 > {{ out }}'";
    scratch.sh("seq 200000 | gzip -1 > x.gz").pipeline(step);
    scratch
        .semel("run")
        .exits(1)
        .says("exit status 141")
        .says("a pipe's reader left early, as `head` does")
        .says("|| [ $? = 141 ]")
        .says("shell = \"bash -eu -c\"");
    assert!(!scratch.has("first"));
    scratch.pipeline(&format!("shell = 'bash -eu -c'\n{step}")).semel("run").exits(0);
    assert_eq!(scratch.text("first"), "1\n");
    scratch
        .pipeline(&step.replace("> {{ out }}", "> {{ out }} || [ $? = 141 ]"))
        .semel("run")
        .exits(0);
    assert_eq!(scratch.text("first"), "1\n");
}

#[test]
fn f38_braces_of_other_tools_are_left_alone() {
    let scratch = scratch();
    scratch.pipeline(
        r#"[step.a]
out = "out"
run = "echo '{{.State}} {{{{ user }}' ${HOME:+x} {a,b} > {{ out }}"
"#,
    );
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out"), "{{.State}} {{ user }} x a b\n");
}
