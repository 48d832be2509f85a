//! Recovery: what a killed run left is cleaned up by the next one, before it
//! plans anything.
//!
//! Invariant: only what belongs to a run that is certainly dead is touched: its
//! lock is ours now. What a `once` attempt wrote is kept until a human settled
//! it.

use std::fs::File;
use std::path::Path;

use crate::deed::aside::{self, Fate, MadeRoom};
use crate::deed::lease::Gate;
use crate::deed::log::RunLog;
use crate::deed::stage::{clear_run, save_older, settle_kept};
use crate::deed::ways::Ways;
use crate::ground::home::Home;
use crate::ground::manifest::{Manifest, ManifestError};
use crate::ground::world::disk::{Disk, DiskError, Kind};
use crate::words::receipt::LogRange;

/// A dead run that was cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its number, if the manifest knows it.
    pub number: Option<i64>,
    /// How many attempts were cut short.
    pub attempts: usize,
    /// What was found where a command wrote in place, and where it was moved to when
    /// what had been there was put back; or what had been there, where what was found
    /// was accepted.
    pub made_room: MadeRoom,
}

/// Why a dead run could not be cleaned up.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The manifest said no.
    #[error("the manifest: {0}")]
    Manifest(#[from] ManifestError),
}

/// Cleans up after all runs that are dead.
///
/// # Errors
/// If something cannot be looked at or removed.
pub fn recover(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
) -> Result<Vec<Recovered>, RecoverError> {
    let staging = home.staging();
    let mut recovered = Vec::new();
    if disk.look(&staging)?.is_none() {
        return Ok(recovered);
    }
    let _gate = Gate::pass(home).map_err(|source| DiskError {
        doing: "lock",
        path: home.gate(),
        source,
    })?;
    for entry in disk.list(&staging)? {
        let folder = staging.join(&entry.name);
        let run_id = entry.name.to_string_lossy();
        let Some(_lock) = lock_of_dead(&home.run_lock(&run_id)) else {
            continue;
        };
        // What it made last in here, nobody may have made durable.
        Ways::default().sync(disk, [&home.path().to_owned()])?;
        let number = manifest.run_number(&run_id)?;
        let (open, accepted) = match number {
            Some(number) => {
                (manifest.open_attempts_of(number)?, manifest.accepted_attempts_of(number)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        let attempts = attempts_in(disk, &folder, &open)?;
        if let Some(number) = number {
            let logs = pack_logs(disk, &folder, &RunLog::at(home.log(number)))?;
            manifest.close_dead_run(number, &logs)?;
        }
        let displaced = home.displaced(number.unwrap_or(0));
        let fate_of = |number| match () {
            () if accepted.contains(&number) => Fate::SetAside,
            () if open.contains(&number) => Fate::PutBack,
            () => Fate::Removed,
        };
        let mut made_room = settle_kept(disk, &folder, &displaced, &fate_of)?;
        made_room.extend(save_older(disk, &folder, &displaced)?);
        clear_run(disk, &folder, &mut |once| open.contains(&once))?;
        if attempts > 0 || !made_room.is_empty() {
            recovered.push(Recovered { number, attempts, made_room });
        }
    }
    Ok(recovered)
}

/// The lock of a run, if that run is dead. A folder without a lock file was left
/// by one that died while it began, or while it ended.
fn lock_of_dead(path: &Path) -> Option<Option<File>> {
    match File::open(path) {
        Ok(file) => file.try_lock().is_ok().then_some(Some(file)),
        Err(error) => (error.kind() == std::io::ErrorKind::NotFound).then_some(None),
    }
}

/// How many attempts left something, but for those that are kept.
fn attempts_in(disk: &dyn Disk, folder: &Path, open: &[u64]) -> Result<usize, DiskError> {
    let entries = disk.list(folder)?;
    let cut_short = entries.iter().filter(|entry| {
        let name = entry.name.to_string_lossy();
        let number: Option<u64> = name.strip_prefix("once-").unwrap_or(&name).parse().ok();
        let number = number.or_else(|| aside::number_of(&name));
        let is_kept =
            name.starts_with("once-") && number.is_some_and(|number| open.contains(&number));
        entry.kind == Kind::Folder && number.is_some() && !is_kept
    });
    Ok(cut_short.count())
}

/// Appends what cut-short attempts printed to the run's log.
fn pack_logs(
    disk: &dyn Disk,
    folder: &Path,
    log: &RunLog,
) -> Result<Vec<(u64, LogRange)>, DiskError> {
    let mut logs = Vec::new();
    for entry in disk.list(folder)? {
        let name = entry.name.to_string_lossy();
        let Some(number) = name.strip_suffix(".log").and_then(|number| number.parse().ok()) else {
            continue;
        };
        let path = folder.join(&entry.name);
        let range = log.append(&mut disk.open(&path)?).map_err(|source| DiskError {
            doing: "keep",
            path,
            source,
        })?;
        logs.push((number, range));
    }
    logs.sort_unstable_by_key(|(number, _)| *number);
    Ok(logs)
}
