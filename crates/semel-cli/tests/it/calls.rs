//! Calls: what goes through the call journal.

mod held_back;
mod never_twice;
mod same;
mod secrets;
mod shop;
mod standing;
mod verb;
