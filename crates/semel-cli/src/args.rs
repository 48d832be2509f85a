//! What can be typed. No logic: only words and their meanings.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use semel::ground::world::keeper::Session;

use crate::exit::Exit;
use crate::help;
use crate::place::Place;
use crate::show::fail::Failed;

mod guard;

pub(crate) use guard::{Lock, Proxy, Script, ScriptDoes, Step, Write};

/// Run it again: semel makes scripts and pipelines safe to run again.
#[derive(Debug, Parser)]
#[command(name = "semel", version, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// What was typed, quoted for a shell.
    #[arg(skip)]
    pub(crate) typed: String,
}

/// What all verbs understand.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// The pipeline file [default: semel.toml here or in a folder above]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Give a parameter another value
    #[arg(short, long = "param", global = true, value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) params: Vec<(String, String)>,
}

fn param(typed: &str) -> Result<(String, String), String> {
    match typed.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("wants NAME=VALUE".to_owned()),
    }
}

fn duration(typed: &str) -> Result<Duration, String> {
    semel::words::duration(typed).ok_or_else(|| "wants a length of time such as 26h".to_owned())
}

/// A length of time as it can be typed again.
pub(crate) fn as_typed(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        _ => format!("{seconds}s"),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring steps, and what they need, to their desired state
    #[command(after_help = "\
Examples:
  semel run                          everything
  semel run report -p month=2013-02  a step, and what it needs
  semel run 'clean:raw/2013-02-*'    some of its items
  semel run --expect-noop            start nothing; exit 6 if something is to do")]
    Run(Run),
    /// Show what a run would do, and why
    #[command(after_help = "\
Examples:
  semel plan
  semel plan 'clean:raw/2013-02-*'   only these, and what they need")]
    Plan(Plan),
    /// Show where every step stands; `semel` alone does this
    #[command(after_help = "\
Examples:
  semel status
  semel status 'clean:raw/2013-02-*'  task by task
  semel status -q --max-age 26h       for a monitor: silent when all is well")]
    Status(Status),
    /// Show all the evidence behind the verdict on a task
    #[command(after_help = "\
Example:
  semel why clean:raw/2013-02-17.csv")]
    Why(Why),
    /// Show what commands printed [default: those that failed last]
    #[command(after_help = "\
Examples:
  semel log                          what failed last
  semel log 214                      all of a run
  semel log 'clean:raw/2013-02-*'    of these tasks, in the last run of each")]
    Log(Log),
    /// Show the runs, newest first
    #[command(after_help = "\
Examples:
  semel history
  semel history 'clean:raw/2013-02-*'  every try at these tasks")]
    History(History),
    /// It is done: accept what is there
    #[command(after_help = "\
Example:
  semel done announce@2013-02 --because 'in #data at 02:16'")]
    Done(Settle),
    /// Do it again, once
    #[command(after_help = "\
Example:
  semel redo announce@2013-02 --because 'not in #data'")]
    Redo(Settle),
    /// Do one task of a script, unless it is done
    #[command(after_help = "\
Examples:
  semel step fetch --max-age 20h --out raw.csv -- curl -fsSo '{{ out }}' \"$URL\"
  semel step pay --item \"$order\" --once -- ./pay.sh \"$order\"
  semel step day --replay -- date +%F        prints it again when it is skipped")]
    Step(Box<Step>),
    /// Write what a command prints into a file, whole or not at all
    #[command(after_help = "\
Example:
  semel write report.txt -- ./report.sh")]
    Write(Write),
    /// Hold a lock while a command runs
    #[command(after_help = "\
Examples:
  semel lock backup -- ./backup.sh           exit 104 if somebody else holds it
  semel lock backup --wait 10m -- ./backup.sh")]
    Lock(Lock),
    /// Send each HTTP call of a command at most once, and replay its answer
    #[command(after_help = "\
Examples:
  semel proxy -- python3 enrich.py           what is paid is never paid again
  semel proxy --per day=$DAY -- ./remind.sh  each day has calls of its own
  semel proxy --listen 127.0.0.1:8080 --to https://api.example.com")]
    Proxy(Proxy),
    /// Guard a script for its life: `eval` what this prints
    #[command(after_help = "\
Example, near the top of a script:
  eval \"$(semel script nightly || echo exit 105)\"")]
    Script(Script),
    /// Name what looks unsafe in the pipeline file, and what to write instead
    #[command(after_help = "\
Example:
  semel lint                         runs nothing, writes nothing")]
    Lint(Lint),
    /// Re-read every effect against its receipt
    #[command(after_help = "\
Examples:
  semel verify                       exit 0 if all is as the receipts say
  semel verify -q clean              not a byte when all is well")]
    Verify(Verify),
    /// Make `.semel/`, and a starter file where none is
    #[command(after_help = "\
Examples:
  semel init
  semel init --from nightly.sh       a draft of it, for you to finish
  semel init --bare                  only the folder")]
    Init(Init),
    /// Show outputs that nobody makes any more, or move them aside
    #[command(after_help = "\
Examples:
  semel prune                        shows them; moves nothing
  semel prune --yes                  moves them to .semel/displaced/")]
    Prune(Prune),
    /// Query, export, import, tidy or rebuild the manifest
    #[command(subcommand)]
    Manifest(Manifest),
    /// Print completions for a shell
    #[command(after_help = "\
Examples:
  semel completions bash > ~/.local/share/bash-completion/completions/semel
  semel completions zsh > ~/.zfunc/_semel
  semel completions fish > ~/.config/fish/completions/semel.fish")]
    Completions(Completions),
    /// Print the man page, or write all of them
    #[command(after_help = "\
Examples:
  semel manual | man -l -
  semel manual ~/.local/share/man/man1")]
    Manual(Manual),
}

impl Verb {
    /// The steps and tasks that are named.
    pub(crate) fn targets(&self) -> &[String] {
        match self {
            Self::Status(options) => &options.targets,
            Self::History(options) => &options.targets,
            Self::Done(options) | Self::Redo(options) => &options.tasks,
            Self::Why(options) => std::slice::from_ref(&options.task),
            Self::Log(options) => match &options.of {
                Some(of) if of.parse::<i64>().is_err() => std::slice::from_ref(of),
                _ => &[],
            },
            _ => &[],
        }
    }

    /// A place, if the verb has something to do there: a script is run by typing its name.
    pub(crate) fn takes(&self, place: Place) -> Result<Place, Failed> {
        let verb = match self {
            Self::Run(_) => "run",
            Self::Plan(_) => "plan",
            Self::Lint(_) => "lint",
            Self::Prune(_) => "prune",
            _ => return Ok(place),
        };
        if !place.is_script() {
            return Ok(place);
        }
        Err(Failed::Usage(format!(
            "{} is a script, which `semel {verb}` does not read; it is run by  {}",
            place.file.pipeline.name,
            place.run_again("")
        )))
    }
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Run {
    /// Steps or tasks: `clean`, `clean:raw/17.csv`, `clean:raw/2013-01-*` [default: all]
    #[arg(value_name = "STEP|TASK")]
    pub(crate) targets: Vec<String>,
    /// How many commands at a time [default: one for each processor]
    #[arg(short, long, value_name = "N")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// Say nothing when all is well
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show what commands print as it comes
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Only tasks whose last attempt did not succeed, and what they need
    #[arg(long)]
    pub(crate) only_failed: bool,
    /// The changed command of this step does not matter: what it made is kept
    #[arg(long, value_name = "STEP")]
    pub(crate) keep: Vec<String>,
    /// Begin nothing new after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Do ordinary steps afresh, whatever their receipts say
    #[arg(long, conflicts_with = "keep")]
    pub(crate) fresh: bool,
    /// Wait as long as this for others who are at work on it: `30m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Read every file and ask every check anew, whatever is remembered
    #[arg(long)]
    pub(crate) rehash: bool,
    /// Start nothing; exit 6 if there would be something to do
    #[arg(long)]
    pub(crate) expect_noop: bool,
    /// Print each event as one line of JSON on standard output
    #[arg(long, conflicts_with_all = ["quiet", "verbose"])]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Plan {
    /// Steps or tasks [default: all]
    #[arg(value_name = "STEP|TASK")]
    pub(crate) targets: Vec<String>,
    /// Only tasks whose last attempt did not succeed, and what they need
    #[arg(long)]
    pub(crate) only_failed: bool,
    /// As if the changed command of this step did not matter
    #[arg(long, value_name = "STEP")]
    pub(crate) keep: Vec<String>,
    /// As if everything were done afresh
    #[arg(long, conflicts_with = "keep")]
    pub(crate) fresh: bool,
    /// Read every file and ask every check anew, whatever is remembered
    #[arg(long)]
    pub(crate) rehash: bool,
    /// Print each event as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Status {
    /// Steps or tasks [default: all steps]
    #[arg(value_name = "STEP|TASK")]
    pub(crate) targets: Vec<String>,
    /// Exit 1 if the last good run is longer ago than this: `26h`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) max_age: Option<Duration>,
    /// Say nothing when all is well, else one line
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Why {
    /// A task, or a step without items
    #[arg(value_name = "TASK")]
    pub(crate) task: String,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Log {
    /// The number of a run, or tasks
    #[arg(value_name = "RUN|TASK")]
    pub(crate) of: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct History {
    /// Steps or tasks, for every try at them [default: the runs]
    #[arg(value_name = "STEP|TASK")]
    pub(crate) targets: Vec<String>,
    /// How many runs, or tries
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) most: u32,
    /// Print a JSON object for each run, or try
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Settle {
    /// Steps or tasks
    #[arg(value_name = "TASK", required = true)]
    pub(crate) tasks: Vec<String>,
    /// Why; it is kept
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
    /// Done, though there are no outputs
    #[arg(long)]
    pub(crate) without_outputs: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Lint {
    /// Steps [default: the whole file]
    #[arg(value_name = "STEP")]
    pub(crate) steps: Vec<String>,
    /// Print a JSON object for each warning, and one for all
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Init {
    /// Only the folder
    #[arg(long)]
    pub(crate) bare: bool,
    /// Draft the pipeline file from a script for bash or sh, which is only read
    #[arg(long, value_name = "SCRIPT", conflicts_with = "bare")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Verify {
    /// Steps or tasks [default: all]
    #[arg(value_name = "STEP|TASK")]
    pub(crate) targets: Vec<String>,
    /// Say nothing when all is well
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,
    /// Print a JSON object for each output and each check, and one for all
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Prune {
    /// Move them to `.semel/displaced/`
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print a JSON object for each output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

/// Shells whose completions are kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Manual {
    /// Where to write a page for each verb [default: print that of semel itself]
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Print all verbs with their options in Markdown
    #[arg(long, hide = true, conflicts_with = "folder")]
    pub(crate) markdown: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Answer a query in SQL
    #[command(after_help = "\
Example:
  semel manifest query 'select step, count(*) from receipt group by step'")]
    Query(Query),
    /// Set the manifest aside, and make a new one of its last backup and once.log
    #[command(after_help = "\
Example:
  semel manifest rebuild             the old one is kept beside it")]
    Rebuild,
    /// Say that an incomplete memory is whole: what it does not know did not happen
    #[command(after_help = "\
Example:
  semel manifest accept --because 'compared with the bank: all is in it'")]
    Accept(Accept),
    /// Print all of it, as lines of JSON
    #[command(after_help = "\
Example:
  semel manifest export > manifest.jsonl")]
    Export,
    /// Take in what another manifest, or this one before, has exported
    #[command(after_help = "\
Examples:
  semel manifest import manifest.jsonl
  ssh db7 'cd nightly && semel manifest export' | semel manifest import -")]
    Import(Import),
    /// Show what is older than it need be kept, or end it
    #[command(after_help = "\
Examples:
  semel manifest gc --keep 90d       shows it; ends nothing
  semel manifest gc --keep 90d --yes")]
    Gc(Gc),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Accept {
    /// Why; it is kept
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Import {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) from: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Gc {
    /// How long history is kept
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "90d")]
    pub(crate) keep: Duration,
    /// End it; what was moved aside is gone for good then
    #[arg(long)]
    pub(crate) yes: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Query {
    /// The query, e.g. 'select step, count(*) from receipt group by step'
    pub(crate) sql: String,
    /// Print a JSON object for each row
    #[arg(long)]
    pub(crate) json: bool,
}

impl Arguments {
    /// Where commands stand among the sessions of processes: those of a script have its
    /// terminal. What is done once has not, so that a Ctrl-C does not cut it short.
    pub(crate) fn session(&self) -> Session {
        match &self.verb {
            Some(Verb::Step(step)) if !step.once => Session::Shared,
            Some(Verb::Write(_) | Verb::Lock(_) | Verb::Proxy(_)) => Session::Shared,
            _ => Session::Apart,
        }
    }
}

/// The verbs that stand before somebody else's command: what is semel's own among their
/// exit statuses is 100 more.
pub(crate) const PREFIXES: [&str; 4] = ["step", "write", "lock", "proxy"];

/// `semel step`, read by itself: it is the verb that is started again and again.
#[derive(Debug, Parser)]
#[command(name = "semel step")]
struct StepAlone {
    #[command(flatten)]
    step: Step,
}

/// Reads the command line; what cannot be read is answered at once.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    let words: Vec<_> = words.collect();
    let verb = words.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    if verb == PREFIXES[0]
        && let Ok(StepAlone { step }) = StepAlone::try_parse_from(&words[1..])
    {
        let verb = Some(Verb::Step(Box::new(step)));
        return Ok(Arguments { common: Common::default(), verb, typed: String::new() });
    }
    let command = help::command();
    let matches = command.try_get_matches_from(&words);
    match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => Ok(Arguments { typed: typed(&words), ..arguments }),
        Err(error) => {
            // Where nobody reads what we say, there is nothing to say it with.
            let _ = error.print();
            let exit = match error.use_stderr() {
                true if PREFIXES.contains(&verb) => Exit::USAGE.of_prefix(),
                true => Exit::USAGE,
                false => Exit::DONE,
            };
            Err(exit.into())
        }
    }
}

fn typed(words: &[OsString]) -> String {
    let rest = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<_> = std::iter::once("semel".to_owned()).chain(rest).collect();
    semel::words::shell::quote_words(words.iter().map(String::as_str))
}
