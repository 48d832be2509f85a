//! The manifest in one file, `.semel/manifest.db`.
//!
//! SQLite with a write-ahead log, every commit synced; every write begins with
//! `BEGIN IMMEDIATE`, so that a busy store is noticed before anything is done.
//!
//! *If we die here*: a transaction is there whole or not at all; the next one
//! who opens the file replays the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior, params,
};

use super::{
    Answer, AttemptRecord, Attempts, Entry, Identity, Manifest, ManifestError, ManifestResult,
    OpenAttempt, Remembered, Resolution, Said, StepMemory, Verb,
};
use crate::ground::world::disk::Disk;
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::path::{bytes_of, path_of};
use crate::words::receipt::{
    Attempt, AttemptEnd, Ending, Failure, FileRecord, FileRole, LogRange, Origin, Receipt,
};
use crate::words::run::{By, Counts, NewRun, RunRecord, RunStep};
use crate::words::task::{Instance, TaskName};

/// The SQL that makes each version out of the one before.
const VERSIONS: [&str; 1] = [include_str!("schema/0001.sql")];

/// "seml", by which the file is recognised.
const APPLICATION: i64 = 0x7365_6d6c;

/// How long a writer waits for another.
const PATIENCE: Duration = Duration::from_secs(30);

/// A manifest in a SQLite file.
pub struct SqliteManifest {
    connection: Connection,
    path: PathBuf,
    access: Access,
    /// Where a copy is kept that is read in place of the file; removed with us.
    _snapshot: Option<tempfile::TempDir>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

/// Names what was tried, should the store say no.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> ManifestResult<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str) -> ManifestResult<T> {
        self.map_err(|source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => ManifestError::Foreign,
            Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
                ManifestError::Damaged(source.to_string())
            }
            _ => ManifestError::Store { doing, source },
        })
    }
}

impl SqliteManifest {
    /// Makes an empty manifest, and says whether it is the one that is there
    /// now: if somebody was faster, theirs stays. It is written in the folder
    /// `draft`, which is made for it, and appears at `path` whole.
    ///
    /// # Errors
    /// If it cannot be written; then nothing of it is left.
    pub fn create(disk: &dyn Disk, path: &Path, draft: &Path) -> ManifestResult<bool> {
        disk.make_folders(draft)?;
        let written = Self::write_draft(disk, path, &draft.join("manifest.db"));
        // Whoever made theirs meanwhile may have cleared our draft away.
        disk.remove_all(draft)?;
        match written {
            Err(_) if path.exists() => Ok(false),
            written => written,
        }
    }

    fn write_draft(disk: &dyn Disk, path: &Path, draft: &Path) -> ManifestResult<bool> {
        let flags = OpenFlags::SQLITE_OPEN_CREATE;
        Self::connect(draft, Access::Write, flags)?.migrate()?;
        disk.sync(draft)?;
        match disk.rename_new(draft, path) {
            Err(error) if error.is_presence() => return Ok(false),
            renamed => renamed?,
        }
        disk.sync(path.parent().unwrap_or(Path::new("/")))?;
        Ok(true)
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
        let mut manifest = Self::connect(path, Access::Write, OpenFlags::empty())?;
        manifest.migrate()?;
        Ok(manifest)
    }

    /// Opens the manifest for reading. Where its folder may not be written, a
    /// copy is read.
    ///
    /// # Errors
    /// If there is none, or it is newer, damaged or something else.
    pub fn read(path: &Path) -> ManifestResult<Self> {
        if !path.exists() {
            return Err(ManifestError::Absent);
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK).is_ok()
            && rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        if writable {
            let manifest = Self::connect(path, Access::Read, OpenFlags::empty())?;
            manifest.known_version()?;
            return Ok(manifest);
        }
        let snapshot = snapshot(path)?;
        let copy = snapshot.path().join("manifest.db");
        let mut manifest = Self::connect(&copy, Access::Read, OpenFlags::empty())?;
        manifest.known_version()?;
        manifest._snapshot = Some(snapshot);
        Ok(manifest)
    }

    fn connect(path: &Path, access: Access, flags: OpenFlags) -> ManifestResult<Self> {
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).doing("open the manifest")?;
        connection.busy_timeout(PATIENCE).doing("open the manifest")?;
        connection.set_prepared_statement_cache_capacity(64);
        let pragmas = match access {
            Access::Write => {
                "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;"
            }
            Access::Read => "pragma query_only = on;",
        };
        connection.execute_batch(pragmas).doing("open the manifest")?;
        Ok(Self { connection, path: path.to_owned(), access, _snapshot: None })
    }

    /// The version of the file; 0 if it is new. Fails if it is not ours.
    fn known_version(&self) -> ManifestResult<i64> {
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
        if application != APPLICATION && (tables > 0 || application != 0) {
            return Err(ManifestError::Foreign);
        }
        let (found, known) = (pragma("user_version")?, latest());
        if found > known {
            return Err(ManifestError::Newer { found, known });
        }
        Ok(found)
    }

    /// Brings the file to the latest version, in one transaction.
    fn migrate(&mut self) -> ManifestResult<()> {
        if self.known_version()? == latest() {
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
            transaction.execute_batch(sql).doing("bring the manifest up to date")?;
        }
        if done == 0 {
            let now = time_text(Timestamp::now());
            transaction
                .execute(
                    "insert into memory (id, born, whole_since) values (?1, ?2, ?2)",
                    params![uuid::Uuid::now_v7().to_string(), now],
                )
                .doing("make the manifest")?;
        }
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .and_then(|()| transaction.pragma_update(None, "user_version", latest()))
            .and_then(|()| transaction.commit())
            .doing("bring the manifest up to date")
    }

    fn rows<T>(
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

    fn row<T>(
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

fn latest() -> i64 {
    i64::try_from(VERSIONS.len()).expect("there are few versions")
}

/// Copies the file and its log to where they can be read. A writer may be at
/// work meanwhile: a copy counts only if nothing changed while it was made.
fn snapshot(path: &Path) -> ManifestResult<tempfile::TempDir> {
    let failed = |source| ManifestError::Io {
        doing: "cannot copy the manifest",
        path: path.to_owned(),
        source,
    };
    let log = with_suffix(path, "-wal");
    let state = || {
        [path, log.as_path()].map(|file| {
            let meta = std::fs::metadata(file).ok()?;
            Some((meta.len(), meta.modified().ok()?))
        })
    };
    let mut tries = 0;
    loop {
        let folder = tempfile::tempdir().map_err(failed)?;
        let copy = folder.path().join("manifest.db");
        let before = state();
        std::fs::copy(path, &copy).map_err(failed)?;
        if before[1].is_some() {
            match std::fs::copy(&log, with_suffix(&copy, "-wal")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(failed(error));
                }
                _ => {}
            }
        }
        tries += 1;
        if state() == before {
            return Ok(folder);
        }
        if tries == 100 {
            return Err(failed(std::io::Error::other("it changes faster than it can be copied")));
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn digest_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    let bytes: [u8; 32] = row.get(column)?;
    Ok(Digest::from_bytes(bytes))
}

fn time_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error| unreadable(column, error))
}

fn maybe_time_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time_at(row, column).map(Some),
    }
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn task_at(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskName> {
    let item: String = row.get(column + 2)?;
    Ok(TaskName {
        step: row.get(column)?,
        instance: Instance::from_stored(row.get(column + 1)?),
        item: Some(item).filter(|item| !item.is_empty()),
    })
}

fn item_of(task: &TaskName) -> &str {
    task.item.as_deref().unwrap_or_default()
}

const RUN_COLUMNS: &str = "number, id, pipeline, instance, params, command, selected, host, user, pid, began, ended, status, file";

fn run_at(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        number: row.get(0)?,
        new: NewRun {
            id: row.get(1)?,
            pipeline: row.get(2)?,
            instance: Instance::from_stored(row.get(3)?),
            params: row.get(4)?,
            command: row.get(5)?,
            selected: row.get(6)?,
            by: By { host: row.get(7)?, user: row.get(8)?, pid: row.get(9)? },
            began: time_at(row, 10)?,
            file: row.get(13)?,
        },
        ended: maybe_time_at(row, 11)?,
        status: row.get(12)?,
    })
}

const RUN_STEP_COLUMNS: &str = "run, step, instance, total, ran, skipped, adopted, reused, failed, refused, busy, blocked, untried, rows, seconds, note";

fn run_step_at(row: &Row<'_>) -> rusqlite::Result<(i64, RunStep)> {
    let count = |column| row.get(column).map(unsigned);
    let step = RunStep {
        step: row.get(1)?,
        instance: Instance::from_stored(row.get(2)?),
        counts: Counts {
            total: count(3)?,
            ran: count(4)?,
            skipped: count(5)?,
            adopted: count(6)?,
            reused: count(7)?,
            failed: count(8)?,
            refused: count(9)?,
            busy: count(10)?,
            blocked: count(11)?,
            untried: count(12)?,
        },
        rows: row.get::<_, Option<i64>>(13)?.map(unsigned),
        seconds: row.get(14)?,
        note: row.get(15)?,
    };
    Ok((row.get(0)?, step))
}

impl Manifest for SqliteManifest {
    fn again(&self) -> ManifestResult<Box<dyn Manifest>> {
        Ok(Box::new(Self::connect(&self.path, self.access, OpenFlags::empty())?))
    }

    fn identity(&self) -> ManifestResult<Identity> {
        let found = self.row("read the manifest", "select id, born from memory", [], |row| {
            Ok(Identity { id: row.get(0)?, born: time_at(row, 1)? })
        })?;
        found.ok_or_else(|| ManifestError::Damaged("it does not know itself".to_owned()))
    }

    fn memory_of(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<StepMemory> {
        let key = params![pipeline, step, instance.as_str()];
        let receipts = self.rows(
            "read the receipts",
            "select item, what, how, encoding, effect, run from receipt
             where pipeline = ? and step = ? and instance = ? order by item",
            key,
            |row| {
                let effect: Option<[u8; 32]> = row.get(4)?;
                Ok(Remembered {
                    item: row.get_ref(0)?.as_str()?.into(),
                    fingerprint: Fingerprint { what: digest_at(row, 1)?, how: digest_at(row, 2)? },
                    encoding: row.get(3)?,
                    effect: effect.map(Digest::from_bytes),
                    run: row.get(5)?,
                })
            },
        )?;
        let mut open = self.rows(
            "read the open attempts",
            "select a.item, a.run, r.id, a.number, a.began, a.ending, a.reason, a.undone
             from attempt a join run r on r.number = a.run
             where a.pipeline = ? and a.step = ? and a.instance = ? and a.open = 1
             order by a.item, a.run, a.number",
            key,
            |row| {
                Ok(OpenAttempt {
                    item: row.get(0)?,
                    run: row.get(1)?,
                    run_id: row.get(2)?,
                    number: row.get(3).map(unsigned)?,
                    began: time_at(row, 4)?,
                    ending: row.get(5)?,
                    reason: row.get(6)?,
                    provably_undone: row.get(7)?,
                })
            },
        )?;
        keep_last(&mut open, |attempt| &attempt.item);
        let mut said = self.rows(
            "read what was settled",
            "select id, item, verb, without_outputs from resolution
             where pipeline = ? and step = ? and instance = ? and acted_by is null order by item, id",
            key,
            |row| {
                let verb: String = row.get(2)?;
                Ok(Said {
                    id: row.get(0)?,
                    item: row.get(1)?,
                    verb: if verb == Verb::Done.name() { Verb::Done } else { Verb::Redo },
                    without_outputs: row.get(3)?,
                })
            },
        )?;
        keep_last(&mut said, |said| &said.item);
        Ok(StepMemory { receipts, open, said })
    }

    fn receipt(&self, pipeline: &str, task: &TaskName) -> ManifestResult<Option<Receipt>> {
        let key = params![pipeline, task.step, task.instance.as_str(), item_of(task)];
        let found = self.row(
            "read a receipt",
            "select r.id, r.what, r.how, r.encoding, g.json, h.json, r.effect, r.origin, r.at, r.run, r.seconds
             from receipt r
             left join part g on g.digest = r.given left join part h on h.digest = r.how
             where r.pipeline = ? and r.step = ? and r.instance = ? and r.item = ?",
            key,
            |row| {
                let effect: Option<[u8; 32]> = row.get(6)?;
                let origin: String = row.get(7)?;
                let receipt = Receipt {
                    task: task.clone(),
                    fingerprint: Fingerprint {
                        what: digest_at(row, 1)?,
                        how: digest_at(row, 2)?,
                    },
                    encoding: row.get(3)?,
                    given: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
                    how: row.get::<_, Option<String>>(5)?.unwrap_or_default(),
                    effect: effect.map(Digest::from_bytes),
                    origin: Origin::ALL
                        .into_iter()
                        .find(|known| known.name() == origin)
                        .unwrap_or(Origin::Ran),
                    at: time_at(row, 8)?,
                    run: row.get(9)?,
                    took: Duration::from_secs_f64(row.get::<_, f64>(10)?.max(0.0)),
                    files: Vec::new(),
                };
                Ok((row.get::<_, i64>(0)?, receipt))
            },
        )?;
        let Some((id, mut receipt)) = found else {
            return Ok(None);
        };
        receipt.files = self.rows(
            "read the files of a receipt",
            "select role, name, path, bytes, rows, sha256 from file where receipt = ? order by role, name, path",
            [id],
            |row| {
                let role: String = row.get(0)?;
                let path = match row.get_ref(2)? {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
                    _ => Vec::new(),
                };
                Ok(FileRecord {
                    role: if role == FileRole::In.name() { FileRole::In } else { FileRole::Out },
                    name: row.get(1)?,
                    path: path_of(path),
                    bytes: row.get(3).map(unsigned)?,
                    rows: row.get::<_, Option<i64>>(4)?.map(unsigned),
                    digest: from_hex(&row.get::<_, String>(5)?),
                })
            },
        )?;
        Ok(Some(receipt))
    }

    fn made(&self, path: &Path, digest: &Digest) -> ManifestResult<bool> {
        let found = self.row(
            "look for a file",
            "select 1 from file where role = 'out' and path = ? and sha256 = ? limit 1",
            params![path_value(path), digest.to_string()],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    fn last_total(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<u64>> {
        self.row(
            "read the last run",
            "select s.total from run_step s join run r on r.number = s.run
             where r.pipeline = ? and s.step = ? and s.instance = ? and r.selected = 0
               and s.total = s.ran + s.skipped + s.adopted + s.reused
             order by s.run desc limit 1",
            params![pipeline, step, instance.as_str()],
            |row| row.get(0).map(unsigned),
        )
    }

    fn usual_seconds(&self, pipeline: &str, step: &str) -> ManifestResult<Option<f64>> {
        let found = self.row(
            "read the receipts",
            "select avg(seconds) from receipt where pipeline = ? and step = ? and origin = 'run'",
            params![pipeline, step],
            |row| row.get::<_, Option<f64>>(0),
        )?;
        Ok(found.flatten())
    }

    fn runs(
        &self,
        pipeline: &str,
        instance: Option<&Instance>,
        most: u32,
    ) -> ManifestResult<Vec<RunRecord>> {
        let sql = format!(
            "select {RUN_COLUMNS} from run where pipeline = ?1 and (?2 is null or instance = ?2)
             order by number desc limit ?3"
        );
        let instance = instance.map(Instance::as_str);
        self.rows("read the runs", &sql, params![pipeline, instance, most], run_at)
    }

    fn run_steps(&self, run: i64) -> ManifestResult<Vec<RunStep>> {
        let sql = format!("select {RUN_STEP_COLUMNS} from run_step where run = ?");
        let steps = self.rows("read a run", &sql, [run], run_step_at)?;
        Ok(steps.into_iter().map(|(_, step)| step).collect())
    }

    fn last_run_step(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<(i64, RunStep)>> {
        let columns =
            RUN_STEP_COLUMNS.split(", ").map(|name| format!("s.{name}")).collect::<Vec<_>>();
        let sql = format!(
            "select {} from run_step s join run r on r.number = s.run
             where r.pipeline = ? and s.step = ? and s.instance = ? order by s.run desc limit 1",
            columns.join(", ")
        );
        self.row("read the last run", &sql, params![pipeline, step, instance.as_str()], run_step_at)
    }

    fn last_receipt(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Option<Timestamp>> {
        let found = self.row(
            "read the receipts",
            "select max(at) from receipt where pipeline = ? and step = ? and instance = ?",
            params![pipeline, step, instance.as_str()],
            |row| maybe_time_at(row, 0),
        )?;
        Ok(found.flatten())
    }

    fn attempts(&self, pipeline: &str, which: Attempts<'_>) -> ManifestResult<Vec<AttemptRecord>> {
        const COLUMNS: &str = "step, instance, item, run, number, tries, began, ended, ending, reason, open, log_at, log_size";
        let read = |row: &Row<'_>| {
            Ok(AttemptRecord {
                task: task_at(row, 0)?,
                run: row.get(3)?,
                number: row.get(4).map(unsigned)?,
                tries: row.get(5)?,
                began: time_at(row, 6)?,
                ended: maybe_time_at(row, 7)?,
                ending: row.get(8)?,
                reason: row.get(9)?,
                open: row.get(10)?,
                log: LogRange { at: row.get(11).map(unsigned)?, bytes: row.get(12).map(unsigned)? },
            })
        };
        let doing = "read the attempts";
        match which {
            Attempts::OfRun(run) => {
                let sql = format!(
                    "select {COLUMNS} from attempt where run = ? and pipeline = ? order by number"
                );
                self.rows(doing, &sql, params![run, pipeline], read)
            }
            Attempts::OfTask(task) => {
                let sql = format!(
                    "select {COLUMNS} from attempt where pipeline = ?1 and step = ?2 and instance = ?3
                     and (?4 is null or item = ?4) order by run, number"
                );
                let key = params![pipeline, task.step, task.instance.as_str(), task.item];
                self.rows(doing, &sql, key, read)
            }
            Attempts::Failed => {
                let sql = format!(
                    "select {COLUMNS} from attempt where pipeline = ? and open = 1 order by run, number"
                );
                self.rows(doing, &sql, [pipeline], read)
            }
        }
    }

    fn run_number(&self, id: &str) -> ManifestResult<Option<i64>> {
        self.row("read the runs", "select number from run where id = ?", [id], |row| row.get(0))
    }

    fn open_attempts_of(&self, run: i64) -> ManifestResult<Vec<u64>> {
        let sql = "select number from attempt where run = ? and open = 1 order by number";
        self.rows("read the attempts", sql, [run], |row| row.get(0).map(unsigned))
    }

    fn query(&self, sql: &str) -> ManifestResult<Answer> {
        let wrong = |error: rusqlite::Error| ManifestError::Query(error.to_string());
        self.connection.pragma_update(None, "query_only", true).doing("read the manifest")?;
        let mut statement = self.connection.prepare(sql).map_err(wrong)?;
        if !statement.readonly() {
            return Err(ManifestError::Query(
                "this would change the manifest; only queries are answered".to_owned(),
            ));
        }
        let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
        let width = columns.len();
        let mut found = statement.query([]).map_err(wrong)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(wrong)? {
            let values = (0..width).map(|column| row.get_ref(column).map(text_of));
            rows.push(values.collect::<rusqlite::Result<_>>().map_err(wrong)?);
        }
        Ok(Answer { columns, rows })
    }

    fn begin_run(&mut self, run: &NewRun) -> ManifestResult<i64> {
        let sql = "insert into run (id, pipeline, instance, params, command, selected, host, user, pid, began, file)
                   values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning number";
        let values = params![
            run.id,
            run.pipeline,
            run.instance.as_str(),
            run.params,
            run.command,
            run.selected,
            run.by.host,
            run.by.user,
            run.by.pid,
            time_text(run.began),
            run.file,
        ];
        self.connection.query_row(sql, values, |row| row.get(0)).doing("note that a run begins")
    }

    fn end_run(
        &mut self,
        number: i64,
        ended: Timestamp,
        status: i32,
        steps: &[RunStep],
    ) -> ManifestResult<()> {
        let doing = "note that a run ended";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        let sql = "update run set ended = ?, status = ? where number = ?";
        transaction.execute(sql, params![time_text(ended), status, number]).doing(doing)?;
        for step in steps {
            let sql = format!(
                "insert or replace into run_step ({RUN_STEP_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            );
            let counts = step.counts;
            let values = params![
                number,
                step.step,
                step.instance.as_str(),
                signed(counts.total),
                signed(counts.ran),
                signed(counts.skipped),
                signed(counts.adopted),
                signed(counts.reused),
                signed(counts.failed),
                signed(counts.refused),
                signed(counts.busy),
                signed(counts.blocked),
                signed(counts.untried),
                step.rows.map(signed),
                step.seconds,
                step.note,
            ];
            transaction.execute(&sql, values).doing(doing)?;
        }
        transaction.commit().doing(doing)
    }

    fn close_dead_run(&mut self, number: i64, logs: &[(u64, LogRange)]) -> ManifestResult<()> {
        let doing = "note that a run was killed";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        let sql = "update attempt set ending = 'interrupted' where run = ? and ending is null";
        transaction.execute(sql, [number]).doing(doing)?;
        for (attempt, log) in logs {
            let sql = "update attempt set log_at = ?, log_size = ? where run = ? and number = ?";
            let values = params![signed(log.at), signed(log.bytes), number, signed(*attempt)];
            transaction.execute(sql, values).doing(doing)?;
        }
        transaction.commit().doing(doing)
    }

    fn write(&mut self, pipeline: &str, entries: &[Entry]) -> Vec<ManifestResult<()>> {
        match self.write_together(pipeline, entries) {
            Ok(()) => entries.iter().map(|_| Ok(())).collect(),
            Err(error) if entries.len() == 1 => vec![Err(error)],
            // One of them cannot be written: find out which, and write the rest.
            Err(_) => entries
                .iter()
                .map(|entry| self.write_together(pipeline, std::slice::from_ref(entry)))
                .collect(),
        }
    }

    fn settle(&mut self, pipeline: &str, resolutions: &[Resolution]) -> ManifestResult<()> {
        let doing = "keep what was settled";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        for said in resolutions {
            let sql = "insert into resolution
                (pipeline, step, instance, item, verb, without_outputs, because, host, user, at)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let values = params![
                pipeline,
                said.task.step,
                said.task.instance.as_str(),
                item_of(&said.task),
                said.verb.name(),
                said.without_outputs,
                said.because,
                said.by.host,
                said.by.user,
                time_text(said.at),
            ];
            transaction.execute(sql, values).doing(doing)?;
        }
        transaction.commit().doing(doing)
    }
}

impl SqliteManifest {
    fn write_together(&mut self, pipeline: &str, entries: &[Entry]) -> ManifestResult<()> {
        let doing = "write to the manifest";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        for entry in entries {
            match entry {
                Entry::Begin { attempt, said } => {
                    write_attempt(&transaction, pipeline, attempt, None)?;
                    act_on(&transaction, *said, attempt.run)?;
                }
                Entry::End { attempt, end, said } => {
                    write_attempt(&transaction, pipeline, attempt, Some(end))?;
                    act_on(&transaction, *said, attempt.run)?;
                }
                Entry::Complete { receipt, attempt, said } => {
                    if let Some((attempt, end)) = attempt {
                        write_attempt(&transaction, pipeline, attempt, Some(end))?;
                    }
                    write_receipt(&transaction, pipeline, receipt)?;
                    act_on(&transaction, *said, receipt.run)?;
                }
            }
        }
        transaction.commit().doing(doing)
    }
}

fn write_attempt(
    transaction: &Transaction<'_>,
    pipeline: &str,
    attempt: &Attempt,
    end: Option<&AttemptEnd>,
) -> ManifestResult<()> {
    let doing = "write an attempt";
    let (reason, status, signal) = match end.map(|end| &end.ending) {
        Some(Ending::Failed(failure)) => {
            let (status, signal) = match failure {
                Failure::Exit(status) => (Some(*status), None),
                Failure::Signal(signal) => (None, Some(*signal)),
                _ => (None, None),
            };
            (Some(failure.to_string()), status, signal)
        }
        _ => (None, None, None),
    };
    let log = end.map(|end| end.log).unwrap_or_default();
    let is_open = end.is_none_or(|end| end.ending != Ending::Done);
    let mut statement = transaction
        .prepare_cached(
            "insert into attempt (run, number, pipeline, step, instance, item, tries, what, how, began,
                ended, ending, reason, status, signal, undone, open, log_at, log_size)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (run, number) do update set ended = excluded.ended, ending = excluded.ending,
                reason = excluded.reason, status = excluded.status, signal = excluded.signal,
                undone = excluded.undone, open = excluded.open, log_at = excluded.log_at,
                log_size = excluded.log_size",
        )
        .doing(doing)?;
    statement
        .execute(params![
            attempt.run,
            signed(attempt.number),
            pipeline,
            attempt.task.step,
            attempt.task.instance.as_str(),
            item_of(&attempt.task),
            attempt.tries,
            attempt.fingerprint.what.as_bytes(),
            attempt.fingerprint.how.as_bytes(),
            time_text(attempt.began),
            end.map(|end| time_text(end.ended)),
            end.map(|end| end.ending.name()),
            reason,
            status,
            signal,
            end.is_some_and(|end| end.provably_undone),
            is_open,
            signed(log.at),
            signed(log.bytes),
        ])
        .doing(doing)?;
    Ok(())
}

fn write_receipt(
    transaction: &Transaction<'_>,
    pipeline: &str,
    receipt: &Receipt,
) -> ManifestResult<()> {
    let doing = "write a receipt";
    let task = &receipt.task;
    let given = Digest::of(receipt.given.as_bytes());
    let mut part = transaction
        .prepare_cached("insert into part (digest, json) values (?, ?) on conflict do nothing")
        .doing(doing)?;
    part.execute(params![given.as_bytes(), receipt.given]).doing(doing)?;
    part.execute(params![receipt.fingerprint.how.as_bytes(), receipt.how]).doing(doing)?;
    let mut upsert = transaction
        .prepare_cached(
            "insert into receipt (pipeline, step, instance, item, encoding, what, how, effect, given,
                origin, at, run, seconds)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             on conflict (pipeline, step, instance, item) do update set encoding = excluded.encoding,
                what = excluded.what, how = excluded.how, effect = excluded.effect,
                given = excluded.given, origin = excluded.origin, at = excluded.at,
                run = excluded.run, seconds = excluded.seconds
             returning id",
        )
        .doing(doing)?;
    let values = params![
        pipeline,
        task.step,
        task.instance.as_str(),
        item_of(task),
        receipt.encoding,
        receipt.fingerprint.what.as_bytes(),
        receipt.fingerprint.how.as_bytes(),
        receipt.effect.map(|effect| *effect.as_bytes()),
        given.as_bytes(),
        receipt.origin.name(),
        time_text(receipt.at),
        receipt.run,
        receipt.took.as_secs_f64(),
    ];
    let id: i64 = upsert.query_row(values, |row| row.get(0)).doing(doing)?;
    let mut forget =
        transaction.prepare_cached("delete from file where receipt = ?").doing(doing)?;
    forget.execute([id]).doing(doing)?;
    let mut insert = transaction
        .prepare_cached(
            "insert into file (receipt, role, name, path, bytes, rows, sha256) values (?, ?, ?, ?, ?, ?, ?)",
        )
        .doing(doing)?;
    for file in &receipt.files {
        insert
            .execute(params![
                id,
                file.role.name(),
                file.name,
                path_value(&file.path),
                signed(file.bytes),
                file.rows.map(signed),
                file.digest.to_string(),
            ])
            .doing(doing)?;
    }
    let mut close = transaction
        .prepare_cached(
            "update attempt set open = 0
             where pipeline = ? and step = ? and instance = ? and item = ? and open = 1",
        )
        .doing(doing)?;
    close
        .execute(params![pipeline, task.step, task.instance.as_str(), item_of(task)])
        .doing(doing)?;
    Ok(())
}

/// Notes that a run acted on a human's word.
fn act_on(transaction: &Transaction<'_>, said: Option<i64>, run: i64) -> ManifestResult<()> {
    let Some(said) = said else { return Ok(()) };
    let sql = "update resolution set acted_by = ? where id = ? and acted_by is null";
    transaction.execute(sql, [run, said]).doing("act on what was settled")?;
    Ok(())
}

/// A time as it is stored: always of one length, so that text sorts as time.
fn time_text(time: Timestamp) -> String {
    format!("{time:.3}")
}

/// Of several in a row for one item, the last.
fn keep_last<T>(rows: &mut Vec<T>, item: impl Fn(&T) -> &String) {
    rows.reverse();
    rows.dedup_by(|later, earlier| item(later) == item(earlier));
    rows.reverse();
}

/// A path as text; as bytes where it is not UTF-8.
fn path_value(path: &Path) -> Value {
    match path.to_str() {
        Some(text) => Value::Text(text.to_owned()),
        None => Value::Blob(bytes_of(path).to_vec()),
    }
}

fn text_of(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// The digest of hexadecimal text; of text that is none, a digest that fits
/// nothing.
fn from_hex(text: &str) -> Digest {
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).unwrap_or("00");
        *byte = u8::from_str_radix(digits, 16).unwrap_or(0);
    }
    Digest::from_bytes(bytes)
}
