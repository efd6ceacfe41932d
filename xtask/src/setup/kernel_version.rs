//! Names of Debian's kernel packages: which belong to a series, which is the
//! newest.

/// The newest release of a series among package names, without the
/// `linux-image-` in front: `6.12.117+deb12-amd64` for the series `6.12`.
pub(super) fn newest<'a>(
    names: impl Iterator<Item = &'a str>,
    series: &str,
    architecture: &str,
) -> Option<&'a str> {
    names
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .filter(|release| is_full_flavour(release, architecture) && in_series(release, series))
        .max_by_key(|release| numbers(release))
}

/// Whether a release belongs to a series: `6.1.0-56-amd64` is a `6.1`, and
/// `6.12.117` is not.
fn in_series(release: &str, series: &str) -> bool {
    release
        .strip_prefix(series)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// Only the plain flavour: `cloud` has no 9p, `rt` another scheduler, and
/// backports of one release to an older one are not the series' own kernel.
fn is_full_flavour(release: &str, architecture: &str) -> bool {
    let Some(version) = release.strip_suffix(&format!("-{architecture}")) else {
        return false;
    };
    // A metapackage such as linux-image-6.12-amd64 has no third number.
    version.matches('.').count() >= 2
        && !["cloud", "rt", "unsigned", "0.deb", "bpo"].iter().any(|other| version.contains(other))
}

/// The numbers of a version, for comparison.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &[
        "linux-image-5.10.0-9-amd64",
        "linux-image-5.10.0-46-amd64",
        "linux-image-5.10.0-46-cloud-amd64",
        "linux-image-6.1.0-0.deb11.52-amd64",
        "linux-image-6.1.0-56-amd64",
        "linux-image-6.1-amd64",
        "linux-image-6.12-amd64",
        "linux-image-6.12.95+deb12-amd64",
        "linux-image-6.12.117+deb12-amd64",
        "linux-image-6.12.118+deb12-rt-amd64",
        "linux-image-6.12.118+deb12-amd64-unsigned",
        "linux-image-7.3.4+deb13-amd64",
    ];

    fn newest_of(series: &str) -> Option<&'static str> {
        newest(NAMES.iter().copied(), series, "amd64")
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        assert_eq!(newest_of("5.10"), Some("5.10.0-46-amd64"));
        assert_eq!(newest_of("6.12"), Some("6.12.117+deb12-amd64"));
    }

    #[test]
    fn a_series_is_not_a_prefix_of_digits() {
        assert_eq!(newest_of("6.1"), Some("6.1.0-56-amd64"));
        assert_eq!(newest_of("7.3"), Some("7.3.4+deb13-amd64"));
        assert_eq!(newest_of("5.1"), None);
        assert_eq!(newest_of("4.19"), None);
    }

    #[test]
    fn another_architecture_is_not_taken() {
        assert_eq!(newest(NAMES.iter().copied(), "6.1", "arm64"), None);
    }
}
