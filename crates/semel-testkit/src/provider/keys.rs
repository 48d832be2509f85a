//! The idempotency keys of a provider that honours them: each key is of one request, and
//! its order is charged once for as long as the key is known.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::request::SeenRequest;

/// The keys that are known.
#[derive(Debug, Default)]
pub(super) struct Keys {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    /// What must be the same in all requests that have the key.
    request: (String, String, Vec<u8>),
    answer: Answer,
    /// The first request is still at work: its answer is nobody else's yet.
    at_work: bool,
}

/// What the books say of a request.
pub(super) enum Booked {
    /// It is charged, or its answer is that of an earlier one, and is delivered as planned.
    Answer(Answer),
    /// It is not, because of another that has its key: nothing else is planned for it.
    Conflict(Answer),
}

impl Keys {
    /// What a request is answered without a charge, because of its key.
    pub(super) fn find(&self, request: &SeenRequest) -> Option<Booked> {
        let known = self.known.get(key(request)?)?;
        Some(if known.request != what(request) {
            Booked::Conflict(Answer::error(422))
        } else if known.at_work {
            Booked::Conflict(Answer::error(409))
        } else {
            Booked::Answer(known.answer.clone().with("Idempotent-Replayed", "true"))
        })
    }

    /// Keeps what is answered to a request that charges.
    pub(super) fn keep(&mut self, request: &SeenRequest, answer: &Answer, at_work: bool) {
        if let Some(key) = key(request) {
            let (request, answer) = (what(request), answer.clone());
            self.known.insert(key.to_owned(), Known { request, answer, at_work });
        }
    }

    /// The request is done with its work.
    pub(super) fn is_done(&mut self, request: &SeenRequest) {
        if let Some(known) = key(request).and_then(|key| self.known.get_mut(key)) {
            known.at_work = false;
        }
    }
}

fn key(request: &SeenRequest) -> Option<&str> {
    request.header("Idempotency-Key")
}

fn what(request: &SeenRequest) -> (String, String, Vec<u8>) {
    (request.method.clone(), request.path().to_owned(), request.body.clone())
}
