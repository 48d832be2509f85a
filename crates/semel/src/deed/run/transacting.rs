//! An act whose effect is rows: a script or a load is done, or what is there is adopted.

use jiff::Timestamp;

use super::acting::Act;
use super::worker::{FailedAct, WhyNot};
use crate::deed::act::Job;
use crate::deed::record::Completion;
use crate::deed::transaction::{self, Committed, Wrong};
use crate::words::receipt::{Attempt, AttemptEnd, Ending, Failure, LogRange, Origin};
use crate::words::verdict::Reason;

impl Act<'_, '_> {
    /// Does the transaction.
    pub(super) fn transact(&self) -> Option<FailedAct> {
        let job = self.job();
        let began = self.attempt(&job);
        let mut permit = match self.admit() {
            Ok(permit) => permit,
            Err(failed) => return Some(failed),
        };
        // A transaction that was not committed left nothing, so that only what is unsafe to
        // repeat needs to be known to have begun.
        if job.view.step.once {
            if let Err(why) = self.recorder.intend(began.clone(), self.said()) {
                self.give_back(&mut permit);
                let why = WhyNot::Failed { failure: Failure::Broken(why), provably_undone: true };
                return Some(self.failed(why, Vec::new()));
            }
        } else {
            self.recorder.begin(began.clone(), self.said());
        }
        let said_redo = self.verdict.reason == Reason::SaidRedo;
        let done = transaction::act(self.workshop(), &job, self.shop.run, said_redo, self.stop());
        self.give_back(&mut permit);
        let end = |ending, provably_undone| AttemptEnd {
            ending,
            provably_undone,
            ended: Timestamp::now(),
            log: LogRange::default(),
        };
        let (why, ended) = match done {
            Ok(committed) => {
                let attempt = Some((began, end(Ending::Done, false)));
                self.record_rows(&job, &committed, Origin::Ran, attempt);
                return None;
            }
            Err(Wrong::Failed(failure)) => {
                let ended = end(Ending::Failed(failure.clone()), true);
                (WhyNot::Failed { failure, provably_undone: true }, ended)
            }
            Err(Wrong::Unsettled(failure)) => {
                let ended = end(Ending::Failed(failure.clone()), false);
                (WhyNot::Failed { failure, provably_undone: false }, ended)
            }
            Err(Wrong::Void(input)) => (WhyNot::Void(input), end(Ending::Void, true)),
            Err(Wrong::Stopped) => (WhyNot::Stopped, end(Ending::Interrupted, true)),
        };
        self.recorder.end(began, ended, self.said());
        Some(self.failed(why, Vec::new()))
    }

    /// Accepts rows that are there; they are stamped where they have no stamp.
    pub(super) fn adopt_rows(&self) -> Option<FailedAct> {
        let job = self.job();
        let settled = self.verdict.reason == Reason::SaidDone;
        let origin = if settled { Origin::Settled } else { Origin::Adopted };
        match transaction::accept(self.workshop(), &job, self.shop.run, self.stop()) {
            Ok(committed) => {
                self.record_rows(&job, &committed, origin, None);
                None
            }
            Err(failure) => {
                let why = WhyNot::Failed { failure, provably_undone: true };
                Some(self.failed(why, Vec::new()))
            }
        }
    }

    /// The rows of another item of the same content are its own, too.
    pub(super) fn reuse_rows(&self) -> Option<FailedAct> {
        let job = self.job();
        let shared = transaction::share(self.workshop(), &job, self.shop.run, self.stop());
        let committed = match shared {
            Ok(Some(committed)) => committed,
            Ok(None) => return Some(self.failed(WhyNot::TwinChanged, Vec::new())),
            Err(failure) => {
                let why = WhyNot::Failed { failure, provably_undone: true };
                return Some(self.failed(why, Vec::new()));
            }
        };
        self.record_rows(&job, &committed, Origin::Reused, None);
        None
    }

    fn record_rows(
        &self,
        job: &Job<'_>,
        committed: &Committed,
        origin: Origin,
        attempt: Option<(Attempt, AttemptEnd)>,
    ) {
        let rows = committed.rows();
        let mut made = self.made(std::slice::from_ref(rows), Some(committed.took()));
        // Of rows that were there before nothing is new, and most scripts change none.
        if origin != Origin::Ran || rows.name.is_empty() && made.rows == Some(0) {
            made.rows = None;
        }
        let completion = Completion::rows(&self.particulars(job), committed, origin, attempt);
        self.record(completion, Vec::new(), made, Vec::new());
    }
}
