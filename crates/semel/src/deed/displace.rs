//! Moving aside: what is in the way, or no longer made, goes to
//! `.semel/displaced/`, whole, under its own path.
//!
//! Invariant: *I8* at every moment the bytes are where they were or where they go.
//! *If we die here*: a rename is one step. On another file system a copy is made,
//! synced and read again before the original is removed; dead in between, both are
//! there.

use std::path::{Path, PathBuf};

use crate::deed::aside::{free_name, inside};
use crate::deed::trees::{copy_all, sync_all};
use crate::deed::ways::Ways;
use crate::ground::digests;
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind};
use crate::words::digest::Digest;

/// Moves a thing into a folder of displaced things, durably, and says where it is
/// now; `None` if nothing was there any more.
///
/// # Errors
/// If it cannot be moved; then it is where it was.
pub(super) fn move_aside(
    disk: &dyn Disk,
    ways: &Ways,
    path: &Path,
    displaced: &Path,
) -> DiskResult<Option<PathBuf>> {
    let wanted = displaced.join(inside(path));
    let folder = wanted.parent().unwrap_or(displaced);
    ways.make(disk, folder)?;
    loop {
        let aside = free_name(disk, &wanted)?;
        match disk.rename_new(path, &aside) {
            Ok(()) => {}
            // Somebody else was faster with that name.
            Err(error) if error.is_presence() => continue,
            Err(error) if error.is_across() => copy_aside(disk, path, &aside)?,
            Err(error) if error.is_absence() && disk.look_at_link(path)?.is_none() => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        disk.sync(folder)?;
        disk.sync(path.parent().unwrap_or(Path::new("/")))?;
        return Ok(Some(aside));
    }
}

/// Copies a thing to another file system, and removes the original when the copy is
/// safe.
fn copy_aside(disk: &dyn Disk, path: &Path, aside: &Path) -> DiskResult<()> {
    let kind = disk.look_at_link(path)?.map(|meta| meta.kind);
    if kind == Some(Kind::Link) {
        disk.make_link(&disk.read_link(path)?, aside)?;
        disk.sync(aside.parent().unwrap_or(Path::new("/")))?;
        return disk.remove_file(path);
    }
    let before = content(disk, path)?;
    let copied = copy_all(disk, path, aside)
        .and_then(|()| sync_all(disk, aside, kind == Some(Kind::Folder)))
        .and_then(|()| Ok((content(disk, aside)?, content(disk, path)?)));
    match copied {
        Ok((copy, now)) if copy == before && now == before => {
            disk.sync(aside.parent().unwrap_or(Path::new("/")))?;
            disk.remove_all(path)
        }
        Ok(_) => {
            disk.remove_all(aside)?;
            let source = std::io::Error::other("it changed while it was copied");
            Err(DiskError { doing: "move", path: path.to_owned(), source })
        }
        Err(error) => {
            // Half a copy is no copy; the original is untouched.
            disk.remove_all(aside)?;
            Err(error)
        }
    }
}

/// What is in a file or folder; nothing else can be copied.
fn content(disk: &dyn Disk, path: &Path) -> DiskResult<Digest> {
    let digest = match disk.look(path)? {
        Some(meta) => digests::digest_of(disk, path, meta.kind)?,
        None => None,
    };
    digest.ok_or_else(|| {
        let source = std::io::Error::other("it is neither a file nor a folder");
        DiskError { doing: "copy", path: path.to_owned(), source }
    })
}
