//! Processes: a command is started in a group of its own, its output is read,
//! and where it must end, its whole group ends.
//!
//! Invariant: a group is signalled only while its leader has not been reaped,
//! so that a number that was given to somebody else is never signalled.

use std::ffi::OsString;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

/// How long a group may take to end after SIGTERM, before SIGKILL.
pub const GRACE: Duration = Duration::from_secs(5);

/// How long output is read after the first process of a command ended: what it
/// left in the background may hold the pipe for ever.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What to start.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The program and its arguments.
    pub words: &'a [OsString],
    /// Where it runs.
    pub folder: &'a Path,
    /// Variables that are set on top of semel's own.
    pub env: &'a [(OsString, OsString)],
    /// Whether its standard output and error come together, in their order, or
    /// apart.
    pub streams: Streams,
    /// What it finds on its standard input; without it, nothing.
    pub input: Option<&'a [u8]>,
}

/// How output comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Streams {
    /// All as [`Stream::Output`].
    Together,
    /// Each as what it is.
    Apart,
}

/// Where a piece of output was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

/// A switch that ends the commands that wait on it.
#[derive(Debug)]
pub struct Stop(OwnedFd);

impl Stop {
    /// A switch that is off.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC)?))
    }

    /// Ends all commands that wait on it, now and later.
    ///
    /// # Errors
    /// If the descriptor cannot be written to, which the system excludes.
    pub fn pull(&self) -> io::Result<()> {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes())?;
        Ok(())
    }

    /// Whether it was pulled.
    #[must_use]
    pub fn is_pulled(&self) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1))
    }

    /// Waits for as long, or until it is pulled.
    pub fn wait(&self, pause: Duration) {
        let deadline = Instant::now() + pause;
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        // A wait that ends too early is harmless.
        let _ = wait_for(&mut fds, Some(deadline));
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a status.
    Exited(i32),
    /// By a signal.
    Signalled(i32),
    /// It was ended, since it took longer than its limit.
    TimedOut,
    /// It was ended by the switch.
    Stopped,
}

/// A command that was started.
#[derive(Debug)]
pub struct Running {
    child: Child,
    pidfd: OwnedFd,
    /// The pipes that are still open.
    pipes: Vec<(Stream, io::PipeReader)>,
}

/// Starts a command.
///
/// # Errors
/// If it cannot be started: the program is not there, may not be run, or its
/// arguments are too long.
pub fn start(order: &Order<'_>) -> io::Result<Running> {
    let (output, output_writer) = io::pipe()?;
    let mut pipes = vec![(Stream::Output, output)];
    let error_writer = match order.streams {
        Streams::Together => output_writer.try_clone()?,
        Streams::Apart => {
            let (errors, writer) = io::pipe()?;
            pipes.push((Stream::Error, errors));
            writer
        }
    };
    let (program, arguments) = order.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(order.folder)
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .stdin(input(order.input)?)
        .stdout(output_writer)
        .stderr(error_writer)
        .process_group(0);
    let mut child = command.spawn()?;
    // The command holds the writing ends of the pipes until it is dropped.
    drop(command);
    match pidfd_open(pid_of(&child), PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Running { child, pidfd, pipes }),
        Err(errno) => {
            child.kill()?;
            child.wait()?;
            Err(errno.into())
        }
    }
}

/// What a command finds on its standard input. It is a file, so that nobody waits
/// for a command that does not read it.
fn input(bytes: Option<&[u8]>) -> io::Result<Stdio> {
    let Some(bytes) = bytes else {
        return Ok(Stdio::null());
    };
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_child(child)
}

impl Running {
    /// The number of the command's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the command's first process ended, handing on what the
    /// command prints. It is ended, with its group, at the limit, or when the
    /// switch is pulled.
    ///
    /// # Errors
    /// If the system's calls for waiting fail.
    pub fn wait(
        mut self,
        limit: Option<Duration>,
        stop: &Stop,
        mut printed: impl FnMut(Stream, &[u8]),
    ) -> io::Result<End> {
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let mut ended_because = None;
        let mut buffer = vec![0_u8; 16 * 1024];
        loop {
            let heard = self.listen(ended_because.is_none().then_some(stop), deadline)?;
            self.pass_on(&heard.pipes, &mut buffer, &mut printed)?;
            if heard.has_ended {
                break;
            }
            let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if is_late && ended_because.is_some() {
                self.signal(Signal::KILL);
                deadline = None;
            } else if is_late || heard.has_stopped {
                ended_because = Some(if heard.has_stopped { End::Stopped } else { End::TimedOut });
                self.signal(Signal::TERM);
                deadline = Some(Instant::now() + GRACE);
            }
        }
        self.read_the_rest(&mut buffer, &mut printed)?;
        self.reap(ended_because)
    }

    /// Waits until something happens or the deadline is there.
    fn listen(&self, stop: Option<&Stop>, deadline: Option<Instant>) -> io::Result<Heard> {
        let mut fds: Vec<_> =
            self.pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
        fds.extend(stop.map(|stop| PollFd::new(&stop.0, PollFlags::IN)));
        wait_for(&mut fds, deadline)?;
        let mut happened = fds.iter().map(|fd| !fd.revents().is_empty());
        Ok(Heard {
            pipes: happened.by_ref().take(self.pipes.len()).collect(),
            has_ended: happened.next().unwrap_or(false),
            has_stopped: happened.next().unwrap_or(false),
        })
    }

    /// Reads a piece from each pipe that has something, and lets go of those
    /// that ended.
    fn pass_on(
        &mut self,
        ready: &[bool],
        buffer: &mut [u8],
        printed: &mut impl FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        let mut ready = ready.iter();
        let mut failed = None;
        self.pipes.retain_mut(|(stream, pipe)| {
            if ready.next() != Some(&true) {
                return true;
            }
            match pipe.read(buffer) {
                Ok(0) => false,
                Ok(length) => {
                    printed(*stream, &buffer[..length]);
                    true
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// Reads what is still in the pipes, for as long as others hold them, but no
    /// longer than the aftermath.
    fn read_the_rest(
        &mut self,
        buffer: &mut [u8],
        printed: &mut impl FnMut(Stream, &[u8]),
    ) -> io::Result<()> {
        let deadline = Instant::now() + AFTERMATH;
        while !self.pipes.is_empty() {
            let mut fds: Vec<_> =
                self.pipes.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
            wait_for(&mut fds, Some(deadline))?;
            let ready: Vec<_> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
            if !ready.contains(&true) {
                return Ok(());
            }
            self.pass_on(&ready, buffer, printed)?;
        }
        Ok(())
    }

    /// Reaps the first process. Where the command did not end well, what is
    /// left of its group ends too.
    fn reap(mut self, ended_because: Option<End>) -> io::Result<End> {
        let status = rustix::process::waitid(
            rustix::process::WaitId::PidFd(self.pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )?;
        let went_well = status.is_some_and(|status| status.exit_status() == Some(0));
        if ended_because.is_some() || !went_well {
            self.signal(Signal::KILL);
        }
        let status = self.child.wait()?;
        Ok(ended_because.unwrap_or_else(|| match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap_or(0)),
        }))
    }

    /// Signals the whole group. That nobody is left in it is fine.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(pid_of(&self.child), signal);
    }
}

/// Polls until something happens or the deadline is there.
fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let timeout = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            done => return done.map(drop).map_err(io::Error::from),
        }
    }
}

/// What [`Running::listen`] heard.
struct Heard {
    pipes: Vec<bool>,
    has_ended: bool,
    has_stopped: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, limit: Option<Duration>, stop: &Stop) -> (End, String) {
        let words = ["bash", "-c", script].map(OsString::from);
        let env = [(OsString::from("GREETING"), OsString::from("ave"))];
        let order = Order {
            words: &words,
            folder: Path::new("/"),
            env: &env,
            streams: Streams::Together,
            input: None,
        };
        let mut printed = Vec::new();
        let running = start(&order).expect("bash starts");
        let end = running.wait(limit, stop, |_, bytes| printed.extend_from_slice(bytes));
        (end.expect("it ends"), String::from_utf8_lossy(&printed).into_owned())
    }

    fn off() -> Stop {
        Stop::new().expect("a descriptor")
    }

    #[test]
    fn output_and_status_come_back() {
        let (end, printed) = run("echo $GREETING; pwd; echo err >&2; exit 3", None, &off());
        assert_eq!((end, printed.as_str()), (End::Exited(3), "ave\n/\nerr\n"));
    }

    #[test]
    fn the_two_streams_can_be_told_apart() {
        let words = ["sh", "-c", "echo out; echo err >&2"].map(OsString::from);
        let order = Order {
            words: &words,
            folder: Path::new("/"),
            env: &[],
            streams: Streams::Apart,
            input: None,
        };
        let mut printed = (Vec::new(), Vec::new());
        let running = start(&order).expect("sh starts");
        let end = running.wait(None, &off(), |stream, bytes| match stream {
            Stream::Output => printed.0.extend_from_slice(bytes),
            Stream::Error => printed.1.extend_from_slice(bytes),
        });
        assert_eq!(end.expect("it ends"), End::Exited(0));
        assert_eq!(printed, (b"out\n".to_vec(), b"err\n".to_vec()));
    }

    #[test]
    fn a_signal_is_told_apart_from_a_status() {
        assert_eq!(run("kill -9 $$", None, &off()).0, End::Signalled(9));
    }

    #[test]
    fn a_command_that_is_not_there_is_an_error() {
        let words = [OsString::from("no-such-program-here")];
        let order = Order {
            words: &words,
            folder: Path::new("/"),
            env: &[],
            streams: Streams::Together,
            input: None,
        };
        assert_eq!(start(&order).expect_err("not there").kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn at_its_limit_the_whole_group_ends() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let fifo = folder.path().join("alive");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs");
        assert!(made.success());
        // The grandchild holds the fifo open for as long as it lives.
        let script = format!("sleep 600 > {} & wait", fifo.display());
        let limit = Some(Duration::from_millis(50));
        let reader = std::thread::spawn(move || std::fs::read(fifo).expect("the end of the fifo"));
        assert_eq!(run(&script, limit, &off()).0, End::TimedOut);
        assert!(reader.join().expect("the reader ends").is_empty());
    }

    #[test]
    fn a_pulled_switch_ends_those_who_wait_and_those_who_come_later() {
        let stop = off();
        assert!(!stop.is_pulled());
        stop.pull().expect("it can be pulled");
        assert!(stop.is_pulled());
        assert_eq!(run("sleep 600", None, &stop).0, End::Stopped);
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let (end, printed) = run("echo here; sleep 600 & echo $!", None, &off());
        assert_eq!(end, End::Exited(0));
        let pid = printed.lines().nth(1).expect("a number").to_owned();
        let killed = Command::new("kill").arg(pid).status().expect("kill runs");
        assert!(killed.success(), "it lives on after a good end");
    }
}
