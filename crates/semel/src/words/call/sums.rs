//! What calls came to: how many stand where, and what they cost.

use std::collections::BTreeMap;
use std::fmt;

use super::{CallState, Money};
use crate::words::thousands;

/// How many calls there are of a kind, and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many.
    pub calls: u64,
    /// Billionths, by their unit.
    pub cost: BTreeMap<String, i64>,
}

/// What calls came to, by where they stand.
///
/// ```
/// use semel::words::call::{CallState, Money, Sums};
/// let mut sums = Sums::default();
/// sums.add(CallState::Complete, 1200, Some(&Money::parse("18.52 USD").unwrap()));
/// sums.add(CallState::Unknown, 3, Some(&Money::parse("0.01 USD").unwrap()));
/// assert_eq!(sums.to_string(), "1,200 answered, 18.52 USD; 3 unknown, at most 0.01 USD");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<CallState, Sum>);

impl Sums {
    /// Adds so many calls, which cost so much together.
    pub fn add(&mut self, state: CallState, calls: u64, cost: Option<&Money>) {
        let sum = self.0.entry(state).or_default();
        sum.calls += calls;
        if let Some(cost) = cost {
            *sum.cost.entry(cost.unit.clone()).or_default() += cost.nanos;
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many stand there.
    #[must_use]
    pub fn count(&self, state: CallState) -> u64 {
        self.0.get(&state).map_or(0, |sum| sum.calls)
    }

    /// Each state that has calls, with what they came to.
    pub fn iter(&self) -> impl Iterator<Item = (CallState, &Sum)> {
        self.0.iter().map(|(state, sum)| (*state, sum))
    }
}

impl Sum {
    /// What they cost, in texts: `18.52 USD`.
    #[must_use]
    pub fn costs(&self) -> Vec<String> {
        let costs = self.cost.iter().filter(|(_, nanos)| **nanos > 0);
        costs.map(|(unit, nanos)| Money { nanos: *nanos, unit: unit.clone() }.to_string()).collect()
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = [
            (CallState::Complete, "answered", ""),
            (CallState::InFlight, "in flight", "at most "),
            (CallState::Unknown, "unknown", "at most "),
            (CallState::Rejected, "not processed", ""),
        ];
        let mut gap = "";
        for (state, word, before) in told {
            let Some(sum) = self.0.get(&state) else {
                continue;
            };
            write!(f, "{gap}{} {word}", thousands(sum.calls))?;
            let costs = sum.costs();
            if !costs.is_empty() {
                write!(f, ", {before}{}", costs.join(" and "))?;
            }
            gap = "; ";
        }
        Ok(())
    }
}
