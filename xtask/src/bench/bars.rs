//! What a figure may be at most. They are those of issue "performance"; where
//! they come from stands in docs/performance.md.

use serde::{Deserialize, Serialize};

/// A limit for one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    pub(super) row: &'static str,
    pub(super) at_most: f64,
}

const fn bar(row: &'static str, at_most: f64) -> Bar {
    Bar { row, at_most }
}

/// On [`KERNEL`], guest instructions that dnsprobe adds.
pub(super) const ADDED: &[Bar] = &[
    bar("dns-transaction", 2400.0),
    bar("non-dns-transaction", 950.0),
    bar("conntrack-new-dns", 600.0),
    bar("conntrack-new-other", 150.0),
    bar("dropped-non-dns", 250.0),
];

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
