//! tcp_sendmsg - a process writes to a TCP socket, IPv4 or IPv6. At its entry
//! is noted where the bytes are, at its return they are read, as many as the
//! kernel took.
//! attach: fentry and fexit
//! since:  2.6.12, net/ipv4/tcp.c; these arguments since 4.1
//! proto:5.10:net/ipv4/tcp.c:int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)
//! proto:7.3:(the same)
//! cost:   every write to another TCP socket: two ports compared, twice. A DNS
//!         message: a hash look-up at the entry; at the return another one and
//!         what a datagram costs
//! writes: CONNECTIONS, IN_FLIGHT, STATS; SENT when questions are kept; EVENTS
//!         when tracing
//! loss:   `TcpUnread`, see `stream.rs`
//! blind:  a query is followed from the return on: where another thread has
//!         read its answer before, the query counts as unanswered

use aya_ebpf::{
    macros::{fentry, fexit, map},
    maps::ProgramArray,
    programs::{FEntryContext, FExitContext},
};

use crate::{
    memory::{Raw, Typed},
    stream::{self, Direction, Step},
};

/// `tcp_written` itself, to go on with the next message: a loop over all of
/// them would be checked message by message by the verifier.
#[map]
static TCP_WRITTEN_MORE: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[fentry(function = "tcp_sendmsg")]
pub fn tcp_write(ctx: FEntryContext) -> u32 {
    stream::entered(Typed(ctx.arg(0)), Raw(ctx.arg(1)), Direction::Written);
    0
}

#[fexit(function = "tcp_sendmsg")]
pub fn tcp_written(ctx: FExitContext) -> u32 {
    let sock = Typed(ctx.arg(0));
    if stream::moved(sock, ctx.arg(3), Direction::Written) == Step::More {
        // SAFETY: nothing is to be done in this program any more.
        unsafe { TCP_WRITTEN_MORE.tail_call(&ctx, 0) };
        // Only reached behind 33 messages.
        stream::too_many(Typed(ctx.arg(0)), Direction::Written);
    }
    0
}
