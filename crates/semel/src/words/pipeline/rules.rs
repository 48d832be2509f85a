//! What must be true of a pipeline file beyond the types of its values.
//!
//! Each rule is a function that looks at what the file says and reports what
//! contradicts it, with the place and the cure.

mod calls;
mod databases;
mod http;
mod placeholders;
mod together;

use std::collections::HashMap;

pub(super) use calls::faults as faults_of_calls;

use super::draft::{
    CheckDraft, CommandDraft, EachSourceDraft, HookDraft, InputSourceDraft, OutDraft,
    PipelineDraft, StepDraft,
};
use super::value::{Placed, Written};
use super::{Fault, InPlace, Items, Pipeline, StepId};
use crate::words::nearest;
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
    faults.parameters_have_a_source();
    faults.per_names_parameters(&pipeline.per);
    faults.databases_are_named();
    faults.calls();
    faults.hooks_do_something();
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

    /// Each parameter has its value from one source.
    fn parameters_have_a_source(&mut self) {
        for param in &self.pipeline.params {
            let sources = usize::from(param.value.is_some())
                + usize::from(param.required)
                + usize::from(param.command.is_some());
            if sources != 1 {
                let title = if sources == 0 {
                    format!("parameter `{}` has no value", param.name)
                } else {
                    format!("parameter `{}` has two sources", param.name)
                };
                self.say(
                    Fault::new(title, &param.span, "wants one of `value`, `required`, `command`")
                        .help("`required = true` asks for it on the command line: -p NAME=VALUE"),
                );
            }
            for text in param.command.iter().flat_map(CommandDraft::texts) {
                self.only_names_the_run(text, "a parameter", false);
            }
        }
    }

    fn hooks_do_something(&mut self) {
        let pipeline = self.pipeline;
        let hooks = [
            ("`[finally]`", &pipeline.finally),
            ("`[on-failure]`", &pipeline.on_failure),
            ("`[on-success]`", &pipeline.on_success),
        ];
        for (of, hook) in hooks {
            let Some(HookDraft { command, http, span, .. }) = hook else {
                continue;
            };
            match (command, http) {
                (None, None) => {
                    let title = format!("{of} does nothing");
                    let fault = Fault::new(title, span, "has no command");
                    self.say(fault.help("say what to `run`"));
                }
                (Some(_), Some(http)) => {
                    let title = format!("{of} does two things");
                    self.say(Fault::new(title, &http.span, "a command and a call"));
                }
                _ => {}
            }
            for text in command.iter().flat_map(CommandDraft::texts) {
                self.only_names_the_run(text, of, true);
            }
            if let Some(command) = command {
                self.stands_free(command);
            }
            if let Some(http) = http {
                self.call_is_whole(http);
                for text in http.texts() {
                    self.only_names_the_run(text, of, true);
                }
            }
        }
        if let Some(prelude) = &pipeline.prelude {
            self.is_one_line(prelude);
        }
    }

    /// A prelude is a line as it is: no placeholders are filled in.
    fn is_one_line(&mut self, prelude: &Placed<String>) {
        if prelude.what.contains('\n') {
            self.say(Fault::new("a prelude of several lines", &prelude.span, "wants one line"));
        } else if Template::parse(&prelude.what).is_ok_and(|text| !text.is_plain()) {
            self.say(Fault::new(
                "a placeholder without a value",
                &prelude.span,
                "a prelude is a line as it is",
            ));
        }
    }

    fn step(&mut self, step: &'a StepDraft) {
        if let Some(prelude) = &step.prelude {
            self.is_one_line(prelude);
        }
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
        let each = step.each.iter().flat_map(|each| &each.sources);
        let each = each.filter_map(|source| source.what.step());
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

    fn each_has_one_source(&mut self, step: &'a StepDraft) {
        let Some(each) = &step.each else { return };
        match each.sources.as_slice() {
            [] if step.is_whole => self.say(
                Fault::new("`each` names no items", &each.span, "without a source")
                    .help("say `files`, `lines`, `csv`, `command`, `outputs-of` or `items-of`"),
            ),
            [] | [_] => {}
            [first, second, ..] => self.say(
                Fault::new("`each` has two sources", &second.span, "a second source")
                    .also(&first.span, "the first one"),
            ),
        }
    }

    fn gathered_steps_have_outputs(&mut self, step: &'a StepDraft) {
        let each = step.each.iter().flat_map(|each| &each.sources);
        let each = each.filter_map(|source| match &source.what {
            EachSourceDraft::OutputsOf(step) => Some(step),
            _ => None,
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

    fn one_action(&mut self, step: &'a StepDraft) {
        match step.actions.as_slice() {
            // It may be a check alone.
            [] if step.check.is_some() => {}
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
        let names_item = |name: &Name| matches!(name, Name::Item(_) | Name::Column(_));
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
        if step.in_place.as_ref().is_some_and(|place| place.what != InPlace::No) {
            return;
        }
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
            if !told && step.actions.iter().any(|action| action.what.command().is_some()) {
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
        let is_ordered = step.ordered.as_ref().is_some_and(|ordered| ordered.what);
        let is_load = databases::loads(step).next().is_some();
        let is_settled = step.same.is_some() || is_ordered || is_load || step.actions.is_empty();
        if items_are_files(&self.steps, step) && step.outs.is_empty() && !is_settled {
            let title = format!("two files of equal content: what are they to `{}`?", step.name);
            self.say(
                Fault::new(title, &each.span, "nothing is written by which to tell them apart")
                    .help("add  same = \"content\"       and they are one piece of work, done once")
                    .help("add  same = \"name+content\"  and they are two"),
            );
        }
    }
}

fn gathered(step: &StepDraft) -> impl Iterator<Item = &Placed<String>> {
    step.inputs.iter().filter_map(|input| match &input.source {
        InputSourceDraft::OutputsOf(step) => Some(step),
        InputSourceDraft::Files(_) => None,
    })
}

/// What the items of a step are.
fn items_of(steps: &HashMap<&str, &StepDraft>, step: &StepDraft) -> Items {
    let mut step = step;
    // Steps may take their items from each other in a circle; that is told
    // elsewhere.
    for _ in 0..=steps.len() {
        let source = step.each.as_ref().and_then(|each| each.sources.first());
        match source.map(|source| &source.what) {
            Some(
                EachSourceDraft::Files(_)
                | EachSourceDraft::FilesFrom(_)
                | EachSourceDraft::OutputsOf(_),
            ) => return Items::Files,
            Some(EachSourceDraft::Csv(_) | EachSourceDraft::Json(_)) => return Items::Rows,
            Some(EachSourceDraft::ItemsOf(other)) => match steps.get(other.what.as_str()) {
                Some(other) => step = other,
                None => return Items::Values,
            },
            Some(EachSourceDraft::Lines(_) | EachSourceDraft::Command(_)) | None => {
                return Items::Values;
            }
        }
    }
    Items::Values
}

fn items_are_files(steps: &HashMap<&str, &StepDraft>, step: &StepDraft) -> bool {
    step.each.is_some() && items_of(steps, step) == Items::Files
}

/// The texts whose parameters decide what a task does.
fn counting_texts(step: &StepDraft) -> impl Iterator<Item = &Written> {
    let action = step.actions.iter().flat_map(|action| action.what.texts());
    let env = step.env.iter().map(|(_, value)| value);
    let check = step.check.iter().flat_map(CheckDraft::texts);
    action.chain(env).chain(&step.dir).chain(check)
}

fn mentions(template: &Template, which: impl Fn(&Name) -> bool) -> bool {
    template.placeholders().any(|hole| which(&hole.name))
}

/// The fault that the steps wait for each other in a circle.
pub(super) fn cycle(pipeline: &Pipeline, by_file: bool) -> Option<Fault> {
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
    if by_file {
        fault = fault.help("`order = \"file\"` lets each step wait for the one above it");
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
