//! A connection of a client's: requests are read from it, and it is ended in one of the
//! ways in which a connection can end.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use semel::words::digest;

use super::request::SeenRequest;

/// How long a head may be.
const HEAD: usize = 1 << 20;

/// How much is read at once.
const PIECE: usize = 1 << 16;

/// A connection of a client's.
pub(super) struct Link {
    socket: Arc<TcpStream>,
    stream: Stream,
    /// What has come and is not read yet.
    came: Vec<u8>,
}

/// A socket that others may shut.
struct Shared(Arc<TcpStream>);

enum Stream {
    Plain(Shared),
    Tls(Box<StreamOwned<ServerConnection, Shared>>),
}

impl Link {
    pub(super) fn new(socket: Arc<TcpStream>, tls: Option<Arc<ServerConfig>>) -> Self {
        let shared = Shared(Arc::clone(&socket));
        let stream = match tls {
            None => Stream::Plain(shared),
            Some(config) => {
                let server = ServerConnection::new(config).expect("the configuration is whole");
                Stream::Tls(Box::new(StreamOwned::new(server, shared)))
            }
        };
        Self { socket, stream, came: Vec::new() }
    }

    /// Reads a request, and keeps so many bytes of its body; none, if the client is done.
    pub(super) fn read(&mut self, keep: usize) -> io::Result<Option<SeenRequest>> {
        let Some(head) = self.read_head()? else { return Ok(None) };
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some(version)) =
            (words.next(), words.next(), words.next())
        else {
            return Err(ErrorKind::InvalidData.into());
        };
        let mut request = SeenRequest {
            method: method.to_owned(),
            target: target.to_owned(),
            is_old: version == "HTTP/1.0",
            headers: lines.filter_map(header).collect(),
            ..SeenRequest::default()
        };
        let has = |name, value: &str| {
            request.header(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        if has("Expect", "100-continue") {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut sum = digest::Stream::default();
        if has("Transfer-Encoding", "chunked") {
            self.read_chunks(&mut request, keep, &mut sum)?;
        } else if let Some(length) = request.header("Content-Length") {
            let length = length.parse().map_err(|_| ErrorKind::InvalidData)?;
            self.read_body(length, &mut request, keep, &mut sum)?;
        }
        request.body_digest = Some(sum.digest());
        Ok(Some(request))
    }

    fn read_head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            // An empty line may stand before a request.
            while self.came.starts_with(b"\r\n") {
                self.came.drain(..2);
            }
            if let Some(at) = self.came.windows(4).position(|end| end == b"\r\n\r\n") {
                return Ok(Some(self.came.drain(..at + 4).collect()));
            }
            match self.come() {
                Err(_) if self.came.is_empty() => return Ok(None),
                Err(error) => return Err(error),
                Ok(()) if self.came.len() > HEAD => return Err(ErrorKind::InvalidData.into()),
                Ok(()) => {}
            }
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.came.windows(2).position(|end| end == b"\r\n") {
                let line: Vec<u8> = self.came.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.come()?;
        }
    }

    fn read_body(
        &mut self,
        length: u64,
        request: &mut SeenRequest,
        keep: usize,
        sum: &mut digest::Stream,
    ) -> io::Result<()> {
        request.body_length += length;
        let mut left = length;
        while left > 0 {
            if self.came.is_empty() {
                self.come()?;
            }
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.came.len());
            let wanted = here.min(keep.saturating_sub(request.body.len()));
            request.body.extend(&self.came[..wanted]);
            sum.feed(&self.came[..here]);
            self.came.drain(..here);
            left -= here as u64;
        }
        Ok(())
    }

    fn read_chunks(
        &mut self,
        request: &mut SeenRequest,
        keep: usize,
        sum: &mut digest::Stream,
    ) -> io::Result<()> {
        loop {
            let line = self.read_line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = u64::from_str_radix(digits, 16).map_err(|_| ErrorKind::InvalidData)?;
            if length == 0 {
                break;
            }
            self.read_body(length, request, keep, sum)?;
            self.read_line()?;
        }
        loop {
            let line = self.read_line()?;
            if line.is_empty() {
                return Ok(());
            }
            request.trailers.extend(header(&line));
        }
    }

    /// Waits until more has come; there must be more.
    fn come(&mut self) -> io::Result<()> {
        let mut piece = [0; PIECE];
        match self.stream.get().read(&mut piece) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.came.extend(&piece[..length]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sends some bytes, at once.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get().write_all(bytes)?;
        self.stream.get().flush()
    }

    /// Answers nothing until the client goes, or somebody shuts the socket.
    pub(super) fn hang(&mut self) {
        while self.come().is_ok() {
            self.came.clear();
        }
    }

    /// Ends it as it should be.
    pub(super) fn close(mut self) {
        if let Stream::Tls(stream) = &mut self.stream {
            stream.conn.send_close_notify();
            // The client may be gone already.
            let _ = stream.flush();
        }
    }

    /// Ends it with an error at the other end.
    pub(super) fn reset(self) {
        // If that cannot be set the socket is gone already.
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }
}

impl Stream {
    fn get(&mut self) -> &mut dyn ReadWrite {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut **stream,
        }
    }
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

impl Read for Shared {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(bytes)
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A name and its value.
fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}
