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
