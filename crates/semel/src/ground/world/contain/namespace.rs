//! A network of this process's own, with nothing but loopback.
//!
//! Invariant: user and group keep their numbers.

use std::io;

use rustix::process::{getegid, geteuid};
use rustix::thread::UnshareFlags;

use crate::ground::world::netlink::{Netlink, Question};

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
    const NEW_LINK: u16 = 16;
    // It is the first in each network.
    const LOOPBACK: i32 = 1;
    const UP: u32 = 1;
    // Family and kind of the link, its number, its flags, and which of them are meant.
    let link = [[0; 4], LOOPBACK.to_ne_bytes(), UP.to_ne_bytes(), UP.to_ne_bytes()].concat();
    Netlink::of(None)?.ask(NEW_LINK, Question::Do, &link, |_| {})
}
