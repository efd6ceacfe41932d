//! The format of recordings, as `docs/recording.md` describes it: another reader
//! and writer than those of the program, which they have to agree with.

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ciborium::Value;

const MAGIC: &[u8] = b"dnsprobe-rec\r\n\x01\x00";
const BLOCK_MAGIC: [u8; 4] = [0xd5, b'N', b'P', b'B'];
const MAX_BLOCK: usize = 16 << 20;
/// The level that the program uses.
const LEVEL: i32 = 3;

/// Numbers of entries.
pub(super) mod kind {
    pub(in super::super) const HEADER: u8 = 1;
    pub(in super::super) const OBSERVATION: u8 = 2;
    pub(in super::super) const READING: u8 = 5;
    pub(in super::super) const NOW: u8 = 8;
    pub(in super::super) const NODE_FILE: u8 = 10;
    pub(in super::super) const END: u8 = 12;
    /// What happened while it was recorded: observation, owner, owners forgotten,
    /// reading, events lost, facts forgotten, it was this late, handed on.
    pub(in super::super) const REPEATED: [u8; 8] = [OBSERVATION, 3, 4, READING, 6, 7, NOW, 9];
}

/// One entry; [`Value::Null`] stands for an empty body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) kind: u8,
    pub(super) body: Value,
}

impl Entry {
    /// The moment that it says it is.
    pub(super) fn now_ns(&self) -> Option<u64> {
        let moment = (self.kind == kind::NOW).then_some(&self.body)?.as_integer()?;
        moment.try_into().ok()
    }
}

/// The entries of a whole, undamaged file, block by block.
pub(super) fn read(path: &Path) -> Result<Vec<Vec<Entry>>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let mut rest = bytes.strip_prefix(MAGIC).context("no recording of format 1")?;
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let head = take(&mut rest, 16)?;
        ensure!(head[..4] == BLOCK_MAGIC, "damaged: no block where one should be");
        let (stored, raw) = (length(&head[4..8]), length(&head[8..12]));
        ensure!(raw <= MAX_BLOCK, "damaged: a block is too long");
        let stored = take(&mut rest, stored)?;
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&head[4..12]), stored);
        ensure!(checksum.to_le_bytes() == head[12..], "damaged: a checksum is wrong");
        let raw = zstd::bulk::decompress(stored, raw)?;
        blocks.push(entries(&raw)?);
    }
    Ok(blocks)
}

fn entries(mut raw: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    while !raw.is_empty() {
        let head = take(&mut raw, 5)?;
        let body = take(&mut raw, length(&head[1..]))?;
        let body = if body.is_empty() { Value::Null } else { ciborium::from_reader(body)? };
        entries.push(Entry { kind: head[0], body });
    }
    Ok(entries)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length).context("damaged: it ends too early")?;
    *rest = left;
    Ok(taken)
}

/// A 32-bit number, little endian.
fn length(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

/// Writes what each file begins with; how much that is.
pub(super) fn begin(out: &mut dyn Write) -> io::Result<u64> {
    out.write_all(MAGIC)?;
    Ok(MAGIC.len() as u64)
}

/// Writes blocks.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(super) fn new() -> io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Self)
    }

    /// Writes one block; how much that is.
    pub(super) fn write(&mut self, entries: &[Entry], out: &mut dyn Write) -> Result<u64> {
        let mut raw = Vec::new();
        for Entry { kind, body } in entries {
            let mut bytes = Vec::new();
            if *body != Value::Null {
                ciborium::into_writer(body, &mut bytes)?;
            }
            raw.push(*kind);
            raw.extend(u32::try_from(bytes.len())?.to_le_bytes());
            raw.extend(bytes);
        }
        ensure!(raw.len() <= MAX_BLOCK, "a block would be too long");
        let stored = self.0.compress(&raw)?;
        let lengths =
            [u32::try_from(stored.len())?.to_le_bytes(), u32::try_from(raw.len())?.to_le_bytes()]
                .concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths), &stored);
        for piece in [&BLOCK_MAGIC[..], &lengths, &checksum.to_le_bytes(), &stored] {
            out.write_all(piece)?;
        }
        Ok((16 + stored.len()) as u64)
    }
}
