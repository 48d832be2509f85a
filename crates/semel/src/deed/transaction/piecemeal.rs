//! Scripts that a database commits statement by statement: those that change the shape of
//! tables of MySQL and MariaDB.
//!
//! Invariant: a marker is committed before the first statement, and says that the script
//! was begun until its end is.

use super::{Done, Ended, Transaction, Wrong, script};
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
        let mark = |session: &mut dyn Session| {
            let begun = RowStamp { is_whole: false, ..self.stamp() };
            match stamps::claim(session, &begun)? {
                Claim::First => {}
                Claim::Taken(found) if self.was_done_meanwhile(&found, &begun) => {
                    return Ok(Done::Already(Some(*found)));
                }
                Claim::Taken(_) => stamps::replace(session, &begun)?,
            }
            Ok(Done::ByUs(None))
        };
        if let Some(found) = self.whole(session, fence, mark)? {
            return Ok(found);
        }
        let half_done = |error: DbError| {
            let text = format!(
                "{error}; MySQL and MariaDB commit such statements one by one: those before it are done"
            );
            Ended::Wrong(Wrong::Unsettled(failure(DbError { text, ..error })))
        };
        let rows = script.run(session).map_err(half_done)?;
        let whole = RowStamp { rows: Some(rows), ..self.stamp() };
        session.begin().map_err(half_done)?;
        stamps::replace(session, &whole).map_err(half_done)?;
        session.commit().map_err(half_done)?;
        Ok(whole)
    }
}
