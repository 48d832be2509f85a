//! Never half: outputs appear whole or not at all, and nothing of other hands is
//! destroyed.

use semel_testkit::{Gate, Scratch};

use crate::{days, ran, scratch, trace};

pub(crate) fn one_output(run: &str) -> Scratch {
    let scratch = scratch();
    scratch.pipeline(&format!("[step.make]\nout = 'out.csv'\nrun = '''{run}'''"));
    scratch
}

#[test]
fn a_pipe_that_fails_in_the_middle_fails_the_task() {
    let scratch = one_output("echo 1 | false | cat > {{ out }}");
    scratch.semel("run").exits(1).says("failed  make  exit status 1");
    assert!(!scratch.has("out.csv"), "nothing was published");
}

#[test]
fn a_command_that_does_not_write_its_output_has_failed() {
    let scratch = one_output("true {{ out }}");
    scratch.semel("run").exits(1).says("it ended well, but did not write its output `out.csv`");
    assert!(!scratch.has("out.csv"));
    assert_eq!(scratch.query("select count(*) from receipt"), ["0"]);
}

#[test]
fn rules_that_break_fail_the_task_and_publish_nothing() {
    let cases = [
        ("rows = '>= 2'", "a,b\\n1,2\\n", "`out.csv` has 1 rows; expected >= 2"),
        ("bytes = '> 100'", "a\\n", "`out.csv` has 2 bytes; expected > 100"),
        (
            "same-rows-as = 'in'",
            "a,b\\n1,2\\n",
            "`out.csv` has 1 rows; expected 3, as many as the input",
        ),
    ];
    for (rule, made, says) in cases {
        let scratch = scratch();
        scratch.file("in.csv", "a,b\n1,\"two\nlines\"\n2,\n3,").pipeline(&format!(
            "[step.make]\nin = 'in.csv'\nout = 'out.csv'\nexpect = {{ {rule} }}\nrun = '''printf '{made}' > {{{{ out }}}}'''"
        ));
        scratch.semel("run").exits(1).says(says);
        assert!(!scratch.has("out.csv"));
    }
}

#[test]
fn rules_that_hold_let_it_pass_and_rows_are_in_the_receipt() {
    let scratch = scratch();
    scratch.file("in.csv", "a,b\n1,\"two\nlines\"\n2,").pipeline(
        "[step.make]\neach = 'in*.csv'\nout = 'out/{{ item.name }}'\nexpect = { rows = 2, bytes = '> 0', same-rows-as = 'in' }\nrun = 'cp {{ item }} {{ out }}'",
    );
    scratch.semel("run").exits(0);
    assert_eq!(
        scratch.query("select role, path, bytes, rows from file order by role"),
        ["in in.csv 20 ", "out out/in.csv 20 2"]
    );
}

#[test]
fn the_last_good_output_stays_until_the_new_one_is_whole() {
    let scratch = scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.file("in.csv", "old").pipeline(&format!(
        "[step.make]\nin = 'in.csv'\nout = 'out.csv'\nrun = '''head -c 2 {{{{ in }}}} > {{{{ out }}}}; [ -e first ] && {{ {}; }}; touch first; cp {{{{ in }}}} {{{{ out }}}}'''",
        gate.wait()
    ));
    scratch.semel("run").exits(0);
    scratch.file("in.csv", "new");
    let running = scratch.start("run");
    gate.until_arrived();
    assert_eq!(
        scratch.text("out.csv"),
        "old",
        "half of the new one is written, and nobody sees it"
    );
    gate.open();
    running.end().exits(0);
    assert_eq!(scratch.text("out.csv"), "new");
}

#[test]
fn a_failed_attempt_leaves_the_last_good_output_and_says_so() {
    let scratch = one_output("echo 1 > {{ out }}");
    scratch.semel("run").exits(0);
    scratch.pipeline("[step.make]\nout = 'out.csv'\nrun = 'echo 2 > {{ out }}; exit 3'");
    scratch.semel("run").exits(1).says("`out.csv` is still the last good one, of run 1");
    assert_eq!(scratch.text("out.csv"), "1\n");
}

#[test]
fn a_deleted_output_is_repaired_without_its_neighbours() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.remove("clean/2.csv").semel("run").exits(0);
    assert_eq!(trace(&days), ran(&[("clean", 1)]), "it came out the same: nobody else cares");
    assert_eq!(days.text("clean/2.csv"), "2,200\n");
}

#[test]
fn a_tampered_output_is_seen_though_size_and_time_are_the_same() {
    let days = days();
    days.semel("run").exits(0);
    days.semel("run").exits(0);
    days.sh(
        "touch -r clean/2.csv stamp; printf '2,999\\n' > clean/2.csv; touch -r stamp clean/2.csv",
    );
    days.semel("run").exits(0);
    assert_eq!(days.text("clean/2.csv"), "2,200\n");
}

#[test]
fn a_link_in_an_outputs_place_is_kept_aside_and_not_followed() {
    let scratch = one_output("echo made > {{ out }}");
    scratch.file("elsewhere", "precious").sh("ln -s elsewhere out.csv");
    scratch.semel("run").exits(0);
    assert_eq!(
        (scratch.text("elsewhere").as_str(), scratch.text("out.csv").as_str()),
        ("precious", "made\n")
    );
    scratch.sh("[ -L .semel/displaced/1/out.csv ]; [ ! -L out.csv ]");
}

#[test]
fn several_outputs_by_list_and_by_name() {
    let scratch = scratch();
    scratch.pipeline(
        "[step.list]\nout = ['a/x', 'b/x']\nrun = 'for o in {{ out }}; do echo $o | grep -o [ab12]/x$ > $o || echo x > $o; done'\n[step.named]\nout = { good = 'good.csv', bad = 'bad/' }\nrun = 'echo 1 > {{ out.good }}; echo 2 > {{ out.bad }}/x; mkdir {{ out.bad }}/sub'",
    );
    scratch.semel("run").exits(0);
    assert!(scratch.has("a/x") && scratch.has("b/x"));
    assert_eq!((scratch.text("good.csv").as_str(), scratch.text("bad/x").as_str()), ("1\n", "2\n"));
    assert_eq!(
        scratch.query("select name, path from file where role = 'out' order by path"),
        ["1 a/x", "2 b/x", "bad bad", "good good.csv"]
    );
    scratch.semel("run --expect-noop").exits(0);
    // Two outputs that changed places do not prove each other.
    scratch.sh("cp -a a/x t; cp -a b/x a/x; cp -a t b/x");
    if scratch.text("a/x") != scratch.text("b/x") {
        scratch.semel("run --expect-noop").exits(6);
    }
}

#[test]
fn folders_of_outputs_are_made() {
    let scratch = scratch();
    scratch.pipeline("[step.make]\nout = 'a/b/c/d'\nrun = 'echo x > {{ out }}'");
    scratch.semel("run").exits(0);
    assert!(scratch.has("a/b/c/d"));
}

#[test]
fn an_output_on_another_file_system_is_staged_beside_it() {
    let scratch = scratch();
    let other = tempfile::Builder::new().prefix("semel-test-").tempdir_in("/dev/shm").unwrap();
    let out = other.path().join("deep/out");
    scratch.pipeline(&format!(
        "[step.make]\nout = '{}'\nrun = 'echo {{{{ out }}}} > where; echo x > {{{{ out }}}}'",
        out.display()
    ));
    scratch.semel("run").exits(0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "x\n");
    let staged = scratch.text("where");
    assert!(staged.starts_with(other.path().to_str().unwrap()), "{staged}");
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 1, "no staging is left");
    assert_eq!(std::fs::read_dir(other.path().join("deep")).unwrap().count(), 1);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_check_that_holds_skips_and_one_that_cannot_tell_fails() {
    let scratch = scratch();
    let step = |check: &str| {
        format!("[step.schema]\nrun = 'echo schema >> trace; touch done'\ncheck = '{check}'")
    };
    scratch.pipeline(&step("test -e done"));
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("schema", 1)]));
    scratch.remove("done").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("schema", 1)]), "the check said no: repaired");
    scratch.pipeline(&step("exit 2"));
    scratch.semel("run").exits(5).says("its check cannot tell: exit status 2");
    assert_eq!(trace(&scratch), ran(&[]), "cannot tell is not missing");
}

#[test]
fn a_check_that_held_already_is_adopted() {
    let scratch = scratch();
    scratch
        .file("done", "")
        .pipeline("[step.schema]\nrun = 'echo schema >> trace'\ncheck = 'test -e done'");
    scratch.semel("run").exits(0).says("adopt").says("its check held already");
    assert_eq!(trace(&scratch), ran(&[]));
    assert_eq!(scratch.query("select step, origin from receipt"), ["schema adopt"]);
}

#[test]
fn an_output_that_grows_after_the_command_ended_is_not_taken_for_whole() {
    // What is left in the background writes on; the receipt says what was whole.
    let scratch = scratch();
    scratch.pipeline("[step.make]\nout = 'out'\nrun = 'echo 1 > {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.sh("echo 2 >> out");
    scratch.semel("run").exits(0).says("1 repaired");
    assert_eq!(scratch.text("out"), "1\n");
    assert_eq!(scratch.text(".semel/displaced/2/out"), "1\n2\n");
}
