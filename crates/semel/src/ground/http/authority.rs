//! A certificate authority that lives for one run.
//!
//! The proxy has to be whoever its client asks for. What it shows is signed by this
//! authority, which only the children of the run trust.
//!
//! Invariant: keys are made here and never leave the memory. A certificate names one
//! host, and is good for some days only.

mod java;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ServerConfig;
use rustls::crypto::ring as provider;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::trust::{self, Trust};

pub use java::java_trust_store;

/// Clocks differ: what was made now must be good for who is behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a host's certificate is good. Some clients refuse what is good for years.
const LEAF: Duration = DAY.saturating_mul(30);

/// After how long another is made, so that none expires in use.
const RENEWED: Duration = DAY.saturating_mul(15);

/// A proxy may stand for years; its authority has no other way to end than with it.
const ROOT: Duration = DAY.saturating_mul(3650);

/// How many hosts are remembered. A host that is forgotten gets a new certificate.
const HOSTS: usize = 1024;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Neither name is one that a certificate can have.
    #[error("{0:?} is not a host, no certificate can be made for it")]
    NotAHost(String),
    /// It could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// It could not be used.
    #[error("cannot use a certificate: {0}")]
    Use(#[from] rustls::Error),
    /// The system gave no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A certificate authority, made for one run.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    pem: String,
    /// One key for all hosts: making one takes longer than signing.
    leaf: KeyPair,
    made: Mutex<HashMap<Host, Made>>,
}

/// What a certificate is made for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Name(String),
    Address(IpAddr),
}

/// What was made for a host.
struct Made {
    at: SystemTime,
    config: Arc<ServerConfig>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn new() -> Result<Self, AuthorityError> {
        // A name of its own: where two are trusted, one inside the other, a client may
        // look for the key by the name alone.
        let number: String = random()?[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let mut params = params(&format!("semel, run {number}"), ROOT)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.der().clone();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem: trust::pem(&root),
            root,
            leaf: KeyPair::generate()?,
            made: Mutex::default(),
        })
    }

    /// Its certificate, which who is to trust it needs.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.pem
    }

    /// What its children trust: what the user trusts, and this authority.
    ///
    /// What of the user's cannot be read comes back beside it: the children would have
    /// failed on it.
    #[must_use]
    pub fn bundle(&self, user: &Trust) -> (String, Vec<String>) {
        let trusted = user.certificates();
        let mut bundle: String =
            trusted.found.iter().map(|certificate| trust::pem(certificate)).collect();
        bundle.push_str(&self.pem);
        (bundle, trusted.faults)
    }

    /// What rustls needs to be the host that a client asks for: the name in its hello, or
    /// else the host of its `CONNECT`.
    ///
    /// # Errors
    /// If neither is a host.
    pub fn server_config(
        &self,
        sni: Option<&str>,
        connect_host: &str,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let host = sni.and_then(Host::named).or_else(|| Host::read(connect_host));
        let host = host.ok_or_else(|| AuthorityError::NotAHost(connect_host.to_owned()))?;
        let now = SystemTime::now();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(&host)
            && now.duration_since(known.at).is_ok_and(|age| age < RENEWED)
        {
            return Ok(Arc::clone(&known.config));
        }
        if made.len() >= HOSTS {
            made.clear();
        }
        let config = Arc::new(self.config_of(&host)?);
        made.insert(host, Made { at: now, config: Arc::clone(&config) });
        Ok(config)
    }

    fn config_of(&self, host: &Host) -> Result<ServerConfig, AuthorityError> {
        // A host as common name overflows its 64 bytes; the alternative name counts.
        let mut params = params("semel", LEAF)?;
        params.subject_alt_names = vec![match host {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Address(address) => SanType::IpAddress(*address),
        }];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&self.leaf, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.leaf.serialize_der()));
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_no_client_auth()
                .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Its certificate.
    #[must_use]
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }
}

impl Host {
    /// The host of a `CONNECT`: a name or an address.
    fn read(text: &str) -> Option<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match bare.unwrap_or(text).parse() {
            Ok(address) => Some(Self::Address(address)),
            Err(_) => Self::named(text),
        }
    }

    /// A name. One with a star in it is none: it would be good for others, too.
    fn named(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        DnsName::try_from(name).ok()?;
        Some(Self::Name(name.to_ascii_lowercase()))
    }
}

/// What all certificates have in common.
fn params(name: &str, lives: Duration) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // Of the library's own making it would be the same for all that have the same key,
    // and there are clients that take two such certificates for a fraud.
    let mut serial = random()?;
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let epoch = date_time_ymd(1970, 1, 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + (now + lives);
    Ok(params)
}

fn random() -> Result<[u8; 16], AuthorityError> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
