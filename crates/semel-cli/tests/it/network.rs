//! Network file systems: one semel at a time works there, behind a file and its
//! heartbeat. (The user's word stands for a mount, which no test can make.)

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use semel_testkit::{Gate, Ran, Running, Scratch, eventually};

use crate::{DAYS, days, ran, scratch, trace};

/// What is typed in a folder on a network file system.
fn command(scratch: &Scratch, words: &str) -> Command {
    let mut command = scratch.command(words.split_whitespace());
    command.env("SEMEL_FILE_SYSTEM", "network");
    command
}

fn semel(scratch: &Scratch, words: &str) -> Ran {
    scratch.ran(command(scratch, words))
}

fn start(scratch: &Scratch, words: &str) -> Running {
    scratch.started(command(scratch, words))
}

fn query(scratch: &Scratch, sql: &str) -> Vec<String> {
    let mut command = command(scratch, "manifest query");
    command.arg(sql);
    let ran = scratch.ran(command).exits(0);
    ran.stdout.lines().skip(1).map(|line| line.replace('\t', " ")).collect()
}

/// The names of files in `.semel` that begin so.
fn names(scratch: &Scratch, folder: &str, begin: &str) -> Vec<String> {
    let names = scratch.list(format!(".semel/{folder}")).into_iter();
    names.filter(|name| name.starts_with(begin)).collect()
}

/// A pipeline that is at work until its gate opens.
fn at_work(scratch: &Scratch) -> (Gate, Running) {
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.first]\nrun = 'echo first >> trace'
         [step.load]\nneeds = ['first']\nout = 'loaded'
         run = '''echo load >> trace; echo new > {{{{ out }}}}; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = start(scratch, "run");
    gate.until_arrived();
    (gate, running)
}

/// A holder on another machine, as its file tells it.
fn far_holder(scratch: &Scratch, number: u64, heartbeat: u64) {
    let text = format!(
        r#"{{"token":{number},"heartbeat":{heartbeat},"ended":false,"boot":"7c2e","pids":"pid:[1]","began":1,"host":"node17","user":"etl","pid":1,"command":"semel run","since":"2026-01-01T00:00:00Z"}}"#
    );
    scratch.file(format!(".semel/lock/:network.{number}"), text + "\n");
}

/// Makes all that this machine has seen of others a minute older.
fn a_minute_later(scratch: &Scratch) {
    let [seen] = &names(scratch, "lock", ":network.seen-")[..] else { panic!("it was seen") };
    let path = format!(".semel/lock/{seen}");
    let mut observed: serde_json::Value = serde_json::from_str(&scratch.text(&path)).unwrap();
    let since = observed["since"].as_u64().unwrap();
    observed["since"] = (since - 60_000_000_000).into();
    scratch.file(path, observed.to_string());
}

/// Whether a SQLite file is one with a write-ahead log (its format, 1.3.3: byte 18).
fn has_log(scratch: &Scratch, name: &str) -> bool {
    let bytes = std::fs::read(scratch.path().join(".semel").join(name)).unwrap();
    bytes[18] == 2
}

#[test]
fn there_is_never_a_log_or_shared_memory() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\neach = { lines = 'list' }\nin = 'input'\nout = 'a/{{ item }}'
         run = 'ls .semel > {{ out }}'
         [step.pay]\nafter = ['a']\nonce = true\nrun = 'ls .semel > paid'",
    );
    scratch.file("list", "1\n2\n3\n").file("input", "in\n");
    semel(&scratch, "run").exits(0).says("new memory: no manifest was here").says(
        ".semel lies on a network file system (SEMEL_FILE_SYSTEM): one semel at a time works here",
    );
    for verb in ["run --expect-noop", "plan", "status", "verify", "history", "manifest export"] {
        semel(&scratch, verb).exits(0);
        let left: Vec<_> =
            scratch.list(".semel").into_iter().filter(|name| name.contains("db-")).collect();
        assert_eq!(left, [""; 0], "{verb}");
    }
    for seen in ["a/1", "a/2", "a/3", "paid"] {
        let during = scratch.text(seen);
        assert!(!during.contains("-wal") && !during.contains("-shm"), "{during}");
    }
    assert!(!has_log(&scratch, "manifest.db") && !has_log(&scratch, "digests.db"));
    assert!(names(&scratch, "", "digests.db").contains(&"digests.db".to_owned()));
    semel(&scratch, "status").says("one semel at a time works here");
}

#[test]
fn a_manifest_goes_from_a_disk_to_a_network_and_back() {
    let scratch = days();
    scratch.semel("run").exits(0).keeps_silent_of("one semel at a time");
    assert!(has_log(&scratch, "manifest.db") && has_log(&scratch, "digests.db"));
    semel(&scratch, "run --expect-noop").exits(0);
    assert!(!has_log(&scratch, "manifest.db"));
    scratch.semel("run --expect-noop").exits(0);
    assert!(has_log(&scratch, "manifest.db"));
    scratch.semel("status").keeps_silent_of("one semel at a time");
}

/// Its log holds what the file does not have yet.
#[test]
fn what_a_killed_run_left_in_its_log_is_not_lost_on_a_network() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = 'echo pay >> trace'
         [step.wait]\nneeds = ['pay']\nrun = '''[ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert!(scratch.has(".semel/manifest.db-wal"));
    semel(&scratch, "status").exits(1).says("pay");
    scratch.file("open", "");
    semel(&scratch, "run").exits(0);
    assert!(!scratch.has(".semel/manifest.db-wal"));
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
}

#[test]
fn the_second_run_is_busy_whatever_it_would_work_on() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    scratch.file("other.toml", "name = \"other\"\n[step.a]\nrun = 'true'\n");
    let who = format!("pid {}: semel run", running.pid());
    for words in [
        "run",
        "run -f other.toml",
        "run --expect-noop",
        "done first --because x",
        "redo first --because x",
        "manifest gc --keep 1d --yes",
        "manifest rebuild",
        "prune --yes",
        "init",
    ] {
        semel(&scratch, words).exits(4).says("is at work already").says(&who);
    }
    scratch.file("export", "");
    let export = semel(&scratch, "manifest export").exits(0).stdout;
    scratch.file("export", export);
    semel(&scratch, "manifest import export").exits(4).says(&who);
    semel(&scratch, "run --wait 60ms").exits(4).says("waiting for").says(&who);
    gate.open();
    running.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("first", 1), ("load", 1)]));
    semel(&scratch, "run -f other.toml").exits(0);
    semel(&scratch, "done first --because x").exits(0);
}

#[test]
fn who_waits_has_its_turn() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    let waiting = start(&scratch, "run --wait 10m");
    gate.open();
    running.end().exits(0);
    waiting.end().exits(0);
    assert_eq!(trace(&scratch), ran(&[("first", 1), ("load", 1)]));
    assert_eq!(query(&scratch, "select token, ended is null from lease"), ["2 0"]);
}

#[test]
fn whoever_only_reads_does_so_while_somebody_works() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    semel(&scratch, "status").exits(4).says(&format!("pid {}: semel run", running.pid()));
    semel(&scratch, "plan").exits(0);
    semel(&scratch, "why first").exits(0);
    semel(&scratch, "history").exits(0);
    semel(&scratch, "log").exits(0);
    eventually("the receipt is there", || query(&scratch, "select step from receipt") == ["first"]);
    gate.open();
    running.end().exits(0);
}

#[test]
fn a_killed_holder_is_taken_over_at_once() {
    let scratch = scratch();
    let (_gate, running) = at_work(&scratch);
    running.kill();
    scratch.file("open", "");
    semel(&scratch, "run").exits(0).says("run 1 was killed");
    assert_eq!(trace(&scratch), ran(&[("first", 1), ("load", 2)]));
    assert_eq!(names(&scratch, "lock", ":network"), [":network.3"]);
}

#[test]
fn a_stopped_holder_is_never_taken_over() {
    let scratch = scratch();
    let (gate, running) = at_work(&scratch);
    running.signal(Signal::STOP);
    for _ in 0..3 {
        semel(&scratch, "run").exits(4).says("stopped, and not over");
        assert_eq!(names(&scratch, "lock", ":network.seen-"), [""; 0], "nobody counts its time");
    }
    running.signal(Signal::CONT);
    gate.open();
    running.end().exits(0);
}

#[test]
fn a_holder_on_another_machine_is_taken_over_once_it_stood_still() {
    let scratch = days();
    semel(&scratch, "run").exits(0);
    far_holder(&scratch, 9, 1);
    semel(&scratch, "run")
        .exits(4)
        .says("etl@node17, pid 1: semel run")
        .says("on another machine")
        .says("taken over once its heartbeat stands still for 60 s");
    // It lives.
    far_holder(&scratch, 9, 2);
    a_minute_later(&scratch);
    semel(&scratch, "run").exits(4);
    a_minute_later(&scratch);
    semel(&scratch, "run --expect-noop").exits(0);
    assert_eq!(names(&scratch, "lock", ":network"), [":network.10"]);
}

/// Whether the payment was made nobody here can know.
#[test]
fn what_is_done_once_is_refused_when_its_holder_expired() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = '''echo pay >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = start(&scratch, "run");
    gate.until_arrived();
    running.kill();
    // It was another machine's.
    far_holder(&scratch, 9, 1);
    semel(&scratch, "run").exits(4);
    a_minute_later(&scratch);
    scratch.file("open", "");
    semel(&scratch, "run").exits(3).says("may have been done already");
    assert_eq!(trace(&scratch), ran(&[("pay", 1)]));
}

#[test]
fn whoever_lost_the_folder_publishes_and_writes_nothing_more() {
    for how in ["taken over", "its lock is gone"] {
        let scratch = scratch();
        let (_gate, running) = at_work(&scratch);
        let held = names(&scratch, "lock", ":network");
        let [held] = &held[..] else { panic!("one holds: {held:?}") };
        if how == "taken over" {
            far_holder(&scratch, 9, 1);
        }
        scratch.remove(format!(".semel/lock/{held}"));
        // Its command ends, since nothing would come of it.
        let ended = running.end().exits(5);
        match how {
            "taken over" => ended.says("taken over by etl@node17, pid 1: semel run"),
            how => ended.says(how),
        };
        assert!(!scratch.has("loaded"));
        assert_eq!(query(&scratch, "select step from receipt"), ["first"], "{how}");
        assert_eq!(query(&scratch, "select ended is null from run"), ["1"], "{how}");
    }
}

/// A transaction was under way: its journal takes back what it had written.
#[test]
fn a_crash_in_the_middle_of_a_transaction_is_taken_back() {
    let scratch = days();
    semel(&scratch, "run").exits(0);
    let receipts = query(&scratch, "select step, item from receipt order by 1, 2");
    let (whole, torn) = (scratch.path().join(".semel/manifest.db"), scratch.path().join("torn"));
    let before = std::fs::read(&whole).unwrap();
    half_a_transaction(&whole, &torn);
    for end in ["", "-journal"] {
        std::fs::copy(format!("{}{end}", torn.display()), format!("{}{end}", whole.display()))
            .unwrap();
    }
    assert!(std::fs::read(&whole).unwrap() != before, "it is half another");
    // Who only reads takes it back in a copy.
    semel(&scratch, "status").exits(0);
    assert_eq!(query(&scratch, "select step, item from receipt order by 1, 2"), receipts);
    assert!(scratch.has(".semel/manifest.db-journal"));
    semel(&scratch, "run --expect-noop").exits(0);
    assert!(!scratch.has(".semel/manifest.db-journal"));
    assert_eq!(query(&scratch, "select step, item from receipt order by 1, 2"), receipts);
}

/// Copies a manifest as it lies on disk while a transaction writes to it.
fn half_a_transaction(manifest: &Path, copy: &Path) {
    let connection = rusqlite::Connection::open(manifest).unwrap();
    // Of a small cache all that does not fit is written before the commit.
    connection
        .execute_batch(
            "pragma cache_size = 2; pragma cache_spill = 1; begin immediate; delete from receipt;
             create table filler (text); with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
             insert into filler select hex(randomblob(200)) from n;",
        )
        .unwrap();
    for end in ["", "-journal"] {
        std::fs::copy(format!("{}{end}", manifest.display()), format!("{}{end}", copy.display()))
            .unwrap();
    }
    connection.execute_batch("rollback").unwrap();
}

#[test]
fn of_twenty_who_start_at_once_one_works_and_all_effects_come_once() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nrun = 'mkdir alone; echo a >> trace; rmdir alone'
         [step.pay]\nneeds = ['a']\nonce = true\nrun = 'mkdir alone; echo pay >> trace; rmdir alone'",
    );
    let all: Vec<_> = (0..20).map(|_| start(&scratch, "run")).collect();
    let ended: Vec<_> = all.into_iter().map(Running::end).collect();
    assert!(ended.iter().any(|ran| ran.status == 0), "{ended:?}");
    for one in ended {
        assert!([0, 4].contains(&one.status), "{one:?}");
    }
    assert_eq!(trace(&scratch), ran(&[("a", 1), ("pay", 1)]));
}

#[test]
fn a_memory_that_cannot_be_made_leaves_nothing() {
    let scratch = scratch();
    scratch.pipeline(DAYS);
    // The place of the manifest is taken by something that is none.
    let mut command = command(&scratch, "run");
    command.stdout(Stdio::null());
    scratch.sh("mkdir raw");
    scratch.ran(command).exits(1);
    assert!(!scratch.has(".semel"));
}

#[test]
fn what_a_user_says_of_file_systems_is_one_of_two_words() {
    let scratch = days();
    let mut command = scratch.command(["run"]);
    command.env("SEMEL_FILE_SYSTEM", "nfs");
    scratch.ran(command).exits(2).says("SEMEL_FILE_SYSTEM is `nfs`: say `network` or `local`");
    assert!(!scratch.has(".semel"));
    let mut command = scratch.command(["run"]);
    command.env("SEMEL_FILE_SYSTEM", "local");
    scratch.ran(command).exits(0).keeps_silent_of("one semel at a time");
    assert_eq!(names(&scratch, "lock", ":network"), [""; 0]);
}
