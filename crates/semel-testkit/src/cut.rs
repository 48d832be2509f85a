//! A connection that is lost at a chosen moment: a proxy between a client and a database
//! server, which counts the messages that both send once the client is logged in, and
//! cuts the connection at one of them, hard, on both sides.
//!
//! It knows of the two protocols where messages end, and when a login is over; nothing
//! of TLS or compression. A message is passed on once it is there whole, so that never a
//! part of one is. A client waits for answers, hence what it does twice in the same way
//! has the same messages in the same order, and a test can cut at each of them in turn.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem::take;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// What client and server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// PostgreSQL's, version 3.
    Postgres,
    /// MySQL's, which MariaDB speaks too.
    MySql,
}

/// When a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// At this message, which is not passed on; all before it are.
    Before(u64),
    /// After this message has arrived. Whether a server has also done what it asks for
    /// is as open as it is with a real cut; where it must have, cut before the answer.
    After(u64),
}

/// A proxy in front of a server. When it is dropped it takes no more connections; those
/// that are there are left alone.
#[derive(Debug)]
pub struct Cut {
    at: SocketAddr,
    count: Arc<Mutex<Count>>,
    listener: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Count {
    seen: u64,
    /// Those that were said, if they are kept.
    kept: Option<Vec<(Side, Vec<u8>)>>,
    moment: Option<Moment>,
    cut: bool,
    dropped: bool,
}

impl Cut {
    /// A proxy in front of a server. It cuts the connection that has the message of this
    /// number; the first one is 1, and all connections are counted together. Without a
    /// moment it only counts. After the cut it neither counts nor cuts: whoever tries
    /// again is let through.
    ///
    /// # Panics
    /// If there is no free port.
    #[must_use]
    pub fn at(protocol: Protocol, server: SocketAddr, moment: Option<Moment>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let count = Arc::new(Mutex::new(Count {
            seen: 0,
            kept: moment.is_none().then(Vec::new),
            moment,
            cut: false,
            dropped: false,
        }));
        let shared = Arc::clone(&count);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.lock().unwrap().dropped {
                    return;
                }
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // Without a server the client is refused in the only way left.
                    let Ok(server) = TcpStream::connect(server) else { return reset(client) };
                    let (client, server) = (End::new(client), End::new(server));
                    Link { protocol, greeted: false, counts: false, client, server }.carry(&shared);
                });
            }
        });
        Self { at, count, listener: Some(listener) }
    }

    /// Where clients come in, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// How many messages there were so far, up to the cut; the one at which it was cut is
    /// among them.
    ///
    /// # Panics
    /// If a thread of the proxy has panicked.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.count.lock().unwrap().seen
    }

    /// The numbers of the messages of clients that have these bytes in them. It is known
    /// only where nothing is cut.
    ///
    /// # Panics
    /// If a thread of the proxy has panicked, or a moment was said.
    #[must_use]
    pub fn asked(&self, bytes: &[u8]) -> Vec<u64> {
        let count = self.count.lock().unwrap();
        let kept = count.kept.as_ref().expect("they are kept where nothing is cut");
        let has = |message: &[u8]| message.windows(bytes.len()).any(|part| part == bytes);
        let numbered = (1..).zip(kept);
        let asked = numbered.filter(|(_, (side, message))| *side == Side::Client && has(message));
        asked.map(|(number, _)| number).collect()
    }

    /// Whether the moment has come. A client that has ended need not have waited for it:
    /// nobody answers the last message, its farewell.
    ///
    /// # Panics
    /// If a thread of the proxy has panicked.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.count.lock().unwrap().cut
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Ok(mut count) = self.count.lock() {
            count.dropped = true;
        }
        // It waits for connections; this is one.
        let woken = TcpStream::connect(self.at);
        if let (Some(listener), Ok(_)) = (self.listener.take(), woken) {
            let _ = listener.join();
        }
    }
}

impl Count {
    /// Whether the message that is there may pass, and whether it is the last one.
    fn next(&mut self, side: Side, message: &[u8]) -> (Pass, Last) {
        if self.cut {
            return (true, false);
        }
        self.seen += 1;
        if let Some(kept) = &mut self.kept {
            kept.push((side, message.to_vec()));
        }
        let (pass, last) = match self.moment {
            Some(Moment::Before(at)) if at == self.seen => (false, true),
            Some(Moment::After(at)) if at == self.seen => (true, true),
            _ => (true, false),
        };
        self.cut = last;
        (pass, last)
    }
}

type Pass = bool;
type Last = bool;

/// Who has sent a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// One connection through the proxy. Both directions go on independently of one another,
/// since a client may send while it is sent to; one thread carries both, so that the
/// sockets are its own to cut.
struct Link {
    protocol: Protocol,
    /// PostgreSQL's first message has no type; this is whether it has come.
    greeted: bool,
    /// The login is over: messages count.
    counts: bool,
    client: End,
    server: End,
}

impl Link {
    /// Carries what both say, until one of them is gone or the moment has come.
    fn carry(mut self, count: &Mutex<Count>) {
        loop {
            let over = (self.client.ended && self.server.goes.is_empty())
                || (self.server.ended && self.client.goes.is_empty());
            if over {
                return;
            }
            for (side, ready) in self.wait() {
                let end = if side == Side::Client { &mut self.client } else { &mut self.server };
                if ready.contains(PollFlags::OUT) {
                    end.write();
                }
                let gone = PollFlags::HUP | PollFlags::ERR;
                if ready.intersects(PollFlags::IN | gone) && !end.ended {
                    end.read();
                    if self.pass(side, count) {
                        self.client.arrive();
                        self.server.arrive();
                        reset(self.client.socket);
                        return reset(self.server.socket);
                    }
                }
            }
        }
    }

    /// Waits until something can be read or written. Nothing is read from one side while
    /// the other has not taken what came before.
    fn wait(&self) -> [(Side, PollFlags); 2] {
        let (client, server) = (&self.client, &self.server);
        let asks = |end: &End, other: &End| {
            let mut asks = PollFlags::empty();
            asks.set(PollFlags::IN, !end.ended && other.goes.is_empty());
            asks.set(PollFlags::OUT, !end.goes.is_empty());
            asks
        };
        let mut ends = [
            PollFd::new(&client.socket, asks(client, server)),
            PollFd::new(&server.socket, asks(server, client)),
        ];
        loop {
            match poll(&mut ends, None) {
                Err(rustix::io::Errno::INTR) => {}
                polled => {
                    polled.expect("two sockets can be waited for");
                    break;
                }
            }
        }
        let [client, server] = ends;
        [(Side::Client, client.revents()), (Side::Server, server.revents())]
    }

    /// Passes on the messages of one side that are there whole, and says whether the
    /// moment has come.
    fn pass(&mut self, side: Side, count: &Mutex<Count>) -> Last {
        let came = match side {
            Side::Client => take(&mut self.client.came),
            Side::Server => take(&mut self.server.came),
        };
        let mut rest = &*came;
        while let Some((message, after)) =
            self.length(side, rest).and_then(|length| rest.split_at_checked(length))
        {
            rest = after;
            let (pass, last) = if self.counts {
                count.lock().unwrap().next(side, message)
            } else {
                (self.log_in(side, message), false)
            };
            if pass {
                let other = if side == Side::Client { &mut self.server } else { &mut self.client };
                other.goes.extend(message);
            }
            if last {
                return true;
            }
        }
        let end = if side == Side::Client { &mut self.client } else { &mut self.server };
        end.came = rest.to_vec();
        false
    }

    /// How long the message is that begins here, if that is there already.
    fn length(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        let length = match self.protocol {
            Protocol::Postgres => {
                let typed = usize::from(self.greeted || side == Side::Server);
                typed + number(bytes.get(typed..typed + 4)?)
            }
            Protocol::MySql => {
                let &[low, middle, high] = bytes.first_chunk()?;
                4 + number(&[high, middle, low])
            }
        };
        Some(length)
    }

    /// Follows a login. Says whether the message is for the other side.
    fn log_in(&mut self, side: Side, message: &[u8]) -> Pass {
        match (self.protocol, side) {
            (Protocol::Postgres, Side::Client) if !self.greeted => {
                // It asks for TLS, or for Kerberos. There is none.
                if message
                    .get(4..8)
                    .is_some_and(|code| [80_877_103, 80_877_104].contains(&number(code)))
                {
                    self.client.goes.push(b'N');
                    return false;
                }
                self.greeted = true;
            }
            (Protocol::Postgres, Side::Server) => self.counts = message[0] == b'Z',
            // All goes well, for the first time.
            (Protocol::MySql, Side::Server) => self.counts = message.get(4) == Some(&0),
            (_, Side::Client) => {}
        }
        true
    }
}

/// One of the two sockets of a connection.
struct End {
    socket: TcpStream,
    /// What it has sent and is not a whole message yet.
    came: Vec<u8>,
    /// What it is to be sent.
    goes: Vec<u8>,
    /// It says nothing more.
    ended: bool,
}

impl End {
    fn new(socket: TcpStream) -> Self {
        // Whoever waited for more to send would cut later than at the message.
        socket.set_nodelay(true).expect("it is a socket");
        socket.set_nonblocking(true).expect("it is a socket");
        Self { socket, came: Vec::new(), goes: Vec::new(), ended: false }
    }

    fn read(&mut self) {
        let mut bytes = vec![0; 1 << 16];
        match self.socket.read(&mut bytes) {
            Ok(0) => self.ended = true,
            Ok(length) => self.came.extend(&bytes[..length]),
            Err(error) => self.failed(&error),
        }
    }

    fn write(&mut self) {
        match self.socket.write(&self.goes) {
            Ok(length) => drop(self.goes.drain(..length)),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) {
            self.ended = true;
            self.goes.clear();
        }
    }

    /// Sends what it is to be sent, and waits until it has arrived: a reset throws away
    /// what is on its way. Who takes nothing for a while gets no more.
    fn arrive(&mut self) {
        let patience = Duration::from_secs(5);
        let sent = self.socket.set_nonblocking(false).and_then(|()| {
            self.socket.set_write_timeout(Some(patience))?;
            self.socket.write_all(&take(&mut self.goes))
        });
        let begin = Instant::now();
        while sent.is_ok() && is_on_its_way(&self.socket) && begin.elapsed() < patience {
            std::thread::yield_now();
        }
    }
}

/// Whether the kernel still keeps what was sent, because the other side has not got it.
/// It says so of each socket, by its two ports, in the same table for all.
fn is_on_its_way(socket: &TcpStream) -> bool {
    let (Ok(from), Ok(to)) = (socket.local_addr(), socket.peer_addr()) else { return false };
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let (from, to) = (format!(":{:04X}", from.port()), format!(":{:04X}", to.port()));
    table.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (Some(here), Some(there)) = (fields.next(), fields.next()) else { return false };
        let queued = fields.nth(1).and_then(|queues| queues.split_once(':'));
        here.ends_with(&from)
            && there.ends_with(&to)
            && queued.is_some_and(|(sent, _)| sent.contains(|digit| digit != '0'))
    })
}

/// Closes a socket so that whoever is at its other end is told of an error.
fn reset(socket: TcpStream) {
    // If that cannot be set the socket is gone already.
    let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}

/// What some bytes say, the highest first.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
