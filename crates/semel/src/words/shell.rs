//! What can be known of a shell command without running it: where a
//! placeholder stands, and which programs are named.
//!
//! This is a lexer for the POSIX shell and bash, not a parser: it follows
//! quotes, substitutions, here-documents and comments, and finds where simple
//! commands begin. It accepts anything; what the shell will not accept, the
//! shell itself will say.
//!
//! Invariant: a placeholder that is called [`Place::Bare`] may be replaced by a
//! quoted value, and the shell sees that value as part of one word.

use std::borrow::Cow;
use std::ops::Range;

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

/// A word of a simple command: its text where that is plain, else `None`.
type Word = Option<String>;

/// What a shell command says of itself.
#[derive(Debug, Default)]
pub struct Reading {
    /// For each placeholder, in order, where it stands.
    pub places: Vec<Place>,
    /// The files that hold programs, as they are named: the first word of each
    /// simple command where it has a slash, and the script behind a known
    /// interpreter. Each once.
    pub programs: Vec<String>,
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
        heredocs: Vec::new(),
        reading: Reading::default(),
    };
    lexer.commands(Until::End);
    lexer.reading
}

/// The programs that a command given word by word names.
#[must_use]
pub fn programs_of(words: &[Option<&str>]) -> Vec<String> {
    let words: Vec<Word> = words.iter().map(|w| w.map(str::to_owned)).collect();
    let mut reading = Reading::default();
    reading.note(&words);
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

    /// Reads commands up to what ends them, and steps over that.
    fn commands(&mut self, until: Until) {
        let mut words: Vec<Word> = Vec::new();
        let mut cases = 0_u32;
        while !self.done() {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'\n' => {
                    self.end_command(&mut words, &mut cases);
                    self.at += 1;
                    self.here_documents();
                }
                b'#' => self.comment(),
                b'`' if until == Until::Backtick => {
                    self.at += 1;
                    break;
                }
                b')' if until == Until::Parenthesis && cases == 0 => {
                    self.at += 1;
                    break;
                }
                b'(' if self.peek(1) == b'(' && words.is_empty() => {
                    self.at += 2;
                    self.arithmetic();
                }
                b'(' => {
                    self.end_command(&mut words, &mut cases);
                    self.at += 1;
                    self.commands(Until::Parenthesis);
                }
                b';' | b'&' | b'|' | b')' if !self.starts_with(b"&>") => {
                    self.end_command(&mut words, &mut cases);
                    self.at += 1;
                }
                b'<' | b'>' | b'&' => self.redirection(),
                _ => {
                    let word = self.word();
                    let redirects = matches!(self.peek(0), b'<' | b'>')
                        && word.as_deref().is_some_and(is_number);
                    if !redirects {
                        words.push(word);
                    }
                    if words.len() == 1 && opens_commands(words[0].as_deref()) {
                        words.clear();
                    }
                }
            }
        }
        self.end_command(&mut words, &mut cases);
    }

    fn end_command(&mut self, words: &mut Vec<Word>, cases: &mut u32) {
        match words.first().and_then(Option::as_deref) {
            Some("case") => *cases += 1,
            Some("esac") => *cases = cases.saturating_sub(1),
            _ => {}
        }
        self.reading.note(words);
        words.clear();
    }

    fn comment(&mut self) {
        while !self.done() && self.peek(0) != b'\n' {
            if !self.hole(Place::Comment) {
                self.at += 1;
            }
        }
    }

    /// Steps over a redirection and its operand, or notes a here-document.
    fn redirection(&mut self) {
        if self.starts_with(b"<(") || self.starts_with(b">(") {
            self.at += 2;
            self.commands(Until::Parenthesis);
            return;
        }
        let here = self.starts_with(b"<<") && !self.starts_with(b"<<<");
        while matches!(self.peek(0), b'<' | b'>' | b'&' | b'|') {
            self.at += 1;
        }
        let tabs_stripped = here && self.peek(0) == b'-';
        if tabs_stripped {
            self.at += 1;
        }
        while matches!(self.peek(0), b' ' | b'\t') {
            self.at += 1;
        }
        if matches!(self.peek(0), b'<' | b'>') {
            return; // `< <(…)`: the substitution is read as the next thing
        }
        let from = self.at;
        let operand = self.word();
        if here {
            let delimiter = match operand {
                Some(word) => word.into_bytes(),
                None => self.text[from..self.at].to_vec(),
            };
            self.heredocs.push(HereDocument { delimiter, tabs_stripped });
        }
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
    fn word(&mut self) -> Word {
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
        if self.at == from {
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
            self.commands(Until::Parenthesis);
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
        self.commands(Until::Backtick);
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
        let mut rest = words;
        while let Some((first, tail)) = rest.split_first() {
            let Some(first) = first.as_deref() else {
                return;
            };
            rest = tail;
            if is_assignment(first) {
                continue;
            }
            match base_name(first) {
                "exec" | "command" | "builtin" | "nohup" | "env" | "setsid" => {
                    rest = after_options(rest, &["-u", "-a", "-C", "-S"]);
                }
                "nice" => rest = after_options(rest, &["-n"]),
                "timeout" => {
                    rest = after_options(rest, &["-s", "-k"]);
                    rest = rest.split_first().map_or(rest, |(_duration, tail)| tail);
                }
                name => {
                    if first.contains('/') {
                        self.program(first);
                    }
                    if let Some(script) = script_of(name, rest) {
                        self.program(script);
                    }
                    return;
                }
            }
        }
    }

    fn program(&mut self, path: &str) {
        if !self.programs.iter().any(|known| known == path) {
            self.programs.push(path.to_owned());
        }
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim_end_matches('+');
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// What follows the options of a command; `with_value` take the next word too.
fn after_options<'a>(words: &'a [Word], with_value: &[&str]) -> &'a [Word] {
    let mut rest = words;
    while let Some((Some(word), tail)) = rest.split_first() {
        if !word.starts_with('-') || word == "-" {
            break;
        }
        rest = tail;
        if word == "--" {
            break;
        }
        let takes_next = |flag: &&str| word == flag || ends_cluster(word, flag);
        if with_value.iter().any(takes_next) {
            rest = rest.split_first().map_or(rest, |(_value, tail)| tail);
        }
    }
    rest
}

/// The file with the program that an interpreter is given.
fn script_of<'a>(interpreter: &str, words: &'a [Word]) -> Option<&'a str> {
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
        .flatten()
        .any(|option| inline.iter().any(|flag| option == flag || ends_cluster(option, flag)));
    if is_inline {
        return None;
    }
    script.first()?.as_deref()
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
fn file_option(words: &[Word]) -> Option<&str> {
    let mut words = words.iter().map(Option::as_deref);
    while let Some(word) = words.next() {
        let Some(word) = word else { continue };
        if word == "-f" || word == "--file" || ends_cluster(word, "-f") {
            return words.next()?;
        }
        if let Some(file) = word.strip_prefix("--file=") {
            return Some(file);
        }
        if let Some(file) = word.strip_prefix("-f").filter(|file| !file.is_empty()) {
            return Some(file);
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
        fn any_text_is_read_to_its_end(text in "[a-z '\"`$(){}<>|&;#\\\\\n=-]{0,60}") {
            let marked = format!("{text}{{{{x}}}} {text}{{{{x}}}}");
            let second = text.len() + 6 + text.len();
            let reading = read(&marked, &[text.len()..text.len() + 5, second..marked.len()]);
            proptest::prop_assert_eq!(reading.places.len(), 2);
        }
    }
}
