//! `in-place` and `cleanup`: what a command leaves half done is undone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Signal;
use semel_testkit::{Gate, Scratch, eventually, kill_tree};

use super::{in_manifest, lines, pipeline};

/// All but what tests write.
fn contents(scratch: &Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = scratch.contents();
    contents.retain(|path, _| {
        let name = path.to_string_lossy();
        !name.starts_with("gate") && name != "trace" && name != "semel.toml" && name != "open"
    });
    contents
}

#[test]
fn a_cleanup_follows_a_failure_at_once_and_nothing_else() {
    let scratch = pipeline(
        "[step.a]\nin = 'in'\ncleanup = 'echo cleanup $SEMEL_TASK >> trace; rm -f half'\nrun = 'echo run >> trace; touch half; test $(cat {{ in }}) = good; mv half whole'",
    );
    scratch.file("in", "bad").semel("run").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup a"]);
    assert!(!scratch.has("half"));
    scratch.file("in", "good").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup a", "run"], "it was cleaned up already");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 3);
}

#[test]
fn a_cleanup_comes_between_two_attempts() {
    let scratch = pipeline(
        "[step.a]\nretry = { times = 2, wait = '1ms' }\ncleanup = 'echo cleanup >> trace'\nrun = 'echo run >> trace; [ $(grep -c run trace) = 3 ]'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup", "run", "cleanup", "run"]);
}

#[test]
fn a_cleanup_knows_the_item() {
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\ncleanup = 'echo undo {{ item }} >> trace'\nrun = 'test {{ item }} = good'",
    );
    scratch.file("l", "good\nb d\n").semel("run").exits(1);
    assert_eq!(lines(&scratch, "trace"), ["undo b d"]);
}

#[test]
fn a_cleanup_that_fails_is_told_and_owed() {
    let scratch = pipeline(
        "[step.a]\ncleanup = 'echo cleanup >> trace; echo \"still locked\" >&2; [ -e open ]'\nrun = 'echo run >> trace; [ -e open ]'",
    );
    scratch.semel("run").exits(1).says("its cleanup failed").says("still locked");
    scratch.semel("run").exits(1).says("its cleanup failed");
    let told = lines(&scratch, "trace");
    assert_eq!(told.iter().filter(|line| *line == "run").count(), 1, "{told:?}");
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").last().unwrap(), "run");
}

#[test]
fn after_a_kill_the_next_run_cleans_up_first() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\ncleanup = 'echo cleanup >> trace'\nrun = '''echo run >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert_eq!(lines(&scratch, "trace"), ["run"]);
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup", "run"]);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn after_a_kill_during_the_cleanup_it_is_done_again() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\ncleanup = '''echo cleanup >> trace; [ -e open ] || {{ {}; }}'''\nrun = 'echo run >> trace; [ -e open ]'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup", "cleanup", "run"]);
}

#[test]
fn an_interrupted_run_cleans_up_before_it_ends() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\ncleanup = 'echo cleanup >> trace'\nrun = '''echo run >> trace; {}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(rustix::process::Signal::INT);
    running.end().exits(130);
    assert_eq!(lines(&scratch, "trace"), ["run", "cleanup"]);
}

#[test]
fn a_cleanup_is_no_part_of_how() {
    let text = "[step.a]\ncleanup = 'true'\nrun = 'echo run >> trace'";
    let scratch = pipeline(text);
    scratch.semel("run").exits(0);
    scratch.pipeline(&text.replace("'true'", "'echo other'")).semel("run --expect-noop").exits(0);
}

const MANY: &str = "[step.a]\nin = 'in'\nin-place = true\nout = ['file', 'folder/', 'new', 'new-folder/']\nrun = 'echo half > file; rm -rf folder/b; echo c > folder/c; echo n > new; mkdir -p new-folder/x; echo y > new-folder/x/y; test $(cat in) = good; echo whole > file; echo run >> trace'";

#[test]
fn f11_after_a_failure_all_is_as_before_byte_for_byte() {
    let scratch = pipeline(MANY);
    scratch
        .file("in", "bad")
        .file("file", "old\n")
        .file("folder/a", "a")
        .file("folder/b/deep", "b");
    scratch.sh("chmod 750 file; ln -s nowhere folder/link");
    let before = contents(&scratch);
    for _ in 0..2 {
        scratch.semel("run").exits(1);
        assert_eq!(contents(&scratch), before);
        assert!(!scratch.has("new") && !scratch.has("new-folder"));
        scratch.sh("test $(stat -c %a file) = 750; test $(readlink folder/link) = nowhere");
        assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    }
    scratch.file("in", "good").semel("run").exits(0);
    assert_eq!((&*scratch.text("file"), &*scratch.text("new-folder/x/y")), ("whole\n", "y\n"));
    assert!(!scratch.has("folder/b"));
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn f11_what_semel_did_not_make_is_kept_when_it_is_overwritten() {
    let scratch = pipeline("[step.a]\nin-place = true\nout = 'file'\nrun = 'echo new > file'");
    scratch.file("file", "precious\n").semel("run").exits(0).says(".semel/displaced");
    assert_eq!(scratch.text(".semel/displaced/1/file"), "precious\n");
    // What it made itself is not.
    scratch.pipeline("[step.a]\nin-place = true\nout = 'file'\nrun = 'echo newer > file'");
    scratch.semel("run").exits(0);
    assert!(!scratch.has(".semel/displaced/2"));
    assert_eq!(scratch.text("file"), "newer\n");
}

#[test]
fn f11_a_command_that_takes_its_output_away_has_failed_and_all_is_back() {
    let scratch =
        pipeline("[step.a]\nin-place = true\nout = ['one', 'two']\nrun = 'rm one; echo 2 > two'");
    scratch.file("one", "1\n").file("two", "b\n").semel("run").exits(1).says("one");
    assert_eq!((&*scratch.text("one"), &*scratch.text("two")), ("1\n", "b\n"));
}

#[test]
fn f11_what_breaks_an_expectation_is_put_back() {
    let scratch = pipeline(
        "[step.a]\nin-place = true\nout = 'file'\nexpect = { rows = '>= 2' }\nrun = 'echo 1 > file'",
    );
    scratch.file("file", "a\nb\n").semel("run").exits(1);
    assert_eq!(scratch.text("file"), "a\nb\n");
}

#[test]
fn f11_what_its_check_does_not_hold_for_is_put_back() {
    let scratch = pipeline(
        "[step.a]\nin-place = true\nout = 'file'\ncheck = 'grep -q good file'\nrun = 'echo bad > file'",
    );
    scratch.file("file", "old\n").semel("run").exits(1);
    assert_eq!(scratch.text("file"), "old\n");
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn f11_what_takes_too_long_is_put_back() {
    let scratch = pipeline(
        "[step.a]\nin-place = true\nout = 'file'\ntimeout = '200ms'\nrun = 'echo half > file; sleep 60'",
    );
    scratch.file("file", "old\n").semel("run").exits(1);
    assert_eq!(scratch.text("file"), "old\n");
}

#[test]
fn f11_interrupted_all_is_as_before() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nin-place = true\nout = 'file'\nrun = '''echo half > file; {}'''",
        gate.wait()
    ));
    scratch.file("file", "old\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.signal(Signal::TERM);
    running.end().exits(143);
    assert_eq!(scratch.text("file"), "old\n");
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

/// Whatever asks semel to end, what was half done is undone first.
#[test]
fn however_a_run_is_ended_its_cleanup_is_run() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let scratch = crate::scratch();
        let gate = Gate::new(scratch.path(), "gate");
        let wait = gate.wait();
        scratch.pipeline(&format!(
            "[step.a]\ncleanup = 'rm half; echo cleanup >> trace'\nrun = '''touch half; {wait}'''"
        ));
        let running = scratch.start("run");
        gate.until_arrived();
        running.signal(signal);
        let ran = running.end().exits(128 + signal.as_raw());
        assert!(!scratch.has("half"), "{ran:?}");
        assert_eq!(lines(&scratch, "trace"), ["cleanup"]);
    }
}

/// Killed while it writes: the next run puts back, then runs.
fn killed_halfway(out: &str, run: &str) -> (Scratch, Gate) {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let run = run.replace("GATE", &format!("[ -e open ] || {{ {}; }}", gate.wait()));
    scratch.pipeline(&format!("[step.a]\nin-place = true\nout = {out}\nrun = '''{run}'''"));
    (scratch, gate)
}

#[test]
fn f11_killed_in_the_middle_the_next_run_begins_from_what_was_there() {
    let (scratch, gate) = killed_halfway(
        "['file', 'folder/', 'new']",
        "echo more >> file; rm folder/a; echo b > folder/b; echo n >> new; GATE; echo end >> file; rm -f folder/a; cp file seen",
    );
    scratch.file("file", "old\n").file("folder/a", "a");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert_eq!(scratch.text("file"), "old\nmore\n");
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.text("file"), "old\nmore\nend\n", "not twice");
    assert_eq!(scratch.text("new"), "n\n");
    assert_eq!(scratch.list("folder"), ["b"]);
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn f11_killed_and_the_step_is_gone_all_is_put_back_all_the_same() {
    let (scratch, gate) = killed_halfway("'file'", "echo half > file; GATE");
    scratch.file("file", "old\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.pipeline("[step.b]\nrun = 'cp file seen'").semel("run").exits(0);
    assert_eq!((&*scratch.text("file"), &*scratch.text("seen")), ("old\n", "old\n"));
}

#[test]
fn f11_what_a_user_put_there_after_the_kill_is_kept() {
    let (scratch, gate) = killed_halfway("'file'", "echo half > file; GATE; echo whole > file");
    scratch.file("file", "old\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("file", "by hand\n").file("open", "");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("file"), "whole\n");
    let kept = super::holding(&scratch.path().join(".semel/displaced"), b"by hand");
    assert_eq!(kept.len(), 1, "{kept:?}");
    let kept = super::holding(&scratch.path().join(".semel/displaced"), b"old");
    assert_eq!(kept.len(), 1, "what was there before the first run is not ours either: {kept:?}");
}

/// `done` accepts what is there, not what was there before.
#[test]
fn f11_what_a_human_accepted_after_the_kill_stays() {
    let (scratch, gate) = killed_halfway("'file'", "echo whole > file; GATE");
    scratch.file("file", "old\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.semel_words(["done", "a", "--because", "it was whole already"]).exits(0);
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.text("file"), "whole\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn what_a_human_accepted_after_the_kill_is_not_cleaned_up() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\ncleanup = 'echo cleanup >> trace; rm -f made'\nrun = '''echo run >> trace; touch made; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.semel_words(["done", "a", "--because", "it was made"]).exits(0);
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["run"]);
    assert!(scratch.has("made"));
}

#[test]
fn f11_reading_verbs_put_nothing_back() {
    let (scratch, gate) = killed_halfway("'file'", "echo half > file; GATE");
    scratch.file("file", "old\n");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    for verb in ["status", "plan", "why a", "history"] {
        scratch.semel(verb);
        assert_eq!(scratch.text("file"), "half\n", "{verb}");
    }
    scratch.file("open", "").semel("run").exits(0);
}

/// A database to which each item appends, and killed after every change that can
/// be seen from outside: no row is lost, none is there twice.
#[test]
fn f11_a_database_to_which_each_run_appends() {
    let append = "import sqlite3, sys, os\ndb = sqlite3.connect('days.db')\ndb.execute('create table if not exists day (n)')\ndb.execute('insert into day values (?)', (open(sys.argv[1]).read(),))\ndb.commit()\ndb.execute('insert into day values (?)', (open(sys.argv[1]).read() + '+',))\nif os.path.exists('bad'): os._exit(9)\ndb.commit()\n";
    let scratch = pipeline(
        "[step.a]\nin = 'day'\nin-place = true\nout = 'days.db'\nrun = 'python3 append.py {{ in }}'",
    );
    scratch.file("append.py", append);
    let rows = |scratch: &Scratch| {
        let db = rusqlite::Connection::open(scratch.path().join("days.db")).unwrap();
        let mut rows = db.prepare("select n from day").unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    scratch.file("day", "1").semel("run").exits(0);
    scratch.file("day", "2").file("bad", "").semel("run").exits(1);
    assert_eq!(rows(&scratch), ["1", "1+"]);
    scratch.remove("bad").semel("run").exits(0);
    assert_eq!(rows(&scratch), ["1", "1+", "2", "2+"]);
    scratch.semel("run --expect-noop").exits(0);
}

/// What a database keeps beside its file is part of its state.
#[test]
fn f11_a_database_that_was_killed_with_a_log_beside_it() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let append = "import sqlite3, subprocess, os\ndb = sqlite3.connect('days.db')\ndb.execute('pragma journal_mode = wal')\ndb.execute('create table if not exists day (n)')\ndb.execute('insert into day values (?)', (open('day').read(),))\ndb.commit()\nif not os.path.exists('open'): subprocess.run(['bash', 'wait'])\n";
    scratch.file("append.py", append).file("wait", gate.wait());
    scratch.pipeline(
        "[step.a]\nin = 'day'\nin-place = true\nout = 'days.db'\nrun = 'python3 append.py'",
    );
    scratch.file("open", "").file("day", "1").semel("run").exits(0);
    scratch.file("day", "2").remove("open");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    let db = rusqlite::Connection::open(scratch.path().join("days.db")).unwrap();
    let mut rows = db.prepare("select n from day").unwrap();
    let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(rows.collect::<Result<Vec<_>, _>>().unwrap(), ["1", "2"]);
}

/// A link would be followed by the command, and what it points to not be kept.
#[test]
fn f11_an_output_that_is_a_link_is_refused_before_the_command_begins() {
    let scratch = pipeline(
        "[step.a]\nin = 'in'\nin-place = true\nout = 'log'\nrun = 'echo half >> log; test $(cat in) = good'",
    );
    scratch.file("in", "good").file("data/log", "old\n").sh("ln -s data/log log");
    let ran = scratch.semel("run").exits(1).says("`log` is a link");
    assert_eq!(scratch.text("data/log"), "old\n", "{ran:?}");
    assert!(scratch.path().join("log").symlink_metadata().unwrap().is_symlink(), "{ran:?}");
    scratch.sh("rm log; mv data/log log").semel("run").exits(0);
    assert_eq!(scratch.text("log"), "old\nhalf\n");
}

#[test]
fn f11_when_the_time_of_the_run_is_over_all_is_as_before() {
    let scratch = pipeline(
        "timeout = '300ms'\n[step.a]\nin-place = true\nout = 'file'\ncleanup = 'echo cleanup >> trace'\nrun = 'echo half > file; sleep 60'",
    );
    scratch.file("file", "old\n").semel("run").exits(1);
    assert_eq!(scratch.text("file"), "old\n");
    assert_eq!(lines(&scratch, "trace"), ["cleanup"]);
}

/// The whole tree is killed at a moment that differs from try to try, and again
/// while it restores; whoever comes last finds one state only.
#[test]
fn f11_killed_at_any_moment_nothing_is_appended_twice() {
    let text = "[step.a]\nin = 'in'\nin-place = true\nout = ['log', 'folder/']\nrun = 'echo $(cat in) >> log; echo $(cat in) >> folder/log; echo x >> folder/x; echo run >> trace'";
    for at in 0..5_usize {
        let scratch = pipeline(text);
        scratch.file("in", "1").file("log", "0\n").file("folder/log", "0\n");
        scratch.semel("run").exits(0);
        scratch.file("in", "2");
        for round in 0..2 {
            let running = scratch.start("run");
            let pid = running.pid();
            // From the first sign of the run on, a little later each time.
            let sign = || {
                std::fs::read_dir(scratch.path().join(".semel/staging"))
                    .is_ok_and(|mut folder| folder.next().is_some())
            };
            let mut running = running;
            eventually("it stages or ends", || sign() || running.has_ended());
            for _ in 0..(at + round) * 400 {
                std::hint::black_box(std::fs::metadata(scratch.path()).is_ok());
            }
            kill_tree(pid);
            let _ = running.end();
        }
        scratch.semel("run").exits(0);
        let wanted = "0\n1\n2\n";
        assert_eq!(
            (&*scratch.text("log"), &*scratch.text("folder/log")),
            (wanted, wanted),
            "at {at}"
        );
        assert_eq!(scratch.text("folder/x"), "x\nx\n");
        scratch.semel("run --expect-noop").exits(0);
        assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    }
}

#[test]
fn f11_published_without_a_receipt_it_is_not_put_back_once_it_is_proven() {
    let scratch =
        pipeline("[step.a]\nin = 'in'\nin-place = true\nout = 'log'\nrun = 'cat in >> log'");
    scratch.file("in", "1\n").semel("run").exits(0);
    // As if killed between the stamp and the receipt, the copies already gone.
    in_manifest(
        &scratch,
        "pragma foreign_keys = on; delete from receipt; update attempt set open = 1, ending = null",
    );
    scratch.semel("run").exits(0).says("adopt");
    assert_eq!(scratch.text("log"), "1\n");
}

#[test]
fn without_backup_the_cleanup_undoes() {
    let scratch = pipeline(
        "[step.a]\nin = 'in'\nin-place = 'no-backup'\nout = 'big'\ncleanup = 'rm -f big; echo cleanup >> trace'\nrun = 'echo half > big; test $(cat in) = good; echo whole > big'",
    );
    scratch.file("in", "bad").semel("run").exits(1);
    assert!(!scratch.has("big"));
    assert_eq!(lines(&scratch, "trace"), ["cleanup"]);
    scratch.file("in", "good").semel("run").exits(0);
    assert_eq!(scratch.text("big"), "whole\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn with_a_backup_and_a_cleanup_both_are_done() {
    let scratch = pipeline(
        "[step.a]\nin-place = true\nout = 'file'\ncleanup = 'cat file > seen; rm -f lock'\nrun = 'touch lock; echo half > file; false'",
    );
    scratch.file("file", "old\n").semel("run").exits(1);
    assert_eq!((&*scratch.text("file"), &*scratch.text("seen")), ("old\n", "old\n"));
    assert!(!scratch.has("lock"));
}

#[test]
fn items_that_are_written_in_place_are_undone_one_by_one() {
    let scratch = pipeline(
        "[step.a]\neach = { lines = 'l' }\nin-place = true\nout = 'o/{{ item }}'\nrun = 'echo half >> o/{{ item }}; test {{ item }} != b'",
    );
    scratch.file("l", "a\nb\nc\n").file("o/b", "old\n").semel("run").exits(1);
    assert_eq!((&*scratch.text("o/a"), &*scratch.text("o/b")), ("half\n", "old\n"));
    assert_eq!(scratch.text("o/c"), "half\n");
}

/// What is put back is the same in its mode and times, too, and known for semel's own.
#[test]
fn f11_what_is_put_back_looks_as_before() {
    let scratch = pipeline(
        "[step.a]\nin = 'in'\nin-place = true\nout = ['log', 'kept/']\nrun = 'echo $(cat {{ in }}) >> log; echo x >> kept/x; chmod 644 log; test $(cat {{ in }}) = good'",
    );
    scratch.file("in", "good").file("kept/deep/y", "y").sh("touch log; chmod 700 kept");
    scratch.semel("run").exits(0);
    scratch.sh("chmod 600 log; touch -d '2001-01-01' log kept/deep/y kept/deep kept");
    let looks = || {
        scratch.sh("stat -c '%n %a %u %g %Y %s' log kept kept/deep kept/deep/y > trace");
        lines(&scratch, "trace")
    };
    let before = looks();
    scratch.file("in", "bad").semel("run").exits(1);
    assert_eq!(looks(), before);
    scratch.file("in", "good").semel("run --expect-noop").exits(0);
}
