//! Kernel bugs that lose DNS queries, and the releases that have them.
//!
//! Releases are upstream's; a distribution may have carried a fix back without
//! a trace in its release number, and the advice says so.

use super::{
    NodeFacts,
    finding::{Finding, Place, Problem, Proof},
    release::Release,
};

struct Bug {
    has: fn(&Release) -> bool,
    /// Only where DNS goes through IPVS.
    needs_ipvs: bool,
    summary: &'static str,
}

const BUGS: &[Bug] = &[
    // Failure catalogue, `node-config`; ip_vs_in of that kernel returns
    // NF_DROP for every packet of a connection without destination (read in
    // alibaba/cloud-kernel).
    Bug {
        has: |release| {
            release.is_series(4, 19)
                && release.has("al7")
                && release.is_before(&[4, 19, 91, 25, 1]) == Some(true)
        },
        needs_ipvs: true,
        summary: "this kernel is older than 4.19.91-25.1.al7: IPVS drops UDP packets whose source port belonged to a DNS pod that is gone",
    },
    // "ipvs: queue delayed work to expire no destination connections if
    // expire_nodest_conn=1" came with 5.9-rc1 (kubernetes/kubernetes#93297,
    // #81775).
    Bug {
        has: |release| {
            release.is_before(&[5, 9]) == Some(true)
                && !(release.is_series(4, 19) && release.has("al7"))
        },
        needs_ipvs: true,
        summary: "before Linux 5.9, expire_nodest_conn=1 still loses the first packet of every source port that belonged to a DNS pod that is gone",
    },
    // Commit 6a757c07e51f, "netfilter: conntrack: allow insertion of clashing
    // entries", 5.7: entries that differ by their translation could not be
    // merged before.
    Bug {
        has: |release| release.is_before(&[5, 7]) == Some(true),
        needs_ipvs: false,
        summary: "before Linux 5.7, a clash of two translated packets drops one: A and AAAA asked at once lose a query (code conntrack-clash)",
    },
];

pub(super) fn judge(node: &NodeFacts) -> Vec<Finding> {
    let release = Release::parse(&node.release);
    let uses_ipvs = !node.ipvs.dns_services.is_empty();
    BUGS.iter()
        .filter(|bug| (uses_ipvs || !bug.needs_ipvs) && (bug.has)(&release))
        .map(|bug| {
            let proof = vec![Proof::new("kernel release", &node.release)];
            Finding::new(Problem::KernelBug, Place::NODE, bug.summary.to_owned(), proof)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::testing::ipvs_node;

    fn bugs(release: &str, ipvs: bool) -> usize {
        let mut node = ipvs_node();
        release.clone_into(&mut node.release);
        if !ipvs {
            node.ipvs.dns_services.clear();
        }
        judge(&node).len()
    }

    #[test]
    fn bugs_of_ipvs_count_only_where_ipvs_serves_dns() {
        assert_eq!(bugs("5.4.0-150-generic", false), 1);
        assert_eq!(bugs("5.4.0-150-generic", true), 2);
        assert_eq!(bugs("5.8.0", true), 1);
        assert_eq!(bugs("5.10.0-46-amd64", true), 0);
        assert_eq!(bugs("7.3.4+deb13-amd64", true), 0);
        assert_eq!(bugs("unknown", true), 0);
    }

    #[test]
    fn alibabas_kernel_has_its_own_first_good_release() {
        assert_eq!(bugs("4.19.91-24.al7.x86_64", true), 2);
        assert_eq!(bugs("4.19.91-25.1.al7.x86_64", true), 1);
    }
}
