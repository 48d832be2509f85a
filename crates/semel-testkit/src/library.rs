//! semel's library, for tests that give it a disk of their own; and what a human does
//! between two of its runs.

use std::collections::BTreeMap;
use std::path::Path;

use semel::Timestamp;
use semel::deed::once;
use semel::deed::run::Setting;
use semel::ground::home::Home;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::ground::manifest::{Resolution, Verb};
use semel::ground::world::disk::{Disk, RealDisk};
use semel::thought::bind::Params;
use semel::words::pipeline::Pipeline;
use semel::words::run::By;
use semel::words::task::{Instance, TaskName};

/// Acts on a pipeline, given by its text, in the folder of a disk.
pub fn with_setting<T>(disk: &dyn Disk, text: &str, act: impl FnOnce(&Setting<'_>) -> T) -> T {
    let pipeline = Pipeline::read(text).unwrap();
    let params = Params::of(&pipeline, &[], &BTreeMap::new()).unwrap();
    let by = By { host: "host".to_owned(), user: "user".to_owned(), pid: std::process::id() };
    act(&Setting {
        pipeline: &pipeline,
        file: "semel.toml",
        params: &params,
        disk,
        env: &BTreeMap::new(),
        command: "semel run",
        by: &by,
    })
}

/// Settles what a run refused to do.
pub fn settle(folder: &Path, pipeline: &str, step: &str, verb: Verb) {
    let disk = RealDisk::at(folder).unwrap();
    let home = Home::in_folder(disk.root());
    let mut manifest = SqliteManifest::open(&home.manifest()).unwrap();
    let said = Resolution {
        task: TaskName::new(step, &Instance::default(), None),
        verb,
        without_outputs: false,
        because: "somebody looked".to_owned(),
        by: By { host: "host".to_owned(), user: "user".to_owned(), pid: 1 },
        at: Timestamp::now(),
    };
    once::settle(&disk, &home, &mut manifest, pipeline, &[said], |_| true).unwrap();
}

/// Writes a file, and the folders above it.
pub fn put_file(folder: &Path, name: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Another folder with the same in it.
#[must_use]
pub fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let mut cp = std::process::Command::new("cp");
    let status = cp.arg("-a").arg(folder.join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success(), "{}", folder.display());
    copy
}

/// Whether these bytes are in a file somewhere in a folder: at their place, or among
/// what was displaced.
#[must_use]
pub fn is_somewhere(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        let is_there = || std::fs::read(&path).is_ok_and(|found| found == bytes);
        if path.is_dir() { is_somewhere(&path, bytes) } else { is_there() }
    })
}
