//! A disk that is full: what is paid for could not be kept, so nothing is sent; and an answer
//! that cannot be kept is none.

use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

use semel_testkit::Scratch;
use semel_testkit::provider::{Act, Provider, State};

use super::counter::{Answer, Counter, Request};
use super::server::{Server, ok};
use super::shop::Shop;
use crate::bad_input::small_disk;

/// Semel sends nothing where less is left than an answer may need: 64 MiB.
const TOO_SMALL: &str = "60m";
const SMALL: &str = "90m";

fn shop(folder: &Path, provider: Provider) -> Shop {
    Shop::inside(Scratch::inside(folder, env!("CARGO_BIN_EXE_semel")), provider)
}

#[test]
fn where_too_little_is_left_nothing_is_sent() {
    let Some((folder, disk)) = small_disk(TOO_SMALL) else { return };
    let shop = shop(folder.path(), Provider::new());
    let ran = shop.sh(&[], "pay 1; pay 1").exits(105);
    ran.says("507 507 ").says("the disk is nearly full").says("nothing is sent");
    assert_eq!(shop.provider.look(State::connections), 0);
    assert!(shop.calls().is_empty());
    disk.resize(SMALL);
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    // What is recorded needs no room.
    disk.resize(TOO_SMALL);
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!(shop.sh(&[], "pay 1; pay 2").exits(105).stdout, "200 507 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn a_request_for_which_there_is_no_room_is_not_sent() {
    let Some((folder, _disk)) = small_disk(SMALL) else { return };
    let shop = shop(folder.path(), Provider::new());
    let counter = shop.opens(&[]);
    let mut wire = counter.dial();
    let body = vec![b'x'; 60 << 20];
    wire.says(Request::post(&shop.charge(), body).bytes(&counter));
    // It is answered before it came whole; whether its client looks by then is its own affair.
    let answer = wire.answer();
    assert!(matches!(answer.status, 0 | 507), "{answer:?}");
    counter.close().exits(105).says("the disk is nearly full");
    assert_eq!(shop.provider.look(State::connections), 0);
    assert!(shop.folder.list(".semel/bodies").is_empty());
}

/// Its client sees no end, nobody knows what became of it, and it is not sent again.
fn is_unknown(shop: &Shop, counter: Counter, request: &Request) {
    assert_eq!(counter.asks(request).whole(), 424);
    counter.close().exits(103).says("cannot be kept");
    let counter = shop.opens(&[]);
    assert_eq!(counter.asks(request).whole(), 424);
    counter.close().exits(103);
    assert_eq!(shop.states(), ["unknown"]);
}

#[test]
fn an_answer_for_which_there_is_no_room_has_no_end() {
    let Some((folder, _disk)) = small_disk(SMALL) else { return };
    let body = " ".repeat(60 << 20);
    let provider = Provider::builder().plan(move |_| Act::Raw(ok(&body).into_bytes())).start();
    let shop = shop(folder.path(), provider);
    let counter = shop.opens(&[]);
    let answer = counter.asks(&shop.order("1"));
    assert!(answer.status == 200 && !answer.is_whole, "it has {} bytes", answer.body.len());
    is_unknown(&shop, counter, &shop.order("1"));
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

/// Fills a file system to its last byte.
fn fill(folder: &Path) {
    let mut file = std::fs::File::create(folder.join("filler")).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

/// A server that answers this but for its last bytes, and those when the test says so.
fn in_two_parts(body: &str, last: usize) -> (Server, Sender<()>) {
    let (go_on, goes_on) = channel();
    let goes_on = Mutex::new(goes_on);
    let answer = ok(body);
    let server = Server::new(move |visit| {
        while visit.request().is_some() {
            let (one, other) = answer.split_at(answer.len() - last);
            visit.wire.says(one);
            let _ = goes_on.lock().unwrap().recv();
            visit.wire.says(other);
        }
    });
    (server, go_on)
}

/// Asks, and has the disk filled in the middle of the answer: after so many bytes.
fn asked_while_it_fills(
    counter: &Counter,
    request: &Request,
    (first, go_on): (usize, &Sender<()>),
    fill: impl FnOnce(),
) -> Answer {
    let mut wire = counter.dial();
    wire.says(request.bytes(counter));
    let mut answer = wire.head().unwrap();
    wire.piece(first, &mut answer).unwrap();
    fill();
    go_on.send(()).unwrap();
    wire.rest_of(&mut answer);
    answer
}

/// A large answer goes to a file, of which the end is not there.
#[test]
fn an_answer_at_whose_end_the_disk_is_full_is_not_taken_for_one_that_is_kept() {
    let Some((folder, _disk)) = small_disk(SMALL) else { return };
    let shop = shop(folder.path(), Provider::new());
    // The last come in one piece, for part of which there is room.
    let (first, last) = (100_000, 8_000);
    let body = "0123456789".repeat((first + last) / 10);
    let (server, go_on) = in_two_parts(&body, last);
    let request = Request::post(&server.url("/charge"), "{}");
    let counter = shop.opens(&[]);
    let at = (first, &go_on);
    let answer = asked_while_it_fills(&counter, &request, at, || fill(folder.path()));
    assert!(!answer.is_whole, "{} bytes", answer.body.len());
    std::fs::remove_file(folder.path().join("filler")).unwrap();
    is_unknown(&shop, counter, &request);
    assert_eq!(server.heard().len(), 1);
    // Once more, and all is well: nothing of before is left where the answer is kept.
    shop.folder.semel("calls redo 1 --because not-there").exits(0);
    go_on.send(()).unwrap();
    for _ in 0..2 {
        let counter = shop.opens(&[]);
        let answer = counter.asks(&request);
        assert_eq!((answer.whole(), answer.text() == body), (200, true));
        counter.close().exits(0);
    }
    assert_eq!(server.heard().len(), 2);
}

/// A small one is recorded all the same: room is kept for that.
#[test]
fn an_answer_that_was_paid_for_is_recorded_on_a_full_disk() {
    let Some((folder, _disk)) = small_disk(SMALL) else { return };
    let shop = shop(folder.path(), Provider::new());
    let (server, go_on) = in_two_parts("0123456789abcdef", 8);
    let request = Request::post(&server.url("/charge"), "{}");
    let counter = shop.opens(&[]);
    let answer = asked_while_it_fills(&counter, &request, (8, &go_on), || fill(folder.path()));
    assert_eq!((answer.whole(), &*answer.text()), (200, "0123456789abcdef"));
    std::fs::remove_file(folder.path().join("filler")).unwrap();
    counter.close().exits(0);
    assert_eq!(
        shop.sh(&[], &format!("status -d '{{}}' {}", request.url())).exits(0).stdout,
        "200 "
    );
    assert_eq!((server.heard().len(), shop.states()), (1, vec!["complete".to_owned()]));
}

/// And where even that room is taken, its client sees no end.
#[test]
fn an_answer_that_cannot_be_recorded_has_no_end() {
    let Some((folder, _disk)) = small_disk(SMALL) else { return };
    let shop = shop(folder.path(), Provider::new());
    let (server, go_on) = in_two_parts("0123456789abcdef", 8);
    let request = Request::post(&server.url("/charge"), "{}");
    let counter = shop.opens(&[]);
    let answer = asked_while_it_fills(&counter, &request, (8, &go_on), || {
        shop.folder.sh("rm .semel/calls/*/ballast");
        fill(folder.path());
    });
    assert!(!answer.is_whole, "{answer:?}");
    assert_eq!(counter.asks(&request).whole(), 507, "nothing is sent now");
    std::fs::remove_file(folder.path().join("filler")).unwrap();
    // Nobody listens to that call any more: it is not waited for.
    assert_eq!(counter.asks(&request).whole(), 424);
    counter.close().exits(105).says("cannot be recorded");
    let counter = shop.opens(&[]);
    assert_eq!(counter.asks(&request).whole(), 424);
    counter.close().exits(103);
    assert_eq!((server.heard().len(), shop.states()), (1, vec!["unknown".to_owned()]));
}
