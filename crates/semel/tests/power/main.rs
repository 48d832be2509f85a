//! The power is cut while semel works. In every state that this may leave, the promises
//! hold; of some hundreds of these states the next run is made, and ends like a run that
//! nobody interrupted.
//!
//! `simulated` is a medium that is as bad as it may be; `real` cuts the power of ext4 and
//! XFS after the k-th change of the disk, and `semel-cli/tests/power` at what users see.
//! `SEMEL_SEED` begins with other numbers; a violation names the moment and the fate with
//! which it comes again. `SEMEL_POWER=all` tries ten times as much.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests end where something is not as it must be, and say what was tried"
)]

mod real;
mod simulated;
mod stories;
mod world;

use real::explore_for_real;
use simulated::{explore, explore_twice};
use stories::{ADDED, FIRST, FORGOTTEN, GIVEN_BACK, LATER, LOOSE, PAID, PRUNED, TAKEN_BACK};

/// How often the next run is made: of every so manieth state.
const EVERY: usize = 150;

#[test]
fn i1_i3_i7_i8_the_power_is_cut_in_a_first_run() {
    explore("a first run", FIRST, 12, EVERY);
}

#[test]
fn i1_i7_i8_the_power_is_cut_in_a_later_run() {
    explore("a later run", LATER, 12, EVERY);
}

#[test]
fn i8_i9_the_power_is_cut_while_a_command_writes_in_place_and_what_was_there_is_put_back() {
    explore("in place", ADDED, 12, EVERY);
}

#[test]
fn i3_i6_the_power_is_cut_while_a_lost_memory_is_made_anew() {
    explore("a lost memory", FORGOTTEN, 12, EVERY);
}

#[test]
fn i3_i6_the_power_is_cut_while_something_is_paid() {
    explore("what is done once", PAID, 40, 40);
}

#[test]
fn i8_the_power_is_cut_while_what_was_published_is_taken_back() {
    explore("a check that does not hold", TAKEN_BACK, 12, 0);
}

#[test]
fn i8_the_power_is_cut_while_an_input_is_given_back() {
    explore("an input that was moved away", GIVEN_BACK, 12, 0);
}

#[test]
fn i8_the_power_is_cut_while_outputs_are_pruned() {
    // The next run has nothing to do with it.
    explore("prune", PRUNED, 40, 0);
}

/// With less durability receipts may be lost, or be there without their outputs: what
/// is lost is done again, but never what is done once.
#[test]
fn i3_i6_with_less_durability_the_power_is_cut_and_what_is_lost_is_done_again() {
    explore("less durability", LOOSE, 12, EVERY);
}

#[test]
fn i1_i3_i7_i8_the_power_is_cut_twice() {
    explore_twice("cut twice", FIRST, 2, EVERY);
}

#[test]
fn i8_i9_the_power_is_cut_twice_while_a_command_writes_in_place() {
    explore_twice("in place, cut twice", ADDED, 2, EVERY);
}

#[test]
fn i1_i3_i7_i8_or_skipped_the_power_of_real_file_systems_is_cut_in_a_first_run() {
    explore_for_real("a first run", FIRST);
}

#[test]
fn i8_i9_or_skipped_the_power_of_real_file_systems_is_cut_while_a_command_writes_in_place() {
    explore_for_real("in place", ADDED);
}
