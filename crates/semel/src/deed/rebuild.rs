//! Care for the manifest: a copy once a day, and a new one where it is damaged.
//!
//! Invariants: a copy is whole before it takes the place of the last one. A manifest
//! is never deleted: one that is replaced is set aside, and the new one is whole
//! before the old one goes.
//!
//! *If we die here*: a part of a copy is removed with the next one; a draft lies in
//! staging. A manifest that was set aside, and not replaced yet, is missing: the next
//! run makes a new one out of `once.log`, incomplete, and a rebuild still has the
//! backup.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::deed::lease::Gate;
use crate::deed::memory::{Access, Signs, set_aside};
use crate::ground::home::Home;
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::manifest::{Manifest, ManifestError, ManifestResult};
use crate::ground::world::disk::Disk;

/// How old a backup may be.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    // One that is sound takes its log in when it is closed.
    if let Err(error @ ManifestError::Newer { .. }) = SqliteManifest::open(&home.manifest()) {
        return Err(error);
    }
    // The new one is whole before the old one goes.
    let folder = home.staging_of("rebuild");
    disk.remove_all(&folder)?;
    disk.make_folders(&folder)?;
    let draft = folder.join("manifest.db");
    SqliteManifest::draft(disk, &draft, &signs.birth(home, backup.as_deref()))?;
    disk.sync(&draft)?;
    let manifest = home.manifest();
    let [wal, shm, journal] = SqliteManifest::companions(&manifest);
    let aside = set_aside(disk, home, &[wal, shm, journal, manifest.clone()])?;
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
