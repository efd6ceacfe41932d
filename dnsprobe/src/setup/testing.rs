//! Facts for tests.

use std::{net::IpAddr, sync::Arc};

use super::{
    Container, DnsService, Ipvs, Library, NodeFacts, Reachability, ResolvConfFile, Sysctl,
};
use crate::{dns::resolv_conf::ResolvConf, identity::Owner};

/// A node as the kernel sets it up, with room in its conntrack table.
pub(super) fn healthy_node() -> NodeFacts {
    let mut node = NodeFacts {
        release: "6.12.0".to_owned(),
        sysctls: vec![
            (Sysctl::ConntrackMax, 262_144),
            (Sysctl::ConntrackBuckets, 262_144),
            (Sysctl::UdpTimeout, 30),
            (Sysctl::UdpTimeoutStream, 120),
            (Sysctl::RmemDefault, 212_992),
            (Sysctl::RmemMax, 212_992),
            (Sysctl::NetdevMaxBacklog, 1000),
            (Sysctl::RpFilterAll, 0),
            (Sysctl::RpFilterDefault, 0),
        ],
        ..NodeFacts::default()
    };
    node.conntrack.entries = Some(100);
    node
}

/// The same with a DNS service in IPVS, set up well.
pub(super) fn ipvs_node() -> NodeFacts {
    let mut node = healthy_node();
    node.sysctls.push((Sysctl::IpvsExpireNodest, 1));
    node.ipvs = Ipvs {
        dns_services: vec![DnsService {
            address: "10.96.0.10:53".parse().unwrap(),
            backends: vec![("10.244.0.2:53".parse().unwrap(), Some(1))],
        }],
        udp_timeout_seconds: Some(10),
    };
    node
}

/// A container of a pod with this name, whose nameservers all have a route.
pub(super) fn container(pod: &str, resolv_conf: &str) -> Container {
    let conf = ResolvConf::parse(resolv_conf.as_bytes());
    let reachability: Vec<(IpAddr, Reachability)> =
        conf.nameservers.iter().map(|server| (server.address, Reachability::Routed)).collect();
    Container {
        owner: Arc::new(Owner::Pod {
            namespace: Some("shop".to_owned()),
            pod: Some(pod.to_owned()),
            container: None,
            uid: format!("uid-{pod}"),
            details: crate::identity::PodDetails::default(),
        }),
        pid: 7,
        resolv_conf: ResolvConfFile::Read(conf),
        library: Some(Library::Glibc(None)),
        reachability,
    }
}
