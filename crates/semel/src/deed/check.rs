//! State checks: a probe of the real world is asked.
//!
//! Invariant: *cannot tell* is never *missing*. A check that errors, is killed,
//! or takes too long gives no answer.

use std::ffi::OsString;
use std::time::Duration;

use crate::deed::Site;
use crate::deed::command;
use crate::ground::world::process::{End, Order, Stop, Stream, Streams, start};
use crate::thought::bind::Bindings;
use crate::words::clock;
use crate::words::pipeline::Check;

/// How long a check may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How much of what a check prints is looked at.
const MOST: usize = 1 << 20;

/// Asks a check whether it holds.
///
/// # Errors
/// Why it cannot tell, in words.
pub fn ask(
    site: &Site<'_>,
    check: &Check,
    bindings: &Bindings<'_>,
    env: &[(OsString, OsString)],
    stop: &Stop,
) -> Result<bool, String> {
    let words = command::words(&check.command, bindings);
    let order = Order { words: &words, folder: site.disk.root(), env, streams: Streams::Apart };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let running = start(&order).map_err(|error| format!("it could not be started: {error}"))?;
    let end = running.wait(Some(LIMIT), stop, |stream, bytes| {
        let kept = match stream {
            Stream::Output => &mut said,
            Stream::Error => &mut complained,
        };
        kept.extend_from_slice(&bytes[..bytes.len().min(MOST.saturating_sub(kept.len()))]);
    });
    let end = end.map_err(|error| format!("it could not be waited for: {error}"))?;
    let equals = check.equals.as_ref().map(|text| text.render(bindings));
    match (end, equals) {
        (End::Exited(0), None) => Ok(true),
        (End::Exited(1), None) => Ok(false),
        (End::Exited(0), Some(wanted)) => Ok(said.trim_ascii_end() == wanted.trim_ascii_end()),
        (End::Exited(status), _) => {
            Err(with_last_line(&format!("exit status {status}"), &complained))
        }
        (End::Signalled(signal), _) => {
            Err(with_last_line(&format!("ended by signal {signal}"), &complained))
        }
        (End::TimedOut, _) => Err(format!("no answer within {}", clock(LIMIT))),
        (End::Stopped, _) => Err("it was stopped".to_owned()),
    }
}

fn with_last_line(what: &str, printed: &[u8]) -> String {
    let text = String::from_utf8_lossy(printed);
    match text.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{what}: {}", line.trim()),
        None => what.to_owned(),
    }
}
