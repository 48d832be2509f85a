//! The system calls by which a process changes what is on disk, and what each of
//! them does to which path.

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Opens a file for writing, or makes it.
    Open,
    /// Writes to a file.
    Write,
    /// Copies bytes from file to file within the kernel.
    Copy,
    /// Renames, or exchanges.
    Rename,
    /// Removes a file or a folder.
    Remove,
    /// Makes a folder.
    Folder,
    /// Makes a link, hard or symbolic, or a special file.
    Link,
    /// Cuts a file, lengthens it, or reserves room for it.
    Size,
    /// Forces something to the medium.
    Sync,
    /// Changes an extended attribute.
    Attribute,
    /// Changes mode, owner or times.
    Looks,
}

/// Where among its arguments a call names what it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) enum Names {
    /// A descriptor.
    Descriptor(usize),
    /// A path, relative to the current folder.
    Path(usize),
    /// A descriptor of a folder, and a path relative to it.
    At(usize, usize),
    /// Nothing: all file systems.
    Nothing,
}

/// Which calls of a number are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) enum Only {
    /// All.
    All,
    /// Where the flags in this argument open for writing, make or cut.
    Opening(usize),
    /// Where the second argument asks for a clone of blocks.
    Cloning,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub(super) use table::{CALLS, CREATES, FICLONE, FICLONERANGE, TRUNCATES, WRITES};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod table {
    use nix::libc;

    use super::{Action, Names, Only};
    use Action::{Attribute, Copy, Folder, Link, Looks, Open, Remove, Rename, Size, Sync, Write};
    use Names::{At, Descriptor, Nothing, Path};
    use Only::{All, Cloning, Opening};

    /// `ioctl` requests that share blocks.
    pub(crate) const FICLONE: u64 = 0x4004_9409;
    pub(crate) const FICLONERANGE: u64 = 0x4020_940d;

    /// Flags of `open`, each by itself.
    pub(crate) const WRITES: [u64; 2] = [1, 2];
    pub(crate) const CREATES: u64 = 0o100;
    pub(crate) const TRUNCATES: u64 = 0o1000;

    /// Number, name, what it does, on what, and which of them.
    pub(crate) const CALLS: &[(i64, &str, Action, Names, Only)] = &[
        (libc::SYS_open, "open", Open, Path(0), Opening(1)),
        (libc::SYS_openat, "openat", Open, At(0, 1), Opening(2)),
        (libc::SYS_creat, "creat", Open, Path(0), All),
        (libc::SYS_write, "write", Write, Descriptor(0), All),
        (libc::SYS_pwrite64, "pwrite64", Write, Descriptor(0), All),
        (libc::SYS_writev, "writev", Write, Descriptor(0), All),
        (libc::SYS_pwritev, "pwritev", Write, Descriptor(0), All),
        (libc::SYS_pwritev2, "pwritev2", Write, Descriptor(0), All),
        (libc::SYS_sendfile, "sendfile", Copy, Descriptor(0), All),
        (libc::SYS_splice, "splice", Copy, Descriptor(2), All),
        (libc::SYS_copy_file_range, "copy_file_range", Copy, Descriptor(2), All),
        (libc::SYS_ioctl, "ioctl(FICLONE)", Copy, Descriptor(0), Cloning),
        (libc::SYS_rename, "rename", Rename, Path(1), All),
        (libc::SYS_renameat, "renameat", Rename, At(2, 3), All),
        (libc::SYS_renameat2, "renameat2", Rename, At(2, 3), All),
        (libc::SYS_unlink, "unlink", Remove, Path(0), All),
        (libc::SYS_unlinkat, "unlinkat", Remove, At(0, 1), All),
        (libc::SYS_rmdir, "rmdir", Remove, Path(0), All),
        (libc::SYS_mkdir, "mkdir", Folder, Path(0), All),
        (libc::SYS_mkdirat, "mkdirat", Folder, At(0, 1), All),
        (libc::SYS_link, "link", Link, Path(1), All),
        (libc::SYS_linkat, "linkat", Link, At(2, 3), All),
        (libc::SYS_symlink, "symlink", Link, Path(1), All),
        (libc::SYS_symlinkat, "symlinkat", Link, At(1, 2), All),
        (libc::SYS_mknod, "mknod", Link, Path(0), All),
        (libc::SYS_mknodat, "mknodat", Link, At(0, 1), All),
        (libc::SYS_truncate, "truncate", Size, Path(0), All),
        (libc::SYS_ftruncate, "ftruncate", Size, Descriptor(0), All),
        (libc::SYS_fallocate, "fallocate", Size, Descriptor(0), All),
        (libc::SYS_fsync, "fsync", Sync, Descriptor(0), All),
        (libc::SYS_fdatasync, "fdatasync", Sync, Descriptor(0), All),
        (libc::SYS_sync_file_range, "sync_file_range", Sync, Descriptor(0), All),
        (libc::SYS_syncfs, "syncfs", Sync, Descriptor(0), All),
        (libc::SYS_sync, "sync", Sync, Nothing, All),
        (libc::SYS_setxattr, "setxattr", Attribute, Path(0), All),
        (libc::SYS_lsetxattr, "lsetxattr", Attribute, Path(0), All),
        (libc::SYS_fsetxattr, "fsetxattr", Attribute, Descriptor(0), All),
        (libc::SYS_removexattr, "removexattr", Attribute, Path(0), All),
        (libc::SYS_lremovexattr, "lremovexattr", Attribute, Path(0), All),
        (libc::SYS_fremovexattr, "fremovexattr", Attribute, Descriptor(0), All),
        (libc::SYS_chmod, "chmod", Looks, Path(0), All),
        (libc::SYS_fchmod, "fchmod", Looks, Descriptor(0), All),
        (libc::SYS_fchmodat, "fchmodat", Looks, At(0, 1), All),
        (libc::SYS_chown, "chown", Looks, Path(0), All),
        (libc::SYS_lchown, "lchown", Looks, Path(0), All),
        (libc::SYS_fchown, "fchown", Looks, Descriptor(0), All),
        (libc::SYS_fchownat, "fchownat", Looks, At(0, 1), All),
        (libc::SYS_utime, "utime", Looks, Path(0), All),
        (libc::SYS_utimes, "utimes", Looks, Path(0), All),
        (libc::SYS_futimesat, "futimesat", Looks, At(0, 1), All),
        (libc::SYS_utimensat, "utimensat", Looks, At(0, 1), All),
    ];
}
