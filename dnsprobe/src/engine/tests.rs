//! The engine as a whole: which facts belong to which query, and what comes
//! out for each observation.

use super::{
    testing::{
        ASKER, Bench, CONFIRMED, ID, MS, Names, PORT_UNREACHABLE, SECOND, SENT, STRAY, answer_fact,
        backend, clash, client, clock, device, device_queue_drop, entry, fact, ipvs_drop,
        lost_clash, netfilter_drop, no_socket, query, query_to, question, queue_full,
        resolved_clash, service, tuple, verdict,
    },
    *,
};
use crate::dns::{QType, Question};

fn pair() -> (Question, Question) {
    (question("race.test.svc.", QType::A), question("RACE.test.svc.", QType::AAAA))
}

fn late_sending() -> Bench {
    Bench(Engine::new(Blindness { late_sending: true, ..Blindness::default() }))
}

fn is_not_followed(outcome: &Outcome, expected: Role) -> bool {
    matches!(outcome, Outcome::NotFollowed { role, .. } if *role == expected)
}

// Near misses.

#[test]
fn a_resolved_clash_is_a_near_miss_at_once_and_no_loss() {
    let mut bench = Bench::new();
    let outcomes = bench.fact(resolved_clash().followed());
    assert_eq!(outcomes.len(), 1);
    let near = verdict(outcomes[0].clone());
    assert_eq!(near.cause, Cause::ConntrackClashResolved);
    assert!(!near.loss);
    assert_eq!(near.owner.to_string(), "host/cgroup-11");
    assert!(near.sibling.is_none());
    assert!(!near.pair);
    assert!(near.summary.starts_with("Two queries raced"), "{}", near.summary);
}

#[test]
fn an_unresolved_clash_alone_is_not_reported_before_its_query_is_lost() {
    assert!(Bench::new().fact(lost_clash().followed()).is_empty());
}

#[test]
fn the_a_and_aaaa_queries_of_one_socket_are_a_pair() {
    let (a, aaaa) = pair();
    let other = QuerySeen { question: Some(a), ..query() };
    let mut race = clash(true, entry(service(10), backend(3)), Some(other)).owned();
    race.packet.question = Some(aaaa);
    let near = verdict(Bench::new().fact(race).remove(0));
    assert!(near.pair);
    assert_eq!(near.sibling.map(|s| s.owner.to_string()).as_deref(), Some("host/cgroup-11"));
    assert!(near.summary.starts_with("The A and AAAA queries"), "{}", near.summary);
}

#[test]
fn queries_that_differ_in_name_port_or_namespace_or_not_in_type_are_no_pair() {
    let (a, aaaa) = pair();
    let sibling = QuerySeen { question: Some(a.clone()), ..query() };
    let mut other_port = sibling.clone();
    other_port.id.client.set_port(40_001);
    let mut other_netns = sibling.clone();
    other_netns.owner.netns += 1;
    let other_name = question("other.test.svc.", QType::A);
    let cases = [
        (other_port, Some(aaaa.clone())),
        (other_netns, Some(aaaa.clone())),
        (sibling.clone(), Some(a)),
        (sibling.clone(), None),
        (QuerySeen { question: Some(other_name), ..query() }, Some(aaaa.clone())),
        (QuerySeen { question: None, ..query() }, Some(aaaa)),
    ];
    for (other, own) in cases {
        let mut race = clash(true, entry(service(10), backend(3)), Some(other)).owned();
        race.packet.question = own;
        assert!(!verdict(Bench::new().fact(race).remove(0)).pair);
    }
}

#[test]
fn a_near_miss_without_a_socket_belongs_to_the_winner_of_the_same_socket_or_to_nobody() {
    let owner = |other: Option<QuerySeen>| {
        let race = clash(true, entry(service(10), backend(3)), other);
        verdict(Bench::new().fact(race).remove(0)).owner.to_string()
    };
    assert_eq!(owner(Some(query())), "host/cgroup-11");
    let mut stranger = query();
    stranger.id.client.set_port(1);
    assert_eq!(owner(Some(stranger)), "unattributed");
    assert_eq!(owner(None), "unattributed");
}

#[test]
fn a_near_miss_still_explains_the_late_answer_of_its_query() {
    let mut bench = Bench::new();
    bench.fact(resolved_clash());
    bench.fact(answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND));
    assert_eq!(bench.expire(query()).cause, Cause::ConntrackClashLateAnswer);
}

// Siblings and evidence.

#[test]
fn a_lost_clash_names_its_sibling_even_when_an_earlier_clash_was_resolved() {
    let (a, aaaa) = pair();
    let kept = QuerySeen { owner: Default::default(), ..query() };
    let winner = QuerySeen { question: Some(a), ..query_to(service(11)) };
    let mut bench = Bench::new();
    bench.fact(clash(true, entry(service(10), backend(3)), Some(kept)).at(SENT + 1));
    bench.fact(clash(false, entry(service(11), backend(2)), Some(winner)));
    let lost = bench.expire(QuerySeen { question: Some(aaaa), ..query() });
    assert_eq!(lost.cause, Cause::ConntrackClash);
    assert!(lost.pair);
    let sibling = lost.sibling.expect("the winner is known");
    assert_eq!(sibling.query.server, service(11));
    assert_eq!(sibling.owner.to_string(), "host/cgroup-11");
}

#[test]
fn evidence_is_in_order_of_time_and_begins_with_the_sending() {
    let mut bench = Bench::new();
    bench.fact(fact(netfilter_drop()).at(SENT + 3 * MS));
    bench.fact(fact(FactKind::ConfirmDrop).at(SENT + 2 * MS));
    let lost = bench.expire(QuerySeen { device: Some((device(false), SENT + MS)), ..query() });
    let kinds: Vec<_> = lost.evidence.iter().map(|e| e.detail["kind"].clone()).collect();
    assert_eq!(kinds, ["sent", "transmit", "confirm-drop", "drop"]);
    assert!(lost.evidence.is_sorted_by_key(|e| e.at));
}

#[test]
fn a_lost_query_whose_question_was_not_kept_has_that_of_its_packet() {
    let mut bench = Bench::new();
    let mut drop = fact(netfilter_drop());
    drop.packet.question = Some(question("late.test.", QType::AAAA));
    bench.fact(drop);
    let lost = bench.expire(QuerySeen { question: None, ..query() });
    assert_eq!(lost.query.question, Some(question("late.test.", QType::AAAA)));
}

#[test]
fn only_an_unexplained_loss_lists_the_missing_hooks() {
    let missing = vec!["ipvs-verdict".to_owned()];
    let mut bench =
        Bench(Engine::new(Blindness { missing: missing.clone(), ..Blindness::default() }));
    assert_eq!(bench.expire(query()).missing, missing);
    bench.fact(fact(no_socket()));
    assert!(bench.expire(query()).missing.is_empty());
}

// Which facts belong to a query.

#[test]
fn a_query_that_was_sent_again_has_the_facts_from_its_sending_to_just_before_the_next() {
    let again_ns = SENT + 2 * SECOND;
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()).at(SENT - 1));
    bench.fact(fact(ipvs_drop(false)).at(SENT));
    bench.fact(fact(queue_full(1, 1)).at(again_ns - 1));
    bench.fact(fact(netfilter_drop()).at(again_ns));
    let first = verdict(bench.unanswered(query(), Unanswered::SentAgain(again_ns)));
    assert_eq!(first.cause, Cause::IpvsStaleBackend);
    assert_eq!(first.evidence.len(), 3);
    let second = bench.expire(QuerySeen { start_ns: again_ns, ..query() });
    assert_eq!(second.cause, Cause::PolicyDrop);
    assert_eq!(second.evidence.len(), 2);
}

#[test]
fn one_fact_explains_at_most_one_query() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()));
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
    assert_eq!(bench.expire(query()).cause, Cause::Unexplained);
}

#[test]
fn facts_of_another_id_port_or_address_are_not_the_querys() {
    let mut bench = Bench::new();
    let mut other_id = fact(no_socket());
    other_id.packet.id = ID + 1;
    bench.fact(other_id);
    let mut other_port = fact(no_socket());
    other_port.packet.tuple.source.set_port(1);
    bench.fact(other_port);
    bench.fact(fact(no_socket()).tracked(service(11), backend(2)));
    assert_eq!(bench.expire(query()).cause, Cause::Unexplained);
}

#[test]
fn behind_source_translation_the_entry_names_the_query() {
    let mut drop = fact(netfilter_drop()).tracked(service(10), backend(2)).status(CONFIRMED);
    drop.packet.tuple = tuple(SocketAddr::from(([192, 168, 0, 1], 15_317)), backend(2));
    let mut bench = Bench::new();
    bench.fact(drop);
    assert_eq!(bench.expire(query()).cause, Cause::PolicyDrop);
}

#[test]
fn behind_a_translation_without_an_entry_the_fact_is_the_only_querys() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()).to(backend(2)));
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
}

#[test]
fn another_facts_entry_tells_whose_translated_packet_it_was() {
    let mut bench = Bench::new();
    bench.fact(resolved_clash());
    bench.fact(fact(no_socket()).to(backend(2)));
    assert_eq!(bench.expire(query_to(service(11))).cause, Cause::Unexplained);
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
}

#[test]
fn an_answer_that_came_in_as_a_flow_of_its_own_still_belongs_to_its_query() {
    let mut stray = answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND);
    let own_flow = tuple(backend(2), client());
    let reply = tuple(client(), backend(2));
    stray.packet.conntrack = Some(ConntrackEntry { original: own_flow, reply, status: CONFIRMED });
    assert_eq!(stray.packet.client(), client());
    assert_eq!(stray.packet.server(), backend(2));
    let mut bench = Bench::new();
    bench.fact(resolved_clash());
    bench.fact(stray);
    assert_eq!(bench.expire(query()).cause, Cause::ConntrackClashLateAnswer);
}

#[test]
fn an_answer_in_reply_direction_belongs_to_the_address_that_was_asked() {
    let answer = answer_fact(netfilter_drop(), backend(2)).tracked(service(10), backend(2));
    assert_eq!(answer.packet.client(), client());
    assert_eq!(answer.packet.server(), service(10));
    let mut bench = Bench::new();
    bench.fact(answer.status(CONFIRMED));
    assert_eq!(bench.expire(query_to(service(11))).cause, Cause::Unexplained);
    assert_eq!(bench.expire(query()).cause, Cause::PolicyDrop);
}

// One id to two servers, as musl's resolver sends it.

#[test]
fn of_two_servers_asked_with_one_id_the_right_one_gets_the_drop() {
    for first in [10, 11] {
        let mut bench = Bench::new();
        bench.fact(lost_clash());
        for last in [first, 21 - first] {
            let cause = bench.expire(query_to(service(last))).cause;
            let expected = if last == 10 { Cause::ConntrackClash } else { Cause::Unexplained };
            assert_eq!(cause, expected, "asked {last}, first decided {first}");
        }
    }
}

#[test]
fn of_two_servers_asked_with_one_id_the_right_one_gets_the_answers_drop() {
    for first in [10, 11] {
        let mut bench = Bench::new();
        bench.fact(answer_fact(queue_full(1, 1), service(10)).followed());
        for last in [first, 21 - first] {
            let cause = bench.expire(query_to(service(last))).cause;
            let expected = if last == 10 { Cause::SocketBufferFull } else { Cause::Unexplained };
            assert_eq!(cause, expected, "asked {last}, first decided {first}");
        }
    }
}

#[test]
fn of_two_servers_asked_with_one_id_the_clashed_one_gets_the_late_answer() {
    for first in [10, 11] {
        let mut bench = Bench::new();
        bench.fact(resolved_clash());
        bench.fact(answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND));
        for last in [first, 21 - first] {
            let cause = bench.expire(query_to(service(last))).cause;
            let expected =
                if last == 10 { Cause::ConntrackClashLateAnswer } else { Cause::Unexplained };
            assert_eq!(cause, expected, "asked {last}, first decided {first}");
        }
    }
}

#[test]
fn of_two_servers_behind_one_address_the_one_whose_packet_went_on_gets_what_it_met() {
    for first in [10, 11] {
        let mut bench = Bench::new();
        bench.fact(lost_clash());
        bench.fact(fact(no_socket()).to(backend(2)));
        for last in [first, 21 - first] {
            let cause = bench.expire(query_to(service(last))).cause;
            let expected = if last == 10 { Cause::ConntrackClash } else { Cause::NoListener };
            assert_eq!(cause, expected, "asked {last}, first decided {first}");
        }
    }
}

#[test]
fn a_clash_with_another_clients_flow_tells_nothing_of_the_own_translation() {
    let mut winner = entry(service(11), backend(3));
    winner.original.source.set_port(1);
    let mut bench = Bench::new();
    bench.fact(clash(false, winner, None));
    bench.fact(fact(no_socket()).to(backend(3)));
    assert_eq!(bench.expire(query_to(service(12))).cause, Cause::NoListener);
}

#[test]
fn what_happens_to_datagrams_is_nothing_to_a_query_over_tcp() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()));
    let over_tcp = QuerySeen { transport: dnsprobe_common::flow::Transport::Tcp, ..query() };
    assert_eq!(bench.expire(over_tcp).cause, Cause::Unexplained);
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
}

// Ends that are nobody's loss.

#[test]
fn the_servers_end_of_a_query_is_not_followed_and_takes_no_facts() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()));
    let server_end = QuerySeen { role: Role::Server, ..query() };
    let outcome = bench.unanswered(server_end, Unanswered::Expired);
    assert!(is_not_followed(&outcome, Role::Server), "{outcome:?}");
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
}

#[test]
fn a_query_whose_asker_had_its_answer_elsewhere_is_not_followed() {
    let answered = || QuerySeen { other_answer_ns: Some(SENT + MS), ..query() };
    let left = || QuerySeen { device: Some((device(true), SENT)), ..answered() };
    let mut bench = Bench::new();
    for query in [answered(), left()] {
        let outcome = bench.unanswered(query, Unanswered::Expired);
        assert!(is_not_followed(&outcome, Role::Client), "{outcome:?}");
    }
    bench.fact(answer_fact(PORT_UNREACHABLE, service(10)));
    let outcome = bench.unanswered(answered(), Unanswered::Expired);
    assert!(is_not_followed(&outcome, Role::Client), "{outcome:?}");
}

#[test]
fn what_is_proven_counts_even_when_the_asker_had_its_answer_elsewhere() {
    let mut bench = Bench::new();
    bench.fact(lost_clash());
    let lost = bench.expire(QuerySeen { other_answer_ns: Some(SENT + MS), ..query() });
    assert_eq!(lost.cause, Cause::ConntrackClash);
}

// Queries that were dropped before they were counted.

#[test]
fn where_sending_is_seen_late_a_drop_on_the_senders_socket_is_a_query_of_its_own() {
    let outcomes = late_sending().fact(fact(netfilter_drop()).owned());
    let [Outcome::Uncounted { owner, server }, Outcome::Verdict(lost)] = &outcomes[..] else {
        panic!("an uncounted query and its verdict: {outcomes:?}");
    };
    assert_eq!(owner.to_string(), "host/cgroup-11");
    assert_eq!(*server, service(10));
    assert_eq!(lost.cause, Cause::PolicyDrop);
    assert_eq!(lost.owner, *owner);
    assert_eq!(lost.query.client, client());
}

#[test]
fn a_drop_that_made_its_own_query_explains_no_other() {
    let mut bench = late_sending();
    bench.fact(fact(netfilter_drop()).owned());
    assert_eq!(bench.expire(query()).cause, Cause::Unexplained);
}

#[test]
fn where_sending_is_seen_at_once_or_the_query_is_followed_no_query_is_added() {
    assert!(Bench::new().fact(fact(netfilter_drop()).owned()).is_empty());
    let others = [
        fact(netfilter_drop()).owned().followed(),
        fact(netfilter_drop()),
        answer_fact(netfilter_drop(), service(10)).owned(),
        fact(queue_full(1, 1)).owned(),
        fact(FactKind::ConfirmDrop).owned(),
    ];
    for other in others {
        let outcomes = late_sending().fact(other);
        assert!(outcomes.is_empty(), "{outcomes:?}");
    }
}

// Answered queries.

#[test]
fn an_answered_query_has_its_parts_by_role() {
    let seen = |role| QuerySeen {
        role,
        middle_ns: Some(SENT + 20 * MS),
        answer_flags: Some(0x8183),
        ..query()
    };
    let transaction = |query, end_ns| match Bench::new()
        .observe(Observation::Transaction { query, end_ns })
        .remove(0)
    {
        Outcome::Transaction(transaction) => *transaction,
        other => panic!("no transaction: {other:?}"),
    };
    let read_ns = Some(SENT + 21 * MS);
    let asked = transaction(seen(Role::Client), read_ns);
    assert_eq!(asked.rcode, Some(3));
    assert!((asked.latency_seconds - 0.021).abs() < 1e-12);
    let parts = Parts::Client { answer_queued_seconds: Some(0.020), read_seconds: Some(0.001) };
    assert_eq!(asked.parts, parts);
    let parts = Parts::Server { query_read_seconds: Some(0.020), answered_seconds: Some(0.001) };
    assert_eq!(transaction(seen(Role::Server), read_ns).parts, parts);
    let unseen = transaction(query(), read_ns);
    assert_eq!(unseen.rcode, None);
    let parts = Parts::Client { answer_queued_seconds: None, read_seconds: None };
    assert_eq!(unseen.parts, parts);
}

#[test]
fn an_answer_that_was_not_seen_to_be_read_ends_when_it_arrived() {
    let query = QuerySeen { middle_ns: Some(SENT + 20 * MS), ..query() };
    let outcomes = Bench::new().observe(Observation::Transaction { query, end_ns: None });
    let [Outcome::Transaction(transaction)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!((transaction.latency_seconds - 0.020).abs() < 1e-12);
    assert_eq!(transaction.time, clock().timestamp(SENT + 20 * MS));
    let parts = Parts::Client { answer_queued_seconds: Some(0.020), read_seconds: None };
    assert_eq!(transaction.parts, parts);
}

// Memory, and what it means to be without a fact.

#[test]
fn forgotten_facts_explain_nothing_and_take_no_room() {
    let mut bench = Bench::new();
    for offset in 0..1_000 {
        let mut drop = fact(no_socket()).at(SENT + offset);
        drop.packet.id = u16::try_from(offset % 7).unwrap();
        bench.fact(drop);
    }
    bench.fact(fact(no_socket()).at(SENT + 1_000));
    bench.0.forget(SENT + 1_000);
    assert_eq!(bench.0.facts.len(), (1, 1));
    assert_eq!(bench.expire(query()).cause, Cause::NoListener);
    bench.0.forget(u64::MAX);
    assert_eq!(bench.0.facts.len(), (0, 0));
}

#[test]
fn facts_that_were_taken_are_forgotten_too() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()));
    bench.expire(query());
    bench.0.forget(SENT + SECOND);
    assert_eq!(bench.0.facts.len(), (0, 0));
}

#[test]
fn without_forgetting_the_oldest_facts_go_and_their_absence_proves_nothing() {
    let mut bench = Bench::new();
    let left = || QuerySeen { device: Some((device(true), SENT)), ..query() };
    let overflow = facts::MAX_FACTS as u64 + 1;
    for offset in 0..overflow {
        let mut drop = fact(device_queue_drop()).at(SENT + offset);
        drop.packet.tuple.source.set_port(u16::try_from(offset % 999).unwrap());
        bench.fact(drop);
    }
    assert_eq!(bench.0.facts.len().1, facts::MAX_FACTS);
    assert_eq!(bench.expire(left()).cause, Cause::Unexplained);
    let later = QuerySeen { start_ns: SENT + 1, ..left() };
    assert_eq!(bench.expire(later).cause, Cause::RemoteSilence);
}

#[test]
fn forgetting_in_time_is_not_losing_events() {
    let mut bench = Bench::new();
    bench.fact(fact(no_socket()));
    bench.0.forget(SENT + SECOND);
    let left = QuerySeen { device: Some((device(true), SENT)), ..query() };
    assert_eq!(bench.expire(left).cause, Cause::RemoteSilence);
}

#[test]
fn lost_events_stay_lost_when_an_earlier_loss_is_reported_later() {
    let mut bench = Bench::new();
    bench.0.events_lost(SENT + SECOND);
    bench.0.events_lost(SENT - SECOND);
    bench.fact(fact(netfilter_drop()));
    assert_eq!(bench.expire(query()).cause, Cause::Unexplained);
}

#[test]
fn the_owner_of_a_loss_is_the_askers_whatever_socket_its_packet_met() {
    let mut bench = Bench::new();
    bench.fact(fact(queue_full(1, 1)));
    let lost = bench.expire(query());
    assert_eq!(lost.owner, Names.owner(ASKER));
    assert_eq!(lost.evidence[1].detail["socket_owner"]["label"], "host/cgroup-22");
    assert_eq!(lost.time, clock().timestamp(SENT + MS));
}

#[test]
fn a_query_that_shares_its_id_with_another_is_not_followed() {
    let mut bench = Bench::new();
    let outcome = bench.unanswered(query(), Unanswered::Overtaken);
    assert!(matches!(outcome, Outcome::NotFollowed { role: Role::Client, .. }), "{outcome:?}");
}
