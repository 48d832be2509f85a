//! Import: what was exported is taken in, all of it or nothing.
//!
//! It is read into temporary tables first, to its last line, and only then written,
//! in one transaction. Into an empty manifest everything goes as it was. Else runs
//! are recognised by their ids and get numbers that are free, and receipts are
//! recognised by their tasks.
//!
//! Invariants: a slot keeps its receipt; two receipts that say different things are
//! a conflict, and nothing is written. Whatever was taken in, memory is incomplete
//! from then on: what happened between the export and now is not known, and a `once`
//! task without memory refuses (*I6*).

use std::collections::BTreeMap;
use std::io::BufRead;

use jiff::Timestamp;
use rusqlite::types::Value as Sql;
use rusqlite::{Connection, TransactionBehavior, params, params_from_iter};
use serde_json::{Map, Value};

use super::SqliteManifest;
use super::export::{Column, Header, LAYOUT};
use super::file::{Doing, latest};
use super::sums;
use super::values::{task_at, time_text};
use crate::ground::manifest::{Identity, ManifestError, ManifestResult};
use crate::words::task::TaskName;

/// What cannot be taken in.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// It is no export, or not a whole one.
    #[error("line {line}: {why}")]
    NotAnExport {
        /// The line.
        line: u64,
        /// Why.
        why: String,
    },
    /// It was written by a newer semel.
    #[error("it was written by a newer semel: {0}")]
    Newer(String),
    /// Some tasks have another receipt already.
    #[error("tasks that have another receipt already")]
    Conflicts(Vec<Conflict>),
    /// The manifest said no.
    #[error("the manifest: {0}")]
    Manifest(#[from] ManifestError),
}

/// A task with two receipts that say different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The pipeline.
    pub pipeline: String,
    /// The task.
    pub task: TaskName,
    /// When its receipt here was written, and by which run.
    pub here: (String, i64),
    /// The same of the one that was to be taken in.
    pub there: (String, i64),
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Whether nothing was here before.
    pub was_empty: bool,
    /// New runs.
    pub runs: u64,
    /// Those of them that got another number.
    pub renumbered: u64,
    /// New receipts.
    pub receipts: u64,
    /// Receipts that are here already, and say the same.
    pub same: u64,
    /// New attempts.
    pub attempts: u64,
    /// New words of humans.
    pub words: u64,
    /// Words that no run had acted on there; they must be said here.
    pub unsaid: u64,
}

/// The columns that say what a receipt says.
const SAYS: [&str; 5] = ["encoding", "what", "how", "effect", "given"];

/// The columns of a slot.
const SLOT: &str = "pipeline, step, instance, item";

impl SqliteManifest {
    /// Reads an export to its end, into temporary tables.
    ///
    /// # Errors
    /// If it is not a whole export that this semel understands.
    pub fn receive(&mut self, lines: &mut dyn BufRead) -> Result<Header, ImportError> {
        let doing = "read what is to be imported";
        let mut columns = BTreeMap::new();
        for table in self.tables()? {
            columns.insert(table.clone(), self.columns_of(&table)?);
        }
        let transaction = self.connection.unchecked_transaction().doing(doing)?;
        for (table, columns) in &columns {
            // Without types, so that values stay what they are.
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            let sql = format!("create temp table in_{table} ({})", names.join(", "));
            transaction.execute_batch(&sql).doing(doing)?;
        }
        transaction
            .execute_batch(
                "create index temp.in_receipt_slot on in_receipt (pipeline, step, instance, item);
                 create index temp.in_file_receipt on in_file (receipt);
                 create temp table in_columns (of_table text, name text, unique (of_table, name));",
            )
            .doing(doing)?;
        let mut header = None;
        let mut rows: u64 = 0;
        let mut ended = false;
        let mut text = String::new();
        for line in 1.. {
            text.clear();
            let wrong = |why: String| ImportError::NotAnExport { line, why };
            match lines.read_line(&mut text) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                    return Err(wrong("it is not UTF-8".to_owned()));
                }
                Err(error) => return Err(error.into()),
            }
            if ended {
                return Err(wrong("something stands after the end".to_owned()));
            }
            let value: Value =
                serde_json::from_str(&text).map_err(|error| wrong(format!("no JSON: {error}")))?;
            if header.is_none() {
                header = Some(header_of(&value).map_err(|error| error.at(line))?);
                continue;
            }
            let (table, row) = tagged(&value).ok_or_else(|| wrong("no row".to_owned()))?;
            if table == "end" {
                let said = row.get("rows").and_then(Value::as_u64);
                if said != Some(rows) {
                    return Err(wrong(format!("it says {said:?} rows, and there are {rows}")));
                }
                ended = true;
                continue;
            }
            let known =
                columns.get(table).ok_or_else(|| wrong(format!("no table `{table}` is known")))?;
            insert(&transaction, table, known, row).map_err(|error| error.at(line))?;
            rows += 1;
        }
        let Some(header) = header else {
            return Err(ImportError::NotAnExport { line: 1, why: "it is empty".to_owned() });
        };
        if !ended {
            let why = format!("it was cut short: its last line is not there, after {rows} rows");
            return Err(ImportError::NotAnExport { line: rows + 2, why });
        }
        transaction.commit().doing(doing)?;
        Ok(header)
    }

    /// The pipelines and instances of what was received.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn received_instances(&self) -> ManifestResult<Vec<(String, String)>> {
        let sql = "select pipeline, instance from temp.in_run union
             select pipeline, instance from temp.in_receipt union
             select pipeline, instance from temp.in_attempt";
        self.rows("read what is to be imported", sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// Takes in what was received, all of it or nothing.
    ///
    /// # Errors
    /// If it contradicts what is here, or cannot be written; then nothing was.
    pub fn take_in(&mut self, now: Timestamp) -> Result<Imported, ImportError> {
        let doing = "import";
        let tables = self.tables()?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .doing(doing)?;
        let mut is_empty = true;
        for table in &tables {
            is_empty &= !has_rows(&transaction, &format!("main.{table}"))?;
        }
        let imported = if is_empty {
            take_in_all(&transaction, &tables)?
        } else {
            for table in &tables {
                let merges = [
                    "run",
                    "run_step",
                    "part",
                    "receipt",
                    "file",
                    "attempt",
                    "resolution",
                    "guard",
                ];
                // That an item was seen gone, or a check held, there says nothing here.
                if !merges.contains(&table.as_str())
                    && !["gone", "answer"].contains(&table.as_str())
                    && has_rows(&transaction, &format!("temp.in_{table}"))?
                {
                    let why = format!("rows of `{table}` can only be taken into an empty manifest");
                    return Err(ImportError::NotAnExport { line: 1, why });
                }
            }
            merge(&transaction)?
        };
        let Imported { runs, receipts, attempts, words, .. } = imported;
        if runs + receipts + attempts + words > 0 {
            transaction
                .execute("update memory set whole_since = ?", [time_text(now)])
                .doing(doing)?;
            sums::seal_memory(&transaction)?;
        }
        transaction.commit().doing(doing)?;
        Ok(imported)
    }
}

/// What is wrong with a line, before it is known which.
enum Wrong {
    Line(String),
    Other(ImportError),
}

impl Wrong {
    fn at(self, line: u64) -> ImportError {
        match self {
            Self::Line(why) => ImportError::NotAnExport { line, why },
            Self::Other(error) => error,
        }
    }
}

fn header_of(value: &Value) -> Result<Header, Wrong> {
    let layout = value.get("semel-export").and_then(Value::as_i64);
    let layout = layout.ok_or_else(|| Wrong::Line("this is no export of semel's".to_owned()))?;
    let number = |key: &str| value.get(key).and_then(Value::as_i64);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let missing = || Wrong::Line("the header lacks something".to_owned());
    let newer = |what: &str, found: i64, known: i64| {
        let text = format!("its {what} is {found}, this one knows up to {known}");
        Wrong::Other(ImportError::Newer(text))
    };
    if layout > LAYOUT {
        return Err(newer("layout", layout, LAYOUT));
    }
    let schema = number("schema").ok_or_else(missing)?;
    if schema > latest() {
        return Err(newer("version", schema, latest()));
    }
    let time = |value: Option<&Value>| {
        text(value).and_then(|text| text.parse::<Timestamp>().ok()).ok_or_else(missing)
    };
    let of = value.get("manifest").ok_or_else(missing)?;
    let whole_since = match of.get("whole_since") {
        None | Some(Value::Null) => None,
        since => Some(time(since)?),
    };
    let id = text(of.get("id")).ok_or_else(missing)?;
    let manifest = Identity { id, born: time(of.get("born"))?, whole_since };
    Ok(Header { manifest, schema, at: time(value.get("at"))? })
}

/// `{"run": {...}}`.
fn tagged(value: &Value) -> Option<(&str, &Map<String, Value>)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    let (table, row) = object.iter().next()?;
    Some((table, row.as_object()?))
}

fn insert(
    connection: &Connection,
    table: &str,
    columns: &[Column],
    row: &Map<String, Value>,
) -> Result<(), Wrong> {
    let store = |error: ManifestError| Wrong::Other(error.into());
    let doing = "read what is to be imported";
    let mut values = Vec::with_capacity(row.len());
    let mut names = Vec::with_capacity(row.len());
    for (name, value) in row {
        let column = columns.iter().find(|column| column.name == *name);
        let column =
            column.ok_or_else(|| Wrong::Line(format!("no column `{table}.{name}` is known")))?;
        let value = sql_of(value, &column.kind)
            .ok_or_else(|| Wrong::Line(format!("`{table}.{name}` cannot be {value}")))?;
        values.push(value);
        names.push(name.as_str());
    }
    let holes = vec!["?"; names.len()].join(", ");
    let sql = format!("insert into temp.in_{table} ({}) values ({holes})", names.join(", "));
    let mut statement = connection.prepare_cached(&sql).doing(doing).map_err(store)?;
    statement.execute(params_from_iter(values)).doing(doing).map_err(store)?;
    let sql = "insert or ignore into temp.in_columns (of_table, name) values (?, ?)";
    let mut note = connection.prepare_cached(sql).doing(doing).map_err(store)?;
    for name in names {
        note.execute([table, name]).doing(doing).map_err(store)?;
    }
    Ok(())
}

/// The value of a column of this type; `None` if it can be none.
fn sql_of(value: &Value, kind: &str) -> Option<Sql> {
    Some(match (value, kind) {
        (Value::Null, _) => Sql::Null,
        (Value::Number(number), "integer") => Sql::Integer(number.as_i64()?),
        (Value::Number(number), "real") => Sql::Real(number.as_f64()?),
        (Value::String(text), "text" | "any") => Sql::Text(text.clone()),
        (Value::String(text), "blob") => Sql::Blob(bytes_of_hex(text)?),
        (Value::Object(object), "any") => Sql::Blob(bytes_of_hex(object.get("bytes")?.as_str()?)?),
        _ => return None,
    })
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

fn has_rows(connection: &Connection, table: &str) -> ManifestResult<bool> {
    let sql = format!("select exists (select 1 from {table})");
    connection.query_row(&sql, [], |row| row.get(0)).doing("import")
}

fn execute(connection: &Connection, sql: &str) -> ManifestResult<u64> {
    connection.execute(sql, []).map(|rows| rows as u64).doing("import")
}

fn count(connection: &Connection, sql: &str) -> ManifestResult<u64> {
    let many: i64 = connection.query_row(sql, [], |row| row.get(0)).doing("import")?;
    Ok(many.unsigned_abs())
}

/// The columns of a table that the export has.
fn given_columns(connection: &Connection, table: &str) -> ManifestResult<Vec<String>> {
    let sql = "select name from temp.in_columns where of_table = ? order by name";
    let mut statement = connection.prepare(sql).doing("import")?;
    let names = statement.query_map([table], |row| row.get(0)).doing("import")?;
    names.collect::<rusqlite::Result<_>>().doing("import")
}

/// Into an empty manifest everything goes as it was.
fn take_in_all(connection: &Connection, tables: &[String]) -> ManifestResult<Imported> {
    let mut imported = Imported { was_empty: true, ..Imported::default() };
    for table in tables {
        let columns = given_columns(connection, table)?.join(", ");
        if columns.is_empty() {
            continue;
        }
        let sql =
            format!("insert into main.{table} ({columns}) select {columns} from temp.in_{table}");
        let rows = execute(connection, &sql)?;
        match table.as_str() {
            "run" => imported.runs = rows,
            "receipt" => imported.receipts = rows,
            "attempt" => imported.attempts = rows,
            "resolution" => imported.words = rows,
            _ => {}
        }
    }
    Ok(imported)
}

/// Adds what was received to what is here.
fn merge(connection: &Connection) -> Result<Imported, ImportError> {
    let conflicts = conflicts(connection)?;
    if !conflicts.is_empty() {
        return Err(ImportError::Conflicts(conflicts));
    }
    let mut imported = Imported::default();
    merge_runs(connection, &mut imported)?;
    merge_receipts(connection, &mut imported)?;
    merge_attempts(connection, &mut imported)?;
    merge_words(connection, &mut imported)?;
    merge_guards(connection)?;
    Ok(imported)
}

/// What scripts said of tasks of which they said nothing here.
fn merge_guards(connection: &Connection) -> ManifestResult<()> {
    if !given_columns(connection, "guard")?.is_empty() {
        execute(
            connection,
            "insert or ignore into main.guard (pipeline, step, instance, item, says, run)
             select i.pipeline, i.step, i.instance, i.item, i.says,
                 coalesce((select new from temp.in_number where old = i.run), 0)
             from temp.in_guard i",
        )?;
    }
    Ok(())
}

/// Tasks with another receipt here. When and by which run it was written may
/// differ: that says nothing else of the task.
fn conflicts(connection: &Connection) -> ManifestResult<Vec<Conflict>> {
    let differs: Vec<_> =
        SAYS.iter().map(|column| format!("i.{column} is not r.{column}")).collect();
    let files = "role, name, path, bytes, rows, sha256";
    let sql = format!(
        "select r.step, r.instance, r.item, r.pipeline, r.at, r.run, i.at, i.run
         from temp.in_receipt i join main.receipt r
           on r.pipeline = i.pipeline and r.step = i.step and r.instance = i.instance and r.item = i.item
         where {}
           or exists (select {files} from temp.in_file where receipt = i.id
                      except select {files} from main.file where receipt = r.id)
           or exists (select {files} from main.file where receipt = r.id
                      except select {files} from temp.in_file where receipt = i.id)
         order by r.pipeline, r.step, r.instance, r.item",
        differs.join(" or ")
    );
    let mut statement = connection.prepare(&sql).doing("import")?;
    let conflicts = statement.query_map([], |row| {
        Ok(Conflict {
            pipeline: row.get(3)?,
            task: task_at(row, 0)?,
            here: (row.get(4)?, row.get(5)?),
            there: (row.get(6)?, row.get(7)?),
        })
    });
    conflicts.doing("import")?.collect::<rusqlite::Result<_>>().doing("import")
}

/// Adds runs that are not known; each keeps its number if that is free.
fn merge_runs(connection: &Connection, imported: &mut Imported) -> ManifestResult<()> {
    let doing = "import";
    connection
        .execute_batch(
            "drop table if exists temp.in_number;
             create temp table in_number (old integer primary key, new integer, is_new integer);
             insert into temp.in_number
               select i.number, r.number, 0 from temp.in_run i join main.run r on r.id = i.id;",
        )
        .doing(doing)?;
    let sql = "select number from temp.in_run
         where number not in (select old from temp.in_number) order by number";
    let mut statement = connection.prepare(sql).doing(doing)?;
    let unknown = statement.query_map([], |row| row.get(0)).doing(doing)?;
    let unknown: Vec<i64> = unknown.collect::<rusqlite::Result<_>>().doing(doing)?;
    let mut highest: i64 = connection
        .query_row("select coalesce(max(number), 0) from main.run", [], |row| row.get(0))
        .doing(doing)?;
    for old in unknown {
        // After all that are here, so that none gets the place of another.
        highest = (highest + 1).max(old);
        let sql = "insert into temp.in_number values (?, ?, 1)";
        connection.execute(sql, params![old, highest]).doing(doing)?;
        imported.renumbered += u64::from(highest != old);
    }
    let columns = given_columns(connection, "run")?;
    let others: Vec<_> = columns.iter().filter(|name| *name != "number").cloned().collect();
    let (into, from) = (others.join(", "), others.join(", i."));
    imported.runs = execute(
        connection,
        &format!(
            "insert into main.run (number, {into}) select n.new, i.{from}
             from temp.in_run i join temp.in_number n on n.old = i.number and n.is_new = 1"
        ),
    )?;
    // One that had no end here may have one there.
    execute(
        connection,
        "update main.run set (ended, status) =
           (select i.ended, i.status from temp.in_run i where i.id = run.id)
         where ended is null and id in (select id from temp.in_run where ended is not null)",
    )?;
    let columns = given_columns(connection, "run_step")?;
    let others: Vec<_> = columns.iter().filter(|name| *name != "run").cloned().collect();
    if !others.is_empty() {
        let (into, from) = (others.join(", "), others.join(", i."));
        execute(
            connection,
            &format!(
                "insert or ignore into main.run_step (run, {into}) select n.new, i.{from}
                 from temp.in_run_step i join temp.in_number n on n.old = i.run"
            ),
        )?;
    }
    Ok(())
}

fn merge_receipts(connection: &Connection, imported: &mut Imported) -> ManifestResult<()> {
    execute(
        connection,
        "insert or ignore into main.part (digest, json) select digest, json from temp.in_part",
    )?;
    connection
        .execute_batch(
            "drop table if exists temp.in_fresh;
             create temp table in_fresh as select id from temp.in_receipt i where not exists (
               select 1 from main.receipt r where r.pipeline = i.pipeline and r.step = i.step
                 and r.instance = i.instance and r.item = i.item);",
        )
        .doing("import")?;
    let all = count(connection, "select count(*) from temp.in_receipt")?;
    let columns = given_columns(connection, "receipt")?;
    let others: Vec<_> =
        columns.iter().filter(|name| !["id", "run"].contains(&name.as_str())).cloned().collect();
    if others.is_empty() {
        return Ok(());
    }
    let (into, from) = (others.join(", "), others.join(", i."));
    imported.receipts = execute(
        connection,
        &format!(
            "insert into main.receipt (run, {into})
             select (select new from temp.in_number where old = i.run), i.{from}
             from temp.in_receipt i where i.id in (select id from temp.in_fresh) order by i.id"
        ),
    )?;
    imported.same = all - imported.receipts;
    let columns = given_columns(connection, "file")?;
    let others: Vec<_> = columns.iter().filter(|name| *name != "receipt").cloned().collect();
    if !others.is_empty() {
        let (into, from) = (others.join(", "), others.join(", f."));
        execute(
            connection,
            &format!(
                "insert into main.file (receipt, {into}) select r.id, f.{from}
                 from temp.in_fresh n join temp.in_receipt i on i.id = n.id
                 join temp.in_file f on f.receipt = i.id
                 join main.receipt r on r.pipeline = i.pipeline and r.step = i.step
                   and r.instance = i.instance and r.item = i.item"
            ),
        )?;
    }
    Ok(())
}

/// Adds attempts. The logs of runs that got another number are not ours: nothing
/// points to them.
fn merge_attempts(connection: &Connection, imported: &mut Imported) -> ManifestResult<()> {
    let columns = given_columns(connection, "attempt")?;
    let apart = ["run", "log_at", "log_size"];
    let others: Vec<_> =
        columns.iter().filter(|name| !apart.contains(&name.as_str())).cloned().collect();
    if others.is_empty() {
        return Ok(());
    }
    let (into, from) = (others.join(", "), others.join(", i."));
    let known = count(connection, "select count(*) from main.attempt")?;
    execute(
        connection,
        &format!(
            "insert into main.attempt (run, log_at, log_size, {into})
             select n.new, iif(n.new = n.old, i.log_at, 0), iif(n.new = n.old, i.log_size, 0), i.{from}
             from temp.in_attempt i join temp.in_number n on n.old = i.run where true
             on conflict (run, number) do update set ended = excluded.ended, ending = excluded.ending,
               reason = excluded.reason, status = excluded.status, signal = excluded.signal,
               undone = excluded.undone, open = min(open, excluded.open)
             where attempt.ending is null and excluded.ending is not null"
        ),
    )?;
    imported.attempts = count(connection, "select count(*) from main.attempt")? - known;
    // A receipt that was written after an attempt began closes it, wherever it was.
    execute(
        connection,
        &format!(
            "update main.attempt set open = 0 where open = 1
               and ({SLOT}) in (select {SLOT} from temp.in_receipt union select {SLOT} from temp.in_attempt)
               and exists (select 1 from main.receipt r where r.pipeline = attempt.pipeline
                 and r.step = attempt.step and r.instance = attempt.instance
                 and r.item = attempt.item and r.at > attempt.began)"
        ),
    )?;
    Ok(())
}

/// Adds what humans said and runs acted on. What nobody acted on there may have been
/// acted on since: it is not taken in.
fn merge_words(connection: &Connection, imported: &mut Imported) -> ManifestResult<()> {
    let columns = given_columns(connection, "resolution")?;
    let others: Vec<_> = columns
        .iter()
        .filter(|name| !["id", "acted_by"].contains(&name.as_str()))
        .cloned()
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    let (into, from) = (others.join(", "), others.join(", i."));
    let same: Vec<_> = others.iter().map(|name| format!("r.{name} is i.{name}")).collect();
    let is_here = format!("exists (select 1 from main.resolution r where {})", same.join(" and "));
    imported.unsaid = count(
        connection,
        &format!(
            "select count(*) from temp.in_resolution i where acted_by is null and not {is_here}"
        ),
    )?;
    imported.words = execute(
        connection,
        &format!(
            "insert into main.resolution ({into}, acted_by)
             select i.{from}, coalesce((select new from temp.in_number where old = i.acted_by), i.acted_by)
             from temp.in_resolution i where i.acted_by is not null and not {is_here} order by i.id"
        ),
    )?;
    Ok(())
}
