//! A command as the warnings read it: its simple commands, and where it stands.

use std::ops::Range;

use crate::words::pipeline::{
    Command, EachSource, Hook, Param, ParamValue, Pipeline, Places, Probe, Span, Step,
};
use crate::words::shell::{self, Simple, Word};
use crate::words::template::{Name, Placeholder, Template};

pub(super) struct Script<'a> {
    /// The tables and keys that lead to it in the file.
    pub(super) path: Vec<String>,
    command: &'a Command,
    pub(super) simples: Vec<Simple>,
    /// The files that hold its programs, as it names them.
    pub(super) programs: Vec<String>,
}

impl<'a> Script<'a> {
    fn new(command: &'a Command, path: &[&str]) -> Self {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        let (simples, programs) = match command {
            Command::Shell { text, .. } => {
                let holes: Vec<_> = text.placeholders().map(|hole| hole.range.clone()).collect();
                let reading = shell::read(&text.text, &holes);
                (reading.simples, reading.programs)
            }
            Command::Words(words) => {
                let words: Vec<_> = words.iter().map(Template::as_plain).collect();
                (vec![Simple::of(&words)], shell::programs_of(&words))
            }
        };
        Self { path, command, simples, programs }
    }

    pub(super) fn of_action(step: &'a Step) -> Option<Self> {
        Some(Self::new(step.command()?, &["step", &step.name, "run"]))
    }

    pub(super) fn of_check(step: &'a Step, places: &Places<'_>) -> Option<Self> {
        let command = match &step.check.as_ref()?.probe {
            Probe::Command { command, .. } | Probe::All(command) => command,
            Probe::File { .. } | Probe::Sql { .. } => return None,
        };
        let table = ["step", &step.name, "check", "run"];
        let is_table = places.value(&table).is_some();
        Some(Self::new(command, if is_table { &table } else { &table[..3] }))
    }

    pub(super) fn of_param(param: &'a Param) -> Option<Self> {
        match &param.value {
            ParamValue::Command(command) => {
                Some(Self::new(command, &["params", &param.name, "command"]))
            }
            _ => None,
        }
    }

    /// The command that lists the items of a step, and that which cleans up.
    pub(super) fn beside_action(step: &'a Step) -> Vec<Self> {
        let each = step.each.as_ref().and_then(|each| match &each.source {
            EachSource::Command(command) => Some(command),
            _ => None,
        });
        let each = each.map(|command| Self::new(command, &["step", &step.name, "each", "command"]));
        let cleanup = step.cleanup.as_ref();
        let cleanup = cleanup.map(|command| Self::new(command, &["step", &step.name, "cleanup"]));
        each.into_iter().chain(cleanup).collect()
    }

    pub(super) fn of_hooks(pipeline: &'a Pipeline) -> Vec<(Self, &'a Span)> {
        let hooks = [
            ("finally", &pipeline.finally),
            ("on-failure", &pipeline.on_failure),
            ("on-success", &pipeline.on_success),
        ];
        let read = |(name, hook): (&str, &'a Option<Hook>)| {
            let hook = hook.as_ref()?;
            Some((Self::new(hook.command()?, &[name, "run"]), &hook.span))
        };
        hooks.into_iter().filter_map(read).collect()
    }

    /// Its text, if it is one for a shell.
    pub(super) fn text(&self) -> Option<&'a str> {
        match self.command {
            Command::Shell { text, .. } => Some(&text.text),
            Command::Words(_) => None,
        }
    }

    /// Whether a pipe fails if one of its commands does.
    pub(super) fn has_pipefail(&self) -> bool {
        let Command::Shell { shell, prelude, text } = self.command else {
            return false;
        };
        let sets = |text: &str| text.contains("pipefail") && !text.contains("+o pipefail");
        let unsets = |text: &str| text.contains("+o pipefail");
        let prelude = prelude.as_deref().unwrap_or("");
        let before = shell.iter().any(|word| word == "pipefail") || sets(prelude);
        (before && !unsets(prelude) || sets(&text.text)) && !unsets(&text.text)
    }

    /// What is written in a part of the text.
    pub(super) fn raw(&self, range: &Range<usize>) -> &'a str {
        self.text().and_then(|text| text.get(range.clone())).unwrap_or("")
    }

    /// The placeholders in a part of the text.
    pub(super) fn holes(&self, range: &Range<usize>) -> impl Iterator<Item = &'a Placeholder> {
        let template = match self.command {
            Command::Shell { text, .. } => Some(text),
            Command::Words(_) => None,
        };
        let range = range.clone();
        template
            .into_iter()
            .flat_map(Template::placeholders)
            .filter(move |hole| hole.range.start >= range.start && hole.range.end <= range.end)
    }

    pub(super) fn names(&self, word: &Word, which: impl Fn(&Name) -> bool) -> bool {
        self.holes(&word.range).any(|hole| which(&hole.name))
    }

    /// What a word says, without its quotes, where only placeholders are put in:
    /// no variable and no substitution.
    pub(super) fn path_of(&self, word: &Word) -> Option<String> {
        if let Some(text) = &word.text {
            return Some(text.clone());
        }
        let raw = self.raw(&word.range);
        (!raw.is_empty() && !raw.contains(['$', '`'])).then(|| raw.replace(['"', '\''], ""))
    }

    /// Whether what a simple command prints comes into an output as it is.
    pub(super) fn reaches_output(&self, simple: &Simple) -> bool {
        if simple.writes_pipe {
            return false;
        }
        if simple.arguments().iter().any(|word| self.names(word, is_out)) {
            return true;
        }
        let mut own = simple.redirections.iter().filter(|one| one.is_of_output()).peekable();
        if own.peek().is_some() {
            return own.any(|one| self.names(&one.operand, is_out));
        }
        // The redirection of the group that it stands in: `} > {{ out }}`.
        self.simples.iter().any(|group| {
            group.range.start > simple.range.start
                && matches!(group.name(), "" | "}" | "done" | "fi")
                && group
                    .redirections
                    .iter()
                    .any(|one| one.is_of_output() && self.names(&one.operand, is_out))
        })
    }

    /// The bytes at which the name of a simple command stands.
    pub(super) fn name_range(simple: &Simple) -> Range<usize> {
        simple.command().first().map_or_else(|| simple.range.clone(), |word| word.range.clone())
    }
}

pub(super) fn is_out(name: &Name) -> bool {
    matches!(name, Name::Out(_))
}
