//! Calls: what goes through the call journal.

mod verb;
