//! Where the settings of a connection come from: the machine around semel, and who says
//! what.
//!
//! Invariant: what is found keeps the name of whoever said it, so that an error names the
//! file or the variable to mend. The values of a [`Said`] may be secret; it is never
//! printed whole.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::Secret;

/// The roots of trust that the system has, where its distributions keep them.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The machine around semel, as far as connections depend on it.
pub(super) struct Around<'a> {
    env: &'a BTreeMap<String, Vec<u8>>,
    /// `/`, except in tests.
    root: &'a Path,
}

impl<'a> Around<'a> {
    pub(super) const fn new(env: &'a BTreeMap<String, Vec<u8>>, root: &'a Path) -> Self {
        Self { env, root }
    }

    /// A variable, set to whatever; its error does not show it.
    pub(super) fn variable(&self, name: &str) -> Result<Option<&'a str>, String> {
        let Some(value) = self.env.get(name) else { return Ok(None) };
        match std::str::from_utf8(value) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{name} is not UTF-8")),
        }
    }

    /// A variable that names a file or a folder.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.env.get(name).filter(|value| !value.is_empty())?;
        Some(OsString::from_vec(value.clone()).into())
    }

    /// A file or folder of the machine.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The first of some files or folders that is there.
    pub(super) fn first_there(&self, paths: &[&str]) -> Option<PathBuf> {
        paths.iter().map(|path| self.at(path)).find(|path| path.exists())
    }

    /// The home of the user.
    pub(super) fn home(&self) -> Option<PathBuf> {
        let of_account = || self.account(5).map(|home| OsString::from_vec(home).into());
        self.path("HOME").or_else(of_account)
    }

    /// The user that the databases' clients log in as, unless told otherwise.
    pub(super) fn user(&self) -> Result<Option<String>, String> {
        for name in ["USER", "LOGNAME"] {
            if let Some(user) = self.variable(name)?.filter(|user| !user.is_empty()) {
                return Ok(Some(user.to_owned()));
            }
        }
        Ok(self.account(0).and_then(|name| String::from_utf8(name).ok()))
    }

    /// The file of the roots of trust that the system has.
    pub(super) fn system_roots(&self) -> Result<PathBuf, String> {
        // OpenSSL, and with it the databases' own clients, look there first.
        if let Some(path) = self.path("SSL_CERT_FILE") {
            return Ok(path);
        }
        self.first_there(&SYSTEM_ROOTS).ok_or_else(|| {
            format!(
                "the system's root certificates are in none of {}; SSL_CERT_FILE may name their \
                 file",
                SYSTEM_ROOTS.join(", ")
            )
        })
    }

    /// A field of the line of `/etc/passwd` that is about who runs semel.
    fn account(&self, field: usize) -> Option<Vec<u8>> {
        let me = rustix::process::geteuid().as_raw().to_string();
        let accounts = std::fs::read(self.at("/etc/passwd")).ok()?;
        let fields = |line: &[u8]| -> Vec<Vec<u8>> {
            line.split(|byte| *byte == b':').map(<[u8]>::to_vec).collect()
        };
        let mine = |fields: &Vec<Vec<u8>>| fields.get(2).is_some_and(|id| *id == me.as_bytes());
        let account = accounts.split(|byte| *byte == b'\n').map(fields).find(mine)?;
        account.into_iter().nth(field).filter(|text| !text.is_empty())
    }
}

/// The bytes of a file; `None` where it is not there.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if is_absence(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A value, and who says so.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) text: String,
    /// As an error begins with it: `the URL`, `PGPORT`, `/etc/my.cnf:7`.
    pub(super) by: String,
}

impl Said {
    pub(super) fn new(text: impl Into<String>, by: impl Into<String>) -> Self {
        Self { text: text.into(), by: by.into() }
    }

    /// It as a number of some kind. What it is not is not shown: a password that stands
    /// in the wrong place would be.
    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, String> {
        let number = self.text.trim().parse();
        number.map_err(|_| format!("{}: `{name}` is not a number, or out of its range", self.by))
    }
}

/// What one source says, by name.
pub(super) type Layer = BTreeMap<String, Said>;

/// What all sources say, the weightiest first.
pub(super) struct Layers(pub(super) Vec<Layer>);

impl Layers {
    /// The value of a name, unless it is empty. One that is empty hides those of the
    /// sources below it: then what holds is the default.
    pub(super) fn find(&self, name: &str) -> Option<&Said> {
        self.0.iter().find_map(|layer| layer.get(name)).filter(|said| !said.text.is_empty())
    }

    /// The value of a name alone.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name).map(|said| said.text.clone())
    }

    /// A port; not 0, which no server listens at.
    pub(super) fn port(&self, default: u16) -> Result<u16, String> {
        let Some(said) = self.find("port") else { return Ok(default) };
        said.number::<std::num::NonZeroU16>("port").map(std::num::NonZeroU16::get)
    }

    /// A secret.
    pub(super) fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }
}

/// A help that names the nearest word, or else the known ones.
pub(super) fn or_near(typed: &str, known: &[&str]) -> String {
    match crate::words::nearest(typed, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.join(", ")),
    }
}
