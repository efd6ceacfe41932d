//! Archives that are the same whenever they are made.

use std::io::Write;

use anyhow::Result;
use sha2::{Digest, Sha256};

/// A tar archive in memory. Everything belongs to root and is from the epoch.
pub(super) struct Archive(tar::Builder<Vec<u8>>);

impl Archive {
    pub(super) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        Ok(self.0.append_data(&mut header, path, content)?)
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.0.finish()?;
        let mut bytes = self.0.into_inner()?;
        bytes.flush()?;
        Ok(bytes)
    }
}

/// SHA-256, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_is_the_same_archive() {
        let make = || {
            let mut archive = Archive::new();
            archive.file("a", 0o755, b"x").unwrap();
            archive.finish().unwrap()
        };
        assert_eq!(make(), make());
        assert_eq!(make().len() % 512, 0);
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
