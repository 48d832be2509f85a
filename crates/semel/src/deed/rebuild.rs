//! Care for the manifest: a copy once a day, and a new one where it is damaged.
//!
//! Invariants: a copy is whole before it takes the place of the last one. A manifest
//! is never deleted: one that is replaced is set aside, and the new one is whole
//! before the old one goes.
//!
//! *If we die here*: a part of a copy is removed with the next one; a draft lies in
//! staging. A manifest that was set aside, and not replaced yet, is missing: the next
//! run makes a new one out of the backup and `once.log`, incomplete.

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

/// The backup, as far as it can be used.
pub(super) struct Backup {
    pub(super) path: Option<PathBuf>,
    /// When it was made.
    pub(super) made: Option<Timestamp>,
    /// Why one that is there cannot be used.
    pub(super) bad: Option<String>,
}

impl Backup {
    const NONE: Self = Self { path: None, made: None, bad: None };

    /// Looks whether there is one, and whether it is sound.
    pub(super) fn look(home: &Home) -> Self {
        let path = home.backup();
        match SqliteManifest::read(&path).and_then(|backup| backup.check()) {
            Ok(()) => {
                let made = std::fs::metadata(&path).and_then(|meta| meta.modified()).ok();
                let made = made.and_then(|made| Timestamp::try_from(made).ok());
                Self { path: Some(path), made, bad: None }
            }
            Err(ManifestError::Absent) => Self::NONE,
            Err(error) => Self { bad: Some(error.to_string()), ..Self::NONE },
        }
    }
}

/// Makes a new manifest out of the last backup and `once.log`, and sets the present
/// one aside.
///
/// Outputs need not be looked for: those with a stamp are adopted by the next run.
///
/// # Errors
/// If it cannot be made. The present one stays where it is then, unless what failed
/// is to put the new one in its place.
pub fn rebuild(disk: &dyn Disk, home: &Home, access: &Access) -> ManifestResult<Rebuilt> {
    rebuild_from(disk, home, access, Backup::look(home))
}

/// The same, and what the backup has is not believed.
pub(super) fn rebuild_of_log(
    disk: &dyn Disk,
    home: &Home,
    access: &Access,
) -> ManifestResult<Rebuilt> {
    let bad = home.backup().exists().then(|| "what is made of it is damaged too".to_owned());
    rebuild_from(disk, home, access, Backup { bad, ..Backup::NONE })
}

fn rebuild_from(
    disk: &dyn Disk,
    home: &Home,
    _access: &Access,
    mut backup: Backup,
) -> ManifestResult<Rebuilt> {
    let failed = |path: PathBuf| {
        move |source| ManifestError::Io { doing: "cannot lock", path: path.clone(), source }
    };
    let _gate = Gate::pass(home).map_err(failed(home.gate()))?;
    let _once_gate = Gate::pass_at(&home.once_gate()).map_err(failed(home.once_gate()))?;
    let mut signs = Signs::read(disk, home)?;
    signs.are_there = true;
    // One that is sound takes its log in when it is closed.
    if let Err(error @ ManifestError::Newer { .. }) = SqliteManifest::open(&home.manifest()) {
        return Err(error);
    }
    // The new one is whole before the old one goes.
    let folder = home.staging_of("rebuild");
    let draft = folder.join("manifest.db");
    let make = |backup: Option<&Path>| {
        disk.remove_all(&folder)?;
        disk.make_folders(&folder)?;
        SqliteManifest::draft(disk, &draft, &signs.birth(home, backup))
    };
    match (make(backup.path.as_deref()), &backup.path) {
        (Err(ManifestError::Damaged(why)), Some(_)) => {
            backup = Backup { bad: Some(why), ..Backup::NONE };
            make(None)?;
        }
        (made, _) => made?,
    }
    disk.sync(&draft)?;
    let manifest = home.manifest();
    let [wal, shm, journal] = SqliteManifest::companions(&manifest);
    let aside = set_aside(disk, home, &[wal, shm, journal, manifest.clone()])?;
    disk.rename_new(&draft, &manifest)?;
    disk.sync(home.path())?;
    // Whatever was doubted was set aside.
    disk.remove_all(&home.doubt())?;
    disk.remove_all(&folder)?;
    Ok(Rebuilt {
        aside,
        backup: backup.made,
        bad_backup: backup.bad,
        lines: signs.log.lines.len(),
        unreadable: signs.log.unreadable,
    })
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
        // Who may not read the manifest may not read its copy.
        let like = std::fs::metadata(home.manifest()).map(|meta| meta.permissions());
        like.and_then(|like| std::fs::set_permissions(&part, like)).map_err(|source| {
            ManifestError::Io { doing: "cannot copy", path: part.clone(), source }
        })?;
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
