//! When to ask again for what was not found: later each time, and not for ever.

use std::time::Duration;

/// One second after the first time, then after twice as long each time.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// Times that something is asked for in all: what is not known after half a minute
/// does not become known.
const TIMES: u32 = 6;

/// How long to wait when something was asked for so many times in vain; `None`: for
/// good.
pub(super) fn wait_after(times: u32) -> Option<Duration> {
    (times < TIMES).then(|| FIRST * 2_u32.pow(times.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_come_to_an_end() {
        let seconds: Vec<Option<u64>> =
            (1..=7).map(|times| wait_after(times).map(|wait| wait.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(2), Some(4), Some(8), Some(16), None, None]);
    }
}
