//! `semel __contained`: what semel puts before a command that it contains; nobody types
//! it.
//!
//! Invariant: this process has one thread, and has done nothing, when it leaves the
//! network of all.

use std::io::Write;
use std::process::ExitCode;

use semel::ground::world::contain::{self, Failed};

/// The status of a command that was not started.
const NOT_STARTED: u8 = 125;

/// The life of what stands before a contained command, if that is what this process
/// was started for. It ends here only if there is no command.
pub(crate) fn serve() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != contain::VERB {
        return None;
    }
    let words: Vec<_> = words.collect();
    Some(match contain::serve(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Told) => NOT_STARTED.into(),
        Err(Failed::Untold(why)) => {
            // Whoever started us reads it, or nobody does.
            let _ = writeln!(std::io::stderr(), "{why}");
            NOT_STARTED.into()
        }
    })
}
