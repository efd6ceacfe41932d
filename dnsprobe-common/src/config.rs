//! Constants that user space fills in before the programs are loaded. The
//! verifier knows their values, so a branch on one costs nothing at run time
//! and code for a missing field is never checked.

/// Offset of a field the running kernel does not have.
pub const NO_FIELD: u32 = u32::MAX;

/// The instruction that stands for a call of `bpf_rdonly_cast` in the programs as
/// they are built: a call of a kernel function whose number user space fills in
/// ([`rdonly_cast_call`]). The number here is one that no kernel has.
pub const RDONLY_CAST: u64 = 0x5eed_ca57_0000_2085;

/// The instruction that calls the kernel function with that BTF id. `None`: the
/// kernel has none, and the instruction sets the result to 0; `Config::window_type`
/// is 0 then and the result is not used.
#[must_use]
pub const fn rdonly_cast_call(function: Option<u32>) -> u64 {
    match function {
        Some(id) => (id as u64) << 32 | RDONLY_CAST & 0xffff_ffff,
        None => 0xb7,
    }
}

/// Where a load instruction of the programs as they are built has the offset
/// `FIELD_MARK` + n, user space fills in the n-th of [`Offsets`]: no map value and no
/// stack is that large.
pub const FIELD_MARK: u16 = 0x7a00;

/// How many DNS ports can be watched at once.
pub const MAX_PORTS: usize = 4;

/// Byte offsets of kernel struct fields, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[expect(missing_docs, reason = "each field is named after the kernel field it locates")]
pub struct Offsets {
    pub sk_buff_head: u32,
    pub sk_buff_data: u32,
    pub sk_buff_network_header: u32,
    pub sk_buff_protocol: u32,
    pub sk_buff_sk: u32,
    pub sk_buff_dev: u32,
    pub sk_buff_nfct: u32,
    pub net_device_ifindex: u32,
    pub net_device_net: u32,
    pub net_device_flags: u32,
    pub net_inum: u32,
    pub task_struct_group_leader: u32,
    pub task_struct_comm: u32,
    pub sock_net: u32,
    pub sock_cgroup: u32,
    pub sock_rcvbuf: u32,
    pub sock_rmem_alloc: u32,
    pub cgroup_kn: u32,
    pub cgroup_root: u32,
    pub cgroup_root_hierarchy_id: u32,
    pub kernfs_node_id: u32,
    pub nf_conn_status: u32,
    pub nf_conn_tuplehash: u32,
    pub tuplehash_size: u32,
    pub tuplehash_tuple: u32,
    pub tuple_dst_dir: u32,
    pub ip_vs_conn_cport: u32,
    pub ip_vs_conn_dport: u32,
    pub ip_vs_conn_caddr: u32,
    pub ip_vs_conn_daddr: u32,
    pub ip_vs_conn_dest: u32,
    /// `ip_vs_dest.cflags` where it exists, else `ip_vs_dest.flags`: bit 0 is
    /// `IP_VS_DEST_F_AVAILABLE` in both.
    pub ip_vs_dest_flags: u32,
    pub ip_vs_dest_weight: u32,
    pub msghdr_msg_name: u32,
    // What capturing needs besides.
    pub sk_buff_len: u32,
    pub sk_buff_tail: u32,
    pub sk_buff_dst: u32,
    pub dst_entry_dev: u32,
    pub net_device_name: u32,
}

/// Switches and values of this run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Config {
    /// Where `nf_hook_slow` lies in kernel memory: `[start, end)`. 0: unknown.
    pub nf_hook_slow: [u64; 2],
    /// See `nf_hook_slow`; the function that puts a packet on a UDP socket.
    pub udp_queue_rcv: [u64; 2],
    /// See `nf_hook_slow`; its IPv6 twin.
    pub udpv6_queue_rcv: [u64; 2],
    /// See `nf_hook_slow`; the functions that find a queued packet's checksum
    /// wrong: reading over IPv4, over IPv6, and looking before reading.
    pub udp_recvmsg: [u64; 2],
    /// See `udp_recvmsg`.
    pub udpv6_recvmsg: [u64; 2],
    /// See `udp_recvmsg`.
    pub udp_first_packet: [u64; 2],
    /// Id of the cgroup hierarchy's root, where processes are told apart by
    /// their command; 0: nowhere.
    pub root_cgroup: u64,
    /// Ports taken as DNS, host order; 0 ends the list.
    pub ports: [u16; MAX_PORTS],
    /// This kernel's number of `SKB_DROP_REASON_NETFILTER_DROP`; 0: it has no
    /// drop reasons.
    pub reason_netfilter: u32,
    /// This kernel's number of `SKB_DROP_REASON_SOCKET_RCVBUFF`; 0: none.
    pub reason_rcvbuf: u32,
    /// This kernel's number of `SKB_DROP_REASON_PROTO_MEM`; 0: none.
    pub reason_proto_mem: u32,
    /// BTF id of the struct as which kernel memory is read, `rtnl_link_stats64`:
    /// nothing but 64-bit fields, 24 of them or more. 0: the kernel has no
    /// `bpf_rdonly_cast` (6.2), and a helper reads it.
    pub window_type: u32,
    /// Bytes kept of a captured packet, at most `capture::LONG`.
    pub capture_bytes: u32,
    /// Which processes are sampled, see `sample`: of each 2^this one at a time; at
    /// most 16. 0: none, unless `trace` tells all.
    pub sample_bits: u8,
    /// 1: emit an event for every finished transaction.
    pub trace: u8,
    /// 1: keep the question of every query in flight.
    pub questions: u8,
    /// 1: `skb:kfree_skb` has a drop reason (5.17).
    pub drop_has_reason: u8,
    /// 1: `skb:kfree_skb` names the receiving socket (6.11).
    pub drop_has_socket: u8,
    /// 1: `sock.sk_cgrp_data` is a typed pointer; 0: an integer (before 5.15).
    pub cgroup_pointer_typed: u8,
    /// 1: reading is hooked, so a latency ends when the answer is read; 0: when
    /// it arrives.
    pub sees_reading: u8,
    /// 1: an answer counts as arrived when a device of its socket's namespace
    /// takes it, because queueing is not hooked; a drop on its way from there
    /// to the socket takes it back.
    pub arrives_by_device: u8,
    /// Padding, zero.
    pub pad: [u8; 4],
}

const _: () = assert!(size_of::<Config>() == 144);

impl Offsets {
    /// How many there are.
    pub const COUNT: usize = size_of::<Self>() / 4;

    /// All of them, in their order.
    #[must_use]
    pub const fn all(&self) -> [u32; Self::COUNT] {
        // SAFETY: repr(C) and u32 fields only.
        unsafe { core::mem::transmute(*self) }
    }

    /// Offsets with every field missing.
    pub const NONE: Self = {
        // SAFETY: the struct is plain u32 fields; 0xff in every byte is
        // NO_FIELD in every field.
        unsafe { core::mem::transmute([0xff_u8; size_of::<Self>()]) }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nothing_is_known_every_field_is_missing() {
        let Offsets { sk_buff_head, ip_vs_dest_weight, .. } = Offsets::NONE;
        assert_eq!([sk_buff_head, ip_vs_dest_weight], [NO_FIELD; 2]);
        assert!(Offsets::NONE.all().iter().all(|offset| *offset == NO_FIELD));
    }

    #[test]
    fn a_call_differs_from_its_stand_in_by_the_functions_number_alone() {
        assert_eq!(rdonly_cast_call(Some(0x5eed_ca57)), RDONLY_CAST);
        assert_eq!(rdonly_cast_call(Some(7)), 7 << 32 | 0x2085);
    }

    #[test]
    fn a_config_by_default_watches_no_port_and_switches_nothing_on() {
        let config = Config::default();
        assert_eq!(config.ports, [0; MAX_PORTS]);
        assert_eq!((config.trace, config.questions), (0, 0));
        assert_eq!(config.nf_hook_slow, [0, 0]);
    }
}
