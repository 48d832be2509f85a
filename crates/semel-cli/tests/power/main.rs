//! The power is cut while semel works, on real file systems: what had a receipt is
//! there, whole; nothing that was there before is lost; the next run goes on, and
//! nothing is told or paid twice.
//!
//! Each cycle runs the command in a folder of a file system of its own, cuts its
//! power in a certain moment, kills all that runs there, lets the file system replay
//! its journal, and runs the command again to the end. What is done once is counted
//! outside, where no power is cut.
//!
//! Without root, loop devices or the tools of a file system this is skipped, and says
//! so. `SEMEL_POWER=all` tries every moment with every file system and every cut.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests tell their story in their names, end where it is another, and say what is skipped"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use semel_testkit::power::{Cut, Kind, Medium};
use semel_testkit::{Gate, Scratch, eventually, stop_tree};

/// Ordinary tasks that share commits, several outputs, a folder, a file of somebody
/// else's in the way, a command that writes in place, and what is done once.
const PIPELINE: &str = r#"
jobs = 2
DURABILITY

[step.clean]
each = "raw/*"
out  = "clean/deep/{{ item.name }}"
run  = 'sort {{ item }} > {{ out }}'

[step.split]
each = { outputs-of = "clean" }
out  = { head = "split/{{ item.name }}.head", rest = "split/{{ item.name }}.rest/" }
run  = '''head -n 1 {{ item }} > {{ out.head }}
tail -n +2 {{ item }} > {{ out.rest }}/lines; GATE(split)'''

[step.site]
in  = { outputs-of = "clean" }
out = "site/"
run = 'mkdir {{ out }}/pages; cat {{ in }} > {{ out }}/pages/all; wc -l {{ in }} > {{ out }}/index'

[step.report]
in  = { outputs-of = "clean" }
out = "report"
run = 'cat {{ in }} > {{ out }}'
ADD
[step.pay]
each = "raw/*"
once = true
same = "name+content"
run  = '''GATE(before)
echo paid {{ item }} >> OUTBOX
GATE(after)'''

[step.tell]
needs = ["report", "site", "split"]
once  = true
out   = "told"
run   = 'echo told >> OUTBOX; echo told > {{ out }}'
"#;

/// A command that writes in place.
const ADD: &str = "
[step.add]
in       = \"entry\"
in-place = true
out      = \"ledger\"
run      = 'cat {{ in }} >> ledger; GATE(add)'
";

/// What somebody else made, and stands in the way.
const PRECIOUS: &str = "precious\n";

/// When the power is cut.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Something is there.
    There(&'static str),
    /// A file is not what it was in the beginning.
    Changed(&'static str),
    /// `once.log` has so many lines.
    Noted(usize),
    /// So many receipts are in the manifest.
    Receipts(usize),
    /// A command came to its gate.
    Gate(&'static str),
    /// The run ended well.
    End,
}

/// Those of a first run.
const FIRST: [Moment; 20] = [
    Moment::There(".semel"),
    Moment::There(".semel/staging"),
    Moment::There(".semel/manifest.db"),
    Moment::There("clean"),
    Moment::There("clean/deep/2"),
    Moment::Receipts(1),
    Moment::Noted(1),
    Moment::Noted(2),
    Moment::Noted(5),
    Moment::Gate("before"),
    Moment::Gate("after"),
    Moment::There("split/1.head"),
    Moment::There("split/3.rest"),
    Moment::Gate("split"),
    Moment::There("site"),
    Moment::Changed("report"),
    Moment::Gate("add"),
    Moment::Changed("ledger"),
    Moment::There("told"),
    Moment::End,
];

/// Those of a run that replaces what an earlier one made.
const LATER: [Moment; 9] = [
    Moment::Changed("clean/deep/1"),
    Moment::Receipts(12),
    Moment::Changed("clean/deep/2"),
    Moment::There("split/2.rest"),
    Moment::Changed("site/index"),
    Moment::Changed("report"),
    Moment::Gate("add"),
    Moment::Changed("ledger"),
    Moment::End,
];

/// A story whose power is cut.
#[derive(Clone, Copy)]
struct Story {
    /// What there is before the run in which it is cut.
    prepare: fn(&Scratch),
    /// Whether the pipeline asks for less than a power cut.
    is_loose: bool,
    /// Bytes that must be somewhere, whatever happens.
    precious: &'static [&'static str],
}

const FIRST_RUN: Story = Story { prepare: inputs, is_loose: false, precious: &[PRECIOUS] };

const LATER_RUN: Story =
    Story { prepare: changed, is_loose: false, precious: &[PRECIOUS, "mended\n"] };

const LOOSE_RUN: Story = Story { prepare: inputs, is_loose: true, precious: &[PRECIOUS] };

/// Before the first run.
fn inputs(scratch: &Scratch) {
    for (name, text) in [("1", "b\na\n"), ("2", "d\nc\n"), ("3", "f\ne\n")] {
        scratch.file(format!("raw/{name}"), text);
    }
    scratch.file("report", PRECIOUS).file("ledger", "first\n").file("entry", "entry\n");
}

/// After a good run, with inputs that changed since, an output that was mended by
/// hand, and one that is gone. What is done once knows only its old input.
fn changed(scratch: &Scratch) {
    inputs(scratch);
    scratch.semel("run").exits(0);
    scratch.sh("sed -i '/^\\[step.pay\\]/,$d' semel.toml");
    scratch.file("raw/1", "b\na\nz\n").file("clean/deep/2", "mended\n").file("entry", "more\n");
    scratch.remove("split/2.rest");
}

/// What surrounds a folder whose power is cut: the outbox, and the gates.
struct Outside {
    folder: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn outbox(&self) -> PathBuf {
        self.folder.path().join("outbox")
    }

    /// How often each thing was told or paid.
    fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.outbox()).unwrap_or_default();
        let mut told: Vec<_> = text.lines().map(str::to_owned).collect();
        told.sort();
        told
    }

    /// The pipeline, with its gates and its outbox.
    fn pipeline(&self, is_loose: bool) -> String {
        let mut text = PIPELINE
            .replace("DURABILITY", if is_loose { "durability = \"process\"" } else { "" })
            // What is written in place and not synced has nothing that could be kept.
            .replace("ADD", if is_loose { "" } else { ADD })
            .replace("OUTBOX", &self.outbox().to_string_lossy());
        for name in ["split", "add", "before", "after"] {
            let at = self.folder.path().join(name);
            let gate = format!(
                "[ ! -p {0}.arrived ] || {{ echo here > {0}.arrived; read -r go < {0}.passes; }}",
                at.display()
            );
            text = text.replace(&format!("GATE({name})"), &gate);
        }
        text
    }

    fn gate(&self, name: &str) -> Gate {
        Gate::new(self.folder.path(), name)
    }

    fn open_all_gates(&self) {
        for entry in std::fs::read_dir(self.folder.path()).unwrap().flatten() {
            if entry.file_name() != "outbox" {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

/// What a folder has but for semel's own, and what differs from cycle to cycle.
fn contents(scratch: &Scratch) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut contents = scratch.contents();
    contents.remove(Path::new("semel.toml"));
    contents
}

/// How a story begins, and how it ends where nobody cuts the power.
struct Reference {
    before: BTreeMap<PathBuf, Vec<u8>>,
    after: BTreeMap<PathBuf, Vec<u8>>,
    told: Vec<String>,
}

impl Reference {
    fn of(story: Story) -> Self {
        let outside = Outside::new();
        let scratch = Scratch::new(env!("CARGO_BIN_EXE_semel"));
        scratch.pipeline(&outside.pipeline(story.is_loose));
        (story.prepare)(&scratch);
        let before = contents(&scratch);
        scratch.semel("run").exits(0);
        Self { before, after: contents(&scratch), told: outside.told() }
    }
}

/// One cycle.
fn cycle(medium: &mut Medium, story: Story, reference: &Reference, moment: Moment, cut: Cut) {
    let outside = Outside::new();
    let scratch = Scratch::inside(medium.path(), env!("CARGO_BIN_EXE_semel"));
    scratch.pipeline(&outside.pipeline(story.is_loose));
    (story.prepare)(&scratch);
    medium.sync();
    let number = last_run(&scratch).map_or(0, |run| run.number) + 1;
    until(moment, &scratch, &outside, |pid| {
        // Nobody does anything between the cut and the end.
        let tree = pid.map(stop_tree).unwrap_or_default();
        medium.cut(cut);
        tree
    });
    medium.come_back();

    let run = last_run(&scratch).filter(|run| run.number == number);
    if !story.is_loose {
        // *I1* What has a receipt is there.
        for (path, sha256) in run.iter().flat_map(|run| &run.receipts) {
            let found = scratch.has(path).then(|| sha256_of(&scratch.path().join(path)));
            assert!(
                found.as_ref().is_some_and(|found| sha256.is_empty() || found == sha256),
                "I1: {path} has a receipt, but {found:?} is there"
            );
        }
        is_whole(&scratch, reference);
    }
    // *I8* What semel did not make is somewhere.
    for bytes in story.precious {
        assert!(is_somewhere(scratch.path(), bytes.as_bytes()), "I8: {bytes:?} is gone");
    }
    for (path, bytes) in &reference.before {
        if path.starts_with("raw") || path == Path::new("entry") {
            assert_eq!(std::fs::read(scratch.path().join(path)).ok().as_ref(), Some(bytes));
        }
    }

    // *I3, I6* What is done once is not done twice.
    outside.open_all_gates();
    let mut wanted = reference.after.clone();
    let ran = scratch.semel("run");
    if ran.status == 3 {
        if settle(&scratch, &outside) {
            wanted.remove(Path::new("told"));
        }
        scratch.semel("run").exits(0);
    } else {
        let _ = ran.exits(0);
    }
    assert_eq!(outside.told(), reference.told, "told, and told again");
    assert_eq!(contents(&scratch), wanted, "the end is another");
    for bytes in story.precious {
        assert!(is_somewhere(scratch.path(), bytes.as_bytes()), "I8: {bytes:?} is gone at last");
    }
    scratch.semel("run --expect-noop").exits(0);
    scratch.semel("verify").exits(0);
    // What was kept for a human goes with the first run after it is settled.
    scratch.semel("run").exits(0);
    assert_eq!(scratch.list(".semel/staging"), [""; 0], "something is left in staging");
}

/// Starts a run, waits for a moment, and acts in it.
fn until(
    moment: Moment,
    scratch: &Scratch,
    outside: &Outside,
    act: impl FnOnce(Option<u32>) -> Vec<u32>,
) {
    let gate = match moment {
        Moment::Gate(name) => Some(outside.gate(name)),
        _ => None,
    };
    let text = |path: &str| std::fs::read(scratch.path().join(path)).unwrap_or_default();
    let before = match moment {
        Moment::Changed(path) => text(path),
        _ => Vec::new(),
    };
    let mut running = scratch.start("run");
    let pid = running.pid();
    match moment {
        Moment::Gate(_) => gate.unwrap().until_arrived(),
        Moment::End => {
            running.end().exits(0);
            let _ = act(None);
            return;
        }
        _ => eventually(&format!("{moment:?}"), || match moment {
            Moment::There(path) => scratch.has(path) || running.has_ended(),
            Moment::Changed(path) => text(path) != before || running.has_ended(),
            Moment::Noted(lines) => {
                let log = text(".semel/once.log");
                log.iter().filter(|byte| **byte == b'\n').count() >= lines || running.has_ended()
            }
            Moment::Receipts(count) => {
                last_run(scratch).is_some_and(|run| run.count >= count) || running.has_ended()
            }
            Moment::Gate(_) | Moment::End => true,
        }),
    }
    for pid in act(Some(pid)) {
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).unwrap();
        // It may be gone already, which is as good.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let _ = running.end();
}

/// What the manifest says of its last run.
struct Run {
    number: i64,
    /// Outputs and their digests; of a folder, an empty one.
    receipts: Vec<(String, String)>,
    /// How many receipts it wrote.
    count: usize,
}

/// Asks a copy of the manifest: that it is looked at must change nothing.
fn last_run(scratch: &Scratch) -> Option<Run> {
    let copy = tempfile::tempdir().unwrap();
    for name in ["manifest.db", "manifest.db-wal"] {
        // A part of the last commit does not count.
        let _ = std::fs::copy(scratch.path().join(".semel").join(name), copy.path().join(name));
    }
    if !copy.path().join("manifest.db").exists() {
        return None;
    }
    let db = rusqlite::Connection::open(copy.path().join("manifest.db")).unwrap();
    let sql = "select max(number), (select count(*) from receipt
        where run = (select max(number) from run)) from run";
    let (number, count): (i64, i64) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let sql = "select path, sha256 from file join receipt on receipt.id = file.receipt
        where role = 'out' and run = (select max(number) from run)";
    let mut statement = db.prepare(sql).ok()?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    let receipts = rows.map(|row: rusqlite::Result<(String, String)>| {
        let (path, sha256) = row.unwrap();
        // The digest of a folder is not that of a file; that it is whole is seen else.
        let is_folder = scratch.path().join(&path).is_dir();
        (path, if is_folder { String::new() } else { sha256 })
    });
    Some(Run { number, receipts: receipts.collect(), count: usize::try_from(count).unwrap() })
}

fn sha256_of(path: &Path) -> String {
    if path.is_dir() {
        return String::new();
    }
    let file = std::fs::File::open(path).unwrap();
    let output = std::process::Command::new("sha256sum").stdin(file).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// *I7* Each output is as it was, or as it will be; but for what a command writes in
/// place.
fn is_whole(scratch: &Scratch, reference: &Reference) {
    let found = contents(scratch);
    let outputs: BTreeSet<_> = found.keys().filter(|path| *path != Path::new("ledger")).collect();
    for path in outputs {
        let allowed = [reference.before.get(path), reference.after.get(path)];
        assert!(
            allowed.contains(&Some(&found[path])),
            "I7: {} is neither the old one nor the new one: {:?}",
            path.display(),
            String::from_utf8_lossy(&found[path])
        );
    }
    // A folder is all of the old one or all of the new one.
    let folders = ["site", "split/1.rest", "split/2.rest", "split/3.rest"];
    for folder in folders {
        let inside = |all: &BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
            all.iter()
                .filter(|(path, _)| path.starts_with(folder))
                .map(|(path, bytes)| (path.clone(), bytes.clone()))
                .collect()
        };
        let found = inside(&found);
        let is_one = found == inside(&reference.before) || found == inside(&reference.after);
        assert!(is_one, "I7: {folder} is half one and half the other: {found:?}");
    }
}

/// Whether these bytes are in a file somewhere, semel's own folder included.
fn is_somewhere(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        let is_there = || std::fs::read(&path).is_ok_and(|found| found == bytes);
        if path.is_dir() { is_somewhere(&path, bytes) } else { is_there() }
    })
}

/// A human looks at the outbox, and says of each refused task what it says. Gives
/// whether an output of what was told went with the power.
fn settle(scratch: &Scratch, outside: &Outside) -> bool {
    let mut has_lost = false;
    let told = outside.told();
    let refused = scratch.query("select step, item from attempt where once = 1 and open = 1");
    assert!(!refused.is_empty(), "it refuses, but began nothing");
    for task in refused {
        let (step, item) = task.split_once(' ').unwrap_or((&task, ""));
        let (task, line) = match item {
            "" => (step.to_owned(), "told".to_owned()),
            item => (format!("{step}:{item}"), format!("paid {item}")),
        };
        // What it left may be gone with the power.
        let mut words = vec!["done", &task, "--because", "so the outbox says"];
        if !told.contains(&line) {
            words[0] = "redo";
        } else if step == "tell" && !kept_is_whole(scratch) {
            // What it had not made durable went with the power.
            words.push("--without-outputs");
            has_lost = true;
        }
        scratch.semel_words(words).exits(0);
    }
    has_lost
}

/// Whether what an attempt to tell left is all there, in its place or in staging.
fn kept_is_whole(scratch: &Scratch) -> bool {
    let staging = scratch.path().join(".semel/staging");
    let mut places = vec![scratch.path().join("told")];
    for run in std::fs::read_dir(staging).unwrap().flatten() {
        for attempt in std::fs::read_dir(run.path()).unwrap().flatten() {
            places.push(attempt.path().join("told"));
        }
    }
    places.iter().any(|place| std::fs::read(place).is_ok_and(|bytes| bytes == b"told\n"))
}

/// Tries moments of a story, each on a file system that is made for all of them.
fn explore(name: &str, story: Story, moments: &[Moment]) {
    let all = std::env::var("SEMEL_POWER").is_ok_and(|which| which == "all");
    let reference = Reference::of(story);
    std::thread::scope(|scope| {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            let reference = &reference;
            scope.spawn(move || {
                let mut medium = match Medium::new(kind) {
                    Ok(medium) => medium,
                    Err(why) => {
                        eprintln!("skipped: {name} on {kind}: {why}");
                        return;
                    }
                };
                let mut cycles = 0;
                for (at, moment) in moments.iter().enumerate() {
                    for (which, cut) in Cut::ALL.into_iter().enumerate() {
                        // Each moment on one of the three, with one cut.
                        if !all && ((at + place) % 3 != 0 || (at + place) % 2 != which) {
                            continue;
                        }
                        eprintln!("{name} on {kind}: {cut:?} at {moment:?}");
                        cycle(&mut medium, story, reference, *moment, cut);
                        cycles += 1;
                    }
                }
                eprintln!("{name} on {kind}: {cycles} power cuts, 0 violations");
            });
        }
    });
}

#[test]
fn i1_i3_i7_i8_i9_or_skipped_the_power_is_cut_in_a_first_run() {
    explore("a first run", FIRST_RUN, &FIRST);
}

#[test]
fn i1_i7_i8_i9_or_skipped_the_power_is_cut_in_a_later_run() {
    explore("a later run", LATER_RUN, &LATER);
}

#[test]
fn i3_i6_or_skipped_less_durability_is_never_less_for_what_is_done_once() {
    let moments: Vec<_> = FIRST
        .into_iter()
        .filter(|moment| !matches!(moment, Moment::Gate("add") | Moment::Changed("ledger")))
        .collect();
    explore("less durability", LOOSE_RUN, &moments);
}
