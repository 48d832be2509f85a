//! Handshakes with servers of all kinds, without a network. `pem/` was made with openssl
//! for these tests, and its keys open nothing.

use std::io::Cursor;

use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ground/database/settings/tls/pem").join(name)
}

/// Shows a certificate, whatever it is.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn server(name: &str, key: &str, asks: bool) -> ServerConfig {
    let chain = certificates(&pem(&format!("{name}.crt"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(pem(&format!("{key}.key"))).unwrap();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if asks {
        let roots = Arc::new(Roots::read(&pem("ca.crt")).unwrap().anchors);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        builder.with_client_cert_verifier(verifier.unwrap())
    } else {
        builder.with_no_client_auth()
    };
    builder.with_cert_resolver(Arc::new(Shows(Arc::new(CertifiedKey::new(chain, key)))))
}

/// Has the two talk until they are done, or one of them has had enough.
fn shake(client: ClientConfig, server: ServerConfig, name: &str) -> Result<(), String> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        let mut sent = Cursor::new(sent);
        while server.read_tls(&mut sent).unwrap() > 0 {
            server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        }
        let mut sent = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut sent).unwrap();
        }
        let mut sent = Cursor::new(sent);
        while client.read_tls(&mut sent).unwrap() > 0 {
            client.process_new_packets().map_err(|error| format!("client: {error}"))?;
        }
    }
    Ok(())
}

/// The kinds by their first letters, with a root where they want one.
fn tls(kind: &str) -> Tls {
    let (kind, root) = kind.split_once(' ').map_or((kind, None), |(a, b)| (a, Some(b)));
    let root = || pem(&format!("{}.crt", root.unwrap()));
    match kind {
        "prefer" => Tls::Prefer,
        "require" => Tls::Require,
        "ca" => Tls::VerifyCa { root: root() },
        "full" => Tls::VerifyFull { root: root() },
        _ => panic!("{kind}"),
    }
}

#[test]
fn who_is_connected_to() {
    for (kind, certificate, name, good) in [
        ("prefer", "server", "elsewhere", true),
        ("require", "server", "elsewhere", true),
        ("require", "expired", "db7", true),
        ("require", "v1", "db7", true),
        ("ca ca", "server", "db7", true),
        ("ca ca", "server", "elsewhere", true),
        ("ca ca", "self", "db7", false),
        ("ca ca", "v1", "db7", false),
        ("ca other", "server", "db7", false),
        ("full ca", "server", "db7", true),
        ("full ca", "server", "10.0.0.7", true),
        ("full ca", "server", "elsewhere", false),
        ("full ca", "server", "10.0.0.8", false),
        ("full other", "server", "db7", false),
        // What signs itself is trusted where it is the root, and then for its name.
        ("ca self", "self", "elsewhere", true),
        ("full self", "self", "db7", true),
        ("full self", "self", "elsewhere", false),
        ("ca expired", "expired", "db7", false),
        ("ca self", "expired", "db7", false),
    ] {
        let client = config(&tls(kind), None).unwrap();
        let outcome = shake(client, server(certificate, certificate, false), name);
        assert_eq!(outcome.is_ok(), good, "{kind}: {certificate} as {name}: {outcome:?}");
    }
}

/// Also where nothing is asked of the certificate.
#[test]
fn a_server_without_the_key_of_its_certificate_is_none() {
    for kind in ["require", "ca ca", "full ca"] {
        let client = config(&tls(kind), None).unwrap();
        let outcome = shake(client, server("server", "self", false), "db7");
        assert!(outcome.is_err(), "{kind}");
    }
}

#[test]
fn who_connects_is_shown() {
    let identity = Identity { certificate: pem("client.crt"), key: pem("client.key") };
    for kind in ["require", "full ca"] {
        let client = config(&tls(kind), Some(&identity)).unwrap();
        assert_eq!(shake(client, server("server", "server", true), "db7"), Ok(()), "{kind}");
        let client = config(&tls(kind), None).unwrap();
        assert!(shake(client, server("server", "server", true), "db7").is_err(), "{kind}");
    }
}

#[test]
fn files_that_are_not_what_they_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
        .unwrap();
    let root = |root: PathBuf| config(&Tls::VerifyFull { root }, None).unwrap_err();
    let of = |certificate: &str, key: PathBuf| {
        config(&Tls::Require, Some(&Identity { certificate: pem(certificate), key })).unwrap_err()
    };
    for (error, words) in [
        (root(folder.path().join("none")), "cannot read"),
        (root(pem("server.key")), "there is no certificate in"),
        (root(garbage), "is not PEM"),
        (of("client.crt", pem("client.crt")), "there is no key in"),
        (of("client.crt", pem("server.key")), "are not to be used"),
        (of("client.crt", folder.path().join("none")), "cannot read"),
    ] {
        assert!(error.contains(words), "{error}");
    }
}
