//! Blocks of a pcapng file (draft-ietf-opsawg-pcapng), as far as they are used here.
//! Written by hand: of the libraries for it the one that writes has had no release
//! but candidates since 2023.

/// `LINKTYPE_RAW`: a packet begins with its IPv4 or IPv6 header.
const LINK_RAW: u16 = 101;
/// Times are in nanoseconds: 10 to the minus 9.
const NANOSECONDS: u8 = 9;
/// The longest text of an option.
const OPTION_BYTES: usize = 0xffff;

/// Option codes.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SECTION_OS: u16 = 3;
    pub(super) const SECTION_APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const INTERFACE_DESCRIPTION: u16 = 3;
    pub(super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(super) const PACKET_FLAGS: u16 = 2;
    pub(super) const STATISTICS_START: u16 = 2;
    pub(super) const STATISTICS_END: u16 = 3;
    pub(super) const STATISTICS_OS_DROPS: u16 = 7;
    pub(super) const STATISTICS_DELIVERED: u16 = 8;
}

/// The way a packet takes, in `epb_flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Way {
    Unknown = 0,
    Inbound = 1,
    Outbound = 2,
}

/// A packet's block.
pub(super) struct PacketBlock<'a> {
    /// Which of the interfaces described before.
    pub(super) interface: u32,
    pub(super) unix_ns: u64,
    pub(super) bytes: &'a [u8],
    pub(super) len: u32,
    pub(super) way: Way,
    pub(super) comments: &'a [String],
}

/// The begin of a file.
pub(super) fn section(out: &mut Vec<u8>, os: &str, application: &str, comments: &[String]) {
    block(out, 0x0a0d_0d0a, |out| {
        out.extend(0x1a2b_3c4d_u32.to_le_bytes());
        out.extend(1_u16.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        // How long the section is, is not known.
        out.extend((-1_i64).to_le_bytes());
        text(out, option::SECTION_OS, os);
        text(out, option::SECTION_APPLICATION, application);
        end_with(out, comments);
    });
}

/// An interface; they are numbered as they come.
pub(super) fn interface(out: &mut Vec<u8>, name: &str, description: &str, snap_bytes: u32) {
    block(out, 1, |out| {
        out.extend(LINK_RAW.to_le_bytes());
        out.extend(0_u16.to_le_bytes());
        out.extend(snap_bytes.to_le_bytes());
        text(out, option::INTERFACE_NAME, name);
        text(out, option::INTERFACE_DESCRIPTION, description);
        value(out, option::INTERFACE_RESOLUTION, &[NANOSECONDS]);
        end_with(out, &[]);
    });
}

/// A packet.
pub(super) fn packet(out: &mut Vec<u8>, packet: &PacketBlock<'_>) {
    block(out, 6, |out| {
        out.extend(packet.interface.to_le_bytes());
        out.extend(time(packet.unix_ns));
        out.extend(u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(packet.len.to_le_bytes());
        padded(out, packet.bytes);
        if packet.way != Way::Unknown {
            value(out, option::PACKET_FLAGS, &(packet.way as u32).to_le_bytes());
        }
        end_with(out, packet.comments);
    });
}

/// Counts of an interface, at the end.
pub(super) struct Statistics<'a> {
    pub(super) interface: u32,
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    /// Packets that the kernel programs had no room for.
    pub(super) lost: u64,
    /// Packets in this file.
    pub(super) written: u64,
    pub(super) comments: &'a [String],
}

/// The counts of an interface.
pub(super) fn statistics(out: &mut Vec<u8>, statistics: &Statistics<'_>) {
    block(out, 5, |out| {
        out.extend(statistics.interface.to_le_bytes());
        out.extend(time(statistics.end_ns));
        value(out, option::STATISTICS_START, &time(statistics.start_ns));
        value(out, option::STATISTICS_END, &time(statistics.end_ns));
        value(out, option::STATISTICS_OS_DROPS, &statistics.lost.to_le_bytes());
        value(out, option::STATISTICS_DELIVERED, &statistics.written.to_le_bytes());
        end_with(out, statistics.comments);
    });
}

/// A block: type, length, body, length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&len);
    out.extend(len);
}

/// A time: the higher half first.
fn time(ns: u64) -> [u8; 8] {
    ns.rotate_left(32).to_le_bytes()
}

fn padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn value(out: &mut Vec<u8>, code: u16, bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(OPTION_BYTES)];
    out.extend(code.to_le_bytes());
    out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
    // Every block here begins at a multiple of four bytes.
    padded(out, bytes);
}

fn text(out: &mut Vec<u8>, code: u16, text: &str) {
    value(out, code, &text.as_bytes()[..text.floor_char_boundary(OPTION_BYTES)]);
}

/// Comments, and the end of the options.
fn end_with(out: &mut Vec<u8>, comments: &[String]) {
    for comment in comments {
        text(out, option::COMMENT, comment);
    }
    value(out, option::END, &[]);
}

#[cfg(test)]
mod tests {
    use pcap_parser::{
        Block, PcapBlockOwned, PcapNGReader,
        pcapng::{OptionCode, PcapNGOption},
        traits::{PcapNGPacketBlock, PcapReaderIterator},
    };
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct ReadPacket {
        interface: u32,
        unix_ns: u64,
        len: u32,
        bytes: Vec<u8>,
        comments: Vec<String>,
    }

    /// What another implementation makes of a file.
    #[derive(Debug, Default, PartialEq)]
    struct Read {
        packets: Vec<ReadPacket>,
        interfaces: Vec<String>,
        lost: Vec<u64>,
    }

    fn value_of(options: &[PcapNGOption<'_>], code: u16) -> Vec<Vec<u8>> {
        let wanted = options.iter().filter(|option| option.code == OptionCode(code));
        wanted.map(|option| option.value[..usize::from(option.len)].to_vec()).collect()
    }

    fn texts(options: &[PcapNGOption<'_>], code: u16) -> Vec<String> {
        value_of(options, code).into_iter().map(|text| String::from_utf8(text).unwrap()).collect()
    }

    fn read(file: &[u8]) -> Read {
        let mut reader = PcapNGReader::new(1 << 20, file).unwrap();
        let mut read = Read::default();
        while let Ok((offset, block)) = reader.next() {
            match block {
                PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
                    assert_eq!((block.linktype.0, block.if_tsresol), (101, 9));
                    read.interfaces.extend(texts(&block.options, 2));
                }
                PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
                    read.packets.push(ReadPacket {
                        interface: block.if_id,
                        unix_ns: u64::from(block.ts_high) << 32 | u64::from(block.ts_low),
                        len: block.origlen,
                        bytes: block.packet_data().to_vec(),
                        comments: texts(&block.options, 1),
                    });
                }
                PcapBlockOwned::NG(Block::InterfaceStatistics(block)) => {
                    let lost = value_of(&block.options, 7);
                    read.lost
                        .extend(lost.iter().map(|v| u64::from_le_bytes(v[..].try_into().unwrap())));
                }
                PcapBlockOwned::NG(Block::SectionHeader(_)) => {}
                _ => panic!("a block of another kind"),
            }
            reader.consume(offset);
        }
        read
    }

    proptest! {
        #[test]
        fn another_reader_reads_what_was_written(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            comments in proptest::collection::vec(".{0,40}", 0..4),
            unix_ns in any::<u64>(), more in 0..100_u32, lost in any::<u64>(),
        ) {
            let len = u32::try_from(bytes.len()).unwrap() + more;
            let mut file = Vec::new();
            section(&mut file, "Linux 6.12", "dnsprobe", &["a".to_owned()]);
            interface(&mut file, "eth0", "of a pod", 2048);
            let block = PacketBlock {
                interface: 0, unix_ns, bytes: &bytes, len, way: Way::Outbound, comments: &comments,
            };
            packet(&mut file, &block);
            let counts = Statistics {
                interface: 0, start_ns: 1, end_ns: 2, lost, written: 1, comments: &[],
            };
            statistics(&mut file, &counts);
            prop_assert_eq!(read(&file), Read {
                packets: vec![ReadPacket {
                    interface: 0,
                    unix_ns,
                    len,
                    bytes: bytes.clone(),
                    comments: comments.clone(),
                }],
                interfaces: vec!["eth0".to_owned()],
                lost: vec![lost],
            });
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let mut file = Vec::new();
        section(&mut file, "", "", &["ä".repeat(OPTION_BYTES)]);
        assert!(file.len() < OPTION_BYTES + 100 && file.len().is_multiple_of(4));
    }
}
