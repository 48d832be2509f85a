//! Option files of MySQL and MariaDB: `/etc/my.cnf` and what it includes.
//!
//! Invariant: a line means what `my_print_defaults` makes of it; of a name that is said
//! more than once the last one counts. A file that everyone can write to is not used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::sources::{Layer, Said};

/// The groups that a client reads, and ours.
const GROUPS: [&str; 4] = ["client", "client-server", "client-mariadb", "semel"];

/// How deep files may include others, as in MySQL.
const DEPTH: usize = 10;

/// What option files say, and what kept one of them from being used.
#[derive(Default)]
pub(super) struct OptionFiles {
    /// By names with dashes. An option without a value says `1`; one that began with
    /// `skip-` or `disable-` says `0`.
    pub(super) layer: Layer,
    pub(super) warnings: Vec<String>,
}

impl OptionFiles {
    /// Reads a file, if it is there; what it says outweighs what was read before.
    pub(super) fn read(&mut self, path: &Path, known: &[&str]) -> Result<(), String> {
        self.read_at(path, known, 0)
    }

    fn read_at(&mut self, path: &Path, known: &[&str], depth: usize) -> Result<(), String> {
        let shown = path.display();
        let Ok(meta) = std::fs::metadata(path) else { return Ok(()) };
        if !meta.is_file() {
            return Ok(());
        }
        if meta.permissions().mode() & 0o002 != 0 {
            self.warnings.push(format!("{shown} can be written by everyone, and was not read"));
            return Ok(());
        }
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.warnings.push(format!("cannot read {shown}: {error}"));
                return Ok(());
            }
        };
        // `None` before the first group.
        let mut is_ours = None;
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let by = || format!("{shown}:{}", at + 1);
            let line = line.trim_ascii();
            match line.first() {
                None | Some(b'#' | b';') => {}
                Some(b'!') => {
                    for file in
                        included(&line[1..], path).map_err(|why| format!("{}: {why}", by()))?
                    {
                        if depth == DEPTH {
                            return Err(format!("{}: files include each other without end", by()));
                        }
                        self.read_at(&file, known, depth + 1)?;
                    }
                }
                Some(b'[') => {
                    let end = line.iter().position(|byte| *byte == b']');
                    let end = end.ok_or_else(|| format!("{}: a group has no `]`", by()))?;
                    let group = line[1..end].trim_ascii_end();
                    is_ours = Some(GROUPS.iter().any(|ours| ours.as_bytes() == group));
                }
                Some(_) => match is_ours {
                    None => return Err(format!("{}: there is no `[group]` above this", by())),
                    Some(false) => {}
                    Some(true) => self.take(line, known, &by())?,
                },
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8], known: &[&str], by: &str) -> Result<(), String> {
        let line = &line[..end_of(line)];
        let (name, value) = match line.iter().position(|byte| *byte == b'=') {
            Some(at) => (&line[..at], Some(unquoted(line[at + 1..].trim_ascii()))),
            None => (line, None),
        };
        let name = String::from_utf8_lossy(name.trim_ascii_end()).replace('_', "-");
        let name = name.strip_prefix("loose-").unwrap_or(&name);
        let off = name.strip_prefix("skip-").or_else(|| name.strip_prefix("disable-"));
        let (name, value) = match (off, value) {
            (Some(name), _) => (name, b"0".to_vec()),
            (None, value) => {
                // A password without a value asks for one to be typed: nobody is there.
                if value.is_none() && name == "password" {
                    return Ok(());
                }
                let name = name.strip_prefix("enable-").unwrap_or(name);
                (name, value.unwrap_or_else(|| b"1".to_vec()))
            }
        };
        if known.contains(&name) {
            let text = String::from_utf8(value)
                .map_err(|_| format!("{by}: the value of `{name}` is not UTF-8"))?;
            self.layer.insert(name.to_owned(), Said::new(text, by));
        }
        Ok(())
    }
}

/// The files that a line behind its `!` names.
fn included(line: &[u8], by: &Path) -> Result<Vec<PathBuf>, String> {
    let line = String::from_utf8_lossy(line);
    let (word, path) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    // The clients take a relative path from wherever they run; that can only be a mistake.
    let path = by.parent().unwrap_or(Path::new("/")).join(path.trim());
    match word {
        "include" => Ok(vec![path]),
        "includedir" => {
            let entries = std::fs::read_dir(&path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let mut files: Vec<_> = entries
                .flatten()
                .map(|entry| entry.path())
                .filter(|file| file.extension().is_some_and(|ending| ending == "cnf"))
                .collect();
            files.sort();
            Ok(files)
        }
        _ => Ok(Vec::new()),
    }
}

/// Where the comment begins that ends a line. In quotes there is none.
fn end_of(line: &[u8]) -> usize {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, &byte) in line.iter().enumerate() {
        if matches!(byte, b'\'' | b'"') && !is_escaped {
            match quote {
                None => quote = Some(byte),
                Some(open) if open == byte => quote = None,
                Some(_) => {}
            }
        }
        if quote.is_none() && byte == b'#' {
            return at;
        }
        is_escaped = quote.is_some() && byte == b'\\' && !is_escaped;
    }
    line.len()
}

/// A value without the quotes around it and its backslashes.
fn unquoted(value: &[u8]) -> Vec<u8> {
    let value = match value {
        [first @ (b'\'' | b'"'), inner @ .., last] if first == last => inner,
        _ => value,
    };
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b'b') => bytes.push(8),
            Some(b's') => bytes.push(b' '),
            Some(&same @ (b'\'' | b'"' | b'\\')) => bytes.push(same),
            Some(&other) => bytes.extend([b'\\', other]),
            None => bytes.push(b'\\'),
        }
    }
    bytes
}
