//! The journal: one thread writes what becomes of calls, and commits many together.
//!
//! Requests wait for their permits, and answers for their records, on the next commit: the
//! sync of one serves all that came in during the one before.
//!
//! Invariants: *I14* a permit is given out only when it is committed; *I13* what is equal is
//! decided by this thread alone, from what the manifest says in the same transaction.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};

use super::caller::{Caller, Hold};
use super::line::Line;
use super::standing::is_alive;
use crate::ground::home::Home;
use crate::ground::manifest::calls::{Calls, Permit, Permitted, Which};
use crate::ground::manifest::sqlite::SqliteManifest;
use crate::ground::manifest::{ManifestError, ManifestResult};
use crate::thought::call::counting::{Decision, Flight as Waiting, Known, decide};
use crate::thought::call::drift::NearMiss;
use crate::thought::call::identity::{self, Identity};
use crate::thought::call::terms::Terms;
use crate::words::call::{
    CallRecord, CallState, DIED, Ended, PermitFor, Scope, SendKey, WhenUnknown, is_refusal,
};
use crate::words::digest::{Digest, Fields};

/// How many orders share a commit at most.
const MOST: usize = 512;

/// Why a call of ours is unknown whose end the manifest did not take.
const UNRECORDED: &str = "how it ended could not be recorded";

/// A call in flight, in this process.
#[derive(Debug)]
pub(super) struct Flight {
    /// The call.
    pub(super) id: i64,
    /// Which of its sends.
    pub(super) send: u32,
    /// How many clients wait for it.
    clients: AtomicUsize,
    over: watch::Sender<bool>,
}

impl Flight {
    fn new(id: i64, send: u32) -> Arc<Self> {
        let (over, _) = watch::channel(false);
        Arc::new(Self { id, send, clients: AtomicUsize::new(1), over })
    }

    /// A further client waits.
    pub(super) fn join(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has gone; says whether nobody waits any more.
    pub(super) fn leave(&self) -> bool {
        self.clients.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// Waits until how it ended is recorded.
    pub(super) async fn ended(&self) {
        let mut over = self.over.subscribe();
        // Its sender lives as long as we.
        let _ = over.wait_for(|over| *over).await;
    }
}

/// What is asked of a request.
pub(super) struct Wanted {
    /// Who asks.
    pub(super) caller: Arc<Caller>,
    /// On what terms.
    pub(super) terms: Arc<Terms>,
    /// What is permitted, if it is.
    pub(super) permit: PermitFor,
    /// The key that the client sent itself.
    pub(super) client_key: Option<String>,
    /// Whether a key is made for it, where it is a call of its own.
    pub(super) makes_key: bool,
    /// Looks like recorded calls, and is none of them.
    pub(super) near_miss: Option<NearMiss>,
    /// On which line its client waits.
    pub(super) line: Arc<Line>,
    /// Whether it waited already for what became of an equal one.
    pub(super) has_held: bool,
    /// Where an equal call may be, too, if the rules have changed.
    pub(super) other_scope: Scope,
    /// Why its answer could not be kept, where that is known.
    pub(super) no_room: Option<String>,
}

/// What becomes of a request.
pub(super) enum Ruled {
    /// It gets this call's answer, with its body where that is in the manifest.
    Replay(Box<CallRecord>, Option<Vec<u8>>),
    /// It waits for the end of a call in flight here.
    Attach(Arc<Flight>),
    /// It waits for the end of a call in flight in another process.
    AttachElsewhere,
    /// It may be sent.
    Send(Permitted, Arc<Flight>),
    /// An equal call was answered only just now, or has a client that waits: whether that
    /// heard the answer, and still waits, is about to be seen.
    Hold,
    /// A command is asked what became of it.
    Probe(Box<CallRecord>, String),
    /// It is not sent.
    Refused(Refusal),
    /// It is not sent, since its answer could not be kept.
    NoRoom(String),
}

/// Why a request is not sent.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    /// An equal call is unknown.
    Unknown(Box<CallRecord>),
    /// It was made for another account.
    OtherAccount(Box<CallRecord>),
    /// It has the key of another call, and differs in the rest.
    OtherRest(Box<CallRecord>),
    /// A budget does not allow it.
    OverBudget { name: String, would_be: String, limit: String },
    /// It looks like a call that is paid already.
    NearMiss(NearMiss),
    /// The attempt has drifted.
    Drifted,
    /// It is new, and nothing new is wanted.
    New,
    /// It is new to a memory that may have lost it.
    Forgotten,
}

enum Order {
    Ask(Box<Wanted>, oneshot::Sender<Result<Ruled, String>>),
    End(Box<Ended>, oneshot::Sender<Result<CallState, String>>),
    Desert(i64, u32),
    Body(Digest, oneshot::Sender<Result<Option<Vec<u8>>, String>>),
    Retire(Scope, oneshot::Sender<Result<(), String>>),
    Rekey(Vec<(i64, Identity)>, oneshot::Sender<Result<(), String>>),
    Find(Which, oneshot::Sender<Result<Vec<CallRecord>, String>>),
}

/// The journal. It ends when the last who gives it orders is gone.
pub(super) struct Journal {
    orders: Sender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Journal {
    /// Begins to write, to this manifest, as the sender of this name.
    pub(super) fn begin(
        manifest: SqliteManifest,
        home: &Home,
        sender: &str,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = channel();
        let writer = Writer {
            store: manifest,
            home: home.clone(),
            sender: sender.to_owned(),
            flights: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("call journal".to_owned())
            .spawn(move || writer.work(&inbox))?;
        Ok(Self { orders, thread: Mutex::new(Some(thread)) })
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Order,
    ) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        let gone = || "the call journal has ended".to_owned();
        self.orders.send(order(answer)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Asks what becomes of a request; a permit is durable when it is given.
    pub(super) async fn ask(&self, wanted: Wanted) -> Result<Ruled, String> {
        self.order(|answer| Order::Ask(Box::new(wanted), answer)).await
    }

    /// Records how a send ended; durable when this returns.
    pub(super) async fn end(&self, ended: Ended) -> Result<CallState, String> {
        self.order(|answer| Order::End(Box::new(ended), answer)).await
    }

    /// Nobody waits for a call in flight any more.
    pub(super) fn desert(&self, flight: &Flight) {
        // Whoever has ended needs no notes.
        let _ = self.orders.send(Order::Desert(flight.id, flight.send));
    }

    /// A body that is kept in the manifest; `None`: it is a file.
    pub(super) async fn body(&self, digest: Digest) -> Result<Option<Vec<u8>>, String> {
        self.order(|answer| Order::Body(digest, answer)).await
    }

    /// A task completed: its reads are asked anew.
    pub(super) async fn retire(&self, scope: Scope) -> Result<(), String> {
        self.order(|answer| Order::Retire(scope, answer)).await
    }

    /// What makes requests equal has changed by a rule, for these calls.
    pub(super) async fn rekey(&self, calls: Vec<(i64, Identity)>) -> Result<(), String> {
        self.order(|answer| Order::Rekey(calls, answer)).await
    }

    /// Calls that are recorded.
    pub(super) async fn find(&self, which: Which) -> Result<Vec<CallRecord>, String> {
        self.order(|answer| Order::Find(which, answer)).await
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // The thread ends with the last sender: this one is replaced by one that leads nowhere.
        self.orders = channel().0;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // What it could not write it has said to whoever waited.
            let _ = thread.join();
        }
    }
}

/// The thread that writes.
struct Writer {
    store: SqliteManifest,
    /// Where it is told which processes send.
    home: Home,
    sender: String,
    flights: HashMap<i64, Arc<Flight>>,
}

/// What is said once a group is committed.
type Say = Box<dyn FnOnce(Result<(), String>, &mut Writer)>;

impl Writer {
    fn work(mut self, inbox: &Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let mut orders = vec![first];
            orders.extend(inbox.try_iter().take(MOST - 1));
            self.round(orders);
        }
    }

    /// Works through orders that came in together.
    fn round(&mut self, orders: Vec<Order>) {
        let (writing, reading): (Vec<_>, Vec<_>) = orders
            .into_iter()
            .partition(|order| !matches!(order, Order::Body(..) | Order::Find(..)));
        for order in reading {
            self.read(order);
        }
        let writing = self.replay(writing);
        if writing.is_empty() {
            return;
        }
        let mut says: Vec<Say> = Vec::new();
        let mut orders = Some(writing);
        let Self { store, home, sender, flights } = self;
        let committed = store.together(&mut |store| {
            let mut desk = Desk { store, home, sender, flights };
            for order in orders.take().into_iter().flatten() {
                says.extend(desk.act(order));
            }
        });
        let committed = committed.map_err(|error| error.to_string());
        for say in says {
            say(committed.clone(), self);
        }
        // Where the transaction could not even begin, those who wait are told by the end of
        // their channels; what they wanted was not done.
        for order in orders.into_iter().flatten() {
            if let Order::End(ended, _) = order {
                self.lands(&ended);
            }
        }
    }

    /// A send has ended: nobody waits for it any more.
    fn lands(&mut self, ended: &Ended) {
        let is_last = |flight: &Arc<Flight>| flight.send == ended.send;
        if self.flights.get(&ended.id).is_some_and(is_last)
            && let Some(flight) = self.flights.remove(&ended.id)
        {
            flight.over.send_replace(true);
        }
    }

    /// Answers who asks for what is complete, which stays so: that needs no transaction. Gives
    /// the other orders.
    fn replay(&mut self, orders: Vec<Order>) -> Vec<Order> {
        let Self { store, home, sender, flights } = self;
        let desk = Desk { store, home, sender, flights };
        let mut others = Vec::with_capacity(orders.len());
        for order in orders {
            match order {
                Order::Ask(wanted, answer) => match desk.replay(&wanted) {
                    Ok(Some(ruled)) => drop(answer.send(Ok(ruled))),
                    // What cannot be read is told by the transaction that cannot read it.
                    Ok(None) | Err(_) => others.push(Order::Ask(wanted, answer)),
                },
                other => others.push(other),
            }
        }
        others
    }

    fn read(&self, order: Order) {
        match order {
            Order::Body(digest, answer) => {
                let _ = answer.send(self.store.body(&digest).map_err(|error| error.to_string()));
            }
            Order::Find(which, answer) => {
                let _ = answer.send(self.store.calls(&which).map_err(|error| error.to_string()));
            }
            _ => {}
        }
    }
}

/// What the writer has at hand within a transaction.
struct Desk<'a> {
    store: &'a mut dyn Calls,
    home: &'a Home,
    sender: &'a str,
    flights: &'a mut HashMap<i64, Arc<Flight>>,
}

impl Desk<'_> {
    fn act(&mut self, order: Order) -> Option<Say> {
        match order {
            Order::Ask(wanted, answer) => {
                let ruled = self.rule(&wanted).map_err(|error| error.to_string());
                Some(Box::new(move |committed, writer| {
                    if let (Err(_), Ok(Ruled::Send(permitted, _))) = (&committed, &ruled) {
                        // It was never permitted.
                        writer.flights.remove(&permitted.id);
                    }
                    let _ = answer.send(committed.and(ruled));
                }))
            }
            Order::End(ended, answer) => {
                let state = self.store.end(&ended).map_err(|error| error.to_string());
                Some(Box::new(move |committed, writer| {
                    writer.lands(&ended);
                    let _ = answer.send(committed.and(state));
                }))
            }
            Order::Desert(id, send) => {
                // It is a hint for other processes; our own know.
                let _ = self.store.desert(id, send);
                None
            }
            Order::Retire(scope, answer) => {
                let retired = self.store.retire_reads(&scope).map_err(|error| error.to_string());
                Some(Box::new(move |committed, _| {
                    let _ = answer.send(committed.and(retired));
                }))
            }
            Order::Rekey(calls, answer) => {
                let rekeyed = calls.iter().try_for_each(|(id, identity)| {
                    self.store.rekey(*id, &identity.digest, identity.rest.as_ref())
                });
                let rekeyed = rekeyed.map_err(|error| error.to_string());
                Some(Box::new(move |committed, _| {
                    let _ = answer.send(committed.and(rekeyed));
                }))
            }
            Order::Body(..) | Order::Find(..) => None,
        }
    }

    /// The answer of a call, if that is what a request gets.
    fn replay(&self, wanted: &Wanted) -> ManifestResult<Option<Ruled>> {
        let permit = &wanted.permit;
        let mut calls = self.store.equal(&permit.scope, &permit.identity)?;
        calls.retain(|call| !call.is_retired);
        if is_in_doubt(&calls, wanted) {
            return Ok(Some(Ruled::Hold));
        }
        match self.decide(&calls, 0, wanted) {
            Decision::Replay(n) => self.replayed(take(n, &mut calls)).map(Some),
            _ => Ok(None),
        }
    }

    fn replayed(&self, call: Box<CallRecord>) -> ManifestResult<Ruled> {
        let body = call.answered.as_ref().map(|answered| &answered.body);
        let body = match body.filter(|body| body.is_kept) {
            Some(body) => self.store.body(&body.digest)?,
            None => None,
        };
        Ok(Ruled::Replay(call, body))
    }

    fn decide(&self, calls: &[CallRecord], last: u32, wanted: &Wanted) -> Decision {
        let known: Vec<_> = calls.iter().map(|call| self.known(call, wanted)).collect();
        decide(&known, last, wanted.terms.is_one)
    }

    fn rule(&mut self, wanted: &Wanted) -> ManifestResult<Ruled> {
        let permit = &wanted.permit;
        let mut calls = self.store.equal(&permit.scope, &permit.identity)?;
        if self.lose_the_dead(&calls)? {
            calls = self.store.equal(&permit.scope, &permit.identity)?;
        }
        let last = calls.iter().map(|call| call.n).max().unwrap_or(0);
        calls.retain(|call| !call.is_retired);
        if is_in_doubt(&calls, wanted) {
            return Ok(Ruled::Hold);
        }
        let mut decision = self.decide(&calls, last, wanted);
        let is_awaited = calls.iter().any(|call| self.flight_of(call) == Waiting::Awaited);
        if let Decision::Open(_) = decision
            && !wanted.has_held
            && (is_awaited
                || wanted.caller.just_answered(calls.iter().map(|call| call.id), &wanted.line)
                    == Hold::Yes)
        {
            return Ok(Ruled::Hold);
        }
        if let Decision::Open(_) = decision {
            let mut others = self.store.equal(&wanted.other_scope, &permit.identity)?;
            if self.lose_the_dead(&others)? {
                others = self.store.equal(&wanted.other_scope, &permit.identity)?;
            }
            others.retain(|call| !call.is_retired);
            let there = self.decide(&others, 0, wanted);
            if !matches!(there, Decision::Open(_)) {
                (calls, decision) = (others, there);
            }
        }
        // A probe settles what may be sent again otherwise.
        if let Decision::Unknown(n) = decision
            && let WhenUnknown::Probe(command) = &wanted.terms.unknown
        {
            return Ok(Ruled::Probe(take(n, &mut calls), command.clone()));
        }
        if let Decision::Open(_) | Decision::SendAgain(_) = decision
            && let Some(refusal) =
                wanted.caller.refuses(wanted, matches!(decision, Decision::Open(_)))
        {
            return Ok(Ruled::Refused(refusal));
        }
        if let (Decision::Open(_) | Decision::SendAgain(_), Some(why)) =
            (&decision, &wanted.no_room)
        {
            return Ok(Ruled::NoRoom(why.clone()));
        }
        if let Decision::Attach(n) = decision
            && !self.is_ours(calls.iter().find(|call| call.n == n))
        {
            return Ok(Ruled::AttachElsewhere);
        }
        // What a human allowed is used up by it.
        let permitted = match &mut decision {
            Decision::Open(n) => {
                let mut permit = permit.clone();
                if wanted.makes_key && permit.key.is_empty() {
                    permit.key = key_of(&permit, *n);
                }
                // What was said as what counts as long as it is said as that.
                if let (SendKey::Header(name), false) =
                    (&wanted.terms.send_key, permit.key.is_empty())
                {
                    let key = permit.key.clone().into_bytes();
                    permit.asked.head.push((name.clone(), key));
                }
                self.store.open(&permit, *n, wanted.caller.token())?
            }
            Decision::SendAgain(n) => {
                let call = take(*n, &mut calls);
                let uses = call.state == CallState::Unknown && !by_rule(&call, &wanted.terms);
                self.store.send_again(&call, permit, uses, wanted.caller.token())?
            }
            Decision::Replay(n) => return self.replayed(take(*n, &mut calls)),
            Decision::Attach(n) => {
                let id = take(*n, &mut calls).id;
                return Ok(self.flights.get(&id).map_or(Ruled::AttachElsewhere, |flight| {
                    flight.join();
                    Ruled::Attach(Arc::clone(flight))
                }));
            }
            Decision::Unknown(n) => {
                return Ok(Ruled::Refused(Refusal::Unknown(take(*n, &mut calls))));
            }
            Decision::OtherAccount(n) => {
                return Ok(Ruled::Refused(Refusal::OtherAccount(take(*n, &mut calls))));
            }
            Decision::OtherRest(n) => {
                return Ok(Ruled::Refused(Refusal::OtherRest(take(*n, &mut calls))));
            }
        };
        match permitted {
            Permit::Given(permitted) => {
                let flight = Flight::new(permitted.id, permitted.send);
                self.flights.insert(permitted.id, Arc::clone(&flight));
                Ok(Ruled::Send(permitted, flight))
            }
            Permit::Late => Err(ManifestError::Damaged("two calls have one number".to_owned())),
            Permit::OverBudget { name, would_be, limit } => {
                Ok(Ruled::Refused(Refusal::OverBudget { name, would_be, limit }))
            }
        }
    }

    fn is_ours(&self, call: Option<&CallRecord>) -> bool {
        call.is_some_and(|call| self.flights.contains_key(&call.id))
    }

    /// What dead processes had in flight is unknown; likewise what we had, where it has ended
    /// and that could not be recorded.
    fn lose_the_dead(&mut self, calls: &[CallRecord]) -> ManifestResult<bool> {
        let mut lost = false;
        for call in calls.iter().filter(|call| call.state == CallState::InFlight) {
            if call.sender == self.sender {
                if !self.flights.contains_key(&call.id) {
                    let (state, why) = (CallState::Unknown, UNRECORDED.to_owned());
                    self.store.end(&Ended::without_answer(call.id, call.sends, state, why))?;
                    lost = true;
                }
            } else if !is_alive(self.home, &call.sender) {
                self.store.lose(&call.sender, DIED)?;
                lost = true;
            }
        }
        Ok(lost)
    }

    /// Who waits for a call.
    fn flight_of(&self, call: &CallRecord) -> Waiting {
        match (call.state, self.flights.get(&call.id)) {
            (CallState::InFlight, Some(flight)) if flight.clients.load(Ordering::Relaxed) == 0 => {
                Waiting::Deserted
            }
            (CallState::InFlight, Some(_)) => Waiting::Awaited,
            (CallState::InFlight, None) if call.is_awaited => Waiting::Awaited,
            (CallState::InFlight, None) => Waiting::Deserted,
            _ => Waiting::Over,
        }
    }

    fn known(&self, call: &CallRecord, wanted: &Wanted) -> Known {
        let status = call.answered.as_ref().map(|answered| answered.status);
        let terms = &wanted.terms;
        let is_stale = terms.fresh_for.is_some_and(|most| {
            let age = Timestamp::now().duration_since(call.ended.unwrap_or(call.sent));
            Duration::try_from(age).unwrap_or_default() > most
        });
        Known {
            n: call.n,
            state: call.state,
            is_answered: wanted.caller.has_answer_of(call.id),
            flight: self.flight_of(call),
            is_named: wanted.client_key.as_ref().is_some_and(|key| *key == call.key),
            is_stale,
            // What a human said of it is the last word.
            was_refused_before: status.is_some_and(is_refusal)
                && call.reason.is_none()
                && call.attempt != wanted.permit.attempt,
            may_be_resent: call.state == CallState::Unknown
                && (call.allowed > 0 || by_rule(call, terms)),
            is_of_account: terms.any_account || call.asked.account == wanted.permit.asked.account,
            rest_matches: call.rest == wanted.permit.rest,
        }
    }
}

/// Whether it is worth while to wait: who goes may be one that heard all, or one that gave up.
fn is_in_doubt(calls: &[CallRecord], wanted: &Wanted) -> bool {
    let ids = calls.iter().map(|call| call.id);
    !wanted.has_held && !wanted.terms.is_one && wanted.caller.is_in_doubt(ids)
}

/// The call of this number out of those that were decided on.
fn take(n: u32, calls: &mut Vec<CallRecord>) -> Box<CallRecord> {
    let at = calls.iter().position(|call| call.n == n).expect("what is decided on is there");
    Box::new(calls.swap_remove(at))
}

/// The key of a call: the same in every run and on every host.
fn key_of(permit: &PermitFor, n: u32) -> String {
    let (step, instance, item) = permit.scope.columns();
    let mut fields = Fields::new("call key");
    let scope = [&permit.scope.pipeline, step, instance, item, &permit.scope.params];
    for (tag, value) in ["pipeline", "step", "instance", "item", "params"].into_iter().zip(scope) {
        fields.put(tag, value.as_bytes());
    }
    fields.put("identity", permit.identity.as_bytes());
    fields.put("n", &n.to_le_bytes());
    let digest = fields.digest();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

/// Whether a rule lets an unknown call be sent again.
fn by_rule(call: &CallRecord, terms: &Terms) -> bool {
    match &terms.unknown {
        WhenUnknown::Resend if call.asked.is_read => true,
        WhenUnknown::Resend => {
            let SendKey::Header(name) = &terms.send_key else { return false };
            // The provider has heard it under this name, if at all.
            identity::header(&call.asked.head, name) == Some(&call.key)
                && call
                    .honoured_until(terms.honoured_for())
                    .is_some_and(|until| Timestamp::now() < until)
        }
        WhenUnknown::ResendAtMost(most) => call.sends <= *most,
        WhenUnknown::Stop | WhenUnknown::Probe(_) => false,
    }
}
