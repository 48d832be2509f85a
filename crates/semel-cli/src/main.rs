//! The semel command.

mod args;
mod contained;
mod exit;
mod file;
mod help;
mod keeper;
mod place;
mod scripts;
mod show;
mod verb;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::SIGXFSZ;

fn main() -> ExitCode {
    if let Some(code) = keeper::serve() {
        return code;
    }
    if let Some(code) = contained::serve() {
        return code;
    }
    // A file that may grow no further (`ulimit -f`) is then an error of the write, which
    // is told, and no death. Since the signal has a handler, and is not ignored, the
    // commands that we start have the system's own way with it back. Where it cannot be
    // had, things stay as the system has them.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let arguments = match args::parse(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    keeper::appoint(arguments.session());
    verb::perform(&arguments).into()
}
