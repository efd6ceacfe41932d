//! nf_ct_iterate_destroy - a part of conntrack goes away (a helper or NAT module
//! is unloaded, a timeout policy deleted): every entry that a packet on its way
//! has not confirmed yet becomes invalid, and confirming it drops the packet.
//! attach: kprobe (nf_conntrack is a module on most kernels)
//! since:  4.13, net/netfilter/nf_conntrack_core.c
//! proto:5.10:net/netfilter/nf_conntrack_core.c:void nf_ct_iterate_destroy(int (*iter)(struct nf_conn *i, void *data), void *data)
//! proto:7.3:(the same)
//! cost:   runs only then
//! writes: EVENTS

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use dnsprobe_common::event::{EventKind, Purge};

use crate::{emit, socket};

#[kprobe(function = "nf_ct_iterate_destroy")]
pub fn conntrack_purge(_ctx: ProbeContext) -> u32 {
    let Some(mut entry) = emit::reserve::<Purge>() else { return 0 };
    let record = emit::record(&mut entry);
    // SAFETY: a reserved record.
    unsafe {
        (*record).header = emit::header(EventKind::Purge as u32, emit::now());
        (*record).command = socket::current_command();
    }
    entry.submit(0);
    0
}
