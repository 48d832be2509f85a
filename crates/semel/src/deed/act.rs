//! Acting: one attempt at a task, up to outputs that are whole and staged.
//!
//! In order: the intent, where the task is unsafe to repeat; the command,
//! against staged paths; its exit status; the outputs, and what is expected of
//! them; the inputs, once more. Only what passed all of it is [`Staged`], and
//! only that can be published.
//!
//! Invariant: *I3* before the action of a `once` task begins, its intent is
//! committed.

mod calling;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use self::calling::Guard;
use crate::deed::inputs::{self, Change};
use crate::deed::log::{RunLog, Spool};
use crate::deed::look::{Sight, wrong_kind};
use crate::deed::stage::{Place, Staging};
use crate::deed::trees::copy_all;
use crate::deed::undo::Undo;
use crate::deed::view::{Seen, StepView};
use crate::deed::{Site, command};
use crate::ground::digests;
use crate::ground::world::disk::{DiskError, Kind, Meta};
use crate::ground::world::process::{End, Input, Order, Stop, Streams, start};
use crate::thought::bind::Bindings;
use crate::thought::mask::MaskStream;
use crate::words::guard::STDOUT;
use crate::words::path::{bytes_of, show};
use crate::words::pipeline::{Command, Expect, Http, InPlace, Out};
use crate::words::receipt::{Failure, LogRange};
use crate::words::rows::Records;
use crate::words::task::Task;
use crate::words::template::Name;

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
    /// Whether an input may have been written anew, with the same bytes: it was
    /// found so before.
    pub takes_rewritten: bool,
}

/// Where attempts take place.
pub struct Workshop<'a> {
    /// Where the run works.
    pub site: &'a Site<'a>,
    /// Where attempts write.
    pub staging: &'a Staging<'a>,
    /// What commands print.
    pub log: &'a RunLog,
    /// Where the run puts what semel did not make.
    pub displaced: &'a Path,
    /// Ends what undoes a partial effect: only those who ask twice want that.
    pub stop_undoing: &'a Stop,
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
    Stopped {
        /// Whether what it left half done was undone.
        provably_undone: bool,
    },
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
    /// Where outputs would have been, and where what was staged for them is kept,
    /// since semel did not make it.
    pub kept: Vec<(PathBuf, PathBuf)>,
}

impl Attempted {
    fn silent(acted: Acted) -> Self {
        Self {
            acted,
            log: LogRange::default(),
            tail: Vec::new(),
            log_error: None,
            kept: Vec::new(),
        }
    }

    /// The same, now that a list of inputs is no longer needed.
    fn without(mut self, workshop: &Workshop<'_>, list: Option<PathBuf>) -> Self {
        if let Some(list) = list
            && let Err(error) = workshop.staging.clear_list(&list)
        {
            self.log_error = Some(error.to_string());
        }
        self
    }

    fn not_begun(failure: Failure) -> Self {
        Self::silent(Acted::Failed { failure, provably_undone: true })
    }
}

/// What an attempt tells while it is made.
pub struct Telling<'a> {
    /// Commits the intent; called before the command starts.
    pub intend: &'a mut dyn FnMut() -> Result<(), Failure>,
    /// Called with what the command prints.
    pub printed: &'a mut dyn FnMut(&[u8]),
    /// Called when the command ended, before its outputs are looked at.
    pub ended: &'a mut dyn FnMut(),
}

/// What a task does.
enum Does<'a> {
    Run(&'a Command),
    Call(&'a Http),
}

/// Makes an attempt: runs the command against staged paths, or in place. `stop`
/// ends the command, and not what undoes a partial effect.
pub fn attempt(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    stop: &Stop,
    telling: &mut Telling<'_>,
) -> Attempted {
    let does = match (job.view.step.command(), job.view.step.http()) {
        (Some(command), _) => Does::Run(command),
        (None, Some(http)) => Does::Call(http),
        (None, None) => {
            return Attempted::not_begun(Failure::Broken("the step has no command".to_owned()));
        }
    };
    let undo = Undo { workshop, job };
    if job.sight.owes_cleanup
        && let Err(failure) = undo.clean_up(&job.task.outs)
    {
        return Attempted::silent(failed(failure, false));
    }
    if let Some(link) = link_in_place(workshop, job) {
        return Attempted::not_begun(link);
    }
    let mut place = match workshop.staging.place(job.view.step, job.task, job.number) {
        Ok(place) => place,
        Err(error) => return Attempted::not_begun(Failure::Broken(error.to_string())),
    };
    let name = job.task.name(&job.view.step.name, &job.view.instance);
    if let Err(error) = workshop.staging.open(&mut place, name, job.number) {
        let failure = Failure::Broken(error.to_string());
        return clear(workshop, job, &place, Attempted::not_begun(failure));
    }
    if let Err(failure) = (telling.intend)() {
        return clear(workshop, job, &place, Attempted::not_begun(failure));
    }
    let list = match input_list(workshop, job) {
        Ok(list) => list,
        Err(failure) => return clear(workshop, job, &place, Attempted::not_begun(failure)),
    };
    let ran = match does {
        Does::Run(command) => run(workshop, job, command, &place, list.as_deref(), stop, telling),
        Does::Call(http) => calling::call(workshop, job, http, &place, telling),
    };
    let inspected = match ran.ended_badly {
        None => inspect(workshop.site, job, &place),
        Some(acted) => Err(acted),
    };
    let (log, tail, log_error) = (ran.log, ran.tail, ran.log_error);
    let attempted =
        |acted| Attempted { acted, log, tail, log_error, kept: Vec::new() }.without(workshop, list);
    match inspected {
        Ok(contents) => attempted(Acted::Staged(Staged { place, contents, took: ran.took })),
        Err(acted) => clear(workshop, job, &place, attempted(undo.after(&place, acted))),
    }
}

/// Why a command may not write in place: an output of it is a link, and what that
/// points to would not be put back.
fn link_in_place(workshop: &Workshop<'_>, job: &Job<'_>) -> Option<Failure> {
    if job.view.step.in_place != InPlace::WithBackup {
        return None;
    }
    job.task.outs.iter().find_map(|path| match workshop.site.disk.look_at_link(path) {
        Ok(Some(meta)) if meta.kind == Kind::Link => Some(Failure::BadEffect(format!(
            "{} is a link, and what it points to would not be put back: name that as `out`",
            show(path)
        ))),
        Ok(_) => None,
        Err(error) => Some(Failure::Broken(error.to_string())),
    })
}

/// A command that was run.
struct Ran {
    /// How it ended, if not well.
    ended_badly: Option<Acted>,
    log: LogRange,
    tail: Vec<u8>,
    log_error: Option<String>,
    took: Duration,
}

impl Ran {
    fn not_started(failure: Failure) -> Self {
        Self {
            ended_badly: Some(failed(failure, true)),
            log: LogRange::default(),
            tail: Vec::new(),
            log_error: None,
            took: Duration::ZERO,
        }
    }
}

/// Runs the command, and keeps what it prints.
fn run(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    command: &Command,
    place: &Place,
    list: Option<&Path>,
    stop: &Stop,
    telling: &mut Telling<'_>,
) -> Ran {
    let Job { view, task, sight, .. } = job;
    let site = workshop.site;
    let inputs = view.input_paths(&sight.own_inputs);
    let bindings =
        Bindings { input_list: list, ..view.bindings(site, task, &inputs, &place.paths) };
    let words = command::words(command, &bindings);
    let words = match &view.step.script {
        Some(script) => command::words_in_script(words, script),
        None => words,
    };
    let name = task.name(&view.step.name, &view.instance).to_string();
    let mut env = command::env(view.step, &bindings, &name);
    let guard = match Guard::begin(workshop, job, &words) {
        Ok(guard) => guard,
        Err(failure) => return Ran::not_started(failure),
    };
    let words = guard.as_ref().map_or(words, |guard| guard.bring(&mut env));
    let staged = match staged_output(job, place) {
        Ok(staged) => staged,
        Err(error) => {
            let why = format!("where its output is kept cannot be written: {error}");
            return Ran::not_started(Failure::Broken(why));
        }
    };
    let stdio = site.stdio.as_ref();
    let output = staged.as_ref().map(AsFd::as_fd).or(stdio.and_then(|stdio| stdio.output));
    let order = Order {
        words: &words,
        folder: &view.folder,
        env: &env,
        streams: Streams::Together,
        input: stdio.and_then(|stdio| stdio.input).map_or(Input::Nothing, Input::From),
        output,
        lock: place.lock.as_ref().map(AsFd::as_fd),
    };
    let began = Instant::now();
    let running = match start(&order) {
        Ok(running) => running,
        Err(error) => {
            let why = why_not_started(&error, &words, &view.folder, !view.inputs.is_empty());
            return Ran::not_started(Failure::NotStarted(why));
        }
    };
    let contained = guard.as_ref().map_or(Ok(()), |guard| guard.has_started(&running, stop));
    let spool = Spool::new(&site.home.staging_of(site.run_id), job.number);
    let mut spool = if view.step.once { spool.at_once() } else { spool };
    let mut stream = MaskStream::new(&view.mask);
    let mut log_error = None;
    let mut keep = |bytes: &[u8], spool: &mut Spool| {
        if let Err(error) = spool.take(bytes) {
            log_error = Some(error.to_string());
        }
        (telling.printed)(bytes);
    };
    let end =
        running.wait(view.step.timeout, stop, |_, bytes| keep(&stream.take(bytes), &mut spool));
    let held = stream.end();
    if !held.is_empty() {
        keep(&held, &mut spool);
    }
    let took = began.elapsed();
    (telling.ended)();
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
        Ok(End::Stopped) => Some(Acted::Stopped { provably_undone: false }),
        Err(error) => {
            Some(failed(Failure::Broken(format!("cannot wait for the command: {error}")), false))
        }
    };
    let ended_badly = match contained {
        Err(failure) if !stop.is_pulled() => Some(failed(failure, true)),
        _ => ended_badly,
    };
    let ended_badly = match guard {
        // Only those who ask twice give up what is in flight.
        Some(guard) => guard.end(workshop.stop_undoing, ended_badly),
        None => ended_badly,
    };
    Ran { ended_badly, log, tail, log_error, took }
}

/// The file that what the command prints goes to, where that is an output.
fn staged_output(job: &Job<'_>, place: &Place) -> std::io::Result<Option<File>> {
    let is_it = |out: &Out| out.key.as_deref() == Some(STDOUT) && job.view.step.written.is_some();
    let at = job.view.step.outs.iter().position(is_it);
    at.map(|at| File::create(&place.paths[at])).transpose()
}

/// Lists the inputs in a file, if the command names it.
fn input_list(workshop: &Workshop<'_>, job: &Job<'_>) -> Result<Option<PathBuf>, Failure> {
    let Job { view, sight, .. } = job;
    let names_list = |name: &Name| matches!(name, Name::In(Some(key)) if key == "list");
    if !view.step.counting_names().any(names_list) {
        return Ok(None);
    }
    let inputs = view.input_paths(&sight.own_inputs);
    let paths: Vec<_> = inputs.iter().map(|(_, path)| *path).collect();
    if let Some(path) = paths.iter().find(|path| bytes_of(path).contains(&b'\n')) {
        let what =
            format!("its input {} cannot be listed: it has a newline in its name", show(path));
        return Err(Failure::BadInput(what));
    }
    // A command that runs elsewhere still finds them.
    let root = view.step.runs_elsewhere().then(|| workshop.site.disk.root());
    let absolute: Vec<_> = paths
        .iter()
        .map(|path| root.map_or_else(|| path.to_path_buf(), |root| root.join(path)))
        .collect();
    let absolute: Vec<_> = absolute.iter().map(PathBuf::as_path).collect();
    let list = workshop.staging.list_inputs(job.number, &absolute);
    list.map(Some).map_err(|error| Failure::Broken(error.to_string()))
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

/// Takes copies of the outputs of a task that did the same; `None` if they are no
/// longer what that task made.
///
/// # Errors
/// If they cannot be copied.
pub fn copy_twin(workshop: &Workshop<'_>, job: &Job<'_>) -> Result<Option<Staged>, Failure> {
    let broken = |error: DiskError| Failure::Broken(error.to_string());
    let disk = workshop.site.disk;
    let place = workshop.staging.place(job.view.step, job.task, job.number).map_err(broken)?;
    let twin = job.sight.twin.as_deref();
    for (role, to) in job.view.roles.iter().zip(&place.paths) {
        let original = twin.and_then(|twin| twin.outs().find(|out| out.name == *role));
        let original = original.ok_or_else(|| {
            Failure::BadEffect("the task with the same content has other outputs".to_owned())
        })?;
        // That task may be at work on another input by now.
        let copied = match copy_all(disk, &original.path, to) {
            Err(error) if error.is_absence() => None,
            copied => {
                copied.map_err(broken)?;
                let meta = disk.look_at_link(to).map_err(broken)?;
                meta.map(|meta| read_staged(workshop.site, to, &meta, None)).transpose()?
            }
        };
        if copied.is_none_or(|copied| copied.content.digest != original.digest) {
            workshop.staging.clear(&place).map_err(broken)?;
            return Ok(None);
        }
    }
    let contents = contents(workshop.site, job, &place)?;
    Ok(Some(Staged { place, contents, took: Duration::ZERO }))
}

fn failed(failure: Failure, provably_undone: bool) -> Acted {
    Acted::Failed { failure, provably_undone }
}

/// Clears the place of an attempt that did not end well, but for what it did not
/// make. What a `once` attempt wrote is kept, unless it provably did nothing.
fn clear(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    place: &Place,
    mut attempted: Attempted,
) -> Attempted {
    let undone = matches!(attempted.acted, Acted::Failed { provably_undone: true, .. });
    let saved = match inputs::save(workshop, job, place) {
        Ok(saved) => saved,
        Err(failure) => {
            // What cannot be looked at is not removed: the next run tries again.
            attempted.acted = failed(failure, undone);
            return attempted;
        }
    };
    if let (Acted::Void(_), Some(failure)) = (&attempted.acted, inputs::moved_away(&saved)) {
        attempted.acted = failed(failure, false);
    }
    attempted.kept = saved.kept;
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
    match inputs::changed(site, job).map_err(bad)? {
        Some(Change::Bytes(path)) => Err(Acted::Void(path)),
        Some(Change::Rewritten(path)) if !job.takes_rewritten && !job.view.step.once => {
            Err(Acted::Void(path))
        }
        Some(Change::Rewritten(_)) | None => Ok(contents),
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
        let mut meta = meta;
        if (meta.links > 1 || out.folder) && job.view.step.in_place == InPlace::No {
            let broken = |error: DiskError| Failure::Broken(error.to_string());
            inputs::part_from_others(site.disk, staged).map_err(broken)?;
            meta = site.disk.look_at_link(staged).map_err(broken)?.unwrap_or(meta);
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
    for input in inputs::all(job) {
        let records = Records::of_name(&input.path).unwrap_or(Records::Lines);
        let content = digests::read(site.disk, &input.path, Some(records));
        let content = content.map_err(|error| Failure::BadInput(error.to_string()))?;
        rows += content.rows.unwrap_or(0);
    }
    Ok(rows)
}

/// Why a command could not be started, with its cure where that is known.
fn why_not_started(
    error: &std::io::Error,
    words: &[std::ffi::OsString],
    folder: &Path,
    has_inputs: bool,
) -> String {
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    match error.kind() {
        std::io::ErrorKind::NotFound if !folder.is_dir() => {
            format!("its folder {} is not there", show(folder))
        }
        std::io::ErrorKind::NotADirectory if !folder.is_dir() => {
            format!("its folder {} is not a folder", show(folder))
        }
        std::io::ErrorKind::NotFound => format!("`{program}` was not found"),
        std::io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        std::io::ErrorKind::ArgumentListTooLong => {
            let bytes: usize = words.iter().map(|word| word.len()).sum();
            let cure = if has_inputs {
                "; {{ in.list }} is a file that names them all, one a line"
            } else {
                ""
            };
            format!(
                "its command line is too long for the system: {bytes} bytes in {} words{cure}",
                words.len()
            )
        }
        _ => format!("`{program}`: {error}"),
    }
}
