//! What can be typed after `semel calls`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use semel::words::call::{CallState, Pattern};

#[derive(Debug, Subcommand)]
pub(crate) enum Calls {
    /// Show the calls, newest last
    #[command(after_help = "\
Examples:
  semel calls list
  semel calls list --unknown         those that wait for a human
  semel calls list --match 'POST api.example.com/**' --task pay")]
    List(ListCalls),
    /// Show all that is known of a call
    #[command(after_help = "\
Examples:
  semel calls show 17
  semel calls show 17 --body > answer.json")]
    Show(ShowCall),
    /// They happened: nothing is sent, and who asks again gets this answer
    #[command(after_help = "\
Examples:
  semel calls done 17 --because 'the provider has it'
  semel calls done 17 --answer order.json --because 'as their console shows it'")]
    Done(SettleCalls),
    /// They did not happen: each may be sent once more
    #[command(after_help = "\
Examples:
  semel calls redo 17 18 --because 'not in their console'
  semel calls redo --unknown --match 'POST api.example.com/**' --because 'asked'")]
    Redo(RedoCalls),
    /// Print the calls with their bodies, as lines of JSON
    #[command(after_help = "\
Example:
  semel calls export --match '* api.example.com' > calls.jsonl")]
    Export(ExportCalls),
}

/// Which calls are meant, of all that are kept.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CallsWhich {
    /// Those of this method and URL: `POST api.example.com/v1/*`
    #[arg(long = "match", value_name = "PATTERN", value_parser = pattern)]
    pub(crate) pattern: Option<Pattern>,
    /// Those of this step or task, or of this `semel proxy`
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ListCalls {
    #[command(flatten)]
    pub(crate) which: CallsWhich,
    /// Those of which nobody knows whether they happened
    #[arg(long, conflicts_with = "state")]
    pub(crate) unknown: bool,
    /// Those in this state
    #[arg(long, value_name = "STATE", value_enum)]
    pub(crate) state: Option<State>,
    /// How many, of the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) most: u32,
    /// Print a JSON object for each call
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ShowCall {
    /// The number of the call
    #[arg(value_name = "CALL")]
    pub(crate) id: i64,
    /// Print the answer's body, byte for byte, and nothing else
    #[arg(long)]
    pub(crate) body: bool,
    /// Print the request's body, byte for byte, and nothing else
    #[arg(long, conflicts_with = "body")]
    pub(crate) request_body: bool,
}

/// What both words of a human have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct SettleWhich {
    /// The numbers of the calls
    #[arg(value_name = "CALL", required_unless_present = "unknown", conflicts_with = "unknown")]
    pub(crate) ids: Vec<i64>,
    /// All of which nobody knows whether they happened
    #[arg(long)]
    pub(crate) unknown: bool,
    /// Of them, those of this method and URL: `POST api.example.com/v1/*`
    #[arg(long = "match", value_name = "PATTERN", value_parser = pattern,
          requires = "unknown", conflicts_with = "ids")]
    pub(crate) pattern: Option<Pattern>,
    /// Of them, those of this step or task, or of this `semel proxy`
    #[arg(long, value_name = "TASK", requires = "unknown", conflicts_with = "ids")]
    pub(crate) task: Option<String>,
    /// Why; it is kept
    #[arg(long, value_name = "TEXT")]
    pub(crate) because: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct SettleCalls {
    #[command(flatten)]
    pub(crate) which: SettleWhich,
    /// The status of the answer that who asks again gets
    #[arg(long, value_name = "N", default_value_t = 200,
          value_parser = clap::value_parser!(u16).range(200..=599))]
    pub(crate) status: u16,
    /// The file with its body; `-` is standard input [default: `{}`]
    #[arg(long, value_name = "FILE")]
    pub(crate) answer: Option<PathBuf>,
    /// What its body is
    #[arg(long, value_name = "TYPE", default_value = "application/json", value_parser = media_type)]
    pub(crate) content_type: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RedoCalls {
    #[command(flatten)]
    pub(crate) which: SettleWhich,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ExportCalls {
    #[command(flatten)]
    pub(crate) which: CallsWhich,
}

/// A state, as it can be typed without quotes.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum State {
    InFlight,
    Complete,
    Rejected,
    Unknown,
}

impl From<State> for CallState {
    fn from(state: State) -> Self {
        match state {
            State::InFlight => Self::InFlight,
            State::Complete => Self::Complete,
            State::Rejected => Self::Rejected,
            State::Unknown => Self::Unknown,
        }
    }
}

fn pattern(typed: &str) -> Result<Pattern, String> {
    Pattern::parse(typed).map_err(|error| error.to_string())
}

/// What may stand in a head.
fn media_type(typed: &str) -> Result<String, String> {
    match typed.contains('/') && typed.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Ok(typed.to_owned()),
        false => Err("wants a media type such as text/plain".to_owned()),
    }
}
