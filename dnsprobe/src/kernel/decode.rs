//! From the raw records of the ring buffer to observations.

use std::{
    mem,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use dnsprobe_common::{
    event::{
        Clash, ConnectFailed, Drop, Entry, EventKind, Finished, Header, Ipvs, Packet, Purge,
        Question as Raw, STACK, SendFailed, Unconfirmed, Unreachable,
    },
    flow::{
        Address, Command, InFlight, QueryKey, Role, Transport, Tuple as RawTuple, command_bytes,
        is_namespace_local, state,
    },
};

use super::{
    devices::Devices,
    dropped::{DropReasons, dropped_by},
    ipvs::IpvsState,
    recent::Remembered,
    symbols::Symbols,
};
use crate::{
    dns::{AnswerSize, BehindHeader, Exchange, QuerySize, Question, Record},
    engine::{
        Backend, BackendState, ConnectSeen, ConntrackEntry, Device, DroppedBy, Fact, FactKind,
        Observation, PacketSeen, QueryId, QuerySeen, QueueFull, Translation, Tuple, Unanswered,
    },
    identity::{OwnerKey, escape},
};

/// What decoding needs besides the record.
pub(crate) struct Context<'a> {
    /// Names of this kernel's drop reasons.
    pub(crate) reasons: &'a DropReasons,
    /// Names of this kernel's reasons of queueing disciplines.
    pub(crate) qdisc_reasons: &'a DropReasons,
    pub(crate) symbols: &'a mut Symbols,
    pub(crate) devices: &'a mut Devices,
    pub(crate) ipvs: &'a mut IpvsState,
    /// Queries sent a short while ago.
    pub(crate) recent: &'a dyn Remembered,
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
            if query.role == Role::Server && kind == EventKind::Transaction {
                let taken = context.recent.question(&finished.key, query.start_ns);
                query.exchange = Some(Box::new(Exchange {
                    query: taken.as_ref().and_then(behind_header).and_then(QuerySize::of),
                    answer: behind_header(&finished.question).map(AnswerSize::of),
                }));
            }
            let end_ns = finished.header.at_ns;
            Some(match kind {
                EventKind::Transaction => Observation::Transaction { query, end_ns: Some(end_ns) },
                _ => Observation::Unanswered { query, how: Unanswered::SentAgain(end_ns) },
            })
        }
        EventKind::Stray => {
            let raw: Packet = read(record)?;
            let from = &raw.tuple;
            let from_ipvs = context.ipvs.is_service(socket(&from.source, from.source_port));
            fact(&raw, FactKind::Stray { from_ipvs }, context)
        }
        EventKind::SendFailed => {
            let raw: SendFailed = read(record)?;
            let errno = i32::try_from(raw.errno).ok()?;
            send_failed(&raw, errno, context)
        }
        EventKind::Drop => {
            let raw: Drop = read(record)?;
            let kind = drop_kind(&raw, context);
            let kind = draining(&raw.packet, &kind, context).unwrap_or(kind);
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
            let raw: Unconfirmed = read(record)?;
            fact(&raw.packet, FactKind::ConfirmDrop, context)
        }
        EventKind::NatDrop => {
            let raw: Unconfirmed = read(record)?;
            fact(&raw.packet, FactKind::NatDrop, context)
        }
        EventKind::Purge => {
            let raw: Purge = read(record)?;
            let command = command(raw.command);
            Some(Observation::ConntrackPurge { at_ns: raw.header.at_ns, command })
        }
        EventKind::ConnectFailed => {
            let raw: ConnectFailed = read(record)?;
            Some(Observation::ConnectFailed(Box::new(connect_failed(&raw))))
        }
        EventKind::IpvsDrop => {
            let raw: Ipvs = read(record)?;
            let no_backend = raw.no_backend != 0;
            let backend = if no_backend { None } else { ipvs_backend(&raw, context) };
            fact(&raw.packet, FactKind::IpvsDrop { backend, no_backend }, context)
        }
        EventKind::IpvsDraining => {
            let raw: Ipvs = read(record)?;
            let backend = ipvs_backend(&raw, context)?;
            fact(&raw.packet, FactKind::IpvsDraining { backend }, context)
        }
    }
}

/// The record of a query whose end the kernel programs saw.
pub(crate) fn finished(record: &[u8]) -> Option<Finished> {
    read(record)
}

fn fact(raw: &Packet, kind: FactKind, context: &mut Context<'_>) -> Option<Observation> {
    let packet = packet_seen(raw, context);
    Some(Observation::Fact(Box::new(Fact { packet, kind })))
}

/// A send call that failed: the process is known as no other fact knows it.
fn send_failed(raw: &SendFailed, errno: i32, context: &mut Context<'_>) -> Option<Observation> {
    let mut packet = packet_seen(&raw.packet, context);
    if let Some(owner) = &mut packet.owner {
        owner.tgid = raw.tgid;
    }
    Some(Observation::Fact(Box::new(Fact { packet, kind: FactKind::SendFailed { errno } })))
}

fn connect_failed(raw: &ConnectFailed) -> ConnectSeen {
    let tuple = tuple(&raw.tuple);
    ConnectSeen {
        client: tuple.source,
        server: tuple.destination,
        owner: OwnerKey {
            cgroup: raw.cgroup,
            netns: raw.netns,
            tgid: raw.tgid,
            command: command_bytes(raw.command),
        },
        start_ns: raw.start_ns,
        end_ns: raw.header.at_ns,
        errno: raw.errno,
    }
}

fn drop_kind(raw: &Drop, context: &mut Context<'_>) -> FactKind {
    let by_qdisc = raw.by_qdisc != 0;
    let reasons = if by_qdisc { context.qdisc_reasons } else { context.reasons };
    let reason = reasons.name(raw.reason);
    let (location, callers) = place(raw.location, &raw.stack, context.symbols);
    FactKind::Drop {
        by: if by_qdisc {
            DroppedBy::TrafficControl
        } else {
            dropped_by(reason.as_deref(), &location, &callers)
        },
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
        callers,
    }
}

/// Where a packet was dropped, and the functions around it. The stack begins
/// with the tracing itself; a drop that a queueing discipline reports begins
/// behind the tracepoint.
pub(crate) fn place(
    location: u64,
    stack: &[u64; STACK],
    symbols: &mut Symbols,
) -> (String, Vec<String>) {
    let stack: Vec<u64> = stack.iter().copied().take_while(|at| *at != 0).collect();
    if location != 0 {
        let outer = stack.iter().position(|at| *at == location).map_or(0, |index| index + 1);
        let callers = if outer == 0 { &[] } else { &stack[outer..] };
        let names = callers.iter().map(|at| symbols.describe(*at)).collect();
        return (symbols.describe(location), names);
    }
    let names = stack.iter().map(|at| symbols.describe(*at));
    let mut outside = names.skip_while(|name| is_tracing(name));
    let location = outside.next().unwrap_or_else(|| "a queueing discipline".to_owned());
    (location, outside.collect())
}

/// Whether a function on the stack is part of how a tracepoint calls a program.
fn is_tracing(name: &str) -> bool {
    ["bpf_", "__bpf_", "__traceiter_", "trace_", "__bpf_trace_", "0x"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
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
        ipvs: {
            let asked = &raw.packet.original;
            context.ipvs.is_service(socket(&asked.destination, asked.destination_port))
        },
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

/// Where connections cannot be read in the kernel, what the table it publishes
/// says of a packet that IPVS could not send: nothing saw it go to a real server
/// of weight 0.
fn draining(raw: &Packet, kind: &FactKind, context: &mut Context<'_>) -> Option<FactKind> {
    if !matches!(kind, FactKind::Drop { by: DroppedBy::IpvsTransmit, .. }) {
        return None;
    }
    let tuple = tuple(&raw.tuple);
    let backend = context.ipvs.draining(tuple.source, tuple.destination)?;
    Some(FactKind::IpvsDraining { backend })
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

/// A query in flight, without its question.
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
        pad: 0,
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
        exchange: None,
        translation: translation(query),
        device,
        at_server: None,
        other_answer_ns: None,
        question: None,
        command: None,
    }
}

/// The packet as it was seen last.
fn translation(query: &InFlight) -> Option<Translation> {
    /// 1 + `IP_CT_ESTABLISHED`, include/uapi/linux/netfilter/nf_conntrack_common.h.
    const ESTABLISHED: u16 = 1;
    (query.left_as != RawTuple::default()).then(|| Translation {
        tuple: tuple(&query.left_as),
        established: query.conntrack_info == ESTABLISHED,
        backend: BackendState::Unknown,
    })
}

pub(crate) fn question(raw: &Raw) -> Option<Question> {
    let bytes = raw.bytes.get(..usize::from(raw.len))?;
    Question::parse(bytes).ok()
}

/// A message behind its header, as far as it was kept.
fn behind_header(raw: &Raw) -> Option<BehindHeader<'_>> {
    let kept = raw.bytes.get(..usize::from(raw.len))?;
    (raw.message_len != 0).then_some(BehindHeader { kept, len: raw.message_len })
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

pub(crate) fn tuple(raw: &RawTuple) -> Tuple {
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
pub(crate) fn read<T: Copy>(record: &[u8]) -> Option<T> {
    if record.len() < mem::size_of::<T>() {
        return None;
    }
    // SAFETY: long enough; every T used is repr(C) and made of integers only,
    // so any bytes are a valid value; the source may be unaligned.
    Some(unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

#[cfg(test)]
mod tests;
