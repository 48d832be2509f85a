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

use std::path::{Path, PathBuf};

use crate::deed::act::{Job, Staged, Workshop};
use crate::deed::look::{is_own, wrong_kind};
use crate::deed::stage::Place;
use crate::deed::view::Seen;
use crate::deed::{Site, aside, check, command};
use crate::ground::digests::{self, Content};
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Meta, Stat};
use crate::ground::world::process::Stop;
use crate::words::path::show;
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
    pub(crate) took: std::time::Duration,
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
    displaced: &Path,
    stop: &Stop,
) -> Result<Published, Failure> {
    let Staged { place, contents, took } = staged;
    let site = workshop.site;
    let mut publication =
        Publication { site, job, displaced, placed: Vec::new(), unsynced: Vec::new() };
    let done = publication.place_all(&place, &contents).and_then(|()| publication.ask_check(stop));
    if let Err(failure) = done {
        let failure = match publication.take_back() {
            Ok(()) => failure,
            Err(error) => Failure::Broken(format!("{failure}; and then: {error}")),
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
    let mut unsynced = publication.unsynced;
    unsynced.sort_unstable();
    unsynced.dedup();
    Ok(Published {
        files: records(job, &contents),
        outs,
        unsynced,
        left_something: publication.placed.iter().any(|placed| placed.replaced),
        displaced: publication
            .placed
            .into_iter()
            .filter_map(|placed| Some((placed.path, placed.displaced_to?)))
            .collect(),
        place,
        took,
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
    placed: Vec<Placed>,
    unsynced: Vec<PathBuf>,
}

impl Publication<'_> {
    fn place_all(&mut self, place: &Place, contents: &[Seen]) -> Result<(), Failure> {
        let view = self.job.view;
        // All are durable before the first takes its place.
        for (at, (staged, seen)) in place.paths.iter().zip(contents).enumerate() {
            let digest = seen.content.digest;
            let stamp = Stamp::new(&self.job.sight.fingerprint, &view.roles[at], digest);
            let disk = self.site.disk;
            disk.put_stamp(staged, &stamp.to_bytes()).map_err(|error| broken(&error))?;
            sync_all(disk, staged, view.step.outs[at].folder).map_err(|error| broken(&error))?;
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
        disk.rename_new(staged, &aside).map_err(|error| broken(&error))?;
        disk.exchange(&aside, path).map_err(|error| broken(&error))?;
        self.note(at, staged, false, Some(aside));
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
        let wanted = aside::wanted(self.displaced, path);
        if let Some(parent) = wanted.parent() {
            self.make_parent(parent)?;
        }
        aside::free(disk, &wanted).map_err(|error| broken(&error))
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
        let Some(state_check) = &view.step.check else {
            return Ok(());
        };
        for folder in std::mem::take(&mut self.unsynced) {
            self.site.disk.sync(&folder).map_err(|error| broken(&error))?;
        }
        let inputs = view.input_paths(&self.job.sight.own_inputs);
        let bindings = view.bindings(self.site, self.job.task, &inputs, &self.job.task.outs);
        let name = self.job.task.name(&view.step.name, &view.instance).to_string();
        let env = command::env(view.step, &bindings, &name);
        match check::ask(self.site, state_check, &bindings, &env, stop) {
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
                (Some(aside), _) => {
                    disk.exchange(aside, &placed.path)?;
                    disk.remove_all(aside)?;
                }
                (None, true) => disk.exchange(&placed.staged, &placed.path)?,
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
    let outs = job.view.step.outs.iter().zip(&*job.task.outs).zip(&job.sight.outs);
    for ((out, path), _) in outs.filter(|(_, seen)| seen.is_some()) {
        sync_all(site.disk, path, out.folder).map_err(|error| broken(&error))?;
        folders.push(path.parent().unwrap_or(Path::new("")).to_owned());
    }
    Ok(folders)
}

/// Syncs a file, or a folder with all that is in it.
pub(super) fn sync_all(disk: &dyn Disk, path: &Path, is_folder: bool) -> DiskResult<()> {
    if is_folder {
        for (name, kind) in digests::tree(disk, path)? {
            if kind == Kind::File || kind == Kind::Folder {
                disk.sync(&path.join(name))?;
            }
        }
    }
    disk.sync(path)
}
