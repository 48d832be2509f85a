//! Servers that say nonsense, or never stop.

use std::io::{Read as _, Write as _};

use super::server::Server;
use super::shop::Shop;

/// Whatever a server says that is no whole answer: its client hears no end of it, and nothing
/// is sent again.
#[test]
fn nonsense_is_unknown_and_not_sent_again() {
    let cases = [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\nhalf\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        "HTTP/1.1 99 Too Small\r\n\r\n",
        "HTTP/7.5 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Header\u{0}: x\r\n\r\n",
    ];
    for said in cases {
        unknown(said.to_owned());
    }
}

#[test]
fn a_head_without_end_is_unknown() {
    unknown(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(1 << 20)));
    unknown(format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(1 << 14)));
}

/// A switch to another protocol is no answer to somebody who did not ask for one.
#[test]
fn a_switch_that_nobody_asked_for_is_unknown() {
    let upgrade = "Upgrade: h2c\r\nConnection: Upgrade\r\n";
    let shop = unknown(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nhello"));
    assert!(shop.reason().contains("a protocol that nobody asked for"), "{}", shop.reason());
}

/// Once an answer is whole, what comes after it is no news, and nobody's answer.
#[test]
fn what_comes_after_an_answer_is_not_taken_for_one() {
    let shop = Shop::new();
    let server = Server::new(|visit| {
        if visit.request().is_some() {
            let more = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
            visit.wire.says(format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright{more}"));
            visit.wire.rest();
        }
    });
    let counter = shop.opens(&[]);
    for order in ["1", "2"] {
        let mut request = server.charge();
        request.body = format!(r#"{{"order":"{order}"}}"#).into_bytes();
        assert_eq!(counter.asks(&request).text(), "right");
    }
    counter.close().exits(0);
    assert_eq!((server.heard().len(), shop.states()), (2, vec!["complete".to_owned(); 2]));
}

#[test]
fn an_answer_without_end_is_ended_by_its_time() {
    let shop = Shop::new();
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\ntimeout = '300ms'\n");
    let server = Server::new(|visit| {
        if visit.request().is_some() {
            visit.wire.says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            // Until nobody listens any more.
            while visit.wire.is_heard("4\r\nmore\r\n") {}
        }
    });
    let counter = shop.opens(&[]);
    let answer = counter.asks(&server.charge());
    assert!(answer.status == 200 && !answer.is_whole, "{answer:?}");
    counter.close().exits(103);
    assert_eq!(shop.states(), ["unknown"]);
}

/// Asks twice for what this answers.
#[track_caller]
fn unknown(said: String) -> Shop {
    let shop = Shop::new();
    let begins = said[..said.len().min(60)].to_owned();
    let server = Server::new(move |visit| {
        if visit.request().is_some() {
            visit.wire.says(&said);
        }
    });
    for _ in 0..2 {
        let counter = shop.opens(&[]);
        let answer = counter.asks(&server.charge());
        assert!(answer.status == 424 || !answer.is_whole, "{begins:?}: {answer:?}");
        counter.close().exits(103);
    }
    assert_eq!(
        (server.heard().len(), shop.states()),
        (1, vec!["unknown".to_owned()]),
        "{begins:?}"
    );
    shop
}

/// In HTTP/1.0 an answer of unknown length ends where the connection does: one that is cut
/// must not look whole.
#[test]
fn to_a_client_of_http_1_0_half_an_answer_does_not_look_whole() {
    let half = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for is_cut in [true, false] {
        let (shop, end) = (Shop::new(), if is_cut { "" } else { "0\r\n\r\n" });
        let server = Server::new(move |visit| {
            if visit.request().is_some() {
                visit.wire.says(format!("{half}{end}"));
            }
        });
        let counter = shop.opens(&[]);
        let mut socket = counter.dial().into_socket();
        let asked = String::from_utf8(server.charge().bytes(&counter)).unwrap();
        socket.write_all(asked.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes()).unwrap();
        let mut said = Vec::new();
        let read = socket.read_to_end(&mut said);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(read.is_err(), is_cut, "{said}");
        assert!(is_cut || said.ends_with("\r\n\r\nhalf"), "{said}");
        counter.close().exits(if is_cut { 103 } else { 0 });
    }
}
