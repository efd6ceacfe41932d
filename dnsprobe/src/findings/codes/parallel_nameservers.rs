//! `parallel-nameservers`: one process sends the same question to several
//! servers at once.
//! evidence: queries from one socket with one id and one question to different
//!           servers, within a tenth of a second
//! not this: the next server after a time-out; DNS servers that ask several
//!           upstreams

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use crate::{
    engine::Query,
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        bounded::Recent,
        join::describe,
    },
    identity::Owner,
};

/// Queries remembered.
const MAX_RECENT: usize = 8_192;
/// What a resolver sends in one go; it waits at least a second for an answer.
const AT_ONCE_NS: u64 = 100_000_000;

/// Queries by socket, id and question.
#[derive(Debug)]
pub(in crate::findings) struct Parallel(Recent<u64, (SocketAddr, u64)>);

impl Parallel {
    pub(in crate::findings) fn new() -> Self {
        Self(Recent::new(MAX_RECENT))
    }

    /// Takes in a client's query, whatever became of it.
    pub(in crate::findings) fn add(
        &mut self,
        owner: &Arc<Owner>,
        query: &Query,
        books: &mut Books,
    ) {
        let Some(question) = &query.question else { return };
        let mut hasher = DefaultHasher::new();
        (owner, query.pid, query.client, query.id, question).hash(&mut hasher);
        let key = hasher.finish();
        let sent_ns = query.sent.unix_ns();
        let other = self
            .0
            .of(&key)
            .find(|(server, at)| *server != query.server && at.abs_diff(sent_ns) <= AT_ONCE_NS)
            .copied();
        self.0.add(key, (query.server, sent_ns));
        let Some((server, _)) = other else { return };
        let sighting = Sighting {
            code: Code::Finding(FindingCode::ParallelNameservers),
            subject: "",
            owner,
            at: query.sent,
            item: None,
        };
        books.add(sighting, || format!("{}; at the same time to {server}", describe(query)));
    }
}
