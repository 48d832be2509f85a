//! The decision: memory and truth in, a verdict and its reason out.
//!
//! The rules are data, a table whose first fitting row applies, so that the
//! table in the docs is printed from them and can say nothing else.
//!
//! Invariants: [`decide`] is total and does no I/O. *I6*: what is unsafe to
//! repeat never gets [`Ruling::Run`] unless it provably did not happen or a
//! human said so.

mod rules;

pub use self::rules::table;
use self::rules::{RULES, Then};
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
