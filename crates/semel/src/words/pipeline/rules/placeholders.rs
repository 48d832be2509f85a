//! Placeholders: each has a value where it stands, and stands where a quoted
//! value is one.

use super::{Faults, items_of};
use crate::words::nearest;
use crate::words::pipeline::draft::{
    ActDraft, CommandDraft, EachSourceDraft, InputSourceDraft, StepDraft,
};
use crate::words::pipeline::value::Written;
use crate::words::pipeline::{Fault, Items, Span};
use crate::words::shell::{self, Place};
use crate::words::template::{Filter, Name, no_such_part};

/// A kind of placeholder that a text may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Item,
    Inputs,
    InputList,
    Outputs,
    Environment,
    RunId,
}

impl<'a> Faults<'a> {
    /// Every placeholder has a value where it stands.
    pub(super) fn placeholders_have_values(&mut self, step: &'a StepDraft) {
        use Offer::{Environment, InputList, Inputs, Item, Outputs, RunId};
        let all = [Item, Inputs, InputList, Outputs, Environment, RunId];
        for source in step.each.iter().flat_map(|each| &each.sources) {
            if let Some(text) = source.what.path() {
                self.names_exist(step, text, "each", &[Environment]);
            }
            if let EachSourceDraft::Command(command) = &source.what {
                for text in command.texts() {
                    self.names_exist(step, text, "each", &[Environment]);
                }
            }
        }
        for input in &step.inputs {
            if let InputSourceDraft::Files(text) = &input.source {
                self.names_exist(step, text, "in", &[Item, Environment]);
            }
        }
        for out in &step.outs {
            self.names_exist(step, &out.path, "out", &[Item, Environment]);
        }
        for (_, value) in &step.env {
            self.names_exist(step, value, "env", &[Item, Inputs, InputList, Outputs, RunId]);
        }
        for action in &step.actions {
            let (key, offers) = match &action.what {
                ActDraft::Command(_) => ("run", &all[..]),
                ActDraft::Sql(_) => ("sql", &[Item, Environment, RunId][..]),
                ActDraft::Load(_) => ("load", &[Item, Environment][..]),
                // With the run in it, it would be another call in each.
                ActDraft::Http(_) => ("http", &[Item, Environment][..]),
            };
            for text in action.what.texts() {
                self.names_exist(step, text, key, offers);
            }
        }
        for text in step.cleanup.iter().flat_map(|cleanup| cleanup.what.texts()) {
            self.names_exist(step, text, "cleanup", &[Item, Inputs, Outputs, Environment, RunId]);
        }
        if let Some(dir) = &step.dir {
            self.names_exist(step, dir, "dir", &[Environment]);
        }
        if let Some(check) = &step.check {
            let offers: &[Offer] = if check.answers_for_all() {
                &[Environment, RunId]
            } else {
                &[Item, Inputs, Outputs, Environment, RunId]
            };
            for text in check.command.iter().flat_map(CommandDraft::texts) {
                self.names_exist(step, text, "check", offers);
            }
            let texts = check.equals.iter().chain(&check.file).chain(&check.sha256);
            for text in texts.chain(&check.sql) {
                self.names_exist(step, text, "check", &[Item, Environment]);
            }
        }
    }

    fn names_exist(&mut self, step: &'a StepDraft, text: &Written, key: &str, offers: &[Offer]) {
        for hole in text.template.placeholders() {
            let span = text.place(&hole.range);
            let offer = match &hole.name {
                Name::Param(name) => {
                    self.parameter_exists(name, &span);
                    continue;
                }
                Name::Item(_) | Name::Column(_) => Offer::Item,
                Name::In(Some(key)) if key == "list" => Offer::InputList,
                Name::In(_) => Offer::Inputs,
                Name::Out(_) => Offer::Outputs,
                Name::Env(_) => Offer::Environment,
                Name::RunId => Offer::RunId,
            };
            let label = if offers.contains(&offer) {
                step.is_whole.then(|| self.missing_value(step, &hole.name, key)).flatten()
            } else {
                Some((format!("has no value in `{key}`"), None))
            };
            if let Some((label, help)) = label {
                let mut fault = Fault::new("a placeholder without a value", &span, label);
                fault.help.extend(help);
                self.say(fault);
            }
        }
    }

    /// In texts that belong to no step only parameters and the run have values.
    pub(super) fn only_names_the_run(&mut self, text: &Written, of: &str, names_params: bool) {
        for hole in text.template.placeholders() {
            let span = text.place(&hole.range);
            match &hole.name {
                Name::Param(name) if names_params => self.parameter_exists(name, &span),
                // Parameters are there before there is a run.
                Name::RunId if names_params => {}
                _ => self.say(Fault::new(
                    "a placeholder without a value",
                    &span,
                    format!("has no value in {of}"),
                )),
            }
        }
    }

    /// What is missing for a name to have a value, and the cure.
    fn missing_value(
        &self,
        step: &StepDraft,
        name: &Name,
        text_of: &str,
    ) -> Option<(String, Option<String>)> {
        match name {
            Name::Item(_) | Name::Column(_) if step.each.is_none() => Some((
                "the step has no `each`".to_owned(),
                Some("without `each` there are no items".to_owned()),
            )),
            Name::Column(column) => match items_of(&self.steps, step) {
                Items::Rows => None,
                Items::Files => Some((no_such_part(column), None)),
                Items::Values => Some(no_parts()),
            },
            Name::Item(part)
                if part.field().is_some() && items_of(&self.steps, step) == Items::Values =>
            {
                Some(no_parts())
            }
            Name::In(_) if step.inputs.is_empty() => {
                let help = step.each.is_some().then(|| "did you mean {{ item }}?".to_owned());
                Some(("the step has no `in`".to_owned(), help))
            }
            Name::Out(_) if step.outs.is_empty() => Some((
                "the step has no `out`".to_owned(),
                Some("declare what it writes:  out = \"…\"".to_owned()),
            )),
            Name::In(key) => {
                let keys = step.inputs.iter().filter_map(|input| input.key.as_deref());
                no_such_key(key.as_deref(), keys.chain(["list"]).collect(), "in")
            }
            Name::Out(key) => {
                let keys = step.outs.iter().filter_map(|out| out.key.as_deref()).collect();
                no_such_key(key.as_deref(), keys, "out")
            }
            // No command line shows what a call says.
            Name::Env(name) if text_of == "http" && is_secret(step, name) => None,
            Name::Env(name) if is_secret(step, name) => Some((
                format!("`{name}` is a secret"),
                Some(format!("a command line can be seen by all; use the variable: \"${name}\"")),
            )),
            Name::Env(name) => {
                // What `env` sets may itself name the item and the outputs.
                let is_set = !["each", "in", "out", "dir"].contains(&text_of)
                    && step.env.iter().any(|(known, _)| known == name);
                let listed = is_set || step.env_counts.contains(name);
                let help = format!("add  env-counts = [\"{name}\"]  if its value counts");
                (!listed).then(|| (format!("the step does not list `{name}`"), Some(help)))
            }
            Name::Item(_) | Name::Param(_) | Name::RunId => None,
        }
    }

    /// Every placeholder of a shell's text stands where a quoted value is one.
    pub(super) fn placeholders_stand_free(&mut self, step: &'a StepDraft) {
        let lists = step.each.iter().flat_map(|each| &each.sources);
        let lists = lists.filter_map(|source| match &source.what {
            EachSourceDraft::Command(command) => Some(command),
            _ => None,
        });
        let checks = step.check.iter().filter_map(|check| check.command.as_ref());
        let actions = step.actions.iter().filter_map(|action| action.what.command());
        let cleanup = step.cleanup.iter().map(|command| &command.what);
        for command in actions.chain(cleanup).chain(checks).chain(lists) {
            self.stands_free(command);
        }
    }

    /// Every placeholder of a command stands where a quoted value is one.
    pub(super) fn stands_free(&mut self, command: &CommandDraft) {
        let CommandDraft::Shell(text) = command else {
            return;
        };
        let holes: Vec<_> = text.template.placeholders().collect();
        let ranges: Vec<_> = holes.iter().map(|hole| hole.range.clone()).collect();
        let places = shell::read(&text.template.text, &ranges).places;
        for (hole, place) in holes.iter().zip(places) {
            if hole.filters.contains(&Filter::Raw) {
                continue;
            }
            if let Some(fault) = out_of_place(place, &text.place(&hole.range)) {
                self.say(fault);
            }
        }
    }
}

fn is_secret(step: &StepDraft, name: &str) -> bool {
    step.secret_env.iter().any(|secret| secret.what == *name)
}

fn no_parts() -> (String, Option<String>) {
    let label = "the items are values, not files".to_owned();
    (label, Some("a value has no parts; write {{ item }}".to_owned()))
}

fn no_such_key(
    key: Option<&str>,
    known: Vec<&str>,
    what: &str,
) -> Option<(String, Option<String>)> {
    let key = key?;
    if known.contains(&key) {
        return None;
    }
    let help = nearest(key, known).map(|near| format!("did you mean `{what}.{near}`?"));
    Some((format!("`{what}` has no key `{key}`"), help))
}

fn out_of_place(place: Place, span: &Span) -> Option<Fault> {
    let (title, label) = match place {
        Place::Bare => return None,
        Place::SingleQuotes | Place::DoubleQuotes => {
            ("a placeholder inside quotes", "semel quotes it itself")
        }
        Place::Backticks => ("a placeholder inside backticks", "cannot be quoted here"),
        Place::HereDocument => ("a placeholder inside a here-document", "cannot be quoted here"),
        Place::Comment => ("a placeholder inside a comment", "would do nothing"),
        Place::Arithmetic => ("a placeholder inside arithmetic", "cannot be quoted here"),
        Place::Escaped => ("a placeholder behind `\\` or `$`", "its quotes would not hold"),
    };
    let fault = Fault::new(title, span, label);
    Some(match place {
        Place::SingleQuotes | Place::DoubleQuotes => fault
            .help("take the quotes away; inside another language's text use a variable:")
            .help("env = { FILE = \"{{ item }}\" }  and  \"$FILE\"  in the command"),
        Place::Backticks => fault.help("write $( … )"),
        Place::HereDocument | Place::Arithmetic => {
            fault.help("pass it as a variable:  env = { X = \"{{ … }}\" }  and  $X")
        }
        Place::Escaped => fault.help("take the `\\` or `$` away; `{{{{` stands for a plain `{{`"),
        Place::Bare | Place::Comment => fault,
    })
}
