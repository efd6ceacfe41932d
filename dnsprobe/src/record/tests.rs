//! Recordings made by hand, read back whole, cut and damaged.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use proptest::prelude::*;

use super::*;
use crate::{
    engine::{Observation, testing},
    identity::{Identify, Owner, OwnerKey},
};

/// An empty directory of this test's own.
pub(crate) fn scratch(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory =
        std::env::temp_dir().join(format!("dnsprobe-{name}-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    directory
}

const LIMITS: Limits = Limits { part_bytes: 1 << 30, parts: 5, part_time: None };

struct Cart;

impl Identify for Cart {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        Arc::new(Owner::Host { name: format!("unit-{}", key.cgroup) })
    }
}

fn observation(id: u16) -> Observation {
    let mut query = testing::query();
    query.id.id = id;
    query.owner.cgroup = u64::from(id % 3);
    Observation::Transaction { query, end_ns: Some(u64::from(id)) }
}

fn observe(recorder: &mut Recorder, id: u16) {
    recorder.observation(observation(id), &mut Cart, |observation, identify| {
        let Observation::Transaction { query, .. } = observation else { unreachable!() };
        identify.owner(query.owner)
    });
}

/// Records that many transactions, a `Now` after each ten.
fn record(file: &Path, limits: Limits, ids: std::ops::Range<u16>) -> Summary {
    let header = Header { node: "here".to_owned(), recording: 7, ..Header::default() };
    let mut recorder = Pending::create(file, limits).unwrap().start(header).unwrap();
    for id in ids {
        observe(&mut recorder, id);
        if id % 10 == 9 {
            recorder.entry(&Entry::Now(u64::from(id)));
        }
    }
    recorder.finish()
}

/// The ids of the transactions, and whether each one's owner was known.
fn read(file: &Path) -> Result<(Vec<u16>, Damage), ReadError> {
    let mut reader = Reader::open(file)?;
    let mut owners = KnownOwners::new();
    let mut ids = Vec::new();
    while let Some(entry) = reader.next_entry() {
        match entry {
            Entry::Owner(key, owner) => owners.learn(key, owner),
            Entry::OwnersForgotten => owners.forget(),
            Entry::Observation(observation) => {
                let Observation::Transaction { query, .. } = *observation else { continue };
                let owner = owners.owner(query.owner);
                if !owner.is_unattributed() {
                    assert_eq!(*owner, *Cart.owner(query.owner));
                }
                ids.push(query.id.id);
            }
            _ => {}
        }
    }
    Ok((ids, reader.damage()))
}

#[test]
fn what_was_recorded_reads_back_in_order() {
    let directory = scratch("whole");
    let file = directory.join("a.rec");
    let summary = record(&file, LIMITS, 0..1_000);
    assert_eq!((summary.lost_entries, summary.parts), (0, 1));
    assert_eq!(summary.bytes, fs::metadata(&file).unwrap().len());
    let (ids, damage) = read(&file).unwrap();
    assert_eq!(ids, Vec::from_iter(0..1_000));
    assert_eq!(damage, Damage::default());
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn every_kind_of_observation_reads_back() {
    let fact = |kind| Observation::Fact(Box::new(testing::fact(kind)));
    let observations = [
        fact(crate::engine::FactKind::ConfirmDrop),
        fact(crate::engine::FactKind::SendFailed { errno: 1 }),
        Observation::ChainTooLong { at_ns: 1, packets: 2 },
        Observation::ConntrackPurge { at_ns: 3, command: Some("conntrack".to_owned()) },
        Observation::Unanswered {
            query: testing::query(),
            how: crate::engine::Unanswered::SentAgain(9),
        },
    ];
    for observation in observations {
        let text = format!("{observation:?}");
        let entry = Entry::Observation(Box::new(observation));
        let Some(Entry::Observation(again)) = Entry::read(entry.kind(), &entry.body()) else {
            panic!("not read back: {text}");
        };
        assert_eq!(format!("{again:?}"), text);
    }
}

#[test]
fn parts_are_one_recording_and_each_is_one_of_its_own() {
    let directory = scratch("parts");
    let file = directory.join("a.rec");
    let small = Limits { part_bytes: 1, ..LIMITS };
    let header = Header { recording: 7, ..Header::default() };
    let mut recorder = Pending::create(&file, small).unwrap().start(header).unwrap();
    let mut id = 0;
    // A part ends with the block that was written before: give it its time.
    while !parts_exist(&file, 3) {
        observe(&mut recorder, id);
        id += 1;
        recorder.entry(&Entry::Now(u64::from(id)));
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let _ = recorder.finish();
    let (ids, damage) = read(&file).unwrap();
    assert_eq!(ids, Vec::from_iter(0..id));
    assert_eq!(damage, Damage::default());
    let (newer, damage) = read(&directory.join("a.rec.1")).unwrap();
    assert!(!newer.is_empty() && newer.len() < ids.len());
    assert!(damage.missing_parts > 0 && damage.cut);
    fs::remove_dir_all(directory).unwrap();
}

fn parts_exist(file: &Path, count: u32) -> bool {
    parts::part_path(file, count - 1).exists()
}

#[test]
fn a_full_disk_is_counted_and_told() {
    let header = Header::default();
    let full = Path::new("/dev/full");
    let mut recorder = Pending::create(full, LIMITS).unwrap().start(header).unwrap();
    observe(&mut recorder, 1);
    let summary = recorder.finish();
    assert_eq!(summary.bytes, 0);
    // Header, owner, observation, end; and the gap that tells of the header,
    // where that was noticed in time.
    assert!(summary.lost_entries >= 4, "{summary:?}");
    assert!(summary.error.unwrap().contains("No space left"));
}

#[test]
fn entries_of_a_later_version_are_counted_and_passed_over() {
    let directory = scratch("later");
    let file = directory.join("a.rec");
    let mut raw = Vec::new();
    let header = Entry::Header(Box::default());
    block::put(header.kind(), &header.body(), &mut raw);
    block::put(200, b"what is this", &mut raw);
    block::put(entry::OBSERVATION, &entry::cbor(&"no observation"), &mut raw);
    block::put(8, &entry::cbor(&5_u64), &mut raw);
    let mut bytes = block::file_header();
    bytes.extend(block::Compressor::new().unwrap().block(&raw).unwrap());
    fs::write(&file, &bytes).unwrap();
    let mut reader = Reader::open(&file).unwrap();
    assert!(matches!(reader.next_entry(), Some(Entry::Now(5))));
    assert!(reader.next_entry().is_none());
    assert_eq!(reader.damage().unknown_entries, 2);
    // A format of its own is refused as a whole.
    bytes[block::FILE_MAGIC.len()] = 2;
    fs::write(&file, &bytes).unwrap();
    assert!(matches!(Reader::open(&file), Err(ReadError::Newer { format: 2, .. })));
    fs::write(&file, b"something else altogether").unwrap();
    assert!(matches!(Reader::open(&file), Err(ReadError::NotOurs(_))));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn unknown_fields_are_passed_over_and_missing_ones_have_their_defaults() {
    #[derive(serde::Serialize)]
    struct Later {
        node: &'static str,
        colour: &'static str,
    }
    let body = entry::cbor(&Later { node: "here", colour: "green" });
    let Some(Entry::Header(header)) = Entry::read(1, &body) else { panic!("no header") };
    assert_eq!((header.node.as_str(), header.part), ("here", 0));
}

/// A recording of several blocks, as bytes.
fn several_blocks() -> Vec<u8> {
    let mut compressor = block::Compressor::new().unwrap();
    let mut bytes = block::file_header();
    let header = Entry::Header(Box::default());
    let mut raw = Vec::new();
    block::put(header.kind(), &header.body(), &mut raw);
    bytes.extend(compressor.block(&raw).unwrap());
    for id in 0..20 {
        let entry = Entry::Observation(Box::new(observation(id)));
        let mut raw = Vec::new();
        block::put(entry.kind(), &entry.body(), &mut raw);
        bytes.extend(compressor.block(&raw).unwrap());
    }
    bytes
}

#[test]
fn a_damaged_block_costs_its_own_entries_only() {
    let directory = scratch("damaged");
    let file = directory.join("a.rec");
    let mut bytes = several_blocks();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let (ids, damage) = read(&file).unwrap();
    assert_eq!(ids.len(), 19);
    assert_eq!(damage.places, 1);
    assert!(damage.bytes > 0 && damage.cut);
    fs::remove_dir_all(directory).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_cut_file_reads_up_to_its_last_whole_block(cut in 0.0..1.0_f64) {
        let directory = scratch("cut");
        let file = directory.join("a.rec");
        let bytes = several_blocks();
        let length = (bytes.len() as f64 * cut) as usize;
        fs::write(&file, &bytes[..length]).unwrap();
        match read(&file) {
            Ok((ids, damage)) => {
                prop_assert_eq!(&ids, &Vec::from_iter(0..u16::try_from(ids.len()).unwrap()));
                prop_assert!(damage.cut);
            }
            Err(ReadError::NotOurs(_) | ReadError::NoHeader(_)) => prop_assert!(length < 400),
            Err(other) => panic!("{other}"),
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn any_flipped_bits_lose_entries_at_most(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..8),
    ) {
        let directory = scratch("flip");
        let file = directory.join("a.rec");
        let mut bytes = several_blocks();
        for (at, bits) in &flips {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        fs::write(&file, &bytes).unwrap();
        if let Ok((ids, _)) = read(&file) {
            prop_assert!(ids.is_sorted());
            prop_assert!(ids.len() >= 20 - flips.len(), "{:?}", ids);
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn any_bytes_are_an_entry_or_none(kind in any::<u8>(), body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Entry::read(kind, &body);
    }
}
