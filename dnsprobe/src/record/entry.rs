//! What a recording holds, entry by entry.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::deltas::Changes;
use crate::{
    engine::{Blindness, Observation},
    identity::{Owner, OwnerKey, Remote},
    stats::Missing,
};

/// Who recorded what, where, and with which settings. The first entry of each
/// part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// Version of the program.
    pub dnsprobe: String,
    /// Tells recordings apart; the parts of one have it in common.
    pub recording: u64,
    /// Which part, from 0.
    pub part: u64,
    /// The node's name.
    pub node: String,
    /// The kernel's release.
    pub kernel: String,
    /// The wall clock at one moment, nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// Kernel time at that moment, nanoseconds.
    pub monotonic_ns: u64,
    /// After this time without an answer a query counted as lost, nanoseconds.
    pub lost_after_ns: u64,
    /// Ports taken as DNS.
    pub ports: Vec<u16>,
    /// Whether answered queries were reported one by one; else only counts,
    /// losses and near misses are in it.
    pub transactions: bool,
    /// Every role and how it stood.
    pub roles: Vec<RoleEntry>,
    /// What verdicts have to allow for.
    pub blindness: Blindness,
    /// Roles that were missing.
    pub missing: Vec<Missing>,
}

/// A hook role and how it stood.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RoleEntry {
    /// The role.
    pub role: String,
    /// `attached`, `not-needed` or `missing`.
    pub state: String,
    /// How it was attached.
    pub mechanism: Option<String>,
    /// On what.
    pub symbols: Vec<String>,
    /// Why it was not needed or possible.
    pub reason: Option<String>,
    /// Better alternatives, and why they were passed over.
    pub passed_over: Vec<String>,
}

/// Every counter at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The wall clock, nanoseconds since the Unix epoch.
    pub time_ns: u64,
    /// Since the start of the watch, nanoseconds.
    pub since_ns: u64,
    /// What was counted since the reading before.
    pub changes: Changes,
    /// Events lost to a full ring buffer.
    pub events_lost: u64,
    /// Queries not followed because the table was full.
    pub in_flight_full: u64,
    /// Transactions not counted because the aggregates were full.
    pub stats_full: u64,
    /// DNS messages over TCP that could not be read.
    pub tcp_unread: u64,
    /// Program runs that the kernel skipped.
    pub missed_runs: u64,
}

/// When a file of the node was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the watch.
    Before,
    /// After it.
    After,
}

impl Phase {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// Path of the [`NodeFile`] that says whose the entries of the conntrack table
/// are: `{"owners": [{"owner": .., "entries": ..}], "others": ..}`, or
/// `{"unreadable": REASON}`.
pub const CONNTRACK_OWNERS: &str = "conntrack-owners.json";

/// What the kernel said of its own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeFile {
    /// The path it was read from.
    pub path: String,
    /// Before or after the watch.
    pub phase: Phase,
    /// The text, as far as it was kept.
    pub text: String,
    /// Whether it was longer.
    pub cut: bool,
}

/// Entries that were not written: the disk was full or too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// How many.
    pub entries: u64,
    /// Until when, kernel nanoseconds.
    pub until_ns: u64,
}

/// One entry.
#[derive(Clone, Debug)]
pub enum Entry {
    /// See [`Header`].
    Header(Box<Header>),
    /// What the kernel reported.
    Observation(Box<Observation>),
    /// Whose a key is, from here on.
    Owner(OwnerKey, Owner),
    /// Every owner and remote end told so far is forgotten, and told again before
    /// it is used.
    OwnersForgotten,
    /// Who has an address as seen from a network namespace, from here on; `None`:
    /// nobody that is proven.
    Remote(u32, SocketAddr, Option<Remote>),
    /// See [`Reading`].
    Reading(Box<Reading>),
    /// Events were lost until this moment, kernel nanoseconds.
    EventsLost(u64),
    /// Facts from before this moment were forgotten, kernel nanoseconds.
    Forget(u64),
    /// It was this late, kernel nanoseconds.
    Now(u64),
    /// What was decided so far was passed on.
    HandOver,
    /// See [`NodeFile`].
    NodeFile(Box<NodeFile>),
    /// See [`Gap`].
    Gap(Gap),
    /// The recording ended in order.
    End,
}

impl Entry {
    /// Its number in the file. Never used twice.
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Header(_) => 1,
            Self::Observation(_) => OBSERVATION,
            Self::Owner(..) => OWNER,
            Self::OwnersForgotten => 4,
            Self::Reading(_) => READING,
            Self::EventsLost(_) => 6,
            Self::Forget(_) => 7,
            Self::Now(_) => 8,
            Self::HandOver => 9,
            Self::NodeFile(_) => 10,
            Self::Gap(_) => 11,
            Self::End => 12,
            Self::Remote(..) => REMOTE,
        }
    }

    /// Its bytes behind kind and length.
    pub(super) fn body(&self) -> Vec<u8> {
        match self {
            Self::Header(header) => cbor(header),
            Self::Observation(observation) => cbor(observation),
            Self::Owner(key, owner) => cbor(&(key, owner)),
            Self::Remote(netns, address, remote) => cbor(&(netns, address, remote)),
            Self::Reading(reading) => cbor(reading),
            Self::EventsLost(at_ns) | Self::Forget(at_ns) | Self::Now(at_ns) => cbor(at_ns),
            Self::NodeFile(file) => cbor(file),
            Self::Gap(gap) => cbor(gap),
            Self::OwnersForgotten | Self::HandOver | Self::End => Vec::new(),
        }
    }

    /// `None` for a kind or content that this version does not know.
    pub(super) fn read(kind: u8, body: &[u8]) -> Option<Self> {
        Some(match kind {
            1 => Self::Header(from_cbor(body)?),
            OBSERVATION => Self::Observation(from_cbor(body)?),
            OWNER => {
                let (key, owner) = from_cbor(body)?;
                Self::Owner(key, owner)
            }
            4 => Self::OwnersForgotten,
            READING => Self::Reading(from_cbor(body)?),
            6 => Self::EventsLost(from_cbor(body)?),
            7 => Self::Forget(from_cbor(body)?),
            8 => Self::Now(from_cbor(body)?),
            9 => Self::HandOver,
            10 => Self::NodeFile(from_cbor(body)?),
            11 => Self::Gap(from_cbor(body)?),
            12 => Self::End,
            REMOTE => {
                let (netns, address, remote) = from_cbor(body)?;
                Self::Remote(netns, address, remote)
            }
            _ => return None,
        })
    }
}

/// Kinds that are also written without an [`Entry`] being made.
pub(super) const OBSERVATION: u8 = 2;
pub(super) const OWNER: u8 = 3;
pub(super) const READING: u8 = 5;
pub(super) const REMOTE: u8 = 13;

/// CBOR of anything we have: writing to memory cannot fail, and none of our
/// types refuses to be written.
pub(super) fn cbor<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    if ciborium::into_writer(value, &mut bytes).is_err() {
        bytes.clear();
    }
    bytes
}

fn from_cbor<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    ciborium::from_reader(bytes).ok()
}
