//! Probes: a command that knows what became of a call.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::ground::world::process::{End, Input, Order, Stop, Stream, Streams, start};
use crate::words::call::CallRecord;

/// How long a probe may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How much of what it says is read.
const SAID: usize = 1024;

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Happened,
    Absent,
    Unsure,
}

/// Asks a command. It finds the call in its environment, and the body of its request is on
/// its way: `semel calls show` has it.
pub(super) async fn ask(command: &str, call: &CallRecord, folder: &Path) -> Result<Said, String> {
    let words = ["bash", "-euo", "pipefail", "-c", command].map(OsString::from);
    let env = [
        ("SEMEL_CALL", call.id.to_string()),
        ("SEMEL_CALL_METHOD", call.asked.method.clone()),
        ("SEMEL_CALL_URL", call.asked.url.clone()),
        ("SEMEL_CALL_KEY", call.key.clone()),
    ]
    .map(|(name, value)| (name.into(), value.into()));
    let folder = folder.to_owned();
    let asked = tokio::task::spawn_blocking(move || run(&words, &env, &folder));
    let asked = asked.await.map_err(|error| error.to_string())?;
    let (end, said) = asked.map_err(|error| format!("it cannot be asked: {error}"))?;
    match end {
        End::Exited(0) => {}
        End::Exited(status) => return Err(format!("it failed: exit status {status}")),
        End::Signalled(signal) => return Err(format!("it was killed by signal {signal}")),
        End::TimedOut | End::Stopped => {
            return Err(format!("it took longer than {}", crate::words::clock(LIMIT)));
        }
    }
    match String::from_utf8_lossy(&said).trim() {
        "happened" => Ok(Said::Happened),
        "absent" => Ok(Said::Absent),
        "unsure" => Ok(Said::Unsure),
        other => Err(format!("it says `{other}`, and should say happened, absent or unsure")),
    }
}

/// Runs it to its end; what it writes to its standard error is for people.
fn run(
    words: &[OsString],
    env: &[(OsString, OsString)],
    folder: &Path,
) -> io::Result<(End, Vec<u8>)> {
    let order = Order {
        words,
        folder,
        env,
        streams: Streams::Apart,
        input: Input::Nothing,
        output: None,
        lock: None,
    };
    let mut said = Vec::new();
    let end = start(&order)?.wait(Some(LIMIT), &Stop::new()?, |stream, bytes| match stream {
        Stream::Output => said.extend(bytes.iter().take(SAID - said.len().min(SAID))),
        // Whoever does not listen any more is told by the exit status.
        Stream::Error => drop(io::stderr().lock().write_all(bytes)),
    })?;
    Ok((end, said))
}
