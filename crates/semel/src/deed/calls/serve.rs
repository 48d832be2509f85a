//! The proxy towards clients: who asks, and over which protocol.
//!
//! Invariant: nothing is sent for whoever does not say the secret of a caller that is at work.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::Office;
use super::begun::{Begun, Stream};
use super::body::Outgoing;
use super::caller::Caller;
use super::exchange::Asking;
use super::line::{self, DOUBT, Line, Watched};
use super::reply::Reply;
use crate::ground::http::upstream::{Origin, Scheme};
use crate::ground::world::connections::peer_is_ours;

/// What a connection of HTTP/1 holds at most: of the head of a request, and of an answer that
/// its client does not take.
const BUFFER: usize = 64 * 1024;

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
            serve(office, Begun::new(Stream::Plain(stream)), door, None).await;
        });
    }
}

fn is_of_us(local: io::Result<SocketAddr>, peer: SocketAddr) -> bool {
    local.is_ok_and(|local| peer_is_ours(local, peer))
}

/// What a connection leads to, where it is inside a tunnel.
pub(super) type Inside = Option<(Arc<Caller>, Origin, Arc<Line>)>;

/// Serves a connection, in the protocol that its client begins with.
pub(super) async fn serve(office: Arc<Office>, mut stream: Begun, door: Door, inside: Inside) {
    // Inside a tunnel the client is at the end of the line outside.
    let socket = match &inside {
        Some((_, _, outside)) => outside.socket(),
        None => stream.socket().map(Arc::new),
    };
    // What was not agreed on is told by its first bytes.
    let is_h2 = match stream.agreed() {
        Some(agreed) => agreed == b"h2",
        None => stream.opening().await.is_ok() && stream.first.starts_with(b"PRI "),
    };
    let line = Arc::new(Line::at(socket.clone(), is_h2));
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
    let is_tls = stream.is_tls();
    let stream = Watched::new(stream, Arc::clone(&line), is_tls);
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
        // Of TLS the system knows less than was seen.
        (Ok(()), Some(socket)) if !is_tls => hangs_up(&socket).await,
        (Ok(()), _) => false,
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

/// Whether a connection ended since its client hung up with something unread.
fn is_reset(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref() {
            return line::is_reset(error);
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
        return Asking { office, caller, line }.connect(request);
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
