//! Ending what is old: history by age, receipts of tasks that are long gone.
//!
//! Invariants: the last receipt of a present task, every receipt of a `once` task,
//! and every attempt of one that may have happened stay for ever. A run stays while
//! a receipt, an attempt or a word of a human names it, and as long as something is
//! decided by it: the last run, the last good one, the last complete one of a step.
//!
//! All is one transaction; to show what would be ended it is rolled back.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::SqliteManifest;
use super::file::Doing;
use super::values::time_text;
use crate::ground::manifest::ManifestResult;

/// A task by the parts of its name, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The step.
    pub step: String,
    /// The instance.
    pub instance: String,
    /// The item; empty where there is none.
    pub item: String,
}

/// What was ended, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aged {
    /// Receipts of tasks that are gone for so long.
    pub receipts: u64,
    /// Receipts of tasks that are gone, and not yet for so long.
    pub waiting: u64,
    /// Attempts.
    pub attempts: u64,
    /// Runs.
    pub runs: u64,
    /// The runs that still have an attempt: their logs are wanted.
    pub with_attempts: BTreeSet<i64>,
    /// The runs that are at work, or left something.
    pub alive: BTreeSet<i64>,
}

impl SqliteManifest {
    /// All tasks of a pipeline with a receipt or an open attempt, the run that wrote
    /// it, and whether they were, or may have been, done once.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn slots(&self, pipeline: &str) -> ManifestResult<Vec<(Slot, i64, bool)>> {
        let sql = "select step, instance, item, max(run), max(once) from (
               select step, instance, item, run, once from receipt where pipeline = ?1 union all
               select step, instance, item, run, once from attempt where pipeline = ?1 and open = 1)
             group by step, instance, item";
        self.rows("read the receipts", sql, [pipeline], |row| {
            let slot = Slot { step: row.get(0)?, instance: row.get(1)?, item: row.get(2)? };
            Ok((slot, row.get(3)?, row.get(4)?))
        })
    }

    /// Ends what is older than `before`; if `keeps` is unset, only says what that
    /// would be.
    ///
    /// `gone` are the tasks of this pipeline that are certainly gone and may be done
    /// again. `alive` are the ids of runs that are at work, or left something.
    ///
    /// # Errors
    /// If it cannot be written; then nothing was ended.
    pub fn end_what_is_old(
        &mut self,
        pipeline: &str,
        gone: &[Slot],
        alive: &[String],
        before: Timestamp,
        now: Timestamp,
        keeps: bool,
    ) -> ManifestResult<Aged> {
        let doing = "end what is old";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        name_them(&transaction, pipeline, gone, alive)?;
        let (before, now) = (time_text(before), time_text(now));
        let mut aged = Aged::default();
        // What came back, or was written since it was seen gone, is not gone.
        transaction
            .execute_batch(
                "delete from gone where receipt not in (select receipt from temp.gone_now)
                   or since < (select at from receipt where id = gone.receipt)",
            )
            .doing(doing)?;
        let sql = "insert or ignore into gone select receipt, ? from temp.gone_now";
        transaction.execute(sql, [&now]).doing(doing)?;
        let sql = "delete from receipt where id in (select receipt from gone where since <= ?)";
        aged.receipts = transaction.execute(sql, [&before]).doing(doing)? as u64;
        let waiting: i64 = transaction
            .query_row("select count(*) from gone", [], |row| row.get(0))
            .doing(doing)?;
        aged.waiting = waiting.unsigned_abs();
        let sql = "delete from attempt where began < ?1
             and run not in (select number from run where id in (select id from temp.alive))
             and (open = 0 or (ending is not null and pipeline = ?2 and (step, instance, item) in
               (select step, instance, item from temp.gone_slot)
               and not exists (select 1 from receipt r where r.pipeline = attempt.pipeline
                 and r.step = attempt.step and r.instance = attempt.instance and r.item = attempt.item)))";
        aged.attempts = transaction.execute(sql, params![before, pipeline]).doing(doing)? as u64;
        // A check that held so long ago is asked again.
        transaction.execute("delete from answer where at < ?", [&before]).doing(doing)?;
        aged.runs = end_runs(&transaction, &before)?;
        transaction
            .execute_batch(
                "delete from part where digest not in (select given from receipt)
                   and digest not in (select how from receipt)",
            )
            .doing(doing)?;
        aged.with_attempts = numbers(&transaction, "select distinct run from attempt")?;
        let sql = "select number from run where id in (select id from temp.alive)";
        aged.alive = numbers(&transaction, sql)?;
        if keeps {
            transaction.commit().doing(doing)?;
        } else {
            transaction.rollback().doing(doing)?;
        }
        Ok(aged)
    }

    /// Gives the room that was freed back to the file system.
    ///
    /// # Errors
    /// If somebody else reads just now, or there is no room for a copy; nothing is
    /// lost then.
    pub fn give_back_room(&self) -> ManifestResult<()> {
        self.connection.execute_batch("vacuum").doing("give back the room that was freed")
    }
}

fn numbers(connection: &Connection, sql: &str) -> ManifestResult<BTreeSet<i64>> {
    let doing = "end what is old";
    let mut statement = connection.prepare(sql).doing(doing)?;
    let numbers = statement.query_map([], |row| row.get(0)).doing(doing)?;
    numbers.collect::<rusqlite::Result<_>>().doing(doing)
}

/// Writes down, for this connection, what is gone and who is alive.
fn name_them(
    connection: &Connection,
    pipeline: &str,
    gone: &[Slot],
    alive: &[String],
) -> ManifestResult<()> {
    let doing = "end what is old";
    connection
        .execute_batch(
            "drop table if exists temp.gone_slot;
             create temp table gone_slot (step text, instance text, item text,
                primary key (step, instance, item)) without rowid;
             drop table if exists temp.alive;
             create temp table alive (id text primary key);",
        )
        .doing(doing)?;
    let mut insert =
        connection.prepare("insert or ignore into temp.gone_slot values (?, ?, ?)").doing(doing)?;
    for slot in gone {
        insert.execute([&slot.step, &slot.instance, &slot.item]).doing(doing)?;
    }
    let mut insert =
        connection.prepare("insert or ignore into temp.alive values (?)").doing(doing)?;
    for id in alive {
        insert.execute([id]).doing(doing)?;
    }
    connection.execute_batch("drop table if exists temp.gone_now").doing(doing)?;
    let sql = "create temp table gone_now as select r.id as receipt from temp.gone_slot g
         join main.receipt r on r.pipeline = ? and r.step = g.step and r.instance = g.instance
           and r.item = g.item";
    connection.execute(sql, [pipeline]).doing(doing)?;
    Ok(())
}

/// Ends runs that nothing names and by which nothing is decided.
fn end_runs(connection: &Connection, before: &str) -> ManifestResult<u64> {
    let sql = "delete from run where coalesce(ended, began) < ?
         and id not in (select id from temp.alive)
         and number not in (select run from receipt)
         and number not in (select run from attempt)
         and number not in (select acted_by from resolution where acted_by is not null)
         and number not in (select max(number) from run group by pipeline, instance)
         and number not in (select max(number) from run where status = 0 and selected = 0
            group by pipeline, instance)
         and number not in (select max(s.run) from run_step s join run r on r.number = s.run
            group by r.pipeline, s.step, s.instance, r.selected)
         and number not in (select max(s.run) from run_step s join run r on r.number = s.run
            where r.selected = 0 and s.total = s.ran + s.skipped + s.adopted + s.reused
            group by r.pipeline, s.step, s.instance)";
    connection.execute(sql, [before]).map(|rows| rows as u64).doing("end what is old")
}
