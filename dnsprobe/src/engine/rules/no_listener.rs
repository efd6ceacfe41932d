//! Cause `no-listener`.
//! evidence: the query was dropped because no socket wanted it, or an ICMP
//!           port unreachable was sent for it
//! source:   net/ipv4/udp.c, __udp4_lib_rcv (5.10; drop reason since 5.17)

use super::{Decision, Timeline};
use crate::engine::{Cause, FactKind};

/// ICMP destination unreachable, port unreachable (RFC 792).
const PORT_UNREACHABLE: (u32, u32) = (3, 3);

pub(super) fn decide(timeline: &Timeline<'_>) -> Option<Decision> {
    let (decisive, how) = timeline.find(|fact| match &fact.kind {
        _ if fact.packet.is_answer => None,
        FactKind::Drop { no_socket: true, .. } => Some("no socket there wants it"),
        FactKind::Unreachable { icmp_type, icmp_code }
            if (*icmp_type, *icmp_code) == PORT_UNREACHABLE =>
        {
            Some("the kernel there answered with ICMP port unreachable")
        }
        _ => None,
    })?;
    let asked = timeline.facts[decisive].packet.tuple.destination;
    Some(Decision {
        cause: Cause::NoListener,
        summary: format!("The query reached {asked}, but {how}."),
        decisive: Some(decisive),
    })
}
