//! From a command to a step: what it writes, what it reads, what it needs, and whether
//! it may be done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::files::{
    Written, changed_by, file_arguments, inside, mentions, renamed_last, words, written,
};
use super::known::{Item, Known, Piece, Reader, escape, may_meet};
use super::naming::{key, name};
use super::scene::{Needs, Scene, assigned, assignment};
use super::statement::Statement;
use crate::thought::lint::known::{is_harmless, sends};
use crate::words::shell::{Simple, Word};

/// A step of a draft.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub(super) lines: (usize, usize),
    pub(super) name: String,
    /// What is said above it.
    pub(super) notes: Vec<String>,
    pub(super) each: Option<Each>,
    /// Files that it reads.
    pub(super) files: BTreeSet<String>,
    /// Steps whose outputs it reads.
    pub(super) from: BTreeSet<String>,
    pub(super) outs: Vec<Out>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) front: Vec<String>,
    pub(super) run: String,
    pub(super) once: bool,
    pub(super) dir: Option<String>,
    pub(super) per: Option<Vec<String>>,
    /// The words of it that are known.
    pub(super) words: BTreeSet<String>,
}

/// What a step fans out over.
#[derive(Clone, Debug)]
pub(super) struct Each {
    pub(super) list: List,
    pub(super) item: Item,
    /// Whether an item that fails ends the loop.
    pub(super) stops: bool,
    pub(super) may_be_empty: bool,
}

#[derive(Clone, Debug)]
pub(super) enum List {
    Files(String),
    Lines(String),
    Words(Vec<String>),
    Command(String),
    OutputsOf(String),
}

impl List {
    pub(super) const fn is_of_files(&self) -> bool {
        matches!(self, Self::Files(_) | Self::OutputsOf(_))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Out {
    pub(super) key: String,
    pub(super) path: Known,
    /// The paths that it stands for.
    pub(super) shape: String,
}

/// A word of a command, and what it says.
struct Said<'a> {
    range: &'a Range<usize>,
    known: Option<Known>,
}

/// Makes steps of commands.
pub(super) struct Maker<'s> {
    pub(super) scene: &'s mut Scene,
    /// The steps above.
    pub(super) above: &'s [Step],
}

impl Maker<'_> {
    /// Makes a step of a command; says why not where it cannot.
    pub(super) fn step(
        &mut self,
        statement: &Statement,
        each: Option<&Each>,
    ) -> Result<Step, String> {
        ends_nothing_else(statement, each.is_some())?;
        let item = each.map(|each| &each.item);
        let own = assigned(statement);
        let lines = self.scene.needs_of(statement, &|_| true, &own, item)?.lines;
        let values = self.values(statement, item);
        let value = |name: &str| match item.filter(|item| item.variable == name) {
            Some(_) => Some(Known::hole("item")),
            None if own.contains(name) => values.get(name).cloned().flatten(),
            None => self.scene.known(name),
        };
        let reader = Reader { value: &value, item };
        let said: Vec<_> = words(statement)
            .map(|word| Said { range: &word.range, known: reader.read(statement.raw(&word.range)) })
            .collect();
        let read = |word: &Word| reader.read(statement.raw(&word.range));
        let (written, appends) = written(statement, &read)?;
        let (written, statement_end) = renamed_last(statement, written, &read);
        let outs = self.outs(&written, item)?;
        let is_sent = statement.reading.simples.iter().find(|simple| self.is_sent(simple));
        let mut step = Step {
            lines: statement.lines,
            each: each.cloned(),
            once: is_sent.is_some() || !appends.is_empty(),
            words: said.iter().filter_map(|said| Some(said.known.as_ref()?.template())).collect(),
            dir: self.scene.dir.as_ref().map(Known::template),
            name: name(statement, &outs, appends.first().map(String::as_str)),
            outs,
            ..Step::default()
        };
        if let Some(forgiven) = forgiven(statement) {
            step.notes.push(format!(
                "that `{forgiven}` fails does not matter here: it is done then, too"
            ));
        }
        step.notes.extend(self.doubt(statement, is_sent, &appends, &step.outs));
        self.inputs_of_lines(&lines, &mut step);
        let mut edits = self.inputs(statement, &said, &read, &written, item, &mut step)?;
        let takes_own = |file: &String| step.outs.iter().any(|out| may_meet(file, &out.shape));
        if step.files.iter().any(takes_own) {
            return Err("its pattern takes what it writes: write to another folder".to_owned());
        }
        for Written { places, .. } in &written {
            let hole = |at: usize| match written.len() {
                1 => "{{ out }}".to_owned(),
                _ => format!("{{{{ out.{} }}}}", step.outs[at].key),
            };
            let at = written.iter().position(|one| std::ptr::eq(&one.places, places)).unwrap_or(0);
            edits.extend(places.iter().map(|place| (place.clone(), hole(at))));
        }
        let has_backticks = statement.text.contains('`');
        for Said { range, known } in &said {
            let known = known.as_ref().filter(|known| known.names_item() && !has_backticks);
            if let Some(word) = known.and_then(Known::word) {
                edits.push(((*range).clone(), word));
            }
        }
        let text = statement.text.get(..statement_end).unwrap_or(&statement.text).trim_end();
        let (run, kept) = edited(text, edits);
        step.run = run;
        let is_kept = |range: &Range<usize>| kept.iter().any(|kept| kept.contains(&range.start));
        let names_item = |item: &&Item| {
            statement.variables().any(|one| one.name == item.variable && is_kept(&one.range))
        };
        if let Some(item) = item.filter(names_item) {
            step.env.insert(item.variable.clone(), "{{ item }}".to_owned());
        }
        let Needs { env, front, secrets, outside, .. } =
            self.scene.needs_of(statement, &is_kept, &own, item)?;
        step.env.extend(env);
        step.front = front;
        step.secrets = secrets;
        if !outside.is_empty() && self.scene.prelude.is_empty() && self.scene.front.is_empty() {
            let names: Vec<_> = outside.iter().map(|name| format!("${name}")).collect();
            step.notes.push(format!("it takes {} from where semel is started", names.join(", ")));
        }
        Ok(step)
    }

    /// What a human is asked about a command.
    fn doubt(
        &self,
        statement: &Statement,
        is_sent: Option<&Simple>,
        appends: &[String],
        outs: &[Out],
    ) -> Option<String> {
        if let Some(simple) = is_sent {
            return Some(format!(
                "`{}` sends something: is it to happen once only? then leave `once`, and a `check` that can ask saves you from being asked",
                shown(statement, simple)
            ));
        }
        if let Some(path) = appends.first() {
            return Some(format!(
                "it appends to {path}, again in each repeat: is it to happen once only? then leave `once`; else write the whole file to an `out`"
            ));
        }
        let simples = &statement.reading.simples;
        let acts = |simple: &&Simple| !is_harmless(simple) && !self.is_own(simple);
        let simple = simples.iter().find(acts).filter(|_| outs.is_empty())?;
        Some(format!(
            "nothing shows whether `{}` was done: give it a `check`, or `once = true` if it must not happen twice, or `max-age = \"0\"` if every run is to do it",
            shown(statement, simple)
        ))
    }

    /// What variables are that a command sets itself, once.
    fn values(
        &self,
        statement: &Statement,
        item: Option<&Item>,
    ) -> BTreeMap<String, Option<Known>> {
        let mut values: BTreeMap<String, Option<Known>> = BTreeMap::new();
        for simple in &statement.reading.simples {
            for word in &simple.words {
                let Some((name, raw)) = assignment(statement.raw(&word.range)) else { continue };
                let value = |name: &str| match item.filter(|item| item.variable == name) {
                    Some(_) => Some(Known::hole("item")),
                    None => values.get(name).cloned().unwrap_or_else(|| self.scene.known(name)),
                };
                let known =
                    Reader { value: &value, item }.read(raw).filter(|known| !known.has_glob());
                let is_first = !values.contains_key(name);
                values.insert(name.to_owned(), known.filter(|_| is_first));
            }
        }
        values
    }

    /// Whether a command sends something: it is known to, or its name says so.
    fn is_sent(&self, simple: &Simple) -> bool {
        let function = self.scene.functions.get(simple.name());
        let inside = function.iter().flat_map(|function| &function.reading.simples);
        let script = simple.script().and_then(|word| word.text.as_deref()).unwrap_or("");
        sends(simple)
            || says_that_it_sends(simple.name())
            || says_that_it_sends(script)
            || inside.into_iter().any(sends)
    }

    /// Whether a command is the script's own, and so is all that it does.
    fn is_own(&self, simple: &Simple) -> bool {
        let is_known = |inner: &Simple| {
            is_harmless(inner) || is_syntax(inner.name()) || inner.name() == simple.name()
        };
        match self.scene.functions.get(simple.name()) {
            Some(function) => function.reading.simples.iter().all(is_known),
            None => is_syntax(simple.name()),
        }
    }

    /// The outputs of files that are written, where no two steps write one.
    fn outs(&self, written: &[Written], item: Option<&Item>) -> Result<Vec<Out>, String> {
        let mut outs: Vec<Out> = Vec::new();
        for Written { path, .. } in written {
            let mut path = path.clone();
            if let (Some(dir), false) = (&self.scene.dir, path.template().starts_with('/')) {
                let mut whole = dir.clone();
                whole.pieces.push(Piece::Text("/".to_owned()));
                whole.pieces.extend(path.pieces);
                path = whole;
            }
            let template = path.template();
            if template.is_empty() || template.ends_with('/') {
                return Err("writes a file that has no name".to_owned());
            }
            if template.split('/').skip(1).any(|part| part == "..")
                || template.split('/').any(|part| part == ".semel")
            {
                return Err(format!(
                    "writes {template}: a path that semel does not take for an output"
                ));
            }
            if item.is_some() && !path.names_item() {
                return Err(format!("writes {template} for each item: the last one would be left"));
            }
            let shape = path.shape(item);
            if let Some(pattern) = item.and_then(|item| item.pattern.as_ref())
                && may_meet(&pattern.template(), &shape)
            {
                return Err("its pattern takes what it writes: write to another folder".to_owned());
            }
            let meets = |out: &Out| {
                may_meet(&out.shape, &shape)
                    || inside(&out.shape, &shape)
                    || inside(&shape, &out.shape)
            };
            if let Some(other) = self.above.iter().find(|other| other.outs.iter().any(meets)) {
                return Err(format!(
                    "writes {template}, which step `{}` may write, too",
                    other.name
                ));
            }
            if let Some(out) = outs.iter().find(|out| meets(out)) {
                return Err(format!(
                    "writes {template} and {}, which may be one",
                    out.path.template()
                ));
            }
            let reads = |step: &&Step| match step.each.as_ref().map(|each| &each.list) {
                Some(List::Files(pattern)) => may_meet(pattern, &shape),
                _ => step.files.iter().any(|file| may_meet(file, &shape)),
            };
            if let Some(other) = self.above.iter().find(reads) {
                return Err(format!("writes {template}, which step `{}` reads before", other.name));
            }
            let key = key(&template, outs.len());
            outs.push(Out { key, path, shape });
        }
        Ok(outs)
    }

    /// Finds what the lines read that stand before a command.
    fn inputs_of_lines(&self, lines: &[Statement], step: &mut Step) {
        for (line, word) in lines.iter().flat_map(|line| words(line).map(move |word| (line, word)))
        {
            let Some(known) = self.scene.read(line.raw(&word.range)) else { continue };
            if let Some(other) = self.maker_of(&known.shape(None)) {
                step.from.insert(other.name.clone());
            }
        }
    }

    /// Finds what a command reads; gives what is to stand in its place.
    fn inputs(
        &self,
        statement: &Statement,
        said: &[Said<'_>],
        read: &dyn Fn(&Word) -> Option<Known>,
        written: &[Written],
        item: Option<&Item>,
        step: &mut Step,
    ) -> Result<Vec<(Range<usize>, String)>, String> {
        let mut edits = Vec::new();
        let listed = match step.each.as_ref().map(|each| &each.list) {
            Some(List::OutputsOf(name)) => Some(name.clone()),
            _ => None,
        };
        let dir = self.scene.dir.as_ref().map(|dir| dir.template() + "/").unwrap_or_default();
        for simple in &statement.reading.simples {
            for word in simple.arguments() {
                let Some(known) = read(word) else { continue };
                let is_of_files = item.is_some_and(|item| item.pattern.is_some());
                if is_of_files && known.is_whole_item() && changed_by(simple) {
                    return Err("moves or changes the files that it goes over".to_owned());
                }
                let path = dir.clone() + &known.shape(item);
                if let Some(other) = changed_by(simple).then(|| self.maker_of(&path)).flatten() {
                    return Err(format!(
                        "changes or takes away {path}, which step `{}` makes",
                        other.name
                    ));
                }
            }
            for one in simple.redirections.iter().filter(|one| one.appends()) {
                let Some(known) = read(&one.operand) else { continue };
                let path = dir.clone() + &known.shape(item);
                if let Some(other) = self.maker_of(&path) {
                    return Err(format!("appends to {path}, which step `{}` makes", other.name));
                }
            }
        }
        for Said { range, known } in said {
            let is_written = written.iter().any(|one| one.places.contains(range));
            let Some(known) = known.as_ref().filter(|_| !is_written) else { continue };
            let shape = dir.clone() + &known.shape(item);
            for other in self.above {
                let makes = |out: &Out| {
                    out.shape == shape
                        || inside(&shape, &out.shape)
                        || known.plain().is_some_and(|text| mentions(text, &out.shape))
                };
                if other.outs.iter().any(makes) && listed.as_ref() != Some(&other.name) {
                    step.from.insert(other.name.clone());
                    let is_pattern =
                        known.has_glob() && other.outs.len() == 1 && other.outs[0].shape == shape;
                    if is_pattern && item.is_none() {
                        edits.push(((*range).clone(), "{{ in }}".to_owned()));
                    }
                }
            }
        }
        // Several lists of files cannot be told apart by one name.
        if edits.len() > 1 || step.from.len() > 1 {
            edits.clear();
        }
        for simple in &statement.reading.simples {
            let operands = simple.redirections.iter().filter(|one| one.operator == "<");
            let operands = operands.map(|one| &one.operand);
            let arguments = file_arguments(simple);
            for word in operands.chain(arguments) {
                let Some(known) = read(word) else { continue };
                let is_own = written.iter().any(|one| one.path == known);
                let path = dir.clone() + &known.shape(item);
                let is_made = self.maker_of(&path).is_some();
                let is_device = path.starts_with("/dev/") || path.is_empty() || path == "-";
                if is_own || is_made || is_device || known.names_item() {
                    continue;
                }
                if let Some(pattern) = known.pattern() {
                    step.files.insert(dir.clone() + &pattern);
                }
            }
        }
        // Of an effect that happens once, what it was made of only orders.
        if step.once || !step.files.is_empty() {
            edits.clear();
        }
        Ok(edits)
    }

    /// The step above that makes a path.
    fn maker_of(&self, path: &str) -> Option<&Step> {
        self.above.iter().find(|other| other.outs.iter().any(|out| may_meet(&out.shape, path)))
    }
}

/// A text with some of its parts replaced, as the text of a pipeline file, and the parts
/// that were kept.
fn edited(text: &str, edits: Vec<(Range<usize>, String)>) -> (String, Vec<Range<usize>>) {
    let mut edits = edits;
    edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let (mut run, mut kept, mut at) = (String::new(), Vec::new(), 0);
    for (range, with) in edits {
        if range.start < at || range.end > text.len() {
            continue;
        }
        run += &escape(&text[at..range.start]);
        run += &with;
        kept.push(at..range.start);
        at = range.end;
    }
    run += &escape(&text[at..]);
    kept.push(at..text.len());
    (run, kept)
}

/// The command whose failure is made good by talk: `a || echo failed`.
fn forgiven(statement: &Statement) -> Option<String> {
    let joint = statement.reading.joints.iter().find(|joint| joint.text == "||")?;
    let mut after = statement.outer().filter(|simple| simple.range.start >= joint.range.end);
    let is_talk = |simple: &Simple| matches!(simple.name(), "true" | ":" | "echo" | "printf");
    let before = statement.outer().filter(|simple| simple.range.end <= joint.range.start).last()?;
    let is_test = matches!(before.name(), "test" | "[" | "[[" | "");
    (after.all(is_talk) && !is_test).then(|| shown(statement, before))
}

/// What an end of the script would be, or of the loop, is none of a step.
fn ends_nothing_else(statement: &Statement, is_item: bool) -> Result<(), String> {
    let simples = &statement.reading.simples;
    let mut loops = 0_u32;
    for (at, simple) in simples.iter().enumerate() {
        let first = simple.words.get(1).map(|word| statement.raw(&word.range));
        match statement.head(simple) {
            "for" | "select" => loops += 1,
            "done" => loops = loops.saturating_sub(1),
            "exit" => {
                let is_failure = first.is_some_and(|status| {
                    status.parse::<u8>().is_ok_and(|status| status > 0) || status == "$?"
                });
                if !is_failure {
                    return Err("may end the script here".to_owned());
                }
            }
            "return" | "shift" | "getopts" | "eval" | "wait" | "jobs" | "fg" | "trap" | "alias" => {
                return Err(format!(
                    "`{}` has a meaning in a whole script only",
                    statement.head(simple)
                ));
            }
            "continue" | "break" if is_item && loops == 0 && !has_while(statement) => {
                return Err("skips items by a test of its own".to_owned());
            }
            "read"
                if !simple.reads_pipe
                    && simple.redirections.is_empty()
                    && !has_while(statement) =>
            {
                return Err("asks somebody: a step has no terminal".to_owned());
            }
            _ => {}
        }
        let asks_before = at == 0
            && statement
                .variables()
                .any(|one| one.name == "?" && simple.range.contains(&one.range.start));
        if asks_before {
            return Err("asks how the line before it ended".to_owned());
        }
    }
    let backgrounds = statement.reading.joints.iter().any(|joint| joint.text == "&");
    if backgrounds {
        return Err("goes on while a part of it runs in the background".to_owned());
    }
    Ok(())
}

fn has_while(statement: &Statement) -> bool {
    statement.reading.joints.iter().any(|joint| matches!(joint.text.as_str(), "while" | "until"))
}

/// Whether a name says that what it does comes to somebody.
fn says_that_it_sends(name: &str) -> bool {
    const WORDS: [&str; 26] = [
        "notify",
        "notification",
        "mail",
        "email",
        "slack",
        "pay",
        "payment",
        "payments",
        "payout",
        "charge",
        "invoice",
        "refund",
        "announce",
        "alert",
        "sms",
        "tweet",
        "post",
        "publish",
        "say",
        "tell",
        "send",
        "webhook",
        "message",
        "msg",
        "telegram",
        "teams",
    ];
    let name = name.rsplit('/').next().unwrap_or(name);
    let stem = name.split('.').next().unwrap_or(name);
    stem.split(['-', '_']).any(|part| WORDS.contains(&part.to_lowercase().as_str()))
}

pub(super) fn is_syntax(name: &str) -> bool {
    matches!(
        name,
        "" | "}"
            | "{"
            | "for"
            | "done"
            | "fi"
            | "case"
            | "esac"
            | "echo"
            | "printf"
            | "cd"
            | "set"
            | "export"
            | "local"
            | "test"
            | "["
            | "[["
            | "true"
            | ":"
            | "exit"
            | "sleep"
            | "rm"
            | "mkdir"
            | "touch"
            | "source"
            | "."
            | "break"
            | "continue"
            | "read"
            | "declare"
            | "shopt"
            | "umask"
    )
}

fn shown(statement: &Statement, simple: &Simple) -> String {
    let script = simple.script().and_then(|word| word.text.as_deref());
    match script.unwrap_or(simple.name()) {
        "" => statement.head(simple).chars().filter(|c| !c.is_control() && *c != '`').collect(),
        name => name.chars().filter(|c| !c.is_control() && *c != '`').collect(),
    }
}
