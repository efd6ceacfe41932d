//! What was asked and what came back, without judgement.

use std::net::SocketAddr;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use crate::dns::{Answer, NotAnAnswer};

/// A server that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// The service addresses that lead to it; empty: it is asked because it is
    /// configured or was given.
    pub backend_of: Vec<SocketAddr>,
    /// It is a service address with backends (or an IPVS service without any).
    pub service: bool,
    /// IPVS sends it no new connections: its weight is 0 for every service.
    pub drained: bool,
}

/// How a query travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
}

/// What became of one query.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was answered.
    Answered {
        /// What the answer says.
        answer: Answer,
        /// Sent to received, seconds.
        seconds: f64,
    },
    /// No answer in time.
    TimedOut,
    /// ICMP port unreachable, or a TCP reset.
    Refused,
    /// There is no way there: no route, or an ICMP error that says so.
    Unreachable,
    /// The kernel of this namespace refused to send (EPERM): a rule.
    NotPermitted,
    /// Anything else, in words.
    Failed(String),
}

/// Why something that came in was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mismatch {
    /// From an address that was not asked.
    Source(SocketAddr),
    /// Not an answer to the query.
    Content(NotAnAnswer),
}

/// Something that came in and was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Discarded(pub Mismatch);

impl Serialize for Discarded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Discarded", 2)?;
        match &self.0 {
            Mismatch::Source(from) => {
                fields.serialize_field("reason", "source")?;
                fields.serialize_field("from", &Some(from))?;
            }
            Mismatch::Content(reason) => {
                fields.serialize_field("reason", reason)?;
                fields.serialize_field("from", &None::<SocketAddr>)?;
            }
        }
        fields.end()
    }
}

/// One query and what came back.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// How it ended.
    pub outcome: Outcome,
    /// What came in before that and was not taken, each kind once.
    pub discarded: Vec<Discarded>,
}

impl Exchange {
    /// The answer, if there was one.
    #[must_use]
    pub const fn answer(&self) -> Option<&Answer> {
        match &self.outcome {
            Outcome::Answered { answer, .. } => Some(answer),
            _ => None,
        }
    }
}

/// Every query sent to one server over one transport.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tries(pub Vec<Exchange>);

impl Tries {
    /// Queries sent.
    #[must_use]
    pub const fn sent(&self) -> usize {
        self.0.len()
    }

    /// Answers.
    pub fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.0.iter().filter_map(Exchange::answer)
    }

    /// Queries answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answers().count()
    }

    /// Every query was answered, and there was one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.sent() > 0 && self.answered() == self.sent()
    }

    /// None was answered, and there was one.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.sent() > 0 && self.answered() == 0
    }

    /// Shortest and longest time to an answer, seconds.
    #[must_use]
    pub fn seconds(&self) -> Option<(f64, f64)> {
        self.0.iter().fold(None, |range, exchange| match exchange.outcome {
            Outcome::Answered { seconds, .. } => {
                let (min, max) = range.unwrap_or((seconds, seconds));
                Some((seconds.min(min), seconds.max(max)))
            }
            _ => range,
        })
    }

    /// How many ended so.
    pub fn ended(&self, how: impl Fn(&Outcome) -> bool) -> usize {
        self.0.iter().filter(|exchange| how(&exchange.outcome)).count()
    }
}

/// Everything measured of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The server.
    pub target: Target,
    /// Over UDP.
    pub udp: Tries,
    /// Over TCP: because that was asked for, because an answer over UDP was
    /// cut short, or once because none came over UDP.
    pub tcp: Tries,
    /// TCP was asked for.
    pub tcp_wanted: bool,
}

impl Measurement {
    /// Some answer over UDP was cut short.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.udp.answers().any(|answer| answer.truncated)
    }
}
