//! The keeper: a small process that starts the commands of semel, and ends them when
//! semel is dead.
//!
//! It stands between semel and its commands: they are its children, and what they
//! leave behind is handed to it by the kernel, whatever groups and sessions it
//! made for itself. It has a session of its own, so that what ends semel with its
//! group does not end the keeper; unless the command is one of a script, which has the
//! script's terminal, and what that sends to all ([`Session`]). It has one thread: a
//! descriptor that a command inherits is inherited by no other. Where many commands are
//! started at a time there are a few keepers.
//!
//! Invariants: whichever of the two dies, the other one ends every process of every
//! command that had not ended; where both are killed in one moment, the lock of the
//! attempt tells that its command may live. What a command that ended well left
//! behind, such as a server that it started, is left alone.

mod children;
mod serve;
mod wire;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open};

pub use self::serve::serve;
use self::wire::{Order, Reply, Request};
use super::machine::threads;

/// The variable in which a command, and so all that it starts, finds its tag: by
/// that the keeper knows its own.
const TAG: &str = "SEMEL_KEPT";

/// How long a keeper may take to answer before it is woken up.
const DEAF: Duration = Duration::from_secs(2);

/// Where commands stand among the sessions and groups of processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// In a session apart, each the leader of a group: a Ctrl-C in the terminal does not
    /// reach them, and they cannot ask it anything.
    Apart,
    /// Where semel is: they have its terminal, as they had without it.
    Shared,
}

/// How a keeper is started.
static APPOINTED: OnceLock<(PathBuf, Vec<OsString>, Session)> = OnceLock::new();

/// The keepers of this process. Whoever starts a command waits until it is there:
/// where several are started at a time, one keeper alone would hold them up.
static KEEPERS: [OnceLock<Result<Keeper, String>>; 8] = [const { OnceLock::new() }; 8];

/// The last word of the arguments of a keeper whose commands share the session.
pub const SHARED: &str = "shared";

/// From now on all commands of this process are started by a keeper: `program`, with
/// these words as its arguments, the first of them its name, and after them [`SHARED`]
/// where the session is. It must call [`serve`] with its standard input and that session,
/// and do nothing else.
///
/// Without it commands are started by this process, and may outlive it.
pub fn appoint(program: PathBuf, words: Vec<OsString>, session: Session) {
    // Whoever came first stays.
    let _ = APPOINTED.set((program, words, session));
}

/// The tag of the command that a keeper started as its `number`-th.
fn tag(keeper: Pid, number: u64) -> String {
    format!("{keeper}.{number}")
}

/// Whether this is how a keeper is called.
pub(super) fn is_named(command: &str) -> bool {
    APPOINTED.get().is_some_and(|(_, words, _)| {
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
        let named = command.strip_prefix(&words.join(" "));
        named.is_some_and(|rest| rest.is_empty() || rest.trim_start() == SHARED)
    })
}

/// Has a command started by a keeper, if one was appointed: by the first that has
/// nothing else to do. A keeper is started when it is needed, and there are no more
/// than this machine can run at a time. Gives the number of the first process.
///
/// # Errors
/// If it cannot be started, as if we had tried; or its keeper cannot.
pub(super) fn start(kept: &Kept<'_>) -> io::Result<Option<(&'static Keeper, Pid)>> {
    let Some((program, words, session)) = APPOINTED.get() else {
        return Ok(None);
    };
    let mut first = None;
    for place in KEEPERS.iter().take(threads()) {
        let start = || Keeper::start(program, words, *session).map_err(|error| error.to_string());
        let keeper = match place.get_or_init(start) {
            Ok(keeper) => keeper,
            // Those that are there must do.
            Err(_) if first.is_some() => break,
            Err(why) => {
                return Err(io::Error::other(format!("its keeper cannot be started: {why}")));
            }
        };
        if let Ok(line) = keeper.line.try_lock() {
            return Ok(Some((keeper, keeper.spawn(line, kept)?)));
        }
        first.get_or_insert(keeper);
    }
    let keeper = first.expect("there is room for one");
    let line = keeper.line.lock().expect("nobody panics while asking");
    Ok(Some((keeper, keeper.spawn(line, kept)?)))
}

/// What a keeper is to start.
pub(super) struct Kept<'a> {
    /// The program and its arguments.
    pub(super) words: &'a [OsString],
    /// Where it runs.
    pub(super) folder: &'a Path,
    /// Variables that are set on top of semel's own.
    pub(super) env: &'a [(OsString, OsString)],
    /// Standard input; without it, nothing.
    pub(super) input: Option<BorrowedFd<'a>>,
    /// Standard output.
    pub(super) output: BorrowedFd<'a>,
    /// Standard error.
    pub(super) error: BorrowedFd<'a>,
    /// A descriptor that this command inherits, and no other.
    pub(super) lock: Option<BorrowedFd<'a>>,
}

/// The keeper, seen from semel.
#[derive(Debug)]
pub(super) struct Keeper {
    process: Child,
    session: Session,
    line: Mutex<Line>,
    open: Open,
}

/// What connects semel with its keeper.
#[derive(Debug)]
struct Line {
    socket: UnixStream,
    /// How many commands the keeper was asked to start.
    asked: u64,
}

/// The commands that have not ended, by their tags: their first processes, once they
/// are known.
type Open = Mutex<HashMap<String, Option<Pid>>>;

impl Keeper {
    fn start(program: &Path, words: &[OsString], session: Session) -> io::Result<Self> {
        let (name, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let (ours, theirs) = UnixStream::pair()?;
        // Should it be killed, what it kept is handed to us.
        rustix::process::set_child_subreaper(Some(getpid()))?;
        let process = Command::new(program)
            .arg0(name)
            .args(arguments)
            .args((session == Session::Shared).then_some(SHARED))
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty())?;
        // It may have been stopped by hand: then it is woken up.
        ours.set_read_timeout(Some(DEAF))?;
        let watch = move || die_with(&pidfd);
        std::thread::Builder::new().name("keeper".to_owned()).spawn(watch)?;
        let line = Mutex::new(Line { socket: ours, asked: 0 });
        Ok(Self { process, session, line, open: Open::default() })
    }

    /// Whether each command leads a group of its own.
    pub(super) fn gives_groups(&self) -> bool {
        self.session == Session::Apart
    }

    /// Starts a command, and gives the number of its first process.
    fn spawn(&self, mut line: MutexGuard<'_, Line>, kept: &Kept<'_>) -> io::Result<Pid> {
        let order = Order {
            words: kept.words.to_vec(),
            folder: kept.folder.as_os_str().to_owned(),
            env: kept.env.to_vec(),
            has_input: kept.input.is_some(),
            has_lock: kept.lock.is_some(),
        };
        let fds = [kept.input, Some(kept.output), Some(kept.error), kept.lock];
        let fds: Vec<_> = fds.into_iter().flatten().collect();
        line.asked += 1;
        let tag = tag(Pid::from_child(&self.process), line.asked);
        self.open().insert(tag.clone(), None);
        let started = self.ask(&line, &Request::Start(order), &fds);
        let mut open = self.open();
        let pid = started.as_ref().ok().copied().and_then(Pid::from_raw);
        match pid {
            Some(_) => open.insert(tag, pid),
            None => open.remove(&tag),
        };
        started.and_then(|_| pid.ok_or_else(|| io::ErrorKind::InvalidData.into()))
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Option<Pid>>> {
        self.open.lock().expect("nobody panics while holding it")
    }

    /// How a first process that has ended did so. Unless it did well, or if `ends`,
    /// all that is left of its command ends too.
    ///
    /// # Errors
    /// If the keeper does not know it.
    pub(super) fn reap(&self, pid: Pid, ends: bool) -> io::Result<ExitStatus> {
        let request = Request::Reap { pid: pid.as_raw_nonzero().get(), ends };
        let line = self.line.lock().expect("nobody panics while asking");
        let status = self.ask(&line, &request, &[]).map(ExitStatus::from_raw);
        self.open().retain(|_, first| *first != Some(pid));
        status
    }

    fn ask(&self, line: &Line, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<i32> {
        let socket = &line.socket;
        let wake = || kill_process(Pid::from_child(&self.process), Signal::CONT).is_ok();
        let asked = wire::send(socket, request, fds).and_then(|()| wire::answer(socket, &wake));
        match asked {
            Ok(Reply::Done(value)) => Ok(value),
            Ok(Reply::Failed(errno)) => Err(io::Error::from_raw_os_error(errno)),
            // It is dead. Nothing that happens from here on is what it seems.
            Err(_) => die(),
        }
    }
}

/// Waits for the death of the keeper, and follows it.
fn die_with(keeper: &OwnedFd) {
    let mut fds = [rustix::event::PollFd::new(keeper, rustix::event::PollFlags::IN)];
    // Whether it is dead or nobody can tell: we must not outlive it.
    let _ = super::process::wait_for(&mut fds, None);
    die();
}

/// Dies, as if killed: a keeper is dead. What it kept was handed to us, and what has
/// not ended of it ends first, since nobody could end it after us. So it is with the
/// other keepers, which may be dying, too.
fn die() -> ! {
    let keepers = || KEEPERS.iter().filter_map(|place| place.get()?.as_ref().ok());
    for keeper in keepers() {
        let process = Pid::from_child(&keeper.process);
        let _ = kill_process(process, Signal::KILL);
        children::bury(process);
    }
    children::end(&|pid| {
        let tag = children::tag(pid);
        keepers().any(|keeper| {
            let open = keeper.open();
            open.values().any(|first| *first == Some(pid))
                || tag.as_ref().is_some_and(|tag| open.contains_key(tag))
        })
    });
    loop {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}
