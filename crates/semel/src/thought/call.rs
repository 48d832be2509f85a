//! Calls: which of the recorded ones a request is, and what became of one that was sent.
//! Pure functions; `deed::calls` acts on them.

pub mod counting;
pub mod drift;
pub mod identity;
pub mod outcome;
