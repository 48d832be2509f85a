//! Which calls a rule is for: `POST api.example.com/v1/*`.
//!
//! A pattern is a method (or several, `GET|HEAD`, or `*`), a blank, and a URL: the scheme may
//! be left out, and the port, and the query; what is left out matches any. `*` stands for any
//! characters but `/`, `**` for any at all.

use std::fmt;

/// Which calls a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Upper case; empty: any.
    methods: Vec<String>,
    scheme: Option<String>,
    host: String,
    port: Option<String>,
    path: String,
    query: Option<String>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no method.
    #[error("wants a method and a URL: `POST api.example.com/v1/*`, or `* api.example.com/**`")]
    NoMethod,
    /// The method is none.
    #[error("`{0}` is not a method")]
    Method(String),
    /// There is no host.
    #[error("the URL has no host")]
    NoHost,
    /// The host is none.
    #[error("`{0}` cannot be a host")]
    Host(String),
    /// The scheme is none that a call has.
    #[error("`{0}` is not `http` or `https`")]
    Scheme(String),
}

/// Where a request goes, as patterns see it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, lower case.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The path, with the `/` that it begins with.
    pub path: &'a str,
    /// What follows the `?`, or nothing.
    pub query: &'a str,
}

impl Pattern {
    /// Reads `POST api.example.com/v1/*`. A path that is left out stands for any.
    ///
    /// # Errors
    /// If there is no method or no host.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (methods, url) = text.trim().split_once(' ').ok_or(PatternError::NoMethod)?;
        let url = url.trim();
        let methods = match methods {
            "*" => Vec::new(),
            list => list.split('|').map(str::to_owned).collect(),
        };
        let is_method = |method: &String| {
            !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        if let Some(wrong) = methods.iter().find(|method| !is_method(method)) {
            return Err(PatternError::Method(wrong.clone()));
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_ascii_lowercase()), rest),
            None => (None, url),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/**"),
        };
        let (host, port) = split_port(authority);
        if host.is_empty() {
            return Err(PatternError::NoHost);
        }
        if !host.chars().all(|c| c.is_alphanumeric() || "-._*:[]".contains(c)) {
            return Err(PatternError::Host(host.to_owned()));
        }
        if let Some(scheme) =
            scheme.as_ref().filter(|scheme| !["http", "https", "*"].contains(&scheme.as_str()))
        {
            return Err(PatternError::Scheme(scheme.clone()));
        }
        Ok(Self {
            text: text.trim().to_owned(),
            methods,
            scheme,
            host: host.to_ascii_lowercase(),
            port: port.map(str::to_owned),
            path: path.to_owned(),
            query,
        })
    }

    /// The pattern of all calls.
    #[must_use]
    pub fn any() -> Self {
        Self {
            text: "* **".to_owned(),
            methods: Vec::new(),
            scheme: None,
            host: "**".to_owned(),
            port: None,
            path: "/**".to_owned(),
            query: None,
        }
    }

    /// The only host that it is for, if there is one.
    #[must_use]
    pub fn only_host(&self) -> Option<&str> {
        (!self.host.contains('*')).then_some(self.host.as_str())
    }

    /// Whether it is for a request.
    #[must_use]
    pub fn matches(&self, target: &Target<'_>) -> bool {
        let fits = |pattern: &Option<String>, value: &str| {
            pattern.as_ref().is_none_or(|pattern| is_like(pattern, value))
        };
        (self.methods.is_empty() || self.methods.iter().any(|method| method == target.method))
            && fits(&self.scheme, target.scheme)
            && is_like(&self.host, target.host)
            && is_like(&self.path, target.path)
            && (self.port.is_none() || fits(&self.port, &target.port.to_string()))
            && fits(&self.query, target.query)
    }

    /// Whether it is for a request that is kept as its method and the text of its URL; of a
    /// text that is no URL nothing is known.
    ///
    /// ```
    /// use semel::words::call::Pattern;
    /// let pattern = Pattern::parse("POST api.example.com/v1/*").unwrap();
    /// assert!(pattern.matches_url("POST", "https://api.example.com/v1/orders?a=b"));
    /// assert!(!pattern.matches_url("POST", "https://api.example.com/v2/orders"));
    /// ```
    #[must_use]
    pub fn matches_url(&self, method: &str, url: &str) -> bool {
        let Ok(url) = url::Url::parse(url) else {
            return false;
        };
        self.matches(&Target {
            method,
            scheme: url.scheme(),
            host: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default().unwrap_or_default(),
            path: url.path(),
            query: url.query().unwrap_or_default(),
        })
    }

    /// Whether it is for every request that another is for. In doubt it is not.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let part = |own: &Option<String>, others: &Option<String>| match (own, others) {
            (None, _) => true,
            (Some(own), Some(others)) => covers(own, others),
            (Some(own), None) => own == "**",
        };
        let methods = self.methods.is_empty()
            || !other.methods.is_empty()
                && other.methods.iter().all(|method| self.methods.contains(method));
        methods
            && part(&self.scheme, &other.scheme)
            && covers(&self.host, &other.host)
            && part(&self.port, &other.port)
            && covers(&self.path, &other.path)
            && part(&self.query, &other.query)
    }

    /// Whether a request can be thought of that both are for.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || other.methods.is_empty()
            || self.methods.iter().any(|method| other.methods.contains(method));
        let both = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => meet(one.as_bytes(), other.as_bytes()),
            _ => true,
        };
        methods
            && both(&self.scheme, &other.scheme)
            && meet(self.host.as_bytes(), other.host.as_bytes())
            && both(&self.port, &other.port)
            && meet(self.path.as_bytes(), other.path.as_bytes())
            && both(&self.query, &other.query)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The host of an authority, in brackets if it is an address of six, and its port.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// What a pattern begins with: its star and what follows, or a byte and what follows.
enum Head<'a> {
    End,
    /// Any characters, a `/` among them or not.
    Star {
        any: bool,
        rest: &'a [u8],
    },
    Byte(u8),
}

fn head(pattern: &[u8]) -> Head<'_> {
    match pattern {
        [] => Head::End,
        [b'*', b'*', rest @ ..] => Head::Star { any: true, rest },
        [b'*', rest @ ..] => Head::Star { any: false, rest },
        [byte, ..] => Head::Byte(*byte),
    }
}

/// Whether a text is what a pattern stands for.
fn is_like(pattern: &str, text: &str) -> bool {
    // It is asked of every call: most patterns are plain, or have one star.
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (any, end) = match rest.strip_prefix('*') {
        Some(end) => (true, end),
        None => (false, rest),
    };
    match text.strip_prefix(start) {
        None => false,
        // A plain text is a pattern without stars.
        Some(_) if end.contains('*') => meet_from(pattern.as_bytes(), text.as_bytes(), false),
        Some(text) => text.strip_suffix(end).is_some_and(|middle| any || !middle.contains('/')),
    }
}

/// Whether a pattern stands for every text that another stands for: for those in which each
/// star of that is a character like any other, with and without a `/`.
fn covers(own: &str, others: &str) -> bool {
    is_like(own, &others.replace("**", "*")) && is_like(own, &others.replace("**", "*/*"))
}

/// Whether two patterns stand for a text in common.
fn meet(one: &[u8], other: &[u8]) -> bool {
    meet_from(one, other, true)
}

/// `stars`: whether the stars of `other` are stars.
fn meet_from(one: &[u8], other: &[u8], stars: bool) -> bool {
    // Whether the tails from here to there meet, from the ends on: no text takes long.
    let (rows, columns) = (one.len() + 1, other.len() + 1);
    let mut meets = vec![false; rows * columns];
    let head_of_other = |at: &[u8]| -> (bool, bool, usize) {
        match head(at) {
            Head::Star { any, rest } if stars => (true, any, at.len() - rest.len()),
            _ => (false, false, 1),
        }
    };
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let tail = |i: usize, j: usize| meets[i * columns + j];
            let (left, right) = (&one[i..], &other[j..]);
            let (is_star, any_right, step) = head_of_other(right);
            meets[i * columns + j] = match head(left) {
                Head::Star { any, rest } => {
                    let next = i + (left.len() - rest.len());
                    // It stands for nothing, or takes one more.
                    tail(next, j)
                        || (!right.is_empty()
                            && if is_star {
                                tail(i, j + step)
                            } else {
                                (any || right[0] != b'/') && tail(i, j + 1)
                            })
                }
                _ if is_star => {
                    tail(i, j + step)
                        || left
                            .first()
                            .is_some_and(|byte| (any_right || *byte != b'/') && tail(i + 1, j))
                }
                Head::End => right.is_empty(),
                Head::Byte(byte) => right.first() == Some(&byte) && tail(i + 1, j + 1),
            };
        }
    }
    meets[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target<'a>(
        method: &'a str,
        host: &'a str,
        port: u16,
        path: &'a str,
        query: &'a str,
    ) -> Target<'a> {
        Target { method, scheme: "https", host, port, path, query }
    }

    #[test]
    fn a_pattern_leaves_out_what_does_not_matter() {
        let at = target("POST", "api.example.com", 443, "/v1/orders/17", "a=b");
        for yes in [
            "POST api.example.com/v1/orders/*",
            "GET|POST api.example.com/**",
            "* *.example.com",
            "POST https://api.example.com:443/v1/**",
            "POST api.example.com/v1/orders/17?a=*",
        ] {
            assert!(Pattern::parse(yes).unwrap().matches(&at), "{yes}");
        }
        for no in [
            "GET api.example.com/v1/orders/*",
            "POST api.example.com/v1/*",
            "POST http://api.example.com/**",
            "POST api.example.com:8443/**",
            "POST example.com/**",
            "POST api.example.com/v1/orders/17?a=c",
        ] {
            assert!(!Pattern::parse(no).unwrap().matches(&at), "{no}");
        }
    }

    #[test]
    fn two_patterns_overlap_where_a_request_fits_both() {
        for (one, other, yes) in [
            ("POST a.com/v1/*", "POST a.com/v1/x", true),
            ("POST a.com/v1/*", "GET a.com/v1/x", false),
            ("* *.com/**", "POST a.*/v1/x*", true),
            ("POST a.com/*/x", "POST a.com/y/*", true),
            ("POST a.com/*/x", "POST a.com/y/z", false),
            ("POST a.com/*", "POST a.com/y/z", false),
            ("POST a.com/**", "POST b.com/**", false),
        ] {
            let parse = |text| Pattern::parse(text).unwrap();
            assert_eq!(parse(one).overlaps(&parse(other)), yes, "{one} | {other}");
            assert_eq!(parse(other).overlaps(&parse(one)), yes, "{other} | {one}");
        }
    }

    #[test]
    fn a_wider_pattern_covers_a_narrower_one() {
        for (one, other, yes) in [
            ("* **", "POST a.com/v1/*", true),
            ("POST a.com/**", "POST a.com/v1/*", true),
            ("POST a.com/*", "POST a.com/**", false),
            ("POST a.com/*", "POST a.com/*", true),
            ("POST a.com/**", "* a.com/v1/*", false),
            ("* https://a.com", "* a.com", false),
            ("* *.a.com", "* b.a.com/x", true),
        ] {
            let parse = |text| Pattern::parse(text).unwrap();
            assert_eq!(parse(one).covers(&parse(other)), yes, "{one} | {other}");
        }
    }

    #[test]
    fn what_is_no_pattern_says_what_it_wants() {
        assert_eq!(Pattern::parse("api.example.com"), Err(PatternError::NoMethod));
        assert_eq!(Pattern::parse("post a.com"), Err(PatternError::Method("post".to_owned())));
        assert_eq!(Pattern::parse("POST /v1"), Err(PatternError::NoHost));
        assert_eq!(Pattern::parse("POST a@b.com"), Err(PatternError::Host("a@b.com".to_owned())));
        assert_eq!(Pattern::parse("GET ftp://a.com"), Err(PatternError::Scheme("ftp".to_owned())));
    }
}
