//! What is said of those who are at work: a run, or a command that outlived one.

use std::io::Write;

use jiff::Timestamp;
use semel::deed::at_work::{self, AtWork};
use semel::deed::lease::Holder;
use semel::deed::network::EXPIRY;
use semel::ground::home::Home;
use semel::ground::world::process::Seen;

use crate::place::whoever_we_are;
use crate::show::style::Styles;
use crate::show::text::{length, next, shorten, when_here};

/// How wide the words of a process may be.
const WIDTH: usize = 60;

/// What somebody else is at work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A pipeline.
    Pipeline,
    /// A script.
    Script,
    /// A task of a script.
    Task,
    /// A lock.
    Lock,
}

/// A run that is at work.
#[derive(Debug)]
pub(crate) struct Busy {
    /// The pipeline.
    pub(crate) pipeline: String,
    /// Who runs it, where they could be asked.
    pub(crate) holder: Option<Box<Holder>>,
    /// The tasks that it works on.
    pub(crate) doing: Vec<String>,
    /// What it is that is busy.
    pub(crate) kind: Kind,
}

impl Busy {
    /// What can be seen of who holds a pipeline.
    pub(crate) fn see(home: &Home, pipeline: &str, holder: Option<Box<Holder>>) -> Self {
        // What cannot be seen is not told; that it is busy is certain.
        let runs = at_work::alive(home).unwrap_or_default().into_iter();
        let doing = runs.filter(|at_work| at_work.pipeline == pipeline);
        let doing = doing.map(|at_work| at_work.task.to_string()).collect();
        Self { pipeline: pipeline.to_owned(), holder, doing, kind: Kind::Pipeline }
    }

    /// Says who is at work, since when, and on what.
    pub(crate) fn write(
        &self,
        out: &mut impl Write,
        styles: Styles,
        again: &str,
    ) -> std::io::Result<()> {
        let what = match self.kind {
            Kind::Lock => "is held already",
            _ => "is at work already",
        };
        writeln!(out, "{}  {} {what}", styles.state("busy"), self.pipeline)?;
        let mut resume = None;
        if let Some(holder) = &self.holder {
            let (since, for_long) =
                (when_here(holder.since), length(holder.since, Timestamp::now()));
            let Holder { host, pid, .. } = &**holder;
            writeln!(out, "\n  who    {holder}")?;
            // The numbers of processes of other machines tell nothing here.
            let is_here = *host == whoever_we_are().host;
            let stopped = Seen::at(*pid).filter(|seen| is_here && seen.is_stopped);
            let state = match (is_here, &stopped) {
                (true, Some(_)) => "stopped, and not over",
                (true, None) => "alive now",
                (false, _) => "on another machine",
            };
            resume = stopped;
            writeln!(out, "  since  {since}, {for_long}; {state}")?;
            if !is_here {
                let seconds = EXPIRY.as_secs();
                writeln!(
                    out,
                    "  so     taken over once its heartbeat stands still for {seconds} s"
                )?;
            }
        }
        if let [first, more @ ..] = &*self.doing {
            let more = match more.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            writeln!(out, "  doing  {first}{more}")?;
        }
        writeln!(out, "\n  next")?;
        if let Some(stopped) = resume {
            writeln!(out, "{}", next(&format!("kill -CONT {}", stopped.pid), "let it go on"))?;
        }
        let name = semel::words::shell::quote_words([&*self.pipeline]);
        let (wait, watch) = match self.kind {
            Kind::Pipeline => (format!("semel run --wait 30m{again}"), again.to_owned()),
            Kind::Script => (format!("semel script {name} --wait 30m"), format!(" -f {name}")),
            Kind::Task => ("semel step --wait 30m ...".to_owned(), String::new()),
            Kind::Lock => {
                let wait = format!("semel lock {name} --wait 30m -- ...");
                return writeln!(out, "{}", next(&wait, "wait for it"));
            }
        };
        writeln!(out, "{}", next(&wait, "wait for it, then go on"))?;
        writeln!(out, "{}", next(&format!("semel status{watch}"), "watch it"))
    }
}

/// Says of a task that its command outlived its run, and what ends that.
pub(crate) fn write_orphan(
    out: &mut impl Write,
    styles: Styles,
    orphan: &AtWork,
    again: &str,
) -> std::io::Result<()> {
    let wait = format!("semel run --wait 30m{again}");
    write_orphan_of(out, styles, orphan, "run again", &wait)
}

/// The same, where something else than a run is tried `again`, and waits by `wait`.
pub(crate) fn write_orphan_of(
    out: &mut impl Write,
    styles: Styles,
    orphan: &AtWork,
    again: &str,
    wait: &str,
) -> std::io::Result<()> {
    let what = "its run was killed, its command still works";
    writeln!(out, "{}  {}  {what}\n", styles.state("busy"), styles.bold(&orphan.task.to_string()))?;
    let processes = orphan.processes();
    for (at, Seen { pid, command, is_stopped, .. }) in processes.iter().enumerate() {
        let word = if at == 0 { "who" } else { "" };
        let stopped = if *is_stopped { ", stopped" } else { "" };
        writeln!(out, "  {word:<5}  pid {pid}{stopped}: {}", shorten(command, WIDTH))?;
    }
    let since = when_here(orphan.since);
    writeln!(out, "  since  {since}, {}", length(orphan.since, Timestamp::now()))?;
    writeln!(out, "  so     it may still write: nobody takes over while it lives")?;
    writeln!(out, "\n  next")?;
    if !processes.is_empty() {
        let pids: Vec<_> = processes.iter().map(|process| process.pid.to_string()).collect();
        let is_deaf = |seen: &Seen| seen.is_stopped || seen.ignores_term || seen.is_keeper();
        let kill = if processes.iter().any(is_deaf) { "kill -9" } else { "kill" };
        let command = format!("{kill} {}", pids.join(" "));
        writeln!(out, "{}", next(&command, &format!("end it, then {again}")))?;
    }
    writeln!(out, "{}\n", next(wait, "or let it finish"))
}
