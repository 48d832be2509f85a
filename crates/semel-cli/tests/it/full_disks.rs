//! Where nothing more can be written: told, and nothing is lost.

use std::process::Command;

use crate::scratch;

/// Runs semel where a file may have so many KiB.
fn semel_limited(scratch: &semel_testkit::Scratch, kib: u32) -> semel_testkit::Ran {
    let semel = scratch.command(["run"]);
    let mut limited = Command::new("bash");
    limited.args(["-c", "ulimit -f \"$0\"; exec \"$@\"", &kib.to_string()]);
    limited.arg(semel.get_program()).args(semel.get_args()).current_dir(scratch.path()).env_clear();
    for (name, value) in semel.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    scratch.ran(limited)
}

/// The limit ends a program by a signal, silently; semel says what it could not do.
#[test]
fn a_file_that_may_grow_no_further_is_told_and_no_death() {
    let scratch = scratch();
    scratch.pipeline("[step.make]\nout = 'out'\nrun = 'echo made > {{ out }}'");
    semel_limited(&scratch, 8).exits(5).says("the manifest").says("nothing was started");
    assert!(!scratch.has(".semel"), "nothing is left");
    scratch.semel("run").exits(0);
    scratch.remove("out");
    semel_limited(&scratch, 0).exits(5).says("File too large");
    scratch.semel("run").exits(0);
    assert_eq!(scratch.text("out"), "made\n");
}

/// It is ended by the signal as without semel, instead of going on with half a file.
#[test]
fn commands_have_the_systems_own_way_with_the_limit() {
    let scratch = scratch();
    scratch.pipeline("[step.big]\nout = 'big'\nrun = 'exec head -c 9000000 /dev/zero > {{ out }}'");
    semel_limited(&scratch, 2000).exits(1).says("SIGXFSZ");
    assert!(!scratch.has("big"));
    scratch.semel("run").exits(0);
}
