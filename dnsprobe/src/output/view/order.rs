//! By what the table is sorted.

use std::cmp::Ordering;

use crate::stats::PodCounts;

/// A sort key. All but the name sort the largest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Lost,
    Rate,
    Queries,
    P95,
    Max,
    Name,
}

impl Sort {
    const ALL: [Self; 6] =
        [Self::Lost, Self::Rate, Self::Queries, Self::P95, Self::Max, Self::Name];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Rate => "rate",
            Self::Queries => "queries",
            Self::P95 => "p95",
            Self::Max => "max",
            Self::Name => "name",
        }
    }

    /// The key so many steps further on.
    pub(super) fn step(self, steps: usize) -> Self {
        let at = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL[(at + steps) % Self::ALL.len()]
    }

    pub(super) fn next(self) -> Self {
        self.step(1)
    }

    pub(super) fn previous(self) -> Self {
        self.step(Self::ALL.len() - 1)
    }

    fn compare(self, one: &PodCounts, other: &PodCounts) -> Ordering {
        let latency = |row: &PodCounts, of: fn(&crate::stats::LatencySummary) -> f64| {
            row.window.latency_seconds.as_ref().map_or(-1.0, of)
        };
        match self {
            Self::Lost => other.total.lost_total.cmp(&one.total.lost_total),
            Self::Rate => other.window.queries_per_second.total_cmp(&one.window.queries_per_second),
            Self::Queries => other.total.queries.cmp(&one.total.queries),
            Self::P95 => latency(other, |l| l.p95).total_cmp(&latency(one, |l| l.p95)),
            Self::Max => latency(other, |l| l.max).total_cmp(&latency(one, |l| l.max)),
            Self::Name => Ordering::Equal,
        }
    }
}

/// Sorts rows; equal ones by the number of queries, then by name.
pub(super) fn sort(rows: &mut [&PodCounts], by: Sort, reversed: bool) {
    rows.sort_by_cached_key(|row| (row.owner.to_string(), row.role));
    rows.sort_by(|one, other| {
        let order = by.compare(one, other);
        let order = if by == Sort::Lost {
            order.then(other.total.queries.cmp(&one.total.queries))
        } else {
            order
        };
        if reversed { order.reverse() } else { order }
    });
    if reversed && by == Sort::Name {
        rows.reverse();
    }
}
