//! A folder in which semel's library runs, and what is outside it, where no power is cut.

use std::path::{Path, PathBuf};

use semel::deed::run::{CannotBegin, Options, Setting, run, signals};
use semel::ground::manifest::Verb;
use semel::ground::world::disk::{Disk, RealDisk};
use semel_testkit::aftermath::Aftermath;
use semel_testkit::library::{self, settle};
use semel_testkit::recorded::{RecordedDisk, Recording, Tree};

use crate::stories::{PIPELINE, Story};

/// A folder with what is outside it.
pub(crate) struct World {
    all: tempfile::TempDir,
}

/// A folder where syncs cost nothing, if it keeps stamps.
fn in_memory() -> Option<tempfile::TempDir> {
    let folder = tempfile::tempdir_in("/dev/shm").ok()?;
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(folder.path(), "user.semel.test", b"kept", flags).ok()?;
    Some(folder)
}

impl World {
    fn new() -> Self {
        let all = in_memory().unwrap_or_else(|| tempfile::tempdir().unwrap());
        std::fs::create_dir(all.path().join("folder")).unwrap();
        Self { all }
    }

    pub(crate) fn of(story: Story) -> Self {
        let world = Self::new();
        let loose = PIPELINE.replace("jobs = 1", "jobs = 1\ndurability = \"process\"");
        let text = if story.pipeline == "loose" { &*loose } else { story.pipeline };
        std::fs::write(world.folder().join("semel.toml"), text).unwrap();
        (story.prepare)(&world.folder());
        world
    }

    /// A world on a medium of which only the outbox lies elsewhere.
    pub(crate) fn on(medium: &Path, outbox: &Path, story: Story) -> Self {
        let world = Self { all: tempfile::tempdir_in(medium).unwrap() };
        std::fs::create_dir(world.all.path().join("folder")).unwrap();
        std::fs::write(outbox, "").unwrap();
        std::os::unix::fs::symlink(outbox, world.outbox()).unwrap();
        std::fs::write(world.folder().join("semel.toml"), story.pipeline).unwrap();
        (story.prepare)(&world.folder());
        world
    }

    pub(crate) fn after(state: &Aftermath, outside: &[u8]) -> Self {
        let world = Self::new();
        state.build(&world.folder());
        std::fs::write(world.outbox(), outside).unwrap();
        world
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.all.path().join("folder").canonicalize().unwrap()
    }

    fn outbox(&self) -> PathBuf {
        self.all.path().join("outbox")
    }

    /// How often it was told.
    pub(crate) fn told(&self) -> usize {
        let outside = std::fs::read_to_string(self.outbox()).unwrap_or_default();
        outside.lines().filter(|line| *line == "told").count()
    }

    fn run(&self) -> i32 {
        run_on(&RealDisk::at(&self.folder()).unwrap())
    }

    /// Runs on a disk that records.
    pub(crate) fn record(&self, act: fn(&dyn Disk) -> i32) -> (i32, Recording) {
        let disk = RecordedDisk::at(&self.folder(), &self.outbox());
        (act(&disk), disk.end())
    }

    pub(crate) fn contents(&self) -> Tree {
        let folder = self.folder();
        let mut found = Tree::new();
        let mut open = vec![folder.clone()];
        while let Some(inside) = open.pop() {
            for entry in std::fs::read_dir(inside).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(&folder).unwrap().to_owned();
                if path.is_dir() && entry.file_name() != ".semel" {
                    found.insert(name, None);
                    open.push(path);
                } else if path.is_file() {
                    found.insert(name, Some(std::fs::read(&path).unwrap()));
                }
            }
        }
        found
    }

    /// The next run, and where it refuses, a human who looks outside, and the run
    /// after that.
    pub(crate) fn goes_on(&self) -> i32 {
        match self.run() {
            3 => {
                let verb = if self.told() == 0 { Verb::Redo } else { Verb::Done };
                settle(&self.folder(), "power", "tell", verb);
                self.run()
            }
            ended => ended,
        }
    }
}

pub(crate) fn run_on(disk: &dyn Disk) -> i32 {
    match try_run_on(disk) {
        Ok(status) => status,
        Err(error) => panic!("it cannot begin: {error:?}"),
    }
}

pub(crate) fn try_run_on(disk: &dyn Disk) -> Result<i32, CannotBegin> {
    let (_, signals) = signals();
    with_setting(disk, |setting| {
        loop {
            match run(setting, &Options::default(), &signals, &mut |_| {}) {
                // What another test has only just started holds all that we hold until
                // it becomes another program.
                Err(CannotBegin::Busy(_)) => std::thread::yield_now(),
                ended => return ended.map(|ended| ended.report.status()),
            }
        }
    })
}

pub(crate) fn with_setting<T>(disk: &dyn Disk, act: impl FnOnce(&Setting<'_>) -> T) -> T {
    let text = std::fs::read_to_string(disk.root().join("semel.toml")).unwrap();
    library::with_setting(disk, &text, act)
}
