//! The statements of a script: what stands between two newlines or semicolons that are
//! in no loop, no condition, no group and no quotes.

use std::ops::Range;

use crate::words::shell::{self, Joint, Reading, Simple, Variable};

/// A statement of a script.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    /// The bytes of the script in which it stands.
    pub(super) range: Range<usize>,
    /// Its first and its last line.
    pub(super) lines: (usize, usize),
    /// What it says; places are those in its own text.
    pub(super) reading: Reading,
    pub(super) text: String,
    /// Whether the script goes on while it is at work.
    pub(super) is_in_background: bool,
    /// Whether it ends as it should: its loops, groups and here-documents are whole.
    pub(super) is_whole: bool,
}

impl Statement {
    /// A text that is a statement by itself.
    pub(super) fn of(text: &str, lines: (usize, usize)) -> Self {
        let text = text.trim().to_owned();
        let reading = shell::read(&text, &[]);
        let range = 0..text.len();
        Self { range, lines, reading, text, is_in_background: false, is_whole: true }
    }

    /// Its simple commands outside of substitutions.
    pub(super) fn outer(&self) -> impl Iterator<Item = &Simple> {
        self.reading.simples.iter().filter(|simple| simple.depth == 0)
    }

    /// Its only simple command, if there is nothing else but substitutions in it.
    pub(super) fn alone(&self) -> Option<&Simple> {
        let is_comment = |joint: &Joint| joint.text == "#" || joint.text == "\n";
        let mut outer = self.outer();
        let first = outer.next()?;
        (outer.next().is_none() && self.reading.joints.iter().all(is_comment)).then_some(first)
    }

    /// What is written in a part of it.
    pub(super) fn raw(&self, range: &Range<usize>) -> &str {
        self.text.get(range.clone()).unwrap_or("")
    }

    /// The word with which a simple command of it begins, as it is written.
    pub(super) fn head(&self, simple: &Simple) -> &str {
        simple.words.first().map_or("", |word| self.raw(&word.range))
    }

    pub(super) fn uses(&self, names: &[&str]) -> bool {
        self.variables().any(|variable| names.contains(&variable.name.as_str()))
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.reading.variables.iter()
    }

    /// Where the parentheses end that a part of it stands in; `None` where there are none.
    pub(super) fn group_end(&self, at: &Range<usize>) -> Option<usize> {
        let mut depth = 0_u32;
        for joint in self.reading.joints.iter().filter(|joint| joint.range.start >= at.end) {
            match joint.text.as_str() {
                "(" => depth += 1,
                ")" if depth == 0 => return Some(joint.range.start),
                ")" => depth -= 1,
                _ => {}
            }
        }
        None
    }

    /// The parts of it that are done only if a test holds.
    pub(super) fn conditional(&self) -> Vec<Range<usize>> {
        let simples = self.outer().map(Token::Simple);
        let mut tokens: Vec<_> =
            simples.chain(self.reading.joints.iter().map(Token::Joint)).collect();
        tokens.sort_by_key(|token| token.range().start);
        let mut found = Vec::new();
        // Of each `if` that is open: where its `then` ends, and whether there is an `else`.
        let mut open: Vec<(usize, bool)> = Vec::new();
        for token in tokens {
            match &token {
                Token::Joint(joint) => match (joint.text.as_str(), open.last_mut()) {
                    ("if", _) => open.push((usize::MAX, false)),
                    ("then", Some((then, _))) => *then = (*then).min(joint.range.end),
                    ("else", Some((_, has_else))) => *has_else = true,
                    ("||", _) => found.push(joint.range.end..self.text.len()),
                    _ => {}
                },
                Token::Simple(simple) if self.head(simple) == "fi" => {
                    if let Some((then, false)) = open.pop() {
                        found.push(then.min(simple.range.start)..simple.range.start);
                    }
                }
                Token::Simple(simple) if self.head(simple) == "case" => {
                    let end = self.outer().find(|end| {
                        self.head(end) == "esac" && end.range.start > simple.range.start
                    });
                    let end = end.map_or(self.text.len(), |end| end.range.start);
                    if !self.raw(&(simple.range.start..end)).contains("*)") {
                        found.push(simple.range.end..end);
                    }
                }
                Token::Simple(_) => {}
            }
        }
        found
    }

    /// `[ … ] && a` as `if [ … ]; then a; fi`: that the test does not hold is no failure.
    pub(super) fn guarded(&self) -> Option<String> {
        let first = self.outer().next();
        let joint =
            self.reading.joints.iter().find(|joint| !matches!(joint.text.as_str(), "#" | "(("))?;
        let is_test = match first.filter(|first| first.range.end <= joint.range.start) {
            Some(first) => matches!(first.name(), "test" | "[" | "[[" | "grep" | "cmp" | "diff"),
            None => self.text.starts_with("(("),
        };
        let is_plain = joint.text == "&&"
            && !self.text.contains("<<")
            && !self
                .reading
                .joints
                .iter()
                .any(|joint| matches!(joint.text.as_str(), "||" | "#" | "&"))
            && !self
                .reading
                .simples
                .iter()
                .any(|simple| simple.writes_pipe && simple.range.end <= joint.range.start);
        (is_test && is_plain).then(|| {
            let (test, rest) = (&self.text[..joint.range.start], &self.text[joint.range.end..]);
            format!("if {}; then {}; fi", test.trim_end(), rest.trim())
        })
    }

    /// The words of a loop's head, and its body: where that stands.
    pub(super) fn body(&self) -> Option<Range<usize>> {
        let first = self.reading.joints.iter().find(|joint| joint.text == "do")?;
        let last = self.outer().filter(|simple| self.head(simple) == "done").last()?;
        (first.range.end <= last.range.start).then_some(first.range.end..last.range.start)
    }
}

/// Something of which a statement is made, or at which it ends.
enum Token<'r> {
    Simple(&'r Simple),
    Joint(&'r Joint),
}

impl Token<'_> {
    const fn range(&self) -> &Range<usize> {
        match self {
            Self::Simple(simple) => &simple.range,
            Self::Joint(joint) => &joint.range,
        }
    }
}

/// All statements of a text whose first line has this number.
pub(super) fn statements(text: &str, first_line: usize) -> Vec<Statement> {
    let reading = shell::read(text, &[]);
    let simples = reading.simples.iter().filter(|simple| simple.depth == 0).map(Token::Simple);
    let mut tokens: Vec<_> = simples.chain(reading.joints.iter().map(Token::Joint)).collect();
    tokens.sort_by_key(|token| token.range().start);
    let mut splitter = Splitter { text, first_line, open: None, nesting: 0, found: Vec::new() };
    let mut leads_on = false;
    for token in tokens {
        match &token {
            Token::Simple(simple) => splitter.simple(simple),
            Token::Joint(joint) => match joint.text.as_str() {
                "#" => continue,
                "\n" if leads_on => {}
                "\n" | ";" | "&" if splitter.nesting == 0 => splitter.end(joint),
                _ => splitter.joint(joint),
            },
        }
        leads_on = match &token {
            Token::Joint(joint) if joint.text == "\n" => leads_on,
            Token::Joint(joint) => matches!(joint.text.as_str(), "&&" | "||" | "|" | "|&"),
            Token::Simple(_) => false,
        };
    }
    splitter.push(None);
    splitter.found
}

struct Splitter<'t> {
    text: &'t str,
    first_line: usize,
    open: Option<Range<usize>>,
    nesting: u32,
    found: Vec<Statement>,
}

impl Splitter<'_> {
    fn reach(&mut self, range: &Range<usize>) {
        let open = self.open.get_or_insert_with(|| range.clone());
        open.end = open.end.max(range.end);
    }

    fn simple(&mut self, simple: &Simple) {
        self.reach(&simple.range);
        let raw = |at: usize| {
            simple.words.get(at).and_then(|word| self.text.get(word.range.clone())).unwrap_or("")
        };
        let last = raw(simple.words.len().saturating_sub(1));
        match raw(0) {
            "for" | "select" | "case" => self.nesting += 1,
            "function" if last == "{" => self.nesting += 1,
            "done" | "fi" | "esac" | "}" => self.nesting = self.nesting.saturating_sub(1),
            _ => {}
        }
    }

    fn joint(&mut self, joint: &Joint) {
        match joint.text.as_str() {
            "if" | "while" | "until" | "{" | "(" => self.nesting += 1,
            ")" => self.nesting = self.nesting.saturating_sub(1),
            // What is blank at its beginning is no part of it.
            "\n" | ";" if self.open.is_none() => return,
            _ => {}
        }
        self.reach(&joint.range);
    }

    fn end(&mut self, joint: &Joint) {
        let holds_document = joint.range.len() > 1;
        if holds_document && self.open.is_some() {
            self.reach(&joint.range);
        }
        self.push(Some(joint));
    }

    fn push(&mut self, at: Option<&Joint>) {
        let Some(range) = self.open.take() else {
            return;
        };
        let text = self.text.get(range.clone()).unwrap_or("").trim_end().to_owned();
        let reading = shell::read(&text, &[]);
        let line = |at: usize| {
            let before = self.text.as_bytes().get(..at).unwrap_or_default();
            self.first_line + before.iter().filter(|byte| **byte == b'\n').count()
        };
        let documents = reading
            .simples
            .iter()
            .flat_map(|simple| &simple.redirections)
            .filter(|one| matches!(one.operator.as_str(), "<<"))
            .count();
        let bodies = reading.joints.iter().filter(|joint| joint.range.len() > 1).count();
        self.found.push(Statement {
            lines: (line(range.start), line(range.start + text.len().saturating_sub(1))),
            is_in_background: at.is_some_and(|joint| joint.text == "&"),
            is_whole: self.nesting == 0
                && (documents == 0 || bodies > 0)
                && (at.is_some() || !is_open(&text)),
            range: range.start..range.start + text.len(),
            reading,
            text,
        });
        self.nesting = 0;
    }
}

/// Whether a quote or a substitution goes on at the end of a text.
fn is_open(text: &str) -> bool {
    let after = shell::read(&format!("{text}\n:"), &[]);
    let ends = |simple: &Simple| simple.range == (text.len() + 1..text.len() + 2);
    !after.simples.iter().any(|simple| simple.depth == 0 && ends(simple))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        statements(text, 1).into_iter().map(|statement| statement.text).collect()
    }

    #[test]
    fn statements_end_at_newlines_and_semicolons_that_are_in_nothing() {
        assert_eq!(texts("a; b\n# c\n\nd # e\nf"), ["a", "b", "d", "f"]);
        assert_eq!(texts("a &&\n  b |\n\n c\nd"), ["a &&\n  b |\n\n c", "d"]);
        assert_eq!(texts("a \\\n b\nc & d"), ["a \\\n b", "c", "d"]);
        assert_eq!(
            texts("for f in a; do\n b; c\ndone > x; d"),
            ["for f in a; do\n b; c\ndone > x", "d"]
        );
        assert_eq!(texts("if a; then b; fi\n(c; d) && e"), ["if a; then b; fi", "(c; d) && e"]);
        assert_eq!(texts("f() {\n a; b\n}\nf x"), ["f() {\n a; b\n}", "f x"]);
        assert_eq!(texts("[ -e l ] && { a; b; }; c"), ["[ -e l ] && { a; b; }", "c"]);
        assert_eq!(texts("cat <<E > x\na; b\nE\nc"), ["cat <<E > x\na; b\nE", "c"]);
        assert_eq!(
            texts("case $x in\n a|b) c ;;\n *) d;;\nesac\ne"),
            ["case $x in\n a|b) c ;;\n *) d;;\nesac", "e"]
        );
        assert_eq!(texts("a \"b\nc\"; d"), ["a \"b\nc\"", "d"]);
    }

    #[test]
    fn each_knows_its_lines_and_whether_it_is_whole() {
        let all = statements("a\n\nfor f in b; do\n c\ndone\nd &\nif e; then", 3);
        let told: Vec<_> =
            all.iter().map(|one| (one.lines, one.is_in_background, one.is_whole)).collect();
        assert_eq!(
            told,
            [
                ((3, 3), false, true),
                ((5, 7), false, true),
                ((8, 8), true, true),
                ((9, 9), false, false)
            ]
        );
        assert_eq!(all[1].body().map(|body| all[1].raw(&body).trim()), Some("c"));
        for open in ["cat <<E; b", "a 'b", "a \"$(b", "a `b", "(a; b", "a ${b", "a $(( b"] {
            assert!(!statements(open, 1)[0].is_whole, "{open}");
        }
        for whole in ["a 'b'", "a \"$(b)\"", "cat <<E\nb\nE", "cat <<E\nb", "a $"] {
            assert!(statements(whole, 1)[0].is_whole, "{whole}");
        }
    }
}
