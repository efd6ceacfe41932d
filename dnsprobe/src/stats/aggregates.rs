//! What one reading of the kernel's aggregates says.

use dnsprobe_common::stats::{Stats, StatsKey};

/// How the kernel's aggregates differ from the reading before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggregateChanges {
    /// Those that changed, as they are now. The others are as they were.
    pub changed: Vec<(StatsKey, Box<Stats>)>,
    /// Those that are no more. What comes under such a key later begins at zero.
    pub given_back: Vec<StatsKey>,
}
