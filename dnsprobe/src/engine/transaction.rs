//! One answered query, as `trace` shows it.

use std::sync::Arc;

use dnsprobe_common::flow::Role;
use serde::{Serialize, Serializer};

use super::{Query, Tuple};
use crate::{
    dns::{self, Exchange, Record},
    identity::Owner,
    stats::serialize_role,
    time::Timestamp,
};

/// An answered query, seen from one end.
#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    /// When it ended: the answer was read (client) or sent (server).
    pub time: Timestamp,
    /// The one owner of this end.
    pub owner: Arc<Owner>,
    /// Which end.
    #[serde(serialize_with = "serialize_role")]
    pub role: Role,
    /// The query.
    pub query: Query,
    /// The answer's response code; `None` when it was not seen.
    #[serde(serialize_with = "serialize_rcode")]
    pub rcode: Option<u8>,
    /// The first record behind the question in the answer; `None` when there
    /// was none, or it was not seen.
    pub answer: Option<Record>,
    /// The answer's header flags; `None` when they were not seen.
    #[serde(skip)]
    pub answer_flags: Option<u16>,
    /// Server: what was seen of the query and the answer besides.
    #[serde(skip)]
    pub exchange: Option<Box<Exchange>>,
    /// Whether the answer was cut short (flag TC): the rest is to be had over
    /// TCP only.
    pub truncated: bool,
    /// Client: the query's addresses as a device of this node last saw them,
    /// behind every translation here. `None` when none saw it, and for servers.
    #[serde(serialize_with = "serialize_tuple")]
    pub translated: Option<Tuple>,
    /// From start to end in seconds; the sum of the parts that were seen.
    pub latency_seconds: f64,
    /// Where the time went.
    pub parts: Parts,
}

/// The parts of a transaction's latency, in seconds. `None`: not seen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parts {
    /// On the asking side.
    Client {
        /// Query sent to answer queued on the client's socket.
        answer_queued_seconds: Option<f64>,
        /// Answer queued to answer read by the process.
        read_seconds: Option<f64>,
    },
    /// On the answering side.
    Server {
        /// Query queued on the server's socket to query read by the process.
        query_read_seconds: Option<f64>,
        /// Query read to answer sent.
        answered_seconds: Option<f64>,
    },
}

/// A tuple in words.
#[expect(clippy::ref_option, reason = "the signature serde calls")]
fn serialize_tuple<S: Serializer>(tuple: &Option<Tuple>, serializer: S) -> Result<S::Ok, S::Error> {
    tuple.map(|tuple| tuple.to_string()).serialize(serializer)
}

/// A response code by its name.
#[expect(clippy::ref_option, reason = "the signature serde calls")]
fn serialize_rcode<S: Serializer>(rcode: &Option<u8>, serializer: S) -> Result<S::Ok, S::Error> {
    rcode.map(dns::rcode_name).serialize(serializer)
}
