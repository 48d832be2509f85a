//! Calls: what goes through the call journal.

mod counter;
mod held_back;
mod large;
mod never_twice;
mod same;
mod secrets;
mod shop;
mod standing;
mod verb;
