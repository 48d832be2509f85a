//! The charge oracle: a batch that pays for orders, at a provider that charges and does not
//! answer, under processes that are killed. No order is ever charged twice; a call that is
//! complete was charged once; what is unknown is not sent again without a rule (*I13*,
//! *I14*). What the same client does without semel stands beside.
//!
//! By default a sample is tried; all of it, with what was tried and how it ended, by
//!
//!     SEMEL_SWEEP=full cargo test --workspace --test calls -- --nocapture
//!
//! (`SEMEL_SWEEP=7` tries every seventh.) A trial is a number: it decides what the provider
//! does, how patient the client is, and who is killed when.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests tell their story in their names, and end where it is another"
)]

mod batch;
mod blow;
mod crashes;
mod oracle;

/// Not a test of its own: the client that the others start.
#[test]
fn plain_client() {
    semel_testkit::plain_client::become_client();
}

/// Not a test of its own: what becomes a command that is traced.
#[test]
fn launcher() {
    semel_testkit::tracer::launch();
}
