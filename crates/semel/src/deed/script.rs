//! Scripts: a run for the life of a shell, of which many processes do a task each.
//!
//! The keeper of the script holds the run: its lease, its row in the manifest, its folder
//! in staging. It is no child of the shell, and what it holds is inherited by nobody. The
//! steps find the run in [`VARIABLE`]; each notes in the run's folder what it comes to
//! and how that ended, and the keeper makes the record of the run out of these notes.
//!
//! Invariants: *I4* a step of a script begins nothing unless the script's run is held.
//! The record of a run tells no more than its notes, and a script that died without a
//! word has none that ended.
//!
//! *On disk*: `.semel/staging/RUN/notes`, lines of JSON, each appended by one call;
//! `.semel/staging/RUN/came-to/TASK`, empty, for each task without an item that reached
//! its state; `.semel/staging/RUN/shell/`, where the shell puts what its functions need;
//! `.semel/staging/RUN/ended`, the exit status of the script.
//!
//! *If we die here*: the run is dead, and the next one makes its record out of the notes.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::deed::lease;
use crate::ground::home::Home;
use crate::ground::manifest::{Manifest, ManifestResult};
use crate::ground::world::disk::{Disk, DiskError};
use crate::words::run::{Counts, RunStep};
use crate::words::task::{Instance, TaskName, decode, encode};

/// The variable in which the steps of a script find its run.
pub const VARIABLE: &str = "SEMEL_SCRIPT";

/// The notes of a run.
const NOTES: &str = "notes";

/// What was come to, without an item.
const CAME_TO: &str = "came-to";

/// What the shell puts there.
const SHELL: &str = "shell";

/// The exit status of the script.
const ENDED: &str = "ended";

/// A script's run, as its steps know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Its number, for people.
    pub number: i64,
    /// Its unique id.
    pub run_id: String,
    /// The process that holds it.
    pub keeper: u32,
    /// The script's name: that of the pipeline.
    pub name: String,
    /// The folder with the manifest.
    pub folder: PathBuf,
}

impl Script {
    /// As the variable holds it.
    #[must_use]
    pub fn to_variable(&self) -> String {
        let Self { number, run_id, keeper, name, folder } = self;
        let name = encode(name.as_bytes());
        format!("{number}:{run_id}:{keeper}:{name}:{}", folder.display())
    }

    /// Reads the variable.
    ///
    /// ```
    /// use semel::deed::script::Script;
    /// let script = Script::of_variable("12:0192a3-77:4121:nightly:/srv/a:b").unwrap();
    /// assert_eq!((script.number, script.name.as_str()), (12, "nightly"));
    /// assert_eq!(script.folder, std::path::Path::new("/srv/a:b"));
    /// ```
    #[must_use]
    pub fn of_variable(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, ':');
        Some(Self {
            number: parts.next()?.parse().ok()?,
            run_id: parts.next()?.to_owned(),
            keeper: parts.next()?.parse().ok()?,
            name: String::from_utf8(decode(parts.next()?)?).ok()?,
            folder: PathBuf::from(parts.next()?),
        })
    }

    fn home(&self) -> Home {
        Home::in_folder(&self.folder)
    }

    fn staging(&self) -> PathBuf {
        self.home().staging_of(&self.run_id)
    }

    /// Where the shell puts what its functions need.
    #[must_use]
    pub fn shell(&self) -> PathBuf {
        self.staging().join(SHELL)
    }

    /// Whether its run is held: whatever is begun without that is unguarded.
    ///
    /// # Errors
    /// If its lock cannot be asked.
    pub fn is_held(&self) -> io::Result<bool> {
        lease::is_held(&self.home().run_lock(&self.run_id))
    }

    /// Whether it came to this task before, in this run, and reached its state.
    #[must_use]
    pub fn came_to(&self, task: &TaskName) -> bool {
        self.came_to_at(task).exists()
    }

    /// Notes that a task reached its state.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub fn has_come_to(&self, task: &TaskName) -> io::Result<()> {
        match OpenOptions::new().write(true).create_new(true).open(self.came_to_at(task)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made.map(drop),
        }
    }

    fn came_to_at(&self, task: &TaskName) -> PathBuf {
        let lock = self.home().task_lock("", task);
        self.staging().join(CAME_TO).join(lock.file_name().unwrap_or_default())
    }

    /// The notes of its run, to be added to. While somebody has them the run does not end.
    ///
    /// # Errors
    /// If they cannot be opened, or the run is ending.
    pub fn notes(&self) -> io::Result<Notes> {
        let file = OpenOptions::new().append(true).open(self.staging().join(NOTES))?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Notes(file)),
            Err(TryLockError::WouldBlock) => Err(io::Error::other("it is ending")),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Tells the keeper how the script ended. If it is `over`, nothing of the script comes
    /// after; else the keeper waits for the end of its shell.
    ///
    /// # Errors
    /// If it cannot be told.
    pub fn tell_end(&self, status: i32, over: bool) -> io::Result<()> {
        let told = serde_json::to_vec(&End { status, over }).map_err(io::Error::other)?;
        let (path, draft) = (self.staging().join(ENDED), self.staging().join("ended.new"));
        std::fs::write(&draft, told)?;
        std::fs::rename(draft, path)?;
        let keeper = i32::try_from(self.keeper).ok().and_then(Pid::from_raw);
        let keeper = keeper.ok_or(io::ErrorKind::NotFound)?;
        if !self.is_held()? {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(kill_process(keeper, Signal::USR1)?)
    }

    /// Waits until nobody holds its run any more.
    ///
    /// # Errors
    /// If its lock cannot be asked.
    pub fn wait_for_end(&self) -> io::Result<()> {
        while self.is_held()? {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// How the script said that it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit status.
    pub status: i32,
    /// Whether nothing of it comes after.
    pub over: bool,
}

/// What the script of a run said of its end, if it did.
#[must_use]
pub fn end_of(home: &Home, run_id: &str) -> Option<End> {
    let told = std::fs::read(home.staging_of(run_id).join(ENDED)).ok()?;
    serde_json::from_slice(&told).ok()
}

/// The notes of a run.
#[derive(Debug)]
pub struct Notes(File);

impl Notes {
    /// Adds a note. Gives the place among all notes at which it ends, which no other has.
    ///
    /// # Errors
    /// If it cannot be written: its disk is full.
    pub fn add(&self, note: &Note) -> io::Result<u64> {
        let mut line = serde_json::to_vec(note).map_err(io::Error::other)?;
        line.push(b'\n');
        // One call, so that no other's comes between.
        let written = (&self.0).write(&line)?;
        if written < line.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        (&self.0).stream_position()
    }
}

/// What a step notes of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Note {
    /// The step.
    pub step: String,
    /// Its instance.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub instance: String,
    /// Its item, encoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// How it ended; `None` while it is at work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<How>,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// Records in what it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What went wrong.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Of one that is at work, the process.
    pub pid: u32,
}

/// How a task of a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It was brought to its state by running.
    Ran,
    /// It was done already.
    Skipped,
    /// It was found done.
    Adopted,
    /// It failed.
    Failed,
    /// Its command, or the script, was ended.
    Stopped,
    /// It was refused.
    Refused,
    /// Somebody else is at work on it.
    Busy,
    /// Something that semel relies on does not work.
    Broken,
}

impl Note {
    /// The first note of a task.
    #[must_use]
    pub fn of(task: &TaskName) -> Self {
        Self {
            step: task.step.clone(),
            instance: task.instance.as_str().to_owned(),
            item: task.item.clone(),
            ..Self::default()
        }
    }
}

/// Prepares the folder of a script's run.
///
/// # Errors
/// If something cannot be made.
pub(super) fn make_room(home: &Home, run_id: &str) -> io::Result<()> {
    let folder = home.staging_of(run_id);
    std::fs::create_dir(folder.join(CAME_TO))?;
    // What a shell knows may be a secret.
    std::fs::DirBuilder::new().mode(0o700).create(folder.join(SHELL))?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(NOTES))?;
    Ok(())
}

/// The notes of a run that staged in this folder; none, where it is not one of a script.
/// A line that was torn is passed over.
///
/// # Errors
/// If they cannot be read.
pub fn notes(disk: &dyn Disk, folder: &Path) -> Result<Vec<Note>, DiskError> {
    let path = folder.join(NOTES);
    if disk.look(&path)?.is_none() {
        return Ok(Vec::new());
    }
    let failed = |source| DiskError { doing: "read", path: path.clone(), source };
    let text = std::fs::read(disk.root().join(&path)).map_err(failed)?;
    Ok(parsed(&text))
}

fn parsed(text: &[u8]) -> Vec<Note> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// What was done to each step, in the order in which the script came to them. Of a task
/// that it came to more than once the last counts.
#[must_use]
pub fn steps_of(notes: &[Note]) -> Vec<RunStep> {
    let mut last: HashMap<(&str, &str, Option<&str>), &Note> = HashMap::new();
    for note in notes {
        last.insert((&note.step, &note.instance, note.item.as_deref()), note);
    }
    let mut steps: Vec<RunStep> = Vec::new();
    let mut seen = HashSet::new();
    for note in notes {
        let key = (&*note.step, &*note.instance, note.item.as_deref());
        if !seen.insert(key) {
            continue;
        }
        let known = steps
            .iter()
            .position(|step| step.step == note.step && step.instance.as_str() == note.instance);
        let at = known.unwrap_or_else(|| {
            let (step, instance) = (note.step.clone(), note.instance.clone());
            let (instance, place) = (Instance::from_stored(instance), steps.len() as u64 + 1);
            steps.push(RunStep { step, instance, place, ..RunStep::default() });
            steps.len() - 1
        });
        count(&mut steps[at], last[&key]);
    }
    steps
}

fn count(step: &mut RunStep, note: &Note) {
    let counts = &mut step.counts;
    counts.total += 1;
    let which = match note.end {
        Some(How::Ran) => &mut counts.ran,
        Some(How::Skipped) => &mut counts.skipped,
        Some(How::Adopted) => &mut counts.adopted,
        Some(How::Failed | How::Broken) => &mut counts.failed,
        Some(How::Refused) => &mut counts.refused,
        Some(How::Busy) => &mut counts.busy,
        Some(How::Stopped) | None => &mut counts.untried,
    };
    *which += 1;
    step.seconds += note.took as f64 / 1000.0;
    step.rows = match (step.rows, note.rows) {
        (Some(rows), Some(more)) => Some(rows + more),
        (rows, more) => rows.or(more),
    };
    let is_reached = matches!(note.end, Some(How::Ran | How::Skipped | How::Adopted));
    if !is_reached && step.note.is_empty() {
        let item = note.item.as_ref().map_or_else(String::new, |item| format!("{item}: "));
        let why = if note.why.is_empty() { "cut short" } else { &note.why };
        step.note = format!("{item}{why}");
    }
}

/// The exit status of a script's run: the script's own, as semel says it; of one that
/// ended well, that of the worst of its steps.
#[must_use]
pub fn status_of(status: i32, notes: &[Note], steps: &[RunStep]) -> i32 {
    let any = |count: fn(&Counts) -> u64| steps.iter().any(|step| count(&step.counts) > 0);
    // A shell that dies of a signal has another status by then.
    let signal = notes.last().and_then(|last| last.signal);
    match status {
        _ if signal.is_some() => 128 + signal.unwrap_or(0),
        0 => {
            let mut last: HashMap<_, _> = HashMap::new();
            for note in notes {
                last.insert((&note.step, &note.instance, &note.item), note.end);
            }
            match () {
                () if last.values().any(|end| *end == Some(How::Broken)) => 5,
                () if any(|counts| counts.refused) => 3,
                () if any(|counts| counts.failed + counts.untried) => 1,
                () if any(|counts| counts.busy) => 4,
                () => 0,
            }
        }
        103..=105 => status - 100,
        129..=192 => status,
        _ => 1,
    }
}

/// How the run of a script ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit status of the script; `None` if it died without a word.
    pub status: Option<i32>,
    /// What it noted.
    pub notes: Vec<Note>,
    /// Nobody adds to that any more.
    pub(super) _held: Arc<Notes>,
}

impl Ended {
    /// What was done to each step.
    #[must_use]
    pub fn steps(&self) -> Vec<RunStep> {
        steps_of(&self.notes)
    }

    /// The exit status of the run, if it has one. A script that died without a word right
    /// after a step had failed died of that: zsh ends so, without its EXIT trap, where a
    /// function fails.
    #[must_use]
    pub fn run_status(&self) -> Option<i32> {
        let last = self.notes.last().and_then(|note| note.end);
        let has_failed = matches!(last, Some(How::Failed | How::Broken | How::Refused | How::Busy));
        let status = self.status.or(has_failed.then_some(0));
        status.map(|status| status_of(status, &self.notes, &self.steps()))
    }

    /// Makes the record of the run. One that died without a word has no end.
    pub(super) fn record(&self, manifest: &mut dyn Manifest, number: i64) -> ManifestResult<()> {
        let steps = self.steps();
        match self.run_status() {
            Some(status) => manifest.end_run(number, Timestamp::now(), status, &steps),
            None => manifest.close_dead_run(number, 1..=i64::MAX.unsigned_abs(), &[], &steps),
        }
    }
}

/// Waits for the steps of a run that are still at work; if the script is dead, they are
/// told to end, as by a Ctrl-C: what is done once may finish. Gives the notes, to which
/// nobody adds any more as long as they are held.
///
/// # Errors
/// If nobody can say whether they are at work.
pub(super) fn wait_for_steps(home: &Home, run_id: &str, is_dead: bool) -> io::Result<Notes> {
    let path = home.staging_of(run_id).join(NOTES);
    let file = OpenOptions::new().append(true).open(&path)?;
    if is_dead {
        let mut at_work = HashMap::new();
        for note in parsed(&std::fs::read(&path)?) {
            let task = (note.step, note.instance, note.item);
            match note.end {
                None => drop(at_work.insert(task, note.pid)),
                Some(_) => drop(at_work.remove(&task)),
            }
        }
        for pid in at_work.into_values() {
            // Whoever has that number now, if it is another, knows nothing of this run.
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let is_of_run = memchr::memmem::find(&environment, run_id.as_bytes()).is_some();
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).filter(|_| is_of_run);
            if let Some(pid) = pid {
                // One that ended meanwhile needs no telling.
                let _ = kill_process(pid, Signal::INT);
            }
        }
    }
    file.lock()?;
    Ok(Notes(file))
}

/// What the shell put in a file.
///
/// # Errors
/// If it cannot be read.
pub(super) fn read_state(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    io::Read::read_to_end(&mut File::open(path)?, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(step: &str, item: Option<&str>, end: Option<How>) -> Note {
        Note { step: step.to_owned(), item: item.map(str::to_owned), end, ..Note::default() }
    }

    #[test]
    fn the_last_note_of_a_task_counts_and_steps_stand_in_the_order_of_the_script() {
        let notes = [
            note("fetch", None, None),
            note("fetch", None, Some(How::Failed)),
            note("copy", Some("b"), Some(How::Skipped)),
            note("copy", Some("a"), None),
            note("fetch", None, None),
            note("fetch", None, Some(How::Ran)),
        ];
        let steps = steps_of(&notes);
        let names: Vec<_> = steps.iter().map(|step| (&*step.step, step.place)).collect();
        assert_eq!(names, [("fetch", 1), ("copy", 2)]);
        assert_eq!(steps[0].counts, Counts { total: 1, ran: 1, ..Counts::default() });
        let counts = Counts { total: 2, skipped: 1, untried: 1, ..Counts::default() };
        assert_eq!((steps[1].counts, &*steps[1].note), (counts, "a: cut short"));
    }

    #[test]
    fn a_script_that_says_all_is_well_is_not_believed_beside_its_steps() {
        let status = |script, ends: &[Option<How>]| {
            let notes: Vec<_> = ends
                .iter()
                .enumerate()
                .map(|(at, end)| note(&at.to_string(), None, *end))
                .collect();
            status_of(script, &notes, &steps_of(&notes))
        };
        assert_eq!(status(0, &[Some(How::Ran), Some(How::Skipped)]), 0);
        assert_eq!(status(0, &[]), 0);
        assert_eq!(status(0, &[Some(How::Failed)]), 1);
        assert_eq!(status(0, &[Some(How::Failed), Some(How::Refused)]), 3);
        assert_eq!(status(0, &[Some(How::Broken), Some(How::Refused)]), 5);
        assert_eq!(status(0, &[Some(How::Busy)]), 4);
        assert_eq!(status(0, &[None]), 1);
        assert_eq!(status(7, &[Some(How::Ran)]), 1);
        assert_eq!(status(103, &[Some(How::Ran)]), 3);
        assert_eq!(status(143, &[]), 143);
    }
}
