//! What the kernel programs add up per pod (cgroup and network namespace),
//! server and role.

use crate::{
    dns::RCODES,
    flow::{Address, Command},
    histogram::BUCKETS,
};

/// Which aggregate a transaction belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct StatsKey {
    /// cgroup v2 id of the socket on this node. 0: unknown.
    pub cgroup: u64,
    /// Command of the sender, where its cgroup is the root.
    pub command: Command,
    /// The address that was asked (client role) or that answers (server role).
    pub server: Address,
    /// Network namespace inode of the socket.
    pub netns: u32,
    /// The server's port, host order.
    pub server_port: u16,
    /// A [`crate::flow::Role`].
    pub role: u8,
    /// Padding, zero.
    pub pad: u8,
}

/// A latency distribution. Counts wrap; readers take differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Latency {
    /// Sum of all values in nanoseconds.
    pub sum_ns: u64,
    /// Largest value seen. Two processors that race may lose the larger one;
    /// the highest filled bucket shows when that happened.
    pub max_ns: u64,
    /// Counts per bucket of [`crate::histogram`].
    pub buckets: [u32; BUCKETS],
}

/// The counters of one aggregate. All only grow, except that a query whose
/// answer was taken back (its socket had no room after all) is uncounted
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Stats {
    /// Queries sent (client role) or received (server role).
    pub queries: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, not followed because the in-flight map was full.
    pub not_followed: u64,
    /// Answers by response code.
    pub rcodes: [u64; RCODES],
    /// Client: send to answer read, as the process itself would measure it.
    /// Server: query queued to answer sent.
    pub latency: Latency,
    /// The part of it spent in the receive queue. Client: answer queued to
    /// answer read. Server: query queued to query read.
    pub read_delay: Latency,
    /// A process (thread group id) that used this aggregate lately, to name
    /// processes outside any pod.
    pub tgid: u32,
    /// Padding, zero.
    pub pad: u32,
}

/// How many aggregates there can be.
pub const AGGREGATES: u32 = 2_048;

/// An aggregate in its place.
///
/// A place is either on the stack of free ones, with nothing in it, or in use, or
/// resting. A program that meets a new key takes it from the stack, puts it into the
/// map of places and then writes the key here. User space takes an idle one back: it
/// clears the key, so that no program uses it from memory any more, deletes it from
/// the map, and subtracts what it has read. Then the place rests: a program that was
/// running may still add to it, and so may the answer to a query in flight. Only when
/// every program that ran has ended, nothing was added and no query refers to it does
/// it go back onto the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct StatsSlot {
    /// Which aggregate; without a port: none.
    pub key: StatsKey,
    /// The aggregate.
    pub stats: Stats,
}

const _: () = assert!(size_of::<StatsKey>() == 48);
const _: () = assert!(size_of::<BackendKey>() == 36);
const _: () = assert!(size_of::<Latency>() == 16 + 4 * BUCKETS);
const _: () = assert!(size_of::<Stats>().is_multiple_of(8));

/// Where queries to a service went: how often is in the programs' `BACKENDS`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct BackendKey {
    /// The address that was asked.
    pub service: Address,
    /// The one that the query left for instead.
    pub backend: Address,
    /// Port that was asked, host order.
    pub service_port: u16,
    /// Port that it left for, host order.
    pub backend_port: u16,
}

/// How many of them are told apart.
pub const MOST_BACKENDS: u32 = 256;

/// Slots of the health counters: what the programs could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Health {
    /// The ring buffer was full: an event was lost.
    EventsLost = 0,
    /// The in-flight map was full: a query was counted as not followed.
    InFlightFull = 1,
    /// Every aggregate was taken: a transaction was not counted at all.
    StatsFull = 2,
    /// A function returned whose entry was not seen (nested or migrated).
    EntryMissed = 3,
    /// A DNS message over TCP could not be read: its header is split between
    /// calls, or where it begins is not known (then it stands for the rest of
    /// its connection).
    TcpUnread = 4,
    /// The ring buffer of captured packets was full: a packet was not captured.
    PacketsLost = 5,
    /// Every backend that is told apart was another: a query was not counted there.
    BackendsFull = 6,
    /// A transaction of a sampled process was not told, because too many had been
    /// lately.
    SamplesLeftOut = 7,
}

impl Health {
    /// Every slot, in order.
    pub const ALL: [Self; 8] = [
        Self::EventsLost,
        Self::InFlightFull,
        Self::StatsFull,
        Self::EntryMissed,
        Self::TcpUnread,
        Self::PacketsLost,
        Self::BackendsFull,
        Self::SamplesLeftOut,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_counters_number_is_its_place_in_the_list() {
        for (slot, health) in (0_u32..).zip(Health::ALL) {
            assert_eq!(health as u32, slot);
        }
    }

    #[test]
    fn keys_and_counters_have_no_padding_without_a_name() {
        assert_eq!(size_of::<StatsKey>(), 8 + size_of::<Command>() + size_of::<Address>() + 8);
        assert_eq!(size_of::<Latency>(), 8 + 8 + 4 * BUCKETS);
        assert_eq!(size_of::<Stats>(), 8 * (3 + RCODES) + 2 * size_of::<Latency>() + 8);
    }
}
