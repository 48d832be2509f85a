//! What is said of a task of a script. Where all is well, nothing is, unless it is asked
//! for: the script has the word.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use semel::deed::at_work::AtWork;
use semel::deed::memory;
use semel::deed::run::TaskPart;
use semel::ground::home::Home;
use semel::ground::manifest::{Attempts, Manifest as _};
use semel::ground::world::disk::RealDisk;
use semel::words::clock;
use semel::words::event::{Event, Outcome};
use semel::words::guard::Guard;
use semel::words::receipt::Failure;
use semel::words::task::TaskName;
use semel::words::verdict::Reason;

use crate::exit::Exit;
use crate::show::busy::write_orphan_of;
use crate::show::style::Styles;
use crate::show::summary::meaning;
use crate::show::text::{memory as of_memory, notice_of, when_here};
use crate::verb::step::is_news;

/// What there is to say of a task at work.
pub(crate) struct Shown {
    /// How it ended.
    pub(crate) outcome: Option<Outcome>,
    /// How long its action took.
    pub(crate) took: Duration,
    /// Records in what it wrote.
    pub(crate) rows: Option<u64>,
    /// What went wrong.
    pub(crate) why: String,
    /// The signal that ended it.
    pub(crate) signal: Option<i32>,
    tries: u32,
    line: Option<String>,
    verbose: bool,
}

/// Says that a task is done already.
pub(crate) fn skipped(task: &TaskName, reason: Reason, verbose: bool) {
    if verbose {
        say(&format!("{task} skip: {reason}"));
    }
}

fn say(line: &str) {
    // A log that is gone must not end the script.
    let _ = writeln!(anstream::stderr(), "semel: {line}");
}

impl Shown {
    pub(crate) fn new(guard: &Guard, verbose: bool) -> Self {
        Self {
            outcome: None,
            took: Duration::ZERO,
            rows: None,
            why: String::new(),
            signal: None,
            tries: 0,
            line: guard.line.clone(),
            verbose,
        }
    }

    /// Takes an event, and says at once what cannot wait.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Settled { task, outcome } => {
                self.outcome = Some((*outcome).clone());
                match outcome {
                    Outcome::Ran(made) | Outcome::Reused(made) => {
                        (self.took, self.rows) = (made.took, made.rows);
                        let reason = made.why.filter(|why| is_news(*why) || self.verbose);
                        if let Some(reason) = reason {
                            say(&format!("{task} done: {reason}; {}", clock(made.took)));
                        }
                    }
                    Outcome::Skipped(reason) => skipped(&task.name(), *reason, self.verbose),
                    Outcome::Adopted(reason) => {
                        say(&format!("{task} adopt: {reason}; nothing was run"));
                    }
                    Outcome::Failed(failure) => self.why = failure.to_string(),
                    Outcome::Refused(reason) => self.why = reason.to_string(),
                    Outcome::Busy => self.why = Reason::Busy.to_string(),
                    _ => {}
                }
            }
            Event::Attempt { tries, .. } => self.tries = *tries,
            Event::AttemptFailed { task, failure, again_in: Some(pause), .. } => {
                say(&format!("{task} failed: {failure}; again in {}", clock(*pause)));
            }
            Event::Displaced { from, to, .. } => {
                let to = crate::show::text::in_home(to);
                say(&format!(
                    "{} was not made by semel; it is kept as {}",
                    from.display(),
                    to.display()
                ));
            }
            Event::Finished { number, task } => {
                say(&format!("{task}: finished what run {number}, which was killed, had begun"));
            }
            // The script was told of its run already.
            Event::CommandChanged { .. } => {}
            event => {
                for line in notice_of(event).into_iter().chain(of_memory(event)) {
                    say(&line);
                }
            }
        }
    }

    /// Says how it ended, if that is not well.
    pub(crate) fn write(
        &self,
        part: TaskPart<'_>,
        outcome: Option<&Outcome>,
        orphans: &[AtWork],
        exit: Exit,
        again: &str,
        home: &Home,
    ) {
        let mut out = anstream::stderr().lock();
        // What cannot be told is in the manifest, and in the exit status.
        let _ = match outcome {
            Some(Outcome::Failed(failure)) => self.write_failure(&mut out, part, failure),
            Some(Outcome::Refused(reason)) => {
                self.write_refusal(&mut out, part, *reason, exit, again, home)
            }
            Some(Outcome::Busy) => write_busy(&mut out, part, orphans, exit),
            _ => Ok(()),
        };
    }

    /// Where the script says it: ` (nightly.sh:14)`.
    fn place(&self) -> String {
        self.line.as_ref().map_or_else(String::new, |line| format!(" ({line})"))
    }

    fn write_failure(
        &self,
        out: &mut impl Write,
        part: TaskPart<'_>,
        failure: &Failure,
    ) -> std::io::Result<()> {
        let styles = Styles::for_stderr();
        let word = if failure.is_broken() { "broken" } else { "failed" };
        let tries = if self.tries > 1 { format!(", {} tries", self.tries) } else { String::new() };
        let task = styles.bold(&part.task.to_string());
        writeln!(out, "{}  {task}  {failure}{tries}{}", styles.state(word), self.place())?;
        if let Some(meaning) = meaning(failure) {
            writeln!(out, "        {meaning}")?;
        }
        let is_function = part.guard.line.is_none() && part.script.is_some();
        if matches!(failure, Failure::NotStarted(_)) && is_function {
            writeln!(out, "        a function of the script can be a step's command in bash only")?;
        }
        Ok(())
    }

    fn write_refusal(
        &self,
        out: &mut impl Write,
        part: TaskPart<'_>,
        reason: Reason,
        exit: Exit,
        again: &str,
        home: &Home,
    ) -> std::io::Result<()> {
        let styles = Styles::for_stderr();
        let TaskPart { guard, task, script, .. } = part;
        let name = styles.bold(&task.to_string());
        writeln!(out, "{}  {name}  {reason}{}\n", styles.state("refused"), self.place())?;
        if guard.once {
            writeln!(out, "  It is done once, so semel does not guess.")?;
        }
        let pipeline = script.map_or(semel::words::guard::ALONE, |(script, _)| &script.name);
        if let Some(last) = last_attempt(home, pipeline, task) {
            writeln!(out, "  {last}")?;
        }
        let quoted = semel::words::shell::quote_words([task.to_string().as_str()]);
        writeln!(out, "\n  look whether it is done, then type one of")?;
        writeln!(out, "    semel done {quoted}{again} --because '...'")?;
        writeln!(out, "    semel redo {quoted}{again} --because '...'")?;
        writeln!(out, "  and run the script again")?;
        if guard.once && !guard.checked {
            writeln!(out, "\n  with  --check COMMAND --equals TEXT  semel would look for itself")?;
        }
        writeln!(out, "\nnothing was run; exit {}", exit.0)
    }
}

/// What is known of the attempt that may have done it.
fn last_attempt(home: &Home, pipeline: &str, task: &TaskName) -> Option<String> {
    let root = home.path().parent().unwrap_or(Path::new("."));
    let disk = RealDisk::at(root).ok()?;
    let manifest = memory::read(&disk, home).ok()??.manifest;
    let attempts = manifest.attempts(pipeline, Attempts::OfTask(task)).ok()?;
    let last = attempts.into_iter().rev().find(|attempt| attempt.open)?;
    let how = match (last.ending.as_deref(), &last.reason) {
        (Some("failed"), Some(why)) => format!("it failed: {why}."),
        (Some("void"), _) => "an input changed while it ran.".to_owned(),
        (Some("interrupted"), _) if last.ended.is_some() => {
            "it was ended before its time.".to_owned()
        }
        _ => "semel was killed before its end.".to_owned(),
    };
    Some(format!("Run {} began it {}; {how}", last.run, when_here(last.began)))
}

fn write_busy(
    out: &mut impl Write,
    part: TaskPart<'_>,
    orphans: &[AtWork],
    exit: Exit,
) -> std::io::Result<()> {
    let styles = Styles::for_stderr();
    match orphans.iter().find(|orphan| orphan.task == *part.task) {
        Some(orphan) => {
            let wait = "semel step --wait 30m ...";
            write_orphan_of(out, styles, orphan, "run the script again", wait)?;
        }
        None => writeln!(
            out,
            "{}  {}  somebody else is at work on it",
            styles.state("busy"),
            part.task
        )?,
    }
    writeln!(out, "nothing was run; exit {}", exit.0)
}
