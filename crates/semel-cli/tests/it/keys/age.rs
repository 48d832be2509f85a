//! What makes a receipt count, or not: `max-age`, `digest`, `deterministic`.

use super::{in_manifest, lines, pipeline};

const FETCH: &str = "[step.fetch]\nmax-age = '20h'\nout = 'raw.csv'\nrun = 'cat world > {{ out }}; echo fetch >> trace'\n[step.clean]\nin = { outputs-of = 'fetch' }\nout = 'clean.csv'\nrun = 'cp {{ in }} {{ out }}; echo clean >> trace'";

fn aged(scratch: &semel_testkit::Scratch, hours: i32) {
    in_manifest(
        scratch,
        &format!("update receipt set at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '{hours} hours')"),
    );
}

#[test]
fn f6_what_is_older_than_its_age_is_fetched_again() {
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    scratch.file("world", "tuesday\n");
    scratch.semel("run --expect-noop").exits(0);
    aged(&scratch, -19);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean"]);
    aged(&scratch, -21);
    scratch.semel("plan").exits(0).says("too old");
    scratch.semel("why fetch").exits(0).says("old");
    scratch.semel("run --expect-noop").exits(6).says("too old");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean", "fetch", "clean"]);
    assert_eq!(scratch.text("clean.csv"), "tuesday\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn what_comes_out_the_same_runs_nothing_below() {
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    aged(&scratch, -21);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean", "fetch"]);
}

#[test]
fn an_old_output_proves_nothing() {
    // Its receipt is gone, but its stamp is there: it may be of any age.
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    in_manifest(&scratch, "pragma foreign_keys = on; delete from receipt where step = 'fetch'");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean", "fetch"]);
}

#[test]
fn an_age_of_nothing_is_done_in_every_run_and_is_boring_all_the_same() {
    let scratch = pipeline(&FETCH.replace("20h", "0"));
    scratch.file("world", "monday\n");
    for _ in 0..3 {
        scratch.semel("run").exits(0);
    }
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean", "fetch", "fetch"]);
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 4, "it starts nothing");
    // What else there is to do still counts.
    scratch.remove("clean.csv").semel("run --expect-noop").exits(6);
}

#[test]
fn a_clock_that_jumps_is_no_reason_to_run_or_to_skip_for_ever() {
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    // A receipt of the future is of no age that can be known.
    aged(&scratch, 24 * 365);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["fetch", "clean", "fetch"]);
    scratch.semel("run --expect-noop").exits(0);
    // A few minutes ahead are a clock that was set.
    in_manifest(&scratch, "update receipt set at = '0001-01-01T00:00:00Z'");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 4);
    in_manifest(&scratch, "update receipt set at = '9999-12-30T00:00:00Z'");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 5);
}

#[test]
fn twins_grow_old_together() {
    let scratch = pipeline(
        "[step.a]\neach = 'x/*'\nmax-age = '1h'\nout = 'y/{{ item.name }}'\nrun = 'cat {{ item }} world > {{ out }}; echo a >> trace'",
    );
    scratch.file("x/1", "same").file("x/2", "same").file("world", "1").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 1, "one piece of work");
    scratch.file("world", "2");
    aged(&scratch, -2);
    scratch.semel("run").exits(0);
    assert_eq!((&*scratch.text("y/1"), &*scratch.text("y/2")), ("same2", "same2"));
    // A new twin of an old task is no way round its age.
    aged(&scratch, -2);
    scratch.file("world", "3").file("x/3", "same").semel("run").exits(0);
    assert_eq!(scratch.text("y/3"), "same3");
    assert_eq!(scratch.text("y/1"), "same3");
}

#[test]
fn done_by_a_humans_word_is_as_young_as_that_word() {
    let scratch = pipeline("[step.a]\nmax-age = '1h'\nrun = 'echo a >> trace'");
    scratch.semel("run").exits(0);
    aged(&scratch, -2);
    scratch.semel_words(["done", "a", "--because", "by hand"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 1);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn status_says_that_a_step_is_too_old() {
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    scratch.semel("status").exits(0);
    aged(&scratch, -21);
    in_manifest(
        &scratch,
        "update run set ended = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-21 hours'), began = ended",
    );
    scratch.semel("status -q --max-age 20h").exits(1);
}

#[test]
fn status_counts_a_step_that_is_too_old_by_its_own_age() {
    let scratch = pipeline(FETCH);
    scratch.file("world", "monday\n").semel("run").exits(0);
    aged(&scratch, -21);
    scratch.semel("status").exits(1).says("too old");
}

const STAT: &str = "[step.a]\neach = 'x/*'\nin = 'big'\ndigest = 'stat'\nout = 'y/{{ item.name }}'\nrun = 'cat {{ item }} {{ in }} > {{ out }}; echo a >> trace'";

#[test]
fn by_stat_a_file_is_not_read() {
    let scratch = pipeline(STAT);
    scratch.file("x/1", "aaaa").file("big", "BBBB").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    // Other bytes of the same size, time and inode are not seen: that was chosen.
    scratch.sh("touch -r big ref; printf CCCC | dd of=big conv=notrunc status=none; touch -r ref big; rm ref");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 1);
    // Touched, it is another.
    scratch.sh("touch -d '2001-01-01' big").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    assert_eq!(scratch.text("y/1"), "aaaaCCCC");
    // The same bytes under another inode are another, too.
    scratch.sh("cp -p x/1 x/new; mv x/new x/1").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 3);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn by_stat_the_receipt_says_so() {
    let scratch = pipeline(STAT);
    scratch.file("x/1", "aaaa").file("big", "BBBB").semel("run").exits(0);
    let inputs = scratch.query("select sha256 from file where role = 'in'");
    assert_eq!(inputs.len(), 2);
    assert!(inputs.iter().all(|sha256| sha256.starts_with("stat:")), "{inputs:?}");
    let outs = scratch.query("select sha256 from file where role = 'out'");
    assert!(outs.iter().all(|sha256| !sha256.starts_with("stat:") && sha256.len() == 64));
    let given = scratch.query("select json from part").join("\n");
    assert!(given.contains("stat"), "{given}");
    scratch.semel("why a:x/1").exits(0).says("stat");
}

#[test]
fn a_change_from_content_to_stat_and_back_is_said() {
    let scratch = pipeline(&STAT.replace("digest = 'stat'\n", ""));
    scratch.file("x/1", "aaaa").file("big", "BBBB").semel("run").exits(0);
    scratch.pipeline(STAT).semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.pipeline(&STAT.replace("'stat'", "'content'")).semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn by_stat_two_files_are_two_though_their_bytes_are_equal() {
    let scratch = pipeline(STAT);
    scratch.file("x/1", "same").file("x/2", "same").file("big", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    scratch.semel("run --expect-noop").exits(0);
}

const LETTER: &str = "[step.draw]\ndeterministic = false\nout = 'lot'\nrun = 'echo $$ > {{ out }}; echo draw >> trace'\n[step.tell]\nin = { outputs-of = 'draw' }\nout = 'told'\nrun = 'cp {{ in }} {{ out }}'";

#[test]
fn f32_what_cannot_be_made_the_same_again_is_not_made_anew() {
    let scratch = pipeline(LETTER);
    scratch.semel("run").exits(0);
    scratch.file("lot", "7\n");
    let ran = scratch.semel("run").exits(3).says("semel done draw").says("semel redo draw");
    assert_eq!((lines(&scratch, "trace").len(), &*scratch.text("lot")), (1, "7\n"), "{ran:?}");
    insta::assert_snapshot!("altered", ran.shown());
    scratch.semel_words(["done", "draw", "--because", "seven it is"]).exits(0);
    scratch.semel("run").exits(0);
    assert_eq!((&*scratch.text("lot"), &*scratch.text("told")), ("7\n", "7\n"));
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("lot", "8\n").semel("run").exits(3);
    scratch.semel_words(["redo", "draw", "--because", "not eight"]).exits(0);
    scratch.semel("run").exits(0);
    assert_ne!(scratch.text("lot"), "8\n");
    assert_eq!(lines(&scratch, "trace").len(), 2);
}

#[test]
fn f32_what_is_missing_is_repaired() {
    let scratch = pipeline(LETTER);
    scratch.semel("run").exits(0);
    scratch.remove("lot").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    assert_eq!(scratch.text("lot"), scratch.text("told"));
}

#[test]
fn f32_its_command_may_still_change() {
    let scratch = pipeline(LETTER);
    scratch.semel("run").exits(0);
    scratch.pipeline(&LETTER.replace("echo draw", "echo  draw")).semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
}
