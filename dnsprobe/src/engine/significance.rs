//! How unlikely a number of successes is by chance, as an upper bound: never
//! too small, so nothing is called significant that is not.

/// At most this probable is it that of `trials` independent trials, each a
/// success with probability `chance`, at least `successes` succeed (Chernoff's
/// bound, by the relative entropy). 1 where that is no surprise.
#[must_use]
pub fn at_least_by_chance(successes: u64, trials: u64, chance: f64) -> f64 {
    if trials == 0 || chance >= 1.0 {
        return 1.0;
    }
    let share = successes as f64 / trials as f64;
    if share <= chance {
        return 1.0;
    }
    if chance <= 0.0 {
        return 0.0;
    }
    let term = |p: f64, q: f64| if p <= 0.0 { 0.0 } else { p * (p / q).ln() };
    let entropy = term(share, chance) + term(1.0 - share, 1.0 - chance);
    (-(trials as f64) * entropy).exp().min(1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The probability itself, summed up.
    fn exact(successes: u64, trials: u64, chance: f64) -> f64 {
        let mut term = (1.0 - chance).powi(i32::try_from(trials).unwrap());
        let mut sum = 0.0;
        for k in 0..=trials {
            if k >= successes {
                sum += term;
            }
            term *= (trials - k) as f64 / (k + 1) as f64 * chance / (1.0 - chance);
        }
        sum
    }

    #[test]
    fn what_is_expected_is_no_surprise_and_what_cannot_be_is_impossible() {
        assert_eq!(at_least_by_chance(50, 100, 0.5), 1.0);
        assert_eq!(at_least_by_chance(0, 0, 0.5), 1.0);
        assert_eq!(at_least_by_chance(1, 10, 0.0), 0.0);
        assert!(at_least_by_chance(90, 100, 0.5) < 1e-15);
        assert!(at_least_by_chance(60, 100, 0.5) > 0.1);
    }

    proptest! {
        #[test]
        fn the_bound_is_never_below_the_probability(
            trials in 1_u64..60, share in 0.0..=1.0_f64, chance in 0.05..0.95_f64
        ) {
            let successes = (trials as f64 * share) as u64;
            let bound = at_least_by_chance(successes, trials, chance);
            prop_assert!(bound >= exact(successes, trials, chance) - 1e-9);
        }
    }
}
