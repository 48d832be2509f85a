//! What is wrong with a pipeline file, where, and what to write instead.

use super::Span;

/// One fault of a pipeline file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong: a fragment, lower case, without a full stop.
    pub title: String,
    /// The bytes that are at fault.
    pub span: Span,
    /// What is said under them.
    pub label: String,
    /// Other places that have to do with it.
    pub also: Vec<(Span, String)>,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl Fault {
    /// A fault at some bytes of the file.
    pub fn new(title: impl Into<String>, span: &Span, label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            span: span.clone(),
            label: label.into(),
            also: Vec::new(),
            help: Vec::new(),
        }
    }

    /// Adds a line that says what to do.
    #[must_use]
    pub fn help(mut self, line: impl Into<String>) -> Self {
        self.help.push(line.into());
        self
    }

    /// Adds another place that has to do with it.
    #[must_use]
    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.also.push((span.clone(), label.into()));
        self
    }
}
