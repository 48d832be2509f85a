//! Outcomes: from what was seen of a send to where the call stands.
//!
//! Invariant: *I12* a call is rejected only on proof that it was not processed. What is
//! neither answered nor rejected is unknown.

use crate::words::call::{CallState, is_unsure};

/// What was seen of a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A whole answer of this status; of gRPC, with the status in its trailers.
    Answer {
        /// The status.
        status: u16,
        /// The status of gRPC.
        grpc: Option<u32>,
    },
    /// It is proved that it was not processed, for this reason.
    NotProcessed(String),
    /// Nobody knows, for this reason.
    NoAnswer(String),
    /// An answer of this status began, and ended too early, for this reason.
    Cut {
        /// The status.
        status: u16,
        /// Why it ended.
        why: String,
    },
}

/// Where a call stands after a send, and why, where it is not complete.
///
/// `rejected` are the statuses by which the provider says that it did nothing. 429 is taken
/// for that: it says that too many requests came (RFC 6585, 4), and a server that counts them
/// does so before it works. That a time-out, a conflict or an error of the server says no such
/// thing is in their definitions (RFC 9110, 15.5.9, 15.5.10 and 15.6).
#[must_use]
pub fn outcome(seen: &Seen, rejected: &[u16]) -> (CallState, Option<String>) {
    match seen {
        Seen::NotProcessed(why) => (CallState::Rejected, Some(why.clone())),
        Seen::NoAnswer(why) => (CallState::Unknown, Some(why.clone())),
        Seen::Cut { status, why } => {
            (CallState::Unknown, Some(format!("the answer, with status {status}, was cut: {why}")))
        }
        Seen::Answer { status, .. } if *status == 429 || rejected.contains(status) => {
            (CallState::Rejected, Some(format!("status {status}")))
        }
        Seen::Answer { status, .. } if is_unsure(*status) => {
            (CallState::Unknown, Some(format!("status {status}")))
        }
        Seen::Answer { grpc: Some(grpc), .. } if is_unsure_in_grpc(*grpc) => {
            (CallState::Unknown, Some(format!("status {grpc} of gRPC")))
        }
        Seen::Answer { .. } => (CallState::Complete, None),
    }
}

/// Cancelled, unknown, deadline exceeded, resource exhausted, aborted, internal, unavailable,
/// data loss: <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.
const fn is_unsure_in_grpc(status: u32) -> bool {
    matches!(status, 1 | 2 | 4 | 8 | 10 | 13 | 14 | 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i12_only_proof_rejects() {
        let answer = |status| Seen::Answer { status, grpc: None };
        for (seen, state) in [
            (answer(200), CallState::Complete),
            (answer(302), CallState::Complete),
            (answer(404), CallState::Complete),
            (answer(422), CallState::Complete),
            (answer(429), CallState::Rejected),
            (answer(529), CallState::Rejected),
            (answer(408), CallState::Unknown),
            (answer(409), CallState::Unknown),
            (answer(425), CallState::Unknown),
            (answer(500), CallState::Unknown),
            (answer(504), CallState::Unknown),
            (Seen::NotProcessed("refused".to_owned()), CallState::Rejected),
            (Seen::NoAnswer("reset".to_owned()), CallState::Unknown),
            (Seen::Cut { status: 200, why: "reset".to_owned() }, CallState::Unknown),
            (Seen::Answer { status: 200, grpc: Some(0) }, CallState::Complete),
            (Seen::Answer { status: 200, grpc: Some(14) }, CallState::Unknown),
            (Seen::Answer { status: 200, grpc: Some(5) }, CallState::Complete),
        ] {
            assert_eq!(outcome(&seen, &[529]).0, state, "{seen:?}");
        }
    }
}
