//! The calls of a run: one proxy for all its tasks, opened when the first of them needs it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::reply::FORGOTTEN;
use super::{Calling, Guarded, NewCalls, Proxy, Setting, Tally};
use crate::deed::lease::Holder;
use crate::deed::memory::Access;
use crate::ground::home::Home;
use crate::ground::manifest::calls::Token;
use crate::thought::bind::Params;
use crate::words::call::{Rule, Scope};
use crate::words::pipeline::Step;
use crate::words::task::TaskName;
use crate::words::template::Name;

/// The calls of a run.
pub struct Guards<'a> {
    /// Semel's own folder.
    pub home: &'a Home,
    /// Where commands run.
    pub folder: PathBuf,
    /// Semel's own environment.
    pub env: &'a BTreeMap<String, Vec<u8>>,
    /// The rules of the file.
    pub rules: &'a [Rule],
    /// Who we are.
    pub holder: Holder,
    /// The right to write to the manifest; `None` where nothing is done.
    pub access: Option<&'a Access>,
    /// The run's unique id.
    pub run_id: &'a str,
    /// How new calls are taken.
    pub new_calls: NewCalls,
    /// Whether nothing was ever lost from the memory.
    pub memory_is_whole: bool,
    /// The lease of the run, once it has begun.
    pub token: OnceLock<Token>,
    /// The proxy.
    pub opened: OnceLock<Result<Proxy, String>>,
    /// What the calls of all tasks came to.
    pub tally: Mutex<Tally>,
}

impl Guards<'_> {
    fn proxy(&self) -> Result<&Proxy, String> {
        let opened = self.opened.get_or_init(|| {
            let access = self.access.ok_or("no calls are made here")?;
            let env = self
                .env
                .iter()
                .map(|(name, value)| (OsString::from(name), OsStr::from_bytes(value).to_owned()));
            Proxy::open(&Setting {
                home: self.home,
                folder: &self.folder,
                env: env.collect(),
                rules: self.rules.to_vec(),
                holder: self.holder.clone(),
                access,
            })
        });
        opened.as_ref().map_err(Clone::clone)
    }

    /// Guards the calls of an attempt.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn guard(&self, scope: Scope, number: u64) -> Result<Guarded<'_>, String> {
        self.proxy()?.guard(Calling {
            scope,
            attempt: format!("{}/{number}", self.run_id),
            run_id: self.run_id.to_owned(),
            token: self.token.get().cloned(),
            new_calls: self.new_calls,
            memory_is_whole: self.memory_is_whole,
        })
    }

    /// An attempt's calls came to this; with `completed`, its task is done.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub fn came_to(&self, tally: Tally, completed: Option<&Scope>) -> Result<(), String> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(tally);
        completed.map_or(Ok(()), |scope| self.proxy()?.has_completed(scope))
    }

    /// What the calls of all tasks came to, and the rules that no call was for; `None` where
    /// no task made calls.
    #[must_use]
    pub fn sum(&self) -> Option<(Tally, Vec<String>)> {
        let Some(Ok(proxy)) = self.opened.get() else {
            return None;
        };
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let idle = proxy.idle_rules(&tally);
        Some((tally, idle))
    }
}

/// Whose calls those of a task are: the task's, and those of the parameters that it names
/// beside its instance.
#[must_use]
pub fn scope_of(pipeline: &str, step: &Step, task: TaskName, params: &Params) -> Scope {
    let named: BTreeMap<_, _> = step
        .counting_names()
        .filter_map(|name| match name {
            Name::Param(name) if !step.per.contains(name) => {
                params.iter().find(|(known, _)| known == name)
            }
            _ => None,
        })
        .collect();
    let params = match named.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&named).expect("texts are JSON"),
    };
    Scope { pipeline: pipeline.to_owned(), task: Some(task), params }
}

impl Tally {
    /// Whether calls were not sent since a memory that is not whole may have lost them.
    #[must_use]
    pub fn may_have_lost(&self) -> bool {
        self.refused.contains_key(FORGOTTEN)
    }

    /// Why a task is not done though its command may say so: in a line.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if !self.is_refused() {
            return None;
        }
        let mut parts = Vec::new();
        if let Some(first) = self.unknown.values().next() {
            let (count, total) = (self.unknown.len() as u64, self.sent + self.replayed);
            let total = total.max(count);
            let calls = if total == 1 { "call" } else { "calls" };
            parts.push(format!(
                "{count} of {total} {calls} may have been paid without an answer: {}: {}",
                first.what, first.why
            ));
        }
        parts.extend(
            self.refused.iter().map(|(why, count)| format!("{count} calls {why}; not sent")),
        );
        Some(parts.join("; "))
    }
}
