//! Power cuts: a file system of its own in a file, which loses at once what was not
//! synced, as if the machine had lost its power. What is there afterwards is what the
//! real file system finds by replaying its journal.
//!
//! It needs root, loop devices, and the tools of the file system; where one of these
//! is missing [`Medium::new`] says which, and a test tells that it was skipped.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A file system, and how it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// ext4 as it is mounted everywhere.
    Ext4,
    /// ext4 that keeps no order between data and names, and mends nothing for
    /// programs that forget to sync.
    Ext4Bare,
    /// XFS.
    Xfs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Ext4Bare, Self::Xfs];

    const fn maker(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Ext4Bare => "mkfs.ext4",
            Self::Xfs => "mkfs.xfs",
        }
    }

    const fn options(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Xfs => "loop",
            Self::Ext4Bare => "loop,noauto_da_alloc,data=writeback",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Ext4Bare => "ext4 (noauto_da_alloc,data=writeback)",
            Self::Xfs => "xfs",
        })
    }
}

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing of it.
    Hard,
    /// Names, sizes and times, but no data.
    Names,
}

impl Cut {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Hard, Self::Names];

    /// The flag of the call that shuts a file system down: without, or with its log
    /// written out first.
    const fn flag(self) -> &'static str {
        match self {
            Self::Hard => "2",
            Self::Names => "1",
        }
    }
}

/// Shuts a file system down, for there is no way to say that without `unsafe`; perl is
/// part of every Debian. The number is `_IOR('X', 125, u32)`.
const SHUTDOWN: &str = r#"open(my $at, "<", $ARGV[0]) or die "$!\n";
my $flag = pack("L", $ARGV[1]);
ioctl($at, 0x8004587d, $flag) or die "$!\n";"#;

/// A mounted file system whose power can be cut. It is gone when this is dropped.
#[derive(Debug)]
pub struct Medium {
    kind: Kind,
    mount: PathBuf,
    image: PathBuf,
    is_mounted: bool,
    _folder: tempfile::TempDir,
}

impl Medium {
    /// Makes and mounts one.
    ///
    /// # Errors
    /// Why this machine cannot.
    pub fn new(kind: Kind) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("mounting needs root".to_owned());
        }
        let folder = tempfile::Builder::new().prefix("semel-power-").tempdir();
        let folder = folder.map_err(|error| error.to_string())?;
        let (image, mount) = (folder.path().join("image"), folder.path().join("mount"));
        std::fs::create_dir(&mount).map_err(|error| error.to_string())?;
        let file = std::fs::File::create(&image).map_err(|error| error.to_string())?;
        // Less than this XFS does not take; what is not written takes no room.
        file.set_len(320 << 20).map_err(|error| error.to_string())?;
        tool(Command::new(kind.maker()).arg("-q").arg(&image))?;
        let mut medium = Self { kind, mount, image, is_mounted: false, _folder: folder };
        medium.mount()?;
        // Where the call is not there, nothing can be tried.
        if let Err(why) = medium.shut_down(Cut::Hard) {
            return Err(format!("{kind} cannot be shut down: {why}"));
        }
        medium.come_back();
        Ok(medium)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Makes all that was written so far durable.
    ///
    /// # Panics
    /// If it cannot be synced.
    pub fn sync(&self) {
        let folder = std::fs::File::open(&self.mount).expect("it is mounted");
        rustix::fs::syncfs(folder).expect("it can be synced");
    }

    /// Cuts the power: from now on nothing reaches it any more.
    ///
    /// # Panics
    /// If it cannot be cut, though it could be before.
    pub fn cut(&self, cut: Cut) {
        self.shut_down(cut).unwrap_or_else(|why| panic!("{}: {why}", self.kind));
    }

    /// A command that cuts the power of what is mounted at `$1`, for who is inside.
    #[must_use]
    pub fn cutter(mount: &Path, cut: Cut) -> Command {
        let mut command = Command::new("perl");
        command.arg("-e").arg(SHUTDOWN).arg(mount).arg(cut.flag());
        command
    }

    fn shut_down(&self, cut: Cut) -> Result<(), String> {
        tool(&mut Self::cutter(&self.mount, cut)).map(drop)
    }

    /// The power is back: what is there now is what was durable.
    ///
    /// # Panics
    /// If it cannot be mounted again.
    pub fn come_back(&mut self) {
        let begin = Instant::now();
        // Whoever was killed lets go of it in its own time.
        while let Err(why) = self.unmount() {
            assert!(begin.elapsed() < Duration::from_secs(30), "{why}");
            std::thread::yield_now();
        }
        self.mount().unwrap_or_else(|why| panic!("{}: {why}", self.kind));
    }

    fn mount(&mut self) -> Result<(), String> {
        let mut command = Command::new("mount");
        tool(command.args(["-o", self.kind.options()]).arg(&self.image).arg(&self.mount))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        if self.is_mounted {
            tool(Command::new("umount").arg(&self.mount))?;
            self.is_mounted = false;
        }
        Ok(())
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        if self.unmount().is_err() {
            // A test failed, and something still has a file open there.
            let _ = tool(Command::new("umount").arg("--lazy").arg(&self.mount));
        }
    }
}

/// Runs a tool of the system; what it gave, or why it did not work.
fn tool(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    // What only root uses is not on everybody's path.
    let path = std::env::var("PATH").unwrap_or_default();
    let output = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let output = output.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no {name}"),
        _ => format!("{name}: {error}"),
    })?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}
