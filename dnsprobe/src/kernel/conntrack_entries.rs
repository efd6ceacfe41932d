//! Who fills the conntrack table: entries by the address that sent the first
//! packet, over ctnetlink.

use std::{
    collections::HashMap,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::netlink::{Attributes, Message, Netlink, NetlinkError};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
/// `struct nfgenmsg`: family (0: any), version, resource id.
const ANY_FAMILY: [u8; 4] = [0; 4];
/// Addresses told apart; a node has far fewer pods, but many correspondents.
const MAX_ADDRESSES: usize = 65_536;

/// Entries by source address, and those beyond the addresses that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// Entries by the address of their first packet.
    pub by_address: HashMap<IpAddr, u64>,
    /// Entries of addresses beyond the bound.
    pub beyond: u64,
}

/// Reads the whole table of this network namespace; `None` where there is no
/// conntrack. A table of a million entries takes about a second.
///
/// # Errors
/// What the kernel said; it wants `CAP_NET_ADMIN`.
pub fn conntrack_sources() -> Result<Option<Sources>, io::Error> {
    // Asking loads the module that answers; without conntrack there is nothing
    // to ask.
    if !fs::exists("/proc/sys/net/netfilter/nf_conntrack_count")? {
        return Ok(None);
    }
    let mut sources = Sources::default();
    let mut read = || -> Result<(), NetlinkError> {
        let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
        let mut netlink = Netlink::open(libc::NETLINK_NETFILTER)?;
        // Entries come and go: the sums are never of one moment anyway.
        netlink.dump_each(kind, &ANY_FAMILY, |message| sources.count(&message))?;
        Ok(())
    };
    read().map_err(|error| match error {
        NetlinkError::Refused(error) | NetlinkError::Socket(error) => error,
        other => io::Error::other(other.to_string()),
    })?;
    Ok(Some(sources))
}

impl Sources {
    fn count(&mut self, message: &Message) -> Result<(), NetlinkError> {
        let Some(address) = source(message)? else { return Ok(()) };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count += 1;
        } else if self.by_address.len() < MAX_ADDRESSES {
            self.by_address.insert(address, 1);
        } else {
            self.beyond += 1;
        }
        Ok(())
    }
}

/// The source of the original direction.
fn source(message: &Message) -> Result<Option<IpAddr>, NetlinkError> {
    const CTA_TUPLE_ORIG: u16 = 1;
    const CTA_TUPLE_IP: u16 = 1;
    const CTA_IP_V4_SRC: u16 = 1;
    const CTA_IP_V6_SRC: u16 = 3;
    let entry = Attributes::after(&message.payload, ANY_FAMILY.len())?;
    let addresses = entry.nested(CTA_TUPLE_ORIG)?.nested(CTA_TUPLE_IP)?;
    let v4 = addresses.get(CTA_IP_V4_SRC).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let v6 = addresses.get(CTA_IP_V6_SRC).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let v4 = v4.map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)));
    Ok(v4.or(v6.map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::attribute;

    fn entry(kind: u16, address: &[u8]) -> Message {
        let ip = attribute(1, &attribute(kind, address));
        Message { kind: 0x100, payload: [vec![2, 0, 0, 0], attribute(1, &ip)].concat() }
    }

    #[test]
    fn entries_are_counted_by_the_sender_of_the_first_packet() {
        let mut sources = Sources::default();
        sources.count(&entry(1, &[10, 244, 0, 11])).unwrap();
        sources.count(&entry(1, &[10, 244, 0, 11])).unwrap();
        sources.count(&entry(3, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])).unwrap();
        sources.count(&entry(1, &[10, 244])).unwrap();
        assert_eq!(sources.by_address[&"10.244.0.11".parse::<IpAddr>().unwrap()], 2);
        assert_eq!(sources.by_address[&"fd00::2".parse::<IpAddr>().unwrap()], 1);
        assert_eq!(sources.by_address.len(), 2);
    }

    #[test]
    fn a_cut_entry_is_an_error() {
        let whole = entry(1, &[10, 244, 0, 11]);
        for end in 5..whole.payload.len() {
            let cut = Message { kind: whole.kind, payload: whole.payload[..end].to_vec() };
            assert!(source(&cut).is_err(), "{end} bytes");
        }
    }
}
