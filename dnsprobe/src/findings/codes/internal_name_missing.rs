//! `internal-name-missing`: a name of the cluster does not exist.
//! evidence: NXDOMAIN for it, and for every other name that the look-up tried
//! not this: a search suffix that did not fit (a later name exists), external
//!           names with a search suffix
//!
//! What kind of name it is shows in its labels:
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>

use std::collections::BTreeSet;

use crate::{
    dns::Name,
    findings::{
        Code, FindingCode,
        books::{Books, Sighting},
        search::LookUp,
    },
    identity::Owner,
};

/// Namespaces kept to recognise names by.
const MAX_NAMESPACES: usize = 1_024;

/// What of the cluster a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::findings) enum Kind {
    /// `SERVICE.NAMESPACE.svc`.
    Service,
    /// `NAME.SERVICE.NAMESPACE.svc`.
    Headless,
    /// `NAME-N.SERVICE.NAMESPACE.svc`.
    StatefulSet,
    /// `A-B-C-D.NAMESPACE.pod`.
    Pod,
    /// One label in front of the cluster's domain.
    Other,
}

impl Kind {
    pub(in crate::findings) const fn as_str(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Headless => "headless Service",
            Self::StatefulSet => "StatefulSet pod",
            Self::Pod => "pod address",
            Self::Other => "other name",
        }
    }
}

/// The cluster's domain, and which namespaces there are, as far as known.
#[derive(Debug)]
pub(in crate::findings) struct Zone {
    domain: Name,
    /// The domain was given and is not learned.
    fixed: bool,
    namespaces: BTreeSet<String>,
}

impl Default for Zone {
    fn default() -> Self {
        Self::new(None)
    }
}

impl Zone {
    /// With the domain as given, or learned from names.
    pub(in crate::findings) fn new(domain: Option<Name>) -> Self {
        let fixed = domain.is_some();
        let default = || "cluster.local".parse().ok();
        let domain = domain.or_else(default).unwrap_or_default();
        Self { domain, fixed, namespaces: BTreeSet::new() }
    }

    /// Learns from a name that a pod asked for. A search list starts with
    /// `NAMESPACE.svc.DOMAIN` of the pod's own namespace.
    pub(in crate::findings) fn learn(&mut self, owner: &Owner, name: &Name) {
        let Owner::Pod { namespace: Some(namespace), .. } = owner else { return };
        if self.namespaces.len() < MAX_NAMESPACES && !self.namespaces.contains(namespace) {
            self.namespaces.insert(namespace.clone());
        }
        if self.fixed || name.is_under(&self.domain) {
            return;
        }
        let labels: Vec<&[u8]> = name.labels().collect();
        let own = labels.windows(2).rposition(|pair| {
            pair[0].eq_ignore_ascii_case(namespace.as_bytes())
                && pair[1].eq_ignore_ascii_case(b"svc")
        });
        if let Some(at) = own.filter(|at| *at > 0 && labels.len() > at + 2) {
            self.domain = name.without_leading(at + 2);
        }
    }

    /// What of the cluster a name is; `None` for a name outside it, and for
    /// an external name with a search suffix.
    pub(in crate::findings) fn kind(&self, name: &Name) -> Option<Kind> {
        let inside = name.in_front_of(&self.domain)?;
        if self.external_base(name).is_some() {
            return None;
        }
        let labels: Vec<&[u8]> =
            inside.labels().skip_while(|label| label.starts_with(b"_")).collect();
        Some(match labels[..] {
            [_, _, last] if is(last, "svc") => Kind::Service,
            [pod, _, _, last] if is(last, "svc") && has_ordinal(pod) => Kind::StatefulSet,
            [_, _, _, last] if is(last, "svc") => Kind::Headless,
            [_, _, last] if is(last, "pod") => Kind::Pod,
            [_] => Kind::Other,
            // As likely an external name with the domain as a suffix.
            _ => return None,
        })
    }

    /// The external name in a name with a search suffix that cannot be a name
    /// of the cluster: `HOST.SERVICE.NAMESPACE` are three labels in front of
    /// `svc`, and no name there has more (but for SRV names).
    pub(in crate::findings) fn external_base(&self, name: &Name) -> Option<Name> {
        let inside = name.in_front_of(&self.domain)?;
        let labels: Vec<&[u8]> = inside.labels().collect();
        let (last, front) = labels.split_last()?;
        let is_srv = labels.iter().any(|label| label.starts_with(b"_"));
        (is(last, "svc") && front.len() > 3 && !is_srv).then(|| inside.leading(front.len() - 1))
    }

    /// The name of the cluster that a look-up without success was for.
    fn meant(&self, lookup: &LookUp) -> Option<(Name, Kind)> {
        let of = |name: &Name| self.kind(name).map(|kind| (name.clone(), kind));
        if let [only] = &lookup.candidates[..] {
            return of(&only.name);
        }
        let base = lookup.base()?;
        let labels: Vec<&[u8]> = base.labels().collect();
        let names_namespace = match labels[..] {
            [_] => true,
            [.., last] if is(last, "svc") => true,
            [.., last] => {
                self.namespaces.iter().any(|known| last.eq_ignore_ascii_case(known.as_bytes()))
            }
            [] => false,
        };
        // Which suffix was meant shows in how many labels the name has.
        let fits = |name: &&Name| matches!(self.kind(name), Some(kind) if kind != Kind::Other);
        let mut names = lookup.candidates.iter().map(|candidate| &candidate.name);
        if is(labels.last()?, "svc") || labels.len() == 1 {
            return of(names.find(fits)?);
        }
        if !names_namespace {
            return None;
        }
        let namespaced = |name: &&Name| {
            fits(name)
                && name.in_front_of(&self.domain).is_some_and(|n| n.depth() == labels.len() + 1)
        };
        of(names.find(namespaced)?)
    }
}

fn is(label: &[u8], text: &str) -> bool {
    label.eq_ignore_ascii_case(text.as_bytes())
}

/// `NAME-N`, as the pods of a StatefulSet are named.
fn has_ordinal(label: &[u8]) -> bool {
    let digits = label.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    digits > 0 && label.len() > digits + 1 && label[label.len() - digits - 1] == b'-'
}

/// Notes a look-up without success, if it was for a name of the cluster.
pub(in crate::findings) fn sight(lookup: &LookUp, zone: &Zone, books: &mut Books) -> bool {
    let Some((name, kind)) = zone.meant(lookup) else { return false };
    let sighting = Sighting {
        code: Code::Finding(FindingCode::InternalNameMissing),
        subject: kind.as_str(),
        owner: &lookup.owner,
        at: lookup.first,
        item: Some(name.to_string()),
    };
    books.add(sighting, || lookup.describe());
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Option<Kind> {
        Zone::default().kind(&name.parse().unwrap())
    }

    #[test]
    fn the_kind_shows_in_the_labels() {
        assert_eq!(kind("cart.shop.svc.cluster.local."), Some(Kind::Service));
        assert_eq!(kind("_http._tcp.cart.shop.svc.cluster.local."), Some(Kind::Service));
        assert_eq!(kind("node-a.cart.shop.svc.cluster.local."), Some(Kind::Headless));
        assert_eq!(kind("web-0.nginx.shop.svc.cluster.local."), Some(Kind::StatefulSet));
        assert_eq!(kind("10-244-0-1.shop.pod.cluster.local."), Some(Kind::Pod));
        assert_eq!(kind("kubernetes.cluster.local."), Some(Kind::Other));
        assert_eq!(kind("www.example.com."), None);
        assert_eq!(kind("www.example.com.shop.svc.cluster.local."), None);
        assert_eq!(kind("www.example.com.cluster.local."), None);
        assert_eq!(kind("shop.svc.cluster.local."), None);
    }

    #[test]
    fn the_domain_is_learned_from_the_pods_own_search_list() {
        let pod = Owner::Pod {
            namespace: Some("shop".into()),
            pod: Some("cart".into()),
            container: None,
            uid: "u".into(),
            details: crate::identity::PodDetails::default(),
        };
        let mut zone = Zone::default();
        zone.learn(&pod, &"db.shop.svc.corp.example.".parse().unwrap());
        assert_eq!(zone.kind(&"db.shop.svc.corp.example.".parse().unwrap()), Some(Kind::Service));
        let mut fixed = Zone::new("k8s.example".parse().ok());
        fixed.learn(&pod, &"db.shop.svc.corp.example.".parse().unwrap());
        assert_eq!(fixed.kind(&"db.shop.svc.corp.example.".parse().unwrap()), None);
    }
}
