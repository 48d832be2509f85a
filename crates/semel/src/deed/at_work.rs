//! Attempts at work: each holds a lock that its command inherits, so that a command
//! which outlives semel keeps its task.
//!
//! The keeper of a run ends its commands when semel dies. Where both were killed, a
//! command may go on writing; then nobody knows but the kernel, which frees the lock
//! when the last process is gone that has it.
//!
//! Invariants: *I10* a task whose attempt is at work is neither begun nor cleaned up
//! after by anybody else. The lock of an attempt is given up, for all who have it,
//! when the attempt is over: a server that a command left behind keeps nobody out.
//!
//! *On disk*: `.semel/staging/RUN/at-work/N`, a line of JSON that tells the attempt;
//! `N` is free for another once the lock is.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deed::lease;
use crate::ground::home::Home;
use crate::ground::world::disk::DiskError;
use crate::ground::world::process::{self, Seen};
use crate::words::task::{Instance, TaskName};

/// The folder of the locks, in that of the run.
pub(crate) const FOLDER: &str = "at-work";

/// An attempt that is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// The unique id of its run.
    pub run_id: String,
    /// The number of its run, for people.
    pub run: i64,
    /// Its number in the run.
    pub number: u64,
    /// The pipeline.
    pub pipeline: String,
    /// The task.
    pub task: TaskName,
    /// When it began.
    pub since: Timestamp,
    /// Its lock.
    lock: PathBuf,
}

/// An attempt, as its lock file tells it.
#[derive(Serialize, Deserialize)]
struct Told {
    run: i64,
    number: u64,
    pipeline: String,
    step: String,
    instance: String,
    item: Option<String>,
    since: Timestamp,
}

impl AtWork {
    /// The processes that have its lock.
    #[must_use]
    pub fn processes(&self) -> Vec<Seen> {
        process::holders(&self.lock)
    }

    /// Its lock.
    #[must_use]
    pub fn lock(&self) -> &Path {
        &self.lock
    }

    /// Whether its processes are being ended: by the keeper of its run, or dying. Or
    /// nobody can be seen to have its lock any more.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        let processes = self.processes();
        processes.iter().all(|seen| seen.is_dying) || processes.iter().any(Seen::is_keeper)
    }

    /// Whether it is at work still.
    ///
    /// # Errors
    /// If its lock cannot be asked.
    pub fn is_still(&self) -> io::Result<bool> {
        lease::is_held(&self.lock)
    }
}

/// The attempts of a run that are at work.
///
/// # Errors
/// If the locks cannot be looked at.
pub fn of_run(home: &Home, run_id: &str) -> Result<Vec<AtWork>, DiskError> {
    let folder = home.staging_of(run_id).join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DiskError { doing: "look at", path, source }
    };
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed(&folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let lock = entry.map_err(failed(&folder))?.path();
        if !lease::is_held(&lock).map_err(failed(&lock))? {
            continue;
        }
        let text = std::fs::read(&lock).map_err(failed(&lock))?;
        // It may be only just writing what it is.
        let Ok(told) = serde_json::from_slice::<Told>(&text) else {
            continue;
        };
        let Told { run, number, pipeline, step, instance, item, since } = told;
        let task = TaskName { step, instance: Instance::from_stored(instance), item };
        let run_id = run_id.to_owned();
        found.push(AtWork { run_id, run, number, pipeline, task, since, lock });
    }
    found.sort_unstable_by_key(|at_work| at_work.number);
    Ok(found)
}

/// The attempts that outlived their runs, but for those that are being ended.
///
/// # Errors
/// If the runs or their locks cannot be looked at.
pub fn orphans(home: &Home) -> Result<Vec<AtWork>, DiskError> {
    let mut orphans = of_runs(home, false)?;
    orphans.retain(|orphan| !orphan.is_ending());
    Ok(orphans)
}

/// The attempts of runs that are alive.
///
/// # Errors
/// If the runs or their locks cannot be looked at.
pub fn alive(home: &Home) -> Result<Vec<AtWork>, DiskError> {
    of_runs(home, true)
}

fn of_runs(home: &Home, alive: bool) -> Result<Vec<AtWork>, DiskError> {
    let mut found = Vec::new();
    for run_id in runs(home)? {
        let lock = home.run_lock(&run_id);
        let is_alive = lease::is_held(&lock).map_err(|source| DiskError {
            doing: "look at",
            path: lock,
            source,
        })?;
        if is_alive == alive {
            found.extend(of_run(home, &run_id)?);
        }
    }
    Ok(found)
}

/// The runs that staged something, alive or dead.
fn runs(home: &Home) -> Result<Vec<String>, DiskError> {
    let staging = home.staging();
    let entries = match std::fs::read_dir(&staging) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries,
    };
    let names = entries.and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    });
    names.map_err(|source| DiskError { doing: "list", path: staging, source })
}

/// The locks of a run's attempts.
#[derive(Clone, Debug)]
pub(crate) struct Locks(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    folder: PathBuf,
    run: i64,
    pipeline: String,
    names: Mutex<Names>,
}

/// The names of lock files.
#[derive(Debug, Default)]
struct Names {
    /// How many there are.
    made: usize,
    /// Those that nobody uses, with the lengths of their texts.
    free: Vec<(usize, usize)>,
}

impl Locks {
    /// The locks of a run, which stages in `folder`.
    pub(crate) fn of(folder: &Path, run: i64, pipeline: &str) -> Self {
        let (folder, pipeline) = (folder.join(FOLDER), pipeline.to_owned());
        Self(Arc::new(Shelf { folder, run, pipeline, names: Mutex::default() }))
    }

    /// An attempt begins its work: its lock is held until it is over.
    ///
    /// # Errors
    /// If its lock cannot be had.
    pub(crate) fn begin(&self, task: TaskName, number: u64) -> Result<Lock, DiskError> {
        let shelf = &self.0;
        let (name, before) = {
            let mut names = shelf.names.lock().expect("nobody panics while holding it");
            names.free.pop().unwrap_or_else(|| {
                names.made += 1;
                (names.made, 0)
            })
        };
        let path = shelf.folder.join(name.to_string());
        let held = self.hold(&path, before, task, number);
        let (file, length) = held.map_err(|source| {
            // Nobody knows how long it is now.
            shelf.put_back(name, usize::MAX);
            DiskError { doing: "lock", path, source }
        })?;
        Ok(Lock { file, name, length, shelf: Arc::clone(shelf) })
    }

    /// Holds a lock file whose text was so long before; gives how long it is now.
    fn hold(
        &self,
        path: &Path,
        before: usize,
        task: TaskName,
        number: u64,
    ) -> io::Result<(File, usize)> {
        let open = || File::options().write(true).create(true).truncate(false).open(path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::fs::create_dir_all(&self.0.folder)?;
                open()?
            }
            opened => opened?,
        };
        // Nobody else has it but for the moment in which they ask who is at work.
        file.lock()?;
        let Shelf { run, pipeline, .. } = &*self.0;
        let told = Told {
            run: *run,
            number,
            pipeline: pipeline.clone(),
            step: task.step,
            instance: task.instance.as_str().to_owned(),
            item: task.item,
            since: Timestamp::now(),
        };
        let mut text = serde_json::to_vec(&told)?;
        // Most are of one length then, and written over the one before.
        text.resize(text.len().next_multiple_of(256), b' ');
        if before > text.len() {
            file.set_len(0)?;
        }
        file.write_all(&text)?;
        Ok((file, text.len()))
    }
}

impl Shelf {
    fn put_back(&self, name: usize, length: usize) {
        self.names.lock().expect("nobody panics while holding it").free.push((name, length));
    }
}

/// The lock of an attempt; the attempt is over when it is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct Lock {
    file: File,
    name: usize,
    length: usize,
    shelf: Arc<Shelf>,
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // For all who have it: also for what the command left behind. If that fails it
        // is held while they live, and the name is not used again.
        if self.file.unlock().is_ok() {
            self.shelf.put_back(self.name, self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(item: &str) -> TaskName {
        TaskName::new("load", &Instance::of(["2013-02"]), Some(item))
    }

    #[test]
    fn who_is_at_work_is_known_until_it_is_over() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let home = Home::in_folder(folder.path());
        let locks = Locks::of(&home.staging_of("r"), 7, "nightly");
        let first = locks.begin(task("a very long name"), 1).expect("free");
        let second = locks.begin(task("b"), 2).expect("free");
        let at_work = of_run(&home, "r").expect("it can be asked");
        let names: Vec<_> = at_work.iter().map(|at_work| at_work.task.to_string()).collect();
        assert_eq!(names, ["load@2013-02:a very long name", "load@2013-02:b"]);
        assert_eq!((at_work[0].run, at_work[0].number), (7, 1));
        drop(first);
        assert!(!at_work[0].is_still().expect("it can be asked"));
        let third = locks.begin(task("c"), 3).expect("free");
        let at_work = of_run(&home, "r").expect("it can be asked");
        let numbers: Vec<_> = at_work.iter().map(|at_work| at_work.number).collect();
        assert_eq!(numbers, [2, 3]);
        let files = std::fs::read_dir(home.staging_of("r").join(FOLDER)).expect("it is there");
        assert_eq!(files.count(), 2, "files are used again");
        drop((second, third));
        assert_eq!(orphans(&home).expect("it can be asked"), []);
    }

    #[test]
    fn what_is_left_behind_holds_nothing_once_the_attempt_is_over() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let home = Home::in_folder(folder.path());
        let locks = Locks::of(&home.staging_of("r"), 7, "nightly");
        let lock = locks.begin(task("a"), 1).expect("free");
        let left_behind = lock.as_fd().try_clone_to_owned().expect("a descriptor");
        drop(lock);
        assert_eq!(of_run(&home, "r").expect("it can be asked"), []);
        let again = locks.begin(task("b"), 2).expect("free");
        drop(again);
        drop(left_behind);
    }
}
