//! What UDP threw away: `/proc/net/snmp` and `/proc/net/snmp6`.

use std::fs;

use serde::Serialize;

/// UDP of one IP family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Udp {
    /// Packets for a port on which nobody listens.
    pub no_ports: Option<u64>,
    /// Packets not delivered, for any reason.
    pub in_errors: Option<u64>,
    /// Of these, because the socket's buffer was full.
    pub rcvbuf_errors: Option<u64>,
    /// Packets not sent because the socket's buffer was full.
    pub sndbuf_errors: Option<u64>,
    /// Of the errors, because the checksum was wrong.
    pub in_csum_errors: Option<u64>,
    /// Of the errors, because all of UDP used too much memory; Linux 5.12 and
    /// newer.
    pub mem_errors: Option<u64>,
}

impl Udp {
    /// What happened since an earlier reading.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        let since = |later: Option<u64>, earlier: Option<u64>| Some(later?.wrapping_sub(earlier?));
        Self {
            no_ports: since(self.no_ports, earlier.no_ports),
            in_errors: since(self.in_errors, earlier.in_errors),
            rcvbuf_errors: since(self.rcvbuf_errors, earlier.rcvbuf_errors),
            sndbuf_errors: since(self.sndbuf_errors, earlier.sndbuf_errors),
            in_csum_errors: since(self.in_csum_errors, earlier.in_csum_errors),
            mem_errors: since(self.mem_errors, earlier.mem_errors),
        }
    }

    fn from(value: impl Fn(&str) -> Option<u64>) -> Self {
        Self {
            no_ports: value("NoPorts"),
            in_errors: value("InErrors"),
            rcvbuf_errors: value("RcvbufErrors"),
            sndbuf_errors: value("SndbufErrors"),
            in_csum_errors: value("InCsumErrors"),
            mem_errors: value("MemErrors"),
        }
    }
}

pub(super) fn read() -> Udp {
    parse(&fs::read_to_string("/proc/net/snmp").unwrap_or_default())
}

pub(super) fn read_v6() -> Udp {
    parse_v6(&fs::read_to_string("/proc/net/snmp6").unwrap_or_default())
}

/// A line of names and a line of values.
fn parse(text: &str) -> Udp {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let values: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    Udp::from(|name| {
        let column = names.iter().position(|known| *known == name)?;
        values.get(column)?.parse().ok()
    })
}

/// A line of name and value each.
fn parse_v6(text: &str) -> Udp {
    Udp::from(|name| {
        text.lines().find_map(|line| {
            let mut words = line.strip_prefix("Udp6")?.split_ascii_whitespace();
            (words.next()? == name).then(|| words.next()?.parse().ok())?
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_go_by_their_names() {
        let text = "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti\n\
            Udp: 346 1 2 350 3 4 5 0\nUdpLite: NoPorts\nUdpLite: 9\n";
        let udp = parse(text);
        assert_eq!((udp.no_ports, udp.in_errors, udp.rcvbuf_errors), (Some(1), Some(2), Some(3)));
        assert_eq!((udp.sndbuf_errors, udp.in_csum_errors), (Some(4), Some(5)));
        assert_eq!(udp.mem_errors, None);
        let v6 = parse_v6("Ip6InErrors 9\nUdp6NoPorts                     \t7\nUdp6MemErrors 1\n");
        assert_eq!((v6.no_ports, v6.mem_errors, v6.in_errors), (Some(7), Some(1), None));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[Udp:6a-z0-9 \n]{0,200}") {
            let _ = (parse(&text), parse_v6(&text));
        }
    }
}
