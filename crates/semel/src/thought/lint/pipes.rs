//! Readers that end a pipe before its writer is done.

use super::script::Script;
use super::{Level, Linter, STOPS_EARLY};
use crate::words::pipeline::{Fault, Span, StepId};
use crate::words::shell::Simple;

impl Linter<'_> {
    pub(super) fn stops_early(&mut self, id: Option<StepId>, or: &Span, script: &Script<'_>) {
        let Some(text) =
            script.text().filter(|text| script.has_pipefail() && !text.contains("141"))
        else {
            return;
        };
        let found = script.simples.iter().enumerate().find(|(at, simple)| {
            simple.reads_pipe
                && leaves_early(simple)
                && !text[simple.range.end..].trim_start().starts_with("||")
                && !is_small(&script.simples[..*at], simple.depth)
        });
        let Some((_, simple)) = found else { return };
        let span = self.place(script, &Script::name_range(simple), or);
        let title = "a reader that stops early fails the pipe";
        let label = "ends what is before it with status 141";
        let fault = Fault::new(title, &span, label)
            .help("let that pass:  … || [ $? = 141 ]")
            .help(format!("or read to the end:  {}", to_the_end(simple)));
        self.say(&STOPS_EARLY, Level::Warning, id, fault);
    }
}

/// A command that says the same, and reads all of its input.
fn to_the_end(simple: &Simple) -> String {
    if simple.name() != "head" {
        return "grep … > /dev/null".to_owned();
    }
    let count = simple.plain().find_map(|word| {
        word.trim_start_matches("--lines=")
            .trim_start_matches("-n")
            .trim_start_matches('-')
            .parse()
            .ok()
    });
    match count.unwrap_or(10_u64) {
        1 => "sed -n 1p".to_owned(),
        count => format!("sed -n 1,{count}p"),
    }
}

/// Whether a command ends before it has read all of its input.
fn leaves_early(simple: &Simple) -> bool {
    match simple.name() {
        // `head -n -1` reads to the end.
        "head" => !simple.plain().any(|word| {
            let count = word.trim_start_matches("--lines=").trim_start_matches("--bytes=");
            count.starts_with("-n-") || count.starts_with("-c-") || is_negative(count, simple)
        }),
        "grep" | "egrep" | "fgrep" => simple.has_option(&["-q", "--quiet", "-m", "--max-count"]),
        _ => false,
    }
}

/// Whether a word is a count from the end: the `-1` of `-n -1`, not that of
/// `head -1`.
fn is_negative(word: &str, simple: &Simple) -> bool {
    let is_count = word.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok());
    is_count && simple.plain().any(|flag| matches!(flag, "-n" | "-c" | "--lines" | "--bytes"))
}

/// Whether what comes through the pipe surely fits into it.
fn is_small(before: &[Simple], depth: u32) -> bool {
    for simple in before.iter().rev().filter(|simple| simple.depth == depth) {
        if !simple.writes_pipe {
            return false; // a group: nobody knows
        }
        let is_small = match simple.name() {
            "echo" | "printf" | "wc" | "date" | "ls" | "git" | "uname" | "hostname" | "df"
            | "ps" | "id" | "tail" | "head" => true,
            "grep" => simple.has_option(&["-c", "--count"]),
            name => simple.has_option(&["--version", "--help"]) && !name.is_empty(),
        };
        if is_small {
            return true;
        }
        if !simple.reads_pipe {
            return false;
        }
    }
    false
}
