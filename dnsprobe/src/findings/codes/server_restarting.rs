//! `server-restarting`: the DNS server behind one address came and went.
//! evidence: one process answered at an address, and from then on another;
//!           each answered several queries, never in turn
//! not this: several processes that share an address

use std::{net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Transport;

use crate::{
    engine::Transaction,
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        bounded::Capped,
    },
    identity::Owner,
    time::Timestamp,
};

/// Server addresses watched.
const MAX_SERVERS: usize = 256;
/// Processes after one another at one address.
const MAX_RUNS: usize = 16;
/// Answers that make a process more than a guest: were two to share the
/// address, so many in a row would be one chance in five hundred.
const FEWEST_ANSWERS: u64 = 5;

#[derive(Debug)]
struct Run {
    owner: Arc<Owner>,
    pid: u32,
    first: Timestamp,
    last: Timestamp,
    answers: u64,
}

#[derive(Debug, Default)]
struct Server {
    runs: Vec<Run>,
    shared: bool,
}

/// Which process answered at which address.
#[derive(Debug)]
pub(in crate::findings) struct Restarts(Capped<SocketAddr, Server>);

impl Restarts {
    pub(in crate::findings) fn new() -> Self {
        Self(Capped::new(MAX_SERVERS))
    }

    /// Takes in the server's end of a transaction.
    pub(in crate::findings) fn served(&mut self, transaction: &Transaction) {
        let query = &transaction.query;
        // A server may start a process for each connection.
        let (Some(pid), Transport::Udp) = (query.pid, query.transport) else { return };
        if query.server.ip().is_loopback() {
            return;
        }
        let Some(server) = self.0.entry(query.server) else { return };
        match server.runs.iter_mut().rposition(|run| run.pid == pid) {
            Some(at) if at + 1 == server.runs.len() => {
                let run = &mut server.runs[at];
                run.last = run.last.max(transaction.time);
                run.answers += 1;
            }
            Some(_) => server.shared = true,
            None if server.runs.len() < MAX_RUNS => server.runs.push(Run {
                owner: Arc::clone(&transaction.owner),
                pid,
                first: query.sent,
                last: transaction.time,
                answers: 1,
            }),
            None => server.shared = true,
        }
    }

    /// Notes the servers that were replaced.
    pub(in crate::findings) fn close(&self, books: &mut Books) {
        for (address, server) in self.0.iter().filter(|(_, server)| !server.shared) {
            for pair in server.runs.windows(2) {
                let [before, after] = pair else { continue };
                if before.answers < FEWEST_ANSWERS || after.answers < FEWEST_ANSWERS {
                    continue;
                }
                let sighting = Sighting {
                    code: Code::Finding(FindingCode::ServerRestarting),
                    subject: &address.to_string(),
                    owner: &after.owner,
                    at: after.first,
                    item: None,
                };
                books.add(sighting, || {
                    format!(
                        "process {} of {} last answered at {address} at {}; process {} of {} \
                         answers there since {}",
                        before.pid, before.owner, before.last, after.pid, after.owner, after.first
                    )
                });
            }
        }
    }

    pub(in crate::findings) fn refused(&self) -> u64 {
        self.0.refused
    }
}
