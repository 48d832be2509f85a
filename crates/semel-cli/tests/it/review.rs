//! The scenarios that shaped the rules, each in the user's words: what went wrong, or
//! would have, and must not. The names begin with the number of the scenario.

mod files;
mod never_twice;
mod runs;
mod what_counts;
