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

mod lexer;
mod programs;
mod simple;

use std::borrow::Cow;
use std::ops::Range;

use lexer::Lexer;
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
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// For each placeholder, in order, where it stands.
    pub places: Vec<Place>,
    /// The files that hold programs, as they are named: the first word of each
    /// simple command where it has a slash, and the script behind a known
    /// interpreter. Each once.
    pub programs: Vec<String>,
    /// The simple commands, in the order in which they begin.
    pub simples: Vec<Simple>,
    /// What stands between them, outside of substitutions, in order.
    pub joints: Vec<Joint>,
    /// Where the shell puts in the value of a variable.
    pub variables: Vec<Variable>,
}

/// What stands between simple commands: `;`, `&&`, `then`, `{`, `(`, a comment (`#`), all
/// of `(( … ))` (`((`), or a newline with the here-documents that follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The operator or the word.
    pub text: String,
    /// The bytes in which it stands.
    pub range: Range<usize>,
}

/// A place where the shell puts in the value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name: `HOME`, `1`, `@`.
    pub name: String,
    /// The bytes in which it stands.
    pub range: Range<usize>,
}

/// Reads a shell command; `holes` are the byte ranges of its placeholders.
#[must_use]
pub fn read(text: &str, holes: &[Range<usize>]) -> Reading {
    let mut reading = Lexer::read(text, holes);
    reading.simples.sort_by_key(|simple| (simple.range.start, simple.depth));
    reading.variables.sort_by_key(|variable| variable.range.start);
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
    fn joints_are_told_from_what_is_quoted_or_substituted() {
        let joints = |text: &str| -> Vec<String> {
            read(text, &[]).joints.into_iter().map(|joint| joint.text).collect()
        };
        assert_eq!(joints("a; b && c | d & e || f\ng # h"), [";", "&&", "|", "&", "||", "\n", "#"]);
        assert_eq!(joints("a \"; $(b; c)\" ';' `d; e`"), [""; 0]);
        assert_eq!(joints("if a; then { (b); }; fi"), ["if", ";", "then", "{", "(", ")", ";", ";"]);
        assert_eq!(joints("case a in b) c ;; esac"), [";", ";"]);
        assert_eq!(joints("((a > (b))) && c; for ((;;)); do d"), ["((", "&&", ";", ";", "do"]);
        let text = "cat <<E > x\na; b\nE\nc";
        let joint = &read(text, &[]).joints[0];
        assert_eq!((joint.text.as_str(), &text[joint.range.clone()]), ("\n", "\na; b\nE\n"));
    }

    #[test]
    fn variables_are_found_where_the_shell_puts_them_in() {
        let variables = |text: &str| -> Vec<(String, String)> {
            let found = read(text, &[]).variables.into_iter();
            found.map(|one| (one.name, text[one.range].to_owned())).collect()
        };
        let names = |text: &str| -> Vec<String> {
            variables(text).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(
            names("a $b \"${c:-$d}\" '$e' \\$f $'$g' $1 $@ ${#h[@]} $"),
            ["b", "c", "d", "1", "@", "h"]
        );
        assert_eq!(names("x \"$(awk '{ print $1 }' \"$a\")\" `b $c`"), ["a", "c"]);
        assert_eq!(names("a $(( b + 1 )) <<E\nit's $c ${d}\nE\ne <<'F'\n$g\nF"), ["b", "c", "d"]);
        let whole = ("f".to_owned(), "${f%.csv}".to_owned());
        assert_eq!(variables("a ${f%.csv}x"), [whole]);
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
            let joints = reading.joints.into_iter().map(|joint| joint.range);
            let variables = reading.variables.into_iter().map(|variable| variable.range);
            for range in joints.chain(variables) {
                proptest::prop_assert!(marked.get(range).is_some());
            }
        }
    }
}
