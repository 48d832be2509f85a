//! The body of an answer, as it comes in.
//!
//! Invariant: it ends without an error only where the server said that it ends, or, in
//! HTTP/1, hung up on a body of which it had not said how long it is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::lane::{One, told};
use super::many::{InFlight, Upload};
use super::pool::Place;

/// The body of an answer.
///
/// When it has ended its connection is free for others. Dropped before, the request is
/// given up.
pub struct Received {
    source: Source,
    held: Option<Held>,
}

/// Where it comes from.
enum Source {
    One(Incoming),
    Many(Stream),
}

/// A stream of HTTP/2.
struct Stream {
    stream: RecvStream,
    /// How much is still to come, where it is known.
    left: Option<u64>,
    is_at_trailers: bool,
}

/// What is in use until the body has ended.
enum Held {
    /// A connection, and where it goes after.
    One(One, Arc<Place>),
    /// A share of one, and what is still to be sent.
    Many(InFlight, Upload),
}

/// An answer that was cut.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CutShort(String);

impl Received {
    /// One that comes through a connection, which is given back to its place, if it has
    /// one.
    pub(super) fn of_one(body: Incoming, back: Option<(One, Arc<Place>)>) -> Self {
        let held = back.map(|(one, place)| Held::One(one, place));
        Self { source: Source::One(body), held }.looked_at()
    }

    /// One that comes through a share of a connection.
    pub(super) fn of_many(
        stream: RecvStream,
        length: Option<u64>,
        share: InFlight,
        upload: Upload,
    ) -> Self {
        let stream = Stream { stream, left: length, is_at_trailers: false };
        let held = Some(Held::Many(share, upload));
        Self { source: Source::Many(stream), held }.looked_at()
    }

    /// There may be nothing in it.
    fn looked_at(mut self) -> Self {
        if self.is_end_stream() {
            self.release();
        }
        self
    }

    fn release(&mut self) {
        match self.held.take() {
            Some(Held::One(one, place)) => place.give_back(one),
            Some(Held::Many(share, upload)) => {
                upload.let_go();
                drop(share);
            }
            None => {}
        }
    }
}

impl Stream {
    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.is_at_trailers {
            if let Some(data) = ready!(self.stream.poll_data(cx)) {
                return Poll::Ready(Some(data.and_then(|data| {
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    // It is read as fast as it is asked for: so fast may it come.
                    self.stream.flow_control().release_capacity(data.len())?;
                    Ok(Frame::data(data))
                })));
            }
            self.is_at_trailers = true;
        }
        let trailers = ready!(self.stream.poll_trailers(cx));
        Poll::Ready(trailers.map(|trailers| trailers.map(Frame::trailers)).transpose())
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let frame = match &mut self.source {
            Source::One(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                frame.map(|frame| frame.map_err(|error| CutShort(told(&error))))
            }
            Source::Many(stream) => {
                let frame = ready!(stream.poll_frame(cx));
                frame.map(|frame| frame.map_err(|error| CutShort(told(&error))))
            }
        };
        match &frame {
            Some(Err(_)) => self.held = None,
            Some(Ok(_)) if !self.is_end_stream() => {}
            Some(Ok(_)) | None => self.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::One(body) => body.is_end_stream(),
            Source::Many(stream) => stream.stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::One(body) => body.size_hint(),
            Source::Many(_) if self.is_end_stream() => SizeHint::with_exact(0),
            Source::Many(stream) => stream.left.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("is_ended", &self.is_end_stream()).finish()
    }
}
