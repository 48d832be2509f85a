//! The engine: task by task, in order, as many at a time as asked for, and ended
//! when told to.

use rustix::process::Signal;
use semel_testkit::{Gate, eventually};

use crate::{days, ran, scratch, trace};

#[test]
fn a_chain_goes_on_before_its_step_is_done() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    // The second item of the first step waits for the whole chain of the first.
    scratch.file("in/1", "1").file("in/2", "2").pipeline(&format!(
        "jobs = 2\n[step.a]\neach = 'in/*'\nout = 'a/{{{{ item.name }}}}'\nrun = '''[ {{{{ item.name }}}} = 1 ] || {{ {}; }}; cp {{{{ item }}}} {{{{ out }}}}'''\n[step.b]\neach = {{ outputs-of = 'a' }}\nout = 'b/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    eventually("the first item is through both steps", || scratch.has("b/1"));
    assert!(!scratch.has("a/2"));
    gate.open();
    running.end().exits(0);
    assert!(scratch.has("b/2"));
}

#[test]
fn with_one_job_an_item_that_was_begun_is_finished_before_another() {
    let scratch = scratch();
    for item in 1..=3 {
        scratch.file(format!("in/{item}"), "x");
    }
    scratch.pipeline("jobs = 1\n[step.a]\neach = 'in/*'\nout = 'a/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo a {{ item.name }} >> trace'\n[step.b]\neach = { outputs-of = 'a' }\nout = 'b/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo b {{ item.name }} >> trace'");
    scratch.semel("run -j 1").exits(0);
    let trace = scratch.text("trace");
    let at = |line: &str| trace.lines().position(|known| known == line).unwrap();
    assert!(at("b 1") < at("a 3"), "{trace}");
}

/// Those of the first step that were done before have twins among those that were
/// not: nobody waits for ever for a twin that may not begin.
#[test]
fn with_one_job_twins_in_a_chain_do_not_wait_for_one_another() {
    let scratch = scratch();
    scratch.sh("mkdir in; for i in $(seq 20); do echo x$i > in/m$i; done");
    let first = "[step.a]\neach = 'in/*'\nout = 'a/{{ item.name }}'\nrun = 'tr A-Z a-z < {{ item }} > {{ out }}'\n";
    scratch.pipeline(first).semel("run").exits(0);
    scratch.sh("for i in $(seq 20); do echo X$i > in/a$i; done");
    scratch.pipeline(&format!("{first}[step.b]\neach = {{ outputs-of = 'a' }}\nout = 'b/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}'"));
    scratch.semel("run -j 1").exits(0).says("40 of 40, 20 reused");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_failure_blocks_what_comes_after_and_nothing_else() {
    let days = days();
    days.sh(
        "sed -i 's/^run  = .tail/run  = '\\''if grep -q 3, {{ item }}; then exit 1; fi; tail/' semel.toml",
    );
    days.semel("run")
        .exits(1)
        .says("failed  clean:raw/3.csv")
        .says("of 12 tasks: 1 failed, 3 blocked");
    assert_eq!(trace(&days), ran(&[("clean", 4), ("sum", 4)]));
    assert!(!days.has("report.txt") && !days.has("outbox"));
    assert_eq!(
        days.query("select step, failed, blocked, skipped + ran from run_step order by step"),
        ["clean 1 0 4", "report 0 1 0", "sum 0 1 4", "tell 0 1 0"]
    );
}

#[test]
fn fail_fast_begins_nothing_new() {
    let scratch = scratch();
    for item in 1..=50 {
        scratch.file(format!("in/{item:02}"), "x");
    }
    scratch.pipeline(
        "[step.a]\neach = 'in/*'\nout = 'a/{{ item.name }}'\nrun = 'echo a >> trace; false {{ out }}'",
    );
    scratch.semel("run -j 1 --fail-fast").exits(1).says("not finished");
    assert!(trace(&scratch)[0].1 < 10);
}

#[test]
fn retries_follow_a_failure_and_every_try_is_logged() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.flaky]\nout = 'out'\nretry = { times = 3, wait = '1ms' }\nrun = 'echo try >> trace; echo said $(wc -l < trace); [ $(wc -l < trace) = 3 ]; echo x > {{ out }}'",
    );
    scratch.semel("run").exits(0).says("flaky failed: exit status 1; again in");
    assert_eq!(trace(&scratch), ran(&[("try", 3)]));
    let log = scratch.semel("log flaky").exits(0);
    for said in ["try 1", "said 1", "try 2", "said 2", "try 3", "said 3"] {
        assert!(log.stdout.contains(said), "{said}\n{log:?}");
    }
    scratch.pipeline(
        "[step.flaky]\nretry = { times = 2, wait = '1ms' }\nrun = 'echo try >> trace; exit 9'",
    );
    scratch.semel("run").exits(1).says("failed  flaky  exit status 9, 3 tries");
    assert_eq!(trace(&scratch), ran(&[("try", 3)]));
}

#[test]
fn at_its_limit_a_command_ends_with_its_whole_group() {
    let scratch = scratch();
    scratch
        .sh("mkfifo alive")
        .pipeline("[step.slow]\ntimeout = '200ms'\nrun = 'sleep 600 > alive & wait'");
    // The fifo ends when the last who holds it is gone.
    let fifo = scratch.path().join("alive");
    let reader = std::thread::spawn(move || std::fs::read(fifo).unwrap());
    scratch.semel("run").exits(1).says("failed  slow  timed out after 0.2 s");
    assert!(reader.join().unwrap().is_empty());
}

#[test]
fn no_more_tasks_at_a_time_than_asked_for() {
    let scratch = scratch();
    for item in 1..=12 {
        scratch.file(format!("in/{item:02}"), "x");
    }
    let pipeline = |jobs: &str| {
        format!(
            "[step.a]\neach = 'in/*'\n{jobs}\nout = 'a/{{{{ item.name }}}}'\nrun = 'ls | grep -c ^busy >> most || true; : > busy.$$; sleep 0.02; rm busy.$$; : > {{{{ out }}}}'"
        )
    };
    let most = || {
        scratch.text("most").lines().map(|line| line.trim().parse::<u32>().unwrap()).max().unwrap()
            + 1
    };
    scratch.pipeline(&pipeline("")).semel("run -j 3").exits(0);
    assert!(most() <= 3, "{}", most());
    scratch.sh("rm -r a most").pipeline(&pipeline("jobs = 1")).semel("run -j 3").exits(0);
    assert_eq!(most(), 1);
}

#[test]
fn run_of_a_task_brings_only_its_own_chain() {
    let days = days();
    days.semel("run sum:clean/3.csv").exits(0);
    assert_eq!(trace(&days), ran(&[("clean", 1), ("sum", 1)]));
    assert_eq!(days.list("sum"), ["3.txt"]);
    days.semel_words(["run", "clean:raw/[*", "clean:raw/4*"])
        .exits(2)
        .says("there is no task `clean:raw/[*`");
    days.semel_words(["run", "clean:raw/4*"]).exits(0);
    assert_eq!(days.list("clean"), ["3.csv", "4.csv"]);
    days.semel("run claen").exits(2).says("did you mean `clean`?");
    assert_eq!(days.query("select count(*) from run where selected = 1"), ["2"]);
}

#[test]
fn a_list_that_a_step_makes_is_read_when_it_is_made() {
    let scratch = scratch();
    scratch.file("n", "2").pipeline(
        "[step.list]\nin = 'n'\nout = 'hosts.txt'\nrun = 'seq $(cat {{ in }}) > {{ out }}'\n[step.visit]\neach = { lines = 'hosts.txt' }\nout = 'visited/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}; echo visit >> trace'\n[step.count]\neach = { outputs-of = 'visit' }\nout = 'counted/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("plan").exits(0).says("known after list");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.list("counted"), ["1", "2"]);
    scratch.file("n", "4").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("visit", 4)]), "two more, and the first two not again");
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("n", "0").semel("run").exits(1).says("has no items");
}

#[test]
fn ctrl_c_ends_ordinary_commands_and_lets_once_finish() {
    let scratch = scratch();
    let (slow, pay) = (Gate::new(scratch.path(), "slow"), Gate::new(scratch.path(), "pay"));
    scratch.pipeline(&format!(
        "jobs = 3\n[step.slow]\nout = 'slow'\nrun = '''echo half > {{{{ out }}}}; {}'''\n[step.pay]\nonce = true\nrun = '''{}; echo paid >> ledger'''\n[step.later]\nafter = ['slow']\nrun = 'echo later >> trace'",
        slow.wait(),
        pay.wait()
    ));
    let running = scratch.start("run");
    slow.until_arrived();
    pay.until_arrived();
    running.signal(Signal::INT);
    eventually("the slow one was ended", || {
        scratch.query("select step from attempt where ending = 'interrupted'") == ["slow"]
    });
    pay.open();
    running.end().exits(130).says("signal 2");
    assert_eq!(scratch.text("ledger"), "paid\n");
    assert!(!scratch.has("slow") && trace(&scratch).is_empty());
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    // It goes on where it was: the payment is done.
    scratch.pipeline("[step.slow]\nout = 'slow'\nrun = 'echo whole > {{ out }}'");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("slow"), "whole\n");
}

#[test]
fn a_second_ctrl_c_ends_all_and_once_refuses_next_time() {
    let scratch = scratch();
    let pay = Gate::new(scratch.path(), "pay");
    scratch.pipeline(&format!("[step.pay]\nonce = true\nrun = '''{}'''", pay.wait()));
    let mut running = scratch.start("run");
    pay.until_arrived();
    // Signals that come too fast are one; whoever means it presses again.
    while !running.has_ended() {
        running.signal(Signal::INT);
    }
    running.end().exits(130);
    scratch.semel("run").exits(3);
}

#[test]
fn sigterm_ends_all_at_once() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.slow]\nout = 'o'\nrun = '''{}; : > {{{{ out }}}}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(Signal::TERM);
    running.end().exits(143);
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn a_second_run_is_told_who_is_at_work() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!("[step.slow]\nrun = '''echo ran >> trace; {}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch
        .semel("run")
        .exits(4)
        .says("busy  test is at work already")
        .says(&format!("etl@{}", rustix::system::uname().nodename().to_str().unwrap()))
        .says(&format!("pid {}: semel run", running.pid()))
        .says("nothing was started; exit 4");
    scratch.semel("status").exits(4).says("at work");
    scratch.semel("plan").exits(0);
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("ran", 1)]));
    scratch.semel("run").exits(0);
}

#[test]
fn another_instance_is_not_kept_waiting() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['month']\n[params]\nmonth = '01'\n[step.schema]\nper = []\nout = 'schema'\nrun = ': > {{{{ out }}}}; echo schema >> trace'\n[step.load]\nneeds = ['schema']\nrun = '''[ {{{{ params.month }}}} = 02 ] || {{ {}; }}; echo load >> trace'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("run -p month=02").exits(0);
    assert_eq!(
        trace(&scratch),
        ran(&[("load", 1), ("schema", 1)]),
        "what both share was done once"
    );
    gate.open();
    running.end().exits(0);
}

#[test]
fn what_both_instances_share_is_not_done_by_two() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['month']\n[params]\nmonth = '01'\n[step.schema]\nper = []\nrun = '''{}; echo schema >> trace'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("run -p month=02").exits(4).says("busy  schema  somebody else is at work on it");
    gate.open();
    running.end().exits(0);
    scratch.semel("run -p month=02").exits(0);
    assert_eq!(trace(&scratch), ran(&[("schema", 1)]));
}

#[test]
fn two_files_of_one_name_are_not_taken_for_one_pipeline() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("cp semel.toml copy.toml");
    days.semel("run -f copy.toml").exits(2).says("are both named `test`");
    // Renamed, it is the same pipeline.
    days.sh("rm semel.toml").semel("run -f copy.toml").exits(0).says("nothing to do");
}

#[test]
fn the_file_is_found_upwards_and_commands_run_in_its_folder() {
    let days = days();
    std::fs::create_dir_all(days.path().join("deep/er")).unwrap();
    let mut command = days.command(["run"]);
    assert!(command.current_dir(days.path().join("deep/er")).output().unwrap().status.success());
    assert!(days.has("report.txt") && !days.has("deep/er/.semel"));
    let mut command = days.command(["run", "-f", "../semel.toml", "--expect-noop"]);
    assert!(command.current_dir(days.path().join("raw")).output().unwrap().status.success());
}

#[test]
fn verbose_shows_what_commands_print_as_it_comes() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch
        .pipeline(&format!("[step.talk]\nrun = '''echo early; {}; echo late >&2'''", gate.wait()));
    let mut command = scratch.command(["run", "-v"]);
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    gate.until_arrived();
    assert!(
        lines.by_ref().any(|line| line.unwrap().ends_with("talk | early")),
        "before the command ended"
    );
    gate.open();
    assert!(lines.any(|line| line.unwrap().ends_with("talk | late")));
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_stays_in_the_background_does_not_keep_a_run() {
    let scratch = scratch();
    scratch.pipeline("[step.serve]\nrun = 'setsid sleep 600 & echo $! > pid'");
    scratch.semel("run").exits(0);
    scratch.sh("kill $(cat pid)");
}

#[test]
fn a_long_output_is_kept_whole() {
    let scratch = scratch();
    scratch.pipeline("[step.talk]\nrun = 'seq 200000'");
    scratch.semel("run").exits(0);
    let log = scratch.semel("log talk").exits(0);
    assert_eq!(log.stdout.lines().count(), 200_001);
    assert!(log.stdout.ends_with("\n200000\n"));
}

#[test]
fn events_come_as_one_json_object_a_line() {
    let days = days();
    let ran = days.semel("run --json").exits(0);
    assert_eq!(ran.stderr, "");
    let events: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!(
        (count("run-began"), count("attempt-began"), count("task-settled"), count("run-ended")),
        (1, 12, 12, 1)
    );
    let last = events.last().unwrap();
    assert_eq!((last["exit"].as_i64(), last["steps"][0]["ran"].as_i64()), (Some(0), Some(5)));
    assert!(events.iter().all(|event| event["at"].as_str().is_some_and(|at| at.ends_with('Z'))));
}

/// Those that wait for their turn hear of the end too.
#[test]
fn ctrl_c_ends_a_run_with_more_tasks_than_jobs() {
    for jobs in [1, 2] {
        let scratch = scratch();
        let gate = Gate::new(scratch.path(), "gate");
        scratch.file("list", "1\n2\n3\n4\n5\n6\n7\n8\n9\n").pipeline(&format!(
            "[step.a]\neach = {{ lines = 'list' }}\nrun = '''[ {{{{ item }}}} != 1 ] || {{ {}; }}; sleep 600'''",
            gate.wait()
        ));
        let running = scratch.start(&format!("run -j {jobs}"));
        gate.until_arrived();
        running.signal(Signal::INT);
        running.end().exits(130).says("not finished");
        assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    }
}

#[test]
fn a_task_of_a_list_that_a_step_makes_is_run_alone() {
    let scratch = scratch();
    scratch.file("n", "3").pipeline(
        "[step.list]\nin = 'n'\nout = 'list'\nrun = 'seq $(cat {{ in }}) > {{ out }}'\n[step.visit]\neach = { lines = 'list' }\nout = 'visited/{{ item }}'\nrun = 'echo {{ item }} > {{ out }}; echo visit >> trace'\n[step.pay]\neach = { outputs-of = 'visit' }\nsame = 'name+content'\nonce = true\nrun = 'cat {{ item }} >> ledger'",
    );
    scratch.semel("run pay:visited/2").exits(0);
    assert_eq!((&*scratch.text("ledger"), trace(&scratch)), ("2\n", ran(&[("visit", 1)])));
    scratch.semel("run visit:1").exits(0);
    assert_eq!(trace(&scratch), ran(&[("visit", 1)]));
    scratch.semel("run pay:visited/7").exits(1).says("there is no task `pay:visited/7`");
    assert_eq!(scratch.text("ledger"), "2\n");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("ledger").lines().count(), 3);
}

/// The chain fails for one item before the step behind it may begin, since that
/// comes after another one, too.
#[test]
fn an_item_that_failed_early_blocks_its_own_only() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("raw/1", "1").file("raw/2", "2").file("raw/3", "3").pipeline(&format!(
        "[step.slow]\nrun = '''[ -e open ] || {{ {}; }}'''\n[step.clean]\neach = 'raw/*'\nout = 'clean/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}; [ {{{{ item.name }}}} != 2 ]'\n[step.load]\nafter = ['slow']\neach = {{ outputs-of = 'clean' }}\nout = 'load/{{{{ item.name }}}}'\nrun = 'cp {{{{ item }}}} {{{{ out }}}}'",
        gate.wait()
    ));
    let running = scratch.start("run -j 4");
    gate.until_arrived();
    eventually("two are clean", || scratch.has("clean/1") && scratch.has("clean/3"));
    gate.open();
    running.end().exits(1).says("1 failed, 1 blocked");
    assert_eq!(scratch.list("load"), ["1", "3"]);
}
