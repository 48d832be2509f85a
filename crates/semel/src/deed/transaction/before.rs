//! The rows of the version before: what becomes of them when a new one comes.
//!
//! Invariant: rows are deleted only by a condition that a stamp kept, or a receipt
//! confirms, and only if it finds as many as that tells of. A human's word to do it again
//! stands for both.

use super::{Ended, Transaction, rows_of};
use crate::ground::database::{Session, count, has_rows, stamps};
use crate::words::receipt::Failure;
use crate::words::row_stamp::RowStamp;

impl Transaction<'_> {
    /// There was no stamp of the task, or one that was voided: are there rows of it all the
    /// same?
    pub(super) fn first(
        &self,
        session: &mut dyn Session,
        stamp: &RowStamp,
        was_voided: bool,
    ) -> Result<(), Ended> {
        if let Some(before) = self.before(session)? {
            self.release(session, &before, stamp)?;
            stamps::remove(session, &before.slot())?;
            return Ok(());
        }
        if stamp.table.is_empty() || self.said_redo && stamp.found_by.is_none() {
            return Ok(());
        }
        let Some(found_by) = &stamp.found_by else {
            let says_loaded = self.job.sight.rows.has_receipt;
            if says_loaded && !was_voided && has_rows(session, &stamp.table)? {
                let why = format!(
                    "its stamp is gone, and {} has rows: whether they are its own cannot be told",
                    stamp.table
                );
                return Err(Failure::Refused(why).into());
            }
            return Ok(());
        };
        let there = count(session, &stamp.table, Some(found_by))?;
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
        let Some(before) = &self.job.sight.rows.before else { return Ok(None) };
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
    pub(super) fn supersede(
        &self,
        session: &mut dyn Session,
        old: &RowStamp,
        new: &RowStamp,
    ) -> Result<(), Ended> {
        if self.is_void(old) || !old.is_whole || new.table.is_empty() {
            return Ok(());
        }
        self.release(session, old, new)
    }

    /// Deletes the rows that a stamp tells of: as many as it tells of.
    pub(super) fn delete_rows(
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
            None if !self.said_redo => {
                let why = format!(
                    "its rows of before in {} were accepted as they are: which they are nothing tells",
                    old.table
                );
                Err(Failure::Refused(why).into())
            }
            _ => {
                let there = count(session, &old.table, Some(found_by))?;
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

    /// Where a table was emptied, its stamps are void; that is written down before the first
    /// rows come, or they would be believed once there are some.
    pub(super) fn void_emptied(&self, session: &mut dyn Session, table: &str) -> Result<(), Ended> {
        let Some(rows) = self.job.view.rows.as_ref().filter(|rows| rows.is_emptied(table)) else {
            return Ok(());
        };
        stamps::void(session, table)?;
        rows.forget_emptied(table);
        Ok(())
    }
}
