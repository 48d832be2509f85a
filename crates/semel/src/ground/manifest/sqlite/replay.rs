//! Taking over lines of `once.log`: what a manifest does not know of what was begun,
//! done and settled of `once` tasks.
//!
//! Invariant: taking a line over once more changes nothing, and what the manifest
//! knows later of a task than a line tells stays.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::SqliteManifest;
use super::entries::write_receipt;
use super::file::Doing;
use super::sums;
use super::values::{signed, time_text};
use crate::ground::manifest::{Acceptance, Loss, ManifestError, ManifestResult};
use crate::words::once::{Doer, Line, Says, Tried};
use crate::words::run::By;

const DOING: &str = "take over once.log";

impl SqliteManifest {
    pub(super) fn replay_lines(&mut self, lines: &[Line], loss: Loss) -> ManifestResult<()> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(DOING)?;
        for line in lines {
            take_over(&transaction, line)?;
            note_line(&transaction, &line.manifest, line.seq)?;
        }
        if loss != Loss::None {
            let now = time_text(Timestamp::now());
            transaction.execute("update memory set whole_since = ?", [now]).doing(DOING)?;
            sums::seal_memory(&transaction)?;
        }
        if loss == Loss::Lines {
            let sql = "update resolution set acted_by = 0 where acted_by is null and verb = 'redo'";
            transaction.execute(sql, []).doing(DOING)?;
            let sql = "update attempt set undone = 0, sum = null where open = 1 and once = 1 and undone = 1";
            transaction.execute(sql, []).doing(DOING)?;
        }
        transaction.commit().doing(DOING)
    }
}

/// Notes that the lines of a manifest up to this one are known.
pub(super) fn note_line(connection: &Connection, manifest: &str, seq: u64) -> ManifestResult<()> {
    let sql = "insert into once_log (manifest, seq) values (?, ?)
               on conflict (manifest) do update set seq = max(seq, excluded.seq)";
    connection.execute(sql, params![manifest, signed(seq)]).doing(DOING)?;
    Ok(())
}

fn take_over(transaction: &Transaction<'_>, line: &Line) -> ManifestResult<()> {
    match &line.says {
        Says::Intent(attempt) => {
            write_attempt(transaction, line, attempt, None)?;
            if attempt.acts {
                act_on_all(transaction, line, &attempt.by)?;
            }
        }
        Says::End { attempt, ending, reason, undone } => {
            let end = End { ending, reason: reason.as_deref(), undone: *undone };
            write_attempt(transaction, line, attempt, Some(&end))?;
            if attempt.acts {
                act_on_all(transaction, line, &attempt.by)?;
            }
        }
        Says::Receipt(kept) => {
            let run = run_of(transaction, line, &kept.by)?;
            let Some(receipt) = line.receipt(run) else {
                // Its checksum is right: it was written so, by another semel.
                return Err(ManifestError::Log(format!(
                    "line {} of once.log cannot be understood",
                    line.seq
                )));
            };
            let at = time_text(line.at);
            if knows_later_receipt(transaction, line, &at)? {
                return Ok(());
            }
            // An attempt that began later stays open.
            let open = "update attempt set open = ?1 where pipeline = ?2 and step = ?3
                and instance = ?4 and item = ?5 and began > ?6 and open = ?7";
            let slot = |set: i64, was: i64| params_from(set, line, &at, was);
            let later = transaction.execute(open, rusqlite::params_from_iter(slot(2, 1)));
            later.doing(DOING)?;
            write_receipt(transaction, &line.pipeline, &receipt)?;
            let later = transaction.execute(open, rusqlite::params_from_iter(slot(1, 2)));
            later.doing(DOING)?;
            if kept.acts {
                act_on_all(transaction, line, &kept.by)?;
            }
        }
        Says::Accepted { because, host, user, pid } => {
            let by = By { host: host.clone(), user: user.clone(), pid: *pid };
            let word = Acceptance { because: because.clone(), by, at: line.at };
            keep_acceptance(transaction, &word)?;
            // Said of this manifest, not of one of which this was made; and not of what
            // was lost later.
            let sql = "update memory set whole_since = null where id = ? and whole_since <= ?";
            transaction.execute(sql, params![line.manifest, time_text(line.at)]).doing(DOING)?;
            sums::seal_memory(transaction)?;
        }
        Says::Settled { verb, without_outputs, because, host, user, .. } => {
            let at = time_text(line.at);
            let sql = "insert into resolution
                (pipeline, step, instance, item, verb, without_outputs, because, host, user, at)
                select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 where not exists
                (select 1 from resolution where pipeline = ?1 and step = ?2 and instance = ?3
                 and item = ?4 and verb = ?5 and at = ?10)";
            let values = params![
                line.pipeline,
                line.step,
                line.instance,
                line.item,
                verb,
                without_outputs,
                because,
                host,
                user,
                at
            ];
            transaction.execute(sql, values).doing(DOING)?;
        }
    }
    Ok(())
}

/// Keeps a human's word on the whole memory, unless it is known.
pub(super) fn keep_acceptance(connection: &Connection, word: &Acceptance) -> ManifestResult<()> {
    let sql = "insert into resolution (pipeline, step, instance, item, verb, without_outputs,
            because, host, user, at, acted_by)
        select '', '', '', '', 'accept', 0, ?1, ?2, ?3, ?4, coalesce((select max(number) from run), 0)
        where not exists (select 1 from resolution where verb = 'accept' and at = ?4)";
    let values = params![word.because, word.by.host, word.by.user, time_text(word.at)];
    connection.execute(sql, values).doing(DOING)?;
    Ok(())
}

fn params_from(set: i64, line: &Line, at: &str, was: i64) -> Vec<rusqlite::types::Value> {
    let texts =
        [&line.pipeline, &line.step, &line.instance, &line.item].map(|text| text.clone().into());
    let mut values = vec![set.into()];
    values.extend(texts);
    values.extend([at.to_owned().into(), was.into()]);
    values
}

fn knows_later_receipt(
    transaction: &Transaction<'_>,
    line: &Line,
    at: &str,
) -> ManifestResult<bool> {
    let sql = "select 1 from receipt where pipeline = ? and step = ? and instance = ? and item = ?
               and at > ?";
    let values = params![line.pipeline, line.step, line.instance, line.item, at];
    let found = transaction.query_row(sql, values, |_| Ok(())).optional().doing(DOING)?;
    Ok(found.is_some())
}

struct End<'a> {
    ending: &'a str,
    reason: Option<&'a str>,
    undone: bool,
}

fn write_attempt(
    transaction: &Transaction<'_>,
    line: &Line,
    attempt: &Tried,
    end: Option<&End<'_>>,
) -> ManifestResult<()> {
    let run = run_of(transaction, line, &attempt.by)?;
    let Some(fingerprint) = attempt.fingerprint() else {
        return Err(ManifestError::Log(format!(
            "line {} of once.log cannot be understood",
            line.seq
        )));
    };
    // An attempt that is known is known to its end, unless the line tells that.
    let sql = "insert into attempt (run, number, pipeline, step, instance, item, tries, what, how,
            began, ended, ending, reason, undone, open, log_at, log_size, once)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1, 0, 0, 1)
         on conflict (run, number) do update set ended = excluded.ended,
            ending = excluded.ending, reason = excluded.reason, undone = excluded.undone,
            sum = null
         where excluded.ending is not null and open = 1";
    let values = params![
        run,
        signed(attempt.attempt),
        line.pipeline,
        line.step,
        line.instance,
        line.item,
        attempt.tries,
        fingerprint.what.as_bytes(),
        fingerprint.how.as_bytes(),
        time_text(attempt.began),
        end.map(|_| time_text(line.at)),
        end.map(|end| end.ending),
        end.and_then(|end| end.reason),
        end.is_some_and(|end| end.undone),
    ];
    transaction.execute(sql, values).doing(DOING)?;
    Ok(())
}

/// The number of a run here: its own, unless another run has that.
fn run_of(transaction: &Transaction<'_>, line: &Line, by: &Doer) -> ManifestResult<i64> {
    let known = "select number from run where id = ?";
    let known = transaction.query_row(known, [&by.run], |row| row.get(0)).optional();
    if let Some(number) = known.doing(DOING)? {
        return Ok(number);
    }
    // Of such a run nothing is known but what the log tells of it.
    let sql = "insert into run (number, id, pipeline, file, instance, params, command, selected,
            host, user, pid, began, ended)
         select case when exists (select 1 from run where number = ?1)
                then (select max(max(number), max(runs_before)) + 1 from run, memory) else ?1 end,
            ?2, ?3, ?4, ?5, '{}', '', 1, ?6, ?7, ?8, ?9, ?9 returning number";
    let values = params![
        by.number,
        by.run,
        line.pipeline,
        by.file,
        line.instance,
        by.host,
        by.user,
        by.pid,
        time_text(line.at),
    ];
    transaction.query_row(sql, values, |row| row.get(0)).doing(DOING)
}

/// Notes that a run acted on all that a human had said of a task by then.
fn act_on_all(transaction: &Transaction<'_>, line: &Line, by: &Doer) -> ManifestResult<()> {
    let run = run_of(transaction, line, by)?;
    let sql = "update resolution set acted_by = ? where acted_by is null
               and pipeline = ? and step = ? and instance = ? and item = ?";
    let values = params![run, line.pipeline, line.step, line.instance, line.item];
    transaction.execute(sql, values).doing(DOING)?;
    Ok(())
}
