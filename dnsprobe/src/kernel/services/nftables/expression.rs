//! The expressions of nftables rules that decide where a packet goes, from
//! their netlink form (include/uapi/linux/netfilter/nf_tables.h).

use crate::kernel::netlink::{Attributes, NetlinkError};

/// Bytes that registers hold in all.
pub(super) const REGISTER_BYTES: usize = 64;

/// A place among the registers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(pub(super) usize);

/// What a packet is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// Bytes of its IP header.
    Network { offset: usize },
    /// Bytes of its UDP header.
    Transport { offset: usize },
    /// Its transport protocol.
    L4Protocol,
    /// Its IP family as netfilter numbers it.
    Family,
    /// Something that is not known beforehand.
    Other,
}

/// Where a rule sends the packet on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The rules of another chain, by name.
    Chain(Vec<u8>),
    /// Anything that ends the rule here.
    Other,
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    Load {
        what: Load,
        into: Register,
        length: usize,
    },
    Compare {
        register: Register,
        equal: bool,
        value: Vec<u8>,
    },
    Mask {
        from: Register,
        into: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    Constant {
        into: Register,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Lookup {
        set: Vec<u8>,
        key: Register,
        into: Option<Register>,
        inverted: bool,
    },
    /// Destination translation; `family` as netfilter numbers it.
    Translate {
        family: u32,
        addresses: Option<(Register, Register)>,
        ports: Option<(Register, Register)>,
    },
    /// Translation to the node itself.
    Redirect {
        ports: Option<(Register, Register)>,
    },
    /// An iptables match.
    XtMatch {
        name: Vec<u8>,
        info: Vec<u8>,
    },
    /// An iptables target.
    XtTarget {
        name: Vec<u8>,
        revision: u32,
        info: Vec<u8>,
    },
    /// Neither changes registers nor translates destinations.
    Harmless,
    /// May change any register.
    Unknown,
}

const HARMLESS: &[&[u8]] = &[
    b"counter",
    b"log",
    b"limit",
    b"quota",
    b"connlimit",
    b"dynset",
    b"last",
    b"masq",
    b"reject",
    b"range",
    b"notrack",
    b"queue",
];

impl Expression {
    /// From one element of `NFTA_RULE_EXPRESSIONS`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NetlinkError> {
        const NFTA_EXPR_NAME: u16 = 1;
        const NFTA_EXPR_DATA: u16 = 2;
        let element = Attributes::parse(bytes)?;
        let name = element.name(NFTA_EXPR_NAME).ok_or(NetlinkError::Malformed)?;
        let data = element.nested(NFTA_EXPR_DATA)?;
        match name {
            b"payload" => payload(&data),
            b"meta" => meta(&data),
            b"cmp" => compare(&data),
            b"bitwise" => bitwise(&data),
            b"immediate" => immediate(&data),
            b"lookup" => lookup(&data),
            b"nat" => nat(&data),
            b"redir" => Ok(Self::Redirect { ports: registers(&data, 1, 2)? }),
            b"match" => Ok(Self::XtMatch {
                name: data.name(1).unwrap_or_default().to_vec(),
                info: data.get(3).unwrap_or_default().to_vec(),
            }),
            b"target" => Ok(Self::XtTarget {
                name: data.name(1).unwrap_or_default().to_vec(),
                revision: data.be32(2)?.unwrap_or(0),
                info: data.get(3).unwrap_or_default().to_vec(),
            }),
            name if HARMLESS.contains(&name) => Ok(Self::Harmless),
            _ => Ok(Self::Unknown),
        }
    }
}

impl Register {
    /// `nft_parse_register` (net/netfilter/nf_tables_api.c): four registers
    /// of 16 bytes, or the same as sixteen of four. 0 is the verdict's.
    fn parse(number: u32) -> Result<Option<Self>, NetlinkError> {
        let number = usize::try_from(number).map_err(|_| NetlinkError::Malformed)?;
        match number {
            0 => Ok(None),
            1..=4 => Ok(Some(Self((number - 1) * 16))),
            8..=23 => Ok(Some(Self((number - 8) * 4))),
            _ => Err(NetlinkError::Malformed),
        }
    }

    fn required(data: &Attributes<'_>, kind: u16) -> Result<Self, NetlinkError> {
        Self::optional(data, kind)?.ok_or(NetlinkError::Malformed)
    }

    fn optional(data: &Attributes<'_>, kind: u16) -> Result<Option<Self>, NetlinkError> {
        data.be32(kind)?.map_or(Ok(None), Self::parse)
    }
}

fn number(data: &Attributes<'_>, kind: u16) -> Result<u32, NetlinkError> {
    data.be32(kind)?.ok_or(NetlinkError::Malformed)
}

fn length(data: &Attributes<'_>, kind: u16) -> Result<usize, NetlinkError> {
    usize::try_from(number(data, kind)?).map_err(|_| NetlinkError::Malformed)
}

/// A pair of registers, the second of which may be left out.
fn registers(
    data: &Attributes<'_>,
    first: u16,
    last: u16,
) -> Result<Option<(Register, Register)>, NetlinkError> {
    let Some(from) = Register::optional(data, first)? else { return Ok(None) };
    Ok(Some((from, Register::optional(data, last)?.unwrap_or(from))))
}

fn payload(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    // Without a destination register it writes to the packet.
    let Some(into) = Register::optional(data, 1)? else { return Ok(Expression::Harmless) };
    let offset = length(data, 3)?;
    let what = match number(data, 2)? {
        1 => Load::Network { offset },
        2 => Load::Transport { offset },
        _ => Load::Other,
    };
    Ok(Expression::Load { what, into, length: length(data, 4)? })
}

fn meta(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    const NFT_META_NFPROTO: u32 = 15;
    const NFT_META_L4PROTO: u32 = 16;
    // Without a destination register it sets a mark or the like.
    let Some(into) = Register::optional(data, 1)? else { return Ok(Expression::Harmless) };
    Ok(match number(data, 2)? {
        NFT_META_L4PROTO => Expression::Load { what: Load::L4Protocol, into, length: 1 },
        NFT_META_NFPROTO => Expression::Load { what: Load::Family, into, length: 1 },
        // Interface names are the longest.
        _ => Expression::Load { what: Load::Other, into, length: 16 },
    })
}

fn compare(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    let register = Register::required(data, 1)?;
    let equal = match number(data, 2)? {
        0 => true,
        1 => false,
        // Greater or less: true or not, nothing is written.
        _ => return Ok(Expression::Harmless),
    };
    Ok(Expression::Compare { register, equal, value: value(data, 3)? })
}

fn bitwise(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    const NFT_BITWISE_MASK_XOR: u32 = 0;
    if data.be32(6)?.unwrap_or(NFT_BITWISE_MASK_XOR) != NFT_BITWISE_MASK_XOR {
        return Ok(Expression::Unknown);
    }
    Ok(Expression::Mask {
        from: Register::required(data, 1)?,
        into: Register::required(data, 2)?,
        mask: value(data, 4)?,
        xor: value(data, 5)?,
    })
}

fn immediate(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    let content = data.nested(2)?;
    if let Some(verdict) = verdict(&content)? {
        return Ok(Expression::Verdict(verdict));
    }
    Ok(Expression::Constant { into: Register::required(data, 1)?, value: value(data, 2)? })
}

fn lookup(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    const NFT_LOOKUP_F_INV: u32 = 1;
    Ok(Expression::Lookup {
        set: data.name(1).ok_or(NetlinkError::Malformed)?.to_vec(),
        key: Register::required(data, 2)?,
        into: Register::optional(data, 3)?,
        inverted: data.be32(5)?.unwrap_or(0) & NFT_LOOKUP_F_INV != 0,
    })
}

fn nat(data: &Attributes<'_>) -> Result<Expression, NetlinkError> {
    const NFT_NAT_DNAT: u32 = 1;
    if number(data, 1)? != NFT_NAT_DNAT {
        return Ok(Expression::Harmless);
    }
    Ok(Expression::Translate {
        family: number(data, 2)?,
        addresses: registers(data, 3, 4)?,
        ports: registers(data, 5, 6)?,
    })
}

/// The bytes of a data attribute.
fn value(data: &Attributes<'_>, kind: u16) -> Result<Vec<u8>, NetlinkError> {
    const NFTA_DATA_VALUE: u16 = 1;
    let nested = data.nested(kind)?;
    nested.get(NFTA_DATA_VALUE).map(<[u8]>::to_vec).ok_or(NetlinkError::Malformed)
}

/// The verdict in a data attribute, if it is one.
pub(super) fn verdict(data: &Attributes<'_>) -> Result<Option<Verdict>, NetlinkError> {
    const NFTA_DATA_VERDICT: u16 = 2;
    const NFTA_VERDICT_CHAIN: u16 = 2;
    if data.get(NFTA_DATA_VERDICT).is_none() {
        return Ok(None);
    }
    let verdict = data.nested(NFTA_DATA_VERDICT)?;
    Ok(Some(match verdict.name(NFTA_VERDICT_CHAIN) {
        Some(chain) => Verdict::Chain(chain.to_vec()),
        None => Verdict::Other,
    }))
}
