//! Calls, as far as they can be thought of without sending any.

pub mod profiles;
pub mod terms;
