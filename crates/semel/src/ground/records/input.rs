//! What of a file is in memory.
//!
//! Invariant: what is held is at most a piece, or the record being read where that is
//! longer, and never more than [`LONGEST`].

use super::unpacked::{Bytes, Unpacked};
use crate::words::rows::Packing;

/// What is held of a file of short records.
const PIECE: usize = 256 * 1024;

/// The longest record.
const LONGEST: usize = 1 << 30;

/// A window onto the bytes that are not taken yet.
pub(super) struct Input {
    source: Unpacked,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    is_over: bool,
    line: u64,
    longest: usize,
}

impl Input {
    /// Before the first byte that is no byte order mark.
    pub(super) fn new(file: Bytes, packing: Packing) -> Result<Self, String> {
        Self::with(file, packing, PIECE, LONGEST)
    }

    fn with(file: Bytes, packing: Packing, piece: usize, longest: usize) -> Result<Self, String> {
        let source = Unpacked::new(file, packing)?;
        let buffer = vec![0; piece];
        let mut input = Self { source, buffer, start: 0, end: 0, is_over: false, line: 1, longest };
        input.more()?;
        if [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| input.rest().starts_with(*mark)) {
            return Err("is UTF-16; it has to be UTF-8".to_owned());
        }
        if input.rest().starts_with(b"\xef\xbb\xbf") {
            input.take(3, 0);
        }
        Ok(input)
    }

    /// The bytes that are there and not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Whether nothing comes after them.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// The line of the first of them.
    pub(super) const fn line(&self) -> u64 {
        self.line
    }

    /// Takes bytes, and as many ends of lines.
    pub(super) const fn take(&mut self, bytes: usize, lines: u64) {
        self.start += bytes;
        self.line += lines;
    }

    /// Reads on, so that [`Input::rest`] is longer unless it is over.
    pub(super) fn more(&mut self) -> Result<(), String> {
        if self.is_over {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end >= self.longest {
                return Err(format!(
                    "line {} begins a record of more than {} MiB: is a quote never closed?",
                    self.line,
                    self.longest >> 20
                ));
            }
            // Doubled, so that a long record is looked at twice in all.
            self.buffer.resize((2 * self.end).min(self.longest), 0);
        }
        let read = self.source.fill(&mut self.buffer[self.end..])?;
        self.end += read;
        self.is_over = self.end < self.buffer.len();
        Ok(())
    }

    /// The length of the line that begins here, without its newline, and with it; `None`
    /// at the end.
    pub(super) fn find_line(&mut self) -> Result<Option<(usize, usize)>, String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', self.rest()) {
                return Ok(Some((end, end + 1)));
            }
            if self.is_over {
                let length = self.rest().len();
                return Ok((length > 0).then_some((length, length)));
            }
            self.more()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str, piece: usize, longest: usize) -> Input {
        let bytes = std::io::Cursor::new(text.to_owned().into_bytes());
        Input::with(Box::new(bytes), Packing::None, piece, longest).expect("it can be read")
    }

    #[test]
    fn memory_grows_only_with_a_line() {
        let long = "x".repeat(100);
        let mut input = input(&format!("a\nbc\n{long}\n\nd"), 4, 1024);
        let mut lengths = Vec::new();
        let mut held = Vec::new();
        while let Some((length, whole)) = input.find_line().expect("lines") {
            lengths.push(length);
            held.push(input.buffer.len());
            input.take(whole, 1);
        }
        assert_eq!(lengths, [1, 2, 100, 0, 1]);
        assert_eq!(held, [4, 4, 128, 128, 128]);
        assert_eq!(input.line(), 6);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused() {
        let mut input = input(&format!("a\n{}\n", "x".repeat(3 << 20)), 1024, 2 << 20);
        assert_eq!(input.find_line(), Ok(Some((1, 2))));
        input.take(2, 1);
        assert_eq!(
            input.find_line(),
            Err("line 2 begins a record of more than 2 MiB: is a quote never closed?".to_owned())
        );
    }
}
