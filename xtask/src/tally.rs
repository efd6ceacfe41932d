//! Counting: what test runners print, and our closing line.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
    pub(crate) skipped: u32,
}

impl Tally {
    pub(crate) const PASSED: Self = Self::new(1, 0, 0);
    pub(crate) const FAILED: Self = Self::new(0, 1, 0);
    pub(crate) const SKIPPED: Self = Self::new(0, 0, 1);

    const fn new(passed: u32, failed: u32, skipped: u32) -> Self {
        Self { passed, failed, skipped }
    }

    /// That many not run.
    pub(crate) fn skipped(count: usize) -> Self {
        Self::new(0, 0, u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The lab's last line: `N passed, N failed, N skipped`.
    pub(crate) fn from_lab(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(", ");
        let tally = Self::new(
            count(parts.next()?, " passed")?,
            count(parts.next()?, " failed")?,
            count(parts.next()?, " skipped")?,
        );
        parts.next().is_none().then_some(tally)
    }

    /// A line of cargo test: `test result: ok. N passed; N failed; N ignored; ...`
    pub(crate) fn from_cargo(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut parts = counts.split("; ");
        Some(Self::new(
            count(parts.next()?, " passed")?,
            count(parts.next()?, " failed")?,
            count(parts.next()?, " ignored")?,
        ))
    }

    /// The tally of a runner that ended with `success`. One that failed
    /// without counting a failure (it did not compile, it crashed), or ran
    /// nothing at all, is a failure itself.
    pub(crate) fn of_runner(counted: Option<Self>, success: bool) -> Self {
        match counted {
            Some(tally) if tally.failed > 0 || success => tally,
            Some(mut tally) => {
                tally += Self::FAILED;
                tally
            }
            None => Self::FAILED,
        }
    }
}

fn count(part: &str, unit: &str) -> Option<u32> {
    part.strip_suffix(unit)?.parse().ok()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_line_reads_back() {
        let tally = Tally::new(12, 1, 3);
        assert_eq!(Tally::from_lab(&tally.to_string()), Some(tally));
        assert_eq!(Tally::from_lab("12 passed, 1 failed"), None);
        assert_eq!(Tally::from_lab("ok    healthy  (1.2 s)"), None);
    }

    #[test]
    fn cargo_lines_are_counted() {
        let line = "test result: FAILED. 4 passed; 2 failed; 1 ignored; 0 measured; \
                    0 filtered out; finished in 0.00s";
        assert_eq!(Tally::from_cargo(line), Some(Tally::new(4, 2, 1)));
        assert_eq!(Tally::from_cargo("test a ... ok"), None);
    }

    #[test]
    fn a_failed_runner_is_never_a_success() {
        let green = Tally::new(3, 0, 0);
        assert_eq!(Tally::of_runner(Some(green), true), green);
        assert_eq!(Tally::of_runner(Some(green), false), Tally::new(3, 1, 0));
        assert_eq!(Tally::of_runner(None, true), Tally::FAILED);
        let red = Tally::new(3, 2, 0);
        assert_eq!(Tally::of_runner(Some(red), false), red);
    }
}
