//! What commands print, kept: one file a run, in which each attempt's output
//! stands in one piece. The manifest says where.
//!
//! *On disk*: `.semel/log/RUN.log`, only appended to. What an attempt prints is
//! collected in memory while that is short and young, then in
//! `.semel/staging/RUN/NUMBER.log`, and appended to the run's log when the
//! attempt ends. The collected file is removed when the manifest knows where that is.
//!
//! *If we die here*: the collected file stays, and the next run appends it, unless that
//! was done already.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::words::receipt::LogRange;

/// What an attempt printed is kept in memory while it is shorter than this …
const SHORT: usize = 64 * 1024;

/// … and younger than this.
const YOUNG: Duration = Duration::from_millis(100);

/// In a log of up to this size what stands there already is not appended again.
const SEARCHED: u64 = 64 << 20;

/// How much of the end is at hand when an attempt fails.
const TAIL: usize = 4 * 1024;

/// The log of a run.
#[derive(Debug)]
pub struct RunLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl RunLog {
    /// The log at a path; the file is made when there is something to keep.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, file: Mutex::default() }
    }

    /// Appends what an attempt printed.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn append(&self, printed: &mut dyn io::Read) -> io::Result<LogRange> {
        let mut slot = self.file.lock().expect("nobody panics while holding it");
        let file = match &mut *slot {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let file = OpenOptions::new().append(true).create(true).open(&self.path)?;
                slot.insert(file)
            }
        };
        let at = file.seek(io::SeekFrom::End(0))?;
        let bytes = io::copy(printed, file)?;
        Ok(LogRange { at, bytes })
    }

    /// Appends what a dead run collected of an attempt, unless that stands there: it
    /// died after it had appended it.
    ///
    /// # Errors
    /// If something cannot be read or written.
    pub fn append_once(&self, collected: &mut File) -> io::Result<LogRange> {
        let size = |file: &File| file.metadata().map(|meta| meta.len());
        let log = match File::open(&self.path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(mut log) = log
            && size(&log)? <= SEARCHED
            && size(collected)? <= size(&log)?
        {
            let (mut all, mut part) = (Vec::new(), Vec::new());
            io::Read::read_to_end(&mut log, &mut all)?;
            io::Read::read_to_end(collected, &mut part)?;
            if let Some(at) = memchr::memmem::find(&all, &part) {
                return Ok(LogRange { at: at as u64, bytes: part.len() as u64 });
            }
            collected.rewind()?;
        }
        self.append(collected)
    }
}

/// Removes what was collected of an attempt, now that the manifest knows where it is.
///
/// # Errors
/// If it cannot be removed.
pub fn forget_collected(staging: &Path, number: u64) -> io::Result<()> {
    match std::fs::remove_file(collected_at(staging, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn collected_at(staging: &Path, number: u64) -> PathBuf {
    staging.join(format!("{number}.log"))
}

/// What an attempt prints, while it prints.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    began: Instant,
    memory: Vec<u8>,
    /// Whether nothing is only in memory: it must be there if semel dies.
    hurries: bool,
    file: Option<File>,
    tail: Vec<u8>,
}

impl Spool {
    /// Collects for the attempt of this number in a run's staging folder.
    #[must_use]
    pub fn new(staging: &Path, number: u64) -> Self {
        Self {
            path: collected_at(staging, number),
            began: Instant::now(),
            hurries: false,
            memory: Vec::new(),
            file: None,
            tail: Vec::new(),
        }
    }

    /// Collects on disk from the first byte on: whoever settles what was cut short
    /// wants to read it.
    #[must_use]
    pub fn at_once(self) -> Self {
        Self { hurries: true, ..self }
    }

    /// Takes what was printed next.
    ///
    /// # Errors
    /// If it cannot be written; it is collected in memory all the same.
    pub fn take(&mut self, printed: &[u8]) -> io::Result<()> {
        self.tail.extend_from_slice(printed);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
        self.memory.extend_from_slice(printed);
        let is_short = self.memory.len() < SHORT && self.began.elapsed() < YOUNG;
        if self.file.is_none() && is_short && !self.hurries {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create_new(&self.path)?),
        };
        file.write_all(&self.memory)?;
        self.memory.clear();
        Ok(())
    }

    /// The end of what was printed.
    #[must_use]
    pub fn tail(&self) -> &[u8] {
        &self.tail[self.tail.len().saturating_sub(TAIL)..]
    }

    /// Appends all of it to the run's log.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn end(self, log: &RunLog) -> io::Result<LogRange> {
        if self.file.is_none() {
            if self.memory.is_empty() {
                return Ok(LogRange::default());
            }
            return log.append(&mut self.memory.as_slice());
        }
        let written = File::open(&self.path)?;
        log.append(&mut io::Read::chain(written, self.memory.as_slice()))
    }
}

/// Reads what an attempt printed.
///
/// # Errors
/// If the log cannot be read.
pub fn read(path: &Path, range: LogRange) -> io::Result<Vec<u8>> {
    if range.bytes == 0 {
        return Ok(Vec::new());
    }
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(range.at))?;
    let mut printed = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, range.bytes), &mut printed)?;
    Ok(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_stand_in_one_piece_each() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = RunLog::at(folder.path().join("log/1.log"));
        let (mut one, mut two) = (Spool::new(folder.path(), 1), Spool::new(folder.path(), 2));
        one.take(b"one ").expect("kept");
        two.take(b"two").expect("kept");
        one.take(b"more").expect("kept");
        let first = one.end(&log).expect("appended");
        let second = two.end(&log).expect("appended");
        assert_eq!(read(&log.path, first).expect("read"), b"one more");
        assert_eq!(read(&log.path, second).expect("read"), b"two");
    }

    #[test]
    fn silence_makes_no_file() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = RunLog::at(folder.path().join("log/1.log"));
        let range = Spool::new(folder.path(), 1).end(&log).expect("nothing to do");
        assert_eq!(range, LogRange::default());
        assert!(!log.path.exists());
        assert!(read(&log.path, range).expect("nothing to read").is_empty());
    }

    #[test]
    fn what_is_long_goes_to_disk_at_once_and_its_end_is_at_hand() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let log = RunLog::at(folder.path().join("log/1.log"));
        let mut spool = Spool::new(folder.path(), 7);
        let long = "line\n".repeat(SHORT / 4);
        spool.take(long.as_bytes()).expect("kept");
        assert!(folder.path().join("7.log").exists());
        spool.take(b"the end").expect("kept");
        assert!(spool.tail().ends_with(b"line\nthe end") && spool.tail().len() <= TAIL);
        let range = spool.end(&log).expect("appended");
        assert_eq!(range.bytes as usize, long.len() + 7);
        assert!(read(&log.path, range).expect("read").ends_with(b"\nthe end"));
        // Until the manifest knows where it is, it is there twice; it is not appended so.
        let mut collected = File::open(folder.path().join("7.log")).expect("it is there");
        assert_eq!(log.append_once(&mut collected).expect("found").at, range.at);
        forget_collected(folder.path(), 7).expect("removed");
        forget_collected(folder.path(), 7).expect("it is gone already");
        assert!(!folder.path().join("7.log").exists());
    }
}
