//! The TCP sockets of this network, as the kernel lists them: sock_diag(7), or where it
//! does not answer, `/proc/net/tcp` and `tcp6`, which take four times as long.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::ground::world::netlink::{Netlink, Question};

/// A socket that a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Socket {
    pub(super) local: SocketAddr,
    /// Meaningless where it listens.
    pub(super) remote: SocketAddr,
    pub(super) listens: bool,
    /// Whose it is.
    pub(super) uid: u32,
    /// What tells it from all others, as long as it is there.
    pub(super) inode: u64,
}

/// The states in which a process may have it (`include/net/tcp_states.h`): established,
/// asked for, closed from one side; and listening.
const STATES: [u8; 6] = [1, 2, 4, 5, 8, LISTENS];
const LISTENS: u8 = 10;

/// Where they are listed.
#[derive(Debug)]
pub(super) enum Table {
    Asked(Netlink),
    Read(Vec<File>),
}

impl Table {
    /// Opens it, and tells all that are there now. It stays that of the network that we
    /// are in.
    pub(super) fn open() -> io::Result<(Self, Vec<Socket>)> {
        let netlink = Netlink::of(Some(rustix::net::netlink::SOCK_DIAG));
        let told = netlink.and_then(|netlink| Ok((asked(&netlink)?, netlink)));
        if let Ok((sockets, netlink)) = told {
            return Ok((Self::Asked(netlink), sockets));
        }
        let mut table = Self::in_proc()?;
        let sockets = table.sockets()?;
        Ok((table, sockets))
    }

    fn in_proc() -> io::Result<Self> {
        let tcp = File::open("/proc/self/net/tcp")?;
        // It is missing where IPv6 is.
        let tcp6 = File::open("/proc/self/net/tcp6").ok();
        Ok(Self::Read(std::iter::once(tcp).chain(tcp6).collect()))
    }

    /// All that are there. One that comes or goes meanwhile may be among them or not.
    pub(super) fn sockets(&mut self) -> io::Result<Vec<Socket>> {
        match self {
            Self::Asked(netlink) => asked(netlink),
            Self::Read(files) => read(files),
        }
    }
}

/// `TCPDIAG_GETSOCK`, for both families: the newer question has to be asked for each, and
/// it is the walk over the kernel's table that takes time.
fn asked(netlink: &Netlink) -> io::Result<Vec<Socket>> {
    const TCP: u16 = 18;
    const ANY_SOCKET: [u8; 52] = [0; 52];
    let states = STATES.iter().fold(0, |states, state| states | 1_u32 << state);
    let question = [&ANY_SOCKET[..], &states.to_ne_bytes(), &[0; 4]].concat();
    let mut sockets = Vec::new();
    netlink.ask(TCP, Question::Tell, &question, |told| {
        sockets.extend(of_message(told).filter(|socket| socket.inode != 0));
    })?;
    Ok(sockets)
}

/// `struct inet_diag_msg`.
fn of_message(told: &[u8]) -> Option<Socket> {
    const IPV6: u8 = 10;
    let number = |at: usize| Some(u32::from_ne_bytes(*told.get(at..)?.first_chunk()?));
    let port = |at: usize| Some(u16::from_be_bytes(*told.get(at..)?.first_chunk()?));
    let ip = |at: usize| {
        let bytes = told.get(at..)?;
        Some(if *told.first()? == IPV6 {
            IpAddr::from(*bytes.first_chunk::<16>()?).to_canonical()
        } else {
            IpAddr::from(*bytes.first_chunk::<4>()?)
        })
    };
    Some(Socket {
        local: SocketAddr::new(ip(8)?, port(4)?),
        remote: SocketAddr::new(ip(24)?, port(6)?),
        listens: *told.get(1)? == LISTENS,
        uid: number(64)?,
        inode: number(68)?.into(),
    })
}

fn read(files: &mut [File]) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    let mut text = String::new();
    for file in files {
        text.clear();
        file.rewind()?;
        file.read_to_string(&mut text)?;
        sockets.extend(text.lines().skip(1).filter_map(of_line));
    }
    Ok(sockets)
}

/// A line of proc(5), `/proc/net/tcp`.
fn of_line(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    let listens = state == LISTENS;
    let is_held = STATES.contains(&state) && inode != 0;
    is_held.then_some(Socket { local, remote, listens, uid, inode })
}

/// An address: numbers as this machine keeps them, though their bytes are in the order
/// of the network.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for (index, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(index * 8)?);
            }
            IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// The sockets of this test, in their order.
    fn between(table: &mut Table, one: SocketAddr, other: SocketAddr) -> Vec<Socket> {
        let mut sockets = table.sockets().expect("it is told");
        sockets.retain(|socket| {
            let ends = (socket.local, socket.remote);
            ends == (one, other) || ends == (other, one) || socket.listens && socket.local == other
        });
        sockets.sort_unstable_by_key(|socket| socket.inode);
        sockets
    }

    #[test]
    fn both_ways_to_list_them_tell_the_same() {
        let (mut asked, _) = Table::open().expect("a table");
        let mut read = Table::in_proc().expect("another");
        for ip in ["127.0.0.1", "::1"] {
            let Ok(listener) = TcpListener::bind((ip, 0)) else {
                continue;
            };
            let there = listener.local_addr().expect("it has one");
            let stream = TcpStream::connect(there).expect("connected");
            let here = stream.local_addr().expect("it has one");
            let _accepted = listener.accept().expect("accepted");
            let sockets = between(&mut asked, here, there);
            assert_eq!(sockets, between(&mut read, here, there));
            assert_eq!(sockets.len(), 3, "{sockets:?}");
            assert_eq!(sockets.iter().filter(|socket| socket.listens).count(), 1);
            let own = rustix::process::geteuid().as_raw();
            assert!(sockets.iter().all(|socket| socket.uid == own));
        }
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn what_goes_to_ipv4_by_a_socket_of_ipv6_goes_to_ipv4() {
        let line = "   1: 0000000000000000FFFF00000100007F:9C40 \
                    0000000000000000FFFF00000A0000C0:01BB 01 00000000:00000000 00:00000000 \
                    00000000  1000        0 4711 1 0000000000000000 20 4 30 10 -1";
        let socket = of_line(line).expect("a socket");
        assert_eq!(socket.local.to_string(), "127.0.0.1:40000");
        assert_eq!(socket.remote.to_string(), "192.0.0.10:443");
        assert_eq!((socket.uid, socket.inode, socket.listens), (1000, 4711, false));
    }

    #[test]
    fn what_no_process_has_is_not_listed() {
        let line = "1: 0100007F:9C40 0100007F:01BB 06 00000000:00000000 03:00000A5D 00000000 \
                    0 0 0 3 0000000000000000";
        assert_eq!(of_line(line), None);
        assert_eq!(of_line("sl  local_address rem_address"), None);
    }
}
