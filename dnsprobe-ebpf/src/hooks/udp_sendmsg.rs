//! udp_sendmsg, udpv6_sendmsg - a process sends a datagram. Only the return is
//! looked at: an error means that the query was not sent.
//! attach: fexit; kprobe and kretprobe where fexit is refused
//! since:  2.6.12, net/ipv4/udp.c and net/ipv6/udp.c; these arguments since 4.1
//! proto:5.10:net/ipv4/udp.c:int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)
//! proto:7.3:(the same)
//! cost:   every datagram that is sent: the test of the return value; by kprobe
//!         two per-CPU slots written and read
//! writes: EVENTS
//! blind:  io_uring tries again by itself after EAGAIN; such a try counts as a
//!         failed query

use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{fexit, kprobe, kretprobe, map},
    maps::PerCpuArray,
    programs::{FExitContext, ProbeContext, RetProbeContext},
};
use dnsprobe_common::{
    dns::{HEADER_LEN, QUESTION_LEN, is_answer},
    event::{EventKind, SendFailed},
    flow::{Address, Tuple, V4_MAPPED_WORD, v4_mapped},
};

use crate::{
    arch,
    calls::{self, Function},
    constants::{is_dns_port, offset, tcp},
    emit,
    flow::{Key, narrow},
    in_flight,
    maps::LAST_SENT,
    memory::{Pointer, Raw, read_user},
    socket::Holder,
    transaction::NOWHERE,
    user_memory::Cursor,
};

const AF_INET: u16 = 2;
/// Between making a packet and the return of the call that wanted it lies one
/// run through the stack.
const SAME_CALL_NS: u64 = 10_000_000;

/// Where the message is; too large for the stack beside everything else.
#[map]
static MESSAGE: PerCpuArray<Cursor> = PerCpuArray::with_max_entries(1, 0);

#[fexit(function = "udp_sendmsg")]
pub fn udp_sent(ctx: FExitContext) -> u32 {
    returned(ctx.arg(0), ctx.arg(1), ctx.arg(3), false)
}

#[fexit(function = "udpv6_sendmsg")]
pub fn udpv6_sent(ctx: FExitContext) -> u32 {
    returned(ctx.arg(0), ctx.arg(1), ctx.arg(3), true)
}

#[kprobe(function = "udp_sendmsg")]
pub fn udp_send_enter(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

#[kprobe(function = "udpv6_sendmsg")]
pub fn udpv6_send_enter(ctx: ProbeContext) -> u32 {
    entered(&ctx)
}

#[kretprobe(function = "udp_sendmsg")]
pub fn udp_send_return(ctx: RetProbeContext) -> u32 {
    left(&ctx, false)
}

#[kretprobe(function = "udpv6_sendmsg")]
pub fn udpv6_send_return(ctx: RetProbeContext) -> u32 {
    left(&ctx, true)
}

#[inline(always)]
fn entered(ctx: &ProbeContext) -> u32 {
    let stack_pointer = arch::stack_pointer(ctx.regs);
    calls::enter(Function::UdpSocket, stack_pointer, ctx.arg(0).unwrap_or(0));
    calls::enter(Function::UdpMessage, stack_pointer, ctx.arg(1).unwrap_or(0));
    0
}

#[inline(always)]
fn left(ctx: &RetProbeContext, is_v6: bool) -> u32 {
    let stack_pointer = arch::stack_pointer(ctx.regs);
    let socket = calls::leave(Function::UdpSocket, stack_pointer);
    let message = calls::leave(Function::UdpMessage, stack_pointer);
    match (socket, message) {
        (Some(socket), Some(message)) => returned(socket, message, ctx.ret(), is_v6),
        _ => 0,
    }
}

#[inline(always)]
fn returned(socket: u64, message: u64, result: i32, is_v6: bool) -> u32 {
    if result < 0 {
        failed(Raw(socket), Raw(message), result.wrapping_neg() as u32, is_v6);
    }
    0
}

#[inline(always)]
fn failed(socket: Raw, message: Raw, errno: u32, is_v6: bool) {
    let tuple = addresses(socket, message);
    let mapped = tuple.destination[2] == V4_MAPPED_WORD
        && tuple.destination[0] == 0
        && tuple.destination[1] == 0;
    // A mapped address goes on to udp_sendmsg, whose return says the same.
    if !is_dns_port(tuple.destination_port) || (is_v6 && mapped) {
        return;
    }
    let Some(query) = query(message) else { return };
    let now = emit::now();
    let owner = socket.owner();
    let Some(mut entry) = emit::reserve::<SendFailed>() else { return };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record; map values are live.
    unsafe {
        let packet = &raw mut (*record).packet;
        emit::bare_packet(packet, EventKind::SendFailed, now, &tuple, owner);
        (*packet).id = query.id;
        (*packet).flags = query.flags;
        let len = query.question_len;
        let bytes = (&raw mut (*packet).question.bytes).cast::<u8>();
        if len > 0 && len <= QUESTION_LEN && read_user(query.question, bytes, len) {
            (*packet).question.len = len as u16;
        }
        if let Some(last) = LAST_SENT.get_ptr(0)
            && (*last).socket == owner.identity
            && Key((*last).key).id() == query.id
            && now.wrapping_sub((*last).at_ns) < SAME_CALL_NS
            && let Some(entry) = in_flight::find(&Key((*last).key))
        {
            (*packet).has_query = 1;
            (*packet).query = *entry.query();
            (*packet).tuple.source = narrow(Key((*last).key).client());
        }
        (*record).errno = errno;
        (*record).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    }
    entry.submit(0);
}

/// Whom the process asks, from where: the address it gave, or the one the
/// socket is connected to.
#[inline(always)]
fn addresses(socket: Raw, message: Raw) -> Tuple {
    let family: u16 = socket.field(tcp!(sock_family) as usize);
    let mut tuple = NOWHERE;
    tuple.source_port = socket.field(tcp!(sock_num) as usize);
    tuple.source = if family == AF_INET {
        v4_mapped(socket.field(tcp!(sock_rcv_saddr) as usize))
    } else {
        socket.field(tcp!(sock_v6_rcv_saddr) as usize)
    };
    let name = message.follow(offset!(msghdr_msg_name));
    if !name.is_null() {
        // struct sockaddr_in and sockaddr_in6, include/uapi/linux/in.h, in6.h.
        tuple.destination_port = u16::from_be(name.field(2));
        tuple.destination = if name.field::<u16>(0) == AF_INET {
            v4_mapped(name.field(4))
        } else {
            name.field::<Address>(8)
        };
        return tuple;
    }
    tuple.destination_port = u16::from_be(socket.field(tcp!(sock_dport) as usize));
    tuple.destination = if family == AF_INET {
        v4_mapped(socket.field(tcp!(sock_daddr) as usize))
    } else {
        socket.field(tcp!(sock_v6_daddr) as usize)
    };
    tuple
}

/// What a process wanted to send.
struct Query {
    id: u16,
    flags: u16,
    /// Address of the question section in the process's memory.
    question: u64,
    question_len: usize,
}

/// The query in the process's memory; `None` when it cannot be read or is none.
#[inline(always)]
fn query(message: Raw) -> Option<Query> {
    let cursor = MESSAGE.get_ptr_mut(0)?;
    // SAFETY: this processor's own map value.
    let (base, left) = unsafe {
        if !(*cursor).start(message) || ((*cursor).left == 0 && !(*cursor).next_piece()) {
            return None;
        }
        ((*cursor).base, (*cursor).left)
    };
    let mut header = 0_u32;
    if left < HEADER_LEN as u64 || !read_user(base, &raw mut header, 4) {
        return None;
    }
    let header = u32::from_be(header);
    let flags = header as u16;
    if is_answer(flags) {
        return None;
    }
    let mut question_len = (left - HEADER_LEN as u64) as usize;
    if question_len > QUESTION_LEN {
        question_len = QUESTION_LEN;
    }
    let question = base + HEADER_LEN as u64;
    Some(Query { id: (header >> 16) as u16, flags, question, question_len })
}
