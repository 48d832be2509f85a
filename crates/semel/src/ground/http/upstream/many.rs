//! A connection of HTTP/2, shared by many requests.
//!
//! It is h2's, without hyper between. For hyper the goodbye of a server that arrives
//! while a request is begun, and one that names the request, are the same error; and a
//! stream that was reset without an error is an answer that has ended.
//!
//! Invariant: the proofs are the server's own word about this one stream: a reset with
//! `REFUSED_STREAM`, or a `GOAWAY` below it (RFC 9113, 8.7), which h2 writes into the
//! state of the streams that it means and of no others.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, SendStream};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame};
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::lane::{Failed, told};
use super::received::Received;
use super::wire::{Line, Seen};
use super::{BodyError, NotProcessed, Origin, Outgoing, SendError, shape};

/// How many requests share a connection, where the server would take more. They share
/// its fate, too.
const TOGETHER: usize = 100;

/// How many a server takes, until it says how many (RFC 9113, 6.5.2).
const AT_FIRST: usize = 100;

/// How much of an answer may be on its way before it is read; of all on a connection.
const WINDOW: u32 = 1024 * 1024;
const WINDOW_OF_ALL: u32 = 4 * 1024 * 1024;

/// How long the headers of an answer may be.
const HEADER_LIST: u32 = 128 * 1024;

/// What is kept of a request's body while the server does not take it.
const UNSENT: usize = 64 * 1024;

/// A connection of HTTP/2.
pub(super) struct Many {
    sender: SendRequest<Bytes>,
    line: Line,
    in_flight: AtomicUsize,
    used: Mutex<Instant>,
    /// Tells the connection's task when nobody has it any more; h2 does not.
    _held: oneshot::Sender<()>,
}

/// A share of a connection, until it is dropped.
pub(super) struct InFlight(Arc<Many>);

/// A body on its way. Who drops it gives the request up.
pub(super) struct Upload(Option<AbortHandle>);

impl Many {
    /// Begins to speak, and gives the first share.
    pub(super) async fn begin<T>(io: T, line: Line) -> Result<(Arc<Self>, InFlight), h2::Error>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let begun = Builder::new()
            .enable_push(false)
            .initial_max_send_streams(AT_FIRST)
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW_OF_ALL)
            .max_header_list_size(HEADER_LIST)
            .max_send_buffer_size(UNSENT)
            .handshake(io);
        let (sender, mut connection) = begun.await?;
        let (held, let_go) = oneshot::channel();
        let mut let_go = Some(let_go);
        tokio::spawn(poll_fn(move |cx| {
            if let_go.as_mut().is_some_and(|let_go| Pin::new(let_go).poll(cx).is_ready()) {
                let_go = None;
            }
            // Whoever waits for an answer is told of its end.
            Pin::new(&mut connection).poll(cx).map(drop)
        }));
        let in_flight = AtomicUsize::new(1);
        let used = Mutex::new(Instant::now());
        let many = Arc::new(Self { sender, line, in_flight, used, _held: held });
        Ok((Arc::clone(&many), InFlight(many)))
    }

    /// A share of it, if there is room for one more. More would have to wait for their
    /// turn.
    pub(super) fn share(self: &Arc<Self>) -> Option<InFlight> {
        let room = self.sender.current_max_send_streams().min(TOGETHER);
        let taken = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now < room).then_some(now + 1)
        });
        taken.ok().map(|_| InFlight(Arc::clone(self)))
    }

    /// Whether it takes no more requests.
    pub(super) fn is_ended(&self) -> bool {
        // A clone has nothing that waits for its turn: this is ready, or over.
        let ready = self.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Err(_))) || self.line.look() == Seen::Ended
    }

    /// For how long nobody has used it; `None`: it is in use.
    pub(super) fn unused(&self) -> Option<Duration> {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        (self.in_flight.load(Ordering::Acquire) == 0).then(|| used.elapsed())
    }

    /// What is proved by the error with which a stream ended. Before it was begun, so
    /// much had been written.
    fn proof(&self, error: &h2::Error, before: u64) -> Option<NotProcessed> {
        if error.is_remote() {
            return match error.reason() {
                _ if error.is_go_away() => Some(NotProcessed::GoAway),
                Some(Reason::REFUSED_STREAM) => Some(NotProcessed::RefusedStream),
                _ => None,
            };
        }
        // Others may be using it: it is cut only where it has ended anyhow.
        let is_unwritten = error.is_io() && self.line.cut() == before;
        is_unwritten.then_some(NotProcessed::Unwritten)
    }
}

impl InFlight {
    /// Sends a request.
    pub(super) async fn send(
        self,
        to: &Origin,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Received>, Failed> {
        shape::two(&mut request, to);
        let mut sender = self.0.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            return Err(Failed::GivenBack(Box::new(request), told(&error)));
        }
        let before = self.0.line.written();
        let over = |proof, error: &h2::Error| {
            Failed::Over(SendError { proof, what: format!("{to}: {}", told(error)) })
        };
        let (head, body) = request.into_parts();
        let mut head = Request::from_parts(head, ());
        note_length(&mut head, &body);
        let begun = sender.send_request(head, body.is_end_stream());
        // What h2 does not take it does not write.
        let (answer, stream) =
            begun.map_err(|error| over(Some(NotProcessed::Unwritten), &error))?;
        let upload = Upload::begin(body, stream).await;
        match answer.await {
            Ok(answer) => {
                let length = answer.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                Ok(answer.map(|body| Received::of_many(body, length, self, upload)))
            }
            Err(error) => Err(over(self.0.proof(&error, before), &error)),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Says how long the body is, where it is known and is not said.
fn note_length(head: &mut Request<()>, body: &Outgoing) {
    let may_be_empty = !matches!(*head.method(), Method::POST | Method::PUT | Method::PATCH);
    if let Some(length) = body.size_hint().exact()
        && !(length == 0 && may_be_empty)
        && !head.headers().contains_key(CONTENT_LENGTH)
    {
        head.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

impl Upload {
    /// Most bodies are there and go at once; the others need somebody who waits for them.
    async fn begin(body: Outgoing, stream: SendStream<Bytes>) -> Self {
        if body.is_end_stream() {
            return Self(None);
        }
        let mut writing = Box::pin(write(body, stream));
        let is_written = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx).is_ready())).await;
        Self((!is_written).then(|| tokio::spawn(writing).abort_handle()))
    }

    /// Lets it come to its own end: the answer is there.
    pub(super) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(writing) = self.0.take() {
            writing.abort();
        }
    }
}

/// Writes a body, as fast as the server takes it. Why it could not, the answer says.
async fn write(mut body: Outgoing, mut stream: SendStream<Bytes>) {
    loop {
        let sent = match next(&mut body, &mut stream).await {
            Next::Refused => return,
            Next::Frame(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => send(&mut stream, data, body.is_end_stream()).await,
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    stream.send_trailers(trailers).map(|()| Sent::Last)
                }
            },
            // Half a request must not look like a whole one.
            Next::Frame(Some(Err(_))) => return stream.send_reset(Reason::CANCEL),
            Next::Frame(None) => stream.send_data(Bytes::new(), true).map(|()| Sent::Last),
        };
        match sent {
            Ok(Sent::More) => {}
            Ok(Sent::Last) | Err(_) => return,
        }
    }
}

/// What is next of a body.
enum Next {
    Frame(Option<Result<Frame<Bytes>, BodyError>>),
    /// The server wants no more.
    Refused,
}

enum Sent {
    More,
    Last,
}

async fn next(body: &mut Outgoing, stream: &mut SendStream<Bytes>) -> Next {
    let mut frame = body.frame();
    poll_fn(|cx| match Pin::new(&mut frame).poll(cx) {
        Poll::Ready(frame) => Poll::Ready(Next::Frame(frame)),
        Poll::Pending => stream.poll_reset(cx).map(|_| Next::Refused),
    })
    .await
}

async fn send(
    stream: &mut SendStream<Bytes>,
    mut data: Bytes,
    is_last: bool,
) -> Result<Sent, h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Ok(Sent::Last);
        };
        let piece = data.split_to(room?.min(data.len()));
        if !piece.is_empty() {
            stream.send_data(piece, is_last && data.is_empty())?;
        }
    }
    Ok(if is_last { Sent::Last } else { Sent::More })
}
