//! Load-time constants. User space fills them in before loading; the map they
//! live in is frozen, so the verifier treats them as literals and drops every
//! branch they rule out.

use core::ptr::read_volatile;

use dnsprobe_common::{
    config::{Config, FIELD_MARK, MAX_PORTS, Offsets},
    tcp::TcpLayout,
};

#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::NONE;

#[unsafe(no_mangle)]
pub(crate) static CONFIG: Config = Config {
    nf_hook_slow: [0; 2],
    udp_queue_rcv: [0; 2],
    udpv6_queue_rcv: [0; 2],
    udp_recvmsg: [0; 2],
    udpv6_recvmsg: [0; 2],
    udp_first_packet: [0; 2],
    root_cgroup: 0,
    ports: [53, 0, 0, 0],
    reason_netfilter: 0,
    reason_rcvbuf: 0,
    reason_proto_mem: 0,
    window_type: 0,
    capture_bytes: 0,
    sample_bits: 0,
    trace: 0,
    questions: 0,
    drop_has_reason: 0,
    drop_has_socket: 0,
    cgroup_pointer_typed: 0,
    sees_reading: 0,
    arrives_by_device: 0,
    pad: [0; 4],
};

#[unsafe(no_mangle)]
pub(crate) static TCP: TcpLayout = TcpLayout {
    sock_dport: 0,
    sock_num: 0,
    sock_family: 0,
    sock_daddr: 0,
    sock_rcv_saddr: 0,
    sock_v6_daddr: 0,
    sock_v6_rcv_saddr: 0,
    sock_err: 0,
    inet_sport: 0,
    iter_type: 0,
    iter_offset: 0,
    iter_count: 0,
    iter_iov: 0,
    iter_segments: 0,
    type_mask: 0,
    type_ubuf: 0,
    type_iovec: 0,
    recvmsg_arguments: 0,
};

/// 1 once every hook is attached. A query that begins before is not followed:
/// its end could escape. The only variable, alone in its section, so that user
/// space can set it as a map with one element.
#[unsafe(no_mangle)]
static mut WATCHING: u32 = 0;

/// Whether every hook is attached.
#[inline(always)]
pub(crate) fn watching() -> bool {
    // SAFETY: only user space writes it, once.
    unsafe { read_volatile(&raw const WATCHING) != 0 }
}

/// Reads a constant. Volatile, so that the compiler does not take the built-in
/// value for the real one.
#[inline(always)]
pub(crate) fn load<T: Copy>(constant: *const T) -> T {
    // SAFETY: only called by the macros below, with parts of the statics.
    unsafe { read_volatile(constant) }
}

/// Where a field of the running kernel's structs is.
pub(crate) trait Place: Copy {
    /// What stands for it in a load instruction; see
    /// `dnsprobe_common::config::FIELD_MARK`. `None`: it is only known as a number.
    const MARK: Option<u16>;

    /// Bytes from the start of the struct.
    fn bytes(self) -> usize;
}

impl Place for usize {
    const MARK: Option<u16> = None;

    #[inline(always)]
    fn bytes(self) -> usize {
        self
    }
}

/// The place that the field `INDEX` of [`OFFSETS`] says.
#[derive(Clone, Copy)]
pub(crate) struct Offset<const INDEX: usize>;

impl<const INDEX: usize> Place for Offset<INDEX> {
    const MARK: Option<u16> = Some(FIELD_MARK + INDEX as u16);

    #[inline(always)]
    fn bytes(self) -> usize {
        // SAFETY: every index is made by `offset!`.
        load(unsafe { (&raw const OFFSETS).cast::<u32>().add(INDEX) }) as usize
    }
}

/// The place of a field of the running kernel.
macro_rules! offset {
    ($field:ident) => {
        $crate::constants::Offset::<
            { core::mem::offset_of!(dnsprobe_common::config::Offsets, $field) / 4 },
        >
    };
}

/// A configuration value.
macro_rules! config {
    ($field:ident) => {
        $crate::constants::load(&raw const $crate::constants::CONFIG.$field)
    };
    ($field:ident [$index:literal]) => {
        $crate::constants::load(&raw const $crate::constants::CONFIG.$field[$index])
    };
}

/// What is known of TCP in the running kernel.
macro_rules! tcp {
    ($field:ident) => {
        $crate::constants::load(&raw const $crate::constants::TCP.$field)
    };
}

pub(crate) use {config, offset, tcp};

/// Whether a port (host order) is one of the DNS ports.
#[inline(always)]
pub(crate) fn is_dns_port(port: u16) -> bool {
    let mut slot = 0;
    while slot < MAX_PORTS {
        let dns = load(&raw const CONFIG.ports[slot]);
        if dns == 0 {
            return false;
        }
        if dns == port {
            return true;
        }
        slot += 1;
    }
    false
}
