//! The lease, and what dead runs left, before a run begins; and waiting for those who
//! are at work already: another run of the same instance, or a command that outlived
//! its run.
//!
//! Invariant: whoever waits holds nothing but what they have, and a signal ends the
//! wait.

use std::time::{Duration, Instant};

use crossbeam_channel::RecvTimeoutError;
use jiff::Timestamp;

use super::{CannotBegin, Part, Preparation, Setting, Signals};
use crate::deed::at_work::AtWork;
use crate::deed::lease::{DYING, Lease, LeaseError, TaskLease};
use crate::deed::recover::{Here, RecoverError, Recovery, recover};
use crate::ground::manifest::Manifest;
use crate::ground::world::disk::DiskError;
use crate::words::event::Event;

/// How long between two tries: nobody says when they are through.
pub(super) const BETWEEN: Duration = Duration::from_millis(50);

/// As [`BETWEEN`], where the other one is only about to let go.
const SHORTLY: Duration = Duration::from_millis(5);

/// Somebody who waits.
pub(super) struct Waiting<'a> {
    /// For how long at most; without it, not at all.
    limit: Option<Duration>,
    began: Instant,
    signals: &'a Signals,
    /// This machine.
    host: &'a str,
    /// Whether it was said for whom.
    has_told: bool,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(limit: Option<Duration>, signals: &'a Signals, host: &'a str) -> Self {
        Self { limit, began: Instant::now(), signals, host, has_told: false }
    }

    /// Takes a lease as soon as it can be had. A holder who is already dying is given a
    /// while in any case.
    ///
    /// # Errors
    /// If it cannot be had in time.
    pub(super) fn lease<T>(
        &mut self,
        take: impl Fn() -> Result<T, LeaseError>,
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<T, CannotBegin> {
        loop {
            let holder = match take() {
                Err(LeaseError::Busy(holder)) => holder,
                taken => return Ok(taken?),
            };
            if let Some(holder) = &holder
                && self.began.elapsed() < DYING
                && holder.is_dying(self.host)
            {
                self.pause(SHORTLY)?;
                continue;
            }
            if !self.is_patient() {
                return Err(CannotBegin::Busy(holder));
            }
            if let (Some(holder), false) = (&holder, self.has_told) {
                self.tell(&holder.to_string(), holder.since, tell);
            }
            self.pause(BETWEEN)?;
        }
    }

    /// Waits for one of these commands to end, if there are any; says whether one did.
    ///
    /// # Errors
    /// If a signal came, or nobody can say whether they are at work.
    pub(super) fn one_of(
        &mut self,
        orphans: &[&AtWork],
        tell: &mut dyn FnMut(&Event<'_>),
    ) -> Result<bool, CannotBegin> {
        let Some(first) = orphans.first() else {
            return Ok(false);
        };
        while self.is_patient() {
            if !self.has_told {
                let who =
                    format!("the command of {}, which outlived run {}", first.task, first.run);
                self.tell(&who, first.since, tell);
            }
            for orphan in orphans {
                let failed =
                    |source| DiskError { doing: "look at", path: orphan.lock().to_owned(), source };
                if !orphan.is_still().map_err(failed)? {
                    return Ok(true);
                }
            }
            self.pause(BETWEEN)?;
        }
        Ok(false)
    }

    fn is_patient(&self) -> bool {
        self.limit.is_some_and(|limit| self.began.elapsed() < limit)
    }

    fn tell(&mut self, who: &str, since: Timestamp, tell: &mut dyn FnMut(&Event<'_>)) {
        self.has_told = true;
        tell(&Event::Waits { who, since });
    }

    fn pause(&self, pause: Duration) -> Result<(), CannotBegin> {
        match self.signals.0.recv_timeout(pause) {
            Ok(signal) => Err(CannotBegin::Stopped(signal)),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            // Nobody can send one.
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(pause);
                Ok(())
            }
        }
    }
}

/// The lease of this process's own, while it lives.
pub(super) enum Own {
    /// Of the pipeline's instance.
    Whole(#[expect(dead_code, reason = "it is held")] Lease),
    /// Of a task.
    Task(#[expect(dead_code, reason = "it is held")] TaskLease),
}

impl Preparation<'_> {
    /// Takes the lease of the pipeline's instance, or of the task that this is about.
    pub(super) fn take_lease(
        &self,
        waiting: &mut Waiting<'_>,
        report: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Own, CannotBegin> {
        let lock = self.leases().pop().expect("there is one of its own");
        let holder = self.holder();
        match self.part.task() {
            None => waiting.lease(|| Lease::take(&lock, &holder), report).map(Own::Whole),
            Some(_) => waiting.lease(|| TaskLease::take(&lock, &holder), report).map(Own::Task),
        }
    }

    /// Cleans up after dead runs; waits for their commands that are still at work, if
    /// it may.
    pub(super) fn recover(
        &self,
        manifest: &mut dyn Manifest,
        waiting: &mut Waiting<'_>,
        report: &mut dyn FnMut(&Event<'_>),
    ) -> Result<Recovery, CannotBegin> {
        let mut cleaned = Vec::new();
        loop {
            let recovered = self.recover_once(manifest);
            let recovered = recovered.map_err(|error| self.not_recovered(error))?;
            cleaned.extend(recovered.cleaned);
            let (orphans, unsettled) = (recovered.orphans, recovered.unsettled);
            let ours: Vec<_> = orphans.iter().filter(|orphan| self.concerns(orphan)).collect();
            if !waiting.one_of(&ours, report)? {
                return Ok(Recovery { cleaned, orphans, unsettled });
            }
        }
    }

    /// Cleans up after dead runs, as they are now.
    pub(super) fn recover_once(
        &self,
        manifest: &mut dyn Manifest,
    ) -> Result<Recovery, RecoverError> {
        let Setting { pipeline, params, disk, .. } = *self.setting;
        let knows_all = matches!(self.part, Part::Whole);
        let own = if self.worker.place > 0 { self.worker.run_id.as_str() } else { "" };
        let here = Here { pipeline, params, leases: &self.leases(), own, knows_all };
        recover(disk, self.home, manifest, &here)
    }

    /// Whether an attempt is one at a task of this run.
    fn concerns(&self, attempt: &AtWork) -> bool {
        let Setting { pipeline, params, .. } = *self.setting;
        let id = pipeline.step_named(&attempt.task.step);
        let instance = id.map(|id| params.instance(&pipeline.step(id).per));
        attempt.pipeline == pipeline.name
            && instance.as_ref() == Some(&attempt.task.instance)
            && self.part.task().is_none_or(|part| attempt.task == *part.task)
    }
}
