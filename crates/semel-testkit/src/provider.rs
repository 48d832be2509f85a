//! A paid provider of a test's own: an HTTP/1.1 server on loopback that counts charges by
//! order, and misbehaves by a plan.
//!
//! ```
//! use semel_testkit::provider::{Act, Provider};
//!
//! // Each order's first request is charged and then never answered.
//! let provider = Provider::builder()
//!     .honours_keys(true)
//!     .plan(|seen| if seen.time == 1 { Act::SucceedThenHang } else { Act::Ok })
//!     .start();
//! let url = provider.url("/charge");
//! // ... a client posts {"order": "17"} to the URL, and waits ...
//! # let _ = url;
//! # fn more(provider: &Provider) {
//! provider.until("order 17 hangs", |state| state.hanging().contains(&"17"));
//! assert_eq!(provider.charges("17"), 1);
//! provider.release(); // whoever waited sees the connection end
//! # }
//! ```
//!
//! What it answers, and which SDK is content with that:
//!
//! | request | answer |
//! |---|---|
//! | `POST /charge` with `{"order": "17", "amount": 3}` | `{"order": "17", "charge": 41, "charged": 1}` |
//! | `GET /orders/17` | `{"order": "17", "charged": 1}` |
//! | `POST …/chat/completions` | OpenAI's; server-sent events and `[DONE]` with `"stream": true` |
//! | `POST …/v1/messages` | Anthropic's; events with `"stream": true` |
//! | `POST …/v1/charges`, `…/v1/payment_intents` | Stripe's |
//! | `POST` with `x-amz-target`, or with `Action=…` in target or body | JSON or XML of SQS |
//! | `PUT` | S3's: an `ETag`, and no body |
//! | any other `POST`, `PUT`, `PATCH` | as `/charge` |
//! | any other `GET`, `HEAD`, `OPTIONS`, `DELETE` | `{}` |
//!
//! All but the reads charge the order that is in the request: the field `order` of a JSON
//! body, or a token `order-17` anywhere in the body or the target. Both are order `17`.
//! What has no order is charged to the order `""`.
//!
//! A charge is counted when the request has come whole and before anything is answered.
//! Nothing here waits for time to pass: what takes 61 seconds elsewhere takes until a test
//! opens a gate ([`Act::Slow`]).

mod answer;
mod keys;
mod link;
mod plan;
mod request;
mod serve;
mod shapes;
mod state;
mod tls;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::servers::free_port;
use serve::Shared;

pub use plan::{Act, Seen};
pub use request::SeenRequest;
pub use state::State;
pub use tls::Certificate;

/// How many connections may wait to be accepted. (The standard library asks for 128.)
const BACKLOG: i32 = 4096;

/// How much of a body is kept unless a test says otherwise.
const KEPT: usize = 1 << 24;

/// A provider that runs. It ends, with all its connections, when it is dropped.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Accepts connections; there is none while they are refused.
    listener: Mutex<Option<JoinHandle<()>>>,
}

/// What a provider is to be like.
#[must_use]
pub struct Builder {
    plan: Arc<plan::Plan>,
    reads: Arc<plan::Reads>,
    seed: u64,
    honours_keys: bool,
    keeps: usize,
    certificate: Option<Certificate>,
}

impl Builder {
    /// How it answers each request that would charge. It is asked without a lock: it may
    /// wait for something.
    pub fn plan(mut self, plan: impl Fn(&Seen<'_>) -> Act + Send + Sync + 'static) -> Self {
        self.plan = Arc::new(plan);
        self
    }

    /// What it answers to requests that only read, to the byte; then it closes the
    /// connection. What there is nothing for is answered as ever.
    pub fn reads(
        mut self,
        reads: impl Fn(&SeenRequest) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.reads = Arc::new(reads);
        self
    }

    /// What [`Seen::lot`] and [`Seen::pick`] draw from.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether an `Idempotency-Key` is honoured. Then a request with the key of an earlier
    /// one that charged is given the answer recorded for that, be it a 500, and charges
    /// nothing; it gets 409 while the earlier one is still at work ([`Act::Slow`]), and 422
    /// if it differs from it. What was refused is not recorded.
    pub fn honours_keys(mut self, honours: bool) -> Self {
        self.honours_keys = honours;
        self
    }

    /// How many bytes of each body are kept; the others are read, counted and forgotten.
    /// By default that is 16 MiB.
    pub fn keeps(mut self, bytes: usize) -> Self {
        self.keeps = bytes;
        self
    }

    /// It speaks TLS, with a certificate for `localhost` and 127.0.0.1 by the authority
    /// [`ca_pem`](Provider::ca_pem), or with a bad one.
    pub fn tls(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn start(self) -> Provider {
        let Self { plan, reads, seed, honours_keys, keeps, certificate } = self;
        let tls = certificate.map(tls::server);
        let shared = Arc::new(Shared::new((plan, reads), seed, honours_keys, keeps, tls));
        // Others look for free ports too.
        let listener = std::iter::repeat_with(|| listen(free_port())).find_map(Result::ok);
        let listener = listener.expect("it is looked for until there is one");
        let address = listener.local_addr().expect("it listens");
        let listener = Mutex::new(Some(Shared::accept(&shared, listener)));
        Provider { address, shared, listener }
    }
}

impl Provider {
    /// One that behaves, and honours no keys.
    ///
    /// # Panics
    /// If it cannot listen.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().start()
    }

    /// One that is to be like something else.
    pub fn builder() -> Builder {
        let plan = Arc::new(|_: &Seen<'_>| Act::Ok);
        let reads = Arc::new(|_: &SeenRequest| None);
        Builder { plan, reads, seed: 0, honours_keys: false, keeps: KEPT, certificate: None }
    }

    /// Where it listens on 127.0.0.1. It stays its own while connections are refused.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of a path, which begins with a slash. It names 127.0.0.1, or `localhost` if
    /// it speaks TLS.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let port = self.port();
        if self.shared.speaks_tls() {
            format!("https://localhost:{port}{path}")
        } else {
            format!("http://127.0.0.1:{port}{path}")
        }
    }

    /// The certificate of the authority that all good certificates of this process are
    /// made by, in PEM.
    #[must_use]
    pub fn ca_pem() -> String {
        tls::ca_pem()
    }

    /// Answers by another plan from now on.
    ///
    /// # Panics
    /// If a thread of the provider has panicked; so do all that ask it something.
    pub fn plan(&self, plan: impl Fn(&Seen<'_>) -> Act + Send + Sync + 'static) {
        self.shared.answer_by(Arc::new(plan));
    }

    /// How often an order was charged: `17` or `order-17`.
    #[must_use]
    pub fn charges(&self, order: &str) -> u32 {
        self.shared.state().charges(order)
    }

    /// How often each order was charged that was charged at all.
    #[must_use]
    pub fn charges_by_order(&self) -> BTreeMap<String, u32> {
        self.shared.state().charges_by_order().clone()
    }

    /// All requests that came whole, in their order, reads too.
    #[must_use]
    pub fn requests(&self) -> Vec<Arc<SeenRequest>> {
        self.shared.state().requests().to_vec()
    }

    /// Looks at what it knows, in one moment.
    #[must_use]
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.shared.state())
    }

    /// Waits until something holds of what it knows.
    ///
    /// # Panics
    /// If it does not hold within a minute.
    pub fn until(&self, what: &str, holds: impl Fn(&State) -> bool) {
        self.shared.until(what, holds);
    }

    /// Lets what waits at the gate of an order pass, now and later: [`Act::Slow`] and
    /// [`Act::Pause`].
    pub fn open(&self, order: &str) {
        self.shared.open(|state| state.open(order));
    }

    /// Opens the gates of all orders, now and later.
    pub fn open_all(&self) {
        self.shared.open(State::open_all);
    }

    /// Ends the connections that hang, and those whose body never ends. Their clients see
    /// them closed. Later ones hang again.
    pub fn release(&self) {
        self.shared.tell(|state| state.release());
    }

    /// Forgets all idempotency keys, as when their window is over.
    pub fn forget_keys(&self) {
        self.shared.tell(State::forget_keys);
    }

    /// Refuses connections from now on, as a provider that is down does, and ends those
    /// that are there.
    pub fn refuse_connections(&self) {
        let Some(listener) = self.listener.lock().unwrap().take() else { return };
        self.shared.tell(|state| state.refuses = true);
        // It waits for connections; this is one.
        if TcpStream::connect(self.address).is_ok() {
            let _ = listener.join();
        }
        self.shared.tell(|state| state.end_all());
    }

    /// Accepts connections again, at the same port.
    ///
    /// # Panics
    /// If somebody else has taken the port.
    pub fn accept_connections(&self) {
        let mut listener = self.listener.lock().unwrap();
        if listener.is_none() {
            self.shared.tell(|state| state.refuses = false);
            let again = listen(self.port()).expect("the port is still ours");
            *listener = Some(Shared::accept(&self.shared, again));
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.shared.open(|state| state.stopped = true);
        self.refuse_connections();
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provider").field("address", &self.address).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("seed", &self.seed).finish_non_exhaustive()
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}
