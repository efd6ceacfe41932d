//! early_drop - conntrack looks for an entry to evict because the table is
//! full. When it finds none the allocation fails and the packet is dropped.
//! attach: kretprobe (nf_conntrack is a module on most kernels)
//! since:  2.6.25, net/netfilter/nf_conntrack_core.c
//! proto:5.10:net/netfilter/nf_conntrack_core.c:static bool early_drop(struct net *net, unsigned int hash)
//! proto:7.3:(the same)
//! cost:   runs only while the table is full
//! writes: TABLE_FULL, read by `skb:kfree_skb` for the same packet

use aya_ebpf::{macros::kretprobe, programs::RetProbeContext};

use crate::{emit, maps::TABLE_FULL};

#[kretprobe(function = "early_drop")]
pub fn early_drop(ctx: RetProbeContext) -> u32 {
    // A bool: only the lowest byte of the register means anything.
    if ctx.ret::<u8>() == 0
        && let Some(mark) = TABLE_FULL.get_ptr_mut(0)
    {
        // SAFETY: this processor's own map value.
        unsafe { *mark = emit::now() };
    }
    0
}
