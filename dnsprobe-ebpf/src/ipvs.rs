//! An IPVS connection (`struct ip_vs_conn`, include/net/ip_vs.h) and what a
//! record says of it.

use dnsprobe_common::{event::Ipvs, flow::V4_MAPPED_WORD};

use crate::{
    constants::offset,
    emit,
    flow::narrow,
    memory::{Pointer, Raw},
    packet::Dns,
};

/// `IP_VS_DEST_F_AVAILABLE`, include/net/ip_vs.h.
const AVAILABLE: u32 = 1;

/// The connection of one client port, with the real server it leads to.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Connection {
    /// When it was looked up; 0: taken already.
    pub(crate) at_ns: u64,
    client: [u32; 4],
    backend: [u32; 4],
    client_port: u16,
    backend_port: u16,
    weight: i32,
    available: u64,
}

impl Connection {
    /// Reads a connection that has a real server; `None` for others.
    #[inline(always)]
    pub(crate) fn read(connection: Raw) -> Option<Self> {
        if connection.is_null() {
            return None;
        }
        let destination = connection.follow(offset!(ip_vs_conn_dest));
        if destination.is_null() {
            return None;
        }
        let flags: u32 = destination.field(offset!(ip_vs_dest_flags));
        let weight: i32 = destination.field(offset!(ip_vs_dest_weight));
        // In order: the usual case ends here.
        if flags & AVAILABLE != 0 && weight != 0 {
            return None;
        }
        Some(Self {
            at_ns: emit::now(),
            client: connection.field(offset!(ip_vs_conn_caddr)),
            backend: connection.field(offset!(ip_vs_conn_daddr)),
            client_port: u16::from_be(connection.field(offset!(ip_vs_conn_cport))),
            backend_port: u16::from_be(connection.field(offset!(ip_vs_conn_dport))),
            weight,
            available: u64::from(flags & AVAILABLE),
        })
    }

    /// Whether the service still lists its real server.
    #[inline(always)]
    pub(crate) fn is_available(&self) -> bool {
        self.available != 0
    }

    /// Whether a packet from a client belongs to it.
    #[inline(always)]
    pub(crate) fn is_of(&self, dns: &Dns) -> bool {
        let source = narrow(dns.flow.client);
        let client = if is_v4(&source) { source[3] } else { source[0] };
        self.client_port == dns.flow.client_port && self.client[0] == client
    }

    /// Writes it into a record.
    ///
    /// # Safety
    /// `record` is a reserved record.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, record: *mut Ipvs, dns: &Dns) {
        // SAFETY: see above.
        unsafe {
            (*record).backend = if is_v4(&narrow(dns.flow.client)) {
                [0, 0, V4_MAPPED_WORD, self.backend[0]]
            } else {
                self.backend
            };
            (*record).backend_port = self.backend_port;
            (*record).backend_weight = self.weight;
            (*record).backend_available = self.available as u8;
            (*record).connection_known = 1;
        }
    }
}

/// Clears what a record says of a connection.
///
/// # Safety
/// `record` is a reserved record.
#[inline(always)]
pub(crate) unsafe fn clear(record: *mut Ipvs) {
    // SAFETY: see above.
    unsafe {
        (*record).backend = [0; 4];
        (*record).backend_port = 0;
        (*record).connection_known = 0;
        (*record).backend_available = 0;
        (*record).backend_weight = 0;
        (*record).no_backend = 0;
        (*record).pad = 0;
    }
}

#[inline(always)]
fn is_v4(address: &[u32; 4]) -> bool {
    address[2] == V4_MAPPED_WORD && address[0] == 0 && address[1] == 0
}
