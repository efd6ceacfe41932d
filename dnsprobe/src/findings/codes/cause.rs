//! A cause of lost queries, or of near misses, over all its pods.
//! evidence: the verdicts themselves
//! pattern:  a real server that IPVS still sends queries to went away when it
//!           was last seen to answer

use std::net::SocketAddr;

use crate::{
    engine::Verdict,
    findings::{
        Code,
        books::{Books, Sighting},
        bounded::Capped,
        join::describe,
    },
    time::Timestamp,
};

/// Servers whose last answer is remembered.
const MAX_SERVERS: usize = 1_024;

/// When each server's address was last seen to answer.
#[derive(Debug)]
pub(in crate::findings) struct LastAnswers(Capped<SocketAddr, Option<Timestamp>>);

impl LastAnswers {
    pub(in crate::findings) fn new() -> Self {
        Self(Capped::new(MAX_SERVERS))
    }

    pub(in crate::findings) fn answered(&mut self, server: SocketAddr, at: Timestamp) {
        if let Some(last) = self.0.entry(server) {
            *last = (*last).max(Some(at));
        }
    }
}

/// Notes a verdict.
pub(in crate::findings) fn sight(verdict: &Verdict, last: &LastAnswers, books: &mut Books) {
    let code = Code::Cause(verdict.cause);
    let sighting =
        Sighting { code, subject: "", owner: &verdict.owner, at: verdict.query.sent, item: None };
    books.add(sighting, || format!("{}: {}", describe(&verdict.query), verdict.summary));
    for backend in verdict.backends() {
        if let Some(Some(at)) = last.0.get(&backend) {
            books.departure(code, "", *at);
        }
    }
}
