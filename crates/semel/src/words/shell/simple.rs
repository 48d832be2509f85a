//! The simple commands of a shell text: their words, where those stand, and
//! where their input and output go.
//!
//! Invariant: what is not plain text has no text: a word that the shell would
//! still change is never taken for what is written.

use std::ops::Range;

use super::programs::{after_options, base_name, script_of};

/// A word of a simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// What it says, without its quotes; `None` where the shell or a placeholder
    /// puts something in.
    pub text: Option<String>,
    /// The bytes of the text in which it stands.
    pub range: Range<usize>,
}

/// A redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    /// The descriptor that is named before it.
    pub descriptor: Option<u32>,
    /// `>`, `>>`, `<`, `>&`, `<<<` and so on.
    pub operator: String,
    /// The file, descriptor or text.
    pub operand: Word,
}

/// A simple command: words and redirections. What ends a group, `done > x` or
/// `} > x`, is one too, with only the word that ends it, or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simple {
    /// Its words, assignments first.
    pub words: Vec<Word>,
    /// Its redirections.
    pub redirections: Vec<Redirection>,
    /// The bytes of the text in which it stands.
    pub range: Range<usize>,
    /// Whether its input comes out of a pipe.
    pub reads_pipe: bool,
    /// Whether its output goes into a pipe.
    pub writes_pipe: bool,
    /// How many substitutions it stands in.
    pub depth: u32,
}

impl Redirection {
    /// Whether it is where standard output goes.
    #[must_use]
    pub fn is_of_output(&self) -> bool {
        matches!(self.descriptor, None | Some(1))
            && matches!(self.operator.as_str(), ">" | ">>" | ">|" | ">&" | "&>" | "&>>")
    }

    /// Whether something is written at the end of what is there.
    #[must_use]
    pub fn appends(&self) -> bool {
        self.operator.ends_with(">>")
    }
}

impl Simple {
    /// A command that is given word by word.
    #[must_use]
    pub fn of(words: &[Option<&str>]) -> Self {
        let word = |text: &Option<&str>| Word { text: text.map(str::to_owned), range: 0..0 };
        Self { words: words.iter().map(word).collect(), ..Self::default() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.words.is_empty() && self.redirections.is_empty()
    }

    /// Whether it is a `[[` that no `]]` has ended yet.
    pub(super) fn is_in_test(&self) -> bool {
        let last = self.words.last().and_then(|word| word.text.as_deref());
        self.word(0) == Some("[[") && last != Some("]]")
    }

    /// Takes in that a part of it stands here.
    pub(super) fn reaches(&mut self, range: Range<usize>) {
        if self.is_empty() {
            self.range.start = range.start;
        }
        self.range.end = range.end;
    }

    pub(super) fn word(&self, at: usize) -> Option<&str> {
        self.words.get(at)?.text.as_deref()
    }

    /// The command without assignments and without what only starts another:
    /// `sort a` of `LC_ALL=C nice sort a`.
    #[must_use]
    pub fn command(&self) -> &[Word] {
        unwrapped(&self.words)
    }

    /// The name of the program, without its folder; empty where that is not
    /// plain.
    #[must_use]
    pub fn name(&self) -> &str {
        self.command().first().and_then(|word| word.text.as_deref()).map_or("", base_name)
    }

    /// The words behind the name of the program.
    #[must_use]
    pub fn arguments(&self) -> &[Word] {
        self.command().get(1..).unwrap_or_default()
    }

    /// Those of them that are plain.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.arguments().iter().filter_map(|word| word.text.as_deref())
    }

    /// Whether one of the arguments is this option: `-n`, alone or among other
    /// letters (`-cn`), or `--no-name`.
    #[must_use]
    pub fn has_option(&self, options: &[&str]) -> bool {
        self.plain().any(|word| {
            options.iter().any(|option| match option.strip_prefix('-') {
                Some(letter) if letter.len() == 1 => {
                    word.starts_with('-') && !word.starts_with("--") && word.contains(letter)
                }
                _ => word == *option || word.starts_with(&format!("{option}=")),
            })
        })
    }

    /// The first argument that is no option: `pull` of `git pull -q`.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.plain().find(|word| !word.starts_with('-')).unwrap_or("")
    }

    /// The word by which a known interpreter is given its program.
    #[must_use]
    pub fn script(&self) -> Option<&Word> {
        script_of(self.name(), self.arguments()).map(|script| script.word)
    }
}

/// The words of a command without assignments and without what only starts
/// another; none where that is not plain.
pub(super) fn unwrapped(words: &[Word]) -> &[Word] {
    let mut words = words;
    while let Some((first, rest)) = words.split_first() {
        let Some(first) = first.text.as_deref() else {
            break;
        };
        if is_assignment(first) {
            words = rest;
            continue;
        }
        match base_name(first) {
            "exec" | "command" | "builtin" | "nohup" | "env" | "setsid" => {
                words = after_options(rest, &["-u", "-a", "-C", "-S"]);
            }
            "nice" => words = after_options(rest, &["-n"]),
            "timeout" => {
                let rest = after_options(rest, &["-s", "-k"]);
                words = rest.split_first().map_or(rest, |(_duration, tail)| tail);
            }
            _ => break,
        }
    }
    words
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let name = name.trim_end_matches('+');
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn simples(text: &str) -> Vec<Simple> {
        read(text, &[]).simples
    }

    /// The commands of a text as they stand in it.
    fn texts(text: &str) -> Vec<&str> {
        simples(text).into_iter().map(|simple| &text[simple.range]).collect()
    }

    #[test]
    fn commands_are_found_where_they_stand() {
        assert_eq!(texts("a b | c > d && e; f"), ["a b", "c > d", "e", "f"]);
        assert_eq!(texts("if a; then b; fi > x"), ["a", "b", "fi > x"]);
        assert_eq!(texts("a \"$(b c)\" d"), ["a \"$(b c)\" d", "b c"]);
        assert_eq!(texts("{ a; b; } > x"), ["a", "b", "} > x"]);
        assert_eq!(texts("(a; b) 2>> x"), ["a", "b", ">> x"]);
        assert_eq!(texts("while read -r x; do a; done < y"), ["read -r x", "a", "done < y"]);
        assert_eq!(texts("cat <<E > x\na b\nE\nc"), ["cat <<E > x", "c"]);
    }

    #[test]
    fn pipes_are_told_from_other_bars() {
        let pipes = |text: &str| -> Vec<(bool, bool)> {
            simples(text).iter().map(|simple| (simple.reads_pipe, simple.writes_pipe)).collect()
        };
        assert_eq!(pipes("a | b |& c"), [(false, true), (true, true), (true, false)]);
        assert_eq!(pipes("a || b && c; d & e"), [(false, false); 5]);
        assert_eq!(pipes("case x in a|b) c ;; esac; d"), [(false, false); 5]);
        assert_eq!(pipes("(a) | b"), [(false, false), (true, false)]);
        assert_eq!(pipes("a |\n b"), [(false, true), (true, false)]);
        assert_eq!(
            pipes("a | (b; c); d"),
            [(false, true), (true, false), (false, false), (false, false)]
        );
        assert_eq!(pipes("a > '|' \"|\""), [(false, false)]);
        assert_eq!(pipes("[[ $x =~ ^(a|b)$ || $y > z ]] && c"), [(false, false); 2]);
    }

    #[test]
    fn redirections_are_known_by_descriptor_and_operand() {
        let of = |text: &str| -> Vec<(Option<u32>, String, Option<String>)> {
            let all = simples(text).into_iter().flat_map(|simple| simple.redirections);
            all.map(|one| (one.descriptor, one.operator, one.operand.text)).collect()
        };
        let one = |descriptor, operator: &str, operand: Option<&str>| {
            (descriptor, operator.to_owned(), operand.map(str::to_owned))
        };
        assert_eq!(
            of("a > x 2>&1 >>'y z' 2> $e"),
            [
                one(None, ">", Some("x")),
                one(Some(2), ">&", Some("1")),
                one(None, ">>", Some("y z")),
                one(Some(2), ">", None),
            ]
        );
        assert_eq!(of("a &>> x < y"), [one(None, "&>>", Some("x")), one(None, "<", Some("y"))]);
        assert_eq!(of("a 2 > x"), [one(None, ">", Some("x"))]);
        assert!(of("a > >(tee b) <(c)").is_empty());
        assert!(of("[[ a > b && c < d ]]; for ((i = 0; i > 3; i++)); do e; done").is_empty());
    }

    #[test]
    fn what_only_starts_another_is_looked_through() {
        let simple = &simples("A=b nice -n 5 /usr/bin/gzip -cn9 $x --rsyncable")[0];
        assert_eq!(simple.name(), "gzip");
        assert!(simple.has_option(&["-n"]) && simple.has_option(&["--rsyncable"]));
        assert!(!simple.has_option(&["-d", "--name"]));
        assert_eq!(simples("git -C x pull")[0].verb(), "x");
        assert_eq!(simples("git pull -q")[0].verb(), "pull");
        assert_eq!(simples("$x a")[0].name(), "");
    }

    #[test]
    fn the_script_behind_an_interpreter_may_be_unknown() {
        let script = |text: &str| simples(text)[0].script().map(|word| word.text.clone());
        assert_eq!(script("python3 -u a.py x"), Some(Some("a.py".to_owned())));
        assert_eq!(script("python3 \"$s\" x"), Some(None));
        assert_eq!(script("python3 -c 'x' y"), None);
        assert_eq!(script("sort a"), None);
    }
}
