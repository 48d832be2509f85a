//! A connection whose client was listened to before it was known what it speaks.
//!
//! Invariant: whatever was listened to is read once more, by whoever serves the connection.

use std::io;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much is listened to at a time.
const PIECE: usize = 64;

/// How long the name of a method may be.
const METHOD: usize = 32;

/// The type of the record of TLS that a client begins with (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// It goes without a word.
    Nothing,
    /// With a handshake.
    Tls,
    /// With a request, or with the preface of HTTP/2.
    Http,
    /// With something else.
    Other,
}

impl Opening {
    /// How what began like this began; `None` while it may still become a request.
    ///
    /// A request begins with its method and its target (RFC 9112, 3): a path, a star, or a
    /// whole URL; that of `CONNECT` is a server.
    fn of(first: &[u8]) -> Option<Self> {
        const TARGETS: [&[u8]; 4] = [b"/", b"*", b"http://", b"https://"];
        if *first.first()? == HANDSHAKE {
            return Some(Self::Tls);
        }
        let method = first.iter().take_while(|byte| is_token(**byte)).count();
        let Some((space, target)) = first[method..].split_first() else {
            return (method > METHOD).then_some(Self::Other);
        };
        if *space != b' ' || method == 0 || method > METHOD {
            return Some(Self::Other);
        }
        if &first[..method] == b"CONNECT" || TARGETS.iter().any(|begin| target.starts_with(begin)) {
            return Some(Self::Http);
        }
        let may_become_one = TARGETS.iter().any(|begin| begin.starts_with(target));
        (!may_become_one).then_some(Self::Other)
    }
}

/// Whether a byte may be in the name of a method (RFC 9110, 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'#' | b'$' | b'+')
}

/// A connection of which the first bytes were read already.
pub(super) struct Begun {
    /// What the client said, as far as it was listened to.
    pub(super) first: Vec<u8>,
    /// How much of this was read once more.
    read: usize,
    inner: Stream,
}

pub(super) enum Stream {
    Plain(TcpStream),
    Upgraded(TokioIo<hyper::upgrade::Upgraded>),
    Tls(Box<tokio_rustls::server::TlsStream<Begun>>),
}

impl Begun {
    pub(super) const fn new(inner: Stream) -> Self {
        Self { first: Vec::new(), read: 0, inner }
    }

    /// Whether it is encrypted, and opened here.
    pub(super) const fn is_tls(&self) -> bool {
        matches!(self.inner, Stream::Tls(_))
    }

    /// What both ends said in their handshake that they speak (RFC 7301).
    pub(super) fn agreed(&self) -> Option<&[u8]> {
        match &self.inner {
            Stream::Tls(tls) => tls.get_ref().1.alpn_protocol(),
            Stream::Plain(_) | Stream::Upgraded(_) => None,
        }
    }

    /// The client's socket once more, where there is nothing between.
    pub(super) fn socket(&self) -> Option<TcpStream> {
        let Stream::Plain(stream) = &self.inner else { return None };
        let again = stream.as_fd().try_clone_to_owned().ok()?;
        TcpStream::from_std(again.into()).ok()
    }

    /// Listens to more of what the client says first, and tells how many bytes that was.
    pub(super) async fn listen(&mut self) -> io::Result<usize> {
        let mut piece = [0; PIECE];
        let length = match &mut self.inner {
            Stream::Plain(stream) => stream.read(&mut piece).await?,
            Stream::Upgraded(stream) => stream.read(&mut piece).await?,
            Stream::Tls(stream) => stream.read(&mut piece).await?,
        };
        self.first.extend_from_slice(&piece[..length]);
        Ok(length)
    }

    /// How the client begins. What may become a request is waited for, however long it takes:
    /// who takes his time would pass without a guard.
    pub(super) async fn opening(&mut self) -> io::Result<Opening> {
        loop {
            if let Some(opening) = Opening::of(&self.first) {
                return Ok(opening);
            }
            if self.listen().await? == 0 {
                let is_silent = self.first.is_empty();
                return Ok(if is_silent { Opening::Nothing } else { Opening::Other });
            }
        }
    }
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read < this.first.len() {
            let length = into.remaining().min(this.first.len() - this.read);
            into.put_slice(&this.first[this.read..this.read + length]);
            this.read += length;
            return Poll::Ready(Ok(()));
        }
        match &mut this.inner {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Upgraded(stream) => Pin::new(stream).poll_read(context, into),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Begun {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Upgraded(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Upgraded(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Upgraded(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Stream::Upgraded(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Upgraded(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_become_a_request_is_waited_for() {
        for (first, opening) in [
            ("", None),
            ("P", None),
            ("POST", None),
            ("POST ", None),
            ("POST h", None),
            ("POST http:/", None),
            ("POST /charge", Some(Opening::Http)),
            ("post /charge", Some(Opening::Http)),
            ("PROPFIND /files", Some(Opening::Http)),
            ("M-SEARCH * ", Some(Opening::Http)),
            ("GET http://shop.example/", Some(Opening::Http)),
            ("CONNECT shop", Some(Opening::Http)),
            ("PRI *", Some(Opening::Http)),
            ("PING\r\n", Some(Opening::Other)),
            ("USER me", Some(Opening::Other)),
            ("USER he", Some(Opening::Other)),
            ("*1\r\n", Some(Opening::Other)),
            (" /", Some(Opening::Other)),
            ("\x16", Some(Opening::Tls)),
            ("\x01", Some(Opening::Other)),
            ("SSH-2.0-OpenSSH\r\n", Some(Opening::Other)),
            ("averylongwordthatgoesonandonandon", Some(Opening::Other)),
        ] {
            assert_eq!(Opening::of(first.as_bytes()), opening, "{first:?}");
        }
    }
}
