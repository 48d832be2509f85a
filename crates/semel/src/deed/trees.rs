//! Files and folders alike: copied and synced with all that is in them.

use std::path::Path;

use crate::ground::digests;
use crate::ground::world::disk::{Disk, DiskResult, Kind};

/// Copies a file, or a folder with all that is in it.
pub(crate) fn copy_all(disk: &dyn Disk, from: &Path, to: &Path) -> DiskResult<()> {
    match disk.look(from)? {
        Some(meta) if meta.kind == Kind::Folder => {
            disk.make_folders(to)?;
            for (name, kind) in digests::tree(disk, from)? {
                let target = to.join(&name);
                match kind {
                    Kind::Folder => drop(disk.make_folders(&target)?),
                    Kind::Link => disk.make_link(&disk.read_link(&from.join(&name))?, &target)?,
                    Kind::File | Kind::Other => disk.copy(&from.join(&name), &target)?,
                }
            }
            Ok(())
        }
        _ => disk.copy(from, to),
    }
}

/// Gives a copy the owner, modes and times of its original; a folder gets its time
/// after all that is in it.
pub(crate) fn copy_looks(disk: &dyn Disk, from: &Path, to: &Path) -> DiskResult<()> {
    if disk.look_at_link(from)?.is_some_and(|meta| meta.kind == Kind::Folder) {
        for (name, _) in digests::tree(disk, from)?.into_iter().rev() {
            disk.copy_looks(&from.join(&name), &to.join(&name))?;
        }
    }
    disk.copy_looks(from, to)
}

/// Syncs a file, or a folder with all that is in it.
pub(crate) fn sync_all(disk: &dyn Disk, path: &Path, is_folder: bool) -> DiskResult<()> {
    if is_folder {
        for (name, kind) in digests::tree(disk, path)? {
            if kind == Kind::File || kind == Kind::Folder {
                disk.sync(&path.join(name))?;
            }
        }
    }
    disk.sync(path)
}
