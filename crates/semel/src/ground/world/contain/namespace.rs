//! A network of this process's own, with nothing but loopback.
//!
//! Invariant: user and group keep their numbers.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};
use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

/// The settings by which systems switch off what we need, and the value that does.
const SWITCHES: [(&str, &str); 4] = [
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
    ("kernel.unprivileged_userns_clone", "0"),
    ("user.max_user_namespaces", "0"),
    ("user.max_net_namespaces", "0"),
];

/// Leaves the network of all for one of this process's own. It must have one thread.
///
/// # Errors
/// If the system does not allow it: why, in words.
pub(super) fn enter() -> Result<(), String> {
    leave().map_err(|error| because("the system allows no network apart", &error))?;
    let up = raise_loopback();
    up.map_err(|error| because("there is no loopback in a network apart", &error))
}

/// What failed, and by which setting, if that is known.
fn because(what: &str, error: &io::Error) -> String {
    let is_off = |name: &str, value: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        std::fs::read_to_string(path).is_ok_and(|now| now.trim() == value)
    };
    match SWITCHES.iter().find(|(name, value)| is_off(name, value)) {
        Some((name, value)) => {
            format!("user namespaces are switched off here: {name} = {value}")
        }
        None => format!("{what}: {error}"),
    }
}

fn leave() -> io::Result<()> {
    // Root need not become somebody without rights over the files of others.
    if geteuid().is_root() && unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    // Without it the group cannot be mapped by ordinary users; before Linux 3.19 it
    // is not there.
    match std::fs::write("/proc/self/setgroups", "deny") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        denied => denied?,
    }
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

#[expect(deprecated, reason = "what is unsafe is `UnshareFlags::FILES`, which is not asked for")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    rustix::thread::unshare(flags)
}

/// Brings loopback up: rtnetlink(7), `RTM_NEWLINK`.
fn raise_loopback() -> io::Result<()> {
    const LENGTH: u32 = 32;
    const NEW_LINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 1 | 4;
    // It is the first in each network.
    const LOOPBACK: i32 = 1;
    const UP: u32 = 1;
    let kind = (AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC);
    let socket = socket_with(kind.0, kind.1, kind.2, None)?;
    let mut message = Vec::new();
    message.extend(LENGTH.to_ne_bytes());
    message.extend(NEW_LINK.to_ne_bytes());
    message.extend(REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    // Number and sender; family and kind of the link.
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    // Its flags, and which of them are meant.
    message.extend(UP.to_ne_bytes());
    message.extend(UP.to_ne_bytes());
    send(&socket, &message, SendFlags::empty())?;
    acknowledged(&socket)
}

/// Whether the kernel did it: `NLMSG_ERROR`, with zero or an error.
fn acknowledged(socket: &OwnedFd) -> io::Result<()> {
    const HEADER: usize = 16;
    const ERROR: u16 = 2;
    let mut buffer = [0; 1024];
    let (_, length) = recv(socket, &mut buffer, RecvFlags::empty())?;
    let answer = &buffer[..length.min(buffer.len())];
    let kind = answer.get(4..).and_then(|rest| rest.first_chunk());
    let error = answer.get(HEADER..).and_then(|rest| rest.first_chunk());
    match (kind.map(|kind| u16::from_ne_bytes(*kind)), error.map(|e| i32::from_ne_bytes(*e))) {
        (Some(ERROR), Some(0)) => Ok(()),
        (Some(ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        _ => Err(Errno::PROTO.into()),
    }
}
