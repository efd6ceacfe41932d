//! Runs nftables rules on a packet of which only the destination is known, and
//! collects every translation that the packet may meet. What is not known is
//! taken both ways: nothing is left out, something may be too much.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use super::{
    NFPROTO_IPV4, NFPROTO_IPV6,
    expression::{Expression, Load, REGISTER_BYTES, Register, Verdict},
    ruleset::{Data, Element, Key, Ruleset, Set, TableKey},
};
use crate::kernel::services::{
    Source,
    translation::{Address, Found, Packet, Translation},
    xtables::extension::{self, Effect},
};

const NFPROTO_INET: u8 = 1;
const UDP: u8 = 17;
/// Steps after which a ruleset is too large to follow; a node with ten
/// thousand services takes some hundred thousand.
const MAX_STEPS: usize = 5_000_000;

/// What registers hold; `None` for each byte that is not known.
#[derive(Clone, Copy)]
struct Registers([Option<u8>; REGISTER_BYTES]);

impl Registers {
    const UNKNOWN: Self = Self([None; REGISTER_BYTES]);

    fn read(&self, register: Register, length: usize) -> Vec<Option<u8>> {
        let bytes = (0..length).map(|at| self.0.get(register.0 + at).copied().flatten());
        bytes.collect()
    }

    /// Bytes of the last register that are not written become zero, as in the
    /// kernel.
    fn write(&mut self, register: Register, bytes: &[Option<u8>]) {
        for at in 0..bytes.len().next_multiple_of(4) {
            if let Some(place) = self.0.get_mut(register.0 + at) {
                *place = bytes.get(at).copied().unwrap_or(Some(0));
            }
        }
    }

    fn known<const N: usize>(&self, register: Register) -> Option<[u8; N]> {
        let bytes: Option<Vec<u8>> = self.read(register, N).into_iter().collect();
        bytes?.try_into().ok()
    }
}

/// Whether a value whose bytes are only partly known may be this one.
fn may_be(partly: &[Option<u8>], value: &[u8]) -> bool {
    partly.iter().zip(value).all(|(known, byte)| known.is_none_or(|known| known == *byte))
}

struct Machine<'a> {
    ruleset: &'a Ruleset,
    packet: Packet,
    found: &'a mut Found,
    /// Chains still to go through.
    chains: Vec<Key>,
    /// Each once, however many rules lead there.
    known: HashSet<Key>,
    steps: usize,
}

impl Ruleset {
    /// Adds whatever the rules may do to a packet.
    pub(in crate::kernel::services) fn find(&self, packet: Packet, found: &mut Found) {
        let family = if packet.is_v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 };
        let chains: Vec<Key> = self
            .entry_points
            .iter()
            .filter(|(table, _)| [family, NFPROTO_INET].contains(&table.family))
            .cloned()
            .collect();
        let known = chains.iter().cloned().collect();
        Machine { ruleset: self, packet, found, chains, known, steps: 0 }.run();
    }
}

impl Machine<'_> {
    fn run(&mut self) {
        while let Some(chain) = self.chains.pop() {
            let ruleset = self.ruleset;
            // A chain without rules is in no dump of rules.
            for rule in ruleset.chains.get(&chain).into_iter().flatten() {
                self.rule(&chain.0, rule, Registers::UNKNOWN);
            }
        }
        if self.steps > MAX_STEPS {
            self.found.unclear("the rules of nftables are too many to follow".to_owned());
        }
    }

    fn rule(&mut self, table: &TableKey, rule: &[Expression], mut registers: Registers) {
        for (index, expression) in rule.iter().enumerate() {
            self.steps += 1;
            if self.steps > MAX_STEPS {
                return;
            }
            match expression {
                Expression::Load { what, into, length } => {
                    registers.write(*into, &self.load(*what, *length));
                }
                Expression::Compare { register, equal, value } => {
                    let partly = registers.read(*register, value.len());
                    let possible = may_be(&partly, value);
                    let certain = possible && partly.iter().all(Option::is_some);
                    if (*equal && !possible) || (!equal && certain) {
                        return;
                    }
                }
                Expression::Mask { from, into, mask, xor } => {
                    let masked: Vec<Option<u8>> = registers
                        .read(*from, mask.len())
                        .iter()
                        .zip(mask.iter().zip(xor))
                        .map(|(byte, (mask, xor))| match mask {
                            0 => Some(*xor),
                            mask => byte.map(|byte| (byte & mask) ^ xor),
                        })
                        .collect();
                    registers.write(*into, &masked);
                }
                Expression::Constant { into, value } => {
                    let bytes: Vec<Option<u8>> = value.iter().copied().map(Some).collect();
                    registers.write(*into, &bytes);
                }
                Expression::Verdict(verdict) => return self.follow(table, verdict),
                Expression::Lookup { set, key, into, inverted } => {
                    let ruleset = self.ruleset;
                    let Some(set) = ruleset.sets.get(&(table.clone(), set.clone())) else {
                        // A set of objects, or one that came after the dump.
                        return self.found.unclear("a set of nftables is not known".to_owned());
                    };
                    let key = registers.read(*key, set.key_bytes);
                    let possible = |element: &&Element| is_possible(set, element, &key);
                    match into {
                        None if *inverted => {}
                        None if is_map_of_verdicts(set) => {
                            for element in set.elements.iter().filter(possible) {
                                if let Data::Verdict(verdict) = &element.data {
                                    self.follow(table, verdict);
                                }
                            }
                            return;
                        }
                        None if !set.elements.iter().any(|element| possible(&element)) => return,
                        None => {}
                        Some(into) => {
                            for element in set.elements.iter().filter(possible) {
                                let mut registers = registers;
                                if let Data::Bytes(bytes) = &element.data {
                                    let bytes: Vec<_> = bytes.iter().copied().map(Some).collect();
                                    registers.write(*into, &bytes);
                                }
                                self.rule(table, &rule[index + 1..], registers);
                            }
                            return;
                        }
                    }
                }
                Expression::Translate { family, addresses, ports } => {
                    self.translate(*family, *addresses, *ports, &registers);
                }
                Expression::Redirect { ports } => {
                    self.add(Some(Address::Local), *ports, &registers)
                }
                Expression::XtMatch { name, info } => {
                    if !extension::may_match(name, info, self.packet) {
                        return;
                    }
                }
                Expression::XtTarget { name, revision, info } => {
                    self.xt_target(name, *revision, info);
                }
                Expression::Harmless => {}
                Expression::Unknown => registers = Registers::UNKNOWN,
            }
        }
    }

    fn load(&self, what: Load, length: usize) -> Vec<Option<u8>> {
        let mut header = [None; 256];
        let offset = match what {
            Load::Network { offset } => {
                let destination = self.packet.destination.map(|destination| destination.ip());
                let octets = match destination {
                    Some(IpAddr::V4(ip)) => ip.octets().to_vec(),
                    Some(IpAddr::V6(ip)) => ip.octets().to_vec(),
                    None => Vec::new(),
                };
                // An IPv6 header may be followed by others before UDP.
                if !self.packet.is_v6 {
                    header[9] = Some(UDP);
                }
                put(&mut header, if self.packet.is_v6 { 24 } else { 16 }, &octets);
                offset
            }
            Load::Transport { offset } => {
                if let Some(destination) = self.packet.destination {
                    put(&mut header, 2, &destination.port().to_be_bytes());
                }
                offset
            }
            Load::L4Protocol => return vec![Some(UDP)],
            Load::Family => {
                return vec![Some(if self.packet.is_v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 })];
            }
            Load::Other => return vec![None; length.min(REGISTER_BYTES)],
        };
        (offset..offset.saturating_add(length.min(REGISTER_BYTES)))
            .map(|at| header.get(at).copied().flatten())
            .collect()
    }

    fn follow(&mut self, table: &TableKey, verdict: &Verdict) {
        if let Verdict::Chain(name) = verdict {
            let key = (table.clone(), name.clone());
            if self.known.insert(key.clone()) {
                self.chains.push(key);
            }
        }
    }

    fn translate(
        &mut self,
        family: u32,
        addresses: Option<(Register, Register)>,
        ports: Option<(Register, Register)>,
        registers: &Registers,
    ) {
        let wanted = if self.packet.is_v6 { NFPROTO_IPV6 } else { NFPROTO_IPV4 };
        if family != u32::from(wanted) && family != u32::from(NFPROTO_INET) {
            return;
        }
        let Some((first, last)) = addresses else {
            return self.add(Some(Address::Kept), ports, registers);
        };
        let read = |register| -> Option<IpAddr> {
            Some(if self.packet.is_v6 {
                Ipv6Addr::from(registers.known::<16>(register)?).into()
            } else {
                Ipv4Addr::from(registers.known::<4>(register)?).into()
            })
        };
        let range = read(first).zip(read(last));
        self.add(range.map(|(first, last)| Address::Range(first, last)), ports, registers);
    }

    fn add(
        &mut self,
        address: Option<Address>,
        ports: Option<(Register, Register)>,
        registers: &Registers,
    ) {
        let read = |register| Some(u16::from_be_bytes(registers.known(register)?));
        let ports: Option<Option<RangeInclusive<u16>>> = match ports {
            None => Some(None),
            Some((first, last)) => {
                read(first).zip(read(last)).map(|(first, last)| Some(first..=last))
            }
        };
        match address.zip(ports) {
            Some((address, ports)) => {
                self.found.add(Source::Nftables, Translation { address, ports });
            }
            None => self
                .found
                .unclear("a rule of nftables translates to what only the packet tells".to_owned()),
        }
    }

    fn xt_target(&mut self, name: &[u8], revision: u32, info: &[u8]) {
        match extension::effect(name, revision, info, self.packet.is_v6) {
            Effect::None => {}
            Effect::Translate(translation) => self.found.add(Source::Nftables, translation),
            Effect::Unclear => {
                self.found.unclear("a rule of nftables translates in an unknown way".to_owned())
            }
        }
    }
}

fn put(header: &mut [Option<u8>], at: usize, bytes: &[u8]) {
    for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
        *place = Some(*byte);
    }
}

fn is_possible(set: &Set, element: &Element, key: &[Option<u8>]) -> bool {
    set.is_interval || element.key.as_ref().is_none_or(|value| may_be(key, value))
}

fn is_map_of_verdicts(set: &Set) -> bool {
    set.elements.iter().any(|element| matches!(element.data, Data::Verdict(_)))
}
