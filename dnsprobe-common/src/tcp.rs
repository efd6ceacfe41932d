//! Where the kernel keeps what a process sends, and whom it is connected to.

/// Everything the programs that look into a send call have to know of the
/// running kernel. Byte offsets are from its BTF.
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
    /// How many arguments `tcp_recvmsg` has: 6 before 5.19, 5 before 7.0, then
    /// 4. Its result comes behind them.
    pub recvmsg_arguments: u8,
}

const _: () = assert!(size_of::<TcpLayout>() == 14 * 4 + 4);
