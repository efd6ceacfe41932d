//! `upstream-servfail`, `upstream-refused`, `servfail`, `refused`: a server
//! answered that it cannot or will not.
//! evidence: the answer's code; for the upstream, that the same server process
//!           asked it for the same question meanwhile and got the same code
//! not this: an upstream that did not answer at all; the server then answers
//!           SERVFAIL by itself, and its lost query is a finding of its own

use crate::findings::{
    Code, FindingCode,
    books::{Books, Sighting},
    join::Joined,
};

const SERVFAIL: u8 = 2;
const REFUSED: u8 = 5;

/// The codes for an answer: from the upstream, and by the server itself.
fn codes(rcode: u8) -> Option<(FindingCode, FindingCode)> {
    match rcode {
        SERVFAIL => Some((FindingCode::UpstreamServfail, FindingCode::Servfail)),
        REFUSED => Some((FindingCode::UpstreamRefused, FindingCode::Refused)),
        _ => None,
    }
}

/// Notes an answer that failed.
pub(in crate::findings) fn sight(joined: &Joined<'_>, books: &mut Books) {
    let client = joined.client;
    let Some(rcode) = client.rcode else { return };
    let Some((from_upstream, by_itself)) = codes(rcode) else { return };
    let upstream = joined.upstream_with(rcode);
    let (code, server) = match upstream {
        Some(upstream) => (from_upstream, upstream.server),
        None => (by_itself, client.query.server),
    };
    let sighting = Sighting {
        code: Code::Finding(code),
        subject: &server.to_string(),
        owner: &client.owner,
        at: joined.at(),
        item: client.query.question.as_ref().map(|question| question.name.to_string()),
    };
    books.add(sighting, || match (upstream, joined.server) {
        (Some(upstream), Some(server)) => format!(
            "{}; {} had asked {} and got the same",
            joined.describe(),
            server.owner,
            upstream.server
        ),
        (None, Some(server)) => {
            format!("{}; {} answered so by itself", joined.describe(), server.owner)
        }
        (_, None) => format!("{}; the server's end was not seen on this node", joined.describe()),
    });
}
