//! `semel manifest export`, `import` and `gc`.

use std::io::Write as _;
use std::process::Stdio;

use semel_testkit::{Gate, Scratch};
use serde_json::Value;

use crate::{days, ran, scratch, trace};

/// Writes an export to a file of another folder, and gives its text.
fn export_to(from: &Scratch, to: &Scratch, name: &str) -> String {
    let text = from.semel("manifest export").exits(0).stdout;
    to.file(name, &text);
    text
}

/// The rows of an export, without what it says of itself.
fn rows(export: &str) -> Vec<&str> {
    export.lines().skip(1).collect()
}

/// Changes the manifest behind semel's back.
fn change(scratch: &Scratch, sql: &str) {
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch(sql).unwrap();
}

/// As if all that is in the manifest had been a year earlier.
fn age(scratch: &Scratch) {
    let mut sql = String::new();
    for (table, column) in [
        ("run", "began"),
        ("run", "ended"),
        ("receipt", "at"),
        ("attempt", "began"),
        ("attempt", "ended"),
        ("resolution", "at"),
        ("gone", "since"),
    ] {
        sql += &format!(
            "update {table} set {column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, '-365 days');"
        );
    }
    change(scratch, &sql);
    scratch.sh("find .semel/log .semel/displaced -exec touch -h -d '365 days ago' {} + 2>/dev/null || true");
}

#[test]
fn what_is_exported_and_imported_is_the_same() {
    let days = days();
    days.semel("run").exits(0);
    days.file("raw/2.csv", "day,flights\n2,201\n").semel("run").exits(0);
    days.semel("redo report --because 'to see it again'");
    let other = crate::days();
    let export = export_to(&days, &other, "export.jsonl");
    let header: Value = serde_json::from_str(export.lines().next().unwrap()).unwrap();
    assert_eq!(header["semel-export"], 1);
    assert_eq!(header["manifest"]["id"].as_str().unwrap(), days.query("select id from memory")[0]);
    let said = other.semel("manifest import export.jsonl").exits(0);
    said.says("the manifest was empty: all is as it was").says("2 runs");
    let again = other.semel("manifest export").exits(0).stdout;
    assert_eq!(rows(&again), rows(&export), "runs, numbers and all");
    other.semel("history").exits(0).says("    2  ");
    // Whatever happened after the export is unknown.
    assert_eq!(other.query("select whole_since is not null from memory"), ["1"]);
    assert_ne!(other.query("select id from memory"), days.query("select id from memory"));
}

#[test]
fn a_restored_memory_skips_what_is_done_and_refuses_what_it_cannot_know() {
    let days = days();
    days.semel("run").exits(0);
    let export = days.semel("manifest export").exits(0).stdout;
    trace(&days);
    days.remove(".semel").file("export.jsonl", export);
    days.file(
        "semel.toml",
        format!(
            "{}\n[step.later]\nonce = true\nrun = 'echo later >> outbox'\n",
            days.text("semel.toml")
        ),
    );
    days.semel("manifest import export.jsonl").exits(0);
    days.semel("run").exits(3).says("later");
    assert_eq!(trace(&days), ran(&[]), "nothing that was done is done again");
    assert_eq!(days.text("outbox"), "told\n");
}

#[test]
fn paths_and_items_that_are_not_utf_8_are_kept() {
    let scratch = scratch();
    scratch.sh("mkdir in; printf x > \"$(printf 'in/a\\377b')\"; printf y > 'in/c\nd'").pipeline(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    let other = self::scratch();
    other.sh(&format!("cp -r {}/. . && rm -r .semel", scratch.path().display()));
    let export = export_to(&scratch, &other, "export.jsonl");
    assert!(export.contains(r#"{"bytes":"6f75742f61ff62"}"#), "{export}");
    other.semel("manifest import export.jsonl").exits(0);
    let again = other.semel("manifest export").exits(0).stdout;
    assert_eq!(rows(&again), rows(&export));
    other.semel("run --expect-noop").exits(0);
    other.semel("verify").exits(0).says("2 of 2");
}

#[test]
fn what_is_not_a_whole_export_is_refused_and_nothing_is_imported() {
    let days = days();
    days.semel("run").exits(0);
    let export = days.semel("manifest export").exits(0).stdout;
    let lines: Vec<_> = export.lines().collect();
    let short = lines[..lines.len() - 1].join("\n");
    let one_less = [&lines[..3], &lines[4..]].concat().join("\n");
    let other = crate::days();
    for (text, says) in [
        (String::new(), "it is empty"),
        ("{}".to_owned(), "this is no export of semel's"),
        ("hello".to_owned(), "no JSON"),
        (short, "it was cut short"),
        (one_less, "rows, and there are"),
        (format!("{export}{}\n", lines[1]), "something stands after the end"),
        (export.replace("\"semel-export\":1", "\"semel-export\":9"), "written by a newer semel"),
        (export.replacen("\"schema\":", "\"schema\":9", 1), "written by a newer semel"),
        (export.replacen("{\"run\":", "{\"walk\":", 1), "no table `walk` is known"),
        (
            export.replacen("\"encoding\":1", "\"encoding\":\"x\"", 1),
            "`receipt.encoding` cannot be",
        ),
        (export.replacen("\"encoding\":1", "\"shoe\":1", 1), "no column `receipt.shoe` is known"),
        // The table itself does not take it.
        (export.replacen("\"encoding\":1", "\"encoding\":null", 1), ""),
    ] {
        other.file("export.jsonl", &text);
        let said = other.semel("manifest import export.jsonl").says(says);
        assert!([2, 5].contains(&said.status), "{said:?}");
        assert!(!other.has(".semel"), "{says}: {said:?}");
    }
    other.semel("manifest import nowhere.jsonl").exits(2).says("nowhere.jsonl cannot be read");
    other.semel("init").exits(0);
    other.semel("manifest import export.jsonl").exits(5);
    assert_eq!(other.query("select count(*) from receipt"), ["0"]);
    assert_eq!(other.query("select count(*) from run"), ["0"]);
}

#[test]
fn two_machines_give_one_memory() {
    let (one, two) = (days(), days());
    one.semel_words(["run", "clean:raw/[12].csv"]);
    one.semel_words(["run", "clean:raw/1.csv", "clean:raw/2.csv"]).exits(0);
    two.semel_words(["run", "clean:raw/2.csv", "clean:raw/3.csv"]).exits(0);
    two.semel_words(["run", "clean:raw/4.csv"]).exits(0);
    export_to(&two, &one, "two.jsonl");
    let said = one.semel("manifest import two.jsonl").exits(0);
    said.clone().says("2 receipts, 2 runs").says("1 receipt that were here already");
    said.says("another number here");
    assert_eq!(one.query("select count(*) from receipt"), ["4"]);
    // Each run keeps its own receipts, by whatever number.
    assert_eq!(
        one.query("select r.item, u.command from receipt r join run u on u.number = r.run where item like '%4%'"),
        ["raw/4.csv semel run clean:raw/4.csv"]
    );
    one.sh(&format!("cp {}/clean/*.csv clean/", two.path().display()));
    trace(&one);
    one.semel("run clean").exits(0);
    assert_eq!(trace(&one), ran(&[("clean", 1)]), "only the fifth is left");
    one.semel("manifest import two.jsonl").exits(0).says("nothing was new");
}

#[test]
fn two_receipts_that_say_different_things_are_a_conflict() {
    let (one, two) = (days(), days());
    two.file("raw/2.csv", "day,flights\n2,999\n").file("raw/3.csv", "day,flights\n3,999\n");
    one.semel("run clean").exits(0);
    two.semel("run clean sum").exits(0);
    export_to(&two, &one, "two.jsonl");
    let before = one.query("select * from receipt");
    let said = one.semel("manifest import two.jsonl").exits(3);
    said.clone()
        .says("two.jsonl: 2 tasks with another receipt here")
        .says("clean:raw/2.csv  of test");
    said.says("clean:raw/3.csv").says("nothing was imported; exit 3");
    assert_eq!(one.query("select * from receipt"), before);
    assert_eq!(one.query("select count(*) from run"), ["1"]);
    assert_eq!(one.query("select whole_since from memory"), [""], "memory is as whole as before");
}

#[test]
fn i6_what_may_have_happened_on_the_other_machine_is_not_done_here() {
    let (here, there) = (scratch(), scratch());
    let gate = Gate::new(there.path(), "gate");
    let pipeline = |wait: &str| {
        format!(
            "[step.a]\nrun = 'true'\n[step.pay]\nonce = true\nrun = '''echo paid >> outbox{wait}'''"
        )
    };
    there.pipeline(&pipeline(&format!("; {}", gate.wait())));
    let running = there.start("run");
    gate.until_arrived();
    running.kill();
    here.pipeline(&pipeline("")).semel("run a").exits(0);
    export_to(&there, &here, "there.jsonl");
    here.semel("manifest import there.jsonl").exits(0);
    here.semel("run").exits(3).says("pay");
    assert!(!here.has("outbox"));
}

#[test]
fn words_that_nobody_acted_on_there_are_not_acted_on_here() {
    let (here, there) = (days(), days());
    here.semel("run clean").exits(0);
    there.semel("run").exits(0);
    there.semel("redo tell --because again").exits(0);
    export_to(&there, &here, "there.jsonl");
    here.sh(&format!(
        "cp -r {}/sum {}/report.txt .",
        there.path().display(),
        there.path().display()
    ));
    here.semel("manifest import there.jsonl").exits(0).says("1 word of done or redo");
    here.semel("run").exits(0);
    assert!(!here.has("outbox"), "told there, and not again here");
}

#[test]
fn import_is_busy_while_a_run_is_at_work() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline("[step.a]\nrun = 'true'").semel("run").exits(0);
    let export = scratch.semel("manifest export").exits(0).stdout;
    scratch
        .file("export.jsonl", export)
        .pipeline(&format!("[step.a]\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("manifest import export.jsonl").exits(4).says("at work already");
    scratch.semel("manifest gc --keep 1d --yes").exits(4).says("at work already");
    scratch.semel("manifest gc --keep 1d").exits(0);
    gate.open();
    running.end().exits(0);
}

#[test]
fn it_reads_from_a_pipe() {
    let (here, there) = (days(), days());
    there.semel("run").exits(0);
    let export = there.semel("manifest export").exits(0).stdout;
    let mut command = here.command(["manifest", "import", "-"]);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(export.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(here.query("select count(*) from receipt"), ["12"]);
}

/// Killed in any moment of it, the manifest has all of it or nothing.
#[test]
fn an_import_that_is_killed_is_whole_or_not_at_all() {
    let there = days();
    there.semel("run").exits(0);
    for delay in [0, 200, 1000, 5000, 20000] {
        let here = days();
        export_to(&there, &here, "there.jsonl");
        here.semel("init").exits(0);
        let running = here.start("manifest import there.jsonl");
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_micros(delay) {
            std::hint::spin_loop();
        }
        running.kill();
        let receipts = here.query("select count(*) from receipt");
        assert!(receipts == ["0"] || receipts == ["12"], "{receipts:?}");
        assert_eq!(
            here.query(
                "select (select count(*) from run), (select count(*) from file where role = 'out')"
            ),
            [if receipts == ["12"] { "1 11" } else { "0 0" }]
        );
        here.semel("manifest import there.jsonl").exits(0);
        assert_eq!(here.query("select count(*) from receipt"), ["12"]);
    }
}

#[test]
fn gc_ends_history_and_a_second_run_is_boring() {
    let days = days();
    days.semel("run").exits(0);
    days.file("raw/1.csv", "day,flights\n1,101\n").semel("run").exits(0);
    days.file("raw/2.csv", "day,flights\n2,201\n").semel("run").exits(0);
    days.semel("run").exits(0);
    days.sh("echo oops > report.txt").semel("run").exits(0);
    age(&days);
    for _ in 0..2 {
        days.semel("run").exits(0);
    }
    let receipts = days.query("select * from receipt");
    let before = days.semel("manifest export").exits(0).stdout;
    insta::assert_snapshot!("gc", days.semel("manifest gc --keep 90d").exits(0).shown());
    assert_eq!(
        rows(&days.semel("manifest export").exits(0).stdout),
        rows(&before),
        "it only shows"
    );
    assert!(days.has(".semel/displaced/5/report.txt"));
    insta::assert_snapshot!("gc_yes", days.semel("manifest gc --keep 90d --yes").exits(0).shown());
    assert_eq!(days.query("select * from receipt"), receipts);
    assert_eq!(days.query("select count(*) from attempt"), ["0"]);
    // What receipts name keeps its meaning, and so does the last that was good.
    assert_eq!(days.query("select number from run"), ["1", "2", "3", "5", "6", "7"]);
    assert_eq!(days.query("pragma foreign_key_check"), [""; 0]);
    assert_eq!(days.list(".semel/displaced"), [""; 0]);
    days.semel("run --expect-noop").exits(0);
    days.semel("status").exits(0).says("last good run   8");
    days.semel("verify").exits(0);
    trace(&days);
    days.semel("why clean:raw/1.csv").exits(0).says("skip");
    days.semel("manifest gc --keep 90d --yes").exits(0);
    assert_eq!(days.text("outbox"), "told\n");
}

/// Killed in any moment of it, all that a decision rests on is there.
#[test]
fn a_gc_that_is_killed_harms_nothing() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("echo oops > report.txt").semel("run").exits(0);
    age(&days);
    days.semel("run").exits(0);
    let receipts = days.query("select * from receipt");
    for delay in [0, 500, 2000, 8000, 30000] {
        let running = days.start("manifest gc --keep 1d --yes");
        let began = std::time::Instant::now();
        while began.elapsed() < std::time::Duration::from_micros(delay) {
            std::hint::spin_loop();
        }
        running.kill();
        assert_eq!(days.query("select * from receipt"), receipts);
        assert_eq!(days.query("pragma integrity_check"), ["ok"]);
        days.semel("run --expect-noop").exits(0);
    }
    days.semel("manifest gc --keep 1d --yes").exits(0);
    assert_eq!(days.list(".semel/displaced"), [""; 0]);
    days.semel("run --expect-noop").exits(0);
}

#[test]
fn what_a_run_at_work_moved_aside_is_not_ended() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("other.toml", "name = 'other'\n[step.b]\nrun = 'true'").pipeline(&format!(
        "jobs = 1\n[step.a]\nout = 'a'\nrun = 'echo a > {{{{ out }}}}'\n[step.b]\nneeds = ['a']\nrun = '''{}'''",
        gate.wait()
    ));
    scratch.file("a", "precious");
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("manifest gc --keep 0s --yes -f other.toml").exits(0);
    assert_eq!(scratch.text(".semel/displaced/1/a"), "precious");
    gate.open();
    running.end().exits(0);
    scratch.semel("manifest gc --keep 0s --yes").exits(0).says(".semel/displaced/1  1 file");
    assert!(!scratch.has(".semel/displaced/1"));
}

#[test]
fn a_receipt_is_ended_only_when_its_item_was_gone_for_so_long() {
    let days = days();
    days.semel("run").exits(0);
    days.remove("raw/5.csv").semel("run").exits(0);
    age(&days);
    // Old, and gone since a moment only: nobody knows better.
    let said = days.semel("manifest gc --yes").exits(0);
    said.says("2 receipts of tasks that are gone, not yet seen so for so long");
    assert_eq!(days.query("select count(*) from receipt"), ["12"]);
    // Half a year later it came back, and went again.
    change(&days, "update gone set since = '2020-01-01T00:00:00.000Z'");
    days.file("raw/5.csv", "day,flights\n5,555\n").semel("run").exits(0);
    days.remove("raw/5.csv").semel("run").exits(0);
    days.semel("manifest gc --yes").exits(0).says("2 receipts of tasks that are gone, not yet");
    assert_eq!(days.query("select count(*) from receipt"), ["12"]);
    change(
        &days,
        "update gone set since = '2020-01-01T00:00:00.000Z'; update receipt set at = '2019-01-01T00:00:00.000Z' where item like '%5%'",
    );
    days.semel("manifest gc").exits(0).says("of tasks that are gone for so long");
    assert_eq!(days.query("select count(*) from receipt"), ["12"], "it only shows");
    days.semel("manifest gc --yes").exits(0);
    assert_eq!(days.query("select count(*) from receipt"), ["10"]);
    assert_eq!(days.query("select count(*) from gone"), ["0"]);
    days.semel("run --expect-noop").exits(0);
}

#[test]
fn what_was_done_once_is_known_for_ever() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let pipeline = |wait: &str| {
        format!(
            "[step.pay]\neach = 'in/*'\nonce = true\nsame = 'name+content'\nrun = '''echo {{{{ item }}}} >> outbox{wait}'''\n[step.b]\nrun = 'true'"
        )
    };
    scratch.file("in/1", "1").file("in/2", "2").file("in/3", "3").pipeline(&pipeline(""));
    scratch.semel("run").exits(0);
    scratch.file("in/4", "4").pipeline(&pipeline(&format!("; {}", gate.wait())));
    let running = scratch.start("run pay");
    gate.until_arrived();
    running.kill();
    scratch.semel("run").exits(3);
    scratch.rename("in/3", "3").rename("in/4", "4");
    age(&scratch);
    for _ in 0..2 {
        scratch
            .semel("manifest gc --keep 0s --yes")
            .exits(0)
            .says("2 tasks that are gone and were");
    }
    scratch.pipeline("[step.b]\nrun = 'true'").semel("manifest gc --keep 0s --yes").exits(0);
    scratch.pipeline(&pipeline("")).rename("3", "in/3").rename("4", "in/4");
    scratch.semel("run").exits(3).says("pay:in/4");
    scratch.sh("sort outbox -o outbox");
    assert_eq!(scratch.text("outbox"), "in/1\nin/2\nin/3\nin/4\n", "none was paid twice");
}

#[test]
fn a_list_that_cannot_be_had_ends_no_receipt() {
    let days = days();
    days.semel("run").exits(0);
    days.rename("raw", "unmounted").sh("mkdir raw");
    days.semel("manifest gc --keep 0s --yes")
        .exits(0)
        .says("clean: all of it; step `clean` has no items");
    assert_eq!(days.query("select count(*) from receipt"), ["12"]);
    days.sh("rm -r raw; mv unmounted raw").semel("run --expect-noop").exits(0);
}

#[test]
fn logs_of_attempts_that_are_kept_are_kept() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nrun = 'echo hello from a; false'\n[step.b]\nrun = 'echo hello from b'",
    );
    scratch.semel("run").exits(1);
    age(&scratch);
    scratch.semel("manifest gc --keep 1d --yes").exits(0);
    scratch.semel("log").exits(0).says("hello from a");
    scratch.pipeline("[step.a]\nrun = 'echo hello from a'\n[step.b]\nrun = 'echo hello from b'");
    scratch.semel("run").exits(0);
    age(&scratch);
    scratch.semel("manifest gc --keep 1d --yes").exits(0);
    assert_eq!(scratch.list(".semel/log"), [""; 0]);
    scratch.semel("log 1").says("no attempt is kept of 1");
}

#[test]
fn gc_says_what_it_wants_in_json_and_what_it_does_not_understand() {
    let days = days();
    days.semel("manifest gc").exits(5).says("there is none");
    days.semel("run").exits(0);
    let json: Value =
        serde_json::from_str(&days.semel("manifest gc --json").exits(0).stdout).unwrap();
    assert_eq!((&json["ended"], &json["receipts"]), (&false.into(), &0.into()));
    days.semel("manifest gc --keep soon").exits(2).says("wants a length of time");
}
