//! How a connection to PostgreSQL is encrypted: `sslmode`, and the files that go with it.
//!
//! Invariant: where a certificate is to be verified, the file of the roots is there.

use std::path::PathBuf;

use super::super::sources::{Around, Layers, or_near};
use super::super::tls::{Identity, Tls};

const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// How the connection is encrypted.
pub(super) fn tls(
    layers: &Layers,
    around: &Around<'_>,
    warnings: &mut Vec<String>,
) -> Result<Tls, String> {
    let of_system = layers.find("sslrootcert").filter(|said| said.text == "system");
    let mode = layers.find("sslmode");
    let default = if of_system.is_some() { "verify-full" } else { "prefer" };
    let text = mode.map_or(default, |said| said.text.as_str());
    if let Some(said) = mode.filter(|said| !SSL_MODES.contains(&said.text.as_str())) {
        let help = or_near(text, &SSL_MODES);
        return Err(format!("{}: there is no `sslmode` `{text}`; {help}", said.by));
    }
    if let Some(said) = of_system {
        // Anyone can have a certificate that some authority of the world has signed.
        return match text {
            "verify-full" => Ok(Tls::VerifyFull { root: around.system_roots()? }),
            _ => Err(format!(
                "{}: `sslrootcert=system` goes with `sslmode=verify-full` only, not with `{text}`",
                said.by
            )),
        };
    }
    let named = layers.text("sslrootcert").map(PathBuf::from);
    let is_named = named.is_some();
    let root = named.or_else(|| Some(around.home()?.join(".postgresql/root.crt")));
    let is_there = root.as_ref().is_some_and(|root| root.exists());
    let shown = root
        .as_ref()
        .map_or_else(|| "~/.postgresql/root.crt".to_owned(), |root| root.display().to_string());
    match (text, root) {
        ("disable", _) => Ok(Tls::Disable),
        ("allow" | "prefer", _) => Ok(Tls::Prefer),
        // As with libpq, a root that is there is one to be used.
        ("require", Some(root)) if is_there => Ok(Tls::VerifyCa { root }),
        ("require", _) => {
            if is_named {
                warnings.push(format!(
                    "the root certificate {shown} is not there, and the server's was not verified"
                ));
            }
            Ok(Tls::Require)
        }
        ("verify-ca", Some(root)) if is_there => Ok(Tls::VerifyCa { root }),
        ("verify-full", Some(root)) if is_there => Ok(Tls::VerifyFull { root }),
        _ => Err(format!(
            "`sslmode={text}` needs the root certificate {shown}, which is not there; \
             `sslrootcert=system` takes those of the system"
        )),
    }
}

/// The certificate that is shown to the server.
pub(super) fn identity(
    layers: &Layers,
    around: &Around<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Identity>, String> {
    let of_home = |name: &str| around.home().map(|home| home.join(".postgresql").join(name));
    let named = layers.text("sslcert").map(PathBuf::from);
    let is_named = named.is_some();
    let Some(certificate) = named.or_else(|| of_home("postgresql.crt")) else { return Ok(None) };
    if !certificate.exists() {
        if is_named {
            let shown = certificate.display();
            warnings.push(format!("the certificate {shown} is not there, and was not shown"));
        }
        return Ok(None);
    }
    match layers.text("sslkey").map(PathBuf::from).or_else(|| of_home("postgresql.key")) {
        Some(key) if key.exists() => Ok(Some(Identity { certificate, key })),
        key => Err(format!(
            "there is a certificate, {}, and its key is not there: {}",
            certificate.display(),
            key.map_or_else(
                || "~/.postgresql/postgresql.key".into(),
                |key| key.display().to_string()
            )
        )),
    }
}
