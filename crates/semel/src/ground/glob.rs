//! The files that match a pattern.
//!
//! `*` and `?` stay within a folder, `**` crosses folders, `[…]` and `{…,…}` are
//! sets. Hidden files and folders are found only by a pattern that names them,
//! and semel's own folder never is. The list is in the order of the bytes of its
//! paths, and so the same everywhere.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind};
use crate::words::path::{bytes_of, normal};

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum GlobError {
    /// It is no pattern.
    #[error("not a pattern: {0}")]
    Pattern(String),
    /// A folder cannot be listed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A pattern, to be held against paths.
pub struct Matcher(GlobMatcher);

impl Matcher {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is none.
    pub fn new(pattern: &[u8]) -> Result<Self, GlobError> {
        let pattern = normal(pattern);
        let text = std::str::from_utf8(bytes_of(&pattern))
            .map_err(|error| GlobError::Pattern(error.to_string()))?;
        let glob = GlobBuilder::new(text).literal_separator(true).build();
        let glob = glob.map_err(|error| GlobError::Pattern(error.kind().to_string()))?;
        Ok(Self(glob.compile_matcher()))
    }

    /// Whether it takes a path.
    #[must_use]
    pub fn takes(&self, path: &Path) -> bool {
        self.0.is_match(path)
    }
}

/// The regular files that match a pattern, links followed.
///
/// # Errors
/// If it is no pattern, or a folder may not be listed. That a folder is not
/// there is no error: nothing matches.
pub fn glob(disk: &dyn Disk, pattern: &[u8]) -> Result<Vec<PathBuf>, GlobError> {
    let matcher = Matcher::new(pattern)?;
    let pattern = normal(pattern);
    let text = pattern.to_string_lossy();
    let is_plain = |part: &Component<'_>| !has_meta(part.as_os_str());
    let folder: PathBuf = pattern.components().take_while(is_plain).collect();
    let rest = pattern.strip_prefix(&folder).unwrap_or(&pattern);
    // A set may hold slashes; then depth says nothing.
    let is_deep = text.contains("**") || text.contains('{');
    let depth = if is_deep { usize::MAX } else { rest.components().count() };
    let hidden = rest.components().any(|part| part.as_os_str().as_bytes().starts_with(b"."));
    let mut search =
        Search { disk, matcher, hidden, follows: !text.contains("**"), found: Vec::new() };
    search.within(&folder, depth)?;
    search.found.sort_unstable_by(|one, other| bytes_of(one).cmp(bytes_of(other)));
    Ok(search.found)
}

fn has_meta(part: &OsStr) -> bool {
    part.as_bytes().iter().any(|byte| b"*?[{\\".contains(byte))
}

struct Search<'a> {
    disk: &'a dyn Disk,
    matcher: Matcher,
    hidden: bool,
    follows: bool,
    found: Vec<PathBuf>,
}

impl Search<'_> {
    fn within(&mut self, folder: &Path, depth: usize) -> DiskResult<()> {
        if folder.components().any(|part| part.as_os_str() == ".semel") {
            return Ok(());
        }
        let entries = match self.disk.list(folder) {
            Err(error) if error.is_absence() => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let name = entry.name.as_bytes();
            if name.starts_with(b".") && !self.hidden {
                continue;
            }
            let path = folder.join(&entry.name);
            let is_link = entry.kind == Kind::Link;
            let kind = if is_link {
                // A link to nowhere is found; that its file is missing is for
                // those to say who want to read it.
                self.disk.look(&path)?.map_or(Kind::File, |meta| meta.kind)
            } else {
                entry.kind
            };
            match kind {
                Kind::Folder if depth > 1 && (self.follows || !is_link) => {
                    self.within(&path, depth - 1)?;
                }
                Kind::File if self.matcher.takes(&path) => self.found.push(path),
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::world::disk::RealDisk;

    fn found(files: &[&str], pattern: &str) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("made");
            std::fs::write(path, "").expect("written");
        }
        let paths = glob(&disk, pattern.as_bytes()).expect("a good pattern");
        paths.iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_star_stays_in_its_folder() {
        let files = ["raw/b.csv", "raw/a.csv", "raw/sub/c.csv", "raw/d.txt", "b.csv"];
        assert_eq!(found(&files, "raw/*.csv"), ["raw/a.csv", "raw/b.csv"]);
        assert_eq!(found(&files, "./raw//*.csv"), ["raw/a.csv", "raw/b.csv"]);
        assert_eq!(found(&files, "*/*.csv"), ["raw/a.csv", "raw/b.csv"]);
        assert_eq!(found(&files, "raw/**/*.csv"), ["raw/a.csv", "raw/b.csv", "raw/sub/c.csv"]);
        assert_eq!(found(&files, "raw/{a,sub/c}.csv"), ["raw/a.csv", "raw/sub/c.csv"]);
        assert_eq!(found(&files, "raw/?.[ct]*"), ["raw/a.csv", "raw/b.csv", "raw/d.txt"]);
        assert!(found(&files, "nowhere/*.csv").is_empty());
    }

    #[test]
    fn hidden_files_are_found_only_by_name() {
        let files = ["a/.x.csv.swp", "a/x.csv", "a/.h/y.csv", ".semel/z.csv"];
        assert_eq!(found(&files, "a/*"), ["a/x.csv"]);
        assert_eq!(found(&files, "**/*"), ["a/x.csv"]);
        assert_eq!(found(&files, "a/.*"), ["a/.x.csv.swp"]);
        assert_eq!(found(&files, "a/.h/*"), ["a/.h/y.csv"]);
        assert!(found(&files, ".semel/*").is_empty());
    }

    #[test]
    fn links_are_followed_and_dangling_ones_found() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        disk.make_folders(Path::new("real")).expect("made");
        disk.write(Path::new("real/a.csv"), b"").expect("written");
        disk.make_link(Path::new("real"), Path::new("linked")).expect("made");
        disk.make_link(Path::new("nowhere"), Path::new("real/b.csv")).expect("made");
        let paths = glob(&disk, b"*/*.csv").expect("a good pattern");
        assert_eq!(
            paths,
            ["linked/a.csv", "linked/b.csv", "real/a.csv", "real/b.csv"].map(Path::new)
        );
    }

    #[test]
    fn what_is_no_pattern_is_said_to_be_none() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        let error = glob(&disk, b"raw/[a").expect_err("not closed");
        assert_eq!(error.to_string(), "not a pattern: unclosed character class; missing ']'");
    }

    #[test]
    fn names_that_are_not_utf8_are_found() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        let odd = OsStr::from_bytes(b"\xff\n .csv");
        disk.write(Path::new(odd), b"").expect("written");
        assert_eq!(glob(&disk, b"*.csv").expect("a good pattern"), [Path::new(odd)]);
    }
}
