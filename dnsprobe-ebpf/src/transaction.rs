//! The life of a DNS transaction, seen from either end, and its counters.
//! Every function here is one step of it and costs at most two map operations
//! on the way without failures.

use core::arch::asm;

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::bpf_get_current_pid_tgid};
use dnsprobe_common::{
    dns::rcode,
    event::{Answer, EventKind, Finished, Packet, RECENT, Recent},
    flow::{Command, InFlight, QueryKey, Role, Transport, Tuple, state},
    histogram::{BUCKETS, bucket},
    sample,
    stats::{BackendKey, Health, Latency, Stats},
};

use crate::{
    constants::{config, watching},
    emit,
    flow::{Key, Wide, narrow, wide},
    in_flight::{self, Entry},
    maps::{
        ANSWERED, BACKENDS, FLOWS, LAST_SENT, Run, SENT, SENT_SCRATCH, StatsWords, TOLD, add,
        add32, count, scratch, stats, stats_at,
    },
    memory::Raw,
    packet::Dns,
    socket::{Holder, Socket, current_command},
};

/// `bpf_map_update_elem` flags.
const ANY: u64 = 0;

/// One packet passes at most this long from the first to the last device of
/// the sender's own namespace; see [`sent_by_device`].
const SAME_PACKET_NS: u64 = 100_000;

/// Between two programs at one function a task may have to wait for its processor at
/// most this long; see [`query_sent_unseen`].
const SAME_CALL_NS: u64 = 1_000_000_000;

/// A tuple that is not known.
pub(crate) const NOWHERE: Tuple =
    Tuple { source: [0; 4], destination: [0; 4], source_port: 0, destination_port: 0 };

/// The key of the transaction a packet belongs to, as its client sees it.
#[inline(always)]
pub(crate) fn key(dns: &Dns, role: Role, netns: u32) -> Key {
    dns.flow.key(dns.id, role, dns.transport, netns)
}

/// The same at a socket, of which only the namespace is needed, and that not always.
#[inline(always)]
fn key_at(dns: &Dns, role: Role, socket: impl Holder) -> Key {
    key(dns, role, if dns.flow.is_local { socket.netns() } else { 0 })
}

#[inline(always)]
fn stats_key(key: &Key, owner: &Socket, command: Command) -> StatsWords {
    let [server, rest] = key.server();
    let role = if key.is_client() { Role::Client } else { Role::Server };
    let port = u64::from(key.server_port());
    let last = u64::from(owner.netns) | port << 32 | (role as u64) << 48;
    [owner.cgroup, command[0], command[1], server, rest, last]
}

/// The aggregate a query in flight belongs to.
///
/// # Safety
/// `query` points into a live map value.
#[inline(always)]
unsafe fn stats_of(query: *const InFlight) -> Option<*mut Stats> {
    // SAFETY: see above.
    stats_at(unsafe { (*query).stats })
}

/// The current command, where only that tells processes apart.
#[inline(always)]
fn telling_command(cgroup: u64) -> Command {
    if config!(root_cgroup) != 0 && cgroup == config!(root_cgroup) {
        current_command()
    } else {
        [0; 2]
    }
}

/// A query begins: sent by a client, queued at a server, or, over TCP, read by
/// one.
#[inline(always)]
fn begin(dns: &Dns, key: &Key, owner: Socket, tgid: u32, at_ns: u64, run: Run) {
    if !watching() {
        return;
    }
    let is_client = key.is_client();
    // In softirq, where queries reach a server, the current task is anybody.
    let command = if is_client { telling_command(owner.cgroup) } else { [0; 2] };
    let Some((place, stats)) = stats(&stats_key(key, &owner, command), dns.transport, run) else {
        return;
    };
    // SAFETY: `stats` points into a live map value.
    unsafe {
        add(&raw mut (*stats).queries, 1);
        if tgid != 0 {
            (*stats).tgid = tgid;
        }
    }
    let first = in_flight::find(key);
    let entry = match first {
        Some(first) => {
            again(key, first, at_ns);
            first
        }
        None => match in_flight::claim(key) {
            Some(entry) => entry,
            None => {
                count(Health::InFlightFull);
                // SAFETY: as above.
                unsafe { add(&raw mut (*stats).not_followed, 1) };
                return;
            }
        },
    };
    let is_read = !is_client && dns.transport as u8 == Transport::Tcp as u8;
    // SAFETY: a slot of the table; written in place, because a copy would cost as
    // much again.
    unsafe {
        let query = entry.query();
        (*query).start_ns = at_ns;
        (*query).middle_ns = if is_read { at_ns } else { 0 };
        (*query).device_ns = 0;
        (*query).cgroup = owner.cgroup;
        (*query).socket = owner.identity;
        (*query).command = command;
        (*query).netns = owner.netns;
        (*query).tgid = tgid;
        (*query).device_ifindex = 0;
        (*query).device_netns = 0;
        (*query).state = state::SENT;
        (*query).answer_flags = 0;
        (*query).conntrack_info = 0;
        (*query).left_as = NOWHERE;
        (*query).stats = place;
    }
    if first.is_none() {
        entry.publish(key);
    }
    if config!(questions) != 0 && (is_client || config!(trace) != 0) {
        remember(dns, key, owner, tgid, at_ns, run);
    }
}

/// Keeps a query with its question for a while.
#[inline(always)]
fn remember(dns: &Dns, key: &Key, owner: Socket, tgid: u32, at_ns: u64, run: Run) {
    let place = scratch(dns.transport, run, key.is_client());
    let Some(sent) = SENT_SCRATCH.get_ptr_mut(place) else { return };
    // SAFETY: this processor's own scratch value, and no other program's.
    unsafe {
        (*sent).at_ns = at_ns;
        (*sent).cgroup = owner.cgroup;
        (*sent).socket = owner.identity;
        (*sent).netns = owner.netns;
        (*sent).tgid = tgid;
        // See above: where a query reaches a server.
        (*sent).command = if key.is_client() { current_command() } else { [0; 2] };
        dns.copy_question(&raw mut (*sent).question);
        let _ = SENT.insert(&key.narrow(), &*sent, ANY);
    }
    if !key.is_client() || dns.transport as u8 == Transport::Tcp as u8 {
        return;
    }
    let tuple = &dns.tuple();
    match FLOWS.get_ptr_mut(tuple) {
        Some(recent) => append(recent, dns.id, at_ns),
        None => {
            let _ = FLOWS.insert(tuple, &first(dns.id, at_ns), ANY);
        }
    }
}

#[inline(always)]
fn first(id: u16, at_ns: u64) -> Recent {
    let mut recent = Recent { at_ns: [0; RECENT], ids: [0; RECENT], count: 1 };
    recent.at_ns[0] = at_ns;
    recent.ids[0] = id;
    recent
}

#[inline(always)]
fn append(recent: *mut Recent, id: u16, at_ns: u64) {
    // SAFETY: a live map value; the mask keeps the index in bounds. Two
    // processors that use one socket at once may write one slot: one of the
    // two is then missing here, and only here.
    unsafe {
        let slot = (*recent).count as usize & (RECENT - 1);
        *(&raw mut (*recent).at_ns).cast::<u64>().add(slot) = at_ns;
        *(&raw mut (*recent).ids).cast::<u16>().add(slot) = id;
        add(&raw mut (*recent).count, 1);
    }
}

/// Remembers which server answered this question of a client socket.
#[inline(always)]
fn remember_answer(key: &Key, at_ns: u64) {
    let key = &key.narrow();
    let question = QueryKey { server: [0; 4], server_port: 0, ..*key };
    let answer = Answer { at_ns, server: key.server, server_port: key.server_port, pad: [0; 3] };
    let _ = ANSWERED.insert(&question, &answer, ANY);
}

/// The same query again. The first, when unanswered, is told to user space: it
/// has to be accounted for on its own.
#[inline(always)]
fn again(key: &Key, first: Entry, at_ns: u64) {
    let first = first.query();
    // SAFETY: points into a live map value.
    if unsafe { (*first).state } == state::SENT {
        finished(EventKind::Superseded, key, first, None, at_ns);
    }
}

/// Emits a transaction, with the question of its answer, or a query that was
/// sent again, with the question that was kept.
#[inline(always)]
fn finished(kind: EventKind, key: &Key, query: *const InFlight, answer: Option<&Dns>, at_ns: u64) {
    let Some(mut entry) = emit::reserve::<Finished>() else { return };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record; `query` points into a live map value.
    unsafe {
        (*record).header = emit::header(kind as u32, at_ns);
        (*record).key = key.narrow();
        (*record).query = *query;
        (*record).command = if config!(trace) != 0 { current_command() } else { [0; 2] };
        match answer {
            Some(dns) => dns.copy_question(&raw mut (*record).question),
            None => emit::kept_question(&raw mut (*record).question, &key.narrow()),
        }
    }
    entry.submit(0);
}

/// Client role: a socket sends a query.
#[inline(always)]
pub(crate) fn query_sent(dns: &Dns, sender: impl Holder, at_ns: u64) {
    let owner = sender.owner();
    sent(dns, &key(dns, Role::Client, owner.netns), owner, at_ns);
}

#[inline(always)]
fn sent(dns: &Dns, key: &Key, owner: Socket, at_ns: u64) {
    if let Some(last) = LAST_SENT.get_ptr_mut(0) {
        // SAFETY: this processor's own map value.
        unsafe {
            (*last).socket = owner.identity;
            (*last).at_ns = at_ns;
            (*last).key = key.0;
        }
    }
    begin(dns, key, owner, (bpf_get_current_pid_tgid() >> 32) as u32, at_ns, Run::First);
}

/// Client role: a socket sends a query, and the run that should have seen it may
/// have been skipped. Where that is so the query is in flight only if one with the
/// same key was sent long before.
#[inline(always)]
pub(crate) fn query_sent_unseen(dns: &Dns, sender: impl Holder, at_ns: u64) {
    let key = key_at(dns, Role::Client, sender);
    let is_recent = |then: u64| at_ns.wrapping_sub(then) < SAME_CALL_NS;
    if let Some(last) = LAST_SENT.get_ptr(0) {
        // SAFETY: this processor's own map value.
        let (seen, then) = unsafe { (key.is(&raw const (*last).key), (*last).at_ns) };
        if seen && is_recent(then) {
            return;
        }
    }
    if let Some(entry) = in_flight::find(&key) {
        // SAFETY: points into a live map value.
        if is_recent(unsafe { (*entry.query()).start_ns }) {
            return;
        }
    }
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    begin(dns, &key, sender.owner(), tgid, at_ns, Run::Again);
}

/// Client role, tracepoint plan: a device takes a packet that still belongs to
/// a socket. Devices stacked in the sender's namespace show it more than once.
#[inline(always)]
pub(crate) fn sent_by_device(dns: &Dns, sender: impl Holder, at_ns: u64) {
    let owner = sender.owner();
    let key = key(dns, Role::Client, owner.netns);
    if let Some(first) = in_flight::find(&key) {
        let first = first.query();
        // SAFETY: points into a live map value.
        let (socket, start_ns) = unsafe { ((*first).socket, (*first).start_ns) };
        if socket == owner.identity && at_ns - start_ns < SAME_PACKET_NS {
            return;
        }
    }
    sent(dns, &key, owner, at_ns);
}

/// A device that is about to transmit a query.
pub(crate) struct Passage {
    pub(crate) at_ns: u64,
    pub(crate) ifindex: u32,
    pub(crate) netns: u32,
    /// The packet's addresses there.
    pub(crate) left_as: Tuple,
    /// See [`InFlight::conntrack_info`].
    pub(crate) conntrack_info: u16,
}

/// A device is about to transmit a query.
#[inline(always)]
pub(crate) fn passed_device(key: &Key, passage: &Passage) {
    if let Some(entry) = in_flight::find(key) {
        let query = entry.query();
        // SAFETY: points into a live map value.
        unsafe {
            count_backend(key, &passage.left_as, &raw const (*query).left_as);
            (*query).device_ns = passage.at_ns;
            (*query).device_ifindex = passage.ifindex;
            (*query).device_netns = passage.netns;
            (*query).left_as = passage.left_as;
            (*query).conntrack_info = passage.conntrack_info;
        }
    }
}

/// Counts where a query to a service goes, at the first device behind its translation.
///
/// # Safety
/// `before` points into a live map value: where the query went before.
#[inline(always)]
unsafe fn count_backend(key: &Key, left_as: &Tuple, before: *const Tuple) {
    let backend = wide(left_as.destination);
    // SAFETY: see above.
    let (before, port_before) =
        unsafe { (wide((*before).destination), (*before).destination_port) };
    let goes_on = |to: Wide, port: u16| backend == to && left_as.destination_port == port;
    if goes_on(key.server(), key.server_port()) || goes_on(before, port_before) {
        return;
    }
    let backend = BackendKey {
        service: narrow(key.server()),
        backend: left_as.destination,
        service_port: key.server_port(),
        backend_port: left_as.destination_port,
    };
    if let Some(queries) = BACKENDS.get_ptr_mut(&backend) {
        // SAFETY: a live map value.
        unsafe { add(queries, 1) };
    } else if BACKENDS.insert(&backend, &1, u64::from(BPF_NOEXIST)).is_err() {
        // Another processor may have been first.
        match BACKENDS.get_ptr_mut(&backend) {
            // SAFETY: as above.
            Some(queries) => unsafe { add(queries, 1) },
            None => count(Health::BackendsFull),
        }
    }
}

/// Client role: an answer is put on a socket's queue.
#[inline(always)]
pub(crate) fn answer_queued(skb: Raw, dns: &Dns, receiver: impl Holder, at_ns: u64) {
    let key = key_at(dns, Role::Client, receiver);
    match in_flight::find(&key) {
        Some(entry) => answered(&key, entry.query(), dns.flags, at_ns),
        None => {
            let Some(mut entry) = emit::reserve::<Packet>() else { return };
            let record = emit::record(&mut entry);
            let owner = receiver.owner();
            emit::packet_of(record, EventKind::Stray, at_ns, skb, dns, owner, false);
            entry.submit(0);
        }
    }
}

/// Client role, tracepoint plan: a device takes an answer. It has arrived when
/// the device is in the namespace of the socket that asked.
#[inline(always)]
pub(crate) fn answer_arrived(dns: &Dns, netns: u32, at_ns: u64) {
    let key = key(dns, Role::Client, netns);
    let Some(entry) = in_flight::find(&key) else { return };
    let query = entry.query();
    // SAFETY: points into a live map value.
    if unsafe { (*query).netns } == netns {
        answered(&key, query, dns.flags, at_ns);
    }
}

/// Counts the first answer of a query.
#[inline(always)]
fn answered(key: &Key, query: *mut InFlight, flags: u16, at_ns: u64) {
    // SAFETY: `query` and `stats` point into live map values.
    unsafe {
        if (*query).state != state::SENT {
            return;
        }
        (*query).state = state::ANSWERED;
        (*query).middle_ns = at_ns;
        (*query).answer_flags = flags;
        if let Some(stats) = stats_of(query) {
            add(&raw mut (*stats).answered, 1);
            add((&raw mut (*stats).rcodes).cast::<u64>().add(rcode(flags)), 1);
            if config!(sees_reading) == 0 {
                observe(&raw mut (*stats).latency, at_ns - (*query).start_ns);
            }
        }
    }
    if config!(questions) != 0 {
        remember_answer(key, at_ns);
    }
}

/// Client role: the process read an answer. Ends the transaction.
#[inline(always)]
pub(crate) fn answer_read(dns: &Dns, reader: impl Holder, at_ns: u64) {
    let key = key_at(dns, Role::Client, reader);
    let Some(entry) = in_flight::find(&key) else { return };
    let query = entry.query();
    // SAFETY: `query` and `stats` point into live map values.
    unsafe {
        let queued = (*query).state == state::ANSWERED;
        if !queued {
            // The run that should have counted it was missed.
            answered(&key, query, dns.flags, at_ns);
        }
        if let Some(stats) = stats_of(query) {
            observe(&raw mut (*stats).latency, at_ns - (*query).start_ns);
            if queued {
                observe(&raw mut (*stats).read_delay, at_ns - (*query).middle_ns);
            }
        }
    }
    end(&key, entry, dns, at_ns);
}

/// The transaction is over.
#[inline(always)]
fn end(key: &Key, entry: Entry, answer: &Dns, at_ns: u64) {
    let query = entry.query();
    // SAFETY: points into a live map value.
    let is_told = config!(trace) != 0
        || (config!(sample_bits) != 0 && key.is_client() && unsafe { is_sampled(query) });
    if is_told {
        finished(EventKind::Transaction, key, query, Some(answer), at_ns);
    }
    entry.end(key);
}

/// Whether a client's query is of a process that is sampled, and room for it in the
/// sample.
///
/// # Safety
/// `query` points into a live map value.
#[inline(always)]
unsafe fn is_sampled(query: *const InFlight) -> bool {
    // SAFETY: see above.
    let (tgid, window) = unsafe { ((*query).tgid, sample::window((*query).start_ns)) };
    if !sample::is_sampled(tgid, window, config!(sample_bits)) {
        return false;
    }
    let Some(told) = TOLD.get_ptr_mut(0) else { return false };
    // SAFETY: a live map value. Where processors race a few more are told.
    unsafe {
        if (*told).window != window {
            (*told).window = window;
            (*told).transactions = 0;
        }
        if (*told).transactions >= sample::MOST {
            count(Health::SamplesLeftOut);
            return false;
        }
        add(&raw mut (*told).transactions, 1);
    }
    true
}

/// Server role: a query is put on a socket's queue.
#[inline(always)]
pub(crate) fn query_queued(dns: &Dns, receiver: impl Holder, at_ns: u64) {
    let owner = receiver.owner();
    begin(dns, &key(dns, Role::Server, owner.netns), owner, 0, at_ns, Run::First);
}

/// Server role, over TCP: the server read a query; when it arrived is not seen.
#[inline(always)]
pub(crate) fn query_taken(dns: &Dns, reader: impl Holder, at_ns: u64) {
    let owner = reader.owner();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    begin(dns, &key(dns, Role::Server, owner.netns), owner, tgid, at_ns, Run::First);
}

/// Server role: the server read a query.
#[inline(always)]
pub(crate) fn query_read(dns: &Dns, reader: impl Holder, at_ns: u64) {
    let key = key_at(dns, Role::Server, reader);
    let Some(entry) = in_flight::find(&key) else { return };
    let query = entry.query();
    // SAFETY: `query` and `stats` point into live map values.
    unsafe {
        (*query).middle_ns = at_ns;
        (*query).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        if let Some(stats) = stats_of(query) {
            (*stats).tgid = (*query).tgid;
            observe(&raw mut (*stats).read_delay, at_ns - (*query).start_ns);
        }
    }
}

/// Server role: the server sent an answer. Ends the transaction there.
#[inline(always)]
pub(crate) fn answer_sent(dns: &Dns, sender: impl Holder, at_ns: u64) {
    let key = key_at(dns, Role::Server, sender);
    let Some(entry) = in_flight::find(&key) else { return };
    let query = entry.query();
    // SAFETY: `query` and `stats` point into live map values.
    unsafe {
        (*query).state = state::ANSWERED;
        (*query).answer_flags = dns.flags;
        if let Some(stats) = stats_of(query) {
            add(&raw mut (*stats).answered, 1);
            add((&raw mut (*stats).rcodes).cast::<u64>().add(rcode(dns.flags)), 1);
            observe(&raw mut (*stats).latency, at_ns - (*query).start_ns);
        }
    }
    end(&key, entry, dns, at_ns);
}

/// The packet did not reach its socket after all: what [`answer_queued`] or
/// [`answer_arrived`] counted a moment ago is taken back; what
/// [`query_queued`] counted is not followed any further.
#[inline(always)]
pub(crate) fn take_back(dns: &Dns, netns: u32) {
    let role = if dns.is_answer() { Role::Client } else { Role::Server };
    let key = key(dns, role, netns);
    let Some(entry) = in_flight::find(&key) else { return };
    let query = entry.query();
    // SAFETY: `query` and `stats` point into live map values.
    unsafe {
        let Some(stats) = stats_of(query) else { return };
        if role as u8 == Role::Server as u8 {
            add(&raw mut (*stats).not_followed, 1);
            entry.end(&key);
        } else if (*query).state == state::ANSWERED {
            (*query).state = state::SENT;
            take_back_answer(stats, query);
        }
    }
}

/// # Safety
/// Both point into live map values.
#[inline(always)]
unsafe fn take_back_answer(stats: *mut Stats, query: *mut InFlight) {
    // SAFETY: see above; a header carries at most 16 response codes.
    unsafe {
        let minus_one = 1_u64.wrapping_neg();
        add(&raw mut (*stats).answered, minus_one);
        add((&raw mut (*stats).rcodes).cast::<u64>().add(rcode((*query).answer_flags)), minus_one);
        if config!(sees_reading) == 0 {
            let latency_ns = (*query).middle_ns - (*query).start_ns;
            add(&raw mut (*stats).latency.sum_ns, latency_ns.wrapping_neg());
            if let Some(slot) = bucket_slot(&raw mut (*stats).latency, latency_ns) {
                add32(slot, minus_one);
            }
        }
        (*query).middle_ns = 0;
        (*query).answer_flags = 0;
    }
}

/// The counter of the bucket that holds `ns`.
///
/// # Safety
/// `latency` points into a live map value.
#[inline(always)]
unsafe fn bucket_slot(latency: *mut Latency, ns: u64) -> Option<*mut u32> {
    let mut index = bucket(ns) as u64;
    // The compiler knows that the index is in bounds and would drop the test
    // below; verifiers before 6.12 do not know it. The mask changes nothing
    // and hides that knowledge.
    const { assert!(BUCKETS <= 0x3ff) };
    // SAFETY: plain arithmetic.
    unsafe { asm!("{0} &= 0x3ff", inout(reg) index, options(nostack)) };
    if index >= BUCKETS as u64 {
        return None;
    }
    // SAFETY: see above; the index was tested.
    Some(unsafe { (&raw mut (*latency).buckets).cast::<u32>().add(index as usize) })
}

/// Adds a value to a distribution.
///
/// # Safety
/// `latency` points into a live map value.
#[inline(always)]
unsafe fn observe(latency: *mut Latency, ns: u64) {
    // SAFETY: see above; the bucket index is below the array's length.
    unsafe {
        if let Some(slot) = bucket_slot(latency, ns) {
            add32(slot, 1);
        }
        add(&raw mut (*latency).sum_ns, ns);
        if ns > (*latency).max_ns {
            (*latency).max_ns = ns;
        }
    }
}
