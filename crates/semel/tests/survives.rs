//! The manifest and what lies beside it, cut at every length and with bytes changed:
//! a run reads it rightly, or sets it aside and makes another. It never panics, never
//! leaves out what is not there, and never does twice what is done once.
//!
//! The cases are drawn from a seed that is printed where one fails; `SEMEL_SEED` draws
//! others, `SEMEL_CASES` more of them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use semel::deed::run::{CannotBegin, Options, Setting, run, signals};
use semel::ground::home::Home;
use semel::ground::manifest::Manifest as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::disk::{Disk, RealDisk};
use semel::words::event::{Event, Outcome};
use semel_testkit::library::with_setting;

/// What leaves outputs, what leaves nothing to look at, and what is done once.
const PIPELINE: &str = r#"
name = "survives"
[step.copy]
each = "in/*"
out  = "out/{{ item.name }}"
run  = 'cp {{ item }} {{ out }}'
[step.note]
each = { lines = "days" }
run  = 'echo {{ item }} >> notes'
[step.pay]
each = { lines = "orders" }
once = true
run  = 'echo {{ item }} >> ledger'
"#;

/// A folder that can be put back as it was.
struct Folder {
    disk: RealDisk,
    _folder: tempfile::TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
    mark: Option<Vec<u8>>,
}

impl Folder {
    /// One in which all was done, and more of it before the last run.
    fn done(leaves_log: bool) -> Self {
        // In memory, where there is such a folder: nothing here is about syncs.
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("semel-test-").tempdir_in(place).unwrap();
        let write =
            |path: &str, text: &str| std::fs::write(folder.path().join(path), text).unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        write("in/1", "first");
        write("days", "mon\ntue\n");
        write("orders", "anna\nbert\n");
        let disk = RealDisk::at(folder.path()).unwrap();
        assert_eq!(go(&disk), Ok(0));
        let home = Home::in_folder(folder.path());
        // While somebody reads, the log is not taken in.
        let reader = leaves_log.then(|| SqliteManifest::read(&home.manifest()).unwrap());
        let asked = reader.as_ref().map(|reader| reader.query("select * from run").unwrap());
        write("in/2", "second");
        write("days", "mon\ntue\nwed\n");
        write("orders", "anna\nbert\ncleo\n");
        assert_eq!(go(&disk), Ok(0));
        if asked.is_none() {
            let backup = SqliteManifest::read(&home.manifest()).unwrap();
            backup.copy_to(&home.backup()).unwrap();
        }
        let mut files = Vec::new();
        gather(folder.path(), &mut files);
        files.retain(|(path, _)| !path.ends_with("manifest.db-shm"));
        let mark = disk.mark(disk.root()).unwrap();
        drop(reader);
        Self { disk, _folder: folder, files, mark }
    }

    fn put_back(&self) {
        let mut now = Vec::new();
        gather(self.disk.root(), &mut now);
        for (path, bytes) in &now {
            match self.files.iter().find(|(known, _)| known == path) {
                None => std::fs::remove_file(path).unwrap(),
                Some((_, known)) if known != bytes => std::fs::write(path, known).unwrap(),
                Some(_) => {}
            }
        }
        for (path, bytes) in &self.files {
            if !path.exists() {
                std::fs::write(path, bytes).unwrap();
            }
        }
        if let Some(mark) = &self.mark {
            self.disk.put_mark(self.disk.root(), mark).unwrap();
        }
    }

    fn bytes(&self, name: &str) -> &[u8] {
        let path = self.disk.root().join(".semel").join(name);
        &self.files.iter().find(|(known, _)| *known == path).unwrap().1
    }

    fn spoil(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.disk.root().join(".semel").join(name), bytes).unwrap();
    }

    /// Runs, and runs again, as a user would; says what must not be, if it is.
    fn survive(&self, changes: bool) -> Result<&'static str, String> {
        let root = self.disk.root();
        if changes {
            std::fs::remove_file(root.join("out/1")).unwrap();
            std::fs::write(root.join("days"), "mon\ntue\nwed\nthu\n").unwrap();
            std::fs::write(root.join("orders"), "anna\nbert\ncleo\ndora\n").unwrap();
        }
        let mut first = None;
        for round in 1..=3 {
            let ran = catch_unwind(AssertUnwindSafe(|| go(&self.disk)));
            let Ok(ran) = ran else {
                return Err(format!("round {round} panicked"));
            };
            let status = ran.as_ref().map_or(5, |status| *status);
            first.get_or_insert(status);
            if ![0, 3, 5].contains(&status) {
                return Err(format!("round {round} ended with {status}"));
            }
            self.look(status)?;
            if round == 3 && status == 5 {
                return Err(format!("it is still broken: {ran:?}"));
            }
        }
        Ok(match first {
            Some(0) => "went on",
            Some(3) => "refused",
            _ => "broken at first",
        })
    }

    /// Whether nothing was repeated, and nothing left out by a run that says all is well.
    fn look(&self, status: i32) -> Result<(), String> {
        let words = |path: &str| -> Vec<String> {
            let text = std::fs::read_to_string(self.disk.root().join(path)).unwrap_or_default();
            text.split_whitespace().map(str::to_owned).collect()
        };
        let ledger = words("ledger");
        let orders = words("orders");
        for order in &orders {
            let paid = ledger.iter().filter(|paid| *paid == order).count();
            if paid > 1 || (status == 0 && paid != 1) {
                return Err(format!("{order} was paid {paid} times, exit {status}: {ledger:?}"));
            }
        }
        let notes = words("notes");
        for day in words("days") {
            if status == 0 && !notes.contains(&day) {
                return Err(format!("{day} was left out: {notes:?}"));
            }
        }
        for (path, text) in [("out/1", "first"), ("out/2", "second")] {
            if status == 0 && words(path) != [text] {
                return Err(format!("{path} is not there"));
            }
        }
        Ok(())
    }
}

fn gather(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            gather(&path, into);
        } else {
            into.push((path.clone(), std::fs::read(path).unwrap()));
        }
    }
}

/// A run; its exit status, or why it could not begin.
fn go(disk: &RealDisk) -> Result<i32, String> {
    let env = std::env::vars().map(|(name, value)| (name, value.into_bytes())).collect();
    with_setting(disk, PIPELINE, |setting| {
        let setting = Setting { env: &env, ..*setting };
        loop {
            let (_, signals) = signals();
            let mut wrong = Vec::new();
            let mut hear = |event: &Event<'_>| match event {
                Event::Warning { text } => wrong.push((*text).to_owned()),
                Event::Settled { task, outcome: Outcome::Failed(failure) } => {
                    wrong.push(format!("{task}: {failure}"));
                }
                _ => {}
            };
            match run(&setting, &Options::default(), &signals, &mut hear) {
                Ok(ended) if ended.report.status() == 5 => return Err(wrong.join("; ")),
                Ok(ended) => return Ok(ended.report.status()),
                Err(CannotBegin::Manifest { error, .. }) => return Err(error.to_string()),
                // A child of another test, which is about to become its command, has all
                // that this process has open.
                Err(CannotBegin::Busy(_)) => std::thread::yield_now(),
                Err(error) => panic!("it must be able to begin: {error:?}"),
            }
        }
    })
}

/// Numbers that look drawn.
struct Draw(u64);

impl Draw {
    fn seeded(salt: u64) -> (Self, u64) {
        let seed = std::env::var("SEMEL_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(20_130_217_u64);
        (Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt), seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % end
    }
}

fn cases(usual: usize) -> usize {
    std::env::var("SEMEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// Counts how cases ended.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn take(&mut self, case: &str, ended: Result<&'static str, String>) {
        match ended {
            Ok(how) => *self.0.entry(how).or_default() += 1,
            Err(what) => panic!("{case}: {what}"),
        }
    }
}

/// Lengths at which a file is cut: each near its ends and the borders of its pages, and
/// some between.
fn lengths(length: usize, page: usize, draw: &mut Draw, more: usize) -> Vec<usize> {
    let mut lengths: Vec<_> = (0..=length)
        .filter(|at| {
            let inside = at % page;
            *at < 4
                || *at + 3 > length
                || inside < 2
                || inside + 2 > page
                || (98..=101).contains(at)
        })
        .collect();
    lengths.extend((0..more).map(|_| draw.below(length)));
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

fn cut(name: &str, leaves_log: bool, page: usize, more: usize) {
    let folder = Folder::done(leaves_log);
    let whole = folder.bytes(name).to_vec();
    let (mut draw, seed) = Draw::seeded(1);
    let mut tally = Tally::default();
    for (at, length) in lengths(whole.len(), page, &mut draw, more).into_iter().enumerate() {
        folder.put_back();
        folder.spoil(name, &whole[..length]);
        let ended = folder.survive(at % 8 == 0);
        tally.take(&format!("{name} cut to {length} of {}, seed {seed}", whole.len()), ended);
    }
    println!("{name} cut: {:?}", tally.0);
}

fn change(names: &[&str], leaves_log: bool, usual: usize, salt: u64) {
    let folder = Folder::done(leaves_log);
    let (mut draw, seed) = Draw::seeded(salt);
    let mut tally = Tally::default();
    for case in 0..cases(usual) {
        folder.put_back();
        let mut what = String::new();
        for name in names {
            let mut bytes = folder.bytes(name).to_vec();
            for _ in 0..=draw.below(3) {
                let (at, by) = (draw.below(bytes.len()), 1 + draw.below(255));
                bytes[at] ^= u8::try_from(by).unwrap();
                what += &format!(" {name}[{at}]^{by:#04x}");
            }
            folder.spoil(name, &bytes);
        }
        let ended = folder.survive(case % 4 == 0);
        tally.take(&format!("case {case} of seed {seed}:{what}"), ended);
    }
    println!("{names:?} changed: {:?}", tally.0);
}

#[test]
fn the_manifest_is_cut_at_any_length() {
    cut("manifest.db", false, 4096, 16);
}

#[test]
fn the_write_ahead_log_of_the_dead_is_cut_at_any_length() {
    cut("manifest.db-wal", true, 4096 + 24, 16);
}

#[test]
fn the_once_log_is_cut_at_any_length() {
    cut("once.log", false, 997, 30);
}

#[test]
fn bytes_of_the_manifest_are_changed() {
    change(&["manifest.db"], false, 120, 2);
}

#[test]
fn bytes_of_the_write_ahead_log_of_the_dead_are_changed() {
    change(&["manifest.db-wal"], true, 40, 3);
}

#[test]
fn bytes_of_the_once_log_are_changed() {
    change(&["once.log"], false, 40, 4);
}

#[test]
fn bytes_of_manifest_once_log_and_backup_are_changed() {
    change(&["manifest.db", "manifest.backup.db", "once.log"], false, 60, 5);
}
