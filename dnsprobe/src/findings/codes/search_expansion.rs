//! `search-expansion`: one look-up costs several queries.
//! evidence: one process asked for the same name with one suffix after the
//!           other, each as soon as the one before did not exist; at least two
//!           suffixes did not fit
//! not this: a short name whose second suffix fits, which is how search lists
//!           are meant

use crate::{
    dns::Name,
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        search::LookUp,
    },
};

/// Names tried, from which on a look-up is expanded.
const EXPANDED: usize = 3;

const CODE: Code = Code::Finding(FindingCode::SearchExpansion);

/// Notes a look-up that tried many names.
pub(in crate::findings) fn sight(lookup: &LookUp, books: &mut Books) {
    if lookup.candidates.len() < EXPANDED || !lookup.is_found() {
        return;
    }
    let Some(base) = lookup.base() else { return };
    let sighting =
        Sighting { code: CODE, subject: "", owner: &lookup.owner, at: lookup.first, item: None };
    books.add(sighting, || {
        format!(
            "{}; {} queries for {} names were needed for {base}",
            lookup.describe(),
            lookup.queries,
            lookup.candidates.len()
        )
    });
    for candidate in &lookup.candidates {
        let suffix: Name = candidate.name.without_leading(base.depth());
        let outcome = if candidate.found { "exists" } else { "NXDOMAIN" };
        let item = if suffix.depth() == 0 {
            format!("no suffix: {outcome}")
        } else {
            format!("suffix {suffix}: {outcome}")
        };
        books.item(CODE, "", &lookup.owner, item, 1);
    }
}
