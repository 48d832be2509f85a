//! The shells that evaluate the code, and what scripts do with their own traps.

use semel_testkit::Scratch;

use super::{run, until_kept, with};

fn has(shell: &str) -> bool {
    let found =
        std::process::Command::new("sh").args(["-c", &format!("command -v {shell}")]).output();
    found.unwrap().status.success()
}

/// The shells that are here: dash is in every Debian.
fn shells() -> impl Iterator<Item = &'static str> {
    ["bash", "dash", "zsh", "ksh", "busybox sh"]
        .into_iter()
        .filter(|shell| has(shell.split(' ').next().unwrap()))
}

fn in_shell(scratch: &Scratch, shell: &str) -> semel_testkit::Ran {
    let mut words = shell.split(' ');
    let program = words.next().unwrap();
    let command = match words.next() {
        Some(word) => {
            let mut command = scratch.script(program, word);
            command.arg("s.sh");
            command
        }
        None => scratch.script(program, "s.sh"),
    };
    scratch.ran(command)
}

#[test]
fn a_plain_script_is_guarded_in_each_of_them() {
    for shell in shells() {
        let scratch = with("");
        scratch.file(
            "s.sh",
            "set -eu\neval \"$(semel script s || echo exit 105)\"\nstep a --stdout a.txt -- echo a\nstep b -- sh -c '[ -e ok ]'\necho end\n",
        );
        let failed = in_shell(&scratch, shell).exits(1).keeps_silent_of("end");
        // Where a function fails, zsh ends without its EXIT trap.
        assert!(shell == "zsh" || failed.stderr.contains("1 of 2 tasks done"), "{failed:?}");
        until_kept(&scratch);
        scratch.semel("status").exits(1).says("s  run 1 failed");
        scratch.file("ok", "");
        in_shell(&scratch, shell).exits(0).says("1 done, 1 done before").says("end");
        in_shell(&scratch, shell).exits(0).says("nothing to do, 2 of 2");
        assert_eq!(scratch.text("a.txt"), "a\n", "{shell}");
    }
}

#[test]
fn without_errexit_a_failure_is_found_at_the_end() {
    for shell in shells() {
        let scratch = with("");
        scratch.file("s.sh", "eval \"$(semel script s || echo exit 105)\"\nstep a -- false\nstep b -- true\necho end\n");
        in_shell(&scratch, shell).exits(1).says("end").says("s run 1 failed");
    }
}

#[test]
fn what_is_broken_ends_the_script_whatever_it_does_with_statuses() {
    for shell in shells() {
        let scratch = with("");
        scratch.file("s.sh", "eval \"$(semel script s || echo exit 105)\"\nstep a --check 'exit 9' -- true || echo caught\necho end\n");
        in_shell(&scratch, shell).exits(105).keeps_silent_of("end").keeps_silent_of("caught");
    }
}

#[test]
fn the_scripts_own_exit_traps_are_run_first_and_see_its_status() {
    let body = "step a -- true\ntrap 'echo later $?' EXIT\ntrap 'echo term' TERM\n( trap 'echo inner' EXIT )\nexit 3\n";
    let scratch = with(body);
    let ran = run(&scratch).exits(3);
    assert_eq!(ran.stdout, "inner\nlater 3\n");
    assert!(ran.stderr.contains("run 1 failed"), "{ran:?}");
    // One that was set before is kept, and one that ends the shell takes nothing away.
    let text = "trap 'echo before $?; exit 0' EXIT\neval \"$(semel script s || echo exit 105)\"\nstep a -- false\nexit 4\n";
    scratch.file("s.sh", text);
    in_shell(&scratch, "bash").says("before 4");
    until_kept(&scratch);
    scratch.semel("status -f s").exits(1).says("run 2 failed");
    if has("dash") {
        scratch.file("s.sh", text.replace("; exit 0", ""));
        in_shell(&scratch, "dash").exits(4).says("before 4");
    }
    scratch.file("s.sh", "trap 'echo never' EXIT\neval \"$(semel script s || echo exit 105)\"\ntrap - EXIT\nstep a -- true\n");
    in_shell(&scratch, "bash").exits(0).keeps_silent_of("never");
}

#[test]
fn options_arrays_and_odd_names_do_no_harm() {
    let scratch = with(
        "set -f -C; IFS=,; shopt -s extglob nullglob; LC_ALL=C
f() { case $1 in +(a|b)) echo \"$IFS\";; esac; }
args=(--stdout 'a file' --item 'x y')
step f \"${args[@]}\" -- f ab
step quote --item \"it's \\\"q\\\"\" -- true
step nl --item $'two\\nlines' -- true
",
    );
    run(&scratch).exits(0).says("3 done");
    assert_eq!(scratch.text("a file"), ",\n");
    run(&scratch).exits(0).says("nothing to do, 3 of 3");
}

#[test]
fn a_name_that_is_none_ends_the_script() {
    let scratch = with("");
    scratch.file("s.sh", "eval \"$(semel script steps || echo exit 105)\"\necho not reached\n");
    let ran = in_shell(&scratch, "bash").says("cannot be the name of a script");
    assert!(ran.status == 102 || ran.status == 105, "{ran:?}");
    assert!(!ran.stdout.contains("not reached"));
    scratch.file("s.sh", "eval \"$(semel script || echo exit 105)\"\necho not reached\n");
    in_shell(&scratch, "bash").exits(105).keeps_silent_of("not reached");
}

/// Whoever traces a script sees what it wrote, not what semel put into it.
#[test]
fn a_trace_shows_the_scripts_own_lines() {
    let scratch = with("");
    scratch.file(
        "s.sh",
        "eval \"$(semel script s || echo exit 105)\"\ntrap 'echo mine; :' EXIT\nset -x\nf() { echo hi; }\nstep a --check 'test -e a' -- touch a\nstep b -- f\n",
    );
    let ran = in_shell(&scratch, "bash").exits(0);
    let traced: Vec<_> = ran.stderr.lines().filter(|line| line.starts_with('+')).collect();
    assert_eq!(
        traced,
        [
            "+ step a --check 'test -e a' -- touch a",
            "+ step b -- f",
            "+ __semel_exit",
            "++ echo mine",
            "++ :"
        ],
        "{ran:?}"
    );
}
