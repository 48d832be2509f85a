//! Rows, held against their receipts: whether the stamp is there, and as many rows as it
//! tells of.

use std::collections::HashMap;

use super::{Known, Subjects};
use crate::deed::Site;
use crate::deed::databases::{Purpose, watch};
use crate::deed::rows::Rows;
use crate::ground::database::count;
use crate::ground::manifest::{Manifest, ManifestError};
use crate::ground::world::process::Stop;
use crate::words::pipeline::StepId;
use crate::words::receipt::FileRecord;
use crate::words::row_stamp::RowStamp;
use crate::words::task::TaskName;

/// Rows that were counted anew.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The task whose receipt speaks of them.
    pub task: TaskName,
    /// The run that wrote that receipt.
    pub run: i64,
    /// Whether the task is unsafe to repeat.
    pub once: bool,
    /// The rows as the receipt has them.
    pub rows: FileRecord,
    /// What was found.
    pub found: Found,
}

/// What counting rows anew showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// They are there, or as far as can be told: nothing tells them from others.
    Same,
    /// Their stamp is not there, or its table.
    NoStamp,
    /// There are so many.
    Others(u64),
    /// The database cannot be asked; why.
    CannotTell(String),
}

/// A task with rows to count.
pub(super) struct ToCount {
    task: TaskName,
    run: i64,
    id: StepId,
    once: bool,
    rows: FileRecord,
}

impl Subjects<'_> {
    /// The rows that receipts of present tasks speak of.
    pub(super) fn rows(&self, manifest: &dyn Manifest) -> Result<Vec<ToCount>, ManifestError> {
        let pipeline = self.site.pipeline;
        let mut found = Vec::new();
        for (task, Known { run, id, at }) in &self.known {
            let step = pipeline.step(*id);
            if step.database().is_none() || at.is_none() {
                continue;
            }
            let kept = self.former.iter().find(|(_, now)| *now == task).map(|(kept, _)| kept);
            let (name, kept) = kept.map_or((&pipeline.name, task), |(name, kept)| (name, kept));
            let receipt = manifest.receipt(name, kept)?;
            let rows = receipt.as_ref().and_then(|receipt| receipt.rows().next());
            found.extend(rows.map(|rows| ToCount {
                task: task.clone(),
                run: *run,
                id: *id,
                once: step.once,
                rows: rows.clone(),
            }));
        }
        found.sort_by(|a, b| (a.id, &a.task.item).cmp(&(b.id, &b.task.item)));
        Ok(found)
    }
}

/// Counts rows anew.
pub(super) fn count_all(site: &Site<'_>, tasks: Vec<ToCount>, stop: &Stop) -> Vec<Counted> {
    let mut steps: HashMap<StepId, Result<Rows, String>> = HashMap::new();
    let counted = tasks.into_iter().map(|to_count| {
        let step = site.pipeline.step(to_count.id);
        let rows = steps.entry(to_count.id).or_insert_with(|| {
            let rows = Rows::of(site, step, &to_count.task.instance, stop);
            rows.map(Option::unwrap_or_default).map_err(|trouble| trouble.title().to_owned())
        });
        let found = match rows {
            Ok(rows) => find(site, step.database().unwrap_or_default(), rows, &to_count, stop),
            Err(why) => Found::CannotTell(why.clone()),
        };
        let ToCount { task, run, once, rows, .. } = to_count;
        Counted { task, run, once, rows, found }
    });
    counted.collect()
}

fn find(site: &Site<'_>, db: &str, rows: &Rows, to_count: &ToCount, stop: &Stop) -> Found {
    let known = |stamp: &RowStamp| stamp.digest() == to_count.rows.digest;
    let own = rows.of_item(to_count.task.item.as_deref()).filter(|known| !known.is_void);
    let Some(stamp) = own.map(|own| own.stamp).filter(known) else {
        return Found::NoStamp;
    };
    let (Some(loaded), Some(found_by)) = (stamp.rows, &stamp.found_by) else {
        return Found::Same;
    };
    let asked = watch(stop, None)
        .and_then(|watch| site.databases.session(db, Purpose::Look, watch))
        .and_then(|mut session| count(&mut *session, &stamp.table, Some(found_by)));
    match asked {
        Ok(there) if there == loaded => Found::Same,
        Ok(there) => Found::Others(there),
        Err(error) => Found::CannotTell(error.text),
    }
}
