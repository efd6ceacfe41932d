//! Which owners have series of their own. The first so many do, until they are gone;
//! all others are summed up, so that a storm of pods is no storm of series.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use dnsprobe_common::flow::Role;

use crate::{
    engine::Cause,
    identity::Owner,
    stats::{Buckets, Counts, PodCounts},
};

/// Who may have series of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// So many owners and roles.
    pub owners: usize,
    /// Only pods of these namespaces; none: all.
    pub namespaces: HashSet<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { owners: 1_000, namespaces: HashSet::new() }
    }
}

impl Limits {
    /// Whether the namespace rules an owner out. One that is not known yet does not.
    fn exclude(&self, owner: &Owner) -> bool {
        let Owner::Pod { namespace: Some(namespace), .. } = owner else { return false };
        !self.namespaces.is_empty() && !self.namespaces.contains(namespace)
    }
}

/// Who has series, and what the others add up to.
#[derive(Debug, Default)]
pub struct Owners {
    own: HashSet<(Arc<Owner>, Role)>,
    /// What each of the others had at the last reading.
    others: HashMap<(Arc<Owner>, Role), Sums>,
    /// What came to them since the start: only grows, also when one of them goes.
    rest: [Sums; 2],
}

/// Sums of one owner, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    pub(crate) queries: u64,
    pub(crate) not_followed: u64,
    /// Now, not since the start.
    pub(crate) in_flight: u64,
    pub(crate) rcodes: BTreeMap<String, u64>,
    pub(crate) lost: BTreeMap<Cause, u64>,
    pub(crate) near_misses: BTreeMap<Cause, u64>,
    pub(crate) latency: Buckets,
    pub(crate) read_delay: Buckets,
}

impl Owners {
    /// Takes in a reading: the rows that have series of their own.
    pub(super) fn sort<'a>(
        &mut self,
        rows: &'a [PodCounts],
        limits: &Limits,
    ) -> Vec<&'a PodCounts> {
        let key = |row: &PodCounts| (Arc::clone(&row.owner), row.role);
        let present: HashSet<_> = rows.iter().map(key).collect();
        self.own.retain(|owner| present.contains(owner));
        self.others.retain(|owner, _| present.contains(owner));
        for rest in &mut self.rest {
            rest.in_flight = 0;
        }
        let mut own = Vec::with_capacity(rows.len().min(limits.owners));
        for row in rows {
            let key = key(row);
            let is_new = !self.own.contains(&key) && !self.others.contains_key(&key);
            let excluded = limits.exclude(&row.owner);
            if is_new && !excluded && self.own.len() < limits.owners {
                self.own.insert(key.clone());
            }
            if self.own.contains(&key) {
                own.push(row);
                if excluded {
                    // Shown for the last time: what comes from here on is the others'.
                    self.own.remove(&key);
                    self.others.insert(key, Sums::up_to(row));
                }
                continue;
            }
            let now = Sums::of(row);
            let before = self.others.insert(key, now.clone()).unwrap_or_default();
            self.rest[row.role as usize].grow(&now, &before);
        }
        own
    }

    /// How many have none.
    pub(super) fn over_limit(&self) -> usize {
        self.others.len()
    }

    /// What those add up to in a role.
    pub(super) fn rest(&self, role: Role) -> &Sums {
        &self.rest[role as usize]
    }
}

impl Sums {
    pub(super) fn of(row: &PodCounts) -> Self {
        let Counts { queries, not_followed, in_flight, rcodes, lost, near_misses, .. } = &row.total;
        Self {
            queries: *queries,
            not_followed: *not_followed,
            in_flight: *in_flight,
            rcodes: rcodes.iter().map(|(rcode, count)| (rcode.to_string(), *count)).collect(),
            lost: lost.clone(),
            near_misses: near_misses.clone(),
            latency: row.latency.clone(),
            read_delay: row.read_delay.clone(),
        }
    }

    /// What has come to an end: what is still in flight is yet to be counted.
    fn up_to(row: &PodCounts) -> Self {
        let sums = Self::of(row);
        Self { queries: sums.queries.saturating_sub(sums.in_flight), ..sums }
    }

    fn grow(&mut self, now: &Self, before: &Self) {
        self.queries += now.queries.saturating_sub(before.queries);
        self.not_followed += now.not_followed.saturating_sub(before.not_followed);
        self.in_flight += now.in_flight;
        grow(&mut self.rcodes, &now.rcodes, &before.rcodes);
        grow(&mut self.lost, &now.lost, &before.lost);
        grow(&mut self.near_misses, &now.near_misses, &before.near_misses);
        self.latency.merge(&now.latency.since(&before.latency));
        self.read_delay.merge(&now.read_delay.since(&before.read_delay));
    }
}

fn grow<K: Ord + Clone>(
    sums: &mut BTreeMap<K, u64>,
    now: &BTreeMap<K, u64>,
    before: &BTreeMap<K, u64>,
) {
    for (key, count) in now {
        let grown = count.saturating_sub(before.get(key).copied().unwrap_or(0));
        *sums.entry(key.clone()).or_default() += grown;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pod: &str, queries: u64) -> PodCounts {
        PodCounts {
            owner: Arc::new(Owner::Pod {
                namespace: Some("shop".into()),
                pod: Some(pod.into()),
                container: None,
                uid: pod.into(),
                details: crate::identity::PodDetails::default(),
            }),
            role: Role::Client,
            window: Counts::default(),
            total: Counts { queries, in_flight: 1, ..Counts::default() },
            latency: Buckets::default(),
            read_delay: Buckets::default(),
            servers: Vec::new(),
        }
    }

    fn limits(owners: usize, namespaces: &[&str]) -> Limits {
        Limits { owners, namespaces: namespaces.iter().map(|&name| name.to_owned()).collect() }
    }

    fn names(rows: &[&PodCounts]) -> Vec<String> {
        rows.iter().map(|row| row.owner.to_string()).collect()
    }

    #[test]
    fn the_first_keep_their_series_and_the_rest_only_grows() {
        let mut owners = Owners::default();
        let sorted =
            names(&owners.sort(&[row("a", 1), row("b", 2), row("c", 10)], &limits(2, &[])));
        assert_eq!(sorted, ["shop/a", "shop/b"]);
        assert_eq!((owners.rest(Role::Client).queries, owners.over_limit()), (10, 1));
        // One of the first is gone: who was summed up stays so, a new one takes over.
        let sorted =
            names(&owners.sort(&[row("b", 2), row("c", 15), row("d", 4)], &limits(2, &[])));
        assert_eq!(sorted, ["shop/b", "shop/d"]);
        let rest = owners.rest(Role::Client);
        assert_eq!((rest.queries, rest.in_flight), (15, 1));
        // And when it goes too, what it asked stays.
        owners.sort(&[row("b", 2)], &limits(2, &[]));
        let rest = owners.rest(Role::Client);
        assert_eq!((rest.queries, rest.in_flight, owners.over_limit()), (15, 0, 0));
    }

    #[test]
    fn a_namespace_that_is_ruled_out_later_is_summed_up_from_there_on() {
        let mut owners = Owners::default();
        let all = limits(5, &[]);
        let none_of_shop = limits(5, &["kube-system"]);
        assert_eq!(names(&owners.sort(&[row("a", 10)], &all)), ["shop/a"]);
        // Once more with its own series, up to the moment of the change.
        assert_eq!(names(&owners.sort(&[row("a", 14)], &none_of_shop)), ["shop/a"]);
        assert_eq!(owners.rest(Role::Client).queries, 0);
        assert!(owners.sort(&[row("a", 20)], &none_of_shop).is_empty());
        // Six have come since, and one was in flight.
        assert_eq!(owners.rest(Role::Client).queries, 7);
        // Let in again, it stays where it is counted.
        assert!(owners.sort(&[row("a", 21)], &all).is_empty());
        assert_eq!(owners.rest(Role::Client).queries, 8);
    }

    #[test]
    fn hosts_and_pods_of_unknown_namespace_are_never_ruled_out() {
        let limits = limits(5, &["kube-system"]);
        assert!(!limits.exclude(&Owner::Host { name: "sshd".into() }));
        let mut unknown = row("a", 1);
        assert!(limits.exclude(&unknown.owner));
        if let Owner::Pod { namespace, .. } = Arc::make_mut(&mut unknown.owner) {
            *namespace = None;
        }
        assert!(!limits.exclude(&unknown.owner));
    }
}
