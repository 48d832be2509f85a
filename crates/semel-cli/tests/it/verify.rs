//! `semel verify`: every effect is read anew and held against its receipt.

use serde_json::Value;

use semel_testkit::Gate;

use crate::{days, scratch};

#[test]
fn all_is_as_the_receipts_say() {
    let days = days();
    days.semel("run").exits(0);
    days.semel("verify").exits(0).says("11 of 11 outputs are as their receipts say");
    let quiet = days.semel("verify -q").exits(0);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
}

#[test]
fn what_is_missing_and_what_is_altered_is_named_with_its_run_and_its_cure() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/3.csv", "3,301\n").file("clean/4.csv", "4,4000\n").remove("sum/2.txt");
    insta::assert_snapshot!("verify", days.semel("verify").exits(1).shown());
    assert_eq!(days.semel("verify -q").exits(1).stdout.lines().count(), 13, "all of it");
    days.semel("run").exits(0);
    days.semel("verify").exits(0);
}

#[test]
fn i5_verify_changes_nothing_at_all() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/3.csv", "3,301\n");
    let before = (days.snapshot(), days.list(".semel/lock"));
    let receipts = days.query("select * from receipt");
    days.semel("verify").exits(1);
    assert_eq!((days.snapshot(), days.list(".semel/lock")), before);
    assert_eq!(days.query("select * from receipt"), receipts);
    assert_eq!(days.query("select count(*) from run"), ["1"]);
}

/// Bytes that rot change no times: a run believes what it remembers, verify does not.
#[test]
fn no_remembered_digest_is_believed() {
    use std::os::unix::fs::MetadataExt as _;
    let days = days();
    days.semel("run").exits(0);
    let path = days.path().join("clean/3.csv");
    days.file("clean/3.csv", "3,301\n");
    let meta = path.metadata().unwrap();
    let db = rusqlite::Connection::open(days.path().join(".semel/digests.db")).unwrap();
    let changed = db
        .execute(
            "update seen set size = ?, mtime = ?, ctime = ?, inode = ? where path = ?",
            rusqlite::params![
                meta.size().cast_signed(),
                meta.mtime() * 1_000_000_000 + meta.mtime_nsec(),
                meta.ctime() * 1_000_000_000 + meta.ctime_nsec(),
                meta.ino().cast_signed(),
                &b"clean/3.csv"[..],
            ],
        )
        .unwrap();
    assert_eq!(changed, 1, "it was remembered");
    drop(db);
    days.semel("run").exits(0).says("nothing to do");
    days.semel("verify").exits(1).says("its times say it is the same").says("semel run --rehash");
    days.semel("run --rehash").exits(0);
    days.semel("verify").exits(0);
}

#[test]
fn only_what_is_asked_for_is_read() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/3.csv", "3,301\n");
    days.semel("verify sum").exits(0).says("5 of 5 outputs");
    days.semel("verify clean:raw/[1-2].csv").exits(2).says("there is no task");
    days.semel_words(["verify", "clean:raw/*"]).exits(1).says("1 of 5 outputs are not");
    days.semel("verify clean:raw/2.csv clean:raw/4.csv").exits(0).says("2 of 2 outputs");
    days.semel("verify claen").exits(2).says("did you mean `clean`?");
}

#[test]
fn what_was_done_once_is_not_done_again_on_a_guess() {
    let scratch = scratch();
    scratch.pipeline("[step.pay]\nonce = true\nout = 'paid.txt'\nrun = 'echo 100 > {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.file("paid.txt", "1000\n");
    let ran = scratch.semel("verify").exits(1);
    ran.clone().says("semel why pay").says("semel done pay --because").keeps_silent_of("semel run");
    ran.says("semel redo pay --because '...'");
}

#[test]
fn checks_are_asked_and_what_cannot_be_told_is_said() {
    let scratch = scratch();
    scratch.file("in/1", "1").file("in/2", "2").pipeline(
        "[step.load]\ncheck = 'test -e loaded'\nrun = 'touch loaded'\n\
         [step.each]\neach = 'in/*'\nsame = 'content'\ncheck = 'test $(cat answer) = 0 || exit $(cat answer)'\nrun = 'echo 0 > answer'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("verify").exits(0).says("3 of 3 checks hold");
    scratch.remove("loaded");
    scratch.semel("verify").exits(1).says("missing  load").says("1 of 3 checks do not hold");
    scratch.file("answer", "7");
    scratch.semel("verify").exits(5).says("cannot tell: exit status 7");
    scratch.semel("verify load").exits(1);
}

#[test]
fn a_folder_is_read_with_all_that_is_in_it() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.site]\nout = 'site/'\nrun = 'mkdir -p {{ out }}/a; echo x > {{ out }}/a/index.html'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("verify").exits(0);
    scratch.file("site/CNAME", "example.com\n");
    scratch.semel("verify").exits(1).says("altered  site").says("2 bytes -> 14 bytes");
    scratch.remove("site").file("site", "a file\n");
    scratch.semel("verify").exits(1).says("altered  site");
}

#[test]
fn json_gives_a_verdict_for_each_output() {
    let days = days();
    days.semel("run").exits(0);
    days.file("clean/3.csv", "3,301\n").remove("sum/2.txt");
    let ran = days.semel("verify --json").exits(1);
    let lines: Vec<Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of =
        |path: &str| lines.iter().find(|line| line["path"] == path).unwrap()["verdict"].clone();
    assert_eq!(lines.len(), 12);
    assert_eq!(
        [of("clean/1.csv"), of("clean/3.csv"), of("sum/2.txt")],
        ["same", "altered", "missing"]
    );
    let all = &lines[11];
    assert_eq!((&all["exit"], &all["outputs"], &all["same"]), (&1.into(), &11.into(), &9.into()));
}

#[test]
fn what_is_gone_with_its_item_is_not_missed() {
    let days = days();
    days.semel("run").exits(0);
    days.remove("raw/5.csv").semel("run").exits(0);
    // Still there, and as they were: nothing to say.
    days.semel("verify").exits(0).says("11 of 11 outputs");
    days.file("clean/5.csv", "by hand\n");
    days.semel("verify").exits(1).says("in run 1, which is gone").says("semel prune");
    days.remove("clean/5.csv").remove("sum/5.txt");
    days.semel("verify").exits(0).says("2 outputs of tasks that are gone, and gone too");
}

#[test]
fn receipts_are_verified_though_their_list_cannot_be_read() {
    let days = days();
    days.semel("run").exits(0);
    days.remove("raw").file("clean/3.csv", "3,301\n");
    let ran = days.semel("verify").exits(1).says("1 of 11 outputs are not");
    ran.says("which tasks `clean` has now: step `clean` has no items");
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_file_that_is_altered() {
    let days = days();
    days.semel("run").exits(0);
    // A name that is too long for the system is refused by it, even for root.
    let long = "x".repeat(300);
    let db = rusqlite::Connection::open(days.path().join(".semel/manifest.db")).unwrap();
    db.execute("update file set path = ? where role = 'out' and path = 'clean/3.csv'", [&long])
        .unwrap();
    drop(db);
    days.semel("verify").exits(5).says("broken   ").says("1 not to be read");
}

#[test]
fn a_run_that_is_at_work_is_told_of() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline("[step.a]\nout = 'a'\nrun = 'echo a > {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.pipeline(&format!(
        "[step.a]\nout = 'a'\nrun = '''{}; echo b > {{{{ out }}}}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("verify").exits(0).says("at work   pid");
    gate.open();
    running.end().exits(0);
    scratch.semel("verify").exits(0).keeps_silent_of("at work");
}

#[test]
fn where_there_is_no_manifest_it_says_what_to_type() {
    let days = days();
    days.semel("verify").exits(5).says("there is none").says("semel run");
    assert!(!days.has(".semel"));
}

#[test]
fn a_check_for_all_items_is_asked_once() {
    let scratch = scratch();
    scratch.file("list", "id\na\nb\nc\n").pipeline(
        "[step.load]\neach = { csv = 'list', name = 'id' }\ncheck = { run = 'echo asked >> asked; cat loaded 2> /dev/null || true', all = true }\nrun = 'echo {{ item }} >> loaded'",
    );
    scratch.semel("run").exits(0);
    scratch.file("asked", "");
    scratch.semel("verify").exits(0).says("3 of 3 checks hold");
    assert_eq!(scratch.text("asked"), "asked\n");
    scratch.file("loaded", "a\nc\n");
    scratch.semel("verify").exits(1).says("missing  load:b  its check does not hold");
}

#[test]
fn a_check_is_asked_though_an_input_that_it_does_not_read_is_gone() {
    let scratch = scratch();
    scratch.file("in/1", "1").pipeline(
        "[step.load]\nin = 'in/1'\ncheck = 'test -e loaded'\nrun = 'cat {{ in }} > loaded'\n\
         [step.size]\nin = 'in/1'\ncheck = 'test $(cat {{ in }}) = 1'\nrun = 'cat {{ in }} > /dev/null'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("verify").exits(0).says("2 of 2 checks hold");
    scratch.remove("in/1");
    let ran = scratch.semel("verify").exits(5).says("1 of 2 checks cannot tell");
    ran.says("size  its check cannot tell: an input that is not there").keeps_silent_of("load ");
}

#[test]
fn what_secrets_a_check_prints_is_masked() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\nsecret-env = ['TOKEN']\ncheck = 'test ! -e wrong || { echo it is $TOKEN >&2; exit 9; }'\nrun = 'true'",
    );
    let semel = |words: &[&str]| {
        let mut command = scratch.command(words);
        command.env("TOKEN", "hunter2hunter2");
        scratch.ran(command)
    };
    semel(&["run"]).exits(0);
    scratch.file("wrong", "");
    semel(&["verify"]).exits(5).says("exit status 9").keeps_silent_of("hunter2");
}

/// What was done under a former name is verified, too.
#[test]
fn what_was_done_under_a_former_name_is_verified() {
    for (renamed, once) in [("b", false), ("b", true), ("a", false)] {
        let scratch = scratch();
        let once = if once { "once = true\n" } else { "" };
        let step = |name: &str, more: &str| {
            format!("[step.{name}]\n{more}{once}out = 'o'\nrun = 'echo 1 > {{{{ out }}}}'\n")
        };
        scratch.file("semel.toml", format!("name = 'old'\n{}", step("a", "")));
        scratch.semel("run").exits(0);
        let (was, more) =
            if renamed == "a" { ("was = 'old'\n", "") } else { ("was = 'old'\n", "was = 'a'\n") };
        scratch.file("semel.toml", format!("name = 'new'\n{was}{}", step(renamed, more)));
        scratch.semel("run").exits(0);
        scratch.semel("verify -q").exits(0);
        scratch.semel("verify").exits(0).says("1 of 1 output");
        scratch.file("o", "garbage");
        scratch.semel("verify -q").exits(1).says("o");
        scratch.remove("o").semel("verify").exits(1);
        scratch.semel_words(["verify", renamed]).exits(1);
    }
}

/// A check that is believed for an hour is not asked by a run, unless it is told to.
#[test]
fn what_mends_a_check_that_is_believed_still_asks_it() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.a]\ncheck = { run = 'test -e w', max-age = '1h' }\nrun = 'touch w; echo a >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.remove("w").semel("verify").exits(1).says("semel run --rehash ");
    scratch.semel("run").exits(0);
    assert!(!scratch.has("w"), "it is believed");
    scratch.semel("plan").exits(0).says("nothing would run");
    scratch.semel("plan --rehash").exits(0).says("1 of 1 task would run");
    scratch.semel("run --rehash").exits(0);
    assert!(scratch.has("w"), "it was asked");
    scratch.semel("verify").exits(0);
    // One that is asked each time needs no such word.
    scratch.pipeline("[step.a]\ncheck = { run = 'test -e w' }\nrun = 'touch w; echo a >> trace'");
    scratch.semel("run").exits(0);
    scratch.remove("w").semel("verify").exits(1).says("semel run ").keeps_silent_of("--rehash");
}
