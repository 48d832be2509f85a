//! The group commit in every order: several tasks give their orders in all orders in
//! which they can follow each other, cut into rounds in all ways, with a folder that
//! cannot be synced, a receipt that cannot be written, a sync or the log that fails
//! once, and a lease that is taken over at any moment.
//!
//! Whoever looks at the manifest at any moment sees only what is true: a witness does,
//! by a connection of its own, before and after each change of the disk and at each
//! report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::deed::lease::Holder;
use crate::deed::memory;
use crate::ground::home::Home;
use crate::ground::manifest::Attempts;
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::once_log;
use crate::ground::world::disk::{DiskError, DiskResult, RealDisk};
use crate::ground::world::fault::{FaultyDisk, Moment};
use crate::ground::world::machine::threads;
use crate::words::digest::Digest;
use crate::words::once::{Doer, Says};
use crate::words::receipt::{Ending, Failure, LogRange};
use crate::words::run::{By, NewRun};
use crate::words::task::Instance;

/// Who gives orders: each begins, and then ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Producer {
    Plain,
    /// Its output lies in the folder of the one before.
    Neighbour,
    /// Its folder cannot be synced.
    Unsyncable,
    /// Its receipt cannot be written.
    Faulty,
    /// Its command fails.
    Failing,
    /// It begins only when that is durable.
    Announced,
    /// It is unsafe to repeat.
    Once,
    /// A check that held: it gives one order.
    Check,
}

use Producer::{Announced, Check, Failing, Faulty, Neighbour, Once, Plain, Unsyncable};

const PRODUCERS: [Producer; 8] =
    [Plain, Neighbour, Unsyncable, Faulty, Failing, Announced, Once, Check];

impl Producer {
    const fn name(self) -> &'static str {
        match self {
            Plain => "plain",
            Neighbour => "neighbour",
            Unsyncable => "unsyncable",
            Faulty => "faulty",
            Failing => "failing",
            Announced => "announced",
            Once => "once",
            Check => "check",
        }
    }

    fn of(item: Option<&str>) -> Self {
        let found = PRODUCERS.into_iter().find(|producer| Some(producer.name()) == item);
        found.expect("one of ours")
    }

    fn orders(self) -> usize {
        if self == Check { 1 } else { 2 }
    }

    /// Whether it gives its second order only when the first was answered.
    fn waits(self) -> bool {
        matches!(self, Announced | Once)
    }

    fn task(self) -> TaskName {
        let step = if self == Once { "pay" } else { "work" };
        TaskName::new(step, &Instance::default(), Some(self.name()))
    }

    /// Where its output lies.
    fn folder(self) -> PathBuf {
        Path::new("out").join(if self == Neighbour { Plain.name() } else { self.name() })
    }
}

/// What goes wrong, beside what the producers bring with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    /// Between the rounds passes so much time that attempts are noted when they begin.
    Slow,
    /// Another run takes over at this moment.
    TakenOver(usize),
    /// This sync of an output's folder, or of one above it, fails.
    SyncFails(usize),
    /// This line cannot be appended to `once.log`.
    LogFails(usize),
}

/// The most moments, syncs and lines at which something goes wrong.
const MOMENTS: usize = 24;
const SYNCS: usize = 8;
const LINES: usize = 2;

const PIPELINE: &str = "test";

/// Looks on, and lets go wrong what shall.
struct Witness {
    disk: RealDisk,
    home: Home,
    manifest: SqliteManifest,
    run: i64,
    mishap: Mishap,
    moments: usize,
    syncs: usize,
    lines: usize,
    /// The tasks whose outputs are in place, and whether their folder was synced since.
    in_place: BTreeMap<Producer, bool>,
    /// The folders that were synced.
    synced: BTreeSet<PathBuf>,
    /// The folders of which a sync failed: that a later one does not tells nothing.
    failed: BTreeSet<PathBuf>,
    /// The receipts that could be read when the round began.
    before_round: BTreeSet<Producer>,
    /// Those whose intents are not answered yet.
    asked: BTreeMap<Producer, Receiver<Result<(), String>>>,
    answered: BTreeMap<Producer, Result<(), String>>,
    reported: Vec<Recorded<Producer>>,
    complaints: Vec<String>,
    losses: usize,
    /// What could be seen of ordinary tasks when another run took over.
    fenced: Option<Sight>,
    violations: Vec<String>,
}

/// What can be read in the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sight {
    receipts: BTreeSet<Producer>,
    /// The attempts, and how they ended.
    attempts: BTreeMap<Producer, Option<String>>,
}

impl Sight {
    fn without_once(&self) -> Self {
        let mut sight = self.clone();
        sight.receipts.remove(&Once);
        sight.attempts.remove(&Once);
        sight
    }
}

impl Witness {
    fn violated(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.violations.contains(&what) {
            self.violations.push(what);
        }
    }

    fn sight(&self) -> Sight {
        let receipts = ["work", "pay"].into_iter().flat_map(|step| {
            let memory = self.manifest.memory_of(PIPELINE, step, &Instance::default()).unwrap();
            memory.receipts.into_iter().map(|receipt| Producer::of(Some(&receipt.item)))
        });
        let attempts = self.manifest.attempts(PIPELINE, Attempts::OfRun(self.run)).unwrap();
        let attempts = attempts
            .into_iter()
            .map(|attempt| (Producer::of(attempt.task.item.as_deref()), attempt.ending));
        Sight { receipts: receipts.collect(), attempts: attempts.collect() }
    }

    fn takes_part(&self, producer: Producer) -> bool {
        self.asked.contains_key(&producer) || self.answered.contains_key(&producer)
    }

    /// Whether `once.log` has the intent, and the receipt.
    fn logged(&self) -> (bool, bool) {
        let lines = once_log::read(&self.disk, &self.home.once_log()).unwrap().lines;
        let has = |is: fn(&Says) -> bool| lines.iter().any(|line| is(&line.says));
        (has(|says| matches!(says, Says::Intent(_))), has(|says| matches!(says, Says::Receipt(_))))
    }

    /// A moment: what can be seen must be true.
    fn look(&mut self) -> Sight {
        if self.mishap == Mishap::TakenOver(self.moments) {
            self.fenced = Some(self.sight().without_once());
            let mut other = self.manifest.again().unwrap();
            other.begin_run(&new_run("another")).unwrap();
        }
        self.moments += 1;
        let sight = self.sight();
        for producer in &sight.receipts {
            let folder = producer.folder();
            let is_synced = self.in_place.get(producer).is_some_and(|is_synced| *is_synced);
            let mut above = folder.ancestors().skip(1);
            if !is_synced || !above.all(|folder| self.synced.contains(folder)) {
                self.violated(format!("I1: {producer:?} has a receipt before it is durable"));
            }
        }
        for producer in PRODUCERS {
            let is_done = sight
                .attempts
                .get(&producer)
                .is_some_and(|ending| ending.as_deref() == Some("done"));
            if is_done != sight.receipts.contains(&producer) {
                self.violated(format!("{producer:?}: one of receipt and end is there alone"));
            }
        }
        let (intent, receipt) = if self.takes_part(Once) { self.logged() } else { (false, false) };
        if sight.attempts.contains_key(&Once) && !intent {
            self.violated("I3: the manifest knows of an intent that the log does not know");
        }
        let may_be_unlogged = matches!(self.mishap, Mishap::LogFails(_));
        if sight.receipts.contains(&Once) && !receipt && !may_be_unlogged {
            self.violated("I3: the manifest has a receipt that the log does not have");
        }
        if let Some(fenced) = &self.fenced
            && *fenced != sight.without_once()
        {
            self.violated("I4: something was written after another run took over");
        }
        self.hear(&sight, intent);
        sight
    }

    /// Hears the answers to intents.
    fn hear(&mut self, sight: &Sight, is_logged: bool) {
        let heard: Vec<_> =
            self.asked.iter().map(|(who, answer)| (*who, answer.try_recv())).collect();
        for (producer, answer) in heard {
            let Ok(answer) = answer else { continue };
            self.asked.remove(&producer);
            if answer.is_ok() {
                if !sight.attempts.contains_key(&producer) || producer == Once && !is_logged {
                    self.violated(format!("I3: {producer:?} begins before its intent is durable"));
                }
                self.waited_for_nobody(producer, sight);
            }
            self.answered.insert(producer, answer);
        }
    }

    /// Of its round nothing was written before that had time.
    fn waited_for_nobody(&mut self, producer: Producer, sight: &Sight) {
        let others = sight.receipts.difference(&self.before_round);
        if let Some(other) = others.into_iter().find(|other| **other != Once) {
            let other = *other;
            self.violated(format!("{producer:?} waited for {other:?}"));
        }
    }

    fn change(&mut self, moment: Moment, doing: &'static str, path: &Path) -> DiskResult<()> {
        let sight = self.look();
        let fails = |error: rustix::io::Errno| {
            Err(DiskError { doing, path: path.to_owned(), source: error.into() })
        };
        match (moment, doing) {
            (Moment::Before, "sync") if path.is_relative() => {
                let is_mishap = self.mishap == Mishap::SyncFails(self.syncs);
                self.syncs += 1;
                if is_mishap || path == Unsyncable.folder() {
                    self.failed.insert(path.to_owned());
                    return fails(rustix::io::Errno::IO);
                }
            }
            (Moment::After, "sync") if !self.failed.contains(path) => {
                self.synced.insert(path.to_owned());
                for (producer, is_synced) in &mut self.in_place {
                    *is_synced |= producer.folder() == path;
                }
            }
            (Moment::Before, "append to") => {
                let is_mishap = self.mishap == Mishap::LogFails(self.lines);
                self.lines += 1;
                if is_mishap {
                    return fails(rustix::io::Errno::NOSPC);
                }
            }
            (Moment::Before, "remove") => {
                let producer = Producer::of(path.file_stem().and_then(|name| name.to_str()));
                if !sight.receipts.contains(&producer) {
                    self.violated(format!("I7: {producer:?} is cleared without a receipt"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn report(&mut self, recorded: Recorded<Producer>) {
        let sight = self.look();
        let producer = recorded.task;
        if sight.receipts.contains(&producer) != recorded.error.is_none() {
            self.violated(format!("{producer:?} is not as reported: {:?}", recorded.error));
        }
        if producer == Once {
            self.waited_for_nobody(producer, &sight);
        }
        self.reported.push(recorded);
    }

    /// When all is over: everybody heard what there was to hear, once.
    fn judge(&mut self, schedule: &Schedule, ordered: &[Producer]) {
        let sight = self.look();
        let takes_part = |producer| schedule.iter().flatten().any(|one| *one == producer);
        let held = self.manifest.answers(PIPELINE, "work", &Instance::default()).unwrap();
        let has_failed = sight.attempts.get(&Failing).is_some_and(Option::is_some);
        let is_kept = !takes_part(Check) || held.len() == 1;
        if self.fenced.is_none() && !(is_kept && has_failed == takes_part(Failing)) {
            self.violated("what nobody waits for was not written");
        }
        let is_refused = self.answered.get(&Once).is_some_and(Result::is_err);
        if is_refused && !self.logged().0 && sight.attempts.contains_key(&Once) {
            self.violated("I6: what did not begin has an end");
        }
        for producer in ordered {
            let reports: Vec<_> =
                self.reported.iter().filter(|recorded| recorded.task == *producer).collect();
            let [Recorded { error, .. }] = &*reports else {
                let reports = reports.len();
                self.violated(format!("I2: {producer:?} was reported {reports} times"));
                continue;
            };
            let way = producer.folder();
            let is_own = *producer == Faulty || way.ancestors().any(|at| self.failed.contains(at));
            let is_fence = |error: &String| error.contains("its lease was taken over");
            let is_right = match error {
                // One that cannot succeed must not; a way that is known is not gone again.
                None => !matches!(producer, Faulty | Unsyncable),
                Some(error) => is_own || self.fenced.is_some() && is_fence(error),
            };
            if !is_right {
                let error = error.clone();
                self.violated(format!("I2: {producer:?} was reported with {error:?}"));
            }
            let place = self.home.staging_of("one").join(producer.name());
            let is_cleared = !place.exists() && !place.with_extension("journal").exists();
            if is_cleared != sight.receipts.contains(producer) {
                self.violated(format!("{producer:?}: its staging is not as its receipt says"));
            }
        }
        if !self.asked.is_empty() {
            self.violated("an intent was never answered");
        }
        let errors = self.reported.iter().filter_map(|recorded| recorded.error.as_ref());
        let answers = self.answered.values().filter_map(|answer| answer.as_ref().err());
        let said = errors.chain(answers).chain(&self.complaints);
        let is_fenced = said.clone().any(|error| error.contains("its lease was taken over"));
        if self.losses != usize::from(is_fenced) {
            let losses = self.losses;
            self.violated(format!("I4: the loss of the lease was told {losses} times"));
        }
        if matches!(self.mishap, Mishap::Nothing | Mishap::Slow) && !self.complaints.is_empty() {
            let complaints = self.complaints.join("; ");
            self.violated(format!("there is nothing to complain of: {complaints}"));
        }
    }
}

fn new_run(id: &str) -> NewRun {
    NewRun {
        id: id.to_owned(),
        pipeline: PIPELINE.to_owned(),
        file: "semel.toml".to_owned(),
        instance: Instance::default(),
        params: "{}".to_owned(),
        command: "semel run".to_owned(),
        selected: false,
        task: None,
        by: By { host: "host".to_owned(), user: "user".to_owned(), pid: 1 },
        began: Timestamp::now(),
    }
}

fn fingerprint() -> Fingerprint {
    Fingerprint { what: Digest::of(b"what"), how: Digest::of(b"how") }
}

fn attempt(producer: Producer, run: i64) -> Attempt {
    Attempt {
        task: producer.task(),
        run,
        number: producer as u64 + 1,
        tries: 1,
        fingerprint: fingerprint(),
        began: Timestamp::now(),
        once: producer == Once,
    }
}

fn ended(ending: Ending, provably_undone: bool) -> AttemptEnd {
    AttemptEnd { ending, provably_undone, ended: Timestamp::now(), log: LogRange::default() }
}

/// What a task that is published asks for: its staging is there until it has its receipt.
fn completion(producer: Producer, run: i64, home: &Home) -> Completion {
    let out = FileRecord {
        role: FileRole::Out,
        name: String::new(),
        path: producer.folder().join(producer.name()),
        bytes: 3,
        rows: None,
        digest: Digest::of(b"out"),
        by_stat: false,
    };
    // A file twice in one role: no store can keep that.
    let files = vec![out; if producer == Faulty { 2 } else { 1 }];
    let place = home.staging_of("one").join(producer.name());
    let journal = place.with_extension("journal");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(&journal, "").unwrap();
    Completion {
        receipt: Receipt {
            task: producer.task(),
            fingerprint: fingerprint(),
            encoding: ENCODING,
            given: "{}".to_owned(),
            how: "{}".to_owned(),
            effect: None,
            origin: Origin::Ran,
            at: Timestamp::now(),
            run,
            took: Duration::ZERO,
            files,
            once: producer == Once,
        },
        attempt: Some((attempt(producer, run), ended(Ending::Done, false))),
        said: None,
        ends: None,
        unsynced: vec![producer.folder()],
        place: Some((Place::left(vec![place], journal), true)),
        hurries: producer == Once,
        is_ours: true,
    }
}

/// The next order of a producer, given when a round begins.
fn order(producer: Producer, is_first: bool, witness: &mut Witness) -> Order<Producer> {
    let run = witness.run;
    match (producer, is_first) {
        (Check, _) => Order::Held(producer.task(), fingerprint()),
        (Announced | Once, true) => {
            let (answer, answered) = sync_channel(1);
            witness.asked.insert(producer, answered);
            Order::Intend(attempt(producer, run), None, answer)
        }
        (_, true) => Order::Begin(attempt(producer, run), None),
        (Failing, false) => {
            let failed = Ending::Failed(Failure::Exit(1));
            Order::End(attempt(producer, run), ended(failed, false), None)
        }
        // What may not begin ends as it is.
        (_, false) if witness.answered.get(&producer).is_some_and(Result::is_err) => {
            let broken = Ending::Failed(Failure::Broken("its intent".to_owned()));
            Order::End(attempt(producer, run), ended(broken, true), None)
        }
        (_, false) => {
            witness.in_place.insert(producer, false);
            Order::Complete(producer, Box::new(completion(producer, run, &witness.home)))
        }
    }
}

/// A folder in memory, if there is one: nothing of it outlives the test.
fn folder() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
    folder.unwrap()
}

/// Who gives an order, round by round.
type Schedule = Vec<Vec<Producer>>;

/// Plays a schedule; gives what was violated, and whether anybody was fenced.
fn play(template: &Path, schedule: &Schedule, mishap: Mishap) -> (Vec<String>, bool) {
    let folder = folder();
    let home = Home::in_folder(folder.path());
    let disk = RealDisk::at(folder.path()).unwrap();
    std::fs::create_dir_all(home.path().join("lock")).unwrap();
    std::fs::copy(template, home.manifest()).unwrap();
    for producer in PRODUCERS {
        std::fs::create_dir_all(folder.path().join(producer.folder())).unwrap();
    }
    let mut manifest = SqliteManifest::open(&home.manifest()).unwrap();
    let run = manifest.begin_run(&new_run("one")).unwrap();
    let witness = Arc::new(Mutex::new(Witness {
        disk: RealDisk::at(folder.path()).unwrap(),
        home: Home::in_folder(folder.path()),
        manifest: SqliteManifest::open(&home.manifest()).unwrap(),
        run,
        mishap,
        moments: 0,
        syncs: 0,
        lines: 0,
        in_place: BTreeMap::new(),
        synced: BTreeSet::new(),
        failed: BTreeSet::new(),
        before_round: BTreeSet::new(),
        asked: BTreeMap::new(),
        answered: BTreeMap::new(),
        reported: Vec::new(),
        complaints: Vec::new(),
        losses: 0,
        fenced: None,
        violations: Vec::new(),
    }));
    let staging = Staging::begin(&disk, &home, "one", run, PIPELINE, &holder()).unwrap();
    let onlooker = Arc::clone(&witness);
    let hook =
        move |_, moment, doing, path: &Path| onlooker.lock().unwrap().change(moment, doing, path);
    let disk = FaultyDisk::new(RealDisk::at(folder.path()).unwrap(), Box::new(hook));
    let doer = Doer {
        run: "one".to_owned(),
        number: run,
        file: "semel.toml".to_owned(),
        host: "host".to_owned(),
        user: "user".to_owned(),
        pid: 1,
    };
    let once = OnceWriter::new(&disk, &home, &manifest, doer).unwrap();
    let mut recorder = Recorder {
        pipeline: PIPELINE,
        manifest: &mut manifest,
        durability: Durability::Process,
        patience: Duration::ZERO,
        disk: &disk,
        staging: &staging,
        once,
        report: &mut |recorded| witness.lock().unwrap().report(recorded),
        complain: &mut |why| witness.lock().unwrap().complaints.push(why),
        lost: Some(&mut |_| witness.lock().unwrap().losses += 1),
    };
    let mut begun = Begun::new();
    let mut now = Instant::now();
    let mut have_begun = BTreeSet::new();
    let mut ordered = Vec::new();
    for round in schedule {
        let orders = {
            let mut witness = witness.lock().unwrap();
            witness.before_round = witness.look().receipts;
            let next = round.iter().map(|producer| {
                let order = order(*producer, have_begun.insert(*producer), &mut witness);
                ordered.extend(matches!(order, Order::Complete(..)).then_some(*producer));
                order
            });
            next.collect()
        };
        recorder.round(orders, &mut begun, now);
        // Who asked has the answer when the round is over.
        let mut witness = witness.lock().unwrap();
        witness.look();
        if mishap == Mishap::Slow {
            now += LONG;
        }
    }
    let mut witness = witness.lock().unwrap();
    witness.judge(schedule, &ordered);
    (std::mem::take(&mut witness.violations), witness.losses > 0)
}

/// All orders in which the orders of these can follow each other.
fn orders_of(left: &mut Vec<(Producer, usize)>) -> Vec<Vec<Producer>> {
    if left.iter().all(|(_, orders)| *orders == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..left.len() {
        if left[at].1 > 0 {
            left[at].1 -= 1;
            let rest = orders_of(left).into_iter();
            all.extend(rest.map(|rest| [vec![left[at].0], rest].concat()));
            left[at].1 += 1;
        }
    }
    all
}

/// All ways to cut a sequence into rounds in which nobody who waits gives two orders.
fn cuts_of(sequence: &[Producer]) -> impl Iterator<Item = Schedule> {
    (0..1_usize << (sequence.len() - 1)).filter_map(|cuts| {
        let mut schedule = vec![Vec::new()];
        for (at, producer) in sequence.iter().enumerate() {
            if at > 0 && cuts >> (at - 1) & 1 == 1 {
                schedule.push(Vec::new());
            }
            let round = schedule.last_mut()?;
            if producer.waits() && round.contains(producer) {
                return None;
            }
            round.push(*producer);
        }
        Some(schedule)
    })
}

/// The schedules of all choices of three producers.
fn schedules() -> Vec<Schedule> {
    let mut all = Vec::new();
    for (at, one) in PRODUCERS.iter().enumerate() {
        for (next, other) in PRODUCERS.iter().enumerate().skip(at + 1) {
            for third in &PRODUCERS[next + 1..] {
                let mut cast: Vec<_> =
                    [one, other, third].map(|producer| (*producer, producer.orders())).into();
                let sequences = orders_of(&mut cast);
                all.extend(sequences.iter().flat_map(|sequence| cuts_of(sequence)));
            }
        }
    }
    all
}

fn holder() -> Holder {
    Holder {
        host: "host".to_owned(),
        user: "user".to_owned(),
        pid: 1,
        command: "semel run".to_owned(),
        since: Timestamp::now(),
    }
}

#[test]
fn i1_i2_i3_i4_hold_at_every_moment_of_every_group_commit() {
    let made = folder();
    let home = Home::in_folder(made.path());
    let disk = RealDisk::at(made.path()).unwrap();
    memory::make(&disk, &home, "draft", &holder()).unwrap();
    let template = home.manifest();
    let all = schedules();
    // A part of them, another for each mishap; all of them take some hours.
    let is_whole = std::env::var_os("SEMEL_ALL_SCHEDULES").is_some();
    let (few, fewer) = if is_whole { (1, 1) } else { (409, 4513) };
    let mishaps = (0..MOMENTS).map(Mishap::TakenOver);
    let mishaps = mishaps.chain((0..SYNCS).map(Mishap::SyncFails));
    let mishaps = mishaps.chain((0..LINES).map(Mishap::LogFails));
    let with_mishaps = mishaps.enumerate().flat_map(|(turn, mishap)| {
        all.iter().skip(turn * 71 % fewer).step_by(fewer).map(move |one| (one, mishap))
    });
    let plain = all.iter().step_by(few).map(|one| (one, Mishap::Nothing));
    let slow = all.iter().skip(few / 2).step_by(few).map(|one| (one, Mishap::Slow));
    let cases: Vec<_> = plain.chain(slow).chain(with_mishaps).collect();
    let threads = threads();
    let parts = std::thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(cases.len().div_ceil(threads))
            .map(|part| {
                let template = &template;
                scope.spawn(move || {
                    let played = part.iter().map(|(schedule, mishap)| {
                        let (violations, is_fenced) = play(template, schedule, *mishap);
                        let where_it_was = format!(" in {schedule:?} with {mishap:?}");
                        let violations = violations.into_iter();
                        (violations.map(|what| what + &where_it_was).collect::<Vec<_>>(), is_fenced)
                    });
                    played.collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect::<Vec<_>>()
    });
    let fenced = parts.iter().filter(|(_, is_fenced)| *is_fenced).count();
    let violations: Vec<_> = parts.into_iter().flat_map(|(violations, _)| violations).collect();
    println!(
        "schedules of the group commit: {} of {}, fenced: {fenced}, violations: {}",
        cases.len(),
        all.len(),
        violations.len()
    );
    let few_of_them = violations.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(violations.is_empty(), "{few_of_them}");
    // The test sees what it is there for.
    assert!(fenced > 50, "{fenced}");
}
