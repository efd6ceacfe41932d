//! Constants that user space fills in before the programs are loaded. The
//! verifier knows their values, so a branch on one costs nothing at run time
//! and code for a missing field is never checked.

/// Offset of a field the running kernel does not have.
pub const NO_FIELD: u32 = u32::MAX;

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
    pub net_inum: u32,
    pub task_struct_group_leader: u32,
    pub task_struct_comm: u32,
    pub sock_net: u32,
    pub sock_cgroup: u32,
    pub sock_rcvbuf: u32,
    pub sock_rmem_alloc: u32,
    pub cgroup_kn: u32,
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
    pub pad: [u8; 5],
}

const _: () = assert!(size_of::<Config>() == 136);

impl Offsets {
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
        // SAFETY: repr(C) and u32 fields only.
        let words: [u32; size_of::<Offsets>() / 4] = unsafe { core::mem::transmute(Offsets::NONE) };
        assert!(words.iter().all(|word| *word == NO_FIELD));
    }

    #[test]
    fn a_config_by_default_watches_no_port_and_switches_nothing_on() {
        let config = Config::default();
        assert_eq!(config.ports, [0; MAX_PORTS]);
        assert_eq!((config.trace, config.questions), (0, 0));
        assert_eq!(config.nf_hook_slow, [0, 0]);
    }
}
