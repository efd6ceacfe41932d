//! Writes a ticket: a directory, its checksums, and the same as one archive.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

/// What the files are in, inside the chosen directory and inside the archive.
const NAME: &str = "ticket";
const CHECKSUMS: &str = "SHA256SUMS";

/// A ticket cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Nothing is overwritten.
    #[error("{0} exists and is not empty; choose another directory")]
    NotEmpty(PathBuf),
    /// The disk refuses.
    #[error("cannot write {path}")]
    Write {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a ticket goes. Nothing is written outside.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
}

impl Place {
    /// Makes the directory, or takes an empty one.
    ///
    /// # Errors
    /// When there is something in it, or it cannot be made.
    pub fn new(directory: &Path) -> Result<Self, BundleError> {
        let failed = |source| BundleError::Write { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        if fs::read_dir(directory).map_err(failed)?.next().is_some() {
            return Err(BundleError::NotEmpty(directory.to_owned()));
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// A path in it, for what is needed meanwhile.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes the files, which have relative paths, and the archive; the paths
    /// of both.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        unix_seconds: u64,
    ) -> Result<(PathBuf, PathBuf), BundleError> {
        let sums: String = files
            .iter()
            .map(|(name, bytes)| format!("{}  {name}\n", hex(&Sha256::digest(bytes))))
            .collect();
        let directory = self.directory.join(NAME);
        let archive = self.directory.join(format!("{NAME}.tar.zst"));
        let all = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let all: Vec<(&str, &[u8])> = all.chain([(CHECKSUMS, sums.as_bytes())]).collect();
        for (name, bytes) in &all {
            let path = directory.join(name);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all);
            made.and_then(|()| fs::write(&path, bytes))
                .map_err(|source| BundleError::Write { path, source })?;
        }
        pack(&archive, &all, unix_seconds)
            .map_err(|source| BundleError::Write { path: archive.clone(), source })?;
        Ok((directory, archive))
    }
}

/// The same files make the same archive.
fn pack(archive: &Path, files: &[(&str, &[u8])], unix_seconds: u64) -> io::Result<()> {
    let file = fs::File::create_new(archive)?;
    let mut tar = tar::Builder::new(zstd::stream::write::Encoder::new(file, 0)?);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(unix_seconds);
        tar.append_data(&mut header, format!("{NAME}/{name}"), *bytes)?;
    }
    tar.into_inner()?.finish()?.sync_all()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
