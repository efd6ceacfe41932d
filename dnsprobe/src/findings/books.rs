//! The books: what was sighted, by code, subject and pod, and the load of
//! each pod to hold it against.

use std::{collections::BTreeMap, sync::Arc};

use super::{AffectedPod, Code, Finding, Item, bounded::Capped};
use crate::{
    engine::{Pattern, Timeline},
    identity::Owner,
    time::Timestamp,
};

/// Findings kept apart.
const MAX_GROUPS: usize = 256;
/// Pods whose load is kept.
const MAX_PODS: usize = 1_024;
/// Pods of all findings together.
const MAX_SIGHTED: usize = 4_096;
/// Names, suffixes or servers of one finding.
const MAX_ITEMS: usize = 1_024;
/// Items that are shown.
const SHOWN_ITEMS: usize = 20;
/// Occurrences kept as examples.
const EXAMPLES: usize = 3;
/// Departures of backends kept for one finding.
const MAX_DEPARTURES: usize = 16;

/// One occurrence.
pub(super) struct Sighting<'a> {
    pub(super) code: Code,
    /// Tells findings of one code apart; may be empty.
    pub(super) subject: &'a str,
    pub(super) owner: &'a Arc<Owner>,
    pub(super) at: Timestamp,
    /// What of its parts it was.
    pub(super) item: Option<String>,
}

#[derive(Debug, Default)]
struct Group {
    pods: BTreeMap<Arc<Owner>, Sighted>,
    departures_ns: Vec<u64>,
    pods_refused: u64,
    items_refused: u64,
    /// Items of all its pods.
    items: usize,
}

/// What was sighted of one pod.
#[derive(Debug, Default)]
struct Sighted {
    times: Timeline,
    items: BTreeMap<String, u64>,
    examples: Vec<String>,
}

/// All sightings of the owners that are wanted.
pub(super) struct Books {
    wanted: Box<dyn Fn(&Owner) -> bool>,
    groups: Capped<(Code, String), Group>,
    load: Capped<Arc<Owner>, Timeline>,
    /// Pods of all groups.
    sighted: usize,
}

impl Books {
    pub(super) fn new(wanted: Box<dyn Fn(&Owner) -> bool>) -> Self {
        Self { wanted, groups: Capped::new(MAX_GROUPS), load: Capped::new(MAX_PODS), sighted: 0 }
    }

    /// A query of a pod.
    pub(super) fn query(&mut self, owner: &Arc<Owner>, at: Timestamp) {
        if let Some(load) = self.load.entry(Arc::clone(owner)) {
            load.add(at.unix_ns());
        }
    }

    /// How many queries a pod had.
    pub(super) fn queries(&self, owner: &Arc<Owner>) -> u64 {
        self.load.get(owner).map_or(0, Timeline::total)
    }

    /// Something was sighted; `example` says what, when it is kept.
    pub(super) fn add(&mut self, sighting: Sighting<'_>, example: impl FnOnce() -> String) {
        let mut once = Timeline::default();
        once.add(sighting.at.unix_ns());
        let kept = self.add_all(sighting.code, sighting.subject, sighting.owner, &once, example);
        if let Some(item) = sighting.item.filter(|_| kept) {
            self.item(sighting.code, sighting.subject, sighting.owner, item, 1);
        }
    }

    /// Something was sighted several times; whether that was kept.
    pub(super) fn add_all(
        &mut self,
        code: Code,
        subject: &str,
        owner: &Arc<Owner>,
        times: &Timeline,
        example: impl FnOnce() -> String,
    ) -> bool {
        if !self.wants(owner) {
            return false;
        }
        let Some(group) = self.groups.entry((code, subject.to_owned())) else { return false };
        if !group.pods.contains_key(owner) {
            if self.sighted >= MAX_SIGHTED {
                group.pods_refused += 1;
                return false;
            }
            self.sighted += 1;
        }
        let pod = group.pods.entry(Arc::clone(owner)).or_default();
        pod.times.merge(times);
        if pod.examples.len() < EXAMPLES {
            pod.examples.push(example());
        }
        true
    }

    /// Whether findings are about this owner too.
    pub(super) fn wants(&self, owner: &Owner) -> bool {
        (self.wanted)(owner)
    }

    /// Adds to the parts of a finding that was sighted of a pod.
    pub(super) fn item(
        &mut self,
        code: Code,
        subject: &str,
        owner: &Arc<Owner>,
        item: String,
        count: u64,
    ) {
        let Some(group) = self.groups.get_mut(&(code, subject.to_owned())) else { return };
        let Some(pod) = group.pods.get_mut(owner) else { return };
        if let Some(known) = pod.items.get_mut(&item) {
            *known += count;
        } else if group.items >= MAX_ITEMS {
            group.items_refused += 1;
        } else {
            group.items += 1;
            pod.items.insert(item, count);
        }
    }

    /// A backend that a finding depends on went away.
    pub(super) fn departure(&mut self, code: Code, subject: &str, at: Timestamp) {
        let Some(group) = self.groups.get_mut(&(code, subject.to_owned())) else { return };
        let at_ns = at.unix_ns();
        if group.departures_ns.len() < MAX_DEPARTURES && !group.departures_ns.contains(&at_ns) {
            group.departures_ns.push(at_ns);
        }
    }

    /// What did not fit.
    pub(super) fn refused(&self) -> [(&'static str, u64); 4] {
        let sum = |of: fn(&Group) -> u64| self.groups.iter().map(|(_, group)| of(group)).sum();
        [
            ("findings", self.groups.refused),
            ("pods' queries", self.load.refused),
            ("pods of a finding", sum(|group| group.pods_refused)),
            ("names of a finding", sum(|group| group.items_refused)),
        ]
    }

    /// What they add up to, the worst first.
    pub(super) fn findings(&self, timeout_ns: u64) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self
            .groups
            .iter()
            .filter_map(|((code, subject), group)| self.finding(*code, subject, group, timeout_ns))
            .collect();
        let weight = |finding: &Finding| {
            let hit = finding.count.saturating_mul(finding.pods.len() as u64);
            (finding.harm, std::cmp::Reverse(hit), finding.code)
        };
        findings.sort_by_key(weight);
        findings
    }

    fn finding(
        &self,
        code: Code,
        subject: &str,
        group: &Group,
        timeout_ns: u64,
    ) -> Option<Finding> {
        let (mut events, mut load) = (Timeline::default(), Timeline::default());
        let mut pods = Vec::new();
        let mut kept = Vec::new();
        for (owner, pod) in &group.pods {
            let count = pod.times.total();
            let queries = self.queries(owner).max(count);
            let share = count as f64 / queries as f64;
            if count < code.fewest() || share < code.least_share() {
                continue;
            }
            events.merge(&pod.times);
            load.merge(self.load.get(owner).unwrap_or(&pod.times));
            pods.push(AffectedPod { owner: Arc::clone(owner), count, queries });
            kept.push(pod);
        }
        let (first, last) = events.span_ns()?;
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.count));
        Some(Finding {
            code,
            subject: (!subject.is_empty()).then(|| subject.to_owned()),
            harm: code.harm(),
            fault: code.harm().is_fault(),
            count: pods.iter().map(|pod| pod.count).sum(),
            queries: pods.iter().map(|pod| pod.queries).sum(),
            pods,
            pattern: Pattern::of(&events, &load, &group.departures_ns, timeout_ns),
            first: Timestamp::from_unix_ns(first),
            last: Timestamp::from_unix_ns(last),
            summary: code.describe(),
            proof: examples(&kept),
            items: items(&kept),
            advice: code.advice(),
        })
    }
}

/// Some examples of each pod, the first ones first.
fn examples(pods: &[&Sighted]) -> Vec<String> {
    let nth = |n: usize| pods.iter().filter_map(move |pod| pod.examples.get(n));
    (0..EXAMPLES).flat_map(nth).take(EXAMPLES).cloned().collect()
}

/// The parts of all pods, the most frequent first.
fn items(pods: &[&Sighted]) -> Vec<Item> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, count) in pods.iter().flat_map(|pod| &pod.items) {
        *sums.entry(what).or_default() += count;
    }
    let mut items: Vec<Item> =
        sums.into_iter().map(|(what, count)| Item { what: what.to_owned(), count }).collect();
    items.sort_by_key(|item| std::cmp::Reverse(item.count));
    items.truncate(SHOWN_ITEMS);
    items
}
