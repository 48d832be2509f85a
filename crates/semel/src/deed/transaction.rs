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

mod before;
mod load;
mod piecemeal;
mod script;
mod shared;
mod typed;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(in crate::deed) use self::typed::as_typed;
use crate::deed::act::{Job, Workshop};
use crate::deed::databases::{Lent, Purpose, failure, watch};
use crate::deed::inputs::{self, Change};
use crate::deed::{Site, check};
use crate::ground::database::stamps::{self, Claim, Fence};
use crate::ground::database::{DbError, ErrorKind, Session, count};
use crate::ground::world::process::Stop;
use crate::thought::bind::Bindings;
use crate::words::path::show;
use crate::words::pipeline::{ActionKind, Load, Probe};
use crate::words::receipt::{Failure, FileRecord, FileRole};
use crate::words::row_stamp::RowStamp;
use crate::words::sql::Atomicity;
use crate::words::task::TaskName;

/// How often a transaction is tried again that was given up for another, or whose commit
/// nobody answered.
const TRIES: u32 = 8;

/// The first pause before it is.
const PAUSE: Duration = Duration::from_millis(50);

/// Rows that are committed, with a stamp that tells of them: only this gives the right to
/// write their receipt.
#[derive(Debug)]
#[must_use]
pub struct Committed {
    /// The rows as a receipt tells of them.
    rows: FileRecord,
    /// How long it took.
    took: Duration,
}

impl Committed {
    /// The rows as a receipt tells of them.
    #[must_use]
    pub const fn rows(&self) -> &FileRecord {
        &self.rows
    }

    /// How long it took; no time where they were there.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.took
    }
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
    Void(PathBuf),
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
    /// What will be known of rows, if the try goes well.
    noted: RefCell<Vec<Noted>>,
}

/// What becomes known of rows.
enum Noted {
    /// There are rows, and this is their stamp.
    There(Box<RowStamp>),
    /// The stamp of an item is not there any more.
    Gone(Option<String>),
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

/// What came of the work within a transaction.
enum Done<T> {
    /// This is to be committed.
    ByUs(T),
    /// This is there without us: nothing is to be committed.
    Already(T),
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
) -> Result<Committed, Wrong> {
    let began = Instant::now();
    let transaction = Transaction::of(workshop, job, run, said_redo, stop);
    let stamp = transaction.until_settled(|transaction| match transaction.elsewhere() {
        Some(owner) => match transaction.share(&owner)? {
            Some(stamp) => Ok(stamp),
            // It has other rows by now: what nobody has any more is done.
            None => transaction.once(),
        },
        None => transaction.once(),
    })?;
    let committed = transaction.committed(&stamp);
    transaction.ask_check()?;
    Ok(Committed { took: began.elapsed(), ..committed })
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
) -> Result<Committed, Failure> {
    let transaction = Transaction::of(workshop, job, run, false, stop);
    // That of another version tells of other rows than those that are accepted.
    let is_of_this =
        |stamp: &RowStamp| stamp.is_whole && stamp.fingerprint.what == job.sight.fingerprint.what;
    let own = job.sight.rows.stamped.as_ref().filter(|own| !own.is_void);
    if let Some(own) = own.filter(|own| is_of_this(&own.stamp)) {
        return Ok(transaction.committed(&own.stamp));
    }
    let stamp = transaction.until_settled(|transaction| {
        let shared = transaction.elsewhere().map(|owner| transaction.share(&owner)).transpose()?;
        shared.flatten().map_or_else(|| transaction.accept(), Ok)
    });
    Ok(transaction.committed(&stamp.map_err(in_words)?))
}

/// Shares the rows of an item of the same content; none where that has other rows by now.
///
/// # Errors
/// If they cannot be shared.
pub fn share(
    workshop: &Workshop<'_>,
    job: &Job<'_>,
    run: i64,
    stop: &Stop,
) -> Result<Option<Committed>, Failure> {
    let transaction = Transaction::of(workshop, job, run, false, stop);
    let Some(owner) = transaction.elsewhere() else { return Ok(None) };
    let shared = transaction.until_settled(|transaction| transaction.share(&owner));
    Ok(shared.map_err(in_words)?.map(|stamp| transaction.committed(&stamp)))
}

fn in_words(wrong: Wrong) -> Failure {
    match wrong {
        Wrong::Failed(failure) | Wrong::Unsettled(failure) => failure,
        Wrong::Void(path) => Failure::BadInput(format!("its input {} changed", show(&path))),
        Wrong::Stopped => Failure::Broken("it was stopped".to_owned()),
    }
}

impl<'a> Transaction<'a> {
    fn of(
        workshop: &'a Workshop<'a>,
        job: &'a Job<'a>,
        run: i64,
        said_redo: bool,
        stop: &'a Stop,
    ) -> Self {
        let deadline = job.view.step.timeout.map(|limit| Instant::now() + limit);
        Self { workshop, job, run, stop, said_redo, deadline, noted: RefCell::default() }
    }
}

impl Transaction<'_> {
    fn note(&self, noted: Noted) {
        self.noted.borrow_mut().push(noted);
    }

    /// What is committed now, after those who look were told of it.
    fn committed(&self, stamp: &RowStamp) -> Committed {
        if let Some(rows) = &self.job.view.rows {
            for noted in self.noted.take() {
                match noted {
                    Noted::There(stamp) => rows.note(*stamp),
                    Noted::Gone(item) => rows.forget(item.as_deref()),
                }
            }
            rows.note(stamp.clone());
        }
        let address = self.site().databases.address(self.db()).map(|address| address.to_string());
        let rows = FileRecord {
            role: FileRole::Rows,
            name: stamp.table.clone(),
            path: address.unwrap_or_default().into(),
            bytes: 0,
            rows: stamp.rows,
            digest: stamp.digest(),
            by_stat: false,
        };
        Committed { rows, took: Duration::ZERO }
    }

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
    fn until_settled<T>(&self, attempt: impl Fn(&Self) -> Result<T, Ended>) -> Result<T, Wrong> {
        let mut pause = PAUSE;
        let (mut in_doubt, mut tries) = (false, 0);
        loop {
            tries += 1;
            self.noted.take();
            let error = match attempt(self) {
                Ok(done) => return Ok(done),
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
        let stamp = match &work {
            Work::Script(_) => self.stamp(),
            Work::Load(load) => RowStamp {
                table: load.table.clone(),
                identity: load.identity.clone(),
                found_by: load.found_by.clone(),
                ..self.stamp()
            },
        };
        self.void_emptied(&mut *session, &stamp.table)?;
        self.whole(&mut *session, &fence, |session| self.within(session, &work, stamp))
    }

    /// Does some work whole or not at all: behind the fence, in a transaction that is
    /// committed if there is something to commit, and taken back in any other case. An
    /// error of the commit may mean that it is committed.
    fn whole<T>(
        &self,
        session: &mut dyn Session,
        fence: &Fence,
        work: impl FnOnce(&mut dyn Session) -> Result<Done<T>, Ended>,
    ) -> Result<T, Ended> {
        session.begin()?;
        match self.stand_behind(session, fence).and_then(|()| work(session)) {
            Ok(Done::ByUs(done)) => match session.commit() {
                Ok(()) => Ok(done),
                Err(error) => {
                    session.rollback();
                    Err(match error.kind {
                        ErrorKind::Unreachable | ErrorKind::Stopped | ErrorKind::TimedOut => {
                            Ended::InDoubt(error)
                        }
                        // It says no to it.
                        _ => Ended::Database(error),
                    })
                }
            },
            Ok(Done::Already(done)) => {
                session.rollback();
                Ok(done)
            }
            Err(ended) => {
                session.rollback();
                Err(ended)
            }
        }
    }

    fn task_name(&self) -> TaskName {
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

    /// The stamp of the task, which tells of no rows yet.
    fn stamp(&self) -> RowStamp {
        RowStamp {
            pipeline: self.site().pipeline.name.clone(),
            task: self.task_name(),
            fingerprint: self.job.sight.fingerprint,
            rows: None,
            table: String::new(),
            identity: String::new(),
            found_by: None,
            shares: None,
            is_whole: true,
            run: self.site().run_id.to_owned(),
        }
    }

    /// All that is done within the transaction.
    fn within(
        &self,
        session: &mut dyn Session,
        work: &Work<'_>,
        mut stamp: RowStamp,
    ) -> Result<Done<RowStamp>, Ended> {
        match stamps::claim(session, &stamp)? {
            Claim::First => self.first(session, &stamp, false)?,
            Claim::Taken(found) if found.is_voided() && found.table == stamp.table => {
                self.first(session, &stamp, true)?;
            }
            Claim::Taken(found) => {
                if self.was_done_meanwhile(&found, &stamp) {
                    return Ok(Done::Already(*found));
                }
                self.supersede(session, &found, &stamp)?;
            }
        }
        let rows = match work {
            Work::Script(script) => script.run(session)?,
            Work::Load(load) => load.copy(self, session)?,
        };
        stamp.rows = Some(rows);
        self.finds_its_rows(session, &stamp)?;
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
        Ok(Done::ByUs(stamp))
    }

    /// A condition of the user's that does not find what was loaded would not find it when a
    /// new version comes.
    fn finds_its_rows(&self, session: &mut dyn Session, stamp: &RowStamp) -> Result<(), Ended> {
        let has_condition = self.load().is_some_and(|load| load.replace_where.is_some());
        let (Some(found_by), true) = (&stamp.found_by, has_condition) else { return Ok(()) };
        let found = count(session, &stamp.table, Some(found_by))?;
        if stamp.rows == Some(found) {
            return Ok(());
        }
        let why = format!(
            "{} would be loaded, and its condition finds {}, where {found_by}: they would not be \
             found again",
            rows_of(stamp.rows.unwrap_or_default()),
            rows_of(found)
        );
        Err(Failure::Refused(why).into())
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

    /// Writes the stamp of rows that are there.
    fn accept(&self) -> Result<RowStamp, Ended> {
        let (mut session, fence) = self.session()?;
        let mut stamp = self.stamp();
        if let Some(load) = self.load() {
            let target = load::Target::of(self, &mut *session, load)?;
            (stamp.table, stamp.identity) = (target.name, target.table.identity);
            // What was there before semel came carries no tag; what a condition finds counts.
            if let Some(found_by) = target.found_by {
                let there = count(&mut *session, &stamp.table, Some(&found_by))?;
                stamp.rows = (there > 0).then_some(there);
                stamp.found_by = Some(found_by);
            }
        }
        self.whole(&mut *session, &fence, |session| {
            if let Claim::Taken(_) = stamps::claim(session, &stamp)? {
                stamps::replace(session, &stamp)?;
            }
            Ok(Done::ByUs(stamp))
        })
    }
}

/// So many rows, in words.
pub(in crate::deed) fn rows_of(number: u64) -> String {
    match number {
        1 => "1 row".to_owned(),
        _ => format!("{} rows", crate::words::thousands(number)),
    }
}
