//! Code `node-config`: the node's settings, its conntrack table, its IPVS
//! services, its kernel.

use super::{
    NodeFacts, Sysctl,
    finding::{Finding, Place, Problem, Proof, Severity},
    kernel_bugs,
};

/// From this share of the conntrack table on, a burst may fill it.
const NEARLY_FULL_PERCENT: u64 = 80;
/// From this share on, it is full in a moment.
const FULL_PERCENT: u64 = 95;
/// Entries per bucket above which look-ups walk long chains. The kernel's own
/// ratio is 1, or 4 before 5.15.
const ENTRIES_PER_BUCKET: u64 = 8;
/// Resolvers wait five seconds, twice.
const UDP_TIMEOUT_MIN_SECONDS: u64 = 10;
/// Twice the kernel's defaults of 30 and 120 seconds.
const UDP_TIMEOUT_MAX_SECONDS: u64 = 60;
const UDP_TIMEOUT_STREAM_MAX_SECONDS: u64 = 240;
/// Longer than any resolver waits, far shorter than IPVS' default of 300.
const IPVS_UDP_TIMEOUT_MAX_SECONDS: u64 = 60;
/// `SK_RMEM_MAX` on 64-bit kernels (include/net/sock.h).
const RMEM_DEFAULT: u64 = 212_992;
/// net/core/hotdata.c; net/core/dev.c before 6.9.
const NETDEV_MAX_BACKLOG: u64 = 1000;
/// `rp_filter` 1 is strict, 2 is loose (Documentation/networking/ip-sysctl).
const STRICT: u64 = 1;
/// Owners of entries that a finding names.
const NAMED_OWNERS: usize = 3;

pub(super) fn judge(node: &NodeFacts) -> Vec<Finding> {
    let mut findings = conntrack(node);
    findings.extend(udp_timeouts(node));
    findings.extend(ipvs(node));
    findings.extend(buffers(node));
    findings.extend(kernel_bugs::judge(node));
    findings
}

fn on_node(problem: Problem, summary: String, proof: Vec<Proof>) -> Finding {
    Finding::new(problem, Place::NODE, summary, proof)
}

fn setting(sysctl: Sysctl, value: u64) -> Proof {
    Proof::new(sysctl.name(), value.to_string())
}

fn conntrack(node: &NodeFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let max = node.sysctl(Sysctl::ConntrackMax).filter(|max| *max > 0);
    if let (Some(entries), Some(max)) = (node.conntrack.entries, max) {
        let percent = entries.saturating_mul(100) / max;
        if percent >= NEARLY_FULL_PERCENT {
            let owners: Vec<String> = node
                .conntrack
                .owners
                .iter()
                .take(NAMED_OWNERS)
                .map(|(owner, count)| format!("{owner} {count}"))
                .collect();
            let mut proof = vec![
                Proof::new("net.netfilter.nf_conntrack_count", entries.to_string()),
                setting(Sysctl::ConntrackMax, max),
            ];
            if !owners.is_empty() {
                proof.push(Proof::new("most entries", owners.join(", ")));
            }
            let summary = format!("the conntrack table is {percent} % full");
            let mut finding = on_node(Problem::ConntrackNearlyFull, summary, proof);
            if percent < FULL_PERCENT {
                finding.severity = Severity::Warning;
            }
            findings.push(finding);
        }
    }
    if let (Some(buckets), Some(max)) = (node.sysctl(Sysctl::ConntrackBuckets), max)
        && max / ENTRIES_PER_BUCKET > buckets
    {
        findings.push(on_node(
            Problem::ConntrackFewBuckets,
            format!(
                "a full conntrack table would have {} entries per bucket",
                max / buckets.max(1)
            ),
            vec![setting(Sysctl::ConntrackBuckets, buckets), setting(Sysctl::ConntrackMax, max)],
        ));
    }
    let (dropped, early) =
        (node.conntrack.dropped.unwrap_or(0), node.conntrack.early_dropped.unwrap_or(0));
    if dropped > 0 || early > 0 {
        findings.push(on_node(
            Problem::ConntrackLosses,
            "conntrack has dropped packets or entries since it was loaded".to_owned(),
            vec![
                Proof::new("conntrack statistics, drop", dropped.to_string()),
                Proof::new("conntrack statistics, early_drop", early.to_string()),
            ],
        ));
    }
    findings
}

fn udp_timeouts(node: &NodeFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (sysctl, longest) in [
        (Sysctl::UdpTimeout, UDP_TIMEOUT_MAX_SECONDS),
        (Sysctl::UdpTimeoutStream, UDP_TIMEOUT_STREAM_MAX_SECONDS),
    ] {
        let Some(seconds) = node.sysctl(sysctl) else { continue };
        let proof = vec![setting(sysctl, seconds)];
        if seconds < UDP_TIMEOUT_MIN_SECONDS {
            let summary = format!("conntrack forgets a UDP flow after {seconds} s");
            findings.push(on_node(Problem::UdpTimeoutShort, summary, proof));
        } else if seconds > longest {
            let summary = format!("conntrack keeps a UDP flow for {seconds} s");
            findings.push(on_node(Problem::UdpTimeoutLong, summary, proof));
        }
    }
    findings
}

fn ipvs(node: &NodeFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for service in &node.ipvs.dns_services {
        let listed: Vec<String> = service
            .backends
            .iter()
            .map(|(address, weight)| {
                let weight = weight.map_or_else(|| "?".to_owned(), |weight| weight.to_string());
                format!("{address} weight {weight}")
            })
            .collect();
        let proof = || vec![Proof::new("/proc/net/ip_vs", listed.join(", "))];
        let quiescent = |(_, weight): &&(_, Option<i32>)| *weight == Some(0);
        let resting = service.backends.iter().filter(quiescent).count();
        if resting == service.backends.len() {
            let summary = format!("the IPVS service {} has no usable backend", service.address);
            findings.push(on_node(Problem::IpvsNoBackend, summary, proof()));
        } else if resting > 0 {
            let summary = format!("the IPVS service {} has a backend of weight 0", service.address);
            findings.push(on_node(Problem::IpvsQuiescentBackend, summary, proof()));
        }
    }
    if node.ipvs.dns_services.is_empty() {
        return findings;
    }
    if let Some(0) = node.sysctl(Sysctl::IpvsExpireNodest) {
        findings.push(on_node(
            Problem::IpvsKeepsGoneBackends,
            "IPVS keeps connections to DNS pods that are gone".to_owned(),
            vec![setting(Sysctl::IpvsExpireNodest, 0)],
        ));
    }
    if let Some(seconds) = node.ipvs.udp_timeout_seconds
        && seconds > IPVS_UDP_TIMEOUT_MAX_SECONDS
    {
        findings.push(on_node(
            Problem::IpvsUdpTimeoutLong,
            format!("IPVS keeps a UDP connection for {seconds} s"),
            vec![Proof::new("IPVS UDP timeout", seconds.to_string())],
        ));
    }
    findings
}

fn buffers(node: &NodeFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (sysctl, least, problem, summary) in [
        (
            Sysctl::RmemDefault,
            RMEM_DEFAULT,
            Problem::ReceiveBufferSmall,
            "sockets have less receive buffer than the kernel gives by default",
        ),
        (
            Sysctl::NetdevMaxBacklog,
            NETDEV_MAX_BACKLOG,
            Problem::BacklogSmall,
            "fewer packets may wait for a processor than the kernel allows by default",
        ),
    ] {
        if let Some(value) = node.sysctl(sysctl)
            && value < least
        {
            findings.push(on_node(problem, summary.to_owned(), vec![setting(sysctl, value)]));
        }
    }
    for (count, source, problem, summary) in [
        (
            node.network.backlog_dropped,
            "/proc/net/softnet_stat, dropped",
            Problem::BacklogDropped,
            "packets were dropped because a processor could not keep up",
        ),
        (
            node.network.receive_buffer_errors,
            "/proc/net/snmp, RcvbufErrors",
            Problem::ReceiveBufferErrors,
            "sockets of the node had no room for packets",
        ),
    ] {
        if let Some(count) = count.filter(|count| *count > 0) {
            let proof = vec![Proof::new(source, count.to_string())];
            findings.push(on_node(problem, summary.to_owned(), proof));
        }
    }
    if node.sysctl(Sysctl::RpFilterAll) == Some(STRICT) {
        findings.push(on_node(
            Problem::StrictReversePath,
            "the reverse-path filter is strict on every device".to_owned(),
            vec![setting(Sysctl::RpFilterAll, STRICT)],
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        identity::Owner,
        setup::testing::{healthy_node, ipvs_node},
    };

    fn problems(node: &NodeFacts) -> Vec<(Problem, Severity)> {
        judge(node).iter().map(|finding| (finding.problem, finding.severity)).collect()
    }

    fn set(node: &mut NodeFacts, sysctl: Sysctl, value: u64) {
        node.sysctls.retain(|(known, _)| *known != sysctl);
        node.sysctls.push((sysctl, value));
    }

    #[test]
    fn the_kernels_own_settings_are_no_finding() {
        assert_eq!(problems(&healthy_node()), []);
        assert_eq!(problems(&ipvs_node()), []);
        // Nothing known, nothing found.
        assert_eq!(problems(&NodeFacts::default()), []);
    }

    #[test]
    fn a_nearly_full_table_names_who_fills_it() {
        let mut node = healthy_node();
        set(&mut node, Sysctl::ConntrackMax, 1000);
        node.conntrack.entries = Some(799);
        assert_eq!(problems(&node), []);
        node.conntrack.entries = Some(800);
        node.conntrack.owners = vec![(Arc::new(Owner::Host { name: "a.service".into() }), 700)];
        assert_eq!(problems(&node), [(Problem::ConntrackNearlyFull, Severity::Warning)]);
        assert_eq!(judge(&node)[0].proof[2].value, "host/a.service 700");
        node.conntrack.entries = Some(950);
        assert_eq!(problems(&node), [(Problem::ConntrackNearlyFull, Severity::Critical)]);
    }

    #[test]
    fn settings_beyond_their_bounds_are_found_one_by_one() {
        for (sysctl, value, problem) in [
            (Sysctl::ConntrackBuckets, 16_384, Problem::ConntrackFewBuckets),
            (Sysctl::UdpTimeout, 5, Problem::UdpTimeoutShort),
            (Sysctl::UdpTimeoutStream, 5, Problem::UdpTimeoutShort),
            (Sysctl::UdpTimeout, 600, Problem::UdpTimeoutLong),
            (Sysctl::UdpTimeoutStream, 600, Problem::UdpTimeoutLong),
            (Sysctl::RmemDefault, 65_536, Problem::ReceiveBufferSmall),
            (Sysctl::NetdevMaxBacklog, 100, Problem::BacklogSmall),
            (Sysctl::RpFilterAll, 1, Problem::StrictReversePath),
        ] {
            let mut node = healthy_node();
            set(&mut node, sysctl, value);
            assert_eq!(problems(&node), [(problem, problem.severity())]);
        }
    }

    #[test]
    fn losses_since_the_start_are_notes() {
        let mut node = healthy_node();
        node.conntrack.dropped = Some(1);
        node.network.backlog_dropped = Some(2);
        node.network.receive_buffer_errors = Some(3);
        assert!(problems(&node).iter().all(|(_, severity)| *severity == Severity::Note));
        assert_eq!(problems(&node).len(), 3);
    }

    #[test]
    fn ipvs_settings_count_only_where_ipvs_serves_dns() {
        let mut node = ipvs_node();
        set(&mut node, Sysctl::IpvsExpireNodest, 0);
        node.ipvs.udp_timeout_seconds = Some(300);
        let found: Vec<_> = problems(&node).into_iter().map(|(problem, _)| problem).collect();
        assert_eq!(found, [Problem::IpvsKeepsGoneBackends, Problem::IpvsUdpTimeoutLong]);
        node.ipvs.dns_services.clear();
        assert_eq!(problems(&node), []);
    }

    #[test]
    fn a_service_whose_backends_all_rest_has_none() {
        let mut node = ipvs_node();
        let second = ("10.244.0.3:53".parse().unwrap(), Some(0));
        node.ipvs.dns_services[0].backends.push(second);
        assert_eq!(problems(&node)[0].0, Problem::IpvsQuiescentBackend);
        node.ipvs.dns_services[0].backends[0].1 = Some(0);
        assert_eq!(problems(&node)[0].0, Problem::IpvsNoBackend);
        node.ipvs.dns_services[0].backends.clear();
        assert_eq!(problems(&node)[0].0, Problem::IpvsNoBackend);
    }
}
