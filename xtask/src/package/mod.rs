//! `cargo xtask package`: what is installed elsewhere, from a statically linked dnsprobe.

mod archive;
mod debian;
mod image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow, ensure};

use crate::workspace::Workspace;
use crate::{build, shell};

/// Build the Debian package and the container image
#[derive(Debug, clap::Args)]
#[command(long_about = "\
Build the Debian package and the container image, into target/package.

Both hold the same dnsprobe, which needs no library (`cargo xtask build --static`). \
The package brings the unit, its settings, manual pages, shell completions, rules and \
dashboards; it starts nothing. The image is an OCI archive with one file in it, as \
deploy/Dockerfile makes it, for `ctr image import`, `skopeo copy oci-archive:...` or \
`podman load`. Without a selection, both.")]
#[command(after_help = "\
Examples:
  cargo xtask package
  cargo xtask package --deb && sudo apt install ./target/package/dnsprobe_*.deb
  cargo xtask package --image && sudo ctr image import target/package/dnsprobe_*.oci.tar")]
pub(crate) struct Args {
    /// Only the Debian package
    #[arg(long)]
    deb: bool,

    /// Only the container image
    #[arg(long)]
    image: bool,
}

/// Debian's name of what this is built for.
const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn run(args: &Args, workspace: &Workspace) -> Result<ExitCode> {
    let binary = build::static_binary(workspace, &build::Args::default())?;
    let both = !(args.deb || args.image);
    if args.deb || both {
        println!("{}", workspace.relative(&debian::build(workspace, &binary)?).display());
    }
    if args.image || both {
        println!("{}", workspace.relative(&image::build(workspace, &binary)?).display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Both are built; the Debian package is installed into a directory and removed.
pub(crate) fn check(workspace: &Workspace) -> Vec<(&'static str, Result<()>)> {
    let binary = build::static_binary(workspace, &build::Args::default());
    let built = binary.as_ref().map_err(|error| anyhow!("{error:#}"));
    let debian =
        built.and_then(|binary| debian::try_out(workspace, &debian::build(workspace, binary)?));
    let built = binary.as_ref().map_err(|error| anyhow!("no binary: {error:#}"));
    let image = built.and_then(|binary| image::build(workspace, binary).map(drop));
    let alone = binary.and_then(|binary| needs_nothing(&binary));
    vec![
        ("dnsprobe needs no library", alone),
        ("the Debian package installs, works and goes", debian),
        ("the container image", image),
    ]
}

/// No interpreter, no library.
fn needs_nothing(binary: &Path) -> Result<()> {
    let headers = shell::output(Command::new("objdump").arg("-p").arg(binary))?;
    ensure!(!headers.contains("NEEDED") && !headers.contains("INTERP"), "it does:\n{headers}");
    Ok(())
}

/// Where a finished file goes.
fn output(workspace: &Workspace, extension: &str) -> Result<PathBuf> {
    let directory = workspace.target().join("package");
    fs::create_dir_all(&directory)?;
    Ok(directory.join(format!("dnsprobe_{VERSION}_{ARCHITECTURE}.{extension}")))
}

/// Manual pages and completions, in directories of these names.
fn reference(workspace: &Workspace) -> Result<PathBuf> {
    let directory = workspace.target().join("package/reference");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    shell::run(
        workspace
            .cargo("run")
            .args(["--quiet", "-p", "dnsprobe", "--example", "reference", "--"])
            .arg(&directory),
    )?;
    Ok(directory)
}

/// Copies a file and makes the directories above it.
fn place(from: &Path, to: &Path) -> Result<()> {
    let directory = to.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}
