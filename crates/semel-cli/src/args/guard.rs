//! What is typed in scripts: the verbs that stand before a command, and the script's own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{duration, param};

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Step {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What tells this task from others of the step, in a loop; a file counts with its bytes
    #[arg(long, value_name = "ITEM")]
    pub(crate) item: Option<String>,
    /// A value that has receipts and a history of its own: a day, a release
    #[arg(long, value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) per: Vec<(String, String)>,
    /// A file or pattern that it reads: `{{ in }}`, or as KEY=PATH `{{ in.KEY }}`
    #[arg(long = "in", value_name = "GLOB")]
    pub(crate) inputs: Vec<String>,
    /// A file, or a folder/, that it writes: `{{ out }}`, or as KEY=PATH `{{ out.KEY }}`
    #[arg(long = "out", value_name = "PATH")]
    pub(crate) outs: Vec<String>,
    /// The file that gets what it prints, whole or not at all
    #[arg(long, value_name = "PATH")]
    pub(crate) stdout: Option<String>,
    /// Print what it printed, also when it is skipped
    #[arg(long)]
    pub(crate) replay: bool,
    /// A command that tells whether the effect is there: exit 0 yes, 1 no
    #[arg(long, value_name = "COMMAND")]
    pub(crate) check: Option<String>,
    /// What the check must print to hold
    #[arg(long, value_name = "TEXT")]
    pub(crate) equals: Option<String>,
    /// A query that tells it instead: its first row and column is there and true
    #[arg(long, value_name = "QUERY", requires = "db", conflicts_with = "check")]
    pub(crate) check_sql: Option<String>,
    /// The database that is asked: `sqlite:PATH`, `postgres://HOST/DATABASE`, `mysql:…`
    #[arg(long, value_name = "URL", requires = "check_sql")]
    pub(crate) db: Option<String>,
    /// Unsafe to repeat: never twice without a human's word
    #[arg(long)]
    pub(crate) once: bool,
    /// An exit status by which a `--once` command says that it did nothing
    #[arg(long, value_name = "STATUS")]
    pub(crate) safe_exit: Vec<i32>,
    /// A name that the step had before
    #[arg(long, value_name = "NAME")]
    pub(crate) was: Vec<String>,
    /// Do it again when it was done longer ago: `20h`
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub(crate) max_age: Option<Duration>,
    /// A variable of the environment that counts
    #[arg(long, value_name = "VARIABLE")]
    pub(crate) env: Vec<String>,
    /// How many further tries follow one that failed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retry: u32,
    /// How long a try may take: `10m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Its HTTP calls go through the call journal: none is paid for twice
    #[arg(long)]
    pub(crate) calls: bool,
    /// The command writes its outputs in their places; they are put back if it fails
    #[arg(long)]
    pub(crate) in_place: bool,
    /// Wait as long as this for whoever is at work on it: `30m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Say what was done, and why
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// What the shell's functions need; the shell gives it
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) state: Option<PathBuf>,
    /// The command
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Write {
    /// The file
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// The command
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Lock {
    /// The lock's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Wait as long as this for whoever holds it: `10m`; without a time, for ever
    #[arg(long, value_name = "TIME", value_parser = duration, num_args = 0..=1,
        require_equals = false, default_missing_value = "1000000d")]
    pub(crate) wait: Option<Duration>,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Proxy {
    /// Under which name its calls are kept; by default that of the program
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A value that has calls of its own: a day, a release
    #[arg(long, value_name = "NAME=VALUE", value_parser = param)]
    pub(crate) per: Vec<(String, String)>,
    /// Wait as long as this for whoever makes calls under the same name: `10m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Calls that look like paid ones are new
    #[arg(long)]
    pub(crate) new_calls: bool,
    /// Send no call that is not recorded
    #[arg(long, conflicts_with = "new_calls")]
    pub(crate) no_new_calls: bool,
    /// Let the command reach nothing but the proxy
    #[arg(long)]
    pub(crate) contained: bool,
    /// Listen here for clients that call a base URL
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// The server that they mean
    #[arg(long, value_name = "URL", requires = "listen")]
    pub(crate) to: Option<String>,
    /// Say nothing when all is well
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// The command
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Script {
    /// The script's name; receipts are kept by it
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What is run when the script ends without having reached its state
    #[arg(long, value_name = "COMMAND")]
    pub(crate) on_failure: Option<String>,
    /// Wait as long as this for whoever is at work: `30m`
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// Say nothing when all is well
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// What the printed code asks for
    #[arg(long = "do", hide = true, value_enum)]
    pub(crate) does: Option<ScriptDoes>,
    /// The process of the shell
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) shell: Option<u32>,
    /// The file of the script
    #[arg(long, hide = true, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// The exit status of the script
    #[arg(long, hide = true, value_name = "STATUS", allow_hyphen_values = true)]
    pub(crate) status: Option<i32>,
}

/// What the code of a script asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScriptDoes {
    /// Begin the run.
    Begin,
    /// Hold it; nobody but `begin` asks for that.
    Keep,
    /// The script is about to end.
    Ending,
    /// It ends.
    End,
}

fn age(typed: &str) -> Result<Duration, String> {
    if typed == "0" { Ok(Duration::ZERO) } else { duration(typed) }
}
