//! Killing a process with all its descendants, as a power cut or an out-of-memory
//! killer that takes the whole group would.

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal, kill_process};

/// Sends SIGKILL to a process and all its descendants. They are stopped first,
/// from the top down, so that none can start another meanwhile.
pub fn kill_tree(pid: u32) {
    for pid in stop_tree(pid) {
        signal(pid, Signal::KILL);
    }
}

/// Stops a process and all its descendants, from the top down, and says which they
/// are.
#[must_use]
pub fn stop_tree(pid: u32) -> Vec<u32> {
    let mut tree = vec![pid];
    signal(pid, Signal::STOP);
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        at += 1;
        for (child, of) in parents() {
            if of == parent && !tree.contains(&child) {
                signal(child, Signal::STOP);
                tree.push(child);
            }
        }
    }
    tree
}

/// Sends SIGKILL to a semel and its keeper in one moment, and to nothing else: its
/// commands live on, and nobody is left who could end them.
pub fn kill_without_commands(pid: u32) {
    signal(pid, Signal::STOP);
    let keepers: Vec<_> = keepers_of(pid);
    keepers.iter().for_each(|keeper| signal(*keeper, Signal::STOP));
    signal(pid, Signal::KILL);
    keepers.iter().for_each(|keeper| signal(*keeper, Signal::KILL));
}

/// The keepers of a semel.
pub fn keepers_of(pid: u32) -> Vec<u32> {
    let is_keeper = |child: &u32| {
        let words = std::fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
        words.starts_with(b"semel\0keeper\0")
    };
    parents()
        .into_iter()
        .filter(|(_, of)| *of == pid)
        .map(|(child, _)| child)
        .filter(is_keeper)
        .collect()
}

/// What a semel has started, through its keepers.
pub fn commands_of(pid: u32) -> Vec<u32> {
    let keepers = keepers_of(pid);
    parents().into_iter().filter(|(_, of)| keepers.contains(of)).map(|(child, _)| child).collect()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already, which is as good.
        let _ = kill_process(pid, signal);
    }
}

/// The parent of every process.
fn parents() -> BTreeMap<u32, u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc can be listed");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name, in parentheses, may hold anything.
            let rest = stat.rsplit_once(')')?.1;
            Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}
