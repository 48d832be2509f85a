//! A manifest that is damaged or gone: the next run sets it aside, makes another, and
//! goes on. Nothing that is provably there is done again, and nothing that is done once
//! is repeated.

use semel_testkit::{Gate, Scratch};

use crate::memory::{age, ledger, paid};
use crate::scratch;

/// The names in `.semel/`, without those by which SQLite shares a file.
fn kept(scratch: &Scratch) -> Vec<String> {
    let names = scratch.list(".semel").into_iter();
    names.filter(|name| !name.starts_with("manifest.db-")).collect()
}

/// A manifest that is spoilt in any way is set aside by the run that finds it, and
/// made anew; those who only look change nothing, and show what a run will do.
#[test]
fn a_damaged_manifest_is_set_aside_and_rebuilt() {
    for spoil in [
        "head -c 5000 .semel/manifest.db > cut; cat cut > .semel/manifest.db",
        ": > .semel/manifest.db",
        "head -c 60000 /dev/urandom > .semel/manifest.db",
        // The first page is sound.
        "dd if=/dev/urandom of=.semel/manifest.db bs=4096 seek=1 count=40 conv=notrunc 2> /dev/null; echo x > .semel/manifest.db-wal",
    ] {
        let scratch = paid();
        scratch.sh("rm -f .semel/manifest.db-*").sh(spoil);
        let before = kept(&scratch);
        scratch.semel("run --expect-noop").exits(5).says("semel run");
        scratch
            .semel("plan")
            .exits(0)
            .says("the manifest is damaged: ")
            .says("a run sets it aside, and makes a new one of 2 lines of .semel/once.log")
            .says("skip");
        assert_eq!(kept(&scratch), before, "{spoil}: looking changed something");
        scratch
            .semel("run -q")
            .exits(0)
            .says("the manifest was damaged: ")
            .says("set aside as .semel/manifest.db.damaged-")
            .says("a new one was made of 2 lines of .semel/once.log; it may not know all")
            .says("once steps that refuse where nothing is known of a task: pay");
        let aside = scratch.list(".semel").into_iter().filter(|name| name.contains("damaged"));
        assert!(aside.count() >= 1, "{spoil}: nothing was set aside");
        scratch.semel("run").exits(0).says("nothing to do").keeps_silent_of("damaged");
        assert_eq!(ledger(&scratch), "one", "{spoil}");
        scratch.file("orders", "one\ntwo\n").semel("run").exits(3);
        assert_eq!(ledger(&scratch), "one", "{spoil}");
    }
}

/// A manifest that lay here and is gone is made anew of its backup, too.
#[test]
fn a_lost_manifest_is_made_anew_of_its_backup() {
    let scratch = scratch();
    scratch.file("in/1", "1").pipeline(
        "jobs = 1\n[step.copy]\neach = 'in/*'\nsame = 'name+content'\nrun = 'cat {{ item }} >> trace'\n[step.pay]\nonce = true\nrun = 'echo one >> ledger'",
    );
    scratch.semel("run").exits(0);
    age(&scratch);
    scratch.file("in/2", "2").semel("run").exits(0);
    assert!(scratch.has(".semel/manifest.backup.db"));
    scratch.sh("rm .semel/manifest.db*");
    // What shows nothing is known by its receipt alone.
    scratch.semel("plan").exits(0).says("made of the backup of").says("nothing would run");
    scratch.semel("run").exits(0).says("made of the backup of").says("signs of an older one");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!((&*scratch.text("trace"), &*ledger(&scratch)), ("12", "one"));
    // A backup that is damaged too is not used, and it is said of what it is made.
    for path in ["manifest.db", "manifest.backup.db"] {
        scratch.sh(&format!(
            "rm -f .semel/manifest.db-*; dd if=/dev/urandom of=.semel/{path} bs=4096 seek=2 count=9 conv=notrunc 2> /dev/null"
        ));
    }
    scratch.semel("run").exits(0).says("a new one was made of 2 lines of .semel/once.log");
    assert_eq!((&*scratch.text("trace"), &*ledger(&scratch)), ("1212", "one"));
}

/// Somebody's own database in the manifest's place is not touched.
#[test]
fn a_database_that_is_not_semels_is_left_where_it_is() {
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db*");
    let path = scratch.path().join(".semel/manifest.db");
    let theirs = rusqlite::Connection::open(&path).unwrap();
    theirs.execute_batch("create table theirs (x)").unwrap();
    drop(theirs);
    let bytes = std::fs::read(&path).unwrap();
    for verb in ["plan", "run"] {
        scratch.semel(verb).exits(5).says("it is not a manifest of semel's");
        assert!(kept(&scratch).iter().all(|name| !name.contains("damaged")));
    }
    let tables = rusqlite::Connection::open(&path).unwrap();
    tables.query_row("select count(*) from theirs", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len());
    drop(tables);
    scratch.semel("manifest rebuild").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(ledger(&scratch), "one");
}

/// It is not set aside under those who are at work with it.
#[test]
fn a_damaged_manifest_stays_while_somebody_is_at_work_with_it() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("other.toml", "name = 'other'\n[step.b]\nrun = 'echo b >> ledger'").pipeline(
        &format!("[step.pay]\nonce = true\nrun = '''{}; echo one >> ledger'''", gate.wait()),
    );
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.file(".semel/manifest.db.doubt", "a page is not as it was\n");
    scratch
        .semel("run -f other.toml")
        .exits(5)
        .says("it is damaged: a page is not as it was; somebody is at work with it")
        .says("when that is over, a run sets it aside");
    gate.open();
    running.end().exits(0);
    scratch.semel("run -f other.toml").exits(0).says("a page is not as it was");
    scratch.semel("run").exits(0).says("nothing to do").keeps_silent_of("damaged");
    assert_eq!(ledger(&scratch), "one b");
}

/// Many find the damage at once: one of them mends it, the others use what it made.
#[test]
fn a_manifest_that_many_find_damaged_is_rebuilt_once() {
    let scratch = scratch();
    scratch.pipeline(
        "per = ['day']\n[params]\nday = '1'\n[step.pay]\nonce = true\nrun = 'echo {{ params.day }} >> ledger'",
    );
    for day in 1..=4 {
        scratch.semel(&format!("run -p day={day}")).exits(0);
    }
    scratch.sh("rm -f .semel/manifest.db-*; head -c 9000 /dev/urandom > .semel/manifest.db");
    let runs: Vec<_> = (1..=4).map(|day| scratch.start(&format!("run -p day={day}"))).collect();
    for run in runs {
        run.end().exits(0);
    }
    assert_eq!(ledger(&scratch).split(' ').count(), 4);
    let aside = scratch.list(".semel").into_iter().filter(|name| name.contains("damaged"));
    assert_eq!(aside.count(), 1);
}

/// A human who looked says once, for all tasks, that nothing is missing.
#[test]
fn an_incomplete_memory_is_accepted_once_for_all() {
    let scratch = paid();
    scratch
        .semel("manifest accept --because looked")
        .exits(0)
        .says("the memory is whole already; nothing was changed");
    scratch.sh("rm .semel/manifest.db*").file("orders", "one\ntwo\nthree\n");
    scratch
        .semel("run")
        .exits(3)
        .says("refused  pay:two")
        .says("    semel manifest accept --because '...'");
    scratch
        .semel("status")
        .says("memory          incomplete: it knows all since")
        .says("    semel manifest accept --because '...'");
    scratch.semel_words(["manifest", "accept", "--because", " "]).exits(2).says("wants a reason");
    scratch
        .semel_words(["manifest", "accept", "--because", "compared with the bank"])
        .exits(0)
        .says("the memory is whole: what it does not know did not happen");
    scratch.semel("plan").exits(0).says("would run");
    scratch.semel("run").exits(0);
    scratch.semel("status").exits(0).keeps_silent_of("incomplete");
    scratch.sh("sort ledger | xargs | grep -qx 'one three two'");
    assert_eq!(
        scratch.query("select verb, because, user <> '', step from resolution"),
        ["accept compared with the bank 1 "]
    );
    // The word was of that memory. One that is made anew is not whole because of it, and
    // remembers that it was said.
    scratch.sh("rm .semel/manifest.db*").file("orders", "one\ntwo\nthree\nfour\n");
    scratch.semel("run").exits(3).says("refused  pay:four");
    assert_eq!(scratch.query("select because from resolution"), ["compared with the bank"]);
    scratch.sh("sort ledger | xargs | grep -qx 'one three two'");
}

/// Said, and dead before the manifest had it: the log counts.
#[test]
fn an_acceptance_that_only_the_log_has_counts() {
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db*").semel("run").exits(0);
    scratch.sh("cp .semel/manifest.db kept");
    scratch.semel_words(["manifest", "accept", "--because", "compared"]).exits(0);
    scratch.sh("rm .semel/manifest.db*; cp kept .semel/manifest.db");
    scratch.file("orders", "one\ntwo\n").semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one two");
    // What was lost after it is not accepted by it.
    scratch.sh("rm .semel/manifest.db*; cp kept .semel/manifest.db");
    scratch.file("orders", "one\ntwo\nthree\n").semel("run").exits(3);
    assert_eq!(ledger(&scratch), "one two");
}

/// The manifest forgot a task that is done once, and looks sound: the log is asked before
/// it begins, and the next run makes another manifest.
#[test]
fn what_the_manifest_forgot_and_the_log_knows_does_not_begin() {
    for spoil in [
        "delete from receipt",
        "update receipt set item = 'gone', sum = null",
        "update receipt set instance = 'other', sum = null; update attempt set open = 0",
    ] {
        let scratch = paid();
        let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
        db.execute_batch(spoil).unwrap();
        drop(db);
        scratch.semel("run").exits(5).says("once.log has what it does not know of pay:one");
        assert_eq!(ledger(&scratch), "one", "{spoil}");
        scratch.semel("run").exits(0).says("the manifest was damaged: once.log has what");
        scratch.semel("run").exits(0).says("nothing to do");
        assert_eq!(ledger(&scratch), "one", "{spoil}");
    }
}

/// An attempt of which nobody knows what it did is forgotten, too.
#[test]
fn an_attempt_that_the_manifest_forgot_is_not_begun_again() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nrun = 'echo one >> ledger; [ -e fine ]'");
    scratch.semel("run").exits(1);
    let forget = || {
        let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
        db.execute_batch("update attempt set open = 0").unwrap();
    };
    forget();
    scratch.semel("run").exits(5).says("once.log has what it does not know of pay");
    scratch.semel("run").exits(3).says("may have been done already");
    scratch.semel_words(["redo", "pay", "--because", "not in the ledger"]).exits(0);
    scratch.file("fine", "").semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one one", "a human said so");
}

/// Two pipelines of one folder, a word of a human, and a gc, all at once: none of them
/// waits in vain, and each finds what it wrote.
#[test]
fn many_write_to_one_manifest_at_once() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    let items: String = (0..30).map(|item| format!("{item}\n")).collect();
    let many = "[step.many]\neach = { lines = 'items' }\nrun = ': {{ item }}'\n";
    scratch.file("items", items).file("other.toml", format!("name = 'other'\n{many}")).pipeline(
        &format!("[step.wait]\nrun = '''{}'''\n[step.pay]\nonce = true\nrun = 'echo one >> ledger; exit 1'\n{many}", gate.wait()),
    );
    scratch.semel("run pay").exits(1);
    let running = scratch.start("run wait many");
    gate.until_arrived();
    let others = [
        scratch.start("run -f other.toml"),
        scratch.start("done pay --because seen"),
        scratch.start("manifest gc --keep 1d"),
        scratch.start("manifest export"),
    ];
    for other in others {
        other.end().exits(0);
    }
    gate.open();
    running.end().exits(0);
    assert_eq!(
        scratch.query("select pipeline, count(*) from receipt group by 1 order by 1"),
        ["other 30", "test 31"]
    );
    scratch.semel("run pay").exits(0);
    assert_eq!(ledger(&scratch), "one");
    assert_eq!(scratch.query("pragma integrity_check"), ["ok"]);
}

/// Who only reads sees a run that is at work, and keeps it from nothing.
#[test]
fn a_reader_is_welcome_while_a_run_writes() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "jobs = 1\n[step.first]\nrun = 'true'\n[step.pay]\nneeds = ['first']\nonce = true\nrun = '''echo one >> ledger; {}'''\n[step.last]\nneeds = ['pay']\nrun = 'true'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("status").exits(4).says("pay       at work");
    scratch.semel("why first").exits(0).says("skip");
    scratch.semel_words(["manifest", "query", "select step from receipt"]).exits(0).says("first");
    let export = scratch.semel("manifest export").exits(0).stdout;
    assert!(export.lines().last().is_some_and(|line| line.contains("\"end\"")), "{export}");
    scratch.semel("run").exits(4).says("at work already");
    scratch.semel("manifest rebuild").exits(4);
    gate.open();
    running.end().exits(0);
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(ledger(&scratch), "one");
}

/// A copy that a killed run had begun is removed with the next one; the last whole copy
/// stays until then.
#[test]
fn a_backup_that_was_cut_short_harms_nobody() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nin = 'x'\nrun = 'true'").file("x", "1").semel("run").exits(0);
    age(&scratch);
    scratch.file("x", "2").semel("run").exits(0);
    let whole = std::fs::read(scratch.path().join(".semel/manifest.backup.db")).unwrap();
    scratch.sh("head -c 5000 .semel/manifest.backup.db > .semel/manifest.backup.db.part");
    scratch.sh("head -c 9000 /dev/urandom > .semel/manifest.db; rm -f .semel/manifest.db-*");
    scratch.semel("run").exits(0).says("of its backup of").says("nothing to do");
    assert_eq!(std::fs::read(scratch.path().join(".semel/manifest.backup.db")).unwrap(), whole);
    age(&scratch);
    scratch.file("x", "3").semel("run").exits(0);
    assert!(!scratch.has(".semel/manifest.backup.db.part"));
    assert_ne!(std::fs::read(scratch.path().join(".semel/manifest.backup.db")).unwrap(), whole);
}

/// Where there is no room for a copy, the run says so and is done all the same; the last
/// copy stays.
#[test]
fn a_backup_for_which_there_is_no_room_is_told() {
    let small = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::on(small.path(), "1500k") else {
        eprintln!("skipped: a small disk of its own, which this machine or user may not mount");
        return;
    };
    let scratch = scratch();
    scratch.pipeline("[step.a]\nin = 'x'\nrun = 'true'").file("x", "1").semel("run").exits(0);
    let path = scratch.path().join(".semel/manifest.db");
    let db = rusqlite::Connection::open(path).unwrap();
    // There is room for one of them, and not for two.
    db.execute_batch("insert into part values (randomblob(32), hex(randomblob(400000)))").unwrap();
    drop(db);
    age(&scratch);
    let backup = small.path().join(".semel/manifest.backup.db");
    scratch.sh(&format!("cp -r semel.toml .semel {}/", small.path().display()));
    std::fs::write(&backup, "the last copy").unwrap();
    let aged = std::process::Command::new("touch").args(["-d", "2 days ago"]).arg(&backup).status();
    assert!(aged.unwrap().success());
    std::fs::write(small.path().join("x"), "2").unwrap();
    let mut command = scratch.command(["run"]);
    command.current_dir(small.path());
    scratch.ran(command).exits(0).says("the manifest cannot be backed up");
    assert_eq!(std::fs::read(&backup).unwrap(), b"the last copy");
    assert!(!small.path().join(".semel/manifest.backup.db.part").exists());
}

/// A file system that goes with the test.
struct Mounted(std::path::PathBuf);

impl Mounted {
    /// A small one in memory; `None` where it may not be mounted.
    fn on(folder: &std::path::Path, size: &str) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "semel-test"]).arg(folder);
        let mounted = mount.stderr(std::process::Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(folder.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

/// A byte of the name of a task changed, so that its receipt is one of another task that
/// was never done: neither is left out, and what is done once is not repeated.
#[test]
fn a_receipt_that_became_one_of_another_task_is_not_believed() {
    for (from, to) in [("day1", "day2"), ("fetcha", "fetchb")] {
        let scratch = scratch();
        let pipeline = |day: &str, step: &str| {
            scratch.pipeline(&format!(
                "per = ['day']\n[params]\nday = '{day}'\n[step.{step}]\nrun = 'echo got >> trace'\n[step.pay]\nonce = true\nrun = 'echo paid >> ledger'"
            ));
        };
        pipeline("day1", "fetcha");
        scratch.semel("run").exits(0);
        // In the table and in its indexes; the database is as sound as before.
        let path = scratch.path().join(".semel/manifest.db");
        let db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch(&format!(
            "update receipt set step = replace(step, '{from}', '{to}'), instance = replace(instance, '{from}', '{to}')"
        ))
        .unwrap();
        drop(db);
        pipeline(
            if from == "day1" { "day2" } else { "day1" },
            if from == "day1" { "fetcha" } else { "fetchb" },
        );
        scratch.semel("plan").exits(0).says("the manifest is damaged").says("would run");
        let status = scratch.semel("run").says("a row is not as it was written").status;
        assert_eq!(scratch.text("trace"), "got\ngot\n", "it was left out");
        assert_eq!(ledger(&scratch), "paid", "{from}");
        // Of the second day nothing is known, and the memory is incomplete.
        assert_eq!(status, if from == "day1" { 3 } else { 0 });
    }
}
