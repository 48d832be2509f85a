//! Counting records: CSV and TSV without the header, else lines.
//!
//! A last line without a newline counts; a blank line of a CSV, TSV or JSON lines file
//! does not.
//!
//! Invariant: what a file is loaded from has as many records as are counted here.

use std::path::Path;

/// How the records of a file are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// JSON, an object a line.
    JsonLines,
    /// Lines.
    Lines,
}

impl Records {
    /// What the ending of a file's name says, where it says it.
    #[must_use]
    pub fn of_name(path: &Path) -> Option<Self> {
        // What is packed would have to be unpacked to be counted.
        match Format::of_name(path)? {
            (format, Packing::None) => Some(format.into()),
            _ => None,
        }
    }
}

impl From<Format> for Records {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Tsv => Self::Tsv,
            Format::JsonLines => Self::JsonLines,
        }
    }
}

/// What the records of a file that can be loaded are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header.
    Csv,
    /// Tab-separated values with a header.
    Tsv,
    /// JSON, an object a line.
    JsonLines,
}

impl Format {
    /// What the endings of a file's name say, where they say it.
    ///
    /// ```
    /// use semel::words::rows::{Format, Packing};
    /// let path = std::path::Path::new("2013/flights.csv.gz");
    /// assert_eq!(Format::of_name(path), Some((Format::Csv, Packing::Gzip)));
    /// ```
    #[must_use]
    pub fn of_name(path: &Path) -> Option<(Self, Packing)> {
        let packing = Packing::of_name(path);
        let name = match packing {
            Packing::None => path,
            Packing::Gzip | Packing::Zstd => Path::new(path.file_stem()?),
        };
        let format = match ending(name)?.as_str() {
            "csv" => Self::Csv,
            "tsv" => Self::Tsv,
            "jsonl" | "ndjson" => Self::JsonLines,
            _ => return None,
        };
        Some((format, packing))
    }

    /// Their names.
    pub const NAMES: [&str; 3] = ["csv", "tsv", "jsonl"];

    /// The format of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Csv, Self::Tsv, Self::JsonLines].into_iter().find(|format| format.name() == name)
    }

    /// Its name in a pipeline.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::JsonLines => "jsonl",
        }
    }
}

/// What a file is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Nothing.
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// Their names.
    pub const NAMES: [&str; 3] = ["none", "gzip", "zstd"];

    /// The packing of a name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|packing| packing.name() == name)
    }

    /// Its name in a pipeline.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What the ending of a file's name says.
    #[must_use]
    pub fn of_name(path: &Path) -> Self {
        match ending(path).as_deref() {
            Some("gz") => Self::Gzip,
            Some("zst") => Self::Zstd,
            _ => Self::None,
        }
    }
}

fn ending(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
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
    Lines {
        rows: u64,
        is_open: bool,
    },
    /// Whether the line that is not at its end yet has anything on it.
    Objects {
        rows: u64,
        is_open: bool,
    },
    Fields {
        reader: Box<csv_core::Reader>,
        rows: u64,
    },
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
                Records::JsonLines => State::Objects { rows: 0, is_open: false },
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
            State::Objects { rows, is_open } => {
                let mut rest = bytes;
                while let Some(end) = memchr::memchr(b'\n', rest) {
                    *rows += u64::from(*is_open || !is_blank(&rest[..end]));
                    *is_open = false;
                    rest = &rest[end + 1..];
                }
                *is_open |= !is_blank(rest);
            }
            State::Fields { reader, rows } => *rows += records_in(reader, bytes),
        }
    }

    /// The records there were.
    #[must_use]
    pub fn rows(mut self) -> u64 {
        match &mut self.state {
            State::Lines { rows, is_open } | State::Objects { rows, is_open } => {
                *rows + u64::from(*is_open)
            }
            State::Fields { reader, rows } => {
                // An empty input is how the reader is told of the end.
                (*rows + records_in(reader, b"")).saturating_sub(1)
            }
        }
    }
}

/// Whether a line of JSON lines has nothing on it.
#[must_use]
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
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
        assert_eq!(Records::of_name(Path::new("a.jsonl")), Some(Records::JsonLines));
        assert_eq!(Records::of_name(Path::new("a.png")), None);
        assert_eq!(Records::of_name(Path::new("a.csv.gz")), None);
    }

    #[test]
    fn names_say_what_is_packed_how() {
        for (name, expected) in [
            ("a/b.csv", Some((Format::Csv, Packing::None))),
            ("b.TSV", Some((Format::Tsv, Packing::None))),
            ("b.2013.csv.gz", Some((Format::Csv, Packing::Gzip))),
            ("b.Jsonl.ZST", Some((Format::JsonLines, Packing::Zstd))),
            ("b.ndjson", Some((Format::JsonLines, Packing::None))),
            ("b.gz", None),
            ("csv.gz", None),
            (".csv", None),
            ("b.csv.gz.gz", None),
            ("b.csv.bz2", None),
            ("b.csv/", Some((Format::Csv, Packing::None))),
            ("", None),
        ] {
            assert_eq!(Format::of_name(Path::new(name)), expected, "{name}");
        }
        assert_eq!(Format::parse("jsonl"), Some(Format::JsonLines));
        assert_eq!(Format::parse("CSV"), None);
    }

    #[test]
    fn a_blank_line_is_no_object() {
        assert_eq!(count(Records::JsonLines, "\n{}\r\n \t\r\n{}\n\n"), 2);
        assert_eq!(count(Records::JsonLines, "{}\n{}"), 2);
        assert_eq!(count(Records::JsonLines, "{}\n  "), 1);
        assert_eq!(count(Records::JsonLines, ""), 0);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(text in "[a,\"\n\r]{0,40}", at in 0_usize..40, of in 0_usize..3) {
            let records = [Records::Lines, Records::JsonLines, Records::Csv][of];
            let at = at.min(text.len());
            let mut counter = Counter::new(records);
            counter.feed(&text.as_bytes()[..at]);
            counter.feed(&text.as_bytes()[at..]);
            prop_assert_eq!(counter.rows(), count(records, &text));
        }
    }
}
