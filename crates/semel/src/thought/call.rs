//! Calls: which of the recorded ones a request is, on what terms it goes out, and what became
//! of one that was sent. Pure functions; `deed::calls` acts on them.

pub mod counting;
pub mod drift;
pub mod identity;
pub mod outcome;
pub mod profiles;
pub mod terms;
