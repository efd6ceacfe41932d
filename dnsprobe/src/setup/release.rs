//! Kernel releases such as `5.10.0-46-amd64`, as far as they can be compared.

use std::cmp::Ordering;

/// The numbers of a release, in order: `4.19.91-25.1.al7` is 4, 19, 91, 25, 1
/// and then no number any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    numbers: Vec<u64>,
    text: String,
}

impl Release {
    /// Reads `uname -r`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let numbers = text.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
        Self { numbers, text: text.to_owned() }
    }

    /// Whether it is older than the numbers given; `None` where it has none.
    pub(super) fn is_before(&self, numbers: &[u64]) -> Option<bool> {
        (self.numbers.len() >= 2).then(|| {
            for (index, wanted) in numbers.iter().enumerate() {
                let own = self.numbers.get(index).copied().unwrap_or(0);
                match own.cmp(wanted) {
                    Ordering::Less => return true,
                    Ordering::Greater => return false,
                    Ordering::Equal => {}
                }
            }
            false
        })
    }

    /// Whether it is of this series, such as 4.19.
    pub(super) fn is_series(&self, major: u64, minor: u64) -> bool {
        self.numbers.starts_with(&[major, minor])
    }

    /// Whether its name has this part, such as `al7`.
    pub(super) fn has(&self, part: &str) -> bool {
        self.text.split(['.', '-', '_']).any(|own| own == part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_their_numbers() {
        let before = |text: &str, numbers: &[u64]| Release::parse(text).is_before(numbers);
        assert_eq!(before("5.4.0-150-generic", &[5, 9]), Some(true));
        assert_eq!(before("5.10.0-46-amd64", &[5, 9]), Some(false));
        assert_eq!(before("5.9", &[5, 9]), Some(false));
        assert_eq!(before("4.19.91-24.al7.x86_64", &[4, 19, 91, 25, 1]), Some(true));
        assert_eq!(before("4.19.91-25.1.al7.x86_64", &[4, 19, 91, 25, 1]), Some(false));
        assert_eq!(before("4.19.91-26.al7.x86_64", &[4, 19, 91, 25, 1]), Some(false));
        assert_eq!(before("unknown", &[5, 9]), None);
        assert!(Release::parse("4.19.91-24.al7.x86_64").has("al7"));
    }
}
