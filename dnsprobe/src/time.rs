//! Kernel time to wall-clock time, and its one way of being printed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use serde::{Serialize, Serializer};

/// A moment in UTC, printed to the microsecond (RFC 3339).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl Timestamp {
    /// Nanoseconds since the Unix epoch. Differences between two of these are
    /// differences of kernel time.
    #[must_use]
    pub fn unix_ns(self) -> u64 {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The moment that lies so many nanoseconds after the Unix epoch.
    #[must_use]
    pub fn from_unix_ns(unix_ns: u64) -> Self {
        Self(SystemTime::UNIX_EPOCH + Duration::from_nanos(unix_ns))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.0).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The wall clock as it stood at one reading of the kernel's monotonic clock.
/// Latencies never use it; it only names moments.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: SystemTime,
    monotonic_ns: u64,
}

impl Clock {
    /// A clock from one simultaneous reading of both.
    #[must_use]
    pub fn new(wall: SystemTime, monotonic_ns: u64) -> Self {
        Self { wall, monotonic_ns }
    }

    /// The wall-clock time of a kernel timestamp.
    #[must_use]
    pub fn timestamp(&self, kernel_ns: u64) -> Timestamp {
        let distance = Duration::from_nanos(kernel_ns.abs_diff(self.monotonic_ns));
        let moment = if kernel_ns >= self.monotonic_ns {
            self.wall.checked_add(distance)
        } else {
            self.wall.checked_sub(distance)
        };
        Timestamp(moment.unwrap_or(self.wall))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_moments_lie_around_the_reading() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let clock = Clock::new(wall, 5_000_000_000);
        assert_eq!(clock.timestamp(5_000_001_000).to_string(), "1970-01-01T00:16:40.000001Z");
        assert_eq!(clock.timestamp(4_000_000_000).to_string(), "1970-01-01T00:16:39.000000Z");
    }
}
