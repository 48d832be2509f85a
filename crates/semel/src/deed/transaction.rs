//! A transaction: a script or a load, with its stamp, whole or not at all.
//!
//! In order: what can be seen to break it is refused; begin; the fence; the stamp, where
//! whoever does the same waits before any work is done; the rows of the version before
//! go; the data; what is expected of it; the stamp is completed; commit; the explicit
//! check.
//!
//! Invariants: *I11* rows and their stamp are committed together, so that either tells of
//! the other. Whether a commit happened that nobody answered is never looked up, since it
//! may still be under way: the transaction is tried again with the same stamp, and waits
//! for it there. No row is deleted of which a stamp does not tell.
//!
//! *If we die here*, the connection takes the transaction with it, and the next run does
//! it again, or finds its stamp.

mod load;
mod script;
mod typed;

use std::time::{Duration, Instant};

pub(in crate::deed) use self::typed::as_typed;
use crate::deed::act::{Job, Workshop};
use crate::deed::databases::{Lent, Purpose, failure, watch};
use crate::deed::inputs::{self, Change};
use crate::deed::{Site, check, rows};
use crate::ground::database::stamps::{self, Claim, Fence};
use crate::ground::database::{DbError, ErrorKind, Session};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::words::path::show;
use crate::words::pipeline::{ActionKind, Load, Probe, Same};
use crate::words::receipt::{Failure, FileRecord, FileRole};
use crate::words::row_stamp::{self, RowStamp};
use crate::words::sql::Atomicity;

/// How often a transaction is tried again that was given up for another, or whose commit
/// nobody answered.
const TRIES: u32 = 8;

/// The first pause before it is.
const PAUSE: Duration = Duration::from_millis(50);

/// What a transaction left.
#[derive(Debug)]
pub struct Left {
    /// The stamp of its rows.
    pub stamp: RowStamp,
    /// How long it took.
    pub took: Duration,
}

/// Why a transaction left nothing.
#[derive(Debug)]
pub enum Wrong {
    /// It failed, and did nothing.
    Failed(Failure),
    /// It may have done something: the database cannot be asked any more, or does such
    /// things in pieces.
    Unsettled(Failure),
    /// An input changed meanwhile.
    Void(std::path::PathBuf),
    /// It was stopped.
    Stopped,
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A transaction that is to be done.
struct Transaction<'a> {
    workshop: &'a Workshop<'a>,
    job: &'a Job<'a>,
    run: i64,
    stop: &'a Stop,
    /// Whether a human said to do it again, whatever the rows look like.
    said_redo: bool,
    /// When it took too long.
    deadline: Option<Instant>,
}

/// What ended a try.
enum Ended {
    /// The database, before anything was committed.
    Database(DbError),
    /// The database, while it was committing: it may have.
    InDoubt(DbError),
    /// Something else.
    Wrong(Wrong),
}

impl From<DbError> for Ended {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

impl From<Wrong> for Ended {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Wrong(failure.into())
    }
}

/// What makes the rows.
enum Work<'a> {
    Script(script::Script),
    Load(load::Loading<'a>),
}

/// Does the transaction of a task.
///
/// # Errors
/// Why it left nothing.
pub fn act(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    run: i64,
    said_redo: bool,
    stop: &Stop,
) -> Result<Left, Wrong> {
    let began = Instant::now();
    let deadline = job.view.step.timeout.map(|limit| began + limit);
    let transaction = Transaction { workshop, job, run, stop, said_redo, deadline };
    let stamp = transaction.until_settled()?;
    if let Some(rows) = &job.view.rows {
        rows.note(stamp.clone());
    }
    transaction.ask_check()?;
    Ok(Left { stamp, took: began.elapsed() })
}

/// Stamps rows that were found in place, where they have no stamp: their check holds, or
/// a human said that they are there. Gives the stamp.
///
/// # Errors
/// If they cannot be.
pub fn accept(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    run: i64,
    stop: &Stop,
) -> Result<RowStamp, Failure> {
    let seen = &job.sight.rows;
    // That of another version tells of other rows than those that are accepted.
    let is_of_this =
        |stamp: &RowStamp| stamp.is_whole && stamp.fingerprint.what == job.sight.fingerprint.what;
    if let Some(known) =
        seen.stamped.as_ref().filter(|known| !known.is_void && is_of_this(&known.stamp))
    {
        return Ok(known.stamp.clone());
    }
    // Those of an item of equal content are its own, too.
    let present = &job.sight.fingerprint;
    let others = job.view.rows.iter().flat_map(|rows| rows.of_what(&present.what));
    if job.view.step.same == Some(Same::Content)
        && let Some(other) = others.into_iter().find(|stamp| stamp.proves(present, true))
    {
        return Ok(other);
    }
    let deadline = job.view.step.timeout.map(|limit| Instant::now() + limit);
    let transaction = Transaction { workshop, job, run, stop, said_redo: false, deadline };
    let stamp = transaction.accept().map_err(|ended| match ended {
        Ended::Database(error) | Ended::InDoubt(error) => failure(error),
        Ended::Wrong(Wrong::Failed(failure) | Wrong::Unsettled(failure)) => failure,
        Ended::Wrong(Wrong::Void(path)) => {
            Failure::BadInput(format!("its input {} changed", show(&path)))
        }
        Ended::Wrong(Wrong::Stopped) => Failure::Broken("it was stopped".to_owned()),
    })?;
    if let Some(rows) = &job.view.rows {
        rows.note(stamp.clone());
    }
    Ok(stamp)
}

/// The stamp's rows as a receipt tells of them.
#[must_use]
pub fn record(site: &Site<'_>, job: &Job<'_>, stamp: &RowStamp) -> FileRecord {
    let db = job.view.step.database().unwrap_or_default();
    let address = site.databases.address(db).map(|address| address.to_string());
    FileRecord {
        role: FileRole::Rows,
        name: stamp.table.clone(),
        path: address.unwrap_or_default().into(),
        bytes: 0,
        rows: stamp.rows,
        digest: stamp.digest(),
        by_stat: false,
    }
}

impl Transaction<'_> {
    fn site(&self) -> &Site<'_> {
        self.workshop.site
    }

    fn db(&self) -> &str {
        self.job.view.step.database().unwrap_or_default()
    }

    fn load(&self) -> Option<&Load> {
        match self.job.view.step.action.as_ref().map(|action| &action.kind) {
            Some(ActionKind::Load(load)) => Some(load),
            _ => None,
        }
    }

    fn bindings(&self) -> Bindings<'_> {
        let Job { view, task, .. } = self.job;
        Bindings { for_command: false, ..view.bindings(self.site(), task, &[], &[]) }
    }

    /// Tries until the database has said what became of it.
    fn until_settled(&self) -> Result<RowStamp, Wrong> {
        let mut pause = PAUSE;
        let mut in_doubt = false;
        for tries in 1.. {
            let error = match self.once() {
                Ok(stamp) => return Ok(stamp),
                // What went wrong before a commit that is in doubt says nothing of it.
                Err(Ended::Wrong(Wrong::Failed(failure))) if in_doubt => {
                    return Err(Wrong::Unsettled(failure));
                }
                Err(Ended::Wrong(wrong)) => return Err(wrong),
                Err(Ended::InDoubt(error)) => {
                    in_doubt = true;
                    error
                }
                Err(Ended::Database(error)) => error,
            };
            let is_over = self.stop.is_pulled()
                || self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let is_tried_again = match error.kind {
                ErrorKind::Conflict => true,
                ErrorKind::Unreachable => in_doubt,
                _ => false,
            };
            if is_tried_again && !is_over && tries < TRIES {
                self.stop.wait(pause);
                pause *= 2;
                continue;
            }
            return Err(match error.kind {
                ErrorKind::Stopped if !in_doubt => Wrong::Stopped,
                _ if in_doubt => {
                    let what =
                        format!("{error}; whether it was committed, its stamp tells the next run");
                    Wrong::Unsettled(Failure::Broken(what))
                }
                ErrorKind::TimedOut => {
                    let limit = self.job.view.step.timeout.unwrap_or_default();
                    let limit = crate::words::clock(limit);
                    Wrong::Failed(Failure::Sql(format!("timed out after {limit}: {error}")))
                }
                _ => Wrong::Failed(failure(error)),
            });
        }
        Err(Wrong::Stopped)
    }

    fn session(&self) -> Result<(Lent<'_>, Fence), Ended> {
        let limit =
            self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let watch = watch(self.stop, limit)?;
        let databases = &self.site().databases;
        let mut session = databases.session(self.db(), Purpose::Act, watch)?;
        let fence = databases.make_ready(self.site(), self.run, &mut session)?;
        Ok((session, fence))
    }

    /// Tries once.
    fn once(&self) -> Result<RowStamp, Ended> {
        let (mut session, fence) = self.session()?;
        let work = self.prepare(&mut *session)?;
        if let Work::Script(script) = &work
            && script.atomicity == Atomicity::Piecemeal
        {
            return self.piece_by_piece(&mut *session, &fence, script);
        }
        let stamp = self.stamp(&work)?;
        self.void_emptied(&mut *session, &stamp.table)?;
        session.begin()?;
        let done = self.within(&mut *session, &fence, &work, stamp);
        match done {
            Ok(Some(stamp)) => match session.commit() {
                Ok(()) => Ok(stamp),
                Err(error) => {
                    session.rollback();
                    // It was not asked to commit what it says no to.
                    Err(match error.kind {
                        ErrorKind::Unreachable | ErrorKind::Stopped | ErrorKind::TimedOut => {
                            Ended::InDoubt(error)
                        }
                        _ => Ended::Database(error),
                    })
                }
            },
            Ok(None) => {
                session.rollback();
                let slot = row_stamp::slot(&self.site().pipeline.name, &self.task_name());
                let found = stamps::lock(&mut *session, &slot)?;
                found.ok_or_else(|| {
                    Ended::Database(DbError::new(ErrorKind::Conflict, "its stamp is gone again"))
                })
            }
            Err(ended) => {
                session.rollback();
                Err(ended)
            }
        }
    }

    fn task_name(&self) -> crate::words::task::TaskName {
        let Job { view, task, .. } = self.job;
        task.name(&view.step.name, &view.instance)
    }

    /// What is to be done, and whether it can be: nothing is begun yet.
    fn prepare(&self, session: &mut dyn Session) -> Result<Work<'_>, Ended> {
        match self.job.view.step.action.as_ref().map(|action| &action.kind) {
            Some(ActionKind::Sql(sql)) => {
                let engine = session.address().engine;
                Ok(Work::Script(script::Script::of(self, engine, sql)?))
            }
            Some(ActionKind::Load(load)) => Ok(Work::Load(load::Loading::of(self, session, load)?)),
            _ => Err(Failure::Broken("the step has no transaction".to_owned()).into()),
        }
    }

    /// The stamp that is written, but for the rows that there will be.
    fn stamp(&self, work: &Work<'_>) -> Result<RowStamp, Ended> {
        let (table, identity, found_by) = match work {
            Work::Script(_) => (String::new(), String::new(), None),
            Work::Load(load) => (load.table.clone(), load.identity.clone(), load.found_by.clone()),
        };
        Ok(RowStamp {
            pipeline: self.site().pipeline.name.clone(),
            task: self.task_name(),
            fingerprint: self.job.sight.fingerprint,
            rows: None,
            table,
            identity,
            found_by,
            is_whole: true,
            run: self.site().run_id.to_owned(),
        })
    }

    /// All that is done within the transaction. Gives the stamp that is to be committed,
    /// or none where somebody else was quicker.
    fn within(
        &self,
        session: &mut dyn Session,
        fence: &Fence,
        work: &Work<'_>,
        mut stamp: RowStamp,
    ) -> Result<Option<RowStamp>, Ended> {
        self.stand_behind(session, fence)?;
        match stamps::claim(session, &stamp)? {
            Claim::First => self.first(session, &stamp, false)?,
            Claim::Taken(found) if found.is_voided() && found.table == stamp.table => {
                self.first(session, &stamp, true)?;
            }
            Claim::Taken(found) => {
                if self.was_done_meanwhile(&found, &stamp) {
                    return Ok(None);
                }
                self.supersede(session, &found, &stamp)?;
            }
        }
        let rows = match work {
            Work::Script(script) => script.run(session)?,
            Work::Load(load) => load.copy(self, session)?,
        };
        stamp.rows = Some(rows);
        match inputs::changed(self.site(), self.job)? {
            Some(Change::Bytes(path)) => return Err(Wrong::Void(path).into()),
            Some(Change::Rewritten(path)) if !self.job.takes_rewritten => {
                return Err(Wrong::Void(path).into());
            }
            Some(Change::Rewritten(_)) | None => {}
        }
        stamps::replace(session, &stamp)?;
        self.check_within(session)?;
        if !session.is_in_transaction()? {
            let why = "it ended the transaction it was in: what it did may be half done";
            return Err(Wrong::Unsettled(Failure::Refused(why.to_owned())).into());
        }
        Ok(Some(stamp))
    }

    /// Fails unless our token is the one that is asked for, until the end of the
    /// transaction.
    fn stand_behind(&self, session: &mut dyn Session, fence: &Fence) -> Result<(), Ended> {
        let asked = stamps::token(session, fence)?;
        if asked.is_none_or(|token| token <= fence.token) {
            return Ok(());
        }
        let why = format!("{}: its lease was taken over, nothing is written", session.address());
        Err(Failure::Broken(why).into())
    }

    /// Whether a stamp is of what is to be done, and was written since the task was looked
    /// at: by somebody else, or by ourselves in a commit that nobody answered. One that was
    /// seen then was no reason not to do it.
    fn was_done_meanwhile(&self, found: &RowStamp, wanted: &RowStamp) -> bool {
        let seen = self.job.sight.rows.stamped.as_ref().map(|seen| &seen.stamp);
        found.proves(&wanted.fingerprint, self.job.view.step.once) && seen != Some(found)
    }

    /// Whether a stamp was seen to tell of rows that are not there, and is still the
    /// same.
    fn is_void(&self, found: &RowStamp) -> bool {
        let seen = self.job.sight.rows.stamped.as_ref();
        seen.is_some_and(|seen| seen.is_void && seen.stamp == *found)
    }

    /// There was no stamp of the task, or one that was voided: are there rows of it all the
    /// same?
    fn first(
        &self,
        session: &mut dyn Session,
        stamp: &RowStamp,
        was_voided: bool,
    ) -> Result<(), Ended> {
        if let Some(before) = self.before(session)? {
            self.delete_rows(session, &before, stamp)?;
            if before.slot() != stamp.slot() {
                stamps::remove(session, &before.slot())?;
            }
            return Ok(());
        }
        if stamp.table.is_empty() || self.said_redo && stamp.found_by.is_none() {
            return Ok(());
        }
        let Some(found_by) = &stamp.found_by else {
            let says_loaded = self.job.sight.rows.has_receipt;
            if says_loaded && !was_voided && rows::has_rows(session, &stamp.table)? {
                let why = format!(
                    "its stamp is gone, and {} has rows: whether they are its own cannot be told",
                    stamp.table
                );
                return Err(Failure::Refused(why).into());
            }
            return Ok(());
        };
        let there = rows::count(session, &stamp.table, Some(found_by))?;
        if there == 0 {
            return Ok(());
        }
        let receipt = self.receipt_rows()?;
        if self.said_redo || receipt == Some(there) {
            return self.delete(session, &stamp.table, found_by, there);
        }
        let what = rows_of(there);
        let why = match self.load().is_some_and(|load| load.replaces_all) {
            true => format!("{} has {what} already that this task did not load", stamp.table),
            false => format!(
                "{} has {what} already that this task did not load, where {found_by}",
                stamp.table
            ),
        };
        Err(Failure::Refused(why).into())
    }

    /// The stamp of the version before under another name, locked, if it is still there.
    fn before(&self, session: &mut dyn Session) -> Result<Option<RowStamp>, Ended> {
        let seen = &self.job.sight.rows;
        let own = seen.stamped.as_ref().filter(|known| !known.is_void).map(|known| &known.stamp);
        let Some(before) = seen.before.as_ref().or(own) else { return Ok(None) };
        Ok(stamps::lock(session, &before.slot())?.filter(|found| found == before))
    }

    fn receipt_rows(&self) -> Result<Option<u64>, Ended> {
        let site = self.site();
        let task = self.task_name();
        let receipt = site.ask_manifest(|manifest| manifest.receipt(&site.pipeline.name, &task));
        let receipt = receipt.map_err(Failure::from)?;
        Ok(receipt.and_then(|receipt| receipt.rows().find_map(|rows| rows.rows)))
    }

    /// A new version of the task takes the place of an old one.
    fn supersede(
        &self,
        session: &mut dyn Session,
        old: &RowStamp,
        new: &RowStamp,
    ) -> Result<(), Ended> {
        if self.is_void(old) || !old.is_whole || new.table.is_empty() {
            return Ok(());
        }
        if let Some(other) = &self.job.sight.rows.shared_with {
            let slot = row_stamp::slot(&old.pipeline, other);
            if stamps::lock(session, &slot)?.is_none() {
                return self.hand_over(session, old, other);
            }
        }
        self.delete_rows(session, old, new)
    }

    /// Deletes the rows that a stamp tells of: as many as it tells of.
    fn delete_rows(
        &self,
        session: &mut dyn Session,
        old: &RowStamp,
        new: &RowStamp,
    ) -> Result<(), Ended> {
        if old.table != new.table {
            let why = format!(
                "an older version of it was loaded into {}, and this one goes into {}: \
                 what becomes of the old rows?",
                old.table, new.table
            );
            return if self.said_redo { Ok(()) } else { Err(Failure::Refused(why).into()) };
        }
        if old.rows == Some(0) {
            return Ok(());
        }
        let Some(found_by) = &old.found_by else {
            if self.said_redo {
                return Ok(());
            }
            let why = format!(
                "it was appended to {} before ({}), and nothing tells its rows from others: \
                 with `tag` or `replace-where` they could be replaced",
                old.table,
                old.rows.map_or("rows that nobody counted".to_owned(), rows_of)
            );
            return Err(Failure::Refused(why).into());
        };
        match old.rows {
            Some(rows) if !self.said_redo => self.delete(session, &old.table, found_by, rows),
            _ => {
                let there = rows::count(session, &old.table, Some(found_by))?;
                if !self.said_redo && there > 0 {
                    let why = format!(
                        "its rows of before in {} were accepted, not counted: {} would be deleted where {found_by}",
                        old.table,
                        rows_of(there)
                    );
                    return Err(Failure::Refused(why).into());
                }
                self.delete(session, &old.table, found_by, there)
            }
        }
    }

    fn delete(
        &self,
        session: &mut dyn Session,
        table: &str,
        found_by: &str,
        expected: u64,
    ) -> Result<(), Ended> {
        let deleted = session.execute(&format!("delete from {table} where {found_by}"), &[])?;
        if deleted == expected {
            return Ok(());
        }
        let why = format!(
            "{} would be deleted from {table} where {found_by}, and {} had been loaded: \
             somebody else changed them",
            rows_of(deleted),
            rows_of(expected)
        );
        Err(Failure::Refused(why).into())
    }

    /// Rows that are there for another item, too, become that item's: they are not
    /// deleted with the version that this one had.
    fn hand_over(
        &self,
        session: &mut dyn Session,
        old: &RowStamp,
        other: &crate::words::task::TaskName,
    ) -> Result<(), Ended> {
        let Some((tag, found_by)) =
            self.load().and_then(|load| load.tag.as_deref()).zip(old.found_by.as_deref())
        else {
            let why = format!(
                "its rows of before are those of {other}, too: with `tag` they could be handed over"
            );
            return Err(Failure::Refused(why).into());
        };
        let engine = session.address().engine;
        let sql = format!(
            "update {} set {} = {} where {found_by}",
            old.table,
            engine.quoted(tag),
            engine.literal(&other.to_string())
        );
        let changed = session.execute(&sql, &[])?;
        if old.rows.is_some_and(|rows| rows != changed) {
            let why = format!(
                "{} of {} are those of {other}, too, and {} were loaded: somebody else changed them",
                rows_of(changed),
                old.table,
                old.rows.map(rows_of).unwrap_or_default()
            );
            return Err(Failure::Refused(why).into());
        }
        let stamp = RowStamp {
            task: other.clone(),
            found_by: Some(load::tagged(engine, tag, other)),
            ..old.clone()
        };
        stamps::replace(session, &stamp)?;
        if let Some(rows) = &self.job.view.rows {
            rows.note(stamp);
        }
        Ok(())
    }

    /// Where a table was emptied, its stamps are void; that is written down before the first
    /// rows come, or they would be believed once there are some.
    fn void_emptied(&self, session: &mut dyn Session, table: &str) -> Result<(), Ended> {
        let Some(rows) = self.job.view.rows.as_ref().filter(|rows| rows.is_emptied(table)) else {
            return Ok(());
        };
        stamps::void(session, table)?;
        rows.forget_emptied(table);
        Ok(())
    }

    /// Asks the explicit check within the transaction, where it asks the same database:
    /// nothing is committed if it does not hold.
    fn check_within(&self, session: &mut dyn Session) -> Result<(), Ended> {
        let Some(check) = self.job.view.step.check.as_ref() else { return Ok(()) };
        let Probe::Sql { db, query } = &check.probe else { return Ok(()) };
        if db != self.db() || !check.within.is_zero() {
            return Ok(());
        }
        match check::query(session, query, &self.bindings())? {
            Ok(true) => Ok(()),
            Ok(false) => {
                let what = "it would end well, but its check does not hold: nothing was committed";
                Err(Failure::BadEffect(what.to_owned()).into())
            }
            Err(why) => Err(Failure::Broken(format!("its check cannot tell: {why}")).into()),
        }
    }

    /// Asks the explicit check, now that all is committed.
    fn ask_check(&self) -> Result<(), Wrong> {
        let view = self.job.view;
        if view.step.check.is_none() {
            return Ok(());
        }
        let asked = check::Asked {
            view,
            task: self.job.task,
            own_inputs: &self.job.sight.own_inputs,
            outs: &[],
        };
        check::ask_until_it_holds(self.site(), &asked, self.stop).map_err(Wrong::Unsettled)
    }

    /// A script that the database commits statement by statement: a marker goes before it,
    /// and tells of a beginning until the end is reached.
    fn piece_by_piece(
        &self,
        session: &mut dyn Session,
        fence: &Fence,
        script: &script::Script,
    ) -> Result<RowStamp, Ended> {
        let whole = self.stamp(&Work::Script(script.clone()))?;
        let begun = RowStamp { is_whole: false, ..whole.clone() };
        session.begin()?;
        let marked = self.stand_behind(session, fence).and_then(|()| {
            match stamps::claim(session, &begun)? {
                Claim::First => Ok(None),
                Claim::Taken(found) if self.was_done_meanwhile(&found, &whole) => Ok(Some(*found)),
                Claim::Taken(_) => Ok(stamps::replace(session, &begun).map(|()| None)?),
            }
        });
        match marked {
            Ok(None) => session.commit()?,
            Ok(Some(found)) => {
                session.rollback();
                return Ok(found);
            }
            Err(ended) => {
                session.rollback();
                return Err(ended);
            }
        }
        let half_done = |error: DbError| {
            let text = format!(
                "{error}; MySQL and MariaDB commit such statements one by one: those before it are done"
            );
            Ended::Wrong(Wrong::Unsettled(failure(DbError { text, ..error })))
        };
        let rows = script.run(session).map_err(half_done)?;
        let whole = RowStamp { rows: Some(rows), ..whole };
        session.begin().map_err(half_done)?;
        stamps::replace(session, &whole).map_err(half_done)?;
        session.commit().map_err(half_done)?;
        Ok(whole)
    }

    /// Writes the stamp of rows that are there.
    fn accept(&self) -> Result<RowStamp, Ended> {
        let (mut session, fence) = self.session()?;
        let mut stamp = RowStamp {
            pipeline: self.site().pipeline.name.clone(),
            task: self.task_name(),
            fingerprint: self.job.sight.fingerprint,
            rows: None,
            table: String::new(),
            identity: String::new(),
            found_by: None,
            is_whole: true,
            run: self.site().run_id.to_owned(),
        };
        if let Some(load) = self.load() {
            let target = load::Target::of(self, &mut *session, load)?;
            (stamp.table, stamp.identity) = (target.name, target.table.identity);
            // What was there before semel came carries no tag; what a condition finds counts.
            if let Some(found_by) = target.found_by {
                let there = rows::count(&mut *session, &stamp.table, Some(&found_by))?;
                stamp.rows = (there > 0).then_some(there);
                stamp.found_by = Some(found_by);
            }
        }
        session.begin()?;
        let stamped =
            self.stand_behind(&mut *session, &fence).and_then(|()| {
                match stamps::claim(&mut *session, &stamp)? {
                    Claim::First => Ok(()),
                    Claim::Taken(_) => Ok(stamps::replace(&mut *session, &stamp)?),
                }
            });
        match stamped {
            Ok(()) => session.commit()?,
            Err(ended) => {
                session.rollback();
                return Err(ended);
            }
        }
        Ok(stamp)
    }
}

/// So many rows, in words.
pub(in crate::deed) fn rows_of(number: u64) -> String {
    match number {
        1 => "1 row".to_owned(),
        _ => format!("{} rows", crate::words::thousands(number)),
    }
}
