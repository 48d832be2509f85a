//! Killed in any moment, with all its commands; run again; byte for byte the
//! reference, and what was done is not done again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use semel_testkit::{Gate, eventually, kill_tree};

use crate::{days, ran, scratch, trace};

#[test]
fn killed_in_the_middle_and_run_again_gives_the_reference() {
    let reference = days();
    reference.semel("run").exits(0);
    trace(&reference);

    let scratch = days();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.sh("cp semel.toml good.toml");
    let text = scratch.text("semel.toml").replace(
        "{{ out }}; echo clean",
        &format!(
            "{{{{ out }}}}; [ {{{{ item.stem }}}} != 4 ] || {{ {}; }}; echo clean",
            gate.wait()
        )
        .replace('\'', ""),
    );
    scratch.file("semel.toml", text);
    let running = scratch.start("run -j 1");
    gate.until_arrived();
    running.kill();
    let before = scratch.snapshot();
    scratch.sh("mv good.toml semel.toml; rm gate.*");
    // The command that was killed is another than the one that goes on; what was
    // done by it is settled, so that only the rest is run.
    scratch
        .semel_words([
            "done",
            "clean:raw/1.csv",
            "clean:raw/2.csv",
            "clean:raw/3.csv",
            "--because",
            "the gate",
        ])
        .exits(0);
    trace(&scratch);
    scratch.semel("run").exits(0).says("run 1 was killed: 1 half attempt cleaned up");
    let after = scratch.snapshot();
    for day in 1..=3 {
        let path = PathBuf::from(format!("clean/{day}.csv"));
        assert_eq!(after[&path], before[&path], "finished days are untouched");
    }
    assert_eq!(trace(&scratch).first(), Some(&("clean".to_owned(), 2)));
    assert_eq!(scratch.text("outbox"), "told\n");
    assert_eq!(contents(&scratch), contents(&reference));
}

/// What a run leaves, but for what only the tests write.
fn contents(scratch: &semel_testkit::Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
    let ours = ["trace", "semel.toml"].map(PathBuf::from);
    scratch.contents().into_iter().filter(|(path, _)| !ours.contains(path)).collect()
}

/// The whole group is killed after every commit and publication in turn: each is
/// a change in the folder that a watcher can see.
#[test]
fn killed_after_any_of_its_outputs_appeared() {
    let reference = days();
    reference.semel("run").exits(0);
    let outputs: Vec<PathBuf> = reference
        .contents()
        .into_keys()
        .filter(|path| {
            path.starts_with("clean")
                || path.starts_with("sum")
                || path == &PathBuf::from("report.txt")
                || path == &PathBuf::from("outbox")
        })
        .collect();
    assert_eq!(outputs.len(), 12);
    for output in outputs {
        let scratch = days();
        let running = scratch.start("run -j 1");
        eventually("the output appears", || scratch.has(&output));
        kill_tree(running.pid());
        let _ = running.end();
        let again = scratch.semel("run");
        if again.status == 3 {
            // Killed while it told: only a human knows, and the file says it did.
            let verb = if scratch.has("outbox") { "done" } else { "redo" };
            scratch.semel_words([verb, "tell", "--because", "so the outbox says"]).exits(0);
            scratch.semel("run").exits(0);
        } else {
            let _ = again.exits(0);
        }
        assert_eq!(contents(&scratch), contents(&reference), "killed after {}", output.display());
        scratch.semel("run --expect-noop").exits(0);
        assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    }
}

#[test]
fn a_finished_task_is_not_repeated_when_a_later_one_is_killed() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = 'echo a >> trace'\n[step.b]\nafter = ['a']\nrun = '''echo b >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("a", 1), ("b", 2)]));
}

#[test]
fn what_an_interrupted_command_printed_is_kept() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.talk]\nrun = '''seq 20000; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    eventually("what it printed is on disk", || {
        std::fs::read_dir(scratch.path().join(".semel/staging")).unwrap().flatten().any(|run| {
            std::fs::read_to_string(run.path().join("1.log"))
                .is_ok_and(|text| text.ends_with("20000\n"))
        })
    });
    eventually("its beginning is noted", || scratch.query("select count(*) from attempt") == ["1"]);
    running.kill();
    scratch.semel("status").exits(1).says("run 1 was killed");
    scratch.file("open", "").semel("run").exits(0);
    let first = scratch.semel("log 1").exits(0).says("interrupted");
    assert!(first.stdout.ends_with("\n20000\n"));
}

#[test]
fn an_output_published_without_its_receipt_is_adopted() {
    let scratch = scratch();
    scratch.file("in", "x").pipeline(
        "[step.make]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; echo make >> trace'",
    );
    scratch.semel("run").exits(0);
    trace(&scratch);
    // As if killed between the rename and the receipt.
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch(
        "pragma foreign_keys = on; delete from receipt; update attempt set open = 1, ending = null",
    )
    .unwrap();
    drop(db);
    scratch.semel("run").exits(0).says("found done: its output carries the proof");
    assert_eq!(trace(&scratch), ran(&[]));
}

#[test]
fn staging_of_a_run_that_lives_is_left_alone() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "per = ['month']\n[params]\nmonth = '01'\n[step.make]\nout = 'out-{{{{ params.month }}}}'\nrun = '''echo x > {{{{ out }}}}; [ {{{{ params.month }}}} = 02 ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    scratch.semel("run -p month=02").exits(0);
    gate.open();
    running.end().exits(0);
    assert_eq!(scratch.text("out-01"), "x\n");
}

/// The old output is back before anything is begun: the command that is run again
/// finds it, not what its killed self left.
#[test]
fn i9_what_a_killed_command_overwrote_in_place_is_back_before_the_next_one_begins() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("in", "old").file("open", "").pipeline(&format!(
        "[step.make]\nin = 'in'\nout = ['table', 'parts/']\nin-place = true\nrun = '''
mkdir -p parts; cat table parts/* >> found 2> /dev/null || true
echo half > table; rm -f parts/*; echo half > parts/new
[ -e open ] || {{ {}; }}
cat {{{{ in }}}} > table; rm parts/*; cat {{{{ in }}}} > parts/a'''",
        gate.wait()
    ));
    scratch.semel("run").exits(0);
    scratch.remove("open").remove("found").file("in", "new");
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    assert_eq!(scratch.text("table"), "half\n");
    scratch.file("open", "").remove("found");
    scratch
        .semel("run")
        .exits(0)
        .says("run 2 was killed: 1 half attempt cleaned up")
        .says("displaced/2/table");
    assert_eq!(scratch.text("found"), "oldold", "it began with what was there before");
    assert_eq!(scratch.list("parts"), ["a"]);
    assert_eq!(scratch.text("table") + &scratch.text("parts/a"), "newnew");
    assert_eq!(scratch.text(".semel/displaced/2/table"), "half\n");
    scratch.semel("run").exits(0).says("nothing to do");
}

/// The list of staging folders on other file systems may be torn by a full disk or a
/// power cut: the beginning of a path is the path of somebody else's folder.
#[test]
fn i8_a_torn_list_of_staging_folders_clears_nobody_elses() {
    let scratch = scratch();
    scratch.pipeline("[step.make]\nout = 'out'\nrun = 'echo x > {{ out }}'");
    scratch.semel("run").exits(0);
    let folder = scratch.path().display().to_string();
    let dead = ".semel/staging/01234567-dead";
    let list = format!("{folder}/far/.semel-01234567-dead\0{folder}/precious");
    scratch.file(format!("{dead}/elsewhere"), list);
    scratch.file("far/.semel-01234567-dead/1/half", "half").file("precious/file", "precious");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("precious/file"), "precious");
    assert!(!scratch.has("far/.semel-01234567-dead") && !scratch.has(dead));
}
