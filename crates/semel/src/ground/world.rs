//! The world: disk and processes, and a disk that fails on purpose.
//!
//! What is particular to an operating system stands here and nowhere else.

pub mod connections;
pub mod contain;
pub mod disk;
pub mod fault;
pub mod file_system;
pub mod keeper;
pub mod machine;
mod netlink;
pub mod process;
