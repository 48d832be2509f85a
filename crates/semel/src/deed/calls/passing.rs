//! What passes through without a guard: a rule says so, or it asks for a token, or it is no
//! longer HTTP.

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};

use super::body::Outgoing;
use super::exchange::Asking;
use super::head;
use super::reply::Reply;
use super::request::Place;
use super::spool::Spooled;
use crate::ground::http::upstream::{Freshness, Received, SendError};

impl Asking {
    /// What a rule lets pass.
    pub(super) async fn pass(
        &self,
        place: &Place,
        parts: &Parts,
        body: Incoming,
    ) -> Response<Outgoing> {
        let request = head::request(parts, &place.origin, None, body);
        self.passed(place, self.office.upstream.send(&place.origin, request, Freshness::Any).await)
    }

    pub(super) async fn pass_spooled(
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
        sent: Result<Response<Received>, SendError>,
    ) -> Response<Outgoing> {
        *self.caller.tally().passed.entry(place.origin.to_string()).or_default() += 1;
        match sent {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Reply::no_answer("it changes to a protocol that nobody asked for")
            }
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                head::remove_hops(&mut parts.headers);
                Response::from_parts(parts, Outgoing::passing(body.map_err(io::Error::other)))
            }
            Err(SendError { proof: Some(_), what }) => Reply::gateway(&what),
            Err(SendError { proof: None, what }) => Reply::no_answer(&what),
        }
    }

    /// What is no longer HTTP is not guarded.
    pub(super) async fn upgrade(
        &self,
        place: Place,
        mut request: Request<Incoming>,
    ) -> Response<Outgoing> {
        let client = hyper::upgrade::on(&mut request);
        let (parts, body) = request.into_parts();
        let request = head::upgrade_request(&parts, &place.origin, body);
        match self.office.upstream.send(&place.origin, request, Freshness::Fresh).await {
            Ok(mut response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                let origin = format!("{} (upgraded)", place.origin);
                *self.caller.tally().passed.entry(origin).or_default() += 1;
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
