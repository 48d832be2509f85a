//! `semel script`: a run for the life of a script.
//!
//! What is printed is code for the shell that evaluates it. The code asks again, with
//! `--do`: to begin the run, which starts the script's keeper (`keep`), and to end it.
//!
//! Invariant: a script goes on guarded or not at all. Whatever goes wrong, the code ends
//! the script, and so does a status that the code does not expect.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use semel::deed::memory;
use semel::deed::run::{Options, Part, Setting, run_part, signals};
use semel::deed::script::{Script, VARIABLE, end_of};
use semel::ground::home::Home;
use semel::ground::manifest::{Manifest as _, ManifestError};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::ground::world::file_system::FileSystem;
use semel::thought::bind::Params;
use semel::words::clock;
use semel::words::event::Event;
use semel::words::guard::{self, ALONE, from_root};
use semel::words::pipeline::{
    Command as Asked, DEFAULT_SHELL, HOOK_TIMEOUT, Hook, HookDoes, Pipeline,
};
use semel::words::run::{By, Counts};
use semel::words::shell::quote_words;
use semel::words::template::Template;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::args::{self, ScriptDoes};
use crate::exit::Exit;
use crate::file::NAME;
use crate::place::whoever_we_are;
use crate::show::busy::Kind;
use crate::show::fail::Failed;
use crate::show::style::Styles;
use crate::show::text::{memory as of_memory, notice_of};
use crate::verb::step::home_of;
use semel::words::thousands;

/// The code for each shell.
const BASH: &str = include_str!("script/bash.sh");
const POSIX: &str = include_str!("script/posix.sh");

/// Shells that cannot evaluate any of it.
const OTHERS: [&str; 6] = ["fish", "csh", "tcsh", "nu", "elvish", "pwsh"];

pub(crate) fn script(options: &args::Script) -> Exit {
    let done = match options.does {
        None => print_code(options),
        Some(ScriptDoes::Begin) => begin(options),
        Some(ScriptDoes::Keep) => keep(options),
        Some(ScriptDoes::Ending) => tell_end(options, false),
        Some(ScriptDoes::End) => tell_end(options, true),
    };
    done.unwrap_or_else(|failed| failed.tell_of_prefix())
}

/// Prints the code. Whoever could not evaluate it is told, and gets code that ends it.
fn print_code(options: &args::Script) -> Result<Exit, Failed> {
    let mut out = anstream::stdout().lock();
    let wrong = why_not(options);
    if let Some(why) = wrong {
        // Wherever it is evaluated, it ends the script.
        writeln!(out, "exit 102")?;
        return Err(why);
    }
    let program = std::env::current_exe()
        .map_err(|error| Failed::Broken(format!("semel does not find itself: {error}")))?;
    let quoted = |words: &[&str]| quote_words(words.iter().copied());
    let mut typed: Vec<String> = Vec::new();
    if let Some(command) = &options.on_failure {
        typed.extend(["--on-failure".to_owned(), command.clone()]);
    }
    if let Some(wait) = options.wait {
        typed.extend(["--wait".to_owned(), args::as_typed(wait)]);
    }
    if options.quiet {
        typed.push("--quiet".to_owned());
    }
    let typed: Vec<_> = typed.iter().map(String::as_str).collect();
    let fill = |code: &str| {
        code.replace("@SEMEL@", &quoted(&[&program.to_string_lossy()]))
            .replace("@NAME@", &quoted(&[&options.name]))
            .replace("@OPTIONS@", &quoted(&typed))
    };
    // What one shell cannot read is a text for the others.
    let (bash, posix) = (quoted(&[&fill(BASH)]), fill(POSIX));
    write!(out, "if [ -n \"${{BASH_VERSION-}}\" ]; then\neval {bash}\nelse\n{posix}fi\n")?;
    Ok(Exit::DONE)
}

/// Why no code can be given that would guard the script.
fn why_not(options: &args::Script) -> Option<Failed> {
    let name = &options.name;
    if name == ALONE || name.is_empty() || name.chars().any(char::is_control) {
        let why = format!("`{}` cannot be the name of a script", name.escape_default());
        let why = if name == ALONE { why + ": steps that stand in no script have it" } else { why };
        return Some(Failed::Usage(why));
    }
    let parent = rustix::process::getppid()?.as_raw_nonzero();
    // A command substitution is a child of the shell, by the same name.
    let shell = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    let shell = shell.trim();
    OTHERS.contains(&shell).then(|| {
        Failed::Usage(format!(
            "{shell} cannot evaluate this: it is for bash, zsh and POSIX sh; \
             `semel step` works in any shell, one task at a time"
        ))
    })
}

/// Begins the run: starts its keeper, and prints what the steps find it by.
fn begin(options: &args::Script) -> Result<Exit, Failed> {
    let failed = |error| Failed::Broken(format!("the script's keeper cannot be started: {error}"));
    let mut words = vec!["script".to_owned(), options.name.clone()];
    words.extend(["--do".to_owned(), "keep".to_owned()]);
    if let Some(shell) = options.shell {
        words.extend(["--shell".to_owned(), shell.to_string()]);
    }
    if let Some(wait) = options.wait {
        words.extend(["--wait".to_owned(), args::as_typed(wait)]);
    }
    if let Some(command) = &options.on_failure {
        words.extend(["--on-failure".to_owned(), command.clone()]);
    }
    let mut keeper = Command::new("/proc/self/exe");
    keeper.args(words);
    if let Some(from) = &options.from {
        keeper.arg("--from").arg(from);
    }
    let mut keeper = keeper.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut line = String::new();
    if let Some(said) = keeper.stdout.take() {
        BufReader::new(said).read_line(&mut line).map_err(failed)?;
    }
    if !line.ends_with('\n') {
        // It has said why.
        let ended = keeper.wait().map_err(failed)?;
        return Ok(Exit(ended.code().unwrap_or(Exit::BROKEN.of_prefix().0)));
    }
    write!(std::io::stdout(), "{line}")?;
    Ok(Exit::DONE)
}

/// Where the script is, as far as that can be told, and where its manifest lies.
struct Site {
    disk: RealDisk,
    home: Home,
    /// The script, from the folder of the manifest.
    file: String,
}

fn site(options: &args::Script) -> Result<Site, Failed> {
    let from = options.from.as_deref().filter(|from| from.is_file());
    let absolute = from.and_then(|from| from.canonicalize().ok());
    let folder = absolute.as_deref().and_then(Path::parent);
    let here = std::env::current_dir()
        .map_err(|error| Failed::Broken(format!("there is no folder here: {error}")))?;
    let root = home_of(folder.unwrap_or(&here))?;
    let disk = RealDisk::at(&root).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let file = absolute.map(|path| from_root(disk.root(), &here, &path.to_string_lossy()));
    let file = file.unwrap_or_else(|| options.name.clone());
    Ok(Site { disk, home, file })
}

/// Holds the run until the script is over.
fn keep(options: &args::Script) -> Result<Exit, Failed> {
    let no_shell = || Failed::Usage("--shell wants the process of the shell".to_owned());
    let shell_pid = options.shell.ok_or_else(no_shell)?;
    let shell = shell_pid.try_into().ok().and_then(Pid::from_raw);
    let shell = pidfd_open(shell.ok_or_else(no_shell)?, PidfdFlags::empty());
    let shell = shell.map_err(|_| no_shell())?;
    // Whoever ends the script with all its processes means the script: we end after it.
    // Until the run has begun we go with whoever wants it to begin.
    let (sender, signals) = signals();
    let broken = |error: std::io::Error| Failed::Broken(error.to_string());
    let wake = wake_on_end().map_err(broken)?;
    crate::verb::run::listen(sender).map_err(broken)?;
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .map_err(|error| broken(error.into()))?;
    if parent != rustix::process::getppid() {
        return Ok(Exit::BROKEN.of_prefix());
    }
    let Site { disk, home, file } = site(options)?;
    if FileSystem::is_network(home.path()) {
        return Err(Failed::Broken(format!(
            "{} lies on a network file system, where one process at a time may write; \
             put the manifest of this script elsewhere: SEMEL_DIR",
            home.path().display()
        )));
    }
    let mut pipeline = guard::pipeline(&options.name, &[], Vec::new());
    pipeline.on_failure = options.on_failure.as_ref().map(|command| Hook {
        does: HookDoes::Run(Asked::Shell {
            shell: DEFAULT_SHELL.map(str::to_owned).to_vec(),
            prelude: None,
            text: Template::of_script(command),
        }),
        timeout: HOOK_TIMEOUT,
        span: 0..0,
    });
    // For others the shell is at work: we end with it.
    let by = By { pid: shell_pid, ..whoever_we_are() };
    let (params, env) = (Params::default(), crate::place::environment());
    has_name_alone(disk.root(), &options.name)?;
    let command = format!("script {file}");
    let setting = Setting {
        pipeline: &pipeline,
        file: &file,
        params: &params,
        disk: &disk,
        env: &env,
        command: &command,
        by: &by,
    };
    let hold = |number: i64, run_id: &str| {
        let script = Script {
            number,
            run_id: run_id.to_owned(),
            keeper: std::process::id(),
            name: options.name.clone(),
            folder: disk.root().to_owned(),
        };
        tell_begun(&script).then(|| wait_for_end(&home, run_id, &shell, &wake)).flatten()
    };
    let how = Options { wait: options.wait, ..Options::default() };
    let ended = run_part(&setting, &how, Part::Script(&hold), &signals, &mut |event| {
        for line in notes_of(event) {
            // A log that is gone must not end the script.
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    });
    match ended {
        Ok(_) => Ok(Exit::DONE),
        Err(error) => Err(Failed::of_script(error, &home, &options.name, Kind::Script)),
    }
}

/// Receipts are kept by the name: a pipeline file beside the script has another.
fn has_name_alone(root: &Path, name: &str) -> Result<(), Failed> {
    let text = std::fs::read_to_string(root.join(NAME)).unwrap_or_default();
    match Pipeline::read(&text) {
        Ok(pipeline) if pipeline.name == name => Err(Failed::Usage(format!(
            "{NAME} is named `{name}`, too: receipts are kept by that name, give one of them another"
        ))),
        _ => Ok(()),
    }
}

/// What is said of an event of a script's run, beside its tasks.
fn notes_of(event: &Event<'_>) -> Vec<String> {
    match event {
        Event::CleanedUp { number, attempts } if *attempts > 0 => {
            vec![format!("semel: cleaned up after run {number}, which was killed")]
        }
        Event::Finished { number, task } => {
            vec![format!("semel: {task}: finished what run {number}, which was killed, had begun")]
        }
        event => {
            let mut lines = notice_of(event);
            lines.extend(of_memory(event));
            lines.into_iter().map(|line| format!("semel: {line}")).collect()
        }
    }
}

/// Tells the script that its run has begun, and lets go of it. Whether it was heard.
fn tell_begun(script: &Script) -> bool {
    // From now on we outlive whoever started us, and nobody waits for our output.
    let _ = rustix::process::set_parent_process_death_signal(None);
    let _ = rustix::process::setsid();
    let mut out = std::io::stdout();
    let is_heard = writeln!(out, "{}", script.to_variable()).and_then(|()| out.flush()).is_ok();
    let null = std::fs::File::options().write(true).open("/dev/null");
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
    is_heard
}

/// Waits until the script says that it is over, or its shell is dead; gives the exit
/// status that it told.
fn wait_for_end(home: &Home, run_id: &str, shell: &OwnedFd, wake: &OwnedFd) -> Option<i32> {
    loop {
        let mut fds = [PollFd::new(shell, PollFlags::IN), PollFd::new(wake, PollFlags::IN)];
        // A wait that is interrupted goes on.
        let _ = poll(&mut fds, None);
        let [is_dead, is_woken] = fds.map(|fd| !fd.revents().is_empty());
        if is_woken {
            let _ = rustix::io::read(wake, &mut [0; 64]);
        }
        let end = end_of(home, run_id);
        if is_dead || end.is_some_and(|end| end.over) {
            return end.map(|end| end.status);
        }
    }
}

/// A descriptor that can be read once the script tells of its end.
fn wake_on_end() -> std::io::Result<OwnedFd> {
    let (reader, writer) = std::os::unix::net::UnixStream::pair()?;
    signal_hook::low_level::pipe::register(SIGUSR1, writer)?;
    Ok(reader.into())
}

/// The script tells of its end; if that is over, says how it went, and gives the exit
/// status that the script ends with.
fn tell_end(options: &args::Script, over: bool) -> Result<Exit, Failed> {
    let variable = std::env::var(VARIABLE).unwrap_or_default();
    let status = options.status.unwrap_or(1);
    let Some(script) = Script::of_variable(&variable) else {
        return Err(Failed::Broken(format!("{VARIABLE} is not what it was")));
    };
    // While we wait, whoever ends the script must not end us.
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        let _ = signal_hook::flag::register(signal, Arc::clone(&ignored));
    }
    let told = script.tell_end(status, over);
    if !over {
        return Ok(Exit::DONE);
    }
    let unguarded = |why: String| {
        let broken =
            Failed::Broken(format!("the run of {} is not held any more: {why}", script.name));
        if status == 0 { Err(broken) } else { Ok(Exit(status)) }
    };
    if let Err(error) = told {
        return unguarded(error.to_string());
    }
    script.wait_for_end().map_err(|error| Failed::Broken(error.to_string()))?;
    let disk = RealDisk::at(&script.folder).map_err(|error| Failed::Broken(error.to_string()))?;
    let home = Home::in_folder(disk.root());
    let broken = |error: ManifestError| Failed::Manifest(home.manifest(), error);
    let looked = memory::read(&disk, &home).map_err(broken)?;
    let looked = looked.ok_or_else(|| broken(ManifestError::Absent))?;
    let runs = looked.manifest.runs(&script.name, None, 1).map_err(broken)?;
    let run = runs.into_iter().find(|run| run.number == script.number);
    let Some((run, ended)) = run.and_then(|run| Some((run.clone(), run.status?))) else {
        return unguarded("it has no end in the manifest".to_owned());
    };
    let mut totals = Counts::default();
    let mut first = None;
    for step in looked.manifest.run_steps(run.number).map_err(broken)? {
        let counts = step.counts;
        if !counts.all_reached() && first.as_ref().is_none_or(|(place, _)| step.place < *place) {
            first = Some((step.place, format!("{}: {}", step.step, step.note)));
        }
        totals.total += counts.total;
        totals.ran += counts.ran + counts.adopted + counts.reused;
        totals.skipped += counts.skipped;
    }
    let took = run.ended.and_then(|end| end.duration_since(run.new.began).try_into().ok());
    if !(options.quiet && ended == 0) {
        let styles = Styles::for_stderr();
        let line = verdict(&script, ended, status, totals, took, first, styles);
        let _ = writeln!(anstream::stderr(), "{line}");
    }
    Ok(match (status, ended) {
        (0, ended) => Exit(ended).of_script(),
        (status, _) => Exit(status),
    })
}

/// One sentence on a run of a script.
fn verdict(
    script: &Script,
    ended: i32,
    status: i32,
    totals: Counts,
    took: Option<std::time::Duration>,
    first: Option<(u64, String)>,
    styles: Styles,
) -> String {
    let word = Exit(ended).word();
    let time = took.map_or_else(String::new, |took| format!(" in {}", clock(took)));
    let head = format!("{} run {} {}{time}", script.name, script.number, styles.state(word));
    if ended == 0 {
        return match (totals.ran, totals.total) {
            (0, 0) => format!("{head}: it has no step"),
            (0, total) => format!("{head}: nothing to do, {} of {0} done before", thousands(total)),
            (ran, _) => {
                let skipped = match totals.skipped {
                    0 => String::new(),
                    skipped => format!(", {} done before", thousands(skipped)),
                };
                format!("{head}: {} done{skipped}", thousands(ran))
            }
        };
    }
    let reached = format!(
        "{} of {} tasks done",
        thousands(totals.ran + totals.skipped),
        thousands(totals.total)
    );
    let first = first.map_or_else(String::new, |(_, what)| format!("; {what}"));
    let exit = match status {
        0 => Exit(ended).of_script().0,
        _ if ended > 128 => ended,
        status => status,
    };
    format!("{head}: {reached}{first}; exit {exit}")
}
