//! Recovery: what a killed run left is finished or cleaned up by the next one, before
//! it plans anything.
//!
//! A publication that was journalled is finished, and its receipt is written; if a
//! check comes before that, its outputs are put in their places, and the look at the
//! task asks it. All else is cleaned up.
//!
//! Invariants: only what belongs to a run that is certainly dead is touched: its
//! lock is ours now, and nobody else holds the leases under which it worked. *I10* what
//! belongs to an attempt whose command outlived its run is left alone. What a `once`
//! attempt wrote is kept until a human settled it.
//!
//! *If we die here*: all of it is decided by looking, and done again.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::deed::aside::{self, MadeRoom};
use crate::deed::at_work::{self, AtWork};
use crate::deed::journal::{self, AllUnsettled, Extent, Unsettled};
use crate::deed::lease::{DYING, Gate, is_held, patiently};
use crate::deed::log::RunLog;
use crate::deed::once::{OnceWriter, Written};
use crate::deed::script;
use crate::deed::stage::{clear_run, number_of, save_older, settle_kept};
use crate::deed::ways::Ways;
use crate::ground::home::Home;
use crate::ground::manifest::{Attempts, Entry, Manifest, ManifestError, Said};
use crate::ground::world::disk::{Disk, DiskError, Kind};
use crate::ground::world::file_system::FileSystem;
use crate::thought::bind::Params;
use crate::words::digest::Digest;
use crate::words::journal::Journal;
use crate::words::once::Doer;
use crate::words::path::path_of;
use crate::words::pipeline::Pipeline;
use crate::words::receipt::{Failure, LogRange};
use crate::words::run::Worker;
use crate::words::task::{TaskName, decode};

/// A dead run that was cleaned up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Its number, if the manifest knows it.
    pub number: Option<i64>,
    /// How many attempts were cut short.
    pub attempts: usize,
    /// The tasks whose publication was finished.
    pub finished: Vec<TaskName>,
    /// What else went wrong, and harms nothing now.
    pub complaints: Vec<String>,
    /// What was found where a command wrote in place, and where it was moved to when
    /// what had been there was put back; or what had been there, where what was found
    /// was accepted.
    pub made_room: MadeRoom,
}

/// What was found of dead runs.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Those that were cleaned up.
    pub cleaned: Vec<Recovered>,
    /// Attempts of theirs whose commands are still at work.
    pub orphans: Vec<AtWork>,
    /// Publications whose checks are still to be asked.
    pub unsettled: AllUnsettled,
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
    /// What was journalled could not be finished.
    #[error("what {task} published cannot be finished: {why}")]
    Unfinished {
        /// The task.
        task: TaskName,
        /// Why.
        why: String,
    },
}

/// Cleans up after all runs that are dead. Gives those, and what is still open of them.
///
/// # Errors
/// If something cannot be looked at, moved or removed.
pub fn recover(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
    here: &Here<'_>,
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
    let mut runs = disk.list(&staging)?;
    // Their ids are in the order in which they began.
    runs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    for entry in runs {
        let folder = staging.join(&entry.name);
        let run_id = entry.name.to_string_lossy();
        if run_id == here.own {
            // It is the next run's to clean up, should it be dead.
            continue;
        }
        let Some(lock) = lock_of_dead(&home.run_lock(&run_id)) else {
            continue;
        };
        let journals = journal::all_in(disk, &folder)?;
        let known = journals.iter().filter_map(|(_, journal)| journal.as_ref());
        let leases = known.flat_map(|journal| &journal.record.leases);
        // Somebody else works on what it worked on: they come to it themselves.
        let Some(_leases) = here.leases_of_dead(home, leases) else {
            continue;
        };
        let orphans = await_the_dying(home, &run_id)?;
        let at_work: Vec<_> = orphans.iter().map(|orphan| orphan.number).collect();
        recovered.orphans.extend(orphans);
        // What it made last in here, nobody may have made durable.
        Ways::default().sync(disk, [&home.path().to_owned()])?;
        let worker = Worker::named(&run_id);
        let number = manifest.run_number(&worker.run_id)?;
        let (mut finished, mut complaints) = (Vec::new(), Vec::new());
        for (path, journal) in journals {
            let Some(journal) = journal else {
                // It is torn: nothing was moved.
                journal::forget(disk, &path)?;
                continue;
            };
            if at_work.contains(&journal.record.number) {
                continue;
            }
            let task = journal.task();
            let found = Found { disk, home, number, journal, path };
            match found.settle(manifest, here)? {
                Settled::Finished(complaint) => {
                    finished.push(task);
                    complaints.extend(complaint);
                }
                Settled::Waits(found) if found.journal.record.pipeline == here.pipeline.name => {
                    recovered.unsettled.insert(task, *found);
                }
                Settled::Waits(_) | Settled::Undone | Settled::Stays => {}
            }
        }
        let (open, accepted) = match number {
            Some(number) => {
                let numbers = worker.attempts();
                let accepted = manifest.accepted_attempts_of(number, numbers.clone())?;
                (manifest.open_attempts_of(number, numbers)?, accepted)
            }
            None => (Vec::new(), Vec::new()),
        };
        let attempts = attempts_in(disk, &folder, &open, &at_work)?;
        if let Some(number) = number {
            let logs = pack_logs(disk, &folder, &RunLog::at(home.log(number)), &at_work)?;
            let steps = script::steps_of(&script::notes(disk, &folder)?);
            manifest.close_dead_run(number, worker.attempts(), &logs, &steps)?;
        }
        let displaced = home.displaced(number.unwrap_or(0));
        let fate_of = |number| match () {
            () if at_work.contains(&number) => None,
            () if accepted.contains(&number) => Some(aside::Fate::SetAside),
            () if open.contains(&number) => Some(aside::Fate::PutBack),
            () => Some(aside::Fate::Removed),
        };
        let mut made_room = settle_kept(disk, &folder, &displaced, &fate_of)?;
        made_room.extend(save_older(disk, &folder, &displaced, &at_work)?);
        // What is open cannot be removed there; and nobody else is there who would.
        let _lock = lock.filter(|_| !FileSystem::is_network(&folder));
        clear_run(disk, &folder, &at_work, &mut |once| open.contains(&once))?;
        if attempts > 0 || !made_room.is_empty() || !finished.is_empty() {
            recovered.cleaned.push(Recovered { number, attempts, finished, complaints, made_room });
        }
    }
    Ok(recovered)
}

/// The publications of a pipeline that its next run would finish: for those who only
/// look.
///
/// # Errors
/// If something cannot be looked at.
pub fn pending(
    disk: &dyn Disk,
    home: &Home,
    manifest: &dyn Manifest,
    pipeline: &str,
) -> Result<AllUnsettled, RecoverError> {
    let staging = home.staging();
    let mut pending = AllUnsettled::new();
    if disk.look(&staging)?.is_none() {
        return Ok(pending);
    }
    for entry in disk.list(&staging)? {
        let folder = staging.join(&entry.name);
        let run_id = entry.name.to_string_lossy();
        let is_alive = is_held(&home.run_lock(&run_id));
        let is_alive = is_alive.map_err(|source| DiskError {
            doing: "ask the lock",
            path: home.run_lock(&run_id),
            source,
        })?;
        if entry.kind != Kind::Folder || is_alive {
            continue;
        }
        for (path, journal) in journal::all_in(disk, &folder)? {
            let Some(journal) = journal.filter(|known| known.record.pipeline == pipeline) else {
                continue;
            };
            let number = manifest.run_number(&Worker::named(&run_id).run_id)?;
            let found = Found { disk, home, number, journal, path };
            if !found.is_over(manifest)? && journal::is_whole(disk, &found.journal)? {
                let Found { journal, path, .. } = found;
                let task = journal.task();
                let unsettled = Unsettled { journal, path, run: number, is_in_place: false };
                pending.insert(task, unsettled);
            }
        }
    }
    Ok(pending)
}

/// The run that recovers, as far as it matters for what others left.
pub struct Here<'a> {
    /// Its pipeline.
    pub pipeline: &'a Pipeline,
    /// The values of its parameters.
    pub params: &'a Params,
    /// The lock files of the leases under which it works.
    pub leases: &'a [PathBuf],
    /// The run on which it works, as one of several.
    pub own: &'a str,
    /// Whether it knows all steps of its pipeline, or only one, or those of a script,
    /// which says them one by one.
    pub knows_all: bool,
}

/// What is done about a publication that was cut short.
enum Fate {
    /// It is finished, and has its receipt.
    Receipt,
    /// It is finished as far as its check, which is asked by the look at its task.
    Check,
    /// It is undone: nobody will ask its check.
    PutBack,
}

impl Here<'_> {
    /// The leases of a dead run, as locks that are held; `None` if somebody else holds
    /// one. What this run holds itself is among them.
    fn leases_of_dead<'l>(
        &self,
        home: &Home,
        leases: impl Iterator<Item = &'l String>,
    ) -> Option<Vec<File>> {
        let leases: BTreeSet<_> = leases.map(|name| home.lock_of(name)).collect();
        let others = leases.iter().filter(|path| !self.leases.contains(path));
        let held = others.map(|path| lock_of_dead(path)).collect::<Option<Vec<_>>>()?;
        Some(held.into_iter().flatten().collect())
    }

    fn fate_of(&self, disk: &dyn Disk, journal: &Journal) -> Result<Fate, DiskError> {
        let record = &journal.record;
        if !record.asks {
            return Ok(Fate::Receipt);
        }
        if record.pipeline != self.pipeline.name {
            // Whoever runs that pipeline asks.
            return Ok(Fate::Check);
        }
        let step = self.pipeline.steps.iter().find(|step| step.name == record.step);
        let item = Some(&record.item).filter(|item| !item.is_empty());
        Ok(match step {
            // What is unsafe to repeat is not undone: it was done.
            _ if record.once => Fate::Check,
            // Whoever comes to that step asks.
            None if !self.knows_all => Fate::Check,
            None => Fate::PutBack,
            Some(step) if step.check.is_none() => Fate::Receipt,
            Some(step) if step.has_file_items() => {
                let item = item.and_then(|item| decode(item)).map(path_of);
                match item {
                    Some(item) if disk.look(&item)?.is_some() => Fate::Check,
                    _ => Fate::PutBack,
                }
            }
            Some(_) => Fate::Check,
        })
    }
}

/// A journal that was found.
struct Found<'a> {
    disk: &'a dyn Disk,
    home: &'a Home,
    /// The number of its run, if the manifest knows it.
    number: Option<i64>,
    journal: Journal,
    path: PathBuf,
}

/// What became of a publication that was cut short.
enum Settled {
    /// It has its receipt; what else went wrong.
    Finished(Option<String>),
    /// Its outputs are in their places; its check is still to be asked.
    Waits(Box<Unsettled>),
    /// Nothing of it is left: it had its receipt, or was undone.
    Undone,
    /// Not all of it was found: it stays for a human to look at.
    Stays,
}

impl Found<'_> {
    /// Finishes or undoes a publication, by looking how far it is.
    fn settle(self, manifest: &mut dyn Manifest, here: &Here<'_>) -> Result<Settled, RecoverError> {
        let disk = self.disk;
        if self.is_over(manifest)? {
            self.clear(manifest)?;
            return Ok(Settled::Undone);
        }
        let fate = here.fate_of(disk, &self.journal)?;
        if matches!(fate, Fate::PutBack) {
            return self.undo();
        }
        let run = self.number.unwrap_or(self.journal.record.receipt.by.number);
        let displaced = self.home.displaced(run);
        let rolled = {
            let made = |path: &Path, digest: &Digest| Ok(manifest.made(path, digest)?);
            journal::roll_forward(disk, &made, &self.journal, &self.path, &displaced)
        };
        match rolled {
            Ok(Extent::Whole) => {}
            // What is in the way is somebody's, or a part of it is gone: it is done
            // again, unless that is unsafe.
            Ok(Extent::Lost) | Err(Failure::BadEffect(_)) if self.journal.record.once => {
                return Ok(Settled::Stays);
            }
            Ok(Extent::Lost) | Err(Failure::BadEffect(_)) => return self.undo(),
            Err(failure) => return Err(self.unfinished(&failure.to_string())),
        }
        // A manifest that does not know the run cannot tell what came after it.
        match (fate, self.number) {
            (Fate::Receipt, Some(number)) => {
                let complaint = self.complete(manifest, number)?;
                self.clear(manifest)?;
                Ok(Settled::Finished(complaint))
            }
            (_, run) => {
                let Found { mut journal, path, .. } = self;
                // What was moved aside just now is noted there.
                if let Some(now) = journal::read(disk, &path)? {
                    journal = now;
                }
                Ok(Settled::Waits(Box::new(Unsettled { journal, path, run, is_in_place: true })))
            }
        }
    }

    /// Whether its task has its receipt, or was begun anew since.
    fn is_over(&self, manifest: &dyn Manifest) -> Result<bool, RecoverError> {
        let (Some(number), task) = (self.number, self.journal.task()) else {
            return Ok(false);
        };
        let pipeline = &self.journal.record.pipeline;
        if manifest.receipt(pipeline, &task)?.is_some_and(|receipt| receipt.run >= number) {
            return Ok(true);
        }
        let attempts = manifest.attempts(pipeline, Attempts::OfTask(&task))?;
        Ok(attempts.iter().any(|attempt| attempt.task == task && attempt.run > number))
    }

    /// Writes the receipt that is owed; of what is unsafe to repeat to `once.log` first.
    fn complete(
        &self,
        manifest: &mut dyn Manifest,
        number: i64,
    ) -> Result<Option<String>, RecoverError> {
        let record = &self.journal.record;
        let receipt = self.journal.receipt(number);
        let receipt = receipt.ok_or_else(|| self.unfinished("its receipt is not one"))?;
        let said = match record.said {
            Some(said) => {
                let task = &receipt.task;
                let memory = manifest.memory_of(&record.pipeline, &task.step, &task.instance)?;
                let is_known = |known: &Said| known.id == said && known.item == record.item;
                Some(said).filter(|_| memory.said.iter().any(is_known))
            }
            None => None,
        };
        let entry = Entry::Complete {
            receipt: Box::new(receipt),
            attempt: self.journal.attempt(number),
            said,
            ends: record.ends,
        };
        if record.once {
            let by = Doer { number, ..record.receipt.by.clone() };
            let mut writer = OnceWriter::new(self.disk, self.home, manifest, by)?;
            let Written { result, complaint } = writer.write(manifest, &record.pipeline, &entry);
            result.map_err(|why| self.unfinished(&why))?;
            return Ok(complaint);
        }
        let written = manifest.write(&record.pipeline, &[entry]);
        written.into_iter().collect::<Result<(), _>>()?;
        Ok(None)
    }

    /// Puts back what was there before, and forgets the publication.
    fn undo(self) -> Result<Settled, RecoverError> {
        journal::put_back(self.disk, &self.journal)?;
        journal::forget(self.disk, &self.path)?;
        Ok(Settled::Undone)
    }

    /// Removes what is left in staging, but for what semel did not make.
    fn clear(&self, manifest: &dyn Manifest) -> Result<(), RecoverError> {
        let run = self.number.unwrap_or(self.journal.record.receipt.by.number);
        let made = |path: &Path, digest: &Digest| Ok(manifest.made(path, digest)?);
        let saved =
            journal::save_others(self.disk, &made, &self.journal, &self.home.displaced(run));
        saved.map_err(|failure| self.unfinished(&failure.to_string()))?;
        for folder in journal::folders(&self.journal) {
            self.disk.remove_all(&folder)?;
        }
        Ok(journal::forget(self.disk, &self.path)?)
    }

    fn unfinished(&self, why: &str) -> RecoverError {
        RecoverError::Unfinished { task: self.journal.task(), why: why.to_owned() }
    }
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
    let settled = patiently(DYING, || {
        let orphans = at_work::of_run(home, run_id)?;
        Ok::<_, DiskError>((!orphans.iter().any(AtWork::is_ending)).then_some(orphans))
    });
    match settled? {
        Some(orphans) => Ok(orphans),
        None => at_work::of_run(home, run_id),
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
    let names = entries.iter().map(|entry| entry.name.to_string_lossy());
    let journalled: Vec<_> = names.filter_map(|name| journal::number_of(&name)).collect();
    let cut_short = entries.iter().filter(|entry| {
        let name = entry.name.to_string_lossy();
        let is_kept = |number| {
            at_work.contains(&number)
                || (name.starts_with("once-") && open.contains(&number))
                || journalled.contains(&number)
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
        let range = log.append_once(&mut disk.open(&path)?).map_err(|source| DiskError {
            doing: "keep",
            path,
            source,
        })?;
        logs.push((number, range));
    }
    logs.sort_unstable_by_key(|(number, _)| *number);
    Ok(logs)
}
