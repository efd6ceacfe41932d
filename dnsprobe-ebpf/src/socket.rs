//! Who a socket or device belongs to: cgroup and network namespace.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use dnsprobe_common::flow::Command;

use crate::{
    constants::{Place, config, offset},
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

/// A pointer to a socket, which may be null.
pub(crate) trait Holder: Pointer {
    /// Who holds the socket.
    fn owner(self) -> Socket;

    /// Its network namespace; see [`Socket::netns`].
    #[inline(always)]
    fn netns(self) -> u32 {
        if self.is_null() { 0 } else { netns(self, offset!(sock_net)) }
    }
}

impl Holder for Typed {
    #[inline(always)]
    fn owner(self) -> Socket {
        if self.is_null() {
            return Socket::default();
        }
        let cgroup = if config!(cgroup_pointer_typed) != 0 {
            cgroup_id(self.follow(offset!(sock_cgroup)))
        } else {
            cgroup_of_packed(self.field(offset!(sock_cgroup)))
        };
        Socket { identity: self.address(), cgroup, netns: self.netns() }
    }
}

impl Holder for Raw {
    #[inline(always)]
    fn owner(self) -> Socket {
        if self.is_null() {
            return Socket::default();
        }
        let cgroup = cgroup_of_packed(self.field(offset!(sock_cgroup)));
        Socket { identity: self.address(), cgroup, netns: self.netns() }
    }
}

/// Before 5.15 the field is an integer; bit 0 set means that a cgroup v1 class sits
/// in its place (net_cls, net_prio).
#[inline(always)]
fn cgroup_of_packed(packed: u64) -> u64 {
    if packed & 1 == 1 { 0 } else { cgroup_id(Raw(packed)) }
}

#[inline(always)]
fn cgroup_id<P: Pointer>(cgroup: P) -> u64 {
    if cgroup.is_null() {
        return 0;
    }
    cgroup.follow(offset!(cgroup_kn)).field(offset!(kernfs_node_id))
}

/// Command of the current process: its first thread's name, because others
/// give names of their own to theirs. Only in process context.
#[inline(always)]
pub(crate) fn current_command() -> Command {
    // SAFETY: has no arguments.
    let task = Raw(unsafe { bpf_get_current_task() });
    task.follow(offset!(task_struct_group_leader)).field(offset!(task_struct_comm))
}

/// Inode of the network namespace that the namespace pointer at a place in a
/// struct leads to.
#[inline(always)]
pub(crate) fn netns<P: Pointer>(holder: P, place: impl Place) -> u32 {
    holder.follow(place).field(offset!(net_inum))
}
