//! From the records of the capture programs to packets.

use dnsprobe_common::capture::{Captured, Point};

use super::{
    decode::{self, place, read},
    dropped::DropReasons,
    symbols::Symbols,
};
use crate::{
    capture::{DropSite, Interface, Packet},
    identity::OwnerKey,
};

/// Decodes one record; `None` when it is not one of ours, or its bytes could not be
/// read.
pub(crate) fn decode(
    record: &[u8],
    reasons: &DropReasons,
    qdisc_reasons: &DropReasons,
    symbols: &mut Symbols,
) -> Option<Packet> {
    let raw: Captured = read(record)?;
    let point = Point::ALL.into_iter().find(|point| *point as u32 == raw.header.kind)?;
    let kept = usize::try_from(raw.kept).ok()?;
    let bytes = record.get(size_of::<Captured>()..)?.get(..kept)?;
    let reasons = match point {
        Point::Dropped => Some(reasons),
        Point::DroppedByQdisc => Some(qdisc_reasons),
        _ => None,
    };
    let drop = reasons.map(|reasons| {
        let (location, callers) = place(raw.location, &raw.stack, symbols);
        DropSite { reason: reasons.name(raw.reason), location, callers }
    });
    Packet::new(raw.header.at_ns, raw.header.cpu, point, bytes, raw.packet_len).map(|packet| {
        Packet {
            owner: (raw.cgroup != 0 || raw.netns != 0).then_some(OwnerKey {
                cgroup: raw.cgroup,
                netns: raw.netns,
                tgid: raw.tgid,
                command: dnsprobe_common::flow::command_bytes(raw.command),
            }),
            command: decode::command(raw.command),
            interface: (raw.device_ifindex != 0).then(|| Interface {
                index: raw.device_ifindex,
                netns: raw.device_netns,
                name: decode::command(raw.device_name).unwrap_or_default(),
            }),
            original: (raw.has_conntrack != 0).then(|| decode::tuple(&raw.original)),
            drop,
            ..packet
        }
    })
}

#[cfg(test)]
mod tests {
    use dnsprobe_common::{
        capture::{Record, SHORT},
        event::{Header, STACK},
        flow::Tuple,
    };

    use super::*;
    use crate::capture::testing::{ANSWER, query_packet};

    fn record(point: u32, packet: &[u8]) -> Vec<u8> {
        let mut bytes = [0; SHORT];
        bytes[..packet.len()].copy_from_slice(packet);
        let mut name = [0; 16];
        name[..4].copy_from_slice(b"eth0");
        let half = |half: usize| u64::from_ne_bytes(name[half..half + 8].try_into().unwrap());
        let captured = Captured {
            header: Header { kind: point, cpu: 3, at_ns: 42 },
            cgroup: 7,
            location: 0x1000,
            stack: [0; STACK],
            command: [0; 2],
            device_name: [half(0), half(8)],
            netns: 8,
            device_netns: 9,
            device_ifindex: 2,
            tgid: 11,
            reason: 5,
            has_conntrack: 0,
            original: Tuple::default(),
            packet_len: u32::try_from(packet.len()).unwrap(),
            kept: u32::try_from(packet.len()).unwrap(),
            pad: 0,
        };
        let record = Record { captured, bytes };
        let start = (&raw const record).cast::<u8>();
        // SAFETY: a whole record, which has no padding.
        unsafe { std::slice::from_raw_parts(start, size_of::<Record<SHORT>>()) }.to_vec()
    }

    fn decoded(record: &[u8]) -> Option<Packet> {
        let reasons =
            DropReasons::new(vec![("SKB_DROP_REASON_X".to_owned(), 5)], "SKB_DROP_REASON_");
        let qdisc = DropReasons::new(vec![("QDISC_DROP_Y".to_owned(), 5)], "QDISC_DROP_");
        decode(record, &reasons, &qdisc, &mut Symbols::none())
    }

    #[test]
    fn a_dropped_packet_has_its_reason_from_the_list_of_who_dropped_it() {
        let bytes = query_packet();
        let packet = decoded(&record(Point::Dropped as u32, &bytes)).unwrap();
        let site = packet.drop.unwrap();
        assert_eq!((site.reason.as_deref(), site.location.as_str()), (Some("X"), "0x1000"));
        assert_eq!((packet.at_ns, packet.cpu, packet.len), (42, 3, bytes.len() as u32));
        let interface = packet.interface.unwrap();
        assert_eq!((interface.index, interface.netns, interface.name.as_str()), (2, 9, "eth0"));
        let packet = decoded(&record(Point::DroppedByQdisc as u32, &bytes)).unwrap();
        assert_eq!(packet.drop.unwrap().reason.as_deref(), Some("Y"));
    }

    #[test]
    fn a_packet_that_was_sent_is_of_its_socket() {
        let packet = decoded(&record(Point::Sent as u32, ANSWER)).unwrap();
        assert!(packet.drop.is_none() && packet.message.is_answer);
        let owner = packet.owner.unwrap();
        assert_eq!((owner.cgroup, owner.netns, owner.tgid), (7, 8, 11));
    }

    #[test]
    fn what_is_no_record_is_none() {
        let whole = record(Point::Sent as u32, &query_packet());
        assert!(decoded(&whole[..size_of::<Captured>() + 10]).is_none());
        assert!(decoded(&whole[..10]).is_none());
        assert!(decoded(&record(99, &query_packet())).is_none());
        assert!(decoded(&record(Point::Sent as u32, &[0; 40])).is_none());
    }
}
