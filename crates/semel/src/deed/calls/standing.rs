//! Where calls stand, for those who look: one in flight whose sender is dead is unknown,
//! before that is written down.

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
