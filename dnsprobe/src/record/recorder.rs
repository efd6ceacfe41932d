//! Takes down everything that the engine and the statistics are fed.

use std::{
    collections::HashMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    Entry, Gap, Header, Limits, NodeFile, Reading, RecordError, block,
    deltas::Aggregates,
    entry::{OBSERVATION, OWNER, READING, REMOTE, cbor},
    known::MAX_OWNERS,
    parts,
    writer::{Job, Shared, Writer},
};
use crate::{
    engine::Observation,
    identity::{Identify, Owner, OwnerKey, Remote, RemoteAddress},
    stats::AggregateChanges,
};

/// A block is written when it has this many bytes, before compression.
const BLOCK_BYTES: usize = 256 << 10;
/// Or when its first entry is this old: so much is lost when we are killed.
const BLOCK_TIME: Duration = Duration::from_secs(1);
/// Blocks that wait for the disk.
const WAITING: usize = 16;
/// How often somebody is told that nothing can be written.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A file that was made, before anything is known of what is recorded into it:
/// a wrong name is noticed before the hooks are attached.
#[derive(Debug)]
pub struct Pending {
    path: PathBuf,
    file: File,
    limits: Limits,
}

impl Pending {
    /// Makes the file.
    ///
    /// # Errors
    /// When it exists or cannot be made.
    pub fn create(path: &Path, limits: Limits) -> Result<Self, RecordError> {
        Ok(Self { path: path.to_owned(), file: parts::create_first(path)?, limits })
    }

    /// Begins to record.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(self, header: Header) -> Result<Recorder, RecordError> {
        let shared = Arc::new(Shared::default());
        let Self { path, file, limits } = self;
        let writer = Writer::new(path, file, limits.parts, Arc::clone(&shared))
            .map_err(RecordError::Start)?;
        let (jobs, todo) = sync_channel(WAITING);
        let thread = std::thread::Builder::new()
            .name("dnsprobe-record".to_owned())
            .spawn(move || writer.run(&todo))
            .map_err(RecordError::Start)?;
        let mut recorder = Recorder {
            header,
            limits,
            part_began: Instant::now(),
            block: Vec::new(),
            block_began: Instant::now(),
            block_entries: 0,
            told: HashMap::new(),
            told_remotes: HashMap::new(),
            aggregates: Aggregates::default(),
            tell_anew: false,
            node_files: Vec::new(),
            now_ns: 0,
            lost_entries: 0,
            lost_told: 0,
            said: None,
            jobs: Some(jobs),
            thread: Some(thread),
            shared,
        };
        recorder.put(&Entry::Header(Box::new(recorder.header.clone())));
        recorder.write_block();
        Ok(recorder)
    }
}

/// What became of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Parts begun.
    pub parts: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Entries that were not written.
    pub lost_entries: u64,
    /// Why the last of those was not.
    pub error: Option<String>,
}

/// A recording in progress. Never waits for the disk before its end.
pub struct Recorder {
    header: Header,
    limits: Limits,
    part_began: Instant,
    block: Vec<u8>,
    block_began: Instant,
    block_entries: u64,
    /// Owners as this part names them.
    told: HashMap<OwnerKey, Arc<Owner>>,
    /// The same for remote ends, by namespace and address.
    told_remotes: HashMap<(u32, SocketAddr), Option<Arc<Remote>>>,
    aggregates: Aggregates,
    /// Whether the next reading has to tell everything as it is.
    tell_anew: bool,
    /// What was read before the watch: each part begins with it.
    node_files: Vec<NodeFile>,
    /// The latest moment told, kernel nanoseconds.
    now_ns: u64,
    /// Entries that found no room among the waiting blocks.
    lost_entries: u64,
    /// Losses, of either kind, that the recording tells of.
    lost_told: u64,
    said: Option<(Instant, u64)>,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Takes down an observation and the owners that `work` asks for while it
    /// takes it in. They come first in the file.
    pub fn observation<R>(
        &mut self,
        observation: Observation,
        identify: &mut dyn Identify,
        work: impl FnOnce(Observation, &mut dyn Identify) -> R,
    ) -> R {
        self.begin_entry();
        let body = cbor(&observation);
        self.witnessed(OBSERVATION, &body, identify, |identify| work(observation, identify))
    }

    /// The same for a reading of the counters. `reading` is without changes.
    pub fn reading<R>(
        &mut self,
        reading: Reading,
        aggregates: AggregateChanges,
        identify: &mut dyn Identify,
        work: impl FnOnce(AggregateChanges, &mut dyn Identify) -> R,
    ) -> R {
        // Before the changes are made out: a gap may have to be told first.
        self.begin_entry();
        let anew = std::mem::take(&mut self.tell_anew);
        let reading = Reading { changes: self.aggregates.changes(&aggregates, anew), ..reading };
        self.witnessed(READING, &cbor(&reading), identify, |identify| work(aggregates, identify))
    }

    fn witnessed<R>(
        &mut self,
        kind: u8,
        body: &[u8],
        identify: &mut dyn Identify,
        work: impl FnOnce(&mut dyn Identify) -> R,
    ) -> R {
        let mut witness = Witness { inner: identify, recorder: self };
        let result = work(&mut witness);
        self.put_bytes(kind, body);
        result
    }

    /// Takes down an entry that asks for no owner.
    pub fn entry(&mut self, entry: &Entry) {
        self.begin_entry();
        match entry {
            Entry::Now(at_ns) => {
                self.now_ns = *at_ns;
                self.put(entry);
                if self.block_began.elapsed() >= BLOCK_TIME {
                    self.write_block();
                }
            }
            Entry::NodeFile(file) => {
                self.node_files.push((**file).clone());
                self.put(entry);
            }
            _ => self.put(entry),
        }
    }

    /// What to tell people, once in a while: entries that could not be written.
    pub fn problem(&mut self) -> Option<String> {
        let lost = self.lost();
        let (before, again) =
            self.said.map_or((0, true), |(at, before)| (before, at.elapsed() >= SAY_AGAIN));
        if lost == before || !again {
            return None;
        }
        self.said = Some((Instant::now(), lost));
        let reason = self.shared.error().unwrap_or_else(|| "the disk is too slow".to_owned());
        Some(format!(
            "the recording lacks {lost} entries that could not be written ({reason}); watching goes on"
        ))
    }

    /// Writes what is left and waits for the disk.
    #[must_use]
    pub fn finish(mut self) -> Summary {
        self.close();
        Summary {
            parts: self.header.part + 1,
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            lost_entries: self.lost(),
            error: self.shared.error(),
        }
    }

    fn close(&mut self) {
        if self.thread.is_none() {
            return;
        }
        self.entry(&Entry::End);
        let block = self.take_block();
        if let Some(jobs) = self.jobs.take() {
            // A thread that is gone has written all that it could.
            let _ = jobs.send(block);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn lost(&self) -> u64 {
        self.lost_entries + self.shared.lost_entries.load(Ordering::Relaxed)
    }

    /// Between two entries: ends blocks and parts, and tells of what was lost.
    fn begin_entry(&mut self) {
        if self.block.len() >= BLOCK_BYTES {
            self.write_block();
        }
        if self.block.is_empty() && self.part_is_over() && self.send(Job::Rotate) {
            self.begin_part();
        }
        let lost = self.lost();
        if lost > self.lost_told {
            let gap = Gap { entries: lost - self.lost_told, until_ns: self.now_ns };
            self.lost_told = lost;
            self.forget_told();
            self.tell_anew = true;
            self.put(&Entry::Gap(gap));
        }
    }

    fn forget_told(&mut self) {
        self.told.clear();
        self.told_remotes.clear();
    }

    /// Both sides forget, so that neither grows.
    fn make_room(&mut self) {
        self.forget_told();
        self.put(&Entry::OwnersForgotten);
    }

    fn part_is_over(&self) -> bool {
        // Until then the size is that of the part before.
        let began = self.shared.rotations.load(Ordering::Acquire) == self.header.part;
        (began && self.shared.part_bytes.load(Ordering::Relaxed) >= self.limits.part_bytes)
            || self.limits.part_time.is_some_and(|time| self.part_began.elapsed() >= time)
    }

    /// A part can be read without the ones before it.
    fn begin_part(&mut self) {
        self.part_began = Instant::now();
        self.header.part += 1;
        self.forget_told();
        self.put(&Entry::Header(Box::new(self.header.clone())));
        for file in self.node_files.clone() {
            self.put(&Entry::NodeFile(Box::new(file)));
        }
    }

    fn put(&mut self, entry: &Entry) {
        self.put_bytes(entry.kind(), &entry.body());
    }

    fn put_bytes(&mut self, kind: u8, body: &[u8]) {
        if self.block.len() + body.len() > block::MAX_BYTES / 2 {
            self.write_block();
        }
        if self.block.is_empty() {
            self.block_began = Instant::now();
        }
        block::put(kind, body, &mut self.block);
        self.block_entries += 1;
    }

    fn take_block(&mut self) -> Job {
        let entries = std::mem::take(&mut self.block_entries);
        Job::Block { raw: std::mem::take(&mut self.block), entries }
    }

    fn write_block(&mut self) {
        let Job::Block { raw, entries } = self.take_block() else { return };
        if entries > 0 && !self.send(Job::Block { raw, entries }) {
            self.lost_entries += entries;
        }
    }

    /// Whether there was room for it.
    fn send(&self, job: Job) -> bool {
        match self.jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => true,
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => false,
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

/// Passes questions on and takes down the answers that are new.
struct Witness<'a> {
    inner: &'a mut dyn Identify,
    recorder: &'a mut Recorder,
}

impl Identify for Witness<'_> {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        let owner = self.inner.owner(key);
        let recorder = &mut *self.recorder;
        let is_told = recorder.told.get(&key).is_some_and(|told| {
            // Equal owners may still differ in what is known of their names.
            Arc::ptr_eq(told, &owner) || format!("{told:?}") == format!("{owner:?}")
        });
        if !is_told {
            if recorder.told.len() >= MAX_OWNERS {
                recorder.make_room();
            }
            recorder.told.insert(key, Arc::clone(&owner));
            recorder.put_bytes(OWNER, &cbor(&(key, &*owner)));
        }
        owner
    }

    fn remote(&mut self, asked: RemoteAddress) -> Option<Arc<Remote>> {
        let remote = self.inner.remote(asked);
        let recorder = &mut *self.recorder;
        let key = (asked.netns, asked.address);
        if recorder.told_remotes.get(&key) != Some(&remote) {
            if recorder.told_remotes.len() >= MAX_OWNERS {
                recorder.make_room();
            }
            recorder.told_remotes.insert(key, remote.clone());
            let entry = (asked.netns, asked.address, remote.as_deref());
            recorder.put_bytes(REMOTE, &cbor(&entry));
        }
        remote
    }
}
