//! Cause `send-failed`, and the error's name for `no-route`.
//! evidence: the send call returned an error to the process
//! not this: an error for a packet that was dropped on its way out (a netfilter
//!           rule in OUTPUT: EPERM), which has its own cause
//! source:   net/ipv4/udp.c, udp_sendmsg (5.10)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

/// Errors a send call returns, by their Linux numbers
/// (include/uapi/asm-generic/errno.h).
const NAMES: [(i32, &str); 13] = [
    (1, "EPERM"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (22, "EINVAL"),
    (90, "EMSGSIZE"),
    (99, "EADDRNOTAVAIL"),
    (NETWORK_DOWN, "ENETDOWN"),
    (NETWORK_UNREACHABLE, "ENETUNREACH"),
    (105, "ENOBUFS"),
    (110, "ETIMEDOUT"),
    (111, "ECONNREFUSED"),
    (HOST_UNREACHABLE, "EHOSTUNREACH"),
];
const NETWORK_DOWN: i32 = 100;
const NETWORK_UNREACHABLE: i32 = 101;
const HOST_UNREACHABLE: i32 = 113;

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, errno) = error(timeline)?;
    Some(Decision {
        cause: Cause::SendFailed,
        summary: format!("Sending the query failed with {}.", name(errno)),
        decisive: Some(decisive),
    })
}

/// The error of the query's send call.
fn error(timeline: &Timeline<'_>) -> Option<(usize, i32)> {
    timeline.find(|fact| match fact.kind {
        FactKind::SendFailed { errno } => Some(errno),
        _ => None,
    })
}

/// The error, where it says that there is no route.
pub(super) fn without_route(timeline: &Timeline<'_>) -> Option<(usize, String)> {
    let (index, errno) = error(timeline)?;
    matches!(errno, NETWORK_UNREACHABLE | HOST_UNREACHABLE).then(|| (index, name(errno)))
}

/// An error's name, or its number.
fn name(errno: i32) -> String {
    NAMES
        .iter()
        .find(|(number, _)| *number == errno)
        .map_or_else(|| format!("error {errno}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{Case, fact, netfilter_drop};

    fn failed(errno: i32) -> Case {
        Case::of([fact(FactKind::SendFailed { errno })])
    }

    #[test]
    fn an_error_of_the_send_call_is_named() {
        let decision = failed(11).decision();
        assert_eq!(decision.cause, Cause::SendFailed);
        assert_eq!(decision.summary, "Sending the query failed with EAGAIN.");
        assert_eq!(failed(77).decision().summary, "Sending the query failed with error 77.");
    }

    #[test]
    fn an_error_that_says_there_is_no_route_is_that() {
        assert_eq!(failed(NETWORK_UNREACHABLE).cause(), Cause::NoRoute);
        assert_eq!(failed(HOST_UNREACHABLE).cause(), Cause::NoRoute);
        assert_eq!(failed(NETWORK_DOWN).cause(), Cause::SendFailed);
    }

    #[test]
    fn a_rule_that_makes_the_send_call_fail_comes_first() {
        let mut case = failed(1);
        case.facts.insert(0, fact(netfilter_drop()).owned());
        assert_eq!(case.cause(), Cause::PolicyDrop);
    }
}
