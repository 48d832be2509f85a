//! All that a provider knows: who asked what, who was charged, who waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Weak};

use super::answer::Answer;
use super::keys::{Booked, Keys};
use super::plan::Act;
use super::request::{SeenRequest, bare};
use super::shapes::{self, Charge};

/// What a provider knows.
#[derive(Debug, Default)]
pub struct State {
    requests: Vec<Arc<SeenRequest>>,
    broken: u64,
    answered: u64,
    connections: u64,
    open: BTreeMap<u64, Weak<TcpStream>>,
    /// How many requests would have charged each order.
    seen: BTreeMap<String, u32>,
    charges: BTreeMap<String, u32>,
    /// How many charges there were, of all orders.
    charged: u64,
    keys: Keys,
    /// The order that each connection is about, if it hangs; if it is at a gate.
    hanging: BTreeMap<u64, String>,
    at_gate: BTreeMap<u64, String>,
    gates: Gates,
    pub(super) refuses: bool,
    pub(super) stopped: bool,
}

/// Which gates are open.
#[derive(Debug, Default)]
struct Gates {
    all: bool,
    of: BTreeSet<String>,
}

/// For what a connection waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// For nothing but its end.
    Hanging,
    /// For its order's gate.
    AtGate,
}

impl State {
    /// All requests that came whole, in their order, reads too.
    #[must_use]
    pub fn requests(&self) -> &[Arc<SeenRequest>] {
        &self.requests
    }

    /// How many requests began and did not come whole.
    #[must_use]
    pub fn broken(&self) -> u64 {
        self.broken
    }

    /// How many answers were sent whole.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answered
    }

    /// How many connections there were, also those without a request.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// How many connections there are now.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.open.len()
    }

    /// How many requests would have charged an order.
    #[must_use]
    pub fn seen(&self, order: &str) -> u32 {
        self.seen.get(bare(order)).copied().unwrap_or(0)
    }

    /// How often an order was charged.
    #[must_use]
    pub fn charges(&self, order: &str) -> u32 {
        self.charges.get(bare(order)).copied().unwrap_or(0)
    }

    /// How often each order was charged that was charged at all.
    #[must_use]
    pub fn charges_by_order(&self) -> &BTreeMap<String, u32> {
        &self.charges
    }

    /// The orders whose requests hang, or are answered without an end; an order is there
    /// once for each.
    #[must_use]
    pub fn hanging(&self) -> Vec<&str> {
        self.hanging.values().map(String::as_str).collect()
    }

    /// The orders whose requests wait for their gate; an order is there once for each.
    #[must_use]
    pub fn at_gate(&self) -> Vec<&str> {
        self.at_gate.values().map(String::as_str).collect()
    }

    pub(super) fn begin(&mut self, socket: &Arc<TcpStream>) -> u64 {
        self.connections += 1;
        self.open.insert(self.connections, Arc::downgrade(socket));
        if self.refuses {
            shut(&Arc::downgrade(socket));
        }
        self.connections
    }

    pub(super) fn end(&mut self, connection: u64) {
        self.open.remove(&connection);
    }

    pub(super) fn note_broken(&mut self) {
        self.broken += 1;
    }

    pub(super) fn note_answered(&mut self) {
        self.answered += 1;
    }

    pub(super) fn note(&mut self, mut request: SeenRequest) -> Arc<SeenRequest> {
        request.number = self.requests.len() as u64 + 1;
        request.order = request.find_order();
        let request = Arc::new(request);
        self.requests.push(Arc::clone(&request));
        request
    }

    /// Counts a request that would charge an order, and says the how-manieth it is.
    pub(super) fn see(&mut self, order: &str) -> u32 {
        let seen = self.seen.entry(order.to_owned()).or_default();
        *seen += 1;
        *seen
    }

    /// Charges an order, unless its key says that this was done.
    pub(super) fn book(
        &mut self,
        request: &SeenRequest,
        order: &str,
        act: &Act,
        honours_keys: bool,
    ) -> Booked {
        if let Some(booked) = self.keys.find(request).filter(|_| honours_keys) {
            return booked;
        }
        self.charged += 1;
        let charged = self.charges.entry(order.to_owned()).or_default();
        *charged += 1;
        let (number, charged) = (self.charged, *charged);
        let answer = match act {
            Act::ErrorAfterCharging(status) => Answer::error(*status),
            _ => shapes::charged(request, &Charge { order, number, charged }),
        };
        self.keys.keep(request, &answer, *act == Act::Slow);
        Booked::Answer(answer)
    }

    pub(super) fn is_done(&mut self, request: &SeenRequest) {
        self.keys.is_done(request);
    }

    pub(super) fn forget_keys(&mut self) {
        self.keys = Keys::default();
    }

    pub(super) fn wait(&mut self, connection: u64, waits: Waits, order: &str) {
        self.waiting(waits).insert(connection, order.to_owned());
    }

    pub(super) fn wait_no_more(&mut self, connection: u64, waits: Waits) {
        self.waiting(waits).remove(&connection);
    }

    fn waiting(&mut self, waits: Waits) -> &mut BTreeMap<u64, String> {
        match waits {
            Waits::Hanging => &mut self.hanging,
            Waits::AtGate => &mut self.at_gate,
        }
    }

    pub(super) fn is_open(&self, order: &str) -> bool {
        self.gates.all || self.gates.of.contains(order)
    }

    pub(super) fn open(&mut self, order: &str) {
        self.gates.of.insert(bare(order).to_owned());
    }

    pub(super) fn open_all(&mut self) {
        self.gates.all = true;
    }

    pub(super) fn release(&self) {
        self.hanging.keys().filter_map(|connection| self.open.get(connection)).for_each(shut);
    }

    pub(super) fn end_all(&self) {
        self.open.values().for_each(shut);
    }
}

/// Ends a connection; whoever reads or writes it is told.
fn shut(socket: &Weak<TcpStream>) {
    if let Some(socket) = socket.upgrade() {
        // It may be gone already, which is as good.
        let _ = socket.shutdown(Shutdown::Both);
    }
}
