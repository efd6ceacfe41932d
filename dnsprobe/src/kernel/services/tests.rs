//! Services from what real kernels answered (see `recorded/`).

use proptest::prelude::*;

use super::{Answer, Services, Source, nftables, xtables};
use crate::{
    identity::ServiceFact,
    kernel::netlink::{Message, attribute},
};

const KUBE_PROXY: &[u8] = include_bytes!("recorded/kube-proxy-nftables.bin");
const IPTABLES_NFT: &[u8] = include_bytes!("recorded/iptables-nft.bin");
const IPTABLES: &[u8] = include_bytes!("recorded/iptables-legacy.bin");
const IP6TABLES: &[u8] = include_bytes!("recorded/ip6tables-legacy.bin");

fn nft(recorded: &[u8]) -> Services {
    let nftables = nftables::recorded(recorded).unwrap();
    Services { nftables, ..Services::default() }
}

fn table(recorded: &[u8], is_v6: bool) -> Option<xtables::Table> {
    let number = |at: usize| u32::from_ne_bytes(recorded[at..at + 4].try_into().unwrap());
    let entry_points = [number(0), number(4)].map(|offset| usize::try_from(offset).unwrap());
    xtables::Table::parse(&recorded[8..], entry_points.to_vec(), is_v6).ok()
}

fn legacy() -> Services {
    let tables = vec![table(IPTABLES, false).unwrap(), table(IP6TABLES, true).unwrap()];
    Services { tables, ..Services::default() }
}

fn backends(services: &Services, service: &str) -> Vec<String> {
    let mut found: Vec<String> = services
        .backends(service.parse().unwrap())
        .iter()
        .map(|backend| format!("{} {}", backend.source, backend.address))
        .collect();
    found.sort();
    found
}

fn answer(services: &Services, service: &str, backend: &str) -> Answer {
    let service = (!service.is_empty()).then(|| service.parse().unwrap());
    services.is_target(service, backend.parse().unwrap())
}

#[test]
fn every_way_to_write_a_service_leads_to_its_backends() {
    for (services, source) in
        [(legacy(), "iptables"), (nft(IPTABLES_NFT), "nftables"), (nft(KUBE_PROXY), "nftables")]
    {
        let expected = ["10.244.0.2:53", "10.244.0.3:53"].map(|to| format!("{source} {to}"));
        assert_eq!(backends(&services, "10.96.0.10:53"), expected);
        assert!(backends(&services, "10.96.0.10:54").is_empty());
        assert!(backends(&services, "10.96.0.99:53").is_empty());
        assert_eq!(answer(&services, "10.96.0.10:53", "10.244.0.3:53"), Answer::Yes);
        assert_eq!(answer(&services, "10.96.0.10:53", "10.244.0.4:53"), Answer::No);
        assert_eq!(answer(&services, "", "10.244.0.4:53"), Answer::No);
        assert_eq!(answer(&services, "", "10.244.0.2:53"), Answer::Yes);
    }
}

#[test]
fn ipv6_services_are_read_too() {
    assert_eq!(backends(&legacy(), "[fd00::a]:53"), ["ip6tables [fd00::2]:53"]);
    assert_eq!(backends(&nft(IPTABLES_NFT), "[fd00::a]:53"), ["nftables [fd00::2]:53"]);
    assert_eq!(backends(&nft(KUBE_PROXY), "[fd00::a]:53"), ["nftables [fd00:1::2]:5353"]);
    assert_eq!(answer(&legacy(), "[fd00::a]:53", "[fd00::3]:53"), Answer::No);
    // One family's rules say nothing about the other's packets.
    assert!(backends(&legacy(), "[fd00::b]:53").is_empty());
}

#[test]
fn services_of_kube_proxy_are_told_apart_by_address_port_and_protocol() {
    let services = nft(KUBE_PROXY);
    assert_eq!(backends(&services, "10.96.0.11:53"), ["nftables 10.244.0.3:53"]);
    assert_eq!(answer(&services, "10.96.0.11:53", "10.244.0.2:53"), Answer::No);
    // The same service by node port.
    let node_port = backends(&services, "192.168.77.1:30053");
    assert_eq!(node_port, ["nftables 10.244.0.2:53", "nftables 10.244.0.3:53"]);
}

#[test]
fn ranges_maps_and_inverted_matches_count_as_targets() {
    let services = nft(KUBE_PROXY);
    let mapped = backends(&services, "10.97.3.3:53");
    assert_eq!(mapped, ["nftables 10.244.1.1:53", "nftables 10.244.1.2:53"]);
    for services in [services, legacy()] {
        assert_eq!(answer(&services, "10.99.0.1:53", "10.244.2.9:53"), Answer::Yes);
        assert_eq!(answer(&services, "10.99.0.1:53", "10.244.2.10:53"), Answer::No);
        assert_eq!(answer(&services, "10.99.0.1:53", "10.244.2.9:54"), Answer::No);
    }
    let services = nft(KUBE_PROXY);
    assert_eq!(answer(&services, "192.0.2.1:1053", "10.244.3.1:53"), Answer::Yes);
    assert_eq!(answer(&services, "10.96.0.1:1053", "10.244.3.1:53"), Answer::No);
}

#[test]
fn a_redirection_to_the_node_proves_nothing_about_an_address() {
    for services in [legacy(), nft(KUBE_PROXY), nft(IPTABLES_NFT)] {
        let redirected = answer(&services, "10.98.0.1:53", "10.0.0.1:9053");
        assert!(matches!(redirected, Answer::Unknown(_)), "{redirected:?}");
        assert_eq!(answer(&services, "10.98.0.1:53", "10.0.0.1:53"), Answer::No);
        assert!(backends(&services, "10.98.0.1:53").is_empty());
    }
}

#[test]
fn what_could_not_be_read_is_no_proof() {
    let mut services = legacy();
    services.unreadable.push((Source::Nftables, "no permission".to_owned()));
    assert_eq!(
        answer(&services, "10.96.0.10:53", "10.244.0.4:53"),
        Answer::Unknown("nftables: no permission".to_owned())
    );
    assert_eq!(answer(&services, "10.96.0.10:53", "10.244.0.3:53"), Answer::Yes);
}

#[test]
fn ipvs_real_servers_are_targets_also_with_weight_zero() {
    let ipvs = super::ipvs::parse(
        "UDP  0A60000A:0035 rr\n  -> 0AF40002:0035      Masq    0      0          1\n",
    );
    let services = Services { ipvs, ..Services::default() };
    let service = "10.96.0.10:53".parse().unwrap();
    assert_eq!(services.backends(service)[0].weight, Some(0));
    assert!(services.is_ipvs_service(service));
    assert!(!services.is_ipvs_service("10.96.0.11:53".parse().unwrap()));
    assert_eq!(answer(&services, "10.96.0.10:53", "10.244.0.2:53"), Answer::Yes);
    assert_eq!(answer(&services, "10.96.0.11:53", "10.244.0.2:53"), Answer::No);
}

#[test]
fn this_machines_own_state_can_be_read() {
    let services = Services::read();
    let somewhere = answer(&services, "192.0.2.77:53", "192.0.2.78:53");
    assert!(somewhere != Answer::Yes, "{somewhere:?}");
}

#[test]
fn a_table_cut_inside_an_entry_is_refused() {
    let entries = &IPTABLES[8..];
    let whole = (0..entries.len())
        .filter(|end| xtables::Table::parse(&entries[..*end], vec![0], false).is_ok());
    // The smallest entry has 112 bytes and a target of 40: only between two
    // entries can a cut not be seen.
    assert!(whole.count() <= entries.len() / 152 + 1);
}

proptest! {
    #[test]
    fn changed_bytes_never_panic(at in 0_usize..8_000, byte: u8, cut in 0_usize..8_000) {
        let change = |recorded: &[u8]| {
            let mut bytes = recorded.to_vec();
            let at = 8 + at % (bytes.len() - 8);
            bytes[at] = byte;
            bytes.truncate((8 + cut).max(at));
            bytes
        };
        for (recorded, is_v6) in [(IPTABLES, false), (IP6TABLES, true)] {
            if let Some(table) = table(&change(recorded), is_v6) {
                let services = Services { tables: vec![table], ..Services::default() };
                let _ = answer(&services, "10.96.0.10:53", "10.244.0.4:53");
                let _ = answer(&services, "", "[fd00::2]:53");
            }
        }
        for recorded in [KUBE_PROXY, IPTABLES_NFT] {
            if let Ok(nftables) = nftables::recorded(&change(recorded)) {
                let services = Services { nftables, ..Services::default() };
                let _ = answer(&services, "10.96.0.10:53", "10.244.0.4:53");
                let _ = answer(&services, "", "[fd00::2]:53");
            }
        }
    }
}

fn names(found: &[ServiceFact]) -> Vec<String> {
    let text = |service: &ServiceFact| {
        let (namespace, name) = service.name.clone().unwrap_or_default();
        format!("{} {namespace}/{name}", service.address)
    };
    found.iter().map(text).collect()
}

#[test]
fn comments_in_kube_proxys_rules_name_each_service() {
    let expected = ["10.96.0.10:53 kube-system/kube-dns", "10.96.0.10:53 kube-system/kube-dns"];
    assert_eq!(names(&xtables::named(&table(IPTABLES, false).unwrap())), expected);
    assert_eq!(names(&nftables::recorded_names(IPTABLES_NFT)), expected);
    // A chain of another name may say anything in its comments.
    assert!(xtables::named(&table(IP6TABLES, true).unwrap()).is_empty());
}

#[test]
fn kube_proxys_map_names_each_service_by_its_chain() {
    let element = |key: &[u8], chain: &str| {
        let key = attribute(1, &attribute(1, key));
        let verdict = [attribute(1, &[0xff; 4]), attribute(2, format!("{chain}\0").as_bytes())];
        let data = attribute(2, &attribute(2, &verdict.concat()));
        attribute(1, &[key, data].concat())
    };
    let v4 = [10, 96, 0, 10, 17, 0, 0, 0, 0, 53, 0, 0];
    let v6 = [&[0xfd; 16][..], &[6, 0, 0, 0, 0x14, 0xe9, 0, 0]].concat();
    let elements = [
        element(&v4, "service-ULMVA6XW-kube-system/kube-dns/udp/dns"),
        element(&v6, "external-ULMVA6XW-shop/web/tcp/"),
        element(&v4, "endpoint-ULMVA6XW-shop/web/tcp/"),
        element(&v4[..7], "service-ULMVA6XW-shop/web/tcp/"),
    ];
    let message = |table: &[u8]| {
        let parts = [
            vec![2, 0, 0, 0],
            attribute(1, table),
            attribute(2, b"service-ips\0"),
            attribute(3, &elements.concat()),
        ];
        Message { kind: 0, payload: parts.concat() }
    };
    let found = nftables::in_elements(&[message(b"kube-proxy\0")]).unwrap();
    assert_eq!(
        names(&found),
        [
            "10.96.0.10:53 kube-system/kube-dns",
            "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:5353 shop/web"
        ]
    );
    assert!(nftables::in_elements(&[message(b"mine\0")]).unwrap().is_empty());
}

#[test]
fn this_machines_own_names_can_be_read() {
    let nowhere: std::net::SocketAddr = "192.0.2.77:53".parse().unwrap();
    assert!(super::service_names().iter().all(|service| service.address != nowhere));
}
