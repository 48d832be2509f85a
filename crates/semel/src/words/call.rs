//! Calls: HTTP requests that go through the call journal.
//!
//! A call is one request that may be paid for: it is sent at most once unless it is
//! proved that it was not processed, or a rule or a human says so.

mod money;
mod pattern;
mod record;
mod rule;
mod sums;

pub use money::{Money, MoneyError};
pub use pattern::{Pattern, PatternError, Target};
pub use record::{
    Answered, Asked, BodyOf, CallRecord, CallResolution, CallSend, DIED, Ended, Head, PROXY,
    PermitFor, Reserve, Scope, is_refusal, is_unsure,
};
pub use rule::{
    Budget, Equal, Every, Field, FieldError, Price, Rule, SendKey, Source, WhenUnknown,
};
pub use sums::{Sum, Sums};

/// Where a call stands.
///
/// A call that is not there yet has none of these; [`Self::Complete`] is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallState {
    /// Its permit is durable, and how it ended is not known yet.
    InFlight,
    /// Its answer is kept, and replayed.
    Complete,
    /// It was proved that it was not processed: it may be sent again.
    Rejected,
    /// Nobody knows whether it was processed: it is not sent again, unless a rule or a
    /// human says so.
    Unknown,
}

impl CallState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::InFlight, Self::Complete, Self::Rejected, Self::Unknown];

    /// The word for people and for the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InFlight => "in flight",
            Self::Complete => "complete",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// How the calls of a step go out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// As they like: semel does not see them.
    #[default]
    Free,
    /// Through the call journal; what goes round it is reported.
    Guarded,
    /// Through the call journal, and the command can reach nothing else.
    Contained,
}
