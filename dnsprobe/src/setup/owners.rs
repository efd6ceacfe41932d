//! Conntrack entries by pod.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::identity::Owner;

/// Entries of each owner, most first, and those of addresses that are nobody's.
#[must_use]
pub fn by_owner(
    entries: &HashMap<IpAddr, u64>,
    owners: &HashMap<IpAddr, Arc<Owner>>,
) -> (Vec<(Arc<Owner>, u64)>, u64) {
    let mut counts: BTreeMap<Arc<Owner>, u64> = BTreeMap::new();
    let mut others = 0;
    for (address, count) in entries {
        match owners.get(address) {
            Some(owner) => *counts.entry(Arc::clone(owner)).or_default() += count,
            None => others += count,
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    (counts, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_pod_are_added_up_and_the_rest_is_counted() {
        let owner = |name: &str| Arc::new(Owner::Host { name: name.to_owned() });
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let entries = [("10.0.0.1", 5), ("fd00::1", 2), ("10.0.0.2", 6), ("192.0.2.1", 9)]
            .map(|(text, count)| (address(text), count));
        let owners = [("10.0.0.1", "a"), ("fd00::1", "a"), ("10.0.0.2", "b")]
            .map(|(text, name)| (address(text), owner(name)));
        let (counts, others) = by_owner(&entries.into(), &owners.into());
        assert_eq!(counts, [(owner("a"), 7), (owner("b"), 6)]);
        assert_eq!(others, 9);
    }
}
