//! `semel calls list`: a line for each call, and what all of them cost.

use std::io::Write;

use jiff::Timestamp;
use semel::words::call::{CallRecord, CallState, Money};
use semel::words::thousands;

use super::{Folder, json, request, takes, whose};
use crate::args::ListCalls;
use crate::exit::Exit;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{count, fit, length, next, shorten, visible};

/// How wide requests and tasks are at most.
const REQUEST: usize = 40;
const TASK: usize = 20;

pub(super) fn list(folder: &Folder, options: &ListCalls) -> Result<Exit, Failed> {
    let store = folder.read()?;
    let mut calls = folder.calls(&store, &[])?;
    let state = match options.unknown {
        true => Some(CallState::Unknown),
        false => options.state.map(CallState::from),
    };
    calls.retain(|call| {
        takes(&options.which, call) && state.is_none_or(|state| call.state == state)
    });
    let shown = &calls[calls.len().saturating_sub(options.most as usize)..];
    let mut out = anstream::stdout().lock();
    if options.json {
        for call in shown {
            writeln!(out, "{}", json::of(call))?;
        }
        return Ok(Exit::DONE);
    }
    if calls.is_empty() {
        let is_whole =
            state.is_none() && options.which.pattern.is_none() && options.which.task.is_none();
        let what = if is_whole { "no calls are kept here" } else { "no such calls are kept here" };
        writeln!(anstream::stderr(), "{what}")?;
        return Ok(Exit::DONE);
    }
    write(&mut out, shown, Styles::for_stdout())?;
    write_summary(&mut out, &calls, shown.len())?;
    let has_unknown = calls.iter().any(|call| call.state == CallState::Unknown);
    if has_unknown {
        let show = format!("semel calls show CALL{}", folder.again);
        let done = format!("semel calls done CALL{} --because '...'", folder.again);
        let redo = format!("semel calls redo CALL{} --because '...'", folder.again);
        writeln!(out, "\n  next, where it is unknown")?;
        writeln!(out, "{}", next(&show, "all that is known of it"))?;
        writeln!(out, "{}", next(&done, "it happened"))?;
        writeln!(out, "{}", next(&redo, "it did not: it is sent once more"))?;
    }
    Ok(Exit::DONE)
}

fn write(out: &mut impl Write, calls: &[CallRecord], styles: Styles) -> std::io::Result<()> {
    let now = Timestamp::now();
    let widest = |text: &dyn Fn(&CallRecord) -> String, least: usize, most: usize| {
        calls.iter().map(|call| text(call).chars().count()).max().unwrap_or(0).clamp(least, most)
    };
    let price = |call: &CallRecord| call.price.as_ref().map(Money::to_string).unwrap_or_default();
    let requests = widest(&request, 7, REQUEST);
    let tasks = widest(&whose, 4, TASK);
    let has_prices = calls.iter().any(|call| call.price.is_some());
    let prices = widest(&price, 5, 24);
    let priced = |text: &str| match has_prices {
        true => format!("  {text:>prices$}"),
        false => String::new(),
    };
    let heading = format!(
        "{:>5}  {}  {}  {}  {:>6}  {:>5}{}  {}  reason",
        "call",
        fit("state", 9),
        fit("request", requests),
        fit("task", tasks),
        "status",
        "sends",
        priced("price"),
        fit("age", 10),
    );
    let has_reasons = calls.iter().any(|call| call.reason.is_some());
    let heading = if has_reasons { &*heading } else { heading.trim_end_matches("reason") };
    writeln!(out, "{}", heading.trim_end())?;
    for call in calls {
        let status = call.answered.as_ref().map(|answered| answered.status.to_string());
        let line = format!(
            "{:>5}  {}  {}  {}  {:>6}  {:>5}{}  {}  {}",
            call.id,
            styles.state(&fit(call.state.name(), 9)),
            fit(&request(call), requests),
            fit(&whose(call), tasks),
            status.unwrap_or_default(),
            call.sends,
            priced(&price(call)),
            fit(&length(call.sent, now), 10),
            visible(call.reason.as_deref().unwrap_or_default()),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// How many there are in each state, and what was spent: what is unknown may have been paid.
fn write_summary(out: &mut impl Write, calls: &[CallRecord], shown: usize) -> std::io::Result<()> {
    let in_states = CallState::ALL.iter().filter_map(|state| {
        let many = calls.iter().filter(|call| call.state == *state).count();
        (many > 0).then(|| format!("{} {}", thousands(many as u64), state.name()))
    });
    let in_states: Vec<_> = in_states.collect();
    let mut line = format!("{}: {}", count(calls.len() as u64, "call"), in_states.join(", "));
    let spent = spent(calls);
    if !spent.is_empty() {
        let spent: Vec<_> = spent.iter().map(Money::to_string).collect();
        line += &format!("; spent {}", shorten(&spent.join(", "), 60));
    }
    writeln!(out, "\n{line}")?;
    if shown < calls.len() {
        writeln!(out, "the last {} are shown; -n N shows more", thousands(shown as u64))?;
    }
    Ok(())
}

/// What was paid, or may have been, by unit.
fn spent(calls: &[CallRecord]) -> Vec<Money> {
    let mut all: Vec<Money> = Vec::new();
    let paid = calls
        .iter()
        .filter(|call| matches!(call.state, CallState::Complete | CallState::Unknown))
        .filter_map(|call| call.price.as_ref());
    for price in paid {
        match all.iter_mut().find(|sum| sum.unit == price.unit) {
            Some(sum) => sum.nanos = sum.nanos.saturating_add(price.nanos),
            None => all.push(price.clone()),
        }
    }
    all
}
