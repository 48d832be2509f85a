//! Killed at every change of the disk in turn, or told that it did not work; run
//! again; in the end nothing is missing, half there, or done twice.
//!
//! The changes are the state-changing system calls of semel's own process
//! ([`semel_testkit::tracer`]). By default every n-th of them is tried, so that all
//! takes less than a minute; all of them, with what was tried and how it ended, by
//!
//!     SEMEL_SWEEP=full cargo test --workspace --test crash -- --nocapture
//!
//! (`TMPDIR=/dev/shm` makes that faster, `SEMEL_SWEEP=7` tries every seventh.) Where
//! nothing can be traced, each test says so, and passes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests"
)]

mod faults;
mod kills;
mod scene;
mod scripts;
mod sweep;

#[test]
fn launcher() {
    semel_testkit::tracer::launch();
}
