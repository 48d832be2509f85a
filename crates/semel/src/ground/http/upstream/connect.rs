//! How a connection comes about: name, socket, the user's proxy, TLS, HTTP.
//!
//! Invariant: whatever fails in here fails before a request is given to anybody.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::ring as provider;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::lane::{One, told};
use super::many::{InFlight, Many};
use super::wire::{Line, Wire};
use super::{NotProcessed, Origin, Proxy, Scheme, SendError, UserProxy, bracketed, in_time};
use crate::ground::http::trust::Trust;

/// After how long the next address of a name is tried, beside the one before (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);

/// After how long of silence the system asks whether a server is still there, how often,
/// and how many times in vain.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 6);

/// What a connection of HTTP/1 has in memory at most; the head of an answer, too.
const BUFFER: usize = 128 * 1024;

/// How many headers an answer may have. One that has been paid for should be read.
const HEADERS: usize = 256;

/// How long the answer of a proxy to `CONNECT` may be.
const PROXY_HEAD: usize = 16 * 1024;

/// Whose certificates lead to trust.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    /// What could not be read, and why.
    pub faults: Vec<String>,
}

impl Roots {
    /// Those of the system and of the user.
    #[must_use]
    pub fn of(trust: &Trust) -> Self {
        let trusted = trust.certificates();
        let mut store = RootCertStore::empty();
        // Among those of a system there may be one that webpki does not understand.
        store.add_parsable_certificates(trusted.found);
        Self { store: Arc::new(store), faults: trusted.faults }
    }

    /// Those that an environment leads to.
    #[must_use]
    pub fn of_environment(environment: &BTreeMap<OsString, OsString>) -> Self {
        Self::of(&Trust::of(environment))
    }
}

/// A connection through which anything may go.
pub type Tunnel = Box<dyn ReadWrite>;

/// What a tunnel is made of.
pub trait ReadWrite: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ReadWrite for T {}

/// A new connection.
pub(super) enum Connection {
    One(One),
    Many(Arc<Many>, InFlight),
}

/// Makes connections.
pub(super) struct Connector {
    /// Offers HTTP/2 and HTTP/1.1.
    any: Option<Arc<ClientConfig>>,
    /// Offers HTTP/1.1.
    one: Option<Arc<ClientConfig>>,
    /// Offers nothing: what is spoken inside is none of our business.
    none: Option<Arc<ClientConfig>>,
    proxy: UserProxy,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(roots: &Roots, proxy: UserProxy, limit: Duration) -> Self {
        Self {
            any: client(roots, &[b"h2", b"http/1.1"]),
            one: client(roots, &[b"http/1.1"]),
            none: client(roots, &[]),
            proxy,
            limit,
        }
    }

    /// A connection to a server that speaks HTTP.
    pub(super) async fn open(&self, to: &Origin, only_one: bool) -> Result<Connection, SendError> {
        in_time(self.limit, || to.to_string(), self.open_whenever(to, only_one)).await
    }

    async fn open_whenever(&self, to: &Origin, only_one: bool) -> Result<Connection, SendError> {
        let proxy = self.proxy.towards(to);
        let Some(proxy) = proxy else {
            let wire = Wire::new(dial(&to.host, to.port).await?);
            let line = wire.line();
            return self.secure(to, only_one, wire, line).await;
        };
        let wire = Wire::new(dial(&proxy.host, proxy.port).await?);
        let line = wire.line();
        if proxy.is_encrypted {
            let tls = encrypt(self.one.as_ref(), &proxy.host, wire).await?;
            self.through(to, only_one, proxy, tls, line).await
        } else {
            self.through(to, only_one, proxy, wire, line).await
        }
    }

    /// Has the proxy connect us, or speaks to it as one.
    async fn through<T>(
        &self,
        to: &Origin,
        only_one: bool,
        proxy: &Arc<Proxy>,
        mut io: T,
        line: Line,
    ) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if to.scheme == Scheme::Http && !to.h2_plain && !only_one {
            return one(to, io, line, Some(Arc::clone(proxy))).await;
        }
        ask(&mut io, proxy, &to.to_string()).await?;
        self.secure(to, only_one, io, line).await
    }

    /// Encrypts what is to be encrypted, and begins to speak HTTP.
    async fn secure<T>(
        &self,
        to: &Origin,
        only_one: bool,
        io: T,
        line: Line,
    ) -> Result<Connection, SendError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match to.scheme {
            Scheme::Http if to.h2_plain && !only_one => many(to, io, line).await,
            Scheme::Http => one(to, io, line, None).await,
            Scheme::Https => {
                let config = if only_one { &self.one } else { &self.any };
                let tls = encrypt(config.as_ref(), &to.host, io).await?;
                match tls.get_ref().1.alpn_protocol() {
                    Some(b"h2") => many(to, tls, line).await,
                    _ => one(to, tls, line, None).await,
                }
            }
        }
    }

    /// A connection through which anything may go, encrypted where the scheme says so.
    pub(super) async fn tunnel(&self, to: &Origin) -> Result<Tunnel, SendError> {
        in_time(self.limit, || to.to_string(), self.tunnel_whenever(to)).await
    }

    async fn tunnel_whenever(&self, to: &Origin) -> Result<Tunnel, SendError> {
        // Whatever goes through it, a proxy is asked to connect, as it is for TLS.
        let connected = Origin { scheme: Scheme::Https, ..to.clone() };
        let mut tunnel: Tunnel = match self.proxy.towards(&connected) {
            None => Box::new(dial(&to.host, to.port).await?),
            Some(proxy) => {
                let mut tunnel: Tunnel = Box::new(dial(&proxy.host, proxy.port).await?);
                if proxy.is_encrypted {
                    tunnel = Box::new(encrypt(self.one.as_ref(), &proxy.host, tunnel).await?);
                }
                ask(&mut tunnel, proxy, &connected.to_string()).await?;
                tunnel
            }
        };
        if to.scheme == Scheme::Https {
            tunnel = Box::new(encrypt(self.none.as_ref(), &to.host, tunnel).await?);
        }
        Ok(tunnel)
    }
}

/// What rustls needs to connect. `None` if it has nothing to encrypt with, which is said
/// where something is to be encrypted.
fn client(roots: &Roots, protocols: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(Arc::clone(&roots.store))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Some(Arc::new(config))
}

/// Connects to the first address of a host that takes us.
async fn dial(host: &str, port: u16) -> Result<TcpStream, SendError> {
    let name = || format!("{}:{port}", bracketed(host));
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => match lookup_host((host, port)).await {
            Ok(found) => found.collect(),
            Err(error) => {
                let what = format!("{}: {error}", name());
                return Err(SendError::proved(NotProcessed::Unresolved, what));
            }
        },
    };
    if addresses.is_empty() {
        let what = format!("{}: the name has no address", name());
        return Err(SendError::proved(NotProcessed::Unresolved, what));
    }
    let dialled = match addresses[..] {
        [address] => TcpStream::connect(address).await,
        _ => first_of(addresses).await,
    };
    let socket = dialled.and_then(|socket| settle(&socket).map(|()| socket));
    socket.map_err(|error| {
        SendError::proved(NotProcessed::Unreachable, format!("{}: {error}", name()))
    })
}

/// Tries addresses one after another, and none for long alone.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut trying = JoinSet::new();
    let mut rest = addresses.into_iter();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = rest.next() {
            trying.spawn(TcpStream::connect(address));
        }
        let ended = if rest.len() > 0 {
            match timeout(STAGGER, trying.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            trying.join_next().await
        };
        match ended {
            Some(Ok(Ok(socket))) => return Ok(socket),
            Some(Ok(Err(error))) => last = error,
            Some(Err(error)) => last = io::Error::other(error),
            None => return Err(last),
        }
    }
}

fn settle(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    let (after, every, times) = KEEPALIVE;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, after)?;
    sockopt::set_tcp_keepintvl(socket, every)?;
    sockopt::set_tcp_keepcnt(socket, times)?;
    Ok(())
}

/// Asks a proxy to connect us.
async fn ask<T>(io: &mut T, proxy: &Proxy, to: &str) -> Result<(), SendError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let refused = |why: String| {
        SendError::proved(
            NotProcessed::ProxyRefused,
            format!("{to}: {proxy} does not connect: {why}"),
        )
    };
    let mut asked = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n").into_bytes();
    if let Some(said) = &proxy.authorization {
        asked.extend(b"Proxy-Authorization: ");
        asked.extend(said.as_bytes());
        asked.extend(b"\r\n");
    }
    asked.extend(b"\r\n");
    io.write_all(&asked).await.map_err(|error| refused(error.to_string()))?;
    io.flush().await.map_err(|error| refused(error.to_string()))?;
    let head = head(io).await.map_err(|error| refused(error.to_string()))?;
    let line = head.lines().next().unwrap_or_default();
    let mut words = line.splitn(3, ' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    match words.next() {
        Some(status) if is_http && status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(refused(format!("it says {line:?}"))),
    }
}

/// The head of an answer, and nothing of what comes after: that is for somebody else.
async fn head<T: AsyncRead + Unpin>(io: &mut T) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == PROXY_HEAD {
            return Err(io::Error::other("its answer has no end"));
        }
        head.push(io.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn encrypt<T>(
    config: Option<&Arc<ClientConfig>>,
    host: &str,
    io: T,
) -> Result<tokio_rustls::client::TlsStream<T>, SendError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let failed =
        |why: &str| SendError::proved(NotProcessed::Handshake, format!("{host}: no TLS: {why}"));
    let config = config.ok_or_else(|| failed("semel has no protocol for it"))?;
    let name = ServerName::try_from(host.to_owned());
    let name = name.map_err(|_| failed("this is not a name that a certificate can have"))?;
    let shaken = TlsConnector::from(Arc::clone(config)).connect(name, io).await;
    shaken.map_err(|error| match certificate_error(&error) {
        Some(why) => SendError::proved(
            NotProcessed::Untrusted,
            format!("the certificate of {host} is not trusted: {}", explained(why)),
        ),
        None => failed(&error.to_string()),
    })
}

fn certificate_error(error: &io::Error) -> Option<&CertificateError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::InvalidCertificate(why) => Some(why),
        _ => None,
    }
}

fn explained(why: &CertificateError) -> String {
    match why {
        CertificateError::UnknownIssuer => {
            "nobody who is trusted has signed it (SSL_CERT_FILE can name whom else to trust)".into()
        }
        CertificateError::Expired => "it has expired".into(),
        CertificateError::NotValidYet => "it is not valid yet".into(),
        CertificateError::Revoked => "it was revoked".into(),
        CertificateError::NotValidForName => "it is for another name".into(),
        other => other.to_string(),
    }
}

/// Begins to speak HTTP/1.
async fn one<T>(
    to: &Origin,
    io: T,
    line: Line,
    through: Option<Arc<Proxy>>,
) -> Result<Connection, SendError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = http1::Builder::new()
        .preserve_header_case(true)
        // What was paid for is read, if it can be.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .handshake(TokioIo::new(io))
        .await;
    let (sender, connection) = begun.map_err(|error| not_begun(to, &error))?;
    tokio::spawn(async move {
        // Whoever waits for an answer is told of its end.
        let _ = connection.with_upgrades().await;
    });
    Ok(Connection::One(One { sender, line, through }))
}

/// Begins to speak HTTP/2.
async fn many<T>(to: &Origin, io: T, line: Line) -> Result<Connection, SendError>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Many::begin(io, line).await;
    let (many, share) = begun.map_err(|error| not_begun(to, &error))?;
    Ok(Connection::Many(many, share))
}

fn not_begun(to: &Origin, error: &dyn std::error::Error) -> SendError {
    SendError::proved(NotProcessed::Unreachable, format!("{to}: {}", told(error)))
}
