//! Calls: what goes through the call journal.

mod counter;
mod full;
mod held_back;
mod large;
mod never_twice;
mod same;
mod secrets;
mod server;
mod shop;
mod standing;
mod verb;
mod wires;
