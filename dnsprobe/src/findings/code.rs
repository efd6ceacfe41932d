//! What can be found: the codes, their meaning and their remedy.

use serde::{Serialize, Serializer};

use crate::engine::Cause;

/// How much harm a finding does; the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Harm {
    /// Queries were lost.
    Lost,
    /// Queries were answered, wrongly.
    WrongAnswer,
    /// Answers came late.
    Slow,
    /// The set-up costs more than it has to, or will hurt one day.
    SetUp,
    /// Worth knowing.
    Note,
}

impl Harm {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::WrongAnswer => "wrong-answer",
            Self::Slow => "slow",
            Self::SetUp => "set-up",
            Self::Note => "note",
        }
    }

    /// Whether what does this harm is a fault, as the exit code has it.
    #[must_use]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Lost | Self::WrongAnswer | Self::Slow)
    }
}

impl Serialize for Harm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What was found, besides lost queries. The names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingCode {
    /// A name outside the cluster does not exist.
    Nxdomain,
    /// The upstream resolver said that a name does not exist.
    UpstreamNxdomain,
    /// The upstream resolver failed.
    UpstreamServfail,
    /// The upstream resolver refused.
    UpstreamRefused,
    /// A DNS server failed by itself.
    Servfail,
    /// A DNS server refused by itself.
    Refused,
    /// A name of the cluster does not exist.
    InternalNameMissing,
    /// A name was answered by another one.
    AutopathSuspect,
    /// An answer was cut short and the client did not come back over TCP.
    TruncatedNoTcp,
    /// A server does not speak TCP.
    TcpUnanswered,
    /// One look-up costs several queries.
    SearchExpansion,
    /// The query waited in the server's socket.
    SlowServerQueue,
    /// The server took long.
    SlowServer,
    /// The server's upstream took long.
    SlowUpstream,
    /// The network between client and server took long.
    SlowNetwork,
    /// The client read its answer late.
    SlowClient,
    /// Slow outside this node.
    SlowUnlocated,
    /// Pods do not use the node-local cache.
    NodelocalBypassed,
    /// A process asks several servers at once.
    ParallelNameservers,
    /// The load on the servers is skewed.
    UnevenBackends,
    /// A DNS server came and went.
    ServerRestarting,
}

impl FindingCode {
    /// Every code.
    pub const ALL: [Self; 21] = [
        Self::Nxdomain,
        Self::UpstreamNxdomain,
        Self::UpstreamServfail,
        Self::UpstreamRefused,
        Self::Servfail,
        Self::Refused,
        Self::InternalNameMissing,
        Self::AutopathSuspect,
        Self::TruncatedNoTcp,
        Self::TcpUnanswered,
        Self::SearchExpansion,
        Self::SlowServerQueue,
        Self::SlowServer,
        Self::SlowUpstream,
        Self::SlowNetwork,
        Self::SlowClient,
        Self::SlowUnlocated,
        Self::NodelocalBypassed,
        Self::ParallelNameservers,
        Self::UnevenBackends,
        Self::ServerRestarting,
    ];

    /// The stable name, as in `docs/findings.md`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nxdomain => "nxdomain",
            Self::UpstreamNxdomain => "upstream-nxdomain",
            Self::UpstreamServfail => "upstream-servfail",
            Self::UpstreamRefused => "upstream-refused",
            Self::Servfail => "servfail",
            Self::Refused => "refused",
            Self::InternalNameMissing => "internal-name-missing",
            Self::AutopathSuspect => "autopath-suspect",
            Self::TruncatedNoTcp => "truncated-no-tcp",
            Self::TcpUnanswered => "tcp-unanswered",
            Self::SearchExpansion => "search-expansion",
            Self::SlowServerQueue => "slow-server-queue",
            Self::SlowServer => "slow-server",
            Self::SlowUpstream => "slow-upstream",
            Self::SlowNetwork => "slow-network",
            Self::SlowClient => "slow-client",
            Self::SlowUnlocated => "slow-unlocated",
            Self::NodelocalBypassed => "nodelocal-bypassed",
            Self::ParallelNameservers => "parallel-nameservers",
            Self::UnevenBackends => "uneven-backends",
            Self::ServerRestarting => "server-restarting",
        }
    }

    /// The harm it does.
    #[must_use]
    pub const fn harm(self) -> Harm {
        match self {
            Self::UpstreamServfail
            | Self::UpstreamRefused
            | Self::Servfail
            | Self::Refused
            | Self::InternalNameMissing
            | Self::AutopathSuspect
            | Self::TruncatedNoTcp
            | Self::TcpUnanswered => Harm::WrongAnswer,
            Self::SlowServerQueue
            | Self::SlowServer
            | Self::SlowUpstream
            | Self::SlowNetwork
            | Self::SlowClient
            | Self::SlowUnlocated => Harm::Slow,
            Self::NodelocalBypassed
            | Self::ParallelNameservers
            | Self::UnevenBackends
            | Self::ServerRestarting
            | Self::SearchExpansion => Harm::SetUp,
            Self::Nxdomain | Self::UpstreamNxdomain => Harm::Note,
        }
    }

    /// What is seen.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Nxdomain => "The name does not exist, under none of the suffixes tried.",
            Self::UpstreamNxdomain => {
                "The upstream resolver said that the name does not exist; the DNS server passed that on."
            }
            Self::UpstreamServfail => {
                "The upstream resolver answered SERVFAIL; the DNS server passed that on."
            }
            Self::UpstreamRefused => {
                "The upstream resolver answered REFUSED; the DNS server passed that on."
            }
            Self::Servfail => {
                "A DNS server answered SERVFAIL. No upstream was seen to have answered so."
            }
            Self::Refused => {
                "A DNS server answered REFUSED. No upstream was seen to have answered so."
            }
            Self::InternalNameMissing => {
                "A name of the cluster does not exist: the DNS server answered NXDOMAIN."
            }
            Self::AutopathSuspect => {
                "A name was answered that cannot exist in the cluster (an external name with a search suffix), or the answer belongs to another name than was asked."
            }
            Self::TruncatedNoTcp => {
                "An answer was cut short (flag TC), and the client did not get the rest over TCP."
            }
            Self::TcpUnanswered => "A DNS server could not be connected to over TCP.",
            Self::SearchExpansion => {
                "One look-up costs several queries: the suffixes of the search list are tried before the name itself."
            }
            Self::SlowServerQueue => {
                "Answers are slow because queries wait in the DNS server's socket until it reads them."
            }
            Self::SlowServer => "Answers are slow because the DNS server takes long by itself.",
            Self::SlowUpstream => "Answers are slow because the DNS server waits for its upstream.",
            Self::SlowNetwork => {
                "Answers are slow because packets take long between the client and the DNS server; both ends were seen."
            }
            Self::SlowClient => {
                "Answers came in time, but the client was late to read them from its socket."
            }
            Self::SlowUnlocated => {
                "Answers are slow and the time passed where it was not seen from this node: on the network or in the DNS server."
            }
            Self::NodelocalBypassed => {
                "A node-local DNS cache answers on this node, yet these pods ask a cluster address directly."
            }
            Self::ParallelNameservers => {
                "One process sends the same question to several DNS servers at once."
            }
            Self::UnevenBackends => {
                "The flows to a DNS service are spread unevenly over its servers, beyond chance."
            }
            Self::ServerRestarting => "A DNS server on this node was replaced by another process.",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Nxdomain => "Check the name in the pod's configuration.",
            Self::UpstreamNxdomain => {
                "Check the name; if it should exist, tell the upstream's operator name, code, time and node."
            }
            Self::UpstreamServfail | Self::UpstreamRefused => {
                "Tell the upstream's operator name, code, time (to the second) and node, as shown."
            }
            Self::Servfail => {
                "See the DNS server's log for that time (in CoreDNS the plugins `errors` and `log`); its own lost queries to an upstream are findings of their own."
            }
            Self::Refused => {
                "Check which zones and clients the DNS server serves (in CoreDNS the server blocks and the plugin `acl`)."
            }
            Self::InternalNameMissing => {
                "Check that the Service exists in that namespace. Headless Service: it has no ready endpoint; CoreDNS 1.7.0 or newer, and `publishNotReadyAddresses` (not the removed annotation) with CoreDNS 1.8.4 or newer. StatefulSet pod: `serviceName` must name the headless Service."
            }
            Self::AutopathSuspect => "Turn off CoreDNS' `autopath` plugin.",
            Self::TruncatedNoTcp => {
                "Open TCP port 53 in policies and firewalls; musl before 1.2.4 cannot use TCP: use a newer base image."
            }
            Self::TcpUnanswered => {
                "Some private-zone resolvers speak UDP only: `prefer_udp` in the CoreDNS forward block. Else open TCP port 53."
            }
            Self::SearchExpansion => {
                "Lower `ndots` in the pod's dnsConfig, or write external names with a dot at the end."
            }
            Self::SlowServerQueue => {
                "Scale the DNS server out or give it more CPU: it does not keep up with its socket."
            }
            Self::SlowServer => "See the DNS server's CPU limits, plugins and log.",
            Self::SlowUpstream => {
                "Check the upstream resolver and the path to it; a cache in the DNS server hides much of it."
            }
            Self::SlowNetwork => {
                "Check shaping, queues and CPU between the two: network plugin, traffic control, node load."
            }
            Self::SlowClient => {
                "The process or its CPU limit is the bottleneck (throttling, a blocked event loop)."
            }
            Self::SlowUnlocated => "Run dnsprobe on the DNS server's node at the same time.",
            Self::NodelocalBypassed => {
                "The DNS configuration was not injected into these pods: recreate them, or set dnsConfig. Images with musl ask every nameserver at once: leave one."
            }
            Self::ParallelNameservers => {
                "Alpine/musl images do so: leave one nameserver, or use another base image."
            }
            Self::UnevenBackends => {
                "Look for session affinity on the DNS service, and spread its pods over the nodes."
            }
            Self::ServerRestarting => "See why it ended: its log, `kubectl describe pod`.",
        }
    }

    /// From how many occurrences on a pod is part of such a finding.
    #[must_use]
    pub(super) const fn fewest(self) -> u64 {
        match self.harm() {
            Harm::Slow => 3,
            _ => match self {
                Self::SearchExpansion | Self::NodelocalBypassed => 3,
                _ => 1,
            },
        }
    }

    /// From which share of its queries on a pod is part of such a finding.
    #[must_use]
    pub(super) const fn least_share(self) -> f64 {
        match self.harm() {
            Harm::Slow => 0.01,
            _ => match self {
                Self::NodelocalBypassed => 0.1,
                _ => 0.0,
            },
        }
    }
}

/// The code of a finding: a cause of lost queries, or one of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Queries were lost, or nearly.
    Cause(Cause),
    /// Something else.
    Finding(FindingCode),
}

impl Code {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cause(cause) => cause.as_str(),
            Self::Finding(code) => code.as_str(),
        }
    }

    /// The harm it does.
    #[must_use]
    pub const fn harm(self) -> Harm {
        match self {
            Self::Cause(cause) if cause.is_loss() => Harm::Lost,
            Self::Cause(_) => Harm::Note,
            Self::Finding(code) => code.harm(),
        }
    }

    /// What is seen.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Cause(cause) => cause.describe(),
            Self::Finding(code) => code.describe(),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Cause(cause) => cause.advice(),
            Self::Finding(code) => code.advice(),
        }
    }

    pub(super) const fn fewest(self) -> u64 {
        match self {
            Self::Cause(_) => 1,
            Self::Finding(code) => code.fewest(),
        }
    }

    pub(super) const fn least_share(self) -> f64 {
        match self {
            Self::Cause(_) => 0.0,
            Self::Finding(code) => code.least_share(),
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_codes_have_one_name_and_none_is_a_causes() {
        let codes: HashSet<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        let causes: HashSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
        assert_eq!(codes.len(), FindingCode::ALL.len());
        assert!(codes.is_disjoint(&causes));
    }

    #[test]
    fn a_near_miss_and_a_note_are_no_fault() {
        assert!(!Code::Cause(Cause::ConntrackClashResolved).harm().is_fault());
        assert!(Code::Cause(Cause::ConntrackClash).harm().is_fault());
        assert!(!Code::Finding(FindingCode::Nxdomain).harm().is_fault());
        assert!(Code::Finding(FindingCode::Servfail).harm().is_fault());
    }
}
