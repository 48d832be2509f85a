//! Certificates as Java wants them: in a store of its own kind.
//!
//! A JKS is: magic, version, the number of entries; for each its tag, alias, date, the
//! kind and the bytes of its certificate; and a digest over a password, a phrase and all
//! that stands before.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls::pki_types::CertificateDer;

use crate::ground::http::trust;

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;

/// The tag of an entry that is trusted, and has no key.
const TRUSTED: u32 = 2;

/// What Java's own stores have. It protects nothing: there are no keys in there.
const PASSWORD: &str = "changeit";

/// Java's, to whiten the digest.
const PHRASE: &[u8] = b"Mighty Aphrodite";

/// A trust store for Java with every certificate of a bundle in PEM. Its password is
/// `changeit`.
///
/// # Errors
/// If the bundle is not PEM.
pub fn java_trust_store(bundle: &str) -> io::Result<Vec<u8>> {
    Ok(store_of(&trust::certificates(bundle)?))
}

fn store_of(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let made = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let made = u64::try_from(made.as_millis()).unwrap_or_default();
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(length(certificates.len()));
    for (at, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED.to_be_bytes());
        text(&mut store, &format!("semel-{at}"));
        store.extend(made.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()));
        store.extend(certificate.as_ref());
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        digest.update(&unit.to_be_bytes());
    }
    digest.update(PHRASE);
    digest.update(&store);
    store.extend(digest.finish().as_ref());
    store
}

/// Nobody has four billion certificates, nor one of four gigabytes.
fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend(text.as_bytes());
}
