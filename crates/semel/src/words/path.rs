//! Paths as bytes, and as people see them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// A path without `.` components and doubled slashes.
///
/// ```
/// use semel::words::path::normal;
/// assert_eq!(normal(b"./raw//a.csv"), std::path::Path::new("raw/a.csv"));
/// ```
#[must_use]
pub fn normal(path: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(path));
    let bytes = bytes_of(path);
    let is_odd = |pair: &[u8]| matches!(pair, b"//" | b"/." | b"./");
    if !bytes.is_empty() && !bytes.ends_with(b"/") && !bytes.windows(2).any(is_odd) {
        return path.to_owned();
    }
    path.components().filter(|part| *part != Component::CurDir).collect()
}

/// A path as it is called from a folder: what lies in it is not named by its whole
/// path.
#[must_use]
pub fn within(folder: &Path, path: PathBuf) -> PathBuf {
    match path.strip_prefix(folder) {
        Ok(inside) if !inside.as_os_str().is_empty() => inside.to_owned(),
        _ => path,
    }
}

/// A path's bytes.
#[must_use]
pub fn bytes_of(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// The path of some bytes.
#[must_use]
pub fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// A path as it is shown to people: in backticks, control characters escaped.
#[must_use]
pub fn show(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.chars().any(char::is_control) {
        format!("`{}`", text.escape_debug())
    } else {
        format!("`{text}`")
    }
}
