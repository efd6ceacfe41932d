//! Temporary trees that look like a node's `/proc` and kubelet directories.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// A directory that is deleted with the value.
#[derive(Debug)]
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("dnsprobe-test-{}-{number}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing depends on it; a leftover in the temp directory is harmless.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A `/proc` with as many processes as a test needs.
#[derive(Debug)]
pub(crate) struct FakeProc(TempDir);

impl FakeProc {
    pub(crate) fn new() -> Self {
        Self(TempDir::new())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Adds a process: its network namespace, `comm` and `cgroup` file.
    pub(crate) fn add(&self, pid: u32, netns: u32, comm: &[u8], cgroup: &str) {
        let directory = self.path().join(pid.to_string());
        fs::create_dir_all(directory.join("ns")).unwrap();
        symlink(format!("net:[{netns}]"), directory.join("ns/net")).unwrap();
        fs::write(directory.join("comm"), comm).unwrap();
        fs::write(directory.join("cgroup"), cgroup).unwrap();
    }

    /// The process ends.
    pub(crate) fn remove(&self, pid: u32) {
        fs::remove_dir_all(self.path().join(pid.to_string())).unwrap();
    }
}
