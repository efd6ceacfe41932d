//! What measurements prove, and nothing more.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{Measurement, Mismatch, Outcome, Tries};
use crate::dns::Answer;

/// A fact about what was measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// Every query was answered, and every answer is good.
    Nothing,
    /// No answer from the service address; each backend answers every query.
    ServiceAddressSilent(SocketAddr),
    /// No answer from the service address nor from any backend of it.
    ServiceSilent(SocketAddr),
    /// IPVS has the service, without any real server.
    NoBackends(SocketAddr),
    /// No answer from one backend of a service.
    BackendSilent(SocketAddr),
    /// The same of a backend that gets no new queries: weight 0 in IPVS.
    DrainedBackendSilent(SocketAddr),
    /// No answer from a server that is no backend.
    ServerSilent(SocketAddr),
    /// Answers are missing, and no backend that fails accounts for it.
    AnswersMissing(SocketAddr, Share),
    /// ICMP port unreachable or a TCP reset for queries.
    ConnectionRefused(SocketAddr),
    /// The kernel of the asking namespace refuses to send.
    SendRefused(SocketAddr),
    /// There is no route.
    Unreachable(SocketAddr),
    /// No answer over UDP; over TCP there is one.
    UdpLost(SocketAddr),
    /// Answers over UDP are cut short, and TCP does not give the whole.
    TruncatedWithoutTcp(SocketAddr, Share),
    /// TCP was asked for and is not answered.
    TcpUnanswered(SocketAddr, Share),
    /// Answers are cut short over UDP; over TCP they are whole.
    Truncated(SocketAddr),
    /// An answer came from an address that was not asked.
    WrongSource {
        /// Who was asked.
        server: SocketAddr,
        /// Who answered.
        from: SocketAddr,
    },
    /// Answers to the same question differ in their codes.
    CodesDiffer(BTreeMap<String, Vec<SocketAddr>>),
    /// Every answer has this code, which is an error.
    ErrorCode(String, Vec<SocketAddr>),
    /// Every answer says that the name does not exist.
    NameMissing(Vec<SocketAddr>),
    /// Every answer says that the name has no such record.
    NoRecords(Vec<SocketAddr>),
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    answered: usize,
    sent: usize,
}

impl Share {
    fn of(tries: &Tries) -> Self {
        Self { answered: tries.answered(), sent: tries.sent() }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.answered, self.sent)
    }
}

impl Conclusion {
    /// The stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::ServiceAddressSilent(_) => "service-address-silent",
            Self::ServiceSilent(_) => "service-silent",
            Self::NoBackends(_) => "no-backends",
            Self::BackendSilent(_) => "backend-silent",
            Self::DrainedBackendSilent(_) => "drained-backend-silent",
            Self::ServerSilent(_) => "server-silent",
            Self::AnswersMissing(..) => "answers-missing",
            Self::ConnectionRefused(_) => "connection-refused",
            Self::SendRefused(_) => "send-refused",
            Self::Unreachable(_) => "unreachable",
            Self::UdpLost(_) => "udp-lost",
            Self::TruncatedWithoutTcp(..) => "truncated-without-tcp",
            Self::TcpUnanswered(..) => "tcp-unanswered",
            Self::Truncated(_) => "truncated",
            Self::WrongSource { .. } => "wrong-source",
            Self::CodesDiffer(_) => "codes-differ",
            Self::ErrorCode(..) => "error-code",
            Self::NameMissing(_) => "name-missing",
            Self::NoRecords(_) => "no-records",
        }
    }

    /// Whether something is broken. The others are worth knowing.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Nothing | Self::DrainedBackendSilent(_) | Self::Truncated(_) | Self::NoRecords(_)
        )
    }

    /// The servers it is about.
    #[must_use]
    pub fn servers(&self) -> Vec<SocketAddr> {
        match self {
            Self::Nothing => Vec::new(),
            Self::ServiceAddressSilent(server)
            | Self::ServiceSilent(server)
            | Self::NoBackends(server)
            | Self::BackendSilent(server)
            | Self::DrainedBackendSilent(server)
            | Self::ServerSilent(server)
            | Self::AnswersMissing(server, _)
            | Self::ConnectionRefused(server)
            | Self::SendRefused(server)
            | Self::Unreachable(server)
            | Self::UdpLost(server)
            | Self::TruncatedWithoutTcp(server, _)
            | Self::TcpUnanswered(server, _)
            | Self::Truncated(server)
            | Self::WrongSource { server, .. } => vec![*server],
            Self::ErrorCode(_, servers) | Self::NameMissing(servers) | Self::NoRecords(servers) => {
                servers.clone()
            }
            Self::CodesDiffer(codes) => codes.values().flatten().copied().collect(),
        }
    }
}

impl fmt::Display for Conclusion {
    /// In words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("Every query was answered, and the answers agree."),
            Self::ServiceAddressSilent(service) => write!(
                f,
                "The service address {service} does not answer, while every backend behind it \
                 answers each query sent to it directly: look at what this node does with the \
                 service address (translation, rules for it), not at the backends."
            ),
            Self::ServiceSilent(service) => write!(
                f,
                "Neither the service address {service} nor any backend behind it answers."
            ),
            Self::NoBackends(service) => write!(f, "The service {service} has no backend in IPVS."),
            Self::BackendSilent(backend) => {
                write!(f, "Backend {backend} does not answer queries sent to it directly.")
            }
            Self::DrainedBackendSilent(backend) => write!(
                f,
                "Backend {backend} does not answer; IPVS sends it no new queries (weight 0)."
            ),
            Self::ServerSilent(server) => write!(f, "{server} does not answer."),
            Self::AnswersMissing(server, share) => write!(
                f,
                "{server} answered only {share} queries, and no failing backend accounts for it."
            ),
            Self::ConnectionRefused(server) => write!(
                f,
                "{server} refuses: ICMP port unreachable came back. Nobody listens there, or a \
                 rule rejects."
            ),
            Self::SendRefused(server) => write!(
                f,
                "Sending to {server} is refused where the query is made (EPERM): a rule in that \
                 network namespace, or a filter on its processes' cgroup."
            ),
            Self::Unreachable(server) => write!(
                f,
                "{server} is unreachable: there is no route, or an ICMP error says that the way \
                 ends before it."
            ),
            Self::UdpLost(server) => {
                write!(f, "{server} gives no answer over UDP, and one over TCP.")
            }
            Self::TruncatedWithoutTcp(server, share) => write!(
                f,
                "{server} cuts answers short over UDP, and over TCP {share} queries were answered."
            ),
            Self::TcpUnanswered(server, share) => {
                write!(f, "{server} answered {share} queries over TCP.")
            }
            Self::Truncated(server) => write!(
                f,
                "{server} cuts answers short over UDP; over TCP they come whole. A resolver \
                 without TCP sees a part."
            ),
            Self::WrongSource { server, from } => write!(
                f,
                "An answer to a query to {server} came from {from}; resolvers discard it."
            ),
            Self::CodesDiffer(codes) => {
                f.write_str("Answers to one question differ:")?;
                for (index, (code, servers)) in codes.iter().enumerate() {
                    let comma = if index > 0 { ";" } else { "" };
                    write!(f, "{comma} {code} from {}", list(servers))?;
                }
                f.write_str(".")
            }
            Self::ErrorCode(code, _) => write!(f, "Every answer is {code}."),
            Self::NameMissing(_) => {
                f.write_str("Every answer is NXDOMAIN: the name does not exist.")
            }
            Self::NoRecords(_) => {
                f.write_str("The name exists, and has no record of the type that was asked for.")
            }
        }
    }
}

impl Serialize for Conclusion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Conclusion", 4)?;
        fields.serialize_field("code", self.code())?;
        fields.serialize_field("fault", &self.is_fault())?;
        fields.serialize_field("servers", &self.servers())?;
        fields.serialize_field("summary", &self.to_string())?;
        fields.end()
    }
}

fn list(servers: &[SocketAddr]) -> String {
    servers.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// What the measurements prove. Never empty: [`Conclusion::Nothing`] comes
/// first when nothing is broken.
#[must_use]
pub fn conclude(measurements: &[Measurement]) -> Vec<Conclusion> {
    let mut conclusions: Vec<Conclusion> =
        measurements.iter().flat_map(|one| reached(one, measurements)).collect();
    conclusions.extend(measurements.iter().flat_map(transports));
    conclusions.extend(measurements.iter().flat_map(sources));
    conclusions.extend(codes(measurements));
    if !conclusions.iter().any(Conclusion::is_fault) {
        conclusions.insert(0, Conclusion::Nothing);
    }
    conclusions
}

/// Whether one server can be reached.
fn reached(one: &Measurement, all: &[Measurement]) -> Option<Conclusion> {
    let server = one.target.address;
    let backends: Vec<&Measurement> =
        all.iter().filter(|other| other.target.backend_of.contains(&server)).collect();
    if one.target.service && backends.is_empty() {
        return Some(Conclusion::NoBackends(server));
    }
    if one.udp.sent() == 0 || one.udp.is_whole() {
        return None;
    }
    if let Some(refusal) = refusal(one) {
        return Some(refusal);
    }
    if !one.udp.is_silent() {
        // The backends that fail are told by themselves.
        let whole = backends.iter().all(|backend| backend.udp.is_whole());
        return whole.then(|| Conclusion::AnswersMissing(server, Share::of(&one.udp)));
    }
    if one.target.service {
        return Some(if backends.iter().all(|backend| backend.udp.is_whole()) {
            Conclusion::ServiceAddressSilent(server)
        } else if backends.iter().all(|backend| backend.udp.is_silent()) {
            Conclusion::ServiceSilent(server)
        } else {
            Conclusion::ServerSilent(server)
        });
    }
    Some(match () {
        () if one.target.drained => Conclusion::DrainedBackendSilent(server),
        () if one.target.backend_of.is_empty() => Conclusion::ServerSilent(server),
        () => Conclusion::BackendSilent(server),
    })
}

/// Somebody said no, rather than nothing.
fn refusal(one: &Measurement) -> Option<Conclusion> {
    let server = one.target.address;
    let some = |how: fn(&Outcome) -> bool| one.udp.ended(how) > 0;
    if some(|outcome| *outcome == Outcome::NotPermitted) {
        Some(Conclusion::SendRefused(server))
    } else if some(|outcome| *outcome == Outcome::Refused) {
        Some(Conclusion::ConnectionRefused(server))
    } else if some(|outcome| *outcome == Outcome::Unreachable) {
        Some(Conclusion::Unreachable(server))
    } else {
        None
    }
}

/// What UDP and TCP say about each other.
fn transports(one: &Measurement) -> Option<Conclusion> {
    let server = one.target.address;
    let share = Share::of(&one.tcp);
    if one.udp.is_silent() && share.answered > 0 {
        Some(Conclusion::UdpLost(server))
    } else if one.is_truncated() {
        Some(if one.tcp.is_whole() {
            Conclusion::Truncated(server)
        } else {
            Conclusion::TruncatedWithoutTcp(server, share)
        })
    } else if one.tcp_wanted && share.answered < share.sent {
        Some(Conclusion::TcpUnanswered(server, share))
    } else {
        None
    }
}

fn sources(one: &Measurement) -> Vec<Conclusion> {
    let server = one.target.address;
    let mut from: Vec<SocketAddr> = one
        .udp
        .0
        .iter()
        .flat_map(|exchange| &exchange.discarded)
        .filter_map(|discarded| match discarded.0 {
            Mismatch::Source(from) => Some(from),
            Mismatch::Content(_) => None,
        })
        .collect();
    from.sort();
    from.dedup();
    from.into_iter().map(|from| Conclusion::WrongSource { server, from }).collect()
}

/// What the answers say.
fn codes(measurements: &[Measurement]) -> Option<Conclusion> {
    let mut codes: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for one in measurements {
        for answer in one.udp.answers().chain(one.tcp.answers()) {
            let servers = codes.entry(code(answer)).or_default();
            if !servers.contains(&one.target.address) {
                servers.push(one.target.address);
            }
        }
    }
    if codes.len() > 1 {
        return Some(Conclusion::CodesDiffer(codes));
    }
    let (code, servers) = codes.pop_first()?;
    match code.as_str() {
        "NOERROR" => None,
        NODATA => Some(Conclusion::NoRecords(servers)),
        "NXDOMAIN" => Some(Conclusion::NameMissing(servers)),
        _ => Some(Conclusion::ErrorCode(code, servers)),
    }
}

/// NOERROR without a record, as RFC 2308 names it.
const NODATA: &str = "NODATA";

/// What is compared of an answer. One that was cut short may have lost its
/// records, so it counts as having them.
fn code(answer: &Answer) -> String {
    if answer.is_noerror() && answer.records == 0 && !answer.truncated {
        NODATA.to_owned()
    } else {
        answer.rcode.clone()
    }
}

#[cfg(test)]
mod tests;
