//! Copies DNS packets for `dnsprobe capture`, by programs of their own that are not
//! loaded otherwise. One point per packet and direction, and the point where it is
//! dropped. What lies in pages of its own behind the linear part of a buffer cannot
//! be read here and is missing at the packet's end.

use core::{arch::asm, mem::MaybeUninit};

use aya_ebpf::{
    EbpfContext,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_stack},
    maps::ring_buf::RingBufEntry,
};
use dnsprobe_common::{
    capture::{Captured, LONG, Point, Record, SHORT},
    event::STACK,
    flow::{Command, Role},
    stats::Health,
};

use crate::{
    conntrack,
    constants::{config, offset, watching},
    emit, in_flight,
    maps::{PACKETS, count},
    memory::{Pointer, Raw, Typed, read},
    packet,
    socket::{self, Holder, Socket, current_command},
    transaction::{self, NOWHERE},
};

/// Bit 0 of a buffer's route says that the route is not counted (`SKB_DST_NOREF`,
/// include/linux/skbuff.h).
const DST_NOREF: u64 = 1;

/// Who is known to be sending.
struct Sender {
    tgid: u32,
    command: Command,
}

const NOBODY: Sender = Sender { tgid: 0, command: [0; 2] };

/// A packet where it is captured.
struct Seen {
    point: Point,
    skb: Raw,
    /// Address of the IP header, as a mere number: newer verifiers take what a typed
    /// pointer leads to for a pointer, which no length can be made of.
    ip: u64,
    socket: Socket,
    /// May be null.
    device: Raw,
    sender: Sender,
}

/// A local socket sends a packet. Its device is the one that it is routed to.
#[inline(always)]
pub(crate) fn sent<P: Holder>(skb: P) -> u32 {
    if !watching() || packet::dns(skb).is_none() {
        return 0;
    }
    let route: u64 = skb.raw().field(offset!(sk_buff_dst));
    let route = Raw(route & !DST_NOREF);
    put(&Seen {
        point: Point::Sent,
        skb: skb.raw(),
        ip: packet::network_header(skb.raw()),
        socket: skb.follow(offset!(sk_buff_sk)).owner(),
        device: if route.is_null() { Raw(0) } else { route.follow(offset!(dst_entry_dev)) },
        sender: current_process(),
    })
}

/// A packet is about to be put on a socket's queue, which has not taken the place of
/// its device for itself yet.
#[inline(always)]
pub(crate) fn queued<P: Holder>(skb: P, receiver: P) -> u32 {
    if !watching() || packet::dns(skb).is_none() {
        return 0;
    }
    put(&Seen {
        point: Point::Queued,
        skb: skb.raw(),
        ip: packet::network_header(skb.raw()),
        socket: receiver.owner(),
        device: skb.raw().follow(offset!(sk_buff_dev)),
        sender: NOBODY,
    })
}

/// A device takes a packet from its socket.
#[inline(always)]
pub(crate) fn taken(skb: Typed, sender: Typed) -> u32 {
    if !watching() || packet::dns(skb).is_none() {
        return 0;
    }
    put(&Seen {
        point: Point::TakenByDevice,
        skb: skb.raw(),
        ip: packet::network_header(skb.raw()),
        socket: sender.owner(),
        device: skb.raw().follow(offset!(sk_buff_dev)),
        sender: current_process(),
    })
}

/// A device hands in a packet. Only an answer in the namespace that asked: on its way
/// there it passes others.
#[inline(always)]
pub(crate) fn arrived(skb: Typed) -> u32 {
    if !watching() {
        return 0;
    }
    let Some(dns) = packet::received_dns(skb) else { return 0 };
    let device = skb.raw().follow(offset!(sk_buff_dev));
    let netns = socket::netns(device, offset!(net_device_net));
    let key = transaction::key(&dns, Role::Client, netns);
    let Some(entry) = in_flight::find(&key) else { return 0 };
    // SAFETY: points into a live map value.
    let (asking, cgroup) = unsafe { ((*entry.query()).netns, (*entry.query()).cgroup) };
    if !dns.is_answer() || asking != netns {
        return 0;
    }
    put(&Seen {
        point: Point::FromDevice,
        skb: skb.raw(),
        ip: skb.raw().field(offset!(sk_buff_data)),
        socket: Socket { identity: 0, cgroup, netns },
        device,
        sender: NOBODY,
    })
}

/// A packet is dropped.
#[inline(always)]
pub(crate) fn dropped(
    ctx: &impl EbpfContext,
    skb: Typed,
    point: Point,
    location: u64,
    reason: u32,
) -> u32 {
    if !watching() || packet::dns(skb).is_none() {
        return 0;
    }
    let device: u64 = skb.raw().field(offset!(sk_buff_dev));
    // The receive queue of a UDP socket keeps numbers in its place (net/ipv4/udp.c,
    // udp_set_dev_scratch), which are no kernel address.
    let device = if (device as i64) < 0 { Raw(device) } else { Raw(0) };
    let seen = Seen {
        point,
        skb: skb.raw(),
        ip: packet::network_header(skb.raw()),
        socket: skb.raw().follow(offset!(sk_buff_sk)).owner(),
        device,
        sender: NOBODY,
    };
    let kept = kept(&seen);
    if kept.len <= SHORT as u32 {
        let Some(mut entry) = reserve::<SHORT>() else { return 0 };
        // SAFETY: a reserved record.
        unsafe { stack(fill(&mut entry, &seen, kept), ctx, location, reason) };
        entry.submit(0);
    } else {
        let Some(mut entry) = reserve::<LONG>() else { return 0 };
        // SAFETY: a reserved record.
        unsafe { stack(fill(&mut entry, &seen, kept), ctx, location, reason) };
        entry.submit(0);
    }
    0
}

/// Where and why a packet was dropped.
///
/// # Safety
/// `to` is in a reserved record.
#[inline(always)]
unsafe fn stack(to: *mut Captured, ctx: &impl EbpfContext, location: u64, reason: u32) {
    // SAFETY: see above; the helper writes at most the array's size.
    unsafe {
        (*to).location = location;
        (*to).reason = reason;
        let stack = (&raw mut (*to).stack).cast::<u64>();
        let bytes = bpf_get_stack(ctx.as_ptr(), stack.cast(), size_of::<[u64; STACK]>() as u32, 0);
        if bytes <= 0 {
            *stack = 0;
        }
    }
}

#[inline(always)]
fn current_process() -> Sender {
    Sender { tgid: (bpf_get_current_pid_tgid() >> 32) as u32, command: current_command() }
}

#[inline(always)]
fn put(seen: &Seen) -> u32 {
    let kept = kept(seen);
    if kept.len <= SHORT as u32 {
        let Some(mut entry) = reserve::<SHORT>() else { return 0 };
        fill(&mut entry, seen, kept);
        entry.submit(0);
    } else {
        let Some(mut entry) = reserve::<LONG>() else { return 0 };
        fill(&mut entry, seen, kept);
        entry.submit(0);
    }
    0
}

#[inline(always)]
fn reserve<const BYTES: usize>() -> Option<RingBufEntry<Record<BYTES>>> {
    let entry = PACKETS.reserve::<Record<BYTES>>(0);
    if entry.is_none() {
        count(Health::PacketsLost);
    }
    entry
}

/// How much there is of a packet, and how much of that is kept.
#[derive(Clone, Copy)]
struct Kept {
    packet_len: u32,
    len: u32,
}

/// The buffer's data may begin before the IP header (a device's header) or behind it
/// (at a socket); what is behind its tail is not the packet's, or lies elsewhere.
#[inline(always)]
fn kept(seen: &Seen) -> Kept {
    let head: u64 = seen.skb.field(offset!(sk_buff_head));
    let data: u64 = seen.skb.field(offset!(sk_buff_data));
    let tail: u32 = seen.skb.field(offset!(sk_buff_tail));
    let len: u32 = seen.skb.field(offset!(sk_buff_len));
    let packet_len = len.wrapping_add(data.wrapping_sub(seen.ip) as u32);
    let linear = head.wrapping_add(u64::from(tail)).wrapping_sub(seen.ip) as u32;
    let mut len = if packet_len < linear { packet_len } else { linear };
    if len > config!(capture_bytes) {
        len = config!(capture_bytes);
    }
    Kept { packet_len, len }
}

/// Fills in a record without its stack.
#[inline(always)]
fn fill<const BYTES: usize>(
    to: &mut MaybeUninit<Record<BYTES>>,
    seen: &Seen,
    kept: Kept,
) -> *mut Captured {
    let record = to.as_mut_ptr();
    let entry = conntrack::of(seen.skb);
    let mut len = u64::from(kept.len);
    // The compiler knows the bound already; the verifier has to see it checked.
    // SAFETY: does nothing.
    unsafe { asm!("{len} = {len}", len = inout(reg) len, options(pure, nomem, nostack)) };
    if len > BYTES as u64 {
        len = BYTES as u64;
    }
    // SAFETY: a reserved record.
    unsafe {
        let to = &raw mut (*record).captured;
        (*to).header = emit::header(seen.point as u32, emit::now());
        (*to).cgroup = seen.socket.cgroup;
        (*to).location = 0;
        *(&raw mut (*to).stack).cast::<u64>() = 0;
        (*to).command = seen.sender.command;
        (*to).netns = seen.socket.netns;
        (*to).tgid = seen.sender.tgid;
        (*to).reason = 0;
        (*to).device_name = [0; 2];
        (*to).device_netns = 0;
        (*to).device_ifindex = 0;
        if !seen.device.is_null() {
            (*to).device_name = seen.device.field(offset!(net_device_name));
            (*to).device_netns = socket::netns(seen.device, offset!(net_device_net));
            (*to).device_ifindex = seen.device.field(offset!(net_device_ifindex));
        }
        (*to).has_conntrack = u32::from(!entry.is_null());
        (*to).original = NOWHERE;
        if !entry.is_null() {
            (*to).original = conntrack::tuple(entry, 0);
        }
        (*to).packet_len = kept.packet_len;
        (*to).pad = 0;
        let bytes = (&raw mut (*record).bytes).cast::<u8>();
        (*to).kept = if read(seen.ip, bytes, len as usize) { len as u32 } else { 0 };
        to
    }
}
