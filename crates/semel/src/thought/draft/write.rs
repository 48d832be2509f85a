//! A draft as the text of a pipeline file.
//!
//! Invariant: the text has no faults. What would have some becomes a comment, with all
//! that names it.

use std::fmt::Write as _;

use super::scene::{Param, Source};
use super::step::{Each, List, Step};
use super::{Draft, Drafter, Part, Shell};
use crate::words::pipeline::{Pipeline, Span};

/// Writes the file.
pub(super) fn file(drafter: Drafter, script: &str, shell: Shell) -> Draft {
    let Drafter { scene, parts, .. } = drafter;
    let mut page = Page {
        script,
        shell,
        stops_at_errors: scene.stops_at_errors,
        params: scene.params,
        prelude: scene.prelude,
        parts,
        text: String::new(),
        places: Vec::new(),
    };
    loop {
        page.write();
        let Err(faults) = Pipeline::read(&page.text) else {
            break;
        };
        let at_fault = |(part, span): &(usize, Span)| {
            let fault = faults.iter().find(|fault| span.contains(&fault.span.start))?;
            Some((*part, format!("as a step it would have {}", fault.title.replace('\n', " "))))
        };
        let culprits: Vec<_> = page.places.iter().filter_map(at_fault).collect();
        if culprits.is_empty() {
            page.give_up();
            continue;
        }
        for (part, why) in culprits {
            page.leave(part, why);
        }
    }
    page.draft()
}

struct Page<'s> {
    script: &'s str,
    shell: Shell,
    stops_at_errors: bool,
    params: Vec<Param>,
    prelude: Vec<String>,
    parts: Vec<Part>,
    text: String,
    /// Where the steps stand in the text.
    places: Vec<(usize, Span)>,
}

impl Page<'_> {
    /// Makes a comment of a step.
    fn leave(&mut self, at: usize, why: String) {
        if let Part::Step(step) = &self.parts[at] {
            let text = step
                .front
                .iter()
                .map(String::as_str)
                .chain([step.run.as_str()])
                .collect::<Vec<_>>()
                .join("\n");
            self.parts[at] = Part::Left(step.lines, why, text);
        }
    }

    /// Leaves everything that could be at fault: then nothing is.
    fn give_up(&mut self) {
        let why = "the draft would not be a pipeline file".to_owned();
        for at in 0..self.parts.len() {
            self.leave(at, why.clone());
        }
        self.params.clear();
        self.prelude.clear();
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts.iter().filter_map(|part| match part {
            Part::Step(step) => Some(step),
            _ => None,
        })
    }

    fn draft(self) -> Draft {
        let left = self.parts.iter().filter_map(|part| match part {
            Part::Left(lines, ..) => Some(*lines),
            _ => None,
        });
        let mut left: Vec<_> = left.collect();
        left.sort_unstable();
        left.dedup();
        let required = self.params.iter().filter(|param| param.source == Source::Required);
        Draft {
            steps: self.steps().count(),
            once: self.steps().filter(|step| step.once).map(|step| step.name.clone()).collect(),
            required: required.map(|param| param.name.clone()).collect(),
            left,
            text: self.text,
        }
    }

    fn write(&mut self) {
        let mut text = String::new();
        comment(
            &mut text,
            &format!(
                "A draft of {}, made by `semel init --from`; it is yours to finish. Numbers",
                self.script
            ),
        );
        comment(
            &mut text,
            "are lines of the script. What is `left` is in no step yet: make one of it, or",
        );
        comment(&mut text, "take it away.");
        if !self.stops_at_errors {
            comment(
                &mut text,
                "The script goes on when a line fails. Here a step that fails ends the run, with",
            );
            comment(
                &mut text,
                "what comes after it; `|| true` says that a failure does not matter.",
            );
        }
        text += &format!("name  = \"{}\"\n", name_of(self.script));
        text += "order = \"file\"   # each step comes after the one above it\n";
        if self.shell == Shell::Sh {
            text += "shell = \"sh -eu -c\"\n";
        }
        let prelude = self.prelude.join("; ");
        if let Some(prelude) = (!prelude.is_empty()).then(|| literal(&prelude)).flatten() {
            text += &format!("prelude = {prelude}   # stands before every command\n");
        }
        self.write_params(&mut text);
        self.places.clear();
        for (at, part) in self.parts.iter().enumerate() {
            match part {
                Part::Step(step) => {
                    text.push('\n');
                    let from = text.len();
                    write_step(&mut text, step);
                    self.places.push((at, from..text.len()));
                }
                Part::Left(lines, why, script) => {
                    write_comment(&mut text, *lines, "left", why, script);
                }
                Part::Dropped(lines, why, script) => {
                    write_comment(&mut text, *lines, "left out", why, script);
                }
                Part::Folder(..) => {}
            }
        }
        if self.places.is_empty() {
            text += "\n# No line could be made a step. This one fails until you have made some.\n";
            text += "[step.unfinished]\nrun = 'echo \"the steps of this pipeline are not written yet\" >&2; exit 1'\n";
        }
        self.text = text;
    }

    fn write_params(&self, text: &mut String) {
        if self.params.is_empty() {
            return;
        }
        let names: Vec<_> = self.params.iter().map(|param| format!("\"{}\"", param.name)).collect();
        *text += &format!(
            "per   = [{}]   # each value has receipts of its own\n\n[params]\n",
            names.join(", ")
        );
        for Param { name, line, source } in &self.params {
            let value = match source {
                Source::Required => Some("{ required = true }".to_owned()),
                Source::Given(value) => Some(simple(value)),
                Source::Command(command) => literal(&super::known::escape(command))
                    .map(|command| format!("{{ command = {command} }}")),
            };
            let value = value.unwrap_or_else(|| "{ required = true }".to_owned());
            *text += &format!("{name} = {value}   # line {line}\n");
        }
    }
}

fn write_step(text: &mut String, step: &Step) {
    comment(text, &lines(step.lines));
    for note in &step.notes {
        wrapped(text, note);
    }
    *text += &format!("[step.{}]\n", step.name);
    if let Some(each) = &step.each {
        write_each(text, each, step);
    }
    let from: Vec<_> =
        step.from.iter().map(|name| format!("{{ outputs-of = \"{name}\" }}")).collect();
    let needs: Vec<_> = step.from.iter().map(|name| format!("\"{name}\"")).collect();
    let files: Vec<_> = step.files.iter().map(|file| simple(file)).collect();
    match (step.once, from.is_empty()) {
        (true, false) => *text += &format!("needs = {}\n", one_or_more(&needs)),
        (true, true) => {}
        (false, _) => {
            let inputs: Vec<_> = from.into_iter().chain(files).collect();
            if !inputs.is_empty() {
                *text += &format!("in   = {}\n", one_or_more(&inputs));
            }
        }
    }
    match step.outs.as_slice() {
        [] => {}
        [out] => *text += &format!("out  = {}\n", simple(&out.path.template())),
        outs => {
            let outs: Vec<_> = outs
                .iter()
                .map(|out| format!("{} = {}", out.key, simple(&out.path.template())))
                .collect();
            *text += &format!("out  = {{ {} }}\n", outs.join(", "));
        }
    }
    if let Some(per) = &step.per {
        let per: Vec<_> = per.iter().map(|name| format!("\"{name}\"")).collect();
        *text += &format!("per  = [{}]\n", per.join(", "));
    }
    if let Some(dir) = &step.dir {
        *text += &format!("dir  = {}\n", simple(dir));
    }
    if step.once {
        *text += "once = true\n";
    }
    if !step.env.is_empty() {
        let env: Vec<_> =
            step.env.iter().map(|(name, value)| format!("{name} = {}", simple(value))).collect();
        *text += &format!("env  = {{ {} }}\n", env.join(", "));
    }
    if !step.secrets.is_empty() {
        let secrets: Vec<_> = step.secrets.iter().map(|name| format!("\"{name}\"")).collect();
        *text += &format!("secret-env = [{}]\n", secrets.join(", "));
    }
    let run: Vec<_> = step.front.iter().map(String::as_str).chain([step.run.as_str()]).collect();
    *text += &format!("run  = {}\n", command(&run.join("\n")));
}

fn write_each(text: &mut String, each: &Each, step: &Step) {
    let empty = if each.may_be_empty { ", empty = \"ok\"" } else { "" };
    let list = match &each.list {
        List::Files(pattern) if !each.may_be_empty => simple(pattern),
        List::Files(pattern) => format!("{{ files = {}{empty} }}", simple(pattern)),
        List::Lines(file) => format!("{{ lines = {} }}", simple(file)),
        List::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| simple(word)).collect();
            format!("{{ command = [\"printf\", '%s\\n', {}] }}", words.join(", "))
        }
        List::Command(command) => format!("{{ command = {} }}", simple(command)),
        List::OutputsOf(step) => format!("{{ outputs-of = \"{step}\"{empty} }}"),
    };
    *text += &format!("each = {list}\n");
    if step.outs.is_empty() {
        if each.list.is_of_files() {
            *text += "same = \"name+content\"\n";
        }
        *text += "jobs = 1   # one at a time, as in the script\n";
        if each.stops {
            *text += "max-failures = 1\n";
        }
    }
}

/// A comment as long as it need be, in lines of at most 80 columns.
fn wrapped(text: &mut String, said: &str) {
    let mut line = String::new();
    let mut in_code = false;
    for word in said.split(' ') {
        // What stands in backticks is to be found by its text.
        if !line.is_empty() && !in_code && line.chars().count() + word.chars().count() > 77 {
            comment(text, &line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
        in_code ^= word.matches('`').count() % 2 == 1;
    }
    comment(text, &line);
}

/// A comment of one line.
fn comment(text: &mut String, line: &str) {
    let shown: String = line.chars().flat_map(shown).collect();
    writeln!(text, "# {}", shown.trim_end()).expect("a string takes all");
}

fn shown(c: char) -> Vec<char> {
    if c.is_control() && c != '\t' { c.escape_default().collect() } else { vec![c] }
}

fn write_comment(text: &mut String, at: (usize, usize), what: &str, why: &str, script: &str) {
    text.push('\n');
    wrapped(text, &format!("{}, {what}: {why}", lines(at)));
    for line in script.split('\n') {
        comment(text, &format!("    {line}"));
    }
}

fn lines((first, last): (usize, usize)) -> String {
    if first == last { format!("line {first}") } else { format!("lines {first} to {last}") }
}

fn one_or_more(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// A text of one line; one that no literal can hold is at fault, and is left.
fn simple(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || " _-./*?[]{}@:,+=%".contains(c);
    if value.chars().all(is_plain) {
        return format!("\"{value}\"");
    }
    literal(value).unwrap_or_else(|| "0".to_owned())
}

/// A literal text, if there is one that says this.
fn literal(value: &str) -> Option<String> {
    let has_odd = value.chars().any(super::is_odd);
    match () {
        () if has_odd || value.contains("'''") || value.ends_with('\'') && value.contains('\n') => {
            None
        }
        () if !value.contains(['\'', '\n']) => Some(format!("'{value}'")),
        // A newline at its beginning would be taken for that of the quotes.
        () if value.contains('\n') => Some(format!("'''\n{value}'''")),
        () if value.ends_with('\'') => None,
        () => Some(format!("'''{value}'''")),
    }
}

/// A command; a newline at its end changes nothing.
fn command(value: &str) -> String {
    if value.contains('\n') || value.ends_with('\'') {
        let value = value.trim_end_matches('\n');
        return literal(&format!("{value}\n")).unwrap_or_else(|| "0".to_owned());
    }
    literal(value).unwrap_or_else(|| "0".to_owned())
}

/// A name for a pipeline.
fn name_of(script: &str) -> String {
    let name = script.rsplit('/').next().unwrap_or(script);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_good = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let name: String = stem.chars().filter(is_good).collect();
    if name.is_empty() { "pipeline".to_owned() } else { name }
}
