//! The names of tasks: `load`, `load:clean/17.csv`, `load@2013-02:clean/17.csv`.
//!
//! A task's name is its **slot**: the step, the instance (the values of the
//! parameters that `per` names) and the item. Receipts are kept by it.
//!
//! Invariant: a name is plain text that survives a shell unquoted in all but
//! rare cases and names one slot only: `@ : , * %`, control characters and
//! bytes that are not UTF-8 are percent-encoded, so encoding never makes two
//! slots one, and [`decode`] gives back the very bytes.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

/// The percent-encoded text of an item or a value of an instance.
#[must_use]
pub fn encode(raw: &[u8]) -> Cow<'_, str> {
    // Nearly all names are like this, and there may be a million of them.
    let is_plain = |byte: &u8| {
        matches!(byte, b' '..=b'~') && !matches!(byte, b'@' | b':' | b',' | b'*' | b'%')
    };
    if let Ok(text) = std::str::from_utf8(raw)
        && (raw.iter().all(is_plain) || !text.chars().any(is_encoded))
    {
        return Cow::Borrowed(text);
    }
    let mut name = String::with_capacity(raw.len() + 8);
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_encoded(c) {
                push_bytes(&mut name, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                name.push(c);
            }
        }
        push_bytes(&mut name, chunk.invalid());
    }
    Cow::Owned(name)
}

/// The bytes that [`encode`] was given; `None` where `%` is not followed by two digits.
#[must_use]
pub fn decode(name: &str) -> Option<Vec<u8>> {
    let mut raw = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            raw.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            raw.push(byte);
        }
    }
    Some(raw)
}

fn is_encoded(c: char) -> bool {
    matches!(c, '@' | ':' | ',' | '*' | '%') || c.is_control()
}

fn push_bytes(name: &mut String, bytes: &[u8]) {
    use fmt::Write as _;
    for byte in bytes {
        write!(name, "%{byte:02X}").expect("writing to a string never fails");
    }
}

/// The values of the parameters that `per` names, in its order, joined by `,`.
///
/// Empty where a step has no instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance(String);

impl Instance {
    /// The instance with these values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<_> = values.into_iter().map(|v| encode(v.as_bytes())).collect();
        Self(names.join(","))
    }

    /// Takes the text as it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The encoded values.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is only one, which has no name.
    #[must_use]
    pub fn is_only(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a task.
///
/// ```
/// use semel::words::task::{Instance, TaskName};
/// let task = TaskName::new("load", &Instance::of(["2013-02"]), Some("clean/17.csv"));
/// assert_eq!(task.to_string(), "load@2013-02:clean/17.csv");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskName {
    /// The step.
    pub step: String,
    /// Its instance.
    pub instance: Instance,
    /// Its item, encoded.
    pub item: Option<String>,
}

impl TaskName {
    /// Names a task; `item` is encoded already.
    #[must_use]
    pub fn new(step: &str, instance: &Instance, item: Option<&str>) -> Self {
        Self { step: step.to_owned(), instance: instance.clone(), item: item.map(str::to_owned) }
    }

    /// Reads a name as it is written.
    ///
    /// ```
    /// use semel::words::task::TaskName;
    /// let name = "load@2013-02:clean/17.csv";
    /// assert_eq!(TaskName::parse(name).to_string(), name);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let TaskPattern { step, instance, item } = TaskPattern::parse(text);
        Self { step, instance: instance.unwrap_or_default(), item }
    }
}

impl fmt::Display for TaskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        if !self.instance.is_only() {
            write!(f, "@{}", self.instance)?;
        }
        if let Some(item) = &self.item {
            write!(f, ":{item}")?;
        }
        Ok(())
    }
}

/// The named values of an item that is a row, in the order of its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row(pub Box<[(Box<str>, Box<str>)]>);

impl Row {
    /// The value of a column, if it has that column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| **name == *column).map(|(_, value)| &**value)
    }
}

/// An item of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The bytes of its path or its value; of a row, those by which it is named.
    pub name: Box<[u8]>,
    /// Its named values, if it is a row.
    pub row: Option<Box<Row>>,
    /// The outputs of its task, where a script says them for each item.
    pub outs: Option<Box<[PathBuf]>>,
}

impl Item {
    /// An item that is a path or a value.
    #[must_use]
    pub fn plain(name: &[u8]) -> Self {
        Self { name: name.into(), row: None, outs: None }
    }
}

/// A task of a step, in the step's instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The item, as its list names it; `None` where the step has none.
    pub item: Option<Box<[u8]>>,
    /// The named values of the item, if it is a row.
    pub row: Option<Box<Row>>,
    /// The paths of its outputs, in the order of `out`.
    pub outs: Box<[PathBuf]>,
}

impl Task {
    /// The item as its list has it.
    #[must_use]
    pub fn as_item(&self) -> Option<Item> {
        let name = self.item.clone()?;
        Some(Item { name, row: self.row.clone(), outs: None })
    }

    /// The item's name: encoded, and empty where there is none.
    #[must_use]
    pub fn item_name(&self) -> Cow<'_, str> {
        self.item.as_deref().map(encode).unwrap_or_default()
    }

    /// Its whole name.
    #[must_use]
    pub fn name(&self, step: &str, instance: &Instance) -> TaskName {
        TaskName::new(step, instance, self.item.as_deref().map(encode).as_deref())
    }
}

/// Which tasks a person means: `load`, `load@2013-02`, `load:clean/*`.
///
/// What is not said is left open: a bare step means all its items, in the
/// instance of the call's parameters. `*` stands for any text of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPattern {
    /// The step.
    pub step: String,
    /// The instance, where one is named.
    pub instance: Option<Instance>,
    /// The item as it was typed, where one is named.
    pub item: Option<String>,
}

impl TaskPattern {
    /// Reads what was typed. Any text is a pattern; whether the step exists is
    /// for the caller to find out.
    #[must_use]
    pub fn parse(typed: &str) -> Self {
        let (head, item) = match typed.split_once(':') {
            Some((head, item)) => (head, Some(item.to_owned())),
            None => (typed, None),
        };
        let (step, instance) = match head.split_once('@') {
            Some((step, instance)) => (step, Some(Instance(instance.to_owned()))),
            None => (head, None),
        };
        Self { step: step.to_owned(), instance, item }
    }

    /// Whether it means the item of this encoded name.
    ///
    /// A name typed without its percent signs is understood too: nobody types
    /// `%2C` for a comma.
    #[must_use]
    pub fn takes_item(&self, name: Option<&str>) -> bool {
        match (&self.item, name) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(typed), Some(name)) => {
                matches_stars(typed.as_bytes(), name.as_bytes())
                    || decode(name).is_some_and(|raw| matches_stars(typed.as_bytes(), &raw))
            }
        }
    }
}

impl fmt::Display for TaskPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.step)?;
        if let Some(instance) = &self.instance {
            write!(f, "@{instance}")?;
        }
        if let Some(item) = &self.item {
            write!(f, ":{item}")?;
        }
        Ok(())
    }
}

/// Whether `text` matches `pattern`, in which `*` stands for any bytes.
fn matches_stars(pattern: &[u8], text: &[u8]) -> bool {
    let mut parts = pattern.split(|&byte| byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match find(rest, part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_stay_readable() {
        assert_eq!(encode("raw/ß 17.csv".as_bytes()), "raw/ß 17.csv");
        assert_eq!(encode(b"a:b,c*d@e%f"), "a%3Ab%2Cc%2Ad%40e%25f");
        assert_eq!(encode(b"one\ntwo\xff"), "one%0Atwo%FF");
    }

    #[test]
    fn a_bare_step_means_all_its_items() {
        let pattern = TaskPattern::parse("load");
        assert!(pattern.takes_item(None));
        assert!(pattern.takes_item(Some("clean/17.csv")));
    }

    #[test]
    fn stars_and_plain_commas_find_their_items() {
        let pattern = TaskPattern::parse("load@2013-02:clean/*-0?,*.csv");
        assert_eq!(pattern.instance, Some(Instance::of(["2013-02"])));
        assert!(pattern.takes_item(Some("clean/2013-0?%2C17.csv")));
        assert!(!pattern.takes_item(Some("clean/2013-0?%2C17.csv.bak")));
        assert!(!pattern.takes_item(None));
        let exact = TaskPattern::parse("load:a");
        assert!(exact.takes_item(Some("a")) && !exact.takes_item(Some("ab")));
        assert!(!TaskPattern::parse("load:a*a").takes_item(Some("a")));
    }

    proptest! {
        #[test]
        fn what_is_encoded_comes_back(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(decode(&encode(&raw)), Some(raw));
        }

        #[test]
        fn two_slots_never_share_a_name(
            a in "[a-c@:,*%\u{1}]{0,4}", b in "[a-c@:,*%\u{1}]{0,4}",
            c in "[a-c@:,*%\u{1}]{0,4}", d in "[a-c@:,*%\u{1}]{0,4}",
        ) {
            let name = |v: &str, i: &str| {
                TaskName::new("s", &Instance::of([v]), Some(&encode(i.as_bytes()))).to_string()
            };
            prop_assert_eq!(name(&a, &c) == name(&b, &d), a == b && c == d);
        }
    }
}
