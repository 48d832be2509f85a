//! Containment: a command that can reach nothing but what semel hands it.
//!
//! The command is started inside a network of its own (a network namespace) in which
//! there is only loopback, and on it only semel's listeners. A process of semel's stands
//! before it ([`VERB`], in `inside`): it makes the network, opens the listeners there,
//! hands them out through a [`Gateway`], waits for a word, and becomes the command. So the
//! command has the number, the folder, the environment and the descriptors that it was
//! started with; its listeners are served by semel, which is outside.
//!
//! Where no such network may be had by itself, as for ordinary users, it comes with a
//! user namespace in which user and group keep their numbers. There nobody becomes
//! somebody else: `sudo` and the like have no effect; files of others belong to `nobody`.
//! Root, without the right to make networks (in most containers), is such an ordinary user.
//!
//! What a command reaches all the same: sockets with a path (a database's, Docker's,
//! those of an agent of keys), since files are not what is separated here; descriptors
//! that were open before; and, if it is really root, the networks of other processes, by
//! entering them. So this holds against what goes round the proxy by oversight, and not
//! against who wants out. Sockets with abstract names are separate, too.
//!
//! Invariant: the command is started only if it is contained and semel has its
//! listeners. Otherwise it is not, and why is told in words ([`Refused`]).

mod inside;
mod namespace;
mod wire;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Pid;

pub use self::inside::{Failed, serve};
use self::wire::Told;
use super::process::{Running, Stop, wait_for};

/// The first word of the command that stands before a contained one.
pub const VERB: &str = "__contained";

/// What stands between the words of that command and the contained one.
const END: &str = "--";

/// The most ports that a command can be given.
const MOST: usize = 16;

/// Tells gateways of this process apart.
static OPENED: AtomicU64 = AtomicU64::new(0);

/// Where one contained command hands out its listeners.
#[derive(Debug)]
pub struct Gateway {
    socket: UnixListener,
    path: PathBuf,
}

impl Gateway {
    /// Opens one: a socket in a folder that nobody else can enter. It is removed with
    /// us; it may be removed with the folder.
    ///
    /// # Errors
    /// If there can be none.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-{}-{number}", std::process::id());
        let path = std::path::absolute(folder)?.join(name);
        let socket = UnixListener::bind(reachable(&path)?.as_path())?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path })
    }

    /// The words that start a command contained: `semel` is the file of the semel
    /// command, and `ports` are those of `127.0.0.1` on which it finds us.
    ///
    /// These must be the first words that are started: whoever starts them for somebody
    /// else is not let in.
    #[must_use]
    pub fn words(&self, semel: &Path, ports: &[u16], command: &[OsString]) -> Vec<OsString> {
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let before = [
            semel.as_os_str().to_owned(),
            VERB.into(),
            self.path.clone().into_os_string(),
            ports.join(",").into(),
            END.into(),
        ];
        before.into_iter().chain(command.iter().cloned()).collect()
    }

    /// Waits until the command that was started with our words is contained, takes its
    /// listeners, in the order of their ports, and lets it begin. From then on it may
    /// connect to them, and waits until somebody accepts.
    ///
    /// # Errors
    /// If it was not started, and why. The process that was to become it is over, or
    /// about to be, unless it was the switch: it has to be waited for all the same.
    pub fn admit(&self, running: &Running, stop: &Stop) -> Result<Vec<TcpListener>, Refused> {
        let mut line = Line { socket: self.accept(running, stop)?, stop };
        let (told, fds) = wire::receive_first(&line.wait()?.socket)?;
        match told {
            Told::Ready => {}
            Told::Refused(why) => {
                let why = line.rest(why)?;
                return Err(Refused::NotContained(String::from_utf8_lossy(&why).into_owned()));
            }
            Told::Nothing => return Err(Refused::Ended),
        }
        wire::say_go(&line.socket).map_err(|_| Refused::Ended)?;
        match line.rest(Vec::new())?.as_slice().first_chunk() {
            // The kernel closed its end: it is the command now, or was killed on the way.
            None => Ok(fds.into_iter().map(TcpListener::from).collect()),
            Some(errno) => {
                let errno = i32::from_ne_bytes(*errno);
                Err(Refused::NotStarted(io::Error::from_raw_os_error(errno)))
            }
        }
    }

    /// The connection of a command, once it is there.
    fn accept(&self, running: &Running, stop: &Stop) -> Result<UnixStream, Refused> {
        loop {
            let happened = listen(&self.socket, running, stop)?;
            match self.socket.accept() {
                Ok((stream, _)) if is_from(&stream, running.pid()) => {
                    stream.set_nonblocking(true)?;
                    return Ok(stream);
                }
                // Somebody else's.
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => happened?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // What is left lies in a folder that goes, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The connection with the process that is to become the command.
struct Line<'a> {
    socket: UnixStream,
    stop: &'a Stop,
}

impl Line<'_> {
    /// Waits until something was said, or the other end is closed.
    fn wait(&self) -> Result<&Self, Refused> {
        // What was said before it ended counts, and what ends closes.
        let mut fds = [
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::from_borrowed_fd(self.stop.fd(), PollFlags::IN),
        ];
        wait_for(&mut fds, None)?;
        if fds[0].revents().is_empty() { Err(Refused::Stopped) } else { Ok(self) }
    }

    /// The rest of what is said, after what was heard already.
    fn rest(&mut self, mut heard: Vec<u8>) -> Result<Vec<u8>, Refused> {
        while wire::receive_more(&self.wait()?.socket, &mut heard)? {}
        Ok(heard)
    }
}

/// Waits until somebody is at the socket; tells if that is no more to be waited for.
fn listen(
    socket: &UnixListener,
    running: &Running,
    stop: &Stop,
) -> Result<Result<(), Refused>, Refused> {
    let mut fds = [
        PollFd::new(socket, PollFlags::IN),
        PollFd::from_borrowed_fd(stop.fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(running.end(), PollFlags::IN),
    ];
    wait_for(&mut fds, None)?;
    let [_, is_stopped, has_ended] = fds.map(|fd| !fd.revents().is_empty());
    Ok(match (is_stopped, has_ended) {
        (true, _) => Err(Refused::Stopped),
        (false, true) => Err(Refused::Ended),
        (false, false) => Ok(()),
    })
}

fn is_from(stream: &UnixStream, pid: u32) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| Some(peer.pid) == pid.try_into().ok().and_then(Pid::from_raw))
}

/// A path of a socket, of any length: the system wants it short.
struct Reachable {
    short: PathBuf,
    _folder: File,
}

impl Reachable {
    fn as_path(&self) -> &Path {
        &self.short
    }
}

fn reachable(path: &Path) -> io::Result<Reachable> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    let short = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok(Reachable { short, _folder: folder })
}

/// Why a contained command was not started.
#[derive(Debug)]
pub enum Refused {
    /// It cannot be contained here: why, in words.
    NotContained(String),
    /// There is no such program, or it may not be run.
    NotStarted(io::Error),
    /// The process that was to become it ended, or was killed, before.
    Ended,
    /// The switch was pulled.
    Stopped,
    /// The system refused what it takes to be told.
    Failed(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.into())
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotContained(why) => write!(f, "it cannot be contained: {why}"),
            Self::NotStarted(error) => write!(f, "it cannot be started: {error}"),
            Self::Ended => f.write_str("it ended before it was contained"),
            Self::Stopped => f.write_str("it was stopped before it began"),
            Self::Failed(error) => write!(f, "it cannot be contained: {error}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Whether commands can be contained here; it is tried, with the file of the semel
/// command, in a process that ends at once.
///
/// # Errors
/// Why not, in words.
pub fn is_possible(semel: &Path) -> Result<(), String> {
    let tried = Command::new(semel)
        .arg(VERB)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("{}: {error}", semel.display()))?;
    if tried.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&tried.stderr);
    let why = why.trim();
    Err(if why.is_empty() { tried.status.to_string() } else { why.to_owned() })
}
