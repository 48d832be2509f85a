//! Rules: what `[[call]]` says of the calls that match it.
//!
//! Several rules may be for one call; what they say together is its terms. Lists of fields and
//! of statuses add up, and each budget holds. Two rules for one call that say different things
//! of any other key contradict each other, unless one is the user's and the other built in.

use std::fmt;
use std::time::Duration;

use super::{Money, Pattern};
use crate::words::pipeline::Span;

/// What is said of the calls that match a pattern. What is `None` or empty is not said.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which calls it is for.
    pub pattern: Pattern,
    /// Who says so.
    pub source: Source,
    /// The fields that make two requests the same call; the rest must match then.
    pub key: Vec<Field>,
    /// Fields that make no difference.
    pub ignore: Vec<Field>,
    /// What equal requests are to each other.
    pub equal: Option<Equal>,
    /// Whether it is a read: replayed only until its task completes.
    pub read: Option<bool>,
    /// Whether it passes through, and nothing of it is kept.
    pub pass: Option<bool>,
    /// Whether an equal request under another account is the same call, instead of refused.
    pub any_account: Option<bool>,
    /// Which header says the key to the provider.
    pub send_key: Option<SendKey>,
    /// How long the provider honours a key.
    pub key_window: Option<Duration>,
    /// What becomes of a call that is unknown.
    pub unknown: Option<WhenUnknown>,
    /// Statuses by which the provider says that it did nothing; none, if the list is empty.
    pub rejected: Option<Vec<u16>>,
    /// How old an answer may be that is replayed.
    pub fresh_for: Option<Duration>,
    /// How long the bodies of complete calls are kept.
    pub keep: Option<Duration>,
    /// What one call costs.
    pub price: Option<Price>,
    /// How much may be spent.
    pub budget: Option<Budget>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Fields of request and answer that are not kept.
    pub redact: Vec<Field>,
}

impl Rule {
    /// A rule that says nothing yet.
    #[must_use]
    pub const fn new(pattern: Pattern, source: Source) -> Self {
        Self {
            pattern,
            source,
            key: Vec::new(),
            ignore: Vec::new(),
            equal: None,
            read: None,
            pass: None,
            any_account: None,
            send_key: None,
            key_window: None,
            unknown: None,
            rejected: None,
            fresh_for: None,
            keep: None,
            price: None,
            budget: None,
            timeout: None,
            redact: Vec::new(),
        }
    }

    /// The keys of which another rule says something different, as the pipeline file names
    /// them. Whether there are calls that both are for is not asked.
    #[must_use]
    pub fn contradictions(&self, other: &Self) -> Vec<&'static str> {
        fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
            matches!((one, other), (Some(one), Some(other)) if one != other)
        }
        let keys_differ = !self.key.is_empty() && !other.key.is_empty() && self.key != other.key;
        let of = [
            ("key", keys_differ),
            ("equal", differ(&self.equal, &other.equal)),
            ("read", differ(&self.read, &other.read)),
            ("pass", differ(&self.pass, &other.pass)),
            ("account", differ(&self.any_account, &other.any_account)),
            ("send-key", differ(&self.send_key, &other.send_key)),
            ("key-window", differ(&self.key_window, &other.key_window)),
            ("unknown", differ(&self.unknown, &other.unknown)),
            ("fresh-for", differ(&self.fresh_for, &other.fresh_for)),
            ("keep", differ(&self.keep, &other.keep)),
            ("price", differ(&self.price, &other.price)),
            ("timeout", differ(&self.timeout, &other.timeout)),
        ];
        of.into_iter().filter(|(_, differ)| *differ).map(|(key, _)| key).collect()
    }
}

/// Who says a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The pipeline file, here.
    File(Span),
    /// Semel itself, of a provider, after this page of its documentation.
    Profile {
        /// The provider.
        provider: &'static str,
        /// Where it says so.
        page: &'static str,
    },
}

/// A part of a request or an answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// A part of the body by its JSON pointer (RFC 6901): `/order/id`. In a form or a
    /// multipart body, its field.
    Body(String),
    /// A parameter of the query: `?order`.
    Query(String),
    /// A header, lower case: `header:x-order`.
    Header(String),
}

/// Why a text names no field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "wants a part of the body as `/order/id`, a parameter as `?order`, or a header as `header:x-order`"
)]
pub struct FieldError;

impl Field {
    /// Reads `/order/id`, `?order` or `header:x-order`.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        if let Some(name) = text.strip_prefix("header:").filter(|name| !name.is_empty()) {
            return Ok(Self::Header(name.to_ascii_lowercase()));
        }
        match text.strip_prefix('?') {
            Some(name) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            None if text.len() > 1 && text.starts_with('/') => Ok(Self::Body(text.to_owned())),
            _ => Err(FieldError),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(pointer) => f.write_str(pointer),
            Self::Query(name) => write!(f, "?{name}"),
            Self::Header(name) => write!(f, "header:{name}"),
        }
    }
}

/// What equal requests are to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Equal {
    /// Calls of their own, each sent and each replayed.
    #[default]
    Separate,
    /// One call, whose answer all tasks of the pipeline get.
    Shared,
}

/// Which header says the key to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendKey {
    /// This one, lower case.
    Header(String),
    /// None: nothing is added.
    No,
}

/// What becomes of a call that is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// A human settles it.
    Stop,
    /// It is sent again with the same key, while the provider honours that.
    Resend,
    /// It is sent again, at most so often, and may be paid again each time.
    ResendAtMost(u32),
    /// A command is asked: `happened`, `absent` or `unsure`.
    Probe(String),
}

/// What one call costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    /// This.
    Fixed(Money),
    /// What the answer says.
    InAnswer {
        /// Where it says a number.
        field: Field,
        /// What one of it costs.
        each: Money,
        /// What is reserved before the answer is there.
        at_most: Money,
    },
}

impl Price {
    /// What is reserved before a call is sent.
    #[must_use]
    pub const fn reserved(&self) -> &Money {
        match self {
            Self::Fixed(money) => money,
            Self::InAnswer { at_most, .. } => at_most,
        }
    }
}

/// How much may be spent on the calls that a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// How many calls may be sent.
    pub calls: Option<u64>,
    /// How much money they may cost.
    pub money: Option<Money>,
    /// In which time.
    pub every: Every,
}

/// A time for which a budget is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Every {
    /// A run, or one `semel proxy`.
    #[default]
    Run,
    /// A day, of UTC.
    Day,
    /// A month, of UTC.
    Month,
}

impl Every {
    /// The word in the pipeline file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}
