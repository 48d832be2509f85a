//! The body of an answer, as it comes in.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::lane::{InFlight, One};
use super::pool::Place;

/// The body of an answer.
///
/// When it has ended its connection is free for others. Dropped before, it takes the
/// connection with it.
pub struct Received {
    body: Incoming,
    held: Option<Held>,
}

/// What is in use until the body has ended.
pub(super) enum Held {
    /// A connection, and where it goes after.
    One(One, Arc<Place>),
    /// A share of one.
    Many(InFlight),
}

impl Received {
    pub(super) fn new(body: Incoming, held: Option<Held>) -> Self {
        let mut received = Self { body, held };
        if received.body.is_end_stream() {
            received.release();
        }
        received
    }

    fn release(&mut self) {
        match self.held.take() {
            Some(Held::One(one, place)) => place.give_back(one),
            Some(Held::Many(in_flight)) => drop(in_flight),
            None => {}
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Err(_)) => self.held = None,
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.body).finish()
    }
}
