//! Reading lists: out of files with lines, rows or elements, and from commands.
//!
//! Invariant: two items of one list have different names; the fault that they do
//! not tells both places.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{missing, plain_path, unreadable};
use crate::deed::capture::{self, Answer, Question};
use crate::deed::{Site, Trouble, command};
use crate::ground::world::disk::{DiskError, Kind};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::thought::mask::Mask;
use crate::words::path::{bytes_of, normal, show};
use crate::words::pipeline::{Command, Each, Fault, Span, Step};
use crate::words::task::{Item, Row};
use crate::words::template::Template;

/// How long a command that makes a list may take.
const LIMIT: Duration = Duration::from_secs(300);

/// How much of what it prints is looked at.
const MOST: usize = 1 << 28;

/// Gathers items, and finds those that come twice.
struct Gathering<'a> {
    /// What is read, for people.
    of: String,
    /// What an item of it is called there: `line`.
    unit: &'static str,
    span: &'a Span,
    secrets: Mask,
    seen: HashMap<Box<[u8]>, usize>,
    items: Vec<Item>,
}

impl<'a> Gathering<'a> {
    fn new(site: &Site<'_>, of: String, unit: &'static str, span: &'a Span) -> Self {
        let secrets = site.mask_all();
        Self { of, unit, span, secrets, seen: HashMap::new(), items: Vec::new() }
    }

    fn wrong(&self, title: String, at: usize, help: &str) -> Trouble {
        let label = format!("{} {at} of {}", self.unit, self.of);
        Trouble::Input(Fault::new(title, self.span, label).help(help))
    }

    /// Adds the item of a place, counted from 1.
    fn add(&mut self, item: Item, at: usize) -> Result<(), Trouble> {
        if item.name.contains(&0) {
            let title = "an item with a NUL byte".to_owned();
            return Err(self.wrong(title, at, "no command can be given one"));
        }
        if item.name.is_empty() {
            let title = "an item without a name".to_owned();
            return Err(self.wrong(title, at, "the value that names it is empty"));
        }
        if !self.secrets.is_empty() && self.secrets.bytes(&item.name) != *item.name {
            let title = "an item with a secret in its name".to_owned();
            return Err(self.wrong(title, at, "the names of tasks are shown and kept"));
        }
        if let Some(first) = self.seen.insert(item.name.clone(), at) {
            let value = String::from_utf8_lossy(&item.name);
            let unit = self.unit;
            let title = format!("`{value}` comes twice: in {unit} {first} and in {unit} {at}");
            let help = if item.row.is_some() {
                "each row wants a name of its own:  each = { …, name = \"a column\" }"
            } else {
                "each is a piece of work of its own; two of one name would be one"
            };
            return Err(self.wrong(title, at, help));
        }
        self.items.push(item);
        Ok(())
    }

    /// Adds the lines of a text, but blank ones.
    fn add_lines(&mut self, text: &[u8], item: impl Fn(&[u8]) -> Item) -> Result<(), Trouble> {
        for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.trim_ascii().is_empty() {
                self.add(item(line), at + 1)?;
            }
        }
        Ok(())
    }
}

/// The bytes of a list file.
fn read(site: &Site<'_>, path: &Path, span: &Span) -> Result<Vec<u8>, Trouble> {
    let meta = site.disk.look(path).map_err(|error| unreadable(&error, span))?;
    let Some(meta) = meta else {
        return Err(missing(path, span));
    };
    if meta.kind != Kind::File {
        let title = format!("a list that is not a file: {}", show(path));
        return Err(Trouble::Input(Fault::new(title, span, "wants a file")));
    }
    let mut text = Vec::new();
    let mut file = site.disk.open(path).map_err(|error| unreadable(&error, span))?;
    file.read_to_end(&mut text).map_err(|source| {
        let (doing, path) = ("read", path.to_owned());
        unreadable(&DiskError { doing, path, source }, span)
    })?;
    Ok(text)
}

/// The lines of a file, but blank ones; each is an item of its own.
pub(super) fn lines(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    span: &Span,
) -> Result<Vec<Item>, Trouble> {
    of_lines(site, step, path, span, Item::plain)
}

/// The files that the lines of a file name; paths are relative to the pipeline's
/// folder.
pub(super) fn files_from(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    span: &Span,
) -> Result<Vec<Item>, Trouble> {
    of_lines(site, step, path, span, |line| {
        let normal = normal(line);
        let inside = normal.strip_prefix(site.disk.root()).unwrap_or(&normal);
        Item::plain(bytes_of(inside))
    })
}

fn of_lines(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    span: &Span,
    item: impl Fn(&[u8]) -> Item,
) -> Result<Vec<Item>, Trouble> {
    let path = plain_path(site, step, path);
    let mut gathering = Gathering::new(site, show(&path), "line", span);
    gathering.add_lines(&read(site, &path, span)?, item)?;
    Ok(gathering.items)
}

/// The lines that a command prints, asked once a run.
pub(super) fn command(
    site: &Site<'_>,
    step: &Step,
    list: &Command,
    span: &Span,
) -> Result<Vec<Item>, Trouble> {
    let mut asked = site.asked.lock().expect("nobody panics while asking");
    if let Some(items) = asked.get(&step.name) {
        return Ok(items.clone());
    }
    let env = site.environment(step);
    let bindings =
        Bindings { env: &env, for_command: true, ..Bindings::of(site.params, Some(step)) };
    let wrong = |why: String| {
        let why = site.mask(step).text(&why).into_owned();
        let title = format!("the list of step `{}` cannot be had: {why}", step.name);
        Trouble::Input(Fault::new(title, span, "this command makes it"))
    };
    let stop = Stop::new().map_err(|error| Trouble::Broken(error.to_string()))?;
    let question = Question {
        words: &command::words(list, &bindings),
        folder: &command::folder(site, step),
        env: &[],
        input: None,
        limit: LIMIT,
        most: MOST,
    };
    let said = capture::ask(&question, &stop).and_then(Answer::when_well).map_err(wrong)?;
    let mut gathering = Gathering::new(site, "what the command prints".to_owned(), "line", span);
    gathering.add_lines(&said, Item::plain)?;
    asked.insert(step.name.clone(), gathering.items.clone());
    Ok(gathering.items)
}

/// The rows of a CSV file with a header.
pub(super) fn csv(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    each: &Each,
) -> Result<Vec<Item>, Trouble> {
    let path = plain_path(site, step, path);
    let text = read(site, &path, &each.span)?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let not_csv = |error: ::csv::Error| {
        let title = format!("{} is not CSV: {error}", show(&path));
        Trouble::Input(Fault::new(title, &each.span, "wants a header and rows as wide"))
    };
    if let Some(line) = open_quote(text) {
        let title = format!("{} is not CSV: a quote of line {line} is never closed", show(&path));
        return Err(Trouble::Input(
            Fault::new(title, &each.span, "all that comes after it would be one value")
                .help("a quote within a quoted value is doubled:  \"6\"\" wide\""),
        ));
    }
    let mut reader = ::csv::ReaderBuilder::new().from_reader(text);
    let columns: Vec<Box<str>> = reader.headers().map_err(not_csv)?.iter().map(Box::from).collect();
    names_are_told_apart(&columns, &path, &each.span)?;
    let mut gathering = Gathering::new(site, show(&path), "row", &each.span);
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(not_csv)?;
        let values = columns.iter().cloned().zip(record.iter().map(Box::from));
        let row = Row(values.collect());
        let item = named(row, each, &gathering, at + 1)?;
        gathering.add(item, at + 1)?;
    }
    Ok(gathering.items)
}

/// The line that opens a quote which nothing closes. The reader of CSV takes all that
/// comes after it for one value, and says nothing; so what opens and closes a quote is
/// here as it is there: one that begins a field opens it, and two within are a quote.
fn open_quote(text: &[u8]) -> Option<usize> {
    #[derive(Clone, Copy)]
    enum At {
        Start,
        Plain,
        Quoted(usize),
        /// A quote after quoted bytes: the end, or the first of two.
        Quote(usize),
    }
    let mut at = At::Start;
    let mut line = 1;
    for &byte in text {
        at = match (at, byte) {
            (At::Start, b'"') => At::Quoted(line),
            (At::Quote(opened), b'"') => At::Quoted(opened),
            (At::Quoted(opened), b'"') => At::Quote(opened),
            (At::Quoted(opened), _) => At::Quoted(opened),
            (_, b',' | b'\n' | b'\r') => At::Start,
            _ => At::Plain,
        };
        line += usize::from(byte == b'\n');
    }
    match at {
        At::Quoted(opened) => Some(opened),
        At::Start | At::Plain | At::Quote(_) => None,
    }
}

fn names_are_told_apart(columns: &[Box<str>], path: &Path, span: &Span) -> Result<(), Trouble> {
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            let title = format!("{} has two columns `{column}`", show(path));
            return Err(Trouble::Input(Fault::new(title, span, "they cannot be told apart")));
        }
    }
    Ok(())
}

/// The elements of a JSON file with a list: values, or objects of values.
pub(super) fn json(
    site: &Site<'_>,
    step: &Step,
    path: &Template,
    each: &Each,
) -> Result<Vec<Item>, Trouble> {
    let path = plain_path(site, step, path);
    let text = read(site, &path, &each.span)?;
    let wrong = |title: String| {
        Trouble::Input(Fault::new(title, &each.span, "wants a list of values or objects"))
    };
    // Each as it is written: numbers stay the text they are.
    let list: Vec<&RawValue> = serde_json::from_slice(&text)
        .map_err(|error| wrong(format!("{} is not a list in JSON: {error}", show(&path))))?;
    let mut gathering = Gathering::new(site, show(&path), "element", &each.span);
    for (at, element) in list.into_iter().enumerate() {
        let of_element =
            |what: String| wrong(format!("element {} of {} {what}", at + 1, show(&path)));
        let item = if element.get().starts_with('{') {
            named(fields(element).map_err(of_element)?, each, &gathering, at + 1)?
        } else {
            let value = scalar(element).map_err(of_element)?;
            let value = value.ok_or_else(|| of_element("is neither".to_owned()))?;
            Item::plain(value.as_bytes())
        };
        gathering.add(item, at + 1)?;
    }
    Ok(gathering.items)
}

/// The keys of an object and their values as they are written, also a key that comes
/// twice: of a map only the last would be left.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields<'de>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Fields(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// An object as a row, or what is wrong with it. The order of its keys counts nothing,
/// so they come by name.
fn fields(object: &RawValue) -> Result<Row, String> {
    let Fields(mut pairs) = serde_json::from_str(object.get()).map_err(not_read)?;
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(two) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
        return Err(format!("has the key `{}` twice", two[0].0));
    }
    let values = pairs.into_iter().map(|(key, value)| {
        let value = scalar(value)?.ok_or_else(|| format!("has no plain value `{key}`"))?;
        Ok((Box::from(key), Box::from(value)))
    });
    Ok(Row(values.collect::<Result<_, String>>()?))
}

/// A value that is neither a list nor an object, as text; or what is wrong with it.
fn scalar(value: &RawValue) -> Result<Option<Cow<'_, str>>, String> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'"') => Some(Cow::Owned(serde_json::from_str(text).map_err(not_read)?)),
        Some(b'n') => Some(Cow::Borrowed("")),
        Some(b'[' | b'{') => None,
        _ => Some(Cow::Borrowed(text)),
    })
}

/// The place that the error knows is one within what was read.
#[allow(clippy::needless_pass_by_value)]
fn not_read(error: serde_json::Error) -> String {
    format!("cannot be read: {error}")
}

/// A row with its name: the value of the column that names it, or all its values, as
/// a line of CSV has them.
fn named(row: Row, each: &Each, gathering: &Gathering<'_>, at: usize) -> Result<Item, Trouble> {
    let name = match &each.name {
        None => row.0.iter().map(|(_, value)| in_csv(value)).collect::<Vec<_>>().join(","),
        Some(column) => match row.get(column) {
            Some(value) => value.to_owned(),
            None => {
                let known: Vec<_> = row.0.iter().map(|(name, _)| &**name).collect();
                let help = format!("it has {}", known.join(", "));
                let title = format!("nothing names it: there is no `{column}`");
                return Err(gathering.wrong(title, at, &help));
            }
        },
    };
    Ok(Item { name: name.into_bytes().into(), row: Some(Box::new(row)), outs: None })
}

/// A value as it stands in a line of CSV (RFC 4180): two rows that differ never look
/// the same.
fn in_csv(value: &str) -> Cow<'_, str> {
    if value.contains([',', '"', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", value.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::open_quote;

    /// The records that the reader of CSV finds, the header among them.
    fn records(text: &str) -> usize {
        let mut reader = ::csv::ReaderBuilder::new();
        let mut reader = reader.has_headers(false).flexible(true).from_reader(text.as_bytes());
        reader.records().count()
    }

    #[test]
    fn the_line_that_opens_it_is_told() {
        assert_eq!(open_quote(b"k,v\na,1\nb,\"2\nc,3\n"), Some(3));
        assert_eq!(open_quote(b"k,v\na,\"x\n\"\"\ny"), Some(2));
        assert_eq!(open_quote(b"k,v\na,6\"\nb,\"2\n\"\n"), None);
    }

    proptest! {
        /// A further line is a further record, but within a quote.
        #[test]
        fn a_quote_is_open_where_the_reader_of_csv_thinks_so(text in "[a,\"\n\r]{0,12}") {
            let swallows = records(&format!("{text}\nz")) == records(&text);
            prop_assert_eq!(open_quote(text.as_bytes()).is_some(), swallows);
        }
    }
}
