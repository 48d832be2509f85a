//! The life of a keeper: it starts what it is asked to start, says how it ended, and
//! when nobody is left who could ask, it ends what is still at work.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid};

use super::wire::{self, Order, Reply, Request};
use super::{Session, TAG, children, tag};

/// Serves as a keeper until the process at the other end is dead; then ends whatever
/// was started and has not ended.
///
/// It must be called in a process that does nothing else and has one thread.
///
/// # Errors
/// If the system refuses what a keeper needs. What was started has been ended then,
/// too.
pub fn serve(socket: OwnedFd, session: Session) -> io::Result<()> {
    if session == Session::Apart {
        // What ends semel with its group, or its terminal, must not end us.
        rustix::process::setsid()?;
    }
    rustix::process::set_child_subreaper(Some(getpid()))?;
    let socket = UnixStream::from(socket);
    let mut household = Household {
        session,
        started: 0,
        first: HashMap::new(),
        left: HashSet::new(),
        children: children::Few::new(),
    };
    let served = household.serve(&socket);
    household.end();
    served
}

/// All that was started here.
struct Household {
    session: Session,
    /// How many commands were started.
    started: u64,
    /// The first processes that were not reaped.
    first: HashMap<Pid, Kept>,
    /// What commands that ended well left behind.
    left: HashSet<Pid>,
    children: children::Few,
}

/// A command that has not ended, as far as it is known.
struct Kept {
    /// Its tag.
    tag: String,
    /// Its lock: held by us, too, so that it is until all of the command has ended.
    _lock: Option<OwnedFd>,
}

impl Household {
    fn serve(&mut self, socket: &UnixStream) -> io::Result<()> {
        let mut requests = wire::Requests::of(socket);
        while let Some((request, fds)) = requests.next()? {
            let reply = match request {
                Request::Start(order) => match self.start(order, fds) {
                    Ok(pid) => Reply::Done(pid.as_raw_nonzero().get()),
                    Err(error) => {
                        Reply::Failed(error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error()))
                    }
                },
                Request::Reap { pid, ends } => match self.reap(pid, ends) {
                    Ok(status) => Reply::Done(status),
                    Err(errno) => Reply::Failed(errno.raw_os_error()),
                },
            };
            match wire::reply(socket, &reply) {
                // Nobody is left to hear it.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                replied => replied?,
            }
        }
        Ok(())
    }

    fn start(&mut self, order: Order, fds: Vec<OwnedFd>) -> io::Result<Pid> {
        // Counted as semel does, whatever becomes of it.
        self.started += 1;
        let mut fds = fds.into_iter();
        let mut next = || fds.next().ok_or(io::ErrorKind::InvalidData);
        let input = if order.has_input { Stdio::from(next()?) } else { Stdio::null() };
        let (output, error) = (next()?, next()?);
        let lock = if order.has_lock { Some(next()?) } else { None };
        let is_handed_on = |flags| match &lock {
            Some(lock) => rustix::io::fcntl_setfd(lock, flags),
            None => Ok(()),
        };
        let (program, arguments) = order.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let tag = tag(getpid(), self.started);
        // Inherited by this command and, since we have one thread, by no other.
        is_handed_on(FdFlags::empty())?;
        let mut command = Command::new(program);
        if self.session == Session::Apart {
            command.process_group(0);
        }
        let child = command
            .args(arguments)
            .current_dir(&order.folder)
            .envs(order.env)
            .env(TAG, &tag)
            .stdin(input)
            .stdout(output)
            .stderr(error)
            .spawn();
        is_handed_on(FdFlags::CLOEXEC)?;
        let pid = Pid::from_child(&child?);
        self.first.insert(pid, Kept { tag, _lock: lock });
        Ok(pid)
    }

    /// How a first process ended, as a wait status.
    fn reap(&mut self, pid: i32, ends: bool) -> Result<i32, Errno> {
        let pid = Pid::from_raw(pid).ok_or(Errno::INVAL)?;
        let tag = self.first.get(&pid).map(|kept| kept.tag.clone()).ok_or(Errno::CHILD)?;
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let ended = rustix::process::waitid(WaitId::Pid(pid), options)?;
        let went_well = ended.is_some_and(|ended| ended.exit_status() == Some(0));
        if ends || !went_well {
            if self.session == Session::Apart {
                let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            }
            children::end(&|child| {
                !self.first.contains_key(&child) && children::tag(child).as_ref() == Some(&tag)
            });
        } else {
            self.leave(&tag);
        }
        self.first.remove(&pid);
        let waited = rustix::process::waitpid(Some(pid), WaitOptions::empty())?;
        waited.map(|(_, status)| status.as_raw()).ok_or(Errno::CHILD)
    }

    /// Notes what a command that ended well left behind: it is not ours to end. What
    /// of it has ended by now is reaped.
    fn leave(&mut self, of: &str) {
        let orphans = self.children.all().into_iter().filter(|pid| !self.first.contains_key(pid));
        for pid in orphans.collect::<Vec<_>>() {
            let is_anothers = children::tag(pid).is_some_and(|tag| tag != of && self.is_open(&tag));
            if !is_anothers {
                self.left.insert(pid);
            }
        }
        self.left.retain(|pid| !children::reap(*pid));
    }

    /// Whether the command of a tag has not ended.
    fn is_open(&self, tag: &str) -> bool {
        self.first.values().any(|kept| kept.tag == tag)
    }

    /// Ends all that is at work, but for what commands that ended well left behind.
    fn end(&self) {
        let own = format!("{}.", getpid());
        children::end(&|pid| {
            if self.first.contains_key(&pid) {
                return true;
            }
            match children::tag(pid) {
                // Of a command of ours: it is over, or not.
                Some(tag) if tag.starts_with(&own) => self.is_open(&tag),
                _ => !self.left.contains(&pid),
            }
        });
    }
}
