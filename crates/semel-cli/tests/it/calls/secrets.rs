//! No credential that a client sends is anywhere afterwards.

use std::path::Path;
use std::sync::Arc;

use semel_testkit::provider::{Act, Certificate, Provider, Seen, SeenRequest};

use super::shop::Shop;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: sid=sekret-set\r\n\r\n{}";

/// Sends every kind of credential, and answers in every way.
const SCRIPT: &str = r#"
for order in 1 2 3 4 5; do
    pay $order -H 'Authorization: Bearer sekret-bearer'
    pay a$order -u anna:sekret-basic
    pay b$order -H 'X-Api-Key: sekret-header' -H 'Cookie: sid=sekret-cookie'
    status -d order=order-c$order "$URL?api_key=sekret-query&access_token=sekret-token"
    status -d order=order-d$order -H 'api-key: sekret-azure' -H 'x-goog-api-key: sekret-google' "$URL?key=sekret-key&sig=sekret-sig"
    status "${URL%/charge}/orders/$order?token=sekret-read" -H 'Proxy-Authorization: Basic sekret-proxy'
    status "${URL/:\/\//:\/\/anna:sekret-url@}" -d order=order-e$order
done
status -d 'grant_type=password&password=sekret-password' "${URL%/charge}/token"
"#;

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Looks for credentials in all that semel keeps; while it is at work, too.
fn has_none(shop: &Shop) -> usize {
    let mut found = Vec::new();
    files(&shop.folder.path().join(".semel"), &mut found);
    // What `curl -u` and a URL with a password make of it.
    let secrets: [&[u8]; 3] = [b"sekret", b"YW5uYTpzZWtyZX", b"c2VrcmV0"];
    for path in &found {
        let bytes = std::fs::read(path).unwrap_or_default();
        for secret in secrets {
            let at = bytes.windows(secret.len()).position(|window| window == secret);
            if let Some(at) = at {
                let near = &bytes[at.saturating_sub(60)..(at + 40).min(bytes.len())];
                panic!("{}: {}", path.display(), String::from_utf8_lossy(near));
            }
        }
    }
    found.len()
}

fn no_credential_is_kept(provider: semel_testkit::provider::Builder) {
    let plan = |seen: &Seen<'_>| match seen.order.trim_start_matches(char::is_alphabetic) {
        "1" => Act::Raw(ANSWER.to_vec()),
        "2" => Act::ErrorAfterCharging(500),
        "3" => Act::SucceedThenClose,
        "4" => Act::Refuse(401),
        _ => Act::Ok,
    };
    let shop = Shop::at(provider.plan(plan).start());
    // What semel says names its command, with its words.
    shop.folder.file("pay.sh", SCRIPT);
    let ran = shop.sh(&[], "source ./pay.sh; cp -r .semel at-work").exits(103);
    assert!(has_none(&shop) > 1);
    shop.folder.sh("! grep -ra sekret at-work");
    ran.keeps_silent_of("sekret");
    assert!(!shop.provider.requests().is_empty());
    let told = |request: &Arc<SeenRequest>| format!("{request:?} {}", request.text());
    let sent: String = shop.provider.requests().iter().map(told).collect();
    for word in
        ["bearer", "header", "cookie", "query", "key", "azure", "google", "read", "password"]
    {
        assert!(sent.contains(&format!("sekret-{word}")), "{word} was sent");
    }
    shop.sh(&[], "source ./pay.sh").exits(103).keeps_silent_of("sekret");
    has_none(&shop);
    shop.folder.semel("calls export").exits(0).keeps_silent_of("sekret");
    shop.folder.semel("calls list").exits(0).keeps_silent_of("sekret");
}

#[test]
fn no_credential_is_kept_of_what_went_in_the_clear() {
    no_credential_is_kept(Provider::builder());
}

#[test]
fn no_credential_is_kept_of_what_went_over_tls() {
    no_credential_is_kept(Provider::builder().tls(Certificate::Good));
}
