//! Digests of files, and the memory of them: a file that looks as it did when it
//! was hashed is not read again.
//!
//! Invariant: a digest is remembered only where a later change must show in the
//! file's times, size or inode. That is git's rule for "racily clean" files
//! (git, Documentation/technical/racy-git.txt): what was changed in the very
//! moment in which it was hashed is not remembered, and is read again next time.
//! A store through a shared memory mapping changes bytes without changing
//! times; only `--rehash` sees those.
//!

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::Connection;

use crate::ground::one_writer::{BESIDE, with_suffix};
use crate::ground::world::disk::{Disk, DiskError, DiskResult, Kind, Meta, Stat};
use crate::words::digest::{Digest, Fields, Stream};
use crate::words::path::bytes_of;
use crate::words::rows::{Counter, Records};

mod store;

pub use store::forget_gone;
use store::{Known, ask, is_damage, load, open_to_read, save};

/// A file's times are this coarse at worst; the kernel's clock for them ticks
/// every 10 ms at the slowest.
const TICK: i64 = 20_000_000;

/// Where times have no fraction of a second, the file system keeps none; FAT
/// keeps every other second.
const COARSE_TICK: i64 = 2_000_000_000;

/// A file this large is worth waiting a tick for, rather than hashing it twice.
const WORTH_WAITING: u64 = 4 * 1024 * 1024;

/// What was found in a file or folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    /// The SHA-256 of its bytes; of a folder, of its list.
    pub digest: Digest,
    /// Its size; of a folder, of all files in it.
    pub bytes: u64,
    /// Its records, where they were asked for.
    pub rows: Option<u64>,
    /// Whether the digest is of what it looks like, not of what is in it.
    pub by_stat: bool,
    /// Whether a change since must show in the file's times, size or inode; if
    /// not, only its bytes tell.
    pub is_settled: bool,
}

/// Computes digests and remembers them.
pub struct Digests {
    /// Where they are remembered; read when the first is asked for.
    store: Option<PathBuf>,
    /// Whether only few are asked for, so that not all are read.
    are_few: bool,
    known: OnceLock<Known>,
    connection: OnceLock<Option<Mutex<Connection>>>,
    /// What was hashed since, to be remembered.
    fresh: Mutex<Vec<(PathBuf, Stat, Digest)>>,
    /// What was hashed too soon after it changed.
    racy: Mutex<Vec<PathBuf>>,
    trusts: bool,
}

impl Digests {
    /// Remembers nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            store: None,
            are_few: false,
            known: OnceLock::new(),
            connection: OnceLock::new(),
            fresh: Mutex::default(),
            racy: Mutex::default(),
            trusts: true,
        }
    }

    /// What is remembered in a file; nothing, where it cannot be read. With
    /// `trusts` unset nothing that is remembered is believed, but it is
    /// replaced.
    #[must_use]
    pub fn at(path: PathBuf, trusts: bool) -> Self {
        Self { store: trusts.then_some(path), trusts, ..Self::empty() }
    }

    /// What is remembered in a file, for somebody who asks for a few files only.
    #[must_use]
    pub fn one_by_one(path: PathBuf) -> Self {
        Self { store: Some(path), are_few: true, ..Self::empty() }
    }

    /// Reads what is remembered, so that nobody waits for it later.
    pub fn warm(&self) {
        self.known();
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| self.store.as_deref().and_then(load).unwrap_or_default())
    }

    /// The remembered digest of a file that looks like this.
    pub fn remembered(&self, path: &Path, stat: &Stat, hint: &mut usize) -> Option<Digest> {
        if self.are_few {
            let open = || Some(Mutex::new(open_to_read(self.store.as_deref()?)?));
            let connection = self.connection.get_or_init(open).as_ref()?;
            let connection = connection.lock().expect("nobody panics while holding it");
            return ask(&connection, path)
                .filter(|(known, _)| known == stat)
                .map(|(_, digest)| digest);
        }
        let known = self.known().find(bytes_of(path), hint)?;
        (known.stat == *stat).then_some(known.digest)
    }

    /// The content of a file or folder that looks like `meta`.
    ///
    /// # Errors
    /// If it cannot be read, or is neither a file nor a folder.
    pub fn content(
        &self,
        disk: &dyn Disk,
        path: &Path,
        meta: &Meta,
        hint: &mut usize,
    ) -> DiskResult<Content> {
        match meta.kind {
            Kind::Folder => self.folder(disk, path),
            Kind::Other => Err(not_readable(path)),
            Kind::File | Kind::Link => {
                if let Some(digest) = self.remembered(path, &meta.stat, hint) {
                    let bytes = meta.stat.size;
                    return Ok(Content {
                        digest,
                        bytes,
                        rows: None,
                        by_stat: false,
                        is_settled: true,
                    });
                }
                let content = read_settled(disk, path, meta, None)?;
                self.remember(path, meta.stat, &content);
                Ok(content)
            }
        }
    }

    /// Remembers the digest of a file that looks like this. What was hashed too
    /// soon is not remembered, but will be hashed again when the run ends.
    pub fn remember(&self, path: &Path, stat: Stat, content: &Content) {
        if content.is_settled {
            self.fresh().push((path.to_owned(), stat, content.digest));
        } else {
            self.racy().push(path.to_owned());
        }
    }

    /// The content of a folder; its files are remembered one by one.
    fn folder(&self, disk: &dyn Disk, path: &Path) -> DiskResult<Content> {
        let mut hint = 0;
        folder(disk, path, &mut |file, meta| self.content(disk, file, meta, &mut hint))
    }

    /// Hashes again what was hashed too soon, now that its times are past; what
    /// is still too young stays forgotten.
    pub fn settle(&self, disk: &dyn Disk, jobs: usize) {
        let mut racy = std::mem::take(&mut *self.racy());
        racy.sort();
        racy.dedup();
        let share = racy.len().div_ceil(jobs.max(1)).max(1);
        std::thread::scope(|scope| {
            for paths in racy.chunks(share) {
                scope.spawn(move || {
                    for path in paths {
                        // What is gone, or cannot be read, is not remembered.
                        if let Ok(Some(meta)) = disk.look(path)
                            && (meta.kind != Kind::File || is_settled(&meta.stat, now()))
                        {
                            let _ = self.content(disk, path, &meta, &mut 0);
                        }
                    }
                });
            }
        });
    }

    /// Writes what was learnt. It is a cache: an error is told, and harms
    /// nothing.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), rusqlite::Error> {
        let fresh = std::mem::take(&mut *self.fresh());
        if fresh.is_empty() && self.trusts {
            return Ok(());
        }
        match save(path, &fresh, self.trusts) {
            // Damaged beyond use: begin anew, once.
            Err(error) if is_damage(&error) => {
                for suffix in [""].iter().chain(&BESIDE) {
                    let _ = std::fs::remove_file(with_suffix(path, suffix));
                }
                save(path, &fresh, self.trusts)
            }
            saved => saved,
        }
    }

    fn fresh(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Stat, Digest)>> {
        self.fresh.lock().expect("nobody panics while holding it")
    }

    fn racy(&self) -> std::sync::MutexGuard<'_, Vec<PathBuf>> {
        self.racy.lock().expect("nobody panics while holding it")
    }
}

/// Reads a folder and all files in it; nothing of it is remembered.
///
/// # Errors
/// If something in it cannot be read.
pub fn read_folder(disk: &dyn Disk, path: &Path) -> DiskResult<Content> {
    folder(disk, path, &mut |file, _| read(disk, file, None))
}

/// The digest of a file or folder; of other things there is none.
///
/// # Errors
/// If something in it cannot be read.
pub fn digest_of(disk: &dyn Disk, path: &Path, kind: Kind) -> DiskResult<Option<Digest>> {
    let content = match kind {
        Kind::File => read(disk, path, None),
        Kind::Folder => read_folder(disk, path),
        Kind::Link | Kind::Other => return Ok(None),
    };
    content.map(|content| Some(content.digest))
}

/// The content of a folder: the names, kinds and contents of all that is in it.
fn folder(
    disk: &dyn Disk,
    path: &Path,
    content: &mut dyn FnMut(&Path, &Meta) -> DiskResult<Content>,
) -> DiskResult<Content> {
    let mut fields = Fields::new("folder");
    let mut bytes = 0;
    for (name, kind) in tree(disk, path)? {
        let inside = path.join(&name);
        match kind {
            Kind::Folder => fields.put("folder", bytes_of(&name)),
            Kind::Link => {
                fields.put("link", bytes_of(&name));
                fields.put("to", bytes_of(&disk.read_link(&inside)?));
            }
            Kind::Other => return Err(not_readable(&inside)),
            Kind::File => {
                let Some(meta) = disk.look(&inside)? else {
                    continue;
                };
                let content = content(&inside, &meta)?;
                bytes += content.bytes;
                fields.put("file", bytes_of(&name));
                fields.put("is", content.digest.as_bytes());
            }
        }
    }
    Ok(Content { digest: fields.digest(), bytes, rows: None, by_stat: false, is_settled: false })
}

/// What a file or folder looks like, in place of what is in it: sizes, times of
/// the last change, and inodes.
///
/// # Errors
/// If a folder cannot be listed.
pub fn stat_content(disk: &dyn Disk, path: &Path, meta: &Meta) -> DiskResult<Content> {
    let mut fields = Fields::new("stat");
    let mut bytes = 0;
    let mut put = |name: &Path, stat: &Stat| {
        fields.put("file", bytes_of(name));
        fields.put("size", &stat.size.to_be_bytes());
        fields.put("mtime", &stat.mtime.to_be_bytes());
        fields.put("inode", &stat.inode.to_be_bytes());
        bytes += stat.size;
    };
    match meta.kind {
        Kind::File | Kind::Link => put(Path::new(""), &meta.stat),
        Kind::Other => return Err(not_readable(path)),
        Kind::Folder => {
            for (name, kind) in tree(disk, path)? {
                let meta = disk.look_at_link(&path.join(&name))?;
                if let Some(meta) = meta.filter(|_| kind != Kind::Folder) {
                    put(&name, &meta.stat);
                }
            }
        }
    }
    Ok(Content { digest: fields.digest(), bytes, rows: None, by_stat: true, is_settled: true })
}

/// All that is in a folder, by paths relative to it, in order. Links are not
/// followed; semel's own folder is passed over.
///
/// # Errors
/// If it cannot be listed.
pub fn tree(disk: &dyn Disk, folder: &Path) -> DiskResult<Vec<(PathBuf, Kind)>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(inside) = open.pop() {
        for entry in disk.list(&folder.join(&inside))? {
            if entry.name == ".semel" {
                continue;
            }
            let name = inside.join(&entry.name);
            if entry.kind == Kind::Folder {
                open.push(name.clone());
            }
            found.push((name, entry.kind));
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file that looks like `meta` to its end, in a moment after which each
/// change of it must show, if that moment can be waited for.
///
/// # Errors
/// If it cannot be read.
pub fn read_settled(
    disk: &dyn Disk,
    path: &Path,
    meta: &Meta,
    records: Option<Records>,
) -> DiskResult<Content> {
    if meta.stat.size >= WORTH_WAITING {
        wait_until_settled(&meta.stat);
    }
    let began = now();
    let content = read(disk, path, records)?;
    // What changed while it was read has no digest worth keeping.
    let is_settled =
        is_settled(&meta.stat, began) && disk.look(path)?.map(|meta| meta.stat) == Some(meta.stat);
    Ok(Content { is_settled, ..content })
}

/// Reads a file to its end; nothing of it is remembered.
///
/// # Errors
/// If it cannot be read.
pub fn read(disk: &dyn Disk, path: &Path, records: Option<Records>) -> DiskResult<Content> {
    let failed = |source| DiskError { doing: "read", path: path.to_owned(), source };
    let mut file = disk.open(path)?;
    let mut stream = Stream::default();
    let mut counter = records.map(Counter::new);
    let mut bytes = 0_u64;
    let mut buffer = vec![0_u8; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                bytes += length as u64;
                stream.feed(&buffer[..length]);
                if let Some(counter) = &mut counter {
                    counter.feed(&buffer[..length]);
                }
                if bytes > 1 << 20 && buffer.len() < 1 << 20 {
                    buffer.resize(1 << 20, 0);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let rows = counter.map(Counter::rows);
    Ok(Content { digest: stream.digest(), bytes, rows, by_stat: false, is_settled: false })
}

/// A pipe would be waited on for ever.
fn not_readable(path: &Path) -> DiskError {
    DiskError {
        doing: "read",
        path: path.to_owned(),
        source: std::io::Error::other("it is neither a file nor a folder"),
    }
}

/// The time, in nanoseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether a change after `moment` must show in the times of a file that looks
/// like this.
fn is_settled(stat: &Stat, moment: i64) -> bool {
    settled_at(stat) < moment
}

fn settled_at(stat: &Stat) -> i64 {
    let is_coarse = stat.mtime % 1_000_000_000 == 0 && stat.ctime % 1_000_000_000 == 0;
    let tick = if is_coarse { COARSE_TICK } else { TICK };
    stat.mtime.max(stat.ctime).saturating_add(tick)
}

fn wait_until_settled(stat: &Stat) {
    let wait = settled_at(stat).saturating_sub(now());
    // A time in the future is not worth waiting for.
    if (0..=COARSE_TICK).contains(&wait) {
        std::thread::sleep(Duration::from_nanos(wait.unsigned_abs() + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::world::disk::RealDisk;

    const YEAR_2020: i64 = 1_577_836_800;

    /// A folder with a file that was last changed long ago.
    fn scratch() -> (tempfile::TempDir, RealDisk) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        (folder, disk)
    }

    fn stat(mtime: i64, ctime: i64) -> Stat {
        Stat { size: 1, mtime, ctime, inode: 1 }
    }

    #[test]
    fn a_file_that_changed_just_now_is_not_settled() {
        let old = YEAR_2020 * 1_000_000_000 + 1;
        assert!(is_settled(&stat(old, old), old + TICK + 1));
        assert!(!is_settled(&stat(old, old), old));
        // The time of the last change of anything counts too: mtime can be set.
        assert!(!is_settled(&stat(old, old + TICK), old + TICK));
        // A time in the future never settles.
        assert!(!is_settled(&stat(old + COARSE_TICK, old), old));
        // Whole seconds are not believed to be exact.
        let whole = YEAR_2020 * 1_000_000_000;
        assert!(!is_settled(&stat(whole, whole), whole + COARSE_TICK));
        assert!(is_settled(&stat(whole, whole), whole + COARSE_TICK + 1));
    }

    #[test]
    fn what_was_hashed_too_soon_is_not_remembered_until_it_settles() {
        let (folder, disk) = scratch();
        let (path, store) = (Path::new("a"), folder.path().join("digests.db"));
        disk.write(path, b"one").expect("written");
        let meta = disk.look(path).expect("a look").expect("there");
        let digests = Digests::empty();
        digests.content(&disk, path, &meta, &mut 0).expect("hashed");
        digests.save(&store).expect("saved");
        let loaded = Digests::at(store.clone(), true);
        assert_eq!(loaded.remembered(path, &meta.stat, &mut 0), None);

        wait_until_settled(&meta.stat);
        digests.settle(&disk, 1);
        digests.save(&store).expect("saved");
        let loaded = Digests::at(store.clone(), true);
        assert_eq!(loaded.remembered(path, &meta.stat, &mut 0), Some(Digest::of(b"one")));
        let touched = Stat { ctime: meta.stat.ctime + 1, ..meta.stat };
        assert_eq!(loaded.remembered(path, &touched, &mut 0), None);
        assert_eq!(Digests::at(store.clone(), false).remembered(path, &meta.stat, &mut 0), None);
    }

    #[test]
    fn a_damaged_memory_is_no_memory() {
        let (folder, disk) = scratch();
        let store = folder.path().join("digests.db");
        std::fs::write(&store, "not a database, and long enough to be looked at").expect("written");
        let digests = Digests::at(store.clone(), true);
        disk.write(Path::new("a"), b"one").expect("written");
        let meta = disk.look(Path::new("a")).expect("a look").expect("there");
        wait_until_settled(&meta.stat);
        digests.content(&disk, Path::new("a"), &meta, &mut 0).expect("hashed");
        digests.save(&store).expect("saved over the damage");
        assert!(
            Digests::at(store.clone(), true)
                .remembered(Path::new("a"), &meta.stat, &mut 0)
                .is_some()
        );
    }

    #[test]
    fn a_folder_is_its_names_and_contents() {
        let (_folder, disk) = scratch();
        let digests = Digests::empty();
        let of = |path: &str| {
            let path = Path::new(path);
            let meta = disk.look(path).expect("a look").expect("there");
            digests.content(&disk, path, &meta, &mut 0).expect("hashed").digest
        };
        disk.make_folders(Path::new("a/b")).expect("made");
        disk.write(Path::new("a/b/x"), b"1").expect("written");
        disk.make_folders(Path::new("c/b")).expect("made");
        disk.write(Path::new("c/b/x"), b"1").expect("written");
        let first = of("a");
        assert_eq!(first, of("c"), "its own name does not count");
        disk.make_folders(Path::new("c/empty")).expect("made");
        assert_ne!(first, of("c"), "an empty folder counts");
        disk.make_link(Path::new("x"), Path::new("a/b/y")).expect("made");
        assert_ne!(first, of("a"), "a link counts");
        disk.remove_file(Path::new("a/b/y")).expect("removed");
        assert_eq!(first, of("a"));
        disk.write(Path::new("a/b/x"), b"2").expect("written");
        assert_ne!(first, of("a"), "a changed file counts");
    }
}
