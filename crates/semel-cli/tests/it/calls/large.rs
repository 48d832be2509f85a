//! What is large, and what are many: memory is bounded.

use semel::words::digest::{Digest, Stream};
use semel_testkit::provider::{Act, Provider};
use semel_testkit::sweep;

use super::counter::{Counter, Request, Wire};
use super::shop::Shop;

/// How much more memory there may be, in KiB.
const BOUND: u64 = 64 << 10;

/// Bytes of which none is where another could be.
struct Generated {
    piece: Vec<u8>,
    left: u64,
}

impl Generated {
    fn of(length: u64) -> Self {
        let piece = (0..1_u32 << 18).flat_map(|number| (number * 7 + 1).to_le_bytes()).collect();
        Self { piece, left: length }
    }

    /// The next of them, until there are no more.
    fn next(&mut self) -> Option<&[u8]> {
        let length = self.left.min(self.piece.len() as u64);
        self.left -= length;
        // Each piece is another.
        self.piece[..8].copy_from_slice(&self.left.to_le_bytes());
        (length > 0).then(|| &self.piece[..usize::try_from(length).unwrap()])
    }
}

/// Sends so many bytes; gives their digest.
fn put(shop: &Shop, counter: &Counter, length: u64) -> Digest {
    let url = format!("{}/order-1", shop.charge());
    let head = Request::new("PUT", &url).with(&format!("Content-Length: {length}"));
    let (mut wire, mut body) = (counter.dial(), Generated::of(length));
    wire.says(head.head(counter));
    let mut sum = Stream::default();
    while let Some(bytes) = body.next() {
        sum.feed(bytes);
        wire.says(bytes);
    }
    assert_eq!(wire.answer().whole(), 200);
    sum.digest()
}

/// By default it is as large as a test can take; `SEMEL_SWEEP=full` makes it 5 GB.
#[test]
fn a_request_of_any_size_takes_no_memory_and_is_sent_once() {
    let length = if sweep::one_of(2) == 1 { 5 << 30 } else { 256 << 20 };
    let shop = Shop::at(Provider::builder().keeps(64).start());
    for _ in 0..2 {
        let counter = shop.opens(&[]);
        let before = counter.peak_kib();
        let digest = put(&shop, &counter, length);
        let more = counter.peak_kib() - before;
        assert!(more < BOUND, "{more} KiB more than {before}");
        let request = &shop.provider.requests()[0];
        assert_eq!(request.body_length, length);
        assert_eq!(request.body_digest, Some(digest), "every byte came");
        assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
        counter.close().exits(0);
    }
    assert_eq!(shop.states(), ["complete"]);
    shop.folder.semel("calls show 1 --request-body").exits(2).says("not kept");
    let kept = shop.folder.list(".semel/bodies");
    assert!(kept.is_empty(), "what is too large is not kept: {kept:?}");
}

/// How many are open at once.
const STREAMS: usize = 200;

/// Asks for as many streams, in clear text through the proxy.
fn streams(shop: &Shop, counter: &Counter) -> Vec<Wire> {
    let url = shop.provider.url("/v1/chat/completions");
    let ask = |order: usize| {
        let body = format!(r#"{{"stream":true,"messages":[{{"content":"order-{order}"}}]}}"#);
        let mut wire = counter.dial();
        wire.says(Request::post(&url, body).with("Connection: close").bytes(counter));
        wire
    };
    (0..STREAMS).map(ask).collect()
}

fn all_are_charged_once(shop: &Shop) {
    let charges = shop.provider.charges_by_order();
    assert!(charges.len() == STREAMS && charges.values().all(|charges| *charges == 1));
    assert_eq!(shop.seen(), STREAMS);
}

#[test]
fn many_streams_that_are_open_at_once_take_little_memory() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::Pause).start());
    let counter = shop.opens(&[]);
    let mut wires = streams(&shop, &counter);
    shop.provider.until("all have begun", |state| state.at_gate().len() == STREAMS);
    for wire in &mut wires {
        assert_eq!(wire.head().unwrap().status, 200, "it is passed on as it comes");
    }
    shop.provider.open_all();
    for wire in &mut wires {
        let text = String::from_utf8_lossy(&wire.rest()).into_owned();
        assert!(text.contains("[DONE]"), "{text}");
    }
    let peak = counter.peak_kib();
    assert!(peak < BOUND, "{peak} KiB");
    counter.close().exits(0);
    all_are_charged_once(&shop);
}

/// How large each of the large ones is.
const LARGE: usize = 1 << 20;

/// Clients that do not read hold the server up: what they leave is nowhere in our memory.
#[test]
fn large_streams_whose_clients_are_slow_take_little_memory() {
    let events = "data: more\n\n".repeat(LARGE / 12);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let answer = Act::Raw([head, &events].concat().into_bytes());
    let shop = Shop::at(Provider::builder().plan(move |_| answer.clone()).start());
    for _ in 0..2 {
        let counter = shop.opens(&[]);
        let mut wires = streams(&shop, &counter);
        // One after another: the others wait meanwhile.
        for wire in &mut wires {
            let answer = wire.answer();
            assert_eq!((answer.whole(), answer.body.len()), (200, events.len()));
        }
        let peak = counter.peak_kib();
        assert!(peak < BOUND, "{peak} KiB");
        counter.close().exits(0);
        all_are_charged_once(&shop);
    }
}
