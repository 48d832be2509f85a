//! The call journal's part of the manifest.
//!
//! Every method that changes a call is one arrow of its life, and compares before it sets: who
//! comes too late changes nothing and is told so. [`Calls::together`] makes many of them one
//! transaction, so that they share its sync.
//!
//! Invariants: *I12* a call that is complete stays so, and evidence is taken whoever brings it;
//! *I14* a permit counts only when it is committed: nothing is sent before.

use super::ManifestResult;
use crate::words::call::{
    CallRecord, CallResolution, CallSend, CallState, Ended, Money, PermitFor, Scope,
};
use crate::words::digest::Digest;
use crate::words::task::TaskName;

/// A permit to send a call, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permitted {
    /// The call.
    pub id: i64,
    /// Which of its sends this is, from 1.
    pub send: u32,
    /// The key that is sent to the provider: the first that was; empty: none.
    pub key: String,
}

/// What an asked-for permit gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It may be sent.
    Given(Permitted),
    /// Somebody else changed the call meanwhile: look again.
    Late,
    /// A budget does not allow it.
    OverBudget {
        /// The rule that says the budget.
        name: String,
        /// What would be spent then.
        would_be: String,
        /// What may be.
        limit: String,
    },
}

/// A lease under which calls are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is a lease of, as the manifest gives it with the token.
    pub scope: String,
    /// The token.
    pub token: i64,
}

/// Which calls are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Those of this pipeline.
    pub pipeline: Option<String>,
    /// Those of this step.
    pub step: Option<String>,
    /// Those of this instance.
    pub instance: Option<String>,
    /// Those of this item.
    pub item: Option<String>,
    /// Those in these states; empty: in any.
    pub states: Vec<CallState>,
    /// These.
    pub ids: Vec<i64>,
}

impl Which {
    /// Those of the task of a scope, whatever its parameters.
    #[must_use]
    pub fn of(scope: &Scope) -> Self {
        let (step, instance, item) = scope.columns();
        Self {
            pipeline: Some(scope.pipeline.clone()),
            step: Some(step.to_owned()),
            instance: Some(instance.to_owned()),
            item: Some(item.to_owned()),
            ..Self::default()
        }
    }
}

/// How many calls of a task stand in one way, and what they cost together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumOf {
    /// The step; empty where all tasks of the pipeline share them.
    pub step: String,
    /// The instance.
    pub instance: String,
    /// Where they stand.
    pub state: CallState,
    /// Who has them in flight; of others, nobody.
    pub sender: String,
    /// How many they are.
    pub calls: u64,
    /// What they cost in one unit.
    pub cost: Option<Money>,
}

/// The calls in the manifest.
pub trait Calls: Send {
    /// Whether it can know of calls. A manifest that an older semel wrote last, and that is
    /// only read, cannot.
    ///
    /// # Errors
    /// If it cannot be read.
    fn is_there(&self) -> ManifestResult<bool>;

    /// What the calls of a pipeline came to, or of one of its tasks.
    fn sums(&self, pipeline: &str, task: Option<&TaskName>) -> ManifestResult<Vec<SumOf>>;

    /// Does several things in one transaction, each of which is done or not by itself.
    ///
    /// # Errors
    /// If nothing was committed.
    fn together(&mut self, work: &mut dyn FnMut(&mut dyn Calls)) -> ManifestResult<()>;

    /// The calls of these numbers, or in these states, in the order of their numbers.
    fn calls(&self, which: &Which) -> ManifestResult<Vec<CallRecord>>;

    /// The calls that are equal to a request, in the order of their numbers among them, also
    /// those that are retired.
    fn equal(&self, scope: &Scope, identity: &Digest) -> ManifestResult<Vec<CallRecord>>;

    /// A body that is kept in the manifest; `None` where it is a file.
    fn body(&self, digest: &Digest) -> ManifestResult<Option<Vec<u8>>>;

    /// Whether a body is known.
    fn has_body(&self, digest: &Digest) -> ManifestResult<bool>;

    /// Permits a call of its own, of this number among its equals.
    fn open(&mut self, wanted: &PermitFor, n: u32, under: Option<&Token>)
    -> ManifestResult<Permit>;

    /// Permits a further send of a call that stands as it was seen: `from` and so many sends.
    /// `uses_allowance`: whether it is sent since a human allowed it.
    fn send_again(
        &mut self,
        seen: &CallRecord,
        wanted: &PermitFor,
        uses_allowance: bool,
        under: Option<&Token>,
    ) -> ManifestResult<Permit>;

    /// Notes how a send ended, and says where the call stands now.
    fn end(&mut self, ended: &Ended) -> ManifestResult<CallState>;

    /// Notes that the client of a call in flight has gone.
    fn desert(&mut self, id: i64, send: u32) -> ManifestResult<()>;

    /// What makes requests equal has changed by a rule: a recorded call is equal to these now,
    /// after all that were already.
    fn rekey(&mut self, id: i64, identity: &Digest, rest: Option<&Digest>) -> ManifestResult<()>;

    /// Who has calls in flight, by the names of their locks.
    fn senders(&self) -> ManifestResult<Vec<String>>;

    /// A sender is dead: what it had in flight is unknown. Gives how many those are.
    fn lose(&mut self, sender: &str, why: &str) -> ManifestResult<u64>;

    /// A task completed: its reads are asked anew.
    fn retire_reads(&mut self, scope: &Scope) -> ManifestResult<()>;

    /// How often a call was sent, and what came of it, in their order.
    fn sends(&self, id: i64) -> ManifestResult<Vec<CallSend>>;

    /// What humans said of a call, in the order in which they did; without the answers.
    fn said(&self, id: i64) -> ManifestResult<Vec<CallResolution>>;

    /// Keeps what a human said of calls that are unknown; fails for others, and changes
    /// nothing then.
    fn settle_calls(&mut self, said: &[CallResolution]) -> ManifestResult<()>;

    /// What was spent of a budget in a time.
    fn spent(&self, name: &str, period: &str) -> ManifestResult<(u64, Vec<Money>)>;

    /// Ends the bodies of complete calls, but for those that another call needs; gives the
    /// digests of those that are files.
    fn end_bodies(&mut self, ids: &[i64]) -> ManifestResult<Vec<Digest>>;
}
