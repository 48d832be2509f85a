//! One request of a client: what becomes of it, and its answer.
//!
//! Whatever is sent belongs to the journal, not to the client: when that gives up, the answer
//! is drained all the same, and recorded for its retry.
//!
//! Invariant: *I14* nothing is sent before its permit is durable.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Office;
use super::body::{Outgoing, Receipt, Waiting};
use super::caller::Caller;
use super::head;
use super::journal::{Flight, Refusal, Ruled, Wanted};
use super::line::Line;
use super::reply::Reply;
use super::request::{Call, Place, counting, shown_place};
use super::sending::{After, Sending};
use super::spool::{Source, Spool, Spooled, has_room, path_of};
use crate::ground::http::upstream::Origin;
use crate::ground::manifest::calls::Which;
use crate::thought::call::drift::{NearMiss, Recorded};
use crate::thought::call::identity::{self, Body};
use crate::thought::call::terms::Terms;
use crate::words::call::{
    Asked, Budget, CallRecord, CallState, Ended, Equal, Every, PermitFor, Reserve, SendKey, Target,
};

/// How long between two looks at a call that another process has in flight.
const BETWEEN: Duration = Duration::from_millis(50);

/// How long it may take until a client is seen to have hung up.
const HOLD: Duration = Duration::from_millis(50);

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
        if self.is_over() {
            return Reply::ended();
        }
        let (parts, body) = request.into_parts();
        let place = Place::of(origin, &parts);
        let terms = self.caller.rules.terms_for(&place.target());
        self.caller.tally().rules.extend(terms.rules.iter().copied());
        if parts.method == Method::CONNECT {
            let why = "what comes through it could not be guarded";
            return Reply::new(501, "no tunnel leads from here", why).response();
        }
        // What may have an effect is guarded, and asks its server for nothing else.
        if head::is_upgrade(&parts.headers) && (parts.method == Method::GET || terms.pass) {
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
        // Whoever waits for its end waits for us, from here on.
        let busy = self.caller.begins();
        if self.is_over() {
            return Reply::ended();
        }
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
        tokio::spawn(async move {
            self.bring(call, deliver).await;
            drop(busy);
        });
        // Dropped, this tells that the client has gone.
        delivered.await.unwrap_or_else(|_| Reply::broken("the exchange has ended").response())
    }

    /// Whether the command whose calls these are has ended.
    fn is_over(&self) -> bool {
        self.caller.is_over.load(Ordering::Acquire)
    }

    pub(super) fn broken(&self, why: String) -> Response<Outgoing> {
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
            let wanted = self.wanted(&call, body.clone(), has_held);
            let budgets = wanted.permit.budgets.clone();
            let ruled = match self.office.journal.ask(wanted).await {
                Ok(ruled) => ruled,
                Err(why) => break self.broken(why),
            };
            match ruled {
                Ruled::Replay(record, body) => break self.replay(record, body),
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
                Ruled::NoRoom(why) => break self.broken(why),
                Ruled::Send(permitted, flight) => {
                    tries += 1;
                    let asking = self;
                    let call = &call;
                    let sending = Sending { asking, call, permitted, budgets, flight, tries };
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
        let is_shared = terms.equal == Equal::Shared;
        // What a rule made, or no longer makes, an affair of all is looked for in both.
        let mut scopes = [calling.scope.clone(), calling.scope.shared()];
        if is_shared {
            scopes.reverse();
        }
        let [scope, other_scope] = scopes;
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
                    url: call.shown(),
                    account: call.account.clone(),
                    head: call.kept_head(),
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
            other_scope,
            // What is recorded needs none.
            no_room: has_room(&self.office.bodies).err().map(|error| error.to_string()),
        }
    }

    fn budgets(&self, terms: &Terms) -> Vec<Reserve> {
        let now = Timestamp::now().to_string();
        let rules = self.caller.rules.of_file();
        let reserve = |(at, budget): &(usize, Budget)| Reserve {
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
        let recorded = self.caller.recorded();
        let recorded = recorded.get_or_try_init(|| self.read_recorded()).await?;
        // What has a key is what its key says.
        let Some(recorded) = recorded.get(&call.place.name()).filter(|_| call.terms.key.is_empty())
        else {
            return Ok(None);
        };
        let leaves = call.leaves();
        Ok(if leaves.is_empty() { None } else { recorded.near_miss(&leaves) })
    }

    /// The complete calls that earlier attempts made, by their places. Those that are no longer
    /// what the rules say of them are, from here on, however they stand.
    async fn read_recorded(&self) -> Result<HashMap<String, Recorded>, String> {
        let mut all: HashMap<String, Recorded> = HashMap::new();
        let scope = &self.caller.calling.scope;
        let mut rekeyed = Vec::new();
        let mut found = self.office.journal.find(Which::of(scope)).await?;
        found.extend(self.office.journal.find(Which::of(&scope.shared())).await?);
        for record in found {
            let asked = &record.asked;
            let is_ours = record.scope == *scope || record.scope == scope.shared();
            let Some(target) = identity::target(&asked.method, &asked.url) else { continue };
            if !is_ours || record.is_retired || asked.is_read || !asked.body.is_kept {
                continue;
            }
            let Some(bytes) = self.office.journal.body(asked.body.digest).await? else {
                continue;
            };
            let kind = identity::header(&asked.head, "content-type").unwrap_or_default();
            let body = Body::of(&bytes, identity::boundary(kind).as_deref());
            let terms = self.caller.rules.terms_for(&target);
            let place = format!("{} {}", asked.method, shown_place(&target));
            // Of a URL that is masked nobody can tell what it was.
            let is_masked = target.query.contains("***");
            let request = identity::Request { target, head: &asked.head, body: &body };
            if let Ok(now) = identity::identity(&request, &terms.key, &terms.ignore)
                && !is_masked
                && (now.digest, now.rest) != (record.identity, record.rest)
            {
                rekeyed.push((record.id, now));
            }
            let is_earlier = record.attempt != self.caller.calling.attempt;
            if record.scope == *scope && record.state == CallState::Complete && is_earlier {
                let leaves = counting(identity::leaves(&request), &terms.ignore);
                all.entry(place).or_default().add(leaves);
            }
        }
        if !rekeyed.is_empty() {
            self.office.journal.rekey(rekeyed).await?;
        }
        Ok(all)
    }

    fn refused(&self, refusal: &Refusal, call: &Call) -> Response<Outgoing> {
        let (why, reply) = Reply::of_refusal(refusal);
        let mut tally = self.caller.tally();
        match refusal {
            Refusal::Unknown(record) => {
                tally.unknown.insert(record.id, record.as_ref().into());
            }
            _ => *tally.refused.entry(why).or_default() += 1,
        }
        if let Refusal::NearMiss(miss) = refusal {
            let place = identity::shown_url(&Target { query: "", ..call.place.target() });
            tally.near_misses.push((format!("{} {place}", call.place.method), miss.clone()));
        }
        reply.response()
    }

    fn replay(&self, record: Box<CallRecord>, body: Option<Vec<u8>>) -> Response<Outgoing> {
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
        let source = match body {
            Some(bytes) => Ok(Source::Memory(Bytes::from(bytes))),
            None => std::fs::File::open(path_of(&self.office.bodies, &answered.body.digest))
                .map(|file| Source::File(file, answered.body.bytes)),
        };
        let source = match source {
            Ok(source) => source,
            Err(why) => {
                return self
                    .broken(format!("the answer of call {} cannot be read: {why}", record.id));
            }
        };
        self.caller.has_hit();
        let trailers = (!answered.trailers.is_empty()).then(|| head::to_map(&answered.trailers));
        let is_head_only = record.asked.method == "HEAD" || matches!(answered.status, 204 | 304);
        let status = hyper::StatusCode::from_u16(answered.status).unwrap_or_default();
        let head = head::to_map(&answered.head);
        let (caller, line) = (Arc::clone(&self.caller), Arc::clone(&self.line));
        let receipt = Receipt { caller, call: record, line };
        let body = Outgoing::recorded(source, trailers, receipt, is_head_only);
        let mut response = Response::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = head;
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
                self.caller.tally().unknown.insert(record.id, (&record).into());
                return Err(Reply::of_refusal(&refusal).1.response());
            }
            Err(why) => return Err(self.broken(format!("the probe of call {}: {why}", record.id))),
        };
        // What was seen of an answer was none: it was cut, or proves nothing.
        let ended = Ended::without_answer(record.id, record.sends, state, reason.to_owned());
        self.office.journal.end(ended).await.map_err(|why| self.broken(why))?;
        self.caller.settles(record.id, state);
        Ok(())
    }
}

/// Whether a client waited for as long as there was something to wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    ToTheEnd,
    /// It has gone.
    InVain,
}
