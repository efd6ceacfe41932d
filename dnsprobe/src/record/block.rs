//! Blocks: a number of entries, compressed and guarded by a checksum. A file
//! that ends or is damaged anywhere can be read up to there, and from the next
//! block on.

/// What a recording starts with; the version follows.
pub(super) const FILE_MAGIC: &[u8; 14] = b"dnsprobe-rec\r\n";
/// Magic and version (u16).
pub(super) const FILE_HEADER_BYTES: usize = FILE_MAGIC.len() + 2;
/// What a block starts with.
pub(super) const MAGIC: [u8; 4] = [0xd5, b'N', b'P', b'B'];
/// Magic, stored length, raw length, checksum: u32 each, little endian.
pub(super) const HEADER_BYTES: usize = 16;
/// A block holds no more than this, raw or stored, bytes.
pub(super) const MAX_BYTES: usize = 16 << 20;
/// Kind (u8) and length (u32, little endian) in front of each entry.
const ENTRY_HEADER_BYTES: usize = 5;
/// Fast, and a quarter of the size or less.
const LEVEL: i32 = 3;

/// The first bytes of a file.
pub(super) fn file_header() -> Vec<u8> {
    [&FILE_MAGIC[..], &super::FORMAT.to_le_bytes()].concat()
}

/// Makes blocks.
pub(super) struct Compressor(zstd::bulk::Compressor<'static>);

impl Compressor {
    pub(super) fn new() -> std::io::Result<Self> {
        zstd::bulk::Compressor::new(LEVEL).map(Self)
    }

    /// The block of these entries.
    pub(super) fn block(&mut self, raw: &[u8]) -> std::io::Result<Vec<u8>> {
        let stored = self.0.compress(raw)?;
        let lengths = [length(stored.len())?, length(raw.len())?].concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths), &stored);
        Ok([&MAGIC[..], &lengths, &checksum.to_le_bytes(), &stored].concat())
    }
}

fn length(bytes: usize) -> std::io::Result<Vec<u8>> {
    u32::try_from(bytes)
        .ok()
        .filter(|_| bytes <= MAX_BYTES)
        .map(|bytes| bytes.to_le_bytes().to_vec())
        .ok_or_else(|| std::io::Error::other("a block would be too large"))
}

/// A block's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    /// Bytes that follow.
    pub(super) stored: usize,
    /// Bytes that they become.
    raw: usize,
    checksum: u32,
}

impl BlockHeader {
    /// `None` unless it can be one.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let size = |at: usize| usize::try_from(word(at)).ok().filter(|size| *size <= MAX_BYTES);
        let header = Self { stored: size(4)?, raw: size(8)?, checksum: word(12) };
        (bytes[..4] == MAGIC).then_some(header)
    }

    /// The entries; `None` when these are not the bytes that were written.
    pub(super) fn unpack(
        &self,
        stored: &[u8],
        decompressor: &mut zstd::bulk::Decompressor<'_>,
    ) -> Option<Vec<u8>> {
        let lengths = [self.stored, self.raw].map(|bytes| (bytes as u32).to_le_bytes()).concat();
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&lengths), stored);
        if checksum != self.checksum {
            return None;
        }
        let raw = decompressor.decompress(stored, self.raw).ok()?;
        (raw.len() == self.raw).then_some(raw)
    }
}

/// Adds an entry's bytes.
pub(super) fn put(kind: u8, body: &[u8], block: &mut Vec<u8>) {
    block.push(kind);
    // A body fits into a block, and a block's length into 32 bits.
    block.extend((body.len() as u32).to_le_bytes());
    block.extend(body);
}

/// The entry at `at`: kind, body, and where the next one begins. `None` at the
/// end.
pub(super) fn entry_at(block: &[u8], at: usize) -> Option<(u8, &[u8], usize)> {
    let header = block.get(at..at + ENTRY_HEADER_BYTES)?;
    let length = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
    let start = at + ENTRY_HEADER_BYTES;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    Some((header[0], block.get(start..end)?, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_reads_back_and_any_other_byte_in_it_is_noticed() {
        let mut raw = Vec::new();
        put(1, b"one", &mut raw);
        put(2, b"", &mut raw);
        let block = Compressor::new().unwrap().block(&raw).unwrap();
        let unpack = |block: &[u8]| {
            let header = BlockHeader::parse(block[..HEADER_BYTES].try_into().unwrap())?;
            let stored = block.get(HEADER_BYTES..HEADER_BYTES + header.stored)?;
            header.unpack(stored, &mut zstd::bulk::Decompressor::new().unwrap())
        };
        assert_eq!(unpack(&block), Some(raw.clone()));
        for at in 0..block.len() {
            let mut damaged = block.clone();
            damaged[at] ^= 0x40;
            assert_eq!(unpack(&damaged), None, "byte {at}");
        }
        let (kind, body, next) = entry_at(&raw, 0).unwrap();
        assert_eq!((kind, body), (1, &b"one"[..]));
        assert_eq!(entry_at(&raw, next), Some((2, &b""[..], raw.len())));
        assert_eq!(entry_at(&raw, raw.len()), None);
        assert_eq!(entry_at(&raw[..raw.len() - 1], next), None);
    }
}
