//! The hooks of a watch: attached as its options say, and what they cannot see.

use std::num::NonZeroU8;

use super::{WatchOptions, watch::Detail};
use crate::{
    engine::Blindness,
    identity::Identity,
    kernel::{self, RoleState, Session},
    stats::Missing,
};

/// Attaches what is possible. Follows no query until it is told to.
///
/// # Errors
/// When DNS traffic cannot be seen at all.
pub(super) fn attach(
    options: &WatchOptions,
    detail: Detail,
    sample_bits: Option<NonZeroU8>,
    identity: &Identity,
) -> anyhow::Result<Session> {
    let session = Session::start(&kernel::Options {
        ports: options.traffic.ports.clone(),
        trace: detail == Detail::Transactions,
        questions: detail != Detail::Counts,
        sample_bits,
        capture: options.capture,
        root_cgroup: identity.root_cgroup(),
    })?;
    session.sees_traffic()?;
    Ok(session)
}

/// Roles that are not attached and would be needed.
pub(super) fn missing(session: &Session) -> Vec<Missing> {
    let roles = session.roles().iter();
    roles
        .filter_map(|report| match &report.state {
            RoleState::Missing { reason } => {
                Some(Missing { role: report.role.to_string(), reason: reason.clone() })
            }
            _ => None,
        })
        .collect()
}

/// What verdicts have to allow for.
pub(super) fn blindness(session: &Session) -> Blindness {
    let missing = |role: kernel::Role| {
        session
            .roles()
            .iter()
            .any(|r| r.role == role && matches!(r.state, RoleState::Missing { .. }))
    };
    Blindness {
        drops: missing(kernel::Role::Drop) || missing(kernel::Role::QdiscDrop),
        transmit: missing(kernel::Role::Transmit),
        confirm: missing(kernel::Role::ConntrackConfirm),
        clash: missing(kernel::Role::ConntrackClash),
        purge: missing(kernel::Role::ConntrackPurge),
        table_full: missing(kernel::Role::ConntrackFull),
        ipvs: missing(kernel::Role::IpvsVerdict),
        icmp: missing(kernel::Role::NoListener),
        late_sending: session.sees_sending_late(),
        missing: kernel::Role::ALL
            .into_iter()
            .filter(|role| missing(*role))
            .map(|role| role.to_string())
            .collect(),
    }
}
