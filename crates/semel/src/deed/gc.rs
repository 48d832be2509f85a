//! Ending what is old: history in the manifest, logs, what was moved aside, and
//! remembered digests of files that are gone.
//!
//! A receipt is ended only if its item, or its step, was seen gone so long ago, and its
//! task may be done again. What was done once stays known for ever.
//!
//! Invariant: what a decision rests on stays. *If we die here*: the manifest is
//! changed in one transaction, and files go after it; the next gc ends the rest.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::deed::calls::is_anybody_sending;
use crate::deed::hold::{hold, holder_of};
use crate::deed::lease::Gate;
use crate::deed::memory::Access;
use crate::deed::now::{Belief, Listed, now, other_param, params_of_runs};
use crate::deed::run::{CannotBegin, Setting, only_file, site_for_looking};
use crate::deed::{Asked, Site, Trouble};
use crate::ground::digests::{self, Digests};
use crate::ground::home::Home;
use crate::ground::manifest::ManifestError;
use crate::ground::manifest::calls::{Calls as _, Which};
use crate::ground::manifest::sqlite::{Aged, Slot, SqliteManifest};
use crate::ground::world::disk::{Disk, DiskResult, Kind};
use crate::words::call::{CallState, PROXY};
use crate::words::task::{Instance, TaskName};

/// What the names of things begin with that a gc has begun to remove.
const ENDED: &str = ".ended-";

/// What was ended, or would be.
#[derive(Debug, Default)]
pub struct Ended {
    /// In the manifest.
    pub aged: Aged,
    /// Tasks that are gone and whose receipts stay for ever.
    pub tombstones: u64,
    /// Steps whose tasks are not known, and why; their receipts stay.
    pub unjudged: Vec<(String, String)>,
    /// Logs.
    pub logs: Vec<Old>,
    /// What was moved aside: somebody's bytes.
    pub displaced: Vec<Old>,
    /// Calls whose bodies are ended: they are not sent again, and can no longer be replayed.
    pub bodies: u64,
    /// Remembered digests of files that are gone.
    pub digests: u64,
    /// What did not work, and harms nothing.
    pub complaints: Vec<String>,
}

/// A file or folder that is old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Old {
    /// Its path.
    pub path: PathBuf,
    /// Its size, with all that is in it.
    pub bytes: u64,
    /// How many files that is.
    pub files: u64,
}

/// Ends what is older than `keep`, or only says what that is.
///
/// # Errors
/// If the file contradicts itself, somebody is at work, or something cannot be read
/// or written.
pub fn gc(setting: &Setting<'_>, keep: Duration, ends: bool) -> Result<Ended, CannotBegin> {
    let home = Home::in_folder(setting.disk.root());
    let no_manifest = |error: ManifestError| CannotBegin::Manifest { path: home.manifest(), error };
    if !home.manifest().exists() {
        return Err(no_manifest(ManifestError::Absent));
    }
    let access = Access::share(&home, &holder_of(setting))?;
    let mut manifest = SqliteManifest::open(&home.manifest()).map_err(no_manifest)?;
    access.fence(&mut manifest).map_err(no_manifest)?;
    // What is shown is what is then; what is ended must not change meanwhile.
    let _leases = if ends { hold(setting, &home)? } else { Vec::new() };
    only_file(setting, &manifest)?;
    let asked = Asked::default();
    let (digests, outputs) = (Digests::at(home.digests(), true), HashSet::new());
    let site = site_for_looking(setting, &home, &digests, &outputs, &asked);
    let at = Timestamp::now();
    let before = at.checked_sub(keep).unwrap_or(Timestamp::MIN);
    let mut ended = Ended::default();
    let gone = gone(&site, &manifest, &mut ended)?;
    let alive = alive(setting.disk, &home)?;
    let pipeline = &setting.pipeline.name;
    ended.aged =
        manifest.end_what_is_old(pipeline, &gone, &alive, before, at, ends).map_err(no_manifest)?;
    ended.logs = old_logs(setting.disk, &home, &ended.aged, before)?;
    ended.displaced = old_displaced(setting.disk, &home, &ended.aged, before)?;
    ended.bodies = end_bodies(setting, &home, &mut manifest, keep, ends).map_err(no_manifest)?;
    if ends {
        for old in ended.logs.iter().chain(&ended.displaced) {
            end(setting.disk, &old.path)?;
        }
    }
    match digests::forget_gone(&home.digests(), setting.disk, ends) {
        Ok(many) => ended.digests = many,
        Err(error) => {
            ended.complaints.push(format!("the memory of digests cannot be tidied: {error}"));
        }
    }
    let Aged { receipts, attempts, runs, .. } = ended.aged;
    if ends
        && receipts + attempts + runs > 0
        && let Err(error) = manifest.give_back_room()
    {
        ended.complaints.push(format!("the manifest: {error}"));
    }
    Ok(ended)
}

/// Ends the bodies of complete calls that are older than `keep`, or than their rule says. The
/// calls stay for ever: what was paid for is not paid for again.
fn end_bodies(
    setting: &Setting<'_>,
    home: &Home,
    manifest: &mut SqliteManifest,
    keep: Duration,
    ends: bool,
) -> Result<u64, ManifestError> {
    let pipeline = setting.pipeline;
    let now = Timestamp::now();
    let mut old = Vec::new();
    for name in [pipeline.name.as_str(), PROXY] {
        let which = Which {
            pipeline: Some(name.to_owned()),
            states: vec![CallState::Complete],
            ..Which::default()
        };
        for call in manifest.calls(&which)? {
            let rule = pipeline.calls.iter().find_map(|rule| {
                let keep = rule.keep?;
                rule.pattern.matches_url(&call.asked.method, &call.asked.url).then_some(keep)
            });
            let age = now.duration_since(call.ended.unwrap_or(call.sent));
            let is_kept = call.answered.as_ref().is_some_and(|answered| answered.body.is_kept);
            if is_kept && Duration::try_from(age).unwrap_or_default() > rule.unwrap_or(keep) {
                old.push(call.id);
            }
        }
    }
    if ends && !old.is_empty() {
        // Whoever sends takes a body that is there for one that stays.
        let alone = Gate::pass_at(&home.calls_gate())
            .and_then(|gate| is_anybody_sending(home).map(|sends| (!sends).then_some(gate)))
            .map_err(|source| ManifestError::Io {
                doing: "see who sends calls, in",
                path: home.calls(),
                source,
            })?;
        let Some(_alone) = alone else { return Ok(0) };
        for digest in manifest.end_bodies(&old)? {
            // What is left of it is of no use to anybody.
            let _ = std::fs::remove_file(home.body(&digest));
        }
    }
    Ok(old.len() as u64)
}

/// The tasks that are certainly gone and may be done again.
fn gone(
    site: &Site<'_>,
    manifest: &SqliteManifest,
    ended: &mut Ended,
) -> Result<Vec<Slot>, CannotBegin> {
    let pipeline = site.pipeline;
    let listed = now(site, Belief::AsARunDoes(manifest))?;
    let mut present: HashMap<&str, Option<HashSet<TaskName>>> = HashMap::new();
    for (id, step) in pipeline.ids() {
        let tasks = match &listed[id.0] {
            Listed::Tasks(tasks) => {
                let names = tasks.tasks.iter().map(|task| task.name(&step.name, &tasks.instance));
                Some(names.collect())
            }
            Listed::After(maker) => {
                let why = format!("its tasks are known after {}", pipeline.step(*maker).name);
                ended.unjudged.push((step.name.clone(), why));
                None
            }
            Listed::Unknown(Trouble::Broken(why)) => {
                return Err(CannotBegin::Broken(why.clone()));
            }
            Listed::Unknown(trouble) => {
                ended.unjudged.push((step.name.clone(), trouble.title().to_owned()));
                None
            }
        };
        present.insert(&step.name, tasks);
    }
    let mut gone = Vec::new();
    let no_manifest =
        |error: ManifestError| CannotBegin::Manifest { path: site.home.manifest(), error };
    let params_of = params_of_runs(site, manifest).map_err(no_manifest)?;
    let slots = manifest.slots(&pipeline.name).map_err(no_manifest)?;
    for (slot, run, once) in slots {
        let Some(id) = pipeline.step_named(&slot.step) else {
            // What is kept under a former name of a step serves that step.
            let serves = pipeline.steps.iter().any(|step| step.was.contains(&slot.step));
            match (once, serves) {
                (true, _) => ended.tombstones += 1,
                (false, true) => {}
                (false, false) => gone.push(slot),
            }
            continue;
        };
        let step = pipeline.step(id);
        let Some(Some(tasks)) = present.get(&*slot.step) else { continue };
        let item = Some(&*slot.item).filter(|item| !item.is_empty());
        let instance = Instance::from_stored(slot.instance.clone());
        // Whether an item of another instance is there is not asked here.
        if instance != site.params.instance(&step.per)
            || tasks.contains(&TaskName::new(&slot.step, &instance, item))
        {
            continue;
        }
        // What was made with another parameter is not gone, it is another list's.
        if params_of.get(&run).is_some_and(|then| other_param(site, step, then).is_some()) {
            continue;
        }
        if step.once || once {
            ended.tombstones += 1;
        } else {
            gone.push(slot);
        }
    }
    Ok(gone)
}

/// The ids of runs that are at work, or that left something in staging: what was
/// tried once and is not settled.
fn alive(disk: &dyn Disk, home: &Home) -> DiskResult<Vec<String>> {
    let staging = home.staging();
    if disk.look(&staging)?.is_none() {
        return Ok(Vec::new());
    }
    let runs = disk.list(&staging)?.into_iter();
    Ok(runs.map(|entry| entry.name.to_string_lossy().into_owned()).collect())
}

/// Logs that no attempt points to.
fn old_logs(disk: &dyn Disk, home: &Home, aged: &Aged, before: Timestamp) -> DiskResult<Vec<Old>> {
    let wanted = |name: &str| {
        let run = name.strip_suffix(".log").and_then(|number| number.parse().ok());
        run.is_none_or(|run| aged.with_attempts.contains(&run) || aged.alive.contains(&run))
    };
    old_in(disk, home.log(0).parent().unwrap_or(Path::new("")), before, wanted)
}

/// What was moved aside, but by runs that are at work: they may still put it back.
fn old_displaced(
    disk: &dyn Disk,
    home: &Home,
    aged: &Aged,
    before: Timestamp,
) -> DiskResult<Vec<Old>> {
    let wanted = |name: &str| name.parse().is_ok_and(|run| aged.alive.contains(&run));
    old_in(disk, home.displaced(0).parent().unwrap_or(Path::new("")), before, wanted)
}

/// Removes a file or folder. It is given another name first: what is half removed
/// looks young, and would stay.
fn end(disk: &dyn Disk, path: &Path) -> DiskResult<()> {
    let name = path.file_name().unwrap_or_default();
    if name.as_bytes().starts_with(ENDED.as_bytes()) {
        return disk.remove_all(path);
    }
    let mut ended = OsString::from(ENDED);
    ended.push(name);
    let ended = path.with_file_name(ended);
    disk.remove_all(&ended)?;
    disk.rename_new(path, &ended)?;
    disk.remove_all(&ended)
}

/// What in a folder was last changed before a moment, and is not wanted. What is
/// moved into a folder changes its time.
fn old_in(
    disk: &dyn Disk,
    folder: &Path,
    before: Timestamp,
    wanted: impl Fn(&str) -> bool,
) -> DiskResult<Vec<Old>> {
    let mut old = Vec::new();
    if disk.look(folder)?.is_none() {
        return Ok(old);
    }
    for entry in disk.list(folder)? {
        let path = folder.join(&entry.name);
        let name = entry.name.to_string_lossy();
        if !name.starts_with(ENDED) && wanted(&name) {
            continue;
        }
        let Some(meta) = disk.look_at_link(&path)? else { continue };
        let was_ended = entry.name.as_bytes().starts_with(ENDED.as_bytes());
        if !was_ended && i128::from(meta.stat.mtime) > before.as_nanosecond() {
            continue;
        }
        let (mut bytes, mut files) = (0, 0);
        if meta.kind == Kind::Folder {
            for (name, kind) in digests::tree(disk, &path)? {
                if kind != Kind::Folder {
                    let meta = disk.look_at_link(&path.join(name))?;
                    bytes += meta.map_or(0, |meta| meta.stat.size);
                    files += 1;
                }
            }
        } else {
            (bytes, files) = (meta.stat.size, 1);
        }
        old.push(Old { path, bytes, files });
    }
    old.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(old)
}
