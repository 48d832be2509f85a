//! What a command did to its inputs, and to other files that were there before:
//! whether they changed under it, whether it moved or linked them to its outputs.
//!
//! Invariant: *I8* what a command moved into staging and did not make there is
//! never removed with it.

use std::path::{Path, PathBuf};

use crate::deed::act::{Job, Workshop};
use crate::deed::stage::Place;
use crate::deed::trees::{copy_all, sync_all};
use crate::deed::view::Input;
use crate::deed::{Site, aside};
use crate::ground::digests;
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Meta};
use crate::words::path::show;
use crate::words::pipeline::{Digested, InPlace};
use crate::words::receipt::Failure;

/// The inputs of a task, its item among them.
pub(crate) fn all<'j>(job: &'j Job<'_>) -> impl Iterator<Item = &'j Input> {
    job.sight.item.iter().chain(&job.view.inputs).chain(&job.sight.own_inputs)
}

/// What became of an input while a command worked.
pub(crate) enum Change {
    /// It is not what it was, or is gone.
    Bytes(PathBuf),
    /// Its bytes are what they were, but they were written anew, or another file
    /// took its place: in between they may have been others.
    Rewritten(PathBuf),
}

/// An input or a program that is not as it was when the attempt began.
///
/// # Errors
/// If one cannot be read.
pub(crate) fn changed(site: &Site<'_>, job: &Job<'_>) -> Result<Option<Change>, Failure> {
    let bad = |error: DiskError| Failure::BadInput(error.to_string());
    let mut rewritten = None;
    for Input { path, seen, .. } in all(job).chain(&job.view.programs) {
        let Some(meta) = site.disk.look(path).map_err(bad)? else {
            return Ok(Some(Change::Bytes(path.clone())));
        };
        let is_as_seen = meta.kind == Kind::File && meta.stat == seen.meta.stat;
        if is_as_seen && seen.content.is_settled {
            continue;
        }
        let content = match job.view.step.digest {
            // What it looks like is all that counts.
            Digested::Stat if seen.content.by_stat => {
                site.input_content(job.view.step, path, &meta, &mut 0)
            }
            _ => site.digests.content(site.disk, path, &meta, &mut 0),
        };
        if content.map_err(bad)?.digest != seen.content.digest {
            return Ok(Some(Change::Bytes(path.clone())));
        }
        if meta.kind == Kind::File && was_rewritten(&meta, &seen.meta) {
            rewritten.get_or_insert_with(|| path.clone());
        }
    }
    Ok(rewritten.map(Change::Rewritten))
}

fn was_rewritten(now: &Meta, before: &Meta) -> bool {
    (now.stat.inode, now.stat.mtime) != (before.stat.inode, before.stat.mtime)
}

/// What was saved before a failed attempt is cleared.
#[derive(Default)]
pub(crate) struct Saved {
    /// Inputs that the command had moved away, and that are back.
    pub(crate) given_back: Vec<PathBuf>,
    /// Where outputs would have been, and where what was staged for them is kept,
    /// since not all of it was made by the attempt.
    pub(crate) kept: Vec<(PathBuf, PathBuf)>,
}

/// Saves what an attempt that did not end well moved into staging: inputs are put
/// back, and what was there before the attempt is kept aside.
///
/// # Errors
/// If something cannot be looked at or moved; then nothing may be cleared.
pub(crate) fn save(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    place: &Place,
) -> Result<Saved, Failure> {
    let mut saved = Saved::default();
    if job.view.step.in_place != InPlace::No {
        return Ok(saved);
    }
    let disk = workshop.site.disk;
    let broken = |error: DiskError| Failure::Broken(error.to_string());
    let mut is_missing = false;
    for input in all(job) {
        if disk.look_at_link(&input.path).map_err(broken)?.is_some() {
            continue;
        }
        match find_moved(disk, place, &input.seen.meta).map_err(broken)? {
            Some(moved) => {
                disk.rename_new(&moved, &input.path).map_err(broken)?;
                // *I8* It is back for good before staging is cleared.
                disk.sync(input.path.parent().unwrap_or(Path::new(""))).map_err(broken)?;
                saved.given_back.push(input.path.clone());
            }
            // It may have been moved to another file system, and is a copy now.
            None => is_missing = true,
        }
    }
    for (staged, path) in place.paths.iter().zip(&*job.task.outs) {
        let Some(meta) = disk.look_at_link(staged).map_err(broken)? else {
            continue;
        };
        let has_older = is_missing || holds_older(disk, place, staged, &meta).map_err(broken)?;
        let is_empty =
            meta.kind == Kind::Folder && digests::tree(disk, staged).map_err(broken)?.is_empty();
        if has_older && !is_empty {
            let wanted = workshop.displaced.join(aside::inside(path));
            let to = aside::free_name(disk, &wanted).map_err(broken)?;
            aside::make_room(disk, &workshop.staging.ways, staged, &to).map_err(broken)?;
            saved.kept.push((path.clone(), to));
        }
    }
    Ok(saved)
}

/// Says of a command that ended well that it moved its input away.
pub(crate) fn moved_away(saved: &Saved) -> Option<Failure> {
    let path = show(saved.given_back.first()?);
    Some(Failure::BadEffect(format!(
        "it moved its input {path} to its output; that is back in its place: copy it instead"
    )))
}

/// A failure that tells where something is that semel did not make.
pub(crate) fn with_kept(failure: Failure, saved: &Saved) -> Failure {
    let Some((path, kept)) = saved.kept.first() else {
        return failure;
    };
    let text = format!("{failure}; what was moved to {} is kept as {}", show(path), show(kept));
    if failure.is_broken() { Failure::Broken(text) } else { Failure::BadEffect(text) }
}

/// Where in staging a thing is that looked like this.
fn find_moved(disk: &dyn Disk, place: &Place, wanted: &Meta) -> DiskResult<Option<PathBuf>> {
    for staged in &place.paths {
        for path in things_in(disk, staged)? {
            let meta = disk.look_at_link(&path)?;
            if meta.is_some_and(|meta| {
                (meta.stat.inode, meta.device) == (wanted.stat.inode, wanted.device)
            }) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// A staged thing and all that is in it.
fn things_in(disk: &dyn Disk, staged: &Path) -> DiskResult<Vec<PathBuf>> {
    let Some(meta) = disk.look_at_link(staged)? else {
        return Ok(Vec::new());
    };
    let mut things = vec![staged.to_owned()];
    if meta.kind == Kind::Folder {
        things.extend(digests::tree(disk, staged)?.into_iter().map(|(name, _)| staged.join(name)));
    }
    Ok(things)
}

/// Whether a staged thing, or something in it, is older than the place where the
/// attempt wrote: then it was moved there.
fn holds_older(disk: &dyn Disk, place: &Place, staged: &Path, meta: &Meta) -> DiskResult<bool> {
    let Some(born) = place.born(disk)? else {
        return Ok(false);
    };
    // A folder is made by semel, right after its place.
    let skipped = usize::from(meta.kind == Kind::Folder);
    for path in things_in(disk, staged)?.into_iter().skip(skipped) {
        if disk.birth(&path)?.is_some_and(|birth| birth < born) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes files of their own out of staged ones that have other names elsewhere:
/// what is published must not change with its input.
///
/// # Errors
/// If one cannot be copied.
pub(crate) fn part_from_others(disk: &dyn Disk, staged: &Path) -> DiskResult<()> {
    for path in things_in(disk, staged)? {
        let meta = disk.look_at_link(&path)?;
        if !meta.is_some_and(|meta| meta.kind == Kind::File && meta.links > 1) {
            continue;
        }
        let mut copy = path.clone().into_os_string();
        copy.push(".semel-copy");
        let copy = PathBuf::from(copy);
        copy_all(disk, &path, &copy)?;
        sync_all(disk, &copy, false)?;
        disk.remove_file(&path)?;
        disk.rename_new(&copy, &path)?;
    }
    Ok(())
}
