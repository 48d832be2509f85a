//! Programs: the files that the words of a simple command name as what is run.

use super::simple::unwrapped;
use super::{Reading, Word};

impl Reading {
    /// Notes the programs that a simple command names.
    pub(super) fn note(&mut self, words: &[Word]) {
        let Some((first, rest)) = unwrapped(words).split_first() else {
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
pub(super) fn base_name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// What follows the options of a command; `with_value` take the next word too.
pub(super) fn after_options<'a>(words: &'a [Word], with_value: &[&str]) -> &'a [Word] {
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
pub(super) struct Script<'a> {
    /// The file that holds it, where that is plain.
    pub(super) path: Option<&'a str>,
    /// The word that names it.
    pub(super) word: &'a Word,
}

/// The program that an interpreter is given as a file.
pub(super) fn script_of<'a>(interpreter: &str, words: &'a [Word]) -> Option<Script<'a>> {
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
