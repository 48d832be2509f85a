//! Mending: a run that finds its manifest damaged sets it aside, makes another, and
//! begins anew.
//!
//! Invariants: nothing was begun and nothing was told when a run is begun anew. Only
//! who has the manifest alone sets it aside; a manifest that somebody else made
//! meanwhile is used. What is not known any longer is not believed undone: the memory
//! is incomplete from then on.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{CannotBegin, Preparation};
use crate::deed::lease::patiently;
use crate::deed::memory::{self, Access, PATIENCE};
use crate::deed::rebuild::{self, Rebuilt};
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::manifest::{ManifestError, ManifestResult};

/// A manifest that was made anew.
#[derive(Clone, Debug)]
pub(super) struct Mended {
    /// What was wrong with the one before.
    pub(super) why: String,
    /// What it was made of, and where the one before is.
    pub(super) rebuilt: Rebuilt,
}

/// Which file a manifest is, so that another one in its place is told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Which(Option<(u64, u64)>);

impl Which {
    pub(super) fn at(path: &Path) -> Self {
        Self(std::fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino())))
    }
}

/// Why the manifest must be made anew before a run can begin, if it must.
pub(super) fn damage<T>(ended: &Result<T, CannotBegin>) -> Option<&str> {
    match ended {
        Err(CannotBegin::Manifest { error: ManifestError::Damaged(why), .. }) => Some(why),
        _ => None,
    }
}

impl Preparation<'_> {
    /// Sets the damaged manifest aside and makes another; `None` if there is another
    /// one already. Where `again` is set, what was made of the backup is damaged too.
    pub(super) fn mend(
        &self,
        why: &str,
        damaged: Which,
        again: bool,
    ) -> Result<Option<Mended>, CannotBegin> {
        let (disk, home) = (self.setting.disk, self.home);
        let holder = self.holder();
        let no_manifest = |error| self.no_manifest(error);
        let Some(access) = patiently(PATIENCE, || Access::alone(home, &holder))? else {
            // Somebody else has the manifest: whoever makes another is waited for, and
            // whoever works with the damaged one is let be.
            let _access = Access::share(home, &holder)?;
            if Which::at(&home.manifest()) == damaged {
                return Err(no_manifest(ManifestError::DamagedInUse(why.to_owned())));
            }
            return Ok(None);
        };
        let mend = || -> ManifestResult<Option<Mended>> {
            if Which::at(&home.manifest()) != damaged {
                return Ok(None);
            }
            let rebuild = if again { rebuild::rebuild_of_log } else { rebuild::rebuild };
            let rebuilt = rebuild(disk, home, &access)?;
            Ok(Some(Mended { why: why.to_owned(), rebuilt }))
        };
        mend().map_err(no_manifest)
    }

    /// Opens the manifest for writing. After a death it is looked through for damage.
    pub(super) fn open_manifest(
        &self,
        died: bool,
        access: Option<&Access>,
    ) -> Result<SqliteManifest, CannotBegin> {
        let open = || {
            memory::doubted(self.home)?;
            let mut manifest = SqliteManifest::open(&self.home.manifest())?;
            if died {
                manifest.check()?;
            }
            access.map_or(Ok(()), |access| access.fence(&mut manifest))?;
            Ok(manifest)
        };
        open().map_err(|error| self.no_manifest(error))
    }
}
