//! `semel step`: one task of a script, or one that stands alone.
//!
//! Invariant: standard output is the command's. What semel has to say goes to standard
//! error, and where all is well it says nothing.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use semel::deed::command::Stdio;
use semel::deed::run::{CannotBegin, Ended, Options, Part, Setting, TaskPart, run_part, signals};
use semel::deed::script::{How, Note, Notes, Script, VARIABLE};
use semel::deed::step::{Said, glance, note_look};
use semel::ground::home::{Home, NAME};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::thought::bind::Params;
use semel::thought::plan::REPLAY;
use semel::words::digest::Digest;
use semel::words::event::{Event, Outcome};
use semel::words::guard::{ALONE, Commands, Guard, Named, STDOUT};
use semel::words::receipt::Failure;
use semel::words::run::By;
use semel::words::shell::quote_words;
use semel::words::task::{Instance, TaskName, encode};
use semel::words::verdict::Reason;

use crate::args;
use crate::exit::Exit;
use crate::place::{environment, whoever_we_are};
use crate::show::busy::Kind;
use crate::show::fail::Failed;
use crate::show::guard::{self as show, Shown};

/// Where the shell says that it is.
const LINE: &str = "SEMEL_LINE";

pub(crate) fn step(options: &args::Step) -> Exit {
    let done = do_step(options);
    // Nobody else needs what the shell put there.
    if let Some(state) = &options.state {
        let _ = std::fs::remove_file(state);
    }
    let exit = done.unwrap_or_else(|failed| {
        note_failure(options, &failed);
        failed.tell_of_prefix()
    });
    end_by_signal(exit);
    exit
}

/// What was not even begun is missing in the script's run, too.
fn note_failure(options: &args::Step, failed: &Failed) {
    let Ok(Some(script)) = of_environment() else {
        return;
    };
    let instance = Instance::of(options.per.iter().map(|(_, value)| value.as_str()));
    let item = options.item.as_ref().map(|item| encode(item.as_bytes()));
    let task = TaskName::new(&options.name, &instance, item.as_deref());
    let note = Note { end: Some(How::Failed), why: failed.in_a_line(), ..Note::of(&task) };
    // Where the run is over, that is what has failed.
    let _ = script.notes().and_then(|notes| notes.add(&note));
}

/// Whoever was ended by a signal says so: a shell ends with its commands then.
fn end_by_signal(exit: Exit) {
    if let signal @ (1 | 2 | 15) = exit.0 - 128 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
}

/// A step, and where it stands.
struct Work<'a> {
    options: &'a args::Step,
    script: Option<Script>,
    disk: RealDisk,
    home: Home,
    by: By,
    /// The notes of the script's run: while we have them it does not end.
    notes: Option<Notes>,
}

fn do_step(options: &args::Step) -> Result<Exit, Failed> {
    let script = of_environment()?;
    let here = std::env::current_dir()
        .map_err(|error| Failed::Broken(format!("there is no folder here: {error}")))?;
    let root = match &script {
        Some(script) => script.folder.clone(),
        None => home_of(&here)?,
    };
    if let Some(script) = &script {
        let held = script.is_held().map_err(|error| Failed::Broken(error.to_string()))?;
        if !held {
            return Err(Failed::Broken(format!(
                "the run of {} is not held any more: nothing is begun without it",
                script.name
            )));
        }
    }
    let disk = RealDisk::at(&root).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let notes = script.as_ref().map(Script::notes).transpose().map_err(unnoted)?;
    let work = Work { options, script, disk, home, by: whoever_we_are(), notes };
    let said = said(options, &here)?;
    let name = work.name();
    let (pipeline, task, guard) = work
        .with_replay(said)
        .pipeline(&work.disk, name)
        .map_err(|fault| Failed::Guard(options.name.clone(), fault))?;
    let params = Params::from_values(guard.per.iter().cloned().collect());
    let env = environment();
    let command = format!("semel step {task}");
    let setting = Setting {
        pipeline: &pipeline,
        file: name,
        params: &params,
        disk: &work.disk,
        env: &env,
        command: &command,
        by: &work.by,
    };
    work.once_a_run(&guard, &task)?;
    let streams = Streams::of_this_process();
    let stdio = streams.stdio(options.once);
    let part = TaskPart { guard: &guard, task: &task, script: None, stdio };
    let looked = TaskPart { script: work.script.as_ref().map(|script| (script, 0)), ..part };
    let exit = match glance(&setting, &looked) {
        Some(verdict) => {
            work.note(&task, Some(How::Skipped), None)?;
            if work.script.is_none() && guard.item.is_none() {
                note_look(&work.home, &task).map_err(unnoted)?;
            }
            show::skipped(&task, verdict.reason, options.verbose);
            Exit::DONE
        }
        None => work.run(&setting, part)?,
    };
    if exit == Exit::DONE {
        work.reached(&guard, &task)?;
        work.replay(&guard)?;
    }
    Ok(exit)
}

/// What is typed, in the library's words.
fn said(options: &args::Step, here: &Path) -> Result<Said, Failed> {
    let text = |word: &OsString| {
        word.to_str().map(str::to_owned).ok_or_else(|| {
            Failed::Usage(format!("a word of the command is not UTF-8: {}", word.display()))
        })
    };
    let words: Vec<_> = options.command.iter().map(text).collect::<Result<_, _>>()?;
    let (line, written) = written(&options.name, words.first());
    let mut outs: Vec<_> = options.outs.iter().map(|out| Named::parse(out)).collect();
    outs.extend(
        options
            .stdout
            .iter()
            .map(|path| Named { key: Some(STDOUT.to_owned()), path: path.clone() }),
    );
    let guard = Guard {
        step: options.name.clone(),
        item: options.item.clone(),
        per: options.per.clone(),
        in_place: options.in_place,
        once: options.once,
        safe_exits: options.safe_exit.clone(),
        was: options.was.clone(),
        max_age: options.max_age,
        env: options.env.clone(),
        retry: options.retry,
        timeout: options.timeout,
        calls: options.calls,
        written,
        line,
        ..Guard::default()
    };
    let commands = Commands {
        words,
        check: options.check.clone(),
        equals: options.equals.clone(),
        check_sql: options.check_sql.clone().zip(options.db.clone()),
        folder: here.to_owned(),
        script: None,
    };
    let state = options.state.clone();
    Ok(Said { guard, inputs: options.inputs.clone(), outs, commands, state })
}

/// Where the script says the step, and its words there: those that we were given may
/// hold a secret, since the shell has filled them in.
fn written(step: &str, program: Option<&String>) -> (Option<String>, String) {
    let first = program.cloned().unwrap_or_default();
    let said = std::env::var(LINE).unwrap_or_default();
    let place = said.rsplit_once(':').and_then(|(file, line)| {
        let number: usize = line.parse().ok()?;
        Some((file, number))
    });
    let Some((file, number)) = place else {
        return (None, first);
    };
    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    let line = Some(format!("{name}:{number}"));
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let words = text.lines().nth(number.saturating_sub(1)).map(str::trim).unwrap_or_default();
    let written = if words.contains(step) { words.to_owned() } else { first };
    (line, written)
}

impl Work<'_> {
    /// What is printed again is kept as an output.
    fn with_replay(&self, mut said: Said) -> Said {
        let is_kept = said.outs.iter().any(|out| out.key.as_deref() == Some(STDOUT));
        if self.options.replay && !is_kept {
            let name = self.name();
            let guard = &said.guard;
            let slot = format!("{name}\0{}\0{:?}\0{:?}", guard.step, guard.per, guard.item);
            let kept = self.disk.root().join(REPLAY).join(Digest::of(slot.as_bytes()).to_string());
            let path = kept.to_string_lossy().into_owned();
            said.outs.push(Named { key: Some(STDOUT.to_owned()), path });
        }
        said
    }

    /// A name stands for one task in a run.
    fn once_a_run(&self, guard: &Guard, task: &TaskName) -> Result<(), Failed> {
        let Some(script) = self.script.as_ref().filter(|_| guard.item.is_none()) else {
            return Ok(());
        };
        if script.came_to(task) {
            return Err(Failed::Twice { task: task.clone(), run: script.number });
        }
        Ok(())
    }

    fn reached(&self, guard: &Guard, task: &TaskName) -> Result<(), Failed> {
        let Some(script) = self.script.as_ref().filter(|_| guard.item.is_none()) else {
            return Ok(());
        };
        script.has_come_to(task).map_err(unnoted)
    }

    /// Notes in the script's run what was come to, and how it ended. Gives the place of
    /// the note, 0 outside of scripts.
    fn note(&self, task: &TaskName, end: Option<How>, more: Option<&Shown>) -> Result<u64, Failed> {
        let Some(notes) = &self.notes else {
            return Ok(0);
        };
        let took = more.map_or(0, |shown| u64::try_from(shown.took.as_millis()).unwrap_or(0));
        let rows = more.and_then(|shown| shown.rows);
        let why = more.map(|shown| shown.why.clone()).unwrap_or_default();
        let signal = more.and_then(|shown| shown.signal);
        let pid = if end.is_none() { self.by.pid } else { 0 };
        notes.add(&Note { end, took, rows, why, signal, pid, ..Note::of(task) }).map_err(unnoted)
    }

    /// Brings the task to its state: as a part of the script's run, or in one of its own.
    fn run(&self, setting: &Setting<'_>, part: TaskPart<'_>) -> Result<Exit, Failed> {
        let place = self.note(part.task, None, None)?;
        let script = self.script.as_ref().map(|script| (script, place));
        let part = TaskPart { script, ..part };
        let (sender, signals) = signals();
        crate::verb::run::listen(sender)
            .map_err(|error| Failed::Broken(format!("signals cannot be listened for: {error}")))?;
        let how = Options {
            wait: self.options.wait,
            jobs: std::num::NonZeroUsize::new(1),
            passes_on: true,
            ..Options::default()
        };
        let mut shown = Shown::new(part.guard, self.options.verbose);
        let ended = run_part(setting, &how, Part::Task(part), &signals, &mut |event| {
            if let Event::Printed { bytes, .. } = event {
                // Whoever does not listen any more is told by the exit status.
                let _ = pass_on(bytes);
            }
            shown.take(event);
        });
        let (how, exit) = match ended {
            Ok(ended) => self.ended(&ended, &mut shown, part),
            Err(error) => {
                let failed = self.cannot_begin(error, part.task);
                shown.why = failed.in_a_line();
                let exit = failed.tell_of_prefix();
                let how = match exit.0 {
                    102 => How::Failed,
                    104 => How::Busy,
                    105 => How::Broken,
                    _ => How::Stopped,
                };
                (how, exit)
            }
        };
        self.note(part.task, Some(how), Some(&shown))?;
        Ok(exit)
    }

    fn cannot_begin(&self, error: CannotBegin, task: &TaskName) -> Failed {
        Failed::of_script(error, &self.home, &task.to_string(), Kind::Task)
    }

    /// How the task ended, and with which status we do.
    fn ended(&self, ended: &Ended, shown: &mut Shown, part: TaskPart<'_>) -> (How, Exit) {
        let outcome = shown.outcome.clone();
        let status = ended.report.status();
        let orphans = &ended.orphans;
        let exit = match (&outcome, status) {
            (_, status) if status > 128 => Exit(status),
            (Some(Outcome::Failed(failure)), _) => of_failure(failure),
            (_, status) => Exit(status).of_prefix(),
        };
        let again = format!(" -f {}", quote_words([self.name()]));
        shown.write(part, outcome.as_ref(), orphans, exit, &again, &self.home);
        let how = match &outcome {
            Some(Outcome::Ran(_) | Outcome::Reused(_)) => How::Ran,
            Some(Outcome::Skipped(_)) => How::Skipped,
            Some(Outcome::Adopted(_)) => How::Adopted,
            Some(Outcome::Failed(failure)) if failure.is_broken() => How::Broken,
            Some(Outcome::Failed(_)) => How::Failed,
            Some(Outcome::Refused(_)) => How::Refused,
            Some(Outcome::Busy) => How::Busy,
            _ if status == 5 => How::Broken,
            _ => How::Stopped,
        };
        // A command that was ended by what ends all was ended with its script.
        if let signal @ (1 | 2 | 15) = exit.0 - 128 {
            shown.signal = Some(signal);
            shown.why = Failure::Signal(signal).to_string();
        }
        (how, exit)
    }

    /// The name of the script; of a step that stands alone, that of all such.
    fn name(&self) -> &str {
        self.script.as_ref().map_or(ALONE, |script| &script.name)
    }

    /// Prints what the command printed, now or then.
    fn replay(&self, guard: &Guard) -> Result<(), Failed> {
        let kept = guard.outs.iter().find(|out| out.key.as_deref() == Some(STDOUT));
        let Some(kept) = kept.filter(|_| self.options.replay) else {
            return Ok(());
        };
        let path = self.disk.root().join(&kept.path);
        let failed =
            |error| Failed::Broken(format!("{} cannot be printed: {error}", path.display()));
        let mut file = std::fs::File::open(&path).map_err(failed)?;
        match std::io::copy(&mut file, &mut std::io::stdout().lock()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failed::Unheard),
            copied => copied.map(drop).map_err(failed),
        }
    }
}

/// Passes on what the command printed, to where it was to go.
fn pass_on(bytes: &[u8]) -> std::io::Result<()> {
    // Where both go to one file it does not matter which is written to.
    let mut out = std::io::stderr().lock();
    out.write_all(bytes)?;
    out.flush()
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped by it")]
fn unnoted(error: std::io::Error) -> Failed {
    Failed::Broken(format!("it cannot be noted: {error}"))
}

/// The exit status for a command that failed: its own, as a shell has it.
fn of_failure(failure: &Failure) -> Exit {
    match failure {
        Failure::Exit(status) => Exit(*status),
        Failure::Signal(signal) => Exit(128 + signal),
        Failure::NotStarted(why) if why.contains("may not be executed") => Exit(126),
        Failure::NotStarted(_) => Exit(127),
        Failure::Broken(_) => Exit::BROKEN.of_prefix(),
        Failure::Refused(_) | Failure::Calls(_) => Exit::REFUSED.of_prefix(),
        Failure::TimedOut(_) | Failure::BadInput(_) | Failure::BadEffect(_) | Failure::Sql(_) => {
            Exit::FAILED.of_prefix()
        }
    }
}

/// The script that started us, if one did.
fn of_environment() -> Result<Option<Script>, Failed> {
    let Some(variable) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let script = variable.to_str().and_then(Script::of_variable);
    script.map(Some).ok_or_else(|| Failed::Broken(format!("{VARIABLE} is not what semel made it")))
}

/// The folder with the manifest of what is done in a folder: `SEMEL_DIR`, or the nearest
/// one upwards with a `.semel/`.
pub(crate) fn home_of(folder: &Path) -> Result<PathBuf, Failed> {
    if let Some(named) = std::env::var_os("SEMEL_DIR").filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        let root = if named.file_name().is_some_and(|name| name == NAME) {
            named.parent().map(Path::to_owned).unwrap_or_default()
        } else {
            named.clone()
        };
        let root = std::path::absolute(&root).unwrap_or(root);
        return match Home::in_folder(&root).exists() {
            true => Ok(root),
            false => Err(Failed::NoHome(root)),
        };
    }
    let above = folder.ancestors().find(|folder| Home::in_folder(folder).exists());
    above.map(Path::to_owned).ok_or_else(|| Failed::NoHome(folder.to_owned()))
}

/// The standard streams of this process.
struct Streams {
    input: std::io::Stdin,
    output: std::io::Stdout,
}

impl Streams {
    fn of_this_process() -> Self {
        Self { input: std::io::stdin(), output: std::io::stdout() }
    }

    /// As the command gets them. One that is done once has no terminal to ask: a Ctrl-C
    /// there does not reach it.
    fn stdio(&self, once: bool) -> Stdio<'_> {
        let input = Some(self.input.as_fd()).filter(|input| !(once && input.is_terminal()));
        let output = Some(self.output.as_fd());
        Stdio { input, output: output.filter(|output| !is_one(*output, std::io::stderr().as_fd())) }
    }
}

/// Whether two descriptors are of one file that is no terminal: then what is written to
/// both must pass through one pipe to keep its order.
fn is_one(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let same = |one: rustix::fs::Stat, other: rustix::fs::Stat| {
        (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    };
    let stats = (rustix::fs::fstat(one), rustix::fs::fstat(other));
    !one.is_terminal() && matches!(stats, (Ok(one), Ok(other)) if same(one, other))
}

/// Why a task is done again, where that is not plain.
pub(crate) const fn is_news(reason: Reason) -> bool {
    !matches!(reason, Reason::New | Reason::SaidRedo | Reason::SaidDone)
}
