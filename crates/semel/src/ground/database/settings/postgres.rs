//! What it takes to connect to PostgreSQL, found as libpq finds it: what the URL says,
//! then the service that is named, then the variables, then the defaults.
//!
//! Invariant: a parameter or variable of libpq that asks for more safety than semel can
//! give is refused. What is merely of no use here is passed over in files and variables,
//! which are there for other programs too, and refused in a URL.
//!
//! It differs from libpq in this: one host only; `sslmode=allow` is `prefer`, which
//! encrypts where `allow` need not; `prefer` never verifies; lists of revoked certificates
//! are not read; and the account's name is taken from `USER` first.

mod encryption;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sources::{Around, Layer, Layers, Said};
use super::tls::{Identity, Tls};
use super::url::{self, Dialect};
use super::{Host, Secret, passfile, service_file};

/// What it takes to connect to a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Where it is; also the name that its certificate is verified against.
    pub host: Host,
    /// The address to connect to instead of asking for that of the host.
    pub address: Option<IpAddr>,
    /// Its port; of a socket, the number in its name.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// The password, if one was found.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// How it is encrypted. A socket never is.
    pub tls: Tls,
    /// What shows the server who connects.
    pub identity: Option<Identity>,
    /// Whether the login must be bound to the encryption.
    pub channel_binding: ChannelBinding,
    /// How long to wait for the connection.
    pub connect_timeout: Option<Duration>,
    /// Options of the session, as on the command line of a server; empty where there are
    /// none.
    pub options: String,
    /// What the server calls us in its lists.
    pub application_name: String,
    /// Whether it is of use only if it can be written to.
    pub must_be_writable: bool,
    /// What was passed over on the way, see [`super::Settings::warnings`].
    pub warnings: Vec<String>,
}

/// Whether a login must be bound to the encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// It is not.
    Disable,
    /// Where the server can.
    Prefer,
    /// It must be.
    Require,
}

/// What is done with a parameter of libpq.
#[derive(Clone, Copy)]
enum Use {
    /// What it says.
    Taken,
    /// Nothing: it does not matter here.
    PassedOver,
    /// It may say what semel does anyway.
    Only(&'static [&'static str]),
}
use Use::{Only, PassedOver, Taken};

/// The parameters of libpq, with their variables.
const PARAMETERS: [(&str, &str, Use); 45] = [
    ("application_name", "PGAPPNAME", Taken),
    ("channel_binding", "PGCHANNELBINDING", Taken),
    ("client_encoding", "PGCLIENTENCODING", PassedOver),
    ("connect_timeout", "PGCONNECT_TIMEOUT", Taken),
    ("dbname", "PGDATABASE", Taken),
    ("fallback_application_name", "", PassedOver),
    ("gssdelegation", "PGGSSDELEGATION", PassedOver),
    ("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"])),
    ("gsslib", "PGGSSLIB", PassedOver),
    ("host", "PGHOST", Taken),
    ("hostaddr", "PGHOSTADDR", Taken),
    ("keepalives", "", PassedOver),
    ("keepalives_count", "", PassedOver),
    ("keepalives_idle", "", PassedOver),
    ("keepalives_interval", "", PassedOver),
    ("krbsrvname", "PGKRBSRVNAME", PassedOver),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS", PassedOver),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION", PassedOver),
    ("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"])),
    ("options", "PGOPTIONS", Taken),
    ("passfile", "PGPASSFILE", Taken),
    ("password", "PGPASSWORD", Taken),
    ("port", "PGPORT", Taken),
    ("replication", "", Only(&["false", "off", "no", "0"])),
    ("require_auth", "PGREQUIREAUTH", Only(&[])),
    ("requirepeer", "PGREQUIREPEER", Only(&[])),
    ("service", "PGSERVICE", Taken),
    ("servicefile", "", Only(&[])),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Only(&["TLSv1.3"])),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Only(&["TLSv1", "TLSv1.1", "TLSv1.2"])),
    ("sslcert", "PGSSLCERT", Taken),
    ("sslcertmode", "PGSSLCERTMODE", Only(&["allow"])),
    ("sslcompression", "PGSSLCOMPRESSION", PassedOver),
    ("sslcrl", "PGSSLCRL", Only(&[])),
    ("sslcrldir", "PGSSLCRLDIR", Only(&[])),
    ("sslkey", "PGSSLKEY", Taken),
    ("sslmode", "PGSSLMODE", Taken),
    ("sslnegotiation", "PGSSLNEGOTIATION", Only(&["postgres"])),
    ("sslpassword", "", Only(&[])),
    ("sslrootcert", "PGSSLROOTCERT", Taken),
    ("sslsni", "PGSSLSNI", PassedOver),
    ("target_session_attrs", "PGTARGETSESSIONATTRS", Only(&["any", "read-write"])),
    ("tcp_user_timeout", "", PassedOver),
    ("user", "PGUSER", Taken),
    ("requiressl", "", Only(&["0"])),
];

/// Whether what stands behind the colon of a URL can be understood.
pub(super) fn check(rest: &str) -> Result<(), String> {
    url::read(rest, &DIALECT).map(drop)
}

const DIALECT: Dialect = Dialect {
    scheme: "postgres",
    parameters: &[
        "application_name",
        "channel_binding",
        "connect_timeout",
        "dbname",
        "host",
        "hostaddr",
        "options",
        "passfile",
        "port",
        "service",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "user",
    ],
    database: "dbname",
    has_dashes: false,
    password: "put it into ~/.pgpass (host:port:database:user:password), or into the variable \
               PGPASSWORD",
};

/// Variables that libpq turns into settings of the session.
const OF_THE_SESSION: [(&str, &str); 3] =
    [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")];

/// Where Debian's libpq, and the original, look for the socket.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

impl Postgres {
    pub(super) fn find(rest: &str, around: &Around<'_>) -> Result<Self, String> {
        let layers = layers(rest, around)?;
        let mut warnings = Vec::new();
        let default_socket = around.first_there(&SOCKETS).unwrap_or_else(|| around.at(SOCKETS[1]));
        let (host, address) = place(&layers, &default_socket)?;
        let port = layers.port(5432)?;
        let user = match layers.text("user") {
            Some(user) => user,
            None => {
                around.user()?.ok_or("there is no user: neither the URL nor PGUSER names one")?
            }
        };
        let database = layers.text("dbname").unwrap_or_else(|| user.clone());
        let asked = Asked {
            host: match layers.text("host").or_else(|| layers.text("hostaddr")) {
                // A server of one's own machine is `localhost` in the file of passwords.
                None => "localhost".to_owned(),
                Some(path) if default_socket.as_os_str() == path.as_str() => "localhost".to_owned(),
                Some(host) => host,
            },
            port: port.to_string(),
            database: &database,
            user: &user,
        };
        let password = match layers.secret("password") {
            Some(password) => Some(password),
            None => asked.password(&layers, around, &mut warnings)?,
        };
        let tls = match encryption::tls(&layers, around, &mut warnings)? {
            _ if matches!(host, Host::Socket(_)) => Tls::Disable,
            tls => tls,
        };
        let identity = match tls {
            Tls::Disable => None,
            _ => encryption::identity(&layers, around, &mut warnings)?,
        };
        Ok(Self {
            host,
            address,
            port,
            user,
            password,
            database,
            tls,
            identity,
            channel_binding: channel_binding(&layers)?,
            connect_timeout: timeout(&layers)?,
            options: options(&layers, around)?,
            application_name: layers.text("application_name").unwrap_or_else(|| "semel".to_owned()),
            must_be_writable: layers.text("target_session_attrs").as_deref() == Some("read-write"),
            warnings,
        })
    }
}

/// What each source says.
fn layers(rest: &str, around: &Around<'_>) -> Result<Layers, String> {
    let mut variables = Layer::new();
    for (name, variable, _) in PARAMETERS.iter().filter(|(_, variable, _)| !variable.is_empty()) {
        if let Some(text) = around.variable(variable)? {
            variables.insert((*name).to_owned(), Said::new(text, *variable));
        }
    }
    // An old one, that libpq still reads.
    if !variables.contains_key("sslmode")
        && around.variable("PGREQUIRESSL")?.is_some_and(|text| text.starts_with('1'))
    {
        variables.insert("sslmode".to_owned(), Said::new("require", "PGREQUIRESSL"));
    }
    let mut layers = Layers(vec![url::read(rest, &DIALECT)?, variables]);
    if let Some(service) = layers.find("service") {
        let known = PARAMETERS.map(|(name, _, of)| (name, !matches!(of, PassedOver)));
        let service = service_file::service(service, &known, around)?;
        layers.0.insert(1, service);
    }
    for (name, _, of) in PARAMETERS {
        let Only(allowed) = of else { continue };
        let Some(said) = layers.find(name) else { continue };
        if !allowed.contains(&said.text.as_str()) {
            let what = match allowed {
                [] => "which semel cannot do".to_owned(),
                _ => format!("of which semel can only do: {}", allowed.join(", ")),
            };
            return Err(format!("{}: this asks for `{name}`, {what}", said.by));
        }
    }
    Ok(layers)
}

/// Where the server is, and its address if that is given on its own.
fn place(layers: &Layers, default: &Path) -> Result<(Host, Option<IpAddr>), String> {
    for name in ["host", "hostaddr", "port"] {
        if let Some(said) = layers.find(name).filter(|said| said.text.contains(',')) {
            return Err(format!("{}: semel connects to one host, not to several", said.by));
        }
    }
    let host = layers.find("host");
    if let Some(said) = layers.find("hostaddr") {
        let address: IpAddr = said.text.parse().map_err(|_| {
            format!("{}: `hostaddr` is an address such as 10.0.0.7 or fe80::7", said.by)
        })?;
        let name = host.filter(|said| !said.text.starts_with('/')).unwrap_or(said);
        return Ok((Host::Name(name.text.clone()), Some(address)));
    }
    match host {
        None => Ok((Host::Socket(default.to_owned()), None)),
        Some(said) if said.text.starts_with('/') => Ok((Host::Socket((&said.text).into()), None)),
        Some(said) if said.text.starts_with('@') => {
            Err(format!("{}: semel connects to no abstract socket", said.by))
        }
        Some(said) => Ok((Host::Name(said.text.clone()), None)),
    }
}

/// Whom a password is looked for.
struct Asked<'a> {
    host: String,
    port: String,
    database: &'a str,
    user: &'a str,
}

impl Asked<'_> {
    fn password(
        &self,
        layers: &Layers,
        around: &Around<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Secret>, String> {
        let named = layers.text("passfile").map(PathBuf::from);
        let is_named = named.is_some();
        let Some(path) = named.or_else(|| Some(around.home()?.join(".pgpass"))) else {
            return Ok(None);
        };
        let wanted = [self.host.as_str(), self.port.as_str(), self.database, self.user];
        match passfile::password(&path, is_named, wanted, warnings) {
            None => Ok(None),
            Some(password) if password.is_empty() => Ok(None),
            Some(password) => match String::from_utf8(password) {
                Ok(password) => Ok(Some(Secret::new(password))),
                Err(_) => Err(format!("the password in {} is not UTF-8", path.display())),
            },
        }
    }
}

fn channel_binding(layers: &Layers) -> Result<ChannelBinding, String> {
    let Some(said) = layers.find("channel_binding") else { return Ok(ChannelBinding::Prefer) };
    match said.text.as_str() {
        "disable" => Ok(ChannelBinding::Disable),
        "prefer" => Ok(ChannelBinding::Prefer),
        "require" => Ok(ChannelBinding::Require),
        _ => Err(format!("{}: `channel_binding` is disable, prefer or require", said.by)),
    }
}

/// How long to wait; as with libpq, 0 and less is for ever.
fn timeout(layers: &Layers) -> Result<Option<Duration>, String> {
    let Some(said) = layers.find("connect_timeout") else { return Ok(None) };
    let seconds: i32 = said.number("connect_timeout")?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs))
}

/// The options of the session, with those that have variables of their own.
fn options(layers: &Layers, around: &Around<'_>) -> Result<String, String> {
    let mut options = layers.text("options").unwrap_or_default();
    for (variable, setting) in OF_THE_SESSION {
        if let Some(text) = around.variable(variable)?.filter(|text| *text != "default") {
            if !options.is_empty() {
                options.push(' ');
            }
            options.push_str(&format!("-c {setting}="));
            for c in text.chars() {
                if c.is_whitespace() || c == '\\' {
                    options.push('\\');
                }
                options.push(c);
            }
        }
    }
    Ok(options)
}
