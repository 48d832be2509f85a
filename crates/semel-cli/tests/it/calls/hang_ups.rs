//! Clients that hang up, at any moment.

use std::io::Read as _;
use std::net::TcpStream;

use semel_testkit::eventually;

use super::counter::Wire;
use super::server::{Server, ok};
use super::shop::Shop;

/// A client that hangs up is one whose retry gets the answer; before its request was whole,
/// nothing was sent.
#[test]
fn whoever_hangs_up_is_charged_once() {
    let shop = Shop::new();
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

/// While it waits, after the head, and with all but the last byte: whoever tries again on a
/// new connection gets what was paid for.
#[test]
fn f15_whoever_hangs_up_in_an_answer_gets_it_at_the_next_try() {
    for (heard, is_reset) in [
        (None, false),
        (None, true),
        (Some(0), false),
        (Some(0), true),
        (Some(4), false),
        (Some(4), true),
    ] {
        let shop = Shop::new();
        let server = Server::new(|visit| {
            while visit.request().is_some() {
                visit.wire.says(ok("paid!"));
            }
        });
        let counter = shop.opens(&[]);
        let mut wire = counter.dial();
        wire.says(server.charge().bytes(&counter));
        eventually("it came", || !server.heard().is_empty());
        // What is read is read byte by byte: the rest is unread when it hangs up.
        let mut socket = wire.into_socket();
        if let Some(heard) = heard {
            let mut said = Vec::new();
            while !said.ends_with(b"\r\n\r\n") {
                said.extend(read(&mut socket, 1));
            }
            read(&mut socket, heard);
        }
        if is_reset {
            Wire::of(socket).resets();
        } else {
            drop(socket);
        }
        let answer = counter.asks(&server.charge());
        assert_eq!((answer.whole(), answer.text()), (200, "paid!".to_owned()));
        counter.close().exits(0);
        let charged = (server.heard().len(), shop.states());
        assert_eq!(charged, (1, vec!["complete".to_owned()]), "{heard:?} {is_reset}");
    }
}

fn read(socket: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

/// The server is listened to, though nobody waits for what it says.
#[test]
fn an_answer_that_nobody_waits_for_is_recorded() {
    let shop = Shop::new();
    let server = Server::new(|visit| {
        while visit.request().is_some() {
            visit.wire.says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            visit.wire.says(format!("{:x}\r\n{}\r\n", 1 << 20, "x".repeat(1 << 20)));
            visit.wire.says("0\r\n\r\n");
        }
    });
    let counter = shop.opens(&[]);
    let mut wire = counter.dial();
    wire.says(server.charge().bytes(&counter));
    assert_eq!(wire.head().unwrap().status, 200);
    drop(wire);
    eventually("it is recorded", || shop.states() == ["complete"]);
    counter.close().exits(0);
    let counter = shop.opens(&[]);
    assert_eq!(counter.asks(&server.charge()).body.len(), 4 + (1 << 20));
    counter.close().exits(0);
    assert_eq!(server.heard().len(), 1);
}

/// One of the clients of a call in flight leaves: the other one gets the answer.
#[test]
fn one_of_two_that_wait_hangs_up() {
    let shop = Shop::new();
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\nequal = 'shared'\n");
    let gate = shop.folder.path().join("answered");
    let open = gate.clone();
    let server = Server::new(move |visit| {
        if visit.request().is_some() {
            eventually("it may answer", || open.exists());
            visit.wire.says(ok("paid!"));
        }
    });
    let counter = shop.opens(&[]);
    let (mut first, mut second) = (counter.dial(), counter.dial());
    first.says(server.charge().bytes(&counter));
    eventually("it came", || !server.heard().is_empty());
    second.says(server.charge().bytes(&counter));
    first.resets();
    std::fs::write(gate, "").unwrap();
    assert_eq!(second.answer().text(), "paid!");
    drop(second);
    counter.close().exits(0);
    assert_eq!(server.heard().len(), 1);
}
