use proptest::prelude::*;

use super::*;

fn head(fields: &[(&str, &str)]) -> Head {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

const fn target<'a>(path: &'a str, query: &'a str) -> Target<'a> {
    Target { method: "POST", scheme: "https", host: "api.example.com", port: 443, path, query }
}

fn of(
    query: &str,
    kind: &str,
    body: &str,
    key: &[&str],
    ignore: &[&str],
) -> Result<Identity, NoKey> {
    let fields =
        |texts: &[&str]| texts.iter().map(|text| Field::parse(text).unwrap()).collect::<Vec<_>>();
    let head = head(&[("content-type", kind)]);
    let body = Body::of(body.as_bytes(), boundary(kind).as_deref());
    let request = Request { target: target("/v1/orders", query), head: &head, body: &body };
    identity(&request, &fields(key), &fields(ignore))
}

const JSON: &str = "application/json";

#[test]
fn a_request_is_its_bytes() {
    let one = of("a=1&b=2", JSON, r#"{"order": 17}"#, &[], &[]).unwrap();
    assert_eq!(one, of("b=2&a=1", JSON, r#"{"order": 17}"#, &[], &[]).unwrap());
    assert_ne!(one, of("a=1&b=2", JSON, r#"{"order": 18}"#, &[], &[]).unwrap());
    assert_ne!(one, of("a=1&b=3", JSON, r#"{"order": 17}"#, &[], &[]).unwrap());
}

#[test]
fn f17_what_changes_by_itself_makes_no_difference() {
    // A signature in the URL.
    let signed =
        |signature: &str| of(&format!("a=1&X-Amz-Signature={signature}"), JSON, "{}", &[], &[]);
    assert_eq!(signed("abc"), signed("def"));
    // The boundary of parts, which is random.
    let parts = |boundary: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"order\"\r\n\r\n17\r\n--{boundary}--\r\n"
        );
        of("", &format!("multipart/form-data; boundary={boundary}"), &body, &[], &[])
    };
    assert_eq!(parts("abc123"), parts("zzz999xxx"));
    // And what a rule says.
    let with = |nonce: &str, ignore: &[&str]| {
        let body = format!(r#"{{"order": 17, "meta": {{"nonce": "{nonce}", "a": [1, 2]}}}}"#);
        of("", JSON, &body, &[], ignore)
    };
    assert_ne!(with("x", &[]), with("y", &[]));
    assert_eq!(with("x", &["/meta/nonce"]), with("y", &["/meta/nonce"]));
    assert_eq!(with("x", &["/meta"]), with("y", &["/meta"]));
}

#[test]
fn a_key_identifies_and_the_rest_is_kept_beside_it() {
    let with = |body: &str| of("", JSON, body, &["/order"], &[]).unwrap();
    let (one, other) =
        (with(r#"{"order": 17, "amount": 1}"#), with(r#"{"order": 17, "amount": 2}"#));
    assert_eq!(one.digest, other.digest);
    assert_ne!(one.rest, other.rest);
    assert_eq!(of("", JSON, "{}", &["/order"], &[]), Err(NoKey(Field::Body("/order".to_owned()))));
    // Of forms and parts, too.
    let form = |body: &str| {
        of("", "application/x-www-form-urlencoded", body, &["/order"], &[]).unwrap().digest
    };
    assert_eq!(form("order=17&x=1"), form("x=2&order=17"));
    let parts = |value: &str, boundary: &str| {
        let body = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"order\"\r\n\r\n{value}\r\n--{boundary}--\r\n"
        );
        of("", &format!("multipart/form-data; boundary={boundary}"), &body, &["/order"], &[])
            .unwrap()
            .digest
    };
    assert_eq!(parts("17", "abc"), parts("17", "xyz"));
    assert_ne!(parts("17", "abc"), parts("18", "abc"));
}

#[test]
fn no_number_is_rounded() {
    let with = |number: &str| {
        let body = format!(r#"{{"order": {number}, "n": 1}}"#);
        of("", JSON, &body, &["/order"], &["/n"]).unwrap()
    };
    assert_ne!(with("12345678901234567890123"), with("12345678901234567890124"));
    assert_ne!(with("1.0"), with("1"));
}

#[test]
fn f17_an_account_outlives_its_credentials() {
    let of = |name: &str, value: &str| account(&target("/", ""), &head(&[(name, value)]));
    assert_eq!(of("Authorization", "Basic YWxpY2U6czNjcmV0"), "user alice");
    let token = |claims: &str, signature: &str| {
        use base64::Engine as _;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        of("authorization", &format!("Bearer eyJh.{claims}.{signature}"))
    };
    let first = token(r#"{"iss": "https://id.example.com", "sub": "robot", "exp": 1}"#, "aaa");
    assert_eq!(first, "robot of https://id.example.com");
    assert_eq!(
        first,
        token(r#"{"iss": "https://id.example.com", "sub": "robot", "exp": 2}"#, "bbb")
    );
    let signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261129/eu/s3/aws4_request, SignedHeaders=host, Signature=fe5f";
    assert_eq!(of("authorization", signed), "key AKIAIOSFODNN7EXAMPLE");
    // An opaque key is told apart, and never told.
    let (test, live) =
        (of("authorization", "Bearer sk_test_123"), of("authorization", "Bearer sk_live_123"));
    assert_ne!(test, live);
    assert!(!test.contains("sk_test"));
    assert_eq!(of("x-api-key", "sk_test_123"), test);
    assert_eq!(of("authorization", "Basic c2tfdGVzdF8xMjM6"), test);
}

#[test]
fn what_is_kept_has_no_credentials() {
    let url = shown_url(&target("/v1/geo", "q=Oslo&key=AIzaSy&access_token=abc"));
    assert_eq!(url, "https://api.example.com/v1/geo?q=Oslo&key=***&access_token=***");
    let request = head(&[
        ("Authorization", "Bearer x"),
        ("Cookie", "a"),
        ("Content-Type", JSON),
        ("x-api-key", "k"),
    ]);
    assert_eq!(kept_of_request(&request), head(&[("Content-Type", JSON)]));
    let answer = head(&[("Set-Cookie", "session=1"), ("x-request-id", "7"), ("x-csrf-token", "t")]);
    assert_eq!(kept_of_answer(&answer), head(&[("x-request-id", "7")]));
}

#[test]
fn a_request_for_a_token_is_seen() {
    let asks = |kind: &str, body: &str| {
        let (head, body) = (head(&[("content-type", kind)]), Body::of(body.as_bytes(), None));
        asks_for_token(&Request { target: target("/token", ""), head: &head, body: &body })
    };
    assert!(asks("application/x-www-form-urlencoded", "grant_type=client_credentials&x=1"));
    assert!(!asks("application/x-www-form-urlencoded", "order=17"));
    assert!(asks(JSON, r#"{"grant_type": "client_credentials"}"#));
    assert!(!asks(JSON, r#"{"order": {"grant_type": "x"}}"#));
}

proptest! {
    /// However a body is cut into pieces, its boundary does not count.
    #[test]
    fn a_boundary_is_left_out_wherever_pieces_end(
        parts in prop::collection::vec("[a-c-]{0,12}", 1..5),
        cuts in prop::collection::vec(0_usize..80, 0..6),
    ) {
        let boundary = b"--ab-ab".to_vec();
        let body = parts.join("--ab-ab").into_bytes();
        let whole = Body::of(&body, Some(&boundary)).digest;
        let mut sum = BodySum::new(Some(boundary));
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        for piece in cuts.windows(2) {
            sum.feed(&body[piece[0]..piece[1]]);
        }
        prop_assert_eq!(sum.end().1, whole);
    }
}
