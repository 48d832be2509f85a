//! Bodies of answers on their way to a client.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::caller::Caller;
use super::journal::{Flight, Journal};
use super::line::Line;
use super::spool::Source;
use crate::words::call::CallRecord;

/// How much is read from a file at a time.
const PIECE: usize = 16 * 1024;

/// A body for a client.
pub(super) struct Outgoing {
    kind: Kind,
    /// How many bytes are still to come, where that is known.
    left: Option<u64>,
    trailers: Option<HeaderMap>,
    receipt: Option<Receipt>,
    /// What lives as long as the body.
    _kept: Option<Box<dyn std::any::Any + Send + Sync>>,
}

enum Kind {
    Whole(Option<Bytes>),
    File(File),
    Pieces(mpsc::Receiver<io::Result<Frame<Bytes>>>),
    Passing(Pin<Box<dyn Body<Data = Bytes, Error = io::Error> + Send + Sync>>),
}

impl Kind {
    /// What is read, and how many bytes that is.
    fn of(source: Source) -> (Self, u64) {
        match source {
            Source::Memory(bytes) => {
                let length = bytes.len() as u64;
                (Self::Whole(Some(bytes)), length)
            }
            Source::File(file, length) => (Self::File(file), length),
        }
    }
}

/// Notes that a client has a whole answer that was recorded.
pub(super) struct Receipt {
    pub(super) caller: Arc<Caller>,
    pub(super) call: Box<CallRecord>,
    pub(super) line: Arc<Line>,
}

impl Outgoing {
    /// These bytes.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let left = Some(bytes.len() as u64);
        Self { kind: Kind::Whole(Some(bytes)), left, trailers: None, receipt: None, _kept: None }
    }

    /// A body that was recorded. Of one that has no bytes nothing is asked for, so its client
    /// has it at once; likewise where only the head is sent (`is_head_only`).
    pub(super) fn recorded(
        source: Source,
        trailers: Option<HeaderMap>,
        receipt: Receipt,
        is_head_only: bool,
    ) -> Self {
        let (kind, left) = Kind::of(source);
        let is_at_once = is_head_only || left == 0 && trailers.is_none();
        // Where there are trailers the end must be told by more than the length.
        let left = trailers.is_none().then_some(left);
        let mut recorded = Self { kind, left, trailers, receipt: Some(receipt), _kept: None };
        if is_at_once {
            recorded.is_handed_over();
        }
        recorded
    }

    /// Pieces as they come; `length`: how many bytes they will be, if that was announced.
    pub(super) fn pieces(
        pieces: mpsc::Receiver<io::Result<Frame<Bytes>>>,
        length: Option<u64>,
        waiting: Waiting,
    ) -> Self {
        let kept: Option<Box<dyn std::any::Any + Send + Sync>> = Some(Box::new(waiting));
        Self {
            kind: Kind::Pieces(pieces),
            left: length,
            trailers: None,
            receipt: None,
            _kept: kept,
        }
    }

    /// What passes through.
    pub(super) fn passing(
        body: impl Body<Data = Bytes, Error = io::Error> + Send + Sync + 'static,
    ) -> Self {
        let left = body.size_hint().exact();
        Self {
            kind: Kind::Passing(Box::pin(body)),
            left,
            trailers: None,
            receipt: None,
            _kept: None,
        }
    }

    /// What a body that is read is sent from, towards a server.
    pub(super) fn of_source(source: Source) -> Self {
        let (kind, left) = Kind::of(source);
        Self { kind, left: Some(left), trailers: None, receipt: None, _kept: None }
    }

    /// The client has all of it, or is about to: the system has taken it.
    fn is_handed_over(&mut self) {
        if let Some(Receipt { caller, call, line }) = self.receipt.take() {
            caller.has_replayed(&call, &line);
        }
    }

    fn count(&mut self, bytes: &Bytes) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes.len() as u64);
            if *left == 0 && self.trailers.is_none() {
                self.is_handed_over();
            }
        }
    }

    fn end(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        if let Some(trailers) = self.trailers.take() {
            self.is_handed_over();
            return Some(Ok(Frame::trailers(trailers)));
        }
        self.is_handed_over();
        None
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let piece = match &mut this.kind {
            Kind::Whole(bytes) => bytes.take().filter(|bytes| !bytes.is_empty()),
            Kind::File(file) => {
                let mut piece = vec![0; PIECE];
                match file.read(&mut piece) {
                    Ok(0) => None,
                    Ok(length) => {
                        piece.truncate(length);
                        Some(Bytes::from(piece))
                    }
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            Kind::Pieces(pieces) => return pieces.poll_recv(context),
            Kind::Passing(body) => return body.as_mut().poll_frame(context),
        };
        Poll::Ready(match piece {
            Some(bytes) => {
                this.count(&bytes);
                Some(Ok(Frame::data(bytes)))
            }
            None => this.end(),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(bytes) => {
                bytes.as_ref().is_none_or(Bytes::is_empty)
                    && self.trailers.is_none()
                    && self.receipt.is_none()
            }
            Kind::Passing(body) => body.is_end_stream(),
            Kind::File(_) | Kind::Pieces(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.kind, self.left) {
            (Kind::Passing(body), _) => body.size_hint(),
            (_, Some(left)) => SizeHint::with_exact(left),
            (_, None) => SizeHint::default(),
        }
    }
}

/// A client that waits for a call in flight. When it has gone, and nobody else waits, that is
/// noted: an equal request is its retry then.
pub(super) struct Waiting {
    pub(super) flight: Arc<Flight>,
    pub(super) journal: Arc<Journal>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.flight.leave() {
            self.journal.desert(&self.flight);
        }
    }
}
