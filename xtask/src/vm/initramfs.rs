//! The guest's first file system: busybox, `init.sh` and the modules that
//! 9p and the overlay need, as an uncompressed cpio archive.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::setup::GuestKernel;

const INIT: &str = include_str!("guest/init.sh");
const BUSYBOX: &str = "/bin/busybox";
/// Their dependencies come along. What is built into a kernel has no file.
const MODULES: &[&str] = &["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay"];
const DIRECTORIES: &[&str] = &["bin", "dev", "host", "modules", "new", "proc", "sys", "upper"];

/// The archive for a kernel, built anew only when its inputs changed.
pub(super) fn for_kernel(kernel: &GuestKernel, directory: &Path) -> Result<PathBuf> {
    // Two guests of one kernel may start at the same time: one builds, the
    // other waits and uses it.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let archive = directory.join(format!("initramfs-{}.cpio", kernel.release));
    let key_file = archive.with_extension("key");
    let key = inputs()?;
    if archive.exists() && fs::read_to_string(&key_file).is_ok_and(|old| old == key) {
        return Ok(archive);
    }
    fs::create_dir_all(directory)?;
    // Renamed into place, because another xtask may be at it too.
    let unfinished = archive.with_extension(format!("{}.tmp", std::process::id()));
    fs::write(&unfinished, build(kernel)?)?;
    fs::rename(&unfinished, &archive)?;
    fs::write(key_file, key)?;
    Ok(archive)
}

/// What the archive is made of. Kernel packages never change once unpacked.
fn inputs() -> Result<String> {
    let busybox = fs::metadata(BUSYBOX).context("no /bin/busybox; run `cargo xtask setup`")?;
    Ok(format!("{} {:?}\n{MODULES:?}\n{INIT}", busybox.len(), busybox.modified()?))
}

fn build(kernel: &GuestKernel) -> Result<Vec<u8>> {
    let mut archive = Cpio::default();
    for directory in DIRECTORIES {
        archive.directory(directory);
    }
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &fs::read(BUSYBOX)?);
    let mut files: Vec<PathBuf> = Vec::new();
    for module in MODULES {
        for file in kernel.module_files(module)? {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    for (index, file) in files.iter().enumerate() {
        // The number keeps the load order.
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let name = name.trim_end_matches(".ko");
        archive.file(&format!("modules/{index:02}-{name}.ko"), &module_bytes(file)?);
    }
    Ok(archive.finish())
}

fn module_bytes(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").arg("-dc").arg(file).output()?;
        anyhow::ensure!(output.status.success(), "xz cannot read {}", file.display());
        return Ok(output.stdout);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Writer of the "newc" format: per entry a header of eight-digit hexadecimal
/// numbers, the name and the data, both padded to four bytes.
#[derive(Debug, Default)]
struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    fn directory(&mut self, name: &str) {
        self.entry(name, 0o040_755, &[]);
    }

    fn file(&mut self, name: &str, data: &[u8]) {
        self.entry(name, 0o100_755, data);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) {
        self.inode += 1;
        let (links, size, name_size) = (1, data.len(), name.len() + 1);
        self.bytes.extend_from_slice(b"070701");
        // inode, mode, uid, gid, links, mtime, size, device numbers of the
        // file and of the node, length of the name, checksum
        let fields =
            [self.inode, mode, 0, 0, links, 0, size as u32, 0, 0, 0, 0, name_size as u32, 0];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_the_archive_is_closed() {
        let mut archive = Cpio::default();
        archive.directory("a");
        archive.file("a/b", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"07070100000001000041ed"));
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("a/b\0") && text.contains("12345"));
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }
}
