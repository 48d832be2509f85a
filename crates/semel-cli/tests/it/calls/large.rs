//! What is large, and what are many: memory is bounded.

use semel::words::digest::{Digest, Stream};
use semel_testkit::provider::Provider;
use semel_testkit::sweep;

use super::counter::{Counter, Request};
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
