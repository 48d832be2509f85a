//! Publishing: staged outputs take their places, whole.
//!
//! Each output is stamped and synced, then renamed to its path, if nothing is
//! there, or exchanged with what is there. What was there is kept until the
//! receipt is written: semel's own, in staging; what semel did not make, in
//! `.semel/displaced/RUN/`, where it is moved by the very exchange, so that it is
//! never in a place that is cleared.
//!
//! Invariants: *I1* an output is durable before it has a receipt; *I7* a reader
//! sees the old output or the whole new one; *I8* bytes that semel did not make
//! are never destroyed.
//!
//! *If we die here*: each path has its old or its new output; without a receipt
//! the next run finds out by digests and stamps.

mod in_place;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deed::act::{Job, Staged, Workshop};
use crate::deed::aside;
use crate::deed::inputs;
use crate::deed::look::{is_own, wrong_kind};
use crate::deed::stage::Place;
use crate::deed::trees::{copy_all, sync_all};
use crate::deed::undo::Undo;
use crate::deed::view::Seen;
use crate::deed::ways::Ways;
use crate::deed::{Site, check};
use crate::ground::digests::{self, Content};
use crate::ground::world::disk::{DiskError, DiskResult, Kind, Meta, Stat};
use crate::ground::world::process::Stop;
use crate::words::path::show;
use crate::words::pipeline::InPlace;
use crate::words::receipt::{Failure, FileRecord, FileRole};
use crate::words::stamp::Stamp;

/// Outputs that are in their places, though perhaps not yet durably so: their
/// folders are still to be synced.
#[must_use]
pub struct Published {
    /// What was published.
    pub(crate) files: Vec<FileRecord>,
    /// The outputs as they look now.
    pub(crate) outs: Vec<Seen>,
    /// Folders that must be synced before the receipt is written.
    pub(crate) unsynced: Vec<PathBuf>,
    /// What was displaced and not made by semel: from where, to where.
    pub(crate) displaced: Vec<(PathBuf, PathBuf)>,
    /// Where the attempt staged; cleared when the receipt is written.
    pub(crate) place: Place,
    /// Whether something of its own is still in staging.
    pub(crate) left_something: bool,
    /// How long the action took.
    pub(crate) took: Duration,
}

/// An output that took its place.
struct Placed {
    path: PathBuf,
    /// Where it was staged; what it replaced is there now, if anything.
    staged: PathBuf,
    replaced: bool,
    displaced_to: Option<PathBuf>,
}

/// Publishes staged outputs, then asks the explicit check.
///
/// # Errors
/// If an output cannot take its place, or the check does not hold; then what was
/// there before is there again.
pub fn publish(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    staged: Staged,
    stop: &Stop,
) -> Result<Published, Failure> {
    let Staged { place, contents, took } = staged;
    let site = workshop.site;
    let mut publication = Publication {
        site,
        job,
        displaced: workshop.displaced,
        ways: &workshop.staging.ways,
        took,
        placed: Vec::new(),
        unsynced: Vec::new(),
        moved_aside: Vec::new(),
    };
    if job.view.step.in_place != InPlace::No {
        return in_place::publish(workshop, job, publication, place, &contents, stop);
    }
    let done = publication.place_all(&place, &contents).and_then(|()| publication.ask_check(stop));
    if let Err(failure) = done {
        let failure = match publication.take_back() {
            Ok(()) => failure,
            Err(error) => Failure::Broken(format!("{failure}; and then: {error}")),
        };
        let failure = Undo { workshop, job }.after_publishing(&place, failure);
        let failure = match inputs::save(workshop, job, &place) {
            Ok(saved) => inputs::with_kept(failure, &saved),
            Err(error) => return Err(Failure::Broken(format!("{failure}; and then: {error}"))),
        };
        // What could not be cleared is cleared by the next run.
        return Err(match workshop.staging.clear_failed(&place) {
            Ok(()) => failure,
            Err(error) => Failure::Broken(format!("{failure}; and then: {error}")),
        });
    }
    let mut outs = Vec::with_capacity(contents.len());
    for (placed, staged) in publication.placed.iter().zip(&contents) {
        outs.push(look_at_published(site, &placed.path, staged)?);
    }
    Ok(Published {
        files: records(job, &contents),
        outs,
        left_something: publication.placed.iter().any(|placed| placed.replaced),
        place,
        ..publication.published()
    })
}

/// Looks at an output in its place. Its digest is remembered where its bytes are
/// certainly those that were read: a rename leaves the time of their last change
/// alone.
fn look_at_published(site: &Site<'_>, path: &Path, staged: &Seen) -> Result<Seen, Failure> {
    let meta = site.disk.look(path).map_err(|error| broken(&error))?;
    let Some(meta) = meta else {
        let what = format!("{} was removed in the moment it was published", show(path));
        return Err(Failure::BadEffect(what));
    };
    let bytes_of = |stat: &Stat| (stat.size, stat.mtime, stat.inode);
    let is_same = bytes_of(&meta.stat) == bytes_of(&staged.meta.stat);
    let is_settled = staged.content.is_settled && is_same;
    let content = Content { is_settled, ..staged.content };
    site.digests.remember(path, meta.stat, &content);
    Ok(Seen { meta, content })
}

/// The outputs of a task as its receipt names them.
fn records(job: &Job<'_>, contents: &[Seen]) -> Vec<FileRecord> {
    let outs = job.task.outs.iter().zip(contents).enumerate();
    outs.map(|(at, (path, Seen { content, .. }))| FileRecord {
        role: FileRole::Out,
        name: job.view.roles[at].clone(),
        path: path.clone(),
        bytes: content.bytes,
        rows: content.rows,
        digest: content.digest,
        by_stat: content.by_stat,
    })
    .collect()
}

fn broken(error: &DiskError) -> Failure {
    Failure::Broken(error.to_string())
}

struct Publication<'a> {
    site: &'a Site<'a>,
    job: &'a Job<'a>,
    displaced: &'a Path,
    ways: &'a Ways,
    took: Duration,
    placed: Vec<Placed>,
    unsynced: Vec<PathBuf>,
    /// What semel did not make: from where it was moved, to where.
    moved_aside: Vec<(PathBuf, PathBuf)>,
}

impl Publication<'_> {
    /// What is known of the publication itself; of its outputs, nothing yet.
    fn published(mut self) -> Published {
        self.unsynced.sort_unstable();
        self.unsynced.dedup();
        let placed = self.placed.into_iter();
        self.moved_aside
            .extend(placed.filter_map(|placed| Some((placed.path, placed.displaced_to?))));
        Published {
            files: Vec::new(),
            outs: Vec::new(),
            unsynced: if self.site.syncs(self.job.view.step) { self.unsynced } else { Vec::new() },
            displaced: self.moved_aside,
            place: Place::default(),
            left_something: false,
            took: self.took,
        }
    }

    /// Whether what is published must outlive a power cut.
    fn syncs(&self) -> bool {
        self.site.syncs(self.job.view.step)
    }

    fn place_all(&mut self, place: &Place, contents: &[Seen]) -> Result<(), Failure> {
        let view = self.job.view;
        // All are durable before the first takes its place.
        for (at, (staged, seen)) in place.paths.iter().zip(contents).enumerate() {
            let digest = seen.content.digest;
            let stamp = Stamp::new(&self.job.sight.fingerprint, &view.roles[at], digest);
            let disk = self.site.disk;
            disk.put_stamp(staged, &stamp.to_bytes()).map_err(|error| broken(&error))?;
            if self.syncs() {
                sync_all(disk, staged, view.step.outs[at].folder)
                    .map_err(|error| broken(&error))?;
            }
        }
        for (at, staged) in place.paths.iter().enumerate() {
            self.place_one(at, staged)?;
        }
        Ok(())
    }

    fn place_one(&mut self, at: usize, staged: &Path) -> Result<(), Failure> {
        let disk = self.site.disk;
        let path = &self.job.task.outs[at];
        let parent = path.parent().unwrap_or(Path::new(""));
        let seen = self.job.sight.outs.get(at).and_then(Option::as_ref);
        if seen.is_none() {
            self.make_parent(parent)?;
            match disk.rename_new(staged, path) {
                Ok(()) => {
                    self.unsynced.push(parent.to_owned());
                    self.placed.push(Placed {
                        path: path.clone(),
                        staged: staged.to_owned(),
                        replaced: false,
                        displaced_to: None,
                    });
                    return Ok(());
                }
                // Somebody was faster; theirs is moved aside.
                Err(error) if error.is_presence() => {}
                Err(error) => return Err(broken(&error)),
            }
        }
        self.replace(at, staged, seen)
    }

    /// Puts a staged output in the place of what is there.
    fn replace(&mut self, at: usize, staged: &Path, seen: Option<&Seen>) -> Result<(), Failure> {
        let disk = self.site.disk;
        let path = &self.job.task.outs[at];
        let Some(meta) = disk.look_at_link(path).map_err(|error| broken(&error))? else {
            // It was there when the task was looked at, and is gone now.
            disk.rename_new(staged, path).map_err(|error| broken(&error))?;
            self.note(at, staged, false, None);
            return Ok(());
        };
        if meta.kind != Kind::Link
            && let Some(why) = wrong_kind(self.job.view.step.outs[at].folder, meta.kind)
        {
            return Err(Failure::BadEffect(format!("its output {} {why}", show(path))));
        }
        if self.is_own(path, &meta, seen)? {
            disk.exchange(staged, path).map_err(|error| broken(&error))?;
            self.note(at, staged, true, None);
            let replaced = disk.look_at_link(staged).map_err(|error| broken(&error))?;
            if replaced.is_none_or(|replaced| replaced.stat.inode == meta.stat.inode) {
                return Ok(());
            }
            // It was not what was there a moment ago: somebody's, then.
            let aside = self.aside_for(path)?;
            disk.rename_new(staged, &aside).map_err(|error| broken(&error))?;
            self.amend(false, aside);
            return Ok(());
        }
        let aside = self.aside_for(path)?;
        match disk.rename_new(staged, &aside) {
            Ok(()) => {}
            Err(error) if error.is_across() => return self.replace_across(at, staged, aside),
            Err(error) => return Err(broken(&error)),
        }
        disk.exchange(&aside, path).map_err(|error| broken(&error))?;
        self.note(at, staged, false, Some(aside));
        Ok(())
    }

    /// Replaces what semel did not make where it cannot be moved aside in one step:
    /// a copy of it is durable before it gives way.
    fn replace_across(
        &mut self,
        at: usize,
        staged: &Path,
        mut copy: PathBuf,
    ) -> Result<(), Failure> {
        let disk = self.site.disk;
        let path = &self.job.task.outs[at];
        let is_folder = self.job.view.step.outs[at].folder;
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
        self.note(at, staged, true, Some(copy));
        Ok(())
    }

    fn note(&mut self, at: usize, staged: &Path, replaced: bool, displaced_to: Option<PathBuf>) {
        let path = self.job.task.outs[at].clone();
        self.unsynced.push(path.parent().unwrap_or(Path::new("")).to_owned());
        self.unsynced.extend(displaced_to.as_deref().and_then(Path::parent).map(Path::to_owned));
        self.placed.push(Placed { path, staged: staged.to_owned(), replaced, displaced_to });
    }

    fn amend(&mut self, replaced: bool, aside: PathBuf) {
        self.unsynced.extend(aside.parent().map(Path::to_owned));
        if let Some(placed) = self.placed.last_mut() {
            placed.replaced = replaced;
            placed.displaced_to = Some(aside);
        }
    }

    /// Whether what is at a path was made by semel.
    fn is_own(&self, path: &Path, meta: &Meta, seen: Option<&Seen>) -> Result<bool, Failure> {
        let site = self.site;
        let digest = match seen {
            Some(seen) if meta.kind == Kind::File && seen.meta.stat == meta.stat => {
                if self.job.sight.outs_are_own {
                    return Ok(true);
                }
                seen.content.digest
            }
            _ => match meta.kind {
                Kind::Folder => {
                    digests::read_folder(site.disk, path).map_err(|error| broken(&error))?.digest
                }
                Kind::File => {
                    digests::read(site.disk, path, None).map_err(|error| broken(&error))?.digest
                }
                Kind::Link | Kind::Other => return Ok(false),
            },
        };
        is_own(site, path, digest)
    }

    /// A place for something of other hands, where nothing is yet.
    fn aside_for(&mut self, path: &Path) -> Result<PathBuf, Failure> {
        let disk = self.site.disk;
        let wanted = self.displaced.join(aside::inside(path));
        // *I8* What goes there goes in one step, and the way must be durable by then.
        if let Some(parent) = wanted.parent() {
            self.ways.make(disk, parent).map_err(|error| broken(&error))?;
        }
        aside::free_name(disk, &wanted).map_err(|error| broken(&error))
    }

    /// Makes a folder; each new one is a name in the folder above, to be synced.
    fn make_parent(&mut self, folder: &Path) -> Result<(), Failure> {
        if folder.as_os_str().is_empty() {
            return Ok(());
        }
        let made = self.site.disk.make_folders(folder).map_err(|error| broken(&error))?;
        for folder in made {
            self.unsynced.push(folder.parent().unwrap_or(Path::new("")).to_owned());
        }
        Ok(())
    }

    /// Asks the explicit check, now that the outputs are in place and durable.
    fn ask_check(&mut self, stop: &Stop) -> Result<(), Failure> {
        let view = self.job.view;
        if view.step.check.is_none() {
            return Ok(());
        }
        if self.syncs() {
            // The recorder syncs those of a group once more, and goes the ways.
            self.ways.sync(self.site.disk, &self.unsynced).map_err(|error| broken(&error))?;
        }
        let asked = check::Asked {
            view,
            task: self.job.task,
            own_inputs: &self.job.sight.own_inputs,
            outs: &self.job.task.outs,
        };
        match check::ask_until_it_holds(self.site, &asked, stop) {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(Failure::BadEffect("it ended well, but its check does not hold".to_owned()))
            }
            Err(why) => Err(Failure::Broken(format!("its check cannot tell: {why}"))),
        }
    }

    /// Puts back what was there before.
    fn take_back(&mut self) -> DiskResult<()> {
        let disk = self.site.disk;
        let mut folders = Vec::new();
        for placed in self.placed.drain(..).rev() {
            match (&placed.displaced_to, placed.replaced) {
                (Some(aside), false) => {
                    disk.exchange(aside, &placed.path)?;
                    // *I8* It is back for good before ours goes from where it was.
                    disk.sync(placed.path.parent().unwrap_or(Path::new("")))?;
                    disk.remove_all(aside)?;
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

/// Makes outputs that were found in place durable, but for the folders they lie
/// in, which are given: whoever put them there may have died right after.
///
/// # Errors
/// If one cannot be synced.
pub fn make_durable(site: &Site<'_>, job: &Job<'_>) -> Result<Vec<PathBuf>, Failure> {
    let mut folders = Vec::new();
    if !site.syncs(job.view.step) {
        return Ok(folders);
    }
    let outs = job.view.step.outs.iter().zip(&*job.task.outs).zip(&job.sight.outs);
    for ((out, path), _) in outs.filter(|(_, seen)| seen.is_some()) {
        sync_all(site.disk, path, out.folder).map_err(|error| broken(&error))?;
        folders.push(path.parent().unwrap_or(Path::new("")).to_owned());
    }
    Ok(folders)
}
