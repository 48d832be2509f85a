//! The proxy through which the user reaches the world, as the environment says.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use url::Url;

use super::{Origin, Scheme, bracketed};

/// The user's proxies, and what does not go through them.
#[derive(Clone, Debug, Default)]
pub struct UserProxy {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    not: Vec<Excepted>,
}

/// A proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Whether it is itself spoken to in TLS.
    pub is_encrypted: bool,
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What shows it who we are.
    pub authorization: Option<HeaderValue>,
}

/// What does not go through a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Excepted {
    Everything,
    /// A name, and all below it.
    Below {
        name: String,
        port: Option<u16>,
    },
    /// The addresses that begin with these bits.
    Block {
        address: IpAddr,
        bits: u32,
    },
}

impl UserProxy {
    /// What an environment says.
    ///
    /// # Errors
    /// If it names a proxy that semel cannot use.
    pub fn of(environment: &BTreeMap<OsString, OsString>) -> Result<Self, String> {
        let said = |names: &[&'static str]| {
            names.iter().find_map(|name| {
                let value = environment.get(OsStr::new(name))?.to_str()?.trim();
                (!value.is_empty()).then_some((*name, value))
            })
        };
        let proxy = |names: &[&'static str]| match said(names) {
            Some((name, value)) => {
                Proxy::read(value).map(|proxy| Some(Arc::new(proxy))).map_err(|why| {
                    // There may be a password in it.
                    format!("{name} names a proxy that semel cannot use: {why}")
                })
            }
            None => Ok(None),
        };
        let not = said(&["no_proxy", "NO_PROXY"]).map_or("", |(_, value)| value);
        Ok(Self {
            http: proxy(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])?,
            https: proxy(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])?,
            not: not.split([',', ' ']).filter_map(Excepted::read).collect(),
        })
    }

    /// The proxy towards a server, if there is one. This machine is reached without.
    pub(super) fn towards(&self, to: &Origin) -> Option<&Arc<Proxy>> {
        let proxy = match to.scheme {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        };
        proxy.filter(|_| !is_this_machine(&to.host) && !self.not.iter().any(|not| not.is(to)))
    }
}

impl Proxy {
    fn read(text: &str) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|error| error.to_string())?;
        let is_encrypted = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("it speaks {other}, and not http or https")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("it has no host")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().ok_or("it has no port")?;
        Ok(Self { is_encrypted, host, port, authorization: authorization(&url)? })
    }
}

fn authorization(url: &Url) -> Result<Option<HeaderValue>, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let mut who = unquoted(url.username());
    who.push(b':');
    who.extend(unquoted(url.password().unwrap_or_default()));
    let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(who)));
    let mut value = value.map_err(|_| "its password cannot be sent")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Text in which percent signs stood for other bytes.
fn unquoted(text: &str) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let quoted = after.get(..2).filter(|_| byte == b'%');
        let quoted = quoted.and_then(|digits| std::str::from_utf8(digits).ok());
        match quoted.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[2..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the proxy {}:{}", bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({}:{})", bracketed(&self.host), self.port)
    }
}

impl Excepted {
    fn read(text: &str) -> Option<Self> {
        match text {
            "" => return None,
            "*" => return Some(Self::Everything),
            _ => {}
        }
        if let Some((address, bits)) = text.split_once('/') {
            return Some(Self::Block { address: address.parse().ok()?, bits: bits.parse().ok()? });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Some(Self::Block { address, bits: 128 });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let name = name.trim_start_matches('*').trim_matches('.').to_ascii_lowercase();
        Some(Self::Below { name, port })
    }

    fn is(&self, to: &Origin) -> bool {
        match self {
            Self::Everything => true,
            Self::Below { name, port } => {
                let host = to.host.trim_end_matches('.').to_ascii_lowercase();
                let above = host.strip_suffix(name.as_str());
                port.is_none_or(|port| port == to.port)
                    && above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            Self::Block { address, bits } => match (*address, to.host.parse()) {
                (IpAddr::V4(block), Ok(IpAddr::V4(host))) => {
                    let away = 32_u32.saturating_sub(*bits);
                    (block.to_bits() ^ host.to_bits()).checked_shr(away).unwrap_or(0) == 0
                }
                (IpAddr::V6(block), Ok(IpAddr::V6(host))) => {
                    let away = 128_u32.saturating_sub(*bits);
                    (block.to_bits() ^ host.to_bits()).checked_shr(away).unwrap_or(0) == 0
                }
                _ => false,
            },
        }
    }
}

fn is_this_machine(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(said: &[(&str, &str)]) -> Result<UserProxy, String> {
        let environment = said.iter().map(|(name, value)| (name.into(), value.into())).collect();
        UserProxy::of(&environment)
    }

    fn towards(proxies: &UserProxy, scheme: Scheme, host: &str) -> Option<String> {
        let to = Origin { scheme, host: host.to_owned(), port: 8080, h2_plain: false };
        proxies.towards(&to).map(|proxy| format!("{}:{}", proxy.host, proxy.port))
    }

    #[test]
    fn each_scheme_has_its_own() {
        let both = proxies(&[("HTTP_PROXY", "one:3128"), ("https_proxy", "http://two")]).unwrap();
        assert_eq!(towards(&both, Scheme::Http, "example.com").unwrap(), "one:3128");
        assert_eq!(towards(&both, Scheme::Https, "example.com").unwrap(), "two:80");
        let none = proxies(&[("HTTP_PROXY", "")]).unwrap();
        assert_eq!(towards(&none, Scheme::Http, "example.com"), None);
        let all = proxies(&[("ALL_PROXY", "https://[2001:db8::1]:1")]).unwrap();
        assert_eq!(towards(&all, Scheme::Https, "example.com").unwrap(), "2001:db8::1:1");
    }

    #[test]
    fn what_is_excepted_is_reached_without() {
        let not = ".internal, example.org 10.0.0.0/8,192.0.2.7,plain:81,2001:db8::/32";
        let all = proxies(&[("ALL_PROXY", "proxy:1"), ("NO_PROXY", not)]).unwrap();
        for without in [
            "a.internal",
            "internal",
            "example.org",
            "api.EXAMPLE.org",
            "10.1.2.3",
            "192.0.2.7",
            "2001:db8::5",
            "localhost",
            "127.0.0.1",
            "::1",
            "app.localhost",
        ] {
            assert_eq!(towards(&all, Scheme::Https, without), None, "{without}");
        }
        for with in ["notexample.org", "11.0.0.1", "192.0.2.8", "plain", "2001:db9::5"] {
            assert!(towards(&all, Scheme::Https, with).is_some(), "{with}");
        }
        let everything = proxies(&[("ALL_PROXY", "proxy:1"), ("no_proxy", "*")]).unwrap();
        assert_eq!(towards(&everything, Scheme::Http, "example.com"), None);
    }

    #[test]
    fn who_we_are_is_for_the_proxy_alone() {
        let all = proxies(&[("ALL_PROXY", "http://me:p%40ss@proxy:1")]).unwrap();
        let proxy = all.https.unwrap();
        assert_eq!(proxy.authorization.as_ref().unwrap(), "Basic bWU6cEBzcw==");
        assert!(!format!("{proxy:?} {proxy}").contains("p@ss"));
    }

    #[test]
    fn a_proxy_of_another_kind_is_refused_loudly() {
        let error = proxies(&[("https_proxy", "socks5://me:secret@proxy:1080")]).unwrap_err();
        assert!(error.contains("https_proxy") && error.contains("socks5"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
