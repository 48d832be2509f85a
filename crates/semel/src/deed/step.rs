//! A step of a script: one task, looked at and, unless it is done, brought to its state.
//!
//! Most steps of most runs are done already. So a glance comes first, which begins
//! nothing, takes no lease and writes nothing; only what it does not find done is worth a
//! run, or a part in the script's.
//!
//! Invariant: *I5* a glance changes nothing. Where it is not certain that all is as it
//! should be (the memory, what dead runs left), it says nothing, and the run finds out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::deed::look::{Hints, Known, look};
use crate::deed::run::{Setting, TaskPart, plain_outputs, site_for_looking};
use crate::deed::view::{Before, Hold, Manner, StepView};
use crate::deed::{Asked, lease, memory};
use crate::ground::digests::Digests;
use crate::ground::home::Home;
use crate::ground::manifest::StepMemory;
use crate::ground::manifest::sqlite::peek::Peek;
use crate::ground::world::process::Stop;
use crate::thought::plan;
use crate::words::pipeline::{EachSource, StepId};
use crate::words::task::TaskName;
use crate::words::verdict::{Ruling, Verdict};

mod said;

pub use said::Said;

/// The verdict on a task, if it is certainly done; `None` if that takes more than a look.
/// What cannot be read is not certain: the run says why.
#[must_use]
pub fn glance(setting: &Setting<'_>, part: &TaskPart<'_>) -> Option<Verdict> {
    let Setting { pipeline, params, disk, .. } = *setting;
    let home = Home::in_folder(disk.root());
    if memory::doubted(&home).is_err() || has_remains(&home, part) {
        return None;
    }
    let peek = Peek::at(&home.manifest())?;
    let (receipt, at) = peek.at_rest(&pipeline.name, part.task).ok()??;
    let holds = || peek.holds();
    let step = pipeline.step(StepId(0));
    // Whoever wrote to once.log and died before the manifest knew is heard first.
    if step.once && !memory::knows_all(disk, &home, &peek.manifest).ok()? {
        return None;
    }
    let item = receipt.item.to_string();
    let memory = StepMemory { receipts: vec![receipt], ..StepMemory::default() };
    let (digests, asked) = (Digests::one_by_one(home.digests()), Asked::default());
    let outputs = plain_outputs(pipeline, params, disk.root());
    // A verdict that asks for more than this receipt is none to skip, and what else may
    // be forgotten does not matter.
    let site = site_for_looking(setting, &home, &digests, &outputs, &asked);
    let (memory, hold) = (Arc::new(memory), Arc::new(Hold::Ours));
    let manner = Manner::default();
    let stop = Stop::new().ok()?;
    let view = StepView::prepare(&site, StepId(0), &Before::default(), memory, hold, manner, &stop);
    let mut view = view.ok()?;
    view.ages.receipts.insert(item, at);
    let items = step.each.as_ref().and_then(|each| match &each.source {
        EachSource::Said(items) => Some(items.clone()),
        _ => None,
    });
    let tasks = plan::tasks(step, items, params, disk.root()).ok()?;
    let [task] = &*tasks.tasks else {
        return None;
    };
    let looked =
        look(&site, &view, task, Known::default(), manner, &stop, &mut Hints::default()).ok()?;
    let is_done = looked.verdict.ruling == Ruling::Skip && holds();
    is_done.then_some(looked.verdict)
}

/// Notes that a step that stands alone was looked at and found done: no run tells of it.
/// Whoever watches over it wants to know that it was come to; a power cut may cost that.
///
/// # Errors
/// If it cannot be noted.
pub fn note_look(home: &Home, task: &TaskName) -> std::io::Result<()> {
    let path = home.looked_at(task);
    let touch = || {
        let file = std::fs::File::options().write(true).create(true).truncate(false).open(&path)?;
        file.set_modified(std::time::SystemTime::now())
    };
    match touch() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(home.path()))?;
            touch()
        }
        touched => touched,
    }
}

/// When a step that stands alone was found done last, by a look.
#[must_use]
pub fn last_look(home: &Home, task: &TaskName) -> Option<Timestamp> {
    let time = std::fs::metadata(home.looked_at(task)).ok()?.modified().ok()?;
    Timestamp::try_from(time).ok()
}

/// Whether a run that is dead left something; of the script's own run nothing is.
fn has_remains(home: &Home, part: &TaskPart<'_>) -> bool {
    let runs = std::fs::read_dir(home.staging()).into_iter().flatten().flatten();
    let own = part.script.map(|(script, _)| &*script.run_id);
    runs.map(|run| run.file_name().to_string_lossy().into_owned())
        .filter(|name| own != Some(name))
        .any(|name| !lease::is_held(&home.run_lock(&name)).unwrap_or(false))
}
