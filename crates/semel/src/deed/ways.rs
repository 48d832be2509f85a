//! Ways: a thing outlives a power cut only if each folder on the way to it does. A
//! folder that was only just made, by this run, by another task of it, or by one that
//! was killed right after, is a name in the folder above that may not be durable yet.
//!
//! Invariant: what is known here is durable up to the pipeline's folder, or up to the
//! root of all for what lies elsewhere. Each way is gone once a run. A folder of which a
//! sync failed is not durable in this run any more: the kernel tells once what it could
//! not write, and then takes it for written, so that the next sync does well.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use rustix::io::Errno;

use crate::ground::world::disk::{Disk, DiskError, DiskResult};

/// What is known of folders and the ways to them.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The folders to which the way is durable.
    durable: BTreeSet<PathBuf>,
    /// The folders of which a sync failed, with the number of the error.
    failed: BTreeMap<PathBuf, i32>,
}

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
                self.sync_one(disk, &above)?;
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
            self.sync_one(disk, folder)?;
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
        let mut passed = Vec::new();
        while let Some(above) = above(disk, &at) {
            if self.is_known(&at) {
                break;
            }
            if !synced.contains(&above) {
                let done = self.sync_one(disk, &above);
                done.or_else(|error| if is_beyond(&error) { Ok(()) } else { Err(error) })?;
                synced.insert(above.clone());
            }
            passed.push(std::mem::replace(&mut at, above));
        }
        // Not before: a part of a way is none.
        self.known().durable.extend(passed);
        Ok(())
    }

    /// Syncs a folder; fails as it failed before.
    fn sync_one(&self, disk: &dyn Disk, folder: &Path) -> DiskResult<()> {
        if let Some(number) = self.known().failed.get(folder) {
            let source = io::Error::from_raw_os_error(*number);
            return Err(DiskError { doing: "sync", path: folder.to_owned(), source });
        }
        let synced = disk.sync(folder);
        if let Some(number) = synced.as_ref().err().and_then(loss) {
            self.known().failed.insert(folder.to_owned(), number);
        }
        synced
    }

    fn is_known(&self, folder: &Path) -> bool {
        self.known().durable.contains(folder)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nobody panics while holding it")
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

/// The number of an error that may mean that something was not written, and not only
/// that the folder could not be opened.
fn loss(error: &DiskError) -> Option<i32> {
    let lost = [Errno::IO, Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
    error
        .source
        .raw_os_error()
        .filter(|number| lost.iter().any(|lost| lost.raw_os_error() == *number))
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

    /// A disk of which the sync of a folder fails the first time.
    fn failing_once(folder: &Path, at: &'static str, with: Errno) -> FaultyDisk<RealDisk> {
        let has_failed = Mutex::new(false);
        let hook = move |_, moment, doing, path: &Path| {
            let mut has_failed = has_failed.lock().expect("nobody panics");
            if (moment, doing) == (Moment::Before, "sync") && path == Path::new(at) && !*has_failed
            {
                *has_failed = true;
                return Err(DiskError { doing, path: path.to_owned(), source: with.into() });
            }
            Ok(())
        };
        FaultyDisk::new(RealDisk::at(folder).expect("there"), Box::new(hook))
    }

    #[test]
    fn i1_a_way_that_was_gone_in_part_is_not_known() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir_all(folder.path().join("a/b")).expect("made");
        let disk = failing_once(folder.path(), "", Errno::IO);
        let (ways, output) = (Ways::default(), [PathBuf::from("a/b")]);
        assert!(ways.sync(&disk, &output).is_err());
        assert!(ways.sync(&disk, &output).is_err(), "nobody knows whether `a` is durable");
    }

    #[test]
    fn i1_a_folder_whose_sync_failed_is_not_believed_when_the_next_does_well() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        std::fs::create_dir_all(folder.path().join("a/b")).expect("made");
        let output = [PathBuf::from("a/b")];
        for (error, is_believed) in
            [(Errno::IO, false), (Errno::NOSPC, false), (Errno::MFILE, true)]
        {
            let (disk, ways) = (failing_once(folder.path(), "a/b", error), Ways::default());
            let first = ways.sync(&disk, &output).expect_err("it fails").to_string();
            let next = ways.sync(&disk, &output).map_err(|error| error.to_string());
            assert_eq!(next, if is_believed { Ok(()) } else { Err(first) });
        }
    }
}
