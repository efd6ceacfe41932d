//! The node's settings and state, for the check of its set-up.

use std::{fs, io, net::UdpSocket};

use super::{Counters, Services, sockopt::getsockopt};
use crate::setup::{Conntrack, DnsService, Ipvs, Network, NodeFacts, Sysctl, Unread};

const DNS_PORT: u16 = 53;

/// Reads everything but the owners of conntrack entries. What exists and
/// cannot be read is added to `unread`.
#[must_use]
pub fn node_facts(services: &Services, unread: &mut Vec<Unread>) -> NodeFacts {
    let counters = Counters::read();
    NodeFacts {
        release: release(),
        sysctls: Sysctl::ALL
            .into_iter()
            .filter_map(|sysctl| Some((sysctl, read(sysctl, unread)?)))
            .collect(),
        conntrack: Conntrack {
            entries: counters.conntrack.entries,
            dropped: counters.conntrack.drop,
            early_dropped: counters.conntrack.early_drop,
            owners: Vec::new(),
            others: None,
        },
        ipvs: ipvs(services, unread),
        network: Network {
            backlog_dropped: counters.softnet.dropped,
            receive_buffer_errors: counters
                .udp
                .rcvbuf_errors
                .zip(counters.udp6.rcvbuf_errors)
                .map(|(v4, v6)| v4.saturating_add(v6)),
        },
    }
}

/// The running kernel's release.
#[must_use]
pub fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}

/// `None` also where this kernel has no such setting.
fn read(sysctl: Sysctl, unread: &mut Vec<Unread>) -> Option<u64> {
    let path = format!("/proc/sys/{}", sysctl.name().replace('.', "/"));
    let reason = match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse() {
            Ok(value) => return Some(value),
            Err(error) => error.to_string(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => error.to_string(),
    };
    unread.push(Unread { what: path, reason });
    None
}

fn ipvs(services: &Services, unread: &mut Vec<Unread>) -> Ipvs {
    let dns_services: Vec<DnsService> = services
        .ipvs_services(DNS_PORT)
        .into_iter()
        .map(|(address, backends)| DnsService {
            address,
            backends: backends.iter().map(|backend| (backend.address, backend.weight)).collect(),
        })
        .collect();
    let udp_timeout_seconds = if dns_services.is_empty() {
        None
    } else {
        let timeout = ipvs_udp_timeout();
        timeout
            .map_err(|error| {
                let what = "IPVS UDP timeout".to_owned();
                unread.push(Unread { what, reason: error.to_string() });
            })
            .ok()
    };
    Ipvs { dns_services, udp_timeout_seconds }
}

/// `IP_VS_SO_GET_TIMEOUT` (include/uapi/linux/ip_vs.h): three numbers, the last
/// for UDP.
fn ipvs_udp_timeout() -> io::Result<u64> {
    const IP_VS_SO_GET_TIMEOUT: i32 = 64 + 1024 + 64 + 6;
    let mut answer = [0; 12];
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    getsockopt(&socket, libc::IPPROTO_IP, IP_VS_SO_GET_TIMEOUT, &mut answer)?;
    let [.., a, b, c, d] = answer;
    Ok(u64::from(u32::from_ne_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_release_and_a_receive_buffer() {
        let mut unread = Vec::new();
        let facts = node_facts(&Services::default(), &mut unread);
        assert!(facts.release.contains('.'), "{}", facts.release);
        assert!(facts.sysctl(Sysctl::RmemMax).is_some(), "{unread:?}");
        assert_eq!(facts.ipvs, Ipvs::default());
    }
}
