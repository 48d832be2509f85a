//! Counting: which of the recorded calls a request is, and what becomes of it.
//!
//! Equal requests may be one call that is tried again, or calls of their own. What tells
//! them apart is what this attempt has had an answer for: a request takes the first recorded
//! call that it has not.
//!
//! Invariant: *I13* nothing equal to a call that is unknown, or in flight for nobody, is
//! ever sent as a call of its own.

use crate::words::call::{CallState, Equal};

/// A recorded call that is equal to a request, as counting sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number among its equals.
    pub n: u32,
    /// Where it stands.
    pub state: CallState,
    /// Whether a client of this attempt has its whole answer already.
    pub is_answered: bool,
    /// Who waits for it, while it is in flight.
    pub flight: Flight,
    /// Whether the client names it by the key that it sent with it.
    pub is_named: bool,
    /// Whether its answer is too old to be replayed.
    pub is_stale: bool,
    /// Whether its answer was a refusal, and given to an earlier attempt.
    pub was_refused_before: bool,
    /// Whether it may be sent again though it is unknown.
    pub may_be_resent: bool,
    /// Whether it was made for the same account.
    pub is_of_account: bool,
    /// Whether what is not in its key is the same.
    pub rest_matches: bool,
}

/// Who waits for a call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flight {
    /// It is not in flight.
    Over,
    /// A client that is still there.
    Awaited,
    /// Nobody: its client has gone.
    Deserted,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It gets the answer of the call of this number.
    Replay(u32),
    /// It waits for the end of this one.
    Attach(u32),
    /// It is sent as this one, once more.
    SendAgain(u32),
    /// It is a call of its own, of this number.
    Open(u32),
    /// This one is unknown: nothing is sent.
    Unknown(u32),
    /// This one was made for another account.
    OtherAccount(u32),
    /// This one has the same key, and differs in the rest.
    OtherRest(u32),
}

/// Decides on a request. `known` are the calls equal to it, in the order of their numbers,
/// without those that are retired; `last` is the highest number that was ever given.
///
/// `is_one`: whether equal requests are one call, however often they come.
///
/// ```
/// use semel::thought::call::counting::{Decision, decide};
/// assert_eq!(decide(&[], 0, false), Decision::Open(1));
/// ```
#[must_use]
pub fn decide(known: &[Known], last: u32, is_one: bool) -> Decision {
    // Who says a call's own key means that call.
    let named = known.iter().filter(|call| call.is_named);
    let others = known.iter().filter(|call| !call.is_named);
    let taken = |call: &&Known| {
        is_one
            || call.is_named
            || match call.state {
                CallState::Complete => !call.is_answered,
                CallState::InFlight => call.flight != Flight::Awaited,
                CallState::Rejected | CallState::Unknown => true,
            }
    };
    let found = named.chain(others).filter(|call| !is_passed_over(call)).find(taken);
    let Some(call) = found else {
        return Decision::Open(last + 1);
    };
    let was_refused = matches!(call.state, CallState::Complete | CallState::Rejected);
    match of(call) {
        // It may be what an equal one was meant for of which nobody knows.
        Decision::SendAgain(_) if was_refused && !call.is_named => {
            of(known.iter().find(|other| is_open(other)).unwrap_or(call))
        }
        decision => decision,
    }
}

/// Whether it may have been processed, or may still be, with nobody there who waits for it.
const fn is_open(call: &Known) -> bool {
    match call.state {
        CallState::Unknown => true,
        CallState::InFlight => matches!(call.flight, Flight::Deserted),
        CallState::Complete | CallState::Rejected => false,
    }
}

/// An old answer is none, and its call is over: a new one may be made.
const fn is_passed_over(call: &Known) -> bool {
    call.is_stale && matches!(call.state, CallState::Complete)
}

const fn of(call: &Known) -> Decision {
    let n = call.n;
    if !call.is_of_account {
        return Decision::OtherAccount(n);
    }
    if !call.rest_matches {
        return Decision::OtherRest(n);
    }
    match call.state {
        CallState::Complete if call.was_refused_before => Decision::SendAgain(n),
        CallState::Complete => Decision::Replay(n),
        CallState::InFlight => Decision::Attach(n),
        CallState::Rejected => Decision::SendAgain(n),
        CallState::Unknown if call.may_be_resent => Decision::SendAgain(n),
        CallState::Unknown => Decision::Unknown(n),
    }
}

/// Whether equal requests are one call, however often they come.
#[must_use]
pub const fn is_one(equal: Option<Equal>, has_key: bool) -> bool {
    match equal {
        Some(Equal::Shared) => true,
        Some(Equal::Separate) => false,
        None => has_key,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(n: u32, state: CallState) -> Known {
        Known {
            n,
            state,
            is_answered: false,
            flight: Flight::Over,
            is_named: false,
            is_stale: false,
            was_refused_before: false,
            may_be_resent: false,
            is_of_account: true,
            rest_matches: true,
        }
    }

    fn answered(n: u32) -> Known {
        Known { is_answered: true, ..call(n, CallState::Complete) }
    }

    fn in_flight(n: u32, flight: Flight) -> Known {
        Known { flight, ..call(n, CallState::InFlight) }
    }

    #[test]
    fn a_run_again_replays_in_order_and_then_opens() {
        let complete = |n| call(n, CallState::Complete);
        assert_eq!(decide(&[complete(1), complete(2)], 2, false), Decision::Replay(1));
        assert_eq!(decide(&[answered(1), complete(2)], 2, false), Decision::Replay(2));
        assert_eq!(decide(&[answered(1), answered(2)], 2, false), Decision::Open(3));
    }

    #[test]
    fn f14_a_retry_after_an_unknown_answer_is_no_second_call() {
        let known = [answered(1), call(2, CallState::Unknown)];
        assert_eq!(decide(&known, 2, false), Decision::Unknown(2));
        let resent = Known { may_be_resent: true, ..known[1] };
        assert_eq!(decide(&[known[0], resent], 2, false), Decision::SendAgain(2));
    }

    #[test]
    fn f15_two_who_wait_are_two_calls_and_a_silent_retry_attaches() {
        assert_eq!(decide(&[in_flight(1, Flight::Awaited)], 1, false), Decision::Open(2));
        assert_eq!(decide(&[in_flight(1, Flight::Deserted)], 1, false), Decision::Attach(1));
        // With one key, or where all share, they are one.
        assert_eq!(decide(&[in_flight(1, Flight::Awaited)], 1, true), Decision::Attach(1));
        let named = Known { is_named: true, ..in_flight(1, Flight::Awaited) };
        assert_eq!(decide(&[named], 1, false), Decision::Attach(1));
    }

    #[test]
    fn f16_a_refusal_is_sent_again_by_a_later_attempt_only() {
        let now = call(1, CallState::Complete);
        assert_eq!(decide(&[now], 1, false), Decision::Replay(1));
        let before = Known { was_refused_before: true, ..now };
        assert_eq!(decide(&[before], 1, false), Decision::SendAgain(1));
    }

    #[test]
    fn i13_a_refusal_is_not_sent_again_beside_an_equal_call_that_is_unknown() {
        let refused = Known { was_refused_before: true, ..call(1, CallState::Complete) };
        let unknown = call(2, CallState::Unknown);
        assert_eq!(decide(&[refused, unknown], 2, false), Decision::Unknown(2));
        assert_eq!(
            decide(&[call(1, CallState::Rejected), unknown], 2, false),
            Decision::Unknown(2)
        );
        let resent = Known { may_be_resent: true, ..unknown };
        assert_eq!(decide(&[refused, resent], 2, false), Decision::SendAgain(2));
        let deserted = in_flight(2, Flight::Deserted);
        assert_eq!(decide(&[refused, deserted], 2, false), Decision::Attach(2));
    }

    #[test]
    fn f17_another_account_and_another_rest_are_refused() {
        let other = Known { is_of_account: false, ..call(1, CallState::Complete) };
        assert_eq!(decide(&[other], 1, false), Decision::OtherAccount(1));
        let other = Known { rest_matches: false, ..call(1, CallState::Complete) };
        assert_eq!(decide(&[other], 1, true), Decision::OtherRest(1));
    }

    #[test]
    fn an_old_answer_is_asked_for_anew() {
        let old = Known { is_stale: true, ..call(1, CallState::Complete) };
        assert_eq!(decide(&[old], 1, true), Decision::Open(2));
    }

    fn any_call() -> impl Strategy<Value = Known> {
        let state = prop::sample::select(CallState::ALL.to_vec());
        let flight = prop::sample::select(vec![Flight::Awaited, Flight::Deserted]);
        (state, flight, any::<[bool; 6]>()).prop_map(|(state, flight, is)| Known {
            n: 0,
            state,
            is_answered: is[0],
            flight: if state == CallState::InFlight { flight } else { Flight::Over },
            is_named: is[1],
            is_stale: is[2],
            was_refused_before: is[3],
            may_be_resent: is[4],
            is_of_account: true,
            rest_matches: is[5],
        })
    }

    proptest! {
        /// I13: whatever is recorded, a request is only sent where that cannot pay twice.
        #[test]
        fn i13_nothing_equal_to_an_unknown_call_is_sent(
            mut known in prop::collection::vec(any_call(), 0..6),
            is_one: bool,
        ) {
            for (at, call) in (1..).zip(&mut known) {
                call.n = at;
            }
            let last = u32::try_from(known.len()).unwrap();
            let of = |n: u32| known[n as usize - 1];
            match decide(&known, last, is_one) {
                Decision::Open(n) => {
                    prop_assert_eq!(n, last + 1);
                    for call in &known {
                        let is_over = call.state == CallState::Complete && (call.is_answered || call.is_stale);
                        prop_assert!(is_over || call.flight == Flight::Awaited);
                        prop_assert!(!is_one || call.is_stale);
                    }
                }
                Decision::SendAgain(n) => {
                    match of(n).state {
                        CallState::Rejected => {}
                        CallState::Unknown => prop_assert!(of(n).may_be_resent),
                        CallState::Complete => prop_assert!(of(n).was_refused_before),
                        CallState::InFlight => prop_assert!(false, "sent while it is in flight"),
                    }
                    // Nor is another one that is equal left open meanwhile.
                    let others_are_over = known.iter().all(|call| call.n == n || !is_open(call));
                    let is_meant = of(n).is_named || of(n).state == CallState::Unknown;
                    prop_assert!(is_meant || others_are_over);
                }
                Decision::Replay(n) => prop_assert_eq!(of(n).state, CallState::Complete),
                Decision::Attach(n) => prop_assert_eq!(of(n).state, CallState::InFlight),
                Decision::Unknown(n) => prop_assert_eq!(of(n).state, CallState::Unknown),
                Decision::OtherRest(n) => prop_assert!(!of(n).rest_matches),
                Decision::OtherAccount(_) => prop_assert!(false),
            }
        }
    }
}
