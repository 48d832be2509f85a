//! A connection that requests go through, and what it means when one does not come back.
//!
//! Invariant: nothing is taken for a proof but what the server itself guarantees
//! (RFC 9113, 8.7), and what was counted on the [`Line`].

use std::error::Error as StdError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response, StatusCode};

use super::pool::Place;
use super::received::{Held, Received};
use super::wire::{Line, Seen};
use super::{NotProcessed, Origin, Outgoing, Proxy, SendError, shape};

/// How many requests share a connection, where the server would take more. They share
/// its fate, too.
const TOGETHER: usize = 100;

/// A connection that a request can go through now.
pub(super) enum Lane {
    /// HTTP/1: one at a time.
    One(One),
    /// HTTP/2: a share of it.
    Many(InFlight),
}

/// A connection of HTTP/1.
pub(super) struct One {
    pub(super) sender: http1::SendRequest<Outgoing>,
    pub(super) line: Line,
    /// The user's proxy, if it is spoken to as one.
    pub(super) through: Option<Arc<Proxy>>,
}

/// A connection of HTTP/2.
pub(super) struct Many {
    sender: http2::SendRequest<Outgoing>,
    line: Line,
    /// How many requests the server takes at once, as far as is known.
    room: Arc<AtomicUsize>,
    in_flight: AtomicUsize,
    used: Mutex<Instant>,
}

/// A share of a connection, until it is dropped.
pub(super) struct InFlight(Arc<Many>);

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
                let held = is_ours.then(|| Held::One(self, Arc::clone(place)));
                Ok(answer.map(|body| Received::new(body, held)))
            }
            Err(error) => Err(failed(to, error, |_| {
                (self.line.cut() == before).then_some(NotProcessed::Unwritten)
            })),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.sender.is_ready() && self.line.look() == Seen::Silent
    }
}

impl Many {
    /// A new one, and the first share of it.
    pub(super) fn new(
        sender: http2::SendRequest<Outgoing>,
        line: Line,
        room: Arc<AtomicUsize>,
    ) -> (Arc<Self>, InFlight) {
        let used = Mutex::new(Instant::now());
        let many = Arc::new(Self { sender, line, room, in_flight: AtomicUsize::new(1), used });
        (Arc::clone(&many), InFlight(many))
    }

    /// A share of it, if there is room for one more.
    ///
    /// What the server has no room for would wait in here, and if the server went away
    /// meanwhile nobody could say that it had not been sent.
    pub(super) fn share(self: &Arc<Self>) -> Option<InFlight> {
        let room = self.room.load(Ordering::Relaxed).min(TOGETHER);
        let taken = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now < room).then_some(now + 1)
        });
        taken.ok().map(|_| InFlight(Arc::clone(self)))
    }

    pub(super) fn is_ended(&self) -> bool {
        self.sender.is_closed() || self.line.look() == Seen::Ended
    }

    /// For how long nobody has used it; `None`: it is in use.
    pub(super) fn unused(&self) -> Option<Duration> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (self.in_flight.load(Ordering::Acquire) == 0).then(|| used.elapsed())
    }

    /// What an error of this connection proves.
    fn proof(&self, error: &hyper::Error, before: u64) -> Option<NotProcessed> {
        if let Some(error) = cause::<h2::Error>(error)
            && error.is_remote()
        {
            // A stream that the server's GOAWAY lets live does not end with this error:
            // if the connection dies later, that is an error of the connection.
            return match (error.is_reset(), error.is_go_away(), error.reason()) {
                (true, _, Some(h2::Reason::REFUSED_STREAM)) => Some(NotProcessed::RefusedStream),
                (_, true, _) => Some(NotProcessed::GoAway),
                _ => None,
            };
        }
        // Others may be using it: it is cut only where it has ended anyhow.
        let is_unwritten = self.sender.is_closed() && self.line.cut() == before;
        is_unwritten.then_some(NotProcessed::Unwritten)
    }
}

impl InFlight {
    async fn send(
        self,
        to: &Origin,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Received>, Failed> {
        shape::two(&mut request, to);
        let many = Arc::clone(&self.0);
        let before = many.line.written();
        match many.sender.clone().try_send_request(request).await {
            Ok(answer) => Ok(answer.map(|body| Received::new(body, Some(Held::Many(self))))),
            Err(error) => Err(failed(to, error, |error| many.proof(error, before))),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What an error of hyper comes to.
fn failed(
    to: &Origin,
    mut error: TrySendError<Request<Outgoing>>,
    proof: impl FnOnce(&hyper::Error) -> Option<NotProcessed>,
) -> Failed {
    let why = told(error.error());
    match error.take_message() {
        Some(request) => Failed::GivenBack(Box::new(request), why),
        None => {
            let proof = proof(error.error());
            Failed::Over(SendError { proof, what: format!("{to}: {why}") })
        }
    }
}

/// An error and what lies under it, each said once.
fn told(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let under = error.to_string();
        if !text.contains(&under) {
            text = format!("{text}: {under}");
        }
        next = error.source();
    }
    text
}

/// What lies under an error, if there is one of this kind.
fn cause<E: StdError + 'static>(error: &hyper::Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
