//! `semel calls done` and `semel calls redo`: what a human says of calls of which nobody
//! knows whether they happened.
//!
//! Invariant: all that are named are settled, or none is.

use std::io::{Read, Write};

use jiff::Timestamp;
use semel::deed::calls::dead_senders;
use semel::deed::lease::{Holder, LeaseError};
use semel::deed::memory::Access;
use semel::ground::manifest::ManifestError;
use semel::ground::manifest::calls::Calls as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::call::{Answered, BodyOf, CallRecord, CallResolution, CallState, DIED};
use semel::words::digest::Digest;
use semel::words::shell::quote_words;

use super::{Folder, proxy_of, takes};
use crate::args::{CallsWhich, SettleCalls, SettleWhich};
use crate::exit::Exit;
use crate::place::whoever_we_are;
use crate::scripts::to_run_again;
use crate::show::busy::{Busy, Kind};
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::count;

/// What the client gets where nothing else is said.
const NOTHING: &[u8] = b"{}";

pub(super) fn done(folder: &Folder, options: &SettleCalls) -> Result<Exit, Failed> {
    reason(&options.which)?;
    let body = match &options.answer {
        None => NOTHING.to_vec(),
        Some(named) => {
            let mut body = Vec::new();
            let read = match named.as_os_str() == "-" {
                true => std::io::stdin().lock().read_to_end(&mut body).map(drop),
                false => std::fs::read(named).map(|read| body = read),
            };
            read.map_err(|error| {
                Failed::Usage(format!("{} cannot be read: {error}", named.display()))
            })?;
            body
        }
    };
    let answered = Answered {
        status: options.status,
        head: vec![("content-type".to_owned(), options.content_type.clone().into_bytes())],
        body: BodyOf { digest: Digest::of(&body), bytes: body.len() as u64, is_kept: true },
        trailers: Vec::new(),
    };
    settle(folder, &options.which, Some(&(answered, body)))
}

pub(super) fn redo(folder: &Folder, which: &SettleWhich) -> Result<Exit, Failed> {
    reason(which)?;
    settle(folder, which, None)
}

fn reason(which: &SettleWhich) -> Result<(), Failed> {
    if which.because.trim().is_empty() {
        return Err(Failed::Usage("--because wants a reason; it is kept".to_owned()));
    }
    Ok(())
}

/// `answer`: what the client gets, if it happened.
fn settle(
    folder: &Folder,
    which: &SettleWhich,
    answer: Option<&(Answered, Vec<u8>)>,
) -> Result<Exit, Failed> {
    let path = folder.home.manifest();
    if !path.exists() {
        return Err(folder.broken(ManifestError::Absent));
    }
    let by = whoever_we_are();
    let holder = Holder {
        host: by.host.clone(),
        user: by.user.clone(),
        pid: by.pid,
        command: "semel calls".to_owned(),
        since: Timestamp::now(),
    };
    let access = Access::share(&folder.home, &holder).map_err(busy)?;
    let mut store = SqliteManifest::open(&path).map_err(|error| folder.broken(error))?;
    access.fence(&mut store).map_err(|error| folder.broken(error))?;
    let dead = dead_senders(&folder.home, &store).map_err(|error| folder.broken(error))?;
    for sender in dead {
        store.lose(&sender, DIED).map_err(|error| folder.broken(error))?;
    }
    let calls = named(folder, &store, which)?;
    if calls.is_empty() {
        let what = match which.pattern.is_some() || which.task.is_some() {
            true => "no such call is unknown",
            false => "no call is unknown",
        };
        let done = Styles::for_stderr().state("done");
        writeln!(anstream::stderr(), "{done}  {what}; nothing was settled")?;
        return Ok(Exit::DONE);
    }
    let at = Timestamp::now();
    let said: Vec<_> = calls
        .iter()
        .map(|call| CallResolution {
            id: call.id,
            is_done: answer.is_some(),
            answer: answer.cloned(),
            because: which.because.clone(),
            by: by.clone(),
            at,
        })
        .collect();
    store.settle_calls(&said).map_err(|error| match error {
        // Its answer came meanwhile.
        ManifestError::Query(why) => Failed::Usage(format!("{why} any more")),
        error => folder.broken(error),
    })?;
    tell(folder, &store, &calls, answer)?;
    Ok(Exit::DONE)
}

fn busy(error: LeaseError) -> Failed {
    match error {
        LeaseError::Busy(holder) => {
            let pipeline = "this folder".to_owned();
            Failed::Busy(Busy { pipeline, holder, doing: Vec::new(), kind: Kind::Lock })
        }
        error @ LeaseError::Io { .. } => Failed::Broken(error.to_string()),
    }
}

/// The calls that are meant, all of them unknown.
fn named(
    folder: &Folder,
    store: &SqliteManifest,
    which: &SettleWhich,
) -> Result<Vec<CallRecord>, Failed> {
    let mut calls = folder.calls(store, &which.ids)?;
    if which.unknown {
        let wanted = CallsWhich { pattern: which.pattern.clone(), task: which.task.clone() };
        calls.retain(|call| call.state == CallState::Unknown && takes(&wanted, call));
        return Ok(calls);
    }
    if let Some(id) = which.ids.iter().find(|id| !calls.iter().any(|call| call.id == **id)) {
        return Err(Failed::Usage(format!("there is no call {id}")));
    }
    match calls.iter().find(|call| call.state != CallState::Unknown) {
        None => Ok(calls),
        Some(CallRecord { id, state: CallState::InFlight, .. }) => Err(Failed::Usage(format!(
            "call {id} is in flight, and semel waits for its answer; only what is unknown can be settled"
        ))),
        Some(CallRecord { id, state, .. }) => Err(Failed::Usage(format!(
            "call {id} is {}; only what is unknown can be settled",
            state.name()
        ))),
    }
}

/// Says what was settled, and what to type next.
fn tell(
    folder: &Folder,
    store: &SqliteManifest,
    calls: &[CallRecord],
    answer: Option<&(Answered, Vec<u8>)>,
) -> Result<(), Failed> {
    let mut out = anstream::stderr().lock();
    let what = match calls {
        [only] => format!("call {}", only.id),
        all => count(all.len() as u64, "call"),
    };
    let then = match (answer, calls.len()) {
        (Some((answered, _)), 1) => {
            format!("it happened; who asks again gets {}", answered.status)
        }
        (Some((answered, _)), _) => {
            format!("they happened; who asks again gets {}", answered.status)
        }
        (None, 1) => "who asks again has it sent, once".to_owned(),
        (None, _) => "who asks again has each of them sent, once".to_owned(),
    };
    writeln!(out, "{}  {what}: {then}", Styles::for_stderr().state("done"))?;
    let mut runs: Vec<String> = Vec::new();
    for call in calls {
        let run = match proxy_of(call) {
            Some(name) => format!("semel proxy --name {} -- ...", quote_words([name])),
            None if !folder.again.is_empty() => format!("semel run{}", folder.again),
            None => to_run_again(store, folder.root(), &call.scope.pipeline),
        };
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    writeln!(out, "\n  next")?;
    for run in runs {
        writeln!(out, "    {run}")?;
    }
    Ok(())
}
