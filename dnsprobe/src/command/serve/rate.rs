//! How many verdicts are printed.

use std::time::{Duration, Instant};

/// At most so many per second.
#[derive(Debug)]
pub(super) struct Rate {
    pub(super) per_second: u32,
    second: Instant,
    left: u32,
}

impl Rate {
    pub(super) fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, second: now, left: per_second }
    }

    /// Whether one more may be printed.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.left) = (now, self.per_second);
        }
        let allows = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_so_many_a_second() {
        let start = Instant::now();
        let mut rate = Rate::new(2, start);
        let allowed = |rate: &mut Rate, ms| rate.allows(start + Duration::from_millis(ms));
        assert!(allowed(&mut rate, 0) && allowed(&mut rate, 10) && !allowed(&mut rate, 20));
        assert!(!allowed(&mut rate, 999) && allowed(&mut rate, 1_000));
        assert!(!Rate::new(0, start).allows(start));
    }
}
