use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, Stream};

use super::*;

/// Is this host to one client, and says "hello" to it.
fn serve(config: Arc<ServerConfig>) -> (u16, thread::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(config).unwrap();
        let mut stream = Stream::new(&mut tls, &mut socket);
        // A client that does not trust us hangs up; that is for it to say.
        let _ = stream.write_all(b"hello").and_then(|()| stream.flush());
        stream.conn.send_close_notify();
        let _ = stream.conn.complete_io(stream.sock);
    });
    (port, serving)
}

/// What a client that trusts only this authority hears of a host.
fn hears(authority: &Authority, config: Arc<ServerConfig>, host: &str) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (port, serving) = serve(config);
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut tls = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut said = String::new();
    let heard = Stream::new(&mut tls, &mut socket).read_to_string(&mut said);
    drop(socket);
    serving.join().unwrap();
    heard.map(|_| said).map_err(|error| error.to_string())
}

/// What a program says, or `None` where there is none.
fn ask(program: &str, arguments: &[&str], from: &Path) -> Option<Output> {
    let mut asked = Command::new(program);
    match asked.args(arguments).current_dir(from).stdin(Stdio::null()).output() {
        Ok(said) => Some(said),
        Err(error) => {
            eprintln!("skipped: {program} does not start: {error}");
            None
        }
    }
}

fn passes(said: &Output) {
    let text = [&said.stdout[..], &said.stderr[..]].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
}

/// The certificate of a host, as it is shown.
fn shown(authority: &Authority, host: &str) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (port, serving) = serve(authority.server_config(None, host).unwrap());
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).unwrap();
    let mut tls = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    Stream::new(&mut tls, &mut socket).read_to_end(&mut Vec::new()).unwrap();
    serving.join().unwrap();
    tls.peer_certificates().unwrap()[0].clone().into_owned()
}

#[test]
fn a_client_that_trusts_the_authority_takes_us_for_any_host() {
    let authority = Authority::new().unwrap();
    for (sni, connect, host) in [
        (Some("api.example.com"), "api.example.com", "api.example.com"),
        (Some("api.example.com"), "192.0.2.1", "api.example.com"),
        (Some("API.Example.COM"), "x", "api.example.com"),
        (None, "api.example.com.", "api.example.com"),
        (None, "127.0.0.1", "127.0.0.1"),
        (None, "[::1]", "::1"),
        (None, "::1", "::1"),
        (Some("my_bucket.example.com"), "x", "my_bucket.example.com"),
    ] {
        let config = authority.server_config(sni, connect).unwrap();
        assert_eq!(hears(&authority, config, host).as_deref(), Ok("hello"), "{sni:?} {connect}");
    }
}

#[test]
fn nobody_takes_us_for_another_host() {
    let authority = Authority::new().unwrap();
    let config = authority.server_config(None, "api.example.com").unwrap();
    let heard = hears(&authority, config, "other.example.com").unwrap_err();
    assert!(heard.contains("not valid for name"), "{heard}");
    let other = Authority::new().unwrap();
    let config = other.server_config(None, "api.example.com").unwrap();
    assert!(hears(&authority, config, "api.example.com").is_err());
}

#[test]
fn what_is_no_host_gives_way_to_the_host_of_the_connect() {
    let authority = Authority::new().unwrap();
    let long = "a".repeat(64);
    for wrong in ["", "*.example.com", "a b", "-", "ex\u{e4}mple.com", "a..b", "\0", &long] {
        let config = authority.server_config(Some(wrong), "api.example.com").unwrap();
        assert_eq!(hears(&authority, config, "api.example.com").as_deref(), Ok("hello"));
        let error = authority.server_config(Some(wrong), wrong).unwrap_err();
        assert!(matches!(error, AuthorityError::NotAHost(_)), "{error}");
    }
}

#[test]
fn a_host_gets_one_certificate() {
    let authority = Authority::new().unwrap();
    let one = authority.server_config(Some("api.example.com"), "x").unwrap();
    let again = authority.server_config(None, "API.example.com").unwrap();
    assert!(Arc::ptr_eq(&one, &again));
    assert!(one.alpn_protocols.iter().map(Vec::as_slice).eq([&b"h2"[..], b"http/1.1"]));
}

#[test]
fn openssl_accepts_the_chain_strictly() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    std::fs::write(scratch.path().join("ca.pem"), authority.ca_pem()).unwrap();
    let long = format!("{}.example.com", "a".repeat(63));
    for host in ["api.example.com", "127.0.0.1", "[::1]", &long] {
        let leaf = trust::pem(&shown(&authority, host));
        std::fs::write(scratch.path().join("leaf.pem"), leaf).unwrap();
        let bare = host.trim_matches(['[', ']']);
        let named = if Host::read(host) == Host::named(host) {
            ["-verify_hostname", bare]
        } else {
            ["-verify_ip", bare]
        };
        let strict = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "ca.pem"];
        let arguments = [&strict[..], &named[..], &["leaf.pem"]].concat();
        let Some(said) = ask("openssl", &arguments, scratch.path()) else { return };
        passes(&said);
    }
}

#[test]
fn python_accepts_the_chain_strictly() {
    const CLIENT: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile='ca.pem')
context.verify_flags |= ssl.VERIFY_X509_STRICT
host, port = sys.argv[1], int(sys.argv[2])
with socket.create_connection(('127.0.0.1', port)) as plain:
    with context.wrap_socket(plain, server_hostname=host) as secure:
        assert secure.recv(5) == b'hello'
";
    let scratch = tempfile::tempdir().unwrap();
    if ask("python3", &["-c", "import ssl"], scratch.path()).is_none() {
        return;
    }
    let authority = Authority::new().unwrap();
    std::fs::write(scratch.path().join("ca.pem"), authority.ca_pem()).unwrap();
    for host in ["api.example.com", "127.0.0.1", "::1"] {
        let (port, serving) = serve(authority.server_config(None, host).unwrap());
        let port = port.to_string();
        let said = ask("python3", &["-c", CLIENT, host, &port], scratch.path()).unwrap();
        passes(&said);
        serving.join().unwrap();
    }
}

#[test]
fn java_reads_the_store_of_a_bundle() {
    let scratch = tempfile::tempdir().unwrap();
    let authority = Authority::new().unwrap();
    let another = Authority::new().unwrap();
    std::fs::write(scratch.path().join("user.pem"), another.ca_pem()).unwrap();
    let user = Trust {
        is_instead_of_system: true,
        files: vec![scratch.path().join("user.pem")],
        folders: Vec::new(),
    };
    let (bundle, faults) = authority.bundle(&user);
    assert_eq!(faults, [""; 0]);
    assert_eq!(bundle, format!("{}{}", another.ca_pem(), authority.ca_pem()));
    let store = java_trust_store(&bundle).unwrap();
    std::fs::write(scratch.path().join("trust.jks"), store).unwrap();
    let list = ["-list", "-keystore", "trust.jks", "-storepass", "changeit", "-rfc"];
    let Some(said) = ask("keytool", &list, scratch.path()) else { return };
    passes(&said);
    // It writes lines of its own length.
    let listed = String::from_utf8(said.stdout).unwrap().replace(['\r', '\n'], "");
    for pem in [authority.ca_pem(), another.ca_pem()] {
        assert!(listed.contains(&pem.replace('\n', "")), "{listed}");
    }
}
