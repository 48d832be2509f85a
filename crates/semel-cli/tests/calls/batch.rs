//! A batch of orders, the provider that charges for them, and how both must be.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use semel::ground::manifest::calls::{Calls as _, Which};
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::call::CallState;
use semel_testkit::plain_client;
use semel_testkit::provider::{Act, Provider, Seen};
use semel_testkit::sweep::Seeded;
use semel_testkit::{Ran, Running, Scratch};

use crate::blow::{Blow, Moment, pick};

/// How many orders a batch has.
pub(crate) const ORDERS: u32 = 6;

/// How many runs a batch may take.
pub(crate) const RUNS: usize = 4;

/// What a provider may do to a request. It behaves in the end.
const ACTS: [Act; 12] = [
    Act::Ok,
    Act::Ok,
    Act::Ok,
    Act::SucceedThenHang,
    Act::SucceedThenReset,
    Act::HalfHeader,
    Act::ShortBody,
    Act::CutStream,
    Act::ErrorAfterCharging(500),
    Act::Slow,
    Act::Refuse(429),
    Act::Refuse(409),
];

/// The how-manieth request of an order it is that will be answered.
const BEHAVES: u32 = 3;

/// How many milliseconds it is that are never over.
const PATIENT: &str = "60000";

/// What is known of unknown calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing: they are not sent again.
    None,
    /// The provider honours keys, and a rule says so.
    Resend,
}

impl Rule {
    fn pipeline(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Resend => {
                "[[call]]\nmatch = 'POST 127.0.0.1/charge'\nunknown = 'resend'\n\
                 key-window = '24h'\n"
            }
        }
    }
}

/// What was done to the requests of each order, in their order.
type Acts = BTreeMap<String, Vec<Act>>;

/// A moment, and what happens then.
type Timed<'a> = (Moment, &'a dyn Fn(&Running));

/// A folder with calls, and a provider.
pub(crate) struct Batch {
    pub(crate) scratch: Scratch,
    pub(crate) provider: Provider,
    rule: Rule,
    acts: Arc<Mutex<Acts>>,
    client: Vec<String>,
    /// How long the client waits for an answer.
    timeout: &'static str,
    /// How long the provider lets those wait that it will not answer.
    patience: Duration,
}

/// A call, as far as the oracle looks.
struct Recorded {
    order: String,
    state: CallState,
}

impl Batch {
    pub(crate) fn new(trial: u64, rule: Rule) -> (Self, Moment, Blow) {
        let mut seeded = Seeded::of(trial);
        let acts = Arc::new(Mutex::new(Acts::new()));
        let noted = Arc::clone(&acts);
        let plan = move |seen: &Seen<'_>| {
            let act = if seen.time >= BEHAVES { Act::Ok } else { seen.pick(&ACTS) };
            noted.lock().unwrap().entry(seen.order.to_owned()).or_default().push(act.clone());
            act
        };
        let honours = rule == Rule::Resend;
        let provider = Provider::builder().seed(trial).honours_keys(honours).plan(plan).start();
        let scratch = Scratch::new(env!("CARGO_BIN_EXE_semel"));
        scratch.semel("init --bare").exits(0);
        scratch.pipeline(rule.pipeline());
        let (threads, retries) = (pick(&mut seeded, &[1, 2, 3, 6]), pick(&mut seeded, &[0, 1, 3]));
        // One that gives up soon, and one that does not.
        let timeout = pick(&mut seeded, &["60", PATIENT]);
        let client = format!(
            "{} --orders 1-{ORDERS} --threads {threads} --retries {retries} --pause 1 \
              --longest-pause 4",
            provider.url("/charge")
        );
        let client = client.split(' ').map(str::to_owned).collect();
        let patience = Duration::from_millis(pick(&mut seeded, &[2, 20, 150]));
        let (moment, blow) = (Moment::draw(&mut seeded), Blow::draw(&mut seeded));
        (Self { scratch, provider, rule, acts, client, timeout, patience }, moment, blow)
    }

    /// At a provider that behaves, one order after the other.
    pub(crate) fn behaved(rule: Rule) -> Self {
        let acts = Arc::new(Mutex::new(Acts::new()));
        let noted = Arc::clone(&acts);
        let plan = move |seen: &Seen<'_>| {
            noted.lock().unwrap().entry(seen.order.to_owned()).or_default().push(Act::Ok);
            Act::Ok
        };
        let honours = rule == Rule::Resend;
        let provider = Provider::builder().honours_keys(honours).plan(plan).start();
        let scratch = Scratch::new(env!("CARGO_BIN_EXE_semel"));
        scratch.semel("init --bare").exits(0);
        scratch.pipeline(rule.pipeline());
        let client =
            format!("{} --orders 1-{ORDERS} --threads 1 --retries 0", provider.url("/charge"));
        let client = client.split(' ').map(str::to_owned).collect();
        let (timeout, patience) = (PATIENT, Duration::ZERO);
        Self { scratch, provider, rule, acts, client, timeout, patience }
    }

    /// The client, by itself.
    pub(crate) fn plain(&self) -> Command {
        let mut command = plain_client::command();
        command.args(&self.client).args(["--timeout", self.timeout]);
        command
    }

    /// The same client, under semel. In the last run it is patient: what never waits for an
    /// answer never has one.
    pub(crate) fn guarded(&self, run: usize) -> Command {
        let mut client = self.plain();
        if run == RUNS {
            client.args(["--timeout", PATIENT]);
        }
        let words = ["proxy", "--name", "pay", "--"].map(Into::into).into_iter();
        let program = client.get_program().to_owned();
        let client = client.get_args().map(ToOwned::to_owned);
        self.scratch.command(words.chain([program]).chain(client))
    }

    /// Runs a command to its end, or to a blow. Who hangs, or waits at the gate, is let go
    /// after a while. Whether the blow fell.
    pub(crate) fn run(&self, command: Command, blow: Option<Timed<'_>>) -> (Ran, bool) {
        let mut running = self.scratch.started(command);
        let (mut blow, mut has_fallen, mut since) = (blow, false, None);
        while !running.ends_within(Duration::from_millis(1)) {
            if let Some((moment, fall)) = blow
                && self.provider.look(|state| moment.has_come(state))
            {
                fall(&running);
                (blow, has_fallen) = (None, true);
            }
            self.let_go(&mut since);
        }
        // A client that outlived semel still tries.
        let ran = std::thread::scope(|scope| {
            let ended = scope.spawn(|| running.end());
            while !ended.is_finished() {
                self.let_go(&mut since);
                std::thread::yield_now();
            }
            ended.join().unwrap()
        });
        (ran, has_fallen)
    }

    fn let_go(&self, since: &mut Option<Instant>) {
        let waiting = self.provider.look(|state| {
            let gates = state.at_gate().into_iter().map(str::to_owned).collect::<Vec<_>>();
            (!state.hanging().is_empty() || !gates.is_empty()).then_some(gates)
        });
        let Some(gates) = waiting else {
            *since = None;
            return;
        };
        if since.get_or_insert_with(Instant::now).elapsed() > self.patience {
            self.provider.release();
            gates.iter().for_each(|order| self.provider.open(order));
            *since = None;
        }
    }

    /// The calls in the manifest, by order.
    fn recorded(&self) -> Vec<Recorded> {
        let manifest = self.scratch.path().join(".semel/manifest.db");
        if !manifest.exists() {
            return Vec::new();
        }
        let store = SqliteManifest::open(&manifest).unwrap();
        let calls = store.calls(&Which::default()).unwrap();
        let order = |body: &[u8]| {
            let body: serde_json::Value = serde_json::from_slice(body).unwrap();
            body["order"].as_str().unwrap().to_owned()
        };
        calls
            .into_iter()
            .map(|call| {
                let body = store.body(&call.asked.body.digest).unwrap();
                Recorded { order: order(&body.expect("it is small")), state: call.state }
            })
            .collect()
    }

    /// How many requests came for each order whose call is unknown, or in flight for the dead.
    pub(crate) fn requests_of_unknown(&self) -> BTreeMap<String, u32> {
        let of = |call: &Recorded| matches!(call.state, CallState::Unknown | CallState::InFlight);
        let unknown = self.recorded().into_iter().filter(of);
        unknown
            .map(|call| (call.order.clone(), self.provider.look(|s| s.seen(&call.order))))
            .collect()
    }

    /// What must hold whenever nobody is at work. `unknown`: what was before the last run.
    pub(crate) fn holds(&self, unknown: &BTreeMap<String, u32>) -> Result<(), String> {
        let acts = self.acts.lock().unwrap().clone();
        for (order, charges) in self.provider.charges_by_order() {
            if charges > 1 {
                return Err(format!("order {order}: {charges} charges: {:?}", acts[&order]));
            }
        }
        let recorded = self.recorded();
        let mut orders: Vec<_> = recorded.iter().map(|call| &call.order).collect();
        orders.sort();
        orders.dedup();
        if orders.len() != recorded.len() {
            return Err("a retry was taken for a call of its own".to_owned());
        }
        for call in &recorded {
            let charges = self.provider.charges(&call.order);
            if call.state == CallState::Complete && charges != 1 {
                return Err(format!("order {}: complete, and {charges} charges", call.order));
            }
        }
        if self.rule == Rule::Resend {
            return Ok(());
        }
        for (order, before) in unknown {
            if self.provider.look(|state| state.seen(order)) != *before {
                return Err(format!("order {order} was unknown, and was sent again"));
            }
        }
        for (order, acts) in &acts {
            let before = &acts[..acts.len() - 1];
            if before.iter().any(|act| *act != Act::Refuse(429)) {
                return Err(format!("order {order}: sent again after {acts:?}"));
            }
        }
        Ok(())
    }

    /// What must hold when the last run has ended with this status.
    pub(crate) fn is_over(&self, status: i32) -> Result<(), String> {
        let recorded = self.recorded();
        let complete = recorded.iter().filter(|call| call.state == CallState::Complete).count();
        let is_all = complete == ORDERS as usize;
        match (status, self.rule) {
            (0, _) if is_all => Ok(()),
            (103, Rule::None) if !is_all => Ok(()),
            // What was recorded for a key is answered for ever.
            (103, Rule::Resend) if !is_all && self.has_fault_under_key() => Ok(()),
            _ => Err(format!("exit {status} with {complete} complete")),
        }
    }

    /// Whether an order's charge was answered with 500, which its key now stands for.
    fn has_fault_under_key(&self) -> bool {
        let acts = self.acts.lock().unwrap();
        let faulty = |acts: &Vec<Act>| {
            acts.iter().find(|act| act.charges()) == Some(&Act::ErrorAfterCharging(500))
        };
        acts.values().any(faulty)
    }

    /// How many orders there are that were not charged once, though a rule allows it.
    pub(crate) fn all_are_charged_once(&self) -> Result<(), String> {
        let charges = self.provider.charges_by_order();
        let all = charges.len() == ORDERS as usize && charges.values().all(|charges| *charges == 1);
        if all { Ok(()) } else { Err(format!("not all are charged once: {charges:?}")) }
    }

    /// How many orders are complete, and how many are not; of these, how many were charged.
    pub(crate) fn sums(&self) -> [usize; 3] {
        let recorded = self.recorded();
        let (complete, others): (Vec<_>, Vec<_>) =
            recorded.iter().partition(|call| call.state == CallState::Complete);
        let charged = others.iter().filter(|call| self.provider.charges(&call.order) > 0);
        [complete.len(), others.len(), charged.count()]
    }
}
