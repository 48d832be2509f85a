//! What is known of a call beside its row: its sends, and what humans said of it.

use rusqlite::{Row, params};

use super::super::SqliteManifest;
use super::super::values::{maybe_time_at, signed, time_at, time_text};
use super::head_text;
use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::words::call::{Answered, CallResolution, CallSend, CallState};
use crate::words::run::By;

impl SqliteManifest {
    pub(super) fn sends_of(&self, id: i64) -> ManifestResult<Vec<CallSend>> {
        let sql = "select number, began, ended, state, reason from call_send
            where call = ? order by number";
        self.rows("read the sends of a call", sql, [id], |row| {
            Ok(CallSend {
                number: row.get(0)?,
                began: time_at(row, 1)?,
                ended: maybe_time_at(row, 2)?,
                state: row.get(3)?,
                reason: row.get(4)?,
            })
        })
    }

    pub(super) fn said_of(&self, id: i64) -> ManifestResult<Vec<CallResolution>> {
        let sql = "select call, verb, because, host, user, at from call_resolution
            where call = ? order by id";
        self.rows("read what was said of a call", sql, [id], said_at)
    }

    /// Keeps one word. Only what is unknown can be settled: what is known needs no word, and
    /// what is in flight has its end before it.
    pub(super) fn settle_call(&self, said: &CallResolution) -> ManifestResult<()> {
        let call = self.call(said.id)?;
        let Some(call) = call.filter(|call| call.state == CallState::Unknown) else {
            return Err(ManifestError::Query(format!("call {} is not unknown", said.id)));
        };
        let verb = if said.is_done { "done" } else { "redo" };
        let sql = "insert into call_resolution (call, verb, because, host, user, at) values (?, ?, ?, ?, ?, ?)";
        let values =
            params![said.id, verb, said.because, said.by.host, said.by.user, time_text(said.at)];
        self.execute("keep what was settled", sql, values)?;
        if !said.is_done {
            let sql = "update call set allowed = 1 where id = ?";
            self.execute("keep what was settled", sql, [said.id])?;
            return self.clear_sends(said.id);
        }
        if let Some((answered, body)) = &said.answer {
            self.keep_body(&answered.body, Some(body))?;
            self.keep_answer(said.id, answered)?;
        }
        let reason = format!("a human said that it happened: {}", said.because);
        self.set_state(&call, CallState::Complete, &reason, said.at)?;
        // A send that was allowed before is not wanted any more.
        let sql = "update call set allowed = 0 where id = ?";
        self.execute("keep what was settled", sql, [said.id]).map(drop)
    }

    fn keep_answer(&self, id: i64, answered: &Answered) -> ManifestResult<()> {
        let sql = "update call set status = ?, answer_head = ?, trailers = ?, answer = ?,
                answer_bytes = ?, answer_kept = ? where id = ?";
        let values = params![
            answered.status,
            head_text(&answered.head),
            head_text(&answered.trailers),
            answered.body.digest.as_bytes(),
            signed(answered.body.bytes),
            answered.body.is_kept,
            id,
        ];
        self.execute("keep what was settled", sql, values).map(drop)
    }
}

fn said_at(row: &Row<'_>) -> rusqlite::Result<CallResolution> {
    let verb: String = row.get(1)?;
    Ok(CallResolution {
        id: row.get(0)?,
        is_done: verb == "done",
        answer: None,
        because: row.get(2)?,
        // Which process it was is not kept.
        by: By { host: row.get(3)?, user: row.get(4)?, pid: 0 },
        at: time_at(row, 5)?,
    })
}
