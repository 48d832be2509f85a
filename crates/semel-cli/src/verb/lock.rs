//! `semel lock`: a command runs while a lock is held.
//!
//! Invariant: *I4* one at a time. The lock is the kernel's: it is free once semel and the
//! command are dead, and no sooner. The command inherits it, so that it holds the lock
//! where semel and the command's keeper are killed in one moment; when the command ends,
//! the lock is given up for all that it left behind.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use semel::deed::lease::{DYING, Holder, Lease, LeaseError};
use semel::ground::home::Home;
use semel::ground::world::process::{End, Input, Order, Stop, Stream, Streams, start};

use crate::args;
use crate::exit::Exit;
use crate::place::whoever_we_are;
use crate::show::busy::{Busy, Kind};
use crate::show::fail::Failed;
use crate::verb::step::home_of;

/// How long between two tries.
const BETWEEN: Duration = Duration::from_millis(20);

pub(crate) fn lock(options: &args::Lock) -> Exit {
    hold(options).unwrap_or_else(|failed| failed.tell_of_prefix())
}

fn hold(options: &args::Lock) -> Result<Exit, Failed> {
    if options.name.is_empty() {
        return Err(Failed::Usage("the lock's name is empty".to_owned()));
    }
    let here = std::env::current_dir()
        .map_err(|error| Failed::Broken(format!("there is no folder here: {error}")))?;
    let home = Home::in_folder(&home_of(&here)?);
    let by = whoever_we_are();
    let program = options.command.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let holder = Holder {
        host: by.host.clone(),
        user: by.user,
        pid: by.pid,
        command: format!("semel lock {} -- {program}", options.name),
        since: Timestamp::now(),
    };
    let (path, began) = (home.named_lock(&options.name), Instant::now());
    let stop = stop_on_signal()?;
    let lease = loop {
        match Lease::take(&path, &holder) {
            Ok(lease) => break lease,
            Err(LeaseError::Busy(holder)) => {
                let is_dying = holder.as_ref().is_some_and(|holder| holder.is_dying(&by.host));
                let patience = if is_dying { DYING } else { Duration::ZERO };
                if began.elapsed() >= options.wait.unwrap_or_default().max(patience) {
                    let (pipeline, doing) = (options.name.clone(), Vec::new());
                    return Err(Failed::Busy(Busy { pipeline, holder, doing, kind: Kind::Lock }));
                }
            }
            Err(error) => return Err(Failed::Broken(error.to_string())),
        }
        stop.wait(BETWEEN);
        if stop.is_pulled() {
            return Err(Failed::Stopped(2));
        }
    };
    let exit = run(&options.command, Some(&lease), None, &stop)?;
    lease.give_up();
    Ok(exit)
}

/// A switch that is pulled by the first signal that ends processes.
pub(crate) fn stop_on_signal() -> Result<std::sync::Arc<Stop>, Failed> {
    let broken = |error: std::io::Error| Failed::Broken(format!("no signal can be heard: {error}"));
    let stop = std::sync::Arc::new(Stop::new().map_err(broken)?);
    let (sender, signals) = semel::deed::run::signals();
    crate::verb::run::listen(sender).map_err(broken)?;
    let pulls = std::sync::Arc::clone(&stop);
    std::thread::spawn(move || {
        if signals.wait().is_some() {
            // A switch that cannot be pulled leaves the command to its own end.
            let _ = pulls.pull();
        }
    });
    Ok(stop)
}

/// Runs a command with our standard streams, or with its output in a file; gives its exit
/// status.
pub(crate) fn run(
    words: &[OsString],
    lease: Option<&Lease>,
    output: Option<&std::fs::File>,
    stop: &Stop,
) -> Result<Exit, Failed> {
    let folder = std::env::current_dir()
        .map_err(|error| Failed::Broken(format!("there is no folder here: {error}")))?;
    let (input, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let output = output.map_or_else(|| stdout.as_fd(), AsFd::as_fd);
    let order = Order {
        words,
        folder: &folder,
        env: &[],
        streams: Streams::Apart,
        input: Input::From(input.as_fd()),
        output: Some(output),
        lock: lease.map(AsFd::as_fd),
    };
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let running = match start(&order) {
        Ok(running) => running,
        Err(error) => {
            let status = match error.kind() {
                std::io::ErrorKind::NotFound => 127,
                _ => 126,
            };
            let _ =
                writeln!(anstream::stderr(), "semel: `{program}` could not be started: {error}");
            return Ok(Exit(status));
        }
    };
    let end = running.wait(None, stop, |stream, bytes| {
        if stream == Stream::Error {
            // Whoever does not listen any more is told by the exit status.
            let _ = stderr.lock().write_all(bytes);
        }
    });
    match end {
        Ok(End::Exited(status)) => Ok(Exit(status)),
        Ok(End::Signalled(signal)) => Ok(Exit(128 + signal)),
        Ok(End::Stopped | End::TimedOut) => Ok(Exit(128 + 2)),
        Err(error) => Err(Failed::Broken(format!("the command cannot be waited for: {error}"))),
    }
}
