//! `nxdomain`, `upstream-nxdomain`: a name outside the cluster does not exist.
//! evidence: NXDOMAIN for every name that the look-up tried; for the upstream,
//!           that the same server process asked it for the name meanwhile and
//!           got NXDOMAIN
//! not this: suffixes of the search list that did not fit (`search-expansion`),
//!           names of the cluster (`internal-name-missing`)

use crate::findings::{
    Code, FindingCode,
    books::{Books, Sighting},
    search::LookUp,
};

/// Notes a look-up without success.
pub(in crate::findings) fn sight(lookup: &LookUp, books: &mut Books) {
    let Some(last) = lookup.candidates.last() else { return };
    // The shortest is the name without a suffix, where that was tried.
    let name = lookup.candidates.iter().map(|c| &c.name).min_by_key(|name| name.depth());
    let name = name.unwrap_or(&last.name);
    let upstream = lookup.candidates.iter().find(|c| c.name == *name).and_then(|c| c.upstream);
    let (code, subject) = match upstream {
        Some(server) => (FindingCode::UpstreamNxdomain, server.to_string()),
        None => (FindingCode::Nxdomain, String::new()),
    };
    let sighting = Sighting {
        code: Code::Finding(code),
        subject: &subject,
        owner: &lookup.owner,
        at: lookup.first,
        item: Some(format!("{name} by {}", lookup.owner)),
    };
    books.add(sighting, || match upstream {
        Some(server) => format!("{}; {server} had said so", lookup.describe()),
        None => lookup.describe(),
    });
}
