//! Stamps: the fingerprint carried by the effect itself.
//!
//! A stamp is small enough to lie in the inode of a common file system (ext4
//! with inodes of 256 bytes has room for 60), so that it costs no block of its
//! own: a version, 16 bytes for *what* and the output's role, 8 for *how*, and
//! the SHA-256 of the bytes. `docs/format.md` is its law.
//!
//! Invariant: a stamp is believed only together with bytes of its digest, so
//! that one which stayed behind on changed bytes proves nothing.

use crate::words::digest::{Digest, Fields};
use crate::words::fingerprint::Fingerprint;

const VERSION: u8 = 1;
const LENGTH: usize = 1 + 16 + 8 + 32;

/// The stamp of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    what: [u8; 16],
    how: [u8; 8],
    digest: Digest,
}

impl Stamp {
    /// The stamp of an output of a task: its fingerprint, the output's role,
    /// and the digest of its bytes.
    #[must_use]
    pub fn new(fingerprint: &Fingerprint, role: &str, digest: Digest) -> Self {
        let mut fields = Fields::new("stamp");
        fields.put("what", fingerprint.what.as_bytes());
        fields.put("role", role.as_bytes());
        Self { what: head(fields.digest()), how: head(fingerprint.how), digest }
    }

    /// The bytes that are kept with the file.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(LENGTH);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.what);
        bytes.extend_from_slice(&self.how);
        bytes.extend_from_slice(self.digest.as_bytes());
        bytes
    }

    /// Reads the bytes that were kept; `None` where they are no stamp that this
    /// version knows.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        let (what, rest) = rest.split_first_chunk()?;
        let (how, rest) = rest.split_first_chunk()?;
        let digest: [u8; 32] = rest.try_into().ok()?;
        (*version == VERSION).then_some(Self {
            what: *what,
            how: *how,
            digest: Digest::from_bytes(digest),
        })
    }

    /// Whether the bytes of this digest were made by semel, whatever for.
    #[must_use]
    pub fn explains(&self, digest: Digest) -> bool {
        self.digest == digest
    }

    /// Whether the bytes of this digest are what a task makes. For a step that
    /// is done once, how it was done does not matter.
    #[must_use]
    pub fn proves(
        &self,
        fingerprint: &Fingerprint,
        role: &str,
        digest: Digest,
        once: bool,
    ) -> bool {
        let present = Self::new(fingerprint, role, digest);
        self.explains(digest) && self.what == present.what && (once || self.how == present.how)
    }
}

fn head<const N: usize>(digest: Digest) -> [u8; N] {
    let bytes = digest.as_bytes();
    std::array::from_fn(|at| bytes[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(what: &str, how: &str) -> Fingerprint {
        Fingerprint { what: Digest::of(what.as_bytes()), how: Digest::of(how.as_bytes()) }
    }

    #[test]
    fn it_proves_its_own_bytes_of_its_own_task_in_its_own_role() {
        let (task, bytes) = (fingerprint("a", "x"), Digest::of(b"out"));
        let kept = Stamp::new(&task, "good", bytes).to_bytes();
        assert!(kept.len() <= 60, "it would not lie in an inode of ext4");
        let stamp = Stamp::from_bytes(&kept).expect("it comes back");
        assert!(stamp.proves(&task, "good", bytes, false));
        assert!(!stamp.proves(&task, "bad", bytes, false), "two outputs that changed places");
        assert!(
            !stamp.proves(&task, "good", Digest::of(b"other"), false),
            "bytes that were altered"
        );
        assert!(!stamp.proves(&fingerprint("b", "x"), "good", bytes, false), "other inputs");
        let otherwise = fingerprint("a", "y");
        assert!(!stamp.proves(&otherwise, "good", bytes, false), "another command");
        assert!(stamp.proves(&otherwise, "good", bytes, true), "which does not matter once");
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        let mut kept = Stamp::new(&fingerprint("a", "x"), "", Digest::of(b"")).to_bytes();
        assert_eq!(Stamp::from_bytes(&kept[1..]), None);
        assert_eq!(Stamp::from_bytes(b""), None);
        kept[0] = 2;
        assert_eq!(Stamp::from_bytes(&kept), None);
    }
}
