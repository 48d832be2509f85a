//! CSV and TSV, as RFC 4180 has them: a header, and records of as many fields.
//!
//! A field of nothing is NULL; a field of nothing between quotes is the empty text. A
//! quote in a field that does not begin with one is a quote. LF, CRLF and CR end a line,
//! and blank lines are no records: so csv-core counts, too. It is not used here, since it
//! tells neither a quoted field from another, nor that a quote is never closed or that
//! text follows one that is.
//!
//! Invariant: each record that is given is UTF-8 without NUL, and has a field for each
//! column of the header.

use memchr::{memchr, memchr_iter, memchr3};

use super::input::Input;
use crate::ground::database::Record;

/// Reads such a file.
pub(super) struct Fields {
    delimiter: u8,
    header: Vec<String>,
    /// The columns to be given, by their place in the header.
    chosen: Vec<usize>,
    /// The ends of the fields of a plain record.
    ends: Vec<usize>,
    careful: Careful,
}

impl Fields {
    /// Reads the header.
    pub(super) fn new(delimiter: u8, input: &mut Input) -> Result<Self, String> {
        skip_blank_lines(input)?;
        if input.rest().is_empty() {
            return Err("has no header".to_owned());
        }
        let line = input.line();
        let mut careful = Careful::default();
        let extent = careful.read(delimiter, input)?;
        let mut header = Vec::with_capacity(careful.fields.len());
        for place in 0..careful.fields.len() {
            let name = careful.field(place).unwrap_or_default();
            let Ok(name) = std::str::from_utf8(name) else {
                return Err(format!("line {line}, the header, is not UTF-8"));
            };
            if name.contains('\0') {
                return Err(format!("line {line}, the header, has a NUL byte"));
            }
            if name.is_empty() {
                return Err(format!("the header has no name for column {}", place + 1));
            }
            if header.iter().any(|other| other == name) {
                return Err(format!("the header has column `{name}` twice"));
            }
            header.push(name.to_owned());
        }
        input.take(extent.bytes, extent.lines);
        let chosen = (0..header.len()).collect();
        Ok(Self { delimiter, header, chosen, ends: Vec::new(), careful })
    }

    /// The columns of the header.
    pub(super) fn header(&self) -> &[String] {
        &self.header
    }

    /// Sets which columns are given.
    pub(super) fn choose(&mut self, chosen: Vec<usize>) {
        self.chosen = chosen;
    }

    /// Reads the next record, and tells its line; `None` after the last.
    pub(super) fn next(
        &mut self,
        input: &mut Input,
        record: &mut Record,
    ) -> Result<Option<u64>, String> {
        skip_blank_lines(input)?;
        if input.rest().is_empty() {
            return Ok(None);
        }
        let line = input.line();
        if !self.next_plain(input, record) {
            self.next_careful(input, record, line)?;
        }
        Ok(Some(line))
    }

    /// Reads a record that is one line without quotes, and has nothing wrong; nothing is
    /// done where it is not like that.
    fn next_plain(&mut self, input: &mut Input, record: &mut Record) -> bool {
        let rest = input.rest();
        let Some(end) = memchr(b'\n', rest) else { return false };
        let text = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        if memchr3(b'"', b'\r', 0, text).is_some() || std::str::from_utf8(text).is_err() {
            return false;
        }
        self.ends.clear();
        self.ends.extend(memchr_iter(self.delimiter, text));
        self.ends.push(text.len());
        if self.ends.len() != self.header.len() {
            return false;
        }
        for &place in &self.chosen {
            let start = if place == 0 { 0 } else { self.ends[place - 1] + 1 };
            let field = &text[start..self.ends[place]];
            record.push((!field.is_empty()).then_some(field));
        }
        input.take(end + 1, 1);
        true
    }

    fn next_careful(
        &mut self,
        input: &mut Input,
        record: &mut Record,
        line: u64,
    ) -> Result<(), String> {
        let extent = self.careful.read(self.delimiter, input)?;
        let (fields, columns) = (self.careful.fields.len(), self.header.len());
        if fields != columns {
            let s = if fields == 1 { "" } else { "s" };
            return Err(format!("line {line} has {fields} field{s}, the header has {columns}"));
        }
        let raw = &input.rest()[..extent.bytes];
        if memchr(0, raw).is_some() || std::str::from_utf8(raw).is_err() {
            return Err(self.what_is_bad(line));
        }
        for &place in &self.chosen {
            record.push(self.careful.field(place));
        }
        input.take(extent.bytes, extent.lines);
        Ok(())
    }

    /// Which field is no text.
    fn what_is_bad(&self, line: u64) -> String {
        // What is not UTF-8 is within a field: what is between them is ASCII.
        for (place, column) in self.header.iter().enumerate() {
            let field = self.careful.field(place).unwrap_or_default();
            if std::str::from_utf8(field).is_err() {
                return format!("line {line}: column `{column}` is not UTF-8");
            }
            if field.contains(&0) {
                return format!("line {line}: column `{column}` has a NUL byte");
            }
        }
        format!("line {line} is not UTF-8")
    }
}

fn skip_blank_lines(input: &mut Input) -> Result<(), String> {
    loop {
        match input.rest() {
            [b'\n', ..] => input.take(1, 1),
            [b'\r', b'\n', ..] => input.take(2, 1),
            [] | [b'\r'] if !input.is_over() => input.more()?,
            [b'\r', ..] => input.take(1, 1),
            _ => return Ok(()),
        }
    }
}

/// A record that may have anything in it.
#[derive(Default)]
struct Careful {
    /// Its fields one after the other, without their quotes.
    text: Vec<u8>,
    /// The end of each, and whether it is NULL.
    fields: Vec<(usize, bool)>,
}

/// What a record takes of the input.
struct Extent {
    bytes: usize,
    lines: u64,
}

impl Careful {
    fn field(&self, place: usize) -> Option<&[u8]> {
        let start = if place == 0 { 0 } else { self.fields[place - 1].0 };
        let (end, is_null) = self.fields[place];
        (!is_null).then(|| &self.text[start..end])
    }

    /// Reads the record that begins here. It stays in the input until it is taken.
    fn read(&mut self, delimiter: u8, input: &mut Input) -> Result<Extent, String> {
        loop {
            // From its beginning again, whenever there is more: that is twice at most for
            // a long record, and once a piece for the others.
            if let Some(extent) = self.parse(delimiter, input)? {
                return Ok(extent);
            }
            input.more()?;
        }
    }

    /// `None` where the record may end after what is there.
    fn parse(&mut self, delimiter: u8, input: &Input) -> Result<Option<Extent>, String> {
        let (rest, is_over) = (input.rest(), input.is_over());
        self.text.clear();
        self.fields.clear();
        let mut at = 0;
        loop {
            let is_quoted = rest.get(at) == Some(&b'"');
            let start = at;
            let end = if is_quoted {
                self.unquote(rest, at + 1)
            } else {
                memchr3(delimiter, b'\n', b'\r', &rest[at..])
                    .map(|length| at + length)
                    .or(is_over.then_some(rest.len()))
                    .inspect(|end| self.text.extend_from_slice(&rest[at..*end]))
            };
            match end {
                None if !is_over => return Ok(None),
                None => {
                    let line = input.line() + lines_in(&rest[..start]);
                    return Err(format!(
                        "line {line} opens a quote that is never closed: the file is cut off?"
                    ));
                }
                Some(end) => at = end,
            }
            self.fields.push((self.text.len(), !is_quoted && start == at));
            let extent = |bytes, lines| Ok(Some(Extent { bytes, lines }));
            match &rest[at..] {
                // A quote at the end of what is there may be the first of two.
                [] | [b'\r'] if !is_over => return Ok(None),
                [] => return extent(at, lines_in(&rest[..at])),
                [b'\n', ..] => return extent(at + 1, lines_in(&rest[..=at])),
                [b'\r', b'\n', ..] => return extent(at + 2, lines_in(&rest[..at + 2])),
                [b'\r', ..] => return extent(at + 1, lines_in(&rest[..at]) + 1),
                [byte, ..] if *byte == delimiter => at += 1,
                _ => {
                    let (line, place) = (input.line(), self.fields.len());
                    return Err(format!("line {line}: text follows the quoted field {place}"));
                }
            }
        }
    }

    /// Adds what is between quotes, and tells where that ends, if it does.
    fn unquote(&mut self, rest: &[u8], mut at: usize) -> Option<usize> {
        loop {
            let end = at + memchr(b'"', rest.get(at..)?)?;
            self.text.extend_from_slice(&rest[at..end]);
            at = end + 1;
            if rest.get(at) != Some(&b'"') {
                return Some(at);
            }
            self.text.push(b'"');
            at += 1;
        }
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    memchr_iter(b'\n', bytes).count() as u64
}
