//! The manifest in one file, `.semel/manifest.db`.
//!
//! SQLite with a write-ahead log, every commit synced; every write begins with
//! `BEGIN IMMEDIATE`, so that a busy store is noticed before anything is done.
//!
//! *If we die here*: a transaction is there whole or not at all; the next one
//! who opens the file replays the log.

mod calls;
mod entries;
mod export;
mod file;
mod files;
mod gc;
mod header;
mod import;
mod leases;
mod memory;
pub mod peek;
mod replay;
mod sums;
mod values;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{OpenFlags, Row, TransactionBehavior, params};

pub use self::export::{Exported, Header};
use self::file::Doing;
pub use self::file::{Birth, Fence, SqliteManifest};
pub use self::gc::{Aged, Slot};
pub use self::import::{Conflict, ImportError, Imported};
use self::leases::Lease;
use self::sums::Sum;
use self::values::{
    RUN_COLUMNS, RUN_STEP_COLUMNS, digest_at, from_hex, item_of, maybe_time_at, path_value, run_at,
    run_step_at, signed, task_at, text_of, time_at, time_text, unsigned,
};
use super::{
    Acceptance, Answer, AttemptRecord, Attempts, Entry, Gone, Held, Identity, KeptFile, Loss,
    Manifest, ManifestError, ManifestResult, Resolution, SaidBefore, StepMemory,
};
use crate::ground::manifest::calls::Calls;
use crate::ground::one_writer;
use crate::words::digest::Digest;
use crate::words::fingerprint::Fingerprint;
use crate::words::once::Line;
use crate::words::path::{bytes_of, path_of};
use crate::words::receipt::{BY_STAT, FileRecord, FileRole, LogRange, Origin, Receipt};
use crate::words::run::{NewRun, RunRecord, RunStep};
use crate::words::task::{Instance, TaskName};

impl Manifest for SqliteManifest {
    fn again(&self) -> ManifestResult<Box<dyn Manifest>> {
        let mut other = Self::connect(&self.path, self.access, OpenFlags::empty())?;
        if let Some(fence) = &self.fence {
            other.fence(Arc::clone(fence))?;
        }
        Ok(Box::new(other))
    }

    fn call_journal(&self) -> &dyn Calls {
        self
    }

    fn identity(&self) -> ManifestResult<Identity> {
        sums::verify_memory(&self.connection)?;
        let found =
            self.row("read the manifest", "select id, born, whole_since from memory", [], |row| {
                let whole_since = maybe_time_at(row, 2)?;
                Ok(Identity { id: row.get(0)?, born: time_at(row, 1)?, whole_since })
            })?;
        found.ok_or_else(|| ManifestError::Damaged("it does not know itself".to_owned()))
    }

    fn memory_of(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<StepMemory> {
        self.remembered(pipeline, step, instance, None)
    }

    fn memory_of_task(&self, pipeline: &str, task: &TaskName) -> ManifestResult<StepMemory> {
        self.remembered(pipeline, &task.step, &task.instance, Some(item_of(task)))
    }

    fn receipt_times(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Vec<(String, Timestamp)>> {
        self.rows(
            "read the receipts",
            "select item, at from receipt where pipeline = ? and step = ? and instance = ?",
            params![pipeline, step, instance.as_str()],
            |row| Ok((row.get(0)?, time_at(row, 1)?)),
        )
    }

    fn answers(
        &self,
        pipeline: &str,
        step: &str,
        instance: &Instance,
    ) -> ManifestResult<Vec<Held>> {
        self.rows(
            "read what checks answered",
            "select item, what, how, at, sum from answer where pipeline = ? and step = ? and instance = ?",
            params![pipeline, step, instance.as_str()],
            |row| {
                let fingerprint = Fingerprint { what: digest_at(row, 1)?, how: digest_at(row, 2)? };
                let item: String = row.get(0)?;
                Sum::of("answer", &[pipeline, step, instance.as_str(), &item])
                    .bytes(fingerprint.what.as_bytes())
                    .bytes(fingerprint.how.as_bytes())
                    .verify(row, 4)?;
                Ok(Held { item, fingerprint, at: time_at(row, 3)? })
            },
        )
    }

    fn receipt(&self, pipeline: &str, task: &TaskName) -> ManifestResult<Option<Receipt>> {
        let key = params![pipeline, task.step, task.instance.as_str(), item_of(task)];
        let found = self.row(
            "read a receipt",
            "select r.id, r.what, r.how, r.encoding, g.json, h.json, r.effect, r.origin, r.at, r.run, r.seconds, r.once, r.sum
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
                    took: Duration::try_from_secs_f64(row.get(10)?).unwrap_or_default(),
                    files: Vec::new(),
                    once: row.get(11)?,
                };
                entries::receipt_sum(pipeline, &receipt).verify(row, 12)?;
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
                let sha256: String = row.get(5)?;
                Ok(FileRecord {
                    role: role_of(&role),
                    name: row.get(1)?,
                    path: path_of(path),
                    bytes: row.get(3).map(unsigned)?,
                    rows: row.get::<_, Option<i64>>(4)?.map(unsigned),
                    digest: from_hex(sha256.strip_prefix(BY_STAT).unwrap_or(&sha256)),
                    by_stat: sha256.starts_with(BY_STAT),
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

    fn files(&self, role: FileRole, take: &mut dyn FnMut(KeptFile)) -> ManifestResult<()> {
        self.each_file(role, take)
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
             where r.pipeline = ? and s.step = ? and s.instance = ?
             order by r.selected, s.run desc limit 1",
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

    fn open_attempts_of(&self, run: i64, numbers: RangeInclusive<u64>) -> ManifestResult<Vec<u64>> {
        let sql = "select number from attempt
             where run = ? and open = 1 and number between ? and ? order by number";
        let key = params![run, signed(*numbers.start()), signed(*numbers.end())];
        self.rows("read the attempts", sql, key, |row| row.get(0).map(unsigned))
    }

    fn accepted_attempts_of(
        &self,
        run: i64,
        numbers: RangeInclusive<u64>,
    ) -> ManifestResult<Vec<u64>> {
        let sql = "select number from attempt a
             where run = ? and open = 1 and number between ? and ?
             and (select verb from resolution r
                  where (r.pipeline, r.step, r.instance, r.item)
                      = (a.pipeline, a.step, a.instance, a.item) and r.acted_by is null
                  order by id desc limit 1) = 'done'
             order by number";
        let key = params![run, signed(*numbers.start()), signed(*numbers.end())];
        self.rows("read the attempts", sql, key, |row| row.get(0).map(unsigned))
    }

    fn guards(&self, pipeline: &str, step: Option<&str>) -> ManifestResult<Vec<SaidBefore>> {
        self.rows(
            "read what scripts said",
            "select step, instance, item, says, run from guard
             where pipeline = ?1 and (?2 is null or step = ?2) order by step, instance, item",
            params![pipeline, step],
            |row| Ok(SaidBefore { task: task_at(row, 0)?, says: row.get(3)?, run: row.get(4)? }),
        )
    }

    fn once_but(&self, pipeline: &str, steps: &[&str]) -> ManifestResult<Vec<Gone>> {
        let steps = serde_json::to_string(steps).unwrap_or_default();
        self.rows(
            "look for steps that are gone",
            "select step, instance, item, what from receipt
             where pipeline = ?1 and once = 1 and step not in (select value from json_each(?2))
             union
             select step, instance, item, what from attempt
             where pipeline = ?1 and once = 1 and open = 1 and undone = 0
               and step not in (select value from json_each(?2))
             order by 1, 2, 3",
            params![pipeline, steps],
            |row| {
                Ok(Gone {
                    pipeline: pipeline.to_owned(),
                    step: row.get(0)?,
                    instance: Instance::from_stored(row.get(1)?),
                    item: row.get(2)?,
                    what: digest_at(row, 3)?,
                })
            },
        )
    }

    fn pipelines(&self) -> ManifestResult<Vec<(String, String)>> {
        // Of several rows the one of the greatest number gives its other columns.
        let sql = "select pipeline, file, max(number) from run group by pipeline order by pipeline";
        self.rows("read the runs", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn is_unended(&self, run_id: &str) -> ManifestResult<bool> {
        let sql = "select 1 from run where id = ? and ended is null";
        Ok(self.row("read the runs", sql, [run_id], |_| Ok(()))?.is_some())
    }

    fn known_lines(&self) -> ManifestResult<BTreeMap<String, u64>> {
        let sql = "select manifest, seq from once_log";
        let known = self.rows("read the manifest", sql, [], |row| {
            Ok((row.get(0)?, row.get(1).map(unsigned)?))
        })?;
        Ok(known.into_iter().collect())
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
        // Numbers of which something is left are not given again.
        let sql = "insert into run (number, id, pipeline, instance, params, command, selected, host, user, pid, began, file, task)
                   select max(coalesce((select max(number) from run), 0), runs_before) + 1,
                       ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? from memory returning number";
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
            run.task.as_ref().map(ToString::to_string),
        ];
        // Without a transaction of its own the commit would come with the end of the
        // statement, whose error nobody hears.
        let doing = "note that a run begins";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        let number = transaction.query_row(sql, values, |row| row.get(0)).doing(doing)?;
        let lease = Lease::take(&transaction, run, number)?;
        transaction.commit().doing(doing)?;
        self.lease = Some(lease);
        Ok(number)
    }

    fn join_run(&mut self, id: &str) -> ManifestResult<i64> {
        let number = self.run_number(id)?;
        let number = number.ok_or_else(|| {
            ManifestError::Damaged(format!("it does not know the run {id}, which goes on"))
        })?;
        self.lease = Some(Lease::of_run(&self.connection, number)?);
        Ok(number)
    }

    fn keep_guard(
        &mut self,
        pipeline: &str,
        task: &TaskName,
        says: &str,
        run: i64,
    ) -> ManifestResult<()> {
        let sql = "insert into guard (pipeline, step, instance, item, says, run)
             values (?, ?, ?, ?, ?, ?)
             on conflict (pipeline, step, instance, item)
             do update set says = excluded.says, run = excluded.run";
        let values = params![pipeline, task.step, task.instance.as_str(), item_of(task), says, run];
        let doing = "keep what the script says";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        transaction.execute(sql, values).doing(doing)?;
        transaction.commit().doing(doing)
    }

    fn sync_commits(&mut self, yes: bool) -> ManifestResult<()> {
        if self.syncs_commits == yes {
            return Ok(());
        }
        let synchronous =
            if yes { one_writer::full_synchronous } else { one_writer::light_synchronous };
        let synchronous = synchronous(&self.path);
        self.connection
            .pragma_update(None, "synchronous", synchronous)
            .doing("say what commits outlive")?;
        self.syncs_commits = yes;
        Ok(())
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
        if let Some(held) = &self.lease {
            held.end(&transaction, ended)?;
        }
        // Those whose end could not be written when it came.
        let sql = "update attempt set ending = 'interrupted' where run = ? and ending is null";
        transaction.execute(sql, [number]).doing(doing)?;
        entries::write_steps(&transaction, number, steps).doing(doing)?;
        transaction.commit().doing(doing)
    }

    fn close_dead_run(
        &mut self,
        number: i64,
        numbers: RangeInclusive<u64>,
        logs: &[(u64, LogRange)],
        steps: &[RunStep],
    ) -> ManifestResult<()> {
        let doing = "note that a run was killed";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        let sql = "update attempt set ending = 'interrupted'
             where run = ? and ending is null and number between ? and ?";
        let values = params![number, signed(*numbers.start()), signed(*numbers.end())];
        transaction.execute(sql, values).doing(doing)?;
        entries::write_steps(&transaction, number, steps).doing(doing)?;
        for (attempt, log) in logs {
            let sql = "update attempt set log_at = ?, log_size = ? where run = ? and number = ?";
            let values = params![signed(log.at), signed(log.bytes), number, signed(*attempt)];
            transaction.execute(sql, values).doing(doing)?;
        }
        transaction.commit().doing(doing)
    }

    fn token_of(&self, run: i64) -> ManifestResult<(String, i64)> {
        let lease = Lease::of_run(&self.connection, run)?;
        Ok((lease.scope(), lease.token()))
    }

    fn verify_lease(&self) -> ManifestResult<()> {
        if let Some(fence) = &self.fence {
            fence().map_err(|why| ManifestError::Expired(Some(why)))?;
        }
        self.lease.as_ref().map_or(Ok(()), |held| held.verify(&self.connection))
    }

    fn write(&mut self, pipeline: &str, entries: &[Entry]) -> Vec<ManifestResult<()>> {
        match self.write_together(pipeline, entries) {
            Ok(()) => entries.iter().map(|_| Ok(())).collect(),
            Err(error) if entries.len() == 1 => vec![Err(error)],
            Err(ManifestError::Fenced { by }) => {
                entries.iter().map(|_| Err(ManifestError::Fenced { by })).collect()
            }
            Err(ManifestError::Expired(why)) => {
                entries.iter().map(|_| Err(ManifestError::Expired(why.clone()))).collect()
            }
            // One of them cannot be written: find out which, and write the rest.
            Err(_) => entries
                .iter()
                .map(|entry| self.write_together(pipeline, std::slice::from_ref(entry)))
                .collect(),
        }
    }

    fn write_logged(
        &mut self,
        pipeline: &str,
        entry: &Entry,
        line: (&str, u64),
    ) -> ManifestResult<()> {
        let doing = "write to the manifest";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        if let Some(held) = &self.lease {
            held.verify(&transaction)?;
        }
        entries::write_entry(&transaction, pipeline, entry)?;
        replay::note_line(&transaction, line.0, line.1)?;
        transaction.commit().doing(doing)
    }

    fn replay(&mut self, lines: &[Line], loss: Loss) -> ManifestResult<()> {
        self.replay_lines(lines, loss)
    }

    fn note_line(&mut self, manifest: &str, seq: u64) -> ManifestResult<()> {
        replay::note_line(&self.connection, manifest, seq)
    }

    fn copy_to(&self, path: &Path) -> ManifestResult<()> {
        // A name is bytes; SQLite takes them as they are.
        let name = rusqlite::types::ToSqlOutput::Borrowed(ValueRef::Text(bytes_of(path)));
        // Nothing of it is changed by that, but it counts as a write.
        let doing = "copy the manifest";
        self.connection.pragma_update(None, "query_only", false).doing(doing)?;
        let copied = self.connection.execute("vacuum into ?", [name]).doing(doing);
        let only_reads = self.access == file::Access::Read;
        self.connection.pragma_update(None, "query_only", only_reads).doing(doing)?;
        copied.map(|_| ())
    }

    fn accept(&mut self, word: &Acceptance) -> ManifestResult<()> {
        let doing = "keep what was accepted";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        replay::keep_acceptance(&transaction, word)?;
        transaction.execute("update memory set whole_since = null", []).doing(doing)?;
        sums::seal_memory(&transaction)?;
        transaction.commit().doing(doing)
    }

    fn settle(&mut self, pipeline: &str, resolutions: &[Resolution]) -> ManifestResult<()> {
        let doing = "keep what was settled";
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        for said in resolutions {
            let sql = "insert into resolution
                (pipeline, step, instance, item, verb, without_outputs, because, host, user, at, sum)
                values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let key = [pipeline, &said.task.step, said.task.instance.as_str(), item_of(&said.task)];
            let sum = Sum::of("resolution", &key)
                .text(said.verb.name())
                .number(said.without_outputs.into());
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
                sum.kept(),
            ];
            transaction.execute(sql, values).doing(doing)?;
        }
        transaction.commit().doing(doing)
    }
}

/// What a file was to a task, as it is stored.
fn role_of(name: &str) -> FileRole {
    FileRole::ALL.into_iter().find(|role| role.name() == name).unwrap_or(FileRole::Out)
}
