//! sock:inet_sock_set_state - a connection changes its state: when one to a DNS
//! port begins, ends, or ends before it was made.
//! attach: BTF tracepoint
//! since:  4.16, include/trace/events/sock.h
//! proto:5.10:include/trace/events/sock.h:(const struct sock *sk, const int oldstate, const int newstate)
//! proto:7.3:(the same)
//! cost:   some three runs per TCP connection: two ports compared
//! writes: CONNECTIONS, EVENTS

use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use dnsprobe_common::{
    event::{ConnectFailed, EventKind},
    flow::Role,
};

use crate::{
    constants::{is_dns_port, tcp, watching},
    emit,
    memory::{Pointer, Typed},
    socket::Holder,
    stream::{self, Connection},
};

// include/net/tcp_states.h
const ESTABLISHED: i32 = 1;
const SYN_SENT: i32 = 2;
const CLOSE: i32 = 7;

#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn inet_sock_set_state(ctx: BtfTracePointContext) -> i32 {
    let sock = Typed(ctx.arg(0));
    match ctx.arg::<i32>(2) {
        SYN_SENT if to_server(sock) && watching() => {
            stream::begin(sock, emit::now());
        }
        // Accepted: the address may have been another connection's.
        ESTABLISHED if is_dns_port(sock.field(tcp!(sock_num) as usize)) => stream::forget(sock),
        CLOSE if to_server(sock) => {
            if ctx.arg::<i32>(1) == SYN_SENT && watching() {
                failed(sock, stream::known(sock));
            }
            stream::forget(sock);
        }
        _ => {}
    }
    0
}

#[inline(always)]
fn to_server(sock: Typed) -> bool {
    is_dns_port(u16::from_be(sock.field(tcp!(sock_dport) as usize)))
}

#[inline(always)]
fn failed(sock: Typed, connection: Option<*mut Connection>) {
    let now = emit::now();
    let Some(mut entry) = emit::reserve::<ConnectFailed>() else { return };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record; `connection` is a live map value.
    unsafe {
        (*record).header = emit::header(EventKind::ConnectFailed as u32, now);
        (*record).tuple = stream::asked(sock, Role::Client);
        (*record).errno = sock.field::<u32>(tcp!(sock_err) as usize);
        if let Some(connection) = connection {
            (*record).start_ns = (*connection).start_ns;
            (*record).cgroup = (*connection).cgroup;
            (*record).command = (*connection).command;
            (*record).netns = (*connection).netns;
            (*record).tgid = (*connection).tgid;
        } else {
            // In softirq, or anybody's context: only the socket can be trusted.
            let owner = sock.owner();
            (*record).start_ns = 0;
            (*record).cgroup = owner.cgroup;
            (*record).command = [0; 2];
            (*record).netns = owner.netns;
            (*record).tgid = 0;
        }
    }
    entry.submit(0);
}
