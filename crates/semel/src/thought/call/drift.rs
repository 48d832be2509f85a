//! Drift: a run again whose requests are no longer those that were recorded, though they mean
//! the same. They would be paid anew.
//!
//! Of the recorded calls of one place (method and URL) some field tells each from the others:
//! an order's number, a prompt. A new request that has in it what a recorded one has, and
//! differs elsewhere, is a near miss.

use std::collections::HashMap;

use super::identity::Leaf;

/// After how many near misses an attempt has drifted, if nothing was hit.
pub const LIMIT: usize = 5;

/// The recorded calls of one place.
#[derive(Debug, Default)]
pub struct Recorded {
    calls: Vec<Vec<Leaf>>,
    /// Of each pointer: the values, and whose they are.
    values: HashMap<String, HashMap<String, usize>>,
    /// The pointers whose values come twice.
    common: std::collections::HashSet<String>,
}

/// A new request that looks like a recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearMiss {
    /// The field in which they agree, and that tells the recorded ones apart.
    pub same: String,
    /// The fields in which they differ: the pointer, what was recorded, what is new; empty
    /// where there is none.
    pub differ: Vec<(String, String, String)>,
}

impl Recorded {
    /// Adds a recorded call by the fields of its body.
    pub fn add(&mut self, leaves: Vec<Leaf>) {
        let at = self.calls.len();
        for leaf in &leaves {
            let values = self.values.entry(leaf.pointer.clone()).or_default();
            if values.insert(leaf.value.clone(), at).is_some_and(|other| other != at) {
                self.common.insert(leaf.pointer.clone());
            }
        }
        self.calls.push(leaves);
    }

    /// Whether a new request looks like a recorded call. Of a single one nothing tells
    /// what it is that matters.
    #[must_use]
    pub fn near_miss(&self, leaves: &[Leaf]) -> Option<NearMiss> {
        if self.calls.len() < 2 {
            return None;
        }
        let tells_apart = |pointer: &String| {
            !self.common.contains(pointer)
                && self.values.get(pointer).is_some_and(|values| values.len() == self.calls.len())
        };
        let (same, at) =
            leaves.iter().filter(|leaf| tells_apart(&leaf.pointer)).find_map(|leaf| {
                Some((leaf.pointer.clone(), *self.values.get(&leaf.pointer)?.get(&leaf.value)?))
            })?;
        let differ = differences(&self.calls[at], leaves);
        (!differ.is_empty()).then_some(NearMiss { same, differ })
    }
}

fn differences(recorded: &[Leaf], new: &[Leaf]) -> Vec<(String, String, String)> {
    let value = |leaves: &[Leaf], pointer: &str| {
        leaves
            .iter()
            .find(|leaf| leaf.pointer == pointer)
            .map(|leaf| leaf.value.clone())
            .unwrap_or_default()
    };
    let missing =
        recorded.iter().filter(|leaf| !new.iter().any(|other| other.pointer == leaf.pointer));
    let pointers = new.iter().chain(missing).map(|leaf| &leaf.pointer);
    pointers
        .filter_map(|pointer| {
            let (old, new) = (value(recorded, pointer), value(new, pointer));
            (old != new).then(|| (pointer.clone(), old, new))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(fields: &[(&str, &str)]) -> Vec<Leaf> {
        fields
            .iter()
            .map(|(pointer, value)| Leaf {
                pointer: (*pointer).to_owned(),
                value: (*value).to_owned(),
            })
            .collect()
    }

    #[test]
    fn what_tells_calls_apart_tells_a_near_miss() {
        let mut recorded = Recorded::default();
        for (order, day) in [("17", "mon"), ("18", "mon"), ("19", "mon")] {
            recorded.add(leaves(&[("/order", order), ("/day", day), ("/model", "x")]));
        }
        let miss = recorded
            .near_miss(&leaves(&[("/order", "18"), ("/day", "tue"), ("/model", "x")]))
            .unwrap();
        assert_eq!(miss.same, "/order");
        assert_eq!(miss.differ, [("/day".to_owned(), "mon".to_owned(), "tue".to_owned())]);
        // A new order is a new call, whatever it shares with all.
        assert_eq!(
            recorded.near_miss(&leaves(&[("/order", "20"), ("/day", "tue"), ("/model", "x")])),
            None
        );
    }

    #[test]
    fn one_call_tells_nothing() {
        let mut recorded = Recorded::default();
        recorded.add(leaves(&[("/order", "17"), ("/model", "x")]));
        assert_eq!(recorded.near_miss(&leaves(&[("/order", "18"), ("/model", "x")])), None);
    }
}
