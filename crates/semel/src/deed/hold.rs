//! Holding an instance of a pipeline without running it: its own lease, and those of
//! the steps that runs of several instances share.
//!
//! Invariant: *I4*, as for a run; all of them at once, or none.

use jiff::Timestamp;

use crate::deed::lease::{Holder, Lease, LeaseError};
use crate::deed::mask_all;
use crate::deed::run::Setting;
use crate::ground::home::Home;

/// Who holds a lease that is taken now.
#[must_use]
pub fn holder_of(setting: &Setting<'_>) -> Holder {
    let by = setting.by;
    Holder {
        host: by.host.clone(),
        user: by.user.clone(),
        pid: by.pid,
        command: mask_all(setting.pipeline, setting.env).text(setting.command).into_owned(),
        since: Timestamp::now(),
    }
}

/// Takes all leases by which nobody else works on this instance.
///
/// # Errors
/// If somebody does, or a lock file cannot be used.
pub(super) fn hold(setting: &Setting<'_>, home: &Home) -> Result<Vec<Lease>, LeaseError> {
    let (pipeline, params) = (setting.pipeline, setting.params);
    let whole = home.lock(&pipeline.name, params.instance(&pipeline.per).as_str());
    let shared = pipeline.steps.iter().filter(|step| step.per != pipeline.per).map(|step| {
        home.step_lock(&pipeline.name, &step.name, params.instance(&step.per).as_str())
    });
    let holder = holder_of(setting);
    [whole].into_iter().chain(shared).map(|lock| Lease::take(&lock, &holder)).collect()
}
