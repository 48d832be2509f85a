//! One request, on a connection of its own, and the whole of its answer.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::options::Options;

/// Sends requests to one URL.
pub(super) struct Caller {
    target: Target,
    /// Through whom, if not directly.
    proxy: Option<Target>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
    body: String,
    headers: String,
}

/// What of an answer matters.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) should_retry: Option<bool>,
    pub(super) retry_after: Option<Duration>,
}

/// A URL, in its parts.
struct Target {
    is_https: bool,
    /// The name and password in it, as a proxy wants them.
    credentials: Option<String>,
    host: String,
    port: u16,
    path: String,
}

impl Caller {
    pub(super) fn new(options: &Options) -> Result<Self, String> {
        let target = Target::read(&options.url)?;
        let names = if target.is_https {
            ["https_proxy", "HTTPS_PROXY"]
        } else {
            ["http_proxy", "HTTP_PROXY"]
        };
        let proxy = names.iter().find_map(|name| std::env::var(name).ok());
        let proxy = proxy.filter(|proxy| !proxy.is_empty()).map(|proxy| Target::read(&proxy));
        Ok(Self {
            tls: target.is_https.then(trust).transpose()?,
            proxy: proxy.transpose()?,
            target,
            timeout: options.timeout,
            body: options.body.clone(),
            headers: options.headers.iter().map(|header| format!("{header}\r\n")).collect(),
        })
    }

    /// Sends the request of an order, and waits for the whole of its answer.
    pub(super) fn send(&self, order: &str, key: Option<&str>) -> io::Result<Answer> {
        let until = Instant::now() + self.timeout;
        let (target, proxy) = (&self.target, self.proxy.as_ref());
        let place = proxy.unwrap_or(target);
        let at = (&*place.host, place.port).to_socket_addrs()?.next();
        let at = at.ok_or(ErrorKind::AddrNotAvailable)?;
        let socket = TcpStream::connect_timeout(&at, self.timeout)?;
        socket.set_nodelay(true)?;
        let socket = Timed { socket, until };
        let login = proxy.and_then(|proxy| proxy.credentials.as_ref());
        let login = login.map(|of| format!("Proxy-Authorization: Basic {of}\r\n"));
        let login = login.unwrap_or_default();

        let authority = format!("{}:{}", target.host, target.port);
        let body = self.body.replace("{order}", order);
        let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
        let rest = format!(
            "Host: {authority}\r\nUser-Agent: plain-client\r\nAccept: */*\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\
             {key}{}\r\n{body}",
            body.len(),
            self.headers
        );
        let Some(config) = &self.tls else {
            let whole = if proxy.is_some() { format!("http://{authority}") } else { String::new() };
            return exchange(
                socket,
                &format!("POST {whole}{} HTTP/1.1\r\n{login}{rest}", target.path),
            );
        };
        let mut socket = socket;
        if proxy.is_some() {
            tunnel(&mut socket, &authority, &login)?;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        let client = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        let stream = StreamOwned::new(client, socket);
        exchange(stream, &format!("POST {} HTTP/1.1\r\n{rest}", target.path))
    }
}

/// A socket that is given up at some moment, however much comes until then.
struct Timed {
    socket: TcpStream,
    until: Instant,
}

impl Timed {
    /// How long there is still to wait.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(bytes)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks a proxy for a way to a host.
fn tunnel(socket: &mut Timed, authority: &str, login: &str) -> io::Result<()> {
    let asked = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n");
    socket.write_all(asked.as_bytes())?;
    // Byte by byte: what comes behind the head is not ours to read.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let (status, _) = parse(&String::from_utf8_lossy(&head))?;
    if status == 200 { Ok(()) } else { Err(io::Error::other(format!("the proxy says {status}"))) }
}

/// Sends a request, and reads its answer to the end.
fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut stream = BufReader::new(stream);
    let (status, headers) = loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        match parse(&head)? {
            (100..=199, _) => {}
            answer => break answer,
        }
    };
    let find = |name: &str| headers.iter().find(|(of, _)| of == name).map(|(_, value)| &**value);
    if find("transfer-encoding") == Some("chunked") {
        read_chunks(&mut stream)?;
    } else if let Some(length) = find("content-length") {
        pass(&mut stream, length.parse().map_err(|_| ErrorKind::InvalidData)?)?;
    } else {
        io::copy(&mut stream, &mut io::sink())?;
    }
    Ok(Answer {
        status,
        should_retry: find("x-should-retry").map(|said| said == "true"),
        retry_after: find("retry-after")
            .and_then(|said| said.parse().ok().map(Duration::from_secs)),
    })
}

/// The status of an answer, and its headers, their names in lower case.
fn parse(head: &str) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut lines = head.lines();
    let first = lines.next().filter(|line| line.starts_with("HTTP/1.")).unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Ok((status.ok_or(ErrorKind::InvalidData)?, headers.collect()))
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<()> {
    loop {
        let line = line(stream)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(|_| ErrorKind::InvalidData)?;
        if length == 0 {
            break;
        }
        pass(stream, length + 2)?;
    }
    // There may be trailers.
    while !line(stream)?.trim().is_empty() {}
    Ok(())
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    if line.ends_with('\n') { Ok(line) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Reads so many bytes, and forgets them.
fn pass(stream: &mut impl BufRead, length: u64) -> io::Result<()> {
    let read = io::copy(&mut stream.take(length), &mut io::sink())?;
    if read == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Trusts whom `SSL_CERT_FILE` names, and nobody else.
fn trust() -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
        let certificates =
            CertificateDer::pem_file_iter(file).map_err(|error| error.to_string())?;
        roots.add_parsable_certificates(certificates.flatten());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them");
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Target {
    fn read(url: &str) -> Result<Self, String> {
        let fault = || format!("{url} is no URL");
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let is_https = scheme == "https";
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| fault())?),
            None => (place, if is_https { 443 } else { 80 }),
        };
        Ok(Self {
            is_https,
            credentials: login.map(|login| BASE64_STANDARD.encode(decoded(login))),
            host: host.to_owned(),
            port,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        })
    }
}

/// The bytes that a part of a URL stands for.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}
