//! Databases, as they are named: an engine, and where it is.
//!
//! Invariant: nothing here is a secret. What is printed, stored or counted of a
//! connection is its [`Address`], and that has no user and no password.

use std::fmt;

/// What speaks a dialect of SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
    /// MySQL or MariaDB.
    MySql,
}

/// The words before the colon of a URL, and whose they are.
pub const SCHEMES: [(&str, Engine); 5] = [
    ("sqlite", Engine::Sqlite),
    ("postgres", Engine::Postgres),
    ("postgresql", Engine::Postgres),
    ("mysql", Engine::MySql),
    ("mariadb", Engine::MySql),
];

impl Engine {
    /// The word before the colon of a URL.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
            Self::MySql => "mysql",
        }
    }

    /// The engine that a URL names, where its beginning does.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        let scheme = url.split_once(':')?.0;
        SCHEMES.iter().find(|(name, _)| *name == scheme).map(|(_, engine)| *engine)
    }

    /// How the parameter of a place, from 1, stands in a statement.
    #[must_use]
    pub fn parameter(self, place: usize) -> String {
        match self {
            Self::Postgres => format!("${place}"),
            Self::Sqlite => format!("?{place}"),
            Self::MySql => "?".to_owned(),
        }
    }

    /// A name as it stands in a statement, whatever is in it.
    #[must_use]
    pub fn quoted(self, name: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
            Self::MySql => format!("`{}`", name.replace('`', "``")),
        }
    }

    /// A text as it stands in a statement.
    #[must_use]
    pub fn literal(self, text: &str) -> String {
        let text = text.replace('\'', "''");
        match self {
            // Without `standard_conforming_strings` a backslash would mean something.
            Self::Postgres if text.contains('\\') => {
                format!("E'{}'", text.replace('\\', "\\\\"))
            }
            Self::MySql => format!("'{}'", text.replace('\\', "\\\\")),
            Self::Postgres | Self::Sqlite => format!("'{text}'"),
        }
    }
}

/// Which database: all of a connection that people read.
///
/// ```
/// use semel::words::database::{Address, Engine};
/// let address = Address {
///     engine: Engine::Postgres,
///     host: "db7".to_owned(),
///     port: Some(5432),
///     database: "flights".to_owned(),
/// };
/// assert_eq!(address.to_string(), "postgres://db7:5432/flights");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What it speaks.
    pub engine: Engine,
    /// The host, or the folder or file of its socket; empty for a file.
    pub host: String,
    /// The port, where there is one.
    pub port: Option<u16>,
    /// The database; the path of one that is a file.
    pub database: String,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { engine, host, port, database } = self;
        match engine {
            Engine::Sqlite => write!(f, "{}:{database}", engine.name()),
            _ => {
                write!(f, "{}://{host}", engine.name())?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
                write!(f, "/{database}")
            }
        }
    }
}
