//! HTTP as the call proxy needs it: a certificate authority to be somebody to the
//! clients, and a client that can say of a request that failed whether it was processed.
//!
//! Invariant: nothing in here sends a request twice. Who wants that asks again.

pub mod authority;
pub mod trust;
pub mod upstream;
