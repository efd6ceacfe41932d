//! What conntrack did with packets it could not track: `/proc/net/stat`, or
//! ctnetlink where that is not there.

use std::{fs, io};

use serde::Serialize;

use super::since32;
use crate::kernel::netlink::{Attributes, Message, Netlink, NetlinkError};

const STATISTICS: &str = "/proc/net/stat/nf_conntrack";
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET_STATS_CPU: u16 = 4;
/// `struct nfgenmsg`.
const HEADER_BYTES: usize = 4;

/// Sums over all processors. See `struct ip_conntrack_stat`
/// (include/linux/netfilter/nf_conntrack_common.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conntrack {
    /// Source ports found in use when NAT chose one.
    pub found: Option<u64>,
    /// Packets that cannot be tracked.
    pub invalid: Option<u64>,
    /// Entries that could not be inserted, most of them clashes.
    pub insert_failed: Option<u64>,
    /// Packets dropped, by failed insertion or for want of room.
    pub drop: Option<u64>,
    /// Entries thrown out to make room.
    pub early_drop: Option<u64>,
    /// ICMP errors that belong to nothing.
    pub error: Option<u64>,
    /// Look-ups begun anew because the table was resized.
    pub search_restart: Option<u64>,
    /// Clashes that were resolved.
    pub clash_resolve: Option<u64>,
    /// Entries refused because their bucket is full; Linux 5.15 and newer.
    pub chaintoolong: Option<u64>,
    /// Entries in the table now.
    pub entries: Option<u64>,
    /// Entries that the table may hold.
    pub max_entries: Option<u64>,
}

impl Conntrack {
    /// What happened since an earlier reading.
    #[must_use]
    pub fn delta(&self, earlier: &Self) -> Self {
        Self {
            found: since32(self.found, earlier.found),
            invalid: since32(self.invalid, earlier.invalid),
            insert_failed: since32(self.insert_failed, earlier.insert_failed),
            drop: since32(self.drop, earlier.drop),
            early_drop: since32(self.early_drop, earlier.early_drop),
            error: since32(self.error, earlier.error),
            search_restart: since32(self.search_restart, earlier.search_restart),
            clash_resolve: since32(self.clash_resolve, earlier.clash_resolve),
            chaintoolong: since32(self.chaintoolong, earlier.chaintoolong),
            entries: self.entries,
            max_entries: self.max_entries,
        }
    }
}

/// Reads them; all `None` where there is no conntrack.
pub(super) fn read() -> Conntrack {
    let mut counters = match fs::read_to_string(STATISTICS) {
        Ok(text) => parse(&text),
        // The kernel was built without that file.
        Err(error) if error.kind() == io::ErrorKind::NotFound && is_in_kernel() => {
            ask().unwrap_or_default()
        }
        Err(_) => Conntrack::default(),
    };
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).ok()?;
        text.trim().parse().ok()
    };
    counters.entries = number("nf_conntrack_count");
    counters.max_entries = number("nf_conntrack_max");
    counters
}

/// Whether conntrack answers without being loaded by the question.
fn is_in_kernel() -> bool {
    fs::exists("/sys/module/nf_conntrack_netlink").unwrap_or(false)
}

/// `ct_cpu_seq_show` (net/netfilter/nf_conntrack_standalone.c): names, then
/// one line of hexadecimal numbers per processor. Which names there are
/// differs between kernels.
fn parse(text: &str) -> Conntrack {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_ascii_whitespace().collect();
    let rows: Vec<Vec<u64>> = lines
        .map(|line| {
            let words = line.split_ascii_whitespace();
            words.map_while(|word| u64::from_str_radix(word, 16).ok()).collect()
        })
        .collect();
    let sum = |name: &str| -> Option<u64> {
        let column = names.iter().position(|known| *known == name)?;
        rows.iter().map(|row| row.get(column).copied()).sum()
    };
    Conntrack {
        found: sum("found"),
        invalid: sum("invalid"),
        insert_failed: sum("insert_failed"),
        drop: sum("drop"),
        early_drop: sum("early_drop"),
        error: sum("icmp_error"),
        search_restart: sum("search_restart"),
        clash_resolve: sum("clashres"),
        chaintoolong: sum("chainlength"),
        entries: None,
        max_entries: None,
    }
}

fn ask() -> Result<Conntrack, NetlinkError> {
    let mut netlink = Netlink::open(libc::NETLINK_NETFILTER)?;
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU;
    sum(&netlink.dump(kind, &[0; HEADER_BYTES])?)
}

/// One message per processor (`ctnetlink_ct_stat_cpu_fill_info`,
/// net/netfilter/nf_conntrack_netlink.c).
fn sum(messages: &[Message]) -> Result<Conntrack, NetlinkError> {
    const CTA_STATS_FOUND: u16 = 2;
    const CTA_STATS_INVALID: u16 = 4;
    const CTA_STATS_INSERT_FAILED: u16 = 9;
    const CTA_STATS_DROP: u16 = 10;
    const CTA_STATS_EARLY_DROP: u16 = 11;
    const CTA_STATS_ERROR: u16 = 12;
    const CTA_STATS_SEARCH_RESTART: u16 = 13;
    const CTA_STATS_CLASH_RESOLVE: u16 = 14;
    const CTA_STATS_CHAIN_TOOLONG: u16 = 15;
    let mut total = Conntrack::default();
    for message in messages {
        let attributes = Attributes::after(&message.payload, HEADER_BYTES)?;
        for (field, kind) in [
            (&mut total.found, CTA_STATS_FOUND),
            (&mut total.invalid, CTA_STATS_INVALID),
            (&mut total.insert_failed, CTA_STATS_INSERT_FAILED),
            (&mut total.drop, CTA_STATS_DROP),
            (&mut total.early_drop, CTA_STATS_EARLY_DROP),
            (&mut total.error, CTA_STATS_ERROR),
            (&mut total.search_restart, CTA_STATS_SEARCH_RESTART),
            (&mut total.clash_resolve, CTA_STATS_CLASH_RESOLVE),
            (&mut total.chaintoolong, CTA_STATS_CHAIN_TOOLONG),
        ] {
            if let Some(value) = attributes.be32(kind)? {
                *field = Some(field.unwrap_or(0) + u64::from(value));
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::netlink::attribute;

    #[test]
    fn columns_go_by_their_names_and_processors_are_summed() {
        let new = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart\n\
            00000002  00000001 00000002 00000000 00000003 00000000 00000000 00000004 00000000 00000005 00000006 00000007 00000008  00000000 00000000 00000000 00000009\n\
            00000002  00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 0000000b 00000000 00000000 00000000  00000000 00000000 00000000 00000000\n";
        let counters = parse(new);
        assert_eq!(counters.clash_resolve, Some(2));
        assert_eq!(counters.insert_failed, Some(16));
        assert_eq!(counters.chaintoolong, Some(4));
        assert_eq!((counters.error, counters.search_restart), (Some(8), Some(9)));
        // 5.10 has another column in that place.
        let old = parse(&new.replace("chainlength", "delete_list"));
        assert_eq!((old.chaintoolong, old.drop), (None, Some(6)));
        assert_eq!(parse(""), Conntrack::default());
    }

    #[test]
    fn ctnetlink_tells_the_same_per_processor() {
        let message = |values: &[(u16, u32)]| {
            let mut payload = vec![0; HEADER_BYTES];
            for (kind, value) in values {
                payload.extend(attribute(*kind, &value.to_be_bytes()));
            }
            Message { kind: 0, payload }
        };
        let total = sum(&[message(&[(9, 5), (14, 1)]), message(&[(9, 11), (14, 1)])]).unwrap();
        assert_eq!((total.insert_failed, total.clash_resolve), (Some(16), Some(2)));
        assert_eq!(total.chaintoolong, None);
        let mut cut = message(&[(9, 5)]);
        cut.payload.pop();
        assert!(sum(&[cut]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-z_0-9 \n]{0,200}") {
            let _ = parse(&text);
        }
    }
}
