//! A scratch folder in which the command is run as a user would run it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::library::put_file;

/// A folder with files, and the command to run in it.
#[derive(Debug)]
pub struct Scratch {
    folder: tempfile::TempDir,
    binary: PathBuf,
}

/// All files of a folder but semel's own: their bytes and when they changed.
pub type Snapshot = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

impl Scratch {
    /// An empty folder; `binary` is the command under test.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self {
            folder: tempfile::Builder::new()
                .prefix("semel-test-")
                .tempdir()
                .expect("a scratch folder"),
            binary: binary.into(),
        }
    }

    /// An empty folder in a folder that is given; it is removed with us.
    #[must_use]
    pub fn inside(folder: &Path, binary: impl Into<PathBuf>) -> Self {
        let mut builder = tempfile::Builder::new();
        let folder = builder.prefix("semel-test-").tempdir_in(folder).expect("a scratch folder");
        Self { folder, binary: binary.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders above it.
    pub fn file(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> &Self {
        put_file(self.path(), path, text);
        self
    }

    /// Copies all that is in a folder, but semel's own, and what its `.gitignore`
    /// names by lines that begin with a slash: that is what runs make.
    pub fn copy_of(&self, folder: &Path) -> &Self {
        let ignored = std::fs::read_to_string(folder.join(".gitignore")).unwrap_or_default();
        let made: Vec<_> = ignored
            .lines()
            .filter_map(|line| Some(line.strip_prefix('/')?.trim_end_matches('/')))
            .collect();
        let mut open = vec![PathBuf::new()];
        while let Some(inside) = open.pop() {
            for entry in std::fs::read_dir(folder.join(&inside)).expect("it can be listed") {
                let name = inside.join(entry.expect("an entry").file_name());
                if name == Path::new(".semel") || made.iter().any(|made| name == Path::new(made)) {
                    continue;
                }
                if folder.join(&name).is_dir() {
                    open.push(name);
                } else {
                    // With its mode: a script stays one that can be started.
                    let to = self.file(&name, "").path().join(&name);
                    std::fs::copy(folder.join(&name), to).expect("it can be copied");
                }
            }
        }
        self
    }

    /// Writes the pipeline file; `name = "test"` stands above what is given.
    pub fn pipeline(&self, text: &str) -> &Self {
        self.file("semel.toml", format!("name = \"test\"\n{text}"))
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, path: impl AsRef<Path>) -> String {
        let path = self.path().join(path);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Whether something is there.
    #[must_use]
    pub fn has(&self, path: impl AsRef<Path>) -> bool {
        self.path().join(path).symlink_metadata().is_ok()
    }

    /// Removes a file or a folder.
    pub fn remove(&self, path: impl AsRef<Path>) -> &Self {
        let path = self.path().join(path);
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self
    }

    /// Renames a file.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> &Self {
        std::fs::rename(self.path().join(from), self.path().join(to)).expect("it can be renamed");
        self
    }

    /// Runs a shell command in the folder, which must succeed.
    pub fn sh(&self, script: &str) -> &Self {
        let status = Command::new("bash").args(["-euc", script]).current_dir(self.path()).status();
        assert!(status.expect("bash runs").success(), "{script}");
        self
    }

    /// The names in a folder, in order.
    #[must_use]
    pub fn list(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = std::fs::read_dir(self.path().join(folder)).expect("it can be listed");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// All files but semel's own, with their bytes and times.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        let mut open = vec![self.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).expect("it can be listed").flatten() {
                let path = entry.path();
                if entry.file_name() == ".semel" {
                    continue;
                }
                let meta = entry.path().symlink_metadata().expect("it is there");
                let name = path.strip_prefix(self.path()).expect("it lies inside").to_owned();
                if meta.is_dir() {
                    open.push(path);
                } else if meta.is_file() {
                    let bytes = std::fs::read(&path).expect("it can be read");
                    snapshot.insert(name, (bytes, meta.modified().expect("times are kept")));
                }
            }
        }
        snapshot
    }

    /// All files but semel's own, with their bytes.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        self.snapshot().into_iter().map(|(path, (bytes, _))| (path, bytes)).collect()
    }

    /// The command, ready to be changed and run: nothing of the surroundings
    /// reaches it.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.program(&self.binary);
        command.args(words);
        command
    }

    /// The command for somebody to whom something can be forbidden: root becomes nobody
    /// for it. `setpriv` finds it even in a folder that only root may enter.
    #[must_use]
    pub fn command_of_nobody<S: AsRef<OsStr>>(
        &self,
        words: impl IntoIterator<Item = S>,
    ) -> Command {
        if !rustix::process::geteuid().is_root() {
            return self.command(words);
        }
        let mut command = self.program("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&self.binary)
            .args(words);
        command
    }

    /// A script, ready to be run by a shell that finds the command in its `PATH`.
    #[must_use]
    pub fn script(&self, shell: &str, file: &str) -> Command {
        let mut command = self.program(shell);
        let folder = self.binary.parent().unwrap_or(Path::new("."));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path));
        command.arg(file).env("PATH", std::env::join_paths(folders).expect("no colon is in it"));
        command
    }

    fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path())
            .env("USER", "etl")
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .envs(std::env::var_os("SEMEL_FILE_SYSTEM").map(|said| ("SEMEL_FILE_SYSTEM", said)))
            .stdin(Stdio::null());
        command
    }

    /// Runs the command with these words, split at blanks.
    pub fn semel(&self, words: &str) -> Ran {
        self.semel_words(words.split_whitespace())
    }

    /// Runs the command with these words.
    pub fn semel_words<S: AsRef<OsStr>>(&self, words: impl IntoIterator<Item = S>) -> Ran {
        Ran::of(self, self.command(words))
    }

    /// Runs the command with these words on a terminal of its own; what it printed
    /// there is what is left in the end, without colours and without what was drawn
    /// over.
    #[must_use]
    pub fn semel_on_terminal(&self, words: &str) -> Ran {
        let (screen, terminal) = pseudo_terminal();
        let mut command = self.command(words.split_whitespace());
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        let side = || Stdio::from(terminal.try_clone().expect("a descriptor is left"));
        let child = command.stdout(side()).stderr(side()).spawn();
        // The command holds its ends of the terminal until it is dropped.
        drop((command, terminal));
        let mut printed = Vec::new();
        // At the end the other side is gone, which reads as an error.
        let _ = std::io::Read::read_to_end(&mut std::fs::File::from(screen), &mut printed);
        let status = child.expect("the command starts").wait().expect("it can be waited for");
        let stdout = left_on_screen(&printed).into_bytes();
        let output = std::process::Output { status, stdout, stderr: Vec::new() };
        Ran::from_output(self.path(), &output)
    }

    /// Runs a command that was made by [`Scratch::command`], and changed.
    pub fn ran(&self, command: Command) -> Ran {
        Ran::of(self, command)
    }

    /// Starts the command with these words, split at blanks, without waiting for
    /// it.
    #[must_use]
    pub fn start(&self, words: &str) -> Running {
        self.started(self.command(words.split_whitespace()))
    }

    /// Starts a command that was made by [`Scratch::command`], and changed.
    #[must_use]
    pub fn started(&self, mut command: Command) -> Running {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Running { child: Some(child.expect("the command starts")), folder: self.path().to_owned() }
    }

    /// The answer to a query of the manifest: its rows, values joined by blanks.
    #[must_use]
    pub fn query(&self, sql: &str) -> Vec<String> {
        let ran = self.semel_words(["manifest", "query", sql]).exits(0);
        ran.stdout.lines().skip(1).map(|line| line.replace('\t', " ")).collect()
    }
}

/// A command that is at work.
#[derive(Debug)]
pub struct Running {
    child: Option<Child>,
    folder: PathBuf,
}

impl Running {
    /// The number of its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it is at work").id()
    }

    /// Kills it with all its descendants.
    pub fn kill(mut self) {
        super::kill_tree(self.pid());
        let mut child = self.child.take().expect("it is at work");
        child.wait().expect("it was ours");
    }

    /// Kills it and its keeper, but none of its commands.
    pub fn kill_without_commands(mut self) {
        super::kill_without_commands(self.pid());
        let mut child = self.child.take().expect("it is at work");
        child.wait().expect("it was ours");
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a number"), signal).expect("it is ours");
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("it was started");
        child.try_wait().expect("it is ours").is_some()
    }

    /// Waits for its end, but not for longer than this; says whether it came.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a number");
        let end = pidfd_open(pid, PidfdFlags::empty()).expect("it is ours");
        let limit = Timespec::try_from(limit).expect("it is not that long");
        let mut ends = [PollFd::new(&end, PollFlags::IN)];
        poll(&mut ends, Some(&limit)).expect("a process can be waited for") > 0
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ran {
        let child = self.child.take().expect("it is at work");
        let output = child.wait_with_output().expect("it can be waited for");
        Ran::from_output(&self.folder, &output)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            super::kill_tree(child.id());
            let _ = child.wait();
        }
    }
}

/// What a command did.
#[derive(Clone)]
pub struct Ran {
    /// Its exit status; 128 + n where signal n ended it.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    folder: PathBuf,
}

impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}\n--- stdout\n{}--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

impl Ran {
    /// Runs a command that was made ready in a folder.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn of(scratch: &Scratch, mut command: Command) -> Self {
        Self::from_output(scratch.path(), &command.output().expect("the command starts"))
    }

    fn from_output(folder: &Path, output: &std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        Self {
            status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: folder.to_owned(),
        }
    }

    /// It ended with this exit status.
    #[track_caller]
    pub fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// What it said, or printed, holds this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text) || self.stdout.contains(text),
            "it should say {text:?}\n{self:?}"
        );
        self
    }

    /// Neither what it said nor what it printed holds this text.
    #[track_caller]
    pub fn keeps_silent_of(self, text: &str) -> Self {
        assert!(
            !self.stderr.contains(text) && !self.stdout.contains(text),
            "it should not say {text:?}\n{self:?}"
        );
        self
    }

    /// What it printed and said, with what differs from run to run replaced.
    #[must_use]
    pub fn shown(&self) -> String {
        let both = match (self.stdout.is_empty(), self.stderr.is_empty()) {
            (false, false) => format!("{}--- stderr\n{}", self.stdout, self.stderr),
            _ => format!("{}{}", self.stdout, self.stderr),
        };
        let real = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        let text = both.replace(&*real.to_string_lossy(), "[folder]");
        redact(&text.replace(&*self.folder.to_string_lossy(), "[folder]"))
    }
}

/// Replaces times, durations, numbers of processes and names of hosts.
#[must_use]
pub fn redact(text: &str) -> String {
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut words: Vec<_> = line.split(' ').map(redact_word).collect();
        // A machine that is busy makes one second of none.
        for at in (1..words.len()).rev() {
            if words[at].starts_with("second") && words[at - 1].parse::<u32>().is_ok() {
                let unit = words.remove(at);
                let tail = unit.trim_start_matches("second").trim_start_matches('s');
                words[at - 1] = format!("[time]{tail}");
            }
        }
        let mut line = words.join(" ");
        for (unit, with) in
            [("[n] s", "[time]"), ("[n] seconds", "[time]"), ("[n] second", "[time]")]
        {
            line = line.replace(unit, with);
        }
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        line = line.replace(&format!("@{host}"), "@[host]");
        if let Some((before, after)) = line.split_once("pid ") {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
            line = format!("{before}pid [pid]{rest}");
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// A word that is a time of day, a time stamp, or a figure with a fraction.
fn redact_word(word: &str) -> String {
    let core = word.trim_end_matches([',', ';', ':', '.', ')']);
    let tail = &word[core.len()..];
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_stamp = core.len() >= 20
        && core.ends_with('Z')
        && core.get(4..5) == Some("-")
        && core.contains('T');
    let is_clock = core.contains(':') && core.split(':').all(digits);
    let is_fraction =
        core.split_once('.').is_some_and(|(whole, rest)| digits(whole) && digits(rest));
    match () {
        () if is_stamp => format!("[at]{tail}"),
        () if is_clock => format!("[clock]{tail}"),
        () if is_fraction => format!("[n]{tail}"),
        () => word.to_owned(),
    }
}

/// How large the screen is.
const COLUMNS: u16 = 80;
const LINES: u16 = 100;

/// A terminal: the side of the screen, and that of the command.
fn pseudo_terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&screen).and_then(|()| unlockpt(&screen)).expect("it is ours");
    let size =
        rustix::termios::Winsize { ws_row: LINES, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&screen, size).expect("it has a size");
    let name = ptsname(&screen, Vec::new()).expect("it has a name");
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty());
    (screen, terminal.expect("it opens"))
}

/// What is left on a screen of what was printed.
fn left_on_screen(printed: &[u8]) -> String {
    let mut parser = vt100::Parser::new(LINES, COLUMNS, 0);
    parser.process(printed);
    let text = parser.screen().contents();
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n").trim_matches('\n').to_owned() + "\n"
}
