//! Hooks: commands that accompany the end of a run.
//!
//! `[finally]` is owed from the moment in which the first task begins: a run that
//! is killed leaves the debt, and the next one pays it before anything else.
//!
//! Invariant: what a hook does never changes how the run ended; that it failed is
//! told.
//!
//! *On disk*: `.semel/owed/PIPELINE` says which run owes its `[finally]`, with the
//! parameters it had.
//!
//! *If we die here*: the debt is there before the first task begins and until its
//! `[finally]` ended, so it may run twice, but never not at all.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::deed::calls::{Asked, Guards, ask};
use crate::deed::capture::{self, Question};
use crate::deed::command;
use crate::deed::ways::Ways;
use crate::ground::world::disk::{Disk, DiskError};
use crate::ground::world::process::Stop;
use crate::thought::bind::{Bindings, Params};
use crate::thought::mask::Mask;
use crate::words::call::Scope;
use crate::words::pipeline::{Hook, HookDoes, Http};
use crate::words::task::{Instance, TaskName};

/// How much of what a hook prints is looked at.
const MOST: usize = 1 << 16;

/// What a hook is told of its run.
#[derive(Clone, Copy)]
pub(crate) struct Occasion<'a> {
    /// Where it runs.
    pub(crate) folder: &'a Path,
    /// The parameters of the run.
    pub(crate) params: &'a Params,
    /// The run's unique id.
    pub(crate) run_id: &'a str,
    /// The summary of the run, as JSON.
    pub(crate) summary: &'a str,
    /// Masks the secrets of all steps.
    pub(crate) mask: &'a Mask,
    /// The name of the hook.
    pub(crate) hook: &'static str,
    /// Whose calls it makes, if it makes one.
    pub(crate) pipeline: &'a str,
    /// The calls of the run.
    pub(crate) calls: Option<&'a Guards<'a>>,
}

/// Runs a hook.
///
/// # Errors
/// Why it failed, in words.
pub(crate) fn run(hook: &Hook, occasion: &Occasion<'_>, stop: &Stop) -> Result<(), String> {
    let bindings = Bindings {
        run_id: occasion.run_id,
        for_command: true,
        ..Bindings::of(occasion.params, None)
    };
    let asked = match &hook.does {
        HookDoes::Run(command) => command,
        HookDoes::Call(http) => return call(http, hook.timeout, &bindings, occasion, stop),
    };
    let question = Question {
        words: &command::words(asked, &bindings),
        folder: occasion.folder,
        env: &[(OsString::from("SEMEL_RUN"), OsString::from(occasion.run_id))],
        input: Some(occasion.summary.as_bytes()),
        limit: hook.timeout,
        most: MOST,
    };
    let masked = |why: String| occasion.mask.text(&why).into_owned();
    match capture::ask(&question, stop) {
        Ok(answer) if answer.status == 0 => Ok(()),
        Ok(answer) => Err(masked(answer.why_not())),
        Err(why) => Err(masked(why)),
    }
}

/// Makes the call of a hook: one of its own in each run.
fn call(
    http: &Http,
    limit: Duration,
    bindings: &Bindings<'_>,
    occasion: &Occasion<'_>,
    stop: &Stop,
) -> Result<(), String> {
    let masked = |why: String| occasion.mask.text(&why).into_owned();
    let guards = occasion.calls.ok_or("no calls are made here")?;
    let scope = Scope {
        pipeline: occasion.pipeline.to_owned(),
        // No step has such a name.
        task: Some(TaskName::new(&format!(":{}", occasion.hook), &Instance::default(), None)),
        params: occasion.run_id.to_owned(),
    };
    let guarded = guards.guard(scope, 0)?;
    let (summary, folder) = (Some(occasion.summary), occasion.folder);
    let asked = ask(http, bindings, &guarded, summary, folder, Some(limit), stop);
    let tally = guarded.end(stop);
    let refusal = tally.refusal();
    guards.came_to(tally, None)?;
    match (refusal, asked) {
        (Some(why), _) | (None, Err(why) | Ok(Asked::Failed(why, _))) => Err(masked(why)),
        (None, Ok(Asked::Stopped)) => Err("it was stopped".to_owned()),
        (None, Ok(Asked::Done(_))) => Ok(()),
    }
}

/// A `[finally]` that a run owes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Debt {
    /// The run's number.
    pub(crate) run: i64,
    /// Its unique id.
    pub(crate) run_id: String,
    /// The parameters it had.
    pub(crate) params: BTreeMap<String, String>,
}

/// Where the debt of a pipeline's instance is noted.
pub(crate) struct Ledger<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    /// Whether this run noted its debt.
    noted: OnceLock<Result<(), String>>,
}

impl<'a> Ledger<'a> {
    pub(crate) const fn at(disk: &'a dyn Disk, path: PathBuf) -> Self {
        Self { disk, path, noted: OnceLock::new() }
    }

    /// What an earlier run owes.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn debt(&self) -> Result<Option<Debt>, String> {
        if self.disk.look(&self.path).map_err(|error| error.to_string())?.is_none() {
            return Ok(None);
        }
        let file = self.disk.open(&self.path).map_err(|error| error.to_string())?;
        let debt = serde_json::from_reader(file);
        debt.map(Some).map_err(|error| format!("{}: {error}", self.path.display()))
    }

    /// Notes, once, that this run owes; durable before anything is begun.
    ///
    /// # Errors
    /// If it cannot be noted.
    pub(crate) fn owe(&self, debt: &Debt) -> Result<(), String> {
        let note = || self.note(debt).map_err(|error| error.to_string());
        self.noted.get_or_init(note).clone()
    }

    fn note(&self, debt: &Debt) -> Result<(), DiskError> {
        let text = serde_json::to_vec(debt).expect("numbers and texts are JSON");
        let folder = self.path.parent().unwrap_or(Path::new("."));
        Ways::default().make(self.disk, folder)?;
        // It appears whole: a torn one could not be read.
        let mut draft = self.path.clone().into_os_string();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        self.disk.remove_all(&draft)?;
        self.disk.write(&draft, &text)?;
        self.disk.sync(&draft)?;
        self.disk.remove_all(&self.path)?;
        self.disk.rename_new(&draft, &self.path)?;
        self.disk.sync(folder)
    }

    /// Whether this run owes.
    pub(crate) fn is_owing(&self) -> bool {
        matches!(self.noted.get(), Some(Ok(())))
    }

    /// The debt is paid.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub(crate) fn settle(&self) -> Result<(), String> {
        self.disk.remove_all(&self.path).map_err(|error| error.to_string())
    }
}
