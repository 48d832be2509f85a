//! The house: each storey may use only those below it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};

/// The storeys, and what each may use.
const STOREYS: [(&str, &[&str]); 4] = [
    ("words", &["words"]),
    ("ground", &["words", "ground"]),
    ("thought", &["words", "thought"]),
    ("deed", &["words", "ground", "thought", "deed"]),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The storeys that a text names: `crate::words::digest` names `words`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
        })
}

#[test]
fn no_import_climbs() {
    let mut looked_at = 0;
    for (storey, may_use) in STOREYS {
        let mut files = sources(&source().join(storey));
        files.push(source().join(format!("{storey}.rs")));
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for used in named(&text) {
                assert!(
                    may_use.contains(&used),
                    "{} is in `{storey}` and uses `{used}`",
                    file.display()
                );
            }
            looked_at += 1;
        }
    }
    assert_eq!(
        looked_at + 1,
        sources(&source()).len(),
        "every file but lib.rs belongs to a storey"
    );
}

/// Pure is pure: neither words nor thoughts touch the world.
#[test]
fn words_and_thoughts_do_no_io() {
    for storey in ["words", "thought"] {
        for file in sources(&source().join(storey)) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for word in [
                "std::fs",
                "std::env",
                "std::process",
                "std::net",
                "std::thread",
                "SystemTime::now",
                "Timestamp::now",
            ] {
                assert!(!code.contains(word), "{} uses {word}", file.display());
            }
        }
    }
}

/// The library talks to no terminal and ends no process; its tests say what they tried.
#[test]
fn the_library_is_silent() {
    for file in sources(&source()).iter().filter(|file| !file.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(file).unwrap();
        for word in ["println!", "print!", "eprint", "process::exit"] {
            assert!(!text.contains(word), "{} uses {word}", file.display());
        }
    }
}
