//! What is held against a soak.

use std::fmt;

use serde::Serialize;

use crate::client::Report;

/// What the clients of a phase measured, together.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Asked {
    pub(super) asked: u64,
    pub(super) lost: u64,
    /// The slower client's.
    pub(super) p50_seconds: f64,
    pub(super) p99_seconds: f64,
}

/// dnsprobe's own figures at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// Since the clients began.
    pub(super) seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) processor_seconds: f64,
    pub(super) lost_events: f64,
    /// Queries for which a table was full.
    pub(super) not_kept: f64,
    pub(super) missed_runs: f64,
}

/// What dnsprobe counted of the clients.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counted {
    pub(super) queries: u64,
    pub(super) answered: u64,
    pub(super) lost: u64,
}

/// A whole soak.
#[derive(Debug, Serialize)]
pub(super) struct Soak {
    pub(super) kernel: String,
    /// Queries per second that were to be asked.
    pub(super) rate: u32,
    pub(super) seconds: u64,
    /// Pods that came and went while dnsprobe watched.
    pub(super) pods_gone: u32,
    /// Without dnsprobe.
    pub(super) before: Asked,
    pub(super) with: Asked,
    /// Without it, again: what changes between the two is noise.
    pub(super) after: Asked,
    pub(super) counted: Counted,
    pub(super) samples: Vec<Sample>,
    /// Everything that is not as it must be.
    pub(super) problems: Vec<String>,
}

/// The first part of the samples is warm-up.
const WARM_UP: f64 = 0.2;
/// What memory may grow by from then on, of itself and in bytes.
const GROWTH: f64 = 0.02;
const GROWTH_BYTES: f64 = 512.0 * 1024.0;
/// p99 may be this many times that of the worse phase without dnsprobe.
const SLOWER: f64 = 1.25;

impl Asked {
    pub(super) fn of(reports: &[Report]) -> Self {
        let slowest = |part: fn(&crate::client::report::Latency) -> f64| {
            reports.iter().filter_map(|report| report.rtt.as_ref().map(part)).fold(0.0, f64::max)
        };
        Self {
            asked: reports.iter().map(|report| report.sent).sum(),
            lost: reports.iter().map(Report::lost).sum(),
            p50_seconds: slowest(|rtt| rtt.p50),
            p99_seconds: slowest(|rtt| rtt.p99),
        }
    }

    /// Lost queries per query.
    fn loss(&self) -> f64 {
        self.lost as f64 / self.asked.max(1) as f64
    }
}

impl Soak {
    /// Says what is wrong.
    pub(super) fn judged(mut self) -> Self {
        let Self { before, with, after, counted, .. } = &self;
        let mut problems = Vec::new();
        let mut differ = |what: &str, own: u64, seen: u64| {
            if own != seen {
                problems.push(format!("{what}: dnsprobe counted {seen}, the clients {own}"));
            }
        };
        differ("queries", with.asked, counted.queries);
        differ("answered", with.asked - with.lost, counted.answered);
        differ("lost", with.lost, counted.lost);
        let (loss, alone) = (with.loss(), before.loss().max(after.loss()));
        if loss > alone + 1e-4 {
            problems.push(format!("clients lost {loss:.4} of their queries, {alone:.4} alone"));
        }
        let (p99, alone) = (with.p99_seconds, before.p99_seconds.max(after.p99_seconds));
        if p99 <= 0.0 || alone <= 0.0 {
            problems.push("no latencies of the clients".to_owned());
        } else if p99 > alone * SLOWER {
            problems.push(format!("p99 is {:.2} ms, {:.2} ms alone", p99 * 1e3, alone * 1e3));
        }
        match self.resident_bytes() {
            Some((first, last)) if last > first * (1.0 + GROWTH) + GROWTH_BYTES => {
                problems.push(format!("memory grew from {first} to {last} bytes after warm-up"));
            }
            Some(_) => {}
            None => problems.push("too few samples of its memory".to_owned()),
        }
        let end = self.samples.last().copied().unwrap_or_default();
        for (what, count) in [("lost events", end.lost_events), ("queries not kept", end.not_kept)]
        {
            if count > 0.0 {
                problems.push(format!("{count} {what}"));
            }
        }
        self.problems = problems;
        self
    }

    /// Resident memory after warm-up, and at the end: medians of a quarter of the
    /// samples behind the warm-up each.
    fn resident_bytes(&self) -> Option<(f64, f64)> {
        let cold = (self.samples.len() as f64 * WARM_UP) as usize;
        let warm = self.samples.get(cold..)?;
        let quarter = warm.len() / 4;
        let median = |samples: &[Sample]| {
            let mut bytes: Vec<f64> = samples.iter().map(|sample| sample.resident_bytes).collect();
            bytes.sort_by(f64::total_cmp);
            bytes.get(bytes.len() / 2).copied()
        };
        Some((median(&warm[..quarter])?, median(&warm[warm.len() - quarter..])?))
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        let (first, last) = self.resident_bytes().unwrap_or_default();
        let end = self.samples.last().copied().unwrap_or_default();
        write!(
            f,
            "soak: {} s, {} queries asked, {} lost, {} and {} counted; {} pods came and went; \
             {:.1} MiB after warm-up, {:.1} MiB at the end; {:.2} % of a processor; {} events lost; \
             p99 {:.2} ms, without dnsprobe {:.2} and {:.2} ms; {} problems",
            self.seconds,
            self.with.asked,
            self.with.lost,
            self.counted.queries,
            self.counted.lost,
            self.pods_gone,
            mib(first),
            mib(last),
            end.processor_seconds / self.seconds as f64 * 100.0,
            end.lost_events,
            self.with.p99_seconds * 1e3,
            self.before.p99_seconds * 1e3,
            self.after.p99_seconds * 1e3,
            self.problems.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soak() -> Soak {
        let asked = Asked { asked: 1000, lost: 1, p50_seconds: 0.001, p99_seconds: 0.002 };
        let sample = |index: u32| Sample {
            seconds: f64::from(index),
            resident_bytes: 20e6 + if index < 10 { 0.0 } else { 1e6 },
            processor_seconds: f64::from(index) / 100.0,
            ..Sample::default()
        };
        Soak {
            kernel: "6.12".into(),
            rate: 100,
            seconds: 60,
            pods_gone: 7,
            before: asked,
            with: asked,
            after: asked,
            counted: Counted { queries: 1000, answered: 999, lost: 1 },
            samples: (0..60).map(sample).collect(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn equal_counts_and_flat_memory_are_no_problem() {
        let soak = soak().judged();
        assert_eq!(soak.problems, Vec::<String>::new());
        assert!(soak.to_string().ends_with("0 problems"), "{soak}");
    }

    #[test]
    fn memory_that_grows_after_warm_up_is_a_problem() {
        let mut growing = soak();
        for (index, sample) in growing.samples.iter_mut().enumerate() {
            sample.resident_bytes = 20e6 + index as f64 * 50e3;
        }
        assert_eq!(growing.judged().problems.len(), 1);
        let mut unseen = soak();
        unseen.samples.truncate(3);
        assert_eq!(unseen.judged().problems.len(), 1);
    }

    #[test]
    fn what_clients_notice_is_a_problem() {
        let mut slower = soak();
        slower.with.p99_seconds = 0.003;
        assert_eq!(slower.judged().problems.len(), 1);
        let mut lossy = soak();
        lossy.with.lost = 11;
        (lossy.counted.lost, lossy.counted.answered) = (11, 989);
        assert_eq!(lossy.judged().problems.len(), 1);
    }

    #[test]
    fn wrong_counts_and_lost_events_are_problems() {
        let mut wrong = soak();
        wrong.counted.queries = 999;
        assert_eq!(wrong.judged().problems.len(), 1);
        let mut losing = soak();
        losing.samples.last_mut().unwrap().lost_events = 1.0;
        assert_eq!(losing.judged().problems.len(), 1);
    }
}
