//! Guards: what a script says of a task in front of its command.
//!
//! `semel step load --in clean.csv -- psql -f load.sql` is a step with one task. Of
//! placeholders there are only `{{ in… }}` and `{{ out… }}`: every other text was the
//! shell's to fill in, and is data.
//!
//! Invariant: what a guard keeps of itself for later ([`Guard`] as JSON) is what the
//! script said of files, times and kinds, and never a word of a command: the shell has
//! filled in its variables by then, and one may be a secret.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::words::call::Calls;
use crate::words::pipeline::{
    Action, ActionKind, CHECK_TIMEOUT, Check, Command, DEFAULT_SHELL, Database, Digested,
    Durability, Each, EachSource, InPlace, Input, InputSource, Items, Out, Param, ParamValue,
    Pipeline, Probe, Retry, ScriptState, Step, is_name,
};
use crate::words::task::Item;
use crate::words::template::{Name, Template};

/// The pipeline of steps that stand alone, in no script.
pub const ALONE: &str = "steps";

/// The key of the output that is what the command prints.
pub const STDOUT: &str = "stdout";

/// What a script says of a task, but for its commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Guard {
    /// The step.
    pub step: String,
    /// The item, where the step comes again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// The parameters whose values are the instance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per: Vec<(String, String)>,
    /// Files that it reads: patterns, from the folder of the manifest.
    #[serde(rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Named>,
    /// Files and folders that it writes, from the folder of the manifest.
    #[serde(rename = "out", skip_serializing_if = "Vec::is_empty")]
    pub outs: Vec<Named>,
    /// Whether the outputs are written in their places.
    #[serde(skip_serializing_if = "is_not")]
    pub in_place: bool,
    /// Whether it is unsafe to repeat.
    #[serde(skip_serializing_if = "is_not")]
    pub once: bool,
    /// Exit statuses by which the command says that it did nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub safe_exits: Vec<i32>,
    /// Names that the step had before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub was: Vec<String>,
    /// How old a receipt may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// Variables of the environment that count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// How many further attempts follow one that failed.
    #[serde(skip_serializing_if = "is_none")]
    pub retry: u32,
    /// The limit of an attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Whether its HTTP calls go through the call journal.
    #[serde(skip_serializing_if = "is_not")]
    pub calls: bool,
    /// Whether a state check was said.
    #[serde(skip_serializing_if = "is_not")]
    pub checked: bool,
    /// Its command as the script writes it, or as much of it as is no secret.
    pub written: String,
    /// Where the script says it: `nightly.sh:14`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

const fn is_not(yes: &bool) -> bool {
    !*yes
}

const fn is_none(number: &u32) -> bool {
    *number == 0
}

/// A path, with the key by which the command names it, if it has one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The path.
    pub path: String,
}

impl Named {
    /// Reads `raw.csv`, or `report=out/report.csv`. A path with a `=` in its first part
    /// is written `./a=b`.
    ///
    /// ```
    /// use semel::words::guard::Named;
    /// assert_eq!(Named::parse("report=r.txt").key.as_deref(), Some("report"));
    /// assert_eq!(Named::parse("./report=r.txt").key, None);
    /// ```
    #[must_use]
    pub fn parse(typed: &str) -> Self {
        match typed.split_once('=') {
            Some((key, path)) if is_name(key) && !path.is_empty() => {
                Self { key: Some(key.to_owned()), path: path.to_owned() }
            }
            _ => Self { key: None, path: typed.to_owned() },
        }
    }
}

/// The commands that a script gives with a guard.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    /// The words of the command.
    pub words: Vec<String>,
    /// A text for a shell that tells whether the effect is there.
    pub check: Option<String>,
    /// What that must print to hold.
    pub equals: Option<String>,
    /// A query that tells it instead, and the URL of the database that is asked.
    pub check_sql: Option<(String, String)>,
    /// Where it runs.
    pub folder: PathBuf,
    /// The functions and variables of the script, where it has any that are needed.
    pub script: Option<ScriptState>,
}

/// What the database that a check asks is called.
const CHECKED: &str = "db";

/// What is wrong with a guard, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardFault {
    /// What is wrong.
    pub title: String,
    /// What to do, a line each.
    pub help: Vec<String>,
}

impl GuardFault {
    fn new(title: impl Into<String>, help: &[&str]) -> Self {
        Self { title: title.into(), help: help.iter().map(|line| (*line).to_owned()).collect() }
    }
}

impl Guard {
    /// As it is kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    /// The pipeline with this one task, in a script of this name.
    ///
    /// # Errors
    /// What contradicts itself.
    pub fn pipeline(&self, script: &str, commands: &Commands) -> Result<Pipeline, GuardFault> {
        self.has_good_names()?;
        if commands.words.is_empty() {
            let title = "it has no command";
            return Err(GuardFault::new(title, &["semel step NAME … -- COMMAND"]));
        }
        self.goes_together(commands)?;
        let words: Vec<_> = commands.words.iter().map(|word| Template::of_script(word)).collect();
        self.placeholders_have_values(&words)?;
        self.outputs_are_written(&words)?;
        let mut step = self.step_of(self.item.iter().map(|item| Item::plain(item.as_bytes())));
        step.action = Some(Action { kind: ActionKind::Command(Command::Words(words)), span: 0..0 });
        step.check = commands.check();
        step.runs_in = Some(commands.folder.clone());
        step.script = commands.script.clone();
        let mut pipeline = pipeline(script, &self.per, vec![step]);
        pipeline.databases.extend(commands.check_sql.iter().map(|(_, url)| Database {
            name: CHECKED.to_owned(),
            url: Template::plain(url),
            span: 0..0,
        }));
        Ok(pipeline)
    }

    /// The step, with these items if it has any. Of its commands nothing is known.
    #[must_use]
    pub fn step_of(&self, items: impl Iterator<Item = Item>) -> Step {
        let each = self.item.as_ref().map(|_| Each {
            source: EachSource::Said(items.collect()),
            items: Items::Values,
            name: None,
            span: 0..0,
            may_be_empty: true,
            may_shrink: true,
        });
        let inputs = self.inputs.iter().map(|input| Input {
            key: input.key.clone(),
            source: InputSource::Files(Template::plain(&input.path)),
            span: 0..0,
        });
        let outs = self.outs.iter().map(|out| Out {
            key: out.key.clone(),
            folder: out.path.ends_with('/'),
            path: Template::plain(&out.path),
            span: 0..0,
        });
        Step {
            name: self.step.clone(),
            span: 0..0,
            about: None,
            per: self.per.iter().map(|(name, _)| name.clone()).collect(),
            each,
            inputs: inputs.collect(),
            digest: Digested::Content,
            outs: outs.collect(),
            in_place: if self.in_place { InPlace::WithBackup } else { InPlace::No },
            action: None,
            calls: if self.calls { Calls::Guarded } else { Calls::Free },
            cleanup: None,
            dir: None,
            needs: Vec::new(),
            after: Vec::new(),
            check: None,
            once: self.once,
            safe_exits: self.safe_exits.clone(),
            expect: None,
            version: None,
            max_age: self.max_age,
            deterministic: true,
            same: None,
            env: Vec::new(),
            env_counts: self.env.clone(),
            secret_env: Vec::new(),
            retry: Retry { times: self.retry, ..Retry::default() },
            timeout: self.timeout,
            jobs: None,
            max_failures: None,
            ordered: false,
            was: self.was.clone(),
            runs_in: None,
            script: None,
            written: Some(self.written.clone()),
        }
    }

    fn has_good_names(&self) -> Result<(), GuardFault> {
        let per = self.per.iter().map(|(name, _)| name);
        for name in std::iter::once(&self.step).chain(per).chain(&self.was) {
            if !is_name(name) {
                let title = format!("`{}` cannot be a name", name.escape_default());
                let help = [
                    "a name has letters, digits, `-` and `_` only",
                    "what tells one from another goes to  --item  (or  --per name=value)",
                ];
                return Err(GuardFault::new(title, &help));
            }
        }
        if let Some(path) = self.inputs.iter().chain(&self.outs).find(|named| named.path.is_empty())
        {
            let what = path.key.as_deref().unwrap_or("a file");
            let help = "is a variable of the script empty?";
            return Err(GuardFault::new(format!("the path of {what} is empty"), &[help]));
        }
        if self.item.as_deref() == Some("") {
            let help = "is a variable of the script empty?";
            return Err(GuardFault::new("its item is empty", &[help]));
        }
        Ok(())
    }

    /// What is said goes together, as in a pipeline file.
    fn goes_together(&self, commands: &Commands) -> Result<(), GuardFault> {
        let fault = |title: &str, help: &[&str]| Err(GuardFault::new(title, help));
        if commands.check.is_some() && commands.check_sql.is_some() {
            return fault("--check with --check-sql", &["one of them tells whether it is done"]);
        }
        if commands.equals.is_some() && commands.check.is_none() {
            return fault("--equals without --check", &["it is what the check must print"]);
        }
        if self.once {
            if self.max_age.is_some() {
                let help = "--per day=\"$DAY\"  makes each day a task of its own";
                return fault(
                    "--once with --max-age: it would be done again when its time is over",
                    &[help],
                );
            }
            if self.in_place {
                let help = "take one of them away";
                return fault(
                    "--once with --in-place, which is put back and safe to repeat",
                    &[help],
                );
            }
            if commands.check.is_some() && commands.equals.is_none() {
                let help = "say what the check must print:  --check 'CMD' --equals t";
                return fault("a step that is done --once wants a definite no", &[help]);
            }
        } else if !self.safe_exits.is_empty() {
            let help = "an ordinary step is run again after any failure";
            return fault("--safe-exit without --once", &[help]);
        }
        let outs = || self.outs.iter().filter(|out| out.key.as_deref() != Some(STDOUT));
        if self.in_place && outs().next().is_none() {
            return fault("--in-place without --out", &["say what it writes"]);
        }
        if self.in_place && outs().count() < self.outs.len() {
            let help = "--stdout writes for it, and keeps it from being half";
            return fault("--in-place with --stdout", &[help]);
        }
        let twice = self
            .per
            .iter()
            .enumerate()
            .find(|(at, (name, _))| self.per[..*at].iter().any(|(earlier, _)| earlier == name));
        match twice {
            Some((_, (name, _))) => fault(&format!("--per {name} twice"), &[]),
            None => Ok(()),
        }
    }

    fn placeholders_have_values(&self, words: &[Template]) -> Result<(), GuardFault> {
        let has = |all: &[Named], key: &Option<String>| match key {
            None => !all.is_empty(),
            Some(key) => all.iter().any(|named| named.key.as_ref() == Some(key)),
        };
        for hole in words.iter().flat_map(Template::placeholders) {
            let (option, all, key) = match &hole.name {
                Name::In(key) => ("in", &self.inputs, key),
                Name::Out(key) => ("out", &self.outs, key),
                _ => continue,
            };
            let lists = option == "in" && key.as_deref() == Some("list") && !all.is_empty();
            if has(all, key) || lists {
                continue;
            }
            let named = key.as_ref().map_or_else(String::new, |key| format!(".{key}"));
            let wanted = key.as_ref().map_or_else(String::new, |key| format!("{key}="));
            let title = format!("{{{{ {option}{named} }}}} has no value");
            return Err(GuardFault::new(title, &[&format!("say  --{option} {wanted}PATH")]));
        }
        Ok(())
    }

    /// The command is told where to write each output.
    fn outputs_are_written(&self, words: &[Template]) -> Result<(), GuardFault> {
        if self.in_place {
            return Ok(());
        }
        for out in self.outs.iter().filter(|out| out.key.as_deref() != Some(STDOUT)) {
            let tells = |name: &Name| matches!(name, Name::Out(asked) if asked.is_none() || *asked == out.key);
            let mut holes = words.iter().flat_map(Template::placeholders);
            if holes.any(|hole| tells(&hole.name)) {
                continue;
            }
            let hole = out
                .key
                .as_ref()
                .map_or_else(|| "{{ out }}".to_owned(), |key| format!("{{{{ out.{key} }}}}"));
            let title = format!("the command does not know of its output `{}`", out.path);
            let help = [
                format!("write  '{hole}'  where the command names the file it writes;"),
                "semel puts the file into its place when it is whole".to_owned(),
                "or  --stdout PATH   if it is what the command prints".to_owned(),
                "or  --in-place      if the command can write to no other place".to_owned(),
            ];
            return Err(GuardFault { title, help: help.to_vec() });
        }
        Ok(())
    }
}

/// A pipeline of steps that a script says one by one.
#[must_use]
pub fn pipeline(name: &str, params: &[(String, String)], steps: Vec<Step>) -> Pipeline {
    let params = params.iter().map(|(name, value)| Param {
        name: name.clone(),
        about: None,
        value: ParamValue::Given(value.clone()),
        span: 0..0,
    });
    Pipeline {
        name: name.to_owned(),
        about: None,
        params: params.collect(),
        per: Vec::new(),
        jobs: None,
        timeout: None,
        durability: Durability::Power,
        databases: Vec::new(),
        steps,
        calls: Vec::new(),
        finally: None,
        on_failure: None,
        on_success: None,
        was: Vec::new(),
        refuses_fresh_memory: false,
    }
}

impl Commands {
    /// The state check, if one is said.
    fn check(&self) -> Option<Check> {
        let command = self.check.as_ref().map(|text| Probe::Command {
            command: Command::Shell {
                shell: DEFAULT_SHELL.map(str::to_owned).to_vec(),
                prelude: None,
                text: Template::of_script(text),
            },
            equals: self.equals.as_deref().map(Template::plain),
        });
        let query = self
            .check_sql
            .as_ref()
            .map(|(query, _)| Probe::Sql { db: CHECKED.to_owned(), query: Template::plain(query) });
        let probe = command.or(query)?;
        Some(Check {
            probe,
            within: Duration::ZERO,
            timeout: CHECK_TIMEOUT,
            retry: Retry::default(),
            max_age: None,
            span: 0..0,
        })
    }
}

/// A path that a script names from a folder of its own, as it is called from `root`.
/// Both folders are real ones: no part of them is a link.
///
/// ```
/// use std::path::Path;
/// use semel::words::guard::from_root;
/// let (root, cwd) = (Path::new("/srv/app"), Path::new("/srv/app/build"));
/// assert_eq!(from_root(root, cwd, "a.o"), "build/a.o");
/// assert_eq!(from_root(root, cwd, "../a.o"), "a.o");
/// assert_eq!(from_root(root, cwd, "../../x/"), "/srv/x/");
/// ```
#[must_use]
pub fn from_root(root: &Path, folder: &Path, path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let (mut folder, mut rest) = (folder, path);
    // A part that comes after a name may be a link: only those before any are known.
    if !rest.starts_with('/') {
        loop {
            rest = rest.strip_prefix("./").unwrap_or(rest).trim_start_matches('/');
            match rest.strip_prefix("..").filter(|more| more.is_empty() || more.starts_with('/')) {
                Some(more) => {
                    folder = folder.parent().unwrap_or(folder);
                    rest = more.trim_start_matches('/');
                }
                None => break,
            }
        }
    }
    let whole = folder.join(rest);
    let inside = whole.strip_prefix(root).map_or(whole.as_path(), |inside| inside);
    let mut named = inside.to_string_lossy().into_owned();
    if named.is_empty() {
        ".".clone_into(&mut named);
    }
    if path.ends_with('/') && !named.ends_with('/') {
        named.push('/');
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_guarded_where_a_script_says_so() {
        let guard = Guard { step: "a".to_owned(), calls: true, ..Guard::default() };
        assert_eq!(guard.step_of(std::iter::empty()).calls, Calls::Guarded);
        let kept: Guard = serde_json::from_str(&guard.to_json()).unwrap();
        assert_eq!(kept, guard);
        assert!(!Guard::default().to_json().contains("calls"));
    }
}
