//! Many at once: one works, the others are told, and nothing is done twice.

use crate::scratch;

/// Starts some runs in one moment. One at a time works; the others are told.
fn all_at_once(scratch: &semel_testkit::Scratch, many: usize) {
    let running: Vec<_> = (0..many).map(|_| scratch.start("run")).collect();
    let ran: Vec<_> = running.into_iter().map(semel_testkit::Running::end).collect();
    assert!(ran.iter().all(|ran| [0, 4].contains(&ran.status)), "{ran:?}");
    assert!(ran.iter().any(|ran| ran.status == 0), "{ran:?}");
}

#[test]
fn i4_first_runs_that_begin_in_one_moment_do_what_is_done_once_once() {
    for _ in 0..5 {
        let scratch = scratch();
        scratch.pipeline(
            "[step.make]\nout = 'made'\nrun = 'echo made > {{ out }}; echo make >> trace'\n[step.pay]\nneeds = ['make']\nonce = true\nrun = 'echo paid >> ledger'",
        );
        all_at_once(&scratch, 12);
        assert_eq!((&*scratch.text("ledger"), &*scratch.text("trace")), ("paid\n", "make\n"));
        scratch.semel("run --expect-noop").exits(0);
        assert_eq!(scratch.list(".semel/staging"), [""; 0]);
    }
}

#[test]
fn i4_later_runs_that_begin_in_one_moment_do_a_change_once() {
    let scratch = scratch();
    scratch.file("in", "1").pipeline(
        "[step.copy]\nin = 'in'\nout = 'out'\nrun = 'cp {{ in }} {{ out }}; echo copy >> trace'",
    );
    scratch.semel("run").exits(0);
    scratch.file("in", "2");
    all_at_once(&scratch, 12);
    assert_eq!((&*scratch.text("out"), &*scratch.text("trace")), ("2", "copy\ncopy\n"));
}

/// A memory that was taken away leaves what else lies in `.semel/`, whatever
/// becomes of the next run.
#[test]
fn what_was_displaced_outlives_a_run_that_cannot_begin() {
    let scratch = scratch();
    scratch.file("out", "precious").pipeline("[step.a]\nout = 'out'\nrun = 'echo 1 > {{ out }}'");
    scratch.semel("run").exits(0);
    scratch.sh("rm .semel/manifest.db*; mkdir .semel/manifest.db");
    scratch.semel("run").exits(5);
    assert_eq!(scratch.text(".semel/displaced/1/out"), "precious");
}
