//! Processes: a command is started in a group of its own, its output is read,
//! and where it must end, its whole group ends.
//!
//! It is started by a [`keeper`], where one was appointed: then all
//! that it started ends with it, whatever its group.
//!
//! Invariant: a group is signalled only while its leader has not been reaped,
//! so that a number that was given to somebody else is never signalled.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open};

use super::keeper::{self, Keeper, Kept};

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
    /// What it finds on its standard input.
    pub input: Input<'a>,
    /// Where its standard output goes; without it, it is handed on to whoever waits.
    pub output: Option<BorrowedFd<'a>>,
    /// A lock that is held for as long as the command, or anything that it started
    /// and that kept the descriptor, lives. Only a keeper can hand it on.
    pub lock: Option<BorrowedFd<'a>>,
}

/// What a command finds on its standard input.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Nothing.
    Nothing,
    /// These bytes.
    Bytes(&'a [u8]),
    /// What is read from here.
    From(BorrowedFd<'a>),
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

    /// The same switch, for somebody else to hold.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn share(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
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

    /// What becomes readable when it is pulled.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
    leader: Leader,
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
    let mut pipes = Vec::new();
    let mut pipe = |stream| -> io::Result<OwnedFd> {
        let (reader, writer) = io::pipe()?;
        pipes.push((stream, reader));
        Ok(writer.into())
    };
    let output = match order.output {
        Some(output) => output.try_clone_to_owned()?,
        None => pipe(Stream::Output)?,
    };
    let error = match (order.streams, order.output) {
        (Streams::Together, None) => output.try_clone()?,
        (Streams::Together, Some(_)) => pipe(Stream::Output)?,
        (Streams::Apart, _) => pipe(Stream::Error)?,
    };
    let input = match order.input {
        Input::Nothing => None,
        Input::Bytes(bytes) => Some(file_of(bytes)?.into()),
        Input::From(fd) => Some(fd.try_clone_to_owned()?),
    };
    let kept = keeper::start(&Kept {
        words: order.words,
        folder: order.folder,
        env: order.env,
        input: input.as_ref().map(AsFd::as_fd),
        output: output.as_fd(),
        error: error.as_fd(),
        lock: order.lock,
    })?;
    let leader = match kept {
        Some((keeper, pid)) => Leader::Kept(keeper, pid),
        None => Leader::Own(spawn(order, input, output, error)?),
    };
    match pidfd_open(leader.pid(), PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Running { leader, pidfd, pipes }),
        Err(errno) => {
            let _ = kill_process_group(leader.pid(), Signal::KILL);
            leader.reap(true)?;
            Err(errno.into())
        }
    }
}

/// Starts a command as a child of this process.
fn spawn(
    order: &Order<'_>,
    input: Option<OwnedFd>,
    output: OwnedFd,
    error: OwnedFd,
) -> io::Result<Child> {
    let (program, arguments) = order.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    // The writing ends of the pipes are the command's alone once this is dropped.
    Command::new(program)
        .args(arguments)
        .current_dir(order.folder)
        .envs(order.env.iter().map(|(name, value)| (name, value)))
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .stdout(output)
        .stderr(error)
        .process_group(0)
        .spawn()
}

/// What a command finds on its standard input. It is a file, so that nobody waits
/// for a command that does not read it.
fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The first process of a command, which leads its group.
#[derive(Debug)]
enum Leader {
    /// A child of this process.
    Own(Child),
    /// A child of the keeper's.
    Kept(&'static Keeper, Pid),
}

impl Leader {
    fn pid(&self) -> Pid {
        match self {
            Self::Own(child) => Pid::from_child(child),
            Self::Kept(_, pid) => *pid,
        }
    }

    /// How it ended, which it has. Where it must, or it did not end well, what is left
    /// of its command ends too.
    fn reap(self, ends: bool) -> io::Result<ExitStatus> {
        match self {
            Self::Kept(keeper, pid) => keeper.reap(pid, ends),
            Self::Own(mut child) => {
                let pid = Pid::from_child(&child);
                let options =
                    rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
                let id = rustix::process::WaitId::Pid(pid);
                let ended = rustix::process::waitid(id, options)?;
                if ends || ended.is_none_or(|ended| ended.exit_status() != Some(0)) {
                    let _ = kill_process_group(pid, Signal::KILL);
                }
                child.wait()
            }
        }
    }
}

impl Running {
    /// The number of the command's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.leader.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// What becomes readable when the command's first process has ended.
    pub(super) fn end(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
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
    /// left of it ends too.
    fn reap(self, ended_because: Option<End>) -> io::Result<End> {
        let status = self.leader.reap(ended_because.is_some())?;
        Ok(ended_because.unwrap_or_else(|| match (status.code(), status.signal()) {
            (Some(code), _) => End::Exited(code),
            (None, signal) => End::Signalled(signal.unwrap_or(0)),
        }))
    }

    /// Signals the whole group, where the command has one of its own. That nobody is
    /// left in it is fine. Where it has none, its first process is signalled: what is
    /// left of it then ends when that is reaped.
    fn signal(&self, signal: Signal) {
        let _ = match &self.leader {
            Leader::Kept(keeper, pid) if !keeper.gives_groups() => kill_process(*pid, signal),
            leader => kill_process_group(leader.pid(), signal),
        };
    }
}

/// A process, as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub pid: u32,
    /// What it was started with.
    pub command: String,
    /// Whether it is stopped.
    pub is_stopped: bool,
    /// Whether it was killed, and is only about to be gone.
    pub is_dying: bool,
    /// Whether it does not listen to SIGTERM.
    pub ignores_term: bool,
}

impl Seen {
    /// The process of this number, if it is there.
    #[must_use]
    pub fn at(pid: u32) -> Option<Self> {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let words = words.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let command = words.collect::<Vec<_>>().join(" ").trim_end().to_owned();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| status.lines().find_map(|line| line.strip_prefix(name));
        let is = |states: [char; 2]| {
            field("State:").is_some_and(|state| state.trim_start().starts_with(states))
        };
        let has = |name, signal: Signal| {
            let set = field(name).and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
            set.is_some_and(|set| set & (1 << (signal.as_raw() - 1)) != 0)
        };
        let is_killed = |name| has(name, Signal::KILL);
        let is_dying = is(['Z', 'X']) || is_killed("SigPnd:") || is_killed("ShdPnd:");
        let ignores_term = has("SigIgn:", Signal::TERM);
        Some(Self { pid, command, is_stopped: is(['T', 't']), is_dying, ignores_term })
    }

    /// Whether it is a keeper: then it is ending what it kept.
    #[must_use]
    pub fn is_keeper(&self) -> bool {
        super::keeper::is_named(&self.command)
    }
}

/// The processes that have a file open, as far as we may know.
#[must_use]
pub fn holders(path: &Path) -> Vec<Seen> {
    let has_it = |process: &Path| {
        let fds = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        fds.map(|fd| std::fs::read_link(fd.path())).any(|to| to.is_ok_and(|to| to == path))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        has_it(&process.path()).then_some(pid)
    });
    let mut seen: Vec<_> = pids.filter_map(Seen::at).collect();
    seen.sort_unstable_by_key(|process| process.pid);
    seen
}

/// Polls until something happens or the deadline is there.
pub(super) fn wait_for(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
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
            input: Input::Nothing,
            output: None,
            lock: None,
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
            input: Input::Nothing,
            output: None,
            lock: None,
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
            input: Input::Nothing,
            output: None,
            lock: None,
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
