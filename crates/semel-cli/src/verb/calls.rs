//! `semel calls …`: what was sent, what it cost, and what a human says of what is unknown.
//!
//! Calls are kept by the folder: no pipeline file is read, and none need be there.
//!
//! Invariant: who only looks changes nothing. A call whose sender is dead is shown as what it
//! is, unknown, before that is written down.

mod json;
mod list;
mod settle;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use semel::deed::calls::dead_senders;
use semel::deed::memory;
use semel::ground::home::Home;
use semel::ground::manifest::ManifestError;
use semel::ground::manifest::calls::{Calls as _, Which};
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel::words::call::{BodyOf, CallRecord, CallState, DIED, PROXY};
use semel::words::task::TaskPattern;

use crate::args::{self, Calls, CallsWhich, Common};
use crate::exit::Exit;
use crate::place;
use crate::show::fail::Failed;
use crate::verb::step::home_of;

pub(crate) fn calls(common: &Common, options: &Calls) -> Result<Exit, Failed> {
    if !common.params.is_empty() {
        let why = "`-p` says nothing of calls; `--task STEP@VALUE` names those of an instance";
        return Err(Failed::Usage(why.to_owned()));
    }
    let folder = Folder::find(common)?;
    match options {
        Calls::List(options) => list::list(&folder, options),
        Calls::Show(options) => show::show(&folder, options),
        Calls::Done(options) => settle::done(&folder, options),
        Calls::Redo(options) => settle::redo(&folder, &options.which),
        Calls::Export(options) => export(&folder, options),
    }
}

/// The folder whose calls are meant.
struct Folder {
    disk: RealDisk,
    home: Home,
    /// What must be typed again to name it.
    again: String,
}

impl Folder {
    fn find(common: &Common) -> Result<Self, Failed> {
        let root = match &common.file {
            Some(named) => folder_of(named)?,
            None => {
                let here = std::env::current_dir();
                home_of(&here.map_err(|error| {
                    Failed::Broken(format!("there is no folder here: {error}"))
                })?)?
            }
        };
        let disk = RealDisk::at(&root).map_err(|error| Failed::Broken(error.to_string()))?;
        let home = Home::in_folder(disk.root());
        Ok(Self { disk, home, again: place::file_again(common) })
    }

    fn root(&self) -> &Path {
        self.disk.root()
    }

    fn broken(&self, error: ManifestError) -> Failed {
        Failed::Manifest(self.home.manifest(), error)
    }

    /// The manifest, for reading.
    fn read(&self) -> Result<SqliteManifest, Failed> {
        let looked = memory::read(&self.disk, &self.home).map_err(|error| self.broken(error))?;
        looked.map(|looked| looked.manifest).ok_or_else(|| self.broken(ManifestError::Absent))
    }

    /// The calls of these numbers, or all. Those whose sender is dead are unknown.
    fn calls(&self, store: &SqliteManifest, ids: &[i64]) -> Result<Vec<CallRecord>, Failed> {
        if !store.is_there().map_err(|error| self.broken(error))? {
            return Ok(Vec::new());
        }
        let which = Which { ids: ids.to_vec(), ..Which::default() };
        let mut calls = store.calls(&which).map_err(|error| self.broken(error))?;
        let dead = dead_senders(&self.home, store).map_err(|error| self.broken(error))?;
        for call in &mut calls {
            if call.state == CallState::InFlight && dead.contains(&call.sender) {
                call.state = CallState::Unknown;
                call.reason = Some(DIED.to_owned());
            }
        }
        Ok(calls)
    }

    /// A body, where it is kept.
    fn body(&self, store: &SqliteManifest, body: &BodyOf) -> Result<Option<Vec<u8>>, Failed> {
        if !body.is_kept {
            return Ok(None);
        }
        if let Some(content) = store.body(&body.digest).map_err(|error| self.broken(error))? {
            return Ok(Some(content));
        }
        let path = self.home.body(&body.digest);
        std::fs::read(&path)
            .map(Some)
            .map_err(|error| Failed::Broken(format!("{} cannot be read: {error}", path.display())))
    }
}

/// The folder of a pipeline file or a script that is named.
fn folder_of(named: &Path) -> Result<PathBuf, Failed> {
    let absent = |error: std::io::Error| {
        Failed::Usage(format!("{} cannot be read: {error}", named.display()))
    };
    let file = named.canonicalize().map_err(absent)?;
    let folder = file.parent().unwrap_or(&file).to_owned();
    match file.extension().is_some_and(|ending| ending == "toml") {
        true if !Home::in_folder(&folder).exists() => Err(Failed::NoHome(folder)),
        true => Ok(folder),
        false => home_of(&folder),
    }
}

fn takes(which: &CallsWhich, call: &CallRecord) -> bool {
    let is_like = which
        .pattern
        .as_ref()
        .is_none_or(|pattern| pattern.matches_url(&call.asked.method, &call.asked.url));
    is_like && which.task.as_ref().is_none_or(|task| is_of(call, &TaskPattern::parse(task)))
}

fn is_of(call: &CallRecord, pattern: &TaskPattern) -> bool {
    call.scope.task.as_ref().is_some_and(|task| {
        task.step == pattern.step
            && pattern.instance.as_ref().is_none_or(|instance| *instance == task.instance)
            && pattern.takes_item(task.item.as_deref())
    })
}

/// Whose call it is, in a word.
fn whose(call: &CallRecord) -> String {
    call.scope.task.as_ref().map_or_else(|| "all tasks".to_owned(), ToString::to_string)
}

/// The name of the `semel proxy` whose call it is, if it is of one.
fn proxy_of(call: &CallRecord) -> Option<&str> {
    let task = call.scope.task.as_ref().filter(|_| call.scope.pipeline == PROXY)?;
    Some(&task.step)
}

/// What was asked, as a pattern names it.
fn request(call: &CallRecord) -> String {
    let url = call.asked.url.strip_prefix("https://").unwrap_or(&call.asked.url);
    format!("{} {url}", call.asked.method)
}

fn export(folder: &Folder, options: &args::ExportCalls) -> Result<Exit, Failed> {
    let store = folder.read()?;
    let calls = folder.calls(&store, &[])?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for call in calls.iter().filter(|call| takes(&options.which, call)) {
        writeln!(out, "{}", json::with_bodies(folder, &store, call)?)?;
    }
    out.flush()?;
    Ok(Exit::DONE)
}
