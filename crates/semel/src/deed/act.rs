//! Acting: one attempt at a task, up to outputs that are whole and staged.
//!
//! In order: the intent, where the task is unsafe to repeat; the command,
//! against staged paths; its exit status; the outputs, and what is expected of
//! them; the inputs, once more. Only what passed all of it is [`Staged`], and
//! only that can be published.
//!
//! Invariant: *I3* before the action of a `once` task begins, its intent is
//! committed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::deed::log::{RunLog, Spool};
use crate::deed::look::{Sight, wrong_kind};
use crate::deed::stage::{Place, Staging};
use crate::deed::view::{Input, Seen, StepView};
use crate::deed::{Site, command};
use crate::ground::digests;
use crate::ground::world::disk::{DiskError, Kind, Meta};
use crate::ground::world::process::{End, Order, Stop, Streams, start};
use crate::words::path::show;
use crate::words::pipeline::Expect;
use crate::words::receipt::{Failure, LogRange};
use crate::words::rows::Records;
use crate::words::task::Task;

/// What an attempt is made of.
pub struct Job<'a> {
    /// The step.
    pub view: &'a StepView<'a>,
    /// The task.
    pub task: &'a Task,
    /// What was seen of it.
    pub sight: &'a Sight,
    /// The attempt's number in the run.
    pub number: u64,
}

/// Where attempts take place.
pub struct Workshop<'a> {
    /// Where the run works.
    pub site: &'a Site<'a>,
    /// Where attempts write.
    pub staging: &'a Staging<'a>,
    /// What commands print.
    pub log: &'a RunLog,
}

/// Outputs that are whole, in staging.
#[must_use]
pub struct Staged {
    /// Where they are.
    pub(crate) place: Place,
    /// How they look, and what is in them.
    pub(crate) contents: Vec<Seen>,
    /// How long the action took.
    pub(crate) took: Duration,
}

/// How an attempt ended.
pub enum Acted {
    /// Well: its outputs are whole.
    Staged(Staged),
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether it provably did nothing.
        provably_undone: bool,
    },
    /// An input changed while it worked; this one.
    Void(PathBuf),
    /// It was stopped.
    Stopped,
}

/// An attempt that ended, and what it printed.
pub struct Attempted {
    /// How it ended.
    pub acted: Acted,
    /// Where its output stands.
    pub log: LogRange,
    /// The end of what it printed.
    pub tail: Vec<u8>,
    /// Why what it printed could not be kept.
    pub log_error: Option<String>,
}

impl Attempted {
    fn silent(acted: Acted) -> Self {
        Self { acted, log: LogRange::default(), tail: Vec::new(), log_error: None }
    }

    fn not_begun(failure: Failure) -> Self {
        Self::silent(Acted::Failed { failure, provably_undone: true })
    }
}

/// Makes an attempt: runs the command against staged paths.
///
/// `intend` commits the intent and is called before the command starts;
/// `ended` is called when the command ended, before its outputs are looked at.
pub fn attempt(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    stop: &Stop,
    intend: impl FnOnce() -> Result<(), Failure>,
    printed: &mut dyn FnMut(&[u8]),
    ended: impl FnOnce(),
) -> Attempted {
    let Job { view, task, sight, .. } = job;
    let site = workshop.site;
    let place = match workshop.staging.place(view.step, task, job.number) {
        Ok(place) => place,
        Err(error) => return Attempted::not_begun(Failure::Broken(error.to_string())),
    };
    if let Err(failure) = intend() {
        return clear(workshop, &place, Attempted::not_begun(failure));
    }
    let inputs = view.input_paths(&sight.own_inputs);
    let bindings = view.bindings(site, task, &inputs, &place.paths);
    let words = command::words(&view.step.action.command, &bindings);
    let name = task.name(&view.step.name, &view.instance).to_string();
    let env = command::env(view.step, &bindings, &name);
    let order =
        Order { words: &words, folder: site.disk.root(), env: &env, streams: Streams::Together };
    let began = Instant::now();
    let running = match start(&order) {
        Ok(running) => running,
        Err(error) => {
            let attempted =
                Attempted::not_begun(Failure::NotStarted(why_not_started(&error, &words)));
            return clear(workshop, &place, attempted);
        }
    };
    let mut spool = Spool::new(&site.home.staging_of(site.run_id), job.number);
    let mut log_error = None;
    let end = running.wait(view.step.timeout, stop, |_, bytes| {
        if let Err(error) = spool.take(bytes) {
            log_error = Some(error.to_string());
        }
        printed(bytes);
    });
    let took = began.elapsed();
    ended();
    let tail = spool.tail().to_vec();
    let log = spool.end(workshop.log).unwrap_or_else(|error| {
        log_error = Some(error.to_string());
        LogRange::default()
    });
    let ended_badly = match end {
        Ok(End::Exited(0)) => None,
        Ok(End::Exited(status)) => {
            Some(failed(Failure::Exit(status), view.step.safe_exits.contains(&status)))
        }
        Ok(End::Signalled(signal)) => Some(failed(Failure::Signal(signal), false)),
        Ok(End::TimedOut) => {
            let limit = view.step.timeout.unwrap_or_default();
            Some(failed(Failure::TimedOut(limit), false))
        }
        Ok(End::Stopped) => Some(Acted::Stopped),
        Err(error) => {
            Some(failed(Failure::Broken(format!("cannot wait for the command: {error}")), false))
        }
    };
    let inspected = match ended_badly {
        None => inspect(site, job, &place),
        Some(acted) => Err(acted),
    };
    let attempted = |acted| Attempted { acted, log, tail, log_error };
    match inspected {
        Ok(contents) => attempted(Acted::Staged(Staged { place, contents, took })),
        Err(acted) => clear(workshop, &place, attempted(acted)),
    }
}

/// Takes the outputs that a refused attempt left, on a human's word. They are
/// copied: the only ones there are stay where they are until there is a receipt.
///
/// # Errors
/// If they cannot be read, or are not what they must be.
pub fn take_kept(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    kept: &[PathBuf],
) -> Result<Staged, Failure> {
    let broken = |error: DiskError| Failure::Broken(error.to_string());
    let disk = workshop.site.disk;
    let place = workshop.staging.place(job.view.step, job.task, job.number).map_err(broken)?;
    for (from, to) in kept.iter().zip(&place.paths) {
        copy_all(disk, from, to).map_err(broken)?;
    }
    let contents = contents(workshop.site, job, &place)?;
    Ok(Staged { place, contents, took: Duration::ZERO })
}

/// Takes copies of the outputs of a task that did the same.
///
/// # Errors
/// If they cannot be copied, or changed meanwhile.
pub fn copy_twin(workshop: &Workshop<'_>, job: &Job<'_>) -> Result<Staged, Failure> {
    let broken = |error: DiskError| Failure::Broken(error.to_string());
    let disk = workshop.site.disk;
    let place = workshop.staging.place(job.view.step, job.task, job.number).map_err(broken)?;
    let twin = job.sight.twin.as_ref();
    for (role, to) in job.view.roles.iter().zip(&place.paths) {
        let original = twin.and_then(|twin| twin.outs().find(|out| out.name == *role));
        let original = original.ok_or_else(|| {
            Failure::BadEffect("the task with the same content has other outputs".to_owned())
        })?;
        copy_all(disk, &original.path, to).map_err(broken)?;
        let meta = disk.look_at_link(to).map_err(broken)?;
        let copied = meta.map(|meta| read_staged(workshop.site, to, &meta, None)).transpose()?;
        if copied.is_none_or(|copied| copied.content.digest != original.digest) {
            let what = format!("{} changed while it was copied", show(&original.path));
            return Err(Failure::BadEffect(what));
        }
    }
    let contents = contents(workshop.site, job, &place)?;
    Ok(Staged { place, contents, took: Duration::ZERO })
}

fn failed(failure: Failure, provably_undone: bool) -> Acted {
    Acted::Failed { failure, provably_undone }
}

/// Clears the place of an attempt that did not end well. What a `once` attempt
/// wrote is kept, unless it provably did nothing.
fn clear(workshop: &Workshop<'_>, place: &Place, mut attempted: Attempted) -> Attempted {
    let undone = matches!(attempted.acted, Acted::Failed { provably_undone: true, .. });
    let cleared =
        if undone { workshop.staging.clear(place) } else { workshop.staging.clear_failed(place) };
    if let Err(error) = cleared {
        attempted.acted = failed(Failure::Broken(error.to_string()), undone);
    }
    attempted
}

/// Looks at what a command that ended well left behind.
fn inspect(site: &Site<'_>, job: &Job<'_>, place: &Place) -> Result<Vec<Seen>, Acted> {
    let bad = |failure| failed(failure, false);
    let contents = contents(site, job, place).map_err(bad)?;
    match changed_input(site, job).map_err(bad)? {
        Some(path) => Err(Acted::Void(path)),
        None => Ok(contents),
    }
}

/// The contents of the staged outputs, held against what is expected of them.
fn contents(site: &Site<'_>, job: &Job<'_>, place: &Place) -> Result<Vec<Seen>, Failure> {
    let outs = job.view.step.outs.iter().zip(&*job.task.outs).zip(&place.paths);
    let mut contents = Vec::with_capacity(place.paths.len());
    for ((out, path), staged) in outs {
        let meta =
            site.disk.look_at_link(staged).map_err(|error| Failure::Broken(error.to_string()))?;
        let Some(meta) = meta else {
            let what = format!("it ended well, but did not write its output {}", show(path));
            return Err(Failure::BadEffect(what));
        };
        if let Some(why) = wrong_kind(out.folder, meta.kind) {
            return Err(Failure::BadEffect(format!("what it wrote as {} {why}", show(path))));
        }
        let wants_rows = job
            .view
            .step
            .expect
            .as_ref()
            .is_some_and(|expect| expect.rows.is_some() || expect.same_rows_as_in);
        let records = Records::of_name(path).or(wants_rows.then_some(Records::Lines));
        contents.push(read_staged(site, staged, &meta, records)?);
    }
    if let Some(expect) = &job.view.step.expect {
        meets(site, job, expect, &contents)?;
    }
    Ok(contents)
}

/// Reads a staged file or folder.
fn read_staged(
    site: &Site<'_>,
    staged: &Path,
    meta: &Meta,
    records: Option<Records>,
) -> Result<Seen, Failure> {
    let content = match meta.kind {
        Kind::Folder => digests::read_folder(site.disk, staged),
        _ => digests::read_settled(site.disk, staged, meta, records),
    };
    let content = content.map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(Seen { meta: *meta, content })
}

fn meets(
    site: &Site<'_>,
    job: &Job<'_>,
    expect: &Expect,
    contents: &[Seen],
) -> Result<(), Failure> {
    let rows_in = if expect.same_rows_as_in { Some(rows_of_inputs(site, job)?) } else { None };
    for (path, Seen { content, .. }) in job.task.outs.iter().zip(contents) {
        let rows = content.rows.unwrap_or(0);
        let says = |what: String| Err(Failure::BadEffect(format!("{} {what}", show(path))));
        if let Some(bound) = expect.rows.filter(|bound| !bound.holds(rows)) {
            return says(format!("has {rows} rows; expected {bound}"));
        }
        if let Some(bound) = expect.bytes.filter(|bound| !bound.holds(content.bytes)) {
            return says(format!("has {} bytes; expected {bound}", content.bytes));
        }
        if let Some(rows_in) = rows_in.filter(|rows_in| *rows_in != rows) {
            return says(format!("has {rows} rows; expected {rows_in}, as many as the input"));
        }
    }
    Ok(())
}

fn rows_of_inputs(site: &Site<'_>, job: &Job<'_>) -> Result<u64, Failure> {
    let mut rows = 0;
    for input in inputs_of(job) {
        let records = Records::of_name(&input.path).unwrap_or(Records::Lines);
        let content = digests::read(site.disk, &input.path, Some(records));
        let content = content.map_err(|error| Failure::BadInput(error.to_string()))?;
        rows += content.rows.unwrap_or(0);
    }
    Ok(rows)
}

fn inputs_of<'j>(job: &'j Job<'_>) -> impl Iterator<Item = &'j Input> {
    job.sight.item.iter().chain(&job.view.inputs).chain(&job.sight.own_inputs)
}

/// An input or a program that is not what it was when the attempt began.
fn changed_input(site: &Site<'_>, job: &Job<'_>) -> Result<Option<PathBuf>, Failure> {
    let broken = |error: DiskError| Failure::BadInput(error.to_string());
    for Input { path, seen, .. } in inputs_of(job).chain(&job.view.programs) {
        let Some(meta) = site.disk.look(path).map_err(broken)? else {
            return Ok(Some(path.clone()));
        };
        let is_as_seen = meta.kind == Kind::File && meta.stat == seen.meta.stat;
        if is_as_seen && seen.content.is_settled {
            continue;
        }
        let content = site.digests.content(site.disk, path, &meta, &mut 0).map_err(broken)?;
        if content.digest != seen.content.digest {
            return Ok(Some(path.clone()));
        }
    }
    Ok(None)
}

/// Copies a file, or a folder with all that is in it.
pub(super) fn copy_all(
    disk: &dyn crate::ground::world::disk::Disk,
    from: &Path,
    to: &Path,
) -> Result<(), DiskError> {
    match disk.look(from)? {
        Some(meta) if meta.kind == Kind::Folder => {
            disk.make_folders(to)?;
            for (name, kind) in digests::tree(disk, from)? {
                let target = to.join(&name);
                match kind {
                    Kind::Folder => drop(disk.make_folders(&target)?),
                    Kind::Link => disk.make_link(&disk.read_link(&from.join(&name))?, &target)?,
                    Kind::File | Kind::Other => disk.copy(&from.join(&name), &target)?,
                }
            }
            Ok(())
        }
        _ => disk.copy(from, to),
    }
}

/// Why a command could not be started, with its cure where that is known.
fn why_not_started(error: &std::io::Error, words: &[std::ffi::OsString]) -> String {
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("`{program}` was not found"),
        std::io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        std::io::ErrorKind::ArgumentListTooLong => {
            let bytes: usize = words.iter().map(|word| word.len()).sum();
            format!(
                "its command line is too long for the system: {bytes} bytes in {} words",
                words.len()
            )
        }
        _ => format!("`{program}`: {error}"),
    }
}
