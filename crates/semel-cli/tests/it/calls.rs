//! Calls: what goes through the call journal.

mod action;
mod counter;
mod full;
mod hang_ups;
mod held_back;
mod http2;
mod large;
mod never_twice;
mod nonsense;
mod rules;
mod rules_change;
mod same;
mod secrets;
mod server;
mod shop;
mod standing;
mod tunnels;
mod verb;
mod wires;
