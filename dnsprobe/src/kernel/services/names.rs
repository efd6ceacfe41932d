//! Which address is which service, by name, as kube-proxy wrote it into this
//! node's rules; IPVS knows addresses only.

use std::fs;

use super::{ipvs, nftables, xtables};
use crate::identity::{RemoteSource, ServiceFact};

/// kube-proxy's chain with a rule per service, in iptables.
pub(super) const CHAIN: &[u8] = b"KUBE-SERVICES";
/// Longer than any name that Kubernetes allows.
const NAME_BYTES: usize = 253;

/// Every service in the node's rules. Needs `CAP_NET_ADMIN`; milliseconds on a
/// node with thousands of services. What cannot be read has no names.
#[must_use]
pub fn service_names() -> Vec<ServiceFact> {
    let mut services = nftables::read_names();
    services.extend(xtables::read_names(false));
    services.extend(xtables::read_names(true));
    let text = fs::read_to_string(ipvs::PATH).unwrap_or_default();
    services.extend(ipvs::parse(&text).into_iter().filter_map(|service| match service.key {
        ipvs::Key::Address(address) => {
            Some(ServiceFact { address, name: None, source: RemoteSource::Ipvs })
        }
        ipvs::Key::Mark(_) => None,
    }));
    services
}

/// Namespace and name in a comment: `kube-system/kube-dns:dns cluster IP`.
pub(super) fn from_comment(comment: &[u8]) -> Option<(String, String)> {
    let text = str::from_utf8(comment).ok()?;
    let service = text.split(' ').next()?;
    let (namespace, rest) = service.split_once('/')?;
    checked(namespace, rest.split_once(':').map_or(rest, |(name, _)| name))
}

/// The same in the name of a chain of kube-proxy's nftables mode:
/// `service-ULMVA6XW-kube-system/kube-dns/udp/dns`.
pub(super) fn from_chain(chain: &[u8]) -> Option<(String, String)> {
    const KINDS: [&str; 3] = ["service-", "external-", "local-"];
    const HASH: usize = 8;
    let text = str::from_utf8(chain).ok()?;
    let rest = KINDS.iter().find_map(|kind| text.strip_prefix(kind))?;
    let (hash, rest) = rest.split_at_checked(HASH)?;
    let is_hash = hash.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let mut parts = rest.strip_prefix('-').filter(|_| is_hash)?.split('/');
    checked(parts.next()?, parts.next()?)
}

/// What Kubernetes allows as names, and nothing that a terminal would obey.
fn checked(namespace: &str, name: &str) -> Option<(String, String)> {
    let plain = |text: &str| {
        (1..=NAME_BYTES).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
    };
    (plain(namespace) && plain(name)).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(found: Option<(String, String)>) -> String {
        found.map_or_else(String::new, |(namespace, name)| format!("{namespace}/{name}"))
    }

    #[test]
    fn comments_of_kube_proxy_name_services_and_others_do_not() {
        for (comment, expected) in [
            ("kube-system/kube-dns:dns cluster IP", "kube-system/kube-dns"),
            ("kube-system/kube-dns:dns-tcp has no endpoints", "kube-system/kube-dns"),
            ("shop/web", "shop/web"),
            ("shop/web loadbalancer IP", "shop/web"),
            ("kubernetes service nodeports; NOTE: this must be the last rule in this chain", ""),
            ("", ""),
            ("/", ""),
            ("shop/", ""),
            ("shop/we\x1bb:dns", ""),
            ("Shop/Web", ""),
        ] {
            assert_eq!(name(from_comment(comment.as_bytes())), expected, "{comment:?}");
        }
        assert_eq!(from_comment(&[0xff, b'/', b'a']), None);
    }

    #[test]
    fn chains_of_the_nftables_mode_name_services() {
        for (chain, expected) in [
            ("service-ULMVA6XW-kube-system/kube-dns/udp/dns", "kube-system/kube-dns"),
            ("external-ULMVA6XW-ns1/svc1/tcp/p80", "ns1/svc1"),
            ("local-ULMVA6XW-ns1/svc1/tcp/", "ns1/svc1"),
            ("service-DNS", ""),
            ("service-ulmva6xw-ns1/svc1/tcp/p80", ""),
            ("endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80", ""),
            ("service-ULMVA6XWns1/svc1", ""),
            ("service-ULMVA6XW-ns1", ""),
            ("service-\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", ""),
        ] {
            assert_eq!(name(from_chain(chain.as_bytes())), expected, "{chain:?}");
        }
    }
}
