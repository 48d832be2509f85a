//! A request that is guarded, and where it goes.

use std::io;
use std::sync::Arc;

use hyper::http::request::Parts;

use super::spool::Spooled;
use crate::ground::http::upstream::{Origin, Scheme};
use crate::thought::call::drift::NearMiss;
use crate::thought::call::identity::{self, Body, Identity};
use crate::thought::call::terms::Terms;
use crate::words::call::{Field, Head, Target};

/// Up to how many bytes a body of a request is kept.
const KEPT: u64 = 16 << 20;

/// Where a request goes, in words of its own.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) method: String,
    pub(super) path: String,
    query: String,
    host: String,
}

impl Place {
    pub(super) fn of(origin: Origin, parts: &Parts) -> Self {
        Self {
            host: origin.host.to_ascii_lowercase(),
            origin,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
        }
    }

    /// Its method and URL, whatever its query.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.method, shown_place(&self.target()))
    }

    pub(super) fn target(&self) -> Target<'_> {
        Target {
            method: &self.method,
            scheme: match self.origin.scheme {
                Scheme::Http => "http",
                Scheme::Https => "https",
            },
            host: &self.host,
            port: self.origin.port,
            path: &self.path,
            query: &self.query,
        }
    }
}

/// A request that is guarded.
pub(super) struct Call {
    pub(super) place: Place,
    pub(super) terms: Arc<Terms>,
    pub(super) parts: Parts,
    pub(super) head: Head,
    pub(super) spooled: Spooled,
    pub(super) identity: Identity,
    pub(super) account: String,
    pub(super) near_miss: Option<NearMiss>,
}

impl Call {
    /// It, as it is looked into with this body.
    pub(super) fn request<'a>(&'a self, body: &'a Body<'a>) -> identity::Request<'a> {
        identity::Request { target: self.place.target(), head: &self.head, body }
    }

    /// Its fields that count.
    pub(super) fn leaves(&self) -> Vec<identity::Leaf> {
        let body = self.spooled.looked_into();
        counting(identity::leaves(&self.request(&body)), &self.terms.ignore)
    }

    /// Its URL, as it is kept and shown.
    pub(super) fn shown(&self) -> String {
        identity::shown_url_without(&self.place.target(), &self.terms.redact)
    }

    /// What of its head is kept.
    pub(super) fn kept_head(&self) -> Head {
        let mut kept = identity::kept_of_request(&self.head);
        kept.retain(|(name, _)| !hides_header(&self.terms, name));
        kept
    }

    /// Keeps the body, unless it is too large or has what is not to be kept.
    pub(super) fn keep(&mut self) -> io::Result<Option<Vec<u8>>> {
        let body = self.spooled.looked_into();
        let hides = identity::hides(&self.request(&body), &self.terms.redact);
        if hides || self.spooled.body.bytes > KEPT {
            return Ok(None);
        }
        self.spooled.keep()
    }
}

/// Whether a header is not to be kept.
pub(super) fn hides_header(terms: &Terms, name: &str) -> bool {
    terms.redact.contains(&Field::Header(name.to_ascii_lowercase()))
}

/// Where a request goes, whatever its query.
pub(super) fn shown_place(target: &Target<'_>) -> String {
    identity::shown_url(&Target { query: "", ..*target })
}

/// The fields that count, where some are ignored.
pub(super) fn counting(mut leaves: Vec<identity::Leaf>, ignore: &[Field]) -> Vec<identity::Leaf> {
    let is_ignored = |pointer: &str| {
        ignore.iter().any(|field| match field {
            Field::Body(ignored) => pointer
                .strip_prefix(ignored.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            _ => false,
        })
    };
    leaves.retain(|leaf| !is_ignored(&leaf.pointer));
    leaves
}
