//! Who asked what, and how that compares with what dnsprobe said.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::lab::kubelet::{Container, KubePod};
use crate::observed::{Observed, Owner, Query};

/// Whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Who {
    /// As dnsprobe labels it.
    pub(super) label: String,
    /// Its container; `None` for what is in none, or in one that is the owner.
    pub(super) container: Option<(String, String)>,
}

impl Who {
    pub(super) fn of(pod: &KubePod, container: &Container) -> Self {
        let container = Some((container.id.clone(), container.name.clone()));
        Self { label: pod.label(), container }
    }

    pub(super) fn named(label: &str) -> Self {
        Self { label: label.to_owned(), container: None }
    }
}

/// Queries with one key.
#[derive(Clone, Debug)]
struct Entry {
    check: &'static str,
    who: Who,
    sent: u64,
    /// What is asked under this key and not to a loopback address is asked by
    /// another, who passes it on.
    proxy: Option<Who>,
}

/// Every key that was given out.
#[derive(Debug, Default)]
pub(super) struct Truth {
    entries: Vec<Entry>,
}

/// How a check came out, in queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Score {
    /// Asked by the clients.
    pub(super) queries: u64,
    /// Told once, of the right pod and container, both by name.
    pub(super) right: u64,
    /// Told of somebody else.
    pub(super) wrong: u64,
    /// Told of nobody.
    pub(super) unattributed: u64,
    /// Told of the right pod without its name, or without its container's.
    pub(super) unnamed: u64,
    /// Not told at all.
    pub(super) missing: u64,
    /// Of these told, lost queries.
    pub(super) lost: u64,
}

impl Truth {
    /// A new key for queries of `who`.
    pub(super) fn key(&mut self, check: &'static str, who: Who) -> usize {
        self.entries.push(Entry { check, who, sent: 0, proxy: None });
        self.entries.len() - 1
    }

    /// The one with this key is in a container that has been made since: id and name.
    pub(super) fn is_in(&mut self, key: usize, container: (String, String)) {
        self.entries[key].who.container = Some(container);
    }

    /// Queries of this key are passed on by `proxy`.
    pub(super) fn passed_on_by(&mut self, key: usize, proxy: Who) {
        self.entries[key].proxy = Some(proxy);
    }

    /// The client has asked this many times.
    pub(super) fn sent(&mut self, key: usize, queries: u64) {
        self.entries[key].sent += queries;
    }

    /// How right dnsprobe was about a check's queries.
    pub(super) fn score(&self, check: &str, observed: &Observed) -> Score {
        let mut told: BTreeMap<(usize, bool), Vec<Verdict>> = BTreeMap::new();
        let mut lost = 0;
        let transactions = observed
            .transactions
            .iter()
            .filter(|told| told.role == "client")
            .map(|told| (&told.query, &told.owner, false));
        let verdicts = observed
            .verdicts
            .iter()
            .filter(|told| told.loss)
            .map(|told| (&told.query, &told.owner, true));
        for (query, owner, is_lost) in transactions.chain(verdicts) {
            let Some((key, entry)) = self.entry(query).filter(|(_, entry)| entry.check == check)
            else {
                continue;
            };
            lost += u64::from(is_lost);
            let passed_on = entry.proxy.is_some() && !query.server.ip().is_loopback();
            let who = entry.proxy.as_ref().filter(|_| passed_on).unwrap_or(&entry.who);
            told.entry((key, passed_on)).or_default().push(compare(owner, who));
        }
        let mut score = Score { lost, ..Score::default() };
        for (key, entry) in self.entries.iter().enumerate().filter(|(_, e)| e.check == check) {
            for passed_on in [false, true] {
                if passed_on && entry.proxy.is_none() {
                    continue;
                }
                let told = told.remove(&(key, passed_on)).unwrap_or_default();
                let count = |what| told.iter().filter(|one| **one == what).count() as u64;
                score.queries += entry.sent;
                score.right += count(Verdict::Right);
                score.wrong += count(Verdict::Wrong);
                score.unattributed += count(Verdict::Nobody);
                score.unnamed += count(Verdict::Unnamed);
                score.missing += entry.sent.saturating_sub(told.len() as u64);
                // Told more often than asked: one of them is somebody else's.
                score.wrong += (told.len() as u64).saturating_sub(entry.sent);
            }
        }
        score
    }

    /// The first few that were not right, for people.
    pub(super) fn examples(&self, check: &str, observed: &Observed) -> Vec<String> {
        let transactions = observed
            .transactions
            .iter()
            .filter(|told| told.role == "client")
            .map(|told| (&told.query, &told.owner));
        let verdicts = observed.verdicts.iter().map(|told| (&told.query, &told.owner));
        transactions
            .chain(verdicts)
            .filter_map(|(query, owner)| {
                let (_, entry) = self.entry(query).filter(|(_, entry)| entry.check == check)?;
                let expected = match &entry.proxy {
                    Some(proxy) if !query.server.ip().is_loopback() => proxy,
                    _ => &entry.who,
                };
                (compare(owner, expected) != Verdict::Right)
                    .then(|| format!("{:?}: told {owner:?}, was {expected:?}", query.name))
            })
            .take(3)
            .collect()
    }

    fn entry(&self, query: &Query) -> Option<(usize, &Entry)> {
        let key = query.name.as_deref()?.split('.').next()?.strip_prefix('k')?.parse().ok()?;
        self.entries.get(key).map(|entry| (key, entry))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Right,
    Wrong,
    Nobody,
    Unnamed,
}

fn compare(told: &Owner, who: &Who) -> Verdict {
    if told.label == "unattributed" {
        return Verdict::Nobody;
    }
    let unnamed = told.label.starts_with("pod/");
    if told.label != who.label && !unnamed {
        return Verdict::Wrong;
    }
    let Some((id, name)) = &who.container else {
        return if unnamed { Verdict::Wrong } else { Verdict::Right };
    };
    match (&told.container, &told.container_name) {
        (Some(told), _) if told != id => Verdict::Wrong,
        (_, Some(told)) if told != name => Verdict::Wrong,
        (Some(_), Some(_)) if !unnamed => Verdict::Right,
        _ => Verdict::Unnamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(label: &str, container: Option<&str>, name: Option<&str>) -> Owner {
        Owner {
            label: label.to_owned(),
            container: container.map(str::to_owned),
            container_name: name.map(str::to_owned),
            ..Owner::default()
        }
    }

    #[test]
    fn only_the_right_pod_and_container_by_name_are_right() {
        let who = Who { label: "a/b".into(), container: Some(("id".into(), "app".into())) };
        for (owner, verdict) in [
            (told("a/b", Some("id"), Some("app")), Verdict::Right),
            (told("a/b", Some("id"), None), Verdict::Unnamed),
            (told("a/b", None, None), Verdict::Unnamed),
            (told("pod/u", Some("id"), Some("app")), Verdict::Unnamed),
            (told("pod/u", Some("other"), Some("app")), Verdict::Wrong),
            (told("a/b", Some("id"), Some("proxy")), Verdict::Wrong),
            (told("a/c", Some("id"), Some("app")), Verdict::Wrong),
            (told("unattributed", None, None), Verdict::Nobody),
        ] {
            assert_eq!(compare(&owner, &who), verdict, "{owner:?}");
        }
        let unit = Who::named("host/x.service");
        assert_eq!(compare(&told("host/x.service", None, None), &unit), Verdict::Right);
        assert_eq!(compare(&told("pod/u", None, None), &unit), Verdict::Wrong);
    }
}
