//! What is no HTTP, or will not stay it: it passes, and is told; what may be HTTP does not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, StreamOwned};
use semel_testkit::eventually;
use semel_testkit::provider::Certificate;

use super::counter::{Counter, Request};
use super::server::{Server, Visit, ok};
use super::shop::Shop;

/// A server that switches to a protocol in which it says `hello`, and says back what it hears.
fn switches(visit: &mut Visit) {
    if visit.request().is_some() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        visit.wire.says(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nhello"));
        visit.wire.hears("to you");
        visit.wire.says("to you, too");
    }
}

/// A server that answers whatever it is asked.
fn answers(visit: &mut Visit) {
    while visit.request().is_some() {
        visit.wire.says(ok("paid"));
    }
}

fn live(server: &Server) -> Request {
    let request = Request::new("GET", &server.url("/live"));
    request.with("Upgrade: websocket").with("Connection: Upgrade")
}

#[test]
fn a_web_socket_passes_and_is_told() {
    let (shop, server) = (Shop::new(), Server::new(switches));
    for is_tunnel in [false, true] {
        let counter = shop.opens(&[]);
        let mut wire = if is_tunnel { counter.tunnel(server.port) } else { counter.dial() };
        let request = live(&server);
        let bytes = if is_tunnel { request.plain() } else { request.bytes(&counter) };
        wire.says(bytes);
        assert_eq!(wire.head().unwrap().status, 101);
        wire.hears("hello");
        wire.says("to you");
        wire.hears("to you, too");
        drop(wire);
        counter.close().exits(0).says("(upgraded)").says("not guarded");
    }
    assert_eq!(shop.states(), [""; 0]);
}

/// A server may go on in HTTP (RFC 9110, 7.8): that answer passed, and nothing was upgraded.
#[test]
fn an_upgrade_that_is_declined_is_told_once() {
    let (shop, server) = (Shop::new(), Server::new(answers));
    let counter = shop.opens(&[]);
    assert_eq!(counter.asks(&live(&server)).whole(), 200);
    let ran = counter.close().exits(0);
    ran.says("not guarded")
        .says(&format!("127.0.0.1:{}", server.port))
        .keeps_silent_of("(upgraded)");
}

/// `curl --http2` asks a plain server whether it speaks HTTP/2, also where it pays; and what
/// has an effect is not let off its guard by a header.
#[test]
fn a_charge_that_would_rather_speak_something_else_is_guarded() {
    for upgrade in [
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk",
        "Upgrade: HTTP/2.0, websocket\r\nConnection: upgrade",
        "Upgrade: websocket\r\nConnection: Upgrade",
        "Upgrade: tcp\r\nConnection: close, Upgrade",
    ] {
        let (shop, server) = (Shop::new(), Server::new(answers));
        for sent in ["1 sent", "1 replayed"] {
            let counter = shop.opens(&[]);
            assert_eq!(counter.asks(&server.charge().with(upgrade)).whole(), 200, "{upgrade}");
            counter.close().exits(0).says(sent).keeps_silent_of("not guarded");
        }
        let heard = server.heard().concat().to_ascii_lowercase();
        assert!(!heard.contains("upgrade") && !heard.contains("http2-settings"), "{heard}");
        assert_eq!(server.heard().len(), 1);
    }
}

#[test]
fn a_rule_lets_any_request_upgrade() {
    let (shop, server) = (Shop::new(), Server::new(switches));
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\npass = true\n");
    let counter = shop.opens(&[]);
    let mut wire = counter.dial();
    wire.says(server.charge().with("Upgrade: tcp").with("Connection: Upgrade").bytes(&counter));
    assert_eq!(wire.head().unwrap().status, 101);
    wire.hears("hello");
    drop(wire);
    counter.close().exits(0).says("(upgraded)");
}

#[test]
fn what_is_no_http_passes_whoever_speaks_first() {
    let shop = Shop::new();
    let server = Server::new(|visit| {
        visit.wire.says("220 at your service\r\n");
        visit.wire.hears("QUIT\r\n");
        visit.wire.says("221 bye\r\n");
    });
    let echo = Server::new(|visit| {
        visit.wire.hears("\u{1}\u{2}\u{3}knock knock");
        visit.wire.says("who is there?");
    });
    let counter = shop.opens(&[]);
    let mut wire = counter.tunnel(server.port);
    wire.hears("220 at your service\r\n");
    wire.says("QUIT\r\n");
    wire.hears("221 bye\r\n");
    drop(wire);
    let mut wire = counter.tunnel(echo.port);
    wire.says("\u{1}\u{2}\u{3}knock knock");
    wire.hears("who is there?");
    drop(wire);
    counter.close().exits(0).says("(not HTTP)");
}

/// However little a client says before it waits.
#[test]
fn few_bytes_pass_too() {
    let shop = Shop::new();
    let server = Server::new(|visit| {
        visit.wire.hears("\u{1}");
        visit.wire.says("more?");
        visit.wire.hears("NO");
        visit.wire.says("bye");
    });
    let counter = shop.opens(&[]);
    let mut wire = counter.tunnel(server.port);
    wire.says("\u{1}");
    wire.hears("more?");
    wire.says("NO");
    wire.hears("bye");
    drop(wire);
    counter.close().exits(0).says("(not HTTP)");
}

/// A request that dribbles in, also of a method that few know, is no other protocol.
#[test]
fn a_request_that_comes_byte_by_byte_is_guarded() {
    for method in ["POST", "PROPPATCH", "post"] {
        let (shop, server) = (Shop::new(), Server::new(answers));
        let counter = shop.opens(&[]);
        let mut wire = counter.tunnel(server.port);
        let request = server.charge();
        for byte in [method.as_bytes(), &request.plain()["POST".len()..]].concat() {
            wire.says([byte]);
        }
        assert_eq!(wire.answer().whole(), 200);
        drop(wire);
        counter.close().exits(0).says("1 sent").keeps_silent_of("not guarded");
        assert!(server.heard().concat().starts_with(method), "{:?}", server.heard());
    }
}

#[test]
fn who_says_nothing_in_a_tunnel_is_no_news() {
    let (shop, server) = (Shop::new(), Server::new(answers));
    let counter = shop.opens(&[]);
    drop(counter.tunnel(server.port));
    counter.close().exits(0).keeps_silent_of("not guarded");
}

/// What would come through could go anywhere.
#[test]
fn no_tunnel_leads_out_of_a_tunnel() {
    let (shop, server) = (Shop::new(), Server::new(answers));
    let counter = shop.opens(&[]);
    let mut wire = counter.tunnel(server.port);
    wire.says("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n");
    assert_eq!(wire.answer().whole(), 501);
    drop(wire);
    counter.close();
    assert_eq!((server.heard(), shop.states()), (vec![], vec![]));
}

/// A server that speaks something of its own inside TLS, which agrees to this by its name.
fn encrypted(
    agrees: &[&[u8]],
    serve: impl Fn(&mut dyn Conversation) + Send + Sync + 'static,
) -> Server {
    let mut config = Certificate::Good.greeting();
    config.alpn_protocols = agrees.iter().map(|name| name.to_vec()).collect();
    let config = Arc::new(config);
    Server::new(move |visit| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        serve(&mut StreamOwned::new(tls, visit.wire.socket()));
    })
}

/// Two that talk.
trait Conversation: Read + Write {
    #[track_caller]
    fn hears(&mut self, what: &str) {
        let mut heard = vec![0; what.len()];
        self.read_exact(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), what);
    }

    fn says(&mut self, what: &str) {
        self.write_all(what.as_bytes()).unwrap();
        self.flush().unwrap();
    }
}

impl<T: Read + Write> Conversation for T {}

/// TLS in a tunnel to a server; it trusts these certificates, and offers these protocols.
fn tls(
    counter: &Counter,
    server: &Server,
    trusted: &std::path::Path,
    offers: &[&[u8]],
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(
        CertificateDer::pem_file_iter(trusted).unwrap().map(Result::unwrap),
    );
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offers.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(client, counter.tunnel(server.port).into_socket())
}

#[test]
fn what_is_no_http_inside_tls_passes_whoever_speaks_first() {
    let shop = Shop::new();
    let first = encrypted(&[], |client| {
        client.says("* OK IMAP4rev1\r\n");
        client.hears("a1 LOGOUT\r\n");
        client.says("a1 OK\r\n");
    });
    let second = encrypted(&[], |client| {
        client.hears("*1\r\n$4\r\nPING\r\n");
        client.says("+PONG\r\n");
    });
    let counter = shop.opens(&[]);
    let mut client = tls(&counter, &first, &counter.trusted, &[]);
    client.hears("* OK IMAP4rev1\r\n");
    client.says("a1 LOGOUT\r\n");
    client.hears("a1 OK\r\n");
    drop(client);
    let mut client = tls(&counter, &second, &counter.trusted, &[]);
    client.says("*1\r\n$4\r\nPING\r\n");
    client.hears("+PONG\r\n");
    drop(client);
    counter.close().exits(0).says("(not HTTP)").says("not guarded");
}

/// What says itself that it is no HTTP is not opened: its client looks at the certificate of
/// the server itself.
#[test]
fn tls_that_is_said_to_be_no_http_is_not_opened() {
    let shop = Shop::new();
    let server = encrypted(&[b"postgresql"], |client| {
        client.hears("POST /is that you?");
        client.says("no");
    });
    let counter = shop.opens(&[]);
    let ca = shop.folder.path().join("ca.pem");
    let mut client = tls(&counter, &server, &ca, &[b"postgresql"]);
    client.says("POST /is that you?");
    client.hears("no");
    drop(client);
    counter.close().exits(0).says("(not HTTP)");
}

/// A server inside TLS that reads this, and answers it.
fn paid_inside_tls(heard: &Arc<AtomicUsize>) -> Server {
    let heard = Arc::clone(heard);
    encrypted(&[b"http/1.1"], move |client| {
        let asked = until(client, r#"{"order":"1"}"#);
        heard.fetch_add(1, Ordering::Relaxed);
        assert!(asked.starts_with("POST /charge "), "{asked}");
        client.says(&ok("paid"));
    })
}

/// Reads until this came.
fn until(client: &mut dyn Conversation, end: &str) -> String {
    let mut said = Vec::new();
    while !said.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        said.extend(byte);
    }
    String::from_utf8(said).unwrap()
}

/// Who has read its answer, and hangs up without a goodbye, has heard it; who hangs up before
/// has not, and gets it at the next try.
#[test]
fn f15_a_client_in_tls_that_hangs_up_has_heard_what_it_read() {
    for reads in [true, false] {
        let (shop, heard) = (Shop::new(), Arc::new(AtomicUsize::new(0)));
        let server = paid_inside_tls(&heard);
        let counter = shop.opens(&[]);
        let request = server.charge().with("Connection: close").plain();
        for nth in 1..=3 {
            let mut client = tls(&counter, &server, &counter.trusted, &[]);
            client.says(&String::from_utf8(request.clone()).unwrap());
            if reads || nth == 3 {
                until(&mut client, "paid");
            } else {
                eventually("it came", || shop.states().first().is_some_and(|s| s == "complete"));
            }
        }
        let sent = if reads { "3 sent" } else { "1 sent" };
        counter.close().exits(0).says(sent);
        assert_eq!(heard.load(Ordering::Relaxed), if reads { 3 } else { 1 });
    }
}

/// A client that agreed to nothing and speaks HTTP is guarded like any other.
#[test]
fn http_inside_tls_is_guarded_whatever_was_agreed() {
    for offers in [&[][..], &[b"http/1.1" as &[u8]]] {
        let shop = Shop::new();
        let server = encrypted(&[b"http/1.1"], |client| {
            until(client, r#"{"order":"1"}"#);
            client.says(&ok("paid"));
        });
        for sent in ["1 sent", "1 replayed"] {
            let counter = shop.opens(&[]);
            let mut client = tls(&counter, &server, &counter.trusted, offers);
            client.says(&String::from_utf8(server.charge().plain()).unwrap());
            client.hears("HTTP/1.1 200 OK\r\n");
            until(&mut client, "paid");
            drop(client);
            counter.close().exits(0).says(sent).keeps_silent_of("not guarded");
        }
    }
}
