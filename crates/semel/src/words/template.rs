//! Placeholders: `{{ item.stem | upper }}` in the texts of a pipeline file.
//!
//! The language is a name with a field and a closed list of filters, and
//! nothing else. `{{.` is left alone, since Go templates begin so, and `{{{{`
//! stands for `{{`.
//!
//! Invariant: a template that was read renders whatever the values are; all
//! that can be wrong with it is found when the file is read.

use std::borrow::Cow;
use std::ops::Range;

use crate::words::shell;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text as it was written.
    pub text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Hole(Placeholder),
}

/// A placeholder in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// What it stands for.
    pub name: Name,
    /// What is done to the value, in order.
    pub filters: Vec<Filter>,
    /// Where it stands in the template's text, in bytes, braces included.
    pub range: Range<usize>,
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// `item`, `item.stem`: the item, or a part of its path; of a row, the column
    /// of that name.
    Item(ItemPart),
    /// `item.COLUMN`: a column of a row.
    Column(String),
    /// `in`, `in.KEY`: the files of `in`.
    In(Option<String>),
    /// `out`, `out.KEY`: where the command is to write.
    Out(Option<String>),
    /// `params.P`: a parameter.
    Param(String),
    /// `env.V`: a variable that the step lists.
    Env(String),
    /// `run.id`: the run's unique id.
    RunId,
}

/// A part of an item's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemPart {
    /// `item`: the path, or the value.
    Whole,
    /// `item.name`: the last component.
    Name,
    /// `item.stem`: the last component without its extension.
    Stem,
    /// `item.ext`: the extension, without the dot.
    Ext,
    /// `item.dir`: the path without its last component.
    Dir,
    /// `item.path`: the path, as a text that counts.
    Path,
}

impl ItemPart {
    /// All parts, with the names of their fields.
    pub const ALL: [(&'static str, Self); 5] = [
        ("name", Self::Name),
        ("stem", Self::Stem),
        ("ext", Self::Ext),
        ("dir", Self::Dir),
        ("path", Self::Path),
    ];

    /// Takes this part of a path.
    #[must_use]
    pub fn of(self, path: &[u8]) -> &[u8] {
        let slash = memchr::memrchr(b'/', path);
        let name = slash.map_or(path, |at| &path[at + 1..]);
        // A dot at the beginning hides a file; it does not begin an extension.
        let dot = memchr::memrchr(b'.', name).filter(|&at| at > 0);
        match self {
            Self::Whole | Self::Path => path,
            Self::Name => name,
            Self::Stem => dot.map_or(name, |at| &name[..at]),
            Self::Ext => dot.map_or(b"", |at| &name[at + 1..]),
            Self::Dir => match slash {
                None => b".",
                Some(0) => b"/",
                Some(at) => &path[..at],
            },
        }
    }

    /// The field's name; `None` for the item itself.
    #[must_use]
    pub fn field(self) -> Option<&'static str> {
        Self::ALL.iter().find(|(_, part)| *part == self).map(|(name, _)| *name)
    }
}

/// What can be done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// The value as it is, not quoted for the shell.
    Raw,
    /// As a JSON string; several values as a JSON array.
    Json,
    /// In upper case.
    Upper,
    /// In lower case.
    Lower,
}

impl Filter {
    /// All filters, with their names.
    pub const ALL: [(&'static str, Self); 4] =
        [("raw", Self::Raw), ("json", Self::Json), ("upper", Self::Upper), ("lower", Self::Lower)];
}

/// What is wrong with a template, and where in its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// The bytes of the text that are at fault.
    pub range: Range<usize>,
    /// What is wrong with them.
    pub label: String,
}

/// The values of a placeholder; text is bytes, since names of files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// One value.
    One(Cow<'a, [u8]>),
    /// Any number of values.
    Many(Vec<Cow<'a, [u8]>>),
}

impl<'a> Value<'a> {
    /// A value of borrowed text.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::One(Cow::Borrowed(text.as_bytes()))
    }

    /// A value of borrowed bytes.
    #[must_use]
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self::One(Cow::Borrowed(bytes))
    }

    fn all(&self) -> &[Cow<'a, [u8]>] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// Gives placeholders their values.
///
/// Names that the template's context does not offer were refused when the file
/// was read, so every name that is asked for has a value.
pub trait Values {
    /// The value of a name.
    fn value(&self, name: &Name) -> Value<'_>;
}

impl Template {
    /// A text in which nothing is replaced.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self { text: text.to_owned(), pieces: vec![Piece::Text(text.to_owned())] }
    }

    /// Reads a template; reports all that is wrong with it at once.
    ///
    /// # Errors
    /// Every placeholder that is not closed, or whose name or filter is unknown.
    pub fn parse(text: &str) -> Result<Self, Vec<TemplateFault>> {
        let mut pieces = Vec::new();
        let mut faults = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|found| at + found) {
            plain.push_str(&text[at..open]);
            let inside = &text[open + 2..];
            if inside.starts_with("{{") {
                plain.push_str("{{");
                at = open + 4;
            } else if inside.trim_start().starts_with('.') {
                plain.push_str("{{");
                at = open + 2;
            } else if let Some(length) = inside.find("}}") {
                at = open + 2 + length + 2;
                match placeholder(&inside[..length], open..at) {
                    Ok(hole) => {
                        if !plain.is_empty() {
                            pieces.push(Piece::Text(std::mem::take(&mut plain)));
                        }
                        pieces.push(Piece::Hole(hole));
                    }
                    Err(label) => faults.push(TemplateFault { range: open..at, label }),
                }
            } else {
                faults.push(TemplateFault {
                    range: open..open + 2,
                    label: "is not closed by `}}`; `{{{{` stands for a plain `{{`".to_owned(),
                });
                at = open + 2;
            }
        }
        plain.push_str(&text[at..]);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if faults.is_empty() { Ok(Self { text: text.to_owned(), pieces }) } else { Err(faults) }
    }

    /// Reads a word of a script, in which only `{{ in… }}` and `{{ out… }}` are
    /// placeholders: everything else is as it is, also what stands in double braces.
    #[must_use]
    pub fn of_script(text: &str) -> Self {
        let (mut pieces, mut plain, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find("{{").map(|found| at + found) {
            at = open + 2;
            let hole = text[at..].find("}}").and_then(|length| {
                let range = open..at + length + 2;
                let hole = placeholder(&text[at..at + length], range.clone()).ok()?;
                matches!(hole.name, Name::In(_) | Name::Out(_)).then_some((hole, range.end))
            });
            if let Some((hole, end)) = hole {
                if plain < open {
                    pieces.push(Piece::Text(text[plain..open].to_owned()));
                }
                pieces.push(Piece::Hole(hole));
                (plain, at) = (end, end);
            }
        }
        if plain < text.len() || pieces.is_empty() {
            pieces.push(Piece::Text(text[plain..].to_owned()));
        }
        Self { text: text.to_owned(), pieces }
    }

    /// The placeholders, in order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Hole(hole) => Some(hole),
        })
    }

    /// Whether it names the item.
    #[must_use]
    pub fn names_item(&self) -> bool {
        self.placeholders().any(|hole| matches!(hole.name, Name::Item(_) | Name::Column(_)))
    }

    /// Whether it is the same for all values.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.placeholders().next().is_none()
    }

    /// The text with something else in the place of each placeholder, by their order;
    /// and where that stands.
    pub fn spell(&self, stand_in: impl Fn(usize) -> String) -> (String, Vec<Range<usize>>) {
        let (mut text, mut places) = (String::with_capacity(self.text.len()), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Hole(_) => {
                    let start = text.len();
                    text.push_str(&stand_in(places.len()));
                    places.push(start..text.len());
                }
            }
        }
        (text, places)
    }

    /// The values of the placeholders, in order; several of one are joined by blanks.
    #[must_use]
    pub fn values(&self, values: &impl Values) -> Vec<Vec<u8>> {
        let joined = |hole: &Placeholder| hole.filtered(&values.value(&hole.name)).join(&b' ');
        self.placeholders().map(joined).collect()
    }

    /// Fills in the values as literals, each by `literal`.
    #[must_use]
    pub fn render_literals(
        &self,
        values: &impl Values,
        literal: impl Fn(&str) -> String,
    ) -> Vec<u8> {
        self.fill(values, |_, value| {
            Cow::Owned(literal(&String::from_utf8_lossy(&value)).into_bytes())
        })
    }

    /// The text before the first placeholder.
    #[must_use]
    pub fn head(&self) -> &str {
        match self.pieces.first() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }

    /// The text if there is no placeholder in it.
    #[must_use]
    pub fn as_plain(&self) -> Option<&str> {
        self.is_plain().then(|| self.head())
    }

    /// Fills in the values as they are; several are joined by blanks.
    #[must_use]
    pub fn render(&self, values: &impl Values) -> Vec<u8> {
        self.fill(values, |_, value| value)
    }

    /// Fills in the values quoted for a POSIX shell; several are joined by
    /// blanks.
    #[must_use]
    pub fn render_shell(&self, values: &impl Values) -> Vec<u8> {
        self.fill(values, |hole, value| {
            if hole.filters.contains(&Filter::Raw) {
                value
            } else {
                Cow::Owned(shell::quote(&value).into_owned())
            }
        })
    }

    /// Fills in the values of a URL. Behind the host they are percent-encoded, so that none
    /// can begin another part of it; before, they may be the host or more.
    #[must_use]
    pub fn render_url(&self, values: &impl Values) -> Vec<u8> {
        // The first placeholder behind the host; all after it are, too.
        let mut own = String::new();
        let first = self.pieces.iter().find_map(|piece| match piece {
            Piece::Text(plain) => {
                own.push_str(plain);
                None
            }
            Piece::Hole(hole) => {
                let rest = own.split_once("://").map_or(&*own, |(_, rest)| rest);
                rest.contains(['/', '?']).then_some(hole.range.start)
            }
        });
        let is_behind_host =
            |hole: &Placeholder| first.is_some_and(|first| hole.range.start >= first);
        self.fill(values, |hole, value| {
            if hole.filters.contains(&Filter::Raw) || !is_behind_host(hole) {
                return value;
            }
            let mut encoded = Vec::with_capacity(value.len());
            for byte in value.iter().copied() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        encoded.push(byte);
                    }
                    _ => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                }
            }
            Cow::Owned(encoded)
        })
    }

    /// Fills in the values as the text of a glob in which they stand for
    /// themselves only.
    #[must_use]
    pub fn render_glob(&self, values: &impl Values) -> Vec<u8> {
        self.fill(values, |_, value| match std::str::from_utf8(&value) {
            Ok(text) => Cow::Owned(globset::escape(text).into_bytes()),
            Err(_) => value,
        })
    }

    /// Whether its own text, not that of its values, is a glob.
    #[must_use]
    pub fn is_glob(&self) -> bool {
        self.pieces.iter().any(
            |piece| matches!(piece, Piece::Text(text) if text.contains(['*', '?', '[', '{', '\\'])),
        )
    }

    /// Fills in the values of an argument of a command without a shell. Several
    /// values become several arguments where they are all that the argument
    /// says.
    #[must_use]
    pub fn render_arguments(&self, values: &impl Values) -> Vec<Vec<u8>> {
        match self.pieces.as_slice() {
            [Piece::Hole(hole)] => {
                hole.filtered(&values.value(&hole.name)).into_iter().map(Cow::into_owned).collect()
            }
            _ => vec![self.render(values)],
        }
    }

    fn fill(
        &self,
        values: &impl Values,
        finish: impl for<'v> Fn(&Placeholder, Cow<'v, [u8]>) -> Cow<'v, [u8]>,
    ) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.extend_from_slice(plain.as_bytes()),
                Piece::Hole(hole) => {
                    let value = values.value(&hole.name);
                    for (index, part) in hole.filtered(&value).into_iter().enumerate() {
                        if index > 0 {
                            text.push(b' ');
                        }
                        text.extend_from_slice(&finish(hole, part));
                    }
                }
            }
        }
        text
    }
}

impl Placeholder {
    fn filtered<'v>(&self, value: &'v Value<'_>) -> Vec<Cow<'v, [u8]>> {
        let mut values: Vec<Cow<'v, [u8]>> =
            value.all().iter().map(|part| Cow::Borrowed(part.as_ref())).collect();
        for filter in &self.filters {
            match filter {
                Filter::Raw => {}
                Filter::Upper => change_case(&mut values, str::to_uppercase),
                Filter::Lower => change_case(&mut values, str::to_lowercase),
                Filter::Json => {
                    let texts: Vec<_> =
                        values.iter().map(|part| String::from_utf8_lossy(part)).collect();
                    let json = match value {
                        Value::One(_) => serde_json::json!(texts.first()),
                        Value::Many(_) => serde_json::json!(texts),
                    };
                    values = vec![Cow::Owned(json.to_string().into_bytes())];
                }
            }
        }
        values
    }
}

fn change_case(values: &mut [Cow<'_, [u8]>], change: fn(&str) -> String) {
    for value in values {
        if let Ok(text) = std::str::from_utf8(value) {
            *value = Cow::Owned(change(text).into_bytes());
        }
    }
}

/// Reads what stands between the braces.
fn placeholder(inside: &str, range: Range<usize>) -> Result<Placeholder, String> {
    let mut parts = inside.split('|').map(str::trim);
    let name = name(parts.next().unwrap_or_default())?;
    let filters = parts.map(filter).collect::<Result<_, _>>()?;
    Ok(Placeholder { name, filters, range })
}

fn name(text: &str) -> Result<Name, String> {
    let (root, field) = match text.split_once('.') {
        Some((root, field)) => (root, Some(field)),
        None => (text, None),
    };
    if field.is_some_and(|field| field.is_empty() || !field.chars().all(is_field)) {
        return Err(format!("`{text}` is not a name with one field"));
    }
    let field = field.map(str::to_owned);
    match (root, field) {
        ("item", None) => Ok(Name::Item(ItemPart::Whole)),
        ("item", Some(field)) => Ok(ItemPart::ALL
            .iter()
            .find(|(name, _)| *name == field)
            .map_or_else(|| Name::Column(field.clone()), |(_, part)| Name::Item(*part))),
        ("in", key) => Ok(Name::In(key)),
        ("out", key) => Ok(Name::Out(key)),
        ("params", Some(param)) => Ok(Name::Param(param)),
        ("env", Some(variable)) => Ok(Name::Env(variable)),
        ("run", Some(field)) if field == "id" => Ok(Name::RunId),
        ("params" | "env" | "run", None) => Err(format!("`{root}` wants a field: `{root}.NAME`")),
        _ => Err(unknown("there is no", text, ["item", "in", "out", "params", "env", "run.id"])),
    }
}

fn is_field(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

fn filter(text: &str) -> Result<Filter, String> {
    Filter::ALL.iter().find(|(name, _)| *name == text).map(|(_, filter)| *filter).ok_or_else(|| {
        unknown("there is no filter", text, Filter::ALL.iter().map(|(name, _)| *name))
    })
}

/// Says that the path of a file has no such part.
#[must_use]
pub fn no_such_part(field: &str) -> String {
    unknown("an item has no", field, ItemPart::ALL.iter().map(|(name, _)| *name))
}

/// `there is no x; there are a, b`, or with what was probably meant.
fn unknown(what: &str, text: &str, known: impl IntoIterator<Item = &'static str>) -> String {
    let known: Vec<_> = known.into_iter().collect();
    match crate::words::nearest(text, known.iter().copied()) {
        Some(near) => format!("{what} `{text}`; did you mean `{near}`?"),
        None => format!("{what} `{text}`; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sample;

    impl Values for Sample {
        fn value(&self, name: &Name) -> Value<'_> {
            match name {
                Name::Item(part) => Value::bytes(part.of(b"raw/my day.CSV")),
                Name::In(_) => Value::Many(vec![Cow::Borrowed(b"a b"), Cow::Borrowed(b"c")]),
                _ => Value::text("it's"),
            }
        }
    }

    fn parse(text: &str) -> Template {
        Template::parse(text).expect("a good template")
    }

    #[test]
    fn parts_of_a_path() {
        let part = |part: ItemPart, path: &'static str| {
            std::str::from_utf8(part.of(path.as_bytes())).expect("still UTF-8")
        };
        assert_eq!(part(ItemPart::Name, "a/b.tar.gz"), "b.tar.gz");
        assert_eq!(part(ItemPart::Stem, "a/b.tar.gz"), "b.tar");
        assert_eq!(part(ItemPart::Ext, "a/b.tar.gz"), "gz");
        assert_eq!(part(ItemPart::Dir, "a/b/c"), "a/b");
        assert_eq!(part(ItemPart::Dir, "c"), ".");
        assert_eq!(part(ItemPart::Dir, "/c"), "/");
        assert_eq!(part(ItemPart::Stem, ".env"), ".env");
        assert_eq!(part(ItemPart::Ext, ".env"), "");
    }

    #[test]
    fn values_are_quoted_for_the_shell() {
        let shell = parse("x {{ item }} {{item.stem|upper}}.{{ item.ext | lower }} {{ in }}")
            .render_shell(&Sample);
        assert_eq!(String::from_utf8_lossy(&shell), "x 'raw/my day.CSV' 'MY DAY'.csv 'a b' c");
        let raw = parse("{{ params.p | raw }}").render_shell(&Sample);
        assert_eq!(raw, b"it's");
    }

    #[test]
    fn several_values_become_several_arguments() {
        assert_eq!(parse("{{ in }}").render_arguments(&Sample), [b"a b".to_vec(), b"c".to_vec()]);
        assert_eq!(parse("-f{{ in }}").render_arguments(&Sample), [b"-fa b c".to_vec()]);
    }

    #[test]
    fn values_as_json() {
        assert_eq!(parse("{{ in | json }}").render(&Sample), br#"["a b","c"]"#);
        assert_eq!(parse("{{ item.name | json }}").render(&Sample), br#""my day.CSV""#);
    }

    #[test]
    fn go_templates_and_double_braces_stay() {
        let text = parse("docker ps --format '{{.Names}} {{ .ID }}' {{{{x}}");
        assert_eq!(text.render(&Sample), b"docker ps --format '{{.Names}} {{ .ID }}' {{x}}");
        assert!(text.is_plain());
    }

    #[test]
    fn all_mistakes_are_found_at_once() {
        let faults =
            Template::parse("{{ itme }} {{ run.me }} {{ item | shout }} {{ params }} {{ x")
                .expect_err("five mistakes");
        let labels: Vec<_> = faults.iter().map(|fault| fault.label.as_str()).collect();
        assert_eq!(
            labels,
            [
                "there is no `itme`; did you mean `item`?",
                "there is no `run.me`; did you mean `run.id`?",
                "there is no filter `shout`; there are raw, json, upper, lower",
                "`params` wants a field: `params.NAME`",
                "is not closed by `}}`; `{{{{` stands for a plain `{{`",
            ]
        );
        assert_eq!(faults[1].range, 11..23);
    }
}
