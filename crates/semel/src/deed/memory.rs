//! A new memory: semel's own folder and an empty manifest in it.
//!
//! Invariant: the manifest appears whole or not at all, and if many make it in
//! one moment there is one. Where it cannot be made, nothing is left that was
//! not there.
//!
//! *If we die here*: the draft lies in staging, where the next run removes it.

use crate::deed::lease::Gate;
use crate::ground::home::Home;
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::ground::world::disk::Disk;

/// Makes a memory, unless there is one, and says whether it is new. `draft` names
/// the folder in staging in which it is written.
///
/// # Errors
/// If it cannot be made.
pub fn make(disk: &dyn Disk, home: &Home, draft: &str) -> ManifestResult<bool> {
    let failed =
        |source| ManifestError::Io { doing: "cannot make", path: home.path().to_owned(), source };
    let made_home = home.make().map_err(failed)?;
    // Whoever cleans up staging would take the draft for that of a dead run.
    let made = Gate::pass(home).map_err(failed).and_then(|_gate| {
        let manifest = home.manifest();
        if manifest.exists() {
            return Ok(false);
        }
        let is_first = !home.has_signs_of_memory();
        SqliteManifest::create(disk, &manifest, &home.staging_of(draft), is_first)
    });
    if made.is_err() && made_home {
        home.unmake();
    }
    made
}
