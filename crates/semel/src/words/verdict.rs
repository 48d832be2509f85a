//! What is remembered of a task, what is seen of it, and what follows.
//!
//! Memory and truth go into [`crate::thought::decide`], a verdict comes out. A
//! verdict is never a bool: it says what to do and why.

use std::fmt;

/// What the manifest says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Nothing.
    None,
    /// It was completed.
    Complete(Likeness),
    /// The last attempt ended badly, after any receipt.
    Failed,
    /// The last attempt did not end.
    Interrupted,
    /// An attempt is at work.
    Running,
}

/// How the fingerprint of a receipt compares with the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Likeness {
    /// Both parts are the same.
    Same,
    /// Only *how* it is done differs.
    OtherHow,
    /// *What* is done differs, and *how* perhaps too.
    OtherWhat,
}

/// What can be seen of a task's effect, held against the present fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// An explicit check says no, or an output is not there.
    Missing,
    /// Something is there that no receipt or stamp of semel's explains.
    Altered,
    /// The effect is there and carries the present fingerprint.
    Proven,
    /// Only an explicit check holds.
    Claimed,
    /// There is nothing to look at, or only what an older version of the task
    /// left.
    Unknown,
}

/// What a task's outputs show, held against the present fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outputs {
    /// It has none.
    None,
    /// At least one is not there.
    Missing,
    /// At least one is not what semel made.
    Altered,
    /// Each carries the proof that it is what the present fingerprint makes.
    Proven,
    /// They are semel's own, but of an older version of the task.
    Older,
}

/// Whether a step may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// It may.
    Ordinary,
    /// It is unsafe to repeat.
    Once,
}

/// What a human said of a task, and no run has acted on yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// `semel done`: accept what is there.
    Done,
    /// `semel redo`: do it again, once.
    Redo,
    /// `--fresh`: do every ordinary step again.
    Fresh,
}

/// A completed task of the same step and instance with the same fingerprint,
/// its outputs, if any, proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Twin {
    /// There is none.
    None,
    /// Its item is still present.
    Present,
    /// Its item is gone: it was renamed.
    Gone,
}

/// What is done with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ruling {
    /// Nothing: it is done.
    Skip,
    /// Its action is run.
    Run,
    /// What another task made of the same content serves it too.
    Reuse,
    /// The receipt is written, and nothing else done.
    Adopt,
    /// Nothing, until a human settles it.
    Refuse,
    /// Nothing, while somebody else is at work on it.
    Wait,
    /// Nothing, since something before it has not reached its state.
    Blocked,
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip => "skip",
            Self::Run => "run",
            Self::Reuse => "reuse",
            Self::Adopt => "adopt",
            Self::Refuse => "refuse",
            Self::Wait => "wait",
            Self::Blocked => "blocked",
        })
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Something it needs, or comes after, has not reached its state.
    Upstream,
    /// Somebody else is at work on it.
    Busy,
    /// A human said that it is done.
    SaidDone,
    /// A human said that it is done, and its outputs are not there.
    SaidDoneWithoutOutputs,
    /// A human said to do it again.
    SaidRedo,
    /// Everything is to be done afresh.
    Fresh,
    /// Done, and nothing changed.
    Unchanged,
    /// Done, nothing changed, and the check holds.
    CheckHolds,
    /// Done by an earlier version of the command.
    DoneByEarlierCommand,
    /// Done, and its effect is gone.
    Missing,
    /// Done, and its output is not what was made.
    Altered,
    /// Receipt and world disagree about a task that is unsafe to repeat.
    Disagreement,
    /// The command changed.
    CommandChanged,
    /// The inputs changed.
    InputsChanged,
    /// The inputs changed, and the outputs are already those of the new ones.
    FoundChanged,
    /// It was done once, with other inputs.
    DoneWithOtherInputs,
    /// Not remembered, and its outputs carry the proof.
    FoundDone,
    /// Not remembered, and its check holds already.
    CheckHeldAlready,
    /// The same content was worked on under another name.
    SameContent,
    /// The same content was worked on, and its item is still here.
    SameContentPresent,
    /// Never done.
    New,
    /// Never done, as far as an incomplete memory can tell.
    MemoryIncomplete,
    /// The last attempt did not succeed.
    Again,
    /// The last attempt did not succeed, and provably did nothing.
    AgainSafely,
    /// The last attempt may have done it.
    MayBeDone,
    /// The receipt is older than `max-age` allows.
    TooOld,
    /// The command changed, and a human said that it does not matter.
    Kept,
    /// The same content was worked on under another name, and what was made is gone
    /// or altered.
    SameContentLost,
    /// A step that is no longer in the file did, or may have done, the same.
    MayBeRenamed,
    /// The step goes in order, and one that comes later is done already.
    ComesTooLate,
}

/// What is done with a task, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// What is done.
    pub ruling: Ruling,
    /// Why.
    pub reason: Reason,
}

impl fmt::Display for Reason {
    /// The reason as people read it: a fragment, to stand behind the ruling.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upstream => "what it waits for has not reached its state",
            Self::Busy => "somebody else is at work on it",
            Self::SaidDone => "settled: you said that it is done",
            Self::SaidDoneWithoutOutputs => {
                "you said that it is done, but its outputs are not there"
            }
            Self::SaidRedo => "settled: you said to do it again",
            Self::Fresh => "everything is done afresh",
            Self::Unchanged => "unchanged",
            Self::CheckHolds => "check holds",
            Self::DoneByEarlierCommand => "done by an earlier version of the command",
            Self::Missing => "what it made is gone",
            Self::Altered => "what it made was altered",
            Self::Disagreement => "the receipt says done, the world does not",
            Self::CommandChanged => "the command changed",
            Self::InputsChanged => "its input changed",
            Self::FoundChanged => "its input changed, and the output fits it already",
            Self::DoneWithOtherInputs => "it was done with other inputs",
            Self::FoundDone => "found done: its output carries the proof",
            Self::CheckHeldAlready => "its check held already",
            Self::SameContent => "the same content was done under another name",
            Self::SameContentPresent => "the same content was done for another item",
            Self::New => "new",
            Self::MemoryIncomplete => "the memory is incomplete: it may have been done",
            Self::Again => "the last attempt did not succeed",
            Self::AgainSafely => "the last attempt provably did nothing",
            Self::MayBeDone => "may have been done already",
            Self::TooOld => "too old",
            Self::Kept => "its command changed, and that does not matter",
            Self::SameContentLost => "this content was done, and its output is gone",
            Self::MayBeRenamed => "a step that is no longer in the file may have done it",
            Self::ComesTooLate => "comes before one that is done already",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.ruling, self.reason)
    }
}

impl Reason {
    /// Whether it is a reason to run or reuse.
    #[must_use]
    pub const fn acts(&self) -> bool {
        matches!(
            self,
            Self::SaidRedo
                | Self::Fresh
                | Self::Missing
                | Self::Altered
                | Self::CommandChanged
                | Self::InputsChanged
                | Self::SameContent
                | Self::New
                | Self::Again
                | Self::AgainSafely
                | Self::TooOld
        )
    }

    /// Whether something that is there is accepted for it.
    #[must_use]
    pub const fn adopts(&self) -> bool {
        matches!(
            self,
            Self::SaidDone
                | Self::FoundDone
                | Self::FoundChanged
                | Self::CheckHeldAlready
                | Self::Kept
        )
    }

    /// The reason behind a number of tasks: `2 new`, `1 changed`.
    #[must_use]
    pub const fn brief(self) -> &'static str {
        match self {
            Self::InputsChanged => "changed",
            Self::CommandChanged => "whose command changed",
            Self::Missing => "whose output is gone",
            Self::Altered => "whose output was altered",
            Self::Again | Self::AgainSafely => "to be tried again",
            Self::SameContent => "of the same content as others",
            Self::SaidRedo => "settled: to be done again",
            Self::SaidDone => "settled: done",
            Self::Fresh => "done afresh",
            Self::CheckHolds => "whose check holds",
            Self::DoneByEarlierCommand => "done by an earlier version of the command",
            Self::FoundDone | Self::FoundChanged => "found done",
            Self::CheckHeldAlready => "whose check held already",
            Self::Unchanged => "unchanged",
            Self::New => "new",
            Self::Upstream => "blocked",
            Self::Busy => "busy",
            Self::SaidDoneWithoutOutputs => "without outputs",
            Self::Disagreement => "where receipt and world disagree",
            Self::DoneWithOtherInputs => "done with other inputs",
            Self::SameContentPresent => "of the same content as others that are here",
            Self::MemoryIncomplete | Self::MayBeDone | Self::MayBeRenamed => {
                "that may have been done"
            }
            Self::SameContentLost => "of content that was done, and whose output is gone",
            Self::TooOld => "too old",
            Self::Kept => "kept though the command changed",
            Self::ComesTooLate => "that come before one that is done",
        }
    }

    /// The reason's name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Busy => "busy",
            Self::SaidDone => "said-done",
            Self::SaidDoneWithoutOutputs => "said-done-without-outputs",
            Self::SaidRedo => "said-redo",
            Self::Fresh => "fresh",
            Self::Unchanged => "unchanged",
            Self::CheckHolds => "check-holds",
            Self::DoneByEarlierCommand => "done-by-earlier-command",
            Self::Missing => "missing",
            Self::Altered => "altered",
            Self::Disagreement => "disagreement",
            Self::CommandChanged => "command-changed",
            Self::InputsChanged => "inputs-changed",
            Self::FoundChanged => "found-changed",
            Self::DoneWithOtherInputs => "done-with-other-inputs",
            Self::FoundDone => "found-done",
            Self::CheckHeldAlready => "check-held-already",
            Self::SameContent => "same-content",
            Self::SameContentPresent => "same-content-present",
            Self::New => "new",
            Self::MemoryIncomplete => "memory-incomplete",
            Self::Again => "again",
            Self::AgainSafely => "again-safely",
            Self::MayBeDone => "may-be-done",
            Self::SameContentLost => "same-content-lost",
            Self::TooOld => "too-old",
            Self::Kept => "kept",
            Self::MayBeRenamed => "may-be-renamed",
            Self::ComesTooLate => "comes-too-late",
        }
    }
}
