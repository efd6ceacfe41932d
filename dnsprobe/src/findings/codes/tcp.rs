//! `truncated-no-tcp`, `tcp-unanswered`: what is lost for want of TCP.
//! evidence: `truncated-no-tcp`, an answer cut short, and no query for the same
//!           question over TCP by the same pod in the seconds after it, or a
//!           connection to the same server that failed; `tcp-unanswered`, a
//!           connection that failed without such an answer before it
//! not this: DNS servers that pass on an upstream's short answer

use std::{collections::VecDeque, sync::Arc};

use dnsprobe_common::flow::Transport;

use crate::{
    dns::Question,
    engine::{ConnectFailure, Query, Transaction},
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        join::{Join, describe},
    },
    identity::Owner,
    time::Timestamp,
};

/// How long a client may take to come back.
const COMES_BACK_NS: u64 = 3_000_000_000;
/// How long a connection may be tried before it is known to have failed.
const TRIES_NS: u64 = 30_000_000_000;
/// Short answers that wait for their client.
const MAX_WAITING: usize = 4_096;

#[derive(Debug)]
struct Truncated {
    owner: Arc<Owner>,
    query: Query,
    question: Question,
    at: Timestamp,
    decided: bool,
}

/// Short answers whose client may still come back.
#[derive(Debug, Default)]
pub(in crate::findings) struct ShortAnswers {
    waiting: VecDeque<Truncated>,
    pub(in crate::findings) refused: u64,
}

impl ShortAnswers {
    /// Takes in an answer to a client.
    pub(in crate::findings) fn answered(&mut self, transaction: &Transaction) {
        let query = &transaction.query;
        let (true, Transport::Udp, Some(question)) =
            (transaction.truncated, query.transport, &query.question)
        else {
            return;
        };
        if self.waiting.len() >= MAX_WAITING {
            self.refused += 1;
            return;
        }
        self.waiting.push_back(Truncated {
            owner: Arc::clone(&transaction.owner),
            query: query.clone(),
            question: question.clone(),
            at: transaction.time,
            decided: false,
        });
    }

    /// A query was sent, whatever became of it.
    pub(in crate::findings) fn sent(&mut self, owner: &Owner, query: &Query) {
        if query.transport != Transport::Tcp {
            return;
        }
        let same = |short: &Truncated| {
            *short.owner == *owner && query.question.as_ref().is_none_or(|q| *q == short.question)
        };
        self.waiting.retain(|short| !same(short));
    }

    /// A connection was not made.
    pub(in crate::findings) fn failed(
        &mut self,
        failure: &ConnectFailure,
        join: &Join,
        books: &mut Books,
    ) {
        let why = format!(
            "the TCP connection {} -> {} {}",
            failure.client,
            failure.server,
            failure.error.describe()
        );
        let before = self.waiting.iter_mut().find(|short| {
            short.owner == failure.owner
                && short.query.server.ip() == failure.server.ip()
                && !join.is_forwarded(&short.owner, &short.query)
        });
        if let Some(short) = before {
            if !short.decided {
                short.decided = true;
                sight(short, &why, books);
            }
            return;
        }
        let sighting = Sighting {
            code: Code::Finding(FindingCode::TcpUnanswered),
            subject: &failure.server.to_string(),
            owner: &failure.owner,
            at: failure.time,
            item: None,
        };
        books.add(sighting, || format!("{} {why}", failure.time));
    }

    /// Decides what has waited long enough by now.
    pub(in crate::findings) fn tick(&mut self, now: Timestamp, join: &Join, books: &mut Books) {
        for short in &mut self.waiting {
            if !short.decided && now.unix_ns().saturating_sub(short.at.unix_ns()) > COMES_BACK_NS {
                short.decided = true;
                if !join.is_forwarded(&short.owner, &short.query) {
                    sight(short, "no TCP query for it followed", books);
                }
            }
        }
        // A connection may fail much later: then it is the same finding.
        let is_over =
            |short: &Truncated| now.unix_ns().saturating_sub(short.at.unix_ns()) > TRIES_NS;
        while self.waiting.front().is_some_and(is_over) {
            self.waiting.pop_front();
        }
    }
}

fn sight(short: &Truncated, why: &str, books: &mut Books) {
    let sighting = Sighting {
        code: Code::Finding(FindingCode::TruncatedNoTcp),
        subject: "",
        owner: &short.owner,
        at: short.at,
        item: Some(short.question.to_string()),
    };
    books.add(sighting, || format!("{}: truncated; {why}", describe(&short.query)));
}
