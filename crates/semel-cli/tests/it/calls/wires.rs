//! What comes over the wire beside a body of a known length.

use super::server::Server;
use super::shop::Shop;

#[test]
fn whoever_waits_for_a_hundred_gets_it() {
    let shop = Shop::new();
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
    let shop = Shop::new();
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
        let shop = Shop::new();
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
                wire.says(server.charge().bytes(&counter));
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
    let shop = Shop::new();
    let server = Server::new(|visit| {
        while visit.request().is_some() {
            let head =
                "HTTP/1.1 200 OK\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n";
            visit.wire.says(format!("{head}4\r\npaid\r\n0\r\ngrpc-status: 0\r\n\r\n"));
        }
    });
    let request = server.charge().with("TE: trailers");
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
        let shop = Shop::new();
        let server = Server::new(move |visit| {
            while visit.request().is_some() {
                visit.wire.says(format!("HTTP/1.1 200 OK\r\n{rest}"));
            }
        });
        for _ in 0..2 {
            let counter = shop.opens(&[]);
            counter.asks(&server.charge());
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
