//! Keeping aside: what is there before a command writes in place, so that after a
//! failure exactly that can be put back.
//!
//! *On disk*: `.semel/staging/RUN/in-place-NUMBER/list` names for each output its
//! path and where its copy is; the copies lie in folders of that name, in the
//! run's staging or beside the output.
//!
//! Invariant: *I9* the copies and the list are durable before the command begins,
//! and each copy is there until it is back in its place or the task has its
//! receipt.
//!
//! *If we die here*: the next run finds the list, and that the attempt has no
//! receipt, and puts back what is not back yet: by looking, so that it may die
//! and begin again.

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use crate::deed::trees::{copy_all, copy_looks, sync_all};
use crate::deed::ways::Ways;
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Stat};
use crate::words::path::{bytes_of, path_of};

/// The file that names what was kept.
const LIST: &str = "list";

/// What the folders of kept copies are called.
const PREFIX: &str = "in-place-";

/// The name of the folder for what an attempt would overwrite.
#[must_use]
pub(crate) fn folder_name(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// The number of the attempt for which a folder of this name keeps copies.
#[must_use]
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.parse().ok()
}

/// A copy that was made of an output.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Where it is.
    pub(crate) copy: PathBuf,
    /// What the output looked like when it was copied.
    pub stat: Stat,
}

/// What happens to what a dead run kept for an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes back in its place: the attempt did not end.
    PutBack,
    /// It is moved below `.semel/displaced`: a human accepted what is there now.
    SetAside,
    /// It is not needed any more: the task has its receipt.
    Removed,
}

/// What SQLite keeps beside a database, and is part of it: a file that is put back
/// without them would get the half done work once more.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What may lie beside an output and belong to it.
pub(crate) fn beside(path: &Path) -> impl Iterator<Item = PathBuf> {
    BESIDE.iter().map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

/// An output and where its copy is to be kept.
pub(crate) struct Keeping<'a> {
    /// The output.
    pub path: &'a Path,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// The folder for its copy, on the same file system.
    pub folder: PathBuf,
}

/// Keeps copies of all outputs that are there; `list` is the folder for the list.
///
/// # Errors
/// If one cannot be copied, or nothing durable can be written.
pub(crate) fn keep(
    disk: &dyn Disk,
    list: &Path,
    outputs: &[Keeping<'_>],
) -> DiskResult<Vec<Option<Kept>>> {
    let mut kept = Vec::with_capacity(outputs.len());
    let mut text = Vec::new();
    disk.make_folders(list)?;
    for (at, Keeping { path, is_folder, folder }) in outputs.iter().enumerate() {
        text.extend_from_slice(bytes_of(path));
        text.push(0);
        let copy = match disk.look_at_link(path)? {
            None => None,
            Some(meta) => {
                disk.make_folders(folder)?;
                let copy = folder.join(at.to_string());
                copy_all(disk, path, &copy)?;
                copy_looks(disk, path, &copy)?;
                sync_all(disk, &copy, *is_folder)?;
                disk.sync(folder)?;
                text.extend_from_slice(bytes_of(&copy));
                Some(Kept { copy, stat: meta.stat })
            }
        };
        text.push(0);
        kept.push(copy);
    }
    let path = list.join(LIST);
    disk.write(&path, &text)?;
    disk.sync(&path)?;
    disk.sync(list)?;
    if let Some(above) = list.parent() {
        disk.sync(above)?;
    }
    Ok(kept)
}

/// Whether something that was kept is still to be put back.
pub(crate) fn is_owed(disk: &dyn Disk, list: &Path) -> DiskResult<bool> {
    Ok(disk.look(&list.join(LIST))?.is_some())
}

/// Makes one more copy of what was kept; the kept one stays where it is.
pub(crate) fn copy_to(disk: &dyn Disk, kept: &Path, to: &Path, is_folder: bool) -> DiskResult<()> {
    if let Some(parent) = to.parent() {
        disk.make_folders(parent)?;
    }
    copy_all(disk, kept, to)?;
    sync_all(disk, to, is_folder)
}

/// What made room for a copy, and where it is now.
pub(crate) type MadeRoom = Vec<(PathBuf, PathBuf)>;

/// Puts back what was kept in a folder with a list, and takes away what was not
/// there before. Where there is no list nothing was begun, or all is back.
///
/// What is found in a place may have been put there by other hands since: it is
/// moved below `displaced`, where one is given.
///
/// # Errors
/// If something cannot be put back; it can be tried again.
pub(crate) fn put_back(
    disk: &dyn Disk,
    list: &Path,
    displaced: Option<&Path>,
) -> DiskResult<MadeRoom> {
    let (mut made_room, ways) = (Vec::new(), Ways::default());
    for (at, (output, copy)) in listed(disk, list)?.into_iter().enumerate() {
        let parent = output.parent().unwrap_or(Path::new(""));
        let is_back =
            copy.as_deref().is_some_and(|copy| matches!(disk.look_at_link(copy), Ok(None)));
        if !is_back && disk.look_at_link(&output)?.is_some() {
            let room = match displaced {
                Some(folder) => free_name(disk, &folder.join(inside(&output)))?,
                None => list.join(format!("{at}.left")),
            };
            make_room(disk, &ways, &output, &room)?;
            if displaced.is_some() {
                made_room.push((output.clone(), room));
            }
        }
        let has_parent = parent == Path::new("") || disk.look(parent)?.is_some();
        if let Some(copy) = copy.filter(|_| !is_back) {
            if !has_parent {
                ways.make(disk, parent)?;
            }
            disk.rename_new(&copy, &output)?;
            disk.sync(parent)?;
        } else if has_parent {
            // Whoever was here before us may have died right before this.
            disk.sync(parent)?;
        }
    }
    // Nothing is taken away twice: it could be somebody else's the next time.
    forget(disk, list)?;
    Ok(made_room)
}

/// Moves what was kept in a folder with a list below `displaced`: what is in the
/// places now was accepted.
///
/// # Errors
/// If something cannot be moved; it can be tried again.
pub(crate) fn set_aside(disk: &dyn Disk, list: &Path, displaced: &Path) -> DiskResult<MadeRoom> {
    let (mut set_aside, ways) = (Vec::new(), Ways::default());
    for (output, copy) in listed(disk, list)? {
        let Some(copy) = copy else { continue };
        if disk.look_at_link(&copy)?.is_some() {
            let room = free_name(disk, &displaced.join(inside(&output)))?;
            make_room(disk, &ways, &copy, &room)?;
            set_aside.push((output, room));
        }
    }
    forget(disk, list)?;
    Ok(set_aside)
}

/// The outputs of a list, and where the copies of those are that were there. Where
/// there is no list nothing was begun, or all was settled.
fn listed(disk: &dyn Disk, list: &Path) -> DiskResult<Vec<(PathBuf, Option<PathBuf>)>> {
    let path = list.join(LIST);
    if disk.look(&path)?.is_none() {
        return Ok(Vec::new());
    }
    let mut text = Vec::new();
    let read = disk.open(&path)?.read_to_end(&mut text);
    read.map_err(|source| DiskError { doing: "read", path, source })?;
    let mut parts = text.split(|&byte| byte == 0);
    let mut listed = Vec::new();
    while let (Some(output), Some(copy)) = (parts.next(), parts.next()) {
        let copy = (!copy.is_empty()).then(|| path_of(copy.to_vec()));
        listed.push((path_of(output.to_vec()), copy));
    }
    Ok(listed)
}

/// Removes a list, durably.
fn forget(disk: &dyn Disk, list: &Path) -> DiskResult<()> {
    if disk.look(&list.join(LIST))?.is_some() {
        disk.remove_file(&list.join(LIST))?;
        disk.sync(list)?;
    }
    Ok(())
}

/// A path as it is written below another folder.
pub(crate) fn inside(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, Component::Normal(_))).collect()
}

/// A path where nothing is yet: the wanted one, or with a number.
pub(crate) fn free_name(disk: &dyn Disk, wanted: &Path) -> DiskResult<PathBuf> {
    let mut path = wanted.to_owned();
    let mut number = 1;
    while disk.look_at_link(&path)?.is_some() {
        let mut name = wanted.as_os_str().to_owned();
        name.push(format!(".{number}"));
        path = PathBuf::from(name);
        number += 1;
    }
    Ok(path)
}

/// Moves something away, durably, to another file system if need be.
///
/// Invariant: *I8* the way to where it goes is durable before it goes, and so is a copy
/// of it before it gives way.
pub(crate) fn make_room(disk: &dyn Disk, ways: &Ways, from: &Path, to: &Path) -> DiskResult<()> {
    disk.remove_all(to)?;
    let folder = to.parent().unwrap_or(Path::new(""));
    ways.make(disk, folder)?;
    match disk.rename_new(from, to) {
        Err(error) if error.is_across() => {
            copy_all(disk, from, to)?;
            let is_folder = disk.look(to)?.is_some_and(|meta| meta.kind == Kind::Folder);
            sync_all(disk, to, is_folder)?;
            disk.sync(folder)?;
            disk.remove_all(from)
        }
        renamed => {
            renamed?;
            disk.sync(folder)
        }
    }
}
