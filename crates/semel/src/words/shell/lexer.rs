//! The lexer: follows quotes, substitutions, here-documents and comments, and finds
//! where simple commands begin.

use std::ops::Range;

use super::{Joint, Place, Reading, Redirection, Simple, Variable, Word};

/// What ends a list of commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Parenthesis,
    Backtick,
}

pub(super) struct Lexer<'a> {
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
    /// Whether the shell puts values in.
    expands: bool,
}

impl<'a> Lexer<'a> {
    /// Reads a text to its end.
    pub(super) fn read(text: &'a str, holes: &'a [Range<usize>]) -> Reading {
        let mut lexer = Self {
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
        lexer.reading
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn starts_with(&self, text: &[u8]) -> bool {
        self.text[self.at..].starts_with(text)
    }

    fn done(&self) -> bool {
        self.at >= self.text.len()
    }

    /// Notes what stands between commands from here on up to where we are.
    fn join(&mut self, text: &str, from: usize) {
        if self.depth == 0 {
            let range = from..self.at.min(self.text.len());
            self.reading.joints.push(Joint { text: text.to_owned(), range });
        }
    }

    /// Notes a variable; its name begins at `name`, it itself at `from`, and ends where
    /// we are.
    fn variable(&mut self, from: usize, name: usize) {
        let rest = &self.text[name.min(self.at)..self.at];
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
        let length = match rest.first() {
            Some(b'0'..=b'9') => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            Some(byte) if is_word(&byte) => rest.iter().take_while(is_word).count(),
            Some(b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-') => 1,
            _ => return,
        };
        let name = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.reading.variables.push(Variable { name, range: from..self.at });
    }

    /// Steps over `$` and the name behind it.
    fn plain_variable(&mut self) {
        let from = self.at;
        self.at += 1;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match self.peek(0) {
            b'0'..=b'9' | b'@' | b'*' | b'#' | b'?' | b'$' | b'!' | b'-' => self.at += 1,
            _ => {
                while is_word(self.peek(0)) {
                    self.at += 1;
                }
            }
        }
        self.variable(from, from + 1);
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

    /// Reads commands up to what ends them, and steps over that; whether it came.
    /// `reads_pipe` says whether a pipe leads into the first of them.
    fn commands(&mut self, until: Until, reads_pipe: bool) -> bool {
        let mut simple = Simple { reads_pipe, ..Simple::default() };
        let mut cases = 0_u32;
        let mut descriptor = None;
        while !self.done() {
            match self.peek(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'\\' if self.peek(1) == b'\n' => self.at += 2,
                b'\n' => {
                    self.end_command(&mut simple, &mut cases, false);
                    let from = self.at;
                    self.at += 1;
                    self.here_documents();
                    self.join("\n", from);
                }
                b'#' => {
                    let from = self.at;
                    self.comment();
                    self.join("#", from);
                }
                // Between `[[` and `]]` these compare, group and match.
                b'(' | b')' | b'<' | b'>' | b'|' | b'&' if simple.is_in_test() => self.at += 1,
                b'`' if until == Until::Backtick => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    return true;
                }
                b')' if until == Until::Parenthesis && cases == 0 => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    return true;
                }
                b'(' if self.peek(1) == b'('
                    && (simple.words.is_empty() || simple.word(0) == Some("for")) =>
                {
                    let from = self.at;
                    self.at += 2;
                    self.arithmetic();
                    if simple.words.is_empty() {
                        self.join("((", from);
                    }
                }
                b'(' => {
                    self.end_command(&mut simple, &mut cases, false);
                    self.at += 1;
                    self.join("(", self.at - 1);
                    let reads_pipe = std::mem::take(&mut simple.reads_pipe);
                    if self.commands(Until::Parenthesis, reads_pipe) {
                        self.join(")", self.at - 1);
                    }
                }
                b';' | b'&' | b'|' | b')' if !self.starts_with(b"&>") => {
                    // In a `case`, a bar may stand between patterns.
                    let in_case = cases > 0 || simple.word(0) == Some("case");
                    let pipes = self.peek(0) == b'|' && self.peek(1) != b'|' && !in_case;
                    self.end_command(&mut simple, &mut cases, pipes);
                    let is_double =
                        [&b"||"[..], b"&&", b"|&"].iter().any(|op| self.starts_with(op));
                    let from = self.at;
                    self.at += if is_double { 2 } else { 1 };
                    // The one that ends a pattern of a `case` joins nothing.
                    if self.text[from] != b')' {
                        let text = String::from_utf8_lossy(&self.text[from..self.at]).into_owned();
                        self.join(&text, from);
                    }
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
                        let opener = simple.word(0).unwrap_or_default().to_owned();
                        self.join(&opener, from);
                        simple.words.clear();
                        simple.range = 0..0;
                    }
                }
            }
        }
        self.end_command(&mut simple, &mut cases, false);
        until == Until::End
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
            let is_quoted = |byte: &u8| matches!(byte, b'\'' | b'"' | b'\\');
            let expands = !self.text[from..self.at].iter().any(is_quoted);
            self.heredocs.push(HereDocument { delimiter, tabs_stripped, expands });
        }
        Some(Redirection { descriptor, operator, operand })
    }

    fn here_documents(&mut self) {
        for document in std::mem::take(&mut self.heredocs) {
            let HereDocument { delimiter, tabs_stripped, expands } = document;
            while !self.done() {
                let length = memchr::memchr(b'\n', &self.text[self.at..]);
                let end = length.map_or(self.text.len(), |length| self.at + length);
                let mut line = &self.text[self.at..end];
                while tabs_stripped && line.first() == Some(&b'\t') {
                    line = &line[1..];
                }
                let last = line == delimiter;
                while self.at < end {
                    if self.hole(Place::HereDocument) {
                        continue;
                    }
                    // A placeholder is no part of what stands before it.
                    if self.hole_begins(self.at + 1) {
                        self.at += 1;
                        continue;
                    }
                    match self.peek(0) {
                        b'\\' if expands => self.at = (self.at + 2).min(end),
                        // Both forms of a name are found; what else stands between
                        // braces is text like any other.
                        b'$' if expands && self.peek(1) == b'{' => {
                            self.at += 2;
                            let from = self.at;
                            while self.at < end
                                && !self.hole_begins(self.at)
                                && self.peek(0) != b'}'
                            {
                                self.at += 1;
                            }
                            self.variable(from - 2, from);
                        }
                        b'$' if expands => self.plain_variable(),
                        _ => self.at += 1,
                    }
                }
                self.at = (self.at + 1).min(self.text.len());
                if last {
                    break;
                }
            }
        }
    }

    /// Reads what stands for itself, or for what nobody knows yet.
    fn byte_or_substitution(&mut self, place: Place, text: &mut Option<Vec<u8>>) {
        match self.peek(0) {
            b'$' => {
                self.dollar(place);
                *text = None;
            }
            b'`' => {
                self.backticks();
                *text = None;
            }
            byte => {
                self.at += 1;
                append(text, Some(vec![byte]));
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
                _ => self.byte_or_substitution(Place::Bare, &mut text),
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
                _ => self.byte_or_substitution(Place::DoubleQuotes, &mut text),
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
            let from = self.at;
            self.at += 2;
            let is_asked_about = matches!(self.peek(0), b'#' | b'!') && self.peek(1) != b'}';
            let name = self.at + usize::from(is_asked_about);
            self.braces(place);
            self.variable(from, name);
        } else if self.starts_with(b"$'") && place == Place::Bare {
            self.dollar_quotes();
        } else {
            self.plain_variable();
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
                byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                    // Here a name stands for its value without a dollar sign, too.
                    let from = self.at;
                    while self.peek(1).is_ascii_alphanumeric() || self.peek(1) == b'_' {
                        self.at += 1;
                    }
                    self.at += 1;
                    if !byte.is_ascii_digit() {
                        self.variable(from, from);
                    }
                    continue;
                }
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
