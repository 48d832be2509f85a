//! Entries: attempts, receipts, and the human's words that they act on, written
//! together in one transaction.

use jiff::Timestamp;
use rusqlite::{Transaction, TransactionBehavior, params};

use super::SqliteManifest;
use super::file::Doing;
use super::sums::Sum;
use super::values::{RUN_STEP_COLUMNS, item_of, path_value, signed, time_text};
use crate::ground::manifest::{Entry, ManifestResult};
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::receipt::{Attempt, AttemptEnd, Ending, Failure, Receipt};
use crate::words::run::RunStep;
use crate::words::task::TaskName;

impl SqliteManifest {
    pub(super) fn write_together(
        &mut self,
        pipeline: &str,
        entries: &[Entry],
    ) -> ManifestResult<()> {
        let doing = "write to the manifest";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        if let Some(held) = &self.lease {
            held.verify(&transaction)?;
        }
        for entry in entries {
            write_entry(&transaction, pipeline, entry)?;
        }
        transaction.commit().doing(doing)
    }
}

pub(super) fn write_entry(
    transaction: &Transaction<'_>,
    pipeline: &str,
    entry: &Entry,
) -> ManifestResult<()> {
    match entry {
        Entry::Begin { attempt, said } => {
            write_attempt(transaction, pipeline, attempt, None)?;
            act_on(transaction, *said, attempt.run)
        }
        Entry::End { attempt, end, said } => {
            write_attempt(transaction, pipeline, attempt, Some(end))?;
            act_on(transaction, *said, attempt.run)
        }
        Entry::Held { task, fingerprint, at } => {
            write_answer(transaction, pipeline, task, fingerprint, *at)
        }
        Entry::Complete { receipt, attempt, said, ends } => {
            if let Some((attempt, end)) = attempt {
                write_attempt(transaction, pipeline, attempt, Some(end))?;
            }
            write_receipt(transaction, pipeline, receipt)?;
            if let Some((run, number)) = ends {
                // All that is open of the task, under the name that it had then.
                let sql = "update attempt set open = 0, ending = coalesce(ending, 'interrupted')
                    where open = 1
                    and (pipeline, step, instance, item) =
                        (select pipeline, step, instance, item from attempt where run = ? and number = ?)";
                transaction.execute(sql, params![run, signed(*number)]).doing("write a receipt")?;
            }
            act_on(transaction, *said, receipt.run)
        }
    }
}

/// Writes what a run did to its steps.
pub(super) fn write_steps(
    transaction: &Transaction<'_>,
    run: i64,
    steps: &[RunStep],
) -> rusqlite::Result<()> {
    let sql = format!(
        "insert or replace into run_step ({RUN_STEP_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    );
    for step in steps {
        let counts = step.counts;
        let values = params![
            run,
            step.step,
            step.instance.as_str(),
            signed(counts.total),
            signed(counts.ran),
            signed(counts.skipped),
            signed(counts.adopted),
            signed(counts.reused),
            signed(counts.failed),
            signed(counts.refused),
            signed(counts.busy),
            signed(counts.blocked),
            signed(counts.untried),
            step.rows.map(signed),
            step.seconds,
            step.note,
            signed(step.place),
        ];
        transaction.execute(&sql, values)?;
    }
    Ok(())
}

fn write_attempt(
    transaction: &Transaction<'_>,
    pipeline: &str,
    attempt: &Attempt,
    end: Option<&AttemptEnd>,
) -> ManifestResult<()> {
    let doing = "write an attempt";
    let (reason, status, signal) = match end.map(|end| &end.ending) {
        Some(Ending::Failed(failure)) => {
            let (status, signal) = match failure {
                Failure::Exit(status) => (Some(*status), None),
                Failure::Signal(signal) => (None, Some(*signal)),
                _ => (None, None),
            };
            (Some(failure.to_string()), status, signal)
        }
        _ => (None, None, None),
    };
    let log = end.map(|end| end.log).unwrap_or_default();
    let undone = end.is_some_and(|end| end.provably_undone);
    let is_open = end.is_none_or(|end| end.ending != Ending::Done);
    let mut statement = transaction
        .prepare_cached(
            "insert into attempt (run, number, pipeline, step, instance, item, tries, what, how, began,
                ended, ending, reason, status, signal, undone, open, log_at, log_size, once, sum)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (run, number) do update set ended = excluded.ended, ending = excluded.ending,
                reason = excluded.reason, status = excluded.status, signal = excluded.signal,
                undone = excluded.undone, open = excluded.open, log_at = excluded.log_at,
                log_size = excluded.log_size, sum = excluded.sum",
        )
        .doing(doing)?;
    statement
        .execute(params![
            attempt.run,
            signed(attempt.number),
            pipeline,
            attempt.task.step,
            attempt.task.instance.as_str(),
            item_of(&attempt.task),
            attempt.tries,
            attempt.fingerprint.what.as_bytes(),
            attempt.fingerprint.how.as_bytes(),
            time_text(attempt.began),
            end.map(|end| time_text(end.ended)),
            end.map(|end| end.ending.name()),
            reason,
            status,
            signal,
            undone,
            is_open,
            signed(log.at),
            signed(log.bytes),
            attempt.once,
            attempt_sum(pipeline, attempt, undone).kept(),
        ])
        .doing(doing)?;
    Ok(())
}

fn attempt_sum(pipeline: &str, attempt: &Attempt, undone: bool) -> Sum {
    let Attempt { task, fingerprint, .. } = attempt;
    Sum::of("attempt", &[pipeline, &task.step, task.instance.as_str(), item_of(task)])
        .number(signed(attempt.number))
        .bytes(fingerprint.what.as_bytes())
        .bytes(fingerprint.how.as_bytes())
        .number(undone.into())
        .number(attempt.once.into())
}

fn write_answer(
    transaction: &Transaction<'_>,
    pipeline: &str,
    task: &TaskName,
    fingerprint: &Fingerprint,
    at: Timestamp,
) -> ManifestResult<()> {
    let doing = "write what a check answered";
    let sql = "insert or replace into answer (pipeline, step, instance, item, what, how, at, sum)
        values (?, ?, ?, ?, ?, ?, ?, ?)";
    let sum = Sum::of("answer", &[pipeline, &task.step, task.instance.as_str(), item_of(task)])
        .bytes(fingerprint.what.as_bytes())
        .bytes(fingerprint.how.as_bytes());
    let values = params![
        pipeline,
        task.step,
        task.instance.as_str(),
        item_of(task),
        fingerprint.what.as_bytes(),
        fingerprint.how.as_bytes(),
        time_text(at),
        sum.kept(),
    ];
    transaction.prepare_cached(sql).and_then(|mut insert| insert.execute(values)).doing(doing)?;
    Ok(())
}

/// The sum of a receipt's row.
pub(super) fn receipt_sum(pipeline: &str, receipt: &Receipt) -> Sum {
    let Receipt { task, fingerprint, effect, .. } = receipt;
    Sum::of("receipt", &[pipeline, &task.step, task.instance.as_str(), item_of(task)])
        .number(receipt.encoding)
        .bytes(fingerprint.what.as_bytes())
        .bytes(fingerprint.how.as_bytes())
        .maybe(effect.as_ref().map(|effect| effect.as_bytes().as_slice()))
        .number(receipt.once.into())
}

pub(super) fn write_receipt(
    transaction: &Transaction<'_>,
    pipeline: &str,
    receipt: &Receipt,
) -> ManifestResult<()> {
    let doing = "write a receipt";
    let task = &receipt.task;
    let given = Digest::of(receipt.given.as_bytes());
    let mut part = transaction
        .prepare_cached("insert into part (digest, json) values (?, ?) on conflict do nothing")
        .doing(doing)?;
    part.execute(params![given.as_bytes(), receipt.given]).doing(doing)?;
    part.execute(params![receipt.fingerprint.how.as_bytes(), receipt.how]).doing(doing)?;
    let mut upsert = transaction
        .prepare_cached(
            "insert into receipt (pipeline, step, instance, item, encoding, what, how, effect, given,
                origin, at, run, seconds, once, sum)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (pipeline, step, instance, item) do update set encoding = excluded.encoding,
                what = excluded.what, how = excluded.how, effect = excluded.effect,
                given = excluded.given, origin = excluded.origin, at = excluded.at,
                run = excluded.run, seconds = excluded.seconds, once = excluded.once,
                sum = excluded.sum
             returning id",
        )
        .doing(doing)?;
    let values = params![
        pipeline,
        task.step,
        task.instance.as_str(),
        item_of(task),
        receipt.encoding,
        receipt.fingerprint.what.as_bytes(),
        receipt.fingerprint.how.as_bytes(),
        receipt.effect.map(|effect| *effect.as_bytes()),
        given.as_bytes(),
        receipt.origin.name(),
        time_text(receipt.at),
        receipt.run,
        receipt.took.as_secs_f64(),
        receipt.once,
        receipt_sum(pipeline, receipt).kept(),
    ];
    let id: i64 = upsert.query_row(values, |row| row.get(0)).doing(doing)?;
    let mut forget =
        transaction.prepare_cached("delete from file where receipt = ?").doing(doing)?;
    forget.execute([id]).doing(doing)?;
    let mut insert = transaction
        .prepare_cached(
            "insert into file (receipt, role, name, path, bytes, rows, sha256) values (?, ?, ?, ?, ?, ?, ?)",
        )
        .doing(doing)?;
    for file in &receipt.files {
        insert
            .execute(params![
                id,
                file.role.name(),
                file.name,
                path_value(&file.path),
                signed(file.bytes),
                file.rows.map(signed),
                file.sha256(),
            ])
            .doing(doing)?;
    }
    // One without an end is none that works: the task is ours. Its end could not be
    // written when it came.
    let mut close = transaction
        .prepare_cached(
            "update attempt set open = 0, ending = coalesce(ending, 'interrupted')
             where pipeline = ? and step = ? and instance = ? and item = ? and open = 1",
        )
        .doing(doing)?;
    close
        .execute(params![pipeline, task.step, task.instance.as_str(), item_of(task)])
        .doing(doing)?;
    Ok(())
}

/// Notes that a run acted on a human's word.
fn act_on(transaction: &Transaction<'_>, said: Option<i64>, run: i64) -> ManifestResult<()> {
    let Some(said) = said else { return Ok(()) };
    // A later word takes the place of those before it.
    let sql = "update resolution set acted_by = ?1 where acted_by is null and id <= ?2
        and (pipeline, step, instance, item) =
            (select pipeline, step, instance, item from resolution where id = ?2)";
    transaction.execute(sql, [run, said]).doing("act on what was settled")?;
    Ok(())
}
