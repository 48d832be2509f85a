//! What a line of a script finds: the variables, functions and options that lines above
//! it set.
//!
//! Each step is a shell of its own. What a step needs of all this is handed to it: known
//! values as `env`, others by the line that sets them, put in front of its command.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::known::{Item, Known, Reader, escape};
use super::statement::Statement;
use crate::thought::lint::chosen::{has_password, is_secret};
use crate::thought::lint::known::{Outside, is_harmless, outside};
use crate::words::shell::{Simple, Variable};

/// What a variable is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Known(Known),
    /// The statement that sets it, and what it was before, if that says so.
    Line(Statement, Option<Known>),
    /// It must not stand in a file.
    Secret,
    /// Nobody knows it any more; which line is why.
    Lost(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Var {
    pub(super) value: Value,
    pub(super) is_exported: bool,
}

/// A parameter of the pipeline.
#[derive(Clone, Debug)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) source: Source,
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Given(String),
    Required,
    Command(String),
}

#[derive(Debug, Default)]
pub(super) struct Scene {
    pub(super) vars: BTreeMap<String, Var>,
    pub(super) functions: BTreeMap<String, Statement>,
    pub(super) params: Vec<Param>,
    /// The parameters that are arguments of the script, by their places.
    pub(super) args: BTreeMap<usize, String>,
    /// Lines before every command, those above all steps.
    pub(super) prelude: Vec<String>,
    /// Lines before every command from here on.
    pub(super) front: Vec<String>,
    /// The folder that the script is in.
    pub(super) dir: Option<Known>,
    /// Files that are there only so that others see them.
    pub(super) flags: BTreeSet<String>,
    pub(super) stops_at_errors: bool,
    /// Whether a file was read that may set variables: what the script sets after it
    /// must be set after it here, too.
    pub(super) has_sourced: bool,
    /// Whether a pattern that matches nothing is no error (`nullglob`).
    pub(super) may_match_nothing: bool,
}

/// What a command needs of the scene.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) env: BTreeMap<String, String>,
    /// Lines to put in front, as the text of a pipeline file.
    pub(super) front: Vec<String>,
    pub(super) secrets: BTreeSet<String>,
    /// Those of them that set variables.
    pub(super) lines: Vec<Statement>,
    /// Variables that nothing in the script sets.
    pub(super) outside: BTreeSet<String>,
    /// The arguments of the script that it wants, by their places.
    args: BTreeSet<usize>,
    seen: BTreeSet<String>,
}

impl Scene {
    /// What a word says in this scene.
    pub(super) fn read(&self, raw: &str) -> Option<Known> {
        Reader { value: &|name| self.known(name), item: None }.read(raw)
    }

    pub(super) fn known(&self, name: &str) -> Option<Known> {
        if let Ok(place) = name.parse::<usize>() {
            return self.args.get(&place).map(|param| Known::hole(&format!("params.{param}")));
        }
        match &self.vars.get(name)?.value {
            Value::Known(known) => Some(known.clone()),
            _ => None,
        }
    }

    /// What a text needs, of which only some parts are kept. `own` are the variables that
    /// it sets itself.
    pub(super) fn needs_of(
        &mut self,
        statement: &Statement,
        is_kept: &dyn Fn(&Range<usize>) -> bool,
        own: &BTreeSet<String>,
        item: Option<&Item>,
    ) -> Result<Needs, String> {
        let used = statement.variables().filter(|one| is_kept(&one.range));
        let used: Vec<_> = used.cloned().collect();
        let mut needs = Needs::default();
        let exported = self.vars.iter().filter(|(_, var)| var.is_exported);
        let exported: Vec<_> = exported.map(|(name, _)| name.clone()).collect();
        for name in exported {
            self.need(&name, &mut needs)?;
        }
        self.needs_within(statement, &used, own, item, false, &mut needs)?;
        if let Some(last) = needs.args.last() {
            let mut args = Vec::new();
            for place in 1..=*last {
                args.push(match needs.args.contains(&place) {
                    true => format!("{{{{ params.{} }}}}", self.argument(place, statement)),
                    false => "''".to_owned(),
                });
            }
            needs.front.insert(0, format!("set -- {}", args.join(" ")));
        }
        for (at, line) in self.front.iter().enumerate() {
            needs.front.insert(at, escape(line));
        }
        Ok(needs)
    }

    /// The parameter that an argument of the script is.
    fn argument(&mut self, place: usize, statement: &Statement) -> String {
        if let Some(name) = self.args.get(&place) {
            return name.clone();
        }
        let name = self.free_name(&format!("arg{place}"));
        let source = Source::Required;
        self.params.push(Param { name: name.clone(), line: statement.lines.0, source });
        self.args.insert(place, name.clone());
        name
    }

    fn free_name(&self, wanted: &str) -> String {
        let is_taken = |name: &str| self.params.iter().any(|param| param.name == name);
        let numbered = (2..).map(|number| format!("{wanted}-{number}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    fn needs_within(
        &self,
        statement: &Statement,
        used: &[Variable],
        own: &BTreeSet<String>,
        item: Option<&Item>,
        is_function: bool,
        needs: &mut Needs,
    ) -> Result<(), String> {
        for Variable { name, .. } in used {
            match name.as_str() {
                "0" | "BASH_SOURCE" => return Err("asks for the name of the script".to_owned()),
                "OPTARG" | "OPTIND" | "PIPESTATUS" | "FUNCNAME" | "_" => {
                    return Err(format!("needs `${name}`, which the lines above leave"));
                }
                "!" => return Err("waits for what runs in the background".to_owned()),
                "@" | "*" | "#" if !is_function => {
                    return Err("takes all arguments of the script".to_owned());
                }
                "@" | "*" | "#" | "?" | "$" | "-" => {}
                _ if name.starts_with(|c: char| c.is_ascii_digit()) => {
                    if !is_function {
                        let place = name.parse().unwrap_or(usize::MAX);
                        if place > 9 {
                            return Err(format!("takes argument {name} of the script"));
                        }
                        needs.args.insert(place);
                    }
                }
                _ if item.is_some_and(|item| item.variable == *name) => {
                    if is_function {
                        needs.env.insert(name.clone(), "{{ item }}".to_owned());
                    }
                }
                _ if own.contains(name) && !self.vars.contains_key(name) => {}
                _ => self.need(name, needs)?,
            }
        }
        for simple in &statement.reading.simples {
            let called = simple.words.iter().filter_map(|word| word.text.as_ref());
            for name in called {
                let Some(function) = self.functions.get(name) else { continue };
                if needs.seen.insert(format!("{name}()")) {
                    let own = assigned(function);
                    let used = &function.reading.variables;
                    self.needs_within(function, used, &own, item, true, needs)?;
                    needs.front.push(escape(&function.text));
                }
            }
        }
        Ok(())
    }

    fn need(&self, name: &str, needs: &mut Needs) -> Result<(), String> {
        if !needs.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(var) = self.vars.get(name) else {
            if !is_everywhere(name) {
                needs.outside.insert(name.to_owned());
            }
            return Ok(());
        };
        match &var.value {
            Value::Known(known) => self.set(name, known, var.is_exported, needs),
            Value::Line(line, before) => {
                if let Some(known) = before {
                    self.set(name, known, false, needs);
                }
                let own = assigned(line);
                self.needs_within(line, &line.reading.variables, &own, None, false, needs)?;
                let mut text = escape(&line.text);
                if var.is_exported {
                    text += &format!("\nexport {name}");
                }
                if !needs.front.contains(&text) {
                    needs.front.push(text);
                    needs.lines.push(line.clone());
                }
            }
            Value::Secret => {
                needs.secrets.insert(name.to_owned());
            }
            Value::Lost(line) => return Err(format!("needs `${name}`, which line {line} sets")),
        }
        Ok(())
    }

    /// Hands over a value.
    fn set(&self, name: &str, known: &Known, is_exported: bool, needs: &mut Needs) {
        if self.has_sourced {
            let export = if is_exported { "export " } else { "" };
            needs.front.push(format!("{export}{name}={}", known.value()));
        } else {
            needs.env.insert(name.to_owned(), known.template());
        }
    }

    /// Takes in an assignment; says why not where its value is lost.
    pub(super) fn assign(
        &mut self,
        statement: &Statement,
        word: &str,
        is_exported: bool,
    ) -> Result<(), String> {
        let Some((name, raw)) = word.split_once('=') else {
            if let Some(var) = self.vars.get_mut(word) {
                var.is_exported |= is_exported;
            }
            return Ok(());
        };
        let is_exported = is_exported || self.vars.get(name).is_some_and(|var| var.is_exported);
        let (value, told) = match self.value(statement, name, raw) {
            Ok(value) => (value, Ok(())),
            Err(why) => (Value::Lost(statement.lines.0), Err(why)),
        };
        let name = name.trim_end_matches('+').to_owned();
        self.outdate(&name, statement.lines.0);
        self.vars.insert(name, Var { value, is_exported });
        told
    }

    /// A variable is about to change: what a line would make of it is no more what that
    /// line made.
    fn outdate(&mut self, name: &str, at: usize) {
        for (other, var) in &mut self.vars {
            if matches!(&var.value, Value::Line(line, _) if other != name && line.uses(&[name])) {
                var.value = Value::Lost(at);
            }
        }
    }

    /// What an assignment gives.
    fn value(&mut self, statement: &Statement, name: &str, raw: &str) -> Result<Value, String> {
        if !is_plain_name(name) {
            return Err("adds to a variable, or sets a part of one".to_owned());
        }
        if let Some(source) = self.of_argument(raw)? {
            let (place, source) = source;
            let param = match self.args.get(&place) {
                Some(known) => known.clone(),
                None => self.param(name, statement.lines.0, source),
            };
            self.args.entry(place).or_insert_with(|| param.clone());
            return Ok(Value::Known(Known::hole(&format!("params.{param}"))));
        }
        if let Some(known) = self.read(raw).filter(|known| !known.has_glob()) {
            let kept = known.plain().is_some_and(|text| !text.is_empty());
            let is_kept_secret = kept && is_secret(name);
            if is_kept_secret || known.plain().is_some_and(has_password) {
                return Ok(Value::Secret);
            }
            return Ok(Value::Known(known));
        }
        if let Some(command) = day_of_clock(raw) {
            let param = self.param(name, statement.lines.0, Source::Command(command));
            return Ok(Value::Known(Known::hole(&format!("params.{param}"))));
        }
        if raw.starts_with('(') {
            return Ok(Value::Line(line_of(statement, name, raw), None));
        }
        let line = line_of(statement, name, raw);
        if let Some(simple) =
            line.reading.simples.iter().find(|simple| simple.depth > 0 && !is_asked(simple))
        {
            return Err(format!(
                "runs `{}` for it: each step that needs it would run that again",
                simple.name()
            ));
        }
        let before = match self.vars.get(name).filter(|_| line.uses(&[name])) {
            Some(Var { value: Value::Known(known), .. }) => Some(known.clone()),
            Some(_) => return Err("adds to a variable".to_owned()),
            None => None,
        };
        Ok(Value::Line(line, before))
    }

    fn param(&mut self, variable: &str, line: usize, source: Source) -> String {
        let name = self.free_name(&variable.to_lowercase());
        self.params.push(Param { name: name.clone(), line, source });
        name
    }

    /// The argument of the script that a value is, and what it is without one.
    fn of_argument(&self, raw: &str) -> Result<Option<(usize, Source)>, String> {
        let unquoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
        let Some(rest) = unquoted.strip_prefix('$') else {
            return Ok(None);
        };
        let inside = rest.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(rest);
        let Some(place) = inside.chars().next().and_then(|c| c.to_digit(10)).filter(|at| *at > 0)
        else {
            return Ok(None);
        };
        let (place, rest) = (place as usize, &inside[1..]);
        if rest.is_empty() || rest.starts_with(":?") || rest.starts_with('?') {
            return Ok(Some((place, Source::Required)));
        }
        let Some(default) = rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')) else {
            return Ok(None);
        };
        let is_whole =
            !unquoted.ends_with('}') || !default.contains('}') || default.starts_with("$(");
        let is_bare = |c: char| !"\"'$`\\{}~".contains(c) && (!c.is_control() || c == '\t');
        if default.chars().all(is_bare) {
            return Ok(Some((place, Source::Given(default.to_owned()))));
        }
        let is_quoted = unquoted.len() < raw.len() && !default.contains('"');
        let default_word = if is_quoted { format!("\"{default}\"") } else { default.to_owned() };
        if let Some(known) = self.read(&default_word).filter(|_| is_whole)
            && let Some(text) = known.plain()
        {
            return Ok(Some((place, Source::Given(text.to_owned()))));
        }
        if let Some(command) = default.strip_prefix("$(").and_then(|rest| rest.strip_suffix(')')) {
            let asked = Statement::of(command, (0, 0));
            let knows_all = asked.variables().all(|one| is_everywhere(&one.name));
            let is_question = asked.reading.simples.iter().all(is_asked);
            let is_one = !command.contains("$(") && !asked.reading.simples.is_empty();
            if knows_all && is_question && is_one {
                return Ok(Some((place, Source::Command(command.trim().to_owned()))));
            }
        }
        Err(format!("what argument {place} is when it is not given, only the shell knows"))
    }

    /// A statement sets a variable that was not set, or known.
    pub(super) fn takes_line(&mut self, name: &str, statement: &Statement) {
        let before = match self.vars.get(name) {
            Some(Var { value: Value::Known(known), .. }) => Some(known.clone()),
            _ => None,
        };
        let is_exported = self.vars.get(name).is_some_and(|var| var.is_exported);
        self.outdate(name, statement.lines.0);
        let value = Value::Line(statement.clone(), before);
        self.vars.insert(name.to_owned(), Var { value, is_exported });
    }

    /// Forgets what variables are that a statement sets in a way of its own.
    pub(super) fn forget(&mut self, names: &BTreeSet<String>, line: usize) {
        for name in names {
            self.outdate(name, line);
            let is_exported = self.vars.get(name).is_some_and(|var| var.is_exported);
            self.vars.insert(name.clone(), Var { value: Value::Lost(line), is_exported });
        }
    }
}

/// Whether a command in a substitution only asks, and may be asked again.
fn is_asked(simple: &Simple) -> bool {
    let asks = match simple.name() {
        "hostname" | "nproc" | "whoami" | "uname" | "id" | "pwd" | "getconf" | "realpath"
        | "readlink" | "expr" | "seq" | "rev" | "arch" | "uptime" | "df" | "du" | "find" => true,
        "git" => matches!(simple.verb(), "rev-parse" | "describe" | "log" | "show"),
        _ => is_harmless(simple),
    };
    asks && !simple.redirections.iter().any(|one| one.is_of_output() && !goes_nowhere(one))
        && !matches!(
            simple.name(),
            "rm" | "chmod" | "chown" | "ln" | "touch" | "mkdir" | "tee" | "read"
        )
}

fn goes_nowhere(one: &crate::words::shell::Redirection) -> bool {
    one.operator == ">&"
        || one.operand.text.as_deref().is_some_and(|text| text.starts_with("/dev/"))
}

/// An assignment alone, as a line.
fn line_of(statement: &Statement, name: &str, raw: &str) -> Statement {
    Statement::of(&format!("{name}={raw}"), statement.lines)
}

/// The command of `$(date …)` if it asks for a day, not for a moment.
fn day_of_clock(raw: &str) -> Option<String> {
    let unquoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let command = unquoted.strip_prefix("$(")?.strip_suffix(')')?;
    let asked = Statement::of(command, (0, 0));
    let simple = asked.alone()?;
    if simple.name() != "date"
        || asked.variables().next().is_some()
        || asked.reading.simples.len() != 1
    {
        return None;
    }
    let is_clock = outside(simple) == Some(Outside::Clock) || simple.has_option(&["-d", "--date"]);
    let format = simple.plain().find_map(|word| word.strip_prefix('+'))?;
    let parts = format.split('%').skip(1);
    let is_day = |part: &str| {
        part.starts_with(['F', 'Y', 'm', 'd', 'y', 'j', 'U', 'V', 'G', 'b', 'B', 'a', 'A', 'u'])
    };
    let knows_all = simple.words.iter().all(|word| word.text.is_some());
    (is_clock && knows_all && format.contains('%') && parts.into_iter().all(is_day))
        .then(|| command.trim().to_owned())
}

/// The variables that a text sets.
pub(super) fn assigned(statement: &Statement) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for simple in &statement.reading.simples {
        let words: Vec<_> = simple.words.iter().map(|word| statement.raw(&word.range)).collect();
        let leading = words.iter().take_while(|word| assignment(word).is_some());
        names.extend(leading.filter_map(|word| assignment(word)).map(|(name, _)| name.to_owned()));
        match words.first().copied() {
            Some("for" | "select") => names.extend(words.get(1).map(|name| (*name).to_owned())),
            Some("export" | "declare" | "local" | "readonly" | "typeset" | "unset") => {
                let set = words.iter().skip(1).filter(|word| !word.starts_with('-'));
                names.extend(set.map(|word| word.split('=').next().unwrap_or("").to_owned()));
            }
            Some("read" | "mapfile" | "readarray" | "getopts" | "IFS=") => {
                let set = words.iter().skip(1).filter(|word| is_plain_name(word));
                names.extend(set.map(|word| (*word).to_owned()));
            }
            Some("printf") if words.get(1) == Some(&"-v") => {
                names.extend(words.get(2).map(|name| (*name).to_owned()));
            }
            _ => {}
        }
    }
    names.remove("");
    names
}

/// `NAME=VALUE`, also with `+=`.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let plain = name.strip_suffix('+').unwrap_or(name);
    let plain = plain.split('[').next().unwrap_or(plain);
    is_plain_name(plain).then_some((plain, value))
}

pub(super) fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Variables that are there wherever a shell is.
fn is_everywhere(name: &str) -> bool {
    matches!(
        name,
        "HOME"
            | "USER"
            | "LOGNAME"
            | "PATH"
            | "PWD"
            | "TMPDIR"
            | "HOSTNAME"
            | "LANG"
            | "SHELL"
            | "RANDOM"
            | "SECONDS"
            | "LINENO"
            | "UID"
            | "EUID"
            | "BASHPID"
            | "IFS"
            | "OSTYPE"
    )
}
