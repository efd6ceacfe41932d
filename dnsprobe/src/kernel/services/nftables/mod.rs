//! nftables, asked over netlink: what it does to the destination of a packet.

mod expression;
mod machine;
mod names;
mod ruleset;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    sync::OnceLock,
};

#[cfg(test)]
pub(super) use names::in_elements;
pub(super) use names::read_names;
pub(super) use ruleset::Ruleset;
use ruleset::{NFGENMSG_BYTES, TableKey};

use super::Unread;
use crate::kernel::netlink::{Netlink, NetlinkError, attribute};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFT_MSG_GETRULE: u16 = 7;
const NFT_MSG_GETSET: u16 = 10;
const NFT_MSG_GETSETELEM: u16 = 13;
const NFPROTO_UNSPEC: u8 = 0;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// Every table that translates destinations.
pub(super) fn read() -> Result<Ruleset, Unread> {
    if !is_in_kernel() {
        return Err(Unread::Absent);
    }
    read_tables().map_err(|error| Unread::Unreadable(describe(&error)))
}

fn describe(error: &NetlinkError) -> String {
    match error {
        NetlinkError::Refused(source) if source.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("{error}: {source}; reading rules needs CAP_NET_ADMIN")
        }
        NetlinkError::Refused(source) | NetlinkError::Socket(source) => {
            format!("{error}: {source}")
        }
        _ => error.to_string(),
    }
}

/// Whether nftables is there without asking it, which would load it.
fn is_in_kernel() -> bool {
    /// A module comes and goes; what is built in stays.
    static BUILT_IN: OnceLock<bool> = OnceLock::new();
    fs::exists("/sys/module/nf_tables").unwrap_or(true)
        || *BUILT_IN.get_or_init(|| {
            let Ok(symbols) = File::open("/proc/kallsyms") else { return true };
            BufReader::new(symbols)
                .split(b'\n')
                .map_while(Result::ok)
                .any(|line| line.ends_with(b" nft_do_chain"))
        })
}

fn read_tables() -> Result<Ruleset, NetlinkError> {
    let mut netlink = Netlink::open(libc::NETLINK_NETFILTER)?;
    let mut dump = |kind: u16, family: u8, attributes: &[u8]| {
        let body = [&[family, 0, 0, 0][..NFGENMSG_BYTES], attributes].concat();
        netlink.dump(NFNL_SUBSYS_NFTABLES << 8 | kind, &body)
    };
    let chains = dump(NFT_MSG_GETCHAIN, NFPROTO_UNSPEC, &[])?;
    let entry_points = ruleset::parse_entry_points(&chains)?;
    let mut tables: Vec<TableKey> = Vec::new();
    for (table, _) in &entry_points {
        if !tables.contains(table) {
            tables.push(table.clone());
        }
    }
    let mut ruleset = Ruleset { entry_points, ..Ruleset::default() };
    for table in tables {
        // Rule, set and element messages all name their table first.
        let name = attribute(1, &with_zero(&table.name));
        ruleset.add_rules(&dump(NFT_MSG_GETRULE, table.family, &name)?)?;
        ruleset.add_sets(&dump(NFT_MSG_GETSET, table.family, &name)?)?;
    }
    for (table, set) in ruleset.used_sets() {
        let names =
            [attribute(1, &with_zero(&table.name)), attribute(2, &with_zero(&set))].concat();
        ruleset.add_elements(&dump(NFT_MSG_GETSETELEM, table.family, &names)?)?;
    }
    Ok(ruleset)
}

fn with_zero(name: &[u8]) -> Vec<u8> {
    [name, &[0]].concat()
}

/// A ruleset from recorded dumps: chains, rules, sets, elements.
#[cfg(test)]
pub(super) fn recorded(mut bytes: &[u8]) -> Result<Ruleset, NetlinkError> {
    let mut block = || {
        let (length, rest) = bytes.split_first_chunk().ok_or(NetlinkError::Malformed)?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap();
        let (block, rest) = rest.split_at_checked(length).ok_or(NetlinkError::Malformed)?;
        bytes = rest;
        crate::kernel::netlink::recorded(block)
    };
    let mut ruleset =
        Ruleset { entry_points: ruleset::parse_entry_points(&block()?)?, ..Ruleset::default() };
    ruleset.add_rules(&block()?)?;
    ruleset.add_sets(&block()?)?;
    ruleset.add_elements(&block()?)?;
    Ok(ruleset)
}

/// Names of services from a recorded dump of rules.
#[cfg(test)]
pub(super) fn recorded_names(bytes: &[u8]) -> Vec<crate::identity::ServiceFact> {
    let block = |bytes: &[u8]| {
        let (length, rest) = bytes.split_first_chunk().unwrap();
        let length = usize::try_from(u32::from_ne_bytes(*length)).unwrap();
        (rest[..length].to_vec(), rest[length..].to_vec())
    };
    let (_chains, rest) = block(bytes);
    let (rules, _) = block(&rest);
    names::in_rules(&crate::kernel::netlink::recorded(&rules).unwrap()).unwrap()
}
