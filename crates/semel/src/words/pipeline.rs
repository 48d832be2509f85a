//! A pipeline, as its file says it.
//!
//! [`Pipeline::read`] turns the text of a `semel.toml` into a [`Pipeline`] or
//! into a list of all its faults. It touches nothing but the text.
//!
//! Invariant: a `Pipeline` has no contradictions that can be seen in its text:
//! every name it mentions exists, every placeholder has a value where it
//! stands, and the steps form no cycle.

mod action;
mod draft;
mod fault;
mod http;
mod keys;
mod places;
mod read;
mod rules;
mod value;

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

pub use action::{Action, ActionKind, Load, Sql, SqlText};
pub use fault::Fault;
pub use http::{Body, Http, Json, Method, NotUtf8};
pub(crate) use keys::is_name;
pub use places::Places;
pub use rules::find_cycle;

use crate::words::call::{Calls, Rule};
use crate::words::task::Item;
use crate::words::template::{Name, Template};

/// A range of bytes of the pipeline file.
pub type Span = Range<usize>;

/// The place of a step in [`Pipeline::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// A named set of steps.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name; receipts are kept by it.
    pub name: String,
    /// A sentence for people.
    pub about: Option<String>,
    /// The parameters, in the order of the file.
    pub params: Vec<Param>,
    /// The parameters whose values are the instances of a run.
    pub per: Vec<String>,
    /// How many tasks at a time; by default as many as there are processors.
    pub jobs: Option<NonZeroUsize>,
    /// The limit of a run.
    pub timeout: Option<Duration>,
    /// What a receipt outlives.
    pub durability: Durability,
    /// The databases that it names, in the order of the file.
    pub databases: Vec<Database>,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    /// What it says of calls, in the order of the file.
    pub calls: Vec<Rule>,
    /// What is run at the end of every run.
    pub finally: Option<Hook>,
    /// What is done after a run that did not reach its state.
    pub on_failure: Option<Hook>,
    /// What is done after a run that reached its state.
    pub on_success: Option<Hook>,
    /// Names that it had before.
    pub was: Vec<String>,
    /// Whether a run makes no new memory while there are `once` steps.
    pub refuses_fresh_memory: bool,
}

/// A database that the file gives a name.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Where it is: `sqlite:flights.db`. Users and passwords are not said here.
    pub url: Template,
    /// Where the file says so.
    pub span: Span,
}

/// A parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// A sentence for people.
    pub about: Option<String>,
    /// Where its value comes from unless `-p` gives one.
    pub value: ParamValue,
    /// Where the file says so.
    pub span: Span,
}

/// Where the value of a parameter comes from.
#[derive(Clone, Debug)]
pub enum ParamValue {
    /// From the file.
    Given(String),
    /// From the command line only.
    Required,
    /// From a command, asked once a run.
    Command(Command),
}

/// What a receipt outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut.
    #[default]
    Power,
    /// The death of any process; a power cut may cost what was done last, but
    /// never what is done once.
    Process,
}

/// What accompanies the end of a run.
#[derive(Clone, Debug)]
pub struct Hook {
    /// What is done.
    pub does: HookDoes,
    /// How long it may take.
    pub timeout: Duration,
    /// Where the file says so.
    pub span: Span,
}

/// What is done at the end of a run.
#[derive(Clone, Debug)]
pub enum HookDoes {
    /// A command is run; it gets the summary on its standard input.
    Run(Command),
    /// A call is made; it sends the summary, unless it says what to send.
    Call(Http),
}

impl Hook {
    /// The command, where it is one.
    #[must_use]
    pub const fn command(&self) -> Option<&Command> {
        match &self.does {
            HookDoes::Run(command) => Some(command),
            HookDoes::Call(_) => None,
        }
    }
}

/// One named unit of work.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Where the file names it.
    pub span: Span,
    /// A sentence for people.
    pub about: Option<String>,
    /// The parameters whose values are its instances.
    pub per: Vec<String>,
    /// What it fans out over.
    pub each: Option<Each>,
    /// Further files that it reads.
    pub inputs: Vec<Input>,
    /// What files that it reads count by.
    pub digest: Digested,
    /// The files and folders that it writes.
    pub outs: Vec<Out>,
    /// Whether it writes them in their places.
    pub in_place: InPlace,
    /// What it does; `None` where it is a check alone.
    pub action: Option<Action>,
    /// How the HTTP calls of its command go out. It does not count.
    pub calls: Calls,
    /// What undoes a partial effect.
    pub cleanup: Option<Command>,
    /// The folder in which its commands run.
    pub dir: Option<Template>,
    /// Steps that it comes after, and whose effects count.
    pub needs: Vec<StepId>,
    /// Steps that it comes after.
    pub after: Vec<StepId>,
    /// The probe of the real world.
    pub check: Option<Check>,
    /// Whether it is unsafe to repeat.
    pub once: bool,
    /// Exit statuses by which the command says that it did nothing.
    pub safe_exits: Vec<i32>,
    /// What a good output looks like.
    pub expect: Option<Expect>,
    /// A text that counts, to make it run again at will.
    pub version: Option<String>,
    /// How old a receipt may be.
    pub max_age: Option<Duration>,
    /// Whether doing it again makes the same again.
    pub deterministic: bool,
    /// Whether two files of equal content are one piece of work.
    pub same: Option<Same>,
    /// Variables that are set for the command, and count.
    pub env: Vec<(String, Template)>,
    /// Variables of semel's own environment that count.
    pub env_counts: Vec<String>,
    /// Variables of semel's own environment that must be set, do not count, and
    /// are masked; with their places.
    pub secret_env: Vec<(String, Span)>,
    /// When and how often a failed attempt is followed by another.
    pub retry: Retry,
    /// The limit of an attempt.
    pub timeout: Option<Duration>,
    /// How many of its tasks at a time.
    pub jobs: Option<NonZeroUsize>,
    /// After how many failures no further item is begun.
    pub max_failures: Option<NonZeroU64>,
    /// Whether its items go one by one, in the order of their names.
    pub ordered: bool,
    /// Names that it had before.
    pub was: Vec<String>,
    /// Where its commands run, if a script says it: where that was then. It does not
    /// count.
    pub runs_in: Option<PathBuf>,
    /// What its commands need of the script that says it.
    pub script: Option<ScriptState>,
    /// Its command as the script writes it: the words that are run are the shell's, and
    /// are not kept.
    pub written: Option<String>,
}

/// What the commands of a step need of the script that says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptState {
    /// The functions that its command calls, as they are written. They count.
    pub functions: String,
    /// A file that makes the script's functions and variables anew in another shell. It
    /// does not count.
    pub state: PathBuf,
}

/// What files that are read count by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Digested {
    /// Their bytes.
    #[default]
    Content,
    /// Size, time of the last change, and inode.
    Stat,
}

/// Whether outputs are written in their places instead of in staging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InPlace {
    /// They are staged.
    #[default]
    No,
    /// They are, and what was there is kept and put back after a failure.
    WithBackup,
    /// They are, and only `cleanup` undoes what was half done.
    WithoutBackup,
}

/// What a step fans out over.
#[derive(Clone, Debug)]
pub struct Each {
    /// Where its items come from.
    pub source: EachSource,
    /// What its items are.
    pub items: Items,
    /// The column by which rows are named; without one, all their values.
    pub name: Option<String>,
    /// Where the file says so.
    pub span: Span,
    /// Whether a list without items is fine.
    pub may_be_empty: bool,
    /// Whether a list that lost more than half of its items is fine.
    pub may_shrink: bool,
}

/// Where items come from.
#[derive(Clone, Debug)]
pub enum EachSource {
    /// The files that match a pattern.
    Files(Template),
    /// The files that a file names, one a line.
    FilesFrom(Template),
    /// The lines of a file.
    Lines(Template),
    /// The rows of a CSV file.
    Csv(Template),
    /// The elements of a list in a JSON file.
    Json(Template),
    /// The lines that a command prints.
    Command(Command),
    /// The outputs of another step's tasks.
    OutputsOf(StepId),
    /// The items of another step, each after its own task.
    ItemsOf(StepId),
    /// These, which a script says one by one.
    Said(Vec<Item>),
}

/// What items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// Files, which count by their content.
    Files,
    /// Values, which count as they are.
    Values,
    /// Rows of named values, which count as they are.
    Rows,
}

impl EachSource {
    /// The step whose tasks this step's tasks follow, one by one.
    #[must_use]
    pub const fn chain(&self) -> Option<StepId> {
        match self {
            Self::OutputsOf(step) | Self::ItemsOf(step) => Some(*step),
            _ => None,
        }
    }

    /// The file that it reads the list from.
    #[must_use]
    pub const fn list(&self) -> Option<&Template> {
        match self {
            Self::FilesFrom(path) | Self::Lines(path) | Self::Csv(path) | Self::Json(path) => {
                Some(path)
            }
            _ => None,
        }
    }
}

/// Files that a step reads beside its item.
#[derive(Clone, Debug)]
pub struct Input {
    /// The key under which they are named.
    pub key: Option<String>,
    /// Where they come from.
    pub source: InputSource,
    /// Where the file says so.
    pub span: Span,
}

/// Where inputs come from.
#[derive(Clone, Debug)]
pub enum InputSource {
    /// The files that match a pattern, or all files of a folder.
    Files(Template),
    /// The outputs of all tasks of a step.
    OutputsOf(StepId),
}

/// An output of each task of a step.
#[derive(Clone, Debug)]
pub struct Out {
    /// The key under which it is named.
    pub key: Option<String>,
    /// Its path.
    pub path: Template,
    /// Whether it is a folder.
    pub folder: bool,
    /// Where the file says so.
    pub span: Span,
}

/// A command, for an action or a check.
#[derive(Clone, Debug)]
pub enum Command {
    /// A text for a shell, which gets it as its last argument.
    Shell {
        /// The shell and its options.
        shell: Vec<String>,
        /// A line that goes before the text.
        prelude: Option<String>,
        /// The text.
        text: Template,
    },
    /// A program and its arguments, without a shell.
    Words(Vec<Template>),
}

impl Command {
    /// All the templates in it.
    #[must_use]
    pub fn templates(&self) -> &[Template] {
        match self {
            Self::Shell { text, .. } => std::slice::from_ref(text),
            Self::Words(words) => words,
        }
    }
}

/// A probe of the real world.
#[derive(Clone, Debug)]
pub struct Check {
    /// What is asked.
    pub probe: Probe,
    /// How long after the action it is asked until it holds.
    pub within: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How often it is asked again where it cannot tell.
    pub retry: Retry,
    /// How long an answer that it holds is believed.
    pub max_age: Option<Duration>,
    /// Where the file says so.
    pub span: Span,
}

/// What a check asks.
#[derive(Clone, Debug)]
pub enum Probe {
    /// A command, for one task.
    Command {
        /// The command that is asked.
        command: Command,
        /// What it must print to hold; without it the exit status answers.
        equals: Option<Template>,
    },
    /// A command that prints the items for which it holds.
    All(Command),
    /// A query, whose first row and column must be there and true.
    Sql {
        /// The name of the database.
        db: String,
        /// The query; placeholders are bound parameters.
        query: Template,
    },
    /// A file, which must have this digest.
    File {
        /// Its path.
        path: Template,
        /// The SHA-256 of its bytes, in hexadecimal.
        sha256: Template,
    },
}

impl Probe {
    /// All the templates in it.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let (command, others) = match self {
            Self::Command { command, equals } => (command.templates(), [equals.as_ref(), None]),
            Self::All(command) => (command.templates(), [None, None]),
            Self::Sql { query, .. } => (&[][..], [Some(query), None]),
            Self::File { path, sha256 } => (&[][..], [Some(path), Some(sha256)]),
        };
        command.iter().chain(others.into_iter().flatten())
    }
}

/// What a good output looks like; every rule must hold for every output.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The number of records.
    pub rows: Option<Bound>,
    /// The size.
    pub bytes: Option<Bound>,
    /// Whether the outputs must have as many records as the inputs.
    pub same_rows_as_in: bool,
    /// Where the file says so.
    pub span: Span,
}

impl Expect {
    /// Whether any output would do.
    pub(crate) const fn expects_nothing(&self) -> bool {
        self.rows.is_none() && self.bytes.is_none() && !self.same_rows_as_in
    }
}

/// A condition on a number: `>= 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How the number is compared.
    pub relation: Relation,
    /// What it is compared with.
    pub number: u64,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `= n`, or the number alone.
    Equal,
    /// `>= n`.
    AtLeast,
    /// `<= n`.
    AtMost,
    /// `> n`.
    MoreThan,
    /// `< n`.
    LessThan,
}

impl Bound {
    /// Reads `>= 1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let relations = [
            (">=", Relation::AtLeast),
            ("<=", Relation::AtMost),
            (">", Relation::MoreThan),
            ("<", Relation::LessThan),
            ("=", Relation::Equal),
            ("", Relation::Equal),
        ];
        relations.into_iter().find_map(|(sign, relation)| {
            let number = text.strip_prefix(sign)?.trim().replace('_', "").parse().ok()?;
            Some(Self { relation, number })
        })
    }

    /// Whether a number meets the condition.
    #[must_use]
    pub const fn holds(self, number: u64) -> bool {
        match self.relation {
            Relation::Equal => number == self.number,
            Relation::AtLeast => number >= self.number,
            Relation::AtMost => number <= self.number,
            Relation::MoreThan => number > self.number,
            Relation::LessThan => number < self.number,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.relation {
            Relation::Equal => "=",
            Relation::AtLeast => ">=",
            Relation::AtMost => "<=",
            Relation::MoreThan => ">",
            Relation::LessThan => "<",
        };
        write!(f, "{sign} {}", self.number)
    }
}

/// What two files of equal content are to a step without outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// One piece of work.
    Content,
    /// Two: the name counts too.
    NameAndContent,
}

/// When a failed attempt is followed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How many further attempts there are.
    pub times: u32,
    /// The pause before the first of them; each next pause is twice as long.
    pub wait: Duration,
    /// The longest pause.
    pub up_to: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { times: 0, wait: Duration::from_secs(1), up_to: Duration::from_secs(60) }
    }
}

/// The shell that texts are given to unless the file names another: a pipe that
/// fails must fail.
pub const DEFAULT_SHELL: [&str; 4] = ["bash", "-euo", "pipefail", "-c"];

/// How long a check may take unless the file says otherwise.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a command at the end of a run may take unless the file says
/// otherwise.
pub const HOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// The JSON schema of a pipeline file, for editors.
#[must_use]
pub fn schema() -> serde_json::Value {
    keys::schema()
}

/// The keys of a pipeline file as Markdown, as the reference shows them.
#[must_use]
pub fn reference() -> String {
    keys::reference()
}

impl Pipeline {
    /// Reads the text of a pipeline file.
    ///
    /// ```
    /// use semel::words::pipeline::Pipeline;
    /// let text = "name = 'demo'\n[step.hello]\nout = 'hello.txt'\nrun = 'echo hello > {{ out }}'";
    /// assert_eq!(Pipeline::read(text).unwrap().steps[0].name, "hello");
    /// ```
    ///
    /// # Errors
    /// All faults of the file, in the order of their places.
    pub fn read(text: &str) -> Result<Self, Vec<Fault>> {
        read::pipeline(text)
    }

    /// Reads what the text of a pipeline file says of calls, and looks at nothing else in it:
    /// a file may have `[[call]]` alone.
    ///
    /// ```
    /// use semel::words::pipeline::Pipeline;
    /// let text = "[[call]]\nmatch = 'POST api.example.com/**'\nprice = '0.01 USD'";
    /// assert_eq!(Pipeline::read_calls(text).unwrap().len(), 1);
    /// ```
    ///
    /// # Errors
    /// All faults of `[[call]]`, in the order of their places; or that it is not TOML.
    pub fn read_calls(text: &str) -> Result<Vec<Rule>, Vec<Fault>> {
        read::calls(text)
    }

    /// The step of this place.
    #[must_use]
    pub fn step(&self, id: StepId) -> &Step {
        &self.steps[id.0]
    }

    /// The step of this name.
    #[must_use]
    pub fn step_named(&self, name: &str) -> Option<StepId> {
        self.steps.iter().position(|step| step.name == name).map(StepId)
    }

    /// All steps with their places.
    pub fn ids(&self) -> impl Iterator<Item = (StepId, &Step)> {
        self.steps.iter().enumerate().map(|(at, step)| (StepId(at), step))
    }
}

impl Step {
    /// Whether what it does are calls of the journal, or may be.
    #[must_use]
    pub fn makes_calls(&self) -> bool {
        let http = self.action.as_ref().and_then(|action| action.kind.http());
        self.calls != Calls::Free || http.is_some()
    }

    /// The steps that it comes after, whatever the reason.
    pub fn upstream(&self) -> impl Iterator<Item = StepId> + '_ {
        let listed = self.each.as_ref().and_then(|each| each.source.chain());
        let gathered = self.inputs.iter().filter_map(|input| match input.source {
            InputSource::OutputsOf(step) => Some(step),
            InputSource::Files(_) => None,
        });
        let named = self.needs.iter().chain(&self.after).copied();
        listed.into_iter().chain(gathered).chain(named)
    }

    /// The steps before it whose effects can change what its tasks do.
    pub fn counting_upstream(&self) -> impl Iterator<Item = StepId> + '_ {
        let listed = self.each.as_ref().and_then(|each| match each.source {
            EachSource::OutputsOf(step) => Some(step),
            _ => None,
        });
        let gathered = self.inputs.iter().filter_map(|input| match input.source {
            InputSource::OutputsOf(step) => Some(step),
            InputSource::Files(_) => None,
        });
        let needed = self.needs.iter().copied().filter(|_| !self.once);
        listed.into_iter().chain(gathered).chain(needed)
    }

    /// Whether what the steps before it make can change what its tasks do. What
    /// is done once is only ordered by what it needs.
    #[must_use]
    pub fn reads_upstream(&self) -> bool {
        let reads_list = self.each.as_ref().is_some_and(|each| {
            each.source.list().is_some() || matches!(each.source, EachSource::OutputsOf(_))
        });
        let gathers =
            self.inputs.iter().any(|input| matches!(input.source, InputSource::OutputsOf(_)));
        reads_list || gathers || (!self.needs.is_empty() && !self.once)
    }

    /// Whether its commands run elsewhere than in the pipeline's folder.
    #[must_use]
    pub const fn runs_elsewhere(&self) -> bool {
        self.dir.is_some() || self.runs_in.is_some()
    }

    /// Its command, where its action is one.
    #[must_use]
    pub fn command(&self) -> Option<&Command> {
        self.action.as_ref().and_then(|action| action.kind.command())
    }

    /// The call that it makes, where its action is one.
    #[must_use]
    pub fn http(&self) -> Option<&Http> {
        self.action.as_ref().and_then(|action| action.kind.http())
    }

    /// The name of the database that its action works on, where it does.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.action.as_ref().and_then(|action| action.kind.database())
    }

    /// Whether its items are files, which count by their content.
    #[must_use]
    pub fn has_file_items(&self) -> bool {
        self.each.as_ref().is_some_and(|each| each.items == Items::Files)
    }

    /// The role of an output in stamps and effects: its key, or its place among
    /// several; empty if it is the only one.
    #[must_use]
    pub fn role(&self, at: usize) -> String {
        match &self.outs[at].key {
            Some(key) => key.clone(),
            None if self.outs.len() == 1 => String::new(),
            None => (at + 1).to_string(),
        }
    }

    /// The templates whose values decide what its tasks do: those of the action,
    /// of `env` and of `check`.
    pub fn counting_templates(&self) -> impl Iterator<Item = &Template> {
        let check = self.check.iter().flat_map(|check| check.probe.templates());
        let action = self.action.iter().flat_map(|action| action.kind.templates());
        action.chain(self.env.iter().map(|(_, value)| value)).chain(&self.dir).chain(check)
    }

    /// The names that those templates mention.
    pub fn counting_names(&self) -> impl Iterator<Item = &Name> {
        self.counting_templates().flat_map(Template::placeholders).map(|hole| &hole.name)
    }
}
