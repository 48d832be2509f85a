//! Writing down what is unsafe to repeat: first in `once.log`, then in the manifest.
//!
//! Invariants: *I3* an intent is durable in both before the action begins; where
//! `once.log` cannot be written, it does not begin. A receipt is kept wherever it
//! can be kept. Lines are numbered, and the manifest notes with each entry up to
//! which line it knows the log, so that what is missing in it can be taken over.
//!
//! Before an action begins, the log is asked whether it knows of the task what the
//! manifest does not: SQLite keeps no checksums, and a byte that changed in a closed
//! file can make a task look as if it had never been, while each line of the log has
//! one. That costs a run nothing in which no `once` task begins, and the others one
//! reading of the log.
//!
//! *If we die* between the log and the manifest, the next run takes the line over,
//! see [`crate::deed::memory`]. From before the first to after the second a gate is
//! held, so that whoever takes lines over never takes one that is only on its way.

use std::collections::HashSet;

use crate::deed::lease::Gate;
use crate::deed::memory;
use crate::ground::home::Home;
use crate::ground::manifest::{
    Acceptance, Entry, Manifest, ManifestError, ManifestResult, Resolution,
};
use crate::ground::once_log::{self, End};
use crate::ground::world::disk::{Disk, DiskError};
use crate::words::once::{Doer, Line, Says, Tale, Told, Tried, VERSION};
use crate::words::run::By;
use crate::words::task::{Instance, TaskName};
use jiff::Timestamp;

/// Writes entries of `once` tasks, for one run.
pub struct OnceWriter<'a> {
    disk: &'a dyn Disk,
    home: &'a Home,
    by: Doer,
    /// The manifest's id.
    manifest: String,
    /// The last number that is known.
    last: u64,
    /// Whether a line is in the log that could not be written to the manifest.
    is_behind: bool,
    /// Whether it wrote a line.
    has_written: bool,
    /// What the log told when the first task was to begin.
    log: Option<Tale>,
    /// The tasks that were begun since.
    begun: HashSet<TaskName>,
    /// The tasks that did not begin, though they were to. Nothing more is written of them.
    forgotten: HashSet<TaskName>,
}

/// What became of an entry.
pub struct Written {
    /// Whether it counts.
    pub result: Result<(), String>,
    /// What else went wrong.
    pub complaint: Option<String>,
}

impl<'a> OnceWriter<'a> {
    /// A writer for a run.
    ///
    /// # Errors
    /// If the manifest cannot be asked.
    pub fn new(
        disk: &'a dyn Disk,
        home: &'a Home,
        manifest: &dyn Manifest,
        by: Doer,
    ) -> ManifestResult<Self> {
        let last = manifest.known_lines()?.into_values().max().unwrap_or(0);
        let manifest = manifest.identity()?.id;
        Ok(Self {
            disk,
            home,
            by,
            manifest,
            last,
            is_behind: false,
            has_written: false,
            log: None,
            begun: HashSet::new(),
            forgotten: HashSet::new(),
        })
    }

    /// Writes an entry to the log, and then to the manifest.
    pub fn write(&mut self, manifest: &mut dyn Manifest, pipeline: &str, entry: &Entry) -> Written {
        let begins = match entry {
            Entry::Begin { attempt, .. } => Some(&attempt.task),
            _ => None,
        };
        if let Entry::End { attempt, .. } = entry
            && self.forgotten.contains(&attempt.task)
        {
            return Written { result: Ok(()), complaint: None };
        }
        let gate = match Gate::pass_at(&self.home.once_gate()) {
            Ok(gate) => gate,
            Err(error) => {
                let why = format!("once.log: its gate cannot be used: {error}");
                return match begins {
                    Some(task) => self.refused(task, why),
                    None => self.unlogged(manifest, pipeline, entry, why),
                };
            }
        };
        // On a network file system not even what has happened is told: nothing would keep us
        // and whoever has the folder now apart.
        if let (None, Err(error @ ManifestError::Expired(_))) = (begins, manifest.verify_lease()) {
            return Written { result: Err(self.complaint(&error)), complaint: None };
        }
        let behind = self.catch_up(manifest).map_err(|error| self.complaint(&error));
        if let Some(task) = begins {
            let may_begin = behind.clone().and_then(|()| {
                // What has happened is told in any case, but nothing is begun under a lease
                // that somebody else has.
                manifest.verify_lease().map_err(|error| self.complaint(&error))?;
                self.ask_the_log(manifest, pipeline, task)
            });
            if let Err(why) = may_begin {
                return self.refused(task, why);
            }
        }
        let seq = match (self.log(pipeline, entry), begins) {
            (Ok(seq), _) => seq,
            (Err(why), Some(task)) => return self.refused(task, why),
            // It has happened: it must be kept where it can be.
            (Err(why), None) => return self.unlogged(manifest, pipeline, entry, why),
        };
        if let Some(task) = begins {
            self.forgotten.remove(task);
        }
        let marked = mark(self.disk, &self.manifest, seq);
        let written = behind.and_then(|()| {
            let written = manifest.write_logged(pipeline, entry, (&self.manifest, seq));
            written.map_err(|error| self.complaint(&error))
        });
        // Nothing that comes after a line which is not known may be noted as known.
        self.is_behind = written.is_err();
        drop(gate);
        Written { result: written, complaint: marked.err().map(|error| error.to_string()) }
    }

    /// A task that does not begin. What were said of its end would be read as if it had
    /// begun, and done nothing, whatever somebody else did.
    fn refused(&mut self, task: &TaskName, why: String) -> Written {
        self.forgotten.insert(task.clone());
        Written { result: Err(why), complaint: None }
    }

    /// Asks the log whether it knows of a task what the manifest does not, before an
    /// action begins; fails if so.
    fn ask_the_log(
        &mut self,
        manifest: &dyn Manifest,
        pipeline: &str,
        task: &TaskName,
    ) -> Result<(), String> {
        // What this run has begun itself it begins again only where that did nothing.
        if !self.begun.insert(task.clone()) && !self.forgotten.contains(task) {
            return Ok(());
        }
        if self.log.is_none() {
            let read = once_log::read(self.disk, &self.home.once_log());
            let read = read.map_err(|error| format!("once.log: {error}"))?;
            self.log = Some(Tale::of(&read.lines));
        }
        let Some(log) = &self.log else { return Ok(()) };
        let told = log.told_of(pipeline, task);
        let forgets = match told {
            Told::MayBegin => false,
            // Only a check, or what the manifest knows of it, can have said that it may
            // be begun again.
            Told::Begun => {
                let memory = manifest.memory_of(pipeline, &task.step, &task.instance);
                let memory = memory.map_err(|error| self.complaint(&error))?;
                let item = task.item.as_deref().unwrap_or_default();
                !memory.open.iter().any(|attempt| attempt.item == item)
            }
            // It is done again only on a human's word, which is not asked for here: that
            // the manifest knows what is done again.
            Told::Done => {
                let memory = manifest.memory_of(pipeline, &task.step, &task.instance);
                let memory = memory.map_err(|error| self.complaint(&error))?;
                let item = task.item.as_deref().unwrap_or_default();
                !memory.receipts.iter().any(|receipt| &*receipt.item == item)
            }
        };
        if forgets {
            let why = format!("once.log has what it does not know of {task}");
            return Err(self.complaint(&ManifestError::Damaged(why)));
        }
        Ok(())
    }

    /// Keeps an entry in the manifest only.
    fn unlogged(
        &self,
        manifest: &mut dyn Manifest,
        pipeline: &str,
        entry: &Entry,
        why_not_logged: String,
    ) -> Written {
        let written = manifest.write(pipeline, std::slice::from_ref(entry));
        let result = written.into_iter().collect::<ManifestResult<()>>();
        let result = result.map_err(|error| self.complaint(&error));
        Written { result, complaint: Some(why_not_logged) }
    }

    /// What the manifest said no with, in words.
    pub(super) fn complaint(&self, error: &ManifestError) -> String {
        memory::complaint(self.home, error)
    }

    /// Takes over lines that could not be written to the manifest before.
    fn catch_up(&self, manifest: &mut dyn Manifest) -> ManifestResult<()> {
        if self.is_behind {
            memory::take_over(self.disk, self.home, manifest)?;
        }
        Ok(())
    }

    /// Appends an entry to the log; gives its number.
    fn log(&mut self, pipeline: &str, entry: &Entry) -> Result<u64, String> {
        let path = self.home.once_log();
        let end = once_log::end(self.disk, &path).map_err(|error| format!("once.log: {error}"))?;
        let seq = next(&end, self.last);
        let Some(line) = self.line(pipeline, entry, seq) else {
            return Ok(self.last);
        };
        once_log::append(self.disk, &path, &end, &[line], !self.has_written)
            .map_err(|error| error.to_string())?;
        self.has_written = true;
        self.last = seq;
        Ok(seq)
    }

    /// The line of an entry; what a check answered needs none.
    fn line(&self, pipeline: &str, entry: &Entry, seq: u64) -> Option<Line> {
        let (task, at, says) = match entry {
            Entry::Held { .. } => return None,
            Entry::Begin { attempt, said } => {
                let says = Says::Intent(Tried::of(attempt, &self.by, said.is_some()));
                (&attempt.task, attempt.began, says)
            }
            Entry::End { attempt, end, said } => {
                let says = Says::end(attempt, end, &self.by, said.is_some());
                (&attempt.task, end.ended, says)
            }
            Entry::Complete { receipt, said, .. } => {
                let says = Says::receipt(receipt, &self.by, said.is_some());
                (&receipt.task, receipt.at, says)
            }
        };
        Some(line(&self.manifest, seq, at, pipeline, task, says))
    }
}

/// Keeps what a human said of tasks, those that are unsafe to repeat in the log too.
///
/// # Errors
/// If it cannot be kept. Where only the manifest said no, the next run takes it over
/// from the log.
pub fn settle(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
    pipeline: &str,
    said: &[Resolution],
    is_once: impl Fn(&TaskName) -> bool,
) -> ManifestResult<()> {
    let once: Vec<_> = said.iter().filter(|said| is_once(&said.task)).collect();
    if once.is_empty() {
        return manifest.settle(pipeline, said);
    }
    say(disk, home, manifest, &|manifest| manifest.settle(pipeline, said), &|first, id| {
        let lines = (first..).zip(&once).map(|(seq, said)| {
            let says = Says::Settled {
                verb: said.verb.name().to_owned(),
                without_outputs: said.without_outputs,
                because: said.because.clone(),
                host: said.by.host.clone(),
                user: said.by.user.clone(),
                pid: said.by.pid,
            };
            line(id, seq, said.at, pipeline, &said.task, says)
        });
        lines.collect()
    })
}

/// Keeps a human's word that the memory is whole: what it does not know did not happen.
///
/// # Errors
/// As [`settle`].
pub fn accept(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
    pipeline: &str,
    word: &Acceptance,
) -> ManifestResult<()> {
    let By { host, user, pid } = word.by.clone();
    let says = Says::Accepted { because: word.because.clone(), host, user, pid };
    // It is said of no task.
    let nothing = TaskName::new("", &Instance::default(), None);
    say(disk, home, manifest, &|manifest| manifest.accept(word), &|seq, id| {
        vec![line(id, seq, word.at, pipeline, &nothing, says.clone())]
    })
}

/// Keeps what a human says: first in the log, in `lines` from a number on, beside the
/// manifest of an id, then in the manifest.
fn say(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
    keep: &dyn Fn(&mut dyn Manifest) -> ManifestResult<()>,
    lines: &dyn Fn(u64, &str) -> Vec<Line>,
) -> ManifestResult<()> {
    let gate = home.once_gate();
    let _gate = Gate::pass_at(&gate).map_err(|source| DiskError {
        doing: "lock",
        path: gate.clone(),
        source,
    })?;
    let id = manifest.identity()?.id;
    let known = manifest.known_lines()?.into_values().max().unwrap_or(0);
    let end = once_log::end(disk, &home.once_log())?;
    let first = next(&end, known);
    let lines = lines(first, &id);
    let last = lines.last().map_or(first, |line| line.seq);
    // Lines that are behind are not taken for known because of these.
    let is_current = end.last.as_ref().is_none_or(|line| line.seq <= known);
    once_log::append(disk, &home.once_log(), &end, &lines, true)?;
    keep(manifest)?;
    if is_current {
        manifest.note_line(&id, last)?;
    }
    Ok(mark(disk, &id, last)?)
}

fn next(end: &End, known: u64) -> u64 {
    end.last.as_ref().map_or(0, |line| line.seq).max(known) + 1
}

fn line(
    manifest: &str,
    seq: u64,
    at: Timestamp,
    pipeline: &str,
    task: &TaskName,
    says: Says,
) -> Line {
    Line {
        v: VERSION,
        manifest: manifest.to_owned(),
        seq,
        at,
        pipeline: pipeline.to_owned(),
        step: task.step.clone(),
        instance: task.instance.as_str().to_owned(),
        item: task.item.clone().unwrap_or_default(),
        says,
    }
}

/// Marks the pipeline's folder with the last line, so that it is seen when
/// `.semel/` is put back as it was before.
fn mark(disk: &dyn Disk, manifest: &str, seq: u64) -> Result<(), DiskError> {
    // Where the file system keeps none, this cannot be seen.
    let _is_kept = disk.put_mark(disk.root(), format!("{manifest} {seq}").as_bytes())?;
    Ok(())
}

/// The mark on a folder: the manifest that put it there, and the number of its last
/// line then.
///
/// # Errors
/// If it cannot be read.
pub fn read_mark(disk: &dyn Disk) -> Result<Option<(String, u64)>, DiskError> {
    let Some(mark) = disk.mark(disk.root())? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&mark);
    let (manifest, seq) = text.split_once(' ').unwrap_or((&text, ""));
    // One that cannot be understood is a sign of a memory all the same.
    Ok(Some((manifest.to_owned(), seq.parse().unwrap_or(u64::MAX >> 1))))
}
