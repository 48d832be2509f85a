//! Calls: what goes through the call journal.

mod action;
mod counter;
mod full;
mod held_back;
mod large;
mod never_twice;
mod rules;
mod same;
mod secrets;
mod server;
mod shop;
mod standing;
mod verb;
mod wires;
