//! The sums and their conservation law, over made-up readings.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use dnsprobe_common::{
    flow::{Role, v4_mapped},
    stats::{Stats, StatsKey},
};
use proptest::prelude::*;

use super::{
    AggregateChanges, Completeness, PodStats, Snapshot,
    testing::{EMPTY_STATS, stats},
};
use crate::{
    engine::Cause,
    identity::{Identify, Owner, OwnerKey, PodDetails, UnattributedReason},
    time::Timestamp,
};

/// Names pods after their cgroup number; cgroup 0 is nobody.
struct ByCgroup;

impl Identify for ByCgroup {
    fn owner(&mut self, key: OwnerKey) -> Arc<Owner> {
        pod(key.cgroup)
    }
}

fn pod(cgroup: u64) -> Arc<Owner> {
    Arc::new(if cgroup == 0 {
        Owner::Unattributed { reason: UnattributedReason::NoCgroup }
    } else {
        Owner::Pod {
            namespace: Some("shop".into()),
            pod: Some(format!("cart-{cgroup}")),
            container: None,
            uid: format!("u{cgroup}"),
            details: PodDetails::default(),
        }
    })
}

fn container(name: Option<&str>, id: &str) -> Arc<Owner> {
    Arc::new(Owner::Pod {
        namespace: name.map(|_| "shop".into()),
        pod: name.map(str::to_owned),
        container: Some(id.to_owned()),
        uid: "u".into(),
        details: PodDetails::default(),
    })
}

fn key(cgroup: u64, server: u8) -> StatsKey {
    StatsKey {
        cgroup,
        server: v4_mapped(u32::from_ne_bytes([10, 96, 0, server])),
        server_port: 53,
        ..StatsKey::default()
    }
}

fn server(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 96, 0, last], 53))
}

fn snapshot(stats: &mut PodStats) -> Snapshot {
    snapshot_after(10, stats)
}

/// The window of a second that ends so many seconds after the start.
fn snapshot_after(seconds: u64, stats: &mut PodStats) -> Snapshot {
    let time = Timestamp(SystemTime::UNIX_EPOCH);
    let since = Duration::from_secs(seconds);
    stats.snapshot(time, Duration::from_secs(1), since, Completeness::default())
}

fn boxed(readings: &[(StatsKey, Stats)]) -> AggregateChanges {
    let changed = readings.iter().map(|(key, stats)| (*key, Box::new(*stats))).collect();
    AggregateChanges { changed, given_back: Vec::new() }
}

#[test]
fn windows_hold_differences_and_totals_everything() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(4, 3))]), &mut ByCgroup);
    let first = snapshot(&mut sums);
    sums.read(boxed(&[(key(1, 10), stats(10, 9))]), &mut ByCgroup);
    sums.lost(&pod(1), Role::Client, server(10), Cause::ConntrackClash);
    let second = snapshot(&mut sums);

    let (first, second) = (&first.pods[0], &second.pods[0]);
    assert_eq!((first.window.queries, first.window.in_flight), (4, 1));
    assert_eq!((second.window.queries, second.window.answered), (6, 6));
    assert_eq!(second.window.queries_per_second, 6.0);
    assert_eq!((second.total.queries, second.total.answered), (10, 9));
    assert_eq!(second.total.queries_per_second, 1.0);
    assert_eq!(second.total.lost_total, 1);
    assert_eq!(second.window.rcodes.get("NOERROR"), Some(&6));
    assert_eq!(second.window.latency_seconds.map(|latency| latency.count), Some(6));
    for counts in [&first.window, &first.total, &second.window, &second.total] {
        assert_eq!(counts.unaccounted(), 0, "{counts:?}");
    }
}

#[test]
fn after_hooks_were_planned_anew_nothing_counts_twice_and_nothing_stays_in_flight() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(10, 7))]), &mut ByCgroup);
    sums.lost(&pod(1), Role::Client, server(10), Cause::ConntrackClash);
    snapshot(&mut sums);
    sums.begin_anew();
    sums.read(boxed(&[(key(1, 10), stats(12, 11))]), &mut ByCgroup);
    let pod = &snapshot(&mut sums).pods[0];
    // Two were in flight when the old hooks took no more queries.
    let total = &pod.total;
    assert_eq!((total.queries, total.answered, total.not_followed), (22, 18, 2));
    assert_eq!((total.in_flight, pod.window.queries, pod.window.not_followed), (1, 12, 2));
    let at_server = &pod.servers[0].total;
    assert_eq!((at_server.queries, at_server.not_followed, at_server.in_flight), (22, 2, 1));
    for counts in [total, &pod.window, at_server] {
        assert_eq!(counts.unaccounted(), 0, "{counts:?}");
    }
}

#[test]
fn an_aggregate_that_started_anew_counts_whole_and_keeps_what_it_had() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(10, 10))]), &mut ByCgroup);
    snapshot(&mut sums);
    sums.read(boxed(&[(key(1, 10), stats(3, 3))]), &mut ByCgroup);
    let pod = &snapshot(&mut sums).pods[0];
    assert_eq!((pod.window.queries, pod.window.answered), (3, 3));
    assert_eq!((pod.total.queries, pod.total.unaccounted()), (13, 0));
}

#[test]
fn an_aggregate_that_readings_do_not_name_is_as_it_was() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(10, 10))]), &mut ByCgroup);
    for _ in 0..20 {
        sums.read(boxed(&[]), &mut ByCgroup);
    }
    sums.read(boxed(&[(key(1, 10), stats(11, 11))]), &mut ByCgroup);
    assert_eq!(snapshot(&mut sums).pods[0].total.queries, 11);
}

#[test]
fn an_aggregate_given_back_begins_at_nothing_and_its_owner_keeps_what_it_had() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(10, 10))]), &mut ByCgroup);
    let given_back = vec![key(1, 10)];
    sums.read(AggregateChanges { given_back, ..Default::default() }, &mut ByCgroup);
    sums.read(boxed(&[(key(1, 10), stats(11, 11))]), &mut ByCgroup);
    let pod = &snapshot(&mut sums).pods[0];
    assert_eq!((pod.total.queries, pod.total.unaccounted()), (21, 0));
    assert_eq!(pod.total.latency_seconds.unwrap().count, 21);
}

#[test]
fn an_answer_taken_back_is_uncounted_and_a_window_never_negative() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(1, 1))]), &mut ByCgroup);
    snapshot(&mut sums);
    sums.read(boxed(&[(key(1, 10), stats(1, 0))]), &mut ByCgroup);
    sums.lost(&pod(1), Role::Client, server(10), Cause::SocketBufferFull);
    let pod = &snapshot(&mut sums).pods[0];
    assert_eq!((pod.window.answered, pod.window.latency_seconds), (0, None));
    assert_eq!((pod.total.answered, pod.total.unaccounted()), (0, 0));
    assert!(pod.total.rcodes.is_empty());
}

#[test]
fn servers_are_told_apart_and_ordered_by_queries() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(1, 10), stats(1, 1)), (key(1, 11), stats(5, 4))]), &mut ByCgroup);
    sums.lost(&pod(1), Role::Client, server(11), Cause::RemoteSilence);
    let pod = &snapshot(&mut sums).pods[0];
    assert_eq!(pod.total.queries, 6);
    assert_eq!(pod.servers[0].server, server(11));
    assert_eq!(pod.servers[0].total.unaccounted(), 0);
    assert_eq!(pod.servers[1].total.queries, 1);
}

#[test]
fn a_pod_that_asks_many_servers_keeps_its_sum() {
    let mut sums = PodStats::new();
    let readings: Vec<_> = (0..100).map(|n| (key(1, n), stats(1, 1))).collect();
    sums.read(boxed(&readings), &mut ByCgroup);
    let pod = &snapshot(&mut sums).pods[0];
    assert_eq!((pod.total.queries, pod.servers.len()), (100, 16));
}

#[test]
fn a_pods_containers_are_one_row_that_names_a_container_only_if_it_is_the_only_one() {
    let mut sums = PodStats::new();
    sums.add_query(&container(None, "aa"), Role::Client, server(10));
    sums.add_query(&container(Some("cart-0"), "aa"), Role::Client, server(10));
    let one = snapshot(&mut sums);
    assert_eq!(one.pods.len(), 1);
    let Owner::Pod { pod, container: id, .. } = &*one.pods[0].owner else { panic!() };
    assert_eq!((pod.as_deref(), id.as_deref()), (Some("cart-0"), Some("aa")));
    sums.add_query(&container(Some("cart-0"), "bb"), Role::Client, server(10));
    sums.add_query(&container(Some("cart-0"), "aa"), Role::Client, server(10));
    let two = snapshot(&mut sums);
    let Owner::Pod { container: id, .. } = &*two.pods[0].owner else { panic!() };
    assert_eq!((id, two.pods[0].total.queries), (&None, 4));
}

#[test]
fn owners_beyond_the_cap_are_counted_as_unattributed() {
    let mut sums = PodStats::with_owners(20);
    for cgroup in 1..=30 {
        sums.add_query(&pod(cgroup), Role::Client, server(10));
    }
    let full = snapshot(&mut sums);
    assert_eq!(full.pods.iter().map(|pod| pod.total.queries).sum::<u64>(), 30);
    assert_eq!(full.completeness.unattributed_queries, 10);
    snapshot_after(20, &mut sums);
    sums.add_query(&pod(50), Role::Client, server(10));
    let soon = snapshot_after(21, &mut sums);
    assert_eq!(soon.completeness.unattributed_queries, 11);
    sums.add_query(&pod(50), Role::Client, server(10));
    assert!(snapshot(&mut sums).pods.iter().any(|row| row.owner == pod(50)));
}

#[test]
fn where_there_are_many_owners_those_that_were_idle_long_are_forgotten() {
    let mut sums = PodStats::new();
    for cgroup in 1..=600 {
        sums.add_query(&pod(cgroup), Role::Client, server(10));
    }
    assert_eq!(snapshot_after(60, &mut sums).pods.len(), 600);
    sums.add_query(&pod(601), Role::Client, server(10));
    assert_eq!(snapshot_after(61, &mut sums).pods.len(), 601);
    for cgroup in 602..=800 {
        sums.add_query(&pod(cgroup), Role::Client, server(10));
    }
    let later = snapshot_after(62, &mut sums);
    assert_eq!(later.pods.len(), 601);
    assert_eq!(later.completeness.unattributed_queries, 0);
}

#[test]
fn unattributed_queries_are_part_of_completeness() {
    let mut sums = PodStats::new();
    sums.read(boxed(&[(key(0, 10), stats(7, 7)), (key(1, 10), stats(1, 1))]), &mut ByCgroup);
    assert_eq!(snapshot(&mut sums).completeness.unattributed_queries, 7);
}

#[test]
fn roles_are_rows_of_their_own() {
    let mut sums = PodStats::new();
    let as_server = StatsKey { role: Role::Server as u8, ..key(1, 10) };
    sums.read(boxed(&[(as_server, stats(2, 2)), (key(1, 10), stats(1, 1))]), &mut ByCgroup);
    let pods = snapshot(&mut sums).pods;
    let rows: Vec<_> = pods.iter().map(|pod| (pod.role, pod.total.queries)).collect();
    assert_eq!(rows, [(Role::Client, 1), (Role::Server, 2)]);
}

#[test]
fn ipv6_servers_are_printed_in_brackets_and_absent_latency_is_null() {
    let mut sums = PodStats::new();
    let v6 =
        StatsKey { server: [0xfd00_u32.rotate_left(16).to_be(), 0, 0, 5_u32.to_be()], ..key(1, 0) };
    sums.read(boxed(&[(v6, Stats { queries: 1, ..EMPTY_STATS })]), &mut ByCgroup);
    let json = serde_json::to_value(snapshot(&mut sums)).unwrap();
    assert_eq!(json["time"], "1970-01-01T00:00:00.000000Z");
    let pod = &json["pods"][0];
    assert_eq!(pod["servers"][0]["server"], "[fd00::5]:53");
    assert_eq!(pod["role"], "client");
    assert!(pod["total"]["latency_seconds"].is_null());
    let keys: Vec<_> = pod["total"].as_object().unwrap().keys().cloned().collect();
    let mut expected = [
        "queries",
        "answered",
        "lost",
        "lost_total",
        "near_misses",
        "in_flight",
        "not_followed",
        "queries_per_second",
        "rcodes",
        "latency_seconds",
        "read_delay_seconds",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

proptest! {
    /// Whatever order readings and verdicts come in, the books balance.
    #[test]
    fn the_conservation_law_holds_for_every_window_and_total(
        steps in prop::collection::vec((0_u64..5, 0_u64..5, 0_u64..3, 0_u64..3), 1..20)
    ) {
        let mut sums = PodStats::new();
        let (mut sent, mut answered, mut lost, mut skipped) = (0, 0, 0, 0);
        for (new, may_answer, may_lose, may_skip) in steps {
            sent += new;
            let waiting = |answered, lost, skipped| sent - answered - lost - skipped;
            answered += may_answer.min(waiting(answered, lost, skipped));
            let losing = may_lose.min(waiting(answered, lost, skipped));
            lost += losing;
            skipped += may_skip.min(waiting(answered, lost, skipped));
            for _ in 0..losing {
                sums.lost(&pod(1), Role::Client, server(10), Cause::Unexplained);
            }
            let reading = Stats { not_followed: skipped, ..stats(sent, answered as usize) };
            sums.read(boxed(&[(key(1, 10), reading)]), &mut ByCgroup);
            let left = waiting(answered, lost, skipped);
            for row in snapshot(&mut sums).pods {
                prop_assert_eq!(row.total.in_flight, left);
                prop_assert_eq!(row.window.unaccounted(), 0);
                prop_assert_eq!(row.total.unaccounted(), 0);
                prop_assert!(row.servers.iter().all(|server| server.total.unaccounted() == 0));
            }
        }
    }
}
