//! The URL of a database on a server: `//[user@]host[:port]/database?name=value&…`.
//!
//! Invariant: a password is refused wherever it stands, and no error shows a part of it;
//! that holds also for one with characters in it that should have been encoded, and
//! that end the part of the URL in which it stands too early.

use super::sources::{Layer, Said, or_near};

/// Names of parameters that would carry a password.
const SECRETS: [&str; 5] = ["password", "passwd", "pass", "pwd", "sslpassword"];

/// How an error about the URL begins.
const BY: &str = "the URL";

/// What differs from one engine to the other.
pub(super) struct Dialect {
    /// What stands before the colon.
    pub(super) scheme: &'static str,
    /// The parameters that may be given.
    pub(super) parameters: &'static [&'static str],
    /// The one of them that the path is.
    pub(super) database: &'static str,
    /// Whether a dash in a parameter's name may be written as an underscore.
    pub(super) has_dashes: bool,
    /// Where a password belongs.
    pub(super) password: &'static str,
}

/// Reads what stands behind the colon of the scheme.
pub(super) fn read(rest: &str, dialect: &Dialect) -> Result<Layer, String> {
    let scheme = dialect.scheme;
    let mut layer = Layer::new();
    let after = match rest.strip_prefix("//") {
        Some(after) => after,
        None if rest.is_empty() || rest.starts_with('?') => rest,
        None => {
            return Err(format!(
                "after `{scheme}:` comes `//`, as in `{scheme}://host/database`, or nothing: then \
                 variables and files say all"
            ));
        }
    };
    if has_password(after) {
        return Err(refusal(dialect));
    }
    let (place, query) = after.split_once('?').map_or((after, None), |(a, b)| (a, Some(b)));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = split_port(authority)?;
    for (name, text) in [
        ("user", user),
        ("host", host),
        ("port", port.unwrap_or_default()),
        (dialect.database, path),
    ] {
        // As libpq has it: what is empty here is not said, other than in a parameter.
        if !text.is_empty() {
            layer.insert(name.to_owned(), Said::new(decoded(text, name)?, BY));
        }
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("{BY}: a parameter has no `=`"));
        };
        let mut name = decoded(name, "the name of a parameter")?;
        if SECRETS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(refusal(dialect));
        }
        if dialect.has_dashes {
            name = name.replace('_', "-");
        }
        if !dialect.parameters.contains(&name.as_str()) {
            // What stands behind a question mark in a password is taken for a parameter.
            let shown = if after.contains('@') { String::new() } else { format!(" `{name}`") };
            let help = or_near(&name, dialect.parameters);
            return Err(format!("{BY}: semel knows no parameter{shown}; {help}"));
        }
        let value = decoded(value, &format!("`{name}`"))?;
        layer.insert(name, Said::new(value, BY));
    }
    Ok(layer)
}

/// Why a password is not taken.
fn refusal(dialect: &Dialect) -> String {
    format!("a password does not belong into a pipeline file: {}", dialect.password)
}

/// Whether there is a password before the host, or what looks like one.
fn has_password(after: &str) -> bool {
    let end = after.find(['/', '?']).unwrap_or(after.len());
    let (authority, tail) = after.split_at(end);
    let (user, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return true;
    }
    // In `user:pa/ss@host` the password ends what looks like a host and its port.
    let path = tail.split_once('?').map_or(tail, |(path, _)| path);
    let is_no_port = |port: &str| !port.bytes().all(|byte| byte.is_ascii_digit());
    tail.contains('@')
        && matches!(split_port(authority), Ok((_, Some(port))) if is_no_port(port) || path.contains('@'))
}

/// The host, without the brackets of an IPv6 address, and the port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, "")) => Ok((host, None)),
            Some((host, port)) if port.starts_with(':') => Ok((host, Some(&port[1..]))),
            _ => Err(format!("{BY}: a `[` begins the host, and no `]` ends it")),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

/// A text without its percent signs.
pub(super) fn decoded(text: &str, what: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let value =
            digit(0).zip(digit(1)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match value {
            Some(0) => return Err(format!("{BY}: {what} has a NUL in it")),
            Some(value) => bytes.push(value),
            None => {
                return Err(format!(
                    "{BY}: {what} has a `%` without two hexadecimal digits behind it; `%` itself \
                     is written `%25`"
                ));
            }
        }
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("{BY}: {what} is not UTF-8"))
}
