//! What must be true of a pipeline file beyond the types of its values.
//!
//! Each rule is a function that looks at what the file says and reports what
//! contradicts it, with the place and the cure.

use std::collections::{BTreeSet, HashMap};

use super::keys::{
    CommandDraft, EachSourceDraft, InputSourceDraft, OutDraft, PipelineDraft, StepDraft,
};
use super::value::{Placed, Written};
use super::{Fault, Pipeline, StepId};
use crate::words::nearest;
use crate::words::shell::{self, Place};
use crate::words::template::{Name, Template};

/// All faults that the rules find. `is_whole` says whether all of the file
/// could be read; if not, rules about what is missing keep silent.
pub(super) fn faults(pipeline: &PipelineDraft, is_whole: bool) -> Vec<Fault> {
    let mut faults = Faults {
        pipeline,
        steps: pipeline.steps.iter().map(|step| (step.name.as_str(), step)).collect(),
        params_are_known: is_whole || !pipeline.params.is_empty(),
        found: Vec::new(),
    };
    if is_whole {
        faults.nothing_missing();
    }
    faults.per_names_parameters(&pipeline.per);
    faults.former_names_are_gone();
    for step in &pipeline.steps {
        faults.step(step);
    }
    faults.found
}

struct Faults<'a> {
    pipeline: &'a PipelineDraft,
    steps: HashMap<&'a str, &'a StepDraft>,
    params_are_known: bool,
    found: Vec<Fault>,
}

impl<'a> Faults<'a> {
    fn say(&mut self, fault: Fault) {
        self.found.push(fault);
    }

    fn nothing_missing(&mut self) {
        if self.pipeline.name.is_none() {
            self.say(
                Fault::new("a pipeline without a name", &(0..0), "add `name = \"…\"` here")
                    .help("receipts are kept by it, so it should not change"),
            );
        }
        if self.pipeline.steps.is_empty() {
            self.say(Fault::new("a pipeline without steps", &(0..0), "add a table `[step.NAME]`"));
        }
    }

    fn step(&mut self, step: &'a StepDraft) {
        self.steps_exist(step);
        if let Some(per) = &step.per {
            self.per_names_parameters(per);
        }
        self.placeholders_have_values(step);
        self.placeholders_stand_free(step);
        self.each_has_one_source(step);
        self.gathered_steps_have_outputs(step);
        self.once_can_be_kept(step);
        self.keys_go_together(step);
        if step.is_whole {
            self.one_action(step);
            self.outputs_are_told_apart(step);
            self.outputs_are_written(step);
            self.equal_files_are_settled(step);
        }
    }

    fn per_of(&self, step: &'a StepDraft) -> &'a [Placed<String>] {
        step.per.as_deref().unwrap_or(&self.pipeline.per)
    }

    /// A former name is nobody's now, and was only one's before.
    fn former_names_are_gone(&mut self) {
        let pipeline = self.pipeline;
        for was in &pipeline.was {
            if pipeline.name.as_ref().is_some_and(|name| name.what == was.what) {
                let title = format!("the pipeline is still named `{}`", was.what);
                self.say(Fault::new(title, &was.span, "is no former name"));
            }
        }
        let mut told: HashMap<&str, &Placed<String>> = HashMap::new();
        for was in pipeline.steps.iter().flat_map(|step| &step.was) {
            if let Some(step) = self.steps.get(was.what.as_str()).copied() {
                let title = format!("`{}` is still a step of this file", was.what);
                self.say(
                    Fault::new(title, &was.span, "is no former name")
                        .also(&step.span, "still here"),
                );
            } else if let Some(first) = told.insert(&was.what, was) {
                let title = format!("`{}` became one step", was.what);
                self.say(
                    Fault::new(title, &was.span, "named a second time")
                        .also(&first.span, "the first time"),
                );
            }
        }
    }

    fn steps_exist(&mut self, step: &'a StepDraft) {
        let each =
            step.each.iter().flat_map(|each| &each.sources).filter_map(|source| {
                match &source.what {
                    EachSourceDraft::OutputsOf(step) => Some(step),
                    EachSourceDraft::Files(_) | EachSourceDraft::Lines(_) => None,
                }
            });
        let named = step.needs.iter().chain(&step.after).chain(each).chain(gathered(step));
        for name in named {
            if name.what == step.name {
                let title = format!("step `{}` waits for itself", step.name);
                self.say(Fault::new(title, &name.span, "names its own step"));
            } else if !self.steps.contains_key(name.what.as_str()) {
                let names = || self.pipeline.steps.iter().map(|step| step.name.as_str());
                let title = format!("there is no step `{}`", name.what);
                self.say(match nearest(&name.what, names()) {
                    Some(near) => Fault::new(title, &name.span, format!("did you mean `{near}`?")),
                    None => Fault::new(title, &name.span, "unknown")
                        .help(format!("the steps are {}", names().collect::<Vec<_>>().join(", "))),
                });
            }
        }
    }

    fn per_names_parameters(&mut self, per: &[Placed<String>]) {
        for name in per {
            self.parameter_exists(&name.what, &name.span);
        }
    }

    fn parameter_exists(&mut self, name: &str, span: &super::Span) {
        if !self.params_are_known || self.pipeline.params.iter().any(|param| param.name == name) {
            return;
        }
        let title = format!("there is no parameter `{name}`");
        let known = self.pipeline.params.iter().map(|param| param.name.as_str());
        self.say(match nearest(name, known) {
            Some(near) => Fault::new(title, span, format!("did you mean `{near}`?")),
            None => Fault::new(title, span, "unknown")
                .help(format!("add  {name} = \"…\"  under [params]")),
        });
    }

    /// Every placeholder has a value where it stands.
    fn placeholders_have_values(&mut self, step: &'a StepDraft) {
        use Offer::{Environment, Inputs, Item, Outputs, RunId};
        let all = [Item, Inputs, Outputs, Environment, RunId];
        for source in step.each.iter().flat_map(|each| &each.sources) {
            if let EachSourceDraft::Files(text) | EachSourceDraft::Lines(text) = &source.what {
                self.names_exist(step, text, "each", &[Environment]);
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
            self.names_exist(step, value, "env", &[Item, Inputs, Outputs, RunId]);
        }
        for text in step.actions.iter().flat_map(|action| action.what.texts()) {
            self.names_exist(step, text, "run", &all);
        }
        if let Some(check) = &step.check {
            for text in check.command.iter().flat_map(CommandDraft::texts) {
                self.names_exist(step, text, "check", &all);
            }
            if let Some(text) = &check.equals {
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
                Name::Item(_) => Offer::Item,
                Name::In(_) => Offer::Inputs,
                Name::Out(_) => Offer::Outputs,
                Name::Env(_) => Offer::Environment,
                Name::RunId => Offer::RunId,
            };
            let label = if offers.contains(&offer) {
                step.is_whole.then(|| missing_value(step, &hole.name, key)).flatten()
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

    /// Every placeholder of a shell's text stands where a quoted value is one.
    fn placeholders_stand_free(&mut self, step: &'a StepDraft) {
        let checks = step.check.iter().filter_map(|check| check.command.as_ref());
        for command in step.actions.iter().map(|action| &action.what).chain(checks) {
            let CommandDraft::Shell(text) = command else {
                continue;
            };
            let holes: Vec<_> = text.template.placeholders().collect();
            let ranges: Vec<_> = holes.iter().map(|hole| hole.range.clone()).collect();
            let places = shell::read(&text.template.text, &ranges).places;
            for (hole, place) in holes.iter().zip(places) {
                if hole.filters.contains(&crate::words::template::Filter::Raw) {
                    continue;
                }
                let span = text.place(&hole.range);
                if let Some(fault) = out_of_place(place, &span) {
                    self.say(fault);
                }
            }
        }
    }

    fn each_has_one_source(&mut self, step: &'a StepDraft) {
        let Some(each) = &step.each else { return };
        match each.sources.as_slice() {
            [] if step.is_whole => self.say(
                Fault::new("`each` names no items", &each.span, "without a source")
                    .help("say `files`, `lines` or `outputs-of`"),
            ),
            [] | [_] => {}
            [first, second, ..] => self.say(
                Fault::new("`each` has two sources", &second.span, "a second source")
                    .also(&first.span, "the first one"),
            ),
        }
    }

    fn gathered_steps_have_outputs(&mut self, step: &'a StepDraft) {
        let each =
            step.each.iter().flat_map(|each| &each.sources).filter_map(|source| {
                match &source.what {
                    EachSourceDraft::OutputsOf(step) => Some(step),
                    EachSourceDraft::Files(_) | EachSourceDraft::Lines(_) => None,
                }
            });
        for name in each.chain(gathered(step)) {
            let source = self.steps.get(name.what.as_str());
            if source.is_some_and(|source| source.is_whole && source.outs.is_empty()) {
                let title = format!("step `{}` has no outputs", name.what);
                self.say(
                    Fault::new(title, &name.span, "there is nothing to take")
                        .help(format!("give `{0}` an `out`, or use  needs = [\"{0}\"]", name.what)),
                );
            }
        }
    }

    /// A `once` step must be able to tell whether it was done, this time.
    fn once_can_be_kept(&mut self, step: &'a StepDraft) {
        if !step.once {
            if let Some(exits) = &step.safe_exits {
                self.say(
                    Fault::new("`safe-exits` without `once`", &exits.span, "has no meaning here")
                        .help("an ordinary step is run again after any failure"),
                );
            }
            return;
        }
        if let Some(check) = &step.check
            && check.equals.is_none()
            && check.command.is_some()
        {
            self.say(
                Fault::new(
                    "a `once` step wants a definite no",
                    &check.span,
                    "an exit status may mean anything",
                )
                .help("say what the command must print:  check = { run = '…', equals = \"t\" }"),
            );
        }
        let per: BTreeSet<_> = self.per_of(step).iter().map(|name| name.what.as_str()).collect();
        let mut told = BTreeSet::new();
        for text in counting_texts(step) {
            for hole in text.template.placeholders() {
                let Name::Param(name) = &hole.name else {
                    continue;
                };
                let is_known = self.pipeline.params.iter().any(|param| param.name == *name);
                if !is_known || per.contains(name.as_str()) || !told.insert(name.clone()) {
                    continue;
                }
                let title = format!("`{}` is done once for all values of `{name}`", step.name);
                let label = "but says this value: it would refuse when the value changes";
                self.say(
                    Fault::new(title, &text.place(&hole.range), label)
                        .also(&step.once_span, "once")
                        .help(format!("add  per = [\"{name}\"]  and each value has its own once")),
                );
            }
        }
    }

    fn keys_go_together(&mut self, step: &'a StepDraft) {
        if let Some(expect) = &step.expect
            && step.is_whole
        {
            let has_input = !step.inputs.is_empty() || items_are_files(step);
            if step.outs.is_empty() {
                self.say(Fault::new(
                    "`expect` without `out`",
                    &expect.span,
                    "there is no output to look at",
                ));
            } else if expect.same_rows_as_in && !has_input {
                let title = "`same-rows-as = \"in\"` without inputs";
                self.say(
                    Fault::new(title, &expect.span, "there is nothing to count")
                        .help("give the step files: `each` or `in`"),
                );
            }
        }
        if let Some(same) = &step.same
            && step.is_whole
            && !items_are_files(step)
        {
            self.say(
                Fault::new("`same` without files", &same.span, "concerns items that are files")
                    .help("a value is itself: two equal ones in a list are an error"),
            );
        }
        if let Some(check) = &step.check
            && check.command.is_none()
            && step.is_whole
        {
            self.say(Fault::new("a check without a command", &check.span, "say what to `run`"));
        }
    }

    fn one_action(&mut self, step: &'a StepDraft) {
        match step.actions.as_slice() {
            [] => {
                let title = format!("step `{}` does nothing", step.name);
                self.say(
                    Fault::new(title, &step.span, "has no action")
                        .help("give it a command:  run = '…'"),
                );
            }
            [_] => {}
            [first, second, ..] => {
                let title = format!("step `{}` has two actions", step.name);
                self.say(
                    Fault::new(title, &second.span, "a second action")
                        .also(&first.span, "the first one")
                        .help("make two steps of it"),
                );
            }
        }
    }

    /// No two tasks of a step write the same path.
    fn outputs_are_told_apart(&mut self, step: &'a StepDraft) {
        let names_item = |name: &Name| matches!(name, Name::Item(_));
        for out in &step.outs {
            if step.each.is_some() && !mentions(&out.path.template, names_item) {
                self.say(
                    Fault::new(
                        "every item would write the same output",
                        &out.path.span,
                        "names no item",
                    )
                    .help("put a part of the item into the path: {{ item.stem }}"),
                );
            }
            let per = self.per_of(step);
            let names_instance = |name: &Name| matches!(name, Name::Param(param) if per.iter().any(|known| known.what == *param));
            if step.each.is_none()
                && !per.is_empty()
                && !mentions(&out.path.template, names_instance)
            {
                let name = &per[0].what;
                self.say(
                    Fault::new(
                        "every instance would write the same output",
                        &out.path.span,
                        "names no instance",
                    )
                    .help(format!("put its parameter into the path: {{{{ params.{name} }}}}"))
                    .help("or say that the step has no instances:  per = []"),
                );
            }
        }
        for (at, out) in step.outs.iter().enumerate() {
            let earlier =
                step.outs[..at].iter().find(|other| other.path.template == out.path.template);
            if let Some(earlier) = earlier {
                self.say(
                    Fault::new("the same output twice", &out.path.span, "named again")
                        .also(&earlier.path.span, "first named here"),
                );
            }
        }
    }

    /// The command is told where to write each output.
    fn outputs_are_written(&mut self, step: &'a StepDraft) {
        let texts: Vec<_> = step
            .actions
            .iter()
            .flat_map(|action| action.what.texts())
            .chain(step.env.iter().map(|(_, value)| value))
            .collect();
        for OutDraft { key, path } in &step.outs {
            let told = texts.iter().any(|text| {
                mentions(
                    &text.template,
                    |name| matches!(name, Name::Out(asked) if asked.is_none() || asked == key),
                )
            });
            if !told && !step.actions.is_empty() {
                let hole = key
                    .as_ref()
                    .map_or_else(|| "{{ out }}".to_owned(), |key| format!("{{{{ out.{key} }}}}"));
                self.say(
                    Fault::new("an output that the command does not know of", &path.span, format!("`run` never says {hole}"))
                        .help("semel gives the command a place to write to, and puts the file here when it is whole"),
                );
            }
        }
    }

    /// A step without outputs says what two files of equal content are.
    fn equal_files_are_settled(&mut self, step: &'a StepDraft) {
        let Some(each) = &step.each else { return };
        if items_are_files(step) && step.outs.is_empty() && step.same.is_none() {
            let title = format!("two files of equal content: what are they to `{}`?", step.name);
            self.say(
                Fault::new(title, &each.span, "nothing is written by which to tell them apart")
                    .help("add  same = \"content\"       and they are one piece of work, done once")
                    .help("add  same = \"name+content\"  and they are two"),
            );
        }
    }
}

/// A kind of placeholder that a text may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Offer {
    Item,
    Inputs,
    Outputs,
    Environment,
    RunId,
}

/// What is missing for a name to have a value, and the cure.
fn missing_value(step: &StepDraft, name: &Name, text_of: &str) -> Option<(String, Option<String>)> {
    let keyed =
        |key: &Option<String>, known: Vec<&str>, what: &str| -> Option<(String, Option<String>)> {
            let key = key.as_deref()?;
            if known.contains(&key) {
                return None;
            }
            let near = nearest(key, known.iter().copied());
            let help = near.map(|near| format!("did you mean `{what}.{near}`?"));
            Some((format!("`{what}` has no key `{key}`"), help))
        };
    match name {
        Name::Item(_) if step.each.is_none() => Some((
            "the step has no `each`".to_owned(),
            Some("without `each` there are no items".to_owned()),
        )),
        Name::Item(part) if part.field().is_some() && !items_are_files(step) => {
            let label = "the items are values, not files".to_owned();
            Some((label, Some("a value has no parts; write {{ item }}".to_owned())))
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
            let known = step.inputs.iter().filter_map(|input| input.key.as_deref()).collect();
            keyed(key, known, "in")
        }
        Name::Out(key) => {
            let known = step.outs.iter().filter_map(|out| out.key.as_deref()).collect();
            keyed(key, known, "out")
        }
        Name::Env(name) => {
            // What `env` sets may itself name the item and the outputs.
            let is_set = !["each", "in", "out"].contains(&text_of)
                && step.env.iter().any(|(known, _)| known == name);
            let listed = is_set || step.env_counts.contains(name);
            let help = format!("add  env-counts = [\"{name}\"]  if its value counts");
            (!listed).then(|| (format!("the step does not list `{name}`"), Some(help)))
        }
        Name::Item(_) | Name::Param(_) | Name::RunId => None,
    }
}

fn out_of_place(place: Place, span: &super::Span) -> Option<Fault> {
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

fn gathered(step: &StepDraft) -> impl Iterator<Item = &Placed<String>> {
    step.inputs.iter().filter_map(|input| match &input.source {
        InputSourceDraft::OutputsOf(step) => Some(step),
        InputSourceDraft::Files(_) => None,
    })
}

fn items_are_files(step: &StepDraft) -> bool {
    step.each.iter().flat_map(|each| &each.sources).any(|source| {
        matches!(source.what, EachSourceDraft::Files(_) | EachSourceDraft::OutputsOf(_))
    })
}

/// The texts whose parameters decide what a task does.
fn counting_texts(step: &StepDraft) -> impl Iterator<Item = &Written> {
    let check = step
        .check
        .iter()
        .flat_map(|check| check.command.iter().flat_map(CommandDraft::texts).chain(&check.equals));
    step.actions
        .iter()
        .flat_map(|action| action.what.texts())
        .chain(step.env.iter().map(|(_, value)| value))
        .chain(check)
}

fn mentions(template: &Template, which: impl Fn(&Name) -> bool) -> bool {
    template.placeholders().any(|hole| which(&hole.name))
}

/// The fault that the steps wait for each other in a circle.
pub(super) fn cycle(pipeline: &Pipeline) -> Option<Fault> {
    let upstream: Vec<Vec<StepId>> =
        pipeline.steps.iter().map(|step| step.upstream().collect()).collect();
    let circle = find_cycle(&upstream)?;
    let name = |id: &StepId| format!("`{}`", pipeline.step(*id).name);
    let first = pipeline.step(circle[0]);
    let spelled: Vec<_> = circle.iter().chain(&circle[..1]).map(name).collect();
    let title = "steps that wait for each other";
    let mut fault = Fault::new(title, &first.span, spelled.join(" waits for "));
    for id in &circle[1..] {
        fault = fault.also(&pipeline.step(*id).span, "and this");
    }
    Some(fault.help("no order can bring them all to their state; take one of the edges away"))
}

/// A circle in a graph, as the nodes on it in their order.
#[must_use]
pub fn find_cycle(upstream: &[Vec<StepId>]) -> Option<Vec<StepId>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; upstream.len()];
    for start in (0..upstream.len()).map(StepId) {
        if marks[start.0] != Mark::New {
            continue;
        }
        // The nodes from `start` down to where we are, and which edge is next.
        let mut path = vec![(start, 0)];
        marks[start.0] = Mark::Open;
        while let Some((at, edge)) = path.last_mut() {
            let Some(next) = upstream[at.0].get(*edge).copied() else {
                marks[at.0] = Mark::Done;
                path.pop();
                continue;
            };
            *edge += 1;
            match marks[next.0] {
                Mark::Done => {}
                Mark::New => {
                    marks[next.0] = Mark::Open;
                    path.push((next, 0));
                }
                Mark::Open => {
                    let on_path = path.iter().map(|(id, _)| *id);
                    return Some(on_path.skip_while(|id| *id != next).collect());
                }
            }
        }
    }
    None
}
