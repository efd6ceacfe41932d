//! The size of the conntrack hash table.

use std::fs;

use anyhow::{Context, Result};

const SIZE: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// A resized table; gets its old size back when dropped.
#[derive(Debug)]
pub struct HashSize {
    before: String,
}

impl HashSize {
    /// Resize the machine's table. The kernel rounds up to whole pages, so that
    /// 512 buckets are the least.
    pub fn set(buckets: u32) -> Result<Self> {
        let before = fs::read_to_string(SIZE).with_context(|| format!("cannot read {SIZE}"))?;
        fs::write(SIZE, buckets.to_string()).with_context(|| format!("cannot write {SIZE}"))?;
        Ok(Self { before })
    }
}

impl Drop for HashSize {
    fn drop(&mut self) {
        let _ = fs::write(SIZE, self.before.trim());
    }
}
