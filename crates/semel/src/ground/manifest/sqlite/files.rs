//! The files of all receipts, one by one: there may be millions.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::SqliteManifest;
use super::file::Doing;
use super::values::{from_hex, task_at, time_at, unsigned};
use crate::ground::manifest::{KeptFile, ManifestResult};
use crate::words::path::path_of;
use crate::words::receipt::{BY_STAT, FileRecord, FileRole};

impl SqliteManifest {
    pub(super) fn each_file(
        &self,
        role: FileRole,
        take: &mut dyn FnMut(KeptFile),
    ) -> ManifestResult<()> {
        let doing = "read the files of the receipts";
        let sql = "select r.step, r.instance, r.item, r.pipeline, r.run, r.at,
                f.name, f.path, f.bytes, f.rows, f.sha256, r.once
             from receipt r join file f on f.receipt = r.id
             where f.role = ? order by r.pipeline, r.step, r.instance, r.item, f.name, f.path";
        let mut statement = self.connection.prepare_cached(sql).doing(doing)?;
        let mut rows = statement.query([role.name()]).doing(doing)?;
        while let Some(row) = rows.next().doing(doing)? {
            take(kept_at(row, role).doing(doing)?);
        }
        Ok(())
    }
}

fn kept_at(row: &Row<'_>, role: FileRole) -> rusqlite::Result<KeptFile> {
    let path = match row.get_ref(7)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    let sha256: String = row.get(10)?;
    Ok(KeptFile {
        pipeline: row.get(3)?,
        task: task_at(row, 0)?,
        run: row.get(4)?,
        at: time_at(row, 5)?,
        once: row.get(11)?,
        file: FileRecord {
            role,
            name: row.get(6)?,
            path: path_of(path),
            bytes: row.get(8).map(unsigned)?,
            rows: row.get::<_, Option<i64>>(9)?.map(unsigned),
            digest: from_hex(sha256.strip_prefix(BY_STAT).unwrap_or(&sha256)),
            by_stat: sha256.starts_with(BY_STAT),
        },
    })
}
