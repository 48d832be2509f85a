//! How a run and its commands are shaped: `order`, `timeout`, `durability`,
//! `prelude`, `shell`, `dir`, `about`.

use semel_testkit::Gate;

use super::{lines, pipeline};

#[test]
fn by_file_each_step_comes_after_the_one_above() {
    let text = "order = 'file'\n[step.c]\nrun = 'echo c >> trace'\n[step.a]\nrun = 'echo a >> trace'\n[step.b]\nrun = 'echo b >> trace'\n";
    let scratch = pipeline(text);
    scratch.semel("run -j 8").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["c", "a", "b"]);
    // It only orders: a change above does not run what is below again.
    scratch.pipeline(&text.replace("echo c", "echo  c"));
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace")[3..], ["c"]);
}

#[test]
fn by_file_a_failure_blocks_all_below() {
    let scratch = pipeline(
        "order = 'file'\n[step.a]\nrun = 'echo a >> trace'\n[step.b]\nrun = 'false'\n[step.c]\nrun = 'echo c >> trace'\n[step.d]\nrun = 'echo d >> trace'",
    );
    scratch.semel("run").exits(1).says("blocked");
    assert_eq!(lines(&scratch, "trace"), ["a"]);
    // One step brings all above it.
    scratch.semel("run a").exits(0);
    scratch.semel("run d").exits(1);
}

#[test]
fn by_file_a_need_that_looks_down_is_a_circle() {
    let scratch =
        pipeline("order = 'file'\n[step.a]\nneeds = ['b']\nrun = 'true'\n[step.b]\nrun = 'true'");
    scratch.semel("run").exits(2).says("waits for").says("file");
    assert!(!scratch.has(".semel"));
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_the_next_goes_on() {
    let scratch = pipeline(
        "timeout = '300ms'\n[step.a]\nrun = 'echo a >> trace'\n[step.b]\nneeds = ['a']\nrun = '[ -e open ] || sleep 60; echo b >> trace'\n[step.c]\nneeds = ['b']\nrun = 'echo c >> trace'",
    );
    let ran = scratch.semel("run").exits(1).says("exit 1");
    assert!(
        ran.stderr.contains("0.3") || ran.stderr.contains("300") || ran.stderr.contains("limit"),
        "{ran:?}"
    );
    assert_eq!(lines(&scratch, "trace"), ["a"]);
    scratch.semel("status").exits(1);
    scratch.semel("history").exits(0).says("failed");
    scratch.file("open", "").pipeline(
        &scratch.text("semel.toml").replace("name = \"test\"\n", "").replace("300ms", "60s"),
    );
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace"), ["a", "b", "c"]);
}

#[test]
fn a_once_command_may_finish_when_the_time_of_the_run_is_over() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "timeout = '200ms'\n[step.pay]\nonce = true\nrun = '''{}; echo pay >> trace'''\n[step.slow]\nrun = '[ -e open ] || sleep 60; echo slow >> trace'\n[step.then]\nafter = ['pay']\nrun = 'echo then >> trace'",
        gate.wait()
    ));
    let said = std::fs::File::create(scratch.path().join("said")).unwrap();
    let mut running = scratch.command(["run", "-j", "2"]).stderr(said).spawn().unwrap();
    gate.until_arrived();
    semel_testkit::eventually("its time is over", || {
        scratch.text("said").contains("the run took longer than")
    });
    gate.open();
    assert_eq!(running.wait().unwrap().code(), Some(1));
    assert_eq!(lines(&scratch, "trace"), ["pay"]);
    let text = scratch.text("semel.toml").replace("200ms", "60s");
    scratch.file("open", "").file("semel.toml", text).semel("run").exits(0);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["pay", "slow", "then"]);
}

#[test]
fn less_durable_is_as_right_while_the_power_stays() {
    let scratch = crate::days();
    let text = scratch.text("semel.toml").replace("name = \"test\"\n", "");
    scratch.pipeline(&format!("durability = 'process'\n{text}"));
    scratch.semel("run").exits(0);
    scratch.semel("run --expect-noop").exits(0);
    assert_eq!(
        crate::trace(&scratch),
        crate::ran(&[("clean", 5), ("report", 1), ("sum", 5), ("tell", 1)])
    );
    // Durability does not count.
    scratch.pipeline(&format!("durability = 'power'\n{text}"));
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn less_durable_and_killed_the_next_run_goes_on() {
    let scratch = crate::scratch();
    let gate = Gate::new(scratch.path(), "gate");
    scratch.pipeline(&format!(
        "durability = 'process'\n[step.make]\nout = 'made'\nrun = 'echo made > {{{{ out }}}}; echo make >> trace'\n[step.pay]\nneeds = ['make']\nonce = true\nrun = '''echo pay >> trace; [ -e open ] || {{ {}; }}'''",
        gate.wait()
    ));
    let running = scratch.start("run");
    gate.until_arrived();
    running.kill();
    scratch.file("open", "").semel("run").exits(3).says("semel redo pay");
    assert_eq!(lines(&scratch, "trace"), ["make", "pay"]);
}

#[test]
fn a_prelude_goes_before_every_text() {
    let scratch = pipeline(
        "prelude = 'greet() { echo hello \"$1\" >> trace; }'\n[params]\np = { command = 'greet param; echo 1' }\n[step.a]\nrun = 'greet {{ params.p }}'\ncheck = { run = 'greet check; echo t', equals = 't' }\n[step.b]\nafter = ['a']\nprelude = 'greet() { echo bye \"$1\" >> trace; }'\nrun = 'greet b'\n[step.c]\nafter = ['b']\nprelude = 'X=1'\nrun = 'echo $X >> trace'\n[step.list]\nafter = ['c']\neach = { command = 'greet list; echo i' }\nrun = 'greet {{ item }}'\n[finally]\nrun = 'greet finally'\n",
    );
    scratch.semel("run -j 1").exits(0);
    let mut told = lines(&scratch, "trace");
    told.sort();
    told.dedup();
    let mut wanted =
        vec!["hello param", "hello check", "hello list", "hello i", "hello finally", "bye b", "1"];
    wanted.sort_unstable();
    // The first check held already: nothing was run for `a`.
    assert_eq!(told, wanted);
}

#[test]
fn a_changed_prelude_is_another_how() {
    let text = "prelude = 'A=1'\n[step.a]\nrun = 'echo $A >> trace'\n[step.b]\nrun = ['sh', '-c', 'echo words >> trace']";
    let scratch = pipeline(text);
    scratch.semel("run").exits(0);
    scratch.pipeline(&text.replace("A=1", "A=2"));
    scratch.semel("why a").says("how");
    scratch.semel("run").exits(0);
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["1", "2", "words"], "a list of words has no prelude");
}

#[test]
fn a_prelude_that_fails_fails_the_task() {
    let scratch = pipeline("prelude = 'module load samtools'\n[step.a]\nrun = 'echo a >> trace'");
    scratch.semel("run").exits(1).says("module");
    assert!(!scratch.has("trace"));
}

#[test]
fn a_step_has_its_own_shell() {
    let scratch = pipeline(
        "shell = 'sh -c'\n[step.a]\nrun = 'false; echo lax >> trace'\n[step.b]\nshell = 'bash -euo pipefail -c'\nrun = 'false | true; echo strict >> trace'\n[step.c]\nshell = ['bash', '-c']\nrun = 'echo ${BASH_VERSION:+bash} >> trace'",
    );
    scratch.semel("run").exits(1).says("b");
    let mut told = lines(&scratch, "trace");
    told.sort();
    assert_eq!(told, ["bash", "lax"]);
}

#[test]
fn another_shell_is_another_how() {
    let text = "[step.a]\nrun = 'echo a >> trace'";
    let scratch = pipeline(text);
    scratch.semel("run").exits(0);
    scratch.pipeline(&format!("{text}\nshell = 'bash -c'"));
    scratch.semel("run").exits(0);
    assert_eq!(lines(&scratch, "trace").len(), 2);
    scratch.pipeline(&format!("shell = 'bash -c'\n{text}"));
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_command_works_in_its_folder() {
    let scratch = pipeline(
        "[step.a]\ndir = 'work'\neach = 'raw/*.csv'\nin = 'head.txt'\nout = 'out/{{ item.name }}'\nrun = './tool.sh {{ in }} {{ item }} > {{ out }}; pwd >> where'\ncheck = { run = 'basename \"$PWD\"', equals = 'work' }",
    );
    scratch
        .file("raw/a b.csv", "1\n")
        .file("head.txt", "head\n")
        .file("work/tool.sh", "cat \"$@\"\n");
    scratch.sh("chmod +x work/tool.sh");
    // The check holds from the start: it is asked only where it matters.
    let text = scratch.text("semel.toml").replace("name = \"test\"\n", "");
    scratch.pipeline(
        text.lines()
            .filter(|line| !line.starts_with("check"))
            .collect::<Vec<_>>()
            .join("\n")
            .as_str(),
    );
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out/a b.csv"), "head\n1\n");
    assert_eq!(lines(&scratch, "work/where").len(), 1);
    // Its script counts.
    scratch.file("work/tool.sh", "cat \"$@\"; echo more\n");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out/a b.csv"), "head\n1\nmore\n");
    scratch.semel("run --expect-noop").exits(0);
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let scratch = pipeline("[step.a]\ndir = 'nowhere'\nrun = 'echo a >> trace'");
    scratch.semel("run").exits(1).says("nowhere");
    scratch.sh("mkdir nowhere").semel("run").exits(0);
    assert_eq!(lines(&scratch, "nowhere/trace"), ["a"]);
    let scratch = pipeline("[step.a]\ndir = 'semel.toml'\nrun = 'true'");
    scratch.semel("run").exits(1).says("is not a folder");
}

#[test]
fn a_folder_may_be_named_by_a_parameter_and_counts() {
    let text = "[params]\nd = 'one'\n[step.a]\ndir = '{{ params.d }}'\nrun = 'echo here >> trace'";
    let scratch = pipeline(text);
    scratch.sh("mkdir one two");
    scratch.semel("run").exits(0);
    scratch.semel("run -p d=two").exits(0);
    assert_eq!((lines(&scratch, "one/trace").len(), lines(&scratch, "two/trace").len()), (1, 1));
}

#[test]
fn in_another_folder_words_and_lists_find_their_files() {
    let scratch = pipeline(
        "[step.a]\ndir = 'work/deep'\nin = ['in/*.txt']\nout = ['x/1', 'y/']\nrun = ['sh', '-c', 'cat $(cat \"$1\") > \"$2\"; mkdir -p \"$3\"; pwd > \"$3/pwd\"', 'sh', '{{ in.list }}', '{{ out }}']",
    );
    scratch.file("in/1.txt", "1\n").file("in/2.txt", "2\n").sh("mkdir -p work/deep");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("x/1"), "1\n2\n");
    assert!(scratch.text("y/pwd").ends_with("work/deep\n"));
}

#[test]
fn what_is_said_about_a_pipeline_counts_nothing() {
    let text = "about = 'ABOUT'\n[step.a]\nabout = 'ABOUT'\nrun = 'true'";
    let scratch = pipeline(&text.replace("ABOUT", "loads flights"));
    scratch.semel("run").exits(0);
    scratch.pipeline(&text.replace("ABOUT", "loads every flight"));
    scratch.semel("run --expect-noop").exits(0);
}

/// What a list takes is time of the run.
#[test]
fn a_list_that_takes_too_long_leaves_no_time_for_its_items() {
    let scratch = pipeline(
        "timeout = '200ms'\n[step.a]\neach = { command = 'sleep 0.3; echo 1' }\nrun = 'echo {{ item }} >> trace'",
    );
    scratch.semel("run").exits(1);
    assert!(!scratch.has("trace"));
}
