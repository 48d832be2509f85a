//! How much is tried: a part of it each time, all of it where `SEMEL_SWEEP` says so.

/// One of how many points is tried, unless `SEMEL_SWEEP` says otherwise: `full` tries
/// all, a number one of so many.
///
/// # Panics
/// If the variable is neither.
#[must_use]
pub fn one_of(usually: usize) -> usize {
    match std::env::var("SEMEL_SWEEP") {
        Ok(text) if text == "full" => 1,
        Ok(text) => text.parse().expect("SEMEL_SWEEP is `full` or a number"),
        Err(_) => usually,
    }
}

/// How often something is tried at random: as often as usual, or, with `SEMEL_SWEEP`, all
/// times or one of so many of them.
///
/// # Panics
/// If the variable is neither `full` nor a number.
#[must_use]
pub fn times(usually: usize, all: usize) -> usize {
    all.div_ceil(one_of(all.div_ceil(usually)))
}

/// Numbers that look random, and are the same each time.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one, from 0 to 1.
    pub fn fraction(&mut self) -> f64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).expect("it has 32 bits");
        f64::from(high) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_numbers_are_spread_and_come_again() {
        let some = |seed| {
            let mut seeded = Seeded::of(seed);
            (0..1000).map(|_| seeded.fraction()).collect::<Vec<_>>()
        };
        let numbers = some(7);
        assert_eq!(numbers, some(7));
        assert_ne!(numbers, some(8));
        for tenth in 0..10 {
            let of_tenth = numbers.iter().filter(|number| (**number * 10.0) as u32 == tenth);
            assert!((60..140).contains(&of_tenth.count()), "{tenth}");
        }
    }
}
