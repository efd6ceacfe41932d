//! From the raw records of the ring buffer to observations.

use std::{
    mem,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dnsprobe_common::{
    event::{
        Clash, Confirm, Drop, Entry, EventKind, Finished, Header, Ipvs, Packet, Question as Raw,
        Unreachable,
    },
    flow::{
        Address, Command, InFlight, QueryKey, Role, Transport, Tuple as RawTuple, command_bytes,
        is_namespace_local, state,
    },
};

use super::{devices::Devices, ipvs::IpvsState, recent::Remembered, symbols::Symbols};
use crate::{
    dns::{Question, Record},
    engine::{
        Backend, ConntrackEntry, Device, Fact, FactKind, Observation, PacketSeen, QueryId,
        QuerySeen, QueueFull, Tuple, Unanswered,
    },
    identity::{OwnerKey, escape},
};

/// What decoding needs besides the record.
pub(crate) struct Context<'a> {
    /// Names of this kernel's drop reasons.
    pub(crate) reasons: &'a DropReasons,
    pub(crate) symbols: &'a mut Symbols,
    pub(crate) devices: &'a mut Devices,
    pub(crate) ipvs: &'a mut IpvsState,
    /// Queries sent a short while ago.
    pub(crate) recent: &'a dyn Remembered,
}

/// This kernel's drop reasons by number (`enum skb_drop_reason`, 5.17).
#[derive(Default)]
pub(crate) struct DropReasons(Vec<(String, u32)>);

impl DropReasons {
    pub(crate) fn new(enumerators: Vec<(String, u32)>) -> Self {
        const PREFIX: &str = "SKB_DROP_REASON_";
        Self(
            enumerators
                .into_iter()
                .map(|(name, value)| (name.trim_start_matches(PREFIX).to_owned(), value))
                .collect(),
        )
    }

    /// Number of a reason in this kernel.
    pub(crate) fn number(&self, wanted: &str) -> Option<u32> {
        self.0.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value)
    }

    /// Name of a reason; its number where it has no name.
    fn name(&self, number: u32) -> Option<String> {
        if self.0.is_empty() || number == 0 {
            return None;
        }
        let name = self.0.iter().find(|(_, value)| *value == number).map(|(name, _)| name.clone());
        Some(name.unwrap_or_else(|| format!("reason {number}")))
    }
}

/// Decodes one record; `None` when it is not one of ours (never, unless the
/// programs and this library are of different versions).
pub(crate) fn decode(record: &[u8], context: &mut Context<'_>) -> Option<Observation> {
    let header: Header = read(record)?;
    let kind = EventKind::ALL.into_iter().find(|kind| *kind as u32 == header.kind)?;
    match kind {
        EventKind::Transaction | EventKind::Superseded => {
            let finished: Finished = read(record)?;
            let mut query = query_seen(&finished.key, &finished.query, context.devices);
            query.question = question(&finished.question);
            query.command = command(finished.command);
            query.answer = first_record(&finished.question);
            let end_ns = finished.header.at_ns;
            Some(match kind {
                EventKind::Transaction => Observation::Transaction { query, end_ns: Some(end_ns) },
                _ => Observation::Unanswered { query, how: Unanswered::SentAgain(end_ns) },
            })
        }
        EventKind::Stray => {
            let raw: Packet = read(record)?;
            fact(&raw, FactKind::Stray, context)
        }
        EventKind::Drop => {
            let raw: Drop = read(record)?;
            let kind = drop_kind(&raw, context);
            fact(&raw.packet, kind, context)
        }
        EventKind::Unreachable => {
            let raw: Unreachable = read(record)?;
            let kind = FactKind::Unreachable { icmp_type: raw.icmp_type, icmp_code: raw.icmp_code };
            fact(&raw.packet, kind, context)
        }
        EventKind::Clash => {
            let raw: Clash = read(record)?;
            let kind = clash_kind(&raw, context);
            fact(&raw.packet, kind, context)
        }
        EventKind::ConfirmDrop => {
            let raw: Confirm = read(record)?;
            fact(&raw.packet, FactKind::ConfirmDrop, context)
        }
        EventKind::IpvsDrop => {
            let raw: Ipvs = read(record)?;
            let backend = ipvs_backend(&raw, context);
            fact(&raw.packet, FactKind::IpvsDrop { backend }, context)
        }
    }
}

fn fact(raw: &Packet, kind: FactKind, context: &mut Context<'_>) -> Option<Observation> {
    let packet = packet_seen(raw, context);
    Some(Observation::Fact(Box::new(Fact { packet, kind })))
}

fn drop_kind(raw: &Drop, context: &mut Context<'_>) -> FactKind {
    let reason = context.reasons.name(raw.reason);
    let location = context.symbols.describe(raw.location);
    let function = location.split('+').next().unwrap_or_default();
    FactKind::Drop {
        netfilter: match &reason {
            Some(reason) => reason == "NETFILTER_DROP",
            None => function == "nf_hook_slow",
        },
        no_socket: reason.as_deref() == Some("NO_SOCKET"),
        table_full_ns: (raw.table_full_ns != 0).then_some(raw.table_full_ns),
        queue_full: (raw.queue_full != 0).then_some(QueueFull {
            owner: OwnerKey {
                cgroup: raw.receiver_cgroup,
                netns: raw.receiver_netns,
                ..OwnerKey::default()
            },
            used_bytes: raw.receiver_rmem_bytes,
            buffer_bytes: raw.receiver_rcvbuf_bytes,
        }),
        reason,
        location,
    }
}

fn clash_kind(raw: &Clash, context: &mut Context<'_>) -> FactKind {
    const NF_ACCEPT: u32 = 1;
    let winner = &raw.winner.original;
    let loser = (*winner == raw.packet.original).then_some(raw.packet.id);
    let winner_query = context.recent.creator(winner, raw.packet.header.at_ns, loser);
    FactKind::Clash {
        winner: entry(&raw.winner),
        winner_query: winner_query.map(Box::new),
        resolved: raw.verdict == NF_ACCEPT,
    }
}

/// From the connection the kernel used where its layout is known, else from
/// the table it publishes.
fn ipvs_backend(raw: &Ipvs, context: &mut Context<'_>) -> Option<Backend> {
    if raw.connection_known != 0 {
        return Some(Backend {
            address: socket(&raw.backend, raw.backend_port),
            available: raw.backend_available != 0,
            weight: Some(raw.backend_weight),
        });
    }
    let tuple = tuple(&raw.packet.tuple);
    context.ipvs.backend(tuple.source, tuple.destination)
}

fn packet_seen(raw: &Packet, context: &mut Context<'_>) -> PacketSeen {
    let tuple = tuple(&raw.tuple);
    let is_answer = dnsprobe_common::dns::is_answer(raw.flags);
    let conntrack = (raw.has_conntrack != 0).then(|| ConntrackEntry {
        original: self::tuple(&raw.original),
        reply: self::tuple(&raw.reply),
        status: raw.conntrack_status,
    });
    let mut packet = PacketSeen {
        at_ns: raw.header.at_ns,
        cpu: raw.header.cpu,
        tuple,
        id: raw.id,
        is_answer,
        conntrack,
        owner: (raw.socket != 0).then_some(OwnerKey {
            cgroup: raw.cgroup,
            netns: raw.netns,
            ..OwnerKey::default()
        }),
        device: (raw.ifindex != 0).then(|| context.devices.describe(raw.netns, raw.ifindex)),
        query: None,
        question: question(&raw.question),
    };
    if raw.has_query != 0 {
        let id = QueryId { client: packet.client(), server: packet.server(), id: raw.id };
        let flow = if raw.has_conntrack != 0 { &raw.original } else { &raw.tuple };
        let key = query_key(flow, raw.id, raw.query.netns);
        packet.query = Some(QuerySeen {
            question: packet.question.clone(),
            command: context.recent.command(&key, raw.query.start_ns),
            ..in_flight(id, Role::Client, &raw.query, context.devices)
        });
    }
    packet
}

/// A query of the in-flight map, without its question.
pub(crate) fn query_seen(key: &QueryKey, query: &InFlight, devices: &mut Devices) -> QuerySeen {
    let id = QueryId {
        client: socket(&key.client, key.client_port),
        server: socket(&key.server, key.server_port),
        id: key.id,
    };
    let role = if key.role == Role::Server as u8 { Role::Server } else { Role::Client };
    let transport = Transport::from_number(key.transport);
    QuerySeen { transport, ..in_flight(id, role, query, devices) }
}

/// The key of a client's query by its flow.
pub(crate) fn query_key(flow: &RawTuple, id: u16, netns: u32) -> QueryKey {
    QueryKey {
        client: flow.source,
        server: flow.destination,
        client_port: flow.source_port,
        server_port: flow.destination_port,
        id,
        role: Role::Client as u8,
        transport: Transport::Udp as u8,
        netns: if is_namespace_local(&flow.source) { netns } else { 0 },
    }
}

fn in_flight(id: QueryId, role: Role, query: &InFlight, devices: &mut Devices) -> QuerySeen {
    let device: Option<(Device, u64)> = (query.device_ns != 0)
        .then(|| (devices.describe(query.device_netns, query.device_ifindex), query.device_ns));
    QuerySeen {
        id,
        transport: Transport::Udp,
        role,
        owner: OwnerKey {
            cgroup: query.cgroup,
            netns: query.netns,
            tgid: query.tgid,
            command: command_bytes(query.command),
        },
        socket: query.socket,
        start_ns: query.start_ns,
        middle_ns: (query.middle_ns != 0).then_some(query.middle_ns),
        answer_flags: (query.state == state::ANSWERED).then_some(query.answer_flags),
        answer: None,
        device,
        other_answer_ns: None,
        question: None,
        command: None,
    }
}

pub(crate) fn question(raw: &Raw) -> Option<Question> {
    let bytes = raw.bytes.get(..usize::from(raw.len))?;
    Question::parse(bytes).ok()
}

/// The record behind the question. A query has none there but its options, and
/// those only where the bytes behind its question were kept.
fn first_record(raw: &Raw) -> Option<Record> {
    Record::first_behind_question(raw.bytes.get(..usize::from(raw.len))?)
}

pub(crate) fn command(raw: Command) -> Option<String> {
    let bytes = command_bytes(raw);
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    (end > 0).then(|| escape(&bytes[..end]))
}

fn entry(raw: &Entry) -> ConntrackEntry {
    ConntrackEntry { original: tuple(&raw.original), reply: tuple(&raw.reply), status: raw.status }
}

fn tuple(raw: &RawTuple) -> Tuple {
    Tuple {
        source: socket(&raw.source, raw.source_port),
        destination: socket(&raw.destination, raw.destination_port),
    }
}

pub(crate) fn socket(address: &Address, port: u16) -> SocketAddr {
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(address) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    SocketAddr::new(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical(), port)
}

/// Copies a record out of the ring buffer; `None` when it is too short.
fn read<T: Copy>(record: &[u8]) -> Option<T> {
    if record.len() < mem::size_of::<T>() {
        return None;
    }
    // SAFETY: long enough; every T used is repr(C) and made of integers only,
    // so any bytes are a valid value; the source may be unaligned.
    Some(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests;
