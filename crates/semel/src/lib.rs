//! semel makes any script or pipeline safe to run again.
//!
//! Data flows one way:
//!
//! ```text
//! pipeline file -> plan -> decide -> act -> publish -> receipt -> report
//! ```
//!
//! The library has four storeys, each of which may use only those below it:
//!
//! | storey      | what                                    | may use   |
//! |-------------|-----------------------------------------|-----------|
//! | [`deed`]    | touches the world                       | all below |
//! | [`thought`] | pure functions                          | words     |
//! | [`ground`]  | the manifest's stores, the world        | words     |
//! | [`words`]   | plain data                              | nothing   |
//!
//! It talks to no terminal and ends no process: what becomes true comes out as
//! [`words::event::Event`]s.

pub mod deed;
pub mod ground;
pub mod thought;
pub mod words;

/// The time type of the library's interface.
pub use jiff::Timestamp;
