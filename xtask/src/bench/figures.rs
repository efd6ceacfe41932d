//! From rounds to figures: what a watcher adds to a row.

use serde::{Deserialize, Serialize};

use super::line::{Line, Round, Timing, Watcher};

/// A row of one kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) unit: String,
    /// The row whose added cost was subtracted.
    pub(super) less: Option<String>,
    /// Instructions per unit when nobody watches.
    pub(super) baseline: Option<Cost>,
    pub(super) watchers: Vec<Added>,
}

/// What a unit costs, in guest instructions.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Cost {
    pub(super) per_unit: f64,
    /// Between the typical round of the first half and of the second.
    pub(super) spread: f64,
    pub(super) units: u64,
}

/// What a watcher adds to a unit, in guest instructions.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Added {
    pub(super) watcher: Watcher,
    pub(super) cost: Cost,
    /// The difference to nobody watching, all in all.
    pub(super) added: f64,
    /// Of that, without the processor time of the watcher's own process.
    pub(super) added_in_kernel: f64,
    /// How much `added` may be off by the spread of the rounds it is made of.
    pub(super) spread: f64,
}

/// A typical round, without and with the watcher's own time.
#[derive(Debug, Clone, Copy)]
struct Measured {
    cost: Cost,
    in_kernel: f64,
}

/// Every row of a guest, with all watchers that were there.
pub(super) fn rows(lines: &[Line]) -> Vec<Row> {
    let timings: Vec<&Timing> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Timing(timing) => Some(timing),
            _ => None,
        })
        .collect();
    let measured = |row: &str, watcher| {
        let timing = timings.iter().find(|t| t.row == row && t.watcher == watcher)?;
        Measured::of(&timing.rounds)
    };
    let mut watchers: Vec<Watcher> = Vec::new();
    for timing in &timings {
        if timing.watcher != Watcher::Nobody && !watchers.contains(&timing.watcher) {
            watchers.push(timing.watcher);
        }
    }
    let described = lines.iter().filter_map(|line| match line {
        Line::Row(row) => Some(row),
        _ => None,
    });
    described
        .map(|row| Row {
            name: row.name.clone(),
            about: row.about.clone(),
            unit: row.unit.clone(),
            less: row.less.clone(),
            baseline: measured(&row.name, Watcher::Nobody).map(|measured| measured.cost),
            watchers: watchers
                .iter()
                .filter_map(|watcher| {
                    let whole = difference(&measured, &row.name, *watcher)?;
                    Some(match &row.less {
                        Some(less) => whole.minus(&difference(&measured, less, *watcher)?),
                        None => whole,
                    })
                })
                .collect(),
        })
        .collect()
}

fn difference(
    measured: &impl Fn(&str, Watcher) -> Option<Measured>,
    row: &str,
    watcher: Watcher,
) -> Option<Added> {
    let (without, with) = (measured(row, Watcher::Nobody)?, measured(row, watcher)?);
    Some(Added {
        watcher,
        cost: with.cost,
        added: with.cost.per_unit - without.cost.per_unit,
        added_in_kernel: with.in_kernel - without.in_kernel,
        spread: with.cost.spread + without.cost.spread,
    })
}

impl Added {
    /// What it is compared by: all that it adds. Of the floor only the programs
    /// count, not the process that holds them.
    pub(super) fn compared(&self) -> f64 {
        match self.watcher {
            Watcher::Floor => self.added_in_kernel,
            _ => self.added,
        }
    }

    fn minus(self, other: &Self) -> Self {
        Self {
            added: self.added - other.added,
            added_in_kernel: self.added_in_kernel - other.added_in_kernel,
            spread: self.spread + other.spread,
            ..self
        }
    }
}

impl Measured {
    /// The typical round and the watcher's average share: a round in which the
    /// kernel did something unrelated (it does every few seconds) is no measure
    /// of the traffic, and the watcher works in some rounds only.
    fn of(rounds: &[Round]) -> Option<Self> {
        let units = rounds.iter().map(|round| round.units).sum::<u64>();
        if units == 0 || rounds.iter().any(|round| round.units == 0) {
            return None;
        }
        let each: Vec<f64> = rounds.iter().map(Round::in_kernel).collect();
        let (first, second) = each.split_at(each.len() / 2);
        let spread = match (median(first), median(second)) {
            (Some(first), Some(second)) => (first - second).abs(),
            _ => 0.0,
        };
        let watcher = rounds.iter().map(|round| round.watcher_ns).sum::<u64>() as f64;
        let in_kernel = median(&each)?;
        let cost = Cost { per_unit: in_kernel + watcher / units as f64, spread, units };
        Some(Self { cost, in_kernel })
    }
}

/// The middle of some values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

impl Row {
    /// Whether anybody but dnsprobe was measured.
    pub(super) fn has_peers(&self) -> bool {
        Watcher::PEERS.iter().any(|peer| self.watcher(*peer).is_some())
    }

    pub(super) fn watcher(&self, watcher: Watcher) -> Option<&Added> {
        self.watchers.iter().find(|added| added.watcher == watcher)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::line;
    use super::*;

    fn row(name: &str, less: Option<&str>) -> Line {
        Line::Row(line::Row {
            name: name.into(),
            about: "a".into(),
            unit: "packet".into(),
            less: less.map(str::to_owned),
        })
    }

    fn timing(row: &str, watcher: Watcher, rounds: &[(u64, u64)]) -> Line {
        let round = |(elapsed_ns, watcher_ns): &(u64, u64)| Round {
            units: 10,
            elapsed_ns: *elapsed_ns,
            watcher_ns: *watcher_ns,
        };
        Line::Timing(Timing {
            row: row.into(),
            watcher,
            rounds: rounds.iter().map(round).collect(),
        })
    }

    /// Two rows, the second of which builds on the first.
    pub(crate) fn lines() -> Vec<Line> {
        vec![
            row("old", None),
            row("new", Some("old")),
            timing("old", Watcher::Nobody, &[(1000, 0), (1010, 0)]),
            timing("new", Watcher::Nobody, &[(2000, 0)]),
            timing("old", Watcher::Dnsprobe, &[(1200, 50), (1210, 50)]),
            timing("new", Watcher::Dnsprobe, &[(2500, 100)]),
            Line::End,
        ]
    }

    #[test]
    fn added_is_the_difference_with_and_without_the_watchers_own_time() {
        let rows = rows(&lines());
        let added = rows[0].watcher(Watcher::Dnsprobe).unwrap();
        assert!((added.added - 20.0).abs() < 1e-9, "{added:?}");
        assert!((added.added_in_kernel - 15.0).abs() < 1e-9, "{added:?}");
        assert!((added.spread - 2.0).abs() < 1e-9, "{added:?}");
    }

    #[test]
    fn what_another_row_costs_is_taken_off() {
        let rows = rows(&lines());
        let added = rows[1].watcher(Watcher::Dnsprobe).unwrap();
        assert!((added.added - 30.0).abs() < 1e-9, "{added:?}");
        assert!((rows[1].baseline.unwrap().per_unit - 200.0).abs() < 1e-9);
    }

    #[test]
    fn a_round_in_which_something_else_happened_does_not_count() {
        let round = |elapsed_ns| Round { units: 10, elapsed_ns, watcher_ns: 0 };
        let rounds = [round(1000), round(1000), round(9000), round(1010), round(1010)];
        let measured = Measured::of(&rounds).unwrap();
        assert!((measured.in_kernel - 101.0).abs() < 1e-9, "{measured:?}");
        assert!((measured.cost.spread - 1.0).abs() < 1e-9, "{measured:?}");
    }

    #[test]
    fn without_a_baseline_nothing_is_added() {
        let lines = vec![row("x", None), timing("x", Watcher::Dnsprobe, &[(1, 0)])];
        let rows = rows(&lines);
        assert!(rows[0].baseline.is_none() && rows[0].watchers.is_empty());
        assert!(rows[0].watcher(Watcher::Dnsprobe).is_none());
    }
}
