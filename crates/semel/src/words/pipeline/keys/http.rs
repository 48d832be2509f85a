//! The keys of `http`, the call that a step or the end of a run makes.

use super::{Key, Read, Shape, fill};
use crate::words::pipeline::draft::{BodyDraft, HttpDraft};
use crate::words::pipeline::value::{Placed, Value, all};
use crate::words::pipeline::{Fault, Method, Span};

/// The keys of `http`.
pub(super) const HTTP: &[Key<HttpDraft>] = &[
    Key {
        name: "get",
        about: "the URL, for a call that reads; values behind its host are encoded",
        shape: Shape::Text,
        read: |http, value| url(http, Method::Get, value),
    },
    Key {
        name: "post",
        about: "the URL instead, for a call that posts",
        shape: Shape::Text,
        read: |http, value| url(http, Method::Post, value),
    },
    Key {
        name: "put",
        about: "the URL instead, for a call that puts",
        shape: Shape::Text,
        read: |http, value| url(http, Method::Put, value),
    },
    Key {
        name: "patch",
        about: "the URL instead, for a call that patches",
        shape: Shape::Text,
        read: |http, value| url(http, Method::Patch, value),
    },
    Key {
        name: "delete",
        about: "the URL instead, for a call that deletes",
        shape: Shape::Text,
        read: |http, value| url(http, Method::Delete, value),
    },
    Key {
        name: "json",
        about: "what it sends, as JSON: any value; placeholders in its texts are escaped",
        shape: Shape::Any,
        read: |http, value| {
            let what = BodyDraft::Json(value.json()?);
            http.bodies.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "form",
        about: "what it sends instead: the fields of a form",
        shape: Shape::Named(&Shape::Scalar),
        read: |http, value| {
            let fields = all(value
                .table()?
                .entries()
                .into_iter()
                .map(|entry| Ok((entry.name.to_owned(), entry.value.scalar_template()?))))?;
            http.bodies.push(Placed { what: BodyDraft::Form(fields), span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "text",
        about: "what it sends instead: a text",
        shape: Shape::Text,
        read: |http, value| {
            let what = BodyDraft::Text(value.template()?);
            http.bodies.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "file",
        about: "what it sends instead: the bytes of a file",
        shape: Shape::Text,
        read: |http, value| {
            let what = BodyDraft::File(value.filled_template()?);
            http.bodies.push(Placed { what, span: value.span() });
            Ok(())
        },
    },
    Key {
        name: "headers",
        about: "headers and their values; a variable of `secret-env` may stand in them: `{ authorization = \"Bearer {{ env.TOKEN }}\" }`",
        shape: Shape::Named(&Shape::Text),
        read: |http, value| {
            http.headers = all(value.table()?.entries().into_iter().map(|entry| {
                let name = header(entry.name, &entry.name_span)?;
                Ok((name, entry.value.template()?))
            }))?;
            Ok(())
        },
    },
    Key {
        name: "status",
        about: "the statuses that are a success; by default 200 to 299",
        shape: Shape::OneOrMore(&Shape::Whole(200, 599)),
        read: |http, value| {
            http.status = statuses(value, 200, "statuses from 200 to 599")?;
            Ok(())
        },
    },
    Key {
        name: "timeout",
        about: "how long an answer may take; by default half an hour",
        shape: Shape::Time,
        read: |http, value| {
            http.timeout = Some(value.limit()?);
            Ok(())
        },
    },
];

pub(super) fn http(value: &Value<'_>) -> Read<HttpDraft> {
    let mut http = HttpDraft { span: value.span(), ..HttpDraft::default() };
    fill(&value.table()?, HTTP, &mut http, "`http`")?;
    Ok(http)
}

fn url(http: &mut HttpDraft, method: Method, value: &Value<'_>) -> Read<()> {
    let url = value.filled_template()?;
    let text = url.template.text.as_str();
    let is_url = ["http://", "https://"].iter().any(|scheme| {
        text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
    });
    if !is_url && !text.starts_with("{{") {
        let label = "begins with neither `http://` nor `https://`";
        return Err(vec![value.fault("not a URL", label)]);
    }
    http.urls.push((method, url));
    Ok(())
}

/// Statuses in their order, each once.
pub(super) fn statuses(value: &Value<'_>, least: u16, wants: &str) -> Read<Vec<u16>> {
    let mut statuses = all(value.one_or_more().iter().map(|value| {
        let status = value.whole_within(least.into(), 599, wants)?;
        Ok(u16::try_from(status).unwrap_or_default())
    }))?;
    statuses.sort_unstable();
    statuses.dedup();
    Ok(statuses)
}

/// The headers that say how a request is sent: whoever sends it says them.
const OF_THE_SENDER: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The name of a header, lower case.
pub(super) fn header(name: &str, span: &Span) -> Read<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        let title = format!("`{}` cannot be a header", name.escape_default());
        return Err(vec![Fault::new(title, span, "wants a header's name: `X-Order`")]);
    }
    let name = name.to_ascii_lowercase();
    if OF_THE_SENDER.contains(&name.as_str()) || name.starts_with("proxy-") {
        let title = format!("`{name}` is not said here");
        return Err(vec![Fault::new(title, span, "whoever sends the request says it")]);
    }
    Ok(name)
}
