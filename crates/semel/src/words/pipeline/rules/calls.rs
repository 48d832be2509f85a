//! What is said of calls: each rule by itself, and beside the others.

use super::Faults;
use crate::words::call::{Money, SendKey, WhenUnknown};
use crate::words::pipeline::Fault;
use crate::words::pipeline::draft::CallDraft;

/// All faults of the rules for calls.
pub(in crate::words::pipeline) fn faults(calls: &[CallDraft]) -> Vec<Fault> {
    // Of a rule that could not be read whole, what is missing may only be misspelt.
    let calls: Vec<_> = calls.iter().filter(|call| call.is_whole).collect();
    let mut found = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let by_itself = by_itself(call);
        if !by_itself.is_empty() {
            found.extend(by_itself);
            continue;
        }
        found.extend(keeps_its_promise(call, call));
        found.extend(one_unit(call, call));
        let earlier = calls[..at].iter().filter(|other| other.says("match"));
        for other in earlier.filter(|other| call.rule.pattern.overlaps(&other.rule.pattern)) {
            found.extend(agrees(call, other));
            found.extend(keeps_its_promise(call, other));
            found.extend(keeps_its_promise(other, call));
            found.extend(one_unit(call, other));
            found.extend(one_unit(other, call));
        }
        found.extend(money_is_spent(call, &calls));
    }
    found
}

impl Faults<'_> {
    pub(super) fn calls(&mut self) {
        self.found.extend(faults(&self.pipeline.calls));
    }
}

/// What can be wrong with a rule that stands alone.
fn by_itself(call: &CallDraft) -> Vec<Fault> {
    let mut found = Vec::new();
    if !call.says("match") {
        found.push(
            Fault::new("a rule for no calls", &call.span, "which calls?")
                .help("add  match = \"POST api.example.com/**\""),
        );
    } else if call.said.len() == 1 {
        let place = call.place("match");
        found.push(Fault::new("a rule that says nothing", place, "of these calls"));
    }
    // What passes through is not looked at.
    if call.rule.pass == Some(true) {
        let others = call.said.iter().filter(|(key, _)| key != "match" && key != "pass");
        for (key, span) in others {
            let title = format!("`{key}` with `pass`");
            found.push(
                Fault::new(title, span, "has no meaning then")
                    .also(call.place("pass"), "nothing of these calls is kept"),
            );
        }
    }
    found
}

/// What to do where one of two rules lets calls pass.
const NARROWER: &str = "let pass no more than the other speaks of: make that pattern narrower";

/// Two rules that are for one call say the same of each key.
fn agrees(call: &CallDraft, other: &CallDraft) -> Vec<Fault> {
    // Some of the calls of a rule may pass; what a rule says of some may not be lost in others
    // that pass.
    let passes = |one: &CallDraft, other: &CallDraft| {
        one.rule.pass == Some(true)
            && other.rule.pass.is_none()
            && !other.rule.pattern.covers(&one.rule.pattern)
    };
    let mut found: Vec<_> = call
        .rule
        .contradictions(&other.rule)
        .into_iter()
        .map(|key| {
            let title = format!("two rules for the same calls differ in `{key}`");
            Fault::new(title, call.place(key), "says this")
                .also(other.place(key), "says something else")
                .help(format!(
                    "calls that match both  {}  and  {}",
                    other.rule.pattern, call.rule.pattern
                ))
                .help("make the patterns narrower, or say it in one of the rules only")
        })
        .collect();
    // The later of them is at fault, whichever it is.
    if passes(call, other) {
        let title = "two rules for the same calls, and one lets them pass";
        found.push(
            Fault::new(title, call.place("pass"), "nothing of them is kept")
                .also(other.place("match"), "says something of them")
                .help(NARROWER),
        );
    } else if passes(other, call) {
        let title = "two rules for the same calls, and one lets them pass";
        found.push(
            Fault::new(title, call.place("match"), "says something of them")
                .also(other.place("pass"), "nothing of them is kept")
                .help(NARROWER),
        );
    }
    found
}

/// What is sent again with its key has one. `other` may be the same rule.
fn keeps_its_promise(call: &CallDraft, other: &CallDraft) -> Option<Fault> {
    let resends = call.rule.unknown == Some(WhenUnknown::Resend);
    let has_no_key = other.rule.send_key == Some(SendKey::No);
    let is_read = call.rule.read == Some(true) || other.rule.read == Some(true);
    (resends && has_no_key && !is_read).then(|| {
        let title = "`unknown = \"resend\"` with `send-key = false`";
        Fault::new(title, call.place("unknown"), "without a key it would be paid for again")
            .also(other.place("send-key"), "none is sent")
            .help("unknown = { resend = 2 }  accepts to pay again, so often")
    })
}

/// The budget of a rule is in the unit of the price. `other` may be the same rule.
fn one_unit(call: &CallDraft, other: &CallDraft) -> Option<Fault> {
    let limit = call.rule.budget.as_ref()?.money.as_ref()?;
    let price: &Money = other.rule.price.as_ref()?.reserved();
    (limit.unit != price.unit).then(|| {
        let title = format!("a budget in {} for a price in {}", limit.unit, price.unit);
        Fault::new(title, call.place("budget"), "the budget")
            .also(other.place("price"), "the price")
    })
}

/// A budget of money is for calls that have a price.
fn money_is_spent(call: &CallDraft, calls: &[&CallDraft]) -> Option<Fault> {
    call.rule.budget.as_ref()?.money.as_ref()?;
    let has_price = calls
        .iter()
        .any(|other| other.rule.price.is_some() && call.rule.pattern.overlaps(&other.rule.pattern));
    (!has_price).then(|| {
        let title = "a budget of money for calls without a price";
        Fault::new(title, call.place("budget"), "would never be spent")
            .help("say what a call costs:  price = \"0.0015 USD\"")
            .help("or how many there may be:  budget = { calls = 1000 }")
    })
}
