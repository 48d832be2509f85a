//! Semel's own folder, `.semel/`, beside the pipeline file.
//!
//! *On disk*: `docs/format.md` says what lies where.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::words::digest::Digest;
use crate::words::task::{TaskName, encode};

/// The folder's name.
pub const NAME: &str = ".semel";

/// The file that keeps the folder out of git.
const IGNORE: &str = ".gitignore";

/// The lock file of those who begin staging or clean it up. No pipeline's begins
/// with a colon.
const GATE: &str = ":staging";

/// The lock file of those who write to `once.log`.
const ONCE_GATE: &str = ":once";

/// The lock file of those who use the manifest, and of whoever replaces it.
const MANIFEST_LOCK: &str = ":manifest";

/// How the names of lock files begin that scripts name. No pipeline's begins with a
/// colon, and these are no signs of a memory.
const NAMED: &str = ":lock:";

/// How the names of manifests begin that were set aside.
pub const DAMAGED: &str = "manifest.db.damaged-";

/// How the names of all files begin by which a folder on a network file system is held.
pub const NETWORK: &str = ":network";

/// File systems take names of 255 bytes.
const LONG: usize = 200;

/// Semel's own folder in the folder of a pipeline.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
}

impl Home {
    /// The home in a folder, whether it is there or not.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.join(NAME) }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.folder.is_dir()
    }

    /// Whether there are signs that a manifest was here once: a run takes its
    /// lease only where there is one.
    #[must_use]
    pub fn has_signs_of_memory(&self) -> bool {
        let locks = std::fs::read_dir(self.folder.join("lock"));
        locks.is_ok_and(|locks| locks.flatten().any(|lock| is_lease(&lock.file_name())))
            || self.once_log().exists()
            || self.backup().exists()
            || self.bodies().exists()
            || self.has_set_aside()
    }

    /// Whether a manifest was set aside here.
    fn has_set_aside(&self) -> bool {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name());
        names.any(|name| name.as_encoded_bytes().starts_with(DAMAGED.as_bytes()))
    }

    /// The lock files of all leases that were ever taken.
    #[must_use]
    pub fn lease_locks(&self) -> Vec<PathBuf> {
        let locks = std::fs::read_dir(self.folder.join("lock"));
        let names = locks.into_iter().flatten().flatten();
        let leases = names.filter(|lock| is_lease(&lock.file_name()));
        leases.map(|lock| lock.path()).collect()
    }

    /// The highest number that a run was given of which something is left.
    #[must_use]
    pub fn last_run_left(&self) -> i64 {
        let numbers = ["log", "displaced"].map(|folder| {
            let entries = std::fs::read_dir(self.folder.join(folder));
            let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
            let number = |name: std::ffi::OsString| -> Option<i64> {
                name.to_str()?.trim_end_matches(".log").parse().ok()
            };
            names.filter_map(number).max().unwrap_or(0)
        });
        numbers.into_iter().max().unwrap_or(0)
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.folder.join("manifest.db")
    }

    /// A copy of the manifest, at most a day older than the last run that did
    /// something.
    #[must_use]
    pub fn backup(&self) -> PathBuf {
        self.folder.join("manifest.backup.db")
    }

    /// Why the manifest is to be set aside, where that was found out by somebody who
    /// could not do it.
    #[must_use]
    pub fn doubt(&self) -> PathBuf {
        self.folder.join("manifest.db.doubt")
    }

    /// What was begun and done of `once` tasks, line by line.
    #[must_use]
    pub fn once_log(&self) -> PathBuf {
        self.folder.join("once.log")
    }

    /// Large bodies of calls, by their digests.
    #[must_use]
    pub fn bodies(&self) -> PathBuf {
        self.folder.join("bodies")
    }

    /// The gate of those who begin to send calls.
    #[must_use]
    pub fn calls_gate(&self) -> PathBuf {
        self.folder.join("lock").join(":calls")
    }

    /// A folder for each process that sends calls.
    #[must_use]
    pub fn calls(&self) -> PathBuf {
        self.folder.join("calls")
    }

    /// The gate of those who write to `once.log`.
    #[must_use]
    pub fn once_gate(&self) -> PathBuf {
        self.folder.join("lock").join(ONCE_GATE)
    }

    /// The lock that everybody shares who writes to the manifest.
    #[must_use]
    pub fn manifest_lock(&self) -> PathBuf {
        self.folder.join("lock").join(MANIFEST_LOCK)
    }

    /// Where the locks lie of a folder on a network file system, but for their numbers.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.folder.join("lock").join(NETWORK)
    }

    /// The memory of digests.
    #[must_use]
    pub fn digests(&self) -> PathBuf {
        self.folder.join("digests.db")
    }

    /// The lock file of a pipeline in an instance.
    #[must_use]
    pub fn lock(&self, pipeline: &str, instance: &str) -> PathBuf {
        let at = if instance.is_empty() { "" } else { "@" };
        self.lock_named(&format!("{}{at}{instance}", encode(pipeline.as_bytes())))
    }

    /// The lock file of a step whose instance is not that of its pipeline's run:
    /// runs of several instances share it.
    #[must_use]
    pub fn step_lock(&self, pipeline: &str, step: &str, instance: &str) -> PathBuf {
        self.lock_named(&format!("{}@{instance}:{step}", encode(pipeline.as_bytes())))
    }

    /// The lock file of one task of a pipeline.
    #[must_use]
    pub fn task_lock(&self, pipeline: &str, task: &TaskName) -> PathBuf {
        self.lock_named(&format!("{}:{task}", encode(pipeline.as_bytes())))
    }

    /// The file whose time tells when a step that stands alone was looked at last, and
    /// found done.
    #[must_use]
    pub fn looked_at(&self, task: &TaskName) -> PathBuf {
        let lock = self.task_lock("", task);
        self.folder.join("looked").join(lock.file_name().unwrap_or_default())
    }

    /// The lock file of a lock that scripts name.
    #[must_use]
    pub fn named_lock(&self, name: &str) -> PathBuf {
        self.lock_named(&format!("{NAMED}{}", encode(name.as_bytes())))
    }

    /// The lock file of a name; of a long one, by its digest.
    fn lock_named(&self, name: &str) -> PathBuf {
        let name = name.replace('/', "%2F");
        let name = if name.len() > LONG { Digest::of(name.as_bytes()).to_string() } else { name };
        self.folder.join("lock").join(name)
    }

    /// The lock file of this name.
    #[must_use]
    pub fn lock_of(&self, name: &str) -> PathBuf {
        self.folder.join("lock").join(name)
    }

    /// Where runs stage.
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.folder.join("staging")
    }

    /// Where a run stages.
    #[must_use]
    pub fn staging_of(&self, run_id: &str) -> PathBuf {
        self.staging().join(run_id)
    }

    /// The gate between those who begin staging and those who clean it up.
    #[must_use]
    pub fn gate(&self) -> PathBuf {
        self.folder.join("lock").join(GATE)
    }

    /// The lock of a run itself: held for as long as it lives.
    #[must_use]
    pub fn run_lock(&self, run_id: &str) -> PathBuf {
        self.staging_of(run_id).join("lock")
    }

    /// The lock of a process that sends calls: held for as long as it lives.
    #[must_use]
    pub fn sender_lock(&self, sender: &str) -> PathBuf {
        self.calls().join(sender).join("lock")
    }

    /// The body of a request or an answer that is too large for the manifest.
    #[must_use]
    pub fn body(&self, digest: &Digest) -> PathBuf {
        self.bodies().join(digest.to_string())
    }

    /// Where it is noted that a run of a pipeline's instance owes its `[finally]`.
    #[must_use]
    pub fn owed(&self, pipeline: &str, instance: &str) -> PathBuf {
        let lock = self.lock(pipeline, instance);
        self.folder.join("owed").join(lock.file_name().unwrap_or_default())
    }

    /// Where a run puts what it displaced.
    #[must_use]
    pub fn displaced(&self, run: i64) -> PathBuf {
        self.folder.join("displaced").join(run.to_string())
    }

    /// Where something else than a run puts what it displaced, under this name.
    #[must_use]
    pub fn displaced_by(&self, name: &str) -> PathBuf {
        self.folder.join("displaced").join(name)
    }

    /// What the commands of a run printed.
    #[must_use]
    pub fn log(&self, run: i64) -> PathBuf {
        self.folder.join("log").join(format!("{run}.log"))
    }

    /// Makes the folder, unless it is there, and says whether it was made. It
    /// keeps itself out of git.
    ///
    /// # Errors
    /// If it cannot be made; then nothing of it is left.
    pub fn make(&self) -> io::Result<bool> {
        match std::fs::create_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.exists() => {
                return Ok(false);
            }
            made => made?,
        }
        let made = std::fs::write(self.folder.join(IGNORE), "*\n")
            .and_then(|()| File::open(&self.folder)?.sync_all());
        match made {
            Ok(()) => Ok(true),
            Err(error) => {
                self.unmake();
                Err(error)
            }
        }
    }

    /// Removes a folder that was only just made. Only what is empty is removed:
    /// if somebody else has begun to use it, it stays.
    pub fn unmake(&self) {
        // What stays behind harms nobody; the reason is told already.
        let _ = std::fs::remove_dir(self.staging());
        if !self.has_signs_of_memory() {
            for lock in [self.gate(), self.once_gate(), self.manifest_lock()] {
                let _ = std::fs::remove_file(lock);
            }
            let _ = std::fs::remove_dir(self.folder.join("lock"));
        }
        let holds_more = std::fs::read_dir(&self.folder)
            .is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name() != IGNORE));
        if !holds_more {
            let _ = std::fs::remove_file(self.folder.join(IGNORE));
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// Whether a lock file is that of a lease. NFS and FUSE give files that were removed
/// while they were open names of their own.
fn is_lease(name: &OsStr) -> bool {
    let others: [&[u8]; 3] = [b":", b".nfs", b".fuse_hidden"];
    !others.iter().any(|other| name.as_encoded_bytes().starts_with(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_made_is_unmade_and_what_is_used_stays() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let home = Home::in_folder(folder.path());
        assert!(home.make().expect("made"));
        assert!(!home.make().expect("there"));
        std::fs::create_dir(home.folder.join("lock")).expect("made");
        std::fs::write(home.gate(), "").expect("written");
        assert!(!home.has_signs_of_memory());
        home.unmake();
        assert!(!home.exists());

        home.make().expect("made");
        std::fs::create_dir(home.folder.join("lock")).expect("made");
        std::fs::write(home.lock("other", ""), "").expect("written");
        assert!(home.has_signs_of_memory());
        home.unmake();
        assert!(home.lock("other", "").exists() && home.folder.join(IGNORE).exists());
    }

    #[test]
    fn lock_files_have_names_that_file_systems_take() {
        let home = Home::in_folder(Path::new("/"));
        let name = |pipeline: &str, instance: &str| {
            let path = home.lock(pipeline, instance);
            path.file_name().expect("a name").to_str().expect("text").to_owned()
        };
        assert_eq!(name("a/b@c", "2013-02,eu"), "a%2Fb%40c@2013-02,eu");
        assert_eq!(name("a", &"x".repeat(300)).len(), 64);
        assert_ne!(name("a", &"x".repeat(300)), name("a", &"x".repeat(301)));
    }
}
