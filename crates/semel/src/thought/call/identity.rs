//! Identity: what makes two requests the same call, on whose account, and what of them may be
//! kept.
//!
//! Invariant: nothing that this gives holds a credential: an account is a name or a digest, a
//! URL and a head are masked. Bytes decide: two requests are equal only if they are byte for
//! byte, but for what changes by itself (signatures, boundaries of parts) and what a rule
//! leaves out.

mod account;
mod fields;

use std::borrow::Cow;

pub use account::account;
pub(crate) use fields::in_json;
pub use fields::{Leaf, leaves};

use crate::words::call::{Field, Head, Target};
use crate::words::digest::{Digest, Fields, Stream};

/// A request, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it goes.
    pub target: Target<'a>,
    /// Its head; names in lower case.
    pub head: &'a Head,
    /// Its body.
    pub body: &'a Body<'a>,
}

/// A body that was read to its end.
#[derive(Clone, Debug)]
pub struct Body<'a> {
    /// The SHA-256 of its bytes, without the boundary that its parts are separated by.
    pub digest: Digest,
    /// Its bytes, unless they are too many to look into.
    pub bytes: Option<Cow<'a, [u8]>>,
}

impl<'a> Body<'a> {
    /// The body of these bytes.
    #[must_use]
    pub fn of(bytes: &'a [u8], boundary: Option<&[u8]>) -> Self {
        let mut sum = BodySum::new(boundary.map(<[u8]>::to_vec));
        sum.feed(bytes);
        Self { digest: sum.end().1, bytes: Some(Cow::Borrowed(bytes)) }
    }
}

/// The digests of a body, fed piece by piece: of all its bytes, and of those that count.
pub struct BodySum {
    whole: Stream,
    counting: Option<(Vec<u8>, Stream, Vec<u8>)>,
}

impl BodySum {
    /// Begins; `boundary` separates the parts, in a multipart body (RFC 2046, 5.1).
    #[must_use]
    pub fn new(boundary: Option<Vec<u8>>) -> Self {
        let counting = boundary.filter(|boundary| !boundary.is_empty());
        Self {
            whole: Stream::default(),
            counting: counting.map(|boundary| (boundary, Stream::default(), Vec::new())),
        }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.whole.feed(bytes);
        let Some((boundary, stream, held)) = &mut self.counting else {
            return;
        };
        held.extend_from_slice(bytes);
        let mut rest = &held[..];
        while let Some(at) = memchr::memmem::find(rest, boundary) {
            stream.feed(&rest[..at]);
            rest = &rest[at + boundary.len()..];
        }
        // What is left may be the beginning of one.
        let sure = rest.len().saturating_sub(boundary.len() - 1);
        stream.feed(&rest[..sure]);
        *held = rest[sure..].to_vec();
    }

    /// The digest of all bytes, and that of those that count.
    #[must_use]
    pub fn end(self) -> (Digest, Digest) {
        let whole = self.whole.digest();
        let counting = self.counting.map(|(_, mut stream, held)| {
            stream.feed(&held);
            stream.digest()
        });
        (whole, counting.unwrap_or(whole))
    }
}

/// What separates the parts of a body of this type.
#[must_use]
pub fn boundary(content_type: &str) -> Option<Vec<u8>> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').into())
    })
}

/// The headers that say what is asked for, where they are there: which operation (of AWS and of
/// SOAP), which part, and on which condition (RFC 9110, 13 and 14).
const ASKED: [&str; 8] = [
    "x-amz-target",
    "soapaction",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
];

/// What makes a request the same as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Equal for equal requests.
    pub digest: Digest,
    /// Equal for requests that are equal in what is not in their key, where they have one.
    pub rest: Option<Digest>,
}

/// A field that a rule names as the key is not in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoKey(pub Field);

/// What makes a request the same as another, where `key` identifies it, if that is not empty,
/// and `ignore` makes no difference.
///
/// # Errors
/// If it lacks a field of its key.
pub fn identity(request: &Request<'_>, key: &[Field], ignore: &[Field]) -> Result<Identity, NoKey> {
    let Target { method, scheme, host, port, path, .. } = request.target;
    let mut whole = Fields::new("call");
    for (tag, value) in [("method", method), ("scheme", scheme), ("host", host), ("path", path)] {
        whole.put(tag, value.as_bytes());
    }
    whole.put("port", &port.to_le_bytes());
    let place = whole.clone();
    for (name, value) in parameters(request.target.query) {
        let is_ignored = |field: &Field| matches!(field, Field::Query(ignored) if *ignored == name);
        if !signs(&name) && !ignore.iter().any(is_ignored) {
            whole.put(&name, value.as_bytes());
        }
    }
    for name in ASKED {
        if let Some(value) = header(request.head, name) {
            whole.put(name, value.as_bytes());
        }
    }
    whole.put("body", fields::body_without(request, ignore).as_bytes());
    let whole = whole.digest();
    if key.is_empty() {
        return Ok(Identity { digest: whole, rest: None });
    }
    let mut keyed = place;
    for field in key {
        let value = fields::value(request, field).ok_or_else(|| NoKey(field.clone()))?;
        keyed.put(&field.to_string(), value.as_bytes());
    }
    Ok(Identity { digest: keyed.digest(), rest: Some(whole) })
}

/// Whether a request, or an answer, has a field.
#[must_use]
pub fn has(request: &Request<'_>, field: &Field) -> bool {
    fields::value(request, field).is_some()
}

/// The parameters of a query, in the order of their names.
fn parameters(query: &str) -> Vec<(String, String)> {
    let mut all: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all
}

/// Whether a parameter belongs to a signature in a URL, and changes by itself: of AWS
/// (`X-Amz-`), Google Cloud (`X-Goog-`) and shared access signatures of Azure.
fn signs(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with("x-amz-")
        || lower.starts_with("x-goog-")
        || matches!(lower.as_str(), "sig" | "signature" | "access_token")
}

/// Whether a parameter's value is not shown: it is a credential, or may be one.
fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    signs(name)
        || ["key", "token", "secret", "password", "passwd", "auth", "credential"]
            .iter()
            .any(|word| lower.contains(word))
}

/// A URL as it may be kept and shown.
#[must_use]
pub fn shown_url(target: &Target<'_>) -> String {
    shown_url_without(target, &[])
}

/// The same, where further parameters of the query are not to be kept.
#[must_use]
pub fn shown_url_without(target: &Target<'_>, redact: &[Field]) -> String {
    let is_redacted = |name: &str| {
        redact.iter().any(|field| matches!(field, Field::Query(redacted) if redacted == name))
    };
    let Target { scheme, host, port, path, query, .. } = target;
    let usual = matches!((*scheme, *port), ("http", 80) | ("https", 443));
    let mut url = format!("{scheme}://{host}");
    if !usual {
        url.push_str(&format!(":{port}"));
    }
    url.push_str(path);
    for (at, part) in query.split('&').filter(|part| !part.is_empty()).enumerate() {
        url.push(if at == 0 { '?' } else { '&' });
        match part.split_once('=') {
            Some((name, _)) if is_secret(name) || is_redacted(name) => {
                url.push_str(name);
                url.push_str("=***");
            }
            _ => url.push_str(part),
        }
    }
    url
}

/// The target that a URL shows; `None`, if it cannot be told.
#[must_use]
pub fn target<'a>(method: &'a str, url: &'a str) -> Option<Target<'a>> {
    let (scheme, rest) = url.split_once("://")?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(at);
    let usual = if scheme == "http" { 80 } else { 443 };
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, usual),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    Some(Target { method, scheme, host, port, path, query })
}

/// Whether a body has what is not to be kept, or may have: it cannot be looked into where it is
/// too large, or packed.
#[must_use]
pub fn hides(request: &Request<'_>, redact: &[Field]) -> bool {
    let is_open =
        request.body.bytes.is_some() && header(request.head, "content-encoding").is_none();
    let mut redact = redact.iter().filter(|field| matches!(field, Field::Body(_)));
    redact.any(|field| !is_open || has(request, field))
}

/// What of the head of a request is kept: what says how its body is to be read, and nothing
/// that could be a credential.
#[must_use]
pub fn kept_of_request(head: &Head) -> Head {
    const KEPT: [&str; 5] =
        ["content-type", "content-encoding", "content-language", "accept", "user-agent"];
    let is_kept = |name: &str| KEPT.contains(&name) || ASKED.contains(&name);
    head.iter().filter(|(name, _)| is_kept(&name.to_ascii_lowercase())).cloned().collect()
}

/// What of the head of an answer is kept: all that a replay needs, but for what logs in.
#[must_use]
pub fn kept_of_answer(head: &Head) -> Head {
    const LEFT_OUT: [&str; 4] =
        ["set-cookie", "set-cookie2", "authorization", "proxy-authenticate"];
    let is_kept = |name: &str| {
        let name = name.to_ascii_lowercase();
        !LEFT_OUT.contains(&name.as_str()) && !name.contains("token") && !name.contains("secret")
    };
    head.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
}

/// Whether a request asks for a token: what it gets is a credential, and is never kept
/// (RFC 6749, 4).
#[must_use]
pub fn asks_for_token(request: &Request<'_>) -> bool {
    let Some(bytes) = request.body.bytes.as_deref() else {
        return false;
    };
    if is_form(request.head) {
        return url::form_urlencoded::parse(bytes).any(|(name, _)| name == "grant_type");
    }
    // The standard knows forms only; some take JSON.
    is_json(request.head) && in_json(bytes, "/grant_type").is_some()
}

/// The value of a field of a head.
#[must_use]
pub fn header<'a>(head: &'a Head, name: &str) -> Option<&'a str> {
    let found = head.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.and_then(|(_, value)| std::str::from_utf8(value).ok())
}

fn content_type(head: &Head) -> String {
    header(head, "content-type").unwrap_or_default().to_ascii_lowercase()
}

fn is_form(head: &Head) -> bool {
    content_type(head).starts_with("application/x-www-form-urlencoded")
}

fn is_json(head: &Head) -> bool {
    let kind = content_type(head);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    (kind == "application/json"
        || kind.ends_with("+json")
        || kind.starts_with("application/x-amz-json"))
        && header(head, "content-encoding").is_none()
}

#[cfg(test)]
mod tests;
