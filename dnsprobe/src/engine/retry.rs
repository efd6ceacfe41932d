//! A lost query whose question the same process asked again and got answered:
//! why a look-up took seconds. Either half may be known first, since a query
//! counts as lost only when nothing came for a while; whichever comes second
//! makes the link, so nothing has to wait for the other.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use dnsprobe_common::flow::Role;
use serde::Serialize;

use super::{Cause, Query, Transaction, Verdict};
use crate::{dns::Question, identity::Owner, time::Timestamp};

/// A question that was asked again after its query was lost, and answered
/// then.
#[derive(Clone, Debug, Serialize)]
pub struct Retry {
    /// When the answer was there.
    pub time: Timestamp,
    /// The one owner of both queries.
    pub owner: Arc<Owner>,
    /// The query that was answered.
    pub query: Query,
    /// The query that was lost.
    pub lost: LostQuery,
    /// Whether both left from the same address and port.
    pub same_socket: bool,
    /// From the lost query's sending to the answer, seconds.
    pub lookup_seconds: f64,
}

/// A lost query and why.
#[derive(Clone, Debug, Serialize)]
pub struct LostQuery {
    /// Why it was lost.
    pub cause: Cause,
    /// The query.
    #[serde(flatten)]
    pub query: Query,
}

/// A resolver that changes its socket waits about a second at least before it
/// asks again (glibc, musl and Go count in seconds); a query that follows
/// sooner from another socket belongs to another look-up.
const SHORTEST_WAIT_NS: u64 = 900_000_000;
/// No resolver waits longer for an answer (glibc allows 30 s).
const LONGEST_WAIT_NS: u64 = 30_000_000_000;
/// What was sent so much earlier is not looked at any more: twice the longest wait,
/// because answers do not come in the order of their queries.
const TOO_EARLY_NS: u64 = 2 * LONGEST_WAIT_NS;
/// Queries of either kind that are remembered; the oldest go first.
const REMEMBERED: usize = 16_384;

/// What tells look-ups apart: the process and what it asks.
type Key = (u32, Question);

/// Lost and answered queries that may belong together.
#[derive(Default)]
pub struct Retries {
    lost: Recent<LostQuery>,
    answered: Recent<Answered>,
}

struct Answered {
    time: Timestamp,
    owner: Arc<Owner>,
    query: Query,
}

impl Retries {
    /// A query was answered: the lost ones that it repeats, oldest first.
    pub fn answered(&mut self, transaction: &Transaction) -> Vec<Retry> {
        if transaction.role != Role::Client {
            return Vec::new();
        }
        let Some(key) = key(&transaction.query) else { return Vec::new() };
        let answered = Answered {
            time: transaction.time,
            owner: transaction.owner.clone(),
            query: transaction.query.clone(),
        };
        let sent_ns = answered.query.sent.unix_ns();
        self.lost.forget_early(&key, sent_ns);
        let lost = self.lost.take(&key, |lost| repeats(&lost.query, &answered.query));
        let retries = lost.into_iter().map(|lost| link(lost, &answered)).collect();
        self.answered.add(sent_ns, key, answered);
        retries
    }

    /// A query was decided: the answered one that repeated it.
    pub fn decided(&mut self, verdict: &Verdict) -> Option<Retry> {
        let key = key(&verdict.query).filter(|_| verdict.loss)?;
        let lost = LostQuery { cause: verdict.cause, query: verdict.query.clone() };
        let sent_ns = lost.query.sent.unix_ns();
        self.answered.forget_early(&key, sent_ns);
        match self.answered.first(&key, |answered| repeats(&lost.query, &answered.query)) {
            Some(answered) => Some(link(lost, answered)),
            None => {
                self.lost.add(sent_ns, key, lost);
                None
            }
        }
    }
}

fn key(query: &Query) -> Option<Key> {
    Some((query.pid?, query.question.clone()?))
}

/// Whether a query can be the repetition of one that was lost.
fn repeats(lost: &Query, again: &Query) -> bool {
    let wait_ns = again.sent.unix_ns().saturating_sub(lost.sent.unix_ns());
    let shortest = if lost.client == again.client { 1 } else { SHORTEST_WAIT_NS };
    (shortest..=LONGEST_WAIT_NS).contains(&wait_ns)
}

fn link(lost: LostQuery, answered: &Answered) -> Retry {
    let took_ns = answered.time.unix_ns().saturating_sub(lost.query.sent.unix_ns());
    Retry {
        time: answered.time,
        owner: answered.owner.clone(),
        query: answered.query.clone(),
        same_socket: lost.query.client == answered.query.client,
        lookup_seconds: Duration::from_nanos(took_ns).as_secs_f64(),
        lost,
    }
}

/// Queries by process and question, oldest first, a bounded number. A process may ask
/// one question thousands of times a second, so whatever is done at each query looks at
/// the ends of a queue only, or reads along it and moves nothing.
struct Recent<T> {
    by_key: HashMap<Key, VecDeque<(u64, T)>>,
    order: VecDeque<(u64, Key)>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Recent<T> {
    fn add(&mut self, sent_ns: u64, key: Key, item: T) {
        self.by_key.entry(key.clone()).or_default().push_back((sent_ns, item));
        self.order.push_back((sent_ns, key));
        if self.order.len() > REMEMBERED {
            self.forget_oldest();
        }
    }

    fn first(&self, key: &Key, fits: impl Fn(&T) -> bool) -> Option<&T> {
        self.by_key.get(key)?.iter().map(|(_, item)| item).find(|item| fits(item))
    }

    /// Takes out all that fit.
    fn take(&mut self, key: &Key, fits: impl Fn(&T) -> bool) -> Vec<T> {
        let Some(items) = self.by_key.get_mut(key) else { return Vec::new() };
        let mut taken = Vec::new();
        let mut at = 0;
        while let Some((_, item)) = items.get(at) {
            if fits(item) {
                taken.extend(items.remove(at).map(|(_, item)| item));
            } else {
                at += 1;
            }
        }
        if items.is_empty() {
            self.by_key.remove(key);
        }
        taken
    }

    /// Forgets what was sent too early to have to do with a query of this moment.
    fn forget_early(&mut self, key: &Key, sent_ns: u64) {
        let Some(items) = self.by_key.get_mut(key) else { return };
        while items.front().is_some_and(|(at_ns, _)| at_ns + TOO_EARLY_NS < sent_ns) {
            items.pop_front();
        }
        if items.is_empty() {
            self.by_key.remove(key);
        }
    }

    fn forget_oldest(&mut self) {
        let Some((sent_ns, key)) = self.order.pop_front() else { return };
        let Some(items) = self.by_key.get_mut(&key) else { return };
        // The oldest of its key is the first, unless it was taken or forgotten already.
        if items.front().is_some_and(|(at_ns, _)| *at_ns == sent_ns) {
            items.pop_front();
        }
        if items.is_empty() {
            self.by_key.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        dns::QType,
        engine::testing::{MS, Names, SECOND, SENT, clock, query, question, service},
        engine::{Blindness, Engine, Observation, Outcome, QuerySeen, Unanswered},
    };

    fn outcome(observation: Observation) -> Outcome {
        let mut outcomes = Vec::new();
        Engine::new(Blindness::default()).observe(
            observation,
            &mut Names,
            &clock(),
            &mut |outcome| outcomes.push(outcome),
        );
        outcomes.pop().unwrap()
    }

    fn lost(query: QuerySeen) -> Verdict {
        let how = Unanswered::Expired;
        match outcome(Observation::Unanswered { query, how }) {
            Outcome::Verdict(verdict) => *verdict,
            other => panic!("{other:?}"),
        }
    }

    /// Answered 20 ms after it was sent.
    fn answered(query: QuerySeen) -> Transaction {
        let end_ns = Some(query.start_ns + 20 * MS);
        match outcome(Observation::Transaction { query, end_ns }) {
            Outcome::Transaction(transaction) => *transaction,
            other => panic!("{other:?}"),
        }
    }

    /// The same question again, so much later.
    fn again(after_ns: u64) -> QuerySeen {
        QuerySeen { start_ns: SENT + after_ns, ..query() }
    }

    fn from_another_socket(mut query: QuerySeen) -> QuerySeen {
        query.id.client.set_port(50_000);
        query.id.id += 1;
        query
    }

    /// Links made when the verdict comes first, and when the answer does.
    fn links(first: QuerySeen, second: QuerySeen) -> [Option<Retry>; 2] {
        let (lost, answered) = (lost(first), answered(second));
        let mut verdict_first = Retries::default();
        assert!(verdict_first.decided(&lost).is_none());
        let mut answer_first = Retries::default();
        assert!(answer_first.answered(&answered).is_empty());
        [verdict_first.answered(&answered).pop(), answer_first.decided(&lost)]
    }

    #[test]
    fn a_repetition_is_linked_whichever_half_is_known_first() {
        for retry in links(query(), again(5 * SECOND)) {
            let retry = retry.unwrap();
            assert_eq!(retry.lost.cause, Cause::Unexplained);
            assert!(retry.same_socket);
            assert!((retry.lookup_seconds - 5.02).abs() < 1e-9, "{}", retry.lookup_seconds);
        }
    }

    #[test]
    fn another_socket_may_ask_again_after_a_while_only() {
        for retry in links(query(), from_another_socket(again(5 * SECOND))) {
            assert!(!retry.unwrap().same_socket);
        }
        assert!(links(query(), from_another_socket(again(100 * MS))).iter().all(Option::is_none));
        assert!(links(query(), again(100 * MS)).iter().all(Option::is_some));
    }

    #[test]
    fn other_questions_processes_and_times_are_other_lookups() {
        let mut other_type = again(5 * SECOND);
        other_type.question = Some(question("race.test.svc.", QType::AAAA));
        let mut other_process = again(5 * SECOND);
        other_process.owner.tgid += 1;
        let mut nobody = again(5 * SECOND);
        nobody.owner.tgid = 0;
        let mut earlier = query();
        earlier.start_ns -= SECOND;
        for other in [other_type, other_process, nobody, earlier, query(), again(31 * SECOND)] {
            assert!(links(query(), other).iter().all(Option::is_none));
        }
    }

    #[test]
    fn every_lost_attempt_is_linked_once() {
        let mut retries = Retries::default();
        let mut second = again(5 * SECOND);
        second.id.server = service(11);
        assert!(retries.decided(&lost(query())).is_none());
        assert!(retries.decided(&lost(second)).is_none());
        let took: Vec<_> = retries
            .answered(&answered(again(10 * SECOND)))
            .iter()
            .map(|retry| retry.lookup_seconds.round())
            .collect();
        assert_eq!(took, [10.0, 5.0]);
        assert!(retries.answered(&answered(again(11 * SECOND))).is_empty());
    }

    #[test]
    fn the_servers_end_and_near_misses_are_no_lookups() {
        let mut retries = Retries::default();
        let mut near = lost(query());
        near.loss = false;
        assert!(retries.decided(&near).is_none());
        assert!(retries.answered(&answered(again(5 * SECOND))).is_empty());
        let mut server = answered(again(6 * SECOND));
        server.role = Role::Server;
        assert!(retries.decided(&lost(again(5 * SECOND + MS))).is_none());
        assert!(retries.answered(&server).is_empty());
    }

    #[test]
    fn the_number_remembered_is_bounded() {
        let mut recent = Recent::default();
        for at_ns in 0..REMEMBERED as u64 + 10 {
            recent.add(at_ns, (1, question("a.", QType::A)), at_ns);
        }
        assert_eq!(recent.order.len(), REMEMBERED);
        assert_eq!(recent.by_key.values().map(VecDeque::len).sum::<usize>(), REMEMBERED);
    }

    #[test]
    fn what_was_sent_too_early_makes_room() {
        let mut recent = Recent::default();
        let key = || (1, question("a.", QType::A));
        for at_ns in [0, 1, TOO_EARLY_NS] {
            recent.add(at_ns, key(), at_ns);
        }
        recent.forget_early(&key(), TOO_EARLY_NS + 1);
        assert_eq!(recent.first(&key(), |_| true), Some(&1));
        assert_eq!(recent.take(&key(), |_| true), [1, TOO_EARLY_NS]);
        assert!(recent.by_key.is_empty());
        // What was remembered of their order does no harm.
        recent.add(5, key(), 5);
        (0..3).for_each(|_| recent.forget_oldest());
        assert_eq!(recent.take(&key(), |_| true), [5]);
    }
}
