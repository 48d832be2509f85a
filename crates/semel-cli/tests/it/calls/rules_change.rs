//! Rules that change between runs: what was recorded under the old ones is found by the new.

use semel_testkit::provider::{Act, Provider};

use super::shop::Shop;

/// A provider that answers none of the first so many.
fn silent_for(first: u32) -> Shop {
    Shop::at(
        Provider::builder()
            .plan(move |seen| if seen.time <= first { Act::SucceedThenClose } else { Act::Ok })
            .start(),
    )
}

fn says(shop: &Shop, rule: &str) {
    shop.folder.pipeline(&format!("[[call]]\nmatch = 'POST */charge'\n{rule}\n"));
}

/// What is ignored from now on makes no new call of one that is unknown, or done.
#[test]
fn a_field_that_is_ignored_from_now_on_makes_no_call_of_its_own() {
    for (silent, status) in [(1, "424 "), (0, "200 ")] {
        let shop = silent_for(silent);
        let pay = |at: &str| {
            let body = format!(r#"{{\"order\":\"1\",\"at\":\"{at}\"}}"#);
            shop.sh(&[], &format!("status -H 'content-type: application/json' -d \"{body}\" $URL"))
        };
        pay("noon");
        says(&shop, "ignore = '/at'");
        assert_eq!(pay("noon").stdout, status);
        assert_eq!(pay("midnight").stdout, status);
        assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    }
}

/// Whether all tasks share a call is said of those that were made already, too.
#[test]
fn a_call_that_is_shared_or_separate_from_now_on_is_the_same_one() {
    let (shared, separate) = ("equal = 'shared'", "equal = 'separate'");
    for (before, after) in [(shared, separate), (separate, shared)] {
        for (silent, status) in [(1, "424 "), (0, "200 ")] {
            let shop = silent_for(silent);
            says(&shop, before);
            shop.sh(&[], "pay 1");
            says(&shop, after);
            assert_eq!(shop.sh(&[], "pay 1").stdout, status, "{before} {after}");
            assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
        }
    }
}

/// A rule for one query does not touch what was recorded of another.
#[test]
fn a_rule_for_one_query_leaves_the_others_alone() {
    let shop = Shop::new();
    shop.folder.pipeline("[[call]]\nmatch = 'POST */charge?mode=a'\nignore = '/at'\n");
    let batch = r#"for mode in a b; do
        status -H 'content-type: application/json' -d '{"order":"1","at":"noon"}' "$URL?mode=$mode"; done"#;
    shop.sh(&[], batch).exits(0).says("2 sent");
    shop.sh(&[], batch).exits(0).says("2 replayed");
    assert_eq!(shop.seen(), 2);
}

/// A provider does not honour what it never heard: a key that went out as another header.
#[test]
fn a_key_counts_under_the_header_under_which_it_was_sent() {
    let shop = silent_for(1);
    says(&shop, "send-key = 'X-First'");
    shop.sh(&[], "pay 1").exits(103);
    let other = "send-key = 'X-Second'\nunknown = 'resend'\nkey-window = '24h'";
    says(&shop, other);
    assert_eq!(shop.sh(&[], "pay 1").exits(103).stdout, "424 ");
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 1));
    says(&shop, &other.replace("Second", "First"));
    assert_eq!(shop.sh(&[], "pay 1").exits(0).stdout, "200 ");
    assert_eq!(shop.seen(), 2);
}
