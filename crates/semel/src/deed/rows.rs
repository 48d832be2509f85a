//! Rows, as they are seen: the stamps of a step, and whether what they tell of is there.
//!
//! Invariant: a stamp is believed only together with its table. One that is gone, or
//! empty though its stamps tell of rows, voids them; of one that was made anew under its
//! name the rows are counted.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use crate::deed::databases::{Purpose, failure, watch};
use crate::deed::{Site, Trouble};
use crate::ground::database::{DbResult, ErrorKind, Session, count, has_rows, stamps};
use crate::ground::world::process::Stop;
use crate::thought::retry;
use crate::words::digest::Digest;
use crate::words::pipeline::Step;
use crate::words::row_stamp::RowStamp;
use crate::words::task::Instance;

/// What is known of the rows of a step.
#[derive(Debug, Default)]
pub struct Rows(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The stamps, by their items; those under a former name, too.
    stamps: HashMap<Option<String>, Stamped>,
    /// The items of the stamps, by what was done.
    by_what: HashMap<Digest, Vec<Option<String>>>,
    /// Tables that are empty though stamps tell of rows in them.
    emptied: HashSet<String>,
}

/// A stamp, as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamped {
    /// The stamp.
    pub stamp: RowStamp,
    /// Whether the rows that it tells of are not there.
    pub is_void: bool,
}

impl Rows {
    /// Asks the database of a step for its stamps.
    ///
    /// # Errors
    /// If it cannot be asked, after as many tries as the step has.
    pub fn of(
        site: &Site<'_>,
        step: &Step,
        instance: &Instance,
        stop: &Stop,
    ) -> Result<Option<Self>, Trouble> {
        let Some(db) = step.database() else { return Ok(None) };
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match known(site, step, instance, db, stop) {
                Ok(known) => return Ok(Some(Self(Mutex::new(known)))),
                Err(error) => error,
            };
            let pause = retry::pause(&step.retry, tries, 1.0)
                .filter(|_| error.kind == ErrorKind::Unreachable && !stop.is_pulled());
            match pause {
                Some(pause) => stop.wait(pause),
                None => {
                    let tries = if tries > 1 { format!(", {tries} tries") } else { String::new() };
                    return Err(Trouble::Broken(format!("{}{tries}", failure(error))));
                }
            }
        }
    }

    /// The stamp of an item.
    #[must_use]
    pub fn of_item(&self, item: Option<&str>) -> Option<Stamped> {
        self.0
            .lock()
            .expect("nobody panics while holding it")
            .stamps
            .get(&item.map(str::to_owned))
            .cloned()
    }

    /// The stamps of all items for which this was done.
    #[must_use]
    pub fn of_what(&self, what: &Digest) -> Vec<RowStamp> {
        let known = self.0.lock().expect("nobody panics while holding it");
        let items = known.by_what.get(what).into_iter().flatten();
        let stamps = items.filter_map(|item| known.stamps.get(item));
        let stamps = stamps.filter(|known| known.stamp.fingerprint.what == *what);
        stamps.filter(|known| !known.is_void).map(|known| known.stamp.clone()).collect()
    }

    /// Whether a table is empty though stamps tell of rows in it.
    #[must_use]
    pub fn is_emptied(&self, table: &str) -> bool {
        self.0.lock().expect("nobody panics while holding it").emptied.contains(table)
    }

    /// Notes that the stamps of an emptied table were voided.
    pub fn forget_emptied(&self, table: &str) {
        let mut known = self.0.lock().expect("nobody panics while holding it");
        known.emptied.remove(table);
        known.stamps.retain(|_, known| !(known.is_void && known.stamp.table == table));
    }

    /// Notes that an item has no stamp any more.
    pub fn forget(&self, item: Option<&str>) {
        let mut known = self.0.lock().expect("nobody panics while holding it");
        known.stamps.remove(&item.map(str::to_owned));
    }

    /// Notes a stamp that was written, or found to be there.
    pub fn note(&self, stamp: RowStamp) {
        let mut known = self.0.lock().expect("nobody panics while holding it");
        known.take(Stamped { stamp, is_void: false });
    }
}

impl Known {
    fn take(&mut self, stamped: Stamped) {
        let item = stamped.stamp.task.item.clone();
        let of_what = self.by_what.entry(stamped.stamp.fingerprint.what).or_default();
        if !of_what.contains(&item) {
            of_what.push(item.clone());
        }
        self.stamps.insert(item, stamped);
    }
}

fn known(
    site: &Site<'_>,
    step: &Step,
    instance: &Instance,
    db: &str,
    stop: &Stop,
) -> DbResult<Known> {
    let mut session = site.databases.session(db, Purpose::Look, watch(stop, step.timeout)?)?;
    let mut known = Known::default();
    if !stamps::are_there(&mut *session)? {
        return Ok(known);
    }
    // The present name comes last, so that its stamps are those that count.
    let pipelines = site.pipeline.was.iter().chain([&site.pipeline.name]);
    for pipeline in pipelines {
        for name in step.was.iter().chain([&step.name]) {
            let stamps = stamps::of_step(&mut *session, pipeline, name, instance)?;
            for stamp in stamps.into_iter().filter(|stamp| !stamp.is_voided()) {
                known.take(Stamped { stamp, is_void: false });
            }
        }
    }
    find_void(&mut *session, &mut known)?;
    Ok(known)
}

/// Finds the stamps whose rows are not there.
fn find_void(session: &mut dyn Session, known: &mut Known) -> DbResult<()> {
    let tables: HashSet<_> = known
        .stamps
        .values()
        .map(|known| known.stamp.table.clone())
        .filter(|table| !table.is_empty())
        .collect();
    for name in tables {
        let of_table =
            |stamped: &Stamped| stamped.stamp.table == name && stamped.stamp.rows != Some(0);
        let Some(table) = session.table(&name)? else {
            known
                .stamps
                .values_mut()
                .filter(|known| known.stamp.table == name)
                .for_each(|known| known.is_void = true);
            continue;
        };
        if !known.stamps.values().any(of_table) {
            continue;
        }
        if !has_rows(session, &name)? {
            known.emptied.insert(name.clone());
            known
                .stamps
                .values_mut()
                .filter(|known| of_table(known))
                .for_each(|known| known.is_void = true);
            continue;
        }
        // Another table of the name: what was restored from a backup has the rows, what was
        // dropped and made anew has not. As many as all stamps tell of are their own.
        let mut strangers = known
            .stamps
            .values()
            .filter(|known| known.stamp.table == name && known.stamp.identity != table.identity);
        let all_told = known
            .stamps
            .values()
            .filter(|known| known.stamp.table == name && known.stamp.shares.is_none());
        let all_told: Option<u64> = all_told.map(|known| known.stamp.rows).sum();
        if strangers.next().is_none() || all_told == Some(count(session, &name, None)?) {
            continue;
        }
        let strangers = known.stamps.values_mut().filter(|known| {
            known.stamp.table == name
                && known.stamp.identity != table.identity
                && known.stamp.shares.is_none()
        });
        for stranger in strangers {
            let stamp = &stranger.stamp;
            let found_by = stamp.found_by.as_deref();
            let there = count(session, &name, found_by)?;
            stranger.is_void = match (stamp.rows, found_by) {
                (Some(rows), Some(_)) => there != rows,
                (Some(rows), None) => there < all_told.unwrap_or(rows),
                (None, _) => false,
            };
        }
    }
    void_sharers(known);
    Ok(())
}

/// Whoever shares rows has none where their owner has none.
fn void_sharers(known: &mut Known) {
    let there = known.stamps.values().filter(|known| !known.is_void);
    let there: HashSet<_> = there.map(|known| known.stamp.slot()).collect();
    for known in known.stamps.values_mut() {
        known.is_void |= known.stamp.shares.is_some_and(|slot| !there.contains(&slot));
    }
}

/// What was seen of the rows of one task that is to be acted on.
#[derive(Clone, Debug, Default)]
pub struct SeenRows {
    /// Its stamp, of whatever version.
    pub stamped: Option<Stamped>,
    /// Its stamp under a former name of the step, or of the pipeline.
    pub before: Option<RowStamp>,
    /// Whether its receipt says that they were loaded.
    pub has_receipt: bool,
}
