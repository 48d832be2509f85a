//! Words of a script whose text is known before it is run, but for what placeholders
//! put in.
//!
//! Invariant: what cannot be told exactly is not known.

use crate::words::shell;

/// A piece of a known word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// What the shell matches against names of files.
    Glob(String),
    /// A placeholder: `params.day`, `item.stem`.
    Hole(String),
}

/// A word that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) pieces: Vec<Piece>,
}

/// What the variable of a loop stands for.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) variable: String,
    /// The pattern of its files; `None` where the items are values.
    pub(super) pattern: Option<Known>,
}

impl Known {
    pub(super) fn text(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.to_owned())] }
    }

    pub(super) fn hole(name: &str) -> Self {
        Self { pieces: vec![Piece::Hole(name.to_owned())] }
    }

    fn push(&mut self, text: char) {
        match self.pieces.last_mut() {
            Some(Piece::Text(last)) => last.push(text),
            _ => self.pieces.push(Piece::Text(text.to_string())),
        }
    }

    /// One word behind the other.
    pub(super) fn joined(mut self, other: Self) -> Self {
        for piece in other.pieces {
            match piece {
                Piece::Text(text) => text.chars().for_each(|c| self.push(c)),
                other => self.pieces.push(other),
            }
        }
        self
    }

    pub(super) fn has_glob(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Glob(_)))
    }

    pub(super) fn names_item(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Hole(name) if is_item(name)))
    }

    pub(super) fn is_whole_item(&self) -> bool {
        matches!(self.pieces.as_slice(), [Piece::Hole(name)] if name == "item")
    }

    /// Its text, if nothing is put in.
    pub(super) fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// As the text of a pipeline file.
    pub(super) fn template(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Glob(text) => escape(text),
            Piece::Hole(name) => format!("{{{{ {name} }}}}"),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// As a pattern of files, if its plain text matches itself only.
    pub(super) fn pattern(&self) -> Option<String> {
        let is_plain = |piece: &Piece| !matches!(piece, Piece::Text(text) if text.contains(['*', '?', '[', ']', '{', '}', '\\']));
        // Two stars cross folders in semel, and are one in the shell.
        let template = self.template();
        (self.pieces.iter().all(is_plain) && !template.contains("**")).then_some(template)
    }

    /// As a word of a command, if its text needs no quotes.
    pub(super) fn word(&self) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@,+%=".contains(c);
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.chars().all(is_plain).then(|| text.clone()),
            Piece::Glob(_) => None,
            Piece::Hole(name) => Some(format!("{{{{ {name} }}}}")),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// As the value of an assignment in a command.
    pub(super) fn value(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Glob(text) => {
                escape(&String::from_utf8_lossy(&shell::quote(text.as_bytes())))
            }
            Piece::Hole(name) => format!("{{{{ {name} }}}}"),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The paths that it stands for, as a pattern: what an item puts in is what its own
    /// pattern takes.
    pub(super) fn shape(&self, item: Option<&Item>) -> String {
        let pattern = item.and_then(|item| item.pattern.as_ref()).map(Self::template);
        let pattern = pattern.unwrap_or_else(|| "*".to_owned());
        let (dir, name) = pattern.rsplit_once('/').unwrap_or((".", &pattern));
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) | Piece::Glob(text) => escape(text),
            Piece::Hole(hole) => match hole.as_str() {
                "item" => pattern.clone(),
                "item.name" => name.to_owned(),
                "item.dir" => dir.to_owned(),
                "item.stem" => name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned(),
                hole => format!("{{{{ {hole} }}}}"),
            },
        };
        let shape: String = self.pieces.iter().map(piece).collect();
        shape.strip_prefix("./").map_or(shape.clone(), str::to_owned)
    }

    /// The text behind its last pattern or placeholder.
    fn end(&self) -> &str {
        match self.pieces.last() {
            Some(Piece::Text(text)) => text,
            _ => "",
        }
    }
}

fn is_item(name: &str) -> bool {
    name == "item" || name.starts_with("item.")
}

/// Whether two patterns of files may take the same path. Of what a placeholder puts in
/// nothing is known.
pub(super) fn may_meet(one: &str, other: &str) -> bool {
    let (one, other) = without_common_beginning(one, other);
    let (one, other) = (parts(one), parts(other));
    // next[b]: whether what follows in `one` may be what follows in `other` from b on.
    let mut next = vec![false; other.len() + 1];
    for at in (0..=one.len()).rev() {
        let mut meets = vec![false; other.len() + 1];
        for by in (0..=other.len()).rev() {
            meets[by] = match (one.get(at), other.get(by)) {
                (None, None) => true,
                (Some(many), None) => many.is_many() && next[by],
                (None, Some(many)) => many.is_many() && meets[by + 1],
                (Some(left), Some(right)) => {
                    // Nothing stands for many, or one more of the other does.
                    let left_many =
                        left.is_many() && (next[by] || (left.takes(*right) && meets[by + 1]));
                    let right_many =
                        right.is_many() && (meets[by + 1] || (right.takes(*left) && next[by]));
                    let is_one = !left.is_many() && !right.is_many();
                    left_many || right_many || (is_one && left.takes(*right) && next[by + 1])
                }
            };
        }
        next = meets;
    }
    next[0]
}

/// Two patterns without what both begin with: a placeholder puts the same into both.
fn without_common_beginning<'t>(one: &'t str, other: &'t str) -> (&'t str, &'t str) {
    let (mut one, mut other) = (one, other);
    while let Some(c) = one.chars().next() {
        let length = match c {
            '*' | '?' | '[' => break,
            '{' if one.starts_with("{{ ") => one.find("}}").map_or(one.len(), |end| end + 2),
            c => c.len_utf8(),
        };
        let Some(rest) = other.strip_prefix(&one[..length]) else { break };
        (one, other) = (&one[length..], rest);
    }
    (one, other)
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    One(char),
    /// One character, but no slash.
    Any,
    /// Any number of them, but no slash.
    Many,
    /// Whatever.
    All,
}

impl Part {
    const fn is_many(self) -> bool {
        matches!(self, Self::Many | Self::All)
    }

    /// Whether what one stands for may be what another stands for.
    fn takes(self, other: Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => true,
            (Self::One('/'), other) | (other, Self::One('/')) => other == Self::One('/'),
            (Self::One(one), Self::One(other)) => one == other,
            _ => true,
        }
    }
}

fn parts(pattern: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '*' => {
                parts.push(Part::Many);
                1
            }
            '?' => {
                parts.push(Part::Any);
                1
            }
            '[' => {
                parts.push(Part::Any);
                rest.find(']').map_or(1, |end| end + 1)
            }
            '{' if rest.starts_with("{{ ") => {
                parts.push(Part::All);
                rest.find("}}").map_or(2, |end| end + 2)
            }
            c => {
                parts.push(Part::One(c));
                c.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    parts
}

/// A text in which no placeholder begins.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        escaped.push_str(&rest[..at]);
        rest = &rest[at + 2..];
        // Go templates are left alone.
        let is_left_alone = !rest.starts_with('{') && rest.trim_start().starts_with('.');
        escaped.push_str(if is_left_alone { "{{" } else { "{{{{" });
    }
    escaped + rest
}

/// Reads words; `value` tells what a variable is.
pub(super) struct Reader<'a> {
    pub(super) value: &'a dyn Fn(&str) -> Option<Known>,
    pub(super) item: Option<&'a Item>,
}

impl Reader<'_> {
    /// What a word says, if that is known.
    pub(super) fn read(&self, raw: &str) -> Option<Known> {
        let mut known = Known::default();
        let mut rest = raw;
        let mut in_quotes = false;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '"' => in_quotes = !in_quotes,
                '$' => rest = self.dollar(rest, in_quotes, &mut known)?,
                '`' => return None,
                '\\' => {
                    let next = rest.chars().next()?;
                    if in_quotes && !matches!(next, '$' | '`' | '"' | '\\' | '\n') {
                        known.push('\\');
                        continue;
                    }
                    rest = &rest[next.len_utf8()..];
                    if next != '\n' {
                        known.push(next);
                    }
                }
                c if in_quotes => known.push(c),
                '\'' => {
                    let (text, after) = rest.split_once('\'')?;
                    text.chars().for_each(|c| known.push(c));
                    rest = after;
                }
                '*' | '?' => known.pieces.push(Piece::Glob(c.to_string())),
                '[' => {
                    let (set, after) = rest.split_once(']')?;
                    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '!';
                    if set.is_empty() || !set.chars().all(is_plain) {
                        return None;
                    }
                    known.pieces.push(Piece::Glob(format!("[{set}]")));
                    rest = after;
                }
                '~' if known.pieces.is_empty() => return None,
                '{' | '}' | '(' | ')' | '<' | '>' | '|' | '&' | ';' => return None,
                c if c.is_whitespace() || c.is_control() => return None,
                c => known.push(c),
            }
        }
        (!in_quotes).then_some(known)
    }

    /// Reads what stands behind a dollar sign; gives what stands behind that.
    fn dollar<'t>(&self, rest: &'t str, in_quotes: bool, known: &mut Known) -> Option<&'t str> {
        let (value, rest) = if let Some(inside) = rest.strip_prefix('(') {
            let end = closing(inside)?;
            (self.substitution(&inside[..end])?, &inside[end + 1..])
        } else if let Some(inside) = rest.strip_prefix('{') {
            let (inside, after) = inside.split_once('}')?;
            (self.braces(inside)?, after)
        } else {
            let (name, after) = name_and_rest(rest);
            ((self.value)(name)?, after)
        };
        let splits = |piece: &Piece| match piece {
            Piece::Text(text) => text.contains(|c: char| c.is_whitespace() || "*?[\\".contains(c)),
            Piece::Glob(_) => true,
            Piece::Hole(_) => false,
        };
        if (!in_quotes && value.pieces.iter().any(splits)) || value.has_glob() {
            return None;
        }
        for piece in value.pieces {
            match piece {
                Piece::Text(text) => text.chars().for_each(|c| known.push(c)),
                other => known.pieces.push(other),
            }
        }
        Some(rest)
    }

    /// `NAME`, or the name of the item's file without a part of it.
    fn braces(&self, inside: &str) -> Option<Known> {
        let (name, operation) = name_and_rest(inside);
        let value = (self.value)(name)?;
        match operation {
            "" => return Some(value),
            "##*/" if value.is_whole_item() => return self.part("name"),
            _ => {}
        }
        if !value.is_whole_item() {
            return None;
        }
        let suffix = operation.strip_prefix('%')?;
        let suffix = suffix.trim_start_matches('%');
        if !self.stem_is_without(suffix, operation.starts_with("%%")) {
            return None;
        }
        let stem = self.part("stem")?;
        if !self.item?.pattern.as_ref()?.template().contains('/') {
            return Some(stem);
        }
        let mut whole = self.part("dir")?;
        whole.push('/');
        whole.pieces.extend(stem.pieces);
        Some(whole)
    }

    /// `basename` and `dirname` of the item.
    fn substitution(&self, inside: &str) -> Option<Known> {
        let reading = shell::read(inside, &[]);
        let [simple] = reading.simples.as_slice() else {
            return None;
        };
        if !simple.redirections.is_empty() {
            return None;
        }
        let words: Vec<_> =
            simple.words.iter().map(|word| inside.get(word.range.clone())).collect();
        let words: Vec<&str> = words.into_iter().collect::<Option<_>>()?;
        match words.as_slice() {
            ["basename", item] if self.read(item)?.is_whole_item() => self.part("name"),
            ["basename", item, suffix] if self.read(item)?.is_whole_item() => {
                let suffix = self.read(suffix)?;
                self.stem_is_without(suffix.plain()?, false).then(|| self.part("stem"))?
            }
            ["dirname", item] if self.read(item)?.is_whole_item() => self.part("dir"),
            _ => None,
        }
    }

    /// A part of the item, if that is a file.
    fn part(&self, name: &str) -> Option<Known> {
        self.item?.pattern.as_ref()?;
        Some(Known::hole(&format!("item.{name}")))
    }

    /// Whether every item ends in this suffix, and it is what a stem lacks.
    fn stem_is_without(&self, suffix: &str, longest: bool) -> bool {
        let Some(pattern) = self.item.and_then(|item| item.pattern.as_ref()) else {
            return false;
        };
        let end = pattern.end();
        let Some((before, extension)) = end.rsplit_once('.') else {
            return false;
        };
        // A file that begins with the dot has no extension.
        let is_hidden = before.ends_with('/') || (before.is_empty() && pattern.pieces.len() == 1);
        let is_any = suffix == ".*" && !longest;
        !is_hidden
            && !extension.contains('/')
            && (is_any || suffix.strip_prefix('.') == Some(extension))
    }
}

/// Where the parenthesis ends that a text begins in.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0_u32;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            // What is more than plain words need not be known.
            '`' | '\'' | '\\' => return None,
            _ => {}
        }
    }
    None
}

/// The name that a text begins with, and what stands behind it.
fn name_and_rest(text: &str) -> (&str, &str) {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let end = match text.chars().next() {
        Some(c) if c.is_ascii_digit() => 1,
        _ => text.find(|c: char| !is_word(c)).unwrap_or(text.len()),
    };
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> Option<String> {
        let pattern = Reader { value: &|_| None, item: None }.read("raw/*.csv");
        let item = Item { variable: "f".to_owned(), pattern };
        let value = |name: &str| match name {
            "f" => Some(Known::hole("item")),
            "DAY" => Some(Known::hole("params.day")),
            "TITLE" => Some(Known::text("a b")),
            _ => None,
        };
        Reader { value: &value, item: Some(&item) }.read(raw).map(|known| known.template())
    }

    #[test]
    fn a_word_is_known_or_it_is_not() {
        for (raw, known) in [
            ("a/'b c'\"d\"\\ e", "a/b cd e"),
            ("\"report/$DAY.txt\"", "report/{{ params.day }}.txt"),
            ("${DAY}x", "{{ params.day }}x"),
            ("\"$TITLE\"", "a b"),
            ("clean/\"$DAY\"-*.csv", "clean/{{ params.day }}-*.csv"),
            ("\"clean/$DAY-$(basename \"$f\")\"", "clean/{{ params.day }}-{{ item.name }}"),
            ("out/$(basename $f .csv).txt", "out/{{ item.stem }}.txt"),
            ("${f%.csv}.txt", "{{ item.dir }}/{{ item.stem }}.txt"),
            ("${f##*/}", "{{ item.name }}"),
            ("$(dirname \"$f\")/x", "{{ item.dir }}/x"),
            ("x[0-9]y", "x[0-9]y"),
            ("'{{'", "{{{{"),
        ] {
            assert_eq!(read(raw).as_deref(), Some(known), "{raw}");
        }
        for raw in [
            "$TITLE",
            "$x",
            "~/a",
            "{a,b}",
            "`a`",
            "$(cat a)",
            "${f%.tsv}",
            "${f%%.*}",
            "${DAY%x}",
            "$(basename \"$f\" .tsv)",
            "\"a",
            "$((1))",
            "$",
            "a\\",
        ] {
            assert_eq!(read(raw), None, "{raw}");
        }
    }

    #[test]
    fn patterns_meet_where_a_path_may_be_taken_by_both() {
        for (one, other, meet) in [
            ("raw/*.csv", "raw/a.csv", true),
            ("raw/*.csv", "raw/sub/a.csv", false),
            ("*.csv", "out/*.csv", false),
            ("raw/{{ params.x }}", "raw/sub/*.csv", true),
            ("raw/*/*", "raw/?/a", true),
            ("{{ params.x }}/a-*", "{{ params.x }}/b/c", false),
            ("{{ params.x }}/a-*", "{{ params.y }}/b/a-c", true),
            ("raw/*.csv", "clean/*.csv", false),
            ("*.csv", "*.txt", false),
            ("a*c", "*b*", true),
            ("x-{{ params.day }}.csv", "x-*.csv", true),
            ("[ab].csv", "c.csv", true),
            ("a", "ab", false),
        ] {
            assert_eq!(may_meet(one, other), meet, "{one} {other}");
            assert_eq!(may_meet(other, one), meet, "{other} {one}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_is_read_as_it_was(text in "[a-z{} .]{0,30}") {
            struct Nothing;
            impl crate::words::template::Values for Nothing {
                fn value(&self, _: &crate::words::template::Name) -> crate::words::template::Value<'_> {
                    crate::words::template::Value::text("")
                }
            }
            let read = crate::words::template::Template::parse(&escape(&text));
            let read = read.expect("it has no placeholder");
            proptest::prop_assert_eq!(read.render(&Nothing), text.as_bytes());
        }
    }
}
