//! A disk that fails on purpose: the twin of the real one, for crash tests.
//!
//! It numbers every action that changes something, and at a chosen one it does
//! what it was told: dies, or reports an error.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::{DirEntry, Disk, DiskResult, Meta};

/// Called before and after each action that changes something.
///
/// The first value is the action's number, from 1. Giving an error before an
/// action makes it fail without being done; the hook may also end the process.
pub type Hook = Box<dyn Fn(u64, Moment, &'static str, &Path) -> DiskResult<()> + Send + Sync>;

/// Which side of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it was done.
    Before,
    /// All of it was done.
    After,
}

/// A disk whose changes can be cut short.
pub struct FaultyDisk<D> {
    inner: D,
    count: AtomicU64,
    hook: Hook,
}

impl<D: Disk> FaultyDisk<D> {
    /// A disk that asks the hook before and after each change.
    pub fn new(inner: D, hook: Hook) -> Self {
        Self { inner, count: AtomicU64::new(0), hook }
    }

    /// How many changes there were.
    pub fn changes(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn change<T>(
        &self,
        doing: &'static str,
        path: &Path,
        act: impl FnOnce(&D) -> DiskResult<T>,
    ) -> DiskResult<T> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        (self.hook)(number, Moment::Before, doing, path)?;
        let done = act(&self.inner)?;
        (self.hook)(number, Moment::After, doing, path)?;
        Ok(done)
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn look(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.inner.look(path)
    }

    fn look_at_link(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.inner.look_at_link(path)
    }

    fn birth(&self, path: &Path) -> DiskResult<Option<i64>> {
        self.inner.birth(path)
    }

    fn read_link(&self, path: &Path) -> DiskResult<PathBuf> {
        self.inner.read_link(path)
    }

    fn list(&self, folder: &Path) -> DiskResult<Vec<DirEntry>> {
        self.inner.list(folder)
    }

    fn open(&self, path: &Path) -> DiskResult<File> {
        self.inner.open(path)
    }

    fn stamp(&self, path: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.inner.stamp(path)
    }

    fn make_folders(&self, folder: &Path) -> DiskResult<Vec<PathBuf>> {
        self.change("make the folder", folder, |disk| disk.make_folders(folder))
    }

    fn sync(&self, path: &Path) -> DiskResult<()> {
        self.change("sync", path, |disk| disk.sync(path))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change("rename to", to, |disk| disk.rename_new(from, to))
    }

    fn exchange(&self, one: &Path, other: &Path) -> DiskResult<()> {
        self.change("exchange", other, |disk| disk.exchange(one, other))
    }

    fn remove_file(&self, path: &Path) -> DiskResult<()> {
        self.change("remove", path, |disk| disk.remove_file(path))
    }

    fn remove_all(&self, path: &Path) -> DiskResult<()> {
        self.change("remove", path, |disk| disk.remove_all(path))
    }

    fn remove_folder(&self, path: &Path) -> DiskResult<()> {
        self.change("remove", path, |disk| disk.remove_folder(path))
    }

    fn put_stamp(&self, path: &Path, stamp: &[u8]) -> DiskResult<bool> {
        self.change("stamp", path, |disk| disk.put_stamp(path, stamp))
    }

    fn copy(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change("copy to", to, |disk| disk.copy(from, to))
    }

    fn copy_looks(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change("carry owner and times over to", to, |disk| disk.copy_looks(from, to))
    }

    fn make_link(&self, target: &Path, link: &Path) -> DiskResult<()> {
        self.change("make the link", link, |disk| disk.make_link(target, link))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        self.change("write", path, |disk| disk.write(path, bytes))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        self.change("append to", path, |disk| disk.append(path, bytes))
    }

    fn put_mark(&self, folder: &Path, mark: &[u8]) -> DiskResult<bool> {
        self.change("mark", folder, |disk| disk.put_mark(folder, mark))
    }

    fn mark(&self, folder: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.inner.mark(folder)
    }
}
