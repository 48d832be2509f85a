//! What goes to a server, counted where the kernel takes it, below TLS.
//!
//! Invariant: what was written is never more than what is counted, and after a cut
//! nothing is written any more. So a count that has not grown proves that nothing went
//! out, and that nothing will.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use bytes::BufMut as _;
use rustix::net::{RecvFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once. What is read is passed on as it came: of an answer whose client
/// is slow, a few pieces are held on the way, and there may be hundreds of those. (hyper makes
/// its buffer larger when one is filled; half of that would be held in vain.)
const AT_ONCE: usize = 8 * 1024 - 1;

/// A socket, as its connection has it.
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    sent: Arc<Mutex<Sent>>,
}

/// The same, as it is looked at from outside. It does not keep the socket open.
#[derive(Clone)]
pub(super) struct Line {
    socket: Weak<TcpStream>,
    sent: Arc<Mutex<Sent>>,
}

/// What the kernel took.
#[derive(Default)]
struct Sent {
    bytes: u64,
    is_cut: bool,
}

/// What is seen of a line that should be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is open, and there is nothing to read.
    Silent,
    /// There is something that was not read yet.
    Unread,
    /// It has ended.
    Ended,
}

impl Wire {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket: Arc::new(socket), sent: Arc::default() }
    }

    pub(super) fn line(&self) -> Line {
        Line { socket: Arc::downgrade(&self.socket), sent: Arc::clone(&self.sent) }
    }

    /// The count is kept under a lock for as long as the kernel takes the bytes: a cut
    /// comes before them, or after they are counted. Nobody waits in here.
    fn write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.socket.poll_write_ready(cx))?;
            let mut sent = lock(&self.sent);
            if sent.is_cut {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            match write(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(written) => {
                    sent.bytes += written as u64;
                    return Poll::Ready(Ok(written));
                }
            }
        }
    }
}

impl Line {
    /// How many bytes the kernel took so far.
    pub(super) fn written(&self) -> u64 {
        lock(&self.sent).bytes
    }

    /// Sees to it that nothing is written any more, and says how much was.
    pub(super) fn cut(&self) -> u64 {
        let mut sent = lock(&self.sent);
        sent.is_cut = true;
        sent.bytes
    }

    /// Looks whether the server has said something, or has hung up.
    pub(super) fn look(&self) -> Seen {
        let Some(socket) = self.socket.upgrade() else { return Seen::Ended };
        let mut byte = [0];
        match rustix::net::recv(&*socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(rustix::io::Errno::AGAIN) => Seen::Silent,
            Err(_) | Ok((_, 0)) => Seen::Ended,
            Ok(_) => Seen::Unread,
        }
    }
}

fn lock(sent: &Mutex<Sent>) -> MutexGuard<'_, Sent> {
    sent.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.socket.poll_read_ready(cx))?;
            let room = buffer.remaining().min(AT_ONCE);
            let mut read = None;
            let tried = self.socket.try_io(Interest::READABLE, || {
                let got = self.socket.try_read_buf(&mut (&mut *buffer).limit(room))?;
                read = Some(got);
                // What does not fill the room has emptied the socket: that saves asking
                // again, as tokio's own reads do.
                if 0 < got && got < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                _ if read.is_some() => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                tried => return Poll::Ready(tried),
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |socket| socket.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match rustix::net::shutdown(&*self.socket, Shutdown::Write) {
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error.into())),
        }
    }
}
