//! What a figure may be at most. They are those of issue "performance"; where
//! they come from stands in docs/performance.md.

use serde::{Deserialize, Serialize};

/// A limit for one figure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub(super) what: What,
    pub(super) at_most: f64,
}

/// What there is a bar for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Guest instructions that dnsprobe adds to this row.
    Added(&'static str),
    /// From exec to all hooks attached.
    AttachedMilliseconds,
    /// From the signal to the end of the process.
    DetachedMilliseconds,
    /// How often dnsprobe's process wakes up per second at 10,000 queries/s:
    /// timers do that, queries must not.
    WakeUps,
    /// Resident memory with 250 pods.
    ResidentMib,
    /// Reading all counters of 250 pods and rendering them.
    ReadMilliseconds,
}

const fn bar(what: What, at_most: f64) -> Bar {
    Bar { what, at_most }
}

/// On [`KERNEL`].
pub(super) const ALL: &[Bar] = &[
    bar(What::Added("dns-transaction"), 2400.0),
    bar(What::Added("non-dns-transaction"), 950.0),
    bar(What::Added("conntrack-new-dns"), 600.0),
    bar(What::Added("conntrack-new-other"), 150.0),
    bar(What::Added("dropped-non-dns"), 250.0),
    bar(What::AttachedMilliseconds, 1500.0),
    bar(What::DetachedMilliseconds, 300.0),
    bar(What::WakeUps, 20.0),
    bar(What::ResidentMib, 30.0),
    bar(What::ReadMilliseconds, 10.0),
];

impl What {
    /// Its name in tables.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Added(row) => row,
            Self::AttachedMilliseconds => "attached-milliseconds",
            Self::DetachedMilliseconds => "detached-milliseconds",
            Self::WakeUps => "wake-ups-per-second",
            Self::ResidentMib => "resident-mib",
            Self::ReadMilliseconds => "read-milliseconds",
        }
    }

    /// The row or section that measures it.
    pub(super) const fn measured_by(self) -> &'static str {
        match self {
            Self::Added(row) => row,
            Self::AttachedMilliseconds | Self::DetachedMilliseconds => "start-up",
            Self::WakeUps | Self::ResidentMib | Self::ReadMilliseconds => "user-space",
        }
    }

    /// Whether other kernels are held against [`KERNEL`] in it. User space is
    /// the same program everywhere.
    pub(super) fn depends_on_kernel(self) -> bool {
        self.measured_by() != "user-space"
    }
}

/// The kernel the bars are for.
pub(super) const KERNEL: &str = "6.12";

/// Other kernels may need this many times as much as [`KERNEL`].
pub(super) const OTHER_KERNELS: f64 = 1.3;

/// How a figure stands to its bar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Ok,
    Over,
    /// It should have been measured and was not.
    NoResult,
}

/// A bar and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Judged {
    pub(super) what: String,
    /// Series of the kernel.
    pub(super) kernel: String,
    pub(super) at_most: f64,
    pub(super) figure: Option<f64>,
    pub(super) verdict: Verdict,
}

impl Judged {
    pub(super) fn new(what: &str, kernel: &str, at_most: f64, figure: Option<f64>) -> Self {
        let verdict = match figure {
            Some(figure) if figure <= at_most => Verdict::Ok,
            Some(_) => Verdict::Over,
            None => Verdict::NoResult,
        };
        Self { what: what.to_owned(), kernel: kernel.to_owned(), at_most, figure, verdict }
    }
}

impl Verdict {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Over => "OVER",
            Self::NoResult => "NO RESULT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_held_against_its_bar() {
        let verdict = |figure| Judged::new("x", "6.12", 10.0, figure).verdict;
        assert_eq!(verdict(Some(10.0)), Verdict::Ok);
        assert_eq!(verdict(Some(10.1)), Verdict::Over);
        assert_eq!(verdict(Some(f64::NAN)), Verdict::Over);
        assert_eq!(verdict(None), Verdict::NoResult);
    }
}
