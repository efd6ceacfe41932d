//! The Debian package, built with dpkg-deb from a directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{ARCHITECTURE, VERSION, output, place, reference};
use crate::shell;
use crate::workspace::Workspace;

const SETTINGS: &str = "/etc/dnsprobe/dnsprobe.toml";

/// From the sources to the package, mode 0644.
const FILES: &[(&str, &str)] = &[
    ("deploy/systemd/dnsprobe.service", "usr/lib/systemd/system/dnsprobe.service"),
    ("deploy/systemd/dnsprobe.toml", "etc/dnsprobe/dnsprobe.toml"),
    ("deploy/debian/copyright", "usr/share/doc/dnsprobe/copyright"),
    ("LICENSE-MIT", "usr/share/doc/dnsprobe/LICENSE-MIT"),
    ("docs/causes.md", "usr/share/doc/dnsprobe/causes.md"),
    ("docs/metrics.md", "usr/share/doc/dnsprobe/metrics.md"),
    ("deploy/prometheus/dnsprobe.rules.yaml", "usr/share/dnsprobe/dnsprobe.rules.yaml"),
    ("deploy/grafana/dnsprobe-cluster.json", "usr/share/dnsprobe/dnsprobe-cluster.json"),
    ("deploy/grafana/dnsprobe-node.json", "usr/share/dnsprobe/dnsprobe-node.json"),
    ("deploy/grafana/dnsprobe-pod.json", "usr/share/dnsprobe/dnsprobe-pod.json"),
];

/// From what is generated to the package.
const COMPLETIONS: &[(&str, &str)] = &[
    ("dnsprobe.bash", "usr/share/bash-completion/completions/dnsprobe"),
    ("_dnsprobe", "usr/share/zsh/vendor-completions/_dnsprobe"),
    ("dnsprobe.fish", "usr/share/fish/vendor_completions.d/dnsprobe.fish"),
];

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn build(workspace: &Workspace, binary: &Path) -> Result<PathBuf> {
    let tree = workspace.target().join("package/debian");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    place(binary, &tree.join("usr/bin/dnsprobe"))?;
    for (from, to) in FILES {
        place(&workspace.root().join(from), &tree.join(to))?;
    }
    let reference = reference(workspace)?;
    for (from, to) in COMPLETIONS {
        place(&reference.join("completions").join(from), &tree.join(to))?;
    }
    for page in fs::read_dir(reference.join("man"))? {
        let page = page?.path();
        let name = page.file_name().context("a page has a name")?;
        let to = tree.join("usr/share/man/man1").join(name);
        place(&page, &to)?;
        shell::run(Command::new("gzip").args(["-9", "-n"]).arg(&to))?;
    }
    control(workspace, &tree)?;
    set_modes(&tree)?;
    let package = output(workspace, "deb")?;
    // Files belong to root, whoever builds.
    shell::output(
        Command::new("dpkg-deb")
            .args(["--build", "--root-owner-group", "-Zxz"])
            .arg(&tree)
            .arg(&package),
    )?;
    Ok(package)
}

/// What dpkg has to know.
fn control(workspace: &Workspace, tree: &Path) -> Result<()> {
    let sources = workspace.root().join("deploy/debian");
    let directory = tree.join("DEBIAN");
    let size = shell::output(Command::new("du").args(["-sk", "--apparent-size"]).arg(tree))?;
    let size = size.split_whitespace().next().context("du says nothing")?;
    fs::create_dir_all(&directory)?;
    let description = fs::read_to_string(sources.join("description"))?;
    let text = format!(
        "Package: dnsprobe\nVersion: {VERSION}\nArchitecture: {ARCHITECTURE}\n\
         Maintainer: The dnsprobe authors <dnsprobe@localhost>\nInstalled-Size: {size}\n\
         Section: net\nPriority: optional\n{description}"
    );
    fs::write(directory.join("control"), text)?;
    fs::write(directory.join("conffiles"), format!("{SETTINGS}\n"))?;
    for script in SCRIPTS {
        fs::copy(sources.join(script), directory.join(script))?;
    }
    Ok(())
}

/// The same modes whatever the umask and the checkout's modes are.
fn set_modes(path: &Path) -> Result<()> {
    let executable = path.is_dir()
        || path.ends_with("usr/bin/dnsprobe")
        || SCRIPTS.iter().any(|script| path.ends_with(format!("DEBIAN/{script}")));
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            set_modes(&entry?.path())?;
        }
    }
    Ok(())
}

/// Installs a package into a directory of its own, looks at it, and removes it again.
///
/// # Errors
/// When something is not there that should be, or stays.
pub(super) fn try_out(workspace: &Workspace, package: &Path) -> Result<()> {
    let root = workspace.target().join("package/root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let state = root.join("var/lib/dpkg");
    fs::create_dir_all(state.join("info"))?;
    fs::create_dir_all(state.join("updates"))?;
    fs::write(state.join("status"), "")?;
    let dpkg = |arguments: &[&str]| {
        let mut command = shell::as_root("dpkg");
        command
            .arg(format!("--instdir={}", root.display()))
            .arg(format!("--admindir={}", state.display()))
            // The scripts see by DPKG_ROOT that this is no system.
            .args(["--force-script-chrootless", "--log=/dev/null"])
            .args(arguments);
        shell::output(&mut command)
    };
    dpkg(&["--install", &package.display().to_string()])?;
    let installed = |path: &str| root.join(path.trim_start_matches('/'));
    let version = shell::output(Command::new(installed("usr/bin/dnsprobe")).arg("--version"))?;
    ensure!(version.trim() == format!("dnsprobe {VERSION}"), "it is {version}");
    let paths = FILES.iter().chain(COMPLETIONS).map(|(_, to)| *to);
    for path in paths.chain(["usr/share/man/man1/dnsprobe-serve.1.gz"]) {
        ensure!(installed(path).is_file(), "{path} is not there");
    }
    // The completion is a program for bash, and does something for `dnsprobe`.
    let completion = installed("usr/share/bash-completion/completions/dnsprobe");
    let script = format!(". {} && complete -p dnsprobe", completion.display());
    shell::output(Command::new("bash").args(["-c", &script]))?;
    fs::write(installed(SETTINGS), "max-owners = 5\n")?;
    dpkg(&["--remove", "dnsprobe"])?;
    ensure!(installed(SETTINGS).is_file(), "settings do not outlive removal");
    dpkg(&["--purge", "dnsprobe"])?;
    for path in ["usr", "etc"] {
        ensure!(!installed(path).exists(), "{path} is still there after a purge");
    }
    Ok(())
}
