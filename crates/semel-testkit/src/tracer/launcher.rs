//! The process that becomes the traced command: it lets itself be traced, waits for
//! the tracer, installs the filter, and goes on as the command.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::call::{CALLS, CREATES, FICLONE, FICLONERANGE, Only, TRUNCATES, WRITES};

/// The variable by which it knows that it is the launcher: the command's words, each
/// ended by a unit separator.
const WORDS: &str = "SEMEL_TRACED_WORDS";

const SEPARATOR: u8 = 0x1f;

/// The exit status of a launcher that could not become the command.
pub(super) const IN_VAIN: i32 = 97;

/// By what a launcher that may not be traced begins to say so.
pub(super) const FORBIDDEN: &str = "not allowed: ";

/// The launcher of a command, not yet started. The test harness writes to standard
/// output before it comes to us, so that the command's is handed over as the
/// launcher's standard input.
pub(super) fn of(command: &Command, stdout: Stdio, stderr: Stdio) -> Command {
    let words: Vec<u8> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .flat_map(|word| word.as_bytes().iter().copied().chain([SEPARATOR]))
        .collect();
    let own = std::env::current_exe().expect("a test knows its own binary");
    let mut launcher = Command::new(own);
    launcher
        .args(["launcher", "--exact", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(WORDS, OsString::from_vec(words))
        .stdin(stdout)
        .stdout(Stdio::null())
        .stderr(stderr);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            launcher.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        launcher.current_dir(folder);
    }
    launcher
}

/// Becomes the command, where there is one to become.
pub(super) fn launch() {
    let Some(words) = std::env::var_os(WORDS) else {
        return;
    };
    let error = become_command(&words);
    // The harness would say more than that.
    let _ = rustix::io::write(rustix::stdio::stderr(), error.as_bytes());
    std::process::exit(IN_VAIN);
}

fn become_command(words: &OsStr) -> String {
    match make_ready() {
        Ok(()) => {}
        Err(error) => return format!("{FORBIDDEN}{error}"),
    }
    let mut words = words
        .as_bytes()
        .strip_suffix(&[SEPARATOR])
        .unwrap_or_default()
        .split(|byte| *byte == SEPARATOR);
    let program = OsStr::from_bytes(words.next().unwrap_or_default());
    let mut command = Command::new(program);
    command.args(words.map(OsStr::from_bytes)).env_remove(WORDS).stdin(Stdio::null());
    format!("{} cannot be started: {}", program.display(), command.exec())
}

fn make_ready() -> Result<(), String> {
    rustix::stdio::dup2_stdout(rustix::stdio::stdin()).map_err(|error| error.to_string())?;
    nix::sys::ptrace::traceme().map_err(|error| format!("ptrace: {error}"))?;
    // Here the tracer says how it wants to trace.
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP)
        .map_err(|error| format!("a stop: {error}"))?;
    let filter = filter().map_err(|error| error.to_string())?;
    seccompiler::apply_filter(&filter).map_err(|error| format!("seccomp: {error}"))
}

/// Stops a process at the calls of the table, and lets all others pass.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let has = |argument: usize, mask: u64| {
        let argument = u8::try_from(argument).expect("a call has six arguments");
        let is = SeccompCmpOp::MaskedEq(mask);
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, mask)?])
    };
    let equals = |argument: u8, value: u64| {
        let is = SeccompCmpOp::Eq;
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value)?])
    };
    let mut rules = BTreeMap::new();
    for (number, .., only) in CALLS {
        let conditions = match *only {
            Only::All => Ok(Vec::new()),
            Only::Opening(flags) => WRITES
                .into_iter()
                .chain([CREATES, TRUNCATES])
                .map(|mask| has(flags, mask))
                .collect::<Result<_, _>>(),
            Only::Cloning => {
                [FICLONE, FICLONERANGE].map(|value| equals(1, value)).into_iter().collect()
            }
        };
        rules.insert(*number, conditions?);
    }
    let (passes, stops) = (SeccompAction::Allow, SeccompAction::Trace(0));
    SeccompFilter::new(rules, passes, stops, TargetArch::x86_64)?.try_into()
}

/// Why a launcher did not become the command.
pub(super) fn why_in_vain(stderr: &str) -> Result<String, io::Error> {
    match stderr.split_once(FORBIDDEN) {
        Some((_, why)) => Ok(why.trim().to_owned()),
        None => Err(io::Error::other(stderr.to_owned())),
    }
}
