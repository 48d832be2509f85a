//! The file itself: made whole, opened, brought up to date, or copied to where it
//! can be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};

use super::header::{self, APPLICATION};
use super::values::time_text;
use super::{leases, sums};
use crate::ground::manifest::{Loss, Manifest as _, ManifestError, ManifestResult};
use crate::ground::one_writer::{self, BESIDE, PATIENCE, with_suffix};
use crate::ground::world::disk::Disk;
use crate::ground::world::file_system::FileSystem;
use crate::words::once::{Line, are_missing};

/// The SQL that makes each version out of the one before.
const VERSIONS: [&str; 5] = [
    include_str!("../schema/0001.sql"),
    include_str!("../schema/0002.sql"),
    include_str!("../schema/0003.sql"),
    include_str!("../schema/0004.sql"),
    include_str!("../schema/0005.sql"),
];

/// `SQLITE_CONSTRAINT_COMMITHOOK`: the fence took a commit back.
const KEPT_BACK: i32 = 19 | (2 << 8);

/// No semel will ever have that many versions.
const FAR_AHEAD: i64 = 1000;

/// Out of what a manifest is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Birth<'a> {
    /// A copy of an earlier one.
    pub backup: Option<&'a Path>,
    /// Lines of `once.log` that are taken over.
    pub lines: &'a [Line],
    /// A line of a manifest that the folder's mark tells of, known or not.
    pub mark: Option<(&'a str, u64)>,
    /// Whether more may have happened than is known then.
    pub is_incomplete: bool,
    /// The highest number that was given to a run before.
    pub runs_before: i64,
}

/// A manifest in a SQLite file.
pub struct SqliteManifest {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) access: Access,
    /// Whether commits outlive a power cut.
    pub(super) syncs_commits: bool,
    /// The lease under which it writes.
    pub(super) lease: Option<leases::Lease>,
    /// Says why nothing may be committed any more.
    pub(super) fence: Option<Fence>,
    /// Where a copy is kept that is read in place of the file; removed with us.
    _snapshot: Option<tempfile::TempDir>,
}

/// Says why nothing may be written any more, where that is so: what keeps others out
/// may be lost though the manifest does not know it yet.
pub type Fence = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
}

/// Names what was tried, should the store say no.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> ManifestResult<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str) -> ManifestResult<T> {
        self.map_err(|source| {
            if source.sqlite_error().is_some_and(|error| error.extended_code == KEPT_BACK) {
                ManifestError::Expired(None)
            } else if tells_of_damage(&source) {
                ManifestError::Damaged(source.to_string())
            } else {
                ManifestError::Store { doing, source }
            }
        })
    }
}

/// Whether our own SQL does not fit the tables: it names none that was not there, so
/// what they are like, which is kept as text, is not as it was written.
fn does_not_fit(source: &rusqlite::Error) -> bool {
    const SAID: [&str; 5] =
        ["no such ", "has no column named", "foreign key mismatch", "syntax error", "malformed"];
    let said = source.to_string();
    SAID.iter().any(|part| said.contains(part))
}

/// Whether what the store said can only come of a file that is not as semel wrote it.
fn tells_of_damage(source: &rusqlite::Error) -> bool {
    use rusqlite::{Error, ErrorCode};
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => true,
        Some(ErrorCode::Unknown) => does_not_fit(source),
        Some(_) => false,
        None if matches!(source, Error::SqlInputError { .. }) => does_not_fit(source),
        None => matches!(
            source,
            Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..)
        ),
    }
}

impl SqliteManifest {
    /// Makes a manifest, and says whether it is the one that is there now: if
    /// somebody was faster, theirs stays. It is written in the folder `draft`, which
    /// is made for it, and appears at `path` whole.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is left.
    pub fn create(
        disk: &dyn Disk,
        path: &Path,
        draft: &Path,
        birth: &Birth<'_>,
    ) -> ManifestResult<bool> {
        disk.make_folders(draft)?;
        let written = Self::write_draft(disk, path, &draft.join("manifest.db"), birth);
        // Whoever made theirs meanwhile may have cleared our draft away.
        disk.remove_all(draft)?;
        match written {
            Err(_) if path.exists() => Ok(false),
            written => written,
        }
    }

    fn write_draft(
        disk: &dyn Disk,
        path: &Path,
        draft: &Path,
        birth: &Birth<'_>,
    ) -> ManifestResult<bool> {
        Self::draft(disk, draft, birth)?;
        disk.sync(draft)?;
        match disk.rename_new(draft, path) {
            Err(error) if error.is_presence() => return Ok(false),
            renamed => renamed?,
        }
        disk.sync(path.parent().unwrap_or(Path::new("/")))?;
        Ok(true)
    }

    /// Writes a manifest to a path where nothing is, without a sync.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn draft(disk: &dyn Disk, draft: &Path, birth: &Birth<'_>) -> ManifestResult<()> {
        if let Some(backup) = birth.backup {
            disk.copy(backup, draft)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_CREATE;
        let mut manifest = Self::connect(draft, Access::Write, flags)?;
        manifest.migrate(birth.backup.is_none())?;
        manifest.be_born(birth)?;
        let known = manifest.known_lines()?;
        let is_new = |line: &&Line| known.get(&line.manifest).is_none_or(|last| line.seq > *last);
        let lines: Vec<_> = birth.lines.iter().filter(is_new).cloned().collect();
        let last = known.values().copied().max().unwrap_or(0);
        let loss = match birth.is_incomplete {
            _ if are_missing(last, &lines, birth.mark.map(|(_, seq)| seq)) => Loss::Lines,
            true => Loss::Perhaps,
            false => Loss::None,
        };
        manifest.replay(&lines, loss)?;
        if let Some((marker, seq)) = birth.mark {
            manifest.note_line(marker, seq)?;
        }
        manifest.take_in_log()
    }

    /// Takes all of the log into the file. Closing does that too, but tells nobody
    /// when there was no room for it: the file alone would be half a manifest.
    fn take_in_log(&self) -> ManifestResult<()> {
        let doing = "make the manifest";
        let sql = "pragma wal_checkpoint(truncate)";
        let was_busy: bool = self.connection.query_row(sql, [], |row| row.get(0)).doing(doing)?;
        if was_busy {
            let (doing, path) = ("cannot make", self.path.clone());
            let source = std::io::Error::other("somebody reads its draft");
            return Err(ManifestError::Io { doing, path, source });
        }
        Ok(())
    }

    /// The same, kept in a folder that goes with it.
    #[must_use]
    pub fn kept_in(self, folder: tempfile::TempDir) -> Self {
        Self { _snapshot: Some(folder), ..self }
    }

    /// Opens the manifest for writing, and brings it up to date.
    ///
    /// # Errors
    /// If there is none, or it is newer, damaged, something else, or may not be
    /// written.
    pub fn open(path: &Path) -> ManifestResult<Self> {
        if !path.exists() {
            return Err(ManifestError::Absent);
        }
        header::look(path)?;
        let mut manifest = Self::connect(path, Access::Write, OpenFlags::empty())?;
        manifest.migrate(false)?;
        Ok(manifest)
    }

    /// Commits nothing from now on unless `fence` allows it.
    ///
    /// # Errors
    /// If the store cannot be told.
    pub fn fence(&mut self, fence: Fence) -> ManifestResult<()> {
        let may_commit = Arc::clone(&fence);
        // It is asked when all is written and nothing counts yet; `true` takes it back.
        self.connection
            .commit_hook(Some(move || may_commit().is_err()))
            .doing("open the manifest")?;
        self.fence = Some(fence);
        Ok(())
    }

    /// Opens the manifest for reading. Where its folder may not be written, or only one
    /// may use it at a time, a copy is read.
    ///
    /// # Errors
    /// If there is none, or it is newer, damaged or something else.
    pub fn read(path: &Path) -> ManifestResult<Self> {
        if !path.exists() {
            return Err(ManifestError::Absent);
        }
        header::look(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
            && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        if writable && !FileSystem::is_network(path) {
            let manifest = Self::connect(path, Access::Read, OpenFlags::empty())?;
            manifest.known_version(false)?;
            return Ok(manifest);
        }
        let snapshot = one_writer::copy(path).map_err(|source| ManifestError::Io {
            doing: "cannot copy the manifest",
            path: path.to_owned(),
            source,
        })?;
        let copy = snapshot.path().join(path.file_name().unwrap_or_default());
        let mut manifest = Self::connect(&copy, Access::Read, OpenFlags::empty())?;
        manifest.known_version(false)?;
        manifest._snapshot = Some(snapshot);
        Ok(manifest)
    }

    pub(super) fn connect(path: &Path, access: Access, flags: OpenFlags) -> ManifestResult<Self> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let doing = "open the manifest";
        let connection = match access {
            Access::Write => {
                let connection = one_writer::open(path, flags).doing(doing)?;
                let synchronous = one_writer::full_synchronous(path);
                connection.pragma_update(None, "synchronous", synchronous).doing(doing)?;
                connection.pragma_update(None, "foreign_keys", true).doing(doing)?;
                connection
            }
            Access::Read => {
                let connection = Connection::open_with_flags(path, flags).doing(doing)?;
                connection.busy_timeout(PATIENCE).doing(doing)?;
                connection.pragma_update(None, "query_only", true).doing(doing)?;
                connection
            }
        };
        connection.set_prepared_statement_cache_capacity(64);
        // Else a kept statement is prepared anew for each value, in case that plans better.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).doing(doing)?;
        Ok(Self::of(connection, path, access))
    }

    pub(super) fn of(connection: Connection, path: &Path, access: Access) -> Self {
        Self {
            connection,
            path: path.to_owned(),
            access,
            syncs_commits: true,
            lease: None,
            fence: None,
            _snapshot: None,
        }
    }

    /// The version of the file; 0 if it is new. Fails if it is not ours.
    fn known_version(&self, is_draft: bool) -> ManifestResult<i64> {
        let pragma = |name: &str| -> ManifestResult<i64> {
            self.connection
                .pragma_query_value(None, name, |row| row.get(0))
                .doing("read the manifest")
        };
        let tables: i64 = self
            .connection
            .query_row("select count(*) from sqlite_schema", [], |row| row.get(0))
            .doing("read the manifest")?;
        let application = pragma("application_id")?;
        if application != i64::from(APPLICATION) && (tables > 0 || application != 0) {
            let sql =
                "select count(*) from sqlite_schema where name in ('memory', 'receipt', 'attempt')";
            let ours: i64 =
                self.connection.query_row(sql, [], |row| row.get(0)).doing("read the manifest")?;
            // Somebody's own database is not touched.
            return Err(match ours {
                3 => ManifestError::Damaged("its header was changed".to_owned()),
                _ => ManifestError::Foreign,
            });
        }
        let (found, known) = (pragma("user_version")?, latest());
        if found == 0 && !is_draft {
            // It appears whole: one that is empty was emptied.
            return Err(ManifestError::Damaged("it is empty".to_owned()));
        }
        if !(0..=FAR_AHEAD).contains(&found) {
            return Err(ManifestError::Damaged("its header was changed".to_owned()));
        }
        if found > known {
            return Err(ManifestError::Newer { found, known });
        }
        Ok(found)
    }

    /// Brings the file to the latest version, in one transaction.
    fn migrate(&mut self, is_draft: bool) -> ManifestResult<()> {
        if self.known_version(is_draft)? == latest() {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing("bring the manifest up to date")?;
        // Another process may have been faster.
        let found: i64 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .doing("bring the manifest up to date")?;
        let done = usize::try_from(found).unwrap_or(0);
        for sql in &VERSIONS[done..] {
            transaction.execute_batch(sql).map_err(|source| {
                use rusqlite::{Error, ErrorCode};
                let is_of_sql = matches!(source, Error::SqlInputError { .. })
                    || source.sqlite_error_code() == Some(ErrorCode::Unknown);
                // It has what it cannot have yet, or not what it must have.
                match is_of_sql {
                    true => ManifestError::Damaged(source.to_string()),
                    false => {
                        ManifestError::Store { doing: "bring the manifest up to date", source }
                    }
                }
            })?;
        }
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .and_then(|()| transaction.pragma_update(None, "user_version", latest()))
            .and_then(|()| transaction.commit())
            .doing("bring the manifest up to date")
    }

    /// Gives a new manifest its id.
    fn be_born(&self, birth: &Birth<'_>) -> ManifestResult<()> {
        let now = time_text(Timestamp::now());
        let id = uuid::Uuid::now_v7().to_string();
        let sql = "delete from memory";
        self.connection.execute(sql, []).doing("make the manifest")?;
        let sql = "insert into memory (id, born, runs_before) values (?, ?, ?)";
        let values = params![id, now, birth.runs_before];
        self.connection.execute(sql, values).doing("make the manifest")?;
        sums::seal_memory(&self.connection)
    }

    /// Looks through the whole file for damage, indexes and all: a receipt that an
    /// index does not show would be none.
    ///
    /// # Errors
    /// If there is any.
    pub fn check(&self) -> ManifestResult<()> {
        let said: String = self
            .connection
            .query_row("pragma integrity_check(1)", [], |row| row.get(0))
            .doing("check the manifest")?;
        if said != "ok" {
            return Err(ManifestError::Damaged(said));
        }
        sums::verify_all(&self.connection)
    }

    /// Whether nobody has it open who could write, and nobody died who had.
    #[must_use]
    pub fn was_closed(path: &Path) -> bool {
        let is_left =
            |suffix| std::fs::metadata(with_suffix(path, suffix)).is_ok_and(|meta| meta.len() > 0);
        !is_left("-wal") && !is_left("-journal")
    }

    /// The files that lie beside a manifest while it is open.
    #[must_use]
    pub fn companions(path: &Path) -> [PathBuf; 3] {
        BESIDE.map(|suffix| with_suffix(path, suffix))
    }

    pub(super) fn rows<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> ManifestResult<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql).doing(doing)?;
        let rows = statement.query_map(params, read).doing(doing)?;
        rows.collect::<rusqlite::Result<_>>().doing(doing)
    }

    pub(super) fn row<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl rusqlite::Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> ManifestResult<Option<T>> {
        let mut statement = self.connection.prepare_cached(sql).doing(doing)?;
        statement.query_row(params, read).optional().doing(doing)
    }
}

pub(super) fn latest() -> i64 {
    i64::try_from(VERSIONS.len()).expect("there are few versions")
}
