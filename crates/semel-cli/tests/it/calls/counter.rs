//! `semel proxy` at work, with the test itself as its client: it says what it likes, byte by
//! byte, and hangs up when it likes.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use semel_testkit::servers::free_port;
use semel_testkit::{Ran, Running, eventually};

use super::shop::Shop;

/// How long a test waits for bytes before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command under `semel proxy` that does nothing, and tells how it would go there.
pub(super) struct Counter {
    running: Running,
    /// Where the proxy is.
    pub(super) at: SocketAddr,
    /// The line by which its client says who it is.
    pub(super) login: String,
    /// The certificates that its clients trust.
    pub(super) trusted: PathBuf,
}

impl Shop {
    /// Opens, with these options.
    pub(super) fn opens(&self, options: &[&str]) -> Counter {
        let mut bash = Command::new("bash");
        // It is at work until its input ends, which is when the test closes.
        let says = r#"echo "$http_proxy $SSL_CERT_FILE" > opened; mv opened open; cat > closed"#;
        bash.args(["-euc", says]);
        let mut command = self.guarded(options, &bash);
        command.stdin(Stdio::piped());
        let mut running = self.folder.started(command);
        eventually("it is open", || self.folder.has("open") || running.has_ended());
        assert!(self.folder.has("open"), "{:?}", running.end());
        let said = self.folder.text("open");
        self.folder.remove("open");
        let (url, trusted) = said.trim().split_once(' ').unwrap();
        let trusted = trusted.into();
        let url = url.trim_start_matches("http://").trim_end_matches('/');
        let (credentials, at) = url.rsplit_once('@').unwrap();
        let login =
            format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(credentials));
        Counter { running, at: at.parse().unwrap(), login, trusted }
    }

    /// The same, for clients that were told to call semel instead of the provider.
    pub(super) fn stands_in(&self, url: &str) -> Counter {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let counter = self.opens(&["--listen", &at.to_string(), "--to", url]);
        Counter { at, login: String::new(), ..counter }
    }

    /// The request of an order.
    pub(super) fn order(&self, order: &str) -> Request {
        Request::post(&self.charge(), format!(r#"{{"order":"{order}"}}"#))
    }
}

impl Counter {
    /// The number of semel's process.
    pub(super) fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// How much memory semel has had at most, in KiB.
    pub(super) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(super) fn dial(&self) -> Wire {
        Wire::to(self.at)
    }

    /// A tunnel to a port of this machine.
    pub(super) fn tunnel(&self, port: u16) -> Wire {
        let mut wire = self.dial();
        let login = &self.login;
        wire.says(format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1\r\n{login}\r\n"));
        assert_eq!(wire.head().expect("the proxy answers").status, 200);
        wire
    }

    /// Sends a request on a connection of its own, and reads what is answered.
    pub(super) fn asks(&self, request: &Request) -> Answer {
        let mut wire = self.dial();
        wire.says(request.bytes(self));
        wire.answer()
    }

    /// Lets the command end.
    pub(super) fn close(self) -> Ran {
        self.running.end()
    }
}

/// A request.
#[derive(Clone)]
pub(super) struct Request {
    method: &'static str,
    /// `127.0.0.1:80`.
    authority: String,
    path: String,
    headers: String,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn new(method: &'static str, url: &str) -> Self {
        let place = url.trim_start_matches("http://");
        let (authority, path) = place.split_once('/').unwrap_or((place, ""));
        let (authority, path) = (authority.to_owned(), format!("/{path}"));
        Self { method, authority, path, headers: String::new(), body: Vec::new() }
    }

    pub(super) fn post(url: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = format!("Content-Length: {}", body.len());
        let request = Self { body, ..Self::new("POST", url) };
        request.with(&length).with("Content-Type: application/json")
    }

    pub(super) fn with(mut self, header: &str) -> Self {
        self.headers += header;
        self.headers += "\r\n";
        self
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }

    /// Its head, as this one takes it.
    pub(super) fn head(&self, counter: &Counter) -> String {
        let Self { method, authority, path, headers, .. } = self;
        let whole = match counter.login.is_empty() {
            true => String::new(),
            false => format!("http://{authority}"),
        };
        let login = &counter.login;
        format!("{method} {whole}{path} HTTP/1.1\r\nHost: {authority}\r\n{login}{headers}\r\n")
    }

    /// It, as a server takes it.
    pub(super) fn plain(&self) -> Vec<u8> {
        let Self { method, authority, path, headers, body } = self;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    pub(super) fn bytes(&self, counter: &Counter) -> Vec<u8> {
        [self.head(counter).as_bytes(), &self.body].concat()
    }
}

/// A connection.
pub(super) struct Wire(BufReader<TcpStream>);

/// An answer, as far as it came.
#[derive(Default)]
pub(super) struct Answer {
    /// 0, if there was no head.
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, String)>,
    /// Whether it came to its end.
    pub(super) is_whole: bool,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, headers, body, trailers, is_whole } = self;
        let begin = String::from_utf8_lossy(&body[..body.len().min(400)]);
        let length = body.len();
        write!(f, "{status} {headers:?} {length} bytes, {begin:?} {trailers:?} whole: {is_whole}")
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(of, _)| of.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status of an answer that came whole.
    #[track_caller]
    pub(super) fn whole(&self) -> u16 {
        assert!(self.is_whole, "{self:?}");
        self.status
    }
}

impl Wire {
    pub(super) fn to(at: SocketAddr) -> Self {
        let socket = TcpStream::connect(at).unwrap();
        Self::of(socket)
    }

    pub(super) fn of(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(socket))
    }

    /// The socket, of which nothing was read ahead.
    pub(super) fn into_socket(self) -> TcpStream {
        assert!(self.0.buffer().is_empty());
        self.0.into_inner()
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// Sends bytes; whether the other side takes them is for the test to see by what follows.
    pub(super) fn says(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.get_mut().write_all(bytes.as_ref());
    }

    /// Sends bytes, and tells whether there was still somebody to take them.
    pub(super) fn is_heard(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Hangs up, with an error at the other side.
    pub(super) fn resets(self) {
        rustix::net::sockopt::set_socket_linger(self.socket(), Some(Duration::ZERO)).unwrap();
    }

    /// Waits for exactly these bytes.
    #[track_caller]
    pub(super) fn hears(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut heard = vec![0; bytes.len()];
        self.0.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(bytes));
    }

    /// All that comes until the other side hangs up.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
        rest
    }

    /// Waits for the head of an answer.
    pub(super) fn head(&mut self) -> Option<Answer> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let first = lines.first()?.strip_prefix("HTTP/1.1 ")?;
        let status = first.split(' ').next()?.parse().ok()?;
        let headers = lines[1..].iter().filter_map(|line| header(line)).collect();
        Some(Answer { status, headers, ..Answer::default() })
    }

    /// Waits for an answer, and reads as much of it as comes.
    pub(super) fn answer(&mut self) -> Answer {
        let Some(mut answer) = self.head() else { return Answer::default() };
        self.rest_of(&mut answer);
        answer
    }

    /// The same, where its head was read.
    pub(super) fn rest_of(&mut self, answer: &mut Answer) {
        answer.is_whole = self.body(answer).is_some();
    }

    /// Waits for a request whose length is said, and gives its head.
    pub(super) fn whole_request(&mut self) -> Option<String> {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some(said) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = said.trim().parse().ok()?;
            }
            head += &line;
            head += "\n";
        }
        self.piece(length, &mut Answer::default())?;
        Some(head)
    }

    fn body(&mut self, answer: &mut Answer) -> Option<()> {
        if answer.header("Transfer-Encoding") != Some("chunked") {
            let length = answer.header("Content-Length");
            let length = length.map_or(0, |length| length.parse().unwrap());
            return self.piece(length - answer.body.len(), answer);
        }
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(&line, 16).ok()?;
            if length == 0 {
                break;
            }
            self.piece(length, answer)?;
            self.line()?;
        }
        loop {
            let line = self.line()?;
            match header(&line) {
                None => return line.is_empty().then_some(()),
                Some(trailer) => answer.trailers.push(trailer),
            }
        }
    }

    /// Waits for so many bytes of a body.
    pub(super) fn piece(&mut self, length: usize, answer: &mut Answer) -> Option<()> {
        let read = (&mut self.0).take(length as u64).read_to_end(&mut answer.body).ok()?;
        (read == length).then_some(())
    }

    /// A line; `None`, if it has no end.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).ok()?;
        let line = String::from_utf8(line).ok()?;
        Some(line.strip_suffix("\r\n")?.to_owned())
    }
}

/// A name and its value.
fn header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}
