//! What is not sent though it might be, and how it may be after all.

use semel_testkit::provider::{Act, Provider, Seen};

use super::shop::Shop;

const BATCH: &str = r#"for n in 1 2 3 4 5 6; do
    status -H 'content-type: application/json' -d "{\"order\":\"$n\",\"day\":\"$DAY\"}" $URL; done"#;

#[test]
fn drift_stops_before_it_pays() {
    let shop = Shop::at(Provider::new());
    let batch = |day: &str| format!("DAY={day}; {BATCH}");
    shop.sh(&[], &batch("may")).exits(0);
    let ran = shop.sh(&[], &batch("june")).exits(103);
    ran.says("/day").says(r#""may" -> "june""#).says("424 424 424 424 424 424 ");
    assert_eq!(shop.seen(), 6);
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge'\nignore = '/day'\n");
    shop.sh(&[], &batch("june")).exits(0).says("6 replayed");
    assert_eq!(shop.seen(), 6);
    shop.folder.remove("semel.toml");
    shop.sh(&["--new-calls"], &batch("july")).exits(0);
    assert_eq!(shop.seen(), 12);
}

#[test]
fn what_a_budget_does_not_allow_is_not_sent() {
    let shop = Shop::at(Provider::new()).rule("budget = { calls = 2 }");
    let ran = shop.sh(&[], "pay 1; pay 2; pay 3").exits(103);
    assert_eq!((ran.stdout.as_str(), shop.seen()), ("200 200 402 ", 2));
}

#[test]
fn nothing_new_is_sent_where_nothing_new_is_wanted() {
    let shop = Shop::at(Provider::new());
    shop.sh(&[], "pay 1").exits(0);
    let ran = shop.sh(&["--no-new-calls"], "pay 1; pay 2").exits(103);
    assert_eq!((ran.stdout.as_str(), shop.seen()), ("200 424 ", 1));
}

#[test]
fn a_probe_says_what_became_of_it() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::Reset } else { Act::Ok };
    let shop =
        Shop::at(Provider::builder().plan(plan).start()).rule("unknown = { probe = 'cat said' }");
    shop.folder.file("said", "unsure");
    shop.sh(&[], "pay 1").exits(103);
    assert_eq!(shop.sh(&[], "pay 1").exits(103).stdout, "424 ");
    assert_eq!(shop.seen(), 1);
    shop.folder.file("said", "absent");
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

#[test]
fn a_probe_that_says_that_it_happened_pays_nothing() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::SucceedThenClose).start())
        .rule("unknown = { probe = 'echo happened' }");
    shop.sh(&[], "pay 1").exits(103);
    assert_eq!(shop.sh(&[], "pay 1").stdout, "424 ");
    assert_eq!((shop.seen(), shop.states()), (1, vec!["complete".to_owned()]));
}

#[test]
fn a_human_says_what_became_of_it() {
    let plan = |seen: &Seen<'_>| if seen.time == 1 { Act::SucceedThenClose } else { Act::Ok };
    let shop = Shop::at(Provider::builder().plan(plan).start());
    shop.pays("--orders 1-2").exits(103);
    shop.folder.semel("calls done 1 --because seen").exits(0);
    shop.folder.semel("calls redo 2 --because not-seen").exits(0);
    shop.pays("--orders 1-2").exits(0);
    shop.pays("--orders 1-2").exits(0);
    assert_eq!(shop.seen(), 3);
}

/// What was answered is no answer where it was an error: a client would try again, and mean
/// another call by it.
#[test]
fn a_probe_that_says_that_it_happened_does_not_replay_an_error() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::ErrorAfterCharging(500)).start())
        .rule("unknown = { probe = 'echo happened' }");
    shop.sh(&[], "pay 1").exits(103);
    for _ in 0..2 {
        assert_eq!(shop.sh(&[], "pay 1; pay 1").stdout, "424 424 ");
    }
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
}

/// A word for one send is no word for a later one.
#[test]
fn a_leave_to_send_again_is_used_up_by_any_send() {
    let provider = Provider::builder().plan(|_| Act::SucceedThenClose).honours_keys(true);
    let shop = Shop::at(provider.start()).rule("unknown = 'resend'\nkey-window = '24h'");
    shop.sh(&[], "pay 1").exits(103);
    let before = shop.seen();
    shop.folder.semel("calls redo 1 --because cheap").exits(0);
    shop.sh(&[], "pay 1").exits(103);
    let after = shop.seen();
    assert!(after > before);
    shop.folder.remove("semel.toml");
    shop.sh(&[], "pay 1").exits(103);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, after));
}

/// However many kinds of money there are, and calls without a price.
#[test]
fn a_budget_of_calls_counts_them_all() {
    let shop = Shop::new();
    shop.folder.pipeline(
        "[[call]]\nmatch = 'POST *'\nbudget = { calls = 2 }\n\
         [[call]]\nmatch = 'POST */charge?dear'\nprice = '1 EUR'\n",
    );
    let ran = shop.sh(&[], "pay 1; URL=$URL?dear; pay 2; pay 3; pay 4").exits(103);
    assert_eq!((ran.stdout.as_str(), shop.seen()), ("200 200 402 402 ", 2));
}

/// A human's word that it was refused is not taken for a refusal that may be asked again.
#[test]
fn what_a_human_says_was_refused_is_not_sent_again() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::SucceedThenClose).start());
    shop.sh(&[], "pay 1").exits(103);
    shop.folder.semel("calls done 1 --status 404 --because seen").exits(0);
    for _ in 0..2 {
        assert_eq!(shop.sh(&[], "pay 1").stdout, "404 ");
    }
    assert_eq!(shop.seen(), 1);
}
