//! The lease of a whole folder, where it lies on a network file system: one semel at a
//! time works there, on all machines, since locks of the kernel may lie.
//!
//! A holder is a file `.semel/lock/:network.N`; of several the highest number holds,
//! and the number is the token. Whoever finds that the highest may be succeeded links a
//! file of their own to the next number. Nothing is renamed, and no name is given
//! twice, so that nobody can take over from another than they judged:
//!
//! - link(2) gives a name to one alone. (open(2), on `O_EXCL`: over NFS the answer can
//!   be lost, and then a count of two links of one's own file tells.)
//! - Only what is lower than a holder's own number is ever removed, so the highest
//!   number never falls. Somebody who judged long ago, and is given a number that was
//!   removed since, finds a higher one and gives way.
//!
//! A holder writes a heartbeat into its file. When it is over it says so there: a name
//! is never taken away from under somebody who looks at it.
//!
//! Invariant: *I4* nobody is succeeded but who said that they were over, is proven dead
//! on this machine, or stood still for [`EXPIRY`] by our own clock; and whoever could
//! not renew for so long, but [`MARGIN`], writes, starts and publishes nothing more.
//! No clock is ever compared with that of another machine.
//!
//! *If we die here*: a draft `:network.new-ID` is left, which the next holder removes;
//! or a holder that is dead.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::deed::lease::{Holder, LeaseError};
use crate::ground::home::{Home, NETWORK};
use crate::ground::world::file_system::FileSystem;
use crate::ground::world::machine::{self, Life, Machine};
use crate::words::digest::Digest;

/// How long a holder on another machine must have stood still to be taken over.
pub const EXPIRY: Duration = Duration::from_secs(60);

/// How often a holder tells that it lives.
pub const BEAT: Duration = Duration::from_secs(20);

/// How long before others may take over a holder stops: the time for a write that is
/// under way, and for clocks that run at different speeds.
pub const MARGIN: Duration = Duration::from_secs(10);

/// How soon a heartbeat that failed is tried again.
const SOON: Duration = Duration::from_secs(2);

/// How often a lock is tried for: each time somebody else was faster.
const TRIES: u32 = 1000;

/// The room that a heartbeat may take beyond its first text.
const ROOM: usize = 32;

/// A holder, as its file tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    token: u64,
    heartbeat: u64,
    /// Whether it is over.
    ended: bool,
    #[serde(flatten)]
    machine: Machine,
    /// When its process began, as its machine counts.
    began: u64,
    #[serde(flatten)]
    holder: Holder,
}

/// What is known of a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// It said that it is over.
    Over,
    /// It is of this machine, and gone.
    Dead,
    /// It is of another machine, and stood still for long enough.
    Expired,
    /// It may be at work.
    Holds,
}

/// Whether a holder may be succeeded. `life` is that of its process, where we can ask;
/// `still` is for how long nothing of it changed, as we saw it. One that cannot be read
/// is only just being written, or was left half.
fn judge(told: Option<&Told>, life: Option<Life>, still: Duration) -> Judgement {
    match (told, life) {
        (Some(told), _) if told.ended => Judgement::Over,
        (_, Some(Life::Dead)) => Judgement::Dead,
        // Stopped, it stands still, and may go on in any moment.
        (_, Some(Life::Alive)) => Judgement::Holds,
        (_, None) if still >= EXPIRY => Judgement::Expired,
        (_, None) => Judgement::Holds,
    }
}

/// What this machine saw of a holder, and when: kept for the next one who asks, so that
/// also those who do not wait learn that it stands still.
#[derive(Serialize, Deserialize)]
struct Observed {
    /// The clock by which it was seen.
    clock: String,
    /// What was seen: a digest of the number and the text.
    what: String,
    /// When, in nanoseconds of that clock.
    since: u64,
}

/// The folder of the locks, and how the world is asked.
#[derive(Clone)]
struct Shelf {
    folder: PathBuf,
    machine: Machine,
    clock: String,
    uptime: Arc<dyn Fn() -> Duration + Send + Sync>,
    life: fn(u32, u64) -> Life,
    link: fn(&Path, &Path) -> io::Result<()>,
}

/// The lease of the folder; it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct NetworkLease {
    pulse: Arc<Pulse>,
    stop: Option<Sender<()>>,
    beats: Option<JoinHandle<()>>,
}

/// Whether the lease is still ours.
pub struct Pulse {
    shelf: Shelf,
    number: u64,
    /// What its file told first.
    own: Told,
    /// How long the text of the file is, always.
    length: usize,
    file: Mutex<(File, Told)>,
    /// Until when it holds unless it is renewed, in nanoseconds of our clock.
    deadline: AtomicU64,
    /// Why it was lost.
    lost: OnceLock<String>,
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulse").field("number", &self.number).finish_non_exhaustive()
    }
}

impl NetworkLease {
    /// Takes the lease of a folder, where it needs one, at once or not at all.
    ///
    /// # Errors
    /// If somebody else holds it, or it cannot be written.
    pub fn take(home: &Home, holder: &Holder) -> Result<Option<Self>, LeaseError> {
        if !FileSystem::is_network(home.path()) {
            return Ok(None);
        }
        let shelf = Shelf::of(home).map_err(|source| failed(&home.network(), source))?;
        let lease = shelf.take(holder)?;
        Ok(Some(lease.beating()))
    }

    /// Whether it is still ours.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }

    /// Ends it where nothing was made of the folder, and leaves nothing of it.
    pub(super) fn leave_no_trace(self) {
        let lock = self.pulse.shelf.lock(self.pulse.number);
        let is_ours = self.pulse.verify().is_ok();
        drop(self);
        if is_ours {
            let _ = std::fs::remove_file(lock);
        }
    }

    /// Begins to write heartbeats.
    fn beating(mut self) -> Self {
        let (stop, stopped) = bounded(0);
        let pulse = Arc::clone(&self.pulse);
        self.stop = Some(stop);
        self.beats = Some(std::thread::spawn(move || beat_until(&pulse, &stopped)));
        self
    }
}

impl Drop for NetworkLease {
    fn drop(&mut self) {
        drop(self.stop.take());
        // If it cannot be said, our death says it, or that we stand still.
        let _ = self.pulse.write(|told| told.ended = true);
        if let Some(beats) = self.beats.take() {
            let _ = beats.join();
        }
    }
}

/// Writes heartbeats until the lease is over or lost.
fn beat_until(pulse: &Pulse, stopped: &Receiver<()>) {
    let mut pause = BEAT;
    while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        pause = if pulse.beat().is_ok() { BEAT } else { SOON };
        if pulse.check().is_err() {
            return;
        }
    }
}

/// Who holds the lease of a folder on a network file system, if anybody may.
///
/// # Errors
/// If it cannot be asked.
pub fn holder(home: &Home) -> io::Result<Option<Box<Holder>>> {
    if !FileSystem::is_network(home.path()) || !home.network().parent().is_some_and(Path::exists) {
        return Ok(None);
    }
    let shelf = Shelf::of(home)?;
    let Some((_, text)) = shelf.last(0)? else {
        return Ok(None);
    };
    let told = Told::read(&text);
    let judged = judge(told.as_ref(), shelf.life_of(told.as_ref()), Duration::ZERO);
    Ok(told.filter(|_| judged == Judgement::Holds).map(|told| Box::new(told.holder)))
}

fn failed(path: &Path, source: io::Error) -> LeaseError {
    LeaseError::Io { path: path.to_owned(), source }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Told {
    fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The text of this length: whoever reads it while it is written finds the old one,
    /// the new one, or a mixture, which is another than before.
    fn text(&self, length: usize) -> io::Result<Vec<u8>> {
        let mut text = serde_json::to_vec(self)?;
        text.resize(length.max(text.len()), b' ');
        text.push(b'\n');
        Ok(text)
    }
}

impl Shelf {
    fn of(home: &Home) -> io::Result<Self> {
        Ok(Self {
            folder: home.network().parent().unwrap_or(home.path()).to_owned(),
            machine: Machine::here()?,
            clock: machine::clock_id()?,
            uptime: Arc::new(machine::uptime),
            life: machine::life,
            link: |from, to| std::fs::hard_link(from, to),
        })
    }

    fn lock(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{NETWORK}.{number}"))
    }

    /// The numbers that are there.
    fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(NETWORK));
            numbers.extend(number.and_then(|rest| rest.strip_prefix('.')?.parse::<u64>().ok()));
        }
        Ok(numbers)
    }

    /// The highest number that is there, or known to have been, and its text; nothing
    /// if there is none.
    fn last(&self, known: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        for _ in 0..TRIES {
            let highest = self.numbers()?.into_iter().max().unwrap_or(0).max(known);
            if highest == 0 {
                return Ok(None);
            }
            match std::fs::read(self.lock(highest)) {
                // Succeeded and removed in this moment; or not seen here yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                text => return Ok(Some((highest, text?))),
            }
        }
        Err(io::Error::other("it changes faster than it can be read"))
    }

    /// The life of a holder, if it is of this machine.
    fn life_of(&self, told: Option<&Told>) -> Option<Life> {
        let told = told.filter(|told| told.machine == self.machine)?;
        Some((self.life)(told.holder.pid, told.began))
    }

    /// For how long this machine has seen nothing of a holder change.
    fn still(&self, number: u64, text: &[u8], host: &str) -> io::Result<Duration> {
        let path = self.folder.join(format!("{NETWORK}.seen-{}", host.replace('/', "%2F")));
        let what = Digest::of(&[number.to_string().as_bytes(), b" ", text].concat()).to_string();
        let now = (self.uptime)();
        let before = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            seen => serde_json::from_slice::<Observed>(&seen?).ok(),
        };
        let same = before.filter(|seen| seen.clock == self.clock && seen.what == what);
        if let Some(since) = same.map(|seen| Duration::from_nanos(seen.since))
            && since <= now
        {
            return Ok(now - since);
        }
        let seen = Observed { clock: self.clock.clone(), what, since: nanos(now) };
        let draft = self.draft();
        std::fs::write(&draft, serde_json::to_vec(&seen)?)?;
        match std::fs::rename(&draft, &path) {
            // A new holder tidied it away, and with it what was seen of others.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Duration::ZERO),
            renamed => renamed.map(|()| Duration::ZERO),
        }
    }

    /// A name that nobody else has.
    fn draft(&self) -> PathBuf {
        self.folder.join(format!("{NETWORK}.new-{}", uuid::Uuid::now_v7()))
    }

    fn take(&self, holder: &Holder) -> Result<NetworkLease, LeaseError> {
        let at = self.folder.join(NETWORK);
        let failed = |source| failed(&at, source);
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        // A number that we know to be taken, though we may not see it yet.
        let mut known = 0;
        for _ in 0..TRIES {
            let last = self.last(known).map_err(failed)?;
            if let Some((number, text)) = &last {
                let told = Told::read(text);
                let life = self.life_of(told.as_ref());
                let still = match life {
                    None => self.still(*number, text, &holder.host).map_err(failed)?,
                    Some(_) => Duration::ZERO,
                };
                if judge(told.as_ref(), life, still) == Judgement::Holds {
                    return Err(LeaseError::Busy(told.map(|told| Box::new(told.holder))));
                }
            }
            let number = last.map_or(1, |(number, _)| number + 1);
            match self.hold(number, holder).map_err(failed)? {
                Some(lease) => return Ok(lease),
                None => known = number,
            }
        }
        Err(LeaseError::Busy(None))
    }

    /// Becomes the holder of this number, unless somebody else is, or was.
    fn hold(&self, number: u64, holder: &Holder) -> io::Result<Option<NetworkLease>> {
        let told = Told {
            token: number,
            heartbeat: 0,
            ended: false,
            machine: self.machine.clone(),
            began: machine::began(holder.pid).unwrap_or(0),
            holder: holder.clone(),
        };
        let length = told.text(0)?.len() + ROOM;
        let text = told.text(length)?;
        // By then nobody can have seen it.
        let renewed = (self.uptime)();
        let draft = self.draft();
        let placed = self.place(&draft, &text, &self.lock(number));
        // What is left of it is removed by the next holder.
        let _ = std::fs::remove_file(&draft);
        let Some(file) = placed? else {
            return Ok(None);
        };
        if self.numbers()?.into_iter().any(|other| other > number) {
            drop(file);
            // The number was given before: whoever had it was succeeded long since.
            let _ = std::fs::remove_file(self.lock(number));
            return Ok(None);
        }
        self.tidy(number);
        let pulse = Arc::new(Pulse {
            shelf: self.clone(),
            number,
            own: told.clone(),
            length,
            file: Mutex::new((file, told)),
            deadline: AtomicU64::new(0),
            lost: OnceLock::new(),
        });
        pulse.renewed(renewed);
        Ok(Some(NetworkLease { pulse, stop: None, beats: None }))
    }

    /// Writes a text to a draft and links it to the lock's name; gives the file, unless
    /// that name is somebody else's.
    fn place(&self, draft: &Path, text: &[u8], lock: &Path) -> io::Result<Option<File>> {
        let write = |path: &Path| {
            let mut file = File::options().write(true).create_new(true).open(path)?;
            file.write_all(text)?;
            file.sync_data()?;
            Ok::<_, io::Error>(file)
        };
        // It is opened anew by its last name: one that is removed while it is open gets
        // yet another on NFS and FUSE. What it says tells that it is ours: inodes of FUSE
        // need not be the same for two names.
        drop(write(draft)?);
        let ours = || match File::options().read(true).write(true).open(lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => {
                let (mut file, mut found) = (file?, Vec::new());
                file.read_to_end(&mut found)?;
                Ok((found == text).then_some(file))
            }
        };
        let linked = (self.link)(draft, lock);
        // The answer may be that to a question which was asked twice.
        if linked.is_ok() || std::fs::metadata(draft).is_ok_and(|meta| meta.nlink() == 2) {
            return ours();
        }
        let Err(error) = linked else { return ours() };
        match Errno::from_io_error(&error) {
            // Another holder tidied our draft away, or was faster.
            Some(Errno::EXIST | Errno::NOENT) => Ok(None),
            // Without hard links (link(2): EPERM) a file that must be new has to do.
            Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                match write(lock) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
                    written => written.map(Some),
                }
            }
            _ => Err(error),
        }
    }

    /// Removes what those before left. What stays behind harms nobody.
    fn tidy(&self, number: u64) {
        let own = self.lock(number);
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(NETWORK).and_then(|rest| rest.strip_prefix('.'))
            else {
                continue;
            };
            let is_lower = rest.parse::<u64>().is_ok_and(|other| other < number);
            let is_left = rest.starts_with("new-") || rest.starts_with("seen-");
            if (is_lower || is_left) && entry.path() != own {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Pulse {
    /// Whether nothing tells that the lease is not ours any more.
    ///
    /// # Errors
    /// Why it is not.
    fn check(&self) -> Result<(), String> {
        if (self.shelf.uptime)() >= Duration::from_nanos(self.deadline.load(Ordering::Acquire)) {
            let seconds = (EXPIRY - MARGIN).as_secs();
            self.lose(format!("its heartbeat could not be written for {seconds} s"));
        }
        match self.lost.get() {
            Some(why) => Err(why.clone()),
            None => Ok(()),
        }
    }

    /// As `check`, and looks whether the lock is there still. It is asked before
    /// something is started, published or committed.
    ///
    /// # Errors
    /// Why the lease is not ours any more.
    pub fn verify(&self) -> Result<(), String> {
        let is_gone = match std::fs::read(self.shelf.lock(self.number)) {
            // Half of a heartbeat tells nothing.
            Ok(text) => Told::read(&text).is_some_and(|told| !self.is_ours(&told)),
            // Whether another error is only that of a moment the deadline tells.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if is_gone {
            self.lose(self.taken_by());
        }
        self.check()
    }

    fn is_ours(&self, told: &Told) -> bool {
        let own = &self.own;
        (told.token, &told.machine, told.began, &told.holder)
            == (own.token, &own.machine, own.began, &own.holder)
    }

    /// Writes a heartbeat; then the lease holds for as long again.
    fn beat(&self) -> io::Result<()> {
        if self.verify().is_err() {
            return Ok(());
        }
        let began = (self.shelf.uptime)();
        self.write(|told| told.heartbeat += 1)?;
        if self.shelf.numbers()?.into_iter().any(|other| other > self.number) {
            self.lose(self.taken_by());
        } else if self.verify().is_ok() {
            self.renewed(began);
        }
        Ok(())
    }

    /// Writes what the file tells; nothing once it has told that it is over.
    fn write(&self, change: impl FnOnce(&mut Told)) -> io::Result<()> {
        let mut guard = self.file.lock().expect("nobody panics while holding it");
        let (file, told) = &mut *guard;
        if told.ended {
            return Ok(());
        }
        change(told);
        file.write_all_at(&told.text(self.length)?, 0)?;
        file.sync_data()
    }

    fn renewed(&self, began: Duration) {
        self.deadline.store(nanos(began + EXPIRY - MARGIN), Ordering::Release);
    }

    fn lose(&self, why: String) {
        // What was found first is what is told.
        let _ = self.lost.set(why);
    }

    /// Who came after us.
    fn taken_by(&self) -> String {
        let last = self.shelf.last(0).ok().flatten();
        let told = last.filter(|(number, _)| *number > self.number);
        match told.and_then(|(_, text)| Told::read(&text)) {
            Some(Told { holder, .. }) => format!("taken over by {holder}"),
            None => "its lock is gone".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
