//! Chains, rules and sets of the tables that translate, from netlink dumps.

use std::collections::{HashMap, HashSet};

use super::expression::{self, Expression, Verdict};
use crate::kernel::netlink::{Attributes, Message, NetlinkError};

/// `struct nfgenmsg`: family, version, resource id.
pub(super) const NFGENMSG_BYTES: usize = 4;

/// A table: address family as netfilter numbers it, and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct TableKey {
    pub(super) family: u8,
    pub(super) name: Vec<u8>,
}

/// A chain or set: its table, and its name.
pub(super) type Key = (TableKey, Vec<u8>);

/// A set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) key_bytes: usize,
    /// Its elements are ranges, so that keys cannot be compared one by one.
    pub(super) is_interval: bool,
    pub(super) elements: Vec<Element>,
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// `None`: stands for every other key.
    pub(super) key: Option<Vec<u8>>,
    pub(super) data: Data,
}

/// What a map's element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Data {
    Nothing,
    Verdict(Verdict),
    Bytes(Vec<u8>),
}

/// All that concerns the translation of destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel::services) struct Ruleset {
    /// Chains that the kernel enters by itself.
    pub(super) entry_points: Vec<Key>,
    pub(super) chains: HashMap<Key, Vec<Vec<Expression>>>,
    pub(super) sets: HashMap<Key, Set>,
}

/// Base chains of type `nat` in which destinations are translated.
pub(super) fn parse_entry_points(messages: &[Message]) -> Result<Vec<Key>, NetlinkError> {
    const NFTA_CHAIN_TABLE: u16 = 1;
    const NFTA_CHAIN_NAME: u16 = 3;
    const NFTA_CHAIN_HOOK: u16 = 4;
    const NFTA_CHAIN_TYPE: u16 = 7;
    const NFTA_HOOK_HOOKNUM: u16 = 1;
    const PREROUTING: u32 = 0;
    const OUTPUT: u32 = 3;
    let mut keys = Vec::new();
    for message in messages {
        let attributes = Attributes::after(&message.payload, NFGENMSG_BYTES)?;
        let hook = attributes.nested(NFTA_CHAIN_HOOK)?.be32(NFTA_HOOK_HOOKNUM)?;
        if attributes.name(NFTA_CHAIN_TYPE) == Some(b"nat")
            && matches!(hook, Some(PREROUTING | OUTPUT))
        {
            keys.push(key(message, &attributes, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME)?);
        }
    }
    Ok(keys)
}

impl Ruleset {
    /// Adds the rules of a dump; the kernel lists them in their order.
    pub(super) fn add_rules(&mut self, messages: &[Message]) -> Result<(), NetlinkError> {
        const NFTA_RULE_TABLE: u16 = 1;
        const NFTA_RULE_CHAIN: u16 = 2;
        const NFTA_RULE_EXPRESSIONS: u16 = 4;
        for message in messages {
            let attributes = Attributes::after(&message.payload, NFGENMSG_BYTES)?;
            let expressions = attributes.nested(NFTA_RULE_EXPRESSIONS)?;
            let expressions = expressions
                .iter()
                .map(|(_, element)| Expression::parse(element))
                .collect::<Result<_, _>>()?;
            let chain = key(message, &attributes, NFTA_RULE_TABLE, NFTA_RULE_CHAIN)?;
            self.chains.entry(chain).or_default().push(expressions);
        }
        Ok(())
    }

    /// Adds the sets of a dump, without their elements.
    pub(super) fn add_sets(&mut self, messages: &[Message]) -> Result<(), NetlinkError> {
        const NFTA_SET_TABLE: u16 = 1;
        const NFTA_SET_NAME: u16 = 2;
        const NFTA_SET_FLAGS: u16 = 3;
        const NFTA_SET_KEY_LEN: u16 = 5;
        const NFT_SET_INTERVAL: u32 = 4;
        for message in messages {
            let attributes = Attributes::after(&message.payload, NFGENMSG_BYTES)?;
            let set = Set {
                key_bytes: usize::try_from(attributes.be32(NFTA_SET_KEY_LEN)?.unwrap_or(0))
                    .map_err(|_| NetlinkError::Malformed)?,
                is_interval: attributes.be32(NFTA_SET_FLAGS)?.unwrap_or(0) & NFT_SET_INTERVAL != 0,
                elements: Vec::new(),
            };
            self.sets.insert(key(message, &attributes, NFTA_SET_TABLE, NFTA_SET_NAME)?, set);
        }
        Ok(())
    }

    /// Sets that rules look into: only their elements are of interest.
    pub(super) fn used_sets(&self) -> HashSet<Key> {
        let mut used = HashSet::new();
        for ((table, _), rules) in &self.chains {
            for expression in rules.iter().flatten() {
                if let Expression::Lookup { set, .. } = expression {
                    used.insert((table.clone(), set.clone()));
                }
            }
        }
        used.retain(|key| self.sets.contains_key(key));
        used
    }

    /// Adds the elements of a set.
    pub(super) fn add_elements(&mut self, messages: &[Message]) -> Result<(), NetlinkError> {
        const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
        const NFTA_SET_ELEM_LIST_SET: u16 = 2;
        const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
        for message in messages {
            let attributes = Attributes::after(&message.payload, NFGENMSG_BYTES)?;
            let key = key(message, &attributes, NFTA_SET_ELEM_LIST_TABLE, NFTA_SET_ELEM_LIST_SET)?;
            let set = self.sets.entry(key).or_default();
            for (_, element) in attributes.nested(NFTA_SET_ELEM_LIST_ELEMENTS)?.iter() {
                set.elements.extend(Element::parse(element)?);
            }
        }
        Ok(())
    }
}

impl Element {
    /// `None` for the closing mark of an interval.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, NetlinkError> {
        const NFTA_SET_ELEM_KEY: u16 = 1;
        const NFTA_SET_ELEM_DATA: u16 = 2;
        const NFTA_SET_ELEM_FLAGS: u16 = 3;
        const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
        const NFTA_DATA_VALUE: u16 = 1;
        let attributes = Attributes::parse(bytes)?;
        if attributes.be32(NFTA_SET_ELEM_FLAGS)?.unwrap_or(0) & NFT_SET_ELEM_INTERVAL_END != 0 {
            return Ok(None);
        }
        let value = |data: &Attributes<'_>| data.get(NFTA_DATA_VALUE).map(<[u8]>::to_vec);
        let data = attributes.nested(NFTA_SET_ELEM_DATA)?;
        let data = match expression::verdict(&data)? {
            Some(verdict) => Data::Verdict(verdict),
            None => value(&data).map_or(Data::Nothing, Data::Bytes),
        };
        Ok(Some(Self { key: value(&attributes.nested(NFTA_SET_ELEM_KEY)?), data }))
    }
}

fn key(
    message: &Message,
    attributes: &Attributes<'_>,
    table: u16,
    name: u16,
) -> Result<Key, NetlinkError> {
    let family = *message.payload.first().ok_or(NetlinkError::Malformed)?;
    let name_of = |kind| attributes.name(kind).ok_or(NetlinkError::Malformed).map(<[u8]>::to_vec);
    Ok((TableKey { family, name: name_of(table)? }, name_of(name)?))
}
