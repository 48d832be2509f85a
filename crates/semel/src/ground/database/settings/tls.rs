//! How a connection is encrypted, and what is asked of the server's certificate.
//!
//! Invariant: what is named `Verify…` connects to no one who cannot show a certificate
//! that leads to the root; and `VerifyFull` to no one whose certificate has another name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

/// How a connection is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    Disable,
    /// If the server can; whoever it is.
    Prefer,
    /// It is; whoever the server is.
    Require,
    /// It is, and the server's certificate leads to a root; whatever its name.
    VerifyCa {
        /// The file of the roots.
        root: PathBuf,
    },
    /// It is, and the server's certificate leads to a root and has its name.
    VerifyFull {
        /// The file of the roots.
        root: PathBuf,
    },
}

/// What shows a server who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The file of the certificate, and of those between it and its root.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
}

/// What rustls needs to connect like that. For [`Tls::Disable`], which is for the caller
/// to see to, it is that of [`Tls::Prefer`].
///
/// # Errors
/// If a file cannot be read, or there is not in it what should be.
pub fn config(tls: &Tls, identity: Option<&Identity>) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let asks = match tls {
        Tls::Disable | Tls::Prefer | Tls::Require => None,
        Tls::VerifyCa { root } => Some(Asks { roots: Roots::read(root)?, for_name: false }),
        Tls::VerifyFull { root } => Some(Asks { roots: Roots::read(root)?, for_name: true }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { asks, algorithms }));
    let Some(identity) = identity else { return Ok(builder.with_no_client_auth()) };
    let Identity { certificate, key } = identity;
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            format!("there is no key in {}, or only an encrypted one", key.display())
        }
        error => unreadable(key, &error),
    })?;
    builder.with_client_auth_cert(chain, private).map_err(|error| {
        format!("{} and {} are not to be used: {error}", certificate.display(), key.display())
    })
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found =
        CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => {
            Err(format!("there is no certificate in {}", path.display()))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => format!("cannot read {}: {error}", path.display()),
        error => format!("{} is not PEM: {error}", path.display()),
    }
}

/// What is trusted.
#[derive(Debug)]
struct Roots {
    anchors: RootCertStore,
    /// All of them, as they stand in the file.
    whole: Vec<CertificateDer<'static>>,
}

impl Roots {
    fn read(path: &Path) -> Result<Self, String> {
        let whole = certificates(path)?;
        let mut anchors = RootCertStore::empty();
        // Among those of a system there may be one that webpki does not understand.
        let (added, _) = anchors.add_parsable_certificates(whole.iter().cloned());
        if added == 0 {
            return Err(format!("no certificate in {} can be a root", path.display()));
        }
        Ok(Self { anchors, whole })
    }
}

/// What is asked of a certificate.
#[derive(Debug)]
struct Asks {
    roots: Roots,
    for_name: bool,
}

/// Looks at a server's certificate. That the server has the key of what it shows is
/// asked of each.
#[derive(Debug)]
struct Verifier {
    /// `None`: nothing.
    asks: Option<Asks>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// Whether a certificate is one that webpki cannot read and nothing is asked of, as
    /// those of version 1: `openssl x509 -req` made such for years. Whose key signs then
    /// proves nothing, and it is passed over.
    fn passes_over(&self, certificate: &CertificateDer<'_>) -> bool {
        self.asks.is_none() && ParsedCertificate::try_from(certificate).is_err()
    }
}

impl Asks {
    fn verify(
        &self,
        end: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<(), rustls::Error> {
        let parsed = ParsedCertificate::try_from(end)?;
        let anchors = &self.roots.anchors;
        match verify_server_cert_signed_by_trust_anchor(
            &parsed,
            anchors,
            between,
            now,
            algorithms.all,
        ) {
            Ok(()) => {}
            // A certificate that signs itself, and is trusted by name. OpenSSL takes it;
            // webpki will have no authority at the end of a chain, which is an error that
            // it finds after that of a time that has passed.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(_)))
                if self.roots.whole.contains(end) => {}
            Err(error) => return Err(error),
        }
        if self.for_name { verify_server_name(&parsed, name) } else { Ok(()) }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(asks) = &self.asks {
            asks.verify(end_entity, intermediates, server_name, now, &self.algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.passes_over(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        if self.passes_over(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
