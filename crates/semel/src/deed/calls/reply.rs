//! What semel itself answers, in the place of a server: problem details (RFC 9457), with the
//! command that settles it.

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response};
use serde_json::json;

use super::body::Outgoing;
use super::journal::Refusal;

/// What tells clients whether to try again: those of OpenAI and Anthropic, and Stripe's.
const SHOULD_RETRY: [&str; 2] = ["x-should-retry", "stripe-should-retry"];

/// Why a call that is new to a memory which is not whole is not sent.
pub(super) const FORGOTTEN: &str = "are new to a memory that may have lost them";

/// Marks a response as an answer of semel's own, and says why there is none of the server's.
#[derive(Clone)]
pub(super) struct OfSemel(pub(super) String);

/// Says nothing of whether to try again.
fn may_retry(headers: &mut HeaderMap) {
    for name in SHOULD_RETRY {
        headers.remove(name);
    }
}

/// An answer of semel's own.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    status: u16,
    title: &'static str,
    detail: String,
    call: Option<i64>,
    next: Option<String>,
}

impl Reply {
    pub(super) fn new(status: u16, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), call: None, next: None }
    }

    /// Nothing was sent, since something that semel relies on does not work.
    pub(super) fn broken(detail: impl Into<String>) -> Self {
        Self::new(507, "semel cannot keep what would be paid for", detail)
    }

    /// The server could not be reached: nothing was sent, and the client may try again.
    pub(super) fn gateway(why: &str) -> Response<Outgoing> {
        Self::bad_gateway("the server cannot be reached", why)
    }

    /// What is not guarded has no answer, and whether its client tries again is its own affair.
    pub(super) fn no_answer(why: &str) -> Response<Outgoing> {
        Self::bad_gateway("the server gives no answer", why)
    }

    fn bad_gateway(title: &'static str, why: &str) -> Response<Outgoing> {
        let mut response = Self::new(502, title, why).response();
        may_retry(response.headers_mut());
        response
    }

    /// Whose calls these are has ended: what became of them was told.
    pub(super) fn ended() -> Response<Outgoing> {
        Self::new(407, "who asks?", "the command whose calls these are has ended").response()
    }

    /// Nobody knows what became of a call.
    pub(super) fn unknown(call: i64, what: &str, why: &str) -> Self {
        let detail =
            format!("call {call} ({what}) may have been processed: {why}. It is not sent again.");
        Self {
            call: Some(call),
            next: Some(format!("semel calls redo {call} --because '...'")),
            ..Self::new(424, "it is unknown whether it was processed", detail)
        }
    }

    /// Why a request is not sent, as it is counted and as it is answered.
    pub(super) fn of_refusal(refusal: &Refusal) -> (&'static str, Self) {
        match refusal {
            Refusal::Unknown(call) => {
                let what = format!("{} {}", call.asked.method, call.asked.url);
                let why = call.reason.as_deref().unwrap_or_default();
                ("unknown", Self::unknown(call.id, &what, why))
            }
            Refusal::OtherAccount(call) => (
                "made for another account",
                Self {
                    call: Some(call.id),
                    next: Some("[[call]] account = \"any\", or a new key".to_owned()),
                    ..Self::new(
                        422,
                        "an equal call was made for another account",
                        format!("call {} was made for {}", call.id, or_none(&call.asked.account)),
                    )
                },
            ),
            Refusal::OtherRest(call) => (
                "differ in what is not in their key",
                Self {
                    call: Some(call.id),
                    ..Self::new(
                        422,
                        "a call of this key differs in the rest",
                        format!("call {} has the same key and another content", call.id),
                    )
                },
            ),
            Refusal::OverBudget { name, would_be, limit } => (
                "over the budget",
                Self::new(
                    402,
                    "the budget does not allow it",
                    format!("{name}: it would be {would_be}, and may be {limit}"),
                ),
            ),
            Refusal::NearMiss(miss) => {
                let fields: Vec<_> =
                    miss.differ.iter().map(|(pointer, ..)| pointer.as_str()).collect();
                (
                    "look like calls that are paid already",
                    Self::new(
                        424,
                        "it looks like a call that is paid already",
                        format!(
                            "a recorded call has the same {}, and differs in {}",
                            miss.same,
                            fields.join(", ")
                        ),
                    ),
                )
            }
            Refusal::Drifted => (
                "come after calls that look paid already",
                Self::new(
                    424,
                    "the calls before it look like calls that are paid already",
                    "nothing new is sent",
                ),
            ),
            Refusal::New => (
                "are new",
                Self::new(424, "it is new", "new calls are not wanted (--no-new-calls)"),
            ),
            Refusal::Forgotten => (
                FORGOTTEN,
                Self {
                    next: Some("--new-calls".to_owned()),
                    ..Self::new(
                        424,
                        "the memory may have lost it",
                        "the manifest is not whole: what it does not know may have been paid",
                    )
                },
            ),
        }
    }

    /// All of it, for people.
    fn message(&self) -> String {
        let next = self.next.as_ref().map(|next| format!(" Next: {next}")).unwrap_or_default();
        format!("semel: {}. {}{next}", self.title, self.detail)
    }

    pub(super) fn response(&self) -> Response<Outgoing> {
        let mut problem = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "by": "semel",
            // SDKs show what is in here; Stripe's for Node takes any answer without it for
            // success, whatever its status.
            "error": { "type": "semel", "message": self.message() },
        });
        if let Some(call) = self.call {
            problem["call"] = json!(call);
        }
        if let Some(next) = &self.next {
            problem["next"] = json!(next);
        }
        let mut response = Response::new(Outgoing::whole(Bytes::from(problem.to_string())));
        *response.status_mut() = hyper::StatusCode::from_u16(self.status).unwrap_or_default();
        response.extensions_mut().insert(OfSemel(format!("{}: {}", self.title, self.detail)));
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/problem+json"));
        // Clients that ask this are told not to try again: nothing would change.
        for name in SHOULD_RETRY {
            headers.insert(name, HeaderValue::from_static("false"));
        }
        if self.status == 407 {
            headers.insert("proxy-authenticate", HeaderValue::from_static("Basic realm=\"semel\""));
        }
        if self.status == 409 {
            headers.insert("retry-after", HeaderValue::from_static("1"));
            may_retry(headers);
        }
        response
    }
}

fn or_none(account: &str) -> &str {
    if account.is_empty() { "no account" } else { account }
}
