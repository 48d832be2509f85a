//! Prune: outputs in receipts that no present task makes any more are shown, or
//! moved aside.
//!
//! Nothing is moved that a present task makes or reads, that another pipeline or
//! instance has a receipt for, that was paid for (`once`), or that a step may make
//! whose list is not known. Paths are compared where they really lie, so that one
//! thing is not taken for two by its names.
//!
//! Invariant: *I8* nothing is destroyed, it is moved whole. The manifest is not
//! changed: a task whose item comes back finds its receipt, and is repaired.
//! *If we die here*: what was moved lies in its place under `.semel/displaced/`; the
//! next prune moves the rest.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::deed::displace::move_aside;
use crate::deed::hold::{hold, holder_of};
use crate::deed::memory;
use crate::deed::network::NetworkLease;
use crate::deed::now::{
    Belief, Listed, ParamsOfRuns, inputs, now, other_param, params_of_runs, reads_by_item,
};
use crate::deed::run::{CannotBegin, Setting, only_file, plain_outputs, site_for_looking};
use crate::deed::ways::Ways;
use crate::deed::{Asked, Site, Trouble, view};
use crate::ground::digests::Digests;
use crate::ground::home::Home;
use crate::ground::manifest::{KeptFile, Manifest, ManifestError};
use crate::ground::world::disk::{Disk, Kind};
use crate::words::path::{bytes_of, normal, path_of, show};
use crate::words::pipeline::{InputSource, Step};
use crate::words::receipt::FileRole;
use crate::words::task::{Task, TaskName};

/// Why no present task makes an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Its item is gone.
    ItemGone,
    /// Its step is gone from the file.
    StepGone,
    /// Its step says another `out`.
    OutChanged,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ItemGone => "its item is gone",
            Self::StepGone => "its step is gone from the file",
            Self::OutChanged => "its step now says another `out`",
        })
    }
}

/// Whose bytes lie at an output's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// Semel's, as the receipt has them.
    Own,
    /// Somebody's: other hands changed it.
    Edited,
    /// A folder in which other hands changed something.
    EditedFolder,
}

/// An output that no present task makes any more.
#[derive(Clone, Debug)]
pub struct Leftover {
    /// The task that made it.
    pub task: TaskName,
    /// The run that wrote its receipt.
    pub run: i64,
    /// Its path, as the receipt has it.
    pub path: PathBuf,
    /// Its size as the receipt has it.
    pub size: u64,
    /// Why nobody makes it.
    pub why: Why,
    /// Whose bytes they are.
    pub bytes: Bytes,
}

/// A leftover that stays where it is, and why.
#[derive(Clone, Debug)]
pub struct Staying {
    /// The task that made it.
    pub task: TaskName,
    /// Its path.
    pub path: PathBuf,
    /// Why it stays.
    pub because: String,
}

/// A step that is not judged, since its list is not there.
#[derive(Clone, Debug)]
pub struct Unjudged {
    /// The step.
    pub step: String,
    /// The step that makes its list.
    pub after: String,
}

/// What no present task makes any more.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// What may be moved.
    pub movable: Vec<Leftover>,
    /// What stays.
    pub staying: Vec<Staying>,
    /// What is not judged.
    pub unjudged: Vec<Unjudged>,
}

/// What became of leftovers.
#[derive(Debug, Default)]
pub struct Pruned {
    /// What was moved, and where it is now.
    pub moved: Vec<(Leftover, PathBuf)>,
    /// What could not be moved, and why.
    pub failed: Vec<(Leftover, String)>,
    /// What stays.
    pub staying: Vec<Staying>,
    /// What is not judged.
    pub unjudged: Vec<Unjudged>,
}

/// Finds the outputs that no present task of this instance makes any more.
///
/// # Errors
/// If a list cannot be had, is empty though it must not be, or lost more than half
/// of its items; or if the manifest cannot be asked.
pub fn leftovers(setting: &Setting<'_>, manifest: &dyn Manifest) -> Result<Leftovers, CannotBegin> {
    only_file(setting, manifest)?;
    let home = Home::in_folder(setting.disk.root());
    let digests = Digests::at(home.digests(), true);
    let outputs = plain_outputs(setting.pipeline, setting.params, setting.disk.root());
    let asked = Asked::default();
    let site = site_for_looking(setting, &home, &digests, &outputs, &asked);
    let mut listed = Vec::new();
    let found = now(&site, Belief::AsARunDoes(manifest))?;
    for step in found {
        match step {
            Listed::Unknown(trouble) => return Err(trouble.into()),
            known => listed.push(known),
        }
    }
    let mut search = Search::new(&site, &listed, manifest)?;
    search.guard(Path::new(setting.file), || "it is the pipeline file".to_owned());
    search.guard(home.path(), || "it is semel's own folder".to_owned());
    search.leftovers()
}

/// Moves them aside, under the lease of this instance.
///
/// # Errors
/// As [`leftovers`]; and if somebody else is at work on it. Then nothing was moved.
pub fn prune(setting: &Setting<'_>, manifest: &dyn Manifest) -> Result<Pruned, CannotBegin> {
    let disk = setting.disk;
    let home = Home::in_folder(disk.root());
    // What was read before it was ours alone tells nothing of what was done since.
    let network = NetworkLease::take(&home, &holder_of(setting))?;
    let _leases = hold(setting, &home)?;
    let read = |error| CannotBegin::Manifest { path: home.manifest(), error };
    let anew = match network {
        Some(_) => memory::read(disk, &home).map_err(read)?,
        None => None,
    };
    let manifest = anew.as_ref().map_or(manifest, |looked| &looked.manifest);
    let Leftovers { movable, staying, unjudged } = leftovers(setting, manifest)?;
    let mut pruned = Pruned { staying, unjudged, ..Pruned::default() };
    let (mut folder, ways) = (None, Ways::default());
    for leftover in movable {
        let folder = match &folder {
            Some(folder) => folder,
            None => folder.insert(new_folder(disk, &home)?),
        };
        match move_aside(disk, &ways, &leftover.path, folder) {
            Ok(Some(to)) => pruned.moved.push((leftover, to)),
            // Somebody else took it away meanwhile.
            Ok(None) => {}
            Err(error) => pruned.failed.push((leftover, error.to_string())),
        }
    }
    Ok(pruned)
}

/// A folder of our own for what is moved; its name says when.
fn new_folder(disk: &dyn Disk, home: &Home) -> Result<PathBuf, CannotBegin> {
    let name = format!("prune-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let mut number = 1;
    loop {
        let name = if number == 1 { name.clone() } else { format!("{name}-{number}") };
        let folder = home.displaced_by(&name);
        let made = disk.make_folders(&folder)?;
        if made.contains(&folder) {
            for made in made {
                disk.sync(made.parent().unwrap_or(Path::new("/")))?;
            }
            return Ok(folder);
        }
        number += 1;
    }
}

struct Search<'a> {
    site: &'a Site<'a>,
    listed: &'a [Listed],
    /// The tasks of each step that are there, by the names of their items.
    present: Vec<HashMap<String, &'a Task>>,
    /// What must not be moved, where it really lies, and why.
    guarded: BTreeMap<PathBuf, String>,
    /// What paths begin with that steps may make or read whose tasks are not known,
    /// and why they stay.
    unlisted_heads: Vec<(PathBuf, String)>,
    /// The parameters of each run.
    params_of: ParamsOfRuns,
    own: Vec<KeptFile>,
    folders: Folders<'a>,
}

/// Where folders really lie; asked once for each.
struct Folders<'a> {
    disk: &'a dyn Disk,
    known: HashMap<PathBuf, PathBuf>,
}

impl Folders<'_> {
    /// The path of a thing with all links in its folder followed, not its own.
    fn real(&mut self, path: &Path) -> PathBuf {
        let absolute = self.disk.root().join(path);
        let (Some(folder), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return absolute;
        };
        let real = self.known.entry(folder.to_owned()).or_insert_with(|| {
            // Of a folder that is not there, what of it is there counts.
            let there = folder
                .ancestors()
                .find_map(|above| Some((above, std::fs::canonicalize(above).ok()?)));
            match there {
                Some((above, real)) => {
                    real.join(folder.strip_prefix(above).unwrap_or(Path::new("")))
                }
                None => folder.to_owned(),
            }
        });
        real.join(name)
    }
}

impl<'a> Search<'a> {
    fn new(
        site: &'a Site<'a>,
        listed: &'a [Listed],
        manifest: &dyn Manifest,
    ) -> Result<Self, CannotBegin> {
        let present = listed.iter().map(|step| {
            let tasks = step.tasks().map_or(&[][..], |step| &step.tasks);
            tasks.iter().map(|task| (task.item_name().into_owned(), task)).collect()
        });
        let mut search = Self {
            site,
            listed,
            present: present.collect(),
            guarded: BTreeMap::new(),
            unlisted_heads: Vec::new(),
            params_of: HashMap::new(),
            own: Vec::new(),
            folders: Folders { disk: site.disk, known: HashMap::new() },
        };
        let no_manifest =
            |error: ManifestError| CannotBegin::Manifest { path: site.home.manifest(), error };
        search.guard_present()?;
        search.guard_others(manifest).map_err(no_manifest)?;
        search.params_of = params_of_runs(site, manifest).map_err(no_manifest)?;
        Ok(search)
    }

    fn guard(&mut self, path: &Path, why: impl FnOnce() -> String) {
        let real = self.folders.real(path);
        self.guarded.entry(real).or_insert_with(why);
    }

    /// What present tasks make and read.
    fn guard_present(&mut self) -> Result<(), Trouble> {
        let (site, listed) = (self.site, self.listed);
        for (id, step) in site.pipeline.ids() {
            for program in view::programs(site, step)? {
                self.guard(&program.path, || format!("step `{}` runs it", step.name));
            }
            let by_item = reads_by_item(step);
            let Some(tasks) = listed[id.0].tasks() else {
                self.guard_unlisted(step, by_item)?;
                continue;
            };
            for (at, task) in tasks.tasks.iter().enumerate() {
                for out in &task.outs {
                    let name = || task.name(&step.name, &tasks.instance).to_string();
                    self.guard(out, || format!("`{}` makes it", name()));
                }
                if let Some(item) = task.item.as_deref().filter(|_| step.has_file_items()) {
                    self.guard(&path_of(item.to_vec()), || {
                        format!("step `{}` reads it", step.name)
                    });
                }
                if at == 0 || by_item {
                    for path in inputs(site, listed, step, Some(task))? {
                        self.guard(&path, || format!("step `{}` reads it", step.name));
                    }
                }
            }
        }
        Ok(())
    }

    /// What a step may make and read whose tasks are not known.
    fn guard_unlisted(&mut self, step: &Step, by_item: bool) -> Result<(), Trouble> {
        let made = step.outs.iter().map(|out| (&out.path, "make"));
        let read = step.inputs.iter().filter_map(|input| match &input.source {
            InputSource::Files(pattern) => Some((pattern, "read")),
            InputSource::OutputsOf(_) => None,
        });
        for (template, verb) in made.chain(read.filter(|_| by_item)) {
            let head = self.folders.real(&normal(template.head().as_bytes()));
            let why = format!("step `{}` may {verb} it: its list is not there yet", step.name);
            self.unlisted_heads.push((head, why));
        }
        if !by_item {
            for path in inputs(self.site, self.listed, step, None)? {
                self.guard(&path, || format!("step `{}` reads it", step.name));
            }
        }
        Ok(())
    }

    /// What receipts of other pipelines and other instances made and read. Our own
    /// receipts are kept for later.
    fn guard_others(&mut self, manifest: &dyn Manifest) -> Result<(), ManifestError> {
        let (pipeline, params) = (self.site.pipeline, self.site.params);
        let whole = params.instance(&pipeline.per);
        let instances: HashMap<_, _> =
            pipeline.steps.iter().map(|step| (&*step.name, params.instance(&step.per))).collect();
        let is_ours = |kept: &KeptFile| {
            kept.pipeline == pipeline.name
                && match instances.get(&*kept.task.step) {
                    Some(instance) => kept.task.instance == *instance,
                    None => kept.task.instance.is_only() || kept.task.instance == whole,
                }
        };
        let mut others = BTreeSet::new();
        for role in [FileRole::Out, FileRole::In] {
            let verb = if role == FileRole::Out { "made" } else { "read" };
            manifest.files(role, &mut |kept| {
                if is_ours(&kept) {
                    if role == FileRole::Out {
                        self.own.push(kept);
                    }
                    return;
                }
                let of = if kept.pipeline == pipeline.name {
                    String::new()
                } else {
                    format!(" of pipeline `{}`", kept.pipeline)
                };
                others.insert((kept.file.path, format!("`{}`{of} {verb} it", kept.task)));
            })?;
        }
        for (path, why) in others {
            self.guard(&path, || why);
        }
        Ok(())
    }

    fn leftovers(mut self) -> Result<Leftovers, CannotBegin> {
        let mut leftovers = Leftovers::default();
        for (id, step) in self.site.pipeline.ids() {
            if let Listed::After(maker) = self.listed[id.0] {
                leftovers.unjudged.push(Unjudged {
                    step: step.name.clone(),
                    after: self.site.pipeline.step(maker).name.clone(),
                });
            }
        }
        let mut seen = HashSet::new();
        for kept in std::mem::take(&mut self.own) {
            let Some(why) = self.why(&kept) else { continue };
            let path = &kept.file.path;
            let Some(meta) = self.site.disk.look_at_link(path)? else { continue };
            let real = self.folders.real(path);
            if !seen.insert(real.clone()) {
                continue;
            }
            if let Some(because) = self.why_it_stays(&kept, &real) {
                // What is made as before under another receipt is no news.
                if !self.is_made_now(&real) {
                    let path = path.clone();
                    leftovers.staying.push(Staying { task: kept.task, path, because });
                }
                continue;
            }
            let bytes = self.whose(&kept, meta.kind)?;
            leftovers.movable.push(Leftover {
                task: kept.task,
                run: kept.run,
                path: kept.file.path,
                size: kept.file.bytes,
                why,
                bytes,
            });
        }
        Ok(leftovers)
    }

    /// Why no present task makes it; `None` if one does, or that is not known.
    fn why(&self, kept: &KeptFile) -> Option<Why> {
        let Some(id) = self.site.pipeline.step_named(&kept.task.step) else {
            return Some(Why::StepGone);
        };
        self.listed[id.0].tasks()?;
        match self.present[id.0].get(kept.task.item.as_deref().unwrap_or_default()) {
            None => Some(Why::ItemGone),
            Some(task) if task.outs.contains(&kept.file.path) => None,
            Some(_) => Some(Why::OutChanged),
        }
    }

    fn is_made_now(&self, real: &Path) -> bool {
        self.guarded.get(real).is_some_and(|why| why.ends_with("makes it"))
    }

    /// Why a leftover must stay where it is.
    fn why_it_stays(&self, kept: &KeptFile, real: &Path) -> Option<String> {
        if let Some(why) = real.ancestors().find_map(|above| self.guarded.get(above)) {
            return Some(why.clone());
        }
        let inside = self.guarded.range(real.to_owned()..).next();
        if let Some((path, why)) = inside.filter(|(path, _)| path.starts_with(real)) {
            let path = path.strip_prefix(self.site.disk.root()).unwrap_or(path);
            return Some(format!("{} lies in it, and {why}", show(path)));
        }
        let begins =
            |head: &Path| bytes_of(real).starts_with(bytes_of(head)) || head.starts_with(real);
        if let Some((_, why)) = self.unlisted_heads.iter().find(|(head, _)| begins(head)) {
            return Some(why.clone());
        }
        if kept.once {
            return Some("it was made once, and will not be made again".to_owned());
        }
        let step = self.site.pipeline.step_named(&kept.task.step)?;
        let step = self.site.pipeline.step(step);
        let then = self.params_of.get(&kept.run)?;
        let (name, value) = other_param(self.site, step, then)?;
        Some(format!("it was made with {name} = {value}"))
    }

    fn whose(&self, kept: &KeptFile, kind: Kind) -> Result<Bytes, CannotBegin> {
        let site = self.site;
        let path = &kept.file.path;
        let own = match kind {
            Kind::File | Kind::Folder => match site.disk.look(path)? {
                Some(meta) => {
                    site.digests.content(site.disk, path, &meta, &mut 0)?.digest == kept.file.digest
                }
                None => false,
            },
            Kind::Link | Kind::Other => false,
        };
        Ok(match (own, kind) {
            (true, _) => Bytes::Own,
            (false, Kind::Folder) => Bytes::EditedFolder,
            (false, _) => Bytes::Edited,
        })
    }
}
