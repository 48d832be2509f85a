//! A connection that requests go through, and what it means when one does not come back.
//!
//! Invariant: in HTTP/1 nothing is taken for a proof but what was counted on the
//! [`Line`].

use std::error::Error as StdError;
use std::sync::Arc;

use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response, StatusCode};

use super::many::InFlight;
use super::pool::Place;
use super::received::Received;
use super::wire::{Line, Seen};
use super::{NotProcessed, Origin, Outgoing, Proxy, SendError, shape};

/// A connection that a request can go through now.
pub(super) enum Lane {
    /// HTTP/1: one at a time.
    One(One),
    /// HTTP/2: a share of it.
    Many(InFlight),
}

/// A connection of HTTP/1.
pub(super) struct One {
    pub(super) sender: SendRequest<Outgoing>,
    pub(super) line: Line,
    /// The user's proxy, if it is spoken to as one.
    pub(super) through: Option<Arc<Proxy>>,
}

/// Why a request has no answer.
pub(super) enum Failed {
    /// It came back whole, and why: the connection had ended before it was begun.
    GivenBack(Box<Request<Outgoing>>, String),
    /// It is over.
    Over(SendError),
}

impl Lane {
    /// Sends a request.
    pub(super) async fn send(
        self,
        to: &Origin,
        request: Request<Outgoing>,
        place: &Arc<Place>,
    ) -> Result<Response<Received>, Failed> {
        match self {
            Self::One(one) => one.send(to, request, place).await,
            Self::Many(share) => share.send(to, request).await,
        }
    }
}

impl One {
    async fn send(
        mut self,
        to: &Origin,
        mut request: Request<Outgoing>,
        place: &Arc<Place>,
    ) -> Result<Response<Received>, Failed> {
        shape::one(&mut request, to, self.through.as_deref());
        let before = self.line.written();
        match self.sender.try_send_request(request).await {
            Ok(answer) => {
                // After an upgrade the connection is somebody else's.
                let is_ours = answer.status() != StatusCode::SWITCHING_PROTOCOLS;
                let back = is_ours.then(|| (self, Arc::clone(place)));
                Ok(answer.map(|body| Received::of_one(body, back)))
            }
            Err(error) => Err(failed(to, error, || self.line.cut() == before)),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready() && self.line.look() == Seen::Silent
    }
}

/// What an error of hyper comes to.
fn failed(
    to: &Origin,
    mut error: TrySendError<Request<Outgoing>>,
    is_unwritten: impl FnOnce() -> bool,
) -> Failed {
    let why = told(error.error());
    match error.take_message() {
        Some(request) => Failed::GivenBack(Box::new(request), why),
        None => {
            let proof = is_unwritten().then_some(NotProcessed::Unwritten);
            Failed::Over(SendError { proof, what: format!("{to}: {why}") })
        }
    }
}

/// An error and what lies under it, each said once.
pub(super) fn told(error: &dyn StdError) -> String {
    let mut text = plain(error.to_string());
    let mut next = error.source();
    while let Some(error) = next {
        let under = plain(error.to_string());
        if !text.contains(&under) {
            text = format!("{text}: {under}");
        }
        next = error.source();
    }
    text
}

/// What a library says, without its advice for programmers.
fn plain(mut said: String) -> String {
    if let Some(at) = said.find(": https://docs.rs/") {
        said.truncate(at);
    }
    said
}
