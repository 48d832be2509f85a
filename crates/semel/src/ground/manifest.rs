//! The manifest: the store of all receipts.
//!
//! [`Manifest`] is the contract, [`sqlite`] the store behind it.
//!
//! Invariants: *I1* a receipt is written after its effect is in place and
//! durable, never before; *I2* a batch is written whole or not at all, and one
//! entry's fault leaves the others alone; *I5* nothing but the methods that take
//! `&mut self` writes.

pub mod calls;
pub mod sqlite;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use crate::ground::world::disk::DiskError;
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::once::Line;
use crate::words::receipt::{Attempt, AttemptEnd, FileRecord, FileRole, LogRange, Receipt};
use crate::words::run::{By, NewRun, RunRecord, RunStep};
use crate::words::task::{Instance, TaskName};

/// What the manifest could not do.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It was written by a newer semel.
    #[error(
        "it was written by a newer semel: its version is {found}, this one knows up to {known}"
    )]
    Newer {
        /// Its version.
        found: i64,
        /// The newest that this semel knows.
        known: i64,
    },
    /// It is something else.
    #[error("it is not a manifest of semel's")]
    Foreign,
    /// It is damaged.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It is damaged, and somebody is at work with it.
    #[error("it is damaged: {0}; somebody is at work with it, so it stays where it is")]
    DamagedInUse(String),
    /// A line of `once.log` says what cannot be taken over.
    #[error("{0}")]
    Log(String),
    /// There is none.
    #[error("there is none")]
    Absent,
    /// It could not be made or copied.
    #[error("{doing} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The lease under which it was written was taken over, by this run if it is known.
    #[error("its lease was taken over{}: nothing more is written", taken_by(*.by))]
    Fenced {
        /// Who has the lease.
        by: Option<i64>,
    },
    /// The lease of the folder was lost, for this reason where it is known.
    #[error("the lease of the folder is lost{}: nothing more is written", why_of(.0.as_deref()))]
    Expired(Option<String>),
    /// The store said no.
    #[error("cannot {doing}: {source}")]
    Store {
        /// What was tried.
        doing: &'static str,
        /// What the store said.
        source: rusqlite::Error,
    },
    /// The query of a person was wrong.
    #[error("{0}")]
    Query(String),
}

fn why_of(why: Option<&str>) -> String {
    why.map_or_else(String::new, |why| format!(" ({why})"))
}

fn taken_by(run: Option<i64>) -> String {
    run.map_or_else(String::new, |run| format!(" by run {run}"))
}

impl ManifestError {
    /// Whether the file is damaged: a run sets it aside, and makes another.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }
}

/// What a manifest operation gives.
pub type ManifestResult<T> = Result<T, ManifestError>;

/// What a manifest knows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its random id.
    pub id: String,
    /// When it was made.
    pub born: Timestamp,
    /// Since when nothing that happened is unknown to it; `None`: since ever.
    pub whole_since: Option<Timestamp>,
}

/// What is remembered of one step and instance.
#[derive(Clone, Debug, Default)]
pub struct StepMemory {
    /// The receipts, ordered by item.
    pub receipts: Vec<Remembered>,
    /// The attempts since the receipts, ordered by item; the last of each task.
    pub open: Vec<OpenAttempt>,
    /// What humans said and no run has acted on, ordered by item; the last of
    /// each task.
    pub said: Vec<Said>,
    /// What was done, or begun, of `once` steps that the file no longer has, where
    /// the step is a `once` step itself.
    pub gone: Arc<Vec<Gone>>,
}

/// What was done, or begun, of a `once` step that the file no longer has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The pipeline under whose name it is kept.
    pub pipeline: String,
    /// The step.
    pub step: String,
    /// Its instance.
    pub instance: Instance,
    /// Its item, encoded; empty where the step had none.
    pub item: String,
    /// What was done.
    pub what: Digest,
}

/// What a memory may have lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    #[default]
    None,
    /// Nobody knows what.
    Perhaps,
    /// Lines of `once.log`: what was to be done again may be done again by now.
    Lines,
}

/// Under what former name a receipt is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The pipeline.
    pub pipeline: String,
    /// The step.
    pub step: String,
}

/// As much of a receipt as a decision needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The item, encoded; empty where the step has none.
    pub item: Box<str>,
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The version of its encoding.
    pub encoding: i64,
    /// What was left.
    pub effect: Option<Digest>,
    /// The run that wrote it.
    pub run: i64,
    /// The former name that it is kept under, if it is not the present one.
    pub former: Option<Arc<Former>>,
}

/// A file of a receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFile {
    /// The pipeline.
    pub pipeline: String,
    /// The task whose receipt it is.
    pub task: TaskName,
    /// The run that wrote the receipt.
    pub run: i64,
    /// When.
    pub at: Timestamp,
    /// Whether the task was one of a `once` step.
    pub once: bool,
    /// The file.
    pub file: FileRecord,
}

/// An attempt since the last receipt of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenAttempt {
    /// The item, encoded.
    pub item: String,
    /// The run that made it.
    pub run: i64,
    /// The name under which whoever made it stages, [`crate::words::run::Worker`].
    pub run_id: String,
    /// The attempt's number in that run.
    pub number: u64,
    /// What it was an attempt at.
    pub fingerprint: Fingerprint,
    /// When it began.
    pub began: Timestamp,
    /// How it ended: `None` while it works, or where its run was killed.
    pub ending: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Whether it provably did nothing.
    pub provably_undone: bool,
}

/// What a script said of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidBefore {
    /// The task.
    pub task: TaskName,
    /// What it said, as JSON.
    pub says: String,
    /// In which run.
    pub run: i64,
}

/// A state check that was asked and held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The item, encoded; empty where the step has none.
    pub item: String,
    /// The fingerprint of the task for which it was asked.
    pub fingerprint: Fingerprint,
    /// When.
    pub at: Timestamp,
}

/// A human's word on a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its number.
    pub id: i64,
    /// The item, encoded.
    pub item: String,
    /// `done` or `redo`.
    pub verb: Verb,
    /// Whether `done` holds though there are no outputs.
    pub without_outputs: bool,
}

/// What a human says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It is done: accept what is there.
    Done,
    /// Do it again, once.
    Redo,
}

impl Verb {
    /// The word that is stored and typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Redo => "redo",
        }
    }
}

/// A human's word, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The task.
    pub task: TaskName,
    /// What is said.
    pub verb: Verb,
    /// Whether `done` holds though there are no outputs.
    pub without_outputs: bool,
    /// Why.
    pub because: String,
    /// By whom.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// A human's word on the whole memory: what it does not know did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Why.
    pub because: String,
    /// By whom.
    pub by: By,
    /// When.
    pub at: Timestamp,
}

/// A change of the manifest.
///
/// `said` is the [`Said::id`] of the human's word that is acted on by it.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An attempt begins.
    Begin {
        /// The attempt.
        attempt: Attempt,
        /// What is acted on.
        said: Option<i64>,
    },
    /// An attempt ends without a receipt.
    End {
        /// The attempt.
        attempt: Attempt,
        /// Its end.
        end: AttemptEnd,
        /// What is acted on.
        said: Option<i64>,
    },
    /// A state check was asked and held.
    Held {
        /// The task.
        task: TaskName,
        /// Its fingerprint.
        fingerprint: Fingerprint,
        /// When.
        at: Timestamp,
    },
    /// A task is complete.
    Complete {
        /// Its receipt.
        receipt: Box<Receipt>,
        /// The attempt that brought it there, if any.
        attempt: Option<(Attempt, AttemptEnd)>,
        /// What is acted on.
        said: Option<i64>,
        /// The run and number of the open attempt that it ends, where that is kept
        /// under a former name.
        ends: Option<(i64, u64)>,
    },
}

impl Entry {
    /// Whether it is of a step that is unsafe to repeat.
    #[must_use]
    pub fn is_once(&self) -> bool {
        match self {
            Self::Begin { attempt, .. } | Self::End { attempt, .. } => attempt.once,
            Self::Complete { receipt, .. } => receipt.once,
            Self::Held { .. } => false,
        }
    }
}

/// An attempt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The task.
    pub task: TaskName,
    /// The run.
    pub run: i64,
    /// The attempt's number in it.
    pub number: u64,
    /// Which try at the task.
    pub tries: u32,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended.
    pub ending: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// Whether no receipt was written since.
    pub open: bool,
    /// Where in the run's log its output stands.
    pub log: LogRange,
}

/// Which attempts are meant.
#[derive(Clone, Copy, Debug)]
pub enum Attempts<'a> {
    /// Those of a run.
    OfRun(i64),
    /// Those of a task, or of all items of a step where it names none.
    OfTask(&'a TaskName),
    /// Those that ended badly since the last receipt of their task.
    Failed,
}

/// The answer to a person's query: the names of the columns, and the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The values, as text; `None` for null.
    pub rows: Vec<Vec<Option<String>>>,
}

/// The store of all receipts.
pub trait Manifest: Send {
    /// Another connection to the same store.
    fn again(&self) -> ManifestResult<Box<dyn Manifest>>;

    /// The calls in it.
    fn call_journal(&self) -> &dyn calls::Calls;

    /// What it knows of itself.
    fn identity(&self) -> ManifestResult<Identity>;

    /// What is remembered of a step and instance.
    fn memory_of(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<StepMemory>;

    /// What is remembered of one task.
    fn memory_of_task(&self, pipeline: &str, task: &TaskName) -> ManifestResult<StepMemory>;

    /// When the receipts of a step and instance were written, by items.
    fn receipt_times(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Vec<(String, Timestamp)>>;

    /// When the state checks of a step's tasks held last.
    fn answers(&self, pipeline: &str, step: &str, instance: &Instance)
    -> ManifestResult<Vec<Held>>;

    /// The whole receipt of a task.
    fn receipt(&self, pipeline: &str, task: &TaskName) -> ManifestResult<Option<Receipt>>;

    /// Whether a file of this path and digest is the output of a receipt.
    fn made(&self, path: &std::path::Path, digest: &Digest) -> ManifestResult<bool>;

    /// Gives the files of all receipts of all pipelines in this role, ordered by
    /// pipeline, step, instance and item.
    fn files(&self, role: FileRole, take: &mut dyn FnMut(KeptFile)) -> ManifestResult<()>;

    /// How many tasks a step had in the last run that brought all of them to
    /// their state.
    fn last_total(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<u64>>;

    /// How many seconds a task of a step takes on average.
    fn usual_seconds(&self, pipeline: &str, step: &str) -> ManifestResult<Option<f64>>;

    /// The last runs of a pipeline, newest first; of one instance, where one is
    /// given.
    fn runs(
        &self,
        pipeline: &str,
        instance: Option<&Instance>,
        most: u32,
    ) -> ManifestResult<Vec<RunRecord>>;

    /// What a run did, step by step.
    fn run_steps(&self, run: i64) -> ManifestResult<Vec<RunStep>>;

    /// What the last run that was asked for all did to a step, and which run that
    /// was; if there is none, the last that knew of it.
    fn last_run_step(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<(i64, RunStep)>>;

    /// When the newest receipt of a step was written.
    fn last_receipt(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<Timestamp>>;

    /// The attempts of a pipeline that are meant, oldest first.
    fn attempts(&self, pipeline: &str, which: Attempts<'_>) -> ManifestResult<Vec<AttemptRecord>>;

    /// The number of a run, by its unique id.
    fn run_number(&self, id: &str) -> ManifestResult<Option<i64>>;

    /// The attempts of a run of these numbers in it whose tasks have no later receipt.
    fn open_attempts_of(&self, run: i64, numbers: RangeInclusive<u64>) -> ManifestResult<Vec<u64>>;

    /// Those of them whose tasks a human said were done, which no run has acted on.
    fn accepted_attempts_of(
        &self,
        run: i64,
        numbers: RangeInclusive<u64>,
    ) -> ManifestResult<Vec<u64>>;

    /// What a script said of its tasks last, in the order of steps, instances and items;
    /// with `step`, of that one only.
    fn guards(&self, pipeline: &str, step: Option<&str>) -> ManifestResult<Vec<SaidBefore>>;

    /// What was done, or begun, of `once` steps of a pipeline, but for those of
    /// these names.
    fn once_but(&self, pipeline: &str, steps: &[&str]) -> ManifestResult<Vec<Gone>>;

    /// All pipelines that were ever run, each with the name of the file of its last
    /// run.
    fn pipelines(&self) -> ManifestResult<Vec<(String, String)>>;

    /// Whether it knows a run that has begun and not ended.
    fn is_unended(&self, run_id: &str) -> ManifestResult<bool>;

    /// Of each manifest that wrote to `once.log`, the last line that is known here.
    fn known_lines(&self) -> ManifestResult<BTreeMap<String, u64>>;

    /// Answers a person's query; nothing can be changed by it.
    fn query(&self, sql: &str) -> ManifestResult<Answer>;

    /// Notes that a run begins, and numbers it. The lease of its instance is its own
    /// from then on: whoever began before writes nothing more.
    fn begin_run(&mut self, run: &NewRun) -> ManifestResult<i64>;

    /// Joins a run that somebody else began and has not ended: what is written from now
    /// on is written under its lease. Gives its number.
    fn join_run(&mut self, id: &str) -> ManifestResult<i64>;

    /// Keeps what a script says of a task, in this run of it.
    fn keep_guard(
        &mut self,
        pipeline: &str,
        task: &TaskName,
        says: &str,
        run: i64,
    ) -> ManifestResult<()>;

    /// Notes that a run ended, and that those of its attempts whose end is not known
    /// were interrupted.
    fn end_run(
        &mut self,
        number: i64,
        ended: Timestamp,
        status: i32,
        steps: &[RunStep],
    ) -> ManifestResult<()>;

    /// Notes that the attempts of these numbers of a dead run were interrupted, where in
    /// its log stands what some of them printed, and what it did to its steps, as far as
    /// that is told.
    fn close_dead_run(
        &mut self,
        number: i64,
        numbers: RangeInclusive<u64>,
        logs: &[(u64, LogRange)],
        steps: &[RunStep],
    ) -> ManifestResult<()>;

    /// Says whether what is written from now on outlives a power cut, as it does
    /// unless this is called, or only the death of this process.
    fn sync_commits(&mut self, yes: bool) -> ManifestResult<()>;

    /// Fails with [`ManifestError::Fenced`] if the lease of the run that was begun here
    /// was taken over, with [`ManifestError::Expired`] if that of the folder was lost; so
    /// does whatever writes.
    fn verify_lease(&self) -> ManifestResult<()>;

    /// The lease of a run: what it is a lease of, and its token.
    ///
    /// # Errors
    /// If it was taken over, or cannot be asked for.
    fn token_of(&self, run: i64) -> ManifestResult<(String, i64)>;

    /// Writes entries in one transaction. An entry that cannot be written leaves
    /// the others alone; the results are in the order of the entries.
    fn write(&mut self, pipeline: &str, entries: &[Entry]) -> Vec<ManifestResult<()>>;

    /// Writes an entry that stands in `once.log` as the line of this manifest and
    /// number, in one transaction with the note that this line is known.
    fn write_logged(
        &mut self,
        pipeline: &str,
        entry: &Entry,
        line: (&str, u64),
    ) -> ManifestResult<()>;

    /// Takes over lines of `once.log`, all or none, and notes that they are known;
    /// what of them is known already stays as it is. After a loss the memory is
    /// incomplete; after one of lines no `redo` holds that nobody has acted on, and no
    /// attempt of a `once` task provably did nothing.
    fn replay(&mut self, lines: &[Line], loss: Loss) -> ManifestResult<()>;

    /// Notes that the lines of a manifest up to this one are known.
    fn note_line(&mut self, manifest: &str, seq: u64) -> ManifestResult<()>;

    /// Copies it, as it is now, to a path where nothing is.
    fn copy_to(&self, path: &std::path::Path) -> ManifestResult<()>;

    /// Keeps that a human accepts the memory as whole, and takes it for whole.
    fn accept(&mut self, word: &Acceptance) -> ManifestResult<()>;

    /// Keeps what a human said.
    fn settle(&mut self, pipeline: &str, resolutions: &[Resolution]) -> ManifestResult<()>;
}
