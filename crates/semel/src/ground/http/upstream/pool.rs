//! Connections that stay open for the next request.
//!
//! Invariant: no lock in here is held while anybody waits for the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connect::Connection;
use super::lane::{InFlight, Lane, Many, One};
use super::{Freshness, Limits, Origin};

/// How many connections of HTTP/1 to one server stay open unused.
const KEPT: usize = 256;

/// The connections to all servers.
pub(super) struct Pool {
    limits: Limits,
    places: Mutex<Places>,
}

struct Places {
    of: HashMap<Origin, Arc<Place>>,
    swept: Instant,
}

/// The connections to one server.
pub(super) struct Place {
    limits: Limits,
    ones: Mutex<Vec<Idle>>,
    many: Mutex<Vec<Arc<Many>>>,
}

/// A connection of HTTP/1 that nobody uses.
struct Idle {
    one: One,
    since: Instant,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        let places = Places { of: HashMap::new(), swept: Instant::now() };
        Self { limits, places: Mutex::new(places) }
    }

    /// Where the connections to a server are.
    pub(super) fn place(&self, to: &Origin) -> Arc<Place> {
        let mut places = lock(&self.places);
        if places.swept.elapsed() > self.limits.idle {
            places.swept = Instant::now();
            places.of.retain(|_, place| place.sweep() || Arc::strong_count(place) > 1);
        }
        if let Some(place) = places.of.get(to) {
            return Arc::clone(place);
        }
        let place = Arc::new(Place::new(self.limits));
        places.of.insert(to.clone(), Arc::clone(&place));
        place
    }
}

impl Place {
    fn new(limits: Limits) -> Self {
        Self { limits, ones: Mutex::default(), many: Mutex::default() }
    }

    /// A connection that is open and fresh enough. The one used last comes first: those
    /// that are not needed grow old.
    pub(super) fn take(&self, fresh: Freshness, only_one: bool) -> Option<Lane> {
        if !only_one && let Some(share) = self.share(fresh) {
            return Some(Lane::Many(share));
        }
        let limit = match fresh {
            Freshness::Any => self.limits.idle,
            Freshness::Fresh => self.limits.fresh,
        };
        loop {
            let one = self.pop(limit)?;
            if one.is_open() {
                return Some(Lane::One(one));
            }
        }
    }

    fn pop(&self, limit: Duration) -> Option<One> {
        let mut ones = lock(&self.ones);
        // The last is the youngest.
        if ones.last()?.since.elapsed() > limit {
            return None;
        }
        ones.pop().map(|idle| idle.one)
    }

    fn share(&self, fresh: Freshness) -> Option<InFlight> {
        let mut many = lock(&self.many);
        many.retain(|many| !many.is_ended());
        let is_fresh = |many: &Arc<Many>| match (fresh, many.unused()) {
            (Freshness::Fresh, Some(unused)) => unused <= self.limits.fresh_h2,
            _ => true,
        };
        many.iter().rev().filter(|many| is_fresh(many)).find_map(Many::share)
    }

    /// Takes in a new connection, and gives what the first request needs of it.
    pub(super) fn add(&self, connection: Connection) -> Lane {
        match connection {
            Connection::One(one) => Lane::One(one),
            Connection::Many(many, share) => {
                lock(&self.many).push(many);
                Lane::Many(share)
            }
        }
    }

    /// Takes back a connection whose answer has been read. It may still have to learn of
    /// that, or be writing the rest of a request that was answered early.
    pub(super) fn give_back(self: Arc<Self>, mut one: One) {
        if one.sender.is_ready() {
            return self.keep(one);
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if one.sender.ready().await.is_ok() {
                self.keep(one);
            }
        });
    }

    fn keep(&self, one: One) {
        let mut ones = lock(&self.ones);
        self.drop_old(&mut ones);
        if ones.len() < KEPT {
            ones.push(Idle { one, since: Instant::now() });
        }
    }

    /// The first are the oldest.
    fn drop_old(&self, ones: &mut Vec<Idle>) {
        let old = ones.iter().take_while(|idle| idle.since.elapsed() > self.limits.idle).count();
        ones.drain(..old);
    }

    /// Drops what is old or has ended, and says whether anything is left.
    fn sweep(&self) -> bool {
        let mut ones = lock(&self.ones);
        self.drop_old(&mut ones);
        let mut many = lock(&self.many);
        many.retain(|many| {
            !many.is_ended() && many.unused().is_none_or(|unused| unused <= self.limits.idle)
        });
        !ones.is_empty() || !many.is_empty()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
