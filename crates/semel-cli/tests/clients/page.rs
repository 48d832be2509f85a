//! The rows of `docs/reference/clients.md`.
//!
//! What is a program of the system has another version elsewhere: the page says which was
//! tried when it was written, and no test minds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::clients::{self, Client};
use crate::scene::Alone;

const BEGIN: &str = "<!-- generated: clients -->\n";
const END: &str = "<!-- end -->";
const HEAD: &str = "| client | tried | brought by | HTTP | alone, when its answer is lost | through semel |\n\
                    |---|---|---|---|---|---|\n";

/// What was seen of a client.
pub(crate) struct Row {
    pub(crate) client: &'static Client,
    pub(crate) http: &'static str,
    /// What it came to.
    pub(crate) sum: &'static str,
}

impl Row {
    fn cells(&self, version: &str) -> String {
        let alone = match self.client.alone {
            Alone::Fails => "fails; run again, it sends again",
            Alone::PaysTwice => "tries again, and pays twice",
            Alone::TriesAgainWithKey => {
                "tries again, with a key of its own; run again, with another"
            }
        };
        let Client { name, brought, .. } = self.client;
        let Self { http, sum, .. } = self;
        format!("| {name} | {version} | {brought} | {http} | {alone} | {sum} |\n")
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/clients.md")
}

/// What stands before the rows, the rows by their names, and what stands behind.
fn read() -> (String, BTreeMap<String, String>, String) {
    let page = std::fs::read_to_string(path()).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let rows = table.lines().skip(2).map(|row| (cell(row, 1).to_owned(), format!("{row}\n")));
    (before.to_owned(), rows.collect(), after.to_owned())
}

fn cell(row: &str, at: usize) -> &str {
    row.split(" | ").nth(at - 1).unwrap_or_default().trim_start_matches("| ")
}

/// A row of the page is what was seen.
pub(crate) fn holds(row: &Row) {
    // Tests run side by side.
    static PAGE: Mutex<()> = Mutex::new(());
    let _page = PAGE.lock().unwrap();
    let (before, mut rows, after) = read();
    let name = row.client.name;
    let found = rows.get(name).cloned().unwrap_or_default();
    let is_pinned = row.client.package.is_some();
    let shown = cell(&found, 2).to_owned();
    if found == row.cells(&if is_pinned { row.client.version() } else { shown }) {
        return;
    }
    let wanted = row.cells(&row.client.version());
    let is_written = std::env::var_os("SEMEL_UPDATE_DOCS").is_some();
    assert!(is_written, "clients.md is out of date:\n{found}{wanted}");
    rows.insert(name.to_owned(), wanted);
    let known = clients::all().iter().filter_map(|client| rows.get(client.name));
    let table: String = known.map(String::as_str).collect();
    std::fs::write(path(), format!("{before}{BEGIN}{HEAD}{table}{END}{after}")).unwrap();
}

/// The page has a row of each of these, and of nobody else.
pub(crate) fn has_rows_of(names: &[&str]) {
    if std::env::var_os("SEMEL_UPDATE_DOCS").is_some() {
        return;
    }
    let (_, rows, _) = read();
    let (mut found, mut wanted): (Vec<_>, _) = (rows.keys().collect(), names.to_vec());
    found.sort();
    wanted.sort_unstable();
    assert_eq!(found, wanted);
}
