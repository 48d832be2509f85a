//! Where calls stand, as `status` and `why` tell it.

use semel_testkit::provider::{Act, Provider};

use super::shop::Shop;

#[test]
fn a_step_whose_call_is_unknown_says_so() {
    let shop = Shop::at(Provider::builder().plan(|_| Act::SucceedThenClose).start());
    shop.folder.pipeline(&format!(
        "[step.pay]\ncalls = 'guarded'\nrun = \"curl -sf -d '{{\\\"order\\\":\\\"1\\\"}}' {}\"\n\
         [[call]]\nmatch = 'POST */charge'\nprice = '0.02 EUR'\n",
        shop.charge()
    ));
    shop.folder.semel("run").exits(3);
    for _ in 0..2 {
        shop.folder.semel("status").exits(3).says("  calls           1 unknown, at most 0.02 EUR");
        let why = shop.folder.semel("why pay").exits(0);
        why.says("calls    1 unknown, at most 0.02 EUR").says("semel calls list --unknown");
    }
    let said = shop.folder.semel("status --json").exits(3).stdout;
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["calls"]["unknown"]["calls"], 1);
    assert_eq!(status["calls"]["unknown"]["cost"][0], "0.02 EUR");
    // Who only looks sends nothing.
    assert_eq!(shop.seen(), 1);
    shop.folder.semel("calls done 1 --because seen").exits(0);
    shop.folder.semel("why pay").says("calls    1 answered, 0.02 EUR");
}
