//! Calls as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use semel::ground::manifest::calls::Calls as _;
use semel::ground::manifest::sqlite::SqliteManifest;
use semel::words::call::{BodyOf, CallRecord, Head};
use serde_json::{Value, json};

use super::{Folder, proxy_of};
use crate::show::fail::Failed;

/// A call without what was sent and answered.
pub(super) fn of(call: &CallRecord) -> Value {
    let task = call.scope.task.as_ref().map(ToString::to_string);
    let is_proxy = proxy_of(call).is_some();
    let params = Some(&call.scope.params).filter(|params| !params.is_empty());
    json!({
        "call": call.id,
        "state": call.state.name(),
        "method": call.asked.method,
        "url": call.asked.url,
        "account": call.asked.account,
        "pipeline": (!is_proxy).then_some(&call.scope.pipeline),
        "task": task.as_ref().filter(|_| !is_proxy),
        "proxy": task.as_ref().filter(|_| is_proxy),
        "params": params,
        "n": call.n,
        "read": call.asked.is_read,
        "retired": call.is_retired,
        "status": call.answered.as_ref().map(|answered| answered.status),
        "sends": call.sends,
        "allowed": call.allowed,
        "key": Some(&call.key).filter(|key| !key.is_empty()),
        "key-until": call.key_until.map(|time| time.to_string()),
        "began": call.began.to_string(),
        "sent": call.sent.to_string(),
        "ended": call.ended.map(|time| time.to_string()),
        "reason": call.reason,
        "price": call.price.as_ref().map(ToString::to_string),
    })
}

/// A call with all that is kept of it.
pub(super) fn with_bodies(
    folder: &Folder,
    store: &SqliteManifest,
    call: &CallRecord,
) -> Result<Value, Failed> {
    let mut all = of(call);
    all["request"] = json!({
        "head": head(&call.asked.head),
        "body": body(folder, store, &call.asked.body)?,
    });
    all["answer"] = match &call.answered {
        Some(answered) => json!({
            "status": answered.status,
            "head": head(&answered.head),
            "body": body(folder, store, &answered.body)?,
            "trailers": head(&answered.trailers),
        }),
        None => Value::Null,
    };
    let sends = store.sends(call.id).map_err(|error| folder.broken(error))?;
    all["sent-at"] = sends
        .iter()
        .map(|send| {
            json!({
                "send": send.number, "began": send.began.to_string(),
                "ended": send.ended.map(|time| time.to_string()), "state": send.state,
                "reason": send.reason,
            })
        })
        .collect();
    let said = store.said(call.id).map_err(|error| folder.broken(error))?;
    all["said"] = said
        .iter()
        .map(|said| {
            json!({
                "verb": if said.is_done { "done" } else { "redo" }, "because": said.because,
                "user": said.by.user, "host": said.by.host, "at": said.at.to_string(),
            })
        })
        .collect();
    Ok(all)
}

/// The fields of a head in their order: one may stand there more than once.
fn head(head: &Head) -> Value {
    head.iter().map(|(name, value)| json!([name, String::from_utf8_lossy(value)])).collect()
}

/// A body as text where it is that, else in Base64.
fn body(folder: &Folder, store: &SqliteManifest, body: &BodyOf) -> Result<Value, Failed> {
    let mut all = json!({
        "sha256": body.digest.to_string(), "bytes": body.bytes, "kept": body.is_kept,
    });
    if let Some(content) = folder.body(store, body)? {
        match String::from_utf8(content) {
            Ok(text) => all["text"] = Value::String(text),
            Err(error) => all["base64"] = Value::String(STANDARD.encode(error.as_bytes())),
        }
    }
    Ok(all)
}
