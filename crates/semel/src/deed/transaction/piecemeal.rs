//! Scripts that a database commits statement by statement: those that change the shape of
//! tables of MySQL and MariaDB.
//!
//! Invariant: a marker is committed before the first statement, and says that the script
//! was begun until its end is.

use super::{Ended, Transaction, Work, Wrong, script};
use crate::deed::databases::failure;
use crate::ground::database::stamps::{self, Claim, Fence};
use crate::ground::database::{DbError, Session};
use crate::words::row_stamp::RowStamp;

impl Transaction<'_> {
    /// A script that the database commits statement by statement: a marker goes before it,
    /// and tells of a beginning until the end is reached.
    pub(super) fn piece_by_piece(
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
}
