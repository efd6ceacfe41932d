//! DNS over TCP: where the kernel keeps what a process reads and writes, and
//! what is remembered of a connection.

use crate::{
    KernelNs,
    event::Header,
    flow::{Address, Command},
};

/// Everything the TCP programs have to know of the running kernel. Byte offsets
/// are from its BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TcpLayout {
    /// `sock.__sk_common.skc_dport`.
    pub sock_dport: u32,
    /// `sock.__sk_common.skc_num`.
    pub sock_num: u32,
    /// `sock.__sk_common.skc_family`.
    pub sock_family: u32,
    /// `sock.__sk_common.skc_daddr`.
    pub sock_daddr: u32,
    /// `sock.__sk_common.skc_rcv_saddr`.
    pub sock_rcv_saddr: u32,
    /// `sock.__sk_common.skc_v6_daddr`.
    pub sock_v6_daddr: u32,
    /// `sock.__sk_common.skc_v6_rcv_saddr`.
    pub sock_v6_rcv_saddr: u32,
    /// `sock.sk_err`.
    pub sock_err: u32,
    /// `inet_sock.inet_sport`: unlike `skc_num` still there when the socket is
    /// being closed.
    pub inet_sport: u32,
    /// `msghdr.msg_iter.iter_type`, or `.type` before 5.14; the low byte tells.
    pub iter_type: u32,
    /// `msghdr.msg_iter.iov_offset`.
    pub iter_offset: u32,
    /// `msghdr.msg_iter.count`.
    pub iter_count: u32,
    /// `msghdr.msg_iter.__iov` (`iov` before 6.4), which `ubuf` shares.
    pub iter_iov: u32,
    /// `msghdr.msg_iter.nr_segs`.
    pub iter_segments: u32,
    /// Bits of the type that count: before 5.14 the lowest one is the
    /// direction.
    pub type_mask: u8,
    /// `ITER_UBUF` (6.0), one piece of user memory; 0xff: the kernel has none.
    pub type_ubuf: u8,
    /// `ITER_IOVEC`, several pieces of user memory.
    pub type_iovec: u8,
    /// Which argument of `tcp_recvmsg` holds its flags: 4 before 5.19, else 3.
    pub flags_argument: u8,
    /// 1: both writing and reading are hooked, so TCP is followed.
    pub follow: u32,
}

/// Direction of a stream of messages through a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Direction {
    /// Written by the process.
    Written = 0,
    /// Read by the process.
    Read = 1,
}

/// How a connection ended, as its client's socket saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ended {
    /// When.
    pub at_ns: KernelNs,
    /// The socket's error number; 0: none.
    pub errno: u32,
    /// An [`EndedBy`].
    pub by: u32,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum EndedBy {
    /// The client's process closed it.
    Client = 0,
    /// The other side closed it.
    Server = 1,
    /// An error ended it.
    Error = 2,
}

/// A connection to a DNS port that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Connect {
    /// When it ended.
    pub header: Header,
    /// When its first segment was sent; 0: not seen.
    pub start_ns: KernelNs,
    /// cgroup of the socket.
    pub cgroup: u64,
    /// Command of the process, where its cgroup is the root.
    pub command: Command,
    /// The asking side.
    pub client: Address,
    /// Who was to be asked.
    pub server: Address,
    /// The asking side's port, host order.
    pub client_port: u16,
    /// The port that was to be asked, host order.
    pub server_port: u16,
    /// The socket's error number; 0: none.
    pub errno: u32,
    /// Network namespace inode of the socket.
    pub netns: u32,
    /// Process id (thread group). 0: unknown.
    pub tgid: u32,
}

const _: () = assert!(size_of::<TcpLayout>() == 14 * 4 + 4 + 4);
const _: () = assert!(size_of::<Ended>() == 16);
const _: () = assert!(size_of::<Connect>().is_multiple_of(8));

#[cfg(test)]
mod tests {
    use core::mem::offset_of;

    use super::*;

    #[test]
    fn records_have_no_padding_without_a_name() {
        const ADDRESS: usize = size_of::<Address>();
        assert_eq!(size_of::<Connect>(), 16 + 2 * 8 + 16 + 2 * ADDRESS + 2 * 2 + 3 * 4);
        assert_eq!(offset_of!(Connect, header), 0);
    }

    #[test]
    fn by_default_tcp_is_not_followed() {
        assert_eq!(TcpLayout::default().follow, 0);
    }
}
