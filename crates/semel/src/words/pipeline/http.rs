//! What an HTTP call says: the action `http` of a step, and that of a hook.
//!
//! Invariant: what is sent is decided by the texts here and by their values, and by nothing
//! else: the same values make the same bytes, so that a call that was made is found again.

use std::fmt;
use std::time::Duration;

use serde_json::Number;

use crate::words::template::{Template, Values};

/// An HTTP call.
#[derive(Clone, Debug)]
pub struct Http {
    /// How it asks.
    pub method: Method,
    /// Where. Values behind the host are encoded, see [`Template::render_url`].
    pub url: Template,
    /// Headers that it has, lower case, in the order of the file.
    pub headers: Vec<(String, Template)>,
    /// What it sends.
    pub body: Body,
    /// The statuses that are a success; empty: 200 to 299.
    pub status: Vec<u16>,
    /// How long an answer may take.
    pub timeout: Option<Duration>,
}

/// How a call asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl Method {
    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// What a call sends.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing. What ends a run sends the summary then.
    None,
    /// JSON.
    Json(Json<Template>),
    /// A form: fields and their values.
    Form(Vec<(String, Template)>),
    /// A text.
    Text(Template),
    /// The bytes of a file of this path.
    File(Template),
}

/// A value of JSON whose strings are of another kind: templates, or what is read of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json<T> {
    /// `true` or `false`.
    Flag(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(T),
    /// A list.
    List(Vec<Self>),
    /// Fields, in the order of the file.
    Table(Vec<(String, Self)>),
}

/// A value has bytes that are not UTF-8, and JSON has no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a value is not UTF-8, which JSON must be")]
pub struct NotUtf8;

impl<T> Json<T> {
    /// The strings in it.
    pub fn texts(&self) -> Vec<&T> {
        match self {
            Self::Flag(_) | Self::Number(_) => Vec::new(),
            Self::Text(text) => vec![text],
            Self::List(values) => values.iter().flat_map(Self::texts).collect(),
            Self::Table(fields) => fields.iter().flat_map(|(_, value)| value.texts()).collect(),
        }
    }

    /// The same value with other strings.
    pub fn map<U>(self, change: &impl Fn(T) -> U) -> Json<U> {
        match self {
            Self::Flag(flag) => Json::Flag(flag),
            Self::Number(number) => Json::Number(number),
            Self::Text(text) => Json::Text(change(text)),
            Self::List(values) => {
                Json::List(values.into_iter().map(|value| value.map(change)).collect())
            }
            Self::Table(fields) => Json::Table(
                fields.into_iter().map(|(name, value)| (name, value.map(change))).collect(),
            ),
        }
    }

    /// Writes it as JSON, with each string by `text`.
    fn write(&self, out: &mut String, text: &impl Fn(&T) -> Option<String>) -> Option<()> {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        match self {
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Number(number) => out.push_str(&number.to_string()),
            Self::Text(value) => out.push_str(&quoted(&text(value)?)),
            Self::List(values) => {
                out.push('[');
                for (at, value) in values.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    value.write(out, text)?;
                }
                out.push(']');
            }
            Self::Table(fields) => {
                out.push('{');
                for (at, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    out.push_str(&quoted(name));
                    out.push(':');
                    value.write(out, text)?;
                }
                out.push('}');
            }
        }
        Some(())
    }
}

impl Json<Template> {
    /// As it is sent: the values of placeholders are text, and escaped. A list of values is
    /// one text, joined by blanks.
    ///
    /// # Errors
    /// If a value is not UTF-8.
    pub fn render(&self, values: &impl Values) -> Result<String, NotUtf8> {
        let mut out = String::new();
        let text = |text: &Template| String::from_utf8(text.render(values)).ok();
        self.write(&mut out, &text).map(|()| out).ok_or(NotUtf8)
    }
}

impl fmt::Display for Json<Template> {
    /// As it is written, with its placeholders.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        // Texts of the pipeline file are UTF-8.
        let _ = self.write(&mut out, &|text: &Template| Some(text.text.clone()));
        f.write_str(&out)
    }
}

impl Body {
    /// What a call that sends it says of its type, unless a header does.
    #[must_use]
    pub const fn content_type(&self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Json(_) => Some("application/json"),
            Self::Form(_) => Some("application/x-www-form-urlencoded"),
            Self::Text(_) => Some("text/plain; charset=utf-8"),
            Self::File(_) => Some("application/octet-stream"),
        }
    }

    /// The bytes that are sent, unless they are those of a file.
    ///
    /// # Errors
    /// If a value is not UTF-8, and the body is JSON.
    pub fn render(&self, values: &impl Values) -> Result<Option<Vec<u8>>, NotUtf8> {
        Ok(match self {
            Self::None => Some(Vec::new()),
            Self::Json(json) => Some(json.render(values)?.into_bytes()),
            Self::Form(fields) => {
                let encode =
                    |bytes: &[u8]| url::form_urlencoded::byte_serialize(bytes).collect::<String>();
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| {
                        format!("{}={}", encode(name.as_bytes()), encode(&value.render(values)))
                    })
                    .collect();
                Some(fields.join("&").into_bytes())
            }
            Self::Text(text) => Some(text.render(values)),
            Self::File(_) => None,
        })
    }
}

impl Http {
    /// All the templates in it.
    #[must_use]
    pub fn templates(&self) -> Vec<&Template> {
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Json(json) => json.texts(),
            Body::Form(fields) => fields.iter().map(|(_, value)| value).collect(),
            Body::Text(text) | Body::File(text) => vec![text],
        };
        let headers = self.headers.iter().map(|(_, value)| value);
        std::iter::once(&self.url).chain(headers).chain(body).collect()
    }

    /// Whether a status is a success.
    #[must_use]
    pub fn is_success(&self, status: u16) -> bool {
        match self.status.as_slice() {
            [] => (200..300).contains(&status),
            listed => listed.contains(&status),
        }
    }
}

impl fmt::Display for Http {
    /// All that decides what is sent, and what is taken for a success, as it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method.name(), self.url.text)?;
        for (name, value) in &self.headers {
            write!(f, ", header {name}: {}", value.text)?;
        }
        match &self.body {
            Body::None => {}
            Body::Json(json) => write!(f, ", json {json}")?,
            Body::Form(fields) => {
                for (name, value) in fields {
                    write!(f, ", field {name} = {}", value.text)?;
                }
            }
            Body::Text(text) => write!(f, ", text {}", text.text)?,
            Body::File(path) => write!(f, ", file {}", path.text)?,
        }
        for status in &self.status {
            write!(f, ", status {status}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::template::{Name, Value};

    struct Tells(&'static [u8]);

    impl Values for Tells {
        fn value(&self, _: &Name) -> Value<'_> {
            Value::bytes(self.0)
        }
    }

    fn text(text: &str) -> Template {
        Template::parse(text).unwrap()
    }

    #[test]
    fn values_are_text_in_json_whatever_they_are() {
        let json = Json::Table(vec![
            ("text".to_owned(), Json::Text(text("loaded {{ params.month }}"))),
            ("n".to_owned(), Json::List(vec![Json::Number(3.into()), Json::Flag(true)])),
        ]);
        let rendered = json.render(&Tells(b"a \"b\"\n\\")).unwrap();
        assert_eq!(rendered, r#"{"text":"loaded a \"b\"\n\\","n":[3,true]}"#);
        assert_eq!(json.render(&Tells(b"\xff")), Err(NotUtf8));
    }

    #[test]
    fn a_form_is_encoded() {
        let body = Body::Form(vec![("a b".to_owned(), text("x {{ item }}"))]);
        assert_eq!(body.render(&Tells(b"1&2=\xff")).unwrap().unwrap(), b"a+b=x+1%262%3D%FF");
    }

    #[test]
    fn values_behind_the_host_of_a_url_are_encoded() {
        for (url, rendered) in [
            ("https://{{ params.host }}/v1?q={{ item }}", "https://a/b c/v1?q=a%2Fb%20c"),
            ("{{ params.base }}/v1/{{ item }}", "a/b c/v1/a%2Fb%20c"),
            ("https://x/{{ item | raw }}", "https://x/a/b c"),
        ] {
            assert_eq!(text(url).render_url(&Tells(b"a/b c")), rendered.as_bytes(), "{url}");
        }
    }

    #[test]
    fn a_call_of_a_step_is_read() {
        let text = r#"
name = "a"
[params]
day = "1"
[step.tell]
secret-env = ["TOKEN"]
http = { put = "https://a.com/{{ params.day }}", json = { n = 0x10, f = 1.5, at = 2026-01-02, list = [true, "{{ params.day }}"] }, headers = { Authorization = "Bearer {{ env.TOKEN }}" }, status = [201, 200] }
[on-failure]
http = { post = "https://a.com/{{ run.id }}", timeout = "3s" }
"#;
        let pipeline = crate::words::pipeline::Pipeline::read(text).unwrap();
        let http = pipeline.steps[0].http().expect("its action is a call");
        assert_eq!(
            http.to_string(),
            "PUT https://a.com/{{ params.day }}, header authorization: Bearer {{ env.TOKEN }}, json {\"n\":16,\"f\":1.5,\"at\":\"2026-01-02\",\"list\":[true,\"{{ params.day }}\"]}, status 200, status 201"
        );
        assert_eq!(http.templates().len(), 4);
        assert!(http.is_success(201) && !http.is_success(204));
        let hook = pipeline.on_failure.expect("it has one");
        assert!(hook.command().is_none());
    }
}
