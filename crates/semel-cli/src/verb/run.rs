//! `semel run`: bring steps, and what they need, to their desired state.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::Instant;

use semel::deed::calls::NewCalls;
use semel::deed::run::{Mode, Options, SignalSender, run as run_pipeline, signals};
use semel::words::event::Event;
use semel::words::task::TaskPattern;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::args;
use crate::exit::Exit;
use crate::place::Place;
use crate::show::fail::Failed;
use crate::show::json;
use crate::show::patient::{self, Patient};
use crate::show::plain::Plain;
use crate::show::style::Styles;
use crate::show::summary::Summary;
use crate::show::terminal::Terminal;
use crate::show::text::{in_home, is_incomplete, memory, named, notice};
use crate::verb::plan::Outlook;

pub(crate) fn run(place: Place, options: &args::Run, typed: &str) -> Result<Exit, Failed> {
    let began = Instant::now();
    let mode = if options.expect_noop { Mode::ExpectNoop } else { Mode::Act };
    let how = Options {
        mode,
        targets: options.targets.iter().map(|target| TaskPattern::parse(target)).collect(),
        jobs: options.jobs,
        fails_fast: options.fail_fast,
        fresh: options.fresh,
        rehash: options.rehash,
        passes_on: options.verbose,
        explains: None,
        keeps: place.steps_named(&options.keep)?,
        only_failed: options.only_failed,
        wait: options.wait,
        new_calls: new_calls(options.new_calls, options.no_new_calls),
    };
    let (sender, signals) = signals();
    listen(sender)
        .map_err(|error| Failed::Broken(format!("signals cannot be listened for: {error}")))?;
    let styles = Styles::for_stderr();
    let mut view = View::choose(&place, options, styles);
    let mut goes_on_after = None;
    let mut displaced = Vec::new();
    let mut renamed = BTreeMap::new();
    let mut outlook = Outlook::default();
    let ended = run_pipeline(&place.setting(typed), &how, &signals, &mut |event| {
        match event {
            Event::CleanedUp { number, .. } | Event::Finished { number, .. } => {
                goes_on_after = Some(*number);
            }
            Event::Displaced { from, to, .. } => {
                let to = in_home(to).display().to_string();
                displaced.push((from.display().to_string(), to));
            }
            Event::MayBeRenamed { task, pipeline, step } => {
                renamed.insert(task.name(), ((*pipeline).to_owned(), (*step).to_owned()));
            }
            _ => {}
        }
        outlook.take(event);
        view.take(event);
    });
    view.end();
    drop(view);
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) => return Err(Failed::to_begin(error, place.file)),
    };
    let status = ended.report.status();
    if options.json {
        writeln!(std::io::stdout(), "{}", json::ended(ended.number, status, &ended.report))?;
        return Ok(Exit(status));
    }
    let summary = Summary {
        place: &place,
        ended: &ended,
        took: began.elapsed(),
        styles,
        shows_steps: std::io::stderr().is_terminal(),
        goes_on_after,
        displaced: &displaced,
        renamed: &renamed,
        targets: &options.targets,
    };
    let mut out: Box<dyn Write> = match std::io::stderr().is_terminal() {
        true => Box::new(anstream::stderr()),
        false => Box::new(Patient::default()),
    };
    // What cannot be told is still in the manifest, and in the exit status.
    let _ = if options.expect_noop && status == 6 {
        outlook.write(&mut out, &place, &ended.report, styles).and_then(|()| {
            writeln!(out, "\nthis run would not be boring; nothing was started; exit 6")
        })
    } else {
        summary.write(&mut out, options.quiet)
    };
    if let Some(tally) = ended.calls.as_ref().filter(|_| !options.quiet || status != 0) {
        let _ = crate::show::calls::of_run(&mut out, tally);
    }
    Ok(Exit(status))
}

/// How new calls are taken.
pub(crate) const fn new_calls(welcome: bool, refused: bool) -> NewCalls {
    match (welcome, refused) {
        (true, _) => NewCalls::Welcome,
        (_, true) => NewCalls::Refused,
        _ => NewCalls::Watched,
    }
}

/// Where events go.
enum View<'a> {
    Quiet,
    Json,
    Terminal(Box<Terminal>, &'a Place, Styles),
    Plain(Box<Plain<'a, Patient>>),
}

impl<'a> View<'a> {
    fn choose(place: &'a Place, options: &args::Run, styles: Styles) -> Self {
        let pipeline = &place.file.pipeline;
        match () {
            () if options.json => Self::Json,
            () if options.quiet || options.expect_noop => Self::Quiet,
            () if std::io::stderr().is_terminal() => {
                Self::Terminal(Box::new(Terminal::new(pipeline, styles)), place, styles)
            }
            () => Self::Plain(Box::new(Plain::new(place, Patient::default()))),
        }
    }

    fn take(&mut self, event: &Event<'_>) {
        match self {
            // It is not well, though nothing is to be done.
            Self::Quiet if is_incomplete(event) => {
                let mut out = anstream::stderr().lock();
                for line in memory(event) {
                    let _ = writeln!(out, "{line}");
                }
            }
            Self::Quiet => {}
            Self::Json => {
                // A reader that went away does not end the run.
                let _ = writeln!(std::io::stdout(), "{}", json::event(event));
            }
            Self::Terminal(terminal, place, styles) => {
                if let Event::Began { run, number } = event {
                    let name = styles.bold(&run.pipeline);
                    let named = named(&name, &place.file.pipeline.per, &run.instance);
                    let since = crate::show::text::when_here(run.began);
                    let since = since.trim_start_matches("today ");
                    terminal.header(format!("semel  {named}  run {number}  since {since}"));
                }
                for line in notice(place, event) {
                    terminal.print(&line);
                }
                terminal.take(event);
            }
            Self::Plain(plain) => plain.take(event),
        }
    }

    fn end(&mut self) {
        if let Self::Terminal(terminal, ..) = self {
            terminal.end();
        }
    }
}

/// Passes signals on to the run, for as long as the process lives.
pub(crate) fn listen(sender: SignalSender) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            patient::signalled();
            sender.send(signal);
        }
    });
    Ok(())
}
