//! The addresses on devices of this network namespace, and whether a device is
//! there only to hold them.

use std::{collections::HashSet, net::IpAddr};

use super::netlink::{Attributes, Message, Netlink, NetlinkError};
use crate::identity::LocalAddress;

/// `struct ifinfomsg` and `struct ifaddrmsg`, and the index in each.
const LINK_BYTES: usize = 16;
const ADDRESS_BYTES: usize = 8;
const INDEX: usize = 4;
/// `struct rtgenmsg` is shorter; the kernel takes either.
const ASK_BYTES: [u8; LINK_BYTES] = [0; LINK_BYTES];
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// Every address of this namespace; empty when the kernel does not tell.
#[must_use]
pub fn local_addresses() -> Vec<LocalAddress> {
    read().unwrap_or_default()
}

fn read() -> Result<Vec<LocalAddress>, NetlinkError> {
    let mut netlink = Netlink::open(libc::NETLINK_ROUTE)?;
    let links = netlink.dump(libc::RTM_GETLINK, &ASK_BYTES)?;
    let addresses = netlink.dump(libc::RTM_GETADDR, &ASK_BYTES[..ADDRESS_BYTES])?;
    let mut dummies = HashSet::new();
    for link in &links {
        let info = Attributes::after(&link.payload, LINK_BYTES)?.nested(IFLA_LINKINFO)?;
        if info.name(IFLA_INFO_KIND) == Some(b"dummy") {
            dummies.extend(index(link));
        }
    }
    Ok(addresses.iter().filter_map(|message| address(message, &dummies)).collect())
}

fn address(message: &Message, dummies: &HashSet<u32>) -> Option<LocalAddress> {
    let attributes = Attributes::after(&message.payload, ADDRESS_BYTES).ok()?;
    // Without a local address of its own the other end's stands for both.
    let bytes = attributes.get(IFA_LOCAL).or_else(|| attributes.get(IFA_ADDRESS))?;
    let address: IpAddr = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        _ => <[u8; 16]>::try_from(bytes).ok()?.into(),
    };
    let device = index(message)?;
    Some(LocalAddress { address, device, dummy: dummies.contains(&device) })
}

fn index(message: &Message) -> Option<u32> {
    let bytes = message.payload.get(INDEX..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_on_a_device_that_is_no_dummy() {
        let found = local_addresses();
        let loopback = found.iter().find(|on| on.address.is_loopback()).unwrap();
        assert!(!loopback.dummy && loopback.device > 0);
    }

    #[test]
    fn an_address_of_neither_family_is_none() {
        let attributes = crate::kernel::netlink::attribute(IFA_LOCAL, &[1, 2, 3, 4, 5]);
        let payload = [&[2, 24, 0, 0, 7, 0, 0, 0][..], &attributes].concat();
        let message = Message { kind: libc::RTM_NEWADDR, payload };
        assert_eq!(address(&message, &HashSet::new()), None);
        let attributes = crate::kernel::netlink::attribute(IFA_LOCAL, &[169, 254, 20, 10]);
        let payload = [&[2, 32, 0, 0, 7, 0, 0, 0][..], &attributes].concat();
        let message = Message { kind: libc::RTM_NEWADDR, payload };
        let found = address(&message, &HashSet::from([7])).unwrap();
        assert_eq!((found.address.to_string(), found.dummy), ("169.254.20.10".to_owned(), true));
    }
}
