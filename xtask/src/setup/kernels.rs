//! The guests' kernels: Debian's own packages of several releases, unpacked in
//! the cache and not installed.
//!
//! apt runs here with a directory of its own for state and lists, so that the
//! system's package lists do not change.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::apt;
use super::apt_sources::{self, Archive};
use super::kernel_version::newest;
use crate::shell;
use crate::workspace::Workspace;

/// A kernel series of the test matrix and the suite that carries it.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) prefix: &'static str,
    archive: Archive,
    suite: &'static str,
}

/// The matrix, oldest first. A series needs only a line here, as long as its
/// image package contains the kernel and the modules, or depends on packages of
/// the same release that do.
pub(crate) const SERIES: &[Series] = &[
    Series { prefix: "5.10", archive: Archive::Security, suite: "bullseye-security" },
    Series { prefix: "6.12", archive: Archive::Security, suite: "bookworm-security" },
];

/// Series outside the matrix, fetched when somebody asks for one: a backports
/// suite replaces its kernels, so nothing that has to work may depend on it. And 6.1,
/// which has no path that neither 5.10 nor 6.12 has: every kernel more is minutes more
/// for each run of the tests.
const ON_REQUEST: &[Series] = &[
    Series { prefix: "6.1", archive: Archive::Security, suite: "bookworm-security" },
    Series { prefix: "6.18", archive: Archive::Main, suite: "trixie-backports" },
    Series { prefix: "7.3", archive: Archive::Main, suite: "trixie-backports" },
];

/// Every known series, oldest first.
pub(crate) fn every_series() -> Vec<String> {
    let mut all: Vec<&Series> = SERIES.iter().chain(ON_REQUEST).collect();
    all.sort_by_key(|series| {
        series.prefix.split('.').map(str::parse::<u32>).filter_map(Result::ok).collect::<Vec<_>>()
    });
    all.into_iter().map(|series| series.prefix.to_owned()).collect()
}

/// An unpacked kernel package.
#[derive(Debug, Clone)]
pub(crate) struct GuestKernel {
    /// What `uname -r` prints in the guest.
    pub(crate) release: String,
    directory: PathBuf,
}

impl GuestKernel {
    /// The newest unpacked kernel of a series such as `6.12`, or of a whole
    /// release name.
    pub(crate) fn find(workspace: &Workspace, series: &str) -> Result<Option<Self>> {
        let root = cache(workspace);
        let Ok(entries) = fs::read_dir(&root) else {
            return Ok(None);
        };
        let mut releases = Vec::new();
        for entry in entries {
            releases.push(entry?.file_name().to_string_lossy().into_owned());
        }
        let names: Vec<String> = releases
            .iter()
            .filter(|release| !release.ends_with(UNFINISHED))
            .map(|release| format!("linux-image-{release}"))
            .collect();
        Ok(newest(names.iter().map(String::as_str), series, ARCHITECTURE)
            .map(|release| Self { release: release.to_owned(), directory: root.join(release) }))
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("boot").join(format!("vmlinuz-{}", self.release))
    }

    /// What the guest sees as `/lib/modules/RELEASE`.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.release)
    }

    /// The files to load for `module`, dependencies first.
    pub(crate) fn module_files(&self, module: &str) -> Result<Vec<PathBuf>> {
        let list = shell::output(modprobe().arg("-d").arg(&self.directory).args([
            "-S",
            &self.release,
            "--show-depends",
            module,
        ]))?;
        Ok(list
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "))
            .map(|path| PathBuf::from(path.trim()))
            .collect())
    }
}

const UNFINISHED: &str = ".unfinished";
const ARCHITECTURE: &str = "amd64";

fn cache(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("kernels")
}

pub(super) fn prepare(workspace: &Workspace) -> Result<()> {
    let mut missing = Vec::new();
    for series in SERIES {
        match GuestKernel::find(workspace, series.prefix)? {
            Some(kernel) => println!("      {:<5} {}", series.prefix, kernel.release),
            None => missing.push(series),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let apt = PrivateApt::new(workspace, &missing)?;
    for series in missing {
        let release = apt.newest(series)?;
        println!("      {:<5} {release}: unpacked from {}", series.prefix, series.suite);
        fetch(&apt, &release, &cache(workspace))
            .with_context(|| format!("guest kernel {release}"))?;
    }
    Ok(())
}

/// Fetches a kernel that is not of the matrix; `None` when the series is not
/// known either.
pub(crate) fn on_request(workspace: &Workspace, version: &str) -> Result<Option<GuestKernel>> {
    let Some(series) = ON_REQUEST.iter().find(|series| series.prefix == version) else {
        return Ok(None);
    };
    let apt = PrivateApt::new(workspace, &[series])?;
    let release = apt.newest(series)?;
    println!("fetching guest kernel {release} from {}", series.suite);
    fetch(&apt, &release, &cache(workspace)).with_context(|| format!("guest kernel {release}"))?;
    GuestKernel::find(workspace, version)
}

fn fetch(apt: &PrivateApt, release: &str, cache: &Path) -> Result<()> {
    // Renamed when complete, so that an interrupted run leaves no half kernel.
    let unfinished = cache.join(format!("{release}{UNFINISHED}"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let downloads = unfinished.join("download");
    let packages = apt.packages(release)?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    for archive in apt::download(&names, &downloads, Some(&apt.configuration))? {
        apt::unpack(&archive, &unfinished)?;
    }
    fs::remove_dir_all(&downloads)?;
    make_old_paths(&unfinished, release)?;
    let kernel = GuestKernel { release: release.to_owned(), directory: unfinished.clone() };
    ensure!(kernel.image().exists(), "{} have no vmlinuz", names.join(", "));
    decompress_network_modules(&kernel.modules())?;
    shell::output(depmod().arg("-b").arg(&unfinished).arg(release))?;
    fs::rename(&unfinished, cache.join(release))?;
    Ok(())
}

/// Newer packages have the modules below usr/lib only (since Debian 13), and
/// the kernel beside its modules (since 7.2).
fn make_old_paths(root: &Path, release: &str) -> Result<()> {
    let modules = Path::new("usr/lib/modules");
    if !root.join("lib").exists() && root.join(modules).is_dir() {
        symlink("usr/lib", root.join("lib"))?;
    }
    let image = modules.join(release).join("vmlinuz");
    let old = root.join("boot").join(format!("vmlinuz-{release}"));
    if !old.exists() && root.join(&image).exists() {
        fs::create_dir_all(root.join("boot"))?;
        symlink(Path::new("..").join(image), old)?;
    }
    Ok(())
}

/// Decompression is slow in an emulated guest, and the lab loads dozens of
/// network modules; the rest of the tree stays as small as it came.
fn decompress_network_modules(modules: &Path) -> Result<()> {
    const USED: &[&str] = &["net", "lib", "crypto", "drivers/net/veth", "fs"];
    let roots: Vec<PathBuf> = USED
        .iter()
        .map(|part| modules.join("kernel").join(part))
        .filter(|path| path.exists())
        .collect();
    let script = "find \"$@\" -name '*.ko.xz' -print0 | xargs -0 -r -n 50 xz -d";
    shell::output(Command::new("sh").args(["-c", script, "sh"]).args(roots)).map(|_| ())
}

fn modprobe() -> Command {
    system_program("modprobe")
}

fn depmod() -> Command {
    system_program("depmod")
}

/// kmod's programs are in `sbin`, which users' PATHs often lack.
fn system_program(name: &str) -> Command {
    let mut command = Command::new("env");
    command.arg(format!("PATH={}", shell::SYSTEM_PATH)).arg(name);
    command
}

/// apt with its own state, and sources made from the system's mirrors.
#[derive(Debug)]
struct PrivateApt {
    configuration: PathBuf,
}

impl PrivateApt {
    /// For the suites of some series.
    fn new(workspace: &Workspace, wanted: &[&Series]) -> Result<Self> {
        let directory = workspace.cache().join("apt");
        for part in ["state/lists/partial", "cache/archives/partial", "sources.list.d"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let sources = directory.join("sources.list.d/guest-kernels.sources");
        fs::write(&sources, sources_for_kernels(wanted)?)?;
        let root = directory.display();
        let configuration = directory.join("apt.conf");
        fs::write(
            &configuration,
            format!(
                "Dir::State \"{root}/state\";\n\
                 Dir::State::status \"/var/lib/dpkg/status\";\n\
                 Dir::Cache \"{root}/cache\";\n\
                 Dir::Etc::sourcelist \"/dev/null\";\n\
                 Dir::Etc::sourceparts \"{root}/sources.list.d\";\n\
                 APT::Sandbox::User \"root\";\n\
                 APT::Architecture \"{ARCHITECTURE}\";\n\
                 Acquire::Languages \"none\";\n"
            ),
        )?;
        let apt = Self { configuration };
        // Without this option a suite that does not answer is only a warning.
        shell::run_quietly(
            "package lists of the guests' releases",
            apt.command("apt-get").args(["-q", "update", "--error-on=any"]),
            &directory.join("log"),
        )?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration);
        command
    }

    /// The packages of a release: the image, and what it is split into.
    fn packages(&self, release: &str) -> Result<Vec<String>> {
        let image = format!("linux-image-{release}");
        let depends = shell::output(self.command("apt-cache").arg("depends").arg(&image))?;
        Ok([image].into_iter().chain(parts(&depends, release)).collect())
    }

    fn newest(&self, series: &Series) -> Result<String> {
        let names = shell::output(self.command("apt-cache").args(["pkgnames", "linux-image-"]))?;
        newest(names.lines(), series.prefix, ARCHITECTURE)
            .map(str::to_owned)
            .with_context(|| format!("suite {} has no kernel {}", series.suite, series.prefix))
    }
}

fn sources_for_kernels(wanted: &[&Series]) -> Result<String> {
    let codename = apt_sources::codename()?;
    let system = apt_sources::read_system(Path::new("/etc/apt"))?;
    let mut text = String::new();
    for archive in [Archive::Main, Archive::Security] {
        let mut suites: Vec<&str> = wanted
            .iter()
            .filter(|series| series.archive == archive)
            .map(|series| series.suite)
            .collect();
        suites.dedup();
        if suites.is_empty() {
            continue;
        }
        match apt_sources::find(&system, &codename, archive) {
            Some(source) => text.push_str(&source.with_suites(&suites)),
            None => bail!(
                "none of this system's package sources is Debian's {archive:?} archive for \
                 {codename}, where the guest kernels {} come from",
                suites.join(" ")
            ),
        }
    }
    Ok(text)
}

/// The dependencies of a kernel's image package that are of the same release,
/// from `apt-cache depends`.
fn parts(depends: &str, release: &str) -> Vec<String> {
    let of_release =
        |name: &str| name.strip_suffix(release).and_then(|name| name.strip_suffix('-')).is_some();
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .filter(|name| of_release(name))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "7.3.4+deb13-amd64";

    #[test]
    fn a_split_kernel_is_found_by_its_dependencies() {
        let depends = "linux-image-7.3.4+deb13-amd64\n  Depends: kmod\n |Depends: dracut\n  \
             Depends: <linux-initramfs-tool>\n    dracut\n  \
             Depends: linux-base-7.3.4+deb13-amd64\n  Depends: linux-binary-7.3.4+deb13-amd64\n  \
             Recommends: apparmor\n  Conflicts: linux-image-7.3.4+deb13-amd64\n";
        let expected =
            ["linux-base-7.3.4+deb13-amd64", "linux-binary-7.3.4+deb13-amd64"].map(str::to_owned);
        assert_eq!(parts(depends, RELEASE), expected);
        assert_eq!(parts("linux-image-x\n  Depends: linux-base\n", RELEASE), [""; 0]);
    }

    #[test]
    fn a_split_kernel_gets_the_paths_of_an_older_one() {
        let name = format!("xtask-kernel-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let modules = root.join("usr/lib/modules").join(RELEASE);
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("vmlinuz"), "kernel").unwrap();
        make_old_paths(&root, RELEASE).unwrap();
        let kernel = GuestKernel { release: RELEASE.to_owned(), directory: root.clone() };
        assert_eq!(fs::read_to_string(kernel.image()).unwrap(), "kernel");
        assert!(kernel.modules().is_dir());
        fs::remove_dir_all(root).unwrap();
    }
}
