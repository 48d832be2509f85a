//! A disk that records: each change of names and bytes, each sync, in their order, by
//! semel or by a command; and what the manifest and the world knew then. Out of it
//! [`crate::aftermath`] makes what a power cut could leave.
//!
//! What semel does through its disk is recorded as it is done. What else changes is
//! found by looking through the folder, before and after each of those. The manifest
//! is SQLite's own matter, and believed: what was committed is durable, provided that
//! its name is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use semel::ground::world::disk::{DirEntry, Disk, DiskResult, Meta, RealDisk};

/// The number of a thing in its file system. None is used twice: all are kept open.
pub type Inode = u64;

/// What a thing is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and where it points.
    Link(PathBuf),
}

/// What is in a file, and what is known of a thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its stamp.
    pub stamp: Option<Vec<u8>>,
    /// Its mark.
    pub mark: Option<Vec<u8>>,
}

/// One change, or a sync.
#[derive(Clone, Debug)]
pub enum Change {
    /// Names in folders that changed in one step.
    Names {
        /// In which folder, which name, and what it stands for from now on.
        names: Vec<(Inode, OsString, Option<Inode>)>,
        /// The folders of which each, when it is synced, makes this durable.
        durable_by: Vec<Inode>,
    },
    /// A thing has another body.
    Body(Inode, Arc<Body>),
    /// All of a thing, and of a folder its names, is durable.
    Sync(Inode),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Names { names, .. } => {
                write!(f, "names:")?;
                for (folder, name, inode) in names {
                    let of = inode.map_or_else(|| "gone".to_owned(), |inode| inode.to_string());
                    write!(f, " {folder}/{} is {of};", name.display())?;
                }
                Ok(())
            }
            Self::Body(inode, body) => {
                let bytes = &body.bytes[..body.bytes.len().min(60)];
                write!(f, "body of {inode}: {:?}", String::from_utf8_lossy(bytes))
            }
            Self::Sync(inode) => write!(f, "sync of {inode}"),
        }
    }
}

/// A receipt, and what was there when it was first seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    /// Which receipt.
    pub receipt: i64,
    /// The path of an output.
    pub path: PathBuf,
    /// What was there.
    pub there: Tree,
}

/// What is at a path, and below it: the bytes of files, `None` for folders.
pub type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What was known in a moment.
#[derive(Clone, Debug)]
pub struct Moment {
    /// How many changes there were.
    pub at: usize,
    /// What the receipts of the run promise.
    pub promises: Vec<Promise>,
    /// The last line of `once.log` that the manifest knows.
    pub seq: i64,
    /// The manifest and its log.
    pub manifest: Vec<(&'static str, Arc<Vec<u8>>)>,
    /// What is outside, where no power is cut.
    pub outside: Vec<u8>,
    /// All that was there, but for semel's own.
    pub live: Tree,
}

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    /// Its path.
    pub folder: PathBuf,
    /// The folder in which all lies.
    pub root: Inode,
    /// What all things are.
    pub things: BTreeMap<Inode, Thing>,
    /// The changes.
    pub log: Vec<Change>,
    /// How many of them are only what was there before.
    pub before: usize,
    /// The moments in which something was different from the one before.
    pub moments: Vec<Moment>,
}

/// The files of the manifest.
const MANIFEST: [&str; 2] = ["manifest.db", "manifest.db-wal"];

/// What SQLite alone changes, and what is only a cache.
const HIDDEN: [&str; 5] =
    ["manifest.db-wal", "manifest.db-shm", "digests.db", "digests.db-wal", "digests.db-shm"];

struct Recorder {
    folder: PathBuf,
    outside: PathBuf,
    things: BTreeMap<Inode, Thing>,
    open: BTreeMap<Inode, File>,
    names: BTreeMap<Inode, BTreeMap<OsString, Inode>>,
    bodies: BTreeMap<Inode, Arc<Body>>,
    log: Vec<Change>,
    moments: Vec<Moment>,
    promises: Vec<Promise>,
    /// Receipts that were there before.
    known: BTreeSet<i64>,
    root: Inode,
}

/// A disk that records what is done to it.
pub struct RecordedDisk {
    inner: RealDisk,
    before: usize,
    recorder: Mutex<Recorder>,
}

impl RecordedDisk {
    /// Records what is done to a folder; all that is there now is durable. The file
    /// `outside` lies elsewhere, where no power is cut.
    ///
    /// # Panics
    /// If the folder cannot be read.
    #[must_use]
    pub fn at(folder: &Path, outside: &Path) -> Self {
        let inner = RealDisk::at(folder).expect("it is there");
        let meta = std::fs::metadata(folder).expect("it is there");
        let mut recorder = Recorder {
            folder: inner.root().to_owned(),
            outside: outside.to_owned(),
            things: BTreeMap::from([(meta.ino(), Thing::Folder)]),
            open: BTreeMap::new(),
            names: BTreeMap::new(),
            bodies: BTreeMap::new(),
            log: Vec::new(),
            moments: Vec::new(),
            promises: Vec::new(),
            known: BTreeSet::new(),
            root: meta.ino(),
        };
        recorder.absorb();
        for inode in recorder.things.keys().copied().collect::<Vec<_>>() {
            recorder.log.push(Change::Sync(inode));
        }
        recorder.known = recorder.receipts().into_iter().map(|(receipt, _)| receipt).collect();
        let before = recorder.log.len();
        recorder.note();
        Self { inner, before, recorder: Mutex::new(recorder) }
    }

    /// Ends the recording.
    ///
    /// # Panics
    /// If somebody panicked while recording.
    #[must_use]
    pub fn end(self) -> Recording {
        let mut recorder = self.recorder.into_inner().expect("nobody panicked while recording");
        recorder.absorb();
        recorder.note();
        let Recorder { folder, root, things, log, moments, .. } = recorder;
        Recording { folder, root, things, log, before: self.before, moments }
    }

    fn change<T>(
        &self,
        act: impl FnOnce(&RealDisk) -> DiskResult<T>,
        record: impl FnOnce(&mut Recorder),
    ) -> DiskResult<T> {
        let mut recorder = self.recorder.lock().expect("nobody panicked while recording");
        recorder.absorb();
        recorder.note();
        let done = act(&self.inner)?;
        record(&mut recorder);
        recorder.absorb();
        recorder.note();
        Ok(done)
    }
}

impl Recorder {
    /// The folder and the name of a path; the folder must be known.
    fn place(&self, path: &Path) -> Option<(Inode, OsString)> {
        let path = self.inside(path)?;
        let folder = self.inode(path.parent()?)?;
        Some((folder, path.file_name()?.to_owned()))
    }

    fn inside<'a>(&self, path: &'a Path) -> Option<&'a Path> {
        if path.is_absolute() { path.strip_prefix(&self.folder).ok() } else { Some(path) }
    }

    fn inode(&self, path: &Path) -> Option<Inode> {
        let mut at = self.root;
        for part in self.inside(path)?.components() {
            at = *self.names.get(&at)?.get(part.as_os_str())?;
        }
        Some(at)
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let (from, to) = (self.place(from), self.place(to));
        let (Some(from), Some(to)) = (from, to) else { return };
        let moved = self.names.get_mut(&from.0).and_then(|names| names.remove(&from.1));
        self.names.entry(to.0).or_default().extend(moved.map(|moved| (to.1.clone(), moved)));
        self.log.push(Change::Names {
            names: vec![(from.0, from.1, None), (to.0, to.1, moved)],
            durable_by: vec![to.0],
        });
    }

    fn exchange(&mut self, one: &Path, other: &Path) {
        let (one, other) = (self.place(one), self.place(other));
        let (Some(one), Some(other)) = (one, other) else { return };
        let at = |names: &BTreeMap<Inode, BTreeMap<OsString, Inode>>, (folder, name): &(_, _)| {
            names.get(folder).and_then(|names| names.get::<OsString>(name)).copied()
        };
        let (first, second) = (at(&self.names, &one), at(&self.names, &other));
        for (place, inode) in [(&one, second), (&other, first)] {
            let names = self.names.entry(place.0).or_default();
            names.extend(inode.map(|inode| (place.1.clone(), inode)));
        }
        let durable_by = vec![one.0, other.0];
        let names = vec![(one.0, one.1, second), (other.0, other.1, first)];
        self.log.push(Change::Names { names, durable_by });
    }

    fn sync(&mut self, path: &Path) {
        if let Some(inode) = self.inode(path) {
            self.log.push(Change::Sync(inode));
        }
    }

    /// Looks through the folder, and records what is different.
    fn absorb(&mut self) {
        let (mut all_gone, mut all_new) = (Vec::new(), Vec::new());
        let mut open = vec![(self.root, self.folder.clone())];
        while let Some((folder, path)) = open.pop() {
            self.absorb_body(folder, &path);
            let Ok(entries) = std::fs::read_dir(&path) else { continue };
            let mut found = BTreeMap::new();
            for entry in entries.flatten() {
                let name = entry.file_name();
                if path.file_name() == Some(OsStr::new(".semel"))
                    && HIDDEN.iter().any(|hidden| name == *hidden)
                {
                    continue;
                }
                let path = entry.path();
                // It may be gone again.
                let Ok(meta) = path.symlink_metadata() else { continue };
                let thing = match () {
                    () if meta.is_dir() => Thing::Folder,
                    () if meta.is_symlink() => {
                        let Ok(target) = std::fs::read_link(&path) else { continue };
                        Thing::Link(target)
                    }
                    () => Thing::File,
                };
                found.insert(name, meta.ino());
                if thing == Thing::Folder {
                    open.push((meta.ino(), path));
                } else {
                    self.things.insert(meta.ino(), thing.clone());
                    if thing == Thing::File {
                        self.absorb_body(meta.ino(), &path);
                    }
                    continue;
                }
                self.things.insert(meta.ino(), thing);
            }
            let known = self.names.entry(folder).or_default();
            let gone = known.iter().filter(|(name, inode)| found.get(*name) != Some(inode));
            all_gone.extend(gone.map(|(name, inode)| (folder, name.clone(), *inode)));
            let new = found.iter().filter(|(name, inode)| known.get(*name) != Some(inode));
            all_new.extend(new.map(|(name, inode)| (folder, name.clone(), *inode)));
            *known = found;
        }
        // What is gone here and new there was renamed, in one step; so was what stands
        // there for it.
        for (folder, name, inode) in all_new {
            let mut names = vec![(folder, name.clone(), Some(inode))];
            let is_from = |gone: &(Inode, OsString, Inode)| gone.2 == inode;
            if let Some(from) = all_gone.iter().position(is_from) {
                let (from, name, _) = all_gone.remove(from);
                names.insert(0, (from, name, None));
            }
            all_gone.retain(|gone| (gone.0, &gone.1) != (folder, &name));
            self.log.push(Change::Names { names, durable_by: vec![folder] });
        }
        self.log.extend(all_gone.into_iter().map(|(folder, name, _)| Change::Names {
            names: vec![(folder, name, None)],
            durable_by: vec![folder],
        }));
    }

    fn absorb_body(&mut self, inode: Inode, path: &Path) {
        // What is open keeps its number; what SQLite has open must not be closed.
        let file = match self.open.get(&inode) {
            Some(file) => file,
            None => {
                let Ok(file) = File::open(path) else { return };
                self.open.entry(inode).or_insert(file)
            }
        };
        let Ok(meta) = file.metadata() else { return };
        let is_manifest = path.ends_with(".semel/manifest.db");
        let bytes = if meta.is_file() && !is_manifest { read(file) } else { Vec::new() };
        let attribute = |name: &str| {
            let mut value = vec![0_u8; 256];
            let length = rustix::fs::fgetxattr(file, name, &mut value[..]).ok()?;
            value.truncate(length);
            Some(value)
        };
        let body = Body {
            bytes,
            mode: meta.permissions().mode() & 0o7777,
            stamp: attribute("user.semel.stamp"),
            mark: attribute("user.semel.once"),
        };
        if self.bodies.get(&inode).is_none_or(|known| **known != body) {
            let body = Arc::new(body);
            self.bodies.insert(inode, Arc::clone(&body));
            self.log.push(Change::Body(inode, body));
        }
    }

    /// What is there, at a path and below it.
    fn tree(&self, path: &Path, inode: Inode, tree: &mut Tree) {
        match self.things.get(&inode) {
            Some(Thing::Folder) => {
                tree.insert(path.to_owned(), None);
                for (name, inode) in self.names.get(&inode).into_iter().flatten() {
                    if name != ".semel" {
                        self.tree(&path.join(name), *inode, tree);
                    }
                }
            }
            Some(Thing::File) => {
                let bytes = self.bodies.get(&inode).map(|body| body.bytes.clone());
                tree.insert(path.to_owned(), bytes);
            }
            _ => {}
        }
    }

    fn tree_at(&self, path: &Path) -> Tree {
        let mut tree = Tree::new();
        if let Some(inode) = self.inode(path) {
            self.tree(path, inode, &mut tree);
        }
        tree
    }

    fn manifest(&self) -> Option<rusqlite::Connection> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let path = self.folder.join(".semel/manifest.db");
        path.exists().then(|| rusqlite::Connection::open_with_flags(path, flags).ok())?
    }

    /// The last line of `once.log` that the manifest knows.
    fn known_line(&self) -> i64 {
        let sql = "select coalesce(max(seq), 0) from once_log";
        let asked = self.manifest().and_then(|db| db.query_row(sql, [], |row| row.get(0)).ok());
        asked.unwrap_or(0)
    }

    /// The receipts that are committed, and the paths of their outputs.
    fn receipts(&self) -> Vec<(i64, PathBuf)> {
        let Some(db) = self.manifest() else { return Vec::new() };
        let sql = "select receipt.id, path from receipt
            left join file on file.receipt = receipt.id and role = 'out'";
        let Ok(mut statement) = db.prepare(sql) else { return Vec::new() };
        let rows = statement.query_map([], |row| {
            Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default()))
        });
        rows.into_iter().flatten().flatten().map(|(id, path)| (id, PathBuf::from(path))).collect()
    }

    /// Notes the moment, if it is not like the last one.
    fn note(&mut self) {
        // First what was committed, then the bytes: these are at least as new.
        let seq = self.known_line();
        for (receipt, path) in self.receipts() {
            let is_known = self.known.contains(&receipt)
                || self
                    .promises
                    .iter()
                    .any(|known| (known.receipt, &known.path) == (receipt, &path));
            if !is_known && !path.as_os_str().is_empty() {
                let there = self.tree_at(&path);
                self.promises.push(Promise { receipt, path, there });
            }
        }
        let home = self.folder.join(".semel");
        let mut manifest: Vec<(&'static str, Arc<Vec<u8>>)> = Vec::new();
        for name in MANIFEST {
            let path = home.join(name);
            let Ok(meta) = path.metadata() else { continue };
            let file = match self.open.get(&meta.ino()) {
                Some(file) => file,
                None => {
                    let Ok(file) = File::open(&path) else { continue };
                    self.open.entry(meta.ino()).or_insert(file)
                }
            };
            let bytes = read(file);
            let known = self.moments.last().and_then(|last| {
                last.manifest.iter().find(|(known, was)| *known == name && **was == bytes)
            });
            let bytes = known.map_or_else(|| Arc::new(bytes), |(_, known)| Arc::clone(known));
            manifest.push((name, bytes));
        }
        let outside = std::fs::read(&self.outside).unwrap_or_default();
        let is_same = self.moments.last().is_some_and(|last| {
            last.at == self.log.len()
                && last.promises == self.promises
                && last.outside == outside
                && last.manifest == manifest
        });
        if !is_same {
            let live = self.tree_at(Path::new(""));
            let (at, promises) = (self.log.len(), self.promises.clone());
            self.moments.push(Moment { at, promises, seq, manifest, outside, live });
        }
    }
}

fn read(file: &File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut at = 0;
    while at < bytes.len() {
        match file.read_at(&mut bytes[at..], at as u64) {
            Ok(0) | Err(_) => break,
            Ok(count) => at += count,
        }
    }
    bytes.truncate(at);
    bytes
}

impl Disk for RecordedDisk {
    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn look(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.inner.look(path)
    }

    fn look_at_link(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.inner.look_at_link(path)
    }

    fn birth(&self, path: &Path) -> DiskResult<Option<i64>> {
        self.inner.birth(path)
    }

    fn read_link(&self, path: &Path) -> DiskResult<PathBuf> {
        self.inner.read_link(path)
    }

    fn list(&self, folder: &Path) -> DiskResult<Vec<DirEntry>> {
        self.inner.list(folder)
    }

    fn open(&self, path: &Path) -> DiskResult<File> {
        self.inner.open(path)
    }

    fn stamp(&self, path: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.inner.stamp(path)
    }

    fn mark(&self, folder: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.inner.mark(folder)
    }

    fn make_folders(&self, folder: &Path) -> DiskResult<Vec<PathBuf>> {
        self.change(|disk| disk.make_folders(folder), |_| {})
    }

    fn sync(&self, path: &Path) -> DiskResult<()> {
        self.change(|disk| disk.sync(path), |recorder| recorder.sync(path))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change(|disk| disk.rename_new(from, to), |recorder| recorder.rename(from, to))
    }

    fn exchange(&self, one: &Path, other: &Path) -> DiskResult<()> {
        self.change(|disk| disk.exchange(one, other), |recorder| recorder.exchange(one, other))
    }

    fn remove_file(&self, path: &Path) -> DiskResult<()> {
        self.change(|disk| disk.remove_file(path), |_| {})
    }

    fn remove_all(&self, path: &Path) -> DiskResult<()> {
        self.change(|disk| disk.remove_all(path), |_| {})
    }

    fn remove_folder(&self, path: &Path) -> DiskResult<()> {
        self.change(|disk| disk.remove_folder(path), |_| {})
    }

    fn put_stamp(&self, path: &Path, stamp: &[u8]) -> DiskResult<bool> {
        self.change(|disk| disk.put_stamp(path, stamp), |_| {})
    }

    fn copy(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change(|disk| disk.copy(from, to), |_| {})
    }

    fn copy_looks(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.change(|disk| disk.copy_looks(from, to), |_| {})
    }

    fn make_link(&self, target: &Path, link: &Path) -> DiskResult<()> {
        self.change(|disk| disk.make_link(target, link), |_| {})
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        self.change(|disk| disk.write(path, bytes), |_| {})
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        self.change(
            |disk| disk.append(path, bytes),
            |recorder| {
                recorder.absorb();
                recorder.sync(path);
            },
        )
    }

    fn put_mark(&self, folder: &Path, mark: &[u8]) -> DiskResult<bool> {
        self.change(|disk| disk.put_mark(folder, mark), |_| {})
    }
}
