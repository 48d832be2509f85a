//! What can be typed. No logic: only words and their meanings.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::exit::{self, Exit};

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

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Bring steps, and what they need, to their desired state
    Run(Run),
    /// Show what a run would do, and why
    Plan(Plan),
    /// Show where every step stands
    Status(Status),
    /// Show all the evidence behind the verdict on a task
    Why(Why),
    /// Show what commands printed [default: those that failed last]
    Log(Log),
    /// Show the runs, newest first
    History(History),
    /// Settle: it is done, accept what is there
    Done(Settle),
    /// Settle: do it again, once
    Redo(Settle),
    /// Make `.semel/`, and a starter file where none is
    Init(Init),
    /// Look into the manifest
    #[command(subcommand)]
    Manifest(Manifest),
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
    /// Read every file anew; believe no remembered digest
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
    /// Read every file anew; believe no remembered digest
    #[arg(long)]
    pub(crate) rehash: bool,
    /// Print each event as one line of JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Status {
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
    /// The number of a run, or a task
    #[arg(value_name = "RUN|TASK")]
    pub(crate) of: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct History {
    /// How many runs
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) most: u32,
    /// Print a JSON object for each run
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
pub(crate) struct Init {
    /// Only the folder
    #[arg(long)]
    pub(crate) bare: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Answer a query in SQL
    Query(Query),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Query {
    /// The query, e.g. 'select step, count(*) from receipt group by step'
    pub(crate) sql: String,
    /// Print a JSON object for each row
    #[arg(long)]
    pub(crate) json: bool,
}

/// The verbs as `--help` shows them, in their groups.
const GROUPS: &str = "\
every day
  run       bring steps, and what they need, to their desired state
  plan      show what a run would do, and why
  status    show where every step stands; `semel` alone does this
  why       show all the evidence behind the verdict on a task
  log       show what commands printed
  history   show the runs, newest first
settle
  done      it is done: accept what is there
  redo      do it again, once
care
  init      make `.semel/`, and a starter file where none is
  manifest  look into the manifest";

/// Reads the command line; what cannot be read is answered at once.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Arguments, ExitCode> {
    let words: Vec<_> = words.collect();
    let statuses: Vec<_> =
        exit::MEANINGS.iter().map(|(status, meaning)| format!("  {status:<6} {meaning}")).collect();
    let command = Arguments::command()
        .override_usage("semel [VERB] [OPTIONS]")
        .help_template("{about}\n\nUsage: {usage}\n\n{before-help}Options:\n{options}{after-help}")
        .before_help(GROUPS)
        .after_help(format!("Exit status, the first that applies:\n{}", statuses.join("\n")));
    let matches = command.try_get_matches_from(&words);
    match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => Ok(Arguments { typed: typed(&words), ..arguments }),
        Err(error) => {
            // Where nobody reads what we say, there is nothing to say it with.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::USAGE } else { Exit::DONE };
            Err(exit.into())
        }
    }
}

fn typed(words: &[OsString]) -> String {
    let rest = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    let words: Vec<_> = std::iter::once("semel".to_owned()).chain(rest).collect();
    semel::words::shell::quote_words(words.iter().map(String::as_str))
}
