//! Masking: the values of secret variables are replaced wherever they would be
//! shown or kept.
//!
//! Invariant: no value of a secret passes, however the text that holds it is cut
//! into pieces.

use std::borrow::Cow;

/// What stands where a secret stood.
const MASKED: &[u8] = b"***";

/// A secret that is shorter than this would mask half of every text.
pub const SHORTEST: usize = 4;

/// The secrets that are masked.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first: one may be a part of another.
    secrets: Vec<Vec<u8>>,
}

// Whoever prints a mask must not print what it hides.
impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} secrets)", self.secrets.len())
    }
}

impl Mask {
    /// Masks these values. A value that ends in a newline, as one read from a file
    /// may, is masked without it, too.
    pub fn of(secrets: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let trimmed = secrets.into_iter().map(|secret| {
            let end = secret.iter().rposition(|byte| !byte.is_ascii_whitespace());
            secret[..end.map_or(0, |end| end + 1)].to_vec()
        });
        let mut secrets: Vec<_> = trimmed.filter(|secret| secret.len() >= SHORTEST).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self { secrets }
    }

    /// Whether there is nothing to mask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// A text without secrets.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.secrets.is_empty() {
            return Cow::Borrowed(text);
        }
        let masked = self.bytes(text.as_bytes());
        match String::from_utf8(masked) {
            Ok(masked) => Cow::Owned(masked),
            Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        }
    }

    /// Bytes without secrets.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while at < bytes.len() {
            match self.secret_at(&bytes[at..]) {
                Some(length) => {
                    masked.extend_from_slice(MASKED);
                    at += length;
                }
                None => {
                    masked.push(bytes[at]);
                    at += 1;
                }
            }
        }
        masked
    }

    fn secret_at(&self, bytes: &[u8]) -> Option<usize> {
        let found = self.secrets.iter().find(|secret| bytes.starts_with(secret));
        found.map(Vec::len)
    }

    /// How many bytes from the end may be the beginning of a secret.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let longest = self.secrets.first().map_or(0, |secret| secret.len() - 1);
        let from = bytes.len().saturating_sub(longest);
        let begins = |rest: &[u8]| self.secrets.iter().any(|secret| secret.starts_with(rest));
        (from..bytes.len()).find(|at| begins(&bytes[*at..])).map_or(0, |at| bytes.len() - at)
    }
}

/// Masks a text that comes in pieces.
#[derive(Debug)]
pub struct MaskStream<'m> {
    mask: &'m Mask,
    held: Vec<u8>,
}

impl<'m> MaskStream<'m> {
    /// A stream of which nothing has come yet.
    #[must_use]
    pub const fn new(mask: &'m Mask) -> Self {
        Self { mask, held: Vec::new() }
    }

    /// Takes a piece, and gives what may be shown. What may be the beginning of a
    /// secret is held back.
    pub fn take<'p>(&mut self, piece: &'p [u8]) -> Cow<'p, [u8]> {
        if self.mask.is_empty() {
            return Cow::Borrowed(piece);
        }
        self.held.extend_from_slice(piece);
        let rest = self.held.split_off(self.held.len() - self.mask.undecided(&self.held));
        let masked = self.mask.bytes(&self.held);
        self.held = rest;
        Cow::Owned(masked)
    }

    /// What was held back, once nothing more comes.
    pub fn end(self) -> Vec<u8> {
        self.mask.bytes(&self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mask() -> Mask {
        Mask::of([
            b"hunter2\n".to_vec(),
            b"hunter22222".to_vec(),
            b"abcabd".to_vec(),
            b"x".to_vec(),
        ])
    }

    #[test]
    fn secrets_are_replaced_the_longest_first() {
        assert_eq!(mask().text("a hunter22222 b hunter2!x"), "a *** b ***!x");
        assert_eq!(mask().text("nothing"), "nothing");
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_same_comes_out(
            text in proptest::collection::vec(
                prop_oneof![Just("hunter2"), Just("hunt"), Just("abcab"), Just("cabd"), Just(" "), Just("2222")],
                0..8,
            ),
            cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let (text, mask) = (text.concat().into_bytes(), mask());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut stream = MaskStream::new(&mask);
            let mut out = Vec::new();
            for pair in cuts.windows(2) {
                out.extend_from_slice(&stream.take(&text[pair[0]..pair[1]]));
            }
            out.extend(stream.end());
            prop_assert_eq!(out, mask.bytes(&text));
        }
    }
}
