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
//! *If we die here*: the draft lies in staging, where the next run removes it. A
//! manifest that was set aside, and not replaced yet, is missing: the next run makes
//! a new one out of the log, incomplete.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::deed::lease::Gate;
use crate::deed::once::read_mark;
use crate::ground::home::Home;
use crate::ground::manifest::sqlite::{Birth, SqliteManifest};
use crate::ground::manifest::{Manifest, ManifestError, ManifestResult};
use crate::ground::once_log::{self, OnceLog};
use crate::ground::world::disk::{Disk, DiskError};

/// How old a backup may be.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What was found of the memory, where that is not as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// How many lines of `once.log` were taken over.
    pub lines: usize,
    /// Whether more may have happened than is known now.
    pub is_incomplete: bool,
    /// Whether the manifest is new.
    pub is_new: bool,
}

/// A manifest that is only looked at.
pub struct Looked {
    /// The manifest, or a copy of it in which it is as a run would find it.
    pub manifest: SqliteManifest,
    /// What a run would find of it.
    pub found: Option<Found>,
}

/// Makes a memory, unless there is one; says what of it was found. `draft` names the
/// folder in staging in which it is written.
///
/// # Errors
/// If it cannot be made.
pub fn make(disk: &dyn Disk, home: &Home, draft: &str) -> ManifestResult<Option<Found>> {
    let failed =
        |source| ManifestError::Io { doing: "cannot make", path: home.path().to_owned(), source };
    let made_home = home.make().map_err(failed)?;
    // Whoever cleans up staging would take the draft for that of a dead run.
    let made = Gate::pass(home).map_err(failed).and_then(|_gate| {
        let _once_gate = Gate::pass_at(&home.once_gate()).map_err(failed)?;
        if home.manifest().exists() {
            return Ok(None);
        }
        let signs = Signs::read(disk, home)?;
        // A log that is left of another file must never be taken for the new one's.
        set_aside(disk, home, &SqliteManifest::companions(&home.manifest()))?;
        let birth = signs.birth(home, None);
        let is_ours =
            SqliteManifest::create(disk, &home.manifest(), &home.staging_of(draft), &birth)?;
        Ok(is_ours.then(|| signs.found()))
    });
    if made.is_err() && made_home {
        home.unmake();
    }
    made
}

/// All that tells of a memory beside the manifest.
struct Signs {
    log: OnceLog,
    mark: Option<(String, u64)>,
    are_there: bool,
}

impl Signs {
    fn read(disk: &dyn Disk, home: &Home) -> ManifestResult<Self> {
        let log = once_log::read(disk, &home.once_log())?;
        let mark = read_mark(disk)?;
        let are_there = home.has_signs_of_memory() || mark.is_some();
        Ok(Self { log, mark, are_there })
    }

    fn birth<'a>(&'a self, home: &Home, backup: Option<&'a Path>) -> Birth<'a> {
        Birth {
            backup,
            lines: &self.log.lines,
            mark: self.mark.as_ref().map(|(manifest, seq)| (manifest.as_str(), *seq)),
            is_incomplete: self.are_there,
            runs_before: home.last_run_left(),
        }
    }

    fn found(&self) -> Found {
        Found { lines: self.log.lines.len(), is_incomplete: self.are_there, is_new: true }
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
fn knows_all(disk: &dyn Disk, home: &Home, manifest: &dyn Manifest) -> ManifestResult<bool> {
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
    manifest.replay(&lines, is_incomplete)?;
    if let Some((marker, seq)) = mark {
        manifest.note_line(&marker, seq)?;
    }
    Ok(Some(Found { lines: lines.len(), is_incomplete, is_new: false }))
}

/// The manifest for those who only look: as a run would find it, though nothing is
/// changed. `None` if there is none, and no sign of one.
///
/// # Errors
/// If it cannot be read.
pub fn read(disk: &dyn Disk, home: &Home) -> ManifestResult<Option<Looked>> {
    let path = home.manifest();
    let manifest = match SqliteManifest::read(&path) {
        Err(ManifestError::Absent) => None,
        read => Some(read?),
    };
    let rehearse = |copy: &dyn Fn(&Path) -> ManifestResult<()>| {
        let folder = tempfile::tempdir().map_err(|source| ManifestError::Io {
            doing: "cannot make a folder in",
            path: std::env::temp_dir(),
            source,
        })?;
        let path = folder.path().join("manifest.db");
        copy(&path)?;
        let mut manifest = SqliteManifest::open(&path)?;
        let found = take_over(disk, home, &mut manifest)?;
        Ok(Some(Looked { manifest: manifest.kept_in(folder), found }))
    };
    match manifest {
        Some(manifest) if knows_all(disk, home, &manifest)? => {
            Ok(Some(Looked { manifest, found: None }))
        }
        Some(manifest) => rehearse(&|path| manifest.copy_to(path)),
        None => {
            let signs = Signs::read(disk, home)?;
            if !signs.are_there {
                return Ok(None);
            }
            let made =
                rehearse(&|path| SqliteManifest::draft(disk, path, &signs.birth(home, None)))?;
            Ok(made.map(|looked| Looked { found: Some(signs.found()), ..looked }))
        }
    }
}

/// The right to write to the manifest: shared by all who do, and had by one alone
/// who replaces it.
#[derive(Debug)]
#[must_use]
pub struct Access {
    _file: File,
}

impl Access {
    /// Shares it; waits while it is being replaced.
    ///
    /// # Errors
    /// If its lock cannot be used.
    pub fn share(home: &Home) -> ManifestResult<Self> {
        let (file, failed) = Self::open(home)?;
        file.lock_shared().map_err(failed)?;
        Ok(Self { _file: file })
    }

    /// Has it alone; `None` if somebody is at work.
    ///
    /// # Errors
    /// If its lock cannot be used.
    pub fn alone(home: &Home) -> ManifestResult<Option<Self>> {
        let (file, failed) = Self::open(home)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn open(home: &Home) -> ManifestResult<(File, impl Fn(std::io::Error) -> ManifestError)> {
        let path = home.manifest_lock();
        let shown = path.clone();
        let failed =
            move |source| ManifestError::Io { doing: "cannot lock", path: shown.clone(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(&failed)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        Ok((options.open(&path).map_err(&failed)?, failed))
    }
}

/// What a manifest was rebuilt from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the one before was set aside, if there was one.
    pub aside: Option<PathBuf>,
    /// When the backup was made, if there was one that could be used.
    pub backup: Option<Timestamp>,
    /// Why a backup that is there could not be used.
    pub bad_backup: Option<String>,
    /// How many lines `once.log` has.
    pub lines: usize,
    /// How many of them cannot be read.
    pub unreadable: usize,
}

/// Makes a new manifest out of the last backup and `once.log`, and sets the present
/// one aside.
///
/// Outputs need not be looked for: those with a stamp are adopted by the next run.
///
/// # Errors
/// If it cannot be made. The present one stays where it is then, unless what failed
/// is to put the new one in its place.
pub fn rebuild(disk: &dyn Disk, home: &Home, _access: &Access) -> ManifestResult<Rebuilt> {
    let failed = |path: PathBuf| {
        move |source| ManifestError::Io { doing: "cannot lock", path: path.clone(), source }
    };
    let _gate = Gate::pass(home).map_err(failed(home.gate()))?;
    let _once_gate = Gate::pass_at(&home.once_gate()).map_err(failed(home.once_gate()))?;
    let mut signs = Signs::read(disk, home)?;
    signs.are_there = true;
    let backup = home.backup();
    let (backup, bad_backup) = match usable(&backup) {
        Ok(()) => (Some(backup), None),
        Err(ManifestError::Absent) => (None, None),
        Err(error) => (None, Some(error.to_string())),
    };
    let made = backup.as_deref().and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
    // The new one is whole before the old one goes.
    let folder = home.staging_of("rebuild");
    disk.remove_all(&folder)?;
    disk.make_folders(&folder)?;
    let draft = folder.join("manifest.db");
    SqliteManifest::draft(disk, &draft, &signs.birth(home, backup.as_deref()))?;
    disk.sync(&draft)?;
    let manifest = home.manifest();
    // One that is sound takes its log in when it is closed.
    drop(SqliteManifest::open(&manifest));
    let [wal, shm] = SqliteManifest::companions(&manifest);
    let aside = set_aside(disk, home, &[wal, shm, manifest.clone()])?;
    disk.rename_new(&draft, &manifest)?;
    disk.sync(home.path())?;
    disk.remove_all(&folder)?;
    Ok(Rebuilt {
        aside,
        backup: made.and_then(|made| Timestamp::try_from(made).ok()),
        bad_backup,
        lines: signs.log.lines.len(),
        unreadable: signs.log.unreadable,
    })
}

/// Whether a backup can be used. It is opened in a copy: it may lie where nothing
/// can be written.
fn usable(backup: &Path) -> ManifestResult<()> {
    SqliteManifest::read(backup)?.check()
}

/// Renames files of a manifest, as far as they are there; gives the name of the last
/// one.
fn set_aside(
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
        0 => format!("manifest.db.damaged-{time}"),
        more => format!("manifest.db.damaged-{time}-{more}"),
    };
    let is_taken = |name: &str| {
        ["", "-wal", "-shm"].iter().any(|end| home.path().join(format!("{name}{end}")).exists())
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

/// Copies the manifest if the last copy is more than a day old; says whether it did.
/// Where there is none yet, the age of the manifest counts.
///
/// # Errors
/// If it cannot be copied; the last copy is still there then.
pub fn back_up(disk: &dyn Disk, home: &Home, manifest: &dyn Manifest) -> ManifestResult<bool> {
    let backup = home.backup();
    let made = std::fs::metadata(&backup).and_then(|meta| meta.modified());
    let since = match made.ok().and_then(|made| Timestamp::try_from(made).ok()) {
        Some(made) => made,
        None => manifest.identity()?.born,
    };
    // A clock that went back makes one copy too many at most.
    let age = Timestamp::now().duration_since(since);
    if !age.is_negative() && age.unsigned_abs() < DAY {
        return Ok(false);
    }
    let lock = home.path().join("lock").join(":backup");
    let failed = |path: &Path, source| ManifestError::Io {
        doing: "cannot lock",
        path: path.to_owned(),
        source,
    };
    let mut options = std::fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(false);
    let file = options.open(&lock).map_err(|error| failed(&lock, error))?;
    // Somebody else is at it.
    if file.try_lock().is_err() {
        return Ok(false);
    }
    let part = home.path().join("manifest.backup.db.part");
    disk.remove_all(&part)?;
    let copied = manifest.copy_to(&part).and_then(|()| {
        disk.sync(&part)?;
        if backup.exists() {
            disk.exchange(&part, &backup)?;
        } else {
            disk.rename_new(&part, &backup)?;
        }
        Ok(disk.sync(home.path())?)
    });
    disk.remove_all(&part)?;
    copied.map(|()| true)
}
