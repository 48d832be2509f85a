//! Scripts, line by line guarded: real bash scripts in a folder, killed, run again,
//! looked at.

mod alone;
mod databases;
mod killed;
mod looked_at;
mod said;
mod shells;
mod small;

use semel_testkit::{Ran, Scratch};

/// A scratch folder with a manifest and a script, as people write it: `body` comes after
/// the line that guards it.
fn with(body: &str) -> Scratch {
    let scratch = with_manifest();
    put(&scratch, body);
    scratch
}

/// A scratch folder with a manifest.
fn with_manifest() -> Scratch {
    let scratch = crate::scratch();
    scratch.semel("init --bare").exits(0);
    scratch
}

/// Writes the script anew.
fn put(scratch: &Scratch, body: &str) {
    let head = "#!/usr/bin/env bash\nset -euo pipefail\neval \"$(semel script nightly || echo exit 105)\"\n";
    scratch.file("nightly.sh", format!("{head}{body}"));
}

/// Runs the script with bash.
fn run(scratch: &Scratch) -> Ran {
    scratch.ran(scratch.script("bash", "nightly.sh"))
}

/// The processes that keep a script's run in a folder.
fn keepers(scratch: &Scratch) -> Vec<u32> {
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else { continue };
        let words = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let folder = std::fs::read_link(process.path().join("cwd"));
        let here = folder.is_ok_and(|folder| folder.starts_with(scratch.path()));
        if here && words.windows(5).any(|part| part == b"\0keep") {
            found.push(pid);
        }
    }
    found
}

/// Waits until no run of a script is kept in a folder: the kernel lets go of what a
/// process had a moment after it is no longer seen.
fn until_kept(scratch: &Scratch) {
    let is_free = |name: &str| {
        let path = scratch.path().join(".semel/lock").join(name);
        !semel::deed::lease::is_held(&path).unwrap()
    };
    semel_testkit::eventually("its keeper is gone", || {
        keepers(scratch).is_empty() && scratch.list(".semel/lock").iter().all(|name| is_free(name))
    });
}
