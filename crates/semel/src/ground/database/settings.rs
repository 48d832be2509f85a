//! What it takes to connect: a URL, and the variables and files that each database's own
//! clients read.

use std::path::PathBuf;

/// What it takes to connect.
#[derive(Clone)]
pub enum Settings {
    /// A SQLite file, as its URL names it.
    Sqlite(PathBuf),
}
