//! Who a socket or device belongs to: cgroup and network namespace.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use dnsprobe_common::flow::Command;

use crate::{
    constants::{config, offset},
    memory::{Pointer, Raw, Typed},
};

/// Owner of a socket.
#[derive(Clone, Copy, Default)]
pub(crate) struct Socket {
    /// Its address as an opaque identity; 0: none.
    pub(crate) identity: u64,
    /// cgroup v2 id; 0: unknown.
    pub(crate) cgroup: u64,
    /// Network namespace inode; 0: unknown.
    pub(crate) netns: u32,
}

/// Owner of a socket whose type the verifier knows. `socket` may be null.
#[inline(always)]
pub(crate) fn typed(socket: Typed) -> Socket {
    if socket.is_null() {
        return Socket::default();
    }
    let cgroup = if config!(cgroup_pointer_typed) != 0 {
        cgroup_id(socket.follow(offset!(sock_cgroup)))
    } else {
        // Before 5.15 the field is an integer; bit 0 set means that a cgroup
        // v1 class sits in its place (net_cls, net_prio).
        let packed: u64 = socket.field(offset!(sock_cgroup));
        if packed & 1 == 1 { 0 } else { cgroup_id(Raw(packed)) }
    };
    Socket { identity: socket.address(), cgroup, netns: netns(socket, offset!(sock_net)) }
}

#[inline(always)]
fn cgroup_id<P: Pointer>(cgroup: P) -> u64 {
    if cgroup.is_null() {
        return 0;
    }
    cgroup.follow(offset!(cgroup_kn)).field(offset!(kernfs_node_id))
}

/// Owner of a socket read through the helper; for cold paths.
#[inline(always)]
pub(crate) fn raw(socket: Raw) -> Socket {
    if socket.is_null() {
        return Socket::default();
    }
    let packed: u64 = socket.field(offset!(sock_cgroup));
    let cgroup = if packed & 1 == 1 { 0 } else { cgroup_id(Raw(packed)) };
    Socket { identity: socket.address(), cgroup, netns: netns(socket, offset!(sock_net)) }
}

/// Command of the current process: its first thread's name, because others
/// give names of their own to theirs. Only in process context.
#[inline(always)]
pub(crate) fn current_command() -> Command {
    // SAFETY: has no arguments.
    let task = Raw(unsafe { bpf_get_current_task() });
    task.follow(offset!(task_struct_group_leader)).field(offset!(task_struct_comm))
}

/// Inode of the network namespace that a struct's namespace pointer at
/// `offset` leads to.
#[inline(always)]
pub(crate) fn netns<P: Pointer>(holder: P, offset: usize) -> u32 {
    holder.follow(offset).field(offset!(net_inum))
}
