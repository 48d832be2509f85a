//! The records of a file that is loaded into a database.
//!
//! A [`Reader`] is opened, tells the columns of its file, is told which of them to give,
//! and gives them record by record. What is wrong with a record is told with the line on
//! which that begins.
//!
//! Invariant: every record of the file is given, with every field as it is written, or
//! there is an error: nothing is passed over, cut short or guessed. Records are counted
//! as [`crate::words::rows`] does. Once there was an error, there is nothing but that.

mod fields;
mod input;
mod objects;
#[cfg(test)]
mod tests;
mod unpacked;

use std::io::Read;

use self::fields::Fields;
use self::input::Input;
use self::objects::Objects;
use crate::ground::database::{Record, Records};
use crate::words::rows::{Format, Packing};

/// What becomes of keys of a record of JSON lines that are neither in the first record
/// nor selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They are an error.
    Refuse,
    /// They are passed over.
    Ignore,
}

/// Reads the records of a file.
///
/// ```
/// use semel::ground::database::{Record, Records};
/// use semel::ground::records::{Others, Reader};
/// use semel::words::rows::{Format, Packing};
/// let file = std::io::Cursor::new("day,note,delay\n1,\"\",\n");
/// let mut reader = Reader::open(file, Format::Csv, Packing::None)?;
/// assert_eq!(reader.columns(), ["day", "note", "delay"]);
/// reader.select(&["delay", "note"], Others::Refuse)?;
/// let mut record = Record::default();
/// assert!(reader.next(&mut record)?);
/// assert_eq!(record.fields().collect::<Vec<_>>(), [None, Some(&b""[..])]);
/// assert!(!reader.next(&mut record)?);
/// # Ok::<_, String>(())
/// ```
pub struct Reader {
    input: Input,
    form: Form,
    rows: u64,
    line: u64,
    failed: Option<String>,
}

enum Form {
    Fields(Fields),
    Objects(Objects),
}

/// A record that was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line on which it begins.
    pub line: u64,
    /// What it has in the column that was asked for; `None` is NULL.
    pub value: Option<String>,
}

impl Reader {
    /// Reads as far as the columns. All of them are selected at first.
    ///
    /// # Errors
    /// If the file cannot be read or unpacked, or its header, or first record of JSON
    /// lines, is not good. A file of JSON lines may be empty, and has no columns then.
    pub fn open(
        file: impl Read + Send + 'static,
        format: Format,
        packing: Packing,
    ) -> Result<Self, String> {
        let mut input = Input::new(Box::new(file), packing)?;
        let form = match format {
            Format::Csv => Form::Fields(Fields::new(b',', &mut input)?),
            Format::Tsv => Form::Fields(Fields::new(b'\t', &mut input)?),
            Format::JsonLines => Form::Objects(Objects::new(&mut input)?),
        };
        Ok(Self { input, form, rows: 0, line: 0, failed: None })
    }

    /// The columns of the file: its header, or the keys of its first record.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        match &self.form {
            Form::Fields(fields) => fields.header(),
            Form::Objects(objects) => objects.columns(),
        }
    }

    /// Sets which columns each record gives, in which order; one may be there twice. Of
    /// JSON lines any key may be selected, since a later record may have it.
    ///
    /// # Errors
    /// If the header does not have one of them.
    pub fn select<S: AsRef<str>>(&mut self, columns: &[S], others: Others) -> Result<(), String> {
        match &mut self.form {
            Form::Fields(fields) => {
                let place = |name: &S| {
                    let name = name.as_ref();
                    let place = fields.header().iter().position(|column| column == name);
                    place.ok_or_else(|| format!("has no column `{name}`"))
                };
                let chosen = columns.iter().map(place).collect::<Result<_, _>>()?;
                fields.choose(chosen);
            }
            Form::Objects(objects) => objects.choose(columns, others),
        }
        Ok(())
    }

    /// How many records were given.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The line on which the record begins that was given last; zero before the first.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The selected keys that no record had so far: after the last one, these are likely
    /// to be written wrong. A header has all that can be selected.
    #[must_use]
    pub fn never_seen(&self) -> Vec<&str> {
        match &self.form {
            Form::Fields(_) => Vec::new(),
            Form::Objects(objects) => objects.never_seen(),
        }
    }

    /// Reads on to the record of a number, from 1, to say what is wrong with it: on which
    /// line it is, and what it has in a column. `None` where there are not as many.
    ///
    /// # Errors
    /// As [`Records::next`], and if there is no such column.
    pub fn find(mut self, number: u64, column: Option<&str>) -> Result<Option<Found>, String> {
        self.select(column.as_slice(), Others::Ignore)?;
        let mut record = Record::default();
        while self.rows < number {
            if !self.next(&mut record)? {
                return Ok(None);
            }
        }
        let value = record.fields().next().flatten();
        let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
        Ok(Some(Found { line: self.line, value }))
    }

    fn read(&mut self, record: &mut Record) -> Result<bool, String> {
        let line = match &mut self.form {
            Form::Fields(fields) => fields.next(&mut self.input, record)?,
            Form::Objects(objects) => objects.next(&mut self.input, record)?,
        };
        if let Some(line) = line {
            self.line = line;
            self.rows += 1;
        }
        Ok(line.is_some())
    }
}

impl Records for Reader {
    fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        record.clear();
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let result = self.read(record);
        self.failed = result.as_ref().err().cloned();
        result
    }
}
