//! Staging: where an attempt writes until its outputs are whole.
//!
//! A staged path is absolute and keeps the output's file name, since tools look
//! at it. Staging lies on the file system of the output, and never where a
//! consumer looks.
//!
//! *On disk*: `.semel/staging/RUN/NUMBER/NAME`, and beside the output
//! `.semel-RUN/NUMBER/NAME` where that is another file system; such folders are
//! listed in `.semel/staging/RUN/elsewhere`. `NUMBER` is that of the attempt;
//! `once-NUMBER` is kept when the attempt did not end well, and so is what has a
//! journal, `NUMBER.journal`.
//!
//! *If we die here*: the run's lock is free, and the next run removes what is
//! left.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::deed::aside::{self, Fate, Keeping, Kept, MadeRoom};
use crate::deed::at_work::{self, Lock, Locks};
use crate::deed::journal;
use crate::deed::lease::{Gate, Holder, Lease, LeaseError};
use crate::deed::log;
use crate::deed::ways::Ways;
use crate::ground::digests;
use crate::ground::home::Home;
use crate::ground::world::disk::{DirEntry, Disk, DiskError, DiskResult, Kind};
use crate::ground::world::file_system::FileSystem;
use crate::words::path::{bytes_of, path_of};
use crate::words::pipeline::{InPlace, Step};
use crate::words::stamp::Stamp;
use crate::words::task::{Task, TaskName};

/// The list of staging folders that lie beside outputs.
const ELSEWHERE: &str = "elsewhere";

/// What such a folder is called, before the run's id.
const BESIDE: &str = ".semel-";

/// The staging of a run.
pub struct Staging<'a> {
    disk: &'a dyn Disk,
    home: Home,
    folder: PathBuf,
    run_id: String,
    device: u64,
    /// For each folder of outputs, where to stage beside it; `None` where the
    /// run's own folder is on the same file system.
    beside: Mutex<HashMap<PathBuf, Option<PathBuf>>>,
    /// The locks of its attempts.
    locks: Locks,
    /// The folders that outlive a power cut.
    pub(crate) ways: Ways,
    alive: Lease,
}

/// Where an attempt writes.
#[derive(Debug, Default)]
pub struct Place {
    /// A path for each output, in their order.
    pub paths: Vec<PathBuf>,
    /// Whether what a failed attempt wrote is kept for a human.
    pub keeps_what_failed: bool,
    /// What was kept aside, where the command writes in place: for each output
    /// that was there, its copy.
    pub(crate) kept: Vec<Option<Kept>>,
    /// Where its publication is journalled, where it is.
    pub(crate) journal: Option<PathBuf>,
    /// The folders that were made for it.
    folders: Vec<PathBuf>,
    /// That an attempt is at work there.
    pub(crate) lock: Option<Lock>,
}

impl Place {
    /// What a dead run left of an attempt.
    pub(crate) fn left(folders: Vec<PathBuf>, journal: PathBuf) -> Self {
        Self { journal: Some(journal), folders, ..Self::default() }
    }

    /// The folder with the list of what was kept aside, if anything may have been.
    fn kept_list(&self) -> Option<&Path> {
        self.folders.last().filter(|_| !self.kept.is_empty()).map(PathBuf::as_path)
    }

    /// When its first folder was made, in nanoseconds since 1970, where the file
    /// system knows.
    pub(crate) fn born(&self, disk: &dyn Disk) -> DiskResult<Option<i64>> {
        self.folders.first().map_or(Ok(None), |folder| disk.birth(folder))
    }
}

impl<'a> Staging<'a> {
    /// Begins the staging of a run, and shows by its lock that the run lives.
    ///
    /// # Errors
    /// If the folder cannot be made or locked.
    pub fn begin(
        disk: &'a dyn Disk,
        home: &Home,
        run_id: &str,
        number: i64,
        pipeline: &str,
        holder: &Holder,
    ) -> Result<Self, LeaseError> {
        let folder = home.staging_of(run_id);
        let failed = |source| LeaseError::Io { path: folder.clone(), source };
        // Whoever cleans up after dead runs never sees it without its lock held.
        let _gate = Gate::pass(home).map_err(failed)?;
        disk.make_folders(&folder).map_err(|error| failed(error.source))?;
        let alive = Lease::take(&home.run_lock(run_id), holder)?;
        let meta = disk.look(&folder).map_err(|error| failed(error.source))?;
        let meta = meta.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        Ok(Self {
            disk,
            home: home.clone(),
            device: meta.device,
            locks: Locks::of(&folder, number, pipeline),
            folder,
            run_id: run_id.to_owned(),
            beside: Mutex::default(),
            ways: Ways::default(),
            alive,
        })
    }

    /// Notes that an attempt is at work in a place, until that is dropped.
    ///
    /// # Errors
    /// If its lock cannot be had.
    pub(crate) fn open(&self, place: &mut Place, task: TaskName, number: u64) -> DiskResult<()> {
        place.lock = Some(self.locks.begin(task, number)?);
        Ok(())
    }

    /// Makes a place for an attempt at a task.
    ///
    /// # Errors
    /// If a folder cannot be made.
    pub fn place(&self, step: &Step, task: &Task, number: u64) -> DiskResult<Place> {
        if step.in_place != InPlace::No {
            return self.place_in_place(step, task, number);
        }
        let name = attempt_folder(step.once, number);
        let mut place = Place {
            paths: Vec::with_capacity(task.outs.len()),
            keeps_what_failed: step.once,
            ..Place::default()
        };
        for (at, path) in task.outs.iter().enumerate() {
            let base = self.base_for(path)?;
            let folder = base.join(&name);
            if !place.folders.contains(&folder) {
                self.disk.make_folders(&folder)?;
                place.folders.push(folder.clone());
            }
            let staged = staged_path(step, at, &folder, path);
            if step.outs.len() > 1
                && let Some(parent) = staged.parent()
            {
                self.disk.make_folders(parent)?;
            }
            if step.outs[at].folder {
                self.disk.make_folders(&staged)?;
            }
            place.paths.push(staged);
        }
        Ok(place)
    }

    /// The place of a command that writes where its outputs will be: what is there
    /// is kept aside first, if it is wanted.
    fn place_in_place(&self, step: &Step, task: &Task, number: u64) -> DiskResult<Place> {
        let mut place = Place {
            paths: task.outs.iter().map(|path| self.disk.root().join(path)).collect(),
            kept: vec![None; task.outs.len()],
            ..Place::default()
        };
        for path in &*task.outs {
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                self.disk.make_folders(parent)?;
            }
        }
        if step.in_place == InPlace::WithoutBackup {
            return Ok(place);
        }
        let name = aside::folder_name(number);
        let list = self.folder.join(&name);
        let mut outputs = Vec::with_capacity(task.outs.len());
        let mut beside = Vec::new();
        for (path, out) in task.outs.iter().zip(&step.outs) {
            let folder = self.base_for(path)?.join(&name);
            if !place.folders.contains(&folder) && folder != list {
                place.folders.push(folder.clone());
            }
            if !out.folder {
                let more = aside::beside(path).filter(|path| !task.outs.contains(path));
                beside.extend(more.map(|path| (path, folder.clone())));
            }
            outputs.push(Keeping { path, is_folder: out.folder, folder });
        }
        let beside = beside.iter().map(|(path, folder)| {
            let folder = folder.clone();
            Keeping { path, is_folder: false, folder }
        });
        outputs.extend(beside);
        // The list goes last: while it is there, what it names is.
        place.folders.push(list.clone());
        // *I9* What is kept is durable only if the ways to it are.
        for folder in &place.folders {
            self.ways.make(self.disk, folder)?;
        }
        place.kept = aside::keep(self.disk, &list, &outputs)?;
        place.kept.truncate(task.outs.len());
        Ok(place)
    }

    /// Puts back what was there before a command wrote in place.
    ///
    /// # Errors
    /// If something cannot be put back; the next run tries again.
    pub fn put_back(&self, place: &Place) -> DiskResult<()> {
        match place.kept_list() {
            Some(list) => aside::put_back(self.disk, list, None).map(drop),
            None => Ok(()),
        }
    }

    /// Where the names of all inputs of an attempt are listed, one a line.
    ///
    /// # Errors
    /// If the list cannot be written.
    pub fn list_inputs(&self, number: u64, inputs: &[&Path]) -> DiskResult<PathBuf> {
        let path = self.folder.join(format!("{number}.list"));
        let lines = inputs.iter().flat_map(|input| [bytes_of(input), b"\n"].concat());
        self.disk.write(&path, &lines.collect::<Vec<_>>())?;
        Ok(path)
    }

    /// Removes a list of inputs.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn clear_list(&self, list: &Path) -> DiskResult<()> {
        self.disk.remove_file(list)
    }

    /// Removes what a failed attempt wrote, unless it is kept for a human.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear_failed(&self, place: &Place) -> DiskResult<()> {
        // What could not be put back is here and nowhere else: the next run tries again.
        let is_owed = match place.kept_list() {
            Some(list) => aside::is_owed(self.disk, list)?,
            None => false,
        };
        if place.keeps_what_failed || is_owed { Ok(()) } else { self.clear(place) }
    }

    /// Removes what is left of an attempt.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear(&self, place: &Place) -> DiskResult<()> {
        self.clear_journal(place)?;
        place.folders.iter().try_for_each(|folder| self.disk.remove_all(folder))
    }

    /// Removes the place of an attempt from which all was taken; if something is
    /// left after all, that is removed too.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn clear_empty(&self, place: &Place) -> DiskResult<()> {
        self.clear_journal(place)?;
        let flat = place.paths.len() == 1;
        for folder in &place.folders {
            if !flat || self.disk.remove_folder(folder).is_err() {
                self.disk.remove_all(folder)?;
            }
        }
        Ok(())
    }

    /// Removes a journal that is no longer needed: whoever finds it after all sees by
    /// the receipt that it is settled.
    fn clear_journal(&self, place: &Place) -> DiskResult<()> {
        place.journal.as_ref().map_or(Ok(()), |journal| self.disk.remove_all(journal))
    }

    /// Removes what was collected of what an attempt printed.
    pub(crate) fn forget_collected(&self, number: u64) -> std::io::Result<()> {
        log::forget_collected(&self.folder, number)
    }

    /// Where the publication of an attempt is journalled.
    pub(crate) fn journal(&self, number: u64) -> PathBuf {
        self.folder.join(journal::file_name(number))
    }

    /// Makes the names by which staged outputs are found durable.
    ///
    /// # Errors
    /// If a folder cannot be synced.
    pub(crate) fn make_durable(&self, place: &Place) -> DiskResult<()> {
        let mut folders = Vec::new();
        for path in &place.paths {
            for folder in path.ancestors().skip(1) {
                if !folders.contains(&folder) {
                    folders.push(folder);
                }
                // A run's own folder is a name in the one of all runs.
                let is_base = |name: &OsStr| name.to_string_lossy().ends_with(&self.run_id);
                if folder.file_name().is_some_and(is_base) {
                    folders.extend(folder.parent().filter(|parent| !folders.contains(parent)));
                    break;
                }
            }
        }
        folders.iter().try_for_each(|folder| self.disk.sync(folder))
    }

    /// Ends the staging of a run: nothing of it is left but what is kept for a
    /// human.
    ///
    /// # Errors
    /// If something cannot be removed.
    pub fn end(self) -> DiskResult<()> {
        // Whoever cleans up after dead runs never sees it half removed.
        let _gate = Gate::pass(&self.home).map_err(|source| DiskError {
            doing: "lock",
            path: self.home.gate(),
            source,
        })?;
        // What is open cannot be removed there; and nobody else is there who would.
        let alive = Some(self.alive).filter(|_| !FileSystem::is_network(&self.folder));
        let cleared = clear_run(self.disk, &self.folder, &[], &mut |_| true);
        drop(alive);
        cleared
    }

    /// The folder in which the outputs of a path are staged.
    fn base_for(&self, output: &Path) -> DiskResult<PathBuf> {
        let parent = output.parent().unwrap_or(Path::new(""));
        let mut known = self.beside.lock().expect("nobody panics while holding it");
        if let Some(beside) = known.get(parent) {
            return Ok(beside.clone().unwrap_or_else(|| self.folder.clone()));
        }
        let (existing, device) = self.nearest(parent)?;
        let beside = (device != self.device)
            .then(|| self.disk.root().join(existing).join(format!("{BESIDE}{}", self.run_id)));
        if let Some(folder) = &beside {
            self.note_elsewhere(folder)?;
        }
        known.insert(parent.to_owned(), beside.clone());
        Ok(beside.unwrap_or_else(|| self.folder.clone()))
    }

    /// The nearest folder above that is there, and its file system.
    fn nearest(&self, folder: &Path) -> DiskResult<(PathBuf, u64)> {
        let mut at = folder;
        loop {
            let path = if at.as_os_str().is_empty() { Path::new(".") } else { at };
            match (self.disk.look(path)?, at.parent()) {
                (Some(meta), _) => return Ok((at.to_owned(), meta.device)),
                (None, Some(parent)) => at = parent,
                (None, None) => return Ok((PathBuf::new(), self.device)),
            }
        }
    }

    /// Lists a staging folder that lies elsewhere, before it is used.
    fn note_elsewhere(&self, folder: &Path) -> DiskResult<()> {
        self.disk.append(&self.folder.join(ELSEWHERE), &[bytes_of(folder), b"\0"].concat())?;
        self.ways.sync(self.disk, [&self.folder])
    }
}

/// The name of an attempt's folder.
fn attempt_folder(once: bool, number: u64) -> String {
    if once { format!("once-{number}") } else { number.to_string() }
}

/// Where an output is staged in the folder of an attempt.
fn staged_path(step: &Step, at: usize, folder: &Path, output: &Path) -> PathBuf {
    let name = output.file_name().unwrap_or_default();
    if step.outs.len() == 1 {
        folder.join(name)
    } else {
        // Two outputs of one file name must not meet.
        folder.join(step.role(at)).join(name)
    }
}

/// Where an attempt at a `once` task that did not end well left its outputs;
/// `None` unless all are there.
///
/// # Errors
/// If the staging folders cannot be looked at.
pub fn kept_outputs(
    disk: &dyn Disk,
    home: &Home,
    step: &Step,
    task: &Task,
    run_id: &str,
    number: u64,
) -> DiskResult<Option<Vec<PathBuf>>> {
    let run = home.staging_of(run_id);
    if journal::read(disk, &run.join(journal::file_name(number)))?.is_some() {
        // They are in their places, as far as they are there; what is staged now may be
        // what was there before.
        return Ok(None);
    }
    let bases = bases(disk, &run)?;
    let mut found = Vec::new();
    for (at, output) in task.outs.iter().enumerate() {
        let mut paths = bases
            .iter()
            .map(|base| staged_path(step, at, &base.join(attempt_folder(true, number)), output));
        let there = paths.find_map(|path| match disk.look_at_link(&path) {
            Ok(None) => None,
            Ok(Some(_)) => Some(Ok(path)),
            Err(error) => Some(Err(error)),
        });
        match there {
            Some(path) => found.push(path?),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

/// Settles what attempts of a dead run kept of what they would have overwritten in
/// place, and removes the rest. What made room is kept in turn, below `displaced`.
/// An attempt without a fate is left alone.
///
/// # Errors
/// If something cannot be put back or removed.
pub fn settle_kept(
    disk: &dyn Disk,
    folder: &Path,
    displaced: &Path,
    fate_of: &dyn Fn(u64) -> Option<Fate>,
) -> DiskResult<MadeRoom> {
    let mut made_room = Vec::new();
    let bases = bases(disk, folder)?;
    for entry in list_if_there(disk, folder)? {
        let Some(number) = aside::number_of(&entry.name.to_string_lossy()) else {
            continue;
        };
        let Some(fate) = fate_of(number) else {
            continue;
        };
        let list = folder.join(&entry.name);
        made_room.extend(match fate {
            Fate::PutBack => aside::put_back(disk, &list, Some(displaced))?,
            Fate::SetAside => aside::set_aside(disk, &list, displaced)?,
            Fate::Removed => Vec::new(),
        });
        // The list lies in the first of them, and goes last.
        bases.iter().rev().try_for_each(|base| disk.remove_all(&base.join(&entry.name)))?;
    }
    Ok(made_room)
}

/// Moves what attempts of a dead run moved into staging, and did not make there,
/// below `displaced`, and says where it was and where it is. Those that are at work
/// are left alone.
///
/// # Errors
/// If something cannot be looked at or moved.
pub fn save_older(
    disk: &dyn Disk,
    folder: &Path,
    displaced: &Path,
    at_work: &[u64],
) -> DiskResult<MadeRoom> {
    let mut saved = Vec::new();
    for base in bases(disk, folder)? {
        for entry in list_if_there(disk, &base)? {
            let name = entry.name.to_string_lossy();
            let number = name.parse::<u64>().ok();
            let is_attempt = number.is_some_and(|number| {
                !at_work.contains(&number) && !is_journalled(disk, folder, number)
            });
            let attempt = base.join(&entry.name);
            let Some(born) = disk.birth(&attempt)?.filter(|_| is_attempt) else {
                continue;
            };
            saved.extend(save_older_of(disk, &attempt, born, displaced)?);
        }
    }
    Ok(saved)
}

/// Whether the publication of an attempt is journalled, and so what it staged is kept.
fn is_journalled(disk: &dyn Disk, run: &Path, number: u64) -> bool {
    // What cannot be looked at is not taken for gone.
    !matches!(disk.look(&run.join(journal::file_name(number))), Ok(None))
}

/// The same for one attempt, whose folder was made at a time.
fn save_older_of(
    disk: &dyn Disk,
    attempt: &Path,
    born: i64,
    displaced: &Path,
) -> DiskResult<MadeRoom> {
    let mut saved = Vec::new();
    // Outputs that gave way to new ones are semel's own; folders come before what
    // is in them.
    let mut own: Vec<PathBuf> = Vec::new();
    for (inside, kind) in digests::tree(disk, attempt)? {
        let path = attempt.join(&inside);
        if own.iter().any(|own| path.starts_with(own)) {
            continue;
        }
        if is_stamped(disk, &path, kind)? {
            own.push(path);
            continue;
        }
        if kind != Kind::File || disk.birth(&path)?.is_none_or(|birth| birth >= born) {
            continue;
        }
        let to = aside::free_name(disk, &displaced.join(&inside))?;
        aside::make_room(disk, &Ways::default(), &path, &to)?;
        saved.push((path, to));
    }
    Ok(saved)
}

/// Whether a thing carries a stamp that explains what is in it.
fn is_stamped(disk: &dyn Disk, path: &Path, kind: Kind) -> DiskResult<bool> {
    let Some(stamp) = disk.stamp(path)?.as_deref().and_then(Stamp::from_bytes) else {
        return Ok(false);
    };
    let digest = digests::digest_of(disk, path, kind)?;
    Ok(digest.is_some_and(|digest| stamp.explains(digest)))
}

/// Removes the staging of a run, but for what is journalled, the folders of `once`
/// attempts that are kept, and all that belongs to attempts that are at work.
///
/// # Errors
/// If something cannot be removed.
pub fn clear_run(
    disk: &dyn Disk,
    folder: &Path,
    at_work: &[u64],
    keeps: &mut dyn FnMut(u64) -> bool,
) -> DiskResult<()> {
    let mut has_kept = false;
    for base in bases(disk, folder)?.iter().rev() {
        let mut is_empty = true;
        for entry in list_if_there(disk, base)? {
            let name = entry.name.to_string_lossy();
            let once = name.strip_prefix("once-").and_then(|number| number.parse().ok());
            let number = number_of(&name).or_else(|| journal::number_of(&name));
            let stays = number.is_some_and(|number| {
                at_work.contains(&number) || is_journalled(disk, folder, number)
            }) || (name == at_work::FOLDER && !at_work.is_empty());
            if stays || once.is_some_and(&mut *keeps) || aside::number_of(&name).is_some() {
                // What was kept aside is removed by whoever put it back.
                is_empty = false;
            } else if base != folder || !["lock", ELSEWHERE].contains(&name.as_ref()) {
                remove(disk, &base.join(&entry.name))?;
            }
        }
        has_kept |= !is_empty;
        if is_empty && base != folder {
            remove(disk, base)?;
        }
    }
    if has_kept {
        return Ok(());
    }
    remove(disk, folder)
}

/// Removes what was staged. On NFS and FUSE a file that somebody has open (what a command
/// left behind has its lock) only gets another name when it is removed, and keeps its
/// folder: the next run removes that.
fn remove(disk: &dyn Disk, path: &Path) -> DiskResult<()> {
    match disk.remove_all(path) {
        Err(error)
            if error.source.kind() == std::io::ErrorKind::DirectoryNotEmpty
                && FileSystem::is_network(&disk.root().join(path)) =>
        {
            Ok(())
        }
        removed => removed,
    }
}

/// The number of the attempt that something in a staging folder belongs to.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let plain = name.strip_suffix(".log").or_else(|| name.strip_suffix(".list")).unwrap_or(name);
    let plain = plain.strip_prefix("once-").unwrap_or(plain);
    plain.parse().ok().or_else(|| aside::number_of(name))
}

fn list_if_there(disk: &dyn Disk, folder: &Path) -> DiskResult<Vec<DirEntry>> {
    match disk.list(folder) {
        Err(error) if error.is_absence() => Ok(Vec::new()),
        entries => entries,
    }
}

/// The folders in which a run stages: its own, then those beside outputs.
fn bases(disk: &dyn Disk, folder: &Path) -> DiskResult<Vec<PathBuf>> {
    let mut bases = vec![folder.to_owned()];
    let path = folder.join(ELSEWHERE);
    if disk.look(&path)?.is_none() {
        return Ok(bases);
    }
    let mut list = Vec::new();
    let read = disk.open(&path)?.read_to_end(&mut list);
    read.map_err(|source| DiskError { doing: "read", path, source })?;
    // The end of a torn list is another folder's name: nothing is cleared there.
    let mut own = OsString::from(BESIDE);
    own.push(folder.file_name().unwrap_or_default());
    let paths = list.split(|&byte| byte == 0).map(|path| path_of(path.to_vec()));
    bases.extend(paths.filter(|path| path.file_name() == Some(&own)));
    Ok(bases)
}
