//! Calls that semel makes itself: the `http` of a step, and of a hook. They go the way of all
//! calls, but for the proxy.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::exchange::Asking;
use super::line::Line;
use super::reply::OfSemel;
use super::request::Place;
use super::sending::AGAIN;
use super::spool::Spool;
use super::{Guarded, Origin};
use crate::ground::http::upstream::Scheme;
use crate::ground::world::process::Stop;
use crate::thought::call::terms::Terms;
use crate::words::call::Head;

/// How much of an answer is told.
const TOLD: usize = 2000;

/// A request of semel's own.
#[derive(Clone, Debug)]
pub struct Told {
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The head.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
    /// How long an answer may take; `None`: as long as the rules say.
    pub timeout: Option<Duration>,
    /// How long it may take at most, whoever says what.
    pub limit: Option<Duration>,
}

/// What it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The beginning of the body.
    pub text: String,
    /// Why there is none of the server's, where semel answers in its place.
    pub why_ours: Option<String>,
}

impl Guarded<'_> {
    /// Makes a call; `None`: the switch was pulled before its answer had come.
    ///
    /// # Errors
    /// If it is none that can be made.
    pub fn call(&self, told: &Told, stop: &Stop) -> Result<Option<Answer>, String> {
        let (origin, parts) = request(told)?;
        let place = Place::of(origin, &parts);
        let mut terms = self.caller.rules.terms_for(&place.target());
        self.caller.tally().rules.extend(terms.rules.iter().copied());
        let said = told.timeout.unwrap_or(terms.timeout);
        Arc::make_mut(&mut terms).timeout = told.limit.map_or(said, |limit| said.min(limit));
        let answer = async {
            let mut tries = 1;
            loop {
                let answer = self.answer(&place, &terms, &parts, &told.body).await?;
                match answer {
                    Ok(answer) => return Ok(Some(answer)),
                    Err(cut) if tries == AGAIN => return Err(cut),
                    // Asked again it is sent, if a rule allows that, or it is said why not.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100 << tries)).await,
                }
                tries += 1;
            }
        };
        self.proxy.runtime().block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = super::is_stopped(stop) => Ok(None),
            }
        })
    }

    /// Asks once; the inner error says why the answer has no end.
    async fn answer(
        &self,
        place: &Place,
        terms: &Arc<Terms>,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Result<Answer, String>, String> {
        let asking = Asking {
            office: Arc::clone(&self.proxy.office),
            caller: Arc::clone(&self.caller),
            line: Arc::new(Line::default()),
        };
        let mut spool = Spool::new(&self.proxy.office.bodies, None);
        spool.write(body).map_err(|error| error.to_string())?;
        let (place, terms) = (place.clone(), Arc::clone(terms));
        let response = asking.guard(place, terms, parts.clone(), spool.end()).await;
        let status = response.status().as_u16();
        let why_ours = response.extensions().get().map(|OfSemel(why)| why.clone());
        let mut body = response.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Ok(Err(format!("the answer ends early: {error}"))),
            };
            if let Some(bytes) = frame.data_ref() {
                text.extend(bytes.iter().take(TOLD - text.len().min(TOLD)));
            }
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Ok(Answer { status, text, why_ours }))
    }
}

/// A request, and its server.
fn request(told: &Told) -> Result<(Origin, Parts), String> {
    let url = url::Url::parse(&told.url).map_err(|error| format!("`{}`: {error}", told.url))?;
    let scheme = match url.scheme() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => return Err(format!("`{}`: {other} is not HTTP", told.url)),
    };
    let host = url.host_str().ok_or_else(|| format!("`{}` has no host", told.url))?;
    let port = url.port_or_known_default().unwrap_or(443);
    let host = host.trim_matches(['[', ']']).to_owned();
    let origin = Origin { scheme, host, port, h2_plain: false };
    let mut request = hyper::Request::builder().method(told.method.as_str()).uri(url.as_str());
    for (name, value) in &told.head {
        let name =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("`{name}` is not a header"))?;
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| format!("the header {name} cannot have this value"))?;
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).map_err(|error| error.to_string())?.into_parts();
    Ok((origin, parts))
}
