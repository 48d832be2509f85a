//! What semel's own tests share: scratch folders in which the command is run as
//! a user would, ways to wait for a moment and to kill in it, and one contract
//! for all stores.
//!
//! Nothing here sleeps: whoever must wait, waits for a condition.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

pub mod contract;
mod kill;
mod moment;
mod scratch;
pub mod tracer;

pub use kill::kill_tree;
pub use moment::{Gate, eventually};
pub use scratch::{Ran, Running, Scratch, Snapshot, redact};
