//! Database servers of a test's own: PostgreSQL and MariaDB, each in a folder of its own,
//! on a free port, killed with -9 and started again as a test likes.
//!
//! No server outlives the test process, and nothing of it stays on the machine, however
//! the process ends. A watcher sees to that: a shell beside each folder, at the other end
//! of a pipe that the kernel closes when the process is gone. It kills the server and
//! removes the folder. (The kernel could send the server a signal itself, but it does so
//! when the *thread* ends that started it; and a server has children.)
//!
//! Where we are root, servers run as `nobody`: PostgreSQL refuses to be root.

mod mariadb;
mod postgres;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use crate::{eventually, stop_tree};

pub use mariadb::{MariaDb, mariadb};
pub use postgres::{Postgres, postgres};

/// Who may do everything in each of the servers, and needs no password.
const USER: &str = "semel";

/// The watcher of a folder, whose name is its first argument. It is told the servers as
/// they are started, and does its work at the end of that. A server is stopped before it
/// is killed, so that none of its children is replaced. What it shared with them outlives
/// them all unless it is removed; PostgreSQL notes its number.
const WATCHER: &str = r#"
trap '' HUP INT TERM
while read -r pid; do server=$pid; done
case $(tr '\0' ' ' < "/proc/$server/cmdline") in
  *"$1"*)
    kill -STOP "$server"
    kill -KILL $(cat "/proc/$server/task/$server/children") "$server" ;;
esac
read -r _ shared << END
$(sed -n 7p "$1/data/postmaster.pid")
END
[ -z "$shared" ] || ipcrm -m "$shared"
for try in 1 2 3 4 5 6 7 8 9; do
  ! rm -rf "$1" || exit 0
  sleep 0.1
done
"#;

/// A folder in which a server may write, and which goes when it is dropped, or when the
/// process ends.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    watcher: Child,
    told: Option<ChildStdin>,
}

impl Folder {
    fn new() -> Self {
        // Not the temporary folder of the environment: the path of a socket has at most
        // 107 bytes, and `nobody` must come to it.
        let made = tempfile::Builder::new().prefix("semel-").tempdir_in("/tmp").unwrap();
        let path = made.keep();
        if let Some((uid, gid)) = unprivileged() {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).unwrap();
        }
        let mut watcher = Command::new("sh");
        watcher.args(["-c", WATCHER, "watcher"]).arg(&path).process_group(0);
        // Whoever reads what the tests say must not wait for the watcher.
        watcher.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut watcher = watcher.spawn().expect("sh runs");
        let told = watcher.stdin.take();
        Self { path, watcher, told }
    }

    /// A folder with the same in it.
    fn copy(&self) -> Self {
        let copy = Self::new();
        done(Command::new("cp").arg("-a").arg(self.path.join(".")).arg(&copy.path));
        copy
    }

    fn tell(&mut self, server: &Child) {
        let told = self.told.as_mut().expect("it is taken only when the folder is dropped");
        writeln!(told, "{}", server.id()).expect("the watcher lives as long as the folder");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.told = None;
        // What it could not remove is no reason for a test to fail.
        let _ = self.watcher.wait();
    }
}

/// The command that starts a server in a folder, on a port.
type StartIn = dyn Fn(&Path, u16) -> Command + Send + Sync;

/// What tells a PostgreSQL from a MariaDB, once it runs.
struct Kind {
    /// The word before the colon of a URL.
    scheme: &'static str,
    /// The database that is always there.
    first: &'static str,
    /// What it says on stderr when it accepts connections.
    ready: &'static str,
    /// Its client, which will read statements from its stdin, and come to a database
    /// through a port.
    client: fn(u16, &str) -> Command,
}

/// A server, started as often as one likes in one folder and on one port. It ends, and all
/// of it goes, when it is dropped.
pub struct Server {
    folder: Folder,
    port: u16,
    command: Box<StartIn>,
    kind: &'static Kind,
    running: Option<Process>,
    /// What it said on stderr so far.
    log: Arc<Mutex<String>>,
}

/// A server that runs.
struct Process {
    child: Child,
    /// Ends when the server, and all that it started, is gone.
    listener: JoinHandle<()>,
}

impl Server {
    fn start(
        folder: Folder,
        kind: &'static Kind,
        command: impl Fn(&Path, u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        let (command, log) = (Box::new(command), Arc::default());
        let mut server = Self { folder, port: free_port(), command, kind, running: None, log };
        // Others look for free ports too.
        while let Err(said) = server.begin() {
            assert!(said.contains("Address already in use"), "a server does not start:\n{said}");
            server.port = free_port();
        }
        server
    }

    /// Starts the server and waits until it is ready; gives what it said if it ended.
    fn begin(&mut self) -> Result<(), String> {
        let mut command = (self.command)(&self.folder.path, self.port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.folder.tell(&child);
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let (log, mut said) = (Arc::clone(&self.log), String::new());
        let mut hear = move || {
            let mut line = Vec::new();
            let read = stderr.read_until(b'\n', &mut line).unwrap_or(0);
            let line = String::from_utf8_lossy(&line).into_owned();
            log.lock().unwrap().push_str(&line);
            (read > 0).then_some(line)
        };
        while let Some(line) = hear() {
            said.push_str(&line);
            if line.contains(self.kind.ready) {
                let listener = std::thread::spawn(move || while hear().is_some() {});
                self.running = Some(Process { child, listener });
                return Ok(());
            }
        }
        let status = child.wait().expect("it is ours");
        Err(format!("{said}{status}"))
    }

    /// Where it listens on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who may do everything, without a password, from this machine.
    #[must_use]
    pub fn user(&self) -> &'static str {
        USER
    }

    /// What a database is called.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_at(self.port, database)
    }

    /// What a database is called by those who come through a port that leads here.
    #[must_use]
    pub fn url_at(&self, port: u16, database: &str) -> String {
        url_of(self.kind.scheme, port, database)
    }

    /// Makes a database, which has a name of its own. There is always one named `postgres`,
    /// or `mysql`.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn create_database(&self) -> String {
        let name = fresh_name();
        self.sql(self.kind.first, &format!("CREATE DATABASE {name}"));
        name
    }

    /// Its client, `psql` or `mariadb`, which will read statements from its stdin, and come
    /// through a port that leads here. It ends with the first statement that fails, and
    /// prints rows without a header, with tabs between; NULL is empty, of MariaDB `NULL`.
    #[must_use]
    pub fn client(&self, port: u16, database: &str) -> Command {
        (self.kind.client)(port, database)
    }

    /// Executes statements, each on its own, and gives their rows: a line each, as the
    /// client prints them.
    ///
    /// # Panics
    /// If one fails, with what the client says.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        answer(self.client(self.port, database), statements)
    }

    /// Kills the server and all it started, as `kill -9` does; they are gone afterwards.
    pub fn kill(&mut self) {
        let Some(Process { mut child, listener }) = self.running.take() else { return };
        let tree = stop_tree(child.id());
        for pid in &tree {
            if let Some(pid) = i32::try_from(*pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = child.wait();
        let _ = listener.join();
        // Whoever is a zombie holds nothing any more, and may stay one where no init is.
        let is_gone = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" Z"))
        };
        eventually("a killed server is gone", || tree.iter().all(is_gone));
    }

    /// Starts it again in the same folder, on the same port, and waits until it accepts
    /// connections; kills it first if it runs.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(said) = self.begin() {
            panic!("a server does not start again:\n{said}");
        }
    }

    /// What it has said so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { folder, port, .. } = self;
        f.debug_struct("Server").field("folder", folder).field("port", port).finish_non_exhaustive()
    }
}

/// What a database is called.
fn url_of(scheme: &str, port: u16, database: &str) -> String {
    format!("{scheme}://{USER}@127.0.0.1:{port}/{database}")
}

/// A port on which nobody listens, and which stays free while a server is down: it is
/// none of those that the kernel deals out to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test processes begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let at = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let port = 20_000 + u16::try_from(at).expect("it is less than 12000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The name of a database that nobody has.
fn fresh_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("semel_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Who servers are if we are root: the user and group of `nobody`.
fn unprivileged() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let nobody = users.lines().find_map(|user| {
        let mut fields = user.strip_prefix("nobody:")?.split(':').skip(1);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    Some(nobody.expect("a machine has a user nobody"))
}

/// Where the servers are: `scripts/servers` knows.
///
/// # Panics
/// If they are not there.
fn place(of: &str) -> PathBuf {
    static PLACES: OnceLock<String> = OnceLock::new();
    let places = PLACES.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers");
        done(Command::new(script).arg("--where"))
    });
    let mut places = places.lines().filter_map(|line| line.split_once(' '));
    let (_, place) = places.find(|(name, _)| *name == of).expect("it names both servers");
    fs::canonicalize(place).unwrap()
}

/// A program of a server, with nothing in its environment that would set it up.
fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    command.env("LC_ALL", "C.UTF-8");
    // Unpacked, not installed: the libraries are beside it.
    let unpacked = path.ancestors().find(|folder| folder.ends_with("target/servers"));
    if let Some(root) = unpacked {
        let libraries = ["usr/lib", "lib"].into_iter().flat_map(|folder| {
            let found = fs::read_dir(root.join(folder)).into_iter().flatten().flatten();
            found.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with("-gnu"))
        });
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    }
    command
}

/// The same, for what runs as the server and writes in its folder. It is in a group of its
/// own: who interrupts the tests interrupts no server.
fn in_folder(path: &Path, folder: &Path) -> Command {
    let mut command = program(path);
    command.env("HOME", folder).env("TMPDIR", folder).current_dir(folder).process_group(0);
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

/// What a command says on stdout, once it has gone well.
fn done(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [stdout, stderr] = [&ran.stdout, &ran.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(ran.status.success(), "{command:?}: {}\n{stdout}{stderr}", ran.status);
    stdout.into_owned()
}

/// What a client prints for statements given on its stdin, without the last line's end.
fn answer(mut client: Command, statements: &str) -> String {
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = client.spawn().unwrap_or_else(|error| panic!("{client:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    let statements = statements.to_owned();
    // It may answer before it has read all; that a client stopped reading is its to tell.
    let writer = std::thread::spawn(move || drop(stdin.write_all(statements.as_bytes())));
    let ran = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{}: {stderr}", ran.status);
    let mut stdout = String::from_utf8(ran.stdout).unwrap();
    if stdout.ends_with('\n') {
        stdout.pop();
    }
    stdout
}
