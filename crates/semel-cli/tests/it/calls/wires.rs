//! What comes over the wire: protocols that are no HTTP, servers that say nonsense, and
//! clients that hang up.

use semel_testkit::eventually;
use semel_testkit::provider::Provider;

use super::counter::Request;
use super::server::{Server, Visit};
use super::shop::Shop;

fn shop() -> Shop {
    Shop::at(Provider::new())
}

/// A charge at a server of the test's own.
fn charge_at(server: &Server) -> Request {
    Request::post(&server.url("/charge"), r#"{"order":"1"}"#)
}

/// A server that switches to a protocol in which it says `hello`, and says back what it hears.
fn switches(visit: &mut Visit) {
    if visit.request().is_some() {
        let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
        visit.wire.says(format!("HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nhello"));
        visit.wire.hears("to you");
        visit.wire.says("to you, too");
    }
}

#[test]
fn a_web_socket_passes_and_is_told() {
    let (shop, server) = (shop(), Server::new(switches));
    let request = Request::new("GET", &server.url("/live"))
        .with("Upgrade: websocket")
        .with("Connection: Upgrade");
    for is_tunnel in [false, true] {
        let counter = shop.opens(&[]);
        let mut wire = if is_tunnel { counter.tunnel(server.port) } else { counter.dial() };
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

#[test]
fn what_is_no_http_passes_whoever_speaks_first() {
    let shop = shop();
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
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ];
    for said in cases {
        let shop = shop();
        let server = Server::new(move |visit| {
            if visit.request().is_some() {
                visit.wire.says(said);
            }
        });
        for _ in 0..2 {
            let counter = shop.opens(&[]);
            let answer = counter.asks(&charge_at(&server));
            assert!(answer.status == 424 || !answer.is_whole, "{said:?}: {answer:?}");
            counter.close().exits(103);
        }
        assert_eq!(
            (server.heard().len(), shop.states()),
            (1, vec!["unknown".to_owned()]),
            "{said:?}"
        );
    }
}

#[test]
fn an_answer_without_end_is_ended_by_its_time() {
    let shop = shop();
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\ntimeout = '300ms'\n");
    let server = Server::new(|visit| {
        if visit.request().is_some() {
            visit.wire.says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            // Until nobody listens any more.
            while visit.wire.is_heard("4\r\nmore\r\n") {}
        }
    });
    let counter = shop.opens(&[]);
    let answer = counter.asks(&charge_at(&server));
    assert!(answer.status == 200 && !answer.is_whole, "{answer:?}");
    counter.close().exits(103);
    assert_eq!(shop.states(), ["unknown"]);
}

/// A client that hangs up is one whose retry gets the answer; before its request was whole,
/// nothing was sent.
#[test]
fn whoever_hangs_up_is_charged_once() {
    let shop = shop();
    let request = shop.order("1");
    let counter = shop.opens(&[]);
    let bytes = request.bytes(&counter);
    let body_at = bytes.len() - request.body.len();
    for cut in [1, body_at - 2, body_at, bytes.len() - 1] {
        let mut wire = counter.dial();
        wire.says(&bytes[..cut]);
        wire.resets();
    }
    assert_eq!(shop.seen(), 0);
    // Its request is whole; whether it is sent before that is seen, nobody knows.
    let mut wire = counter.dial();
    wire.says(&bytes);
    wire.resets();
    for _ in 0..2 {
        let mut wire = counter.dial();
        wire.says(&bytes);
        let answer = wire.answer();
        assert_eq!(answer.whole(), 200);
        wire.resets();
        eventually("nothing is in flight", || {
            shop.states().iter().all(|state| state == "complete")
        });
    }
    counter.close().exits(0);
    let charged = shop.provider.charges("1");
    // Each of the two that were answered may be a call of its own, since both were heard; the
    // one that hung up is none.
    assert!((1..=2).contains(&charged), "{charged}");
}

#[test]
fn whoever_waits_for_a_hundred_gets_it() {
    let shop = shop();
    let counter = shop.opens(&[]);
    let request = shop.order("1").with("Expect: 100-continue");
    let mut wire = counter.dial();
    wire.says(request.head(&counter));
    assert_eq!(wire.head().unwrap().status, 100);
    wire.says(&request.body);
    assert_eq!(wire.answer().whole(), 200);
    counter.close().exits(0);
    assert_eq!(shop.provider.charges("1"), 1);
}

#[test]
fn a_stand_in_guards_as_the_proxy_does() {
    let shop = shop();
    let counter = shop.stands_in(&shop.provider.url(""));
    assert_eq!(counter.asks(&shop.order("1")).whole(), 200);
    counter.close().exits(0);
    let counter = shop.stands_in(&shop.provider.url(""));
    let answer = counter.asks(&shop.order("1"));
    assert_eq!((answer.whole(), answer.header("semel-replayed")), (200, Some("true")));
    counter.close().exits(0);
    assert_eq!(shop.seen(), 1);
}

/// An answer without a body is heard like any other: two equal calls are two, and each is
/// replayed once.
#[test]
fn f15_answers_without_a_body_are_counted() {
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"]
    {
        let shop = shop();
        let server = Server::new(move |visit| {
            while visit.request().is_some() {
                visit.wire.says(head);
            }
        });
        // Whoever asks again on a line has heard what came before.
        let ask = |options: &[&str], times: usize| {
            let counter = shop.opens(options);
            let mut wire = counter.dial();
            for _ in 0..times {
                wire.says(charge_at(&server).bytes(&counter));
                assert!([200, 204].contains(&wire.answer().whole()));
                assert!(shop.states().iter().all(|state| state == "complete"));
            }
            drop(wire);
            counter.close().exits(0)
        };
        ask(&[], 2).says("2 sent");
        ask(&[], 2).says("2 replayed").keeps_silent_of("sent, ");
        ask(&["--new-calls"], 3).says("2 replayed").says("1 sent");
        assert_eq!(server.heard().len(), 3);
    }
}

/// What comes behind a body is part of the answer, as gRPC has its status there.
#[test]
fn trailers_are_recorded_and_replayed() {
    let shop = shop();
    let server = Server::new(|visit| {
        while visit.request().is_some() {
            let head =
                "HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";
            visit.wire.says(format!("{head}4\r\npaid\r\n0\r\ngrpc-status: 0\r\n\r\n"));
        }
    });
    let request = charge_at(&server).with("TE: trailers");
    for _ in 0..2 {
        let counter = shop.opens(&[]);
        let answer = counter.asks(&request);
        assert_eq!((answer.whole(), answer.text()), (200, "paid".to_owned()));
        assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
        counter.close().exits(0);
    }
    assert_eq!((server.heard().len(), shop.states()), (1, vec!["complete".to_owned()]));
}

/// That a service is unavailable proves nothing, whether it says so behind the body or in the
/// head of an answer that has none.
#[test]
fn a_grpc_status_that_proves_nothing_is_unknown() {
    let behind =
        "Trailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 14\r\n\r\n";
    for rest in [behind, "grpc-status: 14\r\nContent-Length: 0\r\n\r\n"] {
        let shop = shop();
        let server = Server::new(move |visit| {
            while visit.request().is_some() {
                visit.wire.says(format!("HTTP/1.1 200 OK\r\n{rest}"));
            }
        });
        for _ in 0..2 {
            let counter = shop.opens(&[]);
            counter.asks(&charge_at(&server));
            counter.close().exits(103);
        }
        assert_eq!(
            (server.heard().len(), shop.states()),
            (1, vec!["unknown".to_owned()]),
            "{rest}"
        );
        assert!(shop.reason().contains("status 14 of gRPC"), "{}", shop.reason());
    }
}
