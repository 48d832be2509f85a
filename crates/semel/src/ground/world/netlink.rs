//! Questions to the kernel, netlink(7): one at a time, each answered to its end.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

/// The beginning of each message: its length, kind, flags, number and sender.
const HEADER: usize = 16;

/// A question is `NLM_F_REQUEST` and one of these.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    /// `NLM_F_ACK`: do it.
    Do = 0x4,
    /// `NLM_F_DUMP`: tell all there is.
    Tell = 0x300,
}

/// Where they are asked.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// A part of the kernel; without it, `NETLINK_ROUTE`. It speaks of the network that
    /// this process is in now.
    pub(super) fn of(part: Option<Protocol>) -> io::Result<Self> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        Ok(Self(socket_with(family, kind, SocketFlags::CLOEXEC, part)?))
    }

    /// Asks, and hands on each part of the answer.
    pub(super) fn ask(
        &self,
        kind: u16,
        question: Question,
        body: &[u8],
        mut told: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        const REQUEST: u16 = 0x1;
        let length = u32::try_from(HEADER + body.len()).map_err(|_| Errno::MSGSIZE)?;
        let mut message = Vec::with_capacity(HEADER + body.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((REQUEST | question as u16).to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        send(&self.0, &message, SendFlags::empty())?;
        let mut buffer = vec![0; 32 * 1024];
        loop {
            let received = recv(&self.0, &mut buffer[..], RecvFlags::empty());
            let (_, length) = match received {
                Err(Errno::INTR) => continue,
                received => received?,
            };
            let mut rest = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            while !rest.is_empty() {
                let part = Part::first_of(&mut rest).ok_or(Errno::PROTO)??;
                if part.is_last {
                    return Ok(());
                }
                told(part.body);
            }
        }
    }
}

/// A part of an answer.
struct Part<'a> {
    body: &'a [u8],
    is_last: bool,
}

impl<'a> Part<'a> {
    /// The first of these; those after it are left.
    fn first_of(rest: &mut &'a [u8]) -> Option<Result<Self, Errno>> {
        const FAILED: u16 = 2;
        const DONE: u16 = 3;
        let length = usize::try_from(u32::from_ne_bytes(*rest.first_chunk()?)).ok()?;
        let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
        let body = rest.get(HEADER..length)?;
        *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        let is_last = [FAILED, DONE].contains(&kind);
        // What ends an answer says how that went.
        let status = body.first_chunk().map_or(0, |status| i32::from_ne_bytes(*status));
        if is_last && status != 0 {
            return Some(Err(Errno::from_raw_os_error(status.saturating_neg())));
        }
        Some(Ok(Self { body, is_last }))
    }
}
