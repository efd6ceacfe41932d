//! The kinds of message: what each says, what it leaves open, and which
//! dnsprobe command settles it.

use std::{fmt, net::SocketAddr};

use serde::{Serialize, Serializer};

use super::extract;

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// `getaddrinfo` returned EAI_NONAME.
    NameNotKnown,
    /// The client says no more than that it got no address.
    CouldNotResolve,
    /// `getaddrinfo` returned EAI_AGAIN.
    TemporaryFailure,
    /// The name exists, without an address.
    NoAddress,
    /// Go: no such host.
    NoSuchHost,
    /// Response code NXDOMAIN.
    Nxdomain,
    /// Response code SERVFAIL.
    Servfail,
    /// Response code REFUSED.
    Refused,
    /// Go: an answer that Go does not accept.
    ServerMisbehaving,
    /// No answer in time.
    ServerTimeout,
    /// ICMP says that nobody listens.
    ConnectionRefused,
    /// An answer came from an address that was not asked.
    UnexpectedSource,
    /// The answer did not fit.
    Truncated,
    /// CoreDNS got no answer from upstream.
    UpstreamTimeout,
    /// Nobody listens at CoreDNS' upstream.
    UpstreamConnectionRefused,
    /// CoreDNS cannot send to its upstream.
    UpstreamUnreachable,
    /// CoreDNS took every upstream out.
    NoHealthyUpstream,
    /// CoreDNS forwards to itself.
    ForwardingLoop,
    /// A Corefile names a plugin that this CoreDNS does not have.
    UnknownDirective,
    /// The API server's address refuses connections.
    ApiServerConnectionRefused,
    /// The API server does not answer.
    ApiServerTimeout,
    /// CoreDNS may not read what it needs.
    ApiServerForbidden,
    /// CoreDNS waits for its plugins.
    NotReady,
    /// The kernel's conntrack table was full.
    ConntrackTableFull,
}

impl MessageKind {
    /// Every kind.
    pub const ALL: [Self; 24] = [
        Self::NameNotKnown,
        Self::CouldNotResolve,
        Self::TemporaryFailure,
        Self::NoAddress,
        Self::NoSuchHost,
        Self::Nxdomain,
        Self::Servfail,
        Self::Refused,
        Self::ServerMisbehaving,
        Self::ServerTimeout,
        Self::ConnectionRefused,
        Self::UnexpectedSource,
        Self::Truncated,
        Self::UpstreamTimeout,
        Self::UpstreamConnectionRefused,
        Self::UpstreamUnreachable,
        Self::NoHealthyUpstream,
        Self::ForwardingLoop,
        Self::UnknownDirective,
        Self::ApiServerConnectionRefused,
        Self::ApiServerTimeout,
        Self::ApiServerForbidden,
        Self::NotReady,
        Self::ConntrackTableFull,
    ];

    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NameNotKnown => "name-not-known",
            Self::CouldNotResolve => "could-not-resolve",
            Self::TemporaryFailure => "temporary-failure",
            Self::NoAddress => "no-address",
            Self::NoSuchHost => "no-such-host",
            Self::Nxdomain => "nxdomain",
            Self::Servfail => "servfail",
            Self::Refused => "refused",
            Self::ServerMisbehaving => "server-misbehaving",
            Self::ServerTimeout => "server-timeout",
            Self::ConnectionRefused => "connection-refused",
            Self::UnexpectedSource => "unexpected-source",
            Self::Truncated => "truncated",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamConnectionRefused => "upstream-connection-refused",
            Self::UpstreamUnreachable => "upstream-unreachable",
            Self::NoHealthyUpstream => "no-healthy-upstream",
            Self::ForwardingLoop => "forwarding-loop",
            Self::UnknownDirective => "unknown-directive",
            Self::ApiServerConnectionRefused => "api-server-connection-refused",
            Self::ApiServerTimeout => "api-server-timeout",
            Self::ApiServerForbidden => "api-server-forbidden",
            Self::NotReady => "not-ready",
            Self::ConntrackTableFull => "conntrack-table-full",
        }
    }

    /// The first question to ask.
    #[must_use]
    pub const fn question(self) -> &'static str {
        match self {
            Self::NameNotKnown | Self::CouldNotResolve => {
                "Does the name exist, or is the server unreachable? If it took 5 seconds or \
                 longer, ask for the server first."
            }
            Self::TemporaryFailure => "Did the server answer with an error, or not at all?",
            Self::NoAddress => "Which address family was asked for, and which has the name?",
            Self::NoSuchHost | Self::Nxdomain => {
                "Is this the name that was meant, after the search list was applied?"
            }
            Self::Servfail => "Does the code come from the cluster's DNS server or its upstream?",
            Self::Refused => "Which server refused, and is it the one that was meant to be asked?",
            Self::ServerMisbehaving => "Which response code did the server send?",
            Self::ServerTimeout => {
                "Can the server be reached: through the service address, and each backend by itself?"
            }
            Self::ConnectionRefused => "Does a DNS server run behind the address that was asked?",
            Self::UnexpectedSource => "Why was the answer not translated back?",
            Self::Truncated => "Did the client come back over TCP, and was it answered there?",
            Self::UpstreamTimeout => "Do the upstream servers answer from the DNS server's pod?",
            Self::UpstreamConnectionRefused => {
                "Does a DNS server run at the upstream address that CoreDNS forwards to?"
            }
            Self::UpstreamUnreachable => "What refuses to send from the DNS server's pod?",
            Self::NoHealthyUpstream => "Since when do all upstream servers fail the health check?",
            Self::ForwardingLoop => "Which resolv.conf does CoreDNS forward to?",
            Self::UnknownDirective => "Does this version of CoreDNS have that plugin?",
            Self::ApiServerConnectionRefused => {
                "Was the API server down, or is the network of the CoreDNS pod broken?"
            }
            Self::ApiServerTimeout => "Can the CoreDNS pod reach anything at all?",
            Self::ApiServerForbidden => "Does the role of CoreDNS fit its version?",
            Self::NotReady => "Which plugin does CoreDNS wait for, and why is that not ready?",
            Self::ConntrackTableFull => "Which pods own the entries that fill the table?",
        }
    }

    /// What the message means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NameNotKnown => {
                "The resolver gave up with EAI_NONAME: as a rule every name it tried, with each \
                 search suffix, does not exist."
            }
            Self::CouldNotResolve => "The program got no address; it does not say why.",
            Self::TemporaryFailure => {
                "The resolver gave up with EAI_AGAIN: no server answered in time, or the last \
                 answer was SERVFAIL or REFUSED, or nobody listened."
            }
            Self::NoAddress => {
                "The name exists, but has no record of the type that was asked for (NODATA)."
            }
            Self::NoSuchHost => {
                "Every name that Go tried got NXDOMAIN, or an answer without an address."
            }
            Self::Nxdomain => "A server answered that the name does not exist.",
            Self::Servfail => {
                "A server answered that it could not find out: its upstream failed, did not \
                 answer in time, or DNSSEC did not hold."
            }
            Self::Refused => "A server answered that it does not serve this client or this name.",
            Self::ServerMisbehaving => {
                "The server answered, with a response code other than NOERROR and NXDOMAIN \
                 (SERVFAIL and REFUSED end here) or with something malformed."
            }
            Self::ServerTimeout => {
                "The query was sent, and no answer that the client accepts came back in time."
            }
            Self::ConnectionRefused => {
                "An ICMP port unreachable (or a TCP reset) came back: the path works as far as a \
                 host, and nobody listens there; or a firewall rule rejects."
            }
            Self::UnexpectedSource => {
                "An answer came from another address than was asked, usually from a backend \
                 instead of the service address: nothing translated it back. The resolver \
                 discards it."
            }
            Self::Truncated => {
                "The answer did not fit into a UDP message; the client has to ask again over TCP."
            }
            Self::UpstreamTimeout => {
                "CoreDNS forwarded the query, and the upstream server did not answer in time. The \
                 client gets SERVFAIL or gives up before."
            }
            Self::UpstreamConnectionRefused => {
                "CoreDNS forwarded the query to an address where nobody listens, or where a rule \
                 rejects."
            }
            Self::UpstreamUnreachable => {
                "The kernel of the node refused to send to the upstream server: no route, or a \
                 rule on the way out."
            }
            Self::NoHealthyUpstream => {
                "Every upstream server failed the health check of CoreDNS' forward plugin."
            }
            Self::ForwardingLoop => {
                "CoreDNS got back the query it had sent upstream, and stops: it forwards to \
                 itself, often through a loopback address in the node's resolv.conf."
            }
            Self::UnknownDirective => {
                "CoreDNS does not start: the Corefile names a plugin that is not built in, because \
                 it was removed (proxy, upstream), is newer, or is misspelt."
            }
            Self::ApiServerConnectionRefused => {
                "CoreDNS could not watch Services and EndpointSlices: the API server's address \
                 refused the connection. It goes on with what it knew."
            }
            Self::ApiServerTimeout => {
                "CoreDNS could not watch Services and EndpointSlices: no answer from the API \
                 server's address. It goes on with what it knew."
            }
            Self::ApiServerForbidden => {
                "The API server answered, and does not let CoreDNS list or watch a resource: names \
                 that depend on it are missing or out of date."
            }
            Self::NotReady => {
                "CoreDNS runs, but tells the kubelet that it is not ready, so that it gets no \
                 queries through the service."
            }
            Self::ConntrackTableFull => {
                "The kernel dropped packets of new flows because conntrack had no room for them; \
                 DNS over UDP, a flow per query, suffers first."
            }
        }
    }

    /// What the message does not prove.
    #[must_use]
    pub const fn not_proven(self) -> &'static str {
        match self {
            Self::NameNotKnown => {
                "That a server said so: older C libraries report a server that does not answer in \
                 the same words, after 5 seconds or more. Some clients say it too when the name \
                 only lacks an address."
            }
            Self::CouldNotResolve => "Whether the name is wrong, or the server unreachable.",
            Self::TemporaryFailure => "Which of these it was, nor which server it was.",
            Self::NoAddress => {
                "That the name is useless: IPv6-only and IPv4-only names are fine for clients that \
                 ask for the right type."
            }
            Self::NoSuchHost => {
                "Which names were asked: with fewer dots than ndots, search suffixes come first."
            }
            Self::Nxdomain => {
                "That the server is right: a Service without a selector match, a headless Service \
                 without ready pods or a stale CoreDNS look the same."
            }
            Self::Servfail => "That the server itself is broken; most pass on what upstream said.",
            Self::Refused => {
                "That anything is wrong on the network: query and answer both arrived."
            }
            Self::ServerMisbehaving => "That anything is wrong on the network; an answer arrived.",
            Self::ServerTimeout => {
                "Where it was lost: on this node, on the way, in the server, or on the way back; \
                 nor that the server is down."
            }
            Self::ConnectionRefused => {
                "That all backends are down: one of several is enough, and a rule that rejects \
                 looks the same."
            }
            Self::UnexpectedSource => {
                "Which entry was missing: a resolved conntrack clash, a flushed table and \
                 asymmetric routes look the same."
            }
            Self::Truncated => "That anything failed: this is how large answers are meant to come.",
            Self::UpstreamTimeout => {
                "That the upstream is down: a full conntrack table, a policy or a security group \
                 between loses packets just so."
            }
            Self::UpstreamConnectionRefused => "That the upstream's host is down; it answered.",
            Self::UpstreamUnreachable => "That other pods of the node are affected.",
            Self::NoHealthyUpstream => {
                "That the upstream is down: what loses health checks may be this node's network."
            }
            Self::ForwardingLoop => "That anything is wrong upstream; it was never asked.",
            Self::UnknownDirective => "That the rest of the Corefile is right.",
            Self::ApiServerConnectionRefused => {
                "That look-ups failed: names are served from memory. If they worked meanwhile, the \
                 pod's network did too, and the API server restarted."
            }
            Self::ApiServerTimeout => "That the API server is down: DNS queries may be lost alike.",
            Self::ApiServerForbidden => "That the network is at fault; the API server answered.",
            Self::NotReady => "That look-ups fail, as long as another DNS server pod is ready.",
            Self::ConntrackTableFull => "That a given look-up failed because of it.",
        }
    }

    /// The dnsprobe command that answers the question.
    pub(super) fn next(self, name: Option<&str>, server: Option<SocketAddr>) -> String {
        let name = name.filter(|name| extract::is_plain(name)).unwrap_or("NAME");
        // A server that is not on the standard port is named with it.
        let server = server.map_or_else(
            || "ADDRESS".to_owned(),
            |server| match server.port() {
                53 => server.ip().to_string(),
                _ => server.to_string(),
            },
        );
        match self {
            Self::NameNotKnown
            | Self::CouldNotResolve
            | Self::TemporaryFailure
            | Self::NoSuchHost
            | Self::Nxdomain
            | Self::ServerMisbehaving
            | Self::ServerTimeout
            | Self::ConnectionRefused => format!("dnsprobe query {name} --pod POD"),
            Self::NoAddress => format!("dnsprobe query {name} --type AAAA --pod POD"),
            Self::Truncated => format!("dnsprobe query {name} --tcp --pod POD"),
            Self::Servfail => format!("dnsprobe trace --rcode SERVFAIL --name {name}"),
            Self::Refused => format!("dnsprobe trace --rcode REFUSED --name {name}"),
            Self::UnexpectedSource | Self::NotReady => "dnsprobe trace --only-failed".to_owned(),
            Self::UpstreamTimeout | Self::UpstreamConnectionRefused | Self::UpstreamUnreachable => {
                format!("dnsprobe query {name} --pod COREDNS-POD --server {server}")
            }
            Self::NoHealthyUpstream => {
                format!("dnsprobe query {name} --pod COREDNS-POD --server {server} --count 10")
            }
            Self::ForwardingLoop | Self::ApiServerForbidden | Self::UnknownDirective => {
                "dnsprobe query kubernetes.default.svc.cluster.local --pod POD".to_owned()
            }
            Self::ApiServerConnectionRefused | Self::ApiServerTimeout => {
                "dnsprobe query kubernetes.default.svc.cluster.local --pod COREDNS-POD".to_owned()
            }
            Self::ConntrackTableFull => "dnsprobe top".to_owned(),
        }
    }
}

impl fmt::Display for MessageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for MessageKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
