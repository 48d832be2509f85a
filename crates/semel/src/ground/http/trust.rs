//! Whose certificates are trusted: by semel, of servers, and by its children.
//!
//! Invariant: what the user trusts stays trusted. A certificate that semel cannot read is
//! left out of what it checks with, never out of what its children get.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};

/// The variables by which a user names a bundle of certificates, in the place of the
/// system's.
pub(crate) const BUNDLES: [&str; 13] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "HTTPLIB2_CA_CERTS",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "NIX_SSL_CERT_FILE",
    "HEX_CACERTS_PATH",
    "DENO_CERT",
];

/// The variables by which a user names certificates beside the system's.
const MORE: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "npm_config_cafile"];

/// The variable that takes the place of the system's bundle for (nearly) everybody.
const INSTEAD: &str = "SSL_CERT_FILE";

/// The variable of folders of certificates.
const FOLDERS: &str = "SSL_CERT_DIR";

/// Where systems have their bundle.
const SYSTEM: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/openssl@3/cert.pem",
    "/opt/homebrew/etc/openssl@3/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// What the user trusts: files and folders of certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Whether the user has others in the place of the system's.
    pub is_instead_of_system: bool,
    /// Files of certificates that the user named.
    pub files: Vec<PathBuf>,
    /// Folders of certificates that the user named.
    pub folders: Vec<PathBuf>,
}

/// Certificates, and what of them could not be had.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// Each of them once.
    pub found: Vec<CertificateDer<'static>>,
    /// What could not be read, and why.
    pub faults: Vec<String>,
}

impl Trust {
    /// What an environment says.
    #[must_use]
    pub fn of(environment: &BTreeMap<OsString, OsString>) -> Self {
        let value = |name: &str| {
            environment.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
        };
        let mut files = Vec::new();
        for name in BUNDLES.iter().chain(&MORE) {
            if let Some(path) = value(name).map(PathBuf::from)
                && !files.contains(&path)
            {
                files.push(path);
            }
        }
        let folders = value(FOLDERS).map(std::env::split_paths).into_iter().flatten();
        let folders = folders.filter(|folder| !folder.as_os_str().is_empty()).collect();
        Self { is_instead_of_system: value(INSTEAD).is_some(), files, folders }
    }

    /// All certificates that are trusted: those the user named, and the system's, unless
    /// the user put others in their place.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        let mut all = Certificates::default();
        for file in &self.files {
            all.take_file(file);
        }
        for folder in &self.folders {
            all.take_folder(folder);
        }
        if !self.is_instead_of_system {
            all.take_system();
        }
        let mut known = BTreeSet::new();
        all.found.retain(|certificate| known.insert(certificate.to_vec()));
        all
    }
}

impl Certificates {
    fn take_file(&mut self, path: &Path) {
        match read(path) {
            Ok(found) => self.found.extend(found),
            Err(why) => self.faults.push(why),
        }
    }

    /// What else is in such a folder is nobody's fault.
    fn take_folder(&mut self, folder: &Path) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                self.faults.push(format!("cannot read {}: {error}", folder.display()));
                return;
            }
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_file() {
                self.found.extend(read(&path).unwrap_or_default());
            }
        }
    }

    fn take_system(&mut self) {
        if let Some(path) = SYSTEM.iter().map(Path::new).find(|path| path.is_file()) {
            return self.take_file(path);
        }
        // No file: a system with a store of another kind.
        let native = rustls_native_certs::load_native_certs();
        self.faults.extend(native.errors.iter().map(ToString::to_string));
        self.found.extend(native.certs);
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    found.map_err(|error| match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", path.display()),
        error => format!("{} is not PEM: {error}", path.display()),
    })
}

/// A certificate as PEM.
#[must_use]
pub fn pem(certificate: &[u8]) -> String {
    let base64 = STANDARD.encode(certificate);
    let mut text = String::with_capacity(base64.len() + base64.len() / 64 + 64);
    text.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// The certificates of a text in PEM.
///
/// # Errors
/// If it is not PEM.
pub fn certificates(pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(said: &[(&str, &Path)]) -> BTreeMap<OsString, OsString> {
        said.iter().map(|(name, path)| (name.into(), path.as_os_str().to_owned())).collect()
    }

    fn certificate() -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().into()
    }

    #[test]
    fn the_users_files_and_folders_are_trusted_in_the_place_of_the_systems() {
        let scratch = tempfile::tempdir().unwrap();
        let (one, two) = (certificate(), certificate());
        let file = scratch.path().join("one.pem");
        let folder = scratch.path().join("certs");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, pem(&one)).unwrap();
        std::fs::write(folder.join("12345678.0"), pem(&two)).unwrap();
        std::fs::write(folder.join("README"), "Not a certificate.").unwrap();
        let trust = Trust::of(&environment(&[
            ("SSL_CERT_FILE", &file),
            ("CURL_CA_BUNDLE", &file),
            ("SSL_CERT_DIR", &folder),
        ]));
        let all = trust.certificates();
        assert_eq!(all.found, [one, two]);
        assert_eq!(all.faults, [""; 0]);
    }

    #[test]
    fn what_only_some_clients_read_stands_beside_the_systems() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("more.pem");
        let one = certificate();
        std::fs::write(&file, pem(&one)).unwrap();
        let trust = Trust::of(&environment(&[("NODE_EXTRA_CA_CERTS", &file)]));
        assert!(!trust.is_instead_of_system);
        let system = Trust::default().certificates().found.len();
        assert_eq!(trust.certificates().found.len(), system + 1);
    }

    #[test]
    fn a_bundle_that_is_not_there_is_said() {
        let missing = Path::new("/nowhere/bundle.pem");
        let all = Trust::of(&environment(&[("SSL_CERT_FILE", missing)])).certificates();
        assert!(all.found.is_empty());
        assert!(all.faults[0].contains("/nowhere/bundle.pem"), "{:?}", all.faults);
    }

    #[test]
    fn pem_is_read_as_it_was_written() {
        let one = certificate();
        assert_eq!(certificates(&pem(&one)).unwrap(), [one]);
    }
}
