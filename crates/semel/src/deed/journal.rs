//! The journal: what a publication is about to do, on disk before it does it.
//!
//! Written where there is more than one step: several outputs, a folder, a check that
//! comes after, or a task that is unsafe to repeat. Whoever finds one finishes what it
//! tells of, or undoes it, by looking: an output is in its place if what is there has
//! the journalled digest; else it is where it was staged, or on its way through
//! `displaced/`.
//!
//! *On disk*: `.semel/staging/RUN/NUMBER.journal`, durable before the first output takes
//! its place, and there until the receipt is written or the old outputs are back.
//!
//! Invariants: *I7* the old outputs are kept until the new ones have their receipt;
//! *I8* bytes that semel did not make are never destroyed. All of it can be cut short
//! and done again: an exchange is made only while it was not made yet.

use std::collections::{BTreeSet, HashMap};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::deed::Site;
use crate::deed::aside;
use crate::deed::publish::{Placing, Slot};
use crate::deed::stage::Place;
use crate::deed::ways::Ways;
use crate::ground::digests;
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Meta};
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::journal::{Journal, Output, Read, Record, aside_line};
use crate::words::receipt::Failure;
use crate::words::stamp::Stamp;
use crate::words::task::{Task, TaskName};

/// What the name of a journal ends with.
const END: &str = ".journal";

/// The name of an attempt's journal.
#[must_use]
pub(crate) fn file_name(number: u64) -> String {
    format!("{number}{END}")
}

/// The number of the attempt whose journal has this name.
#[must_use]
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(END)?.parse().ok()
}

/// Writes a journal; where it must outlive a power cut, it does when this returns.
///
/// # Errors
/// If it cannot be written; then nothing may be moved.
pub(crate) fn write(disk: &dyn Disk, path: &Path, record: &Record, syncs: bool) -> DiskResult<()> {
    disk.write(path, record.to_text().as_bytes())?;
    if syncs {
        disk.sync(path)?;
        disk.sync(path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

/// Notes where what is in the place of an output will go.
///
/// # Errors
/// If it cannot be noted; then it may not go there.
pub(crate) fn note_aside(
    disk: &dyn Disk,
    journal: &Path,
    output: usize,
    aside: &Path,
) -> DiskResult<()> {
    let aside = aside.strip_prefix(disk.root()).unwrap_or(aside);
    disk.append(journal, aside_line(output, aside).as_bytes())
}

/// Removes a journal, durably.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn forget(disk: &dyn Disk, path: &Path) -> DiskResult<()> {
    disk.remove_all(path)?;
    disk.sync(path.parent().unwrap_or(Path::new("/")))
}

/// Reads a journal; `None` if there is none that is whole: then nothing was moved.
///
/// # Errors
/// If it cannot be read, or is that of a newer semel.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> DiskResult<Option<Journal>> {
    let mut text = Vec::new();
    let failed = |source| DiskError { doing: "read", path: path.to_owned(), source };
    match disk.open(path) {
        Ok(mut file) => file.read_to_end(&mut text).map_err(failed)?,
        Err(error) if error.is_absence() => return Ok(None),
        Err(error) => return Err(error),
    };
    match Journal::read(&text) {
        Read::Journal(journal) => Ok(Some(*journal)),
        Read::Torn => Ok(None),
        Read::Newer(version) => Err(failed(std::io::Error::other(format!(
            "a newer semel wrote it: its version is {version}"
        )))),
    }
}

/// The journals in the staging folder of a run, by the numbers of their attempts.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn all_in(
    disk: &dyn Disk,
    folder: &Path,
) -> DiskResult<Vec<(PathBuf, Option<Journal>)>> {
    let mut found = Vec::new();
    for entry in disk.list(folder)? {
        if let Some(number) = number_of(&entry.name.to_string_lossy()) {
            let path = folder.join(&entry.name);
            found.push((number, read(disk, &path)?, path));
        }
    }
    found.sort_unstable_by_key(|(number, ..)| *number);
    Ok(found.into_iter().map(|(_, journal, path)| (path, journal)).collect())
}

/// Whether a file of this path and digest is the output of a receipt.
pub(crate) type Made<'a> = dyn Fn(&Path, &Digest) -> Result<bool, Failure> + 'a;

/// How far the outputs of a journal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All are in their places.
    Whole,
    /// At least one is neither in its place nor staged.
    Lost,
}

/// Looks where the outputs of a journal are: whether all are in their places, or can
/// still be moved there.
pub(crate) fn is_whole(disk: &dyn Disk, journal: &Journal) -> DiskResult<bool> {
    for output in &journal.outputs {
        if where_is(disk, output)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where an output of a journal is: in its place, staged, or on its way.
fn where_is<'o>(disk: &dyn Disk, output: &'o Output) -> DiskResult<Option<&'o Path>> {
    let on_the_way = output.asides.iter().rev().chain([&output.staged]);
    for path in std::iter::once(&output.path).chain(on_the_way) {
        if holds(disk, path, output)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether a path holds what an output was.
fn holds(disk: &dyn Disk, path: &Path, output: &Output) -> DiskResult<bool> {
    Ok(content(disk, path, output.is_folder)? == Some(output.digest))
}

/// What is in a file or folder; `None` where it is not what is wanted.
fn content(disk: &dyn Disk, path: &Path, is_folder: bool) -> DiskResult<Option<Digest>> {
    let wanted = if is_folder { Kind::Folder } else { Kind::File };
    match disk.look_at_link(path)? {
        Some(meta) if meta.kind == wanted => digests::digest_of(disk, path, wanted),
        _ => Ok(None),
    }
}

/// Finishes a publication: what is not in its place yet is moved there, and what was
/// there is kept. Nothing is moved if anything is lost.
///
/// # Errors
/// If something cannot be looked at or moved; it can be tried again.
pub(crate) fn roll_forward(
    disk: &dyn Disk,
    made: &Made<'_>,
    journal: &Journal,
    path: &Path,
    displaced: &Path,
) -> Result<Extent, Failure> {
    finish_exchanges(disk, journal).map_err(broken)?;
    if !is_whole(disk, journal).map_err(broken)? {
        return Ok(Extent::Lost);
    }
    let ways = Ways::default();
    let mut placing = Placing::new(disk, &ways, displaced);
    placing.journal = Some(path.to_owned());
    let is_own = |slot: Slot<'_>, meta: &Meta| match digests::digest_of(disk, slot.path, meta.kind)
        .map_err(broken)?
    {
        Some(digest) => is_own(disk, made, slot.path, slot.path, digest),
        None => Ok(false),
    };
    for (at, output) in journal.outputs.iter().enumerate() {
        let slot = slot_of(at, output);
        match where_is(disk, output).map_err(broken)? {
            Some(place) if place == output.path => placing.note(slot, false, None),
            Some(place) if place == output.staged => {
                let is_free = disk.look_at_link(&output.path).map_err(broken)?.is_none();
                placing.place(slot, is_free, &is_own)?;
            }
            // What is in its place goes where it was to go.
            Some(aside) => {
                let there = disk.look_at_link(&output.path).map_err(broken)?;
                let moved = match there {
                    Some(_) => disk.exchange(aside, &output.path),
                    None => disk.rename_new(aside, &output.path),
                };
                moved.map_err(broken)?;
                placing.note(slot, false, Some(aside.to_owned()));
            }
            None => return Ok(Extent::Lost),
        }
    }
    let mut folders = placing.unsynced;
    folders.sort_unstable();
    folders.dedup();
    ways.sync(disk, &folders).map_err(broken)?;
    Ok(Extent::Whole)
}

/// Puts back what was there before a publication, as far as it took place. What is
/// not as it was published is left as it is; the new outputs are staged again.
///
/// # Errors
/// If something cannot be put back; it can be tried again.
pub(crate) fn put_back(disk: &dyn Disk, journal: &Journal) -> DiskResult<()> {
    finish_exchanges(disk, journal)?;
    for output in journal.outputs.iter().rev() {
        let Output { path, staged, .. } = output;
        let older = |at: &&PathBuf| matches!(disk.look_at_link(at), Ok(Some(_)));
        let aside = output.asides.iter().rev().find(older);
        if holds(disk, path, output)? {
            if disk.look_at_link(staged)?.is_some() {
                disk.exchange(staged, path)?;
            } else if let Some(aside) = aside {
                disk.exchange(aside, path)?;
            } else {
                stage_again(disk, path, staged)?;
            }
        }
        // On its way, or only just back from its place.
        if let Some(aside) = aside
            && holds(disk, aside, output)?
            && disk.look_at_link(staged)?.is_none()
        {
            stage_again(disk, aside, staged)?;
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        if parent.as_os_str().is_empty() || disk.look(parent)?.is_some() {
            disk.sync(parent)?;
        }
    }
    Ok(())
}

/// Moves what was published back to where it was staged; a power cut may have taken
/// the folders there.
fn stage_again(disk: &dyn Disk, from: &Path, staged: &Path) -> DiskResult<()> {
    if let Some(folder) = staged.parent() {
        disk.make_folders(folder)?;
    }
    disk.rename_new(from, staged)
}

/// Finishes exchanges that were cut short where the file system makes them in turn:
/// what gave way is then beside where it should be.
fn finish_exchanges(disk: &dyn Disk, journal: &Journal) -> DiskResult<()> {
    for output in &journal.outputs {
        for one in output.asides.iter().chain([&output.staged]) {
            let mut beside = one.as_os_str().to_owned();
            beside.push(crate::ground::world::disk::BESIDE);
            let beside = PathBuf::from(beside);
            let Some(gave_way) = disk.look_at_link(&beside)? else {
                continue;
            };
            match (disk.look_at_link(one)?, disk.look_at_link(&output.path)?) {
                // The new one is in its place; the old one is not yet in its own.
                (None, _) => disk.rename_new(&beside, one)?,
                // A folder had only given way.
                (Some(_), None) => disk.rename_new(&beside, &output.path)?,
                // A file has two names.
                (Some(_), Some(there)) if there.stat.inode == gave_way.stat.inode => {
                    disk.remove_file(&beside)?;
                }
                (Some(_), Some(_)) => {}
            }
        }
    }
    Ok(())
}

/// Moves what was in the place of outputs and was not made by semel out of staging,
/// before that is cleared; says where it was and where it is.
///
/// # Errors
/// If something cannot be looked at or moved.
pub(crate) fn save_others(
    disk: &dyn Disk,
    made: &Made<'_>,
    journal: &Journal,
    displaced: &Path,
) -> Result<aside::MadeRoom, Failure> {
    let mut saved = Vec::new();
    for Output { path, staged, digest, .. } in &journal.outputs {
        let Some(meta) = disk.look_at_link(staged).map_err(broken)? else {
            continue;
        };
        let found = digests::digest_of(disk, staged, meta.kind).map_err(broken)?;
        let is_own = match found {
            Some(found) if found == *digest => true,
            Some(found) => is_own(disk, made, staged, path, found)?,
            None => false,
        };
        if !is_own {
            let wanted = displaced.join(aside::inside(path));
            let to = aside::free_name(disk, &wanted).map_err(broken)?;
            aside::make_room(disk, &Ways::default(), staged, &to).map_err(broken)?;
            saved.push((path.clone(), to));
        }
    }
    Ok(saved)
}

/// Whether what is at `found` and was made for `path` is semel's own: its stamp says
/// so, or a receipt does.
fn is_own(
    disk: &dyn Disk,
    made: &Made<'_>,
    found: &Path,
    path: &Path,
    digest: Digest,
) -> Result<bool, Failure> {
    let stamp = disk.stamp(found).map_err(broken)?;
    let explains = |stamp: Stamp| stamp.explains(digest);
    Ok(stamp.as_deref().and_then(Stamp::from_bytes).is_some_and(explains) || made(path, &digest)?)
}

fn slot_of(at: usize, output: &Output) -> Slot<'_> {
    Slot { at, path: &output.path, staged: &output.staged, is_folder: output.is_folder }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what errors are mapped by")]
fn broken(error: DiskError) -> Failure {
    Failure::Broken(error.to_string())
}

/// A publication of a dead run whose check is still to be asked: its outputs are in
/// their places, and those before them are kept.
#[derive(Clone, Debug)]
pub struct Unsettled {
    /// What it published.
    pub journal: Journal,
    /// Where it is journalled.
    pub(crate) path: PathBuf,
    /// The number of its run, if the manifest knows it.
    pub(crate) run: Option<i64>,
    /// Whether its outputs are in their places; else they are whole, and would be moved
    /// there by a run.
    pub(crate) is_in_place: bool,
}

impl Unsettled {
    /// Whether it is one of a task as that is in the file now.
    pub(crate) fn is_of(&self, task: &Task) -> bool {
        self.journal.outputs.iter().map(|output| &output.path).eq(&*task.outs)
    }

    /// Whether outputs with these digests are what it published, and that was done
    /// for this; of what is unsafe to repeat, or kept, only *what* counts.
    pub(crate) fn proves(
        &self,
        present: &Fingerprint,
        digests: impl Iterator<Item = Digest>,
        only_what: bool,
    ) -> bool {
        let published = self.journal.receipt(self.run.unwrap_or_default());
        let is_this = published.is_some_and(|receipt| {
            receipt.fingerprint.what == present.what
                && (only_what || receipt.fingerprint.how == present.how)
        });
        let known = self.journal.outputs.iter().map(|output| output.digest);
        is_this && (!self.is_in_place || known.eq(digests))
    }

    /// Whether it is neither taken back nor done. What cannot be looked at is not taken
    /// for gone.
    pub(crate) fn is_journalled(&self, disk: &dyn Disk) -> bool {
        !matches!(disk.look(&self.path), Ok(None))
    }

    /// What its outputs are, all present.
    pub(crate) fn effect(&self) -> Option<Digest> {
        self.journal.receipt(self.run.unwrap_or_default())?.effect
    }

    /// Puts back what was there before, and forgets the publication.
    ///
    /// # Errors
    /// If something cannot be put back; the next run tries again.
    pub(crate) fn take_back(&self, disk: &dyn Disk) -> DiskResult<()> {
        put_back(disk, &self.journal)?;
        forget(disk, &self.path)
    }

    /// As [`save_others`].
    ///
    /// # Errors
    /// If something cannot be looked at or moved.
    pub(crate) fn save_others(
        &self,
        site: &Site<'_>,
        displaced: &Path,
    ) -> Result<aside::MadeRoom, Failure> {
        let made = |path: &Path, digest: &Digest| {
            Ok(site.ask_manifest(|manifest| manifest.made(path, digest))?)
        };
        save_others(site.disk, &made, &self.journal, displaced)
    }

    /// What is cleared once it is settled.
    pub(crate) fn place(&self) -> Place {
        Place::left(folders(&self.journal), self.path.clone())
    }
}

/// The folders in which the outputs of a journal were staged.
pub(crate) fn folders(journal: &Journal) -> Vec<PathBuf> {
    let number = journal.record.number;
    let names = [number.to_string(), format!("once-{number}")];
    let is_attempt = |folder: &&Path| {
        let name = folder.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| names.iter().any(|known| *known == name))
    };
    let staged = journal.outputs.iter().map(|output| output.staged.as_path());
    let folders = staged.filter_map(|staged| staged.ancestors().skip(1).find(is_attempt));
    let folders: BTreeSet<_> = folders.map(Path::to_owned).collect();
    folders.into_iter().collect()
}

/// Publications of dead runs whose checks are still to be asked, by their tasks.
pub type AllUnsettled = HashMap<TaskName, Unsettled>;

/// Those of somebody who does not look for any.
pub(crate) fn nothing_unsettled() -> &'static AllUnsettled {
    static NOTHING: OnceLock<AllUnsettled> = OnceLock::new();
    NOTHING.get_or_init(AllUnsettled::new)
}
