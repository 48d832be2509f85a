//! What a power cut could leave: states of a folder that are legal after a moment of a
//! [`Recording`].
//!
//! The medium is as bad as it may be. What was synced survives. Of the rest, bytes are
//! the old ones, the new ones, a part of them, zeros, or none; each name that was made,
//! changed or taken away in a folder that was not synced is as before or as after, in
//! any combination; but what changed in one step (a rename, an exchange) did so wholly
//! or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::recorded::{Body, Change, Inode, Moment, Recording, Thing, Tree};

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All of it is lost.
    Lost,
    /// All of it survives.
    Kept,
    /// Names survive, bytes do not.
    Names,
    /// All of it but this one change, counted from the end.
    AllBut(usize),
    /// None of it but this one change, counted from the end.
    Only(usize),
    /// By chance.
    Chance(u64),
}

/// A state of a folder.
#[derive(Clone, Debug)]
pub struct Aftermath {
    /// Files with what is known of them; folders without bytes.
    pub all: BTreeMap<PathBuf, (Thing, Arc<Body>)>,
    /// The body of the folder itself.
    root: Arc<Body>,
    /// Where all of it was.
    folder: PathBuf,
    /// Of what the manifest consists, where it is there.
    manifest: Vec<(&'static str, Arc<Vec<u8>>)>,
}

impl Recording {
    /// How many changes were not durable in a moment.
    #[must_use]
    pub fn open_changes(&self, moment: &Moment) -> usize {
        self.open(moment).len()
    }

    fn open(&self, moment: &Moment) -> Vec<usize> {
        let mut synced = BTreeSet::new();
        let mut open = Vec::new();
        for at in (0..moment.at).rev() {
            match &self.log[at] {
                Change::Sync(inode) => drop(synced.insert(*inode)),
                Change::Body(inode, _) if !synced.contains(inode) => open.push(at),
                Change::Names { durable_by, .. }
                    if !durable_by.iter().any(|folder| synced.contains(folder)) =>
                {
                    open.push(at);
                }
                Change::Body(..) | Change::Names { .. } => {}
            }
        }
        open
    }

    /// The state that a power cut in a moment leaves.
    ///
    /// # Panics
    /// If the recording has no folder.
    #[must_use]
    pub fn after_cut(&self, moment: &Moment, fate: Fate) -> Aftermath {
        let mut chance = Chance(match fate {
            Fate::Chance(seed) => seed,
            _ => 1,
        });
        let open: BTreeMap<usize, usize> =
            self.open(moment).into_iter().enumerate().map(|(nth, at)| (at, nth)).collect();
        let mut names: BTreeMap<(Inode, &OsString), Inode> = BTreeMap::new();
        let mut bodies: BTreeMap<Inode, Arc<Body>> = BTreeMap::new();
        for (at, change) in self.log[..moment.at].iter().enumerate() {
            let nth = open.get(&at).copied();
            let survives = match (nth, fate) {
                (None, _) | (_, Fate::Kept) => true,
                (_, Fate::Lost) => false,
                (_, Fate::Names) => matches!(change, Change::Names { .. }),
                (Some(nth), Fate::AllBut(one)) => nth != one,
                (Some(nth), Fate::Only(one)) => nth == one,
                (_, Fate::Chance(_)) => chance.of(2) == 0,
            };
            match change {
                Change::Names { names: changed, .. } if survives => {
                    for (folder, name, inode) in changed {
                        match inode {
                            Some(inode) => drop(names.insert((*folder, name), *inode)),
                            None => drop(names.remove(&(*folder, name))),
                        }
                    }
                }
                Change::Body(inode, body) if survives => {
                    bodies.insert(*inode, Arc::clone(body));
                }
                // In part.
                Change::Body(inode, body) if matches!(fate, Fate::Chance(_)) => {
                    if let Some(torn) = chance.torn(body) {
                        bodies.insert(*inode, Arc::new(torn));
                    }
                }
                _ => {}
            }
        }
        let mut inside: BTreeMap<Inode, Vec<(&OsString, Inode)>> = BTreeMap::new();
        for ((folder, name), inode) in names {
            inside.entry(folder).or_default().push((name, inode));
        }
        let mut all = BTreeMap::new();
        let mut open = vec![(PathBuf::new(), self.root)];
        while let Some((path, folder)) = open.pop() {
            for (name, inode) in inside.get(&folder).into_iter().flatten() {
                let path = path.join(name);
                let thing = self.things[inode].clone();
                // A folder under two names holds itself in the worst case.
                if thing == Thing::Folder && path.components().count() < 16 {
                    open.push((path.clone(), *inode));
                }
                let none = || Arc::new(Body { mode: 0o644, ..Body::default() });
                let body = bodies.get(inode).cloned().unwrap_or_else(none);
                all.insert(path, (thing, body));
            }
        }
        let has_manifest = all.contains_key(Path::new(".semel/manifest.db"));
        let manifest = if has_manifest { moment.manifest.clone() } else { Vec::new() };
        let root = bodies.get(&self.root).cloned().expect("it was there before");
        Aftermath { all, root, folder: self.folder.clone(), manifest }
    }

    /// As [`Recording::after_cut`], where commits are not synced but those of what is done
    /// once: the manifest may be any that it was since the last of these.
    ///
    /// # Panics
    /// If the recording has no folder.
    #[must_use]
    pub fn after_loose_cut(&self, moment: &Moment, fate: Fate) -> Aftermath {
        let mut state = self.after_cut(moment, fate);
        let is_since = |known: &&Moment| {
            known.at <= moment.at && known.seq == moment.seq && !known.manifest.is_empty()
        };
        let since: Vec<_> = self.moments.iter().filter(is_since).collect();
        let which = match fate {
            Fate::Kept => since.last(),
            Fate::Chance(seed) if !since.is_empty() => {
                since.get(usize::try_from(Chance(!seed).of(since.len() as u64)).unwrap_or(0))
            }
            _ => since.first(),
        };
        if let Some(which) = which.filter(|_| state.has_manifest()) {
            state.manifest.clone_from(&which.manifest);
        }
        state
    }

    /// The fates worth trying in a moment: all lost, all kept, each change lost or kept
    /// alone, and some by chance.
    #[must_use]
    pub fn fates(&self, moment: &Moment, chances: u64, seed: u64) -> Vec<Fate> {
        let open = self.open_changes(moment);
        let mut fates = vec![Fate::Lost];
        if open > 0 {
            fates.extend([Fate::Kept, Fate::Names]);
            // The last of them are those that nobody had the time to sync.
            let each = 0..open.min(24);
            fates.extend(each.clone().map(Fate::AllBut));
            fates.extend(each.map(Fate::Only));
            let mut chance = Chance(seed ^ moment.at as u64);
            fates.extend((0..chances).map(|_| Fate::Chance(chance.next())));
        }
        fates
    }
}

impl Aftermath {
    /// What is at a path, and below it.
    #[must_use]
    pub fn tree(&self, path: &Path) -> Tree {
        let below = self.all.range(path.to_owned()..);
        below
            .take_while(|(found, _)| found.starts_with(path))
            .filter_map(|(found, (thing, body))| match thing {
                Thing::Folder => Some((found.clone(), None)),
                Thing::File => Some((found.clone(), Some(body.bytes.clone()))),
                Thing::Link(_) => None,
            })
            .collect()
    }

    /// The bytes of a file.
    #[must_use]
    pub fn bytes(&self, path: impl AsRef<Path>) -> Option<&[u8]> {
        self.all.get(path.as_ref()).map(|(_, body)| &*body.bytes)
    }

    /// Whether a file has these bytes, wherever it is.
    #[must_use]
    pub fn has_somewhere(&self, bytes: &[u8]) -> bool {
        self.all.values().any(|(_, body)| body.bytes == bytes)
    }

    /// Whether the manifest is there.
    #[must_use]
    pub fn has_manifest(&self) -> bool {
        !self.manifest.is_empty()
    }

    /// Makes this state in an empty folder. Files that name the folder in which all of
    /// it was name this one.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn build(&self, folder: &Path) {
        let (was, is) = (self.folder.as_os_str().as_bytes(), folder.as_os_str().as_bytes());
        for (path, (thing, body)) in &self.all {
            let path = folder.join(path);
            match thing {
                Thing::Folder => std::fs::create_dir(&path).unwrap(),
                Thing::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                Thing::File => {
                    std::fs::write(&path, replace(&body.bytes, was, is)).unwrap();
                    let mode = std::fs::Permissions::from_mode(body.mode);
                    std::fs::set_permissions(&path, mode).unwrap();
                }
            }
            put(&path, "user.semel.stamp", body.stamp.as_deref());
        }
        put(folder, "user.semel.once", self.root.mark.as_deref());
        for (name, bytes) in &self.manifest {
            std::fs::write(folder.join(".semel").join(name), &**bytes).unwrap();
        }
    }
}

fn replace(bytes: &[u8], was: &[u8], is: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(was.len()).position(|window| window == was) {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice(is);
        rest = &rest[at + was.len()..];
    }
    replaced.extend_from_slice(rest);
    replaced
}

fn put(path: &Path, name: &str, value: Option<&[u8]>) {
    if let Some(value) = value {
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(path, name, value, flags).unwrap();
    }
}

/// Numbers by chance, the same ones for the same seed.
struct Chance(u64);

impl Chance {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut next = self.0;
        next = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        next = (next ^ (next >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        next ^ (next >> 31)
    }

    fn of(&mut self, sides: u64) -> u64 {
        self.next() % sides
    }

    /// What is left of bytes that were not synced, if anything.
    fn torn(&mut self, body: &Body) -> Option<Body> {
        let length = body.bytes.len();
        let most = u64::try_from(length).unwrap_or(u64::MAX) + 1;
        let bytes = match self.of(4) {
            0 => Vec::new(),
            1 => vec![0; length],
            2 => body.bytes[..usize::try_from(self.of(most)).unwrap_or(0)].to_vec(),
            _ => return None,
        };
        Some(Body { bytes, ..body.clone() })
    }
}
