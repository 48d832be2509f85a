//! The processes of a command: those that carry its marker in their environment, and
//! what these start. Parents alone would not tell: what is left behind has another one.
//!
//! A process is asked for its environment until it is known; it is taken for a stranger
//! only after a while, since between its start and its first program it has the
//! environment of whoever started it.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use crate::ground::world::machine;

/// How long, and how often, one without the marker is asked for it.
const YOUNG: Duration = Duration::from_secs(2);
const LOOKS: u32 = 3;

/// What is known of the processes of this machine.
#[derive(Debug)]
pub(super) struct Tree {
    marker: Finder<'static>,
    known: HashMap<u32, Known>,
    /// Counts the looks, to tell who is gone.
    look: u64,
}

#[derive(Debug)]
struct Known {
    /// The inode of its folder in `/proc`: the number of a process is given again, and
    /// this is not.
    inode: u64,
    look: u64,
    kin: Kin,
}

#[derive(Clone, Copy, Debug)]
enum Kin {
    Member,
    Stranger,
    Unknown { since: Instant, looks: u32 },
}

impl Tree {
    /// All that is there now are strangers.
    pub(super) fn new(marker: &[u8]) -> io::Result<Self> {
        let strangers = processes()?.into_iter();
        let known =
            strangers.map(|(pid, inode)| (pid, Known { inode, look: 0, kin: Kin::Stranger }));
        Ok(Self { marker: Finder::new(marker).into_owned(), known: known.collect(), look: 0 })
    }

    /// Those that are there now.
    pub(super) fn members(&mut self) -> io::Result<Vec<u32>> {
        // In order: parents mostly stand before their children.
        let mut processes = processes()?;
        processes.sort_unstable();
        self.look += 1;
        let mut members = Vec::new();
        for (pid, inode) in processes {
            let known = self.known.get(&pid).filter(|known| known.inode == inode);
            let first = Kin::Unknown { since: Instant::now(), looks: 0 };
            let kin = self.ask(pid, known.map_or(first, |known| known.kin));
            self.known.insert(pid, Known { inode, look: self.look, kin });
            if matches!(kin, Kin::Member) {
                members.push(pid);
            }
        }
        self.known.retain(|_, known| known.look == self.look);
        Ok(members)
    }

    /// As if another process of this number had been there before.
    #[cfg(test)]
    pub(super) fn forget_as_stranger(&mut self, pid: u32) {
        self.known.insert(pid, Known { inode: 0, look: 0, kin: Kin::Stranger });
    }

    fn ask(&self, pid: u32, kin: Kin) -> Kin {
        let Kin::Unknown { since, looks } = kin else {
            return kin;
        };
        if self.is_marked(pid) || self.is_child(pid) {
            return Kin::Member;
        }
        let looks = looks + 1;
        if looks >= LOOKS && since.elapsed() > YOUNG {
            return Kin::Stranger;
        }
        Kin::Unknown { since, looks }
    }

    fn is_marked(&self, pid: u32) -> bool {
        let environment = std::fs::read(format!("/proc/{pid}/environ"));
        environment.is_ok_and(|environment| self.marker.find(&environment).is_some())
    }

    fn is_child(&self, pid: u32) -> bool {
        let parent = machine::parent(pid).and_then(|parent| self.known.get(&parent));
        parent.is_some_and(|parent| matches!(parent.kin, Kin::Member))
    }
}

/// All processes but this one, each with the inode of its folder.
fn processes() -> io::Result<Vec<(u32, u64)>> {
    let mut processes = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        if let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            processes.push((pid, entry.ino()));
        }
    }
    processes.retain(|(pid, _)| *pid != std::process::id());
    Ok(processes)
}
