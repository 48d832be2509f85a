//! Addresses are verified by an API that charges and does not answer: what a plain script
//! pays, and what it and a pipeline pay under semel, killed in the midst of it or not.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use semel_testkit::{Running, Scratch, eventually};
use serde_json::Value;

use crate::scratch;

/// How many rows the list has.
const ROWS: usize = 41;

/// How many addresses; two museums share one.
const ADDRESSES: usize = 40;

/// A copy of `examples/enrich`, with a memory, whose API answers. That ends when the folder
/// is gone.
fn enrich() -> Scratch {
    let enrich = scratch();
    enrich.copy_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/enrich"));
    enrich.sh("./world.sh up");
    enrich.semel("init --bare").exits(0);
    enrich
}

/// How often each address was charged.
fn charges(enrich: &Scratch) -> BTreeMap<String, usize> {
    let invoice = std::fs::read_to_string(enrich.path().join("invoice.tsv")).unwrap_or_default();
    let mut charges = BTreeMap::new();
    for line in invoice.lines() {
        let (_, address) = line.split_once('\t').unwrap();
        *charges.entry(address.to_owned()).or_default() += 1;
    }
    charges
}

/// The addresses that were charged more than once.
fn charged_twice(enrich: &Scratch) -> Vec<String> {
    charges(enrich)
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(address, _)| address)
        .collect()
}

/// All addresses are verified, and each was charged exactly once.
fn is_paid_once(enrich: &Scratch) {
    let charges = charges(enrich);
    assert!(charges.values().all(|times| *times == 1), "{charges:?}");
    assert_eq!(charges.len(), ADDRESSES);
    let verified = verified(enrich);
    assert_eq!(verified.len(), ROWS);
    for (name, answer) in verified {
        assert!(answer.contains("\"arrives\":"), "{name}: {answer}");
    }
}

/// What was answered, by file.
fn verified(enrich: &Scratch) -> BTreeMap<String, String> {
    let names = enrich.list("verified").into_iter();
    names.map(|name| (name.clone(), enrich.text(format!("verified/{name}")))).collect()
}

/// The plain script under semel.
fn guarded(enrich: &Scratch) -> Command {
    enrich.command(["proxy", "--", "./naive.sh"])
}

/// Kills it when so many addresses were charged, unless it was quicker.
fn kill_after(enrich: &Scratch, mut running: Running, least: usize) {
    eventually("so many are charged", || charges(enrich).len() >= least || running.has_ended());
    if !running.has_ended() {
        running.kill();
    }
}

#[test]
fn the_plain_script_pays_again_what_was_not_answered() {
    let enrich = enrich();
    enrich.sh("./naive.sh 2> said.txt");
    let (twice, all) = (charged_twice(&enrich), charges(&enrich).values().sum::<usize>());
    // On a machine that is busy others may have timed out, too.
    assert!(twice.len() >= 9, "{twice:?}");
    assert!(all >= ADDRESSES + 9, "{all}");
    assert!(twice.contains(&"Museumsplatz 1, 1070, Wien".to_owned()));
    assert!(twice.contains(&"Lendkai 1, 8020, Graz".to_owned()));
}

#[test]
fn the_plain_script_under_semel_pays_once() {
    let enrich = enrich();
    enrich.ran(guarded(&enrich)).exits(0);
    is_paid_once(&enrich);
    let first = verified(&enrich);
    enrich.remove("verified");
    // Its second run buys nothing, and gets the same bytes.
    enrich.ran(guarded(&enrich)).exits(0);
    is_paid_once(&enrich);
    assert_eq!(verified(&enrich), first);
}

#[test]
fn the_plain_script_under_semel_killed_again_and_again_pays_once() {
    let enrich = enrich();
    for least in [3, 17, 35] {
        let running = enrich.started(guarded(&enrich));
        kill_after(&enrich, running, least);
    }
    enrich.ran(guarded(&enrich)).exits(0);
    is_paid_once(&enrich);
}

#[test]
fn the_pipeline_pays_once_and_then_nothing() {
    let enrich = enrich();
    enrich.semel("run").exits(0);
    is_paid_once(&enrich);
    assert_eq!(enrich.text("questions.txt").lines().count(), 7);
    enrich.semel("run").exits(0).says("nothing to do; 43 of 43");
    enrich.semel("run --expect-noop").exits(0);
    // Without its receipts a task is done again, and what it asks is answered.
    enrich.remove("verified/m04.json");
    enrich.semel("run").exits(0);
    is_paid_once(&enrich);
}

#[test]
fn the_pipeline_killed_again_and_again_pays_once() {
    let enrich = enrich();
    for least in [2, 15, 33] {
        kill_after(&enrich, enrich.start("run"), least);
    }
    enrich.semel("run").exits(0);
    is_paid_once(&enrich);
    enrich.semel("run --expect-noop").exits(0);
}

/// Where nobody says that a key protects, what was not answered is not asked again: it is
/// charged once, and a human settles it.
#[test]
fn without_a_word_about_keys_what_was_not_answered_waits_for_a_human() {
    let enrich = enrich();
    enrich.sh("sed -i '/^unknown/d; /^key-window/d' semel.toml");
    enrich.semel("run").exits(3);
    let charges = charges(&enrich);
    assert!(charges.values().all(|times| *times == 1), "{charges:?}");
    assert_eq!(enrich.list("verified").len(), ROWS - 8);
    let came_to = "32 answered, 0.32 EUR; 8 unknown, at most 0.08 EUR";
    let status = enrich.semel("status").exits(3);
    status.says(came_to).says("semel calls list --unknown");
    let status: Value =
        serde_json::from_str(&enrich.semel("status --json").exits(3).stdout).unwrap();
    assert_eq!(status["calls"]["unknown"]["calls"], 8);
    assert_eq!(status["calls"]["complete"]["cost"][0], "0.32 EUR");
    enrich.semel("why verify:m20").exits(0).says("of all tasks together").says(came_to);
    // Asked once more, it says the same, and sends nothing.
    enrich.semel("run").exits(3);
    assert_eq!(charges, self::charges(&enrich));
    // It is sent with the key of the first time, which this API honours.
    enrich.semel_words(["calls", "redo", "--unknown", "--because", "they honour the key"]).exits(0);
    enrich.semel("run").exits(0);
    is_paid_once(&enrich);
}

/// What may not be spent is not sent.
#[test]
fn the_budget_holds() {
    let enrich = enrich();
    enrich.sh("sed -i 's/0.50 EUR/0.10 EUR/' semel.toml");
    enrich.semel("run").exits(3);
    assert_eq!(charges(&enrich).len(), 10);
    enrich.sh("sed -i 's/0.10 EUR/0.50 EUR/' semel.toml");
    enrich.semel("run").exits(0);
    is_paid_once(&enrich);
}

/// Semel stands in for the API: whoever has its address there needs no proxy.
#[test]
fn who_calls_a_base_url_pays_once_too() {
    let enrich = enrich();
    let port = enrich.text("run/port");
    let to = format!("http://127.0.0.1:{}", port.trim());
    let stand_in = format!("exec semel proxy --listen 127.0.0.1:0 --to {to} 2> said.txt\n");
    enrich.file("stand-in.sh", stand_in).file("said.txt", "");
    let proxy = enrich.started(enrich.script("bash", "stand-in.sh"));
    let at = || {
        let said = enrich.text("said.txt");
        let (_, rest) = said.split_once("semel: http://127.0.0.1:")?;
        Some(rest.split_once(' ')?.0.to_owned())
    };
    eventually("it listens", || at().is_some());
    enrich.file("run/port", at().unwrap() + "\n");
    // This one is charged and not answered; semel asks again, with its key.
    let verify = "./verify.sh m20 'Lendkai 1' 8020 Graz";
    enrich.sh(&format!("{verify} > one; {verify} > two; cmp one two"));
    enrich.file("run/port", port);
    assert_eq!(charges(&enrich), BTreeMap::from([("Lendkai 1, 8020, Graz".to_owned(), 1)]));
    proxy.signal(rustix::process::Signal::INT);
    let _ = proxy.end();
}
