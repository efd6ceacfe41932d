//! The `nat` tables of iptables and ip6tables (legacy x_tables), asked for
//! with getsockopt.

mod blob;
pub(super) mod extension;
mod names;

use std::{fs, io, net::UdpSocket};

pub(super) use blob::Table;
#[cfg(test)]
pub(super) use names::named;
pub(super) use names::{address_of, from_matches, read_names};

use super::Unread;
use crate::kernel::sockopt::getsockopt;

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: libc::c_int = 64;
const GET_ENTRIES: libc::c_int = 65;
/// `struct ipt_getinfo`: name, valid hooks, entry point per hook, last rule
/// per hook, number of entries, their size.
const INFO_BYTES: usize = 84;
const INFO_ENTRY_POINTS: usize = 36;
const INFO_SIZE: usize = 80;
/// `struct ipt_get_entries`: name, size, padding; the entries follow.
const ENTRIES_HEADER: usize = 40;
/// Where destinations are translated.
const NAT: &str = "nat";
/// Hooks where destinations are translated: PREROUTING and OUTPUT.
const HOOKS: [usize; 2] = [0, 3];
/// Times that reading starts anew because the table was replaced meanwhile.
const ATTEMPTS: usize = 4;

/// The `nat` table of one IP family.
pub(super) fn read(is_v6: bool) -> Result<Table, Unread> {
    read_table(is_v6, NAT)
}

fn read_table(is_v6: bool, table: &str) -> Result<Table, Unread> {
    // The kernel makes a table that is asked for and is not there, and with it
    // the hooks that translate: so ask only for what is there.
    let names = if is_v6 { "/proc/net/ip6_tables_names" } else { "/proc/net/ip_tables_names" };
    match fs::read_to_string(names) {
        Ok(names) if names.lines().any(|name| name == table) => {}
        Ok(_) => return Err(Unread::Absent),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Unread::Absent),
        Err(error) => return Err(Unread::Unreadable(format!("{names}: {error}"))),
    }
    for _ in 0..ATTEMPTS {
        match read_once(is_v6, table) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
            Err(error) => return Err(Unread::Unreadable(describe(&error))),
            Ok((entries, entry_points)) => {
                return Table::parse(&entries, entry_points, is_v6)
                    .map_err(|error| Unread::Unreadable(error.to_string()));
            }
        }
    }
    Err(Unread::Unreadable("the table was replaced each time while it was read".to_owned()))
}

fn describe(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::PermissionDenied {
        format!("{error}; reading the table needs CAP_NET_ADMIN")
    } else {
        error.to_string()
    }
}

fn read_once(is_v6: bool, table: &str) -> io::Result<(Vec<u8>, Vec<usize>)> {
    let table = table.as_bytes();
    let socket = if is_v6 { UdpSocket::bind("[::]:0") } else { UdpSocket::bind("0.0.0.0:0") }?;
    let level = if is_v6 { libc::IPPROTO_IPV6 } else { libc::IPPROTO_IP };
    let mut info = vec![0; INFO_BYTES];
    info[..table.len()].copy_from_slice(table);
    getsockopt(&socket, level, GET_INFO, &mut info)?;
    let number = |at: usize| {
        info.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let size = number(INFO_SIZE);
    let entry_points = HOOKS
        .map(|hook| usize::try_from(number(INFO_ENTRY_POINTS + 4 * hook)).unwrap_or(usize::MAX));
    let length = usize::try_from(size).unwrap_or(usize::MAX).saturating_add(ENTRIES_HEADER);
    let mut entries = vec![0; length];
    entries[..table.len()].copy_from_slice(table);
    entries[32..36].copy_from_slice(&size.to_ne_bytes());
    getsockopt(&socket, level, GET_ENTRIES, &mut entries)?;
    entries.drain(..ENTRIES_HEADER);
    Ok((entries, entry_points.to_vec()))
}
