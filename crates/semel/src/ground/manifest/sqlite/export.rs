//! Export: all of the manifest as lines of JSON, of one moment.
//!
//! The first line is the header, the last says how many rows there were: one that is
//! cut short is not taken for a whole one. `docs/format.md` states the layout.

use std::io;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value, json};

use super::SqliteManifest;
use super::file::{Doing, latest};
use super::values::time_text;
use crate::ground::manifest::{Identity, Manifest, ManifestResult};

/// The version of the layout.
pub(super) const LAYOUT: i64 = 1;

/// The tables in the order in which they can be taken in; others come after.
const ORDER: [&str; 6] = ["run", "run_step", "part", "receipt", "file", "attempt"];

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The manifest it is of.
    pub manifest: Identity,
    /// The version of its tables.
    pub schema: i64,
    /// When it was made.
    pub at: Timestamp,
}

/// How much was exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The rows.
    pub rows: u64,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// `integer`, `text`, `blob`, `real` or `any`.
    pub(super) kind: String,
    /// Its place in the primary key, from 1; 0 if it is none of it.
    key: i64,
}

impl SqliteManifest {
    /// Writes all of it, as it is in this moment, line by line.
    ///
    /// # Errors
    /// The outer one if it cannot be read, the inner one if `put` fails.
    pub fn export(
        &self,
        at: Timestamp,
        put: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> ManifestResult<io::Result<Exported>> {
        let doing = "read the manifest";
        // One moment for all tables.
        let _moment = self.connection.unchecked_transaction().doing(doing)?;
        let identity = self.identity()?;
        let header = json!({
            "semel-export": LAYOUT,
            "schema": latest(),
            "manifest": {
                "id": identity.id,
                "born": time_text(identity.born),
                "whole_since": identity.whole_since.map(time_text),
            },
            "at": time_text(at),
        });
        if let Err(error) = put(&header.to_string()) {
            return Ok(Err(error));
        }
        let mut rows = 0;
        for table in self.tables()? {
            let columns = self.columns_of(&table)?;
            let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
            let mut keys: Vec<_> = columns.iter().filter(|column| column.key > 0).collect();
            keys.sort_by_key(|column| column.key);
            let keys: Vec<_> = keys.iter().map(|column| column.name.as_str()).collect();
            let sql =
                format!("select {} from {table} order by {}", names.join(", "), keys.join(", "));
            let mut statement = self.connection.prepare(&sql).doing(doing)?;
            let mut found = statement.query([]).doing(doing)?;
            while let Some(row) = found.next().doing(doing)? {
                let mut object = Map::new();
                for (at, column) in columns.iter().enumerate() {
                    let value = row.get_ref(at).doing(doing)?;
                    object.insert(column.name.clone(), json_of(value, &column.kind));
                }
                if let Err(error) = put(&json!({ table.as_str(): object }).to_string()) {
                    return Ok(Err(error));
                }
                rows += 1;
            }
        }
        Ok(put(&json!({ "end": { "rows": rows } }).to_string()).map(|()| Exported { rows }))
    }

    /// All tables but those of the manifest itself, in the order in which they can be taken in.
    pub(super) fn tables(&self) -> ManifestResult<Vec<String>> {
        let sql = "select name from main.sqlite_schema
            where type = 'table' and name not like 'sqlite%' and name not in ('memory', 'once_log', 'lease') order by name";
        let mut tables: Vec<String> = self.rows("read the manifest", sql, [], |row| row.get(0))?;
        let place = |name: &str| ORDER.iter().position(|known| *known == name);
        tables.sort_by_key(|name| place(name).unwrap_or(ORDER.len()));
        Ok(tables)
    }

    pub(super) fn columns_of(&self, table: &str) -> ManifestResult<Vec<Column>> {
        let sql = "select name, lower(type), pk from pragma_table_info(?)";
        self.rows("read the manifest", sql, [table], |row| {
            Ok(Column { name: row.get(0)?, kind: row.get(1)?, key: row.get(2)? })
        })
    }
}

/// A value: digests as hexadecimal text, a path that is not UTF-8 as its bytes.
fn json_of(value: ValueRef<'_>, kind: &str) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => json!(number),
        ValueRef::Real(number) => json!(number),
        ValueRef::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => json!(text),
            Err(_) => json!({ "bytes": hex(text) }),
        },
        ValueRef::Blob(bytes) if kind == "blob" => json!(hex(bytes)),
        ValueRef::Blob(bytes) => json!({ "bytes": hex(bytes) }),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a string never fails");
    }
    text
}
