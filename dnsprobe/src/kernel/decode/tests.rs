//! Records made by hand, as the kernel programs would write them.

use std::cell::RefCell;

use dnsprobe_common::{
    dns::QUESTION_LEN,
    event::STACK,
    flow::{self, v4_mapped},
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::dns::QType;

const AT_NS: u64 = 77_000_000_000;
const NOT_SPECIFIED: u32 = 2;
const NO_SOCKET: u32 = 3;
const NETFILTER_DROP: u32 = 12;

/// Decodes with this machine's symbols and devices, and no memory of
/// queries but one.
struct Room {
    reasons: DropReasons,
    qdisc_reasons: DropReasons,
    symbols: Symbols,
    devices: Devices,
    ipvs: IpvsState,
}

impl Room {
    fn new() -> Self {
        let reasons = [
            ("SKB_DROP_REASON_NOT_SPECIFIED", NOT_SPECIFIED),
            ("SKB_DROP_REASON_NO_SOCKET", NO_SOCKET),
            ("SKB_DROP_REASON_NETFILTER_DROP", NETFILTER_DROP),
        ];
        Self {
            reasons: DropReasons::new(
                reasons.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                "SKB_DROP_REASON_",
            ),
            qdisc_reasons: DropReasons::default(),
            symbols: Symbols::open(),
            devices: Devices::new(),
            ipvs: IpvsState::default(),
        }
    }

    /// Also returns what was asked of the memory of queries.
    fn decode_asking(&mut self, record: &[u8]) -> (Option<Observation>, Vec<(u64, Option<u16>)>) {
        let memory = Memory::default();
        let mut context = Context {
            reasons: &self.reasons,
            qdisc_reasons: &self.qdisc_reasons,
            symbols: &mut self.symbols,
            devices: &mut self.devices,
            ipvs: &mut self.ipvs,
            recent: &memory,
        };
        let observation = decode(record, &mut context);
        (observation, memory.asked.into_inner())
    }

    fn decode(&mut self, record: &[u8]) -> Option<Observation> {
        self.decode_asking(record).0
    }

    fn fact(&mut self, record: &[u8]) -> Fact {
        match self.decode(record) {
            Some(Observation::Fact(fact)) => *fact,
            other => panic!("no fact: {other:?}"),
        }
    }
}

/// A command as the kernel programs hold it.
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let half = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
    [half(0), half(8)]
}

/// Remembers one query, and what it was asked.
#[derive(Default)]
struct Memory {
    asked: std::cell::RefCell<Vec<(u64, Option<u16>)>>,
}

impl Remembered for Memory {
    fn creator(&self, _: &RawTuple, at_ns: u64, loser: Option<u16>) -> Option<QuerySeen> {
        self.asked.borrow_mut().push((at_ns, loser));
        Some(query_seen(&key(), &in_flight_query(), &mut Devices::new()))
    }

    fn command(&self, _: &QueryKey, _: u64) -> Option<String> {
        Some("dig".to_owned())
    }

    fn question(&self, _: &QueryKey, _: u64) -> Option<Raw> {
        Some(raw_question())
    }
}

fn bytes<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: every T used is repr(C), made of integers only and without
    // implicit padding, so all its bytes are initialised.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }
}

fn v4(last: u8) -> Address {
    v4_mapped(u32::from_ne_bytes([10, 0, 0, last]))
}

fn raw_tuple(from: u8, to: u8) -> RawTuple {
    RawTuple {
        source: v4(from),
        destination: v4(to),
        source_port: 40_000 + u16::from(from),
        destination_port: 53,
    }
}

fn text(tuple: Tuple) -> String {
    tuple.to_string()
}

fn raw_question() -> Raw {
    let mut question = Raw { len: 12, bytes: [0xaa; QUESTION_LEN], message_len: 12 };
    question.bytes[..12].copy_from_slice(b"\x01a\x04test\x00\x00\x1c\x00\x01");
    question
}

fn key() -> QueryKey {
    QueryKey {
        client: v4(1),
        server: v4(2),
        client_port: 40_001,
        server_port: 53,
        id: 4660,
        role: Role::Client as u8,
        transport: 0,
        netns: 0,
        pad: 0,
    }
}

fn in_flight_query() -> InFlight {
    InFlight {
        start_ns: 5,
        middle_ns: 0,
        device_ns: 8,
        cgroup: 11,
        socket: 0x1000,
        command: [0; 2],
        netns: 4011,
        tgid: 123,
        device_ifindex: 9,
        device_netns: 0,
        state: state::SENT,
        answer_flags: 0x8183,
        conntrack_info: 1,
        left_as: raw_tuple(1, 3),
        stats: 0,
    }
}

fn packet(kind: EventKind) -> Packet {
    Packet {
        header: Header { kind: kind as u32, cpu: 3, at_ns: AT_NS },
        cgroup: 11,
        socket: 0x1000,
        netns: 4011,
        ifindex: 0,
        tuple: raw_tuple(1, 2),
        id: 4660,
        flags: 0x0100,
        has_conntrack: 1,
        has_query: 0,
        pad: 0,
        conntrack_status: 0x1a8,
        original: raw_tuple(1, 2),
        reply: raw_tuple(3, 1),
        query: in_flight_query(),
        question: raw_question(),
    }
}

fn raw_drop(reason: u32, location: u64) -> Drop {
    Drop {
        packet: packet(EventKind::Drop),
        location,
        stack: [0; STACK],
        receiver_cgroup: 22,
        table_full_ns: 0,
        reason,
        queue_full: 0,
        receiver_rmem_bytes: 4_608,
        receiver_rcvbuf_bytes: 2_304,
        receiver_netns: 4_022,
        by_qdisc: 0,
    }
}

fn finished(kind: EventKind) -> Finished {
    Finished {
        header: Header { kind: kind as u32, cpu: 0, at_ns: AT_NS },
        key: key(),
        query: in_flight_query(),
        command: words(b"dns\x1bq\0rubbish!!!"),
        question: raw_question(),
    }
}

#[test]
fn a_record_shorter_than_its_struct_is_skipped() {
    let mut room = Room::new();
    for kind in EventKind::ALL {
        let header = Header { kind: kind as u32, cpu: 0, at_ns: 0 };
        assert!(room.decode(bytes(&header)).is_none(), "{kind:?}");
    }
    assert!(read::<Header>(&[0; 15]).is_none());
    assert!(read::<Header>(&[0; 16]).is_some());
}

#[test]
fn a_record_of_a_kind_that_is_not_known_is_skipped() {
    let mut raw = packet(EventKind::Stray);
    raw.header.kind = 999;
    assert!(Room::new().decode(bytes(&raw)).is_none());
}

#[test]
fn a_finished_transaction_has_its_query_its_end_and_a_printable_command() {
    let mut raw = finished(EventKind::Transaction);
    raw.query.state = state::ANSWERED;
    raw.query.middle_ns = 6;
    raw.key.role = Role::Server as u8;
    let Some(Observation::Transaction { query, end_ns }) = Room::new().decode(bytes(&raw)) else {
        panic!("no transaction");
    };
    assert_eq!(end_ns, Some(AT_NS));
    assert_eq!(query.id.client.to_string(), "10.0.0.1:40001");
    assert_eq!(query.id.server.to_string(), "10.0.0.2:53");
    assert_eq!((query.id.id, query.role), (4660, Role::Server));
    assert_eq!(query.owner, OwnerKey { cgroup: 11, netns: 4011, tgid: 123, command: [0; 16] });
    assert_eq!((query.start_ns, query.middle_ns), (5, Some(6)));
    assert_eq!(query.answer_flags, Some(0x8183));
    assert_eq!(query.device.map(|(device, at)| (device.ifindex, at)), Some((9, 8)));
    let left = query.translation.unwrap();
    assert_eq!(text(left.tuple), "udp 10.0.0.1:40001 -> 10.0.0.3:53");
    assert!(left.established);
    assert_eq!(query.question.map(|q| q.qtype), Some(QType::AAAA));
    let command = query.command.unwrap();
    assert!(command.starts_with("dns") && command.is_ascii(), "{command}");
    assert!(!command.contains('\x1b') && !command.contains("rubbish"), "{command}");
}

#[test]
fn a_superseded_query_is_unanswered_until_it_was_sent_again() {
    let mut raw = finished(EventKind::Superseded);
    raw.query.device_ns = 0;
    raw.command = [0; 2];
    let Some(Observation::Unanswered { query, how }) = Room::new().decode(bytes(&raw)) else {
        panic!("not unanswered");
    };
    assert_eq!(how, Unanswered::SentAgain(AT_NS));
    assert_eq!((query.role, query.middle_ns, query.answer_flags), (Role::Client, None, None));
    assert!(query.device.is_none() && query.command.is_none());
}

#[test]
fn a_stray_answer_keeps_everything_of_its_packet() {
    let mut raw = packet(EventKind::Stray);
    raw.flags = 0x8180;
    raw.tuple = raw_tuple(3, 1);
    raw.has_query = 1;
    let Fact { packet, kind } = Room::new().fact(bytes(&raw));
    assert!(matches!(kind, FactKind::Stray { from_ipvs: false }));
    assert_eq!((packet.at_ns, packet.cpu, packet.id), (AT_NS, 3, 4660));
    assert!(packet.is_answer);
    assert_eq!(text(packet.tuple), "udp 10.0.0.3:40003 -> 10.0.0.1:53");
    let entry = packet.conntrack.unwrap();
    assert_eq!(text(entry.original), "udp 10.0.0.1:40001 -> 10.0.0.2:53");
    assert_eq!(text(entry.reply), "udp 10.0.0.3:40003 -> 10.0.0.1:53");
    assert_eq!(entry.status, 0x1a8);
    assert_eq!(packet.owner, Some(OwnerKey { cgroup: 11, netns: 4011, tgid: 0, command: [0; 16] }));
    assert!(packet.device.is_none());
    let query = packet.query.unwrap();
    assert_eq!(query.id.server.to_string(), "10.0.0.2:53");
    assert_eq!(query.owner.tgid, 123);
    assert_eq!(query.question, packet.question);
}

#[test]
fn what_a_packet_does_not_have_is_not_made_up() {
    let mut raw = packet(EventKind::Stray);
    (raw.socket, raw.has_conntrack, raw.ifindex) = (0, 0, 9);
    raw.question.len = u16::try_from(QUESTION_LEN).unwrap() + 1;
    let Fact { packet, .. } = Room::new().fact(bytes(&raw));
    assert!(!packet.is_answer);
    assert!(packet.owner.is_none() && packet.conntrack.is_none());
    assert!(packet.query.is_none() && packet.question.is_none());
    assert_eq!(packet.device.map(|d| (d.ifindex, d.netns)), Some((9, 4011)));
}

#[test]
fn a_drop_is_understood_by_its_reason() {
    let mut room = Room::new();
    let mut understood = |reason| match room.fact(bytes(&raw_drop(reason, 0x10))).kind {
        FactKind::Drop { reason, location, callers, by, table_full_ns, queue_full } => {
            assert_eq!(location, "0x10");
            assert!(callers.is_empty() && table_full_ns.is_none() && queue_full.is_none());
            (reason, by)
        }
        other => panic!("no drop: {other:?}"),
    };
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(understood(NETFILTER_DROP), (named("NETFILTER_DROP"), DroppedBy::Netfilter));
    assert_eq!(understood(NO_SOCKET), (named("NO_SOCKET"), DroppedBy::NoSocket));
    assert_eq!(understood(NOT_SPECIFIED), (named("NOT_SPECIFIED"), DroppedBy::Other));
    assert_eq!(understood(900), (named("reason 900"), DroppedBy::Other));
    assert_eq!(understood(0), (None, DroppedBy::Other));
}

#[test]
fn without_reasons_a_drop_in_nf_hook_slow_is_netfilters() {
    let mut room = Room::new();
    room.reasons = DropReasons::default();
    // Zero where this machine hides its addresses: then it must not match.
    let [[start, _]] = room.symbols.ranges([&["nf_hook_slow"]]);
    let fact = room.fact(bytes(&raw_drop(NETFILTER_DROP, start + 1)));
    let FactKind::Drop { reason, by, .. } = fact.kind else { panic!("no drop") };
    assert_eq!((reason, by == DroppedBy::Netfilter), (None, start != 0));
}

#[test]
fn a_drop_keeps_the_full_table_and_the_full_queue() {
    let mut raw = raw_drop(NETFILTER_DROP, 0x10);
    (raw.table_full_ns, raw.queue_full) = (AT_NS - 5, 1);
    let FactKind::Drop { table_full_ns, queue_full, .. } = Room::new().fact(bytes(&raw)).kind
    else {
        panic!("no drop");
    };
    assert_eq!(table_full_ns, Some(AT_NS - 5));
    let owner = OwnerKey { cgroup: 22, netns: 4_022, tgid: 0, command: [0; 16] };
    let full = QueueFull { owner, used_bytes: 4_608, buffer_bytes: 2_304 };
    assert_eq!(queue_full, Some(full));
}

#[test]
fn an_icmp_error_keeps_type_and_code() {
    let raw = Unreachable { packet: packet(EventKind::Unreachable), icmp_type: 3, icmp_code: 1 };
    let kind = Room::new().fact(bytes(&raw)).kind;
    assert!(matches!(kind, FactKind::Unreachable { icmp_type: 3, icmp_code: 1 }), "{kind:?}");
}

#[test]
fn a_clash_asks_for_the_winners_query_and_knows_its_end() {
    let entry = Entry { original: raw_tuple(4, 2), reply: raw_tuple(3, 4), status: 8, pad: 0 };
    for (verdict, kept) in [(0, false), (1, true), (4, false)] {
        let raw = Clash { packet: packet(EventKind::Clash), winner: entry, verdict, pad: 0 };
        let (observation, asked) = Room::new().decode_asking(bytes(&raw));
        assert_eq!(asked, [(AT_NS, None)]);
        let Some(Observation::Fact(fact)) = observation else { panic!("no fact") };
        let FactKind::Clash { winner, winner_query, resolved, .. } = fact.kind else {
            panic!("no clash");
        };
        assert_eq!(text(winner.original), "udp 10.0.0.4:40004 -> 10.0.0.2:53");
        assert_eq!((winner.status, resolved), (8, kept));
        assert_eq!(winner_query.unwrap().id.id, 4660);
    }
}

#[test]
fn a_refusal_to_confirm_is_just_that() {
    let raw = |kind| Unconfirmed { packet: packet(kind) };
    let kind = |kind| Room::new().fact(bytes(&raw(kind))).kind;
    assert!(matches!(kind(EventKind::ConfirmDrop), FactKind::ConfirmDrop));
    assert!(matches!(kind(EventKind::NatDrop), FactKind::NatDrop));
}

#[test]
fn a_failed_send_call_has_its_error_and_its_process() {
    let mut packet = packet(EventKind::SendFailed);
    packet.has_conntrack = 0;
    let fact = Room::new().fact(bytes(&SendFailed { packet, errno: 101, tgid: 77 }));
    assert!(matches!(fact.kind, FactKind::SendFailed { errno: 101 }));
    assert_eq!(fact.packet.owner.map(|owner| owner.tgid), Some(77));
    assert_eq!(fact.packet.server().to_string(), "10.0.0.2:53");
}

#[test]
fn a_connection_that_was_not_made_has_its_ends_its_error_and_its_process() {
    let raw = ConnectFailed {
        header: Header { kind: EventKind::ConnectFailed as u32, cpu: 0, at_ns: AT_NS },
        start_ns: AT_NS - 5,
        cgroup: 9,
        command: words(b"resolver\0\0\0\0\0\0\0\0"),
        netns: 7,
        tgid: 77,
        tuple: raw_tuple(1, 2),
        errno: 111,
    };
    let Some(Observation::ConnectFailed(seen)) = Room::new().decode(bytes(&raw)) else {
        panic!("no connection");
    };
    assert_eq!(
        text(Tuple { source: seen.client, destination: seen.server }),
        text(tuple(&raw.tuple))
    );
    assert_eq!((seen.start_ns, seen.end_ns, seen.errno), (AT_NS - 5, AT_NS, 111));
    let owner = seen.owner;
    assert_eq!((owner.cgroup, owner.netns, owner.tgid), (9, 7, 77));
    assert_eq!(&owner.command[..8], b"resolver");
}

#[test]
fn a_purge_names_who_asked_for_it() {
    let header = Header { kind: EventKind::Purge as u32, cpu: 0, at_ns: AT_NS };
    let raw = Purge { header, command: words(b"modprobe\0\0\0\0\0\0\0\0") };
    let Some(Observation::ConntrackPurge { at_ns, command }) = Room::new().decode(bytes(&raw))
    else {
        panic!("no purge");
    };
    assert_eq!((at_ns, command.as_deref()), (AT_NS, Some("modprobe")));
}

#[test]
fn a_stack_gives_the_callers_of_the_place() {
    let mut raw = raw_drop(NOT_SPECIFIED, 0x30);
    raw.stack[..4].copy_from_slice(&[0x10, 0x20, 0x30, 0x40]);
    let places = |raw: &Drop| match Room::new().fact(bytes(raw)).kind {
        FactKind::Drop { location, callers, by, .. } => (location, callers, by),
        other => panic!("no drop: {other:?}"),
    };
    assert_eq!(places(&raw), ("0x30".to_owned(), vec!["0x40".to_owned()], DroppedBy::Other));
    raw.stack = [0; STACK];
    (raw.location, raw.by_qdisc) = (0, 1);
    let nowhere = ("a queueing discipline".to_owned(), Vec::new(), DroppedBy::TrafficControl);
    assert_eq!(places(&raw), nowhere);
}

#[test]
fn an_ipvs_drop_has_the_real_server_of_its_connection() {
    let mut raw = Ipvs {
        packet: packet(EventKind::IpvsDrop),
        backend: v4(3),
        backend_port: 53,
        connection_known: 1,
        backend_available: 0,
        backend_weight: 1,
        no_backend: 0,
        pad: 0,
    };
    let FactKind::IpvsDrop { backend, no_backend: false } = Room::new().fact(bytes(&raw)).kind
    else {
        panic!("no IPVS drop");
    };
    let address = SocketAddr::from(([10, 0, 0, 3], 53));
    assert_eq!(backend, Some(Backend { address, available: false, weight: Some(1) }));
    // This machine's IPVS knows no such connection either.
    raw.connection_known = 0;
    let kind = Room::new().fact(bytes(&raw)).kind;
    assert!(matches!(kind, FactKind::IpvsDrop { backend: None, .. }), "{kind:?}");
    (raw.connection_known, raw.backend_available, raw.backend_weight) = (1, 1, 0);
    raw.packet.header.kind = EventKind::IpvsDraining as u32;
    let FactKind::IpvsDraining { backend } = Room::new().fact(bytes(&raw)).kind else {
        panic!("no draining");
    };
    assert_eq!(backend, Backend { address, available: true, weight: Some(0) });
}

#[test]
fn mapped_addresses_print_as_ipv4_and_others_as_ipv6() {
    assert_eq!(socket(&v4(1), 53).to_string(), "10.0.0.1:53");
    let v6 = [0xfd00_0000_u32.to_be(), 0, 0, 5_u32.to_be()];
    assert_eq!(socket(&v6, 53).to_string(), "[fd00::5]:53");
    assert!(!flow::is_namespace_local(&v6));
}

#[test]
fn reasons_are_found_by_name() {
    let reasons = Room::new().reasons;
    assert_eq!(reasons.number("NO_SOCKET"), Some(NO_SOCKET));
    assert_eq!(reasons.number("ABSENT"), None);
}

#[test]
fn any_bytes_of_any_length_are_safe_to_decode() {
    let room = RefCell::new(Room::new());
    let kind = prop_oneof![
        9 => proptest::sample::select(EventKind::ALL.to_vec()).prop_map(|kind| kind as u32),
        1 => any::<u32>(),
    ];
    let longest = size_of::<Clash>().max(size_of::<Drop>()) + 8;
    let any_bytes = (kind, vec(any::<u8>(), 0..longest)).prop_map(|(kind, mut record)| {
        for (to, from) in record.iter_mut().zip(kind.to_ne_bytes()) {
            *to = from;
        }
        record
    });
    proptest!(|(record in any_bytes, offset in 0..8_usize)| {
        // Unaligned on purpose.
        room.borrow_mut().decode(record.get(offset..).unwrap_or_default());
        room.borrow_mut().decode(&record);
    });
}
