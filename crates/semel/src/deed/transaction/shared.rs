//! Rows that are there for several items: files of equal content are loaded once.
//!
//! One of the items owns the rows, the stamps of the others say whose they share. When the
//! owner gets another version, or is gone, one of those that are left becomes the owner.
//!
//! Invariant: the stamps tell of it in the database, where whoever is about to delete rows
//! looks for those who share them, under locks.

use std::os::unix::ffi::OsStrExt as _;

use super::{Done, Ended, Noted, Transaction, load, rows_of};
use crate::ground::database::Session;
use crate::ground::database::stamps::{self, Claim};
use crate::words::pipeline::Same;
use crate::words::receipt::Failure;
use crate::words::row_stamp::RowStamp;
use crate::words::task::{TaskName, decode};

/// What becomes of the owner of rows that get another one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is about to have others in the same table.
    Stays,
    /// It is gone.
    Goes,
}

impl Transaction<'_> {
    /// The stamp of the rows of another item of the same content, if there are any.
    pub(super) fn elsewhere(&self) -> Option<RowStamp> {
        let (view, sight) = (self.job.view, self.job.sight);
        let (present, once) = (&sight.fingerprint, view.step.once);
        let own = sight.rows.stamped.as_ref().filter(|own| !own.is_void);
        let has_own = own.is_some_and(|own| own.stamp.proves(present, once));
        if view.step.same != Some(Same::Content) || self.said_redo || has_own {
            return None;
        }
        let mine = self.task_name();
        let stamps = view.rows.as_ref()?.of_what(&present.what).into_iter();
        stamps
            .filter(|stamp| stamp.shares.is_none() && stamp.task != mine)
            .find(|stamp| stamp.proves(present, once))
    }

    /// Shares the rows of an owner, or takes them over where that is gone; gives the stamp,
    /// or none where the owner has other rows by now.
    pub(super) fn share(&self, owner: &RowStamp) -> Result<Option<RowStamp>, Ended> {
        let (mut session, fence) = self.session()?;
        self.whole(&mut *session, &fence, |session| self.share_within(session, owner))
    }

    fn share_within(
        &self,
        session: &mut dyn Session,
        owner: &RowStamp,
    ) -> Result<Done<Option<RowStamp>>, Ended> {
        let Some(owner) = stamps::lock(session, &owner.slot())?.filter(|found| found == owner)
        else {
            return Ok(Done::Already(None));
        };
        let mine = RowStamp {
            rows: owner.rows,
            table: owner.table.clone(),
            identity: owner.identity.clone(),
            shares: Some(owner.slot()),
            ..self.stamp()
        };
        let found = match stamps::claim(session, &mine)? {
            Claim::First => None,
            Claim::Taken(found) if found.proves(&mine.fingerprint, self.job.view.step.once) => {
                return Ok(Done::Already(Some(*found)));
            }
            Claim::Taken(found) => Some(found),
        };
        if let Some(old) = found {
            self.supersede(session, &old, &mine)?;
            stamps::replace(session, &mine)?;
        }
        let mine = match self.is_present(&owner.task) {
            true => mine,
            false => self.pass_on(session, &owner, &mine, Owner::Goes)?,
        };
        Ok(Done::ByUs(Some(mine)))
    }

    /// Lets go of the rows that a stamp tells of: they are handed over to somebody who shares
    /// them, or else deleted.
    pub(super) fn release(
        &self,
        session: &mut dyn Session,
        old: &RowStamp,
        new: &RowStamp,
    ) -> Result<(), Ended> {
        let owner = match &old.shares {
            None => old.clone(),
            Some(slot) => match stamps::lock(session, slot)? {
                Some(owner)
                    if owner.fingerprint.what == old.fingerprint.what
                        && !self.is_present(&owner.task) =>
                {
                    owner
                }
                // It still has them, or has them no more.
                _ => return Ok(()),
            },
        };
        let mine = new.slot();
        let heirs = stamps::sharers(session, &owner.slot())?.into_iter();
        let heir =
            heirs.filter(|heir| heir.slot() != mine).find(|heir| self.is_present(&heir.task));
        let is_mine = owner.slot() == mine;
        match heir {
            Some(heir) => {
                let owner_is = if is_mine { Owner::Stays } else { Owner::Goes };
                self.pass_on(session, &owner, &heir, owner_is).map(|_| ())
            }
            None => {
                self.delete_rows(session, &owner, new)?;
                if !is_mine {
                    stamps::remove(session, &owner.slot())?;
                    self.note(Noted::Gone(owner.task.item.clone()));
                }
                Ok(())
            }
        }
    }

    /// Makes somebody who shares rows their owner; gives the heir's stamp.
    fn pass_on(
        &self,
        session: &mut dyn Session,
        owner: &RowStamp,
        heir: &RowStamp,
        owner_is: Owner,
    ) -> Result<RowStamp, Ended> {
        let found_by = match (self.load().and_then(|load| load.tag.as_deref()), &owner.found_by) {
            (Some(tag), Some(found_by)) => {
                Some(self.tag_anew(session, owner, found_by, tag, &heir.task)?)
            }
            (_, Some(_)) if owner_is == Owner::Stays => {
                let why = format!(
                    "its rows of before are those of {}, too: with `tag` they could be handed over",
                    heir.task
                );
                return Err(Failure::Refused(why).into());
            }
            (_, found_by) => found_by.clone(),
        };
        let stamp = RowStamp { found_by, shares: None, rows: owner.rows, ..heir.clone() };
        stamps::replace(session, &stamp)?;
        stamps::redirect(session, &owner.slot(), &stamp.slot())?;
        if owner_is == Owner::Goes {
            stamps::remove(session, &owner.slot())?;
            self.note(Noted::Gone(owner.task.item.clone()));
        }
        self.note(Noted::There(Box::new(stamp.clone())));
        Ok(stamp)
    }

    /// Gives rows the tag of another task; gives the condition that finds them then.
    fn tag_anew(
        &self,
        session: &mut dyn Session,
        owner: &RowStamp,
        found_by: &str,
        tag: &str,
        heir: &TaskName,
    ) -> Result<String, Ended> {
        let engine = session.address().engine;
        let sql = format!(
            "update {} set {} = {} where {found_by}",
            owner.table,
            engine.quoted(tag),
            engine.literal(&heir.to_string())
        );
        let changed = session.execute(&sql, &[])?;
        if owner.rows.is_some_and(|rows| rows != changed) {
            let why = format!(
                "{} of {} are those of {heir}, too, and {} were loaded: somebody else changed them",
                rows_of(changed),
                owner.table,
                owner.rows.map(rows_of).unwrap_or_default()
            );
            return Err(Failure::Refused(why).into());
        }
        Ok(load::tagged(engine, tag, heir))
    }

    /// Whether the file that is the item of a task is there.
    fn is_present(&self, task: &TaskName) -> bool {
        let Some(item) = task.item.as_deref().and_then(decode) else { return true };
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(&item));
        matches!(self.site().disk.look(path), Ok(Some(_)))
    }
}
