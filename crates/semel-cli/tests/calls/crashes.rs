//! All are killed at every change of the disk that semel makes, before it and after it.

use std::sync::Mutex;

use semel_testkit::sweep::one_of;
use semel_testkit::tracer::{Blow, Moment, Plan, Point, Unavailable, trace};

use crate::batch::{Batch, Rule};

fn is_point(point: &Point) -> bool {
    point.own && point.changes
}

/// Kills at a point. What came of it; whether the blow fell.
fn killed(rule: Rule, at: usize, moment: Moment) -> (bool, Result<(), String>) {
    let batch = Batch::behaved(rule);
    let plan = Plan { is_point: &is_point, blow: Some((at, Blow::Kill(moment))) };
    let first = trace(&batch.guarded(1), &plan).expect("it could be traced before");
    let go = || -> Result<(), String> {
        batch.holds(&batch.requests_of_unknown())?;
        let unknown = batch.requests_of_unknown();
        let (ran, _) = batch.run(batch.guarded(2), None);
        batch.holds(&unknown)?;
        batch.is_over(ran.status).map_err(|error| format!("{error}\n{ran:?}"))?;
        if rule == Rule::Resend { batch.all_are_charged_once() } else { Ok(()) }
    };
    let point = first.points.last().map(ToString::to_string).unwrap_or_default();
    let held = go().map_err(|error| format!("{rule:?}, {moment:?} {at}, {point}: {error}"));
    (first.was_struck, held)
}

fn sweep(rule: Rule) -> Result<(), Unavailable> {
    let batch = Batch::behaved(rule);
    let whole = trace(&batch.guarded(1), &Plan { is_point: &is_point, blow: None })?;
    assert_eq!(whole.status, 0, "{whole:?}");
    let points = whole.points.len();
    let step = one_of(23);
    let all = (1..=points).flat_map(|at| [(at, Moment::Before), (at, Moment::After)]);
    let next = Mutex::new(all.enumerate().filter(|(number, _)| number % step == 0));
    let tally = Mutex::new((0, 0, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((_, (at, moment))) = next.lock().unwrap().next() else { return };
                    let (struck, held) = killed(rule, at, moment);
                    let mut tally = tally.lock().unwrap();
                    tally.0 += 1;
                    tally.1 += usize::from(struck);
                    tally.2.extend(held.err());
                }
            });
        }
    });
    let (tried, struck, violations): (usize, usize, Vec<String>) = tally.into_inner().unwrap();
    println!(
        "calls, killed at one of {points} changes, rule: {rule:?}: tried: {tried}, struck: \
         {struck}, violations: {}",
        violations.len()
    );
    assert!(violations.is_empty(), "{}", violations[..violations.len().min(3)].join("\n---- "));
    Ok(())
}

fn sweep_or_tell(rule: Rule) {
    if let Err(unavailable) = sweep(rule) {
        unavailable.tell("calls, killed at every change");
    }
}

#[test]
fn i14_killed_at_every_change_no_order_is_charged_twice() {
    sweep_or_tell(Rule::None);
}

#[test]
fn i14_killed_at_every_change_every_order_is_charged_once_where_keys_are_honoured() {
    sweep_or_tell(Rule::Resend);
}
