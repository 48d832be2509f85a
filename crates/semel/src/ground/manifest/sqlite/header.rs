//! The first bytes of the file, looked at before SQLite is asked.
//!
//! SQLite answers a changed header in many ways: it takes the file for one that may
//! only be read, for one in another encoding, or for none of its own. Each of them
//! reads like something else than damage, so the bytes that are the same in every
//! manifest are compared here. <https://sqlite.org/fileformat.html> 1.3.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::ground::manifest::{ManifestError, ManifestResult};

/// "seml", by which the file is recognised.
pub(super) const APPLICATION: u32 = 0x7365_6d6c;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How long the header is.
const LENGTH: usize = 100;

/// Looks whether the file begins as every manifest does.
///
/// # Errors
/// If it does not, or cannot be read.
pub(super) fn look(path: &Path) -> ManifestResult<()> {
    let mut header = Vec::with_capacity(LENGTH);
    let read = File::open(path).and_then(|file| file.take(LENGTH as u64).read_to_end(&mut header));
    read.map_err(|source| ManifestError::Io {
        doing: "cannot read",
        path: path.to_owned(),
        source,
    })?;
    wrong_in(&header).map_or(Ok(()), |why| Err(ManifestError::Damaged(why.to_owned())))
}

/// The version of a manifest, by its first bytes; `None` if they are not as in every one.
pub(super) fn version(path: &Path) -> Option<i64> {
    let mut header = [0; LENGTH];
    File::open(path).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let is_ours = header[68..].starts_with(&APPLICATION.to_be_bytes());
    let version: [u8; 4] = header[60..64].try_into().ok()?;
    (is_ours && wrong_in(&header).is_none()).then(|| i64::from(u32::from_be_bytes(version)))
}

fn wrong_in(header: &[u8]) -> Option<&'static str> {
    if header.is_empty() {
        return Some("it is empty");
    }
    if header.len() < LENGTH {
        return Some("it was cut short");
    }
    if !header.starts_with(MAGIC) {
        return Some("it is no database");
    }
    let is = |at: usize, wanted: &[u8]| header[at..].starts_with(wanted);
    if !is(68, &APPLICATION.to_be_bytes()) {
        // Whose it is must be told by what is in it.
        return None;
    }
    // Journal or write-ahead log, for writers and for readers.
    let has_known_log = [18, 19].iter().all(|at| matches!(header[*at], 1 | 2));
    let is_as_written = has_known_log
        // Nothing is reserved in a page; the fractions of a page are fixed.
        && is(20, &[0, 64, 32, 32])
        // Format 4; no page is ever moved to vacuum; the texts are UTF-8.
        && is(44, &[0, 0, 0, 4])
        && is(52, &[0, 0, 0, 0])
        && is(56, &[0, 0, 0, 1])
        && is(64, &[0, 0, 0, 0])
        // Kept for what may come.
        && is(72, &[0; 20]);
    (!is_as_written).then_some("its header was changed")
}
