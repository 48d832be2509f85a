//! Content is the key: what changed is done again, and only that.

use std::time::{Duration, SystemTime};

use semel_testkit::Scratch;

use crate::{days, ran, scratch, trace};

/// A pipeline of one step over `in/*`, whose runs are traced.
pub(crate) fn copying(run: &str) -> Scratch {
    let scratch = scratch();
    scratch.file("in/a", "one").pipeline(&copy_step(run));
    scratch
}

fn copy_step(run: &str) -> String {
    format!(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{{{ item.name }}}}'\nrun = '''{run}; echo copy >> trace'''"
    )
}

const COPY: &str = "cp {{ item }} {{ out }}";

#[test]
fn one_changed_byte_runs_that_day_and_the_report_only() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.file("raw/3.csv", "day,flights\n3,301\n");
    days.semel("run").exits(0);
    assert_eq!(
        trace(&days),
        ran(&[("clean", 1), ("report", 1), ("sum", 1)]),
        "and nothing is told twice"
    );
    assert_eq!(days.text("report.txt"), "100\n200\n301\n400\n500\n");
}

#[test]
fn what_comes_out_the_same_stops_the_wave() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    // The header is cut away by the first step: the rest sees no change.
    days.file("raw/3.csv", "DAY,FLIGHTS\n3,300\n");
    days.semel("run").exits(0);
    assert_eq!(trace(&days), ran(&[("clean", 1)]));
}

#[test]
fn a_renamed_input_is_reused_not_recomputed() {
    let days = days();
    days.semel("run").exits(0);
    trace(&days);
    days.rename("raw/3.csv", "raw/9.csv");
    days.semel("run").exits(0).says("1 reused");
    // Only the report, which counts its inputs by their names, is made again.
    assert_eq!(trace(&days), ran(&[("report", 1)]));
    assert_eq!(days.text("clean/9.csv"), "3,300\n");
    assert_eq!(days.text("sum/9.txt"), "300\n");
    assert_eq!(
        days.query("select item, origin from receipt where origin = 'reuse' order by item"),
        ["clean/9.csv reuse", "raw/9.csv reuse"]
    );
    days.semel("run --expect-noop").exits(0);
}

#[test]
fn other_content_counts_even_with_an_older_time() {
    let scratch = copying(COPY);
    scratch.semel("run").exits(0);
    scratch.file("in/a", "two");
    let old = SystemTime::now() - Duration::from_secs(1_000_000);
    std::fs::File::options()
        .write(true)
        .open(scratch.path().join("in/a"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out/a"), "two");
}

#[test]
fn a_replaced_by_b_and_a_again_runs_when_the_output_holds_b() {
    let scratch = copying(COPY);
    for (content, runs) in [("one", 1), ("two", 1), ("one", 1)] {
        scratch.file("in/a", content);
        scratch.semel("run").exits(0);
        assert_eq!(scratch.text("out/a"), content);
        assert_eq!(trace(&scratch), ran(&[("copy", runs)]));
    }
}

#[test]
fn an_output_brought_back_with_its_stamp_is_adopted() {
    let scratch = copying(COPY);
    scratch.semel("run").exits(0);
    scratch.sh("cp -a out/a kept");
    scratch.file("in/a", "two");
    scratch.semel("run").exits(0);
    // Both as they were: the stamp on the output proves it.
    scratch.file("in/a", "one").sh("mv kept out/a");
    trace(&scratch);
    scratch.semel("run").exits(0).says("the output fits it already");
    assert_eq!(trace(&scratch), ran(&[]));
}

#[test]
fn a_file_changed_in_the_moment_it_was_hashed_is_seen() {
    let scratch = scratch();
    scratch.file("in/a", "0000");
    // The command ends in the very moment in which its input is written, and the
    // next content has the same size: only its bytes tell.
    scratch.pipeline(
        "[step.copy]\neach = 'in/*'\nout = 'out/{{ item.name }}'\nrun = ['cp', '{{ item }}', '{{ out }}']",
    );
    for round in 1..40 {
        let content = format!("{round:04}");
        scratch.file("in/a", &content);
        scratch.semel("run -q").exits(0);
        assert_eq!(scratch.text("out/a"), content);
    }
}

#[test]
fn a_changed_command_runs_again_and_says_so() {
    let scratch = copying(COPY);
    scratch.semel("run").exits(0);
    scratch.pipeline(&copy_step("cp -f {{ item }} {{ out }}"));
    scratch.semel("plan").exits(0).says("the command changed");
    scratch.semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("copy", 2)]));
}

#[test]
fn a_changed_script_that_is_named_runs_again() {
    for command in ["bash copy.sh {{ item }} {{ out }}", "./copy.sh {{ item }} {{ out }}"] {
        let scratch = copying(command);
        scratch.file("copy.sh", "#!/bin/bash\ncp \"$1\" \"$2\"\n").sh("chmod +x copy.sh");
        scratch.semel("run").exits(0);
        scratch
            .file("copy.sh", "#!/bin/bash\ntr a-z A-Z < \"$1\" > \"$2\"\n")
            .sh("chmod +x copy.sh");
        scratch.semel("run").exits(0);
        assert_eq!(scratch.text("out/a"), "ONE", "{command}");
        scratch.sh("touch copy.sh").semel("run --expect-noop").exits(0);
    }
}

#[test]
fn changed_parameters_variables_and_versions_run_again() {
    let scratch = scratch();
    let pipeline = |version: &str| {
        format!(
            "[params]\nlimit = 3\nunused = 1\n[step.show]\nout = 'shown'\nversion = '{version}'\nenv = {{ LIMIT = '{{{{ params.limit }}}}' }}\nenv-counts = ['COUNTS']\nrun = 'echo $LIMIT ${{COUNTS-}} ${{IGNORED-}} > {{{{ out }}}}; echo show >> trace'"
        )
    };
    scratch.pipeline(&pipeline("1"));
    let run = |words: &str, variables: &[(&str, &str)]| {
        let mut command = scratch.command(words.split_whitespace());
        command.envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        trace(&scratch).len()
    };
    assert_eq!(run("run", &[]), 1);
    assert_eq!(run("run", &[("IGNORED", "x")]), 0, "what does not count does not count");
    assert_eq!(run("run", &[("COUNTS", "")]), 1, "empty is not unset");
    assert_eq!(run("run", &[("COUNTS", "x")]), 1);
    assert_eq!(run("run", &[("COUNTS", "x")]), 0);
    assert_eq!(run("run -p unused=2", &[("COUNTS", "x")]), 0, "a parameter that is not named");
    assert_eq!(run("run -p limit=4", &[("COUNTS", "x")]), 1);
    assert_eq!(scratch.text("shown"), "4 x\n");
    scratch.pipeline(&pipeline("2"));
    assert_eq!(run("run -p limit=4", &[("COUNTS", "x")]), 1);
}

#[test]
fn further_inputs_count_by_name_and_content() {
    let scratch = copying("cat {{ item }} {{ in }} > {{ out }}");
    let step = copy_step("cat {{ item }} {{ in }} > {{ out }}");
    scratch.file("side/x", "1").file("side/y", "2").pipeline(&format!("{step}\nin = 'side/*'"));
    scratch.semel("run").exits(0);
    trace(&scratch);
    scratch.file("side/y", "3").semel("run").exits(0);
    assert_eq!((scratch.text("out/a").as_str(), trace(&scratch)), ("one13", ran(&[("copy", 1)])));
    scratch.rename("side/y", "side/z").semel("run").exits(0);
    assert_eq!(trace(&scratch), ran(&[("copy", 1)]), "its name counts");
    scratch.sh("touch side/*").semel("run --expect-noop").exits(0);
}

#[test]
fn a_folder_as_input_is_all_that_is_in_it() {
    let scratch = scratch();
    scratch.file("lib/a/x", "1").pipeline(
        "[step.pack]\nin = 'lib'\nout = 'packed'\nrun = 'cat {{ in }}/a/* > {{ out }}; echo pack >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    scratch.file("lib/a/y", "2").semel("run").exits(0);
    assert_eq!((scratch.text("packed").as_str(), trace(&scratch)), ("12", ran(&[("pack", 2)])));
}

#[test]
fn rehash_believes_nothing_that_is_remembered() {
    let scratch = copying(COPY);
    scratch.semel("run").exits(0);
    scratch.semel("run").exits(0);
    // A digest that was falsely remembered, as after a store through shared memory.
    let db = rusqlite::Connection::open(scratch.path().join(".semel/digests.db")).unwrap();
    let changed = db
        .execute("update seen set digest = zeroblob(32) where path = cast('in/a' as blob)", [])
        .unwrap();
    assert_eq!(changed, 1);
    scratch.semel("run --expect-noop").exits(6);
    scratch.semel("run --rehash --expect-noop").exits(0);
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn equal_items_that_come_together_are_worked_on_once() {
    let scratch = copying("cp {{ item }} {{ out }}");
    scratch.file("in/b", "one").file("in/c", "one").file("in/d", "two");
    scratch.semel("run -j 4").exits(0).says("2 reused");
    assert_eq!(trace(&scratch), ran(&[("copy", 2)]));
    assert_eq!((&*scratch.text("out/c"), &*scratch.text("out/d")), ("one", "two"));
    scratch.semel("run --expect-noop").exits(0);
}

/// Names are swapped, and one goes on under a third: each has its own content in the
/// end, whoever was faster.
#[test]
fn swapped_and_rotated_names_end_with_their_own_content() {
    let scratch = scratch();
    let names: Vec<_> = (0..12).map(|at| format!("raw/{at}")).collect();
    for name in &names {
        scratch.file(name, format!("content of {name}"));
    }
    scratch
        .pipeline("[step.a]\neach = 'raw/*'\nout = 'out/{{ item.name }}'\nrun = 'cp {{ item }} {{ out }}'")
        .semel("run")
        .exits(0);
    scratch.sh("cd raw; mv 0 t; mv 1 0; mv t 1; mv 2 new; mv 3 2; mv 4 3; mv new 12");
    scratch.semel("run -j 4").exits(0);
    for name in scratch.list("raw") {
        let (made, read) = (format!("out/{name}"), format!("raw/{name}"));
        assert_eq!(scratch.text(made), scratch.text(read), "{name}");
    }
    scratch.semel("run --expect-noop").exits(0);
}
