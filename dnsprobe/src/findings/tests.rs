//! What findings come of which transactions, and which do not.

use proptest::prelude::*;

use super::testing::{
    MS, SECOND, at, backend, client, diagnose, findings, found, pod, server_end, service, snapshot,
    upstream,
};
use super::*;
use crate::{dns::Record, engine::Parts};

const NXDOMAIN: u8 = 3;
const SERVFAIL: u8 = 2;

/// Both ends of an answered query.
fn served(client: Transaction) -> [Transaction; 2] {
    [server_end(&client, 0, 1), client]
}

#[test]
fn answers_in_time_raise_nothing_and_rule_out_much() {
    let diagnosis = diagnose(
        (0..50)
            .flat_map(|n| served(client(n * 100 * MS, "cart.shop.svc.cluster.local.", n as u16))),
    );
    assert_eq!(found(&diagnosis), Vec::<String>::new());
    assert!(!diagnosis.fault);
    let texts: Vec<&str> = diagnosis.ruled_out.iter().map(|item| item.text.as_str()).collect();
    assert!(texts.contains(&"0 of 50 queries lost"), "{texts:?}");
    assert!(texts.contains(&"0 of 50 answers took 100 ms or longer"), "{texts:?}");
}

#[test]
fn without_queries_nothing_is_ruled_out() {
    let diagnosis = findings().finish(&snapshot(0, 0));
    assert!(diagnosis.findings.is_empty() && diagnosis.ruled_out.is_empty());
}

#[test]
fn a_code_that_the_upstream_gave_is_the_upstreams() {
    let asked = client(0, "www.example.com.", 1).taking(20, 0).with_rcode(SERVFAIL);
    let end = server_end(&asked, 0, 15).with_rcode(SERVFAIL);
    let up = upstream(&end, 1, 10).with_rcode(SERVFAIL);
    let diagnosis = diagnose([up, end.clone(), asked.clone()]);
    assert_eq!(found(&diagnosis), ["upstream-servfail of shop/cart"]);
    assert_eq!(diagnosis.findings[0].subject.as_deref(), Some("192.0.2.53:53"));
    assert!(diagnosis.fault);

    let fine = upstream(&end, 1, 10).with_rcode(0);
    assert_eq!(found(&diagnose([fine, end.clone(), asked.clone()])), ["servfail of shop/cart"]);
    assert_eq!(found(&diagnose([asked])), ["servfail of shop/cart"]);
}

/// A look-up as resolvers do it, every name but those that exist NXDOMAIN.
fn look_up(base: &str, exists: impl Fn(&str) -> bool) -> Vec<Transaction> {
    let suffixes = ["shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", ""];
    let mut all = Vec::new();
    for (step, suffix) in (0..).zip(suffixes) {
        let name = format!("{base}.{suffix}");
        let answer = client(step * 3 * MS, &name, step as u16);
        let found = exists(&name);
        all.extend(served(if found { answer } else { answer.with_rcode(NXDOMAIN) }));
        if found {
            break;
        }
    }
    all
}

fn repeated(times: u64, one: &[Transaction]) -> Vec<Transaction> {
    (0..times)
        .flat_map(|n| {
            one.iter().cloned().map(move |mut t| {
                t.query.sent = Timestamp::from_unix_ns(t.query.sent.unix_ns() + n * SECOND);
                t.time = Timestamp::from_unix_ns(t.time.unix_ns() + n * SECOND);
                t
            })
        })
        .collect()
}

#[test]
fn an_external_name_that_is_tried_with_every_suffix_is_an_expansion() {
    let one = look_up("www.example.com", |name| name == "www.example.com.");
    let diagnosis = diagnose(repeated(4, &one));
    assert_eq!(found(&diagnosis), ["search-expansion of shop/cart"]);
    let finding = &diagnosis.findings[0];
    assert_eq!((finding.count, finding.queries, finding.fault), (4, 16, false));
    let items: Vec<_> = finding.items.iter().map(|item| (item.what.as_str(), item.count)).collect();
    assert!(items.contains(&("suffix svc.cluster.local.: NXDOMAIN", 4)), "{items:?}");
    assert!(items.contains(&("no suffix: exists", 4)), "{items:?}");
    assert_eq!(found(&diagnose(one)), Vec::<String>::new());
}

#[test]
fn a_short_name_whose_second_suffix_fits_is_how_it_is_meant() {
    let one = look_up("cart.shop", |name| name == "cart.shop.svc.cluster.local.");
    assert_eq!(found(&diagnose(repeated(9, &one))), Vec::<String>::new());
}

#[test]
fn a_name_that_exists_with_no_suffix_is_missing_once() {
    let outside = diagnose(look_up("www.example.com", |_| false));
    assert_eq!(found(&outside), ["nxdomain of shop/cart"]);
    assert_eq!(outside.findings[0].count, 1);
    assert_eq!(outside.findings[0].items[0].what, "www.example.com. by shop/cart");
    let inside = diagnose(look_up("missing", |_| false));
    assert_eq!(found(&inside), ["internal-name-missing of shop/cart"]);
    assert_eq!(inside.findings[0].items[0].what, "missing.shop.svc.cluster.local.");
    assert_eq!(inside.findings[0].subject.as_deref(), Some("Service"));
    // `shop` is known to be a namespace: it is the pod's own.
    let named = diagnose(look_up("missing.shop", |_| false));
    assert_eq!(named.findings[0].items[0].what, "missing.shop.svc.cluster.local.");
}

#[test]
fn an_upstream_that_denies_the_name_is_named() {
    let asked = client(0, "www.example.com.", 1).taking(20, 0).with_rcode(NXDOMAIN);
    let end = server_end(&asked, 0, 15).with_rcode(NXDOMAIN);
    let up = upstream(&end, 1, 10).with_rcode(NXDOMAIN);
    let diagnosis = diagnose([up, end, asked]);
    assert_eq!(found(&diagnosis), ["upstream-nxdomain of shop/cart"]);
    assert!(!diagnosis.fault);
}

#[test]
fn one_name_asked_again_and_again_is_as_many_look_ups() {
    let asked = |n: u64| client(n * 10 * MS, "missing.shop.svc.cluster.local.", n as u16);
    let diagnosis = diagnose((0..6).map(|n| asked(n).with_rcode(NXDOMAIN)));
    assert_eq!(diagnosis.findings[0].count, 6);
}

#[test]
fn the_longest_part_of_the_latency_gives_the_code() {
    let code = |ms, read_ms, queue_ms, taken_ms, upstream_ms| {
        let all = (0..4).flat_map(|n| {
            let asked = client(n * SECOND, "a.example.", n as u16).taking(ms, read_ms);
            let end = server_end(&asked, queue_ms, taken_ms);
            [upstream(&end, queue_ms, upstream_ms), end, asked]
        });
        found(&diagnose(all))
    };
    assert_eq!(code(300, 280, 1, 5, 2), ["slow-client of shop/cart"]);
    assert_eq!(code(300, 0, 280, 5, 2), ["slow-server-queue of shop/cart"]);
    assert_eq!(code(300, 0, 1, 290, 2), ["slow-server of shop/cart"]);
    assert_eq!(code(300, 0, 1, 290, 280), ["slow-upstream of shop/cart"]);
    assert_eq!(code(300, 0, 1, 5, 2), ["slow-network of shop/cart"]);
    assert_eq!(code(99, 0, 1, 5, 2), Vec::<String>::new());
}

#[test]
fn servers_elsewhere_are_told_apart_by_the_translation() {
    let asked = |n: u64| {
        let mut asked = client(n * 50 * MS, "a.example.", n as u16);
        asked.query.client.set_port(20_000 + n as u16);
        let to = backend(if n.is_multiple_of(10) { 3 } else { 2 });
        asked.translated =
            Some(crate::engine::Tuple { source: asked.query.client, destination: to });
        asked
    };
    let diagnosis = diagnose((0..200).map(asked));
    assert_eq!(found(&diagnosis), ["uneven-backends of shop/cart"]);
    assert_eq!(diagnosis.findings[0].items[0].what, "backend 10.244.0.2:53");
    let even = (0..200).map(|n| {
        let mut even = asked(n);
        even.translated.as_mut().unwrap().destination = backend(2 + (n % 2) as u8);
        even
    });
    assert_eq!(found(&diagnose(even)), Vec::<String>::new());
}

#[test]
fn a_server_elsewhere_is_not_told_apart_from_the_way_to_it() {
    let slow = |n: u64| client(n * SECOND, "a.example.", n as u16).taking(300, 1);
    assert_eq!(found(&diagnose((0..3).map(slow))), ["slow-unlocated of shop/cart"]);
    assert_eq!(found(&diagnose((0..2).map(slow))), Vec::<String>::new());
    let rare = (0..400).map(|n| if n < 3 { slow(n) } else { client(n * SECOND, "a.example.", 1) });
    assert_eq!(found(&diagnose(rare)), Vec::<String>::new());
}

#[test]
fn an_answer_under_another_name_is_suspect() {
    let mut wrong = client(0, "www.example.com.", 1);
    let other =
        Record { name: "db.shop.svc.cluster.local.".parse().unwrap(), rtype: crate::dns::QType::A };
    wrong.answer = Some(other.clone());
    assert_eq!(found(&diagnose([wrong.clone()])), ["autopath-suspect of shop/cart"]);
    // No answer, but the authority of the zone.
    wrong.answer = Some(Record { rtype: crate::dns::QType(6), ..other });
    assert_eq!(found(&diagnose([wrong])), Vec::<String>::new());
}

#[test]
fn the_same_question_to_two_servers_at_once_is_parallel() {
    let to = |server, sent_ns| {
        let mut asked = client(sent_ns, "a.example.", 7);
        asked.query.server = server;
        asked
    };
    assert_eq!(
        found(&diagnose([to(service(), 0), to(backend(9), MS / 10)])),
        ["parallel-nameservers of shop/cart"]
    );
    assert_eq!(
        found(&diagnose([to(service(), 0), to(backend(9), 5 * SECOND)])),
        Vec::<String>::new()
    );
    assert_eq!(found(&diagnose([to(service(), 0), to(service(), MS / 10)])), Vec::<String>::new());
}

#[test]
fn pods_that_pass_a_local_cache_by_are_named() {
    let cache: std::net::SocketAddr = "169.254.20.10:53".parse().unwrap();
    let all = (0..5).flat_map(|n| {
        let mut local = client(n * SECOND, "a.example.", 1);
        local.owner = pod("good");
        local.query.server = cache;
        let mut end = server_end(&local, 0, 1);
        end.owner = Arc::new(Owner::Host { name: "node-cache".into() });
        end.query.server = cache;
        let direct = client(n * SECOND, "a.example.", 2);
        [end, local, server_end(&direct, 0, 1), direct]
    });
    assert_eq!(found(&diagnose(all)), ["nodelocal-bypassed of shop/cart"]);
}

#[test]
fn a_server_that_was_replaced_came_and_went_but_two_in_turn_did_not() {
    let with = |pids: &[u32]| {
        let all = (0..).zip(pids).map(|(n, pid)| {
            let mut end = server_end(&client(n * SECOND, "a.example.", n as u16), 0, 1);
            end.query.pid = Some(*pid);
            end
        });
        found(&diagnose(all.collect::<Vec<_>>()))
    };
    assert_eq!(with(&[1, 1, 1, 1, 1, 2, 2, 2, 2, 2]), ["server-restarting of shop/coredns"]);
    assert_eq!(with(&[1, 1, 1, 1, 1, 2, 2, 2, 2]), Vec::<String>::new());
    assert_eq!(with(&[1, 2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]), Vec::<String>::new());
}

#[test]
fn a_truncated_answer_wants_tcp() {
    let mut short = client(0, "big.example.", 1);
    short.truncated = true;
    let mut over_tcp = client(SECOND, "big.example.", 2);
    over_tcp.query.transport = dnsprobe_common::flow::Transport::Tcp;
    let later = client(9 * SECOND, "a.example.", 3);
    assert_eq!(found(&diagnose([short.clone(), later.clone()])), ["truncated-no-tcp of shop/cart"]);
    assert_eq!(found(&diagnose([short, over_tcp, later])), Vec::<String>::new());
}

#[test]
fn only_the_pods_asked_for_are_spoken_of() {
    let options = Options {
        slow_after: Duration::from_millis(100),
        cluster_domain: None,
        ipvs_udp_timeout: Duration::from_secs(300),
    };
    let mut findings = Findings::new(options, Box::new(|owner| owner.to_string() == "shop/other"));
    findings.transaction(&client(0, "a.example.", 1).with_rcode(SERVFAIL));
    let mut other = client(0, "a.example.", 1).with_rcode(SERVFAIL);
    other.owner = pod("other");
    findings.transaction(&other);
    let diagnosis = findings.finish(&snapshot(2, 2));
    assert_eq!(found(&diagnosis), ["servfail of shop/other"]);
    assert_eq!(diagnosis.queries, 0);
}

fn any_transaction() -> impl Strategy<Value = Transaction> {
    let names = prop::sample::select(vec![
        "a.",
        "www.example.com.",
        "www.example.com.shop.svc.cluster.local.",
        "cart.shop.svc.cluster.local.",
        "svc.cluster.local.",
        "cluster.local.",
        ".",
    ]);
    (0..20 * SECOND, names, 0..4_u16, 0..6_u8, any::<bool>(), 1..500_u64, 0..3_u32).prop_map(
        |(sent, name, id, rcode, is_server, ms, pid)| {
            let mut all = client(sent, name, id).taking(ms, ms / 3).with_rcode(rcode);
            all.query.pid = Some(pid).filter(|pid| *pid > 0);
            all.truncated = ms % 7 == 0;
            if is_server {
                all.role = Role::Server;
                all.parts =
                    Parts::Server { query_read_seconds: Some(0.1), answered_seconds: Some(0.2) };
            }
            all
        },
    )
}

proptest! {
    #[test]
    fn any_transactions_are_taken_and_no_count_exceeds_them(
        all in prop::collection::vec(any_transaction(), 0..200)
    ) {
        let total = all.len() as u64;
        let diagnosis = diagnose(all);
        for finding in &diagnosis.findings {
            prop_assert!(finding.count <= total);
            prop_assert_eq!(finding.count, finding.pods.iter().map(|pod| pod.count).sum::<u64>());
            prop_assert!(finding.first <= finding.last);
        }
        prop_assert_eq!(diagnosis.fault, diagnosis.findings.iter().any(|f| f.fault));
        prop_assert!(diagnosis.findings.windows(2).all(|two| two[0].harm <= two[1].harm));
    }
}

#[test]
fn the_latest_moment_never_goes_back() {
    let mut findings = findings();
    findings.tick(at(5 * SECOND));
    findings.tick(at(SECOND));
    assert_eq!(findings.now_ns, at(5 * SECOND).unix_ns());
}
