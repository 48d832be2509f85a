//! A draft of a pipeline file, made of a shell script that knows nothing of semel.
//!
//! It is for a human to finish. What can be told of a line exactly becomes a step; what
//! is only for scripts (a lock, an `echo`) is left out, with the reason; all else stands
//! as a comment with its line and why. Nothing is run, and nothing but the text is
//! looked at.
//!
//! Invariant: a draft is a pipeline file without faults, whatever the script says.

mod fan_out;
mod files;
mod known;
mod naming;
mod only_for_scripts;
mod scene;
mod settings;
mod statement;
mod step;
mod write;

use std::collections::BTreeSet;

use fan_out::Loop;
use files::renaming;
use known::Known;
use only_for_scripts::{flag, is_lock, is_talk, is_usage};
use scene::{Scene, assigned, assignment};
use statement::{Statement, statements};
use step::{Maker, Step};

use crate::words::shell::Simple;

/// A draft.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The pipeline file.
    pub text: String,
    /// How many steps it has.
    pub steps: usize,
    /// The lines of the script that are in no step, and wait for a human: the first and
    /// the last of each statement.
    pub left: Vec<(usize, usize)>,
    /// The steps of which it asks whether they are to happen once only.
    pub once: Vec<String>,
    /// The parameters that must be given.
    pub required: Vec<String>,
}

/// Why there is no draft.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDraft {
    /// There is nothing in it.
    #[error("is empty")]
    Empty,
    /// Another interpreter is named in its first line.
    #[error("is no script for bash or sh: its first line names `{0}`")]
    OtherInterpreter(String),
    /// It holds bytes that no text has.
    #[error("is no text: it has a NUL byte")]
    NoText,
    /// It has comments only.
    #[error("has no command")]
    NoCommand,
}

/// Drafts a pipeline file; `file` is the name of the script.
///
/// # Errors
/// If it is no shell script, or does nothing.
///
/// ```
/// use semel::{thought::draft::draft, words::pipeline::Pipeline};
/// let made = draft("sort a.csv > b.csv\n", "tidy.sh").unwrap();
/// assert!(Pipeline::read(&made.text).unwrap().steps[0].name == "b");
/// ```
pub fn draft(script: &str, file: &str) -> Result<Draft, NoDraft> {
    if script.trim().is_empty() {
        return Err(NoDraft::Empty);
    }
    if script.contains('\0') {
        return Err(NoDraft::NoText);
    }
    let shell = interpreter(script)?;
    let script = script.replace("\r\n", "\n");
    let all = statements(&script, 1);
    if all.iter().all(|statement| statement.reading.simples.is_empty()) {
        return Err(NoDraft::NoCommand);
    }
    let mut drafter = Drafter::new(&all);
    drafter.statements(&all, false);
    if !drafter.parts.iter().any(|part| matches!(part, Part::Step(_) | Part::Folder(..))) {
        // What only talks is all that it does.
        drafter = Drafter::new(&all);
        drafter.statements(&all, true);
    }
    drafter.place_folders();
    drafter.part_instances();
    Ok(write::file(drafter, file, shell))
}

/// Which shell a script is for.
fn interpreter(script: &str) -> Result<Shell, NoDraft> {
    let Some(first) = script.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
        return Ok(Shell::Bash);
    };
    let mut words = first.split_whitespace();
    let mut program = words.next().unwrap_or("");
    if program.rsplit('/').next() == Some("env") {
        program = words.find(|word| !word.starts_with('-')).unwrap_or(program);
    }
    match program.rsplit('/').next().unwrap_or(program) {
        "bash" => Ok(Shell::Bash),
        "sh" | "dash" | "ash" => Ok(Shell::Sh),
        _ => Err(NoDraft::OtherInterpreter(first.trim().to_owned())),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shell {
    Bash,
    Sh,
}

/// What a part of a script became.
enum Part {
    Step(Step),
    /// Folders that a line makes, until it is known whether semel makes them.
    Folder(Statement, Box<Step>, Vec<(String, Option<Known>)>),
    /// For a human: the lines, the reason, the text.
    Left((usize, usize), String, String),
    /// Left out: the lines, the reason, the text.
    Dropped((usize, usize), String, String),
}

/// Goes through a script from its first line to its last.
struct Drafter {
    scene: Scene,
    parts: Vec<Part>,
    /// The line that went to a folder which only the shell knows.
    lost_at: Option<usize>,
    /// Folders that the script came from.
    former: Vec<Option<Known>>,
}

impl Drafter {
    fn new(all: &[Statement]) -> Self {
        let flags = only_for_scripts::flags(all);
        let scene = Scene { flags, ..Scene::default() };
        Self { scene, parts: Vec::new(), lost_at: None, former: Vec::new() }
    }

    fn steps(&self) -> Vec<Step> {
        let step = |part: &Part| match part {
            Part::Step(step) => Some(step.clone()),
            _ => None,
        };
        self.parts.iter().filter_map(step).collect()
    }

    fn left(&mut self, statement: &Statement, why: impl Into<String>) {
        let reading = assigned(statement);
        self.scene.forget(&reading, statement.lines.0);
        self.parts.push(Part::Left(statement.lines, why.into(), statement.text.clone()));
    }

    fn dropped(&mut self, statement: &Statement, why: &str) {
        // What is left out for one reason is told once.
        if let Some(Part::Dropped(lines, last, text)) = self.parts.last_mut()
            && last == why
            && statement.lines.0 <= lines.1 + 1
        {
            lines.1 = statement.lines.1;
            text.push('\n');
            text.push_str(&statement.text);
            return;
        }
        self.parts.push(Part::Dropped(statement.lines, why.to_owned(), statement.text.clone()));
    }

    fn statements(&mut self, all: &[Statement], keeps_talk: bool) {
        for (at, statement) in all.iter().enumerate() {
            let is_last = at + 1 == all.len();
            self.statement(statement, is_last, keeps_talk);
        }
    }

    fn statement(&mut self, statement: &Statement, is_last: bool, keeps_talk: bool) {
        if !statement.is_whole {
            return self
                .left(statement, "does not end: a quote, a group or a here-document is open");
        }
        if statement.is_in_background {
            return self.left(statement, "runs in the background: make a step of it; steps that wait for nothing run at once");
        }
        if statement.text.contains("'''") || statement.text.contains(is_odd) {
            return self.left(statement, "has what no text of TOML can hold as it is");
        }
        if statement.reading.simples.is_empty() {
            let names = statement.variables().map(|variable| variable.name.clone()).collect();
            self.scene.forget(&names, statement.lines.0);
            return self.left(statement, "has no command: what it counts, only the shell knows");
        }
        if is_lock(statement, &self.scene) {
            return self
                .dropped(statement, "a lock or flag: semel holds a lease, and keeps receipts");
        }
        if let Some(flag) = flag(statement, &self.scene) {
            let why = format!(
                "asks for the flag {flag}: semel keeps receipts, make a step of what it guards"
            );
            return self.left(statement, why);
        }
        if is_usage(statement) {
            return self.dropped(statement, "semel asks for its parameters itself");
        }
        if let Some(name) = function(statement) {
            let own = assigned(statement);
            let new = own.into_iter().filter(|name| !self.scene.vars.contains_key(name));
            let new = new.collect();
            self.scene.forget(&new, statement.lines.0);
            self.scene.functions.insert(name, statement.clone());
            return;
        }
        if self.setting(statement, is_last) {
            return;
        }
        if let Some(line) = self.lost_at {
            return self.left(statement, format!("is done in the folder that line {line} goes to"));
        }
        if !keeps_talk && is_talk(statement, &self.scene) {
            return self.dropped(statement, "only talks: semel says where it stands");
        }
        if self.only_sets(statement) || self.folders(statement) || self.renames(statement) {
            return;
        }
        let guarded = statement.guarded().map(|text| Statement::of(&text, statement.lines));
        let command = guarded.as_ref().unwrap_or(statement);
        let above = self.steps();
        match fan_out::fan_out(command, &mut self.scene, &above) {
            Loop::Step(step) => self.step(*step),
            Loop::Left(why) => return self.left(statement, why),
            Loop::Other => {
                let is_cd = |simple: &Simple| matches!(simple.name(), "cd" | "pushd" | "popd");
                let goes = command.outer().any(|simple| {
                    let function = self.scene.functions.get(simple.name());
                    let calls = function.is_some_and(|it| it.reading.simples.iter().any(is_cd));
                    (is_cd(simple) || calls) && command.group_end(&simple.range).is_none()
                });
                if goes {
                    self.lost_at = Some(statement.lines.0);
                }
                let made = Maker { scene: &mut self.scene, above: &above }.step(command, None);
                match made {
                    Ok(step) => self.step(step),
                    Err(why) => return self.left(statement, why),
                }
            }
        }
        // What it sets is gone with its shell.
        let only_for_it = |name: &String| !sets_for_later(statement, name);
        let mut names = assigned(statement);
        names.retain(|name| !only_for_it(name));
        for simple in statement.outer() {
            let function = self.scene.functions.get(simple.name());
            names.extend(function.iter().flat_map(|function| sets_outside(function)));
        }
        self.scene.forget(&names, statement.lines.0);
    }

    /// Takes in a step, under a name that no other has.
    fn step(&mut self, step: Step) {
        let mut step = step;
        let above = self.steps();
        let is_taken = |name: &str| above.iter().any(|other| other.name == name);
        let numbered = (2..).map(|number| format!("{}-{number}", step.name));
        let mut names = std::iter::once(step.name.clone()).chain(numbered);
        step.name = names.find(|name| !is_taken(name)).unwrap_or_default();
        self.parts.push(Part::Step(step));
    }

    /// A statement that only asks and sets variables is put in front of what uses them;
    /// whether it is one.
    fn only_sets(&mut self, statement: &Statement) -> bool {
        let names = assigned(statement);
        let is_setting = |simple: &crate::words::shell::Simple| {
            simple.redirections.is_empty()
                && (simple.command().is_empty()
                    || matches!(
                        simple.name(),
                        "test" | "[" | "[[" | "true" | ":" | "fi" | "case" | "esac" | "}"
                    ))
        };
        let outer_sets = statement.outer().all(is_setting);
        let is_pure = statement.reading.simples.iter().all(|simple| simple.depth == 0);
        if names.is_empty() || !outer_sets || !is_pure || in_parentheses(statement) {
            return false;
        }
        let is_clear = |name: &String| match self.scene.vars.get(name).map(|var| &var.value) {
            None | Some(scene::Value::Known(_)) => true,
            Some(_) => false,
        };
        if !names.iter().all(is_clear) {
            self.left(statement, "sets what lines above set in ways of their own");
            return true;
        }
        for name in names {
            self.scene.takes_line(&name, statement);
        }
        true
    }

    /// `mkdir -p` waits until the outputs are known; whether it is that.
    fn folders(&mut self, statement: &Statement) -> bool {
        let Some(simple) = statement.alone() else { return false };
        let words: Vec<_> =
            simple.arguments().iter().map(|word| statement.raw(&word.range)).collect();
        let (options, folders): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.starts_with('-'));
        if simple.name() != "mkdir"
            || options != ["-p"]
            || folders.is_empty()
            || !simple.redirections.is_empty()
            || self.scene.dir.is_some()
        {
            return false;
        }
        let above = self.steps();
        let Ok(step) = (Maker { scene: &mut self.scene, above: &above }).step(statement, None)
        else {
            return false;
        };
        let folders =
            folders.into_iter().map(|word| (word.to_owned(), self.scene.read(word))).collect();
        self.parts.push(Part::Folder(statement.clone(), Box::new(step), folders));
        true
    }

    /// `mv x.tmp x` after the step that made `x.tmp`: semel publishes whole anyway.
    fn renames(&mut self, statement: &Statement) -> bool {
        let Some(simple) = statement.alone() else { return false };
        let read = |word: &crate::words::shell::Word| self.scene.read(statement.raw(&word.range));
        let Some((from, to)) = renaming(simple, &read) else { return false };
        let is_taken = self.steps().iter().any(|step| {
            let out = |out: &step::Out| known::may_meet(&out.shape, &to.shape(None));
            step.outs.iter().any(out)
                || step.files.iter().any(|file| known::may_meet(file, &to.shape(None)))
        });
        let last = self.parts.iter_mut().rev().find_map(|part| match part {
            Part::Step(step) => Some(step),
            _ => None,
        });
        let Some(step) = last.filter(|step| step.each.is_none() && step.dir.is_none() && !is_taken)
        else {
            return false;
        };
        let Some(out) = step.outs.iter_mut().find(|out| out.path == from) else {
            return false;
        };
        out.shape = to.shape(None);
        out.path = to;
        self.dropped(statement, "semel puts outputs in their places when they are whole");
        true
    }

    /// Folders of outputs are semel's to make; others are made by what uses them first.
    fn place_folders(&mut self) {
        let mut at = 0;
        while at < self.parts.len() {
            let Part::Folder(statement, step, folders) = &self.parts[at] else {
                at += 1;
                continue;
            };
            let (statement, step) = (statement.clone(), step.clone());
            let steps = self.steps();
            let is_made = |folder: &Option<Known>| {
                let folder = folder.as_ref().map(Known::template);
                folder.is_some_and(|folder| {
                    steps
                        .iter()
                        .flat_map(|step| &step.outs)
                        .any(|out| fan_out::holds(&folder, &out.path.template()))
                })
            };
            let others: Vec<_> =
                folders.iter().filter(|(_, folder)| !is_made(folder)).cloned().collect();
            if others.is_empty() {
                let why = "semel makes the folders of outputs".to_owned();
                self.parts[at] = Part::Dropped(statement.lines, why, statement.text.clone());
                continue;
            }
            let names = |step: &Step| {
                !step.run.starts_with("rm ")
                    && others.iter().any(|(raw, folder)| {
                        let folder = folder.as_ref().map_or_else(|| raw.clone(), Known::template);
                        let folder = folder.trim_end_matches('/').to_owned();
                        step.words.iter().any(|word| {
                            word.trim_end_matches('/') == folder
                                || word.starts_with(&(folder.clone() + "/"))
                        })
                    })
            };
            let user = self.parts[at..].iter_mut().find_map(|part| match part {
                Part::Step(step) if names(step) => Some(step),
                _ => None,
            });
            match user {
                Some(user) => {
                    let words: Vec<_> = others.iter().map(|(raw, _)| known::escape(raw)).collect();
                    user.front.extend(
                        step.front
                            .iter()
                            .filter(|line| !user.front.contains(line))
                            .cloned()
                            .collect::<Vec<_>>(),
                    );
                    user.front.push(format!("mkdir -p {}", words.join(" ")));
                    user.env.extend(step.env.clone());
                    let why = format!("`{}` makes what folders semel does not", user.name);
                    self.parts[at] = Part::Dropped(statement.lines, why, statement.text.clone());
                }
                None => {
                    let mut step = *step;
                    let taken: Vec<_> = self.steps().iter().map(|step| step.name.clone()).collect();
                    while taken.contains(&step.name) {
                        step.name += "-2";
                    }
                    self.parts[at] = Part::Step(step);
                }
            }
        }
    }

    /// Each value of the parameters is an instance, with receipts of its own; but what
    /// writes the same files for all of them is one.
    fn part_instances(&mut self) {
        let all: Vec<_> = self.scene.params.iter().map(|param| param.name.clone()).collect();
        for part in &mut self.parts {
            let Part::Step(step) = part else { continue };
            if step.outs.is_empty() {
                continue;
            }
            let is_in = |out: &step::Out, name: &String| {
                out.path.template().contains(&format!("{{{{ params.{name} }}}}"))
            };
            let named: Vec<_> = all
                .iter()
                .filter(|name| step.outs.iter().all(|out| is_in(out, name)))
                .cloned()
                .collect();
            step.per = (named.len() < all.len()).then_some(named);
        }
    }
}

/// Bytes that no literal text of TOML may have.
fn is_odd(c: char) -> bool {
    c.is_control() && c != '\n' && c != '\t'
}

/// The name of the function that a statement defines.
fn function(statement: &Statement) -> Option<String> {
    let text = statement.text.strip_prefix("function ").unwrap_or(&statement.text).trim_start();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || "_-.:".contains(c)))?;
    let (name, rest) = text.split_at(end);
    let rest = rest.trim_start();
    let behind = rest.strip_prefix('(').and_then(|rest| rest.trim_start().strip_prefix(')'));
    let is_function = match behind {
        Some(body) => body.trim_start().starts_with(['{', '(']),
        None => text.len() < statement.text.len() && rest.starts_with('{'),
    };
    let ends = statement.text.ends_with(['}', ')']);
    (!name.is_empty() && is_function && ends).then(|| name.to_owned())
}

/// Whether all of a statement stands in parentheses: what it does to its shell is gone.
fn in_parentheses(statement: &Statement) -> bool {
    let joints = &statement.reading.joints;
    joints.first().is_some_and(|joint| joint.text == "(" && joint.range.start == 0)
        && statement.outer().all(|simple| {
            joints.iter().any(|joint| joint.text == ")" && joint.range.start >= simple.range.end)
        })
}

/// The variables that a function sets for those who call it.
fn sets_outside(function: &Statement) -> BTreeSet<String> {
    let mut names = assigned(function);
    for simple in &function.reading.simples {
        if matches!(function.head(simple), "local" | "declare" | "typeset") {
            for word in &simple.words {
                names.remove(function.raw(&word.range).split('=').next().unwrap_or(""));
            }
        }
    }
    names
}

/// Whether a statement sets a variable for those after it, not for one command only.
fn sets_for_later(statement: &Statement, name: &str) -> bool {
    statement.reading.simples.iter().any(|simple| {
        let words: Vec<_> = simple.words.iter().map(|word| statement.raw(&word.range)).collect();
        let is_set = words.iter().any(|word| assignment(word).is_some_and(|(set, _)| set == name));
        let is_prefix = is_set
            && !simple.command().is_empty()
            && words.first().is_some_and(|word| assignment(word).is_some());
        let is_named =
            words.iter().skip(1).any(|word| *word == name || word.starts_with(&format!("{name}=")));
        (is_set && !is_prefix) || is_named
    }) && !in_parentheses(statement)
}

#[cfg(test)]
mod tests;
