//! Reading the values of a TOML document as what a key wants.
//!
//! Invariant: every value that is not what was wanted becomes a fault with its
//! place, and reading goes on.

use std::num::NonZeroUsize;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Bound, Fault, Json, Span};
use crate::words::template::Template;

/// What reading a value gives: what was wanted, or all that is wrong with it.
pub(super) type Read<T> = Result<T, Vec<Fault>>;

/// A value of the document, with the name of the key that it is the value of.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
    source: &'a str,
}

/// A thing with its place in the file.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) what: T,
    pub(super) span: Span,
}

/// A template with its place in the file.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) template: Template,
    /// The value, quotes included.
    pub(super) span: Span,
    /// Where its text begins, if it stands in the file as it is (no escapes).
    text_at: Option<usize>,
}

impl Written {
    /// Where a part of the text stands in the file.
    pub(super) fn place(&self, range: &Span) -> Span {
        place(&self.span, self.text_at, range)
    }
}

fn place(span: &Span, text_at: Option<usize>, range: &Span) -> Span {
    text_at.map_or_else(|| span.clone(), |at| at + range.start..at + range.end)
}

impl<'a> Value<'a> {
    pub(super) const fn new(
        key: &'a str,
        value: &'a Spanned<DeValue<'a>>,
        source: &'a str,
    ) -> Self {
        Self { key, value, source }
    }

    pub(super) fn span(&self) -> Span {
        self.value.span()
    }

    /// A fault of this value as a whole.
    pub(super) fn fault(&self, title: impl Into<String>, label: impl Into<String>) -> Fault {
        Fault::new(title, &self.span(), label)
    }

    /// The fault that this is not what the key wants.
    fn wrong<T>(&self, wants: &str) -> Read<T> {
        let title = format!("`{}` wants {wants}", self.key);
        let label = format!("this is {}", kind(self.value.get_ref()));
        Err(vec![self.fault(title, label)])
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    pub(super) fn text(&self) -> Read<&'a str> {
        match self.value.get_ref().as_str() {
            Some(text) => Ok(text),
            None => self.wrong("a text"),
        }
    }

    /// A text that is not empty.
    pub(super) fn filled_text(&self) -> Read<Placed<String>> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return Err(vec![
                self.fault(format!("`{}` is empty", self.key), "nothing stands here"),
            ]);
        }
        Ok(Placed { what: text.to_owned(), span: self.span() })
    }

    /// A text, a number or a date, as text.
    pub(super) fn scalar(&self) -> Read<String> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.to_string()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Ok(flag.to_string()),
            DeValue::Datetime(time) => Ok(time.to_string()),
            _ => self.wrong("a text or a number"),
        }
    }

    pub(super) fn flag(&self) -> Read<bool> {
        match self.value.get_ref().as_bool() {
            Some(flag) => Ok(flag),
            None => self.wrong("`true` or `false`"),
        }
    }

    pub(super) fn whole(&self) -> Option<i64> {
        let number = self.value.get_ref().as_integer()?;
        i64::from_str_radix(number.as_str(), number.radix()).ok()
    }

    pub(super) fn whole_within(&self, least: i64, most: i64, wants: &str) -> Read<i64> {
        match self.whole() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            Some(number) => {
                let title = format!("`{}` wants {wants}", self.key);
                Err(vec![self.fault(title, format!("{number} is out of range"))])
            }
            None => self.wrong(wants),
        }
    }

    pub(super) fn jobs(&self) -> Read<NonZeroUsize> {
        let number = self.whole_within(1, 100_000, "a whole number from 1 to 100000")?;
        Ok(usize::try_from(number).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::MIN))
    }

    /// A length of time: `"90s"`, `"1m30s"`, `"24h"`, `"7d"`.
    pub(super) fn duration(&self) -> Read<Duration> {
        const WANTS: &str = "a length of time such as \"90s\", \"1m30s\" or \"24h\"";
        let Some(text) = self.value.get_ref().as_str() else {
            return self.wrong(WANTS);
        };
        crate::words::duration(text).ok_or_else(|| {
            let title = format!("`{}` wants {WANTS}", self.key);
            vec![self.fault(title, "not a length of time")]
        })
    }

    /// A length of time that something may take: not none.
    pub(super) fn limit(&self) -> Read<Duration> {
        let limit = self.duration()?;
        if limit.is_zero() {
            let title = format!("`{}` leaves no time", self.key);
            return Err(vec![self.fault(title, "nothing is done in no time")]);
        }
        Ok(limit)
    }

    /// A condition on a number: `">= 1"`, or the number alone.
    pub(super) fn bound(&self) -> Read<Bound> {
        const WANTS: &str = "a condition such as \">= 1\"";
        let text = match self.value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            _ => return self.wrong(WANTS),
        };
        Bound::parse(&text).ok_or_else(|| {
            let title = format!("`{}` wants {WANTS}", self.key);
            vec![self.fault(title, "not a condition")]
        })
    }

    pub(super) fn template(&self) -> Read<Written> {
        let text = self.text()?;
        let span = self.span();
        let text_at = text_at(self.source, &span, text);
        match Template::parse(text) {
            Ok(template) => Ok(Written { template, span, text_at }),
            Err(faults) => Err(faults
                .into_iter()
                .map(|fault| {
                    let span = place(&span, text_at, &fault.range);
                    Fault::new("a placeholder that says nothing", &span, fault.label)
                })
                .collect()),
        }
    }

    /// A text with placeholders, or a number or a date as text.
    pub(super) fn scalar_template(&self) -> Read<Written> {
        if self.is_text() {
            return self.template();
        }
        let template = Template::plain(&self.scalar()?);
        Ok(Written { template, span: self.span(), text_at: None })
    }

    /// A value of JSON; a date is a string.
    pub(super) fn json(&self) -> Read<Json<Written>> {
        Ok(match self.value.get_ref() {
            DeValue::String(_) | DeValue::Datetime(_) => Json::Text(self.scalar_template()?),
            DeValue::Boolean(flag) => Json::Flag(*flag),
            DeValue::Integer(_) => match self.whole() {
                Some(number) => Json::Number(number.into()),
                None => return self.wrong("a number that is not as large"),
            },
            DeValue::Float(number) => {
                match number.as_str().parse().ok().and_then(serde_json::Number::from_f64) {
                    Some(number) => Json::Number(number),
                    None => return self.wrong("a number that JSON has"),
                }
            }
            DeValue::Array(_) => Json::List(all(self.array()?.iter().map(Self::json))?),
            DeValue::Table(_) => Json::Table(all(self
                .table()?
                .entries()
                .into_iter()
                .map(|entry| Ok((entry.name.to_owned(), entry.value.json()?))))?),
        })
    }

    pub(super) fn filled_template(&self) -> Read<Written> {
        self.filled_text()?;
        self.template()
    }

    /// The values of an array.
    pub(super) fn array(&self) -> Read<Vec<Value<'a>>> {
        match self.value.get_ref().as_array() {
            Some(array) => {
                Ok(array.iter().map(|value| Value::new(self.key, value, self.source)).collect())
            }
            None => self.wrong("a list"),
        }
    }

    /// One value, or a list of them.
    pub(super) fn one_or_more(&self) -> Vec<Value<'a>> {
        self.array().unwrap_or_else(|_| vec![*self])
    }

    pub(super) fn table(&self) -> Read<Table<'a>> {
        match self.value.get_ref().as_table() {
            Some(table) => Ok(Table { table, source: self.source }),
            None => self.wrong("a table"),
        }
    }

    pub(super) fn as_table(&self) -> Option<Table<'a>> {
        self.table().ok()
    }
}

/// Where the text of a value begins in the file, if nothing in it is escaped;
/// `span` is that of the value with its quotes.
pub(super) fn text_at(source: &str, span: &Span, text: &str) -> Option<usize> {
    let raw = source.get(span.clone())?;
    let quotes = ["'''", "\"\"\"", "'", "\""];
    let quote =
        quotes.into_iter().find(|quote| raw.starts_with(quote) && raw.len() >= 2 * quote.len())?;
    let mut inner = &raw[quote.len()..raw.len() - quote.len()];
    let mut at = span.start + quote.len();
    if quote.len() == 3 {
        // TOML drops a newline right behind the opening quotes.
        for newline in ["\r\n", "\n"] {
            if let Some(rest) = inner.strip_prefix(newline) {
                inner = rest;
                at += newline.len();
                break;
            }
        }
    }
    (inner == text).then_some(at)
}

/// A table of the document.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    table: &'a DeTable<'a>,
    source: &'a str,
}

/// An entry of a table.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) name_span: Span,
    pub(super) value: Value<'a>,
}

impl<'a> Table<'a> {
    pub(super) const fn new(table: &'a DeTable<'a>, source: &'a str) -> Self {
        Self { table, source }
    }

    /// The entries, in the order of the file.
    pub(super) fn entries(&self) -> Vec<Entry<'a>> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(name, value)| Entry {
                name: name.get_ref().as_ref(),
                name_span: name.span(),
                value: Value::new(name.get_ref().as_ref(), value, self.source),
            })
            .collect();
        entries.sort_by_key(|entry| entry.name_span.start);
        entries
    }

    pub(super) fn get(&self, name: &str) -> Option<Value<'a>> {
        self.entries().into_iter().find(|entry| entry.name == name).map(|entry| entry.value)
    }
}

/// Collects what can be read of several values, or all that is wrong with them.
pub(super) fn all<T>(values: impl IntoIterator<Item = Read<T>>) -> Read<Vec<T>> {
    let mut good = Vec::new();
    let mut faults = Vec::new();
    for value in values {
        match value {
            Ok(value) => good.push(value),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(faults) }
}

/// What a value is, for people.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
