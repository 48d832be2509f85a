//! What is remembered of a step, or of one of its tasks: receipts, open attempts, and
//! what humans said. Each row is held against its sum.

use std::sync::Arc;

use rusqlite::{Row, ToSql};

use super::SqliteManifest;
use super::sums::Sum;
use super::values::{digest_at, keep_last, time_at, unsigned, verb_at};
use crate::ground::manifest::{ManifestResult, OpenAttempt, Remembered, Said, StepMemory};
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::run::Worker;
use crate::words::task::Instance;

/// A receipt, held against its sum: item, what, how, encoding, effect, run, once, sum.
pub(super) fn receipt_at(row: &Row<'_>, of_receipt: &Sum) -> rusqlite::Result<Remembered> {
    let effect: Option<[u8; 32]> = row.get(4)?;
    let item = row.get_ref(0)?.as_str()?;
    let fingerprint = Fingerprint { what: digest_at(row, 1)?, how: digest_at(row, 2)? };
    let encoding = row.get(3)?;
    of_receipt
        .text(item)
        .number(encoding)
        .bytes(fingerprint.what.as_bytes())
        .bytes(fingerprint.how.as_bytes())
        .maybe(effect.as_ref().map(<[u8; 32]>::as_slice))
        .number(row.get(6)?)
        .verify(row, 7)?;
    Ok(Remembered {
        item: item.into(),
        fingerprint,
        encoding,
        effect: effect.map(Digest::from_bytes),
        run: row.get(5)?,
        former: None,
    })
}

impl SqliteManifest {
    /// What is remembered of a step and instance; with `item`, of that alone.
    pub(super) fn remembered(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
        item: Option<&str>,
    ) -> ManifestResult<StepMemory> {
        // A condition that may be left out would keep the index from being used.
        let (also, of_attempt) = match item {
            Some(_) => (" and item = ?4", " and a.item = ?4"),
            None => ("", ""),
        };
        let key: [&dyn ToSql; 4] = [&pipeline, &step, &instance.as_str(), &item];
        let key = &key[..if item.is_some() { 4 } else { 3 }];
        let of = |table| Sum::of(table, &[pipeline, step, instance.as_str()]);
        let of_receipt = of("receipt");
        let receipts = self.rows(
            "read the receipts",
            &format!(
                "select item, what, how, encoding, effect, run, once, sum from receipt
                 where pipeline = ?1 and step = ?2 and instance = ?3{also} order by item"
            ),
            key,
            |row| receipt_at(row, &of_receipt),
        )?;
        let mut open = self.rows(
            "read the open attempts",
            &format!(
                "select a.item, a.run, r.id, a.number, a.began, a.ending, a.reason, a.undone, a.what, a.how, a.once, a.sum
                 from attempt a join run r on r.number = a.run
                 where a.pipeline = ?1 and a.step = ?2 and a.instance = ?3 and a.open = 1{of_attempt}
                 order by a.item, a.run, a.number"
            ),
            key,
            |row| {
                let item: String = row.get(0)?;
                let fingerprint = Fingerprint { what: digest_at(row, 8)?, how: digest_at(row, 9)? };
                of("attempt")
                    .text(&item)
                    .number(row.get(3)?)
                    .bytes(fingerprint.what.as_bytes())
                    .bytes(fingerprint.how.as_bytes())
                    .number(row.get(7)?)
                    .number(row.get(10)?)
                    .verify(row, 11)?;
                let number = row.get(3).map(unsigned)?;
                Ok(OpenAttempt {
                    item,
                    run: row.get(1)?,
                    run_id: Worker::of(row.get_ref(2)?.as_str()?, number).name(),
                    number,
                    began: time_at(row, 4)?,
                    ending: row.get(5)?,
                    reason: row.get(6)?,
                    provably_undone: row.get(7)?,
                    fingerprint,
                })
            },
        )?;
        keep_last(&mut open, |attempt| &attempt.item);
        let mut said = self.rows(
            "read what was settled",
            &format!(
                "select id, item, verb, without_outputs, sum from resolution
                 where pipeline = ?1 and step = ?2 and instance = ?3 and acted_by is null{also}
                 order by item, id"
            ),
            key,
            |row| {
                let (item, verb): (String, String) = (row.get(1)?, row.get(2)?);
                of("resolution").text(&item).text(&verb).number(row.get(3)?).verify(row, 4)?;
                Ok(Said {
                    id: row.get(0)?,
                    item,
                    verb: verb_at(&verb, 2)?,
                    without_outputs: row.get(3)?,
                })
            },
        )?;
        keep_last(&mut said, |said| &said.item);
        Ok(StepMemory { receipts, open, said, gone: Arc::default() })
    }
}
