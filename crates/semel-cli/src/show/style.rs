//! Colours. They only double what a word says.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};

/// Whether and how words are coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Styles {
    on: bool,
}

impl Styles {
    /// As standard error takes it, and `NO_COLOR` allows.
    pub(crate) fn for_stderr() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stderr());
        Self { on: choice != anstream::ColorChoice::Never && std::io::stderr().is_terminal() }
    }

    /// As standard output takes it, and `NO_COLOR` allows.
    pub(crate) fn for_stdout() -> Self {
        let choice = anstream::AutoStream::choice(&std::io::stdout());
        Self { on: choice != anstream::ColorChoice::Never && std::io::stdout().is_terminal() }
    }

    /// Whether colours are on.
    pub(crate) const fn are_on(self) -> bool {
        self.on
    }

    /// A word that says how something stands, in its colour.
    pub(crate) fn state(self, word: &str) -> String {
        let style = match word.trim_end() {
            "done" | "skip" | "adopt" | "reuse" | "complete" => AnsiColor::Green.on_default(),
            "failed" | "broken" => AnsiColor::Red.on_default().bold(),
            "refused" | "refuse" | "busy" | "blocked" | "interrupted" | "unknown" => {
                AnsiColor::Yellow.on_default().bold()
            }
            "run" | "run?" => AnsiColor::Cyan.on_default(),
            _ => return word.to_owned(),
        };
        self.with(style, word)
    }

    /// What stands back.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// What stands out.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}
