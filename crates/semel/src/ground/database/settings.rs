//! What it takes to connect: a URL, and the variables and files that each database's own
//! clients read.
//!
//! Whoever can say `psql` or `mysql` and be connected can say `postgres:` or `mysql:` in
//! a pipeline: the same variables and files say where the database is and who logs in, and
//! the same one wins where two differ. Where semel cannot do as they say, and it
//! matters, it says no rather than do less.
//!
//! Invariant: a password comes from a variable or a file, never from a pipeline; and it
//! goes nowhere from here but into a [`Secret`], which is not printed.

pub mod mysql;
mod option_file;
mod passfile;
pub mod postgres;
mod service_file;
mod sources;
pub mod tls;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use mysql::MySql;
pub use postgres::Postgres;
use sources::Around;

use crate::words::database::{Address, Engine, SCHEMES};

/// What it takes to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// A SQLite file, as its URL names it.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Postgres),
    /// A MySQL or MariaDB server.
    MySql(MySql),
}

/// A text that is not for people: a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address in the network.
    Name(String),
    /// The folder of its sockets (PostgreSQL), or its socket (MySQL).
    Socket(PathBuf),
}

impl Settings {
    /// What it takes to connect to the database of a URL; `env` is semel's whole
    /// environment.
    ///
    /// # Errors
    /// If the URL, a variable or a file that counts cannot be understood, or asks for
    /// what semel cannot do; in words that have no secret in them.
    pub fn find(url: &str, env: &BTreeMap<String, Vec<u8>>) -> Result<Self, String> {
        Self::find_in(url, &Around::new(env, Path::new("/")))
    }

    /// Whether a URL is one, as far as can be told without looking around; it has no
    /// password in it then.
    ///
    /// # Errors
    /// If it is none, or has one; in words that have no secret in them.
    pub fn check(url: &str) -> Result<(), String> {
        let (engine, rest) = split(url)?;
        match engine {
            Engine::Sqlite => sqlite(rest).map(drop),
            Engine::Postgres => postgres::check(rest),
            Engine::MySql => mysql::check(rest),
        }
    }

    fn find_in(url: &str, around: &Around<'_>) -> Result<Self, String> {
        let (engine, rest) = split(url)?;
        match engine {
            Engine::Sqlite => sqlite(rest).map(Self::Sqlite),
            Engine::Postgres => Postgres::find(rest, around).map(Self::Postgres),
            Engine::MySql => MySql::find(rest, around).map(Self::MySql),
        }
    }

    /// Which database it is, without what nobody is to read.
    #[must_use]
    pub fn address(&self) -> Address {
        match self {
            Self::Sqlite(path) => Address {
                engine: Engine::Sqlite,
                host: String::new(),
                port: None,
                database: path.to_string_lossy().into_owned(),
            },
            Self::Postgres(to) => Address {
                engine: Engine::Postgres,
                host: to.host.shown(),
                // It is a part of the name of the socket, too.
                port: Some(to.port),
                database: to.database.clone(),
            },
            Self::MySql(to) => Address {
                engine: Engine::MySql,
                host: to.host.shown(),
                port: matches!(to.host, Host::Name(_)).then_some(to.port),
                database: to.database.clone().unwrap_or_default(),
            },
        }
    }

    /// What was passed over on the way, and may be why a login fails: a file of passwords
    /// that others can read. Whoever is refused should see it; as the clients do, semel goes
    /// on without, since a server need not ask for a password.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Sqlite(_) => &[],
            Self::Postgres(to) => &to.warnings,
            Self::MySql(to) => &to.warnings,
        }
    }
}

impl Secret {
    /// Keeps a text from being printed.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who sends it to its server.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Host {
    /// It as it stands in a URL.
    fn shown(&self) -> String {
        match self {
            Self::Name(name) if name.contains(':') => format!("[{name}]"),
            Self::Name(name) => name.clone(),
            Self::Socket(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// Why a URL is none of a database. All of it is not shown: who knows what it is.
fn unknown(scheme: Option<&str>) -> String {
    let forms = "a database is `sqlite:file`, `postgres://host/database` or \
                 `mysql://host/database`";
    let is_word =
        |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    let Some(scheme) = scheme.filter(is_word) else { return forms.to_owned() };
    // In Python the driver follows: `postgresql+psycopg://`.
    let engine = scheme.split('+').next().unwrap_or(scheme);
    let known: Vec<_> = SCHEMES.iter().map(|(name, _)| *name).collect();
    match crate::words::nearest(engine, known.iter().copied()) {
        Some(near) => format!("there is no `{scheme}:`; did you mean `{near}:`? {forms}"),
        None => format!("there is no `{scheme}:`; {forms}"),
    }
}

/// The engine of a URL, and what stands behind the colon.
fn split(url: &str) -> Result<(Engine, &str), String> {
    let (scheme, rest) = url.split_once(':').ok_or_else(|| unknown(None))?;
    let lower = scheme.to_ascii_lowercase();
    let known = SCHEMES.iter().find(|(name, _)| *name == lower);
    Ok((known.ok_or_else(|| unknown(Some(&lower)))?.1, rest))
}

/// The path of a SQLite file, relative where the URL's is.
fn sqlite(rest: &str) -> Result<PathBuf, String> {
    let path = match rest.strip_prefix("//") {
        None => rest,
        Some(path) if path.starts_with('/') => path,
        Some(_) => {
            return Err("the path of a SQLite file stands right behind `sqlite:`, or behind \
                        `sqlite://` where it begins with a slash"
                .to_owned());
        }
    };
    if path.contains('?') {
        return Err(
            "a SQLite file has no parameters; a `?` in its name is written `%3F`".to_owned()
        );
    }
    let path = url::decoded(path, "the path")?;
    if path.is_empty() {
        return Err("`sqlite:` needs the path of a file, as in `sqlite:flights.db`".to_owned());
    }
    if path == ":memory:" {
        return Err("a database in memory is gone after each run, and there is nothing to be \
                    remembered of it: `sqlite:` needs the path of a file"
            .to_owned());
    }
    // SQLite would read it as a URL of its own kind.
    if path.starts_with("file:") {
        return Err(
            "the path of a SQLite file stands right behind `sqlite:`, without `file:`".to_owned()
        );
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests;
