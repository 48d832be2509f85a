//! Trying points in turn, in parallel, and telling how it ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use semel_testkit::Scratch;
use semel_testkit::sweep::one_of;
use semel_testkit::tracer::{Blow, Plan, Point, Traced, trace};

use crate::scene::Scene;

/// How many violations are told whole.
const TOLD: usize = 8;

/// Fails with all that is not as it must be.
pub(crate) fn all_held(swept: impl Iterator<Item = Result<(), String>>) {
    let violated: Vec<_> = swept.filter_map(Result::err).collect();
    assert!(violated.is_empty(), "{}", violated.join("\n"));
}

/// What is tried.
pub(crate) struct Sweep<'a> {
    /// What is done at a point, in words.
    pub(crate) what: &'a str,
    pub(crate) scene: &'a Scene,
    /// Which calls of semel's own are points, or of its commands where those are meant.
    pub(crate) is_point: &'a (dyn Fn(&Point) -> bool + Sync),
    pub(crate) of_commands: bool,
    pub(crate) blow: Blow,
    /// Which of the points are tried, where not all are: one of so many.
    pub(crate) one_of: usize,
    /// What must hold of the command that was struck, in its folder.
    pub(crate) must: &'a (dyn Fn(&Scratch, &Traced) -> Result<(), String> + Sync),
}

/// How a sweep went.
#[derive(Default)]
struct Tally {
    tried: usize,
    not_reached: usize,
    ended: BTreeMap<i32, usize>,
    violations: Vec<String>,
}

impl Sweep<'_> {
    /// Tries the points, and tells what is not as it must be.
    pub(crate) fn go(&self) -> Result<(), String> {
        let folder = self.scene.copy();
        let command = folder.command(self.scene.words.split_whitespace());
        let is_point = self.is_point();
        let quiet = match trace(&command, &Plan { is_point: &is_point, blow: None }) {
            Ok(traced) => traced,
            Err(why) => {
                why.tell(&format!("{}, {}", self.scene.name, self.what));
                return Ok(());
            }
        };
        assert_eq!(quiet.status, 0, "{quiet:?}");
        let total = quiet.points.len();
        assert!(total > 0, "{}, {}: nothing is changed", self.scene.name, self.what);
        let one_of = one_of(self.one_of);
        // Where one of several is tried, each sweep begins with another.
        let first = 1 + (self.what.len() + self.scene.name.len()) % one_of.min(total);
        let next = AtomicUsize::new(first);
        let tally = Mutex::new(Tally::default());
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(one_of, Ordering::SeqCst);
                        // In another order there may be more of them, up to a point.
                        let goes_on = one_of == 1 && tally.lock().unwrap().not_reached == 0;
                        if at > total && !goes_on {
                            return;
                        }
                        self.try_point(at, &tally);
                    }
                });
            }
        });
        let tally = tally.into_inner().unwrap();
        self.tell(total, &tally)
    }

    fn is_point(&self) -> impl Fn(&Point) -> bool + Sync {
        |point| point.own != self.of_commands && (self.is_point)(point)
    }

    fn try_point(&self, at: usize, tally: &Mutex<Tally>) {
        let folder = self.scene.copy();
        let command = folder.command(self.scene.words.split_whitespace());
        let is_point = self.is_point();
        let plan = Plan { is_point: &is_point, blow: Some((at, self.blow)) };
        let traced = trace(&command, &plan).unwrap();
        if !traced.was_struck {
            tally.lock().unwrap().not_reached += 1;
        }
        let done = if traced.hung {
            Err("it hung".to_owned())
        } else {
            (self.must)(&folder, &traced)
                .and_then(|()| self.scene.is_intact(&folder))
                .and_then(|()| self.scene.goes_on(&folder))
        };
        let mut tally = tally.lock().unwrap();
        tally.tried += usize::from(traced.was_struck);
        *tally.ended.entry(traced.status).or_default() += 1;
        if let Err(error) = done {
            let point = traced.points.get(at - 1).map_or_else(String::new, ToString::to_string);
            let root = folder.path().display().to_string();
            let story = format!(
                "{at}: {point}\n{error}\nexit {}\n{}{}",
                traced.status, traced.stdout, traced.stderr
            );
            tally.violations.push(story.replace(&root, "[folder]"));
        }
    }

    fn tell(&self, total: usize, tally: &Tally) -> Result<(), String> {
        let mut line = format!(
            "{}, {}: points {total}, tried: {}, violations: {}; exit",
            self.scene.name,
            self.what,
            tally.tried,
            tally.violations.len()
        );
        for (status, times) in &tally.ended {
            let _ = write!(line, " {status}: {times}");
        }
        println!("{line}");
        let told = tally.violations.iter().take(TOLD).map(|told| format!("---- {told}\n"));
        let told: String = told.collect();
        if told.is_empty() { Ok(()) } else { Err(format!("{line}\n{told}")) }
    }
}
