//! Waiting for a server no longer than a watch allows.
//!
//! Invariant: while anything is waited for the watch is looked at every [`LOOK`].

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::ground::database::{DbError, DbResult, ErrorKind, Watch};

/// How often the watch is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Why the watch says stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Stopped,
    TimedOut,
}

impl From<End> for DbError {
    fn from(end: End) -> Self {
        match end {
            End::Stopped => Self::new(ErrorKind::Stopped, "it was stopped"),
            End::TimedOut => Self::new(ErrorKind::TimedOut, "it took too long"),
        }
    }
}

/// What the watch says.
pub(super) fn end(watch: &Watch) -> Option<End> {
    if watch.stop.is_pulled() {
        Some(End::Stopped)
    } else if watch.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        Some(End::TimedOut)
    } else {
        None
    }
}

/// How waiting ended.
pub(super) enum Wait<T> {
    /// In time.
    Done(T),
    /// After the watch said stop.
    Late(End, T),
    /// Not at all.
    Never(End),
}

/// Drives what is asynchronous on the thread that waits for it.
pub(super) struct Waiter {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    watch: Arc<Watch>,
}

impl Waiter {
    pub(super) fn new(watch: Watch) -> DbResult<Self> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| {
            let text = format!("cannot wait for it: {error}");
            DbError::new(ErrorKind::Unreachable, text)
        })?;
        Ok(Self { runtime: Some(runtime), watch: Arc::new(watch) })
    }

    /// From now on this ends the waiting.
    pub(super) fn set_watch(&mut self, watch: Watch) {
        self.watch = Arc::new(watch);
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// What the watch says.
    pub(super) fn end(&self) -> Option<End> {
        end(&self.watch)
    }

    /// How long it allows, where it has a deadline.
    pub(super) fn remaining(&self) -> Option<Duration> {
        Some(self.watch.deadline?.saturating_duration_since(Instant::now()))
    }

    /// Waits for `work`. Once the watch says stop, `last` is done beside it, and then
    /// `work` is given up.
    pub(super) fn run<T>(
        &self,
        work: impl Future<Output = T>,
        last: impl Future<Output = ()>,
    ) -> Wait<T> {
        self.runtime().block_on(async {
            let mut work = pin!(work);
            let said = async {
                loop {
                    match self.end() {
                        Some(end) => break end,
                        None => sleep(LOOK).await,
                    }
                }
            };
            let end = match select(work.as_mut(), pin!(said)).await {
                Either::Left((result, _)) => return Wait::Done(result),
                Either::Right((end, _)) => end,
            };
            match select(work, pin!(last)).await {
                Either::Left((result, _)) => Wait::Late(end, result),
                Either::Right(((), _)) => Wait::Never(end),
            }
        })
    }

    /// Waits for `work`, for as long at most, whatever the watch says.
    pub(super) fn run_for<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        self.runtime().block_on(async { timeout(limit, work).await.ok() })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken only when it is dropped")
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // A name that is being looked up cannot be cancelled; it is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
