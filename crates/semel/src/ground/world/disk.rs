//! The disk, seen from the pipeline's folder.
//!
//! Relative paths are relative to that folder, whatever the current directory
//! is. Every error names its path and what was tried.
//!
//! What is assumed of the medium: a rename is atomic, and after a synced file
//! was renamed and its folder synced, both survive a power cut.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, StatxFlags, XattrFlags};
use rustix::io::Errno;

use crate::words::path::{path_of, show};

/// A disk operation that did not work.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", show(.path))]
pub struct DiskError {
    /// What was tried: `read`, `rename`.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl DiskError {
    fn new(doing: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self { doing, path: path.to_owned(), source: source.into() }
    }

    /// Whether the thing was not there.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }

    /// Whether something was there already.
    #[must_use]
    pub fn is_presence(&self) -> bool {
        self.source.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether two places are not on one file system.
    #[must_use]
    pub fn is_across(&self) -> bool {
        self.source.raw_os_error() == Some(Errno::XDEV.raw_os_error())
    }
}

/// What a disk operation gives.
pub type DiskResult<T> = Result<T, DiskError>;

/// What a thing on disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link; only where links are not followed.
    Link,
    /// A pipe, a socket, a device.
    Other,
}

/// By what a file is recognised as the one that was seen before: times in
/// nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Its size in bytes.
    pub size: u64,
    /// When its bytes changed.
    pub mtime: i64,
    /// When anything of it changed.
    pub ctime: i64,
    /// Its number in its file system.
    pub inode: u64,
}

/// What the file system says of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// By what it is recognised.
    pub stat: Stat,
    /// The file system it is on.
    pub device: u64,
    /// How many names it has.
    pub links: u64,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name.
    pub name: OsString,
    /// What it is, links not followed.
    pub kind: Kind,
}

/// The operations that semel needs of a disk.
pub trait Disk: Send + Sync {
    /// The absolute path of the pipeline's folder.
    fn root(&self) -> &Path;

    /// Looks at a thing, following links; `None` if nothing is there.
    fn look(&self, path: &Path) -> DiskResult<Option<Meta>>;

    /// Looks at a thing, not following a link at its end.
    fn look_at_link(&self, path: &Path) -> DiskResult<Option<Meta>>;

    /// When a thing was made, in nanoseconds since 1970, where the file system
    /// knows.
    fn birth(&self, path: &Path) -> DiskResult<Option<i64>>;

    /// Where a link points.
    fn read_link(&self, path: &Path) -> DiskResult<PathBuf>;

    /// The entries of a folder, in no order.
    fn list(&self, folder: &Path) -> DiskResult<Vec<DirEntry>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> DiskResult<File>;

    /// Makes a folder and those above it; gives those that were not there, from
    /// the top down.
    fn make_folders(&self, folder: &Path) -> DiskResult<Vec<PathBuf>>;

    /// Forces a file or folder, and what is known of it, to the medium.
    fn sync(&self, path: &Path) -> DiskResult<()>;

    /// Renames to a path where nothing is; [`DiskError::is_presence`] if
    /// something is there.
    fn rename_new(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Exchanges two things in one step.
    fn exchange(&self, one: &Path, other: &Path) -> DiskResult<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> DiskResult<()>;

    /// Removes a file or a folder with all that is in it; fine if nothing is
    /// there.
    fn remove_all(&self, path: &Path) -> DiskResult<()>;

    /// Removes an empty folder.
    fn remove_folder(&self, path: &Path) -> DiskResult<()>;

    /// Puts a stamp on a thing; `false` where the file system keeps none.
    fn put_stamp(&self, path: &Path, stamp: &[u8]) -> DiskResult<bool>;

    /// The stamp on a thing.
    fn stamp(&self, path: &Path) -> DiskResult<Option<Vec<u8>>>;

    /// Copies a file to a path where nothing is, sharing its blocks where the
    /// file system can; permissions are kept.
    fn copy(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Gives a copy what else belongs to its original: owner, mode and times, as far
    /// as we may, and its stamp.
    fn copy_looks(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Makes a symbolic link.
    fn make_link(&self, target: &Path, link: &Path) -> DiskResult<()>;

    /// Writes a small file in whole, without a sync.
    fn write(&self, path: &Path, bytes: &[u8]) -> DiskResult<()>;

    /// Adds bytes to the end of a file, which is made if it is not there, and
    /// forces them to the medium. What was added in part is taken away again.
    fn append(&self, path: &Path, bytes: &[u8]) -> DiskResult<()>;

    /// Puts the mark of a memory on a folder; `false` where the file system
    /// keeps none.
    fn put_mark(&self, folder: &Path, mark: &[u8]) -> DiskResult<bool>;

    /// The mark on a folder.
    fn mark(&self, folder: &Path) -> DiskResult<Option<Vec<u8>>>;
}

/// What the name of a thing ends with that gave way, where two cannot be exchanged in
/// one step.
pub const BESIDE: &str = ".aside";

/// The extended attribute that carries a stamp.
const STAMP: &str = "user.semel.stamp";

/// The extended attribute that carries the mark of a memory.
const MARK: &str = "user.semel.once";

/// The disk of this machine.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    folder: OwnedFd,
}

impl RealDisk {
    /// The disk as seen from a folder.
    ///
    /// # Errors
    /// If the folder is not there or may not be entered.
    pub fn at(folder: &Path) -> DiskResult<Self> {
        let failed = |source| DiskError::new("enter", folder, source);
        let root = folder.canonicalize().map_err(failed)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, &root, flags, Mode::empty());
        let folder = folder.map_err(|errno| DiskError::new("enter", &root, errno))?;
        Ok(Self { root, folder })
    }

    fn look_with(&self, path: &Path, flags: AtFlags) -> DiskResult<Option<Meta>> {
        match rustix::fs::statat(&self.folder, path, flags) {
            Ok(stat) => Ok(Some(meta_of(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(DiskError::new("look at", path, errno)),
        }
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }
}

fn meta_of(stat: &rustix::fs::Stat) -> Meta {
    let nanoseconds = |seconds: i64, rest: u64| {
        let rest = i64::try_from(rest).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    };
    Meta {
        kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
        stat: Stat {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            ctime: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
            inode: stat.st_ino,
        },
        device: stat.st_dev,
        links: stat.st_nlink,
    }
}

const fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

impl Disk for RealDisk {
    fn root(&self) -> &Path {
        &self.root
    }

    fn look(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.look_with(path, AtFlags::empty())
    }

    fn look_at_link(&self, path: &Path) -> DiskResult<Option<Meta>> {
        self.look_with(path, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn birth(&self, path: &Path) -> DiskResult<Option<i64>> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let asked = rustix::fs::statx(&self.folder, path, flags, StatxFlags::BTIME);
        let stat = asked.map_err(|errno| DiskError::new("look at", path, errno))?;
        let is_known = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
        let born = stat.stx_btime;
        Ok(is_known.then(|| {
            born.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(born.tv_nsec))
        }))
    }

    fn read_link(&self, path: &Path) -> DiskResult<PathBuf> {
        let target = rustix::fs::readlinkat(&self.folder, path, Vec::new());
        let target = target.map_err(|errno| DiskError::new("read the link", path, errno))?;
        Ok(path_of(target.into_bytes()))
    }

    fn list(&self, folder: &Path) -> DiskResult<Vec<DirEntry>> {
        let failed = |errno: Errno| DiskError::new("list", folder, errno);
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let path = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let opened =
            rustix::fs::openat(&self.folder, path, flags, Mode::empty()).map_err(failed)?;
        let mut buffer = Vec::with_capacity(64 * 1024);
        let mut entries = Vec::new();
        let mut listing = rustix::fs::RawDir::new(&opened, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let name = OsString::from_vec(name.to_vec());
            let kind = match entry.file_type() {
                // Some file systems do not say in the listing.
                FileType::Unknown => match self.look_at_link(&folder.join(&name))? {
                    Some(meta) => meta.kind,
                    None => continue,
                },
                kind => kind_of(kind),
            };
            entries.push(DirEntry { name, kind });
        }
        Ok(entries)
    }

    fn open(&self, path: &Path) -> DiskResult<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.folder, path, flags, Mode::empty());
        opened.map(File::from).map_err(|errno| DiskError::new("read", path, errno))
    }

    fn make_folders(&self, folder: &Path) -> DiskResult<Vec<PathBuf>> {
        let failed = |errno: Errno| DiskError::new("make the folder", folder, errno);
        let mode = Mode::from_raw_mode(0o777);
        let mut made = Vec::new();
        for _ in 0..2 {
            match rustix::fs::mkdirat(&self.folder, folder, mode) {
                Ok(()) => {
                    made.push(folder.to_owned());
                    return Ok(made);
                }
                Err(Errno::EXIST) => match self.look(folder)? {
                    Some(meta) if meta.kind == Kind::Folder => return Ok(made),
                    _ => return Err(failed(Errno::EXIST)),
                },
                Err(Errno::NOENT) => match folder.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => {
                        made.extend(self.make_folders(parent)?);
                    }
                    _ => return Err(failed(Errno::NOENT)),
                },
                Err(errno) => return Err(failed(errno)),
            }
        }
        Err(failed(Errno::NOENT))
    }

    fn sync(&self, path: &Path) -> DiskResult<()> {
        let failed = |errno: Errno| DiskError::new("sync", path, errno);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&self.folder, path, flags, Mode::empty()).map_err(failed)?;
        rustix::fs::fsync(opened).map_err(failed)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let (folder, flags) = (&self.folder, RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(folder, from, folder, to, flags) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS) => self.rename_new_by_link(from, to),
            Err(errno) => Err(DiskError::new("rename to", to, errno)),
        }
    }

    fn exchange(&self, one: &Path, other: &Path) -> DiskResult<()> {
        let (folder, flags) = (&self.folder, RenameFlags::EXCHANGE);
        match rustix::fs::renameat_with(folder, one, folder, other, flags) {
            Ok(()) => Ok(()),
            Err(Errno::INVAL | Errno::NOSYS) => self.exchange_in_turn(one, other),
            Err(errno) => Err(DiskError::new("exchange", other, errno)),
        }
    }

    fn remove_file(&self, path: &Path) -> DiskResult<()> {
        rustix::fs::unlinkat(&self.folder, path, AtFlags::empty())
            .map_err(|errno| DiskError::new("remove", path, errno))
    }

    fn remove_all(&self, path: &Path) -> DiskResult<()> {
        let kind = match self.look_at_link(path)? {
            None => return Ok(()),
            Some(meta) => meta.kind,
        };
        let path_at = self.absolute(path);
        let removed = match kind {
            Kind::Folder => match std::fs::remove_dir_all(&path_at) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    open_up(&path_at).and_then(|()| std::fs::remove_dir_all(&path_at))
                }
                removed => removed,
            },
            Kind::File | Kind::Link | Kind::Other => std::fs::remove_file(&path_at),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::new("remove", path, error))
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, path: &Path) -> DiskResult<()> {
        rustix::fs::unlinkat(&self.folder, path, AtFlags::REMOVEDIR)
            .map_err(|errno| DiskError::new("remove", path, errno))
    }

    fn put_stamp(&self, path: &Path, stamp: &[u8]) -> DiskResult<bool> {
        self.put_attribute(STAMP, path, stamp)
    }

    fn stamp(&self, path: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.attribute(STAMP, path)
    }

    fn copy(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let failed = |error: io::Error| DiskError::new("copy to", to, error);
        let mut source = self.open(from)?;
        let permissions = source.metadata().map_err(failed)?.permissions();
        let mut options = std::fs::OpenOptions::new();
        let mut target =
            options.write(true).create_new(true).open(self.absolute(to)).map_err(failed)?;
        if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
            io::copy(&mut source, &mut target).map_err(failed)?;
        }
        target.set_permissions(permissions).map_err(failed)
    }

    fn copy_looks(&self, from: &Path, to: &Path) -> DiskResult<()> {
        use rustix::fs::{AtFlags, FileType, Mode, Timespec, Timestamps, statat, utimensat};
        let failed = |error: io::Error| DiskError::new("carry owner and times over to", to, error);
        let stat = statat(&self.folder, from, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno.into()))?;
        let given =
            std::os::unix::fs::lchown(self.absolute(to), Some(stat.st_uid), Some(stat.st_gid));
        // Only root may give a file away; what others copy is theirs.
        given.or_else(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Ok(()),
            _ => Err(failed(error)),
        })?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            if let Some(stamp) = self.stamp(from)? {
                self.put_stamp(to, &stamp)?;
            }
            let mode = Mode::from_raw_mode(stat.st_mode);
            rustix::fs::chmodat(&self.folder, to, mode, AtFlags::empty())
                .map_err(|errno| failed(errno.into()))?;
        }
        let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
        let times = Timestamps {
            last_access: time(stat.st_atime, stat.st_atime_nsec),
            last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
        };
        utimensat(&self.folder, to, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno.into()))
    }

    fn make_link(&self, target: &Path, link: &Path) -> DiskResult<()> {
        rustix::fs::symlinkat(target, &self.folder, link)
            .map_err(|errno| DiskError::new("make the link", link, errno))
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        std::fs::write(self.absolute(path), bytes)
            .map_err(|error| DiskError::new("write", path, error))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        use std::io::Write as _;
        let failed = |error: io::Error| DiskError::new("append to", path, error);
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.append(true).create(true).open(self.absolute(path)).map_err(failed)?;
        let before = file.metadata().map_err(failed)?.len();
        let appended = file.write_all(bytes).and_then(|()| file.sync_data());
        appended.map_err(|error| {
            // A part of it harms nobody: whoever reads it sees that it is torn.
            let _ = file.set_len(before);
            failed(error)
        })
    }

    fn put_mark(&self, folder: &Path, mark: &[u8]) -> DiskResult<bool> {
        self.put_attribute(MARK, folder, mark)
    }

    fn mark(&self, folder: &Path) -> DiskResult<Option<Vec<u8>>> {
        self.attribute(MARK, folder)
    }
}

/// Makes a folder and those in it such that what is in them can be removed:
/// some tools write folders that may only be read.
fn open_up(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

impl RealDisk {
    fn put_attribute(&self, name: &str, path: &Path, value: &[u8]) -> DiskResult<bool> {
        match rustix::fs::setxattr(self.absolute(path), name, value, XattrFlags::empty()) {
            Ok(()) => Ok(true),
            // None are kept here, there is no room beside the others, or the
            // command left a file that may only be read.
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::TOOBIG) => {
                Ok(false)
            }
            Err(errno) => Err(DiskError::new("stamp", path, errno)),
        }
    }

    fn attribute(&self, name: &str, path: &Path) -> DiskResult<Option<Vec<u8>>> {
        let mut value = vec![0_u8; 256];
        match rustix::fs::getxattr(self.absolute(path), name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::RANGE | Errno::NOENT) => Ok(None),
            Err(errno) => Err(DiskError::new("read the stamp of", path, errno)),
        }
    }

    /// For file systems without `RENAME_NOREPLACE`: a link does not replace
    /// either, but a folder cannot be linked, and there a look must do.
    fn rename_new_by_link(&self, from: &Path, to: &Path) -> DiskResult<()> {
        let failed = |errno: Errno| DiskError::new("rename to", to, errno);
        let folder = &self.folder;
        match self.look_at_link(from)? {
            Some(meta) if meta.kind == Kind::Folder => {
                if self.look_at_link(to)?.is_some() {
                    return Err(failed(Errno::EXIST));
                }
                rustix::fs::renameat(folder, from, folder, to).map_err(failed)
            }
            _ => {
                rustix::fs::linkat(folder, from, folder, to, AtFlags::empty()).map_err(failed)?;
                self.remove_file(from)
            }
        }
    }

    /// For file systems without `RENAME_EXCHANGE`. A file is replaced in one
    /// step all the same; a folder is away for a moment.
    fn exchange_in_turn(&self, one: &Path, other: &Path) -> DiskResult<()> {
        let failed = |errno: Errno| DiskError::new("exchange", other, errno);
        let folder = &self.folder;
        let mut aside = one.as_os_str().to_owned();
        aside.push(BESIDE);
        let aside = PathBuf::from(aside);
        match self.look_at_link(other)? {
            Some(meta) if meta.kind == Kind::Folder => {
                rustix::fs::renameat(folder, other, folder, &aside).map_err(failed)?;
            }
            _ => rustix::fs::linkat(folder, other, folder, &aside, AtFlags::empty())
                .map_err(failed)?,
        }
        rustix::fs::renameat(folder, one, folder, other).map_err(failed)?;
        rustix::fs::renameat(folder, &aside, folder, one).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, RealDisk) {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let disk = RealDisk::at(folder.path()).expect("it can be entered");
        (folder, disk)
    }

    fn text(disk: &RealDisk, path: &str) -> String {
        std::fs::read_to_string(disk.absolute(Path::new(path))).expect("a file")
    }

    #[test]
    fn nothing_is_there_is_not_an_error() {
        let (_folder, disk) = scratch();
        assert_eq!(disk.look(Path::new("a/b")).expect("a look"), None);
        disk.write(Path::new("a"), b"").expect("written");
        assert_eq!(disk.look(Path::new("a/b")).expect("a look"), None);
        disk.remove_all(Path::new("none")).expect("nothing to remove");
    }

    #[test]
    fn a_new_name_never_replaces() {
        let (_folder, disk) = scratch();
        disk.write(Path::new("new"), b"new").expect("written");
        disk.write(Path::new("old"), b"old").expect("written");
        for rename in [RealDisk::rename_new, RealDisk::rename_new_by_link] {
            let error =
                rename(&disk, Path::new("new"), Path::new("old")).expect_err("something is there");
            assert!(error.is_presence(), "{error}");
        }
        disk.rename_new_by_link(Path::new("new"), Path::new("newer")).expect("nothing is there");
        assert_eq!((text(&disk, "newer"), text(&disk, "old")), ("new".into(), "old".into()));
        assert!(disk.look(Path::new("new")).expect("a look").is_none());
    }

    #[test]
    fn files_and_folders_change_places() {
        for exchange in [RealDisk::exchange, RealDisk::exchange_in_turn] {
            let (_folder, disk) = scratch();
            disk.write(Path::new("one"), b"1").expect("written");
            disk.write(Path::new("two"), b"2").expect("written");
            exchange(&disk, Path::new("one"), Path::new("two")).expect("exchanged");
            assert_eq!((text(&disk, "one"), text(&disk, "two")), ("2".into(), "1".into()));

            disk.make_folders(Path::new("a/b")).expect("made");
            disk.make_folders(Path::new("c")).expect("made");
            exchange(&disk, Path::new("a"), Path::new("c")).expect("exchanged");
            assert!(disk.look(Path::new("c/b")).expect("a look").is_some());
            assert!(disk.look(Path::new("a/b")).expect("a look").is_none());
        }
    }

    #[test]
    fn a_stamp_stays_with_the_file() {
        let (_folder, disk) = scratch();
        disk.write(Path::new("a"), b"1").expect("written");
        assert_eq!(disk.stamp(Path::new("a")).expect("a look"), None);
        if disk.put_stamp(Path::new("a"), b"stamp").expect("stamped") {
            disk.rename_new(Path::new("a"), Path::new("b")).expect("renamed");
            assert_eq!(disk.stamp(Path::new("b")).expect("a look").as_deref(), Some(&b"stamp"[..]));
        }
    }

    #[test]
    fn a_copy_keeps_permissions_and_replaces_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, disk) = scratch();
        disk.write(Path::new("a"), b"1").expect("written");
        let mode = std::fs::Permissions::from_mode(0o750);
        std::fs::set_permissions(folder.path().join("a"), mode).expect("changed");
        disk.copy(Path::new("a"), Path::new("b")).expect("copied");
        let copied = std::fs::metadata(folder.path().join("b")).expect("there");
        assert_eq!((text(&disk, "b"), copied.permissions().mode() & 0o777), ("1".into(), 0o750));
        assert!(disk.copy(Path::new("a"), Path::new("b")).is_err());
    }

    #[test]
    fn an_error_names_its_path() {
        let (_folder, disk) = scratch();
        let error = disk.open(Path::new("a\nb")).expect_err("not there");
        assert_eq!(
            error.to_string(),
            "cannot read `a\\nb`: No such file or directory (os error 2)"
        );
    }
}
