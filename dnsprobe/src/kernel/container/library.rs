//! Which C library a process has loaded, and so which resolver it uses.

use std::{fs, path::PathBuf};

use crate::setup::Library;

/// The library of the first of these processes that has one; each is its directory
/// in `/proc`. `None` for programs without one, such as most of Go's.
#[must_use]
pub fn library(mut processes: impl Iterator<Item = PathBuf>) -> Option<Library> {
    processes.find_map(|process| parse(&fs::read_to_string(process.join("maps")).ok()?))
}

/// The files of a `/proc/PID/maps` text. musl's loader is its library.
fn parse(maps: &str) -> Option<Library> {
    maps.lines().find_map(|line| {
        let name = line.rsplit('/').next()?;
        let name = name.strip_suffix(" (deleted)").unwrap_or(name);
        if name.starts_with("ld-musl-") || name.starts_with("libc.musl-") {
            return Some(Library::Musl);
        }
        if name == "libc.so.6" {
            return Some(Library::Glibc(None));
        }
        // Until 2.33 glibc's file was named after its version.
        let version = name.strip_prefix("libc-")?.strip_suffix(".so")?;
        let (major, minor) = version.split_once('.')?;
        Some(Library::Glibc(Some((major.parse().ok()?, minor.parse().ok()?))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_goes_by_its_file() {
        let map = |file: &str| {
            format!(
                "5581d6e6a000-5581d6e6b000 r--p 00000000 00:2b 1234   /usr/bin/app\n7f00-7f01 r-xp 00000000 00:2b 77   {file}\n"
            )
        };
        assert_eq!(parse(&map("/lib/x86_64-linux-gnu/libc.so.6")), Some(Library::Glibc(None)));
        assert_eq!(parse(&map("/lib64/libc-2.17.so")), Some(Library::Glibc(Some((2, 17)))));
        assert_eq!(
            parse(&map("/lib64/libc-2.17.so (deleted)")),
            Some(Library::Glibc(Some((2, 17))))
        );
        assert_eq!(parse(&map("/lib/ld-musl-x86_64.so.1")), Some(Library::Musl));
        assert_eq!(parse(&map("[heap]")), None);
        assert_eq!(parse(&map("/usr/lib/libc-client.so.2007")), None);
    }

    #[test]
    fn this_test_runs_on_a_library() {
        assert!(matches!(
            library([PathBuf::from("/proc/self")].into_iter()),
            Some(Library::Glibc(_) | Library::Musl)
        ));
    }
}
