//! From facts to names: who has an address now, or had it when a packet was sent.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use super::{Found, Holder, Remote, RemoteAddress, RemoteKind, RemoteSource, SharedFacts, Who};
use crate::identity::{Identity, Owner, bounded::Bounded, names::Names, process::Processes};

/// Namespaces whose life is remembered; the oldest is forgotten first.
const NAMESPACES: usize = 4_096;

/// What is known of remote ends, and who of them lives.
#[derive(Debug)]
pub(in crate::identity) struct Remotes {
    facts: Arc<SharedFacts>,
    /// Whether pods may have come since a reading was asked for.
    news: bool,
    /// When each namespace was last seen to be there, kernel nanoseconds.
    seen: Bounded<(u32, u32), u64>,
}

impl Remotes {
    fn new(facts: Arc<SharedFacts>) -> Self {
        Self { facts, news: false, seen: Bounded::new(NAMESPACES) }
    }

    /// A pod or container was made: an address that nobody had may be its.
    pub(in crate::identity) fn expect_news(&mut self) {
        self.news = true;
    }

    fn remote(
        &mut self,
        asked: &RemoteAddress,
        processes: &Processes,
        names: &mut Names,
    ) -> Option<Remote> {
        let facts = self.facts.latest();
        match facts.find(asked) {
            // The API server knows names that the node does not.
            Some(Found::Known(remote))
                if remote.name.is_none()
                    && matches!(remote.kind, RemoteKind::Service | RemoteKind::Upstream) =>
            {
                return Some(self.facts.cluster().find(asked).cloned().unwrap_or(remote));
            }
            Some(Found::Known(remote)) => return Some(remote),
            Some(Found::HeldBy(holder)) if self.held(holder, asked.at_ns, processes) => {
                return Some(named(holder, names));
            }
            Some(Found::HeldBy(_)) => {}
            None => {
                if let Some(remote) = self.facts.cluster().find(asked) {
                    return Some(remote.clone());
                }
            }
        }
        if std::mem::take(&mut self.news) {
            self.facts.want();
        }
        None
    }

    /// Whether a holder had its addresses at a moment: it had them before, and
    /// has been there since, or is still.
    fn held(&mut self, holder: &Holder, at_ns: u64, processes: &Processes) -> bool {
        let now_ns = now_ns();
        let at_ns = at_ns.min(now_ns);
        if !holder.held_at(at_ns) {
            return false;
        }
        let key = (holder.netns, holder.pid);
        if self.seen.get(&key).is_some_and(|seen_ns| at_ns <= *seen_ns) {
            return true;
        }
        let lives = processes.netns(holder.pid) == Some(holder.netns);
        if lives {
            self.seen.insert(key, now_ns);
        }
        lives
    }
}

fn named(holder: &Holder, names: &mut Names) -> Remote {
    let now = Instant::now();
    let source = RemoteSource::NetworkNamespace;
    match &holder.who {
        Who::Pod(uid) => match names.pod(uid.clone(), None, now) {
            Owner::Pod { namespace, pod, .. } => {
                Remote { kind: RemoteKind::Pod, namespace, name: pod, source }
            }
            _ => Remote::nameless(RemoteKind::Pod, source),
        },
        Who::Container(id) => {
            let owner = names.container(id.clone(), now);
            let name = owner.container_name().map(str::to_owned);
            Remote { kind: RemoteKind::Container, namespace: None, name, source }
        }
    }
}

/// Kernel time.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

impl Identity {
    /// Names remote ends from these facts, which somebody else keeps up to date.
    pub fn use_facts(&mut self, facts: Arc<SharedFacts>) {
        self.names.use_facts(Arc::clone(&facts));
        self.remotes = Some(Remotes::new(facts));
    }

    pub(in crate::identity) fn remote_at(&mut self, asked: &RemoteAddress) -> Option<Arc<Remote>> {
        let Self { remotes, processes, names, .. } = self;
        remotes.as_mut()?.remote(asked, processes, names).map(Arc::new)
    }
}
