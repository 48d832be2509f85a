//! SQLite files where only one process may use them at a time: on a network file
//! system, where neither the kernel's locks nor shared memory can be trusted.
//!
//! There a file has no write-ahead log, which needs shared memory, but a rollback
//! journal; and SQLite's `unix-excl` files (<https://sqlite.org/vfs.html>): the first
//! lock that a process takes shuts all others out until it closes the file, while its
//! own connections take turns. That only helps against those who come from beside us:
//! whoever writes holds the lease of the folder (`deed::network`).
//!
//! Whoever only reads reads a copy. Invariant: a copy counts only if nothing changed
//! while it was made.
//!
//! *If we die here*: the journal stays beside the file. Whoever opens it next, or a
//! copy of both, takes back what was not committed.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, OpenFlags};

use crate::ground::world::file_system::FileSystem;

/// What SQLite writes beside a file.
pub const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How long a writer waits for another.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a copy is tried: one try takes no longer than to read the file.
const TRIES: u32 = 1000;

/// Opens a file for writing, in the way of the file system on which it lies.
///
/// # Errors
/// If it cannot be opened, or somebody uses it in another way.
pub fn open(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let is_alone = FileSystem::is_network(path);
    let connection = if is_alone {
        Connection::open_with_flags_and_vfs(path, flags, c"unix-excl")?
    } else {
        Connection::open_with_flags(path, flags)?
    };
    connection.busy_timeout(PATIENCE)?;
    // A file that was made in the other way becomes one of this.
    let wanted = if is_alone { "delete" } else { "wal" };
    connection.pragma_update_and_check(None, "journal_mode", wanted, |_| Ok(()))?;
    Ok(connection)
}

/// What `synchronous` must be for a commit that outlives a power cut: where a journal
/// is removed, its folder must be synced too.
#[must_use]
pub fn full_synchronous(path: &Path) -> &'static str {
    if FileSystem::is_network(path) { "extra" } else { "full" }
}

/// What `synchronous` may be for a commit that outlives only the death of its process. A
/// rollback journal without syncs could be torn by a power cut.
#[must_use]
pub fn light_synchronous(path: &Path) -> &'static str {
    if FileSystem::is_network(path) { "full" } else { "normal" }
}

/// The name of what lies beside a file.
#[must_use]
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Copies a file, and what belongs to it, into a folder of its own, under its name.
///
/// # Errors
/// If it cannot be copied, or changes all the time.
pub fn copy(path: &Path) -> io::Result<tempfile::TempDir> {
    // Of its shared memory nothing is needed: that is made anew.
    let files = [path.to_owned(), with_suffix(path, "-wal"), with_suffix(path, "-journal")];
    let name = path.file_name().unwrap_or_default();
    let mut tries = 0;
    loop {
        let folder = tempfile::tempdir()?;
        let to = folder.path().join(name);
        let before = files.each_ref().map(|file| Look::at(file));
        // The file comes first: what is overwritten in it stands in the journal by then.
        std::fs::copy(path, &to)?;
        for suffix in ["-wal", "-journal"] {
            match std::fs::copy(with_suffix(path, suffix), with_suffix(&to, suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if files.each_ref().map(|file| Look::at(file)) == before {
            return Ok(folder);
        }
        tries += 1;
        if tries == TRIES {
            return Err(io::Error::other("it changes faster than it can be copied"));
        }
    }
}

/// What a file looks like. Times alone are too coarse: two commits may fall into one
/// tick. But each one counts in the file's header (<https://sqlite.org/fileformat.html>,
/// 1.3.7), and each journal's header has a random number (3).
#[derive(PartialEq, Eq)]
struct Look {
    size: u64,
    modified: Option<SystemTime>,
    inode: u64,
    header: Vec<u8>,
}

impl Look {
    /// What a file looks like, if it is there.
    fn at(path: &Path) -> Option<Self> {
        let file = std::fs::File::open(path).ok()?;
        let meta = file.metadata().ok()?;
        let mut header = Vec::new();
        file.take(100).read_to_end(&mut header).ok()?;
        Some(Self { size: meta.len(), modified: meta.modified().ok(), inode: meta.ino(), header })
    }
}
