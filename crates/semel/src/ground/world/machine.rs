//! This machine: what tells it from others, and from itself before it was booted, and
//! a clock that goes on while it sleeps.

use std::io;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What tells one world of processes from all others: numbers of processes mean
/// something only within it. A name of a host does not tell that: containers may share
/// it, and a copy of a machine has it too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Since it was booted, it has this random id.
    pub boot: String,
    /// The namespace of its processes.
    pub pids: String,
}

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It works, or is stopped, or nobody can say.
    Alive,
    /// It is gone: nothing of what it did goes on.
    Dead,
}

impl Machine {
    /// The one we are on.
    ///
    /// # Errors
    /// If it cannot be asked: `/proc` is not there.
    pub fn here() -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let pids = std::fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned();
        Ok(Self { boot, pids })
    }
}

/// What tells the clock of [`uptime`] from those of other machines, and of containers
/// that were given another one.
///
/// # Errors
/// If it cannot be asked.
pub fn clock_id() -> io::Result<String> {
    let boot = Machine::here()?.boot;
    let times = match std::fs::read_link("/proc/self/ns/time") {
        // Before there were such namespaces, there was one clock.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        times => times?.to_string_lossy().into_owned(),
    };
    Ok(format!("{boot} {times}"))
}

/// How many threads we may run at a time. It is worked out once: the answer lies in
/// several files, and is wanted for each command that is started.
#[must_use]
pub fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get))
}

/// How long this machine is up, with the time in which it slept (`CLOCK_BOOTTIME`). It
/// is the same for all processes, and never set.
#[must_use]
pub fn uptime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}

/// When a process began, in ticks since the machine was booted: a number that is given
/// to another process later has another (proc(5), stat, field 22).
#[must_use]
pub fn began(pid: u32) -> Option<u64> {
    fields(pid)?.get(19)?.parse().ok()
}

/// Whether the process of this number that began then lives.
#[must_use]
pub fn life(pid: u32, began_at: u64) -> Life {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Life::Alive;
    };
    // Where `/proc` hides the processes of others (hidepid), only a signal tells.
    if rustix::process::test_kill_process(number) == Err(Errno::SRCH) {
        return Life::Dead;
    }
    match fields(pid) {
        Some(fields) if is_over(&fields) => Life::Dead,
        Some(fields) if fields.get(19).and_then(|at| at.parse().ok()) != Some(began_at) => {
            Life::Dead
        }
        _ => Life::Alive,
    }
}

/// A process that has ended and was not reaped.
fn is_over(fields: &[String]) -> bool {
    fields.first().is_some_and(|state| ["Z", "X", "x"].contains(&state.as_str()))
}

/// The parent of a process.
#[must_use]
pub fn parent(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// What `/proc/PID/stat` tells after the name, which may hold anything.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_given_to_another_process_is_not_taken_for_the_one_before() {
        let me = std::process::id();
        let since = began(me).expect("we are here");
        assert_eq!(life(me, since), Life::Alive);
        assert_eq!(life(me, since - 1), Life::Dead);
    }

    #[test]
    fn who_is_killed_is_dead_and_who_is_stopped_is_alive() {
        let mut child =
            std::process::Command::new("sleep").arg("600").spawn().expect("sleep starts");
        let (pid, since) = (child.id(), began(child.id()).expect("it is there"));
        let number = Pid::from_child(&child);
        rustix::process::kill_process(number, rustix::process::Signal::STOP).expect("it is ours");
        assert_eq!(life(pid, since), Life::Alive);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert_eq!(life(pid, since), Life::Dead);
        assert_eq!(began(pid), None);
    }

    #[test]
    fn the_clock_goes_on() {
        let before = uptime();
        assert!(before > Duration::ZERO && uptime() >= before);
        assert_eq!(Machine::here().expect("it can be asked"), Machine::here().expect("again"));
    }
}
