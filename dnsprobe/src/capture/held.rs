//! Packets wait here until it is known what became of their transaction, or
//! whether they are wanted; then they leave, in the order of their time. In bounded
//! memory: what does not fit leaves early, first what is decided or not wanted.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{Conversation, Decision, Seen};

/// A query is decided at most this much later than it counts as lost.
const DECIDED_AFTER: Duration = Duration::from_secs(2);

/// How long what was decided is remembered when no packet of its time waits: one can
/// be taken in after its transaction.
const REMEMBERED: Duration = Duration::from_secs(2);

/// Most transactions that are remembered.
const DECISIONS: usize = 16_384;

/// Which packets leave for the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All.
    All,
    /// Those of wanted transactions.
    Transactions,
    /// Those, and all packets this long before the begin of one and after its end.
    Around {
        /// Before.
        before: Duration,
        /// After.
        after: Duration,
    },
}

/// How long and how much is held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After how long a query counts as lost.
    pub lost_after: Duration,
    /// Memory for packets that wait, bytes.
    pub bytes: usize,
}

/// A packet that leaves.
#[derive(Debug)]
pub struct Release {
    /// The packet.
    pub seen: Seen,
    /// What became of it at this end.
    pub own: Option<Arc<Decision>>,
    /// What became of it at the other.
    pub others: Vec<Arc<Decision>>,
}

/// A packet that waits.
struct Waiting {
    seen: Seen,
    /// Whether it is wanted when it belongs to no known transaction.
    is_wanted: bool,
}

/// Packets that wait.
pub struct Held {
    wanted: Wanted,
    limits: Limits,
    queue: VecDeque<Waiting>,
    bytes: usize,
    decided: HashMap<Conversation, Vec<Arc<Decision>>>,
    /// The same in the order they came.
    order: VecDeque<Arc<Decision>>,
    /// Times of which every packet is wanted, Unix nanoseconds, by their begin.
    windows: VecDeque<(u64, u64)>,
    /// Packets that had to leave before anything was known of them.
    early: u64,
}

impl Held {
    /// Nothing yet.
    #[must_use]
    pub fn new(wanted: Wanted, limits: Limits) -> Self {
        Self {
            wanted,
            limits,
            queue: VecDeque::new(),
            bytes: 0,
            decided: HashMap::new(),
            order: VecDeque::new(),
            windows: VecDeque::new(),
            early: 0,
        }
    }

    /// Packets that had to leave, or were let go, before it was known what became
    /// of them: memory was too short.
    #[must_use]
    pub fn early(&self) -> u64 {
        self.early
    }

    /// Takes in a packet. `is_wanted`: it is also when no transaction is known that it
    /// belongs to.
    pub fn packet(&mut self, seen: Seen, is_wanted: bool) {
        self.bytes += seen.packet.memory();
        let seen = Waiting { seen, is_wanted };
        // Processors hand theirs over a little out of order.
        let later =
            self.queue.iter().rev().take_while(|other| other.seen.time > seen.seen.time).count();
        self.queue.insert(self.queue.len() - later, seen);
    }

    /// Takes in what became of a transaction.
    pub fn decided(&mut self, decision: Decision) {
        if let Wanted::Around { before, after } = self.wanted
            && decision.wanted
        {
            let window = (
                decision.begin_ns().saturating_sub(nanos(before)),
                decision.end_ns().saturating_add(nanos(after)),
            );
            self.windows.push_back(window);
        }
        let decision = Arc::new(decision);
        self.decided.entry(decision.conversation).or_default().push(Arc::clone(&decision));
        self.order.push_back(decision);
        if self.order.len() > DECISIONS {
            self.forget_oldest();
        }
    }

    /// Hands over what is ready at a moment, Unix nanoseconds; with `all`
    /// everything, because nothing comes any more.
    pub fn release(&mut self, now_ns: u64, all: bool, sink: &mut dyn FnMut(Release)) {
        while let Some(first) = self.queue.front() {
            if !all && !self.is_ready(&first.seen, now_ns) {
                break;
            }
            self.let_go(0, sink);
        }
        if self.bytes > self.limits.bytes {
            self.make_room(now_ns, sink);
        }
        self.forget(now_ns);
    }

    /// Whether nothing more is to be learned of a packet.
    fn is_ready(&self, seen: &Seen, now_ns: u64) -> bool {
        let lost_after = nanos(self.limits.lost_after + DECIDED_AFTER);
        let is_old = |wait: u64| seen.time.unix_ns().saturating_add(wait) < now_ns;
        match self.wanted {
            Wanted::All => is_old(lost_after) || self.own(seen).is_some(),
            // The other end's verdict may still make it wanted.
            Wanted::Transactions => {
                is_old(lost_after) || self.of_time(seen).any(|decision| decision.wanted)
            }
            Wanted::Around { before, .. } => is_old(lost_after.saturating_add(nanos(before))),
        }
    }

    /// Lets packets go until the rest fits: first all whose fate is known or that
    /// are not wanted so far, then the oldest.
    fn make_room(&mut self, now_ns: u64, sink: &mut dyn FnMut(Release)) {
        // Not each time a packet comes.
        let enough = self.limits.bytes / 4 * 3;
        let mut index = 0;
        while self.bytes > enough && index < self.queue.len() {
            let waiting = &self.queue[index];
            let seen = &waiting.seen;
            let known = match self.wanted {
                Wanted::All | Wanted::Transactions => {
                    self.is_ready(seen, now_ns) || self.own(seen).is_some()
                }
                Wanted::Around { .. } => self.own(seen).is_some() && !self.is_wanted(waiting),
            };
            if known {
                self.early += u64::from(matches!(self.wanted, Wanted::Around { .. }));
                self.let_go(index, sink);
            } else {
                index += 1;
            }
        }
        while self.bytes > enough && !self.queue.is_empty() {
            self.early += 1;
            self.let_go(0, sink);
        }
    }

    /// Takes a packet out, and hands it over if it is wanted.
    fn let_go(&mut self, index: usize, sink: &mut dyn FnMut(Release)) {
        let Some(waiting) = self.queue.remove(index) else { return };
        self.bytes = self.bytes.saturating_sub(waiting.seen.packet.memory());
        if self.is_wanted(&waiting) {
            let seen = waiting.seen;
            let own = self.own(&seen).cloned();
            let is_other = |other: &&Arc<Decision>| {
                let is_own = own.as_ref().is_some_and(|own| Arc::ptr_eq(own, other));
                !is_own && other.adds_to(own.as_deref(), &seen)
            };
            let others = self.of_time(&seen).filter(is_other).cloned().collect();
            sink(Release { seen, own, others });
        }
    }

    fn is_wanted(&self, waiting: &Waiting) -> bool {
        let seen = &waiting.seen;
        let of_wanted = || self.of_time(seen).any(|decision| decision.wanted);
        let at_ns = seen.time.unix_ns();
        match self.wanted {
            Wanted::All => true,
            Wanted::Transactions => {
                of_wanted() || (waiting.is_wanted && self.of_time(seen).next().is_none())
            }
            Wanted::Around { .. } => {
                self.windows.iter().any(|(from, until)| (*from..=*until).contains(&at_ns))
                    || of_wanted()
            }
        }
    }

    /// What became of a packet's transaction at its own end. Of two with one id on
    /// one port, the one that began last before it.
    fn own(&self, seen: &Seen) -> Option<&Arc<Decision>> {
        let own = self.of_time(seen).filter(|decision| decision.is_own(seen));
        own.max_by_key(|decision| decision.begin_ns())
    }

    /// Transactions of a packet's conversation at its time.
    fn of_time(&self, seen: &Seen) -> impl Iterator<Item = &Arc<Decision>> {
        let decided = self.decided.get(&seen.packet.conversation());
        decided.into_iter().flatten().filter(|decision| decision.is_of_time(seen))
    }

    /// Forgets what no packet can be of any more.
    fn forget(&mut self, now_ns: u64) {
        let oldest = self.queue.front().map_or(u64::MAX, |first| first.seen.time.unix_ns());
        let limit = now_ns.saturating_sub(nanos(REMEMBERED)).min(oldest);
        while self.order.front().is_some_and(|decision| decision.end_ns() < limit) {
            self.forget_oldest();
        }
        self.windows.retain(|(_, until)| *until >= limit);
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        if let Some(decisions) = self.decided.get_mut(&oldest.conversation) {
            decisions.retain(|decision| !Arc::ptr_eq(decision, &oldest));
            if decisions.is_empty() {
                self.decided.remove(&oldest.conversation);
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
