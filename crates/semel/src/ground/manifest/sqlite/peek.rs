//! A peek at one task that is done: what a step of a script asks again and again, so it
//! costs one statement, and where nobody is at work with the manifest no lock and no log.
//!
//! Invariant: a peek that is not certain gives nothing, and whoever peeked looks properly.
//! A file that is read without locks did not change while it was read: it has no
//! write-ahead log before and after, into which each change goes first
//! (<https://sqlite.org/wal.html> 2), and the same size, inode and times, which were
//! past by then.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::file::{Access, latest};
use super::memory::receipt_at;
use super::sums::Sum;
use super::values::{item_of, time_at};
use super::{SqliteManifest, header};
use crate::ground::manifest::{ManifestResult, Remembered};
use crate::ground::world::file_system::FileSystem;
use crate::words::path::bytes_of;
use crate::words::task::TaskName;

/// Times are no coarser than this, in seconds; FAT keeps every other one.
const TICK: i64 = 3;

/// What a file looks like, if nobody is at work with it, nor was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtRest {
    size: u64,
    inode: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl AtRest {
    fn at(path: &Path) -> Option<Self> {
        if !SqliteManifest::was_closed(path) {
            return None;
        }
        let meta = std::fs::metadata(path).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs().cast_signed();
        let is_past = |seconds: i64| seconds + TICK < now;
        (is_past(meta.mtime()) && is_past(meta.ctime())).then(|| Self {
            size: meta.len(),
            inode: meta.ino(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// A manifest that is peeked at.
pub struct Peek {
    /// The manifest, for reading.
    pub manifest: SqliteManifest,
    at_rest: Option<AtRest>,
}

impl Peek {
    /// Opens a manifest, if it is one of this version on a file system with locks.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        if FileSystem::is_network(path) || header::version(path)? != latest() {
            return None;
        }
        let at_rest = AtRest::at(path);
        let manifest = match at_rest {
            Some(_) => {
                let hex: String =
                    bytes_of(path).iter().map(|byte| format!("%{byte:02x}")).collect();
                let uri = format!("file:{hex}?immutable=1");
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                    | OpenFlags::SQLITE_OPEN_URI
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let connection = Connection::open_with_flags(uri, flags).ok()?;
                SqliteManifest::of(connection, path, Access::Read)
            }
            None => SqliteManifest::connect(path, Access::Read, OpenFlags::empty()).ok()?,
        };
        Some(Self { manifest, at_rest })
    }

    /// Whether nothing changed while it was peeked at.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.at_rest.is_none() || AtRest::at(&self.manifest.path) == self.at_rest
    }

    /// The receipt of a task since which nothing was tried and nothing was said, and when
    /// it was written; `None` if there is no such.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn at_rest(
        &self,
        pipeline: &str,
        task: &TaskName,
    ) -> ManifestResult<Option<(Remembered, Timestamp)>> {
        let (step, instance, item) = (&task.step, task.instance.as_str(), item_of(task));
        self.manifest.row(
            "read a receipt",
            "select item, what, how, encoding, effect, run, once, sum, at from receipt
             where pipeline = ?1 and step = ?2 and instance = ?3 and item = ?4
             and not exists (select 1 from attempt
                 where pipeline = ?1 and step = ?2 and instance = ?3 and item = ?4 and open = 1)
             and not exists (select 1 from resolution
                 where pipeline = ?1 and step = ?2 and instance = ?3 and item = ?4
                 and acted_by is null)",
            params![pipeline, step, instance, item],
            |row| {
                let receipt = receipt_at(row, &Sum::of("receipt", &[pipeline, step, instance]))?;
                Ok((receipt, time_at(row, 8)?))
            },
        )
    }
}
