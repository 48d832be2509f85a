//! Heads of messages: what belongs to one connection stays there.

use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Uri};

use crate::ground::http::upstream::{Origin, Scheme};
use crate::words::call::Head;

/// What is said from one end of a connection to the other (RFC 9110, 7.6.1), and to us.
const HOPS: [&str; 8] = [
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authorization",
    "proxy-authenticate",
    "transfer-encoding",
    "upgrade",
    // The whole request is there before it is sent: nobody need wait for a word.
    "expect",
];

/// A head as words.
pub(super) fn of(headers: &HeaderMap) -> Head {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// And back; what no header can be is left out.
pub(super) fn to_map(head: &Head) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(head.len());
    for (name, value) in head {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// Removes what is said of the connection only.
pub(super) fn remove_hops(headers: &mut HeaderMap) {
    let named: Vec<_> =
        listed(headers, "connection").filter_map(|name| HeaderName::try_from(name).ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOPS {
        headers.remove(name);
    }
    let wants_trailers =
        headers.get("te").is_some_and(|te| te.to_str().is_ok_and(|te| te.contains("trailers")));
    headers.remove("te");
    if wants_trailers {
        headers.insert("te", HeaderValue::from_static("trailers"));
    }
}

/// Whether the client wants to speak something else than HTTP from here on. A newer HTTP, or
/// HTTP in TLS, is none: its server may go on as it began (RFC 9110, 7.8), and does, since
/// it is not asked.
pub(super) fn is_upgrade(headers: &HeaderMap) -> bool {
    let is_http = |protocol: &str| {
        let name = protocol.split('/').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["h2", "h2c", "http", "tls"].contains(&name.as_str())
    };
    let mut protocols = listed(headers, "upgrade").peekable();
    protocols.peek().is_some()
        && !protocols.any(is_http)
        && listed(headers, "connection").any(|option| option.eq_ignore_ascii_case("upgrade"))
}

/// What headers of a name list (RFC 9110, 5.6.1).
fn listed<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

/// A request for a server; `key` is added, or takes the place of the client's.
pub(super) fn request<B>(
    parts: &Parts,
    to: &Origin,
    key: Option<(&str, &str)>,
    body: B,
) -> Request<B> {
    let mut headers = parts.headers.clone();
    remove_hops(&mut headers);
    if let Some((name, value)) = key
        && let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
    {
        headers.insert(name, value);
    }
    build(parts, to, headers, body)
}

/// The same, of a request that wants to speak something else.
pub(super) fn upgrade_request<B>(parts: &Parts, to: &Origin, body: B) -> Request<B> {
    let mut headers = parts.headers.clone();
    headers.remove("proxy-authorization");
    headers.remove("proxy-connection");
    build(parts, to, headers, body)
}

fn build<B>(parts: &Parts, to: &Origin, mut headers: HeaderMap, body: B) -> Request<B> {
    let authority = to.authority();
    if !headers.contains_key("host")
        && let Ok(host) = HeaderValue::try_from(authority.as_str())
    {
        headers.insert("host", host);
    }
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let scheme = match to.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = uri.unwrap_or_else(|_| parts.uri.clone());
    *request.headers_mut() = headers;
    // In which case the client wrote its headers.
    *request.extensions_mut() = parts.extensions.clone();
    request
}
