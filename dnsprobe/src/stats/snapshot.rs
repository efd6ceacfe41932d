//! What a window adds up to: the shape that every output shows.

use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Role;
use serde::Serialize;

use super::{
    BANDS, Buckets, Completeness, LatencySummary, address::serialize_address, serialize_role,
};
use crate::{
    engine::Cause,
    identity::{Owner, Remote},
    time::Timestamp,
};

/// Everything counted on this node, at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// The moment.
    pub time: Timestamp,
    /// This node's name; `None` when it is not known.
    pub node: Option<String>,
    /// Length of the window, seconds.
    pub window_seconds: f64,
    /// Time since the start, seconds.
    pub since_seconds: f64,
    /// One entry per owner and role, by label.
    pub pods: Vec<PodCounts>,
    /// What could not be seen.
    pub completeness: Completeness,
}

/// One owner in one role.
#[derive(Clone, Debug, Serialize)]
pub struct PodCounts {
    /// The owner; without a container when several of the pod's were active.
    pub owner: Arc<Owner>,
    /// Its role.
    #[serde(serialize_with = "serialize_role")]
    pub role: Role,
    /// In the window.
    pub window: Counts,
    /// Since the start.
    pub total: Counts,
    /// All of `total.latency_seconds`, for metrics systems.
    #[serde(skip)]
    pub latency: Buckets,
    /// All of `total.read_delay_seconds`, likewise.
    #[serde(skip)]
    pub read_delay: Buckets,
    /// The servers it asked (client role) or answered as (server role), most
    /// queries first. A bounded number: the rest is in `total` only.
    pub servers: Vec<ServerCounts>,
}

/// One server of an owner.
#[derive(Clone, Debug, Serialize)]
pub struct ServerCounts {
    /// Its address, as asked.
    #[serde(serialize_with = "serialize_address")]
    pub server: SocketAddr,
    /// Client: who had the address when it was asked last; `None` when that is
    /// not proven.
    pub remote: Option<Arc<Remote>>,
    /// Since the start.
    pub total: Counts,
}

/// What happened to an owner's queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Queries sent (client role) or received (server role).
    pub queries: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, lost, by cause.
    pub lost: BTreeMap<Cause, u64>,
    /// Sum of `lost`.
    pub lost_total: u64,
    /// Nothing was lost, but nearly, by cause.
    pub near_misses: BTreeMap<Cause, u64>,
    /// Neither answered nor decided yet: what the conservation law leaves of
    /// `queries`. Zero once the node has been quiet for longer than a query
    /// may wait.
    pub in_flight: u64,
    /// Queries not followed to their end because the kernel side was full.
    pub not_followed: u64,
    /// Mean rate of queries.
    pub queries_per_second: f64,
    /// Answers by response code.
    pub rcodes: BTreeMap<Cow<'static, str>, u64>,
    /// Client: query sent to answer read, as the process would measure it (to
    /// answer arrived where reading is not seen). Server: query queued to
    /// answer sent. `None` without a value.
    pub latency_seconds: Option<LatencySummary>,
    /// How many of these latencies lie in each band ([`super::BAND_NAMES`]).
    #[serde(skip)]
    pub latency_bands: [u64; BANDS],
    /// Client: answer queued to answer read. Server: query queued to query
    /// read. `None` without a value.
    pub read_delay_seconds: Option<LatencySummary>,
    /// Queries that were in flight when the window began: the previous
    /// snapshot's `in_flight`. 0 in totals.
    #[serde(skip)]
    pub carried_in: u64,
}

impl Counts {
    /// How many queries the books do not explain: 0 when the conservation law
    /// holds, more when queries went missing, less when something was counted
    /// twice.
    #[must_use]
    pub fn unaccounted(&self) -> i64 {
        let came = self.queries + self.carried_in;
        let went = self.answered + self.lost_total + self.in_flight + self.not_followed;
        came.cast_signed() - went.cast_signed()
    }
}
