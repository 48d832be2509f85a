//! What semel's own tests share: scratch folders in which the command is run as
//! a user would, ways to wait for a moment and to kill in it, one contract for all
//! stores, servers of a test's own, and a paid provider that misbehaves.
//!
//! Nothing here sleeps: whoever must wait, waits for a condition. (The plain client
//! pauses before it sends again. That is what clients do.)

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

pub mod aftermath;
pub mod contract;
pub mod cut;
mod kill;
pub mod library;
mod moment;
pub mod plain_client;
pub mod power;
pub mod provider;
pub mod recorded;
mod scratch;
pub mod servers;
pub mod sweep;
pub mod tracer;

pub use kill::{commands_of, keepers_of, kill_tree, kill_without_commands, stop_tree};
pub use moment::{Gate, eventually};
pub use scratch::{Ran, Running, Scratch, Snapshot, redact};
