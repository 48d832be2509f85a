//! `log`, `history` and `status` of tasks, with and without `*`.

use serde_json::Value;

use semel_testkit::Gate;

use crate::{days, scratch};

#[test]
fn log_of_many_tasks_and_of_a_run_that_never_was() {
    let days = days();
    days.sh("sed -i 's/echo clean >> trace/echo it is {{ item }}/' semel.toml")
        .semel("run")
        .exits(0);
    let said = days.semel_words(["log", "clean:raw/[1-2]*"]).exits(0);
    said.says("no attempt is kept of clean:raw/[1-2]*");
    let said = days.semel_words(["log", "clean:raw/2*"]).exits(0).says("it is raw/2.csv");
    said.keeps_silent_of("it is raw/3.csv");
    let said = days.semel_words(["log", "clean:raw/*"]).exits(0);
    assert_eq!(said.stdout.matches("it is raw/").count(), 5);
    days.semel("log 99").exits(2).says("there is no run 99 of `test`; the last is 1");
    days.semel("log 1").exits(0).says("it is raw/5.csv");
    days.semel("log claen").exits(2).says("there is no step `claen`");
}

#[test]
fn history_of_tasks_is_every_try_at_them() {
    let days = days();
    days.semel("run").exits(0);
    days.sh("sed -i 's/tail -n/false; tail -n/' semel.toml");
    days.semel_words(["run", "clean:raw/1.csv"]).exits(1);
    days.sh("sed -i 's/false; tail -n/tail -n/' semel.toml").semel("run").exits(0);
    insta::assert_snapshot!(
        "history_tasks",
        days.semel_words(["history", "clean:raw/[12].csv", "clean:raw/1*", "report"])
            .exits(0)
            .shown()
    );
    days.semel("history tell").exits(0).says("    1  tell");
    days.semel("history nothing").exits(2).says("there is no step `nothing`");
    let ran = days.semel_words(["history", "-n", "1", "--json", "clean:raw/1*"]).exits(0);
    let json: Value = serde_json::from_str(ran.stdout.trim()).unwrap();
    assert_eq!((&json["task"], &json["run"]), (&"clean:raw/1.csv".into(), &3.into()));
}

#[test]
fn history_tells_of_what_was_adopted_too() {
    let scratch = scratch();
    scratch.file("there", "").pipeline("[step.a]\ncheck = 'test -e there'\nrun = 'false'");
    scratch.semel("run").exits(0);
    scratch.semel("history a").exits(0).says("adopt");
}

#[test]
fn status_of_tasks_one_by_one() {
    let days = days();
    days.semel("run").exits(0);
    days.file("raw/6.csv", "day,flights\n6,600\n").file("raw/2.csv", "day,flights\n2,201\n");
    days.sh("sed -i 's/tail -n/[ {{ item.stem }} != 2 ]; tail -n/' semel.toml");
    days.semel_words(["run", "clean:raw/2.csv"]).exits(1);
    insta::assert_snapshot!(
        "status_tasks",
        days.semel_words(["status", "clean:raw/*", "report"]).exits(1).shown()
    );
    days.semel_words(["status", "clean:raw/3*", "clean:raw/4*"]).exits(0).says("2 of 2 tasks done");
    let quiet = days.semel_words(["status", "-q", "clean:raw/3*"]).exits(0);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
    let quiet = days.semel_words(["status", "-q", "clean"]).exits(1);
    assert_eq!(quiet.stdout, "test: 4 of 6 tasks done; exit 1\n");
    days.semel("status clean:raw/99").exits(2).says("there is no task");
    let ran = days.semel_words(["status", "--json", "clean:raw/2*"]).exits(1);
    let json: Value = serde_json::from_str(ran.stdout.trim()).unwrap();
    assert_eq!((&json["state"], &json["run"]), (&"failed".into(), &1.into()));
}

#[test]
fn status_of_a_task_that_is_too_old_and_of_one_at_work() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline("[step.a]\nrun = 'true'").semel("run").exits(0);
    scratch.semel("status a --max-age 26h").exits(0);
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch("update receipt set at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-31 hours')")
        .unwrap();
    drop(db);
    scratch.semel("status a").exits(0);
    scratch.semel("status a --max-age 26h").exits(1).says("too old");
    // That a step is at work is noted before it begins only where it is done once.
    scratch.pipeline(&format!("[step.b]\nonce = true\nrun = '''{}'''", gate.wait()));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("status b").exits(4).says("at work");
    gate.open();
    running.end().exits(0);
    scratch.semel("status b").exits(0);
}

#[test]
fn what_is_to_be_done_again_is_not_called_done() {
    let scratch = scratch();
    scratch.file("raw/1", "1").file("raw/2", "2").pipeline(
        "[step.a]\nrun = 'echo a >> trace'\n[step.b]\neach = 'raw/*'\nsame = 'name+content'\nrun = 'echo b >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("status").exits(0);
    scratch.semel_words(["redo", "a", "b:raw/2", "--because", "it was wrong"]).exits(0);
    scratch
        .semel("status")
        .exits(1)
        .says("to redo            0 of 1")
        .says("to redo            1 of 2")
        .says("raw/2: `redo` was said")
        .says("semel run ");
    scratch.semel("status -q").exits(1);
    scratch.semel("status a").exits(1).says("to redo").says("0 of 1 task done");
    scratch.semel("status b").exits(1).says("1 of 2 tasks done");
    scratch.semel("run").exits(0);
    scratch.semel("status").exits(0).keeps_silent_of("redo");
    scratch.semel("status a b").exits(0);
    // What was accepted is what it was.
    scratch.semel_words(["done", "a", "--because", "it is right"]).exits(0);
    scratch.semel("status").exits(0);
}

#[test]
fn what_was_said_last_counts() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nrun = 'true'").semel("run").exits(0);
    scratch.semel_words(["redo", "a", "--because", "it was wrong"]).exits(0);
    scratch.semel_words(["done", "a", "--because", "it was right"]).exits(0);
    scratch.semel("status").exits(0);
}
