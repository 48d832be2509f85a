//! The file of passwords of PostgreSQL, `~/.pgpass`: lines of
//! `host:port:database:user:password`, where a `*` stands for anything.
//!
//! Invariant: a file that others can read is not used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The password of the first line that fits, as bytes; what keeps the file from being
/// used is added to the warnings.
pub(super) fn password(
    path: &Path,
    is_named: bool,
    wanted: [&str; 4],
    warnings: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let shown = path.display();
    let mut warn = |text: String| {
        warnings.push(text);
        None
    };
    let Ok(meta) = std::fs::metadata(path) else {
        return if is_named {
            warn(format!("the password file {shown} is not there"))
        } else {
            None
        };
    };
    if !meta.is_file() {
        return warn(format!("the password file {shown} is not a plain file, and was not read"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return warn(format!(
            "the password file {shown} can be read or written by others, and was not read: chmod \
             600 {shown}"
        ));
    }
    match std::fs::read(path) {
        Ok(bytes) => bytes.split(|byte| *byte == b'\n').find_map(|line| of_line(line, wanted)),
        Err(error) => warn(format!("cannot read the password file {shown}: {error}")),
    }
}

/// The password of a line, if it fits.
fn of_line(line: &[u8], wanted: [&str; 4]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let mut rest = line;
    for text in wanted {
        rest = match rest.strip_prefix(b"*:") {
            Some(rest) => rest,
            None => {
                let (field, rest) = field(rest);
                if field != text.as_bytes() {
                    return None;
                }
                rest?
            }
        };
    }
    // Behind the password nothing counts: there may be a field more one day.
    Some(field(rest).0)
}

/// A field without its backslashes, and what stands behind its colon, if it has one.
fn field(text: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut field = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == b':' {
            return (field, Some(&text[at + 1..]));
        }
        if byte == b'\\' && at + 1 < text.len() {
            at += 1;
        }
        field.push(text[at]);
        at += 1;
    }
    (field, None)
}
