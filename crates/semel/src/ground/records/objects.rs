//! JSON lines: an object a line. Blank lines are no records.
//!
//! A number is given as it is written, and so is what is nested: nothing is lost to a
//! binary number. Null and a key that is not there are NULL.
//!
//! Invariant: what is given is UTF-8 without NUL, and no key of a record is passed over
//! unless the caller said so.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Others;
use super::input::Input;
use crate::ground::database::Record;
use crate::words::rows::is_blank;

/// Reads such a file.
pub(super) struct Objects {
    /// The keys of the first record.
    columns: Vec<String>,
    keys: Keys,
}

/// What is known of keys, and of the record that is read.
#[derive(Default)]
struct Keys {
    /// Those of the first record, then others that were asked for.
    known: Vec<Key>,
    /// Where each is in `known`.
    places: HashMap<String, usize>,
    /// Those to be given, by their place in `known`.
    chosen: Vec<usize>,
    others: Unknown,
    /// The number of the record.
    round: u64,
    /// Its values one after the other.
    text: Vec<u8>,
    /// Its keys that are not known.
    strange: HashSet<String>,
    /// What is wrong with it, other than that it is not JSON.
    complaint: Option<String>,
}

struct Key {
    name: String,
    is_chosen: bool,
    /// The last record that has it, from 1; zero for none.
    round: u64,
    /// Where its value is in the text of that record; `None` for NULL.
    value: Option<(usize, usize)>,
}

/// What becomes of a key that is not known.
#[derive(Clone, Copy, Default)]
enum Unknown {
    /// It is known from now on.
    #[default]
    Learn,
    Refuse,
    Ignore,
}

impl Objects {
    /// Looks at the first record.
    pub(super) fn new(input: &mut Input) -> Result<Self, String> {
        let mut keys = Keys::default();
        if let Some((length, _)) = next_line(input)? {
            keys.read(input, length)?;
        }
        let columns: Vec<_> = keys.known.iter().map(|key| key.name.clone()).collect();
        // It is read again when it is asked for.
        keys.round = 0;
        keys.known.iter_mut().for_each(|key| key.round = 0);
        let mut this = Self { columns, keys };
        this.choose(&this.columns.clone(), Others::Refuse);
        Ok(this)
    }

    /// The keys of the first record.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Sets which keys are given.
    pub(super) fn choose<S: AsRef<str>>(&mut self, names: &[S], others: Others) {
        let keys = &mut self.keys;
        keys.known.iter_mut().for_each(|key| key.is_chosen = false);
        keys.chosen = names.iter().map(|name| keys.place(name.as_ref())).collect();
        for &place in &keys.chosen {
            keys.known[place].is_chosen = true;
        }
        keys.others = match others {
            Others::Refuse => Unknown::Refuse,
            Others::Ignore => Unknown::Ignore,
        };
    }

    /// Those chosen that no record had so far.
    pub(super) fn never_seen(&self) -> Vec<&str> {
        let known = self.keys.known.iter();
        known.filter(|key| key.is_chosen && key.round == 0).map(|key| key.name.as_str()).collect()
    }

    /// Reads the next record, and tells its line; `None` after the last.
    pub(super) fn next(
        &mut self,
        input: &mut Input,
        record: &mut Record,
    ) -> Result<Option<u64>, String> {
        let Some((length, whole)) = next_line(input)? else { return Ok(None) };
        let line = input.line();
        let keys = &mut self.keys;
        keys.read(input, length)?;
        for &place in &keys.chosen {
            let key = &keys.known[place];
            let value = key.value.filter(|_| key.round == keys.round);
            record.push(value.map(|(start, end)| &keys.text[start..end]));
        }
        input.take(whole, 1);
        Ok(Some(line))
    }
}

/// As [`Input::find_line`], after the blank ones.
fn next_line(input: &mut Input) -> Result<Option<(usize, usize)>, String> {
    while let Some((length, whole)) = input.find_line()? {
        if !is_blank(&input.rest()[..length]) {
            return Ok(Some((length, whole)));
        }
        input.take(whole, 1);
    }
    Ok(None)
}

impl Keys {
    /// The place of a key, which is known from now on.
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.known.len();
        self.places.insert(name.to_owned(), place);
        self.known.push(Key { name: name.to_owned(), is_chosen: false, round: 0, value: None });
        place
    }

    /// Reads the line that begins here, of this length.
    fn read(&mut self, input: &Input, length: usize) -> Result<(), String> {
        let (line, rest) = (input.line(), input.rest());
        let text = std::str::from_utf8(&rest[..length]).map_err(|error| {
            format!("line {line} is not UTF-8 at byte {}", error.valid_up_to() + 1)
        })?;
        if !text.trim_start_matches([' ', '\t', '\r']).starts_with('{') {
            return Err(format!("line {line} is not an object"));
        }
        self.round += 1;
        self.text.clear();
        self.strange.clear();
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let result = deserializer.deserialize_map(&mut *self).and_then(|()| deserializer.end());
        let Err(error) = result else { return Ok(()) };
        if let Some(complaint) = self.complaint.take() {
            return Err(format!("line {line}{complaint}"));
        }
        if error.is_eof() {
            let is_last = length == rest.len();
            let why = if is_last { "the file is cut off?" } else { "it has to be on one line" };
            return Err(format!("line {line} ends in the middle of an object: {why}"));
        }
        // Its own line is always 1, and it counts bytes.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&place).unwrap_or(&message);
        Err(format!("line {line} is not JSON at byte {}: {message}", error.column()))
    }

    /// Takes a key and its value, in the order of the line. `next` is where in `known` it
    /// is likely to be; its true place plus one is returned.
    fn take(&mut self, name: &str, value: &RawValue, next: usize) -> Result<usize, String> {
        let place = match self.known.get(next) {
            Some(key) if key.name == name => Some(next),
            _ => self.places.get(name).copied(),
        };
        let place = match (place, self.others) {
            (Some(place), _) => place,
            (None, Unknown::Learn) => self.place(name),
            (None, Unknown::Refuse) => {
                return Err(format!(" has the key `{name}`, which the first record has not"));
            }
            (None, Unknown::Ignore) => {
                if !self.strange.insert(name.to_owned()) {
                    return Err(format!(" has the key `{name}` twice"));
                }
                return Ok(next);
            }
        };
        let key = &mut self.known[place];
        if key.round == self.round {
            return Err(format!(" has the key `{name}` twice"));
        }
        key.round = self.round;
        if key.is_chosen {
            let start = self.text.len();
            let is_there = unfold(value, &mut self.text)
                .map_err(|message| format!(": key `{name}` {message}"))?;
            key.value = is_there.then_some((start, self.text.len()));
        }
        Ok(place + 1)
    }
}

/// Adds a value to a text, as a database is to have it; gives `false` for null.
fn unfold(value: &RawValue, text: &mut Vec<u8>) -> Result<bool, String> {
    let json = value.get();
    let string = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = match string {
        None if json == "null" => return Ok(false),
        None => Cow::Borrowed(json),
        Some(plain) if memchr::memchr(b'\\', plain.as_bytes()).is_none() => Cow::Borrowed(plain),
        // Escapes of halves of characters are seen only here.
        Some(_) => match serde_json::from_str::<String>(json) {
            Ok(string) if string.contains('\0') => return Err("has a NUL character".to_owned()),
            Ok(string) => Cow::Owned(string),
            Err(_) => return Err("is not Unicode".to_owned()),
        },
    };
    text.extend_from_slice(value.as_bytes());
    Ok(true)
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for &mut Keys {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            match self.take(&name, value, next) {
                Ok(place) => next = place,
                Err(complaint) => {
                    self.complaint = Some(complaint);
                    return Err(A::Error::custom("the complaint is told"));
                }
            }
        }
        Ok(())
    }
}
