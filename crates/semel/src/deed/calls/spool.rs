//! Bodies on their way: in memory while they are small, in a file of semel's folder when they
//! are not, so that no body takes more memory than [`SMALL`].
//!
//! *On disk*: `.semel/bodies/SHA256`, 0600. Invariant: a body has its name only when it is
//! whole and synced; what is written stands under a name that begins with a dot, and goes with
//! its process or is swept by the next.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::thought::call::identity::{Body, BodySum};
use crate::words::call::BodyOf;
use crate::words::digest::Digest;

/// Up to how many bytes a body is kept in memory, and in the manifest.
pub(super) const SMALL: usize = 64 * 1024;

/// How much room must be left on the disk for anything to be sent.
const ROOM: u64 = 64 * 1024 * 1024;

/// Tells the files of this process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A body that grows.
pub(super) struct Spool {
    folder: PathBuf,
    held: Held,
    sum: BodySum,
    bytes: u64,
    /// Whether all that it was given could be written.
    has_all: bool,
}

enum Held {
    Memory(Vec<u8>),
    File(Draft),
}

/// A file that is removed unless it gets its name.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // It may have its name by now.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A body that is whole.
pub(super) struct Spooled {
    /// Its digest and size; not kept yet.
    pub(super) body: BodyOf,
    /// The digest of what of it counts.
    pub(super) counting: Digest,
    held: Held,
    folder: PathBuf,
    has_all: bool,
}

impl Spool {
    /// An empty one; `boundary` is what separates its parts.
    pub(super) fn new(folder: &Path, boundary: Option<Vec<u8>>) -> Self {
        Self {
            folder: folder.to_owned(),
            held: Held::Memory(Vec::new()),
            sum: BodySum::new(boundary),
            bytes: 0,
            has_all: true,
        }
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.feed(bytes);
        self.bytes += bytes.len() as u64;
        let held = self.hold(bytes);
        self.has_all &= held.is_ok();
        held
    }

    fn hold(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Held::Memory(held) = &mut self.held {
            if held.len() + bytes.len() <= SMALL {
                held.extend_from_slice(bytes);
                return Ok(());
            }
            let mut draft = draft(&self.folder)?;
            draft.file.write_all(held)?;
            self.held = Held::File(draft);
        }
        if self.bytes % (8 << 20) < bytes.len() as u64 {
            has_room(&self.folder)?;
        }
        match &mut self.held {
            Held::File(draft) => draft.file.write_all(bytes),
            Held::Memory(_) => Ok(()),
        }
    }

    /// How many bytes it has.
    pub(super) const fn len(&self) -> u64 {
        self.bytes
    }

    /// It is whole.
    pub(super) fn end(self) -> Spooled {
        let (digest, counting) = self.sum.end();
        let body = BodyOf { digest, bytes: self.bytes, is_kept: false };
        let Self { held, folder, has_all, .. } = self;
        Spooled { body, counting, held, folder, has_all }
    }
}

impl Spooled {
    /// Its bytes, unless they are too many to look into.
    pub(super) fn small(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Memory(held) => Some(held),
            Held::File(_) => None,
        }
    }

    /// It, for those who look into it.
    pub(super) fn looked_into(&self) -> Body<'_> {
        Body { digest: self.counting, bytes: self.small().map(Into::into) }
    }

    /// Keeps it: gives its bytes where they belong into the manifest; else it is a file of
    /// its name when this returns, durable. Of what the disk had no room for nothing is kept:
    /// it would stand under the name of the whole.
    pub(super) fn keep(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.has_all {
            return Ok(None);
        }
        match &mut self.held {
            Held::Memory(held) => {
                self.body.is_kept = true;
                Ok(Some(held.clone()))
            }
            Held::File(draft) => {
                let path = path_of(&self.folder, &self.body.digest);
                if !path.exists() {
                    draft.file.sync_all()?;
                    // A link, so that the draft can still be sent from.
                    match std::fs::hard_link(&draft.path, &path) {
                        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                            return Err(error);
                        }
                        _ => {}
                    }
                    File::open(&self.folder)?.sync_all()?;
                }
                self.body.is_kept = true;
                Ok(None)
            }
        }
    }

    /// It, from the beginning.
    pub(super) fn source(&self) -> io::Result<Source> {
        Ok(match &self.held {
            Held::Memory(held) => Source::Memory(Bytes::copy_from_slice(held)),
            Held::File(draft) => Source::File(File::open(&draft.path)?, self.body.bytes),
        })
    }
}

/// A body to be read.
pub(super) enum Source {
    Memory(Bytes),
    File(File, u64),
}

/// Where a body of this digest is a file.
pub(super) fn path_of(folder: &Path, digest: &Digest) -> PathBuf {
    folder.join(digest.to_string())
}

fn draft(folder: &Path) -> io::Result<Draft> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".{}-{number}", std::process::id()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    Ok(Draft { path, file })
}

/// Fails where the disk is so full that an answer could not be kept.
pub(super) fn has_room(folder: &Path) -> io::Result<()> {
    let stat = rustix::fs::statvfs(folder)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < ROOM {
        let why = format!(
            "the disk is nearly full: {} MiB are left, an answer may need {}",
            free >> 20,
            ROOM >> 20
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, why));
    }
    Ok(())
}
