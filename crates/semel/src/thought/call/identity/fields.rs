//! The fields of a request: a part of a JSON body, a field of a form, a parameter, a header.
//!
//! Values are taken as they are written: `1.0` is not `1`, and no number is rounded.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{Request, header, is_form, is_json, parameters};
use crate::words::call::Field;
use crate::words::digest::{Digest, Fields};

/// An object whose members are not looked into.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// A field of a body that has no further fields in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its JSON pointer.
    pub pointer: String,
    /// Its value, as it is written.
    pub value: String,
}

/// How many fields of a body are looked at.
const MOST: usize = 512;

/// What of a body counts, but for the fields that make no difference.
pub(super) fn body_without(request: &Request<'_>, ignore: &[Field]) -> Digest {
    let pointers: Vec<_> = ignore
        .iter()
        .filter_map(|field| match field {
            Field::Body(pointer) => Some(pointer.as_str()),
            _ => None,
        })
        .collect();
    let bytes = request.body.bytes.as_deref().filter(|_| !pointers.is_empty());
    let Some(bytes) = bytes else {
        return request.body.digest;
    };
    if is_json(request.head) {
        let mut fields = Fields::new("json");
        if let Ok(raw) = serde_json::from_slice::<&RawValue>(bytes) {
            put_without(&mut fields, "", raw, &pointers);
            return fields.digest();
        }
    } else if is_form(request.head) {
        let mut fields = Fields::new("form");
        for (name, value) in url::form_urlencoded::parse(bytes) {
            if !pointers.contains(&format!("/{name}").as_str()) {
                fields.put(&name, value.as_bytes());
            }
        }
        return fields.digest();
    }
    request.body.digest
}

fn put_without(fields: &mut Fields, at: &str, raw: &RawValue, pointers: &[&str]) {
    if pointers.contains(&at) {
        return;
    }
    let prefix = format!("{at}/");
    let goes_on = pointers.iter().any(|pointer| pointer.starts_with(&prefix));
    match inside(raw).filter(|_| goes_on) {
        Some(members) => {
            for (name, member) in members {
                put_without(fields, &format!("{prefix}{}", escape(&name)), member, pointers);
            }
        }
        None => fields.put(at, raw.get().as_bytes()),
    }
}

/// The members of an object, or the elements of a list by their numbers.
fn inside(raw: &RawValue) -> Option<Members<'_>> {
    let text = raw.get();
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    if text.starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        // In their order, whatever their number.
        return Some(
            (0..).zip(elements).map(|(at, element): (u32, _)| (at.to_string(), element)).collect(),
        );
    }
    None
}

/// A name in a JSON pointer (RFC 6901, 3).
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// The value of a field, as it is written.
pub(super) fn value(request: &Request<'_>, field: &Field) -> Option<String> {
    match field {
        Field::Header(name) => header(request.head, name).map(str::to_owned),
        Field::Query(name) => parameters(request.target.query)
            .into_iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value),
        Field::Body(pointer) => {
            let bytes = request.body.bytes.as_deref()?;
            if is_json(request.head) {
                return in_json(bytes, pointer);
            }
            if is_form(request.head) {
                let name = unescape(&pointer[1..]);
                return url::form_urlencoded::parse(bytes)
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| value.into_owned());
            }
            in_parts(bytes, header(request.head, "content-type")?, &unescape(&pointer[1..]))
        }
    }
}

/// The part of a JSON text that a pointer names, as it is written.
#[must_use]
pub(crate) fn in_json(bytes: &[u8], pointer: &str) -> Option<String> {
    let mut raw: &RawValue = serde_json::from_slice(bytes).ok()?;
    for token in pointer.split('/').skip(1) {
        raw = inside(raw)?.remove(&unescape(token))?;
    }
    Some(raw.get().to_owned())
}

/// The part of this name of a multipart body (RFC 7578).
fn in_parts(bytes: &[u8], content_type: &str, name: &str) -> Option<String> {
    let boundary = super::boundary(content_type)?;
    let mut delimiter = b"--".to_vec();
    delimiter.extend(boundary);
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, &delimiter) {
        rest = &rest[at + delimiter.len()..];
        let end = memchr::memmem::find(rest, &delimiter).unwrap_or(rest.len());
        let part = &rest[..end];
        let Some(gap) = memchr::memmem::find(part, b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&part[..gap]);
        if head.contains(&format!("name=\"{name}\"")) {
            let value = part[gap + 4..].strip_suffix(b"\r\n").unwrap_or(&part[gap + 4..]);
            return Some(String::from_utf8_lossy(value).into_owned());
        }
    }
    None
}

/// The fields of a body that have no further fields in them, in their order; of a body that
/// is neither JSON nor a form, none.
#[must_use]
pub fn leaves(request: &Request<'_>) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let Some(bytes) = request.body.bytes.as_deref() else {
        return leaves;
    };
    if is_json(request.head) {
        if let Ok(raw) = serde_json::from_slice::<&RawValue>(bytes) {
            collect(&mut leaves, String::new(), raw);
        }
    } else if is_form(request.head) {
        leaves.extend(
            url::form_urlencoded::parse(bytes)
                .map(|(name, value)| Leaf {
                    pointer: format!("/{}", escape(&name)),
                    value: value.into_owned(),
                })
                .take(MOST),
        );
    }
    leaves
}

fn collect(leaves: &mut Vec<Leaf>, at: String, raw: &RawValue) {
    if leaves.len() >= MOST {
        return;
    }
    match inside(raw).filter(|members| !members.is_empty()) {
        Some(members) => {
            for (name, member) in members {
                collect(leaves, format!("{at}/{}", escape(&name)), member);
            }
        }
        None => leaves.push(Leaf { pointer: at, value: raw.get().to_owned() }),
    }
}
