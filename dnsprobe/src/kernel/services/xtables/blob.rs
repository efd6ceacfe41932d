//! The rules of an x_tables table as the kernel hands them out: entries one
//! after another, each with its matches and its target.

use std::{collections::HashSet, net::IpAddr};

use super::extension::{self, Effect};
use crate::kernel::services::{
    Source,
    translation::{Found, Packet},
};

/// Sizes and places in `struct ipt_entry` or `struct ip6t_entry`, the same on
/// every 64-bit kernel (include/uapi/linux/netfilter_ipv{4/ip,6/ip6}_tables.h).
#[derive(Clone, Copy, Debug)]
struct Layout {
    destination: usize,
    destination_mask: usize,
    address_bytes: usize,
    protocol: usize,
    inverted: usize,
    /// `IP6T_F_PROTO`: without it the protocol does not count.
    protocol_flag: Option<usize>,
    target_offset: usize,
    size: usize,
}

const V4: Layout = Layout {
    destination: 4,
    destination_mask: 12,
    address_bytes: 4,
    protocol: 80,
    inverted: 83,
    protocol_flag: None,
    target_offset: 88,
    size: 112,
};
const V6: Layout = Layout {
    destination: 16,
    destination_mask: 48,
    address_bytes: 16,
    protocol: 128,
    inverted: 132,
    protocol_flag: Some(131),
    target_offset: 140,
    size: 168,
};

const INVERTED_DESTINATION: u8 = 0x10;
const INVERTED_PROTOCOL: u8 = 0x40;
const IP6T_F_PROTO: u8 = 1;
/// `struct xt_entry_match` and `struct xt_entry_target`: size, name of 29
/// bytes, revision.
const EXTENSION_HEADER: usize = 32;
const UDP: u16 = 17;

/// A table's rules, and where the packets that come in enter it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel::services) struct Table {
    is_v6: bool,
    entry_points: Vec<usize>,
    rules: Vec<Rule>,
}

/// A match extension's name and its data.
pub(super) type Match = (Vec<u8>, Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// Its place among all entries; jumps name it.
    offset: usize,
    destination: Vec<u8>,
    destination_mask: Vec<u8>,
    protocol: u16,
    inverted: u8,
    matches: Vec<Match>,
    target: Target,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The rules from there on.
    Jump(usize),
    /// Accept, drop or return.
    Verdict,
    /// Marks the beginning of a chain of this name, and so the end of the one
    /// before.
    ChainHead(Vec<u8>),
    Effect(Effect),
}

/// The table has a shape that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table's entries are malformed")]
pub(in crate::kernel::services) struct Malformed;

impl Table {
    /// Understands the entries of a table.
    pub(in crate::kernel::services) fn parse(
        entries: &[u8],
        entry_points: Vec<usize>,
        is_v6: bool,
    ) -> Result<Self, Malformed> {
        let mut rules = Vec::new();
        let mut offset = 0;
        while offset < entries.len() {
            let (rule, size) = Rule::parse(&entries[offset..], offset, is_v6).ok_or(Malformed)?;
            rules.push(rule);
            offset += size;
        }
        Ok(Self { is_v6, entry_points, rules })
    }

    /// The rules of a chain that are for one destination address: that address,
    /// and the rule's matches by name with their data.
    pub(super) fn for_one_address(&self, chain: &[u8]) -> impl Iterator<Item = (&[u8], &[Match])> {
        let named = |rule: &Rule| matches!(&rule.target, Target::ChainHead(name) if name == chain);
        let head = self.rules.iter().position(named).unwrap_or(self.rules.len());
        self.rules[head..]
            .iter()
            .skip(1)
            .take_while(|rule| !matches!(rule.target, Target::ChainHead(_)))
            .filter(|rule| {
                rule.inverted == 0 && rule.destination_mask.iter().all(|byte| *byte == u8::MAX)
            })
            .map(|rule| (rule.destination.as_slice(), rule.matches.as_slice()))
    }

    /// Adds whatever the table may do to a packet of its family.
    pub(in crate::kernel::services) fn find(&self, packet: Packet, found: &mut Found) {
        if packet.is_v6 != self.is_v6 {
            return;
        }
        let source = if self.is_v6 { Source::Ip6tables } else { Source::Iptables };
        let mut chains = self.entry_points.clone();
        let mut known: HashSet<usize> = chains.iter().copied().collect();
        while let Some(start) = chains.pop() {
            let Ok(first) = self.rules.binary_search_by_key(&start, |rule| rule.offset) else {
                found.unclear(format!("a rule of {source} leads to no rule"));
                continue;
            };
            for (index, rule) in self.rules[first..].iter().enumerate() {
                let begins_another = matches!(rule.target, Target::ChainHead(_))
                    || self.entry_points.contains(&rule.offset);
                if index > 0 && begins_another {
                    break;
                }
                if !rule.may_match(packet) {
                    continue;
                }
                match &rule.target {
                    Target::Jump(to) if known.insert(*to) => chains.push(*to),
                    Target::Effect(Effect::Translate(to)) => found.add(source, to.clone()),
                    Target::Effect(Effect::Unclear) => {
                        found.unclear(format!("a rule of {source} translates in an unknown way"));
                    }
                    Target::Jump(_)
                    | Target::Verdict
                    | Target::ChainHead(_)
                    | Target::Effect(Effect::None) => {}
                }
            }
        }
    }
}

impl Rule {
    /// The first entry of `bytes` and its size.
    fn parse(bytes: &[u8], offset: usize, is_v6: bool) -> Option<(Self, usize)> {
        let layout = if is_v6 { V6 } else { V4 };
        let entry = bytes.get(..layout.size)?;
        let target_offset = usize::from(u16_at(entry, layout.target_offset)?);
        let size = usize::from(u16_at(entry, layout.target_offset + 2)?);
        let (matches, target) =
            (bytes.get(layout.size..target_offset)?, bytes.get(target_offset..size)?);
        let address = |at: usize| entry[at..at + layout.address_bytes].to_vec();
        let counts = layout.protocol_flag.is_none_or(|at| entry[at] & IP6T_F_PROTO != 0);
        let rule = Self {
            offset,
            destination: address(layout.destination),
            destination_mask: address(layout.destination_mask),
            protocol: if counts { u16_at(entry, layout.protocol)? } else { 0 },
            inverted: entry[layout.inverted],
            matches: parse_matches(matches)?,
            target: Target::parse(target, is_v6)?,
        };
        Some((rule, size))
    }

    fn may_match(&self, packet: Packet) -> bool {
        let protocol = self.protocol == 0
            || (self.protocol == UDP) != (self.inverted & INVERTED_PROTOCOL != 0);
        let destination = packet.destination.is_none_or(|destination| {
            let bytes = match destination.ip() {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let inside = bytes
                .iter()
                .zip(&self.destination_mask)
                .zip(&self.destination)
                .all(|((byte, mask), wanted)| byte & mask == *wanted);
            inside != (self.inverted & INVERTED_DESTINATION != 0)
        });
        protocol
            && destination
            && self.matches.iter().all(|(name, info)| extension::may_match(name, info, packet))
    }
}

impl Target {
    fn parse(bytes: &[u8], is_v6: bool) -> Option<Self> {
        let (name, revision, info) = extension_header(bytes)?;
        Some(match name {
            // The standard target: a verdict, or the offset of a chain.
            b"" => {
                let verdict = i32::from_ne_bytes(*info.first_chunk()?);
                usize::try_from(verdict).map_or(Self::Verdict, Self::Jump)
            }
            b"ERROR" => Self::ChainHead(until_zero(info).to_vec()),
            _ => Self::Effect(extension::effect(name, revision.into(), info, is_v6)),
        })
    }
}

fn parse_matches(mut bytes: &[u8]) -> Option<Vec<Match>> {
    let mut matches = Vec::new();
    while !bytes.is_empty() {
        let size = usize::from(u16_at(bytes, 0)?);
        let (name, _, info) = extension_header(bytes.get(..size)?)?;
        matches.push((name.to_vec(), info.to_vec()));
        bytes = &bytes[size..];
    }
    Some(matches)
}

/// Name, revision and data.
fn extension_header(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (header, info) = bytes.split_at_checked(EXTENSION_HEADER)?;
    Some((until_zero(&header[2..31]), header[31], info))
}

/// The text before the closing zero.
pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}
