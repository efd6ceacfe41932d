//! The thread that compresses and writes, so that a slow disk never holds up
//! watching. What cannot be written is counted.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
};

use super::{
    block::{self, Compressor},
    parts,
};

/// What the thread is told to do.
#[derive(Debug)]
pub(super) enum Job {
    /// Write these entries as a block.
    Block { raw: Vec<u8>, entries: u64 },
    /// Begin the next part.
    Rotate,
}

/// What the thread tells.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Entries that could not be written.
    pub(super) lost_entries: AtomicU64,
    /// Parts begun after the first.
    pub(super) rotations: AtomicU64,
    /// Bytes of the part that is being written.
    pub(super) part_bytes: AtomicU64,
    /// Bytes written in all.
    pub(super) bytes: AtomicU64,
    /// Why the last one of those could not be written.
    error: Mutex<Option<String>>,
}

impl Shared {
    /// Why something could not be written, last.
    pub(super) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The thread's end of the recording.
pub(super) struct Writer {
    path: PathBuf,
    /// `None` after the next part could not be made.
    file: Option<File>,
    /// Where the last whole block ended.
    good: u64,
    parts: u32,
    compressor: Compressor,
    shared: Arc<Shared>,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        file: File,
        parts: u32,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        Ok(Self { path, file: Some(file), good: 0, parts, compressor: Compressor::new()?, shared })
    }

    /// Works until the other end is gone.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Block { raw, entries } => {
                    if let Err(error) = self.write(&raw) {
                        self.shared.lost_entries.fetch_add(entries, Ordering::Relaxed);
                        self.failed(&error);
                    }
                }
                Job::Rotate => {
                    self.file = None;
                    self.shared.part_bytes.store(0, Ordering::Relaxed);
                    if let Err(error) = self.rotate() {
                        self.failed(&error);
                    }
                    self.shared.rotations.fetch_add(1, Ordering::Release);
                }
            }
        }
    }

    fn failed(&self, error: &io::Error) {
        let mut last = self.shared.error.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(error.to_string());
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file = Some(parts::rotate(&self.path, self.parts)?);
        self.good = 0;
        Ok(())
    }

    fn write(&mut self, raw: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.rotate()?;
        }
        let block = self.compressor.block(raw)?;
        let head = if self.good == 0 { block::file_header() } else { Vec::new() };
        let Some(file) = &mut self.file else { return Ok(()) };
        if let Err(error) = file.write_all(&head).and_then(|()| file.write_all(&block)) {
            // Half a block is in nobody's way if this fails too: a reader
            // looks for the next one.
            let _ = file.set_len(self.good);
            let _ = file.seek(SeekFrom::Start(self.good));
            return Err(error);
        }
        let written = (head.len() + block.len()) as u64;
        self.good += written;
        self.shared.part_bytes.store(self.good, Ordering::Relaxed);
        self.shared.bytes.fetch_add(written, Ordering::Relaxed);
        Ok(())
    }
}
