//! When a failed attempt is followed by another.

use std::time::Duration;

use crate::words::pipeline::Retry;

/// The pause before the next attempt, after `failed` attempts; `None` if there
/// is none. `chance` is a random number from 0 to 1: pauses are spread, so that
/// tasks which failed together do not come back together.
#[must_use]
pub fn pause(retry: &Retry, failed: u32, chance: f64) -> Option<Duration> {
    if failed == 0 || failed > retry.times {
        return None;
    }
    let doublings = failed.saturating_sub(1).min(30);
    let full = retry.wait.saturating_mul(1 << doublings).min(retry.up_to);
    // From half of the pause to the whole of it.
    Some(full.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RETRY: Retry =
        Retry { times: 4, wait: Duration::from_secs(1), up_to: Duration::from_secs(5) };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pauses: Vec<_> =
            (0..6).map(|failed| pause(&RETRY, failed, 1.0).map(|pause| pause.as_secs())).collect();
        assert_eq!(pauses, [None, Some(1), Some(2), Some(4), Some(5), None]);
    }

    proptest! {
        #[test]
        fn chance_spreads_a_pause_over_its_second_half(failed in 1_u32..=4, chance in 0.0..1.0_f64) {
            let full = pause(&RETRY, failed, 1.0).expect("one more");
            let some = pause(&RETRY, failed, chance).expect("one more");
            prop_assert!(some <= full && some * 2 >= full);
        }
    }
}
