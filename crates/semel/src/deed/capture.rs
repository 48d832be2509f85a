//! Capturing: a small command is asked, and what it printed is the answer.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::ground::world::process::{End, Input, Order, Stop, Stream, Streams, start};
use crate::words::clock;

/// How much of what a command complains is looked at.
const MOST_COMPLAINT: usize = 1 << 16;

/// A command that answers a question.
pub(crate) struct Question<'a> {
    /// The program and its arguments.
    pub(crate) words: &'a [OsString],
    /// Where it runs.
    pub(crate) folder: &'a Path,
    /// Variables that are set on top of semel's own.
    pub(crate) env: &'a [(OsString, OsString)],
    /// What it finds on its standard input.
    pub(crate) input: Option<&'a [u8]>,
    /// How long it may take.
    pub(crate) limit: Duration,
    /// How much of what it prints is looked at.
    pub(crate) most: usize,
}

/// What a command answered.
pub(crate) struct Answer {
    /// Its exit status.
    pub(crate) status: i32,
    /// What it printed on standard output.
    pub(crate) said: Vec<u8>,
    /// Whether it printed more than is looked at.
    pub(crate) is_cut: bool,
    /// What it printed on standard error.
    complained: Vec<u8>,
}

impl Answer {
    /// What it printed, if it says that all is well.
    ///
    /// # Errors
    /// Why that is no answer, in words.
    pub(crate) fn when_well(self) -> Result<Vec<u8>, String> {
        match self {
            Self { status: 0, is_cut: false, said, .. } => Ok(said),
            Self { status: 0, said, .. } => {
                Err(format!("it printed more than {} bytes", said.len()))
            }
            bad => Err(bad.why_not()),
        }
    }

    /// The last line that it complained of, or else printed; empty if there is none.
    pub(crate) fn last_line(&self) -> String {
        [&self.complained, &self.said]
            .into_iter()
            .find_map(|said| last_line(said))
            .unwrap_or_default()
    }

    /// That its exit status is no answer, in words.
    pub(crate) fn why_not(&self) -> String {
        with_last_line(&format!("exit status {}", self.status), &self.complained)
    }
}

/// Asks.
///
/// # Errors
/// Why there is no answer, in words.
pub(crate) fn ask(question: &Question<'_>, stop: &Stop) -> Result<Answer, String> {
    let Question { words, folder, env, input, limit, most } = *question;
    let input = input.map_or(Input::Nothing, Input::Bytes);
    let streams = Streams::Apart;
    let order = Order { words, folder, env, streams, input, output: None, lock: None };
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let mut is_cut = false;
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let running =
        start(&order).map_err(|error| format!("`{program}` could not be started: {error}"))?;
    let end = running.wait(Some(limit), stop, |stream, bytes| {
        let (kept, most) = match stream {
            Stream::Output => (&mut said, most),
            Stream::Error => (&mut complained, MOST_COMPLAINT),
        };
        let room = most.saturating_sub(kept.len());
        is_cut |= stream == Stream::Output && bytes.len() > room;
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    });
    match end.map_err(|error| format!("it could not be waited for: {error}"))? {
        End::Exited(status) => Ok(Answer { status, said, is_cut, complained }),
        End::Signalled(signal) => {
            Err(with_last_line(&format!("ended by signal {signal}"), &complained))
        }
        End::TimedOut => Err(format!("no answer within {}", clock(limit))),
        End::Stopped => Err("it was stopped".to_owned()),
    }
}

fn with_last_line(what: &str, printed: &[u8]) -> String {
    match last_line(printed) {
        Some(line) => format!("{what}: {line}"),
        None => what.to_owned(),
    }
}

fn last_line(printed: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}
