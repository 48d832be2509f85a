//! The rules of the decision: a table whose first fitting row applies, and how the
//! docs show it.

use std::fmt::Write as _;

use super::Case;
use crate::words::verdict::{Likeness, Memory, Reason, Ruling, Truth, Twin, Word};

/// A row of the table.
pub(super) struct Row {
    pub(super) memory: MemoryIs,
    pub(super) truth: TruthIs,
    pub(super) ordinary: &'static [Choice],
    pub(super) once: &'static [Choice],
}

/// What a row wants of memory.
#[derive(Clone, Copy)]
pub(super) enum MemoryIs {
    Any,
    Running,
    CompleteSame,
    CompleteOtherHow,
    CompleteOtherWhat,
    NoneButTwin,
    None,
    FailedOrInterrupted,
}

/// What a row wants of truth, or of what stands before it.
#[derive(Clone, Copy)]
pub(super) enum TruthIs {
    Any,
    UpstreamNotReached,
    SaidDone,
    SaidRedo,
    Fresh,
    Kept,
    NotLost,
    Missing,
    Altered,
    Proven,
    Claimed,
    ProvenOrClaimed,
    Else,
}

/// One of the verdicts of a cell; the first whose condition holds is given.
pub(super) struct Choice {
    pub(super) when: When,
    pub(super) then: Then,
}

#[derive(Clone, Copy)]
pub(super) enum When {
    Always,
    OutputsAccepted,
    CheckHolds,
    MemoryIncomplete,
    RenamedOrSameContent,
    ProvablyUndone,
    TooOld,
    NotDeterministic,
    TwinIsLost,
    MayBeRenamed,
    ComesTooLate,
}

#[derive(Clone, Copy)]
pub(super) enum Then {
    Give(Ruling, Reason),
    AsIfSame,
    AsIfNotFresh,
}

const fn give(ruling: Ruling, reason: Reason) -> Choice {
    when(When::Always, ruling, reason)
}

const fn when(when: When, ruling: Ruling, reason: Reason) -> Choice {
    Choice { when, then: Then::Give(ruling, reason) }
}

const AS_IF_SAME: Choice = Choice { when: When::Always, then: Then::AsIfSame };
const AS_IF_NOT_FRESH: Choice = Choice { when: When::Always, then: Then::AsIfNotFresh };

const SKIP: &[Choice] = &[
    when(When::CheckHolds, Ruling::Skip, Reason::CheckHolds),
    give(Ruling::Skip, Reason::Unchanged),
];
const ADOPT_CLAIMED: &[Choice] = &[give(Ruling::Adopt, Reason::CheckHeldAlready)];
const ADOPT_FOUND: &[Choice] = &[give(Ruling::Adopt, Reason::FoundDone)];
const ADOPT_NEW: &[Choice] = &[
    when(When::CheckHolds, Ruling::Adopt, Reason::CheckHeldAlready),
    give(Ruling::Adopt, Reason::FoundDone),
];
const SETTLED_DONE: &[Choice] = &[
    when(When::OutputsAccepted, Ruling::Adopt, Reason::SaidDone),
    give(Ruling::Refuse, Reason::SaidDoneWithoutOutputs),
];

/// The table. The first row that applies decides.
pub(super) const RULES: &[Row] = &[
    Row {
        memory: MemoryIs::Any,
        truth: TruthIs::UpstreamNotReached,
        ordinary: &[give(Ruling::Blocked, Reason::Upstream)],
        once: &[give(Ruling::Blocked, Reason::Upstream)],
    },
    Row {
        memory: MemoryIs::Running,
        truth: TruthIs::Any,
        ordinary: &[give(Ruling::Wait, Reason::Busy)],
        once: &[give(Ruling::Wait, Reason::Busy)],
    },
    Row {
        memory: MemoryIs::Any,
        truth: TruthIs::SaidDone,
        ordinary: SETTLED_DONE,
        once: SETTLED_DONE,
    },
    Row {
        memory: MemoryIs::Any,
        truth: TruthIs::SaidRedo,
        ordinary: &[give(Ruling::Run, Reason::SaidRedo)],
        once: &[give(Ruling::Run, Reason::SaidRedo)],
    },
    Row {
        memory: MemoryIs::Any,
        truth: TruthIs::Fresh,
        ordinary: &[give(Ruling::Run, Reason::Fresh)],
        once: &[AS_IF_NOT_FRESH],
    },
    Row { memory: MemoryIs::CompleteSame, truth: TruthIs::NotLost, ordinary: SKIP, once: SKIP },
    Row {
        memory: MemoryIs::CompleteSame,
        truth: TruthIs::Missing,
        ordinary: &[give(Ruling::Run, Reason::Missing)],
        once: &[give(Ruling::Refuse, Reason::Disagreement)],
    },
    Row {
        memory: MemoryIs::CompleteSame,
        truth: TruthIs::Altered,
        ordinary: &[
            when(When::NotDeterministic, Ruling::Refuse, Reason::Altered),
            give(Ruling::Run, Reason::Altered),
        ],
        once: &[give(Ruling::Refuse, Reason::Altered)],
    },
    Row {
        memory: MemoryIs::CompleteOtherHow,
        truth: TruthIs::Kept,
        ordinary: &[give(Ruling::Adopt, Reason::Kept)],
        once: &[AS_IF_SAME],
    },
    Row {
        memory: MemoryIs::CompleteOtherHow,
        truth: TruthIs::Any,
        ordinary: &[give(Ruling::Run, Reason::CommandChanged)],
        once: &[AS_IF_SAME],
    },
    Row {
        memory: MemoryIs::CompleteOtherWhat,
        truth: TruthIs::Proven,
        ordinary: &[give(Ruling::Adopt, Reason::FoundChanged)],
        once: &[give(Ruling::Refuse, Reason::DoneWithOtherInputs)],
    },
    Row {
        memory: MemoryIs::CompleteOtherWhat,
        truth: TruthIs::Else,
        ordinary: &[
            when(When::TooOld, Ruling::Run, Reason::TooOld),
            give(Ruling::Run, Reason::InputsChanged),
        ],
        once: &[give(Ruling::Refuse, Reason::DoneWithOtherInputs)],
    },
    Row {
        memory: MemoryIs::None,
        truth: TruthIs::ProvenOrClaimed,
        ordinary: ADOPT_NEW,
        once: ADOPT_NEW,
    },
    Row {
        memory: MemoryIs::NoneButTwin,
        truth: TruthIs::Else,
        ordinary: &[give(Ruling::Reuse, Reason::SameContent)],
        once: &[
            when(When::RenamedOrSameContent, Ruling::Reuse, Reason::SameContent),
            give(Ruling::Refuse, Reason::SameContentPresent),
        ],
    },
    Row {
        memory: MemoryIs::None,
        truth: TruthIs::Else,
        ordinary: &[give(Ruling::Run, Reason::New)],
        once: &[
            when(When::TwinIsLost, Ruling::Refuse, Reason::SameContentLost),
            when(When::MayBeRenamed, Ruling::Refuse, Reason::MayBeRenamed),
            when(When::ComesTooLate, Ruling::Refuse, Reason::ComesTooLate),
            when(When::MemoryIncomplete, Ruling::Refuse, Reason::MemoryIncomplete),
            give(Ruling::Run, Reason::New),
        ],
    },
    Row {
        memory: MemoryIs::FailedOrInterrupted,
        truth: TruthIs::Proven,
        ordinary: ADOPT_FOUND,
        once: ADOPT_FOUND,
    },
    Row {
        memory: MemoryIs::FailedOrInterrupted,
        truth: TruthIs::Claimed,
        ordinary: &[give(Ruling::Run, Reason::Again)],
        once: ADOPT_CLAIMED,
    },
    Row {
        memory: MemoryIs::FailedOrInterrupted,
        truth: TruthIs::Else,
        ordinary: &[give(Ruling::Run, Reason::Again)],
        once: &[
            when(When::ProvablyUndone, Ruling::Run, Reason::AgainSafely),
            give(Ruling::Refuse, Reason::MayBeDone),
        ],
    },
];

impl Row {
    pub(super) fn applies(&self, case: &Case) -> bool {
        self.memory.fits(case) && self.truth.fits(case)
    }
}

impl MemoryIs {
    fn fits(self, case: &Case) -> bool {
        use Likeness::{OtherHow, OtherWhat, Same};
        match self {
            Self::Any => true,
            Self::Running => case.memory() == Memory::Running,
            Self::CompleteSame => case.memory() == Memory::Complete(Same),
            Self::CompleteOtherHow => case.memory() == Memory::Complete(OtherHow),
            Self::CompleteOtherWhat => case.memory() == Memory::Complete(OtherWhat),
            Self::NoneButTwin => case.memory() == Memory::None && case.twin != Twin::None,
            Self::None => case.memory() == Memory::None,
            Self::FailedOrInterrupted => {
                matches!(case.memory(), Memory::Failed | Memory::Interrupted)
            }
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Running => "running",
            Self::CompleteSame => "complete, same",
            Self::CompleteOtherHow => "complete, other *how*",
            Self::CompleteOtherWhat => "complete, other *what*",
            Self::NoneButTwin => {
                "none, and a completed task of the same step and instance has this fingerprint"
            }
            Self::None => "none",
            Self::FailedOrInterrupted => "failed, interrupted",
        }
    }
}

impl TruthIs {
    fn fits(self, case: &Case) -> bool {
        let truth = case.truth();
        match self {
            Self::Any | Self::Else => true,
            Self::UpstreamNotReached => case.blocked,
            Self::SaidDone => case.word == Some(Word::Done),
            Self::SaidRedo => case.word == Some(Word::Redo),
            Self::Fresh => case.word == Some(Word::Fresh),
            Self::Kept => case.keeps && is_not_lost(truth),
            Self::NotLost => is_not_lost(truth),
            Self::Missing => truth == Truth::Missing,
            Self::Altered => truth == Truth::Altered,
            Self::Proven => truth == Truth::Proven,
            Self::Claimed => truth == Truth::Claimed,
            Self::ProvenOrClaimed => matches!(truth, Truth::Proven | Truth::Claimed),
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Else => "else",
            Self::UpstreamNotReached => {
                "something it needs, or comes after, has not reached its state"
            }
            Self::SaidDone => "any, and a human said `semel done`",
            Self::SaidRedo => "any, and a human said `semel redo`",
            Self::Fresh => "any, under `--fresh`",
            Self::Kept => "proven, claimed, unknown, under `--keep`",
            Self::NotLost => "proven, claimed, unknown",
            Self::Missing => "missing",
            Self::Altered => "altered",
            Self::Proven => "proven",
            Self::Claimed => "claimed",
            Self::ProvenOrClaimed => "proven, claimed",
        }
    }
}

impl When {
    pub(super) fn holds(self, case: &Case) -> bool {
        match self {
            Self::Always => true,
            Self::OutputsAccepted => case.outputs_accepted,
            Self::CheckHolds => case.check == Some(true),
            Self::MemoryIncomplete => !case.memory_is_whole,
            Self::RenamedOrSameContent => case.twin == Twin::Gone || case.same_content,
            Self::ProvablyUndone => case.provably_undone || case.check == Some(false),
            Self::TooOld => case.too_old,
            Self::NotDeterministic => !case.deterministic,
            Self::TwinIsLost => case.twin_is_lost,
            Self::MayBeRenamed => case.may_be_renamed,
            Self::ComesTooLate => case.comes_too_late,
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Always => "",
            Self::OutputsAccepted => "if its outputs are there",
            Self::CheckHolds => "if its check holds",
            Self::MemoryIncomplete => "if the memory is incomplete",
            Self::RenamedOrSameContent => "if that item is gone, or `same = \"content\"`",
            Self::ProvablyUndone => {
                "if the check says missing, after a safe exit, or if it never started"
            }
            Self::TooOld => "if the receipt is older than `max-age`",
            Self::NotDeterministic => "if `deterministic = false`",
            Self::TwinIsLost => "if this content was done, and its outputs are gone",
            Self::MayBeRenamed => "if a step that is gone may have done it",
            Self::ComesTooLate => "if `ordered`, and a later one is done",
        }
    }
}

const fn is_not_lost(truth: Truth) -> bool {
    matches!(truth, Truth::Proven | Truth::Claimed | Truth::Unknown)
}

/// The table as Markdown, as the docs show it.
#[must_use]
pub fn table() -> String {
    let mut text =
        String::from("| memory | truth | ordinary step | `once` step |\n|---|---|---|---|\n");
    for row in RULES {
        let (memory, truth) = (row.memory.text(), row.truth.text());
        let (ordinary, once) = (cell(row.ordinary), cell(row.once));
        writeln!(text, "| {memory} | {truth} | {ordinary} | {once} |").expect("a string takes all");
    }
    text
}

/// The verdicts of a cell; those that differ in their reason only are one.
fn cell(choices: &[Choice]) -> String {
    let same = |one: &Choice, other: &Choice| match (one.then, other.then) {
        (Then::Give(one, _), Then::Give(other, _)) => one == other,
        _ => false,
    };
    choices.chunk_by(same).map(alternatives).collect::<Vec<_>>().join("; else ")
}

/// Choices of a cell that give one verdict, each under its condition.
fn alternatives(choices: &[Choice]) -> String {
    let [.., last] = choices else {
        return String::new();
    };
    let (ruling, reason) = match last.then {
        Then::AsIfSame => return "as *same*".to_owned(),
        Then::AsIfNotFresh => return "as without it".to_owned(),
        Then::Give(ruling, reason) => (ruling, reason),
    };
    if matches!(last.when, When::Always) {
        let tells_why = matches!(ruling, Ruling::Run | Ruling::Refuse) && choices.len() == 1;
        return if tells_why { format!("{ruling}: {reason}") } else { ruling.to_string() };
    }
    let conditions: Vec<_> = choices.iter().map(|choice| choice.when.text()).collect();
    format!("{ruling} {}", conditions.join(", or "))
}
