//! What is wrong, where, and how that is known.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Serialize, Serializer};

use crate::identity::Owner;

/// The row of the failure catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The node's settings, state or kernel.
    NodeConfig,
    /// A pod's `resolv.conf`.
    PodConfig,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; nothing is lost by it alone.
    Note,
    /// Look-ups fail or are slow under some circumstances.
    Warning,
    /// Look-ups fail.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

macro_rules! problems {
    ($($name:ident $code:ident $severity:ident $text:literal $advice:literal;)*) => {
        /// What exactly is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Problem {
            $(#[doc = $advice] $name,)*
        }

        impl Problem {
            /// Every problem.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Where it belongs.
            #[must_use]
            pub const fn code(self) -> Code {
                match self { $(Self::$name => Code::$code,)* }
            }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

problems! {
    ConntrackNearlyFull NodeConfig Critical "conntrack-nearly-full"
        "Raise net.netfilter.nf_conntrack_max and nf_conntrack_buckets, shorten the UDP timeouts, and look at the pod that owns most entries.";
    ConntrackLosses NodeConfig Note "conntrack-losses"
        "Run `dnsprobe top` to see whether DNS queries are among the losses, and why.";
    ConntrackFewBuckets NodeConfig Warning "conntrack-few-buckets"
        "Raise net.netfilter.nf_conntrack_buckets to at least an eighth of nf_conntrack_max.";
    UdpTimeoutShort NodeConfig Warning "udp-timeout-short"
        "Raise net.netfilter.nf_conntrack_udp_timeout: an answer that comes later than this is not translated back.";
    UdpTimeoutLong NodeConfig Note "udp-timeout-long"
        "Shorten the UDP timeout: entries of finished look-ups stay this long and fill the conntrack table.";
    IpvsKeepsGoneBackends NodeConfig Warning "ipvs-keeps-gone-backends"
        "Set net.ipv4.vs.expire_nodest_conn=1: without it, a client port that is used again sends into nothing after a DNS pod went away.";
    IpvsUdpTimeoutLong NodeConfig Note "ipvs-udp-timeout-long"
        "Shorten the IPVS UDP timeout (kube-proxy: --ipvs-udp-timeout): a connection to a DNS pod that went away stays this long.";
    IpvsNoBackend NodeConfig Critical "ipvs-no-backend"
        "No DNS pod is ready behind this service: look at the DNS pods.";
    IpvsQuiescentBackend NodeConfig Note "ipvs-quiescent-backend"
        "A DNS pod is being taken out of service. If it is gone already, remove the real server: clients that keep their port still go there.";
    ReceiveBufferSmall NodeConfig Warning "receive-buffer-small"
        "Raise net.core.rmem_default to the kernel's own default of 212992 or more: DNS servers lose bursts of queries.";
    BacklogSmall NodeConfig Warning "backlog-small"
        "Raise net.core.netdev_max_backlog to the kernel's own default of 1000 or more.";
    BacklogDropped NodeConfig Note "backlog-dropped"
        "A processor could not keep up with packets: spread the load, raise net.core.netdev_max_backlog.";
    ReceiveBufferErrors NodeConfig Note "receive-buffer-errors"
        "Sockets of the node itself (host network) lost packets: run `dnsprobe top` to see whether DNS is among them.";
    StrictReversePath NodeConfig Note "strict-reverse-path"
        "Set net.ipv4.conf.all.rp_filter=2 if answers may come in by another device than their queries went out by: strict filtering drops them.";
    KernelBug NodeConfig Warning "kernel-bug"
        "Update the node's kernel, unless its distribution has carried the fix back.";
    NoNameserver PodConfig Critical "no-nameserver"
        "Give the pod a nameserver: without one the C library asks 127.0.0.1.";
    NameserverWithoutRoute PodConfig Critical "nameserver-without-route"
        "Correct the nameserver in the pod's DNS policy or configuration, or the pod's routes.";
    NameserverNotListening PodConfig Critical "nameserver-not-listening"
        "Correct the nameserver, or start the DNS server that should listen in this pod.";
    NameserverWithoutBackend PodConfig Critical "nameserver-without-backend"
        "The nameserver is a service without a usable backend: look at the DNS pods.";
    TooManyNameservers PodConfig Warning "too-many-nameservers"
        "Keep at most three nameservers: the others are never asked.";
    ParallelNameservers PodConfig Note "parallel-nameservers"
        "musl asks every nameserver at once: keep one, or expect several queries per look-up and races between them.";
    OptionIgnored PodConfig Warning "option-ignored"
        "Take the option out, or use an image whose C library heeds it.";
    OptionCapped PodConfig Note "option-capped"
        "Write the value that is in force: the C library allows no more.";
    LineIgnored PodConfig Warning "line-ignored"
        "Correct or remove the line: it has no effect.";
    SearchListCut PodConfig Warning "search-list-cut"
        "Shorten the search list: this C library drops what is too long.";
    SearchExpansion PodConfig Note "search-expansion"
        "Names with few dots are tried with every suffix first. Lower ndots, or end external names with a dot.";
    SingleAttempt PodConfig Note "single-attempt"
        "Raise attempts to 2 or more: one lost packet fails the look-up.";
    DiffersFromOthers PodConfig Note "differs-from-others"
        "Check that the pod's DNS policy is meant to differ from that of the node's other pods.";
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where something was found.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// Whose container it is; `None`: the node itself.
    pub owner: Option<Arc<Owner>>,
    /// A process in the container.
    pub pid: Option<u32>,
}

impl Place {
    /// The node.
    pub const NODE: Self = Self { owner: None, pid: None };

    fn key(&self) -> (Option<String>, Option<u32>) {
        (self.owner.as_ref().map(ToString::to_string), self.pid)
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A value that was read, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// File or setting.
    pub source: String,
    /// What stands there; safe to print.
    pub value: String,
}

impl Proof {
    pub(super) fn new(source: impl Into<String>, value: impl Into<String>) -> Self {
        Self { source: source.into(), value: value.into() }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The row of the failure catalogue.
    pub code: Code,
    /// What exactly.
    pub problem: Problem,
    /// How bad.
    pub severity: Severity,
    /// In a sentence; safe to print.
    pub summary: String,
    /// What was read.
    pub proof: Vec<Proof>,
    /// What to do.
    pub advice: &'static str,
    /// Every place it was found.
    pub places: Vec<Place>,
}

impl Finding {
    pub(super) fn new(problem: Problem, place: Place, summary: String, proof: Vec<Proof>) -> Self {
        Self {
            code: problem.code(),
            problem,
            severity: problem.severity(),
            summary,
            proof,
            advice: problem.advice(),
            places: vec![place],
        }
    }

    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        self.problem == other.problem
            && self.severity == other.severity
            && self.summary == other.summary
            && self.proof == other.proof
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn problems_have_names_of_their_own_and_advice() {
        let names: HashSet<_> = Problem::ALL.iter().map(|problem| problem.as_str()).collect();
        assert_eq!(names.len(), Problem::ALL.len());
        for problem in Problem::ALL {
            assert!(problem.advice().ends_with('.') || problem.advice().ends_with('`'));
        }
    }
}
