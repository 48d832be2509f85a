//! The proxy towards clients: who asks, what is in their tunnels, and over which protocol.
//!
//! Invariant: nothing is sent for whoever does not say the secret of a caller that is at work.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::Office;
use super::body::Outgoing;
use super::caller::{Caller, DOUBT, Line};
use super::exchange::Asking;
use super::reply::Reply;
use crate::ground::http::upstream::{Origin, Scheme};
use crate::ground::world::connections::peer_is_ours;

/// How HTTP/2 begins where both know that they speak it (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a client in a tunnel may be silent before its server is asked whether that
/// speaks first.
const SILENCE: Duration = Duration::from_millis(500);

/// What a connection of HTTP/1 holds at most: of the head of a request, and of an answer that
/// its client does not take.
const BUFFER: usize = 64 * 1024;

/// How much is looked at of what a client says first.
const FIRST: usize = 24;

/// Whose requests come in on a listener.
#[derive(Clone)]
pub(super) enum Door {
    /// Of whoever says a secret.
    Secret,
    /// Of this caller: whoever comes must be of our own user.
    Of(Arc<Caller>),
    /// Of this caller, and nobody else can come: the listener is inside its own network.
    Inside(Arc<Caller>),
    /// Of this caller, for this server: a client that was told to call us instead.
    Reverse(Arc<Caller>, Origin),
}

/// Accepts connections until the runtime ends.
pub(super) async fn accept(office: Arc<Office>, listener: TcpListener, door: Door) {
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // No descriptor is left, or the client has gone: others may fare better.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let local = stream.local_addr();
        let (office, door) = (Arc::clone(&office), door.clone());
        tokio::spawn(async move {
            if matches!(door, Door::Of(_)) && !is_of_us(local, peer) {
                return;
            }
            let _ = stream.set_nodelay(true);
            serve(office, Begun::new(Vec::new(), Stream::Plain(stream)), door, None).await;
        });
    }
}

fn is_of_us(local: io::Result<SocketAddr>, peer: SocketAddr) -> bool {
    local.is_ok_and(|local| peer_is_ours(local, peer))
}

/// What a connection leads to, where it is inside a tunnel.
type Inside = Option<(Arc<Caller>, Origin, Arc<Line>)>;

/// Serves a connection, in the protocol that its client begins with.
async fn serve(office: Arc<Office>, mut stream: Begun, door: Door, inside: Inside) {
    // Inside a tunnel the client is at the end of the line outside.
    let socket = match &inside {
        Some((_, _, outside)) => outside.socket(),
        None => stream.socket().map(Arc::new),
    };
    let line = Arc::new(Line::at(socket.clone()));
    // Whether it is HTTP/2 is told by its first bytes.
    let is_h2 = match &stream.inner {
        Stream::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        Stream::Plain(_) | Stream::Upgraded(_) => {
            stream.read_first(3).await.is_ok() && stream.first.starts_with(b"PRI")
        }
    };
    let service = {
        let line = Arc::clone(&line);
        service_fn(move |request| {
            let (office, door, inside) = (Arc::clone(&office), door.clone(), inside.clone());
            let line = Arc::clone(&line);
            Box::pin(async move {
                Ok::<_, io::Error>(answer(office, door, inside, line, request).await)
            })
        })
    };
    let served = if is_h2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).max_concurrent_streams(256).max_send_buf_size(BUFFER);
        server.serve_connection(TokioIo::new(stream), service).await
    } else {
        let mut server = http1::Builder::new();
        server
            .preserve_header_case(true)
            .max_buf_size(BUFFER)
            .timer(TokioTimer::new())
            .header_read_timeout(None);
        server.serve_connection(TokioIo::new(stream), service).with_upgrades().await
    };
    let was_reset = match (served, socket) {
        (Err(error), _) => is_reset(&error),
        (Ok(()), Some(socket)) => hangs_up(&socket).await,
        (Ok(()), None) => false,
    };
    if was_reset {
        line.was_reset.store(true, Ordering::Release);
    }
    line.is_over.store(true, Ordering::Release);
    line.let_go();
}

/// Whether a client hangs up with something unread, though all was written: it had gone by
/// then, or goes before it has read it. Whoever has read it all says goodbye.
async fn hangs_up(socket: &TcpStream) -> bool {
    // What is there is not taken: it may be a tunnel by now.
    let ended = tokio::time::timeout(DOUBT, socket.peek(&mut [0])).await;
    // Who had said goodbye before all was written is told of by no read any more.
    ended.is_ok_and(|ended| ended.is_err())
        || socket.take_error().is_ok_and(|error| error.is_some())
}

/// Whether a client hung up with something unread: the system resets the connection then.
fn is_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<io::Error>() {
            let kinds = [
                io::ErrorKind::ConnectionReset,
                io::ErrorKind::BrokenPipe,
                io::ErrorKind::ConnectionAborted,
            ];
            return kinds.contains(&error.kind());
        }
        source = cause.source();
    }
    error.is_incomplete_message() || error.is_body_write_aborted()
}

async fn answer(
    office: Arc<Office>,
    door: Door,
    inside: Inside,
    line: Arc<Line>,
    request: Request<Incoming>,
) -> Response<Outgoing> {
    if let Some((caller, origin, _)) = inside {
        return Asking { office, caller, line }.answer(origin, request).await;
    }
    if let Door::Reverse(caller, origin) = door {
        return Asking { office, caller, line }.answer(origin, request).await;
    }
    let caller = match door {
        Door::Of(caller) | Door::Inside(caller) => Some(caller),
        Door::Secret | Door::Reverse(..) => office.caller_of(request.headers()),
    };
    let Some(caller) = caller.filter(|caller| !caller.is_over.load(Ordering::Acquire)) else {
        return Reply::new(407, "who asks?", "the proxy is for the commands that semel starts")
            .response();
    };
    if request.method() == Method::CONNECT {
        return connect(office, caller, line, request);
    }
    let Some(origin) = origin_of(&request) else {
        return Reply::new(400, "this is a proxy", "the request names no server").response();
    };
    Asking { office, caller, line }.answer(origin, request).await
}

/// The server that a request to a proxy names.
fn origin_of(request: &Request<Incoming>) -> Option<Origin> {
    let uri = request.uri();
    let scheme = match uri.scheme_str()? {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    let usual = if scheme == Scheme::Http { 80 } else { 443 };
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    Some(Origin { scheme, host, port: uri.port_u16().unwrap_or(usual), h2_plain: false })
}

/// Opens a tunnel, and looks what comes through it.
fn connect(
    office: Arc<Office>,
    caller: Arc<Caller>,
    line: Arc<Line>,
    mut request: Request<Incoming>,
) -> Response<Outgoing> {
    let Some(authority) = request.uri().authority().cloned() else {
        return Reply::new(400, "this is a proxy", "the tunnel leads nowhere").response();
    };
    let host = authority.host().trim_matches(['[', ']']).to_owned();
    let port = authority.port_u16().unwrap_or(443);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Where the client has gone there is nothing to tunnel.
        if let Ok(upgraded) = upgraded.await {
            let stream = Begun::new(Vec::new(), Stream::Upgraded(TokioIo::new(upgraded)));
            let _ = tunnel(office, caller, line, stream, host, port).await;
        }
    });
    let mut response = Response::new(Outgoing::whole(Bytes::new()));
    *response.status_mut() = StatusCode::OK;
    response
}

/// What comes through a tunnel: TLS, which is opened; HTTP; or something else, which passes.
async fn tunnel(
    office: Arc<Office>,
    caller: Arc<Caller>,
    line: Arc<Line>,
    mut stream: Begun,
    host: String,
    port: u16,
) -> io::Result<()> {
    let mut server = None;
    match tokio::time::timeout(SILENCE, stream.read_first(1)).await {
        Ok(read) => read?,
        Err(_) => {
            // It may wait for a server that speaks first, or only not have begun.
            let mut opened = office.upstream.tunnel(&host, port).await?;
            let mut said = [0; 1];
            let speaks_first = tokio::select! {
                read = stream.read_first(1) => { read?; None }
                read = opened.read(&mut said) => Some(read?),
            };
            if let Some(length) = speaks_first {
                stream.write_all(&said[..length]).await?;
                server = Some(opened);
            }
        }
    }
    if server.is_none() {
        if stream.first.first() == Some(&0x16) {
            return intercept(office, caller, line, stream, host, port).await;
        }
        let _ = stream.read_first(8).await;
        if is_http(&stream.first) {
            let h2_plain = stream.first.starts_with(b"PRI");
            let origin = Origin { scheme: Scheme::Http, host, port, h2_plain };
            serve(office, stream, Door::Secret, Some((caller, origin, line))).await;
            return Ok(());
        }
    }
    *caller.tally().passed.entry(format!("{host}:{port} (not HTTP)")).or_default() += 1;
    let mut server = match server {
        Some(server) => server,
        None => office.upstream.tunnel(&host, port).await?,
    };
    tokio::io::copy_bidirectional(&mut stream, &mut server).await.map(drop)
}

/// Whether a client begins as HTTP does: with a method.
fn is_http(first: &[u8]) -> bool {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"PATCH ",
        b"DELETE ",
        b"OPTIONS ",
        b"TRACE ",
        b"PRI * ",
        b"QUERY ",
    ];
    METHODS.iter().any(|method| first.starts_with(&method[..method.len().min(first.len())]))
        && first.len() >= 4
}

/// Takes the place of the server in its TLS.
async fn intercept(
    office: Arc<Office>,
    caller: Arc<Caller>,
    line: Arc<Line>,
    stream: Begun,
    host: String,
    port: u16,
) -> io::Result<()> {
    let start =
        tokio_rustls::LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
    let name = start.client_hello().server_name().map(str::to_owned);
    let config =
        office.authority.server_config(name.as_deref(), &host).map_err(io::Error::other)?;
    let tls = start.into_stream(config).await?;
    let origin = Origin { scheme: Scheme::Https, host, port, h2_plain: false };
    let stream = Begun::new(Vec::new(), Stream::Tls(Box::new(tls)));
    Box::pin(serve(office, stream, Door::Secret, Some((caller, origin, line)))).await;
    Ok(())
}

/// The user name and password that a client says to the proxy (RFC 7617).
pub(super) fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let said = headers.get("proxy-authorization")?.to_str().ok()?;
    let (scheme, credentials) = said.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = base64::engine::general_purpose::STANDARD.decode(credentials.trim()).ok()?;
    let (user, password) = std::str::from_utf8(&text).ok()?.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// A connection of which the first bytes were read already.
struct Begun {
    first: Vec<u8>,
    read: usize,
    inner: Stream,
}

enum Stream {
    Plain(TcpStream),
    Upgraded(TokioIo<hyper::upgrade::Upgraded>),
    Tls(Box<tokio_rustls::server::TlsStream<Begun>>),
}

impl Begun {
    const fn new(first: Vec<u8>, inner: Stream) -> Self {
        Self { first, read: 0, inner }
    }

    /// The client's socket once more, where there is nothing between.
    fn socket(&self) -> Option<TcpStream> {
        let Stream::Plain(stream) = &self.inner else { return None };
        let again = stream.as_fd().try_clone_to_owned().ok()?;
        TcpStream::from_std(again.into()).ok()
    }

    /// Reads what the client says first: at least so many bytes, or all there are.
    async fn read_first(&mut self, least: usize) -> io::Result<()> {
        while self.first.len() < least {
            let mut piece = [0; FIRST];
            let length = match &mut self.inner {
                Stream::Plain(stream) => stream.read(&mut piece).await?,
                Stream::Upgraded(stream) => stream.read(&mut piece).await?,
                Stream::Tls(stream) => stream.read(&mut piece).await?,
            };
            if length == 0 {
                break;
            }
            self.first.extend_from_slice(&piece[..length]);
            if !PREFACE.starts_with(&self.first[..self.first.len().min(PREFACE.len())])
                && self.first.len() >= 4
            {
                break;
            }
        }
        Ok(())
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
