//! What IPVS knows, with addresses as people write them: the kernel prints them
//! in hexadecimal.

use std::{fmt::Write as _, net::Ipv4Addr};

use crate::record::NodeFile;

/// Services with their real servers, and connections; `None` without either.
pub(super) fn readable(
    services: Option<&NodeFile>,
    connections: Option<&NodeFile>,
) -> Option<String> {
    if services.is_none() && connections.is_none() {
        return None;
    }
    let mut text = String::new();
    if let Some(file) = services {
        text += "services and their real servers (weight 0: no new connections)\n";
        let lines = file.text.lines().filter_map(service);
        text.extend(lines.map(|line| line + "\n"));
    }
    if let Some(file) = connections {
        text += "\nconnections: client -> service -> real server, state, seconds left\n";
        let lines = file.text.lines().filter_map(connection);
        text.extend(lines.map(|line| line + "\n"));
    }
    if [services, connections].into_iter().flatten().any(|file| file.cut) {
        text += "(the rest is left out)\n";
    }
    Some(text)
}

/// A line of `/proc/net/ip_vs` (net/netfilter/ipvs/ip_vs_ctl.c,
/// `ip_vs_info_seq_show`); `None` for its headings.
fn service(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let address = |text: &str| {
        let (address, port) = text.rsplit_once(':')?;
        endpoint(address, port)
    };
    match words.as_slice() {
        ["->", server, forward, weight, active, inactive] => {
            let server = address(server)?;
            Some(format!(
                "    -> {server}  {forward}  weight {weight}, connections {active} active, {inactive} inactive"
            ))
        }
        ["FWM", mark, rest @ ..] => Some(format!("FWM {mark}  {}", rest.join(" "))),
        [protocol @ ("TCP" | "UDP" | "SCTP"), service, rest @ ..] => {
            Some(format!("{protocol} {}  {}", address(service)?, rest.join(" ")))
        }
        _ => None,
    }
}

/// A line of `/proc/net/ip_vs_conn` (net/netfilter/ipvs/ip_vs_conn.c,
/// `ip_vs_conn_seq_show`); `None` for its heading.
fn connection(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [protocol, client, cport, service, vport, server, dport, state, left, ..] = words[..]
    else {
        return None;
    };
    let mut text = protocol.to_owned();
    let ends = [(client, cport), (service, vport), (server, dport)];
    for (number, (address, port)) in ends.into_iter().enumerate() {
        let arrow = if number == 0 { "" } else { " ->" };
        let _ = write!(text, "{arrow} {}", endpoint(address, port)?);
    }
    Some(format!("{text}  {state} {left}"))
}

/// IPv4 as eight hexadecimal digits, IPv6 as usual, ports as hexadecimal.
fn endpoint(address: &str, port: &str) -> Option<String> {
    let port = u16::from_str_radix(port, 16).ok()?;
    if address.contains(':') {
        let address = address.trim_start_matches('[').trim_end_matches(']');
        return Some(format!("[{address}]:{port}"));
    }
    let address = Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?);
    Some(format!("{address}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Phase;

    fn file(text: &str) -> NodeFile {
        NodeFile { path: String::new(), phase: Phase::Before, text: text.to_owned(), cut: false }
    }

    #[test]
    fn services_and_connections_are_told_in_plain_addresses() {
        let services = file(
            "IP Virtual Server version 1.2.1 (size=4096)\n\
             Prot LocalAddress:Port Scheduler Flags\n  \
             -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n\
             UDP  0A60000A:0035 rr  \n  \
             -> 0AF40003:0035      Masq    0      0          2         \n",
        );
        let connections = file(
            "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
             UDP 0AF4000B 14E9 0A60000A 0035 0AF40003 0035 UDP             299\n",
        );
        assert_eq!(
            readable(Some(&services), Some(&connections)).unwrap(),
            "services and their real servers (weight 0: no new connections)\n\
             UDP 10.96.0.10:53  rr\n    \
             -> 10.244.0.3:53  Masq  weight 0, connections 0 active, 2 inactive\n\n\
             connections: client -> service -> real server, state, seconds left\n\
             UDP 10.244.0.11:5353 -> 10.96.0.10:53 -> 10.244.0.3:53  UDP 299\n"
        );
        assert_eq!(readable(None, None), None);
    }

    #[test]
    fn rubbish_is_passed_over() {
        for line in ["", "UDP x", "-> x:2 a b c d", "UDP zz 1 2 3 4 5 6 7"] {
            assert_eq!(
                (connection(line), line.starts_with("->").then(|| service(line)).flatten()),
                (None, None)
            );
        }
        let v6 = "UDP [fd00::a]:0035 rr";
        assert_eq!(service(v6).as_deref(), Some("UDP [fd00::a]:53  rr"));
    }
}
