//! The query log of a DNS server here, in the kernel's view: lines as CoreDNS's
//! `log` plugin writes them in its common format.
//!
//! A field is what the server's log would hold, or `-` where that was not seen;
//! none is guessed. Of the fields, only the duration is a measurement of its own:
//! from the server reading the query to its sending the answer, where the plugin
//! measures from and to itself.

use std::{fmt::Write as _, net::IpAddr};

use dnsprobe_common::{
    dns::is_truncated,
    flow::{Role, Transport},
};

use crate::{
    dns::{Edns, Exchange, Name, QType},
    engine::{Parts, Transaction},
};

/// What stands for a field that was not seen; also the plugin's own filler.
const UNSEEN: &str = "-";
/// Answer size that the log gives for a client that says nothing (RFC 1035).
const MIN_UDP_BYTES: u16 = 512;
/// Answer size that the log gives over TCP.
const TCP_BYTES: u16 = 65_535;

/// The line of an answered query; `None` for a client's end, which is in the log
/// of a server elsewhere, if anywhere.
#[must_use]
pub fn line(transaction: &Transaction) -> Option<String> {
    if transaction.role != Role::Server {
        return None;
    }
    let query = &transaction.query;
    let exchange = transaction.exchange.as_deref().copied().unwrap_or_default();
    let question = query.question.as_ref();
    let proto = match query.transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let client = match query.client.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    Some(format!(
        "[INFO] {client}:{port} - {id} \"{kind} {class} {name} {proto} {size} {dnssec_ok} \
         {buffer}\" {rcode} {flags} {answer} {duration}",
        port = query.client.port(),
        id = query.id,
        kind = seen(question.map(|question| kind(question.qtype))),
        class = seen(asked_class(&exchange).map(class)),
        name = seen(question.map(|question| name(&question.name))),
        size = seen(query_bytes(&exchange)),
        dnssec_ok = seen(exchange.query.map(|q| q.edns.is_some_and(|edns| edns.dnssec_ok))),
        buffer = seen(buffer_bytes(query.transport, &exchange)),
        rcode = seen(transaction.rcode.and_then(rcode)),
        flags = seen(transaction.answer_flags.map(flags)),
        answer = seen(answer_bytes(transaction, &exchange)),
        duration = seen(duration(&transaction.parts)),
    ))
}

fn seen(value: Option<impl ToString>) -> String {
    value.map_or_else(|| UNSEEN.to_owned(), |value| value.to_string())
}

fn asked_class(exchange: &Exchange) -> Option<u16> {
    exchange.query.map(|query| query.class).or_else(|| exchange.answer?.class)
}

/// Length of the query. CoreDNS takes options it does not know out of the query's
/// EDNS record before it counts, so with options there it is not known.
fn query_bytes(exchange: &Exchange) -> Option<usize> {
    let query = exchange.query?;
    (!query.edns.is_some_and(|edns| edns.has_options)).then_some(query.bytes)
}

fn buffer_bytes(transport: Transport, exchange: &Exchange) -> Option<u16> {
    match transport {
        Transport::Tcp => Some(TCP_BYTES),
        Transport::Udp => {
            let offered = |edns: Edns| edns.udp_bytes.max(MIN_UDP_BYTES);
            Some(exchange.query?.edns.map_or(MIN_UDP_BYTES, offered))
        }
    }
}

/// Length of the answer before it was compressed and cut to fit; of one that was
/// cut, nobody but the server knows it.
fn answer_bytes(transaction: &Transaction, exchange: &Exchange) -> Option<usize> {
    if transaction.answer_flags.is_none_or(is_truncated) {
        return None;
    }
    exchange.answer?.uncompressed_bytes
}

/// In seconds with all their digits, as Go prints them.
fn duration(parts: &Parts) -> Option<String> {
    match parts {
        Parts::Server { answered_seconds, .. } => answered_seconds.map(|s| format!("{s}s")),
        Parts::Client { .. } => None,
    }
}

/// The header's flags in the order of the log.
fn flags(flags: u16) -> String {
    const NAMES: [(u16, &str); 8] = [
        (0x8000, "qr"),
        (0x0400, "aa"),
        (0x0200, "tc"),
        (0x0100, "rd"),
        (0x0080, "ra"),
        (0x0040, "z"),
        (0x0020, "ad"),
        (0x0010, "cd"),
    ];
    let set = NAMES.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}

/// A name in lower case, its bytes escaped as the Go library of CoreDNS does.
/// Every byte printed is printable ASCII.
fn name(name: &Name) -> String {
    let mut text = String::new();
    for label in name.labels() {
        for byte in label.iter().map(u8::to_ascii_lowercase) {
            match byte {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    text.push('\\');
                    text.push(char::from(byte));
                }
                b'!'..=b'~' => text.push(char::from(byte)),
                _ => {
                    let _ = write!(text, "\\{byte:03}");
                }
            }
        }
        text.push('.');
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

fn class(class: u16) -> String {
    match class {
        1 => "IN".to_owned(),
        2 => "CS".to_owned(),
        3 => "CH".to_owned(),
        4 => "HS".to_owned(),
        254 => "NONE".to_owned(),
        255 => "ANY".to_owned(),
        other => format!("CLASS{other}"),
    }
}

/// The code's name, or its number. What code 11 is called depends on the server's
/// version.
fn rcode(rcode: u8) -> Option<String> {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
        "NXRRSET", "NOTAUTH", "NOTZONE",
    ];
    match NAMES.get(usize::from(rcode)) {
        Some(name) => Some((*name).to_owned()),
        None if rcode == 11 => None,
        None => Some(rcode.to_string()),
    }
}

/// A type by the name the Go library has for it where that differs from ours.
fn kind(qtype: QType) -> String {
    let name = match qtype.0 {
        0 => "None",
        3 => "MD",
        4 => "MF",
        7 => "MB",
        8 => "MG",
        9 => "MR",
        14 => "MINFO",
        17 => "RP",
        18 => "AFSDB",
        19 => "X25",
        20 => "ISDN",
        21 => "RT",
        23 => "NSAP-PTR",
        26 => "PX",
        27 => "GPOS",
        29 => "LOC",
        30 => "NXT",
        31 => "EID",
        32 => "NIMLOC",
        34 => "ATMA",
        36 => "KX",
        39 => "DNAME",
        42 => "APL",
        45 => "IPSECKEY",
        49 => "DHCID",
        53 => "SMIMEA",
        55 => "HIP",
        56 => "NINFO",
        57 => "RKEY",
        58 => "TALINK",
        63 => "ZONEMD",
        99 => "SPF",
        100 => "UINFO",
        101 => "UID",
        102 => "GID",
        103 => "UNSPEC",
        104 => "NID",
        105 => "L32",
        106 => "L64",
        107 => "LP",
        108 => "EUI48",
        109 => "EUI64",
        249 => "TKEY",
        253 => "MAILB",
        254 => "MAILA",
        256 => "URI",
        258 => "AVC",
        260 => "AMTRELAY",
        32_768 => "TA",
        32_769 => "DLV",
        65_535 => "Reserved",
        _ => return qtype.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        dns::{AnswerSize, QuerySize, Question},
        output::testing::transaction as client,
    };

    /// The example in the plugin's documentation.
    fn documented() -> Transaction {
        let mut example = client();
        example.role = Role::Server;
        example.query.client = "[::1]:50759".parse().unwrap();
        example.query.id = 29_008;
        example.query.question =
            Some(Question { name: "Example.ORG".parse().unwrap(), qtype: QType::A });
        example.answer_flags = Some(0x81a0);
        example.parts = Parts::Server {
            query_read_seconds: Some(0.001),
            answered_seconds: Some(0.037_990_251),
        };
        let edns = Edns { udp_bytes: 4096, dnssec_ok: false, has_options: false };
        example.exchange = Some(Box::new(Exchange {
            query: Some(QuerySize { class: 1, bytes: 41, edns: Some(edns) }),
            answer: Some(AnswerSize { class: Some(1), uncompressed_bytes: Some(68) }),
        }));
        example
    }

    fn exchange(transaction: &mut Transaction) -> &mut Exchange {
        transaction.exchange.as_mut().unwrap()
    }

    #[test]
    fn the_documented_example_comes_out_to_the_byte() {
        assert_eq!(
            line(&documented()).unwrap(),
            "[INFO] [::1]:50759 - 29008 \"A IN example.org. udp 41 false 4096\" NOERROR \
             qr,rd,ra,ad 68 0.037990251s"
        );
    }

    #[test]
    fn a_missing_name_asked_for_over_ipv4_without_edns() {
        let mut example = documented();
        example.query.client = "10.244.0.11:40000".parse().unwrap();
        example.rcode = Some(3);
        example.answer_flags = Some(0x8583);
        exchange(&mut example).query = Some(QuerySize { class: 3, bytes: 29, edns: None });
        assert_eq!(
            line(&example).unwrap(),
            "[INFO] 10.244.0.11:40000 - 29008 \"A CH example.org. udp 29 false 512\" NXDOMAIN \
             qr,aa,rd,ra 68 0.037990251s"
        );
    }

    #[test]
    fn a_buffer_below_the_least_counts_as_the_least_and_over_tcp_it_is_the_largest() {
        let mut example = documented();
        let edns = Edns { udp_bytes: 100, dnssec_ok: true, has_options: false };
        exchange(&mut example).query = Some(QuerySize { class: 1, bytes: 41, edns: Some(edns) });
        assert!(line(&example).unwrap().contains(" udp 41 true 512\" "));
        example.query.transport = Transport::Tcp;
        assert!(line(&example).unwrap().contains(" tcp 41 true 65535\" "));
    }

    #[test]
    fn what_was_not_seen_is_a_dash() {
        let mut example = documented();
        example.exchange = None;
        example.query.question = None;
        example.rcode = None;
        example.answer_flags = None;
        example.parts = Parts::Server { query_read_seconds: None, answered_seconds: None };
        assert_eq!(
            line(&example).unwrap(),
            "[INFO] [::1]:50759 - 29008 \"- - - udp - - -\" - - - -"
        );
    }

    #[test]
    fn what_only_the_server_knows_is_not_guessed() {
        let mut example = documented();
        example.answer_flags = Some(0x8380);
        assert!(line(&example).unwrap().contains("NOERROR qr,tc,rd,ra - 0.03"));
        let edns = Edns { udp_bytes: 1232, dnssec_ok: false, has_options: true };
        exchange(&mut example).query = Some(QuerySize { class: 1, bytes: 53, edns: Some(edns) });
        assert!(line(&example).unwrap().contains(" udp - false 1232\" "));
    }

    #[test]
    fn a_clients_end_has_no_line() {
        assert_eq!(line(&client()), None);
    }

    #[test]
    fn names_types_classes_and_codes_are_those_of_the_go_library() {
        let hostile = |text: &str| name(&text.parse().unwrap());
        assert_eq!(hostile("."), ".");
        assert_eq!(hostile(r"A\032b\.c.D;e@f\010\255."), r"a\ b\.c.d\;e\@f\010\255.");
        assert_eq!(kind(QType(0)), "None");
        assert_eq!(kind(QType(257)), "CAA");
        assert_eq!(kind(QType(65)), "HTTPS");
        assert_eq!(kind(QType(29)), "LOC");
        assert_eq!(kind(QType(64_000)), "TYPE64000");
        assert_eq!((class(255), class(7)), ("ANY".to_owned(), "CLASS7".to_owned()));
        assert_eq!(rcode(5).as_deref(), Some("REFUSED"));
        assert_eq!((rcode(15).as_deref(), rcode(11)), (Some("15"), None));
    }

    #[test]
    fn a_duration_has_as_many_digits_as_it_needs() {
        let of = |seconds| {
            duration(&Parts::Server { query_read_seconds: None, answered_seconds: Some(seconds) })
        };
        assert_eq!(of(0.000_087_1), Some("0.0000871s".to_owned()));
        assert_eq!(of(2.0), Some("2s".to_owned()));
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_of_ascii_and_has_its_fields(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            flags in any::<u16>(), id in any::<u16>(), qtype in any::<u16>(),
        ) {
            let mut example = documented();
            let escaped: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
            example.query.question = Some(Question {
                name: if escaped.is_empty() { ".".parse().unwrap() } else { escaped.parse().unwrap() },
                qtype: QType(qtype),
            });
            example.query.id = id;
            example.answer_flags = Some(flags);
            let line = line(&example).unwrap();
            prop_assert!(line.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{line}");
            prop_assert!(line.ends_with("0.037990251s"));
        }
    }
}
