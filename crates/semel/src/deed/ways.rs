//! Ways: a thing outlives a power cut only if each folder on the way to it does. A
//! folder that was only just made, by this run, by another task of it, or by one that
//! was killed right after, is a name in the folder above that may not be durable yet.
//!
//! Invariant: what is known here is durable up to the pipeline's folder, or up to the
//! root of all for what lies elsewhere. Each way is gone once a run.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::ground::world::disk::{Disk, DiskError, DiskResult};

/// The folders to which the way is durable.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<BTreeSet<PathBuf>>);

impl Ways {
    /// Makes a folder that stays whatever happens.
    ///
    /// # Errors
    /// If it cannot be made, or a folder above it cannot be synced.
    pub(crate) fn make(&self, disk: &dyn Disk, folder: &Path) -> DiskResult<()> {
        let mut synced = BTreeSet::new();
        for made in disk.make_folders(folder)? {
            // It may have been there before, and be gone since.
            if let Some(above) = above(disk, &made) {
                disk.sync(&above)?;
                synced.insert(above);
            }
        }
        self.lead_to(disk, folder, &mut synced)
    }

    /// Syncs folders in which names changed, and the ways to them.
    ///
    /// # Errors
    /// If one cannot be synced.
    pub(crate) fn sync<'a>(
        &self,
        disk: &dyn Disk,
        folders: impl IntoIterator<Item = &'a PathBuf>,
    ) -> DiskResult<()> {
        let mut synced = BTreeSet::new();
        let folders: BTreeSet<_> = folders.into_iter().collect();
        for folder in &folders {
            disk.sync(folder)?;
            synced.insert((*folder).clone());
        }
        folders.into_iter().try_for_each(|folder| self.lead_to(disk, folder, &mut synced))
    }

    fn lead_to(
        &self,
        disk: &dyn Disk,
        folder: &Path,
        synced: &mut BTreeSet<PathBuf>,
    ) -> DiskResult<()> {
        let mut at = folder.to_owned();
        while let Some(above) = above(disk, &at) {
            if self.is_known(&at) {
                break;
            }
            if !synced.contains(&above) {
                let done = disk.sync(&above);
                done.or_else(|error| if is_beyond(&error) { Ok(()) } else { Err(error) })?;
                synced.insert(above.clone());
            }
            self.0.lock().expect("nobody panics while holding it").insert(at);
            at = above;
        }
        Ok(())
    }

    fn is_known(&self, folder: &Path) -> bool {
        self.0.lock().expect("nobody panics while holding it").contains(folder)
    }
}

/// The folder above, unless this is where ways begin.
fn above(disk: &dyn Disk, folder: &Path) -> Option<PathBuf> {
    let is_beginning = folder == disk.root() || matches!(folder.to_str(), Some("" | "." | ".."));
    if is_beginning { None } else { folder.parent().map(Path::to_owned) }
}

/// Whether a folder above is one in which nobody like us makes anything.
fn is_beyond(error: &DiskError) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem};
    matches!(error.source.kind(), InvalidInput | PermissionDenied | ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::world::disk::RealDisk;
    use crate::ground::world::fault::{FaultyDisk, Moment};
    use std::sync::Arc;

    /// A disk that tells what is synced.
    fn telling(folder: &Path) -> (FaultyDisk<RealDisk>, Arc<Mutex<Vec<PathBuf>>>) {
        let synced = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&synced);
        let hook = move |_, moment, doing, path: &Path| {
            if (moment, doing) == (Moment::After, "sync") {
                told.lock().expect("nobody panics").push(path.to_owned());
            }
            Ok(())
        };
        (FaultyDisk::new(RealDisk::at(folder).expect("there"), Box::new(hook)), synced)
    }

    #[test]
    fn a_way_is_gone_once_and_whoever_made_it() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        // Somebody else made it, and nobody knows whether it is durable.
        std::fs::create_dir_all(folder.path().join("a/b")).expect("made");
        let (disk, synced) = telling(folder.path());
        let ways = Ways::default();
        let take = || std::mem::take(&mut *synced.lock().expect("nobody panics"));
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        ways.sync(&disk, &paths(&["a/b"])).expect("synced");
        assert_eq!(take(), paths(&["a/b", "a", ""]));
        ways.sync(&disk, &paths(&["a/b"])).expect("synced");
        assert_eq!(take(), paths(&["a/b"]));
        ways.make(&disk, Path::new("a/c/d")).expect("made");
        assert_eq!(take(), paths(&["a", "a/c"]));
        // What is made once more is new once more.
        std::fs::remove_dir_all(folder.path().join("a/c")).expect("removed");
        ways.make(&disk, Path::new("a/c/d")).expect("made");
        assert_eq!(take(), paths(&["a", "a/c"]));
        // The pipeline's folder itself is the user's.
        ways.make(&disk, &disk.root().join("e")).expect("made");
        assert_eq!(take(), [disk.root()]);
    }
}
