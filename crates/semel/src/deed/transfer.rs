//! Import: a manifest takes in what another one, or itself before, has exported.
//!
//! Invariant: *I4* nobody works on an instance while its receipts are taken in, else
//! a run could begin what it does not yet know is done.

use std::io::BufRead;

use jiff::Timestamp;

use crate::deed::hold::{hold, holder_of};
use crate::deed::lease::{Lease, LeaseError};
use crate::deed::memory::{self, Access, CannotMake};
use crate::deed::run::Setting;
use crate::ground::home::Home;
use crate::ground::manifest::sqlite::{Birth, Header, ImportError, Imported, SqliteManifest};

/// Why nothing was taken in.
#[derive(Debug)]
pub enum CannotImport {
    /// What was to be taken in, or the manifest, is not as it must be.
    Import(ImportError),
    /// Somebody is at work.
    Lease(LeaseError),
}

impl<E: Into<ImportError>> From<E> for CannotImport {
    fn from(error: E) -> Self {
        Self::Import(error.into())
    }
}

/// Takes in an export; where there is no manifest, makes one.
///
/// # Errors
/// If it cannot be taken in; then nothing was.
pub fn import(
    setting: &Setting<'_>,
    lines: &mut dyn BufRead,
) -> Result<(Header, Imported), CannotImport> {
    let home = Home::in_folder(setting.disk.root());
    let is_new = !home.manifest().exists();
    if is_new {
        // A manifest that is only made for it is not left behind empty: what is
        // wrong with an export is found before.
        let folder = tempfile::tempdir().map_err(ImportError::Io)?;
        let path = folder.path().join("manifest.db");
        SqliteManifest::create(
            setting.disk,
            &path,
            &folder.path().join("draft"),
            &Birth::default(),
        )?;
        let mut text = Vec::new();
        lines.read_to_end(&mut text).map_err(ImportError::Io)?;
        let mut trial = SqliteManifest::open(&path)?;
        trial.receive(&mut text.as_slice())?;
        trial.take_in(Timestamp::now())?;
        let made = memory::make(setting.disk, &home, "import", &holder_of(setting));
        made.map_err(|error| match error {
            CannotMake::Lease(error) => CannotImport::Lease(error),
            CannotMake::Manifest(error) => error.into(),
        })?;
        return into_manifest(setting, &home, &mut text.as_slice());
    }
    into_manifest(setting, &home, lines)
}

fn into_manifest(
    setting: &Setting<'_>,
    home: &Home,
    lines: &mut dyn BufRead,
) -> Result<(Header, Imported), CannotImport> {
    let access = Access::share(home, &holder_of(setting)).map_err(CannotImport::Lease)?;
    let mut manifest = SqliteManifest::open(&home.manifest())?;
    access.fence(&mut manifest)?;
    let header = manifest.receive(lines)?;
    let own = setting.params.instance(&setting.pipeline.per);
    let mut leases = hold(setting, home).map_err(CannotImport::Lease)?;
    for (pipeline, instance) in manifest.received_instances()? {
        if pipeline == setting.pipeline.name && instance == own.as_str() {
            continue;
        }
        let lock = home.lock(&pipeline, &instance);
        leases.push(Lease::take(&lock, &holder_of(setting)).map_err(CannotImport::Lease)?);
    }
    let imported = manifest.take_in(Timestamp::now())?;
    drop(leases);
    Ok((header, imported))
}
