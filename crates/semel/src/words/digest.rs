//! SHA-256 digests, of bytes and of named fields.
//!
//! Invariant: two different lists of fields never give the same input to the
//! hash. Every field is tagged and length-prefixed, and every list begins with
//! the name of its purpose. The layout is law; `docs/format.md` states it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest: 32 bytes, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    ///
    /// ```
    /// use semel::words::digest::Digest;
    /// assert_eq!(Digest::of(b"once").short(), "200651a8");
    /// ```
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes 32 bytes for a digest, as they were stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits; `None` of any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight hexadecimal digits: enough for a person to compare.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

/// The digest of a stream of bytes, fed piece by piece.
#[derive(Clone, Default)]
pub struct Stream(Sha256);

impl Stream {
    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was fed.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The digest of a list of named fields.
///
/// Cloning keeps what was put in so far, so that the fields common to a
/// hundred thousand tasks are hashed once.
#[derive(Clone)]
pub struct Fields(Sha256);

impl Fields {
    /// Begins a list; `purpose` keeps lists of different kinds apart.
    #[must_use]
    pub fn new(purpose: &str) -> Self {
        let mut fields = Self(Sha256::new());
        fields.put("semel", purpose.as_bytes());
        fields
    }

    /// Adds one field: length and bytes of the tag, length and bytes of the value.
    pub fn put(&mut self, tag: &str, value: &[u8]) {
        self.0.update((tag.len() as u64).to_le_bytes());
        self.0.update(tag.as_bytes());
        self.0.update((value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    /// The digest of all fields, in the order in which they were put.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> Digest {
        let mut list = Fields::new("test");
        for (tag, value) in fields {
            list.put(tag, value.as_bytes());
        }
        list.digest()
    }

    #[test]
    fn moving_a_byte_between_fields_changes_the_digest() {
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_ne!(of(&[("a", "b"), ("c", "d")]), of(&[("a", "bcd")]));
        assert_ne!(of(&[("a", ""), ("a", "x")]), of(&[("a", "x"), ("a", "")]));
    }

    #[test]
    fn the_purpose_counts() {
        assert_ne!(Fields::new("what").digest(), Fields::new("how").digest());
    }

    #[test]
    fn a_stream_in_pieces_is_the_stream_in_one() {
        let mut stream = Stream::default();
        stream.feed(b"se");
        stream.feed(b"mel");
        assert_eq!(stream.digest(), Digest::of(b"semel"));
    }
}
