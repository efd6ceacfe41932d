//! The kernel's own counters of lost packets: what a scenario compares the
//! clients' losses with, to be sure that the fault is the one it meant.

use anyhow::{Context, Result};

use super::shell::Namespace;

/// One protocol counter (`Udp`, `InCsumErrors`; `TcpExt`,
/// `IPReversePathFilter`) of a namespace.
pub fn protocol(namespace: &Namespace, group: &str, name: &str) -> Result<u64> {
    let text = namespace.run("cat /proc/net/snmp /proc/net/netstat")?;
    parse_protocol(&text, group, name)
        .with_context(|| format!("the kernel has no counter {group} {name}"))
}

fn parse_protocol(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "));
    let (names, values) = (rows.next()?, rows.next()?);
    let column = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(column)?.parse().ok()
}

/// Packets dropped because a processor's backlog was full, on all processors.
pub fn backlog_dropped() -> Result<u64> {
    Ok(parse_softnet(&Namespace::Own.run("cat /proc/net/softnet_stat")?))
}

fn parse_softnet(text: &str) -> u64 {
    text.lines()
        .filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok())
        .sum()
}

/// Packets dropped by the queueing disciplines of a device.
pub fn qdisc_dropped(namespace: &Namespace, device: &str) -> Result<u64> {
    Ok(parse_dropped(&namespace.run(&format!("tc -s qdisc show dev {device}"))?))
}

/// Packets dropped by the filters at a device's `ingress` or `egress`.
pub fn filter_dropped(namespace: &Namespace, device: &str, side: &str) -> Result<u64> {
    Ok(parse_dropped(&namespace.run(&format!("tc -s filter show dev {device} {side}"))?))
}

/// Sum of the numbers behind `(dropped`.
fn parse_dropped(text: &str) -> u64 {
    text.split("(dropped ")
        .skip(1)
        .filter_map(|rest| rest.split(',').next()?.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_the_name_above_it() {
        let text = "Ip: Forwarding OutNoRoutes\nIp: 1 7\nUdp: InDatagrams NoPorts\nUdp: 5 3\n\
                    UdpLite: NoPorts\nUdpLite: 9\n";
        assert_eq!(parse_protocol(text, "Udp", "NoPorts"), Some(3));
        assert_eq!(parse_protocol(text, "Ip", "OutNoRoutes"), Some(7));
        assert_eq!(parse_protocol(text, "Ip", "NoPorts"), None);
    }

    #[test]
    fn the_second_column_of_every_processor_counts_drops() {
        assert_eq!(parse_softnet("00000010 0000000a 0\n00000001 00000001 0\n"), 11);
    }

    #[test]
    fn drops_of_all_queues_are_summed() {
        let text = "qdisc tbf 1: root\n Sent 9 bytes 1 pkt (dropped 12, overlimits 3 requeues 0)\n\
                    qdisc clsact\n Sent 0 bytes 0 pkt (dropped 1, overlimits 0 requeues 0)\n";
        assert_eq!(parse_dropped(text), 13);
    }
}
