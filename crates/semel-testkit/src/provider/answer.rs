//! An answer, before it is decided how much of it is sent.

use serde_json::{Value, json};

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// The body of an answer.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Sent with its length.
    Whole(Vec<u8>),
    /// Sent in chunks.
    Chunks(Vec<Vec<u8>>),
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    pub(super) fn text(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type", content_type.to_owned())];
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// A stream of events: their names, if they have some, and their data.
    pub(super) fn events(events: &[(Option<&str>, String)]) -> Self {
        let chunk = |(name, data): &(Option<&str>, String)| {
            let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
            format!("{name}data: {data}\n\n").into_bytes()
        };
        let headers = vec![
            ("Content-Type", "text/event-stream; charset=utf-8".to_owned()),
            ("Cache-Control", "no-cache".to_owned()),
        ];
        Self { status: 200, headers, body: Body::Chunks(events.iter().map(chunk).collect()) }
    }

    /// An error, in a shape that the SDKs of all providers can read.
    pub(super) fn error(status: u16) -> Self {
        let (kind, message) = match status {
            409 => ("idempotency_key_in_use", "a request with this key is at work"),
            422 => ("idempotency_error", "another request has had this key"),
            429 => ("rate_limit_error", "too many requests"),
            529 => ("overloaded_error", "overloaded"),
            _ => ("api_error", "something went wrong"),
        };
        let error = json!({ "type": kind, "code": kind, "message": message });
        let mut answer = Self::json(status, &json!({ "type": "error", "error": error }));
        if status == 429 {
            answer.headers.push(("Retry-After", "0".to_owned()));
        }
        answer
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same, with a body in chunks.
    pub(super) fn in_chunks(mut self) -> Self {
        if let Body::Whole(body) = self.body {
            self.body = Body::Chunks(body.chunks(8).map(<[u8]>::to_vec).collect());
        }
        self
    }

    /// The same, with a body whose length is said.
    pub(super) fn whole(mut self) -> Self {
        if let Body::Chunks(chunks) = self.body {
            self.body = Body::Whole(chunks.concat());
        }
        self
    }

    /// Its head, as it is sent.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match &self.body {
            Body::Whole(body) => format!("Content-Length: {}\r\n\r\n", body.len()),
            Body::Chunks(_) => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
        };
        head.into_bytes()
    }

    /// Its body in the parts that are sent one by one; at least two, where it has as many
    /// bytes.
    pub(super) fn parts(&self) -> Vec<Vec<u8>> {
        match &self.body {
            Body::Whole(body) => {
                let (first, second) = body.split_at(body.len() / 2);
                vec![first.to_vec(), second.to_vec()]
            }
            Body::Chunks(chunks) => {
                let parts = chunks.iter().map(|bytes| chunk(bytes));
                parts.chain([b"0\r\n\r\n".to_vec()]).collect()
            }
        }
    }
}

/// Bytes as a chunk.
pub(super) fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        404 => "Not Found",
        408 => "Request Timeout",
        409 => "Conflict",
        422 => "Unprocessable Content",
        425 => "Too Early",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
