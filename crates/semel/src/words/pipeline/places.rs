//! Where the values of a pipeline file stand in its text.
//!
//! A [`Pipeline`](super::Pipeline) keeps the places of what its rules speak of.
//! Whoever has more to say of a file asks for the places here, by the names of
//! the tables and keys that lead to a value.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Span;
use super::value::text_at;

/// The places of a pipeline file.
#[derive(Debug)]
pub struct Places<'a> {
    text: &'a str,
    document: Spanned<DeTable<'a>>,
}

impl<'a> Places<'a> {
    /// Those of a text. Of one that is not TOML some are unknown.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self { text, document: DeTable::parse_recoverable(text).0 }
    }

    /// Where a value stands, quotes included: `["step", "fetch", "run"]`.
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<Span> {
        Some(self.find(path)?.1.span())
    }

    /// Where the last key of a path stands.
    #[must_use]
    pub fn key(&self, path: &[&str]) -> Option<Span> {
        Some(self.find(path)?.0)
    }

    /// Where a part of the text of a value stands; the whole value where the file
    /// writes its text in another way, with escapes.
    #[must_use]
    pub fn part(&self, path: &[&str], text: &str, range: &Span) -> Option<Span> {
        let (_, value) = self.find(path)?;
        let span = value.span();
        Some(match text_at(self.text, &span, text) {
            Some(at) => at + range.start..at + range.end,
            None => span,
        })
    }

    /// Where an element of a list of texts stands, or the only text.
    #[must_use]
    pub fn element(&self, path: &[&str], text: &str) -> Option<Span> {
        let (_, value) = self.find(path)?;
        let elements = value.get_ref().as_array().into_iter().flat_map(|array| array.iter());
        let element = elements.into_iter().find(|element| element.get_ref().as_str() == Some(text));
        Some(element.map_or_else(|| value.span(), Spanned::span))
    }

    fn find(&self, path: &[&str]) -> Option<(Span, &Spanned<DeValue<'a>>)> {
        let (last, folders) = path.split_last()?;
        let mut table = self.document.get_ref();
        for name in folders {
            let (_, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
            table = value.get_ref().as_table()?;
        }
        let (key, value) = table.iter().find(|(key, _)| key.get_ref() == last)?;
        Some((key.span(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 'x'\nstep.a.run = '''\nsort {{ item }} > x'''\n[step.b]\nrun = \"a\\tb\"\nenv = { A_TOKEN = 'c' }\nenv-counts = ['LANG', 'TZ']\n";

    fn at(span: Option<Span>) -> Option<&'static str> {
        span.map(|span| &TEXT[span])
    }

    #[test]
    fn values_and_keys_are_found_by_their_names() {
        let places = Places::of(TEXT);
        assert_eq!(at(places.value(&["name"])), Some("'x'"));
        assert_eq!(at(places.key(&["step", "b", "env", "A_TOKEN"])), Some("A_TOKEN"));
        assert_eq!(at(places.element(&["step", "b", "env-counts"], "TZ")), Some("'TZ'"));
        assert_eq!(at(places.value(&["step", "c", "run"])), None);
        assert_eq!(at(places.value(&["name", "run"])), None);
    }

    #[test]
    fn a_part_of_a_text_is_found_unless_it_is_escaped() {
        let places = Places::of(TEXT);
        let part = |step: &str, text: &str, range: Span| {
            at(places.part(&["step", step, "run"], text, &range))
        };
        assert_eq!(part("a", "sort {{ item }} > x", 16..19), Some("> x"));
        assert_eq!(part("b", "a\tb", 2..3), Some("\"a\\tb\""));
    }
}
