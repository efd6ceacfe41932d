//! Which compiler builds the kernel programs.
//!
//! Detection order, first match wins:
//! 1. a rustup nightly with `rust-src`, and `bpf-linker` on PATH (what most
//!    aya users have): `core` is built from source;
//! 2. Debian's `rustc-web` with a precompiled `core` for BPF, installed on the
//!    system, and bpf-linker in our cache;
//! 3. the same packages unpacked in our cache. This is what `setup` installs:
//!    on the system they would add a second `rustc` and conflict with Debian's
//!    own `rustc` and `rustup` packages.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{bpf_linker, debian_compiler};
use crate::shell;
use crate::workspace::Workspace;

/// Plain stores for clearing and copying structs: in order, as bpf-linker has it by
/// default, only copies are expanded, and clearing 16 bytes is a loop of 100
/// instructions.
const FLAGS: &str = "-Clink-arg=--disable-expand-memcpy-in-order";

/// A compiler and a linker that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// A rustup toolchain that can build `core`.
    Nightly { name: String, linker: PathBuf },
    /// Debian's compiler; `prefix` is `/` or where its packages are unpacked.
    Debian { prefix: PathBuf, linker: PathBuf },
}

/// What detection looks at; gathered first so that the choice is a pure
/// function.
#[derive(Debug, Default)]
struct Facts {
    /// The newest nightly that has the sources of `core`.
    nightly_with_sources: Option<String>,
    linker_on_path: Option<PathBuf>,
    system_compiler: bool,
    cached_compiler: Option<PathBuf>,
    cached_linker: Option<PathBuf>,
}

fn choose(facts: &Facts) -> Option<Toolchain> {
    if let (Some(name), Some(linker)) = (&facts.nightly_with_sources, &facts.linker_on_path) {
        return Some(Toolchain::Nightly { name: name.clone(), linker: linker.clone() });
    }
    let prefix = match facts.system_compiler {
        true => PathBuf::from("/"),
        false => facts.cached_compiler.clone()?,
    };
    Some(Toolchain::Debian { prefix, linker: facts.cached_linker.clone()? })
}

impl Toolchain {
    /// The toolchain in force, if there is one.
    pub(crate) fn detect(workspace: &Workspace) -> Result<Option<Self>> {
        Ok(choose(&gather(workspace)?))
    }

    /// `cargo` for the kernel programs; the caller sets directory and target
    /// directory.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = Command::new("rustup");
        let linker = match self {
            Self::Nightly { name, linker } => {
                command.args(["run", name, "cargo", verb, "-Z", "build-std=core"]);
                command.env_remove("RUSTC");
                linker
            }
            Self::Debian { prefix, linker } => {
                command = Command::new("cargo");
                command.arg(verb);
                command.env("RUSTC", prefix.join("usr/bin/rustc"));
                // aya-ebpf uses an unstable feature that stable compilers
                // have, but keep behind this variable.
                command.env("RUSTC_BOOTSTRAP", "1");
                if let Some(path) = debian_compiler::library_path(prefix) {
                    command.env("LD_LIBRARY_PATH", path);
                }
                linker
            }
        };
        command
            .args(["--target", debian_compiler::TARGET])
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_RUSTFLAGS", FLAGS)
            // These would replace the flags above.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    /// Whether this toolchain has its own clippy.
    pub(crate) fn has_clippy(&self) -> bool {
        matches!(self, Self::Nightly { .. })
    }

    fn describe(&self) -> String {
        match self {
            Self::Nightly { name, linker } => {
                format!("rustup {name} with rust-src, {}", linker.display())
            }
            Self::Debian { prefix, linker } => format!(
                "Debian's {} with precompiled core, {}",
                prefix.join("usr/bin/rustc").display(),
                linker.display()
            ),
        }
    }
}

/// Prints the detection, and installs Debian's compiler and bpf-linker when
/// there is no usable toolchain.
pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    let mut facts = gather(workspace)?;
    report(&facts);
    if choose(&facts).is_none() {
        install(&mut facts, workspace)?;
    }
    let Some(toolchain) = choose(&facts) else {
        unreachable!("install() returns with a compiler and a linker, or fails");
    };
    println!("      choice: {}", toolchain.describe());
    Ok(())
}

fn report(facts: &Facts) {
    let seen = |found: bool| if found { "yes" } else { "no" };
    println!(
        "      1. rustup nightly with rust-src: {}; bpf-linker on PATH: {}",
        facts.nightly_with_sources.as_deref().unwrap_or("no"),
        seen(facts.linker_on_path.is_some())
    );
    println!(
        "      2. Debian's rustc-web with core for BPF on the system: {}",
        seen(facts.system_compiler)
    );
    println!(
        "      3. the same in the cache: {}; bpf-linker in the cache: {}",
        seen(facts.cached_compiler.is_some()),
        seen(facts.cached_linker.is_some())
    );
}

fn install(facts: &mut Facts, workspace: &Workspace) -> Result<()> {
    if !facts.system_compiler && facts.cached_compiler.is_none() {
        facts.cached_compiler = Some(debian_compiler::unpack(workspace)?);
    }
    if facts.cached_linker.is_none() {
        let prefix = match &facts.cached_compiler {
            Some(prefix) if !facts.system_compiler => prefix.clone(),
            _ => PathBuf::from("/"),
        };
        let llvm = debian_compiler::llvm_series(&prefix)?;
        facts.cached_linker = Some(bpf_linker::install(&llvm, workspace)?);
    }
    Ok(())
}

fn gather(workspace: &Workspace) -> Result<Facts> {
    let prefix = debian_compiler::cached(workspace);
    let linker = bpf_linker::cached(workspace);
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(Facts {
        nightly_with_sources: match shell::find_program("rustup", &path) {
            Some(_) => nightly_with_sources(&shell::output(Command::new("rustup").args([
                "toolchain",
                "list",
                "-v",
            ]))?),
            None => None,
        },
        linker_on_path: shell::find_program("bpf-linker", &path),
        system_compiler: debian_compiler::is_in(Path::new("/")),
        cached_compiler: debian_compiler::is_in(&prefix).then_some(prefix),
        cached_linker: linker.exists().then_some(linker),
    })
}

/// Reads `rustup toolchain list -v`: a name, perhaps remarks, a directory.
fn nightly_with_sources(list: &str) -> Option<String> {
    list.lines()
        .filter(|line| line.starts_with("nightly"))
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            let directory = line.split_whitespace().last()?;
            let sources = Path::new(directory).join("lib/rustlib/src/rust/library/core");
            sources.exists().then(|| name.to_owned())
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Facts {
        Facts {
            nightly_with_sources: Some("nightly-x".to_owned()),
            linker_on_path: Some("/home/u/.cargo/bin/bpf-linker".into()),
            system_compiler: true,
            cached_compiler: Some("/cache/rust".into()),
            cached_linker: Some("/cache/bin/bpf-linker".into()),
        }
    }

    fn prefix_of(choice: Option<Toolchain>) -> Option<PathBuf> {
        match choice? {
            Toolchain::Nightly { .. } => None,
            Toolchain::Debian { prefix, .. } => Some(prefix),
        }
    }

    #[test]
    fn a_complete_nightly_wins() {
        assert!(matches!(
            choose(&everything()),
            Some(Toolchain::Nightly { name, .. }) if name == "nightly-x"
        ));
    }

    #[test]
    fn a_nightly_without_linker_is_not_used() {
        let facts = Facts { linker_on_path: None, ..everything() };
        assert_eq!(prefix_of(choose(&facts)), Some("/".into()));
    }

    #[test]
    fn the_cached_compiler_comes_after_the_systems() {
        let facts = Facts { nightly_with_sources: None, system_compiler: false, ..everything() };
        assert_eq!(prefix_of(choose(&facts)), Some("/cache/rust".into()));
    }

    #[test]
    fn nothing_is_chosen_without_a_linker_for_it() {
        let facts = Facts { nightly_with_sources: None, cached_linker: None, ..everything() };
        assert_eq!(choose(&facts), None);
    }

    #[test]
    fn a_nightly_without_sources_does_not_count() {
        let list = "stable-x (active, default) /r/stable\nnightly-x /no/such/toolchain\n";
        assert_eq!(nightly_with_sources(list), None);
    }
}
