//! One request of a client: what becomes of it, and its answer.
//!
//! Whatever is sent belongs to the journal, not to the client: when that gives up, the answer
//! is drained all the same, and recorded for its retry.
//!
//! Invariants: *I14* nothing is sent before its permit is durable; *I15* a client sees a clean
//! end of an answer only when the record of it is durable: the last byte, or the end, is held
//! back until then.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};

use super::Office;
use super::body::{Outgoing, Receipt, Waiting};
use super::caller::{Caller, Line, Unknown};
use super::head;
use super::journal::{Flight, Refusal, Ruled, Wanted};
use super::reply::{self, Reply};
use super::spool::{Source, Spool, Spooled, has_room, path_of};
use crate::ground::http::upstream::{Freshness, Origin, Scheme};
use crate::ground::manifest::calls::{Permitted, Which};
use crate::thought::call::drift::{NearMiss, Recorded};
use crate::thought::call::identity::{self, Body, Identity};
use crate::thought::call::outcome::{Seen, is_refusal, outcome};
use crate::thought::call::terms::Terms;
use crate::words::call::{
    Answered, Asked, CallRecord, CallState, Ended, Every, Field, Head, Money, PermitFor, Price,
    Reserve, SendKey, Target, WhenUnknown,
};

/// How long between two looks at a call that another process has in flight.
const BETWEEN: Duration = Duration::from_millis(50);

/// How long it may take until a client is seen to have hung up.
const HOLD: Duration = Duration::from_millis(50);

/// How often one request is sent again by itself, where a rule allows that.
const AGAIN: u32 = 4;

/// Up to how many bytes a body of a request is kept.
const KEPT: u64 = 16 << 20;

/// Where a request goes, in words of its own.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    method: String,
    path: String,
    query: String,
    host: String,
}

impl Place {
    pub(super) fn of(origin: Origin, parts: &Parts) -> Self {
        Self {
            host: origin.host.to_ascii_lowercase(),
            origin,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
        }
    }

    /// Whether a recorded call went here, whatever its query.
    fn is_of(&self, method: &str, url: &str) -> bool {
        let here = identity::shown_url(&Target { query: "", ..self.target() });
        method == self.method && url.split('?').next() == Some(here.as_str())
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            method: &self.method,
            scheme: match self.origin.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            },
            host: &self.host,
            port: self.origin.port,
            path: &self.path,
            query: &self.query,
        }
    }
}

/// Who asks, and where.
#[derive(Clone)]
pub(super) struct Asking {
    pub(super) office: Arc<Office>,
    pub(super) caller: Arc<Caller>,
    pub(super) line: Arc<Line>,
}

impl Asking {
    /// Answers a request.
    pub(super) async fn answer(
        self,
        origin: Origin,
        request: Request<Incoming>,
    ) -> Response<Outgoing> {
        let (parts, body) = request.into_parts();
        let place = Place::of(origin, &parts);
        let terms = self.caller.rules.terms_for(&place.target());
        self.caller.tally().rules.extend(terms.rules.iter().copied());
        if head::is_upgrade(&parts.headers) {
            return self.upgrade(place, Request::from_parts(parts, body)).await;
        }
        if terms.pass {
            return self.pass(&place, &parts, body).await;
        }
        let spooled = match self.spool(&parts, body).await {
            Ok(spooled) => spooled,
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                return self.broken(error.to_string());
            }
            Err(error) => {
                let why = format!("the request ended early: {error}");
                return Reply::new(400, "the request is not whole", why).response();
            }
        };
        self.guard(place, terms, parts, spooled).await
    }

    /// Answers a request whose body was read.
    pub(super) async fn guard(
        self,
        place: Place,
        terms: Arc<Terms>,
        parts: Parts,
        spooled: Spooled,
    ) -> Response<Outgoing> {
        let head = head::of(&parts.headers);
        let body = spooled.looked_into();
        let request = identity::Request { target: place.target(), head: &head, body: &body };
        if identity::asks_for_token(&request) {
            return self.pass_spooled(&place, parts, &spooled).await;
        }
        let identity = match identity::identity(&request, &terms.key, &terms.ignore) {
            Ok(identity) => identity,
            Err(identity::NoKey(field)) => {
                let why = format!("a rule says that {field} identifies it, and it is not there");
                *self
                    .caller
                    .tally()
                    .refused
                    .entry("lack the field that identifies them")
                    .or_default() += 1;
                return Reply::new(422, "the request has no key", why).response();
            }
        };
        let call = Call {
            account: identity::account(&place.target(), &head),
            near_miss: None,
            identity,
            head,
            place,
            terms,
            parts,
            spooled,
        };
        let (deliver, delivered) = oneshot::channel();
        let busy = self.caller.begins();
        tokio::spawn(async move {
            self.bring(call, deliver).await;
            drop(busy);
        });
        // Dropped, this tells that the client has gone.
        delivered.await.unwrap_or_else(|_| Reply::broken("the exchange has ended").response())
    }

    fn broken(&self, why: String) -> Response<Outgoing> {
        self.caller.tally().broken.get_or_insert_with(|| why.clone());
        Reply::broken(why).response()
    }

    async fn spool(&self, parts: &Parts, mut body: Incoming) -> io::Result<Spooled> {
        let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        let mut spool = Spool::new(&self.office.bodies, kind.and_then(identity::boundary));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(io::Error::other)?;
            if let Some(bytes) = frame.data_ref() {
                spool.write(bytes)?;
            }
        }
        Ok(spool.end())
    }

    /// Brings a call to its end, whatever becomes of the client.
    async fn bring(&self, mut call: Call, mut deliver: oneshot::Sender<Response<Outgoing>>) {
        let began = Instant::now();
        let (mut has_held, mut tries) = (false, 0);
        call.near_miss = match self.near_miss(&call).await {
            Ok(miss) => miss,
            Err(why) => {
                let _ = deliver.send(self.broken(why));
                return;
            }
        };
        let body = match call.keep() {
            Ok(body) => body,
            Err(error) => {
                let _ = deliver.send(self.broken(error.to_string()));
                return;
            }
        };
        let response = loop {
            // A client that has gone wants nothing more. If it tries again, that sends it again;
            // for nobody it would be a call of its own, should that retry have had the answer.
            if deliver.is_closed() {
                return;
            }
            if let Err(error) = has_room(&self.office.bodies) {
                break self.broken(error.to_string());
            }
            let wanted = self.wanted(&call, body.clone(), has_held);
            let ruled = match self.office.journal.ask(wanted).await {
                Ok(ruled) => ruled,
                Err(why) => break self.broken(why),
            };
            match ruled {
                Ruled::Replay(record) => break self.replay(*record).await,
                Ruled::Attach(flight) => {
                    if self.attach(flight, &mut deliver).await == Waited::InVain {
                        return;
                    }
                }
                Ruled::AttachElsewhere => {
                    if began.elapsed() > call.terms.timeout {
                        let why = "another process has an equal call in flight";
                        break Reply::new(409, "it is in flight elsewhere", why).response();
                    }
                    tokio::time::sleep(BETWEEN).await;
                }
                Ruled::Hold => {
                    has_held = true;
                    tokio::time::sleep(HOLD).await;
                }
                Ruled::Probe(record, command) => {
                    if let Err(response) = self.probe(*record, &command).await {
                        break response;
                    }
                }
                Ruled::Refused(refusal) => break self.refused(&refusal, &call),
                Ruled::Send(permitted, flight) => {
                    tries += 1;
                    let sending = Sending { asking: self, call: &call, permitted, flight, tries };
                    match sending.send(deliver).await {
                        After::Over => return,
                        After::Again(back) => {
                            (deliver, has_held) = (back, false);
                            tokio::time::sleep(Duration::from_millis(100 << tries.min(6))).await;
                        }
                        After::Answer(back, response) => {
                            let _ = back.send(*response);
                            return;
                        }
                    }
                }
            }
        };
        let _ = deliver.send(response);
    }

    /// Waits with a client for the end of a call in flight.
    async fn attach(
        &self,
        flight: Arc<Flight>,
        deliver: &mut oneshot::Sender<Response<Outgoing>>,
    ) -> Waited {
        let waiting = Waiting { flight, journal: Arc::clone(&self.office.journal) };
        tokio::select! {
            () = deliver.closed() => Waited::InVain,
            () = waiting.flight.ended() => Waited::ToTheEnd,
        }
    }

    fn wanted(&self, call: &Call, body: Option<Vec<u8>>, has_held: bool) -> Wanted {
        let calling = &self.caller.calling;
        let terms = &call.terms;
        let is_shared = terms.equal == crate::words::call::Equal::Shared;
        let scope = if is_shared { calling.scope.shared() } else { calling.scope.clone() };
        let client_key = match &terms.send_key {
            SendKey::Header(name) => identity::header(&call.head, name).map(str::to_owned),
            SendKey::No => None,
        };
        Wanted {
            caller: Arc::clone(&self.caller),
            terms: Arc::clone(terms),
            permit: PermitFor {
                scope,
                identity: call.identity.digest,
                rest: call.identity.rest,
                asked: Asked {
                    method: call.place.method.clone(),
                    url: identity::shown_url(&call.place.target()),
                    account: call.account.clone(),
                    head: identity::kept_of_request(&call.head),
                    body: call.spooled.body.clone(),
                    is_read: terms.read,
                },
                body,
                sender: self.office.sender.clone(),
                attempt: calling.attempt.clone(),
                key: client_key.clone().unwrap_or_default(),
                key_window: terms.honoured_for(),
                price: terms.price.as_ref().map(|price| price.reserved().clone()),
                budgets: self.budgets(terms),
            },
            makes_key: matches!(terms.send_key, SendKey::Header(_)) && !terms.read,
            client_key,
            near_miss: call.near_miss.clone(),
            line: Arc::clone(&self.line),
            has_held,
        }
    }

    fn budgets(&self, terms: &Terms) -> Vec<Reserve> {
        let now = Timestamp::now().to_string();
        let rules = self.caller.rules.of_file();
        let reserve = |(at, budget): &(usize, crate::words::call::Budget)| Reserve {
            name: rules[*at].pattern.to_string(),
            period: match budget.every {
                Every::Run => self.caller.calling.run_id.clone(),
                Every::Day => now[..10].to_owned(),
                Every::Month => now[..7].to_owned(),
            },
            calls: budget.calls,
            money: budget.money.clone(),
        };
        terms.budgets.iter().map(reserve).collect()
    }

    /// Whether a new request looks like a call that is recorded.
    async fn near_miss(&self, call: &Call) -> Result<Option<NearMiss>, String> {
        if call.terms.read {
            return Ok(None);
        }
        let leaves = call.leaves();
        if leaves.is_empty() {
            return Ok(None);
        }
        let place = format!("{} {}", call.place.method, call.place.path);
        let recorded = match self.caller.recorded(&place) {
            Some(recorded) => recorded,
            None => {
                let recorded = Arc::new(self.read_recorded(call).await?);
                self.caller.keep_recorded(&place, Arc::clone(&recorded));
                recorded
            }
        };
        // What has a key is what its key says.
        Ok(recorded.near_miss(&leaves).filter(|_| call.terms.key.is_empty()))
    }

    /// The complete calls of this place that earlier attempts made. Those that are no longer
    /// what the rules say of them are, from here on.
    async fn read_recorded(&self, call: &Call) -> Result<Recorded, String> {
        let mut recorded = Recorded::default();
        let (step, instance, item) = self.caller.calling.scope.columns();
        let which = Which {
            pipeline: Some(self.caller.calling.scope.pipeline.clone()),
            step: Some(step.to_owned()),
            instance: Some(instance.to_owned()),
            item: Some(item.to_owned()),
            states: vec![CallState::Complete],
            ids: Vec::new(),
        };
        let mut rekeyed = Vec::new();
        for record in self.office.journal.find(which).await? {
            let is_here = call.place.is_of(&record.asked.method, &record.asked.url);
            let is_of_scope = record.scope == self.caller.calling.scope;
            if !is_here || !is_of_scope || !record.asked.body.is_kept || record.is_retired {
                continue;
            }
            let Some(bytes) = self.office.journal.body(record.asked.body.digest).await? else {
                continue;
            };
            let kind = identity::header(&record.asked.head, "content-type").unwrap_or_default();
            let body = Body::of(&bytes, identity::boundary(kind).as_deref());
            let query = record.asked.url.split_once('?').map_or("", |(_, query)| query);
            let target = Target { query, ..call.place.target() };
            let request = identity::Request { target, head: &record.asked.head, body: &body };
            // Of a URL that is masked nobody can tell what it was.
            if let Ok(now) = identity::identity(&request, &call.terms.key, &call.terms.ignore)
                && !query.contains("***")
                && (now.digest, now.rest) != (record.identity, record.rest)
            {
                rekeyed.push((record.id, now));
            }
            if record.attempt != self.caller.calling.attempt {
                recorded.add(call.counting(identity::leaves(&request)));
            }
        }
        if !rekeyed.is_empty() {
            self.office.journal.rekey(rekeyed).await?;
        }
        Ok(recorded)
    }

    fn refused(&self, refusal: &Refusal, call: &Call) -> Response<Outgoing> {
        let (why, reply) = Reply::of_refusal(refusal);
        let mut tally = self.caller.tally();
        match refusal {
            Refusal::Unknown(record) => {
                tally.unknown.insert(record.id, unknown_of(record));
            }
            _ => *tally.refused.entry(why).or_default() += 1,
        }
        if let Refusal::NearMiss(miss) = refusal {
            let place = identity::shown_url(&Target { query: "", ..call.place.target() });
            tally.near_misses.push((format!("{} {place}", call.place.method), miss.clone()));
        }
        reply.response()
    }

    async fn replay(&self, record: CallRecord) -> Response<Outgoing> {
        let Some(answered) = &record.answered else {
            return Reply::new(
                424,
                "its answer is not known",
                format!("call {} is done, and nobody knows its answer", record.id),
            )
            .response();
        };
        if !answered.body.is_kept {
            return Reply::new(
                424,
                "its answer is not kept",
                format!("call {} is done; its answer was not kept, or not for so long", record.id),
            )
            .response();
        }
        let source = match self.office.journal.body(answered.body.digest).await {
            Ok(Some(bytes)) => Ok(Source::Memory(Bytes::from(bytes))),
            Ok(None) => std::fs::File::open(path_of(&self.office.bodies, &answered.body.digest))
                .map(|file| Source::File(file, answered.body.bytes))
                .map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        let source = match source {
            Ok(source) => source,
            Err(why) => {
                return self
                    .broken(format!("the answer of call {} cannot be read: {why}", record.id));
            }
        };
        self.caller.has_hit(&record);
        let trailers = (!answered.trailers.is_empty()).then(|| head::to_map(&answered.trailers));
        let receipt = Receipt {
            caller: Arc::clone(&self.caller),
            call: record.id,
            line: Arc::clone(&self.line),
        };
        if record.asked.method == "HEAD" || matches!(answered.status, 204 | 304) {
            self.caller.has_answered(record.id, &self.line);
        }
        let mut response = Response::new(Outgoing::recorded(source, trailers, receipt));
        *response.status_mut() = hyper::StatusCode::from_u16(answered.status).unwrap_or_default();
        *response.headers_mut() = head::to_map(&answered.head);
        response
            .headers_mut()
            .insert("semel-replayed", hyper::header::HeaderValue::from_static("true"));
        response
    }

    /// Asks a command what became of a call.
    async fn probe(&self, record: CallRecord, command: &str) -> Result<(), Response<Outgoing>> {
        let asked = super::probe::ask(command, &record, &self.office.folder).await;
        let (state, reason) = match asked {
            Ok(super::probe::Said::Happened) => {
                (CallState::Complete, "the probe says that it happened")
            }
            Ok(super::probe::Said::Absent) => {
                (CallState::Rejected, "the probe says that it did not happen")
            }
            Ok(super::probe::Said::Unsure) => {
                let refusal = Refusal::Unknown(Box::new(record.clone()));
                self.caller.tally().unknown.insert(record.id, unknown_of(&record));
                return Err(Reply::of_refusal(&refusal).1.response());
            }
            Err(why) => return Err(self.broken(format!("the probe of call {}: {why}", record.id))),
        };
        let ended = Ended {
            id: record.id,
            send: record.sends,
            state,
            reason: Some(reason.to_owned()),
            answered: record.answered.clone(),
            body: None,
            price: None,
            budgets: Vec::new(),
        };
        self.office.journal.end(ended).await.map(drop).map_err(|why| self.broken(why))
    }

    /// What a rule lets pass.
    async fn pass(&self, place: &Place, parts: &Parts, body: Incoming) -> Response<Outgoing> {
        let request = head::request(parts, &place.origin, None, body);
        self.passed(place, self.office.upstream.send(&place.origin, request, Freshness::Any).await)
    }

    async fn pass_spooled(
        &self,
        place: &Place,
        parts: Parts,
        spooled: &Spooled,
    ) -> Response<Outgoing> {
        let source = match spooled.source() {
            Ok(source) => source,
            Err(error) => return self.broken(error.to_string()),
        };
        let request = head::request(&parts, &place.origin, None, Outgoing::of_source(source));
        self.passed(
            place,
            self.office.upstream.send(&place.origin, request, Freshness::Fresh).await,
        )
    }

    fn passed(
        &self,
        place: &Place,
        sent: Result<
            Response<crate::ground::http::upstream::Received>,
            crate::ground::http::upstream::SendError,
        >,
    ) -> Response<Outgoing> {
        *self.caller.tally().passed.entry(place.origin.to_string()).or_default() += 1;
        match sent {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                head::remove_hops(&mut parts.headers);
                Response::from_parts(parts, Outgoing::passing(body.map_err(io::Error::other)))
            }
            Err(error) => gateway(&error.what),
        }
    }

    /// What is no longer HTTP is not guarded.
    async fn upgrade(&self, place: Place, mut request: Request<Incoming>) -> Response<Outgoing> {
        *self.caller.tally().passed.entry(format!("{} (upgraded)", place.origin)).or_default() += 1;
        let client = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let request = head::upgrade_request(&parts, &place.origin, body);
        match self.office.upstream.send(&place.origin, request, Freshness::Fresh).await {
            Ok(mut response) if response.status() == hyper::StatusCode::SWITCHING_PROTOCOLS => {
                let server = hyper::upgrade::on(&mut response);
                tokio::spawn(async move {
                    if let (Ok(client), Ok(server)) = (client.await, server.await) {
                        let mut client = hyper_util::rt::TokioIo::new(client);
                        let mut server = hyper_util::rt::TokioIo::new(server);
                        // Whoever hangs up ends it for both.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
                let (parts, _) = response.into_parts();
                Response::from_parts(parts, Outgoing::whole(Bytes::new()))
            }
            sent => self.passed(&place, sent),
        }
    }
}

/// Whoever could not be reached: nothing was sent, and the client may try again.
fn gateway(why: &str) -> Response<Outgoing> {
    let mut response = Reply::new(502, "the server cannot be reached", why).response();
    reply::may_retry(response.headers_mut());
    response
}

fn unknown_of(record: &CallRecord) -> Unknown {
    Unknown {
        what: format!("{} {}", record.asked.method, record.asked.url),
        why: record.reason.clone().unwrap_or_default(),
        price: record.price.clone(),
    }
}

/// A request that is guarded.
pub(super) struct Call {
    place: Place,
    terms: Arc<Terms>,
    parts: Parts,
    head: Head,
    spooled: Spooled,
    identity: Identity,
    account: String,
    near_miss: Option<NearMiss>,
}

impl Call {
    /// It, as it is looked into with this body.
    fn request<'a>(&'a self, body: &'a Body<'a>) -> identity::Request<'a> {
        identity::Request { target: self.place.target(), head: &self.head, body }
    }

    /// Its fields that count.
    fn leaves(&self) -> Vec<identity::Leaf> {
        let body = self.spooled.looked_into();
        self.counting(identity::leaves(&self.request(&body)))
    }

    fn counting(&self, mut leaves: Vec<identity::Leaf>) -> Vec<identity::Leaf> {
        let is_ignored = |pointer: &str| {
            self.terms.ignore.iter().any(|field| match field {
                Field::Body(ignored) => pointer
                    .strip_prefix(ignored.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                _ => false,
            })
        };
        leaves.retain(|leaf| !is_ignored(&leaf.pointer));
        leaves
    }

    /// Keeps the body, unless it is too large or has what is not to be kept.
    fn keep(&mut self) -> io::Result<Option<Vec<u8>>> {
        let has_secret = {
            let body = self.spooled.looked_into();
            let request = self.request(&body);
            let is_there = |field: &Field| identity::has(&request, field);
            self.terms.redact.iter().any(is_there)
        };
        if has_secret || self.spooled.body.bytes > KEPT {
            return Ok(None);
        }
        self.spooled.keep()
    }
}

/// Whether a client waited for as long as there was something to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    ToTheEnd,
    /// It has gone.
    InVain,
}

/// What comes after a send.
enum After {
    /// The client has its answer.
    Over,
    /// It is unknown, and may be sent again.
    Again(oneshot::Sender<Response<Outgoing>>),
    /// The client gets this.
    Answer(oneshot::Sender<Response<Outgoing>>, Box<Response<Outgoing>>),
}

/// A call that was permitted.
struct Sending<'a> {
    asking: &'a Asking,
    call: &'a Call,
    permitted: Permitted,
    flight: Arc<Flight>,
    tries: u32,
}

impl Sending<'_> {
    async fn send(self, mut deliver: oneshot::Sender<Response<Outgoing>>) -> After {
        let office = &self.asking.office;
        let waiting =
            Waiting { flight: Arc::clone(&self.flight), journal: Arc::clone(&office.journal) };
        if self.tries == 1 {
            self.asking.caller.tally().sent += 1;
        }
        let deadline = tokio::time::Instant::now() + self.call.terms.timeout;
        let source = match self.call.spooled.source() {
            Ok(source) => source,
            Err(error) => {
                let why = format!("the request cannot be read: {error}");
                return self.failed(Seen::NotProcessed(why), deliver).await;
            }
        };
        let key = match &self.call.terms.send_key {
            SendKey::Header(name) if !self.permitted.key.is_empty() => {
                Some((name.as_str(), self.permitted.key.as_str()))
            }
            _ => None,
        };
        let place = &self.call.place;
        let request =
            head::request(&self.call.parts, &place.origin, key, Outgoing::of_source(source));
        let sending = office.upstream.send(&place.origin, request, Freshness::Fresh);
        let mut sending = std::pin::pin!(tokio::time::timeout_at(deadline, sending));
        let (sent, waiting) = tokio::select! {
            biased;
            sent = &mut sending => (sent, Some(waiting)),
            () = deliver.closed() => {
                // Semel listens on; an equal request is its client's retry from here on.
                drop(waiting);
                (sending.await, None)
            }
        };
        match sent {
            Ok(Ok(response)) => self.take(response, deliver, waiting, deadline).await,
            Ok(Err(error)) => {
                let seen = match error.proof {
                    Some(_) => Seen::NotProcessed(error.what),
                    None => Seen::NoAnswer(error.what),
                };
                self.failed(seen, deliver).await
            }
            Err(_) => self.failed(Seen::NoAnswer(self.too_late()), deliver).await,
        }
    }

    fn too_late(&self) -> String {
        format!("no answer after {}", crate::words::clock(self.call.terms.timeout))
    }

    /// Whether it may be sent again by itself, should it be unknown.
    fn may_repeat(&self) -> bool {
        self.tries < AGAIN
            && match &self.call.terms.unknown {
                WhenUnknown::Resend => self.call.terms.read || !self.permitted.key.is_empty(),
                WhenUnknown::ResendAtMost(most) => self.permitted.send <= *most,
                WhenUnknown::Stop | WhenUnknown::Probe(_) => false,
            }
    }

    /// There is no answer, or none that is whole.
    async fn failed(&self, seen: Seen, deliver: oneshot::Sender<Response<Outgoing>>) -> After {
        let (state, reason) = outcome(&seen, &self.call.terms.rejected);
        let why = reason.clone().unwrap_or_default();
        let ended = self.ended(state, reason, None, None, None);
        match self.asking.office.journal.end(ended).await {
            Ok(CallState::Rejected) => After::Answer(deliver, Box::new(gateway(&why))),
            Ok(_) if self.may_repeat() => After::Again(deliver),
            Ok(_) => {
                let reply = self.is_unknown(why);
                After::Answer(deliver, Box::new(reply))
            }
            Err(error) => After::Answer(deliver, Box::new(self.asking.broken(error))),
        }
    }

    /// Notes that nobody knows what became of it.
    fn is_unknown(&self, why: String) -> Response<Outgoing> {
        let what = format!(
            "{} {}",
            self.call.place.method,
            identity::shown_url(&self.call.place.target())
        );
        let price = self.call.terms.price.as_ref().map(|price| price.reserved().clone());
        let detail = format!(
            "call {} ({what}) may have been processed: {why}. It is not sent again.",
            self.permitted.id
        );
        self.asking.caller.tally().unknown.insert(self.permitted.id, Unknown { what, why, price });
        Reply::new(424, "it is unknown whether it was processed", detail).response()
    }

    fn ended(
        &self,
        state: CallState,
        reason: Option<String>,
        answered: Option<Answered>,
        body: Option<Vec<u8>>,
        price: Option<Money>,
    ) -> Ended {
        Ended {
            id: self.permitted.id,
            send: self.permitted.send,
            state,
            reason,
            answered,
            body,
            price,
            budgets: self.asking.budgets(&self.call.terms),
        }
    }

    /// Takes an answer in, and passes it on as it comes.
    async fn take(
        self,
        response: Response<crate::ground::http::upstream::Received>,
        deliver: oneshot::Sender<Response<Outgoing>>,
        waiting: Option<Waiting>,
        deadline: tokio::time::Instant,
    ) -> After {
        let (mut parts, mut body) = response.into_parts();
        head::remove_hops(&mut parts.headers);
        let status = parts.status.as_u16();
        // Nobody hears of an answer that is no news.
        let by_status = outcome(&Seen::Answer { status, grpc: None }, &self.call.terms.rejected).0;
        let keeps_quiet = by_status == CallState::Unknown && self.may_repeat();
        let length = announced(&parts.headers, &self.call.place.method, status);
        let (pieces, receiver) = mpsc::channel(4);
        let head = head::of(&parts.headers);
        let mut back = None;
        let mut client = Client { pieces: None, held: None };
        if keeps_quiet {
            // Whether it goes meanwhile is not seen: an equal request attaches.
            drop(waiting);
            back = Some(deliver);
        } else if let Some(waiting) = waiting {
            let outgoing = Outgoing::pieces(receiver, length, waiting);
            if deliver.send(Response::from_parts(parts, outgoing)).is_ok() {
                client.pieces = Some(pieces);
            }
        }
        let mut spool = Spool::new(&self.asking.office.bodies, None);
        let mut trailers = HeaderMap::new();
        let cut = loop {
            let frame = match tokio::time::timeout_at(deadline, body.frame()).await {
                Err(_) => break Some(self.too_late()),
                Ok(None) => break None,
                Ok(Some(Err(error))) => break Some(error.to_string()),
                Ok(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(bytes) => {
                    if let Err(error) = spool.write(&bytes) {
                        break Some(format!("it cannot be kept: {error}"));
                    }
                    client.pass(bytes, length.is_some_and(|length| spool.len() >= length)).await;
                }
                Err(frame) => {
                    if let Ok(more) = frame.into_trailers() {
                        trailers.extend(more);
                    }
                }
            }
        };
        let cut = cut.or_else(|| {
            let announced = length.filter(|length| *length != spool.len())?;
            Some(format!("{} of {announced} bytes came", spool.len()))
        });
        self.record(status, head, spool.end(), trailers, cut, client, back).await
    }

    /// Records an answer, then lets the client see its end.
    #[expect(clippy::too_many_arguments, reason = "it is what was taken in, once")]
    async fn record(
        self,
        status: u16,
        head: Head,
        mut spooled: Spooled,
        trailers: HeaderMap,
        cut: Option<String>,
        mut client: Client,
        back: Option<oneshot::Sender<Response<Outgoing>>>,
    ) -> After {
        let grpc = trailers.get("grpc-status");
        let grpc = grpc.and_then(|status| status.to_str().ok()?.parse().ok());
        let seen = match &cut {
            Some(why) => Seen::Cut { status, why: why.clone() },
            None => Seen::Answer { status, grpc },
        };
        let (state, reason) = outcome(&seen, &self.call.terms.rejected);
        let price = self.price_of(status, &spooled);
        let hides = self.hides(&head, &spooled);
        let body = match (state, hides) {
            // What is rejected is never replayed.
            (CallState::Rejected, _) | (_, true) => None,
            _ => match spooled.keep() {
                Ok(body) => body,
                Err(error) => {
                    return self
                        .unkept(
                            format!(
                                "the answer of call {} cannot be kept: {error}",
                                self.permitted.id
                            ),
                            client,
                            back,
                        )
                        .await;
                }
            },
        };
        let answered = Answered {
            status,
            head: self.kept(&head),
            body: spooled.body.clone(),
            trailers: head::of(&trailers),
        };
        let ended = self.ended(state, reason.clone(), Some(answered), body, price.clone());
        let journal = &self.asking.office.journal;
        let recorded = match journal.end(ended.clone()).await {
            // There is a little room for this case.
            Err(_) => {
                self.asking.office.give_room();
                journal.end(ended).await
            }
            recorded => recorded,
        };
        if let Err(why) = recorded {
            return self
                .unkept(
                    format!("the answer of call {} cannot be recorded: {why}", self.permitted.id),
                    client,
                    back,
                )
                .await;
        }
        if state == CallState::Unknown {
            if let Some(back) = back {
                return After::Again(back);
            }
            let _ = self.is_unknown(reason.unwrap_or_default());
        } else if state == CallState::Complete
            && let Some(price) = price
                .or_else(|| self.call.terms.price.as_ref().map(|price| price.reserved().clone()))
            && !is_refusal(status)
        {
            *self.asking.caller.tally().spent.entry(price.unit).or_default() += price.nanos;
        }
        if cut.is_some() {
            client.abort().await;
        } else if client.end(trailers).await && state == CallState::Complete {
            self.asking.caller.has_answered(self.permitted.id, &self.asking.line);
        }
        After::Over
    }

    /// A result that cannot be recorded: the client must not take it for one that is.
    async fn unkept(
        &self,
        why: String,
        mut client: Client,
        back: Option<oneshot::Sender<Response<Outgoing>>>,
    ) -> After {
        self.asking.caller.tally().broken.get_or_insert(why.clone());
        client.abort().await;
        match back {
            Some(back) => After::Answer(back, Box::new(Reply::broken(why).response())),
            None => After::Over,
        }
    }

    /// What it cost, where the answer says so.
    fn price_of(&self, status: u16, spooled: &Spooled) -> Option<Money> {
        match self.call.terms.price.as_ref()? {
            // Nobody is charged for what was refused.
            price if is_refusal(status) => Some(Money { nanos: 0, ..price.reserved().clone() }),
            Price::Fixed(money) => Some(money.clone()),
            Price::InAnswer { field: Field::Body(pointer), each, .. } => {
                let said = identity::in_json(spooled.small()?, pointer)?;
                let count: f64 = said.trim_matches('"').parse().ok()?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_precision_loss,
                    reason = "money of one call is far below"
                )]
                let nanos = (count * each.nanos as f64).round() as i64;
                Some(Money { nanos, unit: each.unit.clone() })
            }
            Price::InAnswer { .. } => None,
        }
    }

    /// Whether an answer has what is not to be kept.
    fn hides(&self, head: &Head, spooled: &Spooled) -> bool {
        if self.call.terms.redact.is_empty() {
            return false;
        }
        let body = spooled.looked_into();
        let request = identity::Request { target: self.call.place.target(), head, body: &body };
        let is_there =
            |field: &Field| matches!(field, Field::Body(_)) && identity::has(&request, field);
        spooled.small().is_none() || self.call.terms.redact.iter().any(is_there)
    }

    fn kept(&self, head: &Head) -> Head {
        let mut kept = identity::kept_of_answer(head);
        kept.retain(|(name, _)| {
            !self.call.terms.redact.contains(&Field::Header(name.to_ascii_lowercase()))
        });
        kept
    }
}

/// How long the body of an answer will be, where its head says so.
fn announced(headers: &HeaderMap, method: &str, status: u16) -> Option<u64> {
    if method == "HEAD" || matches!(status, 204 | 304) {
        return None;
    }
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

/// The client of an answer, while it is there.
struct Client {
    pieces: Option<mpsc::Sender<io::Result<Frame<Bytes>>>>,
    /// What is held back: of an answer whose length is known the last byte.
    held: Option<Bytes>,
}

impl Client {
    /// Passes bytes on. `is_last`: no more will come.
    async fn pass(&mut self, mut bytes: Bytes, is_last: bool) {
        if is_last && !bytes.is_empty() {
            self.held = Some(bytes.split_off(bytes.len() - 1));
        }
        if !bytes.is_empty() {
            self.give(Ok(Frame::data(bytes))).await;
        }
    }

    async fn give(&mut self, piece: io::Result<Frame<Bytes>>) -> bool {
        let Some(pieces) = &self.pieces else {
            return false;
        };
        let taken = pieces.send(piece).await.is_ok();
        if !taken {
            self.pieces = None;
        }
        taken
    }

    /// The record is durable: the client may see the end. Whether it is still there.
    async fn end(&mut self, trailers: HeaderMap) -> bool {
        if let Some(held) = self.held.take() {
            self.give(Ok(Frame::data(held))).await;
        }
        if !trailers.is_empty() {
            self.give(Ok(Frame::trailers(trailers))).await;
        }
        let is_there = self.pieces.as_ref().is_some_and(|pieces| !pieces.is_closed());
        self.pieces = None;
        is_there
    }

    /// The answer has no end.
    async fn abort(&mut self) {
        self.give(Err(io::Error::from(io::ErrorKind::UnexpectedEof))).await;
        self.pieces = None;
    }
}

#[cfg(test)]
mod tests;
