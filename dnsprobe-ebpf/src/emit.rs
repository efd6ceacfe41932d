//! Writes records into the ring buffer.

use core::mem::MaybeUninit;

use aya_ebpf::{
    helpers::{generated::bpf_get_smp_processor_id, generated::bpf_ktime_get_ns},
    maps::ring_buf::RingBufEntry,
};
use dnsprobe_common::{
    event::{EventKind, Header, Packet, Question},
    flow::{InFlight, QueryKey, Role, Transport, Tuple},
    stats::Health,
};

use crate::{
    conntrack,
    constants::offset,
    flow::Flow,
    in_flight,
    maps::{EVENTS, SENT, count},
    memory::{Pointer, Raw, read},
    packet::Dns,
    socket::{self, Holder, Socket},
    transaction::NOWHERE,
};

/// The programs' clock.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: has no arguments.
    unsafe { bpf_ktime_get_ns() }
}

/// Room for one record, or a counted loss.
#[inline(always)]
pub(crate) fn reserve<T: 'static>() -> Option<RingBufEntry<T>> {
    let entry = EVENTS.reserve::<T>(0);
    if entry.is_none() {
        count(Health::EventsLost);
    }
    entry
}

/// Pointer to the record's memory.
#[inline(always)]
pub(crate) fn record<T>(entry: &mut MaybeUninit<T>) -> *mut T {
    entry.as_mut_ptr()
}

/// The first field of every record.
#[inline(always)]
pub(crate) fn header(kind: u32, at_ns: u64) -> Header {
    // SAFETY: has no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    Header { kind, cpu, at_ns }
}

/// Fills in a packet of which only the owner and the addresses are known; id,
/// flags and question are zero.
#[inline(always)]
pub(crate) fn bare_packet(
    to: *mut Packet,
    kind: EventKind,
    at_ns: u64,
    tuple: &Tuple,
    owner: Socket,
) {
    // SAFETY: `to` is a reserved record.
    unsafe {
        (*to).header = header(kind as u32, at_ns);
        (*to).cgroup = owner.cgroup;
        (*to).socket = owner.identity;
        (*to).netns = owner.netns;
        (*to).ifindex = 0;
        (*to).tuple = *tuple;
        (*to).id = 0;
        (*to).flags = 0;
        (*to).pad = 0;
        (*to).has_conntrack = 0;
        (*to).conntrack_status = 0;
        (*to).original = NOWHERE;
        (*to).reply = NOWHERE;
        (*to).has_query = 0;
        (*to).query = NO_QUERY;
        (*to).question.len = 0;
        (*to).question.message_len = 0;
    }
}

/// Fills in a packet: where it is, whose it is, its conntrack entry and its
/// question. For cold paths: no pointer here has a type.
#[inline(always)]
pub(crate) fn packet(to: *mut Packet, kind: EventKind, at_ns: u64, skb: Raw, dns: &Dns) {
    let owner = skb.follow(offset!(sk_buff_sk)).owner();
    packet_of(to, kind, at_ns, skb, dns, owner, true);
}

/// As [`packet`], for a socket known otherwise. `device` says whether
/// `sk_buff.dev` is still a device: the UDP receive queue reuses the field.
#[inline(always)]
pub(crate) fn packet_of(
    to: *mut Packet,
    kind: EventKind,
    at_ns: u64,
    skb: Raw,
    dns: &Dns,
    owner: Socket,
    device: bool,
) {
    let device = if device { skb.follow(offset!(sk_buff_dev)) } else { Raw(0) };
    let entry = conntrack::of(skb);
    // SAFETY: `to` is a reserved record or scratch map value.
    unsafe {
        (*to).header = header(kind as u32, at_ns);
        (*to).cgroup = owner.cgroup;
        (*to).socket = owner.identity;
        (*to).netns = owner.netns;
        (*to).ifindex = 0;
        if !device.is_null() {
            (*to).ifindex = device.field(offset!(net_device_ifindex));
            if owner.netns == 0 {
                (*to).netns = socket::netns(device, offset!(net_device_net));
            }
        }
        (*to).tuple = dns.tuple();
        (*to).id = dns.id;
        (*to).flags = dns.flags;
        (*to).pad = 0;
        if entry.is_null() {
            (*to).has_conntrack = 0;
            (*to).conntrack_status = 0;
            (*to).original = NOWHERE;
            (*to).reply = NOWHERE;
        } else {
            (*to).has_conntrack = 1;
            (*to).conntrack_status = conntrack::status(entry);
            (*to).original = conntrack::tuple(entry, 0);
            (*to).reply = conntrack::tuple(entry, 1);
        }
        let asked = asked_tuple(to, dns.is_answer());
        let netns = (*to).netns;
        let key = Flow::of(&asked).key(dns.id, Role::Client, Transport::Udp, netns);
        match in_flight::find(&key) {
            Some(found) => {
                let query = found.query();
                // Where it ended is also where it was seen last.
                if !dns.is_answer() && !entry.is_null() {
                    (*query).left_as = dns.tuple();
                    (*query).conntrack_info = 1 + conntrack::info(skb);
                }
                (*to).has_query = 1;
                (*to).query = *query;
            }
            None => {
                (*to).has_query = 0;
                (*to).query = NO_QUERY;
            }
        }
        dns.copy_question(&raw mut (*to).question);
    }
}

/// The packet's flow as its client sees it, client first: behind a translation
/// only the conntrack entry knows.
///
/// # Safety
/// `packet` is a reserved record or scratch map value, its tuples filled in.
#[inline(always)]
unsafe fn asked_tuple(packet: *const Packet, is_answer: bool) -> Tuple {
    // SAFETY: see above.
    unsafe {
        if (*packet).has_conntrack != 0 {
            return (*packet).original;
        }
        let tuple = (*packet).tuple;
        if !is_answer {
            return tuple;
        }
        Tuple {
            source: tuple.destination,
            destination: tuple.source,
            source_port: tuple.destination_port,
            destination_port: tuple.source_port,
        }
    }
}

const NO_QUERY: InFlight = InFlight {
    start_ns: 0,
    middle_ns: 0,
    device_ns: 0,
    cgroup: 0,
    socket: 0,
    command: [0; 2],
    netns: 0,
    tgid: 0,
    device_ifindex: 0,
    device_netns: 0,
    state: 0,
    answer_flags: 0,
    conntrack_info: 0,
    left_as: NOWHERE,
    stats: 0,
};

/// Copies the kept question of a query in flight.
#[inline(always)]
pub(crate) fn kept_question(to: *mut Question, key: &QueryKey) {
    // SAFETY: `to` is a reserved record.
    unsafe {
        (*to).len = 0;
        (*to).message_len = 0;
    }
    if let Some(sent) = SENT.get_ptr(key) {
        // SAFETY: only an address inside the map value is taken.
        let question = unsafe { &raw const (*sent).question };
        // Through the helper: as a copy it would be a loop over every byte.
        read(question as u64, to, size_of::<Question>());
    }
}
