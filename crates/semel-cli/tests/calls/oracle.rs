//! Batches, killed at random moments and run again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use semel_testkit::Running;
use semel_testkit::sweep::times;

use crate::batch::{Batch, ORDERS, RUNS, Rule};
use crate::blow::Blow;

/// How many trials each rule has in a full sweep, and usually.
const ALL: usize = 500;
const USUALLY: usize = 6;

/// How trials went.
#[derive(Default)]
struct Tally {
    tried: usize,
    /// How the last runs ended.
    ended: BTreeMap<i32, usize>,
    blows: BTreeMap<Blow, usize>,
    /// Complete; not complete; of these charged.
    sums: [usize; 3],
    violations: Vec<String>,
    /// Without semel: orders that were charged more than once, and charges too many.
    plain: [usize; 2],
}

/// How one went.
struct Trial {
    status: i32,
    blow: Option<Blow>,
    sums: [usize; 3],
    held: Result<(), String>,
}

fn trial(number: u64, rule: Rule) -> Trial {
    let (batch, moment, blow) = Batch::new(number, rule);
    let fall = |running: &Running| blow.fall_on(running);
    let (mut status, mut struck, mut ran) = (0, None, Vec::new());
    let mut go = || -> Result<(), String> {
        for run in 1..=RUNS {
            let unknown = batch.requests_of_unknown();
            let planned = (run == 1).then_some((moment, &fall as &dyn Fn(&Running)));
            let (ended, has_fallen) = batch.run(batch.guarded(run), planned);
            struck = struck.or(has_fallen.then_some(blow));
            status = ended.status;
            ran.push(ended);
            batch.holds(&unknown)?;
            let is_over = match rule {
                Rule::None => matches!(status, 0 | 103) && !(run == 1 && has_fallen),
                Rule::Resend => status == 0,
            };
            if is_over {
                break;
            }
        }
        batch.is_over(status)?;
        if rule == Rule::Resend { batch.all_are_charged_once() } else { Ok(()) }
    };
    let held = go().map_err(|error| {
        format!("trial {number}, {rule:?}, {blow:?} at {moment:?}: {error}\n{ran:#?}")
    });
    Trial { status, blow: struck, sums: batch.sums(), held }
}

/// The same batch without semel: the client is killed, and run again until it is content.
/// Orders that were charged more than once, and charges too many.
fn plain(number: u64) -> [usize; 2] {
    let (batch, moment, _) = Batch::new(number, Rule::None);
    let fall = |running: &Running| running.signal(rustix::process::Signal::KILL);
    for run in 1..=RUNS {
        let planned = (run == 1).then_some((moment, &fall as &dyn Fn(&Running)));
        if batch.run(batch.plain(), planned).0.status == 0 {
            break;
        }
    }
    let charges = batch.provider.charges_by_order();
    let twice = charges.values().filter(|charges| **charges > 1);
    [twice.clone().count(), twice.map(|charges| *charges as usize - 1).sum()]
}

fn sweep(rule: Rule) {
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let trials = times(USUALLY, ALL) as u64;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= trials {
                        return;
                    }
                    let (with, without) = (trial(number, rule), plain(number));
                    let mut tally = tally.lock().unwrap();
                    tally.tried += 1;
                    *tally.ended.entry(with.status).or_default() += 1;
                    if let Some(blow) = with.blow {
                        *tally.blows.entry(blow).or_default() += 1;
                    }
                    tally.sums = add(tally.sums, with.sums);
                    tally.plain = add(tally.plain, without);
                    tally.violations.extend(with.held.err());
                }
            });
        }
    });
    tally.into_inner().unwrap().tell(rule);
}

fn add<const N: usize>(one: [usize; N], other: [usize; N]) -> [usize; N] {
    std::array::from_fn(|at| one[at] + other[at])
}

impl Tally {
    fn tell(&self, rule: Rule) {
        let Self { tried, ended, blows, violations, .. } = self;
        let [complete, others, charged] = self.sums;
        let [twice, surplus] = self.plain;
        let orders = tried * ORDERS as usize;
        println!(
            "calls, rule: {rule:?}: tried: {tried}, violations: {}; exit {ended:?}; killed: \
             {blows:?}\n  with semel: {complete} of {orders} orders complete and charged once, \
             {others} not complete, of which {charged} were charged; none twice\n  without: \
             {twice} of {orders} charged more than once, {surplus} charges too many",
            violations.len()
        );
        let told: Vec<_> = violations.iter().take(3).map(String::as_str).collect();
        assert!(told.is_empty(), "{} violations\n---- {}", violations.len(), told.join("\n---- "));
        assert!(twice > 0, "the provider is one that a plain client cannot live with");
    }
}

#[test]
fn i13_no_order_is_charged_twice_and_what_is_unknown_is_not_sent_again() {
    sweep(Rule::None);
}

#[test]
fn i13_where_keys_are_honoured_every_order_is_charged_once() {
    sweep(Rule::Resend);
}
