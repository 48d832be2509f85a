//! Recovery: what a killed run left is cleaned up by the next one, before it
//! plans anything.
//!
//! Invariants: only what belongs to a run that is certainly dead is touched: its
//! lock is ours now. *I10* what belongs to an attempt whose command outlived its run
//! is left alone. What a `once` attempt wrote is kept until a human settled it.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::deed::aside::{Fate, MadeRoom};
use crate::deed::at_work::{self, AtWork};
use crate::deed::lease::{DYING, Gate};
use crate::deed::log::RunLog;
use crate::deed::stage::{clear_run, number_of, save_older, settle_kept};
use crate::deed::ways::Ways;
use crate::ground::home::Home;
use crate::ground::manifest::{Manifest, ManifestError};
use crate::ground::world::disk::{Disk, DiskError, Kind};
use crate::ground::world::file_system::FileSystem;
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

/// What was found of dead runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Those that were cleaned up.
    pub cleaned: Vec<Recovered>,
    /// Attempts of theirs whose commands are still at work.
    pub orphans: Vec<AtWork>,
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
) -> Result<Recovery, RecoverError> {
    let staging = home.staging();
    let mut recovered = Recovery::default();
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
        let Some(lock) = lock_of_dead(&home.run_lock(&run_id)) else {
            continue;
        };
        let orphans = await_the_dying(home, &run_id)?;
        let at_work: Vec<_> = orphans.iter().map(|orphan| orphan.number).collect();
        recovered.orphans.extend(orphans);
        // What it made last in here, nobody may have made durable.
        Ways::default().sync(disk, [&home.path().to_owned()])?;
        let number = manifest.run_number(&run_id)?;
        let (open, accepted) = match number {
            Some(number) => {
                (manifest.open_attempts_of(number)?, manifest.accepted_attempts_of(number)?)
            }
            None => (Vec::new(), Vec::new()),
        };
        let attempts = attempts_in(disk, &folder, &open, &at_work)?;
        if let Some(number) = number {
            let logs = pack_logs(disk, &folder, &RunLog::at(home.log(number)), &at_work)?;
            manifest.close_dead_run(number, &logs)?;
        }
        let displaced = home.displaced(number.unwrap_or(0));
        let fate_of = |number| match () {
            () if at_work.contains(&number) => None,
            () if accepted.contains(&number) => Some(Fate::SetAside),
            () if open.contains(&number) => Some(Fate::PutBack),
            () => Some(Fate::Removed),
        };
        let mut made_room = settle_kept(disk, &folder, &displaced, &fate_of)?;
        made_room.extend(save_older(disk, &folder, &displaced, &at_work)?);
        // What is open cannot be removed there; and nobody else is there who would.
        let _lock = lock.filter(|_| !FileSystem::is_network(&folder));
        clear_run(disk, &folder, &at_work, &mut |once| open.contains(&once))?;
        if attempts > 0 || !made_room.is_empty() {
            recovered.cleaned.push(Recovered { number, attempts, made_room });
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

/// The attempts of a dead run that are still at work. Those that are being ended are
/// given a while.
fn await_the_dying(home: &Home, run_id: &str) -> Result<Vec<AtWork>, DiskError> {
    let began = Instant::now();
    loop {
        let orphans = at_work::of_run(home, run_id)?;
        if began.elapsed() >= DYING || !orphans.iter().any(AtWork::is_ending) {
            return Ok(orphans);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many attempts left something, but for those that are kept, or at work.
fn attempts_in(
    disk: &dyn Disk,
    folder: &Path,
    open: &[u64],
    at_work: &[u64],
) -> Result<usize, DiskError> {
    let entries = disk.list(folder)?;
    let cut_short = entries.iter().filter(|entry| {
        let name = entry.name.to_string_lossy();
        let is_kept = |number| {
            at_work.contains(&number) || (name.starts_with("once-") && open.contains(&number))
        };
        entry.kind == Kind::Folder && number_of(&name).is_some_and(|number| !is_kept(number))
    });
    Ok(cut_short.count())
}

/// Appends what cut-short attempts printed to the run's log.
fn pack_logs(
    disk: &dyn Disk,
    folder: &Path,
    log: &RunLog,
    at_work: &[u64],
) -> Result<Vec<(u64, LogRange)>, DiskError> {
    let mut logs = Vec::new();
    for entry in disk.list(folder)? {
        let name = entry.name.to_string_lossy();
        let Some(number) = name.strip_suffix(".log").and_then(|number| number.parse().ok()) else {
            continue;
        };
        if at_work.contains(&number) {
            continue;
        }
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
