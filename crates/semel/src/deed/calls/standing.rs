//! Where calls stand, for those who look: one in flight whose sender is dead is unknown,
//! before that is written down.

use std::io;

use crate::deed::lease;
use crate::ground::home::Home;
use crate::ground::manifest::ManifestResult;
use crate::ground::manifest::calls::{Calls, SumOf};
use crate::words::call::{CallState, Sums};
use crate::words::task::TaskName;

/// Those who have calls in flight, and are dead.
///
/// # Errors
/// If the journal cannot be read.
pub fn dead_senders(home: &Home, calls: &dyn Calls) -> ManifestResult<Vec<String>> {
    let mut senders = calls.senders()?;
    senders.retain(|sender| !is_alive(home, sender));
    Ok(senders)
}

/// Whether a process that sends is alive. In doubt it is: what it has in flight is not touched
/// then.
pub(super) fn is_alive(home: &Home, sender: &str) -> bool {
    lease::is_held(&home.sender_lock(sender)).unwrap_or(true)
}

/// Whether a process that sends is alive. Whoever relies on that there is none holds their
/// gate.
///
/// # Errors
/// If their folders cannot be read.
pub fn is_anybody_sending(home: &Home) -> io::Result<bool> {
    let entries = match std::fs::read_dir(home.calls()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_alive(home, &entry.file_name().to_string_lossy()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What the calls of a pipeline came to, or of one of its tasks; of those that are meant.
///
/// # Errors
/// If the journal cannot be read.
pub fn sums(
    home: &Home,
    calls: &dyn Calls,
    pipeline: &str,
    task: Option<&TaskName>,
    is_meant: impl Fn(&SumOf) -> bool,
) -> ManifestResult<Sums> {
    let mut sums = Sums::default();
    if !calls.is_there()? {
        return Ok(sums);
    }
    let dead = dead_senders(home, calls)?;
    for of in calls.sums(pipeline, task)?.iter().filter(|of| is_meant(of)) {
        let is_lost = of.state == CallState::InFlight && dead.contains(&of.sender);
        let state = if is_lost { CallState::Unknown } else { of.state };
        sums.add(state, of.calls, of.cost.as_ref());
    }
    Ok(sums)
}
