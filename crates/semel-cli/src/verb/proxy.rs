//! `semel proxy`: a command's HTTP calls go through the call journal.
//!
//! Invariant: *I4* one at a time makes calls under a name: two at once would be two of every
//! call.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use semel::deed::calls::{Calling, Guarded, Origin, Proxy, Setting, Tally};
use semel::deed::lease::{DYING, Holder, Lease, LeaseError};
use semel::deed::memory::{self, Access, CannotMake};
use semel::ground::home::Home;
use semel::ground::manifest::Manifest as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::world::contain::{Gateway, Refused};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::ground::world::process::{End, Input, Order, Stop, Stream, Streams, start};
use semel::words::call::{PROXY, Rule, Scope};
use semel::words::pipeline::Pipeline;
use semel::words::shell::programs_of;
use semel::words::task::{Instance, TaskName};

use crate::args;
use crate::exit::Exit;
use crate::file;
use crate::place::whoever_we_are;
use crate::show::busy::{Busy, Kind};
use crate::show::calls as show;
use crate::show::fail::Failed;
use crate::verb::run::new_calls;
use crate::verb::step::home_of;

/// How long between two tries to get the lease.
const BETWEEN: Duration = Duration::from_millis(20);

pub(crate) fn proxy(options: &args::Proxy) -> Exit {
    guard(options).unwrap_or_else(|failed| failed.tell_of_prefix())
}

fn guard(options: &args::Proxy) -> Result<Exit, Failed> {
    if options.command.is_empty() && options.listen.is_none() {
        let why = "name a command after `--`, or where to listen: `--listen ADDRESS --to URL`";
        return Err(Failed::Usage(why.to_owned()));
    }
    let here = std::env::current_dir()
        .map_err(|error| Failed::Broken(format!("there is no folder here: {error}")))?;
    let root = home_of(&here)?;
    let rules = rules_of(&root)?;
    let origin = options.to.as_deref().map(origin_of).transpose()?;
    let disk = RealDisk::at(&root).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let name = name_of(options, &origin);
    let instance = Instance::of(options.per.iter().map(|(_, value)| value.as_str()));
    let task = TaskName::new(&name, &instance, None);
    let by = whoever_we_are();
    let holder = Holder {
        host: by.host.clone(),
        user: by.user,
        pid: by.pid,
        command: format!("semel proxy --name {name}"),
        since: Timestamp::now(),
    };
    let stops = Stops::on_signals()?;
    let _lease = take(options, &home, &task, &holder, &stops.first)?;
    let run_id = uuid();
    let lease_error = |error: LeaseError| Failed::Broken(error.to_string());
    memory::make(&disk, &home, &run_id, &holder).map_err(|error| match error {
        CannotMake::Lease(error) => lease_error(error),
        CannotMake::Manifest(error) => Failed::Broken(format!("the manifest: {error}")),
    })?;
    let access = Access::share(&home, &holder).map_err(lease_error)?;
    let manifest = SqliteManifest::open(&home.manifest())
        .and_then(|manifest| manifest.identity())
        .map_err(|error| Failed::Broken(format!("the manifest: {error}")))?;
    let setting = Setting {
        home: &home,
        folder: disk.root(),
        env: std::env::vars_os().collect(),
        rules,
        holder,
        access: &access,
    };
    let opened = Proxy::open(&setting).map_err(Failed::Broken)?;
    let calling = Calling {
        scope: Scope { pipeline: PROXY.to_owned(), task: Some(task), params: String::new() },
        attempt: run_id.clone(),
        run_id,
        token: None,
        new_calls: new_calls(options.new_calls, options.no_new_calls),
        memory_is_whole: manifest.whole_since.is_none(),
    };
    let scope = calling.scope.clone();
    let guarded = opened.guard(calling).map_err(Failed::Broken)?;
    if let (Some(at), Some(origin)) = (options.listen, origin) {
        let port = opened
            .stand_in(&guarded, at, origin.clone())
            .map_err(|error| Failed::Broken(format!("semel cannot listen at {at}: {error}")))?;
        show::listening(at.ip(), port, &origin.to_string());
    }
    let exit = match options.command.as_slice() {
        [] => {
            stops.first.wait(Duration::MAX / 4);
            Exit::DONE
        }
        words => run(words, options.contained, &here, &home, &guarded, &stops.first)?,
    };
    if guarded.in_flight() > 0 {
        show::waits(guarded.in_flight());
    }
    let tally = guarded.end(&stops.second);
    if exit == Exit::DONE && !tally.is_refused() && tally.broken.is_none() {
        opened.has_completed(&scope).map_err(Failed::Broken)?;
    }
    let idle = opened.idle_rules(&tally);
    show::of_proxy(&tally, &name, &idle, options, exit);
    Ok(status_of(&tally, exit))
}

/// What semel has to say comes before what the command has.
fn status_of(tally: &Tally, exit: Exit) -> Exit {
    match tally {
        _ if exit.0 > 128 && exit.0 != 255 => exit,
        tally if tally.broken.is_some() => Exit::BROKEN.of_prefix(),
        tally if tally.is_refused() => Exit::REFUSED.of_prefix(),
        _ => exit,
    }
}

fn uuid() -> String {
    semel::words::run::new_id()
}

/// The rules of the pipeline file beside semel's folder, if there is one.
fn rules_of(root: &Path) -> Result<Vec<Rule>, Failed> {
    let path = root.join(file::NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Failed::Broken(format!("{}: {error}", path.display()))),
    };
    Pipeline::read_calls(&text).map_err(|faults| {
        let path = file::NAME.into();
        Failed::NoPipeline(file::NoPipeline::Faulty { path, text, faults })
    })
}

fn origin_of(url: &str) -> Result<Origin, Failed> {
    Origin::of_url(url).ok_or_else(|| {
        Failed::Usage(format!("`{url}` names no server: it wants https://HOST, and no path"))
    })
}

/// The name under which calls are kept.
fn name_of(options: &args::Proxy, origin: &Option<Origin>) -> String {
    if let Some(name) = &options.name {
        return name.clone();
    }
    let words: Vec<_> = options.command.iter().map(|word| word.to_str()).collect();
    let programs = programs_of(&words);
    let first = options.command.first().map(|word| word.to_string_lossy().into_owned());
    let named = programs.last().cloned().or(first);
    let path =
        named.or_else(|| origin.as_ref().map(|origin| origin.host.clone())).unwrap_or_default();
    let name = Path::new(&path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or(path)
}

fn take(
    options: &args::Proxy,
    home: &Home,
    task: &TaskName,
    holder: &Holder,
    stop: &Stop,
) -> Result<Lease, Failed> {
    let (path, began) = (home.task_lock(PROXY, task), Instant::now());
    loop {
        match Lease::take(&path, holder) {
            Ok(lease) => return Ok(lease),
            Err(LeaseError::Busy(other)) => {
                let is_dying = other.as_ref().is_some_and(|other| other.is_dying(&holder.host));
                let patience = if is_dying { DYING } else { Duration::ZERO };
                if began.elapsed() >= options.wait.unwrap_or_default().max(patience) {
                    let pipeline = task.to_string();
                    let (holder, doing) = (other, Vec::new());
                    return Err(Failed::Busy(Busy { pipeline, holder, doing, kind: Kind::Lock }));
                }
            }
            Err(error) => return Err(Failed::Broken(error.to_string())),
        }
        stop.wait(BETWEEN);
        if stop.is_pulled() {
            return Err(Failed::Stopped(2));
        }
    }
}

/// The first signal ends the command, the second all.
struct Stops {
    first: Arc<Stop>,
    second: Arc<Stop>,
}

impl Stops {
    fn on_signals() -> Result<Self, Failed> {
        let broken =
            |error: std::io::Error| Failed::Broken(format!("no signal can be heard: {error}"));
        let new = || Stop::new().map(Arc::new).map_err(broken);
        let stops = Self { first: new()?, second: new()? };
        let (sender, signals) = semel::deed::run::signals();
        crate::verb::run::listen(sender).map_err(broken)?;
        let (first, second) = (Arc::clone(&stops.first), Arc::clone(&stops.second));
        std::thread::spawn(move || {
            for stop in [first, second] {
                if signals.wait().is_none() {
                    return;
                }
                // A switch that cannot be pulled leaves things to their own end.
                let _ = stop.pull();
            }
        });
        Ok(stops)
    }
}

/// Runs the command with our standard streams; gives its exit status.
fn run(
    words: &[OsString],
    contained: bool,
    folder: &Path,
    home: &Home,
    guarded: &Guarded<'_>,
    stop: &Stop,
) -> Result<Exit, Failed> {
    let gateway = contained.then(|| Gateway::open(&home.calls())).transpose();
    let gateway =
        gateway.map_err(|error| Failed::Broken(format!("it cannot be contained: {error}")))?;
    let semel = Path::new("/proc/self/exe");
    let started = gateway.as_ref().map(|gateway| gateway.words(semel, &guarded.ports(), words));
    let (input, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let order = Order {
        words: started.as_deref().unwrap_or(words),
        folder,
        env: guarded.env(),
        streams: Streams::Apart,
        input: Input::From(input.as_fd()),
        output: Some(stdout.as_fd()),
        lock: None,
    };
    let program = words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
    let not_started = |error: &std::io::Error| {
        let status = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
        let _ = writeln!(anstream::stderr(), "semel: `{program}` could not be started: {error}");
        Exit(status)
    };
    let running = match start(&order) {
        Ok(running) => running,
        Err(error) => return Ok(not_started(&error)),
    };
    let admitted = gateway.as_ref().map(|gateway| gateway.admit(&running, stop)).transpose();
    let refused = match admitted {
        Ok(listeners) => {
            guarded.serve_inside(listeners.unwrap_or_default()).err().map(Refused::Failed)
        }
        Err(refused) => Some(refused),
    };
    let end = running.wait(None, stop, |stream, bytes| {
        if stream == Stream::Error {
            // Whoever does not listen any more is told by the exit status.
            let _ = stderr.lock().write_all(bytes);
        }
    });
    match (refused, end) {
        (Some(Refused::NotStarted(error)), _) => Ok(not_started(&error)),
        (Some(Refused::Stopped), _) => Ok(Exit(130)),
        (Some(refused), _) => {
            Err(Failed::Broken(format!("`{program}` cannot be contained: {refused}")))
        }
        (None, Ok(End::Exited(status))) => Ok(Exit(status)),
        (None, Ok(End::Signalled(signal))) => Ok(Exit(128 + signal)),
        (None, Ok(End::Stopped | End::TimedOut)) => Ok(Exit(128 + 2)),
        (None, Err(error)) => {
            Err(Failed::Broken(format!("the command cannot be waited for: {error}")))
        }
    }
}
