//! Reads a recording, part by part, in bounded memory. What is damaged is left
//! out and counted.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    Entry, FORMAT, Header, Reading,
    block::{self, BlockHeader, FILE_HEADER_BYTES, FILE_MAGIC, HEADER_BYTES, MAGIC},
    deltas::Aggregates,
    parts,
};
use crate::stats::AggregateChanges;

/// Damaged places after which the rest of a part is not looked at: each may
/// cost a block's reading.
const MAX_DAMAGED: u64 = 10_000;
/// Bytes looked through at once for the next block.
const SEARCH_BYTES: usize = 64 << 10;

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} is no dnsprobe recording")]
    NotOurs(PathBuf),
    /// It needs a newer program.
    #[error("{path} has format {format}; this dnsprobe reads up to {FORMAT}")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        format: u16,
    },
    /// Its first block is damaged or missing.
    #[error("{0} ends or is damaged before it says what it is a recording of")]
    NoHeader(PathBuf),
}

/// What of a recording could not be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Places where no whole block was found.
    pub places: u64,
    /// Bytes passed over to find the next.
    pub bytes: u64,
    /// Entries of a kind or with content that this version does not know.
    pub unknown_entries: u64,
    /// Entries that the recorder could not write.
    pub unwritten_entries: u64,
    /// Parts between two others, or before the first, that are not there.
    pub missing_parts: u64,
    /// Whether the recorder was stopped before it could end the file.
    pub cut: bool,
}

impl Damage {
    /// In words; `None` when there is none.
    #[must_use]
    pub fn describe(&self) -> Option<String> {
        let counted = [
            (self.places, "damaged places"),
            (self.bytes, "bytes passed over"),
            (self.unknown_entries, "entries not understood"),
            (self.unwritten_entries, "entries never written"),
            (self.missing_parts, "parts missing"),
        ];
        let mut words: Vec<String> = counted
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if self.cut {
            words.push("the end is missing: the recorder was killed or still runs".to_owned());
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// A recording that is being read.
pub struct Reader {
    header: Header,
    /// Parts that come after this one, and their headers' numbers.
    later: VecDeque<Part>,
    part: Part,
    block: Vec<u8>,
    at: usize,
    aggregates: Aggregates,
    damage: Damage,
    ended: bool,
    bytes: u64,
    done_bytes: u64,
}

impl Reader {
    /// Opens a recording and, where its older parts lie beside it, those.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let mut parts: Vec<(Part, Header)> = Vec::new();
        let newest = Part::open(path)?;
        for path in parts::existing(path) {
            // Another recording's leftovers are none of our business.
            if let Ok((part, header)) = Part::open(&path)
                && header.recording == newest.1.recording
            {
                parts.push((part, header));
            }
        }
        parts.sort_by_key(|(_, header)| header.part);
        let first = parts.first().map_or(0, |(_, header)| header.part);
        let gaps = parts.windows(2).map(|two| (two[1].1.part - two[0].1.part).saturating_sub(1));
        let damage = Damage { missing_parts: first + gaps.sum::<u64>(), ..Damage::default() };
        let header = parts.first().map_or_else(|| newest.1.clone(), |(_, header)| header.clone());
        let mut later: VecDeque<Part> = parts.into_iter().map(|(part, _)| part).collect();
        let bytes = later.iter().map(|part| part.size).sum();
        let part = later.pop_front().unwrap_or(newest.0);
        Ok(Self {
            header,
            later,
            part,
            block: Vec::new(),
            at: 0,
            aggregates: Aggregates::default(),
            damage,
            ended: false,
            bytes,
            done_bytes: 0,
        })
    }

    /// What was recorded, of the first part.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What could not be used so far; whole after the last entry.
    #[must_use]
    pub fn damage(&self) -> Damage {
        self.damage
    }

    /// Bytes read and in all.
    #[must_use]
    pub fn progress(&self) -> (u64, u64) {
        (self.done_bytes + self.part.at, self.bytes)
    }

    /// The aggregates that changed with a reading. To be called once for each reading,
    /// in order.
    pub fn aggregates(&mut self, reading: &Reading) -> AggregateChanges {
        self.aggregates.apply(&reading.changes)
    }

    /// The next entry. Headers of later parts are left out.
    pub fn next_entry(&mut self) -> Option<Entry> {
        loop {
            let Some((kind, body, next)) = block::entry_at(&self.block, self.at) else {
                if !self.next_block() {
                    self.damage.cut = !self.ended;
                    return None;
                }
                continue;
            };
            self.at = next;
            match Entry::read(kind, body) {
                Some(Entry::Header(_)) => {}
                Some(Entry::End) => {
                    self.ended = true;
                    return Some(Entry::End);
                }
                Some(Entry::Gap(gap)) => {
                    self.damage.unwritten_entries += gap.entries;
                    return Some(Entry::Gap(gap));
                }
                Some(entry) => return Some(entry),
                None => self.damage.unknown_entries += 1,
            }
        }
    }

    /// Whether there is one.
    fn next_block(&mut self) -> bool {
        loop {
            if let Some(block) = self.part.next_block(&mut self.damage) {
                (self.block, self.at) = (block, 0);
                return true;
            }
            let Some(part) = self.later.pop_front() else { return false };
            self.done_bytes += self.part.size;
            self.part = part;
        }
    }
}

/// One file.
struct Part {
    file: File,
    /// When it was opened: what is written later belongs to the next replay.
    size: u64,
    at: u64,
    damaged: u64,
    decompressor: zstd::bulk::Decompressor<'static>,
}

impl Part {
    fn open(path: &Path) -> Result<(Self, Header), ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        let data = file.metadata().map_err(io)?;
        if !data.is_file() {
            return Err(io(io::Error::other("not a regular file")));
        }
        let size = data.len();
        let mut first = [0; FILE_HEADER_BYTES];
        file.read_exact_at(&mut first, 0).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::NotOurs(path.to_owned()),
            _ => io(error),
        })?;
        let (magic, format) = first.split_at(FILE_MAGIC.len());
        let format = u16::from_le_bytes([format[0], format[1]]);
        if magic != FILE_MAGIC {
            return Err(ReadError::NotOurs(path.to_owned()));
        }
        if format > FORMAT {
            return Err(ReadError::Newer { path: path.to_owned(), format });
        }
        let decompressor = zstd::bulk::Decompressor::new().map_err(io)?;
        let at = FILE_HEADER_BYTES as u64;
        let mut part = Self { file, size, at, damaged: 0, decompressor };
        let header = part.header().ok_or_else(|| ReadError::NoHeader(path.to_owned()))?;
        part.at = at;
        Ok((part, header))
    }

    fn header(&mut self) -> Option<Header> {
        let block = self.block_here()?;
        let (kind, body, _) = block::entry_at(&block, 0)?;
        match Entry::read(kind, body)? {
            Entry::Header(header) => Some(*header),
            _ => None,
        }
    }

    /// The block at the current place, and on to the next.
    fn block_here(&mut self) -> Option<Vec<u8>> {
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, self.at).ok()?;
        let header = BlockHeader::parse(&header)?;
        let start = self.at + HEADER_BYTES as u64;
        let end = start + header.stored as u64;
        if end > self.size {
            return None;
        }
        let mut stored = vec![0; header.stored];
        self.file.read_exact_at(&mut stored, start).ok()?;
        let raw = header.unpack(&stored, &mut self.decompressor)?;
        self.at = end;
        Some(raw)
    }

    fn next_block(&mut self, damage: &mut Damage) -> Option<Vec<u8>> {
        while self.at < self.size {
            if let Some(block) = self.block_here() {
                return Some(block);
            }
            let next = if self.damaged < MAX_DAMAGED { self.find_magic() } else { None };
            let next = next.unwrap_or(self.size);
            self.damaged += 1;
            damage.places += 1;
            damage.bytes += next - self.at;
            self.at = next;
        }
        None
    }

    /// Where the next block may begin, behind the current place.
    fn find_magic(&self) -> Option<u64> {
        let mut from = self.at + 1;
        let mut bytes = vec![0; SEARCH_BYTES];
        while from < self.size {
            let count = self.file.read_at(&mut bytes, from).ok().filter(|count| *count > 0)?;
            let found = bytes[..count].windows(MAGIC.len()).position(|window| window == MAGIC);
            if let Some(found) = found {
                return Some(from + found as u64);
            }
            // The magic may lie across two readings.
            from += count.saturating_sub(MAGIC.len() - 1).max(1) as u64;
        }
        None
    }
}
