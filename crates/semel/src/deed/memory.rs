//! The memory: made where there is none, and made whole where it may be incomplete.
//!
//! Signs of more than the manifest knows are: lines of `once.log` that it does not
//! know, the mark on the pipeline's folder, the locks of leases, a backup. What the
//! log tells is taken over. Unless it was only a crash between log and manifest, the
//! memory is *incomplete* from then on, and what is unsafe to repeat refuses where
//! nothing is known of it.
//!
//! Invariants: the manifest appears whole or not at all, with all that is taken over
//! in it, and if many make it in one moment there is one. A manifest is never
//! deleted: one that is replaced is set aside. Where none can be made, nothing is
//! left that was not there.
//!
//! *If we die here*: the draft lies in staging, where the next run removes it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::deed::lease::{Gate, Holder, LeaseError, patiently};
use crate::deed::network::{NetworkLease, Pulse};
use crate::deed::once::read_mark;
use crate::deed::rebuild::Backup;
use crate::deed::ways::Ways;
use crate::ground::home::{DAMAGED, Home};
use crate::ground::manifest::sqlite::{Birth, SqliteManifest};
use crate::ground::manifest::{Loss, Manifest, ManifestError, ManifestResult};
use crate::ground::once_log::{self, OnceLog};
use crate::ground::world::disk::{Disk, DiskError};
use crate::words::once::are_missing;

/// How long somebody who dies, or only finds out what we know, may take to let go of the
/// manifest.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// What was found of the memory, where that is not as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many lines of `once.log` were taken over.
    pub lines: usize,
    /// Whether more may have happened than is known now.
    pub is_incomplete: bool,
    /// Whether the manifest is new.
    pub is_new: bool,
    /// When the backup was made of which it is made, where there was one.
    pub backup: Option<Timestamp>,
}

/// Why no memory could be made.
#[derive(Debug)]
pub enum CannotMake {
    /// Somebody else is at work in a folder where only one may be.
    Lease(LeaseError),
    /// The manifest cannot be made.
    Manifest(ManifestError),
}

impl<E: Into<ManifestError>> From<E> for CannotMake {
    fn from(error: E) -> Self {
        Self::Manifest(error.into())
    }
}

/// A manifest that is only looked at.
pub struct Looked {
    /// The manifest, or a copy of it in which it is as a run would find it.
    pub manifest: SqliteManifest,
    /// What a run would find of it.
    pub found: Option<Found>,
    /// Why a run would set the present one aside, where it would.
    pub damage: Option<String>,
}

/// Makes a memory, unless there is one; says what of it was found. `draft` names the
/// folder in staging in which it is written, `holder` tells who we are.
///
/// # Errors
/// If it cannot be made.
pub fn make(
    disk: &dyn Disk,
    home: &Home,
    draft: &str,
    holder: &Holder,
) -> Result<Option<Found>, CannotMake> {
    let failed =
        |source| ManifestError::Io { doing: "cannot make", path: home.path().to_owned(), source };
    let made_home = home.make().map_err(failed)?;
    let lease = NetworkLease::take(home, holder).map_err(CannotMake::Lease)?;
    // Whoever cleans up staging would take the draft for that of a dead run.
    let made = Gate::pass(home).map_err(failed).and_then(|_gate| {
        let _once_gate = Gate::pass_at(&home.once_gate()).map_err(failed)?;
        if home.manifest().exists() {
            return Ok(None);
        }
        let signs = Signs::read(disk, home)?;
        // Where there was one, somebody may still be at work with it.
        if signs.are_there && stays_in_use(home).map_err(failed)? {
            return Err(ManifestError::DamagedInUse("it is gone".to_owned()));
        }
        // A log that is left of another file must never be taken for the new one's.
        set_aside(disk, home, &SqliteManifest::companions(&home.manifest()))?;
        let backup = Backup::look(home);
        let create = |backup: Option<&Path>| {
            let birth = signs.birth(home, backup);
            SqliteManifest::create(disk, &home.manifest(), &home.staging_of(draft), &birth)
        };
        let mut made_of = backup.made;
        let is_ours = match create(backup.path.as_deref()) {
            Err(error) if error.is_damage() && backup.path.is_some() => {
                made_of = None;
                create(None)?
            }
            created => created?,
        };
        // Whoever was faster may have died right after.
        Ways::default().sync(disk, [&home.path().to_owned()])?;
        // Whatever was doubted is gone.
        disk.remove_all(&home.doubt())?;
        Ok(is_ours.then(|| signs.found(made_of)))
    });
    if made.is_err() && made_home {
        if let Some(lease) = lease {
            lease.leave_no_trace();
        }
        home.unmake();
    }
    Ok(made?)
}

/// Whether somebody is at work with the manifest, and not only about to let go of it.
fn stays_in_use(home: &Home) -> std::io::Result<bool> {
    let is_free = || Ok((!Access::is_in_use(home)?).then_some(()));
    patiently(PATIENCE, is_free).map(|free| free.is_none())
}

/// All that tells of a memory beside the manifest.
pub(super) struct Signs {
    pub(super) log: OnceLog,
    mark: Option<(String, u64)>,
    pub(super) are_there: bool,
}

impl Signs {
    pub(super) fn read(disk: &dyn Disk, home: &Home) -> ManifestResult<Self> {
        let log = once_log::read(disk, &home.once_log())?;
        let mark = read_mark(disk)?;
        let are_there = home.has_signs_of_memory() || mark.is_some();
        Ok(Self { log, mark, are_there })
    }

    pub(super) fn birth<'a>(&'a self, home: &Home, backup: Option<&'a Path>) -> Birth<'a> {
        Birth {
            backup,
            lines: &self.log.lines,
            mark: self.mark.as_ref().map(|(manifest, seq)| (manifest.as_str(), *seq)),
            is_incomplete: self.are_there,
            runs_before: home.last_run_left(),
        }
    }

    fn found(&self, backup: Option<Timestamp>) -> Found {
        let lines = self.log.lines.len();
        Found { lines, is_incomplete: self.are_there, is_new: true, backup }
    }
}

/// Takes over what the manifest does not know, if there is anything; says what that
/// was.
///
/// # Errors
/// If something cannot be read, or the manifest cannot be written.
pub fn catch_up(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
) -> ManifestResult<Option<Found>> {
    if knows_all(disk, home, manifest)? {
        return Ok(None);
    }
    // What somebody else is only just writing is known once they are through.
    let gate = home.once_gate();
    let _gate = Gate::pass_at(&gate).map_err(|source| DiskError {
        doing: "lock",
        path: gate.clone(),
        source,
    })?;
    take_over(disk, home, manifest)
}

/// Whether the manifest knows the last line of `once.log`, and that of the mark.
pub(super) fn knows_all(
    disk: &dyn Disk,
    home: &Home,
    manifest: &dyn Manifest,
) -> ManifestResult<bool> {
    let known = manifest.known_lines()?;
    let knows = |id: &str, seq: u64| known.get(id).is_some_and(|last| *last >= seq);
    let end = once_log::end(disk, &home.once_log())?;
    let mark = read_mark(disk)?;
    Ok(end.last.is_none_or(|line| knows(&line.manifest, line.seq))
        && mark.is_none_or(|(id, seq)| knows(&id, seq)))
}

/// As [`catch_up`]; the gate is held, or nobody else writes to the manifest.
pub(super) fn take_over(
    disk: &dyn Disk,
    home: &Home,
    manifest: &mut dyn Manifest,
) -> ManifestResult<Option<Found>> {
    if knows_all(disk, home, manifest)? {
        return Ok(None);
    }
    let known = manifest.known_lines()?;
    let id = manifest.identity()?.id;
    let mut lines = once_log::read(disk, &home.once_log())?.lines;
    lines.retain(|line| known.get(&line.manifest).is_none_or(|last| line.seq > *last));
    let mut is_incomplete = false;
    for line in &lines {
        // Whoever died between the log and the manifest was known to be at work. A
        // manifest that does not know them is older than they are, or another.
        let is_of_the_dead = match line.says.doer() {
            Some(doer) => manifest.is_unended(&doer.run)?,
            None => true,
        };
        is_incomplete |= line.manifest != id || !is_of_the_dead;
    }
    let mark = read_mark(disk)?.filter(|(marker, seq)| {
        let last = lines.iter().rev().find(|line| line.manifest == *marker).map(|line| line.seq);
        last.max(known.get(marker).copied()).is_none_or(|last| last < *seq)
    });
    is_incomplete |= mark.is_some();
    let last = known.values().copied().max().unwrap_or(0);
    let loss = match is_incomplete {
        _ if mark.is_some() || are_missing(last, &lines, None) => Loss::Lines,
        true => Loss::Perhaps,
        false => Loss::None,
    };
    is_incomplete = loss != Loss::None;
    manifest.replay(&lines, loss)?;
    if let Some((marker, seq)) = mark {
        manifest.note_line(&marker, seq)?;
    }
    Ok(Some(Found { lines: lines.len(), is_incomplete, is_new: false, backup: None }))
}

/// The manifest for those who only look: as a run would find it, though nothing is
/// changed. `None` if there is none, and no sign of one.
///
/// # Errors
/// If it cannot be read.
pub fn read(disk: &dyn Disk, home: &Home) -> ManifestResult<Option<Looked>> {
    let looked = doubted(home).and_then(|()| match SqliteManifest::read(&home.manifest()) {
        Ok(manifest) if knows_all(disk, home, &manifest)? => {
            Ok(Some(Looked { manifest, found: None, damage: None }))
        }
        Ok(manifest) => rehearse(disk, home, &|path| manifest.copy_to(path)).map(Some),
        Err(error) => Err(error),
    });
    match looked {
        Err(ManifestError::Absent) => {
            let signs = Signs::read(disk, home)?;
            if !signs.are_there {
                return Ok(None);
            }
            rehearse_birth(disk, home, &signs).map(Some)
        }
        Err(ManifestError::Damaged(why)) => read_anew(disk, home, why).map(Some),
        looked => looked,
    }
}

/// The manifest as a run would make it anew, for those who only look.
///
/// # Errors
/// If it cannot be made.
pub fn read_anew(disk: &dyn Disk, home: &Home, damage: String) -> ManifestResult<Looked> {
    let signs = Signs { are_there: true, ..Signs::read(disk, home)? };
    Ok(Looked { damage: Some(damage), ..rehearse_birth(disk, home, &signs)? })
}

fn rehearse_birth(disk: &dyn Disk, home: &Home, signs: &Signs) -> ManifestResult<Looked> {
    let backup = Backup::look(home);
    let birth = signs.birth(home, backup.path.as_deref());
    let made = rehearse(disk, home, &|path| SqliteManifest::draft(disk, path, &birth))?;
    Ok(Looked { found: Some(signs.found(backup.made)), ..made })
}

/// Makes a copy, and in it what a run would do first.
fn rehearse(
    disk: &dyn Disk,
    home: &Home,
    copy: &dyn Fn(&Path) -> ManifestResult<()>,
) -> ManifestResult<Looked> {
    let folder = tempfile::tempdir().map_err(|source| ManifestError::Io {
        doing: "cannot make a folder in",
        path: std::env::temp_dir(),
        source,
    })?;
    let path = folder.path().join("manifest.db");
    copy(&path)?;
    let mut manifest = SqliteManifest::open(&path)?;
    let found = take_over(disk, home, &mut manifest)?;
    Ok(Looked { manifest: manifest.kept_in(folder), found, damage: None })
}

/// Whether the manifest is to be set aside, though it may look sound.
///
/// # Errors
/// That it is, and why.
pub(super) fn doubted(home: &Home) -> ManifestResult<()> {
    match std::fs::read_to_string(home.doubt()) {
        Ok(why) => Err(ManifestError::Damaged(why.trim().to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(_) => Err(ManifestError::Damaged("a run found that it is".to_owned())),
    }
}

/// What the manifest said no with, in words; the next run is told if it is damaged.
pub(super) fn complaint(home: &Home, error: &ManifestError) -> String {
    if let ManifestError::Damaged(why) = error {
        doubt(home, why);
    }
    format!("the manifest: {error}")
}

/// Notes that the manifest is to be set aside by the next run.
pub(super) fn doubt(home: &Home, why: &str) {
    // Where this cannot be kept, the next run finds out as we did.
    let _ = std::fs::write(home.doubt(), format!("{why}\n"));
}

/// The right to write to the manifest: shared by all who do, and had by one alone
/// who replaces it, or who writes on a network file system.
#[derive(Debug)]
#[must_use]
pub struct Access {
    _file: File,
    network: Option<NetworkLease>,
}

impl Access {
    /// Shares it; waits while it is being replaced.
    ///
    /// # Errors
    /// If its lock cannot be used, or somebody else writes where only one may.
    pub fn share(home: &Home, holder: &Holder) -> Result<Self, LeaseError> {
        let network = NetworkLease::take(home, holder)?;
        let (file, failed) = Self::open(home)?;
        file.lock_shared().map_err(failed)?;
        Ok(Self { _file: file, network })
    }

    /// Has it alone; `None` if somebody is at work.
    ///
    /// # Errors
    /// If its lock cannot be used, or somebody else writes where only one may.
    pub fn alone(home: &Home, holder: &Holder) -> Result<Option<Self>, LeaseError> {
        let network = NetworkLease::take(home, holder)?;
        let (file, failed) = Self::open(home)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file, network })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Whether somebody on this machine has or shares it.
    ///
    /// # Errors
    /// If its lock cannot be used.
    pub fn is_in_use(home: &Home) -> std::io::Result<bool> {
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        match options.open(home.manifest_lock())?.try_lock() {
            Ok(()) => Ok(false),
            Err(std::fs::TryLockError::WouldBlock) => Ok(true),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether the folder is still ours, where only one may write.
    #[must_use]
    pub fn pulse(&self) -> Option<&Arc<Pulse>> {
        self.network.as_ref().map(NetworkLease::pulse)
    }

    /// Lets the manifest write nothing more once the folder is not ours any more.
    ///
    /// # Errors
    /// If the store cannot be told.
    pub fn fence(&self, manifest: &mut SqliteManifest) -> ManifestResult<()> {
        match self.pulse().cloned() {
            Some(pulse) => manifest.fence(Arc::new(move || pulse.verify())),
            None => Ok(()),
        }
    }

    fn open(home: &Home) -> Result<(File, impl Fn(std::io::Error) -> LeaseError), LeaseError> {
        let path = home.manifest_lock();
        let shown = path.clone();
        let failed = move |source| LeaseError::Io { path: shown.clone(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(&failed)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        Ok((options.open(&path).map_err(&failed)?, failed))
    }
}

/// Renames files of a manifest, as far as they are there; gives the name of the last
/// one.
pub(super) fn set_aside(
    disk: &dyn Disk,
    home: &Home,
    files: &[PathBuf],
) -> Result<Option<PathBuf>, DiskError> {
    let there: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    if there.is_empty() {
        return Ok(None);
    }
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let name = |more: u32| match more {
        0 => format!("{DAMAGED}{time}"),
        more => format!("{DAMAGED}{time}-{more}"),
    };
    let is_taken = |name: &str| {
        ["", "-wal", "-shm", "-journal"]
            .iter()
            .any(|end| home.path().join(format!("{name}{end}")).exists())
    };
    let name = (0..).map(name).find(|name| !is_taken(name)).unwrap_or_default();
    let mut last = None;
    for file in there {
        let whole = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let end = whole.trim_start_matches("manifest.db");
        let to = home.path().join(format!("{name}{end}"));
        disk.rename_new(file, &to)?;
        last = Some(to);
    }
    disk.sync(home.path())?;
    Ok(last)
}
