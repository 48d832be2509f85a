//! Probes: a command that knows what became of a call.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::words::call::CallRecord;

/// How long a probe may take.
const LIMIT: Duration = Duration::from_secs(60);

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
    let mut words = std::process::Command::new("bash");
    words
        .args(["-euo", "pipefail", "-c", command])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .env("SEMEL_CALL", call.id.to_string())
        .env("SEMEL_CALL_METHOD", &call.asked.method)
        .env("SEMEL_CALL_URL", &call.asked.url)
        .env("SEMEL_CALL_KEY", &call.key);
    let asked = tokio::task::spawn_blocking(move || words.output());
    let output = tokio::time::timeout(LIMIT, asked)
        .await
        .map_err(|_| "it takes too long".to_owned())?
        .map_err(|error| error.to_string())?
        .map_err(|error| format!("it cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("it failed: {}", output.status));
    }
    match String::from_utf8_lossy(&output.stdout).trim() {
        "happened" => Ok(Said::Happened),
        "absent" => Ok(Said::Absent),
        "unsure" => Ok(Said::Unsure),
        other => Err(format!("it says `{other}`, and should say happened, absent or unsure")),
    }
}
