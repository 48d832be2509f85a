//! The tracer: it waits for stops of any process of the tree, counts the points,
//! strikes, and lets go on.
//!
//! Invariants: each trace has a thread of its own, which alone starts, awaits and
//! resumes its processes (`__WNOTHREAD`), so that many can run side by side in one
//! test binary; it ends only when no traced process is left.

use std::collections::{HashMap, HashSet};
use std::io::{IoSliceMut, PipeReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::{AT_FDCWD, user_regs_struct};
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::call::{Action, CALLS, CREATES, Names, Only, TRUNCATES};
use super::{Blow, Moment, Plan, Point, Traced, Unavailable, launcher};

/// How long a command may take before it is held to hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much of a path is read.
const LONGEST_PATH: usize = 4096;

/// Sizes of pages are multiples of this.
const PAGE: usize = 4096;

pub(super) fn trace(command: &Command, plan: &Plan<'_>) -> Result<Traced, Unavailable> {
    let (stdout, stdout_writer) = std::io::pipe().expect("a pipe");
    let (stderr, stderr_writer) = std::io::pipe().expect("a pipe");
    let launcher = launcher::of(command, stdout_writer.into(), stderr_writer.into());
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let tracer = scope.spawn(|| Tracer::run(launcher, plan));
        let ended = tracer.join().expect("the tracer does not panic");
        let said = [stdout, stderr].map(|reader| reader.join().expect("it can be read"));
        let [stdout, stderr] = said;
        if !ended.began {
            match launcher::why_in_vain(&stderr) {
                Ok(why) => return Err(Unavailable(why)),
                Err(error) => panic!("the test binary has no `launcher`? {error}"),
            }
        }
        Ok(Traced {
            status: ended.status,
            stdout,
            stderr,
            points: ended.points,
            was_struck: ended.was_struck,
            hung: ended.hung,
        })
    })
}

fn read_all(mut pipe: PipeReader) -> String {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe can be read");
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Tracer<'a> {
    plan: &'a Plan<'a>,
    /// The process of the command.
    main: Pid,
    /// Whether the launcher became the command.
    began: bool,
    /// All threads that are traced, and to which process each belongs, once known.
    threads: HashMap<Pid, Option<Pid>>,
    /// Threads inside the call of a point.
    inside: HashMap<Pid, usize>,
    /// Whether everything is being killed.
    kills: bool,
    was_struck: bool,
    status: Option<i32>,
    points: Vec<Point>,
}

struct Ended {
    began: bool,
    status: i32,
    points: Vec<Point>,
    was_struck: bool,
    hung: bool,
}

impl<'a> Tracer<'a> {
    #[allow(clippy::zombie_processes, reason = "`waitpid` of all traced processes reaps it")]
    fn run(mut launcher: Command, plan: &'a Plan<'a>) -> Ended {
        let child = launcher.spawn().expect("a test binary can start itself");
        // It holds the writing ends of the pipes.
        drop(launcher);
        let main = Pid::from_raw(i32::try_from(child.id()).expect("a number of a process"));
        let mut tracer = Self {
            plan,
            main,
            began: false,
            threads: HashMap::new(),
            inside: HashMap::new(),
            kills: false,
            was_struck: false,
            status: None,
            points: Vec::new(),
        };
        // Whoever hangs is killed from beside; then all stops end.
        let (done, waits) = mpsc::channel::<()>();
        let watch = std::thread::spawn(move || {
            let is_late = waits.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
            if is_late {
                crate::kill_tree(child.id());
            }
            is_late
        });
        tracer.follow();
        drop(done);
        let hung = watch.join().expect("the watch does not panic");
        Ended {
            began: tracer.began,
            status: tracer.status.unwrap_or(-1),
            points: tracer.points,
            was_struck: tracer.was_struck,
            hung,
        }
    }

    /// Until nobody is left.
    fn follow(&mut self) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        loop {
            let status = match waitpid(Pid::from_raw(-1), Some(flags)) {
                Ok(status) => status,
                Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return,
                Err(error) => panic!("a traced process cannot be awaited: {error}"),
            };
            match status {
                WaitStatus::Exited(pid, code) => self.ended(pid, code),
                WaitStatus::Signaled(pid, signal, _) => self.ended(pid, 128 + signal as i32),
                _ if self.kills => self.strike_down(status.pid().expect("a stop is of somebody")),
                WaitStatus::Stopped(pid, signal) => self.signalled(pid, signal),
                WaitStatus::PtraceEvent(pid, _, event)
                    if event == Event::PTRACE_EVENT_SECCOMP as i32 =>
                {
                    self.called(pid);
                }
                WaitStatus::PtraceEvent(pid, _, event) => {
                    if event == Event::PTRACE_EVENT_EXEC as i32 {
                        self.began |= pid == self.main;
                        if let Ok(former) = ptrace::getevent(pid) {
                            let former = Pid::from_raw(i32::try_from(former).unwrap_or(0));
                            self.threads.remove(&former);
                        }
                        self.threads.insert(pid, Some(pid));
                    }
                    resume(pid, None);
                }
                WaitStatus::PtraceSyscall(pid) => self.returned(pid),
                other => panic!("a traced process did what was not asked for: {other:?}"),
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: i32) {
        self.threads.remove(&pid);
        self.inside.remove(&pid);
        if pid == self.main {
            self.status = Some(status);
        }
    }

    fn signalled(&mut self, pid: Pid, signal: Signal) {
        let is_new = self.threads.insert(pid, None).is_none();
        if !is_new || signal != Signal::SIGSTOP {
            resume(pid, Some(signal));
            return;
        }
        // The stop by which a process that is traced from now on begins.
        if self.threads.len() == 1 && !self.began {
            let all = Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACESECCOMP
                | Options::PTRACE_O_EXITKILL;
            ptrace::setoptions(pid, all).expect("a traced process that is stopped");
        }
        resume(pid, None);
    }

    /// A thread is about to do a call of the table.
    fn called(&mut self, pid: Pid) {
        let known = self.threads.entry(pid).or_default();
        let process = *known.get_or_insert_with(|| process_of(pid));
        if !self.began {
            return resume(pid, None);
        }
        let Ok(registers) = ptrace::getregs(pid) else {
            return;
        };
        let Some(point) = decode(pid, process == self.main, &registers)
            .filter(|point| (self.plan.is_point)(point))
        else {
            return resume(pid, None);
        };
        self.points.push(point);
        let number = self.points.len();
        match self.plan.blow {
            Some((at, Blow::Kill(Moment::Before))) if at == number => self.kill_all(),
            Some((at, Blow::Fail { errno, lasts })) if at == number || lasts && number > at => {
                self.was_struck = true;
                self.points[number - 1].result = Some(-i64::from(errno));
                // Without a number the kernel does nothing and returns what is in rax.
                let mut changed = registers;
                changed.orig_rax = u64::MAX;
                changed.rax = i64::from(-errno).cast_unsigned();
                let _ = ptrace::setregs(pid, changed);
                resume(pid, None);
            }
            Some((at, Blow::Kill(Moment::Within) | Blow::Shorten)) if at == number => {
                self.was_struck = true;
                if self.points[number - 1].action == Action::Write {
                    // Of `write` and `pwrite64`, the third argument is how many.
                    let _ = ptrace::setregs(
                        pid,
                        user_regs_struct { rdx: registers.rdx / 2, ..registers },
                    );
                }
                self.watch(pid, number);
            }
            _ => self.watch(pid, number),
        }
    }

    /// Lets a thread go on to the end of its call.
    fn watch(&mut self, pid: Pid, number: usize) {
        self.inside.insert(pid, number);
        let _ = ptrace::syscall(pid, None);
    }

    /// The call of a point is over.
    fn returned(&mut self, pid: Pid) {
        let Some(number) = self.inside.remove(&pid) else {
            return resume(pid, None);
        };
        if let Ok(registers) = ptrace::getregs(pid) {
            self.points[number - 1].result = Some(registers.rax.cast_signed());
        }
        match self.plan.blow {
            Some((at, Blow::Kill(Moment::Within | Moment::After))) if at == number => {
                self.kill_all();
            }
            _ => resume(pid, None),
        }
    }

    fn kill_all(&mut self) {
        self.was_struck = true;
        self.kills = true;
        let processes: HashSet<_> = self.threads.keys().copied().collect();
        for pid in processes {
            self.strike_down(pid);
        }
    }

    /// It may be gone already. Whoever was just made is not known yet, and stops.
    #[allow(clippy::unused_self, reason = "it belongs to the kill")]
    fn strike_down(&self, pid: Pid) {
        let _ = kill(pid, Signal::SIGKILL);
    }
}

/// Lets a thread go on; it may have been killed meanwhile, which `waitpid` tells.
fn resume(pid: Pid, signal: Option<Signal>) {
    let _ = ptrace::cont(pid, signal);
}

/// The process to which a thread belongs.
fn process_of(thread: Pid) -> Pid {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    process.map_or(thread, Pid::from_raw)
}

/// What a call is about; `None` if it does not concern the disk.
fn decode(pid: Pid, own: bool, registers: &user_regs_struct) -> Option<Point> {
    let number = registers.orig_rax.cast_signed();
    let (_, call, action, names, only) = CALLS.iter().find(|(of, ..)| *of == number)?;
    let arguments =
        [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9];
    let (path, changes) = match *names {
        Names::Nothing => (PathBuf::from("/"), false),
        Names::Descriptor(at) => {
            let link = descriptor(pid, arguments[at]);
            let meta = std::fs::metadata(&link).ok()?;
            if !meta.is_file() && !meta.is_dir() {
                return None;
            }
            (std::fs::read_link(link).ok()?, meta.nlink() > 0)
        }
        Names::Path(at) => (absolute(pid, None, arguments[at])?, true),
        Names::At(folder, at) => (absolute(pid, Some(arguments[folder]), arguments[at])?, true),
    };
    let mut changes = changes;
    if let Only::Opening(at) = *only {
        let meta = path.metadata();
        // Devices, pipes and sockets are not the disk.
        if meta.as_ref().is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
            return None;
        }
        let has = |flag| arguments[at] & flag != 0;
        changes = match meta {
            Ok(meta) => has(TRUNCATES) && meta.len() > 0,
            Err(_) => has(CREATES),
        };
    }
    Some(Point { call, own, action: *action, path, changes, result: None })
}

/// The low half of a register holds a descriptor.
fn descriptor(pid: Pid, register: u64) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/fd/{}", low_half(register)))
}

#[allow(clippy::cast_possible_truncation, reason = "the kernel looks at the low half only")]
const fn low_half(register: u64) -> i32 {
    (register as u32).cast_signed()
}

/// The path that a call names, made absolute.
fn absolute(pid: Pid, folder: Option<u64>, address: u64) -> Option<PathBuf> {
    let path = text_at(pid, address)?;
    if path.is_absolute() {
        return Some(path);
    }
    let folder = match folder {
        Some(register) if low_half(register) != AT_FDCWD => descriptor(pid, register),
        _ => PathBuf::from(format!("/proc/{pid}/cwd")),
    };
    let folder = std::fs::read_link(folder).ok()?;
    Some(if path == Path::new("") { folder } else { folder.join(path) })
}

/// The text, ended by a NUL byte, at an address of another process.
fn text_at(pid: Pid, address: u64) -> Option<PathBuf> {
    let mut text = Vec::new();
    let mut at = usize::try_from(address).ok()?;
    while text.len() < LONGEST_PATH {
        // The next page may not be there.
        let mut piece = vec![0; PAGE - at % PAGE];
        let remote = [RemoteIoVec { base: at, len: piece.len() }];
        let read = process_vm_readv(pid, &mut [IoSliceMut::new(&mut piece)], &remote).ok()?;
        let piece = &piece[..read];
        if let Some(end) = piece.iter().position(|byte| *byte == 0) {
            text.extend_from_slice(&piece[..end]);
            return Some(std::ffi::OsString::from_vec(text).into());
        }
        text.extend_from_slice(piece);
        at += read;
    }
    None
}
