//! Folders before a command, the command, and how it must be in the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use semel_testkit::{Ran, Scratch};

/// What the cut of `examples/flights` gets on top: several outputs at once, one of
/// them a folder; a folder alone; a command that writes in place; a check; and what is
/// done in the end whatever happens.
const MORE: &str = r#"
[step.split]
each = { outputs-of = "clean" }
out  = { head = "split/{{ item.stem }}.head", parts = "split/{{ item.stem }}/", last = "split/{{ item.stem }}.last" }
run  = 'head -n 1 {{ item }} > {{ out.head }}; tail -n +2 {{ item }} | split -l 2 - {{ out.parts }}/; tail -n 1 {{ item }} > {{ out.last }}'

[step.by-day]
in  = { outputs-of = "summarise" }
out = "by-day/"
run = 'cp {{ in }} {{ out }}'

[step.tally]
in       = { outputs-of = "summarise" }
in-place = true
out      = "tally.txt"
cleanup  = 'rm -f tally.lock'
run      = 'touch tally.lock; cat {{ in }} | wc -l >> tally.txt; rm tally.lock'

[step.seen]
needs = ["report"]
out   = "seen.txt"
run   = 'wc -l < report.txt > {{ out }}'
check = { run = 'test -s seen.txt' }

[finally]
run = 'rm -f tally.lock'
"#;

/// One of each kind of publishing and nothing else, so that every point of it can be
/// tried always.
const SMALL: &str = r#"
name = "small"

[step.split]
in  = "raw/2013-01-01.csv"
out = { head = "head", parts = "parts/" }
run = 'head -n 1 {{ in }} > {{ out.head }}; split -l 4 {{ in }} {{ out.parts }}/'

[step.announce]
needs = ["split"]
once  = true
run   = 'cat head >> outbox.txt'
"#;

/// What somebody else put where a step writes.
const PRECIOUS: [(&str, &str); 2] = [("report.txt", "precious\n"), ("tally.txt", "0\n")];

/// Where a step writes in place: a reader may see half of it, by declaration.
const IN_PLACE: &str = "tally.txt";

/// What commands write to by themselves: the message that goes out, and a lock.
const OF_COMMANDS: [&str; 3] = [IN_PLACE, "outbox.txt", "tally.lock"];

/// A folder before a command, and how it is after it.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// The command.
    pub(crate) words: &'static str,
    prepared: Scratch,
    /// Bytes that semel did not make: they must be somewhere.
    precious: Vec<Vec<u8>>,
    before: BTreeMap<PathBuf, Vec<u8>>,
    reference: State,
}

/// How it is in the end.
#[derive(PartialEq, Eq)]
struct State {
    /// All files but semel's own.
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// What has a receipt, with the digests of its files.
    receipts: Vec<String>,
}

fn scratch() -> Scratch {
    Scratch::new(env!("CARGO_BIN_EXE_semel"))
}

/// Six rows of two days, the programs, and a pipeline file.
fn with_days(pipeline: &str) -> Scratch {
    let scratch = scratch();
    let flights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights");
    for name in ["clean.awk", "summarise.awk", "report.awk"] {
        scratch.file(name, std::fs::read(flights.join(name)).unwrap());
    }
    for name in ["raw/2013-01-01.csv", "raw/2013-01-02.csv"] {
        let text = std::fs::read_to_string(flights.join(name)).unwrap();
        scratch
            .file(name, text.lines().take(7).map(|line| format!("{line}\n")).collect::<String>());
    }
    scratch.file("semel.toml", pipeline);
    scratch
}

/// The cut of `examples/flights`, as it is before the first run.
fn flights() -> Scratch {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flights/semel.toml");
    let scratch = with_days(&(std::fs::read_to_string(file).unwrap() + MORE));
    for (path, text) in PRECIOUS {
        scratch.file(path, text);
    }
    scratch
}

impl Scene {
    /// The very first run: no `.semel/` is there.
    pub(crate) fn first() -> Self {
        Self::new("first run", "run -j 1", flights(), &PRECIOUS.map(|(_, text)| text))
    }

    /// The same with several tasks at a time.
    pub(crate) fn first_in_parallel() -> Self {
        Self::new("first run, 3 at a time", "run -j 3", flights(), &PRECIOUS.map(|(_, text)| text))
    }

    /// The very first run of a pipeline of two steps.
    pub(crate) fn small() -> Self {
        Self::new("small first run", "run -j 1", with_days(SMALL), &[])
    }

    /// Inputs changed, outputs were removed, one was mended by hand.
    pub(crate) fn repair() -> Self {
        let scratch = flights();
        scratch.semel("run").exits(0);
        scratch
            .sh("sed -i '2s/,2013,/,2014,/; 3d' raw/2013-01-01.csv")
            .file("summary/2013-01-02.csv", "mended by hand\n")
            .file("by-day/note", "put here by hand\n")
            .remove("split/2013-01-02")
            .remove("seen.txt");
        let precious = ["precious\n", "0\n", "mended by hand\n", "put here by hand\n"];
        Self::new("repair", "run -j 1", scratch, &precious)
    }

    /// All is done already.
    pub(crate) fn nothing() -> Self {
        let scratch = flights();
        scratch.semel("run").exits(0);
        Self::new("nothing to do", "run -j 1", scratch, &["precious\n", "0\n"])
    }

    /// A message went out, and its command failed; somebody looked.
    pub(crate) fn done() -> Self {
        let failing = SMALL.replace("outbox.txt'", "outbox.txt; exit 1'");
        let scratch = with_days(&failing);
        scratch.semel("run").exits(1);
        Self::new("semel done", "done announce --because seen", scratch, &[])
    }

    /// An item is gone, and what was made of it is moved aside.
    pub(crate) fn prune() -> Self {
        let scratch = flights();
        scratch.semel("run").exits(0);
        scratch.remove("raw/2013-01-02.csv").semel("run").exits(0);
        Self::new("prune", "prune --yes", scratch, &["precious\n", "0\n"])
    }

    /// All history is ended, and what was moved aside with it.
    pub(crate) fn gc() -> Self {
        let scratch = flights();
        scratch.semel("run").exits(0);
        scratch.file("summary/2013-01-02.csv", "mended by hand\n").semel("run").exits(0);
        Self::new("manifest gc", "manifest gc --keep 0d --yes", scratch, &[])
    }

    /// Half of the manifest is gone.
    pub(crate) fn rebuild() -> Self {
        let scratch = flights();
        scratch.semel("run").exits(0);
        scratch.sh("truncate -s 20000 .semel/manifest.db; rm -f .semel/manifest.backup.db");
        Self::new("manifest rebuild", "manifest rebuild", scratch, &["precious\n", "0\n"])
    }

    fn new(name: &'static str, words: &'static str, prepared: Scratch, precious: &[&str]) -> Self {
        let mut scene = Self {
            name,
            words,
            before: prepared.contents(),
            prepared,
            precious: precious.iter().map(|text| text.as_bytes().to_vec()).collect(),
            reference: State { files: BTreeMap::new(), receipts: Vec::new() },
        };
        let reference = scene.copy();
        reference.semel(words).exits(0);
        reference.semel("run").exits(0);
        scene.reference = State::of(&reference).unwrap();
        assert_eq!(reference.text("outbox.txt").lines().count(), 1);
        scene
    }

    /// A folder as it is before the command.
    pub(crate) fn copy(&self) -> Scratch {
        let scratch = scratch();
        let all = self.prepared.path().join(".");
        let copied =
            std::process::Command::new("cp").arg("-a").arg(all).arg(scratch.path()).status();
        assert!(copied.unwrap().success());
        scratch
    }

    /// Whatever happened: what was there before is there, and nothing is half there.
    pub(crate) fn is_intact(&self, scratch: &Scratch) -> Result<(), String> {
        let now = scratch.contents();
        for (path, bytes) in &now {
            let known = [self.before.get(path), self.reference.files.get(path)];
            let is_of_command = OF_COMMANDS.iter().any(|of| path == Path::new(of));
            if !is_of_command && !known.contains(&Some(bytes)) {
                return Err(format!("{} is half there: {:?}", path.display(), text(bytes)));
            }
        }
        for (path, bytes) in &self.before {
            let stays = self.reference.files.contains_key(path);
            if stays && !now.contains_key(path) && path != Path::new(IN_PLACE) {
                return Err(format!("{} is gone: {:?}", path.display(), text(bytes)));
            }
        }
        self.precious_is_there(scratch)
    }

    fn precious_is_there(&self, scratch: &Scratch) -> Result<(), String> {
        let mut lost = self.precious.clone();
        let mut open = vec![scratch.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.file_type().unwrap() {
                    kind if kind.is_dir() => open.push(entry.path()),
                    kind if kind.is_file() => {
                        let bytes = std::fs::read(entry.path()).unwrap();
                        lost.retain(|precious| *precious != bytes);
                    }
                    _ => {}
                }
            }
        }
        match lost.first() {
            None => Ok(()),
            Some(bytes) => Err(format!("what semel did not make is lost: {:?}", text(bytes))),
        }
    }

    /// Nothing is missing, as after a command that said so.
    pub(crate) fn keeps_its_word(&self, scratch: &Scratch) -> Result<(), String> {
        if !self.words.starts_with("run") {
            let ran = scratch.semel("run");
            if ran.status != 0 {
                return Err(format!("it said that it is settled: {ran:?}"));
            }
        }
        self.is_complete(scratch)
    }

    fn is_complete(&self, scratch: &Scratch) -> Result<(), String> {
        State::of(scratch)?.is(&self.reference)
    }

    /// Runs until all is done, settling what is refused as somebody who looks would.
    pub(crate) fn goes_on(&self, scratch: &Scratch) -> Result<(), String> {
        let mut said = Vec::new();
        if !self.words.starts_with("run") && !self.words.starts_with("done") {
            let again = scratch.semel(self.words);
            if again.status != 0 {
                return Err(format!("it cannot be typed again: {again:?}"));
            }
        }
        let mut status = -1;
        for _ in 0..3 {
            let ran = scratch.semel("run -j 2");
            status = ran.status;
            said.push(format!("{ran:?}"));
            match status {
                3 => {
                    let went_out = std::fs::read_to_string(scratch.path().join("outbox.txt"));
                    let went_out = went_out.is_ok_and(|text| text.ends_with('\n'));
                    let verb = if went_out { "done" } else { "redo" };
                    let words = [verb, "announce", "--because", "so the outbox says"];
                    let settled = scratch.semel_words(words);
                    if settled.status != 0 {
                        return Err(format!(
                            "it cannot be settled: {settled:?}\n{}",
                            said.join("\n")
                        ));
                    }
                }
                _ => break,
            }
        }
        if status != 0 {
            return Err(format!("it does not go on:\n{}", said.join("\n")));
        }
        let with_story = |error: String| format!("{error}\n{}", said.join("\n"));
        self.is_complete(scratch).map_err(with_story)?;
        self.precious_is_there(scratch).map_err(with_story)?;
        is_tidy(scratch).map_err(with_story)?;
        let noop = scratch.semel("run --expect-noop");
        if noop.status != 0 {
            return Err(with_story(format!("the next run is not boring: {noop:?}")));
        }
        Ok(())
    }
}

impl State {
    fn of(scratch: &Scratch) -> Result<Self, String> {
        let sql = "select step || ':' || item || ' ' || coalesce(role || ' ' || name || ' ' || path || ' ' || sha256, '') \
                   from receipt left join file on file.receipt = receipt.id order by 1";
        let asked = scratch.semel_words(["manifest", "query", sql]);
        if asked.status != 0 {
            return Err(format!("the receipts cannot be read: {asked:?}"));
        }
        let receipts = asked.stdout.lines().map(str::to_owned).collect();
        Ok(Self { files: scratch.contents(), receipts })
    }

    fn is(&self, other: &Self) -> Result<(), String> {
        for path in self.files.keys().chain(other.files.keys()) {
            let [here, there] = [&self.files, &other.files].map(|files| files.get(path));
            if here != there {
                let [here, there] = [here, there].map(|bytes| bytes.map(|bytes| text(bytes)));
                return Err(format!("{} is {here:?}, not {there:?}", path.display()));
            }
        }
        if self.receipts != other.receipts {
            return Err(format!("receipts: {:#?}, not {:#?}", self.receipts, other.receipts));
        }
        Ok(())
    }
}

/// Nothing is left of what runs need only while they live.
fn is_tidy(scratch: &Scratch) -> Result<(), String> {
    // What SQLite leaves beside a database whose last user died while closing it is the
    // next user's to remove.
    const STAYS: [&str; 14] = [
        ".gitignore",
        "digests.db",
        "digests.db-shm",
        "digests.db-wal",
        "displaced",
        "lock",
        "log",
        "manifest.backup.db",
        "manifest.db",
        "manifest.db-shm",
        "manifest.db-wal",
        "once.log",
        "owed",
        "staging",
    ];
    for name in scratch.list(".semel") {
        if !STAYS.contains(&&*name) && !name.starts_with("manifest.db.damaged-") {
            return Err(format!(".semel/{name} is left"));
        }
    }
    for folder in [".semel/staging", ".semel/owed"] {
        let left = if scratch.has(folder) { scratch.list(folder) } else { Vec::new() };
        if !left.is_empty() {
            return Err(format!("{folder} is not empty: {left:?}"));
        }
    }
    match scratch.semel_words(["manifest", "query", "select * from attempt where ending is null"]) {
        Ran { status: 0, stdout, .. } if stdout.lines().count() <= 1 => Ok(()),
        other => Err(format!("attempts that never ended: {other:?}")),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
