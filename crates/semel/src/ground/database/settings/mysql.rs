//! What it takes to connect to MySQL or MariaDB, found as their clients find it: what the
//! URL says, then the option files, the last of them first, then the variables, then the
//! defaults.
//!
//! Invariant: a host that is named is the host that is connected to. `localhost` means
//! the socket, as with the clients, unless the URL gives it a port: then someone means that
//! port, and not whatever listens at the socket.
//!
//! It differs from the clients in this: roots of trust that are not named are those of the
//! system; an unambiguous beginning of an option's name is not the option; and
//! `~/.mylogin.cnf` is not read.

use std::path::PathBuf;
use std::time::Duration;

use super::option_file::OptionFiles;
use super::sources::{Around, Layer, Layers, Said, or_near};
use super::tls::{Identity, Tls};
use super::url::{self, Dialect};
use super::{Host, Secret};

/// What it takes to connect to a MySQL or MariaDB server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MySql {
    /// Where it is.
    pub host: Host,
    /// Its port; of no use with a socket.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The password, if one was found.
    pub password: Option<Secret>,
    /// The database to begin in.
    pub database: Option<String>,
    /// How it is encrypted. A socket never is.
    pub tls: Tls,
    /// What shows the server who connects.
    pub identity: Option<Identity>,
    /// How long to wait for the connection.
    pub connect_timeout: Option<Duration>,
    /// What was passed over on the way, see [`super::Settings::warnings`].
    pub warnings: Vec<String>,
}

/// Whether what stands behind the colon of a URL can be understood.
pub(super) fn check(rest: &str) -> Result<(), String> {
    url::read(rest, &DIALECT).map(drop)
}

const DIALECT: Dialect = Dialect {
    scheme: "mysql",
    parameters: &[
        "connect-timeout",
        "database",
        "host",
        "port",
        "protocol",
        "socket",
        "ssl",
        "ssl-ca",
        "ssl-cert",
        "ssl-key",
        "ssl-mode",
        "ssl-verify-server-cert",
        "user",
    ],
    database: "database",
    has_dashes: true,
    password: "put it into ~/.my.cnf (`password=…` below `[client]`), or into the variable \
               MYSQL_PWD",
};

/// The files of the whole machine, in their order.
const FILES: [&str; 2] = ["/etc/my.cnf", "/etc/mysql/my.cnf"];

const VARIABLES: [(&str, &str); 4] = [
    ("host", "MYSQL_HOST"),
    ("port", "MYSQL_TCP_PORT"),
    ("socket", "MYSQL_UNIX_PORT"),
    ("password", "MYSQL_PWD"),
];

/// Where the socket is.
const SOCKETS: [&str; 3] =
    ["/run/mysqld/mysqld.sock", "/var/run/mysqld/mysqld.sock", "/tmp/mysql.sock"];

impl MySql {
    pub(super) fn find(rest: &str, around: &Around<'_>) -> Result<Self, String> {
        let url = url::read(rest, &DIALECT)?;
        let mut files = OptionFiles::default();
        let mut known = vec!["password"];
        known.extend(DIALECT.parameters);
        let of_home = around.home().map(|home| home.join(".my.cnf"));
        for path in FILES.map(|path| around.at(path)).into_iter().chain(of_home) {
            files.read(&path, &known)?;
        }
        let mut variables = Layer::new();
        for (name, variable) in VARIABLES {
            if let Some(text) = around.variable(variable)? {
                variables.insert(name.to_owned(), Said::new(text, variable));
            }
        }
        let layers = Layers(vec![url, files.layer, variables]);
        let host = host(&layers, around)?;
        let tls = match tls(&layers, around)? {
            _ if matches!(host, Host::Socket(_)) => Tls::Disable,
            tls => tls,
        };
        let identity = match tls {
            Tls::Disable => None,
            _ => identity(&layers)?,
        };
        let connect_timeout = match layers.find("connect-timeout") {
            None => None,
            Some(said) => Some(said.number::<u32>("connect-timeout")?)
                .filter(|seconds| *seconds > 0)
                .map(|seconds| Duration::from_secs(seconds.into())),
        };
        Ok(Self {
            port: layers.port(3306)?,
            user: match layers.text("user") {
                Some(user) => user,
                None => around.user()?.ok_or("there is no user: the URL names none")?,
            },
            password: layers.secret("password"),
            database: layers.text("database"),
            host,
            tls,
            identity,
            connect_timeout,
            warnings: files.warnings,
        })
    }
}

/// Where the server is.
fn host(layers: &Layers, around: &Around<'_>) -> Result<Host, String> {
    let named = layers.find("host");
    let is_remote = |said: &&Said| !said.text.eq_ignore_ascii_case("localhost");
    let in_url = |name: &str| layers.0[0].get(name).filter(|said| !said.text.is_empty());
    let socket = || {
        let path = layers.text("socket").map(PathBuf::from);
        let path = path.or_else(|| around.first_there(&SOCKETS));
        Host::Socket(path.unwrap_or_else(|| around.at(SOCKETS[0])))
    };
    let network =
        || Host::Name(named.map_or_else(|| "localhost".to_owned(), |said| said.text.clone()));
    if in_url("socket").is_some() {
        return match in_url("host").filter(is_remote).or_else(|| in_url("port")) {
            None => Ok(socket()),
            Some(_) => {
                Err("the URL names a socket, and a host or a port too: which is meant?".to_owned())
            }
        };
    }
    if let Some(said) = layers.find("protocol") {
        match said.text.to_ascii_lowercase().as_str() {
            "tcp" => return Ok(network()),
            "socket" if named.filter(is_remote).is_none() => return Ok(socket()),
            "socket" => {
                return Err(format!(
                    "{}: the protocol is `socket`, and the host another machine",
                    said.by
                ));
            }
            _ => return Err(format!("{}: semel knows the protocols tcp and socket", said.by)),
        }
    }
    match named.filter(is_remote) {
        None if in_url("port").is_none() => Ok(socket()),
        _ => Ok(network()),
    }
}

/// How the connection is encrypted. A weightier source is not outdone by a lesser one,
/// neither by another option than its own.
fn tls(layers: &Layers, around: &Around<'_>) -> Result<Tls, String> {
    let ca = layers.text("ssl-ca").map(PathBuf::from);
    let root = || ca.clone().map_or_else(|| around.system_roots(), Ok);
    let (mut mode, mut is_required, mut verifies) = (None, false, None);
    for layer in &layers.0 {
        let said = |name: &str| layer.get(name).filter(|said| !said.text.is_empty());
        if let Some(said) = said("ssl-mode") {
            mode = Some(mode_of(said)?);
            break;
        }
        let on = |name: &str| said(name).map(|said| is_on(name, said)).transpose();
        match on("ssl")? {
            Some(true) => is_required = true,
            Some(false) => {
                mode = Some(Mode::Disabled);
                break;
            }
            None => {}
        }
        verifies = verifies.or(on("ssl-verify-server-cert")?);
    }
    let mode = mode.unwrap_or_else(|| {
        let is_wanted = ["ssl-cert", "ssl-key"].iter().any(|name| layers.find(name).is_some());
        match ca {
            // As MySQL has it, a root is named to be used.
            Some(_) => Mode::VerifyCa,
            // As MariaDB has it, whoever says anything of encryption wants it.
            None if is_wanted => Mode::Required,
            None => Mode::Preferred,
        }
    });
    let mode = match verifies {
        Some(true) => Mode::VerifyIdentity,
        Some(false) => mode.min(Mode::Required),
        None => mode,
    };
    Ok(match if is_required { mode.max(Mode::Required) } else { mode } {
        Mode::Disabled => Tls::Disable,
        Mode::Preferred => Tls::Prefer,
        Mode::Required => Tls::Require,
        Mode::VerifyCa => Tls::VerifyCa { root: root()? },
        Mode::VerifyIdentity => Tls::VerifyFull { root: root()? },
    })
}

/// A `ssl-mode`, from the weakest to the strongest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

const MODES: [(&str, Mode); 5] = [
    ("DISABLED", Mode::Disabled),
    ("PREFERRED", Mode::Preferred),
    ("REQUIRED", Mode::Required),
    ("VERIFY_CA", Mode::VerifyCa),
    ("VERIFY_IDENTITY", Mode::VerifyIdentity),
];

fn mode_of(said: &Said) -> Result<Mode, String> {
    let typed = said.text.to_ascii_uppercase();
    match MODES.iter().find(|(name, _)| *name == typed) {
        Some((_, mode)) => Ok(*mode),
        None => {
            let help = or_near(&typed, &MODES.map(|(name, _)| name));
            Err(format!("{}: there is no `ssl-mode` `{}`; {help}", said.by, said.text))
        }
    }
}

fn is_on(name: &str, said: &Said) -> Result<bool, String> {
    match said.text.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" => Ok(true),
        "0" | "off" | "false" => Ok(false),
        _ => Err(format!("{}: `{name}` is 1 or 0", said.by)),
    }
}

/// The certificate that is shown to the server.
fn identity(layers: &Layers) -> Result<Option<Identity>, String> {
    match (layers.find("ssl-cert"), layers.find("ssl-key")) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => {
            Ok(Some(Identity { certificate: (&certificate.text).into(), key: (&key.text).into() }))
        }
        (Some(said), None) => Err(format!("{}: `ssl-cert` needs an `ssl-key`", said.by)),
        (None, Some(said)) => Err(format!("{}: `ssl-key` needs an `ssl-cert`", said.by)),
    }
}
