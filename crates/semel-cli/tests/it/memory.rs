//! Memory that may be incomplete: whatever becomes of it, nothing that is done once
//! is done again. What the command did is counted in a file that it appends to.

use std::path::Path;

use semel_testkit::{Gate, Scratch};

use crate::scratch;

/// Pays each order once.
pub(crate) const PAY: &str = r#"
[step.pay]
each = { lines = "orders", empty = "ok" }
once = true
run  = 'echo {{ item }} >> ledger'
"#;

/// A folder in which the first order is paid.
pub(crate) fn paid() -> Scratch {
    let scratch = scratch();
    scratch.file("orders", "one\n").pipeline(PAY).semel("run").exits(0);
    scratch
}

/// What was paid, each payment a word.
pub(crate) fn ledger(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.path().join("ledger"))
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether the mark on the folder can tell what `.semel/` does not.
pub(crate) fn keeps_marks(scratch: &Scratch) -> bool {
    let mut mark = [0; 256];
    rustix::fs::getxattr(scratch.path(), "user.semel.once", &mut mark[..]).is_ok()
}

#[test]
fn a_deleted_manifest_is_made_anew_out_of_the_log() {
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db*");
    // Those who only look see what a run would, and change nothing.
    scratch.semel("plan").exits(0).says("skip").says("2 lines of .semel/once.log taken over");
    scratch.semel("why pay:one").exits(0).says("skip: unchanged");
    scratch.semel("status").exits(1).says("run 1 is known by .semel/once.log only").says("in part");
    scratch.semel("history").exits(0).says("unknown");
    assert!(!scratch.has(".semel/manifest.db"), "looking made a manifest");
    scratch
        .semel("run")
        .exits(0)
        .says("new memory, though there are signs of an older one")
        .says("2 lines of .semel/once.log taken over");
    scratch.semel("run").exits(0).says("nothing to do").keeps_silent_of("memory");
    assert_eq!(ledger(&scratch), "one");
    // What the log does not tell of may have been done all the same.
    scratch.file("orders", "one\ntwo\n");
    scratch.semel("plan").exits(0).says("refuse");
    scratch.semel("run").exits(3).says("the memory is incomplete: it may have been done");
    scratch.semel_words(["redo", "pay:two", "--because", "never sent"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one two");
    assert_eq!(
        scratch.query("select item, once, whole_since is not null from receipt, memory order by 1"),
        ["one 1 1", "two 1 1"]
    );
}

/// Quiet means not a byte when all is well; this is not.
#[test]
fn a_quiet_run_does_not_keep_silent_of_a_memory_that_is_incomplete() {
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db*").semel("run -q").exits(0).says("signs of an older one");
    assert_eq!(scratch.semel("run -q").exits(0).stderr, "");
    scratch.sh("rm .semel/manifest.db*");
    let ran = scratch.semel("run --json").exits(0);
    assert!(ran.stdout.contains(r#""event":"new-memory","lines":2,"once":["pay"],"whole":false"#));
}

#[test]
fn a_manifest_of_a_backup_takes_over_what_was_done_since() {
    let scratch = paid();
    scratch.sh("cp .semel/manifest.db kept").file("orders", "one\ntwo\n").semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*; cp kept .semel/manifest.db");
    scratch.semel("plan").exits(0).says("old memory: more was done since than this manifest knows");
    scratch
        .semel("run")
        .exits(0)
        .says("old memory: more was done since than this manifest knows")
        .says("2 lines of .semel/once.log taken over")
        .says("once steps that refuse where nothing is known of a task: pay");
    scratch.semel("run").exits(0).says("nothing to do").keeps_silent_of("old memory");
    assert_eq!(ledger(&scratch), "one two");
    scratch.file("orders", "one\ntwo\nthree\n").semel("run").exits(3);
    assert_eq!(ledger(&scratch), "one two");
}

/// The log was put back too: only the mark on the pipeline's folder can tell.
#[test]
fn a_whole_folder_that_was_put_back_is_known_by_the_mark() {
    let scratch = paid();
    scratch.sh("cp -a .semel kept").file("orders", "one\ntwo\n").semel("run").exits(0);
    if !keeps_marks(&scratch) {
        return;
    }
    scratch.sh("rm -r .semel; cp -a kept .semel");
    for _ in 0..2 {
        scratch.semel("run").exits(3).says("refused  pay:two");
    }
    assert_eq!(ledger(&scratch), "one two");
    // As it is where nothing at all is left.
    scratch.sh("rm -r .semel");
    scratch.semel("run").exits(3).says("new memory, though there are signs of an older one");
    assert_eq!(ledger(&scratch), "one two");
    scratch.semel_words(["done", "pay", "--because", "both are in the ledger"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(ledger(&scratch), "one two");
}

#[test]
fn a_manifest_of_another_folder_takes_over_the_log_beside_it() {
    let other = scratch();
    other.file("orders", "five\n").pipeline(PAY).semel("run").exits(0);
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db*");
    std::fs::copy(
        other.path().join(".semel/manifest.db"),
        scratch.path().join(".semel/manifest.db"),
    )
    .unwrap();
    scratch.semel("run").exits(0).says("old memory");
    assert_eq!(ledger(&scratch), "one");
    scratch.file("orders", "one\ntwo\n").semel("run").exits(3);
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn an_interrupted_attempt_is_remembered_without_its_manifest() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.buy]\nonce = true\nout = 'answer'\nrun = '''echo one >> ledger; echo paid > {{{{ out }}}}; {}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    // The write-ahead log that a killed run leaves must not get into the new one.
    scratch.sh("rm .semel/manifest.db");
    for _ in 0..2 {
        scratch.semel("run").exits(3).says("may have been done already");
    }
    scratch.semel_words(["done", "buy", "--because", "the answer is whole"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!((&*scratch.text("answer"), &*ledger(&scratch)), ("paid\n", "one"));
}

#[test]
fn what_was_settled_is_remembered_without_the_manifest() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nrun = 'echo one >> ledger; [ -e fine ]'");
    scratch.semel("run").exits(1);
    scratch.semel("run").exits(3);
    scratch.semel_words(["done", "pay", "--because", "it is in the ledger"]).exits(0);
    scratch.sh("rm .semel/manifest.db*");
    scratch.semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*");
    scratch.semel("run").exits(0).says("1 of 1 proved done");
    assert_eq!(ledger(&scratch), "one");
    assert_eq!(
        scratch.query("select verb, because, acted_by is not null from resolution"),
        ["done it is in the ledger 1"]
    );
    // A word that was acted on does not count again.
    scratch.semel_words(["redo", "pay", "--because", "once more"]).exits(0);
    scratch.file("fine", "").semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*");
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one one", "a human said so, once");
}

#[test]
fn a_log_that_is_cut_or_has_garbage_at_its_end_harms_nobody() {
    for spoil in [
        "head -c -20 .semel/once.log > cut; cat cut > .semel/once.log",
        "head -c 50000 /dev/urandom >> .semel/once.log",
        "printf '{\"v\":1,\"manifest\":' >> .semel/once.log",
        ": > .semel/once.log",
        "rm .semel/once.log",
    ] {
        let scratch = paid();
        scratch.sh(spoil);
        scratch.semel("run").exits(0).says("nothing to do");
        // What is appended to it counts.
        scratch.file("orders", "one\ntwo\n").semel("run").exits(0);
        assert_eq!(ledger(&scratch), "one two", "{spoil}");
        scratch.sh("rm .semel/manifest.db*");
        let ran = scratch.semel("run");
        assert!([0, 3].contains(&ran.status), "{spoil}: {ran:?}");
        scratch.semel("why pay:two").exits(0).says("skip");
        assert_eq!(ledger(&scratch), "one two", "{spoil}");
    }
}

/// A word that was acted on is not taken for a new one because the lines after it are
/// gone.
#[test]
fn a_log_with_damage_in_its_middle_repeats_nothing() {
    let scratch = paid();
    scratch.semel_words(["redo", "pay:one", "--because", "once more"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.file("orders", "one\ntwo\n").semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one one two");
    // Intent and receipt of what was done again, the fourth line and the fifth.
    scratch.sh("sed -i '4,5s/pay/pya/' .semel/once.log; rm .semel/manifest.db*");
    scratch.semel("run").exits(0).says("5 lines of .semel/once.log taken over");
    assert_eq!(ledger(&scratch), "one one two");
    scratch
        .semel("manifest rebuild")
        .exits(0)
        .says("once.log, 5 lines; 2 more lines cannot be read");
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one one two");
}

#[test]
fn a_log_and_a_manifest_that_were_both_lost_are_missed() {
    let scratch = paid();
    scratch.sh("rm .semel/manifest.db* .semel/once.log");
    scratch.semel("plan").exits(0).says("refuse");
    scratch.semel("run").exits(3).says("signs of an older one");
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn a_line_of_a_newer_semel_is_not_passed_over() {
    let scratch = paid();
    let line = r#"{"v":9,"manifest":"x","seq":99"#;
    scratch.sh(&format!(
        "sum=$(printf %s '{line}' | sha256sum | cut -c1-16); printf '%s,\"sum\":\"%s\"}}\\n' '{line}' $sum >> .semel/once.log"
    ));
    scratch.file("orders", "one\ntwo\n").semel("run").exits(5).says("written by a newer semel");
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn where_the_log_cannot_be_written_nothing_is_begun() {
    let scratch = scratch();
    scratch.file("orders", "one\n").pipeline(PAY);
    // A folder in its place: whatever is appended to it fails.
    scratch.semel("init").exits(0);
    scratch.sh("mkdir .semel/once.log");
    scratch.semel("run").exits(5);
    assert_eq!(ledger(&scratch), "");
    scratch.sh("rmdir .semel/once.log").semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one");
}

/// Changes the time at which the manifest was born, or its backup made.
pub(crate) fn age(scratch: &Scratch) {
    let path = scratch.path().join(".semel/manifest.db");
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute("update memory set born = '2013-02-17T02:15:00.000Z'", []).unwrap();
    if scratch.has(".semel/manifest.backup.db") {
        scratch.sh("touch -d '2 days ago' .semel/manifest.backup.db");
    }
}

#[test]
fn a_backup_is_made_once_a_day_where_something_was_done() {
    let scratch = scratch();
    scratch.file("in/1", "1").pipeline(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo copy >> trace'",
    );
    let has_backup = || scratch.has(".semel/manifest.backup.db");
    scratch.semel("run").exits(0);
    assert!(!has_backup(), "it is younger than a day");
    age(&scratch);
    scratch.semel("run").exits(0).says("nothing to do");
    assert!(!has_backup(), "nothing happened");
    scratch.file("in/2", "2").semel("run").exits(0);
    assert!(has_backup());
    // Within the day there is no other one.
    scratch.file("in/3", "3").semel("run").exits(0);
    let backup = |sql: &str| -> i64 {
        let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.backup.db"));
        db.unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(backup("select count(*) from receipt"), 2);
    age(&scratch);
    scratch.file("in/4", "4").semel("run").exits(0);
    assert_eq!(backup("select count(*) from receipt"), 4);
    // What the backup knows need not be done again; nor what carries a stamp.
    scratch.file("in/5", "5").semel("run").exits(0);
    let trace = scratch.text("trace");
    scratch.sh("rm -f .semel/manifest.db-*; head -c 60000 /dev/urandom > .semel/manifest.db");
    scratch.semel("manifest rebuild").exits(0).says("of       the backup of");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("trace"), trace);
    assert!(!scratch.list(".semel").iter().any(|name| name.ends_with(".part")));
}

#[test]
fn a_rebuild_keeps_out_while_somebody_is_at_work() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.pay]\nonce = true\nrun = '''{}; echo one >> ledger'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("manifest rebuild").exits(4).says("semel run");
    gate.open();
    running.end().exits(0);
    scratch.semel("manifest rebuild").exits(0);
    scratch.semel("run").exits(0).says("1 of 1 proved done");
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn a_rebuild_of_a_sound_manifest_loses_nothing_that_is_done_once() {
    let scratch = paid();
    for _ in 0..2 {
        scratch.semel("manifest rebuild").exits(0);
        scratch.semel("run").exits(0);
    }
    assert_eq!(ledger(&scratch), "one");
    let aside = scratch.list(".semel").into_iter().filter(|name| name.contains("damaged"));
    assert_eq!(aside.count(), 2, "both are kept");
}

/// The pipeline with its step under other names.
fn renamed(scratch: &Scratch, step: &str, was: &str) {
    let text = PAY.replace("[step.pay]", &format!("[step.{step}]\n{was}"));
    scratch.pipeline(&text);
}

#[test]
fn a_renamed_step_asks_and_is_told_by_was() {
    let scratch = paid();
    renamed(&scratch, "payment", "");
    scratch.semel("plan").exits(0).says("refuse");
    scratch.semel("why payment:one").exits(0).says("`pay`").says("was = \"pay\"");
    for _ in 0..2 {
        scratch
            .semel("run")
            .exits(3)
            .says("refused  payment:one  a step that is no longer in the file may have done it")
            .says("`pay` did the same, or began it, and is no longer in the file")
            .says("was = \"pay\"");
    }
    assert_eq!(ledger(&scratch), "one");
    renamed(&scratch, "payment", "was = 'pay'");
    scratch.semel("run").exits(0).says("nothing to do");
    scratch.file("orders", "one\ntwo\n").semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one two");
    assert_eq!(
        scratch.query("select step, item from receipt order by item"),
        ["pay one", "payment two"]
    );
    // Renamed again, both names count.
    renamed(&scratch, "transfer", "was = ['payment', 'pay']");
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(ledger(&scratch), "one two");
}

#[test]
fn a_renamed_step_can_be_settled_too() {
    for (verb, paid_then) in [("done", "one"), ("redo", "one one")] {
        let scratch = paid();
        renamed(&scratch, "payment", "");
        scratch.semel("run").exits(3);
        scratch.semel_words([verb, "payment:one", "--because", "looked"]).exits(0);
        scratch.semel("run").exits(0);
        scratch.semel("run").exits(0).says("nothing to do");
        assert_eq!(ledger(&scratch), paid_then);
    }
}

#[test]
fn a_renamed_step_remembers_what_was_begun_and_settled() {
    let scratch = scratch();
    let pipeline = |name: &str, was: &str| {
        scratch.pipeline(&format!(
            "[step.{name}]\nonce = true\nout = 'answer'\n{was}\nrun = 'echo one >> ledger; echo paid > {{{{ out }}}}; exit 1'"
        ));
    };
    pipeline("buy", "");
    scratch.semel("run").exits(1);
    pipeline("purchase", "");
    scratch.semel("run").exits(3).says("was = \"buy\"");
    pipeline("purchase", "was = 'buy'");
    scratch.semel("run").exits(3).says("may have been done already");
    // What the failed attempt wrote is kept under its former name, and published.
    scratch.semel_words(["done", "purchase", "--because", "the answer is whole"]).exits(0);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!((&*scratch.text("answer"), &*ledger(&scratch)), ("paid\n", "one"));
    assert_eq!(scratch.list(".semel/staging"), [""; 0], "nothing is kept any longer");
}

#[test]
fn a_word_said_under_the_former_name_counts() {
    let scratch = scratch();
    let pipeline = |name: &str, was: &str| {
        scratch.pipeline(&format!(
            "[step.{name}]\nonce = true\n{was}\nrun = 'echo one >> ledger; exit 1'"
        ));
    };
    pipeline("pay", "");
    scratch.semel("run").exits(1);
    scratch.semel_words(["done", "pay", "--because", "it is in the ledger"]).exits(0);
    pipeline("payment", "was = 'pay'");
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn item_and_step_renamed_at_once_is_the_same_work() {
    let scratch = scratch();
    let pipeline = |name: &str, was: &str| {
        scratch.pipeline(&format!(
            "[step.{name}]\neach = 'orders/*'\nsame = 'content'\nonce = true\n{was}\nrun = 'cat {{{{ item }}}} >> ledger'"
        ));
    };
    scratch.file("orders/1", "one\n");
    pipeline("pay", "");
    scratch.semel("run").exits(0);
    scratch.rename("orders/1", "orders/2");
    pipeline("payment", "");
    scratch.semel("plan").exits(0).says("refuse");
    scratch.semel("run").exits(3).says("was = \"pay\"");
    pipeline("payment", "was = 'pay'");
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one");
}

/// What was to be done again, or had provably done nothing, when the copy was made may
/// have been done by now.
#[test]
fn a_folder_that_was_put_back_does_not_do_again_what_it_was_told_to_then() {
    for (told, exit) in [("redo", 1), ("nothing", 75)] {
        let scratch = scratch();
        scratch.pipeline(&format!(
            "[step.pay]\nonce = true\nsafe-exits = 75\nrun = '[ -e fine ] || exit {exit}; echo one >> ledger'"
        ));
        scratch.semel("run").exits(1);
        if told == "redo" {
            scratch.semel_words(["redo", "pay", "--because", "not in the ledger"]).exits(0);
        }
        scratch.sh("cp -a .semel kept").file("fine", "").semel("run").exits(0);
        assert_eq!(ledger(&scratch), "one");
        if !keeps_marks(&scratch) {
            return;
        }
        scratch.sh("rm -r .semel; cp -a kept .semel");
        scratch.semel("plan").exits(0).says("refuse");
        for _ in 0..2 {
            scratch.semel("run").exits(3);
        }
        assert_eq!(ledger(&scratch), "one", "{told}");
        // Said now, it holds.
        scratch.semel_words(["redo", "pay", "--because", "once more"]).exits(0);
        scratch.semel("run").exits(0);
        assert_eq!(ledger(&scratch), "one one");
    }
}

#[test]
fn a_renamed_pipeline_asks_and_is_told_by_was() {
    let scratch = scratch();
    let name = |top: &str, text: &str| {
        scratch.file("semel.toml", format!("{top}\n{text}"));
    };
    scratch.file("orders", "one\n");
    name("name = 'old'", PAY);
    scratch.semel("run").exits(0);
    name("name = 'new'", PAY);
    scratch
        .semel("run")
        .exits(3)
        .says("`pay` of the pipeline `old` did the same, or began it")
        .says("was = \"old\"");
    // In another file, too.
    scratch.rename("semel.toml", "new.toml");
    scratch.semel("run -f new.toml").exits(3).says("was = \"old\"");
    scratch.remove("new.toml");
    // Under another step's name, too.
    name("name = 'new'", &PAY.replace("step.pay", "step.payment"));
    scratch.semel("run").exits(3).says("was = \"old\"").says("was = \"pay\"");
    name("name = 'new'\nwas = 'old'", PAY);
    scratch.semel("run").exits(0).says("nothing to do");
    name("name = 'new'\nwas = 'old'", &PAY.replace("[step.pay]", "[step.payment]\nwas = 'pay'"));
    scratch.semel("run").exits(0).says("nothing to do");
    assert_eq!(ledger(&scratch), "one");
}

#[test]
fn another_pipeline_beside_is_not_taken_for_the_same() {
    let scratch = paid();
    scratch.file("other.toml", format!("name = 'other'\n{PAY}"));
    scratch.semel("run -f other.toml").exits(0);
    assert_eq!(ledger(&scratch), "one one", "they are two, and each says so");
    scratch.file("other.toml", format!("name = 'other'\nwas = 'test'\n{PAY}"));
    scratch
        .semel("run -f other.toml")
        .exits(2)
        .says("other.toml says that it was `test`, but semel.toml is");
}

#[test]
fn a_step_that_comes_and_one_that_goes_are_two() {
    let scratch = paid();
    scratch.pipeline("[step.tell]\nonce = true\nrun = 'echo told >> ledger'");
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one told");
}

#[test]
fn a_former_name_that_is_still_there_is_an_error() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nrun = 'x'\n[step.payment]\nwas = 'pay'\nrun = 'x'\n[step.a]\nwas = 'z'\nrun = 'x'\n[step.b]\nwas = ['z']\nrun = 'x'");
    scratch
        .semel("plan")
        .exits(2)
        .says("`pay` is still a step of this file")
        .says("`z` became one step");
    scratch.file("semel.toml", "name = 'a'\nwas = 'a'\n[step.x]\nrun = 'x'");
    scratch.semel("plan").exits(2).says("the pipeline is still named `a`");
}

#[test]
fn fresh_memory_can_be_refused() {
    let scratch = scratch();
    scratch.file("orders", "one\n").pipeline(&format!("fresh-memory = 'refuse'\n{PAY}"));
    for _ in 0..2 {
        scratch.semel("run").exits(3).says("there is no memory here").says("semel init --bare");
        assert!(!scratch.has(".semel"), "nothing was made");
    }
    scratch.semel("plan").exits(0).says("a run exits 3");
    scratch.semel("init --bare").exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(ledger(&scratch), "one");
    scratch.sh("rm -r .semel").semel("run").exits(3);
    assert_eq!(ledger(&scratch), "one");
    // Where nothing is done once, there is nothing to refuse.
    scratch.pipeline("fresh-memory = 'refuse'\n[step.a]\nout = 'a'\nrun = 'echo > {{ out }}'");
    scratch.semel("run").exits(0);
}

#[test]
fn ordinary_steps_leave_no_log() {
    let scratch = scratch();
    scratch.pipeline("[step.a]\nout = 'a'\nrun = 'echo > {{ out }}'").semel("run").exits(0);
    assert!(!scratch.has(".semel/once.log"));
    assert!(!keeps_marks(&scratch));
    assert!(Path::new(scratch.path()).exists());
}

/// Many instances write to one log at once: no line is lost, and none is taken for a
/// sign that the manifest is old.
#[test]
fn instances_at_once_share_the_log() {
    let scratch = scratch();
    let orders: String = (0..10).map(|order| format!("{order}\n")).collect();
    scratch.file("orders", orders).pipeline(
        "per = ['day']\n[params]\nday = '1'\n[step.pay]\neach = { lines = 'orders' }\nonce = true\nrun = 'echo {{ params.day }}-{{ item }} >> ledger'",
    );
    scratch.semel("init --bare").exits(0);
    let runs: Vec<_> = (1..=4).map(|day| scratch.start(&format!("run -p day={day}"))).collect();
    for run in runs {
        run.end().exits(0).keeps_silent_of("memory");
    }
    for day in 1..=4 {
        scratch.semel(&format!("run -p day={day}")).exits(0).says("nothing to do");
    }
    assert_eq!(scratch.text(".semel/once.log").lines().count(), 80);
    scratch.sh("rm .semel/manifest.db*");
    for day in 1..=4 {
        scratch.semel(&format!("run -p day={day}")).exits(0);
    }
    assert_eq!(ledger(&scratch).split(' ').count(), 40);
}
