//! The decision: memory and truth in, a verdict and its reason out.
//!
//! The rules are data, a table whose first fitting row applies, so that the
//! table in the docs is printed from them and can say nothing else.
//!
//! Invariants: [`decide`] is total and does no I/O. *I6*: what is unsafe to
//! repeat never gets [`Ruling::Run`] unless it provably did not happen or a
//! human said so.

use std::fmt::Write as _;

use crate::words::verdict::{
    Likeness, Memory, Nature, Outputs, Reason, Ruling, Truth, Twin, Verdict, Word,
};

/// All that the verdict on a task depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whether the step may be repeated.
    pub nature: Nature,
    /// Whether something it needs, or comes after, has not reached its state.
    pub blocked: bool,
    /// What a human said.
    pub word: Option<Word>,
    /// Whether a changed command does not matter, this time: `--keep`.
    pub keeps: bool,
    /// What the manifest says.
    pub memory: Memory,
    /// What the outputs show.
    pub outputs: Outputs,
    /// What the explicit check answered; `None` where there is none, or where
    /// it was not asked.
    pub check: Option<bool>,
    /// Another task that did the same.
    pub twin: Twin,
    /// Whether two items of equal content are one piece of work.
    pub same_content: bool,
    /// Whether nothing was ever lost from the memory.
    pub memory_is_whole: bool,
    /// Whether the last attempt provably did nothing: it never started, or it
    /// ended with a safe exit.
    pub provably_undone: bool,
    /// Whether what `semel done` accepts is there: the outputs, or those kept
    /// from a refused attempt, or a human's word that none are wanted.
    pub outputs_accepted: bool,
    /// Whether the receipt is older than `max-age` allows.
    pub too_old: bool,
    /// Whether doing it again makes the same again.
    pub deterministic: bool,
    /// Whether another task did the same, and what it made is gone or altered.
    pub twin_is_lost: bool,
    /// Whether a step that is no longer in the file did, or may have done, this.
    pub may_be_renamed: bool,
    /// Whether the step goes in the order of names, and one that comes later is
    /// done already.
    pub comes_too_late: bool,
}

impl Case {
    /// A task of which nothing is known but this.
    #[must_use]
    pub const fn new(nature: Nature, memory: Memory, outputs: Outputs) -> Self {
        Self {
            nature,
            blocked: false,
            word: None,
            keeps: false,
            memory,
            outputs,
            check: None,
            twin: Twin::None,
            same_content: false,
            memory_is_whole: true,
            provably_undone: false,
            outputs_accepted: true,
            too_old: false,
            deterministic: true,
            twin_is_lost: false,
            may_be_renamed: false,
            comes_too_late: false,
        }
    }

    /// What memory says, once the age of the receipt is taken into account: an
    /// old one counts as one for other inputs.
    #[must_use]
    pub const fn memory(&self) -> Memory {
        match self.memory {
            Memory::Complete(_) if self.too_old => Memory::Complete(Likeness::OtherWhat),
            memory => memory,
        }
    }

    /// What the outputs show, once the age of the receipt is taken into account.
    const fn outputs(&self) -> Outputs {
        match self.outputs {
            Outputs::Proven if self.too_old => Outputs::Older,
            outputs => outputs,
        }
    }

    /// What can be seen of the effect, as one word.
    #[must_use]
    pub const fn truth(&self) -> Truth {
        match (self.outputs(), self.check) {
            (Outputs::Missing, _) | (_, Some(false)) => Truth::Missing,
            (Outputs::Altered, _) => Truth::Altered,
            (Outputs::Proven, _) => Truth::Proven,
            (Outputs::Older | Outputs::None, Some(true)) => Truth::Claimed,
            (Outputs::Older | Outputs::None, None) => Truth::Unknown,
        }
    }
}

/// The verdict on a case.
///
/// ```
/// use semel::thought::decide::{Case, decide};
/// use semel::words::verdict::{Memory, Nature, Outputs, Ruling};
/// let killed = Case::new(Nature::Once, Memory::Interrupted, Outputs::None);
/// assert_eq!(decide(&killed).ruling, Ruling::Refuse);
/// ```
#[must_use]
pub fn decide(case: &Case) -> Verdict {
    let row = RULES.iter().find(|row| row.applies(case));
    let row = row.expect("the last rows take whatever is left; a test walks all cases");
    let cell = match case.nature {
        Nature::Ordinary => row.ordinary,
        Nature::Once => row.once,
    };
    let choice = cell.iter().find(|choice| choice.when.holds(case));
    let choice =
        choice.expect("the last choice of a cell has no condition; a test walks all cases");
    match choice.then {
        Then::Give(ruling, reason) => Verdict { ruling, reason },
        Then::AsIfSame => as_if_same(case),
        Then::AsIfNotFresh => decide(&Case { word: None, ..*case }),
    }
}

/// A completed `once` task whose command changed is looked at as if it had not,
/// but the skip says so.
fn as_if_same(case: &Case) -> Verdict {
    let verdict = decide(&Case { memory: Memory::Complete(Likeness::Same), ..*case });
    match verdict.ruling {
        Ruling::Skip => Verdict { reason: Reason::DoneByEarlierCommand, ..verdict },
        _ => verdict,
    }
}

/// Whether the answer of an explicit check can change what is done; only then
/// is it asked.
#[must_use]
pub fn check_matters(case: &Case) -> bool {
    let ruling = |holds| {
        let check = Some(holds);
        decide(&Case { check, ..*case }).ruling
    };
    ruling(true) != ruling(false)
}

/// A row of the table.
struct Row {
    memory: MemoryIs,
    truth: TruthIs,
    ordinary: &'static [Choice],
    once: &'static [Choice],
}

/// What a row wants of memory.
#[derive(Clone, Copy)]
enum MemoryIs {
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
enum TruthIs {
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
struct Choice {
    when: When,
    then: Then,
}

#[derive(Clone, Copy)]
enum When {
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
enum Then {
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
const RULES: &[Row] = &[
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
    fn applies(&self, case: &Case) -> bool {
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

    const fn text(self) -> &'static str {
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

    const fn text(self) -> &'static str {
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
    fn holds(self, case: &Case) -> bool {
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

    const fn text(self) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn all_cases() -> Vec<Case> {
        let mut cases = vec![Case::new(Nature::Ordinary, Memory::None, Outputs::None)];
        fn vary<T: Copy>(cases: &mut Vec<Case>, values: &[T], set: fn(&mut Case, T)) {
            *cases = cases
                .iter()
                .flat_map(|case| {
                    values.iter().map(|value| {
                        let mut case = *case;
                        set(&mut case, *value);
                        case
                    })
                })
                .collect();
        }
        use Likeness::{OtherHow, OtherWhat, Same};
        let memories = [
            Memory::None,
            Memory::Complete(Same),
            Memory::Complete(OtherHow),
            Memory::Complete(OtherWhat),
            Memory::Failed,
            Memory::Interrupted,
            Memory::Running,
        ];
        let outputs =
            [Outputs::None, Outputs::Missing, Outputs::Altered, Outputs::Proven, Outputs::Older];
        vary(&mut cases, &[Nature::Ordinary, Nature::Once], |case, nature| case.nature = nature);
        vary(&mut cases, &memories, |case, memory| case.memory = memory);
        vary(&mut cases, &outputs, |case, outputs| case.outputs = outputs);
        vary(&mut cases, &[None, Some(true), Some(false)], |case, check| case.check = check);
        let words = [None, Some(Word::Done), Some(Word::Redo), Some(Word::Fresh)];
        vary(&mut cases, &words, |case, word| case.word = word);
        vary(&mut cases, &[Twin::None, Twin::Present, Twin::Gone], |case, twin| case.twin = twin);
        vary(&mut cases, &[false, true], |case, yes| case.blocked = yes);
        vary(&mut cases, &[false, true], |case, yes| case.same_content = yes);
        vary(&mut cases, &[false, true], |case, yes| case.memory_is_whole = yes);
        vary(&mut cases, &[false, true], |case, yes| case.provably_undone = yes);
        vary(&mut cases, &[false, true], |case, yes| case.outputs_accepted = yes);
        vary(&mut cases, &[false, true], |case, yes| case.keeps = yes);
        vary(&mut cases, &[false, true], |case, yes| case.too_old = yes);
        vary(&mut cases, &[false, true], |case, yes| case.deterministic = yes);
        vary(&mut cases, &[0, 1, 2, 3], |case, which| {
            case.may_be_renamed = which == 1;
            case.comes_too_late = which == 2;
            case.twin_is_lost = which == 3;
        });
        // What is done once has no age: the file would be in error.
        cases.retain(|case| case.nature == Nature::Ordinary || !case.too_old);
        cases
    }

    /// The table of the design, written a second time by hand.
    fn expected(case: &Case) -> Ruling {
        use Likeness::{OtherHow, OtherWhat, Same};
        use Nature::{Once, Ordinary};
        let check_says_missing = case.check == Some(false);
        let memory = match case.memory {
            Memory::Complete(_) if case.too_old => Memory::Complete(OtherWhat),
            memory => memory,
        };
        match (memory, case.truth(), case.nature) {
            _ if case.blocked => Ruling::Blocked,
            (Memory::Running, _, _) => Ruling::Wait,
            _ if case.word == Some(Word::Done) && case.outputs_accepted => Ruling::Adopt,
            _ if case.word == Some(Word::Done) => Ruling::Refuse,
            _ if case.word == Some(Word::Redo) => Ruling::Run,
            (_, _, Ordinary) if case.word == Some(Word::Fresh) => Ruling::Run,
            (
                Memory::Complete(OtherHow),
                Truth::Proven | Truth::Claimed | Truth::Unknown,
                Ordinary,
            ) if case.keeps => Ruling::Adopt,
            (Memory::Complete(OtherHow), _, Ordinary) => Ruling::Run,
            (Memory::Complete(Same), Truth::Altered, Ordinary) if !case.deterministic => {
                Ruling::Refuse
            }
            (Memory::Complete(Same | OtherHow), Truth::Missing | Truth::Altered, Once) => {
                Ruling::Refuse
            }
            (Memory::Complete(Same), Truth::Missing | Truth::Altered, Ordinary) => Ruling::Run,
            (Memory::Complete(Same | OtherHow), _, _) => Ruling::Skip,
            (Memory::Complete(OtherWhat), _, Once) => Ruling::Refuse,
            (Memory::Complete(OtherWhat), Truth::Proven, Ordinary) => Ruling::Adopt,
            (Memory::Complete(OtherWhat), _, Ordinary) => Ruling::Run,
            (Memory::None, Truth::Proven | Truth::Claimed, _) => Ruling::Adopt,
            (Memory::None, _, Ordinary) if case.twin != Twin::None => Ruling::Reuse,
            (Memory::None, _, Once) if case.twin != Twin::None => {
                if case.twin == Twin::Gone || case.same_content {
                    Ruling::Reuse
                } else {
                    Ruling::Refuse
                }
            }
            (Memory::None, _, Once)
                if case.may_be_renamed
                    || case.comes_too_late
                    || case.twin_is_lost
                    || !case.memory_is_whole =>
            {
                Ruling::Refuse
            }
            (Memory::None, _, _) => Ruling::Run,
            (Memory::Failed | Memory::Interrupted, Truth::Proven, _) => Ruling::Adopt,
            (Memory::Failed | Memory::Interrupted, Truth::Claimed, Once) => Ruling::Adopt,
            (Memory::Failed | Memory::Interrupted, _, Once) => {
                if check_says_missing || case.provably_undone {
                    Ruling::Run
                } else {
                    Ruling::Refuse
                }
            }
            (Memory::Failed | Memory::Interrupted, _, Ordinary) => Ruling::Run,
        }
    }

    #[test]
    fn every_case_has_the_verdict_of_the_design() {
        let cases = all_cases();
        assert_eq!(cases.len(), 3 * 7 * 5 * 3 * 4 * 3 * 32 * 2 * 2 * 4);
        for case in cases {
            assert_eq!(decide(&case).ruling, expected(&case), "{case:?}");
        }
    }

    /// I6: nothing unsafe is repeated on a guess.
    #[test]
    fn i6_a_once_task_that_may_be_done_never_runs_by_itself() {
        for case in all_cases() {
            let may_be_done = match case.memory {
                Memory::Complete(_) => true,
                Memory::Failed | Memory::Interrupted => {
                    !case.provably_undone && case.check != Some(false)
                }
                Memory::None => !case.memory_is_whole,
                Memory::Running => true,
            };
            if case.nature == Nature::Once && may_be_done && case.word != Some(Word::Redo) {
                assert_ne!(decide(&case).ruling, Ruling::Run, "{case:?}");
            }
        }
    }

    /// A word of the world alone never starts a completed `once` task.
    #[test]
    fn i6_no_checks_word_starts_a_completed_once_task_again() {
        for case in all_cases() {
            if case.nature == Nature::Once
                && matches!(case.memory, Memory::Complete(_))
                && case.word.is_none()
            {
                assert_ne!(decide(&case).ruling, Ruling::Run, "{case:?}");
            }
        }
    }

    #[test]
    fn a_check_is_asked_only_where_its_answer_counts() {
        let case = |memory| Case::new(Nature::Ordinary, memory, Outputs::None);
        assert!(check_matters(&case(Memory::None)));
        assert!(check_matters(&case(Memory::Complete(Likeness::Same))));
        assert!(!check_matters(&case(Memory::Complete(Likeness::OtherHow))));
        assert!(!check_matters(&case(Memory::Complete(Likeness::OtherWhat))));
        assert!(!check_matters(&case(Memory::Failed)));
        let once = Case::new(Nature::Once, Memory::Interrupted, Outputs::None);
        assert!(check_matters(&once));
    }

    #[test]
    fn every_row_is_needed() {
        let cases = all_cases();
        for (at, row) in RULES.iter().enumerate() {
            let decides = |case: &Case| RULES.iter().position(|row| row.applies(case)) == Some(at);
            assert!(cases.iter().any(decides), "row {} | {}", row.memory.text(), row.truth.text());
        }
    }
}
