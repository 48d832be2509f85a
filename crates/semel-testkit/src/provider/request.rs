//! A request as it came, and the order that is in it.

use semel::words::digest::Digest;
use serde_json::Value;

/// What stands before an order's name wherever it is no JSON field of its own.
const TOKEN: &str = "order-";

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct SeenRequest {
    /// The how-manieth request of the provider it is; the first is 1.
    pub number: u64,
    /// The connection it came by, by its number.
    pub connection: u64,
    /// The method.
    pub method: String,
    /// The target: path and query, or a whole URL, as it came.
    pub target: String,
    /// Whether it came as HTTP/1.0.
    pub is_old: bool,
    /// The names and values of its head, in their order, as they came.
    pub headers: Vec<(String, String)>,
    /// Its body without the chunks that it came in; only its beginning, if it is larger
    /// than what is kept.
    pub body: Vec<u8>,
    /// How long its body was.
    pub body_length: u64,
    /// The digest of all of it.
    pub body_digest: Option<Digest>,
    /// What came behind the last chunk.
    pub trailers: Vec<(String, String)>,
    /// The order that it is about.
    pub order: Option<String>,
}

impl SeenRequest {
    /// The first value of a name of its head, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(of, _)| of.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    /// Its path, without a query.
    #[must_use]
    pub fn path(&self) -> &str {
        let from_path = match self.target.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => &self.target,
        };
        from_path.split_once('?').map_or(from_path, |(path, _)| path)
    }

    /// Its body as a text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it asks for something that costs.
    pub(super) fn would_charge(&self) -> bool {
        matches!(&*self.method, "POST" | "PUT" | "PATCH")
    }

    /// A field of a form in its body, or of its query.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?').map(|(_, query)| query.to_owned());
        [Some(self.text()), query].into_iter().flatten().find_map(|form| {
            let mut fields = form.split('&').filter_map(|field| field.split_once('='));
            fields.find(|(of, _)| *of == name).map(|(_, value)| value.trim().to_owned())
        })
    }

    /// The order that it is about.
    pub(super) fn find_order(&self) -> Option<String> {
        let of_json = match &self.json()["order"] {
            Value::String(order) => Some(bare(order).to_owned()),
            Value::Number(order) => Some(order.to_string()),
            _ => None,
        };
        of_json
            .or_else(|| token(&self.text()))
            .or_else(|| token(&self.target))
            .or_else(|| self.path().strip_prefix("/orders/").map(|order| bare(order).to_owned()))
    }
}

/// An order's name without what may stand before it.
pub(super) fn bare(order: &str) -> &str {
    order.strip_prefix(TOKEN).unwrap_or(order)
}

/// The order of the first token in a text.
fn token(text: &str) -> Option<String> {
    let rest = &text[text.find(TOKEN)? + TOKEN.len()..];
    let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
    (end > 0).then(|| rest[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn order(target: &str, body: &str) -> Option<String> {
        let (target, body) = (target.to_owned(), body.as_bytes().to_vec());
        SeenRequest { target, body, ..SeenRequest::default() }.find_order()
    }

    #[test]
    fn an_order_is_found_wherever_it_is() {
        for (target, body) in [
            ("/charge", r#"{"order": "17", "amount": 3}"#),
            ("/charge", r#"{"order": 17}"#),
            ("/charge", r#"{"order": "order-17"}"#),
            ("/v1/messages", r#"{"messages": [{"content": "pay order-17, order-18"}]}"#),
            ("/v1/charges", "amount=3&metadata[order]=order-17&currency=usd"),
            ("/bucket/order-17", "bytes"),
            ("/orders/17", ""),
            ("http://127.0.0.1:80/orders/17?now", ""),
        ] {
            assert_eq!(order(target, body).as_deref(), Some("17"), "{target} {body}");
        }
        assert_eq!(order("/v1/messages", r#"{"messages": ["border-"]}"#), None);
    }
}
