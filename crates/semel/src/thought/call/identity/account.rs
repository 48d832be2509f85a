//! Accounts: on whose behalf a request is made.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{header, parameters};
use crate::words::call::{Head, Target};
use crate::words::digest::Digest;

/// Headers in which providers take a key of their own.
const KEYS: [&str; 6] =
    ["x-api-key", "api-key", "x-goog-api-key", "x-auth-token", "x-shopify-access-token", "apikey"];

/// The account of a request: a user's name, the id of an access key, the subject of a token;
/// of an opaque key the beginning of its digest. Empty: none.
///
/// Never text of a credential, and nothing that changes when one is renewed, where that can
/// be told.
#[must_use]
pub fn account(target: &Target<'_>, head: &Head) -> String {
    if let Some(said) = header(head, "authorization") {
        return of_authorization(said);
    }
    if let Some(key) = KEYS.iter().find_map(|name| header(head, name)) {
        return opaque(key);
    }
    // A signed URL says who signed it (AWS Signature Version 4, Google Cloud V4).
    let signed = parameters(target.query).into_iter().find_map(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        matches!(lower.as_str(), "x-amz-credential" | "x-goog-credential")
            .then(|| value.split('/').next().unwrap_or_default().to_owned())
    });
    signed.map(|id| format!("key {id}")).unwrap_or_default()
}

fn of_authorization(said: &str) -> String {
    let (scheme, credential) = said.split_once(' ').unwrap_or((said, ""));
    let credential = credential.trim();
    match scheme.to_ascii_lowercase().as_str() {
        // RFC 7617.
        "basic" => {
            let text = STANDARD.decode(credential).unwrap_or_default();
            match text.split(|byte| *byte == b':').next() {
                // Stripe and others take their key for the name, and no password.
                Some(user) if text.last() == Some(&b':') => opaque(&String::from_utf8_lossy(user)),
                Some(user) => format!("user {}", String::from_utf8_lossy(user)),
                None => opaque(credential),
            }
        }
        "aws4-hmac-sha256" => {
            let id = credential
                .split(&[',', ' '][..])
                .find_map(|part| part.trim().strip_prefix("Credential="))
                .and_then(|scope| scope.split('/').next());
            id.map_or_else(|| opaque(credential), |id| format!("key {id}"))
        }
        _ => subject(credential).unwrap_or_else(|| opaque(credential)),
    }
}

/// Who issued a JSON Web Token, and of whom it speaks (RFC 7519, 4.1).
fn subject(token: &str) -> Option<String> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str);
    let subject = text("sub")?;
    Some(match text("iss") {
        Some(issuer) => format!("{subject} of {issuer}"),
        None => subject.to_owned(),
    })
}

/// A key that says nothing of itself is told apart by its digest.
fn opaque(key: &str) -> String {
    if key.is_empty() {
        return String::new();
    }
    let digest = Digest::of(format!("semel account {key}").as_bytes()).to_string();
    format!("key #{}", &digest[..12])
}
