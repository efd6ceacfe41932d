//! Where things are: the checkout, its build output, the per-user cache.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// The directories that the verbs share.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cache: PathBuf,
}

impl Workspace {
    pub(crate) fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask is not inside a workspace")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir()?.join(dir),
            None => root.join("target"),
        };
        let cache = match env::var_os("XDG_CACHE_HOME") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env::var_os("HOME").context("HOME is not set")?).join(".cache"),
        }
        .join("dnsprobe");
        Ok(Self { root, target, cache })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Tools and guest kernels live here, shared by all checkouts of a user.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The compiled kernel programs, as `dnsprobe/build.rs` expects them.
    pub(crate) fn ebpf_object(&self) -> PathBuf {
        self.target.join("ebpf/dnsprobe.bpf.o")
    }

    /// A binary built by `cargo xtask build`.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// A path as a person in the checkout would type it.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    /// `cargo` for the workspace, told where the kernel programs are.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = Command::new("cargo");
        command.arg(verb).current_dir(&self.root).env("DNSPROBE_EBPF_OBJECT", self.ebpf_object());
        command
    }
}
