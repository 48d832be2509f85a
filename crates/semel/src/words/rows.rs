//! Counting records: CSV and TSV without the header, else lines.
//!
//! A last line without a newline counts; a blank line of a CSV file does not.

use std::path::Path;

/// How the records of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// Lines.
    Lines,
}

impl Records {
    /// What the ending of a file's name says, where it says it.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// Counts the records of a file that is fed to it piece by piece.
///
/// ```
/// use semel::words::rows::{Counter, Records};
/// let mut counter = Counter::new(Records::Csv);
/// counter.feed(b"day,note\n1,\"two\nlines\"\n2,");
/// assert_eq!(counter.rows(), 2);
/// ```
pub struct Counter {
    state: State,
}

enum State {
    Lines { rows: u64, is_open: bool },
    Fields { reader: Box<csv_core::Reader>, rows: u64 },
}

impl Counter {
    /// Counts from nothing.
    #[must_use]
    pub fn new(records: Records) -> Self {
        let fields = |delimiter| State::Fields {
            reader: Box::new(csv_core::ReaderBuilder::new().delimiter(delimiter).build()),
            rows: 0,
        };
        Self {
            state: match records {
                Records::Csv => fields(b','),
                Records::Tsv => fields(b'\t'),
                Records::Lines => State::Lines { rows: 0, is_open: false },
            },
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        match &mut self.state {
            State::Lines { rows, is_open } => {
                *rows += memchr::memchr_iter(b'\n', bytes).count() as u64;
                *is_open = *last != b'\n';
            }
            State::Fields { reader, rows } => *rows += records_in(reader, bytes),
        }
    }

    /// The records there were.
    #[must_use]
    pub fn rows(mut self) -> u64 {
        match &mut self.state {
            State::Lines { rows, is_open } => *rows + u64::from(*is_open),
            State::Fields { reader, rows } => {
                // An empty input is how the reader is told of the end.
                (*rows + records_in(reader, b"")).saturating_sub(1)
            }
        }
    }
}

fn records_in(reader: &mut csv_core::Reader, mut bytes: &[u8]) -> u64 {
    use csv_core::ReadRecordResult::{End, InputEmpty, OutputEndsFull, OutputFull, Record};
    let (mut fields, mut ends) = ([0; 1024], [0; 64]);
    let mut rows = 0;
    loop {
        let (result, read, _, _) = reader.read_record(bytes, &mut fields, &mut ends);
        bytes = &bytes[read..];
        match result {
            Record => rows += 1,
            OutputFull | OutputEndsFull => {}
            InputEmpty | End => return rows,
        }
        if bytes.is_empty() && result == Record {
            return rows;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(records: Records, text: &str) -> u64 {
        let mut counter = Counter::new(records);
        counter.feed(text.as_bytes());
        counter.rows()
    }

    #[test]
    fn a_header_is_no_record() {
        assert_eq!(count(Records::Csv, ""), 0);
        assert_eq!(count(Records::Csv, "a,b\n"), 0);
        assert_eq!(count(Records::Csv, "a,b\n1,2\n3,4"), 2);
        assert_eq!(count(Records::Tsv, "a\tb\n\"1\n\"\t2\n\n"), 1);
    }

    #[test]
    fn a_last_line_without_newline_counts() {
        assert_eq!(count(Records::Lines, ""), 0);
        assert_eq!(count(Records::Lines, "\n\n"), 2);
        assert_eq!(count(Records::Lines, "{}\n{}"), 2);
    }

    #[test]
    fn long_records_are_one() {
        let long = "x".repeat(5000);
        let wide = "1,".repeat(300);
        assert_eq!(count(Records::Csv, &format!("a\n{long}\n{wide}\n")), 2);
    }

    #[test]
    fn names_say_what_records_are() {
        assert_eq!(Records::of_name(Path::new("a/b.CSV")), Some(Records::Csv));
        assert_eq!(Records::of_name(Path::new("a.jsonl")), Some(Records::Lines));
        assert_eq!(Records::of_name(Path::new("a.png")), None);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a,\"\n\r]{0,40}", at in 0_usize..40, lines in any::<bool>()) {
            let records = if lines { Records::Lines } else { Records::Csv };
            let at = at.min(text.len());
            let mut counter = Counter::new(records);
            counter.feed(&text.as_bytes()[..at]);
            counter.feed(&text.as_bytes()[at..]);
            prop_assert_eq!(counter.rows(), count(records, &text));
        }
    }
}
