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
//! *If we die here*: each path has its old or its new output. Where there is more than
//! one step the journal tells the next run how to finish, or to undo it (see
//! [`crate::deed::journal`]); else it finds out by digests and stamps.

mod in_place;
mod placing;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::placing::broken;
pub(in crate::deed) use self::placing::{Placing, Slot};
use crate::deed::act::{Job, Staged, Workshop};
use crate::deed::look::is_own;
use crate::deed::record::{Particulars, receipt};
use crate::deed::stage::Place;
use crate::deed::trees::sync_all;
use crate::deed::undo::Undo;
use crate::deed::view::Seen;
use crate::deed::{Site, check, inputs, journal};
use crate::ground::digests::{self, Content};
use crate::ground::world::disk::{Kind, Meta, Stat};
use crate::ground::world::process::Stop;
use crate::words::journal::{Circumstances, Record};
use crate::words::once::Doer;
use crate::words::path::show;
use crate::words::pipeline::{InPlace, Step};
use crate::words::receipt::{Attempt, AttemptEnd, Failure, FileRecord, FileRole, Origin};
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

/// What is known of a publication beside its outputs.
pub struct Paper<'a> {
    /// What its receipt will say.
    pub particulars: Particulars<'a>,
    /// How the task comes to be complete by it.
    pub origin: Origin,
    /// The attempt that it ends, where a command was run.
    pub attempt: Option<(Attempt, AttemptEnd)>,
    /// The run.
    pub by: &'a Doer,
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
    paper: &Paper<'_>,
    stop: &Stop,
) -> Result<Published, Failure> {
    let Staged { mut place, contents, took } = staged;
    let site = workshop.site;
    let mut publication = Publication {
        site,
        job,
        took,
        placing: Placing::new(site.disk, &workshop.staging.ways, workshop.displaced),
        moved_aside: Vec::new(),
    };
    if job.view.step.in_place != InPlace::No {
        return in_place::publish(workshop, job, publication, place, &contents, stop);
    }
    let files = records(job, &contents);
    let done = publication
        .make_durable(&place, &contents)
        .and_then(|()| publication.journal(workshop, &mut place, &files, paper))
        .and_then(|()| publication.place_all(&place))
        .and_then(|()| publication.ask_check(stop));
    if let Err(failure) = done {
        let taken_back = publication.placing.take_back().and_then(|()| match &place.journal {
            Some(journal) => journal::forget(site.disk, journal),
            None => Ok(()),
        });
        if let Err(error) = taken_back {
            // What could not be put back is here and nowhere else: the next run
            // finishes, or undoes, what is journalled.
            return Err(Failure::Broken(format!("{failure}; and then: {error}")));
        }
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
    for (placed, staged) in publication.placing.placed.iter().zip(&contents) {
        outs.push(look_at_published(site, &placed.path, staged)?);
    }
    Ok(Published {
        files,
        outs,
        left_something: publication.placing.placed.iter().any(|placed| placed.replaced),
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

struct Publication<'a> {
    site: &'a Site<'a>,
    job: &'a Job<'a>,
    took: Duration,
    placing: Placing<'a>,
    /// What semel did not make: from where it was moved, to where.
    moved_aside: Vec<(PathBuf, PathBuf)>,
}

impl Publication<'_> {
    /// What is known of the publication itself; of its outputs, nothing yet.
    fn published(mut self) -> Published {
        let Placing { placed, mut unsynced, .. } = self.placing;
        unsynced.sort_unstable();
        unsynced.dedup();
        self.moved_aside.extend(
            placed.into_iter().filter_map(|placed| Some((placed.path, placed.displaced_to?))),
        );
        Published {
            files: Vec::new(),
            outs: Vec::new(),
            unsynced: if self.site.syncs(self.job.view.step) { unsynced } else { Vec::new() },
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

    /// Stamps and syncs staged outputs: all are durable before the first takes its
    /// place.
    fn make_durable(&self, place: &Place, contents: &[Seen]) -> Result<(), Failure> {
        let (view, disk) = (self.job.view, self.site.disk);
        for (at, (staged, seen)) in place.paths.iter().zip(contents).enumerate() {
            let digest = seen.content.digest;
            let stamp = Stamp::new(&self.job.sight.fingerprint, &view.roles[at], digest);
            disk.put_stamp(staged, &stamp.to_bytes()).map_err(|error| broken(&error))?;
            if self.syncs() {
                sync_all(disk, staged, view.step.outs[at].folder)
                    .map_err(|error| broken(&error))?;
            }
        }
        Ok(())
    }

    /// Journals what is about to be done, where that has more than one step. One
    /// file without a check takes its place and has its receipt, or has not.
    fn journal(
        &mut self,
        workshop: &Workshop<'_>,
        place: &mut Place,
        files: &[FileRecord],
        paper: &Paper<'_>,
    ) -> Result<(), Failure> {
        let Job { view, number, .. } = *self.job;
        let step = view.step;
        let has_one_step = matches!(&*step.outs, [out] if !out.folder);
        if step.outs.is_empty() || has_one_step && step.check.is_none() && !step.once {
            return Ok(());
        }
        let site = self.site;
        let root = site.disk.root();
        let Paper { particulars, origin, attempt, by } = paper;
        let receipt = receipt(particulars, files.to_vec(), *origin, self.took);
        let staged = place.paths.iter().zip(&step.outs);
        let staged =
            staged.map(|(path, out)| (path.strip_prefix(root).unwrap_or(path), out.folder));
        let record = Record::of(
            &receipt,
            Circumstances {
                pipeline: &site.pipeline.name,
                by,
                asks: step.check.is_some(),
                number,
                attempt: attempt.as_ref(),
                said: particulars.said,
                ends: particulars.ends,
                leases: leases(site, step),
                staged: staged.collect(),
            },
        );
        // What is paid for must be found again after a power cut too.
        if step.once {
            workshop.staging.make_durable(place).map_err(|error| broken(&error))?;
        }
        let path = workshop.staging.journal(number);
        place.journal = Some(path.clone());
        journal::write(site.disk, &path, &record, self.syncs()).map_err(|error| broken(&error))?;
        self.placing.journal = Some(path);
        Ok(())
    }

    fn place_all(&mut self, place: &Place) -> Result<(), Failure> {
        let job = self.job;
        let site = self.site;
        let seen_at = |at: usize| job.sight.outs.get(at).and_then(Option::as_ref);
        let is_own =
            |slot: Slot<'_>, meta: &Meta| is_own_output(site, job, slot, meta, seen_at(slot.at));
        for (at, (staged, path)) in place.paths.iter().zip(&*job.task.outs).enumerate() {
            let is_folder = job.view.step.outs[at].folder;
            let slot = Slot { at, path, staged, is_folder };
            self.placing.place(slot, seen_at(at).is_none(), &is_own)?;
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
            let folders = &self.placing.unsynced;
            let synced = self.placing.ways.sync(self.site.disk, folders);
            synced.map_err(|error| broken(&error))?;
        }
        let asked = check::Asked {
            view,
            task: self.job.task,
            own_inputs: &self.job.sight.own_inputs,
            outs: &self.job.task.outs,
        };
        check::ask_until_it_holds(self.site, &asked, stop)
    }
}

/// Whether what is at the place of an output was made by semel.
fn is_own_output(
    site: &Site<'_>,
    job: &Job<'_>,
    slot: Slot<'_>,
    meta: &Meta,
    seen: Option<&Seen>,
) -> Result<bool, Failure> {
    let Slot { path, .. } = slot;
    let digest = match seen {
        Some(seen) if meta.kind == Kind::File && seen.meta.stat == meta.stat => {
            if job.sight.outs_are_own {
                return Ok(true);
            }
            seen.content.digest
        }
        _ => {
            let found = digests::digest_of(site.disk, path, meta.kind);
            match found.map_err(|error| broken(&error))? {
                Some(digest) => digest,
                None => return Ok(false),
            }
        }
    };
    is_own(site, path, digest)
}

/// The lock files of the leases under which a step works: those of the run, and that
/// of the step, if runs of several instances share it. A task that is alone in its
/// process has its own.
fn leases(site: &Site<'_>, step: &Step) -> Vec<String> {
    let name = &site.pipeline.name;
    let mut locks = site.leases.to_vec();
    if step.per != site.pipeline.per && step.written.is_none() {
        let shared = site.params.instance(&step.per);
        locks.push(site.home.step_lock(name, &step.name, shared.as_str()));
    }
    let names = locks.iter().filter_map(|lock| lock.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
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
