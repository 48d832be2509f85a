//! Recording: one thread writes to the manifest, for all.
//!
//! Whatever came in while the last commit was under way goes into the next one,
//! so that many tasks share a commit and the sync of their folders. The receipt
//! of a `once` task waits for nobody.
//!
//! Invariants: *I1* the folders of an effect, and the ways to them, are synced before
//! its receipt is committed; *I2* a group that cannot be written is written one by one, so that
//! one task's error leaves its neighbours' receipts alone.
//!
//! A [`Completion`] is the right to write a receipt. It is made only out of an
//! effect that was published, or found in place.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::deed::journal::Unsettled;
use crate::deed::once::{OnceWriter, Written};
use crate::deed::publish::Published;
use crate::deed::stage::{Place, Staging};
use crate::deed::transaction::Committed;
use crate::deed::view::{Input, Seen, StepView};
use crate::ground::manifest::{Entry, Manifest, ManifestError};
use crate::ground::world::disk::Disk;
use crate::words::digest::Digest;
use crate::words::fingerprint::{ENCODING, Fingerprint, effect};
use crate::words::pipeline::Durability;
use crate::words::receipt::{Attempt, AttemptEnd, FileRecord, FileRole, Origin, Receipt};
use crate::words::task::{Task, TaskName};

/// A begun attempt that takes longer than this is noted before it ends.
const LONG: Duration = Duration::from_millis(200);

/// The most entries of one commit.
const MOST: usize = 1000;

/// How long a receipt waits for others to share its commit, where others may
/// come: where commands are short, two syncs for each would be most of the cost.
pub const PATIENCE: Duration = Duration::from_millis(4);

/// The right to write a receipt.
#[must_use]
pub struct Completion {
    receipt: Receipt,
    attempt: Option<(Attempt, AttemptEnd)>,
    said: Option<i64>,
    ends: Option<(i64, u64)>,
    unsynced: Vec<PathBuf>,
    /// What to clear once the receipt is written, and whether it is not empty.
    place: Option<(Place, bool)>,
    /// Whether it waits for nobody.
    hurries: bool,
    /// Whether the attempt is one of this run.
    is_ours: bool,
}

/// What a receipt says beside its effect.
pub struct Particulars<'a> {
    /// The step.
    pub view: &'a StepView<'a>,
    /// The task.
    pub task: &'a Task,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// Its inputs, as they were seen.
    pub inputs: Vec<&'a Input>,
    /// The run.
    pub run: i64,
    /// The human's word that it acts on.
    pub said: Option<i64>,
    /// The open attempt that it ends, by run and number.
    pub ends: Option<(i64, u64)>,
}

impl Completion {
    /// What the task left, if that leaves anything to look at.
    pub(crate) const fn effect(&self) -> Option<Digest> {
        self.receipt.effect
    }

    /// A task whose outputs were published.
    pub fn published(
        particulars: &Particulars<'_>,
        published: Published,
        origin: Origin,
        attempt: Option<(Attempt, AttemptEnd)>,
    ) -> Self {
        let receipt = receipt(particulars, published.files, origin, published.took);
        Self {
            receipt,
            attempt,
            said: particulars.said,
            ends: particulars.ends,
            unsynced: published.unsynced,
            place: Some((published.place, published.left_something)),
            hurries: particulars.view.step.once,
            is_ours: true,
        }
    }

    /// A task whose outputs a killed run published: they are in place, and its check
    /// holds. The receipt is the one that was owed then.
    pub(crate) fn finished(
        particulars: &Particulars<'_>,
        unsettled: &Unsettled,
        unsynced: Vec<PathBuf>,
    ) -> Option<Self> {
        let run = unsettled.run.unwrap_or(particulars.run);
        Some(Self {
            receipt: unsettled.journal.receipt(run)?,
            // Its number is known within its run only.
            attempt: unsettled.run.and_then(|run| unsettled.journal.attempt(run)),
            said: particulars.said,
            ends: particulars.ends,
            unsynced,
            place: Some((unsettled.place(), true)),
            hurries: particulars.view.step.once,
            is_ours: false,
        })
    }

    /// A task whose rows are committed, with a stamp that tells of them.
    pub(crate) fn rows(
        particulars: &Particulars<'_>,
        committed: &Committed,
        origin: Origin,
        attempt: Option<(Attempt, AttemptEnd)>,
    ) -> Self {
        Self {
            receipt: receipt(particulars, vec![committed.rows().clone()], origin, committed.took()),
            attempt,
            said: particulars.said,
            ends: particulars.ends,
            unsynced: Vec::new(),
            place: None,
            hurries: particulars.view.step.once,
            is_ours: true,
        }
    }

    /// A task whose effect was found in place: proven, claimed by its check, or
    /// accepted by a human. The folders of its outputs may not be durable yet.
    pub fn found(
        particulars: &Particulars<'_>,
        outs: &[Option<Seen>],
        origin: Origin,
        unsynced: Vec<PathBuf>,
    ) -> Self {
        let files = particulars.task.outs.iter().zip(&particulars.view.roles).zip(outs);
        let files = files.filter_map(|((path, role), seen)| {
            let content = seen.as_ref()?.content;
            Some(FileRecord {
                role: FileRole::Out,
                name: role.clone(),
                path: path.clone(),
                bytes: content.bytes,
                rows: content.rows,
                digest: content.digest,
                by_stat: content.by_stat,
            })
        });
        Self {
            receipt: receipt(particulars, files.collect(), origin, Duration::ZERO),
            attempt: None,
            said: particulars.said,
            ends: particulars.ends,
            unsynced,
            place: None,
            hurries: particulars.view.step.once,
            is_ours: true,
        }
    }
}

/// The receipt of a task that left these outputs.
pub(crate) fn receipt(
    particulars: &Particulars<'_>,
    outs: Vec<FileRecord>,
    origin: Origin,
    took: Duration,
) -> Receipt {
    let view = particulars.view;
    let left = effect(outs.iter().map(|out| (out.name.as_str(), out.digest)));
    let ins = particulars.inputs.iter().map(|input| FileRecord {
        role: FileRole::In,
        name: input.key.clone().unwrap_or_default(),
        path: input.path.clone(),
        bytes: input.seen.content.bytes,
        rows: input.seen.content.rows,
        digest: input.seen.content.digest,
        by_stat: input.seen.content.by_stat,
    });
    Receipt {
        task: particulars.task.name(&view.step.name, &view.instance),
        fingerprint: particulars.fingerprint,
        encoding: ENCODING,
        given: view.given.clone(),
        how: view.how.clone(),
        effect: left,
        origin,
        at: Timestamp::now(),
        run: particulars.run,
        took,
        files: ins.chain(outs).collect(),
        once: view.step.once,
    }
}

/// What the recorder is asked to do. `T` is what the asker calls the task.
enum Order<T> {
    /// Note, some time, that an attempt begins.
    Begin(Attempt, Option<i64>),
    /// Note at once that an attempt begins, and say when it is durable.
    Intend(Attempt, Option<i64>, SyncSender<Result<(), String>>),
    /// Note that an attempt ended without a receipt.
    End(Attempt, AttemptEnd, Option<i64>),
    /// Note that a check held.
    Held(TaskName, Fingerprint),
    /// Write a receipt.
    Complete(T, Box<Completion>),
}

impl<T> Order<T> {
    /// Whether somebody waits for it.
    fn hurries(&self) -> bool {
        match self {
            Self::Intend(..) => true,
            Self::Complete(_, completion) => completion.hurries,
            Self::Begin(..) | Self::End(..) | Self::Held(..) => false,
        }
    }
}

/// What became of a receipt.
pub struct Recorded<T> {
    /// The task.
    pub task: T,
    /// Why it could not be written.
    pub error: Option<String>,
}

/// Gives orders to the recorder.
pub struct Orders<T>(Sender<Order<T>>);

impl<T> Clone for Orders<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// Receives the orders.
pub struct Inbox<T>(Receiver<Order<T>>);

/// The two ends of the way to the recorder.
#[must_use]
pub fn orders<T>() -> (Orders<T>, Inbox<T>) {
    let (sender, receiver) = channel();
    (Orders(sender), Inbox(receiver))
}

impl<T> Orders<T> {
    /// Notes that an attempt at an ordinary task begins. Nobody waits for it.
    pub fn begin(&self, attempt: Attempt, said: Option<i64>) {
        self.send(Order::Begin(attempt, said));
    }

    /// Commits the intent of an attempt, and returns when it is durable.
    ///
    /// # Errors
    /// Why it could not be committed.
    pub fn intend(&self, attempt: Attempt, said: Option<i64>) -> Result<(), String> {
        let (answer, answered) = sync_channel(1);
        self.send(Order::Intend(attempt, said, answer));
        answered.recv().unwrap_or_else(|_| Err("the recorder is gone".to_owned()))
    }

    /// Notes that an attempt ended without a receipt.
    pub fn end(&self, attempt: Attempt, end: AttemptEnd, said: Option<i64>) {
        self.send(Order::End(attempt, end, said));
    }

    /// Notes that the check of a task was asked, and held.
    pub fn held(&self, task: TaskName, fingerprint: Fingerprint) {
        self.send(Order::Held(task, fingerprint));
    }

    /// Writes a receipt; what became of it is reported.
    pub fn complete(&self, task: T, completion: Completion) {
        self.send(Order::Complete(task, Box::new(completion)));
    }

    fn send(&self, order: Order<T>) {
        // The recorder lives until the last of us is dropped.
        let _ = self.0.send(order);
    }
}

/// The recorder: works until all who give orders are gone.
pub struct Recorder<'a, T> {
    /// Whose receipts are written.
    pub pipeline: &'a str,
    /// Where to.
    pub manifest: &'a mut dyn Manifest,
    /// What receipts of ordinary tasks outlive.
    pub durability: Durability,
    /// How long a receipt waits for others to share its commit.
    pub patience: Duration,
    /// Whose folders are synced.
    pub disk: &'a dyn Disk,
    /// What is cleared.
    pub staging: &'a Staging<'a>,
    /// Writes what is unsafe to repeat.
    pub once: OnceWriter<'a>,
    /// Reports what became of receipts.
    pub report: &'a mut dyn FnMut(Recorded<T>),
    /// Reports what else went wrong.
    pub complain: &'a mut dyn FnMut(String),
    /// Called, once, when the lease of the run was taken over: it can write nothing more.
    pub lost: Option<&'a mut dyn FnMut(String)>,
}

/// Attempts that begin, since when, and what is acted on; noted only if they take long.
type Begun = Vec<(Instant, Attempt, Option<i64>)>;

/// An entry on its way, and whom to tell.
struct Pending<T> {
    entry: Entry,
    task: Option<T>,
    answer: Option<SyncSender<Result<(), String>>>,
    place: Option<(Place, bool)>,
    /// The attempt of which the manifest knows then where it is what it printed.
    collected: Option<u64>,
    unsynced: Vec<PathBuf>,
    hurries: bool,
}

impl<T> Recorder<'_, T> {
    /// Works through the orders.
    pub fn work(mut self, inbox: &Inbox<T>) {
        let mut begun = Begun::new();
        loop {
            let first = match begun.first() {
                None => inbox.0.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some((since, ..)) => inbox.0.recv_timeout(LONG.saturating_sub(since.elapsed())),
            };
            let mut orders = match first {
                Ok(order) => vec![order],
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.gather(inbox, &mut orders);
            self.round(orders, &mut begun, Instant::now());
        }
    }

    /// Works through orders that came in together.
    fn round(&mut self, orders: Vec<Order<T>>, begun: &mut Begun, now: Instant) {
        let mut batch = Vec::with_capacity(orders.len());
        for order in orders {
            self.sort(order, &mut batch, begun, now);
        }
        let is_late = |since: Instant| now.saturating_duration_since(since) >= LONG;
        let late = begun.iter().take_while(|(since, ..)| is_late(*since)).count();
        batch.extend(
            begun
                .drain(..late)
                .map(|(_, attempt, said)| Pending::of(Entry::Begin { attempt, said })),
        );
        let (urgent, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|pending| pending.hurries || pending.entry.is_once());
        for pending in urgent {
            self.commit(vec![pending]);
        }
        self.commit(others);
    }

    /// Adds what else came in; a receipt that may wait waits for more.
    fn gather(&self, inbox: &Inbox<T>, orders: &mut Vec<Order<T>>) {
        let mut until = None;
        let mut looked_at = 0;
        while orders.len() < MOST {
            for order in &orders[looked_at..] {
                if order.hurries() {
                    until = Some(Instant::now());
                } else if matches!(order, Order::Complete(..)) {
                    until.get_or_insert_with(|| Instant::now() + self.patience);
                }
            }
            looked_at = orders.len();
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            // What is there already is received without a wait, too.
            match inbox.0.recv_timeout(left.unwrap_or_default()) {
                Ok(order) => orders.push(order),
                Err(_) => return,
            }
        }
    }

    fn sort(
        &mut self,
        order: Order<T>,
        batch: &mut Vec<Pending<T>>,
        begun: &mut Begun,
        now: Instant,
    ) {
        match order {
            Order::Begin(attempt, said) => begun.push((now, attempt, said)),
            Order::Intend(attempt, said, answer) => batch.push(Pending {
                answer: Some(answer),
                hurries: true,
                ..Pending::of(Entry::Begin { attempt, said })
            }),
            Order::End(attempt, end, said) => {
                begun.retain(|(_, known, _)| known.number != attempt.number);
                let collected = printed_by(&attempt, &end);
                let entry = Entry::End { attempt, end, said };
                batch.push(Pending { collected, ..Pending::of(entry) });
            }
            Order::Held(task, fingerprint) => {
                let at = Timestamp::now();
                batch.push(Pending::of(Entry::Held { task, fingerprint, at }));
            }
            Order::Complete(task, completion) => {
                let Completion { receipt, attempt, said, ends, unsynced, place, hurries, is_ours } =
                    *completion;
                if let Some((attempt, _)) = attempt.as_ref().filter(|_| is_ours) {
                    begun.retain(|(_, known, _)| known.number != attempt.number);
                }
                let ended = attempt.as_ref().filter(|_| is_ours);
                let collected = ended.and_then(|(attempt, end)| printed_by(attempt, end));
                let receipt = Box::new(receipt);
                batch.push(Pending {
                    task: Some(task),
                    place,
                    collected,
                    unsynced,
                    hurries,
                    ..Pending::of(Entry::Complete { receipt, attempt, said, ends })
                });
            }
        }
    }

    /// Syncs the folders of a group, writes it, clears what it staged, and tells
    /// everybody.
    fn commit(&mut self, group: Vec<Pending<T>>) {
        if group.is_empty() {
            return;
        }
        let unsynced: BTreeSet<_> = group.iter().flat_map(|pending| &pending.unsynced).collect();
        let synced = self.staging.ways.sync(self.disk, unsynced);
        match synced {
            // One of the folders cannot be synced: find out whose, and write the rest.
            Err(_) if group.len() > 1 => {
                for pending in group {
                    self.commit(vec![pending]);
                }
                return;
            }
            Err(error) => {
                for pending in group {
                    self.tell(pending.task, pending.answer, Some(error.to_string()));
                }
                return;
            }
            Ok(()) => {}
        }
        let hurries = group.iter().any(|pending| pending.hurries);
        let is_synced = hurries || self.durability == Durability::Power;
        if let Err(error) = self.manifest.sync_commits(is_synced) {
            (self.complain)(self.once.complaint(&error));
        }
        let (entries, rest): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|pending| {
                let Pending { entry, task, answer, place, collected, .. } = pending;
                (entry, (task, answer, place, collected))
            })
            .unzip();
        let results = self.write(&entries);
        if results.iter().any(Result::is_err) {
            self.look_for_loss();
        }
        for (result, (task, answer, place, collected)) in results.into_iter().zip(rest) {
            let error = result.err();
            if let (None, Some(number)) = (&error, collected)
                && let Err(error) = self.staging.forget_collected(number)
            {
                (self.complain)(error.to_string());
            }
            if let (None, Some((place, left_something))) = (&error, place) {
                let cleared = if left_something {
                    self.staging.clear(&place)
                } else {
                    self.staging.clear_empty(&place)
                };
                if let Err(error) = cleared {
                    (self.complain)(error.to_string());
                }
            }
            self.tell(task, answer, error);
        }
    }

    /// Says, once, that the lease was taken over, if that is why nothing could be written.
    fn look_for_loss(&mut self) {
        if self.lost.is_some()
            && let Err(error @ (ManifestError::Fenced { .. } | ManifestError::Expired(_))) =
                self.manifest.verify_lease()
            && let Some(lost) = self.lost.take()
        {
            lost(error.to_string());
        }
    }

    fn write(&mut self, entries: &[Entry]) -> Vec<Result<(), String>> {
        if let [entry] = entries
            && entry.is_once()
        {
            let Written { result, complaint } =
                self.once.write(self.manifest, self.pipeline, entry);
            if let Some(complaint) = complaint {
                (self.complain)(complaint);
            }
            return vec![result];
        }
        let results = self.manifest.write(self.pipeline, entries).into_iter();
        results.map(|result| result.map_err(|error| self.once.complaint(&error))).collect()
    }

    fn tell(
        &mut self,
        task: Option<T>,
        answer: Option<SyncSender<Result<(), String>>>,
        error: Option<String>,
    ) {
        match (task, answer) {
            (Some(task), _) => (self.report)(Recorded { task, error }),
            // Who asked waits for the answer.
            (None, Some(answer)) => {
                let _ = answer.send(error.map_or(Ok(()), Err));
            }
            (None, None) => {
                if let Some(error) = error {
                    (self.complain)(error);
                }
            }
        }
    }
}

/// The number of an attempt, if it printed anything.
fn printed_by(attempt: &Attempt, end: &AttemptEnd) -> Option<u64> {
    (end.log.bytes > 0).then_some(attempt.number)
}

impl<T> Pending<T> {
    fn of(entry: Entry) -> Self {
        Self {
            entry,
            task: None,
            answer: None,
            place: None,
            collected: None,
            unsynced: Vec::new(),
            hurries: false,
        }
    }
}

#[cfg(test)]
mod tests;
