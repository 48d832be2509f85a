//! Placing: staged outputs are moved to their places, and what was there is kept.
//!
//! Semel's own goes to staging by an exchange. What semel did not make goes to
//! `.semel/displaced/RUN/` by the very exchange that puts the new output in its
//! place, so that it is never where something is cleared; where to is journalled
//! before, if there is a journal.
//!
//! Invariants: *I7* a reader sees the old output or the whole new one; *I8* bytes
//! that semel did not make are never destroyed.

use std::path::{Path, PathBuf};

use crate::deed::aside;
use crate::deed::journal;
use crate::deed::look::wrong_kind;
use crate::deed::trees::{copy_all, sync_all};
use crate::deed::ways::Ways;
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Meta};
use crate::words::path::show;
use crate::words::receipt::Failure;

/// An output on its way from staging to its place.
#[derive(Clone, Copy)]
pub(crate) struct Slot<'a> {
    /// Its place among the outputs of its task.
    pub(crate) at: usize,
    pub(crate) path: &'a Path,
    pub(crate) staged: &'a Path,
    pub(crate) is_folder: bool,
}

/// An output that took its place.
pub(crate) struct Placed {
    pub(crate) path: PathBuf,
    /// Where it was staged; what it replaced is there now, if anything.
    staged: PathBuf,
    pub(crate) replaced: bool,
    pub(crate) displaced_to: Option<PathBuf>,
}

/// Whether what is at the place of an output was made by semel.
pub(crate) type IsOwn<'a> = dyn Fn(Slot<'_>, &Meta) -> Result<bool, Failure> + 'a;

/// Outputs that take their places.
pub(crate) struct Placing<'a> {
    pub(crate) disk: &'a dyn Disk,
    /// The folders to which the way is durable.
    pub(crate) ways: &'a Ways,
    /// Where what semel did not make is put.
    pub(crate) displaced: &'a Path,
    /// The journal, where there is one.
    pub(crate) journal: Option<PathBuf>,
    /// Those that are in their places.
    pub(crate) placed: Vec<Placed>,
    /// Folders in which names changed.
    pub(crate) unsynced: Vec<PathBuf>,
}

impl<'a> Placing<'a> {
    pub(crate) fn new(disk: &'a dyn Disk, ways: &'a Ways, displaced: &'a Path) -> Self {
        let (placed, unsynced) = (Vec::new(), Vec::new());
        Self { disk, ways, displaced, journal: None, placed, unsynced }
    }

    /// Puts a staged output in its place; `is_free` where nothing was seen there.
    ///
    /// # Errors
    /// If it cannot take it.
    pub(crate) fn place(
        &mut self,
        slot: Slot<'_>,
        is_free: bool,
        is_own: &IsOwn<'_>,
    ) -> Result<(), Failure> {
        if is_free {
            let parent = slot.path.parent().unwrap_or(Path::new(""));
            self.make_parent(parent)?;
            match self.disk.rename_new(slot.staged, slot.path) {
                Ok(()) => {
                    self.note(slot, false, None);
                    return Ok(());
                }
                // Somebody was faster; theirs is moved aside.
                Err(error) if error.is_presence() => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        self.replace(slot, is_own)
    }

    /// Puts a staged output in the place of what is there.
    fn replace(&mut self, slot: Slot<'_>, is_own: &IsOwn<'_>) -> Result<(), Failure> {
        let (disk, Slot { path, staged, .. }) = (self.disk, slot);
        let Some(meta) = disk.look_at_link(path).map_err(|error| broken(&error))? else {
            // It was there when the task was looked at, and is gone now.
            disk.rename_new(staged, path).map_err(|error| broken(&error))?;
            self.note(slot, false, None);
            return Ok(());
        };
        if meta.kind != Kind::Link
            && let Some(why) = wrong_kind(slot.is_folder, meta.kind)
        {
            return Err(Failure::BadEffect(format!("its output {} {why}", show(path))));
        }
        if is_own(slot, &meta)? {
            disk.exchange(staged, path).map_err(|error| broken(&error))?;
            self.note(slot, true, None);
            let replaced = disk.look_at_link(staged).map_err(|error| broken(&error))?;
            if replaced.is_none_or(|replaced| replaced.stat.inode == meta.stat.inode) {
                return Ok(());
            }
            // It was not what was there a moment ago: somebody's, then.
            let aside = self.aside_for(slot)?;
            disk.rename_new(staged, &aside).map_err(|error| broken(&error))?;
            self.amend(false, aside);
            return Ok(());
        }
        let aside = self.aside_for(slot)?;
        match disk.rename_new(staged, &aside) {
            Ok(()) => {}
            Err(error) if error.is_across() => return self.replace_across(slot, aside),
            Err(error) => return Err(broken(&error)),
        }
        disk.exchange(&aside, path).map_err(|error| broken(&error))?;
        self.note(slot, false, Some(aside));
        Ok(())
    }

    /// Replaces what semel did not make where it cannot be moved aside in one step:
    /// a copy of it is durable before it gives way.
    fn replace_across(&mut self, slot: Slot<'_>, mut copy: PathBuf) -> Result<(), Failure> {
        let (disk, Slot { path, staged, is_folder, .. }) = (self.disk, slot);
        let put_aside = |from: &Path, to: &Path| -> DiskResult<Option<Meta>> {
            let meta = disk.look_at_link(from)?;
            copy_all(disk, from, to)?;
            sync_all(disk, to, is_folder)?;
            to.parent().map_or(Ok(()), |parent| disk.sync(parent))?;
            Ok(meta)
        };
        let copied = put_aside(path, &copy).map_err(|error| broken(&error))?;
        disk.exchange(staged, path).map_err(|error| broken(&error))?;
        let replaced = disk.look_at_link(staged).map_err(|error| broken(&error))?;
        let bytes_of = |meta: Option<Meta>| {
            meta.map(|meta| (meta.stat.inode, meta.stat.size, meta.stat.mtime))
        };
        if is_folder || bytes_of(replaced) != bytes_of(copied) {
            // Somebody wrote to it in between.
            let later = aside::free_name(disk, &copy).map_err(|error| broken(&error))?;
            put_aside(staged, &later).map_err(|error| broken(&error))?;
            copy = later;
        }
        self.note(slot, true, Some(copy));
        Ok(())
    }

    /// Notes that an output is in its place.
    pub(crate) fn note(&mut self, slot: Slot<'_>, replaced: bool, displaced_to: Option<PathBuf>) {
        let path = slot.path.to_owned();
        self.unsynced.push(path.parent().unwrap_or(Path::new("")).to_owned());
        self.unsynced.extend(displaced_to.as_deref().and_then(Path::parent).map(Path::to_owned));
        self.placed.push(Placed { path, staged: slot.staged.to_owned(), replaced, displaced_to });
    }

    fn amend(&mut self, replaced: bool, aside: PathBuf) {
        self.unsynced.extend(aside.parent().map(Path::to_owned));
        if let Some(placed) = self.placed.last_mut() {
            placed.replaced = replaced;
            placed.displaced_to = Some(aside);
        }
    }

    /// A place for something of other hands, where nothing is yet.
    fn aside_for(&mut self, slot: Slot<'_>) -> Result<PathBuf, Failure> {
        let aside = self.aside_of(slot.path)?;
        if let Some(journal) = &self.journal {
            let noted = journal::note_aside(self.disk, journal, slot.at, &aside);
            noted.map_err(|error| broken(&error))?;
        }
        Ok(aside)
    }

    /// A place for something of other hands that was at this path.
    pub(crate) fn aside_of(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        let wanted = self.displaced.join(aside::inside(path));
        // *I8* What goes there goes in one step, and the way must be durable by then.
        if let Some(parent) = wanted.parent() {
            self.ways.make(self.disk, parent).map_err(|error| broken(&error))?;
        }
        aside::free_name(self.disk, &wanted).map_err(|error| broken(&error))
    }

    /// Makes a folder; each new one is a name in the folder above, to be synced.
    pub(crate) fn make_parent(&mut self, folder: &Path) -> Result<(), Failure> {
        if folder.as_os_str().is_empty() {
            return Ok(());
        }
        let made = self.disk.make_folders(folder).map_err(|error| broken(&error))?;
        for folder in made {
            self.unsynced.push(folder.parent().unwrap_or(Path::new("")).to_owned());
        }
        Ok(())
    }

    /// Puts back what was there before. What took its place is staged again.
    ///
    /// # Errors
    /// If something cannot be put back.
    pub(crate) fn take_back(&mut self) -> DiskResult<()> {
        let disk = self.disk;
        let mut folders = Vec::new();
        for placed in self.placed.drain(..).rev() {
            match (&placed.displaced_to, placed.replaced) {
                (Some(aside), false) => {
                    disk.exchange(aside, &placed.path)?;
                    // *I8* It is back for good before ours goes from where it was.
                    disk.sync(placed.path.parent().unwrap_or(Path::new("")))?;
                    disk.rename_new(aside, &placed.staged)?;
                }
                (_, true) => disk.exchange(&placed.staged, &placed.path)?,
                (None, false) => disk.rename_new(&placed.path, &placed.staged)?,
            }
            folders.push(placed.path.parent().unwrap_or(Path::new("")).to_owned());
        }
        folders.sort_unstable();
        folders.dedup();
        folders.iter().try_for_each(|folder| disk.sync(folder))
    }
}

pub(super) fn broken(error: &DiskError) -> Failure {
    Failure::Broken(error.to_string())
}
