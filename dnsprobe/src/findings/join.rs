//! The other ends of a client's transaction: the server's own end on this
//! node, and what that server asked its upstream meanwhile.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use dnsprobe_common::flow::Role;

use super::bounded::Recent;
use crate::{
    dns::Question,
    engine::{Parts, Query, Transaction},
    identity::Owner,
    time::Timestamp,
};

/// Transactions of servers, and of clients, that are kept for joining.
const MAX_RECENT: usize = 8_192;
/// Server processes known.
const MAX_SERVERS: usize = 1_024;

/// The server's end of a transaction.
#[derive(Clone, Debug)]
pub(super) struct ServerEnd {
    pub(super) owner: Arc<Owner>,
    pub(super) pid: Option<u32>,
    /// The client as the server saw it.
    client: SocketAddr,
    /// The server's own address.
    pub(super) address: SocketAddr,
    start_ns: u64,
    end_ns: u64,
    /// Queued to read, and read to answered, where that was seen.
    pub(super) parts_seconds: Option<(f64, f64)>,
}

/// An answered query of a server to its upstream.
#[derive(Clone, Debug)]
pub(super) struct Upstream {
    owner: Arc<Owner>,
    pid: Option<u32>,
    pub(super) server: SocketAddr,
    start_ns: u64,
    end_ns: u64,
    pub(super) rcode: Option<u8>,
}

/// A client's transaction with its other ends, as far as they were seen.
#[derive(Debug)]
pub(super) struct Joined<'a> {
    pub(super) client: &'a Transaction,
    pub(super) server: Option<&'a ServerEnd>,
    pub(super) upstream: Vec<&'a Upstream>,
}

/// What is kept for joining.
#[derive(Debug)]
pub(super) struct Join {
    server_ends: Recent<(u16, Question), ServerEnd>,
    asked: Recent<Question, Upstream>,
    server_processes: BTreeSet<(Arc<Owner>, Option<u32>)>,
    /// Server processes that no longer fitted.
    pub(super) refused: u64,
}

impl Join {
    pub(super) fn new() -> Self {
        Self {
            server_ends: Recent::new(MAX_RECENT),
            asked: Recent::new(MAX_RECENT),
            server_processes: BTreeSet::new(),
            refused: 0,
        }
    }

    /// Takes in one end of a transaction.
    pub(super) fn add(&mut self, transaction: &Transaction) {
        let query = &transaction.query;
        let owner = Arc::clone(&transaction.owner);
        let (start_ns, end_ns) = (query.sent.unix_ns(), transaction.time.unix_ns());
        match transaction.role {
            Role::Client => {
                let Some(question) = query.question.clone() else { return };
                let (pid, server, rcode) = (query.pid, query.server, transaction.rcode);
                self.asked.add(question, Upstream { owner, pid, server, start_ns, end_ns, rcode });
            }
            Role::Server => {
                self.serves(&transaction.owner, query);
                let Some(question) = query.question.clone() else { return };
                let parts_seconds = match transaction.parts {
                    Parts::Server { query_read_seconds, answered_seconds } => {
                        query_read_seconds.zip(answered_seconds)
                    }
                    Parts::Client { .. } => None,
                };
                let end = ServerEnd {
                    owner,
                    pid: query.pid,
                    client: query.client,
                    address: query.server,
                    start_ns,
                    end_ns,
                    parts_seconds,
                };
                self.server_ends.add((query.id, question), end);
            }
        }
    }

    /// A process took a query as a server.
    pub(super) fn serves(&mut self, owner: &Arc<Owner>, query: &Query) {
        let process = (Arc::clone(owner), query.pid);
        if self.server_processes.len() >= MAX_SERVERS && !self.server_processes.contains(&process) {
            self.refused += 1;
        } else {
            self.server_processes.insert(process);
        }
    }

    /// Whether a query was sent by a process that is a DNS server itself: it
    /// asks on behalf of others.
    pub(super) fn is_forwarded(&self, owner: &Arc<Owner>, query: &Query) -> bool {
        let known = |pid| self.server_processes.contains(&(Arc::clone(owner), pid));
        known(query.pid) || (query.pid.is_some() && known(None))
    }

    /// A client's transaction with its other ends.
    pub(super) fn join<'a>(&'a self, client: &'a Transaction) -> Joined<'a> {
        let server = self.server_end(client);
        let upstream = server.map_or_else(Vec::new, |server| self.upstream(client, server));
        Joined { client, server, upstream }
    }

    /// The server's end lies within the client's time, and has the addresses
    /// that the query had when it left. Where those are not known: the same
    /// client address, or else it is the only one.
    fn server_end(&self, client: &Transaction) -> Option<&ServerEnd> {
        let query = &client.query;
        let key = (query.id, query.question.clone()?);
        let (start_ns, end_ns) = (query.sent.unix_ns(), client.time.unix_ns());
        let within: Vec<&ServerEnd> = self
            .server_ends
            .of(&key)
            .filter(|end| end.start_ns >= start_ns && end.end_ns <= end_ns)
            .collect();
        if let Some(left) = client.translated {
            let same =
                |end: &&&ServerEnd| end.client == left.source && end.address == left.destination;
            if let Some(end) = within.iter().rev().find(same) {
                return Some(end);
            }
        }
        let address = client.query.client;
        within.iter().rev().find(|end| end.client == address).copied().or(match within[..] {
            [only] => Some(only),
            _ => None,
        })
    }

    fn upstream(&self, client: &Transaction, server: &ServerEnd) -> Vec<&Upstream> {
        let Some(question) = &client.query.question else { return Vec::new() };
        self.asked
            .of(question)
            .filter(|asked| {
                // Names are compared last: many ask the same, and few at this moment.
                asked.start_ns >= server.start_ns
                    && asked.end_ns <= server.end_ns
                    && asked.pid == server.pid
                    && asked.owner == server.owner
            })
            .collect()
    }
}

impl Joined<'_> {
    /// The upstream that gave the code the client got.
    pub(super) fn upstream_with(&self, rcode: u8) -> Option<&Upstream> {
        self.upstream.iter().find(|upstream| upstream.rcode == Some(rcode)).copied()
    }

    /// For how long at least one query to an upstream was open, seconds.
    pub(super) fn upstream_seconds(&self) -> f64 {
        let mut open: Vec<(u64, u64)> =
            self.upstream.iter().map(|upstream| (upstream.start_ns, upstream.end_ns)).collect();
        open.sort_unstable();
        let (mut total_ns, mut covered_ns) = (0, 0);
        for (start, end) in open {
            total_ns += end.saturating_sub(start.max(covered_ns));
            covered_ns = covered_ns.max(end);
        }
        total_ns as f64 / 1e9
    }

    /// Where the client asked for the server and where it was led: the service
    /// and the backend, if the address was translated.
    pub(super) fn backend(&self) -> Option<SocketAddr> {
        let address = match (self.client.translated, self.server) {
            (Some(left), _) => left.destination,
            (None, server) => server?.address,
        };
        (address != self.client.query.server).then_some(address)
    }

    /// The query and its code, for a proof.
    pub(super) fn describe(&self) -> String {
        let rcode = self.client.rcode.map_or("?".into(), crate::dns::rcode_name);
        format!("{}: {rcode}", describe(&self.client.query))
    }

    pub(super) fn at(&self) -> Timestamp {
        self.client.query.sent
    }
}

/// A query in a line.
pub(super) fn describe(query: &Query) -> String {
    let question = query.question.as_ref().map_or_else(|| "? ?".to_owned(), ToString::to_string);
    let command = query.command.as_deref().unwrap_or("?");
    let pid = query.pid.map_or_else(String::new, |pid| format!("[{pid}]"));
    format!(
        "{} {question} id {} {} -> {}{} by {command}{pid}",
        query.sent,
        query.id,
        query.client,
        query.server,
        query.ends()
    )
}
