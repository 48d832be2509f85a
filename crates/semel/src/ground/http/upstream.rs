//! The client with which calls are made.
//!
//! It follows no redirect, keeps no cookie, and unpacks nothing: what it is given goes
//! out, what comes in is given back.
//!
//! Invariant: a request is handed to at most one connection that may have written of it.
//! One that comes back whole was never begun, and may be handed to the next; after
//! anything else it is over, and [`SendError::proof`] says whether it is *proved* that it
//! was not processed. No proof is no statement: it may have been.

mod connect;
mod lane;
mod many;
mod pool;
mod proxy;
mod received;
mod shape;
mod wire;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Body;
use hyper::{Request, Response};
use tokio::time::timeout;

use connect::Connector;
use lane::Failed;
use pool::Pool;

pub use connect::{ReadWrite, Roots, Tunnel};
pub use proxy::{Proxy, UserProxy};
pub use received::{CutShort, Received};

/// Whatever went wrong with the body of a request.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
type Outgoing = UnsyncBoxBody<Bytes, BodyError>;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Encrypted, and its certificate is looked at.
    Https,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its name or address; that of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it is known to speak HTTP/2 in clear text. Encrypted, it is asked.
    pub h2_plain: bool,
}

/// How recently a connection must have been used.
///
/// A server may hang up on a connection that nobody uses, and a request may be on its
/// way by then. Nobody knows what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Any will do: the request can be repeated.
    Any,
    /// Just now.
    Fresh,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the look-up of the name to the end of the TLS handshake.
    pub connect: Duration,
    /// Since when a connection may be unused and is still [`Freshness::Fresh`].
    pub fresh: Duration,
    /// The same of HTTP/2, where a server says goodbye.
    pub fresh_h2: Duration,
    /// After how long a connection that nobody uses is closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            fresh: Duration::from_secs(1),
            fresh_h2: Duration::from_secs(10),
            idle: Duration::from_secs(30),
        }
    }
}

/// Why it is certain that a request was not processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotProcessed {
    /// The name of the server has no address.
    Unresolved,
    /// There was no connection: refused, unreachable, or not in time.
    Unreachable,
    /// The user's proxy did not connect us.
    ProxyRefused,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The TLS handshake failed otherwise.
    Handshake,
    /// No byte of the request was written.
    Unwritten,
    /// HTTP/2: the server refused the stream (`REFUSED_STREAM`).
    RefusedStream,
    /// HTTP/2: the server went away before it looked at the stream (`GOAWAY`).
    GoAway,
}

impl NotProcessed {
    /// The words for people and for the manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unresolved => "name not found",
            Self::Unreachable => "no connection",
            Self::ProxyRefused => "refused by the proxy",
            Self::Untrusted => "certificate not trusted",
            Self::Handshake => "TLS handshake failed",
            Self::Unwritten => "nothing was written",
            Self::RefusedStream => "stream refused",
            Self::GoAway => "server went away before",
        }
    }
}

/// A request that has no answer.
#[derive(Debug)]
pub struct SendError {
    /// Why it is certain that it was not processed. `None`: it may have been.
    pub proof: Option<NotProcessed>,
    /// What happened, for people.
    pub what: String,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for SendError {}

impl SendError {
    fn proved(proof: NotProcessed, what: impl Into<String>) -> Self {
        Self { proof: Some(proof), what: what.into() }
    }
}

/// The client. Its clones share their connections.
#[derive(Clone)]
pub struct Upstream {
    connector: Arc<Connector>,
    pool: Arc<Pool>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}

impl Upstream {
    /// A client that trusts these roots, and goes through the user's proxy.
    #[must_use]
    pub fn new(roots: &Roots, proxy: UserProxy) -> Self {
        Self::with(roots, proxy, Limits::default())
    }

    /// The same, with limits of one's own.
    #[must_use]
    pub fn with(roots: &Roots, proxy: UserProxy, limits: Limits) -> Self {
        Self {
            connector: Arc::new(Connector::new(roots, proxy, limits.connect)),
            pool: Arc::new(Pool::new(limits)),
        }
    }

    /// Sends a request, and gives the answer as soon as its head is there.
    ///
    /// The request has its headers as the client sent them, without those that are
    /// between the client and the proxy; one with `upgrade` goes out in HTTP/1.1. Where
    /// this future is dropped, the request is given up, and may have been processed.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn send<B>(
        &self,
        to: &Origin,
        request: Request<B>,
        fresh: Freshness,
    ) -> Result<Response<Received>, SendError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let is_upgrade = shape::is_upgrade(&request);
        let place = self.pool.place(to);
        while let Some(lane) = place.take(fresh, is_upgrade) {
            match lane.send(to, request, &place).await {
                Ok(answer) => return Ok(answer),
                // Its connection had ended; it was never begun.
                Err(Failed::GivenBack(back, _)) => request = *back,
                Err(Failed::Over(error)) => return Err(error),
            }
        }
        // A handshake is large; nothing of it is needed for as long as an answer lasts.
        let opened = Box::pin(self.connector.open(to, is_upgrade)).await?;
        let lane = place.add(opened);
        match lane.send(to, request, &place).await {
            Ok(answer) => Ok(answer),
            Err(Failed::GivenBack(_, why)) => {
                Err(SendError::proved(NotProcessed::Unwritten, format!("{to}: {why}")))
            }
            Err(Failed::Over(error)) => Err(error),
        }
    }

    /// A connection to a server through which anything may go, not only HTTP; encrypted
    /// where the scheme is [`Scheme::Https`].
    ///
    /// # Errors
    /// If there is none.
    pub async fn tunnel(&self, to: &Origin) -> io::Result<Tunnel> {
        self.connector.tunnel(to).await.map_err(io::Error::other)
    }
}

impl Origin {
    /// The server of a URL that has no path.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let url = url::Url::parse(url).ok()?;
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        if url.path() != "/" || url.query().is_some() {
            return None;
        }
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some(Self { scheme, host, port: url.port_or_known_default()?, h2_plain: false })
    }

    /// Its host and port, as a URL has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let usual = match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let host = bracketed(&self.host);
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", bracketed(&self.host), self.port)
    }
}

/// A host as it stands before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// What is to be done in time.
async fn in_time<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    work: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    match timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(SendError::proved(
            NotProcessed::Unreachable,
            format!("{}: no connection within {} s", what(), limit.as_secs_f32()),
        )),
    }
}

#[cfg(test)]
mod tests;
