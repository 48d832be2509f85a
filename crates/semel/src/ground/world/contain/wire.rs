//! What a process that is to become a contained command says to its owner, over one
//! connection: it is ready, with its listeners, and then nothing, since to become the
//! command closes it; or after the word, what the system said to that. Or else why it
//! cannot be contained.
//!
//! Invariant: nothing but the owner's word makes it go on, and silence is not a word.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::MOST;

const READY: u8 = b'L';
const REFUSED: u8 = b'R';
const GO: u8 = b'g';

/// What was said first.
pub(super) enum Told {
    /// It is contained; its listeners came with this.
    Ready,
    /// It cannot be contained: the beginning of why.
    Refused(Vec<u8>),
    /// It is gone.
    Nothing,
}

/// Hands out the listeners.
pub(super) fn say_ready(socket: &UnixStream, listeners: &[TcpListener]) -> io::Result<()> {
    let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !with.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    again(|| sendmsg(socket, &[IoSlice::new(&[READY])], &mut with, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Says why it cannot be contained.
pub(super) fn say_refused(mut socket: &UnixStream, why: &str) -> io::Result<()> {
    socket.write_all(&[&[REFUSED], why.as_bytes()].concat())
}

/// Says why it did not become the command.
pub(super) fn say_failed(mut socket: &UnixStream, error: &io::Error) -> io::Result<()> {
    let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
    socket.write_all(&errno.to_ne_bytes())
}

/// Whether the owner gave its word.
pub(super) fn hear_go(mut socket: &UnixStream) -> bool {
    let mut word = [0];
    socket.read_exact(&mut word).is_ok() && word == [GO]
}

/// Lets it become the command.
pub(super) fn say_go(mut socket: &UnixStream) -> io::Result<()> {
    socket.write_all(&[GO])
}

/// What is said first, which is there, and what comes with it.
pub(super) fn receive_first(socket: &UnixStream) -> io::Result<(Told, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 1024];
    let received = again(|| {
        let into = &mut [IoSliceMut::new(&mut buffer)];
        recvmsg(socket, into, &mut with, RecvFlags::CMSG_CLOEXEC)
    });
    let bytes = match received {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
        received => received?.bytes,
    };
    let fds = with.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fds = fds.flatten().collect();
    let told = match &buffer[..bytes] {
        [] => Told::Nothing,
        [READY] => Told::Ready,
        [REFUSED, why @ ..] => Told::Refused(why.to_vec()),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok((told, fds))
}

/// Takes what is there; whether more may come.
pub(super) fn receive_more(mut socket: &UnixStream, heard: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 1024];
    match socket.read(&mut buffer) {
        Ok(length) => {
            heard.extend_from_slice(&buffer[..length]);
            Ok(length > 0)
        }
        // It was killed, and had not heard all that was said to it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
        Err(error)
            if [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock].contains(&error.kind()) =>
        {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            done => return done.map_err(io::Error::from),
        }
    }
}
