//! What holds for any observations at all.

use dnsprobe_common::flow::Transport;
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::{
    testing::{Bench, Case, ID, SECOND, SENT, backend, client, device, question, service, tuple},
    *,
};
use crate::{
    dns::{QType, Question},
    identity::OwnerKey,
};

/// Few enough that facts often meet.
fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        3 => Just(client()),
        3 => Just(service(10)),
        2 => Just(service(11)),
        2 => Just(backend(2)),
        1 => Just(backend(3)),
        1 => any::<(std::net::IpAddr, u16)>().prop_map(SocketAddr::from),
    ]
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => SENT..SENT + 4,
        4 => SENT..SENT + 6 * SECOND,
        1 => any::<u64>(),
        1 => Just(0),
        1 => Just(u64::MAX),
    ]
}

fn any_tuple() -> impl Strategy<Value = Tuple> {
    (address(), address()).prop_map(|(source, destination)| tuple(source, destination))
}

fn any_entry() -> BoxedStrategy<ConntrackEntry> {
    (any_tuple(), any_tuple(), any::<u32>())
        .prop_map(|(original, reply, status)| ConntrackEntry { original, reply, status })
        .boxed()
}

fn owner_key() -> impl Strategy<Value = OwnerKey> {
    (0..3_u64, 0..3_u32, 0..2_u32).prop_map(|(cgroup, netns, tgid)| OwnerKey {
        cgroup,
        netns,
        tgid,
        command: [0; 16],
    })
}

fn any_question() -> impl Strategy<Value = Question> {
    (prop_oneof![Just("a.test."), Just("b.test.")], prop_oneof![Just(QType::A), Just(QType::AAAA)])
        .prop_map(|(name, qtype)| question(name, qtype))
}

fn any_query() -> BoxedStrategy<QuerySeen> {
    (
        (address(), address(), prop_oneof![4 => Just(ID), 1 => any::<u16>()], any::<bool>()),
        (owner_key(), any::<u64>(), moment(), option::of(moment()), option::of(any::<u16>())),
        option::of((any::<bool>(), moment())),
        option::of(moment()),
        option::of(any_question()),
    )
        .prop_map(
            |(
                (client, server, id, is_server),
                (owner, socket, start_ns, middle_ns, answer_flags),
                sent_by,
                other_answer_ns,
                question,
            )| QuerySeen {
                id: QueryId { client, server, id },
                transport: Transport::Udp,
                role: if is_server { Role::Server } else { Role::Client },
                owner,
                socket,
                start_ns,
                middle_ns,
                answer_flags,
                answer: None,
                exchange: None,
                device: sent_by.map(|(leaves, at_ns)| (device(leaves), at_ns)),
                translation: sent_by.map(|(established, _)| Translation {
                    tuple: tuple(client, backend(3)),
                    established,
                    backend: BackendState::Gone,
                }),
                at_server: None,
                other_answer_ns,
                question,
                command: None,
            },
        )
        .boxed()
}

fn dropped_by() -> impl Strategy<Value = DroppedBy> {
    proptest::sample::select(vec![
        DroppedBy::Netfilter,
        DroppedBy::NoSocket,
        DroppedBy::TrafficControl,
        DroppedBy::Backlog,
        DroppedBy::Routing,
        DroppedBy::IpvsTransmit,
        DroppedBy::Neighbour,
        DroppedBy::Validation,
        DroppedBy::Other,
    ])
}

fn any_kind() -> BoxedStrategy<FactKind> {
    let full =
        (owner_key(), any::<u32>(), any::<u32>()).prop_map(|(owner, used_bytes, buffer_bytes)| {
            QueueFull { owner, used_bytes, buffer_bytes }
        });
    let real_server = (address(), any::<bool>(), option::of(any::<i32>()))
        .prop_map(|(address, available, weight)| Backend { address, available, weight })
        .boxed();
    prop_oneof![
        4 => (
            option::of("[A-Z_]{1,12}"),
            dropped_by(),
            option::weighted(0.3, moment()),
            option::weighted(0.3, full),
        )
            .prop_map(|(reason, by, table_full_ns, queue_full)| {
                let location = "somewhere+0x1".to_owned();
                FactKind::Drop {
                    reason,
                    location,
                    callers: Vec::new(),
                    by,
                    table_full_ns,
                    queue_full,
                }
            }),
        1 => (0..5_u32, 0..5_u32)
            .prop_map(|(icmp_type, icmp_code)| FactKind::Unreachable { icmp_type, icmp_code }),
        2 => (any_entry(), option::of(any_query().prop_map(Box::new)), any::<bool>()).prop_map(
            |(winner, winner_query, resolved)| FactKind::Clash {
                winner,
                winner_query,
                resolved,
                ipvs: false
            }
        ),
        1 => Just(FactKind::ConfirmDrop),
        1 => Just(FactKind::NatDrop),
        1 => (1..120).prop_map(|errno| FactKind::SendFailed { errno }),
        1 => real_server.clone().prop_map(|backend| FactKind::IpvsDraining { backend }),
        1 => (option::of(real_server), any::<bool>())
            .prop_map(|(backend, no_backend)| FactKind::IpvsDrop { backend, no_backend }),
        2 => Just(FactKind::Stray { from_ipvs: false }),
    ]
    .boxed()
}

fn any_fact() -> BoxedStrategy<Fact> {
    let packet = (
        (moment(), 0..4_u32, any_tuple(), prop_oneof![4 => Just(ID), 1 => any::<u16>()]),
        (
            any::<bool>(),
            option::of(any_entry()),
            option::of(owner_key()),
            option::of(any::<bool>()),
        ),
        option::weighted(0.2, any_query().prop_map(Box::new)),
        option::of(any_question()),
    )
        .prop_map(
            |(
                (at_ns, cpu, tuple, id),
                (is_answer, conntrack, owner, by_device),
                query,
                question,
            )| PacketSeen {
                at_ns,
                cpu,
                tuple,
                id,
                is_answer,
                conntrack,
                owner,
                device: by_device.map(device),
                query: query.map(|query| *query),
                question,
            },
        )
        .boxed();
    (packet, any_kind()).prop_map(|(packet, kind)| Fact { packet, kind }).boxed()
}

/// Facts of any kind and time, all about the one flow of [`testing::query`].
fn own_fact() -> BoxedStrategy<Fact> {
    let far = prop_oneof![Just(service(10)), Just(backend(2)), Just(backend(3))];
    (any_fact(), far)
        .prop_map(|(mut fact, far)| {
            let packet = &mut fact.packet;
            packet.id = ID;
            packet.tuple =
                if packet.is_answer { tuple(far, client()) } else { tuple(client(), far) };
            if packet.conntrack.is_some() {
                packet.conntrack = Some(testing::entry(service(10), far));
            }
            packet.query = packet.query.take().filter(|_| far == service(10));
            fact
        })
        .boxed()
}

/// As [`own_fact`], between the sending and long after. A failed send call is a
/// query of its own, unless the kernel found the query in flight.
fn related_fact() -> BoxedStrategy<Fact> {
    own_fact()
        .prop_filter("a query of its own", |fact| {
            fact.packet.query.is_some() || !matches!(fact.kind, FactKind::SendFailed { .. })
        })
        .prop_map(|fact| {
            let at_ns = fact.packet.at_ns.clamp(SENT, SENT + 10 * SECOND);
            fact.at(at_ns)
        })
        .boxed()
}

fn any_blindness() -> impl Strategy<Value = Blindness> {
    let flags = any::<[bool; 8]>();
    flags.prop_map(|[drops, transmit, confirm, clash, purge, table_full, ipvs, icmp]| Blindness {
        icmp,
        drops,
        transmit,
        confirm,
        clash,
        purge,
        table_full,
        ipvs,
        late_sending: false,
        missing: vec!["something".to_owned()],
    })
}

fn any_end() -> impl Strategy<Value = Unanswered> {
    prop_oneof![
        Just(Unanswered::Expired),
        moment().prop_map(Unanswered::SentAgain),
        Just(Unanswered::NeverSent),
    ]
}

/// Everything an outcome says.
fn said(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Verdict(verdict) => json!(verdict),
        other => json!(format!("{other:?}")),
    }
}

/// What becomes of a query after these facts.
fn outcome(blindness: &Blindness, facts: &[Fact], query: &QuerySeen, how: Unanswered) -> Value {
    let mut bench = Bench(Engine::new(blindness.clone()));
    for fact in facts {
        bench.fact(fact.clone());
    }
    said(&bench.unanswered(query.clone(), how))
}

fn touches(fact: &Fact, query: &QuerySeen) -> bool {
    fact.packet.client() == query.id.client && fact.packet.id == query.id.id
}

proptest! {
    #[test]
    fn rules_decide_any_timeline_and_point_at_a_fact_of_it(
        query in prop_oneof![any_query(), Just(testing::query())],
        facts in vec(prop_oneof![any_fact(), own_fact()], 0..8),
        blindness in any_blindness(),
        events_lost_ns in option::of(moment()),
    ) {
        let case = Case { query, facts, blindness, events_lost_ns, history: NodeHistory::default() };
        let decision = case.decision();
        prop_assert!(decision.decisive.is_none_or(|index| index < case.facts.len()));
        prop_assert!(decision.cause.is_loss());
        prop_assert!(decision.summary.ends_with('.'));
    }

    #[test]
    fn every_unanswered_query_has_exactly_one_outcome(
        facts in vec(prop_oneof![any_fact(), related_fact()], 0..12),
        queries in vec((any_query(), any_end()), 1..6),
        mut blindness in any_blindness(),
        late_sending in any::<bool>(),
    ) {
        blindness.late_sending = late_sending;
        let mut bench = Bench(Engine::new(blindness));
        for fact in facts {
            let outcomes = bench.fact(fact);
            let uncounted =
                outcomes.iter().filter(|o| matches!(o, Outcome::Uncounted { .. })).count();
            let lost = outcomes
                .iter()
                .filter(|o| matches!(o, Outcome::Verdict(verdict) if verdict.loss))
                .count();
            prop_assert_eq!(uncounted, lost, "as many counted as lost");
        }
        for (query, how) in queries {
            let role = query.role;
            let outcomes = bench.observe(Observation::Unanswered { query, how });
            prop_assert_eq!(outcomes.len(), 1);
            match &outcomes[0] {
                Outcome::Verdict(verdict) => {
                    prop_assert!(verdict.loss);
                    prop_assert_eq!(role, Role::Client);
                }
                Outcome::NotFollowed { role: end, .. } => prop_assert_eq!(*end, role),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }

    #[test]
    fn the_verdict_ignores_facts_of_other_flows(
        related in vec(related_fact(), 0..5),
        others in vec(any_fact(), 0..8),
        places in vec(any::<prop::sample::Index>(), 8),
        blindness in any_blindness(),
        how in any_end(),
    ) {
        let query = testing::query();
        let mut mixed = related.clone();
        for (other, place) in others.into_iter().zip(places) {
            if !touches(&other, &query) {
                mixed.insert(place.index(mixed.len() + 1), other);
            }
        }
        prop_assert_eq!(
            outcome(&blindness, &mixed, &query, how),
            outcome(&blindness, &related, &query, how)
        );
    }

    #[test]
    fn the_verdict_does_not_depend_on_the_order_in_which_facts_arrive(
        (facts, shuffled) in vec(related_fact(), 0..8).prop_flat_map(|mut facts| {
            // One processor reports one thing at a time.
            for (cpu, fact) in (0..).zip(&mut facts) {
                fact.packet.cpu = cpu;
            }
            (Just(facts.clone()), Just(facts).prop_shuffle())
        }),
        blindness in any_blindness(),
        how in any_end(),
    ) {
        let query = testing::query();
        prop_assert_eq!(
            outcome(&blindness, &shuffled, &query, how),
            outcome(&blindness, &facts, &query, how)
        );
    }

    #[test]
    fn no_fact_is_evidence_for_two_queries(
        facts in vec(related_fact(), 0..8),
        queries in vec(prop_oneof![Just(service(10)), Just(service(11))], 1..4),
    ) {
        let count = facts.len();
        let mut bench = Bench::new();
        for fact in facts {
            bench.fact(fact);
        }
        let used: usize = queries
            .into_iter()
            .map(|server| bench.expire(testing::query_to(server)).evidence.len() - 1)
            .sum();
        prop_assert!(used <= count, "{used} of {count}");
    }

    #[test]
    fn after_forgetting_everything_nothing_is_kept(
        facts in vec(any_fact(), 0..20),
        queries in vec(any_query(), 0..3),
    ) {
        let mut bench = Bench::new();
        for fact in facts {
            bench.fact(Fact { packet: PacketSeen { at_ns: fact.packet.at_ns / 2, ..fact.packet }, ..fact });
        }
        for query in queries {
            bench.unanswered(query, Unanswered::Expired);
        }
        bench.0.forget(u64::MAX);
        prop_assert_eq!(bench.0.facts.len(), (0, 0));
    }
}
