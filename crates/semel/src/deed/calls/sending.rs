//! A call that was permitted: it is sent, and its answer is taken in, recorded and passed on.
//!
//! Invariant: *I15* a client sees a clean end of an answer only when the record of it is
//! durable: the last byte, or the end, is held back until then; of an answer without a body,
//! the head.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame};
use hyper::{HeaderMap, Response, StatusCode, Version};
use tokio::sync::{mpsc, oneshot};

use super::body::{Outgoing, Waiting};
use super::caller::Unknown;
use super::exchange::Asking;
use super::head;
use super::journal::Flight;
use super::reply::Reply;
use super::request::{Call, hides_header};
use super::spool::{Spool, Spooled};
use crate::ground::http::upstream::{Freshness, Received};
use crate::ground::manifest::calls::Permitted;
use crate::thought::call::identity;
use crate::thought::call::outcome::{Seen, outcome};
use crate::words::call::{
    Answered, CallState, Ended, Field, Head, Money, Price, Reserve, SendKey, WhenUnknown,
    is_refusal,
};

/// How often one request is sent again by itself, where a rule allows that.
pub(super) const AGAIN: u32 = 4;

/// What comes after a send.
pub(super) enum After {
    /// The client has its answer.
    Over,
    /// It is unknown, and may be sent again.
    Again(oneshot::Sender<Response<Outgoing>>),
    /// The client gets this.
    Answer(oneshot::Sender<Response<Outgoing>>, Box<Response<Outgoing>>),
}

/// A call that was permitted.
pub(super) struct Sending<'a> {
    pub(super) asking: &'a Asking,
    pub(super) call: &'a Call,
    pub(super) permitted: Permitted,
    /// What it was reserved from.
    pub(super) budgets: Vec<Reserve>,
    pub(super) flight: Arc<Flight>,
    pub(super) tries: u32,
}

impl Sending<'_> {
    pub(super) async fn send(self, mut deliver: oneshot::Sender<Response<Outgoing>>) -> After {
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
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let why = "the server changes to a protocol that nobody asked for";
                self.failed(Seen::NoAnswer(why.to_owned()), deliver).await
            }
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
        let recorded = self.asking.office.journal.end(ended).await;
        if let Ok(state) = recorded {
            self.asking.caller.settles(self.permitted.id, state);
        }
        match recorded {
            Ok(CallState::Rejected) => After::Answer(deliver, Box::new(Reply::gateway(&why))),
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
        let what = format!("{} {}", self.call.place.method, self.call.shown());
        let price = self.call.terms.price.as_ref().map(|price| price.reserved().clone());
        let reply = Reply::unknown(self.permitted.id, &what, &why);
        self.asking.caller.tally().unknown.insert(self.permitted.id, Unknown { what, why, price });
        reply.response()
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
            budgets: self.budgets.clone(),
        }
    }

    /// Takes an answer in, and passes it on as it comes.
    async fn take(
        self,
        response: Response<Received>,
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
        // A client that is slow holds up its server: nothing is piled up in between.
        let (pieces, receiver) = mpsc::channel(1);
        let head = head::of(&parts.headers);
        let mut back = None;
        let mut client = Client::default();
        let is_empty = body.is_end_stream() || length == Some(0);
        if keeps_quiet {
            // Whether it goes meanwhile is not seen: an equal request attaches.
            drop(waiting);
            back = Some(deliver);
        } else if let Some(waiting) = waiting {
            let outgoing = Outgoing::pieces(receiver, length, waiting);
            let response = Response::from_parts(parts, outgoing);
            if is_empty {
                client.pieces = Some(pieces);
                client.unsent = Some((deliver, response));
            } else if deliver.send(response).is_ok() {
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
        // It is in the head where there is nothing else.
        let in_trailers = trailers.get("grpc-status").and_then(|status| status.to_str().ok());
        let grpc = in_trailers.or_else(|| identity::header(&head, "grpc-status"));
        let grpc = grpc.and_then(|status| status.parse().ok());
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
                    let id = self.permitted.id;
                    let why = format!("the answer of call {id} cannot be kept: {error}");
                    let ended = self.ended(CallState::Unknown, Some(why.clone()), None, None, None);
                    // Where that cannot be noted either, the next who looks finds that it ended.
                    let _ = self.asking.office.journal.end(ended).await;
                    return self.unkept(why, client, back).await;
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
                journal.end(ended.clone()).await
            }
            recorded => recorded,
        };
        let recorded = match recorded {
            Ok(recorded) => recorded,
            Err(why) => {
                let id = self.permitted.id;
                let why = format!("the answer of call {id} cannot be recorded: {why}");
                return self.unkept(why, client, back).await;
            }
        };
        // An earlier send may have left it unknown.
        let (state, reason) = match recorded == state {
            true => (state, reason),
            false => (recorded, ended.after_unknown().reason),
        };
        self.asking.caller.settles(self.permitted.id, state);
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
        let at = Instant::now();
        if cut.is_some() {
            self.abort(&mut client).await;
        } else if client.end(trailers).await && state == CallState::Complete {
            self.asking.caller.has_answered(self.permitted.id, at, &self.asking.line);
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
        self.abort(&mut client).await;
        match back {
            Some(back) => After::Answer(back, Box::new(Reply::broken(why).response())),
            None => After::Over,
        }
    }

    /// Its client must see no end. In HTTP/1.0 that may be the end of the connection, which is
    /// therefore reset.
    async fn abort(&self, client: &mut Client) {
        if self.call.parts.version == Version::HTTP_10 {
            self.asking.line.resets();
        }
        client.abort().await;
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
        let body = spooled.looked_into();
        let request = identity::Request { target: self.call.place.target(), head, body: &body };
        identity::hides(&request, &self.call.terms.redact)
    }

    fn kept(&self, head: &Head) -> Head {
        let mut kept = identity::kept_of_answer(head);
        kept.retain(|(name, _)| !hides_header(&self.call.terms, name));
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
#[derive(Default)]
struct Client {
    pieces: Option<mpsc::Sender<io::Result<Frame<Bytes>>>>,
    /// What is held back: of an answer whose length is known the last byte.
    held: Option<Bytes>,
    /// An answer without a body, which ends with its head: that is held back.
    unsent: Option<(oneshot::Sender<Response<Outgoing>>, Response<Outgoing>)>,
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
        let is_there = self.pieces.take().is_some_and(|pieces| !pieces.is_closed());
        match self.unsent.take() {
            Some((deliver, response)) => deliver.send(response).is_ok(),
            None => is_there,
        }
    }

    /// The answer has no end.
    async fn abort(&mut self) {
        self.unsent = None;
        self.give(Err(io::Error::from(io::ErrorKind::UnexpectedEof))).await;
        self.pieces = None;
    }
}

#[cfg(test)]
mod tests;
