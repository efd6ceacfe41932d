//! TCP as far as it is not about one query: connections to DNS ports that were
//! never made.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use dnsprobe_common::flow::Transport;
use serde::{Deserialize, Serialize, Serializer};

use crate::{
    identity::{Identify, Owner, OwnerKey},
    time::{Clock, Timestamp},
};

/// The stable name of a transport.
#[must_use]
pub const fn transport_name(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    }
}

/// Serialises a transport by its name; the type itself is shared with the
/// kernel programs and knows no serde.
pub(super) fn serialize_transport<S: Serializer>(
    transport: &Transport,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(transport_name(*transport))
}

/// Why a connection was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConnectError {
    /// Refused: a reset answered the first segment (ECONNREFUSED).
    Refused,
    /// The kernel gave up repeating the first segment (ETIMEDOUT).
    TimedOut,
    /// An ICMP error says that there is no way (EHOSTUNREACH, ENETUNREACH).
    Unreachable,
    /// The process gave up while nothing had answered.
    GivenUp,
    /// Any other error of the socket.
    Other,
}

impl ConnectError {
    /// From the socket's error; 0 when it was closed without one.
    #[must_use]
    pub const fn of(errno: u32) -> Self {
        const ENETUNREACH: u32 = 101;
        const ETIMEDOUT: u32 = 110;
        const ECONNREFUSED: u32 = 111;
        const EHOSTUNREACH: u32 = 113;
        match errno {
            0 => Self::GivenUp,
            ECONNREFUSED => Self::Refused,
            ETIMEDOUT => Self::TimedOut,
            ENETUNREACH | EHOSTUNREACH => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// What happened, to follow "the connection".
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Refused => "was refused",
            Self::TimedOut => "got no answer until the kernel gave up",
            Self::Unreachable => "found no way to the server",
            Self::GivenUp => "got no answer until the process gave up",
            Self::Other => "failed",
        }
    }
}

/// A connection that was not made, as the kernel programs saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectSeen {
    /// Who wanted it; the port is the one the kernel had chosen.
    pub client: SocketAddr,
    /// To whom.
    pub server: SocketAddr,
    /// Who it belongs to.
    pub owner: OwnerKey,
    /// When the first segment was sent, kernel nanoseconds; 0: not seen.
    pub start_ns: u64,
    /// When it ended, kernel nanoseconds.
    pub end_ns: u64,
    /// The socket's error number; 0: none.
    pub errno: u32,
}

/// A connection to a DNS port that was not made.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectFailure {
    /// When it ended.
    pub time: Timestamp,
    /// The one owner.
    pub owner: Arc<Owner>,
    /// Who wanted it.
    pub client: SocketAddr,
    /// To whom, before translation.
    pub server: SocketAddr,
    /// What became of it.
    pub error: ConnectError,
    /// The socket's error number; 0: none.
    pub errno: u32,
    /// From the first segment to the end; `None` when the start was not seen.
    pub waited_seconds: Option<f64>,
    /// Process id, where it was known.
    pub pid: Option<u32>,
}

impl ConnectFailure {
    pub(super) fn of(seen: &ConnectSeen, identify: &mut dyn Identify, clock: &Clock) -> Self {
        let waited = Duration::from_nanos(seen.end_ns.saturating_sub(seen.start_ns));
        Self {
            time: clock.timestamp(seen.end_ns),
            owner: identify.owner(seen.owner),
            client: seen.client,
            server: seen.server,
            error: ConnectError::of(seen.errno),
            errno: seen.errno,
            waited_seconds: (seen.start_ns != 0).then_some(waited.as_secs_f64()),
            pid: (seen.owner.tgid != 0).then_some(seen.owner.tgid),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        Observation, Outcome,
        testing::{ASKER, Bench, MS, SECOND, SENT, client, service},
    };

    fn seen(errno: u32) -> ConnectSeen {
        ConnectSeen {
            client: client(),
            server: service(10),
            owner: ASKER,
            start_ns: SENT,
            end_ns: SENT + 3 * SECOND,
            errno,
        }
    }

    fn failure(seen: ConnectSeen) -> ConnectFailure {
        let mut outcomes = Bench::new().observe(Observation::ConnectFailed(Box::new(seen)));
        match outcomes.pop() {
            Some(Outcome::ConnectFailed(failure)) => *failure,
            other => panic!("no failure: {other:?}"),
        }
    }

    #[test]
    fn a_refused_connection_names_owner_server_and_error() {
        let failure = failure(seen(111));
        assert_eq!((failure.error, failure.errno), (ConnectError::Refused, 111));
        assert_eq!(failure.server, service(10));
        assert_eq!(failure.waited_seconds, Some(3.0));
        assert_eq!(failure.pid, Some(123));
        assert_eq!(serde_json::to_value(failure).unwrap()["error"], "refused");
    }

    #[test]
    fn a_connection_closed_without_an_error_was_given_up() {
        assert_eq!(failure(seen(0)).error, ConnectError::GivenUp);
        assert_eq!(failure(seen(110)).error, ConnectError::TimedOut);
        assert_eq!(failure(seen(113)).error, ConnectError::Unreachable);
        assert_eq!(failure(seen(1)).error, ConnectError::Other);
    }

    #[test]
    fn what_was_not_seen_to_begin_has_no_duration() {
        let late = ConnectSeen { start_ns: 0, end_ns: SENT + MS, ..seen(111) };
        assert_eq!(failure(late).waited_seconds, None);
    }
}
