//! The certificates of providers: good ones, by an authority of this process, and bad ones.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use base64::prelude::{BASE64_STANDARD, Engine as _};

/// What a provider shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// That of `localhost`, 127.0.0.1 and ::1.
    Good,
    /// That of another host.
    WrongName,
    /// One that was good until 2020.
    Expired,
    /// One by an authority that nobody knows.
    OfStranger,
}

/// An authority, and its certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// The authority of this process.
fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| make_authority("semel's tests"))
}

pub(super) fn ca_pem() -> String {
    let text = BASE64_STANDARD.encode(&authority().certificate);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn make_authority(name: &str) -> Authority {
    let key = KeyPair::generate().expect("a key can be made");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key).expect("it can be signed").der().clone();
    Authority { issuer: Issuer::new(params, key), certificate }
}

impl Certificate {
    /// How a server of this certificate greets its clients, whatever it speaks with them.
    #[must_use]
    pub fn greeting(self) -> ServerConfig {
        let mut config = ServerConfig::clone(&server(self));
        config.alpn_protocols.clear();
        config
    }
}

/// How a provider with such a certificate greets its clients.
pub(super) fn server(certificate: Certificate) -> Arc<ServerConfig> {
    let names: &[&str] = match certificate {
        Certificate::WrongName => &["elsewhere.test"],
        _ => &["localhost", "127.0.0.1", "::1"],
    };
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("they are names");
    params.distinguished_name.push(DnType::CommonName, "a paid provider");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    if certificate == Certificate::Expired {
        params.not_after = date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().expect("a key can be made");
    let stranger;
    let authority = if certificate == Certificate::OfStranger {
        stranger = make_authority("a stranger");
        &stranger
    } else {
        authority()
    };
    let leaf = params.signed_by(&key, &authority.issuer).expect("it can be signed");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring speaks them")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key);
    let mut config = config.expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}
