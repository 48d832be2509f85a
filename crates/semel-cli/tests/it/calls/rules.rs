//! Rules of the file: those for nothing, those that came later, and a memory that lost calls.

use semel_testkit::provider::{Act, Provider, Seen};

use super::shop::Shop;

fn guarded(shop: &Shop, rules: &str) {
    let body = r#"{\"order\":\"1\"}"#;
    let url = shop.charge();
    shop.folder.pipeline(&format!(
        "[step.pay]\ncalls = 'guarded'\nout = 'answer'\n\
         run = 'curl -sf -H \"idempotency-key: k-1\" -d \"{body}\" {url} > {{{{ out }}}}'\n{rules}"
    ));
}

fn answers_the_second(seen: &Seen<'_>) -> Act {
    if seen.time == 1 { Act::SucceedThenClose } else { Act::Ok }
}

#[test]
fn a_rule_that_no_call_is_for_is_told_where_all_was_done() {
    let shop = Shop::at(Provider::new());
    let rule = "[[call]]\nmatch = 'POST */nowhere'\ntimeout = '1s'\n";
    guarded(&shop, rule);
    shop.folder.semel("run").exits(0).says("no call matches the rule `POST */nowhere`");
    shop.folder.semel("run").exits(0).keeps_silent_of("no call matches");
}

#[test]
fn rules_that_contradict_each_other_are_told_with_both_places() {
    let shop = Shop::at(Provider::new());
    guarded(
        &shop,
        "[[call]]\nmatch = 'POST */charge'\nequal = 'separate'\n[[call]]\nmatch = 'POST */charge'\nequal = 'shared'\n",
    );
    let ran = shop.folder.semel("run").exits(2);
    assert!(ran.stderr.matches("*/charge").count() >= 2, "{}", ran.stderr);
    assert_eq!(shop.seen(), 0);
}

/// The rule that holds now decides, also for a call that became unknown before it was written.
#[test]
fn a_rule_that_came_later_holds_for_what_is_unknown() {
    let shop = Shop::at(Provider::builder().plan(answers_the_second).honours_keys(true).start());
    guarded(&shop, "[[call]]\nmatch = 'POST */charge'\nsend-key = 'Idempotency-Key'\n");
    shop.folder.semel("run").exits(3);
    let with = |window: &str| {
        guarded(
            &shop,
            &format!(
                "[[call]]\nmatch = 'POST */charge'\nsend-key = 'Idempotency-Key'\nunknown = 'resend'\nkey-window = '{window}'\n"
            ),
        );
    };
    // That time is over.
    with("1ms");
    shop.folder.semel("run").exits(3);
    assert_eq!(shop.seen(), 1);
    with("24h");
    shop.folder.semel("run").exits(0);
    assert_eq!((shop.provider.charges("1"), shop.seen()), (1, 2));
}

/// What a memory that is not whole does not know may have been paid.
#[test]
fn a_memory_that_lost_calls_pays_for_none_of_them() {
    let shop = Shop::at(Provider::new());
    guarded(&shop, "");
    shop.folder.semel("run").exits(0);
    shop.folder.sh("rm -r .semel/manifest.db* answer; mkdir -p .semel");
    shop.folder.file(".semel/manifest.db", "no database");
    shop.folder.semel("run").exits(3).says("a memory that may have lost them").says("--new-calls");
    assert_eq!(shop.seen(), 1);
    shop.folder.semel("run --new-calls").exits(0);
    assert_eq!(shop.seen(), 2);
}
