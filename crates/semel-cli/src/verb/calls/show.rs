//! `semel calls show`: all that is known of a call.

use std::io::Write;

use semel::ground::manifest::calls::Calls as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::call::{BodyOf, CallRecord, CallSend, CallState, Head};

use super::{Folder, proxy_of, whose};
use crate::args::ShowCall;
use crate::exit::Exit;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{bytes, next, visible, when_here};

/// How much of a body is shown.
const MOST: usize = 4 * 1024;

pub(super) fn show(folder: &Folder, options: &ShowCall) -> Result<Exit, Failed> {
    let store = folder.read()?;
    let Some(call) = folder.calls(&store, &[options.id])?.pop() else {
        return Err(Failed::Usage(format!("there is no call {}", options.id)));
    };
    if options.request_body {
        return raw(folder, &store, &call.asked.body, "request");
    }
    if options.body {
        let Some(answered) = &call.answered else {
            let state = call.state.name();
            return Err(Failed::Usage(format!("call {} is {state}: it has no answer", call.id)));
        };
        return raw(folder, &store, &answered.body, "answer");
    }
    let mut out = anstream::stdout().lock();
    let styles = Styles::for_stdout();
    write_call(&mut out, &call, styles)?;
    let sends = store.sends(call.id).map_err(|error| folder.broken(error))?;
    writeln!(out, "\n  {}", styles.bold("sent"))?;
    for send in &sends {
        write_send(&mut out, send)?;
    }
    let said = store.said(call.id).map_err(|error| folder.broken(error))?;
    if !said.is_empty() {
        writeln!(out, "\n  {}", styles.bold("said"))?;
    }
    for said in said {
        let verb = if said.is_done { "done" } else { "redo" };
        let (by, at) = (said.by, when_here(said.at));
        writeln!(out, "    {verb}  {at}  by {}@{}", visible(&by.user), visible(&by.host))?;
        writeln!(out, "          {}", visible(&said.because))?;
    }
    writeln!(out, "\n  {}", styles.bold("request"))?;
    write_head(&mut out, &call.asked.head)?;
    write_body(&mut out, folder, &store, &call.asked.body)?;
    if let Some(answered) = &call.answered {
        writeln!(out, "\n  {}  {}", styles.bold("answer"), answered.status)?;
        write_head(&mut out, &answered.head)?;
        write_body(&mut out, folder, &store, &answered.body)?;
        if !answered.trailers.is_empty() {
            writeln!(out)?;
            write_head(&mut out, &answered.trailers)?;
        }
    }
    if call.state == CallState::Unknown {
        let (id, again) = (call.id, &folder.again);
        let done = format!("semel calls done {id}{again} --because '...'");
        let redo = format!("semel calls redo {id}{again} --because '...'");
        writeln!(out, "\n  next")?;
        writeln!(out, "{}", next(&done, "it happened"))?;
        writeln!(out, "{}", next(&redo, "it did not: it is sent once more"))?;
    }
    Ok(Exit::DONE)
}

/// A body, and nothing else.
fn raw(folder: &Folder, store: &SqliteManifest, body: &BodyOf, of: &str) -> Result<Exit, Failed> {
    let Some(content) = folder.body(store, body)? else {
        let size = bytes(body.bytes);
        return Err(Failed::Usage(format!("the body of the {of}, {size}, is not kept")));
    };
    let mut out = std::io::stdout().lock();
    out.write_all(&content)?;
    out.flush()?;
    Ok(Exit::DONE)
}

fn write_call(out: &mut impl Write, call: &CallRecord, styles: Styles) -> std::io::Result<()> {
    let state = styles.state(call.state.name());
    writeln!(out, "call {}  {state}\n", call.id)?;
    let mut row = |what: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {what:<8} {}", visible(text)),
    };
    row("asked", &format!("{} {}", call.asked.method, call.asked.url))?;
    match proxy_of(call) {
        Some(_) => row("of", &format!("{}, semel proxy", whose(call)))?,
        None => row("of", &format!("{}, {}", whose(call), call.scope.pipeline))?,
    }
    row("params", &call.scope.params)?;
    if call.n > 1 {
        row("equal", &format!("number {} of the calls that are equal", call.n))?;
    }
    row("account", &call.asked.account)?;
    let until = call.key_until.map(|until| format!(", honoured until {}", when_here(until)));
    let key = Some(&call.key).filter(|key| !key.is_empty());
    row("key", &key.map(|key| key.clone() + &until.unwrap_or_default()).unwrap_or_default())?;
    let price = call.price.as_ref().map(ToString::to_string).unwrap_or_default();
    row("price", &price)?;
    row("reason", call.reason.as_deref().unwrap_or_default())?;
    if call.allowed > 0 {
        row("allowed", "it may be sent once more")?;
    }
    if call.is_retired {
        row("read", "its task has completed since: it is asked anew")?;
    }
    Ok(())
}

fn write_send(out: &mut impl Write, send: &CallSend) -> std::io::Result<()> {
    let began = when_here(send.began);
    let end = send.state.as_deref().unwrap_or("no end is known");
    let took = send
        .ended
        .and_then(|ended| std::time::Duration::try_from(ended.duration_since(send.began)).ok())
        .map(|took| format!(" after {}", semel::words::clock(took)))
        .unwrap_or_default();
    let reason = send.reason.as_ref().map(|why| format!(": {}", visible(why)));
    writeln!(
        out,
        "    {}  {began}  {}{took}{}",
        send.number,
        visible(end),
        reason.unwrap_or_default()
    )
}

fn write_head(out: &mut impl Write, head: &Head) -> std::io::Result<()> {
    for (name, value) in head {
        writeln!(out, "    {}: {}", visible(name), visible(&String::from_utf8_lossy(value)))?;
    }
    Ok(())
}

/// A body as far as it is text and not long.
fn write_body(
    out: &mut impl Write,
    folder: &Folder,
    store: &SqliteManifest,
    body: &BodyOf,
) -> Result<(), Failed> {
    if body.bytes == 0 {
        return Ok(());
    }
    let size = bytes(body.bytes);
    let Some(content) = folder.body(store, body)? else {
        writeln!(out, "\n    {size}, not kept; sha256 {}", body.digest)?;
        return Ok(());
    };
    let Ok(text) = std::str::from_utf8(&content) else {
        writeln!(out, "\n    {size} that are no text; sha256 {}", body.digest)?;
        return Ok(());
    };
    let end = (0..=MOST.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    let shown = &text[..end.unwrap_or(0)];
    writeln!(out)?;
    for line in shown.lines() {
        // A tab is no harm, and there are many in bodies.
        writeln!(out, "    {}", visible(&line.replace('\t', "  ")))?;
    }
    if shown.len() < text.len() {
        let shown = bytes(shown.len() as u64);
        writeln!(out, "    .. {shown} of {size}; --body or --request-body prints all")?;
    }
    Ok(())
}
