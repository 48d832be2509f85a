//! The keys of the pipeline file, each as a user would meet it: what it promises,
//! where it ends, and what is said of a wrong value.

mod age;
mod calls;
mod chains;
mod checks;
mod hooks;
mod in_place;
mod keep;
mod limits;
mod lists;
mod params;
mod secret;
mod shape;
mod wrong;

use std::path::Path;

use semel_testkit::Scratch;

/// A scratch folder with a pipeline.
fn pipeline(text: &str) -> Scratch {
    let scratch = crate::scratch();
    scratch.pipeline(text);
    scratch
}

/// The lines of a file that a command appended to; none if it is not there.
fn lines(scratch: &Scratch, path: &str) -> Vec<String> {
    let text = std::fs::read_to_string(scratch.path().join(path)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Changes the manifest behind semel's back.
fn in_manifest(scratch: &Scratch, sql: &str) {
    let db = rusqlite::Connection::open(scratch.path().join(".semel/manifest.db")).unwrap();
    db.execute_batch(sql).unwrap();
}

/// The files below a folder that hold these bytes.
fn holding(folder: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.to_string_lossy().into_owned();
            if name.as_bytes().windows(bytes.len()).any(|part| part == bytes) {
                found.push(format!("the name {name}"));
            }
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path)
                .unwrap_or_default()
                .windows(bytes.len())
                .any(|part| part == bytes)
            {
                found.push(name);
            }
        }
    }
    found
}
