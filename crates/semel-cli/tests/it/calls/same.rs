//! What is the same call, and what is another one.

use semel_testkit::plain_client;
use semel_testkit::provider::{Act, Certificate, Provider};

use super::shop::Shop;

/// Two processes with ten threads each, all of which pay for the same.
fn twenty(shop: &Shop, words: &str) -> String {
    let orders = ["1"; 10].join(",");
    let client = format!(
        "{} {} --orders {orders} --threads 10 --retries 0 {words}",
        plain_client::words(),
        shop.charge()
    );
    format!("{client} & {client} & wait")
}

#[test]
fn f15_equal_calls_with_one_key_are_one() {
    let shop = Shop::at(Provider::new());
    shop.sh(&[], &twenty(&shop, "--key order")).exits(0).keeps_silent_of("failed");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn f15_equal_calls_of_a_look_up_are_one() {
    let shop = Shop::at(Provider::new()).rule("equal = 'shared'");
    shop.sh(&[], &twenty(&shop, "--timeout 60000")).exits(0).keeps_silent_of("failed");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn f15_otherwise_each_live_caller_has_its_own_and_pays_for_it_once() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::Slow).start());
    let script = twenty(&shop, "--timeout 60000");
    let running = shop.started(&[], &script);
    shop.provider.until("all wait", |state| state.at_gate().len() == 20);
    shop.provider.open_all();
    running.end().exits(0).keeps_silent_of("failed");
    shop.sh(&[], &script).exits(0).keeps_silent_of("failed").says("20 replayed");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (20, 20));
}

fn reads(shop: &Shop) -> usize {
    shop.provider.requests().iter().filter(|request| request.method == "GET").count()
}

#[test]
fn f16_a_read_is_replayed_until_its_task_is_complete() {
    let shop = Shop::at(Provider::new());
    let read = "status ${URL%/charge}/orders/1";
    shop.sh(&[], &format!("{read}; exit 7")).exits(7);
    shop.sh(&[], &format!("{read}; exit 7")).exits(7);
    shop.sh(&[], read).exits(0);
    assert_eq!(reads(&shop), 1);
    shop.sh(&[], read).exits(0);
    assert_eq!(reads(&shop), 2);
}

#[test]
fn f16_a_refusal_is_asked_again_by_the_next_attempt() {
    let plan = |seen: &semel_testkit::provider::Seen<'_>| {
        if seen.time == 1 { Act::Refuse(404) } else { Act::Ok }
    };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "404 ");
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

#[test]
fn f16_a_request_for_a_token_passes_and_is_not_kept() {
    let shop = Shop::at(Provider::new());
    let ask = "status -d 'grant_type=client_credentials&client_secret=sekret' ${URL%/charge}/token";
    for _ in 0..2 {
        assert_eq!(shop.sh(&[], ask).exits(0).stdout, "200 ");
    }
    assert_eq!((shop.seen(), shop.calls().len()), (2, 0));
    shop.folder.sh("! grep -r sekret .semel");
}

const TOKENS: &str = r#"
part() { printf %s "$1" | base64 -w0 | tr -d = | tr '+/' '-_'; }
bearer() { echo "Authorization: Bearer $(part '{"alg":"none"}').$(part "$1").$(part "$1 signed")"; }
"#;

#[test]
fn f17_a_token_that_rotates_is_the_same_account() {
    let shop = Shop::at(Provider::new());
    let pay = |payload: &str| shop.sh(&[], &format!("{TOKENS} pay 1 -H \"$(bearer '{payload}')\""));
    pay(r#"{"iss":"idp","sub":"anna","iat":1}"#).exits(0);
    assert_eq!(pay(r#"{"iss":"idp","sub":"anna","iat":2}"#).exits(0).stdout, "200 ");
    assert_eq!(pay(r#"{"iss":"idp","sub":"bert","iat":2}"#).exits(103).stdout, "422 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn f17_another_key_is_another_account() {
    let shop = Shop::at(Provider::new());
    shop.sh(&[], "pay 1 -H 'Authorization: Bearer sk_test_1'").exits(0);
    let ran = shop.sh(&[], "pay 1 -H 'Authorization: Bearer sk_live_1'").exits(103);
    assert_eq!(ran.stdout, "422 ");
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\naccount = 'any'\n");
    let ran = shop.sh(&[], "pay 1 -H 'Authorization: Bearer sk_live_1'").exits(0);
    assert_eq!((ran.stdout.as_str(), shop.seen()), ("200 ", 1));
}

#[test]
fn f17_a_form_of_parts_is_compared_by_its_parts() {
    let shop = Shop::at(Provider::new());
    let send = "status -F order=order-1 -F amount=3 -F file=@ca.pem $URL";
    shop.sh(&[], send).exits(0);
    shop.sh(&[], send).exits(0).says("1 replayed");
    shop.sh(&["--new-calls"], "status -F order=order-1 -F amount=4 -F file=@ca.pem $URL").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (2, 2));
}

/// A client that has heard its answer and says goodbye in TLS has heard it, whatever of that
/// goodbye crosses on the way: who asks again means another call.
#[test]
fn equal_calls_over_tls_are_calls_of_their_own() {
    let shop = Shop::at(Provider::builder().tls(Certificate::Good).start());
    for told in ["6 sent", "6 replayed"] {
        shop.sh(&[], "for n in 1 2 3 4 5 6; do pay 1; done").exits(0).says(told);
    }
    assert_eq!((shop.provider.charges("1"), shop.seen()), (6, 6));
}
