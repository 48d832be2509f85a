//! What can be known of a shell command without running it: where a
//! placeholder stands, which programs are named, and which simple commands
//! there are.
//!
//! This is a lexer for the POSIX shell and bash, not a parser: it follows
//! quotes, substitutions, here-documents and comments, and finds where simple
//! commands begin. It accepts anything; what the shell will not accept, the
//! shell itself will say.
//!
//! Invariant: a placeholder that is called [`Place::Bare`] may be replaced by a
//! quoted value, and the shell sees that value as part of one word.

mod simple;

use std::borrow::Cow;
use std::ops::Range;

pub use simple::{Redirection, Simple, Word};

/// Where in a shell command a placeholder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the open, alone or as a part of a word.
    Bare,
    /// Between single quotes.
    SingleQuotes,
    /// Between double quotes.
    DoubleQuotes,
    /// Between backticks.
    Backticks,
    /// In a here-document.
    HereDocument,
    /// In a comment.
    Comment,
    /// In `$(( … ))`.
    Arithmetic,
    /// Behind a backslash or a dollar sign.
    Escaped,
}

/// What a shell command says of itself.
#[derive(Debug, Default)]
pub struct Reading {
    /// For each placeholder, in order, where it stands.
    pub places: Vec<Place>,
    /// The files that hold programs, as they are named: the first word of each
    /// simple command where it has a slash, and the script behind a known
    /// interpreter. Each once.
    pub programs: Vec<String>,
    /// The simple commands, in the order in which they begin.
    pub simples: Vec<Simple>,
}

/// Reads a shell command; `holes` are the byte ranges of its placeholders.
#[must_use]
pub fn read(text: &str, holes: &[Range<usize>]) -> Reading {
    let mut lexer = Lexer {
        text: text.as_bytes(),
        at: 0,
        holes,
        next_hole: 0,
        in_backticks: false,
        depth: 0,
        heredocs: Vec::new(),
        reading: Reading::default(),
    };
    lexer.commands(Until::End, false);
    let mut reading = lexer.reading;
    reading.simples.sort_by_key(|simple| (simple.range.start, simple.depth));
    reading
}

/// The programs that a command given word by word names.
#[must_use]
pub fn programs_of(words: &[Option<&str>]) -> Vec<String> {
    let mut reading = Reading::default();
    reading.note(&Simple::of(words).words);
    reading.programs
}

/// A value quoted so that a POSIX shell takes it for one word of these bytes.
///
/// A NUL byte, which no argument can hold, is for the caller to refuse.
#[must_use]
pub fn quote(value: &[u8]) -> Cow<'_, [u8]> {
    shlex::bytes::Quoter::new().allow_nul(true).quote(value).unwrap_or(Cow::Borrowed(value))
}

/// A command line, quoted word by word for any POSIX shell.
#[must_use]
pub fn quote_words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@,+%=".contains(c);
    let quoted = |word: &str| {
        // As an argument `a=b` stands for itself; only a first word would assign.
        if !word.is_empty() && !word.starts_with('=') && word.chars().all(is_plain) {
            return word.to_owned();
        }
        String::from_utf8_lossy(&quote(word.as_bytes())).into_owned()
    };
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Parenthesis,
    Backtick,
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    holes: &'a [Range<usize>],
    next_hole: usize,
    in_backticks: bool,
    /// How many substitutions we are in.
    depth: u32,
    /// Delimiters of here-documents whose text begins after this line.
    heredocs: Vec<HereDocument>,
    reading: Reading,
}

struct HereDocument {
    delimiter: Vec<u8>,
    tabs_stripped: bool,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.text[self.at..].starts_with(text)
    }

    fn done(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Steps over a placeholder that begins here, noting where it stands.
    fn hole(&mut self, place: Place) -> bool {
        if !self.hole_begins(self.at) {
            return false;
        }
        self.at = self.holes[self.next_hole].end;
        self.next_hole += 1;
        self.reading.places.push(place);
        true
    }

    /// Reads commands up to what ends them, and steps over that. `reads_pipe`
    /// says whether a pipe leads into the first of them.
    fn commands(&mut self, until: Until, reads_pipe: bool) {
        let mut simple = Simple { reads_pipe, ..Simple::default() };
        let mut cases = 0_u32;
        let mut descriptor = None;
        while !self.done() {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'\n' => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    self.here_documents();
                }
                b'#' => self.comment(),
                // Between `[[` and `]]` these compare, group and match.
                b'(' | b')' | b'<' | b'>' | b'|' | b'&' if simple.is_in_test() => self.at += 1,
                b'`' if until == Until::Backtick => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    return;
                }
                b')' if until == Until::Parenthesis && cases == 0 => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    return;
                }
                b'(' if self.peek(1) == b'('
                    && (simple.words.is_empty() || simple.word(0) == Some("for")) =>
                {
                    self.at += 2;
                    self.arithmetic();
                }
                b'(' => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    let reads_pipe = std::mem::take(&mut simple.reads_pipe);
                    self.commands(Until::Parenthesis, reads_pipe);
                }
                b';' | b'&' | b'|' | b')' if !self.starts_with(b"&>") => {
                    // In a `case`, a bar may stand between patterns.
                    let in_case = cases > 0 || simple.word(0) == Some("case");
                    let pipes = self.peek(0) == b'|' && self.peek(1) != b'|' && !in_case;
                    self.end_command(&mut simple, &mut cases, pipes);
                    let is_double =
                        [&b"||"[..], b"&&", b"|&"].iter().any(|op| self.starts_with(op));
                    self.at += if is_double { 2 } else { 1 };
                }
                b'<' | b'>' | b'&' => {
                    let from = self.at;
                    if let Some(redirection) = self.redirection(descriptor.take()) {
                        simple.reaches(from..self.at);
                        simple.redirections.push(redirection);
                    }
                }
                _ => {
                    let from = self.at;
                    let word = Word { text: self.word(), range: from..self.at };
                    let number = word.text.as_deref().filter(|word| is_number(word));
                    if let Some(number) = number
                        && matches!(self.peek(0), b'<' | b'>')
                    {
                        descriptor = number.parse().ok();
                        continue;
                    }
                    simple.reaches(word.range.clone());
                    simple.words.push(word);
                    if simple.words.len() == 1 && opens_commands(simple.word(0)) {
                        simple.words.clear();
                        simple.range = 0..0;
                    }
                }
            }
        }
        self.end_command(&mut simple, &mut cases, false);
    }

    /// Notes a simple command, if there is one; `pipes` says whether a pipe leads
    /// out of it, and so into the next.
    fn end_command(&mut self, simple: &mut Simple, cases: &mut u32, pipes: bool) {
        match simple.word(0) {
            Some("case") => *cases += 1,
            Some("esac") => *cases = cases.saturating_sub(1),
            _ => {}
        }
        self.reading.note(&simple.words);
        if !simple.is_empty() {
            let next = Simple { reads_pipe: pipes, ..Simple::default() };
            let mut done = std::mem::replace(simple, next);
            done.writes_pipe = pipes;
            done.depth = self.depth;
            self.reading.simples.push(done);
        } else if pipes {
            simple.reads_pipe = true;
        }
    }

    /// Reads the commands of a substitution.
    fn substitution(&mut self, until: Until) {
        self.depth += 1;
        self.commands(until, false);
        self.depth -= 1;
    }

    fn comment(&mut self) {
        while !self.done() && self.peek(0) != b'\n' {
            if !self.hole(Place::Comment) {
                self.at += 1;
            }
        }
    }

    /// Steps over a redirection and its operand, or notes a here-document.
    fn redirection(&mut self, descriptor: Option<u32>) -> Option<Redirection> {
        if self.starts_with(b"<(") || self.starts_with(b">(") {
            self.at += 2;
            self.substitution(Until::Parenthesis);
            return None;
        }
        let begin = self.at;
        let here = self.starts_with(b"<<") && !self.starts_with(b"<<<");
        while matches!(self.peek(0), b'<' | b'>' | b'&' | b'|') {
            self.at += 1;
        }
        let operator = String::from_utf8_lossy(&self.text[begin..self.at]).into_owned();
        let tabs_stripped = here && self.peek(0) == b'-';
        if tabs_stripped {
            self.at += 1;
        }
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
        if matches!(self.peek(0), b'<' | b'>') {
            return None; // `< <(…)`: the substitution is read as the next thing
        }
        let from = self.at;
        let text = self.word();
        let operand = Word { text, range: from..self.at };
        if here {
            let delimiter = match &operand.text {
                Some(word) => word.clone().into_bytes(),
                None => self.text[from..self.at].to_vec(),
            };
            self.heredocs.push(HereDocument { delimiter, tabs_stripped });
        }
        Some(Redirection { descriptor, operator, operand })
    }

    fn here_documents(&mut self) {
        for HereDocument { delimiter, tabs_stripped } in std::mem::take(&mut self.heredocs) {
            while !self.done() {
                let length = memchr::memchr(b'\n', &self.text[self.at..]);
                let end = length.map_or(self.text.len(), |length| self.at + length);
                let mut line = &self.text[self.at..end];
                while tabs_stripped && line.first() == Some(&b'\t') {
                    line = &line[1..];
                }
                let last = line == delimiter;
                while self.at < end {
                    if !self.hole(Place::HereDocument) {
                        self.at += 1;
                    }
                }
                self.at = (self.at + 1).min(self.text.len());
                if last {
                    break;
                }
            }
        }
    }

    /// Reads one word; its text, if no part of it is substituted.
    fn word(&mut self) -> Option<String> {
        let mut text = Some(Vec::new());
        let from = self.at;
        while !self.done() {
            if self.hole(Place::Bare) {
                text = None;
                continue;
            }
            match self.peek(0) {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'&' | b'|' | b'<' | b'>' | b')' => break,
                b'`' if self.in_backticks => break,
                // An array's values: `names=(a b c)`.
                b'(' if self.text[from..self.at].ends_with(b"=") => {
                    self.at += 1;
                    self.array_values();
                    text = None;
                }
                b'(' => break,
                b'\'' => {
                    let quoted = self.single_quotes();
                    append(&mut text, quoted);
                }
                b'"' => {
                    let quoted = self.double_quotes();
                    append(&mut text, quoted);
                }
                b'\\' => match self.escape() {
                    Some(b'\n') => {}
                    escaped => append(&mut text, escaped.map(|byte| vec![byte])),
                },
                b'$' => {
                    self.dollar(Place::Bare);
                    text = None;
                }
                b'`' => {
                    self.backticks();
                    text = None;
                }
                byte => {
                    self.at += 1;
                    append(&mut text, Some(vec![byte]));
                }
            }
        }
        if self.at == from && !self.done() {
            self.at += 1; // a lone byte that begins no word, so that reading goes on
        }
        String::from_utf8(text?).ok()
    }

    fn hole_begins(&self, at: usize) -> bool {
        self.holes.get(self.next_hole).is_some_and(|hole| hole.start == at)
    }

    /// Steps over a backslash and the byte that it takes.
    fn escape(&mut self) -> Option<u8> {
        self.at += 1;
        if self.hole(Place::Escaped) || self.done() {
            return None;
        }
        self.at += 1;
        Some(self.text[self.at - 1])
    }

    fn array_values(&mut self) {
        while !self.done() {
            match self.peek(0) {
                b')' => {
                    self.at += 1;
                    break;
                }
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'#' => self.comment(),
                _ => {
                    self.word();
                }
            }
        }
    }

    fn single_quotes(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let from = self.at;
        let mut plain = true;
        while !self.done() && self.peek(0) != b'\'' {
            if self.hole(Place::SingleQuotes) {
                plain = false;
            } else {
                self.at += 1;
            }
        }
        let text = self.text[from..self.at].to_vec();
        self.at = (self.at + 1).min(self.text.len());
        plain.then_some(text)
    }

    /// `$'…'`, in which a backslash takes the next byte.
    fn dollar_quotes(&mut self) {
        self.at += 2;
        while !self.done() && self.peek(0) != b'\'' {
            if !self.hole(Place::SingleQuotes) {
                if self.peek(0) == b'\\' {
                    self.escape();
                } else {
                    self.at += 1;
                }
            }
        }
        self.at = (self.at + 1).min(self.text.len());
    }

    fn double_quotes(&mut self) -> Option<Vec<u8>> {
        self.at += 1;
        let mut text = Some(Vec::new());
        while !self.done() && self.peek(0) != b'"' {
            if self.hole(Place::DoubleQuotes) {
                text = None;
                continue;
            }
            match self.peek(0) {
                b'\\' => {
                    let escaped = self.escape();
                    append(&mut text, escaped.map(|byte| vec![byte]));
                }
                b'$' => {
                    self.dollar(Place::DoubleQuotes);
                    text = None;
                }
                b'`' => {
                    self.backticks();
                    text = None;
                }
                byte => {
                    self.at += 1;
                    append(&mut text, Some(vec![byte]));
                }
            }
        }
        self.at = (self.at + 1).min(self.text.len());
        text
    }

    /// `$( … )`, `$(( … ))`, `${ … }`, `$'…'`, or a plain `$`.
    fn dollar(&mut self, place: Place) {
        if self.hole_begins(self.at + 1) {
            self.escape();
        } else if self.starts_with(b"$((") {
            self.at += 3;
            self.arithmetic();
        } else if self.starts_with(b"$(") {
            self.at += 2;
            self.substitution(Until::Parenthesis);
        } else if self.starts_with(b"${") {
            self.at += 2;
            self.braces(place);
        } else if self.starts_with(b"$'") && place == Place::Bare {
            self.dollar_quotes();
        } else {
            self.at += 1;
        }
    }

    fn arithmetic(&mut self) {
        let mut depth = 2_u32;
        while !self.done() && depth > 0 {
            if self.hole(Place::Arithmetic) {
                continue;
            }
            match self.peek(0) {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            self.at += 1;
        }
    }

    fn braces(&mut self, place: Place) {
        while !self.done() && self.peek(0) != b'}' {
            if self.hole(place) {
                continue;
            }
            match self.peek(0) {
                b'\\' => {
                    self.escape();
                }
                b'\'' if place == Place::Bare => {
                    self.single_quotes();
                }
                b'"' => {
                    self.double_quotes();
                }
                b'$' => self.dollar(place),
                b'`' => self.backticks(),
                _ => self.at += 1,
            }
        }
        self.at = (self.at + 1).min(self.text.len());
    }

    /// Between backticks a backslash means something else, and quoting a value
    /// cannot be relied on: every placeholder there is out of place.
    fn backticks(&mut self) {
        let before = self.reading.places.len();
        self.at += 1;
        let outside = std::mem::replace(&mut self.in_backticks, true);
        self.substitution(Until::Backtick);
        self.in_backticks = outside;
        for place in &mut self.reading.places[before..] {
            *place = Place::Backticks;
        }
    }
}

fn append(text: &mut Option<Vec<u8>>, more: Option<Vec<u8>>) {
    match (text.as_mut(), more) {
        (Some(text), Some(more)) => text.extend(more),
        _ => *text = None,
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words after which another command begins.
fn opens_commands(word: Option<&str>) -> bool {
    matches!(
        word,
        Some("if" | "then" | "else" | "elif" | "do" | "while" | "until" | "!" | "{" | "time")
    )
}

impl Reading {
    /// Notes the programs that a simple command names.
    fn note(&mut self, words: &[Word]) {
        let Some((first, rest)) = simple::unwrapped(words).split_first() else {
            return;
        };
        let Some(first) = first.text.as_deref() else {
            return;
        };
        if first.contains('/') {
            self.program(first);
        }
        if let Some(path) = script_of(base_name(first), rest).and_then(|script| script.path) {
            self.program(path);
        }
    }

    fn program(&mut self, path: &str) {
        if !self.programs.iter().any(|known| known == path) {
            self.programs.push(path.to_owned());
        }
    }
}

/// The last part of a path.
fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// What follows the options of a command; `with_value` take the next word too.
fn after_options<'a>(words: &'a [Word], with_value: &[&str]) -> &'a [Word] {
    let mut rest = words;
    while let Some((word, tail)) = rest.split_first() {
        let Some(word) = word.text.as_deref() else { break };
        if !word.starts_with('-') || word == "-" {
            break;
        }
        rest = tail;
        if word == "--" {
            break;
        }
        let takes_next = |flag: &&str| word == *flag || ends_cluster(word, flag);
        if with_value.iter().any(takes_next) {
            rest = rest.split_first().map_or(rest, |(_value, tail)| tail);
        }
    }
    rest
}

/// The program that an interpreter is given.
struct Script<'a> {
    /// The file that holds it, where that is plain.
    path: Option<&'a str>,
    /// The word that names it.
    word: &'a Word,
}

/// The program that an interpreter is given as a file.
fn script_of<'a>(interpreter: &str, words: &'a [Word]) -> Option<Script<'a>> {
    let (with_value, inline): (&[&str], &[&str]) = match interpreter {
        "sh" | "bash" | "dash" | "zsh" | "ksh" => (&["-o", "-O", "+o", "+O"], &["-c"]),
        "node" => (&["-r", "--require", "--import"], &["-e", "-p", "--eval", "--print"]),
        "ruby" | "perl" => (&["-I", "-r", "-C"], &["-e", "-E"]),
        "Rscript" => (&[], &["-e"]),
        "." | "source" => (&[], &[]),
        name if is_python(name) => (&["-W", "-X"], &["-c", "-m"]),
        "awk" | "gawk" | "mawk" | "nawk" | "sed" | "psql" => return file_option(words),
        _ => return None,
    };
    let script = after_options(words, with_value);
    let options = &words[..words.len() - script.len()];
    let is_inline = options
        .iter()
        .filter_map(|word| word.text.as_deref())
        .any(|option| inline.iter().any(|flag| option == *flag || ends_cluster(option, flag)));
    if is_inline {
        return None;
    }
    let word = script.first()?;
    Some(Script { path: word.text.as_deref(), word })
}

/// Whether `option` is several one-letter options in one word, the last of
/// which is `flag`: `-euc` ends in `-c`.
fn ends_cluster(option: &str, flag: &str) -> bool {
    option.len() > 2
        && flag.len() == 2
        && option.starts_with(&flag[..1])
        && option.ends_with(&flag[1..])
        && option[1..].bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python")
        .is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// The value of `-f FILE`, `-fFILE` or `--file=FILE`.
fn file_option(words: &[Word]) -> Option<Script<'_>> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(text) = word.text.as_deref() else { continue };
        if text == "-f" || text == "--file" || ends_cluster(text, "-f") {
            let word = words.next()?;
            return Some(Script { path: word.text.as_deref(), word });
        }
        let joined = text.strip_prefix("--file=").or_else(|| text.strip_prefix("-f"));
        if let Some(path) = joined.filter(|path| !path.is_empty()) {
            return Some(Script { path: Some(path), word });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the `{{x}}`s of a command stand.
    fn places(text: &str) -> Vec<Place> {
        let holes: Vec<_> =
            text.match_indices("{{x}}").map(|(at, hole)| at..at + hole.len()).collect();
        let reading = read(text, &holes);
        assert_eq!(reading.places.len(), holes.len(), "a placeholder was lost in {text}");
        reading.places
    }

    fn programs(text: &str) -> Vec<String> {
        read(text, &[]).programs
    }

    #[test]
    fn a_placeholder_in_the_open_is_bare() {
        use Place::Bare;
        for text in [
            "cp {{x}} b",
            "cp out/{{x}}.csv b",
            "a > {{x}}",
            "a 2>{{x}}",
            "for f in {{x}}; do echo $f; done",
            "echo \"$(wc -l < {{x}})\"",
            "echo \"${n:-$(cat {{x}})}\"",
            "case $a in (b) cat {{x}} ;; esac",
            "diff <(sort {{x}}) b",
            "f=({{x}} b)",
            "cat <<E\ntext\nE\ncp {{x}} b",
            "a && { b {{x}}; }",
            "awk '{ print $1 }' {{x}}",
            "echo it\\'s {{x}}",
            "[[ -e {{x}} ]]",
        ] {
            assert_eq!(places(text), [Bare], "{text}");
        }
    }

    #[test]
    fn a_placeholder_out_of_place_is_found() {
        for (text, place) in [
            ("psql -c \"\\copy t from {{x}}\"", Place::DoubleQuotes),
            ("echo '{{x}}'", Place::SingleQuotes),
            ("echo $'a\\'{{x}}'", Place::SingleQuotes),
            ("echo a # {{x}}", Place::Comment),
            ("cat <<E\n{{x}}\nE", Place::HereDocument),
            ("cat <<-'E'\n\t{{x}}\n\tE\n", Place::HereDocument),
            ("echo `cat {{x}}`", Place::Backticks),
            ("echo \"`cat {{x}}`\"", Place::Backticks),
            ("echo $(( {{x}} + 1 ))", Place::Arithmetic),
            ("(( {{x}} > 1 ))", Place::Arithmetic),
            ("echo \"${a:-{{x}}}\"", Place::DoubleQuotes),
            ("echo \\{{x}}", Place::Escaped),
            ("echo ${{x}}", Place::Escaped),
        ] {
            assert_eq!(places(text), [place], "{text}");
        }
    }

    #[test]
    fn quotes_do_not_leak_past_their_end() {
        use Place::{Bare, Comment, DoubleQuotes};
        assert_eq!(
            places("a \"{{x}}\" {{x}} # \"{{x}}\n{{x}}"),
            [DoubleQuotes, Bare, Comment, Bare]
        );
    }

    #[test]
    fn a_redirection_to_nothing_ends_with_the_text() {
        for text in ["a <<", "a <<`<", "a >", "a >> $(b >", "a <<<"] {
            let simples = read(text, &[]).simples;
            assert!(simples.iter().all(|simple| simple.range.end <= text.len()), "{text}");
        }
    }

    #[test]
    fn the_first_word_with_a_slash_is_a_program() {
        assert_eq!(programs("./clean.sh a | bin/sort > out/x"), ["./clean.sh", "bin/sort"]);
        assert_eq!(programs("A=b nice -n 5 ./a && env C=d ./b"), ["./a", "./b"]);
        assert_eq!(programs("x=$(./a) ; if ! ./b; then ./c; fi"), ["./a", "./b", "./c"]);
        assert_eq!(programs("timeout -k 5 10 ./a"), ["./a"]);
        assert!(programs("echo ./a > ./b; cat < ./c").is_empty());
    }

    #[test]
    fn the_script_behind_an_interpreter_is_a_program() {
        assert_eq!(programs("python3 -u clean.py raw.csv"), ["clean.py"]);
        assert_eq!(programs("/usr/bin/python3.11 a.py"), ["/usr/bin/python3.11", "a.py"]);
        assert_eq!(programs("sort x | awk -F, -f sum.awk"), ["sum.awk"]);
        assert_eq!(programs("bash -euo pipefail job.sh; . env.sh"), ["job.sh", "env.sh"]);
        assert_eq!(
            programs("psql --file=a.sql; sed -fb.sed x; psql -v x=$y -qf c.sql"),
            ["a.sql", "b.sed", "c.sql"]
        );
        assert!(
            programs("python3 -m http.server; bash -c 'x'; bash -euc x; perl -ne x").is_empty()
        );
    }

    #[test]
    fn a_program_named_twice_counts_once() {
        assert_eq!(programs("./a; ./a"), ["./a"]);
    }

    #[test]
    fn words_of_an_array_are_read_alike() {
        assert_eq!(programs_of(&[Some("python3"), Some("a.py"), None]), ["a.py"]);
        assert!(programs_of(&[None, Some("a.py")]).is_empty());
    }

    #[test]
    fn values_survive_a_real_shell() {
        for value in ["a b", "it's", "-x", "$HOME", "`a`", "a\nb", "!", "", "~", "ü", "*", "\\"] {
            let mut script = b"printf %s ".to_vec();
            script.extend_from_slice(&quote(value.as_bytes()));
            let script = String::from_utf8(script).expect("UTF-8 stays UTF-8");
            let said = std::process::Command::new("sh").arg("-c").arg(&script).output();
            assert_eq!(said.expect("sh runs").stdout, value.as_bytes(), "{script}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a-z '\"`$(){}\\[\\]<>|&;#\\\\\n=-]{0,60}") {
            let marked = format!("{text}{{{{x}}}} {text}{{{{x}}}}");
            let second = text.len() + 6 + text.len();
            let reading = read(&marked, &[text.len()..text.len() + 5, second..marked.len()]);
            proptest::prop_assert_eq!(reading.places.len(), 2);
            let ends = reading.simples.iter().map(|simple| simple.range.end);
            proptest::prop_assert!(ends.max().unwrap_or(0) <= marked.len());
        }
    }
}
