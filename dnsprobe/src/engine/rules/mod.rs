//! One file per cause. A rule looks at one lost query's timeline and either
//! proves its cause or says nothing. The order of [`RULES`] settles what
//! several true facts about one packet mean: the reason stands before the
//! mechanism it shows through (a clash, a full table and an IPVS drop all
//! also appear as a netfilter drop).

mod answer_mismatch;
mod conntrack_chain_too_long;
mod conntrack_clash;
mod conntrack_clash_late_answer;
mod conntrack_dying;
mod conntrack_table_full;
mod cpu_backlog_full;
mod ipvs_dead_backend;
mod ipvs_no_backend;
mod ipvs_port_conflict;
mod ipvs_stale_backend;
mod late_answer;
mod nat_ports_exhausted;
mod neighbour_failed;
mod no_listener;
mod no_route;
mod packet_invalid;
mod policy_drop;
mod remote_silence;
mod send_failed;
mod server_silent;
mod socket_buffer_full;
mod stale_nat_entry;
mod tc_drop;

use super::{
    Blindness, Cause, DroppedBy, Fact, FactKind, PacketSeen, QuerySeen, node_history::NodeHistory,
};

/// Everything known of one query that got no answer.
pub(crate) struct Timeline<'a> {
    pub(crate) query: &'a QuerySeen,
    /// In order of time.
    pub(crate) facts: &'a [Fact],
    pub(crate) blindness: &'a Blindness,
    pub(crate) events_lost_ns: Option<u64>,
    pub(crate) history: &'a NodeHistory,
}

/// A proven cause.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) cause: Cause,
    /// The proof in one sentence.
    pub(crate) summary: String,
    /// Index of the decisive fact; `None` when the proof is an absence.
    pub(crate) decisive: Option<usize>,
}

type Rule = fn(&Timeline<'_>) -> Option<Decision>;

const RULES: [Rule; 24] = [
    ipvs_port_conflict::decide,
    conntrack_clash::decide,
    conntrack_table_full::decide,
    nat_ports_exhausted::decide,
    conntrack_dying::decide,
    conntrack_chain_too_long::decide,
    ipvs_stale_backend::decide,
    ipvs_no_backend::decide,
    socket_buffer_full::decide,
    cpu_backlog_full::decide,
    ipvs_dead_backend::decide,
    stale_nat_entry::decide,
    no_listener::decide,
    conntrack_clash_late_answer::decide,
    policy_drop::decide,
    tc_drop::decide,
    neighbour_failed::decide,
    no_route::decide,
    packet_invalid::decide,
    late_answer::decide,
    answer_mismatch::decide,
    send_failed::decide,
    server_silent::decide,
    remote_silence::decide,
];

/// The first rule's decision, or `unexplained`.
pub(crate) fn decide(timeline: &Timeline<'_>) -> Decision {
    RULES.iter().find_map(|rule| rule(timeline)).unwrap_or_else(|| unexplained(timeline))
}

fn unexplained(timeline: &Timeline<'_>) -> Decision {
    let seen = match timeline.facts.last().map(|fact| &fact.kind) {
        None => "nothing was seen to happen to it".to_owned(),
        Some(FactKind::Drop { reason, location, .. }) => format!(
            "it was dropped at {location} ({}), which alone does not say why",
            reason.as_deref().unwrap_or("this kernel names no reason")
        ),
        Some(FactKind::ConfirmDrop) => {
            "conntrack refused to confirm its entry, for a reason that was not seen".to_owned()
        }
        Some(FactKind::IpvsDrop { .. }) => {
            "IPVS dropped it, for a reason that was not seen".to_owned()
        }
        Some(FactKind::Stray { .. }) => "an answer came from an address it did not ask".to_owned(),
        Some(FactKind::Unreachable { icmp_type, icmp_code }) => {
            format!("ICMP error type {icmp_type} code {icmp_code} answered it")
        }
        Some(FactKind::Clash { .. }) => "its conntrack entry clashed and was kept".to_owned(),
        Some(FactKind::SendFailed { errno }) => format!("sending it failed with error {errno}"),
        Some(FactKind::NatDrop) => "source NAT dropped it".to_owned(),
        Some(FactKind::IpvsDraining { backend }) => {
            format!("IPVS sent it to {}, whose weight is 0", backend.address)
        }
    };
    Decision {
        cause: Cause::Unexplained,
        summary: format!("No answer came and no cause is proven: {seen}."),
        decisive: timeline.facts.len().checked_sub(1),
    }
}

impl<'a> Timeline<'a> {
    /// The first fact that `pick` makes something of, and its index.
    fn find<T>(&self, pick: impl Fn(&'a Fact) -> Option<T>) -> Option<(usize, T)> {
        self.facts.iter().enumerate().find_map(|(index, fact)| Some((index, pick(fact)?)))
    }

    /// Whether the query's or answer's packet was dropped for a clash.
    fn lost_clash(&self) -> bool {
        self.facts.iter().any(|fact| matches!(fact.kind, FactKind::Clash { resolved: false, .. }))
    }

    /// Whether all that happened to the query is what happens on the way to
    /// somebody who is gone: no socket, no neighbour, no route, a device that is
    /// down. Nothing at all counts too.
    fn only_dead_ends(&self) -> bool {
        // Where drops have no reasons, an ICMP error says what its packet met.
        let unreachable =
            self.facts.iter().any(|fact| matches!(fact.kind, FactKind::Unreachable { .. }));
        let is_dead_end = |by: DroppedBy| match by {
            DroppedBy::NoSocket
            | DroppedBy::Neighbour
            | DroppedBy::Routing
            | DroppedBy::IpvsTransmit
            | DroppedBy::TrafficControl => true,
            DroppedBy::Other | DroppedBy::UdpReceive => unreachable,
            DroppedBy::Netfilter | DroppedBy::Backlog | DroppedBy::Validation => false,
        };
        self.facts.iter().all(|fact| {
            !fact.packet.is_answer
                && match &fact.kind {
                    FactKind::Drop { by, queue_full, .. } => {
                        queue_full.is_none() && is_dead_end(*by)
                    }
                    FactKind::Unreachable { .. } | FactKind::IpvsDraining { .. } => true,
                    _ => false,
                }
        })
    }

    /// Whether events may be missing that would tell of this query.
    fn may_miss_events(&self) -> bool {
        self.events_lost_ns.is_some_and(|at_ns| at_ns >= self.query.start_ns)
    }

    /// Whether a fact is a port unreachable from the place the packet was sent
    /// to. A netfilter rule sends the same (REJECT's default): then the rule's
    /// own drop of the packet was seen, or would not have been.
    fn is_port_unreachable(&self, error: &Fact) -> bool {
        // RFC 792 and RFC 4443 section 3.1.
        let wanted = if error.packet.tuple.destination.is_ipv4() { (3, 3) } else { (1, 4) };
        let FactKind::Unreachable { icmp_type, icmp_code } = error.kind else { return false };
        let rejected = self.facts.iter().any(|fact| {
            fact.packet.is_answer == error.packet.is_answer
                && matches!(fact.kind, FactKind::Drop { by: DroppedBy::Netfilter, .. })
        });
        (icmp_type, icmp_code) == wanted
            && !(rejected || self.blindness.drops || self.may_miss_events())
    }
}

/// The first packet of the query that a part of the kernel dropped.
fn dropped_by<'a>(timeline: &Timeline<'a>, wanted: DroppedBy) -> Option<(usize, &'a Fact)> {
    timeline.find(|fact| match &fact.kind {
        FactKind::Drop { by, queue_full: None, .. } if *by == wanted => Some(fact),
        _ => None,
    })
}

/// A drop's reason and place.
fn how(fact: &Fact) -> String {
    match &fact.kind {
        FactKind::Drop { reason: Some(reason), location, .. } => format!("{reason} at {location}"),
        FactKind::Drop { location, .. } => location.clone(),
        _ => String::new(),
    }
}

/// " at device X", as far as it is known.
fn place(packet: &PacketSeen) -> String {
    match &packet.device {
        Some(device) => match &device.name {
            Some(name) => format!(" at device {name}"),
            None => format!(" at device {} of network namespace {}", device.ifindex, device.netns),
        },
        None if packet.owner.is_some() => " on its way out of the sender's socket".to_owned(),
        None => String::new(),
    }
}

/// "query" or "answer".
fn direction(fact: &Fact) -> &'static str {
    if fact.packet.is_answer { "answer" } else { "query" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BackendState;
    use crate::engine::testing::{
        Case, SECOND, SENT, STRAY, UNKNOWN_IPVS_DROP, answer_fact, at_server, backend, device,
        draining, drop_by, fact, ipvs_drop, left_as, lost_clash, netfilter_drop, no_socket,
        queue_full, resolved_clash, service, table_full, unknown_drop,
    };

    fn summary(facts: impl IntoIterator<Item = Fact>) -> String {
        let decision = Case::of(facts).decision();
        assert_eq!(decision.cause, Cause::Unexplained);
        decision.summary
    }

    #[test]
    fn what_is_not_explained_says_what_was_seen_last() {
        let cases: [(Fact, &str); 5] = [
            (fact(unknown_drop()), "dropped at skb_release+0x1 (SOMETHING), which"),
            (fact(FactKind::ConfirmDrop), "conntrack refused to confirm its entry"),
            (fact(UNKNOWN_IPVS_DROP), "IPVS dropped it"),
            (fact(FactKind::Unreachable { icmp_type: 3, icmp_code: 1 }), "type 3 code 1 answered"),
            (resolved_clash(), "its conntrack entry clashed and was kept"),
        ];
        for (fact, expected) in cases {
            let summary = summary([fact]);
            assert!(summary.contains(expected), "{summary}");
        }
        assert!(summary([]).contains("nothing was seen to happen to it"));
        let last = summary([fact(FactKind::ConfirmDrop), fact(unknown_drop())]);
        assert!(last.contains("SOMETHING"), "{last}");
    }

    #[test]
    fn a_kernel_without_reasons_is_said_to_have_none() {
        let mut drop = unknown_drop();
        if let FactKind::Drop { reason, .. } = &mut drop {
            *reason = None;
        }
        assert!(summary([fact(drop)]).contains("this kernel names no reason"));
    }

    #[test]
    fn every_loss_has_a_case_that_ends_in_it() {
        let mut silent = Case::of([]);
        silent.query.device = Some((device(true), SENT));
        let mut taken = Case::of([]);
        taken.query.at_server = Some(at_server());
        let mut stale = Case::of([]);
        stale.query.translation = Some(left_as(3, BackendState::Gone));
        let mut chain = Case::of([fact(FactKind::ConfirmDrop)]);
        chain.history.counted(SENT, 0);
        chain.history.counted(SENT + SECOND, 1);
        let mut dying = Case::of([fact(FactKind::ConfirmDrop)]);
        dying.history.purged(SENT, None);
        let mut conflict = lost_clash();
        if let FactKind::Clash { ipvs, .. } = &mut conflict.kind {
            *ipvs = true;
        }
        let late = answer_fact(STRAY, backend(2)).at(SENT + 2 * SECOND);
        let dropped = |by| Case::of([fact(drop_by(by, "WHY", "somewhere+0x1"))]);
        let mut seen: Vec<Cause> = [
            Case::of([lost_clash()]),
            Case::of([conflict]),
            Case::of([resolved_clash(), late]),
            Case::of([fact(table_full())]),
            Case::of([fact(FactKind::NatDrop)]),
            chain,
            dying,
            stale,
            Case::of([fact(ipvs_drop(false))]),
            Case::of([fact(FactKind::IpvsDrop { backend: None, no_backend: true })]),
            Case::of([draining(3)]),
            Case::of([fact(queue_full(1, 1))]),
            Case::of([fact(netfilter_drop())]),
            Case::of([fact(no_socket())]),
            dropped(DroppedBy::TrafficControl),
            dropped(DroppedBy::Backlog),
            dropped(DroppedBy::Routing),
            dropped(DroppedBy::Neighbour),
            dropped(DroppedBy::Validation),
            Case::of([fact(FactKind::SendFailed { errno: 11 })]),
            Case::of([answer_fact(no_socket(), service(10))]),
            Case::of([answer_fact(STRAY, backend(2))]),
            Case::of([]),
            silent,
            taken,
        ]
        .iter()
        .map(Case::cause)
        .collect();
        seen.sort_unstable();
        let losses: Vec<Cause> = Cause::ALL.into_iter().filter(|cause| cause.is_loss()).collect();
        assert_eq!(seen, losses);
    }
}
