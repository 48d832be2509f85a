//! Connections of clients: whether whoever was answered has heard it.
//!
//! A client gives up on an answer by hanging up, or, where many share a connection, by
//! cancelling its stream. Neither is told to whoever wrote the answer, if all of it is in the
//! hands of the system by then.
//!
//! Invariant: an answer counts as heard only where no sign says that it may not be. In doubt
//! an equal request gets the same answer, and nothing is paid for.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// For how long after an answer it may turn out that its client did not hear it.
pub(super) const DOUBT: Duration = Duration::from_secs(2);

/// How long it may take that a stream which is cancelled is no longer written to.
const LAG: Duration = Duration::from_millis(100);

/// How long a client is waited for that was told that its connection ends.
const LINGER: Duration = Duration::from_millis(250);

/// How HTTP/2 begins, before its frames (RFC 9113, 3.4).
const PREFACE: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// How long the head of a frame is (RFC 9113, 4.1).
const HEAD: usize = 9;

/// The types of the frames that bring an answer (RFC 9113, 6.1 and 6.2).
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// The type of the frame by which a stream is cancelled (RFC 9113, 6.4).
const RST_STREAM: u8 = 3;

/// A connection of a client.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Whether many requests share it: it is HTTP/2.
    pub(super) is_many: bool,
    /// Whether the client hung up with an answer unread.
    pub(super) was_reset: AtomicBool,
    /// Whether it is over.
    pub(super) is_over: AtomicBool,
    /// The client's socket, while it is not.
    socket: Mutex<Option<Arc<TcpStream>>>,
    /// From when until when what was answered may not have been heard, since a stream was
    /// cancelled.
    doubts: Mutex<Vec<(Instant, Instant)>>,
}

impl Line {
    /// The line of a client at the other end of this.
    pub(super) fn at(socket: Option<Arc<TcpStream>>, is_many: bool) -> Self {
        Self { is_many, socket: Mutex::new(socket), ..Self::default() }
    }

    pub(super) fn socket(&self) -> Option<Arc<TcpStream>> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It is over: nobody need be asked any more.
    pub(super) fn let_go(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// From now on the end of the connection is a reset.
    pub(super) fn resets(&self) {
        if let Some(socket) = self.socket() {
            // Where it is not a socket any more, it has ended.
            let _ = rustix::net::sockopt::set_socket_linger(&*socket, Some(Duration::ZERO));
        }
    }

    /// Whether the client has gone, and it is not known yet whether it heard all. The system
    /// is asked: the news may not have reached us.
    pub(super) fn is_deserted(&self) -> bool {
        if self.is_over.load(Ordering::Acquire) {
            return false;
        }
        let Some(socket) = self.socket() else {
            return false;
        };
        let gone = PollFlags::RDHUP | PollFlags::ERR | PollFlags::HUP;
        let mut fds = [PollFd::new(&*socket, PollFlags::RDHUP)];
        // Where nobody can be asked it is taken for gone: then nothing is sent.
        match poll(&mut fds, Some(&Timespec::default())) {
            Ok(_) => fds[0].revents().intersects(gone),
            Err(_) => true,
        }
    }

    fn doubtful(&self) -> MutexGuard<'_, Vec<(Instant, Instant)>> {
        // Times are put in whole.
        self.doubts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream was cancelled at this time. Which answer that was is not known; nor need it
    /// be: it was one of the last.
    fn cancels(&self, at: Instant) {
        let begin = at.checked_sub(DOUBT).unwrap_or(at);
        let mut doubts = self.doubtful();
        match doubts.last_mut() {
            Some((_, end)) if *end >= begin => *end = at + LAG,
            _ => doubts.push((begin, at + LAG)),
        }
    }

    /// Whether what was answered at this time may not have been heard.
    pub(super) fn doubts(&self, at: Instant) -> bool {
        self.doubtful().iter().rev().any(|(begin, end)| *begin <= at && at <= *end)
    }
}

/// A connection of which is noted on its line when the client resets it, cancels a stream, or
/// goes before its answer. Whoever reads and writes it may take that for a goodbye.
pub(super) struct Watched<T> {
    inner: T,
    line: Arc<Line>,
    /// Whether what says goodbye to the client is data, which it may leave unread: so it is in
    /// TLS. The client has the first word then.
    says_goodbye: bool,
    /// Until when that is waited for.
    lingers: Option<Pin<Box<Sleep>>>,
    /// Whether the client has said goodbye: it has heard all that was written before.
    has_gone: bool,
    heard: Frames,
    said: Frames,
}

impl<T> Watched<T> {
    pub(super) const fn new(inner: T, line: Arc<Line>, says_goodbye: bool) -> Self {
        let heard = Frames { skip: PREFACE, ..Frames::NEW };
        let said = Frames::NEW;
        Self { inner, line, says_goodbye, lingers: None, has_gone: false, heard, said }
    }

    /// Notes that what was answered was not heard.
    fn goes_unheard(&self) {
        self.line.was_reset.store(true, Ordering::Release);
    }

    /// Notes a reset, unless the client has said goodbye: what it did not take then was none of
    /// its answers.
    fn noted<R>(&self, done: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if let Poll::Ready(Err(error)) = &done
            && is_reset(error)
            && !self.has_gone
        {
            self.goes_unheard();
        }
        done
    }

    /// Notes an answer that is written though its client has gone.
    fn says(&mut self, bytes: &[u8]) {
        let is_answer =
            !self.line.is_many || self.said.any(bytes, |kind| matches!(kind, DATA | HEADERS));
        if self.has_gone && is_answer && !bytes.is_empty() {
            self.goes_unheard();
        }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Waits for the goodbye of the client, for a while.
    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let lingers = self.lingers.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        let is_late = lingers.as_mut().poll(context).is_ready();
        while !self.has_gone && !is_late {
            let mut room = [0; 64];
            match Pin::new(&mut *self).poll_read(context, &mut ReadBuf::new(&mut room)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => break,
            }
        }
        Poll::Ready(())
    }
}

/// Whether a client hung up with something unread: the system resets the connection then.
pub(super) fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted)
}

/// How far the frames of HTTP/2 were read.
struct Frames {
    /// How much comes before the next head.
    skip: usize,
    /// The head of a frame, and how much of it was read.
    head: [u8; HEAD],
    read: usize,
}

impl Frames {
    const NEW: Self = Self { skip: 0, head: [0; HEAD], read: 0 };

    /// Reads on; whether a frame of such a type is in there.
    fn any(&mut self, mut bytes: &[u8], is_one: impl Fn(u8) -> bool) -> bool {
        let mut found = false;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if bytes.is_empty() {
                return found;
            }
            let length = (HEAD - self.read).min(bytes.len());
            self.head[self.read..self.read + length].copy_from_slice(&bytes[..length]);
            self.read += length;
            bytes = &bytes[length..];
            if self.read == HEAD {
                let [a, b, c, kind, ..] = self.head;
                self.skip = u32::from_be_bytes([0, a, b, c]) as usize;
                self.read = 0;
                found |= is_one(kind);
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (before, has_room) = (into.filled().len(), into.remaining() > 0);
        let read = Pin::new(&mut this.inner).poll_read(context, into);
        let bytes = &into.filled()[before..];
        this.has_gone |= match &read {
            Poll::Pending => false,
            Poll::Ready(Ok(())) => has_room && bytes.is_empty(),
            // In TLS not all say so.
            Poll::Ready(Err(error)) => error.kind() == io::ErrorKind::UnexpectedEof,
        };
        if this.line.is_many && this.heard.any(bytes, |kind| kind == RST_STREAM) {
            this.line.cancels(Instant::now());
        }
        this.noted(read)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(length)) = done {
            self.says(&bytes[..length]);
        }
        self.noted(done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(context);
        self.noted(done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.says_goodbye && self.poll_goodbye(context).is_pending() {
            return Poll::Pending;
        }
        let done = Pin::new(&mut self.inner).poll_shutdown(context);
        self.noted(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        if let Poll::Ready(Ok(mut length)) = done {
            for piece in bytes {
                let taken = piece.len().min(length);
                self.says(&piece[..taken]);
                length -= taken;
            }
        }
        self.noted(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_stream_is_seen_however_its_bytes_come() {
        let frame = |kind: u8, payload: &[u8]| {
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
        };
        // The same bytes inside a frame of data are none.
        let reset = frame(RST_STREAM, &[0, 0, 0, 8]);
        let before = [vec![b'x'; PREFACE], frame(4, &[]), frame(0, &reset)].concat();
        let whole = [&before[..], &reset].concat();
        for piece in 1..=whole.len() {
            let mut frames = Frames { skip: PREFACE, ..Frames::NEW };
            let mut seen = 0;
            for (nth, bytes) in whole.chunks(piece).enumerate() {
                if frames.any(bytes, |kind| kind == RST_STREAM) {
                    seen += 1;
                    assert!(nth * piece + bytes.len() >= before.len() + HEAD, "{piece}");
                }
            }
            assert_eq!(seen, 1, "{piece}");
        }
    }

    #[test]
    fn only_what_was_answered_just_before_is_in_doubt() {
        let line = Line::default();
        let begin = Instant::now() + DOUBT;
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        for cancelled in [10, 11, 30] {
            line.cancels(at(cancelled));
        }
        let doubted: Vec<_> = (0..40).filter(|answered| line.doubts(at(*answered))).collect();
        assert_eq!(doubted, [8, 9, 10, 11, 28, 29, 30]);
        assert!(line.doubts(at(11) + LAG / 2));
    }
}
