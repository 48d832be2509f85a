//! A call, as the journal knows it.

use std::time::Duration;

use jiff::Timestamp;

use super::{CallState, Money};
use crate::words::digest::Digest;
use crate::words::run::By;
use crate::words::task::{Instance, TaskName};

/// Whose calls: within a scope a request is the same call, run after run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The pipeline; of `semel proxy`, [`PROXY`].
    pub pipeline: String,
    /// The task; of `semel proxy`, its name as a step. `None` where all tasks share.
    pub task: Option<TaskName>,
    /// The values of the parameters that the task names beside its instance, as JSON; empty
    /// where there are none.
    pub params: String,
}

/// The name under which the calls of `semel proxy` are kept: no pipeline has it.
pub const PROXY: &str = ":proxy";

/// Why a call whose sender died is unknown.
pub const DIED: &str = "semel was killed while it was in flight";

impl Scope {
    /// The scope of all tasks of the same pipeline.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { pipeline: self.pipeline.clone(), task: None, params: String::new() }
    }

    /// The step, instance and item, as they are stored.
    #[must_use]
    pub fn columns(&self) -> (&str, &str, &str) {
        self.task.as_ref().map_or(("", "", ""), |task| {
            (&task.step, task.instance.as_str(), task.item.as_deref().unwrap_or_default())
        })
    }

    /// The scope of stored columns.
    #[must_use]
    pub fn of_columns(
        pipeline: String,
        step: String,
        instance: String,
        item: String,
        params: String,
    ) -> Self {
        let task = (!step.is_empty()).then(|| TaskName {
            step,
            instance: Instance::from_stored(instance),
            item: Some(item).filter(|item| !item.is_empty()),
        });
        Self { pipeline, task, params }
    }
}

/// A head of a message: its fields in their order, without secrets.
pub type Head = Vec<(String, Vec<u8>)>;

/// A body, as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyOf {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes.
    pub bytes: u64,
    /// Whether it is kept; a body that is too large, or has fields that are not to be kept,
    /// is not.
    pub is_kept: bool,
}

/// A request, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL, without secrets.
    pub url: String,
    /// On whose account; never a token's text.
    pub account: String,
    /// The head, without secrets.
    pub head: Head,
    /// The body.
    pub body: BodyOf,
    /// Whether it is a read.
    pub is_read: bool,
}

/// An answer, as far as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The head.
    pub head: Head,
    /// The body.
    pub body: BodyOf,
    /// What came after the body.
    pub trailers: Head,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// Its number, for people.
    pub id: i64,
    /// Whose it is.
    pub scope: Scope,
    /// What makes requests equal.
    pub identity: Digest,
    /// Which of equal calls, from 1.
    pub n: u32,
    /// What must match beside the fields of its key, where it has a key.
    pub rest: Option<Digest>,
    /// What was asked.
    pub asked: Asked,
    /// Where it stands.
    pub state: CallState,
    /// How often it was sent.
    pub sends: u32,
    /// How many further sends a human allowed.
    pub allowed: u32,
    /// Whether the task that made this read has completed since: it is asked anew.
    pub is_retired: bool,
    /// The process that sent it last, by the name of its lock.
    pub sender: String,
    /// The attempt that sent it last.
    pub attempt: String,
    /// Whether the client that asked still waits, while it is in flight.
    pub is_awaited: bool,
    /// The key that was sent to the provider; empty: none.
    pub key: String,
    /// Until when the provider honours it.
    pub key_until: Option<Timestamp>,
    /// When it was sent first.
    pub began: Timestamp,
    /// When it was sent last.
    pub sent: Timestamp,
    /// When its end was known.
    pub ended: Option<Timestamp>,
    /// Why it is rejected or unknown.
    pub reason: Option<String>,
    /// The answer, as far as there was one.
    pub answered: Option<Answered>,
    /// What it cost, or may have cost.
    pub price: Option<Money>,
}

impl CallRecord {
    /// Until when its provider honours the key that was sent with it, where a rule says that it
    /// does so for this long after the first send. The rule that holds now decides, also for
    /// calls from before it was written.
    #[must_use]
    pub fn honoured_until(&self, window: Option<Duration>) -> Option<Timestamp> {
        let until = self.began.checked_add(window?).ok()?;
        (!self.key.is_empty()).then_some(until)
    }
}

/// What a permit is asked for.
#[derive(Clone, Debug)]
pub struct PermitFor {
    /// Whose call it is.
    pub scope: Scope,
    /// What makes it equal to others.
    pub identity: Digest,
    /// What must match beside the fields of its key.
    pub rest: Option<Digest>,
    /// What is asked.
    pub asked: Asked,
    /// The body, where it is kept in the manifest; the others are files by then.
    pub body: Option<Vec<u8>>,
    /// The process, by the name of its lock.
    pub sender: String,
    /// The attempt.
    pub attempt: String,
    /// The key that is sent, unless one was sent before.
    pub key: String,
    /// How long the provider honours it.
    pub key_window: Option<Duration>,
    /// What is reserved.
    pub price: Option<Money>,
    /// From what.
    pub budgets: Vec<Reserve>,
}

/// A budget from which a call is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// The rule that says it.
    pub name: String,
    /// The time that it is for: a run's id, a day, a month.
    pub period: String,
    /// How many calls.
    pub calls: Option<u64>,
    /// How much money.
    pub money: Option<Money>,
}

/// Whether a status leaves open whether the request was processed.
#[must_use]
pub const fn is_unsure(status: u16) -> bool {
    matches!(status, 408 | 409 | 425 | 500..)
}

/// Whether a status is a definite refusal: nothing was done, and the same may be asked again
/// once its reason is gone.
#[must_use]
pub const fn is_refusal(status: u16) -> bool {
    matches!(status, 400..=499) && !is_unsure(status)
}

/// How an attempt to send a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The call.
    pub id: i64,
    /// Which of its sends.
    pub send: u32,
    /// Where it stands now.
    pub state: CallState,
    /// Why it is rejected or unknown.
    pub reason: Option<String>,
    /// The answer, as far as there was one.
    pub answered: Option<Answered>,
    /// The answer's body, where it is kept in the manifest.
    pub body: Option<Vec<u8>>,
    /// What it cost, where the answer says so.
    pub price: Option<Money>,
    /// The budgets from which it was paid.
    pub budgets: Vec<Reserve>,
}

impl Ended {
    /// The end of a send of which no answer is kept.
    #[must_use]
    pub const fn without_answer(id: i64, send: u32, state: CallState, reason: String) -> Self {
        Self {
            id,
            send,
            state,
            reason: Some(reason),
            answered: None,
            body: None,
            price: None,
            budgets: Vec::new(),
        }
    }

    /// The same, where an earlier send of the call is unknown: that this one was not processed,
    /// or was refused, says nothing of that one, nor of what it cost.
    #[must_use]
    pub fn after_unknown(self) -> Self {
        let was_refused = self.answered.as_ref().is_some_and(|said| is_refusal(said.status));
        let is_silent =
            self.state == CallState::Rejected || self.state == CallState::Complete && was_refused;
        if !is_silent {
            return self;
        }
        let status = self.answered.as_ref().map(|answered| format!("status {}", answered.status));
        let why = self.reason.or(status).unwrap_or_default();
        Self {
            state: CallState::Unknown,
            reason: Some(format!("an earlier send is unknown; of the last one: {why}")),
            price: None,
            ..self
        }
    }
}

/// A send of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSend {
    /// Which one it is, from 1.
    pub number: u32,
    /// When it was permitted.
    pub began: Timestamp,
    /// When something was known of its end.
    pub ended: Option<Timestamp>,
    /// What was known then: the name of a state, or `settled`, where it was unknown and
    /// somebody knows since.
    pub state: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// A human's word on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallResolution {
    /// The call.
    pub id: i64,
    /// Whether it happened, else it is to be sent again.
    pub is_done: bool,
    /// What its client gets, if it happened: the answer, and its body. When what was said is
    /// read again, the answer is that of the call, and not here.
    pub answer: Option<(Answered, Vec<u8>)>,
    /// Why.
    pub because: String,
    /// By whom.
    pub by: By,
    /// When.
    pub at: Timestamp,
}
