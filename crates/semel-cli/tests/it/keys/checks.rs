//! `check` in all its forms: who is asked, how often, and what is believed.

use semel_testkit::Gate;

use super::{in_manifest, lines, pipeline};

const SHA_OF_X: &str = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac"; // x\n

#[test]
fn a_file_with_a_digest_is_proof() {
    let text = format!(
        "[step.a]\ncheck = {{ file = 'made', sha256 = '{SHA_OF_X}' }}\nrun = 'echo x > made; echo a >> trace'"
    );
    let scratch = pipeline(&text);
    scratch.file("made", "x\n").semel("run").exits(0).says("adopt");
    assert!(!scratch.has("trace"));
    scratch.file("made", "y\n").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.remove("made").semel("run").exits(0);
    assert_eq!((lines(&scratch, "trace").len(), &*scratch.text("made")), (2, "x\n"));
    let scratch = pipeline(&text.replace("echo x", "echo z").replace("73cb", "73CB"));
    scratch.semel("run").exits(1).says("check");
}

#[test]
fn a_file_that_is_a_folder_cannot_be_judged() {
    let scratch = pipeline(&format!(
        "[step.a]\ncheck = {{ file = 'made', sha256 = '{SHA_OF_X}' }}\nrun = 'echo a >> trace'"
    ));
    scratch.sh("mkdir made").semel("run").exits(5).says("made");
    assert!(!scratch.has("trace"));
}

#[test]
fn a_file_may_be_named_by_item_and_parameter() {
    let scratch = pipeline(
        "[params]\nof = '73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac'\n[step.a]\neach = { lines = 'l' }\ncheck = { file = 'at/{{ item }}', sha256 = '{{ params.of }}' }\nrun = 'mkdir -p at; echo x > at/{{ item }}; echo {{ item }} >> trace'",
    );
    scratch.file("l", "a b\nc\n").file("at/a b", "x\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["c"]);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn what_comes_true_later_is_waited_for() {
    let scratch = pipeline(
        "[step.a]\ncheck = { run = 'echo asked >> asked; [ $(wc -l < asked) -ge 4 ] && echo t || echo f', equals = 't', within = '20s' }\nrun = 'echo a >> trace'",
    );
    scratch.semel("run").exits(0);
    assert_eq!((lines(&scratch, "trace").len(), lines(&scratch, "asked").len()), (1, 4));
}

#[test]
fn what_never_comes_true_has_failed() {
    let scratch = pipeline(
        "[step.a]\nout = 'made'\ncheck = { run = 'echo f', equals = 't', within = '120ms' }\nrun = 'echo new > {{ out }}'",
    );
    scratch.file("made", "old\n").semel("run").exits(1).says("check");
    assert_eq!(scratch.text("made"), "old\n", "what was displaced is put back");
}

#[test]
fn a_check_that_hangs_cannot_tell() {
    let scratch = pipeline(
        "[step.a]\ncheck = { run = 'sleep 60', timeout = '100ms' }\nrun = 'echo a >> trace'",
    );
    scratch.semel("run").exits(5).says("no answer within");
    assert!(!scratch.has("trace"));
}

#[test]
fn a_check_that_cannot_tell_is_asked_again() {
    let text = "[step.a]\ncheck = { run = 'echo asked >> asked; [ $(wc -l < asked) -ge 3 ] || exit 9; echo t', equals = 't', retry = { times = N, wait = '1ms' } }\nrun = 'echo a >> trace'";
    let scratch = pipeline(&text.replace('N', "2"));
    scratch.semel("run").exits(0).says("adopt");
    assert_eq!(lines(&scratch, "asked").len(), 3);
    assert!(!scratch.has("trace"));
    let scratch = pipeline(&text.replace('N', "1"));
    scratch.semel("run").exits(5).says("exit status 9");
    assert_eq!(lines(&scratch, "asked").len(), 2);
    // A no is an answer.
    let scratch = pipeline(
        "[step.a]\ncheck = { run = 'echo asked >> asked; [ -e made ]', retry = { times = 5, wait = '1ms' } }\nrun = 'touch made'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 2);
}

const BELIEVED: &str = "[step.a]\nin = 'in'\ncheck = { run = 'echo asked >> asked; [ -e made ]', max-age = '1h' }\nrun = 'touch made; echo a >> trace'";

#[test]
fn f33_an_answer_is_believed_for_a_while() {
    let scratch = pipeline(BELIEVED);
    scratch.file("in", "1").semel("run").exits(0);
    let asked = |scratch: &semel_testkit::Scratch| lines(scratch, "asked").len();
    let first = asked(&scratch);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0);
    let believed = asked(&scratch);
    assert!(believed <= first + 1, "asked {believed} times");
    // Nobody looks, so nobody sees.
    scratch.remove("made").semel("run").exits(0);
    assert_eq!(asked(&scratch), believed);
    // Its time is over.
    let ago = "set at = strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours')";
    in_manifest(&scratch, &format!("update answer {ago}; update receipt {ago}"));
    scratch.semel("run").exits(0);
    assert!(asked(&scratch) > believed);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    assert!(scratch.has("made"));
}

#[test]
fn f33_after_another_input_nothing_is_believed() {
    let scratch = pipeline(BELIEVED);
    scratch.file("in", "1").semel("run").exits(0);
    scratch.semel("run").exits(0);
    let before = lines(&scratch, "asked").len();
    scratch.file("in", "2").semel("run").exits(0);
    assert!(lines(&scratch, "asked").len() > before);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    // After the action it is asked, always.
    scratch.pipeline(&BELIEVED.replace("touch made", "rm -f made"));
    scratch.semel("run").exits(1).says("check");
}

#[test]
fn f33_an_answer_of_the_future_is_not_believed() {
    let scratch = pipeline(BELIEVED);
    scratch.file("in", "1").semel("run").exits(0);
    in_manifest(&scratch, "update receipt set at = '9999-12-30T00:00:00Z'");
    scratch.remove("made").semel("run").exits(0);
    assert!(scratch.has("made"));
}

const ALL: &str = "[step.a]\neach = { lines = 'l' }\ncheck = { run = 'echo asked >> asked; ls there', all = true }\nrun = 'touch there/{{ item }}; echo {{ item }} >> trace'";

#[test]
fn f33_one_call_answers_for_all_items() {
    let scratch = pipeline(ALL);
    scratch.file("l", "a b\nc\nd\n").sh("mkdir there; touch 'there/a b' there/d");
    scratch.semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["c"]);
    // Once for all, and once after the action of `c`.
    assert_eq!(lines(&scratch, "asked").len(), 2);
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(lines(&scratch, "asked").len(), 3);
    scratch.sh("rm 'there/a b' there/d").semel("run -j 1").exits(0);
    assert_eq!(lines(&scratch, "trace")[1..], ["a b", "d"]);
    assert_eq!(lines(&scratch, "asked").len(), 6);
}

#[test]
fn f33_an_item_that_all_does_not_name_after_its_action_has_failed() {
    let scratch = pipeline(&ALL.replace("touch there/", ": "));
    scratch.file("l", "a\nb\n").sh("mkdir there; touch there/b");
    scratch.semel("run").exits(1).says("a:a").says("check");
    let scratch = pipeline(&ALL.replace("ls there", "ls nowhere"));
    scratch.file("l", "a\n").semel("run").exits(5).says("nowhere");
    assert!(!scratch.has("trace"));
}

/// No line of the answer can name it: it would be done again in every run.
#[test]
fn f33_all_cannot_tell_of_an_item_with_a_newline() {
    for (value, says) in [("a\\nb", "a newline in its name"), ("a\\r", "a carriage return")] {
        for once in ["", "\nonce = true"] {
            let text = ALL.replace("lines = 'l'", "json = 'l'");
            let scratch = pipeline(&format!("{text}{once}"));
            scratch.file("l", format!("[\"{value}\", \"c\"]")).sh("mkdir there");
            scratch.semel("run -j 1").exits(5).says("cannot tell").says(says);
            scratch.semel("run -j 1").exits(5).says("cannot tell").says(says);
            assert_eq!(lines(&scratch, "trace"), ["c"], "{value}{once}");
        }
    }
}

#[test]
fn f33_all_with_once_answers_definitely() {
    let scratch = pipeline(&format!("{ALL}\nonce = true"));
    scratch.file("l", "a\nb\n").sh("mkdir there; touch there/b");
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a"]);
    // No word of a check begins a completed `once` task again.
    scratch.sh("rm there/*").semel("run").exits(3);
    assert_eq!(lines(&scratch, "trace"), ["a"]);
}

#[test]
fn a_step_may_be_a_check_alone() {
    let scratch = pipeline(
        "[step.disk]\ncheck = '[ -e mounted ]'\n[step.load]\nneeds = ['disk']\nrun = 'echo load >> trace'",
    );
    scratch.semel("run").exits(1).says("disk").says("blocked");
    assert!(!scratch.has("trace"));
    scratch.semel("plan").exits(0);
    scratch.file("mounted", "").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("status").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["load"]);
    // It held once; now it does not: what needs it is blocked.
    scratch.remove("mounted").semel("run").exits(1).says("blocked");
    scratch.semel("run --expect-noop").exits(6);
    scratch.file("mounted", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["load"]);
}

#[test]
fn a_check_alone_of_which_nobody_can_tell_is_broken() {
    let scratch = pipeline(
        "[step.disk]\ncheck = 'exit 7'\n[step.b]\nafter = ['disk']\nrun = 'echo b >> trace'",
    );
    scratch.semel("run").exits(5).says("exit status 7");
    assert!(!scratch.has("trace"));
}

#[test]
fn a_check_alone_for_each_item() {
    let scratch = pipeline(
        "[step.up]\neach = { lines = 'l' }\ncheck = '[ -e up.{{ item }} ]'\n[step.load]\neach = { items-of = 'up' }\nrun = 'echo {{ item }} >> trace'",
    );
    scratch.file("l", "a\nb\n").file("up.b", "");
    scratch.semel("run").exits(1).says("load blocked: 1 of 2, after up:a");
    assert_eq!(lines(&scratch, "trace"), ["b"]);
    scratch.file("up.a", "").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["b", "a"]);
    // Files, of which two are equal, ask nobody what they are.
    let scratch = pipeline("[step.up]\neach = 'x/*'\ncheck = '[ -s {{ item }} ]'");
    scratch.file("x/1", "1").file("x/2", "1").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_check_alone_may_wait() {
    let scratch = pipeline(
        "[step.up]\ncheck = { run = 'echo asked >> asked; [ $(wc -l < asked) -ge 4 ]', within = '20s' }",
    );
    scratch.semel("run").exits(0);
    assert!(lines(&scratch, "asked").len() >= 4);
}

#[test]
fn once_with_a_definite_check_looks_for_itself() {
    let scratch = pipeline(
        "[step.pay]\nonce = true\ncheck = { run = '[ -e paid ] && echo t || echo f', equals = 't' }\nrun = 'echo pay >> trace; [ -e luck ] && touch paid; exit 1'",
    );
    scratch.semel("run").exits(1);
    // It provably did not happen, so it is done again.
    scratch.semel("run").exits(1);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    // It happened, though the command failed.
    scratch.file("luck", "").semel("run").exits(1);
    scratch.semel("run").exits(0).says("adopt");
    assert_eq!(lines(&scratch, "trace").len(), 3);
    scratch.remove("paid").semel("run").exits(3);
    assert_eq!(lines(&scratch, "trace").len(), 3);
}

#[test]
fn once_whose_check_cannot_tell_is_neither_run_nor_believed() {
    let scratch = pipeline(
        "[step.pay]\nonce = true\ncheck = { run = 'exit 1', equals = 't' }\nrun = 'echo pay >> trace'",
    );
    scratch.semel("run").exits(5).says("exit status 1");
    assert!(!scratch.has("trace"));
}

#[test]
fn the_text_that_is_wanted_may_hold_values() {
    let scratch = pipeline(
        "[params]\nn = '3'\n[step.a]\neach = { lines = 'l' }\ncheck = { run = 'cat made.{{ item }} 2>/dev/null || echo none', equals = '{{ item }} {{ params.n }}' }\nrun = 'echo {{ item }} {{ params.n }} > made.{{ item }}; echo {{ item }} >> trace'",
    );
    scratch.file("l", "a\nb\n").file("made.b", "b 3 \n\n").semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a"]);
    // The parameter is named by the check, so it counts.
    scratch.semel("run -p n=4").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 3);
}

#[test]
fn a_check_in_its_folder_with_its_variables() {
    let scratch = pipeline(
        "[step.a]\ndir = 'w'\nenv = { X = 'x' }\nsecret-env = 'HOME'\ncheck = { run = 'echo $X $SEMEL_TASK $(basename \"$PWD\")', equals = 'x a w' }\nrun = 'echo a >> trace'",
    );
    scratch.sh("mkdir w").semel("run").exits(0).says("adopt");
}

/// Half of an effect can look like all of it to a check: that the command had begun
/// is known however early it dies.
#[test]
fn what_a_check_would_take_for_done_is_made_again_after_a_kill() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.clone]\nrun = '''mkdir -p repo; [ -e open ] || {{ {}; }}; echo data > repo/data'''\ncheck = 'test -d repo'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(0);
    assert_eq!(scratch.text("repo/data"), "data\n");
}

/// What was there before an attempt that failed proves nothing of it.
#[test]
fn a_redo_that_failed_is_not_done_by_what_was_there_before() {
    let text =
        "[step.pay]\nout = 'note'\nrun = 'echo run >> trace; [ ! -e die ]; echo ok > {{ out }}'\n";
    let scratch = pipeline(&text.replace("out =", "once = true\nout ="));
    scratch.semel("run").exits(0);
    scratch.semel_words(["redo", "pay", "--because", "again"]).exits(0);
    scratch.file("die", "").semel("run").exits(1);
    scratch.semel("run").exits(3).says("semel redo pay");
    scratch.remove("die").semel("run").exits(3);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    // What is safe to repeat is tried again, by itself.
    for again in ["run --fresh", "run"] {
        let scratch =
            pipeline(&text.replace("out =", "retry = { times = 1, wait = '1ms' }\nout ="));
        scratch.semel("run").exits(0);
        if again == "run" {
            scratch.semel_words(["redo", "pay", "--because", "again"]).exits(0);
        }
        scratch.file("die", "").semel(again).exits(1);
        scratch.semel("run").exits(1);
        scratch.remove("die").semel("run").exits(0);
        assert_eq!(lines(&scratch, "trace").len(), 1 + 2 + 2 + 1);
        scratch.semel("run --expect-noop").exits(0);
    }
}

/// `undrain` was found done before `drain` undid that in the same run.
#[test]
fn an_answer_for_all_items_is_not_believed_after_a_step_before_acted() {
    let scratch = pipeline(
        "[step.drain]\neach = { lines = 'l' }\nrun = 'while [ -e slow ] && [ ! -e asked ]; do sleep 0.01; done; touch drained.{{ item }}'\n[step.undrain]\neach = { items-of = 'drain' }\ncheck = { run = 'echo asked >> asked; for h in $(cat l); do [ -e drained.$h ] || echo $h; done', all = true }\nrun = 'rm drained.{{ item }}'",
    );
    scratch.file("l", "a\nb\nc\nd\n").semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("redo drain:c --because x").exits(0);
    // What is asked for `a` tells of `c` while that is not drained yet.
    scratch.remove("asked").file("slow", "").semel("run").exits(0);
    assert!(!scratch.has("drained.c"));
    scratch.semel("run --expect-noop").exits(0);
}

/// Nor is it that it held lately.
#[test]
fn a_check_that_held_lately_is_asked_after_a_step_before_acted() {
    let scratch = pipeline(
        "[step.drain]\neach = { lines = 'l' }\nrun = 'touch drained.{{ item }}'\n[step.undrain]\neach = { items-of = 'drain' }\ncheck = { run = 'echo asked >> asked; test ! -e drained.{{ item }}', max-age = '1h' }\nrun = 'rm drained.{{ item }}'",
    );
    scratch.file("l", "a\nb\n").semel("run").exits(0);
    scratch.sh("rm asked").semel("run --expect-noop").exits(0);
    assert!(!scratch.has("asked"), "it is believed");
    scratch.semel("redo drain:b --because x").exits(0);
    scratch.semel("run -j 1").exits(0);
    assert!(!scratch.has("drained.b"));
}

#[test]
fn what_a_check_said_that_does_not_hold_is_told() {
    for (check, says) in [
        ("'echo host001: 503 >&2; exit 1'", "its check does not hold: host001: 503"),
        ("'echo no such row; exit 1'", "its check does not hold: no such row"),
        ("'exit 1'", "its check does not hold\n"),
        ("{ run = 'echo 1.41.0', equals = '1.42.0' }", "does not hold: it printed `1.41.0`"),
        ("{ file = 'gone', sha256 = '0' }", "its check does not hold: `gone` is not there"),
    ] {
        let digest = "73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac";
        let check = check.replace("'0'", &format!("'{digest}'"));
        let scratch = pipeline(&format!("[step.a]\ncheck = {check}\nrun = 'true'"));
        scratch.semel("run").exits(1).says(says);
    }
}
