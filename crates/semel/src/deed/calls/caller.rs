//! Callers: an attempt of a task whose calls are guarded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::OnceCell;

use super::journal::{Journal, Refusal, Wanted};
use super::line::{DOUBT, Line};
use crate::ground::manifest::calls::{Token, Which};
use crate::thought::call::drift::{LIMIT, NearMiss, Recorded};
use crate::thought::call::terms::Rules;
use crate::words::call::{CallRecord, CallState, Money, Scope};

/// How new calls are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewCalls {
    /// They are sent, unless they look like calls that are paid already.
    #[default]
    Watched,
    /// They are new, whatever they look like.
    Welcome,
    /// None is sent.
    Refused,
}

/// Who makes calls.
#[derive(Clone, Debug)]
pub struct Calling {
    /// Whose calls they are.
    pub scope: Scope,
    /// The attempt: within it an answer is given once.
    pub attempt: String,
    /// The id of the run, for budgets.
    pub run_id: String,
    /// The lease under which calls are started.
    pub token: Option<Token>,
    /// How new calls are taken.
    pub new_calls: NewCalls,
    /// Whether nothing was ever lost from the memory.
    pub memory_is_whole: bool,
}

/// Whether a request waits before it is taken for a call of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Yes,
    No,
}

/// An attempt whose calls are guarded.
pub(super) struct Caller {
    pub(super) calling: Calling,
    pub(super) rules: Arc<Rules>,
    /// What it says to the proxy that it is.
    pub(super) secret: String,
    tally: Mutex<Tally>,
    answered: Mutex<HashMap<i64, (Instant, Arc<Line>)>>,
    drift: Mutex<Drift>,
    /// Whether it is over: nothing more is begun for it.
    pub(super) is_over: AtomicBool,
    /// Exchanges that have not ended.
    pub(super) busy: tokio::sync::watch::Sender<usize>,
}

/// What an attempt's calls came to.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls that were sent.
    pub sent: u64,
    /// Calls that were answered from the journal.
    pub replayed: u64,
    /// How many of these would have been sent but for the journal, and are no reads.
    pub replayed_unsafe: u64,
    /// Requests that were not sent, by why.
    pub refused: BTreeMap<&'static str, u64>,
    /// The calls that are unknown.
    pub unknown: BTreeMap<i64, Unknown>,
    /// Requests that passed without a guard: a rule says so, or it is no HTTP.
    pub passed: BTreeMap<String, u64>,
    /// What was spent, by unit.
    pub spent: BTreeMap<String, i64>,
    /// What was not paid again, by unit.
    pub saved: BTreeMap<String, i64>,
    /// When the oldest answer that was replayed was recorded.
    pub oldest: Option<jiff::Timestamp>,
    /// What drifted.
    pub near_misses: Vec<(String, NearMiss)>,
    /// What semel itself could not do.
    pub broken: Option<String>,
    /// The rules of the file that were for a call.
    pub rules: BTreeSet<usize>,
    /// Connections that went round the proxy.
    pub bypasses: Vec<String>,
    /// What could not be seen, read or waited for.
    pub notes: BTreeSet<String>,
}

/// A call that is unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The method and the URL.
    pub what: String,
    /// Why nobody knows.
    pub why: String,
    /// What it may have cost.
    pub price: Option<Money>,
}

impl From<&CallRecord> for Unknown {
    fn from(call: &CallRecord) -> Self {
        Self {
            what: format!("{} {}", call.asked.method, call.asked.url),
            why: call.reason.clone().unwrap_or_default(),
            price: call.price.clone(),
        }
    }
}

impl Tally {
    /// Whether calls were made at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == 0
            && self.replayed == 0
            && self.refused.is_empty()
            && self.unknown.is_empty()
            && self.broken.is_none()
            && self.bypasses.is_empty()
    }

    /// Whether a human must settle something before the task can be done.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.unknown.is_empty() || !self.refused.is_empty()
    }

    /// Adds what another attempt's calls came to.
    pub fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.replayed += other.replayed;
        self.replayed_unsafe += other.replayed_unsafe;
        for (why, count) in other.refused {
            *self.refused.entry(why).or_default() += count;
        }
        self.unknown.extend(other.unknown);
        for (what, count) in other.passed {
            *self.passed.entry(what).or_default() += count;
        }
        for (unit, nanos) in other.spent {
            *self.spent.entry(unit).or_default() += nanos;
        }
        for (unit, nanos) in other.saved {
            *self.saved.entry(unit).or_default() += nanos;
        }
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
        self.near_misses.extend(other.near_misses);
        self.broken = self.broken.take().or(other.broken);
        self.rules.extend(other.rules);
        self.bypasses.extend(other.bypasses);
        self.notes.extend(other.notes);
    }
}

/// What is known of recorded calls, to notice drift.
#[derive(Default)]
struct Drift {
    /// By method and place.
    recorded: Arc<OnceCell<HashMap<String, Recorded>>>,
    hits: u64,
    misses: usize,
}

impl Caller {
    pub(super) fn new(calling: Calling, rules: Arc<Rules>, secret: String) -> Self {
        Self {
            calling,
            rules,
            secret,
            tally: Mutex::default(),
            answered: Mutex::default(),
            drift: Mutex::default(),
            is_over: AtomicBool::new(false),
            busy: tokio::sync::watch::channel(0).0,
        }
    }

    pub(super) const fn token(&self) -> Option<&Token> {
        self.calling.token.as_ref()
    }

    /// What its calls came to so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, Tally> {
        // Counts are put in whole.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<i64, (Instant, Arc<Line>)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drift(&self) -> MutexGuard<'_, Drift> {
        self.drift.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client has the whole answer of a call, as far as can be seen. Its end was passed on
    /// at this time.
    pub(super) fn has_answered(&self, id: i64, at: Instant, line: &Arc<Line>) {
        self.answered().insert(id, (at, Arc::clone(line)));
    }

    /// What became of a call is known now, unless this state says the contrary.
    pub(super) fn settles(&self, id: i64, state: CallState) {
        if state != CallState::Unknown {
            self.tally().unknown.remove(&id);
        }
    }

    /// Whether a client has the whole answer of a call.
    pub(super) fn has_answer_of(&self, id: i64) -> bool {
        let answered = self.answered();
        // One that is gone, and may not have heard, has not: its retry hears it then, and
        // nothing is paid for.
        answered.get(&id).is_some_and(|(at, line)| {
            !line.is_deserted() && !line.was_reset.load(Ordering::Acquire) && !line.doubts(*at)
        })
    }

    /// Whether a client that had the answer of one of these has gone, and it is about to be
    /// seen whether it heard all.
    pub(super) fn is_in_doubt(&self, mut ids: impl Iterator<Item = i64>) -> bool {
        let answered = self.answered();
        ids.any(|id| answered.get(&id).is_some_and(|(_, line)| line.is_deserted()))
    }

    /// Whether one of these was answered only just now, on a line that may still turn out to
    /// have been hung up on, or on which that answer may still be given up: a client that did
    /// so in that moment tries again.
    pub(super) fn just_answered(&self, ids: impl Iterator<Item = i64>, line: &Arc<Line>) -> Hold {
        let answered = self.answered();
        let is_doubtful = |id: i64| {
            answered.get(&id).is_some_and(|(at, heard)| {
                // Whoever asks again on a line for one at a time has heard what came before.
                let is_heard = Arc::ptr_eq(heard, line) && !line.is_many;
                at.elapsed() < DOUBT && !is_heard && !heard.is_over.load(Ordering::Acquire)
            })
        };
        if ids.into_iter().any(is_doubtful) { Hold::Yes } else { Hold::No }
    }

    /// Why a new call, or one that is sent again, is not sent.
    pub(super) fn refuses(&self, wanted: &Wanted, is_new: bool) -> Option<Refusal> {
        if !is_new || wanted.permit.asked.is_read {
            return None;
        }
        match self.calling.new_calls {
            NewCalls::Welcome => return None,
            NewCalls::Refused => return Some(Refusal::New),
            NewCalls::Watched => {}
        }
        if !self.calling.memory_is_whole {
            return Some(Refusal::Forgotten);
        }
        let mut drift = self.drift();
        if drift.hits > 0 {
            return None;
        }
        if let Some(miss) = &wanted.near_miss {
            drift.misses += 1;
            return Some(Refusal::NearMiss(miss.clone()));
        }
        (drift.misses >= LIMIT).then_some(Refusal::Drifted)
    }

    /// What is recorded, by method and place. It is read once, however many come at the same
    /// time.
    pub(super) fn recorded(&self) -> Arc<OnceCell<HashMap<String, Recorded>>> {
        Arc::clone(&self.drift().recorded)
    }

    /// A recorded call was asked for again.
    pub(super) fn has_hit(&self) {
        self.drift().hits += 1;
    }

    /// A client has the whole recorded answer of a call, as far as can be seen.
    pub(super) fn has_replayed(&self, call: &CallRecord, line: &Arc<Line>) {
        self.has_answered(call.id, Instant::now(), line);
        let mut tally = self.tally();
        tally.replayed += 1;
        if !call.asked.is_read {
            tally.replayed_unsafe += 1;
        }
        if let Some(price) = &call.price {
            *tally.saved.entry(price.unit.clone()).or_default() += price.nanos;
        }
        tally.oldest = [tally.oldest, call.ended].into_iter().flatten().min();
    }

    /// The calls of its own scope of which nobody knows what became of them.
    pub(super) async fn left_unknown(
        &self,
        journal: &Journal,
    ) -> Result<Vec<(i64, Unknown)>, String> {
        let scope = &self.calling.scope;
        let which = Which { states: vec![CallState::Unknown], ..Which::of(scope) };
        let is_left =
            |call: &CallRecord| call.scope == *scope && !call.is_retired && !call.asked.is_read;
        let found = journal.find(which).await?;
        Ok(found.iter().filter(|call| is_left(call)).map(|call| (call.id, call.into())).collect())
    }

    /// An exchange begins.
    pub(super) fn begins(self: &Arc<Self>) -> Busy {
        self.busy.send_modify(|busy| *busy += 1);
        Busy(Arc::clone(self))
    }
}

/// An exchange that has not ended.
pub(super) struct Busy(Arc<Caller>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|busy| *busy -= 1);
    }
}
