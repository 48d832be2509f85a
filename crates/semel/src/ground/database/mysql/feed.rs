//! Records on their way into a table: each is read when there is room for it, and held
//! against what the server would let pass without a word.
//!
//! Invariant: after the first thing that is wrong nothing more is read.

use std::sync::Arc;

use super::wait;
use crate::ground::database::{CopyError, DbError, ErrorKind, Record, Records, Watch};

/// What a column takes, where the server would not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) name: String,
    /// It has `1` for `true` and `0` for `false`.
    pub(super) is_boolean: bool,
    /// It is of whole numbers: the server rounds others.
    pub(super) is_whole: bool,
    /// It is of times, with so many digits after the second: the server cuts others off,
    /// or rounds.
    pub(super) second_digits: Option<usize>,
    /// It is of these words: the server takes a number that is none of them for a place
    /// among them.
    pub(super) words: Option<Vec<String>>,
    /// It is of bits: the server would take the digits of a number for them.
    pub(super) is_bits: bool,
    /// It makes a NULL the present time.
    pub(super) makes_null_now: bool,
    /// It makes a 0 the next number.
    pub(super) counts: bool,
}

impl Fit {
    /// A field as the column takes it.
    fn fitted<'a>(&self, field: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, String> {
        let Some(bytes) = field else {
            if self.makes_null_now {
                return Err(format!("NULL is not taken by the column `{}`", self.name));
            }
            return Ok(None);
        };
        if self.is_boolean {
            for (word, value) in [("true", b"1"), ("t", b"1"), ("false", b"0"), ("f", b"0")] {
                if bytes.eq_ignore_ascii_case(word.as_bytes()) {
                    return Ok(Some(value));
                }
            }
        }
        let what = if self.is_whole && has_fraction(bytes) {
            "no whole number, as"
        } else if self.second_digits.is_some_and(|digits| has_finer_second(bytes, digits)) {
            "a finer time than"
        } else if self.words.as_ref().is_some_and(|words| is_place(bytes, words)) {
            "none of the words that"
        } else {
            return Ok(Some(bytes));
        };
        let text = String::from_utf8_lossy(bytes);
        Err(format!("{text} is {what} the column `{}` takes", self.name))
    }
}

/// Whether it is a number that is not whole. What is no number at all the server will
/// refuse.
fn has_fraction(bytes: &[u8]) -> bool {
    if bytes.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let text = text.trim();
    let Ok(number) = text.parse::<f64>() else { return false };
    if text.contains(['e', 'E']) {
        return number.fract() != 0.0;
    }
    text.split_once('.').is_some_and(|(_, after)| after.bytes().any(|byte| byte != b'0'))
}

/// Whether a time tells more of its second than so many digits. A point before the first
/// colon is one of a date.
fn has_finer_second(bytes: &[u8], digits: usize) -> bool {
    let Some(colon) = memchr::memchr(b':', bytes) else { return false };
    let Some(point) = memchr::memchr(b'.', &bytes[colon..]) else { return false };
    let after = bytes[colon + point + 1..].iter().take_while(|byte| byte.is_ascii_digit());
    after.skip(digits).any(|byte| *byte != b'0')
}

/// Whether it is a number, and none of the words.
fn is_place(bytes: &[u8], words: &[String]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(u8::is_ascii_digit)
        && !words.iter().any(|word| word.as_bytes() == bytes)
}

/// Records on their way.
pub(super) struct Feed<'a> {
    records: &'a mut dyn Records,
    fits: Vec<Fit>,
    watch: Arc<Watch>,
    record: Record,
    /// How many were read.
    count: u64,
    has_ended: bool,
    fault: Option<CopyError>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(records: &'a mut dyn Records, fits: Vec<Fit>, watch: Arc<Watch>) -> Self {
        let record = Record::default();
        Self { records, fits, watch, record, count: 0, has_ended: false, fault: None }
    }

    pub(super) fn fits(&self) -> &[Fit] {
        &self.fits
    }

    /// Whether any column makes a 0 the next number.
    pub(super) fn counts(&self) -> bool {
        self.fits.iter().any(|fit| fit.counts)
    }

    /// How many records were read.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Whether something went wrong on this side.
    pub(super) const fn is_faulty(&self) -> bool {
        self.fault.is_some()
    }

    /// What went wrong on this side.
    pub(super) fn fault(&mut self) -> Result<(), CopyError> {
        self.fault.take().map_or(Ok(()), Err)
    }

    /// Says what went wrong on this side.
    pub(super) fn fail(&mut self, fault: impl Into<CopyError>) {
        self.has_ended = true;
        self.fault.get_or_insert(fault.into());
    }

    /// Says it, where the watch said stop.
    pub(super) fn look(&mut self) {
        if let Some(end) = wait::end(&self.watch) {
            self.fail(DbError::from(end));
        }
    }

    /// Reads the next record and gives its fields to `take`, each as its column takes
    /// it. Gives `false` where there is none.
    pub(super) fn next(&mut self, mut take: impl FnMut(&Fit, Option<&[u8]>)) -> bool {
        if self.has_ended {
            return false;
        }
        match self.records.next(&mut self.record) {
            Ok(true) => self.count += 1,
            Ok(false) => {
                self.has_ended = true;
                return false;
            }
            Err(text) => {
                self.fail(CopyError::Source(text));
                return false;
            }
        }
        let mut wrong = None;
        for (fit, field) in self.fits.iter().zip(self.record.fields()) {
            match fit.fitted(field) {
                Ok(field) => take(fit, field),
                Err(text) => {
                    wrong = Some(text);
                    break;
                }
            }
        }
        if self.record.len() != self.fits.len() {
            let (has, wants) = (self.record.len(), self.fits.len());
            wrong.get_or_insert(format!("it has {has} fields, and there are {wants} columns"));
        }
        if let Some(text) = wrong {
            let kind = ErrorKind::BadRecord(Some(self.count));
            self.fail(DbError::new(kind, text));
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_digits_as_its_column() {
        assert!(has_finer_second(b"2013-01-02 10:00:00.7", 0));
        assert!(has_finer_second(b"10:00:00.1234", 3));
        for (text, digits) in [("10:00:00.1230Z", 3), ("2013.01.02 10:00:00", 0), ("1.5", 0)] {
            assert!(!has_finer_second(text.as_bytes(), digits), "{text}");
        }
    }

    #[test]
    fn only_a_number_has_a_fraction() {
        for text in ["1.5", "-0.25", " 7.01 ", "12345678901234567890.5", "1e-1", "15e-1"] {
            assert!(has_fraction(text.as_bytes()), "{text}");
        }
        for text in ["1", "-1", "+7", "1.0", "7.", "1e3", "15e1", "", "many", "1.5x", "N.A."] {
            assert!(!has_fraction(text.as_bytes()), "{text}");
        }
    }
}
