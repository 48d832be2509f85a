//! Tunnels: what comes through them is opened, served or passed on.
//!
//! Invariant: what may be HTTP is guarded. What is something else passes, and is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;

use super::begun::{Begun, Opening, Stream};
use super::body::Outgoing;
use super::exchange::Asking;
use super::line::Line;
use super::reply::Reply;
use super::serve::{Door, serve};
use crate::ground::http::upstream::{Origin, Scheme, Tunnel};

/// How long a client in a tunnel may be silent before its server is asked whether that
/// speaks first.
const SILENCE: Duration = Duration::from_millis(500);

/// How long the hello of a client may be: one record of TLS is 16 KiB, and few need two.
const HELLO: usize = 64 * 1024;

impl Asking {
    /// Opens a tunnel, and looks what comes through it.
    pub(super) fn connect(self, mut request: Request<Incoming>) -> Response<Outgoing> {
        let Some(authority) = request.uri().authority().cloned() else {
            return Reply::new(400, "this is a proxy", "the tunnel leads nowhere").response();
        };
        let to = Origin {
            scheme: Scheme::Http,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(443),
            h2_plain: false,
        };
        let upgraded = hyper::upgrade::on(&mut request);
        // The line outside is let go of as soon as the tunnel is open.
        let line = Arc::new(Line::at(self.line.socket(), false));
        let inside = Self { line, ..self };
        tokio::spawn(async move {
            // Where the client has gone there is nothing to tunnel. Where the server is not
            // there, or goes, the client is hung up on.
            if let Ok(upgraded) = upgraded.await {
                let stream = Begun::new(Stream::Upgraded(TokioIo::new(upgraded)));
                let _ = inside.tunnel(stream, to).await;
            }
        });
        let mut response = Response::new(Outgoing::whole(Bytes::new()));
        *response.status_mut() = StatusCode::OK;
        response
    }

    /// What comes through a tunnel, encrypted outside of this one where the scheme says so:
    /// TLS, which is opened; HTTP; or something else, which passes.
    async fn tunnel(self, mut stream: Begun, to: Origin) -> io::Result<()> {
        let mut server = None;
        // What its handshake said it would speak need not be guessed.
        let is_http = stream.agreed().is_some();
        if !is_http && tokio::time::timeout(SILENCE, stream.listen()).await.is_err() {
            // It may wait for a server that speaks first, or only not have begun.
            let mut opened = self.office.upstream.tunnel(&to).await?;
            let mut said = [0; 1];
            let heard = tokio::select! {
                read = stream.listen() => { read?; None }
                read = opened.read(&mut said) => Some(read?),
            };
            match heard {
                Some(0) => return Ok(()),
                Some(_) => {
                    stream.write_all(&said).await?;
                    return self.pass_through(stream, to, Some(opened)).await;
                }
                None => server = Some(opened),
            }
        }
        let opening = if is_http { Opening::Http } else { stream.opening().await? };
        match opening {
            Opening::Nothing => Ok(()),
            Opening::Tls if to.scheme == Scheme::Http => self.intercept(stream, to).await,
            Opening::Http => {
                let is_plain_h2 = to.scheme == Scheme::Http && stream.first.starts_with(b"PRI");
                let to = Origin { h2_plain: is_plain_h2, ..to };
                let inside = Some((self.caller, to, self.line));
                Box::pin(serve(self.office, stream, Door::Secret, inside)).await;
                Ok(())
            }
            Opening::Tls | Opening::Other => self.pass_through(stream, to, server).await,
        }
    }

    /// Takes the place of the server in its TLS, if HTTP may be in there.
    async fn intercept(self, mut stream: Begun, to: Origin) -> io::Result<()> {
        let Some(hello) = hello(&mut stream).await? else {
            return self.pass_through(stream, to, None).await;
        };
        if hello.is_no_http {
            return self.pass_through(stream, to, None).await;
        }
        let config = self.office.authority.server_config(hello.name.as_deref(), &to.host);
        let config = config.map_err(io::Error::other)?;
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let tls = start.into_stream(config).await?;
        let stream = Begun::new(Stream::Tls(Box::new(tls)));
        Box::pin(self.tunnel(stream, Origin { scheme: Scheme::Https, ..to })).await
    }

    /// Passes on what is not HTTP.
    async fn pass_through(
        self,
        mut stream: Begun,
        to: Origin,
        server: Option<Tunnel>,
    ) -> io::Result<()> {
        *self.caller.tally().passed.entry(format!("{to} (not HTTP)")).or_default() += 1;
        let mut server = match server {
            Some(server) => server,
            None => self.office.upstream.tunnel(&to).await?,
        };
        tokio::io::copy_bidirectional(&mut stream, &mut server).await.map(drop)
    }
}

/// What a client says first in TLS.
struct Hello {
    /// Which server it wants.
    name: Option<String>,
    /// Whether it speaks something else than HTTP, by its own word.
    is_no_http: bool,
}

/// Listens to the hello of a client; `None`, if it is none.
async fn hello(stream: &mut Begun) -> io::Result<Option<Hello>> {
    loop {
        let mut acceptor = Acceptor::default();
        let mut first = &stream.first[..];
        while !first.is_empty() && acceptor.read_tls(&mut first).is_ok() {}
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let is_no_http = hello.alpn().is_some_and(|mut protocols| {
                    !protocols.any(|name| name == b"h2" || name.starts_with(b"http/"))
                });
                let name = hello.server_name().map(str::to_owned);
                return Ok(Some(Hello { name, is_no_http }));
            }
            Ok(None) if stream.first.len() < HELLO => {
                if stream.listen().await? == 0 {
                    return Ok(None);
                }
            }
            Ok(None) | Err(_) => return Ok(None),
        }
    }
}
