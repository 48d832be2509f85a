//! How a request is answered, and what is known where that is decided.
//!
//! What is drawn by lot depends on the seed, the order and the how-manieth of its requests
//! it is, and on nothing else: threads may come in any order.

use super::request::SeenRequest;

/// Decides how a request is answered.
pub(super) type Plan = dyn Fn(&Seen<'_>) -> Act + Send + Sync;

/// What is answered to a request that reads.
pub(super) type Reads = dyn Fn(&SeenRequest) -> Option<Vec<u8>> + Send + Sync;

/// How a request that would charge is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Charges and answers, as it should be.
    Ok,
    /// Charges, and answers nothing until [`release`](super::Provider::release).
    SucceedThenHang,
    /// Charges, and resets the connection.
    SucceedThenReset,
    /// Charges, and closes the connection without a byte.
    SucceedThenClose,
    /// Charges, and closes the connection in the middle of the answer's head.
    HalfHeader,
    /// Charges, and closes the connection in the middle of a body whose length was said.
    ShortBody,
    /// Charges, and closes the connection after an answer in chunks, or a stream of events,
    /// has come to its middle.
    CutStream,
    /// Charges, and answers what is no HTTP; then it closes the connection.
    Garbage,
    /// Charges, and answers this status, as if it had not.
    ErrorAfterCharging(u16),
    /// Charges, and answers once the order's gate is open ([`open`](super::Provider::open)).
    /// Until then its key is at work.
    Slow,
    /// Charges, answers up to the middle of the body, and the rest once the order's gate is
    /// open.
    Pause,
    /// Charges, and answers a body that never ends, until
    /// [`release`](super::Provider::release) or until the client goes.
    EndlessBody,
    /// Charges, and answers these bytes, whatever they are; then it closes the connection.
    Raw(Vec<u8>),
    /// Charges nothing, and answers this status: 429, say, or 409.
    Refuse(u16),
    /// Charges nothing, and answers nothing until [`release`](super::Provider::release).
    Hang,
    /// Charges nothing, and resets the connection.
    Reset,
}

impl Act {
    /// Whether the order is charged.
    #[must_use]
    pub fn charges(&self) -> bool {
        !matches!(self, Self::Refuse(_) | Self::Hang | Self::Reset)
    }
}

/// A request that would charge, and is to be answered.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The order: `17`.
    pub order: &'a str,
    /// The how-manieth request that would charge this order it is; the first is 1.
    pub time: u32,
    /// The request itself.
    pub request: &'a SeenRequest,
    pub(super) seed: u64,
}

impl Seen<'_> {
    /// A number below a bound, drawn by lot.
    ///
    /// # Panics
    /// If the bound is 0.
    #[must_use]
    pub fn lot(&self, below: u64) -> u64 {
        let begin = mixed(self.seed ^ mixed(u64::from(self.time)));
        self.order.bytes().fold(begin, |lot, byte| mixed(lot ^ u64::from(byte))) % below
    }

    /// One of some acts, drawn by lot. Name one more than once to make it likelier.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn pick(&self, acts: &[Act]) -> Act {
        let at = usize::try_from(self.lot(acts.len() as u64)).expect("it is below a length");
        acts[at].clone()
    }
}

/// Mixes the bits of a number (splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
