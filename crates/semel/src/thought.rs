//! Thought: pure functions of words.

pub mod bind;
pub mod call;
pub mod decide;
pub mod draft;
pub mod lint;
pub mod mask;
pub mod plan;
pub mod report;
pub mod retry;
