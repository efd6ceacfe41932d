//! A file as a process sees it. Its links are followed inside its own root,
//! and nothing but an ordinary file is read: what stands there is the
//! container's choice.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

/// Reads at most `limit` bytes of `path`, which is relative to the root of the
/// process with this directory in `/proc`.
///
/// # Errors
/// When there is no such file, it is no ordinary file, or the process is gone.
pub fn read_file(process: &Path, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let root = File::open(process.join("root"))?;
    let file = open_inside(&root, path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not an ordinary file"));
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// openat2 with `RESOLVE_IN_ROOT`, Linux 5.6 and newer.
fn open_inside(root: &File, path: &str) -> io::Result<File> {
    let path = CString::new(path)?;
    // SAFETY: an all-zero open_how is a valid one.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    // A pipe without a writer would block.
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    how.flags = u64::from(flags.cast_unsigned());
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: `path` ends with a zero, `how` has the size that is passed, and
    // both live through the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call returned this descriptor and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_stay_inside_and_only_ordinary_files_are_read() {
        let directory = std::env::temp_dir().join(format!("dnsprobe-root-{}", std::process::id()));
        fs::create_dir_all(directory.join("etc")).unwrap();
        fs::write(directory.join("etc/target"), "inside").unwrap();
        symlink("/etc/target", directory.join("etc/resolv.conf")).unwrap();
        symlink("../../../../etc/target", directory.join("etc/up")).unwrap();
        let root = File::open(&directory).unwrap();
        let read = |path: &str| {
            let mut text = String::new();
            open_inside(&root, path).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!(read("etc/resolv.conf"), "inside");
        assert_eq!(read("etc/up"), "inside");
        assert!(open_inside(&root, "etc/none").is_err());
        fs::remove_dir_all(&directory).unwrap();

        let own = Path::new("/proc/self");
        assert!(read_file(own, "proc/self/comm", 4).is_ok_and(|content| content.len() <= 4));
        let refused = read_file(own, "dev/null", 4).unwrap_err();
        assert_eq!(refused.to_string(), "not an ordinary file");
        assert!(read_file(Path::new("/proc/none"), "etc/hosts", 4).is_err());
    }
}
