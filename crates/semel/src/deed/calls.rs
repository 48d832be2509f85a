//! Calls: the HTTP requests of a command go through semel, and each is sent at most once.
//!
//! [`Proxy`] listens on loopback for the commands that it is told to guard ([`Proxy::guard`]);
//! what they ask becomes calls of the journal. Async stays in here: whoever uses it waits.
//!
//! Invariants, kept in the parts: *I12* only proof rejects (`thought::call::outcome`); *I13*
//! nothing equal to an unknown call is sent (`thought::call::counting`); *I14* a permit is
//! durable before the first byte is sent (`journal`); *I15* a clean end is seen only of what
//! is recorded (`sending`).
//!
//! *On disk*: the tables `call` and `body` of the manifest; `.semel/bodies/`, large bodies by
//! their digests; `.semel/calls/SENDER/`, a folder for each process that sends, with its lock.
//!
//! *If we die here*: the lock is free. What was in flight is unknown to whoever looks next.

mod action;
mod ask;
mod begun;
mod body;
mod caller;
mod exchange;
mod guards;
mod head;
mod journal;
mod line;
mod passing;
mod probe;
mod reply;
mod request;
mod sending;
mod serve;
mod spool;
mod standing;
mod surroundings;
mod tunnel;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::HeaderMap;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

pub use action::{Answer, Told};
pub use ask::{Asked, ask};
use caller::Caller;
pub use caller::{Calling, NewCalls, Tally, Unknown};
pub use guards::{Guards, scope_of};
use journal::Journal;
use serve::Door;
pub use standing::{dead_senders, is_anybody_sending, sums};

use crate::deed::lease::{Gate, Holder, Lease};
use crate::deed::memory::Access;
use crate::ground::home::Home;
use crate::ground::http::authority::Authority;
use crate::ground::http::trust::Trust;
pub use crate::ground::http::upstream::Origin;
use crate::ground::http::upstream::{Roots, Upstream, UserProxy};
use crate::ground::manifest::calls::Calls as _;
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::world::connections::Watch;
use crate::ground::world::process::Stop;
use crate::thought::call::terms::Rules;
use crate::words::call::{DIED, Rule};

/// How often it is looked for connections that go round the proxy, and at a switch.
const LOOK: Duration = Duration::from_millis(50);

/// How much is kept free for the records of calls in flight.
const BALLAST: usize = 4 << 20;

/// The proxy of one process.
pub struct Proxy {
    office: Arc<Office>,
    runtime: Option<Runtime>,
    port: u16,
    surroundings: surroundings::Surroundings,
    rules: Arc<Rules>,
    env: BTreeMap<OsString, OsString>,
    next: AtomicU64,
    /// What of the user's certificates could not be read.
    faults: Vec<String>,
    _lease: Lease,
}

/// What all exchanges share.
struct Office {
    journal: Arc<Journal>,
    upstream: Upstream,
    authority: Authority,
    callers: Mutex<HashMap<String, Arc<Caller>>>,
    /// Where large bodies are.
    bodies: PathBuf,
    /// Where commands run.
    folder: PathBuf,
    /// The name of this process among those that send.
    sender: String,
    ballast: PathBuf,
}

impl Office {
    fn callers(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Caller>>> {
        // Callers are put in whole.
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller whose secret a request says.
    fn caller_of(&self, headers: &HeaderMap) -> Option<Arc<Caller>> {
        let (name, secret) = serve::credentials(headers)?;
        let caller = self.callers().get(&name).cloned()?;
        is_same(caller.secret.as_bytes(), secret.as_bytes()).then_some(caller)
    }

    /// The disk is full: gives up what was kept for that.
    fn give_room(&self) {
        // Where it is gone already there is no more.
        let _ = fs::remove_file(&self.ballast);
    }
}

/// Whether two secrets are the same, in a time that says nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

/// What a proxy needs of the place where it works.
#[derive(Clone)]
pub struct Setting<'a> {
    /// Semel's own folder; its manifest is there.
    pub home: &'a Home,
    /// The folder in which commands run.
    pub folder: &'a Path,
    /// The environment of the user.
    pub env: BTreeMap<OsString, OsString>,
    /// The rules of the file.
    pub rules: Vec<Rule>,
    /// Who we are.
    pub holder: Holder,
    /// The right to write to the manifest.
    pub access: &'a Access,
}

impl Proxy {
    /// Opens it: sweeps what dead processes left, and listens.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn open(setting: &Setting<'_>) -> Result<Self, String> {
        let home = setting.home;
        let (bodies, folders) = (home.bodies(), home.calls());
        for folder in [&bodies, &folders] {
            make_private(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        // Whoever sweeps would take a folder without a lock for that of a dead process.
        let gate = Gate::pass_at(&home.calls_gate())
            .map_err(|error| format!("{}: {error}", home.calls_gate().display()))?;
        let sender = uuid::Uuid::now_v7().to_string();
        let folder = folders.join(&sender);
        make_private(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let lease = Lease::take(&home.sender_lock(&sender), &setting.holder)
            .map_err(|error| error.to_string())?;
        let broken = |error: &dyn std::fmt::Display| format!("the call journal: {error}");
        let mut manifest =
            SqliteManifest::open(&home.manifest()).map_err(|error| broken(&error))?;
        setting.access.fence(&mut manifest).map_err(|error| broken(&error))?;
        sweep(&mut manifest, home, &sender)?;
        drop(gate);
        let ballast = folder.join("ballast");
        fs::write(&ballast, vec![1; BALLAST])
            .map_err(|error| format!("there is no room for the records of calls: {error}"))?;
        keep_private(home)
            .map_err(|error| format!("the manifest cannot be kept from others: {error}"))?;
        let journal = Journal::begin(manifest, home, &sender).map_err(|error| broken(&error))?;
        let authority = Authority::new().map_err(|error| error.to_string())?;
        let trust = Trust::of(&setting.env);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(
                std::thread::available_parallelism().map_or(2, |count| count.get().min(4)),
            )
            .thread_name("calls")
            .enable_all()
            .build()
            .map_err(|error| format!("no threads for calls: {error}"))?;
        let user_proxy = UserProxy::of(&setting.env)?;
        let roots = Roots::of(&trust);
        let upstream = Upstream::new(&roots, user_proxy);
        let surroundings =
            surroundings::Surroundings::write(&folder, &authority, &trust, &setting.env)
                .map_err(|error| format!("{}: {error}", folder.display()))?;
        let office = Arc::new(Office {
            journal: Arc::new(journal),
            upstream,
            authority,
            callers: Mutex::default(),
            bodies,
            folder: setting.folder.to_owned(),
            sender,
            ballast,
        });
        let mut proxy = Self {
            office,
            runtime: Some(runtime),
            port: 0,
            surroundings,
            rules: Arc::new(Rules::new(setting.rules.clone())),
            env: setting.env.clone(),
            next: AtomicU64::new(1),
            faults: roots.faults,
            _lease: lease,
        };
        (proxy.port, _) = proxy
            .listen(None, Door::Secret)
            .map_err(|error| format!("the proxy cannot listen: {error}"))?;
        Ok(proxy)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is there until we are dropped")
    }

    /// Listens on loopback; gives the port, and what ends it.
    fn listen(&self, at: Option<SocketAddr>, door: Door) -> io::Result<(u16, AbortHandle)> {
        let at = at.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let listener = TcpListener::bind(at)?;
        let port = listener.local_addr()?.port();
        Ok((port, self.serve(listener, door)?))
    }

    fn serve(&self, listener: TcpListener, door: Door) -> io::Result<AbortHandle> {
        listener.set_nonblocking(true)?;
        let _inside = self.runtime().enter();
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let accepting = serve::accept(Arc::clone(&self.office), listener, door);
        Ok(self.runtime().spawn(accepting).abort_handle())
    }

    /// Guards the calls of a command, from now on until [`Guarded::end`].
    ///
    /// # Errors
    /// Why it cannot.
    pub fn guard(&self, calling: Calling) -> Result<Guarded<'_>, String> {
        let name = format!("task{}", self.next.fetch_add(1, Ordering::Relaxed));
        let secret = uuid::Uuid::new_v4().simple().to_string();
        let caller = Arc::new(Caller::new(calling, Arc::clone(&self.rules), secret));
        self.office.callers().insert(name.clone(), Arc::clone(&caller));
        let (without_secret, door) = self
            .listen(None, Door::Of(Arc::clone(&caller)))
            .map_err(|error| format!("the proxy cannot listen: {error}"))?;
        let ports = surroundings::Ports { main: self.port, without_secret };
        let env = self.surroundings.variables(&self.env, &name, &caller.secret, ports);
        // Where nobody can look, that is said at the end.
        let watch = Watch::begin(caller.secret.as_bytes(), &[self.port, without_secret], LOOK).ok();
        let doors = Mutex::new(vec![door]);
        Ok(Guarded { proxy: self, caller, name, env, ports, watch, doors })
    }

    /// Answers at an address of its own for one server, as if it were that.
    ///
    /// # Errors
    /// If it cannot listen there.
    pub fn stand_in(
        &self,
        guarded: &Guarded<'_>,
        at: SocketAddr,
        origin: Origin,
    ) -> io::Result<u16> {
        let (port, door) =
            self.listen(Some(at), Door::Reverse(Arc::clone(&guarded.caller), origin))?;
        guarded.has_opened(door);
        Ok(port)
    }

    /// The rules of the file that no call of these was for.
    #[must_use]
    pub fn idle_rules(&self, tally: &Tally) -> Vec<String> {
        let rules = self.rules.of_file().iter().enumerate();
        rules
            .filter(|(at, _)| !tally.rules.contains(at))
            .map(|(_, rule)| rule.pattern.to_string())
            .collect()
    }

    /// A task completed: its reads are asked anew from now on.
    ///
    /// # Errors
    /// If that cannot be noted.
    pub fn has_completed(&self, scope: &crate::words::call::Scope) -> Result<(), String> {
        self.runtime().block_on(self.office.journal.retire(scope.clone()))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Whoever still holds a connection has nothing more to say.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
        // What is left there is swept by the next.
        let _ = fs::remove_dir_all(self.surroundings.folder());
    }
}

/// A command whose calls are guarded.
pub struct Guarded<'a> {
    proxy: &'a Proxy,
    caller: Arc<Caller>,
    name: String,
    env: Vec<(OsString, OsString)>,
    ports: surroundings::Ports,
    watch: Option<Watch>,
    /// The listeners that are its own, and end with it.
    doors: Mutex<Vec<AbortHandle>>,
}

impl Guarded<'_> {
    /// The variables that bring its clients to the proxy.
    #[must_use]
    pub fn env(&self) -> &[(OsString, OsString)] {
        &self.env
    }

    /// The ports that its clients know.
    #[must_use]
    pub fn ports(&self) -> [u16; 2] {
        [self.ports.main, self.ports.without_secret]
    }

    /// The command is in a network of its own; these are its listeners there.
    ///
    /// # Errors
    /// If they cannot be served.
    pub fn serve_inside(&self, listeners: Vec<TcpListener>) -> io::Result<()> {
        listeners.into_iter().try_for_each(|listener| {
            let door = Door::Inside(Arc::clone(&self.caller));
            self.proxy.serve(listener, door).map(|door| self.has_opened(door))
        })
    }

    fn has_opened(&self, door: AbortHandle) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).push(door);
    }

    /// How many exchanges have not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        *self.caller.busy.borrow()
    }

    /// The command has ended: waits for what is in flight, until it is over or the switch is
    /// pulled, and tells what its calls came to.
    #[must_use]
    pub fn end(mut self, stop: &Stop) -> Tally {
        self.caller.is_over.store(true, Ordering::Release);
        let mut busy = self.caller.busy.subscribe();
        let ended = async move {
            // Its sender lives as long as the caller.
            let _ = busy.wait_for(|busy| *busy == 0).await;
        };
        self.proxy.runtime().block_on(async {
            tokio::select! {
                () = ended => {}
                () = is_stopped(stop) => {}
            }
        });
        self.proxy.office.callers().remove(&self.name);
        for door in self.doors.get_mut().unwrap_or_else(PoisonError::into_inner) {
            door.abort();
        }
        let left =
            self.proxy.runtime().block_on(self.caller.left_unknown(&self.proxy.office.journal));
        let mut tally = self.caller.tally().clone();
        match left {
            // Whatever this attempt asked for: what an earlier one left is not done.
            Ok(left) => tally.unknown.extend(left),
            Err(why) => drop(tally.broken.get_or_insert(why)),
        }
        tally.notes.extend(self.proxy.faults.iter().cloned());
        if self.in_flight() > 0 {
            let stopped = format!("{} calls were in flight when it was stopped", self.in_flight());
            tally.notes.insert(stopped);
        }
        match self.watch.take().map(Watch::end) {
            Some(findings) => {
                let show = |bypass: &crate::ground::world::connections::Bypass| {
                    format!("{} (pid {}) to {}", bypass.program, bypass.pid, bypass.remote)
                };
                tally.bypasses = findings.bypasses.iter().map(show).collect();
                if let Some(error) = findings.blind {
                    let unseen = format!("its connections could not all be seen: {error}");
                    tally.notes.insert(unseen);
                }
            }
            None => {
                tally.notes.insert("its connections cannot be seen here".to_owned());
            }
        }
        tally
    }
}

/// Waits until a switch is pulled.
async fn is_stopped(stop: &Stop) {
    while !stop.is_pulled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// What dead processes had in flight is unknown, and what they left is removed.
fn sweep(manifest: &mut SqliteManifest, home: &Home, own: &str) -> Result<(), String> {
    let broken = |error: &dyn std::fmt::Display| format!("the call journal: {error}");
    for sender in dead_senders(home, manifest).map_err(|error| broken(&error))? {
        manifest.lose(&sender, DIED).map_err(|error| broken(&error))?;
    }
    let mut others = false;
    for entry in fs::read_dir(home.calls()).map_err(|error| broken(&error))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == own {
            continue;
        }
        match standing::is_alive(home, &name) {
            true => others = true,
            // Somebody else may be doing the same.
            false => drop(fs::remove_dir_all(entry.path())),
        }
    }
    if !others {
        for entry in fs::read_dir(home.bodies()).map_err(|error| broken(&error))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with('.') {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    Ok(())
}

/// From now on the manifest has answers that were paid for: they are for its owner alone.
fn keep_private(home: &Home) -> io::Result<()> {
    let path = home.manifest();
    let beside = SqliteManifest::companions(&path);
    for path in [path, home.backup()].iter().chain(&beside) {
        match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a folder that nobody else can look into.
fn make_private(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
