//! Loops over lists: what a loop fans out over, and what it does for each item.

use std::ops::Range;

use super::known::{Item, Known, may_meet};
use super::scene::{Scene, is_plain_name};
use super::statement::{Statement, statements};
use super::step::{Each, List, Maker, Step};
use crate::words::shell::Simple;

/// A loop as a step, or why it is none.
pub(super) enum Loop {
    /// Not one over a list that is known before it begins; a command like any other.
    Other,
    Step(Box<Step>),
    Left(String),
}

/// Makes a step of a loop that does the same for each item of a list.
pub(super) fn fan_out(statement: &Statement, scene: &mut Scene, above: &[Step]) -> Loop {
    let Some((variable, list)) = head(statement, scene, above) else {
        return Loop::Other;
    };
    let (list, pattern) = match list {
        Ok(list) => list,
        Err(why) => return Loop::Left(why),
    };
    let Some(place) = statement.body() else {
        return Loop::Other;
    };
    let raw = statement.raw(&place);
    if leaves_early(raw) {
        return Loop::Other;
    }
    if scene.dir.is_some() {
        return Loop::Left("goes over a list in a folder that `cd` went to".to_owned());
    }
    let item = Item { variable, pattern };
    let may_be_empty = scene.may_match_nothing && list.is_of_files();
    let mut each = Each { list, item, stops: scene.stops_at_errors, may_be_empty };
    let lines = (statement.lines.0, statement.lines.1);
    let mut body = Body::of(raw);
    each.may_be_empty |= body.cut_what_asks_for_items(&each.item);
    let tested = body.cut_what_asks_for_outputs(scene, &each.item);
    let counters = body.cut_counters();
    if let Some(name) = counters.iter().find(|name| body.uses(name)) {
        return Loop::Left(format!("carries `${name}` from one item to the next"));
    }
    let folders = body.folders();
    let full = body.text(&[]);
    let short = body.text(&folders);
    let made = make(scene, above, &short, lines, &each).and_then(|step| {
        let is_made = |statement: &Statement| makes_folders_of(statement, &step, scene, &each.item);
        match body.statements.iter().filter(|one| folders.contains(&one.range)).all(is_made) {
            true => Ok(step),
            false => make(scene, above, &full, lines, &each),
        }
    });
    let mut step = match made {
        Ok(step) => step,
        Err(why) => return Loop::Left(why),
    };
    let is_made = |path: &String| step.outs.iter().any(|out| out.path.template() == *path);
    if !tested.iter().all(is_made) {
        return Loop::Left("skips items by a test of its own".to_owned());
    }
    if !tested.is_empty() {
        let note = "the test whether it is there already is left out: a file that is there may be half a file; semel knows what it made";
        step.notes.push(note.to_owned());
    }
    tell_of_list(&mut step, above);
    Loop::Step(Box::new(step))
}

fn make(
    scene: &mut Scene,
    above: &[Step],
    text: &str,
    lines: (usize, usize),
    each: &Each,
) -> Result<Step, String> {
    let body = Statement::of(text, lines);
    if body.reading.simples.is_empty() {
        return Err("does nothing for its items".to_owned());
    }
    // Only how its last statement ends is how it ends.
    let last = statements(&body.text, 1).last().map(|last| (last.range.clone(), last.guarded()));
    let body = match last {
        Some((range, Some(guarded))) => {
            Statement::of(&format!("{}{guarded}", &body.text[..range.start]), lines)
        }
        _ => body,
    };
    Maker { scene, above }.step(&body, Some(each))
}

/// Semel lists files before anything is run; the script did when it came to the loop.
fn tell_of_list(step: &mut Step, above: &[Step]) {
    let Some(List::Files(pattern)) = step.each.as_ref().map(|each| &each.list) else {
        return;
    };
    let Some((folder, _)) = pattern.rsplit_once('/') else {
        return;
    };
    let names = |other: &&Step| {
        other.outs.is_empty()
            && other
                .words
                .iter()
                .any(|word| word.trim_end_matches('/').trim_start_matches("./") == folder)
    };
    if let Some(other) = above.iter().find(names) {
        step.notes.push(format!(
            "`{0}` seems to bring these files, but they are listed when a run begins: let `{0}` write their names to an `out`, and say here `each = {{ files-from = \"…\" }}`",
            other.name
        ));
    }
}

type Listed = Result<(List, Option<Known>), String>;

/// The variable of a loop, and its list.
fn head(statement: &Statement, scene: &Scene, above: &[Step]) -> Option<(String, Listed)> {
    let outer: Vec<_> = statement.outer().collect();
    let (last, first) = (*outer.last()?, *outer.first()?);
    let ends = statement.head(last) == "done"
        && last.words.len() == 1
        && last.range.end == statement.text.len();
    if !ends {
        return None;
    }
    let raw: Vec<_> = first.words.iter().map(|word| statement.raw(&word.range)).collect();
    match raw.as_slice() {
        ["for", variable, "in", words @ ..]
            if first.range.start == 0
                && is_plain_name(variable)
                && last.redirections.is_empty() =>
        {
            Some(((*variable).to_owned(), of_words(words, scene, above)))
        }
        _ => of_lines(statement, scene, first, last),
    }
}

/// The list of `for … in WORDS`.
fn of_words(words: &[&str], scene: &Scene, above: &[Step]) -> Listed {
    if let [word] = words {
        if let Some(command) = word.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')) {
            return of_command(command, scene, above);
        }
        if let Some(known) = scene.read(word).filter(Known::has_glob) {
            return of_files(known, above);
        }
        if let Some((from, to)) = word
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .and_then(|rest| rest.split_once(".."))
            && from.parse::<i64>().is_ok()
            && to.parse::<i64>().is_ok()
            && !from.starts_with('0')
            && from.len() <= to.len()
        {
            return Ok((List::Command(format!("seq {from} {to}")), None));
        }
    }
    let known: Option<Vec<_>> = words.iter().map(|word| scene.read(word)).collect();
    let Some(known) = known.filter(|known| !known.is_empty()) else {
        return Err("goes over a list that only the shell knows".to_owned());
    };
    if known.iter().any(Known::has_glob) {
        return Err("goes over several patterns: make a step of each".to_owned());
    }
    let mut texts: Vec<_> = known.iter().map(Known::template).collect();
    let count = texts.len();
    texts.sort();
    texts.dedup();
    if texts.len() < count || texts.iter().any(String::is_empty) {
        return Err("goes over a list in which a value comes twice".to_owned());
    }
    Ok((List::Words(known.iter().map(Known::template).collect()), None))
}

fn of_files(known: Known, above: &[Step]) -> Listed {
    if known.template().ends_with('/') {
        return Err("goes over folders: semel's items are files and values".to_owned());
    }
    let Some(pattern) = known.pattern() else {
        return Err("goes over a pattern that semel reads in another way".to_owned());
    };
    let pattern = pattern.strip_prefix("./").unwrap_or(&pattern).to_owned();
    let meets = |step: &&Step| step.outs.iter().any(|out| may_meet(&out.shape, &pattern));
    let mut makers = above.iter().filter(meets);
    match (makers.next(), makers.next()) {
        (None, _) => Ok((List::Files(pattern), Some(known))),
        (Some(step), None) if step.outs.len() == 1 && step.outs[0].shape == pattern => {
            Ok((List::OutputsOf(step.name.clone()), Some(known)))
        }
        (Some(step), _) => Err(format!(
            "its pattern takes what step `{}` makes: if that is meant, each = {{ outputs-of = \"{}\" }}",
            step.name, step.name
        )),
    }
}

/// The list of `for … in $(COMMAND)`.
fn of_command(command: &str, scene: &Scene, above: &[Step]) -> Listed {
    let asked = Statement::of(command, (0, 0));
    if let Some(file) = command.trim().strip_prefix('<').and_then(|file| scene.read(file.trim())) {
        return Ok((List::Lines(file.template()), None));
    }
    let unknown = || {
        Err("goes over what a command prints, word by word: where that is one a line,  each = { command = '…' }".to_owned())
    };
    let Some(simple) = asked.alone().filter(|simple| simple.redirections.is_empty()) else {
        return unknown();
    };
    let words: Option<Vec<_>> =
        simple.words.iter().map(|word| scene.read(asked.raw(&word.range))).collect();
    let Some(words) = words else { return unknown() };
    match (simple.name(), words.as_slice()) {
        ("cat", [_, file]) if !file.has_glob() => Ok((List::Lines(file.template()), None)),
        ("ls", [_, files]) if files.has_glob() => of_files(files.clone(), above),
        ("seq", [_, rest @ ..])
            if !rest.is_empty() && rest.iter().all(|word| word.plain().is_some()) =>
        {
            Ok((List::Command(command.trim().to_owned()), None))
        }
        _ => unknown(),
    }
}

/// The list of `while read -r LINE; do … done < FILE`, or of `cat FILE | while …`.
fn of_lines(
    statement: &Statement,
    scene: &Scene,
    first: &Simple,
    last: &Simple,
) -> Option<(String, Listed)> {
    let opener = statement.reading.joints.iter().find(|joint| joint.text == "while")?;
    let (file, reader) = match last.redirections.as_slice() {
        [one] if one.operator == "<" && opener.range.start == 0 => (&one.operand, first),
        [] if first.name() == "cat" && first.writes_pipe && first.words.len() == 2 => {
            (&first.words[1], statement.outer().nth(1)?)
        }
        _ => return None,
    };
    let raw: Vec<_> = reader.words.iter().map(|word| statement.raw(&word.range)).collect();
    let raw = raw.strip_prefix(&["IFS="]).unwrap_or(&raw);
    let variable = match raw {
        ["read", "-r", variable] | ["read", variable] if is_plain_name(variable) => *variable,
        _ => return None,
    };
    let is_next =
        statement.reading.joints.iter().filter(|joint| joint.range.start >= reader.range.end);
    let mut next = is_next.filter(|joint| !matches!(joint.text.as_str(), ";" | "\n" | "#"));
    if next.next()?.text != "do" {
        return None;
    }
    let file = scene.read(statement.raw(&file.range)).filter(|file| !file.has_glob())?;
    Some((variable.to_owned(), Ok((List::Lines(file.template()), None))))
}

/// Whether a body ends its loop: then that is no list of work, but an attempt.
fn leaves_early(body: &str) -> bool {
    let mut loops = 0_u32;
    let body = Statement::of(body, (0, 0));
    let whiles = body
        .reading
        .joints
        .iter()
        .filter(|joint| matches!(joint.text.as_str(), "while" | "until"))
        .count();
    body.outer().any(|simple| {
        match body.head(simple) {
            "for" | "select" => loops += 1,
            "done" => loops = loops.saturating_sub(1),
            "break" => return loops == 0 && whiles == 0,
            _ => {}
        }
        false
    })
}

/// Whether a statement makes only folders that semel makes itself.
fn makes_folders_of(statement: &Statement, step: &Step, scene: &Scene, item: &Item) -> bool {
    let value = |name: &str| match name == item.variable {
        true => Some(Known::hole("item")),
        false => scene.known(name),
    };
    let reader = super::known::Reader { value: &value, item: Some(item) };
    let Some(simple) = statement.alone() else { return false };
    let arguments = simple.arguments().iter().map(|word| statement.raw(&word.range));
    arguments.filter(|word| !word.starts_with('-')).all(|word| {
        reader.read(word).is_some_and(|folder| {
            step.outs.iter().any(|out| holds(&folder.template(), &out.path.template()))
        })
    })
}

/// Whether a folder is one of those that lead to an output.
pub(super) fn holds(folder: &str, out: &str) -> bool {
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    out.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

/// What is done for each item.
struct Body<'b> {
    raw: &'b str,
    statements: Vec<Statement>,
    cut: Vec<Range<usize>>,
}

impl<'b> Body<'b> {
    fn of(raw: &'b str) -> Self {
        Self { raw, statements: statements(raw, 1), cut: Vec::new() }
    }

    /// `[ -e "$f" ] || continue`: the pattern may match nothing.
    fn cut_what_asks_for_items(&mut self, item: &Item) -> bool {
        let is_item = |word: &str| {
            word.trim_matches('"')
                .trim_start_matches("${")
                .trim_start_matches('$')
                .trim_end_matches('}')
                == item.variable
        };
        let asks = |statement: &&Statement| {
            tested(statement, "||")
                .is_some_and(|(test, file)| matches!(test, "-e" | "-f") && is_item(file))
        };
        let found: Vec<_> =
            self.statements.iter().filter(asks).map(|one| one.range.clone()).collect();
        self.cut.extend(found.iter().cloned());
        !found.is_empty() && item.pattern.is_some()
    }

    /// `[ -s "$out" ] && continue`: gives the paths that are asked for.
    fn cut_what_asks_for_outputs(&mut self, scene: &Scene, item: &Item) -> Vec<String> {
        let mut paths = Vec::new();
        let mut set: Vec<(String, Option<Known>)> = Vec::new();
        for statement in &self.statements {
            let value = |name: &str| match name == item.variable {
                true => Some(Known::hole("item")),
                false => match set.iter().rfind(|(known, _)| known == name) {
                    Some((_, value)) => value.clone(),
                    None => scene.known(name),
                },
            };
            let reader = super::known::Reader { value: &value, item: Some(item) };
            if let Some((test, file)) = tested(statement, "&&")
                && matches!(test, "-s" | "-e" | "-f")
                && let Some(path) = reader.read(file).filter(Known::names_item)
            {
                paths.push(path.template());
                self.cut.push(statement.range.clone());
            } else if let Some(simple) = statement.alone()
                && let [word] = simple.words.as_slice()
                && let Some((name, raw)) = super::scene::assignment(statement.raw(&word.range))
            {
                let known = reader.read(raw);
                set.push((name.to_owned(), known));
            }
        }
        paths
    }

    /// `n=$((n + 1))`: gives the variables that only count.
    fn cut_counters(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for statement in &self.statements {
            let text = statement.text.trim();
            let is_step = text.starts_with("((") && (text.contains("++") || text.contains("+="))
                || text.starts_with("let ");
            let counted = match super::scene::assignment(text) {
                Some((name, raw))
                    if raw.starts_with("$((")
                        || raw.starts_with("$(expr")
                        || text.contains("+=") =>
                {
                    (text.contains("+=") || statement.uses(&[name])).then(|| name.to_owned())
                }
                _ => None,
            };
            let stepped = is_step.then(|| {
                let name = text.trim_start_matches("let ").trim_start_matches(['(', ' ', '"', '+']);
                name.chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .collect::<String>()
            });
            if let Some(name) = counted.or(stepped).filter(|name| is_plain_name(name)) {
                names.push(name);
                self.cut.push(statement.range.clone());
            }
        }
        names
    }

    /// Whether what is not cut uses a variable.
    fn uses(&self, name: &str) -> bool {
        self.statements.iter().any(|one| !self.cut.contains(&one.range) && one.uses(&[name]))
    }

    /// The places of the statements that make folders.
    fn folders(&self) -> Vec<Range<usize>> {
        let makes = |one: &&Statement| {
            one.alone().is_some_and(|simple| simple.name() == "mkdir" && simple.has_option(&["-p"]))
        };
        self.statements.iter().filter(makes).map(|one| one.range.clone()).collect()
    }

    /// Its text without what is cut, and without these parts.
    fn text(&self, without: &[Range<usize>]) -> String {
        let mut cut: Vec<_> = self.cut.iter().chain(without).cloned().collect();
        cut.sort_by_key(|range| range.start);
        let (mut text, mut at) = (String::new(), 0);
        for range in cut {
            text += &self.raw[at..range.start];
            at = range.end;
            let rest = &self.raw[at..];
            if let Some(next) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') {
                at = self.raw.len() - next.len();
            } else if let Some(next) = rest.trim_start_matches([' ', '\t']).strip_prefix('#') {
                at = self.raw.len() - next.find('\n').map_or(0, |end| next.len() - end);
            }
        }
        text += &self.raw[at..];
        let text = dedented(&text);
        // The semicolon before `done` ends nothing any more.
        match text.strip_suffix(';') {
            Some(rest) if !rest.ends_with([';', '\\']) => rest.trim_end().to_owned(),
            _ => text,
        }
    }
}

/// What a statement tests: `[ -s FILE ] && continue`, by its operator and file.
fn tested<'s>(statement: &'s Statement, joined: &str) -> Option<(&'s str, &'s str)> {
    let outer: Vec<_> = statement.outer().collect();
    let (test, goes_on) = match outer.as_slice() {
        [test, goes_on] => (test, goes_on),
        [test, goes_on, end] if statement.head(end) == "fi" => (test, goes_on),
        _ => return None,
    };
    let joints: Vec<_> = statement.reading.joints.iter().map(|joint| joint.text.as_str()).collect();
    let is_plain = joints.as_slice() == [joined];
    let is_if = joined == "&&" && matches!(joints.as_slice(), ["if", ";" | "\n", "then", ..]);
    if statement.head(goes_on) != "continue" || goes_on.words.len() > 1 || !(is_plain || is_if) {
        return None;
    }
    let words: Vec<_> = test.words.iter().map(|word| statement.raw(&word.range)).collect();
    match words.as_slice() {
        ["[", operator, file, "]"] | ["[[", operator, file, "]]"] | ["test", operator, file] => {
            Some((operator, file))
        }
        _ => None,
    }
}

/// A text without the blanks with which all its lines begin, and without empty lines at
/// its ends.
fn dedented(text: &str) -> String {
    let is_blank = |line: &&str| line.trim().is_empty();
    let lines: Vec<_> = text.lines().collect();
    let reading = crate::words::shell::read(text, &[]);
    let crosses =
        |range: &Range<usize>| text.get(range.clone()).is_some_and(|word| word.contains('\n'));
    let is_fixed = text.contains("<<")
        || reading.simples.iter().flat_map(|simple| &simple.words).any(|word| crosses(&word.range));
    if is_fixed {
        return text.trim_matches('\n').trim_end().to_owned();
    }
    let depth = lines
        .iter()
        .filter(|line| !is_blank(line))
        .map(|line| line.len() - line.trim_start_matches([' ', '\t']).len());
    let depth = depth.min().unwrap_or(0);
    let lines = lines
        .iter()
        .filter(|line| !is_blank(line))
        .map(|line| line.get(depth..).unwrap_or(line).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}
