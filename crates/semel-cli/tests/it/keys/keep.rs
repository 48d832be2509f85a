//! Ways out and long lists: `--keep`, `--only-failed`, `{{ in.list }}`.

use super::{lines, pipeline};

const TWO: &str = "[step.clean]\neach = 'raw/*'\nout = 'clean/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}; echo clean >> trace'\n[step.sum]\nin = { outputs-of = 'clean' }\nout = 'sum'\nrun = 'cat {{ in }} > {{ out }}; echo sum >> trace'";

fn done() -> semel_testkit::Scratch {
    let scratch = pipeline(TWO);
    scratch.file("raw/1", "1").file("raw/2", "2").semel("run").exits(0);
    scratch.file("trace", "");
    scratch.pipeline(&TWO.replace("cp {{ item }}", "cp -p {{ item }}"));
    scratch
}

#[test]
fn what_is_kept_is_done_by_the_new_command() {
    let scratch = done();
    scratch.semel("plan").exits(0).says("--keep clean");
    scratch.semel("plan --keep clean").exits(0).keeps_silent_of("would run, ");
    scratch.semel("run --keep clean").exits(0).says("adopt");
    assert!(lines(&scratch, "trace").is_empty());
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("plan").exits(0).says("nothing");
}

#[test]
fn the_notice_comes_before_the_first_task_of_it() {
    let scratch = done();
    let ran = scratch.semel("run").exits(0).says("--keep clean");
    let notice = ran.stderr.find("--keep clean").unwrap();
    let first = ran.stderr.find("clean done").unwrap_or(ran.stderr.len());
    assert!(notice < first, "{ran:?}");
    let scratch = done();
    insta::assert_snapshot!("command_changed", scratch.semel("run -j 1").exits(0).shown());
}

#[test]
fn what_is_missing_or_altered_is_repaired_though_it_is_kept() {
    let scratch = done();
    scratch.remove("clean/1").file("clean/2", "by hand");
    scratch.semel("run --keep clean").exits(0);
    assert_eq!((&*scratch.text("clean/1"), &*scratch.text("clean/2")), ("1", "2"));
    assert_eq!(lines(&scratch, "trace"), ["clean", "clean"]);
    let kept = super::holding(&scratch.path().join(".semel/displaced"), b"by hand");
    assert_eq!(kept.len(), 1);
}

#[test]
fn another_input_runs_though_it_is_kept() {
    let scratch = done();
    scratch.file("raw/1", "one").semel("run --keep clean").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["clean", "sum"]);
    assert_eq!(scratch.text("sum"), "one2");
}

#[test]
fn one_step_is_kept_and_another_not() {
    let scratch = pipeline(TWO);
    scratch.file("raw/1", "1").semel("run").exits(0);
    scratch.file("trace", "");
    scratch.pipeline(&TWO.replace("cp ", "cp -p ").replace("cat ", "cat -u "));
    scratch.semel("run --keep clean").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["sum"]);
}

#[test]
fn a_step_that_is_not_there_cannot_be_kept() {
    let scratch = done();
    scratch.semel("run --keep claen").exits(2).says("did you mean").says("clean");
    scratch.semel("plan --keep claen").exits(2);
    assert!(lines(&scratch, "trace").is_empty());
}

#[test]
fn what_leaves_nothing_is_kept_on_its_receipt() {
    let text = "[step.a]\nrun = 'echo a >> trace'";
    let scratch = pipeline(text);
    scratch.semel("run").exits(0);
    scratch.pipeline(&text.replace("echo", "echo ")).semel("run --keep a").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 1);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn what_never_was_done_is_done_though_it_is_kept() {
    let scratch = done();
    scratch.file("raw/3", "3").semel("run --keep clean").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["clean", "sum"]);
}

#[test]
fn keep_and_fresh_contradict_one_another() {
    let scratch = done();
    scratch.semel("run --keep clean --fresh").exits(2);
    assert!(lines(&scratch, "trace").is_empty());
}

const FAILING: &str = "[step.up]\nout = 'up'\nrun = 'echo up > {{ out }}; echo up >> trace'\n[step.a]\neach = { lines = 'l' }\nafter = ['up']\nrun = 'echo {{ item }} >> trace; [ ! -e bad.{{ item }} ]'\n[step.end]\nafter = ['a']\nrun = 'echo end >> trace'\n[step.other]\nin = 'in'\nrun = 'echo other >> trace'";

#[test]
fn f36_only_what_failed_is_tried() {
    let scratch = pipeline(FAILING);
    scratch.file("l", "1\n2\n3\n").file("bad.2", "").file("in", "x").semel("run").exits(1);
    scratch.file("trace", "").remove("bad.2").file("in", "y");
    scratch.semel("plan --only-failed").exits(0).says("a:2");
    scratch.semel("run --only-failed").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["2"]);
    scratch.semel("run --only-failed").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["2"]);
    scratch.semel("run").exits(0);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["2", "end", "other"]);
}

#[test]
fn f36_what_is_before_it_is_looked_at() {
    let scratch = pipeline(FAILING);
    scratch.file("l", "1\n2\n").file("bad.2", "").file("in", "x").semel("run").exits(1);
    scratch.file("trace", "").remove("bad.2").remove("up");
    scratch.semel("run --only-failed").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["up", "2"]);
}

#[test]
fn f36_nothing_failed_nothing_is_done() {
    let scratch = pipeline(FAILING);
    scratch.file("l", "1\n").file("in", "x");
    scratch.semel("run --only-failed").exits(0);
    assert!(!scratch.has("trace"), "never run is not failed");
    scratch.semel("run").exits(0);
    scratch.semel("run --only-failed").exits(0);
}

#[test]
fn f36_what_was_interrupted_is_tried() {
    let scratch = crate::scratch();
    let gate = semel_testkit::Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "[step.a]\nrun = '''echo a >> trace; [ -e open ] || {{ {}; }}'''\n[step.z]\nafter = ['a']\nrun = 'echo z >> trace'",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    semel_testkit::eventually("its beginning is noted", || {
        scratch.query("select count(*) from attempt") == ["1"]
    });
    running.kill();
    scratch.file("open", "").semel("run --only-failed").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a", "a"]);
}

/// More paths than one word of a command line can hold.
fn many(scratch: &semel_testkit::Scratch) -> usize {
    let name = "x".repeat(230);
    std::fs::create_dir_all(scratch.path().join("in")).unwrap();
    for at in 0..1_000 {
        std::fs::File::create(scratch.path().join(format!("in/{at:05}{name}"))).unwrap();
    }
    1_000
}

#[test]
fn a_list_that_is_too_long_for_a_command_is_given_as_a_file() {
    let text = "[step.a]\nin = 'in/*'\nout = 'n'\nrun = 'cat {{ in }} | wc -l > {{ out }}'";
    let scratch = pipeline(text);
    let many = many(&scratch);
    scratch.semel("run").exits(1).says("{{ in.list }}");
    scratch.pipeline(&text.replace("cat {{ in }}", "cat {{ in.list }}"));
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("n").trim(), many.to_string());
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_list_has_a_path_a_line_and_is_gone_after() {
    let scratch = pipeline(
        "[step.a]\nin = ['b/*', 'a file']\nout = 'n'\nrun = 'cp {{ in.list }} {{ out }}; echo {{ in.list }} > where'",
    );
    scratch.file("b/2", "").file("b/1", "").file("a file", "").semel("run").exits(0);
    let mut told = lines(&scratch, "n");
    told.sort();
    assert_eq!(told, ["a file", "b/1", "b/2"]);
    assert!(!std::path::Path::new(scratch.text("where").trim()).exists());
    assert_eq!(scratch.list(".semel/staging"), [""; 0]);
}

#[test]
fn a_name_with_a_newline_cannot_be_listed() {
    let scratch = pipeline("[step.a]\nin = 'b/*'\nrun = 'cat {{ in.list }} >> trace'");
    scratch.file("b/a\nb", "").semel("run").exits(1).says("newline");
    assert!(!scratch.has("trace"));
}

#[test]
fn an_input_that_is_called_list_is_itself() {
    let scratch = pipeline("[step.a]\nin = { list = 'x' }\nrun = 'cat {{ in.list }} >> trace'");
    let ran = scratch.file("x", "content\n").semel("run");
    assert!(ran.status == 2 || lines(&scratch, "trace") == ["content"], "{ran:?}");
}
