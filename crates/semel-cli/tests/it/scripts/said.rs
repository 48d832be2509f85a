//! What a script can say of a step, and what becomes of it.

use semel_testkit::Scratch;

use super::{put, run, with};

#[test]
fn the_second_run_is_boring() {
    let scratch = with(
        "step fetch --out raw.csv -- bash -c 'echo 1,2 > \"$1\"; echo fetch >> trace' _ '{{ out }}'
step sum --in raw.csv --out sum.txt -- bash -c 'cut -d, -f2 raw.csv > \"$1\"; echo sum >> trace' _ '{{ out }}'
step tell --once -- bash -c 'echo told >> outbox'
",
    );
    run(&scratch).exits(0).says("nightly run 1 done in").says(": 3 done");
    let before = scratch.snapshot();
    run(&scratch).exits(0).says("nothing to do, 3 of 3 done before");
    assert_eq!(scratch.snapshot(), before);
    assert_eq!(scratch.text("sum.txt"), "2\n");
    assert_eq!(
        (scratch.text("trace"), scratch.text("outbox")),
        ("fetch\nsum\n".into(), "told\n".into())
    );
}

#[test]
fn what_changed_is_done_again_and_what_hangs_on_it() {
    let scratch = with(
        "step copy --in in.txt --out mid.txt -- bash -c 'cp in.txt \"$1\"; echo copy >> trace' _ '{{ out }}'
step last --in mid.txt --out out.txt -- bash -c 'cp mid.txt \"$1\"; echo last >> trace' _ '{{ out }}'
",
    );
    scratch.file("in.txt", "one\n");
    run(&scratch).exits(0);
    // The same bytes are no change, and neither is a touch.
    scratch.sh("touch in.txt; cp in.txt other; mv other in.txt");
    run(&scratch).exits(0).says("nothing to do");
    scratch.file("in.txt", "two\n");
    run(&scratch)
        .exits(0)
        .says("copy done: its input changed")
        .says("last done: its input changed");
    assert_eq!(scratch.text("out.txt"), "two\n");
    scratch.file("mid.txt", "by hand\n");
    run(&scratch).exits(0).says("mid.txt was not made by semel; it is kept as .semel/displaced/");
    assert_eq!(scratch.text("mid.txt"), "two\n");
    assert_eq!(scratch.text("trace"), "copy\nlast\ncopy\nlast\ncopy\n");
}

#[test]
fn a_changed_command_is_done_again_but_what_is_done_once_is_not() {
    let scratch =
        with("step a -- bash -c 'echo a1 >> trace'\nstep b --once -- bash -c 'echo b1 >> trace'\n");
    run(&scratch).exits(0);
    put(
        &scratch,
        "step a -- bash -c 'echo a2 >> trace'\nstep b --once -- bash -c 'echo b2 >> trace'\n",
    );
    run(&scratch).exits(0).says("a done: the command changed");
    assert_eq!(scratch.text("trace"), "a1\nb1\na2\n");
}

#[test]
fn a_program_of_the_folder_counts_and_so_does_a_function_with_those_it_calls() {
    let scratch = with(
        "inner() { echo one; }
outer() { inner > \"$1\"; }
other() { echo unrelated; }
step program --out p.txt -- ./p.sh '{{ out }}'
step function --out f.txt -- outer '{{ out }}'
",
    );
    scratch.file("p.sh", "#!/bin/sh\necho p1 > \"$1\"\n").sh("chmod +x p.sh");
    run(&scratch).exits(0);
    assert_eq!((scratch.text("p.txt"), scratch.text("f.txt")), ("p1\n".into(), "one\n".into()));
    scratch.sh("sed -i 's/p1/p2/' p.sh; sed -i 's/unrelated/changed/' nightly.sh");
    run(&scratch).exits(0).says("program done: the command changed").keeps_silent_of("function");
    scratch.sh("sed -i 's/echo one/echo two/' nightly.sh");
    run(&scratch).exits(0).says("function done: the command changed");
    assert_eq!((scratch.text("p.txt"), scratch.text("f.txt")), ("p2\n".into(), "two\n".into()));
}

#[test]
fn f18_a_function_stops_at_its_first_failure_wherever_its_step_stands() {
    for step in
        ["step f -- f", "step f -- f || true", "if step f -- f; then echo yes; fi", "! step f -- f"]
    {
        let scratch = with(&format!("f() {{ false; echo went on >> trace; }}\n{step}\n"));
        let ran = run(&scratch).says("failed  f  exit status 1 (nightly.sh:5)");
        assert_eq!(ran.status, 1, "{step}: {ran:?}");
        assert!(!scratch.has("trace"), "{step}");
    }
}

#[test]
fn a_function_has_the_variables_of_the_script_and_what_it_changes_of_them_is_lost() {
    let scratch = with(
        "list=(one 'two words'); declare -A map=([k]='a value'); count=1; readonly fixed=ro
f() { local x=5; printf '%s|' \"${list[@]}\" \"${map[k]}\" \"$fixed\" \"$x\" \"$1\"; count=2; }
step f --stdout out.txt -- f 'an argument'
echo \"count=$count\"
",
    );
    run(&scratch).exits(0).says("count=1");
    assert_eq!(scratch.text("out.txt"), "one|two words|a value|ro|5|an argument|");
}

#[test]
fn items_of_a_loop_are_tasks_of_their_own() {
    let scratch = with(
        "for f in raw/*; do step copy --item \"$f\" --out \"clean/${f##*/}\" -- bash -c 'cp \"$1\" \"$2\"; echo x >> trace' _ \"$f\" '{{ out }}'; done\n",
    );
    scratch.file("raw/a", "a").file("raw/b c", "b").file("raw/ü*[1]", "u");
    run(&scratch).exits(0).says("3 done");
    // A file that is an item counts with its bytes.
    scratch.file("raw/a", "A").file("raw/d", "d");
    run(&scratch).exits(0).says("2 done, 2 done before");
    assert_eq!(scratch.list("clean"), ["a", "b c", "d", "ü*[1]"]);
    assert_eq!((scratch.text("clean/a"), scratch.text("trace").len()), ("A".into(), 10));
}

#[test]
fn an_instance_has_a_history_of_its_own() {
    let scratch = with("step tell --once --per day=\"$DAY\" -- bash -c \"echo $DAY >> outbox\"\n");
    let of_day = |day: &str| {
        let mut command = scratch.script("bash", "nightly.sh");
        command.env("DAY", day);
        scratch.ran(command)
    };
    of_day("mon").exits(0);
    of_day("tue").exits(0);
    of_day("mon").exits(0).says("nothing to do");
    assert_eq!(scratch.text("outbox"), "mon\ntue\n");
}

#[test]
fn what_is_printed_becomes_a_file_or_is_printed_again() {
    let scratch = with(
        "step list --stdout list.txt -- printf 'a\\nb\\n'
x=$(step day --replay -- bash -c 'echo today; echo day >> trace')
echo \"x=$x\"
step both --stdout b.txt --replay -- echo both
step plain -- echo plain
",
    );
    let first = run(&scratch).exits(0);
    assert_eq!(first.stdout, "x=today\nboth\nplain\n");
    let second = run(&scratch).exits(0);
    assert_eq!(second.stdout, "x=today\nboth\n");
    assert_eq!(
        (scratch.text("list.txt"), scratch.text("trace")),
        ("a\nb\n".into(), "day\n".into())
    );
}

#[test]
fn standard_output_is_the_scripts_and_standard_error_is_kept() {
    let scratch = with(
        "step talk -- bash -c 'printf \"\\x00\\xff out\"; echo err >&2; exit 3' | od -c | head -n 1\n",
    );
    let ran = run(&scratch).exits(3).says("err").says("failed  talk  exit status 3");
    assert!(ran.stdout.starts_with("0000000  \\0 377"), "{ran:?}");
    scratch.semel("log talk").exits(0).says("err").keeps_silent_of("out");
    // Where both go to one file, that has both in their order.
    let scratch = with("step talk -- bash -c 'echo one; echo two >&2; echo three' > log 2>&1\n");
    run(&scratch).exits(0);
    assert_eq!(scratch.text("log"), "one\ntwo\nthree\n");
    scratch.semel("log talk").exits(0).says("one\ntwo\nthree");
}

#[test]
fn a_command_reads_what_the_script_gives_it() {
    let scratch = with(
        "step here --stdout h.txt -- cat <<'EOF'\nof a here-document\nEOF\necho piped | step pipe --stdout p.txt -- cat\n",
    );
    run(&scratch).exits(0);
    assert_eq!(
        (scratch.text("h.txt"), scratch.text("p.txt")),
        ("of a here-document\n".into(), "piped\n".into())
    );
    // A loop loses its list to a command that reads it, as it does without semel, and to
    // nothing else: what is skipped reads nothing.
    let looped = |more: &str| {
        let act = "bash -c 'echo \"$0\"; cat > /dev/null' \"$x\"";
        let body = format!("while read -r x; do step say --item \"$x\" -- {act}{more}; done");
        put(&scratch, &format!("printf 'a\\nb\\n' | {body}\n"));
        run(&scratch).exits(0).stdout
    };
    assert_eq!(looped(""), "a\n");
    assert_eq!(looped(""), "b\n");
    assert_eq!(looped(" < /dev/null"), "");
}

#[test]
fn a_check_decides_what_is_true() {
    let scratch = with(
        "is_up() { grep -qx up state; }
step up --check is_up -- bash -c 'echo up > state; echo up >> trace'
step once --once --check 'cat sent 2> /dev/null || echo no' --equals yes -- bash -c 'echo yes > sent; exit 1'
",
    );
    scratch.file("state", "down\n");
    run(&scratch).exits(1);
    // What failed and is there all the same is adopted.
    run(&scratch).exits(0).says("once adopt: its check held already");
    scratch.file("state", "down\n");
    run(&scratch).exits(0).says("up done: what it made is gone");
    assert_eq!(scratch.text("trace"), "up\nup\n");
    // A check that cannot tell is no `no`.
    scratch.sh("sed -i 's/^is_up.*/is_up() { return 7; }/' nightly.sh; echo 'echo not reached' >> nightly.sh");
    run(&scratch).exits(105).says("its check cannot tell").keeps_silent_of("not reached");
    assert_eq!(scratch.text("trace"), "up\nup\n");
}

#[test]
fn what_is_too_old_is_done_again() {
    let scratch = with(
        "step always --max-age 0 -- bash -c 'echo x >> trace'\nstep fresh --max-age 20h -- bash -c 'echo y >> trace'\n",
    );
    run(&scratch).exits(0);
    run(&scratch).exits(0).says("1 done, 1 done before");
    assert_eq!(scratch.text("trace"), "x\ny\nx\n");
}

#[test]
fn variables_that_are_named_count() {
    let scratch =
        with("export MODE=$(cat mode)\nstep f --env MODE -- bash -c 'echo \"$MODE\" >> trace'\n");
    scratch.file("mode", "a");
    run(&scratch).exits(0);
    run(&scratch).exits(0).says("nothing to do");
    scratch.file("mode", "b");
    run(&scratch).exits(0).says("f done: its input changed");
    assert_eq!(scratch.text("trace"), "a\nb\n");
}

#[test]
fn what_writes_in_place_is_put_back_when_it_fails() {
    let scratch =
        with("step grow --in-place --out ledger -- bash -c 'echo more >> ledger; [ -e ok ]'\n");
    scratch.file("ledger", "first\n");
    run(&scratch).exits(1);
    assert_eq!(scratch.text("ledger"), "first\n");
    scratch.file("ok", "");
    run(&scratch).exits(0);
    assert_eq!(scratch.text("ledger"), "first\nmore\n");
}

#[test]
fn a_failed_try_is_followed_by_others_and_a_long_one_is_ended() {
    let scratch = with(
        "step flaky --retry 2 -- bash -c 'echo x >> trace; [ \"$(wc -l < trace)\" = 2 ]'\nstep long --timeout 100ms -- sleep 600\n",
    );
    run(&scratch)
        .exits(101)
        .says("flaky failed: exit status 1; again in")
        .says("failed  long  timed out");
    assert_eq!(scratch.text("trace"), "x\nx\n");
}

#[test]
fn f34_the_words_of_a_command_are_kept_nowhere() {
    let scratch = with(
        "token=hunter2-$(cat secret)\nstep call --once -- bash -c 'echo \"$1\" > sent' _ \"$token\"\nstep ask --check \"test $token = x\" -- bash -c \"echo $token > /dev/null; exit 4\"\n",
    );
    scratch.file("secret", "s3cr3t");
    run(&scratch).exits(4).keeps_silent_of("hunter2-s3cr3t");
    scratch.semel("why call").exits(0).says("step call --onc");
    let kept = scratch.path().join(".semel");
    assert!(!semel_testkit::library::is_somewhere(&kept, b"hunter2-s3cr3t"));
}

#[test]
fn only_inputs_and_outputs_are_filled_in() {
    let scratch = with(
        "step say --stdout out.txt -- echo '{{ user }}' '{{.Names}}' '{{ item }}' '{{ in' '}}'\n",
    );
    run(&scratch).exits(0);
    assert_eq!(scratch.text("out.txt"), "{{ user }} {{.Names}} {{ item }} {{ in }}\n");
}

#[test]
fn it_is_the_same_from_any_folder() {
    let scratch = with(
        "cd \"$(dirname \"$0\")\"\nmkdir -p sub\ncd sub\nstep a --in ../in.txt --out made.txt -- cp '{{ in }}' '{{ out }}'\nstep b --stdout ../up.txt -- pwd\n",
    );
    scratch.file("in.txt", "x");
    run(&scratch).exits(0).says("2 done");
    assert_eq!(scratch.text("sub/made.txt"), "x");
    assert!(scratch.text("up.txt").trim_end().ends_with("/sub"));
    let elsewhere = crate::scratch();
    let path = scratch.path().join("nightly.sh");
    let mut command = elsewhere.script("bash", path.to_str().unwrap());
    command.current_dir("/");
    scratch.ran(command).exits(0).says("nothing to do, 2 of 2 done before");
}

#[test]
fn steps_in_functions_subshells_and_in_the_background_are_steps() {
    let scratch = with(
        "deploy() { step copy --item \"$1\" -- bash -c 'echo x >> trace'; }
deploy a; ( deploy b ); deploy c & deploy d & wait
python3 -c 'import subprocess, sys; sys.exit(subprocess.call([\"semel\", \"step\", \"py\", \"--\", \"true\"]))' 2> /dev/null || step py -- true
printf 'e\\nf\\n' | xargs -P 2 -I {} semel step copy --item {} -- bash -c 'echo x >> trace'
",
    );
    run(&scratch).exits(0).says("7 done");
    run(&scratch).exits(0).says("nothing to do, 7 of 7");
    assert_eq!(scratch.text("trace").lines().count(), 6);
    let runs = scratch.query("select count(*) from run");
    assert_eq!(runs, ["2"], "all of them belong to the script's run");
}

fn refused(body: &str, status: i32, says: &str) -> Scratch {
    let scratch = with(body);
    run(&scratch).exits(status).says(says);
    scratch
}

#[test]
fn what_makes_no_sense_is_said_and_nothing_is_run() {
    refused("step\n", 102, "required");
    refused("step a\n", 102, "a  it has no command");
    refused("step a --\n", 102, "a  it has no command");
    refused("step 'a b' -- true\n", 102, "`a b` cannot be a name");
    refused("step a/b -- true\n", 102, "`a/b` cannot be a name");
    refused("step a --out x -- touch x\n", 102, "the command does not know of its output `x`");
    refused("step a -- cp '{{ in }}' x\n", 102, "{{ in }} has no value");
    refused("step a --in nothere -- true\n", 101, "an input that is not there: `nothere`");
    refused("step a --in '*.nothing' -- true\n", 101, "nothing matches");
    refused("step a --out x -- test '{{ out }}'\n", 101, "did not write its output `x`");
    refused("step a --once --max-age 1d -- true\n", 102, "--once with --max-age");
    refused("step a --once --check true -- true\n", 102, "wants a definite no");
    refused("step a --equals x -- true\n", 102, "--equals without --check");
    refused("step a --safe-exit 3 -- true\n", 102, "--safe-exit without --once");
    refused("step a --in-place -- true\n", 102, "--in-place without --out");
    refused("step a --item '' -- true\n", 102, "its item is empty");
    refused("step a --out '' -- true '{{ out }}'\n", 102, "the path of a file is empty");
    refused("step a --max-age soon -- true\n", 102, "wants a length of time");
    refused("step a -- nosuchprogram\n", 127, "`nosuchprogram` was not found");
    refused("step a -- ./nightly.sh\n", 126, "may not be executed");
    refused("step a -- bash -c 'kill -9 $$'\n", 137, "ended by SIGKILL");
    refused("step ünïcode -- true\nstep b -- false\n", 1, "1 of 2 tasks done");
}

#[test]
fn a_name_comes_once_a_run_unless_it_says_which_task_it_is() {
    let scratch = with("step a -- true\nstep a -- true\n");
    run(&scratch).exits(102).says("a  comes a second time in run 1").says("--item");
    put(
        &scratch,
        "step b -- bash -c 'echo x >> trace; [ -e ok ]' || touch ok\nstep b -- bash -c 'echo x >> trace; [ -e ok ]'\n",
    );
    // One that failed may be tried again.
    run(&scratch).exits(0);
    assert_eq!(scratch.text("trace"), "x\nx\n");
}

#[test]
fn a_script_that_hides_a_failure_does_not_end_well() {
    let scratch = with("step a -- false || true\nstep b -- true\n");
    run(&scratch).exits(1).says("nightly run 1 failed").says("a: exit status 1; exit 1");
    scratch.semel("status").exits(1);
    put(&scratch, "step a -- false || true\nexit 7\n");
    run(&scratch).exits(7).says("exit 7");
}

#[test]
fn f18_without_a_manifest_or_without_semel_the_script_ends() {
    let scratch = crate::scratch();
    put(&scratch, "echo not reached\n");
    run(&scratch)
        .exits(105)
        .says("there is no manifest")
        .says("semel init --bare")
        .keeps_silent_of("not reached");
    let mut without = std::process::Command::new("bash");
    without.current_dir(scratch.path()).arg("nightly.sh").env("PATH", "/usr/bin:/bin");
    scratch.ran(without).exits(105).keeps_silent_of("not reached");
    assert!(!scratch.has(".semel"));
}
