//! The page of `docs/` about messages, made from the enum and from one real
//! line per kind.

use std::fmt::Write as _;

use super::{MessageKind, recognise};

impl MessageKind {
    /// A real line of this kind, as the program prints it.
    const fn example(self) -> &'static str {
        match self {
            Self::NameNotKnown => "ping: nx.example: Name or service not known",
            Self::CouldNotResolve => "curl: (6) Could not resolve host: nx.example",
            Self::TemporaryFailure => {
                "socket.gaierror: [Errno -3] Temporary failure in name resolution"
            }
            Self::NoAddress => {
                "ssh: Could not resolve hostname nd.example: No address associated with hostname"
            }
            Self::NoSuchHost => "dial tcp: lookup nx.example on 10.96.0.10:53: no such host",
            Self::Nxdomain => ";; ->>HEADER<<- opcode: QUERY, status: NXDOMAIN, id: 38734",
            Self::Servfail => "Host sf.example not found: 2(SERVFAIL)",
            Self::Refused => "** server can't find rf.example: REFUSED",
            Self::ServerMisbehaving => "lookup sf.example on 10.96.0.10:53: server misbehaving",
            Self::ServerTimeout => {
                "lookup to.example on 10.96.0.10:53: read udp 10.244.0.9:37325->10.96.0.10:53: i/o timeout"
            }
            Self::ConnectionRefused => {
                ";; communications error to 10.96.0.10#53: connection refused"
            }
            Self::UnexpectedSource => {
                ";; reply from unexpected source: 10.244.0.3#53, expected 10.96.0.10#53"
            }
            Self::Truncated => ";; Truncated, retrying in TCP mode.",
            Self::UpstreamTimeout => {
                "[ERROR] plugin/errors: 2 example.com. A: read udp 10.244.0.2:43512->192.0.2.53:53: i/o timeout"
            }
            Self::UpstreamConnectionRefused => {
                "[ERROR] plugin/errors: 2 example.com. AAAA: read udp 10.244.0.2:43512->192.0.2.53:53: read: connection refused"
            }
            Self::UpstreamUnreachable => {
                "[ERROR] plugin/errors: 2 example.com. A: dial udp 192.0.2.53:53: connect: network is unreachable"
            }
            Self::NoHealthyUpstream => {
                "[ERROR] plugin/errors: 2 example.com. A: no healthy proxies"
            }
            Self::ForwardingLoop => {
                "[FATAL] plugin/loop: Loop (127.0.0.1:55953 -> :1053) detected for zone \".\", see https://coredns.io/plugins/loop#troubleshooting. Query: \"HINFO 4547991504243258144.3688648895315093531.\""
            }
            Self::UnknownDirective => {
                "/etc/coredns/Corefile:9 - Error during parsing: Unknown directive 'proxy'"
            }
            Self::ApiServerConnectionRefused => {
                "[ERROR] plugin/kubernetes: pkg/mod/k8s.io/client-go@v0.29.3/tools/cache/reflector.go:229: Failed to watch *v1.Service: failed to list *v1.Service: Get \"https://10.96.0.1:443/api/v1/services?limit=500&resourceVersion=0\": dial tcp 10.96.0.1:443: connect: connection refused"
            }
            Self::ApiServerTimeout => {
                "[INFO] plugin/kubernetes: pkg/mod/k8s.io/client-go@v0.29.3/tools/cache/reflector.go:229: failed to list *v1.EndpointSlice: Get \"https://10.96.0.1:443/apis/discovery.k8s.io/v1/endpointslices?limit=500\": dial tcp 10.96.0.1:443: i/o timeout"
            }
            Self::ApiServerForbidden => {
                "[ERROR] plugin/kubernetes: pkg/mod/k8s.io/client-go@v0.29.3/tools/cache/reflector.go:229: Failed to watch *v1.EndpointSlice: failed to list *v1.EndpointSlice: endpointslices.discovery.k8s.io is forbidden: User \"system:serviceaccount:kube-system:coredns\" cannot list resource \"endpointslices\""
            }
            Self::NotReady => "[INFO] plugin/ready: Still waiting on: \"kubernetes\"",
            Self::ConntrackTableFull => "nf_conntrack: nf_conntrack: table full, dropping packet",
        }
    }
}

/// Every message that `dnsprobe explain` knows.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from(
        "# Messages\n\nMade by `cargo xtask docs`. What `dnsprobe explain` makes of what programs say \
         when DNS\nfails them. A message is a client's opinion: each entry says what it leaves open.\n",
    );
    for kind in MessageKind::ALL {
        let example = kind.example();
        let (client, next) = recognise(example)
            .map_or_else(Default::default, |message| (message.client.to_string(), message.next()));
        let _ = write!(
            text,
            "\n## {kind}\n\n```text\n{example}\n```\n\nFor example from {client}.\n\n\
             **First question.** {}\n\n**What it means.** {}\n\n**What it does not prove.** {}\n\n\
             **Next.** `{next}`\n",
            kind.question(),
            kind.meaning(),
            kind.not_proven(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_recognises_its_own_example() {
        for kind in MessageKind::ALL {
            assert_eq!(recognise(kind.example()).unwrap().kind, kind);
        }
    }

    #[test]
    fn kinds_have_codes_and_texts_of_their_own() {
        let count = |text: fn(MessageKind) -> &'static str| {
            MessageKind::ALL.iter().map(|&kind| text(kind)).collect::<HashSet<_>>().len()
        };
        for text in [MessageKind::as_str, MessageKind::meaning, MessageKind::example] {
            assert_eq!(count(text), MessageKind::ALL.len());
        }
        for kind in MessageKind::ALL {
            assert!(kind.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            assert!(kind.question().contains('?') && !kind.not_proven().is_empty());
        }
    }
}
