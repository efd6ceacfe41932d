//! Keeps dnsprobe's own use of the processor below a limit by leaving out detail, and
//! puts it back when there is room again. Counting goes on whatever it costs.

use std::time::Duration;

use crate::metrics::Shed;

/// A measurement covers at least this time: shorter ones say little.
const AT_LEAST: Duration = Duration::from_millis(400);
/// Measurements in a row above the limit until more is left out.
const TOO_MANY: u32 = 3;
/// Below this part of the limit there is room again.
const ROOM: f64 = 0.5;
/// Measurements in a row with room until something is put back, at first. Each time
/// that it was too much after all, twice as many are wanted the next time.
const ENOUGH: u32 = 12;
/// The most that are ever wanted: an hour, at the usual interval.
const ENOUGH_AT_MOST: u32 = 720;

/// Decides from the processor time used. Has no clock of its own.
#[derive(Clone, Debug)]
pub struct Governor {
    /// Share of one processor; `None`: no limit.
    limit: Option<f64>,
    /// What can be left out here, in order.
    can_shed: Vec<Shed>,
    /// How much of that is left out.
    shed: usize,
    /// Processor time and time since the start at the last measurement.
    last: Option<(Duration, Duration)>,
    share: f64,
    above: u32,
    below: u32,
    enough: u32,
    /// Something was put back, and it is not known yet whether there is room for it.
    on_trial: bool,
}

impl Governor {
    /// `limit`: share of one processor, none for no limit; `can_shed`: what there is to
    /// leave out, in order.
    #[must_use]
    pub fn new(limit: Option<f64>, can_shed: Vec<Shed>) -> Self {
        Self {
            limit,
            can_shed,
            shed: 0,
            last: None,
            share: 0.0,
            above: 0,
            below: 0,
            enough: ENOUGH,
            on_trial: false,
        }
    }

    /// Another limit from now on. Without one all is put back.
    pub fn set_limit(&mut self, limit: Option<f64>) {
        self.limit = limit;
        if limit.is_none() {
            self.shed = 0;
        }
    }

    /// What is left out.
    #[must_use]
    pub fn shed(&self) -> &[Shed] {
        &self.can_shed[..self.shed]
    }

    /// Share of one processor at the last measurement.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }

    /// What was used until now is not held against anybody, such as attaching hooks.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Measures: `used` is the processor time used until now, `up` the time since the
    /// start. Whether something more or less is left out from now on.
    pub fn measure(&mut self, used: Duration, up: Duration) -> bool {
        let Some((last_used, last_up)) = self.last else {
            self.last = Some((used, up));
            return false;
        };
        let time = up.saturating_sub(last_up);
        if time < AT_LEAST {
            return false;
        }
        self.last = Some((used, up));
        self.share = used.saturating_sub(last_used).as_secs_f64() / time.as_secs_f64();
        let before = self.shed;
        if let Some(limit) = self.limit {
            self.decide(limit);
        }
        self.shed != before
    }

    fn decide(&mut self, limit: f64) {
        self.above = if self.share > limit { self.above + 1 } else { 0 };
        self.below = if self.share < limit * ROOM { self.below + 1 } else { 0 };
        if self.above >= TOO_MANY && self.shed < self.can_shed.len() {
            if self.on_trial {
                self.enough = (self.enough * 2).min(ENOUGH_AT_MOST);
            }
            self.shed += 1;
            (self.above, self.on_trial) = (0, false);
        } else if self.below >= self.enough && self.shed > 0 {
            self.shed -= 1;
            (self.below, self.on_trial) = (0, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: f64 = 0.05;

    /// A governor and the time it measured last.
    struct Run(Governor, Duration, Duration);

    impl Run {
        fn new() -> Self {
            let mut governor = Governor::new(Some(LIMIT), Shed::ALL.to_vec());
            governor.measure(Duration::ZERO, Duration::ZERO);
            Self(governor, Duration::ZERO, Duration::ZERO)
        }

        /// So many measurements of five seconds with this share each; how much is left
        /// out at the end.
        fn measure(&mut self, share: f64, times: u32) -> usize {
            for _ in 0..times {
                self.1 += Duration::from_secs_f64(share * 5.0);
                self.2 += Duration::from_secs(5);
                self.0.measure(self.1, self.2);
            }
            self.0.shed().len()
        }
    }

    #[test]
    fn detail_goes_step_by_step_after_three_measurements_each() {
        let mut run = Run::new();
        assert_eq!(run.measure(0.2, 2), 0);
        assert_eq!(run.measure(0.2, 1), 1);
        assert_eq!(run.0.shed(), [Shed::Lines]);
        assert_eq!(run.measure(0.2, 3), 2);
        assert_eq!(run.measure(0.2, 30), 3);
        assert_eq!(run.0.shed(), Shed::ALL);
        assert!((run.0.share() - 0.2).abs() < 1e-9);
    }

    #[test]
    fn a_moment_of_load_sheds_nothing() {
        let mut run = Run::new();
        for _ in 0..20 {
            assert_eq!(run.measure(0.2, 2), 0);
            assert_eq!(run.measure(0.04, 1), 0);
        }
    }

    #[test]
    fn it_comes_back_when_there_is_room_and_not_when_there_is_only_little() {
        let mut run = Run::new();
        assert_eq!(run.measure(0.2, 6), 2);
        assert_eq!(run.measure(0.03, 100), 2, "between half the limit and the limit");
        assert_eq!(run.measure(0.01, 11), 2);
        assert_eq!(run.measure(0.01, 1), 1);
        assert_eq!(run.measure(0.01, 12), 0);
    }

    #[test]
    fn what_was_put_back_too_early_waits_longer_the_next_time() {
        let mut run = Run::new();
        run.measure(0.2, 3);
        assert_eq!(run.measure(0.01, 12), 0);
        assert_eq!(run.measure(0.2, 3), 1);
        assert_eq!(run.measure(0.01, 23), 1);
        assert_eq!(run.measure(0.01, 1), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_left_out() {
        let mut run = Run::new();
        run.measure(0.2, 6);
        run.0.set_limit(None);
        assert_eq!(run.measure(9.0, 50), 0);
    }

    #[test]
    fn short_times_are_no_measurement_and_what_is_forgotten_counts_for_nothing() {
        let mut governor = Governor::new(Some(LIMIT), Shed::ALL.to_vec());
        for n in 0..39 {
            let now = Duration::from_millis(n * 10);
            assert!(!governor.measure(now, now));
        }
        for n in 1..20 {
            governor.forget();
            let now = Duration::from_secs(n * 10);
            assert!(!governor.measure(now, now));
        }
    }

    proptest! {
        #[test]
        fn it_goes_by_single_steps_and_tells_each(
            shares in prop::collection::vec(0.0..0.2_f64, 1..300),
        ) {
            let mut run = Run::new();
            let mut before = 0;
            for share in shares {
                run.1 += Duration::from_secs_f64(share * 5.0);
                run.2 += Duration::from_secs(5);
                let told = run.0.measure(run.1, run.2);
                let now = run.0.shed().len();
                prop_assert!(now.abs_diff(before) <= 1);
                prop_assert_eq!(told, now != before);
                before = now;
            }
        }
    }
}
