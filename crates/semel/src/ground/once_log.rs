//! The file `once.log`: read whole, or only where it ends.
//!
//! Invariant: reading changes nothing, and what is torn is passed over. What is
//! appended begins on a line of its own, whatever the last one who died left.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::ground::world::disk::{Disk, DiskError};
use crate::words::once::{Line, Read, VERSION};

/// How much of the end is looked at first.
const END: u64 = 16 * 1024;

/// All of the log.
#[derive(Clone, Debug, Default)]
pub struct OnceLog {
    /// Its lines, in their order.
    pub lines: Vec<Line>,
    /// How many lines cannot be read: a crash leaves one at most.
    pub unreadable: usize,
}

/// The end of the log.
#[derive(Clone, Debug, Default)]
pub struct End {
    /// The last line that can be read.
    pub last: Option<Line>,
    /// Whether what stands there ends with a line's end, or nothing stands there.
    pub is_clean: bool,
    /// Whether the file is there.
    pub exists: bool,
}

/// Reads the whole log; empty where there is none.
///
/// # Errors
/// If it cannot be read, or a newer semel wrote to it.
pub fn read(disk: &dyn Disk, path: &Path) -> ManifestResult<OnceLog> {
    let Some(mut file) = open(disk, path)? else {
        return Ok(OnceLog::default());
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| failed(path, source))?;
    let mut log = OnceLog::default();
    for text in bytes.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        match Line::read(text) {
            Read::Line(line) => log.lines.push(*line),
            Read::Newer(found) => return Err(newer(found)),
            Read::Torn => log.unreadable += 1,
        }
    }
    Ok(log)
}

/// Looks where the log ends.
///
/// # Errors
/// If it cannot be read, or a newer semel wrote its last line.
pub fn end(disk: &dyn Disk, path: &Path) -> ManifestResult<End> {
    let Some(mut file) = open(disk, path)? else {
        return Ok(End { is_clean: true, ..End::default() });
    };
    let length = file.metadata().map_err(|source| failed(path, source))?.len();
    let mut most = END;
    loop {
        let from = length.saturating_sub(most);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(from))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(|source| failed(path, source))?;
        let is_clean = bytes.last().is_none_or(|byte| *byte == b'\n');
        for text in bytes.split(|byte| *byte == b'\n').rev() {
            match Line::read(text) {
                Read::Line(line) => return Ok(End { last: Some(*line), is_clean, exists: true }),
                Read::Newer(found) => return Err(newer(found)),
                Read::Torn => {}
            }
        }
        if from == 0 {
            return Ok(End { last: None, is_clean, exists: true });
        }
        most = most.saturating_mul(8);
    }
}

/// Appends lines, and forces them to the medium; the name of the log too, if this is
/// the first time for who calls: whoever made it may have died right after.
///
/// # Errors
/// If they cannot be written; then none of them counts.
pub fn append(
    disk: &dyn Disk,
    path: &Path,
    end: &End,
    lines: &[Line],
    is_first: bool,
) -> Result<(), DiskError> {
    let mut text = String::new();
    if !end.is_clean {
        text.push('\n');
    }
    text.extend(lines.iter().map(Line::to_text));
    disk.append(path, text.as_bytes())?;
    if !end.exists || is_first {
        disk.sync(path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

fn open(disk: &dyn Disk, path: &Path) -> ManifestResult<Option<std::fs::File>> {
    match disk.open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_absence() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn failed(path: &Path, source: std::io::Error) -> ManifestError {
    ManifestError::Io { doing: "cannot read", path: path.to_owned(), source }
}

fn newer(found: u32) -> ManifestError {
    ManifestError::Newer { found: found.into(), known: VERSION.into() }
}
