//! A medium that is as bad as it may be: a run is recorded, and after each of its changes
//! everything that was not synced is lost, kept, or torn, in thousands of combinations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use semel_testkit::aftermath::{Aftermath, Fate};
use semel_testkit::library::is_somewhere;
use semel_testkit::recorded::{Moment, Recording, Tree};

use crate::stories::Story;
use crate::world::{World, run_on};

/// Where a violation comes again.
struct Case<'a> {
    story: Story,
    recording: &'a Recording,
    moment: &'a Moment,
    fate: Fate,
    /// What the run had made in the end.
    end: &'a Tree,
}

impl Case<'_> {
    fn state(&self) -> Aftermath {
        if self.story.is_durable {
            self.recording.after_cut(self.moment, self.fate)
        } else {
            self.recording.after_loose_cut(self.moment, self.fate)
        }
    }

    /// Where a violation is to be found again.
    fn place(&self) -> String {
        let (at, log) = (self.moment.at, &self.recording.log);
        let last = log[at.saturating_sub(12)..at].iter().map(|change| format!("\n    {change}"));
        let last: String = last.collect();
        format!("after change {at} of {}, {:?}; the last were{last}", log.len(), self.fate)
    }

    /// Whether semel answers for what is precious: where a command moves it away, when
    /// the run has ended.
    fn is_in_hand(&self) -> bool {
        !self.story.moves || self.moment.at == self.recording.log.len()
    }

    /// What must hold whatever the next run does.
    fn check(&self, state: &Aftermath) -> Result<(), String> {
        let Self { story, moment, .. } = *self;
        let before = &self.recording.moments[0];
        for bytes in story.precious {
            if self.is_in_hand() && !state.has_somewhere(bytes) {
                return Err(format!("I8: {:?} is gone", String::from_utf8_lossy(bytes)));
            }
        }
        let outside = String::from_utf8_lossy(&moment.outside);
        if outside.contains("told") && before.outside.is_empty() {
            let log = state.bytes(".semel/once.log").unwrap_or_default();
            if !String::from_utf8_lossy(log).contains("\"is\":\"intent\"") {
                return Err("I3: it was told, and no intent is in once.log".to_owned());
            }
            if !state.has_manifest() {
                return Err("I3: it was told, and the manifest is gone".to_owned());
            }
            let owes = state.bytes(".semel/owed/power").is_some_and(|owed| !owed.is_empty());
            if story.pipeline.contains("[finally]") && !outside.contains("finally") && !owes {
                return Err("what it owes is not noted".to_owned());
            }
        }
        if !story.is_durable {
            return Ok(());
        }
        for promise in &moment.promises {
            if state.tree(&promise.path) != promise.there {
                let path = promise.path.display();
                return Err(format!("I1: {path} has a receipt and is not there"));
            }
        }
        if !moment.promises.is_empty() && !state.has_manifest() {
            return Err("I1: there were receipts, and the manifest is gone".to_owned());
        }
        for output in story.outputs {
            let output = Path::new(output);
            let of = |tree: &Tree| -> Tree {
                let inside = tree.iter().filter(|(path, _)| path.starts_with(output));
                inside.map(|(path, bytes)| (path.clone(), bytes.clone())).collect()
            };
            let found = state.tree(output);
            if found != of(&before.live) && found != of(self.end) {
                return Err(format!("I7: {} is neither old nor new", output.display()));
            }
        }
        for name in story.whole {
            if state.bytes(name).is_some_and(|bytes| !is_sound(bytes)) {
                return Err(format!("{name} is there, and not whole"));
            }
        }
        Ok(())
    }

    /// The next run after a power cut ends like one that nobody interrupted.
    fn go_on(&self, state: &Aftermath, told: usize) -> Result<(), String> {
        let world = World::after(state, &self.moment.outside);
        let ended = world.goes_on();
        if ended != self.story.status {
            return Err(format!("the next run ends with {ended}"));
        }
        if world.told() != told {
            return Err(format!("I6: told {} times, not {told}", world.told()));
        }
        let found = world.contents();
        if &found != self.end {
            let other = |one: &Tree, two: &Tree| -> Vec<PathBuf> {
                let other = one.iter().filter(|(path, bytes)| two.get(*path) != Some(bytes));
                other.map(|(path, _)| path.clone()).collect()
            };
            let (more, less) = (other(&found, self.end), other(self.end, &found));
            return Err(format!("the end is another: {more:?} in place of {less:?}"));
        }
        for bytes in self.story.precious {
            if !is_somewhere(&world.folder(), bytes) {
                return Err(format!("I8: {:?} is gone at last", String::from_utf8_lossy(bytes)));
            }
        }
        Ok(())
    }
}

/// Whether these are the bytes of a whole database.
fn is_sound(bytes: &[u8]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, bytes).unwrap();
    let db = rusqlite::Connection::open(&path).unwrap();
    let sound: rusqlite::Result<String> = db.query_row("pragma quick_check", [], |row| row.get(0));
    let tables: rusqlite::Result<i64> =
        db.query_row("select count(*) from receipt", [], |row| row.get(0));
    sound.is_ok_and(|said| said == "ok") && tables.is_ok()
}

pub(crate) fn tries_all() -> bool {
    std::env::var("SEMEL_POWER").is_ok_and(|which| which == "all")
}

fn seed() -> u64 {
    std::env::var("SEMEL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// What was tried, and what was not as it must be.
#[derive(Default)]
struct Tried {
    changes: usize,
    states: usize,
    made: usize,
    violations: BTreeMap<String, (usize, String)>,
}

impl Tried {
    fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.states += other.states;
        self.made += other.made;
        for (why, (count, place)) in other.violations {
            self.violations.entry(why).or_insert((0, place)).0 += count;
        }
    }

    fn tell(self, name: &str) {
        let Self { changes, states, made, violations } = self;
        let count: usize = violations.values().map(|(count, _)| count).sum();
        eprintln!(
            "{name}: {changes} changes, {states} states, {made} of them run again, seed {}, \
             {count} violations",
            seed()
        );
        let told =
            violations.iter().map(|(why, (count, place))| format!("{count} x {why}\n{place}\n"));
        assert_eq!(count, 0, "{}", told.collect::<String>());
    }
}

/// Cuts the power after each change of a run: `chances` states by chance each, beside
/// those that are worth trying anyway; of every so manieth the next run is made.
pub(crate) fn explore(name: &str, story: Story, chances: u64, every: usize) {
    let world = World::of(story);
    let (status, recording) = world.record(story.act);
    assert_eq!(status, story.status);
    let (end, told) = (world.contents(), world.told());
    cut(story, &recording, &end, told, chances, every).tell(name);
}

/// Cuts the power, and cuts it again in the run after that.
pub(crate) fn explore_twice(name: &str, story: Story, chances: u64, every: usize) {
    let world = World::of(story);
    let (_, recording) = world.record(story.act);
    let (end, told) = (world.contents(), world.told());
    let mut tried = Tried::default();
    let mut chance = seed();
    let step = if tries_all() { 5 } else { 37 };
    for moment in recording.moments.iter().skip(11).step_by(step) {
        chance += 1;
        let state = recording.after_cut(moment, Fate::Chance(chance));
        let world = World::after(&state, &moment.outside);
        let (status, again) = world.record(run_on);
        // Where a human must settle something, the other tests go on.
        if status == story.status {
            assert_eq!((world.contents() == end, world.told()), (true, told));
            tried.add(cut(story, &again, &end, told, chances, every));
        }
    }
    tried.tell(name);
}

/// Cuts the power after each change of a recording.
fn cut(
    story: Story,
    recording: &Recording,
    end: &Tree,
    told: usize,
    chances: u64,
    every: usize,
) -> Tried {
    // What was asked for is what there is time for in every check.
    let chances = if tries_all() { 10 * chances } else { chances };
    let every = if tries_all() { every / 10 } else { every };
    let moments = recording.moments.iter();
    let cases: Vec<_> = moments
        .flat_map(|moment| {
            let fates = recording.fates(moment, chances, seed());
            fates.into_iter().map(move |fate| (moment, fate))
        })
        .collect();
    let (next, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let violations = Mutex::new(BTreeMap::<String, (usize, String)>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some((moment, fate)) = cases.get(at) else { break };
                    let case = Case { story, recording, moment, fate: *fate, end };
                    let state = case.state();
                    let mut held = case.check(&state);
                    if held.is_ok() && every > 0 && at % every == 0 {
                        made.fetch_add(1, Ordering::Relaxed);
                        held = case.go_on(&state, told);
                    }
                    if let Err(why) = held {
                        let mut violations = violations.lock().unwrap();
                        let known = violations.entry(why).or_insert_with(|| (0, case.place()));
                        known.0 += 1;
                    }
                }
            });
        }
    });
    Tried {
        changes: recording.log.len() - recording.before,
        states: cases.len(),
        made: made.into_inner(),
        violations: violations.into_inner().unwrap(),
    }
}
