//! Thought: pure functions of words.

pub mod decide;
