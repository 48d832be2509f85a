//! The `http` of a step or a hook: from what the file says to what came of it.

use std::path::Path;
use std::time::Duration;

use super::{Guarded, Told};
use crate::ground::world::process::Stop;
use crate::words::path::path_of;
use crate::words::pipeline::{Body, Http};
use crate::words::template::Values;

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The answer is a success; its text.
    Done(String),
    /// It is not: why, and its text.
    Failed(String, String),
    /// It was not waited for to the end.
    Stopped,
}

/// Makes the call that a file says, within `limit`. Files are in the pipeline's `folder`; a hook
/// sends `summary` where the file says no body.
///
/// # Errors
/// If it cannot be made of the values that there are.
pub fn ask(
    http: &Http,
    values: &impl Values,
    guarded: &Guarded<'_>,
    summary: Option<&str>,
    folder: &Path,
    limit: Option<Duration>,
    stop: &Stop,
) -> Result<Asked, String> {
    let url = String::from_utf8(http.url.render_url(values))
        .map_err(|_| "its URL is not UTF-8".to_owned())?;
    let mut head: Vec<_> =
        http.headers.iter().map(|(name, value)| (name.clone(), value.render(values))).collect();
    let mut says = |kind: &str| {
        if !head.iter().any(|(name, _)| name == "content-type") {
            head.push(("content-type".to_owned(), kind.as_bytes().to_vec()));
        }
    };
    let body = match (&http.body, summary) {
        (Body::None, Some(summary)) => {
            says("application/json");
            summary.as_bytes().to_vec()
        }
        (Body::File(path), _) => {
            let path = folder.join(path_of(path.render(values)));
            std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?
        }
        (body, _) => {
            if let Some(kind) = body.content_type() {
                says(kind);
            }
            body.render(values).map_err(|error| error.to_string())?.unwrap_or_default()
        }
    };
    let (method, timeout) = (http.method.name().to_owned(), http.timeout);
    let Some(answer) = guarded.call(&Told { method, url, head, body, timeout, limit }, stop)?
    else {
        return Ok(Asked::Stopped);
    };
    if let Some(why) = answer.why_ours {
        return Ok(Asked::Failed(why, String::new()));
    }
    Ok(match http.is_success(answer.status) {
        true => Asked::Done(answer.text),
        false => Asked::Failed(format!("status {}", answer.status), answer.text),
    })
}
