//! File systems: whether a folder lies on a disk of this machine, or on one that other
//! machines see too.
//!
//! Where others see it, locks of the kernel and shared memory may lie: each machine
//! may know only its own. What cannot be recognised as local is taken for a network
//! file system, since that is safe for both.
//!
//! The numbers are those of `linux/magic.h`, where that has them; the others are in
//! the table of GNU coreutils (`src/stat.c`), which calls the same kinds remote.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

/// Where a folder lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// On this machine alone.
    Local,
    /// Where other machines may see it; what it is, for people.
    Network(String),
}

/// What a user says of all file systems, where the recognition errs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// They are local.
    Local,
    /// Other machines see them.
    Network,
}

/// File systems that other machines see, by the number that statfs(2) gives.
const NETWORK: [(u64, &str); 23] = [
    // linux/magic.h
    (0x0000_6969, "nfs"),
    (0x0000_517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564c, "ncp"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
    (0x7461_636f, "ocfs2"),
    (0x786f_4256, "vboxsf"),
    // coreutils, src/stat.c
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
    (0x1983_0326, "beegfs"),
    (0x0116_1970, "gfs2"),
    (0x2003_0528, "orangefs"),
    (0xaad7_aaea, "panfs"),
    (0x6163_6673, "acfs"),
    (0xbeef_dead, "snfs"),
    (0x013f_beef, "ibrix"),
    (0xbacb_acbc, "vmhgfs"),
    (0x7c7c_6673, "prl_fs"),
];

/// `FUSE_SUPER_MAGIC`: a program answers, near or far.
const FUSE: u64 = 0x6573_5546;

/// What FUSE serves from a block device, or from memory, of this machine. (virtiofs,
/// the folder of a host, has the number of FUSE too, and is not among them.)
const LOCAL_FUSE: [&str; 10] = [
    "fuseblk",
    "fuse.ntfs",
    "fuse.ntfs-3g",
    "fuse.exfat",
    "fuse.ext2",
    "fuse.fuse2fs",
    "fuse.zfs",
    "fuse.apfs",
    "fuse.lxcfs",
    "fuse.fuse-overlayfs",
];

static SAID: OnceLock<Said> = OnceLock::new();

/// Says for good what all file systems are. What is said first holds.
pub fn say(said: Said) {
    let _ = SAID.set(said);
}

impl FileSystem {
    /// The one on which a path lies, or would lie.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn of(path: &Path) -> io::Result<Self> {
        match SAID.get() {
            Some(Said::Local) => return Ok(Self::Local),
            Some(Said::Network) => {
                return Ok(Self::Network("a network file system (SEMEL_FILE_SYSTEM)".to_owned()));
            }
            None => {}
        }
        let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
        let kind = rustix::fs::statfs(there)?.f_type;
        // A number of 32 bits, whatever the width and sign of the field.
        #[allow(clippy::cast_sign_loss, reason = "its bits are compared")]
        let magic = kind as u64 & 0xffff_ffff;
        if magic != FUSE {
            return Ok(of_number(magic));
        }
        let device = std::fs::metadata(there)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Ok(of_fuse(type_of(&mounts, &format!("{major}:{minor}")).unwrap_or("fuse")))
    }

    /// Whether other machines may see what lies at a path. One that cannot be asked is
    /// not known to be local.
    #[must_use]
    pub fn is_network(path: &Path) -> bool {
        Self::of(path).map_or(true, |found| found != Self::Local)
    }

    /// What it is, for people, where others may see it.
    #[must_use]
    pub fn network_name(path: &Path) -> Option<String> {
        match Self::of(path) {
            Ok(Self::Local) => None,
            Ok(Self::Network(name)) => Some(name),
            Err(_) => Some("a file system that cannot be asked".to_owned()),
        }
    }
}

fn of_number(magic: u64) -> FileSystem {
    let known = NETWORK.iter().find(|(number, _)| *number == magic);
    known.map_or(FileSystem::Local, |(_, name)| FileSystem::Network((*name).to_owned()))
}

fn of_fuse(kind: &str) -> FileSystem {
    if LOCAL_FUSE.contains(&kind) {
        return FileSystem::Local;
    }
    FileSystem::Network(kind.to_owned())
}

/// The type of the file system of a device, of all that are mounted (proc(5),
/// mountinfo: the third field is the device; the type stands after a lone dash).
fn type_of<'a>(mounts: &'a str, device: &str) -> Option<&'a str> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (before.split(' ').nth(2)? == device).then(|| after.split(' ').next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_see_is_told_from_disks() {
        for (magic, name) in [(0x6969, "nfs"), (0xff53_4d42, "cifs"), (0x0bd0_0bd0, "lustre")] {
            assert_eq!(of_number(magic), FileSystem::Network(name.to_owned()));
        }
        // ext4, xfs, btrfs, tmpfs, overlay, zfs, f2fs, msdos, squashfs.
        for magic in [
            0xef53,
            0x5846_5342,
            0x9123_683e,
            0x0102_1994,
            0x794c_7630,
            0x2fc1_2fc1,
            0xf2f5_2010,
            0x4d44,
            0x7371_7368,
        ] {
            assert_eq!(of_number(magic), FileSystem::Local, "{magic:#x}");
        }
    }

    #[test]
    fn of_fuse_only_what_is_known_to_be_local_is() {
        let mounts = "\
            22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            90 22 0:49 / /home/me rw,nosuid - fuse.sshfs me@db7:/home/me rw,user_id=0\n\
            91 22 0:50 / /mnt/a\\040b rw - fuse.s3fs s3fs rw\n\
            92 22 8:17 / /mnt/usb rw master:3 - fuseblk /dev/sdb1 rw\n\
            93 22 0:51 / /mnt/host rw - virtiofs host rw\n";
        let of = |device| type_of(mounts, device).map(of_fuse);
        assert_eq!(of("0:49"), Some(FileSystem::Network("fuse.sshfs".to_owned())));
        assert_eq!(of("0:50"), Some(FileSystem::Network("fuse.s3fs".to_owned())));
        assert_eq!(of("0:51"), Some(FileSystem::Network("virtiofs".to_owned())));
        assert_eq!(of("8:17"), Some(FileSystem::Local));
        assert_eq!(of("7:7"), None);
    }

    #[test]
    fn a_path_that_is_not_there_yet_lies_where_its_folder_does() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let here = FileSystem::of(folder.path()).expect("it can be asked");
        let there = FileSystem::of(&folder.path().join("a/b")).expect("it can be asked");
        assert_eq!(here, there);
    }
}
