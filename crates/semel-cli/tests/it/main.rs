//! What users see, from the outside: a folder, a pipeline, a command, and what is
//! on disk and in the manifest after.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests tell their story in their names, and end where it is another"
)]

mod bad_input;
mod boring;
mod calls;
mod content;
mod databases;
mod deploy;
mod docs;
mod draft;
mod effects;
mod engine;
mod enrich;
mod flights;
mod full_disks;
mod hints;
mod hostile;
mod journal;
mod keys;
mod killed;
mod leases;
mod lint;
mod manifest_verbs;
mod memory;
mod names;
mod network;
mod nightly_load;
mod once;
mod peers;
mod prune;
mod read_only;
mod review;
mod scripts;
mod survives;
mod table;
mod tasks;
mod together;
mod typing;
mod verbs;
mod verify;
mod voice;

use semel_testkit::Scratch;

/// Not a test of its own: the client that tests of calls start.
#[test]
fn plain_client() {
    semel_testkit::plain_client::become_client();
}

/// An empty scratch folder.
fn scratch() -> Scratch {
    Scratch::new(env!("CARGO_BIN_EXE_semel"))
}

/// A scratch folder with a pipeline that cleans files, sums each up, gathers a
/// report and tells of it once.
fn days() -> Scratch {
    let scratch = scratch();
    for day in 1..=5 {
        scratch.file(format!("raw/{day}.csv"), format!("day,flights\n{day},{}\n", day * 100));
    }
    scratch.pipeline(DAYS);
    scratch
}

const DAYS: &str = r#"
[step.clean]
each = "raw/*.csv"
out  = "clean/{{ item.stem }}.csv"
run  = 'tail -n +2 {{ item }} > {{ out }}; echo clean >> trace'

[step.sum]
each = { outputs-of = "clean" }
out  = "sum/{{ item.stem }}.txt"
run  = 'cut -d, -f2 {{ item }} > {{ out }}; echo sum >> trace'

[step.report]
in   = { outputs-of = "sum" }
out  = "report.txt"
run  = 'cat {{ in }} > {{ out }}; echo report >> trace'

[step.tell]
needs = ["report"]
once  = true
run   = 'echo told >> outbox; echo tell >> trace'
"#;

/// What was run since the trace was looked at last: how many of each step.
fn trace(scratch: &Scratch) -> Vec<(String, usize)> {
    let text = std::fs::read_to_string(scratch.path().join("trace")).unwrap_or_default();
    scratch.file("trace", "");
    let mut counts = std::collections::BTreeMap::new();
    for line in text.lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// A trace as it is written down in tests.
fn ran(steps: &[(&str, usize)]) -> Vec<(String, usize)> {
    steps.iter().map(|(step, times)| ((*step).to_owned(), *times)).collect()
}

/// Every file of tests is part of this one.
#[test]
fn no_test_file_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    let this = std::fs::read_to_string(format!("{folder}/main.rs")).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name == "snapshots" {
            continue;
        }
        let module = name.trim_end_matches(".rs");
        assert!(module == "main" || this.contains(&format!("mod {module};")), "{name} is not run");
    }
}
