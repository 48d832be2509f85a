//! Connections: what a guarded command has beside those to semel's proxy, and who is at
//! the other end of one.
//!
//! A command is only asked to use the proxy. What it connects to by itself is a
//! [`Bypass`]: each such TCP connection of its processes, whoever they were handed to.
//! No bypass is what they accepted, nor what they have among themselves.
//!
//! This looks now and then, so it sees what lasts. What is not seen: a connection that
//! was closed between two looks (a call to a service on the same machine may take less;
//! one over TLS to somewhere else takes some round trips); the kernel does not say whose
//! those were that are over, so they are nobody's. Nor what is not TCP: names are looked
//! up, and HTTP/3 is spoken, over UDP. Nor what others do for the command (a daemon), or
//! what it does in a network that it made for itself, as another user whose processes we
//! may not see, or in a process that has lost the marker and was left behind by its
//! parent between two looks. Where nothing may be missed the command must be contained
//! ([`contain`](super::contain)).
//!
//! Invariant: what is told was there, and was the command's. (A connection that was
//! accepted by a listener that was gone before we looked is taken for one that the
//! command asked for.)

mod table;
mod tree;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::table::{Socket, Table};
use self::tree::Tree;
use super::process::Stop;

/// How often the owner of a socket is looked for before it is taken for a stranger's.
const LOOKS: u32 = 5;

/// Of its time, a watch spends one part in so many on looking.
const LEISURE: u32 = 10;

/// A connection of a command that does not go through the proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bypass {
    /// The process that had it when it was seen.
    pub pid: u32,
    /// The name of its program's file. Not its arguments, which may hold secrets.
    pub program: String,
    /// Where it goes.
    pub remote: SocketAddr,
}

/// Watches the connections of one command.
#[derive(Debug)]
pub struct Watch {
    stop: Stop,
    thread: Option<JoinHandle<Findings>>,
}

/// What a watch found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Each program and address once, in the order in which they were seen.
    pub bypasses: Vec<Bypass>,
    /// Why it could not look, the first time that it could not: there may be more.
    pub blind: Option<io::Error>,
}

impl Watch {
    /// Begins to watch the processes that have `marker` somewhere in their environment,
    /// and what these start. `ports` are those of the proxy on loopback. It looks after
    /// `every` such time, or less often where a look takes long.
    ///
    /// To be called before the command is started: who is there already is none of it.
    ///
    /// # Errors
    /// If the connections of this machine cannot be seen, or there can be no thread.
    pub fn begin(marker: &[u8], ports: &[u16], every: Duration) -> io::Result<Self> {
        let mut eye = Eye::new(marker, ports)?;
        let stop = Stop::new()?;
        let until = stop.share()?;
        let look = move || {
            let mut blind = None;
            loop {
                let (began, is_last) = (Instant::now(), until.is_pulled());
                if let Err(error) = eye.look() {
                    blind.get_or_insert(error);
                }
                if is_last {
                    return Findings { bypasses: eye.found, blind };
                }
                until.wait(every.max(began.elapsed() * LEISURE));
            }
        };
        let thread = std::thread::Builder::new().name("connections".to_owned()).spawn(look)?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Looks once more, and tells what was found.
    #[must_use]
    pub fn end(mut self) -> Findings {
        self.stop_looking()
            .unwrap_or_else(|error| Findings { blind: Some(error), ..Findings::default() })
    }

    fn stop_looking(&mut self) -> io::Result<Findings> {
        let Some(thread) = self.thread.take() else {
            return Ok(Findings::default());
        };
        // A switch that cannot be pulled would be waited for in vain.
        self.stop.pull()?;
        thread.join().map_err(|_| io::Error::other("the watch of connections has ended"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Nobody wants to know.
        let _ = self.stop_looking();
    }
}

/// Whether the other end of a loopback connection is a socket of our own user's: `local`
/// is our end of it. Where nobody can say, it is not.
///
/// Both must be in this network: inside a contained command's, all are the command's.
#[must_use]
pub fn peer_is_ours(local: SocketAddr, peer: SocketAddr) -> bool {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (local, peer) = (canonical(local), canonical(peer));
    let own = rustix::process::geteuid().as_raw();
    let sockets = Table::open().map(|(_, sockets)| sockets).unwrap_or_default();
    let other = sockets.iter().find(|socket| (socket.local, socket.remote) == (peer, local));
    other.is_some_and(|socket| !socket.listens && socket.uid == own)
}

/// What looks.
#[derive(Debug)]
struct Eye {
    table: Table,
    tree: Tree,
    ports: Vec<u16>,
    /// The sockets of which nothing more is to be known, by their inodes, and those whose
    /// owner was looked for in vain, with how often.
    settled: HashMap<u64, u32>,
    /// The ports on which the command was seen to listen.
    listens: HashSet<u16>,
    found: Vec<Bypass>,
}

impl Eye {
    fn new(marker: &[u8], ports: &[u16]) -> io::Result<Self> {
        // Whose they are was decided before there was a command.
        let (table, there) = Table::open()?;
        let settled = there.iter().map(|socket| (socket.inode, LOOKS)).collect();
        let tree = Tree::new(marker)?;
        let ports = ports.to_vec();
        Ok(Self { table, tree, ports, settled, listens: HashSet::new(), found: Vec::new() })
    }

    /// Looks at the sockets that are new, and mostly there are none: then it is done.
    fn look(&mut self) -> io::Result<()> {
        let sockets = self.table.sockets()?;
        let there: HashSet<_> = sockets.iter().map(|socket| socket.inode).collect();
        self.settled.retain(|inode, _| there.contains(inode));
        let is_new = |socket: &&Socket| {
            self.settled.get(&socket.inode).is_none_or(|looks| *looks < LOOKS)
                && !self.goes_to_us(socket)
        };
        let new: Vec<_> = sockets.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let owners = owners(&self.tree.members()?);
        for socket in &new {
            let is_owned = owners.contains_key(&socket.inode);
            if is_owned && socket.listens {
                self.listens.insert(socket.local.port());
            }
            let looks = self.settled.entry(socket.inode).or_default();
            *looks = if is_owned { LOOKS } else { *looks + 1 };
        }
        let ends: HashMap<_, _> =
            sockets.iter().map(|socket| ((socket.local, socket.remote), socket.inode)).collect();
        for socket in new.into_iter().filter(|socket| !socket.listens) {
            let Some(pid) = owners.get(&socket.inode) else {
                continue;
            };
            let was_accepted = self.listens.contains(&socket.local.port());
            let other = ends.get(&(socket.remote, socket.local));
            let is_among_them = other.is_some_and(|inode| owners.contains_key(inode))
                || is_here(socket) && self.listens.contains(&socket.remote.port());
            if !was_accepted && !is_among_them {
                self.tell(*pid, socket.remote);
            }
        }
        Ok(())
    }

    fn goes_to_us(&self, socket: &Socket) -> bool {
        let remote = socket.remote;
        !socket.listens && remote.ip().is_loopback() && self.ports.contains(&remote.port())
    }

    fn tell(&mut self, pid: u32, remote: SocketAddr) {
        let program = program(pid);
        let is_told = |told: &Bypass| (&told.program, told.remote) == (&program, remote);
        if !self.found.iter().any(is_told) {
            self.found.push(Bypass { pid, program, remote });
        }
    }
}

/// Whether the other end of a connection is on this machine.
fn is_here(socket: &Socket) -> bool {
    socket.remote.ip().is_loopback() || socket.remote.ip() == socket.local.ip()
}

/// The sockets that these processes have, and one that has it.
fn owners(pids: &[u32]) -> HashMap<u64, u32> {
    let mut owners = HashMap::new();
    for pid in pids {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let inodes = fds.filter_map(|fd| {
            let to = std::fs::read_link(fd.path()).ok()?;
            to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
        });
        owners.extend(inodes.map(|inode| (inode, *pid)));
    }
    owners
}

/// The name of the file that a process runs; of one that is gone, nothing is known.
fn program(pid: u32) -> String {
    let file = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy());
    let name = name.map(|name| name.trim_end_matches(" (deleted)").to_owned());
    let called = || std::fs::read_to_string(format!("/proc/{pid}/comm")).ok();
    let name = name.or_else(|| called().map(|name| name.trim_end().to_owned()));
    name.unwrap_or_else(|| "a program that has ended".to_owned())
}

#[cfg(test)]
mod tests;
