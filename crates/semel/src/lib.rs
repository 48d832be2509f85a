//! semel makes any script or pipeline safe to run again.

pub mod deed;
pub mod ground;
pub mod thought;
pub mod words;
