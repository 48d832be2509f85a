//! Where digests are remembered: `.semel/digests.db`, a SQLite file.
//!
//! Invariant: it is a cache. Where it is lost or damaged everything is hashed anew.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, Row, params};

use crate::ground::one_writer;
use crate::ground::world::disk::{Disk, Stat};
use crate::ground::world::file_system::FileSystem;
use crate::words::digest::Digest;
use crate::words::path::{bytes_of, path_of};

/// What was remembered, ordered by path.
#[derive(Default)]
pub(super) struct Known {
    paths: Vec<u8>,
    files: Vec<KnownFile>,
}

pub(super) struct KnownFile {
    path: std::ops::Range<usize>,
    pub(super) stat: Stat,
    pub(super) digest: Digest,
}

impl Known {
    fn path(&self, at: usize) -> &[u8] {
        &self.paths[self.files[at].path.clone()]
    }

    /// Finds a file. Files are mostly asked for in their order: the one after
    /// the last that was found is tried first.
    pub(super) fn find(&self, path: &[u8], hint: &mut usize) -> Option<&KnownFile> {
        let at = if *hint < self.files.len() && self.path(*hint) == path {
            *hint
        } else {
            self.files.binary_search_by(|file| self.paths[file.path.clone()].cmp(path)).ok()?
        };
        *hint = at + 1;
        Some(&self.files[at])
    }
}

pub(super) fn load(path: &Path) -> Option<Known> {
    if !path.exists() {
        return None;
    }
    if !FileSystem::is_network(path) {
        return load_all(&open_to_read(path)?);
    }
    // Where only one may use it at a time, a copy is read: it may be in use.
    let folder = one_writer::copy(path).ok()?;
    let copy = folder.path().join(path.file_name().unwrap_or_default());
    // Its journal may have to be taken back.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    load_all(&Connection::open_with_flags(copy, flags).ok()?)
}

/// A connection for those who only read; `None` where only one may use the file.
pub(super) fn open_to_read(path: &Path) -> Option<Connection> {
    if !path.exists() || FileSystem::is_network(path) {
        return None;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).ok()
}

/// What is remembered of one file.
pub(super) fn ask(connection: &Connection, path: &Path) -> Option<(Stat, Digest)> {
    let sql = "select size, mtime, ctime, inode, digest from seen where path = ?";
    let known = connection.query_row(sql, [bytes_of(path)], |row| {
        Ok((stat_at(row, 0)?, Digest::from_bytes(row.get(4)?)))
    });
    known.ok()
}

fn stat_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Stat> {
    Ok(Stat {
        size: row.get::<_, i64>(column)?.cast_unsigned(),
        mtime: row.get(column + 1)?,
        ctime: row.get(column + 2)?,
        inode: row.get::<_, i64>(column + 3)?.cast_unsigned(),
    })
}

fn load_all(connection: &Connection) -> Option<Known> {
    let mut statement = connection
        .prepare("select path, size, mtime, ctime, inode, digest from seen order by path")
        .ok()?;
    let mut rows = statement.query([]).ok()?;
    let mut known = Known::default();
    while let Some(row) = rows.next().ok()? {
        let from = known.paths.len();
        known.paths.extend_from_slice(row.get_ref(0).ok()?.as_blob().ok()?);
        known.files.push(KnownFile {
            path: from..known.paths.len(),
            stat: stat_at(row, 1).ok()?,
            digest: Digest::from_bytes(row.get(5).ok()?),
        });
    }
    Some(known)
}

pub(super) fn save(
    path: &Path,
    files: &[(PathBuf, Stat, Digest)],
    keeps_others: bool,
) -> Result<(), rusqlite::Error> {
    let mut connection = one_writer::open(path, OpenFlags::default())?;
    connection.pragma_update(None, "synchronous", one_writer::light_synchronous(path))?;
    connection.execute_batch(
        "create table if not exists seen (
             path blob primary key, size integer not null, mtime integer not null,
             ctime integer not null, inode integer not null, digest blob not null
         ) strict, without rowid;",
    )?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    if !keeps_others {
        transaction.execute("delete from seen", [])?;
    }
    {
        let mut insert =
            transaction.prepare("insert or replace into seen values (?, ?, ?, ?, ?, ?)")?;
        for (path, stat, digest) in files {
            insert.execute(params![
                bytes_of(path),
                stat.size.cast_signed(),
                stat.mtime,
                stat.ctime,
                stat.inode.cast_signed(),
                digest.as_bytes(),
            ])?;
        }
    }
    transaction.commit()
}

/// Forgets files that are gone, and says how many; with `forgets` unset it only says.
///
/// # Errors
/// If the store cannot be read or written.
pub fn forget_gone(store: &Path, disk: &dyn Disk, forgets: bool) -> Result<u64, rusqlite::Error> {
    if !store.exists() {
        return Ok(0);
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = one_writer::open(store, flags)?;
    let mut gone: Vec<Vec<u8>> = Vec::new();
    {
        let mut statement = connection.prepare("select path from seen")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let path: Vec<u8> = row.get(0)?;
            // What cannot be looked at may be there.
            if matches!(disk.look_at_link(&path_of(path.clone())), Ok(None)) {
                gone.push(path);
            }
        }
    }
    if forgets && !gone.is_empty() {
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        {
            let mut delete = transaction.prepare("delete from seen where path = ?")?;
            for path in &gone {
                delete.execute([path])?;
            }
        }
        transaction.commit()?;
    }
    Ok(gone.len() as u64)
}

pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
        || matches!(error, rusqlite::Error::SqliteFailure(_, Some(text)) if text.contains("has no column"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_files_are_found_in_any_order() {
        let mut known = Known::default();
        for name in ["a", "b", "c"] {
            let from = known.paths.len();
            known.paths.extend_from_slice(name.as_bytes());
            known.files.push(KnownFile {
                path: from..known.paths.len(),
                stat: Stat { size: 1, mtime: 0, ctime: 0, inode: 1 },
                digest: Digest::of(name.as_bytes()),
            });
        }
        let mut hint = 0;
        for name in ["a", "b", "c", "a", "c", "b", "d", "a"] {
            let found = known.find(name.as_bytes(), &mut hint).map(|file| file.digest);
            let expected = (name != "d").then(|| Digest::of(name.as_bytes()));
            assert_eq!(found, expected, "{name}");
        }
    }
}
