//! The shape of a request in each version of HTTP.
//!
//! Invariant: either shape can be made of either. What a version has no place for is
//! left out; nothing else is.

use hyper::header::{
    CONNECTION, COOKIE, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use hyper::http::uri::{Authority, PathAndQuery, Scheme as UriScheme};
use hyper::{Request, Uri, Version};

use super::{Origin, Proxy, Scheme};

/// What is between neighbours in HTTP/1, and must not be in HTTP/2.
const NEIGHBOURLY: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Whether a request wants to go on in another protocol, which only HTTP/1.1 has.
pub(super) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.headers().contains_key(UPGRADE)
}

/// Makes it one of HTTP/1.1; of the kind for proxies, if it goes through one.
pub(super) fn one<B>(request: &mut Request<B>, to: &Origin, through: Option<&Proxy>) {
    if !request.headers().contains_key(HOST) {
        let host = authority(request, to);
        if let Ok(host) = HeaderValue::from_str(&host) {
            request.headers_mut().insert(HOST, host);
        }
    }
    join_cookies(request);
    let path = path(request.uri());
    *request.uri_mut() = match through {
        Some(_) => absolute(to.scheme, &to.authority(), path),
        None => Uri::from(path),
    };
    *request.version_mut() = Version::HTTP_11;
    if let Some(said) = through.and_then(|proxy| proxy.authorization.clone()) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, said);
    }
}

/// Makes it one of HTTP/2.
pub(super) fn two<B>(request: &mut Request<B>, to: &Origin) {
    let authority = authority(request, to);
    let path = path(request.uri());
    let headers = request.headers_mut();
    headers.remove(HOST);
    for name in NEIGHBOURLY {
        headers.remove(name);
    }
    if headers.get(TE).is_some_and(|te| te != "trailers") {
        headers.remove(TE);
    }
    *request.uri_mut() = absolute(to.scheme, &authority, path);
    *request.version_mut() = Version::HTTP_2;
}

/// Whom a request is for: as it says itself, or else its origin.
fn authority<B>(request: &Request<B>, to: &Origin) -> String {
    let of_url = request.uri().authority().map(Authority::as_str);
    // A name and a password in there are for nobody else.
    let of_url = of_url.map(|text| text.rsplit_once('@').map_or(text, |(_, host)| host));
    let of_host = || request.headers().get(HOST).and_then(|host| host.to_str().ok());
    of_url
        .or_else(of_host)
        .filter(|text| text.parse::<Authority>().is_ok())
        .map_or_else(|| to.authority(), str::to_owned)
}

fn path(of: &Uri) -> PathAndQuery {
    of.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

fn absolute(scheme: Scheme, authority: &str, path: PathAndQuery) -> Uri {
    let scheme = match scheme {
        Scheme::Http => UriScheme::HTTP,
        Scheme::Https => UriScheme::HTTPS,
    };
    let mut parts = hyper::http::uri::Parts::default();
    parts.authority = authority.parse().ok();
    parts.scheme = parts.authority.is_some().then_some(scheme);
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(path))
}

/// HTTP/2 may have cookies in several headers, HTTP/1 has one for all.
fn join_cookies<B>(request: &mut Request<B>) {
    let headers = request.headers_mut();
    let mut cookies = headers.get_all(COOKIE).iter();
    if cookies.by_ref().nth(1).is_none() {
        return;
    }
    let all: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(one) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(COOKIE, one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(scheme: Scheme, port: u16) -> Origin {
        Origin { scheme, host: "api.example.com".to_owned(), port, h2_plain: false }
    }

    fn of<'r>(request: &'r Request<()>, name: &str) -> Option<&'r str> {
        request.headers().get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn a_request_of_http_2_becomes_one_of_http_1() {
        let mut request = Request::post("https://api.example.com/charge?n=1")
            .version(Version::HTTP_2)
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(())
            .unwrap();
        one(&mut request, &origin(Scheme::Https, 443), None);
        assert_eq!(request.uri(), "/charge?n=1");
        assert_eq!(of(&request, "host"), Some("api.example.com"));
        assert_eq!(of(&request, "cookie"), Some("a=1; b=2"));
        assert_eq!(request.version(), Version::HTTP_11);
    }

    #[test]
    fn and_one_of_http_1_becomes_one_of_http_2() {
        let mut request = Request::post("/charge?n=1")
            .header("host", "other.example.com:8443")
            .header("connection", "keep-alive")
            .header("te", "gzip")
            .header("x-mine", "1")
            .body(())
            .unwrap();
        two(&mut request, &origin(Scheme::Https, 8443));
        assert_eq!(request.uri(), "https://other.example.com:8443/charge?n=1");
        assert_eq!(request.headers().len(), 1);
        assert_eq!(request.version(), Version::HTTP_2);
        one(&mut request, &origin(Scheme::Https, 8443), None);
        assert_eq!(request.uri(), "/charge?n=1");
        assert_eq!(of(&request, "host"), Some("other.example.com:8443"));
    }

    #[test]
    fn a_proxy_is_told_all_of_it() {
        let proxy = Proxy {
            is_encrypted: false,
            host: "proxy".to_owned(),
            port: 3128,
            authorization: Some(HeaderValue::from_static("Basic eA==")),
        };
        let mut request = Request::get("/a").header("host", "api.example.com").body(()).unwrap();
        one(&mut request, &origin(Scheme::Http, 8080), Some(&proxy));
        assert_eq!(request.uri(), "http://api.example.com:8080/a");
        assert_eq!(of(&request, "proxy-authorization"), Some("Basic eA=="));
    }

    #[test]
    fn the_whole_server_can_be_asked() {
        let mut request = Request::options("*").body(()).unwrap();
        one(&mut request, &origin(Scheme::Http, 80), None);
        assert_eq!(request.uri(), "*");
    }
}
