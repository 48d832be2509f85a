//! Databases under faults: connections that are cut, servers and semels that are killed,
//! many at once, and runs that were taken over. Run again, each file has its rows once,
//! and each stamp tells of the rows that are there (*I11*).
//!
//! By default a sample is tried; all of it, with what was tried and how it ended, by
//!
//!     SEMEL_SWEEP=full cargo test --workspace --test databases -- --nocapture
//!
//! (`SEMEL_SWEEP=7` tries every seventh.)

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests tell their story in their names, and end where it is another"
)]

mod cuts;
mod kills;
mod scene;
mod taken_over;
mod together;
