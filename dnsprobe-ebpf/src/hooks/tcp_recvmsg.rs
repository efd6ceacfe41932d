//! tcp_recvmsg - a process reads from a TCP socket, IPv4 or IPv6. At its entry
//! is noted where the bytes will be, at its return they are read.
//! attach: fentry and fexit. kprobes will not do: a return probe holds one of
//!         few places for as long as a reader waits
//! since:  2.6.12, net/ipv4/tcp.c
//! proto:5.10:net/ipv4/tcp.c:int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int nonblock, int flags, int *addr_len)
//! proto:5.19:(the same):int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, int *addr_len)
//! proto:7.3:(the same):int tcp_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags)
//! cost:   every read from another TCP socket: two ports compared, twice. A DNS
//!         message: as in `tcp_sendmsg.rs`
//! writes: CONNECTIONS, IN_FLIGHT, STATS; SENT when questions are kept; EVENTS
//!         when tracing
//! loss:   `TcpUnread`, see `stream.rs`

use core::arch::asm;

use aya_ebpf::{
    EbpfContext,
    macros::{fentry, fexit, map},
    maps::ProgramArray,
    programs::{FEntryContext, FExitContext},
};

use crate::{
    constants::tcp,
    memory::{Raw, Typed},
    stream::{self, Direction, Step},
};

/// `MSG_PEEK`, include/linux/socket.h: what is read stays to be read.
const PEEK: i32 = 0x02;

/// See `tcp_sendmsg.rs`.
#[map]
static TCP_READ_MORE: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// An argument. Written as the instruction itself: the compiler would make one
/// load of several, at an address that depends on which, and the verifier wants
/// every load from the context at a fixed place.
#[inline(always)]
fn argument<const INDEX: usize>(ctx: &FExitContext) -> i32 {
    let value: u64;
    // SAFETY: the verifier checks that the function has that argument.
    unsafe {
        asm!(
            "{value} = *(u64 *)({ctx} + {offset})",
            value = out(reg) value,
            ctx = in(reg) ctx.as_ptr(),
            offset = const INDEX * 8,
            options(nostack, readonly),
        );
    }
    value as i32
}

#[fentry(function = "tcp_recvmsg")]
pub fn tcp_read(ctx: FEntryContext) -> u32 {
    stream::entered(Typed(ctx.arg(0)), Raw(ctx.arg(1)), Direction::Read);
    0
}

#[fexit(function = "tcp_recvmsg")]
pub fn tcp_has_read(ctx: FExitContext) -> u32 {
    let sock = Typed(ctx.arg(0));
    let (flags, result) = match tcp!(recvmsg_arguments) {
        6 => (argument::<4>(&ctx), argument::<6>(&ctx)),
        5 => (argument::<3>(&ctx), argument::<5>(&ctx)),
        4 => (argument::<3>(&ctx), argument::<4>(&ctx)),
        _ => return 0,
    };
    if flags & PEEK != 0 {
        return 0;
    }
    if stream::moved(sock, result, Direction::Read) == Step::More {
        // SAFETY: nothing is to be done in this program any more.
        unsafe { TCP_READ_MORE.tail_call(&ctx, 0) };
        // Only reached behind 33 messages.
        stream::too_many(Typed(ctx.arg(0)), Direction::Read);
    }
    0
}
