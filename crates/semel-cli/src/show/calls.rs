//! What calls came to, for people.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;

use semel::deed::calls::Tally;
use semel::thought::call::drift::NearMiss;
use semel::words::call::Money;
use semel::words::thousands;

use crate::args;
use crate::exit::Exit;
use crate::show::text::{count as counted, next};

fn say(text: &str) {
    // Whoever does not listen any more is told by the exit status.
    let _ = write!(anstream::stderr(), "{text}");
}

/// Where clients find us.
pub(crate) fn listening(ip: IpAddr, port: u16, server: &str) {
    say(&format!("semel: http://{ip}:{port} stands for {server}\n"));
}

/// The command has ended, and calls have not.
pub(crate) fn waits(calls: usize) {
    let what = if calls == 1 { "call is" } else { "calls are" };
    say(&format!(
        "semel: {calls} {what} in flight: waiting for the answer; Ctrl-C twice gives up\n"
    ));
}

/// Sums of money: `18.52 USD`.
fn money(sums: &BTreeMap<String, i64>) -> String {
    let sums = sums.iter().filter(|(_, nanos)| **nanos > 0);
    let texts: Vec<_> =
        sums.map(|(unit, nanos)| Money { nanos: *nanos, unit: unit.clone() }.to_string()).collect();
    texts.join(", ")
}

/// A line on what was sent and replayed: `12,348 calls: 12,345 replayed (18.52 USD not paid
/// again), 3 sent`.
pub(crate) fn line(tally: &Tally) -> String {
    let total = tally.sent + tally.replayed;
    let mut parts = Vec::new();
    if tally.replayed > 0 {
        let saved = money(&tally.saved);
        let saved = if saved.is_empty() { saved } else { format!(" ({saved} not paid again)") };
        parts.push(format!("{} replayed{saved}", thousands(tally.replayed)));
    }
    if tally.sent > 0 {
        let spent = money(&tally.spent);
        let spent = if spent.is_empty() { spent } else { format!(" ({spent})") };
        parts.push(format!("{} sent{spent}", thousands(tally.sent)));
    }
    let calls = if total == 1 { "call" } else { "calls" };
    match parts.as_slice() {
        [] => format!("no {calls}"),
        parts => format!("{} {calls}: {}", thousands(total), parts.join(", ")),
    }
}

/// What went past the journal, and what semel could not see, a line each.
fn asides(tally: &Tally, idle: &[String]) -> String {
    let mut text = String::new();
    for (what, count) in &tally.passed {
        text += &format!("  passed   {what}: {} not guarded\n", thousands(*count));
    }
    for bypass in &tally.bypasses {
        text += &format!("  round    {bypass}: it did not go through semel\n");
    }
    for rule in idle {
        text += &format!("  warning  no call matches the rule `{rule}`\n");
    }
    for note in &tally.notes {
        text += &format!("  warning  {note}\n");
    }
    text
}

/// What the calls of a run came to.
pub(crate) fn of_run(out: &mut dyn std::io::Write, tally: &Tally) -> std::io::Result<()> {
    if tally.is_empty() && tally.passed.is_empty() {
        return Ok(());
    }
    if tally.sent + tally.replayed > 0 {
        writeln!(out, "  {}", line(tally))?;
    }
    write!(out, "{}", asides(tally, &[]))?;
    if tally.is_refused() {
        write!(out, "\n{}", refusal(tally))?;
    }
    Ok(())
}

/// What settles calls that are unknown; `again` names the pipeline file, where it must be.
pub(crate) fn ways_out(again: &str) -> String {
    let (done, redo) = ("semel calls done NUMBER", "semel calls redo --unknown");
    [
        next(&format!("semel calls list --unknown{again}"), "their numbers"),
        next(&format!("{done}{again} --because '...'"), "if it happened: no one sends it again"),
        next(&format!("{redo}{again} --because '...'"), "if they may be paid again"),
    ]
    .map(|line| line + "\n")
    .concat()
}

/// What is unknown or refused, in lines.
pub(crate) fn refusal(tally: &Tally) -> String {
    let mut text = String::new();
    let mut by_what: BTreeMap<(String, String), (u64, Option<Money>)> = BTreeMap::new();
    for unknown in tally.unknown.values() {
        let entry = by_what.entry((unknown.what.clone(), unknown.why.clone())).or_default();
        entry.0 += 1;
    }
    for ((what, why), (count, _)) in by_what.iter().take(5) {
        let times = if *count == 1 { String::new() } else { format!("{} of ", thousands(*count)) };
        text += &format!("  {times}{what}: {why}\n");
    }
    if by_what.len() > 5 {
        text += &format!("  and {} more\n", by_what.len() - 5);
    }
    for (why, count) in &tally.refused {
        text += &format!("  {} {why}; not sent\n", thousands(*count));
    }
    if tally.may_have_lost() {
        text += "  if they were never paid: --new-calls\n";
    }
    if let Some((place, miss)) = tally.near_misses.first() {
        text += &drift(place, miss);
    }
    text
}

fn drift(place: &str, miss: &NearMiss) -> String {
    let mut text = format!(
        "\n  The journal has answers of {place}. The new calls have the same\n  {} as recorded ones, and differ in\n",
        miss.same
    );
    for (pointer, old, new) in miss.differ.iter().take(5) {
        text += &format!("    {pointer:<24} {} -> {}\n", short(old), short(new));
    }
    let fields: Vec<_> = miss.differ.iter().map(|(pointer, ..)| format!("\"{pointer}\"")).collect();
    let pattern = place.replacen("https://", "", 1).replacen("http://", "", 1);
    text += &format!(
        "\n  if they are the same calls, in semel.toml:\n    [[call]]\n    match  = \"{pattern}\"\n    ignore = [{}]\n  if they are new: --new-calls\n",
        fields.join(", ")
    );
    text
}

fn short(value: &str) -> String {
    if value.is_empty() {
        return "nothing".to_owned();
    }
    match value.char_indices().nth(28) {
        Some((at, _)) => format!("{}...", &value[..at]),
        None => value.to_owned(),
    }
}

/// What may have been paid without an answer.
fn at_most(tally: &Tally) -> String {
    let mut sums = BTreeMap::new();
    for price in tally.unknown.values().filter_map(|unknown| unknown.price.as_ref()) {
        *sums.entry(price.unit.clone()).or_insert(0) += price.nanos;
    }
    let sum = money(&sums);
    if sum.is_empty() { sum } else { format!(", at most {sum}") }
}

/// What the calls of a command came to.
pub(crate) fn of_proxy(
    tally: &Tally,
    name: &str,
    idle: &[String],
    options: &args::Proxy,
    exit: Exit,
) {
    let aside = asides(tally, idle);
    if let Some(why) = &tally.broken {
        say(&format!(
            "\nbroken  {name}: {why}\n\n  nothing is sent whose answer could not be kept\n{aside}"
        ));
        return;
    }
    if tally.is_refused() {
        say(&refused(tally, name, &aside));
        return;
    }
    if options.quiet && exit == Exit::DONE {
        return;
    }
    if !tally.is_empty() || !aside.is_empty() {
        say(&format!("semel: {}\n{aside}", line(tally)));
    }
    if exit == Exit::DONE && tally.sent == 0 && tally.replayed_unsafe > 0 {
        let days =
            tally.oldest.map(|oldest| format!(", the oldest of {}", &oldest.to_string()[..10]));
        say(&format!(
            "semel: nothing was sent: all answers are recorded{}. For a call of its own each day:\n         semel proxy --per day=$(date +%F) -- ...\n",
            days.unwrap_or_default()
        ));
    }
}

fn refused(tally: &Tally, name: &str, aside: &str) -> String {
    let unknown = tally.unknown.len() as u64;
    let total = tally.sent + tally.replayed;
    let title = match unknown {
        0 => format!("calls of {name} were not sent"),
        count => format!(
            "{} of {} may have been paid without an answer",
            thousands(count),
            counted(total.max(count), "call")
        ),
    };
    let mut text = format!("\nrefused  {name}  {title}\n\n{}\n", refusal(tally));
    let kept = total.saturating_sub(unknown);
    text += &match kept {
        0 => "  safe     what is recorded is kept, and never paid again\n".to_owned(),
        1 => "  safe     1 answer is kept; it is never paid again\n".to_owned(),
        _ => {
            format!("  safe     {} answers are kept; they are never paid again\n", thousands(kept))
        }
    };
    if unknown > 0 {
        text += &format!(
            "  unknown  {} {}{}; not sent again\n",
            thousands(unknown),
            if unknown == 1 { "call" } else { "calls" },
            at_most(tally)
        );
    }
    text += aside;
    if unknown > 0 {
        text += &format!("\n  next\n{}    and the same command again\n", ways_out(""));
    }
    text
}
