//! A file that is copied into a table.

use std::path::PathBuf;

use super::{Ended, Transaction, rows_of};
use crate::ground::database::{CopyError, DbError, ErrorKind, Record, Records, Session, Table};
use crate::ground::digests;
use crate::ground::records::{Others, Reader};
use crate::ground::world::disk::Disk;
use crate::words::database::Engine;
use crate::words::nearest;
use crate::words::path::{path_of, show};
use crate::words::pipeline::Load;
use crate::words::receipt::Failure;
use crate::words::rows::{Format, Packing};
use crate::words::task::TaskName;

/// The table that a file is copied into.
pub(super) struct Target {
    /// Its name, as a statement has it.
    pub(super) name: String,
    pub(super) table: Table,
    /// The condition that finds the rows of the task, where there is one.
    pub(super) found_by: Option<String>,
}

impl Target {
    /// Looks at the table.
    ///
    /// # Errors
    /// If it is not there, or what is written to it is not kept with the transaction.
    pub(super) fn of(
        transaction: &Transaction<'_>,
        session: &mut dyn Session,
        load: &Load,
    ) -> Result<Self, Ended> {
        let bindings = transaction.bindings();
        let name = load.into.render(&bindings);
        let name = String::from_utf8(name)
            .ok()
            .filter(|name| is_table_name(name))
            .ok_or_else(|| Failure::BadInput("`into` is no name of a table".to_owned()))?;
        let engine = session.address().engine;
        let Some(table) = session.table(&name)? else {
            let known = session.tables()?;
            let known: Vec<_> = known
                .iter()
                .map(String::as_str)
                .filter(|known| !known.starts_with("semel_"))
                .collect();
            let what = not_there("table", &name, &session.address().to_string(), &known);
            return Err(Failure::Sql(what).into());
        };
        if let Some(why) = &table.not_atomic {
            let what = format!("{name} cannot be loaded safely: {why}");
            return Err(Failure::Sql(what).into());
        }
        let found_by = match (&load.tag, &load.replace_where) {
            (Some(tag), _) => Some(tagged(engine, tag, &transaction.task_name())),
            (None, Some(text)) => {
                let text = text.render_literals(&bindings, |value| engine.literal(value));
                Some(String::from_utf8_lossy(&text).into_owned())
            }
            (None, None) => load.replaces_all.then(|| "1 = 1".to_owned()),
        };
        Ok(Self { name, table, found_by })
    }
}

/// The condition that finds the rows with the tag of a task.
pub(super) fn tagged(engine: Engine, tag: &str, task: &TaskName) -> String {
    format!("{} = {}", engine.quoted(tag), engine.literal(&task.to_string()))
}

/// A file that is to be copied.
pub(super) struct Loading<'a> {
    load: &'a Load,
    pub(super) table: String,
    pub(super) identity: String,
    pub(super) found_by: Option<String>,
    path: PathBuf,
    format: Format,
    packing: Packing,
    /// The columns of the table, the tag last; and of the file, without one for the tag.
    columns: Vec<String>,
    sources: Vec<String>,
    others: Others,
    /// What goes into the tag.
    tag: Option<String>,
}

impl<'a> Loading<'a> {
    /// Looks at the file and at the table: whether the one fits into the other.
    ///
    /// # Errors
    /// If one of them is not as it must be.
    pub(super) fn of(
        transaction: &'a Transaction<'_>,
        session: &mut dyn Session,
        load: &'a Load,
    ) -> Result<Self, Ended> {
        let bindings = transaction.bindings();
        let path = match &load.file {
            Some(file) => path_of(file.render(&bindings)),
            None => path_of(bindings.item.unwrap_or_default().to_vec()),
        };
        let by_name = Format::of_name(&path);
        let format = load.format.or(by_name.map(|(format, _)| format)).ok_or_else(|| {
            Failure::BadInput(format!(
                "what is in {}? Its name does not say it: add  format = \"csv\"",
                show(&path)
            ))
        })?;
        let packing = load.packing.unwrap_or_else(|| Packing::of_name(&path));
        let target = Target::of(transaction, session, load)?;
        let mut loading = Self {
            load,
            table: target.name,
            identity: target.table.identity.clone(),
            found_by: target.found_by,
            path,
            format,
            packing,
            columns: Vec::new(),
            sources: Vec::new(),
            others: if load.columns.is_empty() { Others::Refuse } else { Others::Ignore },
            tag: load.tag.as_ref().map(|_| transaction.task_name().to_string()),
        };
        let reader = loading.open(transaction.site().disk)?;
        loading.choose_columns(&reader, &target.table)?;
        Ok(loading)
    }

    fn open(&self, disk: &dyn Disk) -> Result<Reader, Failure> {
        let wrong = |why: String| Failure::BadInput(format!("{}: {why}", show(&self.path)));
        let file = disk.open(&self.path).map_err(|error| Failure::BadInput(error.to_string()))?;
        Reader::open(file, self.format, self.packing).map_err(wrong)
    }

    /// Finds the column of the table for each column of the file.
    fn choose_columns(&mut self, reader: &Reader, table: &Table) -> Result<(), Failure> {
        let pairs: Vec<(String, String)> = if self.load.columns.is_empty() {
            reader.columns().iter().map(|name| (name.clone(), name.clone())).collect()
        } else {
            self.load.columns.clone()
        };
        let known: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let find = |wanted: &str| {
            let exact = table.columns.iter().find(|column| column.name == wanted);
            let folded =
                || table.columns.iter().find(|column| column.name.eq_ignore_ascii_case(wanted));
            exact
                .or_else(folded)
                .ok_or_else(|| Failure::Sql(not_there("column", wanted, &self.table, &known)))
        };
        for (column, source) in &pairs {
            if self.format != Format::JsonLines && !reader.columns().contains(source) {
                let have: Vec<_> = reader.columns().iter().map(String::as_str).collect();
                return Err(Failure::BadInput(not_there(
                    "column",
                    source,
                    &show(&self.path),
                    &have,
                )));
            }
            let found = find(column)?;
            if found.is_generated {
                let what = format!(
                    "column {column} of {} is computed: nothing can be loaded into it",
                    self.table
                );
                return Err(Failure::Sql(what));
            }
            if self.load.tag.as_ref().is_some_and(|tag| found.name.eq_ignore_ascii_case(tag)) {
                let what = format!(
                    "column `{source}` of {} would go into the tag `{}`",
                    show(&self.path),
                    found.name
                );
                return Err(Failure::BadInput(what));
            }
            if self.columns.contains(&found.name) {
                let what = format!("column {} of {} is filled twice", found.name, self.table);
                return Err(Failure::BadInput(what));
            }
            self.columns.push(found.name.clone());
            self.sources.push(source.clone());
        }
        if let Some(tag) = &self.load.tag {
            self.columns.push(find(tag)?.name.clone());
        }
        Ok(())
    }

    /// Copies the file; gives how many rows there are of it now.
    pub(super) fn copy(
        &self,
        transaction: &Transaction<'_>,
        session: &mut dyn Session,
    ) -> Result<u64, Ended> {
        let site = transaction.site();
        let mut reader = self.open(site.disk)?;
        let wrong = |why: String| Failure::BadInput(format!("{}: {why}", show(&self.path)));
        // One without records has no columns, if it is JSON.
        if !self.sources.is_empty() {
            reader.select(&self.sources, self.others).map_err(wrong)?;
        }
        let mut records = Tagged { reader, tag: self.tag.as_deref() };
        let columns: Vec<_> = self.columns.iter().map(String::as_str).collect();
        let copied = match session.copy(&self.table, &columns, &mut records) {
            Ok(copied) => copied,
            Err(CopyError::Source(why)) => return Err(wrong(why).into()),
            Err(CopyError::Database(error)) => return Err(self.with_place(site.disk, error)),
        };
        let sent = records.reader.rows();
        if copied != sent {
            let what = format!(
                "{} has {}, and {} arrived",
                show(&self.path),
                rows_of(sent),
                rows_of(copied)
            );
            return Err(Failure::Sql(what).into());
        }
        if let [never, ..] = &*records.reader.never_seen()
            && sent > 0
        {
            return Err(wrong(format!("no record has the key `{never}`")).into());
        }
        self.meets(transaction, copied)?;
        Ok(copied)
    }

    /// Holds what was loaded against what is expected of it.
    fn meets(&self, transaction: &Transaction<'_>, rows: u64) -> Result<(), Failure> {
        let Some(expect) = &transaction.job.view.step.expect else { return Ok(()) };
        if let Some(bound) = expect.rows.filter(|bound| !bound.holds(rows)) {
            let what = format!(
                "{} were loaded from {}; expected {bound}",
                rows_of(rows),
                show(&self.path)
            );
            return Err(Failure::BadEffect(what));
        }
        // What is packed was counted as it was read.
        if !expect.same_rows_as_in || self.packing != Packing::None {
            return Ok(());
        }
        let disk = transaction.site().disk;
        let counted = digests::read(disk, &self.path, Some(self.format.into()));
        let counted =
            counted.map_err(|error| Failure::BadInput(error.to_string()))?.rows.unwrap_or(0);
        if counted != rows {
            let what = format!(
                "{} were loaded; {} has {}",
                rows_of(rows),
                show(&self.path),
                rows_of(counted)
            );
            return Err(Failure::BadEffect(what));
        }
        Ok(())
    }

    /// Says where in the file the record is that the database does not take.
    fn with_place(&self, disk: &dyn Disk, error: DbError) -> Ended {
        let ErrorKind::BadRecord(number) = error.kind else {
            return Ended::Database(error);
        };
        let place = number.and_then(|number| {
            let found = self.open(disk).ok()?.find(number, None).ok()??;
            Some(format!(", line {}", found.line))
        });
        let text = format!("{}{}: {}", show(&self.path), place.unwrap_or_default(), error.text);
        Failure::BadInput(text).into()
    }
}

/// Records with the tag behind them.
struct Tagged<'a> {
    reader: Reader,
    tag: Option<&'a str>,
}

impl Records for Tagged<'_> {
    fn next(&mut self, record: &mut Record) -> Result<bool, String> {
        let is_there = self.reader.next(record)?;
        if let Some(tag) = self.tag.filter(|_| is_there) {
            record.push(Some(tag.as_bytes()));
        }
        Ok(is_there)
    }
}

/// Whether a text is the name of a table, perhaps with that of its schema, and nothing
/// else that could stand in a statement.
fn is_table_name(text: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(|c: char| c.is_ascii_digit())
            && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$')
    };
    let is_quoted = |part: &str| {
        let inside = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
        let inside =
            inside.or_else(|| part.strip_prefix('`').and_then(|part| part.strip_suffix('`')));
        inside.is_some_and(|inside| !inside.is_empty() && !inside.contains(['"', '`', '\0']))
    };
    let parts: Vec<_> = text.split('.').collect();
    parts.len() <= 2 && parts.iter().all(|part| is_plain(part) || is_quoted(part))
}

fn not_there(what: &str, name: &str, of: &str, known: &[&str]) -> String {
    let near = nearest(name, known.iter().copied());
    match near {
        Some(near) => format!("there is no {what} `{name}` in {of}: did you mean `{near}`?"),
        None if known.is_empty() => format!("there is no {what} `{name}` in {of}; it has none"),
        None => format!("there is no {what} `{name}` in {of}; it has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_table_is_nothing_else() {
        for name in ["flight", "public.flight", "\"Flight\"", "a_1", "größe", "`x y`", "s.\"T\""]
        {
            assert!(is_table_name(name), "{name}");
        }
        for text in ["", "a b", "flight; drop table x", "1a", "a.b.c", "a'", "\"a\"b\"", "a--"] {
            assert!(!is_table_name(text), "{text}");
        }
    }
}
