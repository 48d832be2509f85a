//! Never two at once, in every order: two semels take the steps of a run one by one,
//! with the lease, the manifest and `once.log` of the real code, in all orders in
//! which their steps can follow each other; one of them dies at any of them; and
//! somebody removes the lock file, which nobody must.
//!
//! A step is one call of the kernel, or one transaction: nothing of another process
//! comes in between.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::Path;

use semel::Timestamp;
use semel::deed::lease::{Holder, Lease};
use semel::deed::memory;
use semel::deed::once::OnceWriter;
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Entry, Manifest};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::words::digest::Digest;
use semel::words::fingerprint::{ENCODING, Fingerprint};
use semel::words::once::Doer;
use semel::words::receipt::{Attempt, AttemptEnd, Ending, LogRange, Origin, Receipt};
use semel::words::run::{By, NewRun};
use semel::words::task::{Instance, TaskName};

/// A run of a pipeline with one step, `pay`, which is unsafe to repeat.
struct Semel<'a> {
    disk: &'a RealDisk,
    home: &'a Home,
    id: String,
    lease: Option<Lease>,
    manifest: Option<SqliteManifest>,
    run: i64,
    writer: Option<OnceWriter<'a>>,
    pays: bool,
    next: usize,
    is_over: bool,
}

/// How many steps a run has.
const STEPS: usize = 8;

/// What happened in the world.
#[derive(Default)]
struct World {
    /// Who paid.
    payments: Vec<String>,
    /// Those who were told that somebody else is at work.
    busy: usize,
    /// Those who were taken over, and could not write.
    fenced: usize,
}

impl<'a> Semel<'a> {
    fn new(disk: &'a RealDisk, home: &'a Home, id: &str) -> Self {
        Self {
            disk,
            home,
            id: id.to_owned(),
            lease: None,
            manifest: None,
            run: 0,
            writer: None,
            pays: false,
            next: 0,
            is_over: false,
        }
    }

    fn step(&mut self, world: &mut World) {
        match self.next {
            0 => self.take_the_lease(world),
            1 => self.open(),
            2 => self.begin(),
            3 => self.look(),
            4 => self.intend(world),
            5 => self.pay(world),
            6 => self.complete(world),
            _ => self.end(),
        }
        self.next += 1;
        self.is_over |= self.next == STEPS;
    }

    /// Dies here: the kernel lets go of what it had.
    fn die(&mut self) {
        (self.lease, self.manifest, self.writer) = (None, None, None);
        self.is_over = true;
    }

    fn take_the_lease(&mut self, world: &mut World) {
        let holder = Holder {
            host: "host".to_owned(),
            user: "user".to_owned(),
            pid: 1,
            command: self.id.clone(),
            since: Timestamp::now(),
        };
        match Lease::take(&self.home.lock("test", ""), &holder) {
            Ok(lease) => self.lease = Some(lease),
            Err(_) => {
                world.busy += 1;
                self.is_over = true;
            }
        }
    }

    fn open(&mut self) {
        let mut manifest = SqliteManifest::open(&self.home.manifest()).unwrap();
        memory::catch_up(self.disk, self.home, &mut manifest).unwrap();
        self.manifest = Some(manifest);
    }

    fn begin(&mut self) {
        let manifest = self.manifest.as_mut().unwrap();
        // It would wait for a disk in vain: nothing dies here but on purpose.
        manifest.sync_commits(false).unwrap();
        self.run = manifest.begin_run(&new_run(&self.id)).unwrap();
        let doer = Doer {
            run: self.id.clone(),
            number: self.run,
            file: "semel.toml".to_owned(),
            host: "host".to_owned(),
            user: "user".to_owned(),
            pid: 1,
        };
        let writer = OnceWriter::new(self.disk, self.home, manifest, doer).unwrap();
        self.writer = Some(writer);
    }

    fn look(&mut self) {
        let manifest = self.manifest.as_ref().unwrap();
        let memory = manifest.memory_of("test", "pay", &Instance::default()).unwrap();
        // I6: complete, or begun by somebody of whom nobody knows how far they came.
        self.pays = memory.receipts.is_empty() && memory.open.is_empty();
    }

    fn intend(&mut self, world: &mut World) {
        if self.pays {
            let begin = Entry::Begin { attempt: self.attempt(), said: None };
            self.pays = self.write(&begin, world);
        }
    }

    fn pay(&mut self, world: &mut World) {
        if self.pays {
            world.payments.push(self.id.clone());
        }
    }

    fn complete(&mut self, world: &mut World) {
        if self.pays {
            let end = AttemptEnd {
                ending: Ending::Done,
                provably_undone: false,
                ended: Timestamp::now(),
                log: LogRange::default(),
            };
            let receipt = Box::new(receipt(self.run));
            let attempt = Some((self.attempt(), end));
            self.write(&Entry::Complete { receipt, attempt, said: None, ends: None }, world);
        }
    }

    fn end(&mut self) {
        let manifest = self.manifest.as_mut().unwrap();
        manifest.end_run(self.run, Timestamp::now(), 0, &[]).unwrap();
        self.die();
    }

    fn attempt(&self) -> Attempt {
        Attempt {
            task: task(),
            run: self.run,
            number: 1,
            tries: 1,
            fingerprint: fingerprint(),
            began: Timestamp::now(),
            once: true,
        }
    }

    fn write(&mut self, entry: &Entry, world: &mut World) -> bool {
        let manifest = self.manifest.as_mut().unwrap();
        let written = self.writer.as_mut().unwrap().write(manifest, "test", entry);
        if let Err(why) = &written.result {
            assert!(why.contains("its lease was taken over"), "{why}");
            world.fenced += 1;
        }
        written.result.is_ok()
    }
}

fn task() -> TaskName {
    TaskName::new("pay", &Instance::default(), None)
}

fn fingerprint() -> Fingerprint {
    Fingerprint { what: Digest::of(b"what"), how: Digest::of(b"how") }
}

fn new_run(id: &str) -> NewRun {
    NewRun {
        id: id.to_owned(),
        pipeline: "test".to_owned(),
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

fn receipt(run: i64) -> Receipt {
    Receipt {
        task: task(),
        fingerprint: fingerprint(),
        encoding: ENCODING,
        given: "{}".to_owned(),
        how: "{}".to_owned(),
        effect: None,
        origin: Origin::Ran,
        at: Timestamp::now(),
        run,
        took: std::time::Duration::ZERO,
        files: Vec::new(),
        once: true,
    }
}

/// Something that happens at a point of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    /// The first of the two dies before its step of this number.
    Death(usize),
    /// The lock file is removed before the step of this number of the first.
    LockRemoved(usize),
}

/// All orders in which `left` steps of one and `right` of another can follow.
fn orders(left: usize, right: usize) -> Vec<Vec<usize>> {
    if left == 0 || right == 0 {
        return vec![[vec![0; left], vec![1; right]].concat()];
    }
    let with = |who: usize, rest: Vec<Vec<usize>>| {
        rest.into_iter().map(move |order| [vec![who], order].concat())
    };
    with(0, orders(left - 1, right)).chain(with(1, orders(left, right - 1))).collect()
}

/// A folder whose manifest was made.
fn folder() -> (tempfile::TempDir, RealDisk) {
    // Nothing of it outlives the test: memory will do.
    let shared = Path::new("/dev/shm");
    let folder = match shared.is_dir() {
        true => tempfile::tempdir_in(shared),
        false => tempfile::tempdir(),
    };
    let folder = folder.unwrap();
    let disk = RealDisk::at(folder.path()).unwrap();
    (folder, disk)
}

fn play(template: &Path, order: &[usize], mishap: Mishap) -> World {
    let (folder, disk) = folder();
    let home = Home::in_folder(disk.root());
    std::fs::create_dir_all(home.path().join("lock")).unwrap();
    std::fs::copy(template, home.manifest()).unwrap();
    let mut world = World::default();
    let mut semels = [Semel::new(&disk, &home, "first"), Semel::new(&disk, &home, "second")];
    for who in order {
        if semels[*who].is_over {
            continue;
        }
        match mishap {
            Mishap::Death(at) if *who == 0 && semels[0].next == at => semels[0].die(),
            Mishap::LockRemoved(at) if *who == 0 && semels[0].next == at => {
                let _ = std::fs::remove_file(home.lock("test", ""));
                semels[0].step(&mut world);
            }
            _ => semels[*who].step(&mut world),
        }
    }
    // Whatever happened: two more runs, one after the other, end it.
    for id in ["third", "fourth"] {
        let mut last = Semel::new(&disk, &home, id);
        while !last.is_over {
            last.step(&mut world);
        }
    }
    let manifest = SqliteManifest::open(&home.manifest()).unwrap();
    let memory = manifest.memory_of("test", "pay", &Instance::default()).unwrap();
    assert!(
        !memory.receipts.is_empty() || !memory.open.is_empty(),
        "what was paid is known: {order:?} {mishap:?}"
    );
    drop(folder);
    world
}

#[test]
fn i4_in_every_order_of_two_runs_what_is_done_once_is_done_once() {
    let (made, disk) = folder();
    let home = Home::in_folder(disk.root());
    memory::make(&disk, &home, "draft", &maker()).unwrap();
    let template = home.manifest();
    let all = orders(STEPS, STEPS);
    // Of 12,870 orders a part, another for each mishap; all of them take some minutes.
    let is_whole = std::env::var_os("SEMEL_ALL_SCHEDULES").is_some();
    let (few, fewer) = if is_whole { (1, 1) } else { (13, 71) };
    let mishaps = (0..STEPS).flat_map(|at| [Mishap::Death(at), Mishap::LockRemoved(at)]);
    let with_mishaps = mishaps.enumerate().flat_map(|(turn, mishap)| {
        all.iter().skip(turn % fewer).step_by(fewer).map(move |order| (order, mishap))
    });
    let plain = all.iter().step_by(few).map(|order| (order, Mishap::Nothing));
    let cases: Vec<_> = plain.chain(with_mishaps).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let worlds = std::thread::scope(|scope| {
        let parts: Vec<_> = cases
            .chunks(cases.len().div_ceil(threads))
            .map(|part| {
                let template = &template;
                scope.spawn(move || {
                    part.iter()
                        .map(|(order, mishap)| {
                            let world = play(template, order, *mishap);
                            let paid = world.payments.len();
                            assert!(paid <= 1, "paid {paid} times: {order:?} {mishap:?}");
                            let may_be_unpaid = matches!(mishap, Mishap::Death(_));
                            assert!(paid == 1 || may_be_unpaid, "unpaid: {order:?} {mishap:?}");
                            (world.busy, world.fenced)
                        })
                        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
                })
            })
            .collect();
        let sums = parts.into_iter().map(|part| part.join().unwrap());
        sums.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let (busy, fenced) = worlds;
    println!(
        "schedules of the lease: {}, busy: {busy}, fenced: {fenced}, violations: 0",
        cases.len()
    );
    // The test sees what it is there for.
    assert!(busy > 300 && fenced > 50, "{busy} {fenced}");
    drop(made);
}

fn maker() -> Holder {
    Holder {
        host: "db7".to_owned(),
        user: "etl".to_owned(),
        pid: std::process::id(),
        command: "semel init".to_owned(),
        since: Timestamp::UNIX_EPOCH,
    }
}
