//! What semel and its keeper say to each other, over a pair of sockets: a request,
//! with the descriptors that it needs, and its reply.

use std::ffi::{OsStr, OsString};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Most descriptors of a request: standard input, output, error, and a lock.
const MOST: usize = 4;

/// What the keeper is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Start a command; the reply is the number of its first process.
    Start(Order),
    /// Say how a first process ended, which it has; the reply is its wait status.
    Reap { pid: i32, ends: bool },
}

/// A command to start. Its descriptors come with it: input and lock if it has them,
/// output and error always, in the order input, output, error, lock.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) words: Vec<OsString>,
    pub(super) folder: OsString,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) has_input: bool,
    pub(super) has_lock: bool,
}

/// What the keeper replies.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Done(i32),
    /// What the system said.
    Failed(i32),
}

/// Sends a request.
pub(super) fn send(
    socket: &UnixStream,
    request: &Request,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let body = encode(request);
    let length = u32::try_from(body.len()).map_err(|_| Errno::TOOBIG)?.to_ne_bytes();
    let whole = [&length[..], &body].concat();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        with.push(SendAncillaryMessage::ScmRights(fds));
    }
    // The descriptors travel with the first bytes.
    let sent =
        again(|| sendmsg(socket.as_fd(), &[IoSlice::new(&whole)], &mut with, SendFlags::NOSIGNAL))?;
    let mut socket = socket;
    socket.write_all(&whole[sent..])
}

/// Receives requests, one after the other: each is answered before the next is sent.
pub(super) struct Requests<'a> {
    socket: &'a UnixStream,
    /// What was received of a request; as long as any was.
    buffer: Vec<u8>,
}

impl<'a> Requests<'a> {
    pub(super) fn of(socket: &'a UnixStream) -> Self {
        Self { socket, buffer: vec![0; 64 * 1024] }
    }

    /// The next one, and the descriptors that came with it; `None` when the other side
    /// is gone.
    pub(super) fn next(&mut self) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
        let mut with = RecvAncillaryBuffer::new(&mut space);
        let received = again(|| {
            let into = &mut [IoSliceMut::new(&mut self.buffer)];
            recvmsg(self.socket.as_fd(), into, &mut with, RecvFlags::CMSG_CLOEXEC)
        });
        let mut got = match received {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            received => received?.bytes,
        };
        let fds = with.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds = fds.flatten().collect();
        let whole = loop {
            match self.whole(got) {
                Some(whole) if got >= whole => break whole,
                Some(whole) if self.buffer.len() < whole => self.buffer.resize(whole, 0),
                _ => {}
            }
            let mut socket = self.socket;
            got += match socket.read(&mut self.buffer[got..]) {
                // It died in the middle of what it said, or before.
                Ok(0) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                read => read?,
            };
        };
        let request = decode(&self.buffer[size_of::<u32>()..whole]);
        let request = request.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Some((request, fds)))
    }

    /// How long the request is of which so much was received, if that tells.
    fn whole(&self, got: usize) -> Option<usize> {
        let length = self.buffer[..got].first_chunk()?;
        let body = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        body.checked_add(size_of::<u32>())
    }
}

/// Sends a reply.
pub(super) fn reply(mut socket: &UnixStream, reply: &Reply) -> io::Result<()> {
    let (kind, value) = match reply {
        Reply::Done(value) => (0, value),
        Reply::Failed(errno) => (1, errno),
    };
    let [a, b, c, d] = value.to_ne_bytes();
    socket.write_all(&[kind, a, b, c, d])
}

/// Receives a reply. Where none comes in time the other side is woken up; gives up if
/// that cannot be.
pub(super) fn answer(mut socket: &UnixStream, wake: &dyn Fn() -> bool) -> io::Result<Reply> {
    let mut bytes = [0; 5];
    let mut got = 0;
    while got < bytes.len() {
        got += match socket.read(&mut bytes[got..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && wake() => 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            read => read?,
        };
    }
    let [kind, a, b, c, d] = bytes;
    let value = i32::from_ne_bytes([a, b, c, d]);
    Ok(if kind == 0 { Reply::Done(value) } else { Reply::Failed(value) })
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}

/// A request is a list of byte strings, each with its length before it.
fn encode(request: &Request) -> Vec<u8> {
    let mut body = Vec::new();
    match request {
        Request::Start(order) => {
            let flags = [b'S', u8::from(order.has_input), u8::from(order.has_lock)];
            put(&mut body, &flags);
            put(&mut body, order.folder.as_bytes());
            put(&mut body, &order.env.len().to_ne_bytes());
            for (name, value) in &order.env {
                put(&mut body, name.as_bytes());
                put(&mut body, value.as_bytes());
            }
            order.words.iter().for_each(|word| put(&mut body, word.as_bytes()));
        }
        Request::Reap { pid, ends } => {
            put(&mut body, &[b'R', u8::from(*ends)]);
            put(&mut body, &pid.to_ne_bytes());
        }
    }
    body
}

fn decode(body: &[u8]) -> Option<Request> {
    let mut parts = Parts(body);
    match *parts.next()? {
        [b'S', has_input, has_lock] => {
            let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
            let folder = text(parts.next()?);
            let count = usize::from_ne_bytes(parts.next()?.try_into().ok()?);
            let env = (0..count).map(|_| Some((text(parts.next()?), text(parts.next()?))));
            let env = env.collect::<Option<_>>()?;
            let words = parts.map(|word| OsString::from_vec(word.to_vec())).collect();
            let (has_input, has_lock) = (has_input == 1, has_lock == 1);
            Some(Request::Start(Order { words, folder, env, has_input, has_lock }))
        }
        [b'R', ends] => {
            let pid = i32::from_ne_bytes(parts.next()?.try_into().ok()?);
            Some(Request::Reap { pid, ends: ends == 1 })
        }
        _ => None,
    }
}

fn put(body: &mut Vec<u8>, part: &[u8]) {
    body.extend_from_slice(&part.len().to_ne_bytes());
    body.extend_from_slice(part);
}

/// The parts of a request.
struct Parts<'a>(&'a [u8]);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let (part, rest) = rest.split_at_checked(usize::from_ne_bytes(*length))?;
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard() {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let order = Request::Start(Order {
            words: vec!["sh".into(), OsString::from_vec(vec![b'-', 0xff]), OsString::new()],
            folder: "/a b".into(),
            env: vec![("NAME".into(), "of a value".into())],
            has_input: false,
            has_lock: true,
        });
        let file = tempfile::tempfile().expect("a file");
        send(&ours, &order, &[file.as_fd(), file.as_fd(), file.as_fd()]).expect("sent");
        let mut requests = Requests::of(&theirs);
        let (heard, fds) = requests.next().expect("heard").expect("somebody is there");
        assert_eq!((heard, fds.len()), (order, 3));
        reply(&theirs, &Reply::Failed(2)).expect("replied");
        assert_eq!(answer(&ours, &|| false).expect("an answer"), Reply::Failed(2));
        send(&ours, &Request::Reap { pid: 7, ends: true }, &[]).expect("sent");
        let heard = requests.next().expect("heard").map(|(request, fds)| (request, fds.len()));
        assert_eq!(heard, Some((Request::Reap { pid: 7, ends: true }, 0)));
        drop(ours);
        assert!(requests.next().expect("the end").is_none());
    }

    #[test]
    fn a_command_line_longer_than_a_socket_holds_arrives_whole() {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let long = OsString::from("x".repeat(2 << 20));
        let order = |words| Order {
            words,
            folder: "/".into(),
            env: Vec::new(),
            has_input: false,
            has_lock: false,
        };
        std::thread::scope(|scope| {
            scope.spawn(|| send(&ours, &Request::Start(order(vec![long.clone()])), &[]));
            let heard = Requests::of(&theirs).next().expect("heard").map(|(request, _)| request);
            assert_eq!(heard, Some(Request::Start(order(vec![long.clone()]))));
        });
    }

    #[test]
    fn who_dies_in_the_middle_of_a_word_is_gone() {
        let (mut ours, theirs) = UnixStream::pair().expect("two sockets");
        ours.write_all(&[9, 0]).expect("written");
        drop(ours);
        assert!(Requests::of(&theirs).next().expect("the end").is_none());
    }
}
