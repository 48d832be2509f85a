//! What nobody answered is not paid again; what was answered is answered again.

use semel_testkit::eventually;
use semel_testkit::provider::{Act, Certificate, Provider, Seen};

use super::shop::Shop;

fn answered_by(act: Act) -> Shop {
    Shop::at(Provider::builder().plan(move |_| act.clone()).start())
}

/// It is charged once, whoever asks again, in this run and in the next.
fn is_unknown(act: &Act, why: &str) {
    let shop = answered_by(act.clone());
    let charges = u32::from(act.charges());
    for _ in 0..2 {
        shop.pays("--orders 1 --retries 3").exits(103).says("may have been paid without an answer");
        assert_eq!(shop.provider.charges("1"), charges, "{act:?}");
        assert_eq!(shop.seen(), 1, "{act:?}");
        assert_eq!(shop.states(), ["unknown"], "{act:?}");
    }
    assert!(shop.reason().contains(why), "{act:?}: {}", shop.reason());
}

#[test]
fn f14_a_retry_after_a_500_is_no_second_call() {
    let shop = answered_by(Act::ErrorAfterCharging(500));
    let ran = shop.sh(&[], "pay 1; pay 1; OUT=said pay 1");
    assert_eq!(ran.exits(103).stdout, "500 424 424 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    let said: serde_json::Value = serde_json::from_str(&shop.folder.text("said")).unwrap();
    assert_eq!(said["by"], "semel");
    assert!(said["next"].as_str().unwrap().starts_with("semel calls redo 1 "), "{said}");
    let ran = shop.sh(&[], "pay 1 -D -").exits(103);
    ran.says("424").says("application/problem+json").says("x-should-retry: false");
}

#[test]
fn f14_an_sdk_that_retries_by_itself_pays_once() {
    is_unknown(&Act::ErrorAfterCharging(500), "status 500");
}

#[test]
fn what_is_no_proof_is_unknown() {
    is_unknown(&Act::ErrorAfterCharging(502), "status 502");
    is_unknown(&Act::ErrorAfterCharging(503), "status 503");
    is_unknown(&Act::Refuse(409), "status 409");
    is_unknown(&Act::Refuse(408), "status 408");
}

#[test]
fn an_answer_that_is_not_whole_is_unknown() {
    is_unknown(&Act::SucceedThenReset, "reset");
    is_unknown(&Act::SucceedThenClose, "closed");
    is_unknown(&Act::HalfHeader, "closed");
    is_unknown(&Act::ShortBody, "cut");
    is_unknown(&Act::CutStream, "cut");
    is_unknown(&Act::Garbage, "invalid");
}

#[test]
fn an_answer_without_an_end_is_unknown() {
    let shop = answered_by(Act::EndlessBody).rule("timeout = '200ms'");
    shop.pays("--orders 1 --retries 0").exits(103);
    assert_eq!((shop.provider.charges("1"), shop.states()[0].as_str()), (1, "unknown"));
    assert!(shop.reason().contains("no answer after"), "{}", shop.reason());
}

#[test]
fn what_is_proved_undone_is_sent_again() {
    let plan = |seen: &semel_testkit::provider::Seen<'_>| {
        if seen.time < 3 { Act::Refuse(429) } else { Act::Ok }
    };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    shop.pays("--orders 1 --retries 2").exits(0).says("200 after 3");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 3));
    shop.provider.refuse_connections();
    shop.pays("--orders 1,2 --retries 1").says("order 1: 200 after 1").says("failed after 2: 502");
    assert_eq!(shop.states(), ["complete", "rejected"]);
    shop.provider.accept_connections();
    shop.pays("--orders 1,2 --retries 2").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.provider.charges("2")), (1, 1));
}

#[test]
fn a_server_with_a_bad_certificate_is_sent_nothing() {
    for certificate in [Certificate::WrongName, Certificate::Expired, Certificate::OfStranger] {
        let shop = Shop::at(Provider::builder().tls(certificate).start());
        shop.pays("--orders 1 --retries 0").says("failed after 1: 502");
        assert_eq!((shop.seen(), shop.states()), (0, vec!["rejected".to_owned()]));
    }
}

#[test]
fn over_tls_as_without() {
    let shop = Shop::at(
        Provider::builder()
            .tls(Certificate::Good)
            .plan(|seen| if seen.order == "1" { Act::Ok } else { Act::SucceedThenClose })
            .start(),
    );
    for _ in 0..2 {
        shop.pays("--orders 1-2 --retries 2").exits(103).says("order 1: 200 after 1");
        assert_eq!((shop.provider.charges("1"), shop.provider.charges("2")), (1, 1));
    }
    assert_eq!(shop.seen(), 2);
}

/// The client gives up, and tries again; semel has listened on.
#[test]
fn a_client_that_gave_up_gets_the_answer_at_its_retry() {
    let shop = answered_by(Act::Slow);
    let script = "pay 1 -m 0.1; pay 1 -m 0.1; touch gave-up; pay 1";
    let running = shop.started(&[], script);
    eventually("it has given up twice", || shop.folder.has("gave-up"));
    shop.provider.open_all();
    assert_eq!(running.end().exits(0).stdout, "000 000 200 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn a_run_does_not_end_while_a_call_is_in_flight() {
    let shop = answered_by(Act::Slow);
    let running = shop.started(&[], "pay 1 -m 0.1; touch gave-up");
    eventually("it has given up", || shop.folder.has("gave-up"));
    shop.provider.open_all();
    assert_eq!(running.end().exits(0).stdout, "000 ");
    assert_eq!(shop.states(), ["complete"]);
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

#[test]
fn who_does_not_know_the_secret_sends_nothing() {
    let shop = Shop::at(Provider::new());
    let script = r#"pay 1 --proxy "${http_proxy/task/nobody}"
        pay 1 --proxy "${http_proxy%%:*}://task1:0000@${http_proxy##*@}"
        pay 1 --proxy "http://${http_proxy##*@}""#;
    assert_eq!(shop.sh(&[], script).stdout, "407 407 407 ");
    assert_eq!(shop.provider.look(semel_testkit::provider::State::connections), 0);
}

fn completions(honours: bool) -> Shop {
    let plan = |seen: &semel_testkit::provider::Seen<'_>| {
        if seen.time == 1 { Act::CutStream } else { Act::Ok }
    };
    Shop::at(Provider::builder().honours_keys(honours).plan(plan).start())
}

const ASKS: &str = r#"status -H 'content-type: application/json' ${URL%/charge}/v1/chat/completions \
    -d '{"model":"m","stream":true,"messages":[{"role":"user","content":"order-7"}]}'"#;

#[test]
fn a_stream_that_was_cut_is_refused_and_not_paid_again() {
    let shop = completions(false);
    shop.sh(&[], ASKS).exits(103);
    assert_eq!(shop.sh(&[], ASKS).exits(103).stdout, "424 ");
    assert_eq!((shop.provider.charges("7"), shop.seen()), (1, 1));
}

#[test]
fn a_stream_that_was_cut_is_paid_once_where_the_key_is_honoured() {
    let shop = completions(true);
    shop.sh(&[], ASKS).exits(103);
    shop.folder.pipeline(
        "[[call]]\nmatch = 'POST */v1/chat/completions'\nunknown = 'resend'\nkey-window = '24h'\n",
    );
    // The rule came later: how long the key is honoured was not known when it was first sent.
    shop.folder.semel_words(["calls", "redo", "1", "--because", "they honour the key"]).exits(0);
    let ran = shop.sh(&[], &format!("OUT=one {ASKS}; exit 0")).exits(0);
    assert_eq!(ran.stdout, "200 ");
    assert!(shop.folder.text("one").ends_with("data: [DONE]\n\n"));
    assert_eq!((shop.provider.charges("7"), shop.seen()), (1, 2));
    shop.sh(&[], &format!("OUT=two {ASKS}")).exits(0);
    assert_eq!(shop.folder.text("one"), shop.folder.text("two"));
    assert_eq!(shop.seen(), 2);
}

/// A refusal says nothing of an earlier send: that may have been paid. So it stays unknown, is
/// sent again while its key is honoured, and not after.
#[test]
fn i13_a_refusal_of_a_resend_does_not_settle_what_was_unknown() {
    for (status, is_honoured) in [(401, true), (401, false), (422, false), (429, false)] {
        let plan = move |seen: &Seen<'_>| match seen.time {
            1 => Act::SucceedThenClose,
            2 => Act::Refuse(status),
            _ => Act::Ok,
        };
        let shop = Shop::at(Provider::builder().plan(plan).honours_keys(true).start())
            .rule("unknown = 'resend'\nkey-window = '24h'\nprice = '5 EUR'");
        // The client hears what was said last.
        let ran = shop.sh(&[], "pay 1").exits(103);
        assert_eq!(ran.stdout, format!("{status} "));
        assert!(shop.reason().contains("an earlier send is unknown"), "{}", shop.reason());
        assert_eq!((shop.seen(), shop.states()), (2, vec!["unknown".to_owned()]));
        if is_honoured {
            shop.sh(&[], "pay 1").exits(0).says("5.00 EUR");
            assert_eq!((shop.seen(), shop.states()), (3, vec!["complete".to_owned()]));
        } else {
            shop.folder.remove("semel.toml");
            assert_eq!(shop.sh(&[], "pay 1").exits(103).stdout, "424 ");
            assert_eq!(shop.seen(), 2);
        }
        assert_eq!(shop.provider.charges("1"), 1, "{status}");
    }
}

/// Two equal calls, one refused and one unknown: which of them a request is nobody knows.
#[test]
fn i13_a_refusal_is_not_sent_again_beside_an_equal_call_that_is_unknown() {
    let plan = |seen: &Seen<'_>| match seen.time {
        1 => Act::Refuse(402),
        2 => Act::SucceedThenClose,
        _ => Act::Ok,
    };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    // The same connection: whoever asks again has heard what came before.
    let counter = shop.opens(&[]);
    let mut wire = counter.dial();
    for status in [402, 424] {
        wire.says(shop.order("1").bytes(&counter));
        assert_eq!(wire.answer().whole(), status);
    }
    drop(wire);
    counter.close().exits(103);
    assert_eq!(shop.states(), ["complete", "unknown"]);
    let counter = shop.opens(&[]);
    assert_eq!(counter.asks(&shop.order("1")).whole(), 424);
    counter.close().exits(103);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

/// A step has no receipt while a call of it is unknown, also where its command forgets it.
#[test]
fn a_call_that_is_unknown_is_not_forgotten_with_its_request() {
    let shop = answered_by(Act::SucceedThenClose);
    let step = |run: &str| {
        shop.folder.pipeline(&format!("[step.pay]\ncalls = 'guarded'\nrun = '''{run}'''\n"));
    };
    step(&format!(r#"curl -s -d '{{"order":"1"}}' {} || true"#, shop.charge()));
    shop.folder.semel("run").exits(3);
    step("true");
    shop.folder.semel("run").exits(3).says("may have been paid without an answer");
    shop.folder.semel("calls done 1 --because seen").exits(0);
    shop.folder.semel("run").exits(0);
    shop.folder.semel("run --expect-noop").exits(0);
    assert_eq!(shop.seen(), 1);
}

/// What says which operation is meant, or which part, is not in the body.
#[test]
fn what_is_asked_for_in_the_head_counts() {
    let shop = Shop::new();
    let both = "pay 1 -H 'X-Amz-Target: Shop.Charge'; pay 1 -H 'X-Amz-Target: Shop.Refund'";
    shop.sh(&[], both).exits(0).says("2 sent");
    // In whatever order they come.
    let (one, other) = both.split_once("; ").unwrap();
    shop.sh(&[], &format!("{other}; {one}")).exits(0).says("2 replayed");
    shop.sh(&[], other).exits(0).says("1 call: 1 replayed");
    assert_eq!(shop.seen(), 2);
}
