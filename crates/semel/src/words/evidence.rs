//! Evidence: what a verdict rests on, cue by cue, as it was recorded and as it
//! is now.

use jiff::Timestamp;

use crate::words::call::Sums;
use crate::words::verdict::{Memory, Truth, Verdict};

/// What kind of thing a cue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// What is done.
    What,
    /// How it is done.
    How,
    /// What can be seen.
    Truth,
}

impl Part {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::What => "what",
            Self::How => "how",
            Self::Truth => "truth",
        }
    }
}

/// One cue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// What kind of thing it is.
    pub part: Part,
    /// Which thing.
    pub name: String,
    /// As the receipt has it; `None` where there is no receipt, or the receipt
    /// does not have it.
    pub recorded: Option<String>,
    /// As it is now; `None` where it is not there.
    pub now: Option<String>,
}

impl Cue {
    /// Whether it is as it was recorded.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.recorded == self.now
    }
}

/// All that a verdict rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The verdict.
    pub verdict: Verdict,
    /// The run and time of the receipt, if there is one.
    pub receipt: Option<(i64, Timestamp)>,
    /// The cues.
    pub cues: Vec<Cue>,
    /// What memory says.
    pub memory: Memory,
    /// What truth says.
    pub truth: Truth,
    /// What was not looked at, and why.
    pub not_seen: Vec<String>,
    /// The last attempt since the receipt: its run, when it began, how it ended.
    pub attempt: Option<(i64, Timestamp, String)>,
    /// The task whose outputs serve this one.
    pub twin: Option<String>,
    /// What its calls came to.
    pub calls: Sums,
    /// What those came to that all tasks of the pipeline share, if it may have made some.
    pub shared_calls: Sums,
}
